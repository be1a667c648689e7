-- Contract 9, Sammy over sockets: an app in a process of its own, asked by our own client, by curl and byte by byte.

local child = require("spec.support.child")
local net = require("spec.support.subject").net
local process = require("spec.support.process")
local wire = require("spec.support.wire")

local APP = [==[
local net = launch{ "--allow-listen=127.0.0.1:0" }
local app = net.class("puck.uno/sammy").new{
  domain = "127.0.0.1", cookie_secure = false, csrf_guard = true, max_body_bytes = 1000,
  on_error = function(err, request, where)
    print("error in " .. where .. " of " .. request.method .. " " .. request.path .. ": " .. tostring(err))
    io.flush()
  end,
}
local response = app.response
local directory = ...
if directory then app:static(directory) end
app:get("/", function() return response.html(200, '<form method="post" action="/greet"><input name="who"></form>') end)
app:post("/greet", function(request, transaction)
  transaction.session.who = request.params.who
  response.redirect.see_other("/hello")
end)
app:get("/hello", function(_, transaction) return response.text(200, "hello " .. tostring(transaction.session.who)) end)
app:post("/json", { csrf = false }, function(request) return response.json(201, { got = request:json(), steps = request.steps[1] }) end)
app:get("/cookies", function() return response.new(200, { ["Set-Cookie"] = { "a=1", "b=2" }, ["X-List"] = { "1", "2" } }, "x") end)
app:get("/pieces", function()
  local count = 0
  return response.new(200, { content_type = "text/plain" }, function()
    count = count + 1
    if count <= 3 then return "piece " .. count .. "\n" end
  end)
end)
app:get("/files/*path", function(request) return response.text(200, request.steps.path .. " " .. #request.steps) end)
app:get("/bad-header", function() return response.new(200, { ["X-A"] = "a\r\nX-B: c" }, "x") end)
app:get("/error", function() error("the secret is hunter2") end)
app:get("/own", function(request) request:respond(202, { ["X-Own"] = "1" }, "my own") end)
app:get("/stop", function() app:stop() return response.text(200, "stopping") end)
app:head("/head", function() return response.text(200, "12345") end)
local server = app:listen("127.0.0.1", 0)
print(server.local_port)
io.flush()
app:run(function(request) if request.path == "/fallback" then return response.text(200, "caught") end end)
print("done")
]==]

describe("an app", function()
  local running, url, port
  wire.watch(before_each, after_each)
  local function start(directory)
    running = child.start("local launched = launch\nlocal function main(...)\n" .. APP .. "\nend\nmain("
      .. (directory and ("%q"):format(directory) or "") .. ")")
    port = tonumber(running:expect("^%d+$"))
      or error("no port")
    url = "http://127.0.0.1:" .. port
  end
  after_each(function()
    if running then running:kill() end
    running = nil
  end)
  --- Ends the app; what it had still to say.
  local function finish()
    assert.equal("stopping", net.fetch(url .. "/stop").body)
    return running:rest()
  end

  it("keeps a session, guards its form and redirects", function()
    start()
    local client = net.http.client.new{ cookies = true, timeout = 10 }
    local token = client:get(url .. "/").body:match('name="csrf_token" value="([^"]+)"')
    assert.equal(403, client:post(url .. "/greet", { body_form = { who = "Eve" } }).status)
    assert.equal("hello nil", client:get(url .. "/hello").body)
    local greeted = client:post(url .. "/greet", { body_form = { who = "Ada", csrf_token = token } })
    assert.equal("hello Ada", greeted.body)
    assert.equal(url .. "/hello", greeted.url)
    assert.equal(200, client:post(url .. "/greet", { body_form = { who = "Bob" }, headers = { ["X-CSRF-Token"] = token } }).status)
    assert.equal("hello Bob", client:get(url .. "/hello").body)
    assert.equal("hello nil", net.fetch(url .. "/hello").body)
    -- By parts, too.
    local parts = client:post(url .. "/greet", { body_form = { { "who", "Zoe" }, { "csrf_token", token } }, follow_redirects = false })
    assert.equal(303, parts.status)
    client:close()
    assert.equal("done\n", finish())
  end)

  it("answers in every form", function()
    start()
    local client = net.http.client.new{ timeout = 10, follow_redirects = false }
    local made = client:post(url .. "/json", { body_json = { a = { 1, 2 } } })
    assert.equal(201, made.status)
    assert.equal('{"got":{"a":[1,2]},"steps":"json"}', made.body)
    local cookies = client:get(url .. "/cookies")
    assert.same({ "a=1", "b=2" }, { cookies.headers["set-cookie"][1], cookies.headers["set-cookie"][2] })
    assert.equal("1, 2", cookies.headers["x-list"])
    assert.equal("piece 1\npiece 2\npiece 3\n", client:get(url .. "/pieces").body)
    assert.equal("a/b c/ 3", client:get(url .. "/files/a/b%20c/").body)
    assert.equal("caught", client:get(url .. "/fallback").body)
    local own = client:get(url .. "/own")
    assert.same({ 202, "my own", "1" }, { own.status, own.body, own.headers["x-own"] })
    local head = client:head(url .. "/head")
    assert.same({ 200, "5", "" }, { head.status, head.headers["content-length"], head.body })
    local options = client:options(url .. "/hello")
    assert.same({ 204, "GET, OPTIONS" }, { options.status, options.headers.allow })
    assert.equal(404, client:get(url .. "/nobody").status)
    assert.equal(403, client:delete(url .. "/hello").status)
    client:close()
    assert.equal("done\n", finish())
  end)

  it("says nothing of why it failed, and goes on", function()
    start()
    for _, path in ipairs{ "/error", "/bad-header" } do
      local answer = net.fetch(url .. path)
      assert.equal(500, answer.status)
      assert.is_nil(answer.body:find("hunter2", 1, true))
      assert.is_nil(answer.headers["x-b"])
    end
    assert.equal(413, net.fetch(url .. "/json", { method = "POST", body = ("x"):rep(2000) }).status)
    local said = finish()
    assert.matches("error in process of /error of GET /error: [^\n]*the secret is hunter2\n", said)
    assert.matches("error in respond of GET /bad%-header: ", said)
    assert.matches("done\n$", said)
  end)

  it("is asked by curl, with a cookie jar of its own", function()
    start()
    local jar = os.tmpname()
    local function curl(arguments)
      return (process.start("curl -s --max-time 10 -b " .. jar .. " -c " .. jar .. " " .. arguments):rest())
    end
    local token = curl(url .. "/"):match('name="csrf_token" value="([^"]+)"')
    assert.equal("hello Ada & co", curl("-L --data-urlencode 'who=Ada & co' -d csrf_token=" .. token .. " " .. url .. "/greet"))
    assert.equal("403", curl("-o /dev/null -w '%{http_code}' -d who=Eve " .. url .. "/greet"))
    assert.equal("hello Ada & co", curl(url .. "/hello"))
    assert.equal("303", curl("-o /dev/null -w '%{http_code}' -F who=Eve -F csrf_token=" .. token .. " " .. url .. "/greet"))
    assert.equal("hello Eve", curl(url .. "/hello"))
    os.remove(jar)
    assert.equal("done\n", finish())
  end)

  it("serves files of a directory, and nothing beside it", function()
    local top = os.tmpname()
    os.remove(top)
    os.execute("mkdir -p " .. top .. "/site/sub " .. top .. "/other && cd " .. top .. " && printf '<p>hi</p>' >site/index.html && printf css >site/sub/a.css"
      .. " && printf secret >other/secret.txt && printf lua >site/x.lua && printf hidden >site/.hidden.txt && ln -s ../other/secret.txt site/out.txt"
      .. " && ln -s ../other site/away && ln -s sub/a.css site/in.css && mkfifo site/pipe.txt && mkdir site/dir.txt && : >site/empty.txt"
      .. " && head -c 3000000 /dev/zero >site/big.wasm && ln -s /etc/passwd site/passwd.txt")
    start(top .. "/site")
    local page = net.fetch(url .. "/index.html")
    assert.same({ 200, "<p>hi</p>", "text/html; charset=utf-8", "nosniff", "9" }, { page.status, page.body, page.headers["content-type"],
      page.headers["x-content-type-options"], page.headers["content-length"] })
    assert.equal("css", net.fetch(url .. "/sub/a.css").body)
    -- A link is followed where it stays inside.
    assert.equal("css", net.fetch(url .. "/in.css").body)
    assert.equal("", net.fetch(url .. "/empty.txt").body)
    assert.equal(3000000, #net.fetch(url .. "/big.wasm").body)
    local known = net.fetch(url .. "/index.html", { headers = { ["If-None-Match"] = 'W/"x", ' .. page.headers.etag } })
    assert.same({ 304, "" }, { known.status, known.body })
    assert.equal(200, net.fetch(url .. "/index.html", { headers = { ["If-None-Match"] = '"x"' } }).status)
    local part = net.fetch(url .. "/index.html", { headers = { Range = "bytes=3-4" } })
    assert.same({ 206, "hi", "bytes 3-4/9" }, { part.status, part.body, part.headers["content-range"] })
    assert.equal(304, net.fetch(url .. "/index.html", { headers = { ["If-Modified-Since"] = page.headers["last-modified"] } }).status)
    local head = net.fetch(url .. "/index.html", { method = "HEAD" })
    assert.same({ 200, "9", "" }, { head.status, head.headers["content-length"], head.body })
    -- As it is, byte by byte: no client of ours would send some of these.
    for _, target in ipairs{
      "/x.lua", "/.hidden.txt", "/sub/.hidden.txt", "/out.txt", "/away/secret.txt", "/passwd.txt", "/pipe.txt", "/dir.txt", "/dir.txt/", "/sub", "/sub/",
      "/../other/secret.txt", "/%2e%2e/other/secret.txt", "/..%2fother/secret.txt", "/sub/../../other/secret.txt", "/sub/%2e%2e/%2e%2e/other/secret.txt",
      "/sub/..%2f..%2fother%2fsecret.txt", "/..%5cother%5csecret.txt", "/%252e%252e/other/secret.txt", "//etc/passwd.txt", "/etc/passwd.txt",
      "/index.html%00", "/index.html%00.css", "/index.html/", "/./index.html", "/sub//a.css", "/index.html%20", "/index.html.", "/INDEX.HTML",
      "/....//other/secret.txt", "/%c0%ae%c0%ae/other/secret.txt", "/index.html;.css", "/~/index.html", "/index.html::$DATA.txt",
    } do
      local client = net.tcp("127.0.0.1", port, { timeout = 10 })
      client:send_all("GET " .. target .. " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
      local parts = {}
      for piece in function() return client:recv(65536) end do parts[#parts + 1] = piece end
      client:close()
      local answer = table.concat(parts)
      assert.matches("^HTTP/1%.1 40[04] ", answer, target)
      assert.is_nil(answer:find("secret", 1, true) or answer:find("root:", 1, true), target)
    end
    -- A name that leads elsewhere later leads nowhere.
    os.execute("cd " .. top .. " && rm site/sub/a.css && rmdir site/sub && ln -s ../other site/sub")
    assert.equal(404, net.fetch(url .. "/sub/secret.txt").status)
    assert.equal("done\n", finish())
    os.execute("rm -rf " .. top)
  end)

  it("ends with a server that is stopped, and can listen only once", function()
    local said = child.run([[
      local net = launch{ "--allow-listen=127.0.0.1:0", "--allow-net=127.0.0.1" }
      local app = net.http.sammy()
      print(pcall(app.run, app))
      app:listen("127.0.0.1", 0)
      print(pcall(app.listen, app, "127.0.0.1", 0))
      app:stop()
      app:run()
      print(app.server)
      print(pcall(app.run, app, "127.0.0.1", 70000))
      print(pcall(app.run, app, "127.0.0.1", 0, 5))
      print(pcall(app.run, app, "127.0.0.2", 80))
      print(pcall(net.http.sammy, { max_body_bites = 1 }))
      app:close()]])
    local lines = {}
    for line in said:gmatch("[^\n]+") do lines[#lines + 1] = (line:gsub("[^%s]+:%d+: ", "")) end
    assert.equal("false\trun: name a host and a port, or call listen first", lines[1])
    assert.equal("false\tlisten: the app is listening already", lines[2])
    assert.equal("nil", lines[3])
    assert.equal("false\tbad argument #2 to 'run' (port must be 0..65535, got 70000)", lines[4])
    assert.equal("false\trun: fallback must be a function, got 5", lines[5])
    assert.matches("network/host_not_allowed", lines[6])
    assert.equal("false\tbad argument #1 to 'sammy' (unknown option \"max_body_bites\"; did you mean \"max_body_bytes\"?)", lines[7])
  end)

  it("reads no files where its network may not", function()
    local narrow = net.narrow{ "--allow-listen=127.0.0.1:0" }
    local app = narrow.http.sammy()
    local ok, err = pcall(app.static, app, "/etc")
    assert.is_false(ok)
    assert.matches("bad argument #1 to 'static' %(files are not permitted here", err)
    ok, err = pcall(net.http.sammy().static, net.http.sammy(), "/nowhere/at/all")
    assert.is_false(ok)
    assert.matches("bad argument #1 to 'static' %(/nowhere/at/all: No such file or directory", err)
    assert.is_false((pcall(net.http.sammy().static, net.http.sammy(), "/proc")))
  end)
end)
