-- Contract 3: `within`, a deadline that the network calls of a function share.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local servers = require("spec.support.servers")
local subject = require("spec.support.subject")
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

  it("ends what waits behind other calls: names, proxies, TLS in mid-stream, WebSockets, guards", function()
    local mute, udp = net.tcp_listen("127.0.0.1", 0), net.udp_listen("127.0.0.1", 0)
    local port = mute.local_port
    local plain, accepted = pair()
    local secure = net.ssl("127.0.0.1", servers.https, { verify = false })
    local socket = net.websocket("ws://127.0.0.1:" .. servers.websocket.ws .. "/echo")
    local guard = net.http.guard{
      rules = { host = "127.0.0.1", https_only = false, ports = { port, servers.http } }, allow_private = true,
      middleware = function(ctx, next) if ctx.req.headers["x-wait"] then net.sleep(LONG) end return next() end,
    }
    local behind = net.tcp_listen("127.0.0.1", 0, { tls = { cert = servers.server.cert, key = servers.server.key } })
    local waits = {
      names = function() net.resolve("x.test", "mx", { server = "127.0.0.1:" .. udp.local_port, timeout = LONG }) end,
      reverse = function() net.reverse_resolve("192.0.2.1", { server = "127.0.0.1:" .. udp.local_port, timeout = LONG }) end,
      proxy = function() net.fetch("http://a.test/", { proxy = "http://127.0.0.1:" .. port, timeout = LONG }) end,
      tunnel = function() net.fetch("https://a.test/", { proxy = "http://127.0.0.1:" .. port, timeout = LONG }) end,
      socks = function() net.fetch("http://a.test/", { proxy = "socks5h://127.0.0.1:" .. port, timeout = LONG }) end,
      https = function() net.fetch("https://127.0.0.1:" .. port .. "/", { timeout = LONG }) end,
      starttls = function() plain:starttls{ timeout = LONG, verify = false } end,
      ssl = function() secure:recv(1, { timeout = math.huge }) end,
      websocket = function() socket:recv{ timeout = LONG } end,
      messages = function() for _ in socket:messages{ timeout = LONG } do error("nothing was sent") end end,
      secure = function() behind:accept{ timeout = math.huge } end,
      guard = function() guard.fetch("http://127.0.0.1:" .. port .. "/", { timeout = LONG }) end,
      middleware = function() guard.fetch("http://127.0.0.1:" .. servers.http .. "/hello", { headers = { ["X-Wait"] = "1" } }) end,
      retry = function() net.fetch("http://127.0.0.1:" .. port .. "/", { retry = { attempts = 1000 }, timeout = LONG }) end,
    }
    for name, wait in pairs(waits) do
      local ok, err = pcall(net.within, 0.05, wait)
      assert(not ok and type(err) == "table" and err:is("timeout"), name .. ": " .. tostring(err))
      -- Of what failed in middleware the guard's side learns the class.
      assert.matches(name == "middleware" and "timed out" or "within", err.message, nil, name)
    end
    -- A wait for another try that would end past the block is not begun: what failed is what is told.
    fails.with("network/socket", net.within, 0.05, net.fetch, "http://unix/",
      { unix = subject.unix("a"), retry = { attempts = 1000000, backoff = 0.001, max_wait = 0.002 }, timeout = LONG })
    for _, each in ipairs{ mute, udp, plain, accepted, secure, socket, behind } do pcall(each.close, each) end
  end)

  it("ends a server's loop and what its handlers wait for, and the server goes on", function()
    local server = net.http.server("127.0.0.1", 0)
    local url = "http://127.0.0.1:" .. server.local_port .. "/"
    ends(function() server:run(function() return { status = 200 } end) end)
    ends(function() for _ in server:requests() do error("nobody asked") end end)
    local client = net.tcp("127.0.0.1", server.local_port)
    client:send_all("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    -- The handler's wait ends by the block of whoever runs the server, and the block of the handler is its own.
    local inner
    ends(function()
      server:run(function()
        inner = select(2, pcall(net.within, 0.01, net.sleep, LONG))
        net.sleep(LONG)
      end)
    end, 0.2)
    assert.equal("puck.uno/error/network/timeout", inner.class)
    client:close()
    local app = net.http.sammy{ domain = "a.test" }
    app:get("/", function() return net.http.sammy.response.text(200, "x") end)
    ends(function() app:run("127.0.0.1", 0) end)
    -- It answers still.
    local results = net.within(LONG, function()
      local asker = net.tcp("127.0.0.1", server.local_port)
      asker:send_all("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      server:accept():respond(204)
      local line = asker:recv_line()
      asker:close()
      return line
    end)
    assert.equal("HTTP/1.1 204 No Content\r\n", results)
    server:close()
    assert.truthy(url)
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
    -- By the slices in which a read sleeps: a block that ends within one ends the read, and not the slice. The best of three: what a busy
    -- machine adds is not ours.
    local said = child.run[[
      local net = launch{ "--allow-net=127.0.0.1,x.test", "--allow-listen=127.0.0.1:0" }
      local socket = require("socket")
      local l = net.tcp_listen("127.0.0.1", 0)
      local s = net.tcp("127.0.0.1", l.local_port)
      local function kept(f, ...)
        local best = math.huge
        for _ = 1, 3 do
          local begun = socket.gettime()
          assert(not pcall(net.within, 0.22, f, ...))
          best = math.min(best, socket.gettime() - begun)
          if best >= 0.22 and best < 0.32 then return true end
        end
        return best
      end
      local udp = net.udp_listen("127.0.0.1", 0)
      local http = net.http.server("127.0.0.1", 0)
      local mute = net.tcp_listen("127.0.0.1", 0)
      local url = "://127.0.0.1:" .. mute.local_port .. "/"
      local other = l:accept()
      for _, row in ipairs{
        { "recv", s.recv, s, 1 }, { "accept", l.accept, l }, { "udp", udp.recv, udp, 1 }, { "sleep", net.sleep, 60 },
        { "poll", net.poll, { s, udp }, 60 }, { "server", http.accept, http }, { "fetch", net.fetch, "http" .. url },
        { "handshake", net.fetch, "https" .. url }, { "websocket", net.websocket, "ws" .. url },
        { "names", net.resolve, "x.test", "mx", { server = "127.0.0.1:" .. udp.local_port } },
        { "send", function() while true do s:send_all(("x"):rep(1000000)) end end },
      } do
        io.write(row[1], " ", tostring(kept((table.unpack or unpack)(row, 2))), "\n")
      end
      other:close()]]
    for name, best in said:gmatch("(%S+) (%S+)") do assert.same({ name, "true" }, { name, best }) end
    assert.equal(11, select(2, said:gsub(" true", "")), said)
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

  it("ends the drop-in's loops: requests, pumps, select, mail", function()
    assert.equal("http\ttimeout\npump\ttimeout\nselect\ttimeout\nsmtp\ttimeout\nftp\ttimeout\nhttps\twantread\nnested\ttimeout\ndone", child.run[[
      local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
      require("caspian.net.compat").install(net)
      local socket, http, ltn12 = require("socket"), require("socket.http"), require("ltn12")
      local server = socket.bind("127.0.0.1", 0)
      local _, port = server:getsockname()
      local url = "http://127.0.0.1:" .. port .. "/"
      local client = socket.connect("127.0.0.1", port)
      local accepted = server:accept()
      local function try(name, f, ...)
        local ok, _, why, third = pcall(net.within, 0.1, f, ...)
        -- An error of a drop-in's table is what its function answers behind nil.
        print(name, ok and (why or third) or tostring(_))
      end
      http.TIMEOUT = 3600
      try("http", http.request, url)
      -- A pump that always has something to do, and never has to wait.
      try("pump", function()
        return ltn12.pump.all(function() accepted:send("x") return client:receive(1) end, ltn12.sink.null())
      end)
      try("select", function() return nil, (select(3, socket.select({ accepted }, nil, 3600))) end)
      require("socket.smtp").TIMEOUT = 3600
      try("smtp", require("socket.smtp").send, { from = "<a@b>", rcpt = "<a@b>", source = ltn12.source.string("x"), server = "127.0.0.1", port = port })
      require("socket.ftp").TIMEOUT = 3600
      try("ftp", require("socket.ftp").get, "ftp://127.0.0.1:" .. port .. "/x")
      try("https", require("ssl.https").request, "https://127.0.0.1:" .. port .. "/")
      try("nested", function() return net.within(3600, http.request, url) end)
      print("done")]])
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
