-- The drop-in's `ssl.newcontext`, `ssl.context` and `ssl.config`: fields, what is wrong with them, and which files they may name.

local net = require("spec.support.subject").net
local prelude = require("spec.support.tls_rows")
local rows = require("spec.support.rows")
local servers = require("spec.support.servers")

local make = [[
local function new(cfg)
  local given = { mode = "client", protocol = "any" }
  for k, v in pairs(cfg) do given[k] = v end
  return modules("ssl").newcontext(given)
end
]]

local function row(name, cfg, expected, differs)
  return { name, make .. "return new" .. cfg, expected, differs }
end

local WORDS = "better words"
local MADE = "SSL context"

local FIELDS = {
  row("protocol any", "{}", MADE),
  row("protocol sslv23", "{ protocol = 'sslv23' }", MADE),
  row("protocol tlsv1_2", "{ protocol = 'tlsv1_2' }", MADE),
  row("protocol tlsv1_3", "{ protocol = 'tlsv1_3' }", MADE),
  row("protocol nope", "{ protocol = 'nope' }", [[nil "invalid protocol (nope)"]]),
  row("protocol tlsv1", "{ protocol = 'tlsv1' }", [[nil "invalid protocol (tlsv1)"]], "TLS 1.0 is not spoken"),
  row("protocol tlsv1_1", "{ protocol = 'tlsv1_1' }", [[nil "invalid protocol (tlsv1_1)"]], "TLS 1.1 is not spoken"),
  row("mode bogus", "{ mode = 'bogus' }", [[nil "invalid mode (bogus)"]], "LuaSec makes a context of it"),
  row("certificate that is not there", "{ certificate = '/nope' }",
    [[nil "error loading certificate (/nope: No such file or directory)"]], WORDS),
  row("certificate that is a key", "{ certificate = key('server') }", [[nil "error loading certificate (no start line)"]], WORDS),
  row("key that is not there", "{ key = '/nope' }", [[nil "error loading private key (it is neither PEM text nor a file that can be read)"]], WORDS),
  row("key that is a certificate", "{ key = pem('server') }", [[nil "error loading private key (no start line)"]], WORDS),
  row("a key under a password", "{ certificate = pem('server'), key = key('server-sealed'), password = 's3cret' }", MADE),
  row("a key under a password, in the older form", "{ certificate = pem('server'), key = key('server-older'), password = 's3cret' }", MADE),
  row("an RSA key under a password, in the older form", "{ certificate = pem('rsa'), key = key('rsa-older'), password = 's3cret' }", MADE),
  { "a function that is asked for the password", make .. [[
      local asked = 0
      local function password() asked = asked + 1 return "s3cret" end
      local context = new{ certificate = pem('server'), key = key('server-sealed'), password = password }
      new{ key = key('server'), password = password }
      return context ~= nil, asked ]], [[true 1]] },
  { "a function that raises", make .. [[
      return raised(new, { key = key('server-sealed'), password = function() error("no idea", 0) end }) ]], [["no idea"]] },
  row("a function that answers something else", "{ key = key('server-sealed'), password = function() return 3 end }",
    [[nil "error loading private key (bad decrypt)"]]),
  row("another password", "{ key = key('server-sealed'), password = 'wrong' }", [[nil "error loading private key (bad decrypt)"]], WORDS),
  row("another password, in the older form", "{ key = key('server-older'), password = 'wrong' }",
    [[nil "error loading private key (bad decrypt)"]], WORDS),
  row("an empty password", "{ key = key('server-sealed'), password = '' }", [[nil "error loading private key (bad decrypt)"]], WORDS),
  row("an empty password, in the older form", "{ key = key('server-older'), password = function() return '' end }",
    [[nil "error loading private key (bad decrypt)"]], WORDS),
  row("a password of many bytes", "{ key = key('server-sealed'), password = ('x'):rep(2000) }",
    [[nil "error loading private key (bad decrypt)"]], WORDS),
  row("a password with a byte of 0", "{ key = key('server-sealed'), password = 's3cret\\0x' }",
    [[nil "error loading private key (bad decrypt)"]], "C takes what stands in front of it"),
  row("a function that answers nothing", "{ key = key('server-sealed'), password = function() end }",
    [[nil "error loading private key (bad decrypt)"]], WORDS),
  row("no password for a key under one", "{ key = key('server-sealed') }", [[nil "error loading private key (bad password read)"]],
    "OpenSSL asks at the terminal"),
  row("a password for a key without one", "{ certificate = pem('server'), key = key('server'), password = 'x' }", MADE),
  row("a password that is neither", "{ key = key('server-sealed'), password = {} }", [[nil "invalid password type"]]),
  row("a certificate of version 1", "{ certificate = pem('v1'), key = key('v1') }", MADE),
  row("a TRUSTED CERTIFICATE", "{ cafile = pem('trusted') }", MADE),
  row("a cafile that is cut", "{ cafile = pem('cut') }",
    [[nil "error loading CA locations (the PEM ends in the middle of a section)"]], WORDS),
  row("a certificate and its key", "{ certificate = pem('server'), key = key('server') }", MADE),
  row("a certificate and another's key", "{ certificate = pem('server'), key = key('client') }", [[nil "private key does not match public key"]]),
  row("several pairs",
    "{ certificates = { { certificate = pem('server'), key = key('server') }, { certificate = pem('client'), key = key('client') } } }", MADE,
    "OpenSSL keeps one of each kind of key"),
  row("a password of a wrong type", "{ key = key('server'), password = 3 }", [[nil "invalid password type"]]),
  row("a password that is not needed", "{ key = key('server'), password = 'x' }", MADE),
  row("cafile that is not there", "{ cafile = '/nope' }",
    [[nil "error loading CA locations (/nope: No such file or directory)"]], WORDS),
  row("cafile without certificates", "{ cafile = key('server') }", [[nil "error loading CA locations (no certificate or crl found)"]], WORDS),
  row("capath that is not there", "{ capath = '/nope' }", MADE),
  row("the machine's store", "{ cafile = '/etc/ssl/certs/ca-certificates.crt', capath = '/etc/ssl/certs' }", MADE),
  row("ciphers", "{ ciphers = 'ALL:!ADH:@STRENGTH' }", MADE),
  row("ciphers that select nothing", "{ ciphers = 'NOPE' }", [[nil "error setting cipher list (no cipher match)"]], WORDS),
  row("ciphers that rustls lacks", "{ ciphers = 'AES256-SHA' }", [[nil "error setting cipher list (no cipher match)"]], "not offered"),
  row("ciphersuites", "{ ciphersuites = 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256' }", MADE),
  row("ciphersuites that there are not", "{ ciphersuites = 'NOPE' }", [[nil "error setting cipher list (no cipher match)"]], WORDS),
  row("verify", "{ verify = 'peer' }", MADE),
  row("verify, a list", "{ verify = { 'peer', 'client_once', 'fail_if_no_peer_cert', 'none' } }", MADE),
  row("verify nope", "{ verify = 'nope' }", [[nil "invalid verify option (nope)"]]),
  row("verify, a list with a wrong one", "{ verify = { 'peer', 'nope' } }", [[nil "invalid verify option (nope)"]]),
  row("verify, no words", "{ verify = {} }", MADE),
  row("options", "{ options = { 'all', 'no_sslv2', 'no_tlsv1', 'single_dh_use', 'cipher_server_preference' } }", MADE),
  row("options nope", "{ options = { 'all', 'nope' } }", [[nil "invalid option (nope)"]]),
  row("depth", "{ depth = 3 }", MADE),
  row("dhparam, a function", "{ dhparam = print }", MADE),
  row("dhparam of a wrong type", "{ dhparam = 3 }", [[nil "invalid DH parameter type"]]),
  row("curve", "{ curve = 'secp384r1' }", MADE),
  row("curve nope", "{ curve = 'nope' }", [[nil "elliptic curve 'nope' not supported"]]),
  row("curve that rustls lacks", "{ curve = 'secp521r1' }", [[nil "elliptic curve 'secp521r1' not supported"]], "not offered"),
  row("curveslist", "{ curveslist = 'X25519:P-521:P-384' }", MADE),
  row("curveslist with hybrid groups", "{ curveslist = 'X25519MLKEM768:SecP384r1MLKEM1024:X25519' }", MADE,
    "OpenSSL before 3.5 knows none of them"),
  row("curveslist with one that nobody knows", "{ curveslist = 'nope:P-256' }", [[nil "unknown elliptic curve in \"nope:P-256\""]]),
  row("verifyext", "{ verifyext = { 'lsec_continue', 'lsec_ignore_purpose', 'crl_check', 'crl_check_chain' } }", MADE),
  row("verifyext nope", "{ verifyext = 'nope' }", [[nil "invalid verify option (nope)"]]),
  row("alpn", "{ alpn = { 'h2', 'http/1.1' } }", MADE),
  row("alpn, one", "{ alpn = 'h2' }", MADE),
  row("alpn, none", "{ alpn = {} }", [[nil "invalid ALPN list (empty)"]]),
  row("alpn, an empty name", "{ alpn = { '' } }", [[nil "invalid ALPN name (empty string)"]]),
  row("alpn, a long name", "{ alpn = { ('x'):rep(256) } }", [[nil "invalid ALPN name (length > 255)"]]),
  row("alpn of a wrong type", "{ alpn = 3 }", [[nil "invalid ALPN parameter"]]),
  row("alpn of a server, one name", "{ mode = 'server', alpn = 'h2' }", [[nil "invalid ALPN parameter"]]),
  row("alpn of a server, a list", "{ mode = 'server', alpn = { 'h2' } }", MADE),
  row("alpn of a server, a function", "{ mode = 'server', alpn = print }", MADE),
  row("psk", "{ psk = print }", [[nil "PSK not supported"]], "LuaSec without PSK passes over it"),
  row("dane", "{ dane = {} }", [[nil "DANE not supported"]], "there is no DANE"),
  { "no version is left", [[
      return modules("ssl").wrap((pair()), { mode = "client", protocol = "tlsv1_2", options = "no_tlsv1_2" }) ]],
    [[nil "error creating SSL object (no protocols available)"]], "LuaSec says so at the handshake" },
}
local STEPS = {
  { "create", [[ local c = modules("ssl.context") return c.create("any"), c.create("nope") ]], [[SSL context nil "invalid protocol (nope)"]] },
  { "setmode", [[ local c = modules("ssl.context") return c.setmode(c.create("any"), "client") ]], [[true]] },
  { "checkkey", [[
      local c = modules("ssl.context") local x = c.create("any")
      return c.loadkey(x, key("server"), nil), c.loadcert(x, pem("server")), c.checkkey(x) ]], [[true true true]] },
  { "the certificate before its key", [[
      local c = modules("ssl.context") local x = c.create("any")
      return c.loadcert(x, pem("server")), c.checkkey(x), (c.loadkey(x, key("server"), "")), c.checkkey(x) ]], [[true false true true]] },
  { "locations", [[ local c = modules("ssl.context") return c.locations(c.create("any"), pem("ca")) ]], [[true]] },
  { "the rest answer true", [[
      local c = modules("ssl.context") local x = c.create("any")
      return c.setcipher(x, "HIGH"), c.setciphersuites(x, "TLS_AES_128_GCM_SHA256"), c.setcurve(x, "prime256v1"), c.setcurveslist(x, "P-256"),
        c.setdepth(x, 2), c.setverify(x, "peer"), c.setoptions(x, "all"), c.setalpn(x, "\2h2"), c.setalpncb(x, print), x:setverifyext("lsec_continue") ]],
    [[true true true true true true true true true true]] },
  { "setdhparam answers nothing", [[ local c = modules("ssl.context") return select("#", c.setdhparam(c.create("any"), print)) ]], [[0]] },
  { "false and why", [[ local c = modules("ssl.context") return c.setverify(c.create("any"), "nope") ]], [[false "invalid verify option (nope)"]] },
  { "a wrong self", [[ return (raised(modules("ssl.context").setmode, 3, "client"):match("%((.*)%)")) ]], [["SSL:Context expected, got number"]] },
  { "another's object", [[ local c = modules("ssl.context") return (raised(c.setmode, io.stdout, "client"):match("%((.*)%)")) ]],
    [["SSL:Context expected, got userdata"]], "LuaSec knows names of types" },
  { "another class's object", [[
      local c, file = modules("ssl.context"), io.open(pem("ca"))
      local x = modules("ssl.x509").load(file:read("*a"))
      file:close()
      return (raised(c.setmode, x, "client"):match("%((.*)%)")) ]], [["SSL:Context expected, got userdata"]], "LuaSec knows names of types" },
  { "contexts have a name", [[ local x = modules("ssl.context").create("any") return (tostring(x):gsub("0x%x+", "0x")), type(getmetatable(x).__index) ]],
    [["SSL context: 0x" "table"]] },
  { "a table with its metatable is none", [[
      local c = modules("ssl.context") local fake = setmetatable({}, getmetatable(c.create("any")))
      return (raised(c.setmode, fake, "client"):match("%((.*)%)")) ]], [["SSL:Context expected, got table"]], "LuaSec says the name of the metatable" },
  { "finalized by hand it is none any more", [[
      local c = modules("ssl.context") local x = c.create("any") local gc = getmetatable(x).__gc
      gc(x) gc(x) gc(io.stdout)
      return (raised(c.checkkey, x):match("%((.*)%)")) ]], [["SSL:Context expected, got userdata"]], "LuaSec reads freed memory" },
  { "what there is", [[
      local config = modules("ssl.config")
      local options = 0 for _ in pairs(config.options) do options = options + 1 end
      return config.protocols.tlsv1_2, config.protocols.tlsv1_3, config.algorithms.ec, config.capabilities.alpn, config.capabilities.curves_list,
        config.curves.X25519, config.curves.prime256v1, options, modules("ssl").config == config ]], [[true true true true true true true 53 true]] },
  { "and what there is not", [[
      local config = modules("ssl.config")
      return config.protocols.tlsv1, config.protocols.tlsv1_1, config.curves.secp521r1, config.capabilities.psk, config.capabilities.dane ]],
    [[nil nil nil nil nil]], "OpenSSL has some of it" },
}

describe("drop-in: ssl.context", function()
  describe("fields", function() rows.declare(it, net, FIELDS, { prelude = prelude }) end)
  describe("steps", function() rows.declare(it, net, STEPS, { prelude = prelude }) end)

  local read = require("spec.support.process").read

  it("is known by nothing that has a name in the registry", function()
    local registry, known = debug.getregistry(), getmetatable(rows.install(net)("ssl.context").create("any"))
    for name, value in pairs(registry) do
      assert.falsy(type(name) == "string" and (value == known or type(value) == "table" and rawget(value, known)), name)
    end
  end)

  it("takes PEM text for a path", function()
    local ssl = rows.install(net)("ssl")
    assert(ssl.newcontext{
      mode = "server", protocol = "any", certificate = read(servers.server.cert), key = read(servers.server.key), cafile = read(servers.ca),
    })
  end)

  describe("of a net that may read no files", function()
    local ssl = rows.install(net.narrow{ allow_net = { "127.0.0.1" } })("ssl")
    local function new(cfg)
      cfg.mode, cfg.protocol = "client", "any"
      return ssl.newcontext(cfg)
    end

    for field, words in pairs{
      certificate = "error loading certificate (files are not permitted here",
      key = "error loading private key (it is neither PEM text nor a file that can be read)",
      cafile = "error loading CA locations (files are not permitted here",
      capath = "error loading CA locations (files are not permitted here",
    } do
      it("reads no " .. field, function()
        for _, path in ipairs{ servers.ca, "/nope" } do
          local context, why = new{ [field] = path }
          assert.is_nil(context)
          assert.truthy(why:find(words, 1, true), why)
        end
      end)
    end

    it("believes the machine's store", function()
      assert(new{ cafile = "/etc/ssl/certs/ca-certificates.crt" })
      assert(new{ capath = "/etc/ssl/certs/" })
    end)

    it("takes PEM text", function()
      assert(new{ cafile = read(servers.ca) })
    end)

    it("asks for no name that is not granted", function()
      local context = assert(new{ cafile = read(servers.ca), verify = "peer" })
      local narrow = rows.install(net.narrow{ allow_net = { "127.0.0.1" } })
      local plain = assert(narrow("socket").connect("127.0.0.1", servers.https))
      local conn = assert(ssl.wrap(plain, context))
      conn:settimeout(5)
      local none, why = conn:sni("localhost")
      assert.is_nil(none)
      assert.truthy(why:find("^host not allowed: "))
      local ok, again = conn:dohandshake()
      assert.is_false(ok)
      assert.equal(why, again)
      conn:close()
    end)

    it("ends its connections when it is revoked", function()
      local less = net.narrow{ allow_net = { "127.0.0.1" } }
      local import = rows.install(less)
      local plain = assert(import("socket").connect("127.0.0.1", servers.https))
      local conn = assert(import("ssl").wrap(plain, { mode = "client", protocol = "any", verify = "none" }))
      conn:settimeout(5)
      assert.is_true(conn:dohandshake())
      less.revoke()
      assert.equal("closed", (select(2, conn:receive())))
      assert.truthy(tostring(conn):find("(closed)", 1, true))
    end)
  end)
end)
