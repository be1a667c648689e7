-- Each part of the network once, beside the specs' servers: `spec/support/servers LUA torture/everything.lua [ONLY]`, or the
-- launcher in LUA's place with --allow-net --allow-listen --allow-fs. An act ends well, with what it should bring, or with an
-- error. A wrong byte is `WRONG`, and exit status 3; the first line is `begins`, the last one `done`.

-- torture/syscalls looks for this call: what comes before it is the interpreter's own.
io.open("/torture/begins/here")
-- A line is out when it is written, however the process ends.
io.stdout:setvbuf("line")
print("begins")
local servers = dofile((...))
local only = select(2, ...)
local net = net or require("caspian.net").launch{ "--allow-net", "--allow-listen",
  "--allow-net=unix:" .. servers.dir .. "/everything.sock", "--allow-listen=unix:" .. servers.dir .. "/everything.sock" }
local http, https = "http://127.0.0.1:" .. servers.http, "https://localhost:" .. servers.https
local TIME = 10
local ca = { ca_bundle = servers.dir .. "/ca.pem", timeout = TIME }

local function with(more)
  local options = { ca_bundle = ca.ca_bundle, timeout = TIME }
  for name, value in pairs(more or {}) do options[name] = value end
  return options
end
local function whole(path)
  local file = assert(io.open(servers.dir .. path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end
local FILE = whole("/files/64k")
local MORE = whole("/files/1m")

-- What a wrong byte raises, told from every error of the network's.
local WRONG = {}
local function same(got, expected)
  if got ~= expected then error(setmetatable({ got = got, expected = expected }, WRONG), 0) end
end

local ACTS = {
  { "tcp", function()
    local listener = net.tcp_listen("127.0.0.1", 0)
    local one = net.tcp("127.0.0.1", listener.local_port, { timeout = TIME })
    local other = listener:accept{ timeout = TIME }
    one:send_all("line\n" .. ("x"):rep(50000))
    same(other:recv_line(), "line\n")
    same(other:recv_exact(50000), ("x"):rep(50000))
    local readable = net.poll({ one, other }, 0)
    same(#readable, 0)
    one:close() other:close() listener:close()
  end },
  { "udp", function()
    local one, other = net.udp_listen("127.0.0.1", 0), net.udp_listen("127.0.0.1", 0)
    one:send_to("datagram", "127.0.0.1", other.local_port)
    same((other:recv_from(100, { timeout = TIME })), "datagram")
    one:close() other:close()
  end },
  { "unix", function()
    local path = servers.dir .. "/everything.sock"
    local listener = net.unix_listen(path)
    local one = net.unix(path)
    local other = listener:accept{ timeout = TIME }
    one:send_all("unix\n")
    same(other:recv_line(), "unix\n")
    one:close() other:close() listener:close()
  end },
  { "ssl", function()
    for _, port in ipairs{ servers.https, servers.tls12 } do
      local s = net.ssl("localhost", port, ca)
      s:send_all("GET /files/64k HTTP/1.0\r\n\r\n")
      repeat local line = s:recv_line() until line == "\r\n"
      same(s:recv_exact(#FILE), FILE)
      same(s:recv(1), nil)
      same(#s:peer_cert().fingerprint > 0, true)
      s:close()
    end
  end },
  { "mutual", function()
    local s = net.ssl("localhost", servers.mutual, with{
      client_cert = servers.dir .. "/client.pem", client_key = servers.dir .. "/client.key" })
    same(#s:peer_cert().fingerprint > 0, true)
    s:close()
  end },
  { "starttls", function()
    local listener = net.tcp_listen("127.0.0.1", 0)
    local one = net.tcp("127.0.0.1", listener.local_port, { timeout = TIME })
    local other = listener:accept{ timeout = TIME }
    one:send_all("no handshake\n")
    local ok = pcall(other.starttls, other, {
      server = true, cert = servers.dir .. "/server.pem", key = servers.dir .. "/server.key", timeout = 1 })
    same(ok, false)
    one:close() listener:close()
  end },
  { "tls listener", function()
    local listener = net.tcp_listen("127.0.0.1", 0, {
      tls = { cert = servers.dir .. "/server.pem", key = servers.dir .. "/server.key" }, handshake_timeout = 1 })
    local one = net.tcp("127.0.0.1", listener.local_port, { timeout = TIME })
    one:send_all("no handshake\n")
    local ok, err = pcall(listener.accept, listener, { timeout = 0.2 })
    same(ok, false)
    one:close() listener:close()
    error(err, 0)
  end },
  { "refused certificate", function()
    local ok, err = pcall(net.ssl, "localhost", servers.expired, ca)
    same(ok, false)
    error(err, 0)
  end },
  { "resolve", function()
    local found = net.resolve("www.spec.test", "a", { server = "127.0.0.1:" .. servers.dns, timeout = TIME })
    same(found[1], "192.0.2.1")
    local large = net.resolve("large.spec.test", "txt", { server = "127.0.0.1:" .. servers.dns, timeout = TIME })
    same(#large, 5)
  end },
  { "system's names", function()
    same(#net.resolve("localhost") > 0, true)
    net.tcp("localhost", servers.http, { timeout = TIME }):close()
  end },
  { "fetch", function()
    same(net.fetch(http .. "/hello", { timeout = TIME }).body, "hello\n")
    same(net.fetch(http .. "/files/1m", { timeout = TIME }).body, MORE)
    same(net.fetch(https .. "/files/1m", ca).body, MORE)
    same(net.fetch(http .. "/chunked", { timeout = TIME }).body, "first\nsecond\n" .. ("0123456789abcdef"):rep(3000))
    same(net.fetch(http .. "/gzip", { timeout = TIME }).body, FILE)
  end },
  { "redirects", function()
    same(net.fetch(http .. "/hops/aaa", { timeout = TIME }).body, "arrived")
    same(net.fetch(http .. "/latin1", { timeout = TIME }).text(), "café\n")
  end },
  { "json", function()
    same(net.fetch(http .. "/json", { timeout = TIME }).json().list[2], 2.5)
    same(net.fetch(http .. "/echo", { timeout = TIME, method = "POST", body_json = { a = { 1, 2 } } }).body, '{"a":[1,2]}')
  end },
  { "bodies", function()
    local function post(more) return net.fetch(http .. "/echo", with(more)).body end
    same(post{ method = "POST", body = MORE }, MORE)
    same(post{ method = "POST", body_file = servers.dir .. "/files/64k" }, FILE)
    same(post{ method = "POST", body_form = { a = "b c" } }, "a=b+c")
    same(post{ method = "POST", body_multipart = { f = FILE } }:find(FILE, 1, true) ~= nil, true)
    local left = 3
    net.fetch(http .. "/echo", { timeout = TIME, method = "POST", body = function() left = left - 1 return left > 0 and "piece" or nil end })
  end },
  { "streams", function()
    local r = net.fetch(https .. "/files/64k", with{ stream = true })
    local got = {}
    for piece in r:chunks() do got[#got + 1] = piece end
    same(table.concat(got), FILE)
    r = net.fetch(http .. "/files/64k", { stream = true, timeout = TIME })
    local lines = 0
    for _ in r:lines() do lines = lines + 1 end
    same(lines > 100, true)
  end },
  { "client", function()
    local client = net.http.client.new(with{ cookies = true, auth = { "user", "s3cret" } })
    same(client:get(http .. "/cookies").status, 200)
    same(client:get(https .. "/basic").body, FILE)
    local jail = client:jail("127.0.0.1")
    same(jail.fetch(http .. "/hello").body, "hello\n")
    client:close()
  end },
  { "fetch_all", function()
    local client, list = net.http.client.new(ca), {}
    for i = 1, 8 do list[i] = i % 2 == 0 and http .. "/files/64k" or https .. "/files/64k" end
    for _, r in ipairs(client:fetch_all(list)) do
      if not r.class then same(r.body, FILE) end
    end
  end },
  { "proxies", function()
    for _, proxy in ipairs{ "http://127.0.0.1:" .. servers.proxy.http, "socks5://127.0.0.1:" .. servers.proxy.socks } do
      same(net.fetch(http .. "/hello", { proxy = proxy, timeout = TIME }).body, "hello\n")
      same(net.fetch(https .. "/files/64k", with{ proxy = proxy }).body, FILE)
    end
  end },
  { "guard", function()
    local guard = net.http.guard{ allow_private = true,
      rules = { host = "127.0.0.1", https_only = false, ports = { servers.http }, routes = { path = "/files/:name([0-9]+k)" } } }
    same(guard.fetch(http .. "/files/64k", { timeout = TIME }).body, FILE)
    local ok = pcall(guard.fetch, http .. "/hello")
    same(ok, false)
  end },
  { "websocket", function()
    local ws = net.websocket("ws://127.0.0.1:" .. servers.websocket.ws .. "/echo", { timeout = TIME })
    ws:send(FILE)
    same((ws:recv()), FILE)
    ws:close()
  end },
  { "events", function()
    local events = net.events(http .. "/events", { timeout = TIME })
    same(events:next().data, "one")
    events:close()
  end },
  { "narrow and revoke", function()
    local less = net.narrow{ "--allow-net=127.0.0.1" }
    same(less.allows("127.0.0.1", 80), true)
    less.revoke()
    same((pcall(less.fetch, http .. "/hello")), false)
  end },
}

local bad = 0
for _, act in ipairs(ACTS) do
  if not only or act[1] == only then
    local ok, err = pcall(act[2])
    local word = "ok"
    if not ok and getmetatable(err) == WRONG then
      bad, word = bad + 1, "WRONG: " .. tostring(err.got):sub(1, 60) .. ", not " .. tostring(err.expected):sub(1, 60)
    elseif not ok then
      word = tostring(err)
    end
    io.write(act[1], ": ", word, "\n")
  end
end
print("done")
if bad > 0 then os.exit(3) end
