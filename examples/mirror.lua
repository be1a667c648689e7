-- Mirrors the files of a folder over FTP: what is new or of another size is fetched, and a file that an earlier run had only begun goes on.
-- Tried out, with a server that is started beside it, by: sh examples/mirror.sh
-- part of: mirror.sh
--
--   caspian-net --allow-net=ftp.example.com --allow-fs=DIR examples/mirror.lua ftp.example.com 21 /pub DIR
--
-- A grant without a port: the server picks one for each transfer. This is anonymous, and so without TLS where the server has none.

local host, port, folder, directory = ...
if not (net and directory) then
  print("usage: caspian-net --allow-net=HOST --allow-fs=DIR examples/mirror.lua HOST PORT FOLDER DIR")
  os.exit(2)
end

local ftp <close> = assert(net.ftp{ host = host, port = tonumber(port), tls = false })
assert(ftp:cwd(folder))

for _, entry in ipairs(assert(ftp:list())) do
  -- Names in listings are one segment each: none leads out of the directory.
  if entry.type == "file" then
    local file = assert(io.open(directory .. "/" .. entry.name, "ab"))
    local have = file:seek("end")
    if have > entry.size then
      file:close()
      file, have = assert(io.open(directory .. "/" .. entry.name, "wb")), 0
    end
    local what = "is there"
    if have < entry.size then
      what = (have > 0 and "went on at " .. have .. ", " or "") .. assert(ftp:get(entry.name, file, { offset = have })) .. " bytes"
    end
    file:close()
    print(entry.name .. ": " .. what)
  else
    print(entry.name .. ": left out, a " .. entry.type)
  end
end
