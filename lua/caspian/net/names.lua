--- Names over a capability: the records of a name, the name of an address.
local args = require("caspian.net.args")
local setfenv, type = setfenv, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, options, own = args.answer, args.options, args.own

local OPTIONS = { timeout = "seconds", server = "string", tcp = "boolean" }
args.declare{ Resolve_options = OPTIONS }

--- Adds the functions to a `%net`.
local function extend(core, cap, net, functions)
  --- The records of a name, as an array. Kinds: `a aaaa ns cname ptr` are strings (addresses, names), `txt` strings of
  -- bytes, `mx` { preference, exchange }, `srv` { priority, weight, port, target }, `caa` { critical, tag, value },
  -- `soa` { mname, rname, serial, refresh, retry, expire, minimum } (seconds). Without a kind: A, then AAAA.
  -- The name must be granted. A name that does not exist, or has no such record, raises `network/dns_failure`.
  -- opts: timeout (30 s, retries included), server ("ip", "ip:port", "[ipv6]:port"; must be granted, port 53 if none
  -- is named; asks absolute names only, and no hosts file), tcp (false: UDP, and TCP for what does not fit)
  function functions.resolve(...)
    local name, kind, opts = own(net, ...)
    args.string(1, "resolve", "name", name)
    local at = 3
    if type(kind) == "table" and opts == nil then kind, opts, at = nil, kind, 2 end
    if kind ~= nil then args.string(2, "resolve", "type", kind) end
    opts = options(at, "resolve", opts, OPTIONS)
    local records, err, index = core.resolve(cap, name, kind, opts)
    return (answer("resolve", records, err, index == 3 and at or index))
  end

  --- The name of an address (its first PTR record), or nil if it has none. The address must be granted.
  -- opts: as for `resolve`
  function functions.reverse_resolve(...)
    local ip, opts = own(net, ...)
    args.string(1, "reverse_resolve", "ip", ip)
    opts = options(2, "reverse_resolve", opts, OPTIONS)
    return answer("reverse_resolve", core.reverse_resolve(cap, ip, opts))
  end
end

return { extend = extend }
