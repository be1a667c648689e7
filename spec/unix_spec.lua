-- Contract 4 and 2: Unix sockets, by path.

local fails = require("spec.support.fails")
local peer = require("spec.support.peer")
local subject = require("spec.support.subject")
local wire = require("spec.support.wire")

local net = subject.net

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
end)
