-- Contract 13: what a small build has of mail and files: FTP, which needs nothing but sockets, and words for the rest. SMALL says that
-- this is one.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local small = os.getenv("SMALL") ~= nil

describe("a " .. (small and "small" or "full") .. " build", function()
  wire.watch(before_each, after_each)

  for _, name in ipairs{ "smtp", "imap", "pop3" } do
    it((small and "says that it has no " or "has ") .. name, function()
      local words = small and "built without mail" or "host is missing"
      local text = fails.plainly(words, net[name], {})
      if small then assert.truthy(text:find(name .. ": ", 1, true), text) end
      fails.plainly(words, net.class("puck.uno/" .. name .. "/client").new, {})
    end)
  end

  it((small and "says that it has no" or "has a") .. " parser of messages", function()
    if small then fails.plainly("built without mail", net.mail.parse, "a: b") else assert.equal("b", net.mail.parse("a: b\r\n\r\n").headers.a) end
  end)

  it(small and "says that it has no HTTP/2" or "has HTTP/2", function()
    local words = "(http2: built without HTTP/2"
    local function check(...)
      if small then fails.plainly(words, ...) else assert((...)(select(2, ...))):close() end
    end
    for _, value in ipairs{ true, "prior" } do check(net.http.client.new, { http2 = value }) end
    check(net.http.server, "127.0.0.1", 0, { http2 = true })
    -- Not asked for, nothing is missing.
    net.http.client.new{ http2 = false }:close()
    net.http.server("127.0.0.1", 0):close()
    if small then fails.plainly(words, net.fetch, "http://127.0.0.1:1/", { http2 = true }) end
  end)

  it(small and "reads compressed messages, and compresses none" or "reads compressed messages, and compresses its own", function()
    local p = peer.tcp[[
      local c = accept()
      upgrade(c, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
      c:send("\193\7\242\72\205\201\201\7\0")
      report(c:receive("*a"):byte())
    ]]
    local ws = net.websocket("ws://127.0.0.1:" .. p.port .. "/", { compress = true })
    assert.is_true(ws.compressed)
    assert.equal("Hello", (ws:recv()))
    ws:send(("x"):rep(1000))
    ws:close{ timeout = 0 }
    -- FIN, RSV1 and the opcode of a text.
    assert.equal(small and 0x81 or 0xc1, tonumber(p:finish()[1]))
  end)

  it("has FTP", function()
    fails.plainly("host is missing", net.ftp, {})
    local ftp = assert(net.ftp{ host = "127.0.0.1", port = servers.mail_files.ftp, tls = false, user = "ftp", password = "x", insecure_auth = true })
    assert.equal("array", net.kind(ftp:list()))
    ftp:close()
  end)
end)
