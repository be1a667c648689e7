-- What a program of LuaSocket's sees of zones: run on the drop-in and on the original, whose lines must be the same.
local FIRST, SECOND = ...
local socket = require("socket")

local function say(...)
  local words = { ... }
  for i = 1, select("#", ...) do words[i] = tostring(words[i]) end
  print(table.concat(words, " "))
end

for n, zone in ipairs{ "eth0", FIRST, "eth1", SECOND } do
  local peer = "fe80::2%" .. zone
  say(zone, n)
  local u = assert(socket.udp6())
  u:settimeout(5)
  u:setsockname("::", 0)
  say(u:sendto("who", peer, 7000))
  say(u:receivefrom())
  u:close()

  u = socket.udp6()
  u:settimeout(5)
  say(u:setpeername(peer, 7000))
  say((u:getsockname()))
  say(u:getpeername())
  u:send("who")
  say(u:receive())
  u:close()

  local t = socket.tcp6()
  t:settimeout(5)
  say(t:connect(peer, 7001))
  say((t:getsockname()))
  say(t:getpeername())
  say(t:receive("*l"))
  t:close()

  local server = socket.tcp6()
  server:settimeout(5)
  say(server:bind("fe80::1%" .. zone, 0))
  say(server:listen(5))
  say((server:getsockname()))
  local _, port = server:getsockname()
  local client = socket.udp6()
  client:settimeout(5)
  client:setsockname("::", 0)
  client:sendto("dial " .. math.floor(port), peer, 7000)
  local other = server:accept()
  say((other:getpeername()))
  say((other:getsockname()))
  other:send("hello\n")
  other:close()
  say((client:receivefrom()))
  client:close()
  server:close()

  local found = socket.dns.getaddrinfo(peer)
  say(found and found[1] and found[1].family, found and found[1] and found[1].addr)
end

-- An answer goes back by the link that the question came from.
do
  local server, control = socket.udp6(), socket.udp6()
  server:settimeout(5)
  control:settimeout(5)
  server:setsockname("::", 7100)
  control:setsockname("::", 0)
  for _, peer in ipairs{ "fe80::2%eth0", "fe80::2%eth1" } do
    control:sendto("talk 7100", peer, 7000)
    local text, host, port = server:receivefrom()
    say(text, host)
    server:sendto("from " .. host, host, port)
    say((control:receivefrom()))
  end
  server:close()
  control:close()
end

-- What leads nowhere.
for _, host in ipairs{ "fe80::2%nope", "fe80::2%", "fe80::2%999999", "2001:db8::1%nope" } do
  local t = socket.tcp6()
  t:settimeout(5)
  say(host, t:connect(host, 7001))
  t:close()
  local u = socket.udp6()
  say(host, (u:sendto("x", host, 7000)))
  u:close()
end
say("done")
