-- Contract 9, Sammy: patterns, methods, the chain of handlers and what handlers answer.

local net = require("spec.support.subject").net
local sammy = require("spec.support.sammy")

local response = net.http.sammy.response

--- Steps as text: `1=a 2=b name=a`.
local function shown(steps)
  local list = {}
  for index, value in ipairs(steps) do list[index] = index .. "=" .. value end
  local names = {}
  for name, value in pairs(steps) do
    if type(name) == "string" then names[#names + 1] = name .. "=" .. value end
  end
  table.sort(names)
  for _, each in ipairs(names) do list[#list + 1] = each end
  return table.concat(list, " ")
end

describe("a pattern", function()
  -- pattern, path, the steps; nil: it does not match
  local rows = {
    { "/", "/", "" },
    { "/", "/a", nil },
    { "/a", "/a", "1=a" },
    { "/a", "/a/", nil },
    { "/a/", "/a/", "1=a" },
    { "/a/", "/a", nil },
    { "/a", "/A", nil },
    { "/a/b", "/a//b", nil },
    { "/users/{id}", "/users/42", "1=users 2=42 id=42" },
    { "/users/{id}", "/users/42/posts", nil },
    { "/users/{id}", "/users/42/", nil },
    { "/users/{id}", "/users/", nil },
    { "/users/{id}/", "/users/42/", "1=users 2=42 id=42" },
    { "/{a}/{b}", "/x/y", "1=x 2=y a=x b=y" },
    { "/files/*path", "/files/spec.pdf", "1=files 2=spec.pdf path=spec.pdf" },
    { "/files/*path", "/files/docs/spec.pdf", "1=files 2=docs 3=spec.pdf path=docs/spec.pdf" },
    { "/files/*path", "/files/docs/", "1=files 2=docs path=docs/" },
    { "/files/*path", "/files", nil },
    { "/files/*path", "/files/", nil },
    { "/files/*path", "/files//docs", nil },
    { "/users/{user_id}/files/*path", "/users/7/files/a/b", "1=users 2=7 3=files 4=a 5=b path=a/b user_id=7" },
    { "/*all/end", "/a/end/end", "1=a 2=end 3=end all=a/end" },
    { "/*all/end", "/end", nil },
    { "/say/*greeting/to/*name", "/say/hi/there/to/bob/jones", "1=say 2=hi 3=there 4=to 5=bob 6=jones greeting=hi/there name=bob/jones" },
    -- Greedy: the first splat takes the last `to` that leaves something to the second.
    { "/say/*greeting/to/*name", "/say/a/to/b/to/c", "1=say 2=a 3=to 4=b 5=to 6=c greeting=a/to/b name=c" },
    { "/say/*greeting/to/*name", "/say/a/to/to/to", "1=say 2=a 3=to 4=to 5=to greeting=a/to name=to" },
    { "/say/*greeting/to/*name", "/say/to/bob", nil },
    { "/*a/{b}/*c", "/1/2/3/4", "1=1 2=2 3=3 4=4 a=1/2 b=3 c=4" },
    { "/*a/x/{b}/*c/y", "/x/x/x/1/y/y", "1=x 2=x 3=x 4=1 5=y 6=y a=x/x b=1 c=y" },
    -- Segments are decoded one by one: an escaped slash separates nothing.
    { "/caf\195\169/{name}", "/caf%C3%A9/a%20b%2Fc", "1=caf\195\169 2=a b/c name=a b/c" },
    { "/a/b", "/a%2Fb", nil },
    { "/a/b", "/%61/b", "1=a 2=b" },
    { "/{a}", "/..", "1=.. a=.." },
    { "/a-b.c+d", "/a-b.c+d", "1=a-b.c+d" },
    { "/%d", "/1", nil },
    { "*", "*", "1=*" },
    { "/*all", "*", nil },
  }
  for _, row in ipairs(rows) do
    it(row[1] .. " and " .. row[2], function()
      local app, errors = sammy.app()
      local steps
      app:get(row[1], function(request)
        steps = shown(request.steps)
        return response.empty(204)
      end)
      local answer = sammy.ask(app, { path = row[2] })
      assert.same({}, errors)
      assert.equal(row[3], steps)
      assert.equal(row[3] and 204 or 404, answer.status)
    end)
  end

  it("of many splats does work that its lengths bound", function()
    local app = sammy.app()
    app:get("/" .. ("*a%s/x/"):rep(12):gsub("%%s", (function() local n = 0 return function() n = n + 1 return tostring(n) end end)()) .. "end",
      function() return response.empty(204) end)
    -- Ten thousand segments that nearly fit: backtracking one by one would not end.
    local answer = sammy.ask(app, { path = ("/x"):rep(10000) })
    assert.equal(404, answer.status)
    assert.equal(204, sammy.ask(app, { path = ("/x"):rep(10000) .. "/end" }).status)
  end)

  local wrong = {
    { "a", "must begin with /, got \"a\"" },
    { "", "must begin with /, got \"\"" },
    { "/a{b}", "has the segment \"a{b}\": a capture is a segment by itself, {name} or *name" },
    { "/*", "has the segment \"*\": a capture is a segment by itself, {name} or *name" },
    { "/{}", "has the segment \"{}\": a capture is a segment by itself, {name} or *name" },
    { "/{1a}", "has the segment \"{1a}\": a capture is a segment by itself, {name} or *name" },
    { "/*.png", "has the segment \"*.png\": a capture is a segment by itself, {name} or *name" },
    { "/{a}/*a", "has the name a twice" },
    { 5, "must be a string, got 5" },
    { "/" .. ("x"):rep(4096), "is longer than 4096 bytes" },
  }
  for _, row in ipairs(wrong) do
    it("is refused: " .. tostring(row[1]):sub(1, 20), function()
      local app = sammy.app()
      for _, name in ipairs{ "get", "reject" } do
        local ok, err = pcall(app[name], app, row[1], name == "get" and function() end or "GET")
        assert.is_false(ok)
        assert.equal("bad argument #1 to '" .. name .. "' (pattern " .. row[2] .. ")", (err:gsub("^[^:]+:%d+: ", "")))
      end
    end)
  end
end)

describe("a path", function()
  it("whose escapes are none is 400", function()
    local app = sammy.app()
    app:get("/*all", function() return response.empty(204) end)
    for _, path in ipairs{ "/%", "/%4", "/%zz", "/a%%41", "/%u0041" } do
      assert.equal(400, sammy.ask(app, { path = path }).status, path)
    end
    assert.equal(204, sammy.ask(app, { path = "/%25" }).status)
  end)
end)

describe("routes", function()
  it("are asked in the order in which they were registered", function()
    local app = sammy.app()
    local function says(word) return function() return response.text(200, word) end end
    app:get("/user/edit", says("edit"))
    app:get("/user/{id}", says("id"))
    app:get("/user/late", says("never"))
    app:get("/{a}/{b}", says("any"))
    app:get("/other/x", says("never"))
    app:all_methods("/*all", says("rest"))
    for path, expected in pairs{
      ["/user/edit"] = "edit", ["/user/42"] = "id", ["/user/late"] = "id", ["/other/x"] = "any", ["/a/b/c"] = "rest", ["/a"] = "rest",
    } do
      assert.equal(expected, sammy.ask(app, { path = path }).body, path)
    end
  end)

  it("are for a method, and another method is 404", function()
    local app = sammy.app()
    for _, verb in ipairs{ "get", "post", "put", "delete", "patch", "options", "head" } do
      app[verb](app, "/" .. verb, function(request) return response.text(200, request.method) end)
    end
    for _, verb in ipairs{ "get", "post", "put", "delete", "patch", "options", "head" } do
      for _, method in ipairs{ "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW" } do
        local answer = sammy.ask(app, { method = method, path = "/" .. verb })
        local expected = method == verb:upper() and 200 or method == "OPTIONS" and 204 or 404
        assert.equal(expected, answer.status, method .. " /" .. verb)
      end
    end
  end)

  it("take several methods by path, in any case, and every one by all_methods", function()
    local app = sammy.app()
    app:path("/some", { methods = { "post", "Put", "BREW" } }, function() return response.empty(204) end)
    app:path("/all", { methods = { "*" } }, function() return response.empty(204) end)
    app:all_methods("/every", function() return response.empty(204) end)
    for _, row in ipairs{
      { "POST /some", 204 }, { "PUT /some", 204 }, { "BREW /some", 204 }, { "GET /some", 404 }, { "GET /all", 204 }, { "BREW /all", 204 },
      { "OPTIONS /every", 204 },
    } do
      assert.equal(row[2], sammy.ask(app, row[1]).status, row[1])
    end
    -- Not the default's: the route's own.
    assert.is_nil(sammy.ask(app, "OPTIONS /every").headers.allow)
  end)

  it("that answer nothing leave it to the next", function()
    local app, errors = sammy.app()
    local seen = {}
    app:get("/a/{x}", function(request) seen[#seen + 1] = shown(request.steps) end)
    app:get("/a/{y}", function(request)
      seen[#seen + 1] = shown(request.steps)
      return response.empty(204)
    end)
    assert.equal(204, sammy.ask(app, "GET /a/b").status)
    assert.same({ "1=a 2=b x=b", "1=a 2=b y=b" }, seen)
    assert.same({}, errors)
  end)

  it("answer OPTIONS of what there is", function()
    local app = sammy.app()
    local function nothing() end
    app:get("/users/{id}", nothing)
    app:put("/users/{id}", nothing)
    app:delete("/users/{id}", nothing)
    app:get("/users/me", nothing)
    app:all_methods("/any", nothing)
    local answer = sammy.ask(app, "OPTIONS /users/42")
    assert.equal(204, answer.status)
    assert.equal("GET, PUT, DELETE, OPTIONS", answer.headers.allow)
    assert.equal(404, sammy.ask(app, "OPTIONS /nobody").status)
    assert.equal("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", sammy.ask(app, "OPTIONS /any").headers.allow)
    local off = sammy.app{ auto_options = false }
    off:get("/a", nothing)
    assert.equal(404, sammy.ask(off, "OPTIONS /a").status)
  end)

  it("reject methods with 405, where they are told to", function()
    local app = sammy.app()
    app:get("/users/{id}", function() return response.empty(204) end)
    app:put("/users/{id}", function() return response.empty(204) end)
    app:reject("/users/{id}", "post", "DELETE")
    app:reject("/users/{id}", "PATCH")
    for _, method in ipairs{ "POST", "DELETE", "PATCH" } do
      local answer = sammy.ask(app, { method = method, path = "/users/42" })
      assert.equal(405, answer.status)
      assert.equal("GET, PUT", answer.headers.allow)
    end
    assert.equal(404, sammy.ask(app, "BREW /users/42").status)
    assert.equal(204, sammy.ask(app, "GET /users/42").status)
    assert.equal("GET, PUT, OPTIONS", sammy.ask(app, "OPTIONS /users/42").headers.allow)
    local bare = sammy.app()
    bare:reject("/a", "GET")
    assert.equal(405, sammy.ask(bare, "GET /a").status)
    assert.is_nil(sammy.ask(bare, "GET /a").headers.allow)
    assert.equal(404, sammy.ask(bare, "OPTIONS /a").status)
  end)

  it("stand among the handlers, and can be taken away", function()
    local app = sammy.app()
    app:get("/a", function() return response.empty(204) end)
    assert.equal("GET /a", tostring(app.handlers[1]))
    assert.equal(204, sammy.ask(app, "GET /a").status)
    table.remove(app.handlers)
    assert.equal(404, sammy.ask(app, "GET /a").status)
    assert.equal(404, sammy.ask(app, "OPTIONS /a").status)
  end)

  local wrong = {
    { function(app) app:get("/a") end, "bad argument #2 to 'get' (handler must be a function, got nil)" },
    { function(app) app:get("/a", "x") end, "bad argument #2 to 'get' (opts must be a table, got \"x\")" },
    { function(app) app:get("/a", { csrff = false }, print) end, "bad argument #2 to 'get' (unknown option \"csrff\"; did you mean \"csrf\"?)" },
    { function(app) app:path("/a", { methods = {} }, print) end, "bad argument #2 to 'path' (methods are missing)" },
    { function(app) app:path("/a", print) end, "bad argument #2 to 'path' (methods are missing)" },
    { function(app) app:path("/a", { methods = { "G T" } }, print) end, "bad argument #2 to 'path' (a method must be a token, got \"G T\")" },
    { function(app) app:reject("/a") end, "bad argument #2 to 'reject' (methods are missing)" },
    { function(app) app:reject("/a", 5) end, "bad argument #2 to 'reject' (a method must be a token, got 5)" },
    { function(app) app.get("/a", print) end, "get: call it with a colon, on an app" },
    { function(app) app.handler = {} end, "sammy app cannot be changed (\"handler\")" },
    { function(app) app.csrf_guard = 1 end, "csrf_guard must be true or false, got 1" },
    { function() net.http.sammy{ domian = "a" } end, "bad argument #1 to 'sammy' (unknown option \"domian\"; did you mean \"domain\"?)" },
    { function() net.http.sammy{ domain = "a;b" } end, "bad argument #1 to 'sammy' (domain must be a host's name, got \"a;b\")" },
    { function() net.http.sammy{ cookie_name = "a b" } end, "bad argument #1 to 'sammy' (cookie_name must be a token, got \"a b\")" },
    { function() net.http.sammy{ cookie_key = "short" } end, "bad argument #1 to 'sammy' (cookie_key must have 32 bytes or more)" },
    { function() net.http.sammy{ cookie_samesite = "lax" } end,
      "bad argument #1 to 'sammy' (cookie_samesite must be \"Lax\", \"Strict\" or \"None\", got \"lax\")" },
    { function() net.http.sammy{ cookie_samesite = "None", cookie_secure = false } end,
      "bad argument #1 to 'sammy' (cookie_samesite = \"None\" needs cookie_secure)" },
    { function() net.http.sammy{ cookie_path = "a" } end, "bad argument #1 to 'sammy' (cookie_path must be a path, got \"a\")" },
  }
  for _, row in ipairs(wrong) do
    it("are refused: " .. row[2], function()
      local ok, err = pcall(row[1], (sammy.app()))
      assert.is_false(ok)
      assert.equal(row[2], (err:gsub("^[^:]+:%d+: ", "")))
    end)
  end
end)

describe("the chain", function()
  --- A class of handlers that note what is done with them.
  local function noting(log, name, acts)
    local class = {}
    class.__index = class
    function class.new() return setmetatable({ calls = 0 }, class) end
    for _, stage in ipairs{ "before", "process", "after" } do
      class[stage] = function(self, transaction)
        self.calls = self.calls + 1
        log[#log + 1] = name .. "." .. stage .. self.calls
        local act = acts and acts[stage]
        if act then return act(transaction, self) end
      end
    end
    return class
  end

  it("is every before, then process until one answers, then every after", function()
    local app, errors = sammy.app()
    local log = {}
    app.handlers[1] = noting(log, "a")
    app:get("/", function() log[#log + 1] = "route" return response.text(200, "hello") end)
    app.handlers[3] = noting(log, "b")
    assert.equal("hello", sammy.ask(app, "GET /").body)
    assert.equal("a.before1 b.before1 a.process2 route a.after3 b.after2", table.concat(log, " "))
    -- A fresh handler for each request: it counts from one again.
    for index = #log, 1, -1 do log[index] = nil end
    assert.equal(404, sammy.ask(app, "GET /nobody").status)
    assert.equal("a.before1 b.before1 a.process2 b.process2 a.after3 b.after3", table.concat(log, " "))
    assert.same({}, errors)
  end)

  it("makes handlers of functions, of classes and of plain tables", function()
    local app, errors = sammy.app()
    local seen = {}
    local plain = { after = function(self) self.count = (self.count or 0) + 1 seen[#seen + 1] = self.count end }
    app.handlers[1] = plain
    app.handlers[2] = function() return { before = function() seen[#seen + 1] = "made" end } end
    sammy.ask(app, "GET /")
    sammy.ask(app, "GET /")
    assert.same({ "made", 1, "made", 1 }, seen)
    assert.is_nil(plain.count)
    assert.same({}, errors)
  end)

  it("hands on the transaction, whose response can be changed after", function()
    local app, errors = sammy.app()
    app.handlers[1] = {
      before = function(_, transaction)
        transaction.response.headers["X-Before"] = "1"
        transaction.response.csp["default-src"][1] = "self"
      end,
      after = function(_, transaction)
        transaction.response.headers["X-Status"] = tostring(transaction.response.status)
        transaction.response.body = transaction.response.body .. "!"
        assert(transaction.request.path == "/")
      end,
    }
    app:get("/", function() return response.text(201, "hello") end)
    local answer = sammy.ask(app, "GET /")
    assert.same({}, errors)
    assert.equal(201, answer.status)
    assert.equal("hello!", answer.body)
    assert.equal("1", answer.headers["x-before"])
    assert.equal("201", answer.headers["x-status"])
    assert.equal("default-src 'self'", answer.headers["content-security-policy"])
    -- Of a draft alone nobody has answered.
    app.handlers[1].after = nil
    assert.equal(404, sammy.ask(app, "GET /nobody").status)
  end)

  it("takes what is written to transaction.response for an answer", function()
    local app, errors = sammy.app()
    app:get("/status", function(_, transaction) transaction.response.status = 202 end)
    app:get("/body", function(_, transaction) transaction.response.body = "written" end)
    app:get("/set", function(_, transaction) transaction.response = response.text(203, "set") end)
    assert.equal(202, sammy.ask(app, "GET /status").status)
    assert.equal("written", sammy.ask(app, "GET /body").body)
    assert.equal(200, sammy.ask(app, "GET /body").status)
    assert.equal(203, sammy.ask(app, "GET /set").status)
    assert.same({}, errors)
  end)

  it("ends where a before answers, and all afters follow", function()
    local app, errors = sammy.app()
    local log = {}
    app.handlers[1] = noting(log, "a", { before = function() response.redirect.temporary("/login") end })
    app.handlers[2] = noting(log, "b")
    app:get("/", function() log[#log + 1] = "route" end)
    local answer = sammy.ask(app, "GET /")
    assert.equal(302, answer.status)
    assert.equal("/login", answer.headers.location)
    assert.equal("a.before1 a.after2 b.after1", table.concat(log, " "))
    assert.same({}, errors)
  end)

  it("has a page that leaks nothing for an error, 504 for a timeout, and the afters still", function()
    local rows = {
      { function() error("the password is hunter2") end, 500 },
      { function() error({ secret = "hunter2" }) end, 500 },
      { function() error() end, 500 },
      { function() error(setmetatable({}, { __index = function() error("hunter2") end })) end, 500 },
      { function() error({ class = "puck.uno/error/timeout", message = "hunter2" }) end, 504 },
      { function() net.udp_listen("127.0.0.1", 0):recv(1, { timeout = 0 }) end, 504 },
      { function() return "hunter2" end, 500 },
      { function() return 42 end, 500 },
      { function() return {} end, 500 },
      { function() return { status = "hunter2" } end, 500 },
      { function() coroutine.yield("hunter2") end, 500 },
    }
    for index, row in ipairs(rows) do
      local app, errors = sammy.app()
      local log = {}
      app.handlers[1] = noting(log, "a")
      app:get("/", row[1])
      -- In a coroutine, so that the handler can yield into nowhere.
      local answer
      local co = coroutine.create(function() answer = sammy.ask(app, "GET /") end)
      assert(coroutine.resume(co))
      if answer then
        assert.equal(row[2], answer.status, index)
        assert.is_nil(answer.body:find("hunter2", 1, true))
        assert.is_nil(answer.body:find("spec", 1, true))
        assert.equal("a.before1 a.process2 a.after3", table.concat(log, " "))
        assert.equal(1, #errors)
        assert.equal("process of /", errors[1].where)
      else
        -- Where Lua yields through pcall the handler waits for whoever resumes it.
        assert.equal(#rows, index)
      end
    end
  end)

  it("keeps the first error where cleaning up fails, too", function()
    local app, errors = sammy.app()
    local log = {}
    app.handlers[1] = noting(log, "a", { after = function() error("second") end })
    app.handlers[2] = noting(log, "b", { after = function(transaction) assert(transaction.response.status == 504) end })
    app:get("/", function() error({ class = "puck.uno/error/timeout" }) end)
    assert.equal(504, sammy.ask(app, "GET /").status)
    assert.equal("a.before1 b.before1 a.process2 b.process2 a.after3 b.after3", table.concat(log, " "))
    assert.equal(2, #errors)
    assert.equal("puck.uno/error/timeout", errors[1].err.class)
    assert.matches("second", errors[2].err)
    assert.equal(errors[1].err, errors[2].first)
    assert.equal("after of handler 1", errors[2].where)
  end)

  it("answers 500 where only an after fails, and a raised response of an after stands", function()
    local app = sammy.app()
    app.handlers[1] = { after = function() error("oops") end }
    app:get("/", function() return response.empty(204) end)
    assert.equal(500, sammy.ask(app, "GET /").status)
    app.handlers[1] = { after = function() error(response.text(503, "busy"), 0) end }
    local answer = sammy.ask(app, "GET /")
    assert.equal(503, answer.status)
    assert.equal("busy", answer.body)
  end)

  it("answers 500 where a handler cannot be made", function()
    for _, handler in ipairs{ function() error("oops") end, function() return 5 end, { new = function() end } } do
      local app, errors = sammy.app()
      local done
      app.handlers[1] = handler
      app.handlers[2] = { after = function() done = true end }
      assert.equal(500, sammy.ask(app, "GET /").status)
      assert.is_true(done)
      assert.equal("new of handler 1", errors[1].where)
    end
  end)

  it("goes to the fallback, and then to 404", function()
    local app, errors = sammy.app()
    app:get("/", function() return response.empty(204) end)
    local function fallback(request) if request.path ~= "/none" then return response.text(200, "fallback " .. request.path) end end
    assert.equal(204, sammy.ask(app, "GET /", fallback).status)
    assert.equal("fallback /a/b", sammy.ask(app, "GET /a/b", fallback).body)
    assert.equal(404, sammy.ask(app, "GET /none", fallback).status)
    assert.equal(500, sammy.ask(app, "GET /a", function() error("oops") end).status)
    assert.equal(1, #errors)
  end)

  it("does not end with the callbacks that watch it", function()
    local app = net.http.sammy{ on_error = function() error("oops") end }
    app:get("/", function() error("first") end)
    assert.equal(500, sammy.ask(app, "GET /").status)
  end)
end)

describe("a request", function()
  it("is the server's, with steps, and cannot be changed", function()
    local app, errors = sammy.app()
    local seen
    app:post("/{a}", function(request, transaction)
      assert(net.kind(request) == "request" and rawequal(request, transaction.request))
      seen = { request.id, request.method, request.path, request.headers["x-a"], request.body, request:json().b, request.json().b, request.nothing }
      assert(not pcall(function() request.path = "/other" end))
      assert(not pcall(function() transaction.request = {} end))
      return response.empty(204)
    end)
    assert.equal(204, sammy.ask(app, { method = "POST", path = "/x", headers = { ["X-A"] = "1" }, body = '{"b":2}' }).status)
    assert.same({ "1", "POST", "/x", "1", '{"b":2}', 2, 2 }, seen)
    assert.same({}, errors)
  end)

  it("is gone once nobody has it, and stays whole for who keeps it", function()
    local app, errors = sammy.app{ domain = "a" }
    local weak, kept = setmetatable({}, { __mode = "v" }), nil
    app.handlers[1] = function() return { after = function(_, transaction) transaction.response.headers["X-A"] = "1" end } end
    app:post("/{a}", function(request, transaction)
      weak[#weak + 1], weak[#weak + 2], weak[#weak + 3] = request, transaction, transaction.response
      transaction.session.a = request:json()
      assert(request.steps.a == "x" and request.json() == 5)
      if request.headers.keep then kept = { request, transaction } end
      return response.empty(204)
    end)
    for _ = 1, 50 do sammy.ask(app, { method = "POST", path = "/x", body = "5" }) end
    assert.same({}, errors)
    collectgarbage()
    collectgarbage()
    local left = 0
    for _ in pairs(weak) do left = left + 1 end
    -- What a loop's last turn has left on the stack.
    assert.is_true(left <= 3, left)
    sammy.ask(app, { method = "POST", path = "/x", body = "5", headers = { keep = "1" } })
    collectgarbage()
    assert.equal("x", kept[1].steps.a)
    assert.equal("POST", kept[2].request.method)
    assert.equal(5, kept[2].session.a)
  end)

  it("has its steps before any route runs", function()
    local app, errors = sammy.app()
    local seen
    app.handlers[1] = { before = function(_, transaction) seen = shown(transaction.request.steps) end }
    app:post("/{other}", function() end)
    app:get("/{name}", function() return response.empty(204) end)
    sammy.ask(app, "GET /x")
    assert.equal("1=x name=x", seen)
    sammy.ask(app, "GET /x/y/")
    assert.equal("1=x 2=y", seen)
    assert.same({}, errors)
  end)
end)
