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

local SPEC = { allow_net = "any", allow_listen = "any", deny_net = "any", dns = "boolean" }
args.declare{ Narrow_spec = SPEC }

--- What the first lazy part has.
local SOCKETS = {
  tcp = true, ssl = true, tls = true, udp = true, tcp_listen = true, listen = true, udp_listen = true, unix = true,
  unix_listen = true, poll = true,
}

--- What the helpers without authority are.
local PURE = { url = true, json = true, base64 = true, hash = true, mail = true }

--- Most of the front: a program that uses none of it does not wait for it.
local front = lazy({
  "caspian.net.names", "caspian.net.websocket", "caspian.net.http", "caspian.net.requests", "caspian.net.responses",
  "caspian.net.identity", "caspian.net.events", "caspian.net.har", "caspian.net.guard", "caspian.net.guarded",
  "caspian.net.middleware", "caspian.net.error_methods", "caspian.net.server", "caspian.net.server_answers", "caspian.net.server_events",
  "caspian.net.server_form", "caspian.net.server_objects", "caspian.net.server_request",
  "caspian.net.hints", "caspian.net.opening", "caspian.net.methods", "caspian.net.pairs", "caspian.net.pure",
  "caspian.net.within", "caspian.net.dates", "caspian.net.ftp", "caspian.net.ftp.data", "caspian.net.ftp.listing", "caspian.net.ftp.replies",
  "caspian.net.mail", "caspian.net.mail.channel", "caspian.net.mail.client", "caspian.net.mail.imap",
  "caspian.net.mail.imap.messages", "caspian.net.mail.imap.commands", "caspian.net.mail.imap.arguments", "caspian.net.mail.message",
  "caspian.net.mail.opening", "caspian.net.mail.pop3", "caspian.net.mail.sasl", "caspian.net.mail.smtp",
  "caspian.net.sammy", "caspian.net.sammy.chain", "caspian.net.sammy.csrf", "caspian.net.sammy.patterns", "caspian.net.sammy.response",
  "caspian.net.sammy.sessions", "caspian.net.sammy.static", "caspian.net.uds",
}, { "caspian.net.args", "caspian.net.errors", "caspian.net.objects", "caspian.net.sockets" })

args.hints = function() return front("caspian.net.hints") end
errors.methods = function() return front("caspian.net.error_methods") end

--- What `class` answers: a table of the caller's, which knows what it is.
local CLASS = { __name = "caspian.net.class", __metatable = false }
kinds[CLASS], kinds[errors.metatable] = "class", "error"

--- The capability behind each `%net`, for the front's own files.
local behind = setmetatable({}, { __mode = "k" })

--- A `%net` around `cap`.
-- @param methods the tables of the socket classes, as `sockets.define` returned them
local function make(core, cap, methods)
  local net = {}   -- what the script holds: empty, so that nothing on it can be replaced
  behind[net] = cap
  local functions = {}

  --- A `%net` that has what this one has and `spec` allows too. spec: an array of flags and of plain hosts (`--allow-net` of
  -- those), or a table as for `launch`.
  -- What it opens ends with this one (`revoke`); it reads no files. `network/too_large` where this one was narrowed 1000 times over.
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

  --- Waits, and does nothing else. Ctrl-C and the host's signals end it as they end every wait.
  function functions.sleep(...)
    local seconds = own(net, ...)
    args.seconds(1, "sleep", "seconds", seconds, nil)
    if seconds == nil then bad(1, "sleep", "seconds must be 0 or more seconds, got nil") end
    answer("sleep", core.sleep(seconds))
  end

  --- By name: what makes `new` for a class.
  local classes = {}

  -- What is not there is the lazy parts', or nobody's.
  -- The client is made here: what is older than a script's values is still there when their finalizers run at the end of
  -- the state.
  local client = answer("http", core.http_client(cap))
  local shared = { core = core, client = client, defaults = {}, inherit = {} }
  local extended = {}
  local function extend(part)
    if extended[part] then return end
    -- Whole or not at all: where the stack, the memory or a hook ends this, the next use begins anew.
    local more = {}
    if part == "pure" then
      front("caspian.net.pure").extend(core, more)
    elseif part == "sockets" then
      front("caspian.net.opening").extend(core, cap, methods, net, more, classes)
    else
      front("caspian.net.names").extend(core, cap, net, more)
      front("caspian.net.within").extend(core, net, more)
      front("caspian.net.websocket").extend(core, cap, methods.websocket, net, more)
      front("caspian.net.http").extend(core, cap, shared, front, net, more, classes, methods)
      front("caspian.net.mail").extend(core, cap, front, net, more, classes)
    end
    -- A finalizer that ran meanwhile may have been here, too.
    if extended[part] then return end
    for name, value in next, more do functions[name] = value end
    extended[part] = true
  end

  local function extend_all()
    extend("sockets")
    extend("pure")
    extend("rest")
  end

  --- The class behind a name, as a table with `new{…}`: `net.class("puck.uno/socket/tcp").new{ host =, port = }`. The name may
  -- be a URL, and in `puck.uno/network/`.
  function functions.class(...)
    local url = own(net, ...)
    args.string(1, "class", "url", url)
    local name = gsub(gsub(url, "^https?://", ""), "^puck%.uno/network/", "puck.uno/")
    if not classes[name] then extend_all() end
    local make_new = classes[name]
    if not make_new then bad(1, "class", "unknown class " .. args.show(url) .. args.hint(name, classes)) end
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
      if functions[name] == nil then extend(SOCKETS[name] and "sockets" or PURE[name] and "pure" or "rest") end
      return functions[name]
    end,
    __newindex = function(_, name)
      error("a network capability cannot be changed (" .. args.show(name) .. ")", 2)
    end,
    __pairs = function()
      extend_all()
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
