--- A server whose words are written down: a list of steps, each read from the client and answered. For replies that no real server
--- gives, each also cut short at any byte or dripped byte by byte.
---
---   local p = dialog.start({ { "", "220 hi" }, { "USER", "230 in" }, { "RETR", "150 go", data = "hello", after = "226 done" } })
---
--- A step is { what the client's line begins with ("" reads nothing), reply }, whose lines end in CRLF unless `raw`; and
---   data    what goes over a connection for data, whose port stands for PORT in an earlier reply; `after` the reply that follows it
---   stall   nothing more is said, and the connection stays open
--- One process serves as many connections as it is told, one after the other.

local peer = require("spec.support.peer")

local dialog = {}

local SERVER = [[
local data_server, data_port, budget
local function say(c, text)
  text = text:gsub("PORT", tostring(data_port))
  if budget then
    text = text:sub(1, budget)
    budget = budget - #text
  end
  if drip then
    for i = 1, #text do if not c:send(text:sub(i, i)) then return nil end end
  elseif text ~= "" and not c:send(text) then
    return nil
  end
  return not budget or budget > 0
end
local function serve(c)
  for _, step in ipairs(steps) do
    if step[1] ~= "" then
      local line = c:receive("*l")
      if not line then return end
      if line:sub(1, #step[1]) ~= step[1] then report("expected " .. step[1] .. ", got " .. line) return end
    end
    if not say(c, step[2]) then return end
    if step.data then
      local d = data_server:accept()
      if not d then return end
      d:settimeout(5)
      if step.data == true then d:receive("*a") elseif not say(d, step.data) then d:close() return end
      d:close()
      if not say(c, step.after) then return end
    end
    if step.stall then c:settimeout(10) c:receive("*l") end
  end
  c:settimeout(1)
  c:receive("*l")
end
for at = 1, times do
  if cut then budget = at - 1 end
  local c = accept()
  c:setoption("tcp-nodelay", true)
  -- One for each: what has connected for data and was not served goes with it.
  data_server = assert(socket.bind("127.0.0.1", 0, 8))
  data_server:settimeout(5)
  data_port = select(2, data_server:getsockname())
  serve(c)
  data_server:close()
  c:close()
end
]]

local function source(steps)
  local out = {}
  for i, step in ipairs(steps) do
    local reply = step[2]
    if not step.raw then reply = reply:gsub("\n", "\r\n") .. "\r\n" end
    local after = step.after and step.after:gsub("\n", "\r\n") .. "\r\n" or nil
    local function q(value)
      if type(value) ~= "string" then return tostring(value) end
      return (("%q"):format(value):gsub("\r", "\\r"):gsub("\\\n", "\\n"):gsub("%z", "\\0"))
    end
    out[i] = ("{ %s, %s, data = %s, after = %s, stall = %s },"):format(q(step[1]), q(reply), q(step.data), q(after), q(step.stall))
  end
  return "local steps = {" .. table.concat(out, "\n") .. "}\n"
end

--- Bytes that the server says in all.
function dialog.length(steps)
  local count = 0
  for _, step in ipairs(steps) do
    count = count + #step[2]:gsub("\n", "\r\n"):gsub("PORT", "12345") + 2
    if type(step.data) == "string" then count = count + #step.data end
    if step.after then count = count + #step.after + 2 end
  end
  return count
end

--- Starts it. opts: times (1), drip (false): byte by byte, cut (false): the nth connection ends after n - 1 bytes
function dialog.start(steps, opts)
  opts = opts or {}
  return peer.tcp(source(steps) .. ("local times, drip, cut = %d, %s, %s\n"):format(opts.times or 1, tostring(opts.drip or false),
    tostring(opts.cut or false)) .. SERVER)
end

return dialog
