-- Contract 7: nothing that middleware adds shows in a response or an error.

local guards = require("spec.support.guards")
local servers = require("spec.support.servers")

local http = guards.http
local guard, ports, inspected, serve, spelled = guards.make, guards.ports, guards.inspected, guards.serve, guards.spelled

describe("what a guard adds", function()
  guards.fresh(before_each, after_each)

  local secret = "s3cr3t-t0ken"

  -- Everything that the untrusted side gets hold of.
  local function seen_by_it(ok, value) return ok, spelled(value) end

  it("shows in no response", function()
    local g = guard{ follow_redirects = true, middleware = function(ctx, next)
      ctx.req:header("Authorization", secret)
      ctx.req.url = ctx.req.url .. (ctx.req.url:find("?", 1, true) and "&" or "?") .. "key=" .. secret
      ctx.req:set_body(secret)
      return next()
    end }
    for _, path in ipairs{ "/hello", "/redirect/302", "/other/302", "/hops/aa", "/status/500", "/relative/a/b", "/twice", "/chunked" } do
      local r = g.fetch(http .. path)
      local _, text = seen_by_it(true, r)
      -- /inspect and its like say what they got: that is the server's word, not the guard's.
      if not r.body:find(secret, 1, true) then assert.is_nil(text:find(secret, 1, true), path) end
      assert.is_nil(r.url:find(secret, 1, true), path)
      assert.is_nil(table.concat(r.redirect_chain, " "):find(secret, 1, true), path)
      assert.is_nil(tostring(r):find(secret, 1, true))
      for _, name in ipairs{ "timings", "peer", "peer_cert", "har", "trailers", "request" } do assert.is_nil(r[name], name) end
    end
  end)

  it("shows in no URL where a redirect is relative to it", function()
    local server = serve(2, "HTTP/1.1 302 Found\r\nLocation: next?a\r\nContent-Length: 0\r\n\r\n")
    local base = "http://127.0.0.1:" .. server.port
    local g = guard{ rules = ports(server.port), follow_redirects = true, max_redirects = 1, middleware = function(ctx, next)
      if ctx.req.hop == 0 then
        ctx.req.url = base .. "/" .. secret .. "/x"
        return next()
      end
      assert(ctx.req.url == base .. "/" .. secret .. "/next?a")
      local r = next()
      return { status = 200, body = "", headers = { ["x-status"] = tostring(r.status) } }
    end }
    local r = g.fetch(base .. "/api/x")
    assert.equal(base .. "/api/next?a", r.url)
    assert.same({ base .. "/api/x" }, r.redirect_chain)
    assert.is_nil(spelled(r):find(secret, 1, true))
    assert.truthy(server:finish()[2]:find("GET /" .. secret .. "/next?a", 1, true))
  end)

  it("shows in no URL where a Location repeats it", function()
    for _, location in ipairs{
      "/" .. secret .. "/next", "/login?back=%2f" .. secret .. "%2Fx", "/" .. secret:upper(), "//127.0.0.1:%d/" .. secret,
    } do
      local server
      server = require("spec.support.peer").tcp(([[
        local c = accept()
        head(c)
        c:send("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " .. (%q):gsub("%%%%d", (select(2, c:getsockname()))) .. "\r\n\r\n")
        c:close()
        c = accept()
        head(c)
        c:send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        c:close()
      ]]):format(location))
      local base = "http://127.0.0.1:" .. server.port
      local g = guard{ rules = ports(server.port), follow_redirects = true, middleware = function(ctx, next)
        if ctx.req.hop == 0 then ctx.req.url = base .. "/" .. secret .. "/x" end
        return next()
      end }
      local r = g.fetch(base .. "/api/x")
      assert.equal(200, r.status)
      assert.equal(base .. "/api/x", r.url)
      assert.is_nil(spelled(r):lower():find(secret, 1, true))
      server:finish()
    end
  end)

  it("shows in no error", function()
    local closed = serve(0, "")
    closed:finish()
    local broken = serve(2, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n")
    local rules = ports(servers.http, servers.other, closed.port, broken.port, servers.https)
    local targets = {
      "http://127.0.0.1:" .. closed.port .. "/", "http://127.0.0.1:" .. broken.port .. "/", http .. "/never", http .. "/chunked",
      "https://127.0.0.1:" .. servers.https .. "/", http .. "/loop", http .. "/file",
      "http://" .. secret .. ".invalid/", "http://127.0.0.1:9/", "http://" .. secret .. ":80/",
    }
    for _, target in ipairs(targets) do
      for _, rewritten in ipairs{ false, true } do
        local g = guard{ rules = rules, follow_redirects = true, timeout = 0.2, max_body_bytes = 10, middleware = function(ctx, next)
          ctx.req:header("Authorization", secret)
          ctx.req:set_body(secret)
          ctx.req.url = (rewritten and target or ctx.req.url) .. "?key=" .. secret
          return next()
        end }
        local given = rewritten and http .. "/hello" or target
        local ok, err = pcall(g.fetch, given)
        if not ok and type(err) == "table" then
          assert.truthy(rewritten or not given:find(secret, 1, true) or err.class:find("host_not_allowed", 1, true))
          if not given:find(secret, 1, true) then assert.is_nil(spelled(err):find(secret, 1, true), spelled(err)) end
          if rewritten and not target:find(http, 1, true) then
            assert.is_nil(spelled(err):find(target:match("//([^/]*)"), 1, true), spelled(err))
          end
          if rewritten then assert.equal(http .. "/hello", err.url) end
        end
        assert.is_false(ok and not rewritten and target ~= http .. "/hello")
      end
    end
    pcall(broken.finish, broken)
  end)

  it("shows in no error of a request that middleware makes for itself", function()
    local target = "http://127.0.0.1:1/" .. secret .. "/token"
    local inner = guard{ rules = ports(1) }
    local failing = {
      connection_refused = function() guards.net.fetch(target) end,
      address_not_allowed = function() guard{ rules = ports(1), allow_private = false }.fetch(target) end,
      request_not_allowed = function() guard{ rules = { host = "127.0.0.1", https_only = false, ports = 1, routes = {} } }.fetch(target) end,
      protocol = function() guards.net.fetch(http .. "/hello#" .. secret).json() end,
      host_not_allowed = function() guards.net.narrow{ "a.example" }.fetch("http://" .. secret .. ".example/") end,
      dns_failure = function() guards.net.tcp(secret .. ".invalid", 1) end,
      timeout = function() guards.net.fetch(http .. "/never?" .. secret, { timeout = 0.05 }) end,
    }
    for class, act in pairs(failing) do
      for _, after in ipairs{ false, true } do
        local g = guard{ middleware = function(_, next)
          if after then next() end
          act()
          return next()
        end }
        for _, run in ipairs{ pcall, function(f, ...) return coroutine.wrap(function(...) return pcall(f, ...) end)(...) end } do
          local ok, err = run(g.fetch, http .. "/hello?own")
          assert.is_false(ok)
          assert.equal("puck.uno/error/network/" .. class, err.class)
          assert.equal(http .. "/hello", err.url)
          assert.truthy(err.message:find("^fetch " .. http:gsub("%p", "%%%0") .. "/hello: the guard's middleware failed: "), err.message)
          assert.is_nil(spelled(err):find(secret, 1, true), spelled(err))
          assert.is_nil(spelled(err):find(":1/", 1, true), spelled(err))
        end
      end
    end
    -- Its other errors are its own: those of other classes have no request in them.
    local kept = setmetatable({ class = "puck.uno/error/own" }, {})
    assert.equal(kept, select(2, pcall(guard{ middleware = function() error(kept, 0) end }.fetch, http .. "/hello")))
    -- What `next` raises comes as it is, also through another guard's middleware that catches and raises it.
    local g = guard{ rules = ports(1), middleware = function(_, next)
      local ok, err = pcall(next)
      error(ok or err, 0)
    end }
    local ok, err = pcall(g.fetch, "http://127.0.0.1:1/own")
    assert.is_false(ok)
    assert.truthy(err.message:find("127.0.0.1:1", 1, true), err.message)
    assert.is_false((pcall(inner.fetch, target)))
  end)

  it("shows in no word about a wrong request or response, nor does the host's file", function()
    local wrongs = {
      function(ctx) ctx.req.headers[secret .. "\n"] = "x" end, function(ctx) ctx.req.headers["x-key"] = secret .. "\n" end,
      function(ctx) ctx.req.method = secret .. " " end, function(ctx) ctx.req.method = { secret } end,
      function(ctx) ctx.req.headers = secret end, function(ctx) ctx.req.headers.host = secret end,
      function(ctx) ctx.req.body = { secret } end, function(ctx) ctx.req.url = { secret } end,
    }
    for at, act in ipairs(wrongs) do
      for _, run in ipairs{ pcall, function(f, ...) return coroutine.wrap(function(...) return pcall(f, ...) end)(...) end } do
        local ok, err = run(guard{ middleware = function(ctx, next) act(ctx) local r = next() return r end }.fetch, http .. "/hello")
        assert.is_false(ok)
        assert.truthy(tostring(err):find("^next: "), at .. ": " .. tostring(err))
        assert.is_nil(spelled(err):find(secret, 1, true), spelled(err))
        assert.is_nil(tostring(err):find("_spec", 1, true), tostring(err))
      end
    end
    for _, answer in ipairs{ secret, { status = secret }, { status = 200, reason = { secret } }, { status = 200, headers = secret },
      { status = 200, body = { secret } }, { status = 200, headers = { a = { {} } } } } do
      local ok, err = pcall(guard{ middleware = function() return answer end }.fetch, http .. "/hello")
      assert.is_false(ok)
      assert.is_nil(spelled(err):find(secret, 1, true), spelled(err))
    end
    local late
    guard{ middleware = function(_, next) late = next return next() end }.fetch(http .. "/hello")
    assert.equal("next: the middleware has returned already", select(2, pcall(late)))
  end)

  it("is sent", function()
    local server = serve(1, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    local g = guard{ rules = ports(server.port), middleware = function(ctx, next) ctx.req:header("Authorization", secret) return next() end }
    g.fetch("http://127.0.0.1:" .. server.port .. "/a%7eb?x")
    local head = server:finish()[1]
    assert.truthy(head:find("authorization: " .. secret, 1, true))
    -- What was matched is what is sent.
    assert.truthy(head:find("GET /a~b?x HTTP/1.1", 1, true))
  end)

  it("is said to its own guard only", function()
    local a = guard{ middleware = function(ctx, next) ctx.req:header("X-One", secret) return next() end }
    local b = guard{}
    a.fetch(http .. "/inspect")
    assert.is_nil(inspected(b.fetch(http .. "/inspect"))["x-one"])
  end)
end)

