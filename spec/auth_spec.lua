-- Contract 5, option `auth`: Basic, Digest and Bearer, against nginx and httpbin.

local net = require("spec.support.subject").net
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local nginx, httpbin = "http://127.0.0.1:" .. servers.http, servers.httpbin
local me = { "user", "s3cret" }

describe("the option auth", function()
  local mine
  before_each(function() mine = net.narrow{ "--allow-net" } end)
  after_each(function() mine.revoke() mine = nil end)
  wire.watch(before_each, after_each)

  for _, row in ipairs{
    -- URL, auth, status
    { nginx .. "/basic", me, 200 },
    { nginx .. "/basic", { "user", "wrong" }, 401 },
    { nginx .. "/basic", nil, 401 },
    { nginx .. "/basic", { user = "user", password = "s3cret", scheme = "digest" }, 401 },
    { httpbin .. "/basic-auth/user/s3cret", { user = "user", password = "s3cret" }, 200 },
    -- Not a challenge but a 404: only who says it at once gets in.
    { httpbin .. "/hidden-basic-auth/user/s3cret", me, 200 },
    { httpbin .. "/hidden-basic-auth/user/s3cret", { "user", "s3cret", scheme = "digest" }, 404 },
    { httpbin .. "/bearer", { bearer = "t0ken" }, 200 },
    { httpbin .. "/bearer", nil, 401 },
    { httpbin .. "/digest-auth/auth/user/s3cret", me, 200 },
    { httpbin .. "/digest-auth/auth/user/s3cret/MD5", { "user", "s3cret", scheme = "digest" }, 200 },
    { httpbin .. "/digest-auth/auth/user/s3cret/SHA-256", me, 200 },
    { httpbin .. "/digest-auth/auth/user/s3cret/SHA-256", { "user", "wrong" }, 401 },
    { httpbin .. "/digest-auth/auth/user/s3cret", { "user", "s3cret", scheme = "basic" }, 401 },
    { httpbin .. "/digest-auth/auth-int/user/s3cret/MD5", me, 200 },
    { httpbin .. "/digest-auth/auth-int/user/s3cret/SHA-256", { "user", "s3cret", scheme = "digest" }, 200 },
    { httpbin .. "/digest-auth/auth-int/user/s3cret/MD5", { "user", "wrong" }, 401 },
    -- An algorithm of httpbin's own.
    { httpbin .. "/digest-auth/auth/user/s3cret/SHA-512", me, 401 },
    -- Nothing before a challenge, then what is asked for.
    { nginx .. "/basic", { "user", "s3cret", scheme = "challenge" }, 200 },
    { nginx .. "/basic", { "user", "wrong", scheme = "challenge" }, 401 },
    { httpbin .. "/hidden-basic-auth/user/s3cret", { "user", "s3cret", scheme = "challenge" }, 404 },
    { httpbin .. "/digest-auth/auth/user/s3cret/SHA-256", { "user", "s3cret", scheme = "challenge" }, 200 },
  } do
    local auth = row[2]
    local name = not auth and "nothing" or auth.scheme or auth.bearer and "bearer" or "any scheme"
    it(("%s with %s: %d"):format(row[1]:match("%d(/.*)"), name, row[3]), function()
      assert.equal(row[3], mine.fetch(row[1], { auth = auth }).status)
    end)
  end

  it("speaks Digest at once, once it knows, and takes a new nonce", function()
    local client = mine.http.client.new{ auth = me, cookies = true }
    -- The nonce is good for two requests.
    local url = httpbin .. "/digest-auth/auth/user/s3cret/SHA-256/2"
    for _ = 1, 6 do
      assert.equal(200, client:get(url).status)
    end
  end)

  it("signs the body where the server asks for that", function()
    local url = httpbin .. "/digest-auth/auth-int/user/s3cret/SHA-256"
    for _, opts in ipairs{
      { body = "a body" }, { body_file = servers.dir .. "/files/64k" }, { body_json = { "a", 1 } },
    } do
      opts.method, opts.auth = "GET", me
      -- A narrowed network reads no files.
      local client = net.http.client.new()
      assert.equal(200, client:fetch(url, opts).status)
      client:close()
    end
    -- What a function makes cannot be shown before it goes: the server's answer stays.
    local pieces = { "a body" }
    local made = function() return table.remove(pieces) end
    assert.equal(401, mine.fetch(url, { method = "GET", auth = me, body = made }).status)
  end)

  it("says nothing before a challenge, and at once after it", function()
    local client = mine.http.client.new{ auth = { "user", "s3cret", scheme = "challenge" }, har = true }
    for _ = 1, 2 do assert.equal(200, client:get(nginx .. "/basic").status) end
    local told = {}
    for at, entry in ipairs(client:har().log.entries) do
      told[at] = entry.response.status
      for _, header in ipairs(entry.request.headers) do
        if header.name == "Authorization" then told[at] = told[at] .. " with" end
      end
    end
    assert.same({ 401, "200 with", "200 with" }, told)
  end)

  it("belongs to a client, and a request has its own", function()
    local client = mine.http.client.new{ auth = me }
    assert.equal(200, client:get(nginx .. "/basic").status)
    assert.equal(401, client:get(nginx .. "/basic", { auth = { "user", "wrong" } }).status)
    assert.equal(401, client:get(nginx .. "/basic", { auth = false }).status)
  end)

  it("yields to a header of the caller's", function()
    local r = mine.fetch(nginx .. "/inspect", { auth = me, headers = { Authorization = "Own x" } })
    assert.truthy(r.body:find("authorization: Own x\n", 1, true))
  end)

  for _, row in ipairs{
    { { "user" }, "must have user and password" },
    { { "us:er", "s3cret" }, "colon" },
    { { "user", "s3cret\r\nX: y" }, "control character" },
    { { "user", 5 }, "auth.password must be a string" },
    { { "user", "s3cret", "more" }, "unknown field" },
    { { "user", "s3cret", scheme = "ntlm" }, "auth.scheme" },
    { { user = "user", "user", "s3cret" }, "given twice" },
    { { bearer = "" }, "bearer" },
    { { bearer = "a b" }, "bearer" },
    { { bearer = "s3cret", user = "user" }, "excludes" },
    { "user:s3cret", "must be a table" },
  } do
    it("refuses what is wrong: " .. row[2], function()
      local ok, err = pcall(mine.fetch, nginx .. "/basic", { auth = row[1] })
      assert.is_false(ok)
      assert.truthy(err:find("bad argument #2 to 'fetch'", 1, true), err)
      assert.truthy(err:find(row[2], 1, true), err)
      assert.is_nil(err:find("s3cret", 1, true))
    end)
  end
end)
