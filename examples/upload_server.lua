-- A server for examples/upload.lua: says how much it got, of announced length or in chunks, and which files a form has.
-- part of: upload.sh

local server = net.http.server("127.0.0.1", 0)
print(server.local_port)
io.stdout:flush()

server:run(function(request)
  if request.method ~= "POST" or request.path ~= "/upload" then return { status = 404, body = "no such page\n" } end
  local text = ("%d bytes of %s"):format(request.content_length, (request.headers["content-type"] or ""):match("^[^;]*"))
  for _, part in ipairs(request:parts() or {}) do
    if part.filename then text = ("%s, with %s of %d bytes"):format(text, part.filename, part.size) end
  end
  return { body = text }
end)
