-- Contract 5: on_progress, progress, saving into files, HAR, and the log's line for each request.

local fails = require("spec.support.fails")
local net = require("spec.support.subject").net
local servers = require("spec.support.servers")
local wire = require("spec.support.wire")

local http, httpbin = "http://127.0.0.1:" .. servers.http, servers.httpbin

local read = require("spec.support.process").read

local mine
local function fresh(before_each, after_each)
  before_each(function() mine = net.narrow{ "--allow-net=127.0.0.1" } end)
  after_each(function() mine.revoke() mine = nil end)
  wire.watch(before_each, after_each)
end

-- A function for on_progress, and what it was told, by direction.
local function watch()
  local seen = { upload = {}, download = {} }
  return function(done, total, what)
    local list = seen[what]
    assert(#list == 0 or list[#list][1] <= done, "it went back")
    list[#list + 1] = { done, total }
  end, seen
end

local function last(list) return list[#list] or {} end

describe("on_progress", function()
  fresh(before_each, after_each)
  local size = #read(servers.dir .. "/files/1m")

  it("tells of a download", function()
    local f, seen = watch()
    local r = mine.fetch(http .. "/files/1m", { on_progress = f })
    assert.equal(size, #r.body)
    assert.is_true(#seen.download >= 2)
    assert.same({ size, size }, last(seen.download))
    assert.same({}, seen.upload)
  end)

  it("does not know what was not announced", function()
    local f, seen = watch()
    local r = mine.fetch(http .. "/chunked", { on_progress = f })
    assert.same({ #r.body, nil }, last(seen.download))
    f, seen = watch()
    mine.fetch(http .. "/empty", { on_progress = f })
    assert.equal(0, last(seen.download)[1])
    for _, stream in ipairs{ false, true } do
      f, seen = watch()
      r = mine.fetch(httpbin .. "/gzip", { on_progress = f, stream = stream })
      local body = stream and r.read() or r.body
      assert.same({ #body, nil }, last(seen.download))
    end
  end)

  it("tells of an upload, whatever it is made of", function()
    local body = ("x"):rep(1000000)
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(body)
    file:close()
    local pieces = { body:sub(1, 500000), body:sub(500001) }
    for _, given in ipairs{
      { body = body, total = #body }, { body_file = path, total = #body },
      { body = function() return table.remove(pieces, 1) end },
    } do
      local f, seen = watch()
      -- A narrowed capability reads no files.
      local client = (given.body_file and net or mine).http.client.new()
      local r = client:fetch(http .. "/upload/progress", {
        method = "PUT", body = given.body, body_file = given.body_file, on_progress = f,
      })
      client:close()
      assert.is_true(r.status < 300)
      assert.same({ #body, given.total }, last(seen.upload))
    end
    os.remove(path)
  end)

  it("tells of a stream as it is read", function()
    local f, seen = watch()
    local r = mine.fetch(http .. "/files/64k", { stream = true, on_progress = f })
    for _ in r:chunks() do end -- luacheck: ignore
    assert.same({ 65536, 65536 }, last(seen.download))
  end)

  it("tells of the end once, however the body is read", function()
    for _, how in ipairs{ "gathered", "chunks", "lines", "read", "save" } do
      local f, seen = watch()
      local file = how == "save" and assert(io.tmpfile()) or nil
      local r = mine.fetch(http .. "/files/64k", {
        on_progress = f, save = file, stream = how ~= "gathered" and how ~= "save",
      })
      if how == "chunks" then for _ in r:chunks() do end -- luacheck: ignore
      elseif how == "lines" then for _ in r:lines() do end -- luacheck: ignore
      elseif how == "read" then repeat until not r:read(1000) end
      local ends = 0
      for _, told in ipairs(seen.download) do if told[1] == told[2] then ends = ends + 1 end end
      assert.equal(1, ends, how)
      if file then file:close() end
    end
  end)

  it("may raise, and that ends the request", function()
    local ok, err = pcall(mine.fetch, http .. "/files/1m", { on_progress = function() error("enough", 0) end })
    assert.is_false(ok)
    assert.equal("enough", err)
    fails.plainly("on_progress must be a function", mine.fetch, http, { on_progress = 1 })
    fails.plainly("progress must be", mine.fetch, http, { progress = 1 })
  end)

  it("draws nothing where there is no terminal", function()
    assert.equal(size, #mine.fetch(http .. "/files/1m", { progress = true }).body)
  end)
end)

describe("saving", function()
  fresh(before_each, after_each)

  it("writes the body into an open file", function()
    local whole = read(servers.dir .. "/files/1m")
    for _, how in ipairs{ "option", "stream", "gathered" } do
      local file = assert(io.tmpfile())
      local f, seen = watch()
      local r = mine.fetch(http .. "/files/1m", {
        save = how == "option" and file or nil, stream = how == "stream", on_progress = f,
      })
      if how == "option" then
        assert.equal(#whole, r.saved)
        assert.is_nil(r.body)
      else
        assert.equal(#whole, r:save(file))
      end
      assert.same({ #whole, #whole }, last(seen.download))
      file:seek("set")
      assert.is_true(file:read("*a") == whole, how)
      file:close()
    end
  end)

  it("leaves the file alone where there is no success", function()
    local file = assert(io.tmpfile())
    local r = mine.fetch(http .. "/status/404", { save = file })
    assert.equal("status 404", r.body)
    assert.is_nil(r.saved)
    assert.equal(0, file:seek("end"))
    file:close()
  end)

  it("goes on where a download was cut", function()
    local whole = read(servers.dir .. "/files/1m")
    local file = assert(io.tmpfile())
    file:write(whole:sub(1, 1000))
    local r = mine.fetch(http .. "/files/1m", { save = file, headers = { Range = "bytes=1000-" } })
    assert.equal(206, r.status)
    assert.equal("bytes 1000-" .. #whole - 1 .. "/" .. #whole, r.headers["content-range"])
    file:seek("set")
    assert.is_true(file:read("*a") == whole)
    file:close()
  end)

  it("takes open files, and not any", function()
    local closed = assert(io.tmpfile())
    closed:close()
    fails.plainly("save is a closed file", mine.fetch, http, { save = closed })
    fails.plainly("save must be an open file or a path", mine.fetch, http, { save = 7 })
    fails.plainly("open file expected", mine.fetch(http .. "/hello").save, "/tmp/x")
    local file = assert(io.tmpfile())
    fails.plainly("exclude", mine.fetch, http, { save = file, stream = true })
    file:close()
    local dark = io.open("/dev/full", "wb")
    if dark then
      dark:setvbuf("no")
      local ok, err = pcall(mine.fetch, http .. "/files/64k", { save = dark })
      assert.is_false(ok)
      assert.truthy(tostring(err):find("save: ", 1, true), tostring(err))
      dark:close()
    end
  end)
end)

describe("HAR", function()
  fresh(before_each, after_each)

  it("has an entry per hop, and no secret", function()
    local client = mine.http.client.new{ har = true, headers = { Authorization = "Bearer s3cret", Cookie = "a=s3cret" } }
    client:get(http .. "/hello?a=b%20c&d")
    client:post(http .. "/redirect/307/echo", "body")
    client:get(http .. "/twice")
    pcall(client.get, client, "http://127.0.0.1:1/", { timeout = 2 })
    pcall(client.get, client, http .. "/never", { timeout = 0.2 })
    client:fetch_all{ http .. "/status/404" }
    local log = client:har().log
    assert.equal("1.2", log.version)
    assert.equal("caspian-net", log.creator.name)
    local seen = {}
    for i, entry in ipairs(log.entries) do seen[i] = entry.request.method .. " " .. entry.response.status end
    assert.same({ "GET 200", "POST 307", "POST 200", "GET 200", "GET 0", "GET 404" }, seen)
    local first = log.entries[1]
    assert.same({ { name = "a", value = "b c" }, { name = "d", value = "" } }, first.request.queryString)
    assert.truthy(first.startedDateTime:find("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$"))
    assert.equal("text/plain", first.response.content.mimeType)
    assert.equal(6, first.response.bodySize)
    assert.equal("/echo", log.entries[2].response.redirectURL)
    assert.equal(4, log.entries[3].request.bodySize)
    assert.truthy(log.entries[5]._error:find("network/timeout", 1, true))
    local text = client:har("json")
    assert.is_nil(text:find("s3cret", 1, true))
    assert.is_nil(text:find("a=1", 1, true))
    assert.truthy(text:find('"cookies":[]', 1, true))
    client:close()
  end)

  it("is asked for", function()
    local client = mine.http.client.new()
    fails.plainly("har = true", client.har, client)
    fails.plainly("har must be", mine.http.client.new, { har = 1 })
    fails.plainly("unknown option", mine.fetch, http, { har = true })
  end)
end)
