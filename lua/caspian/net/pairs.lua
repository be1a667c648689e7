--- Names and values from callers: of queries, forms and the parts of a multipart body.
local args = require("caspian.net.args")
local next, rawget, setfenv, tostring, type = next, rawget, setfenv, tostring, type
local sort = table.sort
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, digits, show = args.bad, args.digits, args.show

--- True for a table that is meant for a list, be it one with holes.
local function is_list(given)
  for key in next, given do
    if type(key) == "number" then return true end
  end
  return false
end

--- Pairs from a table: { name = value, name = { value, value } } in the order of the names, or { { name, value }, … }, where a
-- value may be a list, too.
local function pairs_of(given, name, what, at)
  local names, values = {}, {}
  local function add(key, value)
    local kind = type(value)
    if kind == "number" then
      local text = digits(value)
      if not text then bad(at, name, what .. ": the value of " .. show(key) .. args.INFINITE .. show(value)) end
      value = text
    end
    if kind == "boolean" then value = tostring(value) end
    if type(key) ~= "string" or type(value) ~= "string" then
      bad(at, name, what .. " must hold strings, got " .. show(key) .. " and " .. show(value))
    end
    names[#names + 1], values[#values + 1] = key, value
  end
  if is_list(given) then
    for index = 1, args.items(at, name, what, given) do
      local pair = rawget(given, index)
      if type(pair) ~= "table" then bad(at, name, what .. " must be pairs, got " .. show(pair)) end
      local place = what .. "[" .. index .. "]"
      if args.items(at, name, place, pair) ~= 2 then
        bad(at, name, place .. " must be { name, value }")
      end
      local key, value = rawget(pair, 1), rawget(pair, 2)
      if type(value) == "table" then
        for item = 1, args.items(at, name, place .. "[2]", value) do add(key, rawget(value, item)) end
      else
        add(key, value)
      end
    end
    return names, values
  end
  local keys = {}
  for key in next, given do
    if type(key) ~= "string" then bad(at, name, what .. " must have names, got " .. show(key)) end
    keys[#keys + 1] = key
  end
  sort(keys)
  for _, key in next, keys do
    local value = given[key]
    if type(value) == "table" then
      local count = args.items(at, name, what .. "." .. key, value)
      for index = 1, count do add(key, rawget(value, index)) end
    else
      add(key, value)
    end
  end
  return names, values
end

return { is_list = is_list, pairs_of = pairs_of }
