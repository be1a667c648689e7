-- Contract 4: tcp listeners. Both ends live in one process: the system completes a connection before it is accepted.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

describe("a listener", function()
  wire.watch(before_each, after_each)

  it("accepts", function()
    local l = net.tcp_listen("127.0.0.1", 0)
    assert.equal("127.0.0.1", l.local_host)
    assert.truthy(l.local_port > 0)
    local p = peer.client(l.local_port, [[ c:send("hello\n") report((c:receive("*l"))) c:close() ]])
    local s = l:accept()
    assert.equal("127.0.0.1", s.host)
    assert.equal(l.local_port, s.local_port)
    assert.equal("hello\n", s:recv_line())
    s:send_all("world\n")
    assert.is_nil(s:recv(1))
    s:close() l:close()
    assert.same({ "world" }, p:finish())
  end)

  it("is called listen as well", function()
    local l = net.listen("127.0.0.1", 0)
    l:close()
  end)

  it("queues, and accepts in order", function()
    local l = net.tcp_listen("127.0.0.1", 0)
    local clients = {}
    for i = 1, 5 do clients[i] = net.tcp("127.0.0.1", l.local_port) end
    for i = 1, 5 do
      local s = l:accept{ timeout = 5 }
      assert.equal(clients[i].local_port, s.port)
      s:close() clients[i]:close()
    end
    l:close()
  end)

  it("times out", function()
    local l = net.tcp_listen("127.0.0.1", 0)
    assert.equal(30, l.timeout)
    for _, timeout in ipairs{ 0, 0.03 } do
      local err = fails.with("network/timeout", l.accept, l, { timeout = timeout })
      assert.equal("accept", err.op)
    end
    l.timeout = 0.03
    fails.with("network/timeout", l.accept, l)
    l:close()
  end)

  it("names its real port in errors", function()
    local l, u = net.tcp_listen("127.0.0.1", 0), net.udp_listen("127.0.0.1", 0)
    local rows = {
      { "accept on 127.0.0.1:%d", l, l.accept, { timeout = 0 } },
      { "udp recv on 127.0.0.1:%d", u, u.recv, 1, { timeout = 0 } },
      { "udp recv on 127.0.0.1:%d", u, u.recv_from, 1, { timeout = 0 } },
    }
    for _, row in ipairs(rows) do
      local err = fails.with("network/timeout", row[3], row[2], row[4], row[5])
      local port = row[2].local_port
      assert.same({ "127.0.0.1", port }, { err.host, err.port })
      assert.truthy(err.message:find(row[1]:format(port), 1, true), err.message)
    end
    l:close() u:close()
  end)

  it("takes no port that is taken", function()
    local l = net.tcp_listen("127.0.0.1", 0)
    fails.with("network/socket", net.tcp_listen, "127.0.0.1", l.local_port)
    l:close()
  end)

  it("gives its port back at once", function()
    local l = net.tcp_listen("127.0.0.1", 0)
    local port = l.local_port
    local c = net.tcp("127.0.0.1", port)
    local s = l:accept()
    s:close() c:close() l:close()
    net.tcp_listen("127.0.0.1", port):close()
  end)

  it("on every interface", function()
    for _, host in ipairs{ "*", "0.0.0.0" } do
      local l = net.tcp_listen(host, 0)
      net.tcp("127.0.0.1", l.local_port):close()
      l:accept():close()
      l:close()
    end
  end)

  if servers.ipv6 then
    it("on IPv6", function()
      local l = net.tcp_listen("::1", 0)
      assert.equal("::1", l.local_host)
      local c = net.tcp("::1", l.local_port)
      local s = l:accept()
      assert.equal("::1", s.host)
      s:close() c:close() l:close()
    end)
  end

  it("says that it is closed", function()
    local l = net.tcp_listen("127.0.0.1", 0)
    l:close()
    l:close()
    local err = fails.with("network/socket", l.accept, l)
    assert.truthy(err.message:find("closed"))
  end)

  it("ends what waits in its queue", function()
    local l = net.tcp_listen("127.0.0.1", 0)
    local c = net.tcp("127.0.0.1", l.local_port)
    l:close()
    local ok, got = pcall(c.recv, c, 1)
    assert.truthy((ok and got == nil) or got:is("network/connection_reset"))
    c:close()
  end)
end)
