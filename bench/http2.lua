-- bench/http2.lua WHAT VERSION COUNT: requests over TLS to nginx, by HTTP/1.1 (`1`) or HTTP/2 (`2`). bench/http2 starts it.
--   get     one after the other, each 6 bytes
--   all     by `fetch_all`, each answered after 20 ms; prints seconds of the clock and of the CPU
--   stream  one body of 3 MiB, COUNT times, in pieces; prints the same
--   large   the same of 256 MiB, which bench/http2 puts there
local what, version, count = arg[1], arg[2], tonumber(arg[3])
local servers = dofile(os.getenv("CASPIAN_SERVERS"))
local origin = "https://localhost:" .. (version == "2" and servers.h2 or servers.https)
local net = require("caspian.net").launch{ "--allow-net=localhost" }
local client = net.http.client.new{ ca_bundle = servers.ca, http2 = version == "2" }
local gettime = require("socket").gettime

local function timed(act)
  local clock, cpu = gettime(), os.clock()
  act()
  print(("%.4f %.4f"):format(gettime() - clock, os.clock() - cpu))
end

local kinds = {}
function kinds.get()
  for _ = 1, count do assert(#client:get(origin .. "/hello").body == 6) end
end
function kinds.all()
  local list = {}
  for index = 1, count do list[index] = origin .. "/soon" end
  timed(function()
    for _, response in ipairs(client:fetch_all(list)) do assert(response.body == "soon\n") end
  end)
end
local function stream(path, expected)
  client:get(origin .. "/hello")
  timed(function()
    for _ = 1, count do
      local size = 0
      for piece in client:get(origin .. path, { stream = true, max_body_bytes = 2 ^ 30 }):chunks() do size = size + #piece end
      assert(size == expected)
    end
  end)
end
function kinds.stream() stream("/files/3m", 3145731) end
function kinds.large() stream("/files/large", 268435456) end
kinds[what]()
