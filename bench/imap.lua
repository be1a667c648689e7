-- 10,000 envelopes by ours and by Python's imaplib: `spec/support/servers lua5.4 bench/imap.lua [MESSAGES [ROUNDS]]`, with LUA_PATH and
-- LUA_CPATH as for specs. The sides take turns; the clock and the CPU of the client's process, and the median of the ratios. Ours also reads
-- what it fetches (imaplib hands out the lines). Then memory: a message of 100 MiB out of the mailbox into a function.
local servers = dofile(os.getenv("CASPIAN_SERVERS"))
local net = require("caspian.net").launch{ "--allow-net=127.0.0.1" }
local messages, rounds = tonumber(arg[1]) or 10000, tonumber(arg[2]) or 5

local function open()
  return assert(net.imap{ host = "127.0.0.1", port = servers.dovecot.imap, user = "bench", password = "s3cret", ca_bundle = servers.ca, timeout = 300 })
end

local PYTHON = ([[
import imaplib, os, ssl, time
context = ssl.create_default_context(cafile="%s")
m = imaplib.IMAP4("localhost", %d)
m.starttls(context)
m.login("bench", "s3cret")
m.select()
wall, cpu = time.monotonic(), time.process_time()
kind, data = m.uid("FETCH", "1:*", "(FLAGS ENVELOPE)")
print(time.monotonic() - wall, time.process_time() - cpu, len(data))
m.logout()
]]):format(servers.ca, servers.dovecot.imap)

local MAIL = "From: Somebody <somebody.%d@example.com>\r\nTo: A <a@example.com>, B <b@example.com>\r\nSubject: the message of number %d\r\n"
  .. "Date: Thu, 01 Jan 2026 12:00:00 +0100\r\nMessage-ID: <%d@example.com>\r\n\r\nhello\r\n"

local imap = open()
for at = 1, messages do assert(imap:append("INBOX", MAIL:format(at, at, at))) end
imap:close()

local path = os.tmpname()
local file = assert(io.open(path, "w"))
file:write(PYTHON)
file:close()

local function python()
  local pipe = assert(io.popen("python3 " .. path))
  local wall, cpu, count = pipe:read("*n", "*n", "*n")
  pipe:close()
  assert(count == messages)
  return wall, cpu
end

local function now()
  local clock = assert(io.open("/proc/uptime"))
  local seconds = clock:read("*n")
  clock:close()
  return seconds
end

local function ours()
  local session = open()
  session:select("INBOX")
  local wall, cpu = now(), os.clock()
  local found = assert(session:fetch("1:*", { "flags", "envelope" }))
  wall, cpu = now() - wall, os.clock() - cpu
  assert(#found == messages and found[messages].envelope.to[2].address == "b@example.com")
  session:close()
  return wall, cpu
end

local walls, cpus = {}, {}
python()
for round = 1, rounds do
  local wall, cpu = ours()
  local their_wall, their_cpu = python()
  walls[round], cpus[round] = their_wall / wall, their_cpu / cpu
  print(("ours %.3f s (CPU %.3f), imaplib %.3f s (CPU %.3f)"):format(wall, cpu, their_wall, their_cpu))
end
os.remove(path)
table.sort(walls)
table.sort(cpus)
print(("%d envelopes: x %.2f by the clock, x %.2f by CPU"):format(messages, walls[math.ceil(rounds / 2)], cpus[math.ceil(rounds / 2)]))

local function peak(word)
  for line in io.lines("/proc/self/status") do
    local kib = line:match("^" .. word .. ":%s*(%d+)")
    if kib then return tonumber(kib) end
  end
end

local session = open()
local left = 100 * 1024 * 1024
local line = ("x"):rep(1022) .. "\r\n"
local head = "Subject: large\r\n\r\n"
collectgarbage()
io.open("/proc/self/clear_refs", "w"):write("5"):close()
local before = peak("VmRSS")
local sent = false
assert(session:append("INBOX", function()
  if not sent then
    sent = true
    return head
  end
  left = left - #line
  return line
end, { size = #head + left }))
session:select("INBOX")
local bytes = 0
local newest = session.selected.uid_next - 1
session:fetch(newest, "BODY.PEEK[]", { into = function(piece) bytes = bytes + #piece end })
print(("%d MiB there and back: %.1f MiB over idle"):format(bytes // 1048576, (peak("VmHWM") - before) / 1024))
session:store(newest, "add", "\\Deleted")
session:expunge()
session:close()
