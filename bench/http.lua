--- One HTTP measurement in a process of its own: prints seconds of CPU (user and system) and of the clock.
--
--   lua http.lua ours|luacurl get URL COUNT [CA.pem [WORD]]          COUNT requests on one client, or one handle
--   lua http.lua ours stream URL SIZE [CA.pem]                       also prints by how many bytes memory grew at most
--   lua http.lua ours|loop all URL COUNT                             COUNT requests by `fetch_all`, or one by one
--
-- Lua-cURL is Debian's, for Lua 5.1: this file runs there too. With LCURL=DIR it is Lua-cURLv3, whose lcurl.so is in DIR.
local who, what, url, count, ca, word = arg[1], arg[2], arg[3], tonumber(arg[4]), arg[5], arg[6]
local gettime = require("socket").gettime

--- The figure of `/proc/self/status` in bytes: `VmRSS` is memory now, `VmHWM` the most there was.
local function memory(name)
  for line in io.lines("/proc/self/status") do
    local kib = line:match("^" .. name .. ":%s+(%d+) kB")
    if kib then return tonumber(kib) * 1024 end
  end
end

-- Every answer must be what is expected: 64 bytes, or for new connections `r` (resumed) or `.` (not).
local function check(body, first)
  assert(first or not word or body == word, "resumed, or not: not as asked for")
  assert(word or #body == 64, "not the answer")
end

local sides = { ours = {}, loop = {}, luacurl = {} }

local function launch()
  return require("caspian.net").launch{ "--allow-net=127.0.0.1" }
end

function sides.ours.get()
  local client = launch().http.client.new{ ca_bundle = ca }
  check(client:get(url).body, true)
  return function()
    for _ = 1, count do check(client:get(url).body) end
  end
end

function sides.ours.stream()
  local net = launch()
  collectgarbage()
  local idle = memory("VmRSS")
  return function()
    local bytes = 0
    for piece in net.fetch(url, { ca_bundle = ca, stream = true }):chunks() do bytes = bytes + #piece end
    assert(bytes == count, "the body is not whole")
    return memory("VmHWM") - idle
  end
end

local function waiting()
  local client, list = launch().http.client.new(), {}
  check(client:get(url).body, true)
  for i = 1, count do list[i] = url end
  return client, list
end

function sides.ours.all()
  local client, list = waiting()
  return function()
    for _, resp in ipairs(client:fetch_all(list)) do check(resp.body) end
  end
end

function sides.loop.all()
  local client, list = waiting()
  return function()
    for _, at in ipairs(list) do check(client:get(at).body) end
  end
end

--- Lua-cURL with one handle: Debian's 0.3, or Lua-cURLv3 where `LCURL` says so.
function sides.luacurl.get()
  local pieces, perform
  local function keep(piece)
    pieces[#pieces + 1] = piece
    return #piece
  end
  if os.getenv("LCURL") then
    local handle = require("lcurl").easy{ url = url, cainfo = ca, writefunction = keep }
    perform = function() handle:perform() return 0 end
  else
    local curl = require("curl")
    local handle = curl.easy_init()
    handle:setopt(curl.OPT_URL, url)
    if ca then handle:setopt(curl.OPT_CAINFO, ca) end
    handle:setopt(curl.OPT_WRITEFUNCTION, keep)
    perform = function() return handle:perform() end
  end
  local function get()
    pieces = {}
    assert(perform() == 0)
    return table.concat(pieces)
  end
  check(get(), true)
  return function()
    for _ = 1, count do check(get()) end
  end
end

-- What is loaded, made and opened before is not what is measured.
local work = sides[who][what]()
local cpu, wall = os.clock(), gettime()
local grown = work()
cpu, wall = os.clock() - cpu, gettime() - wall
print(("%.6f %.6f"):format(cpu, wall) .. (grown and (" %d"):format(grown) or ""))
