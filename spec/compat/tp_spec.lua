-- The drop-in's `socket.tp`: commands and replies by lines.

local dropin = require("spec.support.dropin")
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local tp, ltn12, socket = dropin.require("socket.tp"), dropin.require("ltn12"), dropin.require("socket")

-- A channel to a server that runs `script`.
local channel
local function to(script, timeout)
  local p = peer.tcp("local c = accept() " .. script .. " c:close()")
  channel = assert(tp.connect("127.0.0.1", p.port, timeout or 5))
  return channel, p
end

local function says(text, timeout)
  return (to(("c:send(%q) c:receive('*a')"):format(text), timeout))
end

describe("socket.tp", function()
  after_each(function()
    if channel then channel:close() end
    channel = nil
    process.kill_all()
  end)

  -- What the server says, what is checked for, and what comes of it.
  for _, row in ipairs{
    { "a code", "250 fine\r\n", "250", { 250, "250 fine" } },
    { "a kind of code", "250 fine\r\n", "2..", { 250, "250 fine" } },
    { "a number", "250 fine\r\n", 250, { 250, "250 fine" } },
    { "one of many", "331 more\r\n", { "2..", 331 }, { 331, "331 more" } },
    { "another code", "550 no\r\n", "2..", { nil, "550 no" } },
    { "none of many", "550 no\r\n", { "1..", "2.." }, { nil, "550 no" } },
    { "many lines", "250-a\r\n250-b\r\n250 c\r\n", "2..", { 250, "250-a\n250-b\n250 c" } },
    { "lines without a code", "211-a\r\n 200 b\r\nplain\r\n250 other\r\n211 end\r\n", "2..", { 211, "211-a\n 200 b\nplain\n250 other\n211 end" } },
    { "a code alone", "250\r\n", "2..", { 250, "250" } },
    { "no code", "hello\r\n", "2..", { nil, "invalid server reply" } },
    { "70 KB of reply", "250-" .. ("x"):rep(70000) .. "\r\n", "2..", { nil, "oversized" } },
    { "70 KB of lines", ("250-" .. ("x"):rep(1000) .. "\r\n"):rep(70), "2..", { nil, "oversized" } },
  } do
    it("checks " .. row[1], function()
      assert.same(row[4], { says(row[2]):check(row[3]) })
    end)
  end

  it("checks by a function", function()
    assert.same({ "me", 220, "220 hi" }, { says("220 hi\r\n"):check(function(...) return "me", ... end) })
  end)

  it("tells how reading fails", function()
    assert.same({ nil, "timeout" }, { says("250-half\r\n", 0.2):check("2..") })
    assert.same({ nil, "closed" }, { to("c:send('250-half\\r\\n')"):check("2..") })
    -- A line at a time, each of them in time.
    local began = socket.gettime()
    local slow = to("for i = 1, 40 do if not c:send('250-x\\r\\n') then break end socket.sleep(0.1) end", 0.5)
    assert.same({ nil, "timeout" }, { slow:check("2..") })
    assert.is_true(socket.gettime() - began < 2)
  end)

  it("sends commands in upper case, and whole arguments", function()
    local c, p = to("for _ = 1, 3 do report((c:receive('*l'))) end")
    assert.is_truthy(c:command("ehlo", "Me.example"))
    assert.is_truthy(c:command("quit"))
    assert.is_truthy(c:command("port", 8))
    assert.same({ "EHLO Me.example", "QUIT", "PORT 8" }, (p:finish()))
  end)

  for name, arguments in pairs{
    ["CRLF in an argument"] = { "mail", "FROM:<a@b>\r\nRCPT TO:<x@y>" }, ["LF in an argument"] = { "cwd", "a\nDELE b" },
    ["CR in an argument"] = { "cwd", "a\rb" }, ["NUL in an argument"] = { "cwd", "a\0b" }, ["a line break in a command"] = { "noop\r\nquit" },
  } do
    it("refuses " .. name, function()
      local c, p = to("report((c:receive('*a')))")
      assert.same({ nil, "a line break in a command" }, { c:command(arguments[1], arguments[2]) })
      c:close()
      assert.same({ "nil" }, (p:finish()))
    end)
  end

  it("pumps sources and sinks", function()
    local c, p = to("report((c:receive(6))) c:send('line\\r\\nrest')")
    assert.equal(1, c:source(ltn12.source.table{ "abc", "def" }))
    local got, list = ltn12.sink.table()
    assert.equal(1, c:sink(got, "*l"))
    assert.same({ "line" }, list)
    assert.equal("rest", c:receive(4))
    assert.same({ "abcdef" }, (p:finish()))
    assert.same({ nil, "why" }, { c:source(ltn12.source.error("why")) })
  end)

  it("answers for the socket beneath", function()
    local c = says("220 x\r\n250 y\r\n")
    assert.equal("127.0.0.1", (c:getpeername()))
    assert.equal("127.0.0.1", (c:getsockname()))
    assert.are_not.equal(select(2, c:getpeername()), select(2, c:getsockname()))
    assert.is_true(c:getfd() > 0)
    local ready = socket.select({ c }, nil, 5)
    assert.equal(c, ready[1])
    c:check("220")
    assert.is_true(c:dirty())
    assert.equal("tcp{client}", (tostring(c:getcontrol()):match("^[^:]+")))
    assert.equal(1, c:close())
  end)

  it("connects by create, and says why it does not", function()
    local made
    local p = peer.tcp("accept()")
    channel = assert(tp.connect("127.0.0.1", p.port, 5, function() made = socket.tcp() return made end))
    assert.equal(made, channel:getcontrol())
    assert.same({ nil, "connection refused" }, { tp.connect("127.0.0.1", 1, 5) })
    assert.same({ nil, "no" }, { tp.connect("127.0.0.1", 1, 5, function() return nil, "no" end) })
    assert.equal(60, tp.TIMEOUT)
  end)
end)
