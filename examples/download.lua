-- Downloads a file, with a bar on a terminal; goes on where an earlier run was cut, if the server still has the same file.
-- Tried out, with a server that is started beside it, by: sh examples/download.sh
-- part of: download.sh
--
--   caspian-net --allow-net=example.com --allow-fs=. examples/download.lua https://example.com/big.iso big.iso

local url, path = ...
if not (net and path) then
  print("usage: caspian-net --allow-net=HOST --allow-fs=DIR examples/download.lua URL FILE")
  os.exit(2)
end

local function read(name)
  local file = io.open(name, "rb")
  local text = file and file:read("a")
  if file then file:close() end
  return text
end

-- Beside the file lies what it is a piece of: the server's word for the version that was begun.
local mark = path .. ".etag"
local file = assert(io.open(path, "ab"))
local have = file:seek("end")
local etag = read(mark)
-- Bytes as they lie on the server: a range of something compressed on the way would not fit to what is there.
local headers = { ["Accept-Encoding"] = "identity" }
if have > 0 and etag then
  -- If the file has changed, the answer is 200 and all of it, not 206 and the rest.
  headers["Range"], headers["If-Range"] = "bytes=" .. have .. "-", etag
end

local r = net.fetch(url, {
  headers = headers, stream = true, progress = true, timeout = math.huge, read_timeout = 30,
})

if r.status == 416 then
  print("there is no more of it: " .. have .. " bytes")
elseif not r.ok then
  print("the server says " .. r.status .. " " .. r.reason)
  os.exit(1)
else
  if r.status ~= 206 then
    file:close()
    file, have = assert(io.open(path, "wb")), 0
  end
  if r.headers.etag then
    local note = assert(io.open(mark, "wb"))
    note:write(r.headers.etag)
    note:close()
  end
  local ok, err = pcall(r.save, file)
  local size = file:seek("end")
  file:close()
  if not ok then
    print("cut at " .. size .. " bytes (" .. err.class:match("[^/]+$") .. "); run it again to go on")
    os.exit(3)
  end
  os.remove(mark)
  print((have > 0 and "went on at " .. have .. ", " or "") .. "done: " .. size .. " bytes")
end
