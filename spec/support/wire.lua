--- Counts the sockets of this process, so that a spec that leaves one open fails. Reads /proc; elsewhere it counts nothing.

local process = require("spec.support.process")
local found, lfs = pcall(require, "lfs")

local wire = {}

--- How many descriptors this process has open whose target matches `pattern` (sockets), after what can be collected has been.
function wire.open(pattern)
  collectgarbage()
  collectgarbage()
  local count = 0
  if not found or lfs.attributes("/proc/self/fd", "mode") ~= "directory" then return count end
  for name in lfs.dir("/proc/self/fd") do
    local target = lfs.symlinkattributes("/proc/self/fd/" .. name, "target")
    if target and target:match(pattern or "^socket:") then count = count + 1 end
  end
  return count
end

--- Inside a `describe`: no row may leave a socket or a process behind.
function wire.watch(before_each, after_each)
  local before
  before_each(function() before = wire.open() end)
  after_each(function()
    process.kill_all()
    -- A thread that resolved a name may close its end a moment after it has answered.
    local patience = os.time() + 2
    while wire.open() > before do assert(os.time() < patience, "the row left a socket open") end
  end)
end

return wire
