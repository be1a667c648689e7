--- What the objects that scripts hold have in common: nothing on them can be changed, and nothing leads behind them.
local args = require("caspian.net.args")
local error, next, rawget, rawset, setfenv, setmetatable, tostring, type =
  error, next, rawget, rawset, setfenv, setmetatable, tostring, type
local lower = string.lower
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local show = args.show

--- What is behind the objects that scripts hold: by object, gone with it.
local states = setmetatable({}, { __mode = "k" })

--- Marks decoded arrays, so that an empty one goes back as an array.
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

local function readonly(self, name)
  error(tostring(self) .. " cannot be changed (" .. show(name) .. ")", 2)
end

--- An object of a script's: nothing on it, nothing behind it but `members`. `text` is what `tostring` gives. Defaults to
-- the label.
local function sealed(label, members, text)
  return setmetatable({}, {
    __name = "caspian.net." .. label,
    __metatable = false,
    __index = members,
    __newindex = readonly,
    __tostring = function() return text or label end,
    __pairs = function(self)
      return function(_, key) return next(members, key) end, self, nil
    end,
  })
end

return { ARRAY = ARRAY, FOLDED = FOLDED, states = states, readonly = readonly, sealed = sealed }
