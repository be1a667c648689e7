-- Contract 4: tcp sockets, against a peer that speaks LuaSocket.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local read = require("spec.support.process").read
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local function connect(p, options)
  return net.tcp("127.0.0.1", p.port, options)
end

-- The peer sends these pieces, each when the one before has been read, and closes.
local function pieces(list)
  local script = { "local c = accept() c:setoption('tcp-nodelay', true)" }
  for _, piece in ipairs(list) do script[#script + 1] = ("c:send(%q) assert(c:receive(1))"):format(piece):gsub("\\\n", "\\n") end
  script[#script + 1] = "c:close()"
  return peer.tcp(table.concat(script, "\n"))
end

describe("tcp", function()
  wire.watch(before_each, after_each)

  it("sends and receives", function()
    local p = peer.tcp[[ local c = accept() report((c:receive(5))) c:send("world") report((c:receive("*a"))) c:close() ]]
    local s = connect(p)
    assert.equal(5, s:send("hello"))
    assert.equal("world", s:recv(100))
    s:send_all("bye")
    s:close()
    assert.same({ "hello", "bye" }, p:finish())
  end)

  -- RFC 8305: neither order of the two is luck. The address that never answers is a listener whose queue is full.
  -- It has the good one's port, so it is an address that no other server of these specs is on.
  for _, row in ipairs{ { "127.0.0.2", "127.0.0.3" }, { "127.0.0.3", "127.0.0.2" }, { "::1", "127.0.0.1" }, { "127.0.0.4", "::1" } } do
    local silent, good = row[1], row[2]
    it("connects to " .. good .. " though " .. silent .. ", behind the same name, never answers", function()
      if not child.can_mount() then return pending("mount namespaces are not allowed here") end
      local p = peer.tcp(([[
        local function new() return (%q == "::1" and socket.tcp6 or socket.tcp4)() end
        local full, queue = new(), {}
        assert(full:bind(%q, (select(2, server:getsockname()))))
        assert(full:listen(0))
        for i = 1, 4 do queue[i] = new() queue[i]:settimeout(0) queue[i]:connect(full:getsockname()) end
        accept():send("full\n")
        accept():send("hello\n")
      ]]):format(silent, silent), good)
      local ready = net.tcp(good, p.port)
      assert.equal("full\n", ready:recv_line())
      ready:close()
      local hosts = ("%s two.test\n%s two.test\n"):format(silent, good)
      local said = child.run_with({ hosts = hosts }, ([[
        local net = launch{ "--allow-net" }
        print(select(2, pcall(net.tcp, %q, %d, { timeout = 0.1 })).class)
        local s = net.tcp("two.test", %d, { timeout = 10 })
        io.write(s.remote_host, " ", s:recv_line())
      ]]):format(silent, p.port, p.port))
      assert.equal("puck.uno/error/network/timeout\n" .. good .. " hello", said)
      p:finish()
    end)
  end

  it("keeps every byte as it is", function()
    local all = {}
    for byte = 0, 255 do all[#all + 1] = string.char(byte) end
    all = table.concat(all)
    local p = peer.tcp[[ local c = accept() c:send(c:receive(256)) c:close() ]]
    local s = connect(p)
    s:send_all(all)
    assert.equal(all, s:recv_exact(256))
    s:close()
  end)

  it("sends nothing when asked to", function()
    local p = peer.tcp[[ local c = accept() report(c:receive("*a")) ]]
    local s = connect(p)
    assert.equal(0, s:send(""))
    s:send_all("")
    s:close()
    assert.same({ "nil", "closed", "" }, p:finish())
  end)

  it("moves four megabytes each way", function()
    local p = peer.tcp[[ local c = accept() local all = c:receive(4194304) report(#all) c:send(all) c:close() ]]
    local s = connect(p)
    local block = {}
    for i = 1, 65536 do block[i] = ("%063d\n"):format(i) end
    block = table.concat(block)
    s:send_all(block)
    assert.is_true(s:recv_exact(#block) == block)
    assert.is_nil(s:recv(1))
    s:close()
    assert.same({ "4194304" }, p:finish())
  end)

  it("recv answers at most max, what is there, and nil at the end, again and again", function()
    local p = peer.tcp[[ local c = accept() c:send("abcdef") c:close() ]]
    local s = connect(p)
    assert.equal("ab", s:recv(2))
    assert.equal("cdef", s:recv_exact(4))
    for _ = 1, 3 do assert.is_nil(s:recv(10)) end
    s:close()
  end)

  it("has its fields", function()
    local p = peer.tcp[[ local c = accept() report((select(2, c:getpeername()))) c:receive("*a") ]]
    local s = connect(p)
    assert.equal("127.0.0.1", s.host)
    assert.equal(p.port, s.port)
    assert.equal("127.0.0.1", s.local_host)
    assert.equal("number", type(s.local_port))
    local port = s.local_port
    assert.is_true(s.connected)
    assert.is_true(s["connected?"])
    assert.equal(30, s.timeout)
    s.timeout = 0.25
    assert.equal(0.25, s.timeout)
    s.timeout = math.huge
    assert.equal(math.huge, s.timeout)
    for _, flag in ipairs{ "nodelay", "keepalive" } do
      for _, value in ipairs{ true, false, true } do
        s[flag] = value
        assert.equal(value, s[flag])
      end
    end
    s:close()
    assert.is_false(s.connected)
    assert.is_false(s["connected?"])
    assert.same({ tostring(port) }, p:finish())
  end)

  it("knows its own address when it is closed, of every class, and also once the network was revoked", function()
    local mine = net.narrow{ "--allow-net=localhost", "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
    local l = mine.tcp_listen("127.0.0.1", 0)
    local c = mine.tcp("127.0.0.1", l.local_port)
    local all = {
      l, c, l:accept(), mine.udp_listen("127.0.0.1", 0), mine.udp("127.0.0.1", l.local_port),
      mine.tcp_listen("127.0.0.1", 0, { tls = { cert = read(servers.server.cert), key = read(servers.server.key) } }),
      mine.ssl("localhost", servers.https, { ca_bundle = read(servers.ca) }),
      mine.websocket("ws://127.0.0.1:" .. servers.websocket.ws .. "/echo"),
      mine.websocket("ws://127.0.0.1:" .. servers.websocket.ws .. "/echo"),
    }
    local known = {}
    for i, one in ipairs(all) do
      known[i] = { one.local_host, one.local_port }
      assert.equal("number", type(known[i][2]), i)
    end
    for i, one in ipairs(all) do if i ~= #all then one:close() end end
    for i, one in ipairs(all) do assert.same(known[i], { one.local_host, one.local_port }, tostring(i)) end
    -- The last one is closed by this.
    mine.revoke()
    for i, one in ipairs(all) do assert.same(known[i], { one.local_host, one.local_port }, tostring(i)) end
  end)

  it("raises where nothing is known of its own address", function()
    local s = net.tcp("127.0.0.1", servers.https)
    s:starttls{ verify = false }:close()
    fails.with("network/socket", function() return s.local_port end)
    fails.with("network/socket", function() return s.local_host end)
  end)

  it("has no other fields, and those that are fixed stay", function()
    local s = net.tcp("127.0.0.1", servers.http)
    for _, field in ipairs{ "port", "host", "connected", "local_port", "send", "nonsense", 1 } do
      assert.is_false(pcall(function() s[field] = 1 end), tostring(field))
    end
    for _, value in ipairs{ "soon", -1, 0 / 0, true, {} } do
      assert.is_false(pcall(function() s.timeout = value end))
    end
    assert.is_false(pcall(function() s.timeout = nil end))
    assert.equal(30, s.timeout)
    assert.not_equal("table", type(getmetatable(s)))
    s:close()
  end)

  it("takes its timeout from the options", function()
    local s = net.tcp("127.0.0.1", servers.http, { timeout = 7.5 })
    assert.equal(7.5, s.timeout)
    s:close()
  end)

  it("connects by name, over whichever family answers", function()
    local p = peer.tcp[[ accept():send("here\n") ]]
    local s = net.tcp("localhost", p.port)
    assert.equal("here\n", s:recv_line())
    assert.equal("localhost", s.host)
    s:close()
  end)

  it("connects to this machine by localhost and the names below it, whoever knows them", function()
    local l = net.tcp_listen("app.localhost", 0)
    assert.equal("127.0.0.1", l.local_host)
    for _, host in ipairs{ "localhost", "LocalHost.", "app.localhost", "a.b.localhost." } do
      local s = net.tcp(host, l.local_port, { timeout = 5 })
      local there = l:accept{ timeout = 5 }
      assert.equal((host:lower():gsub("%.$", "")), s.host)
      s:close() there:close()
    end
    l:close()
  end)

  if servers.ipv6 then
    it("connects to IPv6 literals, with or without brackets", function()
      for _, host in ipairs{ "::1", "[::1]", "0:0:0:0:0:0:0:1" } do
        local s = net.tcp(host, servers.http)
        assert.equal("::1", s.host)
        s:close()
      end
    end)
  end

  it("a name that does not resolve", function()
    local ok, err = pcall(net.tcp, "no-such-name.invalid", 80, { timeout = 5 })
    assert.is_false(ok)
    -- A machine whose name server does not answer at all can only time out.
    assert.truthy(err:is("network/dns_failure") or err:is("network/timeout"))
  end)

  it("shutdown of the sending half", function()
    local p = peer.tcp[[ local c = accept() c:send(c:receive("*a"):upper()) c:close() ]]
    local s = connect(p)
    s:send_all("all of it")
    s:shutdown("send")
    assert.equal("ALL OF IT", s:recv_exact(9))
    assert.is_nil(s:recv(1))
    assert.is_false(pcall(s.send_all, s, "more"))
    s:close()
  end)

  it("a reset is connection_reset", function()
    local p = peer.tcp[[ local c = accept() c:receive(1) c:setoption("linger", { on = true, timeout = 0 }) c:close() ]]
    local s = connect(p)
    s:send_all("x")
    p:finish()
    fails.with("network/connection_reset", s.recv, s, 10)
    s:close()
  end)

  it("writing to a peer that left is connection_reset, without a signal", function()
    local p = peer.tcp[[ local c = accept() c:receive(1) c:setoption("linger", { on = true, timeout = 0 }) c:close() ]]
    local s = connect(p)
    s:send_all("x")
    p:finish()
    local err = fails.with("network/connection_reset", s.send_all, s, ("x"):rep(1e7))
    assert.equal("number", type(err.sent))
    s:close()
  end)

  it("closes twice, and says so to every call after", function()
    local s = net.tcp("127.0.0.1", servers.http)
    s:close()
    s:close()
    for _, call in ipairs{ { "send", "x" }, { "send_all", "x" }, { "recv", 1 }, { "recv_line" }, { "recv_exact", 1 }, { "shutdown", "send" },
      { "starttls" } } do
      local err = fails.with("network/socket", s[call[1]], s, call[2])
      assert.truthy(err.message:find("closed"), call[1])
    end
  end)
end)

describe("recv_line", function()
  wire.watch(before_each, after_each)

  -- name, pieces that arrive one by one, lines
  local rows = {
    { "keeps the newline", { "one\ntwo\n" }, { "one\n", "two\n" } },
    { "keeps CR", { "one\r\n", "two\r\n" }, { "one\r\n", "two\r\n" } },
    { "gives the last line as it is", { "one\ntwo" }, { "one\n", "two" } },
    { "an empty line", { "\n", "\n" }, { "\n", "\n" } },
    { "an empty stream", {}, {} },
    { "NUL and high bytes", { "a\0b\255\n" }, { "a\0b\255\n" } },
  }
  for _, row in ipairs(rows) do
    it(row[1], function()
      local p = peer.tcp(("local c = accept() c:send(%q) c:close()"):format(table.concat(row[2])))
      local s = connect(p)
      for _, line in ipairs(row[3]) do assert.equal(line, s:recv_line()) end
      assert.is_nil(s:recv_line())
      assert.is_nil(s:recv_line())
      s:close()
    end)
  end

  it("joins a line that arrives in pieces, at every cut", function()
    local text = "first\r\nsecond\n"
    for cut = 1, #text - 1 do
      local p = pieces{ text:sub(1, cut), text:sub(cut + 1) }
      local s = connect(p)
      s:send_all("..")
      assert.equal("first\r\n", s:recv_line())
      assert.equal("second\n", s:recv_line())
      assert.is_nil(s:recv_line())
      s:close()
    end
  end)

  it("and recv, recv_exact read on where the other stopped", function()
    local p = peer.tcp[[ local c = accept() c:send("line\nexactly some rest") c:close() ]]
    local s = connect(p)
    assert.equal("line\n", s:recv_line())
    assert.equal("exactly", s:recv_exact(7))
    assert.equal(" ", s:recv(1))
    assert.equal("some rest", s:recv_line())
    s:close()
  end)

  it("a line longer than any buffer", function()
    local p = peer.tcp[[ local c = accept() c:send(("x"):rep(300000) .. "\ny\n") c:close() ]]
    local s = connect(p)
    assert.equal(300001, #s:recv_line())
    assert.equal("y\n", s:recv_line())
    s:close()
  end)

  it("lines() walks them", function()
    local p = peer.tcp[[ local c = accept() c:send("a\nb\r\n\nc") c:close() ]]
    local s = connect(p)
    local seen = {}
    for line in s:lines() do seen[#seen + 1] = line end
    assert.same({ "a\n", "b\r\n", "\n", "c" }, seen)
    s:close()
  end)
end)

describe("recv_exact", function()
  wire.watch(before_each, after_each)

  it("waits for all of it", function()
    local p = pieces{ "ab", "cd", "ef" }
    local s = connect(p)
    s:send_all("...")
    assert.equal("abcde", s:recv_exact(5))
    assert.equal("f", s:recv_exact(1))
    s:close()
  end)

  it("of nothing is an empty string", function()
    local s = net.tcp("127.0.0.1", servers.http)
    assert.equal("", s:recv_exact(0))
    s:close()
  end)

  it("at the end of the stream raises connection_reset, with what it had", function()
    local p = peer.tcp[[ local c = accept() c:send("abc") c:close() ]]
    local s = connect(p)
    local err = fails.with("network/connection_reset", s.recv_exact, s, 10)
    assert.equal("abc", err.partial)
    s:close()
  end)
end)

describe("a timeout", function()
  wire.watch(before_each, after_each)

  -- method, arguments, what it answers once the rest ("def\n") has come after "abc"
  local rows = {
    { "recv_exact", 7, "abcdef\n" },
    { "recv_line", nil, "abcdef\n" },
  }
  for _, row in ipairs(rows) do
    it("of " .. row[1] .. " loses nothing", function()
      local p = peer.tcp[[ local c = accept() c:send("abc") c:receive(1) c:send("def\n") c:receive("*a") ]]
      local s = connect(p)
      local function again(options)
        if row[2] then return s[row[1]](s, row[2], options) end
        return s[row[1]](s, options)
      end
      for _ = 1, 3 do
        local err = fails.with("network/timeout", again, { timeout = 0.03 })
        assert.equal(0.03, err.timeout)
      end
      fails.with("network/timeout", again, { timeout = 0 })
      s:send_all("x")
      assert.equal(row[3], again())
      s:close()
    end)
  end

  it("of the socket is every call's", function()
    local s = net.tcp("127.0.0.1", servers.http)
    s.timeout = 0.03
    local err = fails.with("network/timeout", s.recv, s, 1)
    assert.equal(0.03, err.timeout)
    fails.with("network/timeout", s.recv_line, s)
    fails.with("network/timeout", s.recv_exact, s, 1)
    s:close()
  end)

  it("of zero answers what is there, or raises", function()
    local p = peer.tcp[[ local c = accept() c:send("abcdef") c:receive("*a") ]]
    local s = connect(p)
    assert.equal("a", s:recv_exact(1))
    assert.equal("bcdef", s:recv(10, { timeout = 0 }))
    fails.with("network/timeout", s.recv, s, 10, { timeout = 0 })
    s:close()
  end)

  it("for ever waits", function()
    local p = peer.tcp[[ accept():send("x") ]]
    local s = connect(p, { timeout = math.huge })
    assert.equal("x", s:recv(1, { timeout = math.huge }))
    s:close()
  end)

  it("is a deadline: a dripping peer does not re-arm it", function()
    local p = peer.tcp[[
      local c = accept()
      c:setoption("tcp-nodelay", true)
      while c:send("x") do socket.sleep(0.02) end
    ]]
    local s = connect(p)
    fails.with("network/timeout", s.recv_exact, s, 1e6, { timeout = 0.2 })
    fails.with("network/timeout", s.recv_line, s, { timeout = 0.2 })
    s:close()
  end)

  it("of send_all tells exactly how much went", function()
    local p = peer.tcp[[ local c = accept() server:accept() report(#c:receive("*a")) ]]
    local s = connect(p)
    s.timeout = 0.1
    local err = fails.with("network/timeout", s.send_all, s, ("x"):rep(64 * 1024 * 1024))
    assert.truthy(err.sent > 0 and err.sent < 64 * 1024 * 1024)
    connect(p):close() -- the peer reads from here on
    s:close()
    assert.same({ ("%d"):format(err.sent) }, p:finish())
  end)

  it("covers the connection", function()
    -- A listener whose queue is full does not answer.
    local p = peer.tcp[[
      server:close()
      server = socket.bind("127.0.0.1", 0, 0)
      ready((select(2, server:getsockname())))
      socket.select(nil, nil, 5)
    ]]
    local port = tonumber((p.process:expect("^ready (%d+)$")))
    local held = {}
    local err
    for _ = 1, 8 do
      local ok, got = pcall(net.tcp, "127.0.0.1", port, { timeout = 0.1 })
      if not ok then err = got break end
      held[#held + 1] = got
    end
    assert.is_true(err and err:is("network/timeout"))
    assert.equal(0.1, err.timeout)
    for _, s in ipairs(held) do s:close() end
  end)
end)
