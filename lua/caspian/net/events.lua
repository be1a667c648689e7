--- Event streams (Server-Sent Events): the object that `net.events` returns.
--
--   local stream = net.events("https://example.com/feed")
--   for event in stream:each() do print(event.event, event.data, event.id) end
local args = require("caspian.net.args")
local objects = require("caspian.net.objects")
local error, setfenv, setmetatable, type = error, setfenv, setmetatable, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, options, show = args.answer, args.options, args.show

local M = {}

--- What is behind the streams that scripts hold: { core =, feed =, timeout = }.
local states = setmetatable({}, { __mode = "k" })

local TIMEOUT = args.TIMEOUT

local METHODS = {}

local function behind(self, name)
  local state = states[self]
  if not state then args.raise(name .. ": call it with a colon, on an event stream") end
  return state
end

local function take(state, timeout)
  local event, data, id = state.core.events_next(state.feed, timeout or state.timeout)
  if event == nil then error(data, 0) end
  if not event then return nil end
  return setmetatable({ event = event, data = data, id = id }, objects.HASH)
end

--- The next event, { event =, data =, id = }; nil once the server has ended the stream. After a timeout nothing is lost:
-- call it again. opts: timeout (that of the stream, which defaults to 30 s; waits between connections count)
function METHODS.next(self, opts)
  local state = behind(self, "next")
  opts = options(1, "next", opts, TIMEOUT)
  return take(state, opts.timeout)
end

--- An iterator over the events that follow.
function METHODS.each(self, opts)
  local state = behind(self, "each")
  opts = options(1, "each", opts, TIMEOUT)
  return function()
    return take(state, opts.timeout)
  end
end

--- Ends the stream. Fine more than once.
function METHODS.close(self)
  local state = behind(self, "close")
  answer("close", state.core.events_close(state.feed))
end

local stream = { __name = "caspian.net.events", __metatable = false }
objects.kinds[stream] = "events"

--- Fields: url (redirects followed), last_event_id (to go on from there later; ""), retry (seconds before coming back),
-- timeout (of each call; can be set).
function stream.__index(self, name)
  local state = states[self]
  if name == "timeout" then return state.timeout or 30 end
  if name == "url" or name == "last_event_id" or name == "retry" then
    local url, id, retry = state.core.events_info(state.feed)
    if url == nil then answer(name, url, id) end
    return name == "url" and url or name == "retry" and retry or id
  end
  return METHODS[name]
end

function stream.__newindex(self, name, value)
  if name ~= "timeout" then error("event stream cannot be changed (" .. show(name) .. ")", 2) end
  if type(value) ~= "number" or value ~= value or value < 0 then
    error("timeout must be 0 or more seconds, got " .. show(value), 2)
  end
  states[self].timeout = value
end

function stream.__tostring() return "event stream" end

function stream.__close(self)
  METHODS.close(self)
end

--- The object for a stream of the core's.
function M.object(core, feed, timeout)
  local object = setmetatable({}, stream)
  states[object], objects.polled[object] = { core = core, feed = feed, timeout = timeout }, feed
  return object
end

return M
