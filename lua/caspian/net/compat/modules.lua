--- The modules of the drop-in by the names that programs require them by, each made when it is first asked for.
local error, next, setfenv, setmetatable = error, next, setfenv, setmetatable
local find, match = string.find, string.match
local MAKERS = {
  ["caspian.secure"] = require("caspian.net.compat.secure"),
  ["ltn12"] = require("caspian.net.compat.ltn12"),
  ["mime"] = require("caspian.net.compat.mime"),
  ["socket.ftp"] = require("caspian.net.compat.ftp"),
  ["socket.headers"] = require("caspian.net.compat.headers"),
  ["socket.http"] = require("caspian.net.compat.http"),
  ["socket.smtp"] = require("caspian.net.compat.smtp"),
  ["socket.tp"] = require("caspian.net.compat.tp"),
  ["socket.url"] = require("caspian.net.compat.url"),
  ["ssl.https"] = require("caspian.net.compat.https"),
}
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

--- A set of modules of its own.
-- @param native the core's table `compat`
-- @param given what is beneath them: names and, for each, `function(import)` that makes it. They win over the list here.
--   `socket` and `ssl` are modules; `caspian.allows` is `function(host, port)`, the gate's answer without connecting: true,
--   or nil and why not
-- @return `import(name)`; the names of the modules that it makes, as keys; what it has made; and `anew(name, theirs)`
return function(native, given)
  local made, names = {}, { ["mime.core"] = true }
  for name in next, MAKERS do names[name] = not find(name, "^caspian%.") or nil end
  for name in next, given do names[name] = not find(name, "^caspian%.") or nil end

  local function make(name, import)
    if given[name] then return given[name](import) end
    if name == "mime.core" then
      local functions = {}
      for key, value in next, native.mime do functions[key] = value end
      return functions
    elseif name == "caspian.now" or name == "caspian.token" then
      return native[name == "caspian.now" and "now" or "token"]
    elseif name == "caspian.known" then
      -- What `caspian.secure` has made, however many there are of it.
      return { connections = setmetatable({}, { __mode = "k" }), factories = setmetatable({}, { __mode = "k" }) }
    end
    local maker = MAKERS[name]
    if not maker then error("the drop-in has no module '" .. name .. "'", 0) end
    return maker(import)
  end

  --- The name of the field of `socket` that a module is: `require "socket.http"` makes `socket.http`, too.
  local function field(name)
    return MAKERS[name] and match(name, "^socket%.(%w+)$")
  end

  local function import(name)
    local module = made[name]
    if module == nil then
      module = make(name, import)
      made[name] = module
      if field(name) then import("socket")[field(name)] = module end
    end
    return module
  end

  --- The module once more, for a caller with modules of its own: it is made over those that `theirs(name)` answers, now
  -- and whenever it needs another. What is native is there once.
  local function anew(name, theirs)
    if not MAKERS[name] then return import(name) end
    local beneath = {}
    local function above(other)
      local module = beneath[other]
      if module == nil then
        if other == "caspian.secure" then
          module = make(other, above)
        elseif find(other, "^caspian%.") then
          module = import(other)
        else
          module = theirs(other)
        end
        beneath[other] = module
      end
      return module
    end
    local module = make(name, above)
    if field(name) then above("socket")[field(name)] = module end
    return module
  end

  return import, names, made, anew
end
