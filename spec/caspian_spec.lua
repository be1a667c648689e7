-- Contract 12: an engine for Caspian takes the module through glue of at most 40 lines (examples/caspian.lua), and its scripts do what
-- the language promises. Each row is a process of its own: the glue seals its state.

local child = require("spec.support.child")
local peer = require("spec.support.peer")
local process = require("spec.support.process")

local PRELUDE = [[
  local engine = require("examples.caspian.engine").new()
  local glue = require("examples.caspian")
  local NET, CHAIN = { sys = "net" }, { sys = "chain" }
  local function var(name) return { var = name } end
  local function set(name, to) return { set = name, to = to } end
  local show
  function show(v)
    if v.type == "puck.uno/array" then
      local t = {}
      for i, x in ipairs(v.payload) do t[i] = show(x) end
      return "[" .. table.concat(t, " ") .. "]"
    elseif v.type == "puck.uno/null" then return "null" end
    return tostring(v.payload)
  end
  local function run(script, role) print(show(engine.run(script, role))) end
]]

-- what, flags, script, what it prints; PORT is a server's
local ROWS = {
  { "fetches", [[{ "--allow-net=127.0.0.1" }]], [[
    run{ set("r", { NET, "fetch", { "http://127.0.0.1:PORT/hello", kwargs = { headers = { hash = { ["X-Asked"] = "yes" } } } } }),
      { array = { { var("r"), "status" }, { var("r"), "ok?" }, { { var("r"), "headers" }, "at", { "x-kind" } }, { var("r"), "body" } } } }]],
    "[200 true plain ok]", server = true },
  { "gets JSON as values", [[{ "--allow-net=127.0.0.1" }]], [[
    run{ set("j", { { NET, "fetch", { "http://127.0.0.1:PORT/" } }, "json" }),
      { array = { { { var("j"), "at", { "none" } }, "length" }, { var("j"), "at", { "null" } }, { var("j"), "at", { "list" } } } } }
    print(engine.run{ { { NET, "grants" }, "at", { 1 } } }.owning_role)]], "[0 null [1 null x]]\nnet",
    server = '{"none":[],"null":null,"list":[1,null,"x"]}' },
  { "sends arrays that say so, and null", [[{ "--allow-net=127.0.0.1" }]], [[
    run{ { { NET, "fetch", { "http://127.0.0.1:PORT/", kwargs = { method = "POST",
      body_json = { hash = { empty = { array = {} }, none = { null = true }, list = { array = { 1, { null = true } } } } } } } }, "status" } }]],
    "200", server = true, sent = { '"empty":[]', '"none":null', '"list":[1,null]' } },
  { "listens", [[{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }]], [[
    run{ set("l", { NET, "tcp_listen", { "127.0.0.1", 0 } }), set("c", { NET, "tcp", { "127.0.0.1", { var("l"), "local_port" } } }),
      set("s", { var("l"), "accept", { kwargs = { timeout = 5 } } }), { var("c"), "timeout=", { 7.5 } }, { var("c"), "send_all", { "hi\n" } },
      set("line", { var("s"), "recv_line" }), { var("s"), "close" }, { array = { var("line"), { var("c"), "recv", { 9 } }, { var("c"), "timeout" } } } }]],
    "[hi\n null 7.5]" },
  { "gives several results as an array", [[{ "--allow-listen=127.0.0.1:0" }]], [[
    run{ set("u", { NET, "udp_listen", { "127.0.0.1", 0 } }), { { NET, "poll", { { array = { var("u") } }, 0 } }, "length" } }]], "2" },
  { "is refused", [[{ "--allow-net=127.0.0.1:9" }]], [[
    run{ { try = { { NET, "tcp", { "127.0.0.1", 10 } } }, catch = "https://puck.uno/error/network/port_not_allowed", as = "e",
      body = { { array = { { var("e"), "class" }, { var("e"), "host" }, { var("e"), "port" } } } } } }
    run{ { try = { { NET, "tcp", { "example.com", 10 } } }, catch = "puck.uno/error/network", as = "e", body = { { var("e"), "class" } } } }
    -- another class, and one that there is not, let it pass
    for _, class in ipairs{ "puck.uno/error/network/timeout", "puck.uno/error/mine" } do
      run{ { try = { { try = { { NET, "tcp", { "127.0.0.1", 10 } } }, catch = class, body = { "wrong" } } },
        catch = "puck.uno/error/network/port_not_allowed", body = { "outer" } } }
    end
    -- a wrong argument is no error of the network
    print(select(2, pcall(run, { { try = { { NET, "tcp", { "127.0.0.1", 70000 } } }, catch = "puck.uno/error/network", body = { "wrong" } } })))
    run{ { try = { { NET, "tcp", { "127.0.0.1", 70000 } } }, catch = "puck.uno/error", body = { "caught" } } }]],
    "[puck.uno/error/network/port_not_allowed 127.0.0.1 10]\npuck.uno/error/network/host_not_allowed\nouter\nouter\n"
      .. "bad argument #2 to 'tcp' (port must be 1..65535, got 70000)\ncaught" },
  { "times out in a block", [[{ "--allow-listen=127.0.0.1:0" }]], [[
    for _, call in ipairs{ { CHAIN, "timeout" }, { NET, "within" } } do
      run{ set("l", { NET, "tcp_listen", { "127.0.0.1", 0 } }),
        { try = { { call[1], call[2], { 0.05 }, { block = {}, body = { { var("l"), "accept" }, "never" } } } },
          catch = "puck.uno/error/network/timeout", as = "e", body = { { var("e"), "class" } } } }
    end
    run{ { CHAIN, "timeout", { 60 }, { block = {}, body = { "in time" } } } }]],
    "puck.uno/error/network/timeout\npuck.uno/error/network/timeout\nin time" },
  { "passes a jail", [[{ "--allow-net=127.0.0.1" }]], [[
    run{ set("jail", { { { NET, "http" }, "client" }, "jail", { "127.0.0.1" } }),
      set("status", { role = "guest", body = { { { var("jail"), "fetch", { "http://127.0.0.1:PORT/" } }, "status" } } }), var("status") }
    run{ set("jail", { { { NET, "http" }, "client" }, "jail", { "a.example" } }),
      { try = { { var("jail"), "fetch", { "http://127.0.0.1:PORT/" } } }, catch = "puck.uno/error/network/host_not_allowed", body = { "refused" } } }
    run{ set("jail", { { { NET, "http" }, "client" }, "jail", { "127.0.0.1" } }), { var("jail"), "tcp" } }]], "200\nrefused\nnull", server = true },
  { "is null for another role", [[{ "--allow-net=127.0.0.1" }]], [[
    run({ NET }, "guest") run{ { role = "guest", body = { NET } } }
    run{ set("f", { block = {}, body = { NET } }),
      { role = "guest", body = { { { var("f"), "call" }, "allows", { "127.0.0.1", 1 } } } } }
    run{ { try = { { role = "guest", body = { { NET, "fetch", { "http://127.0.0.1/" } } } } }, catch = "puck.uno/error", as = "e",
      body = { { var("e"), "message" } } } }
    run{ { { NET, "grants" }, "length" } }]], "null\nnull\ntrue\nno method 'fetch' on puck.uno/null\n1" },
  { "is null without a grant", [[{}]], [[run{ NET }]], "null" },
  { "makes objects by class", [[{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }]], [[
    run{ set("l", { NET, "tcp_listen", { "127.0.0.1", 0 } }), set("c", { { NET, "class", { "https://puck.uno/socket/tcp" } }, "new",
      { kwargs = { host = "127.0.0.1", port = { var("l"), "local_port" } } } }), { var("c"), "connected?" } }]], "true" },
  { "hands blocks to the network", [[{ "--allow-net=a.example" }]], [[
    local rule = { hash = { host = "a.example", middleware = { block = { "ctx", "next" }, body = {
      { hash = { status = 203, body = { { var("ctx"), "req" }, "method" } } } } } } }
    run{ set("g", { { NET, "http" }, "guard", { { hash = { rules = rule } } } }), set("r", { { var("g"), "at", { 1 } }, "fetch", { "https://a.example/" } }),
      { array = { { var("r"), "status" }, { var("r"), "body" } } } }]], "[203 GET]" },
  { "hands functions of the network to blocks", [[{ "--allow-net=127.0.0.1" }]], [[
    local rule = { hash = { host = "127.0.0.1", https_only = false, ports = { array = { PORT } }, middleware = { block = { "ctx", "next" },
      body = { set("r", { var("next"), "call" }), { var("r"), "status=", { 299 } }, var("r") } } } }
    run{ set("g", { { NET, "http" }, "guard", { { hash = { rules = rule, allow_private = true } } } }),
      { { { var("g"), "at", { 1 } }, "fetch", { "http://127.0.0.1:PORT/" } }, "status" } }]], "299", server = true },
  { "serves two engines, and revokes one", [[{ "--allow-net=127.0.0.1:9" }]], [[
    local other = require("examples.caspian.engine").new()
    glue(other, { "--allow-net=127.0.0.1:10" })
    run{ { { NET, "grants" }, "at", { 1 } } }
    print(other.run{ { { NET, "grants" }, "at", { 1 } } }.payload)
    other.run{ { NET, "revoke" } }
    print(other.run{ { try = { { NET, "tcp", { "127.0.0.1", 10 } } }, catch = "puck.uno/error/network/socket", body = { "revoked" } } }.payload)
    run{ { NET, "allows", { "127.0.0.1", 9 } } }]], "--allow-net=127.0.0.1:9\n--allow-net=127.0.0.1:10\nrevoked\ntrue" },
}

describe("the glue of a Caspian engine", function()
  it("has at most 40 lines", function()
    local _, lines = process.read("examples/caspian.lua"):gsub("\n", "")
    assert.is_true(lines <= 40, lines)
  end)

  for _, row in ipairs(ROWS) do
    it(row[1], function()
      local body = type(row.server) == "string" and row.server or "ok"
      local server = row.server and peer.tcp(([[
        local c = accept()
        local lines = head(c)
        local length = 0
        for _, line in ipairs(lines) do length = tonumber(line:lower():match("^content%%-length: (%%d+)")) or length end
        report(table.concat(lines, "|"), length > 0 and c:receive(length) or "")
        c:send("HTTP/1.1 200 OK\r\nX-Kind: plain\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" .. %q)
        c:close()]]):format(#body, body))
      local code = PRELUDE .. ("glue(engine, %s)\n"):format(row[2]) .. row[3]:gsub("PORT", server and server.port or "1")
      local said = child.run(code)
      local asked = server and server:finish()
      assert.equal(row[4], (said:gsub("[^\n]-%.lua:%d+: ", "")))
      for _, text in ipairs(row.sent or {}) do assert.truthy(asked[2]:find(text, 1, true), asked[2]) end
    end)
  end
end)
