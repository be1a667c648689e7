--- Memory of idle sockets: `lua idle.lua PORT COUNT [CA.pem]` (an echo server; with a CA a TLS server that is only
-- connected to). Prints bytes of our own memory for each socket when open and when used once, and how many of them
-- are still open after they were dropped without `close`.
--
-- Resident memory of the process holds none of the kernel's socket memory. Two collections before each reading: what
-- is measured is what the sockets keep, not what making them threw away.
local port, count, ca = tonumber(arg[1]), tonumber(arg[2]), arg[3]
local net = require("caspian.net").launch{ "--allow-net=127.0.0.1" }

local function resident()
  collectgarbage()
  collectgarbage()
  for line in io.lines("/proc/self/smaps_rollup") do
    local kib = line:match("^Pss_Anon:%s+(%d+)")
    if kib then return tonumber(kib) * 1024 end
  end
end

local function descriptors()
  local list = assert(io.popen("ls -l /proc/$PPID/fd | grep -c 'socket:'"))
  local number = list:read("n")
  list:close()
  return number
end

local function open()
  if ca then return net.ssl("127.0.0.1", port, { ca_bundle = ca }) end
  return net.tcp("127.0.0.1", port)
end

local function use(socket)
  if ca then return end
  socket:send_all("hello\n")
  assert(socket:recv_line() == "hello\n")
end

-- The table that holds them is not ours, and the first socket pays for what all share.
local sockets = table.pack(table.unpack({}, 1, count))
do
  local first = open()
  use(first)
  first:close()
end

-- Functions, so that no dead local of a loop keeps a socket alive.
local function open_all()
  for i = 1, count do sockets[i] = open() end
end

local function use_all()
  for i = 1, count do use(sockets[i]) end
end

local function drop_all()
  for i = 1, count do sockets[i] = nil end
end

local others, before = descriptors(), resident()
open_all()
local opened = resident()
use_all()
local used = resident()
drop_all()
collectgarbage()
collectgarbage()
print(("%.0f %.0f %d"):format((opened - before) / count, (used - before) / count, descriptors() - others))
