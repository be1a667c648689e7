-- Contract 5, option `decompress`: coded bodies of nginx and httpbin.

local net = require("spec.support.subject").net
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local nginx, httpbin = "http://127.0.0.1:" .. servers.http, servers.httpbin

local function plain()
  local file = assert(io.open(servers.dir .. "/files/64k", "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

describe("a coded body", function()
  local mine
  before_each(function() mine = net.narrow{ "--allow-net" } end)
  after_each(function() mine.revoke() mine = nil end)
  wire.watch(before_each, after_each)

  for path, mark in pairs{ gzip = "gzipped", deflate = "deflated", brotli = "brotli" } do
    it("is decoded: " .. path, function()
      local r = mine.fetch(httpbin .. "/" .. path)
      assert.is_true(r:json()[mark])
      assert.equal("gzip, deflate, br, zstd", r:json().headers["Accept-Encoding"])
    end)
  end

  it("keeps its headers", function()
    local r = mine.fetch(nginx .. "/gzip")
    assert.equal("gzip", r.headers["content-encoding"])
    assert.equal(plain(), r.body)
  end)

  it("is streamed", function()
    local r = mine.fetch(nginx .. "/gzip", { stream = true })
    local lines = {}
    for line in r:lines() do lines[#lines + 1] = line end
    assert.equal(plain(), table.concat(lines))
  end)

  it("is handed out as it came, if that is wanted", function()
    local r = mine.fetch(nginx .. "/gzip", { decompress = false })
    assert.is_nil(r.headers["content-encoding"])
    assert.equal(plain(), r.body)
    r = mine.fetch(nginx .. "/gzip", { decompress = false, headers = { ["Accept-Encoding"] = "gzip" } })
    assert.equal("\31\139", r.body:sub(1, 2))
    local client = mine.http.client.new{ decompress = false }
    assert.is_nil(client:get(httpbin .. "/headers"):json().headers["Accept-Encoding"])
  end)

  it("is capped after it is decoded", function()
    local ok, err = pcall(mine.fetch, nginx .. "/gzip", { max_body_bytes = 65535 })
    assert.is_false(ok)
    assert.is_true(err:is("network/too_large"))
    assert.equal(65536, #mine.fetch(nginx .. "/gzip", { max_body_bytes = 65536 }).body)
  end)
end)
