--- Readable text of values for the launcher's REPL. Bounded in depth, width and number; terminal controls are
-- shown, not sent. Of a script's own code only `__tostring` runs.

local getmetatable = debug and debug.getmetatable or getmetatable
local next, pcall, rawequal, rawget, rawlen, tostring, type = -- luacheck: ignore (5.4)
  next, pcall, rawequal, rawget, rawlen, tostring, type -- luacheck: ignore
local byte, find, format, gsub, match, rep, sub = string.byte, string.find, string.format, string.gsub, string.match, string.rep,
      string.sub
local concat, sort = table.concat, table.sort
local length = rawget(_G, "utf8") and utf8.len -- luacheck: ignore (5.4)

local WIDTH = 100        -- columns of one line
local SHORT = 20         -- bytes of an entry that shares its line
local DEPTH = 8          -- tables in tables
local EACH = 200         -- entries of one table
local ALL = 5000         -- entries of all
local INNER = 1000       -- bytes of a string in a table
local OUTER = 100000     -- bytes of a string alone

local NAMES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\", ['"'] = '\\"' }

local RESERVED = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true until while"):gmatch("%a+") do
  RESERVED[word] = true
end

local function numbered(c)
  return NAMES[c] or format("\\x%02X", byte(c))
end

--- Text without what a terminal obeys.
-- @param controls the pattern of what is written as an escape
local function plain(text, controls)
  text = gsub(text, controls, numbered)
  if not length or length(text) then
    -- U+0080 to U+009F are controls, too.
    return (gsub(text, "\xC2([\x80-\x9F])", function(c) return format("\\u{%X}", byte(c)) end))
  end
  return (gsub(text, "[\x80-\xFF]", numbered))
end

local function cut(text, most)
  if #text <= most then return text, "" end
  local kept = sub(text, 1, most)
  -- Not in the middle of a character.
  if length and length(text) then kept = gsub(kept, "[\xC0-\xFF][\x80-\xBF]*$", "") end
  return kept, format(" … (%d bytes)", #text)
end

local function quoted(text)
  local kept, rest = cut(text, INNER)
  return '"' .. plain(kept, '[%c"\\]') .. '"' .. rest
end

--- The words of a value that has words of its own, or else its type and address.
local function words(value)
  local ok, text = pcall(tostring, value)
  if not ok or type(text) ~= "string" then text = format("%s: %p", type(value), value) end
  return plain(cut(text, INNER), "%c")
end

local function order(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then return ta < tb end
  if ta == "number" or ta == "string" then return a < b end
  return format("%p", a) < format("%p", b)
end

--- As many short parts on a line as it takes; one, where some are long.
local function filled(parts, width)
  for i = 1, #parts do
    if #parts[i] > SHORT or find(parts[i], "\n", 1, true) then return parts end
  end
  local lines, line = {}, parts[1]
  for i = 2, #parts do
    if #line + #parts[i] + 3 > width then
      lines[#lines + 1], line = line, parts[i]
    else
      line = line .. ", " .. parts[i]
    end
  end
  lines[#lines + 1] = line
  return lines
end

--- @param null JSON's null, whose own words are an address
local function inspect(value, null)
  local left, open = ALL, {}
  local show

  local function entries(table, depth)
    local size, keys, parts, more = rawlen(table), {}, {}, 0
    for key in next, table do
      if not (type(key) == "number" and key >= 1 and key <= size and key % 1 == 0) then keys[#keys + 1] = key end
    end
    sort(keys, order)
    local function add(text)
      parts[#parts + 1] = text
      left = left - 1
    end
    for at = 1, size do
      if at > EACH or left <= 0 then more = size - at + 1 + #keys break end
      add(show(rawget(table, at), depth + 1))
    end
    if more == 0 then
      for at = 1, #keys do
        if at > EACH or left <= 0 then more = #keys - at + 1 break end
        local key = keys[at]
        local name = type(key) == "string" and match(key, "^[%a_][%w_]*$")
        if not name or RESERVED[name] then name = "[" .. (type(key) == "table" and words(key) or show(key, depth + 1)) .. "]" end
        add(name .. " = " .. show(rawget(table, key), depth + 1))
      end
    end
    if more > 0 then parts[#parts + 1] = format("… %d more", more) end
    return parts
  end

  function show(inner, depth)
    local kind = type(inner)
    if null ~= nil and rawequal(inner, null) then
      return "null"
    elseif kind == "string" then
      return quoted(inner)
    elseif kind ~= "table" then
      return words(inner)
    end
    local meta = getmetatable(inner)
    if type(meta) == "table" and rawget(meta, "__tostring") ~= nil then return words(inner) end
    if open[inner] then return "{ the same again }" end
    if next(inner) == nil then return "{}" end
    if depth >= DEPTH then return "{ … }" end
    open[inner] = true
    local parts = entries(inner, depth)
    open[inner] = nil
    local line = "{ " .. concat(parts, ", ") .. " }"
    if #line + 2 * depth <= WIDTH and not find(line, "\n", 1, true) then return line end
    local indent = rep("  ", depth + 1)
    return "{\n" .. indent .. concat(filled(parts, WIDTH - #indent), ",\n" .. indent) .. "\n" .. rep("  ", depth) .. "}"
  end

  if type(value) == "string" then
    local kept, rest = cut(value, OUTER)
    -- Its lines are lines.
    return plain(kept, "[^%C\n\t]") .. rest
  end
  return show(value, 0)
end

return inspect
