-- Contract 3 and 4: how sockets and capabilities end: close, collection, <close>, revoke, fork, Ctrl-C.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local load = loadstring or load -- luacheck: ignore

describe("a socket", function()
  wire.watch(before_each, after_each)

  it("closes when it is collected", function()
    local before = wire.open()
    for _ = 1, 10 do net.tcp("127.0.0.1", servers.http) end
    net.udp_listen("127.0.0.1", 0)
    net.tcp_listen("127.0.0.1", 0)
    net.ssl("127.0.0.1", servers.https, { ca_bundle = servers.ca })
    assert.equal(before, wire.open())
  end)

  it("closes when its constructor fails", function()
    local before = wire.open()
    for _ = 1, 10 do pcall(net.ssl, "127.0.0.1", servers.expired, {}) end
    assert.equal(before, wire.open())
  end)

  it("closes on <close>", function()
    local scope = load("local s <close> = ... return s.connected")
    if not scope then return end -- only Lua 5.4 and later have it
    local s = net.tcp("127.0.0.1", servers.http)
    assert.is_true(scope(s))
    assert.is_false(s.connected)
    local failing = load("local s <close> = ... error('on the way')")
    s = net.tcp("127.0.0.1", servers.http)
    assert.is_false(pcall(failing, s))
    assert.is_false(s.connected)
    local l = net.tcp_listen("127.0.0.1", 0)
    load("local l <close> = ...")(l)
    fails.with("network/socket", l.accept, l)
  end)

  it("lives as long as its lines() are walked", function()
    local p = peer.tcp[[ local c = accept() c:send("a\nb\n") c:close() ]]
    local walk, state, first = net.tcp("127.0.0.1", p.port):lines()
    collectgarbage()
    local seen = {}
    for line in walk, state, first do seen[#seen + 1] = line collectgarbage() end
    assert.same({ "a\n", "b\n" }, seen)
  end)
end)

describe("revoke", function()
  wire.watch(before_each, after_each)

  it("ends sockets, listeners and everything narrowed from it", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
    local inner = mine.narrow{ "--allow-net=127.0.0.1" }
    local s = mine.tcp("127.0.0.1", servers.http)
    local t = inner.tcp("127.0.0.1", servers.http)
    local l = mine.tcp_listen("127.0.0.1", 0)
    local u = mine.udp()
    mine.revoke()
    fails.with("network/socket", s.recv, s, 1)
    fails.with("network/socket", t.send, t, "x")
    fails.with("network/socket", l.accept, l)
    fails.with("network/socket", u.recv, u, 1)
    for _, one in ipairs{ mine, inner } do
      fails.with("network/socket", one.tcp, "127.0.0.1", servers.http)
      fails.with("network/socket", one.udp)
      fails.with("network/socket", one.fetch, "http://127.0.0.1:" .. servers.http .. "/hello")
      assert.is_false(one.allows("127.0.0.1", 80))
    end
    fails.with("network/socket", mine.tcp_listen, "127.0.0.1", 0)
    assert.is_false(s.connected)
  end)

  it("closes at once, so that the peer sees it", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1" }
    local p = peer.tcp[[ local c = accept() report((select(2, c:receive(1)))) ]]
    local s = mine.tcp("127.0.0.1", p.port)
    mine.revoke()
    assert.same({ "closed" }, p:finish())
    s:close()
  end)

  it("leaves the others alone", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1" }
    local inner = mine.narrow{ "--allow-net=127.0.0.1" }
    inner.revoke()
    inner.revoke()
    mine.tcp("127.0.0.1", servers.http):close()
    mine:revoke()
    net.tcp("127.0.0.1", servers.http):close()
  end)
end)

describe("clients that nobody holds any more", function()
  wire.watch(before_each, after_each)

  it("take their connections with them", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1" }
    local before = wire.open()
    -- In loops that LuaJIT compiles: what its code keeps, nobody collects.
    for round = 1, 300 do
      assert.equal(200, mine.http.client.new():get("http://127.0.0.1:" .. servers.http .. "/hello").status)
      if round % 10 == 0 then collectgarbage() end
    end
    assert.equal(before, wire.open())
    mine.revoke()
  end)
end)

describe("Ctrl-C", function()
  wire.watch(before_each, after_each)

  -- what blocks
  local rows = {
    recv = [[ local s = net.tcp("127.0.0.1", %d) say() s:recv(1) ]],
    recv_line = [[ local s = net.tcp("127.0.0.1", %d) say() s:recv_line() ]],
    accept = [[ local l = net.tcp_listen("127.0.0.1", 0) say() l:accept() ]],
    ["recv_from"] = [[ local u = net.udp_listen("127.0.0.1", 0) say() u:recv_from(1) ]],
    ["accept of a server"] = [[ local s = net.http.server("127.0.0.1", 0) say() s:accept() ]],
    ["run of a server"] = [[ local s = net.http.server("127.0.0.1", 0) say() s:run(function() return "ok" end) ]],
    ["run of an app"] = [[ local a = net.http.sammy() a:listen("127.0.0.1", 0) say() a:run() ]],
    poll = [[ local l = net.tcp_listen("127.0.0.1", 0) say() net.poll({ l }, 60) ]],
    fetch = [[ say() net.fetch("http://127.0.0.1:%d/never", { timeout = 60 }) ]],
    ["for ever"] = [[ local s = net.tcp("127.0.0.1", %d) say() s:recv(1, { timeout = math.huge }) ]],
  }
  for name, code in pairs(rows) do
    it("stops a blocked " .. name, function()
      local p = child.start([[
        local net = launch{ "--allow-net", "--allow-listen" }
        local function say() io.write("blocked\n") io.flush() end
        local ok, err = pcall(function() ]] .. code:format(servers.http) .. [[ end)
        print(ok, (tostring(err):gsub("\n.*", "")))
      ]])
      p:expect("^blocked$")
      p:signal("INT")
      local text = p:rest()
      assert.truthy(text:find("interrupted"), text)
    end)
  end
end)

local posix, unistd = pcall(require, "posix.unistd") -- Debian has lua-posix for some of the Luas
if posix then
  local wait = require("posix.sys.wait").wait

  -- Runs f in a forked process; its exit status: 0 if f answered true.
  local function forked(f)
    local id = unistd.fork()
    if id == 0 then
      local ok, good = pcall(f)
      unistd._exit(ok and good and 0 or 1)
    end
    local _, _, status = wait(id)
    return status
  end

  describe("fork", function()
    wire.watch(before_each, after_each)

    it("a child does not speak on its parent's TLS connection", function()
      local s = net.ssl("127.0.0.1", servers.https, { ca_bundle = servers.ca })
      assert.equal(0, forked(function()
        local ok, err = pcall(s.send, s, "x")
        return not ok and err:is("network/socket")
      end))
      -- And closing it there says no goodbye here.
      assert.equal(0, forked(function() s:close() return true end))
      s:send_all("GET /hello HTTP/1.0\r\n\r\n")
      assert.truthy(s:recv_line():find("200"))
      s:close()
    end)

    it("a child does not take its parent's pooled connection", function()
      local mine = net.narrow{ "--allow-net=127.0.0.1" }
      local url = "http://127.0.0.1:" .. servers.http .. "/connection"
      local first = mine.fetch(url).body
      local id = first:match("^%d+")
      assert.equal(0, forked(function() return mine.fetch(url).body:match("^%d+") ~= id end))
      assert.equal(id .. " 2", mine.fetch(url).body)
      mine.revoke()
    end)

    it("children draw random bytes of their own", function()
      -- The generator has a state by now, which every child begins with.
      net.ssl("127.0.0.1", servers.https, { ca_bundle = servers.ca }):close()
      local listener = net.tcp_listen("127.0.0.1", 0)
      local seen = {}
      for _ = 1, 3 do
        local id = unistd.fork()
        if id == 0 then
          pcall(net.ssl, "127.0.0.1", listener.local_port, { verify = false, timeout = 20 })
          unistd._exit(0)
        end
        local s = listener:accept{ timeout = 20 }
        -- The random of a ClientHello, behind the heads of its record and its message, and a version (RFC 8446, section 4.1.2).
        local random = s:recv_exact(43, { timeout = 20 }):sub(12)
        s:close()
        wait(id)
        assert.equal(32, #random)
        assert.is_nil(seen[random])
        seen[random] = true
      end
      listener:close()
    end)

    it("a child makes connections of its own", function()
      assert.equal(0, forked(function()
        local s = net.tcp("localhost", servers.http)
        s:send_all("GET /hello HTTP/1.0\r\n\r\n")
        return s:recv_line():find("200") ~= nil
      end))
    end)
  end)
end
