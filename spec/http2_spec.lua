-- Contract 5a: HTTP/2 against nginx, nghttpd and peers whose frames are made by hand.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local signals = require("spec.support.signals")
local wire = require("spec.support.wire")

local function contents(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local ca = contents(servers.ca)
local https = "https://localhost:" .. servers.https
local h2 = "https://localhost:" .. servers.h2
local h2c = "http://127.0.0.1:" .. servers.h2c
local nghttpd = "https://localhost:" .. servers.nghttpd.tls
local clear = "http://127.0.0.1:" .. servers.nghttpd.clear

-- A capability of the row's own, and a client of it that offers HTTP/2; ended after it.
local mine, client

local function fresh(before_each, after_each)
  before_each(function()
    mine = net.narrow{ "--allow-net" }
    client = mine.http.client.new{ ca_bundle = ca, http2 = true }
  end)
  after_each(function()
    mine.revoke()
    mine, client = nil, nil
  end)
  wire.watch(before_each, after_each)
end

-- Frames for peers: their source begins with this.
local FRAMES = [==[
local function number(n, bytes)
  local out = ""
  for _ = 1, bytes do out = string.char(n % 256) .. out n = math.floor(n / 256) end
  return out
end
local function frame(kind, flags, stream, payload)
  payload = payload or ""
  return number(#payload, 3) .. string.char(kind, flags) .. number(stream, 4) .. payload
end
local SETTINGS = frame(4, 0, 0)
-- A literal that is not indexed, of short texts.
local function field(name, value) return "\0" .. string.char(#name) .. name .. string.char(#value) .. value end
local function head(stream, flags, status, more) return frame(1, 4 + flags, stream, field(":status", status) .. (more or "")) end
local function data(stream, flags, bytes) return frame(0, flags, stream, bytes) end
local function rst(stream, code) return frame(3, 0, stream, number(code, 4)) end
local function goaway(last, code) return frame(7, 0, 0, number(last, 4) .. number(code, 4)) end
-- Reads frames until one of `kind` has come: its stream, flags and payload.
local function wait(c, kind)
  while true do
    local h = c:receive(9)
    if not h then return nil end
    local a, b, d, k, flags, s1, s2, s3, s4 = h:byte(1, 9)
    local payload = c:receive((a * 256 + b) * 256 + d)
    if k == kind then return ((s1 * 256 + s2) * 256 + s3) * 256 + s4, flags, payload end
  end
end
local function greet()
  local c = accept()
  assert(c:receive(24) == "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
  c:send(SETTINGS)
  return c
end
]==]

-- A server of frames; its requests are made without asking (`prior`).
local function frames(script)
  local server = peer.tcp(FRAMES .. script)
  return server, "http://127.0.0.1:" .. server.port .. "/"
end

describe("HTTP/2", function()
  fresh(before_each, after_each)

  it("is spoken where it is asked for and picked", function()
    for _, row in ipairs{
      { h2, nil, "1.1" }, { h2, false, "1.1" }, { h2, true, "2" }, { h2, "prior", "2" },
      { https, nil, "1.1" }, { https, true, "1.1" },
      { nghttpd, true, "2" }, { nghttpd, "prior", "2" },
    } do
      local r = mine.fetch(row[1] .. (row[1] == nghttpd and "/1k" or "/hello"), { ca_bundle = ca, http2 = row[2] })
      assert.equal(200, r.status)
      assert.equal(row[3], r.version, row[1] .. " " .. tostring(row[2]))
      assert.truthy(r.peer_cert())
    end
    for _, url in ipairs{ h2c .. "/hello", clear .. "/1k" } do
      local r = mine.fetch(url, { http2 = "prior" })
      assert.equal("200 2", r.status .. " " .. r.version)
    end
    -- Nothing asks for it in the clear.
    assert.equal("1.1", mine.fetch("http://127.0.0.1:" .. servers.http .. "/hello", { http2 = true }).version)
    -- Nobody falls back from what was to be spoken without asking.
    local wants, url = frames[[
      local c = greet()
      wait(c, 1)
      c:send(rst(1, 13))
      wait(c, -1)
    ]]
    local said = fails.with("network/protocol", mine.fetch, url, { http2 = "prior", timeout = 10, retry = { attempts = 3 } })
    assert.truthy(said.message:find('HTTP_1_1_REQUIRED): leave out http2 = "prior", or set http2 = false', 1, true), said.message)
    wants:finish()
    -- Where HTTP/2 was only offered, HTTP/1.1 is spoken, whatever the method: nothing was processed.
    for _, method in ipairs{ "GET", "POST" } do
      wants = peer.tls(FRAMES .. [[
        local c = greet()
        wait(c, 1)
        c:send(rst(1, 13))
        local again = accept()
        local line = again:receive()
        while again:receive() ~= "" do end
        again:send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        report(line)
      ]], 'alpn = { "h2", "http/1.1" }')
      local r = mine.fetch("https://localhost:" .. wants.port .. "/", { ca_bundle = ca, http2 = true, method = method, timeout = 10 })
      assert.equal("200 1.1", r.status .. " " .. r.version)
      assert.same({ method .. " / HTTP/1.1" }, wants:finish())
    end
    fails.with("network/tls", mine.fetch, https .. "/hello", { ca_bundle = ca, http2 = "prior" })
    fails.with("network/protocol", mine.fetch, "http://127.0.0.1:" .. servers.http .. "/hello", { http2 = "prior", timeout = 10 })
    local err = fails.with("network/protocol", mine.fetch, clear .. "/1k", { timeout = 10 })
    assert.truthy(err.message:find('needs http2 = "prior"', 1, true), err.message)
    for _, odd in ipairs{ 1, "h2", "", {} } do
      fails.plainly('http2 must be true, false or "prior"', mine.fetch, h2, { http2 = odd })
    end
  end)

  -- Everything that nginx answers, over both.
  for _, row in ipairs{
    { "/hello" }, { "/json" }, { "/latin1" }, { "/gzip" }, { "/empty" }, { "/chunked" }, { "/files/0" }, { "/files/1" }, { "/files/64k" },
    { "/files/1m" }, { "/files/3m" }, { "/status/404" }, { "/status/500" }, { "/twice" }, { "/loop/../hello" }, { "/hops/aaaa" },
    { "/relative/a/b" }, { "/redirect/301" }, { "/redirect/303/echo", { method = "POST", body = "x" } },
    { "/redirect/307/echo", { method = "POST", body = "x" } }, { "/redirect/308/echo", { method = "PUT", body = ("y"):rep(100000) } },
    { "/nowhere" }, { "/echo", { method = "POST", body = "" } }, { "/echo", { method = "POST", body = ("z"):rep(3000000) } },
    { "/echo", { method = "POST", body_json = { 1, 2 } } }, { "/echo", { method = "POST", body_form = { a = "b c" } } },
    { "/hello", { method = "HEAD" } }, { "/files/1m", { method = "HEAD" } }, { "/files/1m", { headers = { Range = "bytes=5-9" } } },
    { "/basic" }, { "/basic", { auth = { "user", "s3cret" } } }, { "/gzip", { decompress = false } },
    { "/hello?a=b&c=%20|{}^`[]" }, { "/cookies", { cookies = true } }, { "/hello", { method = "OPTIONS" } },
    { "/files/64k", { headers = { Connection = "close", ["Keep-Alive"] = "1", TE = "gzip" } } },
  } do
    local name = ((row[2] or {}).method or "GET") .. " " .. row[1]
    it("has the same answers as HTTP/1.1: " .. name, function()
      local one = mine.http.client.new{ ca_bundle = ca }
      local before, now = one:fetch(https .. row[1], row[2]), client:fetch(h2 .. row[1], row[2])
      assert.equal("1.1 2", before.version .. " " .. now.version)
      assert.equal(before.status, now.status)
      assert.equal(#before.redirect_chain, #now.redirect_chain)
      -- What nginx says of the request differs as the requests do.
      local function plain(body) return (body:gsub(" HTTP/[%d.]+", ""):gsub("localhost:%d+", "localhost")) end
      assert.is_true(plain(before.body) == plain(now.body), #before.body .. " " .. #now.body)
      for _, header in ipairs{ "content-type", "content-encoding", "content-range", "content-length", "x-twice", "set-cookie", "location" } do
        assert.same(before.headers[header], now.headers[header], header)
      end
      assert.equal("", now.reason)
      assert.equal((before.url:gsub(servers.https, servers.h2)), now.url)
    end)
  end

  it("sends what was asked, in HTTP/2's words", function()
    local r = client:fetch(h2 .. "/inspect?q", { headers = { ["X-One"] = "1", ["User-Agent"] = "me", Host = "other.example", Cookie = "a=b" } })
    for _, line in ipairs{ "GET /inspect?q HTTP/2.0", "host: other.example", "user-agent: me", "x-one: 1", "cookie: a=b", "accept: */*" } do
      assert.truthy(r.body:find(line, 1, true), line .. "\n" .. r.body)
    end
    fails.plainly("control character", client.fetch, client, h2 .. "/inspect", { headers = { a = "b\r\nc: d" } })
  end)

  it("shares one connection", function()
    assert.is_false(client:fetch(h2 .. "/hello").timings.reused)
    local open = client:fetch(h2 .. "/half", { stream = true })
    assert.equal("first\n", open:read(6))
    -- Beside a request that is under way, and after it.
    for _ = 1, 5 do assert.is_true(client:fetch(h2 .. "/hello").timings.reused) end
    open:close()
    assert.is_true(client:fetch(h2 .. "/hello").timings.reused)
    -- One per client and per set of options.
    assert.is_false(mine.http.client.new{ ca_bundle = ca, http2 = true }:fetch(h2 .. "/hello").timings.reused)
    assert.equal("1.1", client:fetch(h2 .. "/hello", { http2 = false }).version)
    assert.equal("1.1", client:fetch(h2 .. "/hello", { http2 = false }).version)
    assert.is_true(client:fetch(h2 .. "/hello").timings.reused)
    -- Another name is another origin, whatever its certificate says.
    assert.is_false(client:fetch("https://127.0.0.1:" .. servers.h2 .. "/hello").timings.reused)
  end)

  it("streams: pieces, lines, and several at once", function()
    local first = client:fetch(nghttpd .. "/3m", { stream = true })
    local second = client:fetch(nghttpd .. "/3m", { stream = true })
    local third = client:fetch(nghttpd .. "/64k", { stream = true })
    local lines = 0
    for line in third:lines() do
      assert.equal(("line %010d\n"):format(lines), line)
      lines = lines + 1
    end
    assert.equal(4096, lines)
    assert.equal("yes", third.trailers["x-trailer"])
    local sizes = { 0, 0 }
    local open = { first, second }
    while next(open) do
      for at, r in pairs(open) do
        local piece = r:read(50000 * at)
        if piece then sizes[at] = sizes[at] + #piece else open[at] = nil end
      end
    end
    assert.same({ 3145731, 3145731 }, sizes)
    -- Nobody reads this one: it takes nothing from the others.
    local unread = client:fetch(nghttpd .. "/3m", { stream = true })
    assert.equal(3145731, #client:fetch(nghttpd .. "/3m").body)
    assert.is_true(mine.poll({ unread }, 5)[1] == unread)
    unread:close()
    assert.equal(1024, #client:fetch(nghttpd .. "/1k").body)
  end)

  it("uploads: strings, files, functions", function()
    local text = ("0123456789"):rep(200000)
    local path = process.file(text)
    local pieces = 0
    for _, body in ipairs{
      text, io.open(path, "rb"),
      function()
        pieces = pieces + 1
        return pieces <= 200 and text:sub(1, 10000) or nil
      end,
    } do
      local r = client:fetch(nghttpd .. "/echo", { method = "POST", body = body })
      assert.equal("200 2", r.status .. " " .. r.version)
      assert.is_true(r.body == text, #r.body)
    end
    os.remove(path)
    local seen = {}
    local r = client:fetch(h2 .. "/echo", { method = "PUT", body = text, on_progress = function(done, _, what) seen[what] = done end })
    assert.equal(#text, #r.body)
    assert.same({ upload = #text, download = #text }, seen)
  end)

  it("has timings, a HAR, progress and files", function()
    local har = mine.http.client.new{ ca_bundle = ca, http2 = true, har = true }
    local r = har:fetch(h2 .. "/files/1m")
    for _, phase in ipairs{ "connect", "tls", "send", "wait", "receive", "total" } do assert.is_true(r.timings[phase] >= 0, phase) end
    local entry = har:har().log.entries[1]
    assert.equal("HTTP/2 200", entry.response.httpVersion .. " " .. entry.response.status)
    local path = process.file("")
    local file = io.open(path, "w+b")
    r = client:fetch(h2 .. "/files/3m", { save = file })
    assert.equal(200, r.status)
    assert.equal(3145731, file:seek("end"))
    file:close()
    os.remove(path)
  end)

  it("does many at once over one connection", function()
    local list = {}
    for i = 1, 200 do list[i] = { h2 .. "/echo", method = "POST", body = ("number %d "):format(i):rep(i) } end
    local results = client:fetch_all(list)
    local fresh_ones = 0
    for i, r in ipairs(results) do
      assert.equal(("number %d "):format(i):rep(i), r.body)
      assert.equal("2", r.version)
      if not r.timings.reused then fresh_ones = fresh_ones + 1 end
    end
    assert.equal(1, fresh_ones)
    -- An origin that speaks HTTP/1.1 only is none the slower for it.
    results = client:fetch_all{ https .. "/hello", https .. "/hello", h2 .. "/hello", nghttpd .. "/1k", https .. "/status/404" }
    local versions = {}
    for i, r in ipairs(results) do versions[i] = r.version end
    assert.same({ "1.1", "1.1", "2", "2", "1.1" }, versions)
  end)

  it("waits for many at once", function()
    local list = {}
    for i = 1, 150 do list[i] = h2 .. "/soon" end
    -- Some that are slow, or that never answer, stand in nobody's way.
    list[1] = { h2 .. "/never", timeout = 4 }
    list[2] = { h2 .. "/half", timeout = 4 }
    list[3] = h2 .. "/files/3m"
    list[4] = { h2 .. "/echo", method = "POST", body = ("x"):rep(1000000) }
    list[5] = { h2 .. "/redirect/302" }
    list[6] = { h2 .. "/inspect", headers = { Upgrade = "none" } }
    list[7] = "http://127.0.0.1:1/"
    local results = client:fetch_all(list)
    assert.truthy(results[1]:is("network/timeout"))
    assert.truthy(results[2]:is("network/timeout"))
    assert.equal("first\n", results[2].partial)
    assert.equal(3145731, #results[3].body)
    assert.equal(1000000, #results[4].body)
    assert.equal(1, #results[5].redirect_chain)
    assert.equal("1.1", results[6].version)
    assert.truthy(results[7]:is("network/connection_refused"))
    for i = 8, 150 do assert.equal("soon\n", results[i].body, i) end
    -- As many as are allowed.
    for _, r in ipairs(client:fetch_all({ h2 .. "/soon", h2 .. "/hello", h2 .. "/soon" }, { parallel = 1 })) do
      assert.equal(200, r.status)
    end
    results = client:fetch_all({ h2 .. "/never", h2 .. "/never", h2 .. "/hello" }, { timeout = 3 })
    assert.truthy(results[1]:is("network/timeout") and results[2]:is("network/timeout"))
    assert.equal("hello\n", results[3].body)
  end)

  it("reads all bodies of many at once", function()
    local list = {}
    for i = 1, 80 do list[i] = i % 4 == 0 and { h2 .. "/half", timeout = 3 } or h2 .. "/hello" end
    for i, r in ipairs(client:fetch_all(list)) do
      if i % 4 == 0 then
        assert.equal("first\n", r.partial)
      else
        assert.equal("hello\n", r.body)
        assert.is_true(r.timings.total < 2.9, r.timings.total)
      end
    end
  end)

  it("lets one of many fail by itself", function()
    local results = client:fetch_all{
      h2 .. "/hello", { h2 .. "/never", timeout = 0.3 }, h2 .. "/loop", { h2 .. "/files/1m", max_body_bytes = 10 }, h2 .. "/hello",
    }
    assert.equal(200, results[1].status)
    assert.truthy(results[2]:is("network/timeout"))
    assert.truthy(results[3]:is("network/protocol"))
    assert.truthy(results[4]:is("network/too_large"))
    assert.equal(200, results[5].status)
  end)

  it("ends a request whose time is up, and that request only", function()
    local open = client:fetch(h2 .. "/half", { stream = true })
    assert.equal("first\n", open:read(6))
    fails.with("network/timeout", mine.within, 0.1, open.read, open, 1)
    fails.with("network/timeout", client.fetch, client, h2 .. "/half", { timeout = 0.3 })
    assert.equal("hello\n", client:fetch(h2 .. "/hello").body)
    open:close()
  end)

  it("goes through proxies, and over Unix sockets", function()
    for _, proxy in ipairs{ "http://127.0.0.1:" .. servers.proxy.http, "socks5h://127.0.0.1:" .. servers.proxy.socks } do
      local r = mine.fetch(h2 .. "/hello", { ca_bundle = ca, http2 = true, proxy = proxy })
      assert.equal("200 2", r.status .. " " .. r.version)
      r = mine.fetch(h2c .. "/hello", { http2 = "prior", proxy = "socks5h://127.0.0.1:" .. servers.proxy.socks })
      assert.equal("200 2", r.status .. " " .. r.version)
    end
  end)

  it("is no way around a grant", function()
    local there = net.narrow{ "--allow-net=localhost:" .. servers.h2 }
    local options = { ca_bundle = ca, http2 = true }
    assert.equal(200, there.fetch(h2 .. "/hello", options).status)
    fails.with("network/port_not_allowed", there.fetch, https .. "/hello", options)
    fails.with("network/host_not_allowed", there.fetch, "https://127.0.0.1:" .. servers.h2 .. "/hello", options)
    fails.with("network/host_not_allowed", there.fetch, h2 .. "/ungranted", { ca_bundle = ca, http2 = true, allow_downgrade = true })
    local open = there.fetch(h2 .. "/half", { ca_bundle = ca, http2 = true, stream = true })
    there.revoke()
    fails.with("network/socket", function() open:read(1) end)
  end)

  it("keeps long bodies out of memory, both ways", function()
    local path = servers.dir .. "/files/long"
    assert.truthy(os.execute("truncate -s 128M " .. process.quote(path)))
    for _, row in ipairs{
      -- The server, what is asked, and whether bytes go up.
      { nghttpd .. "/long", "stream = true" }, { h2 .. "/files/long", "stream = true" }, { clear .. "/long", "stream = true" },
      { h2 .. "/files/long", 'save = "/dev/null"' }, { nghttpd .. "/echo", "stream = true", true },
    } do
      local said = child.run(([[
        local net = launch{ "--allow-net" }
        local peak = require("spec.support.peak")
        local client = net.http.client.new{ ca_bundle = %q, http2 = %q == "https" or "prior", timeout = 60 }
        local function get(size)
          local left = size / 65536
          local options = { max_body_bytes = 2 ^ 30, %s }
          if options.save then options.save = assert(io.open(options.save, "wb")) end
          if %s then
            options.method, options.body = "POST", function()
              left = left - 1
              if left >= 0 then return ("x"):rep(65536) end
            end
          else
            options.headers = { Range = ("bytes=0-%%d"):format(size - 1) }
          end
          local r, count = client:fetch(%q, options), 0
          assert(r.version == "2" and r.ok)
          if options.save then return r.saved end
          for piece in r:chunks() do count = count + #piece end
          return count
        end
        get(1024 * 1024)
        local before = peak()
        local count = get(128 * 1024 * 1024)
        print(("%%d"):format(count), peak() - before)]]):format(servers.ca, row[1]:match("^%a+"), row[2], tostring(row[3] or false), row[1]))
      local count, grown = said:match("^(%d+)%s+(%-?%d+)$")
      assert.equal("134217728", count, said)
      assert.truthy(tonumber(grown) < 16 * 1024, row[1] .. " " .. grown .. " KiB")
    end
    os.remove(path)
  end)

  it("follows events", function()
    local server, url = frames[[
      local c = greet()
      wait(c, 1)
      c:send(head(1, 0, "200", field("content-type", "text/event-stream")) .. data(1, 0, "data: one\n\n") .. data(1, 0, "data: two\n\n"))
      wait(c, 3)
      c:close()]]
    local events = mine.events(url, { http2 = "prior", timeout = 10 })
    assert.equal("one", events:next().data)
    assert.equal("two", events:next().data)
    events:close()
    server:finish()
  end)
end)

-- What is said after "blocked" by a program whose handler of a signal does `act` while `call` waits. `first` comes before.
describe("a signal's handler may, of the connection that the call beneath waits on,", function()
  teardown(signals.clean)

  local function run(server, url, first, act, call)
    local said = signals.run(([[
      local client = launch{ "--allow-net" }.http.client.new{ http2 = "prior", timeout = 20 }
      local url = %q
      assert(client:get(url).body == "first")
      %s
      handle(function() %s end)
      say("blocked") %s]]):format(url, first, act, call))
    server:finish()
    return said
  end

  it("make requests", function()
    local server, url = frames[[
      local c = greet()
      wait(c, 1) c:send(head(1, 0, "200") .. data(1, 1, "first"))
      wait(c, 1) wait(c, 1)
      c:send(head(5, 0, "200") .. data(5, 1, "inner") .. head(3, 0, "200") .. data(3, 1, "outer"))
      wait(c, 7)]]
    assert.equal("inner\nouter", run(server, url, "", "say(client:get(url).body)", "say(client:get(url).body)"))
  end)

  it("collect requests", function()
    local server, url = frames[[
      local c = greet()
      wait(c, 1) c:send(head(1, 0, "200") .. data(1, 1, "first"))
      wait(c, 1) c:send(head(3, 0, "200"))
      wait(c, 1) wait(c, 3) c:send(head(5, 0, "200") .. data(5, 1, "outer"))
      wait(c, 7)]]
    assert.equal("handled\nouter", run(server, url, [[
      collectgarbage("stop")
      client:get(url, { stream = true })]], [[collectgarbage() collectgarbage() say("handled")]], "say(client:get(url).body)"))
  end)

  it("end the program", function()
    local server, url = frames[[
      local c = greet()
      wait(c, 1) c:send(head(1, 0, "200") .. data(1, 1, "first"))
      wait(c, 1) wait(c, 7)]]
    assert.equal("leaving", run(server, url, "", [[say("leaving") os.exit(0, true)]], "client:get(url)"))
  end)

  it("open another, while it is being opened", function()
    local server = peer.tcp[[
      local first, second = accept(), accept()
      second:close()
      first:close()]]
    assert.equal("inner\tfalse\nouter\tfalse", signals.run(([[
      local client = launch{ "--allow-net" }.http.client.new{ http2 = true, timeout = 30 }
      local function get(who)
        local _, err = pcall(client.get, client, "https://127.0.0.1:%d/")
        say(who, err:is("network/timeout"))
      end
      handle(function() get("inner") end)
      say("blocked") get("outer")]]):format(server.port)))
    server:finish()
  end)
end)

describe("a server of HTTP/2 that", function()
  fresh(before_each, after_each)

  -- The second body is longer than its window: somebody has to read it while the first request is not done.
  for _, row in ipairs{
    { "is slow with one body of many", [[
      c:send(head(1, 0, "200") .. data(1, 0, "first"))
      long()
      c:send(data(1, 1, " and last"))]], "first and last" },
    { "sends one of many to a server that is slow", [[
      local _, port = server:getsockname()
      c:send(head(1, 1, "302", field("location", ("http://localhost:%d/there"):format(port))))
      local d = greet()
      wait(d, 1)
      long()
      d:send(head(1, 0, "200") .. data(1, 1, "there"))]], "there" },
    { "sends one of many back to itself", [[
      c:send(head(1, 1, "302", field("location", "/there")))
      wait(c, 1)
      long()
      c:send(head(5, 0, "200") .. data(5, 1, "there"))]], "there" },
    { "is there again later for one of many", [[
      c:send(head(1, 1, "503"))
      long()
      wait(c, 1)
      c:send(head(5, 0, "200") .. data(5, 1, "there"))]], "there" },
  } do
    it(row[1] .. " keeps nobody else waiting", function()
      local server, url = frames([[
        local c = greet()
        c:send(frame(4, 1, 0)) -- their windows count once they are acknowledged
        local function long()
          c:send(head(3, 0, "200") .. data(3, 0, ("x"):rep(16384)):rep(64))
          local stream
          repeat stream = wait(c, 8) until stream == 3 or not stream
          report(stream)
          c:send(data(3, 1, "end"))
        end
        wait(c, 1) wait(c, 1)
      ]] .. row[2] .. " wait(c, 7)")
      local options = { url, http2 = "prior", timeout = 20, retry = { attempts = 1, backoff = 2, max_wait = 2 } }
      local results = mine.fetch_all{ options, options }
      -- Either may be the first that the server sees.
      local one, other = assert(results[1].body), assert(results[2].body)
      if #one > #other then one, other = other, one end
      assert.equal(row[3], one)
      assert.equal(1048579, #other)
      mine.revoke()
      assert.same({ "3" }, server:finish())
    end)
  end

  it("allows one request at a time has another connection beside one that nobody reads", function()
    local server, url = frames[[
      local function one()
        local c = accept()
        c:receive(24)
        c:send(frame(4, 0, 0, number(3, 2) .. number(1, 4)))
        wait(c, 1)
        return c
      end
      local c = one()
      c:send(head(1, 0, "200") .. data(1, 0, "part"))
      local d = one()
      d:send(head(1, 0, "200") .. data(1, 1, "other"))
      c:send(data(1, 1, " and end"))
      wait(c, 7)]]
    local one = mine.http.client.new{ http2 = "prior", timeout = 20 }
    local open = one:get(url, { stream = true })
    assert.equal("other", one:get(url).body)
    assert.equal("part and end", open:read(12))
    one:close()
    server:finish()
  end)

  it("sends an empty frame of DATA with each answer is asked on another connection in time", function()
    local server, url = frames[[
      local left, made = 150, 0
      while left > 0 do
        local c = greet()
        made = made + 1
        repeat
          local stream = wait(c, 1)
          if stream then
            c:send(head(stream, 0, "200") .. data(stream, 0, "") .. data(stream, 1, "x"))
            left = left - 1
          end
        until not stream or left == 0
      end
      report(made)]]
    local one = mine.http.client.new{ http2 = "prior", timeout = 20 }
    for i = 1, 150 do assert.equal("x", one:get(url).body, i) end
    assert.same({ "3" }, server:finish())
  end)

  it("allows one request at a time has a few connections, whatever many want of it", function()
    local single = "http://127.0.0.1:" .. servers.nghttpd.single
    local one = mine.http.client.new{ http2 = "prior", timeout = 20 }
    local open = {}
    for i = 1, 5 do open[i] = one:get(single .. "/3m", { stream = true }) end
    local list = {}
    for i = 1, 40 do list[i] = single .. "/1k" end
    local made = 0
    for _, r in ipairs(one:fetch_all(list)) do
      assert.equal(1024, #r.body)
      if not r.timings.reused then made = made + 1 end
    end
    for i = 1, 5 do
      if not open[i].timings.reused then made = made + 1 end
      open[i]:close()
    end
    -- One that was refused, since it came before the server had said how many it allows, was made again on the same connection.
    assert.is_true(made == 5 or made == 6, made)
  end)

  -- What it does on its connections, what is asked, and what comes of it: a body, or an error's class and its partial.
  for _, row in ipairs{
    { "refuses a request is asked again, a POST too", [[
      local c = greet()
      wait(c, 1) c:send(rst(1, 7))
      wait(c, 1) c:send(head(3, 0, "200") .. data(3, 1, "fine"))
      wait(c, 7)]], { method = "POST", body = "x" }, "fine" },
    { "refuses it again is not asked a third time", [[
      local c = greet()
      wait(c, 1) c:send(rst(1, 7))
      wait(c, 1) c:send(rst(3, 7))
      wait(c, 7)]], { method = "POST", body = "x" }, "connection_reset" },
    { "refuses a body that can be sent only once is not asked again", [[
      local c = greet()
      wait(c, 0) c:send(rst(1, 7))
      wait(c, 7)]], { method = "POST", once = true }, "connection_reset" },
    { "goes away before it looked is left for another connection", [[
      local c = greet()
      wait(c, 1) c:send(goaway(0, 0))
      local d = greet()
      wait(d, 1) d:send(head(1, 0, "200") .. data(1, 1, "fine"))
      wait(d, 7)]], { method = "POST", body = "x" }, "fine" },
    { "goes away after it looked may have done it", [[
      local c = greet()
      wait(c, 1) c:send(goaway(1, 0)) c:close()]], { method = "POST", body = "x" }, "connection_reset" },
    { "goes away and answers first", [[
      local c = greet()
      wait(c, 1) c:send(goaway(1, 0) .. head(1, 0, "200") .. data(1, 1, "fine")) wait(c, 7)]], {}, "fine" },
    { "cancels a request has answered it so", [[
      local c = greet()
      wait(c, 1) c:send(rst(1, 8)) wait(c, 7)]], {}, "connection_reset" },
    { "ends the body early leaves a part", [[
      local c = greet()
      wait(c, 1) c:send(head(1, 0, "200", field("content-length", "9")) .. data(1, 0, "part")) c:close()]], {}, "connection_reset", "part" },
    { "resets the body leaves a part", [[
      local c = greet()
      wait(c, 1) c:send(head(1, 0, "200") .. data(1, 0, "part") .. rst(1, 2)) wait(c, 7)]], {}, "connection_reset", "part" },
    { "lies about the length breaks the protocol", [[
      local c = greet()
      wait(c, 1) c:send(head(1, 0, "200", field("content-length", "9")) .. data(1, 1, "part")) wait(c, 7)]], {}, "protocol" },
    { "says no while a body is sent is heard", [[
      local c = greet()
      wait(c, 1) c:send(head(1, 0, "413") .. data(1, 1, "too much")) wait(c, 7)]],
      { method = "POST", body = ("x"):rep(1000000) }, "too much" },
    { "says no and resets the rest is heard", [[
      local c = greet()
      wait(c, 1) c:send(head(1, 0, "413") .. data(1, 1, "too much") .. rst(1, 0)) wait(c, 7)]],
      { method = "POST", body = ("x"):rep(1000000) }, "too much" },
    { "says 100 gets the body", [[
      local c = greet()
      wait(c, 1) c:send(head(1, 0, "100"))
      local _, _, body = wait(c, 0)
      c:send(head(1, 0, "200") .. data(1, 1, "got " .. body)) wait(c, 7)]],
      { method = "POST", body = "this", headers = { Expect = "100-continue" } }, "got this" },
    { "pings is answered", [[
      local c = greet()
      wait(c, 1) c:send(frame(6, 0, 0, "12345678"))
      local _, flags, payload = wait(c, 6)
      c:send(head(1, 0, "200") .. data(1, 1, flags .. payload)) wait(c, 7)]], {}, "112345678" },
    { "opens its windows late gets all of a body", [[
      local c = accept()
      c:receive(24)
      c:send(frame(4, 0, 0, number(4, 2) .. number(3, 4)))
      wait(c, 1)
      local got = ""
      while #got < 10 do
        local _, flags, payload = wait(c, 0)
        got = got .. payload
        if #got < 10 then c:send(frame(8, 0, 1, number(3, 4))) end
      end
      c:send(head(1, 0, "200") .. data(1, 1, got)) wait(c, 7)]], { method = "POST", body = "0123456789" }, "0123456789" },
    { "pushes is refused", [[
      local c = greet()
      wait(c, 1) c:send(frame(5, 4, 1, number(2, 4) .. field(":method", "GET") .. field(":path", "/"))) wait(c, 7)]], {}, "protocol" },
    { "speaks HTTP/1.1 is not understood", [[
      local c = accept()
      c:receive(24) c:send("HTTP/1.1 400 Bad Request\r\n\r\n") c:receive("*a")]], {}, "protocol" },
    { "ends at once is lost", [[accept():close()]], { method = "POST", body = "x" }, "connection_reset" },
    { "is asked again by the option retry", [[
      local c = greet()
      wait(c, 1) c:send(rst(1, 2))
      wait(c, 1) c:send(head(3, 0, "200") .. data(3, 1, "fine")) wait(c, 7)]], { retry = { attempts = 1, backoff = 0.01 } }, "fine" },
    { "sends no end of PINGs is left", [[
      local c = greet()
      wait(c, 1)
      local pings = frame(6, 0, 0, "12345678"):rep(1000)
      for _ = 1, 1000 do if not c:send(pings) then break end end]], {}, "protocol" },
    { "sends no end of interim heads is left", [[
      local c = greet()
      wait(c, 1)
      local heads = head(1, 0, "103"):rep(1000)
      for _ = 1, 1000 do if not c:send(heads) then break end end]], {}, "protocol" },
  } do
    it(row[1], function()
      local server, url = frames(row[2])
      local options = { http2 = "prior", timeout = 20 }
      for key, value in pairs(row[3]) do options[key] = value end
      if options.once then
        local pieces = { "x" }
        options.once, options.body = nil, function() return table.remove(pieces) end
      end
      local ok, r = pcall(mine.fetch, url, options)
      if ok then
        assert.equal(row[4], r.body)
      else
        assert.equal("table", type(r), tostring(r))
        assert.equal("puck.uno/error/network/" .. row[4], r.class, tostring(r))
        if row[5] then assert.equal(row[5], r.partial) end
      end
      mine.revoke()
      server:finish()
    end)
  end

  it("was restarted costs a request that may be made again nothing", function()
    local server, url = frames[[
      for i = 1, 2 do
        local c = greet()
        wait(c, 1) c:send(head(1, 0, "200") .. data(1, 1, "answer " .. i))
        c:close()
      end]]
    assert.equal("answer 1", mine.fetch(url, { http2 = "prior" }).body)
    -- Whether its end is seen before the request goes out or after.
    assert.equal("answer 2", mine.fetch(url, { http2 = "prior" }).body)
    server:finish()
  end)

  it("wants HTTP/1.1 gets it", function()
    local server = peer.tls(FRAMES .. [[
      local c = accept()
      c:receive(24) c:send(SETTINGS)
      wait(c, 1) c:send(rst(1, 13))
      local d = accept()
      local line = d:receive("*l")
      d:send("HTTP/1.1 200 OK\r\nContent-Length: " .. #line .. "\r\n\r\n" .. line)
      d:receive("*a")]], 'alpn = function(offered) for _, name in ipairs(offered) do if name == "h2" then return "h2" end end return offered[1] end')
    local r = mine.fetch("https://localhost:" .. server.port .. "/x", { ca_bundle = ca, http2 = true, method = "POST", body = "y" })
    assert.equal("1.1 POST /x HTTP/1.1", r.version .. " " .. r.body)
    mine.revoke()
    server:finish()
  end)
end)

local posix, unistd = pcall(require, "posix.unistd") -- Debian has lua-posix for some of the Luas
if posix then
  describe("HTTP/2 in a fork", function()
    fresh(before_each, after_each)

    it("has connections of its own, and leaves its parent's alone", function()
      local open = client:fetch(h2 .. "/files/3m", { stream = true })
      assert.equal(1000, #open:read(1000))
      local id = unistd.fork()
      if id == 0 then
        local ok, good = pcall(function()
          local r = client:fetch(h2 .. "/hello")
          local lost = pcall(open.read, open, 3000000)
          open:close()
          client:close()
          return r.body == "hello\n" and r.version == "2" and not r.timings.reused and not lost
        end)
        unistd._exit(ok and good and 0 or 1)
      end
      local _, _, status = require("posix.sys.wait").wait(id)
      assert.equal(0, status)
      local size = 1000
      for piece in open:chunks() do size = size + #piece end
      assert.equal(3145731, size)
      assert.is_true(client:fetch(h2 .. "/hello").timings.reused)
    end)
  end)
end
