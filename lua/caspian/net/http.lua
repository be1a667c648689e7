--- HTTP over a capability: `fetch`, clients, jails and responses.
-- Everything that calls back into Lua (bodies made by a function) is driven from here, step by step.
local args = require("caspian.net.args")
local events = require("caspian.net.events")
local har = require("caspian.net.har")
local identity = require("caspian.net.identity")
local sockets = require("caspian.net.sockets")
local error, getmetatable, next, pcall, rawequal, rawget, select, setfenv, setmetatable, tostring, type =
  error, getmetatable, next, pcall, rawequal, rawget, select, setfenv, setmetatable, tostring, type
local sort = table.sort
local find, lower, match, sub, upper = string.find, string.lower, string.match, string.sub, string.upper
local io_type = io and io.type
-- Lua 5.1 cannot yield across pcall: a body that yields is worth more there than an early close.
local can_guard = not (_VERSION == "Lua 5.1" and not rawget(_G, "jit"))
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, own, merged, show = args.answer, args.bad, args.own, sockets.merged, args.show

--- What a client and a request may say.
local CLIENT = merged({
  headers = "table",
  timeout = "seconds",            -- 30; of everything together
  connect_timeout = "seconds",    -- of DNS, TCP and TLS
  read_timeout = "seconds",       -- the longest silence
  follow_redirects = "boolean",   -- true
  max_redirects = "whole",        -- 10
  allow_downgrade = "boolean",    -- false; from https to http
  forward_headers = "strings",    -- headers that follow to another origin
  max_body_bytes = "whole",       -- 256 MiB; of a body that is gathered
  stream = "boolean",             -- false
  resolve = "table",              -- { ["host:port"] = ip }
  unix = "string",                -- path of a socket
  proxy = "string",               -- http://, https://, socks5:// or socks5h://[user:password@]host[:port]
  on_progress = "function",       -- called with done, total (nil if unknown), and "upload" or "download"
  progress = "boolean",           -- false; draws a bar where standard error is a terminal
  decompress = "boolean",         -- true; gzip, deflate, br, zstd
  cookies = "any",                -- true: a jar that is the client's own; or a jar
  auth = "any",                   -- { user, password }, { bearer = token }
  retry = "any",                  -- a number of further tries, or RETRY
  verify = "boolean", ca_bundle = "string", client_cert = "string", client_key = "string", pins = "strings",
})

--- What a client may say about its pool.
local POOL = {
  max_idle = "whole",             -- 128; idle connections in all
  max_idle_per_origin = "whole",  -- 16
  idle_timeout = "seconds",       -- 90; unless the server says less
}

--- What only a request may say.
local REQUEST = merged(CLIENT, {
  method = "string",              -- GET
  body = "any",                   -- a string, an open file, or a function that returns the next piece
  body_json = "any",
  body_form = "table",
  body_file = "any",              -- a path or an open file
  body_multipart = "table",
  save = "any",                   -- an open file that the body of a 2xx is written to
})
local BODIES = { "body", "body_json", "body_form", "body_file", "body_multipart" }

--- What `retry` may say.
local RETRY = {
  attempts = "whole",             -- 3; tries after the first one
  backoff = "seconds",            -- 0.5; before the first of them, then twice as long each time
  statuses = "table",             -- 429, 502, 503, 504
  max_wait = "seconds",           -- 60; longer ones are not waited for
}

--- Checks the option `retry`, which may be several things.
local function check_retry(value, name, at, depth)
  if value == nil or type(value) == "boolean" then return end
  if type(value) == "table" then
    local given = args.options(at, name, value, RETRY, depth + 1)
    for index, status in next, given.statuses or {} do
      if type(index) ~= "number" or not args.kinds.port[1](status) or status < 100 or status > 999 then
        bad(at, name, "retry.statuses must be a list of statuses, got " .. show(status), depth + 1)
      end
    end
  elseif not args.kinds.whole[1](value) then
    bad(at, name, "retry must be a whole number or a table, got " .. show(value), depth + 1)
  end
end

--- Options that are this file's own business; the core is told the others.
local OURS = {
  headers = true, method = true, on_progress = true, progress = true, save = true, cookies = true, auth = true,
}
for index = 1, #BODIES do OURS[BODIES[index]] = true end

--- What is behind the objects that scripts hold: by object, gone with it.
local states = setmetatable({}, { __mode = "k" })

local function readonly(self, name)
  error(tostring(self) .. " cannot be changed (" .. show(name) .. ")", 2)
end

--- An object of a script's: nothing on it, nothing behind it but `members`.
local function sealed(label, members)
  return setmetatable({}, {
    __name = "caspian.net." .. label,
    __metatable = false,
    __index = members,
    __newindex = readonly,
    __tostring = function() return label end,
    __pairs = function(self)
      return function(_, key) return next(members, key) end, self, nil
    end,
  })
end

--- Marks decoded arrays, so that an empty one goes back as an array.
local ARRAY = { __name = "caspian.net.array", __metatable = false }

--- Raises the core's error: the object as it is, a wrong argument where the public function was called.
-- @param at the argument that options came in
local function raise(name, err, index, at, depth)
  if type(err) ~= "string" then error(err, 0) end
  bad(index == 2 and at or index or 0, name, err, depth + 1)
end

-- ---------------------------------------------------------------------------------------------- requests

local function value_of(name, at, header, value, depth)
  local kind = type(value)
  if kind == "number" then return tostring(value) end
  if kind ~= "string" then
    bad(at, name, "the value of header " .. show(header) .. " must be a string, got " .. show(value), depth + 1)
  end
  return value
end

--- Lays the headers of `given` over those of `into` (lower-case name to { name, value … }); `false` takes one away.
local function add_headers(into, given, name, at, depth)
  local seen = {}
  for header, value in next, given do
    if type(header) ~= "string" then
      bad(at, name, "headers must be a table from names to values, got the name " .. show(header), depth + 1)
    end
    local key = lower(header)
    if seen[key] then bad(at, name, "header " .. show(header) .. " is given twice", depth + 1) end
    seen[key] = true
    if value == false then
      into[key] = nil
    elseif type(value) == "table" then
      local values = { header }
      for index = 1, #value do
        values[index + 1] = value_of(name, at, header, rawget(value, index), depth + 1)
      end
      into[key] = values
    else
      into[key] = { header, value_of(name, at, header, value, depth + 1) }
    end
  end
  return into
end

--- The headers as two arrays, in the order of their names.
local function flatten(headers)
  if next(headers) == nil then return nil end
  local keys, names, values = {}, {}, {}
  for key in next, headers do keys[#keys + 1] = key end
  sort(keys)
  for _, key in next, keys do
    local header = headers[key]
    for index = 2, #header do
      names[#names + 1], values[#values + 1] = header[1], header[index]
    end
  end
  return names, values
end

--- An open file as a body: its rest, of known length where it can be sought.
local function from_file(file)
  local length
  local here = file:seek("cur")
  if here then
    local last = file:seek("end")
    if last and file:seek("set", here) then length = last - here end
  end
  return { pump = true, length = length }, function() return file:read(65536) end
end

local function is_open_file(value, name, what, at, depth)
  local kind = io_type and io_type(value)
  if kind == "closed file" then bad(at, name, what .. " is a closed file", depth + 1) end
  return kind == "file"
end

--- Pairs from a table: { name = value, name = { value, value } } in the order of the names, or { { name, value }, … }.
local function pairs_of(given, name, what, at, depth)
  local names, values = {}, {}
  local function add(key, value)
    local kind = type(value)
    if kind == "number" or kind == "boolean" then value = tostring(value) end
    if type(key) ~= "string" or type(value) ~= "string" then
      bad(at, name, what .. " must hold strings, got " .. show(key) .. " and " .. show(value), depth + 2)
    end
    names[#names + 1], values[#values + 1] = key, value
  end
  if rawget(given, 1) ~= nil then
    for index = 1, #given do
      local pair = rawget(given, index)
      if type(pair) ~= "table" then bad(at, name, what .. " must be pairs, got " .. show(pair), depth + 1) end
      add(rawget(pair, 1), rawget(pair, 2))
    end
    return names, values
  end
  local keys = {}
  for key in next, given do
    if type(key) ~= "string" then bad(at, name, what .. " must have names, got " .. show(key), depth + 1) end
    keys[#keys + 1] = key
  end
  sort(keys)
  for _, key in next, keys do
    local value = given[key]
    if type(value) == "table" then
      for index = 1, #value do add(key, rawget(value, index)) end
    else
      add(key, value)
    end
  end
  return names, values
end

local PART = { name = "string", data = "string", path = "string", filename = "string", type = "string" }

--- Parts of a multipart body, for the core: { { name =, bytes = | path =, filename =, type = }, … }
local function parts_of(given, name, at, depth)
  local parts = {}
  local function add(key, part)
    if type(part) == "number" then part = tostring(part) end
    if type(part) == "string" then part = { data = part } end
    if type(part) ~= "table" then
      bad(at, name, "body_multipart must hold strings and tables, got " .. show(part), depth + 2)
    end
    part = args.options(at, name, part, PART, depth + 2)
    part.name = part.name or key
    if not part.name then bad(at, name, "a part of body_multipart has no name", depth + 2) end
    if (part.data == nil) == (part.path == nil) then
      bad(at, name, "part " .. show(part.name) .. " of body_multipart must have either data or a path", depth + 2)
    end
    if part.path and part.filename == nil then
      local last = part.path
      for place = #last, 1, -1 do
        local letter = sub(last, place, place)
        if letter == "/" or letter == "\\" then last = sub(last, place + 1) break end
      end
      part.filename = last
    end
    part.bytes, part.data = part.data, nil
    parts[#parts + 1] = part
  end
  if rawget(given, 1) ~= nil then
    for index = 1, #given do add(nil, rawget(given, index)) end
    return { parts = parts }
  end
  local keys = {}
  for key in next, given do
    if type(key) ~= "string" then bad(at, name, "body_multipart must have names, got " .. show(key), depth + 1) end
    keys[#keys + 1] = key
  end
  sort(keys)
  for _, key in next, keys do add(key, given[key]) end
  return { parts = parts }
end

--- The body for the core, and the function that makes its pieces, if there is one.
local function body_of(core, opts, name, at, depth)
  local which
  for index = 1, #BODIES do
    local option = BODIES[index]
    if opts[option] ~= nil then
      if which then bad(at, name, which .. " and " .. option .. " exclude each other", depth + 1) end
      which = option
    end
  end
  if not which then return nil end
  local value = opts[which]
  if which == "body_json" then
    local bytes, err, index = core.json_encode(value, 2)
    if bytes == nil then raise(name, err, index, at, depth + 1) end
    return { bytes = bytes, type = "application/json" }
  elseif which == "body_form" then
    local names, values = pairs_of(value, name, which, at, depth + 1)
    return { bytes = core.form_encode(names, values), type = "application/x-www-form-urlencoded" }
  elseif which == "body_multipart" then
    return parts_of(value, name, at, depth + 1)
  elseif is_open_file(value, name, which, at, depth + 1) then
    return from_file(value)
  elseif type(value) == "string" then
    if which == "body_file" then return { path = value } end
    return { bytes = value }
  elseif type(value) == "function" and which == "body" then
    return { pump = true }, value
  end
  local kinds = which == "body" and "a string, an open file or a function" or "a path or an open file"
  bad(at, name, which .. " must be " .. kinds .. ", got " .. show(value), depth + 1)
end

--- The next piece of a body; "" at its end. A source that fails never looks complete.
local function piece_of(core, call, pump)
  local ok, piece, why
  repeat
    ok = true
    if can_guard then
      ok, piece, why = pcall(pump)
    else
      piece, why = pump()
    end
    if ok and piece == nil and why == nil then return "" end
    if not ok or type(piece) ~= "string" then
      core.http_drop(call)
      if not ok then error(piece, 0) end
      if piece == nil then error("the request's body failed: " .. tostring(why), 0) end
      error("the request's body must come in strings, got " .. show(piece), 0)
    end
  until piece ~= ""
  return piece
end

local respond

--- Checks a request and makes its call, which has not begun; also the function that makes its body, and its options.
-- `client`: { core =, client =, defaults =, headers = }; `at`: which argument the options are; `allowed`: which there
-- may be; `begin`: the core's function that makes the call.
local function prepare(name, client, url, given, at, depth, method, body, allowed, begin)
  local core = client.core
  if type(url) ~= "string" then bad(1, name, "url must be a string, got " .. show(url), depth) end
  local opts, headers = client.defaults, client.headers
  if given ~= nil then
    local copy = args.options(at, name, given, allowed or REQUEST, depth)
    -- The tables themselves: a mark says whether an empty one is an array, and a jar is known by what it is.
    copy.body_json, copy.cookies = rawget(given, "body_json"), rawget(given, "cookies")
    if copy.headers then
      headers = add_headers(merged(headers), copy.headers, name, at, depth)
    end
    opts = merged(opts, copy)
  end
  if body ~= nil then
    if opts.body ~= nil then bad(at, name, "body is given twice", depth) end
    opts = merged(opts, { body = body })
  end
  check_retry(opts.retry, name, at, depth)
  if opts.save ~= nil and not is_open_file(opts.save, name, "save", at, depth) then
    bad(at, name, "save must be an open file, got " .. show(opts.save), depth)
  end
  if opts.save and opts.stream then bad(at, name, "save and stream exclude each other", depth) end
  local source, pump = body_of(core, opts, name, at, depth)
  if pump and begin then bad(at, name, "a body that Lua makes cannot be sent from here", depth) end
  local told
  for option, value in next, opts do
    if not OURS[option] then
      told = told or {}
      told[option] = value
    end
  end
  if opts.on_progress or opts.progress or client.har then
    told = told or {}
    told.paced, told.record = (opts.on_progress or opts.progress) and true, client.har and true
  end
  local cookies, auth = identity.cookies(opts.cookies, name, at, depth), identity.auth(opts.auth, name, at, depth)
  if cookies or auth then
    told = told or {}
    told.cookies, told.auth = cookies, auth
  end
  local names, values = flatten(headers)
  local call, err, index = (begin or core.http_start)(
    client.client, url, method or opts.method or "GET", names, values, source, told)
  if call == nil then raise(name, err, index, at, depth) end
  return call, pump, opts
end

--- The function that tells how far a request is, if anybody wants to know: (done, total, what, last).
local function reporter(core, call, opts)
  local told = opts.on_progress
  local bar = opts.progress and core.http_bar() or nil
  if not told and not bar then return nil end
  return function(done, total, what, last)
    if bar then core.http_draw(bar, done, total, last and what == "download") end
    if not told then return end
    if not can_guard then told(done, total, what) return end
    local ok, err = pcall(told, done, total, what)
    if not ok then
      core.http_drop(call)
      error(err, 0)
    end
  end
end

--- Sends the request and waits for the head of the response.
local function converse(core, call, pump, report)
  while true do
    local done, err = core.http_step(call)
    if done == nil then error(err, 0) end
    if report and done ~= true then
      local sent, total = core.http_sent(call)
      if sent > 0 then report(sent, total, "upload") end
    end
    if done == true then return end
    if done == false then
      done, err = core.http_supply(call, piece_of(core, call, pump))
      if done == nil then error(err, 0) end
    end
  end
end

--- Does a request. Called by public functions only (for the level of its errors).
local function perform(name, client, url, given, at, method, body)
  local core = client.core
  local call, pump, opts = prepare(name, client, url, given, at, 2, method, body)
  local report = reporter(core, call, opts)
  if not client.har then
    converse(core, call, pump, report)
    return respond(core, call, opts.stream, report, opts.save)
  end
  local ok, result
  if can_guard or not (pump or report) then
    ok, result = pcall(converse, core, call, pump, report)
    if ok then ok, result = pcall(respond, core, call, opts.stream, report, opts.save) end
  else
    converse(core, call, pump, report)
    ok, result = true, respond(core, call, opts.stream, report, opts.save)
  end
  har.add(client.har, core, call, not ok and result or nil)
  if not ok then error(result, 0) end
  return result
end

--- What an event stream may say besides.
local EVENTS = merged(REQUEST, {
  reconnect = "boolean",          -- true, for a GET
  last_event_id = "string",       -- where an earlier stream ended
  max_event_bytes = "count",      -- 1 MiB
})
-- What means nothing there.
for _, option in next, { "stream", "save", "max_body_bytes", "on_progress", "progress", "retry" } do EVENTS[option] = nil end

--- Opens an event stream. Called by public functions only.
local function perform_events(client, url, given)
  local feed, _, opts = prepare("events", client, url, given, 2, 1, nil, nil, EVENTS, client.core.events_open)
  return events.object(client.core, feed, opts.timeout)
end

--- What `fetch_all` may say.
local ALL = {
  parallel = "count",             -- 16; requests at once
  per_origin = "count",           -- 6; of them to one origin
  timeout = "seconds",            -- none; of everything together
}

--- Does many requests at once: an array of responses or errors, in order. Called by public functions only.
local function perform_all(client, list, given)
  local core = client.core
  if type(list) ~= "table" then bad(1, "fetch_all", "a list of requests expected, got " .. show(list), 1) end
  local opts = args.options(2, "fetch_all", given, ALL, 1)
  local calls = {}
  for index = 1, #list do
    local item = rawget(list, index)
    local url, wishes = item, nil
    if type(item) == "table" then
      wishes = {}
      for key, value in next, item do wishes[key] = value end
      url = wishes[1] or wishes.url
      wishes[1], wishes.url = nil, nil
    end
    -- Which of many is wrong is the first thing to know.
    local ok, call, pump, asked = pcall(prepare, "fetch_all", client, url, wishes, 1, 0)
    if not ok then
      if type(call) ~= "string" then error(call, 0) end
      bad(1, "fetch_all", "item " .. index .. ": " .. (match(call, "%((.*)%)$") or call), 1)
    end
    if pump then bad(1, "fetch_all", "item " .. index .. ": a body that Lua makes cannot be sent from here", 1) end
    if asked.stream then bad(1, "fetch_all", "item " .. index .. ": responses cannot be streamed from here", 1) end
    if asked.on_progress or asked.progress or asked.save then
      bad(1, "fetch_all", "item " .. index .. ": on_progress, progress and save do not go with it", 1)
    end
    calls[index] = call
  end
  local results, err = core.http_all(calls, opts.parallel, opts.per_origin, opts.timeout)
  if results == nil then error(err, 0) end
  for index = 1, #calls do
    if results[index] == true then
      local ok, made = pcall(respond, core, calls[index], false)
      if not ok and type(made) ~= "table" then error(made, 0) end
      results[index] = made
    end
    if client.har then
      har.add(client.har, core, calls[index], states[results[index]] == nil and results[index] or nil)
    end
  end
  return results
end

-- --------------------------------------------------------------------------------------------- responses

--- The methods of responses. They get what is behind the response; a script calls them with a dot or a colon.
local RESPONSE = {}

local function read(state, how, count)
  local bytes, err = state.core.http_read(state.call, how, count)
  if bytes == nil and err ~= nil then error(err, 0) end
  local report = state.report
  if report then
    state.done = (state.done or 0) + (bytes and #bytes or 0)
    local over = bytes == nil or how == "rest"
    if over then state.report = nil end
    report(state.done, state.core.http_total(state.call), "download", over)
  end
  return bytes
end

--- The body's rest as a string: what was gathered, or what a stream still has.
local function rest(state)
  if state.body then return state.body end
  return read(state, "rest")
end

--- `count` bytes, fewer only at the end of the body, nil after it; without `count` all that is left.
function RESPONSE.read(state, count)
  if count ~= nil then args.count(1, "read", "count", count, 1) end
  if not state.body then
    if count then return read(state, "exact", count) end
    local bytes = read(state, "rest")
    if bytes == "" then return nil end
    return bytes
  end
  local start = state.place or 1
  if start > #state.body then return nil end
  local last = count and start + count - 1 or #state.body
  state.place = last + 1
  return sub(state.body, start, last)
end

--- An iterator over the lines, each with its newline.
function RESPONSE.lines(state)
  return function()
    if not state.body then return read(state, "line") end
    local start = state.place or 1
    if start > #state.body then return nil end
    local last = find(state.body, "\n", start, true) or #state.body
    state.place = last + 1
    return sub(state.body, start, last)
  end
end

--- An iterator over the body as it arrives, in pieces of at most 64 KiB.
function RESPONSE.chunks(state)
  return function()
    if not state.body then return read(state, "piece", 65536) end
    return RESPONSE.read(state, 65536)
  end
end

--- Writes `bytes` to a file of the script's; a file that takes no more ends the response.
local function write(core, call, file, bytes)
  local done, why = file:write(bytes)
  if not done then
    core.http_drop(call)
    error("save: " .. tostring(why), 0)
  end
end

--- Writes what is left of the body to an open file, as it arrives; answers how many bytes.
function RESPONSE.save(state, file)
  if not is_open_file(file, "save", "file", 1, 1) then
    bad(1, "save", "an open file expected, got " .. show(file), 1)
  end
  local count = 0
  for piece in RESPONSE.chunks(state) do
    write(state.core, state.call, file, piece)
    count = count + #piece
  end
  return count
end

--- Ends a stream. What was not read is lost.
function RESPONSE.close(state)
  state.core.http_drop(state.call)
end

--- The body in UTF-8, decoded by the charset that the server names. Defaults to UTF-8.
function RESPONSE.text(state)
  local text, err = state.core.http_text(state.call, rest(state))
  if text == nil then error(err, 0) end
  return text
end

--- The body as a Lua value; `null` is `net.null`.
function RESPONSE.json(state)
  local value, err = state.core.json_decode(rest(state))
  if value == nil then error(err, 0) end
  return value
end

--- The server's certificate, or nil: { subject, issuer, fingerprint, valid_from, valid_until, sans, serial, pem }.
function RESPONSE.peer_cert(state)
  return (answer("peer_cert", state.core.http_info(state.call, "cert")))
end

--- Fields that are made when they are asked for.
local LAZY = {
  headers = function(core, call) return core.http_fields(call, "headers") end,
  raw_headers = function(core, call) return core.http_fields(call, "raw_headers") end,
  trailers = function(core, call) return core.http_fields(call, "trailers") end,
  timings = function(core, call) return core.http_info(call, "timings") end,
}
--- Those that are not final before the body is over.
local FINAL = { trailers = true, timings = true }

local response = {
  __name = "caspian.net.response",
  __metatable = false,
  __newindex = readonly,
}

--- A method, bound to its response.
local function bound(method, state)
  return function(first, ...)
    local result
    -- The response itself must not be kept from here: what is behind it would keep it alive for ever on Lua 5.1.
    if first ~= nil and rawequal(states[first], state) then
      result = method(state, ...)
    else
      result = method(state, first, ...)
    end
    return result
  end
end

function response.__index(self, name)
  local state = states[self]
  local fields = state.fields
  local value = fields[name]
  if value ~= nil then return value end
  local make, method = LAZY[name], RESPONSE[name]
  if make then
    value = make(state.core, state.call)
    if FINAL[name] and not state.core.http_info(state.call, "over") then return value end
  elseif method then
    value = bound(method, state)
  else
    return nil
  end
  fields[name] = value
  return value
end

function response.__tostring(self)
  local fields = states[self].fields
  return "response " .. tostring(fields.status) .. (fields.reason ~= "" and " " .. fields.reason or "")
end

function response.__close(self)
  RESPONSE.close(states[self])
end

--- The body as a string, with a word about each piece of it.
local function gather(core, call, report)
  while true do
    local held, total, over = core.http_fill(call, 262144)
    if held == nil then error(total, 0) end
    report(held, total, "download", over)
    if over then break end
  end
  return core.http_read(call, "rest")
end

--- Writes the body to a file; answers how many bytes.
local function store(core, call, report, file)
  local total, done = core.http_total(call), 0
  while true do
    local bytes, err = core.http_read(call, "piece", 65536)
    if bytes == nil and err ~= nil then error(err, 0) end
    if report then report(done + (bytes and #bytes or 0), total, "download", bytes == nil) end
    if bytes == nil then return done end
    write(core, call, file, bytes)
    done = done + #bytes
  end
end

function respond(core, call, stream, report, file)
  local status, reason, version, url, chain = core.http_head(call)
  if status == nil then answer("fetch", status, reason, version) end
  local body, err, saved
  if file and status >= 200 and status < 300 then
    saved = store(core, call, report, file)
  elseif not stream then
    if report then
      body, err = gather(core, call, report)
    else
      body, err = core.http_read(call, "rest")
    end
    if body == nil then error(err, 0) end
  end
  local ok = status >= 200 and status < 300
  local object = setmetatable({}, response)
  states[object] = {
    core = core, call = call, body = body, report = stream and report or nil,
    fields = {
      status = status, ok = ok, ["ok?"] = ok, reason = reason, version = version, body = body, url = url,
      redirect_chain = chain or {}, saved = saved,
    },
  }
  return object
end

-- ----------------------------------------------------------------------------------------------- clients

--- A jail: `fetch` for those hosts, and nothing else.
local function jail(client, hosts)
  local core = client.core
  local inner, err = core.http_jail(client.client, hosts)
  if inner == nil then
    if type(err) == "string" then bad(1, "jail", err, 1) end
    error(err, 0)
  end
  local jailed = { core = core, client = inner, defaults = client.defaults, headers = client.headers }
  local members = {}
  local object = sealed("jail", members)
  function members.fetch(...)
    local url, opts = own(object, ...)
    local result = perform("fetch", jailed, url, opts, 2)
    return result
  end
  return object
end

--- The hosts of a jail or of `allow`.
local function hosts_of(name, ...)
  local hosts = { ... }
  if select("#", ...) == 1 and type(hosts[1]) == "table" then
    local list = {}
    for index = 1, #hosts[1] do list[index] = rawget(hosts[1], index) end
    hosts = list
  end
  for index = 1, #hosts do
    if type(hosts[index]) ~= "string" then
      bad(index, name, "host must be a string, got " .. show(hosts[index]), 1)
    end
  end
  return hosts
end

local METHODS = {}

local function client_of(self, name)
  local state = states[self]
  if not state or not state.client then error(name .. ": call it with a colon, on a client", 3) end
  return state
end

function METHODS.fetch(self, url, opts)
  local result = perform("fetch", client_of(self, "fetch"), url, opts, 2)
  return result
end

--- Opens an event stream (Server-Sent Events). opts: see EVENTS above.
function METHODS.events(self, url, opts)
  local stream = perform_events(client_of(self, "events"), url, opts)
  return stream
end

function METHODS.fetch_all(self, list, opts)
  local results = perform_all(client_of(self, "fetch_all"), list, opts)
  return results
end

for _, verb in next, { "get", "head", "delete", "options" } do
  local method = upper(verb)
  METHODS[verb] = function(self, url, opts)
    local result = perform(verb, client_of(self, verb), url, opts, 2, method)
    return result
  end
end

for _, verb in next, { "post", "put", "patch" } do
  local method = upper(verb)
  METHODS[verb] = function(self, url, body, opts)
    -- Without a body of its own, the options may have one: client:post(url, { body_json = … })
    local at = 3
    if type(body) == "table" and opts == nil then body, opts, at = nil, body, 2 end
    local result = perform(verb, client_of(self, verb), url, opts, at, method, body)
    return result
  end
end

function METHODS.jail(self, ...)
  local result = jail(client_of(self, "jail"), hosts_of("jail", ...))
  return result
end

--- What a client that was made with `har = true` has done, as a HAR 1.2 table; as JSON for `client:har("json")`.
function METHODS.har(self, form)
  local state = client_of(self, "har")
  if not state.har then error("har: the client was not made with har = true", 2) end
  if form ~= nil and form ~= "json" then bad(1, "har", 'either nothing or "json" expected, got ' .. show(form)) end
  local log = har.log(state.har, ARRAY, state.core.version)
  if not form then return log end
  local text, err = state.core.json_encode(log, 1)
  if text == nil then error(err, 0) end
  return text
end

--- Closes the client's connections; it cannot be used after that.
function METHODS.close(self)
  local state = client_of(self, "close")
  state.core.http_close(state.client)
end

local client = { __name = "caspian.net.client", __metatable = false }

function client.__index(self, name)
  if name == "allow" then
    local allow = states[self].allow
    return allow and merged(allow)
  elseif name == "jar" then
    local state = states[self]
    state.jar = state.jar or identity.jar(state.core, answer("jar", state.core.http_jar(state.client)))
    return state.jar
  end
  return METHODS[name]
end

function client.__newindex(self, name, value)
  if name ~= "allow" then readonly(self, name) end
  local state = states[self]
  local hosts
  if value ~= nil then
    if type(value) ~= "table" then error("allow must be a list of hosts, got " .. show(value), 2) end
    hosts = {}
    for index = 1, #value do
      hosts[index] = rawget(value, index)
      if type(hosts[index]) ~= "string" then
        error("allow must be a list of hosts, got " .. show(hosts[index]), 2)
      end
    end
  end
  local done, err = state.core.http_allow(state.client, hosts)
  if done == nil then error(err, type(err) == "string" and 2 or 0) end
  state.allow = hosts
end

function client.__tostring() return "http client" end

function client.__close(self)
  METHODS.close(self)
end

--- Adds the HTTP functions and classes to a `%net` around `cap`.
local function extend(core, cap, net, functions, classes)
  local shared = { core = core, client = answer("http", core.http_client(cap)), defaults = {}, headers = {} }

  --- Does a request and returns the response. opts: see CLIENT and REQUEST above.
  function functions.fetch(...)
    local url, opts = own(net, ...)
    local result = perform("fetch", shared, url, opts, 2)
    return result
  end

  --- Opens an event stream (Server-Sent Events). opts: see EVENTS above.
  function functions.events(...)
    local url, opts = own(net, ...)
    local stream = perform_events(shared, url, opts)
    return stream
  end

  --- Does many requests at once, each a URL or { url, … }. opts: see ALL above.
  function functions.fetch_all(...)
    local list, opts = own(net, ...)
    local results = perform_all(shared, list, opts)
    return results
  end

  --- A client with defaults for its requests, a pool of its own, and `allow`.
  local function new(owner, ...)
    local given = own(owner, ...)
    local allow, recorded
    local limits = {}
    if type(given) == "table" then
      given = merged(given)
      allow, given.allow = given.allow, nil
      recorded, given.har = given.har, nil
      if recorded ~= nil and type(recorded) ~= "boolean" then
        bad(1, "new", "har must be true or false, got " .. show(recorded), 1)
      end
      for limit in next, POOL do limits[limit], given[limit] = given[limit], nil end
      limits = args.options(1, "new", limits, POOL, 1)
    end
    local defaults = args.options(1, "new", given, CLIENT, 1)
    local headers = add_headers({}, defaults.headers or {}, "new", 1, 1)
    if given ~= nil then defaults.cookies = rawget(given, "cookies") end
    identity.cookies(defaults.cookies, "new", 1, 1)
    -- A copy: what was checked is what is used.
    defaults.auth = identity.auth(defaults.auth, "new", 1, 1)
    local inner, err = core.http_client(cap, limits)
    if inner == nil then error(err, 0) end
    local object = setmetatable({}, client)
    states[object] = { core = core, client = inner, defaults = defaults, headers = headers,
      har = recorded and har.new() or nil }
    if allow ~= nil then object.allow = allow end
    return object
  end

  local members = {}
  local constructor = sealed("http.client", members)
  function members.new(...)
    local object = new(constructor, ...)
    return object
  end
  function members.jail(...)
    local object
    if rawequal((...), constructor) then
      object = jail(shared, hosts_of("jail", select(2, ...)))
    else
      object = jail(shared, hosts_of("jail", ...))
    end
    return object
  end

  local http = {}
  functions.http = sealed("http", http)
  http.client = constructor

  --- A cookie jar, for the option `cookies`; with `records`, those that `jar:records()` gave once.
  function http.jar(...)
    local records = own(functions.http, ...)
    local jar = identity.jar(core, answer("jar", core.jar_new()))
    if records ~= nil then
      if type(records) ~= "table" then bad(1, "jar", "a list of records expected, got " .. show(records)) end
      jar:load(records)
    end
    return jar
  end

  functions.http_client = constructor
  functions.null = core.null

  --- Marks a table as a JSON array, so that an empty one is sent as `[]`; returns it.
  function functions.array(...)
    local list = own(net, ...)
    if list == nil then list = {} end
    if type(list) ~= "table" then bad(1, "array", "a table expected, got " .. show(list)) end
    if getmetatable(list) ~= nil then bad(1, "array", "the table has a metatable of its own") end
    return setmetatable(list, ARRAY)
  end

  classes["puck.uno/http/client"] = members.new
  classes["puck.uno/http/response"] = function() error("responses come from fetch", 2) end
end

--- A caller's headers as two arrays, names and values.
local function fields(given, name, at, depth)
  local names, values = flatten(add_headers({}, given, name, at, depth + 1))
  return names, values
end

return { extend = extend, array = ARRAY, fields = fields }
