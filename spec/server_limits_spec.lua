-- Contract 9: what a server has of each thing, and how it goes on where there is no more.

local child = require("spec.support.child")
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local serving = require("spec.support.serving")
local signals = require("spec.support.signals")

local directory = os.getenv("CASPIAN_SERVERS"):match("^(.*)/")

local function post(body, length)
  return "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " .. (length or #body) .. "\r\n\r\n" .. body
end

describe("http server limits", function()
  local server
  serving.watch(before_each, after_each)
  teardown(signals.clean)

  local function open(opts)
    local url
    url, server = serving.open(opts)
    return url
  end

  local function status(client)
    return serving.head(client)[1]
  end

  it("all bodies together that nobody has got yet", function()
    for _, spill in ipairs{ false, directory } do
      open{ max_memory_bytes = 100000, max_buffered_bytes = 150000, spill = spill or nil }
      local first = serving.client(server, post(("x"):rep(90000), 90001))
      serving.turn(server, function() return server.connections == 1 end)
      for _ = 1, 5 do pcall(server.accept, server, { timeout = 0 }) end
      -- The first waits for its last byte, and leaves 60,000.
      local second = serving.client(server, post(("y"):rep(90000)))
      if spill then
        local request = server:accept()
        assert.is_nil(request.body)
        assert.equal(("y"):rep(90000), request:read())
        request:respond(200)
      else
        assert.is_false(pcall(server.accept, server, { timeout = 0.5 }))
        assert.equal("HTTP/1.1 503 Service Unavailable", status(second))
      end
      first:send_all("z")
      local request = server:accept()
      assert.equal(90001, request.content_length)
      -- What was handed out counts no more, however long it is kept.
      local third = serving.client(server, post(("y"):rep(90000)))
      local again = server:accept()
      assert.equal(90000, #again.body)
      again:respond(200)
      assert.equal("HTTP/1.1 200 OK", status(third))
      request:respond(200)
      for _, client in ipairs{ first, second, third } do client:close() end
      -- Nor does one whose client left in the middle.
      for _ = 1, 5 do
        local half = serving.client(server, post(("x"):rep(90000), 90001))
        for _ = 1, 5 do pcall(server.accept, server, { timeout = 0 }) end
        half:close()
      end
      serving.turn(server, function() return server.connections == 0 end)
      local last = serving.client(server, post(("y"):rep(90000)))
      again = server:accept()
      assert.equal(spill and 90000 or 90000, #again.body)
      again:respond(200)
      last:close()
      server:close()
    end
  end)

  it("clients that take their answer too slowly, beside good ones", function()
    open{ send_grace = 0.5, min_send_rate = 100000, idle_timeout = 60, max_requests = 1000000 }
    local p = peer.client(server.local_port, [[
      c:setoption("recv-buffer-size", 4096)
      c:send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
      local got = 0
      while true do
        local bytes, why, rest = c:receive(1)
        if not bytes then break end
        got = got + 1
        socket.sleep(0.005)
      end
      report(got > 0)
    ]])
    local request = server:accept()
    assert.equal("/slow", request.path)
    request:respond(200, nil, ("x"):rep(16 * 1024 * 1024))
    local good = serving.client(server)
    local count = 0
    repeat
      good:send_all(serving.get("/good"))
      server:accept():respond(200)
      assert.equal("HTTP/1.1 200 OK", status(good))
      count = count + 1
    until server.connections == 1
    assert.truthy(count > 1)
    good:close()
    p.process:kill()
  end)

  it("what was answered leaves, at close too, as far as the kernel takes it", function()
    open()
    -- Bytes that nobody reads any more would come back as a reset.
    local clients = {}
    for at = 1, 3 do clients[at] = serving.client(server, serving.get("/") .. serving.get("/more")) end
    for _ = 1, 3 do server:accept():respond(200, nil, ("x"):rep(10000)) end
    server:close()
    for at = 1, 3 do
      assert.equal("HTTP/1.1 200 OK", status(clients[at]))
      assert.equal(("x"):rep(10000), clients[at]:recv_exact(10000))
      clients[at]:close()
    end
  end)

  -- Lua's collector sees nothing of a body: with what it allocates for a request it would not come in time.
  for _, row in ipairs{ { "in memory", "max_memory_bytes = 2000000", "1m" }, { "in files", "max_memory_bytes = 1000, spill = '/tmp'", "64k" } } do
    it("bodies " .. row[1] .. ": those of answered requests go, though nobody reads them", function()
      local said = child.run(([[
        local net = launch{ "--allow-listen=127.0.0.1:0" }
        local peak = require("spec.support.peak")
        local server = net.http.server("127.0.0.1", 0, { timeout = 30, %s })
        local curl = io.popen(("curl -s -o /dev/null -w '%%%%{http_code} ' --data-binary @%s 'http://127.0.0.1:%%d/[1-200]'"):format(server.local_port))
        local idle = peak()
        for _ = 1, 200 do server:accept():respond(204) end
        local _, count = curl:read("*a"):gsub("204 ", "")
        print(count, peak() - idle < 100 * 1024)
      ]]):format(row[2], servers.dir .. "/files/" .. row[3]), "ulimit -n 100;")
      assert.equal("200\ttrue", said)
    end)
  end

  it("heads of answered requests go as their bodies do", function()
    local said = child.run([[
      local net = launch{ "--allow-listen=127.0.0.1:0" }
      local peak = require("spec.support.peak")
      local server = net.http.server("127.0.0.1", 0, { timeout = 30 })
      local curl = io.popen(("curl -s -o /dev/null -w '%%{http_code} ' -H 'X: %s' 'http://127.0.0.1:%d/[1-800]'"):format(("x"):rep(60000), server.local_port))
      local idle = peak()
      for _ = 1, 800 do server:accept():respond(204) end
      local _, count = curl:read("*a"):gsub("204 ", "")
      print(count, peak() - idle < 30 * 1024)
    ]])
    assert.equal("800\ttrue", said)
  end)

  it("what a signal's handler raises while bodies are collected ends `accept`, and no request is lost", function()
    local running = signals.start(([[
      local net = launch{ "--allow-listen=127.0.0.1:0" }
      local server = net.http.server("127.0.0.1", 0, { timeout = 30, max_memory_bytes = 2000000 })
      local pid = io.open("/proc/self/stat"):read("*n")
      handle(function() error("the handler's", 0) end)
      -- Collected when the server asks for it, and not before.
      collectgarbage("stop")
      local function finalizer() os.execute("kill -TERM " .. pid) end
      if newproxy then getmetatable(newproxy(true)).__gc = finalizer else setmetatable({}, { __gc = finalizer }) end
      local curl = io.popen("curl -s -o /dev/null -w '%%{http_code} ' --data-binary @%s 'http://127.0.0.1:" .. server.local_port .. "/[1-40]'")
      local raised = {}
      for _ = 1, 41 do
        local ok, request = pcall(server.accept, server)
        if ok then request:respond(204) else raised[#raised + 1] = tostring(request) end
      end
      local _, count = curl:read("*a"):gsub("204 ", "")
      print(count, table.concat(raised, ", "))
    ]]):format(servers.dir .. "/files/1m"))
    assert.equal("40\tthe handler's\n", running:rest())
  end)

  it("descriptors: who waits is taken when there are some again", function()
    local said = child.run([[
      local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
      local say = print
      local server = net.http.server("127.0.0.1", 0, { timeout = 10 })
      local clients = {}
      local function client() return pcall(net.tcp, "127.0.0.1", server.local_port, { timeout = 5 }) end
      -- Until there is none left for the server's end.
      while true do
        local ok, made = client()
        if not ok then break end
        clients[#clients + 1] = made
      end
      for _ = 1, 5 do pcall(server.accept, server, { timeout = 0.05 }) end
      say(#clients > 10, server.connections < #clients)
      local last = table.remove(clients)
      last:send_all("GET /last HTTP/1.1\r\nHost: a\r\n\r\n")
      say((pcall(server.accept, server, { timeout = 0.3 })))
      for _ = 1, #clients do table.remove(clients):close() end
      local request
      repeat request = server:accept() until request.path == "/last"
      request:respond(200)
      say(last:recv_line())
    ]], "ulimit -n 60;")
    assert.equal("true\ttrue\nfalse\nHTTP/1.1 200 OK\r\n", said)
  end)

  it("the disk: a body that does not fit is refused, and the next one is taken", function()
    if not child.can_mount() then return pending("nobody may mount here") end
    local dir = os.tmpname()
    os.remove(dir)
    os.execute("mkdir " .. dir)
    local said = child.run_mounted(("-t tmpfs -o size=256k tmpfs %s"):format(dir), ([[
      local net = launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }
      local why
      local server = net.http.server("127.0.0.1", 0, {
        timeout = 10, spill = %q, max_memory_bytes = 1000, on_refused = function(info) why = info.reason end,
      })
      for _, size in ipairs{ 2000, 1000000, 100000, 300000, 200000 } do
        local client = net.tcp("127.0.0.1", server.local_port, { timeout = 10 })
        client:send_all("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " .. size .. "\r\n\r\n")
        pcall(client.send_all, client, ("x"):rep(size))
        local ok, request = pcall(server.accept, server, { timeout = size > 250000 and 0.5 or 10 })
        if ok then
          assert(#request:read() == size)
          request:respond(200)
          request = nil
          collectgarbage()
          collectgarbage()
        end
        print(size, client:recv_line():sub(10, 12), why)
        why = nil
        client:close()
      end
    ]]):format(dir))
    os.remove(dir)
    assert.equal("2000\t200\tnil\n1000000\t507\tspill: No space left on device\n100000\t200\tnil\n"
      .. "300000\t507\tspill: No space left on device\n200000\t200\tnil", said)
  end)

  it("slow heads, slow bodies, slow readers and half-open TLS beside a good client", function()
    local own = { cert = directory .. "/server.pem", key = directory .. "/server.key" }
    local _, secure = serving.open{ tls = own }
    open()
    local slow = {}
    for at = 1, 20 do
      slow[#slow + 1] = serving.client(server, "GET /" .. at .. " HTTP/1.1\r\nHo")
      slow[#slow + 1] = serving.client(server, post("abc", 1000))
      slow[#slow + 1] = serving.client(server, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\na")
      slow[#slow + 1] = serving.client(secure, "\22\3\1\2\0\1")
      slow[#slow + 1] = serving.client(secure)
      slow[#slow + 1] = serving.client(server, serving.get("/large"))
    end
    for _ = 1, 20 do server:accept():respond(200, nil, ("x"):rep(8 * 1024 * 1024)) end
    -- Each is a little further with each turn.
    local good = serving.client(server)
    local p = process.start(("sh -c 'curl -s --max-time 20 --cacert %s/ca.pem https://localhost:%d/ https://localhost:%d/'")
      :format(directory, secure.local_port, secure.local_port))
    local began, served = os.time(), 0
    for turn = 1, 200 do
      local one = slow[turn % #slow + 1]
      pcall(one.send, one, "x", { timeout = 0 })
      pcall(one.recv, one, 1, { timeout = 0 })
      good:send_all(serving.get("/good"))
      local request = server:accept()
      request:respond(200)
      assert.equal("HTTP/1.1 200 OK", status(good))
      local ok, over_tls = pcall(secure.accept, secure, { timeout = 0.01 })
      if ok then
        over_tls:respond(200, nil, "tls")
        served = served + 1
      end
    end
    serving.turn(secure, function() served = served + 1 return served > 300 end)
    assert.equal("tlstls", (p:rest():gsub("ok", "tls")))
    assert.truthy(os.time() - began < 60)
    good:close()
    for _, one in ipairs(slow) do one:close() end
  end)

  it("a reset at every byte of a request, and the next client is served", function()
    open{ spill = directory, max_memory_bytes = 4 }
    local p = peer.client(server.local_port, [[
      local text = "POST /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nyou\r\n0\r\nA: b\r\n\r\n"
      local port = select(2, c:getpeername())
      for at = 0, #text do
        local d = socket.tcp4()
        d:settimeout(10)
        assert(d:connect("127.0.0.1", port))
        d:send(text:sub(1, at))
        d:setoption("linger", { on = true, timeout = 0 })
        d:close()
      end
      c:send("GET /last HTTP/1.1\r\nHost: a\r\n\r\n")
      report((c:receive("*l")))
    ]])
    local whole = 0
    while true do
      local request = server:accept()
      request:respond(200, nil, ("x"):rep(100))
      if request.path == "/last" then break end
      assert.equal("helloyou", request:read())
      whole = whole + 1
    end
    assert.truthy(whole <= 1)
    assert.same({ "HTTP/1.1 200 OK" }, p:finish())
    serving.turn(server, function() return server.connections == 0 end)
  end)

  it("a reset at every byte of an answer", function()
    open()
    local p = peer.client(server.local_port, [[
      local port = select(2, c:getpeername())
      for at = 0, 150, 3 do
        local d = socket.tcp4()
        d:settimeout(10)
        assert(d:connect("127.0.0.1", port))
        d:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        if at > 0 then d:receive(at) end
        d:setoption("linger", { on = true, timeout = 0 })
        d:close()
      end
      c:send("GET /last HTTP/1.1\r\nHost: a\r\n\r\n")
      report((c:receive("*l")))
    ]])
    repeat
      local request = server:accept()
      local left = 20
      request:respond(200, nil, function()
        left = left - 1
        return left >= 0 and "piece" or nil
      end)
    until request.path == "/last"
    assert.same({ "HTTP/1.1 200 OK" }, p:finish())
    serving.turn(server, function() return server.connections == 0 end)
  end)

  for _, version in ipairs{ "--http1.1", "--http2-prior-knowledge" } do
    it("memory: long bodies of both ways are never in it, " .. version, function()
      local path = os.tmpname()
      local file = io.open(path, "wb")
      for _ = 1, 128 do file:write(("x"):rep(1024 * 1024)) end
      file:close()
      local served = process.start(("sh -c 'exec %s %s %s %s'"):format(require("spec.support.subject").lua,
        process.file(([[
          local net = require("caspian.net").launch{ "--allow-listen=127.0.0.1:0" }
          local server = net.http.server("127.0.0.1", 0, { timeout = 60, spill = %q, max_body_bytes = 2^30 })
          local peak = require("spec.support.peak")
          io.stdout:write(server.local_port, "\n")
          io.stdout:flush()
          server:accept():respond(200)
          local idle = peak()
          local request = server:accept()
          local count = 0
          while true do
            local piece = request:read(65536)
            if not piece then break end
            count = count + #piece
          end
          request:respond(200)
          server:accept():respond{ body_file = %q }
          server:stop()
          server:accept()
          io.stdout:write(count, " ", math.floor((peak() - idle) / 1024), "\n")
        ]]):format(directory, path)), "", ""))
      local url = "http://127.0.0.1:" .. served:line()
      assert.equal("", serving.curl(version .. " " .. url):rest())
      assert.equal("", serving.curl(("--max-time 60 %s -H Expect: -T %s %s"):format(version, path, url)):rest())
      assert.equal("134217728", (serving.curl(("--max-time 60 %s -o /dev/null -w '%%{size_download}' %s"):format(version, url)):rest()))
      local count, grown = served:rest():match("^(%d+) (%-?%d+)\n$")
      assert.equal("134217728", count)
      assert.truthy(tonumber(grown) < 16, grown)
      os.remove(path)
    end)
  end
end)

describe("a handler", function()
  local server
  serving.watch(before_each, after_each)

  it("that yields, keeps its requests, and answers later, twice and after stop", function()
    local url
    url, server = serving.open()
    local kept, client = {}, {}
    for at = 1, 4 do client[at] = serving.curl(("-w '%%{http_code}' %s/%d"):format(url, at)) end
    local tasks = {}
    for at = 1, 4 do
      local request = server:accept()
      kept[at] = request
      tasks[at] = coroutine.create(function()
        coroutine.yield()
        request:respond(200, nil, request.path)
        coroutine.yield()
        request:respond(200, nil, "again")
      end)
      assert(coroutine.resume(tasks[at]))
    end
    for at = 4, 2, -1 do assert(coroutine.resume(tasks[at])) end
    for at = 2, 4 do
      local ok, err = coroutine.resume(tasks[at])
      assert.is_false(ok)
      assert.truthy(tostring(err):find("answered already", 1, true), tostring(err))
    end
    server:stop()
    assert(coroutine.resume(tasks[1]))
    assert.is_nil(server:accept())
    local got = {}
    for at = 1, 4 do got[at] = client[at]:rest() end
    table.sort(got)
    assert.same({ "/1200", "/2200", "/3200", "/4200" }, got)
    server:close()
    for at = 1, 4 do assert.is_false(pcall(kept[at].respond, kept[at], 200)) end
  end)

  it("that answers once the server is closed hears that nobody is there", function()
    local _
    _, server = serving.open()
    local client = serving.client(server, serving.get("/"))
    local request = server:accept()
    server:close()
    local ok, err = pcall(request.respond, request, 200)
    assert.is_false(ok)
    assert.is_true(err:is("socket"))
    assert.equal("GET", request.method)
    client:close()
  end)

  it("that yields inside `run`, where the Lua lets it", function()
    local url
    url, server = serving.open()
    local client = serving.curl(url)
    local task = coroutine.create(function()
      server:run(function()
        server:stop()
        if coroutine.isyieldable and not coroutine.isyieldable() then return "here" end
        local ok = pcall(coroutine.yield, "there")
        return ok and "yielded" or "here"
      end)
    end)
    local ok, said = coroutine.resume(task)
    assert(ok, said)
    if said == "there" then assert(coroutine.resume(task)) end
    assert.equal("dead", coroutine.status(task))
    assert.truthy(({ here = true, yielded = true })[client:rest()])
  end)
end)
