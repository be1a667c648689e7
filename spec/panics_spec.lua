-- Panics are defects, so there are none to try this with: the build with the feature `panics` has named points that panic
-- when they are told to (src/panics.rs). Each row is an interpreter of its own: a panic must come out as an error object, or
-- not at all; nothing of it is on standard error; no lock stays shut; no socket stays open. `./test panics` builds and runs this.
--
-- On any other build there is nothing to do.
local found, core = pcall(require, "caspian_net")
if not found or not core.panic_at then return end

local child = require("spec.support.child")

local PRELUDE = ([[
local servers = dofile(%q)
local arm = require("caspian_net").panic_at
local socket = servers.dir .. "/panics.sock"
local net = launch{ "--allow-net", "--allow-listen=127.0.0.1:0", "--allow-listen=unix:" .. socket }
local http, https = "http://127.0.0.1:" .. servers.http, "https://localhost:" .. servers.https
local h2 = "https://localhost:" .. servers.h2
local sockets = require("spec.support.wire").open
-- `use(make())` works. Then the same with the point armed: an error of `class`, or none where that is nil. After it the
-- same object works or says that it does not, and another one works.
local function try(point, class, make, use)
  local mine = net.narrow{ "--allow-net", "--allow-listen=127.0.0.1:0", "--allow-listen=unix:" .. socket }
  local before = sockets()
  use(make(mine), mine)
  collectgarbage() collectgarbage()
  arm(point)
  local made, object = pcall(make, mine)
  local ok, err = made, object
  if made then ok, err = pcall(use, object, mine) end
  if not class then object, err = nil, nil collectgarbage() collectgarbage() end
  assert(arm() == nil, "the point was not passed")
  if class then
    assert(not ok, "there was no error")
    assert(type(err) == "table" and err.is and err:is("network/" .. class), tostring(err))
    assert(class ~= "socket" or err.message:find("internal error: a panic at src/[%%w_/]+%%.rs:%%d+ was caught"), err.message)
  else
    assert(ok, tostring(err))
  end
  if made and object ~= nil then
    ok, err = pcall(use, object, mine)
    assert(ok or type(err) == "table" and err:is("network"), tostring(err))
    if type(object) == "userdata" then object:close() end
  end
  use(make(mine), mine)
  mine.revoke()
  object = nil -- luacheck: ignore
  local patience = os.time() + 3
  while sockets() > before do assert(os.time() < patience, "a socket is left open") end
  print("held")
end
local function pair(mine)
  local listener = mine.tcp_listen("127.0.0.1", 0, { timeout = 3 })
  local client = mine.tcp("127.0.0.1", listener.local_port, { timeout = 3 })
  return { client = client, server = listener:accept(), listener = listener }
end
local function nothing() return true end
]]):format(os.getenv("CASPIAN_SERVERS"))

local ROWS = {
  -- sockets
  { "dial", "socket", "nothing", "function(_, mine) mine.tcp('127.0.0.1', servers.http):close() end" },
  { "connect", "socket", "nothing", "function(_, mine) mine.tcp('127.0.0.1', servers.http):close() end" },
  -- A name that nobody knows, which is a failure without a panic, too: that one says so.
  { "resolve", "dns_failure", "nothing", [[function(_, mine)
    local _, err = pcall(mine.tcp, "nothing.invalid", 80)
    if not err:is("dns_failure") or err.message:find("the resolver gave no answer", 1, true) then error(err, 0) end
  end]] },
  { "read", "socket", "pair", "function(o) o.client:send_all('x\\ny\\n') assert(o.server:recv_line()) end" },
  { "write", "socket", "pair", "function(o) o.client:send_all('x\\ny\\n') assert(o.server:recv_line()) end" },
  { "accept", "socket", "function(mine) return mine.tcp_listen('127.0.0.1', 0, { timeout = 0.5 }) end",
    "function(l, mine) local c = mine.tcp('127.0.0.1', l.local_port) l:accept():close() c:close() end" },
  { "handshake", "socket", "nothing",
    "function(_, mine) mine.ssl('localhost', servers.https, { verify = false }):close() end" },
  { "handshake", "socket", "function(mine) return mine.tcp('localhost', servers.https) end",
    "function(s) s:starttls{ verify = false }:close() end" },
  { "TLS record", "socket", "function(mine) return mine.ssl('localhost', servers.https, { verify = false, timeout = 3 }) end",
    "function(s) s:send_all('GET /hello HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n') assert(s:recv_line()) end" },
  { "datagram", "socket", "function(mine) return mine.udp_listen('127.0.0.1', 0, { timeout = 1 }) end",
    "function(u, mine) mine.udp('127.0.0.1', u.local_port):send('x') assert(u:recv(10) == 'x') end" },
  { "narrow", "socket", "nothing", "function(_, mine) assert(mine.narrow{ '--allow-net=a.test' }.allows('a.test', 1)) end" },
  { "error object", "socket", "nothing",
    "function(_, mine) local _, e = pcall(mine.narrow{}.tcp, 'a.test', 1) if not e:is('network/host_not_allowed') then error(e, 0) end end" },
  -- names
  { "names", "dns_failure", "nothing",
    [[function(_, mine)
      round = (round or 0) + 1 -- what is known is not asked again
      mine.resolve(({ 'www', 'v4', 'alias', 'www' })[round] .. '.spec.test', round < 4 and 'a' or 'aaaa', { server = '127.0.0.1:' .. servers.dns })
    end]] },
  -- HTTP
  { "exchange", "socket", "function(mine) return mine.http.client.new{} end", "function(c) assert(c:get(http .. '/hello').ok) end" },
  -- Beside another request of the connection, which fails with it; the next one has a connection of its own.
  { "http2", "socket", "function(mine) return mine.http.client.new{ http2 = true, verify = false } end",
    "function(c) local r = c:get(h2 .. '/half', { stream = true }) assert(c:get(h2 .. '/hello').version == '2') r:close() end" },
  { "http2", "socket", "function(mine) return mine.fetch(h2 .. '/files/64k', { stream = true, http2 = true, verify = false }) end",
    "function(r) assert(r:read(10)) assert(r:read()) end" },
  { "http2", "socket", "function(mine) return mine.http.client.new{ http2 = true, verify = false } end",
    "function(c) assert(c:post(h2 .. '/echo', ('x'):rep(300000)).ok) end" },
  { "exchange", "socket", "function(mine) return mine.fetch(http .. '/files/64k', { stream = true }) end",
    "function(r) assert(r:read(10)) assert(r:read()) end" },
  { "decode", "socket", "function(mine) return mine.http.client.new{} end", "function(c) assert(#c:get(http .. '/gzip').body > 60000) end" },
  { "decode", "socket", "function(mine) return mine.fetch(http .. '/gzip', { stream = true }) end", "function(r) assert(#r:read() > 60000) end" },
  -- In the midst of a body: what the decoder was at is lost, and so is the body.
  { "body", "socket", "function(mine) return mine.fetch(http .. '/files/64k', { stream = true }) end",
    "function(r) assert(r:read(10)) assert(r:read()) end" },
  { "body", "socket", "function(mine) return mine.fetch(http .. '/gzip', { stream = true }) end", [[function(r)
    local ok, got = pcall(r.read, r)
    if not ok then
      local again, why = pcall(r.read, r)
      assert(not again and why.message:find("there is no body to read", 1, true), tostring(why))
      error(got, 0)
    end
    assert(#got > 60000)
  end]] },
  { "cookie, with its lock", "socket", "function(mine) return mine.http.client.new{ cookies = true } end",
    "function(c) assert(c:get(http .. '/cookies').ok) end" },
  { "pool, with its lock", "socket", "function(mine) return mine.http.client.new{} end", "function(c) assert(c:get(http .. '/hello').ok) end" },
  { "proxy", "socket", "function(mine) return mine.http.client.new{ proxy = 'http://127.0.0.1:' .. servers.proxy.http } end",
    "function(c) assert(c:get(http .. '/hello').ok) end" },
  { "fetch_all", "socket", "nothing", [[function(_, mine)
      local all = mine.fetch_all({ http .. '/hello', http .. '/json', http .. '/hello' }, { parallel = 2 })
      local failed for _, one in ipairs(all) do if not one.status then assert(not failed) failed = one end end
      if failed then error(failed, 0) end
    end]] },
  { "fetch_all, with its lock", nil, "nothing", [[function(_, mine)
      for _, one in ipairs(mine.fetch_all({ http .. '/hello', http .. '/json', http .. '/hello' }, { parallel = 2 })) do assert(one.ok) end
    end]] },
  { "event", "socket", "function(mine) return mine.events(http .. '/events', { timeout = 2 }) end", "function(e) assert(e:next().data == 'one') end" },
  { "websocket", "socket", "function(mine) return mine.websocket('ws://127.0.0.1:' .. servers.websocket.ws .. '/echo', { timeout = 3 }) end",
    "function(w) w:send('x') assert(w:recv() == 'x') end" },
  -- guards
  { "decision", "socket", [[function(mine) return mine.http.guard{ allow_private = true,
      rules = { host = '127.0.0.1', https_only = false, ports = servers.http } } end]], "function(g) assert(g.fetch(http .. '/hello').ok) end" },
  { "exchange", "socket", [[function(mine) return mine.http.guard{ allow_private = true,
      rules = { host = '127.0.0.1', https_only = false, ports = servers.http } } end]], "function(g) assert(g.fetch(http .. '/hello').ok) end" },
  -- destructors
  { "drop of TLS", nil, "function(mine) return mine.ssl('localhost', servers.https, { verify = false }) end", "function(s) s:close() end" },
  { "drop of TLS", nil, "function(mine) return { mine.ssl('localhost', servers.https, { verify = false }) } end", "nothing" },
  { "drop of TLS", nil, "function(mine) return mine.fetch(https .. '/files/64k', { stream = true, verify = false }) end", "nothing" },
  { "drop of a WebSocket", nil, "function(mine) return { mine.websocket('ws://127.0.0.1:' .. servers.websocket.ws .. '/echo') } end", "nothing" },
  { "drop of a listener", nil, "function(mine) collectgarbage() collectgarbage() os.remove(socket) return { mine.unix_listen(socket) } end",
    "nothing" },
}

-- The drop-in says nil and why, as the original does.
local DROPIN = [[
local package = { loaded = {}, preload = {} }
local import = require("caspian.net.compat").install(net, package)
local socket, mime = import("socket"), import("mime.core")
local server = assert(socket.bind("127.0.0.1", 0))
local function connected()
  local client = assert(socket.connect("127.0.0.1", (select(2, server:getsockname()))))
  local other = assert(server:accept())
  client:settimeout(2) other:settimeout(2)
  return client, other
end
local words = "internal error: a panic was caught"
for _, point in ipairs{ "write", "read" } do
  local client, other = connected()
  arm(point)
  local sent, why = client:send("x\n")
  local got, other_why = other:receive()
  assert((why or other_why) == words and not (sent and got), tostring(why) .. tostring(other_why))
  assert(arm() == nil)
  client:send("y\n")
  assert(other:receive():find("[xy]"))
  client:close() other:close()
end
arm("mime")
local ok, why = pcall(mime.b64, "abc")
assert(not ok and why:find(words, 1, true) and mime.b64("abc") == "YWJj", tostring(why))
local ssl = import("ssl")
local raw = assert(socket.connect("127.0.0.1", servers.https))
local conn = assert(ssl.wrap(raw, { mode = "client", protocol = "any", verify = "none" }))
arm("handshake")
ok, why = conn:dohandshake()
assert(not ok and type(why) == "string", tostring(why))
conn = nil raw = nil arm("drop of TLS") collectgarbage() collectgarbage()
print("held")]]

-- In a server a panic is the end of one connection, or of one call, and of nothing else. Each: the point, options of the server, what a
-- client sends, what is done with the request, and where the panic comes out: "connection" (on_refused hears of it, the call that waited
-- goes on), or the call that raises it; and what the next client sends, where that is something else.
local GET, POST = "GET / HTTP/1.1\\r\\nHost: a\\r\\n", "POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 5\\r\\n\\r\\nabcde"
local UPGRADE = "Connection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n\\r\\n"
-- The preface of HTTP/2, an empty SETTINGS, and a GET: the table of HPACK has it but for the host.
local GET2 = "PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n\\0\\0\\0\\4\\0\\0\\0\\0\\0\\0\\0\\6\\1\\5\\0\\0\\0\\1\\130\\134\\132\\65\\1a"
local SERVER_ROWS = {
  { "server accept", "", GET .. "\\r\\n", "r:respond(200, nil, 'x')", "connection" },
  { "server read", "", GET .. "\\r\\n", "r:respond(200, nil, 'x')", "connection" },
  { "server request", "", GET .. "\\r\\n", "r:respond(200, nil, 'x')", "connection" },
  { "server refusal", "", "nonsense\\r\\n\\r\\n", nil, "connection" },
  { "server spill", "spill = servers.dir, max_memory_bytes = 1,", POST, "r:respond(200, nil, r:read())", "connection" },
  { "server answer", "", GET .. "\\r\\n", "r:respond(200, nil, 'x')", "call" },
  { "server answer", "", GET .. "\\r\\n", "r:events()", "call" },
  { "server piece", "", GET .. "\\r\\n", "r:events():send{ data = 'x' }", "call" },
  -- A stream is not lost with the call: it can be answered in another way.
  { "server answer", "", GET2, "local ok, err = pcall(r.respond, r, 200, nil, 'x') if not ok then r:respond(500) error(err) end", "call",
    GET .. "\\r\\n" },
  { "server piece", "", GET2, "r:events():send{ data = 'x' }", "call", GET .. "\\r\\n" },
  { "server switch", "", GET .. UPGRADE, "r:websocket():close{ timeout = 0 }", "call" },
  { "server timers", "head_timeout = 0.05, on_error = print,", GET .. "\\r\\n", "r:respond(200, nil, 'x')", "call" },
  { "handshake", "tls = { cert = servers.dir .. '/server.pem', key = servers.dir .. '/server.key' },", GET .. "\\r\\n", nil, "connection" },
}

local SERVER = [[
local refused, failed = {}, {}
local before = sockets()
local server = net.http.server("127.0.0.1", 0, { timeout = 0, %s on_refused = function(info) refused[#refused + 1] = info.reason end })
-- Turns the server until `done()`: what it hands out is dealt with, what a call raises is gathered.
local function turn(done)
  local patience = os.time() + 10
  while not done() do
    assert(os.time() < patience, "too late")
    local ok, err = pcall(function()
      local r = server:accept{ timeout = 0.02 }
      %s
    end)
    if not ok and not err:is("network/timeout") then failed[#failed + 1] = err end
  end
end
local function gone(client)
  return function()
    local ok, got = pcall(client.recv, client, 1000, { timeout = 0 })
    return ok and got == nil or not ok and got:is("network/connection_reset")
  end
end
local one = net.tcp("127.0.0.1", server.local_port, { timeout = 0 })
local point, kind = %q, %q
arm(point)
one:send_all("%s")
local over = gone(one)
turn(function() return over() or kind == "call" and failed[1] end)
assert(arm() == nil, "the point was not passed")
if kind == "call" then
  assert(#failed == 1 and failed[1]:is("network/socket") and failed[1].message:find("internal error: a panic at src/"), tostring(failed[1]))
else
  assert(#failed == 0, tostring(failed[1]))
  assert(point == "handshake" or refused[#refused]:find("^internal error: a panic at src/"), tostring(refused[#refused]))
end
one:close()
-- Nothing of it is counted any more, and the next one is served.
turn(function() return server.connections == 0 end)
local other = net.tcp("127.0.0.1", server.local_port, { timeout = 0 })
other:send_all("%s")
local answer = ""
turn(function()
  local ok, got = pcall(other.recv, other, 1000)
  if ok and got == nil then return true end
  if ok then answer = answer .. got end
  return answer:find("\r\n\r\n", 1, true)
end)
assert(point == "handshake" or answer:find("^HTTP/1.1 %%d"), answer)
other:close()
server:stop()
assert(server:accept{ timeout = 5 } == nil)
server:close()
local patience = os.time() + 3
while sockets() > before do assert(os.time() < patience, "a socket is left open") collectgarbage() end
print("held")]]

describe("a panic", function()
  local count = {}
  for _, row in ipairs(ROWS) do
    count[row[1]] = (count[row[1]] or 0) + 1
    it(("at %s (%d)"):format(row[1], count[row[1]]), function()
      local class = row[2] and ("%q"):format(row[2]) or "nil"
      assert.equal("held", child.run(PRELUDE .. ("try(%q, %s, %s, %s)"):format(row[1], class, row[3], row[4])))
    end)
  end

  for _, row in ipairs(SERVER_ROWS) do
    count[row[1]] = (count[row[1]] or 0) + 1
    it(("in a server, at %s (%d)"):format(row[1], count[row[1]]), function()
      local act = row[4] and "if r then " .. row[4] .. " end" or ""
      assert.equal("held", child.run(PRELUDE .. SERVER:format(row[2], act, row[1], row[5], row[3], row[6] or row[3])))
    end)
  end

  it("in the drop-in", function()
    assert.equal("held", child.run(PRELUDE .. DROPIN))
  end)

  it("in a handshake behind a listener is the end of that one only", function()
    assert.equal("held", child.run(PRELUDE .. [[
      local l = net.tcp_listen("127.0.0.1", 0, { tls = { cert = servers.dir .. "/server.pem", key = servers.dir .. "/server.key" } })
      local all = {}
      for i = 1, 4 do all[i] = net.tcp("127.0.0.1", l.local_port, { timeout = 0 }) end
      local function turn()
        local _, err = pcall(l.accept, l, { timeout = 0 })
        assert(err:is("network/timeout"), tostring(err))
      end
      for _ = 1, 4 do turn() end
      arm("handshake")
      all[2]:send_all("\22\3\1")
      while arm("handshake") do turn() end
      arm()
      turn()
      for i, one in ipairs(all) do
        local _, err = pcall(one.recv, one, 1, { timeout = i == 2 and 5 or 0 })
        assert((type(err) == "table" and err:is("network/timeout")) == (i ~= 2), i .. tostring(err))
      end
      -- And the others go on.
      all[3]:send_all("no handshake\n")
      repeat turn() local ok, got = pcall(all[3].recv, all[3], 100) until ok or not got:is("network/timeout")
      print("held")]]))
  end)

  it("has been tried at twenty points and more", function()
    local points = 0
    for _ in pairs(count) do points = points + 1 end
    assert(points >= 20, points)
  end)
end)
