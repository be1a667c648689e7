--- The modules of the drop-in by the names that programs require them by, each made when it is first asked for.
local error, next, setfenv = error, next, setfenv
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

--- A set of modules of its own: answers `import(name)`.
-- @param native the core's table `compat`
-- @param given what is beneath them: names and, for each, `function(import)` that makes it. They win over the list here.
--   `socket` and `ssl` are modules; `caspian.allows` is `function(host, port)`, the gate's answer without connecting: true,
--   or nil and why not
-- @return `import`; and the names of the modules that it makes, as keys
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
    end
    local maker = MAKERS[name]
    if not maker then error("the drop-in has no module '" .. name .. "'", 0) end
    return maker(import)
  end

  local function import(name)
    local module = made[name]
    if module == nil then
      module = make(name, import)
      made[name] = module
      -- `require "socket.http"` makes `socket.http`, too.
      local field = MAKERS[name] and match(name, "^socket%.(%w+)$")
      if field then import("socket")[field] = module end
    end
    return module
  end
  return import, names
end
