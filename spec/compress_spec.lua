-- Contract 3 and 9: permessage-deflate (RFC 7692) of WebSockets, both sides, against Python's `websockets` and node's `ws`.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local serving = require("spec.support.serving")
local wire = require("spec.support.wire")

local base = "ws://127.0.0.1:" .. servers.websocket.ws

local json = ('{"id":1,"name":"somebody","tags":["a","b"]},'):rep(30)
local messages = {
  { "short", "text" }, { "", "text" }, { json, "text" }, { json, "text" }, { ("ψ"):rep(5000), "text" },
  { ("\0\255"):rep(20000), "binary" }, { ("x"):rep(300000), "binary" },
}
do
  -- Bytes in which there is nothing to find.
  local noise, state = {}, 1
  for at = 1, 70000 do
    state = (state * 16807) % 2147483647
    noise[at] = string.char(math.floor(state / 256) % 256)
  end
  messages[#messages + 1] = { table.concat(noise), "binary" }
end

-- Sends all messages and takes them back from a peer that repeats them.
local function exchange(ws)
  for _, message in ipairs(messages) do
    ws:send(message[1], message[2])
    local data, kind = ws:recv()
    assert.equal(message[2], kind)
    assert.is_true(data == message[1], #message[1])
  end
end

local wishes = {
  true,
  {},
  { server_no_context_takeover = true },
  { client_no_context_takeover = true, threshold = 0 },
  { server_no_context_takeover = true, client_no_context_takeover = true, server_max_window_bits = 9, client_max_window_bits = 9 },
  { server_max_window_bits = 10, threshold = 1000000 },
  { client_max_window_bits = 11 },
}

-- node and its `ws`, where they are.
local function node(script)
  return process.start("env NODE_PATH=/usr/share/nodejs node " .. process.quote(process.file(script)) .. " 2>&1")
end
local has_node = process.start("env NODE_PATH=/usr/share/nodejs node -e 'require(\"ws\").WebSocketServer && console.log(\"yes\")' 2>&1"):rest() == "yes\n"

describe("compress, as a client", function()
  wire.watch(before_each, after_each)

  it("is agreed on with websockets, and messages come back as they were sent", function()
    for _, compress in ipairs(wishes) do
      local ws = net.websocket(base .. "/echo", { compress = compress })
      assert.is_true(ws.compressed)
      exchange(ws)
      assert.is_true(ws:close())
    end
    local ws = net.websocket("wss://localhost:" .. servers.websocket.wss .. "/echo", { compress = true, ca_bundle = servers.ca })
    assert.is_true(ws.compressed)
    exchange(ws)
    ws:close()
  end)

  it("is offered in the RFC's words, and only where it is asked for", function()
    for _, row in ipairs{
      { nil, nil }, { false, nil },
      { true, "permessage-deflate; client_max_window_bits" },
      { wishes[5], "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=9" },
    } do
      local ws = net.websocket(base .. "/headers", { compress = row[1] })
      assert.equal(row[1] and true or false, ws.compressed)
      assert.equal(row[2], ("\n" .. ws:recv()):match("\nsec%-websocket%-extensions: ([^\n]*)"))
      ws:close()
    end
  end)

  it("holds a message to its cap while it is restored", function()
    local ws = net.websocket(base .. "/large?size=20000", { compress = true, max_message_bytes = 20000 })
    assert.equal(20000, #ws:recv())
    ws:close()
    for _, size in ipairs{ 20001, 17000000 } do
      ws = net.websocket(base .. "/large?size=" .. size, { compress = true, max_message_bytes = 20000 })
      local err = fails.with("network/too_large", ws.recv, ws)
      assert.truthy(err.message:find("max_message_bytes", 1, true))
      ws:close()
    end
  end)

  it("comes in fragments", function()
    local ws = net.websocket(base .. "/fragments", { compress = true })
    assert.same({ "κόσμε €", "text" }, { ws:recv() })
    assert.same({ "\0\255\254", "binary" }, { ws:recv() })
    ws:close()
  end)

  it("is not what a server may begin, change or misuse", function()
    local script = [[
      local c = accept()
      upgrade(c, "%s")
      c:send("%s")
      report(c:receive("*a"))
    ]]
    local function open(field, bytes, compress)
      local p = peer.tcp(script:format(field, (bytes:gsub(".", function(c) return ("\\%03d"):format(c:byte()) end))))
      return net.websocket("ws://127.0.0.1:" .. p.port .. "/", { compress = compress, timeout = 10 })
    end
    local field = "Sec-WebSocket-Extensions: permessage-deflate%s\\r\\n"
    for _, row in ipairs{
      { "", nil, "not offered" },
      { "; server_max_window_bits=16", true, "malformed" },
      { "; x", true, "malformed" },
      { ", permessage-deflate", true, "more than one" },
      { "; client_max_window_bits=12", { client_max_window_bits = 11 }, "not what was offered" },
      { "", { server_no_context_takeover = true }, "not what was offered" },
    } do
      local err = fails.with("network/protocol", open, field:format(row[1]), "", row[2])
      assert.truthy(err.message:find(row[3], 1, true), err.message)
    end
    for _, row in ipairs{
      { "\193\7\242\72\205\201\201\7\0", "Hello" },     -- the example of the RFC
      { "\193\1\7", "corrupt data" },
      { "\193\5\242\0\17\0\0", "corrupt data" },        -- refers to what was not
      { "\201\0", "reserved bit" },                     -- a compressed ping
      { "\65\2\242\72\192\5\205\201\201\7\0", "reserved bit" }, -- a compressed continuation
    } do
      local ws = open(field:format(""), row[1], true)
      local ok, got = pcall(ws.recv, ws)
      assert.truthy(tostring(got):find(row[2], 1, true), tostring(got))
      assert.is_true(ok or got:is("network/protocol"))
      ws:close{ timeout = 0 }
    end
    local plain = open("", "\129\2ok", true)
    assert.same({ "ok", false }, { plain:recv(), plain.compressed })
    plain:close{ timeout = 0 }
  end)

  it("is told where it is wrong", function()
    for words, compress in pairs{
      ["compress must be true, false or a table"] = "deflate",
      ["compress: unknown option \"level\""] = { level = 9 },
      ["server_max_window_bits must be 9..15, got 8"] = { server_max_window_bits = 8 },
      ["client_max_window_bits must be 9..15, got 16"] = { client_max_window_bits = 16 },
      ["client_max_window_bits must be a whole number"] = { client_max_window_bits = true },
      ["server_no_context_takeover must be true or false"] = { server_no_context_takeover = 1 },
      ["threshold must be a whole number"] = { threshold = -1 },
    } do
      fails.plainly(words, net.websocket, base .. "/echo", { compress = compress })
    end
    fails.plainly("did you mean \"compress\"", net.websocket, base .. "/echo", { perMessageDeflate = true })
    fails.plainly("it is the handshake's", net.websocket, base, { headers = { ["Sec-WebSocket-Extensions"] = "permessage-deflate" } })
  end)

  if has_node then
    it("is agreed on with node's ws", function()
      local running = node([[
        const { WebSocketServer } = require("ws");
        const ways = [
          true, false, { threshold: 0 }, { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
          { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
        ];
        Promise.all(ways.map(perMessageDeflate => new Promise(ready => {
          const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate, maxPayload: 1 << 26 });
          server.on("listening", () => ready(server.address().port));
          server.on("connection", ws => ws.on("message", (data, binary) => ws.send(data, { binary })));
        }))).then(ports => console.log("ready " + ports.join(" ")));
      ]])
      local at = 0
      for port in running:expect("^ready (.*)$"):gmatch("%d+") do
        at = at + 1
        for _, compress in ipairs{ true, wishes[5] } do
          local ws = net.websocket("ws://127.0.0.1:" .. port .. "/", { compress = compress })
          assert.equal(at ~= 2, ws.compressed)
          exchange(ws)
          assert.is_true(ws:close())
        end
      end
      assert.equal(5, at)
    end)
  end
end)

describe("compress, as a server", function()
  local server
  serving.watch(before_each, after_each)

  -- Opens a server, starts a client of it that connects once for each of `wishes`, and repeats what it sends; the client's words.
  local function repeated(script, start, wanted)
    local _
    _, server = serving.open()
    local running, agreed = start(script:format(server.local_port)), {}
    for at = 1, #wanted do
      local ws = server:accept():websocket{ compress = wanted[at], max_message_bytes = 16777216 }
      agreed[at] = ws.compressed
      for data, kind in ws:messages() do ws:send(data, kind) end
      assert.equal(1000, ws.close_code)
      ws:close()
    end
    return running:rest(), agreed
  end

  local function python(script)
    return process.start([[sh -c 'for python in python3 /usr/bin/python3; do if "$python" -c "import websockets" 2>/dev/null; then ]]
      .. [[exec "$python" "$0"; fi; done' ]] .. process.quote(process.file(script)) .. " 2>&1")
  end

  local pythons = [[
import asyncio, os, websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Offer
async def main():
    for offers in %s:
        async with websockets.connect("ws://127.0.0.1:%%d/", compression=None, extensions=offers, max_size=None) as ws:
            same = True
            for data in ["short", "", "{'a': 1}, " * 100, "{'a': 1}, " * 100, b"\0" * 300000, os.urandom(70000)]:
                await ws.send(data)
                same = same and await ws.recv() == data
            print(len(ws.extensions), same)
asyncio.run(main())
]]

  it("is accepted from websockets, by its offers", function()
    local offers, wanted, said, agreed = {}, {}, {}, {}
    for at, row in ipairs{
      { "[Offer()]", true },
      { "[Offer(client_max_window_bits=True)]", true },
      { "[Offer(client_max_window_bits=True)]", wishes[5] },
      { "[Offer(server_no_context_takeover=True, client_no_context_takeover=True)]", true },
      { "[Offer(server_max_window_bits=9, client_max_window_bits=10)]", { threshold = 0 } },
      { "[Offer(server_max_window_bits=8), Offer()]", true },
      { "[Offer()]", false },
      { "None", true },
    } do
      offers[at], wanted[at] = row[1], row[2]
      agreed[at] = row[1] ~= "None" and row[2] and true or false
      said[at] = (agreed[at] and "1" or "0") .. " True\n"
    end
    local words, got = repeated(pythons:format("[" .. table.concat(offers, ", ") .. "]"), python, wanted)
    assert.equal(table.concat(said), words)
    assert.same(agreed, got)
  end)

  if has_node then
    it("is accepted from node's ws, by its offers", function()
      local words, agreed = repeated([[
        const { WebSocket } = require("ws");
        const ways = [true, { threshold: 0, serverNoContextTakeover: true }, { threshold: 0, clientMaxWindowBits: 9, serverMaxWindowBits: 9 }];
        const all = ["short", "", "{'a': 1}, ".repeat(100), "{'a': 1}, ".repeat(100), "\u03c8".repeat(100000)];
        const next = () => {
          if (ways.length == 0) return;
          const ws = new WebSocket("ws://127.0.0.1:%d/", { perMessageDeflate: ways.shift() });
          let at = 0, same = true;
          ws.on("open", () => ws.send(all[0]));
          ws.on("message", data => {
            same = same && data.toString() === all[at];
            at += 1;
            if (at < all.length) ws.send(all[at]); else { console.log(ws.extensions, same); ws.close(1000); }
          });
          ws.on("close", next);
          ws.on("error", err => console.log(err.message));
        };
        next();
      ]], node, { true, true, wishes[5] })
      assert.equal(("permessage-deflate true\n"):rep(3), words)
      assert.same({ true, true, true }, agreed)
    end)
  end

  it("keeps in step when a message could not be sent", function()
    local _
    _, server = serving.open()
    local sign = os.tmpname()
    os.remove(sign)
    local running = python(([[
import asyncio, os, websockets
async def main():
    async with websockets.connect("ws://127.0.0.1:%d/", max_queue=1, max_size=None) as ws:
        while not os.path.exists(%q):
            await asyncio.sleep(0.01)
        sizes = [len(message) async for message in ws if len(message) != %d]
        print(len(ws.extensions), sizes)
asyncio.run(main())
]]):format(server.local_port, sign, #messages[#messages][1]))
    local ws = server:accept():websocket{ compress = { threshold = 0 } }
    ws:send(json)
    -- Until nothing goes any more; then what is begun stays, and what is not begun is forgotten.
    local noise, err = messages[#messages][1], nil
    for _ = 1, 1000 do
      local ok
      ok, err = pcall(ws.send, ws, noise, "binary", { timeout = 0 })
      if not ok then break end
    end
    assert.is_true(err:is("timeout"))
    for _ = 1, 3 do assert.equal(0, fails.with("network/timeout", ws.send, ws, json, { timeout = 0 }).sent) end
    assert(io.open(sign, "wb")):close()
    ws:send(json)
    ws:send(json)
    ws:close()
    os.remove(sign)
    assert.equal(("1 [%d, %d, %d]\n"):format(#json, #json, #json), running:rest())
  end)

  it("holds a client to its cap, and refuses offers that are malformed", function()
    local url
    url, server = serving.open()
    local running = python((pythons:format("[[Offer()]]"):format(server.local_port)))
    local ws = server:accept():websocket{ compress = true, max_message_bytes = 2000 }
    for _ = 1, 4 do ws:send(ws:recv()) end
    fails.with("network/too_large", ws.recv, ws)
    ws:close()
    assert.truthy(running:rest():find("1009", 1, true))
    local client = serving.curl("-w '%{http_code}' -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' "
      .. "-H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' -H 'Sec-WebSocket-Extensions: permessage-deflate;' " .. url)
    local err = fails.with("network/protocol", server:accept().websocket, { compress = true })
    assert.truthy(err.message:find("Sec-WebSocket-Extensions is malformed", 1, true))
    assert.truthy(client:rest():find("400$"))
    fails.plainly("compress must be true", function() -- told before anything is answered
      local started = serving.curl("-o /dev/null --max-time 5 " .. url)
      local request = server:accept()
      local ok, why = pcall(request.websocket, { compress = 1 })
      request:respond(200)
      started:rest()
      assert(not ok)
      error(why, 0)
    end)
  end)
end)
