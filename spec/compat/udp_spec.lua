-- The drop-in's UDP objects.

local net = require("spec.support.subject").net
local rows = require("spec.support.rows")
local wire = require("spec.support.wire")

describe("drop-in: udp", function()
  wire.watch(before_each, after_each)

  local prelude = [[
    --- A socket that is bound to 127.0.0.1, and its port.
    function bound()
      local u = keep(assert(socket.udp()))
      assert(u:setsockname("127.0.0.1", 0))
      u:settimeout(5)
      local _, port = u:getsockname()
      return u, tonumber(port)
    end
    --- A socket that is connected to a bound one; and that one.
    function joined()
      local u, port = bound()
      local c = keep(assert(socket.udp()))
      assert(c:setpeername("127.0.0.1", port))
      c:settimeout(5)
      return c, u
    end
  ]]

  rows.declare(it, net, {
    { "no descriptor at first", [[ local u = keep(socket.udp()) return u, u:getfd(), u:getsockname() ]],
      [[udp{unconnected} -1.0 nil "Bad file descriptor"]] },
    { "or one", [[ return keep(socket.udp4()):getfd() >= 0, keep(socket.udp6()):getfd() >= 0 ]], "true true" },
    { "families", [[ return keep(socket.udp()):getfamily(), keep(socket.udp6()):getfamily() ]], [["inet4" "inet6"]] },
    { "a peer", [[ local c, u = joined() return c, c:send("hello"), (u:receivefrom()) ]], [[udp{connected} 5.0 "hello"]] },
    { "who sent it", [[ local c, u = joined() c:send("x") local _, ip, port = u:receivefrom() local _, own = c:getsockname()
      return ip, tostring(port) == tostring(own), (tostring(port):find("%.")) ]], [["127.0.0.1" true nil]] },
    { "an answer", [[ local c, u = joined() c:send("x") local data, ip, port = u:receivefrom() local sent = u:sendto(data .. "y", ip, port)
      return sent, c:receive() ]], [[2.0 "xy"]] },
    { "nothing is a datagram", [[ local c, u = joined() return c:send(""), (u:receivefrom()) ]], [[0.0 ""]] },
    { "numbers are data", [[ local c, u = joined() return c:send(12), u:receive() ]], [[2.0 "12"]] },
    { "cut at a size", [[ local c, u = joined() c:send("12345") c:send("next") return u:receive(3), u:receive() ]], [["123" "next"]] },
    { "9000 bytes need room", [[ local c, u = joined() c:send(("x"):rep(9000)) c:send(("x"):rep(9000))
      return #u:receive(), #u:receive(10000) ]], "8192 9000" },
    { "too long", [[ local c = joined() return c:send(("x"):rep(70000)) ]], [[nil "Message too long"]] },
    { "timeouts", [[ local c = joined() c:settimeout(0.05) return c:receive() ]], [[nil "timeout"]] },
    { "without a wait", [[ local u = bound() u:settimeout(0) return u:receivefrom() ]], [[nil "timeout"]] },
    { "two results of a timeout", [[ local u = bound() u:settimeout(0) return select("#", u:receive()) ]], "2" },
    { "a peer that is not there", [[ local u, port = bound() u:close() local c = keep(socket.udp()) c:setpeername("127.0.0.1", port)
      c:settimeout(2) c:send("x") return c:receive() ]], [[nil "connection refused"]] },
    { "names of both ends", [[ local c, u = joined() local ip, port, family = c:getpeername() local _, own = u:getsockname()
      return ip, tostring(port) == tostring(own), family ]], [["127.0.0.1" true "inet"]] },
    { "no peer any more", [[ local c, u = joined() local _, port = u:getsockname() local done = c:setpeername("*")
      return done, c, c:sendto("x", "127.0.0.1", port), (u:receive()) ]], [[1.0 udp{unconnected} 1.0 "x"]] },
    { "any interface", [[ local u = keep(socket.udp()) u:setsockname("*", 0) return (u:getsockname()) ]], [["0.0.0.0"]] },
    { "addresses only", [[ local u = bound() return u:sendto("x", "localhost", 9) ]], [[nil "Name or service not known"]] },
    { "of one family", [[ local u = bound() return u:sendto("x", "::1", 9) ]], [[nil "Address family for hostname not supported"]] },
    { "over IPv6", [[ local a, b = keep(socket.udp6()), keep(socket.udp6()) a:setsockname("::1", 0) local _, port = a:getsockname()
      b:sendto("six", "::1", port) a:settimeout(5) local data, ip = a:receivefrom() return data, ip ]], [["six" "::1"]] },
    { "wrong states", [[ local u = bound() local c = joined() return raised(function() u:send("x") end), raised(function() c:sendto("x", "::1", 1) end),
      raised(function() c:receivefrom() end), raised(function() u:getpeername() end) ]],
      [["calling 'send' on bad self (udp{connected} expected)" "calling 'sendto' on bad self (udp{unconnected} expected)" ]] ..
      [["calling 'receivefrom' on bad self (udp{unconnected} expected)" "calling 'getpeername' on bad self (udp{connected} expected)"]] },
    { "missing arguments", [[ local u = bound() return raised(function() u:sendto() end), raised(function() u:sendto("x") end),
      raised(function() u:setsockname("*") end) ]],
      [["bad argument #1 to 'sendto' (string expected, got no value)" "bad argument #2 to 'sendto' (string expected, got no value)" ]] ..
      [["bad argument #2 to 'setsockname' (string expected, got no value)"]] },
    { "methods that they have", [[ local u = bound() return u:dirty(), u:settimeout(2), u:gettimeout() ]], "false 1.0 2.0 -1.0" },
    { "options", [[ local u = bound() return u:setoption("broadcast", true), u:getoption("broadcast"), u:setoption("dontroute", true),
      u:getoption("dontroute"), u:setoption("reuseaddr", true), u:getoption("reuseport"), u:getoption("error") ]],
      "1.0 true 1.0 true 1.0 false nil" },
    { "multicast", [[ local u = bound() return u:setoption("ip-multicast-ttl", 4), u:setoption("ip-multicast-loop", false),
      u:getoption("ip-multicast-loop"), u:setoption("ip-multicast-if", "127.0.0.1"), u:getoption("ip-multicast-if") ]],
      [[1.0 1.0 false 1.0 "127.0.0.1"]] },
    { "groups", [[ local u, member = bound(), { multiaddr = "239.1.2.3", interface = "127.0.0.1" }
      return u:setoption("ip-add-membership", member), u:setoption("ip-drop-membership", member), u:setoption("ip-drop-membership", member) ]],
      [[1.0 1.0 nil "setsockopt failed"]] },
    { "groups that are none", [[ local u = bound() local function try(value) return raised(function() u:setoption("ip-add-membership", value) end) end
      return try(3), try({}), try({ multiaddr = "x", interface = "*" }), try({ multiaddr = "239.1.2.3" }) ]],
      [["bad argument #2 to 'setoption' (table expected, got number)" ]] ..
      [["bad argument #2 to 'setoption' (string 'multiaddr' field expected)" ]] ..
      [["bad argument #2 to 'setoption' (invalid 'multiaddr' ip address)" ]] ..
      [["bad argument #2 to 'setoption' (string 'interface' field expected)"]] },
    { "IPv6 options", [[ local u = keep(socket.udp6()) return u:getoption("ipv6-v6only"), u:setoption("ipv6-unicast-hops", 9),
      u:getoption("ipv6-unicast-hops"), u:setoption("ipv6-multicast-loop", false), u:getoption("ipv6-multicast-loop") ]],
      "true 1.0 9.0 1.0 false" },
    { "IPv6 options of IPv4", [[ local u = bound() return u:setoption("ipv6-v6only", true) ]], [[nil "setsockopt failed"]] },
    { "multicast hops are not unicast hops", [[ local u = keep(socket.udp6()) u:setoption("ipv6-multicast-hops", 7)
      return u:getoption("ipv6-multicast-hops"), u:getoption("ipv6-unicast-hops") ]], "7.0 64.0", "N7: the original sets the unicast hops" },
    { "closed", [[ local u = bound() return u:close(), u:close(), u:getfd(), u:sendto("x", "127.0.0.1", 9) ]], [[1.0 1.0 -1.0 nil "refused"]] },
    { "closed: nothing is received", [[ local u = bound() u:close() return u:receive() ]], [[nil "refused"]], "N7: empty datagrams for ever" },
    { "closed: nor from anybody", [[ local u = bound() u:close() return u:receivefrom() ]], [[nil "refused"]], "N7: ai_family not supported" },
  }, { prelude = prelude })
end)
