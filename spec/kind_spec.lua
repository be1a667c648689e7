-- Contract 3: what a value of ours is, asked without asking the value; and every list that we give is an array.

local net = require("spec.support.subject").net
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")
local zoo = require("spec.support.zoo")

local HTTP = "http://127.0.0.1:" .. servers.http

describe("kind", function()
  wire.watch(before_each, after_each)

  it("names every value of ours", function()
    local values, done = zoo.open()
    local expected = {
      net = "capability", http = "http", client = "client", jar = "jar", jail = "jail", response = "response", stream = "response",
      tcp = "tcp", accepted = "tcp", listener = "listener", udp = "udp", ssl = "ssl", events = "events", websocket = "websocket",
      guard = "guard", guarded = "response", raw = "request", error = "error", ["http.client"] = "http.client",
      server = "server", served = "request", part = "part", event_stream = "event_stream", sammy = "sammy",
      smtp = "smtp", imap = "imap", pop3 = "pop3", ftp = "ftp",
    }
    for name, value in pairs(values) do
      assert.equal(expected[name], net.kind(value), name)
      -- With a colon, and whoever's capability asks.
      assert.equal(expected[name], net:kind(value), name)
      assert.equal(expected[name], values.net.kind(value), name)
    end
    done()
    -- What is closed, spent or revoked is what it was.
    for name, value in pairs(values) do assert.equal(expected[name], net.kind(value), name) end
    assert.equal("null", net.kind(net.null))
    assert.equal("array", net.kind(net.array{}))
    assert.equal("hash", net.kind(net.errors))
    assert.equal("class", net.kind(net.class("puck.uno/socket/tcp")))
    assert.equal("capability", net.kind(net))
    assert.equal("capability", net:kind(net))
  end)

  it("is nil of what is not ours, and asks it nothing", function()
    local asked = 0
    local function told() asked = asked + 1 return "array" end
    local values, done = zoo.open()
    local array = net.array{}
    local others = {
      {}, { 1, 2 }, { class = "puck.uno/error/network/timeout", is = print }, "array", "", 5, 0.5, true, false, print, net.fetch,
      coroutine.create(function() end), io.stdout, string, _G,
      setmetatable({}, { __metatable = false, __name = "caspian.net.array" }),
      setmetatable({}, { __index = told, __metatable = told, __tostring = told, __call = told, __eq = told, __len = told,
        __pairs = told, __name = "caspian.net.client" }),
      setmetatable({}, { __metatable = array }), setmetatable({}, { __index = array, __metatable = false }),
      setmetatable({}, array), setmetatable({}, net.errors),
    }
    for _, value in pairs(values) do others[#others + 1] = setmetatable({}, { __index = value, __metatable = false }) end
    for index, value in ipairs(others) do
      assert.is_nil(net.kind(value), index)
      assert.is_nil(net:kind(value), index)
    end
    assert.is_nil(net.kind(nil))
    assert.is_nil(net.kind())
    assert.is_nil(net:kind(nil))
    assert.equal(0, asked)
    done()
  end)

  it("of what JSON is: arrays, hashes, null, to the last", function()
    local mine = net.narrow{ "127.0.0.1" }
    local made = mine.fetch(HTTP .. "/echo", { method = "POST", body_json = {
      list = net.array{}, full = { 1, { a = 1 } }, object = { x = { y = net.array{} } }, none = net.null,
    } }):json()
    assert.equal("hash", net.kind(made))
    assert.equal("array", net.kind(made.list))
    assert.equal("array", net.kind(made.full))
    assert.equal("hash", net.kind(made.full[2]))
    assert.equal("hash", net.kind(made.object.x))
    assert.equal("array", net.kind(made.object.x.y))
    assert.equal("null", net.kind(made.none))
    -- An object is a plain table: a script may make it one of its own classes.
    local class = { __index = { greet = function(self) return self.a end } }
    assert.equal(1, setmetatable(made.full[2], class):greet())
    assert.is_nil(net.kind(made.full[2]))
    assert.equal("hash", net.kind(made.object))
    -- What is done to the metatable of one document, another never sees.
    local own = getmetatable(made.object)
    if type(own) == "table" then own.__index = function() return "mine" end end
    assert.is_nil(mine.fetch(HTTP .. "/echo", { method = "POST", body = '{"a":{}}' }):json().nothing)
    assert.equal("array", net.kind(net.array(mine.fetch(HTTP .. "/echo", { method = "POST", body = "{}" }):json())))
    mine.revoke()
  end)

  it("of a response's parts", function()
    local mine = net.narrow{ "127.0.0.1" }
    local response = mine.fetch(HTTP .. "/hello")
    for _, name in ipairs{ "headers", "timings" } do assert.equal("hash", net.kind(response[name]), name) end
    for _, name in ipairs{ "redirect_chain", "raw_headers" } do assert.equal("array", net.kind(response[name]), name) end
    assert.equal("array", net.kind(response.raw_headers[1]))
    assert.equal(0, #response.redirect_chain)
    local secure = mine.ssl("127.0.0.1", servers.https, { verify = false })
    local cert = secure:peer_cert()
    assert.equal("hash", net.kind(cert))
    assert.equal("array", net.kind(cert.sans))
    secure:close()
    mine.revoke()
  end)
end)

describe("every list is an array", function()
  wire.watch(before_each, after_each)

  it("also the empty ones", function()
    local mine = net.narrow{ "127.0.0.1", "--allow-listen=127.0.0.1:0" }
    local udp = mine.udp()
    local readable, writable = mine.poll({ read = { udp } }, 0)
    local _, some = mine.poll({ udp }, 0)
    local client = mine.http.client.new{ har = true }
    client.allow = { "127.0.0.1" }
    local jar = mine.http.jar()
    local none = jar:records()
    jar:set(HTTP, "a=b")
    pcall(client.get, client, "http://127.0.0.1:1/?a=b")
    local log = client:har().log
    local lists = {
      readable, writable, some, mine.grants(), net.narrow{}.grants(), mine.fetch_all{}, mine.fetch_all{ "http://127.0.0.1:1/" },
      none, jar:records(), mine.resolve("127.0.0.1"), client.allow, log.entries,
    }
    for index = 1, 12 do
      assert.equal("array", net.kind(lists[index]), index)
      for _, item in ipairs(lists[index]) do assert.not_equal("table", net.kind(item)) end
    end
    for index, length in ipairs{ 0, 0, 1, 2, 0, 0, 1, 0, 1, 1, 1 } do assert.equal(length, #lists[index], index) end
    assert.equal("hash", net.kind(jar:records()[1]))
    assert.equal("array", net.kind(net.array(net.array{ 1 })))
    udp:close()
    client:close()
    mine.revoke()
  end)

  it("as they go through a guard", function()
    local seen = {}
    local guard, close = net.http.guard{
      rules = { host = "127.0.0.1", https_only = false, ports = servers.http, routes = { path = "/:name" } }, allow_private = true,
      middleware = function(ctx, next)
        local response = next()
        seen = { ctx.req, ctx.req.headers, ctx.req.params, ctx.req.raw, response, response.headers }
        return response
      end,
    }
    local response = guard.fetch(HTTP .. "/hello")
    close()
    local kinds = {}
    for index = 1, 6 do kinds[index] = net.kind(seen[index]) end
    assert.equal("request hash hash request response hash", table.concat(kinds, " "))
    assert.equal("array", net.kind(response.redirect_chain))
    assert.equal("array", net.kind(response.raw_headers))
    assert.equal("hash", net.kind(response.headers))
    assert.equal("response", net.kind(response))
  end)
end)
