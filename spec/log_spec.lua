-- Contract 2: --net-log.

local child = require("spec.support.child")
local process = require("spec.support.process")
local servers = require("spec.support.servers")

describe("--net-log", function()
  after_each(process.kill_all)

  -- Runs code with a log; answers what the log says.
  local function logged(flags, code)
    local path = os.tmpname()
    local said = child.run(("local net = launch{ %q, %s }\n"):format("--net-log=" .. path, flags) .. code)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    os.remove(path)
    assert.equal("", said)
    return text
  end

  it("appends each decision and connection as one line of JSON", function()
    local text = logged('"--allow-net=127.0.0.1", "--allow-net=localhost"', ([[
      net.tcp("localhost", %d):close()
      pcall(net.tcp, "refused.example", 81)
      pcall(net.fetch, "http://127.0.0.1:%d/hello")
    ]]):format(servers.http, servers.http))
    local count = 0
    for line in text:gmatch("[^\n]*\n") do
      count = count + 1
      assert.truthy(line:find('^{"time":%d+') and line:find("}\n$"), line)
    end
    assert.truthy(count >= 4)
    assert.truthy(text:find("refused.example", 1, true))
    assert.truthy(text:find("localhost", 1, true))
    assert.truthy(text:find(tostring(servers.http), 1, true))
  end)

  it("has the address that an error does not name", function()
    local text = logged('"--allow-net", "--deny-net=private"', ([[
      local ok, err = pcall(net.tcp, "localhost", %d)
      if ok or tostring(err):find("127.0.0.1", 1, true) then print(ok, err) end
    ]]):format(servers.http))
    assert.truthy(text:find("127.0.0.1", 1, true) or text:find("::1", 1, true))
  end)

  it("has a line for each request, without its query", function()
    local text = logged('"--allow-net=127.0.0.1"', ([[
      net.fetch("http://127.0.0.1:%d/redirect/307?token=secret", { method = "POST" })
      pcall(net.fetch, "http://127.0.0.1:1/never")
    ]]):format(servers.http))
    local seen = {}
    for line in text:gmatch("[^\n]+") do
      if line:find('"event":"request"', 1, true) then
        local method, path = line:match('"method":"(%u+)","url":"http://127.0.0.1:%d+([^"]*)"')
        seen[#seen + 1] = method .. " " .. path .. " " .. (line:match('"status":(%d+)') or line:match('"class":"([%w_]+)"'))
      end
    end
    assert.same({ "POST /redirect/307 307", "POST /inspect 200", "GET /never connection_refused" }, seen)
    assert.falsy(text:find("secret", 1, true))
  end)

  it("has a line for each refusal of a guard, without its query, and where middleware led it", function()
    local text = logged('"--allow-net"', ([[
      local guard = net.http.guard{
        rules = { host = "127.0.0.1", https_only = false, ports = %d, routes = { { path = "/hello" } } },
        policy = function(info) return info.host ~= "policy.example" end,
        allow_private = { "127.0.0.1" },
        middleware = function(ctx, next)
          if ctx.req.body == "rewrite" then ctx.req.url = "http://127.0.0.1:%d/rewritten?token=secret" end
          return next()
        end,
      }
      pcall(guard.fetch, "http://127.0.0.1:%d/json?token=secret")
      pcall(guard.fetch, "http://127.0.0.1:%d/hello", { method = "POST", body = "rewrite" })
      pcall(guard.fetch, "https://policy.example/a?token=secret")
    ]]):format(servers.http, servers.http, servers.http, servers.http))
    local seen = {}
    for line in text:gmatch("[^\n]+") do
      if line:find('"event":"guarded"', 1, true) then
        seen[#seen + 1] = line:match('"method":"(%u+)"') .. " " .. line:match('"url":"[^"]-(/%a*)"') .. " " .. line:match('"class":"([%w_]+)"')
      end
    end
    assert.same({ "GET /json request_not_allowed", "POST /rewritten request_not_allowed", "GET /a request_not_allowed" }, seen)
    assert.falsy(text:find("secret", 1, true))
  end)

  it("has what a guard does not tell of its middleware's own requests", function()
    local text = logged('"--allow-net"', ([[
      local guard = net.http.guard{
        rules = { host = "127.0.0.1", https_only = false, ports = %d }, allow_private = { "127.0.0.1" },
        middleware = function() net.fetch("http://127.0.0.1:1/inner") end,
      }
      pcall(guard.fetch, "http://127.0.0.1:%d/outer")
    ]]):format(servers.http, servers.http))
    local line = text:match('[^\n]*"event":"guarded"[^\n]*')
    assert.truthy(line:find('/outer"', 1, true), line)
    assert.truthy(line:find('"class":"connection_refused"', 1, true), line)
    assert.truthy(line:find("127.0.0.1:1", 1, true), line)
  end)

  it("never has a secret", function()
    local text = logged('"--allow-net=127.0.0.1"', ([[
      pcall(net.fetch, "http://user:secret@127.0.0.1:%d/hello?token=secret", { headers = { Authorization = "secret" } })
      pcall(net.fetch, "http://user:secret@refused.example/")
      pcall(net.fetch, "http://127.0.0.1:%d/hello", { proxy = "http://user:secret@127.0.0.1:%d" })
      pcall(net.fetch, "http://127.0.0.1:%d/hello", { proxy = "socks5://user:s3cret@127.0.0.1:%d" })
    ]]):format(servers.http, servers.http, servers.proxy.http, servers.http, servers.proxy.socks_login))
    assert.falsy(text:find("secret", 1, true))
    assert.falsy(text:find("s3cret", 1, true))
  end)

  it("that cannot be written is told before anything runs", function()
    local said = child.run([[print(pcall(launch, { "--allow-net", "--net-log=/no/such/directory/log" }))]])
    assert.truthy(said:find("^false"))
    assert.truthy(said:find("/no/such/directory/log", 1, true))
  end)
end)
