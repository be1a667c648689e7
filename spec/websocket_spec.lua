-- Contract 3 and 5: websocket against a server by another author (the `websockets` package).

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local load = loadstring or load -- luacheck: ignore
local base = "ws://127.0.0.1:" .. servers.websocket.ws
local secure = "wss://localhost:" .. servers.websocket.wss

-- The values of a call, with how many there are.
local function pack(...)
  return { n = select("#", ...), ... }
end

describe("a message", function()
  wire.watch(before_each, after_each)

  local rows = {
    { "empty text", "", "text" },
    { "text", "héllo €\n", "text" },
    { "text with a NUL", "a\0b", "text" },
    { "empty binary", "", "binary" },
    { "binary", "\0\255\254\128", "binary" },
  }
  for _, size in ipairs{ 125, 126, 65535, 65536, 1048577 } do
    rows[#rows + 1] = { "text of " .. size, ("x"):rep(size), "text" }
    rows[#rows + 1] = { "binary of " .. size, ("\255"):rep(size), "binary" }
  end

  it("comes back as it was sent", function()
    for _, url in ipairs{ base, secure } do
      local ws = net.websocket(url .. "/echo", { ca_bundle = servers.ca })
      for _, row in ipairs(rows) do
        local name, data, kind = row[1], row[2], row[3]
        ws:send(data, kind)
        local got = pack(ws:recv())
        assert.is_true(got[1] == data, name)
        assert.same({ kind, 2 }, { got[2], got.n }, name)
      end
      assert.is_true(ws:close())
    end
  end)

  it("is text unless said otherwise, and recv's answers are send's arguments", function()
    local ws = net.websocket(base .. "/echo")
    ws:send("one")
    ws:send(ws:recv())
    assert.same({ "one", "text" }, { ws:recv() })
    ws:send("\255", "binary", { timeout = 5 })
    ws:send(ws:recv())
    assert.same({ "\255", "binary" }, { ws:recv() })
    ws:send("two", { timeout = 5 })
    assert.equal("two", (ws:recv()))
    ws:close()
  end)

  it("comes whole, however it was cut", function()
    local ws = net.websocket(base .. "/fragments")
    assert.same({ "κόσμε €", "text" }, { ws:recv() })
    assert.same({ "\0\255\254", "binary" }, { ws:recv() })
    ws:close()
  end)

  it("is one of many that messages() walks", function()
    local seen = {}
    local ws = net.websocket(base .. "/burst?count=300")
    for data, kind in ws:messages() do
      assert.equal("text", kind)
      seen[#seen + 1] = data
    end
    assert.equal(300, #seen)
    assert.equal("299", seen[300])
    assert.equal(1000, ws.close_code)
    ws:close()
  end)

  it("has a largest size", function()
    local ws = net.websocket(base .. "/large?size=1000", { max_message_bytes = 1000 })
    assert.equal(1000, #ws:recv())
    ws:close()
    for _, opts in ipairs{ { max_message_bytes = 999 }, { max_frame_bytes = 999 } } do
      ws = net.websocket(base .. "/large?size=1000", opts)
      local err = fails.with("network/too_large", ws.recv, ws)
      assert.is_true(err:is("network/protocol"))
      assert.equal("recv", err.op)
      ws:close()
    end
    ws = net.websocket(base .. "/large?size=17000000")
    fails.with("network/too_large", ws.recv, ws)
    ws:close()
    ws = net.websocket(base .. "/large?size=17000000", { max_message_bytes = 17000000 })
    assert.equal(17000000, #ws:recv())
    ws:close()
  end)
end)

describe("a handshake", function()
  wire.watch(before_each, after_each)

  it("chooses a subprotocol of those that were asked for", function()
    for _, row in ipairs{
      { nil, nil },
      { { "chat.one" }, "chat.one" },
      { { "else", "chat.two", "chat.one" }, "chat.two" },
    } do
      local ws = net.websocket(base .. "/silent", { subprotocols = row[1] })
      assert.equal(row[2], ws.subprotocol)
      ws:close()
    end
  end)

  it("carries the caller's headers", function()
    local ws = net.websocket(base .. "/headers", { headers = { ["X-One"] = "1", Origin = "https://a.example" } })
    local text = "\n" .. ws:recv()
    assert.truthy(text:find("\nx-one: 1\n", 1, true))
    assert.truthy(text:find("\norigin: https://a.example\n", 1, true))
    assert.truthy(text:find("\nuser-agent: caspian/", 1, true))
    ws:close()
    -- Those of the handshake are not the caller's to leave out.
    ws = net.websocket(base .. "/headers", { headers = { ["User-Agent"] = false, Upgrade = false, ["Sec-WebSocket-Key"] = false } })
    assert.is_nil(("\n" .. ws:recv()):find("\nuser-agent:", 1, true))
    ws:close()
  end)

  it("is refused with the server's status, and redirects are not followed", function()
    for path, words in pairs{
      forbidden = "the server answered 403 instead of 101",
      fine = "the server answered 200 instead of 101",
      moved = "the server answered 302, a redirect to elsewhere.example, which a WebSocket does not follow",
    } do
      local err = fails.with("network/protocol", net.websocket, base .. "/" .. path)
      assert.truthy(err.message:find(words, 1, true), err.message)
      assert.falsy(err.message:find("secret", 1, true))
      assert.equal("websocket", err.op)
      assert.equal(base .. "/" .. path, err.url)
      assert.equal("127.0.0.1", err.host)
    end
  end)

  it("is not one with a server of another kind", function()
    local err = fails.with("network/protocol", net.websocket, "ws://127.0.0.1:" .. servers.http .. "/hello")
    assert.truthy(err.message:find("answered 200", 1, true))
  end)

  it("verifies the server, and speaks over a chosen address or a Unix socket", function()
    fails.with("network/tls", net.websocket, secure .. "/echo")
    local options = {
      { ca_bundle = servers.ca },
      { verify = false },
      { ca_bundle = servers.ca, protocols = { "TLSv1.2" } },
    }
    for _, opts in ipairs(options) do net.websocket(secure .. "/echo", opts):close() end
    local port = servers.websocket.ws
    local ws = net.websocket("ws://chat.example:" .. port .. "/headers", { resolve = { ["chat.example:" .. port] = "127.0.0.1" } })
    assert.truthy(ws:recv():find("host: chat.example:" .. port, 1, true))
    ws:close()
    ws = net.websocket("ws://chat.example/echo", { unix = servers.websocket.socket })
    ws:send("over the file system")
    assert.equal("over the file system", (ws:recv()))
    ws:close()
  end)

  it("goes through a proxy", function()
    for _, proxy in ipairs{
      "http://127.0.0.1:" .. servers.proxy.http, "socks5h://127.0.0.1:" .. servers.proxy.socks, "socks4://127.0.0.1:" .. servers.proxy.socks4,
      { url = "127.0.0.1:" .. servers.proxy.http_digest, auth = { "user", "s3cret", scheme = "digest" }, headers = { X = "1" } },
    } do
      for _, url in ipairs{ base, secure } do
        local ws = net.websocket(url .. "/echo", { proxy = proxy, ca_bundle = servers.ca })
        ws:send("around")
        assert.equal("around", (ws:recv()))
        ws:close()
      end
    end
  end)

  it("has the deadline of its call", function()
    local p = peer.tcp[[ local c = accept() c:receive("*a") ]]
    local err = fails.with("network/timeout", net.websocket, "ws://127.0.0.1:" .. p.port, { timeout = 0.1 })
    assert.equal(0.1, err.timeout)
  end)
end)

describe("the gate", function()
  wire.watch(before_each, after_each)

  it("is asked by name, before DNS", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1:" .. servers.websocket.ws }
    mine.websocket(base .. "/silent"):close()
    local err = fails.with("network/port_not_allowed", mine.websocket, "ws://127.0.0.1:1/")
    assert.equal("ws://127.0.0.1:1/", err.url)
    fails.with("network/host_not_allowed", mine.websocket, "wss://nowhere.invalid/")
    fails.with("network/host_not_allowed", mine.websocket, "ws://localhost:" .. servers.websocket.ws)
    fails.with("network/host_not_allowed", mine.websocket, base, { unix = servers.websocket.socket })
    mine.revoke()
  end)
end)

describe("time", function()
  wire.watch(before_each, after_each)

  it("runs out, and nothing is lost", function()
    local p = peer.tcp[[
      local c = accept()
      upgrade(c)
      c:send("\1\3on")
      c:receive(6)
      c:send("e\128\5, tw")
      c:receive(6)
      c:send("o")
      c:receive("*a")
    ]]
    local ws = net.websocket("ws://127.0.0.1:" .. p.port .. "/", { timeout = 5 })
    assert.equal(5, ws.timeout)
    local err = fails.with("network/timeout", ws.recv, ws, { timeout = 0.05 })
    assert.equal(0.05, err.timeout)
    ws:ping()
    ws.timeout = 0.05
    fails.with("network/timeout", ws.recv, ws)
    fails.with("network/timeout", ws.recv, ws, { timeout = 0 })
    ws:ping()
    assert.same({ "one, two", "text" }, { ws:recv{ timeout = 5 } })
    assert.is_false(ws:close{ timeout = 0 })
  end)
end)

describe("a ping", function()
  wire.watch(before_each, after_each)

  it("is answered while something is received", function()
    local ws = net.websocket(base .. "/ping")
    assert.equal("answered", (ws:recv()))
    ws:ping()
    ws:ping("data", { timeout = 5 })
    fails.plainly("125 bytes or less, got 126", ws.ping, ws, ("x"):rep(126))
    ws:close()
  end)
end)

describe("the end", function()
  wire.watch(before_each, after_each)

  it("is the server's goodbye, with code and reason", function()
    for _, row in ipairs{ { "code=1000", 1000, "" }, { "code=4321&reason=enough%20%E2%82%AC", 4321, "enough €" } } do
      local ws = net.websocket(base .. "/close?" .. row[1])
      for _ = 1, 2 do assert.same({ n = 3, nil, row[2], row[3] }, pack(ws:recv())) end
      assert.same({ row[2], row[3], false }, { ws.close_code, ws.close_reason, ws.connected })
      fails.with("network/socket", ws.send, ws, "late")
      assert.is_true(ws:close())
      fails.with("network/socket", ws.recv, ws)
      assert.equal(row[2], ws.close_code)
    end
  end)

  it("is ours, and the server hears it", function()
    local told = net.websocket(base .. "/closed")
    pcall(told.recv, told, { timeout = 0 }) -- what an earlier row said, if any
    assert.is_true(told:close(4000, "that was all €"))
    told = net.websocket(base .. "/closed")
    assert.equal("4000 that was all €", (told:recv()))
    assert.is_true(told:close())
    assert.equal(1000, told.close_code)
    assert.is_false(told.connected)
    assert.is_true(told:close(), "closing twice is no error")
    fails.with("network/socket", told.send, told, "late")
    fails.with("network/socket", told.recv, told)
  end)

  it("without a goodbye is a reset", function()
    local ws = net.websocket(base .. "/gone")
    assert.equal("last words", (ws:recv()))
    for _ = 1, 2 do fails.with("network/connection_reset", ws.recv, ws) end
    assert.is_nil(ws.close_code)
    ws:close()
  end)

  it("comes with the garbage, with <close> and with revoke", function()
    local before = wire.open()
    for _ = 1, 5 do net.websocket(base .. "/silent") end
    net.websocket(secure .. "/silent", { ca_bundle = servers.ca })
    assert.equal(before, wire.open())
    local scope = load("local ws <close> = ... return ws.connected")
    if scope then
      local ws = net.websocket(base .. "/silent")
      assert.is_true(scope(ws))
      assert.is_false(ws.connected)
    end
    local mine = net.narrow{ "--allow-net=127.0.0.1" }
    local ws = mine.websocket(base .. "/echo")
    mine.revoke()
    fails.with("network/socket", ws.send, ws, "x")
    fails.with("network/socket", ws.recv, ws)
    fails.with("network/socket", mine.websocket, base)
    ws:close()
  end)
end)

describe("poll", function()
  wire.watch(before_each, after_each)

  it("tells of messages, also of those that came together", function()
    local ws = net.websocket(base .. "/echo")
    assert.same({}, (net.poll({ ws }, 0)))
    ws:send("one") ws:send("two")
    local got = {}
    while #got < 2 do
      assert.equal(ws, net.poll({ ws }, 5)[1])
      got[#got + 1] = ws:recv{ timeout = 0 }
    end
    assert.same({ "one", "two" }, got)
    assert.same({}, (net.poll({ ws }, 0)))
    ws:close()
    fails.with("network/socket", net.poll, { ws }, 0)
  end)

  it("answers pings meanwhile, and tells of the end", function()
    local ws = net.websocket(secure .. "/ping", { ca_bundle = servers.ca })
    assert.equal(ws, net.poll({ ws }, 5)[1])
    assert.equal("answered", (ws:recv{ timeout = 0 }))
    ws:close()
    ws = net.websocket(base .. "/close?code=3000")
    assert.equal(ws, net.poll({ ws }, 5)[1])
    assert.same({ n = 3, nil, 3000, "" }, pack(ws:recv{ timeout = 0 }))
    assert.equal(ws, net.poll({ ws }, 5)[1])
    ws:close()
  end)
end)

describe("the object", function()
  wire.watch(before_each, after_each)

  it("has fields, and a locked metatable", function()
    local ws = net:websocket(base .. "/silent", { timeout = 7 })
    assert.equal(base .. "/silent", ws.url)
    assert.same({ "127.0.0.1", servers.websocket.ws, 7, true }, { ws.host, ws.port, ws.timeout, ws.connected })
    assert.equal("127.0.0.1", ws.local_host)
    assert.is_nil(ws.close_code)
    assert.is_nil(ws.nothing)
    assert.is_false(getmetatable(ws))
    assert.equal("userdata", type(ws))
    assert.equal("websocket (127.0.0.1:" .. servers.websocket.ws .. ")", tostring(ws))
    fails.plainly("no writable field", function() ws.url = "x" end)
    fails.plainly("no writable field", function() ws.nodelay = true end)
    ws.timeout = math.huge
    assert.equal(math.huge, ws.timeout)
    ws:close()
    assert.truthy(tostring(ws):find(", closed)", 1, true))
  end)

  it("tells wrong arguments", function()
    for words, arguments in pairs{
      ["#1 to 'websocket' (url must be a string"] = { 7 },
      ["#1 to 'websocket' (URL must begin with ws:// or wss://)"] = { "http://127.0.0.1/" },
      ["#1 to 'websocket' (URL contains credentials"] = { "ws://u:p@127.0.0.1/" },
      ["#1 to 'websocket' (URL of a WebSocket has no fragment)"] = { base .. "/#x" },
      ["unknown option \"protocol\""] = { base, { protocol = "x" } },
      ["max_message_bytes must be a whole number"] = { base, { max_message_bytes = -1 } },
      ["subprotocols: \"a b\" is not a token"] = { base, { subprotocols = { "a b" } } },
      ["subprotocols: \"a\" is named twice"] = { base, { subprotocols = { "a", "a" } } },
      ["cannot be set: it is the handshake's"] = { base, { headers = { Connection = "x" } } },
      ["use the option `subprotocols`"] = { base, { headers = { ["sec-websocket-protocol"] = "x" } } },
      ["the value of header X contains a control character"] = { base, { headers = { X = "a\r\nb" } } },
      ["resolve: x is not an IP address"] = { base, { resolve = { ["a:1"] = "x" } } },
      ["proxy and unix exclude each other"] = { base, { proxy = "http://a", unix = "/x" } },
      ["timeout must be 0 or more seconds"] = { base, { timeout = -1 } },
    } do
      local message = fails.plainly(words, net.websocket, arguments[1], arguments[2])
      assert.truthy(message:find("spec/support/fails.lua", 1, true) or message:find("bad argument", 1, true))
    end
    local ws = net.websocket(base .. "/echo")
    fails.plainly("#1 to 'send' (data must be a string", ws.send, ws, {})
    fails.plainly("#1 to 'send' (text must be valid UTF-8", ws.send, ws, "\255")
    fails.plainly("#2 to 'send' (kind must be \"text\" or \"binary\", got \"x\")", ws.send, ws, "", "x")
    fails.plainly("unknown option \"wait\"", ws.send, ws, "", { wait = 1 })
    fails.plainly("unknown option \"max\"", ws.recv, ws, { max = 1 })
    for _, code in ipairs{ 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, -1, 1000.5, 66536 } do
      fails.plainly("#1 to 'close' (code must be", ws.close, ws, code)
    end
    fails.plainly("#1 to 'close' (code must be a number", ws.close, ws, "x")
    fails.plainly("#2 to 'close' (reason must be valid UTF-8", ws.close, ws, 1000, "\255")
    fails.plainly("#2 to 'close' (reason must be 123 bytes or less, got 124)", ws.close, ws, 1000, ("x"):rep(124))
    -- After all that it still works.
    ws:send("still here")
    assert.equal("still here", (ws:recv()))
    for _, wrong in ipairs{ false, 1, "x", {}, net } do
      for _, name in ipairs{ "send", "recv", "ping", "close", "messages" } do
        assert.is_false(pcall(ws[name], wrong, "x"))
      end
    end
    local s = net.tcp("127.0.0.1", servers.http)
    assert.is_false(pcall(ws.recv, s))
    assert.is_false(pcall(s.recv, ws))
    s:close()
    assert.is_true(ws:close())
  end)
end)

local found, unistd = pcall(require, "posix.unistd")
if found then
  describe("fork", function()
    wire.watch(before_each, after_each)

    it("a child neither speaks on its parent's WebSocket nor ends it", function()
      local ws = net.websocket(base .. "/echo")
      local id = unistd.fork()
      if id == 0 then
        local ok, err = pcall(ws.send, ws, "x")
        local closed = ws:close()
        unistd._exit(not ok and err:is("network/socket") and closed == false and 0 or 1)
      end
      assert.same({ id, "exited", 0 }, { require("posix.sys.wait").wait(id) })
      ws:send("still here")
      assert.equal("still here", (ws:recv()))
      ws:close()
    end)
  end)
end
