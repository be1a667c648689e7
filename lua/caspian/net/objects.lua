--- The common base of the objects in scripts: they cannot be changed, and give no access to their internals.
local args = require("caspian.net.args")
local error, getmetatable, next, rawequal, rawget, rawset, setfenv, setmetatable, tostring, type =
  error, getmetatable, next, rawequal, rawget, rawset, setfenv, setmetatable, tostring, type
local lower = string.lower
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local show = args.show

--- What is behind the objects that scripts hold: by object, gone with it.
local states = setmetatable({}, { __mode = "k" })

--- A method, bound to the object whose state that is: both `object.method(…)` and `object:method(…)` call it.
local function bound(method, state)
  return function(first, ...)
    -- The object itself must not be kept from here: what is behind it would keep it alive for ever on Lua 5.1.
    if first ~= nil and rawequal(states[first], state) then
      return (method(state, ...))
    end
    return (method(state, first, ...))
  end
end

--- What `poll` looks at, by the object that scripts hold.
local polled = setmetatable({}, { __mode = "k" })

--- True from a function for what `poll` need not wait for: something was said that nobody has fetched. By object.
local pending = setmetatable({}, { __mode = "k" })

--- Marks the lists that we give, so that an empty one is known for one, and goes back as an array.
local ARRAY = { __name = "caspian.net.array", __metatable = false }

--- Headers by lower-case name, whatever the case they are asked for and set by: `rawget` is a lookup by that name.
local FOLDED = {
  __name = "caspian.net.headers",
  __metatable = false,
  __index = function(self, name)
    if type(name) ~= "string" then return nil end
    return rawget(self, lower(name))
  end,
  __newindex = function(self, name, value)
    rawset(self, type(name) == "string" and lower(name) or name, value)
  end,
}

--- Marks the tables with names that we give.
local HASH = { __name = "caspian.net.hash", __metatable = false }

--- What kind of value has a metatable: `net.kind` looks here, and asks no value.
local kinds = setmetatable({ [ARRAY] = "array", [HASH] = "hash", [FOLDED] = "hash" }, { __mode = "k" })

local function readonly(self, name)
  error(tostring(self) .. " cannot be changed (" .. show(name) .. ")", 2)
end

--- An object of a script's: nothing on it, nothing behind it but `members`. `text` is what `tostring` gives. Defaults to
-- the label. `call`: what it does where it is called itself.
local function sealed(label, members, text, call)
  local metatable = {
    __name = "caspian.net." .. label,
    __metatable = false,
    __index = members,
    __newindex = readonly,
    __tostring = function() return text or label end,
    __pairs = function(self)
      return function(_, key) return next(members, key) end, self, nil
    end,
    __call = call,
  }
  kinds[metatable] = label
  return setmetatable({}, metatable)
end

--- Marks a caller's table as an array, or makes one: `net.array` and `json.array`, which call this.
local function array(core, list)
  if list == nil then list = {} end
  if type(list) ~= "table" then args.bad(1, "array", "a table expected, got " .. show(list)) end
  local kind, metatable = core.kind(list), getmetatable(list)
  if kind == "array" then return list end
  if metatable ~= nil and (kind ~= "hash" or not metatable) then
    args.bad(1, "array", "the table has a metatable of its own")
  end
  args.answer("array", core.codec_array(list))
  return list
end

return {
  ARRAY = ARRAY, FOLDED = FOLDED, HASH = HASH, array = array, bound = bound, kinds = kinds, pending = pending, polled = polled,
  states = states, readonly = readonly, sealed = sealed,
}
