-- Contract 4: datagrams.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

describe("udp", function()
  wire.watch(before_each, after_each)

  it("sends to, and receives from", function()
    local p = peer.udp[[ local bytes, ip, port = udp:receivefrom() report(bytes, ip) udp:sendto(bytes:upper(), ip, port) ]]
    local s = net.udp()
    s:send_to("hello", "127.0.0.1", p.port)
    local bytes, host, port = s:recv_from(100)
    assert.same({ "HELLO", "127.0.0.1", p.port }, { bytes, host, port })
    s:close()
    assert.same({ "hello", "127.0.0.1" }, p:finish())
  end)

  it("has a default peer, and hears no other", function()
    local a = net.udp_listen("127.0.0.1", 0)
    local stranger = net.udp_listen("127.0.0.1", 0)
    local s = net.udp("127.0.0.1", a.local_port)
    assert.equal(2, s:send("hi"))
    local bytes, _, port = a:recv_from(100)
    assert.equal("hi", bytes)
    stranger:send_to("not you", "127.0.0.1", port)
    a:send_to("you", "127.0.0.1", port)
    assert.equal("you", s:recv(100))
    fails.with("network/timeout", s.recv, s, 100, { timeout = 0 })
    a:close() stranger:close() s:close()
  end)

  it("keeps datagrams apart, the empty one too", function()
    local a = net.udp_listen("127.0.0.1", 0)
    local s = net.udp("127.0.0.1", a.local_port)
    for _, bytes in ipairs{ "one", "", "three" } do s:send(bytes) end
    for _, bytes in ipairs{ "one", "", "three" } do assert.equal(bytes, (a:recv(100))) end
    a:close() s:close()
  end)

  it("cuts a datagram at max", function()
    local a = net.udp_listen("127.0.0.1", 0)
    local s = net.udp("127.0.0.1", a.local_port)
    s:send("abcdef")
    s:send("next")
    assert.equal("abc", (a:recv(3)))
    assert.equal("next", (a:recv(100)))
    a:close() s:close()
  end)

  it("carries the largest datagram, and refuses a larger one", function()
    local a = net.udp_listen("127.0.0.1", 0)
    local s = net.udp("127.0.0.1", a.local_port)
    local largest = ("x"):rep(65507)
    s:send(largest)
    assert.is_true(a:recv(65535) == largest)
    fails.with("network/socket", s.send, s, largest .. "x")
    a:close() s:close()
  end)

  it("times out", function()
    local a = net.udp_listen("127.0.0.1", 0)
    for _, timeout in ipairs{ 0, 0.03 } do
      fails.with("network/timeout", a.recv, a, 10, { timeout = timeout })
      fails.with("network/timeout", a.recv_from, a, 10, { timeout = timeout })
    end
    a.timeout = 0.03
    fails.with("network/timeout", a.recv, a, 10)
    a:close()
  end)

  it("nobody there is connection_refused", function()
    local a = net.udp_listen("127.0.0.1", 0)
    local port = a.local_port
    a:close()
    local s = net.udp("127.0.0.1", port)
    s:send("anyone?")
    fails.with("network/connection_refused", s.recv, s, 10)
    s:close()
  end)

  it("without a default peer cannot send", function()
    local s = net.udp()
    fails.with("network/socket", s.send, s, "x")
    s:close()
  end)

  it("has its fields", function()
    local a = net.udp_listen("127.0.0.1", 0)
    assert.equal("127.0.0.1", a.local_host)
    assert.truthy(a.local_port > 0)
    assert.equal(30, a.timeout)
    assert.is_false(a.broadcast)
    a:close()
  end)

  it("says that it is closed", function()
    local s = net.udp()
    s:close()
    s:close()
    for _, call in ipairs{ { "send", "x" }, { "send_to", "x", "127.0.0.1", 9 }, { "recv", 1 }, { "recv_from", 1 } } do
      local err = fails.with("network/socket", s[call[1]], s, call[2], call[3], call[4])
      assert.truthy(err.message:find("closed"))
    end
  end)

  it("checks each address that it sends to", function()
    local narrow = net.narrow{ "--allow-net=127.0.0.1:9", "--allow-net=localhost", "--deny-net=127.0.0.2" }
    local s = narrow.udp()
    s:send_to("x", "127.0.0.1", 9)
    fails.with("network/port_not_allowed", s.send_to, s, "x", "127.0.0.1", 10)
    fails.with("network/host_not_allowed", s.send_to, s, "x", "127.0.0.2", 9)
    fails.with("network/host_not_allowed", s.send_to, s, "x", "10.0.0.1", 9)
    fails.plainly("bad argument #3 to 'send_to'", s.send_to, s, "x", "127.0.0.1", 0)
    fails.plainly("bad argument #2 to 'send_to'", s.send_to, s, "x", "127.1", 9)
    s:close()
  end)

  it("broadcasts when told to", function()
    local a = net.udp_listen("0.0.0.0", 0)
    local s = net.udp()
    fails.with("network/socket", s.send_to, s, "all", "127.255.255.255", a.local_port)
    s.broadcast = true
    assert.is_true(s.broadcast)
    s:send_to("all", "127.255.255.255", a.local_port)
    assert.equal("all", (a:recv(10)))
    a:close() s:close()
  end)

  it("names the interface of a group by name, index and address", function()
    local a, s = net.udp_listen("0.0.0.0", 0), net.udp_listen("127.0.0.1", 0)
    local file = assert(io.open("/sys/class/net/lo/ifindex"))
    local index = file:read("*n")
    file:close()
    for _, interface in ipairs{ "lo", index, ("%d"):format(index), "127.0.0.1" } do
      a:join("239.255.77.78", interface)
      s.multicast_interface = interface
      s:send_to("on " .. interface, "239.255.77.78", a.local_port)
      assert.equal("on " .. interface, (a:recv(20, { timeout = 5 })))
      a:leave("239.255.77.78", interface)
    end
    for _, call in ipairs{ function(name) a:join("239.255.77.78", name) end, function(name) s.multicast_interface = name end } do
      local err = fails.with("network/socket", call, "no-such-link")
      assert.truthy(err.message:find("this machine has no such interface", 1, true), err.message)
      fails.plainly("a name, an index or an", call, "a b")
      fails.plainly("a name, an index or an", call, {})
    end
    a:close() s:close()
  end)

  it("takes a zone where an address has one", function()
    local s = net.udp(nil, nil, { family = "inet6" })
    for _, call in ipairs{ { net.tcp, "fe80::1%no-such-link", 9 }, { net.udp, "fe80::1%no-such-link", 9 }, { net.tcp_listen, "fe80::1%no-such-link", 0 },
      { net.udp_listen, "fe80::1%no-such-link", 0 }, { s.send_to, s, "x", "fe80::1%no-such-link", 9 } } do
      local err = fails.with("network/socket", (table.unpack or unpack)(call)) -- luacheck: ignore
      assert.truthy(err.message:find("this machine has no such interface", 1, true), err.message)
    end
    -- Grants are about the address; who may not go there is not told of interfaces.
    local narrow = net.narrow{ "--allow-net=[fe80::1]:9", "--deny-net=[fe80::2]" }
    assert.is_true(narrow.allows("fe80::1%lo", 9))
    assert.is_false(narrow.allows("fe80::2%lo", 9))
    fails.with("network/host_not_allowed", narrow.tcp, "fe80::2%no-such-link", 9)
    for _, host in ipairs{ "::1%lo", "fe80::1%", "fe80::1%a b", "[fe80::1]%lo", "127.0.0.1%lo", "localhost%lo" } do
      fails.plainly("bad argument #1 to 'tcp' (host", net.tcp, host, 9)
    end
    for _, url in ipairs{ "http://[fe80::1%25lo]/", "http://[fe80::1%lo]/" } do
      fails.plainly("URLs have no zones", net.fetch, url)
      fails.plainly("URLs have no zones", net.fetch, "http://a.test/", { proxy = url })
    end
    fails.plainly("a grant covers every zone", net.narrow, { "--allow-net=[fe80::1%lo]" })
    s:close()
  end)

  it("joins and leaves a group", function()
    local a = net.udp_listen("0.0.0.0", 0)
    a:join("239.255.77.77", "127.0.0.1")
    local s = net.udp_listen("127.0.0.1", 0)
    s.multicast_interface = "127.0.0.1"
    s:send_to("group", "239.255.77.77", a.local_port)
    assert.equal("group", (a:recv(10, { timeout = 5 })))
    a:leave("239.255.77.77", "127.0.0.1")
    s:send_to("left", "239.255.77.77", a.local_port)
    s:send_to("after", "127.0.0.1", a.local_port)
    assert.equal("after", (a:recv(10, { timeout = 5 })))
    fails.plainly("bad argument #1 to 'join'", a.join, a, "127.0.0.1")
    a:close() s:close()
  end)

  if servers.ipv6 then
    it("speaks IPv6", function()
      local a = net.udp_listen("::1", 0)
      local s = net.udp("::1", a.local_port)
      s:send("six")
      local bytes, host = a:recv_from(10)
      assert.same({ "six", "::1" }, { bytes, host })
      a:close() s:close()
    end)
  end
end)
