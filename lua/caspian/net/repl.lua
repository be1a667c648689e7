--- Read, evaluate, print: what the launcher does when it is given no script. Line editing is the terminal's.

local ipairs, select, tostring = ipairs, select, tostring
local find, gsub = string.find, string.gsub
local concat = table.concat
local stdin, stdout = io.stdin, io.stdout
local read, write, flush = stdin.read, stdout.write, stdout.flush

local repl = {}

local INTERRUPTED = 4 -- EINTR

local function show(...)
  local count = select("#", ...)
  if count == 0 then
    return
  end
  local texts = { ... }
  for i = 1, count do
    texts[i] = tostring((select(i, ...)))
  end
  write(stdout, concat(texts, "\t"), "\n")
end

--- Runs until the end of input. Fields of `session`:
--   terminal  prompt, and greet with `banner`
--   compile   function(text): a chunk, or nil and the message
--   run       function(f): runs `f`, reports its error; true if it had none
--   report    function(message): reports a syntax error
-- Returns true if every line ran without an error.
function repl.run(session)
  local terminal, compile = session.terminal, session.compile
  local clean = true

  local function prompt(text)
    if terminal then
      write(stdout, text)
    end
    flush(stdout)
  end

  local function evaluate(chunk)
    clean = session.run(function()
      show(chunk())
    end) and clean
  end

  if terminal then
    for _, line in ipairs(session.banner) do
      write(stdout, line, "\n")
    end
  end
  local text -- the lines so far of something unfinished
  while true do
    prompt(text and ">> " or "> ")
    local line, _, code = read(stdin, "L")
    if not line and code == INTERRUPTED then
      text = nil
      prompt("\n")
    elseif not line then
      break
    else
      text = text and text .. line or gsub(line, "^=", "return ") -- as the `lua` program has it
      local chunk = compile("return " .. text)
      local why
      if not chunk then
        chunk, why = compile(text)
      end
      if chunk then
        text = nil
        evaluate(chunk)
      elseif not find(why, "<eof>['\"]?$") then
        text, clean = nil, false
        session.report(why)
      end
    end
  end
  if text then
    local _, why = compile(text)
    clean = false
    session.report(why)
  end
  prompt("\n")
  return clean
end

return repl
