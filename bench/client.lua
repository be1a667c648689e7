--- One measurement in a process of its own: prints seconds of CPU (user and system) and of the clock.
--
--   lua client.lua ours|beneath|compat|luasocket|luasec  echo|lines|blocks|exact PORT COUNT
--   lua client.lua ours|luasocket|luasec  body URL SIZE [CA.pem]     also prints by how many bytes memory grew at most
local who, what, where, count, ca = arg[1], arg[2], arg[3], tonumber(arg[4]), arg[5]
local gettime = require("socket").gettime
local peak = dofile("spec/support/peak.lua")
local MIB = 1024 * 1024
local PING = ("x"):rep(63) .. "\n"

local ours = {}

function ours.net()
  return require("caspian.net").launch{ "--allow-net=127.0.0.1" }
end

function ours.open()
  return ours.net().tcp("127.0.0.1", tonumber(where))
end

function ours.echo(s)
  local bytes = 0
  for _ = 1, count do
    s:send_all(PING)
    bytes = bytes + #s:recv_exact(64)
  end
  assert(bytes == count * 64)
end

function ours.lines(s)
  local bytes = 0
  for _ = 1, count do bytes = bytes + #s:recv_line() end
  assert(bytes == count * 64)
end

function ours.blocks(s)
  local bytes = 0
  for _ = 1, count do bytes = bytes + #s:recv_exact(65536) end
  assert(bytes == count * 65536)
end

function ours.exact(s)
  local bytes = 0
  for _ = 1, count do bytes = bytes + #s:recv_exact(MIB) end
  assert(bytes == count * MIB)
end

function ours.body()
  return ours.net().fetch(where, { ca_bundle = ca }).body
end

local luasocket = {}

function luasocket.open()
  local s = require("socket").tcp()
  assert(s:connect("127.0.0.1", tonumber(where)))
  s:setoption("tcp-nodelay", true)
  s:settimeout(30)
  return s
end

function luasocket.echo(s)
  local bytes = 0
  for _ = 1, count do
    s:send(PING)
    bytes = bytes + #s:receive(64)
  end
  assert(bytes == count * 64)
end

-- "*l" cuts the newline off.
function luasocket.lines(s)
  local bytes = 0
  for _ = 1, count do bytes = bytes + #s:receive("*l") end
  assert(bytes == count * 63)
end

function luasocket.blocks(s)
  local bytes = 0
  for _ = 1, count do bytes = bytes + #s:receive(65536) end
  assert(bytes == count * 65536)
end

function luasocket.exact(s)
  local bytes = 0
  for _ = 1, count do bytes = bytes + #s:receive(MIB) end
  assert(bytes == count * MIB)
end

function luasocket.body()
  return (require("socket.http").request(where))
end

--- The drop-in: LuaSocket's calls over our sockets.
local compat = setmetatable({}, { __index = luasocket })

function compat.open()
  require("caspian.net.compat").install(ours.net())
  return luasocket.open()
end

--- The sockets beneath the drop-in, with the drop-in loaded: the collector's pace depends on what else is in memory.
local beneath = setmetatable({}, { __index = ours })

function beneath.open()
  local net = ours.net()
  require("caspian.net.compat").install(net)
  require("socket")
  return net.tcp("127.0.0.1", tonumber(where))
end

local luasec = {}

function luasec.body()
  return (require("ssl.https").request(where))
end

local side = ({ ours = ours, beneath = beneath, compat = compat, luasocket = luasocket, luasec = luasec })[who]
local socket
if what ~= "body" then
  socket = side.open()
else
  -- The libraries are loaded before the watch starts: `require` has a row of its own.
  if who == "ours" then require("caspian.net") elseif who == "luasec" then require("ssl.https") else require("socket.http") end
end
local idle = peak()
local cpu, wall = os.clock(), gettime()
local body = side[what](socket)
cpu, wall = os.clock() - cpu, gettime() - wall
local grown = ""
if what == "body" then
  assert(body and #body == count, "the body is not whole")
  grown = (" %d"):format((peak() - idle) * 1024)
end
print(("%.6f %.6f"):format(cpu, wall) .. grown)
