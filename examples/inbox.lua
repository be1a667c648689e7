-- Reads an inbox: who wrote, what about, and what is attached. The password comes from the environment, and no other host can be reached.
--
--   MAIL_PASSWORD=… caspian-net --allow-net=imap.example.com:143 --allow-env=MAIL_PASSWORD examples/inbox.lua imap.example.com 143 ann
--
-- part of: imap.sh
local net = _ENV["%net"]
local host, port, user, ca = ...

local imap = assert(net.imap{ host = host, port = tonumber(port), user = user, password = os.getenv("MAIL_PASSWORD"), ca_bundle = ca })
local box = assert(imap:select("INBOX"))
print(box.exists .. " messages")

local unread = assert(imap:search{ unseen = true })
if #unread > 0 then
  for _, m in ipairs(assert(imap:fetch(unread, { "internal_date", "message" }))) do
    local message = m.message
    local from = message.from[1] or { address = "nobody" }
    print(("%d: %s <%s>: %s"):format(m.uid, from.name or "", from.address, message.subject or "(no subject)"))
    for _, part in ipairs(message.attachments) do print(("   %s, %s, %d bytes"):format(part.name or "?", part.type, #part.data)) end
  end
  assert(imap:store(unread, "add", "\\Seen", { silent = true }))
end
imap:close()
