-- Contract 9: what a server answers with: streams, files, events, WebSockets; and what it reads: forms, parts, spilled bodies.

local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local serving = require("spec.support.serving")

local directory = os.getenv("CASPIAN_SERVERS"):match("^(.*)/")

local curl = serving.curl

describe("http server answers", function()
  local server
  serving.watch(before_each, after_each)

  local function open(opts)
    local url
    url, server = serving.open(opts)
    return url
  end

  --- Answers `count` requests by a handler.
  local function serve(count, handler)
    for _ = 1, count do
      local request = server:accept()
      local answer = handler(request)
      if answer then request:respond(answer) end
    end
  end

  it("files, with ranges and conditions", function()
    local path = process.file(("0123456789"):rep(100000))
    local url = open()
    local client = curl(("-D - -o /dev/null -w '%%{size_download}\\n' %s/1"):format(url))
    local etag
    serve(1, function() return { body_file = path, headers = { ["Content-Type"] = "text/x" } } end)
    local text = client:rest():gsub("\r", "")
    etag = text:match('\nETag: ("[^"\n]+")\n')
    assert.truthy(text:find("HTTP/1.1 200 OK\n", 1, true), text)
    assert.truthy(text:find("\nContent-Type: text/x\n", 1, true), text)
    assert.truthy(text:find("\nAccept-Ranges: bytes\n", 1, true), text)
    assert.truthy(text:find("\nLast%-Modified: %a+, %d+ %a+ %d+ [%d:]+ GMT\n"), text)
    assert.truthy(text:find("\n1000000\n$"), text)
    for _, row in ipairs{
      { "-r 10-19", "206", "0123456789" }, { "-r 999998-", "206", "89" }, { "-r -3", "206", "789" }, { "-r 1000000-", "416", "" },
      { "-H 'If-None-Match: " .. etag .. "'", "304", "" }, { "-H 'If-None-Match: \"x\"' -r 0-0", "206", "0" },
      { "-H 'If-Match: \"x\"'", "412", "" }, { "-H 'If-Range: \"x\"' -r 0-0 -o /dev/null", "200", "" },
      { "-I -o /dev/null", "200", "" },
    } do
      client = curl(row[1] .. " -w '%{http_code}' " .. url)
      serve(1, function() return { body_file = path } end)
      assert.equal(row[3] .. row[2], client:rest(), row[1])
    end
    client = curl(url)
    local request = server:accept()
    for _, bad in ipairs{ directory .. "/nothing", directory, "/proc/self/mem" } do
      local ok, err = pcall(request.respond, { body_file = bad })
      assert.is_false(ok)
      assert.truthy(tostring(err):find("body_file", 1, true), tostring(err))
    end
    -- A narrowed network reads no files.
    request:respond(200)
    client:rest()
    os.remove(path)
  end)

  it("functions, as fast as the client takes it, and nobody waits for it", function()
    open()
    local slow = peer.client(server.local_port, [[
      c:send("GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      report((c:receive("*l")))
      local go = require("socket").tcp4()
      go:settimeout(10)
      assert(go:connect("127.0.0.1", select(2, c:getpeername())))
      go:send("GET /go HTTP/1.1\r\nHost: a\r\n\r\n")
      report((go:receive("*l")))
      go:close()
      local count, ended = 0, false
      while true do
        local piece, why, rest = c:receive(65536)
        count = count + #(piece or rest)
        if (piece or rest):find("\r\n0\r\n\r\n", 1, true) then ended = true end
        if not piece then break end
      end
      report(count > 8 * 1024 * 1024, ended)
    ]])
    local left, request = 128, server:accept()
    request:respond{ body = function()
      left = left - 1
      if left >= 0 then return ("x"):rep(65536) end
    end }
    -- The client has not begun to read.
    assert.truthy(left > 0)
    local second = server:accept()
    assert.equal("/go", second.path)
    second:respond(200)
    pcall(server.accept, server, { timeout = 3 })
    while left >= 0 do pcall(server.accept, server, { timeout = 0.05 }) end
    server:stop()
    assert.is_nil(server:accept())
    assert.same({ "HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "true", "true" }, slow:finish())
  end)

  it("functions that raise, to clients that see it", function()
    local errors = {}
    local url = open{ on_error = function(err) errors[#errors + 1] = tostring(err) end }
    local client = curl("-w '%{exitcode}' " .. url)
    local left = 2
    serve(1, function()
      return { body = function()
        left = left - 1
        if left < 0 then error("private") end
        return "x"
      end }
    end)
    assert.equal("xx18", client:rest())
    assert.equal(1, #errors)
    -- HTTP/1.0: until the end.
    client = curl("--http1.0 -i " .. url)
    left = 2
    serve(1, function()
      return { body = function()
        left = left - 1
        if left >= 0 then return "y" end
      end }
    end)
    local text = client:rest()
    assert.truthy(text:find("\r\nConnection: close\r\n\r\nyy$"), text)
    assert.falsy(text:find("Transfer-Encoding", 1, true))
  end)

  it("HEAD by a function that never ends, and clients that leave in the middle of one", function()
    local url = open()
    local made, client = 0, curl("-I " .. url)
    local function endless() made = made + 1 return ("x"):rep(65536) end
    serve(1, function() return { body = endless } end)
    assert.truthy(client:rest():find("Transfer%-Encoding: chunked"))
    assert.truthy(made <= 1)
    local p = peer.client(server.local_port, [[
      c:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      report((c:receive("*l")))
      c:close()
    ]])
    serve(1, function() return { body = endless } end)
    assert.same({ "HTTP/1.1 200 OK" }, p:finish())
    local ended = os.time() + 10
    while server.connections > 0 do
      assert(os.time() < ended)
      pcall(server.accept, server, { timeout = 0.05 })
    end
  end)

  it("HEAD, 204 and 304 without a body", function()
    local url = open()
    local client = curl(("-i -I %s/a --next -i -s %s/b --next -i -s %s/c"):format(url, url, url))
    local status = { ["/a"] = 200, ["/b"] = 204, ["/c"] = 304 }
    serve(3, function(request) return { status = status[request.path], body = "abc" } end)
    local text = client:rest():gsub("\r", "")
    assert.falsy(text:find("abc", 1, true))
    assert.truthy(text:find("200 OK\nDate: [^\n]*\nContent%-Length: 3\n\n"), text)
    assert.truthy(text:find("204 No Content\nDate: [^\n]*\n\n"), text)
    assert.truthy(text:find("304 Not Modified\nDate: [^\n]*\n\n"), text)
  end)

  it("forms with files", function()
    local url = open()
    local path = process.file("the file")
    local client = curl(("-F a=1 -F 'b=two words' -F 'c=@%s;filename=\"x y.txt\";type=text/x' -F a=3 '%s/?q=0'"):format(path, url))
    serve(1, function(request)
      local parts = request:parts()
      assert.equal(4, #parts)
      assert.equal("part", net.kind(parts[1]))
      assert.same({ "c", "x y.txt", "text/x", 8 }, { parts[3].name, parts[3].filename, parts[3].content_type, parts[3].size })
      assert.equal("the", parts[3]:read(3))
      assert.equal(" file", parts[3]:read())
      assert.is_nil(parts[3]:read(1))
      assert.equal("the file", parts[3]:text())
      assert.equal("3", request.params.a)
      assert.equal("0", request.params.q)
      assert.equal("two words", request:form().b)
      assert.equal(parts[3], request.params.c)
      assert.equal(5, #request.param_array)
      return { body = "ok" }
    end)
    assert.equal("ok", client:rest())
    -- A form that breaks off is the client's fault.
    client = curl("-H 'Content-Type: multipart/form-data; boundary=X' -d '--X' " .. url)
    serve(1, function(request)
      local ok, err = pcall(request.parts)
      assert.is_false(ok)
      assert.is_true(err:is("protocol"))
      return { status = 400 }
    end)
    client:rest()
    os.remove(path)
  end)

  it("bodies that are too long for memory", function()
    local refused = {}
    local url = open{ max_memory_bytes = 1000, on_refused = function(info) refused[#refused + 1] = info end }
    local path = process.file(("0123456789"):rep(100000))
    local client = curl(("-w '%%{http_code}' -o /dev/null --data-binary @%s %s"):format(path, url))
    assert.is_false(pcall(server.accept, server, { timeout = 1 }))
    assert.equal("413", client:rest())
    assert.equal(1, #refused)
    assert.equal("puck.uno/touchstone/error/cannot_store_files", refused[1].class)
    assert.equal(1000000, refused[1].content_length)
    assert.equal(1000, refused[1].limit)
    server:close()
    -- Over `max_body_bytes` it is that limit's doing, whether the length was told or not, and whatever fits into memory.
    for _, memory in ipairs{ 500, 5000 } do
      for _, how in ipairs{ "", "-H 'Transfer-Encoding: chunked'" } do
        refused = {}
        url = open{ max_body_bytes = 1000, max_memory_bytes = memory, spill = directory, on_refused = function(info) refused[#refused + 1] = info end }
        client = curl(("-w '%%{http_code}' -o /dev/null %s --data-binary @%s %s"):format(how, path, url))
        serving.turn(server, function() return refused[1] end)
        assert.equal("413", client:rest())
        assert.same({ 1, 1000 }, { #refused, refused[1].limit })
        assert.is_nil(refused[1].class)
        server:close()
      end
    end
    server:close()
    url = open{ max_memory_bytes = 1000, spill = directory }
    for _, how in ipairs{ "", "-H 'Transfer-Encoding: chunked'" } do
      client = curl(("%s --data-binary @%s %s"):format(how, path, url))
      serve(1, function(request)
        assert.is_nil(request.body)
        assert.equal(1000000, request.content_length)
        assert.equal("0123456789", request:read(10))
        local copy = os.tmpname()
        local file = io.open(copy, "wb")
        assert.equal(999990, request:save(file))
        file:close()
        assert.equal(("0123456789"):rep(99999), process.read(copy))
        os.remove(copy)
        return { body = "ok" }
      end)
      assert.equal("ok", client:rest())
    end
    client = curl(("-F f=@%s %s"):format(path, url))
    serve(1, function(request)
      assert.is_nil(request.body)
      assert.equal(("0123456789"):rep(100000), request.params.f:text())
      return { body = "ok" }
    end)
    assert.equal("ok", client:rest())
    os.remove(path)
  end)

  it("a client that waits to send its body", function()
    local url = open()
    local client = curl("-v -H 'Expect: 100-continue' -d abc " .. url .. " 2>&1")
    serve(1, function(request) return { body = request.body } end)
    local text = client:rest()
    assert.truthy(text:find("< HTTP/1.1 100 Continue", 1, true), text)
    assert.truthy(text:find("abc", 1, true), text)
  end)

  it("event streams", function()
    open()
    local reader = net.narrow{ "--allow-net=127.0.0.1" }
    local p = peer.client(server.local_port, [[
      c:send("GET /e HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
      local lines = head(c)
      report(lines[1])
      local body = ""
      while not body:find("\r\n0\r\n\r\n", 1, true) do
        local piece, _, rest = c:receive(1)
        body = body .. (piece or rest)
        if not piece then break end
      end
      report((body:gsub("%x+\r\n", ""):gsub("\r\n", "")))
    ]])
    local stream = server:accept():events{ retry = 1.5 }
    assert.is_true(stream.is_open())
    stream:send{ data = "one\ntwo\r\nthree" }
    stream.send{ event = "e", id = "7", data = "" }
    stream:comment("still here")
    for _, bad in ipairs{ {}, { data = 5 }, { id = "a\nb" }, { event = "a\r" }, { id = "\0" }, { nothing = "x" } } do
      assert.is_false(pcall(stream.send, bad))
    end
    stream:close()
    stream:close()
    assert.is_false(pcall(stream.send, { data = "x" }))
    assert.same({ "HTTP/1.1 200 OK",
      "retry: 1500\n\ndata: one\ndata: two\ndata: three\n\nevent: e\nid: 7\ndata: \n\n: still here\n\n" }, p:finish())
    reader.revoke()
  end)

  it("WebSockets", function()
    open()
    local script = process.file(([[
import asyncio, websockets
async def main():
    async with websockets.connect("ws://127.0.0.1:%d/chat?x=1", subprotocols=["b", "c"]) as ws:
        print("ready", ws.subprotocol, flush=True)
        await ws.send("h\u00e9llo")
        print(await ws.recv() == "h\u00e9llo", flush=True)
        await ws.send(b"\x00" * 100000)
        print(len(await ws.recv()), flush=True)
        await (await ws.ping())
        print("pong", flush=True)
asyncio.run(main())
]]):format(server.local_port))
    -- As spec/support/servers finds it.
    local python = process.start([[sh -c 'for python in python3 /usr/bin/python3; do if "$python" -c "import websockets" 2>/dev/null; then ]]
      .. [[exec "$python" "$0"; fi; done' ]] .. process.quote(script) .. " 2>&1", { script })
    local request = server:accept()
    assert.equal("/chat", request.path)
    local ws = request:websocket{ subprotocols = { "c", "d" } }
    assert.equal("websocket", net.kind(ws))
    assert.equal("c", ws.subprotocol)
    assert.equal("ws://127.0.0.1/chat", ws.url)
    assert.is_false(pcall(request.respond, request, 200))
    for data, kind in ws:messages() do ws:send(data, kind) end
    assert.equal(1000, ws.close_code)
    ws:close()
    assert.equal("ready c\nTrue\n100000\npong\n", python:rest())
    -- Who asks for none is told.
    local client = curl("-w '%{http_code}' http://127.0.0.1:" .. server.local_port)
    local ok, err = pcall(server:accept().websocket)
    assert.is_false(ok)
    assert.is_true(err:is("protocol"))
    assert.truthy(client:rest():find("426$"))
  end)
end)
