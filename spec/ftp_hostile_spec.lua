-- Contract 10, `net.ftp`: servers that say what no server should, and that go away at every byte.

local dialog = require("spec.support.dialog")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local unpack = table.unpack or unpack -- luacheck: ignore

local ca = process.read(servers.ca)

-- What comes before the step that a row is about.
local OPENED = { { "", "220 hi" }, { "USER", "230 in" }, { "FEAT", "500 no" }, { "TYPE", "200 ok" } }

local function after(...)
  local all = {}
  for _, step in ipairs(OPENED) do all[#all + 1] = step end
  for _, step in ipairs{ ... } do all[#all + 1] = step end
  return all
end

local function open(port, more)
  local opts = { host = "127.0.0.1", port = port, tls = false, timeout = 10 }
  for name, value in pairs(more or {}) do opts[name] = value end
  return net.ftp(opts)
end

local function close(ftp) if ftp then ftp:close() end end

-- Greetings and replies while a client is opened: what comes of it.
local OPENING = {
  { "an endless line", { { "", "220 " .. ("x"):rep(20000), stall = true } }, "network/too_large" },
  { "an endless reply", { { "", ("220-x\n"):rep(20000) .. "220 x", stall = true } }, "network/too_large" },
  { "binary", { { "", "\0\1\2\3", raw = true } }, "network/connection_reset" },
  { "binary in a line", { { "", "220 a\0b" } }, "network/protocol" },
  { "a control character", { { "", "220 a\27[2Jb" } }, "network/protocol" },
  { "no reply", { { "", "hello" } }, "network/protocol" },
  { "two digits", { { "", "22 x" } }, "network/protocol" },
  { "a bare LF", { { "", "220 x\n", raw = true } }, "network/protocol" },
  { "nothing", { { "", "", raw = true } }, "network/connection_reset" },
  { "half a line", { { "", "220 x", raw = true } }, "network/connection_reset" },
  { "half a reply", { { "", "220-x\r\n", raw = true } }, "network/connection_reset" },
  { "a goodbye", { { "", "421 busy" } }, nil, 421 },
  { "a refusal", { { "", "530 not you" } }, nil, 530 },
  { "an intermediate greeting", { { "", "331 x" } }, "network/protocol" },
  { "a wait and a greeting", { { "", "120 soon\n220 now" }, { "USER", "230 in" }, { "FEAT", "500" }, { "TYPE", "200 x" } } },
  { "a preliminary answer to USER", { { "", "220 x" }, { "USER", "150 x" } }, "network/protocol" },
  { "an account", { { "", "220 x" }, { "USER", "331 x" }, { "PASS", "332 account" } }, nil, 332 },
  { "no TYPE I", { { "", "220 x" }, { "USER", "230 x" }, { "FEAT", "500" }, { "TYPE", "504 no" } }, nil, 504 },
  { "silence", { { "", "220 x", stall = true } }, "network/timeout" },
}

-- Replies to a call of an open client.
local function pwd(ftp) return ftp:pwd() end
local function size(ftp) return ftp:size("x") end
local function mtime(ftp) return ftp:mtime("x") end
local function get(ftp) return ftp:get("x") end
local function list(ftp) return ftp:list() end
local function put(ftp) return ftp:put("x", ("y"):rep(1000)) end
local function rename(ftp) return ftp:rename("x", "y") end

local PASSIVE = { "EPSV", "229 (|||PORT|)" }

local CALLS = {
  { "PWD without a path", pwd, { { "PWD", "257 none" } }, "network/protocol" },
  { "PWD with half a path", pwd, { { "PWD", '257 "/a' } }, "network/protocol" },
  { "SIZE of nonsense", size, { { "SIZE", "213 -5" } }, "network/protocol" },
  { "MDTM of nonsense", mtime, { { "MDTM", "213 20249999000000" } }, "network/protocol" },
  { "an intermediate reply", pwd, { { "PWD", "350 go on" } }, "network/protocol" },
  { "a reply with another code in it", pwd, { { "PWD", '257-a\n226 b\n257 "/c"' } }, nil, "/c" },
  { "RNTO out of order", rename, { { "RNFR", "250 done" } }, "network/protocol" },
  { "EPSV without a port", list, { { "EPSV", "229 ok" } }, "network/protocol" },
  { "EPSV with port 0", list, { { "EPSV", "229 (|||0|)" } }, "network/protocol" },
  { "EPSV with port 99999", list, { { "EPSV", "229 (|||99999|)" } }, "network/protocol" },
  { "EPSV and PASV refused", list, { { "EPSV", "500" }, { "PASV", "502 no" } }, nil, nil, 502 },
  { "PASV without an address", list, { { "EPSV", "500" }, { "PASV", "227 ok" } }, "network/protocol" },
  { "a port where nobody listens", list, { { "EPSV", "229 (|||1|)" } }, "network/connection_refused" },
  { "data refused after all", get, { PASSIVE, { "RETR", "550 no" } }, nil, nil, 550 },
  { "226 before 150", get, { PASSIVE, { "RETR", "226 done" } }, "network/protocol" },
  { "426 at the end", get, { PASSIVE, { "RETR", "150 go", data = "hello", after = "426 cut" } }, "network/connection_reset", nil, 426, "hello" },
  { "451 at the end", get, { PASSIVE, { "RETR", "150 go", data = "hello", after = "451 cut" } }, "network/connection_reset", nil, 451, "hello" },
  { "552 at the end", put, { PASSIVE, { "STOR", "150 go", data = true, after = "552 full" } }, "network/connection_reset", nil, 552 },
  { "150 at the end", get, { PASSIVE, { "RETR", "150 go", data = "hello", after = "150 go" } }, "network/connection_reset", nil, nil, "hello" },
  { "nothing at the end", get, { PASSIVE, { "RETR", "150 go", data = "hello", after = "" } }, "network/protocol", nil, nil, "hello" },
  { "nonsense at the end", get, { PASSIVE, { "RETR", "150 go", data = "hello", after = "what?" } }, "network/protocol", nil, nil, "hello" },
  { "a goodbye in the middle", pwd, { { "PWD", "421 timeout" } }, nil, nil, 421 },
  { "a line of a listing without end", list, { PASSIVE, { "LIST", "150 go", data = ("x"):rep(40000), after = "226 done" } }, "network/too_large" },
  { "a listing of very small entries, without end", function(ftp) return ftp:list(nil, { max_body_bytes = 100000 }) end, {
    PASSIVE, { "LIST", "150 go", data = ("-rw-r--r-- 1 u g 5 Jan 1 2025 x\n"):rep(1000), after = "226 done" } }, "network/too_large" },
  { "a listing of nonsense", function(ftp) return #ftp:list() end, {
    PASSIVE, { "LIST", "150 go", data = "total 5\n\n\255\254\r\nx", after = "226 done" } }, nil, 0 },
  { "an empty file", get, { PASSIVE, { "RETR", "150 go", data = "", after = "226 done" } }, nil, "" },
}

describe("a hostile FTP server:", function()
  wire.watch(before_each, after_each)

  local function judge(class, expected, code, partial, f, ...)
    if class then
      local err = fails.with(class, f, ...)
      if code then assert.equal(code, err.code) end
      if partial then assert.equal(partial, err.partial) end
      if partial then assert.equal(#partial, err.bytes) end
      return err
    end
    local result, refusal = f(...)
    if code then
      assert.is_nil(result)
      assert.equal(code, refusal.code)
    elseif expected ~= nil then
      assert.equal(expected, result)
    else
      assert.truthy(result)
    end
    return result
  end

  for _, drip in ipairs{ false, true } do
    local how = drip and ", byte by byte" or ""
    for _, row in ipairs(OPENING) do
      if not (drip and row[1]:find("endless")) then
        it(row[1] .. how, function()
          local p = dialog.start(row[2], { drip = drip })
          local opened = judge(row[3], nil, row[4], nil, open, p.port, row[3] == "network/timeout" and { timeout = 0.3 } or nil)
          if type(opened) == "table" and net.kind(opened) == "ftp" then opened:close() end
        end)
      end
    end
    for _, row in ipairs(CALLS) do
      if not (drip and row[1]:find("without end")) then
        it(row[1] .. how, function()
          local p = dialog.start(after(unpack(row[3])), { drip = drip })
          local ftp = assert(open(p.port))
          judge(row[4], row[5], row[6], row[7], row[2], ftp)
          ftp:close()
        end)
      end
    end
  end

  it("goes away at every byte, and every time there is an error that says so, or all was said", function()
    local steps = after({ "PWD", '257 "/a"' }, PASSIVE, { "LIST", "150 go", data = "-rw-r--r-- 1 u g 5 Jan 1 2025 x\r\n", after = "226 done" },
      PASSIVE, { "RETR", "150 go", data = "hello", after = "226 done" }, PASSIVE, { "STOR", "150 go", data = true, after = "226 done" }, { "QUIT", "221 bye" })
    local length = dialog.length(steps)
    local p = dialog.start(steps, { cut = true, times = length })
    local allowed = {
      ["puck.uno/error/network/connection_reset"] = true, ["puck.uno/error/network/protocol"] = true,
      ["puck.uno/error/network/connection_refused"] = true,
    }
    local whole = 0
    for at = 1, length do
      local ftp
      local ok, err = pcall(function()
        ftp = assert(open(p.port))
        assert.equal("/a", ftp:pwd())
        assert.equal("x", ftp:list()[1].name)
        assert.equal("hello", ftp:get("x"))
        assert.equal(5, ftp:put("x", "hello"))
      end)
      if ok then
        whole = whole + 1
      else
        if type(err) ~= "table" or not allowed[err.class] then error("cut at " .. at - 1 .. ": " .. tostring(err)) end
        -- The state is known: closed, or good for the next command.
        if ftp and ftp.connected then pcall(ftp.pwd, ftp) end
      end
      close(ftp)
    end
    assert.truthy(whole > 0 and whole < 20, whole)
    p.process:kill()
  end)

  it("names another machine in PASV: the control connection's address is taken", function()
    local p = peer.tcp([[
      local d = assert(socket.bind("127.0.0.1", 0))
      local _, port = d:getsockname()
      local c = accept()
      local function step(reply) c:receive("*l") c:send(reply .. "\r\n") end
      c:send("220 x\r\n") step("230 in") step("500") step("200") step("500 no EPSV")
      step(("227 (192,0,2,7,%d,%d)"):format(math.floor(port / 256), port % 256))
      d:settimeout(5)
      local s = d:accept()
      step("150 go")
      s:send("hello") s:close()
      c:send("226 done\r\n")
      report(s ~= nil)]])
    local ftp = assert(open(p.port))
    assert.equal("hello", ftp:get("x"))
    assert.same({ "true" }, p:finish())
    ftp:close()
  end)

  it("lets somebody else connect to an active client's port: it waits for the server", function()
    -- 127.0.0.2 is another machine as far as addresses go.
    local p = peer.tcp([[
      local c = accept()
      local function step(reply) local line = c:receive("*l") c:send(reply .. "\r\n") return line end
      c:send("220 x\r\n") step("230 in") step("500") step("200")
      local port = step("200 ok"):match("|(%d+)|$")
      c:receive("*l")
      local stranger = socket.tcp4()
      stranger:bind("127.0.0.2", 0)
      report(stranger:connect("127.0.0.1", port) == 1)
      stranger:send("evil")
      local d = socket.tcp4()
      d:bind("127.0.0.1", 0)
      d:connect("127.0.0.1", port)
      c:send("150 go\r\n")
      d:send("good") d:close()
      c:send("226 done\r\n")
      stranger:close()]])
    local ftp = assert(open(p.port, { active = true }))
    assert.equal("good", ftp:get("x"))
    assert.same({ "true" }, p:finish())
    ftp:close()
  end)

  it("strips, refuses or fills the way to TLS: nothing goes on in the clear", function()
    local rows = {
      { { { "", "220 x" }, { "AUTH TLS", "502 no" } }, "network/tls" },
      { { { "", "220 x" }, { "AUTH TLS", "421 bye" } }, "network/tls" },
      { { { "", "220 x" }, { "AUTH TLS", "234 go\n230 injected" } }, "network/protocol" },
      { { { "", "220 x" }, { "AUTH TLS", "334 go" } }, "network/protocol" },
      { { { "", "220 x" }, { "AUTH TLS", "234 go" } }, { "network/connection_reset", "network/tls" } },
    }
    for at, row in ipairs(rows) do
      local p = dialog.start(row[1])
      local ok, err = pcall(net.ftp, { host = "127.0.0.1", port = p.port, user = "user", password = "s3cret", timeout = 10, ca_bundle = ca })
      assert.is_false(ok, at)
      local found = false
      for _, class in ipairs(type(row[2]) == "table" and row[2] or { row[2] }) do found = found or err:is(class) end
      assert.truthy(found, at .. ": " .. tostring(err))
      assert.is_nil(tostring(err):find("s3cret", 1, true))
    end
  end)

  -- A server with TLS on both connections; the data connection ends as `ending` says.
  local function secured(ending, protect)
    return peer.tcp(([[
      local ssl = require("ssl")
      local context = assert(ssl.newcontext{ mode = "server", protocol = "any", certificate = %q, key = %q, options = "all" })
      local d = assert(socket.bind("127.0.0.1", 0))
      local _, port = d:getsockname()
      local plain = accept()
      plain:send("220 x\r\n") plain:receive("*l") plain:send("234 go\r\n")
      local c = assert(ssl.wrap(plain, context))
      c:settimeout(10)
      assert(c:dohandshake())
      local function step(reply) local line = c:receive("*l") c:send(reply .. "\r\n") return line end
      step("200") step(%q)
      step("230 in") step("500") step("200") step("229 (|||" .. port .. "|)")
      d:settimeout(10)
      local s = d:accept()
      step("150 go")
      s = assert(ssl.wrap(s, context))
      s:settimeout(10)
      s:dohandshake()
      s:send("hello")
      %s
      c:send("226 done\r\n")
      c:receive("*l")]]):format(servers.server.cert, servers.server.key, protect or "200", ending))
  end
  local function fetch(p)
    local ftp = assert(net.ftp{ host = "localhost", port = p.port, timeout = 10, ca_bundle = ca })
    return ftp, pcall(ftp.get, ftp, "x")
  end

  it("ends TLS for data without a close_notify: what came is cut", function()
    local ftp, ok, text = fetch(secured("s:close()"))
    assert.equal("hello", ok and text)
    ftp:close()
    local err
    -- The socket beneath ends, and TLS does not.
    ftp, ok, err = fetch(secured("local raw = socket.tcp4() raw:setfd(s:getfd()) raw:close() kept = s"))
    assert.is_false(ok)
    assert.truthy(err:is("network/connection_reset"), tostring(err))
    assert.equal("hello", err.partial)
    assert.truthy(err.message:find("close_notify", 1, true), err.message)
    assert.truthy(ftp.connected)
    ftp:close()
  end)

  it("does not protect data: nothing goes on", function()
    local p = secured("s:close()", "534 no")
    local err = fails.with("network/tls", net.ftp, { host = "localhost", port = p.port, timeout = 10, ca_bundle = ca })
    assert.truthy(err.message:find("PROT P", 1, true))
  end)
end)
