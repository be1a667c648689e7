-- The drop-in's `ssl`: connections, both ends in one process (rows that LuaSec answers too), and against others' programs.

local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local prelude = require("spec.support.tls_rows")
local process = require("spec.support.process")
local rows = require("spec.support.rows")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local EARLY = "LuaSec 1.2 has no such method"
local NAME = "the name that was asked for is checked"

local TABLES = {}

TABLES["handshake"] = {
  { "true on both sides", [[ local c, s = ends() return shake(c, s) ]], [[true nil true nil]] },
  { "TLS 1.2", [[ local c = tls{ protocol = "tlsv1_2" } return c:info("protocol"), c:info("cipher") ]],
    [["TLSv1.2" "ECDHE-ECDSA-AES256-GCM-SHA384"]] },
  { "TLS 1.3", [[ local c, s = tls() return c:info("protocol"), s:info("protocol"), c:info("cipher") ]],
    [["TLSv1.3" "TLSv1.3" "TLS_AES_256_GCM_SHA384"]] },
  { "does not wait", [[ local c = ends() local ok, why = c:dohandshake() return ok, why, c:want() ]], [[false "wantread" "read"]] },
  { "says wantread when its time is over", [[ local c = ends() c:settimeout(0.05) return c:dohandshake() ]], [[false "wantread"]] },
  { "again, once it is done", [[ local c, s = tls() return c:dohandshake(), (s:dohandshake()) ]], [[true true]] },
  { "what it leaves of the plain socket", [[
      local a = pair() local c = keep(modules("ssl").wrap(a, context())) return a:getfd(), c:getfd() >= 0 ]], [[-1.0 true]] },
  { "the end of the stream instead", [[ local c, s = ends() s:close() return c:dohandshake() ]],
    [[false "unexpected eof while reading"]], "LuaSec: sometimes the system's word for it" },
  { "a peer that speaks something else", [[
      local a, b = pair() local c = keep(modules("ssl").wrap(a, context())) b:send("HTTP/1.0 400 Bad Request\r\n\r\n") return c:dohandshake() ]],
    [[false "wrong version number"]] },
  { "no version in common", [[ local c, s = ends({ protocol = "tlsv1_2" }, { protocol = "tlsv1_3" }) return shake(c, s) ]],
    [[false "tlsv1 alert protocol version" false "unsupported protocol"]] },
  { "no cipher in common", [[
      local c, s = ends({ protocol = "tlsv1_2", ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256" }, { ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384" })
      return shake(c, s) ]], [[false "sslv3 alert handshake failure" false "no shared cipher"]] },
  { "ciphers in the order of the list", [[
      return (tls{ protocol = "tlsv1_2", ciphers = "AES128+AESGCM:AES256" }):info("cipher") ]], [["ECDHE-ECDSA-AES128-GCM-SHA256"]] },
  { "what comes behind it stays in the socket, for who waits with the descriptor alone", [[
      local c, s = ends()
      local done
      for _ = 1, 50 do
        s:dohandshake()
        done = c:dohandshake()
        if done then break end
        socket.select({ c, s }, nil, 0.02)
      end
      c:send("behind it\n")
      socket.sleep(0.1)
      local ok = s:dohandshake() local fd = s:getfd()
      local ready = socket.select({ { getfd = function() return fd end, dirty = function() return false end } }, nil, 1)
      return done, ok, s:dirty(), #ready == 1, (s:receive()) ]], [[true true false true "behind it"]] },
  { "the curve that is asked for", [[ local c, s = ends({ curve = "secp384r1" }, { curve = "secp384r1" }) return shake(c, s) ]],
    [[true nil true nil]] },
}

TABLES["send and receive"] = {
  { "three results each", [[ local c, s = tls() return select("#", c:send("x\n")), select("#", s:receive()) ]], [[3 3]] },
  { "a line", [[ local c, s = tls() return c:send("one\r\ntwo\n"), s:receive() ]], [[9.0 "one" nil nil]] },
  { "part of a string", [[ local c, s = tls() return c:send("abcdef", 2, 4), (s:receive(3)) ]], [[4.0 "bcd"]] },
  { "a number of bytes and a prefix", [[ local c, s = tls() c:send("abcdef") return s:receive(10, "123456"), (s:receive(2)) ]],
    [["123456abcd" "ef"]] },
  { "everything, until the end", [[ local c, s = tls() c:send("all of it") c:close() return s:receive("*a") ]], [["all of it" nil nil]] },
  { "everything, twice", [[ local c, s = tls() c:send("x") c:close() s:receive("*a") return s:receive("*a", "p") ]], [[nil "closed" "p"]] },
  { "wantread in place of timeout", [[ local c, s = tls() s:settimeout(0) return s:receive(), s:want() ]], [[nil "read"]] },
  { "what there was, with it", [[ local c, s = tls() c:send("ab") s:settimeout(0.05) return s:receive(5) ]], [[nil "wantread" "ab"]] },
  { "wantwrite in place of timeout", [[
      local c = tls() c:settimeout(0)
      local _, why, last = c:send(("x"):rep(2^24))
      return why, last < 2^24, c:want() ]], [["wantwrite" true "write"]] },
  { "goes on behind what went", [[
      local c, s = tls()
      local data = ("0123456789abcdef"):rep(2^17)
      return moved(c, s, data) == data, moved(s, c, data) == data ]], [[true true]] },
  { "goes on in smaller pieces", [[
      local c, s = tls()
      local data = ("0123456789abcdef"):rep(2^20)
      c:settimeout(0) s:settimeout(0)
      local at, parts, got, step = 0, {}, 0, #data
      while got < #data do
        if at < #data then
          local last, why, partial = c:send(data, at + 1, math.min(at + step, #data))
          at, step = last or partial, why and 5000 or step
        end
        local piece, _, partial = s:receive(#data - got)
        piece = piece or partial
        parts[#parts + 1], got = piece, got + #piece
      end
      return step, table.concat(parts) == data ]], [[5000 true]], "OpenSSL wants the same piece again" },
  { "before the handshake", [[ local c = ends() local a, b, d = c:send("x") return a, b, d, c:receive() ]],
    [[nil "closed" 0.0 nil "closed" ""]] },
  { "after close", [[ local c = tls() c:close() local a, b, d = c:send("x") return a, b, d, c:receive() ]],
    [[nil "closed" 0.0 nil "closed" ""]] },
  { "close answers nothing", [[ local c = tls() return select("#", c:close()), select("#", c:close()) ]], [[0 0]] },
  { "a closed peer", [[ local c, s = tls() s:close() return c:receive() ]], [[nil "closed" ""]] },
  { "unknown patterns", [[ local c = tls() return (raised(c.receive, c, "x"):match("%((.*)%)")) ]], [["invalid receive pattern"]] },
  { "unknown timeout modes", [[ local c = tls() return (raised(c.settimeout, c, 1, "x"):match("%((.*)%)")) ]], [["invalid timeout mode"]] },
  { "dirty", [[ local c, s = tls() c:send("ab\n") local before = s:dirty() s:receive(1) return before, s:dirty() ]], [[false true]] },
  { "statistics", [[ local c, s = tls() c:send("abc\n") s:receive() local r, w = s:getstats() return r, w, c:setstats(7), (c:getstats()) ]],
    [[4.0 0.0 1.0 7.0]] },
  { "select reads what is buffered first", [[
      local c, s = tls() c:send("ab\n") s:receive(1) local r = socket.select({ s }, nil, 1) return #r, r[1] == s ]], [[1 true]] },
  { "select waits for the wire", [[ local c, s = tls() c:send("x") local r = socket.select({ s }, nil, 2) return #r ]], [[1]] },
}

TABLES["objects"] = {
  { "names", [[ local c = ends() local before = tostring(c) c:close() return (before:gsub(": 0x%x+", "")), (tostring(c):gsub("0x%x+", "0x")) ]],
    [["SSL connection" "SSL connection: 0x (closed)"]] },
  { "their methods are a table that programs patch", [[
      local c = tls() local methods = getmetatable(c).__index
      methods.twice = function(self, line) return self:send(line .. line) end
      return type(methods.send), (c:twice("ab")) ]], [["function" 4.0]] },
  { "a wrong self", [[ local c = ends() return (raised(c.send, 3):match("%((.*)%)")), (raised(c.want):match("%((.*)%)")) ]],
    [["SSL:Connection expected, got number" "SSL:Connection expected, got no value"]] },
  { "nothing to say of a new connection", [[
      local c = ends() return c:want(), c:dirty(), c:getsniname(), c:getalpn(), c:info() ]], [["nothing" false nil nil nil "closed"]] },
  { "certificates need a handshake", [[ local c = ends() return c:getpeercertificate() ]], [[nil "closed"]] },
  { "so does the verdict", [[ local c = ends() return c:getpeerverification() ]], [[false "closed"]] },
  { "a closed one answers still", [[ local c = tls() c:close() return c:getfd(), c:want(), c:dirty(), c:settimeout(1) ]],
    [[-1.0 "nothing" false 1.0]] },
  { "none of its methods crashes once it is closed", [[
      local c = tls() c:close()
      local ok, why = c:dohandshake()
      return ok, why, c:sni("localhost"), c:getsniname(), c:getalpn(), modules("ssl.core").info(c) ]], [[false "closed" nil nil nil]],
    "LuaSec reads freed memory" },
  { "no mode, no connection", [[
      local context = modules("ssl.context").create("any") return modules("ssl").wrap((pair()), context) ]], [[nil "invalid mode"]] },
  { "no context", [[ return (raised(modules("ssl").wrap, (pair()), 3):match("%((.*)%)")) ]], [["invalid context"]] },
  { "a finalizer that is called by hand", [[
      local c, a = modules("ssl.core").create(context()), socket.tcp()
      local gc, send, finalize, option = getmetatable(c).__gc, c.send, getmetatable(a).__gc, a.setoption
      local fields = setmetatable({}, { __index = function() finalize(a) end })
      local first = (raised(option, a, "linger", fields):match("%((.*)%)"))
      gc(c) gc(c) gc(io.stdout)
      return first, (raised(send, c, "x"):match("%((.*)%)")) ]],
    [["tcp{any} expected" "SSL:Connection expected, got userdata"]], "the originals read freed memory" },
  { "info in full, TLS 1.2", [[ return (tls{ protocol = "tlsv1_2" }):info() ]],
    [[{algbits=256.0,authentication="ECDSA",bits=256.0,cipher="ECDHE-ECDSA-AES256-GCM-SHA384",]]
    .. [[encryption="AESGCM(256)",export=false,key="ECDH",mac="AEAD",protocol="TLSv1.2"}]] },
  { "info in full, TLS 1.3", [[ return (tls()):info() ]],
    [[{algbits=256.0,authentication="any",bits=256.0,cipher="TLS_AES_256_GCM_SHA384",]]
    .. [[encryption="AESGCM(256)",export=false,key="any",mac="AEAD",protocol="TLSv1.3"}]] },
  { "one field of it", [[ local c = tls() return c:info("bits"), c:info("compression"), c:info("nope") ]], [[256.0 nil nil]] },
  { "keying material is the same at both ends", [[
      local c, s = tls()
      local mine, theirs = c:exportkeyingmaterial("EXPORTER-Channel-Binding", 32, ""), s:exportkeyingmaterial("EXPORTER-Channel-Binding", 32, "")
      return #mine, mine == theirs, mine ~= c:exportkeyingmaterial("EXPORTER-Channel-Binding", 32, "x") ]], [[32 true true]] },
  { "no keying material over TLS 1.2", [[ return (tls{ protocol = "tlsv1_2" }):exportkeyingmaterial("x", 32) ]],
    [[nil "error exporting keying material"]], "rustls hands out none" },
  { "nor more than there can be", [[ return (tls()):exportkeyingmaterial("x", 1e12) ]], [[nil "error exporting keying material"]],
    "LuaSec tries to reserve that" },
  { "no finished messages", [[ local c = tls() return select("#", c:getfinished()), select("#", c:getpeerfinished()) ]], [[0 0]],
    "rustls hands out none" },
}

TABLES["verification"] = {
  { "an unknown root", [[ local c, s = ends{ cafile = pem("other-ca") } return shake(c, s) ]],
    [[false "certificate verify failed" false "tlsv1 alert unknown ca"]] },
  { "nobody is believed without a cafile", [[ local c, s = ends{ cafile = false } return shake(c, s) ]],
    [[false "certificate verify failed" false "tlsv1 alert unknown ca"]] },
  { "an expired certificate", [[ local c, s = ends(nil, { as = "expired" }) return shake(c, s) ]],
    [[false "certificate verify failed" false "sslv3 alert certificate expired"]] },
  { "a certificate for another use", [[ local c, s = ends(nil, { as = "client" }) return (shake(c, s)) ]], [[false]] },
  { "an intermediate certificate", [[ local c = tls(nil, { as = "chain" }) return #c:getpeerchain(), c:getpeerverification() ]], [[2 true]] },
  { "one that the server has among those it believes", [[
      local c = tls(nil, { as = "under", cafile = pem("between") }) return #c:getpeerchain(), c:getpeerverification() ]], [[2 true]] },
  { "an intermediate certificate that was not sent", [[
      local c, s = ends(nil, { as = "under" }) return (select(2, shake(c, s))) ]], [["certificate verify failed"]] },
  { "a certificate that is believed itself", [[
      local c = tls({ cafile = pem("ca") }, { certificate = pem("ca"), key = key("ca") }) return c:getpeerverification() ]], [[true]],
    "OpenSSL looks at the use of a root's key" },
  { "the chain is as long as depth allows", [[ local c = tls({ depth = 1 }, { as = "chain" }) return c:getpeerverification() ]], [[true]] },
  { "none: it is told, and the handshake goes on", [[ local c = tls{ cafile = false, verify = "none" } return c:getpeerverification() ]],
    [[false "self-signed certificate in certificate chain"]] },
  { "lsec_continue: all of it by depth", [[
      local c = tls({ cafile = false, verifyext = "lsec_continue" }, { as = "under", cafile = false }) return c:getpeerverification() ]],
    [[false {1={1="unable to get local issuer certificate",2="unable to verify the first certificate"}}]] },
  { "lsec_continue: a root that is not believed", [[
      local c = tls({ cafile = pem("other-ca"), verifyext = "lsec_continue" }, { certificate = pem("ca"), key = key("ca") })
      return c:getpeerverification() ]], [[false {1={1="self-signed certificate"}}]], "OpenSSL complains of its use as well" },
  { "lsec_continue: out of its time", [[
      local c = tls({ verifyext = "lsec_continue" }, { as = "expired" }) return c:getpeerverification() ]],
    [[false {1={1="certificate has expired"}}]] },
  { "a server asks for certificates and gets one", [[
      local c, s = tls({ certificate = pem("client"), key = key("client") }, { verify = { "peer", "fail_if_no_peer_cert" } })
      return s:getpeercertificate():subject()[1].value, s:getpeerverification(), #s:getpeerchain() ]], [["a client" true 2]] },
  { "a server that gets none", [[
      local c, s = ends({ protocol = "tlsv1_2" }, { verify = { "peer", "fail_if_no_peer_cert" } }) return shake(c, s) ]],
    [[false "tlsv13 alert certificate required" false "peer did not return a certificate"]], "rustls says it with another alert" },
  { "a server that need not get one", [[ local c, s = tls(nil, { verify = "peer" }) return s:getpeercertificate(), s:getpeerverification() ]],
    [[nil true]] },
  { "a server that gets a stranger's", [[
      local c, s = ends({ certificate = pem("stranger"), key = key("stranger") }, { verify = "peer" }) return (select(4, shake(c, s))) ]],
    [["certificate verify failed"]] },
  { "a server that takes any", [[
      local c, s = tls({ certificate = pem("stranger"), key = key("stranger") }, { verify = "peer", verifyext = "lsec_continue" })
      local good, why = s:getpeerverification() return good, type(why), s:getpeercertificate():subject()[1].value ]],
    [[false "table" "a stranger"]] },
  { "a server's certificate from a client", [[
      local c, s = ends({ certificate = pem("server"), key = key("server") }, { verify = "peer" }) return (select(4, shake(c, s))) ]],
    [["certificate verify failed"]] },
  { "which lsec_ignore_purpose lets pass", [[
      local c, s = tls({ certificate = pem("server"), key = key("server") }, { verify = "peer", verifyext = "lsec_ignore_purpose" })
      return s:getpeerverification() ]], [[true]] },
  { "no client certificate is asked for with none", [[
      local c, s = tls({ certificate = pem("client"), key = key("client") }) return s:getpeercertificate() ]], [[nil]] },
  { "certificates by their place", [[
      local c = tls(nil, { as = "chain" })
      return c:getpeercertificate(1):subject()[1].value, c:getpeercertificate(2):subject()[1].value, c:getpeercertificate(3), c:getpeercertificate(0) ]],
    [["localhost" "between" nil nil "invalid certificate index"]] },
  { "one's own", [[
      local c, s = tls() return s:getlocalcertificate():subject()[1].value, #s:getlocalchain(), c:getlocalcertificate() ]],
    [["localhost" 1 nil]], EARLY },
  { "several certificates", [[
      local c = tls(nil, { certificate = false, key = false, certificates = { { certificate = pem("server"), key = key("server") } } })
      return c:getpeerverification() ]], [[true]] },
  { "the collector hurries as much", [[ local all = {} collectgarbage() collectgarbage() local before = collectgarbage("count")
      for n = 1, 20 do all[n] = { ends() } end return (collectgarbage("count") - before) / 20 > 32 ]], "true" },
  { "certificates of two kinds", [[
      local both = { certificate = false, key = false, protocol = "any",
        certificates = { { certificate = pem("rsa"), key = key("rsa") }, { certificate = pem("server"), key = key("server") } } }
      local list = {}
      for _, ciphers in ipairs{ "ALL:!aRSA", "ALL:!ECDSA" } do
        local c = tls({ protocol = "tlsv1_2", ciphers = ciphers }, both)
        list[#list + 1] = c:info("authentication")
        both.protocol = "tlsv1_2"
        c = tls({ ciphers = ciphers, protocol = "any" }, both)
        list[#list + 1] = c:info("authentication")
      end
      return table.concat(list, " ") ]], [["ECDSA ECDSA RSA RSA"]] },
  { "a question about revocation hides nothing else", [[
      local c = tls({ cafile = pem("other-ca"), verifyext = { "lsec_continue", "crl_check" } }, { as = "under", cafile = false })
      local good, why = c:getpeerverification()
      return good, why[1][1] ]], [[false "unable to get local issuer certificate"]], "OpenSSL asks about revocation first" },
  { "revocation without a list, of the whole chain", [[
      local function why(certificate, ...)
        local list = {}
        for _, verifyext in ipairs{ { "lsec_continue", "crl_check" }, { "lsec_continue", "crl_check", "crl_check_chain" } } do
          local c = tls({ verifyext = verifyext, cafile = ... }, { as = certificate, cafile = false })
          local _, complaints = c:getpeerverification()
          local last = 0
          for depth in pairs(complaints) do last = math.max(last, depth) end
          for depth = 1, last do list[#list + 1] = depth - 1 .. " " .. table.concat(complaints[depth] or {}, ", ") end
        end
        return table.concat(list, "; ")
      end
      return why("server"), why("chain"), why("chain", pem("other-ca")) ]],
    [["0 unable to get certificate CRL; 0 unable to get certificate CRL; 1 unable to get certificate CRL" ]] ..
    [["0 unable to get certificate CRL; 0 unable to get certificate CRL; 1 unable to get certificate CRL; 2 unable to get certificate CRL" ]] ..
    [["0 unable to get certificate CRL; 1 unable to get local issuer certificate; 0 unable to get certificate CRL; ]] ..
    [[1 unable to get local issuer certificate, unable to get certificate CRL"]] },
  { "revocation without a list", [[ local c, s = ends{ verifyext = "crl_check" } return (select(2, shake(c, s))) ]],
    [["certificate verify failed"]] },
}

TABLES["believed itself"] = {
  { "one that signs itself", [[ return (shake(ends({ cafile = pem("own") }, { as = "own" }))) ]], [[true]] },
  { "with the common name that is asked for", [[
      local c, s = ends({ cafile = pem("own") }, { as = "own" }) c:sni("localhost") return (shake(c, s)) ]], [[true]] },
  { "with another", [[
      local c, s = ends({ cafile = pem("own") }, { as = "own" }) c:sni("elsewhere.example") return (select(2, shake(c, s))) ]],
    [["certificate verify failed"]], NAME },
  { "with a common name that has a star", [[
      local c, s = ends({ cafile = pem("star") }, { as = "star" }) c:sni("a.spec.example") return (shake(c, s)) ]], [[true]] },
  { "a star is one label", [[
      local c, s = ends({ cafile = pem("star") }, { as = "star" }) c:sni("a.b.spec.example") return (select(2, shake(c, s))) ]],
    [["certificate verify failed"]], NAME },
  { "a common name is no address", [[
      local c, s = ends({ cafile = pem("own") }, { as = "own" }) c:sni("127.0.0.1") return (select(2, shake(c, s))) ]],
    [["certificate verify failed"]], NAME },
  { "among others", [[ return (shake(ends({ cafile = pem("several") }, { as = "own" }))) ]], [[true]] },
  { "one that an authority made", [[ return (shake(ends({ cafile = pem("server") }, {}))) ]], [[true]],
    "LuaSec wants its authority, too" },
  { "one that has ended", [[
      return (select(2, shake(ends({ cafile = pem("expired") }, { as = "expired" })))) ]], [["certificate verify failed"]] },
  { "one of version 1", [[ return (shake(ends({ cafile = pem("v1") }, { as = "v1" }))) ]], [[true]],
    "LuaSec wants its authority, too" },
  { "not by its settings", [[ return (select(2, shake(ends{ cafile = pem("rejected") }))) ]], [["certificate verify failed"]] },
  { "a client's", [[
      return (shake(ends({ certificate = pem("own"), key = key("own") },
        { cafile = pem("own"), verify = { "peer", "fail_if_no_peer_cert" } }))) ]], [[true]] },
  { "shown with a key under a password", [[
      return (shake(ends(nil, { key = key("server-sealed"), password = "s3cret" }))) ]], [[true]] },
}

TABLES["names"] = {
  { "the server hears it", [[
      local c, s = ends() local nothing = select("#", c:sni("localhost")) shake(c, s) return nothing, c:getsniname(), s:getsniname() ]],
    [[0 "localhost" "localhost"]] },
  { "the certificate must be for it", [[ local c, s = ends() c:sni("elsewhere.example") return shake(c, s) ]],
    [[false "certificate verify failed" false "sslv3 alert bad certificate"]], NAME },
  { "but not where nothing is checked", [[
      local c, s = ends{ verify = "none" } c:sni("elsewhere.example") local ok = shake(c, s) return ok, c:getpeerverification() ]], [[true true]] },
  { "lsec_continue tells", [[
      local c, s = ends{ verifyext = "lsec_continue" } c:sni("elsewhere.example") local ok = shake(c, s) return ok, c:getpeerverification() ]],
    [[true false {1={1="hostname mismatch"}}]], NAME },
  { "an address is checked and not sent", [[ local c, s = ends() c:sni("127.0.0.1") local ok = shake(c, s) return ok, s:getsniname() ]],
    [[true nil]], "LuaSec sends it" },
  { "another address", [[ local c, s = ends() c:sni("127.0.0.2") return (select(2, shake(c, s))) ]], [["certificate verify failed"]], NAME },
  { "what is no name", [[ local c = ends() return c:sni("a b") ]], [[nil "invalid host name (host \"a b\" has a blank)"]], NAME },
  { "no name was asked for", [[ local c, s = tls() return s:getsniname() ]], [[nil]] },
  { "a server answers by name", [[
      local c, s = ends{ verify = "none" } c:sni("elsewhere.example")
      s:sni{ ["elsewhere.example"] = serving{ as = "elsewhere" }, ["localhost"] = serving() }
      shake(c, s) return c:getpeercertificate():subject()[1].value ]], [["elsewhere.example"]] },
  { "and as itself to other names", [[
      local c, s = ends{ verify = "none" } c:sni("nobody.example") s:sni({ ["elsewhere.example"] = serving{ as = "elsewhere" } })
      shake(c, s) return c:getpeercertificate():subject()[1].value ]], [["localhost"]] },
  { "but for strict", [[
      local c, s = ends{ verify = "none" } c:sni("nobody.example") s:sni({ ["elsewhere.example"] = serving{ as = "elsewhere" } }, true)
      return shake(c, s) ]], [[false "tlsv1 unrecognized name" false "callback failed"]] },
  { "a map that is asked", [[
      local c, s = ends{ verify = "none" } c:sni("elsewhere.example")
      s:sni(setmetatable({}, { __index = function(_, name) if name == "elsewhere.example" then return serving{ as = "elsewhere" } end end }))
      shake(c, s) return c:getpeercertificate():subject()[1].value ]], [["elsewhere.example"]] },
  { "a name does not loosen what the server asks for", [[
      local c, s = ends({ verify = "none", protocol = "tlsv1_2" }, { verify = { "peer", "fail_if_no_peer_cert" } }) c:sni("elsewhere.example")
      s:sni{ ["elsewhere.example"] = serving{ as = "elsewhere" } }
      return (select(4, shake(c, s))) ]], [["peer did not return a certificate"]] },
  { "a wrong map", [[ local c, s = ends() return (raised(s.sni, s, { x = 3 }):match("%((.*)%)")) ]], [["SSL:Context expected, got number"]] },
}

TABLES["alpn"] = {
  { "the server's order", [[ local c, s = tls({ alpn = { "h2", "b" } }, { alpn = { "b", "h2" } }) return c:getalpn(), s:getalpn() ]], [["b" "b"]] },
  { "one protocol", [[ return (tls({ alpn = "h2" }, { alpn = { "h2" } })):getalpn() ]], [["h2"]] },
  { "nothing in common is no error", [[ local c, s = tls({ alpn = "h2" }, { alpn = { "b" } }) return c:getalpn(), s:getalpn() ]], [[nil nil]] },
  { "a server that was not told", [[ return (tls{ alpn = "h2" }):getalpn() ]], [[nil]] },
  { "a function is asked", [[
      local seen
      local c = tls({ alpn = { "h2", "b" } }, { alpn = function(offered) seen = table.concat(offered, " ") return "b" end })
      return seen, c:getalpn() ]], [["h2 b" "b"]] },
  { "a function that answers a list", [[
      return (tls({ alpn = { "h2", "b" } }, { alpn = function() return { "x", "h2" } end })):getalpn() ]], [["h2"]] },
  { "a function that answers nothing", [[ return (tls({ alpn = { "h2" } }, { alpn = function() end })):getalpn() ]], [[nil]] },
  { "the context of the name decides", [[
      local c, s = ends{ verify = "none", alpn = { "h2", "b" } } c:sni("elsewhere.example")
      s:sni{ ["elsewhere.example"] = serving{ as = "elsewhere", alpn = { "b" } } }
      shake(c, s) return c:getalpn() ]], [["b"]] },
}

describe("drop-in: ssl", function()
  wire.watch(before_each, after_each)

  for name, list in pairs(TABLES) do
    describe(name, function() rows.declare(it, net, list, { prelude = prelude }) end)
  end

  local import = rows.install(net)
  local socket, ssl = import("socket"), import("ssl")

  local function client(port, params, name)
    local plain = assert(socket.connect("127.0.0.1", port))
    plain:settimeout(5)
    local given = { mode = "client", protocol = "any", cafile = servers.ca, verify = "peer" }
    for key, value in pairs(params or {}) do given[key] = value end
    local conn = assert(ssl.wrap(plain, given))
    conn:settimeout(5)
    if name then conn:sni(name) end
    return conn
  end

  it("speaks to nginx", function()
    for _, port in ipairs{ servers.https, servers.tls12 } do
      local conn = client(port, nil, "localhost")
      assert.is_true(conn:dohandshake())
      assert.truthy(conn:send("GET /tls HTTP/1.0\r\nHost: x\r\n\r\n"))
      local body = conn:receive("*a")
      assert.truthy(body:find(conn:info("protocol") .. " localhost NONE", 1, true), body)
      conn:close()
    end
  end)

  it("shows nginx its certificate", function()
    local conn = client(servers.mutual, { certificate = servers.client.cert, key = servers.client.key }, "localhost")
    assert.is_true(conn:dohandshake())
    conn:send("GET /tls HTTP/1.0\r\nHost: x\r\n\r\n")
    assert.truthy(conn:receive("*a"):find("SUCCESS", 1, true))
    conn:close()
  end)

  it("speaks to openssl s_server, which resumes its sessions", function()
    local p = process.start("openssl s_server -accept 127.0.0.1:0 -naccept 2 -www -cert " .. servers.server.cert .. " -key "
      .. servers.server.key .. " 2>&1")
    local port = tonumber((p:expect("^ACCEPT .-:(%d+)$")))
    local context = assert(ssl.newcontext{ mode = "client", protocol = "any", cafile = servers.ca, verify = "peer" })
    local pages = {}
    for i = 1, 2 do
      local plain = assert(socket.connect("127.0.0.1", port))
      local conn = assert(ssl.wrap(plain, context))
      conn:settimeout(5)
      conn:sni("localhost")
      assert.is_true(conn:dohandshake())
      conn:send("GET / HTTP/1.0\r\n\r\n")
      pages[i] = conn:receive("*a")
      conn:close()
    end
    p:kill()
    assert.truthy(pages[1]:find("\nNew, TLSv1.3", 1, true))
    assert.truthy(pages[2]:find("\nReused, TLSv1.3", 1, true))
  end)

  it("serves openssl s_client", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    local p = process.start("sh -c " .. process.quote("(echo hello; sleep 1) | openssl s_client -quiet -connect 127.0.0.1:" .. port
      .. " -servername localhost -CAfile " .. servers.ca .. " -verify_return_error 2>&1"))
    local plain = assert(server:accept())
    local conn = assert(ssl.wrap(plain, { mode = "server", protocol = "any", certificate = servers.server.cert, key = servers.server.key }))
    conn:settimeout(5)
    assert.is_true(conn:dohandshake())
    assert.equal("localhost", conn:getsniname())
    assert.equal("hello", conn:receive())
    conn:send("goodbye\n")
    conn:close()
    server:close()
    assert.truthy(p:rest():find("goodbye", 1, true))
  end)

  it("is told of a stream that was cut, once", function()
    local p = peer.tls[[ local c = accept() c:receive() vanish() ]]
    local conn = client(p.port)
    assert.is_true(conn:dohandshake())
    conn:send("x\n")
    conn:settimeout(2)
    local before = socket.gettime()
    local answers = {}
    for i = 1, 3 do answers[i] = (select(2, conn:receive())) end
    assert.same({ "unexpected eof while reading", "closed", "closed" }, answers)
    assert.is_true(socket.gettime() - before < 1)
    conn:close()
  end)

  it("keeps what the plain socket had read", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    local p = peer.client(port, ([[
      c:send("STARTTLS\n")
      local s = assert(require("ssl").wrap(c, { mode = "client", protocol = "any", cafile = %q, verify = "peer" }))
      s:settimeout(10)
      assert(s:dohandshake())
      s:send("secret\n")
      report(s:receive())
      s:close()]]):format(servers.ca))
    local plain = assert(server:accept())
    plain:settimeout(5)
    -- Once its first record is there too, one read takes both.
    socket.sleep(0.3)
    assert.equal("STARTTLS", plain:receive())
    assert.is_true(plain:dirty())
    local conn = assert(ssl.wrap(plain, { mode = "server", protocol = "any", certificate = servers.server.cert, key = servers.server.key }))
    conn:settimeout(5)
    assert.is_true(conn:dohandshake())
    assert.equal("secret", conn:receive())
    conn:send("answer\n")
    conn:close()
    server:close()
    assert.same({ "answer", "nil", "nil" }, p:finish())
  end)

  it("closes what nobody holds any more", function()
    local p = peer.tls[[ local c = accept() report(c:receive()) ]]
    do
      local conn = client(p.port)
      assert.is_true(conn:dohandshake())
    end
    collectgarbage()
    collectgarbage()
    -- A clean end: close_notify was sent.
    assert.same({ "nil", "closed", "" }, p:finish())
  end)
end)
