--- Patterns of routes: literal segments, `{name}` for one segment, `*name` for one or more, slashes and all.
--
-- A path is its segments, each decoded by itself: an escaped slash is no separator. A trailing slash is an empty segment more,
-- and counts. With several splats the first takes as much as the others leave it (greedy with backtracking, in one pass: the
-- work is at most the product of the two lengths).
local args = require("caspian.net.args")
local setfenv, tonumber, type = setfenv, tonumber, type
local byte, char, find, gmatch, gsub, match, sub =
  string.byte, string.char, string.find, string.gmatch, string.gsub, string.match, string.sub
local concat = table.concat
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local LITERAL, NAME, SPLAT = 1, 2, 3
local SLASH = byte("/")

--- Reads a pattern: { text =, kinds =, words =, count =, splats = how many, literal = is it nothing but literal? }.
-- @param at, name: the argument that it is, of which function
local function compile(text, at, name)
  local function wrong(words) args.bad(at, name, "pattern " .. words) end
  if type(text) ~= "string" then wrong("must be a string, got " .. args.show(text)) end
  if #text > 4096 then wrong("is longer than 4096 bytes") end
  local kinds, words, seen, splats, literal = {}, {}, {}, 0, true
  if text == "*" then
    -- The target of a server-wide OPTIONS (RFC 9110 section 9.3.7), which is no path.
    return { text = text, kinds = { LITERAL }, words = { "*" }, count = 1, splats = 0, literal = true, whole = true }
  end
  if byte(text) ~= SLASH then wrong("must begin with /, got " .. args.show(text)) end
  local count = 0
  for segment in gmatch(text, "/([^/]*)") do
    count = count + 1
    local captured = match(segment, "^{([%a_][%w_]*)}$")
    local kind = captured and NAME or LITERAL
    if not captured then
      captured = match(segment, "^%*([%a_][%w_]*)$")
      if captured then kind, splats = SPLAT, splats + 1 end
    end
    if kind == LITERAL and find(segment, "[{}*]") then
      wrong("has the segment " .. args.show(segment) .. ": a capture is a segment by itself, {name} or *name")
    end
    if captured then
      if seen[captured] then wrong("has the name " .. captured .. " twice") end
      seen[captured], literal = true, false
    end
    kinds[count], words[count] = kind, captured or segment
  end
  return { text = text, kinds = kinds, words = words, count = count, splats = splats, literal = literal }
end

local function unescaped(digits)
  return char(tonumber(digits, 16))
end

--- The segments of a request's path, and the path of them; nil where an escape is none, or the path is none.
local function segments(path)
  if path == "*" then return { "*", whole = true }, path end
  if byte(path) ~= SLASH then return nil end
  local list, count, from = {}, 0, 2
  while true do
    local slash = find(path, "/", from, true)
    count = count + 1
    list[count] = sub(path, from, (slash or 0) - 1)
    if not slash then break end
    from = slash + 1
  end
  if find(path, "%", 1, true) then
    if find(gsub(path, "%%%x%x", ""), "%", 1, true) then return nil end
    for at = 1, count do list[at] = gsub(list[at], "%%(%x%x)", unescaped) end
    path = "/" .. concat(list, "/")
  end
  return list, path
end

--- Does one segment of a pattern take one of a path?
local function takes(kind, word, segment)
  if kind == LITERAL then return word == segment end
  return segment ~= ""
end

--- From which segment of a path to which each segment of the pattern goes, where there are several splats; nil where they do
-- not fit. From the end to the beginning: `last[i]` is the greatest place from which the pattern's rest from i on fits.
local function spread(pattern, list)
  local kinds, words, count, length = pattern.kinds, pattern.words, pattern.count, #list
  -- fits[i][j]: the pattern from i on takes the path from j on
  local fits = { [count + 1] = { [length + 1] = true } }
  for i = count, 1, -1 do
    local row, below, greatest = {}, fits[i + 1], nil
    if kinds[i] == SPLAT then
      for j = length, 1, -1 do
        if greatest == nil and below[j + 1] then greatest = j + 1 end
        -- The first segment of a splat is never empty: a capture has no slash in front.
        if greatest and list[j] ~= "" then row[j] = greatest end
      end
    else
      for j = 1, length do
        if below[j + 1] and takes(kinds[i], words[i], list[j]) then row[j] = j + 1 end
      end
    end
    fits[i] = row
  end
  local ends, at = {}, 1
  for i = 1, count do
    at = fits[i][at]
    if not at then return nil end
    ends[i] = at
  end
  return ends
end

--- Does a pattern match a path?
local function matches(pattern, list)
  local count, length, splats = pattern.count, #list, pattern.splats
  if splats == 0 and count ~= length or count > length or pattern.whole ~= list.whole then return false end
  if splats > 1 then return spread(pattern, list) ~= nil end
  local kinds, words, from = pattern.kinds, pattern.words, 1
  for i = 1, count do
    local kind, segment = kinds[i], list[from]
    if kind == LITERAL then
      if words[i] ~= segment then return false end
    elseif segment == "" then
      return false
    end
    from = kind == SPLAT and from + length - count + 1 or from + 1
  end
  return true
end

--- What a pattern captures of a path: by name; nil where it does not match.
local function capture(pattern, list)
  local kinds, words, count, length = pattern.kinds, pattern.words, pattern.count, #list
  local splats = pattern.splats
  if splats == 0 and count ~= length or count > length or pattern.whole ~= list.whole then return nil end
  local found = {}
  if splats < 2 then
    -- How many segments more a splat takes than one.
    local more, from = length - count, 1
    for i = 1, count do
      local kind, word, segment = kinds[i], words[i], list[from]
      if not takes(kind, word, segment) then return nil end
      if kind == NAME then
        found[word] = segment
      elseif kind == SPLAT then
        found[word] = more == 0 and segment or concat(list, "/", from, from + more)
        from = from + more
      end
      from = from + 1
    end
    return found
  end
  local ends = spread(pattern, list)
  if not ends then return nil end
  local from = 1
  for i = 1, count do
    if kinds[i] == NAME then
      found[words[i]] = list[from]
    elseif kinds[i] == SPLAT then
      found[words[i]] = concat(list, "/", from, ends[i] - 1)
    end
    from = ends[i]
  end
  return found
end

local function put(into, key, entry)
  local list = into[key]
  if not list then
    list = {}
    into[key] = list
  end
  list[#list + 1] = entry
end

--- An index over routes, for `seek`. A route that is nothing but literal is found by its path, another by its first segment where
-- that is literal.
-- @param routes array of { pattern =, methods = a set, any = every method }, in their order
local function index(routes)
  local self = { literal = {}, first = {}, rest = {} }
  for place = 1, #routes do
    local route = routes[place]
    local pattern, entry = route.pattern, { place, route }
    if pattern.literal then
      put(self.literal, pattern.text, entry)
    elseif pattern.kinds[1] == LITERAL then
      put(self.first, pattern.words[1], entry)
    else
      put(self, "rest", entry)
    end
  end
  return self
end

local NONE = {}

--- The first route that matches and takes the method, and its place; nil if there is none.
-- @param list, joined what `segments` has answered
-- @param after the place behind which it begins; 0: with the first
local function seek(self, list, joined, method, after)
  -- Three lists, each in order, are gone through together: the first by place. A segment with a slash in it is like no path of literals.
  local a, b, c = self.literal[joined], self.first[list[1]], self.rest
  if not a and not c[1] then
    -- There is only one of them, as for most paths.
    for at = 1, b and #b or 0 do
      local entry = b[at]
      local place, route = entry[1], entry[2]
      if place > after and (route.any or route.methods[method]) and matches(route.pattern, list) then return route, place end
    end
    return nil
  end
  a, b = a or NONE, b or NONE
  local i, j, k = 1, 1, 1
  while true do
    local x, y, z = a[i], b[j], c[k]
    local entry
    if x and not (y and y[1] < x[1]) and not (z and z[1] < x[1]) then
      entry, i = x, i + 1
    elseif y and not (z and z[1] < y[1]) then
      entry, j = y, j + 1
    elseif z then
      entry, k = z, k + 1
    else
      return nil
    end
    local place, route = entry[1], entry[2]
    if place > after and (route.any or route.methods[method]) and matches(route.pattern, list) then return route, place end
  end
end

return { compile = compile, segments = segments, capture = capture, index = index, seek = seek }
