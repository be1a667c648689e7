-- What a script in the sandbox tries in its directory while others swap names there with links that lead outside; see `renames`.
-- Prints how many tries it made, how many of them saw something of outside, and how many met inside.

local limit = tonumber((...))
local tries, outside, inside = 0, 0, 0

-- What was read, or why not: words of the outside are in neither.
local function saw(text)
  tries = tries + 1
  if type(text) ~= "string" then return end
  if text:find("OUTSIDE", 1, true) then outside = outside + 1 end
  if text:find("inside", 1, true) then inside = inside + 1 end
end
local function read(path)
  local file, why = io.open(path, "rb")
  if not file then return saw(why) end
  saw(file:read("a"))
  file:close()
end
local function write(path, mode, text)
  local file, why = io.open(path, mode)
  if file then
    file:write(text)
    file:close()
  end
  saw(why)
end

local function load(path)
  local seen = {}
  local chunk, why = loadfile(path, "t", seen)
  if chunk then
    chunk()
    why = seen.OUTSIDE and "OUTSIDE"
  end
  saw(why)
end

local ACTS = {
  function() read("data/d/a.txt") end,
  function() read("data/deep/down/a.txt") end,
  function() read("data/f") end,
  function() read("data/e/a.txt") end,
  function() write("data/f", "a", "inside") end,
  function() write("data/f", "w", "inside") end,
  function() write("data/f", "r+", "inside") end,
  function() write("data/d/new", "w", "inside") end,
  function() write("data/gone/new", "a", "inside") end,
  function() saw(select(2, os.remove("data/d/new"))) end,
  function() saw(select(2, os.remove("data/gone/new"))) end,
  function() saw(select(2, os.rename("data/d/a.txt", "data/d/b.txt"))) os.rename("data/d/b.txt", "data/d/a.txt") end,
  function() saw(select(2, os.rename("data/d/a.txt", "data/deep/down/c.txt"))) os.rename("data/deep/down/c.txt", "data/d/a.txt") end,
  function() load("data/d/m.lua") end,
  function() load("data/m.lua") end,
  function() pcall(function() for line in io.lines("data/f") do saw(line) end end) end,
  -- Only outside is a certificate.
  function() saw(pcall(net.http.client.new, { ca_bundle = "data/c.pem" }) and "OUTSIDE" or "") end,
  function() saw(pcall(net.http.client.new, { ca_bundle = "data/d/c.pem" }) and "OUTSIDE" or "") end,
}
while tries < limit do
  for _, act in ipairs(ACTS) do act() end
end
print(tries, outside, inside)
