--- WebSockets (RFC 6455): `net.websocket` and its class.
local args = require("caspian.net.args")
local requests = require("caspian.net.requests")
local mine = require("caspian.net.sockets").mine
local error, next, setfenv, type = error, next, setfenv, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, options, own, show = args.answer, args.bad, args.options, args.own, args.show

local OPTIONS = {
  headers = "table",
  subprotocols = "strings",
  timeout = "seconds",            -- 30; of the connection with its handshake, and of each later call
  max_message_bytes = "bytes",    -- 16 MiB
  max_frame_bytes = "bytes",      -- max_message_bytes
  compress = "any",               -- false; true, or COMPRESS: permessage-deflate is offered
  resolve = "table",              -- { ["host:port"] = ip }
  unix = "string",                -- path of a socket
  proxy = "any",                  -- as for requests
  verify = "boolean", ca_bundle = "string", client_cert = "string", client_key = "string", client_key_password = "string",
  pins = "strings",
  sni = "string", protocols = "strings",
}

--- What `compress` may say, in the words of RFC 7692.
local COMPRESS = {
  server_no_context_takeover = "boolean", client_no_context_takeover = "boolean", -- false
  server_max_window_bits = "whole", client_max_window_bits = "whole",             -- 15
  threshold = "bytes",            -- 128; shorter messages go as they are
}

args.declare{ Websocket_options = OPTIONS, Compress = COMPRESS }

--- The option `compress` for the core: a table, or nil.
local function compress_of(value, name, at)
  if value == nil or value == false then return nil end
  if value == true then return {} end
  if type(value) ~= "table" then bad(at, name, "compress must be true, false or a table, got " .. show(value)) end
  local given = options(at, name, value, COMPRESS, "compress")
  for _, which in next, { "server_max_window_bits", "client_max_window_bits" } do
    local bits = given[which]
    if bits and (bits < 9 or bits > 15) then bad(at, name, "compress: " .. which .. " must be 9..15, got " .. show(bits)) end
  end
  return given
end

--- Adds the methods of the class.
local function define(core, methods)
  --- Sends a message. `kind` is "text" (UTF-8; the default) or "binary": `ws:send(ws:recv())` is an echo.
  -- After a timeout with `err.sent > 0` the rest goes first with the next call; with 0 nothing of it was sent.
  function methods.send(self, data, kind, opts)
    mine(self, "send", "websocket")
    local at = 3
    if type(kind) == "table" and opts == nil then kind, opts, at = nil, kind, 2 end
    args.bytes(1, "send", "data", data)
    if kind ~= nil and kind ~= "text" and kind ~= "binary" then
      bad(2, "send", "kind must be \"text\" or \"binary\", got " .. show(kind))
    end
    opts = options(at, "send", opts, args.TIMEOUT)
    answer("send", core.websocket_send(self, data, kind or "text", opts.timeout))
  end

  --- The next message and its kind, "text" or "binary"; nil, the close code and the reason once the peer has closed.
  local function recv(self, opts)
    opts = options(1, "recv", opts, args.TIMEOUT)
    local data, kind, reason = core.websocket_recv(self, opts.timeout)
    if data == false then return nil, kind, reason end
    if data == nil then
      if type(kind) == "string" then bad(0, "recv", kind) end
      error(kind, 0)
    end
    return data, kind
  end

  function methods.recv(self, opts)
    mine(self, "recv", "websocket")
    local data, kind, reason = recv(self, opts)
    if data == nil then return nil, kind, reason end
    return data, kind
  end

  --- An iterator over the messages that follow, each with its kind; it ends when the peer closes.
  function methods.messages(self, opts)
    mine(self, "messages", "websocket")
    answer("messages", core.get(self, "host")) -- a wrong self is told here, not at the first message
    return function()
      local data, kind = recv(self, opts)
      return data, data and kind
    end
  end

  --- Sends a ping with at most 125 bytes. The peer's answer is taken in by the next `recv`.
  function methods.ping(self, data, opts)
    mine(self, "ping", "websocket")
    if data == nil then data = "" end
    args.string(1, "ping", "data", data)
    opts = options(2, "ping", opts, args.TIMEOUT)
    answer("ping", core.websocket_ping(self, data, opts.timeout))
  end

  --- Says goodbye, waits for the peer's (at most 5 s unless `opts.timeout` says more) and closes, whatever came of it;
  -- messages that come meanwhile are dropped. `code`: 1000. `reason`: at most 123 bytes.
  -- @return true if the peer said goodbye too
  function methods.close(self, code, reason, opts)
    mine(self, "close", "websocket")
    local at = 3
    if type(code) == "table" and reason == nil then code, opts, at = nil, code, 1 end
    if code == nil then code = 1000 end
    if type(code) ~= "number" then bad(1, "close", "code must be a number, got " .. show(code)) end
    if reason == nil then reason = "" end
    args.string(2, "close", "reason", reason)
    opts = options(at, "close", opts, args.TIMEOUT)
    return (answer("close", core.websocket_close(self, code, reason, opts.timeout)))
  end
end

local defined = false

--- Adds the function to a `%net` around `cap`.
-- @param methods those of the class, as `sockets.define` returned them
local function extend(core, cap, methods, net, functions)
  if not defined then
    define(core, methods)
    defined = true
  end

  --- Opens a WebSocket. opts: see OPTIONS above.
  function functions.websocket(...)
    local url, opts = own(net, ...)
    args.string(1, "websocket", "url", url)
    opts = options(2, "websocket", opts, OPTIONS)
    opts.compress = compress_of(opts.compress, "websocket", 2)
    if opts.proxy ~= nil then opts.proxy = requests.proxy_of(opts.proxy, "websocket", 2) end
    local headers = requests.headers_of(opts.headers or {}, "websocket", 2)
    -- The handshake is one of HTTP/1.1, and a server that offers more must be told so.
    opts.headers, opts.alpn = nil, { "http/1.1" }
    return answer("websocket", core.websocket(cap, url, headers, opts))
  end
end

return { extend = extend, compress_of = compress_of }
