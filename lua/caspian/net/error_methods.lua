--- The methods of errors: their class, their text, and the place that raised them; and the errors that the front itself makes.
local args = require("caspian.net.args")
local errors = require("caspian.net.errors")
local HASH = require("caspian.net.objects").HASH
local error, next, setfenv, setmetatable, type = error, next, setfenv, setmetatable, type
local find, gsub, match, sub = string.find, string.gsub, string.match, string.sub
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local fields, getinfo, metatable, raisers, tell = errors.fields, errors.getinfo, errors.metatable, errors.raisers, errors.tell

local PREFIX = "puck.uno/error/"
local NETWORK = PREFIX .. "network"

--- The last words of the classes, and what each is a special case of.
local WORDS = {
  host_not_allowed = "network",
  port_not_allowed = "network",
  address_not_allowed = "host_not_allowed",
  request_not_allowed = "host_not_allowed",
  timeout = "network",
  connection_refused = "network",
  connection_reset = "network",
  dns_failure = "network",
  tls = "network",
  protocol = "network",
  too_large = "protocol",
  socket = "network",
}

--- Each class by its whole name, with its parent's; and with its last word.
local PARENT, LAST = { [NETWORK] = "puck.uno/error" }, {}
for word, parent in next, WORDS do
  LAST[NETWORK .. "/" .. word] = word
  PARENT[NETWORK .. "/" .. word] = parent == "network" and NETWORK or NETWORK .. "/" .. parent
end

--- Classes that are not the network's.
for name, parent in next, {
  ["puck.uno/touchstone/error"] = "puck.uno/error",
  ["puck.uno/touchstone/error/sammy"] = "puck.uno/touchstone/error",
  ["puck.uno/touchstone/error/sammy/no_cookie_domain"] = "puck.uno/touchstone/error/sammy",
  ["puck.uno/error/uds"] = "puck.uno/error",
  ["puck.uno/error/uds/server_used_in_fork"] = "puck.uno/error/uds",
} do PARENT[name] = parent end

--- The mark in the fields of an error whose text never says a line: below it a guard's host may stand.
local PLACELESS = {}

local M = { PLACELESS = PLACELESS }

--- The whole name of a class: `timeout`, `network/timeout`, with or without `puck.uno/error/` and `https://` before it.
local function whole(class)
  local name = gsub(class, "^https?://", "")
  if name == "puck.uno/error" or PARENT[name] then return name end
  if PARENT[PREFIX .. name] then return PREFIX .. name end
  if PARENT[NETWORK .. "/" .. name] then return NETWORK .. "/" .. name end
end

--- True if the error is of that class or a special case of it.
-- @param class `timeout`, `network/timeout`, `puck.uno/error/network/timeout`; `network` is every error of ours
function M.is(self, class)
  local own = fields[self]
  if not own then error("is: call it with a colon, on an error", 2) end
  local asked = type(class) == "string" and whole(class)
  if not asked then
    local word = type(class) == "string" and match(class, "[^/]*$")
    args.bad(1, "is", "unknown error class " .. args.show(class) .. (word and args.hint(word, WORDS) or ""))
  end
  local name = own.class
  while name do
    if name == asked then return true end
    name = PARENT[name]
  end
  return false
end

--- The last word of an error's class: `timeout`; nil for another value.
function M.word(value)
  local own = fields[value]
  return own and LAST[own.class]
end

--- The directory of the front's files, as functions in them say where they are from.
local home = getinfo and match(getinfo(metatable.__tostring, "S").source, "^(.*)[/\\]errors%.lua$")

--- `file:line: ` where the error that is on its way was raised; "" unless a message handler asks: `xpcall(main, tostring)`, or
-- the `lua` program, at its end.
local function place()
  if not home then return "" end
  -- 1 is this function, 3 `__tostring`, 4 the handler in C, 5 what raised the error. LuaJIT's `tostring` has no level.
  local level = 4
  local raiser = getinfo(4, "Sf")
  if raiser and raiser.what == "C" and not raisers[raiser.func] then level, raiser = 5, getinfo(5, "f") end
  if not (raiser and raisers[raiser.func]) then return "" end
  while true do
    level = level + 1
    local info = getinfo(level, "Sl")
    if not info then return "" end
    if info.currentline > 0 and sub(info.source, 1, #home) ~= home then
      return info.short_src .. ":" .. info.currentline .. ": "
    end
  end
end

--- One clear line: `network/timeout: recv from 127.0.0.1:80: timed out after 5 s`.
local function line(own)
  return gsub(gsub(own.class, "^puck%.uno/", ""), "^error/", "") .. ": " .. own.message
end

--- The error as text.
function M.text(self)
  local own = fields[self]
  if not own then return "network: ?" end
  local text = (own[PLACELESS] and "" or place()) .. line(own)
  if tell then tell(self, text) end
  return text
end

--- A copy of the fields, for `pairs`.
function M.pairs(self)
  local copy = {}
  for name, value in next, fields[self] or copy do
    if name ~= PLACELESS then copy[name] = value end
  end
  return next, copy, nil
end

--- A part of a text: of other values only what `..` takes by itself.
local function part(value)
  if type(value) == "string" or type(value) == "number" then return value end
  local own = fields[value]
  return own and line(own)
end

--- What `..` makes of an error and another value.
function M.joined(left, right)
  local before, after = part(left), part(right)
  if not before then args.raise("attempt to concatenate a " .. type(left) .. " value with an error") end
  if not after then args.raise("attempt to concatenate an error with a " .. type(right) .. " value") end
  return before .. after
end

--- An error of the front's own. `class`: the last word; `given`: its other fields.
function M.made(class, message, op, given)
  local own = { class = NETWORK .. "/" .. class, message = message, op = op }
  for name, value in next, given or {} do own[name] = value end
  local object = setmetatable({}, metatable)
  fields[object] = own
  return object
end

--- An error of a class that is not the network's, by its whole name.
function M.classed(class, message, op)
  local object = setmetatable({}, metatable)
  fields[object] = { class = class, message = message, op = op }
  return object
end

--- The same error with other fields: `false` takes one away.
function M.altered(err, changes)
  local own = {}
  for name, value in next, fields[err] do own[name] = value end
  for name, value in next, changes do own[name] = value or nil end
  local object = setmetatable({}, metatable)
  fields[object] = own
  return object
end

--- What is wrong with a body as JSON, with the URL that it is from: without its query, where secrets stand.
-- @param streamed true where the body was not gathered
function M.malformed(err, url, streamed)
  local own = fields[err]
  if not own then return err end
  local from = type(url) == "string" and match(url, "^[^?#]*") or nil
  if from and find(from, "@", 1, true) then from = nil end
  return M.altered(err, {
    message = (from and from .. ": " or "") .. own.message
      .. (streamed and " (the response is streamed: json() and text() return the part that was not read yet)" or ""),
    op = "json", url = from,
  })
end

--- The classes with their parents, for whoever asks.
function M.classes()
  local copy = {}
  for name, parent in next, PARENT do copy[name] = parent end
  return setmetatable(copy, HASH)
end

return M
