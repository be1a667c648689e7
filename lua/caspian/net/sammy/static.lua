--- Static files: the names that a path may have, the types, and the source of the bytes.
--
-- A path names a file beneath the directory by its segments, decoded one by one. A segment that is not a plain name (empty,
-- with a leading dot, with a slash, a backslash or a control character) names nothing; nor does a name whose extension is
-- not in the table. `src/files.rs`, which opens the file, never leaves the directory, also through links.
local args = require("caspian.net.args")
local error, find, lower, match, next, pcall, setfenv, type =
  error, string.find, string.lower, string.match, next, pcall, setfenv, type
local concat = table.concat
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, show = args.bad, args.show

--- Types by extension. What is not here is not served: no stray file goes out because it lay there.
local TYPES = {
  html = "text/html; charset=utf-8", css = "text/css; charset=utf-8", js = "text/javascript; charset=utf-8",
  mjs = "text/javascript; charset=utf-8", json = "application/json", txt = "text/plain; charset=utf-8", webmanifest = "application/manifest+json",
  wasm = "application/wasm", png = "image/png", jpg = "image/jpeg", jpeg = "image/jpeg", gif = "image/gif", webp = "image/webp",
  avif = "image/avif", svg = "image/svg+xml", ico = "image/x-icon", woff = "font/woff", woff2 = "font/woff2", mp3 = "audio/mpeg",
  mp4 = "video/mp4", webm = "video/webm",
}

--- How much of a file is read at once.
local PIECE = 65536

--- The name of the file that segments name, and its type; nil where they name none.
local function named(segments, types)
  for index = 1, #segments do
    local segment = segments[index]
    if segment == "" or find(segment, "^%.") or find(segment, "[/\\%c%z]") then return nil end
  end
  local extension = match(segments[#segments], ".%.([^.]+)$")
  local kind = extension and types[lower(extension)]
  if not kind then return nil end
  return concat(segments, "/"), kind
end

--- A directory whose files are served: { types =, open = function(name) → body or nil, file = function(name) → file of the core's }.
-- @param dir a path, or an object with `open(name)`, which answers nil, bytes, or an open file (anything with `read` and `close`)
-- @param beneath makes a directory of the core's from a path; raises
local function directory(dir, given, beneath, name)
  local types = {}
  for extension, kind in next, TYPES do types[extension] = kind end
  for extension, kind in next, given or {} do
    if type(extension) ~= "string" or not find(extension, "^[%w_%-]+$") then
      bad(2, name, "extensions must be words, got " .. show(extension))
    end
    if kind ~= false and (type(kind) ~= "string" or kind == "" or find(kind, "%c")) then
      bad(2, name, "the type of " .. extension .. " must be a media type or false, got " .. show(kind))
    end
    types[lower(extension)] = kind or nil
  end
  if type(dir) == "string" then
    return { types = types, beneath = beneath(dir) }
  end
  local ok, open = pcall(function() return dir.open end)
  if not ok or open == nil then bad(1, name, "dir must be a path or an object with open(name), got " .. show(dir)) end
  return { types = types, dir = dir }
end

--- A body that reads an open file piece by piece, and closes it at its end.
local function pieces(file)
  local open = true
  local function close()
    if open then
      open = false
      pcall(function() file:close() end)
    end
  end
  return function()
    if not open then return nil end
    local ok, piece = pcall(function() return file:read(PIECE) end)
    if not ok or piece == nil or piece == "" then close() end
    if not ok then error(piece, 0) end
    if piece == "" then return nil end
    return piece
  end
end

--- The body of a file of an object's: bytes, or a function that answers the pieces; nil where there is none.
local function body_of(found)
  if found == nil or found == false then return nil end
  if type(found) == "string" then return found end
  if type(found) ~= "table" and type(found) ~= "userdata" then
    error("open must return bytes, an open file or nil, got " .. show(found), 0)
  end
  return pieces(found)
end

return { TYPES = TYPES, named = named, directory = directory, body_of = body_of }
