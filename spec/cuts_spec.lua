-- Contract 5: bodies that the connection's end cuts, and how long one may take that is handed out as it comes.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local ca = process.read(servers.ca)
local quick = { attempts = 3, backoff = 0.02 }

-- How the other end goes away. LuaSec says close_notify when it closes; `vanish` ends the process without.
local ENDS = {
  { "FIN", peer.tcp, "c:close()" },
  { "RST", peer.tcp, "c:setoption('linger', { on = true, timeout = 0 }) c:close()" },
  { "TLS, with close_notify", peer.tls, "c:close()", tls = true },
  { "TLS, without close_notify", peer.tls, "vanish()", tls = true },
}
-- What it says before that: all that came of the body is "hello".
local CUT = {
  { "a length", "HTTP/1.1 200 OK\\r\\nContent-Length: 10\\r\\n\\r\\nhello" },
  { "chunks", "HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n5\\r\\nhello\\r\\n" },
  { "half a chunk", "HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\na\\r\\nhello" },
}

-- A file, to be read again.
local function content(file)
  file:seek("set")
  local text = file:read("*a")
  file:close()
  return text
end

describe("a body that is cut", function()
  local mine
  before_each(function() mine = net.narrow{ "--allow-net" } end)
  after_each(function() mine.revoke() mine = nil end)
  wire.watch(before_each, after_each)

  for _, ends in ipairs(ENDS) do
    for _, cut in ipairs(CUT) do
      local opened = function()
        -- The reset may not overtake the bytes: it waits until they were taken, where the reader says so.
        local wait = ends[1] == "RST" and "server:accept() " or ""
        local script = ('local c = accept() head(c) c:send("%s") %s%s'):format(cut[2], wait, ends[3])
        local p = ends[2](script)
        return p, (ends.tls and "https://localhost:" or "http://127.0.0.1:") .. p.port .. "/"
      end

      it("by " .. ends[1] .. " within " .. cut[1] .. " is a lost connection", function()
        local function options(more)
          more.timeout, more.ca_bundle = 10, ends.tls and ca or nil
          return more
        end
        local p, url = opened()
        local stream = mine.fetch(url, options{ stream = true })
        assert.equal("hel", stream:read(3))
        if ends[1] == "RST" then mine.tcp("127.0.0.1", p.port):close() end
        local err = fails.with("network/connection_reset", function() return stream:read(100) end)
        assert.truthy(err.partial == "lo" or ends[1] == "RST" and err.partial == nil, tostring(err.partial))
        if ends[1] == "RST" then return end

        url = select(2, opened())
        err = fails.with("network/connection_reset", mine.fetch, url, options{})
        assert.equal("hello", err.partial)
        assert.equal(url:gsub("/$", "") .. "/", err.url)

        url = select(2, opened())
        local file = assert(io.tmpfile())
        fails.with("network/connection_reset", mine.fetch, url, options{ save = file })
        assert.equal("hello", content(file))

        url = select(2, opened())
        err = fails.with("network/connection_reset", mine.fetch, url, options{ on_progress = function() end })
        assert.equal("hello", err.partial)

        url = select(2, opened())
        err = mine.fetch_all{ options{ url } }[1]
        assert.truthy(err:is("network/connection_reset"), tostring(err))
        assert.equal("hello", err.partial)
      end)
    end
  end

  it("is asked for again where `retry` says so", function()
    local large = ("x"):rep(100000)
    for _, how in ipairs{ "plain", "options", "progress", "all", "large", "another answer" } do
      local length = how == "large" and 3000000 or 6
      local first = "HTTP/1.1 200 OK\\r\\nContent-Length: " .. length .. "\\r\\n\\r\\nhello"
      local status = how == "another answer" and 404 or 200
      local rest = how == "large" and ("for _ = 1, 30 do c:send((%q):rep(%d)) end"):format("x", #large) or 'c:send("hello!")'
      local p = peer.tcp(([[
        local c = accept() head(c) c:send("%s") c:close()
        c = accept() head(c) c:send("%s") c:close()
        c = accept() head(c) c:send("HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n") %s c:close() report("third")]])
        :format(first, first, status, length, rest))
      local url = "http://127.0.0.1:" .. p.port .. "/"
      local client = mine.http.client.new{ retry = quick, timeout = 10 }
      local r
      if how == "options" then r = client:get(url, { headers = { ["X-A"] = "b" } })
      elseif how == "progress" then r = client:get(url, { on_progress = function() end })
      elseif how == "all" then r = client:fetch_all{ url }[1]
      else r = client:get(url) end
      assert.equal(status, r.status, how)
      assert.equal(length, #r.body, how)
      assert.same({ "third" }, p:finish())
      client:close()
    end
  end)

  -- A server that cuts "hello wo" and then sends `second`; a file with "before " in it, opened as `mode` says.
  local CUT_SHORT = 'local c = accept() head(c) c:send("HTTP/1.1 200 OK\\r\\nContent-Length: 11\\r\\n\\r\\nhello wo") c:close() '
  local function saved(mode, second, opts)
    local p = peer.tcp(CUT_SHORT .. (second and ('c = accept() head(c) c:send(%q) c:close() report("again")'):format(second)
      :gsub("\\\n", "\\n"):gsub("\r", "\\r") or 'server:settimeout(0.2) report(tostring(server:accept()))'))
    local path = process.file("before ")
    local file = assert(io.open(path, mode))
    if mode == "r+b" then file:seek("end") end
    if mode == "wb" then file:write("before ") end
    opts = opts or {}
    opts.save, opts.retry, opts.timeout = file, opts.retry == nil and quick or opts.retry, opts.timeout or 10
    local ok, r = pcall(mine.fetch, "http://127.0.0.1:" .. p.port .. "/", opts)
    file:close()
    local text = process.read(path)
    os.remove(path)
    return ok, r, text, p:finish()[1]
  end

  for _, mode in ipairs{ "wb", "ab", "r+b", "w+b" } do
    it("and saved is taken back and asked for again: " .. mode, function()
      local seen = {}
      local before = mode == "w+b" and "" or "before "
      for _, body in ipairs{ "hello world", "shorter", "" } do
        local ok, r, text, told = saved(mode, "HTTP/1.1 200 OK\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body,
          { on_progress = function(done) seen[#seen + 1] = done end })
        assert.is_true(ok, tostring(r))
        assert.equal(#body, r.saved)
        assert.equal(before .. body, text)
        assert.equal("again", told)
      end
      assert.equal(0, seen[#seen])
    end)
  end

  it("and saved may be followed by another answer, which is not saved", function()
    local ok, r, text = saved("ab", "HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\ngone")
    assert.is_true(ok, tostring(r))
    assert.same({ 404, "gone" }, { r.status, r.body })
    assert.is_nil(r.saved)
    assert.equal("before ", text)
  end)

  it("and saved stays where nobody answers again, or nobody is asked", function()
    local ok, err, text, told = saved("ab", nil, { retry = false })
    assert.is_false(ok)
    assert.truthy(err:is("network/connection_reset"))
    assert.same({ "before hello wo", "nil" }, { text, told })
    ok, err, text, told = saved("ab", nil, { method = "POST" })
    assert.is_false(ok)
    assert.same({ "before hello wo", "nil" }, { text, told })
    assert.falsy(tostring(err):find("not asked", 1, true))
    ok, err, text = saved("ab", nil, { retry = { attempts = 1, backoff = 0.01 } })
    assert.is_false(ok)
    assert.truthy(err:is("network/connection_reset") or err:is("network/connection_refused"), tostring(err))
    assert.equal("before hello wo", text)
  end)

  it("and saved is not asked for again where it cannot be taken back", function()
    -- Something stands behind it.
    local p = peer.tcp(CUT_SHORT .. "server:settimeout(0.2) report(tostring(server:accept()))")
    local path = process.file(("x"):rep(20))
    local file = assert(io.open(path, "r+b"))
    local err = fails.with("network/connection_reset", mine.fetch, "http://127.0.0.1:" .. p.port .. "/",
      { save = file, retry = quick, timeout = 10 })
    assert.truthy(tostring(err):find("not retried, and the part that was saved stays in the file: the file has more data", 1, true), tostring(err))
    assert.equal(8, file:seek("cur"))
    file:close()
    assert.equal("hello wo" .. ("x"):rep(12), process.read(path))
    assert.same({ "nil" }, p:finish())
    os.remove(path)
    -- A pipe cannot be sought.
    p = peer.tcp(CUT_SHORT .. "server:settimeout(0.2) report(tostring(server:accept()))")
    path = process.file("")
    local pipe = assert(io.popen("cat > " .. path, "w"))
    err = fails.with("network/connection_reset", mine.fetch, "http://127.0.0.1:" .. p.port .. "/",
      { save = pipe, retry = quick, timeout = 10 })
    pipe:close()
    assert.truthy(tostring(err):find("not retried, and the part that was saved stays in the file: the file cannot seek", 1, true), tostring(err))
    assert.equal("hello wo", process.read(path))
    assert.same({ "nil" }, p:finish())
    os.remove(path)
    -- Nothing came: then a pipe is as good as a file.
    p = peer.tcp([[
      local c = accept() head(c) c:send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n") c:close()
      c = accept() head(c) c:send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") c:close()]])
    path = process.file("")
    pipe = assert(io.popen("cat > " .. path, "w"))
    assert.equal(2, mine.fetch("http://127.0.0.1:" .. p.port .. "/", { save = pipe, retry = quick, timeout = 10 }).saved)
    pipe:close()
    assert.equal("ok", process.read(path))
    p:finish()
    os.remove(path)
  end)

  it("and saved without a timeout has the head's own each time", function()
    local p = peer.tcp(CUT_SHORT .. 'c = accept() head(c) c:send("HTTP/1.1 500 No\\r\\nContent-Length: 4\\r\\n\\r\\ngone") c:close()')
    local file = assert(io.tmpfile())
    local r = mine.fetch("http://127.0.0.1:" .. p.port .. "/", { save = file, retry = quick })
    assert.same({ 500, "gone", "" }, { r.status, r.body, content(file) })
    p:finish()
  end)

  it("is not asked for again by a POST, nor where the script has seen some of it", function()
    local cut = 'local c = accept() head(c) c:send("HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nhello") c:close() '
      .. 'server:settimeout(0.2) report(tostring(server:accept()))'
    for _, how in ipairs{ "POST", "stream" } do
      local p = peer.tcp(cut)
      local url = "http://127.0.0.1:" .. p.port .. "/"
      fails.with("network/connection_reset", function()
        local r = mine.fetch(url, { method = how == "POST" and "POST" or "GET", stream = how == "stream", retry = quick, timeout = 10 })
        return r:read()
      end)
      assert.same({ "nil" }, p:finish())
    end
  end)

  it("ends an event stream with the same class, or is followed by another", function()
    local head = "HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
    local events = '"' .. head .. '12\\r\\nretry: 1\\ndata: a\\n\\n\\r\\n"'
    local p = peer.tcp("local c = accept() head(c) c:send(" .. events .. ") c:close()")
    local stream = mine.events("http://127.0.0.1:" .. p.port .. "/", { reconnect = false, timeout = 10 })
    assert.equal("a", stream:next().data)
    fails.with("network/connection_reset", function() return stream:next() end)
    p = peer.tcp("for _ = 1, 2 do local c = accept() head(c) c:send(" .. events .. ") c:close() end")
    stream = mine.events("http://127.0.0.1:" .. p.port .. "/", { timeout = 10 })
    assert.equal("a", stream:next().data)
    assert.equal("a", stream:next().data)
    stream:close()
  end)

  it("shows nothing of it to a guard's untrusted side", function()
    local p = peer.tcp('local c = accept() head(c) c:send("HTTP/1.1 200 OK\\r\\nContent-Length: 10\\r\\n\\r\\nhello") c:close()')
    local guard = net.http.guard{
      rules = { { host = "127.0.0.1", https_only = false, ports = { p.port } } }, allow_private = true, timeout = 10,
    }
    local err = fails.with("network/connection_reset", guard.fetch, "http://127.0.0.1:" .. p.port .. "/")
    assert.is_nil(err.partial)
  end)
end)

describe("a body that is handed out as it comes", function()
  local mine
  before_each(function() mine = net.narrow{ "--allow-net" } end)
  after_each(function() mine.revoke() mine = nil end)
  wire.watch(before_each, after_each)

  local silent = 'local c = accept() head(c) c:send("HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nhello") c:receive("*a")'

  it("has the longest silence for a limit, and the head its own", function()
    for _, row in ipairs{
      { { stream = true, read_timeout = 0.2 }, 0.2 }, { { stream = true, timeout = 0.3 }, 0.3 },
      { { save = true, read_timeout = 0.2 }, 0.2 }, { { save = true, timeout = 0.3 }, 0.3 },
    } do
      local p = peer.tcp(silent)
      local opts = row[1]
      if opts.save then opts.save = assert(io.tmpfile()) end
      local err = fails.with("network/timeout", function()
        return mine.fetch("http://127.0.0.1:" .. p.port .. "/", opts):read(9)
      end)
      assert.is_true(math.abs(err.timeout - row[2]) < 0.001, tostring(err.timeout))
      if opts.save then opts.save:close() end
    end
  end)
end)
