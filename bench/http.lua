--- One HTTP measurement in a process of its own: prints seconds of CPU (user and system) and of the clock.
--
--   lua http.lua ours|luacurl get URL COUNT [CA.pem [WORD]]          COUNT requests on one client, or one handle
--   lua http.lua ours|plain|luacurl json URL COUNT                   the same as programs have them: two headers and a timeout of the
--                                                                    client's, a header of each request, a JSON document decoded (by
--                                                                    lua-cjson); `plain`: only the GET, for comparison
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

local sides = { ours = {}, loop = {}, luacurl = {}, plain = {} }

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

local AGENT, ACCEPT = "bench", "application/json"

function sides.ours.json()
  local client = launch().http.client.new{ headers = { Accept = ACCEPT, ["X-Agent"] = AGENT }, timeout = 10 }
  local function get(index)
    assert(client:get(url, { headers = { ["X-One"] = "id" .. index % 10 } }):json().name == "caspian")
  end
  get(0)
  return function()
    for index = 1, count do get(index) end
  end
end

function sides.plain.json()
  local client = launch().http.client.new()
  local function get() assert(#client:get(url).body > 0) end
  get()
  return function()
    for _ = 1, count do get() end
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

--- Lua-cURL with one handle: Debian's 0.3, or Lua-cURLv3 where `LCURL` says so. Answers a function that does one request, with those
-- headers if there are any, and one that gives the handle a timeout of ten seconds.
local function handle_of()
  local pieces, perform, told
  local function keep(piece)
    pieces[#pieces + 1] = piece
    return #piece
  end
  local timeout
  if os.getenv("LCURL") then
    local lcurl = require("lcurl")
    local handle = lcurl.easy{ url = url, cainfo = ca, writefunction = keep }
    perform = function() handle:perform() return 0 end
    told = function(headers) handle:setopt(lcurl.OPT_HTTPHEADER, headers) end
    timeout = function() handle:setopt(lcurl.OPT_TIMEOUT, 10) end
  else
    local curl = require("curl")
    local handle = curl.easy_init()
    handle:setopt(curl.OPT_URL, url)
    if ca then handle:setopt(curl.OPT_CAINFO, ca) end
    handle:setopt(curl.OPT_WRITEFUNCTION, keep)
    perform = function() return handle:perform() end
    told = function(headers) handle:setopt(curl.OPT_HTTPHEADER, headers) end
    timeout = function() handle:setopt(curl.OPT_TIMEOUT, 10) end
  end
  return function(headers)
    pieces = {}
    if headers then told(headers) end
    assert(perform() == 0)
    return table.concat(pieces)
  end, timeout
end

function sides.luacurl.get()
  local get = handle_of()
  check(get(), true)
  return function()
    for _ = 1, count do check(get()) end
  end
end

function sides.luacurl.json()
  local decode, get, timeout = require("cjson").decode, handle_of()
  timeout()
  local accept, agent = "Accept: " .. ACCEPT, "X-Agent: " .. AGENT
  local function one(index) assert(decode(get{ accept, agent, "X-One: id" .. index % 10 }).name == "caspian") end
  one(0)
  return function()
    for index = 1, count do one(index) end
  end
end

-- What is loaded, made and opened before is not what is measured.
local work = sides[who][what]()
local cpu, wall = os.clock(), gettime()
local grown = work()
cpu, wall = os.clock() - cpu, gettime() - wall
print(("%.6f %.6f"):format(cpu, wall) .. (grown and (" %d"):format(grown) or ""))
