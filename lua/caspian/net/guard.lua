--- `net.http.guard(config)`: the configuration, checked to the last key and copied, and the table with `fetch` for untrusted
-- code. `guarded` has the fetch.
local args = require("caspian.net.args")
local guarded = require("caspian.net.guarded")
local identity = require("caspian.net.identity")
local objects = require("caspian.net.objects")
local error, next, pcall, rawget, setfenv, setmetatable, type =
  error, next, pcall, rawget, setfenv, setmetatable, type
local floor, gsub, sub = math.floor, string.gsub, string.sub
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, own, show, kinds = args.bad, args.own, args.show, args.kinds

local CONFIG = {
  rules = "table",                -- one or a list; see RULE
  middleware = "any",             -- a function or a list: around everything
  policy = "function",            -- asked where no rule is about the origin; true lets it pass
  allow_private = "any",          -- false; true, or a list of addresses and blocks
  follow_redirects = "boolean",   -- false
  max_redirects = "whole",        -- 10
  max_body_bytes = "bytes",       -- 10 MiB; of a response, after decompression
  max_request_bytes = "bytes",    -- 10 MiB; of what the untrusted side sends: URL, headers and body
  timeout = "seconds",            -- 30; of a whole fetch, callbacks and hops among it
  connect_timeout = "seconds",    -- of DNS, TCP and TLS
  read_timeout = "seconds",       -- the longest silence
  verify = "boolean", ca_bundle = "string", client_cert = "string", client_key = "string", client_key_password = "string",
  pins = "strings",
  cookies = "any",                -- false; true: a jar of the guard's own; or a jar
  resolve = "table",              -- { ["host:port"] = ip }
}

local RULE = {
  host = "string",                -- a name, *.name (one label), or an address
  https_only = "boolean",         -- true
  ports = "any",                  -- 443; with https_only = false 80 and 443. A number or a list
  routes = "table",               -- none: every path; {}: no path
  middleware = "any",             -- around every route of the origin
}

local ROUTE = {
  path = "string",                -- a pattern
  methods = "any",                -- a string or a list. Defaults to any
  middleware = "any",
}
args.declare{ Guard_config = CONFIG, Guard_rule = RULE, Guard_route = ROUTE }

local MIB = 1024 * 1024

--- Options of the core's that a guard hands on.
local TOLD = {
  "connect_timeout", "read_timeout", "verify", "ca_bundle", "client_cert", "client_key", "client_key_password", "pins", "resolve",
}

-- Readers raise the words of what is wrong, with the path of its key; `read` is called under a pcall, and calls nobody.

local function wrong(path, words)
  error(path .. ": " .. words, 0)
end

--- A copy of one table of the configuration, checked against what it may have. Read raw, as all of it.
local function fields(given, allowed, path)
  if type(given) ~= "table" then wrong(path, "must be a table, got " .. show(given)) end
  local copy = {}
  for key, value in next, given do
    local at = (path == "config" and "" or path .. ".") .. (type(key) == "string" and key or show(key))
    local test = kinds[type(key) == "string" and allowed[key] or false]
    if not test then
      local belongs = allowed == CONFIG and RULE[key] and "; it belongs to a rule, in rules"
      wrong(at, "unknown key" .. (belongs or args.hint(key, allowed)))
    end
    if not test[1](value) then wrong(at, sub(args.wrong(allowed[key], value), 2)) end
    if type(value) == "string" and #value > args.MOST then wrong(at, "is longer than " .. args.MOST .. " bytes") end
    copy[key] = value
  end
  return copy
end

--- The items of a list without holes.
local function items(given, path)
  local list, count = {}, 0
  for key in next, given do
    if type(key) ~= "number" or key ~= floor(key) or key < 1 then
      wrong(path, "must be a list, got the key " .. show(key))
    end
    count = count + 1
  end
  for index = 1, count do
    list[index] = rawget(given, index)
    if list[index] == nil then wrong(path, "has holes") end
  end
  return list
end

--- A list, which may be given as its one item where that is of `kind`.
local function one_or_more(value, kind, words, path)
  if value == nil then return nil end
  if type(value) == kind then return { value } end
  if type(value) ~= "table" then wrong(path, "must be " .. words .. " or a list, got " .. show(value)) end
  local list = items(value, path)
  for index = 1, #list do
    if type(list[index]) ~= kind then
      wrong(path .. "[" .. index .. "]", "must be a " .. kind .. ", got " .. show(list[index]))
    end
  end
  return list
end

local function middleware_of(value, path)
  return one_or_more(value, "function", "a function", path) or {}
end

--- A list of tables, or one table that has `key`.
local function tables(given, key, path)
  if rawget(given, key) ~= nil then return { given }, { path } end
  local list, paths = items(given, path), {}
  for index = 1, #list do paths[index] = path .. "[" .. index .. "]" end
  return list, paths
end

--- The ports of a rule; nil for the scheme's.
local function ports_of(rule, path)
  local given = one_or_more(rule.ports, "number", "a port", path .. ".ports")
  if not given then return nil end
  if #given == 0 then wrong(path .. ".ports", "must name a port") end
  for index = 1, #given do
    if not kinds.port[1](given[index]) or given[index] < 1 then
      wrong(path .. ".ports[" .. index .. "]", "must be a port, 1..65535, got " .. show(given[index]))
    end
  end
  return given
end

--- The rules: what the core decides on, and the middleware of each.
local function rules_of(given)
  local rules, origins = {}, {}
  local list, paths = tables(given, "host", "rules")
  for index = 1, #list do
    local path = paths[index]
    local rule = fields(list[index], RULE, path)
    if not rule.host then wrong(path .. ".host", "is missing") end
    local made = { host = rule.host, https_only = rule.https_only ~= false, ports = ports_of(rule, path) }
    local origin = { middleware = middleware_of(rule.middleware, path .. ".middleware"), routes = {} }
    if rule.routes then
      made.routes = {}
      local routes, places = tables(rule.routes, "path", path .. ".routes")
      for at = 1, #routes do
        local route = fields(routes[at], ROUTE, places[at])
        if not route.path then wrong(places[at] .. ".path", "is missing") end
        made.routes[at] = {
          path = route.path, methods = one_or_more(route.methods, "string", "a method", places[at] .. ".methods"),
        }
        origin.routes[at] = middleware_of(route.middleware, places[at] .. ".middleware")
      end
    end
    rules[index], origins[index] = made, origin
  end
  return rules, origins
end

--- What `allow_private` opens: nil for everything.
local function open_of(value)
  if value == nil or value == false then return {} end
  if value == true then return nil end
  return one_or_more(value, "string", "true, false, an address or a block", "allow_private")
end

--- Reads the configuration: a guard as `guarded` takes it, but for what the core has to make of it.
local function read(given)
  local config = fields(given, CONFIG, "config")
  if config.rules == nil and config.policy == nil then wrong("rules", "rules and policy are missing; one of them is needed") end
  local rules, origins = rules_of(config.rules or {})
  local told = { follow_redirects = false, max_body_bytes = config.max_body_bytes or 10 * MIB }
  for index = 1, #TOLD do told[TOLD[index]] = config[TOLD[index]] end
  if config.resolve then
    told.resolve = {}
    for key, value in next, config.resolve do told.resolve[key] = value end
  end
  if config.pins then told.pins = items(config.pins, "pins") end
  local guard = {
    origins = origins, middleware = middleware_of(config.middleware, "middleware"), policy = config.policy,
    follow = config.follow_redirects == true, max_redirects = config.max_redirects or 10,
    max_request_bytes = config.max_request_bytes or 10 * MIB, timeout = config.timeout or 30,
    told = told, depths = setmetatable({}, { __mode = "k" }),
  }
  return guard, rules, open_of(config.allow_private), config
end

--- A guard around `cap`: the table with `fetch` and nothing else, and the function that closes it.
local function make(core, cap, given)
  local ok, guard, rules, open, config = pcall(read, given)
  if not ok then bad(1, "guard", guard) end
  local decided, why = core.guard_rules(rules, guard.policy ~= nil)
  if decided == nil then
    if type(why) ~= "string" then error(why, 0) end
    -- One rule that is no list has no number.
    if rawget(given.rules or {}, "host") ~= nil then why = gsub(why, "^rules%[1%]", "rules") end
    bad(1, "guard", why)
  end
  guard.core, guard.cap, guard.rules = core, cap, decided
  guard.told.cookies = identity.cookies(config.cookies, "guard", 1)
  local client, err = core.guard_client(cap, decided, open)
  if client == nil then
    if type(err) ~= "string" then error(err, 0) end
    bad(1, "guard", err)
  end
  guard.client = client
  local right, words = core.guard_check(client, guard.told)
  if right == nil then
    if type(words) ~= "string" then error(words, 0) end
    bad(1, "guard", words)
  end
  -- A certificate says who we are to whom it is meant for: not to where a redirect leads.
  guard.told_strangers = {}
  for key, value in next, guard.told do guard.told_strangers[key] = value end
  guard.told_strangers.client_cert, guard.told_strangers.client_key = nil, nil
  guard.told_strangers.client_key_password = nil
  local members = {}
  local object = objects.sealed("guard", members)
  --- Does a request, if the rules allow it. opts: method, headers, body (a string) or body_json or body_form, timeout.
  function members.fetch(...)
    local url, opts = own(object, ...)
    return (guarded.fetch(guard, url, opts))
  end
  local function close()
    guard.closed = true
    core.http_close(client)
  end
  return object, close
end

return { make = make }
