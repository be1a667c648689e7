-- torture/slope [COUNT [NAME]]: what many of each leave behind: memory, descriptors, threads. Each kind of act (NAME: those in whose name
-- it is) is done COUNT times (defaults to 2000; 100000 is the long form) in ten rounds; after each the collector runs and the process is looked at.
-- Growth from the third round to the last of more than 1 % and 256 KiB, or of one descriptor or thread, is a finding: exit
-- status 1. Beside the servers of the specs, which torture/slope starts; in `lua`, not in the launcher, since it reads /proc.

local servers = dofile(os.getenv("CASPIAN_SERVERS"))
local count, only = tonumber(arg[1]) or 2000, arg[2] or ""
local path = servers.dir .. "/slope.sock"
local net = require("caspian.net").launch{ "--allow-net", "--allow-listen", "--allow-net=unix:" .. path, "--allow-listen=unix:" .. path }
local http, https = "http://127.0.0.1:" .. servers.http, "https://localhost:" .. servers.https
local ROUNDS = 10

local function status(name)
  local file = assert(io.open("/proc/self/status"))
  local text = file:read("*a")
  file:close()
  return tonumber(text:match(name .. ":%s*(%d+)"))
end

-- A socket cannot be opened by its path: what is no "No such file" is there.
local function descriptors()
  local open = 0
  for number = 0, 1023 do
    local file, why = io.open("/proc/self/fd/" .. number)
    if file then file:close() end
    if file or not why:find("No such file", 1, true) then open = open + 1 end
  end
  return open
end

local function look()
  collectgarbage() collectgarbage()
  return { memory = status("VmRSS") * 1024, descriptors = descriptors(), threads = status("Threads") }
end

local listener = net.tcp_listen("127.0.0.1", 0)
local secure = net.tcp_listen("127.0.0.1", 0, { tls = { cert = servers.server.cert, key = servers.server.key } })
local unix = net.unix_listen(path)
local client = net.http.client.new{ ca_bundle = servers.ca }
local silent = net.tcp("127.0.0.1", listener.local_port)
local quiet = listener:accept()


-- The HTTP server and its clients are in this process: what a client sends waits in the kernel until the server looks.
local server = net.http.server("127.0.0.1", 0, { max_requests = 1000000000, timeout = 10 })
local app = net.http.sammy{ domain = "127.0.0.1", on_error = function(err) error(err, 0) end }
app:get("/page/{name}", function(request, transaction)
  transaction.session.name = request.steps.name
  return app.response.html(200, "<p>hello</p>")
end)
local function visit(page, more) return "GET " .. page .. " HTTP/1.1\r\nHost: a\r\n" .. (more or "") .. "\r\n" end
local UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
local kept = net.tcp("127.0.0.1", server.local_port)
-- The status line of an answer, whose head and body are read.
local function answered(socket)
  local first, length = socket:recv_line(), 0
  for line in socket:lines() do
    if line == "\r\n" then break end
    length = tonumber(line:match("^Content%-Length: (%d+)")) or length
  end
  if length > 0 then socket:recv_exact(length) end
  return first
end

local function must(ok, err) if not ok then error(err, 0) end end
local function fails(class, f, ...)
  local ok, err = pcall(f, ...)
  if ok or type(err) ~= "table" or not err:is("network/" .. class) then error("expected " .. class .. ", got " .. tostring(err), 0) end
end

-- Each with how many of COUNT are done: handshakes cost a thousand times what a timeout does.
local KINDS = {
  { "request", 1, function() must(client:get(http .. "/hello").status == 200) end },
  { "request of a new client", 0.1, function()
    local own = net.http.client.new()
    must(own:get(http .. "/hello").status == 200)
    own:close()
  end },
  { "request over TLS", 0.5, function() must(client:get(https .. "/files/64k").status == 200) end },
  { "connection", 1, function()
    local one = net.tcp("127.0.0.1", listener.local_port)
    local other = listener:accept()
    one:send_all("line\n")
    must(other:recv_line() == "line\n")
    one:close() other:close()
  end },
  { "connection left to the collector", 0.5, function()
    net.tcp("127.0.0.1", listener.local_port)
    listener:accept()
  end },
  { "Unix connection", 1, function() net.unix(path):close() unix:accept():close() end },
  { "handshake", 0.1, function() net.ssl("localhost", servers.https, { ca_bundle = servers.ca }):close() end },
  { "handshake that fails", 0.1, function() fails("tls", net.ssl, "localhost", servers.expired, { ca_bundle = servers.ca }) end },
  { "handshake at a listener that breaks off", 0.5, function()
    net.tcp("127.0.0.1", secure.local_port):close()
    fails("timeout", secure.accept, secure, { timeout = 0 })
  end },
  { "datagram", 1, function()
    local one = net.udp_listen("127.0.0.1", 0)
    one:send_to("x", "127.0.0.1", one.local_port)
    must(one:recv(10) == "x")
    one:close()
  end },
  { "timeout", 1, function() fails("timeout", quiet.recv, quiet, 1, { timeout = 0 }) end },
  { "refused", 1, function() fails("connection_refused", net.tcp, "127.0.0.1", 1) end },
  { "reset", 0.5, function()
    local one = net.tcp("127.0.0.1", listener.local_port)
    local other = listener:accept()
    one:send_all("unread")
    other:close() -- with bytes unread: a reset
    local ok, err = pcall(one.recv, one, 1)
    must(not ok and err:is("network/connection_reset"), err)
    one:close()
  end },
  { "look-up", 0.1, function() net.tcp("localhost", servers.http):close() end },
  { "refused by the gate", 1, function() local less = net.narrow{ "--allow-net=a.example" } fails("host_not_allowed", less.tcp, "b.example", 1) end },
  { "websocket", 0.1, function()
    local ws = net.websocket("ws://127.0.0.1:" .. servers.websocket.ws .. "/echo")
    ws:send("x")
    must(ws:recv() == "x")
    ws:close()
  end },
  { "request served on a kept connection", 1, function()
    kept:send_all(visit("/"))
    server:accept():respond(200, { ["Content-Type"] = "text/plain" }, "hello\n")
    must(answered(kept) == "HTTP/1.1 200 OK\r\n")
  end },
  { "request served by Sammy, with a session", 0.5, function()
    kept:send_all(visit("/page/one"))
    app:handle(server:accept())
    must(answered(kept) == "HTTP/1.1 200 OK\r\n")
  end },
  { "request served on a connection of its own", 0.2, function()
    local one = net.tcp("127.0.0.1", server.local_port)
    one:send_all(visit("/", "Connection: close\r\n"))
    server:accept():respond(200, nil, "hello\n")
    must(answered(one) == "HTTP/1.1 200 OK\r\n")
    one:close()
  end },
  { "body taken, streamed back", 0.2, function()
    kept:send_all("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    local request = server:accept()
    local body = request.body
    request:respond(200, nil, function() local piece = body body = nil return piece end)
    must(answered(kept) == "HTTP/1.1 200 OK\r\n")
    while kept:recv_line() ~= "0\r\n" do end
    kept:recv_line()
  end },
  { "request refused", 0.2, function()
    local one = net.tcp("127.0.0.1", server.local_port)
    one:send_all("nonsense\r\n\r\n")
    net.poll({ server }, 0)
    must(answered(one) == "HTTP/1.1 400 Bad Request\r\n")
    one:close()
  end },
  { "request whose client leaves", 0.2, function()
    local one = net.tcp("127.0.0.1", server.local_port)
    one:send_all(visit("/"))
    local request = server:accept()
    one:close()
    request:respond(200, nil, "hello\n")
  end },
  { "events served", 0.2, function()
    local one = net.tcp("127.0.0.1", server.local_port)
    one:send_all(visit("/"))
    local stream = server:accept():events()
    stream:send{ data = "x" }
    stream:close()
    must(answered(one) == "HTTP/1.1 200 OK\r\n")
    one:close()
  end },
  { "websocket served", 0.2, function()
    local one = net.tcp("127.0.0.1", server.local_port)
    one:send_all(visit("/", UPGRADE))
    local socket = server:accept():websocket()
    must(answered(one):find(" 101 "))
    one:send_all("\129\129\0\0\0\0x")
    must(socket:recv() == "x")
    one:close()
    pcall(socket.close, socket)
  end },
  { "guarded request", 0.2, function()
    local guard = net.http.guard{ allow_private = true, rules = { host = "127.0.0.1", https_only = false, ports = { servers.http } } }
    must(guard.fetch(http .. "/hello").status == 200)
  end },
}

local start, bad, done = os.time(), 0, 0
for _, kind in ipairs(KINDS) do if kind[1]:find(only, 1, true) then
  local name, share, act = kind[1], kind[2], kind[3]
  local each = math.max(1, math.floor(count * share / ROUNDS))
  local seen = {}
  for round = 1, ROUNDS do
    for _ = 1, each do act() end
    seen[round] = look()
  end
  local first, last = seen[3], seen[ROUNDS]
  local grown = last.memory - first.memory
  local wrong = grown > math.max(first.memory / 100, 256 * 1024) or last.descriptors > first.descriptors or last.threads > first.threads
  if wrong then bad = bad + 1 end
  print(("%-42s %7d times: %+5d KiB, %+d descriptors, %+d threads%s"):format(name, each * ROUNDS, grown / 1024,
    last.descriptors - first.descriptors, last.threads - first.threads, wrong and "  GROWS" or ""))
  done = done + 1
end end
kept:close()
server:close()
silent:close()
print(("%d kinds, %d that grow, %d s"):format(done, bad, os.time() - start))
os.exit(bad == 0 and done > 0, true)
