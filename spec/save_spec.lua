-- Contract 5, option `save` with a path: the file appears once it is whole, and what was there is not harmed before. And `base_url`.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")
local lfs = require("lfs")

local read = process.read
local http = "http://127.0.0.1:" .. servers.http

describe("save with a path", function()
  local dir, client
  before_each(function()
    dir = os.tmpname()
    os.remove(dir)
    assert(lfs.mkdir(dir))
    client = net.http.client.new() -- a narrowed network reads and writes no files
  end)
  after_each(function()
    client:close()
    os.execute("rm -rf '" .. dir .. "'")
  end)
  wire.watch(before_each, after_each)

  local function names()
    local list = {}
    for name in lfs.dir(dir) do
      if name ~= "." and name ~= ".." then list[#list + 1] = name end
    end
    table.sort(list)
    return list
  end
  local function put(name, text)
    local file = assert(io.open(dir .. "/" .. name, "wb"))
    file:write(text)
    file:close()
  end

  it("writes the body of a success, and replaces what is there", function()
    for _, case in ipairs{ { "1m" }, { "1m" }, { "0" }, { "1" } } do
      local r = client:get(http .. "/files/" .. case[1], { save = dir .. "/a" })
      local whole = read(servers.dir .. "/files/" .. case[1])
      assert.same({ 200, #whole, nil }, { r.status, r.saved, r.body })
      assert.equal(tostring(#whole), tostring(r.saved)) -- a whole number
      assert.is_true(read(dir .. "/a") == whole)
      assert.same({ "a" }, names())
    end
    -- A coded body as it is meant, progress, and a body that goes up meanwhile.
    local seen
    local r = client:post(http .. "/echo", "a body", { save = dir .. "/b", on_progress = function(done) seen = done end })
    assert.same({ 6, 6, "a body" }, { r.saved, seen, read(dir .. "/b") })
  end)

  it("leaves the file alone where the network is revoked meanwhile", function()
    put("a", "old")
    assert.equal("false\tpuck.uno/error/network/socket", child.run(([[
      local net = launch{ "--allow-net" }
      local ok, err = pcall(net.fetch, %q, { save = %q, on_progress = function() net.revoke() end })
      print(ok, err.class)
    ]]):format(http .. "/files/1m", dir .. "/a")))
    assert.equal("old", read(dir .. "/a"))
    assert.same({ "a" }, names())
    -- Nor does a body that has come whole take its place, once the file in the making is given up.
    assert.equal("false\tpuck.uno/error/network/socket", child.run(([[
      local net = launch{ "--allow-net" }
      local ok, err = pcall(net.fetch, %q, { save = %q, on_progress = function(done, all) if done == all then net.revoke() end end })
      print(ok, ok or err.class)
    ]]):format(http .. "/files/1k", dir .. "/a")))
    assert.equal("old", read(dir .. "/a"))
    assert.same({ "a" }, names())
    -- Nor is what was read until then taken for the whole body.
    local mine = net.narrow{ "127.0.0.1" }
    local stream = mine.fetch(http .. "/files/1m", { stream = true })
    assert.equal(10, #stream:read(10))
    mine.revoke()
    fails.with("network/socket", function() while stream:read(65536) do end end)
    mine = net.narrow{ "127.0.0.1" }
    local file = io.open(dir .. "/b", "wb")
    fails.with("network/socket", mine.fetch, http .. "/files/1m", { save = file, on_progress = function() mine.revoke() end })
    file:close()
  end)

  it("leaves the file alone where the answer is no success", function()
    put("a", "old")
    local r = client:get(http .. "/status/404", { save = dir .. "/a" })
    assert.same({ 404, nil, "string" }, { r.status, r.saved, type(r.body) })
    assert.same({ "a" }, names())
    assert.equal("old", read(dir .. "/a"))
  end)

  local cut = [[
    for _, rest in ipairs{ "half", "the whole" } do
      local c = accept()
      head(c)
      c:send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" .. rest)
      c:close()
    end
  ]]

  it("leaves nothing of a body that was cut", function()
    put("a", "old")
    for _, name in ipairs{ "a", "new" } do
      local p = peer.tcp(cut)
      local url = "http://127.0.0.1:" .. p.port .. "/"
      fails.with("network/connection_reset", client.get, client, url, { save = dir .. "/" .. name })
      assert.same({ "a" }, names())
      assert.equal("old", read(dir .. "/a"))
    end
    -- Nor of one that the script ends.
    local ok, err = pcall(client.get, client, http .. "/files/1m", { save = dir .. "/a", on_progress = function() error("enough", 0) end })
    assert.same({ false, "enough" }, { ok, err })
    collectgarbage()
    collectgarbage()
    assert.same({ "a" }, names())
    assert.equal("old", read(dir .. "/a"))
  end)

  it("begins anew where retry asks again", function()
    local p = peer.tcp(cut)
    local r = client:get("http://127.0.0.1:" .. p.port .. "/", { save = dir .. "/a", retry = { attempts = 1, backoff = 0 } })
    assert.same({ 9, "the whole" }, { r.saved, read(dir .. "/a") })
    assert.same({ "a" }, names())
  end)

  it("goes through a link, and keeps who may read", function()
    put("a", "old")
    assert.truthy(os.execute("chmod 600 '" .. dir .. "/a' && ln -s a '" .. dir .. "/link'"))
    client:get(http .. "/files/1k", { save = dir .. "/link" })
    assert.equal(1024, #read(dir .. "/a"))
    assert.equal("link", lfs.symlinkattributes(dir .. "/link", "mode"))
    assert.equal("rw-------", lfs.attributes(dir .. "/a", "permissions"))
  end)

  it("asks nobody where it cannot be", function()
    put("a", "old")
    for _, row in ipairs{
      { dir, "not a regular file" },
      { dir .. "/", "not a regular file" },
      { dir .. "/none/a", "No such file" },
      { dir .. "/a/b", "" },
      { "/dev/null", "not a regular file" },
      { "/proc/self/none", "never /proc" },
      { "", "control characters" },
      { dir .. "/a\0b", "control characters" },
      { {}, "save must be an open file or a path" },
    } do
      -- Nobody listens there: a request would be refused.
      fails.plainly(row[2], client.get, client, "http://127.0.0.1:1/", { save = row[1] })
    end
    fails.plainly("exclude", client.get, client, http, { save = dir .. "/x", stream = true })
    for _, one in ipairs{ net.narrow{ "--allow-net" }, client:jail("127.0.0.1") } do
      fails.plainly("files are not permitted here: give an open file", one.fetch, http, { save = dir .. "/x" })
    end
    local all = fails.plainly("fetch_all does not take", net.fetch_all, { { http, save = dir .. "/x" } })
    assert.truthy(all)
    assert.same({ "a" }, names())
  end)
end)

describe("base_url", function()
  local mine
  before_each(function() mine = net.narrow{ "--allow-net=127.0.0.1:" .. servers.http } end)
  after_each(function() mine.revoke() mine = nil end)
  wire.watch(before_each, after_each)

  it("is what the URLs of a client are relative to, as url.join joins them", function()
    local base = http .. "/files/v1/"
    local client = mine.http.client.new{ base_url = base }
    for _, row in ipairs{
      "x", "./x", "../64k", "/hello", "?q=1", "", "//127.0.0.1:" .. servers.http .. "/hello", http .. "/hello",
    } do
      local r = client:get(row)
      assert.equal(net.url.join(base, row), r.url, row)
      assert.equal(r.url, client:fetch(row, { headers = { X = "1" } }).url)
    end
    assert.equal(65536, #client:get("../64k").body)
    assert.equal(65536, #client:jail("127.0.0.1").fetch("../64k").body)
    assert.equal(65536, #client:fetch_all{ "../64k" }[1].body)
    assert.truthy(client:get("/inspect", { query = { a = "b" } }).body:find("^GET /inspect%?a=b "))
    client:close()
    -- Without a slash at its end its last name is replaced.
    client = mine.http.client.new{ base_url = http .. "/files/v1" }
    assert.equal(65536, #client:get("64k").body)
    client:close()
  end)

  it("opens nothing: what is joined is asked about at the gate", function()
    local client = mine.http.client.new{ base_url = http .. "/files/" }
    fails.with("network/port_not_allowed", client.get, client, "http://127.0.0.1:1/")
    fails.with("network/host_not_allowed", client.get, client, "http://localhost/")
    client:close()
    client = mine.http.client.new{ base_url = "http://elsewhere.example/" }
    local err = fails.with("network/host_not_allowed", client.get, client, "x")
    assert.equal("http://elsewhere.example/x", err.url)
    client:close()
  end)

  describe("and other origins:", function()
    local other = "http://127.0.0.1:" .. servers.other
    local ours
    before_each(function() ours = net.narrow{ "--allow-net" } end)
    after_each(function() ours.revoke() ours = nil end)

    it("nothing relative leads to one", function()
      local place = "127.0.0.1:" .. servers.other
      local client = ours.http.client.new{ base_url = http .. "/files/" }
      for _, url in ipairs{
        "//" .. place .. "/inspect", "/\\" .. place .. "/inspect", "\\\\" .. place .. "\\inspect", "\\/" .. place .. "/inspect",
        " //" .. place .. "/inspect", "//localhost:" .. servers.http .. "/inspect", "//127.0.0.1/",
      } do
        for _, call in ipairs{
          function() client:get(url) end, function() client:fetch(url, { headers = { X = "1" } }) end,
          function() client:post(url, "x") end, function() client:get(url, { stream = true }) end,
          function() client:get(url, { query = { a = 1 } }) end, function() client:events(url) end,
          function() client:jail("127.0.0.1").fetch(url) end,
        } do
          local text = fails.plainly("leads from the origin of base_url to http://", call)
          assert.truthy(text:find("give an absolute URL", 1, true), text)
        end
        fails.plainly("leads from the origin", client.fetch_all, client, { url })
      end
      -- With the same origin it may say the host.
      assert.equal(200, client:get("//127.0.0.1:" .. servers.http .. "/hello").status)
      client:close()
    end)

    it("what is the client's own does not go to one, as after a redirect", function()
      local told = {
        base_url = http .. "/", auth = { "user", "s3cret" }, query = { key = "s3cret" },
        headers = { ["X-One"] = "s3cret", Cookie = "s3cret", Accept = "a/b", ["User-Agent"] = "me", ["X-Two"] = "two" },
        forward_headers = { "X-Two" },
      }
      local function all(of, own)
        local function with(more)
          for name, value in pairs(own or {}) do more[name] = value end
          return more
        end
        local stream = of:get(other .. "/inspect", with{ stream = true })
        local found = {
          of:get(other .. "/inspect", own).body, of:post(other .. "/inspect", "x", own).body,
          of:fetch_all{ with{ other .. "/inspect" } }[1].body, of:jail("127.0.0.1").fetch(other .. "/inspect", own).body,
          table.concat{ stream:read() },
        }
        stream:close()
        assert.equal(5, #found)
        return found
      end
      for _, har in ipairs{ false, true } do
        told.har = har
        local client = ours.http.client.new(told)
        local body = client:get("inspect").body
        for _, line in ipairs{ "^GET /inspect%?key=s3cret ", "x%-one: s3cret", "cookie: s3cret", "authorization: Basic ", "x%-two: two" } do
          assert.truthy(body:find(line), body)
        end
        for _, found in ipairs(all(client)) do
          assert.truthy(found:find("^%u+ /inspect HTTP"), found)
          assert.is_nil(found:find("s3cret", 1, true), found)
          for _, line in ipairs{ "x-one: \n", "authorization: \n", "cookie: \n", "accept: a/b\n", "user-agent: me\n", "x-two: two\n" } do
            assert.truthy(found:find(line, 1, true), line .. found)
          end
        end
        -- What a request says goes where it says.
        local own = { headers = { ["X-One"] = "mine" }, auth = { bearer = "t0ken" }, query = { a = "b" } }
        for _, found in ipairs(all(client, own)) do
          assert.is_nil(found:find("s3cret", 1, true), found)
          for _, line in ipairs{ " /inspect?a=b HTTP", "x-one: mine\n", "authorization: Bearer t0ken\n" } do
            assert.truthy(found:find(line, 1, true), line .. found)
          end
        end
        -- And the client is as it was.
        assert.truthy(client:get("inspect").body:find("x-one: s3cret", 1, true))
        client:close()
      end
      -- Headers alone: a request in one step.
      local client = ours.http.client.new{ base_url = http, headers = { ["X-One"] = "s3cret" } }
      for _ = 1, 2 do
        assert.truthy(client:get(other .. "/inspect").body:find("x-one: \n", 1, true))
        assert.truthy(client:get("inspect").body:find("x-one: s3cret\n", 1, true))
        assert.truthy(client:get(other .. "/inspect", { timeout = 20 }).body:find("x-one: \n", 1, true))
      end
      client:close()
      -- Without base_url it has no origin: what it says is for every URL.
      client = ours.http.client.new{ headers = { ["X-One"] = "s3cret" } }
      assert.truthy(client:get(other .. "/inspect").body:find("x-one: s3cret\n", 1, true))
      client:close()
    end)

    it("nor does its certificate", function()
      local ca, cert, key = read(servers.ca), read(servers.client.cert), read(servers.client.key)
      local there = "https://localhost:" .. servers.mutual
      local client = ours.http.client.new{ base_url = there, ca_bundle = ca, client_cert = cert, client_key = key }
      assert.truthy(client:get("/tls").body:find("SUCCESS CN=a client", 1, true))
      client:close()
      client = ours.http.client.new{ base_url = http, ca_bundle = ca, client_cert = cert, client_key = key }
      for _, own in ipairs{ {}, { timeout = 20 }, { decompress = false } } do
        assert.equal(400, client:get(there .. "/tls", next(own) and own or nil).status)
      end
      assert.equal(200, client:get(there .. "/tls", { client_cert = cert, client_key = key }).status)
      client:close()
    end)
  end)

  it("is told where it is wrong", function()
    for _, row in ipairs{
      { "x", "base_url: " }, { "ftp://127.0.0.1/", "base_url: " }, { "http://u:s3cret@127.0.0.1/", "credentials" },
      { 7, "base_url must be a string" },
    } do
      local message = fails.plainly(row[2], mine.http.client.new, { base_url = row[1] })
      assert.is_nil(message:find("s3cret", 1, true))
    end
    local client = mine.http.client.new{ base_url = http }
    for _, row in ipairs{ { "//u:s3cret@127.0.0.1/", "credentials" }, { "a\nb", "control character" }, { "mailto:x", "scheme" } } do
      fails.plainly(row[2], client.get, client, row[1])
    end
    -- One request, and the guard's untrusted side, have none.
    fails.plainly("unknown option", client.get, client, "x", { base_url = http })
    fails.plainly("unknown option", mine.fetch, "x", { base_url = http })
    client:close()
    local guard, close = net.http.guard{ rules = { host = "127.0.0.1", https_only = false, ports = { servers.http } }, allow_private = true }
    fails.plainly("base_url", guard.fetch, "x", { base_url = http })
    close()
  end)
end)
