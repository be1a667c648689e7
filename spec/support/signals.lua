--- Programs that handle SIGTERM, with a module in C that is compiled for the Lua that runs the spec.

local child = require("spec.support.child")
local process = require("spec.support.process")

local signals = {}

local OLD = _VERSION == "Lua 5.1" and 1 or 0
local directory -- where the module is

--- Compiles the module once, for all specs of a run.
local function made()
  if not directory then
    directory = os.tmpname()
    os.remove(directory)
    local command = ("mkdir %s && cc -shared -fPIC -O1 -DOLD=%d -o %s/signals.so spec/support/signals.c"):format(
      directory, OLD, directory)
    local ok = os.execute(command)
    assert(ok == true or ok == 0, command)
  end
  return directory
end

--- Starts `code` in a process of its own. In it `handle(f)` has SIGTERM call `f`, and `say(word)` writes a line.
function signals.start(code)
  return child.start(([[
    package.cpath = package.cpath .. ";%s/?.so"
    local module = require("signals")
    local function handle(f, mask) module(f, mask or 1 + 2 + 8) end -- luacheck: ignore
    local function say(...) print(...) io.flush() end -- luacheck: ignore
  ]]):format(made()) .. code)
end

--- Returns when the process has said "blocked" and waits for something (where the system tells).
function signals.asleep(running)
  running:expect("^blocked$")
  repeat
    local file = io.open("/proc/" .. running.pid .. "/stat")
    local state = file and file:read("*a"):match("%) (%a)")
    if file then file:close() end
  until state ~= "R" and state ~= "D"
end

--- Runs `code`, which says "blocked" before it blocks, and sends it SIGTERM then; what it says after that.
function signals.run(code)
  local running = signals.start(code)
  signals.asleep(running)
  running:signal("TERM")
  return (running:rest():gsub("\n$", ""))
end

--- Removes what was compiled.
function signals.clean()
  if not directory then return end
  os.execute("rm -r " .. process.quote(directory))
  directory = nil
end

return signals
