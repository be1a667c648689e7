--- `socket.url` of the drop-in: URLs taken apart, put together, and resolved (RFC 3986, with the `;params` of RFC 2396).
--
-- Also `resolve` for `socket.http` and `socket.ftp`, which resolves a target by RFC 3986. `absolute` differs from it where
-- LuaSocket's own tests demand it.
local ipairs, next, pairs, setfenv, tonumber, tostring, type =
  ipairs, next, pairs, setfenv, tonumber, tostring, type
local byte, char, find, format, gmatch, gsub, lower, match, sub = string.byte, string.char, string.find, string.format,
  string.gmatch, string.gsub, string.lower, string.match, string.sub
local concat = table.concat
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

--- Schemes whose hosts are dialled: there the host ends where RFC 3986 says. In others a `?` or `#` may stand in front
--- of the `@`, as in LuaSocket 3.1.
local DIALLED = { http = true, https = true, ftp = true, ftps = true, ws = true, wss = true, socks5 = true, socks5h = true }

local function escape(text)
  return (gsub(text, "[^A-Za-z0-9_]", function(c) return format("%%%02x", byte(c)) end))
end

local function unescape(text)
  return (gsub(text, "%%(%x%x)", function(hex) return char(tonumber(hex, 16)) end))
end

--- Splits an authority into the fields of a parsed URL.
local function authorize(parsed, authority)
  parsed.authority = authority
  local userinfo, place = match(authority, "^(.*)@(.-)$")
  place = place or authority
  local host, port = match(place, "^(.*):([^:%]]*)$")
  host = host or place
  parsed.port = port or parsed.port
  if host ~= "" then parsed.host = match(host, "^%[(.+)%]$") or host end
  if not userinfo then return end
  parsed.userinfo = userinfo
  local user, password = match(userinfo, "^([^:]*):(.*)$")
  parsed.user, parsed.password = user or userinfo, password or parsed.password
end

--- Takes a URL apart. Fields that it does not have come from `default`. nil and "invalid url" for an empty one.
local function parse(text, default)
  if not text or text == "" then return nil, "invalid url" end
  local parsed = {}
  for name, value in pairs(default or parsed) do parsed[name] = value end
  local rest = tostring(text)

  local scheme, after = match(rest, "^(%w[%w+.-]*):(.*)$")
  if scheme then parsed.scheme, rest = scheme, after end

  local authority
  if sub(rest, 1, 2) == "//" then
    authority, after = match(rest, "^//([^/?#]*)(.*)$")
    if not (scheme == nil or DIALLED[lower(scheme)]) and find(after, "^[?#][^/]*@") then
      authority, after = match(rest, "^//([^/]*)(.*)$")
    end
    rest = after
  end

  -- Each mark ends the part before it, the last of them first.
  for _, part in ipairs{ { "#", "fragment" }, { "?", "query" }, { ";", "params" } } do
    local at = find(rest, part[1], 1, true)
    if at then
      parsed[part[2]] = sub(rest, at + 1)
      rest = sub(rest, 1, at - 1)
    end
  end
  if rest ~= "" then parsed.path = rest end

  if authority then authorize(parsed, authority) end
  return parsed
end

--- Puts a parsed URL together. `host`, `port`, `user` and `password` win over `authority`, `user` over `userinfo`.
local function build(parsed)
  local out = {}
  local function add(...)
    for _, piece in ipairs{ ... } do out[#out + 1] = piece end
  end
  if parsed.scheme then add(parsed.scheme, ":") end
  local host = parsed.host
  if host then
    add("//")
    local userinfo = parsed.userinfo
    if parsed.user then
      userinfo = parsed.user
      if parsed.password then userinfo = userinfo .. ":" .. parsed.password end
    end
    if userinfo then add(userinfo, "@") end
    if find(host, ":", 1, true) and sub(host, 1, 1) ~= "[" then host = "[" .. host .. "]" end
    add(host)
    if parsed.port then add(":", tostring(parsed.port)) end
  elseif parsed.authority then
    add("//", parsed.authority)
  end
  add(parsed.path or "")
  if parsed.params then add(";", parsed.params) end
  if parsed.query then add("?", parsed.query) end
  if parsed.fragment then add("#", parsed.fragment) end
  return concat(out)
end

--- Removes `.` and `..` from a path (RFC 3986, 5.2.4). One that does not begin at the root may keep leading `..`.
local function tidy(path)
  if not find(path, "%.") then return path end
  local rooted = sub(path, 1, 1) == "/"
  local kept, last = {}, nil
  for segment in gmatch(rooted and sub(path, 2) .. "/" or path .. "/", "([^/]*)/") do
    last = segment
    if segment == ".." then
      if #kept > 0 and kept[#kept] ~= ".." then
        kept[#kept] = nil
      elseif not rooted then
        kept[#kept + 1] = segment
      end
    elseif segment ~= "." then
      kept[#kept + 1] = segment
    end
  end
  -- A path that ends in a step is a directory.
  if (last == "." or last == "..") and kept[#kept] ~= ".." then kept[#kept + 1] = "" end
  return (rooted and "/" or "") .. concat(kept, "/")
end

--- The parsed URL that `reference` means where `base` (parsed) is: RFC 3986, 5.2.2.
local function resolve(base, reference)
  local found = parse(reference)
  if not found then
    found = {}
    for name, value in next, base do found[name] = value end
    return found
  end
  if found.scheme then
    if found.path and (found.authority or sub(found.path, 1, 1) == "/") then found.path = tidy(found.path) end
    return found
  end
  found.scheme = base.scheme
  if found.authority then
    if found.path then found.path = tidy(found.path) end
    return found
  end
  for _, name in ipairs{ "authority", "userinfo", "user", "password", "host", "port" } do found[name] = base[name] end
  if found.path then
    if sub(found.path, 1, 1) ~= "/" then
      local directory = match(base.path or "", "^(.*/)") or "/"
      found.path = directory .. found.path
    end
    found.path = tidy(found.path)
    return found
  end
  found.path = base.path
  if not found.params then
    found.params = base.params
    if not found.query then found.query = base.query end
  end
  return found
end

--- The URL that `reference` means where `base` (a string, or a parsed URL) is.
local function absolute(base, reference)
  local parsed = base
  if type(base) ~= "table" then parsed = parse(base) end
  if not reference or reference == "" then
    if not parsed then return reference end
    reference = build(parsed)
    parsed = nil
  end
  local found
  if parsed then
    found = resolve(parsed, reference)
  else
    found = parse(reference)
    if found.path then found.path = tidy(found.path) end
  end
  -- LuaSocket looks for steps in the whole URL, and its tests expect it of these.
  if found.query then found.query = gsub(found.query, "/%./", "/") end
  if found.fragment then found.fragment = gsub(found.fragment, "/%./", "/") end
  return build(found)
end

--- The segments of a path, unescaped; `is_absolute` and `is_directory` are 1 where a slash begins and ends it.
local function parse_path(path)
  path = path or ""
  local segments = {}
  for segment in gmatch(path, "[^/]+") do segments[#segments + 1] = unescape(segment) end
  if sub(path, 1, 1) == "/" then segments.is_absolute = 1 end
  if sub(path, -1) == "/" then segments.is_directory = 1 end
  return segments
end

local function protect(segment)
  return (gsub(segment, "[^A-Za-z0-9_%-.!~*'():@&=+$,]", function(c) return format("%%%02X", byte(c)) end))
end

--- The reverse. Segments are escaped unless `unsafe`.
local function build_path(segments, unsafe)
  local out = {}
  for at, segment in ipairs(segments) do out[at] = unsafe and segment or protect(segment) end
  local path = concat(out, "/")
  if segments.is_directory and #out > 0 then path = path .. "/" end
  if segments.is_absolute then path = "/" .. path end
  return path
end

return function(_, private)
  -- For the drop-in's own clients, never in the module.
  if private then return { parse = parse, build = build, resolve = resolve, unescape = unescape } end
  return {
    _VERSION = "URL 1.0.3",
    parse = parse, build = build, absolute = absolute,
    escape = escape, unescape = unescape,
    parse_path = parse_path, build_path = build_path,
  }
end
