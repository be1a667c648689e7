--- POP3 (RFC 1939, 2449, 2595, 5034): `net.pop3` and its class.
--
-- `quit` deletes the marked messages: a connection that ends in any other way, `close` included, deletes nothing.
local args = require("caspian.net.args")
local clients = require("caspian.net.mail.client")
local errors = require("caspian.net.errors")
local opening = require("caspian.net.mail.opening")
local sasl = require("caspian.net.mail.sasl")
local error, setfenv, tonumber, tostring, type = error, setfenv, tonumber, tostring, type
local concat, find, format, gmatch, match, sub, upper =
  table.concat, string.find, string.format, string.gmatch, string.match, string.sub, string.upper
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, fail, show = args.bad, errors.fail, args.show

local BODY = 256 * 1024 * 1024   -- bytes of a message as a string
local LISTING = 64 * 1024 * 1024 -- bytes that a reply in lines takes
local ENTRY = 128                -- bytes that a line of one takes in memory besides its own
local PIECE = 65536

-- Replies -------------------------------------------------------------------------------------------------------------

--- Reads the first line of a reply.
-- @param more true where lines follow a good one
-- @return its text; nil and a refusal
local function answer(state, more)
  local channel = state.channel
  local line = channel:plain()
  local text = match(line, "^%+OK ?(.*)$")
  if text then
    channel.underway = more or false
    return text
  end
  text = match(line, "^%-ERR ?(.*)$")
  if not text then fail("protocol", channel:awaited() .. " is neither +OK nor -ERR") end
  channel.underway = false
  return nil, clients.refusal("-ERR", text)
end

local function ask(state, more, ...)
  state.channel:command(...)
  return answer(state, more)
end

--- The lines that follow, each handed to `each`, up to the one that is a dot.
local function lines(state, each)
  local channel, left = state.channel, LISTING
  while true do
    local line = channel:plain()
    left = left - #line - ENTRY
    if left < 0 then fail("too_large", format("%s takes more than %d bytes", channel:awaited(), LISTING)) end
    if line == "." then break end
    if sub(line, 1, 1) == "." then line = sub(line, 2) end
    each(line)
  end
  channel.underway = false
end

--- An iterator over a message as it arrives, in pieces: the dots in front of lines taken away (RFC 1939 section 3), however the
-- pieces are cut, up to the line that is a dot.
local function pieces(channel)
  -- What may be the beginning of the end, 4 bytes at the most. In front of the first line one has ended.
  local rest, first, over = "\r\n", true, false
  return function()
    while not over do
      local text, out, at = rest .. channel:some(PIECE), {}, 1
      while true do
        local found = find(text, "\r\n.", at, true)
        if not found then
          local kept = sub(text, -2) == "\r\n" and 2 or sub(text, -1) == "\r" and 1 or 0
          -- Not into what was handed out already.
          if kept > #text - at + 1 then kept = #text - at + 1 end
          out[#out + 1] = sub(text, at, #text - kept)
          rest = sub(text, #text - kept + 1)
          break
        end
        local behind = sub(text, found + 3, found + 4)
        if behind == "\r\n" then
          out[#out + 1] = sub(text, at, found + 1)
          if #text > found + 4 then fail("protocol", "the server sent data after the end of a message") end
          over = true
          break
        elseif behind == "" or behind == "\r" then
          out[#out + 1] = sub(text, at, found - 1)
          rest = sub(text, found)
          break
        end
        out[#out + 1] = sub(text, at, found + 1)
        at = found + 3
      end
      local piece = concat(out)
      if first and piece ~= "" then piece, first = sub(piece, 3), false end
      if piece ~= "" then return piece end
    end
    channel.underway = false
  end
end

-- Opening -------------------------------------------------------------------------------------------------------------

--- Asks what the server can (RFC 2449). `nil` where it does not say.
local function capabilities(state)
  local all = {}
  state.capabilities = all
  if not ask(state, true, "CAPA") then return nil end
  lines(state, function(line)
    local keyword, parameters = match(line, "^(%S+) ?(.*)$")
    if keyword then all[upper(keyword)] = parameters end
  end)
  return all
end

--- The timestamp in the greeting, if it is an address as RFC 822 has it: what else could be signed with APOP might help whoever
-- guesses the password (CVE-2007-1558).
local function timestamp(greeting)
  local inside = match(greeting, "<([\33-\59\61\63-\126]+)>")
  return inside and find(inside, "^[^@]+@[^@]+$") and "<" .. inside .. ">" or nil
end

local function apop(state, opts)
  if not state.timestamp then fail("protocol", "the server offers no APOP: its greeting has no timestamp, or a malformed one") end
  local digest = state.core.codec_digest("md5", state.timestamp .. opts.password, true)
  local _, refused = ask(state, false, "APOP", opts.user, digest)
  return refused
end

local function user_and_pass(state, opts)
  opening.confidential(state, opts)
  local _, refused = ask(state, false, "USER", opts.user)
  if not refused then _, refused = ask(state, false, "PASS", opts.password) end
  return refused
end

local function by_sasl(state, opts, offered)
  local channel = state.channel
  -- A line of AUTH has 255 bytes at the most (RFC 5034 section 4).
  local initial = #opts.user + #opts.password < 150
  return opening.authenticate(state, opts, offered, initial, function(mechanism, first)
    if first then channel:command("AUTH", mechanism, first) else channel:command("AUTH", mechanism) end
  end, function(text)
    channel:send(text .. "\r\n")
  end, function()
    local line = channel:plain()
    local challenge = match(line, "^%+ ?([%w+/=]*)$")
    if challenge then return "more", challenge end
    channel.underway = false
    if find(line, "^%+OK") then return "done" end
    local text = match(line, "^%-ERR ?(.*)$")
    if not text then fail("protocol", "the reply to AUTH is neither +OK, -ERR nor a challenge") end
    return nil, clients.refusal("-ERR", text)
  end)
end

local function login(state, opts)
  local offered, auth = {}, opts.auth or "auto"
  for name in gmatch(state.capabilities.SASL or "", "%S+") do offered[#offered + 1] = name end
  if auth == "apop" then return apop(state, opts) end
  if auth == "user" then return user_and_pass(state, opts) end
  if auth ~= "auto" then return by_sasl(state, opts, offered) end
  -- In the clear, what hides the password comes first.
  if sasl.choose(offered, { private = state.private }) then return by_sasl(state, opts, offered) end
  if state.timestamp and not state.private then return apop(state, opts) end
  if sasl.choose(offered, { private = state.private, insecure_auth = opts.insecure_auth }) then return by_sasl(state, opts, offered) end
  return user_and_pass(state, opts)
end

local function start(state, opts)
  local greeting, refused = answer(state)
  if not greeting then return refused end
  local _
  state.timestamp = timestamp(greeting)
  local told = capabilities(state)
  if opts.tls == "starttls" then
    if told and not told.STLS then opening.unsecured("offers no STLS") end
    _, refused = ask(state, false, "STLS")
    if refused then opening.unsecured("refuses STLS (" .. tostring(refused) .. ")") end
    state.secure()
    -- What it said before may have been anybody's (RFC 2595 section 4).
    capabilities(state)
  end
  if opts.user then
    refused = login(state, opts)
    if refused then return refused end
    -- More may be offered to who is known.
    capabilities(state)
  end
end

-- The object ----------------------------------------------------------------------------------------------------------

local METHODS, FIELDS = {}, {}

--- What the server can (CAPA), by keyword in upper case: the parameters behind it, "" where there are none.
function FIELDS.capabilities(state)
  return clients.copied(state.capabilities)
end

local object, behind = clients.class("pop3", METHODS, FIELDS, function(state)
  -- A goodbye would delete what `dele` has marked.
  if not state.marked then ask(state, false, "QUIT") end
end)

local function number_of(name, value)
  return format("%.0f", args.count(1, name, "number", value, 1))
end

--- A method's work: asks, and reads what the reply says.
local function asked(state, read, more, ...)
  local text, refused = ask(state, more, ...)
  if not text then return nil, refused end
  return read(text, state)
end

local function yes() return true end

--- How many messages there are, and of how many bytes: { count, size }; nil and a refusal.
function METHODS.stat(self)
  local state = behind(self, "stat")
  local result, refused = state:call("stat", nil, asked, function(text)
    local count, size = match(text, "^(%d+) (%d+)")
    if not count or #count > 15 or #size > 15 then fail("protocol", "the reply to STAT does not have two numbers") end
    return clients.hash{ count = tonumber(count), size = tonumber(size) }
  end, false, "STAT")
  return result, refused
end

--- A method that tells something of one message, or of all.
local function told(name, command, key, pattern, read)
  local function one(line)
    local number, value = match(line, pattern)
    if not number or #number > 15 then fail("protocol", "a line of the reply to " .. command .. " is malformed") end
    value = read(value)
    if not value then fail("protocol", "a line of the reply to " .. command .. " is malformed") end
    return tonumber(number), value
  end
  METHODS[name] = function(self, number)
    local state = behind(self, name)
    local result, refused
    if number ~= nil then
      number = number_of(name, number)
      result, refused = state:call(name, nil, asked, function(text)
        local _, value = one(text)
        return value
      end, false, command, number)
    else
      result, refused = state:call(name, nil, asked, function()
        local list = {}
        lines(state, function(line)
          local which, value = one(line)
          list[#list + 1] = clients.hash{ number = which, [key] = value }
        end)
        return clients.array(list)
      end, true, command)
    end
    return result, refused
  end
end

--- The bytes of a message; without a number of all, an array of { number, size }.
told("list", "LIST", "size", "^(%d+) (%d+)", function(digits) return #digits <= 15 and tonumber(digits) or nil end)
--- What a message is known by in later sessions (RFC 1939, UIDL); without a number of all, an array of { number, uid }.
told("uidl", "UIDL", "uid", "^(%d+) ([\33-\126]+) *$", function(uid) return #uid <= 70 and uid or nil end)

local INTO = { timeout = "seconds", max_body_bytes = "size" }
args.declare{ Pop3_message_options = INTO }

--- Reads a message to where the caller wants it.
local function message(state, name, into, most, ...)
  local text, refused = ask(state, true, ...)
  if not text then return nil, refused end
  local gathered, bytes = {}, 0
  local file = clients.is_file(into)
  local function run()
    for piece in pieces(state.channel) do
      if file then
        local done, why = into:write(piece)
        if not done then error(name .. ": " .. tostring(why), 0) end
      elseif into then
        into(piece)
      else
        if bytes + #piece > most then fail("too_large", format("the message is longer than %.0f bytes (max_body_bytes)", most)) end
        gathered[#gathered + 1] = piece
      end
      bytes = bytes + #piece
    end
  end
  local ok, err = state.attempt(1 / 0, run)
  if not ok then
    if errors.fields[err] then
      err = errors.methods().altered(err, { bytes = bytes, partial = not into and concat(gathered) or false })
    end
    error(err, 0)
  end
  if into then return bytes end
  return concat(gathered)
end

local function receives(name, into, opts, at)
  if into ~= nil and type(into) ~= "function" and not clients.is_file(into) then
    bad(at, name, "a function or an open file expected, or nothing for a string; got " .. show(into))
  end
  return args.options(at + 1, name, opts, INTO)
end

--- A message as it is: a string, or the number of bytes where they go elsewhere; nil and a refusal.
-- @param into nothing, a function that is called with each piece, or an open file
-- @param opts max_body_bytes (256 MiB): of a string; timeout: of the whole. Without one each wait alone may take the client's
function METHODS.retr(self, number, into, opts)
  local state = behind(self, "retr")
  number = number_of("retr", number)
  opts = receives("retr", into, opts, 2)
  return state:flow("retr", opts.timeout, message, "retr", into, opts.max_body_bytes or BODY, "RETR", number)
end

--- A message's head and the first lines of its body; else as `retr`.
function METHODS.top(self, number, count, into, opts)
  local state = behind(self, "top")
  number = number_of("top", number)
  count = format("%.0f", args.count(2, "top", "lines", count, 0))
  opts = receives("top", into, opts, 3)
  return state:flow("top", opts.timeout, message, "top", into, opts.max_body_bytes or BODY, "TOP", number, count)
end

--- Marks a message: `quit` deletes it. true; nil and a refusal.
function METHODS.dele(self, number)
  local state = behind(self, "dele")
  number = number_of("dele", number)
  local result, refused = state:call("dele", nil, asked, function()
    state.marked = true
    return true
  end, false, "DELE", number)
  return result, refused
end

--- Takes every mark away.
function METHODS.rset(self)
  local state = behind(self, "rset")
  local result, refused = state:call("rset", nil, asked, function()
    state.marked = nil
    return true
  end, false, "RSET")
  return result, refused
end

--- Keeps the connection alive.
function METHODS.noop(self)
  local state = behind(self, "noop")
  return state:call("noop", nil, asked, yes, false, "NOOP")
end

--- Deletes what is marked and ends the session. true; nil and a refusal where the server could not delete everything.
function METHODS.quit(self)
  local state = behind(self, "quit")
  local result, refused = state:call("quit", nil, asked, yes, false, "QUIT")
  state:finish("it was closed")
  return result, refused
end

local PROTOCOL = {
  ports = { starttls = 110, implicit = 995, none = 110 },
  auths = { apop = true, user = true },
  start = start,
  object = object,
}

local function open(door, name, given)
  return opening.open(door, name, given, PROTOCOL)
end

return { open = open, pieces = pieces }
