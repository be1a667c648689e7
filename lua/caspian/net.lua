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
local next, require, setfenv, type = next, require, setfenv, type
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

local M = { _VERSION = "caspian.net " .. core.version, version = core.version }

--- The keys of the table form; everything else in it is a mistake.
local FORM = {
  allow_net = "any", allow_listen = "any", deny_net = "any", dns = "boolean", net_log = "string",
  ca = "any", role = "string", requires = "strings", files = "any",
}

--- Splits what `launch` was given, as its argument `at`, into grants (flags or table) and options.
local function split(name, at, given)
  if type(given) ~= "table" then bad(at, name, "a table of flags expected, got " .. show(given), 1) end
  local grants, opts = {}, {}
  for key, value in next, given do
    if type(key) == "number" then
      if type(value) ~= "string" then bad(at, name, "flags must be strings, got " .. show(value), 1) end
      grants[key] = value
    elseif key == "role" or key == "requires" or key == "files" then
      opts[key] = value
    else
      grants[key] = value
    end
  end
  args.options(at, name, opts, FORM, 1)
  if grants[1] == nil then args.options(at, name, grants, FORM, 1) end
  return grants, opts
end

--- Makes the state's capability. The roles of contract section 3: `%net` belongs to `user`.
local function open(name, at, grants, opts)
  local missing = {}
  if opts.requires then
    local flags, err = core.missing(grants, opts.requires)
    if flags == nil then bad(at, name, err, 1) end
    missing = flags
  end
  local files = opts.files
  if files == nil then files = true end
  if type(files) ~= "boolean" and type(files) ~= "table" then
    bad(at, name, "files must be true, false or a list of directories, got " .. show(files), 1)
  end
  local defined, why = core.set_errors(errors.metatable, errors.fields)
  if not defined then bad(0, name, why, 1) end
  args.answer(name, core.set_array_metatable(objects.ARRAY))
  local methods = sockets.define(core)
  local cap, err, index = core.mint(grants, { files = files })
  if err ~= nil then bad(index == 0 and 0 or at, name, err, 1) end
  local role = opts.role or "user"
  if cap == nil or role ~= "user" then return nil, missing end
  return capability.make(core, cap, methods), missing
end

--- Makes the network capability of this Lua state; nil where nothing is granted.
-- @param given an array of flags ("--allow-net=example.com"), or
--   { allow_net = {…}, allow_listen = {…}, deny_net = {…}, dns = true, net_log = path, ca = PEM or path,
--     role = "user", requires = { "host:port", … }, files = true }; flags and the last four may stand in one table.
--   `ca`: authorities to believe beside the machine's, where a connection names no `ca_bundle`; also a list.
--   `files`: may certificates, keys and bodies be read from paths? true, false, or a list of directories.
-- @return the `%net` table or nil; the flags that `requires` asks for and `given` lacks
function M.launch(given)
  local grants, opts = split("launch", 1, given)
  local net, missing = open("launch", 1, grants, opts)
  return net, missing
end

--- Sets `env["%net"]`, for the Caspian engine: nil for every role but `user`, and where nothing is granted.
-- @param env the table that holds the engine's objects
-- @param grants as for `launch`
-- @param opts { role = "user", requires = {…}, files = true }
-- @return env["%net"]; the flags that `requires` asks for and `grants` lacks
function M.register(env, grants, opts)
  if type(env) ~= "table" then bad(1, "register", "env must be a table, got " .. show(env)) end
  local flags, inner = split("register", 2, grants)
  for key, value in next, args.options(3, "register", opts, { role = "string", requires = "strings", files = "any" }) do
    inner[key] = value
  end
  local net, missing = open("register", 2, flags, inner)
  env["%net"] = net
  return net, missing
end

return M
