-- Makes one connection by name through each function that takes a host, and says what came of it: "DOOR\tANSWER".
local host = ...
local url = "http://" .. host .. "/"
local opts = { timeout = 5 }

local function with(more)
  more.timeout = 5
  return more
end

local doors = {
  tcp = function() return net.tcp(host, 80, opts) end,
  ssl = function() return net.ssl(host, 443, opts) end,
  udp = function() return net.udp(host, 80, opts) end,
  send_to = function() return net.udp():send_to("x", host, 80, opts) end,
  fetch = function() return net.fetch(url, opts) end,
  fetch_port = function() return net.fetch("http://" .. host .. ":80/", opts) end,
  fetch_https = function() return net.fetch("https://" .. host .. "/", opts) end,
  client = function() return net.http.client.new():post(url, "x", opts) end,
  jail = function() return net.http.client.jail((host:gsub("%.$", ""))).fetch(url, opts) end,
  fetch_all = function()
    local found = net.fetch_all({ url }, opts)[1]
    if not found.status then error(found, 0) end
  end,
  stream = function() return net.fetch(url, with{ stream = true }) end,
  websocket = function() return net.websocket("ws://" .. host .. "/", opts) end,
  events = function() return net.events(url, with{ reconnect = false }):next() end,
  proxy = function() return net.fetch("http://127.0.0.1/", with{ proxy = "http://" .. host .. ":3128" }) end,
  socks_proxy = function() return net.fetch("http://127.0.0.1/", with{ proxy = "socks5://" .. host .. ":1080" }) end,
  through_socks5 = function() return net.fetch(url, with{ proxy = "socks5://127.0.0.1:1080" }) end,
  guard = function()
    local rule = { host = (host:gsub("%.$", "")), https_only = false }
    return net.http.guard{ allow_private = true, rules = rule }.fetch(url, opts)
  end,
  resolve = function() return net.resolve(host, opts) end,
}

--- The drop-in answers nil and words.
local function dropin(name, act)
  doors[name] = function()
    local done, why = act()
    if not done then error(tostring(why), 0) end
  end
end
local socket = require("socket")
dropin("socket.tcp", function() return socket.tcp():connect(host, 80) end)
dropin("socket.connect", function() return socket.connect(host, 80) end)
dropin("socket.udp", function() return socket.udp():setpeername(host, 80) end)
dropin("socket.bind", function() return socket.bind(host, 0) end)
dropin("socket.dns", function() return socket.dns.toip(host) end)
dropin("socket.http", function() return require("socket.http").request(url) end)
dropin("ssl.https", function() return require("ssl.https").request("https://" .. host .. "/") end)
dropin("socket.ftp", function() return require("socket.ftp").get("ftp://" .. host .. "/x") end)
dropin("socket.smtp", function()
  local smtp = require("socket.smtp")
  return smtp.send{ from = "<a@x.test>", rcpt = "<b@x.test>", source = smtp.message{ body = "x" }, server = host }
end)

local names = {}
for name in pairs(doors) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
  local done, err = pcall(doors[name])
  io.write(name, "\t", done and "done" or tostring(err), "\n")
  io.flush()
  io.read("*l")
end
