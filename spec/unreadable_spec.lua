-- Files of the system that are there and cannot be read: an error of that call, never "there is none". In a mount namespace,
-- where the file is one whose every read fails.

local child = require("spec.support.child")
local servers = require("spec.support.servers")

local mounted = child.can_mount() and it or pending

-- Takes what descriptors there are, and gives them back.
local EXHAUST = [[
  local open = {}
  local function exhaust() while true do local f = io.open("/dev/null") if not f then return end open[#open + 1] = f end end
  local function release() for i = #open, 1, -1 do open[i]:close() open[i] = nil end end
  local net = launch{ "--allow-net", "--allow-listen" }
  local function try(f, ...) local r = { pcall(f, ...) } return r[1] and r[2] or r[2].class:match("[^/]+$") .. " " .. r[2].message end
]]
describe("a file that cannot be read", function()
  it("is told in the system's words, and no more", function()
    local said = child.run([[
      local caspian = require("caspian.net")
      print((select(2, pcall(caspian.launch, { "--allow-net", "--net-log=/nonexistent/log" }))))
      local net = caspian.launch{ "--allow-net" }
      local compat = require("caspian.net.compat").install(net)
      for _, call in ipairs{
        function() return net.ssl("127.0.0.1", 1, { ca_bundle = "/nonexistent" }) end,
        function() return net.fetch("https://127.0.0.1:1/", { client_cert = "/nonexistent", client_key = "/nonexistent" }) end,
        function() return net.http.client.new{ ca_bundle = "/nonexistent" } end,
        function() return error((select(2, compat("ssl").newcontext{ mode = "client", protocol = "any", cafile = "/nonexistent" }))) end,
        function() return error((select(2, compat("ssl").newcontext{ mode = "client", protocol = "any", certificate = "/nonexistent" }))) end,
      } do print((tostring((select(2, pcall(call)))))) end]])
    assert.is_nil(said:find("os error", 1, true), said)
    local lines = 0
    for line in said:gmatch("[^\n]+") do
      lines = lines + 1
      assert.truthy(line:find("/nonexistent.-: No such file or directory%)?$"), said)
    end
    assert.equal(6, lines)
  end)
end)

describe("a file that is there and cannot be read", function()
  for _, file in ipairs{ "hosts", "resolv.conf" } do
    mounted("is no empty one to names: " .. file, function()
      local said = child.run_with({ [file] = child.UNREADABLE }, EXHAUST .. [[
        print(try(function() return net.resolve("two.test", "a", { timeout = 5 })[1] end))
        print(try(function() return net.tcp("localhost", net.tcp_listen("localhost", 0).local_port).connected end))]])
      local first, second = said:match("^(.-)\n(.*)$")
      assert.truthy(first:find("/etc/" .. file .. ": ", 1, true) and first:lower():find("input/output error", 1, true)
        and not first:find("os error", 1, true), said)
      -- These need neither file.
      assert.equal("true", second)
    end)
  end

  mounted("is asked again by the next question", function()
    local said = child.run_with({ hosts = "127.0.0.1 localhost\n127.0.0.2 two.test\n", ["resolv.conf"] = "nameserver 127.0.0.1\n" },
      EXHAUST .. [[
      local function asked() return try(function() return net.resolve("two.test", "a", { timeout = 5 })[1] end) end
      exhaust()
      local first = asked()
      release()
      print(first)
      print(asked())]])
    local first, second = said:match("^(.-)\n(.*)$")
    assert.truthy(first:lower():find("too many open files", 1, true), said)
    assert.equal("127.0.0.2", second)
  end)

  mounted("is no empty store of authorities", function()
    local said = child.run_with({ ["ssl/certs/ca-certificates.crt"] = child.UNREADABLE }, (EXHAUST .. [[
      print(try(net.ssl, "localhost", %d, { timeout = 5 }))]]):format(servers.https))
    assert.truthy(said:find("tls ", 1, true) == 1
      and said:find("the machine's trust store cannot be read (/etc/ssl/certs/ca-certificates.crt: Input/output error", 1, true), said)
  end)

  mounted("is no empty list of services to the drop-in", function()
    local code = [[
      require("caspian.net.compat").install((launch{ "--allow-net", "--allow-listen" }))
      local socket = require("socket")
      print((select(2, socket.connect("127.0.0.1", "one-test"))))
      print((select(2, socket.tcp():connect("127.0.0.1", "one-test"))))
      print((select(2, socket.bind("127.0.0.1", "one-test"))))
      print((select(2, socket.udp():setpeername("127.0.0.1", "one-test"))))
      print((select(2, socket.dns.getnameinfo("127.0.0.1", "one-test"))))
      print((select(2, socket.dns.getnameinfo("127.0.0.1", "7"))))
      print((select(2, socket.connect("127.0.0.1", 1))))]]
    local NONE = ("service not supported for socket type\n"):rep(5)
    for _, row in ipairs{
      { child.UNREADABLE, ("System error\n"):rep(6) }, { "", NONE .. "7\n" }, { "two-test 1/tcp\n", NONE .. "7\n" },
    } do
      -- A number needs no file.
      assert.equal(row[2] .. "connection refused", child.run_with({ services = row[1] }, code))
    end
  end)
end)
