-- torture/autobahn_client.lua PORT [--no-context-takeover]: our WebSocket client for Autobahn's fuzzing server, which says how many cases it has, runs each
-- against whoever asks for it, and writes its report at the end.
local net = require("caspian.net").launch{ "--allow-net=127.0.0.1" }
local AGENT = "caspian-net"
local compress = { threshold = 0, client_no_context_takeover = arg[2] == "--no-context-takeover" }
local function open(what, opts)
  opts = opts or {}
  opts.timeout, opts.max_message_bytes = 60, 64 * 1024 * 1024
  return net.websocket("ws://127.0.0.1:" .. arg[1] .. what, opts)
end
local socket = open("/getCaseCount")
local count = tonumber((socket:recv()))
socket:close()
for case = 1, count do
  if case % 50 == 0 then io.stderr:write(("  case %d of %d\n"):format(case, count)) end
  pcall(function()
    local one = open(("/runCase?case=%d&agent=%s"):format(case, AGENT), { compress = compress })
    while true do
      local text, kind = one:recv()
      if not text then break end
      one:send(text, kind)
    end
    one:close()
  end)
end
-- It writes its report then, and ends, this connection with it.
pcall(function() open("/updateReports?agent=" .. AGENT):recv() end)
print(count)
