-- Contract 9: a server behind nginx and haproxy, which end TLS and keep connections to it: what the front reads and what the server
-- reads is the same request, or one of them refuses it. The table of hostile requests goes through both.

local net = require("spec.support.subject").net
local process = require("spec.support.process")
local servers = require("spec.support.servers")
local serving = require("spec.support.serving")
local subject = require("spec.support.subject")

-- The fronts are the same for all Luas.
if _VERSION ~= "Lua 5.4" then return end

--- Where the fronts listen: in the clear, over TLS, and, of nginx, where it reads a body whole before it passes it on.
local FRONT, SECURE, BUFFERED = subject.unix("a"), subject.unix("b"), subject.unix("c")

--- The requests of the table: { name, bytes }.
local function rows()
  local all = {}
  for line in io.lines("spec/data/hostile_requests.tsv") do
    local name, text = line:match("^%d+\t([^\t]*)\t(.*)$")
    if name then
      text = text:gsub("{(%d+)%*(.)}", function(count, byte) return byte:rep(tonumber(count)) end)
      text = text:gsub("\\(.)(%x?%x?)", function(escape, digits)
        if escape == "x" then return string.char(tonumber(digits, 16)) end
        return (({ r = "\r", n = "\n", t = "\t" })[escape] or escape) .. digits
      end)
      all[#all + 1] = { name = name, bytes = text }
    end
  end
  return all
end

--- nginx, with a log of what it asked the server: method, target and the server's status.
local function nginx(server, dir)
  local file = io.open(dir .. "/front.conf", "w")
  file:write(([[
daemon off; master_process off; pid %s/pid; error_log %s/error.log; worker_processes 1;
events {}
http {
  log_format asked '$request_method $request_uri $upstream_status';
  access_log %s/access.log asked;
  client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s; uwsgi_temp_path %s; scgi_temp_path %s;
  upstream app { server 127.0.0.1:%d; keepalive 4; }
  keepalive_timeout 1s; client_header_timeout 1s; client_body_timeout 1s; lingering_timeout 1s; proxy_read_timeout 10s;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
  server { listen unix:%s; location / { proxy_pass http://app; proxy_request_buffering off; } }
  server { listen unix:%s; location / { proxy_pass http://app; } }
  server { listen unix:%s ssl; ssl_certificate %s; ssl_certificate_key %s; location / { proxy_pass http://app; } }
}
]]):format(dir, dir, dir, dir, dir, dir, dir, dir, server.local_port, FRONT, BUFFERED, SECURE, servers.server.cert, servers.server.key))
  file:close()
  return process.start("sh -c " .. process.quote("PATH=$PATH:/usr/sbin; exec nginx -e " .. dir .. "/error.log -c " .. dir .. "/front.conf >/dev/null 2>&1"))
end

local function haproxy(server, dir)
  os.execute(("cat %s %s >%s/both.pem"):format(servers.server.cert, servers.server.key, dir))
  local file = io.open(dir .. "/front.cfg", "w")
  file:write(([[
global
  log stdout format raw local0
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 2s
  timeout http-request 1s
  timeout http-keep-alive 1s
  timeout server 5s
  log global
  log-format "asked %%HM %%HU %%ST"
frontend plain
  bind unix@%s
  default_backend app
frontend secure
  bind unix@%s ssl crt %s/both.pem
  default_backend app
backend app
  server app 127.0.0.1:%d
]]):format(FRONT, SECURE, dir, server.local_port))
  file:close()
  return process.start("sh -c " .. process.quote("PATH=$PATH:/usr/sbin; exec haproxy -f " .. dir .. "/front.cfg >" .. dir .. "/access.log 2>&1"))
end

for name, start in pairs{ nginx = nginx, haproxy = haproxy } do
  describe("http server behind " .. name, function()
    local server, dir, refused
    serving.watch(before_each, after_each)

    before_each(function()
      dir = os.tmpname()
      os.remove(dir)
      os.execute("mkdir " .. dir)
      refused = {}
      local _
      _, server = serving.open{ on_refused = function(info) refused[#refused + 1] = info.reason end }
      start(server, dir)
      local ended = os.time() + 10
      local ok, err
      repeat
        ok, err = pcall(function() net.unix(SECURE):close() end)
      until ok or os.time() > ended
      assert(ok, tostring(err))
    end)
    after_each(function()
      os.execute("rm -r " .. dir)
      for _, path in ipairs{ FRONT, SECURE, BUFFERED } do os.remove(path) end
    end)

    it("is proxied, kept alive, and TLS ends in front", function()
      local seen = {}
      local function handler(request)
        seen[#seen + 1] = request
        return { body = request.method .. " " .. request.path .. " " .. (request:read() or "") }
      end
      local path = process.file(("x"):rep(100000))
      local text = serving.beside(server, ("for at in 1 2 3 4 5; do curl -s --unix-socket %s http://front/$at; done; "
        .. "curl -s --cacert %s --unix-socket %s -d body https://localhost/6; "
        .. "curl -s --unix-socket %s -H 'Transfer-Encoding: chunked' -T %s http://front/7 | wc -c"):format(FRONT, servers.ca, SECURE, FRONT, path), handler)
      assert.equal("GET /1 GET /2 GET /3 GET /4 GET /5 POST /6 body100007\n", text)
      assert.equal(7, #seen)
      -- One connection was enough.
      local ports, count = {}, 0
      for _, request in ipairs(seen) do
        if not ports[request.remote_port] then ports[request.remote_port], count = true, count + 1 end
      end
      assert.truthy(count <= 2, count)
      os.remove(path)
    end)

    it("reads no request that the front has not read", function()
      local asked = {}
      local function handle(request)
        request:read()
        asked[#asked + 1] = request.method .. " " .. request.target
        request:respond(200, nil, "ok")
      end
      local doors = name == "nginx" and { FRONT, BUFFERED } or { FRONT }
      for _, door in ipairs(doors) do
        -- All at once: the front mixes them on the connections that it keeps.
        local open, count = { server }, 0
        for _, row in ipairs(rows()) do
          local client = net.unix(door, { timeout = 5 })
          pcall(client.send_all, client, row.bytes)
          open[#open + 1], count = client, count + 1
        end
        local ended = os.time() + 60
        while count > 0 do
          assert(os.time() < ended, count .. " wait for the front")
          local ready = {}
          for _, each in ipairs((net.poll(open, 1))) do ready[each] = true end
          local still = { server }
          for _, each in ipairs(open) do
            local over
            if ready[each] and each == server then
              local ok, request = pcall(server.accept, server, { timeout = 0 })
              if ok then handle(request) end
            elseif ready[each] then
              local ok, bytes = pcall(each.recv, each, 65536, { timeout = 0 })
              over = ok and not bytes or not ok and not bytes:is("timeout")
            end
            if over then
              each:close()
              count = count - 1
            elseif each ~= server then
              still[#still + 1] = each
            end
          end
          open = still
        end
      end
      for _ = 1, 20 do
        local ok, request = pcall(server.accept, server, { timeout = 0.02 })
        if ok then handle(request) end
      end
      -- What the front says it has asked for, and what we were asked, is the same list: a request more would be a smuggled one.
      local told
      local ended = os.time() + 10
      repeat
        told = {}
        for line in io.lines(dir .. "/access.log") do
          local method, target, status = line:match("^(%S+) (%S+) ([%d, ]+)$")
          if name == "haproxy" then method, target, status = line:match("^asked (%S+) (%S+) (%d+)$") end
          if method and (name == "nginx" or status == "200") then
            for each in status:gmatch("%d+") do told[#told + 1] = { method .. " " .. target, each } end
          end
        end
      until #told >= #asked or os.time() > ended
      local fronts = {}
      for _, each in ipairs(told) do
        if each[2] == "200" then fronts[#fronts + 1] = each[1] end
      end
      table.sort(fronts)
      table.sort(asked)
      assert.equal(#fronts, #asked)
      local methods = {}
      for at, each in ipairs(asked) do
        -- The front may write a target in another form, which begins alike.
        if each:match("^%S+") ~= fronts[at]:match("^%S+") then methods[#methods + 1] = each .. " as " .. fronts[at] end
      end
      assert.same({}, methods)
      assert.truthy(#asked > 20)
    end)
  end)
end
