--- The meaning of replies of FTP servers (RFC 959, 2428, 3659), for `net.ftp` and for the drop-in's `socket.ftp`. Pure:
-- texts in, values out; nil for a malformed one.
local dates = require("caspian.net.dates")
local floor, setfenv, tonumber, type = math.floor, setfenv, tonumber, type
local find, format, gsub, match = string.find, string.format, string.gsub, string.match
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local M = {}

local function port_of(number)
  if type(number) == "number" and number >= 1 and number <= 65535 then return number end
end

--- Where the reply to PASV says that the server listens (227, RFC 959 section 4.1.2): address and port.
function M.passive(text)
  local a, b, c, d, high, low = match(text, "%f[%d](%d+)%D(%d+)%D(%d+)%D(%d+)%D(%d+)%D(%d+)%f[%D]")
  if not low or #high > 3 or #low > 3 then return nil end
  high, low = tonumber(high), tonumber(low)
  if high > 255 or low > 255 then return nil end
  local port = port_of(high * 256 + low)
  return port and a .. "." .. b .. "." .. c .. "." .. d, port
end

--- The port in the reply to EPSV (229, RFC 2428 section 3): `(|||6446|)`, with any delimiter.
function M.extended(text)
  local _, _, _, port = match(text, "%((.)(.-)%1(.-)%1(.-)%1%)")
  return port and #port <= 5 and find(port, "^%d+$") and port_of(tonumber(port)) or nil
end

--- The argument of PORT: an IPv4 address and a port.
function M.port(address, port)
  return format("%s,%d,%d", gsub(address, "%.", ","), floor(port / 256), port % 256)
end

--- The path in the reply to PWD and MKD (257): in quotes, where a quote is doubled (RFC 959, appendix II).
function M.path(text)
  local rest = match(text, '^[^"]*"(.*)$')
  if not rest then return nil end
  local from = 1
  while true do
    local at = find(rest, '"', from, true)
    if not at then return nil end
    if not find(rest, '^"', at + 1) then return (gsub(rest:sub(1, at - 1), '""', '"')) end
    from = at + 2
  end
end

--- A number in the reply to SIZE (213).
function M.size(text)
  local digits = match(text, "^%s*(%d+)%s*$")
  if digits and #digits <= 15 then return tonumber(digits) end
end

--- A time of MDTM and MLSD in seconds since 1970: YYYYMMDDHHMMSS, with a fraction that may follow (RFC 3659 section 2.3).
function M.time(text)
  local year, month, day, hour, minute, second, fraction = match(text, "^%s*(%d%d%d%d)(%d%d)(%d%d)(%d%d)(%d%d)(%d%d)(%.?%d*)%s*$")
  if not year or fraction ~= "" and not find(fraction, "^%.%d+$") or #fraction > 10 then return nil end
  local seconds = dates.seconds(tonumber(year), tonumber(month), tonumber(day), tonumber(hour), tonumber(minute), tonumber(second))
  if seconds and fraction ~= "" then seconds = seconds + tonumber("0" .. fraction) end
  return seconds
end

--- Seconds since 1970 as MFMT has them.
function M.stamp(seconds)
  return format("%04d%02d%02d%02d%02d%02d", dates.parts(seconds))
end

--- What the reply to FEAT lists (RFC 2389), by keyword in upper case: the parameters behind it, "" where there are none.
-- @param lines those of the reply
function M.features(lines)
  local all = {}
  for at = 2, #lines - 1 do
    local keyword, parameters = match(lines[at], "^ ?([%w%-]+) ?(.*)$")
    if keyword then all[keyword:upper()] = parameters end
  end
  return all
end

return M
