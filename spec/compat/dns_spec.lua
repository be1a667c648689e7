-- The drop-in's `socket.dns`.

local child = require("spec.support.child")
local net = require("spec.support.subject").net
local rows = require("spec.support.rows")
local wire = require("spec.support.wire")

describe("drop-in: socket.dns", function()
  wire.watch(before_each, after_each)

  rows.declare(it, net, {
    { "the address of a name", [[ local ip, all = socket.dns.toip("localhost") return ip, all ]],
      [["127.0.0.1" {alias={},ip={1="127.0.0.1"},name="localhost"}]] },
    { "the address of an address", [[ return (socket.dns.toip("127.0.0.1")) ]], [["127.0.0.1"]] },
    { "no such name", [[ return socket.dns.toip("nosuch.invalid") ]], [[nil "host not found"]] },
    { "the name of an address", [[ return (socket.dns.tohostname("127.0.0.1")) ]], [["localhost"]] },
    { "all addresses", [[ return socket.dns.getaddrinfo("127.0.0.1"), (socket.dns.getaddrinfo("::1")) ]],
      [[{1={addr="127.0.0.1",family="inet"}} {1={addr="::1",family="inet6"}}]] },
    { "addresses of no name", [[ return socket.dns.getaddrinfo("nosuch.invalid") ]], [[nil "host or service not provided, or not known"]] },
    { "names and a service", [[ return socket.dns.getnameinfo("127.0.0.1", "80") ]], [[{1="localhost"} "http"]] },
    { "names", [[ return socket.dns.getnameinfo("127.0.0.1") ]], [[{1="localhost"}]] },
    { "a service alone", [[ return select(2, socket.dns.getnameinfo(nil, "80")) ]], [["http"]] },
    { "neither", [[ return raised(function() socket.dns.getnameinfo() end) ]], [["host and serv cannot be both nil"]] },
    { "this machine's name", [[ return type(socket.dns.gethostname()), #socket.dns.gethostname() > 0 ]], [["string" true]] },
    { "no name at all", [[ return raised(function() socket.dns.toip() end) ]], [["bad argument #1 to 'toip' (string expected, got no value)"]] },
    { "an odd spelling of an address", [[
      local all = {}
      for i, host in ipairs{ "127.1", "0x7f.1", "2130706433", "0177.0.0.1" } do
        all[i] = tostring((socket.dns.toip(host))) .. " " .. tostring(select(2, socket.connect(host, 1)))
      end
      return table.concat(all, ", ") ]],
      [["nil host or service not provided, or not known]] .. (", nil host or service not provided, or not known"):rep(3) .. [["]],
      "the original takes them, as inet_aton(3) does" },
    { "an address with a blank", [[ return (socket.dns.toip("127.0.0.1 ")) ]], "nil", "the original cuts it" },
    { "a service by its name", [[ local s, port = server() return (select(2, socket.connect("127.0.0.1", "tcpmux"))) ]], [["connection refused"]] },
  })

  if not child.can_mount() then return pending("mount namespaces are not allowed here") end

  it("says what the original says where no name server answers", function()
    assert.equal("true\ttrue\ttrue", child.run_with({ ["resolv.conf"] = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n" }, [[
      local function said()
        local dns = require("socket").dns
        local _, ip = dns.toip("nowhere.test")
        local _, name = dns.tohostname("nowhere.test")
        local _, all = dns.getaddrinfo("nowhere.test")
        return { ip, name, all }
      end
      local theirs = said()
      require("caspian.net.compat").install(launch{ "--allow-net" })
      local ours = said()
      print(theirs[1] == ours[1], theirs[2] == ours[2], theirs[3] == ours[3])
    ]]))
  end)
end)
