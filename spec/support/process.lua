--- Processes beside a spec: started through the shell, known by their ids, and never outliving the spec.

local process = {}
process.__index = process
process.__name = "spec/process"

local live = {}

--- A word for the shell.
function process.quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

--- A file that is removed with the process that reads it.
function process.file(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

--- The bytes of a file.
function process.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

--- Starts a shell command line. What it writes is read with `line` and `rest`; its standard error too if asked for.
--- `files` are removed when it is done.
function process.start(command, files)
  local pipe = assert(io.popen("echo $$; exec " .. command, "r"))
  local self = setmetatable({ pipe = pipe, files = files or {}, pid = pipe:read("*n") }, process)
  pipe:read("*l")
  live[self] = true
  return self
end

function process:line()
  return self.pipe:read("*l")
end

--- Reads on until a line matches; answers its captures. A process that ends before is an error.
function process:expect(pattern)
  local seen = {}
  for line in self.pipe:lines() do
    seen[#seen + 1] = line
    if line:find(pattern) then return line:match(pattern) end
  end
  error("the process ended without a line like " .. pattern .. ":\n" .. table.concat(seen, "\n"), 2)
end

--- Waits for its end; what it had still to say, and whether it ended well (not on Lua 5.1, which cannot tell).
function process:rest()
  local text = self.pipe:read("*a")
  local ok, _, code = self.pipe:close()
  self:forget()
  return text, ok, code
end

function process:signal(name)
  os.execute("kill -" .. name .. " " .. self.pid .. " 2>/dev/null")
end

--- Ends it, if it has not ended, and waits for that.
function process:kill()
  if not live[self] then return end
  self:signal("KILL")
  self.pipe:read("*a")
  self.pipe:close()
  self:forget()
end

function process:forget()
  live[self] = nil
  for _, path in ipairs(self.files) do os.remove(path) end
end

--- What specs do after each row: nothing outlives it.
function process.kill_all()
  for self in pairs(live) do
    self:kill()
    live[self] = nil
  end
end

return process
