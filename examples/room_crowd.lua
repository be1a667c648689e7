-- A hundred visitors of examples/room.lua: each listens, says its number, and hears all the others.
-- part of: room.sh
local base, many = ..., 100

local visitors, streams, heard = {}, {}, 0 ---@type caspian.net.Websocket[]
for at = 1, many do
  streams[at] = net.events(base .. "/people", { timeout = 20 })
  visitors[at] = net.websocket((base:gsub("^http", "ws")) .. "/talk", { timeout = 20 })
end
for at = 1, many do visitors[at]:send(tostring(at)) end
local said = {} -- by visitor: what it has heard
for at = 1, many do said[visitors[at]] = {} end
while heard < many * many do
  local ready = net.poll(visitors, 20)
  if #ready == 0 then error("nobody says anything: " .. heard .. " heard") end
  for _, visitor in ipairs(ready) do
    local number = (visitor:recv() or ""):match("^somebody: (%d+)$")
    assert(number and not said[visitor][number], "twice, or nonsense")
    said[visitor][number] = true
    heard = heard + 1
  end
end
print(many .. " visitors heard " .. heard .. " words")
local here
repeat here = #net.json.decode(streams[1]:next().data).here until here == many
print("the stream counts " .. here)
for at = 1, many do visitors[at]:close() end
