-- The drop-in's `socket.unix`.

local net = require("spec.support.subject").net
local rows = require("spec.support.rows")
local wire = require("spec.support.wire")

describe("drop-in: socket.unix", function()
  wire.watch(before_each, after_each)

  local prelude = [[
    --- A listening stream, and its path.
    function listening()
      local s, where = keep(assert(unix())), path("a")
      assert(s:bind(where))
      assert(s:listen())
      s:settimeout(5)
      return s, where
    end
    function joined()
      local s, where = listening()
      local c = keep(assert(unix.stream()))
      assert(c:connect(where))
      local a = keep(assert(s:accept()))
      c:settimeout(5) a:settimeout(5)
      return c, a
    end
    function datagrams()
      local g, where = keep(assert(unix.dgram())), path("b")
      assert(g:bind(where))
      g:settimeout(5)
      return g, where
    end
  ]]

  rows.declare(it, net, {
    { "is called, or asked", [[ return keep(unix()), keep(unix.stream()), keep(unix.tcp()), keep(unix.dgram()), keep(unix.udp()) ]],
      "unixstream{master} unixstream{master} unixstream{master} unixdgram{unconnected} unixdgram{unconnected}" },
    { "classes", [[ local s, where = listening() local c, a = joined() return s, c, a ]],
      "unixstream{server} unixstream{client} unixstream{client}" },
    { "the name of a server", [[ local s, where = listening() return s:getsockname() == where ]], "true" },
    { "lines", [[ local c, a = joined() return a:send("hi\r\n"), (c:receive()) ]], [[4.0 "hi"]] },
    { "both ways, and the end", [[ local c, a = joined() c:send("xyz") local got = a:receive(3) c:close() return got, a:receive() ]],
      [["xyz" nil "closed" ""]] },
    { "timeouts", [[ local c = joined() c:settimeout(0.05) return c:receive() ]], [[nil "timeout" ""]] },
    { "methods that streams have not", [[ local c = keep(unix()) return c.getpeername, c.gettimeout, c.getoption, type(c.getstats) ]],
      [[nil nil nil "function"]] },
    { "statistics and shutdown", [[ local c, a = joined() c:send("abc") local _, sent = c:getstats() return sent, c:shutdown("send"), (a:receive("*a")) ]],
      [[3.0 1.0 "abc"]] },
    { "options", [[ local c = joined() return c:setoption("keepalive", true), c:setoption("linger", { on = true, timeout = 3 }),
      c:setoption("reuseaddr", true), raised(function() c:setoption("tcp-nodelay", true) end) ]],
      [[1.0 1.0 1.0 "bad argument #1 to 'setoption' (unsupported option `tcp-nodelay')"]] },
    { "wrong states", [[ local c = joined() return raised(function() c:accept() end), raised(function() c:connect("x") end),
      raised(function() keep(unix()):receive() end) ]],
      [["calling 'accept' on bad self (unixstream{server} expected)" "calling 'connect' on bad self (unixstream{master} expected)" ]] ..
      [["calling 'receive' on bad self (unixstream{client} expected)"]] },
    { "a path that is taken", [[ local _, where = listening() local s = keep(unix()) local done, why = s:bind(where) return done, why, s:getfd() ]],
      [[nil "address already in use" -1.0]] },
    { "nobody there", [[ local c = keep(unix()) local done, why = c:connect(path("c")) return done, why, c:getfd(), c ]],
      [[nil "No such file or directory" -1.0 unixstream{master}]] },
    { "a path that is too long", [[ return keep(unix()):connect(("x"):rep(200)) ]], [[nil "path too long"]] },
    { "the file stays", [[ local s, where = listening() s:close() local c = keep(unix()) return c:connect(where) ]],
      [[nil "connection refused"]] },
    { "datagrams", [[ local g, where = datagrams() local h = keep(unix.dgram()) return h:sendto("x", where), g:receivefrom() ]], [[1.0 "x" ""]] },
    { "who sent it", [[ local g, where = datagrams() local h, mine = keep(unix.dgram()), path("c") h:bind(mine) h:sendto("x", where)
      local data, from = g:receivefrom() return data, from == mine ]], [["x" true]] },
    { "datagrams to a peer", [[ local g, where = datagrams() local h = keep(unix.dgram()) return h:connect(where), h, h:send("yy"), g:receive() ]],
      [[1.0 unixdgram{connected} 2.0 "yy"]] },
    { "datagrams, cut", [[ local g, where = datagrams() local h = keep(unix.dgram()) h:sendto("12345", where) return g:receive(2) ]], [["12"]] },
    { "datagrams: no one there", [[ return keep(unix.dgram()):sendto("x", path("c")) ]], [[nil "No such file or directory"]] },
    { "datagrams: options", [[ local g = datagrams() return g:setoption("reuseaddr", true), g:gettimeout() ]], "1.0 5.0 -1.0" },
    { "select", [[ local c, a = joined() a:send("x") return socket.select({ a, c }, nil, 5)[1] == c ]], "true" },
    { "a path that was not granted",
      [[ local done, why = keep(unix()):connect("/tmp/caspian-not-granted.sock") return done, (why:match("^host not allowed: ")) ]],
      [[nil "host not allowed: "]], "no such file" },
    { "a name that is no path", [[ local done, why = keep(unix()):bind("\0abstract") return done, (why:match("^host not allowed: ")) ]],
      [[nil "host not allowed: "]], "works there; a name that is no path cannot be granted here" },
  }, { prelude = prelude })
end)
