-- README's Lua, as it stands there: each block compiles on this Lua, and runs against stand-ins on loopback.

local child = require("spec.support.child")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local sammy = require("spec.support.sammy")
local servers = require("spec.support.servers")

local load = loadstring or load -- luacheck: ignore
-- `<close>` is of Lua 5.4; the sentence beside the block is about the launcher, which has that one.
local has_close = load("local a <close> = nil") ~= nil

local blocks = {}
do
  local text = process.read("README.md")
  for block in text:gmatch("\n```lua\n(.-)```") do blocks[#blocks + 1] = block end
end

--- The one block that has these words.
local function block(words)
  local found
  for _, text in ipairs(blocks) do
    if text:find(words, 1, true) then
      assert(not found, "two blocks have " .. words)
      found = text
    end
  end
  return assert(found, "no block has " .. words)
end

local run = {}
--- Compiles the block with `words` for a chunk that gets `env` as its globals.
local function chunk(words, env, before, after)
  local text = block(words)
  run[text] = true
  local code = (before or "") .. text .. (after or "")
  setmetatable(env, { __index = _G })
  local made = assert(load(code, "=README", "t", env))
  if setfenv then setfenv(made, env) end -- luacheck: ignore
  return made
end

describe("README's Lua", function()
  it("compiles", function()
    assert.truthy(#blocks >= 9)
    for _, text in ipairs(blocks) do
      if has_close or not text:find("<close>", 1, true) then assert(load(text, "=README")) end
    end
  end)

  it("has a first program that runs with the flags beside it", function()
    local text = block("hello.lua")
    run[text] = true
    if not has_close then text = text:gsub(" <close>", "") end
    local flags = process.read("README.md"):match("cargo run %-q %-%- (.-) hello%.lua")
    local list = {}
    for flag in flags:gmatch("%S+") do list[#list + 1] = ("%q"):format(flag) end
    local said = child.run("local net = launch{ " .. table.concat(list, ", ") .. " }\n" .. text)
    assert.truthy(said:find("the server read: hello\nthe server read: world\n", 1, true), said)
    assert.truthy(said:find("false%s+puck.uno/error/network/timeout\nfalse%s+true\n"), said)
    assert.truthy(said:find("--allow-net=example.com", 1, true), said)
    for flag in flags:gmatch("%S+") do assert.truthy(said:find("granted: " .. flag, 1, true), said) end
  end)

  it("polls many connections", function()
    local listener = net.tcp_listen("127.0.0.1", 0)
    local ends, clients, answered, left = {}, {}, {}, {}
    for i = 1, 3 do
      ends[i] = net.tcp("127.0.0.1", listener.local_port)
      clients[i] = listener:accept{ timeout = 5 }
    end
    local loop = chunk("net.poll(clients, 60)", {
      net = net, clients = clients,
      answer = function(client, line) answered[client] = line end, leave = function(client) left[client] = true end,
    })
    ends[1]:send_all("one\n")
    ends[2]:send_all("half")
    ends[3]:close()
    while not (answered[clients[1]] and left[clients[3]]) do loop() end
    assert.same({ [clients[1]] = "one\n" }, answered)
    assert.same({ [clients[3]] = true }, left)
    listener:close()
    for i = 1, 3 do ends[i]:close() clients[i]:close() end
  end)

  it("answers a browser", function()
    local serve = chunk("action=/greet", { io = { stderr = { write = function() return true end } }, net = { http = {
      server = function(host, port, opts)
        assert.same({ "127.0.0.1", 8080 }, { host, port })
        local server = net.http.server(host, 0, opts)
        local url, stop = "http://127.0.0.1:" .. server.local_port, server.stop
        local client = process.start(("curl -s --max-time 10 %s/ -d who=you %s/greet %s/x"):format(url, url, url))
        return { run = function(_, handler)
          local answers = {}
          server:run(function(request)
            answers[#answers + 1] = handler(request)
            if #answers == 3 then stop(server) end
            return answers[#answers]
          end)
          local text = client:rest()
          assert.truthy(text:find('<form method=post.*{"hello":"you"}no such page\n$'), text)
        end }
      end,
    } } })
    serve()
  end)

  it("posts JSON with a client", function()
    local p = peer.tls[[
      local c = accept()
      local lines = head(c)
      local body = c:receive(24)
      c:send("HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 8\r\nConnection: close\r\n\r\n{\"id\":7}")
      report(lines[1], body)
      c:close()]]
    local said
    -- The public host is this machine's here, and its authority the suite's.
    local made = chunk("api.example.com/users", { print = function(...) said = { ... } end, net = { array = net.array, http = { client = {
      new = function(opts)

        local client = net.http.client.new{ timeout = opts.timeout, cookies = opts.cookies, ca_bundle = servers.ca }
        return { post = function(_, url, given)
          local host
          url, host = url:gsub("https://api%.example%.com/", "https://localhost:" .. p.port .. "/")
          assert.equal(1, host)
          return client:post(url, given)
        end }
      end,
    } } } })
    made()
    assert.same({ 201, "application/json", 7 }, said)
    local seen = p:finish()
    assert.equal("POST /users HTTP/1.1", seen[1])
    assert.truthy(seen[2]:find('"name":"Ada"', 1, true) and seen[2]:find('"tags":[]', 1, true), seen[2])
  end)

  it("makes a guard", function()
    local fetch
    chunk("net.http.guard{", { net = net, run_untrusted = function(given) fetch = given.fetch end })()
    for url, allowed in pairs{
      ["https://api.example.com/users/7"] = true, ["https://api.example.com/users/x"] = false,
      ["https://api.example.com/files/a/b"] = true, ["https://a.cdn.example.com/"] = true, ["https://cdn.example.com/"] = false,
    } do
      -- Nobody answers such names here: what is allowed fails later.
      local ok, err = pcall(fetch, url, { timeout = 0 })
      assert.is_false(ok)
      assert.equal(allowed, not err:is("network/host_not_allowed"), url .. ": " .. tostring(err))
    end
  end)

  it("has middleware that does what is said above it", function()
    local drafts = {}
    for _, row in ipairs{
      { "Bearer", { token = function() return "T" end }, "/headers", nil, function(r)
        assert.truthy(r.body:lower():find("authorization: bearer t", 1, true), r.body)
      end },
      { "response.json().data", {}, "/echo", { method = "POST", body = '{"data":{"a":7}}' }, function(r)
        assert.equal(7, r.json().a)
      end },
      { "drafts", { drafts = drafts }, "/echo", { method = "POST", body = "x" }, function(r)
        assert.same({ 201, "x" }, { r.status, drafts[1] })
      end },
    } do
      local env = row[2]
      chunk(row[1], env)()
      local guard = net.http.guard{
        rules = { host = "127.0.0.1", https_only = false, ports = servers.http }, allow_private = true, middleware = env.middleware,
      }
      row[5](guard.fetch("http://127.0.0.1:" .. servers.http .. row[3], row[4]))
    end
  end)

  it("makes an app", function()
    local app, ran
    chunk("net.http.sammy{", { net = { http = { sammy = function(given)
      app = net.http.sammy(given)
      -- Its directory and its port are the reader's.
      return setmetatable({
        response = app.response,
        static = function(_, dir) assert.equal("public", dir) end,
        run = function(_, host, port, fallback) ran = { host, port, fallback } end,
      }, { __index = function(_, name) return function(_, ...) return app[name](app, ...) end end })
    end } } })()
    assert.same({ "127.0.0.1", 8080 }, { ran[1], ran[2] })
    assert.equal("<h1>Hello</h1>", sammy.ask(app, "GET /").body)
    assert.equal('{"id":"7"}', sammy.ask(app, "GET /users/7").body)
    assert.equal(403, sammy.ask(app, "POST /login").status)
    assert.equal("nobody is here", sammy.ask(app, "GET /nobody", ran[3]).body)
  end)

  it("installs the drop-in", function()
    local text = block('require("caspian.net.compat").install(net)')
    run[text] = true
    local said = child.run('local net = launch{ "--allow-net" }\n' .. text .. ([[
      local body, code = http.request("http://127.0.0.1:%d/hello")
      print(code, #body > 0)]]):format(servers.http))
    assert.equal("200\ttrue", said)
  end)

  it("reports errors that nobody caught", function()
    local text = block("xpcall(main, tostring)")
    run[text] = true
    local said = child.run('local net = launch{ "--allow-net" }\nlocal function main() net.tcp("127.0.0.1", 1) end\n' .. text)
    assert.truthy(said:find("^[^\n]*:%d+: network/connection_refused: [^\n]*$"), said)
  end)

  it("runs, every block of it", function()
    for _, text in ipairs(blocks) do assert.truthy(run[text], text) end
  end)
end)
