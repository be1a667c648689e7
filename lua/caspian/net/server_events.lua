--- Event streams of a server's side (Server-Sent Events, WHATWG HTML section 9.2).
local args = require("caspian.net.args")
local keys = require("caspian.net.server_objects")
local made = require("caspian.net.error_methods").made
local objects = require("caspian.net.objects")
local error, next, setfenv, type = error, next, setfenv, type
local concat, find, format, gmatch, gsub = table.concat, string.find, string.format, string.gmatch, string.gsub
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, own = args.bad, args.own
local ANSWERED, CORE, HANDLE = keys.ANSWERED, keys.CORE, keys.HANDLE

--- What an event may have.
local EVENT = { event = "string", data = "string", id = "string", retry = "seconds" }

--- A line of an event stream: what would end it is refused.
local function line(name, field, text)
  if find(text, "[%z\r\n]") then bad(1, name, field .. " contains CR, LF or NUL") end
  return field .. ": " .. text .. "\n"
end

--- Every line of a text behind a word.
local function lines(word, text)
  local out = {}
  for each in gmatch(gsub(gsub(text, "\r\n", "\n"), "\r", "\n") .. "\n", "([^\n]*)\n") do out[#out + 1] = word .. each .. "\n" end
  return concat(out)
end

local EVENTS_OPTIONS = { headers = "table", timeout = "seconds", retry = "seconds" }
args.declare{ Event_stream_options = EVENTS_OPTIONS, Sent_event = EVENT }

--- Answers with an event stream (Server-Sent Events), and returns it: `send{ event =, data =, id =, retry = }`, `comment(text)`,
-- `close()`. What a client does not take is held up to 256 KiB; then `send` waits for `timeout` (30 s). One that is gone:
-- `connection_reset`. opts: headers, timeout, retry (seconds until a client comes back)
local function events(state, opts)
  opts = args.options(1, "events", opts, EVENTS_OPTIONS)
  local core, handle = state[CORE], state[HANDLE]
  local headers = { ["Content-Type"] = "text/event-stream", ["Cache-Control"] = "no-store" }
  for name, value in next, opts.headers or {} do headers[name] = value end
  local name, err, index = core.request_stream(handle, 200, headers, true)
  state[ANSWERED] = state[ANSWERED] or type(err) ~= "string"
  if name == nil then
    if type(err) == "string" then bad(index == 2 and 1 or index or 0, "events", err) end
    error(err, 0)
  end
  local members, open = {}, name ~= false
  local object
  local function put(text)
    if not open then error(made("socket", "send: the event stream is closed", "send"), 0) end
    local done, why = core.request_piece(handle, text, opts.timeout or 30)
    if done == nil then
      if why:is("connection_reset") then open = false end
      error(why, 0)
    end
    return true
  end

  --- Sends an event. data: its lines may end in any way; retry: seconds.
  function members.send(...)
    local event = own(object, ...)
    event = args.options(1, "send", event, EVENT)
    local out = {}
    if event.event then out[#out + 1] = line("send", "event", event.event) end
    if event.id then out[#out + 1] = line("send", "id", event.id) end
    if event.retry then out[#out + 1] = format("retry: %.0f\n", event.retry * 1000) end
    if event.data then out[#out + 1] = lines("data: ", event.data) end
    if #out == 0 then bad(1, "send", "an event must have event, data, id or retry") end
    out[#out + 1] = "\n"
    put(concat(out))
  end

  --- Sends a comment: clients pass over it, and proxies see that the connection lives.
  function members.comment(...)
    local text = own(object, ...)
    if text == nil then text = "" end
    args.string(1, "comment", "text", text)
    put(lines(": ", text) .. "\n")
  end

  --- Ends the stream.
  function members.close()
    if not open then return end
    open = false
    core.request_finish(handle)
  end

  --- True while the client is there, as far as is known.
  function members.is_open()
    -- By `state` the server lives as long as the stream.
    open = open and state[CORE].request_get(state[HANDLE], "there")
    return open
  end

  object = objects.sealed("event_stream", members)
  objects.polled[object] = handle
  if open and opts.retry then members.send{ retry = opts.retry } end
  return object
end

return { events = events }
