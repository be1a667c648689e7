-- Contract 5, option `retry`: what is asked again, when, and when not.

local fails = require("spec.support.fails")
local child = require("spec.support.child")
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local subject = require("spec.support.subject")
local wire = require("spec.support.wire")

local net = subject.net

-- A peer that answers each connection with the next of `answers`; an empty one is a reset. Reports the request lines.
local function serve(answers)
  local script = {}
  for _, answer in ipairs(answers) do
    script[#script + 1] = ("do local c = accept() report(head(c)[1]) c:send(%q) c:close() end"):format(answer):gsub("\\\n", "\\n"):gsub("\r", "\\r")
  end
  return peer.tcp(table.concat(script, "\n"))
end

local function answer(status, extra)
  return ("HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: 2\r\n%s\r\nok"):format(status, extra or "")
end

local busy, fine = answer(503), answer(200)
local quick = { attempts = 3, backoff = 0.02 }

describe("the option retry", function()
  local mine
  before_each(function() mine = net.narrow{ "--allow-net" } end)
  after_each(function() mine.revoke() mine = nil end)
  wire.watch(before_each, after_each)

  for _, row in ipairs{
    { "asks again after 503", { busy, busy, fine }, quick, 200 },
    { "asks again after 429, 502 and 504", { answer(429), answer(502), answer(504), fine }, quick, 200 },
    { "hands over the last answer when it is spent", { busy, busy, busy, busy }, quick, 503 },
    { "asks again after a lost connection", { "", fine }, quick, 200 },
    { "takes other answers as they are", { answer(500) }, quick, 500 },
    { "asks for the statuses that it is given", { answer(418), fine }, { backoff = 0.02, statuses = { 418 } }, 200 },
    { "takes a number", { answer(503, "Retry-After: 0\r\n"), fine }, 1, 200 },
    { "waits as long as the server says", { answer(503, "Retry-After: 1\r\n"), fine }, quick, 200, 1 },
    { "does not wait longer than max_wait", { answer(503, "Retry-After: 3600\r\n") }, quick, 503 },
    { "does not wait for a date in the far future", { answer(503, "Retry-After: Wed, 21 Oct 2099 07:28:00 GMT\r\n") }, quick, 503 },
    { "ignores a Retry-After that says nothing", { answer(503, "Retry-After: -1\r\n"), answer(503, "Retry-After: soon\r\n"), fine }, quick, 200 },
    { "sends no POST again", { busy }, quick, 503, method = "POST" },
    { "sends a PUT again, body and all", { busy, fine }, quick, 200, method = "PUT", body = "x" },
    { "sends no body again that can be read only once", { busy }, quick, 503, method = "PUT", once = true },
    { "is off by default", { busy }, nil, 503 },
    { "can be turned off", { busy }, false, 503 },
  } do
    it(row[1], function()
      local server = serve(row[2])
      local started = os.time()
      local body = row.body
      if row.once then
        local pieces = { "x" }
        body = function() return table.remove(pieces) end
      end
      local r = mine.fetch("http://127.0.0.1:" .. server.port .. "/", {
        retry = row[3], method = row.method, body = body, timeout = 10,
      })
      assert.equal(row[4], r.status)
      assert.equal("ok", r.body)
      assert.equal(#row[2], #server:finish())
      if row[5] then assert.is_true(r.timings.total >= row[5], r.timings.total) end
      assert.is_true(os.time() - started < 9)
    end)
  end

  it("never sleeps past the deadline", function()
    local server = serve{ answer(503, "Retry-After: 5\r\n") }
    local r = mine.fetch("http://127.0.0.1:" .. server.port .. "/", { retry = 3, timeout = 2 })
    assert.equal(503, r.status)
    assert.is_true(r.timings.total < 1.5)
    server:finish()
  end)

  it("raises the failure when it is spent", function()
    fails.with("network/connection_refused", mine.fetch, "http://127.0.0.1:1/", { retry = { attempts = 2, backoff = 0.01 } })
  end)

  -- The server comes when the client's log says that it has failed twice.
  local LATE = [[
    local socket, path, log = require("socket"), %q, %q
    local function failures()
      local file, count = io.open(log), 0
      for line in file and file:lines() or function() end do if line:find("failed", 1, true) then count = count + 1 end end
      if file then file:close() end
      return count
    end
    while failures() < 2 do socket.sleep(0.005) end
    os.remove(path)
    local server = assert(require("socket.unix")())
    assert(server:bind(path)) assert(server:listen(8)) server:settimeout(10)
    local c = assert(server:accept())
    c:settimeout(10)
    print((c:receive("*l")))
    repeat local line = c:receive("*l") until not line or line == ""
    c:send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    c:close()
  ]]
  local CLIENT = [[
    local mine = launch{ "--allow-net=unix:%s", "--net-log=%s" }
    print(mine.fetch("http://late/", { unix = %q, method = %q, timeout = 20,
      retry = { attempts = 1000, backoff = 0.01, max_wait = 0.02 } }).body)
  ]]

  -- Its path is not there; or an earlier server has left it, so that nobody listens.
  for _, row in ipairs{ { "new", "GET" }, { "old", "GET" }, { "new", "POST" }, { "old", "POST" } } do
    local how, method = row[1], row[2]
    it("waits for a server on a Unix socket that is late (" .. how .. ", " .. method .. ")", function()
      local path, log = subject.unix("a"), os.tmpname()
      os.remove(path)
      if how == "old" then peer.unix(path, ""):finish() end
      fails.with(how == "old" and "network/connection_refused" or "network/socket", net.fetch, "http://late/", { unix = path })
      local source = process.file(LATE:format(path, log))
      local server = process.start(subject.lua .. " " .. process.quote(source), { source })
      assert.equal("ok", child.run(CLIENT:format(path, log, path, method)))
      assert.equal(method .. " / HTTP/1.1\n", (server:rest()))
      os.remove(path) os.remove(log)
    end)
  end

  it("waits no longer than it may for a Unix socket that nobody opens", function()
    local path = subject.unix("b")
    os.remove(path)
    fails.with("network/socket", net.fetch, "http://late/", { unix = path, retry = quick })
  end)

  it("does not argue with the gate", function()
    local few = mine.narrow{ "--allow-net=127.0.0.1:1" }
    fails.with("network/port_not_allowed", few.fetch, "http://127.0.0.1:2/", { retry = { attempts = 3, backoff = 5 } })
  end)

  it("cannot be wrong", function()
    for _, row in ipairs{
      { "x", "retry must be" }, { -1, "retry must be" }, { 1.5, "retry must be" },
      { { attempts = -1 }, "attempts must be" }, { { backoff = "x" }, "backoff must be" },
      { { statuses = { "x" } }, "statuses" }, { { statuses = { 99 } }, "statuses" }, { { nonsense = 1 }, "unknown option" },
    } do
      fails.plainly(row[2], mine.fetch, "http://127.0.0.1:1/", { retry = row[1] })
    end
  end)
end)
