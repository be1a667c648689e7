-- A chat over a WebSocket: each line that is typed goes to everybody in the room, and what the others say is shown.
-- Tried out, with a server that is started beside it, by: sh examples/chat.sh
-- part of: chat.sh
--
--   caspian-net --allow-net=chat.example.org examples/chat.lua wss://chat.example.org/room
--
-- The keyboard cannot be waited for together with a socket, so news is shown between two lines; an empty line looks
-- for news, /quit ends it.

if not (net and ...) then
  print("usage: caspian-net --allow-net=HOST:PORT examples/chat.lua URL")
  os.exit(2)
end

local room <close> = net.websocket((...), { timeout = 10 })
print("in " .. room.url)

-- Shows what has been said; waits a moment for more. False once the server has said goodbye.
local function news()
  while #net.poll({ room }, 0.2) > 0 do
    local message = room:recv()
    if not message then
      print(("the server left: %d %s"):format(room.close_code, room.close_reason))
      return false
    end
    print(message)
  end
  return true
end

while news() do
  local line = io.read("l")
  if not line or line == "/quit" then
    print(room:close(1000, "bye") and "left" or "left, and nobody answered")
    break
  end
  if line ~= "" then
    room:send(line)
  end
end
