-- The attacker in Lua, in interpreters of their own: what would take this one with it. Each must print its word and
-- nothing else.

local child = require("spec.support.child")
local peer = require("spec.support.peer")

-- What comes before each: a value with a finalizer, a table of Lua 5.2 and later, a userdata of 5.1.
local DOOMED = [[
local function doomed(finalize)
  if not newproxy then return setmetatable({}, { __gc = finalize }) end
  local value = newproxy(true)
  getmetatable(value).__gc = finalize
  return value
end
]]

local rows = {
  { "a finalizer that closes the socket whose bytes are being copied", [[
    local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
    local l = net.tcp_listen("127.0.0.1", 0)
    local c = net.tcp("127.0.0.1", l.local_port)
    local s = l:accept()
    collectgarbage("setpause", 100) collectgarbage("setstepmul", 10000)
    local acts = { function() s:close() end, function() s:starttls{ timeout = 0.1 } end, function() s:shutdown("both") end,
      function() s:recv(1, { timeout = 0 }) end, function() net.poll({ s }, 0) end }
    local function trap(act)
      -- Garbage that finds the socket "in use".
      doomed(function() pcall(act) end)
    end
    local good = 0
    for round = 1, 400 do
      local line = ("%08d"):format(round):rep(2048) .. "\n"
      local sent = pcall(c.send_all, c, line)
      for _ = 1, 20 do trap(acts[round % 5 + 1]) end
      local ok, got = pcall(s.recv_line, s, { timeout = 5 })
      if ok and got == line then good = good + 1 elseif ok and got ~= nil and round % 5 ~= 3 then print("torn", #got) end
      collectgarbage() -- or what is left acts on the next round's socket
      if not sent or not ok or got == nil or round % 5 > 0 then
        c:close() s:close()
        c = net.tcp("127.0.0.1", l.local_port) s = l:accept()
      end
    end
    print(good > 0 and "whole")]], "whole" },
  { "a second instance: the front again", [[
    local net = launch{ "--allow-net=a.test" }
    for name in pairs(package.loaded) do if name:find("caspian") then package.loaded[name] = nil end end
    local ok, err = pcall(require("caspian.net").launch, { "--allow-net" })
    print(ok, err:match("already launched"))]], "false\talready launched" },
  { "a second instance: the core again, by another name and from a copy", [[
    local net = launch{ "--allow-net=a.test" }
    local path
    for template in package.cpath:gmatch("[^;]+") do
      local name = template:gsub("%?", "caspian_net")
      local file = not path and io.open(name, "rb")
      if file then path = name file:close() end
    end
    package.loaded.caspian_net = nil
    local copy = os.tmpname()
    local from, to = io.open(path, "rb"), io.open(copy, "wb")
    to:write(from:read("*a")) to:close() from:close()
    for _, open in ipairs{ package.loadlib(path, "luaopen_caspian_net"), package.loadlib(copy, "luaopen_caspian_net") } do
      local core = open()
      local cap, why = core.mint({ "--allow-net" }, { files = true })
      print(cap, why, (select(2, core.allows(nil, "a.test", 1))) ~= nil, (pcall(core.tcp, core, "a.test", 1)))
    end
    os.remove(copy)]], "nil\talready launched\ttrue\ttrue\nnil\talready launched\ttrue\ttrue" },
  { "the registry of the state and everything that require finds hold no capability", [[
    local net = launch{ "--allow-net=a.test" }
    local found, seen = {}, {}
    local function walk(value, depth)
      if type(value) ~= "table" or seen[value] or depth > 6 or value == net then return end
      seen[value] = true
      for k, v in next, value do
        if v == net or k == net then found[#found + 1] = tostring(k) end
        walk(k, depth + 1) walk(v, depth + 1)
      end
    end
    local mine = net net = nil -- luacheck: ignore
    walk(package.loaded, 0)
    for name, module in pairs(package.loaded) do
      if name:find("caspian") and type(module) == "table" then
        for key, value in pairs(module) do if type(value) == "userdata" and key ~= "null" then found[#found + 1] = key end end
      end
    end
    print(#found, mine ~= nil)]], "0\ttrue" },
  { "what others drop is nobody's to pick up: values of the core hide their metatables", [[
    local net = launch{ "--allow-net=127.0.0.1" }
    local core = require("caspian_net")
    local cap = core.nothing()
    local client = core.http_client(cap)
    for _, value in ipairs{ cap, client, (core.http_request(client, "http://127.0.0.1:1/", "GET", nil, nil, nil, nil, true)) } do
      io.write(type(value), " ", tostring(getmetatable(value)), " ")
    end
    print(net.allows("127.0.0.1", 1))]], "userdata false userdata false userdata false true" },
  { "a finalizer that fetches while the first use of HTTP is loaded", [[
    local net = launch{ "--allow-net=127.0.0.1" }
    local under_way, ran, finalize = true, 0, nil
    function finalize()
      if not under_way then return end
      ran = ran + 1
      pcall(net.fetch, "http://127.0.0.1:1/")
      doomed(finalize)
    end
    -- From here on one collection begins where the one before ended.
    -- A trace of LuaJIT that meets a collection begins again: with one at every turn it never gets further.
    if jit then jit.off() end
    -- The program `lua` of 5.4 has a collector that waits for growth; another one keeps a quarter of the multiplier in a byte.
    if _VERSION == "Lua 5.4" then collectgarbage("incremental", 0, 1020) end
    collectgarbage("setpause", 0) collectgarbage("setstepmul", _VERSION == "Lua 5.4" and 1020 or 1000000) collectgarbage()
    for _ = 1, 3 do doomed(finalize) end
    local _, err = pcall(net.fetch, "http://127.0.0.1:1/")
    under_way = false
    local jar = net.http.jar()
    local _, other = pcall(net.fetch, "http://127.0.0.1:1/", { cookies = jar })
    local _, third = pcall(net.http.client.new{ cookies = jar }.get, net.http.client.new(), "http://127.0.0.1:1/")
    print(ran > 0, tostring(err):match("^[^:]+"), tostring(other):match("^[^:]+"), tostring(third):match("^[^:]+"))]],
    "true\tnetwork/connection_refused\tnetwork/connection_refused\tnetwork/connection_refused" },
  { "a finalizer at the end of the state, of what is older than the first use of HTTP", [[
    local net = launch{ "--allow-net=127.0.0.1" }
    local function last()
      local _, err = pcall(net.fetch, "http://127.0.0.1:1/")
      print((tostring(err):match("^[^:]+")))
    end
    keep = doomed(last)
    print(pcall(net.fetch, "http://127.0.0.1:1/") == false)]], "true\nnetwork/connection_refused" },
  { "environments lead nowhere", [[
    local net = launch{ "--allow-net=a.test" }
    local worst = "none"
    if getfenv then
      for _, f in ipairs{ net.tcp, net.fetch, net.narrow, net.http.client.new, net.http.jar().records, net.http.guard or print } do
        if f ~= print then for k in pairs(getfenv(f)) do worst = k end pcall(setfenv, f, { core = 1, cap = 1 }) end
      end
      pcall(debug.setfenv, net, {})
    end
    print(worst, net.allows("a.test", 1), net.allows("b.test", 1))]], "none\ttrue\tfalse" },
  { "bytecode of the front's functions cannot be had", [[
    local net = launch{ "--allow-net=a.test" }
    local function dump(f) return pcall(string.dump, f) end
    -- A dump has no upvalues: run again, it has no capability.
    local ok, code = dump(net.tcp)
    local again = ok and (loadstring or load)(code)
    print(again and (pcall(again, "a.test", 1)) or false)]], "false" },
  { "deep tables and deep calls are errors", [[
    local net = launch{ "--allow-net=127.0.0.1" }
    local deep = {}
    for _ = 1, 1000000 do deep = { deep } end
    local function try(f, ...) local ok, err = pcall(f, ...) io.write(tostring(ok), type(err) == "string" and " " or "!", "") end
    try(net.fetch, "http://127.0.0.1:1/", { body_json = deep })
    try(net.fetch, "http://127.0.0.1:1/", { headers = deep })
    try(net.narrow, deep)
    try(net.fetch, "http://127.0.0.1:1/", { body_form = deep })
    local function down(n) if n == 0 then return pcall(net.fetch, "http://127.0.0.1:1/") end return (down(n - 1)) end
    try(error, "x")
    for _, n in ipairs{ 100, 150, 180 } do coroutine.wrap(function() down(n) end)() end
    print("end")]], "false false false false false end" },
  { "callbacks in callbacks, and many of them, are errors", [[
    local net = launch{ "--allow-net=127.0.0.1" }
    local depth, deepest, guard = 0, 0, nil
    guard = net.http.guard{
      rules = { host = "127.0.0.1", https_only = false, ports = 1 }, allow_private = true,
      middleware = function(ctx, next)
        depth = depth + 1
        deepest = math.max(deepest, depth)
        local response = depth < 250 and guard.fetch("http://127.0.0.1:1/") or next()
        depth = depth - 1
        return response
      end,
    }
    local ok, err = pcall(guard.fetch, "http://127.0.0.1:1/")
    print(ok, type(err) == "string" or err:is("network"), deepest > 5)]], "false\ttrue\ttrue" },
  { "sizes beyond memory are errors", [[
    local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
    local l = net.tcp_listen("127.0.0.1", 0)
    local c = net.tcp("127.0.0.1", l.local_port)
    local s = l:accept()
    c:send_all("x\n")
    for _, n in ipairs{ 2 ^ 31, 2 ^ 40, 2 ^ 53 } do
      assert(not pcall(s.recv_exact, s, n, { timeout = 0 }))
      assert(not pcall(s.recv_line, s, { max = n, timeout = 0 }) or true)
      assert(not pcall(net.fetch, "http://127.0.0.1:1/", { max_body_bytes = n }))
      pcall(net.tcp_listen, "127.0.0.1", 0, { backlog = n })
    end
    print("end")]], "end" },
  { "a thousand open sockets end with the state, and soon", [[
    local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
    local l = net.tcp_listen("127.0.0.1", 0)
    keep = { l }
    for i = 1, 250 do
      local ok, c = pcall(net.tcp, "127.0.0.1", l.local_port)
      if not ok then break end
      keep[#keep + 1], keep[#keep + 2] = c, l:accept()
      for _ = 1, 2 do keep[#keep + 1] = net.udp() end
    end
    print(#keep > 200, "ends at " .. io.popen("date +%s%N"):read("*l"))]], "true\tends at" },
  { "finalizers that run when the state closes find errors, not memory", [[
    local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
    local l = net.tcp_listen("127.0.0.1", 0)
    local client = net.http.client.new{ timeout = 1 }
    local jail = client:jail("127.0.0.1")
    local function last()
      pcall(net.tcp, "127.0.0.1", l.local_port) pcall(l.accept, l, { timeout = 0 }) pcall(client.get, client, "http://127.0.0.1:1/")
      pcall(jail.fetch, "http://127.0.0.1:1/") pcall(net.narrow, {}) pcall(net.revoke) pcall(tostring, net)
    end
    keep = {}
    for i = 1, 10 do
      keep[i] = doomed(last)
    end
    print("end")]], "end" },
  { "os.exit in a callback ends the process with its code", [[
    local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
    local l = net.tcp_listen("127.0.0.1", 0)
    print("before")
    io.stdout:flush()
    net.fetch("http://127.0.0.1:" .. l.local_port .. "/", { method = "POST", body = function() os.exit(0, true) end })
    print("after")]], "before" },
  { "the string metatable under other hands: the gate still sees what is used", [[
    local net = launch{ "--allow-net=127.0.0.1" }
    local meta = getmetatable("")
    for name in pairs(string) do meta.__index = setmetatable({}, { __index = function() return function() return "127.0.0.1" end end }) end
    meta.__concat, meta.__eq, meta.__len, meta.__tostring = function() return "127.0.0.1" end, function() return true end, nil, nil
    local a, b = net.allows("8.8.8.8", 80), net.allows("127.0.0.1", 80)
    local ok, err = pcall(net.tcp, "8.8.8.8", 80)
    print(a, b, ok, err.class)]], "false\ttrue\tfalse\tpuck.uno/error/network/host_not_allowed" },
  { "libraries under other hands: the front has its own", [[
    local net = launch{ "--allow-net=127.0.0.1" }
    local stdout, write, pcall, pairs, type, rawget, text = io.stdout, io.stdout.write, pcall, pairs, type, rawget, tostring
    for _, lib in pairs{ string, table, math, coroutine, io, os } do
      for name, f in pairs(lib) do if type(f) == "function" then lib[name] = function() return "127.0.0.1" end end end
    end
    for _, name in pairs{ "type", "next", "rawget", "rawequal", "select", "tostring", "error", "setmetatable", "getmetatable" } do
      _G[name] = function() return "string" end
    end
    local a, b = net.allows("8.8.8.8", 80), net.allows("127.0.0.1", 80)
    local ok, err = pcall(net.tcp, "8.8.8.8", 80)
    write(stdout, text(a), " ", text(b), " ", text(ok), " ", err.class, "\n")]],
    "false true false puck.uno/error/network/host_not_allowed" },
  { "what is compiled at its first use is what was there before: package, libraries and globals under other hands", [[
    local net = launch{ "--allow-net=127.0.0.1" }
    local write, stdout, pcall, rawget, text = io.stdout.write, io.stdout, pcall, rawget, tostring
    local function other() write(stdout, "other hands\n") return "x" end
    for _, name in pairs{ "lazy", "guard", "guarded", "middleware", "args", "objects", "requests", "errors" } do
      package.preload["caspian.net." .. name], package.loaded["caspian.net." .. name] = other, { make = other }
    end
    local searchers = package.searchers or package.loaders
    for i = 1, #searchers do searchers[i] = other end
    package.path, package.config, package.searchpath = "/nowhere/?.lua", "?", other
    for _, lib in pairs{ string, table, math, coroutine, io, os } do
      for name, f in pairs(lib) do if type(f) == "function" then lib[name] = other end end
    end
    for _, name in pairs{ "type", "next", "rawget", "rawequal", "select", "tostring", "error", "setmetatable", "getmetatable",
      "pcall", "rawset", "require", "load", "loadstring", "setfenv", "getfenv", "collectgarbage", "dofile", "loadfile" } do
      _G[name] = other
    end
    for _ = 1, 2 do
      local guard = net.http.guard{ rules = { host = "127.0.0.1" } }
      local ok, err = pcall(guard.fetch, "https://8.8.8.8/")
      write(stdout, text(ok), " ", err.class, "\n")
    end]], ("false puck.uno/error/network/host_not_allowed\n"):rep(2):sub(1, -2) },
  { "a first use of HTTP that is ended anywhere leaves nothing by halves", [[
    local net = launch{ "--allow-net=a.test" }
    for count = 1, 1000, 3 do
      local mine = net.narrow{ allow_net = { "a.test" } }
      pcall(function()
        debug.sethook(function() debug.sethook() error("ended") end, "", count)
        local _ = mine.fetch
        debug.sethook()
      end)
      mine.http.guard{ rules = { host = "a.test" } }
      mine.http.client.jail("a.test")
      mine.http_client.new():close()
      mine.class("puck.uno/http/client").new():close()
      assert(mine.fetch and mine.fetch_all and mine.events and mine.array and mine.null and mine.http.jar())
      assert(mine.websocket and mine.resolve and mine.reverse_resolve)
    end
    print("whole")]], "whole" },
  { "dropped sockets of every kind are collected before descriptors run out", [[
    local path = os.tmpname()
    os.remove(path)
    local net = launch{ "--allow-net", "--allow-listen", "--allow-net=unix:" .. path, "--allow-listen=unix:" .. path }
    require("caspian.net.compat").install(net)
    local socket, unix = require("socket"), require("socket.unix")
    local l, u = net.tcp_listen("127.0.0.1", 0), net.unix_listen(path)
    local bound = socket.bind("127.0.0.1", 0)
    local _, at = bound:getsockname()
    local kinds = {
      function() return socket.udp4():setsockname("127.0.0.1", 0) end,
      function() return unix.dgram() end,
      function() return unix.stream() end,
      function() return socket.tcp4():bind("127.0.0.1", 0) end,
      function() return socket.connect("127.0.0.1", at) and bound:accept() end,
      function() return net.udp() end,
      function() return net.udp_listen("127.0.0.1", 0) end,
      function() return net.tcp_listen("127.0.0.1", 0) end,
      function() return net.tcp("127.0.0.1", l.local_port) and l:accept() end,
      function() return net.unix(path) and u:accept() end,
    }
    collectgarbage("setpause", 1000)
    for kind, open in ipairs(kinds) do
      for _ = 1, 400 do assert(open(), kind) end
    end
    l:close() u:close()
    -- What is held is not collected: then the error says so, and the next call works once there is room.
    local held = {}
    local ok, err = pcall(function() while true do held[#held + 1] = net.udp() end end)
    print(ok, err:is("network/socket"), err.message:find("too many open files") ~= nil)
    held = nil
    print(net.udp() ~= nil)]], "false\ttrue\ttrue\ntrue" },
  { "error objects are whole whoever makes them", [[
    local net = launch{ "--allow-net=127.0.0.1" }
    local _, err = pcall(net.tcp, "8.8.8.8", 80)
    rawset(err, "class", {})
    rawset(err, "message", setmetatable({}, { __tostring = function() return "x" end }))
    print(type(tostring(err)), err:is("network/timeout"))
    print((pcall(err.is, err, "x")))
    print((pcall(err.is, setmetatable({}, { __index = err }), "timeout")))]], "string\tfalse\nfalse\nfalse" },
}

describe("in an interpreter of its own:", function()
  for _, row in ipairs(rows) do
    it(row[1], function()
      -- Not on Lua 5.1: SECURITY.md says why.
      if row[1]:find("^a finalizer") and _VERSION == "Lua 5.1" and not rawget(_G, "jit") then return end
      local started = os.time()
      -- As many descriptors as the system lets it have.
      local few = row[1]:find("^dropped sockets") and "ulimit -n 128; " or "ulimit -n 4096 2>/dev/null || :; "
      local said = child.run(DOOMED .. row[2], few)
      local last = said:match(" at (%d+)$")
      if last then
        local now = io.popen("date +%s%N"):read("*l")
        assert(tonumber(now:sub(1, -7)) - tonumber(last:sub(1, -7)) < 1000, "it took a second and more to end")
        said = said:gsub(" %d+$", "")
      end
      assert.equal(row[3], said)
      assert(os.time() - started < 60)
    end)
  end

  -- A large body is read to where Lua keeps it: nothing else may get that memory.
  it("garbage that makes strings as long as the body that arrives", function()
    local server = peer.tcp[[
      local c = accept()
      local answer = "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" .. ("A"):rep(1048576)
      while head(c)[1] do c:send(answer) end]]
    assert.equal("30", child.run(DOOMED .. "local url = 'http://127.0.0.1:" .. server.port .. "/' " .. [[
      local net = launch{ "--allow-net=127.0.0.1" }
      local client = net.http.client.new()
      local want, other = ("A"):rep(1048576), ("B"):rep(1048576)
      local under_way, ran, good, finalize = false, 0, 0, nil
      function finalize()
        if not under_way then return end
        ran = ran + 1
        local long = ran .. other:sub(1, #other - #tostring(ran))
        doomed(finalize)
        -- Shorter, and the last thing here: then Lua owes itself a collection, and the next function begins with it.
        long = other:sub(1, -100 - ran % 100)
      end
      -- A trace of LuaJIT that meets a collection begins again: with one at every turn it never gets further.
      if jit then jit.off() end
      collectgarbage("setpause", 0) collectgarbage("setstepmul", 1000000000)
      for round = 1, 30 do
        collectgarbage()
        for _ = 1, 5 do doomed(finalize) end
        -- Garbage is collected at other points each time.
        local shift = {}
        for i = 1, round * 7 % 100 do shift[i] = "x" .. round .. "/" .. i end
        under_way = true
        local body = client:get(url).body
        under_way = false
        if body == want then good = good + 1 end
      end
      print(good)]]))
    server:finish()
  end)

  -- The C stack of a thread that a host made small.
  for _, row in ipairs(rows) do
    if row[1]:find("^deep tables") or row[1]:find("^callbacks in callbacks") then
      it("with a stack of 512 KiB, " .. row[1], function() assert.equal(row[3], child.run(row[2], "ulimit -s 512; ")) end)
    end
  end
end)
