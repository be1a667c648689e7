--- Argument checks of the front: a wrong argument is an ordinary Lua error that names it.
-- It is raised where a script called the public function, whichever function of the front finds it.
local require = require
local caller, slips = require("caspian_net").caller, require("caspian_net").slips
local error, floor, huge, next, rawget, rawequal, setfenv, tostring, type =
  error, math.floor, math.huge, next, rawget, rawequal, setfenv, tostring, type
local tonumber = tonumber
local find, format, gsub, sub = string.find, string.format, string.gsub, string.sub
local rawlen = rawlen -- luacheck: ignore (Lua 5.1 has none, and no __len of tables)
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local args = { slips = slips }

--- Raises an ordinary error where the public function was called: no check counts the functions in between.
local function raise(words)
  local place = caller() -- looks for the front where its own caller is
  error(place .. words, 0)
end
args.raise = raise

--- `file:line` of the script's call, if that is known.
function args.place()
  local place = caller()
  return place ~= "" and sub(place, 1, -3) or nil
end

--- Raises `bad argument #index to 'name' (words)`, or `name: words` for index 0.
local function bad(index, name, words)
  raise(index == 0 and name .. ": " .. words or format("bad argument #%d to '%s' (%s)", index, name, words))
end
args.bad = bad

--- What was given, short enough for a message; never the contents of a table or a long string.
local function show(value)
  local kind = type(value)
  if kind == "string" then
    if #value > 40 then return "a string of " .. #value .. " bytes" end
    return format("%q", value)
  elseif kind == "number" or kind == "boolean" or kind == "nil" then
    return tostring(value)
  end
  return "a " .. kind
end
args.show = show

--- A number as text, alike on every Lua, that loses nothing: `tostring` has 14 digits, too few for a double and for the ids of
-- Lua 5.1, and writes 3.0 for a whole number on some. Nil for what is no number in any protocol: nan and the infinities.
function args.digits(value)
  if value ~= value or value == huge or value == -huge then return nil end
  local text = tostring(value)
  if find(text, "^-?%d+$") then return text end
  if floor(value) == value and value > -2^63 and value < 2^63 then return format("%.0f", value) end
  for precision = 14, 17 do
    text = format("%." .. precision .. "g", value)
    if tonumber(text) == value then break end
  end
  return (gsub(text, ",", ".")) -- a locale's decimal comma
end

--- What a message says of a number that `digits` has no text for.
args.INFINITE = " must be a finite number, got "

--- The arguments without the table that a method call put in front.
function args.own(owner, first, ...)
  if rawequal(first, owner) then return ... end
  return first, ...
end

--- What is copied and looked through, as all strings but contents are: in bytes.
local MOST = 4 * 1024 * 1024
args.MOST = MOST

function args.string(index, name, what, value)
  if type(value) ~= "string" then bad(index, name, what .. " must be a string, got " .. show(value)) end
  if #value > MOST then bad(index, name, what .. " is longer than " .. MOST .. " bytes") end
  return value
end

--- What goes out as it is, of any length.
function args.bytes(index, name, what, value)
  if type(value) ~= "string" then bad(index, name, what .. " must be a string, got " .. show(value)) end
  return value
end

--- Options that are contents.
local CONTENTS = { body = true, body_html = true, body_json = true, data = true }

--- Raises for a string that is too long.
function args.short(index, name, what, value)
  if type(value) == "string" and #value > MOST then
    bad(index, name, what .. " is longer than " .. MOST .. " bytes")
  end
end

--- A file system path: what the system would cut at a NUL is refused.
function args.path(index, name, value)
  if type(value) ~= "string" or value == "" or #value > MOST or find(value, "%c") then
    bad(index, name, "path must be a string without control characters, got " .. show(value))
  end
  return value
end

local function whole(value)
  return type(value) == "number" and value == floor(value) and value > -huge and value < huge
end

--- The length of a caller's table, whose metatable is not asked.
args.length = rawlen or function(list) return #list end

local function is_list_of_strings(value)
  if type(value) ~= "table" then return false end
  local count = 0
  for key, item in next, value do
    if not whole(key) or key < 1 or type(item) ~= "string" then return false end
    count = count + 1
  end
  for index = 1, count do
    if rawget(value, index) == nil then return false end
  end
  return true
end

--- How many items a caller's list has. A hole, or what stands beside the items, is a wrong argument: it would get lost.
function args.items(index, name, what, list)
  local count = 0
  for key in next, list do
    if not whole(key) or key < 1 then bad(index, name, what .. " must be a list, got the key " .. show(key)) end
    count = count + 1
  end
  for at = 1, count do
    if rawget(list, at) == nil then bad(index, name, what .. " has a hole at index " .. at) end
  end
  return count
end

--- What a message says of a value that is not `words`. A number as text is the commonest slip.
local function unlike(words, value)
  if type(value) == "string" then return " must be " .. words .. ": a number, got a string (" .. show(value) .. ")" end
  return " must be " .. words .. ", got " .. show(value)
end

--- `host`: what was given in front of it; `"example.com:80"` says where the port is.
function args.port(index, name, value, lowest, host)
  if not whole(value) or value < (lowest or 1) or value > 65535 then
    local words = unlike(format("%d..65535", lowest or 1), value)
    if value == nil and type(host) == "string" and find(host, "[^:]:%d+$") then words = words .. " (the port is a separate argument)" end
    bad(index, name, "port" .. words)
  end
  return value
end

function args.seconds(index, name, what, value, default)
  if value == nil then return default end
  if type(value) ~= "number" or value ~= value or value < 0 then
    bad(index, name, what .. unlike("0 or more seconds", value))
  end
  return value
end

function args.count(index, name, what, value, lowest, default)
  if value == nil and default then return default end
  if not whole(value) or value < lowest or value > 2 ^ 53 then
    bad(index, name, what .. unlike("a whole number, " .. lowest .. " or more", value))
  end
  return value
end

--- What an option may be: a test and the words for it. What is named like a type of Lua's is that type.
local KINDS = {
  any = { function() return true end, "anything" },
  boolean = { function(v) return type(v) == "boolean" end, "true or false" },
  string = { function(v) return type(v) == "string" end, "a string" },
  strings = { is_list_of_strings, "a list of strings" },
  seconds = { function(v) return type(v) == "number" and v == v and v >= 0 end, "0 or more seconds" },
  count = { function(v) return whole(v) and v >= 1 and v <= 2 ^ 53 end, "a whole number, 1 or more" },
  whole = { function(v) return whole(v) and v >= 0 and v <= 2 ^ 53 end, "a whole number, 0 or more" },
  port = { function(v) return whole(v) and v >= 0 and v <= 65535 end, "a port, 0..65535" },
  table = { function(v) return type(v) == "table" end, "a table" },
  ["function"] = { function(v) return type(v) == "function" end, "a function" },
}
args.kinds = KINDS

-- Numbers that have a unit, which types and pages name.
KINDS.bytes = KINDS.whole -- 0 bytes or more
KINDS.size = KINDS.count  -- 1 byte or more
KINDS.rate = KINDS.whole  -- bytes a second
KINDS.time = KINDS.whole  -- whole seconds, of a duration or since 1970

local NUMBERS = { seconds = true, count = true, whole = true, port = true, bytes = true, size = true, rate = true, time = true }

--- Which options there are, by the class that `meta.lua` has of them: name to kind. Types and pages are held to these tables
-- (`spec/options_spec.lua`), which are what is checked.
args.declared = {}
function args.declare(tables)
  for class, allowed in next, tables do args.declared[class] = allowed end
end

--- Options of functions and methods that have no others. A method's timeout is that of its object, where it is not given.
args.TIMEOUT = { timeout = "seconds" }
args.declare{ Timeout = args.TIMEOUT, Call_options = args.TIMEOUT }

--- What a message says of an option that is not of its kind.
function args.wrong(kind, value)
  local words = KINDS[kind][2]
  if NUMBERS[kind] then return unlike(words, value) end
  return " must be " .. words .. ", got " .. show(value)
end

--- The module of hints. `capability` puts the front's own way to load modules in its place.
function args.hints() return require("caspian.net.hints") end

--- What a message adds for a key that is none of `allowed`.
function args.hint(key, allowed)
  return args.hints()(key, allowed)
end

--- A plain copy of an option table, checked against `allowed` (option name to kind). The table is read raw: its
-- metatable is never asked, and what was checked is what is used.
-- @param place where a table stands that is not the argument itself: `retry`, `body_multipart[2]`
-- @param kept names of options whose tables are handed on as they are: whoever reads them does it once
function args.options(index, name, given, allowed, place, kept)
  if given == nil then return {} end
  if type(given) ~= "table" then bad(index, name, "opts must be a table, got " .. show(given)) end
  local before = place and place .. ": " or ""
  local copy = {}
  for key, value in next, given do
    local kind, is = allowed[key], type(value)
    if not kind then bad(index, name, before .. "unknown option " .. show(key) .. args.hint(key, allowed)) end
    if kind ~= is and not KINDS[kind][1](value) then bad(index, name, before .. key .. args.wrong(kind, value)) end
    if is == "string" and #value > MOST and not CONTENTS[key] then args.short(index, name, before .. key, value) end
    if is == "table" and not (kept and kept[key]) then
      local inner = {}
      for k, v in next, value do inner[k] = v end
      value = inner
    end
    copy[key] = value
  end
  return copy
end

--- The value of a core's answer, or its error raised: a network error as the object it is, a wrong argument as an
-- ordinary Lua error. `shift` is added to the core's argument index.
function args.answer(name, value, err, index)
  if value ~= nil or err == nil then return value end
  if type(err) == "string" then bad(index or 0, name, err) end
  error(err, 0)
end

return args
