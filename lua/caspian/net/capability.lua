--- `%net`: the table of functions that a script holds, made around a capability of the core's.
-- The capability itself never leaves the front: it is an upvalue, and nothing on the table leads back to it.
local args = require("caspian.net.args")
local errors = require("caspian.net.errors")
local kinds = require("caspian.net.objects").kinds
local sockets = require("caspian.net.sockets")
local lazy = require("caspian.net.lazy")
local error, next, rawequal, rawget, select, setfenv, setmetatable, type =
  error, next, rawequal, rawget, select, setfenv, setmetatable, type
local gsub = string.gsub
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, options, own, merged = args.answer, args.bad, args.options, args.own, sockets.merged

local LOCAL = { timeout = "seconds", local_host = "string", local_port = "port" }
local STREAM = merged(LOCAL, { nodelay = "boolean", keepalive = "boolean" })
local SSL = merged(STREAM, sockets.client_tls)
local LISTEN = { timeout = "seconds", backlog = "count", tls = "table", handshake_timeout = "seconds" }
local UDP = merged(LOCAL, { broadcast = "boolean", reuse = "boolean", family = "string" })
local UDP_LISTEN = { timeout = "seconds", broadcast = "boolean", reuse = "boolean" }
local SPEC = { allow_net = "any", allow_listen = "any", deny_net = "any", dns = "boolean" }

--- Most of the front: a program that uses none of it does not wait for it.
local front = lazy({
  "caspian.net.names", "caspian.net.websocket", "caspian.net.http", "caspian.net.requests", "caspian.net.responses",
  "caspian.net.identity", "caspian.net.events", "caspian.net.har", "caspian.net.guard", "caspian.net.guarded",
  "caspian.net.middleware", "caspian.net.error_methods",
  "caspian.net.hints",
}, { "caspian.net.args", "caspian.net.errors", "caspian.net.objects", "caspian.net.sockets" })

args.hints = function() return front("caspian.net.hints") end
errors.methods = function() return front("caspian.net.error_methods") end

--- What `class` answers: a table of the caller's, which knows what it is.
local CLASS = { __name = "caspian.net.class", __metatable = false }
kinds[CLASS], kinds[errors.metatable] = "class", "error"

--- The capability behind each `%net`, for the front's own files.
local behind = setmetatable({}, { __mode = "k" })

--- A `%net` around `cap`.
-- @param methods those of WebSockets, as `sockets.define` returned them
local function make(core, cap, methods)
  local net = {}   -- what the script holds: empty, so that nothing on it can be replaced
  behind[net] = cap
  local functions = {}

  --- Opens a TCP connection.
  -- opts: timeout (30 s, of the connection and of each later call), nodelay (true), keepalive (false),
  -- local_host, local_port (bound like a listener: needs --allow-listen)
  function functions.tcp(...)
    local host, port, opts = own(net, ...)
    args.string(1, "tcp", "host", host)
    args.port(2, "tcp", port)
    opts = options(3, "tcp", opts, STREAM)
    local socket = answer("tcp", core.tcp(cap, host, port, opts))
    return socket
  end

  --- Opens a TLS connection and verifies the peer. opts: those of `tcp`, and verify (true), ca_bundle, client_cert,
  -- client_key (PEM text or a path), client_key_password, sni (host), protocols ({"TLSv1.2", "TLSv1.3"}), alpn, pins.
  function functions.ssl(...)
    local host, port, opts = own(net, ...)
    args.string(1, "ssl", "host", host)
    args.port(2, "ssl", port)
    opts = options(3, "ssl", opts, SSL)
    local socket = answer("ssl", core.ssl(cap, host, port, opts))
    return socket
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
      args.port(2, "udp", port)
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
    args.port(2, "tcp_listen", port, 0)
    opts = options(3, "tcp_listen", opts, LISTEN)
    if opts.tls then opts.tls = options(3, "tcp_listen", opts.tls, sockets.server_tls, 0, "tls") end
    local socket = answer("tcp_listen", core.tcp_listen(cap, host, port, opts))
    return socket
  end
  functions.listen = functions.tcp_listen

  --- Receives datagrams on an interface and a port. opts: timeout, broadcast, reuse (false)
  function functions.udp_listen(...)
    local host, port, opts = own(net, ...)
    args.string(1, "udp_listen", "host", host)
    args.port(2, "udp_listen", port, 0)
    opts = options(3, "udp_listen", opts, UDP_LISTEN)
    local socket = answer("udp_listen", core.udp_listen(cap, host, port, opts))
    return socket
  end

  --- Connects to a Unix socket; a tcp socket in all but its address.
  function functions.unix(...)
    local path, opts = own(net, ...)
    args.path(1, "unix", path)
    opts = options(2, "unix", opts, { timeout = "seconds" })
    local socket = answer("unix", core.unix(cap, path, opts))
    return socket
  end

  --- Listens on a Unix socket, whose file goes with the listener.
  function functions.unix_listen(...)
    local path, opts = own(net, ...)
    args.path(1, "unix_listen", path)
    opts = options(2, "unix_listen", opts, LISTEN)
    if opts.tls then opts.tls = options(2, "unix_listen", opts.tls, sockets.server_tls, 0, "tls") end
    local socket = answer("unix_listen", core.unix_listen(cap, path, opts))
    return socket
  end

  --- Waits until one of the sockets can be read: those readable, those writable, as two arrays (empty ones when the
  -- timeout passes). `{ read = {…}, write = {…} }` names what is waited for. timeout: seconds, defaults to 30.
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
    local readable, writable, index = core.poll(read, write, timeout, wake)
    if readable == nil then answer("poll", readable, writable, index) end
    for i = 1, #readable do readable[i] = rawget(read, readable[i]) end
    for i = 1, #writable do writable[i] = rawget(write, writable[i]) end
    return readable, writable
  end

  --- A `%net` that has what this one has and `spec` allows too. spec: an array of flags and of plain hosts (`--allow-net` of
  -- those), or a table as for `launch`.
  -- What it opens ends with this one (`revoke`); it reads no files.
  function functions.narrow(...)
    local spec = own(net, ...)
    if type(spec) ~= "table" then bad(1, "narrow", "spec must be a table, got " .. args.show(spec)) end
    local copy = {}
    if rawget(spec, 1) == nil then
      copy = options(1, "narrow", spec, SPEC)
    else
      for key, value in next, spec do copy[key] = value end
    end
    local less = answer("narrow", core.narrow(cap, copy))
    return make(core, less, methods)
  end

  --- Ends this capability and everything that came from it: sockets close, calls raise `network/socket`.
  function functions.revoke()
    core.revoke(cap)
  end

  --- True if the gate would let a connection to host and port pass. Connects to nothing, asks no DNS.
  function functions.allows(...)
    local host, port = own(net, ...)
    args.string(1, "allows", "host", host)
    args.port(2, "allows", port)
    return (answer("allows", core.allows(cap, host, port)))
  end

  --- What was granted, as an array of canonical flags.
  function functions.grants()
    return (answer("grants", core.grants(cap)))
  end

  --- What a value of ours is: "array", "hash", "null", "tcp", "response", "error" …; nil for every other value. Asks the
  -- value nothing.
  function functions.kind(...)
    local value = ...
    if select("#", ...) > 1 and rawequal(value, net) then value = select(2, ...) end
    return (answer("kind", core.kind(value)))
  end

  --- A class whose `new` takes the function's host and port among its options.
  local function by_name(name, allowed)
    return function(class)
      local known = merged(allowed, { host = "string", port = "port" })
      return function(...)
        local given = own(class, ...)
        if type(given) ~= "table" then bad(1, "new", "a table of options expected, got " .. args.show(given)) end
        local opts = options(1, "new", given, known)
        local host, port = opts.host, opts.port
        if name ~= "udp" and not (host and port) then bad(1, "new", (host and "port" or "host") .. " is missing") end
        opts.host, opts.port = nil, nil
        return functions[name](host, port, opts) -- a tail call: its errors blame the caller
      end
    end
  end

  --- By name: what makes `new` for a class.
  local classes = {
    ["puck.uno/socket/tcp"] = by_name("tcp", STREAM),
    ["puck.uno/socket/udp"] = by_name("udp", UDP),
    ["puck.uno/socket/ssl"] = by_name("ssl", SSL),
    ["puck.uno/socket/tcp_listener"] = by_name("tcp_listen", LISTEN),
  }

  -- What is not there is the lazy part's, or nobody's.
  -- Its client is made here: what is older than a script's values is still there when their finalizers run at the end of
  -- the state.
  local client = answer("http", core.http_client(cap))
  local shared = { core = core, client = client, defaults = {}, headers = {}, plain = true }
  local extended = false
  local function extend()
    if extended then return end
    -- Whole or not at all: where the stack, the memory or a hook ends this, the next use begins anew.
    local more = {}
    front("caspian.net.names").extend(core, cap, net, more)
    front("caspian.net.websocket").extend(core, cap, methods, net, more)
    front("caspian.net.http").extend(core, cap, shared, front, net, more, classes)
    -- A finalizer that ran meanwhile may have been here, too.
    if extended then return end
    for name, value in next, more do functions[name] = value end
    extended = true
  end

  --- The class behind a name, as a table with `new{…}`: `net.class("puck.uno/socket/tcp").new{ host =, port = }`. The name may
  -- be a URL, and in `puck.uno/network/`.
  function functions.class(...)
    local url = own(net, ...)
    args.string(1, "class", "url", url)
    local name = gsub(gsub(url, "^https?://", ""), "^puck%.uno/network/", "puck.uno/")
    if not classes[name] then extend() end
    local make_new = classes[name]
    if not make_new then bad(1, "class", "there is no class " .. args.show(url) .. args.hint(name, classes)) end
    -- Made anew for each that asks: what one holder does to it, another never sees.
    local class = {}
    class.new = make_new(class)
    return setmetatable(class, CLASS)
  end

  local metatable = {
    __name = "caspian.net",
    __metatable = false,
    __index = function(_, name)
      if name == "errors" then return errors.methods().classes() end
      if functions[name] == nil then extend() end
      return functions[name]
    end,
    __newindex = function(_, name)
      error("a network capability cannot be changed (" .. args.show(name) .. ")", 2)
    end,
    __pairs = function()
      extend()
      local all = merged(functions)
      all.errors = errors.methods().classes()
      return next, all, nil
    end,
    __tostring = function()
      return core.alive(cap) and "network capability" or "network capability (revoked)"
    end,
  }
  kinds[metatable] = "capability"
  return setmetatable(net, metatable)
end

--- The capability behind `net`; nil for any other value.
local function unwrap(net)
  return net ~= nil and behind[net] or nil
end

return { make = make, unwrap = unwrap }
