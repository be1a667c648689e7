--- Cookie jars, and the options `cookies` and `auth`.
local args = require("caspian.net.args")
local kinds = require("caspian.net.objects").kinds
local error, next, rawget, setfenv, setmetatable, type =
  error, next, rawget, setfenv, setmetatable, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, length, show = args.answer, args.bad, args.length, args.show

local M = {}

--- What is behind the jars that scripts hold: { core =, jar = }.
local jars = setmetatable({}, { __mode = "k" })

--- A record of a jar, as `records` gives it and `load` takes it.
local RECORD = {
  name = "string", value = "string",
  domain = "string",              -- without a leading dot
  host_only = "boolean",          -- true; false: for the hosts below it too
  path = "string",                -- defaults to "/"
  secure = "boolean",             -- false
  http_only = "boolean",          -- false
  same_site = "string",           -- "default"; or "strict", "lax", "none": kept, nothing more
  expires = "time",               -- seconds since 1970; nil: for as long as the jar lives
  created = "time",
}
args.declare{ Cookie = RECORD }

--- More than three times what a jar keeps.
local MOST = 10000

local METHODS = {}

local function behind(self, name)
  local state = jars[self]
  if not state then args.raise(name .. ": call it with a colon, on a jar") end
  return state
end

--- The cookies as plain tables, oldest first: what `load` takes.
function METHODS.records(self)
  local state = behind(self, "records")
  return (answer("records", state.core.jar_records(state.jar)))
end

--- Puts records into a jar; how many were taken. They are argument 1 of the public function.
local function load(core, jar, name, list)
  if type(list) ~= "table" then bad(1, name, "a list of records expected, got " .. show(list)) end
  local records, count = {}, length(list)
  if count > MOST then bad(1, name, "a list of at most " .. MOST .. " records expected, got " .. count) end
  for index = 1, count do
    local record = rawget(list, index)
    if type(record) ~= "table" then bad(1, name, "records must be tables, got " .. show(record)) end
    records[index] = args.options(1, name, record, RECORD, "records[" .. index .. "]")
  end
  local taken, err, index = core.jar_load(jar, records)
  if taken == nil then
    if type(err) ~= "string" then error(err, 0) end
    bad(index or 0, name, err)
  end
  return taken
end

--- Adds saved cookies. What no server could have set is left out, and so is what has expired.
-- @return how many were taken
function METHODS.load(self, list)
  local state = behind(self, "load")
  return load(state.core, state.jar, "load", list)
end

--- Takes in a `Set-Cookie` value as if the server at `url` had sent it.
-- @return true if the rules let it in
function METHODS.set(self, url, line)
  local state = behind(self, "set")
  args.string(1, "set", "url", url)
  args.string(2, "set", "line", line)
  return (answer("set", state.core.jar_set(state.jar, url, line)))
end

--- The value of `Cookie` for a request to `url`; nil if there is none.
function METHODS.header(self, url)
  local state = behind(self, "header")
  args.string(1, "header", "url", url)
  return answer("header", state.core.jar_header(state.jar, url))
end

function METHODS.clear(self)
  local state = behind(self, "clear")
  state.core.jar_clear(state.jar)
end

local metatable = {
  __name = "caspian.net.jar",
  __metatable = false,
  __index = METHODS,
  __newindex = function(_, name) error("jar cannot be changed (" .. show(name) .. ")", 2) end,
  __tostring = function() return "jar" end,
}
kinds[metatable] = "jar"

M.load = load

--- The object for a jar of the core's.
function M.jar(core, jar)
  local object = setmetatable({}, metatable)
  jars[object] = { core = core, jar = jar }
  return object
end

--- The option `cookies` for the core: true, a jar of its own, false, or nil.
function M.cookies(value, name, at)
  if value == nil or type(value) == "boolean" then return value end
  local state = type(value) == "table" and jars[value]
  if not state then bad(at, name, "cookies must be true, false or a jar, got " .. show(value)) end
  return state.jar
end

local AUTH = { user = "string", password = "string", scheme = "string", bearer = "string" }
args.declare{ Auth = AUTH }
local SCHEMES = { basic = true, challenge = true, digest = true }

--- The option `auth` for the core: { user, password }, by place or by name, with `scheme`; or { bearer = token }.
function M.auth(value, name, at)
  if value == nil or value == false then return value end
  if type(value) ~= "table" then bad(at, name, "auth must be a table, got a " .. type(value)) end
  local given = {}
  for key, part in next, value do
    local known = key == 1 and "user" or key == 2 and "password" or key
    -- A value is never shown: it may be the password.
    if type(known) ~= "string" or not AUTH[known] then
      bad(at, name, "auth has an unknown field; its fields are user, password, scheme and bearer")
    end
    if type(part) ~= "string" then
      bad(at, name, "auth." .. known .. " must be a string, got a " .. type(part))
    end
    args.short(at, name, "auth." .. known, part)
    if given[known] then bad(at, name, "auth." .. known .. " is given twice") end
    given[known] = part
  end
  if given.scheme and not SCHEMES[given.scheme] then
    bad(at, name, "auth.scheme must be \"basic\", \"digest\" or \"challenge\"")
  end
  if given.bearer then
    if given.user or given.password or given.scheme then
      bad(at, name, "auth.bearer excludes user, password and scheme")
    end
  elseif not given.user or not given.password then
    bad(at, name, "auth must have user and password, or bearer")
  end
  return given
end

return M
