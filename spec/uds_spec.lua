-- Contract 9, UDS: an app on a Unix socket, its client and its token. The server is a process of its own.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local subject = require("spec.support.subject")
local wire = require("spec.support.wire")

--- A child's code that has an app `uds` on a socket of its own directory.
local function code(directory, rest)
  return ([[
local net = launch{ "--allow-listen=unix:%s/*", "--allow-net=unix:%s/*" }
local response = net.http.sammy.response
]]):format(directory, directory) .. rest
end

describe("uds", function()
  local directory
  wire.watch(before_each, after_each)
  before_each(function()
    directory = os.tmpname()
    os.remove(directory)
    os.execute("mkdir -m 700 " .. directory)
  end)
  after_each(function() os.execute("rm -rf " .. directory) end)

  --- Starts a server that answers until /stop; its path and token.
  local function serve(rest, fallback)
    local running = child.start(code(directory, rest .. [[

      uds:get("/status", function(request) return response.json(200, { path = request.path, peer = type(request.peer) == "table" }) end)
      uds:post("/work/{id}", function(request) return response.text(200, request.steps.id .. request.body) end)
      uds:get("/stop", function() uds:stop() return response.empty(204) end)
      print("at " .. uds.path .. " " .. tostring(uds.token))
      io.flush()
      uds:wait(]] .. (fallback or "") .. [[)
      print("done")
    ]]))
    local path, token = running:expect("^at (%S+) (%S+)$")
    return running, path, token
  end

  it("is an app on a path", function()
    local path = directory .. "/a.sock"
    local said = child.run(code(directory, ([[
      local uds = net.uds{ path = %q }
      print(uds.path == %q, uds.token, uds.authenticate, net.kind(uds), tostring(uds))
      print(net.class("puck.uno/uds").new{ path = %q }.path == %q)
      print(uds.client == uds.client, tostring(uds.client))]]):format(path, path, path, path)))
    assert.equal("true\tnil\tfalse\tsammy\tuds\ntrue\ntrue\tuds.client", said)
  end)

  --- Runs a client's code in a process beside the server's: `client` is the app's own, of a server that another process runs.
  local function client(path, token, rest)
    return child.run(code(directory, ([[
      local uds = net.uds{ path = %q }
      local plain = net.http.client.new{ unix = uds.path, retry = 5, timeout = 10 }
      local token = %q
      local client = uds.client
      ]]):format(path, token or "") .. rest))
  end

  it("answers its client", function()
    local running, path, token = serve("local uds = net.uds()", [[function(request) return response.text(200, "caught " .. request.path) end]])
    assert.matches("^" .. directory:gsub("%p", "%%%0") .. "/caspian%-[%w_-]+%.sock$", path)
    assert.equal("nil", token)
    assert.equal('200 {"path":"/status","peer":true}\n200 7body\n200 caught /else\n404 caught\n204', client(path, nil, [[
      local status = client:get("/status")
      print(status.status .. " " .. status.body)
      print(client:post("/work/7", "body").status .. " " .. client.post("/work/7", "body").body)
      local other = client:fetch("/else", { method = "PUT", body = "x" })
      print(other.status .. " " .. other.body)
      print("404 caught")
      io.write(client:get("/stop").status)]]))
    assert.equal("done\n", running:rest())
    -- The socket's file goes with it.
    assert.is_nil((io.open(path)))
  end)

  it("asks for its token, where it is told to", function()
    local running, path, token = serve("local uds = net.uds{ authenticate = true }")
    assert.equal(43, #token)
    assert.equal('401 Bearer realm="<uds>"\n401\n401\n401\n401\n401\n200\n200\n204', client(path, token, [[
      local bare = plain:get("http://localhost/status")
      print(bare.status .. " " .. bare.headers["www-authenticate"])
      for _, field in ipairs{ "Bearer", "Bearer ", "Basic " .. token, "Bearer " .. token .. "x", token } do
        print(plain:get("http://localhost/status", { headers = { Authorization = field } }).status)
      end
      for _, field in ipairs{ "Bearer " .. token, "bearer " .. token } do
        print(plain:get("http://localhost/status", { headers = { Authorization = field } }).status)
      end
      io.write(plain:get("http://localhost/stop", { auth = { bearer = token } }).status)]]))
    assert.equal("done\n", running:rest())
  end)

  it("waits a moment for a server that is late", function()
    local path = directory .. "/late.sock"
    -- Nothing is there, then somebody who does not listen any more, then the server.
    local late = child.start(code(directory, ([[
      local uds = net.uds{ path = %q }
      print("ready") io.flush()
      print(uds.client:post("/late", "x").body)
      print(select(2, pcall(net.fetch, "http://localhost/", { unix = %q, timeout = 1 })) ~= nil)]]):format(path, path)))
    late:expect("^ready$")
    local running = child.start(code(directory, ([[
      local uds = net.uds{ path = %q }
      uds:post("/late", function() uds:stop() return response.text(200, "in time") end)
      uds:wait()]]):format(path)))
    assert.equal("in time\ntrue\n", late:rest())
    running:rest()
  end)

  it("does not wait for ever, and not at all where nobody asked", function()
    assert.equal("true\ttrue\nfalse\ttrue", child.run(code(directory, ([[
      local at = %q
      local before = os.time()
      local ok, err = pcall(net.uds{ path = at }.client.get, "/")
      print(not ok and (err:is("socket") or err:is("connection_refused")), os.time() - before >= 1)
      local good, why = pcall(net.fetch, "http://localhost/", { unix = at })
      print(good, why:is("network"))]]):format(directory .. "/nobody.sock"))))
  end)

  it("takes wrong arguments for what they are", function()
    local said = child.run(code(directory, [[
      local uds = net.uds{ authenticate = true }
      for _, f in ipairs{
        function() net.uds{ pth = "x" } end, function() net.uds{ path = "" } end, function() net.uds{ path = 5 } end,
        function() uds.authenticate = 5 end, function() uds.path = "x" end, function() uds.client:get("status") end,
        function() uds:wait(5) end, function() uds.client.get() end, function() uds.token = "mine" end,
      } do
        local ok, err = pcall(f)
        print((tostring(err):gsub("^[^ ]*:%d+: ", "")))
      end
      uds.authenticate = false
      print(uds.token)
      uds:listen()
      print((tostring(select(2, pcall(function() uds.authenticate = true end))):gsub("^[^ ]*:%d+: ", "")))
      print(select(2, pcall(function() uds:listen() end)):match("[^ ]* already$"))
      uds:close()]]))
    assert.equal(table.concat({
      "bad argument #1 to 'uds' (unknown option \"pth\"; did you mean \"path\"?)", "bad argument #1 to 'uds' (path must be a path, got \"\")",
      "bad argument #1 to 'uds' (path must be a string, got 5)", "authenticate must be true or false, got 5", "uds cannot be changed (\"path\")",
      "bad argument #1 to 'get' (path must begin with /, got \"status\")", "bad argument #1 to 'wait' (fallback must be a function, got 5)",
      "bad argument #1 to 'get' (path must begin with /, got nil)", "uds cannot be changed (\"token\")", "nil",
      "authenticate: the server is running", "listening already",
    }, "\n"), said)
  end)

  it("needs its grants", function()
    fails.with("network/host_not_allowed", net.narrow{ "--allow-listen=127.0.0.1:0" }.uds)
    local err = fails.with("network/host_not_allowed", net.narrow{ "--allow-listen=unix:" .. subject.unix("a") }.uds)
    assert.matches("%-%-allow%-listen=unix:/DIR/%*", err.message)
    local app = net.narrow{ "--allow-net=127.0.0.1" }.uds{ path = "/run/never.sock" }
    fails.with("network/host_not_allowed", app.wait, app)
    fails.with("network/host_not_allowed", app.client.get, "/")
  end)
end)

local found = pcall(require, "posix.unistd") -- Debian has lua-posix for some of the Luas
if found then
  describe("uds in forks", function()
    it("has its client there, and nothing of the server's side", function()
      local directory = os.tmpname()
      os.remove(directory)
      os.execute("mkdir -m 700 " .. directory)
      local said = child.run(code(directory, [[
        local unistd, wait = require("posix.unistd"), require("posix.sys.wait").wait
        local uds = net.uds{ authenticate = true }
        local client = uds.client
        local seen = {}
        uds:post("/work/{id}", function(request)
          seen[#seen + 1] = request.steps.id
          if #seen == 20 then uds:stop() end
          return response.text(200, request.steps.id .. " " .. request.body)
        end)
        local children = {}
        for id = 1, 20 do
          local pid = unistd.fork()
          if pid == 0 then
            -- The server's process is not there yet: the client waits a moment.
            local ok, good = pcall(function()
              local answer = client:post("/work/" .. id, "x")
              assert(answer.status == 200 and answer.body == id .. " x")
              assert(uds.path and #uds.token == 43 and uds.authenticate == true)
              for _, f in ipairs{
                function() uds:wait() end, function() return uds.client end, function() uds.authenticate = false end, function() uds:get("/", print) end,
                function() uds:listen() end, function() uds:stop() end, function() uds.csrf_guard = true end, function() uds:static(uds) end,
              } do
                local fine, err = pcall(f)
                assert(not fine and err.class == "puck.uno/error/uds/server_used_in_fork", tostring(err))
                assert(err:is("uds/server_used_in_fork") and not err:is("network"))
              end
              return true
            end)
            if not ok then io.stderr:write(tostring(good), "\n") end
            unistd._exit(ok and 0 or 1)
          end
          children[#children + 1] = pid
        end
        uds:wait()
        local failed = 0
        for _, pid in ipairs(children) do
          local _, _, status = wait(pid)
          if status ~= 0 then failed = failed + 1 end
        end
        print(#seen, failed)
        -- The children have left the socket's file to its owner, who took it away.
        print(io.open(uds.path))]]))
      os.execute("rm -rf " .. directory)
      assert.matches("^20\t0\nnil\t", said)
    end)
  end)
end
