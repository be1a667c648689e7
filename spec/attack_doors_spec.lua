-- The attacker in Lua at the doors beside the network's: the helpers, `within`, `kind`, `registrar`. Values that pretend, functions that
-- yield, raise and never come back.

local child = require("spec.support.child")
local codec = require("caspian.net.codec")
local net = require("spec.support.subject").net
local odd = require("spec.support.odd")
local wire = require("spec.support.wire")

local unpack = table.unpack or unpack -- luacheck: ignore
local HERE = { "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }

-- Each function of the helpers, and what it takes.
local HELPERS = {
  url = {
    parse = { "http://a/" }, build = { { scheme = "http", host = "a" } }, join = { "http://a/", "b" }, encode = { "a", "/" },
    decode = { "a", {} }, query = { {} },
  },
  json = { encode = { {}, {} }, decode = { "[]" }, array = { {} } },
  base64 = { encode = { "a" }, decode = { "YQ==" }, url_encode = { "a" }, url_decode = { "YQ" } },
  mail = { parse = { "Subject: a\r\n\r\nb" } },
  hash = {
    md5 = { "a", "hex" }, sha1 = { "a", "hex" }, sha256 = { "a", "hex" }, sha512 = { "a", "hex" }, hmac_sha1 = { "k", "a", "hex" },
    hmac_sha256 = { "k", "a", "hex" }, hmac_sha512 = { "k", "a", "hex" }, equal = { "a", "b" }, random = { 1 },
  },
}

describe("helpers", function()
  local asked = odd.watch(before_each)

  --- Calls it; what it answers is data, and what it raises an ordinary error.
  local function try(what, f, ...)
    local ok, value = pcall(f, ...)
    if not ok then
      assert(type(value) == "string" and value:find("bad argument", 1, true), what .. ": " .. tostring(value))
    else
      local kind = type(value)
      assert(kind ~= "function" and kind ~= "userdata" or value == net.null, what .. " answered a " .. kind)
    end
    return ok
  end

  it("are all in this table", function()
    local seen, known = {}, {}
    for name, object in pairs(codec) do
      for each, f in pairs(object) do if type(f) == "function" then seen[#seen + 1] = name .. "." .. each end end
    end
    for name, functions in pairs(HELPERS) do for each in pairs(functions) do known[#known + 1] = name .. "." .. each end end
    if #seen == 0 then return end -- Lua 5.1 has no __pairs
    table.sort(seen)
    table.sort(known)
    assert.same(known, seen)
  end)

  it("take odd values in every place for wrong arguments, or answer", function()
    local count = 0
    for name, functions in pairs(HELPERS) do
      for each, good in pairs(functions) do
        for _, owner in ipairs{ net, codec } do
          local f = owner[name][each]
          for place = 1, #good + 1 do
            for index, value in ipairs(odd.values(net)) do
              -- To mark the library of strings as an array is the script's own affair, and the next row's misfortune.
              if not (each == "array" and rawequal(value, string)) then
                local given = { unpack(good) }
                given[place] = value
                try(name .. "." .. each .. " " .. place .. " " .. index, f, unpack(given, 1, math.max(place, #good)))
                try(name .. ":" .. each .. " " .. place .. " " .. index, f, owner[name], unpack(given, 1, math.max(place, #good)))
                count = count + 2
              end
            end
          end
        end
      end
    end
    assert(count > 5000, count)
    assert.equal(0, asked())
  end)

  it("take odd values inside of tables for wrong arguments, or answer", function()
    for index, value in ipairs(odd.values(net)) do
      for _, part in ipairs{ "scheme", "userinfo", "host", "port", "path", "query", "fragment", "pairs" } do
        local parts = { scheme = "http", host = "a" }
        parts[part] = value
        try("build " .. part .. " " .. index, net.url.build, parts)
        for _, place in ipairs{ 1, 2 } do
          parts = { scheme = "http", host = "a", pairs = { { "a", "b" } } }
          parts.pairs[1][place] = value
          try("build pairs " .. index, net.url.build, parts)
        end
      end
      try("query value " .. index, net.url.query, { a = value })
      try("query list " .. index, net.url.query, { a = { "x", value } })
      try("query pair " .. index, net.url.query, { { "a", value } })
      try("query name " .. index, net.url.query, { { value, "a" } })
      try("json value " .. index, net.json.encode, { a = value })
      try("json item " .. index, net.json.encode, { 1, value })
      if value == value then
        try("query key " .. index, net.url.query, { [value] = "a" })
        try("json key " .. index, net.json.encode, { [value] = "a" })
        try("parts key " .. index, net.url.build, { scheme = "http", host = "a", [value] = "a" })
      end
      try("option " .. index, net.json.encode, {}, { sorted = value })
      try("option " .. index, net.url.decode, "a", { plus = value })
    end
    assert.equal(0, asked())
  end)

  it("read tables raw: a metatable says nothing of what is in one", function()
    local trap = setmetatable({ a = 1 }, { __index = error, __pairs = error, __len = error, __newindex = error, __metatable = error })
    assert.equal('{"a":1}', net.json.encode(trap))
    assert.equal("a=1", net.url.query(trap))
    assert.equal("http://a/", net.url.build(setmetatable({ scheme = "http", host = "a" }, { __index = error, __pairs = error })))
    assert.equal("a+b", net.url.decode("a+b", setmetatable({}, { __index = function() return true end })))
    -- What claims to be an array, an error or null is none.
    local claims = setmetatable({}, { __name = "caspian.net.array", __metatable = false, __index = { class = "x" } })
    assert.equal("{}", net.json.encode(claims))
    assert.matches("nested too deeply", select(2, pcall(net.json.encode, (function() local t = {} t[1] = t return t end)())))
  end)

  it("take any bytes", function()
    local all = {}
    for byte = 0, 255 do all[byte + 1] = string.char(byte) end
    all = table.concat(all):rep(3)
    for _, f in ipairs{ net.url.encode, net.base64.encode, net.base64.url_encode } do assert.matches("^[%w%%%-%._~+/=]*$", f(all)) end
    for name in pairs(HELPERS.hash) do
      if name ~= "random" and name ~= "equal" then assert.matches("^%x+$", net.hash[name](all, name:find("hmac") and all)) end
    end
    assert.is_true(net.hash.equal(all, all))
    -- Bytes at random are no JSON, no base64 and no URL, or they are.
    for seed = 1, 500 do
      local bytes = net.hash.random(seed % 40)
      try("decode", net.json.decode, bytes)
      try("decode", net.json.decode, '["' .. bytes .. '"]')
      try("unbase64", net.base64.decode, bytes)
      try("unescape", net.url.decode, "%" .. bytes)
      try("parse", net.url.parse, "http://" .. bytes)
      try("parse", net.url.parse, "x:" .. bytes)
      try("join", net.url.join, "http://a/b", bytes)
    end
  end)

  it("have a cap on what a table becomes", function()
    -- Each level holds the one below it twice: 2^100 leaves in a hundred tables.
    local leaf = ("x"):rep(100000)
    local many, named = { leaf }, { x = leaf }
    for _ = 1, 100 do many, named = { many, many }, { a = named, b = named } end
    for _, value in ipairs{ many, named } do
      local ok, err = pcall(net.json.encode, value)
      assert.is_false(ok)
      assert.matches("bad argument #1 to 'encode' %(value is longer than 67108864 bytes as JSON%)", err)
    end
    local long = ("x"):rep(1048576)
    local list = {}
    for index = 1, 65 do list[index] = long end
    assert.matches("value is longer than 67108864 bytes as JSON", select(2, pcall(net.json.encode, list)))
    assert.matches("query is longer than 67108864 bytes", select(2, pcall(net.url.query, { a = list })))
    assert.matches("query is longer than 67108864 bytes", select(2, pcall(net.url.build, { scheme = "http", host = "a", query = { a = list } })))
    list[65], list[64] = nil, nil
    assert.equal(63 * 1048579 + 1, #net.json.encode(list))
  end)

  it("say what is wrong where JSON is ten thousand levels deep, and live", function()
    for _, text in ipairs{ ("["):rep(10000), ("["):rep(10000) .. ("]"):rep(10000), ('{"a":'):rep(10000) .. "1" .. ("}"):rep(10000) } do
      local ok, err = pcall(net.json.decode, text)
      assert.is_false(ok)
      assert.matches("malformed JSON: nested more than 127 levels deep at line 1 column %d+", err)
    end
  end)
end)

describe("within", function()
  local asked = odd.watch(before_each)
  wire.watch(before_each, after_each)

  --- Nothing of a block is left: a socket has its own time.
  local function clean()
    local udp = net.udp_listen("127.0.0.1", 0)
    local ok, err = pcall(udp.recv, udp, 1, { timeout = 0.01 })
    assert.is_false(ok)
    assert.matches("timed out after 0.01 s", err.message)
    assert.not_matches("within", err.message)
    udp:close()
  end

  it("takes odd values in every place for wrong arguments, or calls", function()
    local called = 0
    for _, value in ipairs(odd.values(net)) do
      local ok, err = pcall(net.within, value, function() called = called + 1 end)
      assert(ok or type(err) == "string" and err:find("bad argument #1 to 'within'", 1, true), tostring(err))
      if type(value) ~= "function" then
        ok, err = pcall(net.within, 1, value)
        assert(not ok and type(err) == "string" and err:find("bad argument #2 to 'within'", 1, true), tostring(err))
      end
      local got = { net.within(1, function(...) return select("#", ...), ... end, value, nil) }
      assert.equal(2, got[1])
      assert(rawequal(got[2], value) or value ~= value)
    end
    assert(called > 3)
    assert.equal(0, asked())
    clean()
  end)

  it("is over, whatever the function does", function()
    local thrown = setmetatable({}, { __tostring = error, __index = error, __eq = error })
    local acts = {
      function() error(thrown) end,
      function() error() end,
      function() error("x", 0) end,
      function() error(net.null) end,
      function() local function down() return 1 + down() end return down() end,
      function() return ("x"):rep(-1), string.rep() end,
      function() return net.within(0, function() net.sleep(1) end) end,
      function() return net.within(1, net.within, 1, net.within, 1, error) end,
      function() collectgarbage() collectgarbage() end,
      function() return pcall(pcall, pcall, error) end,
      function() return coroutine.wrap(function() net.within(1, coroutine.yield) end)() end,
      function() local co = coroutine.wrap(function() net.within(0, function() coroutine.yield() error("late") end) end) co() co() end,
      function() return net.within(1, coroutine.yield) end,
      function() return setmetatable({}, { __index = function() return net.within(1, error, "inside") end }).x end,
      function() return table.sort({ 3, 2, 1 }, function(a, b) net.within(1, net.sleep, 0) return a < b end) end,
      function() return ("abc"):gsub(".", function() return net.within(1, function() return "x" end) end) end,
      function() return xpcall(net.within, function(e) return net.within(1, function() return e end) end, 1, error, "y") end,
    }
    for index, act in ipairs(acts) do
      pcall(net.within, 3600, act)
      clean()
      coroutine.wrap(function() pcall(net.within, 3600, act) end)()
      clean()
      assert(index)
    end
    assert.equal(thrown, select(2, pcall(net.within, 1, acts[1])))
  end)

  it("is over for coroutines that nobody goes on with", function()
    local threads = {}
    for index = 1, 200 do
      threads[index] = coroutine.create(function()
        net.within(0.001, function() net.within(3600, coroutine.yield, index) net.sleep(3600) end)
      end)
      assert.same({ true, index }, { coroutine.resume(threads[index]) })
    end
    clean()
    local close = rawget(coroutine, "close")
    for index = 1, 100 do
      if close then assert(close(threads[index])) end
      threads[index] = nil
    end
    collectgarbage()
    clean()
    -- Those that go on are in their blocks, which ended meanwhile.
    for index = 101, 200 do
      local ok, err = coroutine.resume(threads[index])
      assert.is_false(ok)
      assert.equal("puck.uno/error/network/timeout", err.class)
    end
    clean()
  end)

  it("nests as deep as Lua's calls do, and no deeper", function()
    local function down(n)
      if n == 0 then return "bottom" end
      return (net.within(3600, down, n - 1))
    end
    assert.equal("bottom", down(50))
    local ok, err = pcall(down, 100000)
    assert(not ok and (type(err) == "string" or err:is("network")), tostring(err))
    clean()
    assert.equal("bottom", down(50))
  end)

  it("is left by a hook anywhere", function()
    if rawget(_G, "jit") then return end -- one hook for all coroutines
    for n = 1, 150 do
      local co = coroutine.create(function()
        net.within(3600, function()
          net.within(3600, function() net.sleep(0) end)
          coroutine.wrap(function() net.within(3600, net.sleep, 0) end)()
        end)
      end)
      debug.sethook(co, function() error("hook") end, "", n)
      coroutine.resume(co)
      debug.sethook(co)
    end
    clean()
  end)
end)

describe("kind", function()
  it("asks odd values nothing", function()
    local asked = odd.watch()
    for _, value in ipairs(odd.values(net)) do
      local kind = net.kind(value)
      assert(kind == nil or rawequal(value, net) and kind == "capability", tostring(kind))
    end
    for _, hostile in ipairs{ { __index = error }, { __metatable = error, __name = error }, { __gc = true, __mode = 5 }, { __name = net.null } } do
      assert.is_nil(net.kind(setmetatable({}, hostile)))
    end
    assert.equal(0, asked())
  end)
end)

describe("a registrar", function()
  local function said(code) return child.run("local odd = require('spec.support.odd')\n" .. code) end

  it("takes odd values for wrong arguments, and asks them nothing", function()
    assert.equal("fine\t0\ttrue", said[[
      local register = require("caspian.net").registrar()
      local asked = odd.watch()
      for _, value in ipairs(odd.values(net)) do
        for place = 1, 3 do
          local given = { {}, { "--allow-net=127.0.0.1:9" }, {} }
          given[place] = value
          local ok, err = pcall(register, (table.unpack or unpack)(given))
          if not ok then assert(type(err) == "string" and err:find("bad argument", 1, true), tostring(err)) end
          if ok and place == 2 then assert(err == nil, "granted by an odd value") end
        end
      end
      local env = {}
      print("fine", asked(), register(env, { "--allow-net=127.0.0.1:9" }) == env["%net"] and env["%net"].allows("127.0.0.1", 9))]])
  end)

  it("delivers nothing to an environment that refuses, and goes on", function()
    assert.equal("false\tfalse\tfalse\ttrue", said[[
      local register = require("caspian.net").registrar()
      local flags = { "--allow-net=127.0.0.1:9" }
      local function try(metatable)
        local env = setmetatable({}, metatable)
        local ok, made = pcall(register, env, flags)
        return ok and made ~= nil and rawget(env, "%net") == nil
      end
      io.write(tostring(try{ __newindex = function() error("no", 0) end }), "\t")
      io.write(tostring(try{ __newindex = function() coroutine.yield() end, __index = error }), "\t")
      io.write(tostring(try{ __newindex = function() error({}) end, __metatable = false }), "\t")
      local env = {}
      register(env, flags)
      print(env["%net"].allows("127.0.0.1", 9))]])
  end)
end)

describe("two engines in one state", function()
  it("end one by one: what the other has goes on, in blocks as well", function()
    local code = ([[
      local register = require("caspian.net").registrar()
      local a, b = {}, {}
      local one, two = register(a, HERE), register(b, HERE)
      local function class(f, ...) return (tostring(select(2, pcall(f, ...))):match("^[^:]+")) end
      local listener = two.tcp_listen("127.0.0.1", 0)
      local theirs = one.tcp("127.0.0.1", listener.local_port)
      local mine = two.tcp("127.0.0.1", listener.local_port)
      local first, second = listener:accept(), listener:accept()
      -- One ends in the middle of the other's block, and of its own.
      io.write(two.within(60, function()
        return one.within(30, function()
          one.revoke()
          return class(theirs.recv, theirs, 1)
        end)
      end), "\t")
      second:send_all("x")
      io.write(two.within(60, mine.recv, mine, 1), "\t")
      io.write(class(one.tcp, "127.0.0.1", listener.local_port), "\t")
      -- A block of a network that has ended still ends calls: it is the thread's, and opens nothing.
      io.write(tostring(one.within(60, function() return true end)), "\t")
      io.write(class(one.within, 0.02, function() return mine:recv(1, { timeout = 3600 }) end), "\t")
      second:send_all("y")
      print(mine:recv(1))
      first:close()]]):gsub("HERE", ("{ %q, %q }"):format(HERE[1], HERE[2]))
    assert.equal("network/socket\tx\tnetwork/socket\ttrue\tnetwork/timeout\ty", child.run(code))
  end)
end)
