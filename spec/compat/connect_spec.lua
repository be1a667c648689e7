-- The drop-in's `connect`, called again on one object after it has failed.

local child = require("spec.support.child")
local net = require("spec.support.subject").net
local rows = require("spec.support.rows")
local wire = require("spec.support.wire")

describe("drop-in: connect again", function()
  wire.watch(before_each, after_each)

  local prelude = [[
    --- A port of 127.0.0.1 where connections neither stand nor fail: the queue is full.
    function full()
      local s, port = server("127.0.0.1", 0)
      for _ = 1, 4 do
        local c = keep(socket.tcp())
        c:settimeout(0)
        c:connect("127.0.0.1", port)
        socket.select(nil, { c }, 0.02)
      end
      return port
    end
  ]]
  rows.declare(it, net, {
    { "refused", [[ local s, port = server() local c = keep(socket.tcp()) c:settimeout(5) local _, why = c:connect("127.0.0.1", closed())
      local held = c:getfd() >= 0 return why, held, c:connect("127.0.0.1", port), (c:getpeername()) ]],
      [["connection refused" true 1.0 "127.0.0.1"]] },
    { "refused every time", [[ local c = keep(socket.tcp()) local _, first = c:connect("127.0.0.1", closed())
      local _, second = c:connect("127.0.0.1", closed()) local _, third = c:connect("127.0.0.1", closed()) return first, second, third ]],
      [["connection refused" "connection refused" "connection refused"]] },
    { "timed out", [[ local s, port = server() local c = keep(socket.tcp()) c:settimeout(0.2) local _, why = c:connect("127.0.0.1", full())
      c:settimeout(5) return why, c:connect("127.0.0.1", port) ]], [["timeout" 1.0]] },
    { "a number for a name", [[ return raised(function() keep(socket.tcp()):connect({}, 1) end), keep(socket.tcp()):connect(-1, 1) ]],
      [["bad argument #1 to 'connect' (string expected, got table)" nil "host or service not provided, or not known"]] },
    { "no such name", [[ local s, port = server() local c = keep(socket.tcp()) local _, why = c:connect("nosuch.invalid", port)
      return why, c:connect("127.0.0.1", port) ]], [["host or service not provided, or not known" 1.0]] },
    { "of the other family", [[ local s, port = server("::1") local c = keep(socket.tcp()) local _, why = c:connect("127.0.0.1", closed())
      return why, c:getfamily(), c:connect("::1", port) ]], [["connection refused" "inet4" 1.0]] },
    { "of the other family, after one that stood", [[ local s, port = server() local c = keep(socket.tcp()) c:connect("127.0.0.1", port)
      c:close() return c:connect("::1", port) ]], [[nil "Address family for hostname not supported"]] },
    { "without a wait", [[ local s, port = server() local c, said = keep(socket.tcp()), {} c:settimeout(0)
      for n, to in ipairs{ closed(), closed(), port, port, port } do local done, why = c:connect("127.0.0.1", to) said[n] = done or why
      socket.select(nil, { c }, 5) end return said[1], said[2], said[3], said[4], said[5] ]],
      [["timeout" "connection refused" "timeout" 1.0 "already connected"]] },
    { "of a family that was chosen, timed out: it is under way", [[ local s, port = server() local c = keep(socket.tcp4()) c:settimeout(0.2)
      local _, why = c:connect("127.0.0.1", full()) return why, c:connect("127.0.0.1", port) ]],
      [["timeout" nil "Operation already in progress"]] },
    { "of a family that was chosen", [[ local s, port = server() local c = keep(socket.tcp4()) local _, why = c:connect("127.0.0.1", closed())
      return why, c:connect("127.0.0.1", port) ]], [["connection refused" 1.0]], "the original asks the socket that has failed: closed" },
    { "with the options that were set", [[ local s, port = server() local c = keep(socket.tcp()) c:setoption("reuseaddr", true)
      c:connect("127.0.0.1", closed()) c:setoption("keepalive", true) c:setoption("tcp-nodelay", true) c:setoption("linger", { on = true, timeout = 3 })
      c:settimeout(3) c:settimeout(4, "t") local done = c:connect("127.0.0.1", port) return done, c:getoption("reuseaddr"),
      c:getoption("keepalive"), c:getoption("tcp-nodelay"), c:getoption("linger").timeout, c:gettimeout() ]],
      "1.0 true true true 3 3.0 4.0", "the original keeps the timeouts and forgets the options" },
    { "from the place where it was bound", [[ local s, port = server() local free, own = server() free:close() local c = keep(socket.tcp())
      assert(c:bind("127.0.0.1", own)) local _, first = c:connect("127.0.0.1", closed()) local done, why = c:connect("127.0.0.1", port)
      local third = c:connect("127.0.0.1", port) return first, done, why, third, tonumber((select(2, c:getsockname()))) == own ]],
      [["connection refused" nil "closed" 1.0 true]] },
    { "from the port that the system has picked in a bind", [[ local s, port = server() local c = keep(socket.tcp())
      assert(c:bind("127.0.0.1", 0)) local _, own = c:getsockname() c:setoption("keepalive", true) c:connect("127.0.0.1", closed())
      local _, why = c:connect("127.0.0.1", port) local _, now = c:getsockname() return why, now == own, c:getoption("keepalive") ]],
      [["closed" true true]] },
    { "from where it was bound, without a wait", [[ local s, port = server() local c = keep(socket.tcp()) assert(c:bind("127.0.0.1", 0))
      c:settimeout(0) local said = {} for n, to in ipairs{ closed(), port, port, port } do
      local done, why = c:connect("127.0.0.1", to) said[n] = done or why socket.select(nil, { c }, 5) end
      return said[1], said[2], said[3], said[4] ]], [["timeout" "connection refused" "timeout" 1.0]] },
    { "of the other family than the bound one", [[ local s, port = server("::1") local c = keep(socket.tcp()) assert(c:bind("127.0.0.1", 0))
      c:connect("127.0.0.1", closed()) return c:connect("::1", port) ]], [[nil "Address family for hostname not supported"]] },
    { "after a bind that failed, of any family", [[ local s, port = server("::1") local _, taken = server() local c = keep(socket.tcp())
      local _, why = c:bind("127.0.0.1", taken) return why, c:getfamily(), c:connect("::1", port) ]],
      [["address already in use" "inet4" 1.0]] },
    { "what the connection before has left is not read", [[ local s, port = server() local c = keep(socket.tcp()) c:connect("127.0.0.1", port)
      keep(s:accept()):send("one\ntwo\n") c:receive() c:close() c:connect("127.0.0.1", port) local dirty = c:dirty()
      keep(s:accept()):send("new\n") return dirty, (c:receive()) ]], [[false "new"]], "the original answers the old connection's bytes" },
    { "of a Unix socket", [[ local c = keep(unix.stream()) local _, why = c:connect(path("c")) local s = keep(unix.stream())
      local where = path("a") s:bind(where) s:listen() local done, more = c:connect(where) return why, c:getfd(), done, more ]],
      [["No such file or directory" -1.0 nil "closed"]] },
  }, { prelude = prelude })

  if not child.can_mount() then return pending("mount namespaces are not allowed here") end

  -- The original's program is told of the first address alone, and never comes to the second.
  it("without a wait goes through the addresses of a name", function()
    local said = child.run_with({ hosts = "127.0.0.1 localhost\n127.0.0.1 three.test\n127.0.0.2 three.test\n127.0.0.3 three.test\n" }, [[
      require("caspian.net.compat").install(launch{ "--allow-net", "--allow-listen" })
      local socket = require("socket")
      -- A port that the first two refuse: who has it there does not listen, and nobody else can.
      local first, second = socket.tcp(), socket.tcp()
      assert(first:bind("127.0.0.1", 0))
      local _, port = first:getsockname()
      assert(second:bind("127.0.0.2", port))
      local server = assert(socket.bind("127.0.0.3", port))
      local c, done, why = socket.tcp()
      c:settimeout(0)
      c:setoption("keepalive", true)
      repeat
        done, why = c:connect("three.test", port)
        socket.select(nil, { c }, 5)
      until why ~= "timeout" and why ~= "Operation already in progress"
      print(done == 1, why, (c:getpeername()), c:getoption("keepalive"))
      c:close()
      -- Nobody listens any more: refused by the last, and then from the first one again.
      server:close()
      for _ = 1, 2 do
        local asked = 0
        repeat
          asked = asked + 1
          done, why = c:connect("three.test", port)
          socket.select(nil, { c }, 5)
        until why ~= "timeout" or asked == 20
        print(done, why, asked)
      end
    ]])
    assert.equal("true\tnil\t127.0.0.3\ttrue\nnil\tconnection refused\t4\nnil\tconnection refused\t4", said)
  end)
end)
