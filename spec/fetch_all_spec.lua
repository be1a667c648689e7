-- Contract 3 and 5: fetch_all, against nginx.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local http = "http://127.0.0.1:" .. servers.http
local other = "http://127.0.0.1:" .. servers.other

describe("fetch_all", function()
  local mine
  before_each(function() mine = net.narrow{ "--allow-net=127.0.0.1" } end)
  after_each(function() mine.revoke() mine = nil end)
  wire.watch(before_each, after_each)

  it("answers in order", function()
    local list = {}
    for i = 1, 60 do
      list[i] = { http .. "/echo", method = "POST", body = "number " .. i }
    end
    local results = mine.fetch_all(list)
    assert.equal(60, #results)
    for i, r in ipairs(results) do assert.equal("number " .. i, r.body) end
  end)

  it("takes URLs and tables, with a dot and with a colon", function()
    local results = mine:fetch_all{
      http .. "/hello", { http .. "/status/404" }, { url = http .. "/inspect", headers = { ["X-One"] = "1" } },
      { http .. "/echo", method = "PUT", body_json = { a = 1 } },
    }
    assert.equal("hello\n", results[1].body)
    assert.equal(404, results[2].status)
    assert.truthy(results[3].body:find("x-one: 1", 1, true))
    assert.equal(1, results[4].json().a)
    assert.same({}, mine.fetch_all{})
    assert.equal(1, #mine.fetch_all({ http .. "/hello" }, { parallel = 1, per_origin = 1, timeout = 5 }))
  end)

  it("has an error where one fails, and the others beside", function()
    local results = mine.fetch_all{
      http .. "/hello", "http://127.0.0.1:1/", "http://ungranted.invalid/", http .. "/ungranted-name",
      { http .. "/never", timeout = 0.3 }, http .. "/loop", { http .. "/files/1m", max_body_bytes = 10 }, http .. "/hello",
    }
    assert.equal(200, results[1].status)
    assert.truthy(results[2]:is("network/connection_refused"))
    assert.truthy(results[3]:is("network/host_not_allowed"))
    assert.truthy(results[4]:is("network/host_not_allowed"))
    assert.truthy(results[5]:is("network/timeout"))
    assert.truthy(results[6]:is("network/protocol"))
    assert.truthy(results[7]:is("network/too_large"))
    assert.equal(200, results[8].status)
  end)

  it("is concurrent", function()
    local list = {}
    for i = 1, 12 do list[i] = { (i % 2 == 0 and http or other) .. "/never", timeout = 0.5 } end
    local started = os.time()
    for _, r in ipairs(mine.fetch_all(list)) do assert.truthy(r:is("network/timeout")) end
    assert.is_true(os.time() - started <= 2)
  end)

  it("has one timeout for all, if asked", function()
    local list = {}
    for i = 1, 20 do list[i] = { http .. "/never", timeout = 5 } end
    local started = os.time()
    local results = mine.fetch_all(list, { timeout = 0.5, per_origin = 2 })
    assert.is_true(os.time() - started <= 2)
    for _, r in ipairs(results) do assert.truthy(r:is("network/timeout")) end
  end)

  it("starts the clock of each when its turn comes", function()
    local list = { { http .. "/never", timeout = 0.6 }, { http .. "/hello", timeout = 0.5 } }
    local results = mine.fetch_all(list, { parallel = 1 })
    assert.truthy(results[1]:is("network/timeout"))
    assert.equal(200, results[2].status)
  end)

  it("uses a client's pool, defaults and allow", function()
    local client = mine.http.client.new{ headers = { ["X-One"] = "default" } }
    client:get(http .. "/hello")
    local results = client:fetch_all({ http .. "/inspect" })
    assert.truthy(results[1].body:find("x-one: default", 1, true))
    assert.is_true(results[1].timings.reused)
    client.allow = { "127.0.0.1:" .. servers.other }
    results = client:fetch_all{ http .. "/hello", other .. "/hello" }
    assert.truthy(results[1]:is("network/port_not_allowed"))
    assert.equal(200, results[2].status)
    client:close()
  end)

  it("says which item is wrong", function()
    for _, row in ipairs{
      { { http, 5 }, "item 2: url must be a string" },
      { { { http, nonsense = 1 } }, "item 1: unknown option" },
      { { http, "ftp://x" }, "item 2: scheme" },
      { { { http, body = function() end } }, "item 1: a body that Lua code produces" },
      { { { http, stream = true } }, "item 1: fetch_all does not stream" },
      { { {} }, "item 1: url must be" },
      { { { http, method = "A B" } }, "item 1: method" },
    } do
      fails.plainly(row[2], mine.fetch_all, row[1])
    end
    fails.plainly("a list of requests expected", mine.fetch_all, http)
    fails.plainly("parallel must be", mine.fetch_all, {}, { parallel = 0 })
    fails.plainly("headers is an option of a request", mine.fetch_all, {}, { headers = {} })
    fails.plainly("unknown option \"head\"", mine.fetch_all, {}, { head = {} })
  end)
end)
