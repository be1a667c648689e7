--- Read, evaluate, print: the launcher at a terminal without a script.

local select, type = select, type
local find, gsub = string.find, string.gsub
local concat = table.concat
local stdout = io.stdout
local write, flush = stdout.write, stdout.flush

local completion = require("caspian.net.completion")
local inspect = require("caspian.net.inspect")

local repl = {}

--- Runs until the end of input. Fields of `session`:
--   banner    what is printed first
--   open      function(complete, unfinished): a function(prompt) that reads (src/launcher/terminal.rs)
--   env       the script's globals, for completion
--   null      JSON's null
--   compile   function(text): a chunk, or nil and the message
--   run       function(f): runs `f`, reports its error
--   report    function(message): reports a syntax error
function repl.run(session)
  local compile = session.compile

  --- `= expression` is what the `lua` program has; an expression alone is enough.
  local function read(text)
    text = gsub(text, "^%s*=", "return ")
    local chunk = compile("return " .. text)
    if chunk then return chunk end
    return compile(text)
  end

  local function unfinished(text)
    local chunk, why = read(text)
    return not chunk and type(why) == "string" and find(why, "<eof>['\"]?$") ~= nil
  end

  local function show(...)
    local count = select("#", ...)
    if count == 0 then return end
    local texts = { ... }
    for i = 1, count do texts[i] = inspect((select(i, ...)), session.null) end
    write(stdout, concat(texts, "\t"), "\n")
  end

  for i = 1, #session.banner do write(stdout, session.banner[i], "\n") end
  local line = session.open(function(before)
    return completion(before, session.env)
  end, unfinished)
  while true do
    flush(stdout)
    local text, problem = line("> ")
    if text == nil then break end
    if problem then
      session.report(problem)
    elseif text and find(text, "%S") then
      local chunk, why = read(text)
      if chunk then
        session.run(function() show(chunk()) end)
      else
        session.report(why)
      end
    end
  end
end

return repl
