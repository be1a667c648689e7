-- Sends a mail with a file attached, and says who gets it.
-- Tried out, with a mail server that is started beside it, by: sh examples/mail.sh
-- part of: mail.sh
--
--   MAIL_PASSWORD=… caspian-net --allow-net=mail.example.com --allow-fs=. --allow-env=MAIL_PASSWORD examples/mail.lua \
--     mail.example.com 587 ann ann@example.com bob@example.com report.pdf
local host, port, user, from, to, path, ca = ...
if not (net and path) then
  print("usage: caspian-net --allow-net=HOST --allow-fs=DIR --allow-env=MAIL_PASSWORD examples/mail.lua HOST PORT USER FROM TO FILE [CA]")
  os.exit(2)
end

-- STARTTLS, or nothing: the password goes out over TLS only.
local mail <close> = assert(net.smtp{
  host = host, port = tonumber(port), user = user, password = os.getenv("MAIL_PASSWORD"), ca_bundle = ca,
})
local outcome = mail:send{
  from = from, to = to, subject = "Here is " .. path:match("[^/]+$"),
  body = "Hello,\n\nthe file that you asked for.\n",
  body_html = "<p>Hello,</p><p>the file that <em>you</em> asked for.</p>",
  attachments = { { path = path } }, -- streamed, however large it is
}
for _, address in ipairs(outcome.accepted) do print("sent to " .. address) end
for address, refusal in pairs(outcome.refused) do print("not sent to " .. address .. ": " .. tostring(refusal)) end
if not outcome.ok then os.exit(1) end
