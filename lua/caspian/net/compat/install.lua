--- Installs the drop-in. `caspian.net` makes this module's value with the key to its capabilities, and puts it where
-- `caspian.net.compat` finds it.
local args = require("caspian.net.args")
local list = require("caspian.net.compat.modules")
local sockets = require("caspian.net.compat.socket")
local ssl = require("caspian.net.compat.ssl")
local ssl_config = require("caspian.net.compat.ssl_config")
local ssl_context = require("caspian.net.compat.ssl_context")
local ssl_core = require("caspian.net.compat.ssl_core")
local ssl_x509 = require("caspian.net.compat.ssl_x509")
local unix = require("caspian.net.compat.unix")
local next, package, rawget, rawset, setfenv, type = next, package, rawget, rawset, setfenv, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, show = args.bad, args.show

local OPTIONS = {
  hostname = "boolean", -- true; false: `gethostname` answers "localhost"
  native = "boolean",   -- false; true: `setfd` takes descriptors that are not the drop-in's
}
args.declare{ Install_options = OPTIONS }

--- Makes the loaders of `package.preload`. A loader is a chunk to its callers, as that of a file is: one that gives it an
-- environment (`setfenv`; `debug.setupvalue` of its `_ENV`) with another `require`, as cosock's asyncify does, gets a module
-- over what that answers. So does one that has put modules of its own into `package.loaded` before, for what stood there
-- when it asked: nothing is looked up there later, when it may be another installation's.
local function loaders(loaded, import, names, made, anew)
  -- The names whose first module has a caller.
  local taken = {}

  --- What stands in `package.loaded` in the place of ours.
  local function strangers()
    local found
    for name in next, names do
      local module = rawget(loaded, name)
      if type(module) == "table" and module ~= made[name] then
        found = found or {}
        found[name] = module
      end
    end
    return found
  end

  --- `require` as a loader has it while nobody has swapped it.
  local function usual(name)
    return import(name)
  end

  local function load(name, required)
    if required ~= usual then return anew(name, required) end
    local others = strangers()
    if others or taken[name] then
      return anew(name, function(other) return others and others[other] or import(other) end)
    end
    taken[name] = true
    local module = import(name)
    -- With the original, who has `socket` has `socket.core`.
    if name == "socket" then rawset(loaded, "socket.core", import("socket.core")) end
    return module
  end

  return function(name)
    local _ENV = { require = usual } -- luacheck: ignore
    local function loader()
      return load(name, require) -- luacheck: ignore
    end
    if setfenv then setfenv(loader, _ENV) end -- luacheck: ignore
    return loader
  end
end

--- Makes `install`. `core` is the native half; `unwrap(net)` answers the capability behind a network, or nil.
return function(core, unwrap)
  local M = {}

  --- Puts the drop-in's modules into `into` (defaults to the host's `package`): whoever requires them there uses `net`,
  -- and nothing else. Modules of these names that were loaded before are forgotten; who holds one keeps it.
  -- net: a network capability; nil stands for one that allows nothing.
  -- into: a table with `loaded` and `preload`.
  -- opts: { native = true } lets `setfd` take over descriptors that are not the drop-in's, { hostname = false } has
  -- `gethostname` answer "localhost". Default to false and true.
  -- Returns `import(name)`, which answers a module as `require` does, and the names that it knows, as keys.
  function M.install(net, into, opts)
    local cap = net == nil and core.nothing() or unwrap(net)
    if cap == nil then bad(1, "install", "a network capability expected, got " .. show(net)) end
    -- `install(launch{…})` brings the list of missing flags along: empty, as it should be.
    if into == nil or type(into) == "table" and next(into) == nil then into = package end
    if type(into) ~= "table" then bad(2, "install", "package must be a table, got " .. show(into)) end
    opts = args.options(3, "install", opts, OPTIONS)
    local loaded, preload = rawget(into, "loaded"), rawget(into, "preload")
    if type(loaded) ~= "table" or type(preload) ~= "table" then
      bad(2, "install", "package must have the tables loaded and preload")
    end

    local native = core.compat.sockets(cap, opts.native or false)
    if opts.hostname == false then native.gethostname = function() return "localhost" end end
    local tls = core.compat.ssl()
    local import, names, made, anew = list(core.compat, {
      ["socket"] = function() return sockets(native) end,
      ["socket.core"] = function(import) return import("socket") end,
      ["socket.unix"] = function() return unix(native) end,
      ["ssl"] = function(import) return ssl(tls, import) end,
      ["ssl.config"] = function() return ssl_config(tls) end,
      ["ssl.context"] = function() return ssl_context(tls, cap) end,
      ["ssl.core"] = function(import) return ssl_core(tls, import) end,
      ["ssl.x509"] = function() return ssl_x509(tls) end,
      ["caspian.allows"] = function()
        return function(host, port)
          local fine, words = native.allows(host, port)
          return fine, words
        end
      end,
    })
    local require_for = loaders(loaded, import, names, made, anew)
    for name in next, names do
      rawset(loaded, name, nil)
      rawset(preload, name, require_for(name))
    end
    return import, names
  end

  return M
end
