--- Tables of behaviour for the drop-in: `{ name, code, expected, differs }`. Each row's code runs on the drop-in, over the
--- net under test, and must answer what is expected; where the original is installed (LuaSocket, LuaSec), the same code
--- runs on it in one process of its own, and must answer the same, unless the row says in what it `differs`: there the
--- drop-in is better on purpose. Where the originals are missing, that half is pending, or fails if ORIGINALS is set
--- (`./test` installs them and sets it).
---
--- What code sees: `socket`, `unix` (socket.unix), `modules(name)`, and
---   pair()       a client and the server's side of its connection
---   server()     a listening server on 127.0.0.1, and its port
---   closed()     a port of 127.0.0.1 where nobody listens: a socket of the row's has it, so that nobody else comes to
---   path(name)   a path for a Unix socket, where none is
---   keep(sock)   closes the socket with the row; answers it
---   raised(f, …) the words of the error that f raises, without its place

local busted = require("busted")
local process = require("spec.support.process")
local subject = require("spec.support.subject")

local rows = {}

rows.prelude = [[
local kept = {}
function keep(sock) kept[#kept + 1] = sock return sock end
function server(host, backlog)
  local s = keep(assert(socket.bind(host or "127.0.0.1", 0, backlog)))
  local _, port = s:getsockname()
  return s, tonumber(port)
end
function pair()
  local s, port = server()
  local client = keep(assert(socket.connect("127.0.0.1", port)))
  local other = keep(assert(s:accept()))
  client:settimeout(5) other:settimeout(5)
  return client, other
end
function closed()
  local s = keep(socket.tcp())
  assert(s:bind("127.0.0.1", 0))
  local _, port = s:getsockname()
  return tonumber(port)
end
function raised(f, ...)
  local ok, err = pcall(f, ...)
  if ok then return "nothing was raised" end
  return type(err) == "string" and (err:gsub("^[^:]+:%d+: ", "")) or err
end
local function shown(value)
  local kind = type(value)
  if kind == "string" then return (string.format("%q", value):gsub("\\\n", "\\n"):gsub("\r", "\\r"):gsub("\\13", "\\r")) end
  if kind == "userdata" then return (tostring(value):gsub(": 0x%x+", "")) end
  if kind ~= "table" then return tostring(value) end
  local names = {}
  for name in pairs(value) do names[#names + 1] = tostring(name) end
  table.sort(names)
  for i, name in ipairs(names) do
    local inner = value[name]
    if inner == nil then inner = value[tonumber(name)] end
    names[i] = name .. "=" .. shown(inner)
  end
  return "{" .. table.concat(names, ",") .. "}"
end
function answer(code)
  local compiled, why = (loadstring or load)(code, "=row")
  if not compiled then return "does not compile: " .. why end
  local function take(ok, ...)
    for i = #kept, 1, -1 do kept[i]:close() kept[i] = nil end
    if not ok then return "raised " .. shown((...)) end
    local list = {}
    for i = 1, select("#", ...) do list[i] = shown((select(i, ...))) end
    return table.concat(list, " ")
  end
  return take(pcall(compiled))
end
]]

--- True if the interpreter under test finds LuaSocket.
local function installed()
  local path = process.file([[io.write(pcall(require, "socket") and "yes" or "no")]])
  return process.start(subject.lua .. " " .. process.quote(path), { path }):rest() == "yes"
end

--- The originals' answers, by name, and all that they said.
local function original(table_, extra)
  local parts = { [[
socket = require("socket")
local _
_, unix = pcall(require, "socket.unix")
modules = require
]], ("local directory = %q function path(name) local p = directory .. '/' .. name os.remove(p) return p end\n")
    :format(subject.unix("a"):match("^(.*)/")), rows.prelude, extra or "" }
  for _, row in ipairs(table_) do
    if not row[4] then
      parts[#parts + 1] = ("io.write(%q, '\\n', (answer(%q):gsub('\\n', ' ')), '\\n')\n"):format(row[1], row[2])
    end
  end
  local path = process.file(table.concat(parts))
  local running = process.start(subject.lua .. " " .. process.quote(path) .. " 2>&1", { path })
  local text, answers = running:rest(), {}
  for name, answer in text:gmatch("([^\n]*)\n([^\n]*)\n?") do answers[name] = answer end
  return answers, text
end

--- `import(name)` of a drop-in that is installed over `net`, into a package table of its own; and that table.
function rows.install(net, opts)
  local package = { loaded = {}, preload = {} }
  return (require("caspian.net.compat").install(net, package, opts)), package
end

--- On Lua 5.1 and 5.2 numbers have no ".0".
local floats = tostring(1.0) == "1.0"
local function portable(text)
  return floats and text or (text:gsub("(%f[%w.]%d+)%.0%f[^%d.]", "%1"))
end

--- Declares the rows with busted's `it`. `net`: over which the drop-in is installed.
function rows.declare(it, net, table_, opts)
  opts = opts or {}
  local import = rows.install(net, opts.install)
  local env = setmetatable({
    socket = import("socket"), unix = import("socket.unix"), modules = import,
    path = function(name)
      os.remove(subject.unix(name))
      return subject.unix(name)
    end,
  }, { __index = _G })
  env._G = env
  local source = "local load = ... local loadstring = load\n" .. rows.prelude .. (opts.prelude or "")
  local chunk
  local function compile(code)
    if setfenv then -- luacheck: ignore
      local f, why = loadstring(code, "=row") -- luacheck: ignore
      return f and setfenv(f, env), why -- luacheck: ignore
    end
    return load(code, "=row", "t", env)
  end
  chunk = assert(compile(source))
  chunk(compile)

  for _, row in ipairs(table_) do
    it(row[1], function()
      local expected, answer = portable(row[3]), (env.answer(row[2]):gsub("\n", " "))
      if answer ~= expected then error(("expected: %s\nanswered: %s"):format(expected, answer), 0) end
    end)
  end

  if not os.getenv("ORIGINALS") and not installed() then
    return busted.pending("answers what the original answers: LuaSocket is not installed")
  end
  it("answers what the original answers", function()
    local answers, text = original(table_, opts.prelude)
    for _, row in ipairs(table_) do
      if not row[4] then
        local theirs = answers[row[1]]
        if theirs ~= portable(row[3]) then
          error(("%s\nexpected: %s\noriginal: %s"):format(row[1], portable(row[3]), theirs or text), 0)
        end
      end
    end
  end)
end

return rows
