-- Contract 9: how a server lives: timers, limits, stop, poll, signals, forks, TLS, Unix sockets, logs.

local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local serving = require("spec.support.serving")
local signals = require("spec.support.signals")
local subject = require("spec.support.subject")
local has_posix, unistd = pcall(require, "posix.unistd")
local has_wait, wait = pcall(require, "posix.sys.wait")

local directory = os.getenv("CASPIAN_SERVERS"):match("^(.*)/")

local curl = serving.curl

describe("http server life", function()
  local server
  serving.watch(before_each, after_each)

  local function open(opts)
    local url
    url, server = serving.open(opts)
    return url
  end

  local function turn(is_done)
    serving.turn(server, is_done)
  end

  it("times out heads, bodies and connections at rest", function()
    for _, row in ipairs{
      { { head_timeout = 0.3 }, "GET / HT", "HTTP/1.1 408 Request Timeout" },
      { { body_grace = 0.3 }, "POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 100000\\r\\n\\r\\nabc", "HTTP/1.1 408 Request Timeout" },
      { { idle_timeout = 0.3 }, "", "nil" },
      { { idle_timeout = 0.3 }, "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n", "HTTP/1.1 200 OK" },
    } do
      local refused = 0
      row[1].on_refused = function(info) assert.equal(408, info.status) refused = refused + 1 end
      open(row[1])
      local p = peer.client(server.local_port, ([[ c:send("%s") report((c:receive("*l"))) ]]):format(row[2]))
      turn(function() return server.connections > 0 end)
      turn(function() return server.connections == 0 and (refused > 0 or row[1].idle_timeout) end)
      assert.same({ row[3] }, p:finish())
      server:close()
    end
  end)

  it("does not count time against clients in which the script was busy", function()
    open{ head_timeout = 0.5, body_grace = 0.5, idle_timeout = 0.5 }
    local p = peer.client(server.local_port, [[
      c:send("GET /1 HTTP/1.1\r\nHost: a\r\n")
      socket.sleep(0.8)
      c:send("\r\n")
      report((c:receive("*l")))
    ]])
    -- Its first bytes are there, the script does not look.
    turn(function() return server.connections == 1 end)
    os.execute("sleep 1.2")
    local request = server:accept()
    assert.equal("/1", request.path)
    request:respond(200)
    assert.same({ "HTTP/1.1 200 OK" }, p:finish())
  end)

  it("closes behind the last request that a connection may have", function()
    local url = open{ max_requests = 2 }
    local client = curl(("-w '%%{num_connects}' %s %s %s %s"):format(url, url, url, url))
    for _ = 1, 4 do server:accept():respond(200) end
    assert.equal("1010", client:rest())
  end)

  it("has no more connections than it may, and takes the next when one ends", function()
    open{ max_connections = 1 }
    local p = peer.client(server.local_port, [[
      local d = socket.tcp4()
      d:settimeout(10)
      d:connect("127.0.0.1", select(2, c:getpeername()))
      d:send("GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
      c:send("GET /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      report((c:receive("*l")))
      c:close()
      report((d:receive("*l")))
    ]])
    local first = server:accept()
    assert.equal("/first", first.path)
    assert.is_false(pcall(server.accept, server, { timeout = 0.2 }))
    first:respond(200)
    local second = server:accept()
    assert.equal("/second", second.path)
    second:respond(200)
    assert.same({ "HTTP/1.1 200 OK", "HTTP/1.1 200 OK" }, p:finish())
  end)

  it("stops: nobody new, and what is under way ends", function()
    open{ drain_timeout = 5 }
    local port = server.local_port
    local p = peer.client(port, [[
      c:send("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
      report((socket.tcp4():connect("127.0.0.1", select(2, c:getpeername()))) ~= nil)
      c:send("bc")
      report((c:receive("*a")):match("^[^\r]*"), (c:receive("*a")))
    ]])
    turn(function() return server.connections >= 1 end)
    server:stop()
    server:stop()
    local request = server:accept()
    if request then
      assert.equal("abc", request.body)
      request:respond(200)
    end
    assert.is_nil(server:accept())
    assert.is_nil(server:accept())
    local reported = p:finish()
    assert.equal("HTTP/1.1 200 OK", reported[2])
  end)

  it("is a value of poll", function()
    local url = open()
    local listener = net.tcp_listen("127.0.0.1", 0)
    assert.same({ {}, {} }, { net.poll({ server, listener }, 0.05) })
    local client = curl(url)
    local ready = net.poll({ listener, server }, 10)
    assert.equal(1, #ready)
    assert.equal(server, ready[1])
    server:accept{ timeout = 0 }:respond(200, nil, "polled")
    assert.equal("polled", client:rest())
    listener:close()
  end)

  it("answers 500 for a request that nobody answered", function()
    local url = open()
    local client = curl("-w ' %{http_code}' " .. url)
    do
      local request = server:accept()
      assert.equal("GET", request.method)
    end
    local text
    for _ = 1, 3 do collectgarbage() end
    text = client:rest()
    assert.equal("500 Internal Server Error\n 500", text)
  end)

  it("over a Unix socket, with the peer's ids", function()
    local path = subject.unix("a")
    server = serving.keep(net.http.server{ unix = path, timeout = 10 })
    assert.equal(path, server.path)
    assert.is_nil(server.local_port)
    local client = curl("--unix-socket " .. path .. " http://local/x")
    local request = server:accept()
    assert.equal("local", request.host)
    assert.is_nil(request.remote_host)
    assert.is_number(request.peer.uid)
    request:respond(200, nil, "unix")
    assert.equal("unix", client:rest())
    server:close()
    assert.is_nil(io.open(path))
  end)

  it("over a listener, which is spent", function()
    local listener = net.tcp_listen("127.0.0.1", 0)
    local port = listener.local_port
    server = serving.keep(net.http.server(listener, { timeout = 10 }))
    assert.equal(port, server.local_port)
    assert.is_false(pcall(listener.accept, listener, { timeout = 0 }))
    local client = curl("http://127.0.0.1:" .. port)
    server:accept():respond(200, nil, "x")
    assert.equal("x", client:rest())
    assert.is_false(pcall(net.http.server, listener))
  end)

  it("speaks TLS, by name, and with other certificates from then on", function()
    local own = { cert = servers.server.cert, key = servers.server.key }
    local rich = { cert = directory .. "/rich.pem", key = directory .. "/rich.key" }
    open{ tls = { own, rich } }
    local function ask(name)
      local path = os.tmpname()
      local client = process.start(([[sh -c 'echo | openssl s_client -connect 127.0.0.1:%d -servername %s 2>/dev/null ]]
        .. [[| openssl x509 -noout -subject >%s.new; mv %s.new %s']]):format(server.local_port, name, path, path, path))
      turn(function() return process.read(path) ~= "" end)
      client:rest()
      local text = process.read(path)
      os.remove(path)
      return text
    end
    assert.truthy(ask("localhost"):find("localhost"))
    assert.truthy(ask("rich.example"):find("rich"))
    assert.truthy(ask("other.example"):find("localhost"))
    server:reload_tls(rich)
    assert.truthy(ask("localhost"):find("rich"))
    server:reload_tls{ own }
    local client = curl(("--cacert %s https://localhost:%d/t"):format(servers.ca, server.local_port))
    local request = server:accept()
    assert.equal("https", request.scheme)
    assert.equal("localhost", request.tls.sni)
    assert.truthy(request.tls.protocol:find("^TLSv1"))
    assert.is_nil(request.tls.peer_cert)
    request:respond(200, nil, ("x"):rep(1000000))
    local text
    server:stop()
    assert.is_nil(server:accept())
    text = client:rest()
    assert.equal(1000000, #text)
  end)

  it("logs what it answered", function()
    local lines, entries = {}, {}
    local log = { write = function(_, ...) lines[#lines + 1] = table.concat{ ... } return true end }
    for at, how in ipairs{ log, function(entry) entries[#entries + 1] = entry end } do
      local url = open{ log = how }
      local client = curl(("-A 'agent' '%s/a%%22b?x'"):format(url))
      server:accept():respond(201, nil, "four")
      turn(function() return at == 1 and lines[1] or entries[1] end)
      client:rest()
      server:close()
    end
    assert.truthy(lines[1]:find('^127%.0%.0%.1 %- %- %[%d%d/%a%a%a/%d%d%d%d:%d%d:%d%d:%d%d %+0000%] "GET /a%%22b%?x HTTP/1%.1" 201 4\n$'), lines[1])
    local entry = entries[1]
    assert.same({ "GET", 201, 4, "agent", true }, { entry.method, entry.status, entry.bytes, entry.user_agent, entry.complete })
  end)

  it("is stopped by the handler of a signal", function()
    local running = signals.start([[
      local net = launch{ "--allow-listen=127.0.0.1:0" }
      local server = net.http.server("127.0.0.1", 0)
      handle(function() server:stop() say("stopping") end)
      say("blocked")
      for request in server:requests() do request:respond(200) end
      say("over")
    ]])
    signals.asleep(running)
    running:signal("TERM")
    assert.equal("stopping\nover\n", running:rest())
    signals.clean()
  end)

  if has_posix and has_wait then
    it("has its requests answered in forked children", function()
      for _, tls in ipairs{ false, { cert = servers.server.cert, key = servers.server.key } } do
        open{ tls = tls or nil }
        local url = (tls and "--cacert " .. servers.ca .. " https" or "http") .. "://localhost:" .. server.local_port
        local client = curl(("-i --http1.1 %s/1"):format(url))
        local request = server:accept()
        local id = unistd.fork()
        if id == 0 then
          local ok = pcall(request.respond, 200, nil, "child " .. request.path)
          unistd._exit(ok and 0 or 1)
        end
        request = nil -- luacheck: ignore
        collectgarbage()
        collectgarbage()
        local _, _, status = wait.wait(id)
        assert.equal(0, status)
        local text = client:rest()
        assert.truthy(text:find("Connection: close\r\n\r\nchild /1$"), text)
        -- The parent goes on.
        client = curl(url .. "/2")
        server:accept():respond(200, nil, "parent")
        assert.equal("parent", client:rest())
        server:close()
      end
    end)

    it("is served by several processes", function()
      open()
      local children = {}
      for _ = 1, 3 do
        local id = unistd.fork()
        if id == 0 then
          local ok = pcall(function()
            server:accept():respond(200, nil, tostring(unistd.getpid()))
            server:stop()
            server:accept()
          end)
          unistd._exit(ok and 0 or 1)
        end
        children[#children + 1] = id
      end
      local url, seen = "http://127.0.0.1:" .. server.local_port, 0
      for _ = 1, 3 do
        local text = curl(url):rest()
        for _, id in ipairs(children) do seen = seen + (text == tostring(id) and 1 or 0) end
      end
      for _, id in ipairs(children) do
        local _, _, status = wait.wait(id)
        assert.equal(0, status)
      end
      assert.equal(3, seen)
    end)
  end
end)
