--- Argument checks of the drop-in's TLS modules: errors as LuaSec raises them.
local args = require("caspian.net.args")
local setfenv, tostring, type = setfenv, tostring, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local checks = {}

--- Raises `bad argument #index to 'name' (words)` where the public function was called.
local function bad(index, words, name)
  args.bad(index, name or "?", words)
end
checks.bad = bad

--- The values of a function of the core, with words for an error object; raises where it says that an argument is wrong.
function checks.answer(first, second, index, ...)
  if first == nil and type(index) == "number" and type(second) == "string" then bad(index, second) end
  if first == nil and type(second) == "table" then second = second.message end
  return first, second, index, ...
end

local function expected(what, value)
  return what .. " expected, got " .. (value == nil and "no value" or type(value))
end

--- A string, or a number, which is one to Lua's C functions.
function checks.string(index, value, name)
  if type(value) == "number" then value = tostring(value) end
  if type(value) ~= "string" then bad(index, expected("string", value), name) end
  return value
end

function checks.number(index, value, name)
  if type(value) ~= "number" then bad(index, expected("number", value), name) end
  return value
end

return checks
