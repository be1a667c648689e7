--- The environments in which a launched script and its modules run: Lua without functions that could bypass the network grants.
--
-- Every table here is an allowlist: a function that a later Lua adds stays out until it is named. The script's chunk has
-- `net`; the modules that it requires have the same functions without it. Nothing here touches the network, and
-- nothing here leads from the script back to the host's globals. Runs on Lua 5.1 to 5.5 and LuaJIT.

local error, getmetatable, ipairs, load, next, pairs, pcall, rawget, select, setmetatable, tostring, type =
      error, getmetatable, ipairs, load, next, pairs, pcall, rawget, select, setmetatable, tostring, type
local loadstring, setfenv = rawget(_G, "loadstring"), rawget(_G, "setfenv") -- Lua 5.1 and LuaJIT
local byte, find, format, gmatch, gsub, match, sub = string.byte, string.find, string.format, string.gmatch,
      string.gsub, string.match, string.sub
local concat = table.concat
local files = require("caspian.net.files")
local SEPARATOR, add_files = files.SEPARATOR, files.add
local host = {
  _G = _G, io = io, os = os, package = package, debug = debug, string = string, table = table, math = math,
  coroutine = coroutine, utf8 = rawget(_G, "utf8"), bit = rawget(_G, "bit"), bit32 = rawget(_G, "bit32"),
}
local metatable_of = host.debug and host.debug.getmetatable
-- The handles' own functions, taken before a script can run.
local handle = host.io.stdout
local file_methods = {}
for _, name in ipairs{ "close", "flush", "lines", "read", "seek", "setvbuf", "write" } do
  file_methods[name] = handle[name]
end

local sandbox = {}

-- What a script may have of each library. Missing names of other Lua versions are skipped.
local LIBRARIES = {
  string = [[byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack upper]],
  table = [[concat insert maxn move pack remove sort unpack]],
  math = [[abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max maxinteger min
    mininteger modf pi pow rad random randomseed sin sinh sqrt tan tanh tointeger type ult]],
  coroutine = [[close create isyieldable resume running status wrap yield]],
  utf8 = [[char charpattern codepoint codes len offset]],
  bit = [[arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex]],
  bit32 = [[arshift band bnot bor btest bxor extract lrotate lshift replace rrotate rshift]],
  os = [[clock date difftime time]],
  io = [[close flush read stderr stdin stdout type write]],
}

-- The globals that need no care. (getfenv, setfenv, module and newproxy of 5.1 lead to other environments: never.)
local BASE = [[_VERSION assert error getmetatable ipairs next pairs pcall print rawequal rawget rawlen rawset select
  setmetatable tonumber tostring type unpack warn xpcall]]

local GARBAGE = { collect = true, count = true, step = true, isrunning = true }

--- What is withheld, under the name that Lua's messages give it: its full name and the flag that opens it.
sandbox.WITHHELD = {
  execute = { "os.execute", "--allow-run" }, popen = { "io.popen", "--allow-run" },
  getenv = { "os.getenv", "--allow-env[=NAME]" },
  open = { "io.open", "--allow-fs[=DIR]" }, tmpfile = { "io.tmpfile", "--allow-fs[=DIR]" },
  input = { "io.input", "--allow-fs[=DIR]" }, output = { "io.output", "--allow-fs[=DIR]" },
  remove = { "os.remove", "--allow-fs[=DIR]" }, rename = { "os.rename", "--allow-fs[=DIR]" },
  tmpname = { "os.tmpname", "--allow-fs" },
  loadlib = { "package.loadlib", "--allow-native" }, getinfo = { "debug.getinfo", "--allow-native" },
  sethook = { "debug.sethook", "--allow-native" }, getlocal = { "debug.getlocal", "--allow-native" },
}

local function pick(from, names)
  local out = {}
  for name in gmatch(names, "%S+") do
    out[name] = from[name]
  end
  return out
end

--- A copy that the owner of `lib` cannot tamper with afterwards; names added to `lib` later show through.
local function derive(lib)
  local out = {}
  for name, value in next, lib do
    out[name] = value
  end
  return setmetatable(out, { __index = lib, __metatable = false })
end

-- Text only: bytecode is not verified by any Lua, and breaks the interpreter.
local BINARY = "attempt to load a binary chunk (mode is 't')"

local function compile(text, name, env)
  if byte(text, 1) == 27 then
    return nil, BINARY
  elseif setfenv then
    local chunk, why = loadstring(text, name)
    return chunk and setfenv(chunk, env), why
  end
  return load(text, name, "t", env)
end

--- Chunk text without a `#!` line (its newline stays, so that line numbers hold) and without a byte order mark.
function sandbox.script(text)
  text = gsub(text, "^\239\187\191", "")
  return (gsub(text, "^#[^\n]*", ""))
end

--- Compiles text, never bytecode, with `env` for its globals. Returns the function, or nil and the message.
sandbox.compile = compile

-- Modules -------------------------------------------------------------------------------------------------------------

--- What reads no file at all.
local function nothing()
  return nil, "no file access"
end

--- `load`, `loadfile`, `dofile` whose default environment is `env`.
local function add_loaders(env, read)
  local function env_of(...)
    if select("#", ...) > 0 then
      return (...)
    end
    return env
  end

  local function text_mode(mode)
    return mode == nil or type(mode) == "string" and find(mode, "t", 1, true)
  end

  function env.load(chunk, name, mode, ...)
    if type(chunk) == "function" then
      local pieces = {}
      local ok, why = pcall(function()
        for piece in chunk do
          if type(piece) ~= "string" then
            error("reader function must return a string", 0)
          elseif piece == "" then
            return
          end
          pieces[#pieces + 1] = piece
        end
      end)
      if not ok then
        return nil, why
      end
      name, chunk = name or "=(load)", concat(pieces)
    elseif type(chunk) ~= "string" then
      error(format("bad argument #1 to 'load' (function expected, got %s)", type(chunk)), 2)
    end
    if not text_mode(mode) then
      return nil, format("attempt to load a text chunk (mode is '%s')", tostring(mode))
    end
    return compile(chunk, name and tostring(name) or chunk, env_of(...))
  end
  if loadstring then
    function env.loadstring(text, name)
      return env.load(tostring(text), name)
    end
  end

  function env.loadfile(path, mode, ...)
    local text, why
    if path == nil then
      text, why = file_methods.read(host.io.stdin, "*a")
    else
      text, why = read(path)
    end
    if not text then
      return nil, why
    elseif not text_mode(mode) then
      return nil, format("attempt to load a text chunk (mode is '%s')", tostring(mode))
    end
    return compile(sandbox.script(text), path and "@" .. path or "=stdin", env_of(...))
  end
  local loadfile = env.loadfile

  function env.dofile(path)
    local chunk, why = loadfile(path)
    if not chunk then
      error(why, 0)
    end
    return chunk()
  end
end

--- A `package` table and its `require`, whose modules run in `globals`.
local function add_require(globals, opts, read)
  local package = {
    loaded = {}, preload = {}, config = host.package.config, path = "", searchers = {},
  }
  local loaded, preload, searchers = package.loaded, package.preload, package.searchers
  local templates = {}
  local function add(dir)
    local stem = (sub(dir, -1) == SEPARATOR and dir or dir .. SEPARATOR) .. "?"
    templates[#templates + 1] = stem .. ".lua"
    templates[#templates + 1] = stem .. SEPARATOR .. "init.lua"
  end
  for _, dir in ipairs(opts.dirs or {}) do
    add(dir)
  end
  package.path = concat(templates, ";")

  -- Calls `try(file)` for each template; the first that answers wins.
  local function search(name, path, try, from, to)
    if from ~= "" then
      name = gsub(name, gsub(from or ".", "%p", "%%%0"), (gsub(to or SEPARATOR, "%%", "%%%%")))
    end
    name = gsub(name, "%%", "%%%%")
    local tried = {}
    for template in gmatch(path, "[^;]+") do
      local file = gsub(template, "%?", name)
      local answer, why = try(file)
      if answer then
        return file, answer
      end
      tried[#tried + 1] = "\n\tno file '" .. file .. "'"
      if why and find(why, "not allowed", 1, true) then
        tried[#tried] = "\n\t" .. why
      end
    end
    return nil, concat(tried)
  end

  function package.searchpath(name, path, from, to)
    local file, why = search(name, path, read, from, to)
    if file then
      return file
    end
    return nil, why
  end

  searchers[1] = function(name)
    if preload[name] ~= nil then
      return preload[name], ":preload:"
    end
    return "\n\tno field package.preload['" .. name .. "']"
  end
  searchers[2] = function(name)
    local module = opts.modules and opts.modules[name]
    if module then
      return module, ":caspian:"
    elseif name == "caspian.net" or name == "caspian_net" then
      return "\n\tthe network was launched already: it is the script's `net`; pass it to modules as a parameter"
    end
    if type(package.path) ~= "string" then
      error("'package.path' must be a string", 0)
    end
    local file, found = search(name, package.path, read)
    if not file then
      return found
    end
    local chunk, why = compile(sandbox.script(found), "@" .. file, globals)
    if not chunk then
      error(format("error loading module '%s' from file '%s':\n\t%s", name, file, why), 0)
    end
    return chunk, file
  end

  function globals.require(name)
    if type(name) ~= "string" then
      error(format("bad argument #1 to 'require' (string expected, got %s)", type(name)), 2)
    end
    if loaded[name] ~= nil and loaded[name] ~= false then
      return loaded[name]
    end
    local tried = {}
    for _, searcher in ipairs(searchers) do
      local loader, extra = searcher(name)
      if type(loader) == "function" then
        local value = loader(name, extra)
        if value ~= nil then
          loaded[name] = value
        elseif loaded[name] == nil then
          loaded[name] = true
        end
        return loaded[name], extra
      elseif type(loader) == "string" then
        tried[#tried + 1] = loader
      end
    end
    error("module '" .. name .. "' not found:" .. concat(tried), 2)
  end

  globals.package = package
  return package, search
end

--- C modules and everything that comes with them: only for scripts that are trusted with the whole process.
local function add_native(globals, package, search)
  local hpackage = host.package
  package.cpath, package.loadlib = hpackage.cpath, hpackage.loadlib
  package.searchers[#package.searchers + 1] = function(name)
    local file, why = search(name, package.cpath, function(path)
      local found = host.io.open(path, "rb")
      if found then
        file_methods.close(found)
      end
      return found
    end)
    if not file then
      return why
    end
    local symbol = "luaopen_" .. gsub(match(name, "^[^-]*%-(.*)$") or name, "%.", "_")
    local loader
    loader, why = hpackage.loadlib(file, symbol)
    if not loader then
      error(format("error loading module '%s' from file '%s':\n\t%s", name, file, why), 0)
    end
    return loader, file
  end
  globals.debug = host.debug
end

--- `os.getenv` for the variables named alone: another one is not there.
local function environment(names)
  local named, getenv = {}, host.os.getenv
  for _, name in ipairs(names) do
    named[name] = true
  end
  return function(...)
    local name = ...
    if type(name) == "number" then
      name = tostring(name)
    elseif type(name) ~= "string" then
      error(format("bad argument #1 to 'getenv' (string expected, got %s)", select("#", ...) == 0 and "no value" or type(name)), 2)
    end
    if not named[name] then
      return nil
    end
    return getenv(name)
  end
end

-- Shared metatables ---------------------------------------------------------------------------------------------------

local methods -- what ("x"):name() finds: the host's functions first, so that no script can put others in their place
local extension -- and where it looks for names that they have not

--- Locks what every value of the state shares: the metatables of strings and of file handles. Changes the whole state,
-- once. Names that are put into `strings` later work as methods of strings.
local function seal(strings)
  if methods then
    return
  end
  extension = { __index = strings }
  methods = setmetatable(pick(host.string, LIBRARIES.string), extension)
  local meta = getmetatable("")
  if type(meta) == "table" then
    meta.__index, meta.__metatable = methods, false
  end
  meta = getmetatable(handle)
  if type(meta) == "table" then
    meta.__index, meta.__metatable = file_methods, false
  end
end

-- The whole -----------------------------------------------------------------------------------------------------------

local function base(traceback)
  local globals = pick(host._G, BASE)
  for name, names in pairs(LIBRARIES) do
    if host[name] then
      globals[name] = pick(host[name], names)
    end
  end
  globals.table.unpack = globals.table.unpack or globals.unpack
  globals.debug = { traceback = traceback }
  -- An object of ours has nothing on it, so that who shares it with others cannot put something there: not by this way.
  local put = host._G.rawset
  function globals.rawset(into, key, value)
    local meta = metatable_of and type(into) == "table" and metatable_of(into)
    local name = type(meta) == "table" and rawget(meta, "__metatable") == false and rawget(meta, "__name")
    if type(name) == "string" and find(name, "^caspian%.net") and not find(name, "headers$") then
      error("bad argument #1 to 'rawset' (an object of the network cannot be changed)", 2)
    end
    return put(into, key, value)
  end
  local exit, collectgarbage, lines = host.os.exit, host._G.collectgarbage, host.io.lines
  -- Without closing the state: its finalisers belong to the host.
  function globals.os.exit(status)
    exit(status)
  end
  function globals.io.lines(path, ...)
    if path ~= nil then
      error("io.lines: no file access (run with --allow-fs=DIR)", 2)
    end
    return lines(path, ...)
  end
  function globals.collectgarbage(option, ...)
    option = option == nil and "collect" or option
    if not GARBAGE[option] then
      error(format("bad argument #1 to 'collectgarbage' ('%s' is withheld from scripts)", tostring(option)), 2)
    end
    return collectgarbage(option, ...)
  end
  return globals
end

--- Makes a sandbox. Options:
--   net        what the script sees as `net` and `_ENV["%net"]`; nil for none
--   dirs       directories in which modules are looked for; nil for none
--   read       function(path): the text of a Lua file that may be loaded, or nil and why not; nil for none
--   files      { open, remove, rename }: as in `io` and `os`, for the paths that the script may name; nil for none
--   fs         true if those are all paths
--   variables  true adds os.getenv; an array of names adds one that answers nil for every other name; false or nil for none
--   run        true adds os.execute, io.popen and os.getenv: programs have the environment anyway
--   native     true adds C modules, package.loadlib and debug
--   modules    { [name] = loader }: modules that `require` finds before files
--   traceback  debug.traceback, or something like it
-- Returns { env = the script's environment, globals = its modules' environment, package = their package table }.
-- Locks the state's string and file metatables (see `seal`).
function sandbox.new(opts)
  local read = opts.read or nothing
  local globals = base(opts.traceback)
  globals._G = globals
  add_loaders(globals, read)
  local package, search = add_require(globals, opts, read)
  if opts.files then
    add_files(globals.io, globals.os, opts.files, file_methods, opts.fs == true)
  end
  if opts.run then
    globals.io.popen = host.io.popen
    globals.os.execute = host.os.execute
  end
  if opts.run or opts.variables == true then
    globals.os.getenv = host.os.getenv
  elseif opts.variables then
    globals.os.getenv = environment(opts.variables)
  end
  if opts.native then
    add_native(globals, package, search)
  end
  for name, value in pairs(globals) do
    if type(value) == "table" then
      package.loaded[name] = value
    end
  end

  -- The script's own: modules cannot change what its functions are, nor see its globals (it may keep networks there);
  -- the globals that modules make show through.
  local env = {}
  for name, value in pairs(globals) do
    env[name] = type(value) == "table" and name ~= "package" and derive(value) or value
  end
  env._G = env
  add_loaders(env, read)
  setmetatable(env, { __index = globals })
  env.net, env["%net"] = opts.net, opts.net
  seal(env.string)
  return { env = env, globals = globals, package = package }
end

return sandbox
