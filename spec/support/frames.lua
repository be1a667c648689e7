--- Frames of HTTP/2 for hand-made clients: the notation of spec/data/hostile_http2.tsv, and what a server has said.

local frames = {}

local KINDS = { D = 0, H = 1, P = 2, R = 3, S = 4, U = 5, I = 6, G = 7, W = 8, C = 9 }
local PSEUDO = { m = ":method", s = ":scheme", p = ":path", a = ":authority" }
local char, floor = string.char, math.floor

frames.PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"

local function number(n, bytes)
  local out = ""
  for _ = 1, bytes do
    out = char(n % 256) .. out
    n = floor(n / 256)
  end
  return out
end

local function unescape(text)
  text = text:gsub("\\x(%x%x)", function(digits) return char(tonumber(digits, 16)) end)
  return (text:gsub("\\r", "\r"):gsub("\\n", "\n"))
end

--- A string of HPACK, without Huffman's code.
local function string_of(text)
  local length = #text
  if length < 127 then return char(length) .. text end
  local out = { char(127) }
  length = length - 127
  while length >= 128 do
    out[#out + 1] = char(length % 128 + 128)
    length = floor(length / 128)
  end
  return table.concat(out) .. char(length) .. text
end

local function payload(parts)
  parts = parts:gsub("{(%d+)%*([^}]*)}", function(count, what) return what:rep(tonumber(count)) end)
  local out = {}
  for part in parts:gmatch("[^,]+") do
    local name, value = part:match("^([^=]*)=(.*)$")
    if part == "$" then
      out[#out + 1] = payload("m=GET,s=http,p=/,a=a")
    elseif part == "$P" then
      out[#out + 1] = payload("m=POST,s=http,p=/,a=a")
    elseif part:sub(1, 1) == "#" then
      out[#out + 1] = part:sub(2):gsub("%x%x", function(digits) return char(tonumber(digits, 16)) end)
    elseif name then
      out[#out + 1] = "\0" .. string_of(PSEUDO[name] or unescape(name)) .. string_of(unescape(value))
    else
      out[#out + 1] = unescape(part)
    end
  end
  return table.concat(out)
end

--- The bytes of a row: preface, SETTINGS and frames; with `bare` only the frames.
function frames.bytes(row, bare)
  local out = { bare and "" or frames.PREFACE }
  if row:sub(1, 1) == "!" then
    local preface, rest = row:match("^!(%S+) (.*)$")
    out[1], row = unescape(preface), rest
  end
  row = row:gsub("(%d+)x%[([^%]]*)%]", function(count, what) return (what .. " "):rep(tonumber(count)) end)
  local last
  for kind, flags, stream, rest in row:gmatch("([^:%s]+):(%x+):([^:%s]+):(%S*)") do
    local body = payload(rest)
    local length = #body
    local raw = kind == "X"
    if raw then
      kind = 0
    elseif kind:sub(1, 1) == "L" then
      kind, length = 0, tonumber(kind:sub(2), 16)
    else
      kind = KINDS[kind] or tonumber(kind, 16)
    end
    if stream == "+" then stream = (last or 0) > 0 and last + 2 or 1 elseif stream == "=" then stream = last end
    last = tonumber(stream)
    out[#out + 1] = raw and body or number(length, 3) .. char(kind, tonumber(flags, 16)) .. number(last, 4) .. body
  end
  return table.concat(out)
end

local STATUS = { [0x88] = "200", [0x89] = "204", [0x8b] = "304", [0x8c] = "400", [0x8d] = "404", [0x8e] = "500" }
local DIGITS = { "00000", "00001", "00010", "011001", "011010", "011011", "011100", "011101", "011110", "011111" }

--- Digits in Huffman's code (RFC 7541 appendix B).
local function huffman(text)
  local bits = text:gsub(".", function(byte)
    local n, out = byte:byte(), ""
    for _ = 1, 8 do
      out = n % 2 .. out
      n = floor(n / 2)
    end
    return out
  end)
  local out, at = "", 1
  while true do
    local found
    for digit, code in ipairs(DIGITS) do
      if bits:sub(at, at + #code - 1) == code then found = digit end
    end
    if not found then return out end
    out, at = out .. found - 1, at + #DIGITS[found]
  end
end

--- Takes the frames out of what a client has received: a list of { kind, flags, stream, payload }, and what is left.
function frames.split(bytes)
  local list = {}
  while #bytes >= 9 do
    local a, b, c, kind, flags, d, e, f, g = bytes:byte(1, 9)
    local length = a * 65536 + b * 256 + c
    if #bytes < 9 + length then break end
    list[#list + 1] = { kind = kind, flags = flags, stream = ((d % 128 * 256 + e) * 256 + f) * 256 + g, payload = bytes:sub(10, 9 + length) }
    bytes = bytes:sub(10 + length)
  end
  return list, bytes
end

--- The status in the HEADERS of an answer, to a client without a table of HPACK.
function frames.status(text)
  -- The table's new size.
  if text:byte() == 0x20 then text = text:sub(2) end
  local first, second = text:byte(1, 2)
  if STATUS[first] then return STATUS[first] end
  first = first == 0x08 and 0x48 or first
  if first == 0x48 and second == 3 then return text:sub(3, 5) end
  if first == 0x48 and second >= 128 then return huffman(text:sub(3, 2 + second % 128)) end
  return "again"
end

--- What was said, in the words of the table: `1=200 3:1`, `away:1`, `end`.
function frames.said(list, ended)
  local words, order, away = {}, {}, nil
  for _, frame in ipairs(list) do
    local word
    if frame.kind == 1 then
      word = frame.stream .. "=" .. frames.status(frame.payload)
      if word:find("=100$") then word = nil end
    elseif frame.kind == 3 and frame.payload:byte(4) ~= 0 and not words[frame.stream] then
      word = frame.stream .. ":" .. frame.payload:byte(4)
    elseif frame.kind == 7 then
      away = frame.payload:byte(8)
    end
    if word and not words[frame.stream] then
      words[frame.stream] = word
      order[#order + 1] = frame.stream
    end
  end
  if away and away ~= 0 then return "away:" .. away end
  if ended and not away then return "end" end
  table.sort(order)
  for at, stream in ipairs(order) do order[at] = words[stream] end
  return table.concat(order, " ")
end

--- A client in this process over `conn`: `send(row)` frames, `read()` what has come, `wait(turn, fits)` until `fits(list)`, or the end.
function frames.client(conn)
  local self = { list = {}, ended = false, conn = conn }
  local rest = ""
  function self.send(row, bare) conn:send_all(frames.bytes(row, bare)) end
  function self.read()
    while not self.ended do
      local ok, bytes = pcall(conn.recv, conn, 65536, { timeout = 0 })
      if not ok and bytes:is("timeout") then break end
      if not ok or bytes == nil then
        self.ended = true
        break
      end
      local more
      more, rest = frames.split(rest .. bytes)
      for _, frame in ipairs(more) do self.list[#self.list + 1] = frame end
    end
    return self.list
  end
  --- The frames of a kind, and of a stream where one is named.
  function self.all(kind, stream)
    local found = {}
    for _, frame in ipairs(self.read()) do
      if frame.kind == kind and (not stream or frame.stream == stream) then found[#found + 1] = frame end
    end
    return found
  end
  --- The bytes of a stream's DATA.
  function self.body(stream)
    local parts = {}
    for at, frame in ipairs(self.all(0, stream)) do parts[at] = frame.payload end
    return table.concat(parts)
  end
  function self.said()
    self.read()
    return frames.said(self.list, self.ended)
  end
  return self
end

return frames
