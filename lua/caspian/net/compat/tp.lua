--- `socket.tp` of the drop-in: commands and replies by lines, as SMTP and FTP speak them. By the rules of the one channel
-- (`caspian.net.mail.channel`), over objects of LuaSocket's kind.
local channel = require("caspian.net.mail.channel")
local message = require("caspian.net.compat.message")
local error, ipairs, setfenv, setmetatable, tonumber, tostring, type =
  error, ipairs, setfenv, setmetatable, tonumber, tostring, type
local find, upper = string.find, string.upper
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
  local CHANNEL = { __index = methods }

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
    return setmetatable({ c = c, timeout = timeout }, CHANNEL)
  end

  --- The code, as text, and the lines of a reply, joined by "\n"; nil and an error.
  local function reply_of(self)
    local budget, wait = { bytes = REPLY }, message.patience(self.c, self.timeout, now)
    local code, lines = channel.reply(function() return message.line(self.c, budget, wait) end, true)
    if not code then return nil, lines end
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
    local text
    if argument ~= nil and argument ~= false then
      text = channel.joined(upper(name), tostring(argument))
    else
      text = channel.joined(upper(name))
    end
    if not text then return nil, "a line break in a command" end
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
