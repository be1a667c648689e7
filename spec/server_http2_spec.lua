-- Contract 9: net.http.server over HTTP/2. Clients are curl, nghttp and h2load, and frames by hand (spec/data/hostile_http2.tsv).

local net = require("spec.support.subject").net
local frames = require("spec.support.frames")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local serving = require("spec.support.serving")
local wire = require("spec.support.wire")

local has_posix, unistd = pcall(require, "posix.unistd")
local has_wait, wait = pcall(require, "posix.sys.wait")

describe("http server over HTTP/2", function()
  local server

  local clients = {}
  after_each(function()
    for _, one in ipairs(clients) do one.conn:close() end
    clients = {}
  end)
  serving.watch(before_each, after_each)

  local function open(opts)
    opts = opts or {}
    if opts.http2 == nil then opts.http2 = true end
    local url
    url, server = serving.open(opts)
    return url
  end

  local function secure(opts)
    opts = opts or {}
    opts.tls = { cert = servers.server.cert, key = servers.server.key, alpn = opts.alpn }
    opts.alpn = nil
    open(opts)
    return "https://localhost:" .. server.local_port
  end

  local function curl(arguments)
    return process.start("curl -s --max-time 20 --http2-prior-knowledge --cacert " .. servers.ca .. " " .. arguments)
  end

  --- A client whose frames are made by hand; `row` is sent behind the preface. It has no table of HPACK, so that statuses are written out.
  local function client(row)
    local made = frames.client(serving.client(server))
    clients[#clients + 1] = made
    made.send("S:0:0:#000100000000 " .. row)
    return made
  end

  --- Lets the server work until `is_done()`; what comes is answered by `handler`, else `ok`.
  local function turn(is_done, handler)
    local ended = os.time() + 20
    while not is_done() do
      assert(os.time() < ended, "too late")
      local ok, request = pcall(server.accept, server, { timeout = 0.02 })
      if not ok and not request:is("timeout") then error(request) end
      if ok and request then
        if handler then handler(request) else request:respond(200, nil, "ok") end
      end
    end
  end

  it("hands out the same requests, and sends the same answers", function()
    for _, tls in ipairs{ false, true } do
      local url = tls and secure() or open()
      if not tls then url = url:gsub("127.0.0.1", "localhost") end
      local running = curl(("%s -i -H 'X-Two: a' -H 'x-two: b' -H 'Cookie: a=b; c=d' -d 'a=1&b=c+d' '%s/p%%20q/?x=1'"):format(tls and "--http2" or "", url))
      local request = server:accept()
      assert.equal("POST", request.method)
      assert.equal("/p%20q/?x=1", request.target)
      assert.equal("/p%20q/", request.path)
      assert.equal("x=1", request.query)
      assert.equal("2", request.version)
      assert.equal(tls and "https" or "http", request.scheme)
      assert.equal("localhost", request.host)
      assert.equal("localhost:" .. server.local_port, request.headers.host)
      assert.equal("a, b", request.headers["X-Two"])
      assert.same({ a = "b", c = "d" }, request.cookies)
      assert.equal("a=1&b=c+d", request.body)
      assert.same({ x = "1", a = "1", b = "c d" }, request.params)
      assert.equal(9, request.content_length)
      assert.equal("127.0.0.1", request.remote_host)
      assert.equal(tls and "h2" or nil, request.tls and request.tls.alpn)
      assert.is_true(request:respond(201, { ["X-List"] = { "1", "2" }, ["Content-Type"] = "text/plain", Connection = "keep-alive", Upgrade = "x",
        TE = "gzip", ["Keep-Alive"] = "x" }, "made\n"))
      local text = running:rest():gsub("\r", "")
      assert.truthy(text:find("^HTTP/2 201 ?\ndate: %a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT\n"), text)
      assert.truthy(text:find("\nx-list: 1\nx-list: 2\n", 1, true), text)
      assert.truthy(text:find("\ncontent-length: 5\n", 1, true), text)
      assert.falsy(text:find("connection", 1, true) or text:find("upgrade", 1, true) or text:find("chunked", 1, true))
      assert.falsy(text:find("\nte:", 1, true) or text:find("keep-alive", 1, true))
      assert.truthy(text:find("\n\nmade\n$"), text)
      server:close()
    end
  end)

  it("answers in every way", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    local long = ("0123456789abcdef"):rep(65536)
    file:write(long)
    file:close()
    local errors, entries = {}, {}
    local url = open{ on_error = function(err) errors[#errors + 1] = err end, log = function(entry) entries[#entries + 1] = entry end }
    local function answer(request)
      local way = request.path
      if way == "/file" then return request:respond{ body_file = path } end
      if way == "/long" then return request:respond(200, nil, long) end
      if way == "/empty" then return request:respond(200) end
      if way == "/204" then return request:respond(204, nil, "x") end
      if way == "/pieces" then
        local left = 17
        return request:respond{ body = function()
          left = left - 1
          if left > 0 then return long:sub(1, 65536) end
        end }
      end
      if way == "/fails" then
        return request:respond{ body = function(...) error("private", ...) end }
      end
      request:respond(200, nil, way)
    end
    local out = os.tmpname()
    for _, row in ipairs{
      { "/file", "", 200, long }, { "/long", "", 200, long }, { "/pieces", "", 200, long }, { "/empty", "", 200, "" }, { "/204", "", 204, "" },
      { "/file", "-H 'Range: bytes=5-9'", 206, "56789" }, { "/file", "-H 'If-Modified-Since: Fri, 31 Dec 2100 23:59:59 GMT'", 304, "" },
      { "/file", "-H 'Range: bytes=99999999-'", 416, "" }, { "/file", "-I", 200, "" }, { "/x", "-I", 200, "" }, { "/x", "", 200, "/x" },
    } do
      os.remove(out)
      local running = curl(("%s '%s%s' -o %s -w '%%{http_code}'"):format(row[2], url, row[1], out))
      answer(server:accept())
      local before = #entries
      turn(function() return #entries > before or #entries > 0 and entries[#entries].target == row[1] and entries[#entries].status == row[3] end)
      assert.equal(tostring(row[3]), running:rest(), row[1])
      local got = io.open(out, "rb")
      local body = got and got:read("*a") or ""
      if got then got:close() end
      if row[2] == "-I" then
        assert.truthy(body:find("content-length: " .. (row[1] == "/file" and #long or 2) .. "\r\n", 1, true), body)
      else
        assert.is_true(body == row[4], row[1])
      end
      entries = {}
    end
    -- A body that fails is cut, and the client sees that.
    local running = curl(("'%s/fails' -w '%%{errormsg}' -o /dev/null"):format(url))
    answer(server:accept())
    turn(function() return #entries > 0 end)
    assert.is_false(entries[1].complete)
    assert.truthy(running:rest():find("INTERNAL_ERROR"))
    os.remove(path)
    os.remove(out)
    assert.equal(1, #errors)
  end)

  it("has many requests of one connection open, and answers them in any order", function()
    open()
    local one = client("H:4:1:m=POST,s=http,p=/1,a=a H:5:3:m=GET,s=http,p=/3,a=a H:5:5:m=GET,s=http,p=/5,a=a D:1:1:abc")
    -- In the order in which they are whole.
    local three, five, first = server:accept(), server:accept(), server:accept()
    assert.same({ "/3", "/5", "/1" }, { three.path, five.path, first.path })
    assert.is_false(three.id == five.id)
    for _, request in ipairs{ five, first, three } do request:respond(200, nil, request.path .. (request.body or "")) end
    turn(function() return #one.all(0) == 3 end)
    local order = {}
    for at, frame in ipairs(one.all(0)) do order[at] = frame.stream .. frame.payload end
    assert.same({ "5/5", "1/1abc", "3/3" }, order)
    assert.is_false(pcall(five.respond, five, 200))
  end)

  it("keeps to the windows of a client, stream by stream", function()
    open{ send_grace = 60 }
    -- A window of 10 for streams.
    local one = client("S:0:0:#00040000000a H:5:1:$ H:5:3:$")
    local body = ("0123456789"):rep(1000)
    local first = server:accept()
    assert.is_true(first:respond(200, nil, body))
    local left = 100
    server:accept():respond{ body = function()
      left = left - 1
      if left >= 0 then return body end
    end }
    turn(function() return #one.body(1) == 10 and #one.body(3) == 10 end)
    -- A producer is asked for no more than 256 KiB ahead.
    turn(function() return left < 75 end)
    assert.is_true(left >= 70)
    one.send("W:0:1:#00001000", true)
    turn(function() return #one.body(1) == 10 + 4096 end)
    assert.equal(10, #one.body(3))
    one.send("W:0:1:#00100000 W:0:3:#00100000 W:0:0:#00200000", true)
    turn(function() return #one.body(3) == 1000000 end)
    assert.equal(body, one.body(1))
    assert.equal(body:rep(100), one.body(3))
    assert.equal(1, one.all(0, 3)[#one.all(0, 3)].flags)
  end)

  it("gives producers less room where there are many streams", function()
    open{ send_grace = 60 }
    client("S:0:0:#000400000000 20x[H:5:+:$]")
    local asked = 0
    for _ = 1, 20 do
      server:accept():respond{ body = function()
        asked = asked + 1
        return ("x"):rep(8192)
      end }
    end
    for _ = 1, 5 do pcall(server.accept, server, { timeout = 0.02 }) end
    -- The first ones had no company yet: 4 of 33 pieces, and then 5 each.
    assert.is_true(asked >= 20 and asked <= 4 * 34 + 16 * 6, asked)
  end)

  it("keeps bodies in memory or in files, within the same limits", function()
    local refused = {}
    local url = open{ max_memory_bytes = 1000, max_body_bytes = 100000, spill = "/tmp", on_refused = function(info) refused[#refused + 1] = info end }
    local running = curl(("-H Expect: -d %s %s/ -w '%%{http_code}'"):format(("x"):rep(5000), url))
    local request = server:accept()
    assert.is_nil(request.body)
    assert.equal(5000, request.content_length)
    assert.equal(("x"):rep(5000), request:read())
    request:respond(200)
    assert.equal("200", running:rest())
    -- curl hears why, though it is not done with its body.
    running = curl(("-H Expect: -d %s %s/ -w '%%{http_code}'"):format(("x"):rep(110000), url))
    turn(function() return #refused == 1 end)
    assert.equal("413 Content Too Large\n413", running:rest())
    refused = {}
    -- With and without its length.
    local one = client("H:4:1:$P,content-length=100001 H:4:3:$P 7x[D:0:3:{16000*a}] H:5:5:$")
    turn(function() return one.said() == "1=413 3=413 5=200" end)
    assert.equal(2, #refused)
    assert.equal(413, refused[1].status)
    server:close()
    open{ max_memory_bytes = 1000, max_fields = 10, max_head_bytes = 2000, on_refused = function(info) refused[#refused + 1] = info end }
    one = client("H:4:1:$P,content-length=1001 H:4:3:$P D:0:3:{1001*a} H:5:5:$,{11*x=y,} H:5:7:$,x={3000*a} H:5:9:$")
    turn(function() return one.said() == "1=413 3=413 5=431 7=431 9=200" end)
    assert.equal("puck.uno/touchstone/error/cannot_store_files", refused[3].class)
    server:close()
  end)

  it("gives the bodies of one connection a few files", function()
    local refused = {}
    open{ max_memory_bytes = 1000, spill = "/tmp", body_grace = 60, on_refused = function(info) refused[#refused + 1] = info end }
    -- Those that announce long bodies, and one of no known length that turns out to be long.
    local one = client("20x[H:4:+:$P,content-length=2000] H:4:41:$P D:0:41:{1001*a} H:5:43:$")
    turn(function() return one.said() == "33:7 35:7 37:7 39:7 41=503 43=200" end)
    assert.is_true(wire.open("^/tmp/.*deleted") <= 16, wire.open("^/tmp/.*deleted"))
    assert.equal(5, #refused)
    assert.equal(503, refused[5].status)
    -- Another connection has its own, and what is handed out is the script's.
    local other = client("H:4:1:$P,content-length=2000 D:1:1:{2000*a}")
    one.send("D:1:1:{2000*a}", true)
    local kept = {}
    turn(function() return #kept == 2 end, function(request) kept[#kept + 1] = request end)
    one.send("H:4:45:$P,content-length=2000 H:4:47:$P,content-length=2000 R:0:3:#00000008", true)
    turn(function() return one.said() == "33:7 35:7 37:7 39:7 41=503 43=200 47:7" end)
    one.send("H:4:49:$P,content-length=2000 D:1:49:{2000*b}", true)
    turn(function() return #kept == 3 end, function(request) kept[#kept + 1] = request end)
    for _, request in ipairs(kept) do
      assert.equal(2000, #request:read())
      assert.is_true(request:respond(200))
    end
    turn(function() return other.said() == "1=200" and one.said():find("49=200", 1, true) end)
  end)

  it("lets no connection have the memory of others", function()
    local refused = {}
    local function on_refused(info) refused[#refused + 1] = info end
    -- Heads: each connection has what HTTP/1.1 would give it, and all together have a quarter of max_buffered_bytes.
    open{ max_buffered_bytes = 20000, max_head_bytes = 2000, on_refused = on_refused }
    local one = client("8x[H:4:+:$P,x={1000*a}]")
    turn(function() return one.said() == "9=503 11=503 13=503 15=503" end)
    assert.equal(503, refused[4].status)
    local other = client("H:5:1:$ H:4:3:$P,x={1000*a} D:1:3:{2000*a}")
    turn(function() return other.said() == "1=200 3=200" end)
    one.send("R:0:1:#00000008 R:0:3:#00000008 I:0:0:#0102030405060708", true)
    turn(function() return #one.all(6) == 1 end)
    one.send("H:5:17:$P,x={1000*a}", true)
    turn(function() return one.said() == "9=503 11=503 13=503 15=503 17=200" end)
    server:close()
    -- Of 1 MiB for one connection: a field of 3,900 bytes, and heads of 60 bytes that name it 15 times.
    refused = {}
    open{ on_refused = on_refused }
    one = client("H:4:1:$P,#400161,#7fbd1d,{3900*v} 20x[H:4:+:$P,#{15*be}] H:5:43:$")
    turn(function() return one.said() == "37:7 39:7 41:7 43=200" end)
    assert.equal(3, #refused)
    assert.equal(503, refused[1].status)
    -- Bodies: an eighth of max_buffered_bytes for one connection.
    server:close()
    open{ max_buffered_bytes = 80000, max_memory_bytes = 6000 }
    one = client("H:4:1:$P D:0:1:{5000*a} H:4:3:$P D:0:3:{4000*a} H:4:5:$P D:0:5:{2000*a}")
    turn(function() return one.said() == "5=503" end)
    other = client("H:4:1:$P D:1:1:{5000*a}")
    one.send("D:1:1: D:1:3:", true)
    turn(function() return one.said() == "1=200 3=200 5=503" and other.said() == "1=200" end)
  end)

  it("hands out no more of a client that does not take its answers", function()
    local long = ("x"):rep(3000000)
    local handed = 0
    local function handler(request)
      handed = handed + 1
      request:respond(200, nil, request.path == "/long" and long or "ok")
    end
    local function quiet()
      for _ = 1, 3 do pcall(server.accept, server, { timeout = 0.02 }) end
    end
    for _, way in ipairs{ "window", "reset" } do
      open{ send_grace = 60 }
      local one = client("S:0:0:#000400000000 H:5:1:m=GET,s=http,p=/long,a=a H:5:3:$ H:5:5:$ H:4:7:$P D:1:7:abc")
      handed = 0
      turn(function() return one.said() == "1=200" end, handler)
      for _ = 1, 3 do assert.is_false(pcall(server.accept, server, { timeout = 0.02 })) end
      -- Those of others go on, and one that is taken back does not come later.
      local other = client("H:5:1:$")
      one.send("R:0:5:#00000008", true)
      turn(function() return other.said() == "1=200" end, handler)
      assert.equal(2, handed)
      assert.equal("1=200", one.said())
      if way == "window" then
        one.send("W:0:0:#00300000 W:0:1:#00300000", true)
        turn(function() return one.said() == "1=200 3=200 7=200" and #one.body(1) == #long end, handler)
      else
        one.send("R:0:1:#00000008", true)
        turn(function() return one.said() == "1=200 3=200 7=200" end, handler)
      end
      assert.equal(4, handed)
      quiet()
      assert.equal(4, handed)
      server:close()
    end
    -- Open files count, too.
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(("x"):rep(100000))
    file:close()
    open{ send_grace = 60 }
    local function send(request)
      handed = handed + 1
      request:respond{ body_file = path }
    end
    handed = 0
    local one = client("S:0:0:#000400000000 20x[H:5:+:$]")
    turn(function() return #one.all(1) == 8 end, send)
    for _ = 1, 3 do assert.is_false(pcall(server.accept, server, { timeout = 0.02 })) end
    one.send("W:0:0:#00300000 S:0:0:#0004000f4240", true)
    turn(function() return handed == 20 and #one.body(39) == 100000 end, send)
    os.remove(path)
    server:close()
    -- Answers that only wait for their script do not.
    open()
    one = client("30x[H:5:+:$]")
    local list = {}
    for at = 1, 30 do list[at] = server:accept():events() end
    turn(function() return #one.all(1) == 30 end)
    for _, events in ipairs(list) do assert.is_true(events:is_open()) end
  end)

  it("refuses an answer that is none", function()
    open()
    local one = client("H:5:1:$")
    local request = server:accept()
    for _, status in ipairs{ 100, 101, 199 } do
      local ok, err = pcall(request.respond, request, status)
      assert.is_false(ok)
      assert.truthy(tostring(err):find("status must be 200..999", 1, true), tostring(err))
    end
    assert.is_true(request:respond(200, nil, "ok"))
    turn(function() return one.said() == "1=200" end)
  end)

  it("meets hostile frames as the table says, and goes on", function()
    open{ timeout = 10, send_grace = 60 }
    local wrong, rows, marker = {}, 0, ("D"):rep(8)
    for line in io.lines("spec/data/hostile_http2.tsv") do
      local expected, name, row = line:match("^([^#\t][^\t]*)\t([^\t]*)\t(.*)$")
      if expected then
        rows = rows + 1
        local one = frames.client(serving.client(server))
        -- Who is sent away may be gone before all was sent.
        pcall(one.send, row)
        pcall(one.conn.send_all, one.conn, frames.bytes("I:0:0:" .. marker, true))
        local handed, idle, ended = 0, false, os.time() + 20
        -- Over once the marker has come back and nothing is to be answered, or with the connection.
        local function is_over()
          one.read()
          for _, frame in ipairs(one.list) do
            if frame.kind == 6 and frame.flags == 1 and frame.payload == marker then return idle end
          end
          return one.ended or idle and os.time() >= ended - 17
        end
        while not is_over() do
          local ok, request = pcall(server.accept, server, { timeout = 0.005 })
          idle = not ok
          if ok then
            handed = handed + 1
            request:respond(200, nil, "ok")
          end
        end
        local said = one.said()
        local _, answered = expected:gsub("=200", "")
        if said ~= expected or handed ~= answered and not expected:find("away") then
          wrong[#wrong + 1] = ("%s: %s, not %s; %d handed out"):format(name, said, expected, handed)
        end
        one.conn:close()
      end
    end
    assert.same({}, wrong)
    assert.is_true(rows >= 130)
    local running = curl(("%s -w '%%{http_code}'"):format("http://127.0.0.1:" .. server.local_port))
    server:accept():respond(200, nil, "fine")
    assert.equal("fine200", running:rest())
  end)

  it("takes back what a client takes back", function()
    local entries = {}
    open{ log = function(entry) entries[#entries + 1] = entry end }
    local one = client("H:5:1:$ H:5:3:$ H:5:5:$ R:0:3:#00000008")
    local first = server:accept()
    local last = server:accept()
    -- The one that was taken back is not handed out.
    assert.is_false(pcall(server.accept, server, { timeout = 0.05 }))
    first:respond(200)
    one.send("R:0:5:#00000008", true)
    -- Its bytes are there: the next look at the socket reads them.
    for _ = 1, 3 do pcall(server.accept, server, { timeout = 0.02 }) end
    assert.equal(1, #one.all(1))
    assert.is_false(last:respond(200))
    -- A stream that is cut while it is answered.
    one.send("H:5:7:m=GET,s=http,p=/7,a=a", true)
    local events = server:accept():events()
    events:send{ data = "x" }
    turn(function() return one.body(7) == "data: x\n\n" end)
    one.send("R:0:7:#00000008", true)
    turn(function() return not events:is_open() end)
    assert.is_false((pcall(events.send, events, { data = "y" })))
    local cut
    turn(function()
      for _, entry in ipairs(entries) do if entry.target == "/7" then cut = entry end end
      return cut
    end)
    assert.is_false(cut.complete)
  end)

  it("goes on where a stream ends that the client has just taken back", function()
    -- The reset is read at the end of what one connection may do in a row, so that the script comes before it is heard.
    local filler = frames.bytes("4d:0:0:{16300*a}", true)
    for behind = 1, 12 do
      open()
      local one = client("H:5:1:$")
      local bytes = {}
      for at = 3, 7, 2 do
        bytes[#bytes + 1] = frames.bytes("H:5:" .. at .. ":$", true) .. filler:rep(behind)
        bytes[#bytes + 1] = frames.bytes("R:0:" .. at - 2 .. ":#00000008", true) .. filler:rep(57)
      end
      one.conn.timeout = 0.2
      pcall(one.conn.send_all, one.conn, table.concat(bytes))
      local last
      while true do
        local ok, request = pcall(server.accept, server, { timeout = 0.05 })
        if not ok then break end
        if last then last:close() end
        last = request:events()
        pcall(last.send, last, { data = "x" })
      end
      assert.truthy(last)
      one.conn:close()
      server:close()
    end
  end)

  it("gives a piece its time, however long the stream was silent", function()
    open{ idle_timeout = 1 }
    local one = client("S:0:0:#000400000009 H:5:1:$")
    local events = server:accept():events()
    events:send{ data = "x" }
    turn(function() return one.body(1) == "data: x\n\n" end)
    local silent = os.time() + 2
    turn(function() return os.time() > silent end)
    -- There is no window for it yet.
    events:send{ data = "y" }
    for _ = 1, 10 do pcall(server.accept, server, { timeout = 0.02 }) end
    one.send("W:0:1:#00000009", true)
    turn(function() return one.body(1) == "data: x\n\ndata: y\n\n" end)
  end)

  it("counts the requests that it refuses, and sends no body for HEAD", function()
    open{ max_requests = 3 }
    local one = client("H:5:1:m=HEAD,s=http,p=/ H:5:3:m=GET,s=http,p=/")
    turn(function() return one.said() == "1=400 3=400" end)
    assert.equal(0, #one.all(7))
    one.send("H:5:5:m=GET,s=http,p=/", true)
    turn(function() return #one.all(7) > 0 and #one.all(1) == 3 end)
    assert.equal(0, #one.all(0, 1))
    assert.equal("400 Bad Request\n", one.body(3))
  end)

  it("has its timers", function()
    -- Nothing is under way: a friendly goodbye.
    open{ idle_timeout = 0.2 }
    local one = client("H:5:1:$")
    turn(function() return one.said() == "1=200" and one.ended end)
    assert.equal(0, one.all(7)[1].payload:byte(8))
    server:close()
    -- A head that is never whole.
    open{ head_timeout = 0.2 }
    one = client("H:1:1:$")
    turn(function() return one.said() == "away:11" and one.ended end)
    server:close()
    -- A body that comes too slowly ends its stream; the others go on.
    local refused = {}
    open{ body_grace = 0.2, on_refused = function(info) refused[#refused + 1] = info end }
    one = client("H:4:1:$P D:0:1:abc H:5:3:$")
    turn(function() return one.said() == "1=408 3=200" end)
    assert.equal(408, refused[1].status)
    turn(function() return #one.all(3, 1) == 1 end)
    one.send("H:5:5:$", true)
    turn(function() return one.said() == "1=408 3=200 5=200" end)
    server:close()
    -- A window that stays shut, with PINGs that look like life.
    local entries = {}
    open{ send_grace = 0.3, log = function(entry) entries[#entries + 1] = entry end }
    one = client("S:0:0:#000400000000 H:5:1:$")
    turn(function()
      pcall(one.send, "10x[I:0:0:#0102030405060708]", true)
      return one.said() == "away:11" and one.ended
    end)
    assert.equal("", one.body(1))
    assert.is_false(entries[1].complete)
  end)

  it("ends with GOAWAY: after enough requests, and when it is stopped", function()
    open{ max_requests = 3 }
    local one = client("H:5:1:$ H:5:3:$ H:5:5:$")
    turn(function() return one.said() == "1=200 3=200 5=200" and one.ended end)
    assert.equal(0, one.all(7)[1].payload:byte(8))
    server:close()
    open()
    local idle = client("H:5:1:$")
    turn(function() return idle.said() == "1=200" end)
    local busy = client("H:5:1:$")
    local request = server:accept()
    server:stop()
    assert.is_true(request:respond(200, nil, "last"))
    while server:accept() do end -- luacheck: ignore
    local function ended(which) which.read() return which.ended end
    local late = os.time() + 10
    while not (ended(busy) and ended(idle)) do assert(os.time() < late) end
    assert.equal("last", busy.body(1))
    for _, which in ipairs{ busy, idle } do assert.equal(0, which.all(7)[1].payload:byte(8)) end
  end)

  it("ends when it is closed, and with its capability", function()
    local function ended(one)
      local late = os.time() + 10
      repeat one.read() until one.ended or os.time() > late
      return one.ended
    end
    open()
    local one = client("H:5:1:$ H:5:3:$")
    local first, second = server:accept(), server:accept()
    first:respond(200, nil, ("x"):rep(10000))
    server:close()
    assert.is_true(ended(one))
    assert.equal(10000, #one.body(1))
    assert.equal(0, one.all(7)[1].payload:byte(8))
    assert.is_false(pcall(second.respond, second, 200))
    local mine = net.narrow{ "--allow-listen=127.0.0.1:0" }
    server = serving.keep(mine.http.server("127.0.0.1", 0, { timeout = 10 }))
    one = client("H:5:1:$")
    server:accept()
    mine.revoke()
    assert.is_false(pcall(server.accept, server))
    assert.is_true(ended(one))
    assert.equal(0, #one.all(1))
  end)

  it("answers a client that has ended its direction", function()
    open()
    local one = client("H:5:1:$ H:4:3:$P")
    one.conn:shutdown("send")
    turn(function() return one.body(1) == "ok" end)
  end)

  it("speaks what was agreed on", function()
    -- Off: the preface is a request of a version that is not spoken, and ALPN has no h2.
    open{ http2 = false }
    local plain = serving.client(server, frames.PREFACE)
    turn(function()
      local ok, said = pcall(plain.recv_exact, plain, 12, { timeout = 0 })
      if ok then assert.equal("HTTP/1.1 505", said) end
      return ok
    end)
    plain:close()
    server:close()
    for _, row in ipairs{
      { { http2 = false }, nil, "1.1" }, { {}, nil, "2" }, { { alpn = { "http/1.1" } }, nil, "1.1" },
      { { alpn = { "http/1.1", "h2" } }, nil, "1.1" }, { { alpn = { "h2" } }, nil, "2" },
    } do
      local url = secure(row[1])
      local running = process.start(("curl -s --http2 --max-time 10 --cacert %s %s/ -w '%%{http_version}'"):format(servers.ca, url))
      local request = server:accept()
      assert.equal(row[3], request.version)
      request:respond(200)
      assert.equal(row[3], running:rest())
      server:close()
    end
    assert.is_false(pcall(net.http.server, "127.0.0.1", 0, { http2 = false, tls = { cert = servers.server.cert, key = servers.server.key, alpn = { "h2" } } }))
  end)

  it("refuses a WebSocket over it", function()
    open()
    local one = client("H:5:1:$")
    local request = server:accept()
    local ok, err = pcall(request.websocket, request)
    assert.is_false(ok)
    assert.is_true(err:is("protocol"))
    turn(function() return one.said():find("^1=4") end)
  end)

  it("serves nghttp and h2load", function()
    local url = secure()
    local function handler(request)
      return { body = request.method .. " " .. request.path .. " " .. #(request.body or "") }
    end
    local text = serving.beside(server, "nghttp -n -s " .. url .. "/1 " .. url .. "/2 " .. url .. "/3", handler)
    assert.truthy(text:find("/1\n", 1, true) and text:find("/3\n", 1, true) and select(2, text:gsub(" 200 ", "")) == 3, text)
    text = serving.beside(server, "h2load -n 900 -c 3 -m 50 " .. url .. "/x", handler)
    assert.truthy(text:find("900 succeeded, 0 failed, 0 errored", 1, true), text)
    server:close()
    url = open()
    text = serving.beside(server, "h2load -n 900 -c 3 -m 10 -d README.md " .. url .. "/x", handler)
    assert.truthy(text:find("900 succeeded, 0 failed, 0 errored", 1, true), text)
  end)

  if has_posix and has_wait then
    it("has its requests answered in forked children", function()
      local url = secure()
      local running = process.start(("curl -s --http2 --max-time 10 --cacert %s %s/1"):format(servers.ca, url))
      local request = server:accept()
      assert.equal("2", request.version)
      local id = unistd.fork()
      if id == 0 then
        local ok = pcall(request.respond, 200, nil, "child " .. request.path)
        unistd._exit(ok and 0 or 1)
      end
      -- Meanwhile the parent serves others.
      local second = process.start(("curl -s --http2 --max-time 10 --cacert %s %s/2"):format(servers.ca, url))
      server:accept():respond(200, nil, "parent")
      assert.equal("parent", second:rest())
      request = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      local _, _, status = wait.wait(id)
      assert.equal(0, status)
      assert.equal("child /1", running:rest())
    end)
  end
end)
