--- Sammy: a small framework over `net.http.server`. Routes by method and pattern, a chain of handlers around them, sessions, a guard
-- against forged requests, static files. One request at a time, in the thread that runs it.
local args = require("caspian.net.args")
local chain = require("caspian.net.sammy.chain")
local csrf = require("caspian.net.sammy.csrf")
local errors = require("caspian.net.errors")
local objects = require("caspian.net.objects")
local patterns = require("caspian.net.sammy.patterns")
local responses = require("caspian.net.sammy.response")
local sessions = require("caspian.net.sammy.sessions")
local server_objects = require("caspian.net.server_objects")
local static = require("caspian.net.sammy.static")
local error, next, pcall, rawequal, rawget, select, setfenv, setmetatable, tostring, type =
  error, next, pcall, rawequal, rawget, select, setfenv, setmetatable, tostring, type
local find, gmatch, gsub, match, upper = string.find, string.gmatch, string.gsub, string.match, string.upper
local concat = table.concat
local io, time = io, os.time
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, show = args.bad, args.show
local ROUTED = server_objects.ROUTE

--- Options of an app. Others are the server's.
local OPTIONS = {
  domain = "string",              -- of the session's cookie; without it there are no sessions
  cookie_name = "string",         -- "session"
  cookie_secure = "boolean",      -- true
  cookie_samesite = "string",     -- "Lax"
  cookie_path = "string",         -- "/"
  cookie_max_age = "time",        -- none: as long as the browser is open; seconds
  cookie_key = "string",          -- random; what sessions are signed with, of 32 bytes or more: to outlive this process
  auto_options = "boolean",       -- true; answers OPTIONS of paths that there are
  csrf_guard = "boolean",         -- false
  on_error = "function",          -- function(err, request, where); defaults to a line on standard error
  on_warning = "function",        -- function(words, request); the same
}
args.declare{ Sammy_options = OPTIONS }

local VERBS = { "get", "post", "put", "delete", "patch", "options", "head" }
local ALL = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" }
local ROUTE = { csrf = "boolean" }
local PATH = { csrf = "boolean", methods = "strings" }
local STATIC = { extensions = "table" }
args.declare{ Sammy_route_options = ROUTE, Sammy_path_options = PATH, Sammy_static_options = STATIC }

--- What is behind the objects of this file. Nothing there leads to the object that it is behind: Lua 5.1 and LuaJIT would keep both.
local apps = setmetatable({}, { __mode = "k" })
local routes = setmetatable({}, { __mode = "k" })
local transactions = setmetatable({}, { __mode = "k" })

-- --- requests and transactions --------------------------------------------------------------------------------------

--- Segments of the path by position, and what the pattern of its route has captured by name.
local function steps_of(state)
  if state.steps then return state.steps end
  local steps, segments, route = {}, state.segments or {}, state.route
  for index = 1, #segments do steps[index] = segments[index] end
  -- The empty segment behind a trailing slash is no step.
  if steps[#steps] == "" then steps[#steps] = nil end
  for name, value in next, route and patterns.capture(route.pattern, segments) or {} do steps[name] = value end
  state.steps = setmetatable(steps, objects.HASH)
  return state.steps
end
server_objects.steps_of = steps_of

--- What answers a client without us.
local ANSWERS = { respond = true, events = true, websocket = true }

--- Around a request that is no server's of ours: it has `steps`, and tells when it has answered. It leads to what is behind it by
-- functions alone, not by a weak table, which would keep both on Lua 5.1 and LuaJIT.
local function foreign(raw, state)
  local methods, request = {}, nil
  local metatable = { __name = "caspian.net.sammy.request", __metatable = false, __newindex = objects.readonly }
  function metatable.__index(_, name)
    if name == "steps" then return steps_of(state) end
    if methods[name] then return methods[name] end
    local value = raw[name]
    if type(value) ~= "function" then return value end
    methods[name] = function(first, ...)
      local answered
      if rawequal(first, request) then answered = value(raw, ...) else answered = value(raw, first, ...) end
      if ANSWERS[name] then state.taken = true end
      return answered
    end
    return methods[name]
  end
  function metatable.__tostring(self) return "request " .. tostring(self.method) .. " " .. tostring(self.path) end
  objects.kinds[metatable] = "request"
  request = setmetatable({}, metatable)
  return request
end

local function no_cookie_domain()
  return errors.methods().classed("puck.uno/touchstone/error/sammy/no_cookie_domain",
    "a session needs the domain of its cookie: net.http.sammy{ domain = … }", "session")
end

--- The session of a request, read when it is first asked for.
local function session_of(state)
  if not state.kept then
    local cookie, codec = state.app.cookie, state.app.codec
    if not cookie.domain then error(no_cookie_domain(), 0) end
    local sent = state.request.headers["cookie"]
    -- Whoever has a host beside ours can send a second cookie of the name: the first that we have signed is the one.
    for name, value in gmatch(type(sent) == "string" and sent or "", "([^=;%s]+)=([^;%s]*)") do
      if name == cookie.name then
        state.had = true
        local session, text = sessions.read(cookie, codec, value, time())
        if session then
          state.kept, state.text = session, text
          break
        end
      end
    end
    state.kept = state.kept or {}
  end
  return state.kept
end

--- The cookie that a session comes to, if it has changed.
local function cookie_of(state)
  if not state.kept then return nil end
  local cookie, codec = state.app.cookie, state.app.codec
  local text = sessions.text_of(codec, state.kept)
  if text == "{}" and state.ended then return state.had and sessions.expired(cookie) or nil end
  if text == state.text or text == "{}" and not state.text then return nil end
  return sessions.written(cookie, codec, text, time())
end

local TRANSACTION = { __name = "caspian.net.sammy.transaction", __metatable = false }
objects.kinds[TRANSACTION] = "transaction"

function TRANSACTION.__index(self, name)
  local state = transactions[self]
  if name == "request" then return state.request end
  if name == "response" then
    -- A draft, which the answer is laid over.
    state.response = state.response or responses.make()
    return state.response
  end
  if name == "session" then return session_of(state) end
  if name == "csrf_token" then return csrf.token(session_of(state), state.app.codec) end
end

function TRANSACTION.__newindex(self, name, value)
  local state = transactions[self]
  if name == "response" then
    local response = responses.from(value)
    if not response then error("transaction.response must be a response, got " .. show(value), 2) end
    state.response = response
  elseif name == "session" then
    if value == nil or value == state.app.codec.json.null then
      session_of(state)
      state.kept, state.ended = {}, true
    elseif type(value) == "table" then
      session_of(state)
      state.kept, state.ended = value, false
    else
      error("transaction.session must be a table or nil, got " .. show(value), 2)
    end
  else
    error("a transaction has request, response and session, not " .. show(name), 2)
  end
end

function TRANSACTION.__tostring() return "transaction" end

--- The path of a request, without its query.
local function path_of(raw)
  local path = tostring(raw.path or raw.target or "")
  if find(path, "[?#]") then return match(path, "^[^?#]*") end
  return path
end

--- Takes in what a script has done to the list of handlers.
local function refresh(app)
  local shadow, handlers = app.shadow, app.handlers
  local changed = #shadow ~= #handlers
  for index = 1, #handlers do
    if shadow[index] ~= handlers[index] then changed = true break end
  end
  if not changed then return end
  app.shadow = {}
  for index = 1, #handlers do app.shadow[index] = handlers[index] end
  app.steps = chain.plan(handlers, function(handler) return routes[handler] end)
end

--- Gives an answer to the server.
local function send(app, state, status, headers, body)
  if state.behind then return app.door.answer(state.behind, status, headers, body) end
  if type(status) ~= "table" then status = { status = status, headers = headers, body = body } end
  local raw = state.raw
  return raw.respond(raw, status)
end

--- Gives the response that the chain has come to. Called protected: an error must not leave with half of it.
local function finish(app, state, request, refused)
  local status, headers, body
  if refused then status, headers, body = responses.sent(refused) else status, headers, body = chain.complete(app, state, request) end
  state.sending = true
  send(app, state, status, headers, body)
end

--- Answers one request.
local function handle(app, raw, fallback)
  -- Nobody else has the list, unless he was given it.
  if app.shown or #app.shadow ~= #app.handlers then refresh(app) end
  app.fallback = fallback
  local behind = app.door.routed(raw)
  local segments, joined
  if behind then segments, joined = patterns.segments(behind.path) else segments, joined = patterns.segments(path_of(raw)) end
  -- All that most requests set is there from the start: the table never grows.
  local state = {
    app = app, method = behind and behind.method or raw.method, segments = segments, joined = joined, request = raw, behind = behind,
    route = false, step = false, place = false, response = false, answered = false,
  }
  local request = raw
  if behind then
    behind[ROUTED] = state
  else
    request = foreign(raw, state)
    state.request, state.raw = request, raw
  end
  local transaction = setmetatable({}, TRANSACTION)
  transactions[transaction] = state
  if segments then chain.find(app.steps, state) end
  local refused = app.before and app.before(raw)
  if not refused and not chain.run(app, state, request, transaction) then return end
  local ok, err = pcall(finish, app, state, request, refused)
  if not ok then
    app.report(err, request, state.sending and "respond" or "the response", state.first)
    pcall(send, app, state, responses.sent(responses.page(500)))
  end
end

-- --- apps -----------------------------------------------------------------------------------------------------------

local function app_of(self, name)
  local app = apps[self]
  if not app then args.raise(name .. ": call it with a colon, on an app") end
  if app.check then app.check(name) end
  return app
end

--- A route, as it stands among the handlers.
local SELECTOR = { __name = "caspian.net.sammy.route", __metatable = false, __newindex = objects.readonly }
function SELECTOR.__tostring(self)
  local route = routes[self]
  return (route.any and "*" or concat(route.list, ",")) .. " " .. route.pattern.text
end

local function add_route(app, route)
  local selector = setmetatable({}, SELECTOR)
  routes[selector] = route
  app.handlers[#app.handlers + 1] = selector
  app.routes[#app.routes + 1] = selector
end

--- Methods as a route has them: upper case, each once.
local function methods_of(list, at, name)
  local set, order, any = {}, {}, false
  for index = 1, #list do
    local method = list[index]
    if method == "*" then
      any = true
    elseif type(method) ~= "string" or not find(method, "^[%w!#$%%&'*+.^_`|~-]+$") or #method > 64 then
      bad(at, name, "a method must be a token, got " .. show(method))
    else
      method = upper(method)
      if not set[method] then set[method], order[#order + 1] = true, method end
    end
  end
  if not any and not order[1] then bad(at, name, "methods are missing") end
  return set, order, any
end

--- Registers a route.
local function register(app, name, list, at, pattern, opts, handler, allowed)
  if handler == nil and type(opts) == "function" then opts, handler = nil, opts end
  local compiled = patterns.compile(pattern, 1, name)
  opts = args.options(2, name, opts, allowed)
  if type(handler) ~= "function" then bad(opts and next(opts) and 3 or 2, name, "handler must be a function, got " .. show(handler)) end
  local set, order, any = methods_of(list or opts.methods or {}, at, name)
  add_route(app, { pattern = compiled, methods = set, list = order, any = any, handler = handler, csrf = opts.csrf })
end

local METHODS = {}

for _, verb in next, VERBS do
  local list = { upper(verb) }
  --- `app:get(pattern, opts?, handler)` and its kin: handler(request, transaction) answers a response, or nil: the next one is asked.
  -- opts: csrf (false: the guard does not ask for its token)
  METHODS[verb] = function(self, pattern, opts, handler)
    local app = app_of(self, verb)
    register(app, verb, list, 1, pattern, opts, handler, ROUTE)
  end
end

--- The same for every method.
function METHODS.all_methods(self, pattern, opts, handler)
  local app = app_of(self, "all_methods")
  register(app, "all_methods", { "*" }, 1, pattern, opts, handler, ROUTE)
end

--- The same for some. opts: methods (a list, in any case; "*" is all), csrf
function METHODS.path(self, pattern, opts, handler)
  local app = app_of(self, "path")
  register(app, "path", nil, 2, pattern, opts, handler, PATH)
end

--- Answers 405 with `Allow` for these methods of a pattern, where a method that is not there would be 404.
function METHODS.reject(self, pattern, ...)
  local app = app_of(self, "reject")
  local compiled = patterns.compile(pattern, 1, "reject")
  local set, order, any = methods_of({ ... }, 2, "reject")
  add_route(app, { pattern = compiled, methods = set, list = order, any = any, rejected = true, csrf = false })
end

--- Serves files of a directory where no handler answers a GET or HEAD. dir: a path (where files are permitted), or an object with
-- `open(name)`. opts: extensions ({ ext = media type, or false for none }, beside the table of types)
function METHODS.static(self, dir, opts)
  local app = app_of(self, "static")
  opts = args.options(2, "static", opts, STATIC)
  local function beneath(path)
    args.path(1, "static", path)
    local found, err = app.door.directory(path)
    if found == nil then bad(1, "static", type(err) == "string" and err or tostring(err)) end
    return found
  end
  app.statics[#app.statics + 1] = static.directory(dir, opts.extensions, beneath, "static")
end

--- Answers one request of a server that the caller runs. fallback: as for `run`
function METHODS.handle(self, request, fallback)
  local app = app_of(self, "handle")
  if fallback ~= nil and type(fallback) ~= "function" then bad(2, "handle", "fallback must be a function, got " .. show(fallback)) end
  handle(app, request, fallback)
end

--- Opens the server, which `run` then runs: `listen(host, port)`, `listen{ unix = path }` or `listen(listener)`. Answers it.
local function listen(app, name, first, second)
  if app.server then args.raise(name .. ": the app is listening already") end
  local ok, server = pcall(app.door.open, app.options, first, second)
  if not ok then
    -- A wrong argument is this function's: the one that failed is not the script's.
    if type(server) == "string" then args.raise((gsub(server, "'server'", "'" .. name .. "'"))) end
    error(server, 0)
  end
  app.server = server
  return server
end

function METHODS.listen(self, first, second)
  local app = app_of(self, "listen")
  return listen(app, "listen", first, second)
end

--- Answers what comes until the server is stopped.
local function serve(app, fallback)
  local server = app.server
  for request in server:requests() do handle(app, request, fallback) end
  app.server = nil
  server:close()
end

--- Answers requests until `stop`. `run(host, port, fallback?)`, `run({ unix = path } or a listener, fallback?)`, or after `listen`
-- `run(fallback?)`. fallback(request, transaction): for what no route and no file has answered; without it, and where it answers
-- nothing, that is 404.
function METHODS.run(self, ...)
  local app = app_of(self, "run")
  local count, first = select("#", ...), (...)
  local named = type(first) == "string" and 3 or count > 0 and first ~= nil and type(first) ~= "function" and 2 or 1
  local fallback = (select(named, ...))
  if fallback ~= nil and type(fallback) ~= "function" then
    error("run: fallback must be a function, got " .. show(fallback), 2)
  end
  if named > 1 then
    listen(app, "run", first, named == 3 and (select(2, ...)) or nil)
  elseif not app.server then
    error("run: name a host and a port, or call listen first", 2)
  end
  serve(app, fallback)
end

--- Stops accepting; `run` returns once what is under way has its answer.
function METHODS.stop(self)
  local app = app_of(self, "stop")
  if app.server then app.server:stop() end
end

--- Closes the server at once.
function METHODS.close(self)
  local app = app_of(self, "close")
  local server = app.server
  app.server = nil
  if server then server:close() end
end

--- Fields that can be read.
local FIELDS = {
  handlers = function(app)
    app.shown = true
    return app.handlers
  end,
  csrf_guard = function(app) return app.csrf_guard end,
  response = function(app) return app.response end,
  server = function(app) return app.server end,
}

local SAMMY = { __name = "caspian.net.sammy", __metatable = false }
objects.kinds[SAMMY] = "sammy"

function SAMMY.__index(self, name)
  local app = apps[self]
  local more = app.more and app.more[name]
  if more then return more end
  local field = FIELDS[name] or app.fields and app.fields[name]
  if field then return field(app) end
  return METHODS[name]
end

function SAMMY.__newindex(self, name, value)
  local app = apps[self]
  if app.check then app.check(name) end
  if name == "csrf_guard" then
    if type(value) ~= "boolean" then error("csrf_guard must be true or false, got " .. show(value), 2) end
    app.csrf_guard = value
  elseif app.setters and app.setters[name] then
    app.setters[name](app, value)
  else
    error(tostring(self) .. " cannot be changed (" .. show(name) .. ")", 2)
  end
end

function SAMMY.__tostring(self) return apps[self].label end

--- Makes an app.
-- @param door { codec, responses, options = the server's, open = function(server options, …) → server,
--   directory = function(path) → a directory of the core's, file = function(directory, name) → a file, or nil }
-- @param more further options, by name
-- @return the app, what is behind it, and its options
local function make(door, given, name, more)
  local known = {}
  for option, kind in next, door.options do known[option] = kind end
  for option, kind in next, OPTIONS do known[option] = kind end
  for option, kind in next, more or {} do known[option] = kind end
  local all = args.options(1, name, given, known)
  local rest = {}
  for option, value in next, all do
    if not OPTIONS[option] and not (more and more[option]) then rest[option] = value end
  end
  -- Not copied: it is an object.
  for _, option in next, { "log" } do
    if given and known[option] then rest[option] = rawget(given, option) end
  end
  rest.on_error = all.on_error
  local app = {
    door = door, codec = door.codec, options = rest, handlers = {}, routes = {}, shadow = {}, steps = { handlers = 0 }, statics = {},
    cookie = sessions.options(all, door.codec, name), csrf_guard = all.csrf_guard == true,
    session_of = session_of, cookie_of = cookie_of, auto_options = all.auto_options ~= false, response = door.responses, label = "sammy app",
  }

  function app.report(err, request, where, first)
    if all.on_error then
      pcall(all.on_error, err, request, where, first and first[1])
    elseif io and io.stderr then
      local ok, text = pcall(tostring, err)
      io.stderr:write("caspian-net: ", tostring(request), ": ", where, ": ", ok and text or type(err), "\n")
    end
  end
  function app.warn(words, request)
    if all.on_warning then
      pcall(all.on_warning, words, request)
    elseif io and io.stderr then
      io.stderr:write("caspian-net: ", tostring(request), ": warning: ", words, "\n")
    end
  end

  --- The methods of a path, in the order of their routes, for `Allow`; nil where it has none. bare: without OPTIONS for its own sake
  function app.methods_of(segments, bare)
    local order, seen = {}, {}
    for index = 1, #app.handlers do
      local route = routes[app.handlers[index]]
      if route and segments and patterns.capture(route.pattern, segments) then
        for _, method in next, route.any and ALL or route.list do
          if seen[method] == nil then
            seen[method] = not route.rejected
            if not route.rejected then order[#order + 1] = method end
          end
        end
      end
    end
    if not order[1] then return nil end
    if not bare and seen.OPTIONS == nil then order[#order + 1] = "OPTIONS" end
    return concat(order, ", ")
  end

  --- The response of a file; nil where there is none.
  function app.serve(source, segments)
    local file, kind = static.named(segments, source.types)
    if not file then return nil end
    local response = responses.make(200)
    response.headers["Content-Type"], response.headers["X-Content-Type-Options"] = kind, "nosniff"
    if source.beneath then
      local found = door.file(source.beneath, file)
      if not found then return nil end
      responses.file(response, found)
      return response
    end
    local body = static.body_of(source.dir:open(file))
    if body == nil then return nil end
    response.body = body
    return response
  end

  local self = setmetatable({}, SAMMY)
  apps[self] = app
  return self, app, all
end

return { make = make, app_of = app_of, listen = listen, serve = serve }
