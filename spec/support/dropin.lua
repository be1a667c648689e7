--- The drop-in's modules, as a program that requires them would get them: `dropin.require("socket.http")`.

local dropin = {}

local found, compat = pcall(require, "caspian.net.compat")
if found then
  local package = { loaded = {}, preload = {} }
  compat.install(require("spec.support.subject").net, package)
  function dropin.require(name)
    if package.loaded[name] == nil then
      local module = assert(package.preload[name], "the drop-in has no module " .. name)(name)
      package.loaded[name] = module
    end
    return package.loaded[name]
  end
else
  -- The Lua part alone, over LuaSocket and LuaSec.
  dropin.require = require("caspian.net.compat.modules")(require("caspian_net").compat, {
    socket = function() return require("socket") end,
    ssl = function() return require("ssl") end,
    ["caspian.allows"] = function() return function() return true end end,
  })
end

return dropin
