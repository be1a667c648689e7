--- The other end: a scripted peer in a process of its own, speaking through LuaSocket, so that both ends of a wire are
--- by different authors. Everything here blocks, so a peer cannot live in the process that the spec runs in.
---
---   local p = peer.tcp[[ local c = accept() c:send("hello\n") report(c:receive("*a")) ]]
---   local s = net.tcp("127.0.0.1", p.port)
---   …
---   assert.same({ "bye" }, p:finish())
---
--- In a script: `socket` (LuaSocket), `accept()` for tcp and unix, `server` (or `udp`), `head(c)` for the lines of an HTTP head,
--- `upgrade(c)` for a WebSocket's handshake, `report(…)` to hand values back, and `vanish()`, which ends the process without a goodbye on any
--- layer. Every wait ends after ten seconds.

local process = require("spec.support.process")
local subject = require("spec.support.subject")
local servers = require("spec.support.servers")

local peer = {}
peer.__index = peer

local prelude = [[
local socket = require("socket")
local report, reported = nil, {}
function report(...)
  for i = 1, select("#", ...) do reported[#reported + 1] = (string.format("%q", tostring((select(i, ...)))):gsub("\\\n", "\\n")) end
end
local function ready(port) io.write("ready ", port, "\n") io.flush() end
local function vanish() io.write("return {", table.concat(reported, ","), "}\n") io.flush() os.exit(0, false) end
local function accept()
  local c = assert(server:accept())
  c:settimeout(10)
  return c
end
local function head(c)
  local lines = {}
  repeat
    local line = c:receive("*l")
    lines[#lines + 1] = line
  until not line or line == ""
  return lines
end
-- The server's side of a WebSocket's handshake; `more`: further lines of its answer, each with its CRLF.
local function upgrade(c, more)
  local key
  for _, line in ipairs(head(c)) do key = line:match("^Sec%-WebSocket%-Key: (.*)$") or key end
  -- The answer to the key, by OpenSSL.
  local pipe = io.popen("printf %s '" .. key .. "258EAFA5-E914-47DA-95CA-C5AB0DC85B11' | openssl dgst -sha1 -binary | openssl base64")
  local accept = pipe:read("*l")
  pipe:close()
  c:send("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: " .. accept .. "\r\n" .. (more or "") .. "\r\n")
end
]]

local function start(opening, script, closing)
  local source = "local server, udp\n" .. prelude .. opening .. "\n" .. script .. "\n" .. (closing or "") .. "vanish()\n"
  local path = process.file(source)
  local running = process.start(subject.lua .. " " .. process.quote(path) .. " 2>&1", { path })
  local port = running:expect("^ready (.*)$")
  return setmetatable({ process = running, port = tonumber(port) or port }, peer)
end

--- A TCP server on a port of its choice; `host` defaults to 127.0.0.1. At the address `refusing`, if one is given, the port
--- is held by a socket that does not listen: nobody else answers there meanwhile.
function peer.tcp(script, host, refusing)
  return start(([[
local held, refusing
repeat
  held, refusing = nil, %q
  server = assert(socket.bind(%q, 0, 64))
  if refusing ~= "" then held = socket.tcp4() end
until not held or held:bind(refusing, (select(2, server:getsockname())))
server:settimeout(10)
ready((select(2, server:getsockname())))]]):format(refusing or "", host or "127.0.0.1"), script, "server:close()\n")
end

--- A UDP socket on a port of its choice.
function peer.udp(script)
  return start([[
udp = assert(socket.udp4())
assert(udp:setsockname("127.0.0.1", 0))
udp:settimeout(10)
ready((select(2, udp:getsockname())))]], script)
end

--- A server on a Unix socket at `path`.
function peer.unix(path, script)
  os.remove(path)
  return start(([[
server = assert(require("socket.unix")())
assert(server:bind(%q))
assert(server:listen(8))
server:settimeout(10)
ready(%q)]]):format(path, path), script)
end

--- A TLS server (LuaSec, over OpenSSL): `accept()` answers the connection after the handshake, or nil and why not.
--- `params` are LuaSec's, as the source of a table's inside: `protocol = "tlsv1_2", verify = "peer"`.
function peer.tls(script, params)
  return start(([[
local ssl = require("ssl")
server = assert(socket.bind("127.0.0.1", 0, 64))
server:settimeout(10)
local params = { mode = "server", protocol = "any", certificate = %q, key = %q, cafile = %q, options = "all" }
for name, value in pairs{ %s } do params[name] = value end
local context = assert(ssl.newcontext(params))
local plain = accept
local function accept()
  local c = assert(ssl.wrap(plain(), context))
  c:settimeout(10)
  local ok, why = c:dohandshake()
  if not ok then return nil, why end
  return c
end
ready((select(2, server:getsockname())))]]):format(servers.server.cert, servers.server.key, servers.ca, params or ""), script)
end

--- A client that connects to `port` on 127.0.0.1: `c` is its connection. For specs about listeners.
function peer.client(port, script)
  return start(([[
local c = socket.tcp4()
c:settimeout(10)
assert(c:connect("127.0.0.1", %d))
ready(0)]]):format(port), script)
end

--- Waits for the end of the script; what it reported, as strings.
function peer:finish()
  local text = self.process:rest()
  local load = loadstring or load -- luacheck: ignore
  local chunk = load(text:match("(return {[^\n]*})%s*$") or "")
  return assert(chunk and chunk(), "the peer failed: " .. text)
end

return peer
