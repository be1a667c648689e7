-- What servers say who are none, or mean harm: { name, says (one piece before each line that is waited for), opts, class, message } for an
-- error, or { name, says, check } for an answer. The session is EHLO, MAIL, RCPT, RCPT, DATA, QUIT.

local HELLO = { "220 x\r\n", "250-x\r\n250 HELP\r\n" }

--- A session up to where the last piece stands.
local function after(count, last)
  local all = { HELLO[1], HELLO[2], "250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 kept\r\n", "221 bye\r\n" }
  local says = {}
  for at = 1, count do says[at] = all[at] end
  says[count + 1] = last
  return says
end

local rows = {
  { name = "fits a session that is well", says = after(8), check = function(outcome)
    assert(outcome.ok and #outcome.accepted == 2 and outcome.code == 250 and outcome.text == "kept")
  end },
  { name = "takes lines of many kinds", says = { "220-hello\r\n220 there\r\n", "250-x\r\n250-SIZE 1000\r\n250\r\n", "250\r\n", "251 far\r\n", "252 perhaps\r\n",
    "354-go\r\n354 on\r\n", "250-a\r\n250-b\r\n250 c\r\n", "221\r\n" }, check = function(outcome)
    assert(outcome.ok and #outcome.accepted == 2 and outcome.text == "a\nb\nc")
  end },
  { name = "goes on by HELO where EHLO is not known", says = { "220 x\r\n", "500 what\r\n", "250 x\r\n", "250 ok\r\n", "250 ok\r\n", "250 ok\r\n",
    "354 go\r\n", "250 kept\r\n" }, check = function(outcome) assert(outcome.ok) end },
  -- What a server refuses is an answer.
  { name = "is told that the server takes nobody", says = { "554 go away\r\n" }, check = function(outcome, refused)
    assert(outcome == nil and refused.code == 554 and refused.text == "go away" and tostring(refused) == "554 go away")
  end },
  { name = "is told that the server is busy", says = { "421 busy\r\n" }, check = function(outcome, refused)
    assert(outcome == nil and refused.code == 421)
  end },
  { name = "is told of a sender that is refused", says = after(2, "550 5.7.1 not you\r\n"), check = function(outcome, connected)
    assert(not outcome.ok and #outcome.accepted == 0 and outcome.refused["b@y.example"].code == 550 and outcome.refused["c@y.example"].code == 550)
    assert(outcome.code == 550 and outcome.text == "5.7.1 not you" and connected)
  end },
  { name = "is told of each recipient that is refused", says = { HELLO[1], HELLO[2], "250 ok\r\n", "250 ok\r\n", "550 who\r\n", "354 go\r\n", "250 kept\r\n" },
    check = function(outcome)
      assert(not outcome.ok and outcome.accepted[1] == "b@y.example" and #outcome.accepted == 1 and outcome.refused["c@y.example"].text == "who")
    end },
  { name = "is told that nobody is there", says = { HELLO[1], HELLO[2], "250 ok\r\n", "550 who\r\n", "551 where\r\n", "250 reset\r\n" },
    check = function(outcome, connected)
    assert(#outcome.accepted == 0 and outcome.refused["b@y.example"].code == 550 and outcome.code == 551 and connected)
  end },
  { name = "is told that data is not taken", says = after(5, "451 later\r\n"), check = function(outcome, connected)
    assert(#outcome.accepted == 0 and outcome.refused["c@y.example"].code == 451 and outcome.code == 451 and connected)
  end },
  { name = "is told that the message is not taken", says = after(6, "554 spam\r\n"), check = function(outcome, connected)
    assert(#outcome.accepted == 0 and outcome.refused["b@y.example"].text == "spam" and connected)
  end },
  { name = "is told that the server goes in the middle", says = after(4, "421 bye\r\n"), check = function(outcome, connected)
    assert(outcome.accepted[1] == nil and outcome.refused["c@y.example"].code == 421 and not connected)
  end },
}

local function bad(name, says, class, message, opts)
  rows[#rows + 1] = { name = "refuses " .. name, says = says, class = class or "protocol", message = message, opts = opts }
end

-- No replies at all.
bad("a greeting of nothing", { "\r\n" })
bad("a greeting of words", { "hello\r\n" }, "protocol", "smtp: the greeting is malformed")
bad("a greeting of HTTP", { "HTTP/1.1 400 Bad Request\r\n\r\n" })
bad("a greeting of SSH", { "SSH-2.0-OpenSSH_9.2\r\n" })
bad("a greeting of TLS", { "\21\3\1\0\2\2\70\r\n" })
bad("a greeting of binary bytes", { "220 \0\1\2\r\n" })
bad("a code of two digits", { "22 x\r\n" })
bad("a code of letters", { "2x0 x\r\n" })
bad("a bare LF", { "220 x\n" }, "protocol", "LF without CR")
bad("a bare CR", { "220 x\ry\r\n" })
bad("a NUL", after(2, "250 o\0k\r\n"))
bad("an escape sequence", after(2, "250 \27[2J\r\n"))
bad("another code in the middle", after(2, "250-a\r\n251 b\r\n"), "protocol", "send_raw: the reply to MAIL is malformed")
bad("a last line with another code", { "220 x\r\n", "250-x\r\n250-y\r\n550 z\r\n" })
bad("a line without a code in the middle", { "220 x\r\n", "250-x\r\nHELP\r\n250 y\r\n" })
bad("binary bytes in the middle", { "220 x\r\n", "250-x\r\n\255\254\0\r\n250 y\r\n" })
-- Without an end.
bad("a line without an end", { "220 " .. ("x"):rep(20000) .. "\r\n" }, "too_large")
bad("a line of 17 KiB that goes on", { "220 " .. ("x"):rep(17000) }, "too_large")
bad("lines without an end", { ("220-x\r\n"):rep(10000) .. "220 x\r\n" }, "too_large", "longer than 65536 bytes")
bad("extensions without an end", { "220 x\r\n", ("250-X-LONG " .. ("y"):rep(1000) .. "\r\n"):rep(70) .. "250 x\r\n" }, "too_large")
bad("challenges without an end", { "220 x\r\n", "250-x\r\n250 AUTH LOGIN\r\n", "334 \r\n", "334 \r\n", "334 \r\n", "334 \r\n", "334 \r\n" }, "protocol", nil,
  { user = "u", password = "p", insecure_auth = true })
bad("a challenge of 13 KB", { "220 x\r\n", "250-x\r\n250 AUTH LOGIN\r\n", "334 " .. ("QUFB"):rep(3300) .. "\r\n" }, "too_large", nil,
  { user = "u", password = "p", insecure_auth = true })
bad("a login by nothing", { "220 x\r\n", "250-x\r\n250 AUTH CRAM-MD5\r\n", "235 welcome\r\n" }, "protocol", "CRAM-MD5", { user = "u", password = "p" })

return rows
