-- Contract 4: a listener with TLS shakes hands side by side, behind accept and poll, and hands out what is ready.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local own = { cert = servers.server.cert, key = servers.server.key }

-- The script of a good client: OpenSSL, by LuaSec, which says a line and shows what it hears.
local GOOD = ([[
  c = assert(require("ssl").wrap(c, { mode = "client", protocol = "any", verify = "none" }))
  c:settimeout(10)
  assert(c:dohandshake())
  c:send("hello\n")
  report((c:receive("*l")))
]])

local function listen(opts)
  opts = opts or {}
  opts.tls = own
  return net.tcp_listen("127.0.0.1", 0, opts)
end

-- Accepts the good client, and speaks with it.
local function serve(l, p)
  local s = l:accept{ timeout = 10 }
  assert.equal("hello\n", s:recv_line())
  s:send_all("world\n")
  assert.same({ "world" }, p:finish())
  s:close()
end

local function close_all(list)
  for _, socket in ipairs(list) do socket:close() end
end

describe("a TLS listener", function()
  wire.watch(before_each, after_each)

  it("serves a good client beside a hundred silent ones", function()
    local l, silent = listen(), {}
    for i = 1, 100 do silent[i] = net.tcp("127.0.0.1", l.local_port) end
    for _ = 1, 3 do serve(l, peer.client(l.local_port, GOOD)) end
    close_all(silent) l:close()
  end)

  it("skips handshakes that fail", function()
    local l = listen()
    local bad = {}
    local function send(bytes)
      local c = net.tcp("127.0.0.1", l.local_port)
      if bytes ~= "" then c:send_all(bytes) end
      bad[#bad + 1] = c
      return c
    end
    send("GET / HTTP/1.0\r\n\r\n")
    send(("x"):rep(100000))
    send("\22\3\1\0\5hello")                -- a handshake record that holds none
    send("\22\3\1\255\255")                 -- a record that is too long
    send("\21\3\3\0\2\2\40")                -- an alert
    send("\22\3\1\2\0\1")                   -- half a ClientHello, and the end
    bad[#bad]:close()
    send(""):close()                          -- nothing, and the end
    peer.client(l.local_port, [[ c:setoption("linger", { on = true, timeout = 0 }) c:send("\22\3\1") c:close() ]]):finish()
    -- A client that trusts another authority says so, and goes.
    local stranger = peer.client(l.local_port, ([[
      c = require("ssl").wrap(c, { mode = "client", protocol = "any", verify = "peer", cafile = %q })
      c:settimeout(10)
      report((c:dohandshake()))
    ]]):format(servers.other_ca))
    fails.with("network/timeout", l.accept, l, { timeout = 1 })
    assert.same({ "false" }, stranger:finish())
    serve(l, peer.client(l.local_port, GOOD))
    close_all(bad) l:close()
  end)

  it("ends a handshake that takes too long", function()
    for _, call in ipairs{ "accept", "poll" } do
      local l = listen{ handshake_timeout = 0.1 }
      local c = net.tcp("127.0.0.1", l.local_port)
      c:send_all("\22\3\1\2")
      if call == "accept" then
        fails.with("network/timeout", l.accept, l, { timeout = 1 })
      else
        assert.same({}, (net.poll({ l }, 1)))
      end
      local ok, got = pcall(c.recv, c, 100, { timeout = 5 })
      assert.truthy(not ok and got:is("network/connection_reset") or got == nil or #got > 0, call)
      c:close() l:close()
    end
  end)

  it("is readable for poll when a connection is ready, and no sooner", function()
    local l = listen()
    local silent, garbage = net.tcp("127.0.0.1", l.local_port), net.tcp("127.0.0.1", l.local_port)
    garbage:send_all("garbage garbage garbage")
    assert.same({}, (net.poll({ l }, 0.2)))
    local p = peer.client(l.local_port, GOOD)
    assert.equal(l, net.poll({ l }, 10)[1])
    local s = l:accept{ timeout = 0 }
    assert.equal("hello\n", s:recv_line())
    s:send_all("world\n")
    p:finish()
    s:close() silent:close() garbage:close() l:close()
  end)

  it("hands out each of many", function()
    local l, clients = listen(), {}
    for i = 1, 8 do clients[i] = peer.client(l.local_port, GOOD) end
    for _ = 1, 8 do
      local s = l:accept{ timeout = 10 }
      assert.equal("hello\n", s:recv_line())
      s:send_all("world\n")
      s:close()
    end
    for i = 1, 8 do assert.same({ "world" }, clients[i]:finish()) end
    l:close()
  end)

  it("closes the handshakes with it", function()
    local l = listen()
    local c = net.tcp("127.0.0.1", l.local_port)
    fails.with("network/timeout", l.accept, l, { timeout = 0 })
    l:close()
    local ok, got = pcall(c.recv, c, 1)
    assert.truthy(ok and got == nil or not ok and got:is("network/connection_reset"))
    c:close()
  end)

  it("lets the oldest handshake go where there are more than it may have, or than there are descriptors", function()
    local code = ([[
      local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
      local l = net.tcp_listen("127.0.0.1", 0, { tls = { cert = %q, key = %q }, backlog = 4096 })
      local silent = {}
      for i = 1, %%d do
        silent[i] = net.tcp("127.0.0.1", l.local_port)
        if i %%%% 64 == 0 then pcall(l.accept, l, { timeout = 0 }) end
      end
      for _ = 1, 8 do
        local ok, err = pcall(l.accept, l, { timeout = 0 })
        if not err:is("network/timeout") then print(err) end
      end
      local _, first = pcall(silent[1].recv, silent[1], 1, { timeout = 5 })
      local ok, last = pcall(silent[#silent].recv, silent[#silent], 1, { timeout = 0 })
      print(first == nil or first:is("network/connection_reset"), ok, last.class)
    ]]):format(own.cert, own.key)
    local expected = "true\tfalse\tpuck.uno/error/network/timeout"
    assert.equal(expected, child.run(code:format(1040), "ulimit -n 4096;"))
    assert.equal(expected, child.run(code:format(60), "ulimit -n 100;"))
  end)

  it("hands out what is ready where no descriptor is left, and loses nobody meanwhile", function()
    local code = ([[
      local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
      local l = net.tcp_listen("127.0.0.1", 0, { tls = { cert = %q, key = %q } })
      local function good()
        return io.popen("echo hello | timeout 30 openssl s_client -connect 127.0.0.1:" .. l.local_port .. " -quiet -ign_eof >/dev/null 2>&1")
      end
      local function answer(s)
        print(s:recv_line{ timeout = 10 })
        s:close()
      end
      local first = good()
      assert(net.poll({ l }, 10)[1] == l)
      -- One more waits in the kernel's queue, and there is no descriptor for it.
      local waiting = net.tcp("127.0.0.1", l.local_port)
      local open = {}
      local function exhaust() for _ = 1, 100 do open[#open + 1] = io.open("/dev/null") end end
      exhaust()
      answer(l:accept{ timeout = 0 })
      exhaust()
      local _, err = pcall(l.accept, l, { timeout = 10 })
      print(err.class, err.message:find("[Tt]oo many open files") ~= nil)
      for i = #open, 1, -1 do open[i]:close() open[i] = nil end
      local second = good()
      answer(l:accept{ timeout = 10 })
      print(select(2, pcall(waiting.recv, waiting, 1, { timeout = 0 })).class)
      waiting:close() l:close() first:close() second:close()
    ]]):format(own.cert, own.key)
    assert.equal("hello\n\npuck.uno/error/network/socket\ttrue\nhello\n\npuck.uno/error/network/timeout", child.run(code, "ulimit -n 60;"))
  end)

  it("has a line of the log for each that failed", function()
    local path = os.tmpname()
    local said = child.run(([[
      local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0", "--net-log=" .. %q }
      local l = net.tcp_listen("127.0.0.1", 0, { tls = { cert = %q, key = %q } })
      local c = net.tcp("127.0.0.1", l.local_port)
      c:send_all("GET /?token=secret HTTP/1.0\r\n\r\n")
      pcall(l.accept, l, { timeout = 0.1 })
    ]]):format(path, own.cert, own.key))
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    os.remove(path)
    assert.equal("", said)
    local line = text:match('[^\n]*"handshake"[^\n]*')
    assert.truthy(line and line:find('"op":"accept"', 1, true) and line:find('"class":"tls"', 1, true), text)
    assert.truthy(line:find('"peer":"127.0.0.1:', 1, true), line)
  end)

  it("takes handshake_timeout beside tls only", function()
    fails.plainly("handshake_timeout needs tls", net.tcp_listen, "127.0.0.1", 0, { handshake_timeout = 1 })
  end)
end)

describe("starttls on the server's side", function()
  wire.watch(before_each, after_each)
  after_each(process.kill_all)

  it("has a short deadline of its own", function()
    local l = net.tcp_listen("127.0.0.1", 0)
    local c = net.tcp("127.0.0.1", l.local_port)
    local s = l:accept()
    local err = fails.with("network/timeout", s.starttls, s, { server = true, cert = own.cert, key = own.key, handshake_timeout = 0.1 })
    assert.equal(0.1, err.timeout)
    c:close() l:close()
  end)
end)
