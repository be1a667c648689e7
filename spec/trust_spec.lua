-- Contract 2 (--ca) and 4: whom TLS believes, which certificates and keys it takes, and what it says where it does not.
-- Everything is made by openssl, as its users make it.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local quote, read = process.quote, process.read

local dir = os.tmpname()
os.remove(dir)

local function at(name) return dir .. "/" .. name end

-- A shell script, run in the directory; what it writes.
local function sh(script)
  local p = process.start("sh -c " .. quote("set -e; cd " .. quote(dir) .. "; { " .. script .. "\n} 2>&1"))
  return p:rest()
end

local made = [[
  mkdir -p .
  ec() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:$2 -out $1.key; }
  rsa() { openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:$2 -out $1.key; }
  # own NAME OPTIONS…: a certificate that signs itself, as `openssl req -x509` makes it (CA:TRUE)
  own() { name=$1; shift; openssl req -x509 -new -key $name.key -out $name.pem -days 3 "$@"; }
  # by CA NAME EXTENSIONS OPTIONS…
  by() {
    ca=$1 name=$2 ext=$3; shift 3
    openssl req -new -key $name.key -subj /CN=localhost -out $name.csr
    printf "%b" "$ext" >$name.ext
    openssl x509 -req -in $name.csr -CA $ca.pem -CAkey $ca.key -set_serial 7 -days 3 -extfile $name.ext -out $name.pem "$@"
  }
  san="subjectAltName=DNS:localhost,IP:127.0.0.1"
  ec alone P-256; own alone -subj /CN=localhost -addext $san
  ec other P-256; own other -subj /CN=localhost -addext $san
  ec named P-256; own named -subj /CN=localhost
  ec star P-256; own star -subj "/CN=*.spec.example"
  ec away P-256; own away -subj /CN=localhost -addext subjectAltName=DNS:elsewhere.example
  ec root P-256; own root -subj /CN=root
  ec p521 P-521; own p521 -subj /CN=localhost -addext $san
  ec client521 P-521; own client521 -subj /CN=client -addext extendedKeyUsage=clientAuth
  openssl genpkey -algorithm ED448 -out ed448.key; own ed448 -subj /CN=localhost -addext $san
  ec long P-256; by root long "$san\n" -sha512
  ec odd P-256; by root odd "$san\n" -sha224
  ec short P-256; by root short "$san\n"
  rsa weak 1024; by root weak "$san\n"
  rsa weakca 1024; own weakca -subj /CN=weakca
  ec below P-256; by weakca below "$san\n"
  ec old P-256; openssl req -new -key old.key -subj /CN=localhost -out old.csr
  v1=; openssl x509 -help 2>&1 | grep -q x509v1 && v1=-x509v1
  openssl x509 -req $v1 -in old.csr -CA root.pem -CAkey root.key -set_serial 8 -days 3 -out old.pem
  openssl x509 -in old.pem -noout -text | grep -q "Version: 1"
  openssl x509 -in root.pem -trustout -addtrust serverAuth -setalias "a name" -out trusted.pem
  openssl x509 -in root.pem -trustout -addtrust clientAuth -out clients.pem
  openssl x509 -in root.pem -trustout -addreject serverAuth -out rejected.pem
  openssl x509 -in short.pem -trustout -addreject serverAuth -out shown.pem
  seal() { openssl pkcs8 -topk8 -in client.key -passout pass:s3cret "$@"; }
  ec client P-256; by root client "extendedKeyUsage=clientAuth\n"
  seal -out pkcs8.key
  seal -v2 aes128 -v2prf hmacWithSHA512 -iter 20000 -out sha512.key
  seal -v2 des3 -v2prf hmacWithSHA1 -out des3.key
  seal -scrypt -out scrypt.key
  openssl ec -in client.key -aes256 -passout pass:s3cret -out sec1.key
  openssl ec -in client.key -aes192 -passout pass:s3cret -out sec1-192.key
  openssl ec -in client.key -des3 -passout pass:s3cret -out sec1-des.key
  seal -v2 camellia-256-cbc -out camellia.key
  rsa rsaclient 2048; by root rsaclient "extendedKeyUsage=clientAuth\n"
  openssl rsa -in rsaclient.key -traditional -aes128 -passout pass:s3cret -out rsa.key
  cat client.pem pkcs8.key >both.pem
  openssl pkcs8 -topk8 -in short.key -passout pass:s3cret -out server.key
  echo made
]]

local function s_server(name, arguments)
  local p = process.start("openssl s_server -accept 127.0.0.1:0 -cert " .. at(name .. ".pem") .. " -key " .. at(name .. ".key")
    .. " -rev " .. (arguments or "") .. " 2>&1")
  p.port = tonumber((p:expect("^ACCEPT .-:(%d+)$")))
  return p
end

-- A connection that works: a line comes back reversed.
local function works(host, port, options)
  local s = net.ssl(host, port, options)
  s:send_all("abc\n")
  assert.equal("cba\n", s:recv_line())
  s:close()
end

--- A listener with these options of TLS shows a certificate that OpenSSL believes by `authority`: a line of its arrives.
local function serves(tls, authority)
  local listener = net.tcp_listen("127.0.0.1", 0, { tls = tls })
  local p = process.start("sh -c " .. quote("echo hello | openssl s_client -connect 127.0.0.1:" .. listener.local_port .. " -CAfile "
    .. (authority or at("root.pem")) .. " -verify_return_error -quiet -ign_eof 2>&1"))
  local s = listener:accept{ timeout = 20 }
  assert.equal("hello\n", s:recv_line{ timeout = 20 })
  s:close()
  listener:close()
  p:rest()
end

-- The keys that this build can use, in its own words: what it says of one that nobody can.
local function keys()
  local key = process.start("openssl genpkey -algorithm ED448"):rest()
  local _, err = pcall(net.tcp_listen, "127.0.0.1", 0, { tls = { cert = read(servers.server.cert), key = key } })
  return (assert(tostring(err):match("cannot be used %((.-) can%)"), tostring(err)))
end

describe("trust", function()
  setup(function()
    assert(os.execute("mkdir " .. quote(dir)))
    local said = sh(made)
    assert(said:find("made\n$"), said)
  end)

  teardown(function() os.execute("rm -r " .. quote(dir)) end)

  wire.watch(before_each, after_each)

  describe("a certificate in ca_bundle itself", function()
    it("is trusted as it is, with CA:TRUE", function()
      local p = s_server("alone")
      for _, host in ipairs{ "localhost", "127.0.0.1" } do works(host, p.port, { ca_bundle = at("alone.pem") }) end
      -- Beside others, as text.
      works("localhost", p.port, { ca_bundle = read(servers.ca) .. read(at("alone.pem")) })
      p:kill()
    end)

    it("is trusted without the authority that made it", function()
      local p = s_server("short")
      works("localhost", p.port, { ca_bundle = at("short.pem") })
      p:kill()
    end)

    local rows = {
      { "is still for its own names", "away", "away", "not for localhost: it is for elsewhere.example" },
      { "needs a name that is not the common one", "named", "named", "names no host at all" },
      { "is not another one with the same names", "alone", "other", "certificate" },
      { "has no name in version 1", "old", "old", "names no host at all" },
    }
    for _, row in ipairs(rows) do
      it(row[1], function()
        local p = s_server(row[2])
        local err = fails.with("network/tls", net.ssl, "localhost", p.port, { ca_bundle = at(row[3] .. ".pem") })
        p:kill()
        assert.truthy(err.message:find(row[4], 1, true), err.message)
      end)
    end

    it("is a client's, in client_ca", function()
      local mine = net.narrow{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
      local tls = { cert = read(at("alone.pem")), key = read(at("alone.key")), client_ca = read(at("other.pem")) }
      local listener = mine.tcp_listen("127.0.0.1", 0, { tls = tls })
      local p = process.start("sh -c " .. quote("echo hello | openssl s_client -connect 127.0.0.1:" .. listener.local_port .. " -cert "
        .. at("other.pem") .. " -key " .. at("other.key") .. " -quiet -ign_eof 2>&1"))
      local s = listener:accept{ timeout = 20 }
      assert.equal("hello\n", s:recv_line{ timeout = 20 })
      s:close()
      listener:close()
      p:rest()
      mine.revoke()
    end)
  end)

  describe("says", function()
    local rows = {
      { "which signature it does not take", "odd", "root", "signed by ECDSA with SHA-224, a signature algorithm that is not accepted" },
      { "which signatures it takes", "odd", "root", "ECDSA P-256 with SHA-256" },
      { "that a key is too short", "weak", "root", "the key of the certificate is RSA of 1024 bits", "-cipher ALL:@SECLEVEL=0" },
      { "that an authority's key is too short", "below", "weakca", "an authority in the chain has an RSA key of 1024 bits" },
      { "that a certificate is of version 1", "old", "root", "not of version 3" },
      { "which keys it takes", "ed448", "ed448", "ECDSA P-256" },
    }
    for _, row in ipairs(rows) do
      it(row[1], function()
        local p = s_server(row[2], row[5])
        local err = fails.with("network/tls", net.ssl, "localhost", p.port, { ca_bundle = at(row[3] .. ".pem") })
        p:kill()
        assert.truthy(err.message:find(row[4], 1, true), err.message)
      end)
    end
  end)

  -- What a small build lacks: there each row is refused, in words that name it.
  describe("P-521", function()
    local can = keys():find("ECDSA P-521", 1, true)

    -- A connection, or why there is none.
    local function attempt(host, port, options, words)
      if can then return works(host, port, options) end
      local err = fails.with("network/tls", net.ssl, host, port, options)
      assert.truthy(err.message:find(words, 1, true), err.message)
    end

    it("is a server's key", function()
      local p = s_server("p521")
      attempt("localhost", p.port, { ca_bundle = at("p521.pem") }, "ECDSA P-256")
      p:kill()
    end)

    it("is a client's key", function()
      local p = s_server("short", "-Verify 1 -verify_return_error -CAfile " .. at("client521.pem"))
      local options = { ca_bundle = at("root.pem"), client_cert = at("client521.pem"), client_key = at("client521.key") }
      if can then
        works("localhost", p.port, options)
      else
        local ok, err = pcall(net.ssl, "localhost", p.port, options)
        assert.is_false(ok)
        assert.truthy(tostring(err):find("client_key: the private key is ECDSA P-521, which cannot be used", 1, true), tostring(err))
      end
      p:kill()
    end)

    it("is a listener's key", function()
      local tls = { cert = at("p521.pem"), key = at("p521.key") }
      if not can then
        local ok, err = pcall(net.tcp_listen, "127.0.0.1", 0, { tls = tls })
        assert.is_false(ok)
        assert.truthy(tostring(err):find("ECDSA P-521, which cannot be used", 1, true), tostring(err))
        return
      end
      serves(tls, at("p521.pem"))
    end)

    it("goes with signatures by SHA-512", function()
      local p = s_server("long")
      attempt("localhost", p.port, { ca_bundle = at("root.pem") }, "signed by ECDSA with SHA-512, a signature algorithm that is not accepted")
      p:kill()
    end)
  end)

  describe("TRUSTED CERTIFICATE", function()
    it("is an authority", function()
      local p = s_server("short")
      works("localhost", p.port, { ca_bundle = at("trusted.pem") })
      p:kill()
    end)

    it("is none where its own settings say so", function()
      for _, name in ipairs{ "clients", "rejected" } do
        local ok, err = pcall(net.ssl, "localhost", 1, { ca_bundle = at(name .. ".pem") })
        assert.is_false(ok)
        assert.truthy(tostring(err):find("certificate 1 is not trusted for servers", 1, true), tostring(err))
      end
    end)

    it("is shown, whatever its settings", function()
      serves{ cert = at("shown.pem"), key = at("short.key") }
    end)
  end)

  it("a server shows a certificate of version 1", function()
    serves{ cert = at("old.pem"), key = at("old.key") }
  end)

  describe("keys under a password", function()
    local function client(cert, key, password)
      return { ca_bundle = at("root.pem"), client_cert = at(cert), client_key = key and at(key), client_key_password = password }
    end
    local rows = {
      { "PKCS#8, as openssl makes it", "client.pem", "pkcs8.key" },
      { "PKCS#8 with AES-128 and SHA-512", "client.pem", "sha512.key" },
      { "PKCS#8 with 3DES and SHA-1", "client.pem", "des3.key" },
      { "PKCS#8 with scrypt", "client.pem", "scrypt.key" },
      { "SEC1 with AES-256", "client.pem", "sec1.key" },
      { "SEC1 with AES-192", "client.pem", "sec1-192.key" },
      { "SEC1 with 3DES", "client.pem", "sec1-des.key" },
      { "PKCS#1 with AES-128", "rsaclient.pem", "rsa.key" },
      { "in the file of the certificate", "both.pem", nil },
      { "a password for a key without one", "client.pem", "client.key" },
    }
    it("open", function()
      local p = s_server("short", "-Verify 1 -CAfile " .. at("root.pem") .. " -verify_return_error")
      for _, row in ipairs(rows) do
        local ok, err = pcall(works, "localhost", p.port, client(row[2], row[3], "s3cret"))
        assert.is_true(ok, row[1] .. ": " .. tostring(err))
      end
      p:kill()
    end)

    it("open for https too", function()
      local url = "https://localhost:" .. servers.mutual .. "/tls"
      local options = { ca_bundle = servers.ca, client_cert = servers.client.cert, client_key = at("pkcs8.key") }
      local function run(password)
        options.client_key_password = password
        return pcall(net.fetch, url, options)
      end
      -- The key is another certificate's, but it was opened.
      assert.truthy(tostring(select(2, run("s3cret"))):find("does not belong to the certificate", 1, true))
      assert.truthy(tostring(select(2, run("wrong"))):find("client_key_password: does not open the private key", 1, true))
    end)

    local refused = {
      { "without a password", "client.pem", "pkcs8.key", nil, "give its password as client_key_password" },
      { "without a password, in the older form", "client.pem", "sec1.key", nil, "give its password as client_key_password" },
      { "with another password", "client.pem", "pkcs8.key", "s3cret2", "client_key_password: does not open the private key" },
      { "with another password, in the older form", "client.pem", "sec1.key", "s3cret2", "client_key_password: does not open" },
      { "with no password to speak of", "client.pem", "scrypt.key", "", "client_key_password: does not open the private key" },
      { "by a method that is not there", "client.pem", "camellia.key", "s3cret", "by a method that is not offered" },
    }
    for _, row in ipairs(refused) do
      it("stay shut " .. row[1], function()
        local ok, err = pcall(net.ssl, "localhost", 1, client(row[2], row[3], row[4]))
        assert.is_false(ok)
        assert.truthy(tostring(err):find(row[5], 1, true), tostring(err))
        assert.falsy(tostring(err):find("s3cret", 1, true))
      end)
    end

    it("are told apart by their passwords", function()
      -- What was opened once is not opened for who does not know the password.
      local p = s_server("short", "-Verify 1 -CAfile " .. at("root.pem") .. " -verify_return_error")
      works("localhost", p.port, client("client.pem", "pkcs8.key", "s3cret"))
      for _, password in ipairs{ "s3cret2", "" } do
        assert.is_false(pcall(net.ssl, "localhost", p.port, client("client.pem", "pkcs8.key", password)))
      end
      assert.is_false(pcall(net.ssl, "localhost", p.port, client("client.pem", "pkcs8.key")))
      p:kill()
    end)

    it("serve", function()
      local tls = { cert = at("short.pem"), key = at("server.key"), key_password = "s3cret" }
      serves(tls)
      for password, words in pairs{ [""] = "key_password: does not open", [false] = "give its password as key_password" } do
        tls.key_password = password or nil
        local ok, err = pcall(net.tcp_listen, "127.0.0.1", 0, { tls = tls })
        assert.is_false(ok)
        assert.truthy(tostring(err):find(words, 1, true), tostring(err))
      end
    end)
  end)

  it("a key that cannot be used is named", function()
    for name, words in pairs{ ed448 = "Ed448, which cannot be used", weak = "RSA of 1024 bits, which cannot be used" } do
      local tls = { cert = at(name .. ".pem"), key = at(name .. ".key") }
      local ok, err = pcall(net.tcp_listen, "127.0.0.1", 0, { tls = tls })
      assert.is_false(ok)
      assert.truthy(tostring(err):find(words, 1, true), tostring(err))
    end
  end)

  it("a bundle that is cut is none", function()
    local whole = read(at("root.pem"))
    for _, text in ipairs{ whole .. whole:sub(1, 200), whole:sub(1, 200) .. "\n" .. whole } do
      local ok, err = pcall(net.ssl, "localhost", 1, { ca_bundle = text })
      assert.is_false(ok)
      assert.truthy(tostring(err):find("ca_bundle: the PEM ends in the middle of a section", 1, true), tostring(err))
    end
  end)

  describe("--ca", function()
    -- Runs in an interpreter of its own, with a server of the root's; `flags` is what `launch` is given.
    local function run(launched, code)
      local p = s_server("short")
      local said = child.run(([[
        local ROOT, PORT = %q, %d
        local ok, net = pcall(launch, %s)
        if not ok then print(net) os.exit() end
        local function works(net, options)
          local ok, err = pcall(function()
            local s = net.ssl("localhost", PORT, options)
            s:send_all("abc\n")
            local line = s:recv_line()
            s:close()
            return line
          end)
          return ok or err
        end
        %s]]):format(at("root.pem"), p.port, launched, code))
      p:kill()
      return said
    end
    local show = [[print(works(net))]]
    local rows = {
      { "a flag", [[{ "--allow-net=localhost", "--ca=" .. ROOT }]] },
      { "two flags", ([[{ "--ca=%s", "--allow-net=localhost", "--ca=" .. ROOT }]]):format(servers.other_ca) },
      { "a table", [[{ allow_net = { "localhost" }, ca = ROOT }]] },
      { "text", [[{ allow_net = { "localhost" }, ca = io.open(ROOT):read("*a") }]] },
      { "a list", ([[{ allow_net = { "localhost" }, ca = { %q, ROOT } }]]):format(servers.other_ca) },
      { "beside flags", [[{ "--allow-net=localhost", ca = ROOT }]] },
      { "where files are not read", [[{ "--allow-net=localhost", "--ca=" .. ROOT, files = false }]] },
    }
    for _, row in ipairs(rows) do
      it("is believed: " .. row[1], function() assert.equal("true", run(row[2], show)) end)
    end

    it("is not believed where nobody says so", function()
      assert.truthy(run([[{ "--allow-net=localhost" }]], show):find("issuer is unknown", 1, true))
    end)

    it("has no say where a ca_bundle is named", function()
      local said = run([[{ "--allow-net=localhost", "--ca=" .. ROOT }]], ([[print(works(net, { ca_bundle = io.open(%q):read("*a") }))]])
        :format(servers.other_ca))
      assert.truthy(said:find("issuer is unknown", 1, true), said)
    end)

    it("goes along with a narrowed network, which cannot have its own", function()
      local flags = [[{ "--allow-net=localhost", "--ca=" .. ROOT }]]
      assert.equal("true", run(flags, [[print(works(net.narrow{ "--allow-net=localhost" }))]]))
      local said = run(flags, [[print(pcall(net.narrow, { "--allow-net=localhost", "--ca=" .. ROOT }))]])
      assert.truthy(said:find("^false.*narrowed"), said)
      assert.truthy(run(flags, [[print(pcall(net.narrow, { allow_net = { "localhost" }, ca = ROOT }))]]):find("^false"))
      -- It is no grant.
      assert.equal("--allow-net=localhost", run(flags, [[print(table.concat(net.grants(), " "))]]))
    end)

    it("counts for https and the drop-in", function()
      local said = run([[{ "--allow-net=localhost", "--ca=" .. ROOT, ca = nil }]], [[
        local ok, err = pcall(net.fetch, "https://localhost:" .. PORT .. "/", { timeout = 10 })
        -- What the server answers is no HTTP, but it was believed.
        print(err.class:match("[^/]*$"))
        require("caspian.net.compat").install(net)
        local c = assert(require("socket").connect("localhost", PORT))
        c = assert(require("ssl").wrap(c, { mode = "client", protocol = "any", verify = "peer" }))
        c:sni("localhost")
        print(c:dohandshake())
        c:close()]])
      assert.equal("protocol\ntrue", said)
    end)

    local wrong = {
      { [[{ "--allow-net", "--ca=" }]], "%-%-ca=.*empty" },
      { [[{ "--allow-net", "--ca" }]], "%-%-ca: the value is missing" },
      { [[{ "--allow-net", "--ca=/nowhere/ca.pem" }]], "%-%-ca=/nowhere/ca%.pem: there is no such file" },
      { [[{ "--allow-net", "--ca=/" }]], "%-%-ca=/: " },
      { [[{ "--allow-net", "--ca=/etc/hosts" }]], "%-%-ca=/etc/hosts: no certificate found" },
      { [[{ allow_net = true, ca = 3 }]], "ca must be a path or PEM text" },
      { [[{ allow_net = true, ca = "" }]], "empty" },
      { [[{ allow_net = true, ca = { ROOT, 3 } }]], "ca" },
      { [[{ allow_net = true, ca = io.open(ROOT):read("*a"):sub(1, 200) }]], "ca: the PEM ends in the middle" },
    }
    for _, row in ipairs(wrong) do
      it("is a mistake: " .. row[1], function()
        local said = run(row[1], show)
        assert.truthy(said:find(row[2]), said)
      end)
    end
  end)

  -- These mount other files, in a namespace of their own.
  local mounted = child.can_mount() and it or pending
  local STORE = "ssl/certs/ca-certificates.crt"

  local function with_store(text, code)
    local p = s_server("short")
    local said = child.run_with({ [STORE] = text }, ([[
      local ROOT, PORT = %q, %d
      local net = launch{ "--allow-net=localhost" }
      local function works()
        local plain = net.tcp("localhost", PORT)
        return function()
          local ok, err = pcall(function() plain:starttls():close() end)
          return ok and "true" or err.message
        end
      end
      %s]]):format(at("root.pem"), p.port, code))
    p:kill()
    return said
  end

  -- Takes what descriptors there are.
  local EXHAUST = [[
    local open = {}
    local function exhaust() while true do local f = io.open("/dev/null") if not f then return end open[#open + 1] = f end end
    local function release() for i = #open, 1, -1 do open[i]:close() open[i] = nil end end
  ]]

  mounted("a store that cannot be opened is an error of that call, and read by the next", function()
    local said = with_store(read(at("root.pem")), EXHAUST .. [[
      local first, second = works(), works()
      exhaust()
      print(first())
      release()
      print(second())]])
    local first, second = said:match("^(.-)\n(.*)$")
    assert.truthy(first:find("the machine's trust store cannot be read (/etc/ssl/certs/ca-certificates.crt: Too many open files", 1, true), said)
    assert.equal("true", second)
  end)

  mounted("a store that is cut is not the store", function()
    local whole = read(at("root.pem"))
    for _, text in ipairs{ whole .. whole:sub(1, 200), whole:sub(1, 200) } do
      local said = with_store(text, [[print(works()())]])
      assert.truthy(said:find("trust store cannot be read (/etc/ssl/certs/ca-certificates.crt: the PEM ends in the middle", 1, true), said)
    end
  end)

  mounted("the drop-in says so too, and reads it again", function()
    local said = with_store(read(at("root.pem")), EXHAUST .. [[
      require("caspian.net.compat").install(net)
      local socket, ssl = require("socket"), require("ssl")
      local cfg = { mode = "client", protocol = "any", verify = "peer" }
      local function conn()
        local c = assert(ssl.wrap(assert(socket.connect("localhost", PORT)), cfg))
        c:sni("localhost")
        c:settimeout(20)
        return c
      end
      local first, second = conn(), conn()
      exhaust()
      print(first:dohandshake())
      cfg.cafile = "/etc/ssl/certs"
      local context, why = ssl.newcontext(cfg)
      release()
      print(context, why)
      print(second:dohandshake())
      first:close()
      second:close()]])
    local lines = {}
    for line in said:gmatch("[^\n]+") do lines[#lines + 1] = line end
    assert.equal("false\tissuer certificate lookup error", lines[1])
    assert.truthy(lines[2]:find("error loading CA locations (the machine's trust store cannot be read", 1, true), said)
    assert.equal("true", lines[3])
  end)
end)
