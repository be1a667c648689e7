--- The common base of server requests and the parts of their forms.
local args = require("caspian.net.args")
local error, setfenv, tostring, type = error, setfenv, tostring, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, show = args.bad, args.show

--- What is behind them, by keys that no script has, in one table with the fields that it may see. HANDLE: the core's;
-- SERVER: its server, which lives as long as they do; BEHIND: the server's state; ANSWERED: by the script; ROUTE: what a framework
-- has of it, from which its `steps_of`, put here, makes `request.steps`.
local M = { ANSWERED = {}, BEHIND = {}, CORE = {}, HANDLE = {}, ROUTE = {}, SERVER = {} }

--- Writes what `read` answers to an open file, to its end; answers how many bytes.
function M.save(file, read)
  if type(file) ~= "userdata" and type(file) ~= "table" then bad(1, "save", "an open file expected, got " .. show(file)) end
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
