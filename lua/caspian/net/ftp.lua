--- FTP (RFC 959, 2228, 2389, 2428, 2640, 3659, 4217): `net.ftp` and its class.
--
-- Data connections are in `ftp/data`, the meaning of replies and listings in `ftp/replies` and `ftp/listing`.
local args = require("caspian.net.args")
local clients = require("caspian.net.mail.client")
local data = require("caspian.net.ftp.data")
local errors = require("caspian.net.errors")
local listing = require("caspian.net.ftp.listing")
local opening = require("caspian.net.mail.opening")
local replies = require("caspian.net.ftp.replies")
local error, huge, rawget, setfenv, tostring, type = error, math.huge, rawget, setfenv, tostring, type
local concat, format, sub = table.concat, string.format, string.sub
local time = os and os.time
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, fail, show, word = args.bad, errors.fail, args.show, clients.word
local ask = data.ask

local BODY = 256 * 1024 * 1024 -- bytes that `get` gathers in a string
local LISTING = 64 * 1024 * 1024 -- bytes of a listing
local ENTRY = 128 -- bytes that an entry of one takes in memory besides its line
local LINE = 16384 -- bytes of a line of one

-- Opening -------------------------------------------------------------------------------------------------------------

--- Protects the connection (RFC 4217): the control connection by AUTH TLS, and every connection for data by PROT P.
local function secure(state, opts)
  local _, refused
  if opts.tls == "starttls" then
    _, refused = ask(state, 2, "AUTH", "TLS")
    if refused then opening.unsecured("refuses AUTH TLS (" .. refused.code .. ")") end
    state.secure()
  end
  _, refused = ask(state, 2, "PBSZ", "0")
  if not refused then _, refused = ask(state, 2, "PROT", "P") end
  if refused then opening.unsecured("refuses to protect data connections (PROT P: " .. refused.code .. ")") end
end

local function login(state, opts)
  local user, password = opts.user or "anonymous", opts.password
  if opts.user and password then opening.confidential(state, opts) end
  state.channel:command("USER", user)
  local reply = state.channel:reply()
  state.channel.underway = false
  if reply.code == 331 then
    state.channel:command("PASS", password or "anonymous@")
    reply = state.channel:reply()
    state.channel.underway = false
  end
  if reply.code >= 200 and reply.code < 300 then return nil end
  -- 332 wants an account besides, which nobody has any more.
  if reply.code >= 400 or reply.code == 332 then return clients.refusal(reply.code, reply.text) end
  fail("protocol", format("%s is %d, an unexpected code", state.channel:awaited(), reply.code))
end

local function start(state, opts)
  state.active = opts.active
  local reply
  repeat
    -- 120: ready in some minutes.
    reply = state.channel:reply()
  until reply.code ~= 120
  if reply.code >= 400 then return clients.refusal(reply.code, reply.text) end
  if reply.code ~= 220 then fail("protocol", format("the greeting is %d, not 220", reply.code)) end
  if opts.tls then secure(state, opts) end
  local _, refused = nil, login(state, opts)
  if refused then return refused end
  reply = ask(state, 2, "FEAT")
  state.features = reply and replies.features(reply.lines) or {}
  if state.features.UTF8 then ask(state, 2, "OPTS", "UTF8", "ON") end -- some want to be told, others know no such command
  _, refused = ask(state, 2, "TYPE", "I")
  return refused
end

-- Sources and sinks ---------------------------------------------------------------------------------------------------

--- What can be done with a value that bytes come from or go to: "string", "function", "file" or nil.
local function kind_of(value)
  if clients.is_file(value) then return "file" end
  local kind = type(value)
  return (kind == "string" or kind == "function") and kind or nil
end

--- A `move` for `data.transfer` that downloads.
-- @param into nil for a string, a function that takes pieces, or an open file
local function download(state, op, into, most)
  local core, kind = state.core, kind_of(into)
  return function(socket, progress)
    local pieces = {}
    if not into then progress.gathered = function() return concat(pieces) end end
    while true do
      local piece = socket:recv(data.PIECE)
      if not piece then break end
      if kind == "file" then
        local done, why = into:write(piece)
        if not done then error(op .. ": " .. tostring(why), 0) end
      elseif kind then
        into(piece)
      else
        if progress.bytes + #piece > most then fail("too_large", format("the file is longer than %.0f bytes (max_body_bytes)", most)) end
        pieces[#pieces + 1] = piece
      end
      progress.bytes = progress.bytes + #piece
    end
    core.close(socket)
    if into then return progress.bytes end
    return concat(pieces)
  end
end

--- The next pieces of what is to be sent.
local function pieces_of(op, from, offset)
  local kind = kind_of(from)
  if kind == "file" then
    if offset and offset > 0 then
      local done, why = from:seek("set", offset)
      if not done then error(op .. ": " .. tostring(why), 0) end
    end
    return function()
      local piece, why = from:read(data.PIECE)
      if not piece and why then error(op .. ": " .. tostring(why), 0) end
      return piece
    end
  elseif kind == "string" then
    local at = (offset or 0) + 1
    return function()
      local piece = sub(from, at, at + 4 * data.PIECE - 1)
      at = at + #piece
      return piece ~= "" and piece or nil
    end
  end
  return function()
    local piece = from()
    if piece ~= nil and type(piece) ~= "string" then error(op .. ": the function must return strings and then nil, got " .. show(piece), 0) end
    return piece
  end
end

--- A `move` that uploads.
local function upload(state, op, from, offset)
  local core = state.core
  return function(socket, progress)
    local pieces = pieces_of(op, from, offset)
    for piece in pieces do
      socket:send_all(piece)
      progress.bytes = progress.bytes + #piece
    end
    local done, err = core.shutdown(socket, "send")
    if done == nil then error(err, 0) end
    return progress.bytes
  end
end

-- The object ----------------------------------------------------------------------------------------------------------

local METHODS, FIELDS = {}, {}

--- What the server can (FEAT), by keyword in upper case: the parameters behind it, "" where there are none.
function FIELDS.features(state)
  return clients.copied(state.features)
end

local object, behind = clients.class("ftp", METHODS, FIELDS, function(state)
  ask(state, 2, "QUIT")
end, "quit")

--- A path of the server's: not empty, no CR, LF or NUL.
local function path_of(index, name, path, what)
  word(index, name, what or "path", path)
  if path == "" then bad(index, name, (what or "path") .. " is empty") end
end

local APPEND = { timeout = "seconds", type = "string" }
local PUT = { timeout = "seconds", type = "string", offset = "bytes" }
local GET = { timeout = "seconds", type = "string", offset = "bytes", max_body_bytes = "size" }
local LIST = { timeout = "seconds", max_body_bytes = "size" }
args.declare{ Ftp_append_options = APPEND, Ftp_put_options = PUT, Ftp_get_options = GET, Ftp_list_options = LIST }

local function transfer_options(name, given, known)
  local opts = args.options(3, name, given, known)
  if opts.type ~= nil and opts.type ~= "a" and opts.type ~= "i" then
    bad(3, name, 'type must be "i" (image) or "a" (ASCII), got ' .. show(opts.type))
  end
  return opts
end

--- Changes the representation for one transfer: "I" is what it is otherwise.
local function in_type(state, kind, f, ...)
  if kind ~= "a" then return f(state, ...) end
  local _, refused = ask(state, 2, "TYPE", "A")
  if refused then return nil, refused end
  local ok, result, why = state.attempt(huge, f, state, ...)
  if not state.ended and not state.channel.underway then ask(state, 2, "TYPE", "I") end
  if not ok then error(result, 0) end
  return result, why
end

--- Fetches a file. Returns a string, or the number of bytes where they go elsewhere; nil and a refusal where the server does not begin.
-- A transfer that began and did not end well raises an error: `err.bytes` arrived, of a string they are `err.partial`.
-- @param into nothing, a function that is called with each piece, or an open file, which is written to where it stands
-- @param opts offset (0): the first byte wanted (REST); max_body_bytes (256 MiB): of a string; type ("i"); timeout: of the whole. Without
--   one each wait alone may take the client's
function METHODS.get(self, path, into, opts)
  local state = behind(self, "get")
  path_of(1, "get", path)
  if into ~= nil and (type(into) == "string" or not kind_of(into)) then
    bad(2, "get", "a function or an open file expected, or nothing for a string; got " .. show(into))
  end
  opts = transfer_options("get", opts, GET)
  local move = download(state, "get", into, opts.max_body_bytes or BODY)
  return state:flow("get", opts.timeout, in_type, opts.type, data.transfer, move, opts.offset, "RETR", path)
end

local function send(name, command)
  return function(self, path, from, opts)
    local state = behind(self, name)
    path_of(1, name, path)
    if not kind_of(from) then bad(2, name, "a string, a function or an open file expected, got " .. show(from)) end
    if command == "APPE" and type(opts) == "table" and rawget(opts, "offset") ~= nil then bad(3, name, "append takes no offset") end
    opts = transfer_options(name, opts, command == "APPE" and APPEND or PUT)
    local move = upload(state, name, from, opts.offset)
    return state:flow(name, opts.timeout, in_type, opts.type, data.transfer, move, opts.offset, command, path)
  end
end

--- Stores a file; the number of bytes sent, or nil and a refusal. An error's `bytes` is how many were sent.
-- @param from a string, a function that returns the next piece and nil at the end, or an open file, read from where it stands
-- @param opts offset (0): where in the file on the server it goes on (REST). Of a string and a file what comes from there on is sent; a
--   function gives what comes from there on. type ("i"); timeout, as for `get`
METHODS.put = send("put", "STOR")
--- The same at the end of a file that may be there already (APPE). No offset.
METHODS.append = send("append", "APPE")

--- Reads a listing's entries.
local function entries(state, parse, most)
  local core, now = state.core, time and time() or 0
  return function(socket, progress)
    local list, limit, held = {}, { max = LINE }, 0
    while true do
      local line = socket:recv_line(limit)
      if not line then break end
      progress.bytes = progress.bytes + #line
      held = held + #line + ENTRY
      if held > most then fail("too_large", format("the listing takes more than %.0f bytes (max_body_bytes)", most)) end
      if sub(line, -1) ~= "\n" then line = line .. "\n" end
      list[#list + 1] = parse(sub(line, 1, sub(line, -2, -2) == "\r" and -3 or -2), now)
    end
    core.close(socket)
    return clients.array(list)
  end
end

local function list(state, path, most)
  if state.features.MLST or state.features.MLSD then
    local result, refused = data.transfer(state, entries(state, listing.facts, most), nil, "MLSD", path)
    if result or refused.code < 500 or refused.code > 504 then return result, refused end
    state.features.MLST, state.features.MLSD = nil, nil
  end
  -- A path that looks like an option of ls is taken for one.
  if path and sub(path, 1, 1) == "-" then path = "./" .. path end
  return data.transfer(state, entries(state, listing.line, most), nil, "LIST", path)
end

--- The entries of a directory, an array of { name, type = "file" | "dir" | "link" | "other", size, mtime, perm, unique, mode, owner,
-- group, target }, whatever of it the server tells; nil and a refusal. Asked for by MLSD, and by LIST where the server does not know that.
-- A name is never more than one segment. opts: timeout, as for `get`; max_body_bytes (64 MiB): of the listing
function METHODS.list(self, path, opts)
  local state = behind(self, "list")
  if path ~= nil then path_of(1, "list", path) end
  opts = args.options(2, "list", opts, LIST)
  return state:flow("list", opts.timeout, list, path, opts.max_body_bytes or LISTING)
end

--- A method that sends one command with a path. `read(reply)` gives what it returns.
local function simple(name, command, read)
  METHODS[name] = function(self, path)
    local state = behind(self, name)
    path_of(1, name, path)
    local result, refused = state:call(name, nil, function()
      local reply, refused = ask(state, 2, command, path)
      if not reply then return nil, refused end
      if not read then return true end
      local value = read(reply.text, path)
      if value == nil then fail("protocol", "the reply to " .. command .. " is malformed") end
      return value
    end)
    return result, refused
  end
end

--- Bytes of a file.
simple("size", "SIZE", replies.size)
simple("delete", "DELE")
--- Makes a directory; its path as the server has it.
simple("mkdir", "MKD", function(text, path) return replies.path(text) or path end)
simple("rmdir", "RMD")
--- Changes the directory that paths without a leading `/` begin in. ".." is the one above.
simple("cwd", "CWD")

--- When a file was changed, in seconds since 1970. With `seconds` sets it (MFMT, draft-somers-ftp-mfxx) and returns it.
function METHODS.mtime(self, path, seconds)
  local state = behind(self, "mtime")
  path_of(1, "mtime", path)
  if seconds ~= nil and (type(seconds) ~= "number" or not (seconds >= 0 and seconds < 253402300800)) then
    bad(2, "mtime", "seconds must be a time since 1970, got " .. show(seconds))
  end
  local result, refused = state:call("mtime", nil, function()
    local reply, refused
    if seconds then
      reply, refused = ask(state, 2, "MFMT", replies.stamp(seconds), path)
      return reply and seconds, refused
    end
    reply, refused = ask(state, 2, "MDTM", path)
    if not reply then return nil, refused end
    return replies.time(reply.text) or fail("protocol", "the reply to MDTM has no valid time")
  end)
  return result, refused
end

--- Gives a file or directory another name; true, or nil and a refusal.
function METHODS.rename(self, from, to)
  local state = behind(self, "rename")
  path_of(1, "rename", from, "from")
  path_of(2, "rename", to, "to")
  local result, refused = state:call("rename", nil, function()
    local reply, refused = ask(state, 3, "RNFR", from)
    if reply then reply, refused = ask(state, 2, "RNTO", to) end
    return reply and true, refused
  end)
  return result, refused
end

--- The directory that paths begin in.
function METHODS.pwd(self)
  local state = behind(self, "pwd")
  local result, refused = state:call("pwd", nil, function()
    local reply, refused = ask(state, 2, "PWD")
    if not reply then return nil, refused end
    return replies.path(reply.text) or fail("protocol", "the reply to PWD has no path in quotes")
  end)
  return result, refused
end

local PROTOCOL = {
  ports = { starttls = 21, implicit = 990, none = 21 },
  options = {
    active = "boolean", -- false; true: the server connects to us (EPRT, PORT), which needs a listen grant
  },
  limits = { free = true },
  anonymous = true,
  sessions = true,
  start = start,
  object = object,
}
args.declare{ Ftp_options = opening.with(PROTOCOL.options) }

local function open(door, name, given)
  local auth = type(given) == "table" and rawget(given, "auth")
  if auth and auth ~= "auto" and auth ~= "plain" then
    bad(1, name, 'auth must be "auto" or "plain" (USER and PASS), got ' .. show(auth))
  end
  return opening.open(door, name, given, PROTOCOL)
end

return { open = open }
