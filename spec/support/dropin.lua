--- The drop-in's modules, as a program that requires them would get them: `dropin.require("socket.http")`.

local dropin = {}

local package = { loaded = {}, preload = {} }
require("caspian.net.compat").install(require("spec.support.subject").net, package)

function dropin.require(name)
  if package.loaded[name] == nil then
    local module = assert(package.preload[name], "the drop-in has no module " .. name)(name)
    package.loaded[name] = module
  end
  return package.loaded[name]
end

return dropin
