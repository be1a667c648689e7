--- A small engine of the shape of Caspian's, for the glue beside it (examples/caspian.lua): values are `{ type, owning_role, payload }`,
-- methods are found by class, else by its `method_missing(receiver, name, args, kwargs, block)`, each call frame has a role, and
-- exceptions are caught by class URL. Scripts are tables, as a parser would make them:
--
--   "text", 1, true              scalars
--   { sys = "net" }              %net, as the frame's role has it
--   { var = "x" }                a variable; { set = "x", to = E } sets it
--   { E, "name", { E, … , kwargs = { timeout = E } }, BLOCK }   a call; arguments and block may be left out
--   { array = { E, … } }, { hash = { name = E, … } }, { null = true }
--   { block = { "param", … }, body = { E, … } }
--   { try = { E, … }, catch = "puck.uno/error/network", as = "e", body = { E, … } }
--   { role = "guest", body = { E, … } }   a frame of another role
--
-- Runs on every Lua from 5.1 on.

local unpack = table.unpack or rawget(_G, "unpack") -- the latter on 5.1

local engine = {}

local SCALARS = { string = "puck.uno/string", number = "puck.uno/number", boolean = "puck.uno/boolean" }

function engine.new()
  local self = { sys = {}, classes = {}, frames = { { role = "user" } } }

  function self.role()
    return self.frames[#self.frames].role
  end

  --- A value owned by the role of this frame, or by `role`.
  function self.value(type, payload, role)
    return { type = "puck.uno/" .. type, owning_role = role or self.role(), payload = payload }
  end

  local null = { type = "puck.uno/null", owning_role = "engine" }
  self.null = null

  function self.scalar(x, role)
    return x == nil and null or { type = SCALARS[type(x)], owning_role = role or self.role(), payload = x }
  end

  --- For the glue: the exception that an error of its own is, else nothing; and is the error of that class?
  function self.exceptions(_) end
  function self.matches(_, _) end

  --- What a script's `catch` gets for a Lua error.
  local function exception(err)
    return self.exceptions(err) or self.value("exception", { class = "puck.uno/error", message = tostring(err) })
  end

  local function matches(err, class)
    return class == "puck.uno/error" or self.matches(err, class)
  end

  function self.call(receiver, name, args, kwargs, block)
    local class = self.classes[receiver.type]
    local method = class and class.methods and class.methods[name]
    if method then return method(receiver, args, kwargs, block) or null end
    if class and class.method_missing then return class.method_missing(receiver, name, args, kwargs, block) or null end
    error("no method '" .. name .. "' on " .. receiver.type, 0)
  end

  self.classes["puck.uno/exception"] = {
    method_missing = function(receiver, name, _, _, _) return self.scalar(receiver.payload[name]) end,
  }
  self.classes["puck.uno/array"] = { methods = {
    at = function(receiver, args) return receiver.payload[args[1].payload] end,
    length = function(receiver) return self.scalar(#receiver.payload) end,
  } }
  self.classes["puck.uno/hash"] = { methods = {
    at = function(receiver, args) return receiver.payload[args[1].payload] end,
  } }
  self.classes["puck.uno/function"] = { methods = {
    call = function(receiver, args) return receiver.payload(unpack(args)) end,
  } }

  --- Runs `f` in a frame of that role; whatever ends it, the frames are those of before.
  local function framed(role, f)
    local depth = #self.frames
    self.frames[depth + 1] = { role = role }
    local ok, result = pcall(f)
    while #self.frames > depth do self.frames[#self.frames] = nil end
    if not ok then error(result, 0) end
    return result
  end

  local eval ---@type function

  local function all(body, vars)
    local result = null
    for _, x in ipairs(body) do result = eval(x, vars) end
    return result
  end

  local function each(list, vars)
    local values = {}
    for key, x in pairs(list) do values[key] = eval(x, vars) end
    return values
  end

  local function call(x, vars)
    local given, kwargs = {}, nil
    for i, argument in ipairs(x[3] or {}) do given[i] = eval(argument, vars) end
    if x[3] and x[3].kwargs then kwargs = self.value("hash", each(x[3].kwargs, vars)) end
    return self.call(eval(x[1], vars), x[2], given, kwargs, x[4] and eval(x[4], vars))
  end

  function eval(x, vars)
    if type(x) ~= "table" then return self.scalar(x) end
    if x.null then return null end
    if x.sys then return self.sys[x.sys](self.role()) end
    if x.var then return vars[x.var] or error("no variable " .. x.var, 0) end
    if x.set then
      vars[x.set] = eval(x.to, vars)
      return vars[x.set]
    end
    if x.array then return self.value("array", each(x.array, vars)) end
    if x.hash then return self.value("hash", each(x.hash, vars)) end
    if x.role then return framed(x.role, function() return all(x.body, vars) end) end
    if x.block then
      local role = self.role() -- a block runs as who wrote it
      return self.value("function", function(...)
        local inner = setmetatable({}, { __index = vars, __newindex = vars })
        for i, name in ipairs(x.block) do rawset(inner, name, (select(i, ...)) or null) end
        return framed(role, function() return all(x.body, inner) end)
      end)
    end
    if x.try then
      local role = self.role()
      local ok, result = pcall(framed, role, function() return all(x.try, vars) end)
      if ok then return result end
      if not matches(result, x.catch) then error(result, 0) end
      vars[x.as or "_"] = exception(result)
      return all(x.body, vars)
    end
    return call(x, vars)
  end

  --- Runs a script: an array of expressions. Returns the last one's value.
  function self.run(script, role)
    return framed(role or "user", function() return all(script, {}) end)
  end

  return self
end

return engine
