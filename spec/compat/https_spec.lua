-- The drop-in's `ssl.https`, and https in `socket.http`: verified, by name, through every redirect and proxy.

local dropin = require("spec.support.dropin")
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local https, http = dropin.require("ssl.https"), dropin.require("socket.http")
local ltn12, socket = dropin.require("ltn12"), dropin.require("socket")

local base = "https://localhost:" .. servers.https
local plain = "http://127.0.0.1:" .. servers.http
local proxy = "http://127.0.0.1:" .. servers.proxy.http

-- `request`'s answer with the body in the place of the 1.
local function fetch(request, reqt)
  local got = {}
  reqt.sink = ltn12.sink.table(got)
  local done, code, headers = request(reqt)
  if not done then return nil, code end
  return table.concat(got), code, headers
end

-- A plain server that redirects once; reports the head.
local function redirects(to)
  return peer.tcp(([[
    local c = accept()
    report(table.concat(head(c), "\n"))
    c:send("HTTP/1.1 302 Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n")
    c:close()]]):format(to))
end

describe("ssl.https", function()
  after_each(function()
    process.kill_all()
    https.TIMEOUT, http.PROXY = 60, nil
  end)

  it("has what LuaSec's has", function()
    assert.equal(443, https.PORT)
    assert.equal(60, https.TIMEOUT)
    assert.is_string(https._VERSION)
    assert.is_function(https.request)
    assert.is_function(https.tcp)
  end)

  it("answers as socket.http does, and leaves the table as it was", function()
    local got = {}
    local sink = ltn12.sink.table(got)
    local reqt = { url = base .. "/tls", cafile = servers.ca, sink = sink }
    for _ = 1, 2 do
      local done, code, headers, status = https.request(reqt)
      assert.same({ 1, 200, "text/plain", "HTTP/1.1 200 OK" }, { done, code, headers["content-type"], status })
    end
    assert.same({ url = base .. "/tls", cafile = servers.ca, sink = sink }, reqt)
    assert.matches("^TLSv1%.3 localhost NONE", table.concat(got))
  end)

  it("posts, and takes LuaSec's parameters", function()
    local body = fetch(https.request, {
      url = base .. "/echo", method = "POST", source = ltn12.source.string("a=1"), cafile = servers.ca, protocol = "tlsv1_2",
    })
    assert.equal("a=1", body)
    assert.matches("^TLSv1%.2", (fetch(https.request, { url = base .. "/tls", cafile = servers.ca, protocol = "tlsv1_2" })))
    assert.matches("SUCCESS CN=a client", (fetch(https.request, {
      url = "https://localhost:" .. servers.mutual .. "/tls", cafile = servers.ca, certificate = servers.client.cert, key = servers.client.key,
    })), 1, true)
  end)

  it("refuses what LuaSec's refuses", function()
    assert.same({ nil, "proxy not supported" }, { https.request{ url = base, proxy = proxy } })
    assert.same({ nil, "redirect not supported" }, { https.request{ url = base, redirect = true } })
    assert.same({ nil, "create function not permitted" }, { https.request{ url = base, create = socket.tcp } })
    http.PROXY = proxy
    assert.same({ nil, "proxy not supported" }, { https.request(base) })
  end)

  -- Who asks, and what is wrong with the peer. With `verify = "none"` said, each of them answers.
  local wrong = {
    { "a root that is not trusted", { url = base .. "/hello" } },
    { "another root", { url = base .. "/hello", cafile = servers.other_ca } },
    { "another name", { url = "https://localhost:" .. servers.elsewhere .. "/hello", cafile = servers.ca } },
    { "a certificate that ended", { url = "https://localhost:" .. servers.expired .. "/hello", cafile = servers.ca } },
  }
  for name, request in pairs{ ["ssl.https"] = https.request, ["socket.http"] = http.request } do
    for _, row in ipairs(wrong) do
      it(name .. " refuses " .. row[1], function()
        local reqt = {}
        for field, value in pairs(row[2]) do reqt[field] = value end
        local body, err = fetch(request, reqt)
        assert.is_nil(body)
        assert.matches("certificate", err)
        reqt.verify = "none"
        assert.equal("hello\n", (fetch(request, reqt)))
      end)
    end

    it(name .. " takes an address that the certificate has", function()
      assert.equal("hello\n", (fetch(request, { url = "https://127.0.0.1:" .. servers.https .. "/hello", cafile = servers.ca })))
    end)
  end

  it("gathers no more than socket.http does", function()
    local request, asked = http.request, nil
    http.request = function(reqt)
      asked = reqt
      return nil, "not now"
    end
    http.MAXBODY = 3
    https.request(base .. "/hello")
    http.request, http.MAXBODY = request, 268435456
    assert.equal(1, asked.sink("abc"))
    assert.same({ nil, "oversized" }, { asked.sink("d") })
  end)

  it("refuses by a string, too", function()
    assert.matches("certificate", select(2, https.request(base .. "/hello")))
    assert.matches("certificate", select(2, http.request(base .. "/hello")))
  end)

  it("speaks TLS whatever the scheme says", function()
    local body = fetch(https.request, { url = "http://localhost:" .. servers.https .. "/tls", cafile = servers.ca })
    assert.matches("^TLSv1", body)
  end)

  it("makes connections for others", function()
    local c = https.tcp{ cafile = servers.ca }()
    c:settimeout(5)
    assert.equal(1, c:connect("localhost", servers.https))
    c:send("GET /hello HTTP/1.0\r\nHost: x\r\n\r\n")
    assert.equal("HTTP/1.1 200 OK", (c:receive("*l")))
    c:close()
    local answer, err = https.tcp()():connect("localhost", servers.https)
    assert.is_nil(answer)
    assert.matches("certificate", err)
    assert.equal("hello\n", (fetch(http.request, { url = base .. "/hello", create = https.tcp{ cafile = servers.ca } })))
  end)

  it("waits TIMEOUT for the handshake", function()
    https.TIMEOUT = 0.3
    local p = peer.tcp[[ local c = accept() c:receive("*a") ]]
    local began = socket.gettime()
    local body, err = https.request("https://127.0.0.1:" .. p.port .. "/")
    assert.is_nil(body)
    assert.is_true(err == "wantread" or err == "timeout", err)
    assert.is_true(socket.gettime() - began < 2)
  end)

  describe("redirects", function()
    it("are followed to https, relative ones too", function()
      for _, path in ipairs{ "/redirect/302", "/hops/aaa", "/relative/a/b" } do
        assert.equal(200, (select(2, fetch(http.request, { url = base .. path, cafile = servers.ca }))), path)
      end
    end)

    it("never lead from https to http", function()
      for _, request in ipairs{ http.request, https.request } do
        local _, code, headers = fetch(request, { url = base .. "/downgrade/302", cafile = servers.ca })
        assert.same({ 302, plain .. "/inspect" }, { code, headers.location })
      end
    end)

    it("keep what was said about trust, and verify", function()
      local p = redirects(base .. "/tls")
      assert.matches("^TLSv1", (fetch(http.request, { url = "http://127.0.0.1:" .. p.port .. "/", cafile = servers.ca })))
      for _, to in ipairs{ base, "https://localhost:" .. servers.elsewhere } do
        p = redirects(to .. "/tls")
        local body, err = fetch(http.request, { url = "http://127.0.0.1:" .. p.port .. "/", cafile = to ~= base and servers.ca or nil })
        assert.is_nil(body)
        assert.matches("certificate", err)
      end
      -- The second hop of an https request.
      local q = peer.tls(([[
        local c = accept()
        repeat until c:receive("*l") == ""
        c:send("HTTP/1.1 302 Go\r\nLocation: https://localhost:%d/hello\r\nContent-Length: 0\r\n\r\n")
        c:close()]]):format(servers.elsewhere))
      local body, err = fetch(https.request, { url = "https://localhost:" .. q.port .. "/", cafile = servers.ca })
      assert.is_nil(body)
      assert.matches("certificate", err)
    end)

    it("show a certificate of the caller's to no other origin", function()
      local to = "https://localhost:" .. servers.mutual .. "/tls"
      local p = redirects(to)
      local q = peer.tls(([[
        local c = accept()
        repeat until c:receive("*l") == ""
        c:send("HTTP/1.1 302 Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n")
        c:close()]]):format(to))
      for _, row in ipairs{ { http.request, "http://127.0.0.1:" .. p.port }, { https.request, "https://localhost:" .. q.port } } do
        local body, code = fetch(row[1], {
          url = row[2] .. "/", cafile = servers.ca, certificate = servers.client.cert, key = servers.client.key,
        })
        assert.equal(400, code, body)
        assert.matches("No required SSL certificate was sent", body)
      end
    end)

    it("go over what create makes, with TLS on top", function()
      local made = 0
      local p = redirects(base .. "/tls")
      local body = fetch(http.request, {
        url = "http://127.0.0.1:" .. p.port .. "/", cafile = servers.ca, create = function() made = made + 1 return socket.tcp() end,
      })
      assert.matches("^TLSv1%.3 localhost", body)
      assert.equal(2, made)
    end)
  end)

  describe("through a proxy", function()
    it("is a tunnel: CONNECT, and no word of the request", function()
      assert.matches("^TLSv1%.3 localhost", (fetch(http.request, { url = base .. "/tls", proxy = proxy, cafile = servers.ca })))
      local p = peer.tcp[[
        local c = accept()
        report(table.concat(head(c), "\n"))
        c:send("HTTP/1.1 403 No\r\n\r\n")
        c:close()]]
      local body, err = fetch(http.request, {
        url = "https://user:s3cret@origin.example/secret", proxy = "http://u:p@127.0.0.1:" .. p.port, headers = { cookie = "s3cret" },
      })
      assert.same({ nil, "the proxy refused: HTTP/1.1 403 No" }, { body, err })
      assert.same({ "CONNECT origin.example:443 HTTP/1.1\nHost: origin.example:443\nProxy-Authorization: Basic dTpw\n" }, p:finish())
    end)

    it("still verifies the host", function()
      for _, row in ipairs(wrong) do
        local reqt = { proxy = proxy }
        for field, value in pairs(row[2]) do reqt[field] = value end
        local body, err = fetch(http.request, reqt)
        assert.is_nil(body)
        assert.matches("certificate", err)
      end
    end)

    it("takes the parameters of a factory, and the sockets of any other create", function()
      assert.equal("hello\n", (fetch(http.request, { url = base .. "/hello", proxy = proxy, create = https.tcp{ cafile = servers.ca } })))
      local made = 0
      local function create() made = made + 1 return socket.tcp() end
      assert.equal("hello\n", (fetch(http.request, { url = base .. "/hello", proxy = proxy, cafile = servers.ca, create = create })))
      assert.equal(1, made)
    end)

    it("takes nothing that the proxy says after its answer", function()
      local p = peer.tcp[[
        local c = accept()
        repeat until c:receive("*l") == ""
        c:send("HTTP/1.1 200 Yes\r\n\r\nHTTP/1.1 200 OK\r\n\r\nplain")
        c:receive("*a")
        c:close()]]
      local body, err = fetch(http.request, { url = "https://origin.example/", proxy = "http://127.0.0.1:" .. p.port })
      assert.is_nil(body)
      assert.equal("the proxy sent more than its answer", err)
    end)
  end)
end)
