--- Messages of a mailbox: `fetch`, `search`, `store`, `copy`, `move`, `append`, `expunge` (RFC 9051 section 6.4). Numbers are UIDs unless
-- `sequence = true` says otherwise.
local args = require("caspian.net.args")
local clients = require("caspian.net.mail.client")
local commands = require("caspian.net.mail.imap.commands")
local arguments = require("caspian.net.mail.imap.arguments")
local error, min, next, rawget, rawset, setfenv, tostring, type = error, math.min, next, rawget, rawset, setfenv, tostring, type
local concat, find, format, lower, upper = table.concat, string.find, string.format, string.lower, string.upper
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, options, show = args.bad, args.options, args.show

--- What the server cannot, and nothing that it can would do as well.
local function unsupported(text)
  return clients.refusal("UNSUPPORTED", text)
end

-- An empty list names no message: what a search found may be given as it is, and the server is not asked.

--- UIDs or sequence numbers: what stands before a command.
local function uid(opts)
  return opts.sequence and "" or "UID "
end

-- Fetched messages ----------------------------------------------------------------------------------------------------

--- What is fetched, by the names of the results.
local ITEMS = {
  uid = "UID", flags = "FLAGS", size = "RFC822.SIZE", internal_date = "INTERNALDATE", envelope = "ENVELOPE", structure = "BODYSTRUCTURE",
  modseq = "MODSEQ", headers = "BODY.PEEK[HEADER]", text = "BODY.PEEK[TEXT]", message = "BODY.PEEK[]",
}
local DEFAULT = { "flags", "size", "internal_date", "envelope" }

--- What mail-parser makes of the bytes that were fetched, where that was asked for. What it cannot bear stays bytes, in `body`.
local function parse(state, message, wanted)
  local body = message.body
  if not body then return end
  if wanted.message and body[""] then message.message = state.core.mail_parse(body[""]) or nil end
  if wanted.headers and body.HEADER then
    local parsed = state.core.mail_parse(body.HEADER)
    message.headers = parsed and parsed.headers
  end
end

--- The attributes of a FETCH.
local function items_of(given)
  if given == nil then given = DEFAULT end
  if type(given) == "string" then given = { given } end
  if type(given) ~= "table" then bad(2, "fetch", "items must be a list of strings, got " .. show(given)) end
  local list, wanted = { "UID" }, {}
  for at = 1, args.items(2, "fetch", "items", given) do
    local item = rawget(given, at)
    local name = type(item) == "string" and (ITEMS[lower(item)]
      -- With a section it goes as it is: what is in the brackets may be the names of headers.
      or find(item, "^[%w%-.]+%[[^%]%c{}\128-\255]*%]<?[%d.]*>?$") and #item < 2000 and item
      or find(item, "^[%w%-.]+$") and #item < 100 and upper(item))
    if not name then
      bad(2, "fetch", "an item is a name such as \"flags\" or \"BODY.PEEK[1.2]\", got " .. show(item) .. args.hint(item, ITEMS))
    end
    if name ~= "UID" then list[#list + 1] = name end
    wanted[lower(item)] = true
  end
  return "(" .. concat(list, " ") .. ")", wanted
end

--- What takes the bytes of sections: a function, or a file of Lua's.
local function sink_of(into)
  if into == nil or type(into) == "function" then return into end
  return function(bytes)
    local done, why = into:write(bytes)
    if not done then error("into: " .. tostring(why), 0) end
  end
end

local FETCH = {
  sequence = "boolean", timeout = "seconds",
  each = "any",           -- function(message): called with each one as it comes; then nothing is kept
  into = "any",           -- takes the bytes of sections as they come: function(bytes, { seq, uid, section, size }), or a file of Lua's
  changed_since = "whole", -- those changed since that modseq (RFC 7162)
}

local METHODS = {}

--- Fetches messages. messages: a UID, a list, or a set ("1:*"). items: see ITEMS above, and RFC 9051 section 6.4.5 ("BODY.PEEK[1.2]",
-- "X-GM-LABELS"). The result has `uid`, `seq`, what was asked for, `body` and `binary` by section, `lengths` of those that `into`
-- took. "message" is the message as `mail.parse` gives it (its bytes are `body[""]`), "headers" its header fields.
-- @return a list of messages, in the server's order; with `each` their number. nil and a refusal
function METHODS.fetch(state, messages, items, opts)
  opts = options(3, "fetch", opts, FETCH)
  if opts.each ~= nil and type(opts.each) ~= "function" then bad(3, "fetch", "each must be a function, got " .. show(opts.each)) end
  if opts.into ~= nil and type(opts.into) ~= "function" and not clients.is_file(opts.into) then
    bad(3, "fetch", "into must be a function or an open file, got " .. show(opts.into))
  end
  local set, list, wanted = arguments.set(1, "fetch", messages), items_of(items)
  if set == "" then return opts.each and 0 or clients.array{} end
  local line = uid(opts) .. "FETCH " .. set .. " " .. list
  if opts.changed_since then line = line .. format(" (CHANGEDSINCE %.0f)", opts.changed_since) end
  local each, sink = opts.each, sink_of(opts.into)
  local call = (each or sink) and state.flow or state.call
  return call(state, "fetch", opts.timeout, function()
    local found, count, known = clients.array{}, 0, {}
    local parses = wanted.message or wanted.headers
    local function on(said, lengths)
      local message = said.message
      if said.kind ~= "fetch" or not message.uid then return false end
      if lengths then
        message.lengths = clients.hash(lengths)
      elseif parses then
        parse(state, message, wanted)
      end
      if each then
        count = count + 1
        each(message)
        state.spent = 0
      else
        -- A server may say what it has of a message in several responses.
        local before = known[message.uid]
        if before then
          for name, value in next, message do rawset(before, name, value) end
        else
          count = count + 1
          found[count], known[message.uid] = message, message
        end
      end
      return true
    end
    local _, no = commands.command(state, "FETCH", { line }, on, sink)
    if no then return nil, no end
    return each and count or found
  end)
end

-- Search --------------------------------------------------------------------------------------------------------------

local NUMBERING = { sequence = "boolean", timeout = "seconds" }
args.declare{ Imap_fetch_options = FETCH, Imap_numbering = NUMBERING }

--- The UIDs of messages. criteria: a table (`{ unseen = true, from = "joe", since = "2024-01-31" }`, see arguments.lua), or IMAP's own words
-- ("UNSEEN SINCE 31-Jan-2024"). Defaults to all.
function METHODS.search(state, criteria, opts)
  opts = options(2, "search", opts, NUMBERING)
  local pieces = arguments.criteria(1, "search", criteria)
  return state:call("search", opts.timeout, function()
    local capabilities, found = state.capabilities, nil
    local line = uid(opts) .. "SEARCH "
    -- A line of ranges is short where one of numbers is not.
    if capabilities.ESEARCH or capabilities.IMAP4REV2 then line = line .. "RETURN (ALL) " end
    if pieces.charset and not state.utf8 then line = line .. "CHARSET UTF-8 " end
    local command = { line .. pieces[1] }
    for at = 2, #pieces do command[at] = pieces[at] end
    local _, no, tag = commands.command(state, "SEARCH", command, function(said)
      if said.kind == "esearch" then
        found = { said.of, said.all or clients.array{} }
      elseif said.kind == "search" then
        found = { nil, said.found }
      else
        return false
      end
      return true
    end)
    if no then return nil, no end
    if found and found[1] and found[1] ~= tag then state.channel:fail("protocol", "the server sent an ESEARCH response with the tag of another command") end
    return found and found[2] or clients.array{}
  end)
end

-- Flags ---------------------------------------------------------------------------------------------------------------

local HOW = { add = "+FLAGS", remove = "-FLAGS", replace = "FLAGS" }
local STORE = { sequence = "boolean", timeout = "seconds", silent = "boolean", unchanged_since = "whole" }
args.declare{ Imap_store_options = STORE }

--- Changes flags. how: "add", "remove" or "replace".
-- @return the messages as they are now, a list of { uid, seq, flags }; true where `silent` asks for none. nil and a refusal
function METHODS.store(state, messages, how, flags, opts)
  local set = arguments.set(1, "store", messages)
  if not HOW[how] then bad(2, "store", 'how must be "add", "remove" or "replace", got ' .. show(how)) end
  flags = arguments.flags(3, "store", flags)
  opts = options(4, "store", opts, STORE)
  if set == "" then return opts.silent or clients.array{} end
  local line = uid(opts) .. "STORE " .. set .. " "
  if opts.unchanged_since then line = line .. format("(UNCHANGEDSINCE %.0f) ", opts.unchanged_since) end
  line = line .. HOW[how] .. (opts.silent and ".SILENT " or " ") .. flags
  return state:call("store", opts.timeout, function()
    local found, count = clients.array{}, 0
    local _, no = commands.command(state, "STORE", { line }, not opts.silent and function(said)
      if said.kind ~= "fetch" or not said.message.flags then return false end
      count = count + 1
      found[count] = said.message
      return true
    end or nil)
    if no then return nil, no end
    return opts.silent or found
  end)
end

-- Copies --------------------------------------------------------------------------------------------------------------

--- What COPYUID says (RFC 4315): the UIDs here and there; an empty hash where the server says nothing.
local function copied(state, said)
  local found = clients.hash{}
  if not said or said.code ~= "COPYUID" then return found end
  local validity, from, to = said.arguments[1], said.arguments[2], said.arguments[3]
  validity = commands.numbers(state, validity)
  found.uid_validity = validity and validity[1]
  found.from, found.to = commands.numbers(state, from), commands.numbers(state, to)
  if not (validity and found.from and found.to) then state.channel:fail("protocol", "the server's COPYUID is malformed") end
  return found
end

local function copy(state, word, set, mailbox, opts)
  local said = nil
  local final, no = commands.command(state, word, { uid(opts) .. word .. " " .. set .. " ", mailbox }, function(response)
    -- MOVE says it before the messages go (RFC 6851 section 4.3).
    if response.kind ~= "status" or response.code ~= "COPYUID" then return false end
    said = response
    return true
  end)
  if no then return nil, no end
  return copied(state, final.code == "COPYUID" and final or said)
end

--- Copies messages into another mailbox.
-- @return { uid_validity, from = { uids }, to = { uids } }, empty where the server has no UIDPLUS. nil and a refusal
function METHODS.copy(state, messages, mailbox, opts)
  local set = arguments.set(1, "copy", messages)
  mailbox = arguments.mailbox(state, 2, "copy", "mailbox", mailbox)
  opts = options(3, "copy", opts, NUMBERING)
  if set == "" then return clients.hash{} end
  return state:call("copy", opts.timeout, copy, "COPY", set, mailbox, opts)
end

--- Moves messages into another mailbox. A server without MOVE copies them, and deletes those that were copied and no others (UIDPLUS).
-- @return as `copy`. nil and a refusal; "UNSUPPORTED" where the server has neither
function METHODS.move(state, messages, mailbox, opts)
  local set = arguments.set(1, "move", messages)
  mailbox = arguments.mailbox(state, 2, "move", "mailbox", mailbox)
  opts = options(3, "move", opts, NUMBERING)
  if set == "" then return clients.hash{} end
  return state:call("move", opts.timeout, function()
    local has = state.capabilities
    if has.MOVE or has.IMAP4REV2 then return copy(state, "MOVE", set, mailbox, opts) end
    if not has.UIDPLUS then
      return nil, unsupported("the server supports neither MOVE nor UIDPLUS: EXPUNGE would also remove other messages with \\Deleted")
    elseif opts.sequence then
      return nil, unsupported("the server does not support MOVE; without it messages can be moved only by UID")
    end
    local done, no = copy(state, "COPY", set, mailbox, opts)
    if not done then return nil, no end
    local _
    _, no = commands.say(state, "STORE", "UID STORE " .. set .. " +FLAGS.SILENT (\\Deleted)")
    if not no then _, no = commands.say(state, "EXPUNGE", "UID EXPUNGE " .. set) end
    -- They are there now, and here still.
    if no then return nil, no end
    return done
  end)
end

-- Deleting and adding -------------------------------------------------------------------------------------------------

--- Deletes the messages that have the flag \Deleted: all of them, or those of `messages` (UIDs; needs UIDPLUS).
-- @return the numbers that they had, one after the other: a list of sequence numbers. nil and a refusal
function METHODS.expunge(state, messages, opts)
  -- An empty list is what a search found, and no options: it deletes nothing.
  if type(messages) == "table" and rawget(messages, "timeout") ~= nil and opts == nil then messages, opts = nil, messages end
  local set = messages ~= nil and arguments.set(1, "expunge", messages) or nil
  opts = options(2, "expunge", opts, args.TIMEOUT)
  if set == "" then return clients.array{} end
  return state:call("expunge", opts.timeout, function()
    if set and not (state.capabilities.UIDPLUS or state.capabilities.IMAP4REV2) then
      return nil, unsupported("the server does not support UIDPLUS: EXPUNGE can remove only all messages with \\Deleted")
    end
    local found, box = clients.array{}, state.box
    local _, no = commands.say(state, "EXPUNGE", set and "UID EXPUNGE " .. set or "EXPUNGE", function(said)
      if said.kind ~= "expunge" then return false end
      found[#found + 1] = said.number
      if box and box.exists and box.exists > 0 then box.exists = box.exists - 1 end
      return true
    end)
    if no then return nil, no end
    return found
  end)
end

local APPEND = {
  timeout = "seconds", flags = "any", date = "any",
  size = "bytes", -- of what a function gives
}
args.declare{ Imap_append_options = APPEND }

--- What pours a message into the channel, and its size. Lines must end in CRLF: what ends in LF alone is the caller's own.
local function source(message, size)
  if type(message) == "string" then
    if find(message, "%z") then bad(2, "append", "message contains a NUL") end
    return { literal = message }
  end
  local read
  if type(message) == "function" then
    if not size then bad(3, "append", "size is missing: the number of bytes that the function returns") end
    read = function() return message() end
  elseif clients.is_file(message) then
    if not size then
      local last
      local here, why = message:seek("cur")
      if here then last, why = message:seek("end") end
      if last then here, why = message:seek("set", here) end
      if not (here and last) then
        bad(3, "append", "size is missing: the number of bytes of the file, which cannot seek (" .. tostring(why) .. ")")
      end
      size = last - here
    end
    read = function(left) return message:read(min(left, commands.PIECE)) end
  else
    bad(2, "append", "message must be a string, an open file or a function, got " .. show(message))
  end
  return {
    size = size,
    pour = function(channel)
      local left = size
      while left > 0 do
        local piece = read(left)
        if piece == nil or piece == "" then channel:fail("socket", format("append: the message ends %.0f bytes before its size", left)) end
        if type(piece) ~= "string" or #piece > left then channel:fail("socket", "append: the message is longer than its size") end
        channel:send(piece)
        left = left - #piece
      end
    end,
  }
end

--- Adds a message to a mailbox. message: its bytes, a file of Lua's, or a function that gives pieces (with `size`).
-- opts: flags, date (Unix time), size, timeout
-- @return { uid_validity, uid }, empty where the server has no UIDPLUS. nil and a refusal: "TRYCREATE" where there is no such mailbox
function METHODS.append(state, mailbox, message, opts)
  mailbox = arguments.mailbox(state, 1, "append", "mailbox", mailbox)
  opts = options(3, "append", opts, APPEND)
  local pieces = { "APPEND ", mailbox }
  local before = " "
  if opts.flags ~= nil then
    before = before .. arguments.flags(3, "append", opts.flags) .. " "
  elseif state.accepts_utf8 then
    before = before .. "() " -- Courier knows UTF8 only behind flags
  end
  if opts.date ~= nil then before = before .. arguments.date_time(3, "append", "date", opts.date) .. " " end
  local from = source(message, opts.size)
  pieces[3] = before
  pieces[4] = from
  if state.accepts_utf8 then
    -- RFC 6855 section 4: the server is told that there may be UTF-8 in headers.
    pieces[3], pieces[5] = before .. "UTF8 (~", ")"
  end
  local call = from.pour and state.flow or state.call
  return call(state, "append", opts.timeout, function()
    local said, no = commands.command(state, "APPEND", pieces)
    if no then return nil, no end
    local found = clients.hash{}
    if said.code == "APPENDUID" then
      local validity, number = commands.numbers(state, said.arguments[1]), commands.numbers(state, said.arguments[2])
      if not (validity and number) then state.channel:fail("protocol", "the server's APPENDUID is malformed") end
      found.uid_validity, found.uid = validity[1], number[1]
    end
    return found
  end)
end

return METHODS
