--- `socket.unix`, for programs that were written for LuaSocket 3: Unix sockets, by paths that were granted.
local setfenv, setmetatable = setfenv, setmetatable
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

--- Makes the module around the native half of one installation.
return function(native)
  local M = { stream = native.stream, tcp = native.stream, dgram = native.dgram, udp = native.dgram }
  return setmetatable(M, { __call = function() return native.stream() end })
end
