-- The attacker in Lua: values that pretend to be others, in every argument and every option.

local net = require("spec.support.subject").net
local oddities = require("spec.support.odd")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")
local zoo = require("spec.support.zoo")
local unpack = table.unpack or unpack -- luacheck: ignore

local HTTP = "http://127.0.0.1:" .. servers.http

describe("odd arguments", function()
  local told = oddities.watch(before_each)
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
        for _, odd in ipairs(oddities.values(net)) do
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
    assert.equal(0, told(), "a metamethod of an argument was asked")
    mine.revoke()
  end)

  it("in every place of every method are errors, or an answer", function()
    local count = 0
    for name, methods in pairs(zoo.METHODS) do
      for _, method in ipairs(methods) do
        local values, done = zoo.open()
        local value, good = values[name], zoo.arguments(name, method)
        -- What waits does so no longer than this.
        if type(value) == "userdata" or values.net.kind(value) == name then pcall(function() value.timeout = 0.01 end) end
        for place = 1, #good + 2 do
          for index, odd in ipairs(oddities.values(net)) do
            local given = { unpack(good) }
            for missing = #given + 1, place - 1 do given[missing] = {} end
            given[place] = odd
            local ok, err = pcall(value[method], value, unpack(given, 1, math.max(place, #good)))
            assert(ok or type(err) == "string" or err:is("network"), name .. ":" .. method .. " " .. place .. " " .. index)
            count = count + 1
          end
        end
        done()
      end
    end
    assert(count > 4000, count)
    assert.equal(0, told(), "a metamethod of an argument was asked")
  end)

  it("in every key of a guard's configuration are errors", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1:1" }
    local function rules() return { host = "a.test", routes = { path = "/" } } end
    local keys = { "rules", "middleware", "policy", "allow_private", "follow_redirects", "max_redirects", "max_body_bytes",
      "max_request_bytes", "timeout", "connect_timeout", "read_timeout", "verify", "ca_bundle", "client_cert", "client_key", "pins",
      "cookies", "resolve" }
    local function try(change, odd)
      local config = { rules = rules() }
      change(config, odd)
      local ok, made = pcall(mine.http.guard, config)
      if ok then
        -- Whatever it is then, it lets nothing through that its rules do not name.
        assert.is_false(pcall(made.fetch, "https://b.test/"))
        assert.is_false(pcall(made.fetch, "https://127.0.0.1:2/"))
      else
        assert(type(made) == "string" or made:is("network"))
      end
    end
    for _, odd in ipairs(oddities.values(net)) do
      for _, key in ipairs(keys) do
        -- A function is a policy; and middleware, which makes an answer of its own.
        if odd ~= print then try(function(config) config[key] = odd end) end
      end
      for _, key in ipairs{ "host", "https_only", "ports", "routes", "middleware" } do try(function(config) config.rules[key] = odd end) end
      for _, key in ipairs{ "path", "methods", "middleware" } do try(function(config) config.rules.routes[key] = odd end) end
    end
    assert.equal(0, told(), "a metamethod of the configuration was asked")
    mine.revoke()
  end)

  it("in every option are errors, and no metamethod is asked", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1:1" }
    local options = { "timeout", "connect_timeout", "read_timeout", "method", "headers", "body", "body_json", "body_form",
      "body_file", "body_multipart", "max_redirects", "max_body_bytes", "resolve", "unix", "proxy", "auth", "cookies", "retry",
      "on_progress", "verify", "ca_bundle", "client_cert", "client_key", "pins", "stream", "save", "forward_headers",
      "decompress", "progress" }
    for _, option in ipairs(options) do
      for _, odd in ipairs(oddities.values(net)) do
        if odd ~= io.stdout then
          local ok, err = pcall(mine.fetch, "http://127.0.0.1:1/", { timeout = 1, [option] = odd })
          assert.is_false(ok, option)
          assert(type(err) == "string" or err:is("network"), option)
        end
      end
    end
    assert.equal(0, told(), "a metamethod of an option was asked")
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
