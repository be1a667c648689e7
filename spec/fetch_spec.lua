-- Contract 5: fetch against nginx: framings, fields, bodies, redirects, the pool.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local http = "http://127.0.0.1:" .. servers.http
local other = "http://127.0.0.1:" .. servers.other
local https = "https://localhost:" .. servers.https

local read = require("spec.support.process").read

-- A capability of the row's own, and so a pool of its own; ended after it.
local mine

local function fresh(before_each, after_each)
  before_each(function() mine = net.narrow{ "--allow-net" } end)
  after_each(function() mine.revoke() mine = nil end)
  -- Last, so that it counts what is left after that.
  wire.watch(before_each, after_each)
end

-- The lines of /inspect as a table: `name: value` for the fields that came, and the request line as [1].
local function inspected(response)
  local seen = {}
  for line in response.body:gmatch("[^\n]+") do
    local name, value = line:match("^([%w-]+): (.*)$")
    if not name then
      seen[#seen + 1] = line
    elseif value ~= "" then
      seen[name] = value
    end
  end
  return seen
end

describe("a response", function()
  fresh(before_each, after_each)

  it("has its fields", function()
    local r = mine.fetch(http .. "/hello")
    assert.equal(200, r.status)
    assert.is_true(r.ok)
    assert.is_true(r["ok?"])
    assert.equal("OK", r.reason)
    assert.truthy(tostring(r.version):find("1.1", 1, true))
    assert.equal("hello\n", r.body)
    assert.equal("hello\n", r.text())
    assert.equal("hello\n", r:text())
    assert.equal("text/plain", r.headers["content-type"])
    assert.equal("text/plain", r.headers["Content-Type"])
    assert.equal("text/plain", r.headers["CONTENT-TYPE"])
    assert.is_nil(r.headers["Content-Typ"])
    assert.is_nil(r.headers[1])
    for name in pairs(r.headers) do assert.equal(name:lower(), name) end
    local raw = {}
    for _, field in ipairs(r.raw_headers) do raw[field[1]] = field[2] end
    assert.equal("text/plain", raw["Content-Type"])
    assert.is_nil(raw["content-type"])
    local all = mine.fetch_all{ http .. "/hello" }
    assert.equal("text/plain", all[1].headers["CONTENT-type"])
    assert.equal(http .. "/hello", r.url)
    assert.same({}, r.redirect_chain)
    assert.same({}, r.trailers)
    for _, name in ipairs{ "dns", "connect", "send", "wait", "receive", "total" } do
      assert.equal("number", type(r.timings[name]), name)
    end
    assert.is_false(r.timings.reused)
    assert.is_nil(r.peer_cert())
  end)

  it("is read-only", function()
    local r = mine.fetch(http .. "/hello")
    for _, name in ipairs{ "status", "body", "nonsense" } do
      assert.is_false(pcall(function() r[name] = 1 end))
    end
    assert.equal(200, r.status)
  end)

  it("comes by method call as well", function()
    assert.equal(200, mine:fetch(http .. "/hello").status)
  end)

  it("keeps fields as sent in raw_headers", function()
    local r = mine.fetch(http .. "/twice")
    assert.equal("one, two", r.headers["x-twice"])
    assert.same({ "a=1; Path=/", "b=2" }, r.headers["set-cookie"])
    local seen = {}
    for _, field in ipairs(r.raw_headers) do
      local name, value = field[1] or field.name, field[2] or field.value
      if name == "X-Twice" then seen[#seen + 1] = value end
    end
    assert.same({ "one", "two" }, seen)
  end)

  it("of 4xx and 5xx is no error", function()
    for _, status in ipairs{ 400, 401, 404, 418, 500, 503 } do
      local r = mine.fetch(http .. "/status/" .. status)
      assert.equal(status, r.status)
      assert.is_false(r.ok)
      assert.equal("status " .. status, r.body)
    end
  end)

  it("without a body", function()
    local r = mine.fetch(http .. "/empty")
    assert.equal(204, r.status)
    assert.is_true(r.ok)
    assert.equal("", r.body)
    r = mine.fetch(http .. "/files/1k", { method = "HEAD" })
    assert.equal("1024", r.headers["content-length"])
    assert.equal("", r.body)
  end)

  it("text() decodes by charset, body does not", function()
    local r = mine.fetch(http .. "/latin1")
    assert.equal("caf\233\n", r.body)
    assert.equal("caf\195\169\n", r.text())
  end)

  it("json()", function()
    local data = mine.fetch(http .. "/json").json()
    assert.equal("caspian", data.name)
    assert.equal(2.5, data.list[2])
    assert.equal(true, data.list[3])
    assert.equal(net.null, data.list[4])
    assert.equal(mine.null, data.list[4])
    assert.equal(5, #data.list)
    fails.with("network/protocol", mine.fetch(http .. "/hello").json)
  end)

  it("over TLS has the peer's certificate", function()
    local r = mine.fetch(https .. "/tls", { ca_bundle = read(servers.ca) })
    assert.truthy(r.body:find("^TLSv1.3 localhost"))
    assert.truthy(r.peer_cert().subject:find("localhost"))
    assert.equal("number", type(r.timings.tls))
  end)
end)

describe("framing", function()
  fresh(before_each, after_each)
  local long = "first\nsecond\n" .. ("0123456789abcdef"):rep(3000)

  local rows = {
    { "a length", "/files/64k", function() return read(servers.dir .. "/files/64k") end },
    { "a length of a megabyte", "/files/1m", function() return read(servers.dir .. "/files/1m") end },
    { "a length of three megabytes and three", "/files/3m", function() return read(servers.dir .. "/files/3m") end },
    { "a length of one", "/files/1", function() return "x" end },
    { "a length of nothing", "/files/0", function() return "" end },
    { "chunked", "/chunked", function() return long end },
    { "until the connection closes", "/until-close", function() return long end },
  }
  for _, row in ipairs(rows) do
    it("by " .. row[1], function()
      for _, origin in ipairs{ http, https } do
        -- echo_duplicate ends its lines or not; what matters is that nothing is lost.
        local body = mine.fetch(origin .. row[2], { ca_bundle = read(servers.ca) }).body
        assert.is_true(body:gsub("\n$", "") == row[3]():gsub("\n$", ""), #body)
      end
    end)
  end
end)

describe("a request", function()
  fresh(before_each, after_each)

  it("says who it is and whom it asks", function()
    local seen = inspected(mine.fetch(http .. "/inspect?a=b%20c#fragment"))
    assert.equal("GET /inspect?a=b%20c HTTP/1.1", seen[1])
    assert.equal("127.0.0.1:" .. servers.http, seen.host)
    assert.truthy(seen["user-agent"]:find("^caspian/%d"))
  end)

  it("has the method and the fields that it is given", function()
    local r = mine.fetch(http .. "/inspect", {
      method = "DELETE", headers = { ["X-One"] = "1", ["x-two"] = { "a", "b" }, ["User-Agent"] = "mine", Authorization = "Bearer x" },
    })
    local seen = inspected(r)
    assert.equal("DELETE /inspect HTTP/1.1", seen[1])
    assert.equal("1", seen["x-one"])
    assert.truthy(seen["x-two"]:find("a"))
    assert.equal("mine", seen["user-agent"])
    assert.equal("Bearer x", seen.authorization)
  end)

  it("sends an array of values as so many fields", function()
    local r = mine.fetch(http .. "/headers", { headers = { ["X-Many"] = { "a", "b" } } })
    local count = select(2, r.body:gsub("[Xx]%-[Mm]any: [ab]\r", ""))
    assert.equal(2, count)
  end)

  it("has a body", function()
    -- option, value, body, content type (nil: none is sent)
    local rows = {
      { "body", "raw \0\255 bytes", "raw \0\255 bytes", nil },
      { "body", "", "", nil },
      { "body_form", { a = "1 &=é" }, "a=1+%26%3D%C3%A9", "application/x-www-form-urlencoded" },
      { "body_json", { 1, "two", true, net.null }, '[1,"two",true,null]', "application/json" },
      { "body_json", "text", '"text"', "application/json" },
      { "body_file", servers.dir .. "/files/1k", read(servers.dir .. "/files/1k"), nil, net },
    }
    for _, row in ipairs(rows) do
      -- Only the launched net reads files.
      local from = row[5] and net or mine
      local close = row[5] and { Connection = "close" } or {}
      local r = from.fetch(http .. "/echo", { method = "POST", [row[1]] = row[2], headers = close })
      assert.equal(row[3], r.body, row[1])
      r = from.fetch(http .. "/inspect", { method = "POST", [row[1]] = row[2], headers = close })
      local kind = inspected(r)["content-type"]
      assert.equal(row[4] or "", (kind or ""):gsub(";.*", ""), row[1])
      assert.equal(tostring(#row[3]), inspected(r)["content-length"])
    end
  end)

  it("has a multipart body", function()
    local r = mine.fetch(http .. "/echo", { method = "POST", body_multipart = { name = "value" } })
    assert.truthy(r.body:find('Content-Disposition: form-data; name="name"\r\n\r\nvalue\r\n', 1, true))
  end)

  it("has several parts of a name, in their order", function()
    for _, given in ipairs{
      { { "a", "1" }, { "a", 2 }, { "b", { data = "3", filename = "f" } } },
      { { name = "a", data = "1" }, { "a", "2" }, { name = "b", data = "3", filename = "f" } },
      { a = { "1", { data = "2" } }, b = { data = "3", filename = "f" } },
      { { "a", { "1", { data = "2" } } }, { "c", {} }, { "b", { data = "3", filename = "f" } } },
      { a = { 1, 2.0 }, b = { { data = "3", filename = "f" } }, c = {} },
    } do
      local body = mine.fetch(http .. "/echo", { method = "POST", body_multipart = given }).body
      local names = {}
      for name, value in body:gmatch('name="(%a)"[^\n]*\r\n.-\r\n(%d)\r\n') do names[#names + 1] = name .. value end
      assert.same({ "a1", "a2", "b3" }, names)
    end
  end)

  it("has a multipart body of the caller's type", function()
    for _, row in ipairs{
      { "multipart/form-data", "^multipart/form%-data; boundary=(caspian%-%x+)$" },
      { 'Multipart/related; boundary="x;y"; type=a', "^Multipart/related; type=a; boundary=(caspian%-%x+)$" },
    } do
      local r = mine.fetch(http .. "/inspect", {
        method = "POST", headers = { ["content-type"] = row[1] }, body_multipart = { a = "1" },
      })
      assert.truthy(inspected(r)["content-type"]:match(row[2]), inspected(r)["content-type"])
    end
    local r = mine.fetch(http .. "/inspect", { method = "POST", headers = { ["Content-Type"] = "x/y" }, body_multipart = { a = "1" } })
    assert.equal("x/y", inspected(r)["content-type"])
  end)

  it("loses nothing of a list with holes", function()
    local part = { name = "a", data = "1" }
    for _, row in ipairs{
      { "body_multipart", { part, nil, part }, "hole at index 2" },
      { "body_multipart", { [2] = part }, "hole at index 1" },
      { "body_multipart", { part, x = "y" }, "must be a list, got the key \"x\"" },
      { "body_multipart", { a = { "1", nil, "2" } }, "hole at index 2" },
      { "body_multipart", { { "a" } }, "body_multipart[1] must be { name, value }" },
      { "body_multipart", { { "a", "b", "c" } }, "body_multipart[1] must be { name, value }" },
      { "body_multipart", { { 1, "b" } }, "body_multipart[1] must be { name, value }" },
      { "body_multipart", { { "a", { "b", nil, "c" } } }, "hole at index 2" },
      { "body_form", { { "a", { "b", nil, "c" } } }, "hole at index 2" },
      { "query", { { "a", { "b", nil, "c" } } }, "hole at index 2" },
      { "body_form", { { "a", "1" }, nil, { "b", "2" } }, "hole at index 2" },
      { "body_form", { a = { "1", nil, "2" } }, "hole at index 2" },
      { "body_form", { { "a", "1", "2" } }, "body_form[1] must be { name, value }" },
      { "query", { { "a", "1" }, nil, { "b", "2" } }, "hole at index 2" },
      { "query", { a = {}, b = { {} } }, "query must hold strings" },
      { "query", "a=b", "query must be a table" },
      { "headers", { ["X-A"] = { "1", nil, "2" } }, "hole at index 2" },
    } do
      fails.plainly(row[3], mine.fetch, http .. "/echo", { method = "POST", [row[1]] = row[2] })
    end
    fails.plainly("hole at index 2", mine.fetch_all, { http .. "/hello", nil, http .. "/hello" })
  end)

  it("has a query behind what the URL has", function()
    local client = mine.http.client.new{ query = { key = "k" } }
    for _, row in ipairs{
      { "/q", { a = "1 &=\195\169" }, "/q?a=1+%26%3D%C3%A9" },
      { "/q", { b = { "2", 1 }, a = true }, "/q?a=true&b=2&b=1" },
      { "/q", { { "b", "1" }, { "a", "2" }, { "b", "3" } }, "/q?b=1&a=2&b=3" },
      { "/q?x=1", { a = "b" }, "/q?x=1&a=b" }, { "/q?", { a = "b" }, "/q?a=b" }, { "/q?x&", { a = "b" }, "/q?x&a=b" },
      { "/q?x#f?g", { a = "b" }, "/q?x&a=b#f?g" }, { "/q#f", { a = "b" }, "/q?a=b#f" },
      { "/q", { a = {} }, "/q" }, { "/q", {}, "/q" }, { "/q?", nil, "/q?key=k" },
      { "/q", { a = 2^53 - 1 }, "/q?a=9007199254740991" }, { "/q", { a = 0.1 + 0.2 }, "/q?a=0.30000000000000004" },
      { "/q", { a = 0.5 }, "/q?a=0.5" }, { "/q", { a = -1e15 }, "/q?a=-1000000000000000" },
    } do
      local r = client:get(http .. row[1], { query = row[2] })
      assert.equal(http .. row[3], r.url)
    end
    client:close()
  end)

  it("sends every digit of a number in forms and parts", function()
    local id = 1234567890123456 + 0.0 -- all that Lua 5.1 has for ids; tostring keeps 14 digits
    local form = mine.fetch(http .. "/echo", { method = "POST", body_form = { id = id } })
    assert.equal("id=1234567890123456", form.body)
    local parts = mine.fetch(http .. "/echo", { method = "POST", body_multipart = { id = id } })
    assert.truthy(parts.body:find("\r\n1234567890123456\r\n", 1, true))
  end)

  it("has one rule for values, wherever they stand", function()
    -- What there is in a list is sent, an empty one is nothing; truth values are words; numbers are alike on every Lua.
    local big = 2^53
    for _, row in ipairs{
      { true, "true" }, { false, "false" }, { 3.0, "3" }, { -2, "-2" }, { 1e15, "1000000000000000" }, { big, "9007199254740992" },
      { 0.1, "0.1" }, { 1 / 3, "0.3333333333333333" }, { 1e300, "1e+300" }, { 2^70, "1.1805916207174113e+21" }, { "s", "s" },
    } do
      local encoded = row[2]:gsub("+", "%%2B")
      assert.equal(http .. "/q?a=" .. encoded, mine.fetch(http .. "/q", { query = { a = row[1] } }).url)
      assert.equal("a=" .. encoded, mine.fetch(http .. "/echo", { method = "POST", body_form = { a = row[1] } }).body)
      local parts = mine.fetch(http .. "/echo", { method = "POST", body_multipart = { a = row[1] } }).body
      assert.equal(row[2], parts:match("\r\n\r\n(.-)\r\n"))
      if type(row[1]) == "number" then
        assert.equal(row[2], inspected(mine.fetch(http .. "/inspect", { headers = { ["X-One"] = row[1] } }))["x-one"])
      end
    end
    local lists = { { { "b", { "1", 2 } }, { "c", {} }, { "a", true } }, { b = { "1", 2 }, c = {} } }
    for index, expected in ipairs{ "b=1&b=2&a=true", "b=1&b=2" } do
      assert.equal(http .. "/q?" .. expected, mine.fetch(http .. "/q", { query = lists[index] }).url)
      assert.equal(expected, mine.fetch(http .. "/echo", { method = "POST", body_form = lists[index] }).body)
      local parts, got = mine.fetch(http .. "/echo", { method = "POST", body_multipart = lists[index] }).body, {}
      for name, value in parts:gmatch('name="(%a)"[^\n]*\r\n\r\n(.-)\r\n') do got[#got + 1] = name .. "=" .. value end
      assert.equal(expected, table.concat(got, "&"))
    end
    for _, value in ipairs{ 0 / 0, math.huge, -math.huge } do
      for _, option in ipairs{ "query", "body_form", "body_multipart", "headers" } do
        for _, given in ipairs{ { ["X-A"] = value }, { ["X-A"] = { "1", value } } } do
          fails.plainly("must be a finite number, got ", mine.fetch, http .. "/echo", { method = "POST", [option] = given })
        end
      end
    end
  end)

  it("has each header once, whatever its case", function()
    for _, headers in ipairs{ { ["X-A"] = "1", ["x-a"] = "2" }, { ["X-A"] = "1", ["x-a"] = {} }, { ["X-A"] = false, ["x-A"] = 1 } } do
      fails.plainly("is given twice", mine.fetch, http .. "/inspect", { headers = headers })
      fails.plainly("is given twice", mine.http.client.new, { headers = headers })
    end
  end)

  it("has no type where its header is false", function()
    local client = mine.http.client.new{ headers = { ["content-type"] = false } }
    for option, value in pairs{ body_json = { 1 }, body_form = { a = "1" }, body_multipart = { a = "1" } } do
      local r = mine.fetch(http .. "/inspect", { method = "POST", [option] = value, headers = { ["Content-Type"] = false } })
      assert.is_nil(inspected(r)["content-type"], option)
      assert.is_nil(inspected(client:fetch(http .. "/inspect", { method = "POST", [option] = value }))["content-type"], option)
      r = client:fetch(http .. "/inspect", { method = "POST", [option] = value, headers = { ["Content-Type"] = "multipart/mixed" } })
      assert.equal("multipart/mixed", inspected(r)["content-type"]:match("^[^;]+"))
      assert.equal(option == "body_multipart", inspected(r)["content-type"]:find("boundary=", 1, true) ~= nil)
    end
    client:close()
  end)

  it("leaves out a header of its own that is false", function()
    local jar = mine.http.jar()
    jar:set(http .. "/", "a=1")
    local own = { ["user-agent"] = true, accept = true, ["accept-encoding"] = true, authorization = true, cookie = true }
    local opts = { cookies = jar, auth = { user = "u", password = "p" } }
    local seen = inspected(mine.fetch(http .. "/inspect", opts))
    for name in pairs(own) do assert.is_string(seen[name], name) end
    for name in pairs(own) do
      opts.headers = { [name:upper()] = false }
      seen = inspected(mine.fetch(http .. "/inspect", opts))
      for each in pairs(own) do assert.equal(each ~= name, seen[each] ~= nil, name .. " " .. each) end
    end
    -- A client's; a request's value stands in its place.
    local client = mine.http.client.new{ headers = { ["User-Agent"] = false, ["X-One"] = "1" } }
    assert.is_nil(inspected(client:fetch(http .. "/inspect"))["user-agent"])
    assert.equal("me", inspected(client:fetch(http .. "/inspect", { headers = { ["user-agent"] = "me" } }))["user-agent"])
    assert.is_nil(inspected(client:fetch(http .. "/inspect", { headers = { ["x-one"] = false } }))["x-one"])
    client:close()
    -- What frames the request stays, and names that are none say nothing.
    seen = inspected(mine.fetch(http .. "/inspect", { method = "POST", body = "abc", headers = {
      Host = false, ["Content-Length"] = false, ["Transfer-Encoding"] = false, Connection = false, ["a b\r\nc"] = false } }))
    assert.equal("127.0.0.1:" .. servers.http, seen.host)
    assert.equal("3", seen["content-length"])
  end)

  it("speaks the versions of TLS that it is given", function()
    local ca = read(servers.ca)
    for _, row in ipairs{ { "TLSv1.2", "tlsv1_2", true }, { "TLSv1.2", "tlsv1_3", false }, { "TLSv1.3", "tlsv1_3", true } } do
      local p = peer.tls([[
        local c = accept()
        if c then head(c) c:send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") c:close() end]],
        ("protocol = %q"):format(row[2]))
      local url = "https://localhost:" .. p.port .. "/"
      local client = mine.http.client.new{ protocols = { row[1] }, ca_bundle = ca, timeout = 10 }
      local ok, err = pcall(client.get, client, url)
      assert.equal(row[3], ok, row[1] .. " with " .. row[2] .. ": " .. tostring(err))
      if not ok then assert.truthy(err:is("tls"), tostring(err)) end
      client:close()
      p:finish()
    end
    assert.truthy(mine.fetch(https .. "/hello", { protocols = { "TLSv1.2" }, ca_bundle = ca }).ok)
    fails.plainly("protocols", mine.fetch, https .. "/hello", { protocols = { "TLSv1.1" } })
    fails.plainly("protocols", mine.fetch, https .. "/hello", { protocols = "TLSv1.2" })
  end)

  it("of a megabyte arrives whole", function()
    local body = read(servers.dir .. "/files/1m")
    assert.is_true(mine.fetch(http .. "/echo", { method = "POST", body = body }).body == body)
    assert.is_true(mine.fetch(https .. "/echo", { method = "POST", body = body, ca_bundle = read(servers.ca) }).body == body)
  end)

  it("has at most one body", function()
    fails.plainly("body", mine.fetch, http .. "/echo", { body = "a", body_form = { a = "b" } })
  end)

  it("JSON goes and comes back as it was", function()
    local data = { name = "x", list = { 1, 2.5, true, net.null, { deep = {} } }, text = 'q"\\\n\0é' }
    local r = mine.fetch(http .. "/echo", { method = "POST", body_json = data })
    assert.same(data, r.json())
  end)

  it("an array stays an array, an object an object", function()
    local r = mine.fetch(http .. "/json")
    local again = mine.fetch(http .. "/echo", { method = "POST", body_json = r.json() })
    assert.truthy(again.body:find('"empty":[]', 1, true))
    assert.truthy(again.body:find("{}", 1, true))
    assert.truthy(again.body:find("null", 1, true))
  end)

  it("refuses JSON that is none", function()
    local loop = {}
    loop[1] = loop
    for _, value in ipairs{ { f = print }, loop, { 0 / 0 }, { math.huge }, { [1] = 1, a = 2 }, { [{}] = 1 }, { "\255" } } do
      fails.plainly("body_json", mine.fetch, http .. "/echo", { method = "POST", body_json = value })
    end
  end)
end)

describe("a redirect", function()
  fresh(before_each, after_each)

  it("is followed, and told", function()
    for _, code in ipairs{ 301, 302, 303, 307, 308 } do
      local r = mine.fetch(http .. "/redirect/" .. code)
      assert.equal(200, r.status)
      assert.equal(http .. "/inspect", r.url)
      assert.equal(1, #r.redirect_chain)
    end
  end)

  -- status, method sent, method that arrives, body that arrives
  local rows = {
    { 301, "POST", "GET", "" }, { 302, "POST", "GET", "" }, { 303, "POST", "GET", "" }, { 307, "POST", "POST", "x=1" },
    { 308, "POST", "POST", "x=1" }, { 301, "PUT", "PUT", "x=1" }, { 302, "PUT", "PUT", "x=1" }, { 303, "PUT", "GET", "" },
    { 303, "HEAD", "HEAD", "" }, { 301, "DELETE", "DELETE", "" }, { 303, "DELETE", "GET", "" },
  }
  for _, row in ipairs(rows) do
    it(row[1] .. " after " .. row[2] .. " is a " .. row[3], function()
      local body = row[2] ~= "HEAD" and row[2] ~= "DELETE" and "x=1" or nil
      local options = { method = row[2], body = body, headers = body and { ["Content-Type"] = "text/x" } }
      local r = mine.fetch(http .. "/redirect/" .. row[1], options)
      if row[2] ~= "HEAD" then
        local seen = inspected(r)
        assert.equal(row[3] .. " /inspect HTTP/1.1", seen[1])
        assert.equal(row[4] ~= "" and "text/x" or nil, seen["content-type"])
      end
      if row[4] ~= "" then
        assert.equal(row[4], mine.fetch(http .. "/redirect/" .. row[1] .. "/echo", options).body)
      end
    end)
  end

  it("resolves a relative Location, and keeps its fragment", function()
    local r = mine.fetch(http .. "/relative/a/b")
    assert.equal("/relative/c?q", r.body)
    assert.equal(http .. "/relative/c?q#f", r.url)
  end)

  it("to another origin drops what it should not carry", function()
    local r = mine.fetch(http .. "/other/307", {
      method = "POST", body = "x",
      headers = { Authorization = "Bearer secret", Cookie = "a=secret", ["X-One"] = "secret", Accept = "text/x", Host = "127.0.0.1" },
    })
    local seen = inspected(r)
    assert.equal("POST /inspect HTTP/1.1", seen[1])
    assert.falsy(r.body:find("secret"))
    assert.equal("127.0.0.1:" .. servers.other, seen.host)
    assert.equal("text/x", seen.accept)
  end)

  it("to another origin carries what forward_headers names", function()
    local r = mine.fetch(http .. "/other/302", { headers = { ["X-One"] = "1", ["X-Two"] = "2" }, forward_headers = { "X-One" } })
    assert.equal("1", inspected(r)["x-one"])
    assert.is_nil(inspected(r)["x-two"])
  end)

  it("to the same origin carries them all", function()
    local r = mine.fetch(http .. "/redirect/302", { headers = { Authorization = "Bearer x", ["X-One"] = "1" } })
    assert.equal("Bearer x", inspected(r).authorization)
    assert.equal("1", inspected(r)["x-one"])
  end)

  it("never makes credentials of a URL's userinfo", function()
    assert.is_nil(inspected(mine.fetch(http .. "/userinfo")).authorization)
  end)

  it("is not followed when it is not to be", function()
    local r = mine.fetch(http .. "/redirect/302", { follow_redirects = false })
    assert.equal(302, r.status)
    assert.equal("/inspect", r.headers.location)
  end)

  it("ends in a refusal where the grants end", function()
    local narrow = mine.narrow{ "--allow-net=127.0.0.1:" .. servers.http }
    fails.with("network/port_not_allowed", narrow.fetch, http .. "/other/302")
    fails.with("network/port_not_allowed", narrow.fetch, http .. "/ungranted")
    fails.with("network/host_not_allowed", narrow.fetch, http .. "/ungranted-name")
  end)

  it("never falls back to http", function()
    local options = { ca_bundle = read(servers.ca) }
    fails.with("network/protocol", mine.fetch, https .. "/downgrade/302", options)
    options.allow_downgrade = true
    assert.equal(200, mine.fetch(https .. "/downgrade/302", options).status)
  end)

  it("never leaves http and https", function()
    local ok, err = pcall(mine.fetch, http .. "/file")
    assert.is_false(ok)
    assert.truthy(err:is("network/protocol") or err:is("network/host_not_allowed"))
  end)

  it("without a Location is the response", function()
    assert.equal(302, mine.fetch(http .. "/nowhere").status)
  end)

  it("is followed max_redirects times", function()
    assert.equal("arrived", mine.fetch(http .. "/hops/" .. ("a"):rep(10)).body)
    assert.equal(10, #mine.fetch(http .. "/hops/" .. ("a"):rep(10)).redirect_chain)
    fails.with("network/protocol", mine.fetch, http .. "/hops/" .. ("a"):rep(11))
    fails.with("network/protocol", mine.fetch, http .. "/loop")
    fails.with("network/protocol", mine.fetch, http .. "/hops/aaa", { max_redirects = 2 })
    assert.equal("arrived", mine.fetch(http .. "/hops/aaa", { max_redirects = 3 }).body)
  end)
end)

describe("the pool", function()
  fresh(before_each, after_each)

  local function connection(from, options)
    return mine.fetch(from .. "/connection", options).body:match("^(%d+) (%d+)$")
  end

  it("keeps a connection and uses it again", function()
    local first = connection(http)
    local second, count = connection(http)
    assert.equal(first, second)
    assert.equal("2", count)
    assert.is_true(mine.fetch(http .. "/hello").timings.reused)
  end)

  it("keeps origins apart", function()
    assert.not_equal(connection(http), connection(other))
  end)

  it("keeps capabilities apart", function()
    local first = connection(http)
    local elsewhere = mine.narrow{ "--allow-net=127.0.0.1" }
    assert.not_equal(first, elsewhere.fetch(http .. "/connection").body:match("^%d+"))
  end)

  it("throws away what the server closed", function()
    local first = mine.fetch(http .. "/close").body
    assert.not_equal(first, (connection(http)))
  end)

  it("keeps TLS identities apart", function()
    local verified = connection(https, { ca_bundle = read(servers.ca) })
    assert.equal(verified, (connection(https, { ca_bundle = read(servers.ca) })))
    assert.not_equal(verified, (connection(https, { verify = false })))
    fails.with("network/tls", mine.fetch, https .. "/connection")
    assert.equal(verified, (connection(https, { ca_bundle = read(servers.ca) })))
  end)

  it("keeps a connection after HEAD, 204 and a redirect", function()
    local first = connection(http)
    mine.fetch(http .. "/files/1k", { method = "HEAD" })
    mine.fetch(http .. "/empty")
    mine.fetch(http .. "/redirect/302")
    mine.fetch(http .. "/chunked")
    assert.equal(first, (connection(http)))
  end)
end)

describe("a deadline", function()
  fresh(before_each, after_each)

  it("covers the wait for an answer, and its body", function()
    for _, path in ipairs{ "/never", "/half" } do
      local err = fails.with("network/timeout", mine.fetch, http .. path, { timeout = 0.1 })
      assert.equal(0.1, err.timeout)
      assert.equal(http .. path, err.url)
      assert.equal("fetch", err.op)
    end
  end)

  it("read_timeout is the longest silence", function()
    fails.with("network/timeout", mine.fetch, http .. "/half", { read_timeout = 0.1 })
  end)

  it("leaves no connection behind that a later call could mistake", function()
    fails.with("network/timeout", mine.fetch, http .. "/half", { timeout = 0.1 })
    assert.equal("hello\n", mine.fetch(http .. "/hello").body)
  end)
end)

describe("max_body_bytes", function()
  fresh(before_each, after_each)

  it("caps a buffered body, however it is framed", function()
    for _, path in ipairs{ "/files/1k", "/chunked", "/until-close" } do
      local err = fails.with("network/too_large", mine.fetch, http .. path, { max_body_bytes = 1023 })
      assert.is_true(err:is("network/protocol"))
    end
    assert.equal(1024, #mine.fetch(http .. "/files/1k", { max_body_bytes = 1024 }).body)
  end)
end)

describe("https", function()
  fresh(before_each, after_each)

  it("verifies", function()
    local rows = {
      { https, nil },
      { "https://localhost:" .. servers.expired, read(servers.ca) },
      { "https://localhost:" .. servers.elsewhere, read(servers.ca) },
      { "https://localhost:" .. servers.http, read(servers.ca) },
    }
    for _, row in ipairs(rows) do
      local err = fails.with("network/tls", mine.fetch, row[1] .. "/hello", { ca_bundle = row[2] })
      assert.equal(row[1] .. "/hello", err.url)
    end
  end)

  it("shows a client certificate", function()
    local r = mine.fetch("https://localhost:" .. servers.mutual .. "/tls",
      { ca_bundle = read(servers.ca), client_cert = read(servers.client.cert), client_key = read(servers.client.key) })
    assert.truthy(r.body:find("SUCCESS CN=a client", 1, true))
  end)
end)
