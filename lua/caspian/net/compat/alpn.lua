--- Lists of protocol names in TLS's own form, each name after a byte with its length (RFC 7301, section 3.1).
local byte, char, concat, sub = string.byte, string.char, table.concat, string.sub
local ipairs, setfenv, type = ipairs, setfenv, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local alpn = {}

--- The list in TLS's form; nil and why, as LuaSec says it, for one that has none.
function alpn.wire(names)
  local parts = {}
  for i, name in ipairs(names) do
    if type(name) ~= "string" then return nil end
    if #name == 0 then return nil, "invalid ALPN name (empty string)" end
    if #name > 255 then return nil, "invalid ALPN name (length > 255)" end
    parts[i] = char(#name) .. name
  end
  if parts[1] == nil then return nil, "invalid ALPN list (empty)" end
  return concat(parts)
end

--- The names in it.
function alpn.names(wire)
  local names, at = {}, 1
  while at <= #wire do
    local length = byte(wire, at)
    names[#names + 1] = sub(wire, at + 1, at + length)
    at = at + 1 + length
  end
  return names
end

return alpn
