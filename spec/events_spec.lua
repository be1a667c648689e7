-- Contract 3 and 5: `net.events`, Server-Sent Events with reconnection, against a stream of Python's and scripted peers.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local nginx, httpbin = "http://127.0.0.1:" .. servers.http, servers.httpbin

local function collect(stream)
  local seen = {}
  for event in stream:each() do
    seen[#seen + 1] = event.event .. "|" .. event.data .. "|" .. event.id
  end
  return seen
end

describe("an event stream", function()
  local mine
  before_each(function() mine = net.narrow{ "--allow-net" } end)
  after_each(function() mine.revoke() mine = nil end)
  wire.watch(before_each, after_each)

  it("comes back where it was, until the server wants no more", function()
    local stream = mine.events(httpbin .. "/events?count=2")
    assert.same({
      "tick|1\nκόσμε|1", "tick|2\nκόσμε|2", "tick|3\nκόσμε|3", "tick|4\nκόσμε|4", "tick|5\nκόσμε|5",
    }, collect(stream))
    assert.is_nil(stream:next())
    assert.equal("5", stream.last_event_id)
    assert.equal(0.02, stream.retry)
    assert.equal(httpbin .. "/events?count=2", stream.url)
  end)

  it("does not come back if that is not wanted", function()
    local stream = mine.events(httpbin .. "/events?count=2", { reconnect = false })
    assert.equal(2, #collect(stream))
  end)

  it("goes on where an earlier one ended", function()
    local client = mine.http.client.new{ headers = { ["X-One"] = "1" } }
    local stream = client:events(httpbin .. "/events", { last_event_id = "3" })
    assert.same({ event = "tick", data = "4\nκόσμε", id = "4" }, stream:next())
    assert.equal("4", stream.last_event_id)
    stream:close()
    stream:close()
    assert.truthy(fails.with("network/socket", function() stream:next() end).message:find("closed", 1, true))
  end)

  it("has the timeout of its options, or its client's", function()
    local client = mine.http.client.new{ timeout = 3 }
    for _, row in ipairs{ { { timeout = 7 }, 7 }, { { timeout = 7, reconnect = true }, 7 }, { nil, 3 } } do
      local stream = client:events(httpbin .. "/events", row[1])
      assert.equal(row[2], stream.timeout)
      stream:close()
    end
  end)

  it("is over at once with a 204", function()
    assert.is_nil(mine.events(nginx .. "/empty"):next())
  end)

  for _, row in ipairs{ { "/json", "the wrong type" }, { "/status/500", "a 500" }, { "/status/404", "a 404" }, { "/gzip", "a text" } } do
    it("is not " .. row[2], function()
      fails.with("network/protocol", function() mine.events(nginx .. row[1]) end)
    end)
  end

  it("asks the grants", function()
    local none = net.narrow{ "--allow-net=127.0.0.1:" .. servers.other }
    fails.with("network/port_not_allowed", function() none.events(nginx .. "/events") end)
    none.revoke()
  end)

  it("loses nothing to a timeout", function()
    local server = peer.tcp[[
      local c = accept()
      head(c)
      c:send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 7\nda")
      local again = accept()
      again:close()
      c:send("ta: a\n\n")
      c:close()
    ]]
    local stream = mine.events("http://127.0.0.1:" .. server.port .. "/", { timeout = 5, reconnect = false })
    assert.equal(5, stream.timeout)
    fails.with("network/timeout", function() stream:next{ timeout = 0.1 } end)
    stream.timeout = 0
    fails.with("network/timeout", function() stream:next() end)
    mine.tcp("127.0.0.1", server.port):close()
    assert.same({ event = "message", data = "a", id = "7" }, stream:next{ timeout = 5 })
    assert.is_nil(stream:next{ timeout = 5 })
    server:finish()
  end)

  it("sends a body, once", function()
    local server = peer.tcp[[
      local c = accept()
      repeat local line = c:receive("*l") report(line:match("^POST") or line:match("^[Aa]ccept:.*")) until line == ""
      report((c:receive(7)))
      c:send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n")
      c:close()
    ]]
    local url = "http://127.0.0.1:" .. server.port .. "/"
    assert.equal(1, #collect(mine.events(url, { method = "POST", body_json = { 1, 2, 3 } })))
    local seen = table.concat(server:finish(), " ")
    assert.truthy(seen:find("POST", 1, true))
    assert.truthy(seen:find("ccept: text/event-stream", 1, true))
    assert.truthy(seen:find("[1,2,3]", 1, true))
  end)

  it("ends with its capability", function()
    local own = net.narrow{ "--allow-net" }
    local stream = own.events(nginx .. "/events")
    assert.equal("one", stream:next().data)
    own.revoke()
    fails.with("network/socket", function() stream:next() end)
  end)

  for _, row in ipairs{
    { { stream = true }, "unknown option" },
    { { save = true }, "unknown option" },
    { { reconnect = 1 }, "reconnect must be" },
    { { last_event_id = "a\nb" }, "last_event_id" },
    { { max_event_bytes = 0 }, "max_event_bytes must be" },
    { { body = function() end, method = "POST" }, "is not supported here" },
  } do
    it("refuses what is wrong: " .. row[2], function()
      local ok, err = pcall(mine.events, nginx .. "/events", row[1])
      assert.is_false(ok)
      assert.truthy(tostring(err):find("bad argument #2 to 'events'", 1, true), tostring(err))
      assert.truthy(tostring(err):find(row[2], 1, true), tostring(err))
    end)
  end

  it("is locked", function()
    local stream = mine.events(nginx .. "/events")
    assert.is_false(getmetatable(stream))
    assert.has_error(function() stream.url = "x" end)
    assert.has_error(function() stream.timeout = -1 end)
    assert.has_error(function() stream.next() end)
    stream:close()
  end)
end)
