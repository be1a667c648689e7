--- A guarded fetch: decided, passed through the middleware, sent to permitted addresses only, hop by hop.
--
--   request → decide (rules, or policy) → middleware → decide again → gate → addresses → policy → send
--
-- A network error shows the request as the untrusted side made it: also one of a request that middleware makes for itself. Its other errors
-- are passed on unchanged. What the guard itself says of a wrong request or response of middleware's has no value and no place of it: that is in
-- the log.
local args = require("caspian.net.args")
local fields_of = require("caspian.net.errors").fields
local errors = require("caspian.net.error_methods")
local middleware = require("caspian.net.middleware")
local requests = require("caspian.net.requests")
local sockets = require("caspian.net.sockets")
local error, next, pcall, rawget, setfenv, setmetatable, type =
  error, next, pcall, rawget, setfenv, setmetatable, type
local collectgarbage = collectgarbage
local create, resume, running, status_of, yield =
  coroutine.create, coroutine.resume, coroutine.running, coroutine.status, coroutine.yield
local find, gsub, lower, match, min, sub = string.find, string.gsub, string.lower, string.match, math.min, string.sub
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, merged = args.bad, sockets.merged

--- How deep a guard may be called from within its own callbacks, in one coroutine.
local MAX_DEPTH = 32

--- What the untrusted side may say.
local OPTIONS = {
  method = "string", headers = "table", body = "string", body_json = "any", body_form = "table",
  timeout = "seconds",            -- at most the guard's own
}
args.declare{ Guarded_options = OPTIONS }

--- Headers that are not the untrusted side's: where a request goes, its framing, its connection, whom it came by, and
-- those by which servers take another method, host or path than the ones that were checked. What is no letter or digit
-- counts as `-`: to CGI programs they are one, `X_Host` behind any server, `X.Host` behind some.
local FORBIDDEN = {}
for _, name in next, {
  "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
  "http2-settings", "alt-used", "via", "forwarded", "x-host", "x-server-name", "x-method", "x-url", "x-uri", "x-path",
  "x-request-uri", "x-scheme", "x-url-scheme", "request-uri", "base-url", "http-url", "front-end-https", "client-ip",
  "true-client-ip", "cf-connecting-ip", "fastly-client-ip", "x-client-ip", "x-cluster-client-ip", "x-real-ip",
  "x-remote-ip", "x-remote-addr", "x-originating-ip",
} do FORBIDDEN[name] = true end
local FORBIDDEN_STARTS = {
  "proxy-", "x-accel-", "x-backend", "x-envoy-", "x-forward", "x-http-", "x-original-", "x-override-", "x-proxy", "x-rewrite-",
  "sec-websocket-",
}
local FORBIDDEN_END = "-override"

--- Methods whose answer is the request as it arrived, and with it what the guard had added.
local MIRRORS = { TRACE = true, TRACK = true }

--- What is said of an error where the request was another one than the untrusted side knows of.
local WORDS = {
  timeout = "timed out",
  connection_refused = "the connection was refused",
  connection_reset = "the connection was reset",
  dns_failure = "the name did not resolve",
  tls = "the TLS handshake failed",
  protocol = "the server broke the protocol",
  too_large = "the response is too large",
  socket = "the connection failed",
}

--- Errors that the untrusted side may see: with the mark of the fetch that they were made for (not the fetch itself, which ends though its
-- errors are kept), true where they name no request, false for no fetch.
local sayable = setmetatable({}, { __mode = "k" })

local function network_error(class, message, fields, frame)
  fields = fields or {}
  fields[errors.PLACELESS] = true
  local err = errors.made(class, message, "fetch", fields)
  sayable[err] = frame and frame.mark or not fields.url
  return err
end

--- A URL without what may be a secret of the untrusted side's own: errors get about.
local function brief(url)
  return (match(url, "^[^?#]*"))
end

-- ----------------------------------------------------------------------------------------------- callbacks

--- Coroutines of `protected`, and the one that each stands for to those who count.
local stands = setmetatable({}, { __mode = "k" })

--- `pcall` that lets `call` yield, also on Lua 5.1: there it runs in a coroutine of its own, whose yields are handed on.
local function protected(call, value)
  -- On the main thread nobody could take a yield.
  if requests.can_guard or not running() then return pcall(call, value) end
  local thread, outer = create(call), running()
  stands[thread] = stands[outer] or outer
  local function pass(ok, ...)
    if status_of(thread) == "suspended" then return pass(resume(thread, yield(...))) end
    return ok, ...
  end
  return pass(resume(thread, value))
end

--- The stand-in for the main thread, which has no name on Lua 5.1.
local MAIN = {}

--- Counts the fetches of a guard that are under way in this coroutine. Those that an error ended have not said goodbye:
-- they are garbage, and at the cap they are collected before anybody is refused.
local function enter(guard)
  local key = running() or MAIN
  key = stands[key] or key
  local own = guard.depths[key]
  if not own then
    own = { count = 0, frames = setmetatable({}, { __mode = "k" }) }
    guard.depths[key] = own
  end
  if own.count >= MAX_DEPTH then
    collectgarbage()
    own.count = 0
    for _ in next, own.frames do own.count = own.count + 1 end
    if own.count >= MAX_DEPTH then
      error(network_error("request_not_allowed", "the guard was called from its own callbacks more than "
        .. MAX_DEPTH .. " deep"), 0)
    end
  end
  local frame = { own = own, mark = {} }
  own.frames[frame] = true
  own.count = own.count + 1
  return frame
end

local function leave(frame)
  frame.own.frames[frame] = nil
  frame.own.count = frame.own.count - 1
end

-- ------------------------------------------------------------------------------------------------ refusals

--- Raises what the network or the gate said. `hop`: where we are; `hidden`: the request is not the one that the untrusted
-- side knows.
local function fail(hop, err, hidden)
  if type(err) ~= "table" then error(err, 0) end
  local class = errors.word(err)
  local changes = { url = brief(hop.shown), [errors.PLACELESS] = true }
  if hop.shown == hop.url then changes.host, changes.port = hop.host, hop.port end
  if hidden then
    changes.timeout = err.timeout
    error(network_error(class, "fetch " .. changes.url .. ": " .. (WORDS[class] or "not allowed"), changes, hop.frame), 0)
  end
  -- What came of a body has not passed the middleware.
  changes.cause, changes.sent, changes.partial = false, false, false
  err = errors.altered(err, changes)
  sayable[err] = hop.frame and hop.frame.mark
  error(err, 0)
end

--- Says no: in the log with the URL that it is about, to the caller with the one that he knows.
local function refuse(guard, hop, class, words, method, url)
  guard.core.guard_log(guard.client, method, url, class)
  error(network_error(class, "fetch " .. brief(hop.shown) .. ": " .. words,
    { url = brief(hop.shown), host = hop.shown == hop.url and hop.host or nil,
      port = hop.shown == hop.url and hop.port or nil }, hop.frame), 0)
end

--- Raises what the middleware has raised. An error of the network that is not this fetch's is of a request that the untrusted side knows
-- nothing of: it learns the class, and the log has the words.
local function pass_on(guard, hop, method, err)
  local class = errors.word(err)
  if class and sayable[err] ~= true and sayable[err] ~= hop.frame.mark then
    guard.core.guard_log(guard.client, method, hop.url, class, fields_of[err].message)
    local url = brief(hop.shown)
    err = network_error(class, "fetch " .. url .. ": the guard's middleware failed: " .. (WORDS[class] or "not allowed"), { url = url }, hop.frame)
  end
  error(err, 0)
end

--- Refuses what middleware made of a request. `words` for both sides; the log has the `reason`, with its values, and the place.
local function wrong_request(guard, hop, method, words, reason)
  local place = args.place()
  guard.core.guard_log(guard.client, method, hop.url, "request_not_allowed", (place and place .. ": " or "") .. (reason or words))
  error("next: " .. words, 0)
end

--- Asks the policy, where no rule decides. `ip` is the address that is about to be dialled.
local function ask(guard, hop, decided, method, ip)
  if decided.rule ~= 0 then return end
  if not guard.policy then
    refuse(guard, hop, "host_not_allowed", "no rule of the guard covers the host", method, decided.url)
  end
  local ok, answer = protected(guard.policy, {
    host = decided.host, port = decided.port, method = method, url = decided.url, resolved_ip = ip,
  })
  if not ok or answer ~= true then
    refuse(guard, hop, "request_not_allowed", "the guard's policy does not allow it", method, decided.url)
  end
end

--- What the rules say: { rule =, route =, params =, url =, host =, port =, method = }, or nil and why not.
local function decide(guard, url, method)
  local rule, route, params, canonical, scheme, host, port = guard.core.guard_decide(guard.rules, url, method)
  if rule == nil then return nil, route end
  return {
    rule = rule, route = route, params = params, url = canonical, host = host, port = port, method = method,
    origin = scheme .. "://" .. host .. ":" .. port,
  }
end

-- ------------------------------------------------------------------------------------------------ requests

-- What the untrusted side can leave out of what is said by itself; not credentials, and not what the guard reads answers by.
local LEFT_OUT = { accept = true, ["content-type"] = true, ["user-agent"] = true }

--- Refuses a header that is not the untrusted side's to set.
local function own_header(name, header, key, values, guard)
  key = gsub(key, "[^0-9a-z]", "-")
  local wrong = FORBIDDEN[key] or (key == "cookie" and guard.told.cookies)
  for _, start in next, FORBIDDEN_STARTS do wrong = wrong or sub(key, 1, #start) == start end
  wrong = wrong or sub(key, -#FORBIDDEN_END) == FORBIDDEN_END
  if wrong then bad(2, name, "header " .. args.show(header) .. " cannot be set through a guard") end
  -- Past ASCII, servers read bytes as the charset that they like.
  for index = 1, #values do
    if #values[index] > 65536 then
      bad(2, name, "the value of header " .. args.show(header) .. " is longer than 64 KiB")
    end
    if find(values[index], "[\128-\255]") then
      bad(2, name, "the value of header " .. args.show(header) .. " is not ASCII")
    end
  end
end

--- Reads what the untrusted side asks for: { given =, method =, headers =, body = }, and its timeout.
local function asked(guard, name, url, given)
  local core = guard.core
  if type(url) ~= "string" then bad(1, name, "url must be a string, got " .. args.show(url)) end
  local opts = args.options(2, name, given, OPTIONS)
  if given ~= nil then opts.body_json = rawget(given, "body_json") end
  local fields = requests.headers_of(opts.headers or {}, name, 2, true)
  local size, headers = #url, {}
  for header, value in next, fields do
    local key = lower(header)
    local values = type(value) == "table" and value or { value or nil }
    if value then own_header(name, header, key, values, guard) end
    for index = 1, #values do size = size + #header + #values[index] end
    if value then headers[key] = #values == 1 and values[1] or values elseif LEFT_OUT[key] then headers[key] = false end
  end
  local method, words = core.guard_request(opts.method or "GET", fields)
  if method == nil then bad(2, name, words) end
  local body, kind = requests.body_of(core, opts, name, 2)
  if body then
    size = size + #body
    if kind and headers["content-type"] == nil then headers["content-type"] = kind end
  end
  if size > guard.max_request_bytes then
    error(network_error("too_large", "the request is larger than max_request_bytes (" .. guard.max_request_bytes .. ")"), 0)
  end
  return { given = url, method = method, headers = headers, body = body }, opts.timeout
end

--- What middleware made of a request, checked: method, headers and body.
local function changed(guard, hop, was, req)
  local function refused(words, reason) wrong_request(guard, hop, was, words, reason) end
  if type(req.url) ~= "string" then refused("ctx.req.url must be a string, got " .. type(req.url)) end
  if type(req.method) ~= "string" then refused("ctx.req.method must be a string, got " .. type(req.method)) end
  if req.body ~= nil and type(req.body) ~= "string" then refused("ctx.req.body must be a string, got " .. type(req.body)) end
  if type(req.headers) ~= "table" then refused("ctx.req.headers must be a table, got " .. type(req.headers)) end
  local read, headers = pcall(requests.headers_of, req.headers, "next", 0, true)
  if not read then refused("ctx.req.headers has a name or a value that no header can have", headers) end
  -- Another host than the URL's would be one that nobody checked.
  for header in next, headers do
    if lower(header) == "host" then refused("the header Host cannot be set: it follows ctx.req.url") end
  end
  local method, why = guard.core.guard_request(req.method, headers)
  if method == nil then refused("ctx.req.method is no method, or ctx.req.headers has a header that cannot be set", why) end
  if MIRRORS[method] then refused("the method " .. method .. " is not allowed: its response contains the request") end
  return method, headers, req.body
end

-- ------------------------------------------------------------------------------------------------- sending

--- Goes on with a call until the head of its response is here.
local function step(core, call)
  local done, err
  repeat done, err = core.http_step(call) until done == nil or done == true
  return done, err
end

local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

--- The one Location of a redirect, if it has one.
local function location_of(hop, fields)
  local location
  for index = 1, #fields do
    local name, value = fields[index][1], fields[index][2]
    if lower(name) == "location" then
      if location and location ~= value then
        fail(hop, network_error("protocol", "the redirect has two different Locations"), false)
      end
      location = value
    end
  end
  return location
end

--- Sends a request that was decided, and reads the answer. Where a policy has to agree, each address is asked about just
-- before it is dialled, and the next one only if that one could not be reached.
local function transmit(guard, hop, decided, headers, body)
  local core = guard.core
  local hidden = decided.origin ~= hop.origin or hop.shown ~= hop.url
  local told = hop.crossed and guard.told_strangers or guard.told
  local request = {
    client = guard.client, url = decided.url, method = decided.method, headers = headers, body = body, opts = told,
  }
  local call, done, err
  local function start(share)
    local made, why = core.guard_start(hop.clock, share, request)
    if made == nil then
      if type(why) == "string" then wrong_request(guard, hop, decided.method, "the request is one that cannot be sent", why) end
      fail(hop, why, hidden)
    end
    return made
  end
  if decided.rule ~= 0 then
    call = start(1)
    done, err = step(core, call)
  else
    local addresses, why = core.guard_addresses(guard.client, hop.clock, decided.url, told)
    if addresses == nil then fail(hop, why, hidden) end
    for index = 1, #addresses do
      local ip = addresses[index]
      ask(guard, hop, decided, decided.method, ip)
      local host = find(decided.host, ":", 1, true) and "[" .. gsub(decided.host, "[%[%]]", "") .. "]" or decided.host
      request.opts = merged(told, { resolve = { [host .. ":" .. decided.port] = ip } })
      call = start(#addresses - index + 1)
      done, err = step(core, call)
      if done or core.guard_reached(call) then break end
    end
  end
  if not done then fail(hop, err, hidden) end
  local bytes
  done, bytes = core.http_whole(call)
  if done == nil then fail(hop, bytes, hidden) end
  local status, reason, version = core.http_head(call)
  local fields = core.http_fields(call, "headers")
  if guard.follow and REDIRECTS[status] then fields.location = location_of(hop, core.http_fields(call, "raw_headers")) end
  -- Cookies of the guard's own jar are credentials, which are not the untrusted side's.
  if guard.told.cookies then fields["set-cookie"] = nil end
  return middleware.response_of(core, {
    status = status, reason = reason, version = version, headers = fields, body = bytes, url = decided.url,
  })
end

--- The middleware for a decision: global around origin around route.
local function chain_of(guard, decided)
  local rule = guard.origins[decided.rule]
  local route = rule and rule.routes[decided.route]
  if not rule or (#rule.middleware == 0 and (not route or #route == 0)) then return guard.middleware end
  local list = {}
  for _, level in next, { guard.middleware, rule.middleware, route or {} } do
    for index = 1, #level do list[#list + 1] = level[index] end
  end
  return list
end

--- One request through the chain: the response, and the URL that was asked last.
local function pass(guard, hop, request, decided)
  local core = guard.core
  local req = middleware.request_of(request, decided, hop.number)
  local base = decided.url
  local function send()
    local method, headers, body = changed(guard, hop, request.method, req)
    local now = decided
    if req.url ~= decided.url or method ~= decided.method then
      local why
      now, why = decide(guard, req.url, method)
      if not now then
        local class = errors.word(why) or "request_not_allowed"
        refuse(guard, hop, class, "middleware changed the request to one that is not allowed", method, req.url)
      end
      ask(guard, hop, now, method)
    end
    base = now.url
    return transmit(guard, hop, now, headers, body)
  end
  local chain = chain_of(guard, decided)
  if #chain == 0 then return middleware.plain(core, send()), base end
  local ok, response = protected(function() return middleware.run(core, chain, { req = req }, send) end)
  if not ok then pass_on(guard, hop, request.method, response) end
  return middleware.plain(core, response), base
end

--- The request that a response asks for instead, if any: the one of the untrusted side, as a client's redirect leaves it.
local function following(guard, hop, request, response, base)
  local location = response.headers.location
  if not guard.follow or not REDIRECTS[response.status] or type(location) ~= "string" then return nil end
  local names = {}
  for header in next, request.headers do names[#names + 1] = header end
  local leads, err = guard.core.guard_next(request.method, base, hop.shown, response.status, location,
    request.body ~= nil, names)
  if leads == nil then
    if err == nil then return nil end
    fail(hop, type(err) == "table" and err or network_error("protocol", err), hop.shown ~= base)
  end
  local headers = {}
  for _, header in next, leads.names do headers[lower(header)] = request.headers[lower(header)] end
  return { given = leads.url, method = leads.method, headers = headers, body = leads.body and request.body or nil },
    leads.shown, leads.crossed
end

--- Does a request.
local function fetch(guard, url, given)
  local core = guard.core
  if guard.closed or not core.alive(guard.cap) then
    error(network_error("socket", guard.closed and "the guard is closed" or "this network capability was revoked"), 0)
  end
  local request, timeout = asked(guard, "fetch", url, given)
  local decided, why = decide(guard, url, request.method)
  if not decided and type(why) == "string" then bad(1, "fetch", why) end
  local hop = { number = 0, shown = "", crossed = false }
  if decided then hop.shown = decided.url end
  if decided and MIRRORS[request.method] then
    refuse(guard, hop, "request_not_allowed", "the method " .. request.method .. " is not allowed: its response contains the request",
      request.method, url)
  end
  if not decided then
    core.guard_log(guard.client, request.method, url, errors.word(why))
    -- What has an `@` may hold a password.
    local shown = not find(url, "@", 1, true) and brief(url) or nil
    error(errors.altered(why, { op = "fetch", url = shown, [errors.PLACELESS] = true }), 0)
  end
  hop.clock = core.guard_clock(timeout and min(timeout, guard.timeout) or guard.timeout)
  local frame = enter(guard)
  hop.frame = frame
  local chain = {}
  while true do
    hop.url, hop.host, hop.port, hop.origin = decided.url, decided.host, decided.port, decided.origin
    ask(guard, hop, decided, request.method)
    local response, base = pass(guard, hop, request, decided)
    local leads, shown, crossed = following(guard, hop, request, response, base)
    if not leads then
      leave(frame)
      return middleware.sealed(core, response, hop.shown, chain)
    end
    chain[#chain + 1] = hop.shown
    if #chain > guard.max_redirects then
      fail(hop, network_error("protocol", "more than " .. guard.max_redirects .. " redirects"), false)
    end
    request = leads
    hop = { number = hop.number + 1, shown = shown, crossed = hop.crossed or crossed, clock = hop.clock, frame = frame }
    decided, why = decide(guard, request.given, request.method)
    if not decided then
      local class = errors.word(why) or "request_not_allowed"
      refuse(guard, hop, class, "the guard does not allow the target of the redirect", request.method, request.given)
    end
    -- The same URL in its one form; another one stays as it was.
    if shown == request.given then hop.shown = decided.url end
  end
end

return { fetch = fetch }
