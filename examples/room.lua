-- A room for many at once, in one script and one thread: a page with a form, a session and a guard against forged requests; a WebSocket to
-- talk by; an event stream that tells who comes and goes. Tried out with a hundred visitors by: sh examples/room.sh
-- part of: room.sh
--
--   caspian-net --allow-listen=127.0.0.1:8080 examples/room.lua 8080
--
-- and then http://127.0.0.1:8080/ in two browsers.

local app = net.http.sammy{
  domain = "127.0.0.1",
  cookie_secure = false, -- on loopback there is no TLS; everywhere else leave it as it is
  csrf_guard = true,
}
local response = app.response

local talking, listening = {}, {} -- by WebSocket: a name; by event stream: true

local function escape(text)
  return (text:gsub("[&<>\"']", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }))
end

-- A visitor who does not read, or is gone, keeps nobody waiting: he is shown out.
local function tell(all, send, ...)
  for one in pairs(all) do
    if not pcall(one[send], one, ...) then
      all[one] = nil
      pcall(one.close, one)
    end
  end
end

local function count(what)
  local names = {}
  for _, name in pairs(talking) do names[#names + 1] = name end
  table.sort(names)
  tell(listening, "send", { event = "people", data = net.json.encode{ what = what, here = net.array(names) } })
end

app.handlers[#app.handlers + 1] = {
  before = function(_, transaction)
    transaction.response.csp["default-src"] = { "self" }
  end,
}

app:get("/", function(_, transaction)
  local who = transaction.session.who
  if not who then
    return response.html(200, [[
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>The door</title><link rel="stylesheet" href="/room.css"></head><body>
<h1>The door</h1>
<form method="post" action="/enter"><label>Your name <input name="who" id="who" autofocus></label> <button id="enter">Enter</button></form>
</body></html>
]])
  end
  return response.html(200, ([[
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>The room</title><link rel="stylesheet" href="/room.css"><script src="/room.js" defer></script></head><body>
<h1>The room</h1>
<p>You are <b id="me">%s</b>. Here: <span id="here">…</span></p>
<ol id="said"></ol>
<form id="say"><input id="line" autocomplete="off"> <button>Say</button></form>
<form method="post" action="/leave"><button id="leave">Leave</button></form>
</body></html>
]]):format(escape(who)))
end)

app:get("/favicon.ico", function() return response.empty(204) end) -- browsers ask for it

app:get("/room.css", function()
  return response.new(200, { content_type = "text/css; charset=utf-8" }, "body { font: 16px sans-serif; margin: 2em } #said { color: teal }\n")
end)

app:get("/room.js", function()
  return response.new(200, { content_type = "text/javascript; charset=utf-8" }, [[
const at = id => document.getElementById(id)
const show = text => at("said").appendChild(document.createElement("li")).textContent = text
new EventSource("/people").addEventListener("people", event => {
  const { here } = JSON.parse(event.data)
  at("here").textContent = here.join(", ")
})
const talk = new WebSocket(`ws://${location.host}/talk`)
talk.onmessage = event => show(event.data)
talk.onclose = () => show("(the room is closed)")
at("say").onsubmit = event => {
  event.preventDefault()
  talk.send(at("line").value)
  at("line").value = ""
}
]])
end)

app:post("/enter", function(request, transaction)
  local who = request.params.who
  if type(who) ~= "string" or who == "" or #who > 100 then return response.text(400, "A name has 1 to 100 bytes.\n") end
  transaction.session.who = who
  response.redirect.see_other("/")
end)

app:post("/leave", function(_, transaction)
  transaction.session = nil
  response.redirect.see_other("/")
end)

app:get("/people", function(request)
  local stream = request:events{ retry = 1, timeout = 1 }
  listening[stream] = true
  count("looks in")
end)

app:get("/talk", function(request, transaction)
  -- Browsers name the site whose page connects, and send the cookies of ours: other sites' pages stay outside.
  local origin = request.headers.origin
  if origin and origin ~= "http://" .. request.headers.host then return response.text(403, "not from here\n") end
  local who = transaction.session.who or "somebody"
  talking[request:websocket{ timeout = 1, max_message_bytes = 4096 }] = who
  count(who .. " comes in")
end)

local server = app:listen("127.0.0.1", tonumber((...)))
print(server.local_port)
io.stdout:flush()

while true do
  local everything = { server } ---@type any[]
  for one in pairs(talking) do everything[#everything + 1] = one end
  for one in pairs(listening) do everything[#everything + 1] = one end
  local ready = net.poll(everything, 15)
  if #ready == 0 then tell(listening, "comment", "still here") end -- proxies end connections that say nothing
  for _, one in ipairs(ready) do
    if one == server then
      local ok, request = pcall(server.accept, server, { timeout = 0 })
      ---@cast request caspian.net.Server_request?
      if ok and request then app:handle(request) end
    elseif talking[one] then
      local who = talking[one]
      local ok, text = pcall(one.recv, one, { timeout = 0 })
      local over = false
      if not ok then
        over = not text:is("timeout")
      elseif text then
        tell(talking, "send", who .. ": " .. text)
      else
        over = true
      end
      if over then
        talking[one] = nil
        pcall(one.close, one)
        count(who .. " leaves")
      end
    else
      listening[one] = nil -- its client is gone
    end
  end
end
