--- HTTP over a capability: `fetch`, clients and jails.
-- Everything that calls back into Lua is driven from the front, step by step.
local args = require("caspian.net.args")
local events = require("caspian.net.events")
local har = require("caspian.net.har")
local identity = require("caspian.net.identity")
local objects = require("caspian.net.objects")
local requests = require("caspian.net.requests")
local responses = require("caspian.net.responses")
local sockets = require("caspian.net.sockets")
local error, next, pcall, rawequal, rawget, select, setfenv, setmetatable, type =
  error, next, pcall, rawequal, rawget, select, setfenv, setmetatable, type
local match, upper = string.match, string.upper
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, length, own, merged, show = args.answer, args.bad, args.length, args.own, sockets.merged, args.show
local states, readonly, sealed, ARRAY = objects.states, objects.readonly, objects.sealed, objects.ARRAY
local CLIENT, REQUEST, can_guard = requests.CLIENT, requests.REQUEST, requests.can_guard
local prepare, reporter, converse, respond = requests.prepare, requests.reporter, requests.converse, responses.respond

--- What a client may say about itself.
local POOL = {
  max_idle = "whole",             -- 128; idle connections in all
  max_idle_per_origin = "whole",  -- 16
  idle_timeout = "seconds",       -- 90; unless the server says less
  base_url = "string",            -- URLs of requests are relative to it, as `url.join` joins them
}
local OWN = merged(CLIENT, POOL, {
  allow = "any",                  -- hosts that it is narrowed to
  har = "boolean",                -- false
})
local JAR = { cookies = true } -- an object, which is not copied

--- Does a request.
local function perform(name, client, url, given, at, method, body)
  local core = client.core
  local call, pump, opts, status, text = prepare(name, client, url, given, at, method, body)
  if status then return responses.made(core, call, status, text) end
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
  max_event_bytes = "size",       -- 1 MiB
})
-- What means nothing there.
for _, option in next, { "stream", "save", "max_body_bytes", "on_progress", "progress", "retry" } do EVENTS[option] = nil end

--- Opens an event stream.
local function perform_events(client, url, given)
  local feed, _, opts = prepare("events", client, url, given, 2, nil, nil, EVENTS, client.core.events_open)
  return events.object(client.core, feed, opts.timeout)
end

--- What `fetch_all` may say.
local ALL = {
  parallel = "count",             -- 16; requests at once
  per_origin = "count",           -- 6; of them to one origin
  timeout = "seconds",            -- none; of everything together
}
args.declare{
  Http_options = CLIENT, Client_options = OWN, Events_options = EVENTS, Batch_options = ALL,
}

--- Does many requests at once: an array of responses or errors, in order.
local function perform_all(client, list, given)
  local core = client.core
  if type(list) ~= "table" then bad(1, "fetch_all", "a list of requests expected, got " .. show(list)) end
  if type(given) == "table" then
    for key in next, given do
      if requests.REQUEST[key] and not ALL[key] then
        bad(2, "fetch_all", key .. " is an option of a request: it belongs to the items, as { url, " .. key .. " = … }, or to a client")
      end
    end
  end
  local opts = args.options(2, "fetch_all", given, ALL)
  local calls = {}
  for index = 1, args.items(1, "fetch_all", "the list of requests", list) do
    local item = rawget(list, index)
    local url, wishes = item, nil
    if type(item) == "table" then
      wishes = {}
      for key, value in next, item do wishes[key] = value end
      url = wishes[1] or wishes.url
      wishes[1], wishes.url = nil, nil
    end
    -- Which of many is wrong is the first thing to know.
    local ok, call, _, asked = pcall(prepare, "fetch_all", client, url, wishes, 1, nil, nil, nil, nil, true)
    if not ok then
      if type(call) ~= "string" then error(call, 0) end
      bad(1, "fetch_all", "item " .. index .. ": " .. (match(call, "%((.*)%)$") or call))
    end
    if asked.stream then bad(1, "fetch_all", "item " .. index .. ": fetch_all does not stream responses") end
    if asked.on_progress or asked.progress or asked.save then
      bad(1, "fetch_all", "item " .. index .. ": fetch_all does not take on_progress, progress and save")
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

--- A jail: `fetch` for those hosts, and nothing else. `listed`: they came as one argument.
local function jail(client, hosts, listed)
  local core = client.core
  local inner, err = core.http_jail(client.client, hosts)
  if inner == nil then
    if type(err) ~= "string" then error(err, 0) end
    local index = 1
    while not listed and hosts[index + 1] and core.http_jail(client.client, { hosts[index] }) do index = index + 1 end
    bad(index, "jail", err)
  end
  local jailed = { core = core, client = inner, defaults = client.defaults, inherit = client.inherit }
  local members, object = {}, nil
  local function fetch(...)
    local url, opts = own(object, ...)
    return perform("fetch", jailed, url, opts, 2)
  end
  members.fetch = fetch
  object = sealed("jail", members, nil, fetch)
  return object
end

--- The hosts of a jail, and whether they came as one list.
local function hosts_of(name, ...)
  local hosts, count = { ... }, select("#", ...)
  local listed = count == 1 and type(hosts[1]) == "table"
  if listed then
    local list = hosts[1]
    count, hosts = length(list), {}
    for index = 1, count do hosts[index] = rawget(list, index) end
  end
  for index = 1, count do
    if type(hosts[index]) ~= "string" then
      bad(listed and 1 or index, name, (listed and "hosts[" .. index .. "]" or "host") .. " must be a string, got "
        .. show(hosts[index]))
    end
  end
  return hosts, listed
end

local METHODS = {}

local function client_of(self, name)
  local state = states[self]
  if not state or not state.client then args.raise(name .. ": call it with a colon, on a client") end
  return state
end

function METHODS.fetch(self, url, opts)
  return perform("fetch", client_of(self, "fetch"), url, opts, 2)
end

--- Opens an event stream (Server-Sent Events). opts: see EVENTS above.
function METHODS.events(self, url, opts)
  return perform_events(client_of(self, "events"), url, opts)
end

function METHODS.fetch_all(self, list, opts)
  return perform_all(client_of(self, "fetch_all"), list, opts)
end

--- Methods of requests without a body of their own, and with one.
local PLAIN, FULL = { "get", "head", "delete", "options" }, { "post", "put", "patch" }

for _, verb in next, PLAIN do
  local method = upper(verb)
  METHODS[verb] = function(self, url, opts)
    return perform(verb, client_of(self, verb), url, opts, 2, method)
  end
end

--- Body and options of a request, and which argument the options are. Without a body of its own, the options may have one:
-- client:post(url, { body_json = … })
local function body_and_options(verb, body, opts)
  if type(body) ~= "table" or opts ~= nil then return body, opts, 3 end
  for key in next, body do
    if not REQUEST[key] and args.hint(key, REQUEST) == "" then
      bad(2, verb, "unknown option " .. show(key) .. "; a table in place of a body has options: body_json = { … } sends JSON, "
        .. "body_form = { … } a form")
    end
  end
  return nil, body, 2
end

for _, verb in next, FULL do
  local method = upper(verb)
  METHODS[verb] = function(self, url, body, opts)
    local at
    body, opts, at = body_and_options(verb, body, opts)
    return perform(verb, client_of(self, verb), url, opts, at, method, body)
  end
end

function METHODS.jail(self, ...)
  return jail(client_of(self, "jail"), hosts_of("jail", ...))
end

--- What a client that was made with `har = true` has done, as a HAR 1.2 table; as JSON for `client:har("json")`.
function METHODS.har(self, form)
  local state = client_of(self, "har")
  if not state.har then error("har: the client was not made with har = true", 2) end
  if form ~= nil and form ~= "json" then bad(1, "har", 'either nothing or "json" expected, got ' .. show(form)) end
  local log = har.log(state.har, ARRAY, objects.HASH, state.core.version)
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
objects.kinds[client] = "client"

function client.__index(self, name)
  if name == "allow" then
    local allow = states[self].allow
    return allow and setmetatable(merged(allow), ARRAY)
  elseif name == "jar" then
    local state = states[self]
    state.jar = state.jar or identity.jar(state.core, answer("jar", state.core.http_jar(state.client)))
    return state.jar
  end
  return METHODS[name]
end

--- Sets a client's `allow`.
local function set_allow(state, value)
  local hosts
  if value ~= nil then
    if type(value) ~= "table" then args.raise("allow must be a list of hosts, got " .. show(value)) end
    hosts = {}
    local count = length(value)
    for key in next, value do
      if not args.kinds.count[1](key) or key > count then args.raise("allow must be a list of hosts, got the key " .. show(key)) end
    end
    for index = 1, count do
      hosts[index] = rawget(value, index)
      if type(hosts[index]) ~= "string" then
        args.raise("allow must be a list of hosts, got " .. show(hosts[index]))
      end
    end
  end
  local done, err = state.core.http_allow(state.client, hosts)
  if type(err) == "string" then args.raise(err) end
  if done == nil then error(err, 0) end
  state.allow = hosts
end

function client.__newindex(self, name, value)
  if name ~= "allow" then return readonly(self, name) end
  set_allow(states[self], value)
end

function client.__tostring() return "http client" end

function client.__close(self)
  METHODS.close(self)
end

--- Adds the HTTP functions and classes to a `%net` around `cap`.
-- @param shared the client that its functions share, as in `states`
-- @param front `require` for modules that are loaded when they are first used
-- @param tables of the socket classes, as `sockets.define` returned them
local function extend(core, cap, shared, front, net, functions, classes, tables)
  local members = {}
  local constructor = sealed("http.client", members)

  --- What `net` does, and `net.http.client` does too, with the client that they share.
  for owner, into in next, { [net] = functions, [constructor] = members } do
    --- Does a request and returns the response. opts: see CLIENT and REQUEST above.
    function into.fetch(...)
      local url, opts = own(owner, ...)
      return perform("fetch", shared, url, opts, 2)
    end

    --- Opens an event stream (Server-Sent Events). opts: see EVENTS above.
    function into.events(...)
      local url, opts = own(owner, ...)
      return perform_events(shared, url, opts)
    end

    --- Does many requests at once, each a URL or { url, … }. opts: see ALL above.
    function into.fetch_all(...)
      local list, opts = own(owner, ...)
      return perform_all(shared, list, opts)
    end
  end

  for _, verb in next, PLAIN do
    local method = upper(verb)
    members[verb] = function(...)
      local url, opts = own(constructor, ...)
      return perform(verb, shared, url, opts, 2, method)
    end
  end

  for _, verb in next, FULL do
    local method = upper(verb)
    members[verb] = function(...)
      local url, body, opts = own(constructor, ...)
      local at
      body, opts, at = body_and_options(verb, body, opts)
      return perform(verb, shared, url, opts, at, method, body)
    end
  end

  --- A client with defaults for its requests, a pool of its own, and `allow`.
  local function new(owner, ...)
    local defaults = args.options(1, "new", own(owner, ...), OWN, nil, JAR)
    local allow, recorded, limits = defaults.allow, defaults.har, {}
    defaults.allow, defaults.har = nil, nil
    for limit in next, POOL do limits[limit], defaults[limit] = defaults[limit], nil end
    local headers = requests.headers_of(defaults.headers or {}, "new", 1)
    -- What was checked is what is used: the core has it from here, read once with its files and certificates.
    local told = requests.told_of(core, defaults, "new", 1)
    told.record = recorded
    local inner, err, index = core.http_client(cap, limits, told, headers)
    if inner == nil then requests.raise("new", err, index, 1) end
    local object = setmetatable({}, client)
    states[object] = { core = core, client = inner, defaults = defaults, inherit = { __index = defaults },
      har = recorded and har.new() or nil }
    if allow ~= nil then set_allow(states[object], allow) end
    return object
  end

  function members.new(...)
    return new(constructor, ...)
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
    local jar = answer("jar", core.jar_new())
    if records ~= nil then identity.load(core, jar, "jar", records) end
    return identity.jar(core, jar)
  end

  --- A fetch for code that is not trusted, which does only what `config` says; and the function that closes it.
  function http.guard(...)
    local config = own(functions.http, ...)
    return front("caspian.net.guard").make(core, cap, config)
  end

  --- An HTTP server: `server(host, port, opts?)`, `server{ unix = path, … }`, or `server(listener, opts?)`.
  function http.server(...)
    return (front("caspian.net.server").open(core, cap, tables.server, own(functions.http, ...)))
  end

  --- Sammy, loaded when it is first used: `sammy(opts)` or `sammy.new(opts)`, and `sammy.response`.
  local doors
  local function sammy()
    if not doors then
      local servers = front("caspian.net.server")
      doors = {
        codec = front("caspian.net.pure").make(core),
        responses = front("caspian.net.sammy.response").maker(function(value) return core.codec_json(value, false) end),
        options = servers.OPTIONS,
        --- Opens a server on a host and a port, `{ unix = path }`, or a listener.
        open = function(opts, first, second)
          if type(first) == "table" then
            local all = merged(opts)
            for key, value in next, first do all[key] = value end
            return (servers.open(core, cap, tables.server, all))
          elseif type(first) == "userdata" then
            return (servers.open(core, cap, tables.server, first, opts))
          end
          return (servers.open(core, cap, tables.server, first, second, opts))
        end,
        directory = function(path) return core.directory(cap, path) end,
        file = function(directory, name) return core.directory_file(directory, name) end,
        routed = front("caspian.net.server_request").routed,
        answer = front("caspian.net.server_request").answer,
      }
    end
    return front("caspian.net.sammy"), doors
  end
  local apps = setmetatable({}, { __index = function(_, name)
    if name == "response" then return select(2, sammy()).responses end
  end })
  http.sammy = sealed("http.sammy", apps, nil, function(_, ...)
    local given = own(functions.http, ...)
    local framework, with = sammy()
    return (framework.make(with, given, "sammy"))
  end)
  function apps.new(...)
    local given = own(http.sammy, ...)
    local framework, with = sammy()
    return (framework.make(with, given, "new"))
  end
  classes["puck.uno/sammy"] = function(class)
    return function(...)
      local given = own(class, ...)
      local framework, with = sammy()
      return (framework.make(with, given, "new"))
    end
  end

  --- What an app on a Unix socket needs beside.
  local beside
  local function uds()
    if not beside then
      local _, with = sammy()
      beside = merged(with)
      function beside.grants() return answer("uds", core.grants(cap)) end
      function beside.generation() return core.generation() end
      function beside.client(opts) return (new(constructor, opts)) end
    end
    return front("caspian.net.uds"), beside
  end
  --- An app on a Unix socket. opts: path, authenticate (false), and those of `http.sammy`
  function functions.uds(...)
    local given = own(net, ...)
    local framework, with = uds()
    return (framework.make(with, given, "uds"))
  end
  classes["puck.uno/uds"] = function(class)
    return function(...)
      local given = own(class, ...)
      local framework, with = uds()
      return (framework.make(with, given, "new"))
    end
  end

  functions.http_client = constructor
  functions.null = core.null

  --- Marks a table as a JSON array, so that an empty one is sent as `[]`; returns it.
  function functions.array(...)
    return objects.array(core, (own(net, ...)))
  end

  classes["puck.uno/http/client"] = function(class)
    return function(...)
      return new(class, ...)
    end
  end
  classes["puck.uno/http/response"] = function()
    return function() error("responses come from fetch", 2) end
  end
end

return { extend = extend }
