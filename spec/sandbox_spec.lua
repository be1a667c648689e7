-- The sandbox that the launcher uses, for hosts with a Lua of their own: it must hold on every version.

local child = require("spec.support.child")

local PRELUDE = [[
  local sandbox = require("caspian.net.sandbox")
  local box = sandbox.new{ net = { "the network" }, traceback = debug.traceback }
  local function script(code) return assert(sandbox.compile(code, "=script", box.env))() end
  local function module(code) return assert(sandbox.compile(code, "=module", box.globals))() end
]]

-- what, code, expected
local ROWS = {
  { "the script has the network", [[print(script('return net[1] == "the network" and _ENV == nil or net == _G["%net"]'))]], "true" },
  { "its modules have not", [[print(module('return net or _G["%net"] or load("return net")()'))]], "nil" },
  { "load stays in the script", [[print(script('return load("return net ~= nil and _G == ...")(_G)'))]], "true" },
  { "globals of modules show through", [[module('made = 1') print(script('return made'))]], "1" },
  { "globals of the script do not", [[script('made = 1') print(module('return made'))]], "nil" },
  { "modules cannot change the script's functions", [[module('string.rep = nil pairs = nil')
      print(script('return string.rep("x", 2), pairs ~= nil'))]], "xx\ttrue" },
  { "nor the host's", [[script('string.format = nil; for k in pairs(string) do string[k] = nil end')
      print(("%d"):format(3), string.format("%d", 4))]], "3\t4" },
  { "no environments of other functions", [[print(script('return getfenv or setfenv or module or newproxy'))]], "nil" },
  { "no debug, ffi, jit", [[print(script('return debug.getinfo or debug.getregistry or jit or ffi or pcall(require, "ffi")'))]], "false" },
  { "no programs, files, environment", [[print(script('return os.execute or io.popen or io.open or os.getenv or io.tmpfile'))]], "nil" },
  { "no file through lines", [[print(script('return (pcall(io.lines, "/etc/passwd"))'))]], "false" },
  { "no file through loadfile", [[print(script('return (loadfile("/etc/passwd"))'))]], "nil" },
  { "no module of the host", [[print(script('return (pcall(require, "caspian.net"))'))]], "false" },
  { "no bytecode", [[print(script('return load("\27Lua")'))]], "nil\tattempt to load a binary chunk (mode is 't')" },
  { "no bytecode in pieces", [[print(script('local p = {"\27", "Lua"} return (load(function() return table.remove(p, 1) end))'))]],
    "nil" },
  { "no string.dump", [[print(script('return string.dump or ("").dump'))]], "nil" },
  { "locked metatables", [[print(script('return getmetatable(""), getmetatable(io.stdout), io.stdout.__index'))]],
    "false\tfalse\tnil" },
  { "handles still work", [[script('io.stdout:write("x", "y") io.write("z\\n")')]], "xyz" },
  { "strings have methods, also the script's own", [[
      print(script('function string.twice(s) return s .. s end return ("a"):twice(), ("a"):rep(2)'))]], "aa\taa" },
  { "require finds preloaded modules", [[
      print(script('package.preload.m = function(n) return n .. "!" end return (require("m"))'))]], "m!" },
  { "collectgarbage only collects", [[
      print(script('return collectgarbage("count") > 0, (pcall(collectgarbage, "stop"))'))]], "true\tfalse" },
}

describe("the sandbox", function()
  for _, row in ipairs(ROWS) do
    it("holds: " .. row[1], function()
      assert.equal(row[3], child.run(PRELUDE .. row[2]))
    end)
  end
end)
