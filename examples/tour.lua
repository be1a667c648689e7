-- What a script may do under its grants, and what it hears where they end. Needs the ports of examples/server.lua:
-- part of: tour.sh
--
--   caspian-net --allow-net=localhost:TCP --allow-net=127.0.0.1:TCP+UDP --allow-listen=127.0.0.1:0 \
--     examples/tour.lua TCP UDP

if not net then
  print("no network was granted: run `sh examples/tour.sh`")
  os.exit(2)
end
local tcp, udp = assert(tonumber((...))), assert(tonumber((select(2, ...))))
local counts = { allowed = 0, refused = 0, surprise = 0 }

local function section(title)
  print("\n== " .. title)
end

-- Calls f, prints what came of it, and counts whether that was what the grants promise.
local function try(expected, what, f)
  local ok, result = pcall(f)
  local got = "failed"
  if ok then
    got = "allowed"
  elseif type(result) == "table" and result.is and
         (result:is("network/host_not_allowed") or result:is("network/port_not_allowed")) then
    got = "refused"
  end
  if got == expected then
    counts[got] = (counts[got] or 0) + 1
  else
    counts.surprise = counts.surprise + 1
    got = "SURPRISE, " .. got
  end
  print(("%s  %s\n         %s"):format(got, what, (tostring(result):gsub("%s+$", ""))))
end

section("granted")
for _, flag in ipairs(net.grants()) do
  print("  " .. flag)
end

local base = "http://localhost:" .. tcp

section("fetch: names match by name")
try("allowed", "GET " .. base .. "/", function()
  local response = net.fetch(base .. "/")
  return response.status .. " " .. response.body
end)
try("allowed", "GET " .. base .. "/json", function()
  return "the answer is " .. net.fetch(base .. "/json"):json().answer
end)
try("allowed", "POST " .. base .. "/echo", function()
  return net.fetch(base .. "/echo", { method = "POST", body = "said and heard" }).body
end)
try("allowed", "GET " .. base .. "/moved, a redirect to /", function()
  local response = net.fetch(base .. "/moved")
  return response.status .. " from " .. response.url
end)
try("refused", "GET " .. base .. "/away, a redirect to elsewhere.example: asked again at each hop", function()
  return net.fetch(base .. "/away")
end)
try("refused", "GET http://elsewhere.example/: not one packet, not even DNS", function()
  return net.fetch("http://elsewhere.example/")
end)

section("tcp")
try("allowed", "tcp 127.0.0.1 " .. tcp, function()
  local socket <close> = net.tcp("127.0.0.1", tcp)
  socket:send_all("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
  return (socket:recv_line())
end)
try("refused", "tcp 127.0.0.1 1: the host is granted, the port is not", function()
  return net.tcp("127.0.0.1", 1)
end)
try("refused", "tcp 127.0.0.2 " .. tcp .. ": an address that was not named", function()
  return net.tcp("127.0.0.2", tcp)
end)

section("udp: each datagram's target is asked for")
try("allowed", "udp echo on " .. udp, function()
  local socket <close> = net.udp("127.0.0.1", udp)
  socket:send("ping")
  return (socket:recv(100))
end)
try("refused", "send_to 127.0.0.1 9", function()
  local socket <close> = net.udp()
  return socket:send_to("ping", "127.0.0.1", 9)
end)

section("listen: never follows from connecting, nor the reverse")
try("allowed", "listen on 127.0.0.1, any free port", function()
  local listener <close> = net.tcp_listen("127.0.0.1", 0)
  return "listening on " .. listener.local_host
end)
try("refused", "connect to a port of our own that is not granted", function()
  local listener <close> = net.tcp_listen("127.0.0.1", 0)
  return net.tcp("127.0.0.1", listener.local_port)
end)
try("refused", "listen on every interface", function()
  return net.tcp_listen("0.0.0.0", 0)
end)

section("narrow: less, never more")
local less = net.narrow{ "--allow-net=127.0.0.1:" .. tcp .. ",example.com" }
try("allowed", "what both allow: " .. table.concat(less.grants(), " "), function()
  return less.fetch("http://127.0.0.1:" .. tcp .. "/").status
end)
try("refused", "the name, which this one has not", function()
  return less.fetch(base .. "/")
end)
try("refused", "example.com, which the first one has not", function()
  return less.fetch("http://example.com/")
end)

section("allows: the gate's answer without connecting")
for _, row in ipairs{ { "localhost", tcp }, { "localhost", 80 }, { "127.0.0.1", udp }, { "example.com", 443 } } do
  print(("  %-14s %5d  %s"):format(row[1], row[2], net.allows(row[1], row[2]) and "yes" or "no"))
end

print(("\n%d allowed and %d refused, as granted; %d surprises"):format(counts.allowed, counts.refused, counts.surprise))
os.exit(counts.surprise == 0)
