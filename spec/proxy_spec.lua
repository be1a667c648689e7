-- Contract 5, option `proxy`: through tinyproxy and microsocks; what they are told, and what nobody is.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local origin = "127.0.0.1:" .. servers.http
local http = "http://" .. origin
local https = "https://localhost:" .. servers.https
local proxy = servers.proxy
local login = "user:s3cret@"

-- The text: narrowed capabilities read no files.
local file = assert(io.open(servers.ca, "rb"))
local ca = file:read("*a")
file:close()

-- Every way through the real proxies.
local ways = {
  { "http", "http://127.0.0.1:" .. proxy.http },
  { "http with a login", "http://" .. login .. "127.0.0.1:" .. proxy.http_login },
  { "socks5", "socks5://127.0.0.1:" .. proxy.socks },
  { "socks5 with a login", "socks5://" .. login .. "127.0.0.1:" .. proxy.socks_login },
  { "socks5h", "socks5h://127.0.0.1:" .. proxy.socks },
  { "socks5h with a login", "socks5h://" .. login .. "localhost:" .. proxy.socks_login },
  { "http without a scheme", "127.0.0.1:" .. proxy.http },
  { "http by Digest", "http://" .. login .. "127.0.0.1:" .. proxy.http_digest },
  { "http in a tunnel by Digest", { url = "127.0.0.1:" .. proxy.http_digest, tunnel = true,
    auth = { "user", "s3cret", scheme = "challenge" } } },
  { "socks4", "socks4://127.0.0.1:" .. proxy.socks4 },
  { "socks4 with a user", "socks4://user@127.0.0.1:" .. proxy.socks4 },
}

describe("the option proxy", function()
  local mine
  before_each(function() mine = net.narrow{ "--allow-net" } end)
  after_each(function() mine.revoke() mine = nil end)
  wire.watch(before_each, after_each)

  for _, way in ipairs(ways) do
    it("reaches http by " .. way[1], function()
      local r = mine.fetch(http .. "/inspect?a=b", { proxy = way[2] })
      assert.equal(200, r.status)
      assert.truthy(r.body:find("^GET /inspect%?a=b "), r.body)
      assert.truthy(r.body:find("host: " .. origin, 1, true), r.body)
      assert.is_nil(r.peer_cert())
      -- On a connection of its own: tinyproxy closes each after one answer without saying so, and a POST that meets that
      -- is not sent twice.
      r = mine.http.client.new():post(http .. "/echo", "a body", { proxy = way[2] })
      assert.equal("a body", r.body)
    end)

    it("reaches https by " .. way[1], function()
      local r = mine.fetch(https .. "/headers", { proxy = way[2], ca_bundle = ca })
      assert.equal(200, r.status)
      assert.is_nil(r.body:lower():find("proxy%-authorization"), r.body)
      assert.truthy(r.peer_cert().subject:find("localhost", 1, true))
      -- The tunnel is kept, and used again.
      assert.is_false(r.timings.reused)
      assert.is_true(mine.fetch(https .. "/hello", { proxy = way[2], ca_bundle = ca }).timings.reused)
    end)

    it("follows redirects by " .. way[1], function()
      local r = mine.fetch(http .. "/other/307", { proxy = way[2] })
      assert.equal(200, r.status)
      assert.equal(1, #r.redirect_chain)
    end)

    it("follows no redirect out of the grants by " .. way[1], function()
      local port = (way[2].url or way[2]):match(":(%d+)$")
      local few = mine.narrow{ "--allow-net=127.0.0.1:" .. servers.http .. "+" .. port, "--allow-net=localhost:" .. port }
      assert.equal(200, few.fetch(http .. "/hello", { proxy = way[2] }).status)
      fails.with("network/port_not_allowed", few.fetch, http .. "/other/302", { proxy = way[2] })
      few.revoke()
    end)
  end

  it("keeps connections apart: by proxy and by credentials", function()
    local client = mine.http.client.new()
    client:get(https .. "/hello", { proxy = ways[1][2], ca_bundle = ca })
    assert.is_false(client:get(https .. "/hello", { ca_bundle = ca }).timings.reused)
    assert.is_false(client:get(https .. "/hello", { proxy = ways[3][2], ca_bundle = ca }).timings.reused)
    local open = "socks5://other:login@127.0.0.1:" .. proxy.socks
    assert.is_false(client:get(https .. "/hello", { proxy = open, ca_bundle = ca }).timings.reused)
    assert.is_true(client:get(https .. "/hello", { proxy = ways[1][2], ca_bundle = ca }).timings.reused)
    client:close()
  end)

  it("asks the gate about the proxy and about the target", function()
    local only_proxy = mine.narrow{ "--allow-net=127.0.0.1:" .. proxy.http }
    fails.with("network/port_not_allowed", only_proxy.fetch, http .. "/hello", { proxy = ways[1][2] })
    local only_target = mine.narrow{ "--allow-net=" .. origin }
    fails.with("network/port_not_allowed", only_target.fetch, http .. "/hello", { proxy = ways[1][2] })
    local elsewhere = mine.narrow{ "--allow-net=localhost" }
    fails.with("network/host_not_allowed", elsewhere.fetch, "http://localhost:1/", { proxy = ways[1][2] })
  end)

  it("says what the proxy said, and no secret", function()
    for _, row in ipairs{
      { "http://127.0.0.1:" .. proxy.http_login, "407" },
      { "http://user:wr0ng@127.0.0.1:" .. proxy.http_login, "" },
      { "socks5://127.0.0.1:" .. proxy.socks_login, "credentials" },
      { "socks5://user:wr0ng@127.0.0.1:" .. proxy.socks_login, "credentials" },
    } do
      local err = fails.with("network/socket", mine.fetch, https .. "/hello", { proxy = row[1], ca_bundle = ca })
      assert.truthy(tostring(err):find(row[2], 1, true), tostring(err))
      for _, value in pairs(err) do assert.is_nil(tostring(value):find("wr0ng", 1, true)) end
    end
    -- Without a tunnel the proxy's answer is the response.
    assert.equal(407, mine.fetch(http .. "/hello", { proxy = "http://127.0.0.1:" .. proxy.http_login }).status)
    fails.with("network/connection_refused", mine.fetch, "http://127.0.0.1:1/", { proxy = ways[3][2] })
    fails.with("network/connection_refused", mine.fetch, http, { proxy = "http://127.0.0.1:1" })
  end)

  it("says by Digest what a proxy asks for, and learns it", function()
    local client = mine.http.client.new{ proxy = "http://" .. login .. "127.0.0.1:" .. proxy.http_digest, har = true }
    for _ = 1, 3 do assert.equal(200, client:get(http .. "/hello").status) end
    local statuses = {}
    for at, entry in ipairs(client:har().log.entries) do statuses[at] = entry.response.status end
    assert.same({ 407, 200, 200, 200 }, statuses)
    client:close()
    -- The body goes again with the answer to the challenge.
    local r = mine.http.client.new():post(http .. "/echo", "a body", { proxy = "http://" .. login .. "127.0.0.1:" .. proxy.http_digest })
    assert.equal("a body", r.body)
    -- A wrong password, and one that is not shown before a challenge.
    for _, way in ipairs{ "user:wr0ng@127.0.0.1:" .. proxy.http_digest,
      { url = "127.0.0.1:" .. proxy.http_digest, auth = { "user", "wr0ng", scheme = "digest" } } } do
      assert.equal(407, mine.fetch(http .. "/hello", { proxy = way }).status)
      local err = fails.with("network/socket", mine.fetch, https .. "/hello", { proxy = way, ca_bundle = ca })
      assert.truthy(tostring(err):find("refuses the credentials", 1, true), tostring(err))
    end
  end)

  it("tells a proxy headers that nobody else sees", function()
    local way = { url = "127.0.0.1:" .. proxy.http, headers = { ["X-Team"] = "one" } }
    assert.is_nil(mine.fetch(https .. "/headers", { proxy = way, ca_bundle = ca }).body:lower():find("x-team", 1, true))
    way.tunnel = true
    assert.is_nil(mine.fetch(servers.httpbin .. "/headers", { proxy = way }):json().headers["X-Team"])
    -- A proxy that forwards decides itself what it hands on.
    way.tunnel = nil
    assert.truthy(mine.fetch(servers.httpbin .. "/headers", { proxy = way }):json().headers["X-Team"])
    -- Tokens of other schemes.
    way.headers = { ["Proxy-Authorization"] = "Basic dXNlcjpzM2NyZXQ=" }
    way.url = "127.0.0.1:" .. proxy.http_login
    assert.equal(200, mine.fetch(https .. "/hello", { proxy = way, ca_bundle = ca }).status)
  end)

  it("is none where a request says false", function()
    local client = mine.http.client.new{ proxy = "http://127.0.0.1:1" }
    fails.with("network/connection_refused", client.get, client, http .. "/hello")
    assert.equal(200, client:get(http .. "/hello", { proxy = false }).status)
    client:close()
  end)

  it("speaks SOCKS4a as curl does", function()
    local script = [[
      local c = accept()
      local asked = c:receive(8)
      for _ = 1, 2 do
        repeat
          local byte = c:receive(1)
          asked = asked .. byte
        until byte == "\0"
      end
      c:send("\0\90\0\0\0\0\0\0")
      head(c)
      c:send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
      report(asked)
      c:close()
    ]]
    local ours = peer.tcp(script)
    assert.equal("ok", mine.fetch("http://origin.invalid:8080/", { proxy = "socks4a://me@127.0.0.1:" .. ours.port }).body)
    local theirs = peer.tcp(script)
    local curl = process.start("curl -s --max-time 10 -x socks4a://me@127.0.0.1:" .. theirs.port .. " http://origin.invalid:8080/")
    assert.equal("ok", curl:rest())
    assert.same(theirs:finish(), ours:finish())
  end)

  it("resolves for SOCKS4, under the gate", function()
    local few = mine.narrow{ "--allow-net=localhost:" .. servers.http, "--allow-net=127.0.0.1:" .. proxy.socks4 }
    local way = "socks4://127.0.0.1:" .. proxy.socks4
    assert.equal(200, few.fetch("http://localhost:" .. servers.http .. "/hello", { proxy = way }).status)
    fails.with("network/port_not_allowed", few.fetch, http, { proxy = way })
    few.revoke()
  end)

  it("goes by address where addresses are denied", function()
    local watched = mine.narrow{ "--allow-net", "--deny-net=10.0.0.0/8" }
    for _, way in ipairs(ways) do
      assert.equal(200, watched.fetch("http://localhost:" .. servers.http .. "/hello", { proxy = way[2] }).status)
      fails.with("network/address_not_allowed", watched.fetch, "http://origin.example/",
        { proxy = way[2], resolve = { ["origin.example:80"] = "10.1.2.3" } })
    end
  end)

  it("cannot be named wrongly", function()
    for _, row in ipairs{
      { "socks6://user:s3cret@127.0.0.1", "not one of" },
      { "socks4://user:s3cret@127.0.0.1", "no password" },
      { {}, "proxy has no url" },
      { { url = "127.0.0.1", tunel = true }, "did you mean \"tunnel\"" },
      { { url = "http://user:s3cret@127.0.0.1/path" }, "ends after" },
      { { url = "127.0.0.1", auth = { "user" } }, "user and password" },
      { { url = "127.0.0.1", auth = { "us:er", "s3cret" } }, "colon" },
      { { url = "127.0.0.1", auth = { bearer = "s3cret" } }, "no bearer" },
      { { url = "socks5://127.0.0.1", auth = { "user", "s3cret", scheme = "digest" } }, "speak HTTP" },
      { { url = "socks5://127.0.0.1", headers = { X = "s3cret" } }, "speak HTTP" },
      { { url = "127.0.0.1", headers = { Host = "s3cret" } }, "cannot be set" },
      { { url = "127.0.0.1", headers = { X = "s3cret\r\nY: z" } }, "control character" },
      { { url = "user:s3cret@127.0.0.1", headers = { ["Proxy-Authorization"] = "Bearer s3cret" } }, "exclude" },
      { "http://user:s3cret@127.0.0.1/path", "ends after" },
      { "http://user:s3cret%0d%0a@127.0.0.1", "control character" },
      { "http://user:s3cret@:80", "malformed" },
    } do
      local message = fails.plainly(row[2], mine.fetch, http, { proxy = row[1] })
      assert.is_nil(message:find("s3cret", 1, true))
    end
    for _, wrong in ipairs{ 1, true } do fails.plainly("proxy must be", mine.fetch, http, { proxy = wrong }) end
    fails.plainly("exclude", mine.fetch, http, { proxy = ways[1][2], unix = servers.socket })
    fails.plainly("Proxy-Authorization", mine.fetch, http,
      { proxy = ways[1][2], headers = { ["Proxy-Authorization"] = "Basic x" } })
  end)
end)
