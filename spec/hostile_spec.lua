-- Contract 5: what a server must not get away with. Bytes, and the class of the error; nothing is handed to the script.

local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local wire = require("spec.support.wire")

local ok = "HTTP/1.1 200 OK\r\n"
local many = {}
for i = 1, 257 do many[i] = "X-" .. i .. ": y\r\n" end
many = table.concat(many)

-- name, what the server sends before it closes, the class (or the body, where it is fine)
local rows = {
  { "a plain answer", ok .. "Content-Length: 2\r\n\r\nok", body = "ok" },
  { "a length twice, the same", ok .. "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", body = "ok" },
  { "chunks with extensions", ok .. "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n", body = "ok" },
  { "100 before the answer", "HTTP/1.1 100 Continue\r\n\r\n" .. ok .. "Content-Length: 2\r\n\r\nok", body = "ok" },
  { "HTTP/1.0 until it closes", "HTTP/1.0 200 OK\r\n\r\nok", body = "ok" },
  { "no reason phrase", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", body = "ok" },
  { "trailers are trailers", ok .. "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Late: yes\r\n\r\n", body = "ok" },
  { "256 fields", ok .. many:gsub("X%-257[^\n]*\n", ""):gsub("X%-256[^\n]*\n", "Content-Length: 2\r\n") .. "\r\nok", body = "ok" },

  { "both framings", ok .. "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", "protocol" },
  { "two lengths", ok .. "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!", "protocol" },
  { "two lengths in one field", ok .. "Content-Length: 2, 3\r\n\r\nok!", "protocol" },
  { "a length with a sign", ok .. "Content-Length: +2\r\n\r\nok", "protocol" },
  { "a negative length", ok .. "Content-Length: -2\r\n\r\nok", "protocol" },
  { "a length in hex", ok .. "Content-Length: 0x2\r\n\r\nok", "protocol" },
  { "an empty length", ok .. "Content-Length: \r\n\r\nok", "protocol" },
  { "a length past 64 bits", ok .. "Content-Length: 18446744073709551616\r\n\r\nok", "protocol" },
  { "a bare CR in a value", ok .. "X-One: a\rb\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "NUL in a value", ok .. "X-One: a\0b\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "NUL in a name", ok .. "X\0One: a\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "a folded field", ok .. "X-One: a \r\n\t b\r\nContent-Length: 2\r\n\r\nok", body = "ok", one = "a b" },
  { "a folded field after a stray CR", ok .. "X-One: a\r\r\n b\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "a length folded in two", ok .. "Content-Length: 2\r\n 2\r\n\r\nok", "protocol" },
  { "a folded status line", "HTTP/1.1 200\r\n OK\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "a blank before the first field", ok .. " X-One: a\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "a blank before the colon", ok .. "Content-Length : 2\r\n\r\nok", "protocol" },
  { "a field without a name", ok .. ": a\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "a field without a colon", ok .. "nonsense\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "a chunk size with a sign", ok .. "Transfer-Encoding: chunked\r\n\r\n+2\r\nok\r\n0\r\n\r\n", "protocol" },
  { "a chunk size with a blank", ok .. "Transfer-Encoding: chunked\r\n\r\n 2\r\nok\r\n0\r\n\r\n", "protocol" },
  { "a chunk size in C's hex", ok .. "Transfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n", "protocol" },
  { "an empty chunk size", ok .. "Transfer-Encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n", "protocol" },
  { "a chunk size past 64 bits", ok .. "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n", "protocol" },
  { "a chunk longer than its size", ok .. "Transfer-Encoding: chunked\r\n\r\n2\r\nok!\r\n0\r\n\r\n", "protocol" },
  { "chunk lines that end in LF alone", ok .. "Transfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n", "protocol" },
  { "LF in a chunk extension", ok .. "Transfer-Encoding: chunked\r\n\r\n2;a\nb\r\nok\r\n0\r\n\r\n", "protocol" },
  { "CR in a chunk extension", ok .. "Transfer-Encoding: chunked\r\n\r\n2;a\rb\r\nok\r\n0\r\n\r\n", "protocol" },
  { "chunk extensions without end", ok .. "Transfer-Encoding: chunked\r\n\r\n" .. ("1;" .. ("x"):rep(1024) .. "\r\na\r\n"):rep(17) .. "0\r\n\r\n", "protocol" },
  { "chunked, and more after it", ok .. "Transfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n", "protocol" },
  { "chunked, and deflate after it", ok .. "Transfer-Encoding: chunked, deflate\r\n\r\n2\r\nok\r\n0\r\n\r\n", "protocol",
    words = '"chunked, deflate"' },
  { "chunked, and gzip in a line of its own", ok .. "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", "protocol",
    words = '"chunked, gzip"' },
  { "chunked twice", ok .. "Transfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "protocol" },
  { "an unknown transfer coding", ok .. "Transfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "protocol" },
  { "chunked over HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "protocol" },
  { "an empty member beside chunked", ok .. "Transfer-Encoding: ,chunked, \r\n\r\n2\r\nok\r\n0\r\n\r\n", body = "ok" },
  { "nothing but empty members", ok .. "Transfer-Encoding: ,\r\n\r\n2\r\nok\r\n0\r\n\r\n", "protocol" },
  { "a bare semicolon", ok .. "Transfer-Encoding: chunked\r\n\r\n2;\r\nok\r\n0\r\n\r\n", "protocol" },
  { "two semicolons", ok .. "Transfer-Encoding: chunked\r\n\r\n2;;a\r\nok\r\n0\r\n\r\n", "protocol" },
  { "fewer bytes than announced", ok .. "Content-Length: 3\r\n\r\nok", "connection_reset", partial = "ok" },
  { "chunks without an end", ok .. "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "connection_reset", partial = "ok" },
  { "half a chunk", ok .. "Transfer-Encoding: chunked\r\n\r\n5\r\nok", "connection_reset", partial = "ok" },
  { "a head and no body", ok .. "Content-Length: 3\r\n\r\n", "connection_reset" },
  { "half a head", ok .. "Content-Le", "protocol" },
  { "trailers without an end", ok .. "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Late: y", "protocol" },
  { "257 fields", ok .. many .. "\r\n", "protocol" },
  { "65 KiB of one field", ok .. "X-One: " .. ("x"):rep(66000) .. "\r\n\r\n", "protocol" },
  { "65 KiB of status line", "HTTP/1.1 200 " .. ("x"):rep(66000) .. "\r\n\r\n", "protocol" },
  { "17 informational answers", ("HTTP/1.1 103 Early Hints\r\n\r\n"):rep(17) .. ok .. "Content-Length: 2\r\n\r\nok", "protocol" },
  { "only informational answers", "HTTP/1.1 100 Continue\r\n\r\n", "protocol" },
  { "an upgrade that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "protocol" },
  { "trailers without a cap", ok .. "Transfer-Encoding: chunked\r\n\r\n0\r\n" .. ("X-Late: " .. ("x"):rep(1000) .. "\r\n"):rep(70) .. "\r\n", "protocol" },
  { "not HTTP at all", "220 mail.example ESMTP\r\n", "protocol" },
  { "HTTP/0.9", "<html></html>\r\n\r\n", "protocol" },
  { "another version", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "a version of two digits", "HTTP/11.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "a status that is no number", "HTTP/1.1 OK OK\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "NUL in the status line", "HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok", "protocol" },
  { "two different Locations", "HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", "protocol" },
}

-- A string as Lua source on one line, whatever its bytes: %q does not survive CR on every Lua.
local function source(bytes)
  return '"' .. bytes:gsub("[^%w ;:,=/.+-]", function(c) return ("\\%03d"):format(c:byte()) end) .. '"'
end

describe("a server that sends", function()
  wire.watch(before_each, after_each)

  for _, row in ipairs(rows) do
    it(row[1], function()
      local mine = net.narrow{ "--allow-net=127.0.0.1" }
      local p = peer.tcp("local c = accept() head(c) c:send("
        .. source(row[2]) .. ") c:close()")
      local url = "http://127.0.0.1:" .. p.port .. "/"
      if row.body then
        local r = mine.fetch(url, { timeout = 10 })
        assert.equal(row.body, r.body)
        if row.one then assert.equal(row.one, r.headers["x-one"]) end
      else
        local err = select(2, pcall(mine.fetch, url, { timeout = 10 }))
        assert.equal("table", type(err) == "userdata" and "table" or type(err), tostring(err))
        -- A connection that ends in mid-message may as well be called reset.
        local class = err.class:match("[^/]+$")
        assert.truthy(err:is("network/" .. row[2 + 1]) or class == "connection_reset", tostring(err))
        assert.falsy(class == "timeout")
        if row[3] == "connection_reset" then
          assert.equal(row[3], class)
          assert.equal(row.partial, err.partial)
        end
        if row.words then assert.truthy(tostring(err):find(row.words, 1, true), tostring(err)) end
      end
      mine.revoke()
    end)
  end

  it("trailers, which never become headers", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1" }
    local p = peer.tcp("local c = accept() head(c) c:send("
      .. source(ok .. "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Late: yes\r\nSet-Cookie: a=b\r\n\r\n") .. ") c:close()")
    local r = mine.fetch("http://127.0.0.1:" .. p.port .. "/")
    assert.equal("yes", r.trailers["x-late"])
    assert.is_nil(r.headers["x-late"])
    assert.is_nil(r.headers["set-cookie"])
    mine.revoke()
  end)
end)

describe("a kept connection", function()
  wire.watch(before_each, after_each)

  -- What the server does on the first connection after one good answer; then whether a second connection comes.
  local good = source(ok .. "Content-Length: 2\r\n\r\nok")
  local reading = [[
    local c = accept() head(c) c:send(]] .. good .. [[)
  ]]

  it("that was closed meanwhile is replaced without a word", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1" }
    local p = peer.tcp(reading .. "c:close() c = accept() head(c) c:send(" .. good .. ") report('second')")
    local url = "http://127.0.0.1:" .. p.port .. "/"
    assert.equal("ok", mine.fetch(url).body)
    assert.equal("ok", mine.fetch(url).body)
    mine.revoke()
    assert.same({ "second" }, p:finish())
  end)

  it("that dies under an idempotent request: once more, on a new one", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1" }
    local p = peer.tcp(reading .. "head(c) c:close() c = accept() head(c) c:send(" .. good .. ") report('again')")
    local url = "http://127.0.0.1:" .. p.port .. "/"
    mine.fetch(url)
    assert.equal("ok", mine.fetch(url).body)
    mine.revoke()
    assert.same({ "again" }, p:finish())
  end)

  it("that dies under a POST: never again", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1" }
    local p = peer.tcp(reading .. "head(c) c:close() server:settimeout(0.2) report(tostring(server:accept()))")
    local url = "http://127.0.0.1:" .. p.port .. "/"
    mine.fetch(url)
    local ok_, err = pcall(mine.fetch, url, { method = "POST", body = "x" })
    assert.is_false(ok_)
    assert.truthy(err:is("network/connection_reset") or err:is("network/protocol"))
    mine.revoke()
    assert.same({ "nil" }, p:finish())
  end)

  it("with bytes that nobody asked for is thrown away", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1" }
    local stray = source(ok .. "Content-Length: 2\r\n\r\nok" .. ok .. "Content-Length: 5\r\n\r\nstray")
    local p = peer.tcp([[
      local c = accept() head(c) c:send(]] .. stray .. [[)
      c = accept() head(c) c:send(]] .. good .. ") report('second')")
    local url = "http://127.0.0.1:" .. p.port .. "/"
    assert.equal("ok", mine.fetch(url).body)
    assert.equal("ok", mine.fetch(url).body)
    mine.revoke()
    assert.same({ "second" }, p:finish())
  end)

  it("is not used again while its answer's end is unknown", function()
    local mine = net.narrow{ "--allow-net=127.0.0.1" }
    local closing = source(ok .. "Connection: close\r\nContent-Length: 2\r\n\r\nok")
    local p = peer.tcp([[
      local c = accept() head(c) c:send(]] .. closing .. [[)
      local d = accept() head(d) d:send(]] .. good .. ") report('second')")
    local url = "http://127.0.0.1:" .. p.port .. "/"
    mine.fetch(url)
    mine.fetch(url)
    mine.revoke()
    assert.same({ "second" }, p:finish())
  end)
end)
