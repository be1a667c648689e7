-- Contract 2: what each flag lets through, asked of `allows` and, where it matters, of a connection.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

-- flags, then host, port, allowed …
local decisions = {
  { { "--allow-net" }, "example.com", 80, true, "1.2.3.4", 65535, true, "::1", 1, true },
  { { "--standard" }, "example.com", 80, true, "10.0.0.1", 80, true },
  { { "--allow-net=api.example.com" }, "api.example.com", 80, true, "api.example.com", 65535, true, "example.com", 80, false,
    "x.api.example.com", 80, false, "api.example.com.evil", 80, false, "xapi.example.com", 80, false },
  { { "--allow-net=api.example.com" }, "API.Example.COM", 80, true, "api.example.com.", 80, true },
  { { "--allow-net=API.EXAMPLE.COM.:80" }, "api.example.com", 80, true, "api.example.com", 81, false },
  { { "--allow-net=a.example:80-90" }, "a.example", 79, false, "a.example", 80, true, "a.example", 90, true, "a.example", 91, false },
  { { "--allow-net=a.example:80+443+8000-8100" }, "a.example", 80, true, "a.example", 443, true, "a.example", 8050, true,
    "a.example", 81, false, "a.example", 8101, false },
  { { "--allow-net=a.example,b.example:80" }, "a.example", 1, true, "b.example", 80, true, "b.example", 81, false },
  { { "--allow-net=a.example:80", "--allow-net=a.example:443" }, "a.example", 80, true, "a.example", 443, true, "a.example", 81, false },
  { { "--allow-net=*.example.com" }, "a.example.com", 80, true, "example.com", 80, false, "a.b.example.com", 80, false,
    "aexample.com", 80, false },
  { { "--allow-net=**.example.com" }, "a.example.com", 80, true, "a.b.example.com", 80, true, "example.com", 80, false },
  { { "--allow-net=*.example.com:443" }, "a.example.com", 443, true, "a.example.com", 80, false },
  { { "--allow-net=10.0.0.0/8" }, "10.1.2.3", 80, true, "11.0.0.1", 80, false, "name.example", 80, false, "::ffff:10.1.2.3", 80, true },
  { { "--allow-net=10.0.0.0/8:80" }, "10.1.2.3", 80, true, "10.1.2.3", 81, false },
  { { "--allow-net=[fd00::]/8" }, "fd12::1", 80, true, "[fd12::1]", 80, true, "fe80::1", 80, false },
  { { "--allow-net=[::1]:80" }, "::1", 80, true, "0:0:0:0:0:0:0:1", 80, true, "::1", 81, false },
  { { "--allow-net=127.0.0.1" }, "127.0.0.1", 80, true, "::ffff:127.0.0.1", 80, true, "localhost", 80, false, "127.0.0.2", 80, false },
  { { "--allow-net=[::ffff:127.0.0.1]" }, "127.0.0.1", 80, true },
  { { "--allow-net=localhost" }, "localhost", 80, true, "127.0.0.1", 80, false, "::1", 80, false },
  { { "--allow-net=münchen.de" }, "xn--mnchen-3ya.de", 80, true, "münchen.de", 80, true, "MÜNCHEN.de", 80, true, "munchen.de", 80, false },
  { { "--allow-net", "--deny-net=bad.example" }, "bad.example", 80, false, "BAD.example.", 80, false, "good.example", 80, true },
  { { "--allow-net=bad.example", "--deny-net=*.example" }, "bad.example", 80, false },
  { { "--allow-net", "--deny-net=a.example:80" }, "a.example", 80, false, "a.example", 443, true },
  { { "--allow-net", "--deny-net=10.0.0.0/8" }, "10.0.0.1", 80, false, "11.0.0.1", 80, true, "::ffff:10.0.0.1", 80, false },
  { { "--allow-net", "--deny-net=private" }, "127.0.0.1", 80, false, "10.0.0.1", 80, false, "169.254.169.254", 80, false,
    "::1", 80, false, "fe80::1", 80, false, "::ffff:192.168.0.1", 80, false, "64:ff9b::1", 80, false, "2001:db8::1", 80, false,
    "8.8.8.8", 80, true, "2600::1", 80, true },
  { { "--allow-net", "--no-dns" }, "example.com", 80, false, "localhost", 80, false, "8.8.8.8", 80, true, "::1", 80, true },
  { { "--allow-listen" }, "example.com", 80, false, "127.0.0.1", 80, false },
}

-- flag, why it is none
local malformed = {
  "--allow-net=", "--allow-net=,", "--allow-net=a.example,", "--allow-net=,a.example", "--allow-net=a.example:", "--allow-net=:80",
  "--allow-net=a.example:0", "--allow-net=a.example:65536", "--allow-net=a.example:+80", "--allow-net=a.example:080",
  "--allow-net=a.example:90-80", "--allow-net=a.example:80:90", "--allow-net=a.example:80,,b.example", "--allow-net=a.example:x",
  "--allow-net=*", "--allow-net=*.", "--allow-net=a.*.example", "--allow-net=*a.example", "--allow-net=.example.com",
  "--allow-net=a..example", "--allow-net=https://a.example", "--allow-net=user@a.example", "--allow-net=a.example/path",
  "--allow-net=::1", "--allow-net=[::1", "--allow-net=[fe80::1%eth0]", "--allow-net=10.0.0.0/33", "--allow-net=10.0.0.0/",
  "--allow-net=127.1", "--allow-net=0x7f.1", "--allow-net=2130706433", "--allow-net=exa mple.com", "--allow-net=a.example\r",
  "--allow-net=a.example\0.evil", "--allow-net=unix:", "--allow-listen=", "--allow-listen=127.0.0.1", "--allow-listen=65536",
  "--allow-listen=x:80", "--deny-net", "--deny-net=", "--no-dns=1", "--standard=1", "--net-log", "--net-log=", "--allow-nets",
  "--allow", "allow-net", "--allow-net a.example", "",
}

local canonical = {
  { { "--allow-net=API.Example.com.:443" }, { "--allow-net=api.example.com:443" } },
  { { "--allow-net=b.example,a.example" }, { "--allow-net=a.example", "--allow-net=b.example" } },
  { { "--allow-net=münchen.de" }, { "--allow-net=xn--mnchen-3ya.de" } },
  { { "--allow-net=[0:0::0:1]:80" }, { "--allow-net=[::1]:80" } },
  { { "--allow-net=127.0.0.1:80", "--allow-listen=8080" }, { "--allow-listen=8080", "--allow-net=127.0.0.1:80" } },
}

describe("grants", function()
  wire.watch(before_each, after_each)

  for _, row in ipairs(decisions) do
    it(table.concat(row[1], " "), function()
      local narrow = net.narrow(row[1])
      for i = 2, #row, 3 do
        assert.equal(row[i + 2], narrow.allows(row[i], row[i + 1]), row[i] .. ":" .. row[i + 1])
      end
    end)
  end

  it("refuses malformed flags and names them", function()
    for _, flag in ipairs(malformed) do
      local value = flag:match("=(.+)$") or flag
      fails.plainly(value:match("^[%w%-./]+") or "", net.narrow, { flag })
    end
  end)

  it("tells what was granted, canonically", function()
    for _, row in ipairs(canonical) do
      local flags = net.narrow(row[1]).grants()
      table.sort(flags)
      assert.same(row[2], flags)
    end
  end)

  it("parses its own canonical flags to the same grants", function()
    for _, row in ipairs(decisions) do
      local narrow = net.narrow(row[1])
      assert.same(narrow.grants(), net.narrow(narrow.grants()).grants())
    end
  end)
end)

describe("a refusal", function()
  wire.watch(before_each, after_each)
  local narrow = net.narrow{ "--allow-net=granted.example:443", "--allow-net=localhost", "--deny-net=private" }

  it("by host is host_not_allowed, before any resolution", function()
    -- The name does not exist; were it looked up, the class would be another.
    local err = fails.with("network/host_not_allowed", narrow.tcp, "ungranted.invalid", 80)
    assert.equal("ungranted.invalid", err.host)
    assert.equal(80, err.port)
    assert.truthy(err.message:find("ungranted.invalid:80", 1, true))
    assert.truthy(err.message:find("--allow-net=ungranted.invalid:80", 1, true))
  end)

  it("by port is port_not_allowed", function()
    local err = fails.with("network/port_not_allowed", narrow.tcp, "granted.example", 80)
    assert.truthy(err.message:find("--allow-net=granted.example:80", 1, true))
  end)

  it("by address is address_not_allowed, and says what kind, not which", function()
    local err = fails.with("network/address_not_allowed", narrow.tcp, "localhost", servers.http)
    assert.is_true(err:is("network/host_not_allowed"))
    assert.falsy(tostring(err):find("127.0.0.1", 1, true))
    assert.falsy(tostring(err):find("::1", 1, true))
    assert.truthy(err.message:find("localhost", 1, true))
  end)

  it("is the same through every door", function()
    local doors = {
      { "tcp", "ungranted.invalid", 80 },
      { "ssl", "ungranted.invalid", 80 },
      { "tls", "ungranted.invalid", 80 },
      { "udp", "ungranted.invalid", 80 },
      { "fetch", "http://ungranted.invalid/" },
      { "fetch", "https://ungranted.invalid/" },
      { "unix", "/ungranted.sock" },
      { "unix_listen", "/ungranted.sock" },
    }
    for _, door in ipairs(doors) do
      local err = fails.with("network/host_not_allowed", narrow[door[1]], door[2], door[3])
      assert.truthy(err.message:find("ungranted", 1, true))
    end
    local udp = narrow.udp()
    fails.with("network/host_not_allowed", udp.send_to, udp, "x", "ungranted.invalid", 80)
    udp:close()
  end)

  it("under --no-dns is for every name", function()
    local literal = net.narrow{ "--allow-net", "--no-dns" }
    fails.with("network/host_not_allowed", literal.tcp, "localhost", servers.http)
    literal.tcp("127.0.0.1", servers.http):close()
  end)

  it("of a listener: connecting grants nothing", function()
    local connects = net.narrow{ "--allow-net" }
    for _, door in ipairs{ "tcp_listen", "listen", "udp_listen" } do
      local ok, err = pcall(connects[door], "127.0.0.1", 0)
      assert.is_false(ok)
      assert.truthy(err:is("network/host_not_allowed") or err:is("network/port_not_allowed"))
    end
  end)

  it("of a listen port is port_not_allowed", function()
    local listens = net.narrow{ "--allow-listen=127.0.0.1:0" }
    fails.with("network/port_not_allowed", listens.tcp_listen, "127.0.0.1", 8080)
    fails.with("network/port_not_allowed", listens.udp_listen, "127.0.0.1", 8080)
    fails.with("network/host_not_allowed", listens.tcp, "127.0.0.1", servers.http)
    listens.tcp_listen("127.0.0.1", 0):close()
  end)

  it("of a listen interface", function()
    local listens = net.narrow{ "--allow-listen=127.0.0.1:0" }
    for _, host in ipairs{ "0.0.0.0", "*", "127.0.0.2" } do
      local err = fails.with("network/host_not_allowed", listens.tcp_listen, host, 0)
      assert.truthy(err.message:find("other interfaces are granted, that one is not", 1, true), err.message)
    end
    local err = fails.with("network/port_not_allowed", listens.tcp_listen, "127.0.0.1", 8080)
    assert.truthy(err.message:find("that interface is granted, that port is not", 1, true), err.message)
    -- Where no port may be bound, and a Unix socket is none, it is the port that is refused.
    for _, flags in ipairs{ { "--allow-net" }, { "--allow-listen=unix:" .. require("spec.support.subject").unix("a") } } do
      err = fails.with("network/port_not_allowed", net.narrow(flags).tcp_listen, "127.0.0.1", 0)
      assert.truthy(err.message:find("no port is granted on any interface", 1, true), err.message)
    end
  end)

  it("does not touch an accepted connection", function()
    local listens = net.narrow{ "--allow-listen=127.0.0.1:0" }
    local listener = listens.tcp_listen("127.0.0.1", 0)
    local client = net.tcp("127.0.0.1", listener.local_port)
    local accepted = listener:accept()
    client:send_all("hello\n")
    assert.equal("hello\n", accepted:recv_line())
    accepted:close() client:close() listener:close()
  end)
end)

describe("narrow", function()
  wire.watch(before_each, after_each)

  -- outer, inner, host, port, allowed
  local rows = {
    { { "--allow-net=a.example" }, { "--allow-net=a.example:80" }, "a.example", 80, true },
    { { "--allow-net=a.example" }, { "--allow-net=a.example:80" }, "a.example", 81, false },
    { { "--allow-net=a.example:80" }, { "--allow-net" }, "a.example", 80, true },
    { { "--allow-net=a.example:80" }, { "--allow-net" }, "b.example", 80, false },
    { { "--allow-net=*.example.com" }, { "--allow-net=a.example.com" }, "a.example.com", 1, true },
    { { "--allow-net=*.example.com" }, { "--allow-net=a.example.com" }, "b.example.com", 1, false },
    { { "--allow-net=**.example.com" }, { "--allow-net=*.example.com" }, "a.b.example.com", 1, false },
    { { "--allow-net=10.0.0.0/8" }, { "--allow-net=10.1.0.0/16" }, "10.1.2.3", 1, true },
    { { "--allow-net=10.1.0.0/16" }, { "--allow-net=10.0.0.0/8" }, "10.2.0.0", 1, false },
    { { "--allow-net", "--deny-net=a.example" }, { "--allow-net=a.example" }, "a.example", 1, false },
    { { "--allow-net" }, { "--allow-net", "--deny-net=a.example" }, "a.example", 1, false },
    { { "--allow-net", "--no-dns" }, { "--allow-net" }, "a.example", 1, false },
    { { "--allow-net=a.example" }, { "--allow-net=b.example" }, "a.example", 1, false },
    { { "--allow-net=a.example" }, { "--allow-net=b.example" }, "b.example", 1, false },
  }

  it("is the intersection", function()
    for _, row in ipairs(rows) do
      local outer = net.narrow(row[1])
      -- An empty intersection may be a net that allows nothing, or none.
      local inner = outer.narrow(row[2])
      local allowed = inner ~= nil and inner.allows(row[3], row[4])
      assert.equal(row[5], allowed, table.concat(row[1], " ") .. " & " .. table.concat(row[2], " ") .. ": " .. row[3])
    end
  end)

  it("tells the intersection as flags", function()
    local flags = net.narrow{ "--allow-net=*.example.com:80-90" }.narrow{ "--allow-net=a.example.com:85+443" }.grants()
    assert.same({ "--allow-net=a.example.com:85" }, flags)
  end)

  it("does not touch what it came from", function()
    local outer = net.narrow{ "--allow-net=a.example,b.example" }
    outer.narrow{ "--allow-net=a.example" }
    assert.is_true(outer.allows("b.example", 1))
  end)

  it("keeps a copy of the list it was given", function()
    local list = { "--allow-net=a.example" }
    local narrow = net.narrow(list)
    list[1] = "--allow-net"
    assert.is_false(narrow.allows("b.example", 1))
  end)

  it("takes a table of grants", function()
    local narrow = net.narrow{ allow_net = { "a.example:80" } }
    assert.is_true(narrow.allows("a.example", 80))
    assert.is_false(narrow.allows("a.example", 81))
  end)

  it("gives nothing that leads back", function()
    local narrow = net.narrow{ "--allow-net=127.0.0.1" }
    assert.not_equal("table", type(getmetatable(narrow)))
    assert.is_false(pcall(setmetatable, narrow, {}))
    if type(narrow) == "table" then
      for _, value in pairs(narrow) do assert.not_equal(net, value) end
    end
  end)

  it("never reads a file for a certificate", function()
    local narrow = net.narrow{ "--allow-net" }
    fails.plainly("ca_bundle", narrow.ssl, "127.0.0.1", servers.https, { ca_bundle = servers.ca })
  end)
end)
