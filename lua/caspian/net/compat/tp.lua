--- `socket.tp` of the drop-in: commands and replies by lines, as SMTP and FTP speak them.
local message = require("caspian.net.compat.message")
local error, ipairs, setfenv, setmetatable, tonumber, tostring, type =
  error, ipairs, setfenv, setmetatable, tonumber, tostring, type
local find, match, upper = string.find, string.match, string.upper
local concat = table.concat
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

--- Bytes of a reply, all its lines together.
local REPLY = 65536

return function(import)
  local socket, ltn12, now = import("socket"), import("ltn12"), import("caspian.now")

  local M = {
    TIMEOUT = 60, -- seconds: of connecting, of a whole reply, and of each other wait
  }

  local methods = {}
  local channel = { __index = methods }

  --- Connects, with `create` in the place of `socket.tcp`. Answers an object, or nil and an error.
  function M.connect(host, port, timeout, create)
    local c, err = (create or socket.tcp)()
    if not c then return nil, err end
    timeout = timeout or M.TIMEOUT
    c:settimeout(timeout)
    local done
    done, err = c:connect(host, port)
    if not done then
      c:close()
      return nil, err
    end
    return setmetatable({ c = c, timeout = timeout }, channel)
  end

  --- The code, as text, and the lines of a reply, joined by "\n"; nil and an error.
  local function reply_of(self)
    local budget, wait = { bytes = REPLY }, message.patience(self.c, self.timeout, now)
    local lines, code = {}, nil
    repeat
      local text, err = message.line(self.c, budget, wait)
      if not text then return nil, err end
      lines[#lines + 1] = text
      local own, mark = match(text, "^(%d%d%d)(.?)")
      if not code then
        if not own then return nil, "invalid server reply" end
        code = own
      end
      -- A reply of many lines ends with its code and no "-".
      local ends = own == code and mark ~= "-"
    until ends
    self.c:settimeout(self.timeout)
    return code, concat(lines, "\n")
  end

  --- Reads a reply. `ok` is a pattern of codes (`"2.."`), an array of them, or a function of code and reply. Answers the
  --- code, a number, and the reply; nil and the reply where the code is another.
  function methods:check(ok)
    local code, reply = reply_of(self)
    if not code then return nil, reply end
    if type(ok) == "function" then return ok(tonumber(code), reply) end
    for _, pattern in ipairs(type(ok) == "table" and ok or { ok }) do
      if find(code, pattern) then return tonumber(code), reply end
    end
    return nil, reply
  end

  --- Sends a command, in upper case, and its argument. Neither may hold a line break: it would begin another command.
  function methods:command(name, argument)
    if type(name) ~= "string" then error("bad argument #1 to 'command' (string expected, got " .. type(name) .. ")", 2) end
    local text = upper(name)
    if argument ~= nil and argument ~= false then text = text .. " " .. tostring(argument) end
    if message.breaks(text) then return nil, "a line break in a command" end
    return self.c:send(text .. "\r\n")
  end

  --- Hands one piece that was received by `pattern` to a sink.
  function methods:sink(snk, pattern)
    local piece, err = self.c:receive(pattern)
    return snk(piece, err)
  end

  --- Sends all of a source.
  function methods:source(source, step)
    return ltn12.pump.all(source, socket.sink("keep-open", self.c), step or ltn12.pump.step)
  end

  function methods:send(data) return self.c:send(data) end
  function methods:receive(pattern) return self.c:receive(pattern) end
  function methods:getfd() return self.c:getfd() end
  function methods:dirty() return self.c:dirty() end
  function methods:getcontrol() return self.c end
  function methods:getpeername() return self.c:getpeername() end
  function methods:getsockname() return self.c:getsockname() end

  function methods:close()
    self.c:close()
    return 1
  end

  return M
end
