-- The attacker in Lua: what functions that are called back, hooks and coroutines do to who calls them.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local HTTP = "http://127.0.0.1:" .. servers.http
local HERE = { "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }

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

  it("that ends a call is what the call raises, wherever it stood", function()
    local mine = net.narrow(HERE)
    local listener = mine.tcp_listen("127.0.0.1", 0)
    local response = mine.fetch("http://127.0.0.1:" .. servers.http .. "/hello", { stream = true })
    local rows = {
      { "network/timeout", function() listener:accept{ timeout = 0 } end },
      { "none", function() mine.poll({ listener }, 0) end },
      { "none", function() response.read(1) end },
      { "none", function() return response.headers, response.timings end },
    }
    for _, row in ipairs(rows) do
      for n = 1, 60 do
        local calls = 0
        local function hook()
          calls = calls + 1
          if calls == n then
            debug.sethook()
            error("stopped", 0)
          end
        end
        local ok, err = pcall(function()
          debug.sethook(hook, "c")
          row[2]()
          calls = n
        end)
        calls = n
        debug.sethook()
        local told = ok and "none" or type(err) == "table" and err.class:match("network/.*") or tostring(err)
        assert.truthy(told == row[1] or told:find("stopped", 1, true), n .. ": " .. told)
      end
    end
    response.close()
    mine.revoke()
  end)

  it("in coroutines that are left anywhere leaves nothing behind", function()
    local mine = net.narrow(HERE)
    local guard = mine.http.guard{
      rules = { host = "127.0.0.1", https_only = false, ports = servers.http }, allow_private = true, timeout = 5,
      middleware = function(_, next) coroutine.yield() local response = next() coroutine.yield() return response end,
    }
    local client = mine.http.client.new{ timeout = 5 }
    local yield = coroutine.yield
    local bodies = {
      function()
        local listener = mine.tcp_listen("127.0.0.1", 0, { timeout = 5 })
        yield()
        local one = mine.tcp("127.0.0.1", listener.local_port, { timeout = 5 })
        yield()
        local server = listener:accept()
        yield()
        one:send_all("x\n")
        yield()
        server:recv_line()
        yield()
        return one, server
      end,
      function() yield() local udp = mine.udp() yield() return udp end,
      function() guard.fetch(HTTP .. "/hello") end,
      function()
        local stream = client:get(HTTP .. "/files/64k", { stream = true })
        yield()
        stream:read(100)
        yield()
        for _ in stream:chunks() do yield() end
      end,
      function() client:post(HTTP .. "/echo", function() if yield() then return "x" end end) end,
      function() mine.narrow{ "--allow-net=127.0.0.1" }.fetch(HTTP .. "/hello") yield() end,
    }
    local close = coroutine.close or function() end -- luacheck: ignore
    local before, most = wire.open(), 0
    for round = 1, 10000 do
      -- Most of them are the cheap ones: these are 10,000.
      local co = coroutine.create(bodies[round % 10 == 0 and round / 10 % #bodies + 1 or round % 2 + 1])
      for _ = 1, math.floor(round / 7) % 6 + 1 do coroutine.resume(co) end
      close(co)
      if round % 100 == 0 then
        if round % 1000 == 0 then most = math.max(most, wire.open()) else collectgarbage() end
      end
    end
    -- What a client keeps for its next request stays.
    assert(most <= before + 8, ("%d sockets before, %d after"):format(before, most))
    mine.revoke()
  end)
end)

-- A collector that is at work wherever Lua looks whether it is time for it, and a finalizer that runs in each cycle.
local COLLECTING = [[
  local net = launch{ "--allow-net=127.0.0.1" }
  local runs, going, inside = 0, false, false
  local function arm(act)
    local function finalize()
      if not going then return end
      runs = runs + 1
      if not inside then
        inside = true
        act()
        inside = false
      end
      arm(act)
    end
    if newproxy then getmetatable(newproxy(true)).__gc = finalize else setmetatable({}, { __gc = finalize }) end
  end
  -- A trace of LuaJIT that meets a collection begins again: with one at every turn it never gets further.
  if jit then jit.off() end
  collectgarbage("setpause", 0)
  collectgarbage("setstepmul", 1000000)
  local function with(act, call)
    going = true
    arm(act)
    collectgarbage()
    local result = call()
    going = false
    return result
  end
  local url = "]] .. HTTP .. [[/files/1m"
]]

describe("a finalizer in the middle of a call", function()
  it("that makes strings as long as the body has no part in it", function()
    assert.equal("true\ttrue", child.run(COLLECTING .. [[
      local expected, kept = net.fetch(url).body, nil
      local other, good = ("x"):rep(#expected - 1), true
      for _ = 1, 100 do
        local body = with(function() kept = other .. string.char(65 + runs % 26) end, function() return net.fetch(url).body end)
        good = good and body == expected
        if runs > 20 then break end
      end
      print(good, runs > 20 and #kept == #expected)]]))
  end)

  it("that asks the response being read is told so, or answered", function()
    assert.equal("1048576\ttrue\ttrue\tOK\t1.1", child.run(COLLECTING .. [[
      local good, busy, count, response = true, 0, nil, nil
      local function look()
        local ok, value = pcall(function() return response.timings end)
        if not ok then busy = busy + 1 end
        good = good and (ok and type(value) == "table" or not ok and value.class == "puck.uno/error/network/socket")
      end
      for _ = 1, 100 do
        response = net.fetch(url, { stream = true })
        count = with(look, function()
          local sum = 0
          for piece in response:chunks() do sum = sum + #piece end
          return sum
        end)
        if busy > 0 then break end
      end
      -- Lua 5.2 paces itself, and may never be caught there.
      print(count, good, busy > 0 or _VERSION == "Lua 5.2", response.reason, response.version)]]))
  end)
end)
