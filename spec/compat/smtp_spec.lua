-- The drop-in's `socket.smtp`, against aiosmtpd; and what no address, header or server may do.

local dropin = require("spec.support.dropin")
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local smtp, ltn12, mime, socket = dropin.require("socket.smtp"), dropin.require("ltn12"), dropin.require("mime"), dropin.require("socket")

local server = servers.mail_files

-- Sends, and answers what the server kept.
local function kept(mail)
  os.remove(server.kept)
  mail.server = mail.server or "127.0.0.1"
  mail.port = mail.port or server.mail
  mail.from = mail.from or "<a@spec.test>"
  mail.rcpt = mail.rcpt or "<b@spec.test>"
  mail.source = mail.source or smtp.message{ headers = { subject = "hi" }, body = "text" }
  local done, err = smtp.send(mail)
  if not done then return nil, err end
  assert.equal(1, done)
  return dofile(server.kept)
end

local function all(source)
  local list = {}
  local done, err = ltn12.pump.all(source, (ltn12.sink.table(list)))
  return done and table.concat(list), err
end

-- A server that offers what `extensions` say and answers 250 to everything; reports every line that it was sent.
local function server_with(extensions)
  return peer.tcp(([[
    local c = accept()
    c:send("220 hi\r\n")
    for line in function() return c:receive("*l") end do
      report(line)
      c:send(line:match("^EHLO") and %q or line == "DATA" and "354 go\r\n" or "250 fine\r\n")
    end]]):format(extensions))
end

describe("socket.smtp", function()
  after_each(process.kill_all)

  it("has what LuaSocket's has", function()
    assert.same({ 60, "localhost", 25, "localhost", "-0000" }, { smtp.TIMEOUT, smtp.SERVER, smtp.PORT, smtp.DOMAIN, smtp.ZONE })
    for _, name in ipairs{ "send", "message", "open" } do assert.is_function(smtp[name]) end
  end)

  describe("sends", function()
    it("a message to one and to many", function()
      local mail = kept{ rcpt = { "<b@spec.test>", "<c@spec.test>" } }
      assert.same({ "a@spec.test", { "b@spec.test", "c@spec.test" }, false }, { mail.from, mail.rcpt, mail.tls })
      assert.matches("\r\nSubject: hi\r\n", mail.content, 1, true)
      assert.same({ "b@spec.test" }, kept{}.rcpt)
    end)

    it("every byte of a body, its dots and its line ends", function()
      local mail = kept{ source = ltn12.source.string("Subject: x\r\n\r\n.one\r\n..two\r\nbare\n.three\r.four\r\n.\r\nend") }
      assert.equal("Subject: x\r\n\r\n.one\r\n..two\r\nbare\r\n.three\r\n.four\r\n.\r\nend\r\n", mail.content)
    end)

    it("with a step, over what create makes", function()
      local steps, made = 0, 0
      kept{
        step = function(...) steps = steps + 1 return ltn12.pump.step(...) end,
        create = function() made = made + 1 return socket.tcp() end,
      }
      assert.is_true(steps > 1)
      assert.equal(1, made)
    end)

    it("the user's password, and says so if it is wrong", function()
      assert.equal("user", kept{ user = "user", password = "s3cret" }.login)
      local mail, err = kept{ user = "user", password = "wrong" }
      assert.is_nil(mail)
      assert.matches("^535 ", err)
    end)

    it("by hand, too", function()
      os.remove(server.kept)
      local s = smtp.open("127.0.0.1", server.mail)
      local extensions = s:greet("me.example")
      assert.matches("AUTH", extensions, 1, true)
      assert.equal(1, s:auth(nil, nil, extensions))
      assert.equal(235, (s:plain("user", "s3cret")))
      s:mail("<x@spec.test>")
      s:rcpt("<y@spec.test>")
      s:data(ltn12.source.chain(ltn12.source.string("by hand\r\n.\r\n"), mime.stuff()))
      s:quit()
      assert.equal(1, s:close())
      assert.matches("^by hand\r\n.\r\n", dofile(server.kept).content)
    end)

    it("nothing where the source fails", function()
      local source = ltn12.source.cat(ltn12.source.string("half"), ltn12.source.error("disk full"))
      local mail, err = kept{ source = source }
      assert.same({ nil, "disk full" }, { mail, err })
      assert.is_nil((io.open(server.kept)))
    end)

    it("to a server that says no, and says what it said", function()
      assert.same({ nil, "connection refused" }, { kept{ port = 1 } })
      local p = peer.tcp[[ local c = accept() c:send("554 go away\r\n") c:receive("*a") ]]
      assert.same({ nil, "554 go away" }, { kept{ port = p.port } })
    end)
  end)

  describe("refuses", function()
    for name, mail in pairs{
      ["a line break in from"] = { from = "<a@b>\r\nRCPT TO:<victim@x>" },
      ["a line break in rcpt"] = { rcpt = { "<a@b>", "<c@d>\nDATA" } },
      ["a line break in domain"] = { domain = "x\r\nQUIT" },
    } do
      it(name, function()
        local p = server_with("250 fine\r\n")
        mail.port = p.port
        assert.same({ nil, "a line break in a command" }, { kept(mail) })
        for _, line in ipairs(p:finish()) do assert.is_nil(line:find("victim") or line:find("^DATA") or line:find("^QUIT")) end
      end)
    end

    for name, row in pairs{
      ["a line break in a value"] = { { subject = "a\r\nBcc: x@y" }, "invalid value of header 'subject': it holds a line break" },
      ["LF in a value"] = { { subject = "a\nBcc: x@y" }, "invalid value of header 'subject': it holds a line break" },
      ["the end of the header in a value"] = { { subject = "a\r\n \r\n\r\nbody" }, "invalid value of header 'subject': it holds a line break" },
      ["NUL in a value"] = { { subject = "a\0" }, "invalid value of header 'subject': it holds a line break" },
      ["a line break in a name"] = { { ["x\r\ny"] = "a" }, "invalid header name" },
      ["a colon in a name"] = { { ["x: y"] = "a" }, "invalid header name" },
      ["a table for a value"] = { { subject = {} }, "invalid value of header 'subject': a string expected, got table" },
    } do
      it(name, function()
        assert.same({ nil, row[2] }, { all(smtp.message{ headers = row[1], body = "x" }) })
        assert.same({ nil, row[2] }, { all(smtp.message{ body = { { headers = row[1], body = "x" } } }) })
      end)
    end

    it("a password in clear text, off this machine", function()
      -- What connects as if to another machine.
      local function far()
        local c = socket.tcp()
        getmetatable(c).__index.getpeername = getmetatable(c).__index.getpeername
        return c
      end
      local p = server_with("250-fine\r\n250 AUTH LOGIN PLAIN\r\n")
      local s = smtp.open("127.0.0.1", p.port, far)
      local control = s.tp:getcontrol()
      local methods = getmetatable(control).__index
      local getpeername = methods.getpeername
      methods.getpeername = function() return "192.0.2.1", 25, "inet" end
      local answer, err = socket.protect(function() return s:auth("user", "s3cret", s:greet()) end)()
      methods.getpeername = getpeername
      assert.is_nil(answer)
      assert.matches("authentication in clear text refused", err, 1, true)
      for _, line in ipairs(p:finish()) do assert.is_nil(line:find("AUTH", 1, true)) end
    end)
  end)

  describe("STARTTLS", function()
    -- A connection that seems to lead to another machine.
    local methods, getpeername
    before_each(function()
      local c = assert(socket.connect("127.0.0.1", server.mail))
      methods = getmetatable(c).__index
      c:close()
      getpeername = methods.getpeername
      methods.getpeername = function() return "192.0.2.1", 25, "inet" end
    end)
    after_each(function() methods.getpeername = getpeername end)

    it("is used before a password, and verified", function()
      local mail = kept{ server = "localhost", port = server.tls, user = "user", password = "s3cret", cafile = servers.ca }
      assert.same({ "user", true }, { mail.login, mail.tls })
      local sent, err = kept{ server = "localhost", port = server.tls, user = "user", password = "s3cret" }
      assert.is_nil(sent)
      assert.matches("certificate", err)
    end)

    it("is not stripped: without it there is no password, but where the caller says so", function()
      local mail, err = kept{ user = "user", password = "s3cret" }
      assert.is_nil(mail)
      assert.matches("insecure_auth", err, 1, true)
      assert.equal("user", kept{ user = "user", password = "s3cret", insecure_auth = true }.login)
      assert.equal("", kept{}.login)
    end)

    it("takes nothing that was said before the handshake", function()
      local p = peer.tcp[[
        local c = accept()
        c:send("220 hi\r\n")
        c:receive("*l")
        c:send("250-fine\r\n250 STARTTLS\r\n")
        c:receive("*l")
        c:send("220 go\r\n250 AUTH LOGIN\r\n")
        c:receive("*a")]]
      assert.same({ nil, "the server sent more than its reply to STARTTLS" }, { kept{ port = p.port, user = "u", password = "p" } })
    end)
  end)

  describe("message", function()
    it("has a date, a mailer and a version, which cannot be another", function()
      local text = all(smtp.message{ headers = { ["Mime-Version"] = "9", To = "x", ["X-Number"] = 5 }, body = "text" })
      local head, body = text:match("^(.-\r\n)\r\n(.*)$")
      assert.equal("text", body)
      for _, line in ipairs{
        "MIME-Version: 1.0", "To: x", "X-Mailer: " .. socket._VERSION, 'Content-Type: text/plain; charset="iso-8859-1"', "x-number: 5",
      } do
        assert.matches(line .. "\r\n", head, 1, true)
      end
      assert.matches("Date: %a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d %-0000\r\n", head)
    end)

    it("keeps headers that are folded, and those that are given", function()
      local text = all(smtp.message{ headers = { Subject = "a\r\n b\n\tc", Date = "then", ["x-mailer"] = "me", ["Content-Type"] = "text/html" }, body = "" })
      assert.matches("Subject: a\r\n b\r\n\tc\r\n", text, 1, true)
      assert.matches("Date: then\r\n", text, 1, true)
      assert.matches("X-Mailer: me\r\n", text, 1, true)
      assert.matches("Content-Type: text/html\r\n", text, 1, true)
      assert.matches("Date: %a+, .* %+0100\r\n", all(smtp.message{ body = "", zone = "+0100" }))
    end)

    it("has parts within parts, between boundaries that nobody guesses", function()
      local function make()
        return all(smtp.message{
          headers = { subject = "parts" },
          body = {
            preamble = "before", epilogue = "after",
            { body = "one" },
            { headers = { ["Content-Type"] = "image/png" }, body = ltn12.source.table{ "t", "wo" } },
            { body = { { body = "inner" } } },
          },
        })
      end
      local text = make()
      local mark = text:match('Content%-Type: multipart/mixed; boundary="(=_%x+)"')
      assert.equal(34, #mark)
      assert.are_not.equal(mark, make():match('boundary="(=_%x+)"'))
      local count = select(2, text:gsub("\r\n%-%-" .. mark .. "\r\n", ""))
      assert.equal(3, count)
      assert.matches("\r\n\r\nbefore\r\n\r\n--" .. mark .. "\r\n", text, 1, true)
      assert.matches("\r\n--" .. mark .. "--\r\n\r\nafter\r\n", text, 1, true)
      assert.matches("Content-Type: image/png\r\n\r\ntwo\r\n", text, 1, true)
      assert.matches("inner\r\n%-%-=_%x+%-%-\r\n\r\n\r\n%-%-" .. mark, text)
    end)

    it("fails as its body does", function()
      assert.same({ nil, "why" }, { all(smtp.message{ body = ltn12.source.error("why") }) })
      assert.same({ nil, "why" }, { all(smtp.message{ body = { { body = "x" }, { body = ltn12.source.error("why") } } }) })
    end)
  end)
end)
