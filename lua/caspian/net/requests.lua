--- Requests: the options of clients and requests, the resulting headers and body, and sending. Functions that produce a body
-- are called here, by Lua, so that they may raise.
local args = require("caspian.net.args")
local identity = require("caspian.net.identity")
local named = require("caspian.net.pairs")
local sockets = require("caspian.net.sockets")
local error, next, pcall, rawget, setfenv, setmetatable, tostring, type = error, next, pcall, rawget, setfenv, setmetatable, tostring, type
local sort = table.sort
local find, lower, match = string.find, string.lower, string.match
local io_type = io and io.type
local can_guard = not (_VERSION == "Lua 5.1" and not rawget(_G, "jit"))
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local MOST, bad, digits, merged, show = args.MOST, args.bad, args.digits, sockets.merged, args.show
local is_list, pairs_of = named.is_list, named.pairs_of

--- What a client and a request may say.
local CLIENT = merged({
  headers = "table",
  query = "table",                -- names and values that go behind what the URL has
  timeout = "seconds",            -- 30; of everything together; of a body that is streamed or saved only up to the head
  connect_timeout = "seconds",    -- of DNS, TCP and TLS
  read_timeout = "seconds",       -- the longest silence; 30 where a body is streamed or saved without a `timeout`
  follow_redirects = "boolean",   -- true
  max_redirects = "whole",        -- 10
  allow_downgrade = "boolean",    -- false; from https to http
  forward_headers = "strings",    -- headers that follow to another origin
  max_body_bytes = "whole",       -- 256 MiB; of a body that is gathered
  stream = "boolean",             -- false
  resolve = "table",              -- { ["host:port"] = ip }
  unix = "string",                -- path of a socket
  proxy = "any",                  -- [http://][user:password@]host[:port], or https, socks4, socks4a, socks5, socks5h; or PROXY; false: none
  on_progress = "function",       -- called with done, total (nil if unknown), and "upload" or "download"
  progress = "boolean",           -- false; draws a bar where standard error is a terminal
  decompress = "boolean",         -- true; gzip, deflate, br, zstd
  cookies = "any",                -- true: a jar that is the client's own; or a jar
  auth = "any",                   -- { user, password }, { bearer = token }
  http2 = "any",                  -- false; true: offered over TLS; "prior": spoken without asking
  retry = "any",                  -- a number of further tries, or RETRY
  verify = "boolean", ca_bundle = "string", client_cert = "string", client_key = "string", client_key_password = "string",
  pins = "strings", protocols = "strings",
})

--- What only a request may say.
local REQUEST = merged(CLIENT, {
  method = "string",              -- GET
  body = "any",                   -- a string, an open file, or a function that returns the next piece
  body_json = "any",
  body_form = "table",
  body_file = "any",              -- a path or an open file
  body_multipart = "table",
  save = "any",                   -- an open file that the body of a 2xx is written to, or the path of one
})
local BODIES = { "body", "body_json", "body_form", "body_file", "body_multipart" }

--- What `retry` may say.
local RETRY = {
  attempts = "whole",             -- 3; tries after the first one
  backoff = "seconds",            -- 0.5; before the first of them, then twice as long each time
  statuses = "table",             -- 429, 502, 503, 504
  max_wait = "seconds",           -- 60; longer ones are not waited for
}

--- What `proxy` may say, where it is a table.
local PROXY = {
  url = "string",
  headers = "table",              -- that the proxy alone is told
  auth = "table",                 -- { user, password, scheme = }, in place of those in the URL
  tunnel = "boolean",             -- false; for plain http, too
}

--- Checks the option `retry`, which may be several things.
local function check_retry(value, name, at, depth)
  if value == nil or type(value) == "boolean" then return end
  if type(value) == "table" then
    local given = args.options(at, name, value, RETRY, depth + 1, "retry")
    for index, status in next, given.statuses or {} do
      if type(index) ~= "number" or not args.kinds.port[1](status) or status < 100 or status > 999 then
        bad(at, name, "retry.statuses must be a list of statuses, got " .. show(status), depth + 1)
      end
    end
  elseif not args.kinds.whole[1](value) then
    bad(at, name, "retry must be a whole number, true, false or a table, got " .. show(value), depth + 1)
  end
end

--- Options that are this file's own business; the core is told the others.
local OURS = {
  headers = true, query = true, method = true, on_progress = true, progress = true, save = true, cookies = true, auth = true,
}
for index = 1, #BODIES do OURS[BODIES[index]] = true end

--- Raises the core's error: the object as it is, a wrong argument where the public function was called.
-- @param at the argument that options came in
local function raise(name, err, index, at, depth)
  if type(err) ~= "string" then error(err, 0) end
  bad(index == 2 and at or index or 0, name, err, depth + 1)
end

--- The value of a header as a string.
local function value_of(name, at, header, value, depth)
  local kind = type(value)
  if kind == "string" and #value <= MOST then return value end
  if kind == "number" then
    local text = digits(value)
    if not text then bad(at, name, "the value of header " .. show(header) .. args.INFINITE .. show(value), depth + 1) end
    return text
  end
  if kind ~= "string" then
    bad(at, name, "the value of header " .. show(header) .. " must be a string, got " .. show(value), depth + 1)
  end
  args.short(at, name, "the value of header " .. show(header), value, depth + 1)
end

--- The key of a header, which is none of `seen`.
local function key_of(header, seen, name, at, depth)
  if type(header) ~= "string" then
    bad(at, name, "headers must be a table from names to values, got the name " .. show(header), depth + 1)
  end
  local key = lower(header)
  if seen[key] then bad(at, name, "header " .. show(header) .. " is given twice", depth + 1) end
  return key
end

-- What the client says by itself, in lower case, and a caller can leave out. Host and what frames a body are not among it.
local OWN = {
  accept = true, ["accept-encoding"] = true, authorization = true, ["content-type"] = true, cookie = true, ["last-event-id"] = true,
  ["user-agent"] = true,
}

--- Lays the headers of `given` over those of `into` (lower-case name to { name, value … }); `false` takes one away, and stands
-- there in place of what the client would say by itself.
local function add_headers(into, given, name, at, depth)
  local seen = {}
  for header, value in next, given do
    local key = key_of(header, seen, name, at, depth + 1)
    seen[key] = true
    if value == false then
      if OWN[key] then into[key] = false else into[key] = nil end
    elseif type(value) == "table" then
      local values = { header }
      for index = 1, args.items(at, name, "header " .. show(header), value, depth + 1) do
        values[index + 1] = value_of(name, at, header, rawget(value, index), depth + 1)
      end
      into[key] = values
    else
      into[key] = { header, value_of(name, at, header, value, depth + 1) }
    end
  end
  return into
end

--- The headers as two arrays, in the order of their names; those without a value, which are left out, behind the others.
local function flatten(headers)
  if next(headers) == nil then return nil end
  local keys, names, values = {}, {}, {}
  for key in next, headers do keys[#keys + 1] = key end
  sort(keys)
  for _, key in next, keys do
    local header = headers[key]
    for index = 2, header and #header or 0 do
      names[#names + 1], values[#values + 1] = header[1], header[index]
    end
  end
  for _, key in next, keys do
    if not headers[key] then names[#names + 1] = key end
  end
  return names, values
end

--- The headers that a request has of its own, as `flatten` gives them. `false` leaves one out, whoever would say it.
local function fields_of(given, name, at, depth)
  local first, only = next(given)
  if type(first) == "string" and type(only) == "string" and #only <= MOST and next(given, first) == nil then
    return { first }, { only }
  end
  local keys, spelt, count = {}, {}, 0
  for header in next, given do
    local key = key_of(header, spelt, name, at, depth + 1)
    count = count + 1
    keys[count], spelt[key] = key, header
  end
  if count == 0 then return nil end
  sort(keys)
  local names, values, left = {}, {}, {}
  for index = 1, count do
    local header = spelt[keys[index]]
    local value = rawget(given, header)
    if value == false then
      left[#left + 1] = keys[index]
    elseif type(value) == "table" then
      for place = 1, args.items(at, name, "header " .. show(header), value, depth + 1) do
        names[#names + 1], values[#values + 1] = header, value_of(name, at, header, rawget(value, place), depth + 1)
      end
    else
      names[#names + 1], values[#values + 1] = header, value_of(name, at, header, value, depth + 1)
    end
  end
  for index = 1, #left do names[#names + 1] = left[index] end
  return names, values
end

--- The option `proxy` for the core: a URL, false, or a table of plain values.
local function proxy_of(value, name, at, depth)
  if value == nil or value == false or type(value) == "string" then return value end
  -- Never shown: a URL may hold a password.
  if type(value) ~= "table" then bad(at, name, "proxy must be a URL or a table, got a " .. type(value), depth + 1) end
  local given = args.options(at, name, value, PROXY, depth + 1, "proxy")
  if not given.url then bad(at, name, "proxy has no url", depth + 1) end
  local who = identity.auth(given.auth, name, at, depth + 1) or {}
  if who.bearer then
    bad(at, name, "proxy.auth has no bearer; give it in proxy.headers, as Proxy-Authorization", depth + 1)
  end
  local names, values = flatten(add_headers({}, given.headers or {}, name, at, depth + 1))
  return {
    url = given.url, tunnel = given.tunnel, names = names, values = values,
    user = who.user, password = who.password, scheme = who.scheme,
  }
end

--- An open file as a body: its rest, of known length where it can be sought.
local function from_file(file)
  local rest
  local here = file:seek("cur")
  if here then
    local last = file:seek("end")
    if last and file:seek("set", here) then rest = last - here end
  end
  return { pump = true, length = rest }, function() return file:read(65536) end
end

local function is_open_file(value, name, what, at, depth)
  local kind = io_type and io_type(value)
  if kind == "closed file" then bad(at, name, what .. " is a closed file", depth + 1) end
  return kind == "file"
end

local PART = { name = "string", data = "string", path = "string", filename = "string", type = "string" }

--- Parts of a multipart body, for the core: { { name =, bytes = | path =, filename =, type = }, … }. From { name = part,
-- name = { part, part } } in the order of the names, or a list of { name, part }, { name, { part, part } } and of parts that say
-- their name. A part is a string, a number, a boolean, or a table as PART; no parts are an empty list.
local function parts_of(given, name, at, depth)
  local keys, values, places = {}, {}, {}
  local function put(key, value, place)
    local count = #places + 1
    keys[count], values[count], places[count] = key, value, place
  end
  local function put_all(key, value, place)
    if type(value) == "table" and (next(value) == nil or is_list(value)) then
      for index = 1, args.items(at, name, place, value, depth + 2) do
        put(key, rawget(value, index), place .. "[" .. index .. "]")
      end
    else
      put(key, value, place)
    end
  end
  if is_list(given) then
    for index = 1, args.items(at, name, "body_multipart", given, depth + 1) do
      local item, place = rawget(given, index), "body_multipart[" .. index .. "]"
      if type(item) ~= "table" or not is_list(item) then
        put(false, item, place)
      elseif args.items(at, name, place, item, depth + 1) ~= 2 or type(rawget(item, 1)) ~= "string" then
        bad(at, name, place .. " must be { name, value } or a part with a name", depth + 1)
      else
        put_all(rawget(item, 1), rawget(item, 2), place .. "[2]")
      end
    end
  else
    local names = {}
    for key in next, given do
      if type(key) ~= "string" then bad(at, name, "body_multipart must have names, got " .. show(key), depth + 1) end
      names[#names + 1] = key
    end
    sort(names)
    for _, key in next, names do
      put_all(key, given[key], "part " .. show(key) .. " of body_multipart")
    end
  end
  local parts = {}
  for index = 1, #places do
    local part, place = values[index], places[index]
    if type(part) == "number" then
      local text = digits(part)
      if not text then bad(at, name, place .. args.INFINITE .. show(part), depth + 1) end
      part = text
    end
    if type(part) == "boolean" then part = tostring(part) end
    if type(part) == "string" then part = { data = part } end
    if type(part) ~= "table" then
      bad(at, name, place .. " must be a string or a table, got " .. show(part), depth + 1)
    end
    part = args.options(at, name, part, PART, depth + 1, place)
    part.name = part.name or keys[index] or nil
    if not part.name then bad(at, name, place .. " has no name", depth + 1) end
    if (part.data == nil) == (part.path == nil) then
      bad(at, name, place .. " must have either data or a path", depth + 1)
    end
    if part.path and part.filename == nil then part.filename = match(part.path, "[^/\\]*$") end
    part.bytes, part.data = part.data, nil
    parts[index] = part
  end
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
    local bytes, err = core.form_encode(names, values)
    if bytes == nil then raise(name, err, nil, at, depth + 1) end
    return { bytes = bytes, type = "application/x-www-form-urlencoded" }
  elseif which == "body_multipart" then
    local source = parts_of(value, name, at, depth + 1) -- no tail call: its errors count the levels
    return source
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

--- The URL with the pairs of `query` behind what it has, in front of its fragment.
local function with_query(core, url, query, name, at, depth)
  local names, values = pairs_of(query, name, "query", at, depth + 1)
  local text, err = core.form_encode(names, values)
  if text == nil then raise(name, err, nil, at, depth + 1) end
  if text == "" then return url end
  local before, fragment = match(url, "^([^#]*)(.*)$")
  local between = "?"
  if find(before, "?", 1, true) then between = find(before, "[?&]$") and "" or "&" end
  return before .. between .. text .. fragment
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

--- Options that leave nothing to do between the URL and the end of the body.
local SIMPLE = { headers = true, method = true }

--- What the core is told of options: all but what is this file's own business; nil for nothing. Also whether that is a timeout at most,
-- and whether all else is SIMPLE.
local function wishes(opts)
  local told, timed, simple = nil, true, true
  for option, value in next, opts do
    if not OURS[option] then
      told = told or {}
      told[option] = value
      timed = timed and option == "timeout"
    else
      simple = simple and SIMPLE[option]
    end
  end
  return told, timed, simple
end

--- What is taken as it was given: a mark says whether an empty table is an array, and a jar is known by what it is.
local KEPT = { headers = true, body_json = true, cookies = true }

--- True if a client's defaults leave nothing to be done here for a request that says nothing of its own.
local function is_plain(defaults)
  for option in next, defaults do
    if OURS[option] and option ~= "headers" or option == "stream" then return false end
  end
  return true
end

--- Does a request that Lua has no part in and that asks for nothing but a timeout: most are like that. Answers call, status and body.
local function plain(core, name, at, depth, ...)
  local call, status, text = core.http_plain(...)
  if call == nil then raise(name, status, text, at, depth + 1) end
  if text == nil then
    local err
    text, err = core.http_read(call, "whole")
    if text == nil then error(err, 0) end
    status = core.http_head(call)
  end
  return call, status, text
end

--- Checks a request and makes its call, which has not begun; also the function that makes its body, and its options.
-- `client`: { core =, client =, inherit = }, where `inherit` is a metatable that finds the client's own options; `at`: which
-- argument the options are; `allowed`: which there may be; `begin`: the core's function that makes the call. Where Lua has nothing
-- to do between the URL and the end of the body, all of it is done here, in one step of the core's: then also status and body.
local function prepare(name, client, url, given, at, depth, method, body, allowed, begin)
  local core = client.core
  if type(url) ~= "string" then bad(1, name, "url must be a string, got " .. show(url), depth) end
  local opts = given == nil and {} or args.options(at, name, given, allowed or REQUEST, depth, nil, KEPT)
  -- The core has the client's headers: these are the request's own.
  local names, values
  if opts.headers then names, values = fields_of(opts.headers, name, at, depth) end
  if opts.proxy ~= nil then opts.proxy = proxy_of(opts.proxy, name, at, depth) end
  local told, timed, simple = wishes(opts)
  setmetatable(opts, client.inherit)
  if client.plain and timed and simple and body == nil and not begin then
    local call, status, text = plain(core, name, at, depth, client.client, url, method or opts.method or "GET", names, values,
      told and told.timeout)
    return call, nil, opts, status, text
  end
  if body ~= nil then
    if rawget(opts, "body") ~= nil then bad(at, name, "body is given twice", depth) end
    opts.body = body
  end
  check_retry(opts.retry, name, at, depth)
  local place
  if opts.save ~= nil and not is_open_file(opts.save, name, "save", at, depth) then
    if type(opts.save) ~= "string" then bad(at, name, "save must be an open file or a path, got " .. show(opts.save), depth) end
    if opts.save == "" or find(opts.save, "%c") then
      bad(at, name, "save must be a path without control characters, got " .. show(opts.save), depth)
    end
    -- What cannot be saved is not asked for.
    local why, index
    place, why, index = core.http_place(client.client, opts.save)
    if place == nil then raise(name, why, index, at, depth) end
    opts.save = place
  end
  if opts.save and opts.stream then bad(at, name, "save and stream exclude each other", depth) end
  local query, credentials = opts.query, opts.auth
  if client.base and (query or credentials) then
    -- The core keeps the client's headers and certificate from other origins; these are here.
    local leaves, why, index = core.http_leaves(client.client, url)
    if leaves == nil then raise(name, why, index, at, depth) end
    if leaves then query, credentials = rawget(opts, "query"), rawget(opts, "auth") end
  end
  if query then url = with_query(core, url, query, name, at, depth) end
  local source, pump = body_of(core, opts, name, body ~= nil and 2 or at, depth)
  if pump and begin then bad(at, name, "a body that Lua makes cannot be sent from here", depth) end
  if opts.save then
    -- Read as it comes, like a stream.
    told = told or {}
    told.stream = true
  end
  if opts.on_progress or opts.progress or client.har then
    told = told or {}
    told.paced, told.record = (opts.on_progress or opts.progress) and true, client.har and true
  end
  local cookies, auth = identity.cookies(opts.cookies, name, at, depth), identity.auth(credentials, name, at, depth)
  if cookies or auth then
    told = told or {}
    told.cookies, told.auth = cookies, auth
  end
  method = method or opts.method or "GET"
  local whole = not (begin or pump or opts.stream or opts.save or opts.on_progress or opts.progress or client.har)
  local call, status, text
  if whole and timed and not cookies and not auth and (source == nil or source.bytes) then
    call, status, text = plain(core, name, at, depth, client.client, url, method, names, values, told and told.timeout,
      source and source.bytes, source and source.type)
  else
    call, status, text = (begin or whole and core.http_fetch or core.http_start)(
      client.client, url, method, names, values, source, told)
    if call == nil then raise(name, status, text, at, depth) end
  end
  return call, pump, opts, status, text
end

--- The function that tells how far a request is, if anybody wants to know: (done, total, what, last).
local function reporter(core, call, opts)
  local told = opts.on_progress
  local bar = opts.progress and core.http_bar() or nil
  if not told and not bar then return nil end
  local said, of, about
  return function(done, total, what, last)
    if bar then core.http_draw(bar, done, total, last and what == "download") end
    -- The end of a body is news only where its last piece was not.
    if not told or said == done and of == total and about == what then return end
    said, of, about = done, total, what
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

return {
  CLIENT = CLIENT, REQUEST = REQUEST, can_guard = can_guard, add_headers = add_headers, flatten = flatten,
  is_open_file = is_open_file, is_plain = is_plain, raise = raise, check_retry = check_retry, proxy_of = proxy_of, wishes = wishes,
  body_of = body_of, plain = plain, prepare = prepare, reporter = reporter, converse = converse,
}
