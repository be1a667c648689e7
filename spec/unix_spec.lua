-- Contract 4 and 2: Unix sockets, by path.

local child = require("spec.support.child")
local fails = require("spec.support.fails")
local peer = require("spec.support.peer")
local process = require("spec.support.process")
local subject = require("spec.support.subject")
local wire = require("spec.support.wire")

local net = subject.net

local function lines(text)
  local list = {}
  for line in text:gmatch("[^\n]+") do list[#list + 1] = line end
  return list
end

describe("unix", function()
  wire.watch(before_each, after_each)
  after_each(function() for _, name in ipairs{ "a", "b", "c" } do os.remove(subject.unix(name)) end end)

  it("connects", function()
    local path = subject.unix("a")
    local p = peer.unix(path, [[ local c = accept() report((c:receive("*l"))) c:send("world\n") c:close() ]])
    local s = net.unix(path)
    s:send_all("hello\n")
    assert.equal("world\n", s:recv_line())
    assert.is_nil(s:recv_line())
    s:close()
    assert.same({ "hello" }, p:finish())
  end)

  it("listens", function()
    local path = subject.unix("b")
    local l = net.unix_listen(path)
    local c = net.unix(path)
    local s = l:accept()
    c:send_all("there\n")
    assert.equal("there\n", s:recv_line())
    s:send_all("and back\n")
    assert.equal("and back\n", c:recv_line())
    fails.with("network/timeout", l.accept, l, { timeout = 0 })
    s:close() c:close() l:close()
  end)

  it("nobody there", function()
    local ok, err = pcall(net.unix, subject.unix("c"))
    assert.is_false(ok)
    assert.truthy(err:is("network/connection_refused") or err:is("network/socket"))
  end)

  it("needs a grant of that very path", function()
    local path = subject.unix("a")
    for _, flags in ipairs{ { "--allow-net=127.0.0.1" }, { "--allow-net=unix:" .. path .. "x" }, { "--allow-listen=unix:" .. path } } do
      fails.with("network/host_not_allowed", net.narrow(flags).unix, path)
    end
    local err = fails.with("network/host_not_allowed", net.narrow{ "--allow-net=unix:/elsewhere" }.unix, path)
    assert.truthy(err.message:find("--allow-net=unix:" .. path, 1, true))
    fails.with("network/host_not_allowed", net.narrow{ "--allow-net=unix:" .. path }.unix_listen, path)
  end)

  it("is not fooled by the spelling of a path", function()
    local path = subject.unix("a")
    local directory, name = path:match("^(.*)/(.-)$")
    local narrow = net.narrow{ "--allow-net=unix:" .. directory .. "/granted/" .. name }
    for _, spelling in ipairs{ directory .. "/granted/../" .. name, directory .. "/granted/x/../../" .. name } do
      assert.is_false(pcall(narrow.unix, spelling))
    end
  end)

  describe("of a directory", function()
    local directory = subject.unix("a"):match("^(.*)/")
    local outside = directory .. "/unix-spec"

    local function shell(command)
      local ok = os.execute(command)
      assert(ok == true or ok == 0, command)
    end
    before_each(function() shell("rm -rf " .. outside .. " && mkdir -p " .. outside .. "/in/deeper") end)
    after_each(function() shell("rm -rf " .. outside) end)

    --- What a fresh capability with these flags answers to `code`, which sees `net`, `try(f, ...)` and the directory `at`.
    local function run(flags, code)
      return child.run(([[
        local net = launch{ "%s" }
        local at = "%s"
        local function try(f, ...)
          local ok, got = pcall(f, ...)
          local class = not ok and (type(got) == "string" and got or got.class:match("[^/]*$"))
          print(ok and "ok" or class)
          return ok and got
        end
      ]]):format(table.concat(flags, '", "'):gsub("AT", (outside:gsub("%%", "%%%%"))), outside) .. code)
    end

    it("opens every socket directly in it, and no other", function()
      local got = run({ "--allow-net=unix:AT/in/*", "--allow-listen=unix:AT/in//./*" }, [[
        print(table.concat(net.grants(), " "))
        local l = try(net.unix_listen, at .. "/in/s")
        local c = try(net.unix, at .. "/in//s")
        try(net.unix, at .. "/in/deeper/s")
        try(net.unix_listen, at .. "/in/deeper/s")
        try(net.unix_listen, at .. "/s")
        try(net.unix_listen, at .. "/in/deeper/../t")
        try(net.unix_listen, at .. "/in")
        try(net.unix, "@s")
        try(net.unix, at .. "/in/none")
        local less = net.narrow{ allow_net = { "unix:" .. at .. "/in/s" } }
        print(table.concat(less.grants(), " "))
        try(less.unix_listen, at .. "/in/u")
        try(less.unix, at .. "/in/s")
        try(less.unix, at .. "/in/other")
      ]])
      local grant = "unix:" .. outside .. "/in/*"
      assert.same({
        "--allow-listen=" .. grant .. " --allow-net=" .. grant, "ok", "ok",
        "host_not_allowed", "host_not_allowed", "host_not_allowed", "host_not_allowed", "host_not_allowed",
        "host_not_allowed", "socket", "--allow-net=unix:" .. outside .. "/in/s", "host_not_allowed", "ok", "host_not_allowed",
      }, lines(got))
    end)

    it("is the directory that its name leads to, but a link in it leads nowhere", function()
      shell("ln -s in " .. outside .. "/link && ln -s ../s " .. outside .. "/in/away")
      local got = run({ "--allow-net=unix:AT/link/*,unix:AT/in/*", "--allow-listen=unix:AT/s,unix:AT/in/*" }, [[
        local inside, elsewhere = try(net.unix_listen, at .. "/in/s"), try(net.unix_listen, at .. "/s")
        try(net.unix, at .. "/link/s")
        try(net.unix, at .. "/link/away")
        try(net.unix, at .. "/in/away")
        try(net.unix_listen, at .. "/in/away")
        try(net.fetch, "http://x.test/", { unix = at .. "/in/away" })
        print(select(2, pcall(net.unix, at .. "/in/away")).message)
      ]])
      local said = lines(got)
      assert.truthy(table.remove(said):find("symbolic link, and only sockets in that directory are granted; --allow-net=unix:"
        .. outside .. "/in/away would allow it", 1, true))
      assert.same({ "ok", "ok", "ok", "host_not_allowed", "host_not_allowed", "socket", "host_not_allowed" }, said)
      -- A path that is named itself has what the machine has there.
      assert.same({ "ok", "ok" }, lines(run({ "--allow-net=unix:AT/in/away", "--allow-listen=unix:AT/s" }, [[
        local l = try(net.unix_listen, at .. "/s")
        try(net.unix, at .. "/in/away")
      ]])))
    end)

    it("can be denied, under every name that it has", function()
      shell("ln -s in " .. outside .. "/link")
      local got = run({ "--allow-net=unix:AT/in/*,unix:AT/link/*", "--allow-listen=unix:AT/in/*,unix:AT/link/*",
        "--deny-net=unix:AT/in/secret" }, [[
        local l = try(net.unix_listen, at .. "/in/s")
        try(net.unix, at .. "/link/s")
        try(net.unix_listen, at .. "/in/secret")
        try(net.unix_listen, at .. "/link/secret")
        try(net.unix, at .. "/link/secret")
        local less = net.narrow{ "--allow-net=unix:" .. at .. "/in/s,unix:" .. at .. "/link/s", "--deny-net=unix:" .. at .. "/link/*" }
        try(less.unix, at .. "/link/s")
        try(less.unix, at .. "/in/s")
      ]])
      assert.same({ "ok", "ok", "host_not_allowed", "address_not_allowed", "address_not_allowed",
        "host_not_allowed", "address_not_allowed" }, lines(got))
    end)

    it("is a usage error with a star elsewhere", function()
      for _, path in ipairs{ "/run/*.sock", "/run/a*", "/run/**", "/run/*/*", "/*/x", "*", "run/*", "/run/../*" } do
        for _, flag in ipairs{ "--allow-net", "--allow-listen", "--deny-net" } do
          local message = fails.plainly("bad argument #1 to 'narrow'", net.narrow, { flag .. "=unix:" .. path })
          assert.truthy(message:find("unix:" .. path, 1, true), message)
        end
      end
    end)
  end)

  it("knows the process at the other end", function()
    local path = subject.unix("b")
    local p = peer.unix(subject.unix("a"), [[ local c = accept() c:receive("*l") c:close() ]])
    local s = net.unix(subject.unix("a"))
    local ids = process.start("sh -c 'id -u; id -g'")
    local uid, gid = tonumber(ids:line()), tonumber(ids:line())
    ids:rest()
    assert.same({ pid = tonumber(p.process.pid), uid = uid, gid = gid }, s.peer)
    s:send_all("\n")
    s:close()
    assert.is_nil(s.peer)
    p:finish()

    local l = net.unix_listen(path)
    local c = net.unix(path)
    local accepted = l:accept()
    -- Both ends are here.
    assert.same(c.peer, accepted.peer)
    assert.equal(uid, accepted.peer.uid)
    assert.is_nil(l.peer)
    assert.is_false(pcall(function() c.peer = {} end))
    accepted:close() c:close() l:close()
    local tcp = net.tcp_listen("127.0.0.1", 0)
    local one = net.tcp("127.0.0.1", tcp.local_port)
    assert.is_nil(one.peer)
    one:close() tcp:close()
  end)
end)
