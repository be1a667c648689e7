-- Contract 7: the guard. What the rules decide is tables of Rust tests (tests/guard_*.rs); in the specs guard_*_spec is what
-- stands around them. Here: the surface, the configuration, and what the untrusted side may say.

local fails = require("spec.support.fails")
local guards = require("spec.support.guards")
local net = require("spec.support.subject").net
local servers = require("spec.support.servers")

local http, other, named = guards.http, guards.other, guards.named
local guard, ports, inspected, spelled = guards.make, guards.ports, guards.inspected, guards.spelled

describe("a guard", function()
  guards.fresh(before_each, after_each)

  it("has fetch and nothing else", function()
    local g, close = guard{}
    assert.equal(200, g.fetch(http .. "/hello").status)
    assert.equal(200, g:fetch(http .. "/hello").status)
    assert.equal("function", type(close))
    for _, name in ipairs{ "close", "rules", "net", "client", "jail", "new", "allow", "guard", "policy", "core" } do
      assert.is_nil(g[name])
    end
    assert.is_false(getmetatable(g))
    assert.is_false(pcall(function() g.fetch = print end))
    assert.is_false(pcall(setmetatable, g, {}))
    assert.is_nil(next(g))
    assert.equal("guard", tostring(g))
  end)

  it("answers plain data", function()
    local r = guard{}.fetch(http .. "/json")
    assert.equal(200, r.status)
    assert.is_true(r.ok)
    assert.is_true(r["ok?"])
    assert.equal("OK", r.reason)
    assert.equal("1.1", r.version)
    assert.equal("application/json", r.headers["content-type"])
    assert.equal("caspian", r.json().name)
    assert.equal("caspian", r:json().name)
    assert.equal(r.body, r.text())
    assert.equal(r.body, r:text())
    assert.equal(http .. "/json", r.url)
    assert.same({}, r.redirect_chain)
    assert.equal("response 200 OK", tostring(r))
    assert.is_false(getmetatable(r))
    assert.is_false(pcall(function() r.body = "" end))
    assert.equal("caf\195\169\n", guard{}.fetch(http .. "/latin1").text())
  end)

  it("takes 4xx and 5xx for responses", function()
    for _, status in ipairs{ 400, 404, 429, 500, 503 } do
      local r = guard{}.fetch(http .. "/status/" .. status)
      assert.equal(status, r.status)
      assert.is_false(r.ok)
    end
  end)

  it("sends what it is asked to", function()
    local g = guard{}
    local rows = {
      { { method = "post", body = "x=1" }, "x=1" },
      { { method = "PUT", body_json = { a = { 1, 2 } } }, '{"a":[1,2]}' },
      { { method = "PUT", body_json = net.array{} }, "[]" },
      { { method = "POST", body_form = { a = "b c" } }, "a=b+c" },
      { { method = "POST" }, "" },
    }
    for _, row in ipairs(rows) do assert.equal(row[2], g.fetch(http .. "/echo", row[1]).body) end
    local seen = inspected(g.fetch(http .. "/inspect?q=1#f", {
      method = "POST", body_json = {}, headers = { ["X-One"] = "1", Authorization = "mine", Cookie = "mine=1", ["X-Two"] = { "a", "b" } },
    }))
    assert.equal("POST /inspect?q=1 HTTP/1.1", seen[1])
    assert.equal("application/json", seen["content-type"])
    assert.equal("1", seen["x-one"])
    assert.equal("mine", seen.authorization)
    assert.equal("mine=1", seen.cookie)
  end)

  it("is closed by the host", function()
    local g, close = guard{}
    g.fetch(http .. "/hello")
    close()
    close()
    assert.truthy(fails.with("network/socket", g.fetch, http .. "/hello").message:find("closed", 1, true))
  end)

  it("ends with its capability", function()
    local g = guard{ middleware = function() return { status = 200 } end }
    assert.equal(200, g.fetch(http .. "/hello").status)
    guards.net.revoke()
    fails.with("network/socket", g.fetch, http .. "/hello")
    assert.is_false(pcall(guards.net.http.guard, { rules = {} }))
  end)

  it("is one more intersection", function()
    local less = guards.net.narrow{ "--allow-net=127.0.0.1:" .. servers.http }
    local g = less.http.guard{ rules = ports(servers.http, servers.other), allow_private = true }
    assert.equal(200, g.fetch(http .. "/hello").status)
    fails.with("network/port_not_allowed", g.fetch, other .. "/hello")
    g = less.http.guard{ policy = function() return true end, allow_private = true }
    fails.with("network/port_not_allowed", g.fetch, other .. "/hello")
    fails.with("network/host_not_allowed", g.fetch, "http://ungranted.invalid/")
    -- What is denied is not opened by a guard.
    less = guards.net.narrow{ "--allow-net", "--deny-net=private" }
    g = less.http.guard{ policy = function() return true end, allow_private = true }
    fails.with("network/host_not_allowed", g.fetch, http .. "/hello")
    fails.with("network/address_not_allowed", g.fetch, named .. "/hello")
  end)

  it("keeps a pool, a jar and credentials of its own", function()
    local a, b = guard{ cookies = true }, guard{ cookies = true }
    assert.equal("2", a.fetch(http .. "/connection").body:match("%d+$") and a.fetch(http .. "/connection").body:match("%d+$"))
    assert.equal("1", b.fetch(http .. "/connection").body:match("%d+$"))
    assert.equal("1", guards.net.fetch(http .. "/connection").body:match("%d+$"))
    a.fetch(http .. "/cookies")
    assert.equal("one=1; three=3", inspected(a.fetch(http .. "/inspect")).cookie)
    assert.is_nil(inspected(b.fetch(http .. "/inspect")).cookie)
    assert.is_nil(inspected(guards.net.fetch(http .. "/inspect", { cookies = true })).cookie)
    assert.is_nil(inspected(guard{}.fetch(http .. "/inspect")).cookie)
  end)

  it("shows no cookie of its own jar, and lets none be set beside it", function()
    local g = guard{ cookies = true }
    local r = g.fetch(http .. "/cookies")
    assert.is_nil(r.headers["set-cookie"])
    for _, field in ipairs(r.raw_headers) do assert.is_nil(field[1]:lower():match("^set%-cookie")) end
    fails.plainly("cannot be set through a guard", g.fetch, http .. "/inspect", { headers = { Cookie = "a=b" } })
    assert.same({ "one=1; Path=/", "two=2; Path=/sub", "three=3; Max-Age=60" }, guard{}.fetch(http .. "/cookies").headers["set-cookie"])
    -- The host's jar is the host's to look into.
    local jar = guards.net.http.jar()
    guard{ cookies = jar }.fetch(http .. "/cookies")
    assert.equal(3, #jar:records())
  end)
end)

describe("the configuration of a guard", function()
  guards.fresh(before_each, after_each)

  local fn = function() end
  local one = { host = "a.example" }
  local rows = {
    { nil, "must be a table" },
    { 5, "must be a table" },
    { {}, "rules: rules and policy are missing" },
    { { rules = 1 }, "rules: must be a table" },
    { { rules = { 1 } }, "rules[1]: must be a table" },
    { { rules = { one, 1 } }, "rules[2]: must be a table" },
    { { rules = { one, nil, one } }, "rules: " },
    { { rules = { one, x = 1 } }, 'rules: must be a list, got the key "x"' },
    { { rules = { {} } }, "rules[1].host: is missing" },
    { { rules = { { host = 1 } } }, "rules[1].host: must be a string" },
    { { rules = { host = "" } }, "rules.host: " },
    { { rules = { one, { host = "a b" } } }, "rules[2].host: " },
    { { rules = { one, { host = "a.*.example" } } }, "rules[2].host: " },
    { { rules = { one, { host = "*.com" } } }, "rules[2].host: a wildcard needs two labels after it" },
    { { rules = { host = "https://a.example" } }, "rules.host: " },
    { { rules = { host = "a.example:80" } }, "rules.host: " },
    { { rules = { host = "a.example", port = 80 } }, "rules.port: unknown key" },
    { { rules = { host = "a.example", https_only = 1 } }, "rules.https_only: must be true or false" },
    { { rules = { host = "a.example", ports = {} } }, "rules.ports: " },
    { { rules = { host = "a.example", ports = { 0 } } }, "rules.ports[1]: " },
    { { rules = { host = "a.example", ports = { 80, 65536 } } }, "rules.ports[2]: " },
    { { rules = { host = "a.example", ports = { 80.5 } } }, "rules.ports[1]: " },
    { { rules = { host = "a.example", ports = "80" } }, "rules.ports: " },
    { { rules = { host = "a.example", ports = { 0 / 0 } } }, "rules.ports[1]: " },
    { { rules = { host = "a.example", routes = 1 } }, "rules.routes: must be a table" },
    { { rules = { host = "a.example", routes = { "/a" } } }, "rules.routes[1]: must be a table" },
    { { rules = { host = "a.example", routes = { {} } } }, "rules.routes[1].path: is missing" },
    { { rules = { one, { host = "a.example", routes = { { path = "/" }, { path = "a" } } } } }, "rules[2].routes[2].path: " },
    { { rules = { host = "a.example", routes = { { path = "/:a(" } } } }, "rules.routes[1].path: " },
    { { rules = { host = "a.example", routes = { path = "/:a((" } } }, "rules.routes" },
    { { rules = { host = "a.example", routes = { { path = 1 } } } }, "rules.routes[1].path: must be a string" },
    { { rules = { host = "a.example", routes = { { path = "/", methods = {} } } } }, "rules.routes[1].methods: " },
    { { rules = { host = "a.example", routes = { { path = "/", methods = 1 } } } }, "rules.routes[1].methods: " },
    { { rules = { host = "a.example", routes = { { path = "/", methods = { "GET", 1 } } } } }, "rules.routes[1].methods[2]: " },
    { { rules = { host = "a.example", routes = { { path = "/", methods = "G ET" } } } }, "rules.routes[1].methods" },
    { { rules = { host = "a.example", routes = { { path = "/", method = "GET" } } } }, "rules.routes[1].method: unknown key" },
    { { rules = { host = "a.example", routes = { { path = "/", middleware = 1 } } } }, "rules.routes[1].middleware: " },
    { { rules = { host = "a.example", middleware = { fn, 1 } } }, "rules.middleware[2]: must be a function" },
    { { rules = one, middleware = "x" }, "middleware: must be a function or a list" },
    { { rules = one, middleware = { fn, [3] = fn } }, "middleware: has holes" },
    { { rules = one, policy = true }, "policy: must be a function" },
    { { rules = one, allow_private = 1 }, "allow_private: " },
    { { rules = one, allow_private = { 1 } }, "allow_private[1]: must be a string" },
    { { rules = one, allow_private = { "10.0.0.1/8" } }, "allow_private: 10.0.0.1/8: has bits outside its prefix: did you mean 10.0.0.0/8?" },
    { { rules = one, allow_private = { "private" } }, "allow_private: private: " },
    { { rules = one, allow_private = { "10.0.0.0/33" } }, "allow_private: " },
    { { rules = one, follow_redirects = 1 }, "follow_redirects: must be true or false" },
    { { rules = one, max_redirects = -1 }, "max_redirects: must be a whole number" },
    { { rules = one, max_body_bytes = "1" }, "max_body_bytes: must be a whole number" },
    { { rules = one, max_request_bytes = 1.5 }, "max_request_bytes: must be a whole number" },
    { { rules = one, timeout = -1 }, "timeout: must be 0 or more seconds" },
    { { rules = one, timeout = 0 / 0 }, "timeout: must be 0 or more seconds" },
    { { rules = one, connect_timeout = "1" }, "connect_timeout: " },
    { { rules = one, cookies = 1 }, "cookies must be " },
    { { rules = one, cookies = {} }, "cookies must be " },
    { { rules = one, resolve = { ["a.example"] = "1.2.3.4" } }, "resolve: " },
    { { rules = one, resolve = { ["a.example:80"] = "b.example" } }, "resolve: " },
    { { rules = one, ca_bundle = "/etc/ssl/cert.pem" }, "ca_bundle: " },
    { { rules = one, ca_bundle = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n" }, "" },
    { { rules = one, client_key = "nonsense" }, "client_key " },
    { { rules = one, pins = { "x" } }, "pins must be " },
    { { rules = one, verify = 1 }, "verify: " },
    { { rules = one, proxy = "http://127.0.0.1" }, "proxy: unknown key" },
    { { rules = one, unix = "/x" }, "unix: unknown key" },
    { { rules = one, headers = {} }, "headers: unknown key" },
    { { rules = one, [1] = one }, "1: unknown key" },
  }
  for index, row in ipairs(rows) do
    it(("%d is refused: %s"):format(index, row[2]), function()
      local message = fails.plainly(row[2], guards.net.http.guard, row[1])
      assert.truthy(message:find("bad argument #1 to 'guard' (", 1, true), message)
    end)
  end
  -- A hole at the end of what a constructor writes depends on the Lua; the number of rows does not.
  assert(#rows > 50)

  it("may name a host unix, in every spelling, but no path", function()
    for _, host in ipairs{ "unix", "UNIX", "unix.", "\239\189\149nix" } do
      local g = guards.net.http.guard{
        rules = { host = host, https_only = false, ports = { servers.http } }, allow_private = { "127.0.0.1" },
        resolve = { ["unix:" .. servers.http] = "127.0.0.1" },
      }
      assert.equal(200, g.fetch("http://unix:" .. servers.http .. "/hello").status)
    end
    for _, host in ipairs{ "unix:/run/x", "unix:80" } do
      fails.plainly("rules.host: ", guards.net.http.guard, { rules = { host = host } })
    end
  end)

  it("is copied", function()
    local called = 0
    local list = { function(_, next) called = called + 1 return next() end }
    local route = { path = "/hello", methods = { "GET" }, middleware = list }
    local rule = { host = "127.0.0.1", https_only = false, ports = { servers.http }, routes = { route } }
    local config = { rules = { rule }, allow_private = { "127.0.0.1" }, middleware = { list[1] }, max_body_bytes = 100 }
    local g = guards.net.http.guard(config)
    local rules = config.rules
    local function spoil()
      for _, part in ipairs{ config, rules, rule, rule.ports, route, route.methods, list, config.allow_private } do
        for key in pairs(part) do part[key] = nil end
      end
      rule.host, config.policy = "example.com", function() return true end
      config.rules, rules[1], config.follow_redirects = rules, { host = "example.com" }, true
      list[1] = function() error("not this one") end
    end
    list[2] = function(_, next) spoil() return next() end
    assert.equal(200, g.fetch(http .. "/hello").status)
    spoil()
    assert.equal(200, g.fetch(http .. "/hello").status)
    assert.equal(4, called)
    fails.with("network/request_not_allowed", g.fetch, http .. "/json")
    fails.with("network/host_not_allowed", g.fetch, "https://example.com/")
  end)

  it("is read raw", function()
    local hidden = setmetatable({}, { __index = { rules = ports(servers.http), policy = function() return true end } })
    fails.plainly("rules and policy are missing", guards.net.http.guard, hidden)
    local rule = setmetatable(ports(servers.http), { __index = { routes = {}, middleware = function() error("not asked") end } })
    assert.equal(200, guards.net.http.guard{ rules = rule, allow_private = true }.fetch(http .. "/hello").status)
  end)

  it("of no rule allows nothing", function()
    local g = guard{ rules = {} }
    fails.with("network/host_not_allowed", g.fetch, http .. "/hello")
  end)

  it("may be deep or its own part", function()
    local loop = {}
    loop.rules, loop[1] = loop, loop
    fails.plainly("unknown key", guards.net.http.guard, loop)
    local deep = {}
    local inner = deep
    for _ = 1, 10000 do inner.rules = {} inner = inner.rules end
    fails.plainly("rules: ", guards.net.http.guard, deep)
  end)
end)

describe("what the untrusted side may say to a guard", function()
  guards.fresh(before_each, after_each)

  it("is no more than a request", function()
    local g = guard{}
    local file = io.tmpfile()
    local rows = {
      { { proxy = "http://127.0.0.1:1" }, "proxy" }, { { resolve = {} }, "resolve" }, { { unix = "/x" }, "unix" },
      { { ca_bundle = "x" }, "ca_bundle" }, { { verify = false }, "verify" }, { { body_file = "/etc/passwd" }, "body_file" },
      { { body_multipart = {} }, "body_multipart" }, { { save = file }, "save" }, { { stream = true }, "stream" },
      { { follow_redirects = true }, "follow_redirects" }, { { max_redirects = 1 }, "max_redirects" },
      { { max_body_bytes = 1 }, "max_body_bytes" }, { { auth = { "a", "b" } }, "auth" }, { { cookies = true }, "cookies" },
      { { retry = 1 }, "retry" }, { { decompress = false }, "decompress" }, { { on_progress = print }, "on_progress" },
      { { connect_timeout = 1 }, "connect_timeout" }, { { allow_private = true }, "allow_private" },
      { { body = file }, "body" }, { { body = function() end }, "body" }, { { body = 5 }, "body" },
      { { body = "a", body_json = 1 }, "exclude" }, { { method = 5 }, "method" }, { { headers = "x" }, "headers" },
      { { timeout = -1 }, "timeout" }, { { timeout = 0 / 0 }, "timeout" }, { 5, "opts" }, { { [1] = 1 }, "unknown option" },
    }
    for _, row in ipairs(rows) do
      local message = fails.plainly(row[2], g.fetch, http .. "/hello", row[1])
      assert.truthy(message:find("bad argument #2 to 'fetch'", 1, true), message)
    end
    for _, url in ipairs{ 5, true, {}, print } do fails.plainly("bad argument #1 to 'fetch'", g.fetch, url) end
    fails.plainly("bad argument #1 to 'fetch'", g.fetch)
    fails.plainly("bad argument #1 to 'fetch'", g.fetch, "hello")
    fails.plainly("bad argument #1 to 'fetch'", g.fetch, "http://127.0.0.1\r\n/")
    file:close()
  end)

  it("has none of the headers that say where a request goes", function()
    local g = guard{}
    for _, name in ipairs{
      "Host", "HOST", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Expect",
      "Proxy-Authorization", "Proxy-Connection", "Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP",
      "X-HTTP-Method-Override", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL", "HTTP2-Settings", "Sec-WebSocket-Key",
      "content_length", "Transfer_Encoding", "X_Forwarded_For", "x-http_method-override", "Alt-Used", "X-Host", "X_Host", "X.Host", "X!Method~Override",
      "X-Override-URL", "X-HTTP-Host-Override", "X-HTTP-Path-Override", "X-Original-Host", "X-Original-URI", "X-Rewrite-Path",
      "X-Forward-For", "X-Proxy-URL", "X-Backend-Host", "X-Envoy-Original-Path", "X-Accel-Redirect", "Url-Override", "Base-Url",
      "Request-Uri", "Client-IP", "True-Client-IP", "CF-Connecting-IP", "X-Cluster-Client-IP", "X-Url-Scheme", "X-Method",
    } do
      fails.plainly("cannot be set through a guard", g.fetch, http .. "/inspect", { headers = { [name] = "1" } })
      fails.plainly("cannot be set through a guard", g.fetch, http .. "/inspect", { headers = { [name] = { "1" } } })
    end
    for _, name in ipairs{ "X-Api-Key", "X-Request-ID", "X-Amz-Date", "Override", "X-Hostname", "Origin", "Referer", "Destination" } do
      assert.equal(200, g.fetch(http .. "/inspect", { headers = { [name] = "1" } }).status, name)
    end
  end)

  it("cannot inject", function()
    local g = guard{ middleware = function() error("too late") end }
    for _, headers in ipairs{
      { ["X-A"] = "a\r\nHost: b" }, { ["X-A"] = "a\nb" }, { ["X-A"] = "a\rb" }, { ["X-A"] = "a\0b" }, { ["X-A\r\nHost"] = "b" },
      { ["X A"] = "b" }, { ["Host "] = "b" }, { [" Host"] = "b" }, { ["Host:"] = "b" }, { [""] = "b" }, { ["X-A"] = {} , ["x-a"] = "1" },
      { ["X-A"] = { "a", "b\r\nc: d" } }, { [1] = "a" }, { ["X-A"] = true }, { ["X-A"] = print },
    } do
      local message = fails.plainly("bad argument #2 to 'fetch'", g.fetch, http .. "/inspect", { headers = headers })
      assert.is_nil(message:find("[\r\n%z]"))
    end
    for _, method in ipairs{ "GET /\r\n", "G ET", "", "GET\n", "CONNECT", "connect" } do
      fails.plainly("bad argument #2 to 'fetch'", g.fetch, http .. "/inspect", { method = method })
    end
  end)

  it("has no method that mirrors", function()
    local g = guard{ middleware = function() error("too late") end }
    for _, method in ipairs{ "TRACE", "TRACK", "trace", "Trace", "tRACK", "track" } do
      fails.with("network/request_not_allowed", g.fetch, http .. "/inspect", { method = method })
    end
  end)

  it("has methods in upper case, in rules, in the policy, in middleware and on the wire", function()
    local seen = {}
    local rule = ports(servers.http)
    rule.routes = { { path = "/inspect", methods = { "Report", "get" } } }
    local function note(ctx, next) seen[#seen + 1] = ctx.req.method return next() end
    local g = guard{ rules = rule, middleware = note }
    assert.truthy(g.fetch(http .. "/inspect", { method = "report" }).body:find("REPORT /inspect", 1, true))
    fails.with("network/request_not_allowed", g.fetch, http .. "/inspect", { method = "purge" })
    g = guard{ policy = function(info) return info.method ~= "PURGE" end, middleware = note }
    fails.with("network/request_not_allowed", g.fetch, http .. "/inspect", { method = "Purge" })
    assert.truthy(g.fetch(http .. "/inspect", { method = "mkCol" }).body:find("MKCOL /inspect", 1, true))
    assert.same({ "REPORT", "MKCOL" }, seen)
  end)

  it("has no credentials in a URL, and an error does not repeat them", function()
    local g = guard{}
    local err = fails.with("network/request_not_allowed", g.fetch, "http://user:hunter2@127.0.0.1:" .. servers.http .. "/")
    assert.is_nil(spelled(err):find("hunter2", 1, true))
  end)

  it("is no longer than max_request_bytes", function()
    local g = guard{ max_request_bytes = 1000 }
    assert.equal(("x"):rep(900), g.fetch(http .. "/echo", { method = "POST", body = ("x"):rep(900) }).body)
    local rows = {
      { "/echo", { method = "POST", body = ("x"):rep(1001) } },
      { "/echo", { method = "POST", body_json = ("x"):rep(1001) } },
      { "/inspect", { headers = { ["X-One"] = ("x"):rep(1001) } } },
      { "/inspect?" .. ("x"):rep(1001) },
    }
    for _, row in ipairs(rows) do fails.with("network/too_large", g.fetch, http .. row[1], row[2]) end
  end)

  it("waits no longer than the guard does", function()
    local g = guard{ timeout = 0.3 }
    local start = os.time()
    local err = fails.with("network/timeout", g.fetch, http .. "/never", { timeout = 100 })
    assert.truthy(os.time() - start < 5)
    assert.equal(http .. "/never", err.url)
    assert.equal(0.1, fails.with("network/timeout", g.fetch, http .. "/never", { timeout = 0.1 }).timeout)
  end)

  it("may be anything", function()
    local g = guard{ middleware = function(ctx)
      local names = {}
      for name in pairs(ctx.req.headers) do names[#names + 1] = name end
      table.sort(names)
      return { status = 200, body = table.concat(names, " ") }
    end }
    local long = ("x"):rep(100000)
    local deep = {}
    local inner = deep
    for _ = 1, 10000 do inner[1] = {} inner = inner[1] end
    local loop = {}
    loop[1], loop.loop = loop, loop
    local hostile = setmetatable({}, {
      __index = function() error("asked") end, __newindex = function() error("set") end, __len = function() return 1e9 end,
      __call = function() error("called") end, __tostring = function() error("shown") end, __pairs = function() error("walked") end,
      __eq = function() return true end, __concat = function() return "x" end, __metatable = {},
    })
    local values = {
      false, true, 0, -1, 1.5, 2 ^ 53, 1 / 0, -1 / 0, 0 / 0, "", " ", "\0", "\r\n", "\255\254", "%00", "GET", "Host", long, {}, { {} },
      { "a" }, { 1 }, { [1.5] = 1 }, { [false] = 1 }, deep, loop, hostile, print, io.stdout, coroutine.create(function() end), net.null, net, g,
    }
    local function try(url, opts)
      local ok, r = pcall(g.fetch, url, opts)
      if ok then
        for name in r.body:gmatch("%S+") do assert.truthy(("content-type x-a get %00 " .. long):find(name, 1, true), name) end
      else
        -- An error of ours, never one from inside.
        assert.truthy(type(r) == "table" or r:find("bad argument", 1, true), tostring(r))
      end
    end
    for _, value in ipairs(values) do
      try(value)
      try(http .. "/hello", value)
      for _, key in ipairs{ "method", "headers", "body", "body_json", "body_form", "timeout" } do try(http .. "/hello", { [key] = value }) end
      try(http .. "/hello", { headers = { ["X-A"] = value } })
      try(http .. "/hello", { headers = { ["X-A"] = { value } } })
      try(http .. "/hello", { body_form = { a = value } })
      try(http .. "/hello", { body_json = { value } })
      if value == value then
        try(http .. "/hello", { [value] = 1 })
        try(http .. "/hello", { headers = { [value] = "1" } })
      end
    end
  end)

  it("is read once and raw", function()
    local g = guard{}
    local opts = setmetatable({ method = "POST", body = "own" }, { __index = function() error("asked") end })
    assert.equal("own", g.fetch(http .. "/echo", opts).body)
  end)
end)

describe("what is refused by a guard", function()
  guards.fresh(before_each, after_each)

  it("has the class of its reason", function()
    local rule = { host = "localhost", https_only = false, ports = servers.http, routes = { { path = "/hello", methods = "GET" } } }
    local g = guard{ rules = { rule, { host = "*.a.example" }, { host = "shut.example", routes = {} } } }
    local rows = {
      { "http://127.0.0.1:" .. servers.http .. "/hello", nil, "host_not_allowed" },
      { "https://a.example/", nil, "host_not_allowed" },
      { "https://b.c.a.example/", nil, "host_not_allowed" },
      { other:gsub("127.0.0.1", "localhost") .. "/hello", nil, "port_not_allowed" },
      { "http://b.a.example/", nil, "request_not_allowed" },
      { "https://shut.example/", nil, "request_not_allowed" },
      { named .. "/json", nil, "request_not_allowed" },
      { named .. "/hello", "POST", "request_not_allowed" },
      { named .. "/hello%2f", nil, "request_not_allowed" },
      { named .. "/%00", nil, "request_not_allowed" },
      { named .. "/..;/hello", nil, "request_not_allowed" },
      { "ftp://localhost/hello", nil, "request_not_allowed" },
    }
    for _, row in ipairs(rows) do
      local err = fails.with("network/" .. row[3], g.fetch, row[1], { method = row[2] })
      assert.is_true(err:is("network/host_not_allowed") or row[3] == "port_not_allowed")
      assert.equal("fetch", err.op)
    end
    assert.equal(200, g.fetch(named .. "/hello").status)
  end)
end)
