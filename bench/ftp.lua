-- FTP against curl, by hand: `spec/support/servers lua5.4 bench/ftp.lua [MIB [ROUNDS]]`, with the module on LUA_CPATH. ProFTPD on
-- loopback, with TLS and without; a file down to nowhere, and up from memory. The sides take turns; what counts is the median of the ratios.

local net = require("caspian.net").launch{ "--allow-net=localhost" }
local servers = dofile((assert(os.getenv("CASPIAN_SERVERS"), "run it beside spec/support/servers")))
local mib, rounds = tonumber((...)) or 256, tonumber((select(2, ...))) or 5

local function run(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local function now() return tonumber(run("date +%s.%N")) end

local piece = ("0123456789abcde\n"):rep(16384) -- 256 KiB
local path = servers.dir .. "/large"
local file = assert(io.open(path, "wb"))
for _ = 1, mib * 4 do file:write(piece) end
file:close()

local ca
do
  local pem = assert(io.open(servers.ca, "rb"))
  ca = pem:read("*a")
  pem:close()
end

local function open(tls)
  return assert(net.ftp{
    host = "localhost", port = tls and servers.ftp.proftpd or servers.ftp.plain, tls = tls and "starttls" or false, insecure_auth = true,
    ca_bundle = tls and ca or nil, user = "user", password = "s3cret", timeout = 300,
  })
end

local ROWS = {
  { "download", function(ftp) assert(ftp:get("large", function() end) == mib * 1048576) end, "-o /dev/null %s/large", "speed_download" },
  { "upload", function(ftp)
    local left = mib * 4
    assert(ftp:put("up", function()
      left = left - 1
      if left >= 0 then return piece end
    end) == mib * 1048576)
  end, "-T " .. path .. " %s/up", "speed_upload" },
}

for _, tls in ipairs{ false, true } do
  local ftp = open(tls)
  local source = assert(io.open(path, "rb"))
  ftp:put("large", source)
  source:close()
  for _, row in ipairs(ROWS) do
    local ratios, ours, theirs = {}, {}, {}
    for at = 1, rounds do
      local start = now()
      row[2](ftp)
      ours[at] = mib / (now() - start)
      local url = ("ftp://user:s3cret@localhost:%d"):format(tls and servers.ftp.proftpd or servers.ftp.plain)
      local said = run(("curl -sS %s -w '%%{%s}' %s"):format(tls and "--ssl-reqd --cacert " .. servers.ca or "", row[4], row[3]:format(url)))
      theirs[at] = tonumber((said:gsub(",", "."))) / 1048576
      ratios[at] = ours[at] / theirs[at]
    end
    for _, list in ipairs{ ratios, ours, theirs } do table.sort(list) end
    local middle = math.floor((rounds + 1) / 2)
    print(("%-8s %s: ours %5.0f MiB/s, curl %5.0f MiB/s, × %.2f"):format(row[1], tls and "TLS  " or "plain", ours[middle], theirs[middle],
      ratios[middle]))
  end
  ftp:delete("large")
  ftp:delete("up")
  ftp:close()
end
