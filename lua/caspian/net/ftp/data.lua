--- Commands and replies of an FTP client, and its connections for data: opened by either side, under TLS where the control
-- connection is, each with the transfer over it, from its command to its last reply.
--
-- They go to the address of the control connection only: addresses in replies are ignored.
local clients = require("caspian.net.mail.client")
local errors = require("caspian.net.errors")
local replies = require("caspian.net.ftp.replies")
local error, floor, huge, min, setfenv = error, math.floor, math.huge, math.min, setfenv
local find, format, gsub = string.find, string.format, string.gsub
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local fail, refusal = errors.fail, clients.refusal

local M = {
  PIECE = 65536,   -- bytes that are read or written at a time
  STRANGERS = 16,  -- connections from elsewhere that an active transfer turns away before it gives up
  NOTICE = 1,      -- seconds that a server has to notice that a transfer has failed here
  SETTLE = 5,      -- seconds until it has answered to that
}

--- A core's answer, or its error raised.
local function got(value, err)
  if value == nil then error(err, 0) end
  return value
end

--- The control connection's socket.
local function control(state)
  return state.channel.transport.socket
end

-- Commands ------------------------------------------------------------------------------------------------------------

--- Reads the reply to the last command.
-- @param class the first digit of its code
-- @return the reply; nil and a refusal where the server refuses (4xx, 5xx)
function M.answer(state, class)
  local channel = state.channel
  local reply = channel:reply()
  channel.underway = false
  if reply.code == 421 then state:finish("the server closed it: 421") end
  local first = floor(reply.code / 100)
  if first == class then return reply end
  if first == 4 or first == 5 then return nil, refusal(reply.code, reply.text) end
  channel.underway = true
  fail("protocol", format("%s is %d, an unexpected code: %s", channel:awaited(), reply.code, reply.text))
end

--- Sends a command and reads its reply.
-- @param class as for `answer`
function M.ask(state, class, ...)
  state.channel:command(...)
  return M.answer(state, class)
end

local answer, ask = M.answer, M.ask

-- Opening -------------------------------------------------------------------------------------------------------------

--- What the gate says of a port for data: servers pick them as they like, so one port is hardly what helps.
local function explained(state, err)
  local methods = errors.methods()
  if methods.word(err) == "port_not_allowed" then
    return methods.altered(err, {
      message = err.message .. "; FTP servers choose a port for each transfer: --allow-net=" .. state.host .. " allows every port of this host",
    })
  end
  return err
end

--- Connects to where the server listens: EPSV, or PASV where it does not know that.
-- @return the socket; nil and a refusal
local function passive(state)
  local port
  if not state.no_epsv then
    local reply, refused = ask(state, 2, "EPSV")
    if reply then
      port = replies.extended(reply.text)
      if not port then fail("protocol", "the reply to EPSV names no port") end
    elseif refused.code < 500 then
      return nil, refused
    else
      state.no_epsv = true
    end
  end
  if not port then
    local reply, refused = ask(state, 2, "PASV")
    if not reply then return nil, refused end
    local address
    address, port = replies.passive(reply.text)
    if not address then fail("protocol", "the reply to PASV names no address and port") end
  end
  local socket, err = state.core.beside(control(state), port, state.armed)
  if socket == nil then error(explained(state, err), 0) end
  return socket
end

--- Listens for the server's connection, on the address that the control connection has here: EPRT, or PORT where the server does not
-- know that. Needs a listen grant.
local function active(state)
  local core = state.core
  local address = control(state).local_host
  local listener = got(core.tcp_listen(state.door.cap, address, 0, { timeout = state.armed, backlog = 4 }))
  address = gsub(address, "%%.*$", "")
  local port, v6 = listener.local_port, find(address, ":", 1, true)
  local function tell()
    local reply, refused = ask(state, 2, "EPRT", format("|%d|%s|%d|", v6 and 2 or 1, address, port))
    if not reply and refused.code >= 500 and not v6 then
      reply, refused = ask(state, 2, "PORT", replies.port(address, port))
    end
    return reply, refused
  end
  local ok, reply, refused = state.attempt(huge, tell)
  if not ok or not reply then core.close(listener) end
  if not ok then error(reply, 0) end
  if not reply then return nil, refused end
  return listener
end

--- The server's connection: anyone may connect, only the peer of the control connection has what was asked for.
local function accept(state, listener)
  local core = state.core
  local wanted = control(state).remote_host
  for _ = 1, M.STRANGERS do
    local socket = got(core.accept(listener))
    if socket.remote_host == wanted then
      socket.timeout = state.armed
      return socket
    end
    core.close(socket)
  end
  fail("protocol", "data connections came from other hosts than the server")
end

-- Transfers -----------------------------------------------------------------------------------------------------------

--- Reads the last reply to a transfer; a server that has not noticed that it is over is told (ABOR). That is answered once or twice,
-- so the reply to NOOP shows that all has been read.
local function last_reply(state)
  local channel = state.channel
  local ok, reply = state.attempt(M.NOTICE, channel.reply, channel)
  if ok then return reply end
  if not (errors.fields[reply] and errors.methods().is(reply, "timeout")) then error(reply, 0) end
  channel:send("ABOR\r\nNOOP\r\n")
  local first
  for _ = 1, 4 do
    reply = channel:reply("ABOR")
    if reply.code == 200 or reply.code == 421 then return first or reply end
    first = first or reply
  end
  fail("protocol", "the server's replies to ABOR and NOOP are unexpected")
end

--- The last reply to a transfer that failed here: with it the control connection is good for the next command. Nil where it does not
-- come, and then the connection is over.
local function settled(state)
  local channel = state.channel
  local socket = control(state)
  socket.timeout = min(state.armed, M.SETTLE)
  local ok, reply = state.attempt(M.SETTLE, last_reply, state)
  socket.timeout = state.armed
  if not ok then return nil end
  channel.underway = false
  channel.waiting = nil
  if reply.code == 421 then state:finish("the server closed it: 421") end
  return reply
end

--- An error of a transfer with what is known of it: how far it came, and what the server said.
local function cut(err, progress, reply)
  if not errors.fields[err] then return err end
  local own = errors.fields[err]
  local failed = reply and reply.code >= 400
  return errors.methods().altered(err, {
    message = own.message .. (failed and format(" (the server: %d %s)", reply.code, reply.text) or ""),
    bytes = progress.bytes, partial = progress.gathered and progress.gathered() or false,
    code = failed and reply.code or own.code, text = failed and reply.text or own.text,
  })
end

--- Reads the ticket that a server sends behind the handshake, where nothing else was read (RFC 8446 section 4.6.1): without one the next
-- connection resumes nothing, which vsftpd takes for a reason to leave.
local function await_ticket(state, socket)
  local core, wait = state.core, { timeout = 0 }
  for _ = 1, 20 do
    state.attempt(huge, socket.recv, socket, 1, wait)
    if not core.tls_spent(state.sessions) or not socket.connected then break end
    wait.timeout = M.NOTICE / 20
  end
end

--- What ends a transfer that was made for its handshake.
local ENOUGH = {}

--- Gets tickets for later connections, where the server has given all that it gives on its own and gives none for those that are used:
-- a connection that resumes nothing brings some, though the server may refuse it. Before the transfer, since the caller's function that
-- bytes come from cannot be asked for them again.
local function restock(state)
  local core = state.core
  local ok, err = state.attempt(huge, M.transfer, state, function(socket)
    socket:recv(1)
    error(ENOUGH, 0)
  end, nil, "LIST")
  if not ok and (state.ended or state.channel.underway) then error(err, 0) end
  -- It is not tried again where it came to nothing.
  state.unstocked = core.tls_spent(state.sessions)
end

--- Runs a command that transfers data.
-- @param offset where it begins; 0 or nil: at the beginning
-- @param move `function(socket, progress)`: reads to the end, or writes and ends. `progress.bytes` is how many there were so far, and
--   `progress.gathered()` what an error hands over of them
-- @param word, path the command
-- @return what move returns; nil and a refusal where the server does not begin
function M.transfer(state, move, offset, word, path)
  local core, channel = state.core, state.channel
  local socket, refused
  if state.sessions and not (state.restocking or state.unstocked) and core.tls_spent(state.sessions) then
    state.restocking = true
    local ok, err = state.attempt(huge, restock, state)
    state.restocking = nil
    if not ok then error(err, 0) end
  end
  if state.active then socket, refused = active(state) else socket, refused = passive(state) end
  if not socket then return nil, refused end
  local progress = { bytes = 0 }
  local begun = false

  local function run()
    if offset and offset > 0 then
      local reply, why = ask(state, 3, "REST", format("%.0f", offset))
      if not reply then return nil, why end
    end
    if path then channel:command(word, path) else channel:command(word) end
    local reply, why = answer(state, 1)
    if not reply then return nil, why end
    begun = true
    -- Until the last reply: an error before it leaves that to be read.
    channel.underway = true
    channel.waiting = "the data of " .. word
    if state.active then
      local listener = socket
      socket = nil
      local ok, taken = state.attempt(huge, accept, state, listener)
      core.close(listener)
      if not ok then error(taken, 0) end
      socket = taken
    end
    if state.sessions then socket = got(core.starttls(socket, { timeout = state.armed }, state.sessions)) end
    local result = move(socket, progress)
    channel.waiting = nil
    reply = channel:reply(word)
    channel.underway = false
    begun = false
    if reply.code < 200 or reply.code > 299 then
      if reply.code == 421 then state:finish("the server closed it: 421") end
      fail("connection_reset", format("the transfer was cut short: %d %s", reply.code, reply.text), { code = reply.code, text = reply.text })
    end
    return result
  end

  local ok, result, why = state.attempt(huge, run)
  if socket and state.sessions then await_ticket(state, socket) end
  if ok then
    if socket then core.close(socket) end
    return result, why
  end
  if socket then
    -- A reset says that this was not the end of an upload. A server that has not accepted the connection yet may never learn of either.
    if progress.bytes > 0 then core.reset(socket) else core.close(socket) end
  end
  local err = result
  error(cut(err, progress, begun and settled(state) or nil), 0)
end

return M
