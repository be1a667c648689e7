--- Commands and responses of IMAP (RFC 9051 section 2.2), and the state of the connection.
--
-- Fields of a state, beside a client's: capabilities (by name in upper case), utf8 (names of mailboxes are UTF-8 on the
-- line), accepts_utf8 (so are messages, RFC 6855), box (the selected mailbox), updates (unsolicited data), held (bytes of
-- those in memory), spent (bytes of the responses to this command), idling (the tag of a running IDLE), limits.
local clients = require("caspian.net.mail.client")
local errors = require("caspian.net.errors")
local objects = require("caspian.net.objects")
local error, floor, min, next, setfenv, setmetatable, tonumber, type =
  error, math.floor, math.min, next, setfenv, setmetatable, tonumber, type
local byte, concat, format, gsub, match, sub, upper =
  string.byte, table.concat, string.format, string.gsub, string.match, string.sub, string.upper
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local M = {
  LINE = 1024 * 1024,          -- bytes of a line
  LITERAL = 64 * 1024 * 1024,  -- bytes of a literal in memory
  REPLY = 256 * 1024 * 1024,   -- bytes that all responses to one command may take in memory
  UPDATES = 10000,             -- what the server said unasked and nobody has fetched: so many, and
  NEWS = 16 * 1024 * 1024,     -- bytes that it may take in memory
  VALUE = 64,                  -- bytes that a value takes in memory besides its own
  PIECE = 65536,               -- bytes of a literal that is streamed, at a time
  SMALL = 4096,                -- bytes of a literal that goes without asking, where LITERAL+ or LITERAL- is offered (RFC 7888)
}

-- Responses -----------------------------------------------------------------------------------------------------------

local function excessive(state)
  state.channel:fail("too_large", format("%s takes more than %.0f bytes (max_reply_bytes)", state.channel:awaited(), state.most_reply))
end

local function spend(state, bytes)
  state.spent = state.spent + bytes
  if state.spent > state.most_reply then excessive(state) end
end

--- What the core's reader makes of a text: a value, and how many values that is, each number of a set among them. They are counted
-- while it reads: ten bytes can name four billion numbers.
-- @param read a function of the core: (text, how many values at the most)
local function read(state, reader, text)
  local left = floor((state.most_reply - state.spent) / M.VALUE)
  local value, count = reader(text, left)
  if not value then
    if errors.methods().is(count, "too_large") then excessive(state) end
    state.channel:fail("protocol", state.channel:awaited() .. ": " .. count.message)
  end
  spend(state, M.VALUE * count)
  return value
end

--- The numbers of a set in what a server said; nil for what is none.
function M.numbers(state, set)
  if type(set) ~= "string" or not match(set, "^[%d:,]+$") then return nil end
  return read(state, state.core.imap_expand, set)
end

--- Hands the literal that follows to `sink`, in pieces.
local function stream(state, length, sink, head)
  local left = length
  while left > 0 do
    local piece = state.channel:some(left < M.PIECE and left or M.PIECE)
    left = left - #piece
    sink(piece, head)
  end
end

--- What stands before a literal of a section that is streamed: its name, and the number of the message.
local function section_of(line)
  -- A name is short, and a pattern that is not anchored takes the square of what it looks through.
  local tail = upper(sub(line, -2048))
  local name, section = match(tail, "[ (](B%a+)%[([^%]]*)%]<?%d*>? ~?{%d+%+?}$")
  if name == "BODY" or name == "BINARY" then return section end
  if match(tail, "[ (]RFC822 {%d+%+?}$") then return "" end
end

--- Reads one response with its literals: what it says, and how many bytes it takes.
-- @param sink takes the literals of sections, as `stream` gives them; in the response they are empty, and the third result has how many
--   bytes they had, by section
local function response(state, sink)
  local channel, core, before = state.channel, state.core, state.spent
  local line = channel:line()
  local length = byte(line, -1) == 125 and core.imap_literal(line, true)
  local text, lengths = line, nil
  if length then
    local pieces, seq, uid = {}, match(line, "^%* (%d+) [Ff][Ee][Tt][Cc][Hh] "), nil
    repeat
      spend(state, #line)
      local section = sink and seq and section_of(line)
      uid = uid or seq and match(upper(line), "[ (]UID (%d+)")
      if section then
        lengths = lengths or {}
        lengths[section] = length
        pieces[#pieces + 1] = gsub(line, "{%d+%+?}$", "{0}\r\n")
        stream(state, length, sink, { seq = tonumber(seq), uid = uid and tonumber(uid), section = section, size = length })
      else
        if length > state.most_literal then
          channel:fail("too_large", format("%s has a literal of %.0f bytes; at most %d are taken into memory (max_literal_bytes)",
            channel:awaited(), length, state.most_literal))
        end
        spend(state, length)
        pieces[#pieces + 1] = line
        pieces[#pieces + 1] = "\r\n"
        if length > 0 then pieces[#pieces + 1] = channel:exact(length) end
      end
      line = channel:line()
      length = byte(line, -1) == 125 and core.imap_literal(line, false)
    until not length
    pieces[#pieces + 1] = line .. "\r\n"
    text = concat(pieces)
  end
  spend(state, #line)
  local said = read(state, core.imap_parse, text)
  -- ESEARCH names the tag of its command, and ends nothing.
  if said.kind == "esearch" then said.of, said.tag = said.tag, nil end
  return said, state.spent - before, lengths
end

local function learn(state, names)
  local known = {}
  for at = 1, #names do known[upper(names[at])] = true end
  state.capabilities = known
end

--- What a server says to people, on one line and not too long.
local function spoken(text)
  return sub((gsub(text, "%c", "?")), 1, 500)
end
M.spoken = spoken

--- Keeps what the server says of the mailbox that is selected, where there is room: `lost` of the list says how many were dropped.
local function keep(state, update, bytes)
  local updates = state.updates
  if #updates >= M.UPDATES or state.held + bytes > min(M.NEWS, state.most_reply) then
    updates.lost = (updates.lost or 0) + 1
    return
  end
  state.held = state.held + bytes
  updates[#updates + 1] = setmetatable(update, objects.HASH)
end

--- Codes of OK that tell of a mailbox, by the names that it has here.
local CODES = {
  UIDVALIDITY = "uid_validity", UIDNEXT = "uid_next", UNSEEN = "first_unseen", HIGHESTMODSEQ = "highest_modseq", MAILBOXID = "id",
}

local function coded(state, said)
  local box, code, first = state.opening or state.box, said.code, said.arguments[1]
  if code == "CAPABILITY" then
    learn(state, said.arguments)
  elseif code == "ALERT" then
    state.alert = spoken(said.text)
  elseif box and CODES[code] then
    if type(first) == "table" then first = first[1] end
    box[CODES[code]] = code ~= "MAILBOXID" and tonumber(first) or first or nil
  elseif box and code == "PERMANENTFLAGS" and type(first) == "table" then
    box.permanent_flags = first
  end
end

--- Takes in what no command has asked for.
local function unasked(state, said, bytes)
  local kind, box = said.kind, state.opening or state.box
  if kind == "status" then
    if said.status == "BYE" and not state.leaving then
      local message = "the server closes the connection: " .. spoken(said.text)
      state:finish(message)
      state.channel:fail("connection_reset", message)
    elseif said.status == "PREAUTH" then
      state.channel:fail("protocol", state.channel:awaited() .. " is PREAUTH, which is valid only as a greeting")
    end
    if said.code then coded(state, said) end
  elseif kind == "capability" then
    learn(state, said.names)
  elseif kind == "flags" then
    if box then box.flags = said.flags end
  elseif kind == "exists" or kind == "recent" then
    if box then box[kind] = said.number end
    if not state.opening then keep(state, { kind = kind, number = said.number }, bytes) end
  elseif kind == "expunge" then
    if box and box.exists and box.exists > 0 then box.exists = box.exists - 1 end
    keep(state, { kind = kind, number = said.number }, bytes)
  elseif kind == "vanished" then
    if box and box.exists and not said.earlier then box.exists = box.exists > #said.uids and box.exists - #said.uids or 0 end
    keep(state, { kind = kind, uids = said.uids }, bytes)
  elseif kind == "fetch" then
    keep(state, { kind = kind, number = said.number, message = said.message }, bytes)
  elseif kind == "go" then
    state.channel:fail("protocol", state.channel:awaited() .. " is an unexpected continuation request")
  end
  -- Everything else is an answer to a command of somebody else's, or an extension's: of no use here, and allowed (RFC 9051 section 7).
end

--- Takes the responses of FETCH that have arrived, as far as they are ordinary: in one step of the core, since a mailbox has thousands.
local function many(state, on)
  local channel = state.channel
  local messages, counts, length =
    state.core.imap_fetched(channel.transport.socket, channel.max, floor((state.most_reply - state.spent) / M.VALUE))
  if messages == nil then error(counts, 0) end
  if not messages then return end
  local said, each = { kind = "fetch" }, floor(length / #messages)
  for at = 1, #messages do
    local bytes, message = each + M.VALUE * counts[at], messages[at]
    spend(state, bytes)
    -- Whoever takes it takes the message alone.
    said.message, said.number = message, message.seq
    if not on(said) then unasked(state, said, bytes) end
  end
end

--- The next response that is no news of its own: the end of the command `tag`, or a go-ahead where `go` says so.
-- @param on may take a response: true if it did
local function await(state, tag, go, on, sink)
  while true do
    if on and not sink then many(state, on) end
    local said, bytes, lengths = response(state, sink)
    if said.tag then
      if said.tag ~= tag then state.channel:fail("protocol", state.channel:awaited() .. " has an unknown tag") end
      if said.code then coded(state, said) end
      return said
    elseif said.kind == "go" and go then
      return said
    elseif not (on and on(said, lengths)) then
      unasked(state, said, bytes)
    end
  end
end

-- Commands ------------------------------------------------------------------------------------------------------------

--- What refused a command, or nil. BAD is no refusal: the server did not understand.
local function refused(state, said)
  if said.status == "OK" then return nil end
  if said.status == "NO" then return clients.refusal(spoken(said.code or "NO"), spoken(said.text)) end
  state.channel.underway = false
  state.channel:fail("protocol", format("the server answers %s with %s: %s", state.channel.word, said.status, spoken(said.text)))
end

function M.tag(state)
  state.count = (state.count or 0) + 1
  return format("C%d", state.count)
end

--- Ends an IDLE that goes on (RFC 9051 section 6.3.13).
function M.rest(state)
  local tag = state.idling
  if not tag then return end
  state.idling = nil
  state.spent = 0
  state.channel.word = "IDLE"
  state.channel:send("DONE\r\n")
  refused(state, await(state, tag))
end

--- Sends the pieces of a command: strings and literals. The server's last word, where it has one before all is sent.
local function send(state, tag, pieces, on)
  local channel, out = state.channel, {}
  local small = state.capabilities["LITERAL+"] or state.capabilities["LITERAL-"] or state.capabilities.IMAP4REV2
  for at = 1, #pieces do
    local piece = pieces[at]
    if type(piece) == "string" then
      out[#out + 1] = piece
    else
      local size = piece.literal and #piece.literal or piece.size
      if small and size <= M.SMALL then
        out[#out + 1] = format("{%d+}\r\n", size)
      else
        out[#out + 1] = format("{%.0f}\r\n", size)
        channel:send(concat(out))
        out = {}
        local said = await(state, tag, true, on)
        if said.tag then return said end
      end
      if piece.literal then
        out[#out + 1] = piece.literal
      else
        channel:send(concat(out))
        out = {}
        piece.pour(channel)
      end
    end
  end
  out[#out + 1] = "\r\n"
  channel:send(concat(out))
end

--- Gives a command and reads until it is done.
-- @param word for messages: "FETCH"; pieces: the rest, the first of them with the word
-- @param on, sink as for `await`
-- @return the server's last word, whatever it is; the command's tag
function M.perform(state, word, pieces, on, sink)
  M.rest(state)
  state.spent = 0
  local tag = M.tag(state)
  state.channel.word = word
  pieces[1] = tag .. " " .. pieces[1]
  return send(state, tag, pieces, on) or await(state, tag, false, on, sink), tag
end

--- The same: the last word, a refusal if it is one, the tag.
function M.command(state, word, pieces, on, sink)
  local said, tag = M.perform(state, word, pieces, on, sink)
  return said, refused(state, said), tag
end

--- The same for a command that is one line.
function M.say(state, word, line, on)
  return M.command(state, word, { line or word }, on)
end

--- The first response.
function M.greeting(state)
  state.spent = 0
  local said = response(state)
  if said.kind ~= "status" or said.tag then state.channel:fail("protocol", "the greeting is not an IMAP greeting") end
  return said
end

--- What the server offers, asked for where it has not said so.
function M.capabilities(state)
  if state.capabilities then return end
  state.capabilities = {}
  local _, no = M.say(state, "CAPABILITY")
  if no or next(state.capabilities) == nil then state.channel:fail("protocol", "the server sent no CAPABILITY response") end
end

--- Begins an IDLE; nil, or a refusal.
function M.idle(state)
  state.spent = 0
  local tag = M.tag(state)
  state.channel.word = "IDLE"
  state.channel:send(tag .. " IDLE\r\n")
  local said = await(state, tag, true)
  if said.tag then return refused(state, said) or clients.refusal("NO", spoken(said.text)) end
  state.idling = tag
end

--- Reads one response while an IDLE goes on; nil, or a refusal where the server has ended it.
function M.listen(state)
  state.spent = 0
  local said, bytes = response(state)
  if not said.tag then
    unasked(state, said, bytes)
  elseif said.tag == state.idling then
    state.idling = nil
    return refused(state, said)
  else
    state.channel:fail("protocol", "the server sent a tagged response with an unknown tag")
  end
end

--- What the server said unasked since it was last asked for; from now on it is the caller's.
function M.updates(state)
  local updates = state.updates
  state.updates, state.held = clients.array{}, 0
  return updates
end

--- A step of AUTHENTICATE: the challenge, or the end.
function M.challenge(state, tag)
  local said = await(state, tag, true)
  if not said.tag then return "more", said.text end
  local no = refused(state, said)
  if no then return nil, no end
  return "done"
end

M.coded = coded

return M
