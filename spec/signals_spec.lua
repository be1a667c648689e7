-- Contract 4: a signal that the program handles runs its handler, and the wait goes on; what the handler raises, the call
-- raises.

local child = require("spec.support.child")
local servers = require("spec.support.servers")
local signals = require("spec.support.signals")
local wire = require("spec.support.wire")

-- What each has at hand.
local PRELUDE = [[
local net = launch{ "--allow-net", "--allow-listen" }
local listener = net.tcp_listen("127.0.0.1", 0, { timeout = 30 })
local port = listener.local_port
local function pair()
  local near = net.tcp("127.0.0.1", port)
  return near, listener:accept()
end
local url = ("http://127.0.0.1:%d/"):format(port)
local function answer()
  local server = listener:accept()
  repeat local line = server:recv_line() until line == "\r\n"
  server:send_all("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
end
]]

-- What comes first, what the handler does about the wait, the call that blocks: it answers "ok".
local rows = {
  { "accept", "", [[net.tcp("127.0.0.1", port)]], [[return listener:accept().local_port == port and "ok"]] },
  { "recv", "local a, b = pair()", [[b:send_all("ok")]], "return a:recv(2)" },
  { "recv_line", "local a, b = pair() b:send_all('o')", [[b:send_all("k\n")]], [[return (a:recv_line():gsub("\n", ""))]] },
  { "recv_exact", "local a, b = pair() b:send_all('o')", [[b:send_all("k")]], "return a:recv_exact(2)" },
  { "recv without a limit", "local a, b = pair()", [[b:send_all("ok")]], "return a:recv(2, { timeout = math.huge })" },
  { "recv of the last slice", "local a, b = pair()", [[b:send_all("ok")]], "return a:recv(2, { timeout = 30 })" },
  { "send_all", "local a, b = pair()", [[b:recv_exact(1) b:close()]], [[
    local ok, err = pcall(function() while true do a:send_all(("x"):rep(65536)) end end)
    return not ok and err:is("network/connection_reset") and "ok"]] },
  { "recv_from", [[local u, other = net.udp_listen("127.0.0.1", 0), net.udp_listen("127.0.0.1", 0) local at = u.local_port]],
    [[local ok, err = pcall(other.recv, other, 1, { timeout = 0 }) assert(not ok and err:is("network/timeout"))
      net.udp():send_to("ok", "127.0.0.1", at)]],
    "return (u:recv_from())" },
  { "poll", "local a, b = pair()", [[b:send_all("ok")]], "return net.poll({ a }, 30)[1] == a and 'ok'" },
  { "a handshake", "", "listener:accept():close()", [[
    local ok, err = pcall(net.ssl, "127.0.0.1", port, { timeout = 30 })
    return not ok and not err:is("network/timeout") and "ok"]] },
  { "fetch", "", "answer()", "return net.fetch(url).body" },
  { "fetch of a client", "local client = net.http.client.new()", "answer()", "return client:get(url).body" },
  { "fetch_all", "", "answer()", "return net.fetch_all{ url }[1].body" },
  { "accept of the drop-in", [[local l = assert(socket.bind("127.0.0.1", 0)) local _, at = l:getsockname()]],
    [[assert(socket.connect("127.0.0.1", at))]], "return l:accept() and 'ok'" },
  { "receive of the drop-in", [[local s = socket.connect("127.0.0.1", port) local b = listener:accept()]],
    [[b:send_all("ok\n")]], "return (s:receive())" },
  -- What a call uses ends with the call, also where a script finalizes it meanwhile.
  { "receive of a finalized object", [[local s = socket.connect("127.0.0.1", port) local b = listener:accept()]],
    [[getmetatable(s).__gc(s) b:send_all("ok\n")]], "return (s:receive())" },
  { "send of a finalized object", [[local s = socket.connect("127.0.0.1", port) local b = listener:accept()]],
    [[getmetatable(s).__gc(s) b:close()]], [[return s:send(("x"):rep(30000000)) == nil and "ok"]] },
  { "accept of a finalized object", [[local l = assert(socket.bind("127.0.0.1", 0)) local _, at = l:getsockname()]],
    [[getmetatable(l).__gc(l) assert(socket.connect("127.0.0.1", at))]], "return l:accept() and 'ok'" },
  -- As on a plain connection: who closes it ends the wait with "closed".
  { "receive of TLS that is closed", ([[local c = tls(%d) assert(c:dohandshake())]]):format(servers.https), [[c:close()]],
    [[local got, why = c:receive() return got == nil and why == "closed" and "ok" or why]] },
  { "receive of TLS that is finalized", ([[local c = tls(%d) assert(c:dohandshake())]]):format(servers.https),
    [[getmetatable(c).__gc(c)]], [[local got, why = c:receive() return got == nil and why == "closed" and "ok" or why]] },
  { "a handshake of TLS that is closed", [[local c = tls(port) local b = listener:accept()]], [[c:close()]],
    [[local done, why = c:dohandshake() return not done and why == "closed" and b and "ok" or why]] },
  { "receivefrom of the drop-in", [[local u = socket.udp4() u:setsockname("127.0.0.1", 0) local _, at = u:getsockname()]],
    [[local other = socket.udp4() other:settimeout(0) other:setsockname("127.0.0.1", 0) assert(select(2, other:receive()) == "timeout")
      other:sendto("ok", "127.0.0.1", at)]], "return (u:receivefrom())" },
  { "select of the drop-in", [[local s = socket.connect("127.0.0.1", port) local b = listener:accept()]],
    [[b:send_all("ok\n")]], "return #socket.select({ s }, nil, 30) == 1 and 'ok'" },
}

-- Calls that block for as long as anybody waits.
local blocking = {
  accept = "listener:accept()",
  recv = "pair():recv(1)",
  recv_line = "pair():recv_line()",
  recv_from = [[net.udp_listen("127.0.0.1", 0):recv_from()]],
  poll = "net.poll({ listener }, 30)",
  sleep = "net.sleep(30)",
  connect = [[
    local full, waiting = socket.tcp4(), {}
    full:bind("127.0.0.1", 0)
    full:listen(0)
    local _, at = full:getsockname()
    for i = 1, 4 do
      waiting[i] = socket.tcp4()
      waiting[i]:settimeout(0)
      waiting[i]:connect("127.0.0.1", at)
    end
    net.tcp("127.0.0.1", at)]],
  ["a handshake"] = [[net.ssl("127.0.0.1", port)]],
  ["a name's addresses"] = [[
    local deaf = net.udp_listen("127.0.0.1", 0)
    net.resolve("a.test", { server = "127.0.0.1:" .. deaf.local_port, timeout = 30 })]],
  fetch = "net.fetch(url)",
  fetch_all = "net.fetch_all{ url, url }",
  events = "net.events(url).next()",
  ["receive of the drop-in"] = [[socket.connect("127.0.0.1", port):receive()]],
  ["accept of the drop-in"] = [[socket.bind("127.0.0.1", 0):accept()]],
  ["select of the drop-in"] = [[socket.select({ socket.bind("127.0.0.1", 0) }, nil, 30)]],
  ["sleep of the drop-in"] = "socket.sleep(30)",
  ["http of the drop-in"] = [[require("socket.http").request(url)]],
  ["a coroutine"] = [[
    local ok, err = coroutine.resume(coroutine.create(function() listener:accept() end))
    if not ok then error(err, 0) end]],
}

local DROPIN = [[
require("caspian.net.compat").install(net)
local socket = require("socket")
local function tls(at) -- luacheck: ignore
  return assert(require("ssl").wrap(assert(socket.connect("127.0.0.1", at)), { mode = "client", protocol = "any", verify = "none" }))
end
]]

describe("a signal that the program handles", function()
  wire.watch(before_each, after_each)
  teardown(signals.clean)

  for _, row in ipairs(rows) do
    local name, first, act, call = row[1], row[2], row[3], row[4]
    it("leaves " .. name .. " waiting", function()
      assert.equal("handled\ntrue\tok", signals.run(PRELUDE .. DROPIN .. first .. [[
        handle(function() say("handled") ]] .. act .. [[ end)
        say(pcall(function() say("blocked") ]] .. call .. [[ end))]]))
    end)
  end

  for name, call in pairs(blocking) do
    it("ends " .. name .. " with what the handler raises", function()
      assert.equal("false\ttrue", signals.run(PRELUDE .. DROPIN .. [[
        local mine = setmetatable({}, { __tostring = function() return "mine" end })
        handle(function() error(mine, 0) end)
        local ok, err = pcall(function() say("blocked") ]] .. call .. [[ end)
        say(ok, rawequal(err, mine) or tostring(err))]]))
    end)
  end

  -- The hook has other masks in other hosts.
  for _, mask in ipairs{ 8, 1 + 2 + 4 + 8 } do
    it("by a hook of mask " .. mask, function()
      assert.equal("false\tstop", signals.run(PRELUDE .. "handle(function() error('stop', 0) end, " .. mask .. ")" .. [[
        say(pcall(function() say("blocked") listener:accept() end))]]))
    end)
  end

  for _, value in ipairs{ "'words'", "nil", "false", "17", "print", "coroutine.create(function() end)" } do
    it("raises " .. value, function()
      assert.equal("false\ttrue\tfalse\ttrue\tnetwork/timeout", signals.run(PRELUDE .. "local value = " .. value .. [[
        handle(function() error(value, 0) end)
        local ok, err = pcall(function() say("blocked") listener:accept() end)
        -- What was raised is raised once.
        local again, other = pcall(listener.accept, listener, { timeout = 0 })
        say(ok, err == value, again, not rawequal(other, value), tostring(other):match("^[^:]+"))]]))
    end)
  end

  it("may come often", function()
    local running = signals.start(PRELUDE .. [[
      local a, b = pair()
      local count = 0
      handle(function()
        count = count + 1
        say("handled")
        if count == 20 then b:send_all("ok") end
      end)
      say("blocked")
      say(a:recv_exact(2, { timeout = 60 }), count)]])
    running:expect("^blocked$")
    for _ = 1, 20 do
      running:signal("TERM")
      running:expect("^handled$")
    end
    assert.equal("ok\t20\n", running:rest())
  end)

  it("is told that the socket is in use, where its handler asks for an address", function()
    assert.equal("false\tnetwork/socket\nok", signals.run(PRELUDE .. [[
      local a, b = pair()
      handle(function()
        local ok, err = pcall(function() return a.local_port end)
        say(ok, tostring(err):match("^[^:]+"))
        b:send_all("ok")
      end)
      say("blocked")
      say(a:recv(2))]]))
  end)

  it("has its socket closed by the handler, and that ends the wait", function()
    for _, call in ipairs{ "listener:accept()", "a:recv(1)", "u:recv_from()", "net.poll({ listener }, 30)",
      "net.poll({ a, u }, 30)" } do
      assert.equal("false\tnetwork/socket\ttrue", signals.run(PRELUDE .. [[
        local a = pair()
        local u = net.udp_listen("127.0.0.1", 0)
        handle(function() listener:close() a:close() u:close() end)
        local ok, err = pcall(function() say("blocked") ]] .. call .. [[ end)
        say(ok, tostring(err):match("^[^:]+"), tostring(listener):find("closed") ~= nil)]]))
    end
  end)

  it("has its socket of the drop-in closed by the handler, and that ends the wait", function()
    for _, call in ipairs{ "l:accept()", "s:receive()", "u:receive()" } do
      assert.equal("nil\tclosed\ttrue", signals.run(PRELUDE .. DROPIN .. [[
        local l, u = socket.bind("127.0.0.1", 0), socket.udp4()
        u:setsockname("127.0.0.1", 0)
        local s = socket.connect("127.0.0.1", (select(2, l:getsockname())))
        local other = l:accept() -- luacheck: ignore
        handle(function() l:close() s:close() u:close() end)
        say("blocked")
        local ok, err = ]] .. call .. [[
        say(ok, err == "refused" and "closed" or err, l:getfd() < 0)]]))
    end
  end)

  it("is no signal where a debugger, a profiler or coverage has the hook", function()
    for _, mask in ipairs{ "'crl', 1", "'crl'", "'l'", "'', 1", "'', 1000", "'c'" } do
      local running = signals.start(PRELUDE .. [[
        local a = pair()
        local calls = 0
        local function hook() calls = calls + 1 end
        local function count(timeout)
          local opts = { timeout = timeout }
          debug.sethook(hook, ]] .. mask .. [[)
          local before = calls
          pcall(a.recv, a, 1, opts)
          local after = calls
          local still = debug.gethook() == hook
          debug.sethook()
          return after - before, still
        end
        local now, later = { count(0) }, { count(0.5) }
        say(now[1] == later[1] or now[1] .. " and " .. later[1], now[2], later[2])]])
      assert.equal("true\ttrue\ttrue\n", running:rest(), mask)
    end
  end)
end)

describe("SIGPIPE", function()
  wire.watch(before_each, after_each)

  it("is ignored where the drop-in is, as LuaSocket does it", function()
    assert.equal("open\tnil", child.run([[
      local net = launch{ "--allow-net" }
      require("caspian.net.compat").install(net)
      require("socket")
      local pipe = io.popen("exec true", "w")
      pipe:setvbuf("no")
      -- Until the other end has gone: that is an error, and no signal.
      repeat local ok = pipe:write("x") until not ok
      print("open", (pipe:write("x")))]]))
  end)
end)

local has_posix, posix = pcall(require, "posix.signal") -- Debian has lua-posix for some of the Luas
if has_posix and posix then
  describe("a signal that luaposix handles", function()
    wire.watch(before_each, after_each)
    teardown(signals.clean)

    for _, row in ipairs(rows) do
      it("leaves " .. row[1] .. " waiting", function()
        assert.equal("handled\ntrue\tok", signals.run(PRELUDE .. DROPIN .. row[2] .. [[
          local posix = require("posix.signal")
          posix.signal(posix.SIGTERM, function() say("handled") ]] .. row[3] .. [[ end)
          say(pcall(function() say("blocked") ]] .. row[4] .. [[ end))]]))
      end)
    end
  end)
end

describe("Ctrl-C of the lua program", function()
  wire.watch(before_each, after_each)
  teardown(signals.clean)

  for name, call in pairs(blocking) do
    it("stops " .. name, function()
      local running = signals.start(PRELUDE .. DROPIN .. [[
        local ok, err = pcall(function() say("blocked") ]] .. call .. [[ end)
        say(ok, (tostring(err):match("interrupted!$")))]])
      signals.asleep(running)
      running:signal("INT")
      assert.equal("false\tinterrupted!\n", running:rest())
    end)
  end
end)

