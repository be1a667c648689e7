-- `net.smtp` against postfix (with dovecot's logins) and aiosmtpd; what arrived is read by Python's `email`.

local fails = require("spec.support.fails")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local subject = require("spec.support.subject")
local wire = require("spec.support.wire")
local net = subject.net

local postfix, aiosmtpd = servers.postfix, servers.mail_files

local function open(more)
  local opts = { host = "localhost", timeout = 20, ca_bundle = more.tls ~= false and servers.ca or nil }
  for key, value in pairs(more) do opts[key] = value end
  return net.smtp(opts)
end

local LOGIN = { user = "user", password = "s3cret" }
local function login(more)
  more.user, more.password = more.user or LOGIN.user, more.password or LOGIN.password
  return open(more)
end

--- What Python reads in a file.
local function parsed(path)
  local running = process.start("python3 -B spec/support/parsed.py " .. process.quote(path))
  local text = running:rest()
  local load = loadstring or load -- luacheck: ignore
  return assert(load(text))()
end

--- Reads what has arrived with a subject for a user of postfix: the message's text as Python has it, and its path.
local function arrived(user, subject_)
  for _ = 1, 200 do
    local list = io.popen("grep -ls 'Subject: " .. subject_ .. "' " .. postfix.inbox .. "/" .. user .. "/new/* 2>/dev/null")
    local path = list:read("*l")
    list:close()
    if path then return parsed(path), path end
    os.execute("sleep 0.05")
  end
  error("nothing arrived for " .. user .. " with the subject " .. subject_)
end

--- Sends to aiosmtpd and answers the outcome, what it has kept, and that as Python reads it.
local function kept(message, opts)
  local mail = assert(open{ port = aiosmtpd.mail, tls = false, host = "127.0.0.1" })
  message.from = message.from or "Ann <ann@spec.test>"
  message.to = message.to or "bob@spec.test"
  local outcome = mail:send(message, opts)
  mail:close()
  local got = dofile(aiosmtpd.kept)
  local path = process.file(got.content)
  local read = parsed(path)
  os.remove(path)
  return outcome, got, read
end

local function header(read, name)
  for _, pair in ipairs(read.headers) do
    if pair[1]:lower() == name:lower() then return pair[2] end
  end
end

local function types(read)
  local list = {}
  for at, part in ipairs(read.parts) do list[at] = part.type end
  return table.concat(list, " ")
end

local number = 0
local function fresh()
  number = number + 1
  return ("spec-%d-%d"):format(os.time(), number)
end

describe("net.smtp", function()
  wire.watch(before_each, after_each)

  it("is a client with a kind, a class, and no way back", function()
    local mail = assert(open{ port = aiosmtpd.mail, tls = false, host = "127.0.0.1" })
    assert.equal("smtp", net.kind(mail))
    assert.equal("smtp client (127.0.0.1:" .. aiosmtpd.mail .. ")", tostring(mail))
    assert.is_true(mail.connected)
    assert.same({ "127.0.0.1", aiosmtpd.mail, 20 }, { mail.host, mail.port, mail.timeout })
    mail.timeout = 7
    assert.equal(7, mail.timeout)
    fails.plainly("timeout must be 0 or more seconds", function() mail.timeout = "x" end)
    fails.plainly("cannot be changed", function() mail.send = print end)
    assert.is_false(getmetatable(mail))
    assert.is_string(mail.extensions.SIZE)
    assert.is_nil(mail.nothing)
    mail:close()
    mail:close()
    assert.is_false(mail.connected)
    assert.equal("smtp client (127.0.0.1:" .. aiosmtpd.mail .. ", closed)", tostring(mail))
    local err = fails.with("network/socket", mail.verify, mail, "x")
    assert.equal("verify: the connection is closed (it was closed)", err.message)
    fails.plainly("call it with a colon", mail.send, {}, {})
    local other = net.class("puck.uno/smtp/client").new{ host = "127.0.0.1", port = aiosmtpd.mail, tls = false }
    assert.equal("smtp", net.kind(other))
    other:close()
  end)

  it("goes through the gate, and ends with its network", function()
    local less = net.narrow{ "127.0.0.1:" .. aiosmtpd.mail }
    fails.with("network/port_not_allowed", less.smtp, { host = "127.0.0.1", port = aiosmtpd.tls, tls = false })
    fails.with("network/host_not_allowed", less.smtp, { host = "mail.example.com" })
    local mail = assert(less.smtp{ host = "127.0.0.1", port = aiosmtpd.mail, tls = false })
    less.revoke()
    fails.with("network/socket", mail.verify, mail, "ann@spec.test")
    assert.is_false(mail.connected)
  end)

  it("checks its options", function()
    for words, opts in pairs{
      ["host is missing"] = { port = 25 }, ["unknown option \"usr\""] = { host = "x", usr = "a" },
      ["tls must be"] = { host = "x", tls = true }, ["auth must be"] = { host = "x", auth = "gssapi" },
      ["user without password"] = { host = "x", user = "a" }, ["password without user"] = { host = "x", password = "a" },
      ["auth without user and password"] = { host = "x", auth = "plain" }, ["verify needs TLS"] = { host = "x", tls = false, verify = false },
      ["auth = \"plain\" sends the password in the clear"] = { host = "x", tls = false, auth = "plain", user = "a", password = "b" },
      ["port must be"] = { host = "x", port = 70000 }, ["ca_bundle: /no.pem"] = { host = "127.0.0.1", port = aiosmtpd.tls, ca_bundle = "/no.pem" },
      ["host: "] = { host = "no such host", port = 25 },
    } do
      fails.plainly("bad argument #1 to 'smtp' (" .. words, net.smtp, opts)
    end
    fails.plainly("a table of options expected", net.smtp)
  end)

  it("verifies the server's certificate", function()
    fails.with("network/tls", open, { port = aiosmtpd.tls, ca_bundle = servers.other_ca })
    local mail = assert(open{ port = aiosmtpd.tls })
    mail:close()
  end)

  if postfix then
    for _, auth in ipairs{ "auto", "plain", "login", "cram_md5", "scram" } do
      for _, tls in ipairs{ "starttls", "implicit", false } do
        it("logs in to postfix by " .. auth .. " with tls = " .. tostring(tls), function()
          local port = tls == "starttls" and postfix.submission or tls and postfix.implicit or postfix.plain
          local insecure = tls == false or nil
          local mail = assert(login{ port = port, tls = tls, auth = auth, insecure_auth = insecure })
          local outcome = mail:send{ from = "ann@spec.test", to = "bob@spec.test", subject = fresh(), body = "hi" }
          assert.is_true(outcome.ok, outcome.text)
          mail:close()
          local no, refused = login{ port = port, tls = tls, auth = auth, insecure_auth = insecure, password = "wrong" }
          assert.is_nil(no)
          assert.equal(535, refused.code)
          assert.equal("refusal", net.kind(refused))
          assert.truthy(tostring(refused):find("^535 "))
        end)
      end
    end

    it("logs in with a name and a password of other letters", function()
      for _, auth in ipairs{ "scram", "plain", "cram_md5" } do
        assert(login{ port = postfix.submission, auth = auth, user = "j\195\182rg", password = "s\195\169cret=,x" }):close()
      end
    end)

    it("sends no password in the clear, unless it is told to", function()
      local err = fails.with("network/tls", login, { port = postfix.plain, tls = false, auth = "auto", user = "user", password = "x" } and
        { port = aiosmtpd.mail, host = "127.0.0.1", tls = false })
      assert.truthy(err.message:find("insecure_auth", 1, true))
      -- CRAM-MD5 and SCRAM do not send it.
      assert(login{ port = postfix.plain, tls = false }):close()
    end)

    it("knows what the server can", function()
      local mail = assert(open{ port = postfix.submission })
      local can = mail.extensions
      for _, keyword in ipairs{ "PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN", "AUTH", "ENHANCEDSTATUSCODES" } do assert.is_string(can[keyword]) end
      assert.is_nil(can.STARTTLS)
      assert.equal("200000000", can.SIZE)
      can.SIZE = "1"
      assert.equal("200000000", mail.extensions.SIZE)
      mail:close()
    end)

    it("tells each recipient that is refused, and the sender", function()
      for _, port in ipairs{ postfix.submission, postfix.narrow } do
        local mail = assert(open{ port = port, tls = port == postfix.submission and "starttls" or false })
        local subject_ = fresh()
        local outcome = mail:send{
          from = "ann@spec.test", to = { "Bob <bob@spec.test>", "nobody@spec.test" }, cc = "who@elsewhere.example", bcc = "ann@spec.test",
          subject = subject_, body = "hi",
        }
        assert.is_false(outcome.ok)
        assert.same({ "bob@spec.test", "ann@spec.test" }, outcome.accepted)
        assert.equal(550, outcome.refused["nobody@spec.test"].code)
        assert.equal(554, outcome.refused["who@elsewhere.example"].code)
        assert.equal(250, outcome.code)
        assert.equal("array", net.kind(outcome.accepted))
        -- The blind copy arrived, and neither has a word of it.
        for _, user in ipairs{ "bob", "ann" } do
          local read, path = arrived(user, subject_)
          assert.is_nil(header(read, "bcc"))
          assert.equal("Bob <bob@spec.test>, nobody@spec.test", header(read, "to"))
          assert.falsy(process.read(path):match("\nSubject.*"):find("ann@spec.test", 1, true) and header(read, "bcc"))
        end
        -- Nobody, and then somebody over the same connection.
        local none = mail:send{ from = "ann@spec.test", to = "nobody@spec.test", body = "x" }
        assert.same({ false, 0, 550 }, { none.ok, #none.accepted, none.code })
        local evil = mail:send_raw("evil@spec.test", "bob@spec.test", "Subject: x\r\n\r\nx")
        assert.equal("not from you", evil.refused["bob@spec.test"].text:match("not from you"))
        assert.is_true(mail:send{ from = "ann@spec.test", to = "bob@spec.test", body = "x" }.ok)
        mail:close()
      end
    end)

    it("sends to many, in batches", function()
      local mail, to = assert(open{ port = postfix.submission }), {}
      for at = 1, 160 do to[at] = "nobody" .. at .. "@spec.test" end
      to[77], to[160] = "bob@spec.test", "ann@spec.test"
      local outcome = mail:send_raw("ann@spec.test", to, "Subject: " .. fresh() .. "\r\n\r\nx")
      table.sort(outcome.accepted)
      assert.same({ "ann@spec.test", "bob@spec.test" }, outcome.accepted)
      local count = 0
      for _ in pairs(outcome.refused) do count = count + 1 end
      assert.equal(158, count)
      mail:close()
    end)

    it("says what does not fit before it sends it", function()
      local mail = assert(open{ port = postfix.narrow, tls = false })
      local large = mail:send_raw("ann@spec.test", "bob@spec.test", ("x"):rep(20001))
      assert.same({ 552, false }, { large.code, large.ok })
      assert.truthy(large.text:find("20001", 1, true))
      local eight = mail:send_raw("ann@spec.test", "bob@spec.test", "Subject: x\r\n\r\n\195\164")
      assert.equal(554, eight.code)
      local letters = mail:send{ from = "ann@spec.test", to = "j\195\182rg@spec.test", body = "x" }
      assert.same({ 550, 550 }, { letters.code, letters.refused["j\195\182rg@spec.test"].code })
      -- A name in other letters is no address in them.
      assert.is_true(mail:send{ from = "J\195\182rg <ann@spec.test>", to = "bob@spec.test", body = "\195\164" }.ok)
      mail:close()
    end)

    it("reaches addresses of other letters", function()
      local mail, subject_ = assert(open{ port = postfix.submission }), fresh()
      local outcome = mail:send{ from = "ann@spec.test", to = "j\195\182rg@spec.test", subject = subject_, body = "x" }
      assert.is_true(outcome.ok, outcome.text)
      assert.equal("j\195\182rg@spec.test", header(arrived("joerg", subject_), "to"))
      mail:close()
    end)

    it("asks for notes about delivery", function()
      local mail, subject_ = assert(open{ port = postfix.submission }), fresh()
      assert.is_true(mail:send({ from = "ann@spec.test", to = "bob@spec.test", subject = subject_, body = "x" },
        { dsn = { notify = { "success", "failure" }, ret = "hdrs", envid = "id=1+" .. subject_ } }).ok)
      -- Postfix sends one to the envelope's sender.
      local note
      for _ = 1, 200 do
        local list = io.popen("grep -ls 'Original-Envelope-Id: id=1+" .. subject_ .. "' " .. postfix.inbox .. "/ann/new/* 2>/dev/null")
        note = list:read("*l")
        list:close()
        if note then break end
        os.execute("sleep 0.05")
      end
      assert.is_string(note)
      assert.truthy(process.read(note):find("Action: delivered", 1, true))
      mail:close()
      for words, dsn in pairs{
        ["ret must be"] = { ret = "body" }, ["notify must be"] = { notify = { "sometimes" } }, ["notify is empty"] = { notify = {} },
        ["envid must be"] = { envid = "a\r\nb" }, ["unknown option"] = { orcpt = "x" },
      } do
        fails.plainly("bad argument #2 to 'send' (dsn: " .. words, mail.send, mail, { from = "a@x", to = "b@x" }, { dsn = dsn })
      end
    end)

    it("asks whether an address is known", function()
      local mail = assert(open{ port = postfix.submission })
      assert.equal(252, mail:verify("ann@spec.test").code)
      local no, refused = mail:verify("nobody@spec.test")
      assert.same({ nil, 550 }, { no, refused.code })
      mail:close()
    end)
  else
    pending("postfix is missing, or nobody here may start it")
  end

  -- What Python reads.
  it("writes a message that says what it was told", function()
    local outcome, got, read = kept{
      from = { name = 'M\195\188ller, "Ann"', address = "ann@spec.test" },
      to = { "bob@spec.test", { name = "Carl", address = "carl@spec.test" } }, cc = "\"Doe, Dan\" <dan@spec.test>, eve@spec.test", bcc = { "fay@spec.test" },
      reply_to = "answers@spec.test", subject = "Gr\195\188\195\159e \226\152\131 " .. ("lang "):rep(40), body = "one\ntwo\r\n.three\r\n..\n\195\164",
      headers = { ["X-Mailer"] = "caspian", ["X-List"] = { "a", "b" }, ["In-Reply-To"] = "<1@x>", ["X-\115nowman"] = "\226\152\131", Priority = 3 },
    }
    assert.is_true(outcome.ok)
    assert.equal("ann@spec.test", got.from)
    assert.same({ "bob@spec.test", "carl@spec.test", "dan@spec.test", "eve@spec.test", "fay@spec.test" }, got.rcpt)
    assert.equal(0, read.defects)
    assert.equal('"M\195\188ller, \\"Ann\\"" <ann@spec.test>', header(read, "from"))
    assert.equal("bob@spec.test, Carl <carl@spec.test>", header(read, "to"))
    assert.equal('"Doe, Dan" <dan@spec.test>, eve@spec.test', header(read, "cc"))
    assert.is_nil(header(read, "bcc"))
    assert.falsy(got.content:find("fay", 1, true))
    assert.equal("answers@spec.test", header(read, "reply-to"))
    assert.equal("Gr\195\188\195\159e \226\152\131 " .. ("lang "):rep(40), header(read, "subject"))
    assert.same({ "caspian", "<1@x>", "\226\152\131", "3", "a" }, { header(read, "x-mailer"), header(read, "in-reply-to"), header(read, "x-snowman"),
      header(read, "priority"), header(read, "x-list") })
    assert.truthy(header(read, "message-id"):find("^<%x+@spec%.test>$"))
    assert.truthy(header(read, "date"):find("%+0000$"))
    assert.same({ "text/plain", "utf-8" }, { read.parts[1].type, read.parts[1].charset })
    assert.equal("one\ntwo\n.three\n..\n\195\164", (read.parts[1].text:gsub("\r\n", "\n"):gsub("\n$", "")))
  end)

  it("nests text, HTML, pictures, other forms and attachments", function()
    local path = process.file(("\0\1\2\255"):rep(50000))
    local _, got, read = kept{
      subject = "all", body = "text", body_html = "<img src='cid:logo@x'>\195\164",
      body_parts = { { type = "text/calendar; method=REQUEST", data = "BEGIN:VCALENDAR\r\n" } },
      attachments = {
        { path = path, name = "\195\164 \"b\".bin" }, { name = "empty", data = "", type = "text/csv" },
        { data = "\137PNG\n", type = "image/png", cid = "logo@x", name = "logo.png" },
        { type = "message/rfc822", data = "Subject: in\n\nside" },
      },
    }
    os.remove(path)
    assert.equal(0, read.defects)
    assert.equal("multipart/mixed multipart/alternative text/plain multipart/related text/html image/png text/calendar application/octet-stream "
      .. "text/csv message/rfc822 text/plain", types(read))
    local p = read.parts
    assert.same({ "text", "<img src='cid:logo@x'>\195\164", "\137PNG\n", "BEGIN:VCALENDAR\r\n", "" }, { p[3].text, p[5].text, p[6].text, p[7].text, p[9].text })
    assert.same({ "inline", "<logo@x>", "logo.png", "attachment", "\195\164 \"b\".bin", 200000 },
      { p[6].disposition, p[6].cid, p[6].filename, p[8].disposition, p[8].filename, p[8].length })
    assert.equal(net.hash.sha256(("\0\1\2\255"):rep(50000)), p[8].sha256)
    -- Lines of base64 are short, and nothing of the placeholder is left.
    for line in got.content:gmatch("[^\r\n]+") do assert.is_true(#line <= 998) end
  end)

  it("sends what it was given as it is, dots and ends of lines apart", function()
    local mail = assert(open{ port = aiosmtpd.mail, tls = false, host = "127.0.0.1" })
    local text = "Subject: x\r\n\r\n.a\r\n..\r\n\n.\n\r.\rb\r\n.\r\nMAIL FROM:<evil@x>\r\nend"
    local expected = "Subject: x\r\n\r\n.a\r\n..\r\n\r\n.\r\n\r\n.\r\nb\r\n.\r\nMAIL FROM:<evil@x>\r\nend\r\n"
    -- Whole, and cut at every byte.
    for cut = -1, #text do
      local pieces = { text:sub(1, cut), text:sub(cut + 1) }
      local data = text
      if cut >= 0 then data = function() return table.remove(pieces, 1) end end
      assert.is_true(mail:send_raw("a@spec.test", "b@spec.test", data).ok)
      assert.equal(expected, dofile(aiosmtpd.kept).content)
    end
    assert.is_true(mail:send_raw("", "b@spec.test", "").ok)
    assert.same({ "<>", "" }, { dofile(aiosmtpd.kept).from, dofile(aiosmtpd.kept).content })
    assert.is_true(mail:send_raw("<a@spec.test>", { "b@spec.test", "<b@spec.test>" }, "x").ok)
    assert.same({ "b@spec.test" }, dofile(aiosmtpd.kept).rcpt)
    mail:close()
  end)

  it("gives up a message whose source fails, and the connection with it", function()
    local mail = assert(open{ port = aiosmtpd.mail, tls = false, host = "127.0.0.1" })
    os.remove(aiosmtpd.kept)
    local at = 0
    local ok, err = pcall(mail.send_raw, mail, "a@spec.test", "b@spec.test", function()
      at = at + 1
      if at == 3 then error({ mine = true }) end
      return "line\r\n"
    end)
    assert.is_false(ok)
    assert.is_true(err.mine)
    assert.is_false(mail.connected)
    assert.is_nil(io.open(aiosmtpd.kept))
    mail = assert(open{ port = aiosmtpd.mail, tls = false, host = "127.0.0.1" })
    fails.plainly("the function must return strings", mail.send_raw, mail, "a@spec.test", "b@spec.test", function() return 7 end)
    mail = assert(open{ port = aiosmtpd.mail, tls = false, host = "127.0.0.1" })
    err = fails.with("network/socket", mail.send_raw, mail, "a@spec.test", "b@spec.test", function() mail:verify("x") end)
    assert.truthy(err.message:find("verify: the client is in use by another call", 1, true), err.message)
  end)

  it("can be used from coroutines, also where the source yields", function()
    local mail = assert(open{ port = aiosmtpd.mail, tls = false, host = "127.0.0.1" })
    local work = coroutine.wrap(function()
      local left = 3
      return mail:send_raw("a@spec.test", "b@spec.test", function()
        left = left - 1
        coroutine.yield("wait")
        return left >= 0 and "x\r\n" or nil
      end)
    end)
    local seen, outcome = 0, work()
    while outcome == "wait" do seen, outcome = seen + 1, work() end
    assert.same({ 4, true }, { seen, outcome.ok })
    assert.equal("x\r\nx\r\nx\r\n", dofile(aiosmtpd.kept).content)
    mail:close()
  end)

  it("reads attachments only where files may be read", function()
    local path = process.file("contents")
    local less = net.narrow{ "--allow-net=127.0.0.1" }
    local mail = assert(less.smtp{ host = "127.0.0.1", port = aiosmtpd.mail, tls = false })
    local message = { from = "a@spec.test", to = "b@spec.test", attachments = { { path = path } } }
    fails.plainly("bad argument #1 to 'send' (attachments[1]: files are not permitted here", mail.send, mail, message)
    message.attachments[1] = { data = "contents" }
    assert.is_true(mail:send(message).ok)
    mail:close()
    mail = assert(open{ port = aiosmtpd.mail, tls = false, host = "127.0.0.1" })
    message.attachments[1] = { path = "/nonexistent" }
    fails.plainly("attachments[1]: /nonexistent: No such file or directory", mail.send, mail, message)
    message.attachments[1] = { path = "/dev/zero" }
    fails.plainly("attachments[1]: /dev/zero: not a regular file", mail.send, mail, message)
    assert.is_true(mail.connected)
    mail:close()
    os.remove(path)
  end)

  local MESSAGE = { from = "a@spec.test", to = "b@spec.test" }
  for words, more in pairs{
    ["from is missing"] = { from = false }, ["the message has no recipient"] = { to = {} }, ["to[1] must be a string"] = { to = { 7 } },
    ["to: \"b\": an address has an @"] = { to = "b" }, ["to[2]: "] = { to = { "b@x", "b@x, c" } }, ["to has a hole"] = { to = { [2] = "a@x" } },
    ["to: it holds a control character (U+000D)"] = { to = "b@x\r\nRCPT TO:<c@x>" }, ["cc: "] = { cc = "<a@x> SIZE=1" },
    ["bcc: address is missing"] = { bcc = { name = "x" } }, ["sender must be one"] = { sender = "a@x, b@x" }, ["from has several"] = { from = "a@x, b@x" },
    ["reply_to: "] = { reply_to = "x\0@y" }, ["subject: it holds CR, LF or NUL"] = { subject = "a\r\nBcc: c@x" },
    ["headers: X-A: it holds CR, LF or NUL"] = { headers = { ["X-A"] = "a\nBcc: c@x" } }, ["headers: a header's name"] = { headers = { ["X-A\r\nB"] = "x" } },
    ["headers: Bcc is never sent"] = { headers = { BCC = "c@x" } }, ["headers: Content-Type is not a header"] = { headers = { ["Content-Type"] = "x" } },
    ["headers: a value must be a string"] = { headers = { ["X-A"] = print } }, ["headers: pairs of name and value"] = { headers = { "x" } },
    ["attachments[1]: exactly one of data and path"] = { attachments = { {} } }, ["attachments[1] must be a table"] = { attachments = { "x" } },
    ["attachments[1].type: a media type is"] = { attachments = { { data = "", type = "png" } } },
    ["attachments[1].type: a part is no multipart"] = { attachments = { { data = "", type = "multipart/mixed" } } },
    ["attachments[1].name: it holds CR"] = { attachments = { { data = "", name = "a\r\nb" } } },
    ["attachments[1].cid: a cid is"] = { attachments = { { data = "", cid = "<a>" } } },
    ["attachments[1]: unknown option \"file\""] = { attachments = { { file = "x" } } },
    ["body_parts[1]: type is missing"] = { body_parts = { { data = "x" } } }, ["body is not valid UTF-8"] = { body = "\255" },
    ["unknown option \"text\""] = { text = "x" },
  } do
    it("refuses a message: " .. words, function()
      local mail = assert(open{ port = aiosmtpd.mail, tls = false, host = "127.0.0.1" })
      local message = {}
      for key, value in pairs(MESSAGE) do message[key] = value end
      for key, value in pairs(more) do message[key] = value or nil end
      if more.from == false then message.from = nil end
      local text = fails.plainly("bad argument #1 to 'send' (", mail.send, mail, message)
      assert.truthy(text:find(words, 1, true), text)
      assert.is_true(mail.connected)
      mail:close()
    end)
  end

  if postfix then
    it("streams 100 MiB from a file, and keeps little of it", function()
      local path = os.tmpname()
      os.execute("head -c 104857600 /dev/urandom > " .. path)
      local subject_ = fresh()
      local code = ([[
        local servers = dofile(%q)
        local net = launch{ "--allow-net=localhost" }
        local peak = require("spec.support.peak")
        local mail = assert(net.smtp{ host = "localhost", port = servers.postfix.submission, ca_bundle = servers.ca })
        assert(mail:send{ from = "ann@spec.test", to = "bob@spec.test", body = "small" }.ok)
        collectgarbage() collectgarbage()
        local before = peak()
        local outcome = mail:send{ from = "ann@spec.test", to = "bob@spec.test", subject = %q, attachments = { { path = %q } } }
        print(outcome.ok, (peak() - before) < 16384, peak() - before)
        mail:close()]]):format(os.getenv("CASPIAN_SERVERS"), subject_, path)
      local text = require("spec.support.child").run(code)
      assert.truthy(text:find("^true\ttrue"), text)
      local read = arrived("bob", subject_)
      local sum = io.popen("sha256sum " .. path)
      assert.equal(sum:read("*a"):match("^%x+"), read.parts[#read.parts].sha256)
      sum:close()
      os.remove(path)
    end)
  end
end)
