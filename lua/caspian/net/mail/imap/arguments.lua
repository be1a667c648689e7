--- Arguments of callers as words of an IMAP command (RFC 9051 section 9): names, sets, flags, dates, search criteria.
--
-- A command is a list of pieces: strings, which are sent unchanged, and literals, { literal = bytes } or { size =, chunks =
-- function }.
local args = require("caspian.net.args")
local clients = require("caspian.net.mail.client")
local dates = require("caspian.net.dates")
local error, floor, next, pcall, rawget, setfenv, type = error, math.floor, next, pcall, rawget, setfenv, type
local concat, find, format, gmatch, gsub, match, sort, upper =
  table.concat, string.find, string.format, string.gmatch, string.gsub, string.match, table.sort, string.upper
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, show = args.bad, args.show

--- Words of the grammar: an atom, a number of a set, a range.
local ATOM, NUMBER, RANGE = "^[^%z\1-\32\127-\255(){%%*\"\\%]]+$", "^[1-9*]%d*$", "^[1-9*]%d*:[1-9*]%d*$"

local M = {}

--- A text as an `astring`: quoted where that is allowed, else a literal.
local function text(value)
  if #value > 1000 or find(value, "[\128-\255%c]") then return { literal = value } end
  return '"' .. gsub(value, '[\\"]', "\\%0") .. '"'
end
M.text = text

--- A mailbox of the caller's: a name in UTF-8, or what `list` gave. As a piece.
function M.mailbox(state, index, name, what, value)
  if type(value) == "table" then
    local raw = rawget(value, "raw")
    if type(raw) == "string" and not find(raw, "[%z\r\n]") then return text(raw) end
    value = rawget(value, "name")
  end
  clients.word(index, name, what, value)
  if state.utf8 then return text(value) end
  local line, why = state.core.imap_encode(value)
  if not line then bad(index, name, what .. " " .. why) end
  return text(line)
end

--- The name of a mailbox as a server's line has it; and the line itself where the name does not lead back to it.
function M.named(state, line)
  if state.utf8 or not find(line, "[&\128-\255]") then return line end
  local name = state.core.imap_decode(line)
  if name and not find(line, "[\128-\255]") then return name end
  return line, line
end

local function is_number(value)
  return type(value) == "number" and value == floor(value) and value >= 1 and value < 4294967296
end

--- Numbers of messages as a set: one, a list, or a set as IMAP writes it ("1:5,9", "1:*"); "" for an empty list; nil and words
-- for anything else.
local function set_of(value)
  if is_number(value) then return format("%.0f", value) end
  if type(value) == "string" then
    if #value > args.MOST then return nil, "messages is longer than " .. args.MOST .. " bytes" end
    if value == "" then return nil, "messages is an empty string" end
    for part in gmatch(value .. ",", "([^,]*),") do
      if not (find(part, NUMBER) or find(part, RANGE)) or find(part, "%*%d") then
        return nil, 'messages must be numbers, "1:5,9" or "1:*", got ' .. show(value)
      end
    end
    return value
  end
  if type(value) ~= "table" then return nil, "messages must be a number, a list or a set, got " .. show(value) end
  local parts, count, from, to = {}, args.length(value), nil, nil
  if count == 0 then return "" end
  -- What follows on another is written as a range: thousands of numbers are a short line.
  local function close()
    if from then parts[#parts + 1] = from == to and format("%.0f", from) or format("%.0f:%.0f", from, to) end
  end
  for at = 1, count do
    local number = rawget(value, at)
    if not is_number(number) then return nil, "messages must be whole numbers, 1 or more, got " .. show(number) end
    if to and number == to + 1 then
      to = number
    else
      close()
      from, to = number, number
    end
  end
  close()
  local set = concat(parts, ",")
  if #set > args.MOST then return nil, "messages are too many: the set is longer than " .. args.MOST .. " bytes" end
  return set
end

--- The same; what is wrong is raised.
function M.set(index, name, value)
  local set, why = set_of(value)
  if not set then bad(index, name, why) end
  return set
end

--- Flags: "\\Seen", "$Forwarded"; a list of them, or one.
function M.flags(index, name, value)
  if type(value) == "string" then value = { value } end
  if type(value) ~= "table" then bad(index, name, "flags must be a list of strings, got " .. show(value)) end
  local parts = {}
  for at = 1, args.items(index, name, "flags", value) do
    local flag = rawget(value, at)
    if type(flag) ~= "string" or not find(gsub(flag, "^\\", ""), ATOM) or #flag > 200 then
      bad(index, name, "a flag is a word, such as \"\\\\Seen\" or \"$Forwarded\", got " .. show(flag))
    end
    parts[at] = flag
  end
  return "(" .. concat(parts, " ") .. ")"
end

--- Seconds since 1970 in range of a date of four digits.
local function is_time(value)
  return type(value) == "number" and value == value and value >= -62135596800 and value < 253402300800
end

--- A date and a time, in UTC: "17-Jul-1996 02:44:25 +0000".
function M.date_time(index, name, what, value)
  if not is_time(value) then bad(index, name, what .. " must be a Unix time, got " .. show(value)) end
  local year, month, day, hour, minute, second = dates.parts(value)
  return format('"%02d-%s-%04d %02d:%02d:%02d +0000"', day, dates.MONTHS[month], year, hour, minute, second)
end

--- What is wrong with criteria, on its way out of a protected call, to whoever is to blame.
local WRONG = {}

local function fail(words)
  error({ WRONG, words }, 0)
end

--- A day: a Unix time (in UTC), or "1996-07-17".
local function day_of(what, value)
  local year, month, day
  if is_time(value) then
    year, month, day = dates.parts(value)
  elseif type(value) == "string" then
    year, month, day = match(value, "^(%d%d%d%d)-(%d%d)-(%d%d)$")
    month = month and month + 0
  end
  if not year or not dates.MONTHS[month] then fail(what .. ' must be a day ("1996-07-17") or a Unix time, got ' .. show(value)) end
  return format("%d-%s-%04d", day, dates.MONTHS[month], year)
end

--- Keys of SEARCH (RFC 9051 section 6.4.4, RFC 5032) by what they are followed by.
local KEYS = {
  all = "flag", answered = "flag", deleted = "flag", draft = "flag", flagged = "flag", seen = "flag", unanswered = "flag",
  undeleted = "flag", undraft = "flag", unflagged = "flag", unseen = "flag", new = "flag", old = "flag", recent = "flag",
  bcc = "text", body = "text", cc = "text", from = "text", subject = "text", text = "text", to = "text",
  before = "day", on = "day", since = "day", sentbefore = "day", senton = "day", sentsince = "day",
  larger = "number", smaller = "number", older = "number", younger = "number", modseq = "number",
  keyword = "keyword", unkeyword = "keyword", uid = "set", sequence = "set", header = "header",
  ["or"] = "or", ["not"] = "not",
}

--- What is searched for, as pieces in parentheses: a table by the names of KEYS, all of which must hold.
local function criteria(out, given, depth)
  if type(given) ~= "table" then fail("criteria must be a table, got " .. show(given)) end
  if depth > 20 then fail("criteria are nested more than 20 deep") end
  local keys = {}
  for key in next, given do
    if type(key) ~= "string" or not KEYS[key] then fail("unknown criterion " .. show(key) .. args.hint(key, KEYS)) end
    keys[#keys + 1] = key
  end
  sort(keys)
  local before = "("
  local function put(piece)
    out[#out + 1] = before
    out[#out + 1] = piece
    before = " "
  end
  local function say(value, what)
    if type(value) ~= "string" or find(value, "[%z\r\n]") then fail(what .. " must be a string without CR, LF and NUL, got " .. show(value)) end
    if find(value, "[\128-\255]") then out.charset = true end
    put(text(value))
  end
  if #keys == 0 then put("ALL") end
  for _, key in next, keys do
    local kind, value = KEYS[key], rawget(given, key)
    local set, why
    if kind == "set" then
      set, why = set_of(value)
      if not set or set == "" then fail(key .. ": " .. (why or "no message is given")) end
    end
    put(key == "sequence" and set or upper(key))
    if kind == "flag" then
      if value ~= true then fail(key .. " must be true, got " .. show(value)) end
    elseif kind == "text" then
      say(value, key)
    elseif kind == "day" then
      put(day_of(key, value))
    elseif kind == "number" then
      if type(value) ~= "number" or value ~= floor(value) or value < 0 or value > 2 ^ 53 then
        fail(key .. " must be a whole number, got " .. show(value))
      end
      put(format("%.0f", value))
    elseif kind == "keyword" then
      if type(value) ~= "string" or not find(value, ATOM) then fail(key .. " must be a word, got " .. show(value)) end
      put(value)
    elseif kind == "set" then
      if key == "uid" then put(set) end
    elseif kind == "header" then
      if type(value) ~= "table" then fail("header must be { name, value }, got " .. show(value)) end
      say(rawget(value, 1), "header's name")
      say(rawget(value, 2) or "", "header's value")
    elseif kind == "or" then
      if type(value) ~= "table" then fail("or must be a list of two tables, got " .. show(value)) end
      for at = 1, 2 do
        out[#out + 1] = " "
        criteria(out, rawget(value, at), depth + 1)
      end
    else
      out[#out + 1] = " "
      criteria(out, value, depth + 1)
    end
  end
  out[#out + 1] = ")"
end

--- Criteria as pieces: a string of IMAP's own, in ASCII, or a table. `charset` on the result: there is more than ASCII in it.
function M.criteria(index, name, given)
  if given == nil then return { "ALL" } end
  if type(given) == "string" then
    clients.word(index, name, "criteria", given)
    if find(given, "[\128-\255]") or find(given, "{%d+%+?}$") or given == "" then
      bad(index, name, "criteria as a string must be ASCII without literals; a table may have any text")
    end
    return { given }
  end
  local out = {}
  local ok, why = pcall(criteria, out, given, 1)
  if not ok then
    if type(why) ~= "table" or why[1] ~= WRONG then error(why, 0) end
    bad(index, name, why[2])
  end
  return out
end

return M
