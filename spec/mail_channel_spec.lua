-- The channel of commands and replies, by the client of SMTP: what no server may do to it, and what no argument.

local fails = require("spec.support.fails")
local peer = require("spec.support.peer")
local rows = require("spec.data.hostile_smtp")
local subject = require("spec.support.subject")
local wire = require("spec.support.wire")
local net = subject.net

--- A server that says the pieces of `says`, one before each line that it waits for; after "354" it takes all up to the dot.
-- It reports every line that it was sent.
local TALK = [[
  local c = accept()
  for at = 1, #says do
    c:send(says[at])
    local data = says[at]:find("^354")
    repeat
      local line = c:receive("*l")
      if line then report(line) end
    until not line or not data or line == "."
  end
  c:close()]]

local function list(says)
  local quoted = {}
  for at, text in ipairs(says) do quoted[at] = ("%q"):format(text):gsub("\\\n", "\\n") end
  return "local says = { " .. table.concat(quoted, ", ") .. " }"
end

local function server(says, before)
  return peer.tcp(list(says) .. (before or "") .. TALK)
end

local function open(port, more)
  local opts = { host = "127.0.0.1", port = port, tls = false, timeout = 5, name = "me" }
  for key, value in pairs(more or {}) do opts[key] = value end
  return net.smtp(opts)
end

--- Opens a client and sends a message by it.
local function send(port, more)
  local mail, refused = open(port, more)
  if not mail then return nil, refused end
  local ok, outcome = pcall(mail.send_raw, mail, "a@x.example", { "b@y.example", "c@y.example" }, "Subject: x\r\n\r\nhello")
  local connected = mail.connected
  mail:close()
  if not ok then error(outcome, 0) end
  return outcome, connected
end

describe("the channel of mail", function()
  wire.watch(before_each, after_each)

  for _, row in ipairs(rows) do
    it(row.name, function()
      local p = server(row.says)
      if row.class then
        local err = fails.with("network/" .. row.class, send, p.port, row.opts)
        assert.equal("127.0.0.1", err.host)
        assert.equal(p.port, err.port)
        if row.message then assert.truthy(err.message:find(row.message, 1, true), err.message) end
      else
        local outcome, other = send(p.port, row.opts)
        row.check(outcome, other)
      end
    end)
  end

  it("waits no longer than it was told to, whatever drips in", function()
    local p = peer.tcp([[local c = accept() for _ = 1, 60 do if not c:send("220-x\r\n") then break end socket.sleep(0.1) end]])
    local err = fails.with("network/timeout", open, p.port, { timeout = 0.5 })
    assert.equal("smtp: timed out after 0.5 s, waiting for the greeting", err.message)
    assert.same({ 0.5, "smtp" }, { err.timeout, err.op })
    p.process:kill()
  end)

  it("hears a server out that closes the connection, and no other", function()
    -- It says why, and then either ends or reads no more.
    local opened = [[
      local c = accept()
      for _, reply in ipairs{ "220 x", "250 x", "250 ok", "250 ok", "354 go" } do
        c:send(reply .. "\r\n")
        if reply ~= "354 go" then c:receive("*l") end
      end
      c:receive(1000)
      c:send("552 too much\r\n")]]
    local function try(ending)
      local p = peer.tcp(opened .. ending)
      local mail, pieces = open(p.port, { timeout = 5 }), 0
      local ok, outcome = pcall(mail.send_raw, mail, "a@x.example", "b@y.example", function()
        pieces = pieces + 1
        return pieces < 2000 and ("x"):rep(65536) or nil
      end)
      mail:close()
      p.process:kill()
      return ok, outcome
    end
    local ok, outcome = try(" c:setoption('linger', { on = true, timeout = 0 }) socket.sleep(0.2) c:shutdown('send') c:close()")
    -- The reset may overtake the words.
    assert.truthy(ok and outcome.code == 552 or not ok and outcome:is("connection_reset"), tostring(outcome))
    ok, outcome = try(" socket.sleep(30)")
    assert.truthy(not ok and outcome:is("timeout"), tostring(outcome))
    assert.is_false(outcome.outcome.handed)
  end)

  it("ends with the block of the caller, too", function()
    local p = server{ "220 x\r\n", "250 x\r\n", "" }
    local mail = open(p.port)
    local err = fails.with("network/timeout", net.within, 0.2, function() mail:verify("x") end)
    assert.equal(0.2, err.timeout)
    assert.is_false(mail.connected)
    fails.with("network/socket", mail.verify, mail, "x")
  end)

  it("takes its end at every byte of a session", function()
    local says = { "220 x\r\n", "250-x\r\n250 SIZE\r\n", "250 ok\r\n", "250 ok\r\n", "550 no\r\n", "354 go\r\n", "250 kept\r\n", "221 bye\r\n" }
    local length = #table.concat(says)
    -- The same session over and over, closed one byte later each time.
    local p = peer.tcp(list(says) .. ([[
      server:settimeout(30)
      for bytes = 0, %d do
        local c, left = accept(), bytes
        for at = 1, #says do
          local piece = says[at]:sub(1, left)
          left = left - #piece
          c:send(piece)
          if #piece < #says[at] then break end
          repeat local line = c:receive("*l") until not line or not says[at]:find("^354") or line == "."
        end
        c:close()
      end]]):format(length))
    local seen = {}
    for bytes = 0, length do
      local ok, err = pcall(send, p.port)
      if ok then
        -- All that is asked for is there before the goodbye.
        assert.is_true(bytes >= length - #says[8], bytes)
        assert.same({ "b@y.example" }, err.accepted)
        assert.equal(550, err.refused["c@y.example"].code)
      else
        assert.equal("puck.uno/error/network/connection_reset", err.class, bytes .. ": " .. tostring(err))
        local outcome = err.outcome
        seen[outcome and (tostring(outcome.handed) .. (next(outcome.refused) and " refused" or "")) or "nothing"] = true
      end
    end
    -- What was known when it ended is in the error.
    assert.same({ ["nothing"] = true, ["false"] = true, ["false refused"] = true, ["true refused"] = true }, seen)
    p:finish()
  end)

  it("speaks TLS over what the server has said since, and no byte from before", function()
    local p = server({ "220 x\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go\r\n250 injected\r\n" })
    fails.with("network/protocol", open, p.port, { tls = "starttls", verify = false })
    assert.same({ "EHLO me", "STARTTLS" }, p:finish())
    -- Later, but before the handshake: it is in the clear, and no record of TLS.
    p = peer.tcp(list{ "220 x\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go\r\n" } .. [[
      local c = accept()
      for at = 1, 3 do c:send(says[at]) if at < 3 then report((c:receive("*l"))) end end
      report((c:receive("*l")))
      c:receive(1)
      c:send("250 injected\r\n250 again\r\n")
      c:receive("*a")]])
    local ok, err = pcall(open, p.port, { tls = "starttls", verify = false, timeout = 2 })
    assert.is_false(ok)
    assert.truthy(err:is("tls") or err:is("protocol"), tostring(err))
    local said = p:finish()
    assert.same({ "EHLO me", "STARTTLS" }, { said[1], said[2] })
  end)

  it("sends no password, nor anything else, where STARTTLS is stripped or refused", function()
    for _, says in ipairs{
      { "220 x\r\n", "250-x\r\n250 AUTH PLAIN LOGIN\r\n", "250 x\r\n" },
      { "220 x\r\n", "250-x\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", "454 not now\r\n", "250 x\r\n" },
      { "220 x\r\n", "500 what\r\n", "250 x\r\n", "250 x\r\n" },
    } do
      local p = server(says)
      local err = fails.with("network/tls", open, p.port, { tls = "starttls", user = "u", password = "S3CRET" })
      assert.truthy(err.message:find("STARTTLS", 1, true))
      local said = table.concat(p:finish(), "\n")
      assert.falsy(said:find("AUTH", 1, true) or said:find("S3CRET", 1, true) or said:find("MAIL", 1, true), said)
    end
  end)

  it("never has the password in an error, whatever the server does", function()
    local secrets = { "S3CRET", "UzNDUkVU", "AHUAUzNDUkVU" }
    local ends = { "334 !!!\r\n", "334 dXNlcg==\r\n", "535 no S3 for you\r\n", "235 welcome\r\n", "\0\1\2\r\n", "220 x\n", "250-x\r\n251 y\r\n", "", "334 " }
    for _, auth in ipairs{ "plain", "login", "cram_md5", "xoauth2", "scram" } do
      for _, last in ipairs(ends) do
        local says = { "220 x\r\n", "250-x\r\n250 AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2 SCRAM-SHA-256\r\n", last, last, last }
        local p = server(says)
        local ok, mail, refused = pcall(open, p.port, { auth = auth, user = "u", password = "S3CRET", insecure_auth = true, timeout = 1 })
        local text = tostring(mail) .. tostring(refused)
        if not ok then for key, value in pairs(mail) do text = text .. tostring(key) .. tostring(value) end end
        for _, secret in ipairs(secrets) do assert.falsy(text:find(secret, 1, true), auth .. " " .. last .. " " .. text) end
        if ok and mail then mail:close() end
        p.process:kill()
      end
    end
  end)

  it("takes no CR, LF or NUL into a line", function()
    local p = server{ "220 x\r\n", "250 x\r\n" }
    local mail = open(p.port)
    for _, break_ in ipairs{ "\r", "\n", "\0", "\r\nDATA" } do
      local bad = "a" .. break_ .. "@x.example"
      fails.plainly("bad argument #1 to 'verify' (address contains CR, LF or NUL", mail.verify, mail, bad)
      fails.plainly("bad argument #1 to 'send_raw' (from contains CR, LF or NUL", mail.send_raw, mail, bad, "b@x", "x")
      fails.plainly("bad argument #2 to 'send_raw' (to[2] contains CR, LF or NUL", mail.send_raw, mail, "a@x", { "b@x", bad }, "x")
      fails.plainly("bad argument #1 to 'send'", mail.send, mail, { from = "a@x", to = bad })
      fails.plainly("bad argument #1 to 'smtp' (name contains CR, LF or NUL", open, p.port, { name = "me" .. break_ })
      fails.plainly("bad argument #1 to 'smtp' (password contains CR, LF or NUL", open, p.port, { user = "u", password = "p" .. break_ })
      fails.plainly("bad argument #1 to 'smtp' (user contains CR, LF or NUL", open, p.port, { user = "u" .. break_, password = "p" })
    end
    -- None of it has harmed the connection.
    assert.is_true(mail.connected)
    mail:close()
    assert.same({ "EHLO me", "QUIT" }, p:finish())
  end)
end)
