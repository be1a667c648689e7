--- HTTP servers: `net.http.server` and its class.
-- The core accepts, reads and writes all connections while `accept` waits; here are the callbacks: the core does not call
-- them, but leaves notes, which `accept` handles.
local args = require("caspian.net.args")
local objects = require("caspian.net.objects")
local mine = require("caspian.net.sockets").mine
local requests = require("caspian.net.server_request")
local server_tls = require("caspian.net.sockets").server_tls
local error, next, pcall, rawget, setfenv, tostring, type =
  error, next, pcall, rawget, setfenv, tostring, type
local io, huge = io, math.huge
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, options, show = args.answer, args.bad, args.options, args.show
local states = objects.states

local OPTIONS = {
  timeout = "seconds",            -- 30; of `accept`
  backlog = "count",              -- 1024
  reuse_port = "boolean",         -- false; several processes share the port
  tls = "table",                  -- { cert =, key =, key_password =, client_ca =, alpn =, protocols = }, or a list, picked by SNI
  max_head_bytes = "size",        -- 64 KiB
  max_fields = "count",           -- 100
  max_body_bytes = "bytes",       -- 20 MiB
  max_memory_bytes = "bytes",     -- 1 MiB; longer bodies need `spill`
  max_buffered_bytes = "bytes",   -- 256 MiB; of all bodies that have not been handed out; beyond it `spill`, or 503
  spill = "string",               -- none; a directory for bodies that are too long for memory
  head_timeout = "seconds",       -- 10
  body_grace = "seconds",         -- 10; from then on a body comes at `min_body_rate`
  min_body_rate = "rate",         -- 1024 bytes a second
  send_grace = "seconds",         -- 10; from then on a client takes what waits for it at `min_send_rate`, or is closed
  min_send_rate = "rate",         -- 1024 bytes a second
  idle_timeout = "seconds",       -- 75; between requests, and for a client that takes nothing of an answer
  handshake_timeout = "seconds",  -- 10; of TLS
  drain_timeout = "seconds",      -- 10; for what is under way at `stop`
  max_connections = "count",      -- 10,000
  max_requests = "count",         -- 1,000 on one connection
  http2 = "boolean",              -- true where it is built in; spoken where ALPN chooses it, and over cleartext with clients that begin with it
  log = "any",                    -- none; a function(entry) or an open file
  on_refused = "function",        -- none; function(refusal)
  on_error = "function",          -- function(err, request): a handler of `run`, or a body, raised. Defaults to standard error
}
local UNIX = { unix = "string" }
for name, kind in next, OPTIONS do UNIX[name] = kind end
args.declare{ Server_options = OPTIONS, Server_unix = UNIX }

local function state_of(self, name)
  mine(self, name, "server")
  return states[self] or args.raise(name .. ": call it with a colon, on a server")
end

--- What went wrong in a callback, for whoever runs the server.
local function report(state, err, request)
  if state.on_error then return state.on_error(err, request) end
  if io and io.stderr then io.stderr:write("caspian-net: ", tostring(err), "\n") end
end

--- Writes an entry of the access log. A log that fails ends no request.
local function write(state, entry)
  local log = state.log
  local ok, err
  if type(log) == "function" then
    ok, err = pcall(log, entry)
  else
    ok, err = pcall(log.write, log, entry.line, "\n")
    if ok and log.flush then pcall(log.flush, log) end
  end
  if not ok then report(state, err) end
end

--- Works off the notes of the core.
local function work(self, state)
  while true do
    local kind, what = state.core.server_note(self)
    if kind == nil then return end
    if kind == "answered" and state.log then
      write(state, what)
    elseif kind == "refused" and state.on_refused then
      local ok, err = pcall(state.on_refused, what)
      if not ok then report(state, err) end
    elseif kind == "hungry" then
      local more = state.streams[what]
      if more then more() end
    end
  end
end

--- The next request; nil once the server has stopped. `timeout`: nil for the server's own.
local function accept(self, state, timeout, place)
  local core = state.core
  while true do
    local handle, left, path = core.server_next(self, timeout, place)
    if handle == true then
      work(self, state)
      timeout = left
    elseif handle then
      return requests.made(core, handle, left, path, self, state)
    elseif handle == false then
      work(self, state)
      return nil
    else
      answer("accept", handle, left)
      return nil
    end
  end
end

local function define(methods)
  --- The next complete request; nil once the server has stopped. opts: timeout (the server's: 30 s), then `timeout` is raised.
  function methods.accept(self, opts)
    local state = state_of(self, "accept")
    local timeout
    if opts ~= nil then timeout = options(1, "accept", opts, args.TIMEOUT).timeout end
    return accept(self, state, timeout, args.place())
  end

  --- An iterator over the requests, until the server is stopped. Waits for ever.
  function methods.requests(self)
    local state, from = state_of(self, "requests"), args.place()
    return function()
      return accept(self, state, huge, from)
    end
  end

  --- Answers each request with what `handler(request)` answers: a table as for `request:respond`, a string, or nothing where it
  -- has answered itself. An error of the handler's is 500. Returns once the server is stopped.
  function methods.run(self, handler)
    local state, from = state_of(self, "run"), args.place()
    if type(handler) ~= "function" then bad(1, "run", "handler must be a function, got " .. show(handler)) end
    while true do
      local request = accept(self, state, huge, from)
      if request == nil then return end
      local ok, result = pcall(handler, request)
      if ok then ok, result = pcall(requests.conclude, request, result) end
      if not ok then
        requests.fail(request)
        report(state, result, request)
      end
    end
  end

  --- Stops accepting. What is under way may end within `drain_timeout`: `accept` hands it out, and answers nil after it.
  function methods.stop(self)
    local state = state_of(self, "stop")
    answer("stop", state.core.server_stop(self))
  end

  --- Other certificates for connections from now on.
  function methods.reload_tls(self, tls)
    local state = state_of(self, "reload_tls")
    if type(tls) ~= "table" then bad(1, "reload_tls", "a table expected, got " .. show(tls)) end
    answer("reload_tls", state.core.server_tls(self, requests.certificates(1, "reload_tls", tls)))
  end
end

local defined = false

--- Checks the certificates of `tls`: one, or a list of them.
function requests.certificates(index, name, tls)
  if rawget(tls, 1) == nil then return options(index, name, tls, server_tls, "tls") end
  local list = {}
  for at = 1, args.items(index, name, "tls", tls) do
    local one = rawget(tls, at)
    if type(one) ~= "table" then bad(index, name, "tls[" .. at .. "] must be a table, got " .. show(one)) end
    list[at] = options(index, name, one, server_tls, "tls[" .. at .. "]")
  end
  return list
end

--- Opens a server. Called by `net.http.server` only.
local function open(core, cap, methods, first, second, third)
  if not defined then
    define(methods)
    defined = true
  end
  local host, port, path, listener, opts, at
  if type(first) == "table" then
    at, opts = 1, options(1, "server", first, UNIX)
    path, opts.unix = opts.unix, nil
    if not path then bad(1, "server", "unix is missing; or name a host and a port") end
    args.path(1, "server", path)
  elseif type(first) == "userdata" then
    listener, at, opts = first, 2, options(2, "server", second, OPTIONS)
  else
    if type(first) ~= "string" then
      bad(1, "server", "a host, { unix = path } or a listener expected, got " .. show(first))
    end
    host, port, at = first, second, 3
    args.port(2, "server", port, 0, host)
    opts = options(3, "server", third, OPTIONS)
  end
  local log = opts.log
  if log ~= nil and type(log) ~= "function" and not (type(log) == "userdata" or type(log) == "table") then
    bad(at, "server", "log must be a function or an open file, got " .. show(log))
  end
  if opts.tls then opts.tls = requests.certificates(at, "server", opts.tls) end
  local state = { core = core, log = log, on_refused = opts.on_refused, on_error = opts.on_error, streams = {} }
  state.report = function(err) report(state, err) end
  opts.log, opts.on_refused, opts.on_error = nil, nil, nil
  opts.tells_answers, opts.tells_refusals = log ~= nil, state.on_refused ~= nil
  local server, err, index = core.server_open(cap, host, port, path, listener, opts)
  if server == nil then
    if type(err) == "string" then bad(index or 0, "server", err) end
    error(err, 0)
  end
  states[server] = state
  return server
end

return { open = open, OPTIONS = OPTIONS }
