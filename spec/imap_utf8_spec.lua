-- Contract 10: UTF8=ACCEPT (RFC 6855), against Courier.

local net = require("spec.support.subject").net
local process = require("spec.support.process")
local wire = require("spec.support.wire")

local COURIER = (os.getenv("CARGO_TARGET_DIR") or "target") .. "/peers/courier"
local binary = io.open(COURIER .. "/usr/bin/imapd")

describe("a server that speaks UTF-8", function()
  wire.watch(before_each, after_each)
  if not binary then
    pending("Courier is missing (./test courier)")
    return
  end
  binary:close()

  it("has mailboxes, messages and searches in it", function()
    local courier = process.start("python3 -B spec/support/courier.py " .. process.quote(COURIER))
    local imap = assert(net.imap{
      host = "127.0.0.1", port = tonumber(courier:line()), tls = false, user = "user", password = "s3cret", insecure_auth = true, timeout = 30,
    })
    assert.truthy(table.concat(imap.capabilities, " "):find("UTF8=ACCEPT", 1, true))
    local names = { "INBOX.a&b", "INBOX.Entw\195\188rfe 2", "INBOX.\229\143\176\229\140\151", "INBOX.\240\159\152\128", "INBOX.q\"uote" }
    for _, name in ipairs(names) do assert(imap:create(name)) end
    local found = {}
    for _, box in ipairs(imap:list()) do found[box.name] = box end
    for _, name in ipairs(names) do
      assert.truthy(found[name], name)
      assert.is_nil(found[name].raw)
      assert.equal(0, imap:status(name).messages)
    end
    local message = "From: J\195\182rg <j\195\182rg@b\195\188cher.example>\r\nSubject: Gr\195\188\195\159e\r\n\r\nhello\r\n"
    local box = "INBOX.Entw\195\188rfe 2"
    assert.equal(1, assert(imap:append(box, message)).uid)
    assert.equal(2, assert(imap:append(box, message, { flags = "\\Seen" })).uid)
    assert.equal(2, assert(imap:select(box)).exists)
    local m = assert(imap:fetch(2, { "flags", "envelope", "message" }))[1]
    assert.same({ message, "Gr\195\188\195\159e", "Gr\195\188\195\159e" }, { m.body[""], m.envelope.subject, m.message.subject })
    assert.equal("j\195\182rg@b\195\188cher.example", m.envelope.from[1].address)
    assert.same({ 2 }, { #assert(imap:search{ subject = "Gr\195\188" }) })
    assert(imap:copy(1, names[3]))
    assert.equal(1, imap:status(names[3]).messages)
    imap:close()
    courier:kill()
  end)
end)
