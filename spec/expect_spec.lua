-- Contract 5: `Expect: 100-continue`, and what a client keeps of its connections.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local http = "http://127.0.0.1:" .. servers.http

local mine
local function fresh(before_each, after_each)
  before_each(function() mine = net.narrow{ "--allow-net=127.0.0.1" } end)
  after_each(function() mine.revoke() mine = nil end)
  wire.watch(before_each, after_each)
end

local prelude = [[
local function expects(lines)
  return table.concat(lines, "\n"):lower():find("expect: 100%-continue") and "expects" or "plain"
end
]]

-- What the server does, what it reports, and the status that comes back.
local rows = {
  { "sends the body when it is wanted", [[
      local c = accept()
      report(expects(head(c)))
      c:settimeout(0.2)
      report(tostring(c:receive(1)))
      c:settimeout(10)
      c:send("HTTP/1.1 100 Continue\r\n\r\n")
      report((c:receive(LENGTH)))
      c:send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
      c:close()]], { "expects", "nil", "body" }, 200 },
  { "sends it after a second of silence", [[
      local c = accept()
      report(expects(head(c)))
      report((c:receive(LENGTH)))
      c:send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
      c:close()]], { "expects", "body" }, 200 },
  { "keeps it where the answer is here already", [[
      local c = accept()
      report(expects(head(c)))
      c:send("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
      report(tostring(c:receive(1)))
      c:close()]], { "expects", "nil" }, 403 },
  { "asks once more without it after 417", [[
      local c = accept()
      report(expects(head(c)))
      c:send("HTTP/1.1 417 What\r\nContent-Length: 0\r\n\r\n")
      report(tostring(c:receive(1)))
      c:close()
      c = accept()
      report(expects(head(c)))
      report((c:receive(LENGTH)))
      c:send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
      c:close()]], { "expects", "nil", "plain", "body" }, 200 },
}

describe("Expect: 100-continue", function()
  fresh(before_each, after_each)

  for _, row in ipairs(rows) do
    for _, kind in ipairs{ "string", "function" } do
      it(row[1] .. " (a " .. kind .. ")", function()
        local server = peer.tcp(prelude .. row[2]:gsub("LENGTH", kind == "string" and "4" or "14"))
        local pieces = { "body" }
        local body = kind == "string" and "body" or nil
        local asked = false
        local r = mine.fetch("http://127.0.0.1:" .. server.port .. "/", {
          method = "POST", headers = { Expect = "100-continue" }, timeout = 8,
          body = body or function() asked = true return table.remove(pieces) end,
        })
        assert.equal(row[4], r.status)
        local seen, expected = server:finish(), row[3]
        -- Chunked.
        if seen[#seen]:find("^4\r?\nbody\r?\n0") then seen[#seen] = "body" end
        assert.same(expected, seen)
        if not body and row[4] == 403 then assert.is_false(asked) end
      end)
    end
  end

  it("is understood by nginx", function()
    local r = mine.fetch(http .. "/echo", { method = "POST", body = "a body", headers = { Expect = "100-continue" } })
    assert.equal("a body", r.body)
    assert.is_true(r.timings.total < 0.9)
  end)
end)

describe("a client's pool", function()
  fresh(before_each, after_each)

  for _, row in ipairs{
    { "keeps connections by default", {}, true },
    { "keeps none with max_idle = 0", { max_idle = 0 }, false },
    { "keeps none with max_idle_per_origin = 0", { max_idle_per_origin = 0 }, false },
    { "keeps none with idle_timeout = 0", { idle_timeout = 0 }, false },
    { "keeps one with max_idle = 1", { max_idle = 1 }, true },
  } do
    it(row[1], function()
      local client = mine.http.client.new(row[2])
      client:get(http .. "/hello")
      assert.equal(row[3], client:get(http .. "/hello").timings.reused)
      client:close()
    end)
  end

  it("makes room for the newest", function()
    local client = mine.http.client.new{ max_idle = 1 }
    client:get(http .. "/hello")
    client:get("http://127.0.0.1:" .. servers.other .. "/hello")
    assert.is_false(client:get(http .. "/hello").timings.reused)
    client:close()
  end)

  it("has limits that are numbers", function()
    fails.plainly("max_idle must be", mine.http.client.new, { max_idle = -1 })
    fails.plainly("idle_timeout must be", mine.http.client.new, { idle_timeout = "x" })
    fails.plainly("unknown option", mine.fetch, http, { max_idle = 1 })
  end)
end)
