-- Contract 4: TLS, against nginx, `openssl s_server` and `s_client`, and LuaSec: three programs, all over OpenSSL.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local read = process.read

local function with(options)
  options.ca_bundle = options.ca_bundle or servers.ca
  return options
end

-- What nginx knows of the connection: protocol, SNI, client verification, subject.
local function asked(s)
  s:send_all("GET /tls HTTP/1.0\r\nHost: x\r\n\r\n")
  local body
  for line in s:lines() do body = line end
  s:close()
  return body
end

-- `openssl s_server`, on a port that it picks and tells.
local function s_server(arguments)
  local p = process.start("openssl s_server -accept 127.0.0.1:0 -cert " .. process.quote(servers.server.cert) .. " -key "
    .. process.quote(servers.server.key) .. " " .. arguments .. " 2>&1")
  p.port = tonumber((p:expect("^ACCEPT .-:(%d+)$")))
  return p
end

-- The SHA-256 of the server's public key, as openssl computes it.
local function pin()
  local p = process.start("sh -c " .. process.quote("openssl x509 -in " .. servers.server.cert
    .. " -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | openssl base64"))
  return (p:rest():gsub("%s", ""))
end

describe("ssl", function()
  wire.watch(before_each, after_each)

  it("verifies, and tells what it agreed on", function()
    local s = net.ssl("localhost", servers.https, with{})
    assert.equal("TLSv1.3", s:protocol())
    assert.truthy(s:cipher():find("^TLS") or s:cipher():find("AES") or s:cipher():find("CHACHA"))
    assert.is_nil(s:alpn())
    assert.equal("localhost", s.host)
    assert.equal(servers.https, s.port)
    assert.is_true(s.connected)
    assert.truthy(asked(s):find("^TLSv1.3 localhost NONE"))
  end)

  it("is called tls as well", function()
    assert.truthy(asked(net.tls("127.0.0.1", servers.https, with{})):find("TLSv1.3"))
  end)

  it("sends no SNI for an address", function()
    assert.truthy(asked(net.ssl("127.0.0.1", servers.https, with{})):find("^TLSv1.3  NONE"))
  end)

  it("sends the name in its canonical form", function()
    assert.truthy(asked(net.ssl("LOCALHOST.", servers.https, with{})):find("^TLSv1.3 localhost NONE"))
  end)

  it("takes certificates as text as well as by path", function()
    assert.truthy(asked(net.ssl("127.0.0.1", servers.https, { ca_bundle = read(servers.ca) })):find("TLSv1.3"))
  end)

  if servers.ipv6 then
    it("verifies an IPv6 address", function()
      assert.truthy(asked(net.ssl("::1", servers.https, with{})):find("TLSv1.3"))
    end)
  end

  it("knows the peer's certificate", function()
    local s = net.ssl("localhost", servers.https, with{})
    local cert = s:peer_cert()
    s:close()
    assert.truthy(cert.subject:find("localhost"))
    assert.truthy(cert.issuer:find("caspian%-net spec root"))
    assert.truthy(cert.pem:find("^%-%-%-%-%-BEGIN CERTIFICATE%-%-%-%-%-"))
    local p = process.start("openssl x509 -noout -fingerprint -sha256 -serial -in " .. process.quote(servers.server.cert))
    local fingerprint = p:expect("Fingerprint=(.*)$"):gsub(":", ""):lower()
    local serial = p:expect("^serial=(.*)$"):lower()
    p:rest()
    assert.equal(fingerprint, (cert.fingerprint:gsub(":", ""):lower()))
    assert.truthy(serial:find("^fd"))
    assert.equal(serial, cert.serial)
    local sans = {}
    for _, san in ipairs(cert.sans) do sans[#sans + 1] = san:gsub("^%a+:", "") end
    table.sort(sans)
    assert.same({ "127.0.0.1", "::1", "localhost" }, sans)
    for _, field in ipairs{ "valid_from", "valid_until" } do assert.truthy(cert[field]) end
  end)

  describe("refuses", function()
    local rows = {
      { "a root that nobody trusts", "https", {} },
      { "another root", "https", { ca_bundle = servers.other_ca } },
      { "a certificate that has ended", "expired", { ca_bundle = servers.ca } },
      { "a certificate for another name", "elsewhere", { ca_bundle = servers.ca } },
      { "a protocol too old for it", "tls12", { ca_bundle = servers.ca, protocols = { "TLSv1.3" } } },
      { "a server without TLS", "http", { ca_bundle = servers.ca } },
    }
    for _, row in ipairs(rows) do
      it(row[1], function()
        local err = fails.with("network/tls", net.ssl, "localhost", servers[row[2]], row[3])
        assert.equal("localhost", err.host)
        assert.equal(servers[row[2]], err.port)
        assert.equal("ssl", err.op)
      end)
    end
  end)

  it("verify = false takes what verification refuses", function()
    for _, which in ipairs{ "https", "expired", "elsewhere" } do
      assert.truthy(asked(net.ssl("localhost", servers[which], { verify = false })):find("TLSv1.3"))
    end
    -- And a verifying call after it still refuses.
    fails.with("network/tls", net.ssl, "localhost", servers.expired, with{})
  end)

  it("sni names the server that is meant, and verified", function()
    local s = net.ssl("127.0.0.1", servers.elsewhere, with{ sni = "elsewhere.example" })
    assert.truthy(asked(s):find("elsewhere.example"))
    fails.with("network/tls", net.ssl, "127.0.0.1", servers.https, with{ sni = "elsewhere.example" })
  end)

  it("resumes a session, but never across what was verified", function()
    local function resumed(options)
      return asked(net.ssl("localhost", servers.https, options)):match("%S+$") == "r"
    end
    local bundle = { ca_bundle = servers.ca }
    resumed(bundle)
    assert.is_true(resumed(bundle))
    assert.is_false(resumed{ verify = false })
    assert.is_true(resumed(bundle))
  end)

  it("protocols", function()
    local rows = {
      { "https", { "TLSv1.2" }, "TLSv1.2" },
      { "https", { "TLSv1.3" }, "TLSv1.3" },
      { "https", { "TLSv1.2", "TLSv1.3" }, "TLSv1.3" },
      { "tls12", nil, "TLSv1.2" },
    }
    for _, row in ipairs(rows) do
      local s = net.ssl("localhost", servers[row[1]], with{ protocols = row[2] })
      assert.equal(row[3], s:protocol())
      s:close()
    end
  end)

  it("alpn", function()
    local p = s_server("-alpn second,third -rev")
    local s = net.ssl("127.0.0.1", p.port, with{ alpn = { "first", "second" } })
    assert.equal("second", s:alpn())
    s:close()
  end)

  it("alpn without a common protocol is an error", function()
    local p = peer.tls([[ report((select(2, accept()))) ]], [[ alpn = { "other" } ]])
    local ok, err = pcall(function()
      local s = net.ssl("127.0.0.1", p.port, with{ alpn = { "mine" } })
      -- A server may go on without ALPN instead.
      assert(s:alpn() == nil)
      s:close()
      error({ is = function() return true end })
    end)
    assert.is_false(ok)
    assert.is_true(err:is("network/tls"))
  end)

  it("pins", function()
    local hash = pin()
    local right = "sha256/" .. hash
    local wrong = "sha256/" .. ("A"):rep(43) .. "="
    for _, pins in ipairs{ { right }, { wrong, right }, { "sha256//" .. hash } } do
      net.ssl("localhost", servers.https, with{ pins = pins }):close()
    end
    -- The last two: a hash that begins with a slash of its own.
    for _, other in ipairs{ wrong, ("a1"):rep(32), "sha256//" .. ("A"):rep(42) .. "=", "sha256///" .. ("A"):rep(42) .. "=" } do
      fails.with("network/tls", net.ssl, "localhost", servers.https, with{ pins = { other } })
    end
    -- A pin does not replace verification.
    fails.with("network/tls", net.ssl, "localhost", servers.https, { pins = { right } })
  end)

  describe("client certificates", function()
    it("right", function()
      local text = asked(net.ssl("localhost", servers.mutual, with{ client_cert = servers.client.cert, client_key = servers.client.key }))
      assert.truthy(text:find("SUCCESS CN=a client", 1, true))
    end)

    it("right, as text", function()
      local options = with{ client_cert = read(servers.client.cert), client_key = read(servers.client.key) }
      assert.truthy(asked(net.ssl("localhost", servers.mutual, options)):find("SUCCESS", 1, true))
    end)

    for name, own in pairs{ missing = {}, ["of another root"] = servers.stranger } do
      it(name, function()
        local p = s_server("-Verify 1 -verify_return_error -CAfile " .. process.quote(servers.ca) .. " -rev")
        local ok, err = pcall(function()
          local s = net.ssl("127.0.0.1", p.port, with{ client_cert = own.cert, client_key = own.key })
          -- In TLS 1.3 the client is done before the server has judged its certificate.
          local taken, why = pcall(s.recv, s, 1)
          s:close()
          error(taken and "the server took it" or why, 0)
        end)
        assert.is_false(ok)
        assert.equal("puck.uno/error/network/tls", err.class)
      end)
    end

    it("a key that does not fit", function()
      fails.plainly("client_key", net.ssl, "localhost", servers.mutual,
        with{ client_cert = servers.client.cert, client_key = servers.stranger.key })
    end)
  end)

  it("speaks with openssl s_server", function()
    local p = s_server("-rev")
    local s = net.ssl("127.0.0.1", p.port, with{})
    s:send_all("hello\n")
    assert.equal("olleh\n", s:recv_line())
    s:close()
  end)

  it("moves a megabyte each way", function()
    local p = peer.tls[[ local c = assert(accept()) local all = c:receive(1048576) report(#all) c:send(all) c:close() ]]
    local s = net.ssl("127.0.0.1", p.port, with{})
    local block = {}
    for i = 1, 16384 do block[i] = ("%063d\n"):format(i) end
    block = table.concat(block)
    s:send_all(block)
    assert.is_true(s:recv_exact(#block) == block)
    assert.is_nil(s:recv(1))
    s:close()
    assert.same({ "1048576" }, p:finish())
  end)

  it("a goodbye is the end of the stream", function()
    local p = peer.tls[[ local c = assert(accept()) c:send("last words") c:close() ]]
    local s = net.ssl("127.0.0.1", p.port, with{})
    assert.equal("last words", s:recv_line())
    assert.is_nil(s:recv_line())
    s:close()
  end)

  it("no goodbye is connection_reset, after what had arrived", function()
    local p = peer.tls[[ local c = assert(accept()) c:send("last words") vanish() ]]
    local s = net.ssl("127.0.0.1", p.port, with{})
    assert.equal("last words", s:recv_exact(10))
    fails.with("network/connection_reset", s.recv, s, 1)
    s:close()
  end)

  it("says goodbye itself", function()
    local p = peer.tls[[ local c = assert(accept()) report((c:receive("*a"))) ]]
    local s = net.ssl("127.0.0.1", p.port, with{})
    s:send_all("all")
    s:close()
    assert.same({ "all" }, p:finish())
  end)

  it("loses nothing to a timeout", function()
    local p = peer.tls[[ local c = assert(accept()) c:send("abc") c:receive(1) c:send("def\n") c:receive("*a") ]]
    local s = net.ssl("127.0.0.1", p.port, with{})
    for _ = 1, 3 do fails.with("network/timeout", s.recv_line, s, { timeout = 0.03 }) end
    fails.with("network/timeout", s.recv_exact, s, 7, { timeout = 0 })
    s:send_all("x")
    assert.equal("abcdef\n", s:recv_line())
    s:close()
  end)

  it("a handshake that stalls ends with the deadline", function()
    local p = peer.tcp[[ local c = accept() c:receive("*a") ]]
    local err = fails.with("network/timeout", net.ssl, "127.0.0.1", p.port, with{ timeout = 0.1 })
    assert.equal(0.1, err.timeout)
  end)

  it("garbage in place of a handshake", function()
    for _, garbage in ipairs{ "HTTP/1.1 400 Bad Request\r\n\r\n", "\22\3\1\255\255", ("\0"):rep(100), "\21\3\3\0\2\2\40" } do
      local p = peer.tcp(("local c = accept() c:send(%q) c:receive('*a')"):format(garbage):gsub("\\\n", "\\n"), nil)
      local ok, err = pcall(net.ssl, "127.0.0.1", p.port, with{ timeout = 5 })
      assert.is_false(ok)
      assert.equal("puck.uno/error/network/tls", err.class == "puck.uno/error/network/timeout" and garbage:byte() == 22
        and "puck.uno/error/network/tls" or err.class)
      process.kill_all()
    end
  end)

  it("a peer that leaves in mid-handshake", function()
    local p = peer.tcp[[ local c = accept() c:receive(5) c:close() ]]
    local ok, err = pcall(net.ssl, "127.0.0.1", p.port, with{})
    assert.is_false(ok)
    assert.truthy(err:is("network/connection_reset") or err:is("network/tls"))
  end)
end)

describe("starttls", function()
  wire.watch(before_each, after_each)

  local upgrade = [[
    local c = plain()
    c:send("220 ready\n")
    assert(c:receive("*l") == "STARTTLS")
    c:send("220 go\n")
    c = assert(ssl.wrap(c, context))
    c:settimeout(10)
    local ok, why = c:dohandshake()
    report(tostring(ok), why)
    if ok then report((c:receive("*l"))) c:send("secret\n") c:close() end
  ]]

  it("turns a tcp socket into an ssl one, and ends the first", function()
    local p = peer.tls(upgrade)
    local s = net.tcp("localhost", p.port)
    assert.equal("220 ready\n", s:recv_line())
    s:send_all("STARTTLS\n")
    assert.equal("220 go\n", s:recv_line())
    local secure = s:starttls(with{})
    fails.with("network/socket", s.send_all, s, "in the clear")
    s:close()
    secure:send_all("over TLS\n")
    assert.equal("secret\n", secure:recv_line())
    assert.equal("TLSv1.3", secure:protocol())
    secure:close()
    assert.same({ "true", "nil", "over TLS" }, p:finish())
  end)

  it("verifies the name that was connected to", function()
    local p = peer.tls(upgrade)
    local s = net.tcp("127.0.0.1", p.port)
    s:recv_line()
    s:send_all("STARTTLS\n")
    s:recv_line()
    fails.with("network/tls", s.starttls, s, { ca_bundle = servers.other_ca })
    s:close()
  end)

  it("refuses bytes that came before the handshake", function()
    -- What an attacker puts into the clear part must not be read as if it had come over TLS.
    local p = peer.tcp[[ local c = accept() c:send("220 go\ninjected\n") c:receive("*a") ]]
    local s = net.tcp("127.0.0.1", p.port)
    assert.equal("220 go\n", s:recv_line())
    fails.with("network/protocol", s.starttls, s, with{})
    s:close()
  end)
end)

describe("a TLS server", function()
  wire.watch(before_each, after_each)
  local own = { cert = servers.server.cert, key = servers.server.key }

  -- `openssl s_client`, which says hello and shows what it hears until the server closes.
  local function client(port, arguments)
    local hello = process.file("hello\n")
    return process.start("openssl s_client -quiet -verify_return_error -connect 127.0.0.1:" .. port .. " -CAfile "
      .. process.quote(servers.ca) .. " " .. (arguments or "") .. " <" .. hello .. " 2>&1", { hello })
  end

  it("listens, and speaks with openssl s_client", function()
    local l = net.tcp_listen("127.0.0.1", 0, { tls = own })
    local p = client(l.local_port)
    local s = l:accept()
    assert.equal("hello\n", s:recv_line())
    s:send_all("world\n")
    assert.equal("world", (p:expect("^(world)$")))
    assert.truthy(s:protocol())
    s:close() l:close()
  end)

  it("upgrades an accepted socket", function()
    local l = net.tcp_listen("127.0.0.1", 0)
    local p = client(l.local_port)
    local plain = l:accept()
    local s = plain:starttls{ server = true, cert = read(own.cert), key = read(own.key) }
    assert.equal("hello\n", s:recv_line())
    s:send_all("world\n")
    p:expect("^world$")
    s:close() l:close()
  end)

  it("asks for the client's certificate", function()
    local tls = { cert = own.cert, key = own.key, client_ca = servers.ca }
    local l = net.tcp_listen("127.0.0.1", 0, { tls = tls })
    client(l.local_port, "-cert " .. servers.client.cert .. " -key " .. servers.client.key)
    local s = l:accept()
    assert.equal("hello\n", s:recv_line())
    assert.truthy(s:peer_cert().subject:find("a client"))
    s:close()
    process.kill_all()
    -- One without is no connection, and no error of the server's.
    local p = client(l.local_port)
    fails.with("network/timeout", l.accept, l, { timeout = 1 })
    assert.truthy(p:rest():find("certificate required", 1, true))
    l:close()
  end)

  it("names what is wrong with its certificate", function()
    local rows = {
      { "cert", { key = own.key } },
      { "key", { cert = own.cert } },
      { "cert", { cert = "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n", key = own.key } },
      { "key", { cert = own.cert, key = "-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----\n" } },
      { "key", { cert = own.cert, key = servers.client.key } },
    }
    for _, row in ipairs(rows) do fails.plainly(row[1], net.tcp_listen, "127.0.0.1", 0, { tls = row[2] }) end
  end)
end)
