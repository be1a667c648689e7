-- A small server: HTTP/1.1 with keep-alive on one port, UDP echo on another; both ports are picked by the system.
-- Started, with the tour that calls it, by: sh examples/tour.sh
-- part of: tour.sh
--
--   caspian-net --allow-listen=127.0.0.1:0 --allow-net=127.0.0.1 examples/server.lua
--
-- Accepted connections need no outbound grant; datagrams do, also those that answer one: hence --allow-net.

local listener = net.tcp_listen("127.0.0.1", 0)
local echo = net.udp_listen("127.0.0.1", 0)
print(listener.local_port, echo.local_port)
io.stdout:flush()

-- "METHOD /path" → function(request): status, body, more header lines
local routes = {
  ["GET /"] = function()
    return "200 OK", "hello\n"
  end,
  ["GET /json"] = function()
    return "200 OK", '{"answer":42}', "Content-Type: application/json\r\n"
  end,
  ["POST /echo"] = function(request)
    return "200 OK", request.body
  end,
  ["GET /moved"] = function()
    return "302 Found", "", "Location: /\r\n"
  end,
  ["GET /away"] = function()
    return "302 Found", "", "Location: http://elsewhere.example/\r\n"
  end,
}

local function missing()
  return "404 Not Found", "no such page\n"
end

-- Reads one request; nil when the client is done. What it leaves in the socket's buffer, poll calls readable.
local function read_request(socket)
  local line = socket:recv_line()
  if not line then
    return nil
  end
  local method, path = line:match("^(%u+) (%S+) HTTP/1%.1\r\n$")
  if not method then
    error("not a request: " .. line)
  end
  local length = 0 ---@type number
  for field in socket:lines() do
    if field == "\r\n" then
      return { method = method, path = path, body = length > 0 and socket:recv_exact(length) or "" }
    end
    length = tonumber(field:lower():match("^content%-length: *(%d+)")) or length
  end
end

-- Answers one request; false when the connection is over.
local function serve(socket)
  socket.timeout = 5 -- one client that stalls holds up the others no longer than this
  local request = read_request(socket)
  if not request then
    return false
  end
  local status, body, more = (routes[request.method .. " " .. request.path] or missing)(request)
  socket:send_all(("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s"):format(status, #body, more or "", body))
  return true
end

local sockets = { listener, echo } ---@type any[]  and the clients
while true do
  for _, socket in ipairs((net.poll(sockets, math.huge))) do
    if socket == listener then
      sockets[#sockets + 1] = listener:accept()
    elseif socket == echo then
      local bytes, host, port = echo:recv_from(65535)
      echo:send_to(bytes, host, port)
    else
      local ok, more = pcall(serve, socket)
      if not ok then
        io.stderr:write("server: ", tostring(more), "\n")
      end
      if not (ok and more) then
        socket:close()
        for i, other in ipairs(sockets) do
          if other == socket then
            table.remove(sockets, i)
            break
          end
        end
      end
    end
  end
end
