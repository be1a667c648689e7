--- Requests that a server hands out: their fields, made when they are asked for, and their answers.
local args = require("caspian.net.args")
local objects = require("caspian.net.objects")
local error, next, pcall, rawequal, setfenv, setmetatable, tostring, type =
  error, next, pcall, rawequal, setfenv, setmetatable, tostring, type
local made = require("caspian.net.error_methods").made
local concat, find, format, gmatch, gsub = table.concat, string.find, string.format, string.gmatch, string.gsub
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, own, show = args.answer, args.bad, args.own, args.show
local states, ARRAY, HASH, FOLDED = objects.states, objects.ARRAY, objects.HASH, objects.FOLDED

--- What is behind a request, by keys that no script has, in one table with the fields that it may see. HANDLE: the core's;
-- SERVER: its server, which lives as long as the request; BEHIND: the server's state.
-- PARTS: those of its form, false without one.
local BEHIND, CORE, HANDLE, PARTS, SERVER = {}, {}, {}, {}, {}

local M = {}

--- A method, bound to its object.
function M.bound(method, state)
  return function(first, ...)
    local result
    if first ~= nil and rawequal(states[first], state) then
      result = method(state, ...)
    else
      result = method(state, first, ...)
    end
    return result
  end
end

--- The fields that the core answers.
local FIELDS = {}
for _, name in next, {
  "id", "method", "target", "path", "query", "version", "scheme", "host", "headers", "raw_headers", "cookies", "body",
  "content_length", "remote_host", "remote_port", "peer", "tls",
} do FIELDS[name] = true end

--- What is behind a part of a form. START, LENGTH: where it is in the body; PLACE: where the next read begins.
local LENGTH, PLACE, START = {}, {}, {}

--- The methods of parts, as those of requests.
local PART = {}

--- `count` bytes of the part, fewer only at its end, nil after it; without `count` all that is left.
function PART.read(state, count)
  if count ~= nil then args.count(1, "read", "count", count, 1) end
  local left = state[LENGTH] - state[PLACE]
  if left <= 0 then return nil end
  if not count or count > left then count = left end
  local bytes, err = state[CORE].request_slice(state[HANDLE], state[START] + state[PLACE], count)
  if bytes == nil then error(err, 0) end
  state[PLACE] = state[PLACE] + #bytes
  return bytes
end

--- Writes what is left of the part to an open file; answers how many bytes.
function PART.save(state, file)
  return M.save(file, function() return PART.read(state, 65536) end)
end

--- All of the part, as it came.
function PART.text(state)
  local bytes, err = state[CORE].request_slice(state[HANDLE], state[START], state[LENGTH])
  if bytes == nil then error(err, 0) end
  return bytes
end

local part = { __name = "caspian.net.part", __metatable = false, __newindex = objects.readonly }
objects.kinds[part] = "part"

function part.__index(self, name)
  local state = states[self]
  local value = state[name]
  if value == nil and PART[name] then
    value = M.bound(PART[name], state)
    state[name] = value
  end
  return value
end

function part.__tostring(self)
  return "part " .. self.name
end

--- The parts of a form, made once; nil where the body is no multipart form.
local function parts_of(state)
  if state[PARTS] ~= nil then return state[PARTS] end
  local rows, err = state[CORE].request_parts(state[HANDLE])
  if rows == nil and err ~= nil then error(err, 0) end
  local parts = false
  if rows then
    parts = setmetatable({}, ARRAY)
    for at, row in next, rows do
      local object, headers = setmetatable({}, part), setmetatable(row[3], FOLDED)
      states[object] = {
        [CORE] = state[CORE], [HANDLE] = state[HANDLE], [SERVER] = state[SERVER], [START] = row[4], [LENGTH] = row[5], [PLACE] = 0,
        name = row[1], filename = row[2], headers = headers, content_type = headers["content-type"], size = row[5],
      }
      parts[at] = object
    end
  end
  state[PARTS] = parts
  return parts
end

--- The value of a part: its text, or itself where it is a file.
local function value_of(object)
  if object.filename ~= nil then return object end
  return object.text()
end

--- All pairs of a request, in order: the query's, then the form's.
local function pairs_of(state)
  local core, handle = state[CORE], state[HANDLE]
  local all = {}
  for _, what in next, { "query", "form" } do
    local flat, err = core.request_pairs(handle, what)
    if flat == nil and err ~= nil then error(err, 0) end
    for at = 1, flat and #flat or 0, 2 do
      all[#all + 1] = setmetatable({ flat[at], flat[at + 1] }, ARRAY)
    end
  end
  for _, object in next, parts_of(state) or {} do
    all[#all + 1] = setmetatable({ object.name, value_of(object) }, ARRAY)
  end
  return all
end

--- Fields that are made here.
local LAZY = {
  param_array = function(state) return setmetatable(pairs_of(state), ARRAY) end,
  params = function(state)
    local params = {}
    for _, pair in next, pairs_of(state) do params[pair[1]] = pair[2] end
    return setmetatable(params, HASH)
  end,
  param_hash = function(state)
    local core = state[CORE]
    local query = core.request_get(state[HANDLE], "query")
    if not query then return nil end
    return (core.json_decode(core.request_decode(query, false)))
  end,
}

--- The methods of requests. They get what is behind the request; a script calls them with a dot or a colon.
local REQUEST = {}

--- The body as it came: nil where it went to a file.
local function body_of(state)
  if state.body == nil then state.body = answer("body", state[CORE].request_get(state[HANDLE], "body")) end
  return state.body
end

--- The whole body, wherever it is.
local function whole(state)
  local body = body_of(state)
  if body then return body end
  local parts = {}
  while true do
    local piece, err = state[CORE].request_read(state[HANDLE], 1048576)
    if piece == nil then
      if err ~= nil then error(err, 0) end
      break
    end
    parts[#parts + 1] = piece
  end
  return concat(parts)
end

--- The body in UTF-8, decoded by the charset of its Content-Type. Defaults to UTF-8.
function REQUEST.text(state)
  local text, err = state[CORE].request_text(state[HANDLE], whole(state))
  if text == nil then error(err, 0) end
  return text
end

--- The body as a Lua value; `null` is `net.null`.
function REQUEST.json(state)
  local value, err = state[CORE].json_decode(whole(state))
  if value == nil then error(err, 0) end
  return value
end

--- The fields of a form, the last of a name; nil where the body is no form.
function REQUEST.form(state)
  local flat, err = state[CORE].request_pairs(state[HANDLE], "form")
  if flat == nil then
    if err ~= nil then error(err, 0) end
    local parts = parts_of(state)
    if not parts then return nil end
    local form = {}
    for _, object in next, parts do form[object.name] = value_of(object) end
    return setmetatable(form, HASH)
  end
  local form = {}
  for at = 1, #flat, 2 do form[flat[at]] = flat[at + 1] end
  return setmetatable(form, HASH)
end

--- The parts of a multipart form, in order: each has `name filename content_type headers size`, and `read(n)`, `save(file)` and
-- `text()`. nil where the body is none.
function REQUEST.parts(state)
  return parts_of(state) or nil
end

--- `count` bytes of the body, fewer only at its end, nil after it; without `count` all that is left.
function REQUEST.read(state, count)
  if count ~= nil then args.count(1, "read", "count", count, 1) end
  local bytes, err = state[CORE].request_read(state[HANDLE], count)
  if bytes == nil and err ~= nil then error(err, 0) end
  return bytes
end

--- Writes what is left of the body to an open file; answers how many bytes.
function REQUEST.save(state, file)
  return M.save(file, function() return REQUEST.read(state, 65536) end)
end

--- Writes what `read` answers to an open file, to its end; answers how many bytes.
function M.save(file, read)
  if type(file) ~= "userdata" and type(file) ~= "table" then bad(1, "save", "an open file expected, got " .. show(file), 1) end
  local total = 0
  while true do
    local bytes = read()
    if bytes == nil then return total end
    local done, why = file:write(bytes)
    if not done then error("save: " .. tostring(why), 0) end
    total = total + #bytes
  end
end

--- Answers: the keys of a response table.
local RESPONSE = {
  status = "any", headers = "any", body = "any", body_json = "any", body_file = "any",
}

--- Raises where an answer of the core's says so. `at`: what its arguments 1 and 2 are to the caller.
local function told(value, err, index, depth)
  if value ~= nil or err == nil then return value end
  if type(err) == "string" then bad(index or 0, "respond", err, depth + 1) end
  error(err, 0)
end

--- Streams what `produce` answers, piece by piece, as fast as the client takes it: what it does not take now waits for a note.
local function stream(state, status, headers, produce, depth)
  local core, handle, server = state[CORE], state[HANDLE], state[BEHIND]
  local name, err, index = core.request_stream(handle, status, headers)
  if told(name, err, index, depth + 1) == false then return false end
  local running = false
  local function cut(why)
    server.streams[name] = nil
    core.request_abort(handle)
    if why ~= nil then server.report(why) end
  end
  local function more()
    -- The producer may wait on this very server.
    if running then return end
    running = true
    while true do
      local ok, piece = pcall(produce)
      if not ok then
        running = false
        return cut(piece)
      end
      if piece == nil then
        server.streams[name] = nil
        core.request_finish(handle)
        return
      end
      if type(piece) ~= "string" then
        running = false
        return cut("respond: a body's function must answer strings, got " .. show(piece))
      end
      local room = core.request_piece(handle, piece)
      if room == nil then
        -- The client is gone.
        server.streams[name] = nil
        return
      elseif room == false then
        running = false
        return
      end
    end
  end
  server.streams[name] = more
  more()
  return true
end

--- Answers a request. `depth` as in `args`.
local function respond(state, status, headers, body, depth)
  local core, handle = state[CORE], state[HANDLE]
  local at, kind, file = 2, nil, nil
  if type(status) == "table" then
    if headers ~= nil or body ~= nil then bad(2, "respond", "a response table stands alone", depth) end
    local given = args.options(1, "respond", status, RESPONSE, depth)
    at = 1
    status, headers, body, file = given.status, given.headers, given.body, given.body_file
    if status == nil then status = 200 end
    local count = (body ~= nil and 1 or 0) + (given.body_json ~= nil and 1 or 0) + (file ~= nil and 1 or 0)
    if count > 1 then bad(1, "respond", "only one of body, body_json and body_file", depth) end
    if given.body_json ~= nil then
      local text, err = core.json_encode(given.body_json, 1)
      if text == nil then bad(1, "respond", err, depth) end
      body, kind = text, "application/json"
    end
  end
  if type(status) ~= "number" then bad(1, "respond", "status must be a number, got " .. show(status), depth) end
  if headers ~= nil and type(headers) ~= "table" then
    bad(at, "respond", "headers must be a table, got " .. show(headers), depth)
  end
  if type(body) == "function" then return stream(state, status, headers, body, depth + 1) end
  if file ~= nil then
    -- Or a file that a directory of the core's has opened.
    if type(file) ~= "string" and type(file) ~= "userdata" then bad(1, "respond", "body_file must be a path, got " .. show(file), depth) end
    local done, err, index = core.request_file(handle, status, headers, file)
    return told(done, err, index, depth + 1)
  end
  if body ~= nil and type(body) ~= "string" then
    bad(at == 1 and 1 or 3, "respond", "body must be a string or a function, got " .. show(body), depth)
  end
  local done, err, index = core.request_respond(handle, status, headers, body, kind)
  return told(done, err, at == 1 and index ~= nil and index > 0 and 1 or index, depth + 1)
end

--- Answers: `respond(status, headers?, body?)`, or `respond{ status =, headers =, body = | body_json = | body_file = }`. A body
-- that is a function answers its pieces, and nil at the end. False where the client is gone.
function REQUEST.respond(state, status, headers, body)
  local done = respond(state, status, headers, body, 1)
  return done
end

--- What a WebSocket may be told.
local WEBSOCKET = {
  headers = "table",
  subprotocols = "strings",       -- in order of preference; the first that the client offers is chosen
  timeout = "seconds",            -- 30; of each later call
  max_message_bytes = "whole",    -- 16 MiB
  max_frame_bytes = "whole",      -- max_message_bytes
}

--- Turns the request into a WebSocket, and returns it. A request that asks for none is answered 400 or 426, and `protocol` raised.
function REQUEST.websocket(state, opts)
  opts = args.options(1, "websocket", opts, WEBSOCKET)
  local headers = opts.headers
  opts.headers = nil
  local socket, err, index = state[CORE].request_websocket(state[HANDLE], headers, opts)
  if socket == nil then
    if type(err) == "string" then bad(index or 0, "websocket", err) end
    error(err, 0)
  end
  return socket
end

--- What an event may have.
local EVENT = { event = "string", data = "string", id = "string", retry = "seconds" }

--- A line of an event stream: what would end it is refused.
local function line(name, field, text)
  if find(text, "[%z\r\n]") then bad(1, name, field .. " contains CR, LF or NUL", 1) end
  return field .. ": " .. text .. "\n"
end

--- Every line of a text behind a word.
local function lines(word, text)
  local out = {}
  for each in gmatch(gsub(gsub(text, "\r\n", "\n"), "\r", "\n") .. "\n", "([^\n]*)\n") do out[#out + 1] = word .. each .. "\n" end
  return concat(out)
end

local EVENTS_OPTIONS = { headers = "table", timeout = "seconds", retry = "seconds" }

--- Answers with an event stream (Server-Sent Events), and returns it: `send{ event =, data =, id =, retry = }`, `comment(text)`,
-- `close()`. What a client does not take is held up to 256 KiB; then `send` waits for `timeout` (30 s). One that is gone:
-- `connection_reset`. opts: headers, timeout, retry (seconds until a client comes back)
function REQUEST.events(state, opts)
  opts = args.options(1, "events", opts, EVENTS_OPTIONS)
  local core, handle = state[CORE], state[HANDLE]
  local headers = { ["Content-Type"] = "text/event-stream", ["Cache-Control"] = "no-store" }
  for name, value in next, opts.headers or {} do headers[name] = value end
  local name, err, index = core.request_stream(handle, 200, headers)
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
    if #out == 0 then bad(1, "send", "an event has event, data, id or retry") end
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
  if open and opts.retry then members.send{ retry = opts.retry } end
  return object
end

local request = {
  __name = "caspian.net.request",
  __metatable = false,
  __newindex = objects.readonly,
}
objects.kinds[request] = "request"

function request.__index(self, name)
  local state = states[self]
  local value = state[name]
  if value ~= nil then return value end
  local make, method = LAZY[name], REQUEST[name]
  if FIELDS[name] then
    value = answer(name, state[CORE].request_get(state[HANDLE], name))
    if name == "headers" then setmetatable(value, FOLDED) end
  elseif make then
    value = make(state)
  elseif method then
    value = M.bound(method, state)
  else
    return nil
  end
  state[name] = value
  return value
end

function request.__tostring(self)
  return "request " .. tostring(self.method) .. " " .. tostring(self.path)
end

--- The request behind a handle of the core's.
function M.made(core, handle, server, behind)
  local object = setmetatable({}, request)
  states[object] = { [CORE] = core, [HANDLE] = handle, [SERVER] = server, [BEHIND] = behind }
  return object
end

--- True once a request was answered.
local function is_answered(state)
  return state[CORE].request_get(state[HANDLE], "answered")
end

--- What a handler has answered, as an answer. Called protected.
function M.conclude(object, result)
  local state = states[object]
  if is_answered(state) then return end
  if type(result) == "string" then
    respond(state, 200, nil, result, 0)
  elseif type(result) == "table" then
    respond(state, result, nil, nil, 0)
  else
    error("the handler answered " .. show(result) .. ", not a response table", 0)
  end
end

--- A handler has failed: 500, and nothing of why.
function M.fail(object)
  local state = states[object]
  if not is_answered(state) then
    pcall(state[CORE].request_respond, state[HANDLE], 500, { ["Content-Type"] = "text/plain" }, "500 Internal Server Error\n")
  end
end


return M
