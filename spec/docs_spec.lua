-- The pages: README and docs/. Each block of Lua compiles on this Lua and runs, each link leads somewhere, and each function
-- and option of lua/caspian/net/meta.lua has its place.
--
-- A block runs by itself, with `net`, as it would when it is pasted. What stands behind `-->` on a line is what that line prints (`…`
-- for anything). A block with `launch` or `register` runs in an interpreter of its own. The commands of the ```sh block
-- that follows a server are run against it; what they print stands behind `#> `. Public hosts are this machine's here: see PLACES.

local child = require("spec.support.child")
local net = require("spec.support.subject").net
local process = require("spec.support.process")
local servers = require("spec.support.servers")

local load = loadstring or load -- luacheck: ignore
local unpack = rawget(table, "unpack") or unpack -- luacheck: ignore
-- `<close>` is of Lua 5.4, which the launcher has.
local has_close = load("local a <close> = nil") ~= nil

local BOOK = "site/SUMMARY.md"
-- Pages whose servers are those of their own specs: their blocks are compiled here, and run there.
local ELSEWHERE = { ["docs/pop3.md"] = true, ["docs/ftp.md"] = true }

-- What stands in the pages, and what is meant here. Printed text is turned back.
local PLACES = {
  { "https://httpbin.org", servers.httpbin },
  { 'rules = { host = "httpbin.org"',
    'allow_private = true, rules = { https_only = false, ports = ' .. servers.httpbin:match("%d+$") .. ', host = "127.0.0.1"' },
  { "https://files.example.com", "http://127.0.0.1:" .. servers.http .. "/files" },
  { "https://intranet.example.com", "https://localhost:" .. servers.https },
  { "https://partner.example.com", "https://localhost:" .. servers.mutual },
  { "wss://chat.example.com", "ws://127.0.0.1:" .. servers.websocket.ws },
  { "https://events.example.com/", servers.httpbin .. "/events" },
  { "corporate-ca.pem", servers.ca }, { "client.pem", servers.client.cert }, { "client.key", servers.client.key },
  { "server.pem", servers.server.cert }, { "server.key", servers.server.key },
}

local function replaced(text, from, to)
  return (text:gsub(from:gsub("%p", "%%%0"), (to:gsub("%%", "%%%%"))))
end

local function here(text)
  for _, place in ipairs(PLACES) do text = replaced(text, place[1], place[2]) end
  return text
end

local function there(text)
  for _, place in ipairs(PLACES) do text = replaced(text, place[2], place[1]) end
  return text
end

--- The pages of the book and README: { path =, text =, blocks = { { kind =, text =, line = } … } }.
local pages = {}
do
  local paths = {}
  for name in process.read(BOOK):gmatch("%]%(([^)]+)%)") do paths[#paths + 1] = name end
  for _, path in ipairs(paths) do
    local page = { path = path, text = "", blocks = {}, headings = {}, links = {} }
    local number, open = 0, nil
    for line in (process.read(path) .. "\n"):gmatch("(.-)\n") do
      number = number + 1
      local fence = line:match("^%s*```(.*)$")
      if fence and not open then
        open = { kind = fence, lines = {}, line = number + 1, path = path }
      elseif fence then
        open.text = table.concat(open.lines, "\n") .. "\n"
        page.blocks[#page.blocks + 1] = open
        open = nil
      elseif open then
        open.lines[#open.lines + 1] = line
      else
        page.headings[#page.headings + 1] = line:match("^#+ (.*)$")
        for target in line:gsub("`[^`]*`", ""):gmatch("%]%(([^)%s]+)%)") do page.links[#page.links + 1] = { target, number } end
        page.text = page.text .. line .. "\n"
      end
    end
    assert(not open, path .. " ends in a block")
    pages[#pages + 1], pages[path] = page, page
  end
end

--- The names that headings have in links, as GitHub and mdBook make them.
local function anchors(page)
  local found, count = {}, {}
  for _, heading in ipairs(page.headings) do
    local name = heading:lower():gsub("[^%w%-_ \128-\255]", ""):gsub(" ", "-")
    count[name] = (count[name] or -1) + 1
    found[count[name] == 0 and name or name .. "-" .. count[name]] = true
  end
  return found
end

-- Directories of the repository whose files pages name.
local ROOMS = { src = true, spec = true, tests = true, lua = true, docs = true, examples = true, bench = true, torture = true, fuzz = true }

--- Words that a host of a page's stands for.
local function port_of(host, port)
  return host == "www.example.com" and (port == 443 and servers.https or servers.http) or port
end

--- The options of a client of mail or files, for the server here.
local function at_home(opts, port)
  local given = { ca_bundle = process.read(servers.ca) }
  for name, value in pairs(opts) do given[name] = value end
  given.host, given.port = "localhost", port
  return given
end

local function over(base, own)
  return setmetatable(own, { __index = base })
end

--- Commands of a shell against a server on `port`: what each is to print.
local function commands(block, port)
  local list = {}
  for line in block.text:gmatch("[^\n]+") do
    local said = line:match("^#> ?(.*)$")
    if said then list[#list].said = (list[#list].said or "") .. said .. "\n"
    elseif line:find("^curl ") then list[#list + 1] = { line = line:gsub("8080", ("%d"):format(port)) } end
  end
  return list
end

--- Runs the commands one after the other, each in a process, while `answer` answers as many requests as they make.
local function serve(block, port, answer)
  for _, command in ipairs(commands(block, port)) do
    local client = process.start(command.line:gsub("^curl ", "curl -s --max-time 20 ") .. " 2>&1")
    answer()
    local said = client:rest()
    if command.said then assert.equal(command.said, (said:gsub("([^\n])$", "%1\n"))) end
  end
end

--- `net` as the blocks have it: public hosts are on this machine, servers on a free port.
local function stage(next_block)
  local function run(server, handler)
    local stop = server.stop
    serve(next_block, server.local_port, function()
      local request = server:accept{ timeout = 20 }
      local made = handler(request)
      if made == nil then return end
      request:respond(type(made) == "string" and { body = made } or made)
    end)
    stop(server)
  end
  return over(net, {
    tcp = function(host, port, opts) return net.tcp(host == "www.example.com" and "127.0.0.1" or host, port_of(host, port), opts) end,
    ssl = function(host, port, opts)
      if host ~= "www.example.com" then return net.ssl(host, port, opts) end
      local given = { ca_bundle = servers.ca }
      for name, value in pairs(opts or {}) do given[name] = value end
      return net.ssl("localhost", port_of(host, port), given)
    end,
    ftp = function(opts) return net.ftp(at_home(opts, servers.ftp.proftpd)) end,
    pop3 = function(opts) return net.pop3(at_home(opts, servers.dovecot.pop3)) end,
    resolve = function(name, kind, opts)
      if not name:find("example%.com$") then return net.resolve(name, kind, opts) end
      return net.resolve((name:gsub("example%.com$", "spec.test")), kind, { server = "127.0.0.1:" .. servers.dns })
    end,
    smtp = function(opts)
      local given = { host = "localhost", port = servers.mail_files.tls, ca_bundle = servers.ca }
      if opts.user then given.user, given.password = "user", "s3cret" end
      return net.smtp(given)
    end,
    imap = function()
      return net.imap{ host = "localhost", port = servers.dovecot.imap, user = "docs", password = "s3cret", ca_bundle = servers.ca }
    end,
    http = over(net.http, {
      server = function(host, port, opts)
        if type(host) ~= "string" or port ~= 8080 then return net.http.server(host, port, opts) end
        local server = net.http.server(host, 0, opts)
        return setmetatable({
          run = function(_, handler) run(server, handler) end,
          requests = function()
            local list, at = commands(next_block, server.local_port), 0
            local client
            return function()
              if client then client:rest() end
              at = at + 1
              if not list[at] then return server:close() end
              client = process.start(list[at].line:gsub("^curl ", "curl -s --max-time 20 ") .. " 2>&1")
              return server:accept{ timeout = 20 }
            end
          end,
        }, { __index = function(_, name)
          local value = server[name]
          return type(value) == "function" and function(_, ...) return value(server, ...) end or value
        end })
      end,
      sammy = setmetatable({ response = net.http.sammy.response }, { __call = function(_, given)
        local app = net.http.sammy(given)
        return setmetatable({
          response = app.response,
          run = function(_, host, _, fallback)
            local server = app:listen(host, 0)
            serve(next_block, server.local_port, function() app:handle(server:accept{ timeout = 20 }, fallback) end)
            app:close()
          end,
          static = function(_, dir) assert.equal("public", dir) end,
        }, { __newindex = function(_, name, value) app[name] = value end, __index = function(_, name)
          local value = app[name]
          return type(value) == "function" and function(_, ...) return value(app, ...) end or value
        end })
      end }),
    }),
  })
end

-- What a block writes, by the line that writes it: for an interpreter of its own.
local TRACED = [[
local print = function(...)
  local list = {}
  for i = 1, select("#", ...) do list[i] = tostring((select(i, ...))) end
  io.write("line ", debug.getinfo(2, "l").currentline, ": ", (table.concat(list, "\t"):gsub("\n", " ")), "\n")
end
]]

--- What the lines of a block are to print: { [line] = text }.
local function promised(text)
  local lines, number = {}, 0
  for line in text:gmatch("(.-)\n") do
    number = number + 1
    lines[number] = line:match("%-%-> (.*)$")
  end
  return lines
end

local function same(wanted, said)
  said = there(said):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
  local pattern = wanted:gsub("%s+", " "):gsub(" $", ""):gsub("%p", "%%%0"):gsub("…", ".*")
  return said:find("^" .. pattern .. "$") ~= nil, said
end

--- Runs a block: an error that it raises, and every line that prints something else than it promises.
local function run(block, next_block)
  local text = here(block.text)
  if not has_close then text = text:gsub(" <close>", "") end
  if ELSEWHERE[block.path] then return assert(load(text, "=" .. block.path)) end
  local wanted, met = promised(block.text), {}
  local where = function(line) return ("%s:%d"):format(block.path, block.line + line - 1) end
  local function said(line, words)
    if not wanted[line] then return end
    local ok, got = same(wanted[line], words)
    assert(ok, ("%s: prints %q, not %q"):format(where(line), got, wanted[line]))
    met[line] = true
  end
  if text:find("launch", 1, true) or text:find("regist", 1, true) then
    local path = process.file(text)
    local output = child.run(TRACED .. ([[
      local chunk = assert(loadfile(%q))
      local env = setmetatable({ print = print, env = {}, grants = { "--allow-net=api.example.com:443" } }, { __index = _G })
      if setfenv then setfenv(chunk, env) else debug.setupvalue(chunk, 1, env) end
      local ok, err = pcall(chunk)
      if not ok then print("failed: " .. tostring(err)) end]]):format(path))
    os.remove(path)
    assert(not output:find("failed: ", 1, true), where(1) .. ": " .. output)
    for line, words in output:gmatch("line (%d+): ([^\n]*)") do said(tonumber(line), words) end
  else
    local folder = os.tmpname()
    os.remove(folder)
    local env = over(_G, {
      net = stage(next_block), arg = {},
      print = function(...)
        local list = {}
        for i = 1, select("#", ...) do list[i] = tostring((select(i, ...))) end
        said(debug.getinfo(2, "l").currentline, table.concat(list, "\t"))
      end,
      io = over(io, {
        stderr = { write = function() return true end },
        -- Files of a page are in a place of their own.
        open = function(name, mode) return io.open(name:find("^/") and name or folder .. "-" .. name, mode) end,
      }),
      os = over(os, {
        remove = function(name) return os.remove(folder .. "-" .. name) end,
        getenv = function(name) return name == "API_TOKEN" and "s3cret" or os.getenv(name) end,
      }),
    })
    local chunk = assert(load(text, "=" .. block.path, "t", env))
    if setfenv then setfenv(chunk, env) end -- luacheck: ignore
    local ok, err = pcall(chunk)
    os.execute("rm -f " .. folder .. "-*")
    assert(ok, where(1) .. ": " .. tostring(err))
  end
  for line, words in pairs(wanted) do assert(met[line], where(line) .. ": never printed " .. words) end
end

describe("the pages", function()
  it("begin with a program that runs with the flags beside it", function()
    local page = pages["README.md"]
    local text, flags = page.blocks[1].text, page.blocks[2].text:match("cargo run %-q %-%- (.-) hello%.lua")
    if not has_close then text = text:gsub(" <close>", "") end
    local list = {}
    for flag in flags:gmatch("%S+") do list[#list + 1] = ("%q"):format(flag) end
    local said = child.run("local net = launch{ " .. table.concat(list, ", ") .. " }\n" .. text)
    assert.truthy(said:find("the server read: hello\nthe server read: world\n", 1, true), said)
    assert.truthy(said:find("false%s+puck.uno/error/network/timeout\nfalse%s+true\n"), said)
    assert.truthy(said:find("--allow-net=example.com", 1, true), said)
  end)

  for _, page in ipairs(pages) do
    local blocks = {}
    for index, block in ipairs(page.blocks) do
      if block.kind == "lua" then blocks[#blocks + 1] = { block, page.blocks[index + 1] } end
    end
    for _, pair in ipairs(blocks) do
      local block, next_block = unpack(pair)
      if not block.text:find("hello.lua", 1, true) then it(("run: %s:%d"):format(page.path, block.line), function() run(block, next_block) end) end
    end

    it("name files that there are: " .. page.path, function()
      for path in page.text:gmatch("`(%l+/[%w_/.-]*)`") do
        local top = path:match("^(%l+)/")
        if ROOMS[top] then
          local file = io.open(path)
          assert(file, page.path .. ": there is no " .. path)
          file:close()
        end
      end
    end)

    it("have links that lead somewhere: " .. page.path, function()
      local folder = page.path:match("^(.*/)") or ""
      for _, link in ipairs(page.links) do
        local target, line = link[1], link[2]
        if not target:find("^%a+:") then
          local path, anchor = target:match("^([^#]*)#?(.*)$")
          path = path == "" and page.path or folder .. path
          repeat local count path, count = path:gsub("[^/]+/%.%./", "", 1) until count == 0
          local file = io.open(path)
          assert(file, ("%s:%d: there is no %s"):format(page.path, line, path))
          file:close()
          if anchor ~= "" then
            local known = pages[path] and anchors(pages[path])
            assert(known and known[anchor], ("%s:%d: %s has no heading for #%s"):format(page.path, line, path, anchor))
          end
        end
      end
    end)
  end
end)

--- Functions and options of the types for editors, by class.
local function declared()
  local classes, current = {}, nil
  for line in process.read("lua/caspian/net/meta.lua"):gmatch("[^\n]+") do
    local class = line:match("^%-%-%-@class caspian%.net%.([%w_]+)")
    local field, variable = line:match("^%-%-%-@field ([%w_]+)%?? "), line:match("^local [%w_]+ = {}$")
    local name = line:match("^function [%w_]+[.:]([%w_]+)%(") or line:match("^[%w_]+%.([%w_]+) = ")
    if class then
      current = { fields = {}, functions = {} }
      classes[class] = current
    elseif field then current.fields[field] = true
    elseif name then current.functions[name] = true
    elseif variable then current = current or {} end
  end
  return classes
end

describe("the pages have", function()
  local classes = declared()
  local headings, rows = {}, {}
  for _, page in ipairs(pages) do
    if page.path:find("^docs/") then
      for _, heading in ipairs(page.headings) do
        for name in heading:gmatch("([%w_]+)%(") do headings[name] = true end
      end
      for line in page.text:gmatch("[^\n]+") do
        for word in (line:match("^| (.-) |") or ""):gmatch("[%w_]+") do rows[word] = true end
      end
    end
  end

  it("each function", function()
    local missing = {}
    for class, known in pairs(classes) do
      for name in pairs(known.functions) do
        if not headings[name] and not rows[name] then missing[#missing + 1] = class .. "." .. name end
      end
    end
    table.sort(missing)
    assert.same({}, missing)
  end)

  it("each option, in a table", function()
    local missing = {}
    for class, known in pairs(classes) do
      if class:find("_options$") or class:find("_config$") or class == "Spec" or class == "Trust" or class == "Retry" or class == "Server_tls" then
        for name in pairs(known.fields) do
          if not rows[name] then missing[#missing + 1] = class .. "." .. name end
        end
      end
    end
    table.sort(missing)
    assert.same({}, missing)
  end)

  it("no function that there is not", function()
    local known = { require = true, launch = true }
    for _, class in pairs(classes) do
      for name in pairs(class.functions) do known[name] = true end
      for name in pairs(class.fields) do known[name] = true end
    end
    for _, page in ipairs(pages) do
      if page.path:find("^docs/") and page.path ~= "docs/embedding.md" and page.path ~= "docs/embedding-c.md" then
        for _, heading in ipairs(page.headings) do
          for name in heading:gmatch("([%w_]+)%(") do assert(known[name], page.path .. ": " .. heading) end
        end
      end
    end
  end)
end)
