-- The attacker in Lua, with nothing in hand but a capability: what each value lets him do to it, to others and to the
-- interpreter. What the launcher's sandbox withholds besides is tests/launcher/sandbox.rs.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")
local unpack = table.unpack or unpack -- luacheck: ignore

local HTTP = "http://127.0.0.1:" .. servers.http
local HERE = { "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }

-- One value of each type that a script can come by; the second result ends them.
local function zoo()
  local mine = net.narrow(HERE)
  local listener = mine.tcp_listen("127.0.0.1", 0, { timeout = 5 })
  local tcp = mine.tcp("127.0.0.1", listener.local_port, { timeout = 5 })
  local client = mine.http.client.new{ har = true, timeout = 5 }
  local response = client:get(HTTP .. "/hello")
  local _, err = pcall(mine.tcp, "127.0.0.2", 1)
  local values = {
    net = mine, http = mine.http, ["http.client"] = mine.http.client, client = client, jar = mine.http.jar(),
    jail = client:jail("127.0.0.1"), response = response, stream = client:get(HTTP .. "/hello", { stream = true }),
    tcp = tcp, accepted = listener:accept(), listener = listener, udp = mine.udp(),
    ssl = mine.ssl("127.0.0.1", servers.https, { verify = false }),
    events = mine.events(HTTP .. "/events"), websocket = mine.websocket("ws://127.0.0.1:" .. servers.websocket.ws .. "/echo"),
    guard = mine.http.guard and mine.http.guard{ rules = { host = "127.0.0.1", https_only = false, ports = servers.http } },
    error = err,
  }
  return values, function() mine.revoke() end
end

-- Sockets' methods and others', by the type that has them.
local METHODS = {
  tcp = { "send", "send_all", "recv", "recv_line", "recv_exact", "lines", "close", "shutdown", "starttls" },
  ssl = { "send", "send_all", "recv", "recv_line", "recv_exact", "lines", "close", "shutdown", "peer_cert", "cipher",
    "protocol", "alpn" },
  udp = { "send", "send_to", "recv", "recv_from", "close", "join", "leave" },
  listener = { "accept", "close" },
  websocket = { "send", "recv", "messages", "ping", "close" },
  client = { "fetch", "get", "head", "delete", "options", "post", "put", "patch", "jail", "close", "events", "fetch_all", "har" },
  events = { "next", "each", "close" },
  jar = { "records", "load", "clear" },
  error = { "is" },
}
local ARGUMENTS = {
  send = { "x" }, send_all = { "x" }, recv_exact = { 1 }, shutdown = { "both" }, send_to = { "x", "127.0.0.1", 9 },
  join = { "224.0.0.251" }, leave = { "224.0.0.251" }, fetch = { HTTP }, get = { HTTP }, head = { HTTP }, delete = { HTTP },
  options = { HTTP }, post = { HTTP }, put = { HTTP }, patch = { HTTP }, jail = { "127.0.0.1" }, events = { HTTP .. "/events" },
  fetch_all = { { HTTP } }, load = { {} }, is = { "network" },
}

describe("a value in the wrong hands", function()
  wire.watch(before_each, after_each)

  it("shows no metatable, takes no other, and cannot be changed", function()
    local values, done = zoo()
    for name, value in pairs(values) do
      assert.is_false(getmetatable(value), name)
      assert.is_false(pcall(setmetatable, value, {}), name)
      assert.is_false(pcall(function() return #value end) and type(value) == "userdata", name)
      assert.is_false(pcall(function() return value() end), name)
      assert.is_false(pcall(function() return value .. "" end), name)
      assert.is_false(pcall(function() return value + 1 end), name)
      assert.is_false(pcall(function() return value < value end), name)
      if name ~= "error" then
        assert.is_false(pcall(function() value.fetch = print end), name)
        assert.is_false(pcall(function() value.recv = print end), name)
        assert.is_false(pcall(function() value.__index = print end), name)
        assert.is_false(pcall(function() value[1] = print end), name)
        if type(value) == "table" then assert.is_nil(next(value), name) end
      end
      assert.equal("string", type(tostring(value)), name)
      if type(value) == "userdata" then
        assert.is_false(pcall(rawset, value, "recv", print), name)
        assert.is_false(pcall(rawget, value, "recv"), name)
        assert.is_false(pcall(next, value), name)
      end
    end
    done()
  end)

  it("has methods that refuse every other self", function()
    local values, done = zoo()
    local co = coroutine.create(function() end)
    local count = 0
    for name, methods in pairs(METHODS) do
      local value = values[name]
      local others = {
        {}, setmetatable({}, { __index = value }), setmetatable({}, { __index = function() return print end }),
        "string", 42, true, print, co, io.stdout, net, values.response, values.tcp, values.udp, values.client, values.jar,
        values.guard or false, values.error,
      }
      for _, method in ipairs(methods) do
        assert.equal("function", type(value[method]), name .. ":" .. method)
        local function try(self)
          -- Errors have `is` for whatever has a class; nothing is behind it.
          if method == "is" then return pcall(value.is, self, "x") end
          local ok, err = pcall(value[method], self, unpack(ARGUMENTS[method] or {}))
          -- An iterator calls the method.
          if ok and (method == "lines" or method == "messages") then ok, err = pcall(err) end
          assert.is_false(ok, name .. ":" .. method .. " took " .. tostring(self))
          assert(type(err) == "string" or err:is("network"), name .. ":" .. method)
          count = count + 1
        end
        try(nil)
        for _, other in ipairs(others) do
          local kin = other == value or other == false
            -- A stream's methods are the same for all classes of streams.
            or (other == values.tcp and (name == "ssl"))
            or (method == "close" and type(other) == "userdata" and other ~= io.stdout and type(value) == "userdata")
          if not kin then try(other) end
        end
      end
    end
    assert(count > 600, count)
    done()
  end)

  it("is dead after close, and after the end of its capability, whatever is called", function()
    for _, how in ipairs{ "close", "revoke" } do
      local values, done = zoo()
      if how == "revoke" then done() end
      for name, methods in pairs(METHODS) do
        local value = values[name]
        if how == "close" and value.close then value:close() end
        if value.close or how == "revoke" then
          for _, method in ipairs(methods) do
            -- Data that has no connection stays data.
            local data = name == "jar" or name == "error" or method == "har" or method == "close" or method == "lines"
              or method == "messages" or method == "each" or method == "jail" and how == "close"
            local ok, err = pcall(value[method], value, unpack(ARGUMENTS[method] or {}))
            if not data then
              assert.is_false(ok, name .. ":" .. method .. " after " .. how)
              assert(type(err) ~= "string" and err:is("network/socket"), name .. ":" .. method .. ": " .. tostring(err))
            end
          end
          pcall(tostring, value)
        end
      end
      done()
    end
  end)

  it("is not reached from an error: no userdata, no function but its own, no other table", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1", "--allow-net=secret-neighbour.test", "--deny-net=private" }
    local calls = {
      { mine.tcp, "127.0.0.1", 1 }, { mine.tcp, "other.test", 1 }, { mine.fetch, "http://other.test/" },
      { mine.udp, "x y", 1 }, { mine.resolve, "other.test" }, { mine.narrow, { "--bad" } }, { mine.unix, "/run/x" },
      { mine.http.client.jail("127.0.0.1").fetch, "http://other.test/" }, { mine.tcp_listen, "127.0.0.1", 0 },
      { mine.websocket, "ws://other.test/" }, { mine.events, "http://other.test/" },
    }
    for index, call in ipairs(calls) do
      local ok, err = pcall(unpack(call))
      assert.is_false(ok, tostring(index))
      local text = tostring(err)
      assert.is_nil(text:find("secret-neighbour", 1, true), text)
      if type(err) == "table" then
        for key, value in next, err do
          assert(type(value) == "string" or type(value) == "number", tostring(key))
          assert.is_nil(tostring(value):find("secret-neighbour", 1, true))
        end
      end
    end
    mine.revoke()
  end)
end)

-- Values that pretend.
local calls = 0
local function told() calls = calls + 1 return "127.0.0.1" end
local liar = setmetatable({}, { __tostring = told, __index = told, __len = function() calls = calls + 1 return 3 end,
  __pairs = told, __ipairs = told, __call = told, __concat = told, __eq = told, __lt = told, __le = told, __gc = told,
  __close = told, __name = "string", __metatable = "string" })
local ODD = {
  liar, {}, { "127.0.0.1" }, true, false, 0, -1, 0.5, 1 / 0, -1 / 0, 0 / 0, 2 ^ 53, 2 ^ 63, 1e308, "", " ", "\0", "x\0y",
  "\255\254", ("x"):rep(70000), "127.0.0.1\0", "127.0.0.1 ", "0x7f.1", "[::1", "%s%s%n", "http://", "://", print,
  coroutine.create(function() end), io.stdout, net, string, -0.0, "1e3", "0x10", "\r\n", "unix:/x", "*", "..", "/dev/zero",
}

describe("odd arguments", function()
  wire.watch(before_each, after_each)

  it("in every place are errors, and reach nobody", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1:1" }
    local functions = {
      tcp = { "127.0.0.1", 1, {} }, ssl = { "127.0.0.1", 1, {} }, udp = { "127.0.0.1", 1, {} }, unix = { "/run/x", {} },
      tcp_listen = { "127.0.0.1", 1, {} }, udp_listen = { "127.0.0.1", 1, {} }, unix_listen = { "/run/x", {} },
      resolve = { "127.0.0.2", "a", {} }, reverse_resolve = { "127.0.0.2", {} }, fetch = { "http://127.0.0.1:1/", {} },
      fetch_all = { { "http://127.0.0.1:1/" }, {} }, websocket = { "ws://127.0.0.1:1/", {} },
      events = { "http://127.0.0.1:1/", {} }, allows = { "127.0.0.1", 2 }, narrow = { {} }, class = { "x" },
      poll = { {}, 0 },
    }
    for name, good in pairs(functions) do
      -- To wait for ever for nothing is what `poll` may be asked.
      for place = 1, name == "poll" and 1 or #good do
        for _, odd in ipairs(ODD) do
          local given = { unpack(good) }
          given[place] = odd
          local ok, value = pcall(mine[name], unpack(given))
          if not ok then
            assert(type(value) == "string" or value:is("network"), name .. " " .. place)
          else
            -- What passes is a narrower net, an empty answer, or an error in a list.
            assert(name == "narrow" or name == "poll" or name == "allows" or name == "fetch_all" or name == "resolve"
              or name == "udp" or name == "reverse_resolve", name .. " " .. place .. ": " .. tostring(value))
            if type(value) == "userdata" then value:close() end
          end
        end
      end
    end
    assert.equal(0, calls, "a metamethod of an argument was asked")
    mine.revoke()
  end)

  it("in every option are errors, and no metamethod is asked", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1:1" }
    local options = { "timeout", "connect_timeout", "read_timeout", "method", "headers", "body", "body_json", "body_form",
      "body_file", "body_multipart", "max_redirects", "max_body_bytes", "resolve", "unix", "proxy", "auth", "cookies", "retry",
      "on_progress", "verify", "ca_bundle", "client_cert", "client_key", "pins", "stream", "save", "forward_headers",
      "decompress", "progress" }
    for _, option in ipairs(options) do
      for _, odd in ipairs(ODD) do
        if odd ~= io.stdout then
          local ok, err = pcall(mine.fetch, "http://127.0.0.1:1/", { timeout = 1, [option] = odd })
          assert.is_false(ok, option)
          assert(type(err) == "string" or err:is("network"), option)
        end
      end
    end
    assert.equal(0, calls, "a metamethod of an option was asked")
    mine.revoke()
  end)

  it("through metatables on option tables: what is read is what is there", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1" }
    local asked = 0
    local trap = { __index = function() asked = asked + 1 return "evil" end, __pairs = function() asked = asked + 1 end,
      __len = function() asked = asked + 1 return 5 end }
    local opts = setmetatable({ headers = setmetatable({ ["X-One"] = "1" }, trap) }, trap)
    assert.matches("x%-one: 1\n", mine.fetch(HTTP .. "/inspect", opts).body)
    assert.equal(1, #mine.narrow(setmetatable({ "--allow-net=127.0.0.1" }, trap)).grants())
    assert.is_false(pcall(mine.narrow, setmetatable({}, { __index = { "--allow-net" }, __len = function() return 1 end }))
      and mine.narrow(setmetatable({}, { __index = { "--allow-net" }, __len = function() return 1 end })).allows("8.8.8.8", 1))
    assert.equal(0, asked)
    mine.revoke()
  end)

  it("changed while they are read change nothing", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1" }
    local opts = { method = "POST", headers = { ["X-One"] = "1" } }
    opts.body = (function()
      local pieces = { "a", "b" }
      return function()
        opts.headers["X-One"], opts.unix, opts.method = "2", "/run/x", "DELETE"
        return table.remove(pieces, 1)
      end
    end)()
    assert.matches("^POST.*x%-one: 1\n", mine.fetch(HTTP .. "/inspect", opts).body)
    mine.revoke()
  end)
end)

-- What callbacks do to who calls them. Each gets the capability, a client of it, and a function that does the same again.
local ACTS = {
  ["closes the client"] = function(_, client) client:close() end,
  ["ends the capability"] = function(mine) mine.revoke() end,
  ["narrows"] = function(mine) assert(mine.narrow{ "--allow-net=127.0.0.1:1" }.allows("127.0.0.1", 1)) end,
  ["calls the same"] = function(_, _, again) again() end,
  ["raises a table"] = function() error({ code = "x" }) end,
  ["raises nil"] = function() error() end,
  ["collects garbage"] = function() collectgarbage() collectgarbage() end,
  ["changes allow"] = function(_, client) client.allow = { "never.test" } end,
}

describe("a callback", function()
  wire.watch(before_each, after_each)

  for what, act in pairs(ACTS) do
    it("that " .. what, function()
      local function places(mine, client, depth)
        local function again() if depth == 0 then places(mine, client, 1) end end
        local function tell() act(mine, client, again) end
        return {
          body = function()
            local said = false
            return client:post(HTTP .. "/echo", function()
              if said then return nil end
              said = true
              tell()
              return "piece"
            end)
          end,
          upload = function() return client:post(HTTP .. "/echo", ("x"):rep(100000), { on_progress = tell }) end,
          download = function() return client:get(HTTP .. "/files/64k", { on_progress = tell }) end,
          guard = function()
            return mine.http.guard and mine.http.guard{
              rules = { host = "127.0.0.1", https_only = false, ports = servers.http }, allow_private = true,
              middleware = function(_, next) tell() return next() end,
            }.fetch(HTTP .. "/hello")
          end,
          policy = function()
            return mine.http.guard and mine.http.guard{ allow_private = true, policy = function() tell() return true end }
              .fetch(HTTP .. "/hello")
          end,
        }
      end
      for name in pairs(places()) do
        local mine = net.narrow{ "--allow-net=127.0.0.1" }
        local client = mine.http.client.new{ timeout = 10 }
        local ok, err = pcall(places(mine, client, 0)[name])
        if what == "raises a table" and name ~= "policy" then
          assert.is_false(ok, name)
          assert.same({ code = "x" }, err, name)
        elseif what == "ends the capability" then
          assert.is_false(ok and type(err) == "table" and err.body == "never", name)
        elseif what == "raises nil" then
          assert.is_false(ok and name ~= "policy", name)
        end
        -- Whatever it did, the next one works.
        if what ~= "ends the capability" then
          assert.equal("hello\n", mine.fetch(HTTP .. "/hello").body, name)
        else
          fails.with("network/socket", mine.fetch, HTTP .. "/hello")
        end
        mine.revoke()
      end
    end)
  end

  it("is interrupted by a hook anywhere, and everything is whole", function()
    -- LuaJIT has one hook for all coroutines, and would interrupt this one.
    if rawget(_G, "jit") then return end
    local mine = net.narrow(HERE)
    local listener = mine.tcp_listen("127.0.0.1", 0, { timeout = 5 })
    for n = 1, 200 do
      local client, server
      local co = coroutine.create(function()
        client = mine.tcp("127.0.0.1", listener.local_port, { timeout = 5 })
        server = listener:accept()
        client:send_all("a line\n")
        assert(server:recv_line() == "a line\n")
        mine.narrow{ "--allow-net=127.0.0.1:1" }.allows("127.0.0.1", 1)
        mine.http.client.new{ timeout = 1 }:jail("127.0.0.1")
        pcall(mine.fetch, "http://127.0.0.1:1/", { headers = { a = "b" } })
      end)
      debug.sethook(co, function() error("hook") end, "", n)
      coroutine.resume(co)
      debug.sethook(co)
      if client then client:close() end
      if server then server:close() end
    end
    while pcall(listener.accept, listener, { timeout = 0 }) do end -- luacheck: ignore
    local client = mine.tcp("127.0.0.1", listener.local_port)
    client:send_all("still\n")
    assert.equal("still\n", listener:accept():recv_line())
    mine.revoke()
  end)

  it("in coroutines that are left anywhere leaves nothing behind", function()
    local mine = net.narrow(HERE)
    local listener = mine.tcp_listen("127.0.0.1", 0, { timeout = 5 })
    local close = coroutine.close or function() end -- luacheck: ignore
    for round = 1, 300 do
      local co = coroutine.create(function()
        local client = mine.tcp("127.0.0.1", listener.local_port, { timeout = 5 })
        coroutine.yield()
        local server = listener:accept()
        coroutine.yield()
        client:send_all("x\n")
        coroutine.yield()
        server:recv_line()
        coroutine.yield()
        return client, server
      end)
      for _ = 1, round % 5 + 1 do coroutine.resume(co) end
      close(co)
      if round % 50 == 0 then collectgarbage() end
      while round % 5 == 0 and pcall(listener.accept, listener, { timeout = 0 }) do end -- luacheck: ignore
    end
    mine.revoke()
  end)
end)

-- In interpreters of their own: what would take this one with it. Each must print its word and nothing else.
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
      -- Garbage that finds the socket "in use": a table of Lua 5.2 and later, a userdata of 5.1.
      local function finalize() pcall(act) end
      if newproxy then getmetatable(newproxy(true)).__gc = finalize else setmetatable({}, { __gc = finalize }) end
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
  { "a thousand open sockets end with the state", [[
    local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
    keep = {}
    for i = 1, 900 do local ok, u = pcall(net.udp) if ok then keep[i] = u end end
    print(#keep > 200)]], "true" },
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
      if newproxy then keep[i] = newproxy(true) getmetatable(keep[i]).__gc = last else keep[i] = setmetatable({}, { __gc = last }) end
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
    print(a, b, ok, rawget(err, "class"))]], "false\ttrue\tfalse\tpuck.uno/error/network/host_not_allowed" },
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
    write(stdout, text(a), " ", text(b), " ", text(ok), " ", rawget(err, "class"), "\n")]],
    "false true false puck.uno/error/network/host_not_allowed" },
  { "error objects are whole whoever makes them", [[
    local net = launch{ "--allow-net=127.0.0.1" }
    local _, err = pcall(net.tcp, "8.8.8.8", 80)
    err.class, err.message = nil, setmetatable({}, { __tostring = function() return "x" end })
    print(type(tostring(err)), err:is("network/timeout"))
    err.class = {}
    print(pcall(err.is, err, "x"))]], "string\tfalse\ntrue\tfalse" },
}

describe("in an interpreter of its own:", function()
  for _, row in ipairs(rows) do
    it(row[1], function()
      -- Not on Lua 5.1: SECURITY.md says why.
      if row[1]:find("^a finalizer") and _VERSION == "Lua 5.1" and not rawget(_G, "jit") then return end
      local started = os.time()
      assert.equal(row[3], child.run(row[2]))
      assert(os.time() - started < 60)
    end)
  end
end)
