--- Lua code in a fresh interpreter, where nothing was launched yet.

local process = require("spec.support.process")
local subject = require("spec.support.subject")

local child = {}

--- Starts `code` after the prelude (`launch` and `register` are there). Its output and errors are read from the process.
function child.start(code)
  local path = process.file(subject.prelude .. code)
  return process.start(subject.lua .. " " .. process.quote(path) .. " 2>&1", { path })
end

--- Runs it to its end; what it wrote, without the last newline.
function child.run(code)
  return (child.start(code):rest():gsub("\n$", ""))
end

return child
