--- What an error must look like: calls that must fail, and the error they failed with.

local fails = {}

local prefix = "puck.uno/error/"

--- Calls `f(…)`, which must raise an error of `class` ("network/timeout"); answers the error.
function fails.with(class, f, ...)
  local ok, err = pcall(f, ...)
  if ok then error("nothing was raised; expected " .. class, 2) end
  if type(err) == "string" then error("an ordinary error, expected " .. class .. ": " .. err, 2) end
  if err.class ~= prefix .. class then
    error("expected " .. class .. ", got " .. tostring(err.class) .. ": " .. tostring(err), 2)
  end
  return err
end

--- Calls `f(…)`, which must raise an ordinary Lua error that contains `text`; answers the message.
function fails.plainly(text, f, ...)
  local ok, err = pcall(f, ...)
  if ok then error("nothing was raised; expected: " .. text, 2) end
  if type(err) ~= "string" then error("not an ordinary error: " .. tostring(err), 2) end
  if not err:find(text, 1, true) then error("expected: " .. text .. "\ngot: " .. err, 2) end
  return err
end

return fails
