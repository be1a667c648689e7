-- A client of an API: logs in once, keeps its cookies in a file between runs, and follows a stream of events.
-- Tried out, twice, with a server that is started beside it, by: sh examples/api.sh
-- part of: api.sh
--
--   caspian-net --allow-net=api.example.com --allow-fs=. examples/api.lua https://api.example.com cookies.lua

local base, path = ...
if not (net and path) then
  print("usage: caspian-net --allow-net=HOST --allow-fs=DIR examples/api.lua URL FILE")
  os.exit(2)
end

local jar = net.http.jar()
local saved = io.open(path)
if saved then
  -- The file is data: it sees no globals.
  jar:load(assert(load(saved:read("a"), path, "t", {}))())
  saved:close()
end

local api <close> = net.http.client.new{ cookies = jar, timeout = 10 }
local me = api:get(base .. "/me")
if me.status == 403 then
  print("logging in")
  assert(api:post(base .. "/login", "", { auth = { "ann", "password" } }).ok)
  me = api:get(base .. "/me")
end
io.write(me:text())

for event in api:events(base .. "/events"):each() do
  print(event.id, event.data)
end

local file <close> = assert(io.open(path, "w"))
file:write("return {\n")
for _, record in ipairs(jar:records()) do
  file:write("  {")
  for name, value in pairs(record) do file:write((" %s = %q,"):format(name, value)) end
  file:write(" },\n")
end
file:write("}\n")
