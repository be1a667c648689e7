-- The drop-in's `socket.ftp`, against pyftpdlib; and what no path or server may do.

local dropin = require("spec.support.dropin")
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local ftp, ltn12, socket = dropin.require("socket.ftp"), dropin.require("ltn12"), dropin.require("socket")

local there = servers.mail_files

local function url(path, port) return ("ftp://user:s3cret@127.0.0.1:%d/%s"):format(port or there.ftp, path) end

local function stored(name)
  local file = io.open(there.home .. "/" .. name, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end

-- A server that greets, takes a login and then answers by `script`, which has `c` and `asked(pattern)`.
local function server_with(script)
  return peer.tcp([[
    local c = accept()
    local function asked(pattern) local line = c:receive("*l") report(line) assert(line and line:find(pattern), line) return line end
    c:send("220 hi\r\n")
    asked("^USER ")
    c:send("230 in\r\n")
    local data = assert(socket.bind("127.0.0.1", 0))
    data:settimeout(5)
    local port = select(2, data:getsockname())
  ]] .. script)
end

describe("socket.ftp", function()
  after_each(function()
    process.kill_all()
    os.execute("rm -f '" .. there.home .. "'/*")
    ftp.FOREIGN, ftp.MAXBODY, ftp.TIMEOUT = false, 268435456, 60
  end)

  it("has what LuaSocket's has", function()
    assert.same({ 60, "ftp", "anonymous@anonymous.org" }, { ftp.TIMEOUT, ftp.USER, ftp.PASSWORD })
    for _, name in ipairs{ "get", "put", "command", "open", "genericform" } do assert.is_function(ftp[name]) end
  end)

  for name, port in pairs{ ["EPSV"] = there.ftp, ["PASV, where EPSV is not known"] = there.old_ftp } do
    describe("over " .. name, function()
      it("stores and fetches by strings", function()
        local text = ("0123456789"):rep(5000)
        assert.equal(50000, ftp.put(url("a.txt;type=i", port), text))
        assert.equal(text, stored("a.txt"))
        assert.equal(text, ftp.get(url("a.txt;type=i", port)))
        assert.equal("", ftp.put(url("empty;type=i", port), "") == 0 and ftp.get(url("empty;type=i", port)))
      end)

      it("stores and fetches by tables, with a step and create", function()
        local steps, made, got = 0, 0, {}
        local reqt = {
          host = "127.0.0.1", port = port, user = "user", password = "s3cret", path = "b.txt", type = "i",
          source = ltn12.source.table{ "one", "two" }, sink = ltn12.sink.table(got),
          step = function(...) steps = steps + 1 return ltn12.pump.step(...) end,
          create = function() made = made + 1 return socket.tcp() end,
        }
        assert.equal(6, ftp.put(reqt))
        assert.equal(1, ftp.get(reqt))
        assert.equal("onetwo", table.concat(got))
        assert.is_true(steps >= 4)
        -- Control and data connections.
        assert.equal(4, made)
      end)
    end)
  end

  it("lists, appends and sends commands", function()
    ftp.put(url("a"), "1")
    local got = {}
    local reqt = { host = "127.0.0.1", port = there.ftp, user = "user", password = "s3cret", command = "nlst", sink = ltn12.sink.table(got) }
    assert.equal(1, ftp.get(reqt))
    assert.equal("a\r\n", table.concat(got))
    assert.equal(1, ftp.put{ url = url("a"), command = "appe", source = ltn12.source.string("2") })
    assert.equal("12", stored("a"))
    reqt.command, reqt.argument, reqt.check = "dele", "a", 250
    assert.equal(1, ftp.command(reqt))
    assert.is_nil(stored("a"))
    assert.matches("^550 ", select(2, ftp.command(reqt)))
    reqt.command, reqt.argument, reqt.check = { "mkd", "rmd" }, { "d", "d" }, { 257, 250 }
    assert.equal(1, ftp.command(reqt))
  end)

  it("logs in as the URL says, or as nobody", function()
    ftp.put(url("a"), "1")
    assert.equal("1", ftp.get(("ftp://127.0.0.1:%d/a"):format(there.ftp)))
    assert.equal("1", ftp.get(("ftp://us%%65r:s3cr%%65t@127.0.0.1:%d/a"):format(there.ftp)))
    assert.matches("^530 ", select(2, ftp.get(("ftp://user:wrong@127.0.0.1:%d/a"):format(there.ftp))))
    assert.matches("^550 ", select(2, ftp.get(url("missing"))))
  end)

  it("has data connections in both directions, by hand", function()
    for _, open in ipairs{
      function(f) f:port() end, function(f) f:eprt("1") end, function(f) assert.equal("127.0.0.1", (f:pasv())) end, function(f) f:epsv() end,
    } do
      local f = ftp.open("127.0.0.1", there.ftp)
      assert.equal(1, f:greet())
      assert.equal(1, f:login("user", "s3cret"))
      assert.equal(1, f:type("i"))
      assert.equal(1, f:cwd("/"))
      open(f)
      assert.equal(4, f:send{ path = "/h", source = ltn12.source.string("data") })
      open(f)
      local got = {}
      assert.equal(1, f:receive{ path = "h", sink = ltn12.sink.table(got) })
      assert.equal("data", table.concat(got))
      assert.equal(1, f:quit())
      assert.equal(1, f:close())
    end
    local f = ftp.open("127.0.0.1", there.ftp)
    local _, err = socket.protect(function() f:receive{ path = "x" } end)()
    assert.equal("need port or pasv first", err)
  end)

  for name, row in pairs{
    ["another scheme"] = { "http://h/x", "wrong scheme 'http'" }, ["no host"] = { "ftp:///x", "missing hostname" },
    ["a type that is none"] = { "ftp://h/x;type=q", "invalid type 'q'" }, ["a type that is no type"] = { "ftp://h/x;kind=a", "invalid type 'nil'" },
    ["a host that ends elsewhere"] = { "ftp://good\\@evil/x", "invalid url" },
  } do
    it("refuses " .. name, function()
      assert.same({ nil, row[2] }, { ftp.get(row[1]) })
      assert.same({ nil, row[2] }, { ftp.put(row[1], "x") })
    end)
  end

  for name, change in pairs{
    path = { path = "a%0d%0aDELE%20important" }, user = { user = "x\r\nDELE important" }, password = { password = "x\nDELE important" },
    argument = { argument = "a\r\nDELE important" }, command = { command = "retr x\r\ndele important", path = "" },
  } do
    it("refuses a line break in " .. name, function()
      ftp.put(url("important"), "kept")
      local reqt = { host = "127.0.0.1", port = there.ftp, user = "user", password = "s3cret", path = "a", sink = ltn12.sink.null() }
      for field, value in pairs(change) do reqt[field] = value end
      assert.same({ nil, "a line break in a command" }, { ftp.get(reqt) })
      reqt.source = ltn12.source.string("x")
      assert.same({ nil, "a line break in a command" }, { ftp.put(reqt) })
      assert.equal("kept", stored("important"))
    end)
  end

  it("connects for data where it connected before, whatever PASV says", function()
    local script = [[
      asked("^EPSV") c:send("500 what\r\n")
      asked("^PASV") c:send(("227 here (192,0,2,1,%d,%d)\r\n"):format(math.floor(port / 256), port % 256))
      local d = data:accept()
      asked("^RETR x") c:send("150 now\r\n")
      d:send("from the peer") d:close() c:send("226 done\r\n")
      asked("^QUIT") c:send("221 bye\r\n") ]]
    local p = server_with(script)
    assert.equal("from the peer", (ftp.get("ftp://127.0.0.1:" .. p.port .. "/x")))
    -- Where it was asked for, the gate still has a say.
    ftp.FOREIGN, ftp.TIMEOUT = true, 0.3
    p = server_with(script)
    assert.is_nil((ftp.get("ftp://127.0.0.1:" .. p.port .. "/x")))
  end)

  it("takes a data connection from the server alone", function()
    local p = server_with([[
      local line = asked("^PORT 127,0,0,1,")
      local high, low = line:match("(%d+),(%d+)$")
      c:send("200 fine\r\n")
      asked("^RETR x")
      local d = socket.tcp4()
      d:bind("127.0.0.2", 0)
      assert(d:connect("127.0.0.1", tonumber(high) * 256 + tonumber(low)))
      d:send("not from the server")
      c:send("150 now\r\n")
      c:receive("*a")]])
    local f = ftp.open("127.0.0.1", p.port)
    f:greet()
    f:login()
    f:port()
    local got = {}
    local _, err = socket.protect(function() return f:receive{ path = "x", sink = ltn12.sink.table(got) } end)()
    assert.equal("the data connection is from another host", err)
    assert.same({}, got)
  end)

  it("stops an upload when the server has had enough", function()
    local p = server_with([[
      asked("^EPSV") c:send(("229 here (|||%d|)\r\n"):format(port))
      local d = data:accept()
      asked("^STOR x") c:send("150 now\r\n")
      d:receive(10)
      c:send("552 full\r\n")
      c:receive("*a")]])
    local sent = 0
    local function source()
      sent = sent + 1
      if sent > 1 then socket.sleep(0.05) end
      return sent < 200 and "0123456789" or nil
    end
    local done, err = ftp.put{ url = "ftp://127.0.0.1:" .. p.port .. "/x", source = source }
    assert.is_nil(done)
    assert.matches("552 full", err)
    assert.is_true(sent < 200)
  end)

  it("resets an upload whose source fails: the server does not take it for complete", function()
    local p = server_with([[
      asked("^EPSV") c:send(("229 here (|||%d|)\r\n"):format(port))
      local d = data:accept()
      asked("^STOR x") c:send("150 now\r\n")
      c:receive("*a")
      local _, why = d:receive("*a")
      report(d:getoption("error") or why)]])
    local source = ltn12.source.cat(ltn12.source.string("half"), ltn12.source.error("disk full"))
    assert.same({ nil, "disk full" }, { ftp.put{ url = "ftp://127.0.0.1:" .. p.port .. "/x", source = source } })
    -- A complete upload would have been data here, and no error.
    local seen = p:finish()
    assert.equal("closed", seen[#seen])
  end)

  it("gathers no more than MAXBODY", function()
    ftp.put(url("a"), ("x"):rep(100))
    ftp.MAXBODY = 99
    assert.same({ nil, "oversized" }, { ftp.get(url("a")) })
    ftp.MAXBODY = 100
    assert.equal(100, #ftp.get(url("a")))
  end)

  it("gives a reply without data to the sink", function()
    local p = server_with([[
      asked("^EPSV") c:send(("229 here (|||%d|)\r\n"):format(port))
      local d = data:accept()
      asked("^STAT") c:send("211 all is well\r\n")
      asked("^QUIT") c:send("221 bye\r\n") ]])
    local got = {}
    assert.equal(1, ftp.get{ host = "127.0.0.1", port = p.port, command = "stat", sink = ltn12.sink.table(got) })
    assert.same({ "211 all is well" }, got)
  end)
end)
