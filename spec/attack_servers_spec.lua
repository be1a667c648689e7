-- The attacker in Lua at the doors of the server's side: odd values, wrong selves and functions that misbehave, for servers, the requests
-- that they hand out, Sammy's apps and `uds`.

local net = require("spec.support.subject").net
local oddities = require("spec.support.odd")
local wire = require("spec.support.wire")
local zoo = require("spec.support.zoo")

local unpack = table.unpack or unpack -- luacheck: ignore
local HERE = { "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }

--- Calls it, for no longer than a moment; what it raises is an error of ours or an ordinary one.
local function try(what, f, ...)
  local ok, value = pcall(net.within, 0.02, f, ...)
  assert(ok or type(value) == "string" or type(value) == "table" and value.is, what .. ": " .. tostring(value))
  return ok, value
end

--- Asks a server, and answers its request and the client's end.
local function asked(mine, server)
  local client = mine.tcp("127.0.0.1", server.local_port)
  client:send_all("POST /a?b=c HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")
  return server:accept(), client
end

describe("the server's side", function()
  local told = oddities.watch(before_each)
  wire.watch(before_each, after_each)

  it("refuses every other self", function()
    local values, done = zoo.open()
    local mine = net.narrow(HERE)
    local server = mine.http.server("127.0.0.1", 0)
    local request, client = asked(mine, server)
    for _, other in ipairs(zoo.others(values, server)) do
      for _, method in ipairs{ "accept", "requests", "run", "stop", "reload_tls" } do
        assert.is_false((try(method, server[method], other, print)), method)
      end
    end
    assert.is_false((try("accept", server.accept, request)))
    for _, object in ipairs{ server, request } do
      assert.is_false(getmetatable(object))
      assert.is_false(pcall(setmetatable, object, {}))
      assert.is_false(pcall(function() object.respond = print end))
      assert.is_false(pcall(function() object.method = "GET" end))
    end
    assert.equal("POST", request.method)
    assert.is_true(request:respond(204))
    assert.is_false(pcall(request.respond, request, 204), "once")
    client:close()
    done()
    mine.revoke()
  end)

  it("takes odd values in every place of a server's methods for wrong arguments", function()
    local mine = net.narrow(HERE)
    local server = mine.http.server("127.0.0.1", 0, { timeout = 0.01 })
    for index, odd in ipairs(oddities.values(net)) do
      try("accept " .. index, server.accept, server, odd)
      try("accept " .. index, server.accept, server, { timeout = odd })
      try("requests " .. index, function() for _ in server:requests(odd) do error("nobody asked") end end)
      try("run " .. index, server.run, server, odd)
      assert.is_false((try("reload_tls " .. index, server.reload_tls, server, odd)))
      assert.is_false((try("reload_tls " .. index, server.reload_tls, server, { cert = odd, key = odd })))
      assert.is_false((try("reload_tls " .. index, server.reload_tls, server, { { cert = odd }, odd })))
    end
    assert.equal(0, told())
    local request, client = asked(mine, server)
    assert.is_true(request:respond(200, nil, "still"))
    assert.equal("HTTP/1.1 200 OK\r\n", client:recv_line())
    client:close()
    mine.revoke()
  end)

  it("takes odd values in every place of a request's methods for wrong arguments, or answers", function()
    local mine = net.narrow(HERE)
    local server = mine.http.server("127.0.0.1", 0, { timeout = 5 })
    local acts = {
      function(request, odd) request:respond(odd) end,
      function(request, odd) request:respond(200, odd) end,
      function(request, odd) request:respond(200, nil, odd) end,
      function(request, odd) request:respond(200, { ["X-One"] = odd }) end,
      function(request, odd) request:respond(200, { ["X-One"] = { "a", odd } }) end,
      function(request, odd) if odd == odd then request:respond(200, { [odd] = "a" }) end end,
      function(request, odd) request:respond{ status = odd } end,
      function(request, odd) request:respond{ body_json = { odd } } end,
      function(request, odd) if type(odd) ~= "userdata" then request:respond{ body_file = odd } end end,
      function(request, odd) if odd == odd then request:respond{ [odd] = 1 } end end,
      function(request, odd) request:read(odd) end,
      -- Whatever has `write` is a file.
      function(request, odd) if type(odd) ~= "userdata" and not rawequal(odd, oddities.liar) then request:save(odd) end end,
      function(request, odd) request:events(odd) end,
      function(request, odd) local events = request:events() events:send(odd) end,
      function(request, odd) local events = request:events() events:send{ event = odd, data = odd, id = odd, retry = odd } end,
      function(request, odd) local events = request:events() events:comment(odd) end,
      function(request, odd) request:websocket(odd) end,
      function(request, odd) return request.text(odd), request.json(odd), request.form(odd), request.parts(odd) end,
      function(request, odd) return request[odd] end,
    }
    for number, act in ipairs(acts) do
      for index, odd in ipairs(oddities.values(net)) do
        local request, client = asked(mine, server)
        try(number .. " " .. index, act, request, odd)
        -- Whatever it did, the client gets one answer, or an end.
        pcall(request.respond, request, 204)
        request = nil -- luacheck: ignore
        local line = net.within(5, function() return client:recv_line() end)
        assert(line == nil or line:find("^HTTP/1%.1 %d%d%d "), number .. " " .. index .. ": " .. tostring(line))
        client:close()
      end
    end
    assert.equal(0, told())
    mine.revoke()
  end)

  it("takes odd values in every option for wrong arguments, or opens", function()
    local mine = net.narrow(HERE)
    local options = { "timeout", "backlog", "reuse_port", "tls", "max_head_bytes", "max_fields", "max_body_bytes", "max_memory_bytes",
      "spill", "head_timeout", "body_grace", "min_body_rate", "idle_timeout", "handshake_timeout", "drain_timeout", "max_connections",
      "max_requests", "http2", "log", "on_refused", "on_error" }
    for index, odd in ipairs(oddities.values(net)) do
      for _, option in ipairs(options) do
        local ok, server = try(option .. " " .. index, mine.http.server, "127.0.0.1", 0, { [option] = odd })
        if ok then server:close() end
      end
      for place = 1, 3 do
        local given = { "127.0.0.1", 0, {} }
        given[place] = odd
        local ok, server = try("server " .. place .. " " .. index, mine.http.server, unpack(given))
        if ok then server:close() end
      end
      assert.is_false((try("unix " .. index, mine.http.server, { unix = odd })))
    end
    assert.equal(0, told())
    mine.revoke()
  end)

  it("takes odd values in every place of Sammy and uds for wrong arguments, or makes an app", function()
    local mine = net.narrow(HERE)
    local sammy = mine.http.sammy
    local options = { "domain", "cookie_name", "cookie_secure", "cookie_samesite", "cookie_path", "cookie_max_age", "cookie_key",
      "auto_options", "csrf_guard", "on_error", "on_warning", "timeout", "max_body_bytes" }
    local routes = { "get", "post", "put", "delete", "patch", "options", "head", "all_methods" }
    for index, odd in ipairs(oddities.values(net)) do
      try("sammy " .. index, sammy, odd)
      assert.is_false((try("uds " .. index, mine.uds, odd)), index)
      for _, option in ipairs(options) do try(option .. " " .. index, sammy, { [option] = odd }) end
      for _, option in ipairs{ "path", "authenticate" } do
        local ok, uds = try(option .. " " .. index, mine.uds, { [option] = odd })
        -- A path that is not granted is refused where it is bound.
        if ok then assert.is_false((try("wait " .. index, uds.wait, uds))) end
        if ok then assert.is_false((try("wait " .. index, uds.wait, odd))) end
      end
      local app = sammy{ domain = "a.test" }
      for _, route in ipairs(routes) do
        try(route .. " " .. index, app[route], app, odd, print)
        try(route .. " " .. index, app[route], app, "/a", odd)
        try(route .. " " .. index, app[route], app, "/a", { csrf = odd }, print)
        assert.is_false((try(route .. " " .. index, app[route], odd, "/a", print)))
      end
      try("path " .. index, app.path, app, "/a", { methods = odd }, print)
      try("reject " .. index, app.reject, app, "/a", odd)
      -- Whatever has `open` is a directory.
      if not rawequal(odd, oddities.liar) then try("static " .. index, app.static, app, odd) end
      try("run " .. index, app.run, app, odd, odd, odd)
      for _, make in ipairs{ "new", "html", "json", "text", "empty" } do
        try(make .. " " .. index, sammy.response[make], odd)
        try(make .. " " .. index, sammy.response[make], 200, odd)
        try(make .. " " .. index, sammy.response[make], 200, { a = odd }, odd)
      end
      for _, way in ipairs{ "permanent", "temporary", "see_other" } do
        local ok = pcall(sammy.response.redirect[way], odd)
        assert.is_false(ok, "a redirect is raised, and so is a wrong argument")
      end
    end
    assert.equal(0, told())
    mine.revoke()
  end)
end)
