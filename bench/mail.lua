-- 1,000 small messages over one connection, ours and Python's smtplib in turns; by hand, after ./test module-lua54:
--
--   LUA_PATH="$PWD/lua/?.lua;;" LUA_CPATH="$PWD/target/modules/lua54/?.so;;" spec/support/servers lua5.4 bench/mail.lua [COUNT [ROUNDS]]
--
-- The server is postfix where it can be had (spec/support/postfix.sh), else aiosmtpd. Prints seconds, and the median of the ratios: above 1
-- is faster than smtplib.
local servers = dofile(os.getenv("CASPIAN_SERVERS"))
local net = require("caspian.net").launch{ "--allow-net=127.0.0.1" }
local count, rounds = tonumber(arg[1]) or 1000, tonumber(arg[2]) or 5
local port = servers.postfix and servers.postfix.narrow or servers.mail_files.mail

local function clock()
  local file = assert(io.open("/proc/uptime"))
  local seconds = file:read("n")
  file:close()
  return seconds
end

local function ours()
  local mail = assert(net.smtp{ host = "127.0.0.1", port = port, tls = false })
  local start = clock()
  for number = 1, count do
    assert(mail:send{ from = "ann@spec.test", to = "bob@spec.test", subject = "message " .. number, body = "a small message\n" }.ok)
  end
  local seconds = clock() - start
  mail:close()
  return seconds
end

local function theirs()
  local pipe = assert(io.popen(("python3 -B bench/mail.py %d %d"):format(port, count)))
  local seconds = assert(pipe:read("n"))
  pipe:close()
  return seconds
end

local ratios = {}
for round = 1, rounds do
  local a, b = ours(), theirs()
  ratios[round] = b / a
  print(("ours %.2f s, smtplib %.2f s: × %.2f"):format(a, b, b / a))
end
table.sort(ratios)
print(("× %.2f, the median of %d"):format(ratios[math.ceil(#ratios / 2)], #ratios))
