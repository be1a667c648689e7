-- Contract 5: http clients and jails, streams, bodies that a function makes.

local fails = require("spec.support.fails")
local subject = require("spec.support.subject")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local net = subject.net
local http = "http://127.0.0.1:" .. servers.http
local https = "https://localhost:" .. servers.https
local other = "http://127.0.0.1:" .. servers.other

local read = require("spec.support.process").read

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local mine

local function fresh(before_each, after_each)
  before_each(function() mine = net.narrow{ "--allow-net", "--allow-net=unix:" .. subject.unix("http") } end)
  after_each(function() mine.revoke() mine = nil end)
  wire.watch(before_each, after_each)
end

local function method(response)
  return response.body:match("^%u+")
end

describe("a client", function()
  fresh(before_each, after_each)

  it("has a verb for each method", function()
    local c = mine.http.client.new()
    for _, verb in ipairs{ "get", "delete", "options" } do assert.equal(verb:upper(), method(c[verb](c, http .. "/inspect"))) end
    for _, verb in ipairs{ "post", "put", "patch" } do
      assert.equal(verb:upper(), method(c[verb](c, http .. "/inspect", "x")))
    end
    assert.equal("x=1", c:post(http .. "/echo", "x=1").body)
    assert.equal("1024", c:head(http .. "/files/1k").headers["content-length"])
    assert.equal("PROPFIND", method(c:fetch(http .. "/inspect", { method = "PROPFIND" })))
    c:close()
  end)

  it("is made three ways", function()
    for _, new in ipairs{ mine.http.client.new, mine.http_client.new, mine.class("puck.uno/http/client").new } do
      local c = new{ timeout = 5 }
      assert.equal(200, c:get(http .. "/hello").status)
      c:close()
    end
  end)

  it("reads its files once, when it is made", function()
    local path = os.tmpname()
    write(path, read(servers.ca))
    local c = net.http.client.new{ ca_bundle = path }
    os.remove(path)
    assert.equal(200, c:get(https .. "/hello").status)
    c:close()
    fails.plainly("bad argument #1 to 'new' (ca_bundle", net.http.client.new, { ca_bundle = path })
    fails.plainly("bad argument #1 to 'new' (client_cert: needs client_key", net.http.client.new, { client_cert = read(servers.ca) })
  end)

  it("may be trusted less by a request, or more", function()
    local c = net.http.client.new{ ca_bundle = read(servers.ca), pins = { ("00"):rep(32) } }
    fails.with("network/tls", c.get, c, https .. "/hello")
    assert.equal(200, c:get(https .. "/hello", { pins = {} }).status)
    assert.equal(200, c:get(https .. "/hello", { verify = false, pins = {} }).status)
    c:close()
  end)

  it("has defaults, which a request overrides", function()
    local c = mine.http.client.new{ headers = { ["X-One"] = "default", ["X-Two"] = "default" }, follow_redirects = false }
    local r = c:get(http .. "/inspect", { headers = { ["x-one"] = "own" } })
    assert.truthy(r.body:find("x-one: own\n", 1, true))
    assert.truthy(r.body:find("x-two: default\n", 1, true))
    assert.equal(302, c:get(http .. "/redirect/302").status)
    assert.equal(200, c:get(http .. "/redirect/302", { follow_redirects = true }).status)
    c:close()
  end)

  it("keeps a copy of them", function()
    local options = { headers = { ["X-One"] = "then" } }
    local c = mine.http.client.new(options)
    options.headers["X-One"] = "now"
    assert.truthy(c:get(http .. "/inspect").body:find("x-one: then\n", 1, true))
    c:close()
  end)

  it("has a pool of its own", function()
    local c, d = mine.http.client.new(), mine.http.client.new()
    local function connection(client) return client:get(http .. "/connection").body:match("^%d+") end
    local first = connection(c)
    assert.equal(first, connection(c))
    assert.not_equal(first, connection(d))
    assert.not_equal(first, mine.fetch(http .. "/connection").body:match("^%d+"))
    c:close() d:close()
  end)

  it("allow narrows it, at any time", function()
    local c = mine.http.client.new{ allow = { "127.0.0.1:" .. servers.http } }
    assert.equal(200, c:get(http .. "/hello").status)
    fails.with("network/port_not_allowed", c.get, c, other .. "/hello")
    fails.with("network/port_not_allowed", c.get, c, http .. "/other/302")
    c.allow = { "elsewhere.example" }
    fails.with("network/host_not_allowed", c.get, c, http .. "/hello")
    c:close()
  end)

  it("allow is a list of hosts, and nothing else", function()
    local c = mine.http.client.new()
    for _, row in ipairs{ { { [2] = "a.b" }, "the key 2" }, { { "a.b", x = "c.d" }, 'the key "x"' }, { { "a.b", 1 }, "got 1" }, { "a.b", 'got "a.b"' } } do
      local words = "allow must be a list of hosts, got "
      fails.plainly(words, mine.http.client.new, { allow = row[1] })
      local message = fails.plainly(words, function() c.allow = row[1] end)
      assert.truthy(message:find(row[2], 1, true), message)
    end
  end)

  it("allow never widens", function()
    local narrow = mine.narrow{ "--allow-net=127.0.0.1:" .. servers.http }
    local c = narrow.http.client.new{ allow = { "127.0.0.1" } }
    fails.with("network/port_not_allowed", c.get, c, other .. "/hello")
    c:close()
  end)

  it("says that it is closed", function()
    local c = mine.http.client.new()
    c:close()
    c:close()
    fails.with("network/socket", c.get, c, http .. "/hello")
  end)

  it("names what is wrong with its options", function()
    fails.plainly("bad argument #1 to 'new'", mine.http.client.new, 5)
    fails.plainly("folow_redirects", mine.http.client.new, { folow_redirects = true })
    fails.plainly("timeout", mine.http.client.new, { timeout = "x" })
    fails.plainly("allow", mine.http.client.new, { allow = 5 })
    fails.plainly("exa mple", mine.http.client.new, { allow = { "exa mple" } })
  end)

  it("ends with its capability", function()
    local c = mine.http.client.new()
    c:get(http .. "/hello")
    mine.revoke()
    fails.with("network/socket", c.get, c, http .. "/hello")
  end)
end)

describe("the client of a network", function()
  wire.watch(before_each, after_each)

  it("has every verb, with a dot and with a colon", function()
    local own = net.narrow{ "127.0.0.1" }
    for _, shared in ipairs{ own.http_client, own.http.client } do
      for verb, sent in pairs{ get = "GET", head = "HEAD", delete = "DELETE", options = "OPTIONS", fetch = "GET" } do
        for _, response in ipairs{ shared[verb](http .. "/inspect"), shared[verb](shared, http .. "/inspect"),
          shared[verb](http .. "/inspect", { headers = { ["X-One"] = "1" } }) } do
          assert.equal(200, response.status, verb)
          if sent ~= "HEAD" then assert.equal(1, (response.body:find(sent, 1, true)), verb) end
        end
      end
      for _, verb in ipairs{ "post", "put", "patch" } do
        assert.equal("x", shared[verb](http .. "/echo", "x").body)
        assert.equal("x", shared[verb](shared, http .. "/echo", "x", { timeout = 5 }).body)
        assert.equal("[]", shared[verb](http .. "/echo", { body_json = own.array{} }).body)
      end
      assert.equal(2, #shared.fetch_all{ http .. "/hello", http .. "/hello" })
      local stream = shared:events(http .. "/events", { reconnect = false })
      stream:close()
      assert.equal("http client", tostring(shared:new()))
      assert.is_false(pcall(function() shared.get = print end))
    end
    -- One pool with `net.fetch`.
    own.fetch(http .. "/hello")
    assert.is_true(own.http_client.get(http .. "/hello").timings.reused)
    own.revoke()
    fails.with("network/socket", own.http_client.get, http .. "/hello")
  end)
end)

describe("a jail", function()
  fresh(before_each, after_each)

  it("has fetch and nothing else", function()
    local jail = mine.http.client.jail("127.0.0.1:" .. servers.http)
    assert.equal(200, jail.fetch(http .. "/hello").status)
    for _, name in ipairs{ "get", "new", "jail", "allow", "close", "tcp", "narrow", "allows" } do assert.is_nil(jail[name]) end
    assert.not_equal("table", type(getmetatable(jail)))
    assert.is_false(pcall(function() jail.fetch = print end))
  end)

  it("goes where its list and the grants both go", function()
    local narrow = mine.narrow{ "--allow-net=127.0.0.1:" .. servers.http .. "+" .. servers.other }
    local jail = narrow.http.client.jail("127.0.0.1:" .. servers.http, "127.0.0.1:1")
    assert.equal(200, jail.fetch(http .. "/hello").status)
    fails.with("network/port_not_allowed", jail.fetch, other .. "/hello")
    fails.with("network/port_not_allowed", jail.fetch, http .. "/other/302")
    fails.with("network/port_not_allowed", jail.fetch, "http://127.0.0.1:1/")
    fails.with("network/host_not_allowed", jail.fetch, "http://elsewhere.invalid/")
  end)

  it("can be called itself", function()
    local own = net.narrow{ "127.0.0.1" }
    for _, jail in ipairs{ own.http.client.jail("127.0.0.1"), own.http_client:jail("127.0.0.1"),
      own.http.client.new():jail("127.0.0.1:" .. servers.http) } do
      assert.equal(200, jail(http .. "/hello").status)
      assert.equal("x", jail(http .. "/echo", { method = "POST", body = "x" }).body)
      fails.plainly("bad argument #1 to 'fetch'", jail, 5)
      fails.with("network/host_not_allowed", jail, "http://localhost:" .. servers.http .. "/hello")
    end
    own.revoke()
  end)

  it("of a client has its defaults, and is a snapshot of its list", function()
    local c = mine.http.client.new{ headers = { ["X-One"] = "1" }, allow = { "127.0.0.1:" .. servers.http } }
    local jail = c:jail("127.0.0.1")
    c.allow = { "127.0.0.1" }
    assert.truthy(jail.fetch(http .. "/inspect").body:find("x-one: 1\n", 1, true))
    fails.with("network/port_not_allowed", jail.fetch, other .. "/hello")
    c:close()
  end)

  it("of a client keeps the files that the client read, and reads none", function()
    local path = os.tmpname()
    write(path, read(servers.ca))
    local c = net.http.client.new{ ca_bundle = path }
    os.remove(path)
    local jail = c:jail("localhost")
    assert.equal(200, jail.fetch(https .. "/hello").status)
    fails.plainly("ca_bundle", jail.fetch, https .. "/hello", { ca_bundle = servers.ca })
    c:close()
  end)
end)

describe("a stream", function()
  fresh(before_each, after_each)
  local whole = read(servers.dir .. "/files/64k")

  local function stream(path) return mine.fetch(http .. path, { stream = true }) end

  it("is read in pieces", function()
    for _, size in ipairs{ 1000, 65536, 100000 } do
      local r = stream("/files/64k")
      assert.equal(200, r.status)
      local seen = {}
      for piece in function() return r:read(size) end do
        assert.truthy(#piece == size or #table.concat(seen) + #piece == #whole) -- short only at the end
        seen[#seen + 1] = piece
      end
      assert.is_true(table.concat(seen) == whole)
      assert.is_nil(r:read(size))
      r:close()
    end
  end)

  it("is walked by line", function()
    local r = stream("/files/1k")
    local seen = {}
    for line in r:lines() do seen[#seen + 1] = line end
    assert.equal("line 0000000000\n", seen[1])
    assert.equal(64, #seen)
    assert.equal(1024, #table.concat(seen))
  end)

  it("is walked until it is closed", function()
    for _, walk in ipairs{ "lines", "chunks" } do
      for _, r in ipairs{ stream("/files/64k"), mine.fetch(http .. "/files/64k") } do
        local count = 0
        for _ in r[walk](r) do
          count = count + 1
          r:close()
        end
        assert.equal(1, count)
        assert.is_nil(r[walk](r)())
      end
    end
  end)

  it("is walked by chunk, whatever its framing", function()
    for _, path in ipairs{ "/files/64k", "/chunked", "/until-close" } do
      local seen = {}
      for chunk in stream(path):chunks() do
        assert.truthy(#chunk > 0)
        seen[#seen + 1] = chunk
      end
      assert.is_true(table.concat(seen) == mine.fetch(http .. path).body)
    end
  end)

  it("is not capped", function()
    local r = mine.fetch(http .. "/files/64k", { stream = true, max_body_bytes = 10 })
    local count = 0
    for chunk in r:chunks() do count = count + #chunk end
    assert.equal(65536, count)
  end)

  it("hands out what is there, while the rest is on its way", function()
    local r = stream("/half")
    assert.equal("first\n", r:chunks()())
    r:close()
  end)

  it("closed early, or dropped, leaves no connection", function()
    local before = wire.open()
    local r = stream("/half")
    assert.equal("first\n", r:read(6))
    r:close()
    r:close()
    stream("/half")
    assert.equal(before, wire.open())
    assert.equal("hello\n", mine.fetch(http .. "/hello").body)
  end)
end)

describe("a body", function()
  fresh(before_each, after_each)

  it("of a function is sent piece by piece", function()
    local pieces = { "one ", "", "two ", "three" }
    local at = 0
    local r = mine.fetch(http .. "/echo", { method = "POST", body = function() at = at + 1 return pieces[at] end })
    assert.equal("one two three", r.body)
  end)

  it("of a function that fails ends the request, and the error is its own", function()
    local mistake = { "mine" }
    local ok, err = pcall(mine.fetch, http .. "/echo", { method = "POST", body = function() error(mistake) end })
    assert.is_false(ok)
    assert.equal(mistake, err)
    assert.equal("hello\n", mine.fetch(http .. "/hello").body)
  end)

  it("of a function that answers no string", function()
    assert.is_false(pcall(mine.fetch, http .. "/echo", { method = "POST", body = function() return {} end }))
    assert.equal("hello\n", mine.fetch(http .. "/hello").body)
  end)

  it("of an open file is what is left of it", function()
    local file = assert(io.open(servers.dir .. "/files/1k", "rb"))
    file:read(16)
    local r = mine.fetch(http .. "/echo", { method = "POST", body = file })
    assert.equal(read(servers.dir .. "/files/1k"):sub(17), r.body)
    file:close()
  end)

  it("from a path needs a capability that reads files", function()
    local words = "body_file: files are not permitted here: give the contents, not a path"
    fails.plainly(words, mine.fetch, http .. "/echo", { method = "POST", body_file = servers.dir .. "/files/1k" })
  end)
end)

describe("an option", function()
  fresh(before_each, after_each)

  it("resolve connects elsewhere and keeps the name", function()
    local r = mine.fetch("http://name.invalid:" .. servers.http .. "/inspect",
      { resolve = { ["name.invalid:" .. servers.http] = "127.0.0.1" } })
    assert.truthy(r.body:find("host: name.invalid:" .. servers.http, 1, true))
  end)

  it("resolve is no way round the gate", function()
    local narrow = mine.narrow{ "--allow-net=127.0.0.1", "--allow-net=granted.invalid", "--deny-net=127.0.0.1" }
    fails.with("network/host_not_allowed", narrow.fetch, "http://name.invalid/", { resolve = { ["name.invalid:80"] = "127.0.0.1" } })
    fails.with("network/address_not_allowed", narrow.fetch, "http://granted.invalid/", { resolve = { ["granted.invalid:80"] = "127.0.0.1" } })
  end)

  it("unix talks over a socket", function()
    assert.equal("hello\n", mine.fetch("http://localhost/hello", { unix = subject.unix("http") }).body)
    local narrow = mine.narrow{ "--allow-net=localhost" }
    fails.with("network/host_not_allowed", narrow.fetch, "http://localhost/hello", { unix = subject.unix("http") })
  end)
end)
