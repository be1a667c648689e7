--- Values that pretend to be others: for every place where a script may put one. Needs no network.

local odd = {}

local asked = 0
local function told() asked = asked + 1 return "127.0.0.1" end

--- Its metatable says that it is anything, and counts who asks.
local liar = setmetatable({}, { __tostring = told, __index = told, __len = function() asked = asked + 1 return 3 end,
  __pairs = told, __ipairs = told, __call = told, __concat = told, __eq = told, __lt = told, __le = told, __gc = told,
  __close = told, __name = "string", __metatable = "string" })

odd.liar = liar

--- The values, a new list each time.
-- @param net a capability, which is odd where it is no self
function odd.values(net)
  return {
    liar, {}, { "127.0.0.1" }, true, false, 0, -1, 0.5, 1 / 0, -1 / 0, 0 / 0, 2 ^ 53, 2 ^ 63, 1e308, "", " ", "\0", "x\0y",
    "\255\254", ("x"):rep(70000), "127.0.0.1\0", "127.0.0.1 ", "0x7f.1", "[::1", "%s%s%n", "http://", "://", print,
    coroutine.create(function() end), io.stdout, string, -0.0, "1e3", "0x10", "\r\n", "unix:/x", "*", "..", "/dev/zero", net,
  }
end

--- How often the metatable of such a value was asked since the row began, or since now.
function odd.watch(before_each)
  local before = asked
  if before_each then before_each(function() before = asked end) end
  return function() return asked - before end
end

return odd
