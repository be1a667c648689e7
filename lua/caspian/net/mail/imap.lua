--- IMAP (RFC 9051, RFC 3501): `net.imap` and its class. Commands and responses are in `imap/commands`, messages in
-- `imap/messages`; here are the opening, and mailboxes.
local args = require("caspian.net.args")
local clients = require("caspian.net.mail.client")
local messages = require("caspian.net.mail.imap.messages")
local objects = require("caspian.net.objects")
local opening = require("caspian.net.mail.opening")
local sasl = require("caspian.net.mail.sasl")
local commands = require("caspian.net.mail.imap.commands")
local arguments = require("caspian.net.mail.imap.arguments")
local error, next, rawget, setfenv, type = error, next, rawget, setfenv, type
local concat, find, lower, match, sort, upper =
  table.concat, string.find, string.lower, string.match, table.sort, string.upper
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, options, show = args.bad, args.options, args.show

-- Opening -------------------------------------------------------------------------------------------------------------

--- Logs in by the command LOGIN, which every server has.
local function plain_login(state, opts)
  local _, no = commands.command(state, "LOGIN", { "LOGIN ", arguments.text(opts.user), " ", arguments.text(opts.password) })
  return no
end

--- Logs in by the best way that there is: a mechanism of SASL, or LOGIN.
local function login(state, opts)
  local offered, auth = {}, opts.auth or "auto"
  for name in next, state.capabilities do
    local mechanism = match(name, "^AUTH=(.+)$")
    if mechanism then offered[#offered + 1] = mechanism end
  end
  sort(offered)
  local open = state.private or opts.insecure_auth
  if (auth == "auto" or auth == "login") and open and not state.capabilities.LOGINDISABLED
    and not sasl.choose(offered, { auth = opts.auth, private = state.private, insecure_auth = opts.insecure_auth }) then
    return plain_login(state, opts)
  end
  local channel, initial, tag = state.channel, state.capabilities["SASL-IR"] or state.capabilities.IMAP4REV2, nil
  return opening.authenticate(state, opts, offered, initial, function(mechanism, first)
    tag = commands.tag(state)
    state.spent = 0
    channel.word = "AUTHENTICATE"
    channel:send(tag .. " AUTHENTICATE " .. mechanism .. (first and " " .. first or "") .. "\r\n")
  end, function(text)
    channel:send(text .. "\r\n")
  end, function()
    return commands.challenge(state, tag)
  end)
end

--- What was said before TLS, and before a login, may not hold any more.
local function forget(state)
  state.capabilities, state.alert = nil, nil
  commands.updates(state)
end

local function start(state, opts)
  state.channel.max = opts.max_line_bytes or commands.LINE
  state.most_literal, state.most_reply = opts.max_literal_bytes or commands.LITERAL, opts.max_reply_bytes or commands.REPLY
  state.spent = 0
  commands.updates(state)
  local said = commands.greeting(state)
  if said.status == "BYE" then return clients.refusal(commands.spoken(said.code or "BYE"), commands.spoken(said.text)) end
  if said.status ~= "OK" and said.status ~= "PREAUTH" then state.channel:fail("protocol", "the greeting is neither OK, PREAUTH nor BYE") end
  if said.code then commands.coded(state, said) end
  local known = said.status == "PREAUTH"
  if opts.tls == "starttls" then
    -- Who is logged in already cannot begin TLS any more (RFC 9051 section 7.1.4): whoever made it so wants no TLS.
    if known then opening.unsecured("sent PREAUTH, after which STARTTLS is not possible") end
    commands.capabilities(state)
    if not state.capabilities.STARTTLS then opening.unsecured("offers no STARTTLS") end
    said = commands.perform(state, "STARTTLS", { "STARTTLS" })
    if said.status ~= "OK" then opening.unsecured("refuses STARTTLS (" .. commands.spoken(said.text) .. ")") end
    state.secure()
    forget(state)
  end
  commands.capabilities(state)
  if opts.user and not known then
    local before = state.capabilities
    local no = login(state, opts)
    if no then return no end
    -- More may be on offer now.
    if state.capabilities == before then state.capabilities = nil end
    commands.capabilities(state)
  end
  local has = state.capabilities
  state.utf8 = has.IMAP4REV2 and not has.IMAP4REV1
  if has["UTF8=ACCEPT"] and has.ENABLE and opts.user then
    commands.say(state, "ENABLE", "ENABLE UTF8=ACCEPT", function(response)
      if response.kind ~= "enabled" then return false end
      for _, name in next, response.names do state.accepts_utf8 = state.accepts_utf8 or upper(name) == "UTF8=ACCEPT" end
      return true
    end)
    state.utf8 = state.utf8 or state.accepts_utf8
  end
  commands.updates(state)
end

-- Mailboxes -----------------------------------------------------------------------------------------------------------

local TIMEOUT = args.TIMEOUT
local LIST = { timeout = "seconds", reference = "string", subscribed = "boolean" }
args.declare{ Imap_list_options = LIST }

local METHODS, FIELDS = {}, {}
for name, method in next, messages do METHODS[name] = method end

--- The mailboxes: a list of { name, separator, attributes }, in the server's order. pattern: "*" (the default) is any text, "%" one level.
-- opts: reference (""), subscribed (false: all). `raw` stands on a mailbox whose name is no modified UTF-7: the mailbox itself may be given
-- wherever a name may.
function METHODS.list(state, pattern, opts)
  if type(pattern) == "table" and opts == nil then pattern, opts = nil, pattern end
  opts = options(2, "list", opts, LIST)
  pattern = arguments.mailbox(state, 1, "list", "pattern", pattern or "*")
  local reference = arguments.mailbox(state, 2, "list", "reference", opts.reference or "")
  return state:call("list", opts.timeout, function()
    local found, word, selection = clients.array{}, "LIST", ""
    if opts.subscribed then
      local has = state.capabilities
      if has["LIST-EXTENDED"] or has.IMAP4REV2 then selection = "(SUBSCRIBED) " else word = "LSUB" end
    end
    local _, no = commands.command(state, word, { word .. " " .. selection, reference, " ", pattern }, function(said)
      if said.kind ~= "list" then return false end
      local name, raw = arguments.named(state, said.name)
      found[#found + 1] = clients.hash{ name = name, raw = raw, separator = said.separator, attributes = said.attributes }
      return true
    end)
    if no then return nil, no end
    return found
  end)
end

local function choose(state, word, name, opts)
  local given = type(name) == "table" and rawget(name, "name") or name
  local mailbox = arguments.mailbox(state, 1, lower(word), "mailbox", name)
  opts = options(2, lower(word), opts, TIMEOUT)
  return state:call(lower(word), opts.timeout, function()
    commands.rest(state)
    -- What is selected is given up first, whatever comes (RFC 9051 section 6.3.2).
    state.box, state.opening = nil, { name = given, read_only = word == "EXAMINE" }
    commands.updates(state)
    local said, no = commands.command(state, word, { word .. " ", mailbox })
    local box = state.opening
    state.opening = nil
    if no then return nil, no end
    if said.code == "READ-ONLY" then box.read_only = true end
    state.box = box
    return FIELDS.selected(state)
  end)
end

--- Opens a mailbox: { name, exists, recent, flags, permanent_flags, uid_validity, uid_next, first_unseen, highest_modseq, read_only }.
-- nil and a refusal ("NONEXISTENT"): then none is selected.
function METHODS.select(state, name, opts)
  return choose(state, "SELECT", name, opts)
end

--- The same, and nothing in it can be changed.
function METHODS.examine(state, name, opts)
  return choose(state, "EXAMINE", name, opts)
end

--- Closes the mailbox that is open, and deletes nothing. nil and a refusal
function METHODS.unselect(state, opts)
  opts = options(1, "unselect", opts, TIMEOUT)
  return state:call("unselect", opts.timeout, function()
    local has = state.capabilities
    -- CLOSE deletes what is marked, but where the mailbox is read-only.
    local word = (has.UNSELECT or has.IMAP4REV2) and "UNSELECT" or state.box and state.box.read_only and "CLOSE"
    if not word then return nil, clients.refusal("UNSUPPORTED", "the server does not support UNSELECT, and CLOSE would remove the messages with \\Deleted") end
    local _, no = commands.say(state, word)
    if no then return nil, no end
    state.box = nil
    return true
  end)
end

local ITEMS = { "MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN" }

--- Numbers of a mailbox that need not be open: { messages, uidnext, uidvalidity, unseen }, or those of `items` ("size", "highestmodseq").
function METHODS.status(state, name, items, opts)
  local mailbox = arguments.mailbox(state, 1, "status", "mailbox", name)
  if items == nil then items = ITEMS end
  if type(items) ~= "table" then bad(2, "status", "items must be a list of strings, got " .. show(items)) end
  local list = {}
  for at = 1, args.items(2, "status", "items", items) do
    local item = rawget(items, at)
    if type(item) ~= "string" or not find(item, "^[%a][%w%-.]*$") then
      bad(2, "status", "an item is a name such as \"messages\", got " .. show(item))
    end
    list[at] = upper(item)
  end
  opts = options(3, "status", opts, TIMEOUT)
  return state:call("status", opts.timeout, function()
    local found
    local _, no = commands.command(state, "STATUS", { "STATUS ", mailbox, " (" .. concat(list, " ") .. ")" }, function(said)
      if said.kind ~= "mailbox" then return false end
      found = said.status
      return true
    end)
    if no then return nil, no end
    if not found then state.channel:fail("protocol", "the server sent no STATUS response for this mailbox") end
    return found
  end)
end

--- Commands that take a name, and answer true; nil and a refusal.
for name, word in next, { create = "CREATE", delete = "DELETE", subscribe = "SUBSCRIBE", unsubscribe = "UNSUBSCRIBE" } do
  METHODS[name] = function(state, mailbox, opts)
    mailbox = arguments.mailbox(state, 1, name, "mailbox", mailbox)
    opts = options(2, name, opts, TIMEOUT)
    return state:call(name, opts.timeout, function()
      local _, no = commands.command(state, word, { word .. " ", mailbox })
      if no then return nil, no end
      return true
    end)
  end
end

--- Renames a mailbox. true; nil and a refusal
function METHODS.rename(state, from, to, opts)
  from = arguments.mailbox(state, 1, "rename", "from", from)
  to = arguments.mailbox(state, 2, "rename", "to", to)
  opts = options(3, "rename", opts, TIMEOUT)
  return state:call("rename", opts.timeout, function()
    local _, no = commands.command(state, "RENAME", { "RENAME ", from, " ", to })
    if no then return nil, no end
    return true
  end)
end

--- Where mailboxes stand (RFC 9051 section 6.3.10): { personal, other, shared }, each a list of { prefix, separator }.
function METHODS.namespace(state, opts)
  opts = options(1, "namespace", opts, TIMEOUT)
  return state:call("namespace", opts.timeout, function()
    local has, found = state.capabilities, nil
    if not (has.NAMESPACE or has.IMAP4REV2) then return nil, clients.refusal("UNSUPPORTED", "the server does not support NAMESPACE") end
    local _, no = commands.say(state, "NAMESPACE", nil, function(said)
      if said.kind ~= "namespace" then return false end
      found = clients.hash{ personal = said.personal, other = said.other, shared = said.shared }
      return true
    end)
    if no then return nil, no end
    if not found then state.channel:fail("protocol", "the server sent no NAMESPACE response") end
    return found
  end)
end

-- News ----------------------------------------------------------------------------------------------------------------

--- What the server had to say: a list of { kind = "exists" | "recent", number }, { kind = "expunge", number }, { kind = "fetch", number, message },
-- { kind = "vanished", uids }. Its field `lost`: how many were dropped, where there were more than 10,000, or they took more than 16 MiB.
function METHODS.noop(state, opts)
  opts = options(1, "noop", opts, TIMEOUT)
  return state:call("noop", opts.timeout, function()
    local _, no = commands.say(state, "NOOP")
    if no then return nil, no end
    return commands.updates(state)
  end)
end

--- An IDLE is begun anew before servers think that nobody is there any more (RFC 9051 section 6.3.13).
local AGAIN = 29 * 60

--- Waits for news of the selected mailbox: what `noop` gives, once there is any; an empty list when `timeout` (the client's) has passed.
-- The IDLE goes on between calls and ends with the next command, so that `net.poll` can wait for the client among others:
-- `imap:idle{ timeout = 0 }` begins it, and fetches the news that made it readable.
function METHODS.idle(state, opts)
  opts = options(1, "idle", opts, TIMEOUT)
  local seconds = opts.timeout or state.timeout
  local core = state.core
  local function now() return (core.block_begin(0)) end
  return state:flow("idle", nil, function()
    if not (state.capabilities.IDLE or state.capabilities.IMAP4REV2) then
      return nil, clients.refusal("UNSUPPORTED", "the server does not support IDLE (noop polls for updates)")
    end
    local finish = now() + seconds
    while #state.updates == 0 do
      if state.idling and now() >= state.again then commands.rest(state) end
      if not state.idling then
        local no = commands.idle(state)
        if no then return nil, no end
        state.again = now() + AGAIN
      end
      local left = finish - now()
      if left < 0 then left = 0 end
      -- Nothing is half said or half heard: a wait that is given up leaves the connection as it is.
      state.channel.underway = false
      local readable, err = core.poll({ state.channel.transport.socket }, {}, left < AGAIN and left or AGAIN, false, objects.polled)
      if not readable then error(err, 0) end
      if #readable > 0 then
        local no = commands.listen(state)
        if no then return nil, no end
      elseif now() >= finish then
        break
      end
    end
    -- What has come with it is not left for the next call.
    for _ = 1, commands.UPDATES do
      if not state.idling then break end
      local readable = core.poll({ state.channel.transport.socket }, {}, 0, false, objects.polled)
      if not readable or #readable == 0 then break end
      local no = commands.listen(state)
      if no then return nil, no end
    end
    return commands.updates(state)
  end)
end

-- The object ----------------------------------------------------------------------------------------------------------

--- What the server can, by name in upper case: a list.
function FIELDS.capabilities(state)
  local list = clients.array{}
  for name in next, state.capabilities do list[#list + 1] = name end
  sort(list)
  return list
end

--- The mailbox that is open, as it is now; nil where there is none.
function FIELDS.selected(state)
  return state.box and clients.copied(state.box)
end

--- What the server wants people to read (ALERT), the last of it.
function FIELDS.alert(state)
  return state.alert
end

local public, behind = {}, nil
for name, method in next, METHODS do
  public[name] = function(self, ...)
    return method(behind(self, name), ...)
  end
end

local object
object, behind = clients.class("imap", public, FIELDS, function(state)
  commands.rest(state)
  state.leaving = true
  commands.say(state, "LOGOUT")
end, "logout")

--- The object, for which `net.poll` can wait: it is readable once the server says something, or has said it already.
local function pollable(state)
  local made = object(state)
  objects.polled[made] = state.channel.transport.socket
  objects.pending[made] = function() return #state.updates > 0 end
  return made
end

local PROTOCOL = {
  ports = { starttls = 143, implicit = 993, none = 143 },
  options = {
    max_line_bytes = "size",     -- 1 MiB; of one line
    max_literal_bytes = "size",  -- 64 MiB; of one literal in memory: what `into` takes has no bound
    max_reply_bytes = "size",    -- 256 MiB; what one command's responses take in memory, all together
  },
  start = start,
  object = pollable,
}
args.declare{ Imap_options = opening.with(PROTOCOL.options) }

local function open(door, name, given)
  return opening.open(door, name, given, PROTOCOL)
end

return { open = open }
