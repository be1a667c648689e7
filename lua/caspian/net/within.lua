--- `net.within`: one deadline for all network calls of a function; also for the front's own calls.
local args = require("caspian.net.args")
local create, resume, running, status, yield =
  coroutine.create, coroutine.resume, coroutine.running, coroutine.status, coroutine.yield
local error, pcall, rawequal, select, setfenv, type = error, pcall, rawequal, select, setfenv, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, own, show = args.answer, args.bad, args.own, args.show

--- Goes on with the function that is in a coroutine of its own: what it yields is yielded, outside of the block, and it goes
-- on inside of it.
-- @return true and what the function returns, or false and what it raised
local function follow(core, finish, time, thread, ok, ...)
  if not ok or status(thread) == "dead" then return ok, ... end
  return follow(core, finish, time, thread, core.block_call(finish, time, resume, thread, yield(...)))
end

local function begin(core, finish, time, f, ...)
  -- Lua 5.1 makes coroutines of Lua's functions only.
  local thread = create(function(...) return f(...) end)
  return follow(core, finish, time, thread, core.block_call(finish, time, resume, thread, ...))
end

local function raised(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

--- A function `attempt(seconds, f, …)`: calls `f(…)` with an end for all network calls in it (`math.huge`: none of its own).
-- Answers true and what it returns, or false and what it raised.
local function attempts(core)
  return function(seconds, f, ...)
    local finish, time = core.block_begin(seconds)
    if finish == nil then return false, time end
    local thread, main = running()
    if thread == nil or main then return pcall(core.block_call, finish, time, f, ...) end
    return begin(core, finish, time, f, ...)
  end
end

--- Adds `within` to a `%net`.
local function extend(core, net, functions)
  local function start(seconds, f, ...)
    local finish, time = core.block_begin(seconds)
    if finish == nil then answer("within", finish, time) end
    local thread, main = running()
    -- A function that cannot yield is called as it is: hooks and tracebacks see one stack.
    if thread == nil or main then return core.block_call(finish, time, f, ...) end
    return raised(begin(core, finish, time, f, ...))
  end

  --- Calls `f(...)` and returns what it returns. Every network call in it ends, and raises `network/timeout`, when that many
  -- seconds have passed, besides its own timeout. Nests: the nearest end wins. What Lua computes is not interrupted.
  function functions.within(...)
    local seconds, f
    if rawequal((...), net) then seconds, f = select(2, ...) else seconds, f = ... end
    if seconds == nil then bad(1, "within", "0 or more seconds expected, got nothing") end
    args.seconds(1, "within", "seconds", seconds)
    if type(f) ~= "function" then bad(2, "within", "a function expected, got " .. show(f)) end
    return start(own(net, ...))
  end
end

return { extend = extend, attempts = attempts }
