-- SASL: the published exchanges of each mechanism, and what a server may not do in one.

local core = require("caspian_net")
local fails = require("spec.support.fails")
require("spec.support.subject")
-- The front's own copies of these are out of reach: these are others, and hold no capability.
local errors = require("caspian.net.errors")
errors.methods = function() return require("caspian.net.error_methods") end
local sasl = require("caspian.net.mail.sasl")

local function encoded(bytes) return core.codec_base64(bytes, false) end

--- Leads an exchange through what a server says, in order; the outcome, and what the client has said.
local function exchange(mechanism, opts, says, initial)
  local said, at = {}, 0
  local function hear(text) said[#said + 1] = text and (text == "=" and "=" or core.codec_unbase64(text, false)) or "-" end
  local done, why = sasl.converse(core, sasl.start(core, mechanism, opts), initial ~= false, hear, hear, function()
    at = at + 1
    local row = says[at]
    if row == "done" then return "done" end
    if row == nil then return nil, "refused" end
    return "more", row.raw or encoded(row[1])
  end)
  return done, said, why
end

local NONCE = "rOprNGfwEbeRWgbNEkqO"
local FIRST = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
local FINAL = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
local PENCIL = { user = "user", password = "pencil", nonce = NONCE }

describe("SASL", function()
  for _, row in ipairs{
    -- RFC 7677 section 3
    { "SCRAM-SHA-256", PENCIL, { { FIRST }, { FINAL }, "done" }, {
      "n,,n=user,r=" .. NONCE,
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "" } },
    -- RFC 5802 section 5
    { "SCRAM-SHA-1", { user = "user", password = "pencil", nonce = "fyko+d2lbbFgONRv9qkxdawL" },
      { { "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096" }, { "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=" }, "done" }, {
      "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
      "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "" } },
    -- RFC 2195 section 2
    { "CRAM-MD5", { user = "tim", password = "tanstaaftanstaaf" }, { { "<1896.697170952@postoffice.reston.mci.net>" }, "done" },
      { "-", "tim b913a602c7eda7a495b4e6e7334d3890" } },
    -- RFC 4616 section 4
    { "PLAIN", { user = "tim", password = "tanstaaftanstaaf" }, { "done" }, { "\0tim\0tanstaaftanstaaf" } },
    { "LOGIN", { user = "tim", password = "tanstaaf" }, { { "Username:" }, { "Password:" }, "done" }, { "-", "tim", "tanstaaf" } },
    -- Google's documentation of XOAUTH2
    { "XOAUTH2", { user = "someuser@example.com", password = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg" }, { "done" },
      { "user=someuser@example.com\1auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\1\1" } },
  } do
    it("does the published exchange of " .. row[1], function()
      local done, said = exchange(row[1], row[2], row[3])
      assert.is_true(done)
      assert.same(row[4], said)
    end)
  end

  it("waits with its first message where the protocol wants that", function()
    local done, said = exchange("PLAIN", { user = "a", password = "b" }, { { "" }, "done" }, false)
    assert.is_true(done)
    assert.same({ "-", "\0a\0b" }, said)
  end)

  it("takes a refusal for one, also where it comes as a challenge", function()
    assert.same({ nil, { "\0a\0b" }, "refused" }, { exchange("PLAIN", { user = "a", password = "b" }, {}) })
    local done, said, why = exchange("XOAUTH2", { user = "a", password = "b" }, { { '{"status":"400"}' } })
    assert.same({ nil, "", "refused" }, { done, said[2], why })
    done, said, why = exchange("SCRAM-SHA-256", PENCIL, { { FIRST }, { "e=invalid-proof" } })
    assert.same({ nil, "", "refused" }, { done, said[3], why })
  end)

  it("escapes names, and prepares both for hashing", function()
    local _, said = exchange("SCRAM-SHA-256", { user = "a=b,c\194\173", password = "p", nonce = "n" }, {})
    assert.equal("n,,n=a=3Db=2Cc,r=n", said[1])
    fails.plainly("password has characters that SCRAM does not take", exchange, "SCRAM-SHA-256", { user = "a", password = "x\7secret" }, {})
    fails.plainly("user is not valid UTF-8", exchange, "SCRAM-SHA-1", { user = "a\255", password = "x" }, {})
  end)

  -- What no server says who knows the password.
  local other = FIRST:gsub("^r=rO", "r=xO")
  for name, row in pairs{
    ["a success without any proof"] = { "done" },
    ["a success without a signature"] = { { FIRST }, "done" },
    ["a success after an error"] = { { FIRST }, { "e=other-error" }, "done" },
    ["a wrong signature"] = { { FIRST }, { "v=" .. encoded(("x"):rep(32)) }, "done" },
    ["a short signature"] = { { FIRST }, { "v=6rri" }, "done" },
    ["no signature"] = { { FIRST }, { "" }, "done" },
    ["a nonce that is another"] = { { other } },
    ["our nonce, and nothing more"] = { { (FIRST:gsub("%%[^,]*", "")) } },
    ["few rounds"] = { { (FIRST:gsub("4096", "4095")) } },
    ["no round"] = { { (FIRST:gsub("4096", "0")) } },
    ["a million rounds and one"] = { { (FIRST:gsub("4096", "1000001")) } },
    ["more rounds than numbers have"] = { { (FIRST:gsub("4096", ("9"):rep(400))) } },
    ["a salt that is no base64"] = { { (FIRST:gsub("s=W22", "s=!!")) } },
    ["an empty salt"] = { { (FIRST:gsub("s=[^,]*", "s=")) } },
    ["a long salt"] = { { (FIRST:gsub("s=[^,]*", "s=" .. encoded(("x"):rep(1025)))) } },
    ["an extension that must be known"] = { { "m=x," .. FIRST } },
    ["nonsense"] = { { "hello" } },
    ["nothing"] = { { "" } },
    ["a challenge that is no base64"] = { { raw = "r=x" } },
    ["one question more"] = { { FIRST }, { FINAL }, { "again" } },
  } do
    it("refuses " .. name, function()
      fails.with("network/protocol", exchange, "SCRAM-SHA-256", PENCIL, row)
    end)
  end

  it("refuses challenges without an end, and those without a reason", function()
    fails.with("network/too_large", exchange, "LOGIN", PENCIL, { { raw = ("A"):rep(12292) } })
    fails.with("network/protocol", exchange, "LOGIN", PENCIL, { { "a" }, { "b" }, { "c" } })
    fails.with("network/protocol", exchange, "PLAIN", PENCIL, { { "a" } })
    fails.with("network/protocol", exchange, "PLAIN", PENCIL, { { "a" } }, false)
    fails.with("network/protocol", exchange, "CRAM-MD5", PENCIL, { { "a" }, { "b" } })
    fails.with("network/protocol", exchange, "CRAM-MD5", PENCIL, { { "" } })
    fails.with("network/protocol", exchange, "CRAM-MD5", PENCIL, { "done" })
    fails.with("network/protocol", exchange, "XOAUTH2", PENCIL, { { "a" }, { "b" } })
  end)

  -- What is offered, the options, and what is chosen.
  local ALL = { "login", "PLAIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "GSSAPI" }
  for _, row in ipairs{
    { ALL, {}, "SCRAM-SHA-256" },
    { ALL, { private = true }, "SCRAM-SHA-256" },
    { ALL, { auth = "login", private = true }, "LOGIN" },
    { ALL, { auth = "login" }, nil, "tls" },
    { ALL, { auth = "login", insecure_auth = true }, "LOGIN" },
    { ALL, { auth = "cram_md5" }, "CRAM-MD5" },
    { ALL, { auth = "xoauth2", private = true }, "XOAUTH2" },
    { ALL, { auth = "xoauth2" }, nil, "tls" },
    { { "PLAIN", "CRAM-MD5" }, {}, "CRAM-MD5" },
    { { "PLAIN", "CRAM-MD5" }, { private = true }, "PLAIN" },
    { { "PLAIN", "LOGIN" }, {}, nil, "tls" },
    { { "SCRAM-SHA-1", "PLAIN" }, { auth = "scram", private = true }, "SCRAM-SHA-1" },
    { { "GSSAPI", "XOAUTH2" }, { private = true }, nil, "protocol" },
    { {}, { private = true }, nil, "protocol" },
    { { "PLAIN" }, { auth = "scram", private = true }, nil, "protocol" },
  } do
    it("chooses " .. tostring(row[3]) .. " among " .. #row[1] .. ", auth " .. tostring(row[2].auth), function()
      local name, class, words = sasl.choose(row[1], row[2])
      assert.same({ row[3], row[4] }, { name, class })
      if not name then assert.is_string(words) end
    end)
  end
end)
