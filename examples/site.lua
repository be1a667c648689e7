-- A site with sessions: a form, a guard against forged requests, a page that knows who has come, files beside it.
-- Tried out, with curl for a browser, by: sh examples/site.sh
-- part of: site.sh
--
--   caspian-net --allow-listen=127.0.0.1:8080 --allow-fs=public examples/site.lua 8080 public

local port, public = ...
local app = net.http.sammy{
  domain = "127.0.0.1",
  cookie_secure = false, -- on loopback there is no TLS; everywhere else leave it as it is
  csrf_guard = true,
}
local response = app.response

local function escape(text)
  return (text:gsub("[&<>\"']", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }))
end

-- A handler around all routes: nothing of anybody else's runs in our pages.
app.handlers[#app.handlers + 1] = {
  before = function(_, transaction)
    transaction.response.csp["default-src"] = { "self" }
    transaction.response.csp["form-action"] = { "self" }
  end,
}

app:get("/", function(_, transaction)
  local who = transaction.session.who
  return response.html(200, [[
<!DOCTYPE html>
<html lang="en"><head><title>Who is it?</title><link rel="stylesheet" href="/style.css"></head><body>
<p>]] .. (who and "Hello, " .. escape(who) .. "!" or "Who are you?") .. [[</p>
<form method="post" action="/who"><input name="who"><button>That is me</button></form>
</body></html>
]])
end)

app:post("/who", function(request, transaction)
  local who = request.params.who
  if not who or who == "" or #who > 100 then return response.text(400, "A name has 1 to 100 bytes.\n") end
  transaction.session.who = who
  response.redirect.see_other("/")
end)

app:post("/leave", function(_, transaction)
  transaction.session = nil
  response.redirect.see_other("/")
end)

app:static(public)
local server = app:listen("127.0.0.1", tonumber(port))
print(server.local_port)
io.stdout:flush()
app:run()
