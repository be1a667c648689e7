-- Contract 4 and 9: many at once in one script, by `poll`: servers, event streams of both sides, WebSockets, streamed responses.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local servers = require("spec.support.servers")
local serving = require("spec.support.serving")

local STREAM = [[
  local c = accept()
  head(c)
  c:send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
]]

local function has(list, wanted)
  for _, each in ipairs(list) do
    if each == wanted then return true end
  end
  return false
end

describe("poll", function()
  local mine
  before_each(function() mine = net.narrow{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" } end)
  after_each(function() mine.revoke() mine = nil end)
  serving.watch(before_each, after_each)

  it("says that an event is there, not that bytes are", function()
    local p = peer.tcp(STREAM .. [[
      c:send(": hello\n\nid: 1\ndata: on")
      socket.sleep(0.3)
      c:send("e\n\nid: 2\ndata: two\n\nid: 3\n")
      socket.sleep(0.3)
      c:send("data: three\n\n")
      c:close()
    ]])
    local stream = mine.events("http://127.0.0.1:" .. p.port, { reconnect = false })
    assert.same({}, (mine.poll({ stream }, 0)))
    local seen = {}
    while true do
      local readable, writable = mine.poll({ stream }, 10)
      assert.same({ stream }, readable)
      assert.same({}, writable)
      assert.equal(seen[#seen] and tostring(#seen) or "", stream.last_event_id)
      local event = stream:next{ timeout = 0 }
      if not event then break end
      seen[#seen + 1] = event.data
    end
    assert.same({ "one", "two", "three" }, seen)
    p:finish()
    stream:close()
    fails.with("network/socket", mine.poll, { stream }, 0)
  end)

  it("says that a stream may come back", function()
    local p = peer.tcp(STREAM .. [[
      c:send("retry: 200\n\nid: 1\ndata: one\n\n")
      c:close()
      c = accept()
      head(c)
      c:send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: two\n\n")
      c:receive(1)
    ]])
    local stream = mine.events("http://127.0.0.1:" .. p.port)
    assert.same({ stream }, (mine.poll({ stream }, 10)))
    assert.equal("one", stream:next().data)
    assert.same({ stream }, (mine.poll({ stream }, 10)))
    assert.equal("two", stream:next().data)
    assert.same({}, (mine.poll({ stream }, 0.05)))
    stream:close()
    p:finish()
  end)

  it("tells what an event stream came upon, once", function()
    local p = peer.tcp(STREAM .. [[ c:send("data: " .. ("x"):rep(2000)) c:receive(1) ]])
    local stream = mine.events("http://127.0.0.1:" .. p.port, { max_event_bytes = 1000, reconnect = false })
    assert.same({ stream }, (mine.poll({ stream }, 10)))
    fails.with("network/too_large", function() stream:next() end)
    assert.is_nil(stream:next())
    p:finish()
  end)

  it("says that a streamed response has a piece, its end or a failure", function()
    local p = peer.tcp([[
      local c = accept()
      head(c)
      c:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r")
      socket.sleep(0.3)
      c:send("\nabc\r\n2\r\nde\r\n0\r\n\r\n")
      head(c)
      c:send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
      c:receive(1)
      c:close()
    ]])
    local url = "http://127.0.0.1:" .. p.port
    local client = mine.http.client.new()
    local response = client:get(url, { stream = true })
    local text, next_piece = "", response:chunks()
    while true do
      assert.same({ response }, (mine.poll({ response }, 10)))
      local piece = next_piece()
      if not piece then break end
      text = text .. piece
    end
    assert.equal("abcde", text)
    response = client:get(url, { stream = true })
    next_piece = response:chunks()
    assert.same({ response }, (mine.poll({ response }, 10)))
    assert.equal("abc", next_piece())
    assert.same({}, (mine.poll({ response }, 0.05)))
    -- The peer leaves in the middle.
    p.process:kill()
    assert.same({ response }, (mine.poll({ response }, 10)))
    fails.with("network/connection_reset", next_piece)
    client:close()
  end)

  it("reads what a response still has to decode", function()
    local response = mine.fetch("http://127.0.0.1:" .. servers.http .. "/gzip", { stream = true })
    local count = 0
    while true do
      assert.same({ response }, (mine.poll({ response }, 10)))
      local byte = response:read(1)
      if not byte then break end
      count = count + 1
    end
    assert.truthy(count > 10)
    -- One that was gathered has nothing to wait for.
    fails.plainly("bad argument #1 to 'poll'", mine.poll, { mine.fetch("http://127.0.0.1:" .. servers.http .. "/hello") }, 0)
  end)

  it("says of a server's event streams that there is room, or that the client is gone", function()
    local _, server = serving.open()
    local client = serving.client(server, serving.get("/"))
    local stream = server:accept():events{ timeout = 0.2 }
    assert.equal("event_stream", net.kind(stream))
    local readable, writable = net.poll({ read = { stream }, write = { stream } }, 5)
    assert.same({ {}, { stream } }, { readable, writable })
    -- Until nothing fits any more.
    fails.with("network/timeout", function()
      while true do stream.send{ data = ("x"):rep(64 * 1024) } end
    end)
    assert.same({ {}, {} }, { net.poll({ read = { stream }, write = { stream } }, 0.05) })
    for _ = 1, 200 do
      client:recv(1024 * 1024)
      readable, writable = net.poll({ read = { stream }, write = { stream } }, 0)
      if writable[1] then break end
    end
    assert.same({ {}, { stream } }, { readable, writable })
    client:close()
    assert.is_true(has(net.poll({ server, stream }, 10), stream))
    fails.with("network/connection_reset", function() stream:send{ data = "x" } end)
    assert.is_false(stream.is_open())
  end)

  it("misses nothing, in whatever order a list names a server and its event streams", function()
    local _, server = serving.open()
    local function stream()
      local client = serving.client(server, serving.get("/events"))
      return server:accept():events(), client
    end
    -- What one entry sets off may be what another one waits for. Missed, it would be found a second later, with the next timers:
    -- twenty seconds and more in all.
    local began = os.time()
    for _ = 1, 20 do
      local a, client_a = stream()
      local b, client_b = stream()
      for _, list in ipairs{ { server, a, b }, { a, server, b }, { a, b, server } } do
        local client = serving.client(server, serving.get("/"))
        repeat
          local readable = net.poll(list, 10)
          assert.is_true(#readable == 1 and readable[1] == server)
        until server:accept{ timeout = 0 }:respond(200, nil, "ok")
        assert.equal("HTTP/1.1 200 OK", serving.head(client)[1])
        client:close()
      end
      client_a:close()
      assert.same({ a }, (net.poll({ a, b }, 10)))
      client_b:close()
      assert.is_true(has(net.poll({ server, a, b }, 10), a))
      while not has(net.poll({ b }, 10), b) do assert(os.time() - began < 60) end
    end
    assert(os.time() - began < 15, "something was missed")
  end)

  it("serves a room of event streams and WebSockets in one script", function()
    local _, server = serving.open()
    local upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    local listeners, talkers, streams, sockets, clients = {}, {}, {}, {}, {}
    for at = 1, 40 do
      listeners[at] = serving.client(server, serving.get("/events"))
      talkers[at] = serving.client(server, serving.get("/talk", upgrade))
    end
    while #streams + #sockets < 80 do
      assert.same({ server }, (net.poll({ server }, 10)))
      local request = server:accept{ timeout = 0 }
      if request.path == "/events" then streams[#streams + 1] = request:events() else sockets[#sockets + 1] = request:websocket() end
    end
    for at = 1, 40 do
      assert.equal("HTTP/1.1 200 OK", serving.head(listeners[at])[1])
      assert.equal("HTTP/1.1 101 Switching Protocols", serving.head(talkers[at])[1])
    end
    -- A masked text frame, as a client sends it (RFC 6455 section 5.2); its mask is zero.
    for at = 1, 40, 10 do talkers[at]:send_all("\129\130\0\0\0\0" .. ("%02d"):format(at)) end
    local told = 0
    while told < 4 do
      local everything = { server }
      for at = 1, 40 do everything[#everything + 1], everything[#everything + 2] = streams[at], sockets[at] end
      for _, ready in ipairs(net.poll(everything, 10)) do
        assert.equal("websocket", net.kind(ready))
        local text = ready:recv{ timeout = 0 }
        for _, stream in ipairs(streams) do stream:send{ data = text } end
        for _, socket in ipairs(sockets) do socket:send(text) end
        told = told + 1
      end
    end
    for at = 1, 40 do
      local got = {}
      for _ = 1, 4 do
        local frame = talkers[at]:recv_exact(4)
        assert.equal("\129\2", frame:sub(1, 2))
        got[#got + 1] = frame:sub(3)
      end
      table.sort(got)
      assert.same({ "01", "11", "21", "31" }, got)
      local text = ""
      while select(2, text:gsub("data: %d%d\n\n", "")) < 4 do text = text .. listeners[at]:recv(4096) end
    end
    for at = 1, 40 do
      listeners[at]:close()
      clients[at] = talkers[at]
    end
    -- All those that listened are gone, and none of those that talk.
    local ended = os.time() + 10
    while #net.poll(streams, 10) < 40 do assert(os.time() < ended) end
    assert.same({}, (net.poll(sockets, 0)))
    for at = 1, 40 do
      clients[at]:close()
      sockets[at]:close{ timeout = 0 }
    end
  end)
end)
