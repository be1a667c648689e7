--- SMTP (RFC 5321): `net.smtp` and its class.
local args = require("caspian.net.args")
local clients = require("caspian.net.mail.client")
local errors = require("caspian.net.errors")
local messages = require("caspian.net.mail.message")
local opening = require("caspian.net.mail.opening")
local error, next, pcall, rawget, select, setfenv, tonumber, type = error, next, pcall, rawget, select, setfenv, tonumber, type
local concat, min = table.concat, math.min
local find, format, gmatch, gsub, match, strbyte, sub, upper =
  string.find, string.format, string.gmatch, string.gsub, string.match, string.byte, string.sub, string.upper
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local refusal = clients.refusal

-- Opening -------------------------------------------------------------------------------------------------------------

--- Reads the reply to a command: it, and a refusal where its code is none of `class` (its first digit).
local function answer(state, class, word)
  local reply = state.channel:reply(word)
  if sub(format("%d", reply.code), 1, 1) == class then return reply end
  -- 421 comes at any time: the server goes (RFC 5321 section 3.8).
  if reply.code == 421 then state:finish("the server closed it: 421") end
  return reply, refusal(reply.code, reply.text)
end

local function ask(state, class, word, ...)
  state.channel:command(word, ...)
  return answer(state, class)
end

--- The name that the client has for itself: the address of this end of the connection, which is always true (RFC 5321 section
-- 4.1.3), unless the caller names one.
local function own_name(state)
  local address = state.channel.transport.socket.local_host or "127.0.0.1"
  return find(address, ":", 1, true) and "[IPv6:" .. gsub(address, "%%.*$", "") .. "]" or "[" .. address .. "]"
end

--- Says EHLO and keeps what the server can: by keyword, in upper case, the parameters as they came.
local function hello(state, opts)
  local name = opts.name or own_name(state)
  local extensions = {}
  state.extensions = extensions
  local reply, refused = ask(state, "2", "EHLO", name)
  if refused then
    -- A server that knows no EHLO has no extensions.
    if state.ended or reply.code < 500 then return refused end
    return select(2, ask(state, "2", "HELO", name))
  end
  for at = 2, #reply.lines do
    -- "AUTH=LOGIN" is how old servers write it.
    local keyword, parameters = match(reply.lines[at], "^(%w[%w%-]*)[ =]?(.*)$")
    if keyword then
      keyword = upper(keyword)
      extensions[keyword] = extensions[keyword] and extensions[keyword] .. " " .. parameters or parameters
    end
  end
end

local function login(state, opts)
  local channel, offered = state.channel, {}
  for name in gmatch(state.extensions.AUTH or "", "[^ ]+") do offered[#offered + 1] = name end
  return opening.authenticate(state, opts, offered, true, function(mechanism, first)
    channel:command("AUTH", mechanism, first)
  end, function(text)
    channel:send(text .. "\r\n")
  end, function()
    local reply, refused = answer(state, "3", "AUTH")
    if not refused then return "more", reply.text end
    if reply.code >= 200 and reply.code < 300 then return "done" end
    return nil, refused
  end)
end

local function start(state, opts)
  local _, refused = answer(state, "2")
  refused = refused or hello(state, opts)
  if refused then return refused end
  if opts.tls == "starttls" then
    if not state.extensions.STARTTLS then opening.unsecured("offers no STARTTLS") end
    _, refused = ask(state, "2", "STARTTLS")
    if refused then opening.unsecured("refuses STARTTLS (" .. refused.code .. ")") end
    state.secure()
    -- What it said before may have been anybody's (RFC 3207 section 4.2).
    refused = hello(state, opts)
    if refused then return refused end
  end
  if opts.user then return login(state, opts) end
end

-- The object ----------------------------------------------------------------------------------------------------------

local METHODS, FIELDS = {}, {}

--- What the server offers, by keyword in upper case: the parameters behind it, "" where there are none.
function FIELDS.extensions(state)
  return clients.copied(state.extensions)
end

local object, behind = clients.class("smtp", METHODS, FIELDS, function(state)
  ask(state, "2", "QUIT")
end)

-- Sending -------------------------------------------------------------------------------------------------------------

--- Commands that go out at once where the server takes them so (RFC 2920): what waits in buffers stays small.
local BATCH = 50

--- What is passed on at once.
local PIECE = 64 * 1024

--- xtext (RFC 3461 section 4).
local function xtext(text)
  return (gsub(text, "[^\33-\42\44-\60\62-\126]", function(byte) return format("+%02X", strbyte(byte)) end))
end

--- The parameters of MAIL and RCPT for what the server can.
local function parameters(state, letter)
  local can, mail, rcpt = state.extensions, "", ""
  if can.SIZE and letter.size then mail = mail .. " SIZE=" .. args.digits(letter.size) end
  if letter.eight and can["8BITMIME"] then mail = mail .. " BODY=8BITMIME" end
  if letter.international and can.SMTPUTF8 then mail = mail .. " SMTPUTF8" end
  local dsn = can.DSN and letter.dsn
  if dsn then
    if dsn.ret then mail = mail .. " RET=" .. upper(dsn.ret) end
    if dsn.envid then mail = mail .. " ENVID=" .. xtext(dsn.envid) end
    if dsn.notify then rcpt = " NOTIFY=" .. dsn.notify end
  end
  return mail, rcpt
end

--- Why this server cannot take the message: found out here, in the words that servers have for it. Nothing is sent.
local function unfit(state, letter)
  local can = state.extensions
  local most = tonumber(match(can.SIZE or "", "^(%d+)$") or 0)
  if letter.size and most > 0 and letter.size > most then
    -- RFC 1870 section 6.1
    return refusal(552, format("5.3.4 not sent: the message has %s bytes, and the server takes %s", args.digits(letter.size), args.digits(most)))
  elseif letter.international and not can.SMTPUTF8 then
    -- RFC 6531 section 3.5
    return refusal(550, "5.6.7 not sent: an address needs SMTPUTF8, which the server does not offer")
  elseif letter.eight == true and not can["8BITMIME"] then
    -- RFC 6152 section 3
    return refusal(554, "5.6.3 not sent: the message has bytes above 127, and the server offers no 8BITMIME")
  end
end

--- Says who has sent it and who is to get it; the addresses that the server takes, and a refusal where it takes none of it.
local function envelope(state, letter, outcome)
  local channel, accepted = state.channel, {}
  local mail, rcpt = parameters(state, letter)
  local lines = { channel:text("MAIL FROM:<" .. letter.from .. ">" .. mail) }
  for at = 1, #letter.to do lines[at + 1] = channel:text("RCPT TO:<" .. letter.to[at] .. ">" .. rcpt) end
  local batch = state.extensions.PIPELINING and BATCH or 1
  local refused, why
  for first = 1, #lines, batch do
    local last = min(first + batch - 1, #lines)
    local sent = not refused
    if sent then channel:send(concat(lines, "", first, last)) end
    for at = first, last do
      -- What is on its way is answered, also where the sender is refused: such answers say no more than the first.
      if sent and not state.ended then why = select(2, answer(state, "2", at == 1 and "MAIL" or "RCPT")) end
      if at == 1 or state.ended then refused = refused or why end
      if at > 1 then
        local address = letter.to[at - 1]
        outcome.refused[address] = refused or why
        if not (refused or why) then accepted[#accepted + 1] = address end
      end
    end
  end
  return accepted, refused
end

--- True where the whole envelope is ASCII.
local function is_ascii(letter)
  if find(letter.from, "[\128-\255]") then return false end
  for at = 1, #letter.to do
    if find(letter.to[at], "[\128-\255]") then return false end
  end
  return true
end

--- Sends the data, dots doubled, line ends made CRLF.
local function data(state, letter)
  local core, channel = state.core, state.channel
  local stuffer = core.mail_stuffer()
  repeat
    local piece, last = letter.next()
    local out, err = core.mail_stuffed(stuffer, piece, last)
    if out == nil then error(err, 0) end
    local ok, problem = pcall(channel.send, channel, out)
    if not ok then
      if not (errors.fields[problem] and errors.methods().is(problem, "connection_reset")) then error(problem, 0) end
      -- A server that has had enough says why before it goes, or not.
      local heard, reply = pcall(channel.reply, channel, "DATA")
      if not (heard and reply.code >= 400) then error(problem, 0) end
      state:finish("the server closed it")
      return reply, refusal(reply.code, reply.text)
    end
  until last
  state.outcome.handed = true
  return answer(state, "2", "the message")
end

--- One transaction (RFC 5321 section 3.3).
local function transact(state, letter)
  local outcome = { accepted = clients.array{}, refused = clients.hash{}, handed = false }
  state.outcome = clients.hash(outcome)
  local function all(why, list)
    for at = 1, #list do outcome.refused[list[at]] = outcome.refused[list[at]] or why end
    outcome.code, outcome.text = why.code, why.text
    return state.outcome
  end
  local why = unfit(state, letter)
  if why then return all(why, letter.to) end
  local accepted, refused = envelope(state, letter, outcome)
  if refused then return all(refused, letter.to) end
  if #accepted == 0 then
    local last = outcome.refused[letter.to[#letter.to]]
    outcome.code, outcome.text = last.code, last.text
    -- Nobody is left: the transaction is taken back, so that the next one can begin.
    if not state.ended then ask(state, "2", "RSET") end
    return state.outcome
  end
  local reply
  reply, why = ask(state, "3", "DATA")
  if not why then reply, why = data(state, letter) end
  if why then return all(why, accepted) end
  for at = 1, #accepted do outcome.accepted[at] = accepted[at] end
  outcome.code, outcome.text = reply.code, reply.text
  return state.outcome
end

--- Sends a letter: the outcome as the caller gets it.
local function deliver(state, letter)
  local outcome = transact(state, letter)
  state.outcome = nil
  outcome.handed = nil
  outcome.ok = next(outcome.refused) == nil
  return outcome
end

local SEND = { timeout = "seconds", from = "string", dsn = "table" }
local RAW = { timeout = "seconds", dsn = "table" }
local DSN = { notify = "any", ret = "string", envid = "string" }
args.declare{ Send_options = SEND, Send_raw_options = RAW, Dsn = DSN }
local NOTIFY = { success = true, failure = true, delay = true }

--- Checks what is asked of delivery status notifications (RFC 3461).
local function dsn_of(index, name, given)
  if not given then return nil end
  local dsn = args.options(index, name, given, DSN, "dsn")
  if dsn.ret and dsn.ret ~= "full" and dsn.ret ~= "hdrs" then
    args.bad(index, name, 'dsn: ret must be "full" or "hdrs", got ' .. args.show(dsn.ret))
  end
  if dsn.envid and (find(dsn.envid, "[^\32-\126]") or dsn.envid == "" or #dsn.envid > 100) then
    args.bad(index, name, "dsn: envid must be 1 to 100 printable characters")
  end
  local notify = dsn.notify
  if notify == "never" then
    dsn.notify = "NEVER"
  elseif notify ~= nil then
    local words = {}
    if type(notify) == "string" then notify = { notify } end
    if type(notify) ~= "table" then args.bad(index, name, "dsn: notify must be a list, got " .. args.show(notify)) end
    for at = 1, args.items(index, name, "dsn: notify", notify) do
      local word = rawget(notify, at)
      if not NOTIFY[word] then
        args.bad(index, name, 'dsn: notify must be "never", or a list of "success", "failure" and "delay", got ' .. args.show(word))
      end
      words[at] = upper(word)
    end
    if #words == 0 then args.bad(index, name, "dsn: notify is empty") end
    dsn.notify = concat(words, ",")
  end
  return dsn
end

--- Sends a message to all its recipients: { ok =, accepted = { address … }, refused = { [address] = { code, text } }, code =, text = },
-- the last two what the server has said last. What a server refuses is no error, be it the sender, every recipient, or the message.
-- message: from, to, cc, bcc, reply_to, sender (each "Ann <ann@example.com>", { name =, address = }, or a list), subject, body,
--   body_html, body_parts, headers, attachments ({ { path = | data =, name =, type =, cid = }, … })
-- opts: timeout (none: each wait alone may take the client's), from (the envelope's sender), dsn = { notify =, ret =, envid = }
function METHODS.send(self, message, opts)
  local state = behind(self, "send")
  local core = state.core
  opts = args.options(2, "send", opts, SEND)
  local dsn = dsn_of(2, "send", opts.dsn)
  if opts.from then opts.from = opts.from ~= "" and messages.address(core, 2, "send", "from", opts.from) or "" end
  local given, letter = messages.checked(core, "send", message, opts)
  state:usable("send")
  local made, size, eight = core.mail_message(state.door.cap, given)
  if made == nil then args.answer("send", nil, size, eight) end
  letter.size, letter.eight, letter.dsn = size, eight, dsn
  letter.international = letter.international or not is_ascii(letter)
  function letter.next()
    local piece, last = core.mail_piece(made)
    if piece == nil then error(last, 0) end
    return piece, last
  end
  return state:flow("send", opts.timeout, deliver, letter)
end

--- What gives the data of `send_raw` piece by piece, with whether it is the last.
local function source_of(given)
  if type(given) == "string" then
    local at = 0
    return function()
      local piece = at == 0 and #given <= PIECE and given or sub(given, at + 1, at + PIECE)
      at = at + #piece
      return piece, at >= #given
    end
  end
  return function()
    local piece = given()
    if piece ~= nil and type(piece) ~= "string" then
      error("send_raw: the function must return strings and then nil, got " .. args.show(piece), 0)
    end
    return piece or "", piece == nil
  end
end

--- Sends a message that is ready, headers and all, as `send` does. Its line ends become CRLF.
-- from: an address, "" for a message that nobody is to answer (a bounce); to: one address or a list;
-- data: a string, or a function that returns the next piece and then nil; opts: timeout, dsn
function METHODS.send_raw(self, from, to, data_, opts)
  local state = behind(self, "send_raw")
  local core, list = state.core, {}
  if type(from) ~= "string" then args.bad(1, "send_raw", "from must be a string, got " .. args.show(from)) end
  if from ~= "" and from ~= "<>" then from = messages.address(core, 1, "send_raw", "from", from) else from = "" end
  if type(to) == "table" then
    for at = 1, args.items(2, "send_raw", "to", to) do
      list[at] = messages.address(core, 2, "send_raw", "to[" .. at .. "]", rawget(to, at))
    end
    if #list == 0 then args.bad(2, "send_raw", "to is empty: the message has no recipient") end
  else
    list[1] = messages.address(core, 2, "send_raw", "to", to)
  end
  if type(data_) ~= "string" and type(data_) ~= "function" then
    args.bad(3, "send_raw", "data must be a string or a function, got " .. args.show(data_))
  end
  opts = args.options(4, "send_raw", opts, RAW)
  local letter = { from = from, to = messages.unique(list), dsn = dsn_of(4, "send_raw", opts.dsn), next = source_of(data_) }
  if type(data_) == "string" then
    letter.size, letter.eight = #data_, find(data_, "[\128-\255]") ~= nil
    -- Addresses of other scripts may stand in its head (RFC 6532).
    letter.international = letter.eight and find(sub(data_, 1, (find(data_, "\r?\n\r?\n")) or -1), "[\128-\255]") ~= nil
  else
    -- Nobody knows yet: announced where that costs nothing.
    letter.eight = "maybe"
  end
  letter.international = letter.international or not is_ascii(letter)
  return state:flow("send_raw", opts.timeout, deliver, letter)
end

local function verify(state, address)
  local utf8 = find(address, "[\128-\255]") and state.extensions.SMTPUTF8 and " SMTPUTF8" or ""
  local reply, refused = ask(state, "2", "VRFY", address .. utf8)
  if refused then return nil, refused end
  return clients.hash{ code = reply.code, text = reply.text }
end

--- Asks whether the server knows an address or a user (VRFY): { code, text }, or nil and a refusal. 252 is "perhaps": many
-- servers tell nobody.
function METHODS.verify(self, address, opts)
  local state = behind(self, "verify")
  clients.word(1, "verify", "address", address)
  if address == "" then args.bad(1, "verify", "address is empty") end
  opts = args.options(2, "verify", opts, args.TIMEOUT)
  return state:call("verify", opts.timeout, verify, address)
end

local PROTOCOL = {
  ports = { starttls = 587, implicit = 465, none = 25 },
  options = {
    name = "string", -- of this machine, for EHLO. Defaults to the connection's own address: "[192.0.2.1]"
  },
  start = start,
  object = object,
}
args.declare{ Smtp_options = opening.with(PROTOCOL.options) }

local function open(door, name, given)
  return opening.open(door, name, given, PROTOCOL)
end

return { open = open }
