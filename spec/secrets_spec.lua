-- Contract 6: a secret is nowhere but where it is meant to be. Tokens are planted wherever a script can put one, calls end
-- in every way there is, and everything that they leave behind is searched: errors, the log, HAR, responses.

local child = require("spec.support.child")
local servers = require("spec.support.servers")

-- In an interpreter of its own, which has the log: `keep(what, f, …)` calls and remembers all that came of it.
local prelude = ([[
local http, other, dead, https = %q, %q, "http://127.0.0.1:1", %q
local key = [==[%s]==]
local proxy_port, socks_port = %d, %d
local log = os.tmpname()
local net = launch{ "--allow-net=127.0.0.1,localhost", "--net-log=" .. log }
local SECRETS = { "S3CRET", key:match("\n([%%w+/=]+)\n") }
local kept, count, leaks = {}, 0, {}
local function spell(value, seen, depth)
  if type(value) == "string" then return value end
  if type(value) ~= "table" or seen[value] or depth > 6 then return tostring(value) end
  seen[value] = true
  local parts = { tostring(value) }
  for k, v in next, value do parts[#parts + 1] = spell(k, seen, depth + 1) .. "=" .. spell(v, seen, depth + 1) end
  return table.concat(parts, "\n")
end
local function search(what, text)
  for _, secret in ipairs(SECRETS) do
    if text:find(secret, 1, true) or text:lower():find(secret:lower(), 1, true) then
      local at = text:lower():find(secret:lower(), 1, true)
      leaks[#leaks + 1] = what .. ": " .. text:sub(math.max(1, at - 80), at + 40):gsub("%%c", " ")
    end
  end
end
-- Base64 of "user:S3CRET" and of "S3CRET".
SECRETS[#SECRETS + 1] = "dXNlcjpTM0NSRVQ"
SECRETS[#SECRETS + 1] = "UzNDUkVU"
local function fields(r)
  if not r.status then return spell(r, {}, 0) .. tostring(r) end
  local copy = { r.status, r.reason, r.url, spell(r.redirect_chain, {}, 0), spell(r.headers, {}, 0), spell(r.raw_headers, {}, 0),
    tostring(r), spell(r.timings or {}, {}, 0) }
  return table.concat(copy, "\n")
end
local function keep(what, f, ...)
  local ok, value = pcall(f, ...)
  count = count + 1
  if not ok then search(what .. " (error)", spell(value, {}, 0)) return end
  -- Who asks for a URL with a token has it in the response's `url`.
  if type(value) == "table" and not tostring(value.url):find("?token", 1, true) then search(what .. " (response)", fields(value)) end
end
]]):format("http://127.0.0.1:" .. servers.http, "http://127.0.0.1:" .. servers.other, "https://127.0.0.1:" .. servers.https,
  io.open(servers.client.key):read("*a"), servers.proxy.http_login, servers.proxy.socks_login)

local code = [[
-- Where a secret is planted; `url` is where it goes.
local PLANTS = {
  bearer = function() return { auth = { bearer = "S3CRET" } } end,
  basic = function() return { auth = { user = "user", password = "S3CRET" } } end,
  digest = function() return { auth = { user = "user", password = "S3CRET", scheme = "digest" } } end,
  header = function() return { headers = { Authorization = "Token S3CRET", Cookie = "session=S3CRET" } } end,
  own_header = function() return { headers = { ["X-Api-Key"] = "S3CRET" } } end,
  cookie = function()
    local jar = net.http.jar()
    jar:set(http .. "/", "session=S3CRET; Path=/")
    return { cookies = jar }
  end,
  proxy = function() return { proxy = "http://user:S3CRET@127.0.0.1:" .. proxy_port } end,
  socks = function() return { proxy = "socks5://user:S3CRET@127.0.0.1:" .. socks_port } end,
  dead_proxy = function() return { proxy = "http://user:S3CRET@127.0.0.1:1" } end,
  dead_socks = function() return { proxy = "socks5h://user:S3CRET@127.0.0.1:1" } end,
  denied_proxy = function() return { proxy = "http://user:S3CRET@denied.test:1" } end,
  wrong_proxy = function() return { proxy = "gopher://user:S3CRET@127.0.0.1:1" } end,
  odd_proxy = function() return { proxy = "http://user:S3CRET@127.0.0.1:1/path" } end,
  proxy_auth = function() return { proxy = { url = "127.0.0.1:" .. proxy_port, auth = { "user", "S3CRET" }, tunnel = true } } end,
  proxy_digest = function()
    return { proxy = { url = "127.0.0.1:" .. proxy_port, auth = { "user", "S3CRET", scheme = "digest" } } }
  end,
  proxy_header = function()
    return { proxy = { url = "127.0.0.1:" .. proxy_port, headers = { ["Proxy-Authorization"] = "Bearer S3CRET" } } }
  end,
  odd_proxy_auth = function() return { proxy = { url = "127.0.0.1:1", auth = { "us:er", "S3CRET" } } } end,
  odd_proxy_header = function() return { proxy = { url = "127.0.0.1:1", headers = { ["X Y"] = "S3CRET" } } } end,
  odd_proxy_url = function() return { proxy = { url = { "S3CRET" } } } end,
  base = function() return { base_url = "http://user:S3CRET@127.0.0.1/" } end,
  key = function() return { client_key = key, client_cert = "no certificate" } end,
  bare_key = function() return { client_key = "S3CRET", client_cert = "/no.pem" } end,
  body = function() return { method = "POST", body = "S3CRET" } end,
  form = function() return { body_form = { password = "S3CRET" }, method = "POST" } end,
  bad_header = function() return { headers = { Authorization = "S3CRET\r\nX: y" } } end,
  bad_name = function() return { headers = { ["X Y"] = "S3CRET" } } end,
  bad_auth = function() return { auth = { user = "us:er", password = "S3CRET" } } end,
  bad_bearer = function() return { auth = { bearer = "S3CRET\n" } } end,
  odd_auth = function() return { auth = { "user", "S3CRET", extra = "S3CRET" } } end,
}
-- How a call ends.
local ENDS = {
  http .. "/hello", http .. "/status/404", http .. "/status/500", http .. "/redirect/302", http .. "/other/307", http .. "/loop",
  http .. "/basic", http .. "/cookies", http .. "/userinfo", http .. "/ungranted", http .. "/file", http .. "/nowhere",
  dead .. "/", https .. "/", "http://denied.test/", "http://127.0.0.1:0/", "ftp://127.0.0.1/", "http://no such host/",
  "http://user:S3CRET@127.0.0.1/", "http://user:S3CRET@denied.test:99999/", "https://S3CRET@127.0.0.1:1/",
  -- A query is where tokens are.
  dead .. "/?token=S3CRET", "http://denied.test/?token=S3CRET", https .. "/?token=S3CRET",
}
local client = net.http.client.new{ har = true, timeout = 5, max_redirects = 3 }
local jail = net.http.client.jail("127.0.0.1", "localhost")
for name, plant in pairs(PLANTS) do
  for _, url in ipairs(ENDS) do
    keep(name .. " " .. url, net.fetch, url, plant())
  end
  for _, url in ipairs{ http .. "/hello", http .. "/other/302", dead .. "/", http .. "/never" } do
    local opts = plant()
    opts.timeout = 0.3
    if not opts.proxy then keep("client " .. name, client.fetch, client, url, opts) end
    keep("jail " .. name, jail.fetch, url, opts)
  end
end
for _, url in ipairs{ "ws://127.0.0.1:1/?token=S3CRET", "ws://user:S3CRET@127.0.0.1:1/", "ws://denied.test/?token=S3CRET" } do
  keep("websocket", net.websocket, url, { headers = { Authorization = "S3CRET" } })
  keep("websocket", net.websocket, url, { proxy = "socks5://user:S3CRET@127.0.0.1:1" })
end
keep("events", net.events, dead .. "/?token=S3CRET", { headers = { Authorization = "S3CRET" } })
keep("events", net.events, http .. "/hello?token=S3CRET")
keep("fetch_all", function() return net.fetch_all{ { dead .. "/?token=S3CRET", auth = { bearer = "S3CRET" } } }[1] end)
for _, host in ipairs{ "user:S3CRET@127.0.0.1", "http://user:S3CRET@127.0.0.1/" } do
  for _, f in ipairs{ net.tcp, net.ssl, net.udp, net.allows } do keep("raw", f, host, 80) end
  keep("resolve", net.resolve, host)
  keep("narrow", net.narrow, { "--allow-net=" .. host })
  keep("jail", net.http.client.jail, host)
end
local tls = { cert = key, key = "S3CRET" }
keep("listen", net.tcp_listen, "127.0.0.1", 0, { tls = tls })
keep("ssl", net.ssl, "127.0.0.1", 1, { client_key = key, client_cert = key })
keep("ssl", net.ssl, "127.0.0.1", 1, { client_key = "S3CRET", client_cert = "/no.pem" })
if net.http.guard then
  local guard = net.http.guard{
    rules = { host = "127.0.0.1", https_only = false, ports = { tonumber(http:match("%d+$")), tonumber(other:match("%d+$")), 1 } },
    allow_private = true, follow_redirects = true, timeout = 5,
    middleware = function(ctx, next)
      ctx.req:header("Authorization", "Bearer S3CRET")
      ctx.req:set_url(ctx.req.url .. (ctx.req.url:find("?", 1, true) and "&" or "?") .. "key=S3CRET")
      return next()
    end,
  }
  for _, url in ipairs{ "/hello", "/status/500", "/redirect/302", "/other/302", "/loop", "/ungranted", "/file", "/userinfo" } do
    keep("guard " .. url, guard.fetch, http .. url)
  end
  keep("guard dead", guard.fetch, dead .. "/")
  keep("guard query", guard.fetch, "http://denied.test/?token=S3CRET")
  keep("guard userinfo", guard.fetch, "http://user:S3CRET@127.0.0.1/")
end

local har = client:har("json")
count = count + 1
-- The header is the client's own, and no secret by its name.
search("har", (har:gsub('"X%-Api%-Key","value":"S3CRET"', ""):gsub('"value":"S3CRET","name":"X%-Api%-Key"', "")))
local file = io.open(log)
local text = file:read("*a")
file:close()
os.remove(log)
for line in text:gmatch("[^\n]+") do search("log", line) count = count + 1 end
local _, lines = text:gsub("\n", "")
table.sort(leaks)
for i = 1, math.min(#leaks, 40) do print(leaks[i]) end
print(#leaks, count > 700, lines > 500, #har > 1000)]]

describe("secrets", function()
  it("are in no error, log line, HAR or response", function()
    assert.equal("0\ttrue\ttrue\ttrue", child.run(prelude .. code))
  end)
end)
