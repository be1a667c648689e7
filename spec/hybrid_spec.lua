-- Contract 4: post-quantum key exchange is offered first, against an OpenSSL that has it; and what is spoken where one end has not.

local net = require("spec.support.subject").net
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

-- What this build has, as its own drop-in says: a small one has no hybrid groups.
local hybrid = require("spec.support.rows").install(net)("ssl.config").curves.X25519MLKEM768
local first = hybrid and "X25519MLKEM768" or "X25519"

local function start(words)
  assert(servers.hybrid, "no Python with pyOpenSSL over OpenSSL 3.5 or newer (./test install fetches it)")
  return process.start(servers.hybrid .. " " .. words .. " 2>&1")
end

local function server(options)
  options.cert, options.key = servers.server.cert, servers.server.key
  return net.tcp_listen("127.0.0.1", 0, { tls = options })
end

describe("post-quantum", function()
  wire.watch(before_each, after_each)

  it("key exchange is hybrid with a server that has it, from the first flight", function()
    local p = start("server " .. process.quote(servers.server.cert) .. " " .. process.quote(servers.server.key))
    local port = tonumber((p:expect("^port (%d+)$")))
    for _ = 1, 2 do
      local s = net.ssl("localhost", port, { ca_bundle = servers.ca })
      assert.equal(first, s:group())
      -- OpenSSL writes the classical names in lower case.
      assert.equal(first:lower(), s:recv_line():lower():match("^(.-)\n$"))
      s:send_all("abc\n")
      assert.equal("cba\n", s:recv_line())
      s:close()
    end
    p:kill()
  end)

  it("key exchange is hybrid with a client that has it", function()
    local listener = server{}
    local p = start("client " .. listener.local_port .. " " .. process.quote(servers.ca))
    local s = listener:accept{ timeout = 20 }
    assert.equal("hello\n", s:recv_line{ timeout = 20 })
    assert.equal(first, s:group())
    s:send_all("welcome\n")
    assert.equal(first:lower() .. " welcome", p:line():lower())
    s:close()
    listener:close()
    p:rest()
  end)

  it("certificates of ML-DSA are taken both ways", function()
    local dir = os.tmpname()
    os.remove(dir)
    assert(os.execute("mkdir " .. process.quote(dir)))
    assert.equal("", (start("mldsa " .. process.quote(dir)):rest()))
    local cert, key, root = dir .. "/leaf.pem", dir .. "/leaf.key", process.read(dir .. "/root.pem")
    local p = start("server " .. process.quote(cert) .. " " .. process.quote(key))
    local port = tonumber((p:expect("^port (%d+)$")))
    local ok, s = pcall(net.ssl, "localhost", port, { ca_bundle = root })
    local listening, listener = pcall(net.tcp_listen, "127.0.0.1", 0, { tls = { cert = cert, key = key } })
    if hybrid then
      assert.is_true(ok, tostring(s))
      assert.equal(first, s:group())
      s:close()
      assert.is_true(listening, tostring(listener))
      local client = start("client " .. listener.local_port .. " " .. process.quote(dir .. "/root.pem"))
      local accepted = listener:accept{ timeout = 20 }
      assert.equal("hello\n", accepted:recv_line{ timeout = 20 })
      accepted:send_all("welcome\n")
      assert.truthy(client:line():find("welcome$"))
      accepted:close()
      listener:close()
      client:rest()
    else
      assert.is_true(not ok and s:is("network/tls"), tostring(s))
      assert.is_false(listening)
      assert.truthy(tostring(listener):find("the private key is ML-DSA-65, which cannot be used", 1, true), tostring(listener))
    end
    p:kill()
    os.execute("rm -r " .. process.quote(dir))
  end)

  it("key exchange is classical where the server has nothing else", function()
    local s = net.ssl("localhost", servers.tls12, { ca_bundle = servers.ca })
    assert.equal("TLSv1.2", s:protocol())
    assert.truthy(({ X25519 = true, secp256r1 = true })[s:group()], s:group())
    s:close()
  end)
end)
