--- The chain of handlers: every `before`, then `process` until one answers, then every `after`, for one request.
--
-- Each request gets new handlers. Errors of handlers are caught here: a raised response is the response; any other error
-- becomes a page with the status only, and is passed to `on_error`.
local csrf = require("caspian.net.sammy.csrf")
local patterns = require("caspian.net.sammy.patterns")
local ANSWERED = require("caspian.net.server_objects").ANSWERED
local responses = require("caspian.net.sammy.response")
local error, pcall, setfenv, setmetatable, type = error, pcall, setfenv, setmetatable, type
local find, lower = string.find, string.lower
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

--- A handler for one request. A class is asked for one: a function, or a table with `new`. Any other table is what the handler
-- inherits from: what is put on it stays with the request.
local function fresh(handler)
  if type(handler) == "function" then return handler() end
  local new = handler.new
  if type(new) == "function" then return new(handler) end
  return setmetatable({}, { __index = handler })
end

--- The handlers of an app in steps: one that is no route by itself, routes that follow each other behind one index.
local function plan(handlers, is_route)
  local steps, routes = { handlers = 0 }, nil
  local function close()
    if routes then steps[#steps + 1] = { index = patterns.index(routes) } end
    routes = nil
  end
  for place = 1, #handlers do
    local handler = handlers[place]
    if is_route(handler) then
      routes = routes or {}
      routes[#routes + 1] = is_route(handler)
    else
      close()
      steps[#steps + 1] = { handler = handler, place = place }
      steps.handlers = steps.handlers + 1
    end
  end
  close()
  return steps
end

--- Finds the route that a request goes to first: its step and place, for `run`.
local function find_route(steps, state)
  for index = 1, #steps do
    local routes = steps[index].index
    local route, place
    if routes then route, place = patterns.seek(routes, state.segments, state.joined, state.method, 0) end
    if route then
      state.route, state.step, state.place = route, index, place
      return
    end
  end
end

--- True once a handler has answered the client itself.
local function is_taken(state)
  local behind = state.behind
  if behind then return behind[ANSWERED] end
  return state.taken
end

--- The class of an error, if it has one.
local function class_of(err)
  local ok, class = pcall(function() return type(err) == "table" and err.class or nil end)
  return ok and type(class) == "string" and class or nil
end

local TIMEOUTS = { ["puck.uno/error/timeout"] = true, ["puck.uno/error/network/timeout"] = true }

--- What was raised becomes the response.
local function settle(app, state, request, err, stage, place)
  if responses.is(err) then
    state.response, state.answered = err, true
    return
  end
  local first = state.first
  app.report(err, request, stage .. " of " .. place, first)
  -- An error of cleaning up does not hide the first one.
  if first == nil then
    state.first = { err }
    state.response, state.answered = responses.page(TIMEOUTS[class_of(err)] and 504 or 500), true
  end
end

--- Takes what a handler answered; true if it is an answer.
local function take(state, result)
  if is_taken(state) then
    state.answered = true
  elseif result ~= nil then
    local response = responses.from(result)
    if not response then
      local kind = type(result)
      error("a handler must return a response or nothing, got " .. (kind == "table" and "another table" or "a " .. kind), 0)
    end
    if state.response then responses.beneath(response, state.response) end
    state.response, state.answered = response, true
  elseif state.response and (state.response.status or state.response.body ~= "") then
    -- It was written to `transaction.response`.
    state.response.status = state.response.status or 200
    state.answered = true
  end
  return state.answered
end

--- Asks the routes behind an index: first the one that was found already.
local function route_step(app, state, request, transaction, index)
  local routes = app.steps[index].index
  local route, place
  if state.step == index then
    route, place = state.route, state.place
  else
    route, place = patterns.seek(routes, state.segments, state.joined, state.method, 0)
  end
  while route do
    if route ~= state.route then state.route, state.steps = route, false end
    local result
    if route.rejected then
      result = responses.page(405, { Allow = app.methods_of(state.segments, true) })
    else
      result = route.handler(request, transaction)
    end
    if take(state, result) then return end
    route, place = patterns.seek(routes, state.segments, state.joined, state.method, place)
  end
end

--- The steps of a handler, each protected by who calls them.
local STAGES = {
  before = function(state, transaction, instance)
    local before = instance.before
    local response = before and responses.from(before(instance, transaction))
    if response or is_taken(state) then take(state, response) end
  end,
  process = function(state, transaction, instance)
    local process = instance.process
    if process then take(state, process(instance, transaction)) end
  end,
  after = function(_, transaction, instance)
    local after = instance.after
    if after then after(instance, transaction) end
  end,
}

--- Runs a stage of one handler, which was made for this request.
local function stage(app, state, request, transaction, name, index, instance)
  local ok, err = pcall(STAGES[name], state, transaction, instance)
  if not ok then settle(app, state, request, err, name, "handler " .. app.steps[index].place) end
end

--- What the response is made complete with; answers what `respond` takes. Raises.
local function complete(app, state, request)
  local response = state.response
  if app.csrf_guard then
    local text = responses.text(response)
    local kind = response.headers["Content-Type"]
    if text and type(kind) == "string" and find(lower(kind), "^%s*text/html") then
      response.body = csrf.guarded(text, function() return app.session_of(state) end, app.codec)
    end
  end
  local cookie = app.cookie_of(state)
  if cookie then responses.add_cookie(response, cookie) end
  local status, headers, body, doubled = responses.sent(response)
  if doubled then app.warn("two cookies of the name " .. doubled .. " in one response", request) end
  return status, headers, body
end

--- Runs the chain. True if `state.response` is to be sent, and not where a handler has answered the client itself.
-- @param app { steps, statics, serve(static, segments), methods_of(segments, bare), fallback, csrf_guard, auto_options, codec,
--   session_of(state), cookie_of(state), report(err, request, where, first), warn(words, request) }
-- @param state what is behind request and transaction: { method, segments }, and what `find` has set; `response`, `answered`,
--   `taken` and `first` (the first error) are set here and there
local function run(app, state, request, transaction)
  local steps = app.steps
  local count, instances = #steps, nil

  for index = 1, steps.handlers > 0 and count or 0 do
    local step = steps[index]
    if step.handler ~= nil then
      local ok, instance = pcall(fresh, step.handler)
      if ok and type(instance) ~= "table" and type(instance) ~= "userdata" then
        ok, instance = false, "a handler must be a table, a class or a function, got a " .. type(instance)
      end
      if ok then
        instances = instances or {}
        instances[index] = instance
      else
        settle(app, state, request, instance, "new", "handler " .. step.place)
      end
    end
  end

  -- before
  if not state.answered and app.csrf_guard and not (state.route and state.route.csrf == false) then
    local ok, passes = pcall(csrf.passes, request, function() return app.session_of(state) end, app.codec)
    if not ok then
      settle(app, state, request, passes, "before", "the CSRF guard")
    elseif not passes then
      state.response, state.answered = responses.page(403), true
    end
  end
  for index = 1, instances and count or 0 do
    if state.answered then break end
    if instances[index] then stage(app, state, request, transaction, "before", index, instances[index]) end
  end

  -- process
  if not state.answered and not state.segments then state.response, state.answered = responses.page(400), true end
  for index = 1, count do
    if state.answered then break end
    if steps[index].index then
      local ok, err = pcall(route_step, app, state, request, transaction, index)
      if not ok then settle(app, state, request, err, "process", state.route and state.route.pattern.text or "a route") end
    else
      stage(app, state, request, transaction, "process", index, instances[index])
    end
  end
  if not state.answered and (state.method == "GET" or state.method == "HEAD") then
    for index = 1, #app.statics do
      local ok, err = pcall(function()
        local served = app.serve(app.statics[index], state.segments)
        if served then take(state, served) end
      end)
      if not ok then settle(app, state, request, err, "process", "static " .. index) end
      if state.answered then break end
    end
  end
  if not state.answered and state.method == "OPTIONS" and app.auto_options then
    local allow = app.methods_of(state.segments)
    if allow then
      local response = responses.make(204)
      response.headers.Allow = allow
      take(state, response)
    end
  end
  if not state.answered and app.fallback then
    local ok, err = pcall(function() take(state, app.fallback(request, transaction)) end)
    if not ok then settle(app, state, request, err, "process", "the fallback") end
  end
  -- What a `before` wrote to the response itself stands, where nobody else has answered.
  if not state.answered and not take(state, nil) then take(state, responses.page(404)) end
  -- What answered the client itself: what `after` does to this goes nowhere.
  if is_taken(state) and not state.response then state.response = responses.make(200) end

  -- after
  for index = 1, instances and count or 0 do
    if instances[index] then stage(app, state, request, transaction, "after", index, instances[index]) end
  end
  return not is_taken(state)
end

return { plan = plan, find = find_route, run = run, complete = complete }
