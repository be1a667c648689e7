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
  { "the variables that are named", [[
      local box = sandbox.new{ variables = { "PATH" } }
      local chunk = sandbox.compile("return type(os.getenv('PATH')), os.getenv('HOME'), (pcall(os.getenv))", "=script", box.env)
      print(chunk())]], "string\tnil\tfalse" },
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

-- A thousand dumps of real functions, broken in every way, by every door that compiles; prints how many got in.
local BYTECODE = [==[
  local sandbox = require("caspian.net.sandbox")
  local up = 1
  local function deep(...) local t = { ... } for i = 1, #t do t[i] = function() up = up + 1 return t, i, "\0", 1.5 end end return t end
  local dumps = { string.dump(function() return 1 end), string.dump(deep), string.dump(sandbox.script), string.dump(function() while up do end end) }
  local path = os.tmpname()
  local function read(p) local file, why = io.open(p, "rb") if not file then return nil, why end
    local text = file:read("*a") file:close() return text end
  local box = sandbox.new{ dirs = { path:match("^(.*)/") }, read = read, files = { open = io.open, remove = os.remove, rename = os.rename }, fs = true }
  local env = box.env
  local seed = 1
  local function below(n) seed = seed * 48271 % 2147483647 return seed % n end
  local function noise(n) local t = {} for i = 1, n do t[i] = string.char(below(256)) end return table.concat(t) end
  local function put(text, at, bytes, drop) return text:sub(1, at - 1) .. bytes .. text:sub(at + (drop or #bytes)) end
  local BREAK = {
    function(d) return d end,
    function(d) return put(d, 40 + below(#d - 40), noise(1)) end,           -- the header is whole
    function(d) return put(d, 40 + below(#d - 40), noise(8)) end,
    function(d) return put(d, 40 + below(#d - 40), "", 1 + below(9)) end,
    function(d) return put(d, 40 + below(#d - 40), noise(1 + below(9)), 0) end,
    function(d) return d:sub(1, 34) .. noise(below(200)) end,
    function(d) return put(d, 40 + below(#d - 40), ("\255"):rep(4)) end,
    function(d) return d:sub(1, 1 + below(#d)) end,                         -- it ends anywhere
    function(d) return put(d, 2 + below(32), noise(1)) end,                 -- the header is not whole
    function(d) return "\27" .. noise(below(60)) end,
    function(d) return d:sub(1, 4) .. noise(40) end,
    function(d) return d:sub(2) end,                                        -- what goes for text is no Lua
    function(d) return "\239\187\191" .. d end,
    function(d) return "#!/bin/lua\n" .. d end,
    function(d) return "\239\187\191#\n" .. d end,
    function(d) return ("\239\187\191"):rep(2) .. d end,
    function(d) return "\n" .. d end, function(d) return " " .. d end, function(d) return "\0" .. d end,
    function(d) return "--\n" .. d end, function(d) return d .. d end,
    -- A dump without a newline would be a first line of `#` and nothing else: an empty script.
    function(d) return "#" .. d .. "\n" .. d end,
  }
  local function pieces(text, size)
    local at = 1
    return function() local piece = text:sub(at, at + size - 1) at = at + size return piece end
  end
  local got, count = 0, 0
  local function never(f) if f then got = got + 1 end count = count + 1 end
  local load = env.load
  for round = 1, 1000 do
    local text = BREAK[round % #BREAK + 1](dumps[below(#dumps) + 1])
    never(load(text)) never(load(text, "=x", "b")) never(load(text, "=x", "bt")) never(load(text, "=x", "t", {}))
    never(load(pieces(text, 1 + below(20)))) never(load(pieces(text, 1)))
    if env.loadstring then never(env.loadstring(text)) end
    never(sandbox.compile(sandbox.script(text), "=script", env))
    local file = io.open(path, "wb") file:write(text) file:close()
    never(env.loadfile(path)) never(env.loadfile(path, "b")) never((pcall(env.dofile, path)))
    env.package.path = path never((pcall(env.require, "m" .. round)))
  end
  -- The doors are doors: text passes.
  local file = io.open(path, "wb") file:write("return 7") file:close()
  local open = load(pieces("return 7", 1)) and env.loadfile(path) and env.dofile(path) + env.require("text")
  os.remove(path)
  print(got, count > 10000, open)]==]

describe("the sandbox", function()
  it("holds: no bytecode, however it is broken, by no door", function()
    assert.equal("0\ttrue\t14", child.run(BYTECODE))
  end)


  for _, row in ipairs(ROWS) do
    it("holds: " .. row[1], function()
      assert.equal(row[3], child.run(PRELUDE .. row[2]))
    end)
  end
end)
