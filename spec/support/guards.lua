--- What the specs of guards share: guards around the servers of the specs, and looks at what went and what came.

local peer = require("spec.support.peer")
local servers = require("spec.support.servers")
local subject = require("spec.support.subject")
local wire = require("spec.support.wire")

local guards = {
  http = "http://127.0.0.1:" .. servers.http,
  other = "http://127.0.0.1:" .. servers.other,
  named = "http://localhost:" .. servers.http,
}

--- Inside a `describe`: a capability for each row, ended after it.
function guards.fresh(before_each, after_each)
  before_each(function() guards.net = subject.net.narrow{ "--allow-net" } end)
  after_each(function() guards.net.revoke() guards.net = nil end)
  -- Last, so that it counts what is left after that.
  wire.watch(before_each, after_each)
end

--- A rule for these ports of this machine.
function guards.ports(...)
  return { host = "127.0.0.1", https_only = false, ports = { ... } }
end

--- A guard, by default one with a rule for the servers of the specs; 127.0.0.0/8 is open to it.
function guards.make(config)
  if config.rules == nil and config.policy == nil then config.rules = guards.ports(servers.http, servers.other) end
  if config.allow_private == nil then config.allow_private = { "127.0.0.0/8" } end
  return guards.net.http.guard(config)
end

--- The lines of /inspect as a table: `name: value` for the fields that came, and the request line as [1].
function guards.inspected(response)
  local seen = {}
  for line in response.body:gmatch("[^\n]+") do
    local name, value = line:match("^([%w-]+): (.*)$")
    if not name then seen[#seen + 1] = line elseif value ~= "" then seen[name] = value end
  end
  return seen
end

--- An HTTP server that answers `count` requests with `answer`, one connection each, and reports what it read of each head.
function guards.serve(count, answer)
  return peer.tcp(([[
    for _ = 1, %d do
      local c = accept()
      report(table.concat(head(c), "|"))
      c:send(%q)
      c:close()
    end
  ]]):format(count, answer))
end

--- Everything that can be reached from a value, as one text.
function guards.spelled(value, seen)
  seen = seen or {}
  if type(value) ~= "table" then return tostring(value) end
  if seen[value] then return "" end
  seen[value] = true
  local all = { tostring(value) }
  for key, item in pairs(value) do all[#all + 1] = guards.spelled(key, seen) .. "=" .. guards.spelled(item, seen) end
  for _, key in ipairs{
    "message", "class", "url", "host", "port", "cause", "headers", "raw_headers", "body", "redirect_chain", "reason", "timings",
    "trailers", "peer", "har",
  } do
    local ok, item = pcall(function() return value[key] end)
    if ok then all[#all + 1] = guards.spelled(item, seen) end
  end
  return table.concat(all, " ")
end

return guards
