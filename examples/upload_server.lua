-- A server for examples/upload.lua: says how much it got, of announced length or in chunks.
-- part of: upload.sh

local listener = net.tcp_listen("127.0.0.1", 0)
print(listener.local_port)
io.stdout:flush()

local function answer(client, status, headers, body)
  client:send_all(("HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s"):format(status, headers, #body, body))
end

-- "METHOD /path" → function(client, request)
local routes = {
  ["POST /upload"] = function(client, request)
    answer(client, "200 OK", "", ("%d bytes of %s"):format(#request.body, request.type:match("^[^;]*")))
  end,
}

local function serve(client)
  client.timeout = 10
  while true do
    local line = client:recv_line()
    if not line then return end
    local request, length = { body = "" }, 0 ---@type table, number
    for field in client:lines() do
      if field == "\r\n" then break end
      local name, value = field:match("^([^:]+): *(.-)\r\n$")
      name = name:lower()
      if name == "content-length" then length = tonumber(value) or 0 end
      if name == "content-type" then request.type = value end
      if name == "transfer-encoding" then request.chunked = value == "chunked" end
    end
    if request.chunked then
      local pieces = {}
      repeat
        local size = tonumber(client:recv_line():match("^%x+"), 16)
        pieces[#pieces + 1] = client:recv_exact(size)
        client:recv_line()
      until size == 0
      request.body = table.concat(pieces)
    elseif length > 0 then
      request.body = client:recv_exact(length)
    end
    local route = routes[line:match("^(%u+ [^ ?]+)")]
    if route then
      route(client, request)
    else
      answer(client, "404 Not Found", "", "")
    end
  end
end

while true do
  local client <close> = listener:accept{ timeout = math.huge }
  local ok, err = pcall(serve, client)
  if not ok then io.stderr:write("server: ", tostring(err), "\n") end
end
