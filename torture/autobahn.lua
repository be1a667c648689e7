-- torture/autobahn: an echo over WebSockets of `net.http.server`, for many at once.
local net = require("caspian.net").launch{ "--allow-listen=127.0.0.1:0" }
local server = net.http.server("127.0.0.1", 0)
print(server.local_port)
io.stdout:flush()
local sockets = {}
while true do
  local everything = { server }
  for one in pairs(sockets) do everything[#everything + 1] = one end
  for _, one in ipairs((net.poll(everything, 60))) do
    if one == server then
      local ok, request = pcall(server.accept, server, { timeout = 0 })
      if ok and request then
        local opened, socket = pcall(request.websocket, request,
          { timeout = 60, max_message_bytes = 64 * 1024 * 1024, compress = { threshold = 0 } })
        if opened then sockets[socket] = true end
      end
    else
      local ok, text, kind = pcall(one.recv, one, { timeout = 0 })
      if ok and text then ok = pcall(one.send, one, text, kind) end
      if not ok and not (type(text) == "table" and text:is("timeout")) or ok and not text then
        sockets[one] = nil
        pcall(one.close, one)
      end
    end
  end
end
