--- The heads of HTTP messages for the drop-in's clients: read with a cap and a deadline, checked before they are sent.
-- Works on anything that has LuaSocket's `receive` and `settimeout`.
local find, gmatch, gsub, lower, match, sub = string.find, string.gmatch, string.gsub, string.lower, string.match, string.sub
local format, pairs, setfenv, tonumber, tostring, type = string.format, pairs, setfenv, tonumber, tostring, type
local concat, sort = table.concat, table.sort
local floor, huge = math.floor, math.huge
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local M = {
  HEAD = 65536,      -- bytes of a status line, header fields, 1xx answers and trailers together
  FIELDS = 256,      -- fields of the same
  CHUNK_LINE = 4096, -- bytes of the line before a chunk
  EXTENSIONS = 16384, -- bytes of all chunk extensions of a body
  MALFORMED = "malformed response headers",
}

--- What a head may still take: read it down from `M.HEAD` and `M.FIELDS`.
function M.budget()
  return { bytes = M.HEAD, fields = M.FIELDS }
end

-- Reading -------------------------------------------------------------------------------------------------------------

local function always() return 1 end

--- A function that gives `c` what is left of `seconds` before each wait: 1, or nil and "timeout" once they are over.
-- No time, or none at all to wait, is left to `c` itself.
function M.patience(c, seconds, now)
  if type(seconds) ~= "number" or seconds <= 0 or seconds == huge then return always end
  local ends = now() + seconds
  return function()
    local left = ends - now()
    if left <= 0 then return nil, "timeout" end
    c:settimeout(left)
    return 1
  end
end

--- One line without its end; nil and "oversized" where it is more than the budget has. `prefix` was read before.
function M.line(c, budget, wait, prefix)
  local ready, late = wait()
  if not ready then return nil, late end
  if budget.bytes <= #(prefix or "") then return nil, "oversized" end
  local text, err = c:receive("*l", prefix, budget.bytes, true)
  if not text then return nil, err end
  -- Not every socket knows the third argument, nor the fourth: a stray CR stays in the line, and is refused.
  budget.bytes = budget.bytes - #text - 2
  if budget.bytes < 0 then return nil, "oversized" end
  return text
end

--- Header fields up to the empty line, into `headers` (a new table): names in lower case, values of one name joined with
--- ", ". A folded line continues the value before it.
function M.fields(c, budget, wait, headers)
  headers = headers or {}
  local name
  while true do
    local text, err = M.line(c, budget, wait)
    if not text then return nil, err end
    if text == "" then return headers end
    if find(text, "[%z\r]") then return nil, M.MALFORMED end
    if find(text, "^[ \t]") then
      if not name then return nil, M.MALFORMED end
      headers[name] = headers[name] .. text
    else
      local given, value = match(text, "^([%w!#$%%&'*+.^_`|~-]+):[ \t]*(.-)[ \t]*$")
      if not given then return nil, M.MALFORMED end
      budget.fields = budget.fields - 1
      if budget.fields < 0 then return nil, "oversized" end
      name = lower(given)
      headers[name] = headers[name] and headers[name] .. ", " .. value or value
    end
  end
end

--- Code and status line; nil and an error. A first line that is none is itself the error, as in LuaSocket.
function M.status(c, budget, wait)
  local ready, late = wait()
  if not ready then return nil, late end
  local first, err = c:receive(5)
  if not first then return nil, err end
  if first ~= "HTTP/" then return nil, "malformed status line", first end
  local text
  text, err = M.line(c, budget, wait, first)
  if not text then return nil, err end
  local code, after = match(text, "^HTTP/1%.[01] ([1-9]%d%d)(.?)")
  if not code or after ~= "" and after ~= " " or find(text, "[%z\r]") then return nil, (gsub(text, "%c", "?")) end
  return tonumber(code), text
end

--- How the body of an answer ends: "chunked", a number of bytes, or "close"; nil and an error where its fields disagree.
function M.framing(headers)
  local coding, length = headers["transfer-encoding"], headers["content-length"]
  if coding and lower(coding) ~= "identity" then
    if length then return nil, "malformed response: both transfer-encoding and content-length" end
    -- Empty members of a list count for nothing.
    coding = gsub(gsub(coding, "^[ \t,]+", ""), "[ \t,]+$", "")
    if lower(coding) ~= "chunked" then return nil, "unsupported transfer-encoding" end
    return "chunked"
  end
  if not length then return "close" end
  local only
  for one in gmatch(length .. ",", "[ \t]*(.-)[ \t]*,") do
    if not find(one, "^%d+$") or #one > 15 or only and only ~= one then return nil, "malformed content-length" end
    only = one
  end
  return tonumber(only)
end

-- Writing -------------------------------------------------------------------------------------------------------------

--- True for a text that would not stay on its line.
function M.breaks(text)
  return find(text, "[%z\r\n]") ~= nil
end

function M.token(text)
  return type(text) == "string" and find(text, "^[%w!#$%%&'*+.^_`|~-]+$") ~= nil
end

--- True for what may stand in a request line: no blank, no control.
function M.target(text)
  return type(text) == "string" and text ~= "" and not find(text, "[%z\1-\32\127]")
end

--- A whole number as digits, also where it is a float of Lua 5.3.
function M.digits(value)
  if type(value) == "number" and value == floor(value) and value > -huge and value < huge then return format("%.0f", value) end
  return tostring(value)
end

--- The lines of header fields, Host first and the others in order; nil and an error if one cannot be sent.
function M.lines(headers, canonic)
  local names = {}
  for name in pairs(headers) do
    if not M.token(name) then return nil, "invalid header name" end
    names[#names + 1] = name
  end
  sort(names, function(a, b)
    if (lower(a) == "host") ~= (lower(b) == "host") then return lower(a) == "host" end
    return a < b
  end)
  local out = {}
  for at, name in pairs(names) do
    local value = headers[name]
    if type(value) ~= "string" and type(value) ~= "number" then
      return nil, "invalid value of header '" .. name .. "': a string expected, got " .. type(value)
    end
    value = M.digits(value)
    if M.breaks(value) then return nil, "invalid value of header '" .. name .. "': it holds a line break" end
    out[at] = (canonic[lower(name)] or name) .. ": " .. value .. "\r\n"
  end
  return concat(out)
end

--- The place of an origin as it is written in Host and CONNECT: `name:port`, `[address]:port`.
function M.place(host, port)
  if find(host, ":", 1, true) and sub(host, 1, 1) ~= "[" then host = "[" .. host .. "]" end
  return port and host .. ":" .. M.digits(port) or host
end

return M
