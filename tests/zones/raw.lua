-- Zones over raw sockets. Behind eth0 and eth1 there is a neighbour each (neighbour.rs), both of them fe80::2. The arguments
-- are the indices of the two interfaces.
local FIRST, SECOND = ...
local INTERFACES = { "eth0", "eth1" }
local PEERS = { "fe80::2%eth0", "fe80::2%eth1" }
local SOON = { timeout = 10 }

local checks = 0
local function same(expected, got, what)
  checks = checks + 1
  if expected ~= got then error(("%s: expected %s, got %s"):format(what, expected, got), 2) end
end

--- The error of a call that must fail; its class, or "argument".
local function fails(class, words, f, ...)
  local ok, err = pcall(f, ...)
  local got = ok and "nothing" or type(err) == "string" and "argument" or err.class:match("[^/]*$")
  same(class, got, tostring(err))
  if not tostring(err):find(words, 1, true) then error(("expected %q in %s"):format(words, tostring(err)), 2) end
  return err
end

local control = net.udp_listen("::", 0)
local function ask(host, text) control:send_to(text, host, 7000) end
local function told()
  local bytes, host = control:recv_from(200, SOON)
  return bytes, host
end
local function say(n, text)
  ask(PEERS[n], text)
  local answer, host = told()
  same(PEERS[n], host, "who answers to " .. text)
  return answer
end

-- Every spelling of an address leads to its link.
for n, index in ipairs{ FIRST, SECOND } do
  for _, host in ipairs{ PEERS[n], "[" .. PEERS[n] .. "]", "FE80:0::2%" .. INTERFACES[n], "fe80::2%" .. index } do
    ask(host, "who")
    local answer, from = told()
    same("peer" .. n, answer, host)
    same(PEERS[n], from, host)
  end
end

-- An answer to what was received leaves by the link that it came from.
do
  local server = net.udp_listen("::", 7100)
  for _, order in ipairs{ { 1, 2 }, { 2, 1 } } do
    local heard = {}
    for _, n in ipairs(order) do ask(PEERS[n], "talk 7100") end
    for _ = 1, 2 do
      local bytes, host, port = server:recv_from(100, SOON)
      same("hello", bytes, "a datagram")
      heard[host] = port
    end
    for n = 2, 1, -1 do server:send_to("answer" .. n, PEERS[n], heard[PEERS[n]]) end
    for _ = 1, 2 do
      local answer, host = told()
      same(host == PEERS[1] and "answer1" or "answer2", answer, host)
    end
  end
  server:close()
end

-- Connected sockets, and their fields.
do
  local u = net.udp("fe80::2%eth1", 7000)
  u:send("who")
  same("peer2", u:recv(100, SOON), "a connected datagram socket")
  same("fe80::2%eth1", u.host, "host")
  same("fe80::2%eth1", u.remote_host, "remote_host")
  same("fe80::1%eth1", u.local_host, "local_host")
  u:close()
  for n, index in ipairs{ FIRST, SECOND } do
    for _, zone in ipairs{ INTERFACES[n], index } do
      local s = net.tcp("fe80::2%" .. zone, 7001)
      same("peer" .. n .. "\n", s:recv_line(SOON), "tcp")
      same("fe80::2%" .. zone, s.host, "host as it was asked for")
      same(PEERS[n], s.remote_host, "remote_host")
      same("fe80::1%" .. INTERFACES[n], s.local_host, "local_host")
      same("tcp socket ([fe80::2%" .. zone .. "]:7001)", tostring(s), "what is printed")
      s:close()
    end
  end
  -- This end's zone is enough.
  for n = 1, 2 do
    local s = net.tcp("fe80::2", 7001, { local_host = "fe80::1%" .. INTERFACES[n] })
    same("peer" .. n .. "\n", s:recv_line(SOON), "local_host")
    s:close()
    local d = net.udp("fe80::2", 7000, { local_host = "fe80::1%" .. INTERFACES[n] })
    d:send("who")
    same("peer" .. n, d:recv(100, SOON), "local_host of datagrams")
    d:close()
  end
end

-- Listeners.
do
  for n = 1, 2 do
    local place = "fe80::1%" .. INTERFACES[n]
    local l = net.tcp_listen(place, 0)
    same(place, l.local_host, "local_host of a listener")
    ask(PEERS[n], "dial " .. l.local_port)
    local s = l:accept(SOON)
    same(PEERS[n], s.host, "host of who connected")
    same(PEERS[n], s.remote_host, "remote_host of who connected")
    same(place, s.local_host, "local_host of who connected")
    s:send_all("welcome\n")
    s:close()
    same("welcome", (told()), "what was read")
    local d = net.udp_listen(place, 0)
    same(place, d.local_host, "local_host of datagrams")
    -- The other link has the same address, and is not listened on.
    ask(PEERS[3 - n], "dial " .. l.local_port)
    same("unreachable", (told()), "the other link")
    l:close() d:close()
  end
  local l = net.tcp_listen("::", 0)
  for n = 1, 2 do
    ask(PEERS[n], "dial " .. l.local_port)
    local s = l:accept(SOON)
    same(PEERS[n], s.host, "a listener on every interface")
    s:send_all("all\n")
    s:close()
    same("all", (told()), "what was read")
  end
  l:close()
end

-- Errors.
local err = fails("connection_refused", "connect to [fe80::2%eth0]:9: ", net.tcp, "fe80::2%eth0", 9)
same("fe80::2%eth0", err.host, "err.host")
same(9, err.port, "err.port")
fails("socket", "needs its zone, as in fe80::2%eth0", net.tcp, "fe80::2", 7001)
fails("socket", "needs its zone", net.udp, "fe80::2", 7000)
fails("socket", "needs its zone", net.tcp_listen, "fe80::1", 0)
fails("socket", "needs its zone", net.udp_listen, "fe80::1", 0)
for _, call in ipairs{ { net.tcp, "fe80::2%nope", 7001 }, { net.udp, "fe80::2%nope", 7001 }, { net.udp, "fe80::2%4294967296", 7001 },
  { net.tcp_listen, "fe80::1%nope", 0 }, { net.udp_listen, "fe80::1%nope", 0 }, { control.send_to, control, "x", "fe80::2%nope", 7000 },
  { net.tcp, "127.0.0.1", 9, { local_host = "fe80::1%nope" } } } do
  fails("socket", "this machine has no such interface", (table.unpack or unpack)(call)) -- luacheck: ignore
end
fails("socket", "connect to [fe80::2%999999]:7001: ", net.tcp, "fe80::2%999999", 7001)
fails("socket", "listen on [fe80::1%999999]:0: ", net.tcp_listen, "fe80::1%999999", 0)
for _, host in ipairs{ "fe80::2%", "::1%lo", "2001:db8::1%eth0", "fe80::2%a b", "fe80::2%%eth0", "[fe80::2]%eth0" } do
  fails("argument", "bad argument #1 to 'tcp' (host", net.tcp, host, 7001)
end

-- Groups: what leaves, and what comes in.
local function expect(heard, what)
  for n = 1, 2 do same("heard" .. (heard == n and " group" or ""), say(n, "heard"), what .. " at neighbour " .. n) end
end
do
  local six, four = net.udp_listen("::", 0), net.udp_listen("0.0.0.0", 0)
  for n, index in ipairs{ FIRST, SECOND } do
    six:send_to("group", "ff02::77%" .. INTERFACES[n], 7002)
    expect(n, "a group in a zone")
    for _, interface in ipairs{ INTERFACES[n], index, math.floor(tonumber(index)) } do
      six.multicast_interface = interface
      six:send_to("group", "ff02::77", 7002)
      expect(n, "IPv6 by " .. interface)
      four.multicast_interface = interface
      four:send_to("group", "239.1.1.7", 7003)
      expect(n, "IPv4 by " .. interface)
    end
    four.multicast_interface = "10.9." .. n - 1 .. ".1"
    four:send_to("group", "239.1.1.7", 7003)
    expect(n, "IPv4 by address")
    -- A directed broadcast has its link in its address.
    four.broadcast = true
    four:send_to("group", "10.9." .. n - 1 .. ".255", 7003)
    expect(n, "a broadcast")
    -- The limited one has it in the address that it is sent from.
    local here = net.udp(nil, nil, { local_host = "10.9." .. n - 1 .. ".1", broadcast = true })
    here:send_to("group", "255.255.255.255", 7003)
    expect(n, "a limited broadcast")
    here:close()
  end
  fails("socket", "names no interface to IPv6", function() six.multicast_interface = "10.9.0.1" end)
  fails("socket", "no such interface", function() six.multicast_interface = "nope" end)
  fails("argument", "a name, an index or an IPv4 address", function() six.multicast_interface = true end)
  fails("argument", "a name, an index or an IPv4 address", function() six.multicast_interface = "a b" end)
  six:close() four:close()
end
do
  local six, four = net.udp_listen("::", 7101), net.udp_listen("0.0.0.0", 7102)
  local function shouts(heard, what)
    for n = 1, 2 do same("shouted", say(n, "shout 7101"), "a shout") end
    if heard then
      local bytes, host = six:recv_from(100, SOON)
      same("peer" .. heard .. " " .. PEERS[heard], bytes .. " " .. host, what)
      bytes, host = four:recv_from(100, SOON)
      same("peer" .. heard .. " 10.9." .. heard - 1 .. ".2", bytes .. " " .. host, what)
    end
    fails("timeout", "", six.recv, six, 100, { timeout = 0 })
    fails("timeout", "", four.recv, four, 100, { timeout = 0 })
  end
  shouts(nil, "nothing was joined")
  for n, index in ipairs{ FIRST, SECOND } do
    for _, interface in ipairs{ INTERFACES[n], index, math.floor(tonumber(index)) } do
      six:join("ff02::78", interface)
      four:join("239.1.1.8", interface)
      shouts(n, "joined on " .. interface)
      six:leave("ff02::78", interface)
      four:leave("239.1.1.8", interface)
      shouts(nil, "left on " .. interface)
    end
    six:join("ff02::78%" .. INTERFACES[n])
    four:join("239.1.1.8", "10.9." .. n - 1 .. ".1")
    shouts(n, "joined in a zone")
    six:leave("ff02::78%" .. INTERFACES[n], INTERFACES[n])
    four:leave("239.1.1.8", "10.9." .. n - 1 .. ".1")
    shouts(nil, "left in a zone")
  end
  fails("argument", "bad argument #2 to 'join'", six.join, six, "ff02::78%eth0", "eth1")
  fails("argument", "bad argument #2 to 'join'", six.join, six, "ff02::78", "10.9.0.1")
  fails("argument", "bad argument #2 to 'join'", six.join, six, "ff02::78", "a b")
  fails("argument", "bad argument #1 to 'join'", six.join, six, "fe80::2%eth0")
  fails("socket", "no such interface", six.join, six, "ff02::78", "nope")
  six:close() four:close()
end

-- Grants are about the address.
do
  local one = net.narrow{ "--allow-net=[fe80::2]:7001", "--allow-listen=[fe80::1]:0" }
  local none = net.narrow{ "--allow-net", "--allow-listen", "--deny-net=[fe80::]/16" }
  for n = 1, 2 do
    one.tcp(PEERS[n], 7001):close()
    one.tcp_listen("fe80::1%" .. INTERFACES[n], 0):close()
    same(true, one.allows(PEERS[n], 7001), "allows")
    fails("port_not_allowed", "lacks --allow-net=[fe80::2]:7000", net.narrow{ "--allow-net=[fe80::2]:7001" }.udp, PEERS[n], 7000)
    fails("host_not_allowed", "fe80::3", one.tcp, "fe80::3%" .. INTERFACES[n], 7001)
    fails("host_not_allowed", "fe80::2", one.tcp_listen, "fe80::2%" .. INTERFACES[n], 0)
    for _, less in ipairs{ none, net.narrow{ "--allow-net", "--deny-net=[fe80::2]" }, net.narrow{ "--allow-net", "--deny-net=private" } } do
      fails("host_not_allowed", "forbids it", less.tcp, PEERS[n], 7001)
      fails("host_not_allowed", "forbids it", less.udp, PEERS[n], 7000)
      local u = less.udp(nil, nil, { family = "inet6" })
      fails("host_not_allowed", "forbids it", u.send_to, u, "x", PEERS[n], 7000)
      u:close()
      same(false, less.allows(PEERS[n], 7001), "allows")
    end
  end
  -- Whether there is such an interface is not told to who may not go there.
  fails("host_not_allowed", "", one.tcp, "fe80::3%nope", 7001)
end

-- Flags and URLs have none, and say so.
for _, flag in ipairs{ "--allow-net=[fe80::2%eth0]", "--allow-net=fe80::2%eth0", "--allow-net=[fe80::%eth0]/64", "--deny-net=[fe80::2%2]:80",
  "--allow-listen=[fe80::1%eth0]:80", "--allow-listen=[fe80::%eth0]/10:80" } do
  fails("argument", "", net.narrow, { flag })
end
fails("argument", "has a zone, which flags and URLs do not have", net.narrow, { "--allow-net=[fe80::2%eth0]" })
fails("argument", "has a zone", net.narrow, { "--allow-net=[fe80::%eth0]/64" })
fails("argument", "has a zone", net.http.client.jail, "[fe80::2%eth0]")
fails("argument", "has a zone", net.http.guard, { rules = { host = "fe80::2%eth0" } })
fails("argument", "has a zone", net.http.guard, { rules = { host = "a.example" }, allow_private = { "fe80::2%eth0" } })
for _, host in ipairs{ "fe80::2%25eth0", "fe80::2%eth0", "fe80::2%2" } do
  for _, scheme in ipairs{ "http", "https" } do
    fails("argument", "URLs have no zones", net.fetch, scheme .. "://[" .. host .. "]:7001/")
  end
  fails("argument", "URLs have no zones", net.websocket, "ws://[" .. host .. "]:7001/")
  fails("argument", "URLs have no zones", net.fetch, "http://a.example/", { proxy = "http://[" .. host .. "]:7001" })
end
fails("argument", "zone", net.ssl, "fe80::2%eth0", 7001, { sni = "fe80::2%eth0" })

control:close()
print(checks .. " checks of zones")
