--- Error objects: plain tables with the fields of the contract and one locked metatable.
-- The core makes them; they are raised here, in the front, so that they arrive whole on every Lua.
local setfenv, type = setfenv, type
local _ENV = {} -- luacheck: ignore (nothing below reads a global)
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local PREFIX = "puck.uno/error/"

--- The classes that are special cases of another.
local PARENT = {
  [PREFIX .. "network/address_not_allowed"] = PREFIX .. "network/host_not_allowed",
  [PREFIX .. "network/request_not_allowed"] = PREFIX .. "network/host_not_allowed",
  [PREFIX .. "network/too_large"] = PREFIX .. "network/protocol",
}

local methods = {}

--- True if the error is of that class or a special case of it.
-- @param class the whole name (`puck.uno/error/network/timeout`), the short one (`network/timeout`), or `network`
function methods.is(self, class)
  if type(class) ~= "string" then return false end
  if class == "network" or class == PREFIX .. "network" then return true end
  local own = self.class
  while own do
    if own == class or own == PREFIX .. class then return true end
    own = PARENT[own]
  end
  return false
end

local metatable = {
  __name = "caspian.net.error",
  __index = methods,
  __metatable = false,
}

--- One clear line: `network/timeout: recv from 127.0.0.1:80: timed out after 5 s`.
function metatable.__tostring(self)
  local class, message = self.class, self.message
  class = type(class) == "string" and class:sub(#PREFIX + 1) or "network"
  return class .. ": " .. (type(message) == "string" and message or "?")
end

return { metatable = metatable, prefix = PREFIX }
