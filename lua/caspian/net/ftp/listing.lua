--- Lines of directory listings: MLSD's facts (RFC 3659 section 7), and the listings of Unix and Windows servers for LIST,
-- which no document specifies. Pure: a line in, an entry out; nil for any other line.
--
-- An entry has name, type ("file", "dir", "link", "other"), and if known size (bytes), mtime (seconds since 1970),
-- perm, unique, mode, owner, group, target (of a link). A name is one path segment: it cannot name another directory.
local dates = require("caspian.net.dates")
local replies = require("caspian.net.ftp.replies")
local floor, setfenv, tonumber = math.floor, setfenv, tonumber
local find, gmatch, lower, match, sub = string.find, string.gmatch, string.lower, string.match, string.sub
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local M = {}

local function number(digits)
  if digits and #digits <= 15 then return tonumber(digits) end
end

--- The last segment of a name; nil for what names no entry of a directory.
local function plain(name)
  name = match(name, "([^/]*)/*$")
  if name == "" or name == "." or name == ".." or find(name, "%z") then return nil end
  return name
end

-- MLSD ----------------------------------------------------------------------------------------------------------------

local TYPES = { file = "file", dir = "dir" }
--- Facts that are copied, and their names here.
local FACTS = { perm = "perm", unique = "unique", ["unix.mode"] = "mode", ["unix.ownername"] = "owner", ["unix.groupname"] = "group" }
local INSTEAD = { ["unix.owner"] = "owner", ["unix.group"] = "group" }

--- A line of MLSD: `type=file;size=5; name`. Nil for the directory itself and the one above it, too.
function M.facts(line)
  local facts, name = match(line, "^([^ ]*) (.+)$")
  if not facts or facts ~= "" and sub(facts, -1) ~= ";" then return nil end
  local entry = { name = plain(name), type = "other" }
  if not entry.name then return nil end
  for word, value in gmatch(facts, "([^;=]+)=([^;]*);") do
    local fact = lower(word)
    if fact == "type" then
      local kind, target = lower(value), match(value, "^[Oo][Ss]%.[Uu][Nn][Ii][Xx]=s[ly][^:]*:?(.*)$")
      if kind == "cdir" or kind == "pdir" then return nil end
      if target then
        entry.type = "link"
        if target ~= "" then entry.target = target end
      else
        entry.type = TYPES[kind] or "other"
      end
    elseif fact == "size" or fact == "sizd" then
      entry.size = number(match(value, "^%d+$"))
    elseif fact == "modify" then
      entry.mtime = replies.time(value)
    elseif FACTS[fact] then
      entry[FACTS[fact]] = value
    end
  end
  -- Numbers of owners, where there are no names.
  for fact, value in gmatch(facts, "([^;=]+)=([^;]*);") do
    local key = INSTEAD[lower(fact)]
    if key and not entry[key] then entry[key] = value end
  end
  return entry
end

-- LIST ----------------------------------------------------------------------------------------------------------------

local DAY = 86400

--- A date without a year is the last one that is not in the future, with a day for clocks and time zones that differ.
local function recent(month, day, hour, minute, now)
  local year = 1970 + floor(now / 31556952)
  for back = -1, 4 do
    local time = dates.seconds(year - back, month, day, hour, minute, 0)
    if time and time <= now + DAY then return time end
  end
end

--- The date of `ls -l`: `Nov 30 12:01`, `Nov 30  2024`, `30 Nov 12:01`, `2024-11-30 12:01`; and what follows the one blank
-- behind it.
local function dated(text, now)
  local month, day, rest = match(text, "^(%a%a%a)%s+(%d%d?)%s+(.*)$")
  if not month then day, month, rest = match(text, "^(%d%d?)%.?%s+(%a%a%a)%s+(.*)$") end
  if month then
    month, day = dates.MONTH[lower(month)], tonumber(day)
    if not month then return nil end
    local hour, minute, name = match(rest, "^(%d%d?):(%d%d) (.+)$")
    if hour then return recent(month, day, tonumber(hour), tonumber(minute), now), name end
    local year
    year, name = match(rest, "^(%d%d%d%d) (.+)$")
    if year then return dates.seconds(tonumber(year), month, day, 0, 0, 0), name end
    return nil
  end
  local year, hour, minute
  year, month, day, hour, minute, rest = match(text, "^(%d%d%d%d)%-(%d%d)%-(%d%d)%s+(%d%d?):(%d%d)[%d:%.]*(.*)$")
  if not year then return nil end
  rest = match(rest, "^ [+-]%d%d%d%d( .+)$") or rest
  local name = match(rest, "^ (.+)$")
  return name and dates.seconds(tonumber(year), tonumber(month), tonumber(day), tonumber(hour), tonumber(minute), 0), name
end

local KINDS = { ["-"] = "file", d = "dir", l = "link" }

--- `-rw-r--r--   1 owner group  5 Nov 30 12:01 name`; owner or group may be missing, and devices have `8, 1` for a size.
local function unix(line, now)
  local kind, mode, rest = match(line, "^([%-dlbcpsD])([rwxsStTlL%-][rwxsStTlL%-][rwxsStTlL%-][rwxsStTlL%-]+)[%+%.@]?%s+(.+)$")
  if not kind then return nil end
  local entry = { type = KINDS[kind] or "other", mode = mode }
  -- The date is looked for: words before it are links, owner, group and size, as many as the server has.
  local words, at = {}, 1
  for _ = 1, 6 do
    local word, after = match(rest, "^(%S+)%s+()", at)
    if not word then return nil end
    words[#words + 1], at = word, after
    if find(word, "^%d+$") then
      local mtime, name = dated(sub(rest, at), now)
      if name then
        entry.size, entry.mtime, entry.name = number(word), mtime, name
        break
      end
    end
  end
  if not entry.name then return nil end
  -- Without a count of links the first word is the owner's.
  local first = #words > 3 and 2 or find(words[1], "^%d+$") and 2 or 1
  if first < #words then entry.owner = words[first] end
  if first + 1 < #words then entry.group = words[first + 1] end
  if find(kind, "[bc]") then entry.size = nil end
  if kind == "l" then
    local name, target = match(entry.name, "^(.-) %-> (.*)$")
    if name then entry.name, entry.target = name, target end
  end
  return entry
end

--- `11-30-24  12:01PM       <DIR>  name`, or the length where `<DIR>` stands; years have two digits or four.
local function windows(line)
  local month, day, year, hour, minute, half, what, name =
    match(line, "^(%d%d)[%-/](%d%d)[%-/](%d%d%d?%d?)%s+(%d%d):(%d%d)%s*([AaPp]?[Mm]?)%s+(%S+) +(.+)$")
  if not month then
    year, month, day, hour, minute, half, what, name =
      match(line, "^(%d%d%d%d)[%-/](%d%d)[%-/](%d%d)%s+(%d%d):(%d%d)%s*([AaPp]?[Mm]?)%s+(%S+) +(.+)$")
  end
  if not month or #year == 3 then return nil end
  year, hour = tonumber(year), tonumber(hour)
  if year < 100 then year = year + (year < 70 and 2000 or 1900) end
  half = lower(half)
  if half == "pm" and hour < 12 then hour = hour + 12 elseif half == "am" and hour == 12 then hour = 0 end
  local entry = { name = name, mtime = dates.seconds(year, tonumber(month), tonumber(day), hour, tonumber(minute), 0) }
  if what == "<DIR>" then
    entry.type = "dir"
  elseif what == "<JUNCTION>" or what == "<SYMLINK>" or what == "<SYMLINKD>" then
    entry.type = "link"
    local own, target = match(name, "^(.-) %[(.*)%]$")
    if own then entry.name, entry.target = own, target end
  elseif find(what, "^[%d,]+$") then
    entry.type, entry.size = "file", number((what:gsub(",", "")))
  else
    return nil
  end
  return entry
end

--- A line of LIST. Times are as the server has them, taken for UTC: it does not say where it stands.
-- @param now seconds since 1970: Unix servers leave out the year of what is recent
-- @return an entry; nil for what is none (`total 12`) and for `.` and `..`
function M.line(line, now)
  local entry = unix(line, now) or windows(line)
  if not entry then return nil end
  entry.name = plain(entry.name)
  return entry.name and entry
end

return M
