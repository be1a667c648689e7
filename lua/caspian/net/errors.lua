--- Error objects: tables with the fields of the contract, which cannot be changed, and one locked metatable.
-- The core makes them; they are raised here, in the front, so that they are the same objects on every Lua. Their methods are
-- in `error_methods`, which is compiled on first use.
local tell = require("caspian_net").tell
local error, setfenv, setmetatable, type = error, setfenv, setmetatable, type
local getinfo = debug and debug.getinfo -- none in a sandbox: then an error does not know its line
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

--- What is behind an error: its fields, by object. They are not on it, since nothing hinders an assignment to a field that
-- is there.
local fields = setmetatable({}, { __mode = "k" })

local metatable = { __name = "caspian.net.error", __metatable = false }

local M = {
  metatable = metatable, fields = fields, getinfo = getinfo,
  -- What raises errors: `error`, and the core's functions that do without the front.
  raisers = { [error] = true },
  -- What a Rust host wants to know: which error is made text. None elsewhere.
  tell = tell,
  -- The module `error_methods`: `capability` has the function that loads it.
  methods = nil,
}

--- Raises an error of the front's own. `class`: its last word; `given`: fields besides class and message.
function M.fail(class, message, given)
  error(M.methods().made(class, message, nil, given), 0)
end

function metatable.__index(self, name)
  local own = fields[self]
  local value = own and own[name]
  if value == nil and name == "is" then return M.methods().is end
  return value
end

function metatable.__newindex(_, name)
  error("an error cannot be changed (" .. (type(name) == "string" and name or type(name)) .. ")", 2)
end

function metatable.__pairs(self)
  return M.methods().pairs(self)
end

function metatable.__tostring(self)
  return (M.methods().text(self)) -- no tail call: it looks for what raised the error two levels above this function
end

function metatable.__concat(left, right)
  return M.methods().joined(left, right)
end

return M
