-- The glue between caspian.net and an engine for Caspian: values, objects, errors, deadlines and the network pass from one to the other.
-- part of: spec/caspian_spec.lua, over the engine of examples/caspian/engine.lua
local register = require("caspian.net").registrar() -- this glue makes networks from here on, and nobody else in the state
local unpack = table.unpack or rawget(_G, "unpack") -- the latter on 5.1
return function(engine, grants, opts)
  local net, missing = register({}, grants, opts)
  engine.sys.net = function(role) return role == "user" and net and engine.value("host", net, "user") or engine.null end
  if not net then return nil, missing end
  local to_lua, to_caspian, results ---@type function, function, function (what comes out of the network belongs to the role net)
  local function each(from, to, convert, ...) for key, x in pairs(from) do to[key] = convert(x, ...) end return to end
  function to_lua(v, inside)
    if v.type == "puck.uno/null" then return inside and net.null or nil end
    if v.type == "puck.uno/hash" then return each(v.payload, {}, to_lua, true) end
    if v.type == "puck.uno/array" then return net.array(each(v.payload, {}, to_lua, true)) end
    if v.type ~= "puck.uno/function" then return v.payload end
    return function(...) local a = { ... } for i = 1, select("#", ...) do a[i] = to_caspian(a[i]) end return to_lua(v.payload(unpack(a))) end
  end
  function to_caspian(x)
    local kind = net.kind(x)
    if x == nil or kind == "null" then return engine.null end
    if kind == "array" or kind == "hash" then return engine.value(kind, each(x, {}, to_caspian), "net") end
    if type(x) == "function" then return engine.value("function", function(...) return results(x(unpack(each({ ... }, {}, to_lua)))) end, "net") end
    if not kind and type(x) ~= "table" then return engine.scalar(x, "net") end
    return engine.value(kind == "error" and "exception" or "host", x, "net")
  end
  function results(first, ...) -- several are an array
    return select("#", ...) == 0 and to_caspian(first) or engine.value("array", each({ first, ... }, {}, to_caspian), "net")
  end
  engine.classes["puck.uno/host"] = { method_missing = function(receiver, name, args, kwargs, block)
    local object, given, n = receiver.payload, each(args, {}, to_lua), #args
    if name:sub(-1) == "=" then object[name:sub(1, -2)] = given[1] return args[1] end
    if kwargs then n = n + 1 given[n] = to_lua(kwargs) end if block then n = n + 1 given[n] = to_lua(block) end
    if n == 0 and type(object[name]) ~= "function" then return to_caspian(object[name]) end
    return results(object[name](object, unpack(given, 1, n)))
  end }
  engine.exceptions = function(err) return net.kind(err) == "error" and to_caspian(err) end
  engine.matches = function(err, class) return net.kind(err) == "error" and select(2, pcall(err.is, err, class)) == true end
  engine.sys.chain = function() return engine.value("host", { timeout = function(_, ...) return net.within(...) end }, "engine") end
  return net, missing
end
