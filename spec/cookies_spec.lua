-- Contract 5, option `cookies`: jars, against nginx and httpbin.

local net = require("spec.support.subject").net
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local nginx, httpbin = "http://127.0.0.1:" .. servers.http, servers.httpbin

local function sent(response)
  return response.body:match("\ncookie: ([^\n]*)\n")
end

describe("the option cookies", function()
  local mine
  before_each(function() mine = net.narrow{ "--allow-net" } end)
  after_each(function() mine.revoke() mine = nil end)
  wire.watch(before_each, after_each)

  it("is off by default", function()
    assert.equal("", sent(mine.fetch(nginx .. "/cookies")))
    assert.same({}, mine.fetch(httpbin .. "/cookies/set?a=1"):json().cookies)
  end)

  it("keeps what redirects set, and sends it by rule", function()
    assert.equal("one=1; three=3", sent(mine.fetch(nginx .. "/cookies", { cookies = true })))
    -- The jar is the capability's.
    assert.equal("one=1; three=3", sent(mine.fetch(nginx .. "/inspect", { cookies = true })))
    assert.equal("", sent(mine.fetch(nginx .. "/inspect")))
  end)

  it("keeps and deletes", function()
    local client = mine.http.client.new{ cookies = true }
    assert.same({ a = "1", b = "2" }, client:get(httpbin .. "/cookies/set?a=1&b=2"):json().cookies)
    assert.same({ b = "2" }, client:get(httpbin .. "/cookies/delete?a"):json().cookies)
    assert.equal(1, #client.jar:records())
    -- A client's jar is its own, and so is a jail's.
    assert.same({}, mine.http.client.new{ cookies = true }:get(httpbin .. "/cookies"):json().cookies)
    local jail = client:jail("127.0.0.1")
    assert.same({}, jail.fetch(httpbin .. "/cookies"):json().cookies)
    assert.is_nil(jail.jar)
  end)

  it("takes a jar, which clients can share", function()
    local jar = mine.http.jar()
    mine.fetch(httpbin .. "/cookies/set?a=1", { cookies = jar })
    local client = mine.http.client.new{ cookies = jar }
    assert.same({ a = "1" }, client:get(httpbin .. "/cookies"):json().cookies)
    jar:clear()
    assert.same({}, client:get(httpbin .. "/cookies"):json().cookies)
    assert.same({}, client:get(httpbin .. "/cookies/set?a=1", { cookies = false }):json().cookies)
  end)

  it("goes along in fetch_all", function()
    local jar = mine.http.jar()
    jar:set(httpbin .. "/", "a=1")
    local all = mine.fetch_all{
      { httpbin .. "/cookies", cookies = jar },
      { httpbin .. "/cookies/set?b=2", cookies = jar },
      { httpbin .. "/cookies" },
    }
    assert.equal("1", all[1]:json().cookies.a)
    assert.equal("2", all[2]:json().cookies.b)
    assert.same({}, all[3]:json().cookies)
    assert.equal("a=1; b=2", jar:header(httpbin .. "/"))
  end)

  it("yields to a header of the caller's", function()
    local jar = mine.http.jar()
    jar:set(nginx .. "/", "a=1")
    assert.equal("own=1", sent(mine.fetch(nginx .. "/inspect", { cookies = jar, headers = { Cookie = "own=1" } })))
  end)

  for _, value in ipairs{ 1, "yes", {}, function() end } do
    it("must be true, false or a jar, not a " .. type(value), function()
      local ok, err = pcall(mine.fetch, nginx .. "/inspect", { cookies = value })
      assert.is_false(ok)
      assert.truthy(err:find("cookies must be true, false or a jar", 1, true), err)
    end)
  end
end)

describe("a jar", function()
  local jar
  before_each(function() jar = net.http.jar() end)

  it("is saved and loaded as data", function()
    assert.is_true(jar:set("https://a.example.com/x/y", "a=1; Domain=example.com; Path=/; Secure; HttpOnly; SameSite=Lax"))
    assert.is_true(jar:set("https://a.example.com/x/y", "b=\1952; Max-Age=1000"))
    local records = jar:records()
    local first = records[1]
    assert.equal("a", first.name)
    assert.equal("1", first.value)
    assert.equal("example.com", first.domain)
    assert.equal("/", first.path)
    assert.equal("lax", first.same_site)
    assert.is_false(first.host_only)
    assert.is_true(first.secure)
    assert.is_true(first.http_only)
    assert.is_nil(first.expires)
    assert.is_true(records[2].host_only)
    assert.equal("/x", records[2].path)
    assert.truthy(records[2].expires > os.time() + 900)
    local again = net.http.jar(records)
    assert.same(records, again:records())
    assert.equal("b=\1952; a=1", again:header("https://a.example.com/x/"))
    assert.equal("a=1", again:header("https://b.example.com/"))
    assert.is_nil(again:header("http://b.example.com/"))
    assert.equal(1, net.http.jar():load{ { name = "a", value = "1", domain = "example.com" }, { name = "b" } })
  end)

  for _, row in ipairs{
    { "a public suffix", "http://a.co.uk/", "a=1; Domain=co.uk" },
    { "another site", "http://a.example.com/", "a=1; Domain=example.org" },
    { "another address", "http://127.0.0.1/", "a=1; Domain=127.0.0.2" },
    { "another spelling of the address", "http://127.0.0.1/", "a=1; Domain=127.1" },
    { "a part of the address", "http://127.0.0.1/", "a=1; Domain=0.0.1" },
    { "Secure without https", "http://a.example.com/", "a=1; Secure" },
    { "a prefix that does not hold", "https://a.example.com/", "__Host-a=1; Secure" },
    { "a control character", "https://a.example.com/", "a=\0011" },
    { "too long", "https://a.example.com/", "a=" .. ("x"):rep(4096) },
    { "neither name nor value", "https://a.example.com/", "; Path=/" },
  } do
    it("refuses " .. row[1], function()
      assert.is_false(jar:set(row[2], row[3]))
      assert.same({}, jar:records())
    end)
  end

  -- Nobody on the network sees what does not leave the machine.
  for _, origin in ipairs{ "http://localhost:8080/", "http://app.localhost/", "http://127.0.0.1/", "http://[::1]/" } do
    it("takes Secure cookies from " .. origin, function()
      assert.is_true(jar:set(origin, "a=1; Secure; HttpOnly"))
      assert.equal("a=1", jar:header(origin))
    end)
  end

  it("takes an address for a host of its own", function()
    for _, row in ipairs{
      { "http://127.0.0.1/", "127.0.0.1" }, { "http://127.0.0.1/", ".127.0.0.1" }, { "http://[::1]/", "[::1]" },
    } do
      jar = net.http.jar()
      assert.is_true(jar:set(row[1], "a=1; Domain=" .. row[2]), row[2])
      assert.is_true(jar:records()[1].host_only)
      assert.equal("a=1", jar:header(row[1]))
      assert.is_nil(jar:header("http://127.0.0.2/"))
    end
  end)

  it("is the same for a host with the root's dot, which is the same host", function()
    assert.is_true(jar:set("http://a.example.com/", "a=1"))
    assert.is_true(jar:set("http://a.example.com./", "b=2; Domain=example.com"))
    assert.is_false(jar:set("http://a.example.com./", "c=3; Domain=example.com."))
    for _, host in ipairs{ "a.example.com", "a.example.com." } do
      assert.equal("a=1; b=2", jar:header("http://" .. host .. "/"))
    end
    assert.equal("b=2", jar:header("http://example.com./"))
    for _, record in ipairs(jar:records()) do assert.is_nil(record.domain:find("%.$")) end
  end)

  it("is locked", function()
    assert.is_false(getmetatable(jar))
    assert.has_error(function() jar.x = 1 end)
    assert.has_error(function() jar.records() end)
    assert.has_error(function() jar:load("x") end)
    assert.has_error(function() jar:load{ { name = 5 } } end)
    assert.has_error(function() jar:load{ { nome = "a" } } end)
    assert.has_error(function() jar:set("no URL", "a=1") end)
  end)
end)
