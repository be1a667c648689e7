-- 10,000 envelopes by ours and by Python's imaplib: `spec/support/servers lua5.4 bench/imap.lua [MESSAGES [ROUNDS]]`, with LUA_PATH and
-- LUA_CPATH as for specs. The sides take turns, each beginning without garbage; the clock and the CPU of the client's process, and the median of
-- the ratios. imaplib hands out lines, and ours are parsed: so there are two rows, "fetched", and "read", in which the script also looks at the
-- subject and the sender of each message, for which a user of imaplib parses the line. Then memory: a message of 100 MiB out of the mailbox
-- into a function.
local servers = dofile(os.getenv("CASPIAN_SERVERS"))
local net = require("caspian.net").launch{ "--allow-net=127.0.0.1" }
local messages, rounds = tonumber(arg[1]) or 10000, tonumber(arg[2]) or 5

local function open()
  return assert(net.imap{ host = "127.0.0.1", port = servers.dovecot.imap, user = "bench", password = "s3cret", ca_bundle = servers.ca, timeout = 300 })
end

local PYTHON = ([==[
import email.header, imaplib, re, ssl, time
context = ssl.create_default_context(cafile="%s")
m = imaplib.IMAP4("localhost", %d)
m.starttls(context)
m.login("bench", "s3cret")
m.select()

TOKEN = re.compile(rb'[()]|"(?:[^"\\]|\\.)*"|[^\s()"]+')

def parsed(line):
    stack = [[]]
    for token in TOKEN.findall(line):
        if token == b"(":
            stack.append([])
        elif token == b")":
            done = stack.pop()
            stack[-1].append(done)
        elif token[:1] == b'"':
            stack[-1].append(token[1:-1].replace(b"\\", b""))
        else:
            stack[-1].append(None if token == b"NIL" else token)
    items = stack[0][1]
    return dict(zip(items[::2], items[1::2]))

def decoded(text):
    text = text.decode()
    return str(email.header.make_header(email.header.decode_header(text))) if "=?" in text else text

def read(line):
    envelope = parsed(line)[b"ENVELOPE"]
    sender = envelope[2][0]
    return len(decoded(envelope[1])) + len(sender[2] + b"@" + sender[3])

wall, cpu = time.monotonic(), time.process_time()
kind, data = m.uid("FETCH", "1:*", "(FLAGS ENVELOPE)")
fetched = time.monotonic() - wall, time.process_time() - cpu
letters = sum(read(line) for line in data)
print(*fetched, time.monotonic() - wall, time.process_time() - cpu, len(data), letters)
m.logout()
]==]):format(servers.ca, servers.dovecot.imap)

local MAIL = "From: Somebody <somebody.%d@example.com>\r\nTo: A <a@example.com>, B <b@example.com>\r\nSubject: the message of number %d\r\n"
  .. "Date: Thu, 01 Jan 2026 12:00:00 +0100\r\nMessage-ID: <%d@example.com>\r\n\r\nhello\r\n"

local imap = open()
for at = 1, messages do assert(imap:append("INBOX", MAIL:format(at, at, at))) end
imap:close()

local path = os.tmpname()
local file = assert(io.open(path, "w"))
file:write(PYTHON)
file:close()

--- Seconds of each side: fetched, by the clock and by CPU, and read.
local function python()
  local pipe = assert(io.popen("python3 " .. path))
  local wall, cpu, read_wall, read_cpu, count, letters = pipe:read("*n", "*n", "*n", "*n", "*n", "*n")
  pipe:close()
  assert(count == messages)
  return { wall, cpu, read_wall, read_cpu }, letters
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
  collectgarbage()
  collectgarbage()
  local wall, cpu = now(), os.clock()
  local found = assert(session:fetch("1:*", { "flags", "envelope" }))
  local seconds = { now() - wall, os.clock() - cpu }
  local letters = 0
  for at = 1, #found do
    local envelope = found[at].envelope
    letters = letters + #envelope.subject + #envelope.from[1].address
  end
  seconds[3], seconds[4] = now() - wall, os.clock() - cpu
  assert(#found == messages and found[messages].envelope.to[2].address == "b@example.com")
  session:close()
  return seconds, letters
end

local ratios = { {}, {}, {}, {} }
python()
for round = 1, rounds do
  local own, letters = ours()
  local their, same = python()
  assert(letters == same)
  for at = 1, 4 do ratios[at][round] = their[at] / own[at] end
  print(("fetched: ours %.3f s (CPU %.3f), imaplib %.3f s (CPU %.3f); read: ours %.3f s (CPU %.3f), imaplib %.3f s (CPU %.3f)"):format(
    own[1], own[2], their[1], their[2], own[3], own[4], their[3], their[4]))
end
os.remove(path)
for at = 1, 4 do table.sort(ratios[at]) end
local middle = math.ceil(rounds / 2)
for at, word in pairs{ "fetched", [3] = "read" } do
  print(("%d envelopes %s: x %.2f by the clock, x %.2f by CPU"):format(messages, word, ratios[at][middle], ratios[at + 1][middle]))
end

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
