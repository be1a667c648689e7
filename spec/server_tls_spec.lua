-- Contract 9: TLS of a server by the name that a client asks for: certificates, client_ca, ALPN and versions. Clients are OpenSSL's.

local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local serving = require("spec.support.serving")

local directory = os.getenv("CASPIAN_SERVERS"):match("^(.*)/")

local function pair(name, more)
  local all = { cert = directory .. "/" .. name .. ".pem", key = directory .. "/" .. name .. ".key" }
  for key, value in pairs(more or {}) do all[key] = value end
  return all
end

local CLIENT = ("--cert %s/client.pem --key %s/client.key"):format(directory, directory)

describe("http server over TLS", function()
  serving.watch(before_each, after_each)

  --- Asks by curl: what it said, and the requests that the server was asked.
  local function ask(server, host, arguments)
    local path, seen = os.tmpname(), {}
    local client = process.start((
      "sh -c 'curl -sS --max-time 10 --cacert %s --resolve %s:%d:127.0.0.1 https://%s:%d/ -w %%{http_code} %s >%s.new 2>&1; mv %s.new %s'"):format(
      servers.ca, host, server.local_port, host, server.local_port, arguments or "", path, path, path))
    local ended = os.time() + 15
    while process.read(path) == "" do
      assert(os.time() < ended, "too late")
      local ok, request = pcall(server.accept, server, { timeout = 0.05 })
      if ok and request then
        seen[#seen + 1] = request.tls
        request:respond(200, nil, request.tls.peer_cert and request.tls.peer_cert.subject or "nobody")
      end
    end
    client:rest()
    local text = process.read(path)
    os.remove(path)
    return text, seen[1]
  end

  it("asks the clients of one name for a certificate, and those of another for none", function()
    for _, order in ipairs{ { 1, 2 }, { 2, 1 } } do
      local both = { pair("server"), pair("rich", { client_ca = servers.ca }) }
      local _, server = serving.open{ tls = { both[order[1]], both[order[2]] } }
      assert.equal("nobody200", (ask(server, "localhost")))
      local text = ask(server, "rich.example")
      assert.truthy(text:find("curl: (", 1, true) and text:find("000", 1, true), text)
      text = ask(server, "RICH.example", CLIENT)
      assert.truthy(text:find("a client", 1, true), text)
      text = ask(server, "a.rich.example", CLIENT)
      assert.truthy(text:find("a client", 1, true), text)
      -- By the name that asks for nothing one does not get to the other.
      text = ask(server, "localhost", "-H \"Host: rich.example\"")
      assert.truthy(text:find("421$"), text)
      text = ask(server, "localhost", "-H \"Host: RICH.Example.:7\"")
      assert.truthy(text:find("421$"), text)
      text = ask(server, "localhost", "-H \"Host: a.rich.example\"")
      assert.truthy(text:find("421$"), text)
      server:close()
    end
  end)

  it("has ALPN and versions by name", function()
    local _, server = serving.open{ tls = {
      pair("server", { alpn = { "http/1.1" } }), pair("rich", { alpn = { "other", "http/1.1" }, protocols = { "TLSv1.2" } }),
    } }
    local _, tls = ask(server, "localhost", "--http1.1")
    assert.same({ "TLSv1.3", "http/1.1", "localhost" }, { tls.protocol, tls.alpn, tls.sni })
    _, tls = ask(server, "rich.example", "--http1.1")
    assert.same({ "TLSv1.2", "http/1.1", "rich.example" }, { tls.protocol, tls.alpn, tls.sni })
    -- Another name, and none, are the first's.
    local text = ask(server, "other.example", "-k")
    assert.equal("nobody200", text)
    text = ask(server, "rich.example", "--tlsv1.3")
    assert.truthy(text:find("000", 1, true), text)
  end)

  it("takes other ones for connections from then on", function()
    local _, server = serving.open{ tls = { pair("server"), pair("rich", { client_ca = servers.ca }) } }
    assert.truthy(ask(server, "rich.example"):find("000", 1, true))
    server:reload_tls{ pair("server", { client_ca = servers.ca }), pair("rich") }
    assert.equal("nobody200", (ask(server, "rich.example")))
    assert.truthy(ask(server, "localhost"):find("000", 1, true))
    for _, wrong in ipairs{ {}, { pair("nothing") }, { pair("server"), 5 }, { pair("server", { client_ca = "nothing" }) }, { cert = "x" } } do
      assert.is_false(pcall(server.reload_tls, server, wrong))
    end
    -- What was wrong has changed nothing.
    assert.equal("nobody200", (ask(server, "rich.example")))
  end)

  it("reads a hello in pieces, and lets what is none go", function()
    local _, server = serving.open{ handshake_timeout = 2, tls = { pair("server"), pair("rich", { client_ca = servers.ca }) } }
    -- A hello of OpenSSL's, passed on byte by byte.
    local p = peer.tcp(([[
      local c = accept()
      local s = socket.tcp4()
      s:connect("127.0.0.1", %d)
      s:setoption("tcp-nodelay", true)
      c:settimeout(0) s:settimeout(0)
      local open = true
      while open do
        for _, from in ipairs((socket.select({ c, s }, nil, 10))) do
          local to = from == c and s or c
          local bytes, why, rest = from:receive(from == c and 1 or 4096)
          bytes = bytes or rest
          if bytes and bytes ~= "" then to:settimeout(10) to:send(bytes) to:settimeout(0) end
          if why == "closed" then open = false end
        end
      end
    ]]):format(server.local_port))
    local client = process.start(("sh -c 'printf \"GET / HTTP/1.1\\r\\nHost: rich.example\\r\\nConnection: close\\r\\n\\r\\n\" | "
      .. "openssl s_client -quiet -connect 127.0.0.1:%d -servername rich.example -cert %s/client.pem -key %s/client.key 2>/dev/null'")
      :format(p.port, directory, directory))
    local request = server:accept()
    assert.truthy(request.tls.peer_cert)
    request:respond(200, nil, "in pieces")
    pcall(server.accept, server, { timeout = 0.1 })
    assert.truthy(client:rest():find("in pieces", 1, true))
    p.process:kill()
    for _, bytes in ipairs{
      serving.get("/"), "\22\3\1\0\5hello", "\22\3\1\0\0", ("\22\3\1\0\1\1"):rep(100), "\22\3\1\255\255" .. ("x"):rep(70000), ("\0"):rep(100000), "\22",
    } do
      local stranger = serving.client(server)
      pcall(stranger.send_all, stranger, bytes, { timeout = 0.2 })
      -- It is told, or closed.
      serving.turn(server, function() return #net.poll({ stranger }, 0) > 0 end)
      stranger:close()
    end
    assert.equal("nobody200", (ask(server, "localhost")))
  end)
end)
