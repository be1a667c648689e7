--- Completion in the launcher's REPL: names of globals and of their fields. Runs no code of the script: access is raw,
-- except for our own objects.

local getmetatable = debug and debug.getmetatable or getmetatable
local next, pairs, pcall, rawget, type = next, pairs, pcall, rawget, type
local find, gmatch, match, sub = string.find, string.gmatch, string.match, string.sub
local sort = table.sort

local RESERVED = {}
for word in gmatch("and break do else elseif end false for function goto if in local nil not or repeat return then true until while", "%a+") do
  RESERVED[word] = true
end

--- Chains of `__index` are no longer than that.
local CHAIN = 10

--- Is this metatable one of ours, whose metamethods are ours?
local function ours(meta)
  local name = rawget(meta, "__name")
  return rawget(meta, "__metatable") == false and type(name) == "string" and find(name, "^caspian%.net") ~= nil
end

--- Calls `visit` with each table in which a field of `value` is looked for.
local function each(value, visit)
  for _ = 1, CHAIN do
    if type(value) == "table" then visit(value) end
    local meta = getmetatable(value)
    local index = type(meta) == "table" and rawget(meta, "__index")
    if type(index) ~= "table" then return end
    value = index
  end
end

--- The field of a value.
local function field(value, name)
  local meta = getmetatable(value)
  if type(value) == "table" and type(meta) == "table" and ours(meta) then
    local ok, found = pcall(function() return value[name] end)
    return ok and found or nil
  end
  local found
  each(value, function(table)
    if found == nil then found = rawget(table, name) end
  end)
  return found
end

--- The names of all fields, as keys of `into`.
local function names(value, into)
  each(value, function(table)
    for name in next, table do into[name] = true end
  end)
  local meta = getmetatable(value)
  if type(value) == "table" and type(meta) == "table" and ours(meta) then
    pcall(function()
      for name in pairs(value) do into[name] = true end
    end)
  end
end

--- What may stand at the end of `text`.
-- @param env the script's globals
-- @return how many bytes at the end of `text` are to be replaced; the words, an array in order
return function(text, env)
  local path = match(text, "[%a_][%w_.:]*$") or ""
  local before = sub(text, 1, -1 - #path)
  if find(before, "[%w.:\"']$") and not find(before, "%.%.$") then return 0, {} end
  local stem, start = match(path, "^(.-)([%w_]*)$")
  local value, found = env, {}
  for name in gmatch(stem, "[^.:]*") do
    if name ~= "" then value = field(value, name) end
    if value == nil then return 0, {} end
  end
  names(value, found)
  if stem == "" then
    for word in next, RESERVED do found[word] = true end
  end
  local list = {}
  for name in next, found do
    if type(name) == "string" and sub(name, 1, #start) == start and match(name, "^[%a_][%w_]*$") then list[#list + 1] = name end
  end
  sort(list)
  return #start, list
end
