--- An app on a Unix socket: `net.uds`. A Sammy app with a path, a client for it, and an optional token.
--
-- The server's side belongs to the process that made it. A child of fork has the client, and may read the path and the token.
local args = require("caspian.net.args")
local errors = require("caspian.net.errors")
local objects = require("caspian.net.objects")
local responses = require("caspian.net.sammy.response")
local sammy = require("caspian.net.sammy")
local error, next, setfenv, tostring, type = error, next, setfenv, tostring, type
local find, match, sub = string.find, string.match, string.sub
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, own, show = args.bad, args.own, args.show

local OPTIONS = {
  path = "string",                -- one of its own, in a directory that is granted whole
  authenticate = "boolean",       -- false
}
args.declare{ Uds_options = OPTIONS }

--- A client waits two seconds or so for a server that is a moment late.
local LATE = { attempts = 25, backoff = 0.02, max_wait = 0.1, statuses = {} }

local UNAUTHORIZED = { ["WWW-Authenticate"] = 'Bearer realm="<uds>"' }

--- A path of its own: in the first directory of which every socket may be bound (`--allow-listen=unix:/DIR/*`).
local function path_of(door)
  for _, flag in next, door.grants() do
    local dir = match(flag, "^%-%-allow%-listen=unix:(.*)/%*$")
    if dir then return dir .. "/caspian-" .. door.codec.base64.url_encode(door.codec.hash.random(9)) .. ".sock" end
  end
  error(errors.methods().made("host_not_allowed",
    "no path is given, and no directory is granted for a socket; --allow-listen=unix:/DIR/* would allow it", "uds"), 0)
end

--- The token, made when it is first asked for.
local function authenticate(app, value)
  app.authenticated = value
  app.token = app.token or value and app.codec.base64.url_encode(app.codec.hash.random(32)) or nil
end

local PLAIN, FULL = { "get", "head", "delete", "options" }, { "post", "put", "patch" }

--- A client of this socket alone: verbs with a path (`client:get("/status")`). Made once, it works in children of fork, too.
local function client_of(app)
  local members, object, inner = {}, nil, nil
  --- The client of HTTP, as the token is when it is first needed.
  local function http()
    inner = inner or app.door.client{
      unix = app.path, retry = LATE, auth = app.authenticated and { bearer = app.token } or nil, follow_redirects = false,
    }
    return inner
  end
  local function url_of(name, path)
    if type(path) ~= "string" or sub(path, 1, 1) ~= "/" then bad(1, name, "path must begin with /, got " .. show(path)) end
    return "http://localhost" .. path
  end
  for _, name in next, PLAIN do
    members[name] = function(...)
      local path, opts = own(object, ...)
      local url, client = url_of(name, path), http()
      return (client[name](client, url, opts))
    end
  end
  for _, name in next, FULL do
    members[name] = function(...)
      local path, body, opts = own(object, ...)
      local url, client = url_of(name, path), http()
      return (client[name](client, url, body, opts))
    end
  end
  --- A request of any method. opts: as for `net.fetch`
  function members.fetch(...)
    local path, opts = own(object, ...)
    local url, client = url_of("fetch", path), http()
    return (client:fetch(url, opts))
  end
  function members.close()
    if inner then inner:close() end
    inner = nil
  end
  object = objects.sealed("uds.client", members)
  return object
end

local MORE = {}

--- Opens the socket. `wait` does that, too.
function MORE.listen(self)
  local app = sammy.app_of(self, "listen")
  return sammy.listen(app, "listen", { unix = app.path })
end

--- Answers requests until `stop`. fallback(request, transaction): for what no route has answered
function MORE.wait(self, fallback)
  local app = sammy.app_of(self, "wait")
  if fallback ~= nil and type(fallback) ~= "function" then bad(1, "wait", "fallback must be a function, got " .. show(fallback)) end
  if not app.server then sammy.listen(app, "wait", { unix = app.path }) end
  sammy.serve(app, fallback)
end
MORE.run = MORE.wait

local FIELDS = {
  path = function(app) return app.path end,
  token = function(app) return app.authenticated and app.token or nil end,
  authenticate = function(app) return app.authenticated end,
  client = function(app)
    app.check("client")
    app.client = app.client or client_of(app)
    return app.client
  end,
}

--- Makes an app on a Unix socket. door: as for `sammy.make`, and { grants(), generation(), client(options) }
local function make(door, given, name)
  local self, app, all = sammy.make(door, given, name, OPTIONS)
  app.label, app.more, app.fields = "uds", MORE, FIELDS
  if all.path ~= nil and (find(all.path, "%c") or all.path == "") then bad(1, name, "path must be a path, got " .. show(all.path)) end
  app.path = all.path or path_of(door)
  app.options.path = nil
  authenticate(app, all.authenticate == true)
  app.setters = { authenticate = function(_, value)
    if type(value) ~= "boolean" then args.raise("authenticate must be true or false, got " .. show(value)) end
    if app.server then args.raise("authenticate: the server is running") end
    authenticate(app, value)
  end }
  local home = door.generation()
  function app.check(what)
    if door.generation() ~= home then
      error(errors.methods().classed("puck.uno/error/uds/server_used_in_fork",
        tostring(what) .. ": a child of fork cannot use the server's side; it can use the client", "uds"), 0)
    end
  end
  --- What is answered before anybody is asked: 401 without the token.
  function app.before(request)
    if not app.authenticated then return nil end
    local field = request.headers["authorization"]
    local token = type(field) == "string" and match(field, "^[Bb][Ee][Aa][Rr][Ee][Rr] +([^%s]+)$")
    if token and app.codec.hash.equal(token, app.token) then return nil end
    return (responses.page(401, UNAUTHORIZED))
  end
  return self
end

return { make = make }
