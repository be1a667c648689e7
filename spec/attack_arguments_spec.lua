-- The attacker in Lua: values that pretend to be others, in every argument and every option.

local net = require("spec.support.subject").net
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")
local unpack = table.unpack or unpack -- luacheck: ignore

local HTTP = "http://127.0.0.1:" .. servers.http

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
