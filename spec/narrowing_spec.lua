-- Contract 2, 3, 5 and 7: narrowing, jails, `allow` and guards give exactly the intersection of everything on the way.
-- Random grants and requests against an oracle that is too short to be wrong; the numbers are the same on every run.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local wire = require("spec.support.wire")

local NAMES = { "a.test", "b.a.test", "c.b.a.test", "ab.a.test", "xa.test", "localhost" }
local ADDRESSES = { "127.0.0.1", "127.0.0.2" }
-- Where names are pinned to (option `resolve`): no look-up, and nobody listens on ports 1 to 4.
local HERE = "127.0.0.1"
local PORTS = { 1, 2, 3, 4 }

-- The oracle: a layer is { allow = {rule…}, deny = {rule…}, no_dns = }, a rule { kind, name, ports = { [port] = true } }.
local function matches(rule, host, port)
  if rule.ports and not rule.ports[port] then return false end
  if rule.kind == "any" or rule.kind == "exact" and rule.name == host then return true end
  local parent = host:match("^[^.]+%.(.*)$")
  if host:find("^127") then return rule.kind == "block" and (rule.name == "127.0.0.0/8" or rule.name == host .. "/32") end
  if rule.kind == "child" then return parent == rule.name end
  return rule.kind == "below" and host:sub(-#rule.name - 1) == "." .. rule.name
end

local function some(rules, host, port)
  for _, rule in ipairs(rules) do if matches(rule, host, port) then return true end end
end

local function passes(layers, host, port)
  local name = not host:find("^127")
  for _, layer in ipairs(layers) do
    if layer.no_dns and name or some(layer.deny, host, port) or name and some(layer.deny, HERE, port)
      or not some(layer.allow, host, port) then return false end
  end
  return true
end

-- The generator: a linear congruential one (Lehmer), which every Lua computes alike.
local state = 1
local function below(bound)
  state = state * 48271 % 2147483647
  return state % bound + 1
end
local function pick(list) return list[below(#list)] end

local function ports()
  if below(3) == 1 then return nil end
  local set = {}
  for _ = 1, below(3) do set[pick(PORTS)] = true end
  return set
end

-- `kinds`: what may be made there: a jail's list has no bare flag, and a guard's rules know one label only.
local function rule(kinds)
  local kind = pick(kinds)
  local name = kind == "block" and pick{ "127.0.0.0/8", "127.0.0.1/32" }
    or kind == "exact" and (below(4) == 1 and pick(ADDRESSES) or pick(NAMES)) or pick{ "a.test", "b.a.test" }
  return { kind = kind, name = name, ports = kind ~= "any" and ports() or nil }
end

local FLAG = { "any", "exact", "exact", "child", "below", "block" }
local DENY = { "exact", "child", "below", "block" }
local LIST = { "exact", "exact", "child", "below", "block" }
local GUARD = { "exact", "exact", "child" }

local function layer(kinds, deny)
  local made = { allow = {}, deny = {}, no_dns = deny and below(15) == 1 }
  for _ = 1, below(5) + 1 do made.allow[#made.allow + 1] = rule(kinds) end
  for _ = 1, deny and below(3) - 1 or 0 do made.deny[#made.deny + 1] = rule(DENY) end
  return made
end

local STARS = { child = "*.", below = "**." }
local function text(one)
  local list = {}
  for port in pairs(one.ports or {}) do list[#list + 1] = port end
  table.sort(list)
  return (STARS[one.kind] or "") .. one.name .. (one.ports and ":" .. table.concat(list, "+") or "")
end

local function flags_of(made)
  local flags = { made.no_dns and "--no-dns" or nil }
  for _, one in ipairs(made.allow) do flags[#flags + 1] = one.kind == "any" and "--allow-net" or "--allow-net=" .. text(one) end
  for _, one in ipairs(made.deny) do flags[#flags + 1] = "--deny-net=" .. text(one) end
  return flags
end

local function hosts_of(made)
  local hosts = {}
  for index, one in ipairs(made.allow) do hosts[index] = text(one) end
  return hosts
end

local function rules_of(made)
  local rules = {}
  for index, one in ipairs(made.allow) do
    local list = {}
    for _, port in ipairs(PORTS) do if not one.ports or one.ports[port] then list[#list + 1] = port end end
    rules[index] = { host = (STARS[one.kind] or "") .. one.name, https_only = false, ports = list }
  end
  return rules
end

local pinned = {}
for _, name in ipairs(NAMES) do
  for _, port in ipairs(PORTS) do pinned[name .. ":" .. port] = HERE end
end

local function shown(layers)
  local lines = {}
  for index, made in ipairs(layers) do lines[index] = table.concat(flags_of(made), " ") end
  return table.concat(lines, "  &  ")
end

-- Asks `fetch` for every host: what passes the gate, and `also`, finds nobody there.
local function compare(what, fetch, layers, opts, also)
  local count, passed = 0, 0
  for _, host in ipairs{ NAMES[1], NAMES[2], NAMES[3], NAMES[4], NAMES[5], NAMES[6], ADDRESSES[1], ADDRESSES[2] } do
    local port = pick(PORTS)
    local expected = passes(layers, host, port) and (not also or also(host, port) or false)
    local ok, err = pcall(fetch, "http://" .. host .. ":" .. port .. "/", opts)
    local got = not ok and type(err) ~= "string" and err:is("network/connection_refused")
    local refused = not ok and type(err) ~= "string"
      and (err:is("network/host_not_allowed") or err:is("network/port_not_allowed"))
    if ok or got ~= expected or refused == expected then
      error(("%s: %s:%d should be %s: %s\n%s"):format(what, host, port, expected and "allowed" or "refused",
        tostring(err), shown(layers)), 0)
    end
    count, passed = count + 1, passed + (expected and 1 or 0)
  end
  return count, passed
end

describe("narrowing by plain hosts", function()
  it("is allow_net of those", function()
    local rows = {
      { { "api.example.com" }, { "--allow-net=api.example.com" } },
      { { "api.example.com", "10.0.0.0/8:80" }, { "--allow-net=10.0.0.0/8:80", "--allow-net=api.example.com" } },
      { { "a.example:80+443,*.b.example" }, { "--allow-net=*.b.example", "--allow-net=a.example:80+443" } },
      -- Flags beside them say the rest.
      { { "a.example", "--deny-net=private", "--no-dns" }, { "--allow-net=a.example", "--deny-net=private", "--no-dns" } },
      { { "[::1]:80", "--allow-listen=8080" }, { "--allow-listen=8080", "--allow-net=[::1]:80" } },
      { { "allow-net." }, { "--allow-net=allow-net" } },
    }
    for _, row in ipairs(rows) do
      local flags = net.narrow(row[1]).grants()
      assert.same(row[2], flags)
    end
    local less = net.narrow{ "a.example" }.narrow{ "a.example:80", "b.example" }
    assert.same({ "--allow-net=a.example:80" }, less.grants())
    assert.is_true(less.allows("a.example", 80))
    assert.is_false(less.allows("b.example", 80))
  end)

  it("refuses what is neither a host nor a flag", function()
    for _, wrong in ipairs{ "", "a b", "*", "*.com", "https://a.example", "-a", "allow-net", "allow-net=a.example", "deny-net=private",
      "private", "80", "a.example,", "a.example:0" } do
      local words = fails.plainly("bad argument #1 to 'narrow'", net.narrow, { "b.example", wrong })
      assert.truthy(words:find(wrong, 1, true), words)
      fails.plainly("bad argument #1 to 'narrow'", net.narrow, { "b.example", wrong, allow_net = { "a.example" } })
    end
    fails.plainly("did you mean --allow-net?", net.narrow, { "allow-net=a.example" })
  end)
end)

describe("narrowing", function()
  wire.watch(before_each, after_each)

  it("refuses a whole top-level domain, in every form, as jails and guards do", function()
    for _, wildcard in ipairs{ "*.com", "**.com", "*.COM", "*.com.", "*.com:443" } do
      for _, spec in ipairs{ { "--allow-net=" .. wildcard }, { "--allow-net=a.test," .. wildcard }, { allow_net = { wildcard } } } do
        local message = fails.plainly("bad argument #1 to 'narrow'", net.narrow, spec)
        assert.truthy(message:find("a wildcard needs two labels after it", 1, true), message)
      end
      fails.plainly("bad argument #1 to 'narrow'", net.narrow, { wildcard })
      fails.plainly("a wildcard needs two labels after it", net.http.client.jail, wildcard)
      fails.plainly("a wildcard needs two labels after it", net.http.client.new, { allow = { wildcard } })
      net.narrow{ "--allow-net", "--deny-net=" .. wildcard }
    end
    if net.http.guard then
      fails.plainly("a wildcard needs two labels after it", net.http.guard, { rules = { host = "*.com" } })
      fails.plainly("a wildcard needs two labels after it", net.http.guard, { rules = { host = "*.com." } })
    end
    net.narrow{ "--allow-net=*.co.uk" }
  end)

  it("ends at 1000 deep, in every form, and what is there goes on", function()
    local less, depth, err = net, 0, nil
    while depth <= 1001 and not err do
      local ok, next_one = pcall(less.narrow, { "--allow-net" })
      if ok then less, depth = next_one, depth + 1 else err = next_one end
    end
    -- The subject's own may be a narrowed one.
    assert.truthy(depth > 990 and depth <= 1000, depth)
    assert.equal("puck.uno/error/network/too_large", err.class)
    assert.truthy(err.message:find("narrowed 1000 times", 1, true), err.message)
    assert.equal("narrow", err.op)
    assert.is_true(less.allows("a.test", 1))
    local client = less.http.client.new{}
    assert.equal("jail", fails.with("network/too_large", client.jail, client, "a.test").op)
    assert.equal("allow", fails.with("network/too_large", less.http.client.new, { allow = { "a.test" } }).op)
    assert.equal("allow", fails.with("network/too_large", function() client.allow = { "a.test" } end).op)
    if net.http.guard then
      assert.equal("guard", fails.with("network/too_large", less.http.guard, { rules = { host = "a.test" } }).op)
    end
    client:close()
    less.revoke()
    assert.is_false(less.allows("a.test", 1))
    assert.is_true(net.allows("a.test", 1))
  end)

  it("is the intersection, whatever is inside of what", function()
    local count, passed = 0, 0
    local function check(...)
      local tried, through = compare(...)
      count, passed = count + tried, passed + through
    end
    for round = 1, 200 do
      local layers, mine = {}, net
      for index = 1, below(4) - 1 do
        layers[index] = layer(FLAG, true)
        mine = mine.narrow(flags_of(layers[index]))
      end
      -- The root has every host, but a test may not go there without a layer.
      if mine == net then mine = net.narrow{ "--allow-net" } end
      local function with(...)
        local all = { ... }
        for index = 1, #layers do all[#all + 1] = layers[index] end
        return all
      end
      local opts = { resolve = pinned, timeout = 5 }

      for _, host in ipairs{ pick(NAMES), pick(ADDRESSES) } do
        local port = pick(PORTS)
        -- Before DNS: what is behind a name is not known.
        if passes(layers, host, port) then assert.is_true(mine.allows(host, port), shown(layers)) end
        count = count + 1
      end
      check("fetch", mine.fetch, layers, opts)

      local listed, jailed, more = layer(LIST), layer(LIST), layer(LIST)
      local client = mine.http.client.new{ allow = hosts_of(listed), resolve = pinned, timeout = 5 }
      check("client", function(...) return client:get(...) end, with(listed))
      local jail = client:jail(hosts_of(jailed))
      check("jail of a client", jail.fetch, with(listed, jailed))
      client.allow = hosts_of(more)
      check("client with another list", function(...) return client:get(...) end, with(more))
      check("jail of what the client was", jail.fetch, with(listed, jailed))
      client.allow = nil
      check("client without a list", function(...) return client:get(...) end, layers)
      check("jail", mine.http.client.jail((table.unpack or unpack)(hosts_of(jailed))).fetch, with(jailed), opts) -- luacheck: ignore
      client:close()

      if mine.http.guard then
        local guarded = layer(GUARD)
        local config = { rules = rules_of(guarded), resolve = pinned, allow_private = true, timeout = 5 }
        check("guard", mine.http.guard(config).fetch, with(guarded))
        -- A policy is asked where no rule is about the host, and widens nothing else.
        config.policy = function(info) return info.port % 2 == 1 end
        check("guard with a policy", mine.http.guard(config).fetch, layers, nil, function(host, port)
          for _, one in ipairs(guarded.allow) do
            if matches({ kind = one.kind, name = one.name }, host) then return some(guarded.allow, host, port) end
          end
          return port % 2 == 1
        end)
      end
      if mine ~= net then mine.revoke() end
      if round % 50 == 0 then collectgarbage() end
    end
    assert(count > 10000 and passed > 1000, count .. " requests, " .. passed .. " passed")
  end)
end)
