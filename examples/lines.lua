-- Many connections in one loop: a server that says each line again in capitals, and two clients that talk in halves.
-- flags: --allow-listen=127.0.0.1:0 --allow-net=127.0.0.1

local listener <close> = net.tcp_listen("127.0.0.1", 0)
local sockets = { listener } ---@type any[]  and its clients

local function leave(client)
  for i, one in ipairs(sockets) do
    if one == client then table.remove(sockets, i) end
  end
  client:close()
end

-- One turn: sleeps until somebody has something to say. Half a line waits for the rest, asleep.
local function turn()
  for _, socket in ipairs((net.poll(sockets, 10))) do
    if socket == listener then
      table.insert(sockets, listener:accept())
    else
      local ok, line = pcall(socket.recv_line, socket, { timeout = 0 })
      if not ok then
        if not line:is("timeout") then leave(socket) end -- after a timeout half a line waits for the rest
      elseif line then
        socket:send_all(line:upper())
      else
        leave(socket)
      end
    end
  end
end

local ann, bob = net.tcp("127.0.0.1", listener.local_port), net.tcp("127.0.0.1", listener.local_port)
ann:send_all("half of ")
bob:send_all("a whole line\n")
while #net.poll({ bob }, 0) == 0 do turn() end
io.write("Bob hears ", bob:recv_line() or "nothing")
ann:send_all("a line\n")
while #net.poll({ ann }, 0) == 0 do turn() end
io.write("Ann hears ", ann:recv_line() or "nothing")
ann:close()
bob:close()
while #sockets > 1 do turn() end
