--- `lua layout.lua DIR`: lays out in DIR what the step `types` of ./test has checked against lua/caspian/net/meta.lua: the examples, each
--- block of Lua in README and the pages as a file of its own, on the lines that it has in its page, and the files beside this one. Of
--- wrong.lua, in DIR/wrong, each line must be found: `lua layout.lua DIR REPORT` compares the checker's report on it with what it promises.

local folder, report = arg[1], arg[2]
local BESIDE = "spec/support/types/"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(folder .. "/" .. path, "w"))
  file:write(text)
  file:close()
end

--- The lines of wrong.lua that are to be found, or that were: { "5 param-type-mismatch", … }.
local function promised()
  local list, number = {}, 0
  for line in io.lines(BESIDE .. "wrong.lua") do
    number = number + 1
    for rule in (line:match("%-%-> (.+)$") or ""):gmatch("[%w-]+") do list[#list + 1] = number .. " " .. rule end
  end
  table.sort(list)
  return table.concat(list, "\n")
end

local function found()
  local list, rule = {}, nil
  for line in io.lines(report) do
    rule = line:match("%[([%w-]+)%]$") or rule
    local number = line:match("%-%-> .*wrong%.lua:(%d+):")
    if number then list[#list + 1] = number .. " " .. rule end
  end
  table.sort(list)
  return table.concat(list, "\n")
end

if report then
  local wanted, got = promised(), found()
  if wanted ~= got then
    io.write("wrong.lua promises\n", wanted, "\nand the checker finds\n", got, "\n")
    os.exit(1)
  end
  return
end

local count = 0
local list = io.popen("ls examples/*.lua examples/*/*.lua *.md docs/*.md bench/*.md")
for path in list:lines() do
  local flat = path:gsub("/", "-"):gsub("%.%w+$", "")
  if path:find("%.lua$") then
    write("checked/" .. flat .. ".lua", read(path))
    count = count + 1
  else
    local number, open, first = 0, nil, nil
    for line in io.lines(path) do
      number = number + 1
      local fence = line:match("^%s*```(.*)$")
      if fence and open then
        write(("checked/%s-%d.lua"):format(flat, first), table.concat(open, "\n") .. "\n")
        open, count = nil, count + 1
      elseif fence == "lua" then
        open, first = {}, number + 1
        for i = 1, number do open[i] = "" end
      elseif open then
        open[#open + 1] = line
      end
    end
  end
end
list:close()
write("checked/calls.lua", read(BESIDE .. "calls.lua"))
write("wrong/wrong.lua", read(BESIDE .. "wrong.lua"))
write("library/std.lua", read(BESIDE .. "std.lua"))
-- LuaSocket's types are LuaSocket's.
write("library/drop_in.lua", "---@meta socket.http\nlocal http = {} ---@type any\nreturn http\n")
write("library/drop_in_socket.lua", "---@meta socket\nlocal socket = {} ---@type any\nreturn socket\n")
-- An index of an array may be there: that it is nil beyond the end is no news.
write("config.json", ([[{ "runtime": { "version": "Lua5.4" }, "strict": { "arrayIndex": false },
  "workspace": { "library": ["%s/lua", "%s/library"] } }]]):format(os.getenv("PWD"), folder))
print(count .. " examples and blocks")
