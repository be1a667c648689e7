--- HTTP over a capability.
local _ENV = {} -- luacheck: ignore

--- Adds the HTTP functions and classes to a `%net`.
local function extend(_core, _cap, _net, _functions, _classes) end

return { extend = extend }
