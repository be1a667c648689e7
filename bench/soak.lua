-- A soak of the drop-in, by hand: many connections in one process, with errors at random points, over a scheduler as copas has
-- one. Beside the specs' servers, for their certificates:
--
--   spec/support/servers lua5.4 bench/soak.lua [CONNECTIONS [SEED]]
--
-- Servers close early, reset, send half of a line, greet TLS with HTTP, or say nothing; clients do the same, and time out at
-- once, read halves, select sockets that are dirty, close twice, take each other's descriptors, or are left to the collector.
-- Ends with 1 if descriptors are left, memory has grown, a call failed with a word that no call should fail with, or an echo
-- was not what was sent.

local total, seed = tonumber(arg[1]) or 20000, tonumber(arg[2]) or os.time()
local servers = assert(os.getenv("CASPIAN_SERVERS"), "beside the servers: spec/support/servers LUA bench/soak.lua")
local directory = servers:match("^(.*)/")
local path = directory .. "/soak.sock"

local import = require("caspian.net.compat").install(require("caspian.net").launch{
  "--allow-net", "--allow-listen", "--allow-net=unix:" .. path, "--allow-listen=unix:" .. path,
})
local socket, ssl, unix = import("socket"), import("ssl"), import("socket.unix")
local random, now = math.random, socket.gettime
math.randomseed(seed)

--- What a call may fail with.
local WORDS = {}
for _, word in ipairs{
  "timeout", "closed", "wantread", "wantwrite", "oversized", "refused", "connection refused", "already connected",
  "Operation already in progress", "Transport endpoint is not connected", "unexpected eof while reading", "wrong version number",
} do WORDS[word] = 0 end

local wrong = {}

local function saw(why)
  if why == nil then return end
  if not WORDS[why] then wrong[tostring(why)] = true end
  WORDS[why] = (WORDS[why] or 0) + 1
end

local function chance(n) return random(n) == 1 end

-- The scheduler -------------------------------------------------------------------------------------------------------

local reading, writing, waits, live = {}, {}, {}, 0

local function resume(thread, ...)
  local ok, err = coroutine.resume(thread, ...)
  if not ok then error(debug.traceback(thread, tostring(err)), 0) end
end

local function spawn(f, ...)
  live = live + 1
  resume(coroutine.create(function(...)
    f(...)
    live = live - 1
  end), ...)
end

--- Waits until the socket is in the answer of a select; true, or nil if that takes longer than `limit` seconds.
local function wait(list, sock, limit)
  if waits[sock] or sock:getfd() < 0 then return nil end
  list[#list + 1], list[sock] = sock, #list + 1
  waits[sock] = { thread = coroutine.running(), list = list, ends = now() + (limit or 0.5) }
  return coroutine.yield()
end

local function wake(sock, ready)
  local one = waits[sock]
  if not one then return end
  waits[sock] = nil
  local list = one.list
  local at, last = list[sock], list[#list]
  list[at], list[last] = last, at
  list[#list], list[sock] = nil, nil
  resume(one.thread, ready)
end

local function step()
  local readable, writable = socket.select(reading, writing, 0.01)
  for i = 1, #readable do wake(readable[i], true) end
  for i = 1, #writable do wake(writable[i], true) end
  local late, time = {}, now()
  for sock, one in pairs(waits) do
    if one.ends < time or sock:getfd() < 0 then late[#late + 1] = sock end
  end
  for i = 1, #late do wake(late[i]) end
end

local LISTS = { timeout = false, wantread = reading, wantwrite = writing }

-- Sending, receiving, ending ------------------------------------------------------------------------------------------

local function put(sock, data)
  local at = 0
  while true do
    local last, why, part = sock:send(data, at + 1)
    if last then return true end
    saw(why)
    at = part
    local list = LISTS[why]
    if list == nil or not wait(list or writing, sock) then return nil end
  end
end

local function get(sock, pattern, part, most)
  while true do
    local data, why
    data, why, part = sock:receive(pattern, part, most)
    if data then return data end
    saw(why)
    local list = LISTS[why]
    if list == nil or not wait(list or reading, sock) then return nil end
  end
end

--- The ways in which sockets end.
local ENDS = {
  function() end, -- the collector's
  function(sock) sock:close() end,
  function(sock)
    sock:close()
    sock:close()
    for _, name in ipairs{ "send", "receive" } do saw(select(2, sock[name](sock, name == "send" and "x" or nil))) end
    sock:settimeout(1)
    sock:dirty()
  end,
  function(sock)
    if sock.setoption then sock:setoption("linger", { on = true, timeout = random(0, 2) }) end
    sock:close()
  end,
  function(sock)
    if sock.shutdown then sock:shutdown(({ "send", "receive", "both" })[random(3)]) end
    sock:close()
  end,
  function(sock)
    if not sock.setfd then return sock:close() end
    local other = sock.class:find("^tcp") and socket.tcp() or unix.stream()
    other:close()
    other:setfd(sock:getfd())
    sock:setfd(-1)
    other:close()
  end,
}

local function finish(sock) ENDS[random(#ENDS)](sock) end

-- TLS -----------------------------------------------------------------------------------------------------------------

local client_context = assert(ssl.newcontext{ mode = "client", protocol = "any", verify = "none", options = "all" })
local server_context = assert(ssl.newcontext{
  mode = "server", protocol = "any", certificate = directory .. "/server.pem", key = directory .. "/server.key",
})

local function secured(sock, params)
  local conn, why = ssl.wrap(sock, params)
  if not conn then return saw(why) end
  conn:settimeout(0)
  while true do
    local done
    done, why = conn:dohandshake()
    if done then return conn end
    saw(why)
    local list = LISTS[why]
    if list == nil or chance(30) or not wait(list, conn) then return finish(conn) end
  end
end

-- The two sides -------------------------------------------------------------------------------------------------------

local function serve(sock, secure)
  sock:settimeout(0)
  if chance(12) then return finish(sock) end
  if secure then
    if chance(15) then
      sock:send("HTTP/1.0 400 no TLS here\r\n\r\n")
      return finish(sock)
    end
    sock = secured(sock, server_context)
    if not sock then return end
  end
  local way = random(7)
  if way == 1 then
    put(sock, "half a line")
  elseif way == 2 then
    put(sock, ("line %d\r\n"):format(random(1000000)):rep(random(2000)))
  elseif way == 3 then
    wait(reading, sock, 0.05)
  elseif way == 4 then
    put(sock, ("x"):rep(random(200000)))
  else
    for _ = 1, random(5) do
      local line = get(sock, "*l", nil, chance(4) and random(3000) or nil)
      if not line or not put(sock, "echo " .. line .. "\n") then break end
    end
  end
  finish(sock)
end

--- A socket that is connected to the port without waiting; nil if that failed, or was given up.
local function connected(port)
  local sock = assert(chance(2) and socket.tcp() or socket.tcp4())
  if chance(3) then sock:setoption("tcp-nodelay", true) end
  if chance(5) then sock:setoption("recv-buffer-size", 4096) end
  sock:settimeout(chance(8) and 0.001 or 0)
  while true do
    local done, why = sock:connect("127.0.0.1", port)
    saw(why)
    if done or why == "already connected" then
      sock:settimeout(0)
      return sock
    end
    local waiting = why == "timeout" or why == "Operation already in progress"
    if not waiting or chance(40) or not wait(writing, sock) then return finish(sock) end
  end
end

local function called()
  local sock = assert(unix.stream())
  local done, why = sock:connect(path)
  saw(why)
  if not done then return finish(sock) end
  sock:settimeout(0)
  return sock
end

local echoed = 0

local function converse(sock)
  local lines = {}
  for i = 1, random(4) do
    lines[i] = tostring(random(1000000)):rep(random(300))
    if not put(sock, lines[i] .. "\n") then return end
  end
  if chance(6) and sock.shutdown then sock:shutdown("send") end
  local way = random(6)
  if way == 1 then
    get(sock, "*a")
  elseif way == 2 then
    get(sock, random(5000), "prefix")
  elseif way == 3 then
    if get(sock, 3) and sock:dirty() then
      assert(socket.select({ sock, sock }, nil, 5)[1] == sock, "a dirty socket is ready")
      get(sock, "*l")
    end
  elseif way == 4 then
    get(sock, 0)
  else
    for _, sent in ipairs(lines) do
      local line = get(sock, "*l")
      if not line then return end
      local back = line:match("^echo (.*)$")
      if back then
        echoed = echoed + 1
        if back ~= sent then wrong["an echo that is not what was sent"] = true end
      end
    end
  end
end

local function client(kind, port)
  local sock
  if kind == "unix" then sock = called() else sock = connected(chance(25) and 1 or port) end
  if sock and kind == "tls" then
    -- A context for the connection alone, or one for many.
    sock = secured(sock, chance(4) and { mode = "client", protocol = "any", verify = "none" } or client_context)
  end
  if not sock then return end
  if not chance(20) then converse(sock) end
  finish(sock)
end

local function datagrams()
  local a, b = socket.udp(), socket.udp4()
  a:settimeout(0)
  b:settimeout(0)
  assert(a:setsockname("127.0.0.1", 0))
  local ip, port = a:getsockname()
  if chance(2) then
    assert(b:setpeername(ip, port))
    b:send(("d"):rep(random(0, 9000)))
    if chance(3) then
      a:close()
      b:send("y")
      saw(select(2, b:receive()))
    end
  else
    b:sendto("x", ip, port)
    for _, size in ipairs{ random(9000), 8192 } do
      local data, why = a:receivefrom(size)
      if not data then saw(why) end
    end
  end
  if chance(2) then
    a:close()
    b:close()
  end
end

-- All of it -----------------------------------------------------------------------------------------------------------

local function listening(server, secure)
  server:settimeout(0)
  spawn(function()
    while server:getfd() >= 0 do
      local sock, why = server:accept()
      if sock then spawn(serve, sock, secure) else saw(why) end
      if not sock then wait(reading, server, 3600) end
    end
  end)
  return server
end

local function status(name)
  local file = assert(io.open("/proc/self/status"))
  local value = tonumber(file:read("*a"):match(name .. ":%s*(%d+)"))
  file:close()
  return value
end

local process = status("Pid")

local function descriptors()
  local listing = assert(io.popen("ls /proc/" .. process .. "/fd | wc -l"))
  local count = tonumber(listing:read("*a"))
  listing:close()
  return count
end

--- Collects what nothing leads to any more; what is left of calls on the stack is overwritten first.
local function collect()
  local function deep(n) return n > 0 and deep(n - 1) + n or 0 end
  for _ = 1, 8 do
    deep(100)
    collectgarbage()
  end
end

local begin = now()

local function report(made)
  collect()
  print(("%6d connections  %3d descriptors  %6d KiB resident  %6.0f KiB of Lua's  %3d under way  %.0f s"):format(
    made, descriptors(), status("VmRSS"), collectgarbage("count"), live, now() - begin))
end

print("seed " .. seed)
collect()
local at_first = descriptors()
local plain = listening(assert(socket.bind("127.0.0.1", 0, 256)), false)
local tls = listening(assert(socket.bind("127.0.0.1", 0, 256)), true)
local file = assert(unix.stream())
assert(file:bind(path))
assert(file:listen(256))
listening(file, false)
local _, plain_port = plain:getsockname()
local _, tls_port = tls:getsockname()

local own, made, told, before = live, 0, 0, nil
while made < total do
  while live - own < 120 and made < total do
    made = made + 1
    local dice = random(100)
    if dice <= 10 then spawn(client, "tls", tls_port)
    elseif dice <= 25 then spawn(client, "unix")
    else spawn(client, "tcp", plain_port) end
    if chance(20) then datagrams() end
  end
  step()
  if made >= told + total / 5 then
    told = made
    report(made)
    before = before or status("VmRSS")
  end
end
local limit = now() + 5
while live > own and now() < limit do step() end
if live > own then wrong[live - own .. " conversations do not end"] = true end
plain:close()
tls:close()
file:close()
step()
report(made)
local after = status("VmRSS")

if descriptors() > at_first then wrong[descriptors() - at_first .. " descriptors are left"] = true end
if after > before + 8192 then wrong[after - before .. " KiB more than after the first fifth"] = true end
local words = {}
for word, count in pairs(WORDS) do words[#words + 1] = word .. " " .. count end
table.sort(words)
print(echoed .. " lines echoed; " .. table.concat(words, ", "))
os.remove(path)
for what in pairs(wrong) do print("wrong: " .. what) end
os.exit(next(wrong) == nil and 0 or 1)
