-- Contract 6: errors as objects, wrong arguments as ordinary Lua errors.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")
local zoo = require("spec.support.zoo")

local HTTP = "http://127.0.0.1:" .. servers.http
local load = loadstring or load -- luacheck: ignore
local narrow = net.narrow{ "--allow-net=127.0.0.1" }

describe("an error", function()
  wire.watch(before_each, after_each)
  local err

  before_each(function() err = select(2, pcall(narrow.tcp, "refused.example", 81)) end)

  it("has its fields", function()
    assert.equal("puck.uno/error/network/host_not_allowed", err.class)
    assert.equal("string", type(err.message))
    assert.equal("tcp", err.op)
    assert.equal("refused.example", err.host)
    assert.equal(81, err.port)
    for _, absent in ipairs{ "url", "timeout", "partial", "sent", "nonsense" } do assert.is_nil(err[absent]) end
  end)

  it("is what its class says, and what that is a case of", function()
    local rows = {
      { "network/host_not_allowed", true },
      { "puck.uno/error/network/host_not_allowed", true },
      { "https://puck.uno/error/network/host_not_allowed", true },
      { "host_not_allowed", true },
      { "network", true },
      { "puck.uno/error/network", true },
      { "puck.uno/error", true },
      { "network/port_not_allowed", false },
      { "port_not_allowed", false },
      { "address_not_allowed", false }, -- a special case of it
      { "network/timeout", false },
      { "timeout", false },
    }
    for _, row in ipairs(rows) do assert.equal(row[2], err:is(row[1]), row[1]) end
  end)

  it("is asked for classes that there are, with a colon", function()
    local hints = { tiemout = "timeout", ["network/tsl"] = "tls", ["puck.uno/error/network/host_not_alowed"] = "host_not_allowed" }
    for _, wrong in ipairs{ "network/host", "", "tiemout", "network/tsl", "puck.uno/error/network/host_not_alowed", "Timeout ", 5,
      {}, true } do
      local text = fails.plainly("bad argument #1 to 'is' (unknown error class", err.is, err, wrong)
      local hint = hints[wrong]
      if hint then assert.truthy(text:find(('did you mean "%s"?'):format(hint), 1, true), text) end
    end
    fails.plainly("bad argument #1 to 'is'", err.is, err)
    for _, other in ipairs{ "timeout", {}, 5, io.stdout, setmetatable({}, { __index = err }) } do
      fails.plainly("is: call it with a colon, on an error", err.is, other, "timeout")
    end
    fails.plainly("is: call it with a colon, on an error", err.is)
  end)

  it("is of one of the classes that net.errors lists with their parents", function()
    local classes = net.errors
    local count = 0
    for class, parent in pairs(classes) do
      if class:find("^puck%.uno/error/network") then count = count + 1 end
      assert.equal("boolean", type(err:is(class)), class)
      assert.equal("boolean", type(err:is(parent)), parent)
      assert.truthy(class:find("^puck%.uno/error/") or class:find("^puck%.uno/touchstone/error"), class)
    end
    assert.equal(13, count)
    assert.equal("puck.uno/error/network", classes["puck.uno/error/network/timeout"])
    assert.equal("puck.uno/error/network/protocol", classes["puck.uno/error/network/too_large"])
    assert.equal("puck.uno/error", classes["puck.uno/error/network"])
    -- What one holder does to it, no error and no other holder sees.
    classes[err.class], classes["puck.uno/error/network"] = nil, nil
    assert.is_true(err:is("network"))
    assert.equal("puck.uno/error/network", net.errors[err.class])
  end)

  it("cannot be changed", function()
    local text, class = tostring(err), err.class
    for _, field in ipairs{ "class", "message", "host", "port", "op", "url", "is", "mine", 1 } do
      fails.plainly("an error cannot be changed", function() err[field] = "x" end)
      fails.plainly("an error cannot be changed", function() err[field] = nil end)
    end
    assert.equal(class, err.class)
    for field, value in pairs{ class = "puck.uno/error/network/tls", message = "x", is = print } do rawset(err, field, value) end
    assert.equal(text, tostring(err))
    assert.equal(text .. "!", err .. "!")
    local is = select(2, pcall(narrow.tcp, "refused.example", 81)).is
    assert.is_true(is(err, "host_not_allowed"))
    assert.is_false(is(err, "tls"))
  end)

  it("is joined as text is", function()
    local text = tostring(err)
    local rows = {
      { "a: " .. err, "a: " .. text }, { err .. "!", text .. "!" }, { err .. err, text .. text }, { 1 .. err, "1" .. text },
      { err .. 2, text .. "2" }, { "a " .. err .. " b", "a " .. text .. " b" },
    }
    for _, row in ipairs(rows) do assert.equal(row[2], row[1]) end
    local asked = 0
    local trick = setmetatable({}, { __tostring = function() asked = asked + 1 return "x" end })
    for _, other in ipairs{ {}, true, trick, print } do
      fails.plainly("attempt to concatenate", function() return err .. other end)
      fails.plainly("attempt to concatenate", function() return other .. err end)
    end
    fails.plainly("attempt to concatenate", function() return err .. nil end)
    assert.equal(0, asked)
  end)

  it("says its line to a message handler, and to nobody else", function()
    local s = net.tcp("127.0.0.1", servers.http)
    local call = load([[local net, s = ...
      return function() net.tcp("refused.example", 81) end, function()
        local bytes = s:recv(1, { timeout = 0 })
        return bytes
      end]], "=program")
    local refused, late = call(narrow, s)
    assert.equal("program:2: " .. tostring(err), select(2, xpcall(refused, tostring)))
    assert.matches("^program:3: network/timeout: ", select(2, xpcall(late, tostring)))
    assert.equal(tostring(err), tostring(select(2, pcall(refused))))
    assert.equal(tostring(err), select(2, xpcall(refused, function(e) local text = tostring(e) return text end)))
    s:close()
  end)

  it("passes debug.traceback as it is, and has a traceback beside its line", function()
    local function refused() narrow.tcp("refused.example", 81) end
    local _, same = xpcall(refused, debug.traceback)
    assert.is_true(same:is("host_not_allowed"))
    local _, text = xpcall(refused, function(e) return debug.traceback(tostring(e), 2) end)
    assert.equal(tostring(err), text:match("^[^\n]*"))
    assert.matches("^[^\n]*\nstack traceback:\n.*errors_spec%.lua", text)
  end)

  it("is told by the lua program where nobody catches it, but by 5.1's, which has words for strings alone", function()
    local said = child.run[[local net = launch{ "--allow-net=127.0.0.1:9" }
      net.tcp("other.test", 1)]]
    local silent = _VERSION == "Lua 5.1" and not rawget(_G, "jit")
    assert.truthy(said:find(silent and "(error object is not a string)" or "network/host_not_allowed: ", 1, true), said)
  end)

  it("is one clear line as text", function()
    local text = tostring(err)
    assert.falsy(text:find("\n"))
    assert.truthy(text:find(err.message, 1, true))
    assert.falsy(text:find("^table:"))
  end)

  it("passes through pcall, error and coroutines as the object itself", function()
    local _, again = pcall(error, err)
    assert.equal(err, again)
    local co = coroutine.create(function() narrow.tcp("refused.example", 81) end)
    local ok, inside = coroutine.resume(co)
    assert.is_false(ok)
    assert.is_true(inside:is("network/host_not_allowed"))
  end)

  it("has a locked metatable", function()
    assert.not_equal("table", type(getmetatable(err)))
    assert.is_false(pcall(setmetatable, err, {}))
  end)
end)

describe("errors of the network", function()
  wire.watch(before_each, after_each)

  it("connection_refused names host and port", function()
    local listener = net.tcp_listen("127.0.0.1", 0)
    local port = listener.local_port
    listener:close()
    local err = fails.with("network/connection_refused", net.tcp, "127.0.0.1", port)
    assert.equal("127.0.0.1", err.host)
    assert.equal(port, err.port)
    assert.equal("tcp", err.op)
    assert.truthy(err.message:find("127.0.0.1:" .. port, 1, true))
  end)

  it("timeout says how long", function()
    local s = net.tcp("127.0.0.1", servers.http)
    local err = fails.with("network/timeout", s.recv, s, 1, { timeout = 0.05 })
    assert.equal(0.05, err.timeout)
    assert.equal("recv", err.op)
    s:close()
  end)

  it("socket for a use after close", function()
    local s = net.tcp("127.0.0.1", servers.http)
    s:close()
    local err = fails.with("network/socket", s.recv, s, 1)
    assert.truthy(err.message:find("closed"))
  end)

  it("never holds what the URL's userinfo said", function()
    local rows = { "http://user:secret@refused.example/", "https://user:secret@127.0.0.1:1/" }
    for _, url in ipairs(rows) do
      local ok, err = pcall(narrow.fetch, url)
      assert.is_false(ok)
      for _, text in ipairs{ tostring(err), err.url or "", err.message or "", tostring(err.cause) } do
        assert.falsy(text:find("secret"))
      end
    end
  end)
end)

-- A value for a row's name.
local function show(value)
  if type(value) == "string" then return '"' .. value:gsub("%c", "?"):sub(1, 40) .. '"' end
  if type(value) ~= "table" then return tostring(value) end
  local shown = {}
  for key, inner in pairs(value) do shown[#shown + 1] = tostring(key) .. " = " .. show(inner) end
  return "{ " .. table.concat(shown, ", ") .. " }"
end

describe("a wrong argument", function()
  wire.watch(before_each, after_each)
  local nan = 0 / 0

  -- message, function, arguments …
  local rows = {
    { "bad argument #2 to 'tcp' (port must be 1..65535, got 70000)", "tcp", "127.0.0.1", 70000 },
    { "bad argument #2 to 'tcp' (port must be 1..65535, got 0)", "tcp", "127.0.0.1", 0 },
    { "bad argument #2 to 'tcp' (port must be 1..65535, got -1)", "tcp", "127.0.0.1", -1 },
    { "bad argument #2 to 'tcp'", "tcp", "127.0.0.1", 80.5 },
    { "bad argument #2 to 'tcp'", "tcp", "127.0.0.1", nan },
    { "bad argument #2 to 'tcp'", "tcp", "127.0.0.1", math.huge },
    { "bad argument #2 to 'tcp'", "tcp", "127.0.0.1", {} },
    { "bad argument #2 to 'tcp'", "tcp", "127.0.0.1", "http" },
    { "bad argument #2 to 'tcp'", "tcp", "127.0.0.1" },
    { "bad argument #1 to 'tcp'", "tcp" },
    { "bad argument #1 to 'tcp'", "tcp", {}, 80 },
    { "bad argument #1 to 'tcp'", "tcp", true, 80 },
    { "bad argument #1 to 'tcp'", "tcp", "", 80 },
    { "bad argument #1 to 'tcp'", "tcp", "exa mple.com", 80 },
    { "bad argument #1 to 'tcp'", "tcp", "a.example\0.evil", 80 },
    { "bad argument #1 to 'tcp'", "tcp", "a..example", 80 },
    { "bad argument #1 to 'tcp'", "tcp", "127.1", 80 },
    { "bad argument #1 to 'tcp'", "tcp", "0x7f000001", 80 },
    { "bad argument #1 to 'tcp'", "tcp", "2130706433", 80 },
    { "bad argument #1 to 'tcp'", "tcp", "[::1", 80 },
    { "bad argument #1 to 'tcp'", "tcp", "::1%lo", 80 },
    { "bad argument #1 to 'tcp'", "tcp", "http://127.0.0.1", 80 },
    { "bad argument #1 to 'tcp'", "tcp", "127.0.0.1:80", 80 },
    { "bad argument #1 to 'tcp'", "tcp", "user@127.0.0.1", 80 },
    { "bad argument #1 to 'tcp'", "tcp", "*.example.com", 80 },
    { "bad argument #1 to 'tcp'", "tcp", ("a"):rep(64) .. ".example", 80 },
    { "bad argument #1 to 'tcp'", "tcp", ("a."):rep(200) .. "example", 80 },
    { "bad argument #3 to 'tcp'", "tcp", "127.0.0.1", 80, 5 },
    { "bad argument #3 to 'tcp'", "tcp", "127.0.0.1", 80, "timeout" },
    { "bad argument #3 to 'tcp' (timeout", "tcp", "127.0.0.1", 80, { timeout = "soon" } },
    { "bad argument #3 to 'tcp' (timeout", "tcp", "127.0.0.1", 80, { timeout = -1 } },
    { "bad argument #3 to 'tcp' (timeout", "tcp", "127.0.0.1", 80, { timeout = nan } },
    { "timout", "tcp", "127.0.0.1", 80, { timout = 1 } },
    { "bad argument #2 to 'ssl'", "ssl", "127.0.0.1", 70000 },
    { "bad argument #3 to 'ssl' (verify", "ssl", "127.0.0.1", 443, { verify = "no" } },
    { "bad argument #3 to 'ssl' (protocols", "ssl", "127.0.0.1", 443, { protocols = { "SSLv3" } } },
    { "bad argument #3 to 'ssl' (protocols", "ssl", "127.0.0.1", 443, { protocols = {} } },
    { "bad argument #3 to 'ssl' (alpn", "ssl", "127.0.0.1", 443, { alpn = "h2" } },
    { "bad argument #3 to 'ssl' (alpn", "ssl", "127.0.0.1", 443, { alpn = { "" } } },
    { "bad argument #3 to 'ssl' (pins", "ssl", "127.0.0.1", 443, { pins = { "not a pin" } } },
    { "ca_bundle", "ssl", "127.0.0.1", 443, { ca_bundle = "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n" } },
    { "ca_bundle", "ssl", "127.0.0.1", 443, { ca_bundle = "/no/such/file.pem" } },
    { "client_key", "ssl", "127.0.0.1", 443, { client_cert = servers.client.cert } },
    { "bad argument #2 to 'udp'", "udp", "127.0.0.1", 70000 },
    { "bad argument #1 to 'udp'", "udp", {}, 80 },
    { "bad argument #2 to 'tcp_listen' (port must be 0..65535, got 65536)", "tcp_listen", "127.0.0.1", 65536 },
    { "bad argument #1 to 'tcp_listen'", "tcp_listen", {}, 0 },
    { "bad argument #2 to 'udp_listen'", "udp_listen", "127.0.0.1", -1 },
    { "bad argument #1 to 'unix'", "unix" },
    { "bad argument #1 to 'unix'", "unix", "" },
    { "bad argument #1 to 'unix'", "unix", "a\0b" },
    { "bad argument #1 to 'unix_listen'", "unix_listen", {} },
    { "bad argument #1 to 'fetch'", "fetch" },
    { "bad argument #1 to 'fetch'", "fetch", {} },
    { "bad argument #1 to 'fetch'", "fetch", "not a url" },
    { "bad argument #1 to 'fetch'", "fetch", "ftp://127.0.0.1/" },
    { "bad argument #1 to 'fetch'", "fetch", "file:///etc/passwd" },
    { "bad argument #1 to 'fetch'", "fetch", "http://" },
    { "bad argument #1 to 'fetch'", "fetch", "http://127.0.0.1:70000/" },
    { "bad argument #2 to 'fetch'", "fetch", "http://127.0.0.1/", 5 },
    { "bad argument #2 to 'fetch' (method", "fetch", "http://127.0.0.1/", { method = "GET\r\nX: y" } },
    { "bad argument #2 to 'fetch' (method", "fetch", "http://127.0.0.1/", { method = "" } },
    { "the value of header X-One", "fetch", "http://127.0.0.1/", { headers = { ["X-One"] = "a\r\nX-Two: b" } } },
    { "the value of header X-One", "fetch", "http://127.0.0.1/", { headers = { ["X-One"] = "a\0b" } } },
    { "X One", "fetch", "http://127.0.0.1/", { headers = { ["X One"] = "a" } } },
    { "bad argument #2 to 'fetch' (header name", "fetch", "http://127.0.0.1/", { headers = { [""] = "a" } } },
    { "bad argument #2 to 'fetch' (headers", "fetch", "http://127.0.0.1/", { headers = "X-One: a" } },
    { "bad argument #2 to 'fetch'", "fetch", "http://127.0.0.1/", { body = "a", body_json = {} } },
    { "bad argument #2 to 'fetch' (max_redirects", "fetch", "http://127.0.0.1/", { max_redirects = -1 } },
    { "bad argument #2 to 'fetch' (timeout", "fetch", "http://127.0.0.1/", { timeout = "x" } },
    { "folow_redirects", "fetch", "http://127.0.0.1/", { folow_redirects = false } },
    { "bad argument #1 to 'narrow'", "narrow" },
    { "bad argument #1 to 'narrow'", "narrow", "--allow-net" },
    { "bad argument #1 to 'allows'", "allows", nil, 80 },
    { "bad argument #1 to 'allows'", "allows", "127.1", 80 },
    { "bad argument #2 to 'allows'", "allows", "127.0.0.1", 70000 },
    { "bad argument #1 to 'poll'", "poll", 5 },
    { "bad argument #1 to 'class'", "class", 5 },
  }

  for _, row in ipairs(rows) do
    local shown = {}
    for i = 3, 5 do shown[#shown + 1] = show(row[i]) end
    it(row[2] .. "(" .. table.concat(shown, ", ") .. ")", function()
      fails.plainly(row[1], net[row[2]], row[3], row[4], row[5])
      -- The same with a colon: arguments are counted without the net.
      fails.plainly(row[1], net[row[2]], net, row[3], row[4], row[5])
    end)
  end

  -- code, what it raises where it stands
  local slips = {
    { 'net.tcp("a", 1, { timout = 1 })', [[bad argument #3 to 'tcp' (unknown option "timout"; did you mean "timeout"?)]] },
    { 'net.tcp("a", 1, { Keep_alive = true })', [[#3 to 'tcp' (unknown option "Keep_alive"; did you mean "keepalive"?)]] },
    { 'net.tcp("a", 1, { colour = 1 })', [[bad argument #3 to 'tcp' (unknown option "colour")]] },
    { 'net.http.client.new{ max_idel = 1 }', [[bad argument #1 to 'new' (unknown option "max_idel"; did you mean "max_idle"?)]] },
    { 'net.tcp("a", 1, { [true] = 1 })', "bad argument #3 to 'tcp' (unknown option true)" },
    { 'net.tcp_listen("a", 1, { tls = { cret = "" } })',
      [[bad argument #3 to 'tcp_listen' (tls: unknown option "cret"; did you mean "cert"?)]] },
    { 'net.fetch("http://a", { retry = { attemps = 1 } })',
      [[bad argument #2 to 'fetch' (retry: unknown option "attemps"; did you mean "attempts"?)]] },
    { 'net.fetch("http://a", { body_multipart = { {}, { name = "x", dat = "" } } })', "body_multipart[1] has no name" },
    { 'net.fetch("http://a", { body_multipart = { { name = "x", dat = "" } } })',
      [[bad argument #2 to 'fetch' (body_multipart[1]: unknown option "dat"; did you mean "data"?)]] },
    { 'net.fetch("http://a", { body_multipart = { x = { type = 1 } } })',
      [[bad argument #2 to 'fetch' (part "x" of body_multipart: type must be a string, got 1)]] },
    { 'net.fetch("http://a", { body_multipart = { x = { type = "a/b" } } })', 'part "x" of body_multipart must have either data or a path' },
    { 'net.fetch("http://a", { body_multipart = { x = print } })', 'part "x" of body_multipart must be a string or a table' },
    { 'net.http.client.new{ cookie = true }', [[bad argument #1 to 'new' (unknown option "cookie"; did you mean "cookies"?)]] },
    -- A number as text is the commonest slip.
    { 'net.tcp("a", "80")', [[bad argument #2 to 'tcp' (port must be 1..65535: a number, got a string ("80"))]] },
    { 'net.tcp_listen("a", "0")', [[bad argument #2 to 'tcp_listen' (port must be 0..65535: a number, got a string ("0"))]] },
    { 'net.udp("a", "80")', [[bad argument #2 to 'udp' (port must be 1..65535: a number, got a string ("80"))]] },
    { 'net.allows("a", "80")', [[bad argument #2 to 'allows' (port must be 1..65535: a number, got a string ("80"))]] },
    { 'net.poll({}, "5")', [[bad argument #2 to 'poll' (timeout must be 0 or more seconds: a number, got a string ("5"))]] },
    { 'net.fetch("http://a", { timeout = "5" })',
      [[bad argument #2 to 'fetch' (timeout must be 0 or more seconds: a number, got a string ("5"))]] },
    { 'net.fetch("http://a", { max_redirects = "5" })', [[: a number, got a string ("5"))]] },
    { 'net.fetch_all({}, { parallel = "5" })', [[bad argument #2 to 'fetch_all' (parallel must be]] },
    { 'net.class("puck.uno/socket/tcp").new{ host = "a", port = "80" }', [[bad argument #1 to 'new' (port must be a port]] },
    { 'net.http.guard{ rules = { host = "a" }, timeout = "5" }', [[timeout: must be 0 or more seconds: a number, got a string ("5")]] },
    -- What others call it.
    { 'net.fetch("http://a", { json = {} })', [[bad argument #2 to 'fetch' (unknown option "json"; did you mean "body_json"?)]] },
    { 'net.fetch("http://a", { source = print })', [[(unknown option "source"; did you mean "body"?)]] },
    { 'net.fetch("http://a", { follow = false })', [[(unknown option "follow"; did you mean "follow_redirects"?)]] },
    { 'net.fetch("http://a", { basic_auth = {} })', [[(unknown option "basic_auth"; did you mean "auth"?)]] },
    { 'net.tcp("a.example:80")', [[bad argument #2 to 'tcp' (port must be 1..65535, got nil (the port is a separate argument))]] },
    { 'net.ssl("[::1]:443")', [[bad argument #2 to 'ssl' (port must be 1..65535, got nil (the port is a separate argument))]] },
    { 'net.tcp_listen("127.0.0.1:0")', [[(port must be 0..65535, got nil (the port is a separate argument))]] },
    { 'net.tcp("a.example")', [[bad argument #2 to 'tcp' (port must be 1..65535, got nil)]] },
    { 'net.fetch("http://a", { data = "" })', [[(unknown option "data"; did you mean "body"?)]] },
    { 'net.fetch("http://a", { form = {} })', [[(unknown option "form"; did you mean "body_form"?)]] },
    { 'net.fetch("http://a", { files = {} })', [[(unknown option "files"; did you mean "body_multipart"?)]] },
    { 'net.fetch("http://a", { cafile = "" })', [[(unknown option "cafile"; did you mean "ca_bundle"?)]] },
    { 'net.fetch("http://a", { CA = "" })', [[(unknown option "CA"; did you mean "ca_bundle"?)]] },
    { 'net.fetch("http://a", { cert = "" })', [[(unknown option "cert"; did you mean "client_cert"?)]] },
    { 'net.fetch("http://a", { key = "" })', [[(unknown option "key"; did you mean "client_key"?)]] },
    { 'net.fetch("http://a", { retries = 3 })', [[(unknown option "retries"; did you mean "retry"?)]] },
    { 'net.fetch("http://a", { retry = { retries = 3 } })', [[(retry: unknown option "retries"; did you mean "attempts"?)]] },
    { 'net.fetch("http://a", { password = "x" })', [[(unknown option "password"; did you mean "auth"?)]] },
    { 'net.fetch_all({}, { concurrency = 3 })', [[bad argument #2 to 'fetch_all' (unknown option "concurrency"; did you mean "parallel"?)]] },
    { 'net.http.client.new{ allow_redirects = false }', [[bad argument #1 to 'new' (unknown option "allow_redirects"; did you mean "follow_redirects"?)]] },
    { 'net.ssl("a", 1, { ca = "" })', [[bad argument #3 to 'ssl' (unknown option "ca"; did you mean "ca_bundle"?)]] },
    { 'net.ssl("a", 1, { cert = "" })', [[bad argument #3 to 'ssl' (unknown option "cert"; did you mean "client_cert"?)]] },
    { 'net.tcp_listen("a", 1, { tls = { ca = "" } })', [[(tls: unknown option "ca"; did you mean "client_ca"?)]] },
    { 'net.tcp_listen("a", 1, { tls = { certificate = "" } })', [[(tls: unknown option "certificate"; did you mean "cert"?)]] },
    -- A name of others' that means nothing here has no hint of theirs.
    { 'net.tcp("a", 1, { json = {} })', [[bad argument #3 to 'tcp' (unknown option "json")]] },
    -- Which argument it is.
    { 'net.http.client.new():post("http://a", 42)',
      "bad argument #2 to 'post' (body must be a string, an open file or a function, got 42)" },
    { 'net.http.client.new():put("http://a", true, {})', "bad argument #2 to 'put' (body must be" },
    { 'net.http.client.new():post("http://a", "x", { timeout = -1 })', "bad argument #3 to 'post' (timeout" },
    { 'net.http.client.new():post("http://a", "x", 5)', "bad argument #3 to 'post' (opts must be a table" },
    { 'net.http.client.new():post("http://a", { timeout = -1 })', "bad argument #2 to 'post' (timeout" },
    { 'net.http.client.new():post("http://a", { body = 42 })', "bad argument #2 to 'post' (body must be" },
    { 'net.http.client.new():post("http://a", { body_json = print })', "bad argument #2 to 'post' (body_json" },
    { 'net.http.client.new():post(42, "x")', "bad argument #1 to 'post' (url" },
    { 'net.http.client.new():post("http://a", { a = 1 })', "bad argument #2 to 'post' (unknown option \"a\"; a table in place of a "
      .. "body has options: body_json = { … } sends JSON, body_form = { … } a form)" },
    { 'net.http.client.new():patch("http://a", { 1, 2 })', "bad argument #2 to 'patch' (unknown option 1; a table in place of a body" },
    { 'net.http.client.new():post("http://a", { json = {} })', [[(unknown option "json"; did you mean "body_json"?)]] },
    { 'net.http_client.post("http://a", 42)', "bad argument #2 to 'post' (body must be" },
    { 'net.http_client:post("http://a", 42)', "bad argument #2 to 'post' (body must be" },
    { 'net.http_client.get("http://a", 42)', "bad argument #2 to 'get' (opts must be a table" },
    { 'net.http_client:get(42)', "bad argument #1 to 'get' (url must be a string" },
    { 'net.udp{ famly = "inet" }', [[bad argument #1 to 'udp' (unknown option "famly"]] },
    { 'net.udp{ family = "x" }', "bad argument #1 to 'udp' (family" },
    { 'net:udp(nil, nil, { family = "x" })', "bad argument #3 to 'udp' (family" },
    { 'net.resolve("a.test", { server = "x y" })', "bad argument #2 to 'resolve' (server" },
    { 'net.resolve("a.test", "a", { server = "x y" })', "bad argument #3 to 'resolve' (server" },
    { 'net.http.client.jail("a.test", 5)', "bad argument #2 to 'jail' (host must be a string, got 5)" },
    { 'net.http.client.jail("a.test", "a b")', "bad argument #2 to 'jail' (jail: host a b" },
    { 'net.http.client.jail{ "a.test", 5 }', "bad argument #1 to 'jail' (hosts[2] must be a string, got 5)" },
    { 'net.http.client.jail{ "a.test", "a b" }', "bad argument #1 to 'jail' (jail: host a b" },
    { 'net.http.client.jail(nil)', "bad argument #1 to 'jail' (host must be a string, got nil)" },
    { 'net.http.jar{ { name = 5 } }', "bad argument #1 to 'jar' (records[1]: name must be a string, got 5)" },
    { 'net.http.jar{ 5 }', "bad argument #1 to 'jar' (records must be tables, got 5)" },
    { 'net.http.jar():load{ { nam = "" } }', [[bad argument #1 to 'load' (records[1]: unknown option "nam"; did you mean "name"?)]] },
    { 'net.narrow{ "a b" }', "bad argument #1 to 'narrow' (host a b" },
    { 'net.narrow{ "--alow-net=a" }', "bad argument #1 to 'narrow' (--alow-net=a: unknown flag; did you mean --allow-net?)" },
    { 'net.class("puck.uno/socket/tcp").new{ port = 80 }', "bad argument #1 to 'new' (host is missing)" },
    { 'net.class("puck.uno/socket/tcp").new{ hots = "a" }',
      [[bad argument #1 to 'new' (unknown option "hots"; did you mean "host"?)]] },
    { 'net.class("puck.uno/socket/udp").new{ famly = "inet" }', [[(unknown option "famly"; did you mean "family"?)]] },
    { 'net.class("puck.uno/socket/ssl").new{ verfy = false }', [[(unknown option "verfy"; did you mean "verify"?)]] },
    { 'net.class("puck.uno/socket/tcp_listener").new{ prot = 1 }', [[(unknown option "prot"; did you mean "port"?)]] },
    { 'net.class("puck.uno/http/client").new{ timeot = 1 }', [[(unknown option "timeot"; did you mean "timeout"?)]] },
    { 'net.http.guard{ host = "a" }', "bad argument #1 to 'guard' (host: unknown key; it belongs to a rule, in rules)" },
    { 'net.fetch_all({ "http://a" }, { verify = false })', "bad argument #2 to 'fetch_all' (verify is an option of a request: it belongs to the items" },
    { 'net.http.server("127.0.0.1:0")', "bad argument #2 to 'server' (port must be 0..65535, got nil (the port is a separate argument))" },
    { 'net.http.guard{ rule = {} }', "bad argument #1 to 'guard' (rule: unknown key; did you mean \"rules\"?)" },
  }
  for _, row in ipairs(slips) do
    it("is told with its line and the nearest right one: " .. row[1], function()
      local call = assert(load("local net = ...\nlocal r = " .. row[1] .. " return r", "=call"))
      assert.equal(1, (fails.plainly(row[2], call, net):find("call:2: ", 1, true)))
    end)
  end

  -- What the script calls, its text from line 1 on, and what stands before the words.
  local callers = {
    { "a function of the script's", "local net = ...\nlocal function inner()\n  local r = net.fetch(5) return r\nend\nlocal r = inner() return r", "call:3: " },
    { "a tail call", "local net = ...\nlocal function inner() return net.fetch(5) end\nlocal r = inner() return r", "call:3: " },
    { "a method", "local net = ...\nlocal c = net.http.client.new()\nlocal r = c:post(5) return r", "call:3: " },
    { "pcall", "local net = ...\nlocal ok, err = pcall(net.fetch, 5) error(err, 0)", "" },
    { "a coroutine", "local net = ...\nlocal ok, err = coroutine.resume(coroutine.create(function()\n  local r = net.fetch(5) return r\nend)) error(err, 0)",
      "call:3: " },
    { "a coroutine and nothing else", "local net = ...\nlocal ok, err = coroutine.resume(coroutine.create(net.fetch), 5) error(err, 0)", "" },
    { "an assignment", "local net = ...\nlocal c = net.http.client.new()\nc.allow = 5", "call:3: allow must be a list" },
  }
  for _, row in ipairs(callers) do
    it("is told where the script called: " .. row[1], function()
      local text = fails.plainly(row[3]:match(": (.+)$") or "url must be a string", assert(load(row[2], "=call")), net)
      assert.equal(row[3]:match("^call:%d+: ") or "bad", text:match("^call:%d+: ") or text:match("^bad"))
    end)
  end

  it("of a method names the method", function()
    local s = net.tcp("127.0.0.1", servers.http)
    local methods = {
      { "send", {} }, { "send" }, { "send_all", false }, { "recv", "x" }, { "recv", -1 }, { "recv_exact" }, { "recv_exact", -1 },
      { "recv_exact", 1.5 }, { "recv_exact", nan }, { "shutdown", "sideways" }, { "shutdown" },
    }
    for _, row in ipairs(methods) do
      -- As scripts call it: Lua takes the name and the counting from the call.
      local call = load(("local s, x = ... local r = s:%s(x) return r"):format(row[1]))
      fails.plainly("bad argument #1 to '" .. row[1] .. "'", call, s, row[2])
    end
    for _, method in ipairs{ "send", "recv", "recv_line", "recv_exact", "close", "lines", "shutdown", "starttls" } do
      for _, self in ipairs{ {}, 5, "x", net } do
        local ok, err = pcall(s[method], self, "x")
        assert.is_false(ok, method)
        assert.equal("string", type(err))
      end
      assert.is_false(pcall(s[method]))
    end
    s:close()
  end)

  it("of options in place of a number says where they belong", function()
    local s, u = net.tcp("127.0.0.1", servers.http), net.udp_listen("127.0.0.1", 0)
    for _, row in ipairs{
      { s, "recv", "recv(nil, { timeout = 1 })" }, { s, "recv_exact", "recv_exact(n, { timeout = 1 })" },
      { u, "recv", "recv(nil, { timeout = 1 })" }, { u, "recv_from", "recv_from(nil, { timeout = 1 })" },
    } do
      local call = assert(load(("local s = ... local r = s:%s{ timeout = 0 } return r"):format(row[2]), "=call"))
      local text = fails.plainly("options are the second argument: " .. row[3], call, row[1])
      assert.equal(1, (text:find("call:1: bad argument #1 to '" .. row[2] .. "'", 1, true)), text)
    end
    s:close()
    u:close()
  end)

  it("of a method that was called with a dot says so", function()
    local values, done = zoo.open()
    local count = 0
    for name, methods in pairs(zoo.METHODS) do
      for _, method in ipairs(methods) do
        local call = assert(load(("local value, x = ... local r = value.%s(x) return r"):format(method), "=call"))
        for _, first in ipairs{ "x", 5, {}, true } do
          local text = fails.plainly("call it with a colon, on a", call, values[name], first)
          assert.equal(1, (text:find("call:1: ", 1, true)), text)
          assert.truthy(text:find(method, 1, true), text)
        end
        fails.plainly("call it with a colon, on a", call, values[name])
        count = count + 1
      end
    end
    assert(count > 50)
    done()
  end)

  it("of a body that is no JSON names the URL without what is secret, and says whether it was streamed", function()
    local mine = net.narrow{ "127.0.0.1" }
    local url = HTTP .. "/hello"
    local err = fails.with("network/protocol", mine.fetch(url .. "?token=secret#part").json)
    assert.equal(url, err.url)
    assert.equal("json", err.op)
    assert.equal(1, (err.message:find(url .. ": malformed JSON", 1, true)), err.message)
    assert.falsy((tostring(err) .. err.url):find("secret"))
    assert.falsy(err.message:find("streamed"))
    local stream = mine.fetch(url, { stream = true })
    assert.equal("h", stream:read(1))
    err = fails.with("network/protocol", stream.json)
    assert.truthy(err.message:find("the response is streamed", 1, true), err.message)
    assert.equal(url, err.url)
    local guard, close = net.http.guard{
      rules = { host = "127.0.0.1", https_only = false, ports = servers.http }, allow_private = true,
      middleware = function(ctx, next)
        ctx.req:set_url(url .. "?token=secret")
        return next()
      end,
    }
    err = fails.with("network/protocol", guard.fetch(HTTP .. "/asked?own=secret").json)
    assert.equal(HTTP .. "/asked", err.url)
    assert.falsy((tostring(err) .. err.message):find("secret"))
    close()
    mine.revoke()
  end)

  it("never reads options through a metatable's back", function()
    -- Whatever a hostile table does, the call ends in a socket or an error, and leaves nothing open.
    local calls = 0
    local mine = net.narrow{ "--allow-net" } -- its pool ends with it
    local hostile = {
      { __index = function() error("trap") end },
      { __index = function() calls = calls + 1 return calls end },
      { __index = function(_, key) if key == "timeout" then return function() end end end },
      { __index = function() return coroutine.isyieldable and coroutine.yield() end },
      { __index = function(t) return t.timeout end },
      { __pairs = function() error("trap") end },
      { __len = function() return 1e9 end },
      { __metatable = "locked", __index = { timeout = "x" } },
      { __gc = function() pcall(net.tcp, "127.0.0.1", 1) end },
      { __tostring = function() error("trap") end, __name = {} },
      { __call = error, __eq = error, __close = error, __mode = "kv" },
    }
    for i, meta in ipairs(hostile) do
      local options = setmetatable({}, meta)
      for _, door in ipairs{ "tcp", "udp" } do
        local ok, got = pcall(net[door], "127.0.0.1", servers.http, options)
        if ok then got:close() else assert(type(got) == "string" or got.class, i) end
      end
      pcall(mine.fetch, "http://127.0.0.1:" .. servers.http .. "/hello", setmetatable({}, meta))
      pcall(mine.fetch, "http://127.0.0.1:1/", { headers = setmetatable({}, meta) })
      pcall(net.narrow, setmetatable({}, meta))
      pcall(net.poll, setmetatable({}, meta), 0)
    end
    mine.revoke()
  end)

  it("that converts itself is converted once or refused", function()
    local trick = setmetatable({}, { __tostring = function() return "127.0.0.1" end })
    fails.plainly("bad argument #1 to 'tcp'", net.tcp, trick, servers.http)
  end)
end)
