-- The drop-in and its grants: nothing that a program does with it passes the gate by.

local child = require("spec.support.child")
local net = require("spec.support.subject").net
local rows = require("spec.support.rows")
local wire = require("spec.support.wire")

describe("drop-in: the gate", function()
  wire.watch(before_each, after_each)

  local function over(spec)
    local import = rows.install(net.narrow(spec))
    return import("socket"), import("socket.unix")
  end

  --- `nil, "host not allowed: …"`, with the flag that would allow it.
  local function refused(flag, value, why)
    assert.is_nil(value)
    assert.truthy(why:find("^host not allowed: "), why)
    if flag then assert.truthy(why:find(flag, 1, true), why) end
  end

  it("asks for connections", function()
    local socket = over{ "--allow-net=127.0.0.1:1", "--allow-net=localhost:80" }
    refused("--allow-net=127.0.0.1:2", socket.connect("127.0.0.1", 2))
    refused("--allow-net=example.com:80", socket.connect("example.com", 80))
    refused(nil, socket.tcp():connect("10.0.0.1", "http"))
    assert.same({ n = 2, nil, "connection refused" }, { n = 2, socket.connect("127.0.0.1", 1) })
  end)

  it("asks again for each call of connect", function()
    local server = rows.install(net)("socket").bind("127.0.0.1", 0)
    local _, port = server:getsockname()
    local socket = over{ "--allow-net=127.0.0.1:" .. port }
    local c = socket.tcp()
    c:settimeout(0)
    c:connect("127.0.0.1", port)
    refused(nil, c:connect("127.0.0.2", port))
    c:close()
    server:close()
  end)

  it("asks about the addresses of a name", function()
    local socket = over{ "--allow-net=localhost", "--deny-net=private" }
    refused("private", socket.connect("localhost", 80))
    refused(nil, socket.dns.toip("example.com"))
  end)

  it("asks for listeners", function()
    local socket = over{ "--allow-net" }
    refused("--allow-listen=127.0.0.1:0", socket.bind("127.0.0.1", 0))
    refused("--allow-listen", socket.bind("*", 8080))
    refused("--allow-listen", socket.tcp():bind("*", 0))
    refused("--allow-listen", socket.connect("127.0.0.1", 1, "127.0.0.1", 0))
    refused("--allow-listen", socket.udp():setsockname("*", 0))
  end)

  it("listens on no port that the system picks", function()
    local socket = over{ "--allow-net", "--allow-listen=127.0.0.1:8080" }
    local s = socket.tcp4()
    local done, why = s:listen()
    assert.is_nil(done)
    assert.equal("Destination address required", why)
    s:close()
  end)

  it("does not take another socket's bind for a socket's own", function()
    local socket, unix = over{ "--allow-net", "--allow-listen=127.0.0.1:0" }
    local bound, path = socket.tcp4(), unix.stream()
    assert.equal(1, bound:bind("127.0.0.1", 0))
    for _, s in ipairs{ bound, path } do
      local fresh = socket.tcp4()
      s:setfd(fresh:getfd())
      assert.same({ n = 2, nil, "Destination address required" }, { n = 2, s:listen() })
      s:setfd(-1)
      fresh:close()
    end
  end)

  it("keeps a listener's deadline, whatever else its descriptor is tried for", function()
    local socket = over{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
    local server, u = socket.bind("127.0.0.1", 0), socket.udp4()
    local _, port = server:getsockname()
    u:setfd(server:getfd())
    assert.same({ n = 2, nil, "already connected" }, { n = 2, u:setpeername("127.0.0.1", port) })
    server:settimeout(0.01)
    assert.same({ n = 2, nil, "timeout" }, { n = 2, server:accept() })
    server:close()
  end)

  it("asks for IPv4 where a socket of IPv6 takes both", function()
    local socket = over{ "--allow-net", "--allow-listen=[::]:0" }
    for _, make in ipairs{ "tcp6", "udp6" } do
      local s = socket[make]()
      local bind = s.bind and "bind" or "setsockname"
      assert.equal(1, s:setoption("ipv6-v6only", false))
      refused("--allow-listen=0.0.0.0:0", s[bind](s, "::", 0))
      assert.equal(1, s:setoption("ipv6-v6only", true))
      assert.equal(1, s[bind](s, "::", 0))
      s:close()
    end
  end)

  it("asks for datagrams, one by one", function()
    local socket = over{ "--allow-net=127.0.0.1:9" }
    local u = socket.udp()
    assert.equal(1, u:sendto("x", "127.0.0.1", 9))
    refused("--allow-net=127.0.0.1:10", u:sendto("x", "127.0.0.1", 10))
    refused(nil, u:setpeername("127.0.0.1", 10))
    u:close()
  end)

  it("asks for paths", function()
    local _, unix = over{ "--allow-net", "--allow-listen" }
    local s = unix()
    refused("--allow-listen=unix:/tmp/x", s:bind("/tmp/x"))
    refused("--allow-net=unix:/tmp/x", s:connect("/tmp/x"))
    s:close()
    local d = unix.dgram()
    refused("--allow-net=unix:/tmp/x", d:sendto("x", "/tmp/x"))
    d:close()
  end)

  it("follows no link out of a directory that is granted", function()
    local subject = require("spec.support.subject")
    local link, target = subject.unix("a"), subject.unix("b")
    local all = "unix:" .. target:match("^(.*)/") .. "/*"
    local _, unix = over{ "--allow-net=" .. all, "--allow-listen=" .. all }
    os.remove(link) os.remove(target)
    assert(os.execute("ln -s " .. target .. " " .. link))
    local server = unix()
    assert(server:bind(target))
    assert(server:listen(2))
    local s = unix()
    assert.equal(1, s:connect(target))
    s:close()
    s = unix()
    refused("symbolic link", s:connect(link))
    s:close()
    server:close() os.remove(target)

    server = unix.dgram()
    assert(server:bind(target))
    server:settimeout(5)
    local d = unix.dgram()
    assert.equal(2, d:sendto("to", target))
    assert.equal("to", (server:receivefrom()))
    refused("symbolic link", d:sendto("x", link))
    assert.equal(1, d:connect(target))
    d:close()
    d = unix.dgram()
    refused("symbolic link", d:connect(link))
    d:close() server:close()
    os.remove(target) os.remove(link)
  end)

  it("asks for names", function()
    local socket = over{ "--allow-net=127.0.0.1" }
    refused(nil, socket.dns.getaddrinfo("example.com"))
    refused(nil, socket.dns.toip("example.com"))
    refused(nil, socket.dns.tohostname("10.1.2.3"))
    assert.equal("127.0.0.1", (socket.dns.toip("127.0.0.1")))
  end)

  it("says nothing without a network", function()
    local socket = rows.install(nil)("socket")
    refused("--allow-net=127.0.0.1:80", socket.connect("127.0.0.1", 80))
    refused("--allow-listen", socket.bind("127.0.0.1", 0))
    refused(nil, socket.dns.toip("example.com"))
  end)

  it("takes no descriptor that is not its own", function()
    local socket = rows.install(net)("socket")
    local t = socket.tcp()
    local done, why = t:setfd(0)
    assert.is_nil(done)
    assert.truthy(why:find("descriptor 0 is not a socket of this program; --allow-native would allow it", 1, true), why)
    assert.equal(-1, t:getfd())
  end)

  it("hands descriptors round among its own", function()
    local import = rows.install(net)
    local socket = import("socket")
    local server = socket.bind("127.0.0.1", 0)
    local _, port = server:getsockname()
    local a, b = socket.connect("127.0.0.1", port), server:accept()
    -- As LuaSec takes a socket over: the number first, then the old object forgets it.
    local c = socket.connect("127.0.0.1", port)
    local old = c:getfd()
    assert.equal(0, select("#", c:setfd(a:getfd())))
    a:setfd(-1)
    assert.equal(-1, a:getfd())
    b:send("hello\n")
    assert.equal("hello", (c:receive()))
    -- And what was forgotten can be had back by its number.
    local d = socket.tcp()
    d:setfd(old)
    assert.equal(old, d:getfd())
    d:close() c:close() b:close() server:close()
  end)

  it("takes foreign descriptors where that is allowed", function()
    local found, theirs = pcall(require, "socket")
    if not found then return end
    local mine = rows.install(net, { native = true })("socket")
    local server = theirs.bind("127.0.0.1", 0)
    local ip, port = server:getsockname()
    local t = mine.tcp()
    assert.equal(0, select("#", t:setfd(server:getfd())))
    server:setfd(-1)
    assert.same({ ip, tonumber(port), "unspec" }, { t:getsockname() })
    t:close()
  end)

  it("ends with its network", function()
    local less = net.narrow{ "--allow-net", "--allow-listen" }
    local socket = rows.install(less)("socket")
    local server = socket.bind("127.0.0.1", 0)
    local _, port = server:getsockname()
    local a = socket.connect("127.0.0.1", port)
    local b = server:accept()
    local u = socket.udp()
    u:setsockname("127.0.0.1", 0)
    less.revoke()
    assert.same({ n = 3, nil, "closed", 0 }, { n = 3, a:send("x") })
    assert.equal(-1, b:getfd())
    assert.equal(-1, server:getfd())
    assert.equal(-1, u:getfd())
    assert.equal("this network capability was revoked", select(2, socket.connect("127.0.0.1", port)))
    assert.equal("this network capability was revoked", select(2, server:accept()))
  end)

  it("is installed where it is said", function()
    local import, package = rows.install(net)
    assert.is_function(package.preload["socket"])
    local socket = package.preload["socket"]("socket")
    assert.equal(socket, import("socket"))
    assert.equal(socket, package.loaded["socket.core"])
    assert.equal(socket, package.preload["socket.core"]("socket.core"))
    assert.has_error(function() import("nosuch") end)
  end)

  it("survives a script that finalizes what is in use", function()
    local socket = rows.install(net)("socket")
    local server = socket.bind("127.0.0.1", 0)
    local _, port = server:getsockname()
    local c = socket.connect("127.0.0.1", port)
    local finalize = getmetatable(c).__gc
    -- The field of an argument is read through a metamethod, which ends the object meanwhile.
    local evil = setmetatable({}, { __index = function() finalize(c) end })
    local done, why = pcall(c.setoption, c, "linger", evil)
    assert.is_false(done)
    assert.truthy(tostring(why):find("expected", 1, true), why)
    assert.is_false((pcall(c.getfd, c)))
    finalize(c)
    server:close()
  end)

  -- Lua 5.1, 5.2 and LuaJIT run finalizers before they copy, the other Luas only afterwards.
  it("survives finalizers that read and close what is being read", function()
    local socket = rows.install(net)("socket")
    local server = socket.bind("127.0.0.1", 0)
    local _, port = server:getsockname()
    local early = rawget(_G, "newproxy")
    local reading, denied, let_go = nil, 0, 0
    local function tamper()
      local c = reading
      if c and select(2, c:receive(1)) == "the socket is in use by another call" then
        denied = denied + 1
        if select(2, c:receive(1)) ~= "the socket is in use by another call" then let_go = let_go + 1 end
        c:close()
      end
    end
    -- Each step of the collector is a whole cycle.
    local step = early and collectgarbage("setstepmul", 0)
    for _ = 1, 20 do
      local c = socket.connect("127.0.0.1", port)
      local other = server:accept()
      other:send(("x"):rep(8000))
      c:receive(1)
      collectgarbage("stop")
      if early then
        getmetatable(early(true)).__gc = tamper
      else
        setmetatable({}, { __gc = tamper })
      end
      reading = c
      collectgarbage("restart")
      local got = c:receive(4000)
      reading = nil
      assert.equal(("x"):rep(4000), got)
      c:close()
      other:close()
    end
    if early then collectgarbage("setstepmul", step) end
    server:close()
    assert.equal(0, let_go)
    assert.is_true(denied > 0 or not early)
  end)

  -- Lua 5.1, 5.2 and 5.3 raise it out of whatever made the collector run.
  it("lets go of what was being read when a finalizer raises", function()
    local socket = rows.install(net)("socket")
    local server = socket.bind("127.0.0.1", 0)
    local _, port = server:getsockname()
    local early = rawget(_G, "newproxy")
    local armed, raised = false, 0
    local function planted() if armed then error("planted", 0) end end
    local stepmul = early and 0 or 1000000
    local step = collectgarbage("setstepmul", stepmul)
    for _, kind in ipairs{ "core", "drop-in" } do
      -- What is copied twice by Lua 5.1, and what is not.
      for _, size in ipairs{ 64, 4000 } do
        for _ = 1, 20 do
          local c = kind == "core" and net.tcp("127.0.0.1", tonumber(port)) or socket.connect("127.0.0.1", port)
          local read = kind == "core" and c.recv_exact or c.receive
          local other = server:accept()
          other:send(("x"):rep(size) .. "y" .. ("z"):rep(size))
          -- In the call: busted's pcall makes a coroutine on Lua 5.1.
          local function act()
            collectgarbage("restart")
            armed = true
            return read(c, size)
          end
          collectgarbage()
          collectgarbage("stop")
          if early then
            getmetatable(early(true)).__gc = planted
          else
            setmetatable({}, { __gc = planted })
          end
          local ok, got = pcall(act)
          armed = false
          if not ok then
            raised = raised + 1
            assert.truthy(tostring(got):find("planted", 1, true), tostring(got))
            got = read(c, size)
          end
          assert.equal(("x"):rep(size), got)
          assert.equal("y" .. ("z"):rep(size), (read(c, size + 1)))
          c:close()
          other:close()
        end
      end
    end
    collectgarbage("setstepmul", step)
    server:close()
    -- Only Lua 5.1 is sure to collect in the call itself: the others look at what was made before, and LuaJIT tells nobody.
    assert.is_true(raised > 0 or _VERSION ~= "Lua 5.1" or rawget(_G, "jit") ~= nil)
  end)

  it("survives finalizers that finalize what is being read", function()
    local socket = rows.install(net)("socket")
    local server = socket.bind("127.0.0.1", 0)
    local _, port = server:getsockname()
    for _ = 1, 30 do
      local c = socket.connect("127.0.0.1", port)
      local a = server:accept()
      local finalize = getmetatable(c).__gc
      for _ = 1, 50 do
        if rawget(_G, "newproxy") then
          local p = newproxy(true) -- luacheck: ignore
          getmetatable(p).__gc = function() finalize(c) end
        else
          setmetatable({}, { __gc = function() finalize(c) end })
        end
      end
      a:send(("x"):rep(100000) .. "\n")
      a:close()
      -- Large strings make the collector run in the middle of a call.
      for i = 1, 20 do pcall(c.receive, c, i * 500, ("y"):rep(i * 5000)) end
      pcall(c.receive, c, "*a")
      finalize(c)
    end
    server:close()
    collectgarbage()
  end)

  it("is one of its own each time", function()
    local one, other = rows.install(net)("socket"), rows.install(net)("socket")
    local a, b = one.tcp(), other.tcp()
    assert.are_not.equal(getmetatable(a), getmetatable(b))
    local done, why = pcall(getmetatable(a).__index.close, b)
    assert.is_false(done)
    assert.truthy(why:find("(tcp{any} expected)", 1, true), why)
  end)

  it("needs a network", function()
    local compat = require("caspian.net.compat")
    assert.has_error(function() compat.install({}) end, "bad argument #1 to 'install' (a network capability expected, got a table)")
    assert.has_error(function() compat.install(net, 1) end, "bad argument #2 to 'install' (package must be a table, got 1)")
    assert.has_error(function() compat.install(net, nil, { x = 1 }) end, 'bad argument #3 to \'install\' (unknown option "x")')
  end)

  it("takes the place of what was loaded before, in either order", function()
    assert.equal("true true true", child.run[[
      local compat = require("caspian.net.compat")
      local net = launch{ "--allow-net" }
      local found, before = pcall(require, "socket")
      compat.install(net)
      local socket = require("socket")
      print(socket ~= before, package.loaded["socket.core"] == socket, socket.connect("127.0.0.1", 1) == nil)
    ]]:gsub("\t", " "))
  end)
end)
