--- Functions that open sockets over a capability, and wait for them: `tcp`, `ssl`, `udp`, listeners, `poll`, and their classes.
local args = require("caspian.net.args")
local methods = require("caspian.net.methods")
local objects = require("caspian.net.objects")
local sockets = require("caspian.net.sockets")
local next, rawget, setfenv, type = next, rawget, setfenv, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local pending, polled = objects.pending, objects.polled
local answer, bad, options, own, merged = args.answer, args.bad, args.options, args.own, sockets.merged

local LOCAL = { timeout = "seconds", local_host = "string", local_port = "port" }
local STREAM = merged(LOCAL, { nodelay = "boolean", keepalive = "boolean" })
local SSL = merged(STREAM, sockets.client_tls)
local LISTEN = { timeout = "seconds", backlog = "count", tls = "table", handshake_timeout = "seconds" }
local UDP = merged(LOCAL, { broadcast = "boolean", reuse = "boolean", family = "string" })
local ENDPOINT = { host = "string", port = "port" } -- of `new` of a class, beside the options of the function
local UDP_LISTEN = { timeout = "seconds", broadcast = "boolean", reuse = "boolean" }
args.declare{
  Tcp_options = STREAM, Ssl_options = SSL, Listen_options = LISTEN, Udp_options = UDP, Udp_listen_options = UDP_LISTEN,
  Endpoint = ENDPOINT,
}

--- The places of objects in a list that are readable as they are; nil where there are none.
local function said(list)
  local ready
  for at = 1, args.length(list) do
    local value = rawget(list, at)
    local has = type(value) == "table" and pending[value]
    if has and has() then
      ready = ready or {}
      ready[at] = true
    end
  end
  return ready
end

--- Adds the functions to a `%net` around `cap`, and to `classes`, by name, what makes `new` for a class.
-- @param tables of the socket classes, as `sockets.define` returned them
local function extend(core, cap, tables, net, functions, classes)
  methods.define(core, tables)

  --- Opens a TCP connection.
  -- opts: timeout (30 s, of the connection and of each later call), nodelay (true), keepalive (false),
  -- local_host, local_port (bound like a listener: needs --allow-listen)
  function functions.tcp(...)
    local host, port, opts = own(net, ...)
    args.string(1, "tcp", "host", host)
    args.port(2, "tcp", port, nil, host)
    opts = options(3, "tcp", opts, STREAM)
    return answer("tcp", core.tcp(cap, host, port, opts))
  end

  --- Opens a TLS connection and verifies the peer. opts: those of `tcp`, and verify (true), ca_bundle, client_cert,
  -- client_key (PEM text or a path), client_key_password, sni (host), protocols ({"TLSv1.2", "TLSv1.3"}), alpn, pins.
  function functions.ssl(...)
    local host, port, opts = own(net, ...)
    args.string(1, "ssl", "host", host)
    args.port(2, "ssl", port, nil, host)
    opts = options(3, "ssl", opts, SSL)
    return answer("ssl", core.ssl(cap, host, port, opts))
  end
  functions.tls = functions.ssl

  --- Opens a datagram socket, with a default peer if host and port are given.
  -- opts: timeout, broadcast (false), family ("inet" or "inet6"), reuse (false), local_host, local_port
  function functions.udp(...)
    local host, port, opts = own(net, ...)
    local at = 3
    if type(host) == "table" and port == nil and opts == nil then host, opts, at = nil, host, 1 end
    if host ~= nil then
      args.string(1, "udp", "host", host)
      args.port(2, "udp", port, nil, host)
    elseif port ~= nil then
      bad(1, "udp", "a default peer needs a host and a port")
    end
    opts = options(at, "udp", opts, UDP)
    local socket, err, index = core.udp(cap, host, port, opts)
    return (answer("udp", socket, err, index == 3 and at or index))
  end

  --- Listens on an interface ("127.0.0.1", "::1", "localhost", "*": every IPv4 one) and a port (0: any free one).
  -- opts: timeout, backlog (1024), tls = { cert =, key =, key_password =, client_ca =, alpn =, protocols = }, and with it handshake_timeout (10 s)
  function functions.tcp_listen(...)
    local host, port, opts = own(net, ...)
    args.string(1, "tcp_listen", "host", host)
    args.port(2, "tcp_listen", port, 0, host)
    opts = options(3, "tcp_listen", opts, LISTEN)
    if opts.tls then opts.tls = options(3, "tcp_listen", opts.tls, sockets.server_tls, "tls") end
    return answer("tcp_listen", core.tcp_listen(cap, host, port, opts))
  end
  functions.listen = functions.tcp_listen

  --- Receives datagrams on an interface and a port. opts: timeout, broadcast, reuse (false)
  function functions.udp_listen(...)
    local host, port, opts = own(net, ...)
    args.string(1, "udp_listen", "host", host)
    args.port(2, "udp_listen", port, 0, host)
    opts = options(3, "udp_listen", opts, UDP_LISTEN)
    return answer("udp_listen", core.udp_listen(cap, host, port, opts))
  end

  --- Connects to a Unix socket; a tcp socket in all but its address.
  function functions.unix(...)
    local path, opts = own(net, ...)
    args.path(1, "unix", path)
    opts = options(2, "unix", opts, args.TIMEOUT)
    return answer("unix", core.unix(cap, path, opts))
  end

  --- Listens on a Unix socket, whose file goes with the listener.
  function functions.unix_listen(...)
    local path, opts = own(net, ...)
    args.path(1, "unix_listen", path)
    opts = options(2, "unix_listen", opts, LISTEN)
    if opts.tls then opts.tls = options(2, "unix_listen", opts.tls, sockets.server_tls, "tls") end
    return answer("unix_listen", core.unix_listen(cap, path, opts))
  end

  --- Waits until one of the sockets can be read: those readable, those writable, as two arrays (empty ones when the
  -- timeout passes). `{ read = {…}, write = {…} }` names what is waited for. timeout: seconds, defaults to 30.
  -- A server is readable when it has a request, `net.events` when it has an event (or a lost connection is to be made again, by
  -- `next`), a streamed response when it has a piece for `chunks`. An event stream of a server's is writable while there is room
  -- for more, and readable once its client is gone.
  function functions.poll(...)
    local list, timeout = own(net, ...)
    if type(list) ~= "table" then bad(1, "poll", "sockets must be a table, got " .. args.show(list)) end
    timeout = args.seconds(2, "poll", "timeout", timeout, 30)
    local read, write, wake = list, list, false
    -- An array has its sockets first: only what has none, or has the two keys, is looked through.
    if rawget(list, 1) == nil or rawget(list, "read") ~= nil or rawget(list, "write") ~= nil then
      for key in next, list do
        if key ~= "read" and key ~= "write" then
          bad(1, "poll", "an array of sockets or read and write expected, got the key " .. args.show(key))
        end
        wake = true
      end
      if wake then read, write = rawget(list, "read") or {}, rawget(list, "write") or {} end
    end
    if type(read) ~= "table" or type(write) ~= "table" then bad(1, "poll", "read and write must be tables") end
    local ready = said(read)
    local readable, writable, index = core.poll(read, write, ready and 0 or timeout, wake, polled)
    if readable == nil then answer("poll", readable, writable, index) end
    if ready then
      for at = 1, #readable do ready[readable[at]] = nil end
      for at in next, ready do readable[#readable + 1] = at end
    end
    for i = 1, #readable do readable[i] = rawget(read, readable[i]) end
    for i = 1, #writable do writable[i] = rawget(write, writable[i]) end
    return readable, writable
  end

  --- A class whose `new` takes the function's host and port among its options.
  local function by_name(name, allowed)
    return function(class)
      local known = merged(allowed, ENDPOINT)
      return function(...)
        local given = own(class, ...)
        if type(given) ~= "table" then bad(1, "new", "a table of options expected, got " .. args.show(given)) end
        local opts = options(1, "new", given, known)
        local host, port = opts.host, opts.port
        if name ~= "udp" and not (host and port) then bad(1, "new", (host and "port" or "host") .. " is missing") end
        opts.host, opts.port = nil, nil
        return functions[name](host, port, opts)
      end
    end
  end

  classes["puck.uno/socket/tcp"] = by_name("tcp", STREAM)
  classes["puck.uno/socket/udp"] = by_name("udp", UDP)
  classes["puck.uno/socket/ssl"] = by_name("ssl", SSL)
  classes["puck.uno/socket/tcp_listener"] = by_name("tcp_listen", LISTEN)
end

return { extend = extend }
