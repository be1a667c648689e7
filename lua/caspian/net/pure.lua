--- Helpers without authority: URLs, JSON, base64, digests. Enough for signatures and webhooks. Malformed input (an invalid
-- escape, malformed JSON) is a wrong argument, and an ordinary Lua error.
local args = require("caspian.net.args")
local named = require("caspian.net.pairs")
local objects = require("caspian.net.objects")
local error, next, setfenv, type = error, next, setfenv, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, own, show = args.answer, args.bad, args.own, args.show

--- The longest text or bytes that something as long is made of; and the longest that a digest is made of, or a comparison: as long as
-- the body of a response may be by default. Nothing interrupts what is computed meanwhile.
local MOST, DIGESTED = 64 * 1024 * 1024, 256 * 1024 * 1024

--- Checks bytes that something is made of. most: defaults to `MOST`
local function contents(index, name, what, value, most)
  most = most or MOST
  if type(value) ~= "string" then bad(index, name, what .. " must be a string, got " .. show(value)) end
  if #value > most then bad(index, name, what .. " is longer than " .. most .. " bytes") end
  return value
end

local BUILD = {
  scheme = "string", userinfo = "string", host = "string", port = "port", path = "string", query = "any", fragment = "string",
  pairs = "table",
}
local UNESCAPE = { plus = "boolean" }
local ENCODE = { sorted = "boolean" }
args.declare{ Url_parts = BUILD, Url_decode_options = UNESCAPE, Json_encode_options = ENCODE }
local DIGESTS, CODES = { "md5", "sha1", "sha256", "sha512" }, { "sha1", "sha256", "sha512" }

--- True for hex digits, false for bytes.
local function is_hex(index, name, form)
  if form == nil or form == "hex" then return true end
  if form ~= "bytes" then bad(index, name, 'form must be "hex" or "bytes", got ' .. show(form)) end
  return false
end

local function urls(core)
  local members = {}
  local url = objects.sealed("codec.url", members)

  --- Names and values as the text of a query.
  local function query(name, given, what)
    local names, values = named.pairs_of(given, name, what, 1)
    local total = 0
    for i = 1, #names do total = total + #names[i] + #values[i] end
    if total > MOST then bad(1, name, what .. " is longer than " .. MOST .. " bytes") end
    return (answer(name, core.form_encode(names, values)))
  end

  --- The parts of an absolute URL of any scheme: { scheme, userinfo, host, port, path, query, fragment, pairs }. `port` is the
  -- scheme's own where none is named; an IPv6 host is without brackets; `pairs` are the query's, decoded: { { name, value }, … }.
  function members.parse(...)
    local text = own(url, ...)
    args.string(1, "parse", "url", text)
    return (answer("parse", core.codec_url(text)))
  end

  --- The URL of parts as `parse` gives them. `query`: text, or a table as for `query`; without it `pairs` are taken.
  function members.build(...)
    local given = own(url, ...)
    if type(given) ~= "table" then bad(1, "build", "a table of parts expected, got " .. show(given)) end
    local parts = args.options(1, "build", given, BUILD)
    if parts.scheme == nil then bad(1, "build", "scheme is missing") end
    local asked = parts.query
    if type(asked) == "table" or asked == nil and parts.pairs then
      parts.query = query("build", asked or parts.pairs, asked and "query" or "pairs")
      if asked == nil and parts.query == "" then parts.query = nil end
    elseif asked ~= nil and type(asked) ~= "string" then
      bad(1, "build", "query must be a string or a table, got " .. show(asked))
    end
    parts.pairs = nil
    return (answer("build", core.codec_build(parts)))
  end

  --- Where a reference leads from a URL.
  function members.join(...)
    local base, reference = own(url, ...)
    args.string(1, "join", "url", base)
    args.string(2, "join", "reference", reference)
    return (answer("join", core.codec_join(base, reference)))
  end

  --- Percent-encodes every byte but letters, digits, `-._~` and those of `safe` ("/" for a path).
  function members.encode(...)
    local text, safe = own(url, ...)
    contents(1, "encode", "text", text)
    if safe ~= nil then args.string(2, "encode", "safe", safe) end
    return (answer("encode", core.codec_escape(text, safe)))
  end

  --- Takes percent-encoding back. opts: plus (false): `+` is a space, as in forms
  function members.decode(...)
    local text, opts = own(url, ...)
    contents(1, "decode", "text", text)
    opts = args.options(2, "decode", opts, UNESCAPE)
    return (answer("decode", core.codec_unescape(text, opts.plus == true)))
  end

  --- Names and values as a query: `{ name = value, name = { value, … } }` in the order of the names, or `{ { name, value }, … }`.
  function members.query(...)
    local given = own(url, ...)
    if type(given) ~= "table" then bad(1, "query", "a table of names and values expected, got " .. show(given)) end
    return query("query", given, "query")
  end

  return url
end

local function jsons(core)
  local members = { null = core.null }
  local json = objects.sealed("codec.json", members)

  --- A value as JSON, 64 MiB at most. Keys that came from JSON keep their order; others are sorted. opts: sorted (false): sorts all
  function members.encode(...)
    -- The value may be nil, and is never our own table's business.
    local value, opts = own(json, ...)
    opts = args.options(2, "encode", opts, ENCODE)
    if value == nil then bad(1, "encode", "value is nil; null is json.null") end
    return (answer("encode", core.codec_json(value, opts.sorted == true)))
  end

  --- The value of JSON text. null is `json.null`; nested 127 deep at most.
  function members.decode(...)
    local text = own(json, ...)
    contents(1, "decode", "text", text)
    local value, err, index = core.codec_value(text)
    if value == nil then answer("decode", nil, err, index) end
    return value
  end

  --- Marks a table as a JSON array, so that an empty one is `[]`; returns it.
  function members.array(...)
    return objects.array(core, (own(json, ...)))
  end

  return json
end

local function base64s(core)
  local members = {}
  local base64 = objects.sealed("codec.base64", members)
  for prefix, for_url in next, { [""] = false, url_ = true } do
    local encode, decode = prefix .. "encode", prefix .. "decode"

    --- Bytes as base64 (RFC 4648 section 4), or `url_encode` (section 5): with `-` and `_`, without padding.
    members[encode] = function(...)
      local bytes = own(base64, ...)
      contents(1, encode, "bytes", bytes)
      return (answer(encode, core.codec_base64(bytes, for_url)))
    end

    --- The bytes of base64, strictly; `url_decode` takes padding, too.
    members[decode] = function(...)
      local text = own(base64, ...)
      contents(1, decode, "text", text)
      return (answer(decode, core.codec_unbase64(text, for_url)))
    end
  end
  return base64
end

local function hashes(core)
  local members = {}
  local hash = objects.sealed("codec.hash", members)

  --- `sha256(bytes, form)` and its kin. form: "hex" (the default, lower case) or "bytes"
  for _, name in next, DIGESTS do
    members[name] = function(...)
      local bytes, form = own(hash, ...)
      contents(1, name, "bytes", bytes, DIGESTED)
      local hex = is_hex(2, name, form)
      return (answer(name, core.codec_digest(name, bytes, hex)))
    end
  end

  --- `hmac_sha256(key, bytes, form)` and its kin (RFC 2104).
  for _, word in next, CODES do
    local name = "hmac_" .. word
    members[name] = function(...)
      local key, bytes, form = own(hash, ...)
      contents(1, name, "key", key, DIGESTED)
      contents(2, name, "bytes", bytes, DIGESTED)
      local hex = is_hex(3, name, form)
      return (answer(name, core.codec_hmac(word, key, bytes, hex)))
    end
  end

  --- Are two strings the same? Takes as long wherever they differ.
  function members.equal(...)
    local a, b = own(hash, ...)
    contents(1, "equal", "a", a, DIGESTED)
    contents(2, "equal", "b", b, DIGESTED)
    return (answer("equal", core.codec_equal(a, b)))
  end

  --- So many random bytes, from the system, fit for keys.
  function members.random(...)
    local count = own(hash, ...)
    args.count(1, "random", "n", count, 0)
    if count > 1024 * 1024 then bad(1, "random", "n must be at most " .. 1024 * 1024) end
    return (answer("random", core.codec_random(count)))
  end

  return hash
end

local function mails(core)
  local members = {}
  local mail = objects.sealed("codec.mail", members)

  --- A message (RFC 5322, MIME), whatever state it is in: { headers, raw_headers, subject, from, to, cc, bcc, reply_to, sender, date,
  -- message_id, in_reply_to, references, text, html, attachments }. Addresses are lists of { name, address, group }, `date` is a Unix time,
  -- texts are UTF-8, attachments are { name, type, data, cid, disposition }. `network/too_large` beyond 100,000 parts, fields or addresses.
  function members.parse(...)
    local bytes = own(mail, ...)
    contents(1, "parse", "bytes", bytes)
    if not core.mail_parse then error("parse: built without mail (the Cargo feature `mail`, which `full` turns on and `small` does not)", 2) end
    return (answer("parse", core.mail_parse(bytes)))
  end

  return mail
end

--- The five, which cannot be changed.
local function make(core)
  -- What the core's table becomes later is nobody's business here.
  local copy = {}
  for name, value in next, core do copy[name] = value end
  return { url = urls(copy), json = jsons(copy), base64 = base64s(copy), hash = hashes(copy), mail = mails(copy) }
end

--- Adds them to a `%net`.
local function extend(core, functions)
  for name, object in next, make(core) do functions[name] = object end
end

return { make = make, extend = extend }
