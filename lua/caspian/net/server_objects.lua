--- What requests of a server and the parts of their forms have in common.
local args = require("caspian.net.args")
local objects = require("caspian.net.objects")
local error, rawequal, setfenv, tostring, type = error, rawequal, setfenv, tostring, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, show, states = args.bad, args.show, objects.states

--- What is behind them, by keys that no script has, in one table with the fields that it may see. HANDLE: the core's;
-- SERVER: its server, which lives as long as they do; BEHIND: the server's state; ANSWERED: by the script; ROUTE: what a framework
-- has of it, `steps` and all.
local M = { ANSWERED = {}, BEHIND = {}, CORE = {}, HANDLE = {}, ROUTE = {}, SERVER = {} }

--- A method, bound to its object.
function M.bound(method, state)
  return function(first, ...)
    local result
    if first ~= nil and rawequal(states[first], state) then
      result = method(state, ...)
    else
      result = method(state, first, ...)
    end
    return result
  end
end

--- Writes what `read` answers to an open file, to its end; answers how many bytes.
function M.save(file, read)
  if type(file) ~= "userdata" and type(file) ~= "table" then bad(1, "save", "an open file expected, got " .. show(file), 1) end
  local total = 0
  while true do
    local bytes = read()
    if bytes == nil then return total end
    local done, why = file:write(bytes)
    if not done then error("save: " .. tostring(why), 0) end
    total = total + #bytes
  end
end

return M
