-- The drop-in's `socket.http`: LuaSocket's calls against nginx and httpbin, and what LuaSocket lets peers and strings do.

local dropin = require("spec.support.dropin")
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local http, ltn12, socket = dropin.require("socket.http"), dropin.require("ltn12"), dropin.require("socket")

local base = "http://127.0.0.1:" .. servers.http
local ok = "HTTP/1.1 200 OK\r\n"

-- What a request got: body, code, headers, status; the body as a string also for `request{ … }`.
local function fetch(reqt)
  local got = {}
  reqt.sink = ltn12.sink.table(got)
  local done, code, headers, status = http.request(reqt)
  if not done then return nil, code end
  return table.concat(got), code, headers, status
end

-- A server that reads one head, reports it, answers `bytes` and closes.
local function answers(bytes)
  return peer.tcp(([[
    local c = accept()
    report(table.concat(head(c), "\n"))
    c:send(%q)
    c:shutdown("send")
    c:receive("*a")
    c:close()]]):format(bytes))
end

describe("socket.http", function()
  after_each(function()
    process.kill_all()
    http.TIMEOUT, http.PROXY, http.HTTP09, http.MAXBODY = 60, nil, false, 268435456
  end)

  it("has what LuaSocket's has", function()
    assert.equal(60, http.TIMEOUT)
    assert.equal(socket._VERSION, http.USERAGENT)
    assert.equal(80, http.schemes.http.port)
    assert.equal(443, http.schemes.https.port)
    assert.equal(http, socket.http)
    for _, name in ipairs{ "request", "open", "genericform" } do assert.is_function(http[name]) end
  end)

  describe("requests", function()
    it("answers body, code, headers and status", function()
      local body, code, headers, status = http.request(base .. "/twice")
      assert.equal("twice", body)
      assert.equal(200, code)
      assert.equal("one, two", headers["x-twice"])
      assert.equal("a=1; Path=/, b=2", headers["set-cookie"])
      assert.equal("HTTP/1.1 200 OK", status)
      assert.is_nil(headers.location)
    end)

    it("answers 1 for a table, and hands the body to the sink", function()
      local got = {}
      local done, code = http.request{ url = base .. "/hello", sink = ltn12.sink.table(got) }
      assert.same({ 1, 200, "hello\n" }, { done, code, table.concat(got) })
    end)

    it("takes the parts of a URL, which win over the URL", function()
      assert.equal("hello\n", (fetch{ host = "127.0.0.1", port = servers.http, path = "/hello" }))
      assert.equal("hello\n", (fetch{ url = "http://192.0.2.1/never", host = "127.0.0.1", port = tostring(servers.http), path = "/hello" }))
    end)

    it("says what LuaSocket says", function()
      local body = fetch{ url = base .. "/headers", headers = { ["X-One"] = "1", ["content-md5"] = "x", ["user-agent"] = "me" } }
      for _, line in ipairs{
        "GET /headers HTTP/1.1", "Host: 127.0.0.1:" .. servers.http, "Connection: close, TE", "TE: trailers", "User-Agent: me", "x-one: 1",
        "Content-MD5: x",
      } do
        assert.matches(line .. "\r\n", body, 1, true)
      end
    end)

    it("posts a body by a string, with its length and its type", function()
      local body, code = http.request(servers.httpbin .. "/post", "a=1&b=2")
      assert.equal(200, code)
      assert.matches('"a":"1"', body, 1, true)
      assert.matches('"Content-Length":"7"', body, 1, true)
      assert.matches("application/x-www-form-urlencoded", body, 1, true)
    end)

    it("sends a source in chunks where its length is not known", function()
      local text = ("0123456789"):rep(1000)
      local pieces = { "", text:sub(1, 10), "", text:sub(11) }
      assert.equal(text, (fetch{ url = base .. "/echo", method = "POST", source = ltn12.source.table(pieces) }))
      assert.equal(text, (fetch{ url = base .. "/echo", method = "POST", source = ltn12.source.string(text), headers = { ["content-length"] = #text } }))
    end)

    it("hands the step over, and the error of a sink back", function()
      local steps = 0
      local function step(...) steps = steps + 1 return ltn12.pump.step(...) end
      assert.equal(1, http.request{ url = base .. "/files/64k", sink = ltn12.sink.null(), step = step })
      assert.is_true(steps >= 32)
      assert.same({ nil, "full" }, { http.request{ url = base .. "/hello", sink = ltn12.sink.error("full") } })
    end)

    it("reads every framing", function()
      for _, path in ipairs{ "/chunked", "/until-close", "/files/1m", "/files/0", "/empty" } do
        local body, code = http.request(base .. path)
        assert.is_true(code == 200 or code == 204)
        assert.equal(({ ["/files/1m"] = 1048576, ["/files/0"] = 0, ["/empty"] = 0 })[path] or 48013, #body, path)
      end
    end)

    it("sends user and password, both decoded", function()
      local body, code = http.request(("http://us%%65r:p%%3Aw@127.0.0.1:%s/basic-auth/user/p%%3Aw"):format(servers.httpbin:match("%d+$")))
      assert.equal(200, code)
      assert.matches('"authenticated":true', body, 1, true)
      assert.equal(200, (select(2, http.request{ url = servers.httpbin .. "/basic-auth/user/pw", user = "user", password = "pw" })))
    end)

    it("keeps HEAD without a body", function()
      local done, code, headers = http.request{ url = base .. "/files/1m", method = "HEAD" }
      assert.same({ 1, 200, "1048576" }, { done, code, headers["content-length"] })
    end)

    it("uses what create makes", function()
      local made = 0
      local function create() made = made + 1 return socket.tcp() end
      assert.equal("arrived", (fetch{ url = base .. "/hops/aaa", create = create }))
      assert.equal(4, made)
      assert.same({ nil, "no more" }, { http.request{ url = base .. "/hello", create = function() return nil, "no more" end } })
    end)

    it("is driven by hand, too", function()
      local h = http.open("127.0.0.1", servers.http, socket.tcp)
      h:sendrequestline("POST", "/echo")
      h:sendheaders{ host = "x", ["content-length"] = 3, connection = "keep-alive" }
      h:sendbody({ ["content-length"] = 3 }, ltn12.source.string("abc"))
      local code, status = h:receivestatusline()
      assert.same({ 200, "HTTP/1.1 200 OK" }, { code, status })
      local got = {}
      h:receivebody(h:receiveheaders(), (ltn12.sink.table(got)))
      assert.equal("abc", table.concat(got))
      h:sendrequestline(nil, "/empty")
      h:sendheaders{ host = "x" }
      assert.equal(204, (h:receivestatusline()))
      assert.is_truthy(h:close())
    end)

    it("closes the connection where a method fails", function()
      local h = http.open("127.0.0.1", servers.http, socket.tcp)
      local answer, err = socket.protect(function() h:sendrequestline("GET", "/a b") end)()
      assert.same({ nil, "invalid uri" }, { answer, err })
      assert.equal(-1, h.c:getfd())
    end)
  end)

  describe("redirects", function()
    it("are followed, at most five, and the last location is told", function()
      local body, code, headers = http.request(base .. "/hops/aaaa")
      assert.same({ "arrived", 200, "/hops/" }, { body, code, headers.location })
      assert.equal(302, (select(2, http.request(base .. "/hops/aaaaaaaaa"))))
      assert.equal(302, (select(2, http.request{ url = base .. "/hops/aaa", maxredirects = 1 })))
      assert.equal("arrived", (fetch{ url = base .. "/hops/aaaaaaaaa", maxredirects = false }))
      assert.equal(302, (select(2, http.request{ url = base .. "/hops/a", redirect = false })))
    end)

    for _, code in ipairs{ 301, 302, 303, 307, 308 } do
      it("keep HEAD at " .. code, function()
        local p = answers("HTTP/1.1 " .. code .. " Go\r\nLocation: http://127.0.0.1:" .. servers.http .. "/files/1m\r\n\r\n")
        local done, last, headers = http.request{ url = "http://127.0.0.1:" .. p.port .. "/", method = "HEAD" }
        assert.same({ 1, 200, "1048576" }, { done, last, headers["content-length"] })
        assert.matches("^HEAD / ", p:finish()[1])
      end)
    end

    it("are for the caller where there was a body, or the scheme is none of ours", function()
      assert.equal(302, (select(2, http.request(base .. "/redirect/302", "a=1"))))
      assert.equal(302, (select(2, http.request(base .. "/file"))))
      assert.equal(302, (select(2, http.request(base .. "/nowhere"))))
    end)

    it("keep every field of the request", function()
      local steps, made = 0, 0
      local got = {}
      local function step(...) steps = steps + 1 return ltn12.pump.step(...) end
      http.request{
        url = base .. "/redirect/302", sink = ltn12.sink.table(got), step = step, headers = { ["x-one"] = "kept" },
        create = function() made = made + 1 return socket.tcp() end,
      }
      assert.matches("x-one: kept\n", table.concat(got), 1, true)
      assert.is_true(steps > 0)
      assert.equal(2, made)
    end)

    it("take no credentials to another origin", function()
      local given = {
        authorization = "Bearer s3cret", cookie = "s3cret", ["x-one"] = "s3cret", Host = "other.example", accept = "text/plain",
        ["X-Two"] = "sent along",
      }
      local body = fetch{ url = base .. "/other/302", headers = given, forward_headers = { "x-two" } }
      assert.is_nil(body:find("s3cret"))
      assert.is_nil(body:find("other.example", 1, true))
      assert.matches("accept: text/plain\n", body, 1, true)
      assert.matches("x-two: sent along\n", body, 1, true)
      body = fetch{ url = base .. "/redirect/302", headers = given }
      assert.matches("authorization: Bearer s3cret\n", body, 1, true)
      body = fetch{ url = base .. "/redirect/302", user = "u", password = "p" }
      assert.matches("authorization: Basic dTpw\n", body, 1, true)
      body = fetch{ url = base .. "/other/302", user = "u", password = "p" }
      assert.matches("authorization: \n", body, 1, true)
    end)

    it("leave the query as it is, and the fragment behind", function()
      local p = answers("HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:" .. servers.http .. "/inspect?next=/a/../b//c/./d e#here\r\n\r\n")
      local body = http.request("http://127.0.0.1:" .. p.port .. "/x?q#frag")
      assert.matches("GET /inspect?next=/a/../b//c/./d%20e HTTP/1.1", body, 1, true)
      assert.matches("^GET /x%?q HTTP/1%.1\n", p:finish()[1])
    end)
  end)

  -- What no string may do: a field of the request, and the error; nothing is connected to.
  describe("refuses before anything is sent", function()
    local nobody = "http://127.0.0.1:1"
    local BOTH = "both transfer-encoding and content-length"
    for name, row in pairs{
      ["a line break in the URL"] = { { url = nobody .. "/a\r\nX: y" }, "invalid uri" },
      ["a blank in the URL"] = { { url = nobody .. "/a b" }, "invalid uri" },
      ["a line break in uri"] = { { url = nobody, uri = "/\nX" }, "invalid uri" },
      ["a line break in the query"] = { { url = nobody, query = "a\r\nb" }, "invalid uri" },
      ["a line break in the method"] = { { url = nobody, method = "GET /\r\nX" }, "invalid method" },
      ["a line break in a value"] = { { url = nobody, headers = { ["x-one"] = "a\r\nX-Two: b" } }, "invalid value of header 'x-one': it holds a line break" },
      ["NUL in a value"] = { { url = nobody, headers = { ["x-one"] = "a\0" } }, "invalid value of header 'x-one': it holds a line break" },
      ["a line break in a name"] = { { url = nobody, headers = { ["x\r\ny"] = "a" } }, "invalid header name" },
      ["a colon in a name"] = { { url = nobody, headers = { ["x:y"] = "a" } }, "invalid header name" },
      ["a table for a value"] = { { url = nobody, headers = { x = {} } }, "invalid value of header 'x': a string expected, got table" },
      ["two framings"] = { { url = nobody, headers = { ["content-length"] = 3, ["transfer-encoding"] = "chunked" } }, BOTH },
      ["no host"] = { { url = "http:///x" }, "invalid host 'nil'" },
      ["a backslash in the host"] = { { url = "http://good\\@evil/" }, "invalid url" },
      ["a blank in the host"] = { { url = "http://a b/" }, "invalid url" },
      ["a host that says more"] = { { host = "a/b", path = "/" }, "invalid host 'a/b'" },
      ["a port that wraps"] = { { url = "http://127.0.0.1:73616/" }, "invalid port '73616'" },
      ["a port that is none"] = { { url = "http://127.0.0.1:8x/" }, "invalid port '8x'" },
      ["a scheme that it does not speak"] = { { url = "gopher://127.0.0.1/" }, "unknown scheme 'gopher'" },
      ["a proxy that speaks something else"] = { { url = nobody, proxy = "socks5://127.0.0.1:1" }, "unsupported scheme of the proxy" },
    } do
      it(name, function()
        row[1].create = function() error("it was dialled") end
        assert.same({ nil, row[2] }, { http.request(row[1]) })
      end)
    end

    it("but writes the scheme as it likes", function()
      assert.equal("hello\n", (http.request("HTTP://127.0.0.1:" .. servers.http .. "/hello")))
    end)
  end)

  -- What a server must not get away with: the bytes, and the body or the error.
  describe("takes from a server", function()
    local many = {}
    for i = 1, 257 do many[i] = "X-" .. i .. ": y\r\n" end
    local chunked = ok .. "Transfer-Encoding: chunked\r\n\r\n"
    local BOTH = "malformed response: both transfer-encoding and content-length"
    for _, row in ipairs{
      { "a plain answer", ok .. "Content-Length: 2\r\n\r\nok", "ok" },
      { "a length twice, the same", ok .. "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", "ok" },
      { "a body until it closes", ok .. "\r\nok", "ok" },
      { "no reason", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "ok" },
      { "chunks with extensions and trailers", chunked .. "2;a=b\r\nok\r\n0\r\nX-Late: y\r\n\r\n", "ok" },
      { "a folded value", ok .. "X-One: a\r\n b\r\nContent-Length: 2\r\n\r\nok", "ok" },
      { "100, 102 and 103 before the answer", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
        .. ok .. "Content-Length: 2\r\n\r\nok", "ok" },
      { "17 answers before the answer", ("HTTP/1.1 100 Continue\r\n\r\n"):rep(17) .. ok .. "\r\n", nil, "too many provisional responses" },
      { "no HTTP at all", "SSH-2.0-OpenSSH_9\r\n", nil, "malformed status line" },
      { "a status without a number", "HTTP/1.1 OK\r\n\r\n", nil, "HTTP/1.1 OK" },
      { "a status of four digits", "HTTP/1.1 2000\r\n\r\n", nil, "HTTP/1.1 2000" },
      { "nothing", "", nil, "closed" },
      { "half a head", ok .. "Content-Le", nil, "closed" },
      { "a version that is not ours", "HTTP/1.2 200 OK\r\n\r\nok", nil, "HTTP/1.2 200 OK" },
      { "a version without an end", "HTTP/" .. ("1"):rep(50) .. ".1 200 OK\r\n\r\nok", nil, "HTTP/" .. ("1"):rep(50) .. ".1 200 OK" },
      { "a stray CR in a status line", "HTTP/1.1 200 O\rK\r\n\r\nok", nil, "HTTP/1.1 200 O?K" },
      { "a stray CR in a value", ok .. "X: a\rb\r\nContent-Length: 2\r\n\r\nok", nil, "malformed response headers" },
      { "a stray CR before a line's end", ok .. "X: a\r\r\nContent-Length: 2\r\n\r\nok", nil, "malformed response headers" },
      { "a stray CR for an empty line", ok .. "Content-Length: 2\r\n\r\r\n\r\nok", nil, "malformed response headers" },
      { "a stray CR in a chunk's line", ok .. "Transfer-Encoding: chunked\r\n\r\n2\r\r\nok\r\n0\r\n\r\n", nil, "invalid chunk size" },
      { "a bare semicolon", ok .. "Transfer-Encoding: chunked\r\n\r\n2;\r\nok\r\n0\r\n\r\n", nil, "invalid chunk size" },
      { "an empty member beside chunked", ok .. "Transfer-Encoding: chunked,\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok" },
      { "a blank before a field's colon", ok .. "X-A : b\r\nContent-Length: 2\r\n\r\nok", nil, "malformed response headers" },
      { "a field without a colon", ok .. "nonsense\r\n\r\n", nil, "malformed response headers" },
      { "a blank before the colon", ok .. "Content-Length : 2\r\n\r\nok", nil, "malformed response headers" },
      { "a fold before the first field", ok .. " X: y\r\n\r\nok", nil, "malformed response headers" },
      { "NUL in a value", ok .. "X: a\0b\r\n\r\nok", nil, "malformed response headers" },
      { "257 fields", ok .. table.concat(many) .. "\r\n", nil, "oversized" },
      { "65 KiB of one field", ok .. "X: " .. ("x"):rep(66000) .. "\r\n\r\n", nil, "oversized" },
      { "65 KiB of many fields", ok .. ("X: " .. ("x"):rep(1000) .. "\r\n"):rep(66) .. "\r\n", nil, "oversized" },
      { "65 KiB of status line", "HTTP/1.1 200 " .. ("x"):rep(66000) .. "\r\n\r\n", nil, "oversized" },
      { "65 KiB of trailers", chunked .. "0\r\n" .. ("X: " .. ("x"):rep(1000) .. "\r\n"):rep(66) .. "\r\n", nil, "oversized" },
      { "chunk extensions without end", chunked .. ("1;" .. ("x"):rep(1024) .. "\r\na\r\n"):rep(17) .. "0\r\n\r\n", nil, "oversized" },
      { "both framings", ok .. "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", nil, BOTH },
      { "two lengths", ok .. "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!", nil, "malformed content-length" },
      { "a length in hex", ok .. "Content-Length: 0x2\r\n\r\nok", nil, "malformed content-length" },
      { "a negative length", ok .. "Content-Length: -1\r\n\r\nok", nil, "malformed content-length" },
      { "an empty length", ok .. "Content-Length:\r\n\r\nok", nil, "malformed content-length" },
      { "a length of 20 digits", ok .. "Content-Length: 18446744073709551618\r\n\r\nok", nil, "malformed content-length" },
      { "a coding that it does not know", ok .. "Transfer-Encoding: gzip\r\n\r\nok", nil, "unsupported transfer-encoding" },
      { "chunked twice", ok .. "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", nil, "unsupported transfer-encoding" },
      { "a negative chunk size", chunked .. "-1\r\n\r\n", nil, "invalid chunk size" },
      { "a chunk size after a blank", chunked .. " 2\r\nok\r\n0\r\n\r\n", nil, "invalid chunk size" },
      { "a chunk size in C's hex", chunked .. "0x2\r\nok\r\n0\r\n\r\n", nil, "invalid chunk size" },
      { "no chunk size", chunked .. "\r\nok\r\n0\r\n\r\n", nil, "invalid chunk size" },
      { "a chunk size past 64 bits", chunked .. "10000000000000002\r\nok\r\n0\r\n\r\n", nil, "invalid chunk size" },
      { "a chunk longer than its size", chunked .. "2\r\nok!\r\n0\r\n\r\n", nil, "invalid chunk" },
      { "half a chunk", chunked .. "5\r\nok", nil, "closed" },
      { "chunks without an end", chunked .. "2\r\nok\r\n", nil, "closed" },
      { "fewer bytes than announced", ok .. "Content-Length: 3\r\n\r\nok", nil, "closed" },
    } do
      it(row[1], function()
        local p = answers(row[2])
        local body, err = http.request("http://127.0.0.1:" .. p.port .. "/")
        if row[3] then assert.equal(row[3], body) else assert.same({ nil, row[4] }, { body, err }) end
      end)
    end

    it("HTTP/0.9 where it was asked for", function()
      http.HTTP09 = true
      local p = answers("just a body")
      assert.same({ "just a body", 200 }, { http.request("http://127.0.0.1:" .. p.port .. "/") })
    end)

    it("no more than MAXBODY in one string", function()
      http.MAXBODY = 65535
      assert.same({ nil, "oversized" }, { http.request(base .. "/files/64k") })
      http.MAXBODY = 65536
      assert.equal(65536, #http.request(base .. "/files/64k"))
      http.MAXBODY = 1
      assert.equal(65536, #fetch{ url = base .. "/files/64k" })
    end)

    it("trailers as trailers", function()
      local p = answers(chunked .. "2\r\nok\r\n0\r\nX-Late: y\r\n\r\n")
      local _, _, headers = http.request("http://127.0.0.1:" .. p.port .. "/")
      assert.is_nil(headers["x-late"])
      local late = {}
      p = answers("2\r\nok\r\n0\r\nX-Late: y\r\n\r\n")
      local c = assert(socket.connect("127.0.0.1", p.port))
      c:send("\r\n")
      local source = socket.source("http-chunked", c, late)
      assert.equal("ok", source())
      assert.is_nil(source())
      assert.equal("y", late["x-late"])
      c:close()
    end)
  end)

  describe("time", function()
    -- A head that comes byte by byte, each of them in time.
    local drip = [[
      local c = accept()
      c:receive("*l")
      for i = 1, 40 do
        if not c:send(("HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\nX-D: 4\r\n"):sub(i, i)) then break end
        socket.sleep(0.1)
      end
      c:close()]]

    it("of a head is one deadline, however it drips", function()
      http.TIMEOUT = 0.5
      local p = peer.tcp(drip)
      local began = socket.gettime()
      assert.same({ nil, "timeout" }, { http.request("http://127.0.0.1:" .. p.port .. "/") })
      local took = socket.gettime() - began
      assert.is_true(took > 0.4 and took < 1.5, took)
    end)

    it("of a body is that of each wait", function()
      http.TIMEOUT = 0.3
      local began = socket.gettime()
      assert.same({ nil, "timeout" }, { http.request(base .. "/half") })
      assert.is_true(socket.gettime() - began < 2)
    end)
  end)

  describe("an upload", function()
    -- What arrived at a server that answers nothing.
    local function arrives(reqt)
      local p = peer.tcp[[ local c = accept() report((select(3, c:receive(1000000)))) c:close() ]]
      reqt.url = "http://127.0.0.1:" .. p.port .. "/"
      reqt.method = "PUT"
      local done, err = http.request(reqt)
      return p:finish()[1]:match("\r\n\r\n(.*)$"), done, err
    end

    local function failing() return ltn12.source.cat(ltn12.source.string("half"), ltn12.source.error("disk full")) end

    it("that fails never looks complete", function()
      local body, done, err = arrives{ source = failing() }
      assert.same({ nil, "disk full" }, { done, err })
      assert.equal("4\r\nhalf\r\n", body)
      body, done, err = arrives{ source = failing(), headers = { ["content-length"] = 8 } }
      assert.same({ "half", nil, "disk full" }, { body, done, err })
    end)

    it("is as long as was announced", function()
      local _, done, err = arrives{ source = ltn12.source.string("abc"), headers = { ["content-length"] = 4 } }
      assert.same({ nil, "the source is shorter than content-length" }, { done, err })
      local body
      body, done, err = arrives{ source = ltn12.source.string("abc"), headers = { ["Content-Length"] = "2" } }
      assert.same({ "", nil, "the source is longer than content-length" }, { body, done, err })
    end)
  end)

  describe("a proxy", function()
    local via = "http://127.0.0.1:" .. servers.proxy.http
    local login = "http://user:s3cr%65t@127.0.0.1:" .. servers.proxy.http_login

    it("is told the whole URL, without user and fragment", function()
      local p = answers(ok .. "Content-Length: 2\r\n\r\nok")
      assert.equal("ok", (fetch{ url = "http://u:p@origin.example:81/a?b#c", proxy = "http://127.0.0.1:" .. p.port }))
      local head = p:finish()[1]
      assert.matches("^GET http://origin%.example:81/a%?b HTTP/1%.1\nHost: origin%.example:81\n", head)
      assert.matches("\nAuthorization: Basic dTpw\n", head, 1, true)
    end)

    it("is asked for the request, and told who asks", function()
      assert.equal("hello\n", (fetch{ url = base .. "/hello", proxy = via }))
      assert.equal("hello\n", (fetch{ url = base .. "/hello", proxy = login }))
      assert.equal(407, (select(2, fetch{ url = base .. "/hello", proxy = "http://127.0.0.1:" .. servers.proxy.http_login })))
      http.PROXY = via
      assert.equal("hello\n", (http.request(base .. "/hello")))
    end)

    it("is not a way around the grants", function()
      local net = require("spec.support.subject").net
      local package = { loaded = {}, preload = {} }
      local import = require("caspian.net.compat").install(net.narrow{ "--allow-net=127.0.0.1:" .. servers.proxy.http }, package)
      local body, err = import("socket.http").request{ url = base .. "/hello", proxy = via }
      assert.is_nil(body)
      assert.matches("not allowed", err, 1, true)
      assert.matches("not allowed", select(2, import("socket.http").request(base .. "/hello")), 1, true)
    end)
  end)
end)
