--- The files of a sandbox: `io` and `os` over the functions that open, remove and rename them. Those functions decide about
-- paths. Runs on Lua 5.1 to 5.5 and LuaJIT.

local error, find, next, package, sub, type = error, string.find, next, package, string.sub, type
local hio, hos = io, os

local SEPARATOR = sub(package.config or "/", 1, 1)

--- Adds what opens, removes and renames files to a script's `io` and `os`; temporary names only `everywhere`.
-- @param files { open = function(path, mode), remove = function(path), rename = function(from, to) }: as in `io` and `os`
-- @param methods the file handles' own functions
local function add(io, os, files, methods, everywhere)
  local open, remove, rename = files.open, files.remove, files.rename

  function io.open(path, mode)
    mode = mode == nil and "r" or mode
    if type(mode) ~= "string" or not find(mode, "^[rwa]%+?b*$") then
      error("bad argument #2 to 'open' (invalid mode)", 2)
    end
    return open(path, mode)
  end

  for name, mode in next, { input = "r", output = "w" } do
    local set = hio[name]
    io[name] = function(file)
      if type(file) == "string" then
        local opened, why = open(file, mode)
        if not opened then
          error(why, 2)
        end
        file = opened
      end
      return set(file)
    end
  end

  --- Closes the file at its end, as Lua's.
  local function pass(file, first, ...)
    if first == nil then
      methods.close(file)
    end
    return first, ...
  end
  function io.lines(path, ...)
    if path == nil then
      return hio.lines(path, ...)
    end
    local file, why = open(path, "r")
    if not file then
      error(why, 2)
    end
    local line = methods.lines(file, ...)
    return function()
      return pass(file, line())
    end, nil, nil, file
  end

  io.tmpfile = hio.tmpfile
  function os.remove(path)
    return remove(path)
  end
  function os.rename(from, to)
    return rename(from, to)
  end
  if everywhere then
    os.tmpname = hos.tmpname
  end
end

return { SEPARATOR = SEPARATOR, add = add }
