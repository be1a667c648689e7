--- Commands and replies by lines: the one channel of SMTP, IMAP, POP3 and FTP, and of the drop-in's `socket.tp`.
--
-- Works over a transport: { send_all(bytes), recv_line(max), recv_exact(n), recv(max), starttls(opts),
-- buffered(), close() }, which raise errors; a line comes with its newline, `nil` is the end of the stream. `channel.sockets`
-- makes one of a socket of ours. `joined` and `reply` raise nothing and are the drop-in's, too.
--
-- All input from a peer has a cap. Messages contain no argument of a command: it may be a password.
local errors = require("caspian.net.errors")
local error, select, setfenv, setmetatable, tonumber, type = error, select, setfenv, setmetatable, tonumber, type
local concat, find, format, match, sub = table.concat, string.find, string.format, string.match, string.sub
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local M = {
  LINE = 16384,  -- bytes of a line, with its end; RFC 5321 section 4.5.3.1.5 has 512
  REPLY = 65536, -- bytes of a reply, all its lines together
  BREAKS = "it contains CR, LF or NUL",
  MALFORMED = "invalid server reply",
  INJECTED = "the server sent data between its reply to STARTTLS and the TLS handshake, which an attacker may have injected",
}

-- Rules ---------------------------------------------------------------------------------------------------------------

--- A command line without its end: the word and its arguments, a blank between each; nil where one holds CR, LF or NUL.
function M.joined(word, ...)
  local text = word
  if select("#", ...) > 0 then text = concat({ word, ... }, " ") end
  if find(text, "[%z\r\n]") then return nil, M.BREAKS end
  return text
end

--- Reads a numbered reply (RFC 5321 section 4.2, RFC 959 section 4.2).
-- @param line answers the next line without its end, or nil and an error
-- @param free the lines between first and last may be anything, as in FTP; else each has the code
-- @return the code as three digits, and the lines as they came; nil and an error (`MALFORMED` where it is no reply)
function M.reply(line, free)
  local text, err = line()
  if not text then return nil, err end
  local code, mark = match(text, "^(%d%d%d)(.?)")
  if not code then return nil, M.MALFORMED end
  local lines = { text }
  while mark == "-" do
    text, err = line()
    if not text then return nil, err end
    lines[#lines + 1] = text
    local own, next_mark = match(text, "^(%d%d%d)(.?)")
    if own == code then
      mark = next_mark
    elseif not free then
      return nil, M.MALFORMED
    end
  end
  return code, lines
end

-- The channel ---------------------------------------------------------------------------------------------------------

local methods = {}
local CHANNEL = { __index = methods }

--- A channel over a transport.
-- @param limits { line = M.LINE, reply = M.REPLY, free = false, bare_lf = false }: `free` as for `reply`; `bare_lf` takes lines
--   that end in LF alone
-- @return an object of the front's own, which no script ever holds. Fields: `word`, the command whose reply is awaited;
--   `underway`, true while the peer may be in the middle of something
function M.over(transport, limits)
  limits = limits or {}
  local self = setmetatable({
    transport = transport, max = limits.line or M.LINE, most = limits.reply or M.REPLY, free = limits.free,
    bare_lf = limits.bare_lf, word = nil, underway = false,
  }, CHANNEL)
  --- The next line of a reply, within what the reply may still take.
  function self.more()
    local text = self:plain()
    self.left = self.left - #text - 2
    if self.left < 0 then self:fail("too_large", format("%s is longer than %d bytes", self:awaited(), self.most)) end
    return text
  end
  return self
end

--- What is waited for, for messages: the field `waiting`, or a reply.
function methods:awaited()
  return self.waiting or self.word and "the reply to " .. self.word or "the greeting"
end

--- Raises an error of a class by its last word. `given`: its other fields.
function methods:fail(class, message, given) -- luacheck: ignore
  errors.fail(class, message, given)
end

--- Sends bytes as they are.
function methods:send(bytes)
  self.underway = true
  self.transport.send_all(bytes)
end

--- The line of a command, for several that go out at once by `send`. An argument with CR, LF or NUL is refused.
function methods:text(word, ...) -- luacheck: ignore
  local text, why = M.joined(word, ...)
  if not text then error(format("bad argument to %s (%s)", match(word, "^[%w ]*"), why), 0) end
  return text .. "\r\n"
end

--- Sends a command: a word, and arguments with a blank between each.
function methods:command(word, ...)
  local text = self:text(word, ...)
  self.word = word
  self:send(text)
end

--- The next line, without its CRLF. `connection_reset` at the end of the stream, with what there was of it in `err.partial`.
-- @param max its bytes at the most. Defaults to the channel's; `too_large` beyond
function methods:line(max)
  self.underway = true
  local text = self.transport.recv_line(max or self.max)
  if text == nil then self:fail("connection_reset", "the server closed the connection before " .. self:awaited()) end
  if sub(text, -2) == "\r\n" then
    text = sub(text, 1, -3)
  elseif sub(text, -1) ~= "\n" then
    self:fail("connection_reset", "the server closed the connection in the middle of " .. self:awaited(), { partial = text })
  elseif self.bare_lf then
    text = sub(text, 1, -2)
  else
    self:fail("protocol", self:awaited() .. " has a line that ends in LF without CR")
  end
  -- Each is one look through memory, which a pattern is not.
  if find(text, "\r", 1, true) or find(text, "\0", 1, true) then self:fail("protocol", self:awaited() .. " has a bare CR or NUL") end
  return text
end

--- The next line, as `line`, of what people may be shown: a control character but TAB is an error.
function methods:plain()
  local text = self:line()
  if find(text, "[%z\1-\8\10-\31\127]") then self:fail("protocol", self:awaited() .. " has control characters") end
  return text
end

--- So many bytes, all of them. `connection_reset` at the end of the stream, with what there was in `err.partial`.
function methods:exact(count)
  self.underway = true
  return self.transport.recv_exact(count)
end

--- What has arrived, one byte at least and `max` at the most.
function methods:some(max)
  self.underway = true
  local bytes = self.transport.recv(max)
  if bytes == nil then self:fail("connection_reset", "the server closed the connection in the middle of " .. self:awaited()) end
  return bytes
end

--- Reads a numbered reply: { code = number, text = "…\n…", lines = { … } }, the lines without the code.
-- @param word the command that it answers. Defaults to the last one
function methods:reply(word)
  if word then self.word = word end
  self.left = self.most
  local code, lines = M.reply(self.more, self.free)
  if not code then self:fail("protocol", self:awaited() .. " is malformed: each line must begin with the same three-digit code") end
  for at = 1, #lines do
    -- In FTP a line in the middle may be without.
    if sub(lines[at], 1, 3) == code and find(lines[at], "^...[ -]") or #lines[at] == 3 then lines[at] = sub(lines[at], 5) end
  end
  return { code = tonumber(code), text = concat(lines, "\n"), lines = lines }
end

--- Speaks TLS from here on. What came before the handshake, in the clear, is refused: it would be taken for the answer to
-- what is said in private (RFC 3207 section 6, CVE-2011-0411).
-- @param opts those of `net.ssl`
-- @param sessions the core's, which later connections resume. Defaults to none
-- @return true; nil and words for options that are wrong
function methods:starttls(opts, sessions)
  if self.transport.buffered() then self:fail("protocol", M.INJECTED) end
  return self.transport.starttls(opts, sessions)
end

--- Ends the connection, without a word.
function methods:close()
  self.transport.close()
end

--- The transport that a socket of ours is. Its field `socket` is the socket that it is now.
-- @param core the core's functions
function M.sockets(core, socket)
  local self, limit = { socket = socket }, {}
  function self.send_all(bytes) return self.socket:send_all(bytes) end
  function self.recv_exact(count) return self.socket:recv_exact(count) end
  function self.recv(max) return self.socket:recv(max) end
  function self.close() core.close(self.socket) end
  function self.recv_line(max)
    limit.max = max
    return self.socket:recv_line(limit)
  end
  --- True if something has arrived that nobody has read. The end of the stream has not: the handshake tells it.
  function self.buffered()
    local readable, err = core.poll({ self.socket }, {}, 0, false, {})
    if readable == nil then error(err, 0) end
    return #readable > 0 and self.socket:recv(1) ~= nil
  end
  function self.starttls(opts, sessions)
    local secured, err = core.starttls(self.socket, opts, sessions)
    if type(err) == "string" then return nil, err end
    if secured == nil then error(err, 0) end
    self.socket = secured
    return true
  end
  return self
end

return M
