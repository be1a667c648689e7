-- The attacker in Lua, with nothing in hand but a capability: what each value lets him do to it and to others. Beside it:
-- attack_arguments (values that pretend), attack_callbacks (functions, hooks, coroutines), attack_process (interpreters of
-- their own). What the launcher's sandbox withholds besides is tests/launcher/sandbox.rs.

local net = require("spec.support.subject").net
local wire = require("spec.support.wire")
local zoo = require("spec.support.zoo")
local unpack = table.unpack or unpack -- luacheck: ignore

describe("a value in the wrong hands", function()
  wire.watch(before_each, after_each)

  it("shows no metatable, takes no other, and cannot be changed", function()
    local values, done = zoo.open()
    for name, value in pairs(values) do
      assert.is_false(getmetatable(value), name)
      assert.is_false(pcall(setmetatable, value, {}), name)
      assert.is_false(pcall(function() return #value end) and type(value) == "userdata", name)
      assert.is_false(pcall(function() return value() end), name)
      -- Errors are joined as text.
      assert.equal(name == "error", (pcall(function() return value .. "" end)), name)
      assert.is_false(pcall(function() return value + 1 end), name)
      assert.is_false(pcall(function() return value < value end), name)
      assert.is_false(pcall(function() value.fetch = print end), name)
      assert.is_false(pcall(function() value.recv = print end), name)
      assert.is_false(pcall(function() value.__index = print end), name)
      assert.is_false(pcall(function() value[1] = print end), name)
      if type(value) == "table" then assert.is_nil(next(value), name) end
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
    local values, done = zoo.open()
    local count = 0
    for name, methods in pairs(zoo.METHODS) do
      local value = values[name]
      for _, method in ipairs(methods) do
        assert.equal("function", type(value[method]), name .. ":" .. method)
        local function try(self)
          -- Errors have `is` for whatever has a class; nothing is behind it.
          if method == "is" then return pcall(value.is, self, "x") end
          local ok, err = pcall(value[method], self, unpack(zoo.arguments(name, method)))
          -- An iterator calls the method.
          if ok and (method == "lines" or method == "messages") then ok, err = pcall(err) end
          assert.is_false(ok, name .. ":" .. method .. " took " .. tostring(self))
          assert(type(err) == "string" or err:is("network"), name .. ":" .. method)
          count = count + 1
        end
        try(nil)
        for _, other in ipairs(zoo.others(values, value)) do
          local kin = other == value
            -- A stream's methods are the same for all classes of streams.
            or (other == values.tcp and (name == "ssl"))
            or (method == "close" and type(other) == "userdata" and other ~= io.stdout and type(value) == "userdata")
          if not kin then try(other) end
        end
      end
    end
    assert(count > 800, count)
    done()
  end)

  it("has functions to which another self is an argument, and a wrong one", function()
    local values, done = zoo.open()
    -- What may be said to these: a table of nothing, or one more host.
    local open = { narrow = true, array = true, new = true, jail = true, fetch_all = true }
    local count = 0
    for name, functions in pairs(zoo.FUNCTIONS) do
      local value = values[name]
      for _, fn in ipairs(functions) do
        assert.equal("function", type(value[fn]), name .. "." .. fn)
        for _, other in ipairs(zoo.others(values, value)) do
          if other ~= value then
            local ok, err = pcall(value[fn], other, unpack(zoo.ARGUMENTS[fn]))
            if ok then
              assert(open[fn], name .. "." .. fn .. " took " .. tostring(other))
              if fn == "narrow" then assert.equal(0, #err.grants(), tostring(other)) end
            else
              assert(type(err) == "string" or err:is("network"), name .. "." .. fn)
            end
            count = count + 1
          end
        end
      end
    end
    -- A response's functions know their response: another one is no way to it.
    for name in pairs{ response = true, stream = true, guarded = true } do
      for _, fn in ipairs{ "text", "json", "read", "lines", "chunks", "save", "close", "peer_cert" } do
        for _, other in ipairs(values[name][fn] and zoo.others(values, values[name]) or {}) do
          local ok, got = pcall(values[name][fn], other)
          assert(not ok or got == nil or got == "hello\n" or got == "" or type(got) == "function" or type(got) == "number",
            name .. "." .. fn .. ": " .. tostring(got))
          count = count + 1
        end
      end
    end
    assert(count > 600, count)
    done()
  end)

  it("has methods that refuse every other self, in the drop-in too", function()
    local values, done = zoo.open()
    local mine, classes, over = zoo.dropin()
    local count, tried = 0, {}
    local all = {}
    for _, value in pairs(mine) do all[#all + 1] = value end
    for name, methods in pairs(classes) do
      for method, f in pairs(type(methods) == "table" and methods or {}) do
        if type(f) == "function" and not tried[f] then
          tried[f] = true
          for _, other in ipairs(zoo.others(values, mine[name])) do
            local ok, err = pcall(f, other)
            assert(not ok and type(err) == "string", name .. ":" .. method .. " took " .. tostring(other))
            count = count + 1
          end
          -- Its kin may pass, and must answer something.
          for _, other in ipairs(all) do
            if method ~= "close" and method ~= "settimeout" then pcall(f, other) count = count + 1 end
          end
        end
      end
    end
    assert(count > 1000, count)
    over()
    done()
  end)

  it("is dead after close, and after the end of its capability, whatever is called", function()
    for _, how in ipairs{ "close", "revoke" } do
      local values, done = zoo.open()
      if how == "revoke" then done() end
      for name, methods in pairs(zoo.METHODS) do
        local value = values[name]
        if how == "close" and value.close then value:close() end
        if value.close or how == "revoke" then
          for _, method in ipairs(methods) do
            -- Data that has no connection stays data.
            local data = name == "jar" or name == "error" or method == "har" or method == "close" or method == "lines"
              or method == "messages" or method == "each" or method == "jail" and how == "close"
              or method == "logout" or name == "ftp" and method == "quit" -- other words for `close`
            local ok, err = pcall(value[method], value, unpack(zoo.arguments(name, method)))
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
