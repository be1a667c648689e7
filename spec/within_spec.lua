-- Contract 3: `within`, a deadline that the network calls of a function share.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local wire = require("spec.support.wire")

local pack = table.pack or function(...) return { n = select("#", ...), ... } end
-- Far longer than a block, and than a row may take.
local LONG = 3600

--- A connected pair; nothing is sent on it.
local function pair()
  local l = net.tcp_listen("127.0.0.1", 0)
  local a = net.tcp("127.0.0.1", l.local_port)
  local b = l:accept()
  l:close()
  return a, b
end

--- That `f` ends by the block, whatever its own timeout.
local function ends(f, seconds)
  local err = fails.with("network/timeout", net.within, seconds or 0.05, f)
  assert.matches("within", err.message)
  return err
end

describe("within", function()
  wire.watch(before_each, after_each)

  it("hands on what it is called with, and what comes back", function()
    local got = pack(net.within(1, function(...) return select("#", ...), ... end, nil, 2, nil))
    assert.same({ n = 4, 3, nil, 2, nil }, got)
    assert.equal("x", net:within(1, string.lower, "X"))
    assert.equal(0, pack(net.within(math.huge, function() end)).n)
  end)

  it("raises what is raised", function()
    local thing = {}
    assert.equal(thing, select(2, pcall(net.within, 1, function() error(thing) end)))
    assert.matches("^spec/within_spec.lua:%d+: words$", select(2, pcall(net.within, 1, function() error("words") end)))
  end)

  it("says what is wrong with its arguments", function()
    for _, row in ipairs{
      { "#1 .*0 or more seconds", "1", print }, { "#1 .*0 or more seconds", -1, print }, { "#1", 0 / 0, print }, { "#1" },
      { "#2 .*a function expected, got 2", 1, 2 }, { "#2 .*a function", 1 },
    } do
      local ok, err = pcall(net.within, row[2], row[3])
      assert.is_false(ok)
      assert.matches("bad argument " .. row[1], err)
    end
  end)

  it("ends every call that waits", function()
    local a, b = pair()
    local tcp, quiet = net.tcp_listen("127.0.0.1", 0), net.tcp_listen("127.0.0.1", 0)
    local udp = net.udp_listen("127.0.0.1", 0)
    local server = net.http.server("127.0.0.1", 0)
    local waits = {
      recv = function() a:recv(1, { timeout = LONG }) end,
      recv_line = function() a:recv_line{ timeout = math.huge } end,
      recv_exact = function() a:recv_exact(5, { timeout = LONG }) end,
      send_all = function() a:send_all(("x"):rep(64 * 1024 * 1024)) end,
      accept = function() quiet:accept{ timeout = math.huge } end,
      udp = function() udp:recv_from(100, { timeout = LONG }) end,
      poll = function() net.poll({ b, udp }, math.huge) end,
      sleep = function() net.sleep(LONG) end,
      server = function() server:accept{ timeout = LONG } end,
      handshake = function() net.ssl("127.0.0.1", tcp.local_port, { timeout = LONG }) end,
    }
    for name, wait in pairs(waits) do
      assert.same({ name, true }, { name, ends(wait).timeout == 0.05 })
    end
    for _, socket in ipairs{ a, b, tcp, quiet, udp, server } do socket:close() end
  end)

  it("loses nothing of a call that it ends", function()
    local a, b = pair()
    b:send_all("half")
    ends(function() a:recv_line{ timeout = LONG } end)
    b:send_all(" a line\n")
    assert.equal("half a line\n", a:recv_line())
    a:close() b:close()
  end)

  it("ends requests, streams and many at once", function()
    local silent = peer.tcp[[ local all = {} for i = 1, 3 do all[i] = accept() end server:accept() ]]
    local url = "http://127.0.0.1:" .. silent.port .. "/"
    ends(function() net.fetch(url, { timeout = LONG }) end)
    ends(function() net.events(url, { timeout = LONG }) end)
    ends(function() net.websocket(url:gsub("http", "ws", 1), { timeout = LONG }) end)
    local slow = peer.tcp[[ local c = accept() head(c) c:send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234") accept() ]]
    local streamed = net.fetch("http://127.0.0.1:" .. slow.port .. "/", { stream = true })
    assert.equal("1234", streamed:read(4))
    ends(function() streamed:read(1) end)
    streamed:close()
    -- What there is, is there; the next call raises.
    local listener = net.tcp_listen("127.0.0.1", 0)
    local results
    ends(function()
      results = net.fetch_all({ "http://127.0.0.1:" .. listener.local_port .. "/" }, { timeout = LONG })
      net.fetch(url)
    end)
    assert.equal("puck.uno/error/network/timeout", results[1].class)
    listener:close()
  end)

  it("ends a loop that never has to wait", function()
    local a, b = pair()
    local count = 0
    ends(function()
      while true do
        b:send_all("x")
        a:recv(1)
        count = count + 1
      end
    end)
    assert.is_true(count > 0)
    ends(function() while true do net.poll({ b }, 0) end end)
    ends(function() while true do pcall(net.resolve, "127.0.0.1") net.poll({}, 0) end end)
    a:close() b:close()
  end)

  it("leaves a call's own timeout as it is", function()
    local a, b = pair()
    local err = fails.with("network/timeout", net.within, LONG, function() a:recv(1, { timeout = 0.01 }) end)
    assert.not_matches("within", err.message)
    b:send_all("x")
    assert.equal("x", net.within(LONG, function() return a:recv(1, { timeout = 0 }) end))
    a:close() b:close()
  end)

  it("is over when the function is, whatever ended it", function()
    local a, b = pair()
    pcall(net.within, 0, error, "x")
    ends(function() a:recv(1) end, 0)
    b:send_all("y")
    assert.equal("y", a:recv(1))
    local stream = net.within(0.01, function() return { a } end)[1]
    assert.matches("timed out after 0.02", fails.with("network/timeout", stream.recv, stream, 1, { timeout = 0.02 }).message)
    a:close() b:close()
  end)

  it("nests: the nearest end wins", function()
    local a, b = pair()
    local reached
    ends(function()
      net.within(LONG, function() a:recv(1, { timeout = LONG }) end)
      reached = true
    end)
    assert.is_nil(reached)
    net.within(LONG, function()
      ends(function() a:recv(1, { timeout = LONG }) end)
      b:send_all("z")
      assert.equal("z", a:recv(1))
    end)
    a:close() b:close()
  end)

  it("holds in the function only, where that yields", function()
    local a, b = pair()
    local thread = coroutine.create(function(...)
      return net.within(0.05, function(...)
        local got = coroutine.yield(...)
        return got, a:recv(1, { timeout = LONG })
      end, ...)
    end)
    assert.same({ n = 3, true, 1, 2 }, pack(coroutine.resume(thread, 1, 2)))
    -- Outside of it: the socket's own time.
    fails.with("network/timeout", a.recv, a, 1, { timeout = 0.06 })
    b:send_all("w")
    assert.equal("w", a:recv(1))
    -- And its time has gone on.
    local ok, err = coroutine.resume(thread, "x")
    assert.is_false(ok)
    assert.matches("within", err.message)
    assert.equal("dead", coroutine.status(thread))
    a:close() b:close()
  end)

  it("goes through coroutines with whatever a function does there", function()
    local function inside(f, ...)
      local thread = coroutine.create(net.within)
      return pack(coroutine.resume(thread, LONG, f, ...))
    end
    assert.same({ n = 3, true, "a", "b" }, inside(function(...) return ... end, "a", "b"))
    assert.same({ n = 2, true, "x" }, inside(string.lower, "X"))
    local thing = {}
    assert.equal(thing, inside(error, thing)[2])
    local all = {}
    for value in coroutine.wrap(function()
      net.within(LONG, function() for i = 1, 3 do coroutine.yield(i) end end)
    end) do all[#all + 1] = value end
    assert.same({ 1, 2, 3 }, all)
  end)

  it("overshoots by less than a tenth of a second", function()
    -- By the slices in which a read sleeps: a block that ends within one ends the read, and not the slice.
    local said = child.run[[
      local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
      local socket = require("socket")
      local l = net.tcp_listen("127.0.0.1", 0)
      local s = net.tcp("127.0.0.1", l.local_port)
      local best = math.huge
      for _ = 1, 5 do
        local begun = socket.gettime()
        pcall(net.within, 0.31, s.recv, s, 1)
        best = math.min(best, socket.gettime() - begun)
      end
      print(best >= 0.31, best < 0.41)]]
    assert.equal("true\ttrue", said)
  end)

  it("is in the drop-in what a timeout is there", function()
    assert.equal("nil\ttimeout\tnil\ttimeout", child.run[[
      local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
      require("caspian.net.compat").install(net)
      local socket = require("socket")
      local server = socket.bind("127.0.0.1", 0)
      local _, port = server:getsockname()
      local client = socket.connect("127.0.0.1", port)
      local accepted = server:accept()
      local line, why = net.within(0.05, client.receive, client)
      local other, reason = net.within(0.05, server.accept, server)
      print(line, why, other, reason)]])
  end)

  it("lets a hook's error through", function()
    local a, b = pair()
    local ok, err = pcall(net.within, LONG, function()
      debug.sethook(function() debug.sethook() error("hooked", 0) end, "", 1)
      a:recv(1, { timeout = 0 })
    end)
    debug.sethook()
    assert.same({ false, "hooked" }, { ok, err })
    b:send_all("k")
    assert.equal("k", a:recv(1))
    a:close() b:close()
  end)
end)
