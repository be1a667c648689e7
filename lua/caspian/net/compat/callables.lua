--- Constructors of sources, sinks and filters, for `socket`, `socket.http` and `mime`.
local args = require("caspian.net.args")
local setfenv, setmetatable, tostring, type = setfenv, setmetatable, tostring, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local callables = {}

--- A function that picks a maker by its name, `default` if none is given, and answers what it makes. Whoever extends
-- `makers` extends it.
function callables.choose(makers)
  return function(name, first, second)
    if type(name) ~= "string" then name, first, second = "default", name, first end
    local make = makers[name]
    if not make then args.raise("unknown key (" .. tostring(name) .. ")") end
    return make(first, second)
  end
end

--- Something to call that `select` takes for the socket beneath.
function callables.selectable(sock, call)
  return setmetatable({
    getfd = function() return sock:getfd() end,
    dirty = function() return sock:dirty() end,
  }, { __call = call })
end

return callables
