--- The middleware of a guard: the request that it may change, the chain of calls, and the response that it may change or
-- make. Callbacks may yield and raise, on every Lua.
local args = require("caspian.net.args")
local malformed = require("caspian.net.error_methods").malformed
local objects = require("caspian.net.objects")
local error, next, rawequal, rawget, select, setfenv, setmetatable, type =
  error, next, rawequal, rawget, select, setfenv, setmetatable, type
local floor, lower, sort = math.floor, string.lower, table.sort
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local length, own, show = args.length, args.own, args.show

--- What is said of a wrong value: the untrusted side may read it, so of a text no more than that it is one.
local function sort_of(value) return type(value) == "number" and show(value) or type(value) end

local ARRAY, HASH, kinds = objects.ARRAY, objects.HASH, objects.kinds

--- What middleware is handed knows what it is.
local REQUEST = { __name = "caspian.net.request", __metatable = false }
local RESPONSE = { __name = "caspian.net.response", __metatable = false }
kinds[REQUEST], kinds[RESPONSE] = "request", "response"

--- A copy of headers that folds case.
local function folded(headers)
  local copy = {}
  for name, value in next, headers do
    if type(value) == "table" then
      local list = {}
      for index = 1, length(value) do list[index] = rawget(value, index) end
      value = setmetatable(list, ARRAY)
    end
    copy[type(name) == "string" and lower(name) or name] = value
  end
  return setmetatable(copy, objects.FOLDED)
end

-- ---------------------------------------------------------------------------------------------- requests

--- The `ctx.req` of one hop. `request`: { url =, method =, headers =, body = } as the untrusted side made it, or as a
-- redirect did; `decided`: what the rules said to it.
local function request_of(request, decided, hop)
  local params = {}
  for name, value in next, decided.params or {} do params[name] = value end
  local req = setmetatable({
    url = decided.url, method = request.method, headers = folded(request.headers), body = request.body,
    params = setmetatable(params, HASH), hop = hop,
    raw = objects.sealed("request", {
      url = request.given, method = request.method, headers = folded(request.headers), body = request.body,
    }),
  }, REQUEST)
  --- Another URL; it is checked against the rules when the request is sent.
  function req.set_url(...)
    local url = own(req, ...)
    if type(url) ~= "string" then args.raise("set_url: url must be a string, got " .. show(url)) end
    req.url = url
  end
  --- A header's value; with a second argument, sets it (a string, an array of strings; false takes it away, nil what was set).
  local function header(count, name, value)
    if type(name) ~= "string" then args.raise("header: name must be a string, got " .. show(name)) end
    local key = lower(name)
    if count > 1 then req.headers[key] = value end
    return req.headers[key] or nil
  end
  function req.header(...)
    if rawequal((...), req) then return header(select("#", ...) - 1, select(2, ...)) end
    return header(select("#", ...), ...)
  end
  --- Another body, or none (nil).
  function req.set_body(...)
    local body = own(req, ...)
    if body ~= nil and type(body) ~= "string" then args.raise("set_body: body must be a string, got " .. show(body)) end
    req.body = body
  end
  return req
end

-- --------------------------------------------------------------------------------------------- responses

--- Responses on their way through the chain, that they are not made twice.
local made = setmetatable({}, { __mode = "k" })

--- A response that middleware may read and change: { status =, reason =, version =, headers =, body =, url = where it came
-- from }, with `text()` and `json()` of the body that it has by then.
local function response_of(core, given)
  local response = setmetatable({
    status = given.status, reason = given.reason, version = given.version, headers = folded(given.headers or {}),
    body = given.body, body_json = given.body_json, url = given.url,
  }, RESPONSE)
  local function body()
    if response.body_json ~= nil then
      local bytes, err = core.json_encode(response.body_json, 1)
      if bytes == nil then error(err, 0) end
      return bytes
    end
    if response.body == nil then return "" end
    if type(response.body) ~= "string" then error("the response's body must be a string", 0) end
    return response.body
  end
  function response.text()
    local kind = response.headers["content-type"]
    local text, err = core.guard_text(type(kind) == "string" and kind or nil, body())
    if text == nil then error(err, 0) end
    return text
  end
  function response.json()
    local value, err = core.json_decode(body())
    if value == nil then error(malformed(err, response.url), 0) end
    return value
  end
  made[response] = true
  return response
end

--- What a middleware returned, as a response; one of `fetch` or of another guard will do.
local function normal(core, answer)
  if type(answer) ~= "table" then
    error("middleware must return a response ({ status =, headers =, body = }), got " .. sort_of(answer), 0)
  end
  if made[answer] then return answer end
  local headers = answer.headers
  if headers ~= nil and type(headers) ~= "table" then
    error("middleware: the response's headers must be a table, got " .. sort_of(headers), 0)
  end
  return response_of(core, {
    status = answer.status, reason = answer.reason, headers = headers, body = answer.body, body_json = answer.body_json,
  })
end

--- Runs `list` around `send`, the first one outermost; answers the response.
-- A middleware may call `next` several times (each time is a new request) but not after it has returned. What it returns
-- is the response; if that is nothing, the last one that `next` gave it.
local function run(core, list, ctx, send)
  local function level(index)
    local middleware = list[index]
    if not middleware then return send() end
    local over, inner = false, nil
    local function following()
      if over then error("next: the middleware has returned already", 0) end
      local response = level(index + 1)
      inner = response
      return response
    end
    local answer = middleware(ctx, following)
    over = true
    if answer == nil and inner ~= nil then return inner end
    if answer == nil then error("middleware must return a response or call next()", 0) end
    return normal(core, answer)
  end
  return level(1)
end

--- Checks a response that comes out of the chain: plain values only.
local function plain(core, response)
  local status, reason, version = rawget(response, "status"), rawget(response, "reason"), rawget(response, "version")
  if type(status) ~= "number" or status ~= floor(status) or status < 200 or status > 999 then
    error("middleware: the response's status must be 200..999, got " .. sort_of(status), 0)
  end
  if reason ~= nil and type(reason) ~= "string" then
    error("middleware: the response's reason must be a string, got " .. sort_of(reason), 0)
  end
  local headers, given = {}, rawget(response, "headers")
  if type(given) ~= "table" then error("middleware: the response's headers must be a table, got " .. sort_of(given), 0) end
  for name, value in next, given do
    if type(name) ~= "string" then
      error("middleware: the response's headers must have names, got " .. sort_of(name), 0)
    end
    local list = type(value) == "table" and value or { value or nil }
    local copy = {}
    for index = 1, length(list) do
      local item = rawget(list, index)
      if type(item) == "number" then item = args.digits(item) or item end
      if type(item) ~= "string" then
        error("middleware: the value of the response's header " .. show(name) .. " must be a string, got " .. sort_of(item), 0)
      end
      copy[index] = item
    end
    if value ~= false then headers[lower(name)] = type(value) == "table" and setmetatable(copy, ARRAY) or copy[1] end
  end
  local body, json = rawget(response, "body"), rawget(response, "body_json")
  if json ~= nil then
    local err
    body, err = core.json_encode(json, 1)
    if body == nil then error(type(err) == "string" and "middleware: " .. err or err, 0) end
    headers["content-type"] = headers["content-type"] or "application/json"
  end
  if body ~= nil and type(body) ~= "string" then
    error("middleware: the response's body must be a string, got " .. sort_of(body), 0)
  end
  return {
    status = status, reason = reason or "", headers = headers, body = body or "",
    version = type(version) == "string" and version or "1.1",
  }
end

--- The response as the untrusted side gets it: nothing on it says how, or whether, it came over the network.
local function sealed(core, response, url, chain)
  local ok = response.status >= 200 and response.status < 300
  local names, raw = {}, {}
  for name in next, response.headers do names[#names + 1] = name end
  sort(names)
  for _, name in next, names do
    local value = response.headers[name]
    local list = type(value) == "table" and value or { value }
    for index = 1, #list do raw[#raw + 1] = setmetatable({ name, list[index] }, ARRAY) end
  end
  local members = {
    status = response.status, ok = ok, ["ok?"] = ok, reason = response.reason, version = response.version,
    headers = setmetatable(response.headers, objects.FOLDED), raw_headers = setmetatable(raw, ARRAY), body = response.body, url = url,
    redirect_chain = setmetatable(chain, ARRAY),
  }
  local kind, body = response.headers["content-type"], response.body
  function members.text()
    local text, err = core.guard_text(type(kind) == "string" and kind or nil, body)
    if text == nil then error(err, 0) end
    return text
  end
  function members.json()
    local value, err = core.json_decode(body)
    if value == nil then error(malformed(err, url), 0) end
    return value
  end
  local reason = response.reason ~= "" and " " .. response.reason or ""
  return objects.sealed("response", members, "response " .. response.status .. reason)
end

return { folded = folded, request_of = request_of, response_of = response_of, run = run, plain = plain, sealed = sealed }
