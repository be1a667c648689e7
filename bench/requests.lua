-- bench/requests.lua SIDE ROW COUNT: so many requests of one kind over one connection, by `ours` or by `luacurl` (Debian's Lua-cURL,
-- with lua-cjson). bench/instructions starts it.
local side, row, count = arg[1], arg[2], tonumber(arg[3])
local servers = dofile(os.getenv("CASPIAN_SERVERS"))
local origin = "http://127.0.0.1:" .. servers.http
local AGENT, ACCEPT, SENT = "bench", "application/json", { name = "caspian", list = { 1, 2.5, true } }
local kinds = {}

local function ours()
  local net = require("caspian.net").launch{ "--allow-net=127.0.0.1" }
  local plain = net.http.client.new()
  local client = net.http.client.new{ headers = { Accept = ACCEPT, ["X-Agent"] = AGENT }, timeout = 10 }
  local hello, json, echo = origin .. "/hello", origin .. "/json", origin .. "/echo"
  function kinds.get() return #plain:get(hello).body end
  function kinds.timeout() return #plain:get(hello, { timeout = 5 }).body end
  function kinds.header(index) return #plain:get(hello, { headers = { ["X-One"] = "id" .. index % 10 } }).body end
  function kinds.defaults() return #client:get(hello).body end
  function kinds.realistic(index)
    return #client:get(json, { headers = { ["X-One"] = "id" .. index % 10 } }):json().name
  end
  function kinds.post() return #client:post(echo, { body_json = SENT }):json().name end
end

local function luacurl()
  local curl, cjson = require("curl"), require("cjson")
  local pieces
  local function keep(piece)
    pieces[#pieces + 1] = piece
    return #piece
  end
  local handle = curl.easy_init()
  handle:setopt(curl.OPT_WRITEFUNCTION, keep)
  local function ask(path, timeout, headers, body)
    pieces = {}
    handle:setopt(curl.OPT_URL, origin .. path)
    if timeout then handle:setopt(curl.OPT_TIMEOUT, timeout) end
    if headers then handle:setopt(curl.OPT_HTTPHEADER, headers) end
    if body then handle:setopt(curl.OPT_POSTFIELDS, body) end
    assert(handle:perform() == 0)
    return table.concat(pieces)
  end
  local accept, agent = "Accept: " .. ACCEPT, "X-Agent: " .. AGENT
  function kinds.get() return #ask("/hello") end
  function kinds.timeout() return #ask("/hello", 5) end
  function kinds.header(index) return #ask("/hello", nil, { "X-One: id" .. index % 10 }) end
  function kinds.defaults() return #ask("/hello", 10, { accept, agent }) end
  function kinds.realistic(index)
    return #cjson.decode(ask("/json", 10, { accept, agent, "X-One: id" .. index % 10 })).name
  end
  function kinds.post()
    return #cjson.decode(ask("/echo", 10, { accept, agent, "Content-Type: application/json" }, cjson.encode(SENT))).name
  end
end

(side == "ours" and ours or luacurl)()
local kind = kinds[row]
for index = 1, count do assert(kind(index) > 0) end
