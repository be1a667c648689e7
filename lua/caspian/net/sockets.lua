--- The socket classes: what the core's sockets look like to a script.
-- `send`, `send_all`, `recv`, `recv_line` and `recv_exact` are the core's own; the rest is here.
local args = require("caspian.net.args")
local raisers = require("caspian.net.errors").raisers
local error, next, setfenv, tostring, type = error, next, setfenv, tostring, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, options = args.answer, args.bad, args.options

local TIMEOUT = { timeout = "seconds" }

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

local STARTTLS = merged(TIMEOUT, CLIENT_TLS, SERVER_TLS, { server = "boolean", handshake_timeout = "seconds" })

--- Raises where a method was called with a dot. What userdata it is, the core knows.
local function mine(self, name, label)
  if type(self) ~= "userdata" then error(name .. ": call it with a colon, on a " .. label, 3) end
end

--- Defines the classes in the core. Once per Lua state, before the first socket. Returns the methods of WebSockets, which
-- `websocket` adds once somebody opens one: then the core takes no class any more.
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
        return (core.get(self, name))
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

  local stream = {}

  --- Ends one direction: "send", "recv" or "both".
  function stream.shutdown(self, how)
    mine(self, "shutdown", "tcp, ssl or unix socket")
    args.string(1, "shutdown", "how", how)
    answer("shutdown", core.shutdown(self, how))
  end

  --- An iterator over the lines that follow, each with its newline.
  function stream.lines(self, opts)
    mine(self, "lines", "tcp, ssl or unix socket")
    answer("lines", core.get(self, "host")) -- another userdata is told here, not at the first line
    return function()
      return self:recv_line(opts)
    end
  end

  local tcp = merged(stream)

  --- Speaks TLS from here on and returns the ssl socket; this one is spent.
  -- opts: as for `net.ssl`, or `{ server = true, cert =, key =, key_password =, client_ca =, alpn =, protocols = }`; `handshake_timeout`
  -- (a server's is 10 s) besides `timeout`: whichever ends first.
  function tcp.starttls(self, opts)
    mine(self, "starttls", "tcp socket")
    opts = options(1, "starttls", opts, STARTTLS)
    local socket = answer("starttls", core.starttls(self, opts))
    return socket
  end

  local ssl = merged(stream)

  --- The peer's certificate, or nil: { subject, issuer, fingerprint, valid_from, valid_until, sans, serial, pem }.
  function ssl.peer_cert(self)
    mine(self, "peer_cert", "ssl socket")
    return (answer("peer_cert", core.tls_info(self, "peer_cert")))
  end
  --- The cipher suite's name (IANA).
  function ssl.cipher(self)
    mine(self, "cipher", "ssl socket")
    return (answer("cipher", core.tls_info(self, "cipher")))
  end
  --- "TLSv1.2" or "TLSv1.3".
  function ssl.protocol(self)
    mine(self, "protocol", "ssl socket")
    return (answer("protocol", core.tls_info(self, "protocol")))
  end
  --- The protocol that ALPN agreed on (RFC 7301), or nil.
  function ssl.alpn(self)
    mine(self, "alpn", "ssl socket")
    return (answer("alpn", core.tls_info(self, "alpn")))
  end

  local listener = {}

  --- The next connection: a tcp socket, or an ssl socket where the listener has `tls`. Handshakes go on side by side meanwhile;
  -- one that fails, or takes longer than `handshake_timeout`, is a line of --net-log and nothing else.
  function listener.accept(self, opts)
    mine(self, "accept", "listener")
    opts = options(1, "accept", opts, TIMEOUT)
    local socket = answer("accept", core.accept(self, opts.timeout))
    return socket
  end

  local udp = {}

  --- Sends a datagram to the default peer; the number of bytes.
  function udp.send(self, bytes, opts)
    mine(self, "send", "udp socket")
    args.bytes(1, "send", "bytes", bytes)
    opts = options(2, "send", opts, TIMEOUT)
    return (answer("send", core.udp_send(self, bytes, opts.timeout)))
  end

  --- Sends a datagram; the gate is asked each time.
  function udp.send_to(self, bytes, host, port, opts)
    mine(self, "send_to", "udp socket")
    args.bytes(1, "send_to", "bytes", bytes)
    args.string(2, "send_to", "host", host)
    args.port(3, "send_to", port)
    opts = options(4, "send_to", opts, TIMEOUT)
    return (answer("send_to", core.udp_send_to(self, bytes, host, port, opts.timeout)))
  end

  --- The next datagram, cut at `max` bytes. Defaults to the largest that there is.
  function udp.recv(self, max, opts)
    mine(self, "recv", "udp socket")
    max = args.count(1, "recv", "max", max, 1, 65535)
    opts = options(2, "recv", opts, TIMEOUT)
    return (answer("recv", core.udp_recv_from(self, max, opts.timeout)))
  end

  --- The next datagram, and who sent it: bytes, host, port.
  function udp.recv_from(self, max, opts)
    mine(self, "recv_from", "udp socket")
    max = args.count(1, "recv_from", "max", max, 1, 65535)
    opts = options(2, "recv_from", opts, TIMEOUT)
    local bytes, host, port = core.udp_recv_from(self, max, opts.timeout)
    if bytes == nil then answer("recv_from", bytes, host, port) end
    return bytes, host, port
  end

  --- An interface as text: a name, an IPv4 address, or an index, which may be a number.
  local function interface_of(name, value)
    if value == nil or type(value) == "string" then return value end
    if type(value) ~= "number" then bad(2, name, "interface must be a name, an index or an address, got " .. args.show(value), 1) end
    return tostring(value)
  end

  --- Joins a multicast group, on an interface by name, index or IPv4 address; `ff02::fb%eth0` names it, too.
  function udp.join(self, group, interface)
    mine(self, "join", "udp socket")
    args.string(1, "join", "group", group)
    answer("join", core.udp_membership(self, true, group, interface_of("join", interface)))
  end

  --- Leaves a multicast group.
  function udp.leave(self, group, interface)
    mine(self, "leave", "udp socket")
    args.string(1, "leave", "group", group)
    answer("leave", core.udp_membership(self, false, group, interface_of("leave", interface)))
  end

  class("tcp", tcp, "tcp socket")
  class("ssl", ssl, "ssl socket")
  -- The core has given both the same functions, which raise by themselves.
  for _, name in next, { "send", "send_all", "recv", "recv_line", "recv_exact" } do raisers[tcp[name]] = true end
  class("udp", udp, "udp socket")
  class("tcp_listener", listener, "tcp listener")
  local websocket = {}
  class("websocket", websocket, "websocket")
  return websocket
end

return { define = define, mine = mine, client_tls = CLIENT_TLS, server_tls = SERVER_TLS, merged = merged }
