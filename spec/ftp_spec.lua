-- Contract 10, `net.ftp`: against ProFTPD and vsftpd, which want TLS and its sessions resumed, and pyftpdlib, which has no TLS.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local ports = servers.ftp
local LOGIN = { user = "user", password = "s3cret" }
local OPEN = { user = "user", password = "s3cret", tls = false, insecure_auth = true }

-- name, options, the directory that can be written to, whether it has MLSD
local SERVERS = {
  { "ProFTPD", { port = ports.proftpd, user = "user", password = "s3cret" }, "", true },
  { "ProFTPD with TLS 1.2", { port = ports.tls12, user = "user", password = "s3cret" }, "", true },
  { "ProFTPD, implicit TLS", { port = ports.implicit, tls = "implicit", user = "user", password = "s3cret" }, "", true },
  { "ProFTPD, no TLS", { port = ports.plain, tls = false, insecure_auth = true, user = "user", password = "s3cret" }, "", true },
  { "vsftpd", { port = ports.vsftpd }, "/upload/", false },
  { "vsftpd, implicit TLS", { port = ports.vsftpd_implicit, tls = "implicit" }, "/upload/", false },
  { "pyftpdlib", { port = servers.mail_files.ftp, tls = false, insecure_auth = true, user = "user", password = "s3cret" }, "/", true },
  { "pyftpdlib without EPSV", { port = servers.mail_files.old_ftp, tls = false, insecure_auth = true, user = "user", password = "s3cret" }, "/", true },
}

local ca = process.read(servers.ca)

local function with(options, more)
  local all = { host = "localhost", timeout = 30 }
  for name, value in pairs(options) do all[name] = value end
  for name, value in pairs(more or {}) do all[name] = value end
  if all.tls ~= false then all.ca_bundle = all.ca_bundle or ca end
  return all
end

local function open(options, more) return assert(net.ftp(with(options, more))) end

local function find(list, name)
  for _, entry in ipairs(list) do if entry.name == name then return entry end end
end

-- Lines that differ, so that a piece lost or doubled shows.
local function lines(count)
  local out = {}
  for i = 1, count do out[i] = ("line %08d\n"):format(i) end
  return table.concat(out)
end

describe("an FTP client", function()
  wire.watch(before_each, after_each)

  for _, server in ipairs(SERVERS) do
    local name, options, dir, facts = server[1], server[2], server[3], server[4]

    for _, active in ipairs{ false, true } do
      it(name .. (active and ", active" or "") .. ": stores, lists, fetches, renames and deletes", function()
        local ftp = open(options, { active = active })
        local text = lines(20000)
        -- More transfers than a server gives tickets at the handshake.
        for i = 1, 4 do assert.equal(#text, ftp:put(dir .. "one", text), "put " .. i) end
        for i = 1, 4 do assert.truthy(text == ftp:get(dir .. "one"), "get " .. i) end
        assert.equal(6, ftp:append(dir .. "one", "more\r\n"))
        assert.equal(text .. "more\r\n", ftp:get(dir .. "one"))
        if name ~= "pyftpdlib without EPSV" then assert.equal(#text + 6, ftp:size(dir .. "one")) end
        assert.equal("more\r\n", ftp:get(dir .. "one", nil, { offset = #text }))

        local list = ftp:list(dir ~= "" and dir or nil)
        assert.equal("array", net.kind(list))
        local entry = find(list, "one")
        assert.equal("file", entry.type)
        assert.equal(#text + 6, entry.size)
        assert.truthy(math.abs(entry.mtime - os.time()) < (facts and 120 or 86400 * 2), entry.mtime)
        assert.is_nil(find(list, "."))

        assert.truthy(ftp:mkdir(dir .. "a \"dir\""))
        assert.equal("dir", find(ftp:list(dir ~= "" and dir or nil), "a \"dir\"").type)
        assert.equal(true, ftp:cwd(dir .. "a \"dir\""))
        assert.truthy(ftp:pwd():find("a \"dir\"$"))
        assert.same({}, ftp:list())
        assert.equal(true, ftp:cwd(".."))
        assert.equal(true, ftp:rename(dir .. "one", dir .. "two"))
        assert.equal(true, ftp:delete(dir .. "two"))
        assert.equal(true, ftp:rmdir(dir .. "a \"dir\""))
        ftp:quit()
        assert.is_false(ftp.connected)
        ftp:close()
      end)
    end

    it(name .. ": what it refuses is an answer, and the connection goes on", function()
      local ftp = open(options)
      for _, call in ipairs{
        { "get", "nowhere" }, { "size", "nowhere" }, { "delete", "nowhere" }, { "cwd", "nowhere" }, { "rmdir", "nowhere" },
        { "rename", "nowhere", "there" }, { "put", "nowhere/x", "x" }, { "append", "nowhere/x", "x" }, { "mkdir", "nowhere/x" }, { "mtime", "nowhere" },
      } do
        local result, refusal = ftp[call[1]](ftp, call[2], call[3])
        assert.is_nil(result, call[1])
        assert.equal("refusal", net.kind(refusal), call[1])
        assert.truthy(refusal.code >= 400 and refusal.code < 600, call[1])
        assert.equal("string", type(refusal.text))
        assert.truthy(ftp.connected, call[1])
      end
      assert.truthy(ftp:pwd())
      ftp:close()
    end)

    it(name .. ": streams to and from functions and files, and resumes", function()
      local ftp = open(options)
      local text, at = lines(30000), 0
      assert.equal(#text, ftp:put(dir .. "s", function()
        at = at + 1
        local piece = text:sub((at - 1) * 50000 + 1, at * 50000)
        return piece ~= "" and piece or nil
      end))
      local pieces = {}
      assert.equal(#text, ftp:get(dir .. "s", function(piece) pieces[#pieces + 1] = piece end))
      assert.truthy(table.concat(pieces) == text)
      local file = assert(io.tmpfile())
      assert.equal(#text, ftp:get(dir .. "s", file))
      file:seek("set")
      assert.truthy(file:read("*a") == text)

      -- The second half of a file again, from where the server's ends.
      assert.equal(100, ftp:put(dir .. "r", text:sub(1, 100)))
      assert.equal(#text - 100, ftp:put(dir .. "r", file, { offset = 100 }))
      assert.truthy(ftp:get(dir .. "r") == text)
      assert.equal(#text - 200, ftp:put(dir .. "r", text, { offset = 200 }))
      assert.truthy(ftp:get(dir .. "r") == text)
      file:seek("set")
      assert.equal(#text, ftp:append(dir .. "r", file))
      file:close()
      assert.equal(2 * #text, ftp:size(dir .. "r") or 2 * #text)
      ftp:delete(dir .. "r")
      ftp:delete(dir .. "s")
      ftp:close()
    end)

    it(name .. ": after a transfer that the caller gave up it goes on, or says that it is over", function()
      local ftp = open(options)
      -- ProFTPD's TLS takes a reset of the data connection for a reason to leave.
      local function again()
        if ftp.connected then return end
        assert.truthy(name:find("^ProFTPD") and options.tls ~= false, "the connection is gone")
        fails.with("network/socket", ftp.pwd, ftp)
        ftp:close()
        ftp = open(options)
      end
      local text = lines(200000)
      assert.equal(#text, ftp:put(dir .. "g", text))
      for i = 1, 4 do
        local ok, err = pcall(ftp.get, ftp, dir .. "g", function() error("enough", 0) end)
        assert.equal("enough", not ok and err, i)
        again()
        local count = 0
        ok, err = pcall(ftp.put, ftp, dir .. "h", function()
          count = count + 1
          if count > 3 * (i % 2) then error("no more", 0) end
          return text
        end)
        assert.equal("no more", not ok and err, i)
        again()
        local too_large = fails.with("network/too_large", ftp.get, ftp, dir .. "g", nil, { max_body_bytes = 100000 })
        assert.truthy(too_large.bytes <= 100000 and #too_large.partial == too_large.bytes)
        again()
      end
      assert.truthy(ftp:get(dir .. "g") == text)
      ftp:delete(dir .. "g")
      ftp:delete(dir .. "h")
      ftp:close()
    end)
  end

  it("sets and tells times", function()
    local ftp = open(SERVERS[1][2])
    ftp:put("t", "x")
    assert.equal(1000000000, ftp:mtime("t", 1000000000))
    assert.equal(1000000000, ftp:mtime("t"))
    assert.equal(1000000000, find(ftp:list(), "t").mtime)
    ftp:delete("t")
    ftp:close()
  end)

  it("has names in UTF-8, with blanks and quotes", function()
    local ftp = open(SERVERS[1][2])
    for _, name in ipairs{ "größe", "a b  c", "'q' \"r\"", "-la", "日本", "100%s" } do
      assert.equal(1, ftp:put(name, "x"), name)
      assert.truthy(find(ftp:list(), name), name)
      assert.equal("x", ftp:get(name), name)
      assert.equal(true, ftp:delete(name))
    end
    ftp:close()
  end)

  it("agrees with Python's ftplib", function()
    local ftp = open(SERVERS[4][2])
    local text = lines(5000)
    ftp:mkdir("py")
    ftp:put("py/ours", text)
    local script = process.file(([[
import ftplib, io
f = ftplib.FTP()
f.connect("127.0.0.1", %d, 20)
f.login("user", "s3cret")
f.cwd("py")
f.storbinary("STOR theirs", io.BytesIO(b"theirs\r\n" * 1000))
got = io.BytesIO()
f.retrbinary("RETR ours", got.write)
print(len(got.getvalue()), f.size("ours"), f.sendcmd("MDTM theirs")[4:])
for name, facts in sorted(f.mlsd()):
    if facts["type"] == "file": print(name, facts["size"], facts["modify"])
f.quit()
]]):format(ports.plain))
    local said = process.start("python3 " .. process.quote(script) .. " 2>&1", { script }):rest()
    assert.equal(("theirs\r\n"):rep(1000), ftp:get("py/theirs"))
    local list = ftp:list("py")
    table.sort(list, function(a, b) return a.name < b.name end)
    local ours = { ("%d %d %s"):format(#text, #text, os.date("!%Y%m%d%H%M%S", ftp:mtime("py/theirs"))) }
    for _, entry in ipairs(list) do
      ours[#ours + 1] = ("%s %d %s"):format(entry.name, entry.size, os.date("!%Y%m%d%H%M%S", entry.mtime))
    end
    assert.equal(table.concat(ours, "\n") .. "\n", said)
    for _, entry in ipairs(list) do ftp:delete("py/" .. entry.name) end
    ftp:rmdir("py")
    ftp:close()
  end)

  it("is a class, too", function()
    local class = net.class("puck.uno/ftp/client")
    local ftp = class.new(with(SERVERS[1][2]))
    assert.equal("ftp", net.kind(ftp))
    assert.equal(("ftp client (localhost:%d)"):format(ports.proftpd), tostring(ftp))
    assert.equal("hash", net.kind(ftp.features))
    assert.truthy(ftp.features.MLST)
    ftp:close()
  end)

  it("resumes the sessions of the name that it verifies", function()
    local ftp = assert(net.ftp(with(LOGIN, { host = "127.0.0.1", sni = "localhost", port = ports.proftpd })))
    for _ = 1, 3 do assert.truthy(ftp:list()) end
    ftp:close()
    fails.with("network/tls", net.ftp, with(LOGIN, { host = "127.0.0.1", sni = "other.example", port = ports.proftpd }))
  end)

  it("is refused with a wrong password", function()
    local ftp, refusal = net.ftp(with(LOGIN, { port = ports.proftpd, password = "wrong" }))
    assert.is_nil(ftp)
    assert.equal(530, refusal.code)
    assert.is_nil(tostring(refusal):find("wrong", 1, true))
  end)

  it("sends no password in the clear", function()
    local err = fails.with("network/tls", net.ftp, with(LOGIN, { port = ports.plain, tls = false }))
    assert.truthy(err.message:find("insecure_auth", 1, true))
    assert.is_nil(tostring(err):find("s3cret", 1, true))
    -- TLS is never skipped because a server has none.
    err = fails.with("network/tls", net.ftp, with(LOGIN, { port = ports.plain }))
    assert.truthy(err.message:find("AUTH TLS", 1, true))
    fails.with("network/tls", net.ftp, with(LOGIN, { port = ports.proftpd, ca_bundle = process.read(servers.other_ca) }))
    fails.with("network/tls", net.ftp, with(LOGIN, { port = ports.implicit, tls = "implicit", ca_bundle = process.read(servers.other_ca) }))
  end)

  it("passes the gate with every connection", function()
    local one = net.narrow{ ("--allow-net=localhost:%d"):format(ports.proftpd) }
    local ftp = assert(one.ftp(with(SERVERS[1][2])))
    local err = fails.with("network/port_not_allowed", ftp.list, ftp)
    assert.truthy(err.message:find("--allow-net=localhost allows every port", 1, true), err.message)
    assert.truthy(err.port ~= ports.proftpd)
    -- Nothing was under way: the connection goes on.
    assert.truthy(ftp:pwd())
    ftp:close()

    local host = net.narrow{ "--allow-net=localhost" }
    ftp = assert(host.ftp(with(SERVERS[1][2])))
    assert.truthy(ftp:list())
    ftp:close()
    ftp = assert(host.ftp(with(SERVERS[1][2], { active = true })))
    err = fails.with("network/port_not_allowed", ftp.list, ftp)
    assert.truthy(err.message:find("--allow-listen", 1, true))
    assert.truthy(ftp:pwd())
    ftp:close()

    local listening = net.narrow{ "--allow-net=localhost", "--allow-listen=127.0.0.1:0" }
    ftp = assert(listening.ftp(with(SERVERS[1][2], { active = true })))
    assert.truthy(ftp:list())
    ftp:close()

    fails.with("network/host_not_allowed", net.narrow{ "--allow-net=example.com" }.ftp, with(SERVERS[1][2]))
    ftp = assert(host.ftp(with(SERVERS[1][2])))
    host.revoke()
    fails.with("network/socket", ftp.pwd, ftp)
    ftp:close()
  end)

  it("takes a path, and no command", function()
    local ftp = open(OPEN, { port = ports.plain })
    for _, path in ipairs{ "a\r\nDELE b", "a\nb", "a\rb", "a\0b", "" } do
      for _, method in ipairs{ "get", "size", "delete", "cwd", "mkdir", "rmdir", "mtime", "list" } do
        fails.plainly("bad argument #1 to '" .. method .. "'", ftp[method], ftp, path)
      end
      fails.plainly("bad argument #1 to 'put'", ftp.put, ftp, path, "x")
      fails.plainly("bad argument #1 to 'append'", ftp.append, ftp, path, "x")
      fails.plainly("bad argument #2 to 'rename'", ftp.rename, ftp, "a", path)
    end
    fails.plainly("bad argument #2 to 'put'", ftp.put, ftp, "a", 5)
    fails.plainly("bad argument #2 to 'get'", ftp.get, ftp, "a", "path")
    fails.plainly("offset", ftp.get, ftp, "a", nil, { offset = -1 })
    fails.plainly("append takes no offset", ftp.append, ftp, "a", "x", { offset = 5 })
    fails.plainly("type must be", ftp.get, ftp, "a", nil, { type = "e" })
    fails.plainly("bad argument #2 to 'mtime'", ftp.mtime, ftp, "a", -1)
    fails.plainly("call it with a colon", ftp.pwd)
    assert.truthy(ftp:pwd())
    ftp:close()
    fails.with("network/socket", ftp.pwd, ftp)
    for _, row in ipairs{
      { { host = "localhost", user = "a\nb" }, "user contains CR" }, { { host = "localhost", auth = "scram" }, "auth must be" },
      { {}, "host is missing" }, { { host = "localhost", tls = "yes" }, "tls must be" }, { { host = "localhost", active = 1 }, "active" },
      { { host = "localhost", tls = false, ca_bundle = "x" }, "needs TLS" }, { { host = "localhost", ca_bundle = "/nowhere" }, "ca_bundle" },
    } do fails.plainly(row[2], net.ftp, row[1]) end
  end)

  it("has one deadline for a call where it is asked for", function()
    local ftp = open(SERVERS[4][2])
    ftp:put("slow", lines(200000))
    local err = fails.with("network/timeout", ftp.get, ftp, "slow", function() net.sleep(0.2) end, { timeout = 0.5 })
    assert.truthy(err.bytes >= 0)
    fails.with("network/socket", ftp.pwd, ftp)
    ftp:close()
    ftp = open(SERVERS[4][2])
    ftp:delete("slow")
    fails.with("network/timeout", net.within, 0, ftp.pwd, ftp)
    ftp:close()
  end)

  it("fetches text in lines of CRLF where that is asked for", function()
    local ftp = open(SERVERS[1][2])
    ftp:put("lf", "one\ntwo\n")
    assert.equal("one\r\ntwo\r\n", ftp:get("lf", nil, { type = "a" }))
    assert.equal("one\ntwo\n", ftp:get("lf"))
    ftp:delete("lf")
    ftp:close()
  end)
end)

describe("an FTP client's memory", function()
  it("does not grow with a file of 100 MiB, up and down", function()
    for _, row in ipairs{ { ports.proftpd, "", 'user = "user", password = "s3cret"' }, { ports.vsftpd, "/upload/", "" } } do
      local said = child.run(([[
local net = launch{ "--allow-net=localhost" }
local peak = require("spec.support.peak")
local ftp = assert(net.ftp{ host = "localhost", port = %d, ca_bundle = %q, timeout = 60, %s })
local path = %q .. "large"
assert(ftp:put(path, ("x"):rep(300000)))
local before, left, piece = peak(), 100 * 16, ("0123456789abcde\n"):rep(4096)
assert(ftp:put(path, function()
  left = left - 1
  if left >= 0 then return piece end
end) == 100 * 1024 * 1024)
local count = 0
assert(ftp:get(path, function(part) count = count + #part end) == 100 * 1024 * 1024)
print(count, peak() - before)
assert(ftp:delete(path))
ftp:close()
]]):format(row[1], servers.ca, row[3], row[2]))
      local bytes, grown = said:match("^(%d+)%s+(%-?%d+)")
      assert.equal(tostring(100 * 1024 * 1024), bytes, said)
      assert.truthy(tonumber(grown) < 16 * 1024, grown .. " KiB")
    end
  end)
end)
