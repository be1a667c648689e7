-- Contract 10, `net.pop3`: against dovecot.

local dialog = require("spec.support.dialog")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local unpack = table.unpack or unpack -- luacheck: ignore

local dovecot = servers.dovecot
local ca = process.read(servers.ca)

local count = 0
-- A user of its own for each row.
local function user()
  count = count + 1
  return ("pop%d-%d"):format(os.time(), count)
end

-- Puts messages into a user's mailbox.
local function deliver(name, ...)
  for _, text in ipairs{ ... } do
    local path = process.file(text)
    local said = process.start(("sh -c 'doveadm -c %s save -u %s <%s 2>&1'"):format(dovecot.conf, name, path), { path }):rest()
    assert.equal("", said)
  end
end

local function open(name, more)
  local opts = { host = "localhost", port = dovecot.pop3, user = name, password = "s3cret", ca_bundle = ca, timeout = 30 }
  for key, value in pairs(more or {}) do opts[key] = value end
  if opts.tls == false then opts.ca_bundle = nil end
  return net.pop3(opts)
end

local function message(body) return "From: a@example.com\r\nSubject: x\r\n\r\n" .. body end

-- Lines that begin with dots, and everything that looks like an end.
local DOTS = message(".\r\n..\r\n...\r\n.x\r\n\r\n.\r\n.\r\nend\r\n")

describe("a POP3 client", function()
  wire.watch(before_each, after_each)

  for _, how in ipairs{
    { "STLS", {} }, { "implicit TLS", { tls = "implicit", port = dovecot.pop3s } }, { "no TLS", { tls = false, insecure_auth = true } },
  } do
    it("with " .. how[1] .. " counts, lists, fetches and deletes", function()
      local name = user()
      local large = message(("a line of some length, %d\r\n"):rep(20000):gsub("%%d", "7"))
      deliver(name, message("one\r\n"), DOTS, large)
      local pop = assert(open(name, how[2]))
      assert.same({ count = 3, size = #message("one\r\n") + #DOTS + #large }, pop:stat())
      local list = pop:list()
      assert.equal("array", net.kind(list))
      assert.same({ number = 2, size = #DOTS }, list[2])
      assert.equal(#large, pop:list(3))
      local uids = pop:uidl()
      assert.equal(3, #uids)
      assert.equal(uids[2].uid, pop:uidl(2))
      assert.truthy(uids[1].uid ~= uids[2].uid)
      assert.equal(DOTS, pop:retr(2))
      assert.truthy(large == pop:retr(3))
      assert.equal(message("one\r\n"), pop:retr(1))
      local pieces = {}
      assert.equal(#large, pop:retr(3, function(piece) pieces[#pieces + 1] = piece end))
      assert.truthy(table.concat(pieces) == large)
      local file = assert(io.tmpfile())
      assert.equal(#DOTS, pop:retr(2, file))
      file:seek("set")
      assert.equal(DOTS, file:read("*a"))
      file:close()
      assert.equal(message("a line of some length, 7\r\n"), pop:top(3, 1))
      assert.equal(message(""), pop:top(3, 0))
      assert.equal(true, pop:noop())

      assert.equal(true, pop:dele(1))
      assert.same({ nil, "refusal" }, { (pop:retr(1)), net.kind(select(2, pop:retr(1))) })
      assert.equal(true, pop:rset())
      assert.equal(true, pop:dele(2))
      assert.equal(2, pop:stat().count)
      assert.equal(true, pop:quit())
      assert.is_false(pop.connected)
      fails.with("network/socket", pop.stat, pop)

      -- It is gone; and what a connection marks that is only closed is not.
      pop = assert(open(name, how[2]))
      assert.equal(2, pop:stat().count)
      pop:dele(1)
      pop:close()
      pop = assert(open(name, how[2]))
      assert.equal(2, pop:stat().count)
      pop:close()
    end)
  end

  for _, row in ipairs{
    { "plain" }, { "login" }, { "cram_md5" }, { "scram" }, { "user" }, { "apop" }, { "auto" },
    { "cram_md5", tls = false }, { "scram", tls = false }, { "apop", tls = false }, { "auto", tls = false },
    { "xoauth2", user = "user", password = dovecot.token },
  } do
    it("logs in by " .. row[1] .. (row.tls == false and " without TLS" or ""), function()
      local pop = assert(open(row.user or user(), { auth = row[1], tls = row.tls, password = row.password }))
      assert.truthy(pop:stat())
      pop:close()
      local refusal
      pop, refusal = open(row.user or user(), { auth = row[1], tls = row.tls, password = "wr0ng" })
      assert.is_nil(pop)
      assert.equal("-ERR", refusal.code)
      assert.is_nil(tostring(refusal):find("wr0ng", 1, true))
    end)
  end

  it("sends no password in the clear", function()
    for _, auth in ipairs{ "plain", "login" } do
      fails.plainly("insecure_auth", net.pop3, { host = "localhost", port = dovecot.pop3, tls = false, auth = auth, user = "u", password = "s3cret" })
    end
    local err = fails.with("network/tls", net.pop3, { host = "localhost", port = dovecot.pop3, tls = false, auth = "user", user = "u", password = "s3cret" })
    assert.is_nil(tostring(err):find("s3cret", 1, true))
    local stranger = process.read(servers.other_ca)
    fails.with("network/tls", net.pop3, { host = "localhost", port = dovecot.pop3, user = "u", password = "s3cret", ca_bundle = stranger })
  end)

  it("agrees with Python's poplib", function()
    local name = user()
    deliver(name, message("one\r\n"), DOTS)
    local script = process.file(([==[
import poplib, ssl
p = poplib.POP3("localhost", %d, timeout=20)
p.stls(ssl.create_default_context(cafile=%q))
p.user(%q); p.pass_("s3cret")
print(*p.stat())
print(*[line.decode() for line in p.list()[1]], sep=",")
print(*[line.decode() for line in p.uidl()[1]], sep=",")
print(repr(b"\r\n".join(p.retr(2)[1]) + b"\r\n"))
p.quit()
]==]):format(dovecot.pop3, servers.ca, name))
    local said = process.start("python3 " .. process.quote(script) .. " 2>&1", { script }):rest()
    local pop = assert(open(name))
    local stat, list, uids = pop:stat(), pop:list(), pop:uidl()
    for i = 1, 2 do
      list[i] = ("%d %d"):format(list[i].number, list[i].size)
      uids[i] = ("%d %s"):format(uids[i].number, uids[i].uid)
    end
    local text = "b'" .. pop:retr(2):gsub("\r\n", "\\r\\n") .. "'"
    assert.equal(table.concat({ ("%d %d"):format(stat.count, stat.size), table.concat(list, ","), table.concat(uids, ","), text }, "\n") .. "\n", said)
    pop:close()
  end)

  it("is a class, passes the gate, and takes no commands for arguments", function()
    local pop = net.class("puck.uno/pop3/client").new{ host = "localhost", port = dovecot.pop3, ca_bundle = ca }
    assert.equal("pop3", net.kind(pop))
    assert.truthy(pop.capabilities.UIDL)
    fails.plainly("bad argument #1 to 'retr'", pop.retr, pop, "1\r\nDELE 1")
    fails.plainly("bad argument #1 to 'retr'", pop.retr, pop, 0)
    fails.plainly("bad argument #1 to 'dele'", pop.dele, pop, 1.5)
    fails.plainly("bad argument #2 to 'retr'", pop.retr, pop, 1, "path")
    fails.plainly("bad argument #2 to 'top'", pop.top, pop, 1, -1)
    fails.plainly("call it with a colon", pop.stat)
    pop:close()
    fails.plainly("user contains CR", net.pop3, { host = "localhost", user = "a\nb", password = "x" })
    fails.plainly("auth must be", net.pop3, { host = "localhost", user = "a", password = "x", auth = "ntlm" })
    fails.with("network/host_not_allowed", net.narrow{ "--allow-net=example.com" }.pop3, { host = "localhost" })
    fails.with("network/port_not_allowed", net.narrow{ "--allow-net=localhost:1" }.pop3, { host = "localhost" })
  end)
end)

-- Servers of nobody -----------------------------------------------------------------------------------------------------

local OPENED = { { "", "+OK hi" }, { "CAPA", "-ERR what" } }

local function after(...)
  local all = {}
  for _, step in ipairs(OPENED) do all[#all + 1] = step end
  for _, step in ipairs{ ... } do all[#all + 1] = step end
  return all
end

local function plain(port, more)
  local opts = { host = "127.0.0.1", port = port, tls = false, timeout = 10 }
  for key, value in pairs(more or {}) do opts[key] = value end
  return net.pop3(opts)
end

local OPENING = {
  { "an endless line", { { "", "+OK " .. ("x"):rep(20000), stall = true } }, "network/too_large" },
  { "an endless list of what it can", { { "", "+OK" }, { "CAPA", "+OK\n" .. ("X\n"):rep(300000) } }, nil },
  { "binary", { { "", "+OK \0\1" } }, "network/protocol" },
  { "no reply", { { "", "hello" } }, "network/protocol" },
  { "a bare LF", { { "", "+OK\n", raw = true } }, "network/protocol" },
  { "nothing", { { "", "", raw = true } }, "network/connection_reset" },
  { "half a line", { { "", "+OK", raw = true } }, "network/connection_reset" },
  { "a refusal", { { "", "-ERR busy" } }, nil, "busy" },
  { "a refusal that moves the cursor", { { "", "-ERR \27[2Jbusy" } }, "network/protocol" },
  { "a greeting that moves the cursor", { { "", "+OK \27[2J" } }, "network/protocol" },
  { "a line of what it can that does", { { "", "+OK" }, { "CAPA", "+OK\nX \27[2J\n." } }, "network/protocol" },
  { "silence", { { "", "+OK", stall = true } }, "network/timeout" },
  { "a challenge out of order", { { "", "+OK" }, { "CAPA", "+ abc" } }, "network/protocol" },
}

local function retr(pop) return pop:retr(1) end

local CALLS = {
  { "STAT without numbers", "stat", { { "STAT", "+OK two" } }, "network/protocol" },
  { "STAT with numbers beyond any", "stat", { { "STAT", "+OK 99999999999999999999 1" } }, "network/protocol" },
  { "LIST of nonsense", "list", { { "LIST", "+OK\n1 x\n." } }, "network/protocol" },
  { "LIST without end", "list", { { "LIST", "+OK\n1 5" } }, "network/connection_reset" },
  { "an empty LIST", function(pop) return #pop:list() end, { { "LIST", "+OK\n." } }, nil, 0 },
  { "UIDL with control characters", "uidl", { { "UIDL", "+OK\n1 a\1b\n." } }, "network/protocol" },
  { "UIDL too long", "uidl", { { "UIDL", "+OK\n1 " .. ("x"):rep(71) .. "\n." } }, "network/protocol" },
  { "an empty message", retr, { { "RETR", "+OK\n." } }, nil, "" },
  { "dots", retr, { { "RETR", "+OK\n..\n...x\n..\n.\n" , raw = false } }, "network/protocol" },
  { "a message of dots", retr, { { "RETR", "+OK\n..\n...x\n.." .. "\n." } }, nil, ".\r\n..x\r\n.\r\n" },
  { "a message with bare CR and LF", retr, { { "RETR", "+OK\r\na\n.\nb\r.\rc\r\n.\r\n", raw = true } }, nil, "a\n.\nb\r.\rc\r\n" },
  { "a message without end", retr, { { "RETR", "+OK\r\nhello\r\n.", raw = true } }, "network/connection_reset", nil, nil, "hello" },
  { "more behind the end", retr, { { "RETR", "+OK\r\nhello\r\n.\r\n+OK", raw = true } }, "network/protocol" },
  { "a refusal", retr, { { "RETR", "-ERR no such message" } }, nil, nil, "no such message" },
  { "a refusal with DEL", retr, { { "RETR", "-ERR a\127b" } }, "network/protocol" },
  { "a good answer with BEL", retr, { { "RETR", "+OK \7\nx\n." } }, "network/protocol" },
  { "neither", retr, { { "RETR", "OK" } }, "network/protocol" },
}

describe("a hostile POP3 server:", function()
  wire.watch(before_each, after_each)

  for _, drip in ipairs{ false, true } do
    local how = drip and ", byte by byte" or ""
    for _, row in ipairs(OPENING) do
      if not (drip and row[1]:find("endless")) and row[2][2] ~= false then
        it(row[1] .. how, function()
          local p = dialog.start(row[2], { drip = drip })
          if row[1]:find("list of what") then
            fails.with("network/connection_reset", plain, p.port)
          elseif row[3] then
            fails.with(row[3], plain, p.port, row[3] == "network/timeout" and { timeout = 0.3 } or nil)
          else
            local pop, refusal = plain(p.port)
            assert.is_nil(pop)
            assert.equal(row[4], refusal.text)
          end
        end)
      end
    end
    for _, row in ipairs(CALLS) do
      it(row[1] .. how, function()
        local p = dialog.start(after(unpack(row[3])), { drip = drip })
        local pop = assert(plain(p.port))
        local f = type(row[2]) == "string" and pop[row[2]] or row[2]
        if row[1] == "dots" or row[1] == "more behind the end" then
          -- What comes a moment later is found out later.
          local ok, err = pcall(f, pop)
          if not ok then assert.truthy(err:is("protocol"), tostring(err)) end
        elseif row[4] then
          local err = fails.with(row[4], f, pop)
          if row[6] then assert.equal(row[6], err.partial) end
        else
          local result, refusal = f(pop)
          assert.equal(row[5], result)
          if row[6] then assert.equal(row[6], refusal.text) end
        end
        pop:close()
      end)
    end
  end

  it("has more messages than fit into memory", function()
    -- Each costs more here than its six bytes there.
    local p = peer.tcp[[
      local c = accept()
      c:send("+OK\r\n") c:receive("*l") c:send("-ERR\r\n") c:receive("*l") c:send("+OK\r\n")
      for _ = 1, 600 do if not c:send(("1 5\r\n"):rep(1000)) then break end end
      c:send(".\r\n") c:close()]]
    local pop = assert(plain(p.port, { timeout = 60 }))
    local err = fails.with("network/too_large", pop.list, pop)
    assert.truthy(err.message:find("the reply to LIST takes more than 67108864 bytes", 1, true), err.message)
    pop:close()
    p.process:kill()
  end)

  it("goes away at every byte", function()
    local steps = after({ "STAT", "+OK 1 10" }, { "LIST", "+OK\n1 10\n." }, { "RETR", "+OK\n..a\n\n.." .. "\n." }, { "DELE", "+OK" }, { "QUIT", "+OK bye" })
    local length = dialog.length(steps)
    local p = dialog.start(steps, { cut = true, times = length })
    local whole = 0
    for at = 1, length do
      local pop
      local ok, err = pcall(function()
        pop = assert(plain(p.port))
        assert.same({ count = 1, size = 10 }, pop:stat())
        assert.same({ { number = 1, size = 10 } }, pop:list())
        assert.equal(".a\r\n\r\n.\r\n", pop:retr(1))
        assert.equal(true, pop:dele(1))
        assert.equal(true, pop:quit())
      end)
      if ok then
        whole = whole + 1
      elseif type(err) ~= "table" or not (err:is("connection_reset") or err:is("protocol")) then
        error("cut at " .. at - 1 .. ": " .. tostring(err))
      end
      if pop then pop:close() end
    end
    assert.truthy(whole < 4, whole)
    p.process:kill()
  end)

  it("takes the dots away at every cut", function()
    local pieces = require("caspian.net.mail.pop3").pieces
    local stuffed = "..\r\n...\r\n..x\r\n\r\n\r..\r\n.." .. "\r\n\n.\r\r\n.\r\n"
    local expected = ".\r\n..\r\n.x\r\n\r\n\r..\r\n.\r\n\n.\r\r\n"
    local function run(cuts)
      local at, out = 1, {}
      for piece in pieces{ some = function()
        local size = table.remove(cuts, 1) or 1
        local piece = stuffed:sub(at, at + size - 1)
        at = at + size
        assert(piece ~= "", "read behind the end")
        return piece
      end } do out[#out + 1] = piece end
      return table.concat(out)
    end
    assert.equal(expected, run{})
    for first = 1, #stuffed do
      assert.equal(expected, run{ first, #stuffed })
      for second = 1, #stuffed - first do assert.equal(expected, run{ first, second, #stuffed }) end
    end
    stuffed, expected = ".\r\n", ""
    for first = 1, 3 do assert.equal(expected, run{ first, 3 }) end
  end)

  it("has no timestamp for APOP, or a malformed one", function()
    for _, greeting in ipairs{ "+OK hi", "+OK <>", "+OK <a>", "+OK <@>", "+OK <a@>", "+OK <a@b@c>", "+OK <a\255@b>", "+OK <a b@c>" } do
      local p = dialog.start{ { "", greeting }, { "CAPA", "-ERR" } }
      local err = fails.with("network/protocol", plain, p.port, { auth = "apop", user = "u", password = "s3cret" })
      assert.truthy(err.message:find("APOP", 1, true))
    end
    -- RFC 1939, section 7.
    local p = dialog.start{ { "", "+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>" }, { "CAPA", "-ERR" },
      { "APOP mrose c4c9334bac560ecc979e58001b3e22fb", "+OK" }, { "CAPA", "-ERR" } }
    local pop = assert(plain(p.port, { auth = "apop", user = "mrose", password = "tanstaaf" }))
    pop:close()
  end)

  it("strips, refuses or fills the way to TLS: nothing goes on in the clear", function()
    for at, row in ipairs{
      { { { "", "+OK" }, { "CAPA", "+OK\nUIDL\n." } }, "network/tls" },
      { { { "", "+OK" }, { "CAPA", "+OK\nSTLS\n." }, { "STLS", "-ERR no" } }, "network/tls" },
      { { { "", "+OK" }, { "CAPA", "-ERR" }, { "STLS", "-ERR no" } }, "network/tls" },
      { { { "", "+OK" }, { "CAPA", "+OK\nSTLS\n." }, { "STLS", "+OK go\n+OK injected" } }, "network/protocol" },
    } do
      local p = dialog.start(row[1])
      local err = fails.with(row[2], net.pop3, { host = "127.0.0.1", port = p.port, user = "user", password = "s3cret", timeout = 10, ca_bundle = ca })
      assert.is_nil(tostring(err):find("s3cret", 1, true), at)
    end
  end)
end)
