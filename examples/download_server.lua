-- A server for examples/download.lua: one file of 300,000 bytes, whose first download it cuts in the middle.
-- part of: download.sh

local listener = net.tcp_listen("127.0.0.1", 0)
print(listener.local_port)
io.stdout:flush()

local body = ("0123456789"):rep(30000)

for visit = 1, 2 do
  local client <close> = listener:accept{ timeout = 60 }
  local first = 0
  for line in client:lines() do
    first = math.tointeger(line:match("^[Rr]ange: bytes=(%d+)%-")) or first
    if line == "\r\n" then break end
  end
  client:send_all((first > 0 and "HTTP/1.1 206 Partial Content\r\n" or "HTTP/1.1 200 OK\r\n")
    .. (first > 0 and ("Content-Range: bytes %d-%d/%d\r\n"):format(first, #body - 1, #body) or "")
    .. 'ETag: "1"\r\nContent-Length: ' .. #body - first .. "\r\nConnection: close\r\n\r\n")
  client:send_all(visit == 1 and body:sub(1, 100000) or body:sub(first + 1))
end
