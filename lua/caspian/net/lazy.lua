--- Modules that not every program uses, compiled on first use.
--
-- Their text is read now, from where `require` would take it, and compiled later, so that later changes of `package`,
-- globals or files have no effect: modules of the front have access to capabilities. They are not put into `package.loaded`.
-- A program that has the front inside gives the function that compiles its modules.
local _, compile = ...
local error, io, load, loadstring, next, require, setfenv, type =
  error, io, load, loadstring, next, require, setfenv, type -- luacheck: ignore (5.1 has loadstring and setfenv)
local gmatch, gsub, sub = string.gmatch, string.gsub, string.sub
local globals, package = _G, package
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

if type(compile) ~= "function" then compile = nil end -- Lua says here which file this is

--- The text of a module, and what its chunk is called; none where `require` would have found it in another way than by
-- `package.path`.
local function read(name)
  local searchers = package.searchers or package.loaders -- luacheck: ignore
  if not (io and searchers and package.path and package.config) or #searchers ~= 4 then return nil end
  if package.loaded[name] or package.preload and package.preload[name] then return nil end
  local relative = gsub(name, "%.", sub(package.config, 1, 1))
  for template in gmatch(package.path, "[^;]+") do
    local path = gsub(template, "%?", relative)
    local file = io.open(path, "rb")
    if file then
      local text = file:read("*a")
      file:close()
      -- Compiled by somebody else, it does not say what it requires.
      if sub(text, 1, 1) == "\27" then return nil end
      return text, "@" .. path
    end
  end
end

--- The globals as they are now.
local function snapshot()
  local copy = {}
  for name, value in next, globals do copy[name] = value end
  for _, name in next, { "coroutine", "io", "math", "string", "table" } do
    local members = {}
    for key, value in next, globals[name] or {} do members[key] = value end
    copy[name] = globals[name] and members
  end
  copy._G = copy
  return copy
end

--- A `require` for modules that are compiled when they are first asked for.
-- @param names of those modules
-- @param needed names of the others that they require: loaded now
return function(names, needed)
  local texts, chunks, modules = {}, {}, {}
  for _, name in next, needed do modules[name] = require(name) end
  for _, name in next, names do
    local text, chunk = "", nil
    if not compile then text, chunk = read(name) end
    if text == nil then
      for _, each in next, names do modules[each] = require(each) end
      return function(known) return modules[known] end
    end
    texts[name], chunks[name] = text, chunk
  end
  local env = snapshot()
  function env.require(name)
    if not modules[name] then
      local text, chunk = texts[name], chunks[name]
      local run, why
      if compile then
        run = compile(text and name, env)
      elseif setfenv then
        run, why = loadstring(text, chunk)
        if run then setfenv(run, env) end
      else
        run, why = load(text, chunk, "t", env)
      end
      if not run then error(why, 0) end -- no memory
      local made = run(name)
      -- A finalizer that ran meanwhile may have asked for it, too: there is one of each.
      if not modules[name] then modules[name], texts[name] = made, nil end
    end
    return modules[name]
  end
  return env.require
end
