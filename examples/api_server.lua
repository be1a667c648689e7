-- A server for examples/api.lua: a login that sets a cookie, a page for those who have it, and a stream of events that
-- breaks off after every two.
-- part of: api.sh

local listener = net.tcp_listen("127.0.0.1", 0)
print(listener.local_port)
io.stdout:flush()

local function answer(client, status, fields, body)
  client:send_all(("HTTP/1.1 %s\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s"):format(status, fields, #body, body))
end

local pages = {}

function pages.login(client, fields)
  if not fields.authorization then
    return answer(client, "401 Unauthorized", 'WWW-Authenticate: Basic realm="api"\r\n', "")
  end
  answer(client, "204 No Content", "Set-Cookie: session=1; Path=/; HttpOnly; Max-Age=3600\r\n", "")
end

function pages.me(client, fields)
  if fields.cookie ~= "session=1" then return answer(client, "403 Forbidden", "", "who are you?\n") end
  answer(client, "200 OK", "", "you are logged in\n")
end

function pages.events(client, fields)
  local last = tonumber(fields["last-event-id"]) or 0
  if last >= 4 then return answer(client, "204 No Content", "", "") end
  client:send_all("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nretry: 100\n\n")
  for id = last + 1, last + 2 do client:send_all(("id: %d\ndata: tick %d\n\n"):format(id, id)) end
end

while true do
  local client <close> = listener:accept{ timeout = 60 }
  local path, fields = (client:recv_line() or ""):match("^%u+ /(%w+)"), {}
  for line in client:lines() do
    if line == "\r\n" then break end
    local name, value = line:match("^([^:]+): *(.-)\r\n$")
    if name then fields[name:lower()] = value end
  end
  pages[path](client, fields)
end
