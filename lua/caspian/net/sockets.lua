--- The socket classes for scripts. Their methods are in `methods`, except those of the core: `send`, `send_all`, `recv`,
-- `recv_line` and `recv_exact` of streams.
local args = require("caspian.net.args")
local raisers = require("caspian.net.errors").raisers
local next, setfenv, type = next, setfenv, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad = args.answer, args.bad

--- Options of a TLS client (contract, section 4).
local CLIENT_TLS = {
  verify = "boolean", ca_bundle = "string", client_cert = "string", client_key = "string",
  client_key_password = "string", sni = "string", protocols = "strings", alpn = "strings", pins = "strings",
}

--- Options of a TLS server.
local SERVER_TLS = {
  cert = "string", key = "string", key_password = "string", client_ca = "string", alpn = "strings", protocols = "strings",
}

local function merged(...)
  local all = {}
  for _, set in next, { ... } do
    for key, value in next, set do all[key] = value end
  end
  return all
end

args.declare{ Client_tls = CLIENT_TLS, Server_tls = SERVER_TLS }

--- Raises where a method was called with a dot. What userdata it is, the core knows.
local function mine(self, name, label)
  if type(self) ~= "userdata" then args.raise(name .. ": call it with a colon, on a " .. label) end
end

--- Defines the classes in the core: once per Lua state, before the first socket, since then the core takes no class any more.
-- Returns the tables of their methods, which `methods` and `websocket` fill once somebody opens one.
local function define(core)
  local function close(self)
    mine(self, "close", "socket")
    answer("close", core.close(self))
  end

  --- A class: its methods, and how a value of it prints.
  local function class(word, methods, label)
    methods.close = methods.close or close
    local metatable = {
      __name = "caspian.net." .. word,
      __index = function(self, name)
        local value, err, index = core.get(self, name)
        if err ~= nil then answer("socket", value, err, index) end
        return value
      end,
      __newindex = function(self, name, value)
        if type(name) ~= "string" then bad(0, "socket", "a field's name must be a string") end
        answer("socket", core.set(self, name, value))
      end,
      __tostring = function(self)
        return core.describe(self, label)
      end,
      __close = close,
    }
    answer(word, core.class(word, methods, metatable))
  end

  local classes = { tcp = {}, ssl = {}, udp = {}, tcp_listener = {}, websocket = {}, server = {} }
  class("tcp", classes.tcp, "tcp socket")
  class("ssl", classes.ssl, "ssl socket")
  -- The core has given both the same functions, which raise by themselves.
  for _, name in next, { "send", "send_all", "recv", "recv_line", "recv_exact" } do raisers[classes.tcp[name]] = true end
  class("udp", classes.udp, "udp socket")
  class("tcp_listener", classes.tcp_listener, "tcp listener")
  class("websocket", classes.websocket, "websocket")
  class("server", classes.server, "http server")
  return classes
end

return { define = define, mine = mine, client_tls = CLIENT_TLS, server_tls = SERVER_TLS, merged = merged }
