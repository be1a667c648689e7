-- The options: the tables that check them (`args.declared`, name to kind, with defaults and meanings beside), the types for editors
-- (lua/caspian/net/meta.lua) and the tables of the pages say the same. An option that is in one and not in another fails here.

local args = require("caspian.net.args")
local process = require("spec.support.process")
local net = require("spec.support.subject").net

-- Modules that are loaded when they are first used.
for _, name in ipairs{
  "ftp", "guard", "guarded", "http", "mail.imap", "mail.message", "mail.pop3", "mail.smtp", "methods", "opening", "sammy", "server",
  "server_answers", "server_events", "uds", "websocket",
} do require("caspian.net." .. name) end

--- The fields of the types by class, with those of their parents: name to type.
local classes = {}
do
  local current
  for line in process.read("lua/caspian/net/meta.lua"):gmatch("[^\n]+") do
    local class, parents = line:match("^%-%-%-@class caspian%.net%.([%w_]+):?(.*)$")
    local field, kind = line:match("^%-%-%-@field ([%w_]+)%?? (.*)$")
    if class then
      current = {}
      for parent in parents:gmatch("caspian%.net%.([%w_]+)") do
        for name, of in pairs(classes[parent]) do current[name] = of end
      end
      classes[class] = current
    elseif field and current then
      current[field] = kind
    end
  end
end

--- What a type begins with, by kind.
local TYPES = {
  any = { "" }, boolean = { "boolean" }, string = { "string", '"', "caspian.net.Path" }, strings = { "string[]", "string|string[]" },
  seconds = { "number" }, count = { "integer" }, whole = { "integer" }, port = { "integer", "caspian.net.Port" },
  table = { "table", "caspian.net.", "{", "integer[]", "string[]" }, ["function"] = { "fun(" },
}

local function begins(text, kind)
  for _, start in ipairs(TYPES[kind]) do
    if text:sub(1, #start) == start then return true end
  end
  return false
end

--- The rows of the pages' tables: name to a list of { type =, default =, page = }; and all words of the pages.
local rows, words = {}, {}
for path in process.read("site/SUMMARY.md"):gmatch("%]%((docs/[^)]+)%)") do
  local columns
  for word in process.read(path):gmatch("[%w_]+") do words[word] = true end
  for line in process.read(path):gmatch("[^\n]+") do
    local cells = {}
    for cell in line:gsub("\\|", "\1"):gmatch("|%s*([^|]*)") do cells[#cells + 1] = (cell:gsub("%s+$", ""):gsub("\1", "|")) end
    if not line:find("^|") then
      columns = nil
    elseif not columns then
      columns = {}
      for index, title in ipairs(cells) do columns[title] = index end
    else
      local names, defaults = {}, {}
      for name in cells[1]:gmatch("`([%w_]+)") do names[#names + 1] = name end
      local default = cells[columns.default or 0]
      for one in (default or ""):gmatch("[^,;]+") do defaults[#defaults + 1] = one end
      for index, name in ipairs(names) do
        rows[name] = rows[name] or {}
        table.insert(rows[name], {
          type = cells[columns.type or 0], default = #defaults == #names and defaults[index] or default, page = path,
        })
      end
    end
  end
end

--- What a page says of a type, by kind: one of these.
local WORDS = {
  any = { "." }, boolean = { "boolean" }, string = { "string", '"' }, strings = { "list" }, seconds = { "number" }, count = { "integer" },
  whole = { "integer" }, port = { "integer" }, table = { "table", "list" }, ["function"] = { "function" },
}

local function says(row, kind)
  if not row.type then return true end
  for _, word in ipairs(WORDS[kind]) do
    if row.type:find(word) then return true end
  end
  return false
end

-- Members of values and of nested tables, which the pages describe where these stand, without rows of their own.
local VALUES = {
  Answer = true, Cookie = true, Dsn = true, Guard_route = true, Imap_fetch_options = true, Imap_numbering = true, Mail_part = true, Message = true,
  Auth = true, Timeout = true,
}

--- Options of a parent's that mean nothing there: types cannot take them away.
local LESS = { Events_options = { stream = true, save = true, max_body_bytes = true, on_progress = true, progress = true, retry = true } }

describe("the options", function()
  it("have their types, and each type its option", function()
    local wrong = {}
    assert.equal("table", type(net))
    for class, options in pairs(args.declared) do
      local known = assert(classes[class], "meta.lua has no class " .. class)
      for name, kind in pairs(options) do
        if not known[name] then wrong[#wrong + 1] = class .. "." .. name .. " is not in meta.lua"
        elseif not begins(known[name], kind) then wrong[#wrong + 1] = class .. "." .. name .. ": " .. kind .. " is no " .. known[name] end
      end
      for name in pairs(known) do
        if not options[name] and not (LESS[class] or {})[name] then wrong[#wrong + 1] = class .. "." .. name .. " is no option" end
      end
    end
    for class in pairs(classes) do
      if class:find("_options$") and not args.declared[class] then wrong[#wrong + 1] = class .. " is declared by no table" end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)

  it("have rows in the pages, of their type", function()
    local wrong = {}
    for class, options in pairs(args.declared) do
      for name, kind in pairs(options) do
        local fits = false
        for _, row in ipairs(rows[name] or {}) do fits = fits or says(row, kind) end
        if VALUES[class] then
          if not words[name] then wrong[#wrong + 1] = class .. "." .. name .. " is in no page" end
        elseif not rows[name] then wrong[#wrong + 1] = class .. "." .. name .. " has no row"
        elseif not fits then
          wrong[#wrong + 1] = class .. "." .. name .. ": no row says that it is a " .. kind .. ", but " .. tostring(rows[name][1].type)
        end
      end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)

  --- The defaults beside the tables: { { name, default, place } … }, of lines such as `name = "seconds",  -- 30; of each call`.
  local function defaults()
    local list = {}
    for path in io.popen("ls lua/caspian/net/*.lua lua/caspian/net/mail/*.lua lua/caspian/net/mail/*/*.lua"):lines() do
      local number = 0
      for line in process.read(path):gmatch("([^\n]*)\n") do
        number = number + 1
        local name, kind, comment = line:match('^  ([%w_]+) = "(%l+)",?%s+%-%- (.*)$')
        local default = comment and (comment:match('^("[^"]*")') or comment:match("^(true)%f[%W]") or comment:match("^(false)%f[%W]")
          or comment:match("^([%d.,]*%d %u%l?i?B)%f[%W]") or comment:match("^([%d.,]*%d)%f[%W]"))
        if default and TYPES[kind] then list[#list + 1] = { name, default, path .. ":" .. number } end
      end
    end
    return list
  end

  it("have the defaults in the pages that stand beside them", function()
    local wrong, list = {}, defaults()
    assert(#list > 60, #list)
    for _, one in ipairs(list) do
      local name, default, place = one[1], one[2], one[3]
      local said, found = {}, false
      for _, row in ipairs(rows[name] or {}) do
        local text = (row.default or ""):gsub("`", ""):gsub("^%s+", "")
        said[#said + 1] = text
        found = found or text:sub(1, #default) == default or text == "" and row.default == nil
      end
      if rows[name] and not found then wrong[#wrong + 1] = place .. ": " .. name .. " is " .. default .. "; pages: " .. table.concat(said, " / ") end
    end
    assert.same({}, wrong)
  end)
end)
