--- Answers to requests of a server: in one piece, as a file, piece by piece, and as a WebSocket.
local args = require("caspian.net.args")
local compress_of = require("caspian.net.websocket").compress_of
local keys = require("caspian.net.server_objects")
local error, next, pcall, rawget, setfenv, type = error, next, pcall, rawget, setfenv, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, show = args.bad, args.show
local ANSWERED, BEHIND, CORE, HANDLE = keys.ANSWERED, keys.BEHIND, keys.CORE, keys.HANDLE

--- Answers: the keys of a response table.
local RESPONSE = {
  status = "any", headers = "any", body = "any", body_json = "any", body_file = "any",
}

--- Raises where an answer of the core's says so. `at`: what its arguments 1 and 2 are to the caller.
local function told(value, err, index)
  if value ~= nil or err == nil then return value end
  if type(err) == "string" then bad(index or 0, "respond", err) end
  error(err, 0)
end

--- Streams what `produce` answers, piece by piece, as fast as the client takes it: what it does not take now waits for a note.
local function stream(state, status, headers, produce)
  local core, handle, server = state[CORE], state[HANDLE], state[BEHIND]
  local name, err, index = core.request_stream(handle, status, headers)
  state[ANSWERED] = state[ANSWERED] or type(err) ~= "string"
  if told(name, err, index) == false then return false end
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
        return cut("respond: the body function must return strings, got " .. show(piece))
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

--- Answers a request.
local function respond(state, status, headers, body)
  local core, handle = state[CORE], state[HANDLE]
  local at, kind, file = 2, nil, nil
  if type(status) == "table" then
    if headers ~= nil or body ~= nil then bad(2, "respond", "a response table must be the only argument") end
    local given = status
    for key in next, given do
      -- Raises: what is not known is named as in all option tables.
      if not RESPONSE[key] then args.options(1, "respond", given, RESPONSE) end
    end
    at = 1
    status, headers, body, file = rawget(given, "status"), rawget(given, "headers"), rawget(given, "body"), rawget(given, "body_file")
    local json = rawget(given, "body_json")
    if status == nil then status = 200 end
    local count = (body ~= nil and 1 or 0) + (json ~= nil and 1 or 0) + (file ~= nil and 1 or 0)
    if count > 1 then bad(1, "respond", "only one of body, body_json and body_file") end
    if json ~= nil then
      local text, err = core.json_encode(json, 1)
      if text == nil then bad(1, "respond", err) end
      body, kind = text, "application/json"
    end
  end
  if type(status) ~= "number" then bad(1, "respond", "status must be a number, got " .. show(status)) end
  if headers ~= nil and type(headers) ~= "table" then
    bad(at, "respond", "headers must be a table, got " .. show(headers))
  end
  local shape = type(body)
  if shape == "function" then return stream(state, status, headers, body) end
  if file ~= nil then
    -- Or a file that a directory of the core's has opened.
    if type(file) ~= "string" and type(file) ~= "userdata" then bad(1, "respond", "body_file must be a path, got " .. show(file)) end
    args.short(1, "respond", "body_file", file)
    local done, err, index = core.request_file(handle, status, headers, file)
    state[ANSWERED] = state[ANSWERED] or type(err) ~= "string"
    return told(done, err, index)
  end
  if body ~= nil and shape ~= "string" then
    bad(at == 1 and 1 or 3, "respond", "body must be a string or a function, got " .. show(body))
  end
  if headers ~= nil then
    -- The commonest headers of all need no table.
    local name, value = next(headers)
    if name == "Content-Type" and type(value) == "string" and next(headers, name) == nil then
      kind, headers = value, nil
    end
  end
  local done, err, index = core.request_respond(handle, status, headers, body, kind)
  state[ANSWERED] = state[ANSWERED] or type(err) ~= "string"
  return told(done, err, at == 1 and index ~= nil and index > 0 and 1 or index)
end

--- What a WebSocket may be told.
local WEBSOCKET = {
  headers = "table",
  subprotocols = "strings",       -- in order of preference; the first that the client offers is chosen
  timeout = "seconds",            -- 30; of each later call
  max_message_bytes = "bytes",    -- 16 MiB
  max_frame_bytes = "bytes",      -- max_message_bytes
  compress = "any",               -- false; true or a table: permessage-deflate is accepted
}
args.declare{ Answer = RESPONSE, Upgrade_options = WEBSOCKET }

--- Turns the request into a WebSocket, and returns it. A request that asks for none is answered 400 or 426, and `protocol` raised.
local function websocket(state, opts)
  opts = args.options(1, "websocket", opts, WEBSOCKET)
  local headers = opts.headers
  opts.headers = nil
  opts.compress = compress_of(opts.compress, "websocket", 1)
  local socket, err, index = state[CORE].request_websocket(state[HANDLE], headers, opts)
  state[ANSWERED] = state[ANSWERED] or type(err) ~= "string"
  if socket == nil then
    if type(err) == "string" then bad(index or 0, "websocket", err) end
    error(err, 0)
  end
  return socket
end

return { respond = respond, websocket = websocket }
