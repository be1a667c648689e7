-- The attacker: reads one attempt a line (API, host, port, URL; escaped), makes it with what it holds, and says what came of it.
local CONTROL = "1.1.1.1"
local WAIT = 3

local function bracketed(host)
  if host:find(":", 1, true) and not host:find("[", 1, true) then return "[" .. host .. "]" end
  return host
end

local function drop(thing)
  if thing then pcall(function() thing:close() end) end
  return true
end

-- A response that is a table of results holds its error.
local function first(results)
  local one = results[1]
  if one.status == nil then error(one, 0) end
  return true
end

local function through(scheme, port)
  return function(_, _, url) return net.fetch(url, { timeout = WAIT, proxy = scheme .. "://" .. CONTROL .. ":" .. port }) end
end

local function proxy(scheme)
  return function(host, port)
    return net.fetch("http://" .. CONTROL .. "/", { timeout = WAIT, proxy = scheme .. "://" .. host .. ":" .. port })
  end
end

local function escaped(url)
  return (url:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function redirect(status)
  return function(_, _, url)
    return net.fetch("http://" .. CONTROL .. "/to/" .. status .. "?" .. escaped(url), { timeout = WAIT })
  end
end

local function guard(made)
  made.follow_redirects, made.verify = true, false
  return net.http.guard(made)
end

-- `HOST PORT…`: a rule, beside one for the server of the redirects. Nothing: a policy that says yes to everything, and
-- the fence around private addresses.
local function config(rule)
  local host = rule:match("^%S+")
  if not host then return { policy = function() return true end } end
  local ports = {}
  for port in rule:gmatch(" (%d+)") do ports[#ports + 1] = tonumber(port) end
  return { allow_private = true, rules = {
    { host = host, https_only = false, ports = ports }, { host = CONTROL, https_only = false, ports = { 80 } },
  } }
end

local function client(opts) return net.http.client.new(opts or {}) end

local APIS = {
  tcp = function(host, port) return drop(net.tcp(host, port, { timeout = WAIT })) end,
  tcp_class = function(host, port)
    return drop(net.class("puck.uno/socket/tcp").new{ host = host, port = port, timeout = WAIT })
  end,
  ssl = function(host, port) return drop(net.ssl(host, port, { timeout = WAIT, verify = false })) end,
  ssl_sni = function(host) return drop(net.ssl(CONTROL, 80, { timeout = WAIT, sni = host })) end,
  udp = function(host, port)
    local socket = net.udp(host, port)
    socket:send("udp")
    return drop(socket)
  end,
  send_to = function(host, port)
    local ok, err
    for _, family in ipairs{ "inet", "inet6" } do
      local socket = net.udp{ family = family }
      ok, err = pcall(socket.send_to, socket, "send_to", host, port)
      socket:close()
      if ok or type(err) == "string" or not err:is("network/socket") then break end
    end
    if not ok then error(err, 0) end
    return true
  end,
  unix = function(host) return drop(net.unix(host)) end,
  http_server = function(host, port) return drop(net.http.server(host, port)) end,
  sammy = function(host, port) return net.http.sammy{}:run(host, port) end,
  uds = function(host) return net.uds{ path = host }:wait() end,
  uds_client = function(host) return net.uds{ path = host }.client:get("/") end,
  within_tcp = function(host, port) return drop(net.within(WAIT, net.tcp, host, port)) end,
  within_fetch = function(_, _, url) return net.within(WAIT, net.fetch, url) end,
  fetch_unix = function(host) return net.fetch("http://" .. CONTROL .. "/", { unix = host, timeout = WAIT }) end,
  resolve = function(host) return net.resolve(host, { timeout = WAIT }) end,
  resolve_txt = function(host) return net.resolve(host, "txt", { timeout = WAIT }) end,
  reverse = function(host) return net.reverse_resolve(host, { timeout = WAIT }) end,
  server = function(host, port)
    return net.resolve("example.com", "a", { server = bracketed(host) .. ":" .. port, timeout = WAIT })
  end,
  allows = function(host, port) return net.allows(host, port) or error("no", 0) end,
  narrow_tcp = function(host, port)
    return drop(net.narrow{ allow_net = { bracketed(host) .. ":" .. port } }.tcp(host, port, { timeout = WAIT }))
  end,
  narrow_wide = function(host, port) return drop(net.narrow{ "--allow-net" }.tcp(host, port, { timeout = WAIT })) end,
  fetch = function(_, _, url) return net.fetch(url, { timeout = WAIT }) end,
  fetch_https = function(_, _, url)
    return net.fetch((url:gsub("^%s*[hH][tT][tT][pP]:", "https:")), { timeout = WAIT, verify = false })
  end,
  fetch_stream = function(_, _, url) return drop(net.fetch(url, { timeout = WAIT, stream = true })) end,
  fetch_host = function(_, _, url) return net.fetch(url, { timeout = WAIT, headers = { Host = "example.com" } }) end,
  client = function(_, _, url) return client():get(url, { timeout = WAIT }) end,
  client_post = function(_, _, url) return client():post(url, "x", { timeout = WAIT }) end,
  client_allow = function(host, _, url) return client{ allow = { bracketed(host) } }:get(url, { timeout = WAIT }) end,
  jail = function(host, _, url) return net.http.client.jail(bracketed(host)).fetch(url, { timeout = WAIT }) end,
  fetch_all = function(_, _, url) return first(net.fetch_all({ { url, timeout = WAIT } })) end,
  websocket = function(_, _, url)
    return drop(net.websocket((url:gsub("^%s*[hH][tT][tT][pP]", "ws")), { timeout = WAIT }))
  end,
  events = function(_, _, url) return drop(net.events(url, { timeout = WAIT })) end,
  client_events = function(_, _, url) return drop(client():events(url, { timeout = WAIT })) end,
  redirect = redirect(302),
  redirect_keeping = redirect(307),
  proxy_http = proxy("http"), proxy_https = proxy("https"), proxy_socks5 = proxy("socks5"), proxy_socks5h = proxy("socks5h"),
  through_http = through("http", 3128), through_socks5 = through("socks5", 1080), through_socks5h = through("socks5h", 1080),
  through_websocket = function(_, _, url)
    return drop(net.websocket((url:gsub("^%s*[hH][tT][tT][pP]", "ws")), { timeout = WAIT, proxy = "http://" .. CONTROL .. ":3128" }))
  end,
  guard_gate = function(_, _, url)
    return guard{ policy = function() return true end, allow_private = true }.fetch(url, { timeout = WAIT })
  end,
  guard = function(_, _, url, rule) return guard(config(rule)).fetch(url, { timeout = WAIT }) end,
  guard_redirect = function(_, _, url, rule)
    return guard(config(rule)).fetch("http://" .. CONTROL .. "/to/302?" .. escaped(url), { timeout = WAIT })
  end,
  guard_rewrite = function(_, _, url, rule)
    local made = config(rule)
    made.middleware = function(ctx, next)
      ctx.req:set_url(url)
      return next()
    end
    return guard(made).fetch("http://" .. CONTROL .. "/", { timeout = WAIT })
  end,
  pinned = function(host)
    local ip = host:gsub("[%[%]]", "")
    return net.fetch("http://example.com/", { timeout = WAIT, resolve = { ["example.com:80"] = ip } })
  end,
}

if arg[1] == "apis" then
  for name in pairs(APIS) do print(name) end
  return
end

io.stdout:setvbuf("line")
for line in io.lines() do
  local fields = {}
  for field in (line .. "\t"):gmatch("([^\t]*)\t") do
    fields[#fields + 1] = (field:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
  end
  local api, host, port, url, rule = fields[1], fields[2], tonumber(fields[3]), fields[4], fields[5]
  local ok, err = pcall(APIS[api], host, port, url, rule)
  if ok then
    print("ok")
  elseif type(err) == "string" then
    print("argument " .. err:gsub("%c", " "))
  else
    print(err.class:match("[^/]+$") .. " " .. tostring(err):gsub("%c", " "))
  end
end
