--- Responses of handlers: `response.new(status, headers, body)` and its short forms, redirects, which are raised, and the
-- Content-Security-Policy.
local args = require("caspian.net.args")
local objects = require("caspian.net.objects")
local error, next, rawequal, rawget, rawset, setfenv, setmetatable, tostring, type =
  error, next, rawequal, rawget, rawset, setfenv, setmetatable, tostring, type
local find, lower, match = string.find, string.lower, string.match
local concat, sort = table.concat, table.sort
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, own, show = args.bad, args.own, args.show

--- Short names of headers.
local ALIASES = { content_type = "Content-Type", location = "Location" }

local HTML, JSON, TEXT = "text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8"

-- --- Content-Security-Policy (CSP Level 3) --------------------------------------------------------------------------

--- Keywords, which stand in quotes in the header.
local KEYWORDS = {
  self = true, none = true, ["unsafe-inline"] = true, ["unsafe-eval"] = true, ["strict-dynamic"] = true, ["report-sample"] = true,
  ["unsafe-hashes"] = true, ["wasm-unsafe-eval"] = true, ["inline-speculation-rules"] = true,
}

--- By policy: the names of its directives in the order in which they came, and their sources.
local policies = setmetatable({}, { __mode = "k" })

local function is_quoted(source)
  return KEYWORDS[source] or find(source, "^nonce%-") or find(source, "^sha256%-") or find(source, "^sha384%-") or find(source, "^sha512%-")
end

--- A policy: `csp[directive]` is a list, made when it is asked for; `csp:clear()` empties it.
local CSP = { __name = "caspian.net.csp", __metatable = false }

--- Takes every directive away.
local function clear(self)
  local state = policies[self]
  if not state then error("clear: call it with a colon, on a policy", 2) end
  state.names, state.sources = {}, {}
end

function CSP.__index(self, name)
  if name == "clear" then return clear end
  local state = policies[self]
  if type(name) ~= "string" or not find(name, "^%l[%l%-]*$") then
    error("csp: a directive must be a word in lower case, got " .. show(name), 2)
  end
  local list = state.sources[name]
  if not list then
    list = {}
    state.names[#state.names + 1], state.sources[name] = name, list
  end
  return list
end

function CSP.__newindex(self, name, value)
  if type(value) == "string" then value = { value } end
  if value ~= nil and type(value) ~= "table" then error("csp: sources must be a list, got " .. show(value), 2) end
  local state = policies[self]
  if name == "clear" or type(name) ~= "string" or not find(name, "^%l[%l%-]*$") then
    error("csp: a directive must be a word in lower case, got " .. show(name), 2)
  end
  if not state.sources[name] then state.names[#state.names + 1] = name end
  state.sources[name] = value or {}
end

function CSP.__pairs(self)
  local copy = {}
  for name, list in next, policies[self].sources do copy[name] = list end
  return next, copy, nil
end

local function policy()
  local self = setmetatable({}, CSP)
  policies[self] = { names = {}, sources = {} }
  return self
end

--- The header of a policy; nil if no directive has a source. What would begin another directive or header raises.
local function serialized(self)
  local state, parts = policies[self], {}
  for _, name in next, state.names do
    local list, sources = state.sources[name], {}
    for index = 1, #list do
      local source = list[index]
      if type(source) ~= "string" or source == "" or find(source, "[%s%c;,]") then
        error("csp: a source of " .. name .. " must be a word without blanks, commas and semicolons, got " .. show(source), 0)
      end
      sources[index] = is_quoted(source) and "'" .. source .. "'" or source
    end
    if sources[1] then parts[#parts + 1] = name .. " " .. concat(sources, " ") end
  end
  return parts[1] and concat(parts, "; ") or nil
end

-- --- responses ------------------------------------------------------------------------------------------------------

--- By this key responses are known, and have what is behind them: true, or { csp = its policy, other = a body that is no text }.
-- In the response itself, since a weak table costs each of them a collection's work; whoever finds it there is a handler.
local BEHIND = {}

--- Headers as a handler gives them: the aliases are names, too.
local HEADERS = { __name = "caspian.net.response_headers", __metatable = false }

function HEADERS.__index(self, name)
  if ALIASES[name] then return rawget(self, ALIASES[name]) end
  if type(name) ~= "string" then return nil end
  local wanted = lower(name)
  for key, value in next, self do
    if lower(key) == wanted then return value end
  end
end

function HEADERS.__newindex(self, name, value)
  name = ALIASES[name] or name
  if type(name) ~= "string" then error("headers: a name must be a string, got " .. show(name), 2) end
  -- One header, however it is written.
  local wanted = lower(name)
  for key in next, self do
    if lower(key) == wanted then rawset(self, key, nil) break end
  end
  rawset(self, name, value)
end

--- A copy of a caller's headers; wrong values are found when they are sent, and here.
local function headers_of(given, at, name)
  local headers = setmetatable({}, HEADERS)
  for key, value in next, given do
    if type(key) ~= "string" then bad(at, name, "headers must have names, got " .. show(key)) end
    if type(value) == "table" then
      local list = {}
      for index = 1, args.items(at, name, "header " .. show(key), value) do
        list[index] = rawget(value, index)
        if type(list[index]) ~= "string" then
          bad(at, name, "header " .. show(key) .. " must be a string or a flat list of strings, got " .. show(list[index]))
        end
      end
      value = list
    elseif type(value) == "number" then
      value = args.digits(value)
    elseif type(value) ~= "string" then
      bad(at, name, "header " .. show(key) .. " must be a string or a flat list of strings, got " .. show(value))
    end
    headers[key] = value
  end
  return headers
end

local RESPONSE = { __name = "caspian.net.sammy.response", __metatable = false }
objects.kinds[RESPONSE] = "response"

--- What is behind a response, made when there is something.
local function behind(self)
  local state = rawget(self, BEHIND)
  if state == true then
    state = {}
    rawset(self, BEHIND, state)
  end
  return state
end

function RESPONSE.__index(self, name)
  if name ~= "csp" then return nil end
  local state = behind(self)
  if not state.csp then state.csp = policy() end
  return state.csp
end

function RESPONSE.__newindex(self, name, value)
  if name == "csp" then
    if type(value) ~= "table" then error("csp must be a table, got " .. show(value), 2) end
    local csp = policy()
    if policies[value] then
      policies[csp] = policies[value]
    else
      local names = {}
      for directive in next, value do names[#names + 1] = directive end
      sort(names, function(a, b) return tostring(a) < tostring(b) end)
      for index = 1, #names do csp[names[index]] = value[names[index]] end
    end
    behind(self).csp = csp
  else
    error("a response has status, headers, body and csp, not " .. show(name), 2)
  end
end

function RESPONSE.__tostring(self) return "response " .. tostring(self.status) end

--- A response whose parts were checked. `status` nil: nobody has answered yet.
local function make(status, headers, body)
  -- Set here, so that a status and a body can be set and taken away later without the metatable's word.
  return setmetatable({
    status = status or false, headers = headers or setmetatable({}, HEADERS), body = body or "", [BEHIND] = true,
  }, RESPONSE)
end

local function check(name, at, status)
  if type(status) ~= "number" or status % 1 ~= 0 or status < 200 or status > 599 then
    bad(at, name, "status must be a whole number, 200..599, got " .. show(status))
  end
end

--- A response of these parts, which a public function was given.
local function new(name, at, status, headers, body)
  check(name, at, status)
  if headers ~= nil and type(headers) ~= "table" then
    bad(at + 1, name, "headers must be a table, got " .. show(headers))
  end
  if body ~= nil and type(body) ~= "string" and type(body) ~= "function" then
    bad(at + 2, name, "body must be a string, or a function that returns the next piece, got " .. show(body))
  end
  return make(status, headers and headers_of(headers, at + 1, name), body)
end

local function is(value)
  return type(value) == "table" and rawget(value, BEHIND) ~= nil
end

--- What a handler answered as a response: one of ours, or a table { status =, headers =, body = | body_json = | body_file = }.
-- nil for what is none.
local function from(value)
  if is(value) then return value end
  if type(value) ~= "table" or type(rawget(value, "status")) ~= "number" then return nil end
  local self = make(rawget(value, "status"), nil, rawget(value, "body"))
  for key, each in next, rawget(value, "headers") or {} do self.headers[key] = each end
  behind(self).other = { body_json = rawget(value, "body_json"), body_file = rawget(value, "body_file") }
  return self
end

--- The page of a status that no handler answered with; says nothing but what the status is.
local REASONS = {
  [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found", [405] = "Method Not Allowed",
  [500] = "Internal Server Error", [504] = "Gateway Timeout",
}
local function page(status, headers)
  local words = status .. " " .. REASONS[status]
  local body = "<!DOCTYPE html>\n<html lang=\"en\"><head><title>" .. words .. "</title></head><body><h1>" .. words .. "</h1></body></html>\n"
  local self = make(status, setmetatable({ ["Content-Type"] = HTML }, HEADERS), body)
  for name, value in next, headers or {} do self.headers[name] = value end
  return self
end

--- What handlers make responses with: `response.new`, `.html` …
-- @param encode JSON
local function maker(encode)
  local members, redirect = {}, {}
  local object = objects.sealed("sammy.responses", members)
  members.redirect = objects.sealed("sammy.redirect", redirect)

  --- A response. headers: { [name] = value or a flat list of them }, with the aliases `content_type` and `location`. body: a
  -- string, or a function that returns the next piece.
  function members.new(...)
    local status, headers, body = own(object, ...)
    return new("new", 1, status, headers, body)
  end

  for name, content_type in next, { html = HTML, text = TEXT } do
    --- A page, or plain text.
    members[name] = function(...)
      local status, body = own(object, ...)
      if type(body) ~= "string" then bad(2, name, "body must be a string, got " .. show(body)) end
      check(name, 1, status)
      return make(status, setmetatable({ ["Content-Type"] = content_type }, HEADERS), body)
    end
  end

  --- A value as JSON.
  function members.json(...)
    local status, value = own(object, ...)
    local text, err = encode(value)
    if text == nil then bad(2, "json", type(err) == "string" and err or tostring(err)) end
    check("json", 1, status)
    return make(status, setmetatable({ ["Content-Type"] = JSON }, HEADERS), text)
  end

  --- A response without a body.
  function members.empty(...)
    local status = own(object, ...)
    return new("empty", 1, status, nil, nil)
  end

  for name, status in next, { permanent = 301, temporary = 302, see_other = 303 } do
    --- Raises a redirect: whoever called the handler answers it.
    redirect[name] = function(...)
      local url = own(members.redirect, ...)
      if type(url) ~= "string" or url == "" or find(url, "[%c%s]") then
        bad(1, name, "url must be a string without blanks and control characters, got " .. show(url))
      end
      error(make(status, headers_of({ Location = url }, 1, name)), 0)
    end
  end

  return object
end

--- The name of a cookie that a list sets twice.
local function doubled_cookie(list)
  local seen = {}
  for index = 1, #list do
    local name = type(list[index]) == "string" and match(list[index], "^%s*([^=;%s]+)")
    if name and seen[name] then return name end
    if name then seen[name] = true end
  end
end

--- Adds a cookie to those that a response sets.
local function add_cookie(self, line)
  local list = self.headers["Set-Cookie"]
  if type(list) == "table" then
    list[#list + 1] = line
  elseif list ~= nil then
    self.headers["Set-Cookie"] = { list, line }
  else
    self.headers["Set-Cookie"] = line
  end
end

--- What `request:respond` takes, of a response, and the name of a cookie that it sets twice: raises where it cannot be sent.
local function sent(self)
  local state, headers = rawget(self, BEHIND), self.headers
  if type(headers) ~= "table" then error("headers must be a table, got " .. show(headers), 0) end
  -- With a name of its own for each header it goes as it is.
  local plain, doubled = state == true, nil
  for name, value in next, headers do
    if ALIASES[name] then plain = false end
    if type(value) == "table" and lower(name) == "set-cookie" then doubled = doubled_cookie(value) end
  end
  if plain then return self.status, headers, self.body, doubled end
  headers = {}
  for name, value in next, self.headers do headers[ALIASES[name] or name] = value end
  if state == true then return self.status, headers, self.body, doubled end
  local csp = state.csp and serialized(state.csp)
  if csp then headers["Content-Security-Policy"] = csp end
  local given = { status = self.status, headers = headers }
  local other = state.other
  if other and other.body_json ~= nil then
    given.body_json = other.body_json
  elseif other and other.body_file ~= nil then
    given.body_file = other.body_file
  else
    given.body = self.body
  end
  return given, nil, nil, doubled
end

--- Lays what was set before anybody answered (headers, a policy) beneath an answer.
local function beneath(self, draft)
  if rawequal(self, draft) then return end
  for name, value in next, draft.headers do
    if self.headers[name] == nil then self.headers[name] = value end
  end
  local theirs = rawget(draft, BEHIND)
  if theirs ~= true and theirs.csp and not behind(self).csp then behind(self).csp = theirs.csp end
end

return {
  make = make, is = is, from = from, page = page, maker = maker, sent = sent, beneath = beneath, add_cookie = add_cookie,
  serialized = serialized,
  --- Answers with a file, which the server sends by itself: ranges and conditional requests, too.
  file = function(self, file) behind(self).other = { body_file = file } end,
  --- The body, where it is a string.
  text = function(self) return type(self.body) == "string" and (self[BEHIND] == true or not self[BEHIND].other) and self.body or nil end,
}
