-- Contract 7: a guard's middleware, and what may become of it: it yields, raises, calls the guard again, closes it.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local guards = require("spec.support.guards")
local net = require("spec.support.subject").net
local servers = require("spec.support.servers")

local http, other, named = guards.http, guards.other, guards.named
local guard, ports, inspected, spelled = guards.make, guards.ports, guards.inspected, guards.spelled

describe("a guard's middleware", function()
  guards.fresh(before_each, after_each)

  it("stands around: global, origin, route", function()
    local seen = {}
    local function named_one(name)
      return function(ctx, next)
        seen[#seen + 1] = name .. "("
        ctx.req:header("X-One", (ctx.req:header("X-One") or "") .. name)
        local r = next()
        seen[#seen + 1] = name .. ")"
        return r
      end
    end
    local rule = ports(servers.http)
    rule.middleware = { named_one("c"), named_one("d") }
    rule.routes = { { path = "/none", middleware = named_one("x") }, { path = "/inspect", middleware = { named_one("e"), named_one("f") } } }
    local g = guard{ rules = rule, middleware = { named_one("a"), named_one("b") } }
    assert.equal("abcdef", inspected(g.fetch(http .. "/inspect"))["x-one"])
    assert.equal("a(b(c(d(e(f(f)e)d)c)b)a)", table.concat(seen))
  end)

  it("sees the request", function()
    local seen
    local rule = ports(servers.http)
    rule.routes = { { path = "/:what(hello|json)" } }
    local g = guard{ rules = rule, middleware = function(ctx, next) seen = ctx.req return next() end }
    g.fetch("http://127.0.0.1:" .. servers.http .. "/a/../%68ello?q=1#f", {
      method = "post", headers = { ["X-One"] = "1", ["X-Two"] = { "a", "b" } }, body = "body",
    })
    assert.equal(http .. "/hello?q=1", seen.url)
    assert.equal("POST", seen.method)
    assert.equal("body", seen.body)
    assert.equal("1", seen.headers["x-one"])
    assert.equal("1", seen.headers["X-One"])
    assert.same({ "a", "b" }, seen.headers["x-two"])
    assert.same({ what = "hello" }, seen.params)
    assert.equal(0, seen.hop)
    assert.equal(http .. "/a/../%68ello?q=1#f", seen.raw.url)
    assert.equal("POST", seen.raw.method)
    assert.equal("body", seen.raw.body)
    assert.equal("1", seen.raw.headers["x-one"])
    assert.is_false(pcall(function() seen.raw.url = "x" end))
  end)

  it("changes the request, by a dot or a colon", function()
    local rows = {
      { function(req) req.header("X-One", "1") end, { ["x-one"] = "1" } },
      { function(req) req:header("x-ONE", "1") end, { ["x-one"] = "1" } },
      { function(req) req.headers["X-One"] = "1" end, { ["x-one"] = "1" } },
      { function(req) req:header("Authorization", "Bearer t") end, { authorization = "Bearer t" } },
      { function(req) req:header("authorization", nil) end, { authorization = nil } },
      { function(req) req:header("Authorization", false) end, { authorization = nil } },
      { function(req) req.headers.Authorization = nil end, { authorization = nil } },
      { function(req) req:header("User-Agent", "me") end, { ["user-agent"] = "me" } },
      { function(req) req.url = http .. "/inspect?two" end, { "GET /inspect?two HTTP/1.1" } },
      { function(req) req:set_url(http .. "/inspect?two") end, { "GET /inspect?two HTTP/1.1" } },
      { function(req) req.set_url(http .. "/x/../inspect?two") end, { "GET /inspect?two HTTP/1.1" } },
      { function(req) req.method = "DELETE" end, { "DELETE /inspect HTTP/1.1" } },
      { function(req) req:set_body("12345") req.method = "PUT" end, { "PUT /inspect HTTP/1.1", ["content-length"] = "5" } },
    }
    for index, row in ipairs(rows) do
      local g = guard{ middleware = function(ctx, next) row[1](ctx.req) return next() end }
      local seen = inspected(g.fetch(http .. "/inspect", { headers = { AUTHORIZATION = "mine" } }))
      for name, value in pairs(row[2]) do assert.equal(value, seen[name], index) end
      if row[2].authorization == nil and index > 4 and index < 8 then assert.is_nil(seen.authorization) end
    end
    local function agent(said, given)
      local g = guard{ middleware = function(ctx, next) if said then said(ctx.req) end return next() end }
      return inspected(g.fetch(http .. "/inspect", { headers = given }))["user-agent"]
    end
    assert.is_string(agent())
    assert.is_nil(agent(nil, { ["USER-agent"] = false }))
    assert.is_nil(agent(function(req) assert.is_nil(req:header("User-Agent")) end, { ["User-Agent"] = false }))
    assert.equal("me", agent(function(req) req:header("User-Agent", "me") end, { ["User-Agent"] = false }))
    assert.is_nil(agent(function(req) req:header("User-Agent", false) end, { ["User-Agent"] = "theirs" }))
    assert.is_string(agent(function(req) req:header("User-Agent", nil) end, { ["User-Agent"] = false }))
    -- The untrusted side takes away neither the host nor a credential.
    assert.is_string(agent(nil, { Host = false, Authorization = false, Cookie = false, ["Content-Length"] = false, ["a b"] = false }))
    local g = guard{ middleware = function(ctx, next) ctx.req:set_body(ctx.req.body:upper()) return next() end }
    assert.equal("ABC", g.fetch(http .. "/echo", { method = "POST", body = "abc" }).body)
    g = guard{ middleware = function(ctx, next) ctx.req:set_body(nil) return next() end }
    assert.equal("", g.fetch(http .. "/echo", { method = "POST", body = "abc" }).body)
  end)

  it("has to make a request that can be sent", function()
    local rows = {
      { function(req) req.url = 5 end, "ctx.req.url must be a string" },
      { function(req) req.body = 5 end, "ctx.req.body must be a string" },
      { function(req) req.method = nil end, "ctx.req.method must be a string" },
      { function(req) req.method = "G T" end, "ctx.req.method is no method" },
      { function(req) req.method = "TRACE" end, "TRACE" },
      { function(req) req.method = "trace" end, "TRACE" },
      { function(req) req:header("Host", "other.example") end, "the header Host cannot be set" },
      { function(req) req.headers.HOST = "other.example" end, "the header Host cannot be set" },
      { function(req) req:header("Host", "127.0.0.1:" .. servers.http) end, "the header Host cannot be set" },
      { function(req) req.headers = nil end, "ctx.req.headers must be a table" },
      { function(req) req.headers[1] = "x" end, "no header can have" },
      { function(req) req:header("X-One", "a\r\nb: c") end, "a header that cannot be set" },
      { function(req) req:header("X One", "a") end, "a header that cannot be set" },
      { function(req) req:header("Transfer-Encoding", "chunked") end, "a header that cannot be set" },
      { function(req) req:header("X-One", {}, 1) req.headers["x-one"] = true end, "no header can have" },
      { function(req) req:header() end, "name must be a string" },
      { function(req) req:set_url() end, "url must be a string" },
      { function(req) req:set_body(5) end, "body must be a string" },
    }
    for _, row in ipairs(rows) do
      local g = guard{ middleware = function(ctx, next) row[1](ctx.req) return next() end }
      local ok, err = pcall(g.fetch, http .. "/inspect")
      assert.is_false(ok)
      assert.truthy(tostring(err):find(row[2], 1, true), tostring(err))
    end
  end)

  it("is checked again where it rewrites", function()
    local rule, second = ports(servers.http), ports(servers.other)
    rule.routes = { { path = "/hello" }, { path = "/inspect", methods = { "GET", "PUT" } } }
    local rows = {
      { http .. "/inspect", "GET", 200 },
      { http .. "/inspect", "PUT", 200 },
      { other .. "/json", "GET", 200 },
      { http .. "/json", "GET", "request_not_allowed" },
      { http .. "/inspect", "POST", "request_not_allowed" },
      { http .. "/hello/../json", "GET", "request_not_allowed" },
      { http .. "/hello%2f..%2fjson", "GET", "request_not_allowed" },
      { "https://127.0.0.1:" .. servers.http .. "/hello", "GET", "connection" },
      { "http://127.0.0.1:" .. servers.https .. "/hello", "GET", "port_not_allowed" },
      { "http://u:secret@127.0.0.1:" .. servers.http .. "/hello", "GET", "request_not_allowed" },
      { "http://secret.example/", "GET", "host_not_allowed" },
      { "file:///etc/secret", "GET", "request_not_allowed" },
      { "secret", "GET", "request_not_allowed" },
      { "", "GET", "request_not_allowed" },
    }
    for _, row in ipairs(rows) do
      local g = guard{ rules = { rule, second }, middleware = function(ctx, next)
        ctx.req.url, ctx.req.method = row[1], row[2]
        return next()
      end }
      local ok, r = pcall(g.fetch, http .. "/hello?mine")
      if type(row[3]) == "number" then
        assert.equal(row[3], ok and r.status or tostring(r))
        assert.equal(http .. "/hello?mine", r.url)
      else
        assert.is_false(ok)
        if row[3] ~= "connection" then assert.equal("puck.uno/error/network/" .. row[3], r.class) end
        assert.equal(http .. "/hello", r.url) -- a query is where tokens are
        for _, word in ipairs{ "secret", "inspect", "json", "%2f", "https", "file:" } do
          assert.is_nil(spelled(r):find(word, 1, true), word .. " in " .. spelled(r))
        end
      end
    end
  end)

  it("does not start over where a rewritten URL is another rule's", function()
    local seen = {}
    local function seen_by(name)
      return function(ctx, next)
        seen[#seen + 1] = name
        if name == "one" then ctx.req.url = other .. "/inspect" end
        return next()
      end
    end
    local one, two = ports(servers.http), ports(servers.other)
    one.host, one.middleware, two.middleware = "localhost", seen_by("one"), seen_by("two")
    guard{ rules = { one, two } }.fetch(named .. "/hello")
    assert.same({ "one" }, seen)
  end)

  it("answers in place of the network", function()
    local rows = {
      { { status = 201 }, 201, "", {} },
      { { status = 200, body = "x", headers = { ["X-One"] = "1", ["X-Two"] = { "a", "b" }, ["X-Three"] = 3, ["X-Four"] = false } }, 200, "x",
        { ["x-one"] = "1", ["x-two"] = { "a", "b" }, ["x-three"] = "3" } },
      { { status = 404, reason = "No", body = "" }, 404, "", {} },
      { { status = 200, body_json = { a = 1 } }, 200, '{"a":1}', { ["content-type"] = "application/json" } },
      { { status = 200, body_json = net.array{}, headers = { ["Content-Type"] = "x/y" } }, 200, "[]", { ["content-type"] = "x/y" } },
    }
    -- Nobody listens there, and the grants do not cover it.
    local less = guards.net.narrow{ "--allow-net=127.0.0.1:1" }
    for _, row in ipairs(rows) do
      local g = less.http.guard{ rules = { host = "nowhere.invalid" }, middleware = function() return row[1] end }
      local r = g.fetch("https://nowhere.invalid/x")
      assert.equal(row[2], r.status)
      assert.equal(row[3], r.body)
      assert.same(row[4], r.headers)
      assert.equal("https://nowhere.invalid/x", r.url)
      assert.equal(row[2] < 300, r.ok)
    end
  end)

  it("answers with a response from elsewhere", function()
    local inner = guard{}
    for _, fetch in ipairs{ guards.net.fetch, inner.fetch } do
      local r = guard{ middleware = function() return fetch(http .. "/twice") end }.fetch(http .. "/hello")
      assert.equal("twice", r.body)
      assert.equal("one, two", r.headers["x-twice"])
      assert.same({ "a=1; Path=/", "b=2" }, r.headers["set-cookie"])
      assert.equal(http .. "/hello", r.url)
    end
  end)

  it("has to answer with a response", function()
    local rows = {
      { nil, "must return a response or call next()" }, { 5, "got 5" }, { "x", "must return a response" }, { true, "got boolean" },
      { {}, "status must be" }, { { status = "200" }, "status must be" }, { { status = 100 }, "status must be" }, { { status = 200.5 }, "status must be" },
      { { status = 200, body = 5 }, "body must be a string" }, { { status = 200, body = {} }, "body must be a string" },
      { { status = 200, headers = "x" }, "headers must be a table" }, { { status = 200, headers = { "x" } }, "must have names" },
      { { status = 200, headers = { a = print } }, "must be a string" }, { { status = 200, headers = { a = { {} } } }, "must be a string" },
      { { status = 200, reason = 5 }, "reason must be" }, { { status = 200, body_json = print }, "" },
    }
    for _, row in ipairs(rows) do
      local g = guard{ middleware = function() return row[1] end }
      fails.plainly(row[2], g.fetch, http .. "/hello")
    end
  end)

  it("reads and changes the response", function()
    local g = guard{ middleware = function(_, next)
      local r = next()
      assert(r.status == 200 and r.json().name == "caspian" and r:json().name == "caspian" and r.text() == r.body)
      assert(r.headers["Content-Type"] == "application/json" and r.url == http .. "/json")
      return { status = 203, headers = { ["X-Name"] = r:json().name }, body_json = r:json().list }
    end }
    local answer = g.fetch(http .. "/json")
    assert.equal(203, answer.status)
    assert.equal("caspian", answer.headers["x-name"])
    assert.equal(2.5, answer.json()[2])
    g = guard{ middleware = function(_, next)
      local r = next()
      r.status, r.body, r.headers["Content-Type"], r.headers["X-New"] = 202, r.body:upper(), nil, "1"
    end }
    answer = g.fetch(http .. "/hello")
    assert.equal(202, answer.status)
    assert.equal("HELLO\n", answer.body)
    assert.equal("1", answer.headers["x-new"])
    assert.is_nil(answer.headers["content-type"])
    for _, field in ipairs(answer.raw_headers) do assert.not_equal("content-type", field[1]:lower()) end
    -- What an inner one made is a response to the outer one.
    g = guard{ middleware = {
      function(_, next) local r = next() return { status = r.status, body = r.json().a .. r.headers["X-One"] } end,
      function() return { status = 200, headers = { ["x-one"] = "!" }, body_json = { a = "inner" } } end,
    } }
    assert.equal("inner!", g.fetch(http .. "/hello").body)
  end)

  it("may go on several times, each time a new request", function()
    local count = 0
    local g = guard{ middleware = {
      function(ctx, next)
        local r = next()
        if r.status == 401 then
          ctx.req:header("Authorization", "Basic dXNlcjpzM2NyZXQ=")
          r = next()
        end
        return r
      end,
      function(_, next) count = count + 1 return next() end,
    } }
    assert.equal(200, g.fetch(http .. "/basic").status)
    assert.equal(2, count)
    -- Each is checked.
    g = guard{ middleware = function(ctx, next)
      next()
      ctx.req.url = "http://ungranted.invalid/"
      return next()
    end }
    fails.with("network/host_not_allowed", g.fetch, http .. "/hello")
  end)

  it("may not go on when it is over", function()
    local kept
    local g = guard{ middleware = function(_, next) kept = next return { status = 200 } end }
    g.fetch(http .. "/hello")
    fails.plainly("returned already", kept)
  end)

  it("may be a thousand deep", function()
    local list = {}
    for index = 1, 1000 do
      list[index] = function(ctx, next) ctx.req:header("X-One", tostring(index)) return next() end
    end
    assert.equal("1000", inspected(guard{ middleware = list }.fetch(http .. "/inspect"))["x-one"])
  end)

  it("sees each hop", function()
    local hops = {}
    local g = guard{ follow_redirects = true, middleware = function(ctx, next)
      hops[#hops + 1] = ctx.req.hop .. ctx.req.url:match("/[^/]*$")
      return next()
    end }
    assert.equal("arrived", g.fetch(http .. "/hops/aa").body)
    assert.same({ "0/aa", "1/a", "2/" }, hops)
  end)
end)

describe("a guard's callbacks", function()
  guards.fresh(before_each, after_each)

  -- Runs `act` at every place from where the host's code is called, and answers what `fetch` did.
  local places = {
    before = function(act) return { middleware = function(_, next) act() return next() end } end,
    after = function(act) return { middleware = function(_, next) local r = next() act() return r end } end,
    policy = function(act) return { policy = function() act() return true end } end,
  }

  it("raise: the error is the host's own, and comes whole", function()
    local err = setmetatable({}, { __tostring = function() return "own" end })
    for _, place in ipairs{ "before", "after" } do
      for _, value in ipairs{ err, "words", 5, { class = "x" } } do
        local g = guard(places[place](function() error(value, 0) end))
        for _ = 1, 50 do
          local ok, got = pcall(g.fetch, http .. "/hello")
          assert.is_false(ok)
          assert.equal(value, got)
        end
      end
    end
  end)

  it("a fetch ends though its errors are kept", function()
    local g = guard{ rules = { host = "127.0.0.1", https_only = false, ports = servers.http, routes = { { path = "/hello" } } } }
    local kept = {}
    local function all()
      for _ = 1, 40 do
        local ok, err = pcall(g.fetch, http .. "/other")
        assert.is_false(ok)
        assert.truthy(err:is("request_not_allowed") and not err.message:find("deep", 1, true), err.message)
        kept[#kept + 1] = err
      end
      return g.fetch(http .. "/hello").status
    end
    assert.equal(200, all())
    assert.equal(200, coroutine.wrap(all)())
  end)

  it("call another guard that calls back: no deeper than 32, in a coroutine too", function()
    local one, two
    local deepest = 0
    local function through(target)
      return function(_, next)
        deepest = deepest + 1
        local r = target().fetch(http .. "/hello")
        return r or next()
      end
    end
    one = guard{ middleware = through(function() return two end) }
    two = guard{ middleware = through(function() return one end) }
    for _, run in ipairs{ function(f) return f() end, function(f) return coroutine.wrap(f)() end } do
      deepest = 0
      local ok, err = run(function() return pcall(one.fetch, http .. "/hello") end)
      assert.is_false(ok)
      assert.equal("puck.uno/error/network/request_not_allowed", err.class)
      assert.is_true(deepest <= 64, deepest)
    end
  end)

  it("raise in a policy: that is no", function()
    local g = guard(places.policy(function() error("secret words") end))
    local err = fails.with("network/request_not_allowed", g.fetch, http .. "/hello")
    assert.is_nil(spelled(err):find("secret", 1, true))
  end)

  it("catch what next raises", function()
    local g = guard{ middleware = function(ctx, next)
      ctx.req.url = "http://127.0.0.1:1/"
      local ok, err = pcall(next)
      assert(not ok and err:is("network/port_not_allowed"))
      return { status = 502 }
    end }
    assert.equal(502, g.fetch(http .. "/hello").status)
  end)

  for _, place in ipairs{ "before", "after", "policy" } do
    it("yield (" .. place .. ")", function()
      local g = guard(places[place](function() assert.equal("in", coroutine.yield("out")) end))
      local thread = coroutine.create(function() return g.fetch(http .. "/hello").body end)
      local yields, ok, value = 0, coroutine.resume(thread)
      while coroutine.status(thread) ~= "dead" do
        assert.is_true(ok, value)
        assert.equal("out", value)
        yields = yields + 1
        ok, value = coroutine.resume(thread, "in")
      end
      assert.is_true(ok, value)
      assert.equal("hello\n", value)
      assert.equal(place == "policy" and 2 or 1, yields)
    end)

    it("are left in the middle (" .. place .. ")", function()
      local g = guard(places[place](function() coroutine.yield() end))
      for _ = 1, 50 do coroutine.resume(coroutine.create(function() g.fetch(http .. "/hello") end)) end
      collectgarbage()
      local thread = coroutine.wrap(function() return g.fetch(http .. "/hello").status end)
      local last
      repeat last = thread() until last
      assert.equal(200, last)
    end)

    it("call the guard again (" .. place .. ")", function()
      local g, depth = nil, 0
      g = guard(places[place](function()
        depth = depth + 1
        if depth <= 3 then assert.equal(200, g.fetch(http .. "/hello").status) end
      end))
      assert.equal(200, g.fetch(http .. "/hello").status)
    end)

    it("call the guard without end (" .. place .. ")", function()
      local g, calls = nil, 0
      g = guard(places[place](function()
        calls = calls + 1
        assert(calls < 5000)
        g.fetch(http .. "/hello")
      end))
      if place == "policy" then
        fails.with("network/request_not_allowed", g.fetch, http .. "/hello")
      else
        local err = fails.with("network/request_not_allowed", g.fetch, http .. "/hello")
        assert.truthy(err.message:find("its own callbacks", 1, true))
        -- Depth is not a count of failures.
        calls = 0
        fails.with("network/request_not_allowed", g.fetch, http .. "/hello")
        assert.truthy(calls > 10, calls)
      end
    end)

    it("close the guard (" .. place .. ")", function()
      local g, close
      g, close = guard(places[place](function() close() end))
      if place == "after" then
        assert.equal(200, g.fetch(http .. "/hello").status)
      else
        fails.with("network/socket", g.fetch, http .. "/hello")
      end
      fails.with("network/socket", g.fetch, http .. "/hello")
    end)

    it("revoke the capability (" .. place .. ")", function()
      local g = guard(places[place](function() guards.net.revoke() end))
      if place == "after" then
        assert.equal(200, g.fetch(http .. "/hello").status)
      else
        fails.with("network/socket", g.fetch, http .. "/hello")
      end
      fails.with("network/socket", g.fetch, http .. "/hello")
    end)

    it("collect (" .. place .. ")", function()
      local g = guard(places[place](function() collectgarbage() collectgarbage() end))
      assert.equal("hello\n", g.fetch(http .. "/hello").body)
    end)

    it("use the network otherwise (" .. place .. ")", function()
      local g = guard(places[place](function() assert.equal(200, guards.net.fetch(http .. "/hello").status) end))
      assert.equal("hello\n", g.fetch(http .. "/hello").body)
    end)
  end

  it("yield where nobody takes it: that is no", function()
    local said = child.run(([[
      local net = launch{ "--allow-net" }
      local g = net.http.guard{ policy = function() coroutine.yield() return true end, allow_private = true }
      local ok, err = pcall(g.fetch, %q)
      io.write(tostring(ok), " ", type(err) == "table" and err.class:match("[^/]*$") or tostring(err))
    ]]):format(http .. "/hello"))
    assert.equal("false request_not_allowed", said)
  end)

  it("call the guard without end, each time in a new coroutine", function()
    local g, calls = nil, 0
    g = guard{ middleware = function(_, next)
      calls = calls + 1
      if calls > 300 then return { status = 200 } end
      local ok = coroutine.wrap(function() return pcall(g.fetch, http .. "/hello") end)()
      return ok and next() or { status = 500 }
    end }
    assert.equal("number", type(g.fetch(http .. "/hello").status))
  end)

  it("run side by side in many coroutines", function()
    local g = guard{ middleware = function(ctx, next) coroutine.yield() ctx.req:header("X-One", ctx.req.url:match("%d+$")) return next() end }
    local threads = {}
    for index = 1, 100 do
      threads[index] = coroutine.create(function() return inspected(g.fetch(http .. "/inspect?" .. index))["x-one"] end)
      assert(coroutine.resume(threads[index]))
    end
    for index = 100, 1, -1 do
      assert.same({ true, tostring(index) }, { coroutine.resume(threads[index]) })
    end
  end)
end)

