--- Sessions: a JSON object in a cookie, signed, so that only the server can write it. Every holder of the cookie can read
-- it: keep secrets out of it.
--
-- `PAYLOAD.TIME.CODE`: the JSON and HMAC-SHA-256 as base64 for URLs, and the time of signing, in seconds since 1970. The
-- code covers the cookie's name too, so that a cookie is not valid under another name.
local args = require("caspian.net.args")
local error, find, match, next, pcall, setfenv, tonumber, type =
  error, string.find, string.match, next, pcall, setfenv, tonumber, type
local format = string.format
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local show = args.show

--- The longest cookie that browsers keep: name, value and attributes, in bytes.
local MOST = 4096

local SAMESITE = { Lax = true, Strict = true, None = true }

--- Checks the options of an app's cookie, and copies them: { name, domain, secure, samesite, path, max_age, key }.
-- @param codec { json, base64, hash }
local function options(given, codec, name)
  local function wrong(words) args.bad(1, name, words) end
  local cookie = {
    name = given.cookie_name or "session", domain = given.domain, secure = given.cookie_secure ~= false,
    samesite = given.cookie_samesite or "Lax", path = given.cookie_path or "/", max_age = given.cookie_max_age, key = given.cookie_key,
  }
  -- RFC 6265 section 4.1.1
  if find(cookie.name, "[^%w!#$%%&'*+.^_`|~%-]") or cookie.name == "" then wrong("cookie_name must be a token, got " .. show(cookie.name)) end
  if not SAMESITE[cookie.samesite] then wrong('cookie_samesite must be "Lax", "Strict" or "None", got ' .. show(cookie.samesite)) end
  if cookie.samesite == "None" and not cookie.secure then wrong('cookie_samesite = "None" needs cookie_secure') end
  if find(cookie.path, "^[^/]") or cookie.path == "" or find(cookie.path, "[;%c%s,]") then
    wrong("cookie_path must be a path, got " .. show(cookie.path))
  end
  if cookie.domain and (find(cookie.domain, "[^%w%.%-]") or cookie.domain == "") then
    wrong("domain must be a host's name, got " .. show(cookie.domain))
  end
  -- What browsers ask of the two prefixes (RFC 6265bis section 4.1.3); without them they drop the cookie.
  if find(cookie.name, "^__Secure%-") and not cookie.secure or find(cookie.name, "^__Host%-") then
    wrong("cookie_name " .. show(cookie.name) .. ": __Secure- needs cookie_secure, and __Host- excludes domain")
  end
  if cookie.key ~= nil and #cookie.key < 32 then wrong("cookie_key must have 32 bytes or more") end
  cookie.key = cookie.key or codec.hash.random(32)
  return cookie
end

local function code(cookie, codec, payload, time)
  return codec.hash.hmac_sha256(cookie.key, cookie.name .. "=" .. payload .. "." .. time, "bytes")
end

--- What the client sent as a session, as a table, and its JSON; nil where it sent none, or one that is not ours.
-- @param now seconds since 1970
local function read(cookie, codec, value, now)
  if type(value) ~= "string" or #value > MOST then return nil end
  local payload, time, signature = match(value, "^([%w_%-]+)%.(%d+)%.([%w_%-]+)$")
  if not payload then return nil end
  -- 32 bytes in 43 digits; in constant time, since who guesses must not be told how near he is.
  local expected = codec.base64.url_encode(code(cookie, codec, payload, time))
  if not codec.hash.equal(signature, expected) then return nil end
  -- Signed long ago: what the client should have dropped by itself.
  if cookie.max_age and now - tonumber(time) > cookie.max_age then return nil end
  -- Whoever has the key may have signed something else than a session.
  local ok, text = pcall(codec.base64.url_decode, payload)
  if not ok or not find(text, "^%s*{") then return nil end
  local read_ok, session = pcall(codec.json.decode, text)
  if not read_ok then return nil end
  return session, text
end

local function line(cookie, value, max_age)
  return format("%s=%s; Path=%s; Domain=%s%s; HttpOnly%s; SameSite=%s", cookie.name, value, cookie.path, cookie.domain,
    max_age and "; Max-Age=" .. max_age or "", cookie.secure and "; Secure" or "", cookie.samesite)
end

--- The `Set-Cookie` of a session. Raises where JSON has no words for it, or where it is too long for a cookie.
local function written(cookie, codec, text, now)
  local payload, time = codec.base64.url_encode(text), format("%d", now)
  local value = payload .. "." .. time .. "." .. codec.base64.url_encode(code(cookie, codec, payload, time))
  local set = line(cookie, value, cookie.max_age and format("%d", cookie.max_age))
  if #set > MOST then error("the session is too large for a cookie: " .. #set .. " bytes, and browsers keep at most " .. MOST, 0) end
  return set
end

--- The `Set-Cookie` that ends a session.
local function expired(cookie)
  return line(cookie, "", "0")
end

--- A session as JSON. Of an empty one we say an object, whatever it was made with.
local function text_of(codec, session)
  if next(session) == nil then return "{}" end
  return codec.json.encode(session)
end

return { options = options, read = read, written = written, expired = expired, text_of = text_of }
