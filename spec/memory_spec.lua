-- Where there is little memory: interpreters that may have 64 MiB more than they begin with. What a peer or a script sizes
-- must come out as an error, of ours or of Lua's; Rust itself would end the process. (SECURITY.md: what is left of that.)
-- The same for the launcher where LAUNCHER names it, whose Lua and whose allocator are its own.

local peer = require("spec.support.peer")
local process = require("spec.support.process")
local subject = require("spec.support.subject")

local PRELUDE = [[
local port = tonumber((...))
local url = "http://127.0.0.1:" .. port .. "/"
local net = net or launch{ "--allow-net", "--allow-listen=127.0.0.1:0" }
local function big() return ("x"):rep(6000000) end
local function huge() return ("x"):rep(24000000) end
local function many(n, make) local list = {} for i = 1, n do list[i] = make(i) end return list end
-- What came of it: true, the class of the error, or what Lua said.
local function say(...)
  local ok, err = pcall(...)
  -- LuaJIT does not collect by itself where there is no memory, and words need some.
  if jit then collectgarbage() end
  if type(err) == "table" and not ok then err = err.class:match("[^/]+$") end
  io.write(tostring(ok), " ", ok and "" or tostring(err):match("not enough memory") or tostring(err):gsub("^.-bad argument.-%((.*)%)$", "%1"), "\n")
end
-- A request with one option, which is made where its errors are seen.
local function post(what, make)
  say(function()
    local opts = { method = "POST", timeout = 1 }
    opts[what] = make()
    return net.fetch(url, opts)
  end)
  collectgarbage()
end
]]

-- What runs a file, and what makes `net` where that has none yet.
local HOSTS = { { "the module", subject.lua, subject.prelude } }
local launcher = os.getenv("LAUNCHER")
if launcher and launcher ~= "" then
  HOSTS[2] = { "the launcher", launcher .. " --allow-net --allow-listen=127.0.0.1:0 --allow-run", "" }
end

--- How much a process has that has done nothing yet, in KiB; nil where nothing tells.
local function baseline(host)
  local path = process.file(host[3] .. PRELUDE .. [[
    print(io.popen("cat /proc/$PPID/status"):read("*a"):match("VmPeak:%s+(%d+)"))]])
  return tonumber((process.start(("%s %s 1 2>&1"):format(host[2], process.quote(path)), { path }):rest()))
end

local function run(host, code, port, limit)
  local path = process.file(host[3] .. PRELUDE .. code .. "\nsay(net.fetch_all, {})")
  local command = ("ulimit -v %d; exec %s %s %s 2>&1"):format(limit, host[2], process.quote(path), port)
  return (process.start("sh -c " .. process.quote(command), { path }):rest():gsub("%s*\n$", ""):gsub(" *\n", "\n"))
end

-- Answers one request with a head, and `again` for as long as it is taken.
local function endless(head, again)
  return ([[
    local c = accept()
    head(c)
    c:send(%q)
    local piece = %s
    repeat until not c:send(piece)]]):format(head, again)
end
local ZEROS = '("\\0"):rep(1048576)'
local SINK = "local c = accept() repeat until not c:receive(65536)"
local GZIP = [[
  local pipe = io.popen("head -c 300000000 /dev/zero | gzip -1")
  local body = pipe:read("*a")
  pipe:close()
  local c = accept()
  head(c)
  c:send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body)
  c:receive("*a")]]
local RAW = ("local c = accept() local piece = %s repeat until not c:send(piece)"):format(ZEROS)
local OK = "HTTP/1.1 200 OK\r\n"

-- what, the peer's script, code, what it says
local ROWS = {
  { "a body as long as was said", endless(OK .. "Content-Length: 9000000000\r\n\r\n", ZEROS),
    "say(net.fetch, url, { max_body_bytes = 1e12 })", "false too_large" },
  { "chunks", endless(OK .. "Transfer-Encoding: chunked\r\n\r\n", '("8000\\r\\n" .. ("x"):rep(32768) .. "\\r\\n"):rep(32)'),
    "say(net.fetch, url)", "false too_large" },
  { "headers", endless(OK, '("A: b\\r\\n"):rep(9999)'), "say(net.fetch, url)", "false protocol" },
  { "a body that expands", GZIP, "say(net.fetch, url, { max_body_bytes = 1e12 })", "false too_large" },
  { "a stream's rest, and a count of it", endless(OK .. "\r\n", ZEROS), [[
    local r = net.fetch(url, { stream = true, max_body_bytes = 1e12 })
    say(r.read, 1e9)
    say(r.read)]], "false too_large\nfalse too_large" },
  { "an event", endless(OK .. "Content-Type: text/event-stream\r\n\r\ndata: ", '("x"):rep(1048576)'),
    "local e = net.events(url, { max_event_bytes = 1e9 }) say(e.next, e)", "false too_large" },
  { "a text in another charset", endless(OK .. "Content-Type: text/plain; charset=windows-1252\r\nContent-Length: 20971520\r\n\r\n",
    '("\\233"):rep(1048576)'), "local r = net.fetch(url) say(r.text)", "false ^" },
  { "recv_exact", RAW, "local s = net.tcp('127.0.0.1', port) say(s.recv_exact, s, 1e9) say(s.recv, s, 10) s:close() collectgarbage()",
    "false too_large\ntrue" },
  { "recv_line", RAW, "local s = net.tcp('127.0.0.1', port) say(s.recv_line, s, { max = 1e9 }) say(s.recv, s, 10) s:close() collectgarbage()",
    "false too_large\ntrue" },
  { "datagrams", SINK, [[
    local u = net.udp_listen("127.0.0.1", 0)
    local v = net.udp("127.0.0.1", u.local_port)
    v:send(("x"):rep(60000))
    say(u.recv, u, 2 ^ 53)
    say(v.send, v, big())]], "true\nfalse socket" },
  { "many grants", SINK, [[
    say(net.narrow, many(100000, function(i) return "--allow-net=h" .. i .. ".test" end))
    collectgarbage()
    say(net.http.client.jail, many(100000, function(i) return "h" .. i .. ".test" end))]], "true\ntrue" },
  { "a long flag", SINK, "say(net.narrow, { '--allow-net=' .. big() })", "false flags: longer than 4194304 bytes" },
  { "a long host", SINK, "say(net.tcp, big(), 80)", "false host is longer than 4194304 bytes" },
  { "a long URL", SINK, "say(net.fetch, url .. big())", "false URL is longer than 1048576 bytes" },
  { "a long header", SINK,
    "post('headers', function() return { a = big() } end)", 'false the value of header "a" is longer than 4194304 bytes' },
  { "long headers", SINK, "post('headers', function() return { a = many(20, function() return ('x'):rep(100000) end) } end)",
    "false the headers are larger than 1048576 bytes" },
  { "a long method", SINK, "post('method', big)", "false method is longer than 4194304 bytes" },
  { "a long proxy", SINK, "post('proxy', big)", "false proxy is longer than 4194304 bytes" },
  { "a long password", SINK, "post('auth', function() return { 'user', big() } end)", "false auth.password is longer than 4194304 bytes" },
  { "long certificates", SINK,
    "post('ca_bundle', function() return '-----BEGIN CERTIFICATE-----' .. big() end)", "false ca_bundle is longer than 4194304 bytes" },
  { "a long pattern", SINK, "say(net.http.guard, { rules = { host = 'a.test', routes = { path = '/' .. big() } } })",
    "false rules.routes.path: is longer than 4194304 bytes" },
  { "many cookies", SINK, "local jar = net.http.jar() say(jar.load, jar, many(20000, function() return {} end))",
    "false a list of at most 10000 records expected, got 20000" },
  { "a body", SINK, "post('body', huge)", "false ^" },
  { "a body, twice", SINK, "post('body', function() return huge() .. huge() end)", "false ^" },
  { "JSON", SINK, "post('body_json', function() return { huge() } end)", "false ^" },
  { "names in JSON", SINK, "post('body_json', function() return { [huge()] = 1 } end)", "false ^" },
  { "a form", SINK, "post('body_form', function() return { a = ('='):rep(12000000) } end)", "false ^" },
  { "parts", SINK, "post('body_multipart', function() return { a = huge() } end)", "false ^" },
  { "a piece of a body", SINK, "post('body', function() return huge end)", "false ^" },
  { "what is sent", SINK, "local s = net.tcp('127.0.0.1', port) say(s.send_all, s, big(), { timeout = 1 })", "^" },
  { "a JSON document", [[
      local body = "[" .. ("[],"):rep(4000000) .. "0]"
      local c = accept()
      head(c)
      c:send("HTTP/1.1 200 OK\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body)
      c:receive("*a")]],
    -- LuaJIT has none left for its own tables first.
    "local r = net.fetch(url) say(r.json) r = nil collectgarbage()", jit and "false ^" or "false too_large" },
  { "200 MiB of chunks", [[
      local c = accept()
      head(c)
      c:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
      local piece = ("8000\r\n" .. ("x"):rep(32768) .. "\r\n"):rep(32)
      for _ = 1, 200 do if not c:send(piece) then return end end
      c:send("0\r\n\r\n")
      c:receive("*a")]], "say(net.fetch, url)", "false too_large" },
  { "a string of Lua's", SINK, "say(string.rep, 'x', 1e9)", "false not enough memory" },
  { "tables without end", SINK, "say(function() local t = {} while true do t[#t + 1] = {} end end) collectgarbage()", "false not enough memory" },
  -- Up to the last bytes, and with a few of them given back.
  { "anything, once a script has taken all", "for _ = 1, 9 do local c = accept() c:close() end", [[
    local held
    local secure, here = { timeout = 1 }, "127.0.0.1"
    for _, back in ipairs{ 0, 10, 100, 1000, 10000, 30000 } do
      pcall(function()
        pcall(function() while true do held = { held } end end)
        for _ = 1, back do held = held[1] end
        pcall(net.fetch, url)
        pcall(net.ssl, here, port, secure)
        pcall(net.resolve, "localhost")
        pcall(net.resolve, "nothing.invalid", "mx", secure)
      end)
      held = nil
      collectgarbage()
    end]], "" },
  { "threads", "for _ = 1, 40 do local c = accept() head(c) c:send('HTTP/1.0 200 OK\\r\\n\\r\\nx') c:close() end",
    "say(net.fetch_all, many(40, function() return url end), { parallel = 40, per_origin = 40 })", "true" },
}

for _, host in ipairs(HOSTS) do
  describe("with 64 MiB and no more, " .. host[1], function()
    local limit = baseline(host)
    after_each(process.kill_all)
    for _, row in ipairs(limit and ROWS or {}) do
      it("is an error: " .. row[1], function()
        local other = peer.tcp(row[2])
        local said = run(host, row[3], other.port, limit + 64 * 1024)
        -- Whatever is said, a `^` for it, it is said: the process goes on to its last line.
        local pattern = row[4]:gsub("%p", "%%%0"):gsub("%%%^", "[^\n]*")
        pattern = "^" .. pattern .. (pattern == "" and "" or "\n") .. "true$"
        assert(said:find(pattern), said)
      end)
    end
  end)
end
