-- A server for examples/api.lua: a login that sets a cookie, a page for those who have it, and a stream of events that
-- breaks off after every two.
-- part of: api.sh

local server = net.http.server("127.0.0.1", 0)
print(server.local_port)
io.stdout:flush()

local pages = {}

pages["/login"] = function(request)
  if not request.headers.authorization then
    return { status = 401, headers = { ["WWW-Authenticate"] = 'Basic realm="api"' } }
  end
  return { status = 204, headers = { ["Set-Cookie"] = "session=1; Path=/; HttpOnly; Max-Age=3600" } }
end

pages["/me"] = function(request)
  if request.cookies.session ~= "1" then return { status = 403, body = "who are you?\n" } end
  return "you are logged in\n"
end

pages["/events"] = function(request)
  local last = tonumber(request.headers["last-event-id"]) or 0
  if last >= 4 then return { status = 204 } end
  local stream = request:events{ retry = 0.1 }
  for id = last + 1, last + 2 do stream:send{ id = tostring(id), data = "tick " .. id } end
  stream:close()
end

server:run(function(request)
  local page = pages[request.path]
  if not page then return { status = 404 } end
  return page(request)
end)
