--- Network access for Lua, through grants: what `require("caspian.net")` gives.
--
--   local net = require("caspian.net").launch{ "--allow-net=api.example.com" }
--
-- `launch` is for a script, `register` for the Caspian engine. Each works once per Lua state: whoever needs several
-- capabilities makes them with `narrow`.
local native = require("caspian_net")
local args = require("caspian.net.args")
local capability = require("caspian.net.capability")
local errors = require("caspian.net.errors")
local objects = require("caspian.net.objects")
local sockets = require("caspian.net.sockets")
local find, loaded, preload = string.find, package.loaded, package.preload
local error, next, pcall, rawequal, require, setfenv, setmetatable, type =
  error, next, pcall, rawequal, require, setfenv, setmetatable, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, show = args.bad, args.show

-- What holds a capability is out of reach of code that gets hold of `require` later: the core that is used is a copy
-- of our own, and the front's modules are nobody else's (who requires one again gets another, without capabilities).
local core = {}
for name, value in next, native do core[name] = value end
for name in next, loaded do
  if type(name) == "string" and find(name, "^caspian%.net%.") then loaded[name] = nil end
end

-- The drop-in needs what is behind a network, so it is made here, once somebody asks for it: who has a network can
-- install it.
preload["caspian.net.compat.ready"] = function()
  return require("caspian.net.compat.install")(core, capability.unwrap)
end

local M = { _VERSION = "caspian.net " .. core.version, version = core.version } ---@type caspian.net.Module

--- The keys of the table form; everything else in it is a mistake.
local FORM = {
  allow_net = "any", allow_listen = "any", deny_net = "any", dns = "boolean", net_log = "string",
  ca = "any", role = "string", requires = "any", files = "any",
}
local OPTIONS = { role = "string", requires = "any", files = "any" }
args.declare{ Spec = FORM, Register_options = OPTIONS }

--- Splits what `launch` was given, as its argument `at`, into grants (flags or table) and options.
local function split(name, at, given)
  if type(given) == "userdata" then return given, {} end -- a Rust host's, or refused where it is read
  if type(given) ~= "table" then bad(at, name, "a table of flags expected, got " .. show(given)) end
  local grants, opts = {}, {}
  for key, value in next, given do
    if type(key) == "number" then
      if type(value) ~= "string" then bad(at, name, "flags must be strings, got " .. show(value)) end
      grants[key] = value
    elseif OPTIONS[key] then
      opts[key] = value
    else
      grants[key] = value
    end
  end
  args.options(at, name, opts, OPTIONS)
  if grants[1] == nil then args.options(at, name, grants, FORM) end
  return grants, opts
end

--- Seals the state: what capabilities are made with, and the tables of the socket classes.
local function seal(name)
  local adopted, why = core.adopt(errors.metatable, errors.fields, objects.ARRAY, objects.HASH, objects.kinds)
  if not adopted then bad(0, name, why) end
  local methods = sockets.define(core)
  local mine, words = core.claim()
  if mine == nil then bad(0, name, words) end
  return mine, methods
end

--- What an environment that does not take its `%net` is told.
local REFUSED = {}

--- Makes a capability, and sets it in `env` if there is one; nothing, or why not, where there is none.
local function deliver(mine, methods, grants, files, role, env)
  local cap, err, index = core.mint(grants, { files = files }, mine)
  if cap == nil or role ~= "user" then return nil, err, index end
  local net = capability.make(core, cap, methods)
  if env then
    local ok, why = pcall(function()
      env["%net"] = net
      if not rawequal(env["%net"], net) then error(REFUSED, 0) end
    end)
    if not ok then
      -- Whoever saw it on the way there has nothing.
      core.revoke(cap)
      error(why, 0)
    end
  end
  return net
end

--- Delivers a capability of the state. The roles of contract section 3: `%net` belongs to `user`.
-- @param at the argument that the grants are; `of`: those that options came in, by name
-- @param mine the seal of a registrar; none: the state is sealed by this call, if it delivers
local function open(name, at, of, grants, opts, env, mine, methods)
  local missing = setmetatable({}, objects.ARRAY)
  if opts.requires ~= nil then
    local flags, err, index = core.missing(grants, opts.requires)
    if flags == nil then bad(index == 2 and of.requires or at, name, err) end
    missing = flags
  end
  local files = opts.files
  if files == nil then files = true end
  if type(files) ~= "boolean" and type(files) ~= "table" then
    bad(of.files or at, name, "files must be true, false or a list of directories, got " .. show(files))
  end
  local once = mine == nil
  if once then mine, methods = seal(name) end
  local ok, net, err, index = pcall(deliver, mine, methods, grants, files, opts.role or "user", env)
  if once and not (ok and net) then core.undo(mine) end
  if not ok then
    if rawequal(net, REFUSED) then bad(1, name, 'env does not take the field "%net"') end
    error(net, 0)
  end
  if err ~= nil then bad(index == 0 and 0 or index == 2 and of.files or at, name, err) end
  if env and net == nil then env["%net"] = nil end
  return net, missing
end

--- Called with a colon, a function of this module has the module for its first argument.
local function dotted(name, first, shape)
  if rawequal(first, M) then bad(1, name, "call it with a dot: require(\"caspian.net\")." .. shape) end
end

--- Makes the network capability of this Lua state; nil where nothing is granted.
-- @param given an array of flags ("--allow-net=example.com"), or
--   { allow_net = {…}, allow_listen = {…}, deny_net = {…}, dns = true, net_log = path, ca = PEM or path,
--     role = "user", requires = { "host:port", … }, files = true }; flags and the last four may stand in one table.
--   `ca`: authorities to believe beside the machine's, where a connection names no `ca_bundle`; also a list.
--   `requires`: what the script needs, each as a value of --allow-net; true: any network.
--   `files`: may certificates, keys and bodies be read from paths? true, false, or a list of directories.
-- @return the `%net` table or nil; the flags that `requires` asks for and `given` lacks
function M.launch(given)
  dotted("launch", given, "launch{ … }")
  local grants, opts = split("launch", 1, given)
  return open("launch", 1, {}, grants, opts)
end

--- What `register` does, with the seal of a registrar or its own.
local function register(mine, methods, env, grants, opts)
  if type(env) ~= "table" then bad(1, "register", "env must be a table, got " .. show(env)) end
  local flags, inner = split("register", 2, grants)
  local of = {}
  for key, value in next, args.options(3, "register", opts, OPTIONS) do inner[key], of[key] = value, 3 end
  return open("register", 2, of, flags, inner, env, mine, methods)
end

--- Sets `env["%net"]`, for the Caspian engine: nil for every role but `user`, and where nothing is granted.
-- @param env the table that holds the engine's objects
-- @param grants as for `launch`
-- @param opts { role = "user", requires = {…}, files = true }
-- @return env["%net"]; the flags that `requires` asks for and `grants` lacks
function M.register(env, grants, opts)
  dotted("register", env, "register(env, grants, opts)")
  return register(nil, nil, env, grants, opts)
end

--- For a host that runs several engines in one Lua state: a function like `register` that works any number of times, for who
-- holds it. The state is sealed from here on.
function M.registrar(given)
  dotted("registrar", given, "registrar()")
  local mine, methods = seal("registrar")
  return function(env, grants, opts)
    return register(mine, methods, env, grants, opts)
  end
end

return M
