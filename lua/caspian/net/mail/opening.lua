--- The opening of the clients of SMTP, IMAP, POP3 and FTP: their common options, the connection through the gate, TLS, and
-- one deadline for all of it.
local args = require("caspian.net.args")
local channels = require("caspian.net.mail.channel")
local clients = require("caspian.net.mail.client")
local errors = require("caspian.net.errors")
local sasl = require("caspian.net.mail.sasl")
local sockets = require("caspian.net.sockets")
local error, next, setfenv, type = error, next, setfenv, type
local find, format = string.find, string.format
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, fail, merged, show = args.bad, errors.fail, sockets.merged, args.show

local M = {}

--- The options of every client (contract, section 10).
M.OPTIONS = merged(sockets.client_tls, {
  host = "string",
  port = "port",              -- the protocol's own, by `tls`
  timeout = "seconds",        -- 30; of the opening, and of each later call
  tls = "any",                -- "starttls"; "implicit": from the first byte; false: none
  user = "string", password = "string",
  auth = "string",            -- "auto": the best of those that the server offers
  insecure_auth = "boolean",  -- false; true: a password may cross the connection in the clear
})
args.declare{ Mail_options = M.OPTIONS, Pop3_options = M.OPTIONS }

--- The same with those that a protocol has besides.
function M.with(own)
  return merged(M.OPTIONS, own)
end

--- Checks what the caller gave. Called by public functions, through `open`.
local function checked(name, given, protocol)
  if type(given) ~= "table" then bad(1, name, "a table of options expected, got " .. show(given)) end
  local opts = args.options(1, name, given, M.with(protocol.options or {}))
  if opts.host == nil then bad(1, name, "host is missing") end
  if opts.tls == nil then opts.tls = "starttls" end
  if opts.tls ~= "starttls" and opts.tls ~= "implicit" and opts.tls ~= false then
    bad(1, name, 'tls must be "starttls", "implicit" or false, got ' .. show(opts.tls))
  end
  if opts.tls == false then
    for option in next, sockets.client_tls do
      if opts[option] ~= nil then bad(1, name, option .. " needs TLS, but tls is false") end
    end
  end
  opts.port = opts.port or protocol.ports[opts.tls or "none"]
  if opts.port == 0 then bad(1, name, "port must be 1..65535, got 0") end
  opts.timeout = opts.timeout or 30
  if opts.auth ~= nil and not (sasl.NAMES[opts.auth] or protocol.auths and protocol.auths[opts.auth]) then
    bad(1, name, "auth must be " .. sasl.WORDS .. ", got " .. show(opts.auth))
  end
  for option, kind in next, merged({ user = "string", password = "string" }, protocol.options or {}) do
    -- It may be a secret: not a byte of it is shown.
    if kind == "string" and opts[option] and find(opts[option], "[%z\r\n]") then
      bad(1, name, option .. " contains CR, LF or NUL")
    end
  end
  if not protocol.anonymous then
    if opts.user and not opts.password then bad(1, name, "user without password") end
    if opts.password and not opts.user then bad(1, name, "password without user") end
    if opts.auth and not opts.user then bad(1, name, "auth without user and password") end
  end
  if opts.tls == false and sasl.CLEAR[opts.auth] and not opts.insecure_auth then
    bad(1, name, format("auth = %q sends the password in the clear where tls is false; insecure_auth = true allows that", opts.auth))
  end
  return opts
end

--- Those of the options that are TLS's.
local function tls_options(opts)
  local tls = {}
  for option in next, sockets.client_tls do tls[option] = opts[option] end
  return tls
end

--- Words of the core about an argument, on their way out of a protected call.
local ARGUMENT = {}

--- Opens the connection and leads the protocol through its beginning.
local function connect(door, opts, protocol, state)
  local core = door.core
  -- Where other connections resume its session, TLS begins in one way for all.
  local at_once = opts.tls == "implicit" and not protocol.sessions
  local how = merged(at_once and tls_options(opts) or {}, { timeout = opts.timeout })
  local open = at_once and core.ssl or core.tcp
  if opts.tls and protocol.sessions then
    local sessions, why = core.tls_sessions(door.cap, opts.host, opts.port, tls_options(opts))
    if sessions == nil then error(type(why) == "string" and { ARGUMENT, why } or why, 0) end
    state.sessions = sessions
  end
  local socket, err, index = open(door.cap, opts.host, opts.port, how)
  if socket == nil then
    if type(err) == "string" then error({ ARGUMENT, (index == 1 and "host: " or "") .. err }, 0) end
    error(err, 0)
  end
  state.armed = opts.timeout
  state.private = at_once
  state.channel = channels.over(channels.sockets(core, socket), protocol.limits)
  --- Speaks TLS from here on: the server has agreed to it.
  function state.secure()
    -- A store of sessions has the options of TLS.
    local options = merged(state.sessions and {} or tls_options(opts), { timeout = opts.timeout })
    local done, wrong = state.channel:starttls(options, state.sessions)
    if not done then error({ ARGUMENT, wrong }, 0) end
    state.private = true
  end
  if opts.tls == "implicit" and not at_once then state.secure() end
  return protocol.start(state, opts)
end

--- Opens a client.
-- @param door { core, cap, attempt }: of the network that it is opened through
-- @param name the public function's; given: its argument
-- @param protocol {
--   ports = { starttls =, implicit =, none = }, options = of its own by name, limits = of its channel,
--   anonymous = may it have a user without a password?, auths = what `auth` may be besides, by name,
--   sessions = do other connections resume its session of TLS? `state.sessions` is what `starttls` of the core needs for that,
--   start = function(state, opts): reads the greeting, sees to STARTTLS (`state.secure()` once the server has agreed), logs in;
--     answers nil, or a refusal,
--   object = function(state): the object }
-- @return the client; nil and a refusal where the server refuses
function M.open(door, name, given, protocol)
  local opts = checked(name, given, protocol)
  local state = clients.state{
    core = door.core, attempt = door.attempt, door = door, host = opts.host, port = opts.port, timeout = opts.timeout,
  }
  local ok, refusal = door.attempt(opts.timeout, connect, door, opts, protocol, state)
  state.secure = nil
  if ok and refusal == nil then
    state.channel.underway = false
    return protocol.object(state)
  end
  if state.channel then state:finish("it was never opened") end
  if ok then return nil, refusal end
  if type(refusal) == "table" and refusal[1] == ARGUMENT then bad(1, name, refusal[2]) end
  error(state:told(name, refusal, opts.timeout), 0)
end

-- What the protocols' `start` have in common --------------------------------------------------------------------------

--- Raises `tls` where the server has no STARTTLS, or does not want it: what was to be private is not said in the open.
-- @param why "offers no STARTTLS", "refuses STARTTLS (454 …)"
function M.unsecured(why)
  fail("tls", "the server " .. why .. ': the connection is not used without TLS (tls = "implicit" is for ports that begin with TLS, tls = false for no TLS)')
end

--- Raises `tls` where a password that goes out as it is would go out in the clear, and the caller has not allowed that.
function M.confidential(state, opts)
  if not (state.private or opts.insecure_auth) then fail("tls", sasl.exposed()) end
end

--- Logs in by SASL.
-- @param offered the mechanisms that the server has, a list
-- @param begin, send, receive as for `sasl.converse`; `begin(mechanism, first)`
-- @param initial may the first message go with the command?
-- @return nil, or a refusal
function M.authenticate(state, opts, offered, initial, begin, send, receive)
  local mechanism, class, words = sasl.choose(offered, { auth = opts.auth, private = state.private, insecure_auth = opts.insecure_auth })
  if not mechanism then fail(class, words) end
  local exchange = sasl.start(state.core, mechanism, opts)
  local function start(first) begin(mechanism, first) end
  local done, refusal = sasl.converse(state.core, exchange, initial, start, send, receive)
  if not done then return refusal end
end

return M
