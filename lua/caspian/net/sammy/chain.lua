--- The chain of handlers: every `before`, then `process` until one answers, then every `after`, for one request.
--
-- A handler is made afresh for each request. What one raises is caught here: a response is the response; everything else is a page
-- that says nothing but its status, and goes to whoever watches the server.
local csrf = require("caspian.net.sammy.csrf")
local patterns = require("caspian.net.sammy.patterns")
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
  local steps, routes = {}, nil
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
    end
  end
  close()
  return steps
end

--- Does a route take a method?
local function takes(route, method)
  return route.any or route.methods[method]
end

--- The route that a request goes to first, and what its pattern captures; nil if it goes to none.
local function first_route(steps, segments, method)
  local captures
  for index = 1, #steps do
    local routes = steps[index].index
    local route = routes and patterns.visit(routes, segments, function(route, found)
      if not takes(route, method) then return nil end
      captures = found
      return route
    end)
    if route then return route, captures end
  end
end

--- The class of an error, if it has one.
local function class_of(err)
  local ok, class = pcall(function() return type(err) == "table" and err.class or nil end)
  return ok and type(class) == "string" and class or nil
end

local TIMEOUTS = { ["puck.uno/error/timeout"] = true, ["puck.uno/error/network/timeout"] = true }

--- Runs the chain. Answers the response, or nil where a handler has answered the client itself.
-- @param app { steps, statics, serve(static, segments), methods_of(segments, bare), fallback, csrf_guard, auto_options, codec,
--   report(err, request, where, first), warn(words, request) }
-- @param state what is behind request and transaction: { method, segments, route, session(), cookie(), follow(route, captures) };
--   `response`, `answered` and `taken` are set here and there
local function run(app, state, request, transaction)
  local instances, first_error = {}, nil

  --- What was raised becomes the response.
  local function settle(err, stage, place)
    if responses.is(err) then
      state.response, state.answered = err, true
      return
    end
    app.report(err, request, stage .. " of " .. place, first_error)
    -- An error of cleaning up does not hide the first one.
    if first_error == nil then
      first_error = { err }
      state.response, state.answered = responses.page(TIMEOUTS[class_of(err)] and 504 or 500), true
    end
  end

  --- Takes what a handler answered; true if it is an answer.
  local function take(result)
    if state.taken then
      state.answered = true
      return true
    end
    if result ~= nil then
      local response = responses.from(result)
      if not response then
        local kind = type(result)
        error("a handler answers a response or nothing, got " .. (kind == "table" and "another table" or "a " .. kind), 0)
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

  local function named(step)
    return "handler " .. step.place
  end

  for index = 1, #app.steps do
    local step = app.steps[index]
    if step.handler ~= nil then
      local ok, instance = pcall(fresh, step.handler)
      if ok and type(instance) ~= "table" and type(instance) ~= "userdata" then
        ok, instance = false, "a handler is a table, or what makes one, got a " .. type(instance)
      end
      if ok then instances[index] = instance else settle(instance, "new", named(step)) end
    end
  end

  -- before
  if not state.answered and app.csrf_guard and not (state.route and state.route.csrf == false) then
    local ok, passes = pcall(csrf.passes, request, state.session, app.codec)
    if not ok then
      settle(passes, "before", "the CSRF guard")
    elseif not passes then
      state.response, state.answered = responses.page(403), true
    end
  end
  for index = 1, #app.steps do
    if state.answered then break end
    local instance = instances[index]
    local ok, err = pcall(function()
      local before = instance and instance.before
      local response = before and responses.from(before(instance, transaction))
      if response or state.taken then take(response) end
    end)
    if not ok then settle(err, "before", named(app.steps[index])) end
  end

  -- process
  if not state.answered and not state.segments then state.response, state.answered = responses.page(400), true end
  for index = 1, #app.steps do
    if state.answered then break end
    local step, instance = app.steps[index], instances[index]
    if step.index then
      local pattern
      local ok, err = pcall(patterns.visit, step.index, state.segments, function(route, captures)
        if not takes(route, state.method) then return nil end
        pattern = route.pattern.text
        state.follow(route, captures)
        local result
        if route.rejected then
          result = responses.page(405, { Allow = app.methods_of(state.segments, true) })
        else
          result = route.handler(request, transaction)
        end
        return take(result) or nil
      end)
      if not ok then settle(err, "process", pattern or "a route") end
    else
      local ok, err = pcall(function()
        local process = instance.process
        if process then take(process(instance, transaction)) end
      end)
      if not ok then settle(err, "process", named(step)) end
    end
  end
  if not state.answered and (state.method == "GET" or state.method == "HEAD") then
    for index = 1, #app.statics do
      local ok, err = pcall(function()
        local served = app.serve(app.statics[index], state.segments)
        if served then take(served) end
      end)
      if not ok then settle(err, "process", "static " .. index) end
      if state.answered then break end
    end
  end
  if not state.answered and state.method == "OPTIONS" and app.auto_options then
    local allow = app.methods_of(state.segments)
    if allow then
      local response = responses.make(204)
      response.headers.Allow = allow
      take(response)
    end
  end
  if not state.answered and app.fallback then
    local ok, err = pcall(function() take(app.fallback(request, transaction)) end)
    if not ok then settle(err, "process", "the fallback") end
  end
  -- What a `before` wrote to the response itself stands, where nobody else has answered.
  if not state.answered and not take(nil) then take(responses.page(404)) end
  -- What answered the client itself: what `after` does to this goes nowhere.
  if state.taken and not state.response then state.response = responses.make(200) end

  -- after
  for index = 1, #app.steps do
    local instance = instances[index]
    local ok, err = pcall(function()
      local after = instance and instance.after
      if after then after(instance, transaction) end
    end)
    if not ok then settle(err, "after", named(app.steps[index])) end
  end
  if state.taken then return nil end

  -- What the response is made complete with. An error here must not leave with half of it.
  local ok, given = pcall(function()
    local response = state.response
    if app.csrf_guard then
      local text = responses.text(response)
      local kind = response.headers["Content-Type"]
      if text and type(kind) == "string" and find(lower(kind), "^%s*text/html") then
        response.body = csrf.guarded(text, state.session, app.codec)
      end
    end
    local cookie = state.cookie()
    if cookie then responses.add_cookie(response, cookie) end
    local doubled = responses.doubled_cookie(response.headers)
    if doubled then app.warn("two cookies of the name " .. doubled .. " in one response", request) end
    return responses.sent(response)
  end)
  if ok then return given end
  app.report(given, request, "the response", first_error)
  return responses.sent(responses.page(500))
end

return { plan = plan, first_route = first_route, run = run }
