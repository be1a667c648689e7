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
  max_body_bytes = "bytes",       -- 256 MiB; of a body that is gathered
  stream = "boolean",             -- false
  resolve = "table",              -- { ["host:port"] = ip }
  unix = "string",                -- path of a socket
  proxy = "any",                  -- [http://][user:password@]host[:port], or https, socks4, socks4a, socks5, socks5h; or PROXY; false: none
  on_progress = "function",       -- called with done, total (nil if unknown), and "upload" or "download"
  progress = "boolean",           -- false; draws a bar where standard error is a terminal
  decompress = "boolean",         -- true; gzip, deflate, br, zstd
  cookies = "any",                -- false; true: a jar that is the client's own; or a jar
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

--- The option `retry` for the core, which may be several things.
local function retry_of(value, name, at)
  if type(value) == "table" then
    local given = args.options(at, name, value, RETRY, "retry")
    for index, status in next, given.statuses or {} do
      if type(index) ~= "number" or not args.kinds.port[1](status) or status < 100 or status > 999 then
        bad(at, name, "retry.statuses must be a list of statuses, got " .. show(status))
      end
    end
    return given
  elseif type(value) ~= "boolean" and not args.kinds.whole[1](value) then
    bad(at, name, "retry must be a whole number, true, false or a table, got " .. show(value))
  end
  return value
end

--- Raises the core's error: the object as it is, a wrong argument where the public function was called.
-- @param at the argument that options came in
local function raise(name, err, index, at)
  if type(err) ~= "string" then error(err, 0) end
  bad(index == 2 and at or index or 0, name, err)
end

--- The value of a header as a string.
local function value_of(name, at, header, value)
  local kind = type(value)
  if kind == "string" and #value <= MOST then return value end
  if kind == "number" then
    local text = digits(value)
    if not text then bad(at, name, "the value of header " .. show(header) .. args.INFINITE .. show(value)) end
    return text
  end
  if kind ~= "string" then
    bad(at, name, "the value of header " .. show(header) .. " must be a string, got " .. show(value))
  end
  args.short(at, name, "the value of header " .. show(header), value)
end

--- The headers of `given` as the core takes them: by name a string, a list of strings, or `false` for what is not said, whoever would say it.
-- That is `given` itself where it has strings only, as most have, and nothing else (`copied`) is asked for.
local function headers_of(given, name, at, copied)
  local simple = not copied
  for header, value in next, given do
    simple = simple and type(header) == "string" and type(value) == "string" and #value <= MOST
  end
  if simple then return given end
  local headers, seen = {}, {}
  for header, value in next, given do
    if type(header) ~= "string" then
      bad(at, name, "headers must be a table from names to values, got the name " .. show(header))
    end
    -- The core says so, too; but an empty list is nothing to it.
    if seen[lower(header)] then bad(at, name, "header " .. show(header) .. " is given twice") end
    seen[lower(header)] = true
    if type(value) == "table" then
      local values = {}
      for index = 1, args.items(at, name, "header " .. show(header), value) do
        values[index] = value_of(name, at, header, rawget(value, index))
      end
      headers[header] = values
    else
      headers[header] = value and value_of(name, at, header, value)
    end
  end
  return headers
end

--- The option `proxy` for the core: a URL, false, or a table of plain values.
local function proxy_of(value, name, at)
  if value == false or type(value) == "string" then return value end
  -- Never shown: a URL may hold a password.
  if type(value) ~= "table" then bad(at, name, "proxy must be a URL or a table, got a " .. type(value)) end
  local given = args.options(at, name, value, PROXY, "proxy")
  if not given.url then bad(at, name, "proxy has no url") end
  local who = identity.auth(given.auth, name, at) or {}
  if who.bearer then
    bad(at, name, "proxy.auth has no bearer; give it in proxy.headers, as Proxy-Authorization")
  end
  return {
    url = given.url, tunnel = given.tunnel, headers = headers_of(given.headers or {}, name, at),
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
  return { pump = true, length = rest }, nil, function() return file:read(65536) end
end

local function is_open_file(value, name, what, at)
  local kind = io_type and io_type(value)
  if kind == "closed file" then bad(at, name, what .. " is a closed file") end
  return kind == "file"
end

local PART = { name = "string", data = "string", path = "string", filename = "string", type = "string" }
args.declare{ Fetch_options = REQUEST, Retry = RETRY, Proxy = PROXY, Form_part = PART }

--- Parts of a multipart body, for the core: { { name =, bytes = | path =, filename =, type = }, … }. From { name = part,
-- name = { part, part } } in the order of the names, or a list of { name, part }, { name, { part, part } } and of parts that say
-- their name. A part is a string, a number, a boolean, or a table as PART; no parts are an empty list.
local function parts_of(given, name, at)
  local keys, values, places = {}, {}, {}
  local function put(key, value, place)
    local count = #places + 1
    keys[count], values[count], places[count] = key, value, place
  end
  local function put_all(key, value, place)
    if type(value) == "table" and (next(value) == nil or is_list(value)) then
      for index = 1, args.items(at, name, place, value) do
        put(key, rawget(value, index), place .. "[" .. index .. "]")
      end
    else
      put(key, value, place)
    end
  end
  if is_list(given) then
    for index = 1, args.items(at, name, "body_multipart", given) do
      local item, place = rawget(given, index), "body_multipart[" .. index .. "]"
      if type(item) ~= "table" or not is_list(item) then
        put(false, item, place)
      elseif args.items(at, name, place, item) ~= 2 or type(rawget(item, 1)) ~= "string" then
        bad(at, name, place .. " must be { name, value } or a part with a name")
      else
        put_all(rawget(item, 1), rawget(item, 2), place .. "[2]")
      end
    end
  else
    local names = {}
    for key in next, given do
      if type(key) ~= "string" then bad(at, name, "body_multipart must have names, got " .. show(key)) end
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
      if not text then bad(at, name, place .. args.INFINITE .. show(part)) end
      part = text
    end
    if type(part) == "boolean" then part = tostring(part) end
    if type(part) == "string" then part = { data = part } end
    if type(part) ~= "table" then
      bad(at, name, place .. " must be a string or a table, got " .. show(part))
    end
    part = args.options(at, name, part, PART, place)
    part.name = part.name or keys[index] or nil
    if not part.name then bad(at, name, place .. " has no name") end
    if (part.data == nil) == (part.path == nil) then
      bad(at, name, place .. " must have either data or a path")
    end
    if part.path and part.filename == nil then part.filename = match(part.path, "[^/\\]*$") end
    part.bytes, part.data = part.data, nil
    parts[index] = part
  end
  return { parts = parts }
end

--- A value as a body of JSON, and its type.
local function json_of(core, value, name, at)
  local bytes, err, index = core.json_encode(value, 2)
  if bytes == nil then raise(name, err, index, at) end
  return bytes, "application/json"
end

--- The body for the core: a string or a table; its type; and the function that makes its pieces, if there is one.
local function body_of(core, opts, name, at)
  local which
  for index = 1, #BODIES do
    local option = BODIES[index]
    if opts[option] ~= nil then
      if which then bad(at, name, which .. " and " .. option .. " exclude each other") end
      which = option
    end
  end
  if not which then return nil end
  local value = opts[which]
  if which == "body_json" then
    return json_of(core, value, name, at)
  elseif which == "body_form" then
    local names, values = pairs_of(value, name, which, at)
    local bytes, err = core.form_encode(names, values)
    if bytes == nil then raise(name, err, nil, at) end
    return bytes, "application/x-www-form-urlencoded"
  elseif which == "body_multipart" then
    return parts_of(value, name, at)
  elseif is_open_file(value, name, which, at) then
    return from_file(value)
  elseif type(value) == "string" then
    if which == "body_file" then return { path = value } end
    return value
  elseif type(value) == "function" and which == "body" then
    return { pump = true }, nil, value
  end
  local kinds = which == "body" and "a string, an open file or a function" or "a path or an open file"
  bad(at, name, which .. " must be " .. kinds .. ", got " .. show(value))
end

--- The option `query` for the core: its pairs as they stand in a URL.
local function query_of(value, name, at, core)
  local names, values = pairs_of(value, name, "query", at)
  local text, err = core.form_encode(names, values)
  if text == nil then raise(name, err, nil, at) end
  return text
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
      error("the request's body function must return strings, got " .. show(piece), 0)
    end
  until piece ~= ""
  return piece
end

--- Where a body is saved: an open file as it is, a path as a place of the core's. What cannot be saved is not asked for.
local function place_of(core, client, value, name, at)
  if is_open_file(value, name, "save", at) then return value end
  if type(value) ~= "string" then bad(at, name, "save must be an open file or a path, got " .. show(value)) end
  if value == "" or find(value, "%c") then
    bad(at, name, "save must be a path without control characters, got " .. show(value))
  end
  local place, why, index = core.http_place(client, value)
  if place == nil then raise(name, why, index, at) end
  return place
end

--- Options that the core is told in other words, which a function makes of the value, or not at all.
local WORDS = {
  headers = false, method = false, save = false, on_progress = false, progress = false,
  cookies = identity.cookies, auth = identity.auth, proxy = proxy_of, query = query_of, retry = retry_of,
}
for index = 1, #BODIES do WORDS[BODIES[index]] = false end

--- What the core is told of options.
local function told_of(core, opts, name, at)
  local told = {}
  for option, value in next, opts do
    local word = WORDS[option]
    if word then value = word(value, name, at, core) end
    if word ~= false then told[option] = value end
  end
  if rawget(opts, "on_progress") ~= nil or rawget(opts, "progress") ~= nil then
    told.paced = (opts.on_progress or opts.progress) and true or false
  end
  return told
end

--- What is taken as it was given: a mark says whether an empty table is an array, and a jar is known by what it is.
local KEPT = { headers = true, body_json = true, cookies = true }

--- A request's own headers, timeout and JSON, where it has nothing else and none of them is wrong: most are like that. Also true then.
local function simple(given)
  local headers, timeout, json
  for option, value in next, given do
    if option == "headers" and type(value) == "table" then headers = value
    elseif option == "timeout" and type(value) == "number" and value >= 0 then timeout = value
    elseif option == "body_json" then json = value
    else return false end
  end
  return true, headers, timeout, json
end

--- Checks a request and makes its call; also the function that makes its body, and its options. Where Lua has no part in it up to the
-- end of the answer, all of that is done here, in one step of the core's: then also status and body.
-- `client`: { core =, client =, defaults = its own options, inherit = the metatable that finds them }; `at`: which argument the options are;
-- `allowed`: which there may be; `begin`: a function of the core's that makes something else than a call; `apart`: a call that has not begun.
local function prepare(name, client, url, given, at, method, body, allowed, begin, apart)
  local core = client.core
  if type(url) ~= "string" then bad(1, name, "url must be a string, got " .. show(url)) end
  local opts, source, kind, pump = client.defaults, body, nil, nil
  -- What begins with a function of its own asks for its options.
  local is_simple, headers, told, json = not begin and (body == nil or type(body) == "string"), nil, nil, nil
  if is_simple and given ~= nil then
    if type(given) == "table" then is_simple, headers, told, json = simple(given) else is_simple = false end
  end
  if is_simple and (json == nil or body == nil) then
    if headers then headers = headers_of(headers, name, at) end
    if json ~= nil then source, kind = json_of(core, json, name, at) end
  else
    opts = setmetatable(args.options(at, name, given, allowed or REQUEST, nil, KEPT), client.inherit)
    headers = rawget(opts, "headers")
    if headers then headers = headers_of(headers, name, at) end
    if body ~= nil then
      if rawget(opts, "body") ~= nil then bad(at, name, "body is given twice") end
      opts.body = body
    end
    told = told_of(core, opts, name, at)
    if opts.save ~= nil then
      if opts.stream then bad(at, name, "save and stream exclude each other") end
      opts.save = place_of(core, client.client, opts.save, name, at)
      -- Read as it comes, like a stream.
      told.stream = true
    end
    source, kind, pump = body_of(core, opts, name, body ~= nil and 2 or at)
    if pump and (begin or apart) then bad(at, name, "a body that Lua code produces is not supported here") end
    method = method or opts.method
  end
  local call, status, text = (begin or core.http_request)(
    client.client, url, method or "GET", headers, told, source, kind, apart)
  if call == nil then raise(name, status, text, at) end
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
  CLIENT = CLIENT, REQUEST = REQUEST, can_guard = can_guard, headers_of = headers_of, is_open_file = is_open_file, raise = raise,
  proxy_of = proxy_of, told_of = told_of, body_of = body_of, prepare = prepare, reporter = reporter, converse = converse,
}
