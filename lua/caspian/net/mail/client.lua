--- The common base of the clients of SMTP, IMAP, POP3 and FTP: calls with one deadline each, errors that name the call and
-- the server, closing. A client gives no access to the network that made it.
local args = require("caspian.net.args")
local errors = require("caspian.net.errors")
local objects = require("caspian.net.objects")
local abs, error, huge, next, setfenv, setmetatable, tostring, type = math.abs, error, math.huge, next, setfenv, setmetatable, tostring, type
local find, format = string.find, string.format
local io_type = io and io.type -- none in a sandbox without files
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local show = args.show

local M = {}

--- What is behind the objects that scripts hold.
local states = setmetatable({}, { __mode = "k" })

--- A state has: core, attempt (as `within` makes it), channel, host, port, timeout (seconds), label; `ended`, why it is over;
-- `outcome`, what is known of a call that is under way, for its error.
local STATE = {}
STATE.__index = STATE

--- Ends the connection. Fine more than once.
function STATE:finish(why)
  if not self.ended then
    self.ended = why
    self.channel:close()
  end
end

--- The calls of a socket that wait for the server's words.
local RECEIVES = { recv = true, recv_line = true, recv_exact = true }

--- The words of a call that ended in a timeout, or in an error of the socket.
local function words(self, op, err, seconds)
  local awaited = self.channel and self.channel:awaited() or "the connection"
  if err.timeout and abs(err.timeout - seconds) < 1e-6 then
    return format("%s: timed out after %s s, waiting for %s", op, args.digits(seconds), awaited)
  elseif err.op and RECEIVES[err.op] then
    return format("%s: %s: %s", op, awaited, err.message)
  end
  return op .. ": " .. err.message
end

--- An error as the call of a client raises it: it names the call and the server.
function STATE:told(op, err, seconds)
  local own = errors.fields[err]
  if not own then return err end
  return errors.methods().altered(err, {
    op = op, host = own.host or self.host, port = own.port or self.port, message = words(self, op, err, seconds), outcome = self.outcome,
  })
end

local function ended(self, op, seconds, ok, ...)
  self.busy = false
  if ok then
    self.channel.underway = false
    return ...
  end
  local err = ...
  local told = self:told(op, err, seconds)
  self.outcome = nil
  -- Whose answer would come next is not known any more.
  if self.channel.underway then self:finish("after an error") end
  error(told, 0)
end

--- How long each wait of the socket may take. The block around the call has the end of the whole.
local function arm(self, seconds)
  if self.armed ~= seconds then
    self.channel.transport.socket.timeout = seconds
    self.armed = seconds
  end
end

--- Raises where a call cannot be made.
function STATE:usable(op)
  local why = self.busy and "the client is in use by another call" or self.ended and "the connection is closed (" .. self.ended .. ")"
  if why then errors.fail("socket", op .. ": " .. why, { op = op, host = self.host, port = self.port }) end
end

local function start(self, op, seconds)
  self:usable(op)
  arm(self, seconds)
  self.busy = true
end

--- Calls `f(state, …)` under one deadline. An error leaves the connection as it is where nothing of the call was under way,
-- and ends it otherwise.
-- @param op the method's name
-- @param seconds of the whole call. Defaults to the client's timeout
function STATE:call(op, seconds, f, ...)
  seconds = seconds or self.timeout
  start(self, op, seconds)
  return ended(self, op, seconds, self.attempt(seconds, f, self, ...))
end

--- The same for what may be long: without `seconds` each wait alone may take the client's timeout, and not the whole.
function STATE:flow(op, seconds, f, ...)
  if seconds then return self:call(op, seconds, f, ...) end
  start(self, op, self.timeout)
  return ended(self, op, self.timeout, self.attempt(huge, f, self, ...))
end

--- A state around a channel over a socket of ours.
function M.state(fields)
  return setmetatable(fields, STATE)
end

--- Defines the objects of one protocol.
-- @param label "smtp": the kind, and what messages say
-- @param methods by name, each `function(self, …)`; `close` and `<close>` are `goodbye`
-- @param fields by name, each `function(state)`
-- @param goodbye `function(state)`: what is said before the connection is closed
-- @param also another word for `close`. Defaults to none
-- @return `function(state)` that makes an object, and `behind(self, name)` that answers an object's state
function M.class(label, methods, fields, goodbye, also)
  --- The state behind an object, in a method that a script has called.
  local function behind(self, name)
    local state = states[self]
    if not state or state.label ~= label then args.raise(name .. ": call it with a colon, on an " .. label .. " client") end
    return state
  end

  local function close(state)
    if state.ended then return end
    -- In the middle of something nobody would understand a goodbye.
    if not (state.busy or state.channel.underway) then
      arm(state, state.timeout)
      state.attempt(state.timeout, goodbye, state)
    end
    state:finish("it was closed")
  end

  for _, word in next, { "close", also } do
    --- Says goodbye and closes the connection, whatever comes of it. Fine more than once.
    methods[word] = function(self)
      local state = behind(self, word)
      close(state)
    end
  end

  local metatable = { __name = "caspian.net." .. label, __metatable = false }

  function metatable.__index(self, name)
    if methods[name] then return methods[name] end
    local state = states[self]
    if name == "host" or name == "port" or name == "timeout" then return state[name] end
    if name == "connected" or name == "connected?" then return not state.ended and state.channel.transport.socket.connected or false end
    if fields[name] then return fields[name](state) end
  end

  function metatable.__newindex(self, name, value)
    if name ~= "timeout" then error(label .. " client cannot be changed (" .. show(name) .. ")", 2) end
    if type(value) ~= "number" or value ~= value or value < 0 then
      error("timeout must be 0 or more seconds, got " .. show(value), 2)
    end
    states[self].timeout = value
  end

  function metatable.__tostring(self)
    local state = states[self]
    local host = find(state.host, ":", 1, true) and "[" .. state.host .. "]" or state.host
    return format("%s client (%s:%d%s)", label, host, state.port, state.ended and ", closed" or "")
  end

  function metatable.__close(self)
    close(states[self])
  end
  objects.kinds[metatable] = label

  local function object(state)
    state.label = label
    local made = setmetatable({}, metatable)
    states[made] = state
    return made
  end
  return object, behind
end

-- Answers of servers --------------------------------------------------------------------------------------------------

local REFUSAL = {
  __name = "caspian.net.refusal",
  __metatable = false,
  __tostring = function(self) return tostring(self.code) .. " " .. tostring(self.text) end,
}
objects.kinds[REFUSAL] = "refusal"

--- What a server answers who refuses: { code, text }, which prints as both. A call that came to nothing but that returns
-- `nil` and it: `assert(mail:verify(…))` raises it.
function M.refusal(code, text)
  return setmetatable({ code = code, text = text }, REFUSAL)
end

--- A table with names, which goes back as one.
function M.hash(given)
  return setmetatable(given, objects.HASH)
end

--- A copy of such a table of ours, for scripts to keep.
function M.copied(given)
  local copy = {}
  for name, value in next, given do copy[name] = value end
  return M.hash(copy)
end

--- A list, which is one also where it is empty.
function M.array(given)
  return setmetatable(given, objects.ARRAY)
end

-- What callers give ----------------------------------------------------------------------------------------------------

--- True if a value is a file of Lua's that is open.
function M.is_file(value)
  return io_type ~= nil and io_type(value) == "file"
end

--- Checks a text that reaches a line of a command: a string of some bytes, without CR, LF and NUL.
function M.word(index, name, what, value)
  if type(value) ~= "string" then args.bad(index, name, what .. " must be a string, got " .. show(value)) end
  args.short(index, name, what, value)
  if find(value, "[%z\r\n]") then args.bad(index, name, what .. " contains CR, LF or NUL") end
  return value
end

return M
