--- The most memory that this process has had, in KiB (VmHWM); for rows about memory, which run in a process of their own.
return function()
  for line in io.lines("/proc/self/status") do
    local kilobytes = line:match("^VmHWM:%s+(%d+)")
    if kilobytes then return tonumber(kilobytes) end
  end
end
