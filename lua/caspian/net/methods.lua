--- The methods of sockets, except those of the core.
local args = require("caspian.net.args")
local sockets = require("caspian.net.sockets")
local setfenv, tostring, type = setfenv, tostring, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, mine, options, merged = args.answer, args.bad, sockets.mine, args.options, sockets.merged

local TIMEOUT = args.TIMEOUT
local LINE = { timeout = "seconds", max = "size" } -- of recv_line; src/lua/hot.rs checks them
local STARTTLS = merged(TIMEOUT, sockets.client_tls, sockets.server_tls, { server = "boolean", handshake_timeout = "seconds" })
args.declare{ Line_options = LINE, Starttls_options = STARTTLS }

local defined = false

--- Fills the tables of `sockets.define`, once.
local function define(core, classes)
  if defined then return end
  local tcp, ssl, udp, listener = classes.tcp, classes.ssl, classes.udp, classes.tcp_listener

  --- Ends one direction: "send", "recv" or "both".
  local function shutdown(self, how)
    mine(self, "shutdown", "tcp, ssl or unix socket")
    args.string(1, "shutdown", "how", how)
    answer("shutdown", core.shutdown(self, how))
  end

  --- An iterator over the lines that follow, each with its newline.
  local function lines(self, opts)
    mine(self, "lines", "tcp, ssl or unix socket")
    answer("lines", core.get(self, "host")) -- another userdata is told here, not at the first line
    return function()
      return self:recv_line(opts)
    end
  end

  --- Speaks TLS from here on and returns the ssl socket; this one is spent.
  -- opts: as for `net.ssl`, or `{ server = true, cert =, key =, key_password =, client_ca =, alpn =, protocols = }`; `handshake_timeout`
  -- (a server's is 10 s) besides `timeout`: whichever ends first.
  function tcp.starttls(self, opts)
    mine(self, "starttls", "tcp socket")
    opts = options(1, "starttls", opts, STARTTLS)
    return answer("starttls", core.starttls(self, opts))
  end

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
  --- The group of the key exchange: "X25519MLKEM768", "X25519", "secp256r1", "secp384r1"; nil where a session of TLS 1.2 was resumed.
  function ssl.group(self)
    mine(self, "group", "ssl socket")
    return (answer("group", core.tls_info(self, "group")))
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

  --- The next connection: a tcp socket, or an ssl socket where the listener has `tls`. Handshakes go on side by side meanwhile;
  -- one that fails, or takes longer than `handshake_timeout`, is a line of --net-log and nothing else.
  function listener.accept(self, opts)
    mine(self, "accept", "listener")
    opts = options(1, "accept", opts, TIMEOUT)
    return answer("accept", core.accept(self, opts.timeout))
  end

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

  --- The bytes that a datagram may have; options in their place are the commonest slip.
  local function maximum(name, max)
    if type(max) == "table" then
      bad(1, name, "max must be a whole number, got a table; options are the second argument: " .. name .. "(nil, { timeout = 1 })")
    end
    max = args.count(1, name, "max", max, 1, 65535)
    return max
  end

  --- The next datagram, cut at `max` bytes. Defaults to the largest that there is.
  function udp.recv(self, max, opts)
    mine(self, "recv", "udp socket")
    max = maximum("recv", max)
    opts = options(2, "recv", opts, TIMEOUT)
    return (answer("recv", core.udp_recv_from(self, max, opts.timeout)))
  end

  --- The next datagram, and who sent it: bytes, host, port.
  function udp.recv_from(self, max, opts)
    mine(self, "recv_from", "udp socket")
    max = maximum("recv_from", max)
    opts = options(2, "recv_from", opts, TIMEOUT)
    local bytes, host, port = core.udp_recv_from(self, max, opts.timeout)
    if bytes == nil then answer("recv_from", bytes, host, port) end
    return bytes, host, port
  end

  --- An interface as text: a name, an IPv4 address, or an index, which may be a number.
  local function interface_of(name, value)
    if value == nil or type(value) == "string" then return value end
    if type(value) ~= "number" then bad(2, name, "interface must be a name, an index or an address, got " .. args.show(value)) end
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

  tcp.shutdown, ssl.shutdown, tcp.lines, ssl.lines = shutdown, shutdown, lines, lines
  defined = true
end

return { define = define }
