--- Helpers without authority, for code without a network: the same `url`, `json`, `base64` and `hash` that every
-- `%net` has.
local loaded, next, require, type = package.loaded, next, require, type
local find = string.find

local known = {}
for name in next, loaded do known[name] = true end

local codec = require("caspian.net.pure").make(require("caspian_net")) ---@type caspian.net.Codec

-- A network that is launched later loads modules of its own.
for name in next, loaded do
  if type(name) == "string" and not known[name] and find(name, "^caspian%.net%.") then loaded[name] = nil end
end

return codec
