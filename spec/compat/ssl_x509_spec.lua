-- The drop-in's `ssl.x509`: what certificates say, as OpenSSL says it.

local net = require("spec.support.subject").net
local prelude = require("spec.support.tls_rows")
local process = require("spec.support.process")
local rows = require("spec.support.rows")
local servers = require("spec.support.servers")

local load_ = [[
function cert(name)
  local file = assert(io.open(pem(name), "rb"))
  local text = file:read("*a")
  file:close()
  return assert(modules("ssl.x509").load(text)), text
end
]]

local ROWS = {
  { "has a name", [[ return (tostring((cert("server"))):gsub("0x%x+", "0x")) ]], [["X509 certificate: 0x"]] },
  { "subject and issuer, by name and identifier", [[ local c = cert("server") return c:subject(), c:issuer() ]],
    [[{1={name="commonName",oid="2.5.4.3",value="localhost"}} {1={name="commonName",oid="2.5.4.3",value="caspian-net spec root"}}]] },
  { "alternative names", [[ return (cert("rich")):extensions() ]],
    [[{2.5.29.17={1.2.3.4={1="else",name="1.2.3.4"},1.3.6.1.5.5.7.8.5={1="im@rich.example",name="XmppAddr"},dNSName={1="rich.example",2="*.rich.example"},]]
    .. [[iPAddress={1="192.0.2.1",2="2001:db8::1"},name="X509v3 Subject Alternative Name",rfc822Name={1="a@rich.example"},]]
    .. [[uniformResourceIdentifier={1="https://rich.example/"}}}]] },
  { "no alternative names", [[ return (cert("ca")):extensions() ]], [[{}]] },
  { "its time, as text", [[ local c = cert("expired") return c:notbefore(), c:notafter() ]],
    [["Jan  1 00:00:00 2020 GMT" "Feb  1 00:00:00 2020 GMT"]] },
  { "its time, asked", [[
      local c = cert("expired")
      return c:validat(1577836799), c:validat(1577836800), c:validat(1580515200), c:validat(1580515201), c:validat(os.time()) ]],
    [[false true true false false]] },
  { "the key", [[ local c = cert("server") local text, kind, bits = c:pubkey() return text:match("^[^\n]+"), kind, bits ]],
    [["-----BEGIN PUBLIC KEY-----" "EC" 256]] },
  { "pem, there and back", [[
      local c, text = cert("server") return c:pem() == text:match("%-%-%-%-%-BEGIN.*"), modules("ssl").loadcertificate(c:pem()):digest() == c:digest() ]],
    [[true true]] },
  { "how texts are given", [[
      local c = cert("server") return c:setencode("utf8"), c:subject()[1].value, c:setencode("ai5"), c:setencode("nope") ]],
    [[true "localhost" true false]] },
  { "an unknown digest", [[ return (cert("server")):digest("md5") ]], [[nil "digest algorithm not supported (md5)"]] },
  { "the default digest", [[ local c = cert("server") return c:digest() == c:digest("sha1"), #c:digest("sha256"), #c:digest("sha512") ]],
    [[true 64 128]] },
  { "signature", [[ return (cert("server")):getsignaturename() ]], [["ecdsa-with-SHA256"]], "LuaSec 1.2 has no such method" },
  { "issued by its root", [[ return (cert("ca")):issued((cert("server"))) ]], [[true]] },
  { "not by another", [[ return (cert("other-ca")):issued((cert("server"))) ]], [[nil "unable to get local issuer certificate"]] },
  { "over others", [[ return (cert("ca")):issued((cert("under")), (cert("between"))) ]], [[true]] },
  { "over others that are missing", [[ return (cert("ca")):issued((cert("under"))) ]], [[nil "unable to get local issuer certificate"]] },
  { "by one that is no root", [[ return (cert("between")):issued((cert("under"))) ]], [[nil "unable to get issuer certificate"]] },
  { "an authority's own", [[ local c = cert("ca") return c:issued(c), c:issued((cert("between"))) ]], [[true true]] },
  { "another root", [[ return (cert("ca")):issued((cert("other-ca"))) ]], [[nil "self-signed certificate"]] },
  { "out of its time", [[ return (cert("ca")):issued((cert("expired"))) ]], [[nil "certificate has expired"]] },
  { "what is no certificate", [[
      local load = modules("ssl.x509").load return load(""), load("x"), load("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n") ]],
    [[nil nil nil]] },
  { "a key is none", [[
      local file = io.open(key("server")) local text = file:read("*a") file:close() return modules("ssl").loadcertificate(text) ]], [[nil]] },
  { "wrong arguments", [[
      local c = cert("server")
      return (raised(c.digest):match("%((.*)%)")), (raised(c.digest, c, {}):match("%((.*)%)")), (raised(c.validat, c):match("%((.*)%)")),
        (raised(c.issued, c, 3):match("%((.*)%)")) ]],
    [["SSL:Certificate expected, got no value" "string expected, got table" "number expected, got no value" "SSL:Certificate expected, got number"]] },
  { "methods in a table", [[ return type(getmetatable((cert("server"))).__index.digest) ]], [["function"]] },
}

describe("drop-in: ssl.x509", function()
  rows.declare(it, net, ROWS, { prelude = prelude .. load_ })

  local load = rows.install(net)("ssl").loadcertificate

  local function cert(name)
    local file = assert(io.open(servers.dir .. "/" .. name .. ".pem", "rb"))
    local text = file:read("*a")
    file:close()
    return assert(load(text))
  end

  local function openssl(arguments)
    return (process.start("openssl x509 -noout -in " .. servers.dir .. "/rich.pem " .. arguments):rest():gsub("%s+$", ""))
  end

  for name, arguments in pairs{ sha1 = "-sha1", sha256 = "-sha256", sha512 = "-sha512" } do
    it("has openssl's " .. name, function()
      local expected = openssl("-fingerprint " .. arguments):match("=(.*)"):gsub(":", ""):lower()
      assert.equal(expected, cert("rich"):digest(name))
    end)
  end

  it("has openssl's serial number, dates and key", function()
    local c = cert("rich")
    assert.equal(openssl("-serial"):match("=(.*)"), c:serial())
    assert.equal(openssl("-startdate"):match("=(.*)"), c:notbefore())
    assert.equal(openssl("-enddate"):match("=(.*)"), c:notafter())
    assert.equal(openssl("-pubkey") .. "\n", (c:pubkey()))
  end)
end)
