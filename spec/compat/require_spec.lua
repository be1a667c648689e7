-- Modules of the drop-in that are loaded afresh, over other modules than its own: by a caller that gives the loader an
-- environment with another `require`, as cosock's asyncify does, and by one that swaps what stands in `package.loaded`.

local peer = require("spec.support.peer")
local rows = require("spec.support.rows")
local subject = require("spec.support.subject")
local wire = require("spec.support.wire")

--- Gives a loader an environment, by its function or its `_ENV`.
local function enclose(loader, env)
  if setfenv then return setfenv(loader, env) end -- luacheck: ignore
  local at, name = 0
  repeat
    at = at + 1
    name = debug.getupvalue(loader, at)
  until name == "_ENV" or name == nil
  assert(name, "a loader without an environment")
  return debug.setupvalue(loader, at, env) and loader
end

--- A `require` as asyncify makes it: each module is loaded once more over `given`, and what is native is shared.
local function asyncified(package, given)
  local loaded, env = {}, nil
  local function required(name)
    if given[name] then return given[name] end
    if loaded[name] == nil then loaded[name] = enclose(assert(package.preload[name], name), env)(name) end
    return loaded[name]
  end
  env = setmetatable({ require = required }, { __index = _G })
  return required
end

--- A `socket` whose objects yield to their scheduler where those of `socket` would wait; and `run(functions)`.
local function cooperative(socket)
  local methods, M = {}, {}
  for name, value in pairs(socket) do M[name] = value end
  local object = {
    __index = function(_, name)
      return methods[name] or function(self, ...)
        while true do
          local results = { self.inner[name](self.inner, ...) }
          local why = results[2]
          if results[1] or why ~= "timeout" and why ~= "Operation already in progress" then
            return results[1], why, results[3]
          end
          coroutine.yield(self.inner, name == "receive")
        end
      end
    end,
  }
  function methods.settimeout() return 1 end
  function M.tcp()
    local inner = socket.tcp()
    inner:settimeout(0)
    M.made = (M.made or 0) + 1
    return setmetatable({ inner = inner }, object)
  end
  -- Lua 5.1 has no yield across pcall.
  function M.newtry() return function(...) return assert(...) end end
  function M.protect(f) return f end
  M.try = M.newtry()

  function M.run(functions)
    local threads, results = {}, {}
    for i, f in ipairs(functions) do threads[i] = coroutine.create(f) end
    for _ = 1, 1000 do
      local readers, writers, alive = {}, {}, false
      for i, thread in ipairs(threads) do
        if coroutine.status(thread) ~= "dead" then
          local ok, sock, reads = coroutine.resume(thread)
          assert(ok, sock)
          if coroutine.status(thread) == "dead" then
            results[i] = sock
          else
            alive = true
            table.insert(reads and readers or writers, sock)
          end
        end
      end
      if not alive then return results end
      socket.select(readers, writers, 10)
    end
    error("no end")
  end
  return M
end

--- A server that answers nobody before three have asked: with sockets that block, the first one waits for ever.
local three = [[
  local all, paths = {}, {}
  for i = 1, 3 do all[i] = accept() paths[i] = head(all[i])[1]:match(" (%S+) ") end
  for i = 1, 3 do all[i]:send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" .. paths[i]) all[i]:close() end
]]

describe("drop-in: loaded afresh", function()
  wire.watch(before_each, after_each)

  local net = subject.net

  it("has the sockets of the environment's require: three requests at a time", function()
    local import, package = rows.install(net)
    local socket = cooperative(import("socket"))
    local http = asyncified(package, { socket = socket })("socket.http")
    http.TIMEOUT = 3
    local p = peer.tcp(three)
    local gets = {}
    for i = 1, 3 do
      gets[i] = function() return (http.request("http://127.0.0.1:" .. p.port .. "/" .. i)) end
    end
    assert.same({ "/1", "/2", "/3" }, socket.run(gets))
    assert.equal(3, socket.made)
    p:finish()
  end)

  it("is a module of its own, and the installation's stays as it is", function()
    local import, package = rows.install(net)
    local own, socket = import("socket.http"), cooperative(import("socket"))
    local required = asyncified(package, { socket = socket })
    local http = required("socket.http")
    assert.are_not.equal(own, http)
    assert.equal(http, socket.http)
    assert.equal(own, import("socket").http)
    http.TIMEOUT = 1
    assert.equal(60, own.TIMEOUT)
    assert.equal("LTN12 1.0.3", required("ltn12")._VERSION)
    -- What is native is one.
    assert.equal(import("ssl.core"), required("ssl.core"))
    assert.equal(import("socket.unix"), required("socket.unix"))
  end)

  it("reaches through ssl.https and socket.smtp to the sockets beneath", function()
    local import, package = rows.install(net)
    local asked = {}
    local socket = cooperative(import("socket"))
    function socket.tcp()
      return {
        settimeout = function() return 1 end, close = function() return 1 end,
        connect = function(_, host, port)
          asked[#asked + 1] = host .. ":" .. port
          return nil, "ours"
        end,
      }
    end
    socket.newtry, socket.protect, socket.try = import("socket").newtry, import("socket").protect, import("socket").try
    local required = asyncified(package, { socket = socket })
    assert.same({ nil, "ours" }, { required("ssl.https").request("https://one.test/") })
    assert.same({ nil, "ours" }, { required("socket.http").request("https://two.test/") })
    assert.same({ nil, "ours" }, { required("socket.smtp").send{ from = "<a@b>", rcpt = "<c@d>", source = function() end, server = "three.test" } })
    assert.same({ nil, "ours" }, { required("socket.ftp").get("ftp://four.test/x") })
    assert.same({ "one.test:443", "two.test:443", "three.test:25", "four.test:21" }, asked)
  end)

  it("is one with the installation's while nothing is swapped", function()
    local import, package = rows.install(net)
    for _, name in ipairs{ "socket", "socket.core", "socket.http", "socket.url", "ltn12", "mime", "ssl.https" } do
      if package.loaded[name] == nil then package.loaded[name] = package.preload[name](name) end
    end
    for name, module in pairs(package.loaded) do assert.equal(import(name), module, name) end
    assert.equal(package.loaded["socket.http"], package.loaded["socket"].http)
    assert.equal(package.loaded["socket.url"], package.loaded["socket"].url)
    -- Loaded once more it takes the field, as with the original.
    package.loaded["socket.url"] = nil
    local url = package.preload["socket.url"]("socket.url")
    assert.equal(url, package.loaded["socket"].url)
    assert.are_not.equal(import("socket.url"), url)
  end)

  it("is over what stands in package.loaded", function()
    local import, package = rows.install(net)
    local function required(name)
      if package.loaded[name] == nil then package.loaded[name] = package.preload[name](name) end
      return package.loaded[name]
    end
    local own = required("socket.http")
    local fake = cooperative(import("socket"))
    function fake.tcp() return nil, "swapped" end
    fake.newtry, fake.protect, fake.try = import("socket").newtry, import("socket").protect, import("socket").try
    package.loaded["socket"], package.loaded["socket.http"] = fake, nil
    local http = required("socket.http")
    -- It stays so when the program has put the module back.
    package.loaded["socket"] = import("socket")
    assert.same({ nil, "swapped" }, { http.request("http://127.0.0.1/") })
    assert.are_not.equal("swapped", select(2, own.request("http://127.0.0.1:1/")))
    -- And asked for once more, it is a new one.
    own.TIMEOUT, package.loaded["socket.http"] = 1, nil
    assert.equal(60, required("socket.http").TIMEOUT)
    package.loaded["socket"] = nil
    assert.equal(import("socket"), required("socket"))
  end)

  it("has no more network than its installation, nor another's", function()
    local nothing, package = rows.install(net.narrow{ allow_net = { "nowhere.test" } })
    local required = asyncified(package, { socket = nothing("socket") })
    local _, why = required("socket.http").request("http://127.0.0.1:1/")
    assert.truthy(why:find("host not allowed", 1, true), why)
    -- Who holds a module of the first installation keeps its sockets when there is a second one.
    local first = package.preload["socket.http"]("socket.http")
    require("caspian.net.compat").install(net, package)
    _, why = first.request("https://127.0.0.1:1/")
    assert.truthy(why:find("host not allowed", 1, true), why)
  end)

  it("tells what the environment's require raises", function()
    local _, package = rows.install(net)
    local load = enclose(package.preload["socket.http"], { require = function(name) error("no " .. name, 0) end })
    local ok, why = pcall(load, "socket.http")
    assert.is_false(ok)
    assert.equal("no socket", why)
  end)
end)
