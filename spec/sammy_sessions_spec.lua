-- Contract 9, Sammy: responses, sessions, the guard against forged requests, the Content-Security-Policy and static files.

local net = require("spec.support.subject").net
local sammy = require("spec.support.sammy")

local response = net.http.sammy.response
local KEY = ("k"):rep(32)

--- What a call raises, without its position.
local function raised(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok, "nothing was raised")
  return type(err) == "string" and (err:gsub("^[^:]+:%d+: ", "")) or err
end

describe("a response", function()
  it("is made in the forms that there are", function()
    local rows = {
      { response.new(200, { ["X-A"] = "1", ["Set-Cookie"] = { "a=1", "b=2" } }, "body"), 200, nil, "body" },
      { response.new(200, { content_type = "text/css", location = "/x" }), 200, "text/css", "" },
      { response.html(200, "<p>"), 200, "text/html; charset=utf-8", "<p>" },
      { response.json(201, { b = 1, a = net.array{} }), 201, "application/json", '{"a":[],"b":1}' },
      { response.json(200, net.null), 200, "application/json", "null" },
      { response.text(404, "no"), 404, "text/plain; charset=utf-8", "no" },
      { response.empty(204), 204, nil, "" },
      { response:empty(304), 304, nil, "" },
    }
    for index, row in ipairs(rows) do
      local app, errors = sammy.app()
      app:get("/", function() return row[1] end)
      local answer = sammy.ask(app, "GET /")
      assert.same({}, errors)
      assert.same({ row[2], row[3], row[4] }, { answer.status, answer.headers["content-type"], answer.body }, index)
      assert.equal("response", net.kind(row[1]))
    end
    assert.equal("/x", rows[2][1].headers.location)
    assert.equal("text/css", rows[2][1].headers["content-type"])
    assert.equal("text/css", rows[2][1].headers.content_type)
    rows[2][1].headers["CONTENT-TYPE"] = "text/plain"
    assert.equal("text/plain", rows[2][1].headers["Content-Type"])
  end)

  it("may be a table, or have a body that is made in pieces", function()
    local app, errors = sammy.app()
    app:get("/table", function() return { status = 418, headers = { ["X-A"] = "b" }, body = "teapot" } end)
    app:get("/pieces", function() return response.new(200, nil, function() end) end)
    local answer = sammy.ask(app, "GET /table")
    assert.same({ 418, "b", "teapot" }, { answer.status, answer.headers["x-a"], answer.body })
    assert.equal("function", type(sammy.ask(app, "GET /pieces").body))
    assert.same({}, errors)
  end)

  it("of a redirect is raised, from however deep", function()
    local app, errors = sammy.app()
    local function deep(count, f) if count == 0 then f("/to?a=b") else deep(count - 1, f) end end
    for name, status in pairs{ permanent = 301, temporary = 302, see_other = 303 } do
      app:get("/" .. name, function() deep(20, response.redirect[name]) end)
      local answer = sammy.ask(app, "GET /" .. name)
      assert.same({ status, "/to?a=b", "" }, { answer.status, answer.headers.location, answer.body })
    end
    assert.same({}, errors)
  end)

  it("warns of two cookies of one name", function()
    local app, _, warnings = sammy.app()
    app:get("/", function() return response.new(200, { ["Set-Cookie"] = { "a=1; Path=/", "b=2", "a=3" } }) end)
    sammy.ask(app, "GET /")
    assert.same({ "two cookies of the name a in one response" }, warnings)
  end)

  local wrong = {
    { function() response.new("200") end, "bad argument #1 to 'new' (status must be a whole number, 200..599, got \"200\")" },
    { function() response.new(99) end, "bad argument #1 to 'new' (status must be a whole number, 200..599, got 99)" },
    { function() response.new(200, "x") end, "bad argument #2 to 'new' (headers must be a table, got \"x\")" },
    { function() response.new(200, { a = {{}} }) end, "bad argument #2 to 'new' (header \"a\" must be a string or a flat list of strings, got a table)" },
    { function() response.new(200, { a = true }) end, "bad argument #2 to 'new' (header \"a\" must be a string or a flat list of strings, got true)" },
    { function() response.new(200, { "a" }) end, "bad argument #2 to 'new' (headers must have names, got 1)" },
    { function() response.new(200, nil, 5) end,
      "bad argument #3 to 'new' (body must be a string, or a function that returns the next piece, got 5)" },
    { function() response.html(200) end, "bad argument #2 to 'html' (body must be a string, got nil)" },
    { function() response.json(200, print) end, "bad argument #2 to 'json' (value is a function, which JSON does not have)" },
    { function() response.redirect.see_other("/a\r\nSet-Cookie: b") end,
      "bad argument #1 to 'see_other' (url must be a string without blanks and control characters, got \"/a\\13\\\nSet-Cookie: b\")" },
    { function() response.empty(204).statuss = 1 end, "a response has status, headers, body and csp, not \"statuss\"" },
    { function() response.html = print end, "sammy.responses cannot be changed (\"html\")" },
  }
  for index, row in ipairs(wrong) do
    it("refuses " .. index .. ": " .. row[2]:gsub("%c", "."), function()
      assert.equal((row[2]:gsub("\\13", "\r")), (raised(row[1]):gsub("\\13", "\r"):gsub("\\r", "\r")))
    end)
  end
end)

describe("a Content-Security-Policy", function()
  --- The header of what `act` makes of a policy.
  local function header(act)
    local app, errors = sammy.app()
    app:get("/", function()
      local made = response.html(200, "")
      act(made.csp, made)
      return made
    end)
    local answer = sammy.ask(app, "GET /")
    return answer.headers["content-security-policy"], answer.status, errors
  end

  it("is one header, in the order of its directives, keywords quoted", function()
    assert.equal("default-src 'none'; script-src 'self' cdn.example.com 'nonce-abc=' 'sha256-x/+='; img-src 'self' data:", header(function(csp)
      table.insert(csp["default-src"], "none")
      for _, source in ipairs{ "self", "cdn.example.com", "nonce-abc=", "sha256-x/+=" } do table.insert(csp["script-src"], source) end
      local _ = csp["style-src"]
      csp["img-src"] = { "'self'", "data:" }
    end))
    assert.equal("default-src 'self'", header(function(csp) csp["default-src"] = "self" end))
    assert.equal("connect-src 'none'; default-src 'self'", header(function(_, made)
      made.csp = { ["default-src"] = { "self" }, ["connect-src"] = "none" }
    end))
    for _, word in ipairs{ "unsafe-inline", "unsafe-eval", "strict-dynamic", "report-sample" } do
      assert.equal("script-src '" .. word .. "'", header(function(csp) csp["script-src"][1] = word end))
    end
  end)

  it("is no header without a source, and can be cleared", function()
    assert.is_nil(header(function() end))
    assert.is_nil((header(function(csp) return csp["img-src"] end)))
    assert.is_nil((header(function(csp) csp["img-src"][1] = "self" csp:clear() end)))
    assert.is_nil((header(function(csp) csp["img-src"][1] = "self" csp["img-src"] = {} end)))
  end)

  it("takes no source that would be more than one", function()
    for _, source in ipairs{ "a; script-src *", "a,b", "a b", "a\r\nX: y", "", "a\0" } do
      local value, status, errors = header(function(csp) csp["img-src"][1] = source end)
      assert.is_nil(value)
      assert.equal(500, status)
      assert.equal(1, #errors)
    end
    for _, name in ipairs{ "img src", "img;x", "", "IMG", 5 } do
      assert.equal(500, select(2, header(function(csp) csp[name] = { "self" } end)))
      assert.equal(500, select(2, header(function(csp) return csp[name][1] end)))
    end
  end)
end)

describe("a session", function()
  --- An app that counts, and one that ends and one that looks.
  local function counting(options)
    local given = { domain = "example.com", cookie_key = KEY }
    for name, value in pairs(options or {}) do given[name] = value end
    local app, errors, warnings = sammy.app(given)
    app:get("/count", function(_, transaction)
      transaction.session.count = (transaction.session.count or 0) + 1
      return response.text(200, tostring(transaction.session.count))
    end)
    app:get("/look", function(_, transaction) return response.text(200, tostring(transaction.session.count)) end)
    app:get("/end", function(_, transaction)
      transaction.session = nil
      return response.empty(204)
    end)
    app:get("/begin", function(_, transaction)
      transaction.session = { count = 10 }
      return response.empty(204)
    end)
    app:get("/deep", function(_, transaction)
      transaction.session.list = transaction.session.list or {}
      table.insert(transaction.session.list, "x")
      return response.text(200, tostring(#transaction.session.list))
    end)
    app:get("/other", function() return response.empty(204) end)
    return app, errors, warnings
  end

  local function ask(app, path, cookie)
    return sammy.ask(app, { path = path, headers = { Cookie = cookie } })
  end

  it("is kept in a cookie of the client's", function()
    local app, errors = counting()
    local first = ask(app, "/count")
    assert.equal("1", first.body)
    assert.matches("^session=[%w_-]+%.%d+%.[%w_-]+; Path=/; Domain=example%.com; HttpOnly; Secure; SameSite=Lax$", first.headers["set-cookie"])
    local cookie = sammy.cookie(first)
    local second = ask(app, "/count", "a=b; " .. cookie .. "; c=d")
    assert.equal("2", second.body)
    assert.equal("2", ask(app, "/look", sammy.cookie(second)).body)
    -- JSON, which everyone who holds it can read.
    local payload = net.base64.url_decode(sammy.cookie(second):match("^session=([%w_-]+)"))
    assert.equal('{"count":2}', payload)
    assert.same({}, errors)
  end)

  it("is sent when it has changed, and only then", function()
    local app = counting()
    local cookie = sammy.cookie(ask(app, "/count"))
    assert.is_nil(ask(app, "/look", cookie).headers["set-cookie"])
    assert.is_nil(ask(app, "/look").headers["set-cookie"])
    assert.is_nil(ask(app, "/other", cookie).headers["set-cookie"])
    local deep = sammy.cookie(ask(app, "/deep", cookie))
    assert.equal("2", ask(app, "/deep", deep).body)
    assert.matches("^session=", sammy.cookie(ask(app, "/deep", deep)))
  end)

  it("ends, and begins anew", function()
    local app = counting()
    local cookie = sammy.cookie(ask(app, "/count"))
    local ended = ask(app, "/end", cookie)
    assert.equal("session=; Path=/; Domain=example.com; Max-Age=0; HttpOnly; Secure; SameSite=Lax", ended.headers["set-cookie"])
    assert.is_nil(ask(app, "/end").headers["set-cookie"])
    local begun = ask(app, "/begin", cookie)
    assert.equal("11", ask(app, "/count", sammy.cookie(begun)).body)
  end)

  it("that is forged, broken or another's is an empty one", function()
    local app, errors = counting()
    local cookie = sammy.cookie(ask(app, "/count"))
    local payload, time, code = cookie:match("^session=([%w_-]+)%.(%d+)%.([%w_-]+)$")
    local forged = net.base64.url_encode('{"count":1000000}')
    local other = sammy.cookie(ask(counting{ cookie_key = ("x"):rep(32) }, "/count"))
    local named = sammy.cookie(ask(counting{ cookie_name = "other" }, "/count"))
    for _, value in ipairs{
      "session=" .. forged .. "." .. time .. "." .. code, "session=" .. payload .. "." .. (time + 1) .. "." .. code,
      "session=" .. payload .. "." .. time .. "." .. ("A"):rep(43), "session=" .. payload .. "." .. time, "session=" .. payload,
      "session=" .. payload .. "." .. time .. ".", "session=", "session", "session=%7B%22count%22%3A5%7D", 'session={"count":5}',
      "session=" .. payload .. "." .. time .. "." .. code:sub(1, -2), cookie .. "A", cookie .. "=", other, (named:gsub("^other", "session")),
      "session=" .. ("A"):rep(10000) .. "." .. time .. "." .. code, "session=\255\0.1.x", "Session" .. cookie:sub(8),
    } do
      assert.equal("nil", ask(app, "/look", value).body, value)
    end
    -- A second cookie of the name, from a host beside ours, is no way in either.
    assert.equal("1", ask(app, "/look", "session=" .. forged .. ".1.x; " .. cookie).body)
    assert.same({}, errors)
  end)

  it("that is signed and no object is an empty one", function()
    for _, text in ipairs{ "[1]", "5", "null", '"a"', "{", "" } do
      local app = counting()
      local payload = net.base64.url_encode(text)
      local code = net.hash.hmac_sha256(KEY, "session=" .. payload .. ".1", "bytes")
      assert.equal("1", ask(app, "/count", "session=" .. payload .. ".1." .. net.base64.url_encode(code)).body, text)
    end
  end)

  it("has an age, where it is given one", function()
    local app = counting{ cookie_max_age = 60 }
    local answer = ask(app, "/count")
    assert.matches("; Max%-Age=60;", answer.headers["set-cookie"])
    assert.equal("1", ask(app, "/look", sammy.cookie(answer)).body)
    local payload = net.base64.url_encode('{"count":7}')
    local function signed(time)
      return "session=" .. payload .. "." .. time .. "." .. net.base64.url_encode(net.hash.hmac_sha256(KEY, "session=" .. payload .. "." .. time, "bytes"))
    end
    assert.equal("7", ask(app, "/look", signed(os.time())).body)
    assert.equal("nil", ask(app, "/look", signed(os.time() - 61)).body)
  end)

  it("takes the options of its cookie", function()
    local answer = ask(counting{ cookie_name = "sid", cookie_secure = false, cookie_samesite = "Strict", cookie_path = "/api" }, "/count")
    assert.matches("^sid=[^;]+; Path=/api; Domain=example%.com; HttpOnly; SameSite=Strict$", answer.headers["set-cookie"])
  end)

  it("is signed with a key of the app's own, where none is given", function()
    local one, another = sammy.app{ domain = "a" }, sammy.app{ domain = "a" }
    for _, app in ipairs{ one, another } do
      app:get("/", function(_, transaction)
        transaction.session.n = (transaction.session.n or 0) + 1
        return response.text(200, tostring(transaction.session.n))
      end)
    end
    local cookie = sammy.cookie(ask(one, "/"))
    assert.equal("2", ask(one, "/", cookie).body)
    assert.equal("1", ask(another, "/", cookie).body)
  end)

  it("needs a domain", function()
    local app, errors = sammy.app()
    app:get("/", function(_, transaction) transaction.session.a = 1 end)
    app:get("/set", function(_, transaction) transaction.session = {} end)
    assert.equal(500, ask(app, "/").status)
    assert.equal(500, ask(app, "/set").status)
    for _, each in ipairs(errors) do
      assert.equal("puck.uno/touchstone/error/sammy/no_cookie_domain", each.err.class)
      assert.equal("error", net.kind(each.err))
      assert.is_true(each.err:is("puck.uno/touchstone/error/sammy/no_cookie_domain"))
      assert.is_true(each.err:is("puck.uno/error"))
      assert.is_false(each.err:is("network"))
      assert.matches("touchstone/error/sammy/no_cookie_domain: a session needs the domain of its cookie", tostring(each.err))
    end
    assert.equal(2, #errors)
  end)

  it("that is too large, or no JSON, is an error and not half a cookie", function()
    for _, value in ipairs{ ("x"):rep(4096), print, "\255", 0 / 0 } do
      local app, errors = sammy.app{ domain = "a" }
      app:get("/", function(_, transaction)
        transaction.session.value = value
        return response.empty(204)
      end)
      local answer = ask(app, "/")
      assert.equal(500, answer.status)
      assert.is_nil(answer.headers["set-cookie"])
      assert.equal(1, #errors)
    end
  end)

  it("stands beside other cookies", function()
    local app = counting()
    app:get("/both", function(_, transaction)
      transaction.session.count = 1
      return response.new(200, { ["Set-Cookie"] = { "a=1", "b=2" } })
    end)
    app:get("/one", function(_, transaction)
      transaction.session.count = 1
      return response.new(200, { ["set-cookie"] = "a=1" })
    end)
    assert.equal(3, #ask(app, "/both").headers["set-cookie"])
    assert.equal(2, #ask(app, "/one").headers["set-cookie"])
  end)
end)

describe("the guard against forged requests", function()
  local function guarded()
    local app, errors = sammy.app{ domain = "example.com", csrf_guard = true, cookie_key = KEY }
    app:get("/", function() return response.html(200, '<form method="post"><input name="a"></form>') end)
    app:get("/token", function(_, transaction) return response.text(200, transaction.csrf_token) end)
    for _, verb in ipairs{ "post", "put", "patch", "delete" } do
      app[verb](app, "/", function(request) return response.text(200, "done " .. request.method) end)
    end
    app:post("/hook", { csrf = false }, function() return response.text(200, "hooked") end)
    return app, errors
  end
  local FORM = "application/x-www-form-urlencoded"

  it("asks for the token of the session, in a form or a header", function()
    local app, errors = guarded()
    local page = sammy.ask(app, "GET /")
    local token = page.body:match('^<form method="post"><input type="hidden" name="csrf_token" value="([%w_-]+)"><input name="a"></form>$')
    assert.equal(43, #token)
    local cookie = sammy.cookie(page)
    for _, method in ipairs{ "POST", "PUT", "PATCH", "DELETE" } do
      local function status(headers, params, path)
        headers.Cookie = headers.Cookie or cookie
        return sammy.ask(app, { method = method, path = path or "/", headers = headers, params = params or {} }).status
      end
      assert.equal(200, status({ ["X-CSRF-Token"] = token }))
      assert.equal(200, status({ ["Content-Type"] = FORM }, { csrf_token = token }))
      assert.equal(200, status({ ["Content-Type"] = "multipart/form-data; boundary=x" }, { csrf_token = token }))
      assert.equal(403, status({}))
      assert.equal(403, status({ ["X-CSRF-Token"] = "" }))
      assert.equal(403, status({ ["X-CSRF-Token"] = token .. "x" }))
      assert.equal(403, status({ ["Content-Type"] = FORM }, { csrf_token = "wrong" }))
      assert.equal(403, status({ ["Content-Type"] = FORM }))
      -- A query is no form.
      assert.equal(403, status({ ["Content-Type"] = "application/json" }, { csrf_token = token }))
      assert.equal(403, status({ Cookie = "session=x", ["X-CSRF-Token"] = token }))
      assert.equal(403, status({ Cookie = "", ["X-CSRF-Token"] = "" }))
      -- A path that nobody has, too: what is forged learns nothing.
      assert.equal(403, status({}, {}, "/nobody"))
    end
    assert.equal(200, sammy.ask(app, { path = "/", headers = { Cookie = cookie } }).status)
    assert.same({}, errors)
  end)

  it("keeps the token of a session", function()
    local app = guarded()
    local first = sammy.ask(app, "GET /")
    local again = sammy.ask(app, { path = "/", headers = { Cookie = sammy.cookie(first) } })
    assert.equal(first.body, again.body)
    assert.is_nil(again.headers["set-cookie"])
    local token = sammy.ask(app, { path = "/token", headers = { Cookie = sammy.cookie(first) } })
    assert.equal(first.body:match('value="([^"]+)"'), token.body)
    assert.matches("^session=", sammy.ask(app, "GET /token").headers["set-cookie"])
  end)

  it("leaves alone what is told to, and can be set later", function()
    local app = guarded()
    assert.equal("hooked", sammy.ask(app, "POST /hook").body)
    assert.equal(403, sammy.ask(app, "PUT /hook").status)
    app.csrf_guard = false
    assert.equal("done POST", sammy.ask(app, "POST /").body)
    assert.is_false(app.csrf_guard)
    assert.is_nil(sammy.ask(app, "GET /").headers["set-cookie"])
  end)

  it("finds the forms of a page", function()
    local rows = {
      { "<form method=post>", true }, { "<form method='POST' action=/x>", true }, { '<FORM\nACTION="a>b"\nMETHOD="Put">', true },
      { "<form action=/x method=delete>", true }, { "<form method=patch>", true }, { '<form data-method="post">', false },
      { "<form>", false }, { "<form method=get>", false }, { "<form method=dialog>", false }, { '<form title="method=post">', false },
      { "<form method = post >", true }, { "<form/method=post>", true }, { "<formula method=post>", false }, { "<!-- <form method=post> -->", false },
      { "<script>'<form method=post>'</script>", false }, { "<style><form method=post></style>", false },
      { "<textarea><form method=post></textarea>", false }, { "<script></script><form method=post>", true },
      { "<SCRIPT>x</Script ><form method=post>", true }, { "<form method=post", false }, { "a < b <form method=post>", true },
      { '<p title="<form method=post>">', false }, { "<!-- open <form method=post>", false },
    }
    for _, row in ipairs(rows) do
      local app, errors = sammy.app{ domain = "a", csrf_guard = true }
      app:get("/", function() return response.html(200, row[1]) end)
      local answer = sammy.ask(app, "GET /")
      local bare, count = answer.body:gsub('<input type="hidden" name="csrf_token" value="[%w_-]+">', "")
      assert.equal(row[1], bare)
      assert.equal(row[2] and 1 or 0, count, row[1])
      -- A page without a form needs no session.
      assert.equal(row[2], answer.headers["set-cookie"] ~= nil)
      assert.same({}, errors)
    end
  end)

  it("touches nothing that is no page", function()
    local app = sammy.app{ domain = "a", csrf_guard = true }
    app:get("/", function() return response.text(200, "<form method=post>") end)
    assert.equal("<form method=post>", sammy.ask(app, "GET /").body)
  end)

  it("needs a domain, as sessions do", function()
    local app, errors = sammy.app{ csrf_guard = true }
    app:post("/", function() return response.empty(204) end)
    assert.equal(500, sammy.ask(app, "POST /").status)
    assert.equal("puck.uno/touchstone/error/sammy/no_cookie_domain", errors[1].err.class)
  end)
end)

describe("static files of an object", function()
  local function serving(files, opts)
    local app, errors = sammy.app()
    local asked = {}
    app:static({ open = function(_, name) asked[#asked + 1] = name return files[name] end }, opts)
    app:get("/route.html", function() return response.text(200, "route") end)
    return app, errors, asked
  end

  it("are those that the table of types has", function()
    local app, errors, asked = serving{ ["a.html"] = "<p>", ["b/c.css"] = "css", ["d.PNG"] = "png", ["route.html"] = "file", ["x.lua"] = "secret" }
    local answer = sammy.ask(app, "GET /a.html")
    assert.same({ 200, "text/html; charset=utf-8", "<p>", "nosniff" },
      { answer.status, answer.headers["content-type"], answer.body, answer.headers["x-content-type-options"] })
    assert.equal("text/css; charset=utf-8", sammy.ask(app, "GET /b/c.css").headers["content-type"])
    assert.equal("image/png", sammy.ask(app, "HEAD /d.PNG").headers["content-type"])
    assert.equal("route", sammy.ask(app, "GET /route.html").body)
    assert.equal(404, sammy.ask(app, "POST /a.html").status)
    assert.equal(404, sammy.ask(app, "GET /none.html").status)
    assert.equal("fallback", sammy.ask(app, "GET /none.html", function() return response.text(200, "fallback") end).body)
    for index = #asked, 1, -1 do asked[index] = nil end
    for _, path in ipairs{
      "/x.lua", "/a", "/", "/b", "/b/", "/a.html/", "/a.html/x", "/.html", "/.env.html", "/b/.a.html", "/../a.html", "/b/../a.html", "/%2e%2e/a.html",
      "/..%2fa.html", "/b%2f..%2fa.html", "/b//c.css", "//a.html", "/./a.html", "/a.html%00", "/a.html%00.css", "/a%00.html", "/b%5cc.css", "/..%5ca.html",
      "/a.html.bak", "/a.html~", "/a.", "/.a", "/%2ea.html", "/a.html%0a", "/a%0d%0a.html", "*",
    } do
      assert.equal(404, sammy.ask(app, { path = path }).status, path)
    end
    -- Nobody was asked for what is no plain name.
    assert.same({}, (function()
      local odd = {}
      for _, name in ipairs(asked) do
        if name:find("%.%.") or name:find("^[./]") or name:find("[%c\\]") or name:find("//", 1, true) then odd[#odd + 1] = name end
      end
      return odd
    end)())
    assert.same({}, errors)
  end)

  it("may have other types, or fewer", function()
    local app = serving({ ["a.md"] = "text", ["a.html"] = "<p>", ["a.JS"] = "js" }, { extensions = { md = "text/markdown", html = false } })
    assert.equal("text/markdown", sammy.ask(app, "GET /a.md").headers["content-type"])
    assert.equal(404, sammy.ask(app, "GET /a.html").status)
    assert.equal(200, sammy.ask(app, "GET /a.JS").status)
  end)

  it("may be open files, which are read in pieces and closed", function()
    local closed, pieces = 0, { "one", "two" }
    local file = { read = function(_, count) assert(count > 0) return table.remove(pieces, 1) end, close = function() closed = closed + 1 end }
    local app, errors = serving{ ["a.txt"] = file, ["b.txt"] = { read = function() error("broken") end, close = function() closed = closed + 1 end } }
    local body = sammy.ask(app, "GET /a.txt").body
    assert.same({ "one", "two" }, { body(), body() })
    assert.is_nil(body())
    assert.is_nil(body())
    assert.equal(1, closed)
    assert.matches("broken", raised(sammy.ask(app, "GET /b.txt").body))
    assert.equal(2, closed)
    assert.same({}, errors)
  end)

  it("that fail are 500, and directories are asked in order", function()
    local app, errors = sammy.app()
    app:static{ open = function(_, name) if name == "bad.txt" then error("secret") end return name == "one.txt" and "first" or nil end }
    app:static{ open = function(_, name) return name == "odd.txt" and 5 or "second" end }
    assert.equal(500, sammy.ask(app, "GET /bad.txt").status)
    assert.equal("first", sammy.ask(app, "GET /one.txt").body)
    assert.equal("second", sammy.ask(app, "GET /two.txt").body)
    assert.equal(500, sammy.ask(app, "GET /odd.txt").status)
    assert.equal("static 1", errors[1].where:match("static %d"))
  end)

  it("refuse what is no directory", function()
    local app = sammy.app()
    assert.equal("bad argument #1 to 'static' (dir must be a path or an object with open(name), got 5)", raised(app.static, app, 5))
    assert.equal("bad argument #1 to 'static' (dir must be a path or an object with open(name), got a table)", raised(app.static, app, {}))
    assert.equal("bad argument #2 to 'static' (the type of md must be a media type or false, got 5)",
      raised(app.static, app, { open = print }, { extensions = { md = 5 } }))
    assert.equal("bad argument #2 to 'static' (extensions must be words, got \"a/b\")",
      raised(app.static, app, { open = print }, { extensions = { ["a/b"] = "x" } }))
  end)
end)
