-- Contract 7: where a guard's requests go: policy, addresses, redirects, TLS, and caps on what comes back.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local guards = require("spec.support.guards")
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")

local http, other, named = guards.http, guards.other, guards.named
local guard, ports, inspected, serve, spelled = guards.make, guards.ports, guards.inspected, guards.serve, guards.spelled

describe("a guard's policy", function()
  guards.fresh(before_each, after_each)

  it("is asked before DNS, and with the address", function()
    local seen = {}
    local g = guard{ policy = function(info) seen[#seen + 1] = info return true end }
    assert.equal(200, g.fetch(named .. "/x/../hello?q#f", { method = "post" }).status)
    local before = { host = "localhost", port = servers.http, method = "POST", url = named .. "/hello?q" }
    local after = { resolved_ip = "127.0.0.1" }
    for key, value in pairs(before) do after[key] = value end
    -- A machine whose localhost has two addresses may have asked about ::1 too.
    assert.same(before, seen[1])
    assert.same(after, seen[#seen])
  end)

  it("denies with anything but true", function()
    for _, answer in ipairs{ false, 0, 1, "true", {} } do
      local g = guard{ policy = function() return answer end }
      fails.with("network/request_not_allowed", g.fetch, http .. "/hello")
    end
    fails.with("network/request_not_allowed", guard{ policy = function() end }.fetch, http .. "/hello")
  end)

  it("denies before a packet, and before the address is dialled", function()
    local server = peer.tcp[[ server:settimeout(0.3) report(server:accept()) ]]
    local url = "http://localhost:" .. server.port .. "/"
    local asked = 0
    fails.with("network/request_not_allowed", guard{ policy = function(info)
      asked = asked + 1
      return info.resolved_ip == nil
    end }.fetch, url)
    assert.equal(2, asked)
    assert.same({ "nil", "timeout" }, server:finish())
    -- A name that no DNS would answer.
    fails.with("network/request_not_allowed", guard{ policy = function() return false end }.fetch, "http://ungranted.invalid/")
  end)

  it("is not asked where a rule is about the host", function()
    local asked = {}
    local function policy(info) asked[#asked + 1] = info.host .. ":" .. info.port return true end
    local rule = ports(servers.http)
    rule.routes = { { path = "/hello" } }
    local g = guard{ rules = rule, policy = policy }
    assert.equal(200, g.fetch(http .. "/hello").status)
    fails.with("network/request_not_allowed", g.fetch, http .. "/json")
    fails.with("network/port_not_allowed", g.fetch, other .. "/hello")
    assert.same({}, asked)
    assert.equal(200, g.fetch(named .. "/json").status)
    assert.equal("localhost:" .. servers.http, asked[1])
  end)

  it("is asked again where middleware rewrites, and on every hop", function()
    local seen = {}
    local function policy(info)
      seen[#seen + 1] = (info.resolved_ip and "+" or "-") .. info.url:match("%d+(/.*)")
      return info.url:find("deny", 1, true) == nil
    end
    local g = guard{ policy = policy, follow_redirects = true, middleware = function(ctx, next)
      if ctx.req.hop == 0 then ctx.req.url = http .. "/hops/a" end
      return next()
    end }
    assert.equal("arrived", g.fetch(http .. "/first").body)
    assert.same({ "-/first", "-/hops/a", "+/hops/a", "-/hops/", "+/hops/" }, seen)
    g = guard{ policy = policy, middleware = function(ctx, next) ctx.req.url = http .. "/deny" return next() end }
    fails.with("network/request_not_allowed", g.fetch, http .. "/first")
  end)

  it("cannot change what it is asked about", function()
    local g = guard{ policy = function(info)
      for key in pairs(info) do info[key] = nil end
      info.url, info.host, info.resolved_ip = other .. "/hello", "example.com", "10.0.0.1"
      return true
    end }
    assert.equal("GET /inspect HTTP/1.1", inspected(g.fetch(http .. "/inspect"))[1])
  end)
end)

describe("a guard's addresses", function()
  guards.fresh(before_each, after_each)

  local function open() return true end

  it("are public, unless they are opened", function()
    local rows = {
      { "http://127.0.0.1:%d/hello", nil }, { "http://localhost:%d/hello", nil }, { "http://[::1]:%d/hello", nil },
      { "http://0.0.0.0:%d/hello", nil }, { "http://2130706433:%d/hello", nil }, { "http://0x7f.1:%d/hello", nil },
      { "http://[::ffff:127.0.0.1]:%d/hello", nil }, { "http://169.254.169.254:%d/", nil }, { "http://10.1.2.3:%d/", nil },
      { "http://127.0.0.1:%d/hello", false }, { "http://127.0.0.1:%d/hello", {} }, { "http://localhost:%d/hello", { "10.0.0.0/8" } },
      { "http://127.0.0.1:%d/hello", { "127.0.0.2", "fd00::/8" } }, { "http://0.0.0.0:%d/hello", { "0.0.0.0/8" } },
    }
    for _, row in ipairs(rows) do
      local g = guards.net.http.guard{ policy = open, allow_private = row[2] }
      local err = fails.with("network/address_not_allowed", g.fetch, row[1]:format(servers.http))
      assert.is_true(err:is("network/host_not_allowed"))
      if row[1]:find("localhost") then
        assert.truthy(err.message:find("resolves to a loopback address", 1, true))
        assert.is_nil(spelled(err):find("127.0.0.1", 1, true))
      end
    end
    for _, opened in ipairs{ true, { "127.0.0.0/8" }, { "127.0.0.1" }, { "10.0.0.0/8", "127.0.0.1/32", "::1" } } do
      assert.equal(200, guards.net.http.guard{ policy = open, allow_private = opened }.fetch(http .. "/hello").status)
      local g = guards.net.http.guard{ rules = ports(servers.http), allow_private = opened }
      assert.equal(200, g.fetch(http .. "/hello").status)
    end
    -- A rule for the address does not open it.
    fails.with("network/address_not_allowed", guards.net.http.guard{ rules = ports(servers.http) }.fetch, http .. "/hello")
    local rule = ports(servers.http)
    rule.host = "localhost"
    fails.with("network/address_not_allowed", guards.net.http.guard{ rules = rule }.fetch, named .. "/hello")
  end)

  if servers.ipv6 then
    it("may be of IPv6", function()
      local url = "http://[::1]:" .. servers.http
      local seen = {}
      local config = { policy = function(info) seen[#seen + 1] = info.host .. " " .. tostring(info.resolved_ip) return true end }
      fails.with("network/address_not_allowed", guards.net.http.guard(config).fetch, url .. "/hello")
      config.allow_private = { "::1" }
      assert.equal(200, guards.net.http.guard(config).fetch(url .. "/hello").status)
      assert.same({ "::1 nil", "::1 nil", "::1 ::1" }, seen)
      local rule = { host = "::1", https_only = false, ports = servers.http }
      assert.equal("[::1]:" .. servers.http, inspected(guards.net.http.guard{ rules = rule, allow_private = true }.fetch(url .. "/inspect")).host)
      rule.host = "[::1]"
      fails.with("network/address_not_allowed", guards.net.http.guard{ rules = rule }.fetch, url .. "/hello")
    end)
  end

  it("are checked where the host chose them", function()
    local at = "api.example:" .. servers.http
    local rule = { host = "api.example", https_only = false, ports = servers.http }
    for _, config in ipairs{ { rules = rule }, { policy = open } } do
      config.resolve = { [at] = "127.0.0.1" }
      local g = guards.net.http.guard(config)
      local err = fails.with("network/address_not_allowed", g.fetch, "http://" .. at .. "/inspect")
      assert.is_nil(spelled(err):find("127.0.0.1", 1, true))
      config.allow_private = true
      local seen
      if config.policy then config.policy = function(info) seen = info.resolved_ip return true end end
      local r = guards.net.http.guard(config).fetch("http://" .. at .. "/inspect")
      assert.equal(at, inspected(r).host)
      assert.equal(config.policy and "127.0.0.1" or nil, seen)
    end
  end)
end)

-- Names with several addresses, in a mount namespace with a hosts file of the row's own; only where the system lets us.
describe("a guard's names", function()
  if not child.can_mount() then return pending("mount namespaces are not allowed here") end
  after_each(process.kill_all)

  local hosts = "127.0.0.1 two.test\n127.0.0.2 two.test\n127.0.0.1 mixed.test\n10.0.0.1 mixed.test\n127.0.0.1 web.corp.test\n"

  -- Runs code where `guard(config)`, `status(fetch, url)` (or the class of its error) and `seen`, what the policy was asked, are.
  local function run(code)
    local files = { hosts = hosts, ["resolv.conf"] = "nameserver 127.0.0.1\nsearch corp.test\noptions timeout:1 attempts:1\n" }
    local said = child.run_with(files, [[
      local net = launch{ "--allow-net" }
      local seen = {}
      local function guard(config)
        config.allow_private = config.allow_private or { "127.0.0.0/8" }
        return net.http.guard(config).fetch
      end
      local function status(fetch, url)
        local ok, r = pcall(fetch, url, { timeout = 5 })
        return ok and r.status or r.class and r.class:match("[^/]*$") or r
      end
    ]] .. code)
    return (said:gsub("%s+$", ""))
  end

  local policy = [[ policy = function(info) seen[#seen + 1] = tostring(info.resolved_ip) return info.resolved_ip ~= DENIED end ]]
  local rows = {
    { "the first address is asked about", "HTTP", "two.test", policy, "200 nil 127.0.0.1" },
    { "the next one only if it cannot be reached", "SECOND", "two.test", policy, "200 nil 127.0.0.1 127.0.0.2" },
    { "or not at all", "9", "two.test", policy, "connection_refused nil 127.0.0.1 127.0.0.2" },
    { "and may be denied", "SECOND", "two.test", policy:gsub("DENIED", "'127.0.0.2'"), "request_not_allowed nil 127.0.0.1 127.0.0.2" },
    { "one closed address refuses all", "HTTP", "mixed.test", policy, "address_not_allowed nil" },
    { "a rule takes any that is open", "SECOND", "two.test", "rules = { host = 'two.test', https_only = false, ports = SECOND }", "200" },
    { "a rule refuses a mixed answer", "HTTP", "mixed.test", "rules = { host = 'mixed.test', https_only = false, ports = HTTP }", "address_not_allowed" },
  }
  for _, row in ipairs(rows) do
    it(row[1], function()
      -- Where nobody comes it is ended with the row.
      local second = peer.tcp([[
        local c = accept()
        head(c)
        c:send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        c:close()
      ]], "127.0.0.2", "127.0.0.1")
      local function filled(text)
        return (text:gsub("%u%u%u+", { HTTP = tostring(servers.http), SECOND = tostring(second.port), DENIED = "1" }))
      end
      local said = run(filled([[
        local answer = status(guard{ ]] .. row[4] .. [[ }, "http://]] .. row[3] .. ":" .. row[2] .. [[/hello")
        io.write(answer, " ", table.concat(seen, " "))
      ]]))
      assert.equal(row[5], said)
    end)
  end

  it("are asked without search domains", function()
    local said = run(([[
      local fetch = guard{ rules = { host = "web", https_only = false, ports = %d }, timeout = 3 }
      local answer = status(fetch, "http://web:%d/hello")
      io.write(type(answer) == "number" and answer or "none", " ",
        status(guard{ rules = { host = "web.corp.test", https_only = false, ports = %d } }, "http://web.corp.test:%d/hello"))
    ]]):format(servers.http, servers.http, servers.http, servers.http))
    assert.equal("none 200", said)
  end)
end)

describe("a guard's redirects", function()
  guards.fresh(before_each, after_each)

  it("are not followed", function()
    local r = guard{}.fetch(http .. "/redirect/302")
    assert.equal(302, r.status)
    assert.truthy(r.headers.location:find("/inspect", 1, true))
    assert.equal(http .. "/redirect/302", r.url)
  end)

  it("are new requests where they are followed", function()
    local g = guard{ follow_redirects = true }
    local r = g.fetch(http .. "/hops/aaa")
    assert.equal("arrived", r.body)
    assert.equal(http .. "/hops/", r.url)
    assert.same({ http .. "/hops/aaa", http .. "/hops/aa", http .. "/hops/a" }, r.redirect_chain)
    assert.equal("/relative/c?q", g.fetch(http .. "/relative/a/b").body)
    local rows = {
      { 301, "POST", "GET", nil }, { 302, "POST", "GET", nil }, { 303, "PUT", "GET", nil },
      { 307, "POST", "POST", "3" }, { 308, "PUT", "PUT", "3" }, { 302, "PUT", "PUT", "3" },
    }
    for _, row in ipairs(rows) do
      local seen = inspected(g.fetch(http .. "/redirect/" .. row[1], { method = row[2], body_json = 123 }))
      assert.equal(row[3] .. " /inspect HTTP/1.1", seen[1])
      assert.equal(row[4], seen["content-length"])
      assert.equal(row[4] and "application/json" or nil, seen["content-type"])
    end
  end)

  it("take nothing of the caller's to another origin, and nothing of the middleware's anywhere", function()
    local given = { headers = { Authorization = "mine", Cookie = "mine=1", ["X-One"] = "1", Accept = "text/x" } }
    local g = guard{ follow_redirects = true, middleware = function(ctx, next)
      if ctx.req.hop == 0 then ctx.req:header("X-Two", "injected") ctx.req:header("Accept", "injected") end
      return next()
    end }
    local seen = inspected(g.fetch(http .. "/redirect/302", given))
    assert.equal("mine", seen.authorization)
    assert.equal("1", seen["x-one"])
    assert.is_nil(seen["x-two"])
    assert.equal("text/x", seen.accept)
    seen = inspected(g.fetch(http .. "/other/302", given))
    assert.is_nil(seen.authorization)
    assert.is_nil(seen.cookie)
    assert.is_nil(seen["x-one"])
    assert.is_nil(seen["x-two"])
    assert.equal("text/x", seen.accept)
  end)

  it("are decided hop by hop", function()
    local rule = ports(servers.http)
    rule.routes = { { path = "/hops/{a}*" }, { path = "/redirect/**" }, { path = "/other/*" }, { path = "/file" }, { path = "/userinfo" },
      { path = "/ungranted" }, { path = "/ungranted-name" }, { path = "/cookies" } }
    rule.routes[1] = { path = "/hops/*" }
    local g = guard{ rules = rule, follow_redirects = true }
    local rows = {
      { "/redirect/302", "request_not_allowed" }, { "/other/302", "port_not_allowed" }, { "/ungranted", "port_not_allowed" },
      { "/ungranted-name", "host_not_allowed" }, { "/file", "protocol" },
    }
    for _, row in ipairs(rows) do fails.with("network/" .. row[2], g.fetch, http .. row[1]) end
    -- To a private address behind a name, from a public rule.
    local both = guard{ rules = { ports(servers.http), { host = "api.example", https_only = false, ports = servers.http } },
      follow_redirects = true, allow_private = { "127.0.0.2" }, resolve = { ["api.example:" .. servers.http] = "127.0.0.2" },
      middleware = function(ctx, next)
        if ctx.req.hop == 0 then return { status = 302, headers = { location = http .. "/hello" } } end
        return next()
      end }
    fails.with("network/address_not_allowed", both.fetch, "http://api.example:" .. servers.http .. "/")
    -- A URL with credentials is refused, wherever it comes from.
    fails.with("network/request_not_allowed", guard{ follow_redirects = true }.fetch, http .. "/userinfo")
  end)

  it("end", function()
    local err = fails.with("network/protocol", guard{ follow_redirects = true }.fetch, http .. "/loop")
    assert.truthy(err.message:find("more than 10 redirects", 1, true))
    local g = guard{ follow_redirects = true, max_redirects = 2 }
    assert.equal("arrived", g.fetch(http .. "/hops/aa").body)
    fails.with("network/protocol", g.fetch, http .. "/hops/aaa")
    fails.with("network/protocol", guard{ follow_redirects = true, max_redirects = 0 }.fetch, http .. "/redirect/302")
  end)

  it("share one deadline", function()
    local start = os.time()
    local g = guard{ follow_redirects = true, timeout = 0.5, max_redirects = 100000, middleware = function(_, next) return next() end }
    fails.with("network/timeout", g.fetch, http .. "/loop")
    assert.truthy(os.time() - start < 5)
  end)

  it("are refused where they contradict themselves", function()
    local server = serve(1, "HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n")
    local g = guard{ rules = ports(server.port), follow_redirects = true }
    fails.with("network/protocol", g.fetch, "http://127.0.0.1:" .. server.port .. "/")
    server:finish()
  end)

  it("may be made, and unmade, by middleware", function()
    local g = guard{ follow_redirects = true, middleware = function(ctx, next)
      if ctx.req.url:find("/old", 1, true) then return { status = 301, headers = { Location = "/hello" } } end
      local r = next()
      if r.status == 302 then return { status = 200, body = "stayed" } end
      return r
    end }
    local r = g.fetch(http .. "/old")
    assert.equal("hello\n", r.body)
    assert.same({ http .. "/old" }, r.redirect_chain)
    assert.equal("stayed", g.fetch(http .. "/redirect/302").body)
  end)
end)

describe("a guard's caps", function()
  guards.fresh(before_each, after_each)

  it("hold for bodies, coded or not", function()
    local g = guard{ max_body_bytes = 1024 }
    assert.equal(1024, #g.fetch(http .. "/files/1k").body)
    for _, path in ipairs{ "/files/64k", "/chunked", "/until-close", "/gzip" } do
      local err = fails.with("network/too_large", g.fetch, http .. path)
      assert.is_true(err:is("network/protocol"))
    end
    assert.equal(65536, #guard{ max_body_bytes = 65536 }.fetch(http .. "/gzip").body)
  end)

  it("are 10 MiB unless said otherwise", function()
    local g = guard{}
    assert.equal(1048576, #g.fetch(http .. "/files/1m").body)
    local server = peer.tcp[[
      local c = accept()
      head(c)
      c:send("HTTP/1.1 200 OK\r\n\r\n")
      local piece, sent = ("x"):rep(65536), 0
      while c:send(piece) do sent = sent + #piece end
      report(sent > 10485760 - 65536 and sent < 40000000)
    ]]
    fails.with("network/too_large", guard{ rules = ports(server.port) }.fetch, "http://127.0.0.1:" .. server.port .. "/")
    assert.same({ "true" }, server:finish())
    fails.with("network/too_large", g.fetch, http .. "/echo", { method = "POST", body = ("x"):rep(10485761) })
  end)
end)

describe("a guard over TLS", function()
  guards.fresh(before_each, after_each)

  local read = process.read

  it("verifies by what the host says, and shows the host's certificate", function()
    local rule = { host = "localhost", ports = { servers.https, servers.mutual } }
    local url = "https://localhost:" .. servers.https .. "/tls"
    fails.with("network/tls", guard{ rules = rule }.fetch, url)
    local ca = read(servers.ca)
    assert.equal(200, guard{ rules = rule, ca_bundle = ca }.fetch(url).status)
    local mutual = "https://localhost:" .. servers.mutual .. "/tls"
    local g = guard{ rules = rule, ca_bundle = ca, client_cert = read(servers.client.cert), client_key = read(servers.client.key) }
    assert.truthy(g.fetch(mutual).body:find("SUCCESS", 1, true))
    -- http is refused unless the rule says otherwise.
    fails.with("network/request_not_allowed", g.fetch, "http://localhost:" .. servers.https .. "/tls")
  end)

  it("shows the certificate to nobody that a redirect leads to", function()
    local rule = { host = "localhost", ports = { servers.https, servers.mutual } }
    local there = "https://localhost:" .. servers.mutual .. "/tls"
    local g = guard{ rules = rule, ca_bundle = read(servers.ca), client_cert = read(servers.client.cert),
      client_key = read(servers.client.key), follow_redirects = true, middleware = function(ctx, next)
        if ctx.req.hop == 0 then return { status = 302, headers = { location = there } } end
        return next()
      end }
    local ok, r = pcall(g.fetch, "https://localhost:" .. servers.https .. "/")
    assert.is_true(not ok or r.status == 400)
    fails.with("network/protocol", guard{ rules = { rule, { host = "localhost", https_only = false, ports = servers.http } },
      ca_bundle = read(servers.ca), follow_redirects = true, middleware = function()
        return { status = 302, headers = { location = named .. "/hello" } }
      end }.fetch, "https://localhost:" .. servers.https .. "/")
  end)
end)

