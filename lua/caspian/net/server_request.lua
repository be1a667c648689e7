--- Requests of a server: their fields, made when first read, and their methods.
local answers = require("caspian.net.server_answers")
local args = require("caspian.net.args")
local events = require("caspian.net.server_events").events
local forms = require("caspian.net.server_form")
local keys = require("caspian.net.server_objects")
local objects = require("caspian.net.objects")
local error, next, pcall, setfenv, setmetatable, tostring, type =
  error, next, pcall, setfenv, setmetatable, tostring, type
local concat = table.concat
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, show = args.answer, args.show
local states, ARRAY, HASH, FOLDED = objects.states, objects.ARRAY, objects.HASH, objects.FOLDED
local ANSWERED, BEHIND, CORE, HANDLE = keys.ANSWERED, keys.BEHIND, keys.CORE, keys.HANDLE
local ROUTE, SERVER = keys.ROUTE, keys.SERVER
local parts_of, pairs_of, respond = forms.parts_of, forms.pairs_of, answers.respond

local M = {}

--- The fields that the core answers.
local FIELDS = {}
for _, name in next, {
  "id", "method", "target", "path", "query", "version", "scheme", "host", "headers", "raw_headers", "cookies", "body",
  "content_length", "remote_host", "remote_port", "peer", "tls",
} do FIELDS[name] = true end

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
    for _, object in next, parts do form[object.name] = forms.value_of(object) end
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
  return keys.save(file, function() return REQUEST.read(state, 65536) end)
end

--- Answers: `respond(status, headers?, body?)`, or `respond{ status =, headers =, body = | body_json = | body_file = }`. A body
-- that is a function answers its pieces, and nil at the end. False where the client is gone.
function REQUEST.respond(state, status, headers, body)
  return respond(state, status, headers, body)
end

REQUEST.events, REQUEST.websocket = events, answers.websocket

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
  if name == "steps" and state[ROUTE] then return keys.steps_of(state[ROUTE]) end
  local make, method = LAZY[name], REQUEST[name]
  if FIELDS[name] then
    value = answer(name, state[CORE].request_get(state[HANDLE], name))
    if name == "headers" then setmetatable(value, FOLDED) end
  elseif make then
    value = make(state)
  elseif method then
    value = objects.bound(method, state)
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
function M.made(core, handle, method, path, server, behind)
  local object = setmetatable({}, request)
  states[object] = {
    [CORE] = core, [HANDLE] = handle, [SERVER] = server, [BEHIND] = behind, [ANSWERED] = false, [ROUTE] = false, method = method, path = path,
  }
  return object
end

--- For a framework: what is behind a request of ours, false for any other value.
function M.routed(object)
  local state = type(object) == "table" and states[object]
  return state and state[BEHIND] ~= nil and state or false
end

--- True once a request was answered, of which this is behind.
local function is_answered(state)
  return state[ANSWERED]
end
M.is_answered = is_answered

--- Answers in one piece, for a framework: what is behind the request, and the parts of a response.
function M.answer(state, status, headers, body)
  return respond(state, status, headers, body)
end

--- What a handler has answered, as an answer. Called protected.
function M.conclude(object, result)
  local state = states[object]
  if is_answered(state) then return end
  if type(result) == "string" then
    respond(state, 200, nil, result)
  elseif type(result) == "table" then
    respond(state, result, nil, nil)
  else
    error("the handler returned " .. show(result) .. ", not a response table", 0)
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
