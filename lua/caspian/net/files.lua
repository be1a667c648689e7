--- The files of a sandbox: which paths a script may name, and the functions of `io` and `os` that ask that first.
--
-- Paths are compared in their canonical form, which whoever makes the sandbox finds out. Runs on Lua 5.1 to 5.5 and LuaJIT.

local error, ipairs, package, type = error, ipairs, package, type
local hio, hos = io, os
local find, sub = string.find, string.sub

local SEPARATOR = sub(package.config or "/", 1, 1)

--- True if `path` is in `dir`, at any depth. Both canonical.
local function beneath(path, dir)
  if sub(dir, -1) ~= SEPARATOR then
    dir = dir .. SEPARATOR
  end
  return sub(path, 1, #dir) == dir
end

-- The kernel's doors (/proc/self/mem writes to this very process) are files of no directory.
local NEVER = { "/proc", "/sys" }

local DENIED = 13 -- EACCES, as the third result of io functions

--- Returns `permit(path, as_entry)`: the canonical path if `opts.fs` allows files there, or nil, why not and the number
-- for it. With `as_entry` the last name is not followed (what removing and renaming work on).
local function permission(opts)
  local fs, realpath, entry = opts.fs, opts.realpath, opts.entry
  return function(path, as_entry)
    if type(path) ~= "string" or find(path, "\0", 1, true) then
      return nil, "not a path", DENIED
    end
    local real, why, code = (as_entry and entry or realpath)(path)
    if not real then
      return nil, path .. ": " .. why, code
    end
    for _, dir in ipairs(NEVER) do
      if real == dir or beneath(real, dir) then
        return nil, path .. ": not allowed in the sandbox", DENIED
      end
    end
    if fs == true then
      return real
    end
    for _, dir in ipairs(fs) do
      if beneath(real, dir) then
        return real
      end
    end
    return nil, path .. ": not allowed (--allow-fs=DIR names other directories)", DENIED
  end
end

--- The system's message speaks of the canonical path; the script knows the one it gave.
local function relabel(path, real, file, why, code)
  if not file and type(why) == "string" and sub(why, 1, #real) == real then
    why = path .. sub(why, #real + 1)
  end
  return file, why, code
end

--- Adds what opens, removes and renames files to a script's `io` and `os`; temporary names only `everywhere`.
local function add(io, os, permit, everywhere)
  function io.open(path, ...)
    local real, why, code = permit(path)
    if not real then
      return nil, why, code
    end
    return relabel(path, real, hio.open(real, ...))
  end
  for _, name in ipairs{ "input", "output" } do
    local set = hio[name]
    io[name] = function(file)
      if type(file) == "string" then
        local real, why = permit(file)
        if not real then
          error(why, 2)
        end
        file = real
      end
      return set(file)
    end
  end
  function io.lines(path, ...)
    if path == nil then
      return hio.lines(path, ...)
    end
    local real, why = permit(path)
    if not real then
      error(why, 2)
    end
    return hio.lines(real, ...)
  end
  io.tmpfile = hio.tmpfile
  function os.remove(path)
    local real, why, code = permit(path, true)
    if not real then
      return nil, why, code
    end
    return relabel(path, real, hos.remove(real))
  end
  function os.rename(from, to)
    local source, why, code = permit(from, true)
    if not source then
      return nil, why, code
    end
    local target
    target, why, code = permit(to, true)
    if not target then
      return nil, why, code
    end
    return relabel(from, source, hos.rename(source, target))
  end
  if everywhere then
    os.tmpname = hos.tmpname
  end
end

return { SEPARATOR = SEPARATOR, beneath = beneath, permission = permission, relabel = relabel, add = add }
