-- Contract 10: what a server of IMAP may not do. Rows: what it says, and what comes of it; each also cut at every byte.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local wire = require("spec.support.wire")

--- A server that says all of `text`, cut at each of so many places, to one client after the other; then it hears them out.
local function server(text, cuts)
  return peer.tcp(([[
for cut = %d, %d do
  local c = accept()
  c:send((%q):sub(1, cut))
  c:shutdown("send")
  report((c:receive("*a")))
  c:close()
end]]):format(cuts and 0 or #text, #text, text))
end

--- A server that goes through a script: what it waits for (a word in a line), and what it says then.
local function scripted(steps)
  local source = { "local c = accept()" }
  for _, step in ipairs(steps) do
    if step.hear then
      source[#source + 1] = ([[
repeat
  local line = c:receive("*l")
  report(line)
until not line or line:find(%q, 1, true)]]):format(step.hear)
    end
    if step.say then source[#source + 1] = ("c:send((%q):rep(%d))"):format(step.say, step.times or 1) end
  end
  source[#source + 1] = [[c:shutdown("send") report((c:receive("*a"))) c:close()]]
  return peer.tcp(table.concat(source, "\n"))
end

local function options(port, more)
  local opts = { host = "127.0.0.1", port = port, tls = false, timeout = 10 }
  for name, value in pairs(more or {}) do opts[name] = value end
  return opts
end

local HELLO = "* OK [CAPABILITY IMAP4rev1 IDLE LITERAL+ UIDPLUS NAMESPACE MOVE ESEARCH] hello\r\n"
local OK = "C1 OK done\r\n"

local function fetch(imap) return imap:fetch("1:*", { "flags", "BODY.PEEK[]" }) end
local function noop(imap) return imap:noop() end

local TWO = "* 1 FETCH (UID 7 FLAGS (\\Seen) BODY[] {5}\r\nab\r\nc)\r\n* 2 FETCH (UID 9 BODY[] \"x\\\"y\" FLAGS ())\r\n"

-- name, what is said behind the greeting, the call, the class of the error or a check of the results, options
local ROWS = {
  { "two messages", TWO .. OK, fetch, function(found)
    assert.same({ 7, 9 }, { found[1].uid, found[2].uid })
    assert.same({ "ab\r\nc", 'x"y' }, { found[1].body[""], found[2].body[""] })
  end },
  { "one message in two responses", "* 1 FETCH (UID 7 FLAGS (a))\r\n* 1 FETCH (UID 7 BODY[] {0}\r\n)\r\n" .. OK, fetch, function(found)
    assert.same({ 1, "", "a" }, { #found, found[1].body[""], found[1].flags[1] })
  end },
  { "flags of others in between", "* 4 FETCH (FLAGS (\\Seen))\r\n" .. OK, fetch, function(found, imap)
    assert.same({}, found)
    assert.equal(4, imap:idle{ timeout = 0 }[1].number)
  end, nil, "idle" },
  { "a refusal", "C1 NO [OVERQUOTA] full\r\n", fetch, function(found, _, no)
    assert.same({ nil, "OVERQUOTA", "full" }, { found, no.code, no.text })
    assert.equal("OVERQUOTA full", tostring(no))
  end },
  { "BAD", "C1 BAD what?\r\n", noop, "network/protocol" },
  { "BYE", "* BYE shutting down\r\n", noop, "network/connection_reset" },
  { "another tag", "C2 OK done\r\n", noop, "network/protocol" },
  { "PREAUTH in the middle", "* PREAUTH hello\r\n" .. OK, noop, "network/protocol" },
  { "a go-ahead that nobody waits for", "+ go\r\n" .. OK, noop, "network/protocol" },
  { "binary", "\1\2\3\255\254\r\n" .. OK, noop, "network/protocol" },
  { "NUL", "* OK \0\r\n" .. OK, noop, "network/protocol" },
  { "LF without CR", "* OK x\n" .. OK, noop, "network/protocol" },
  { "HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", noop, "network/protocol" },
  { "an unknown response", "* XYZZY (a (b \"c\")) {1}\r\nd\r\n" .. OK, noop, function(updates) assert.same({}, updates) end },
  { "a half list", "* LIST (\\a\r\n" .. OK, noop, "network/protocol" },
  { "lists without end", "* X " .. ("("):rep(100000) .. "\r\n" .. OK, noop, "network/protocol" },
  { "a structure without end", "* 1 FETCH (UID 1 BODYSTRUCTURE " .. ("("):rep(100000) .. "\r\n" .. OK, fetch, "network/protocol" },
  { "a literal of 2^64 bytes", "* 1 FETCH (UID 1 BODY[] {18446744073709551616}\r\nx", fetch, "network/too_large" },
  { "a literal beyond the cap", "* 1 FETCH (UID 1 BODY[] {1001}\r\n" .. ("x"):rep(1001) .. ")\r\n" .. OK, fetch, "network/too_large",
    { max_literal_bytes = 1000 } },
  { "many literals beyond the cap of a reply", ("* 1 FETCH (UID 1 BODY[] {500}\r\n" .. ("x"):rep(500) .. ")\r\n"):rep(20) .. OK, fetch,
    "network/too_large", { max_reply_bytes = 5000 } },
  { "literals of nothing", "* X" .. (" {0}\r\n"):rep(2000) .. "\r\n" .. OK, noop, function(updates) assert.same({}, updates) end },
  { "a line beyond the cap", "* OK " .. ("x"):rep(2000) .. "\r\n" .. OK, noop, "network/too_large", { max_line_bytes = 1000 } },
  { "small lists without end", "* X " .. ("() "):rep(2000) .. "\r\n" .. OK, noop, "network/too_large", { max_reply_bytes = 50000 } },
  { "a set of all numbers", "* ESEARCH (TAG \"C1\") UID ALL 1:4294967295\r\n" .. OK, function(imap) return imap:search() end, "network/too_large" },
  { "many sets, each within the cap", "* ESEARCH (TAG \"C1\")" .. (" ALL 1:700"):rep(2) .. "\r\n" .. OK, function(imap) return imap:search() end,
    "network/too_large", { max_reply_bytes = 64000 } },
  { "sets in many responses", ("* VANISHED 1:300\r\n"):rep(4) .. OK, noop, "network/too_large", { max_reply_bytes = 64000 } },
  { "that all messages there could be are gone", "* VANISHED 1:4294967295\r\n" .. OK, noop, "network/too_large" },
  { "that some are", "* VANISHED 7,1:3\r\n" .. OK, noop, function(news)
    assert.same({ 1, "vanished", 4, 7, 3 }, { #news, news[1].kind, #news[1].uids, news[1].uids[1], news[1].uids[4] })
  end },
  { "a COPYUID of all numbers", "C1 OK [COPYUID 5 1:4294967295 1] done\r\n", function(imap) return imap:copy(1, "x") end, "network/too_large" },
  { "a refusal that is no text", "C1 NO [A\27[2JB] \27[31mno\r\n", noop, function(_, _, no)
    assert.is_nil(tostring(no):find("%c"))
  end },
  { "a search of somebody else's", "* ESEARCH (TAG \"C9\") UID ALL 1\r\n" .. OK, function(imap) return imap:search() end, "network/protocol" },
  { "a search as of old", "* SEARCH 3 1 2\r\n" .. OK, function(imap) return imap:search() end, function(found) assert.same({ 3, 1, 2 }, found) end },
  { "a malformed COPYUID", "C1 OK [COPYUID x] done\r\n", function(imap) return imap:copy(1, "x") end, "network/protocol" },
  { "a malformed APPENDUID", "C1 OK [APPENDUID () 1] done\r\n", function(imap) return imap:append("x", "a: b\r\n\r\n") end, "network/protocol" },
  { "STATUS without an answer", OK, function(imap) return imap:status("x") end, "network/protocol" },
  { "numbers that grow and shrink", "* 5 EXISTS\r\n* 9 EXPUNGE\r\n* 0 EXPUNGE\r\n* 18446744073709551615 EXISTS\r\n" .. OK, noop, function(updates)
    assert.equal(4, #updates)
  end },
}

describe("a hostile server of IMAP", function()
  wire.watch(before_each, after_each)

  for _, row in ipairs(ROWS) do
    local name, text, call, expected, more, silent = row[1], HELLO .. row[2], row[3], row[4], row[5], row[6]
    it("says: " .. name, function()
      if silent then text = text .. "+ idling\r\n" end
      local p = server(text)
      local imap = net.imap(options(p.port, more))
      if type(expected) == "string" then
        local err = fails.with(expected, call, imap)
        assert.same({ "127.0.0.1", p.port }, { err.host, err.port })
        assert.is_string(err.op)
      else
        local value, no = call(imap)
        expected(value, imap, no)
      end
      imap:close()
      p:finish()
    end)
  end

  it("is cut at every byte, and nothing but an error comes of it", function()
    for _, row in ipairs(ROWS) do
      local text = HELLO .. row[2]
      if #text < 400 then
        local p = server(text, true)
        for cut = 0, #text do
          local ok, err = pcall(function()
            local imap, no = net.imap(options(p.port, row[5]))
            if imap then
              -- Whole, it is a row of those above.
              pcall(row[3], imap)
              imap:close()
            else
              assert(no.code)
            end
          end)
          if not ok then
            assert.is_truthy(tostring(err.class):find("^puck.uno/error/network/"), row[1] .. " cut at " .. cut .. ": " .. tostring(err))
          end
        end
        p:finish()
      end
    end
  end)

  it("has said what it said when it is cut: the call raises, and what came before is there", function()
    local text = HELLO .. TWO .. OK
    for cut = #HELLO, #text - 1, 7 do
      local p, seen = server(text:sub(1, cut)), {}
      local imap = net.imap(options(p.port))
      fails.with("network/connection_reset", imap.fetch, imap, "1:*", "BODY[]", { each = function(m) seen[#seen + 1] = m.uid end })
      local whole = cut >= #HELLO + #TWO and 2 or cut >= #HELLO + TWO:find("* 2", 1, true) - 1 and 1 or 0
      assert.equal(whole, #seen, "cut at " .. cut)
      assert.is_false(imap.connected)
      fails.with("network/socket", imap.noop, imap)
      p:finish()
    end
  end)
end)

describe("news without end", function()
  wire.watch(before_each, after_each)

  it("ends with the deadline or the cap of a reply", function()
    local p = scripted{ { say = HELLO }, { hear = "NOOP", say = "* OK still here\r\n", times = 20000 } }
    local imap = net.imap(options(p.port, { max_reply_bytes = 100000 }))
    fails.with("network/too_large", imap.noop, imap)
    p:finish()
  end)

  it("is kept as far as 10,000 of it", function()
    local p = scripted{ { say = HELLO }, { hear = "NOOP", say = "* 3 EXPUNGE\r\n", times = 10500 }, { say = OK } }
    local imap = net.imap(options(p.port))
    local updates = imap:noop()
    assert.same({ 10000, 500 }, { #updates, updates.lost })
    imap:close()
    p:finish()
  end)

  it("is kept as far as 16 MiB of it, and there is room again once it was fetched", function()
    local p = scripted{
      { say = HELLO }, { hear = "NOOP", say = "* 3 FETCH (X \"" .. ("x"):rep(2000) .. "\")\r\n", times = 9000 }, { say = OK },
      { hear = "NOOP", say = "* 3 EXPUNGE\r\nC2 OK done\r\n" },
    }
    local imap = net.imap(options(p.port))
    local updates = imap:noop()
    assert.is_true(#updates > 7000 and #updates < 8400, #updates)
    assert.equal(9000, #updates + updates.lost)
    updates = imap:noop()
    assert.same({ 1 }, { #updates, updates.lost })
    imap:close()
    p:finish()
  end)

  it("does not hold idle for longer than it was asked to wait", function()
    local p = scripted{ { say = HELLO }, { hear = "IDLE", say = "+ idling\r\n* OK still\r\n* OK here\r\n" }, { hear = "DONE" } }
    local imap = net.imap(options(p.port))
    assert.same({}, imap:idle{ timeout = 0.3 })
    assert.same({}, imap:idle{ timeout = 0 })
    imap:close()
    p:finish()
  end)
end)

describe("a greeting", function()
  wire.watch(before_each, after_each)

  for _, row in ipairs{
    { "of another protocol", "220 ready\r\n", "network/protocol" },
    { "that refuses", "* BYE [UNAVAILABLE] busy\r\n", nil, "UNAVAILABLE" },
    { "that is tagged", "A1 OK hello\r\n", "network/protocol" },
    { "that is NO", "* NO hello\r\n", "network/protocol" },
    { "that is a go-ahead", "+ hello\r\n", "network/protocol" },
    { "of silence", "", "network/connection_reset" },
    { "without what the server offers", "* OK hello\r\nC1 OK done\r\n", "network/protocol" },
  } do
    it(row[1], function()
      local p = server(row[2])
      if row[3] then
        fails.with(row[3], net.imap, options(p.port))
      else
        local imap, no = net.imap(options(p.port))
        assert.same({ nil, row[4] }, { imap, no.code })
      end
      p:finish()
    end)
  end
end)

describe("STARTTLS is never skipped", function()
  wire.watch(before_each, after_each)

  for _, row in ipairs{
    { "where it was taken out", "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n", "network/tls" },
    { "where it was taken out of CAPABILITY", "* OK hello\r\n* CAPABILITY IMAP4rev1\r\nC1 OK done\r\n", "network/tls" },
    { "where it is refused", "* OK [CAPABILITY IMAP4rev1 STARTTLS] hello\r\nC1 NO not now\r\n", "network/tls" },
    { "where it is not understood", "* OK [CAPABILITY IMAP4rev1 STARTTLS] hello\r\nC1 BAD what?\r\n", "network/tls" },
    { "where the client is said to be logged in", "* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hello\r\nC1 OK go\r\n", "network/tls" },
    { "where more follows on the go-ahead",
      "* OK [CAPABILITY IMAP4rev1 STARTTLS] hello\r\nC1 OK go\r\n* OK [CAPABILITY AUTH=PLAIN] x\r\n", "network/protocol" },
  } do
    it(row[1], function()
      local p = server(row[2])
      local err = fails.with(row[3], net.imap, { host = "127.0.0.1", port = p.port, user = "ann", password = "s3cret", timeout = 10 })
      local heard = table.concat(p:finish())
      assert.is_nil(heard:find("s3cret", 1, true) or heard:find("LOGIN", 1, true) or heard:find("AUTHENTICATE", 1, true), heard)
      assert.is_nil(tostring(err):find("s3cret", 1, true))
    end)
  end

  it("and without TLS no password goes out unless that is allowed", function()
    for _, capabilities in ipairs{ "IMAP4rev1 AUTH=PLAIN", "IMAP4rev1 LOGINDISABLED", "IMAP4rev1" } do
      local p = server("* OK [CAPABILITY " .. capabilities .. "] hello\r\nC1 OK welcome\r\n")
      local ok, err = pcall(net.imap, options(p.port, { user = "ann", password = "s3cret" }))
      assert.is_false(ok)
      assert.is_truthy(err.class:find("tls$") or err.class:find("protocol$"), tostring(err))
      assert.is_nil(table.concat(p:finish()):find("s3cret", 1, true))
    end
  end)

  it("and LOGINDISABLED is believed", function()
    local p = server("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hello\r\nC1 OK welcome\r\n")
    fails.with("network/protocol", net.imap, options(p.port, { user = "ann", password = "s3cret", insecure_auth = true }))
    assert.is_nil(table.concat(p:finish()):find("s3cret", 1, true))
  end)
end)

describe("commands", function()
  wire.watch(before_each, after_each)

  it("take no CR, LF or NUL in any argument", function()
    local p = server(HELLO)
    local imap = net.imap(options(p.port))
    for _, bad in ipairs{ "a\r\nC9 DELETE x", "a\nb", "a\rb", "a\0b" } do
      for _, call in ipairs{
        function() imap:list(bad) end, function() imap:list("*", { reference = bad }) end, function() imap:select(bad) end,
        function() imap:examine(bad) end, function() imap:create(bad) end, function() imap:delete(bad) end, function() imap:rename(bad, "x") end,
        function() imap:rename("x", bad) end, function() imap:subscribe(bad) end, function() imap:unsubscribe(bad) end,
        function() imap:status(bad) end, function() imap:status("x", { bad }) end, function() imap:fetch(bad, "flags") end,
        function() imap:fetch(1, bad) end, function() imap:fetch(1, "BODY[" .. bad .. "]") end, function() imap:search(bad) end,
        function() imap:search{ from = bad } end, function() imap:search{ keyword = bad } end, function() imap:search{ since = bad } end,
        function() imap:search{ header = { bad, "x" } } end, function() imap:search{ uid = bad } end, function() imap:store(bad, "add", "x") end,
        function() imap:store(1, "add", bad) end, function() imap:store(1, bad, "x") end, function() imap:copy(bad, "x") end,
        function() imap:copy(1, bad) end, function() imap:move(1, bad) end, function() imap:append(bad, "x") end,
        function() imap:append("x", "y", { flags = bad }) end, function() imap:expunge(bad) end, function() imap:select{ name = bad } end,
      } do
        fails.plainly("bad argument", call)
      end
    end
    imap:close()
    local heard = table.concat(p:finish())
    assert.equal("C1 LOGOUT\r\n", heard)
  end)

  it("quote what can be quoted, and send the rest as literals", function()
    local p = scripted{
      { say = "* OK [CAPABILITY IMAP4rev1] hello\r\n" },
      { hear = "LOGIN", say = "+ go\r\n" }, { hear = "{7}", say = "+ go\r\n" }, { hear = "s3\255cret", say = "* CAPABILITY IMAP4rev1\r\nC1 OK in\r\n" },
      { hear = "LIST", say = "C2 OK done\r\n" }, { hear = "SEARCH", say = "+ go\r\n" }, { hear = ")", say = "C3 OK done\r\n" },
      { hear = "SEARCH", say = "C4 NO [BADCHARSET] no\r\n" },
      { hear = "SELECT", say = "C5 NO no\r\n" },
    }
    local imap = net.imap(options(p.port, { user = 'j\195\182 "x\\', password = "s3\255cret", insecure_auth = true }))
    assert.same({}, imap:list('a"b\\c&d/%'))
    assert.same({}, imap:search{ subject = "caf\195\169" })
    assert.equal("BADCHARSET", select(2, imap:search{ subject = "caf\195\169" }).code)
    assert.equal("NO", select(2, imap:select("Entw\195\188rfe")).code)
    imap:close()
    local heard = table.concat(p:finish(), "\n")
    for _, line in ipairs{
      "C1 LOGIN {7}", 'j\195\182 "x\\ {7}', "s3\255cret", 'C2 LIST "" "a\\"b\\\\c&-d/%"', "C3 UID SEARCH CHARSET UTF-8 (SUBJECT {5}", "caf\195\169)",
      'C5 SELECT "Entw&APw-rfe"',
    } do
      assert.is_truthy(heard:find(line, 1, true), line .. " is not in\n" .. heard)
    end
  end)

  it("name mailboxes in UTF-8 where the server has agreed to it", function()
    local p = scripted{
      { say = "* OK [CAPABILITY IMAP4rev1 ENABLE UTF8=ACCEPT LITERAL-] hello\r\n" },
      { hear = "LOGIN", say = "C1 OK [CAPABILITY IMAP4rev1 ENABLE UTF8=ACCEPT LITERAL-] in\r\n" },
      { hear = "ENABLE", say = "* ENABLED UTF8=ACCEPT\r\nC2 OK done\r\n" },
      { hear = "LIST", say = "* LIST () \"/\" \"Entw\195\188rfe &-\"\r\nC3 OK done\r\n" },
      { hear = "SELECT" }, { hear = "\195\188", say = "C4 OK done\r\n" },
      { hear = "APPEND" }, { hear = ")", say = "C5 OK done\r\n" },
    }
    local imap = net.imap(options(p.port, { user = "ann", password = "s3cret", insecure_auth = true }))
    assert.equal("Entw\195\188rfe &-", imap:list()[1].name)
    assert.is_table(imap:select("\195\188"))
    assert.same({}, imap:append("x", "a: \195\188\r\n\r\n"))
    imap:close()
    local heard = table.concat(p:finish(), "\n")
    assert.is_truthy(heard:find("C4 SELECT {2+}\n\195\188", 1, true), heard)
    assert.is_truthy(heard:find('C5 APPEND "x" () UTF8 (~{9+}\na: \195\188', 1, true), heard)
  end)

  it("move by copying only what can be deleted alone", function()
    local p = scripted{ { say = "* OK [CAPABILITY IMAP4rev1] hello\r\n" } }
    local imap = net.imap(options(p.port))
    assert.equal("UNSUPPORTED", select(2, imap:move(1, "x")).code)
    assert.equal("UNSUPPORTED", select(2, imap:expunge(1)).code)
    assert.equal("UNSUPPORTED", select(2, imap:idle()).code)
    assert.equal("UNSUPPORTED", select(2, imap:namespace()).code)
    imap:close()
    p:finish()
    p = scripted{
      { say = "* OK [CAPABILITY IMAP4rev1 UIDPLUS] hello\r\n" },
      { hear = "UID COPY 1:3", say = "C1 OK [COPYUID 5 1:3 7:9] done\r\n" },
      { hear = "UID STORE 1:3 +FLAGS.SILENT (\\Deleted)", say = "C2 OK done\r\n" },
      { hear = "UID EXPUNGE 1:3", say = "* 1 EXPUNGE\r\n* 1 EXPUNGE\r\nC3 OK done\r\n" },
    }
    imap = net.imap(options(p.port))
    local done = imap:move({ 1, 2, 3 }, "x")
    assert.same({ 5, 7, 9 }, { done.uid_validity, done.to[1], done.to[3] })
    imap:close()
    p:finish()
  end)
end)
