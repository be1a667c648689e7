-- Contract 3: poll over sockets of all kinds.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local function has(list, socket)
  for _, one in ipairs(list) do if one == socket then return true end end
  return false
end

-- A connected pair.
local function pair()
  local l = net.tcp_listen("127.0.0.1", 0)
  local a = net.tcp("127.0.0.1", l.local_port)
  local b = l:accept()
  l:close()
  return a, b
end

describe("poll", function()
  wire.watch(before_each, after_each)

  it("of nothing is nothing", function()
    assert.same({ {}, {} }, { net.poll({}, 0) })
  end)

  it("tells who is readable and who is writable", function()
    local a, b = pair()
    local readable, writable = net.poll({ a, b }, 0)
    assert.is_false(has(readable, a) or has(readable, b))
    assert.is_true(has(writable, a) and has(writable, b))
    b:send_all("x")
    readable = net.poll({ a, b }, 5)
    assert.is_true(has(readable, a))
    assert.is_false(has(readable, b))
    a:close() b:close()
  end)

  it("counts what is buffered already", function()
    local a, b = pair()
    b:send_all("line\nand more")
    assert.equal("line\n", a:recv_line())
    assert.is_true(has(net.poll({ a }, 0), a))
    assert.equal("and more", a:recv_exact(8))
    assert.is_false(has(net.poll({ a }, 0), a))
    a:close() b:close()
  end)

  -- What a call needs and has not: each way to come short, on plain and TLS sockets.
  local short = {
    { "recv_line", function(s) return s:recv_line{ timeout = 0 } end, "half", " a line\n", "half a line\n" },
    { "recv_exact", function(s) return s:recv_exact(8, { timeout = 0 }) end, "half", "half", "halfhalf" },
    { "recv_line over and over", function(s) return s:recv_line{ timeout = 0 } end, "1", "\n", "1\n" },
  }
  for _, row in ipairs(short) do
    it("sleeps after a " .. row[1] .. " that came short", function()
      local a, b = pair()
      b:send_all(row[3])
      assert.is_true(has(net.poll({ a }, 5), a))
      for _ = 1, 3 do
        fails.with("network/timeout", row[2], a)
        assert.same({}, (net.poll({ a }, 0)))
        assert.same({}, (net.poll({ a }, 0.02)))
      end
      b:send_all(row[4])
      assert.is_true(has(net.poll({ a }, 5), a))
      assert.equal(row[5], row[2](a))
      -- What comes behind it counts again.
      b:send_all("more")
      assert.is_true(has(net.poll({ a }, 5), a))
      fails.with("network/timeout", a.recv_exact, a, 5, { timeout = 0 })
      assert.same({}, (net.poll({ a }, 0)))
      assert.equal("m", a:recv(1))
      assert.is_true(has(net.poll({ a }, 0), a))
      fails.with("network/timeout", a.recv_exact, a, 4, { timeout = 0 })
      -- The end does, too.
      b:close()
      assert.is_true(has(net.poll({ a }, 5), a))
      assert.equal("ore", a:recv_line())
      assert.is_nil(a:recv_line())
      a:close()
    end)
  end

  it("sleeps after a call over TLS that came short", function()
    local p = peer.tls[[ local c = assert(accept()) c:send("half") c:receive(1) c:send(" a line\n") c:receive("*a") ]]
    local s = net.ssl("127.0.0.1", p.port, { ca_bundle = servers.ca })
    repeat
      assert.is_true(has(net.poll({ s }, 5), s))
      fails.with("network/timeout", s.recv_line, s, { timeout = 0 })
    until #net.poll({ s }, 0.02) == 0
    fails.with("network/timeout", s.recv_exact, s, 5, { timeout = 0 })
    assert.same({}, (net.poll({ s }, 0)))
    s:send_all("x")
    assert.is_true(has(net.poll({ s }, 5), s))
    assert.equal("half a line\n", s:recv_line())
    s:close()
  end)

  it("wakes once for each byte of a peer that sends one at a time", function()
    local a, b = pair()
    local wakes = 0
    for byte in ("one line\n"):gmatch(".") do
      b:send_all(byte)
      assert.is_true(has(net.poll({ a }, 5), a))
      wakes = wakes + 1
      local ok, line = pcall(a.recv_line, a, { timeout = 0 })
      assert.equal(byte == "\n", ok)
      if ok then assert.equal("one line\n", line) end
      assert.same({}, (net.poll({ a }, 0)))
    end
    assert.equal(9, wakes)
    a:close() b:close()
  end)

  it("counts what TLS has decrypted already", function()
    local p = peer.tls[[ local c = assert(accept()) c:send("line\nand more") c:receive("*a") ]]
    local s = net.ssl("127.0.0.1", p.port, { ca_bundle = servers.ca })
    assert.equal("line\n", s:recv_line())
    assert.is_true(has(net.poll({ s }, 0), s))
    assert.equal("and more", s:recv_exact(8))
    s:close()
  end)

  it("counts the end of a stream", function()
    local a, b = pair()
    b:close()
    assert.is_true(has(net.poll({ a }, 5), a))
    assert.is_nil(a:recv(1))
    a:close()
  end)

  it("mixes listeners, datagrams and streams", function()
    local l = net.tcp_listen("127.0.0.1", 0)
    local u = net.udp_listen("127.0.0.1", 0)
    local a, b = pair()
    assert.same({}, (net.poll({ l, u, a }, 0)))
    local c = net.tcp("127.0.0.1", l.local_port)
    assert.is_true(has(net.poll({ l, u, a }, 5), l))
    local s = net.udp("127.0.0.1", u.local_port)
    s:send("x")
    assert.is_true(has(net.poll({ u }, 5), u))
    b:send_all("x")
    assert.is_true(has(net.poll({ a }, 5), a))
    assert.equal(3, #net.poll({ l, u, a }, 5))
    for _, one in ipairs{ l, u, a, b, c, s } do one:close() end
  end)

  it("ends with its timeout, empty-handed", function()
    local l = net.tcp_listen("127.0.0.1", 0)
    assert.same({ {}, {} }, { net.poll({ l }, 0.03) })
    assert.same({ {}, {} }, { net.poll({ l }, 0) })
    l:close()
  end)

  it("refuses what is no socket, or closed", function()
    local l = net.tcp_listen("127.0.0.1", 0)
    l:close()
    fails.with("network/socket", net.poll, { l }, 0)
    fails.plainly("bad argument #1 to 'poll'", net.poll, { {} }, 0)
    fails.plainly("bad argument #1 to 'poll'", net.poll, { 1 }, 0)
    fails.plainly("bad argument #2 to 'poll'", net.poll, {}, -1)
    fails.plainly("bad argument #1 to 'poll'", net.poll, { reed = { l } }, 0)
    fails.plainly("bad argument #1 to 'poll'", net.poll, { read = {}, wirte = {} }, 0)
  end)
end)
