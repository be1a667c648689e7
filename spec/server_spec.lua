-- Contract 9: net.http.server. Clients are LuaSocket in a process of its own, and curl.

local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local serving = require("spec.support.serving")

local curl = serving.curl

describe("http server", function()
  local server
  serving.watch(before_each, after_each)

  local function open(opts)
    local url
    url, server = serving.open(opts)
    return url
  end

  it("hands out complete requests and sends what is answered", function()
    local url = open()
    assert.equal("server", net.kind(server))
    assert.equal("127.0.0.1", server.local_host)
    local client = curl("-i -H 'X-Two: a' -H 'x-two: b' -d 'a=1&b=c+d&a=%41' '" .. url .. "/p%20q/?x=1&a=0'")
    local request = server:accept()
    assert.equal("request", net.kind(request))
    assert.equal("POST", request.method)
    assert.equal("/p%20q/?x=1&a=0", request.target)
    assert.equal("/p%20q/", request.path)
    assert.equal("x=1&a=0", request.query)
    assert.equal("1.1", request.version)
    assert.equal("http", request.scheme)
    assert.equal("127.0.0.1", request.host)
    assert.equal("a, b", request.headers["X-TWO"])
    assert.equal("a, b", request.headers["x-two"])
    assert.equal("a=1&b=c+d&a=%41", request.body)
    assert.equal(15, request.content_length)
    assert.equal("127.0.0.1", request.remote_host)
    assert.is_number(request.remote_port)
    assert.is_nil(request.peer)
    assert.is_nil(request.tls)
    assert.is_nil(request.nonsense)
    assert.same({ x = "1", a = "A", b = "c d" }, request.params)
    assert.same({ { "x", "1" }, { "a", "0" }, { "a", "1" }, { "b", "c d" }, { "a", "A" } }, request.param_array)
    assert.equal("array", net.kind(request.param_array))
    assert.same({ a = "A", b = "c d" }, request.form())
    assert.is_nil(request.param_hash)
    assert.equal(request.id, request.id)
    local raw = {}
    for _, field in ipairs(request.raw_headers) do raw[#raw + 1] = field[1] .. "=" .. field[2] end
    assert.truthy(table.concat(raw, ";"):find("X-Two=a;x-two=b", 1, true))
    assert.has_error(function() request.method = "GET" end)
    assert.is_true(request:respond(201, { ["X-List"] = { "1", "2" }, ["Content-Type"] = "text/plain" }, "made\n"))
    local text = client:rest():gsub("\r", "")
    assert.truthy(text:find("^HTTP/1.1 201 Created\nDate: %a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT\n"), text)
    assert.truthy(text:find("\nX-List: 1\nX-List: 2\n", 1, true), text)
    assert.truthy(text:find("\nContent-Length: 5\n", 1, true), text)
    assert.truthy(text:find("\n\nmade\n$"), text)
  end)

  it("keeps connections alive, and answers pipelined requests in order", function()
    open()
    local p = peer.client(server.local_port, [[
      c:send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        .. "GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      report(c:receive("*a"))
    ]])
    for count = 1, 3 do
      local request = server:accept()
      assert.equal("/" .. count, request.path)
      assert.equal(count == 2 and "abc" or "", request.body)
      request:respond(200, nil, request.path)
    end
    assert.has_error(function() server:accept{ timeout = 0.1 } end)
    local text = p:finish()[1]
    assert.truthy(text:find("\r\n\r\n/1HTTP/1.1 200 OK\r\n.*\r\n\r\n/2HTTP/1.1 200 OK\r\n.*Connection: close\r\n\r\n/3$"), text)
  end)

  it("runs a handler until it is stopped", function()
    local errors = {}
    local url = open{ on_error = function(err) errors[#errors + 1] = tostring(err) end }
    local client = curl(("-w '\\n' %s/json %s/text %s/function %s/error %s/nothing -w ' %%{http_code}\\n'"):format(url, url, url, url, url))
    local count = 0
    server:run(function(request)
      count = count + 1
      if count == 5 then server:stop() end
      if request.path == "/json" then return { body_json = { list = net.array{} } } end
      if request.path == "/text" then return "text" end
      if request.path == "/error" then error("private") end
      if request.path == "/nothing" then return nil end
      local left = 3
      return { status = 203, body = function()
        left = left - 1
        if left >= 0 then return ("x"):rep(left) end
      end }
    end)
    local text = client:rest()
    assert.equal('{"list":[]} 200\ntext 200\nxxx 203\n500 Internal Server Error\n 500\n500 Internal Server Error\n 500\n', text)
    assert.equal(2, #errors)
    assert.truthy(errors[1]:find("private", 1, true))
    assert.is_nil(server:accept())
  end)

  it("refuses arguments that are wrong", function()
    open()
    local p = peer.client(server.local_port, [[ c:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n") report((c:receive("*l"))) ]])
    local request = server:accept()
    for _, given in ipairs{
      { "200" }, { 99 }, { 100 }, { 1000 }, { 200.5 }, { 200, "x" }, { 200, { ["a b"] = "x" } }, { 200, { a = "x\r\nb: c" } },
      { 200, { a = "x\n" } }, { 200, { a = "\0" } }, { 200, { ["a\r\n"] = "x" } }, { 200, { a = {} , b = { {} } } }, { 200, { a = print } },
      { 200, nil, 5 }, { 200, nil, {} }, { { status = 200, body = "a", body_json = 1 } }, { { status = 200, stauts = 1 } },
      { { body_json = print } }, { { body_file = 1 } },
    } do
      local ok, err = pcall(request.respond, request, given[1], given[2], given[3])
      assert.is_false(ok)
      assert.truthy(tostring(err):find("bad argument #%d to 'respond'"), tostring(err))
    end
    request:respond(204)
    assert.same({ "HTTP/1.1 204 No Content" }, p:finish())
    local ok, err = pcall(request.respond, request, 200)
    assert.is_false(ok)
    assert.truthy(tostring(err):find("answered already", 1, true))
    for _, opts in ipairs{ { timeout = -1 }, { max_fields = 257 }, { tsl = {} }, { log = 5 }, { tls = {} }, { spill = "/nonexistent/x" } } do
      assert.is_false(pcall(net.http.server, "127.0.0.1", 0, opts))
    end
    assert.is_false(pcall(net.http.server, "127.0.0.1", "80"))
    assert.is_false(pcall(net.http.server, "example.com", 0))
  end)

  it("needs a listen grant, and ends with its capability", function()
    for _, flags in ipairs{ { "--allow-net" }, { "--allow-listen=1" } } do
      local narrow = net.narrow(flags)
      local ok, err = pcall(narrow.http.server, "127.0.0.1", 0)
      assert.is_false(ok)
      assert.is_true(err:is("port_not_allowed"))
    end
    local mine = net.narrow{ "--allow-listen=127.0.0.1:0" }
    local served = mine.http.server("127.0.0.1", 0)
    mine.revoke()
    local ok, err = pcall(served.accept, served)
    assert.is_false(ok)
    assert.is_true(err:is("socket"))
  end)
end)
