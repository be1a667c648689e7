-- Contract 10: imap against dovecot; Python's imaplib and email are the second opinion.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local dovecot = servers.dovecot
local count = 0

--- A client of a user that nobody else has, and the options it was opened with.
local function open(more)
  count = count + 1
  local opts = {
    host = "127.0.0.1", port = dovecot.imap, user = "imap" .. count, password = "s3cret", timeout = 20,
  }
  if not more or more.tls ~= false then opts.ca_bundle = servers.ca end
  for name, value in pairs(more or {}) do opts[name] = value end
  local imap, no = net.imap(opts)
  return imap, no, opts
end

--- What a Python program prints that has `m`, a client of imaplib's logged in as `user`.
local function python(user, source)
  local path = process.file(([[
import email, imaplib, sys
from email import policy
m = imaplib.IMAP4("127.0.0.1", %d)
m.login("%s", "s3cret")
%s
m.logout()
]]):format(dovecot.imap, user, source))
  local pipe = assert(io.popen("python3 " .. process.quote(path)))
  local text = pipe:read("*a")
  pipe:close()
  os.remove(path)
  return text
end

local MAIL = "From: =?utf-8?q?J=C3=B6rg?= <joerg@example.com>\r\nTo: a@example.com, B <b@example.com>\r\nSubject: =?iso-8859-1?q?S=FC=DF?=\r\n"
  .. "Date: Thu, 01 Jan 2026 12:00:00 +0100\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n"
  .. "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n"
  .. "--y\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n"
  .. "--y\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Gr\195\188\195\159e</p>\r\n--y--\r\n"
  .. "--x\r\nContent-Type: image/png; name=\"a b.png\"\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <c1>\r\n"
  .. "Content-Disposition: attachment; filename*=utf-8''%C3%A4.png\r\n\r\nAAEC/w==\r\n--x--\r\n"

describe("opening", function()
  wire.watch(before_each, after_each)

  for _, row in ipairs{
    { "STARTTLS", {} },
    { "TLS from the first byte", { port = dovecot.imaps, tls = "implicit" } },
    { "no TLS, and a password in the clear that is allowed", { tls = false, insecure_auth = true } },
    { "no TLS, and SCRAM", { tls = false, auth = "scram" } },
    { "no TLS, and CRAM-MD5", { tls = false, auth = "cram_md5" } },
    { "PLAIN", { auth = "plain" } },
    { "LOGIN", { auth = "login" } },
    { "XOAUTH2", { auth = "xoauth2", user = "user", password = dovecot.token } },
    { "a user and a password that must be quoted", { user = "quoted", password = 'a "b\\c{3}' } },
    { "the same in the clear", { user = "quoted", password = 'a "b\\c{3}', tls = false, insecure_auth = true, auth = "login" } },
    { "a password of more than ASCII", { user = "umlaut", password = "p\195\164ssw\195\182rd" } },
    { "a user with a space", { user = "spaced user" } },
    { "a server that takes no password in the clear", { host = "127.0.0.2", sni = "localhost" } },
  } do
    it("by " .. row[1], function()
      local imap = assert(open(row[2]))
      assert.same({ "imap", true, row[2].host or "127.0.0.1" }, { net.kind(imap), imap.connected, imap.host })
      assert.is_table(imap:select("INBOX"))
      imap:logout()
      assert.is_false(imap.connected)
      fails.with("network/socket", imap.noop, imap)
      imap:close()
    end)
  end

  it("is refused with the server's code and text", function()
    local imap, no = open{ password = "wrong" }
    assert.same({ nil, "AUTHENTICATIONFAILED", "refusal" }, { imap, no.code, net.kind(no) })
    assert.is_string(no.text)
  end)

  it("sends no password where LOGINDISABLED is said", function()
    for _, more in ipairs{ { tls = false }, { sni = "other.example" }, { ca_bundle = servers.other_ca } } do
      more.host, more.password = "127.0.0.2", "hidden!"
      if more.tls == false then more.insecure_auth, more.auth = true, "login" end
      local ok, err = pcall(open, more)
      assert.is_false(ok)
      assert.is_nil(tostring(err):find("hidden!", 1, true))
    end
  end)

  it("passes the gate", function()
    local less = net.narrow{ "example.com" }
    fails.with("network/host_not_allowed", less.imap, { host = "127.0.0.1", port = dovecot.imap })
        local imap = net.class("puck.uno/imap/client").new{ host = "127.0.0.1", port = dovecot.imap, ca_bundle = servers.ca }
    assert.equal("imap client (127.0.0.1:" .. dovecot.imap .. ")", tostring(imap))
    imap:close()
    assert.equal("imap client (127.0.0.1:" .. dovecot.imap .. ", closed)", tostring(imap))
  end)
end)

describe("mailboxes", function()
  wire.watch(before_each, after_each)

  local NAMES = {
    "plain", "with space", "with \"quotes\"", "back\\slash", "per%cent", "st*r", "amp&ersand", "a&-b", "Entw\195\188rfe",
    "\208\159\208\190\209\135\209\130\208\176",
    "\229\143\176\229\140\151", "\224\184\170\224\184\167\224\184\177", "\240\159\152\128 smile", "(paren", "{5}", "deep/er/\195\169", "NIL",
  }

  it("have names of every charset, as imaplib sees them", function()
    local imap, _, opts = assert(open())
    for _, name in ipairs(NAMES) do assert(imap:create(name)) end
    local found = {}
    for _, box in ipairs(imap:list()) do found[box.name] = box end
    for _, name in ipairs(NAMES) do
      assert.is_truthy(found[name], name)
      assert.equal("/", found[name].separator)
      local box = assert(imap:select(name))
      assert.same({ name, 0, false }, { box.name, box.exists, box.read_only })
      assert.same({ messages = 0 }, { messages = imap:status(name, { "messages" }).messages })
    end
    local lines = python(opts.user, [[
for line in m.list()[1]: print(line.decode() if isinstance(line, bytes) else line)
]])
    for _, word in ipairs{ "Entw&APw-rfe", "&U,BTFw-", "amp&-ersand", "&2D3eAA- smile" } do assert.is_truthy(lines:find(word, 1, true), word) end
    assert.same({ 1, "Entw\195\188rfe" }, { #imap:list("Entw%"), imap:list("Entw%")[1].name })
    assert(imap:select("INBOX"))
    for _, name in ipairs(NAMES) do assert(imap:delete(name)) end
    assert.equal(0, #imap:list("Entw%"))
    imap:close()
  end)

  it("are renamed, subscribed to, and refused", function()
    local imap = assert(open())
    assert(imap:create("one"))
    assert(imap:rename("one", "tw\195\182"))
    assert(imap:subscribe("tw\195\182"))
    local names = {}
    for _, box in ipairs(imap:list("*", { subscribed = true })) do names[box.name] = true end
    assert.is_true(names["tw\195\182"])
    assert(imap:unsubscribe("tw\195\182"))
    local _, no = imap:create("tw\195\182")
    assert.equal("ALREADYEXISTS", no.code)
    _, no = imap:select("nowhere")
    assert.same({ "NO", true }, { no.code, no.text:find("nowhere", 1, true) ~= nil })
    assert.is_nil(imap.selected)
    local box = imap:examine("tw\195\182")
    assert.same({ true, true }, { box.read_only, imap.selected.read_only })
    assert.is_true(imap:unselect())
    assert.is_nil(imap.selected)
    assert.equal("", imap:namespace().personal[1].prefix)
    assert.is_truthy(table.concat(imap.capabilities, " "):find("IMAP4REV1", 1, true))
    imap:close()
  end)
end)

describe("messages", function()
  wire.watch(before_each, after_each)

  it("are added, fetched whole and in parts, and parsed", function()
    local imap, _, opts = assert(open())
    local added = assert(imap:append("INBOX", MAIL, { flags = { "\\Seen", "$Work" }, date = 1767265200 }))
    assert.equal(1, added.uid)
    assert(imap:select("INBOX"))
    local items = { "flags", "size", "internal_date", "envelope", "structure", "headers", "message", "BODY.PEEK[1.1]", "modseq" }
    local m = assert(imap:fetch(added.uid, items))[1]
    assert.same({ 1, 1, #MAIL, 1767265200 }, { m.uid, m.seq, m.size, m.internal_date })
    local flags = table.concat(m.flags, " ")
    assert.is_truthy(flags:find("\\Seen", 1, true) and flags:find("$Work", 1, true))
    assert.same({ "S\195\188\195\159", "J\195\182rg", "joerg@example.com", "b@example.com", "<1@example.com>" },
      { m.envelope.subject, m.envelope.from[1].name, m.envelope.from[1].address, m.envelope.to[2].address, m.envelope.message_id })
    assert.same({ "multipart/mixed", "text/plain", "1.1", "image/png", "2", "\195\164.png" }, {
      m.structure.type, m.structure.parts[1].parts[1].type, m.structure.parts[1].parts[1].section, m.structure.parts[2].type,
      m.structure.parts[2].section, "\195\164.png",
    })
    assert.equal("Gr=FC=DFe", m.body["1.1"])
    assert.equal(MAIL, m.body[""])
    assert.equal("S\195\188\195\159", m.headers.subject)
    local parsed = m.message
    assert.same({ "S\195\188\195\159", "J\195\182rg", "Gr\195\188\195\159e", "<p>Gr\195\188\195\159e</p>", 1767265200, "1@example.com" },
      { parsed.subject, parsed.from[1].name, parsed.text, parsed.html, parsed.date, parsed.message_id })
    assert.same({ "\195\164.png", "image/png", "\0\1\2\255", "c1", "attachment" }, {
      parsed.attachments[1].name, parsed.attachments[1].type, parsed.attachments[1].data, parsed.attachments[1].cid, parsed.attachments[1].disposition,
    })
    -- imaplib and email see the same.
    assert.equal("S\195\188\195\159|J\195\182rg <joerg@example.com>|Gr\195\188\195\159e|\195\164.png|000102ff\n", python(opts.user, [[
m.select()
data = m.uid("FETCH", "1", "(BODY.PEEK[])")[1][0][1]
p = email.message_from_bytes(data, policy=policy.default)
a = list(p.iter_attachments())[0]
print(p["subject"], p["from"], p.get_body(("plain",)).get_content().strip(), a.get_filename(), a.get_content().hex(), sep="|")
]]))
    assert.same({}, imap:fetch(99, "flags"))
    -- An empty list names nothing, least of all everything.
    assert.same({ {}, {}, {}, {}, {} }, {
      imap:fetch({}, "flags"), (imap:store({}, "add", "\\Deleted")), (imap:copy({}, "x")), (imap:move({}, "x")), (imap:expunge({})),
    })
    imap:close()
  end)

  it("are searched for by what they have", function()
    local imap = assert(open())
    for at = 1, 5 do
      assert(imap:append("INBOX", "From: a" .. at .. "@x.example\r\nSubject: caf\195\169 " .. at .. "\r\n\r\nbody " .. at .. "\r\n",
        { flags = at % 2 == 0 and { "\\Seen" } or {}, date = 86400 * 365 * at }))
    end
    assert(imap:select("INBOX"))
    for _, row in ipairs{
      { nil, { 1, 2, 3, 4, 5 } }, { "UNSEEN", { 1, 3, 5 } }, { "SEEN UID 1:3", { 2 } }, { { seen = true }, { 2, 4 } }, { { from = "a3@" }, { 3 } },
      { { subject = "caf\195\169 4" }, { 4 } }, { { body = 'bo"dy' }, {} }, { { unseen = true, uid = "2:4" }, { 3 } },
      { { ["or"] = { { from = "a1" }, { ["not"] = { uid = "1:4" } } } }, { 1, 5 } }, { { since = "1973-01-01" }, { 4, 5 } },
      { { before = 86400 * 365 * 2 }, { 1 } }, { { sequence = { 1, 2 } }, { 1, 2 } }, { { larger = 10000 }, {} }, { { header = { "From", "a2" } }, { 2 } },
      { { all = true }, { 1, 2, 3, 4, 5 } }, { {}, { 1, 2, 3, 4, 5 } }, { { keyword = "$Work" }, {} },
    } do
      local found, no = imap:search(row[1])
      assert.is_nil(no)
      table.sort(found)
      assert.same(row[2], { (table.unpack or unpack)(found) }) -- luacheck: ignore
    end
    assert.same("array", net.kind(imap:search{ larger = 10000 }))
    imap:close()
  end)

  it("have flags, are copied, moved and deleted, and imaplib sees it", function()
    local imap, _, opts = assert(open())
    for _ = 1, 4 do assert(imap:append("INBOX", "a: b\r\n\r\n")) end
    assert(imap:create("there"))
    assert(imap:select("INBOX"))
    local changed = assert(imap:store("1:2", "add", { "\\Flagged", "$Work" }))
    assert.same({ 2, 1 }, { #changed, changed[1].uid })
    assert.is_true(imap:store(1, "remove", "$Work", { silent = true }))
    assert.is_table(imap:store(2, "replace", { "\\Answered" }))
    local copied = assert(imap:copy({ 1, 2 }, "there"))
    assert.same({ 1, 2, 1, 2 }, { copied.from[1], copied.from[2], copied.to[1], copied.to[2] })
    assert.equal(1, #assert(imap:move(3, "there")).to)
    local _, no = imap:copy(1, "nowhere")
    assert.equal("TRYCREATE", no.code)
    imap:store("1,4", "add", "\\Deleted")
    assert.same({ 0, 1 }, { #imap:expunge({}), #imap:expunge(4) })
    assert.same({ 1 }, { #imap:expunge() })
    assert.equal(1, imap.selected.exists)
    assert.equal("['1 (UID 2 FLAGS (\\\\Answered))'] 3\n", (python(opts.user, [=[
m.select()
print([x.decode() for x in m.uid("FETCH", "1:*", "(FLAGS)")[1]], m.select("there")[1][0].decode())
]=]):gsub(" \\\\Recent", ""):gsub("\\\\Recent ?", "")))
    imap:close()
  end)

  it("are streamed out of a file and into one, of any size", function()
    local imap, _, opts = assert(open())
    local path = os.tmpname()
    local file = assert(io.open(path, "w+b"))
    file:write("Subject: large\r\n\r\n")
    for at = 1, 40000 do file:write(("line %08d of it\r\n"):format(at)) end
    file:seek("set", 0)
    local size = file:seek("end")
    file:seek("set", 0)
    local added = assert(imap:append("INBOX", file))
    assert(imap:select("INBOX"))
    local copy = assert(io.open(path, "w+b"))
    local m = imap:fetch(added.uid, "BODY.PEEK[]", { into = copy })[1]
    assert.same({ size, "" }, { m.lengths[""], m.body[""] })
    assert.equal(size, copy:seek("end"))
    local bytes, largest = 0, 0
    imap:fetch("1:*", { "size", "BODY.PEEK[TEXT]" }, { into = function(piece, of)
      assert.same({ added.uid, "TEXT" }, { of.uid, of.section })
      bytes, largest = bytes + #piece, math.max(largest, #piece)
    end })
    assert.equal(size - #"Subject: large\r\n\r\n", bytes)
    assert.is_true(largest <= 65536)
    assert.is_truthy(python(opts.user, [[
m.select()
data = m.fetch("1", "(BODY.PEEK[])")[1][0][1]
print(len(data), data == open("]] .. path .. [[", "rb").read())
]]):find(size .. " True", 1, true))
    file:close()
    copy:close()
    os.remove(path)
    -- A pipe does not know how much it gives.
    for _, row in ipairs{ { nil }, { { size = 15 } } } do
      local pipe = assert(io.popen("printf 'a: b\\r\\n\\r\\nhello\\r\\n'"))
      if row[1] then
        assert.is_number(imap:append("INBOX", pipe, row[1]).uid)
      else
        fails.plainly("bad argument #3 to 'append' (size is missing", imap.append, imap, "INBOX", pipe)
        assert.is_true(imap.connected)
      end
      pipe:close()
    end
    fails.plainly("bad argument #2 to 'append' (message must be", imap.append, imap, "INBOX", {})
    fails.plainly("into must be a function or an open file", imap.fetch, imap, 1, "flags", { into = {} })
    -- What is not given whole is said, and ends the connection: nobody knows what the server took.
    local err = fails.with("network/socket", imap.append, imap, "INBOX", function() return nil end, { size = 10 })
    assert.is_truthy(err.message:find("10 bytes before its size", 1, true), err.message)
    assert.is_false(imap.connected)
  end)

  it("come one by one where they are many", function()
    local imap = assert(open())
    for at = 1, 30 do assert(imap:append("INBOX", "Subject: " .. at .. "\r\n\r\n")) end
    assert(imap:select("INBOX"))
    local seen = {}
    assert.equal(30, imap:fetch("1:*", "envelope", { each = function(m) seen[#seen + 1] = m.envelope.subject end }))
    assert.same({ "1", "30", 30 }, { seen[1], seen[30], #seen })
    assert.equal(2, #imap:fetch("1:2", "flags", { sequence = true }))
    fails.plainly("mine", imap.fetch, imap, "1:*", "flags", { each = function() error("mine") end })
    assert.is_false(imap.connected)
  end)
end)

describe("idle", function()
  wire.watch(before_each, after_each)

  it("tells of news, and goes on between calls", function()
    local imap, _, opts = assert(open())
    local other = assert(open{ user = opts.user })
    assert(imap:select("INBOX"))
    assert.same({}, imap:idle{ timeout = 0 })
    assert(other:append("INBOX", "a: b\r\n\r\n"))
    local news = imap:idle{ timeout = 20 }
    assert.same({ "exists", 1 }, { news[1].kind, news[1].number })
    assert.equal(1, imap.selected.exists)
    -- Another command ends it, and what was said meanwhile is not lost.
    assert(other:select("INBOX"))
    other:store(1, "add", "\\Flagged")
    assert.equal(1, #imap:search())
    local flagged
    for _ = 1, 20 do
      for _, one in ipairs(imap:idle{ timeout = 5 }) do flagged = flagged or one.kind == "fetch" and table.concat(one.message.flags, " ") end
      if flagged then break end
    end
    assert.is_truthy(flagged:find("\\Flagged", 1, true))
    imap:close()
    other:close()
  end)

  it("is waited for by poll, among others", function()
    local imap, _, opts = assert(open())
    local other = assert(open{ user = opts.user })
    local p = peer.tcp[[ local c = accept() c:receive("*a") ]]
    local socket = net.tcp("127.0.0.1", p.port)
    assert(imap:select("INBOX"))
    imap:idle{ timeout = 0 }
    assert.same({}, net.poll({ socket, imap }, 0.05))
    other:append("INBOX", "a: b\r\n\r\n")
    local readable = net.poll({ socket, imap }, 20)
    assert.is_true(rawequal(readable[1], imap))
    assert.equal("exists", imap:idle{ timeout = 20 }[1].kind)
    socket:close()
    imap:close()
    other:close()
    p:finish()
  end)

  it("ends with the block that it is in, and the connection stays", function()
    local imap = assert(open())
    assert(imap:select("INBOX"))
    fails.with("network/timeout", net.within, 0.3, function() imap:idle{ timeout = 60 } end)
    assert.is_true(imap.connected)
    assert.same({}, imap:noop())
    imap:close()
  end)
end)

describe("the memory of clients of IMAP and POP3", function()
  it("does not grow with a message of 100 MiB, there and back", function()
    count = count + 1
    local said = child.run(([[
local net = launch{ "--allow-net=localhost" }
local peak = require("spec.support.peak")
local function options(port)
  return { host = "localhost", port = port, user = "imap%d", password = "s3cret", ca_bundle = %q, timeout = 60 }
end
local imap = assert(net.imap(options(%d)))
local head, line = "Subject: large\r\n\r\n", ("x"):rep(1022) .. "\r\n"
assert(imap:append("INBOX", head .. line:rep(300)))
assert(imap:select("INBOX"))
assert(imap:fetch(1, "BODY.PEEK[]", { into = function() end }))
local before, left = peak(), 100 * 1024
assert(imap:append("INBOX", function()
  left = left - 1
  return left == 100 * 1024 - 1 and head .. line or line
end, { size = #head + 100 * 1024 * #line }))
local fetched, retrieved = 0, 0
assert(imap:fetch(2, "BODY.PEEK[]", { into = function(piece) fetched = fetched + #piece end }))
local pop = assert(net.pop3(options(%d)))
assert(pop:retr(2, function(piece) retrieved = retrieved + #piece end))
print(fetched - #head, retrieved - #head, peak() - before)
assert(imap:store("1:2", "add", "\\Deleted"))
assert(imap:expunge())
imap:close()
pop:close()
]]):format(count, servers.ca, dovecot.imap, dovecot.pop3))
    local fetched, retrieved, grown = said:match("^(%d+)%s+(%d+)%s+(%-?%d+)")
    assert.same({ "104857600", "104857600" }, { fetched, retrieved }, said)
    assert.truthy(tonumber(grown) < 16 * 1024, grown .. " KiB")
  end)
end)

describe("mail.parse", function()
  local parse = net.mail.parse

  it("takes what it is given, and makes the best of it", function()
    for _, bytes in ipairs{
      "", "\0", "no header", ":", "a", "Subject", "Subject:", "\r\n\r\n", ("a: b\r\n"):rep(100), "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x",
      "Content-Type: multipart/mixed\r\n\r\n--\r\n", "Content-Transfer-Encoding: base64\r\n\r\n!!!", "From: <<>>,,;:\r\n\r\n", "Date: yesterday\r\n\r\n",
      "Content-Type: text/plain; charset=nonsense\r\n\r\n\255\254", ("Content-Type: message/rfc822\r\n\r\n"):rep(20000), ("\255"):rep(1000),
    } do
      local m = parse(bytes)
      assert.same({ "hash", "array", "array", "hash" }, { net.kind(m), net.kind(m.from), net.kind(m.attachments), net.kind(m.headers) })
    end
    for cut = 0, #MAIL do assert.is_table(parse(MAIL:sub(1, cut))) end
    assert.equal("network/too_large", fails.with("network/too_large", parse, ("--x\r\n"):rep(100001)).class:match("network/.*"))
    fails.plainly("bad argument #1 to 'parse' (bytes must be a string, got nil)", parse)
  end)

  it("finds groups, references and texts", function()
    local m = parse("To: friends: a@x, B <b@x>;, c@x\r\nReferences: <1@x> <2@x>\r\nIn-Reply-To: <2@x>\r\nX-Odd: =?utf-8?b?w6k=?=\r\n\r\nhello")
    assert.same({ "a@x", "friends", "c@x" }, { m.to[1].address, m.to[1].group, m.to[3].address })
    assert.same({ "1@x", "2@x", "2@x", "\195\169", "hello" }, { m.references[1], m.references[2], m.in_reply_to[1], m.headers["x-odd"], m.text })
    assert.same({ "X-Odd", "=?utf-8?b?w6k=?=" }, { m.raw_headers[4][1], m.raw_headers[4][2] })
  end)
end)
