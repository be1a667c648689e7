-- Contract 10: lines of FTP listings, of servers and of nobody; and the words of replies.

local listing = require("caspian.net.ftp.listing")
local replies = require("caspian.net.ftp.replies")

local NOW = 1796000000 -- 2026-11-30 00:53:20 UTC

-- An entry as text, fields by name.
local function shown(entry)
  if not entry then return "nothing" end
  local names = {}
  for name in pairs(entry) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    local value = entry[name]
    names[i] = name .. "=" .. (type(value) == "number" and ("%.14g"):format(value) or value)
  end
  return table.concat(names, " ")
end

local LINES = {
  -- vsftpd, ProFTPD, pure-ftpd, ls
  { "-rw-r--r--    1 2        2               6 Nov 30 00:20 f", "group=2 mode=rw-r--r-- mtime=1795998000 name=f owner=2 size=6 type=file" },
  { "-rw-r--r--   1 user     nogroup         6 Nov 30 00:19 a b  c ",
    "group=nogroup mode=rw-r--r-- mtime=1795997940 name=a b  c  owner=user size=6 type=file" },
  { "drwxr-xr-x   3 user group 4096 Mar  1  2024 dir", "group=group mode=rwxr-xr-x mtime=1709251200 name=dir owner=user size=4096 type=dir" },
  { "drwxr-xr-t+  3 user group 4096 Mar 1 2024 dir", "group=group mode=rwxr-xr-t mtime=1709251200 name=dir owner=user size=4096 type=dir" },
  { "lrwxrwxrwx   1 u g 4 Jan  2  2025 here -> ../there", "group=g mode=rwxrwxrwx mtime=1735776000 name=here owner=u size=4 target=../there type=link" },
  { "lrwxrwxrwx   1 u g 4 Jan  2  2025 here", "group=g mode=rwxrwxrwx mtime=1735776000 name=here owner=u size=4 type=link" },
  { "brw-rw----   1 root disk 8,   1 Jan  2  2025 sda1", "group=disk mode=rw-rw---- mtime=1735776000 name=sda1 owner=root type=other" },
  { "srwxr-xr-x 1 u g 0 Jan  2  2025 s", "group=g mode=rwxr-xr-x mtime=1735776000 name=s owner=u size=0 type=other" },
  { "-rw-r--r-- 1 owner 12 Jan  2  2025 no group", "mode=rw-r--r-- mtime=1735776000 name=no group owner=owner size=12 type=file" },
  { "-rw-r--r-- 1 u g 12 2 Jan 2025 day first", "group=g mode=rw-r--r-- mtime=1735776000 name=day first owner=u size=12 type=file" },
  { "-rw-r--r-- 1 u g 12 2025-01-02 03:04 iso", "group=g mode=rw-r--r-- mtime=1735787040 name=iso owner=u size=12 type=file" },
  { "-rw-r--r-- 1 u g 12 2025-01-02 03:04:05.000000000 +0000 full iso", "group=g mode=rw-r--r-- mtime=1735787040 name=full iso owner=u size=12 type=file" },
  -- A year is left out: the last such day, a day ahead at the most.
  { "-rw-r--r-- 1 u g 1 Dec  1 00:00 tomorrow", "group=g mode=rw-r--r-- mtime=1796083200 name=tomorrow owner=u size=1 type=file" },
  { "-rw-r--r-- 1 u g 1 Dec  3 00:00 last year", "group=g mode=rw-r--r-- mtime=1764720000 name=last year owner=u size=1 type=file" },
  { "-rw-r--r-- 1 u g 1 Feb 29 00:00 leap", "group=g mode=rw-r--r-- mtime=1709164800 name=leap owner=u size=1 type=file" },
  -- Windows
  { "11-30-24  12:01PM       <DIR>          My Docs", "mtime=1732968060 name=My Docs type=dir" },
  { "11-30-2024  12:01AM              1,234 a.txt", "mtime=1732924860 name=a.txt size=1234 type=file" },
  { "2024-11-30  23:59        5 b", "mtime=1733011140 name=b size=5 type=file" },
  { "11-30-24  01:00PM  <SYMLINKD>  l [C:\\x]", "mtime=1732971600 name=l target=C:\\x type=link" },
  -- Nothing that is an entry.
  { "", "nothing" }, { "total 12", "nothing" }, { ".", "nothing" }, { "drwxr-xr-x 2 u g 4096 Jan 1 2025 .", "nothing" },
  { "drwxr-xr-x 2 u g 4096 Jan 1 2025 ..", "nothing" }, { "drwxr-xr-x", "nothing" }, { "-rw-r--r-- 1 u g 1 Jan 1 2025", "nothing" },
  { "-rw-r--r-- 1 u g 1 Xyz 1 2025 x", "nothing" }, { "11-30-24  12:01PM  nonsense x", "nothing" }, { "11-30-24  12:01PM  <DIR>", "nothing" },
  { "-rw-r--r-- 1 u g 1 Jan 1 2025 a\0b", "nothing" },
  -- Names lead nowhere else.
  { "-rw-r--r-- 1 u g 1 Jan  1  2025 ../../etc/passwd", "group=g mode=rw-r--r-- mtime=1735689600 name=passwd owner=u size=1 type=file" },
  { "drwxr-xr-x 1 u g 1 Jan  1  2025 a/..", "nothing" }, { "-rw-r--r-- 1 u g 1 Jan  1  2025 ////", "nothing" },
  -- Dates that there are not, and numbers beyond any.
  { "-rw-r--r-- 1 u g 5 Feb 30  2025 x", "group=g mode=rw-r--r-- name=x owner=u size=5 type=file" },
  { "-rw-r--r-- 1 u g 99999999999999999999 Jan  1  2025 x", "group=g mode=rw-r--r-- mtime=1735689600 name=x owner=u type=file" },
  { "99-99-24  99:99PM  5 x", "name=x size=5 type=file" },
}

local FACTS = {
  { "type=file;size=5;modify=20240301120000;perm=r; name", "mtime=1709294400 name=name perm=r size=5 type=file" },
  { "Type=dir;Modify=20240301120000.5; a; b=c", "mtime=1709294400.5 name=a; b=c type=dir" },
  { "size=5;type=FILE;UNIX.mode=0644;UNIX.owner=1000;UNIX.ownername=u;unique=8U1; x", "mode=0644 name=x owner=u size=5 type=file unique=8U1" },
  { "type=OS.unix=slink:/a/b; l", "name=l target=/a/b type=link" },
  { "type=OS.unix=symlink; l", "name=l type=link" },
  { " no facts", "name=no facts type=other" },
  { "type=pipe;size=; p", "name=p type=other" },
  { "type=cdir; .", "nothing" }, { "type=pdir; ..", "nothing" }, { "type=cdir; /home/user", "nothing" },
  { "", "nothing" }, { "name", "nothing" }, { "type=file;size=5;", "nothing" }, { "type=file name", "nothing" },
  { "type=file; ", "nothing" }, { "type=file; ..", "nothing" }, { "type=file; /", "nothing" },
  { "type=file; ../../etc/passwd", "name=passwd type=file" },
  { "type=file;size=-1;modify=20240230000000; x", "name=x type=file" },
  { "type=file;size=1e9;modify=2024; x", "name=x type=file" },
  { ";;;=;=; x", "name=x type=other" },
}

describe("listings", function()
  for _, row in ipairs(LINES) do
    it("LIST: " .. row[1]:gsub("%c", "?"), function() assert.equal(row[2], shown(listing.line(row[1], NOW))) end)
  end
  for _, row in ipairs(FACTS) do
    it("MLSD: " .. row[1], function() assert.equal(row[2], shown(listing.facts(row[1]))) end)
  end

  it("are never more than a name, a type and what is known, whatever the bytes", function()
    local seeds = {}
    for _, row in ipairs(LINES) do seeds[#seeds + 1] = row[1] end
    for _, row in ipairs(FACTS) do seeds[#seeds + 1] = row[1] end
    -- A generator of our own, so that every run is the same.
    local state = 42
    local function random(n)
      state = (state * 16807) % 2147483647
      return state % n + 1
    end
    local TYPES = { file = true, dir = true, link = true, other = true }
    local function check(entry, line)
      if not entry then return end
      local name = entry.name
      assert.truthy(type(name) == "string" and name ~= "" and name ~= "." and name ~= ".." and not name:find("[/%z]"), line)
      assert.truthy(TYPES[entry.type], line)
      for _, key in ipairs{ "size", "mtime" } do
        local value = entry[key]
        assert.truthy(value == nil or type(value) == "number" and value == value and math.abs(value) < 2 ^ 53, line)
      end
    end
    for _ = 1, 20000 do
      local line = seeds[random(#seeds)]
      for _ = 1, random(4) do
        local at, how = random(#line + 1), random(4)
        if how == 1 then line = line:sub(1, at - 1) .. line:sub(at + 1)
        elseif how == 2 then line = line:sub(1, at - 1) .. string.char(random(256) - 1) .. line:sub(at)
        elseif how == 3 then line = line:sub(1, at - 1) .. seeds[random(#seeds)]:sub(random(20))
        else line = line:sub(at) .. line:sub(1, at - 1) end
      end
      check(listing.line(line, NOW), line)
      check(listing.facts(line), line)
    end
  end)

  it("take no more time than the line is long", function()
    for _, line in ipairs{
      ("a"):rep(16000), (" "):rep(16000), ("-rw-r--r-- "):rep(1500), "-rw-r--r-- " .. ("1 "):rep(8000), ("type=file;"):rep(1600) .. " x",
      "-rw-r--r-- 1 u g 1 Jan 1 2025 " .. (" -> "):rep(4000), ("="):rep(16000), (";"):rep(16000),
    } do
      local before = os.clock()
      listing.line(line, NOW)
      listing.facts(line)
      assert.truthy(os.clock() - before < 5)
    end
  end)
end)

describe("replies of FTP", function()
  local PASSIVE = {
    { "Entering Passive Mode (127,0,0,1,4,210).", "127.0.0.1:1234" }, { "=127,0,0,1,4,210", "127.0.0.1:1234" },
    { "(127,0,0,1,0,0)", "nil:nil" }, { "(127,0,0,1,256,1)", "nil:nil" }, { "(127,0,0,1,1)", "nil:nil" }, { "", "nil:nil" },
    { "(127,0,0,1,99999999999999999999,1)", "nil:nil" }, { "1,2,3,4,5", "nil:nil" },
  }
  for _, row in ipairs(PASSIVE) do
    it("PASV: " .. row[1], function()
      local address, port = replies.passive(row[1])
      assert.equal(row[2], tostring(address) .. ":" .. (port and ("%d"):format(port) or "nil"))
    end)
  end
  local EXTENDED = {
    { "Entering (|||6446|)", 6446 }, { "(!!!1!)", 1 }, { "(|1|127.0.0.1|6446|)", 6446 }, { "(|||0|)" }, { "(|||65536|)" }, { "(|||-1|)" },
    { "(||||)" }, { "(|||6446)" }, { "(||6446|)" }, { "(|||0x10|)" }, { "(|||999999999999|)" }, { "" },
  }
  for _, row in ipairs(EXTENDED) do
    it("EPSV: " .. row[1], function() assert.equal(row[2], replies.extended(row[1])) end)
  end
  for _, row in ipairs{ { '"/a" is it', "/a" }, { '"a ""b"" c"', 'a "b" c' }, { '""', "" }, { '"a' }, { "none" }, { '"a""' } } do
    it("PWD: " .. row[1], function() assert.equal(row[2], replies.path(row[1])) end)
  end
  local TIMES = {
    { "19700101000000", 0 }, { "20240229235959", 1709251199 }, { "20001231235960", 978307200 }, { "20240301120000.25", 1709294400.25 },
    { "20240230000000" }, { "20241301000000" }, { "2024030112000" }, { "202403011200000" }, { "20240301120000." }, { "x" }, { "" },
    { "19000101000000", -2208988800 },
  }
  for _, row in ipairs(TIMES) do
    it("MDTM: " .. row[1], function() assert.equal(row[2], replies.time(row[1])) end)
  end
  it("MFMT: what MDTM reads back", function()
    for _, seconds in ipairs{ 0, 1, 86399, 86400, 951782399, 951782400, 1709251199, 1796000000, 4102444800, 253402300799 } do
      assert.equal(seconds, replies.time(replies.stamp(seconds)))
    end
  end)
  it("SIZE and FEAT", function()
    assert.equal(12, replies.size("12"))
    for _, text in ipairs{ "", "-1", "1e3", "0x10", "1 2", ("9"):rep(16) } do assert.is_nil(replies.size(text)) end
    assert.same({ SIZE = "", MLST = "type*;size*;", ["AUTH"] = "TLS" },
      replies.features{ "Features:", " SIZE", " MLST type*;size*;", " AUTH TLS", "End" })
  end)
end)
