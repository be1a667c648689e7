-- Contract 3: names, asked of a real server with a zone of the specs' own (spec/support/servers).

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local servers = require("spec.support.servers")

local server = "127.0.0.1:" .. servers.dns

--- How often the server was asked for a name.
local function asked(name)
  local file = assert(io.open(servers.dns_log))
  local log, count = file:read("*a"), 0
  file:close()
  for _ in log:gmatch("query%[%w+%] " .. name:gsub("%p", "%%%0")) do count = count + 1 end
  return count
end

local function sorted(list)
  table.sort(list)
  return list
end

describe("resolve", function()
  -- name, type, what comes
  local rows = {
    { "www.spec.test", nil, { "192.0.2.1", "2001:db8::1" } },
    { "WWW.Spec.Test.", nil, { "192.0.2.1", "2001:db8::1" } },
    { "www.spec.test", "a", { "192.0.2.1" } },
    { "www.spec.test", "A", { "192.0.2.1" } },
    { "www.spec.test", "aaaa", { "2001:db8::1" } },
    { "v4.spec.test", nil, { "192.0.2.4" } },
    { "alias.spec.test", "a", { "192.0.2.1" } },
    { "alias.spec.test", "cname", { "www.spec.test" } },
    { "spec.test", "ns", { "ns1.spec.test" } },
    { "spec.test", "txt", { "one two" } },
    { "_sip._tcp.spec.test", "srv", { { priority = 1, weight = 5, port = 5060, target = "sip.spec.test" } } },
    { "spec.test", "caa", { { critical = true, tag = "issue", value = "ca.test" } } },
    { "spec.test", "soa", { {
      mname = "ns1.spec.test", rname = "hostmaster.spec.test", serial = 7,
      refresh = 3600, retry = 600, expire = 86400, minimum = 60,
    } } },
    { "1.2.0.192.in-addr.arpa", "ptr", { "www.spec.test" } },
    { "192.0.2.1", "ptr", { "www.spec.test" } },
    -- A literal is its own answer.
    { "192.0.2.77", nil, { "192.0.2.77" } },
    { "[2001:DB8:0::7]", nil, { "2001:db8::7" } },
  }
  for _, row in ipairs(rows) do
    local name, kind, expected = row[1], row[2], row[3]
    for _, tcp in ipairs{ false, true } do
      it(("%s %s%s"):format(name, kind or "", tcp and " over TCP" or ""), function()
        assert.same(expected, net.resolve(name, kind, { server = server, tcp = tcp }))
      end)
    end
  end

  it("mx", function()
    local list = net.resolve("spec.test", "mx", { server = server })
    table.sort(list, function(a, b) return a.preference < b.preference end)
    assert.same({
      { preference = 10, exchange = "mail.spec.test" }, { preference = 20, exchange = "spare.spec.test" },
    }, list)
  end)

  it("asks over TCP for what a datagram cannot hold", function()
    local list = sorted(net.resolve("large.spec.test", "txt", { server = server }))
    assert.equal(5, #list)
    for i = 1, 5 do assert.equal(i .. ("x"):rep(400), list[i]) end
  end)

  -- RFC 6761, section 6.3: loopback, whatever a server would say, and none is asked.
  for _, name in ipairs{ "localhost", "LOCALHOST.", "app.localhost", "a.b.localhost." } do
    it(name .. " is loopback, and nobody is asked", function()
      for _, opts in ipairs{ { server = server }, { server = server, timeout = 0 }, {} } do
        local found = net.resolve(name, opts)
        assert.truthy(#found > 0)
        for _, ip in ipairs(found) do assert.truthy(ip == "::1" or ip:find("^127%."), ip) end
      end
      fails.with("network/dns_failure", net.resolve, name, "mx", { server = server })
      assert.equal(0, asked((name:lower():gsub("%.$", ""))))
    end)
  end

  it("says so where no name server is", function()
    local gone = net.udp_listen("127.0.0.1", 0)
    local port = gone.local_port
    gone:close()
    local err = fails.with("network/dns_failure", net.resolve, "www.spec.test", { server = "127.0.0.1:" .. port, timeout = 20 })
    assert.truthy(err.message:find("no name server could be reached", 1, true), err.message)
  end)

  it("is a method too, and takes its options second", function()
    assert.same({ "192.0.2.4" }, net:resolve("v4.spec.test", { server = server }))
    assert.same({ "192.0.2.4" }, net:resolve("v4.spec.test", "a", { server = server }))
  end)

  it("keeps what it is allowed to keep, for one capability", function()
    local a, b = net.narrow{ "--allow-net" }, net.narrow{ "--allow-net" }
    local before = asked("www.spec.test")
    a.resolve("www.spec.test", "a", { server = server })
    local list = a.resolve("www.spec.test", "a", { server = server })
    assert.equal(before + 1, asked("www.spec.test"))
    -- What a script does to an answer is nobody else's business.
    list[1] = "changed"
    assert.same({ "192.0.2.1" }, a.resolve("www.spec.test", "a", { server = server }))
    b.resolve("www.spec.test", "a", { server = server })
    assert.equal(before + 2, asked("www.spec.test"))
    before = asked("brief.spec.test")
    for _ = 1, 2 do a.resolve("brief.spec.test", "a", { server = server }) end
    assert.equal(before + 2, asked("brief.spec.test"))
  end)

  it("fails clearly", function()
    local err = fails.with("network/dns_failure", net.resolve, "nowhere.spec.test", "a", { server = server })
    assert.equal("resolve", err.op)
    assert.equal("nowhere.spec.test", err.host)
    assert.truthy(tostring(err):find("nowhere.spec.test", 1, true))
    fails.with("network/dns_failure", net.resolve, "www.spec.test", "mx", { server = server })
    fails.with("network/dns_failure", net.resolve, "192.0.2.1", "aaaa", { server = server })
    fails.with("network/timeout", net.resolve, "v4.spec.test", "mx", { server = server, timeout = 0 })
  end)

  it("ends at its deadline", function()
    local silent = net.udp_listen("127.0.0.1", 0)
    local opts = { server = "127.0.0.1:" .. silent.local_port, timeout = 0.2 }
    local err = fails.with("network/timeout", net.resolve, "www.spec.test", opts)
    assert.equal(0.2, err.timeout)
    silent:close()
  end)

  it("passes the gate before the first packet", function()
    local there = "--allow-net=" .. server
    local refused = {
      { { there, "--allow-net=other.spec.test" }, "gate.spec.test", "host_not_allowed", "--allow-net=gate.spec.test" },
      { { "--allow-net", "--no-dns" }, "gate.spec.test", "host_not_allowed", "--no-dns" },
      { { "--allow-net", "--deny-net=*.spec.test" }, "gate.spec.test", "host_not_allowed", "--deny-net" },
      { { "--allow-net=gate.spec.test" }, "gate.spec.test", "host_not_allowed", "--allow-net=" .. server },
      { { "--allow-net=gate.spec.test", "--allow-net=127.0.0.1:1" }, "gate.spec.test", "port_not_allowed", server },
      { { "--allow-net=gate.spec.test", "--allow-net=127.0.0.1" }, "192.0.2.1", "host_not_allowed", "192.0.2.1" },
    }
    for _, row in ipairs(refused) do
      local less = net.narrow(row[1])
      local err = fails.with("network/" .. row[3], less.resolve, row[2], "a", { server = server })
      assert.truthy(err.message:find(row[4], 1, true), err.message)
    end
    assert.equal(0, asked("gate.spec.test"))
    local less = net.narrow{ there, "--allow-net=gate.spec.test:443" }
    fails.with("network/dns_failure", less.resolve, "gate.spec.test", "a", { server = server })
    assert.equal(1, asked("gate.spec.test"))
  end)

  it("checks its arguments", function()
    fails.plainly("bad argument #1 to 'resolve'", net.resolve)
    fails.plainly("bad argument #1 to 'resolve'", net.resolve, "")
    fails.plainly("bad argument #1 to 'resolve'", net.resolve, "a b")
    fails.plainly("bad argument #1 to 'resolve'", net.resolve, ("x"):rep(64) .. ".test")
    fails.plainly("bad argument #1 to 'resolve'", net.resolve, "192.0.2.1", "mx")
    fails.plainly("bad argument #2 to 'resolve'", net.resolve, "x.test", 1)
    fails.plainly("bad argument #2 to 'resolve'", net.resolve, "x.test", "any")
    fails.plainly("bad argument #3 to 'resolve'", net.resolve, "x.test", "a", 1)
    for key, values in pairs{
      server = { "", "dns.test", "::1", "1.2.3.4:0", "1.2.3.4:65536", "[::1", 53 }, timeout = { -1, "1", 0 / 0 }, tcp = { 1 }, cache = { true },
    } do
      for _, value in ipairs(values) do
        fails.plainly("bad argument #3 to 'resolve'", net.resolve, "x.test", "a", { [key] = value })
      end
    end
  end)
end)

describe("reverse_resolve", function()
  it("names an address, or nothing", function()
    assert.equal("www.spec.test", net.reverse_resolve("192.0.2.1", { server = server }))
    assert.equal("www.spec.test", net:reverse_resolve("::ffff:192.0.2.1", { server = server, tcp = true }))
    assert.equal("www.spec.test", net.reverse_resolve("2001:db8::1", { server = server }))
    assert.is_nil(net.reverse_resolve("192.0.2.200", { server = server }))
  end)

  it("passes the gate", function()
    local there = "--allow-net=" .. server
    local less = net.narrow{ there, "--allow-net=192.0.2.0/24" }
    assert.equal("www.spec.test", less.reverse_resolve("192.0.2.1", { server = server }))
    fails.with("network/host_not_allowed", less.reverse_resolve, "198.51.100.1", { server = server })
    less = net.narrow{ "--allow-net", "--no-dns" }
    fails.with("network/host_not_allowed", less.reverse_resolve, "192.0.2.1", { server = server })
  end)

  it("checks its arguments", function()
    fails.plainly("bad argument #1 to 'reverse_resolve'", net.reverse_resolve, 1)
    fails.plainly("bad argument #1 to 'reverse_resolve'", net.reverse_resolve, "www.spec.test")
    fails.plainly("bad argument #2 to 'reverse_resolve'", net.reverse_resolve, "192.0.2.1", { server = "x" })
  end)
end)
