--- HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/): the requests of a client, in the format of browsers' tools.
-- The core removes secrets in headers before. Bodies are not kept.
local floor, next, setfenv, setmetatable, tonumber, type =
  math.floor, next, setfenv, setmetatable, tonumber, type
local char, find, gmatch, gsub, lower, sub =
  string.char, string.find, string.gmatch, string.gsub, string.lower, string.sub
local remove = table.remove
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local har = {}

--- Entries that one client keeps; the oldest make room.
local MOST = 1000

function har.new()
  return {}
end

local function milliseconds(seconds)
  return floor(seconds * 1e6 + 0.5) / 1e3
end

local function decoded(text)
  return (gsub(gsub(text, "+", " "), "%%(%x%x)", function(hex) return char(tonumber(hex, 16)) end))
end

local function query_of(url)
  local list = {}
  local query = find(url, "?", 1, true)
  if query then
    for pair in gmatch(sub(url, query + 1), "[^&]+") do
      local at = find(pair, "=", 1, true)
      list[#list + 1] = { name = decoded(at and sub(pair, 1, at - 1) or pair), value = at and decoded(sub(pair, at + 1)) or "" }
    end
  end
  return list
end

local function headers_of(fields)
  local list, type_of, location, length = {}, "", "", -1
  for index = 1, #(fields or {}) do
    local name, value = fields[index][1], fields[index][2]
    local key = lower(name)
    if key == "content-type" then type_of = value end
    if key == "location" then location = value end
    if key == "content-length" then length = tonumber(value) or -1 end
    list[index] = { name = name, value = value }
  end
  return list, type_of, location, length
end

--- Adds what a call was; `err` is how it failed, if it did.
function har.add(entries, core, call, err)
  local records = core.http_records(call)
  local timings = core.http_info(call, "timings") or {}
  local sent = core.http_sent(call) or 0
  for index = 1, #(records or {}) do
    local record, last = records[index], index == #records
    local request_headers, request_type = headers_of(record.sent)
    local headers, mime, location, length = headers_of(record.fields)
    local entry = {
      startedDateTime = record.started,
      request = {
        method = record.method, url = record.url, httpVersion = "HTTP/1.1", cookies = {}, headers = request_headers,
        queryString = query_of(record.url), headersSize = record.sent_head, bodySize = last and sent or -1,
      },
      response = {
        status = record.status or 0, statusText = record.reason or "",
        httpVersion = record.version and "HTTP/" .. record.version or "", cookies = {}, headers = headers,
        content = { size = length < 0 and 0 or length, mimeType = mime }, redirectURL = location,
        headersSize = -1, bodySize = length,
      },
      cache = {}, timings = { send = 0, wait = 0, receive = 0 }, time = 0,
    }
    if last then
      if sent > 0 then entry.request.postData = { mimeType = request_type, params = {}, text = "" } end
      -- The times of all hops: the last one has them.
      entry.time = 0
      for _, phase in next, { "dns", "connect", "send", "wait", "receive" } do
        entry.timings[phase] = milliseconds(timings[phase] or 0)
      end
      entry.timings.ssl = milliseconds(timings.tls or 0)
      -- HAR counts TLS to connect.
      entry.timings.connect = entry.timings.connect + entry.timings.ssl
      for _, phase in next, { "dns", "connect", "send", "wait", "receive" } do
        entry.time = entry.time + entry.timings[phase]
      end
      if type(err) == "table" then entry._error = err.class elseif err then entry._error = "error" end
    end
    if #entries >= MOST then remove(entries, 1) end
    entries[#entries + 1] = entry
  end
end

--- What is an array in a log.
local LISTS = { cookies = true, headers = true, queryString = true, params = true }

--- The log as a HAR table: a copy, so that the script may do with it what it likes.
-- @param array, hash the metatables of either
function har.log(entries, array, hash, version)
  local function copy(value, name)
    if type(value) ~= "table" then return value end
    local made = {}
    for key, inner in next, value do made[key] = copy(inner, key) end
    return setmetatable(made, LISTS[name] and array or hash)
  end
  local list = {}
  for index = 1, #entries do list[index] = copy(entries[index]) end
  local log = { version = "1.2", creator = { name = "caspian-net", version = version }, entries = setmetatable(list, array) }
  setmetatable(log.creator, hash)
  return setmetatable({ log = setmetatable(log, hash) }, hash)
end

return har
