-- Waits for mail by IDLE, and prints what comes; ends after as many messages as it is told. Between them it costs nothing but a connection.
--
-- part of: imap.sh
local net = _ENV["%net"]
local host, port, user, ca, wanted = ...

local imap = assert(net.imap{ host = host, port = tonumber(port), user = user, password = os.getenv("MAIL_PASSWORD"), ca_bundle = ca })
local box = assert(imap:select("INBOX"))
local last = box.uid_next - 1
print("waiting")
io.stdout:flush()

local left = assert(tonumber(wanted), "COUNT is a number")
while left > 0 do
  -- In a program that waits for more than mail the client stands in net.poll beside its sockets, and `timeout` is 0 here.
  imap:idle{ timeout = 60 }
  for _, m in ipairs(assert(imap:fetch(last + 1 .. ":*", { "envelope" }))) do
    -- "n:*" is the last message also where n is beyond it.
    if m.uid > last then
      print("new: " .. (m.envelope.subject or "(no subject)"))
      last, left = m.uid, left - 1
    end
  end
end
imap:close()
