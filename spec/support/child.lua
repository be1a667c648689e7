--- Lua code in a fresh interpreter, where nothing was launched yet; also one whose system reads other files in /etc.

local process = require("spec.support.process")
local subject = require("spec.support.subject")

local child = {}

--- Starts `code` after the prelude (`launch` and `register` are there). Its output and errors are read from the process.
--- `limits`: what the shell does first (`ulimit -s 256;`).
function child.start(code, limits)
  local path = process.file(subject.prelude .. code)
  local command = subject.lua .. " " .. process.quote(path) .. " 2>&1"
  if limits then command = "sh -c " .. process.quote(limits .. "exec " .. command) end
  return process.start(command, { path })
end

--- Runs it to its end; what it wrote, without the last newline.
function child.run(code, limits)
  return (child.start(code, limits):rest():gsub("\n$", ""))
end

local unshare -- the command that makes a mount namespace; false where nobody may

--- True if `run_with` can be had: as root, or where anybody may have a namespace.
function child.can_mount()
  if unshare == nil then
    unshare = false
    for _, command in ipairs{ "unshare -m", "unshare -rm" } do
      local ok = os.execute(command .. " mount --bind /etc/hosts /etc/hosts 2>/dev/null")
      if ok == true or ok == 0 then unshare = command break end
    end
  end
  return unshare and true
end

--- In place of a text for `run_with`: a file that is there, and fails whoever reads it (EIO: it is the memory of the process
--- itself, from address 0 on).
child.UNREADABLE = {}

--- As `run`, with another mount beside: the words for mount(8). Where `can_mount` says so.
function child.run_mounted(words, code)
  local path = process.file(subject.prelude .. code)
  local inner = "mount " .. words .. " && exec " .. subject.lua .. " " .. process.quote(path)
  return (process.start(unshare .. " sh -c " .. process.quote(inner) .. " 2>&1", { path }):rest():gsub("\n$", ""))
end

--- As `run`, where `files` of /etc have other texts: `{ hosts = "127.0.0.2 two.test\n" }`.
function child.run_with(files, code)
  local path = process.file(subject.prelude .. code)
  local paths, words = { path }, {}
  for name, text in pairs(files) do
    local source = "/proc/$$/mem"
    if text ~= child.UNREADABLE then
      source = process.file(text)
      paths[#paths + 1] = source
    end
    words[#words + 1] = "mount --bind " .. source .. " /etc/" .. name .. " &&"
  end
  words[#words + 1] = "exec " .. subject.lua .. " " .. process.quote(path)
  local running = process.start(unshare .. " sh -c " .. process.quote(table.concat(words, " ")) .. " 2>&1", paths)
  return (running:rest():gsub("\n$", ""))
end

return child
