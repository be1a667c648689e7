--- The description of a message, checked: its envelope, and the parts from which the core builds it.
local args = require("caspian.net.args")
local clients = require("caspian.net.mail.client")
local next, rawget, setfenv, type = next, rawget, setfenv, type
local find, gsub, match, sub = string.find, string.gsub, string.match, string.sub
local concat, sort = table.concat, table.sort
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad, show = args.bad, args.show

local M = {}

local MESSAGE = {
  from = "any", sender = "any", to = "any", cc = "any", bcc = "any", reply_to = "any",
  subject = "string", body = "string", body_html = "string", body_parts = "table",
  headers = "table", attachments = "table",
}
local MAILBOX = { name = "string", address = "string" }
local PART = { name = "string", type = "string", data = "string", path = "string", cid = "string" }
args.declare{ Message = MESSAGE, Mail_part = PART, Named_mailbox = MAILBOX }

--- A name as a quoted string.
local function quoted(name)
  return '"' .. gsub(name, '[\\"]', "\\%0") .. '"'
end

--- Reads mailboxes: a string, { name =, address = }, or a list of these.
-- @return their text, comma-separated; their addresses; whether one needs SMTPUTF8
function M.mailboxes(core, name, what, value)
  local texts, addresses, international = {}, {}, false
  local function add(place, one)
    local text = one
    if type(one) == "table" then
      local box = args.options(1, name, one, MAILBOX, place)
      if not box.address then bad(1, name, place .. ": address is missing") end
      if find(box.address, "[<>,]") then bad(1, name, place .. ": address is malformed") end
      text = (box.name and quoted(box.name) .. " " or "") .. "<" .. box.address .. ">"
    elseif type(one) ~= "string" then
      bad(1, name, place .. " must be a string, a table with name and address, or a list of these, got " .. show(one))
    end
    args.short(1, name, place, text)
    local found, why, is = core.mail_mailboxes(text)
    if found == nil then bad(1, name, place .. ": " .. why) end
    texts[#texts + 1] = text
    for at = 1, #found do addresses[#addresses + 1] = found[at] end
    international = international or is
  end
  if type(value) == "table" and rawget(value, "address") == nil and rawget(value, "name") == nil then
    for at = 1, args.items(1, name, what, value) do add(what .. "[" .. at .. "]", rawget(value, at)) end
  elseif value ~= nil then
    add(what, value)
  end
  return #texts > 0 and concat(texts, ", ") or nil, addresses, international
end

--- Addresses without those that were named before.
function M.unique(list)
  local seen, out = {}, {}
  for at = 1, #list do
    if not seen[list[at]] then
      seen[list[at]] = true
      out[#out + 1] = list[at]
    end
  end
  return out
end

--- The caller's headers: names and values, { name = value or list } in the order of the names, or { { name, value }, … }.
local function headers_of(core, name, given)
  local names, values = {}, {}
  local function add(key, value)
    if type(key) ~= "string" then bad(1, name, "headers: a name must be a string, got " .. show(key)) end
    if type(value) == "number" then value = args.digits(value) or value end
    if type(value) ~= "string" then bad(1, name, "headers: a value must be a string, got " .. show(value)) end
    args.short(1, name, "headers", value)
    local fine, why = core.mail_header(key, value)
    if not fine then bad(1, name, "headers: " .. why) end
    names[#names + 1], values[#values + 1] = key, value
  end
  if rawget(given, 1) ~= nil then
    for at = 1, args.items(1, name, "headers", given) do
      local pair = rawget(given, at)
      if type(pair) ~= "table" then bad(1, name, "headers: pairs of name and value expected, got " .. show(pair)) end
      add(rawget(pair, 1), rawget(pair, 2))
    end
    return names, values
  end
  local keys = {}
  for key in next, given do
    if type(key) ~= "string" then bad(1, name, "headers: a name must be a string, got " .. show(key)) end
    keys[#keys + 1] = key
  end
  sort(keys)
  for _, key in next, keys do
    local value = given[key]
    if type(value) == "table" then
      for at = 1, args.items(1, name, "headers: " .. key, value) do add(key, rawget(value, at)) end
    else
      add(key, value)
    end
  end
  return names, values
end

--- Parts with contents: `attachments` and `body_parts`.
local function parts_of(core, name, what, given)
  local parts = {}
  for at = 1, args.items(1, name, what, given) do
    local place = what .. "[" .. at .. "]"
    local one = rawget(given, at)
    if type(one) ~= "table" then bad(1, name, place .. " must be a table with data or path, got " .. show(one)) end
    local part = args.options(1, name, one, PART, place)
    if (part.data == nil) == (part.path == nil) then bad(1, name, place .. ": exactly one of data and path expected") end
    local function check(field, fine, why)
      if not fine then bad(1, name, place .. "." .. field .. ": " .. why) end
    end
    if part.type then check("type", core.mail_type(part.type)) end
    if part.cid then check("cid", core.mail_cid(part.cid)) end
    if part.name then check("name", core.mail_text(part.name)) end
    if part.path then
      check("path", not find(part.path, "[%z\r\n]"), "it contains CR, LF or NUL")
      part.name = part.name or what == "attachments" and match(part.path, "([^/]+)$") or nil
    end
    if what == "body_parts" and not part.type then bad(1, name, place .. ": type is missing") end
    parts[at] = part
  end
  return parts
end

--- Checks a message. It is the first argument of the public function.
-- @param opts { from = the address that answers for it, where it is another than the message's }
-- @return what the core builds it from, and its envelope: { from =, to = { … }, international = does it need SMTPUTF8? }
function M.checked(core, name, given, opts)
  if type(given) ~= "table" then bad(1, name, "a message must be a table, got " .. show(given)) end
  local message = args.options(1, name, given, MESSAGE)
  local built = { subject = message.subject, body = message.body, body_html = message.body_html }
  if message.subject then
    local fine, why = core.mail_text(message.subject)
    if not fine then bad(1, name, "subject: " .. why) end
  end
  local from, senders, international = M.mailboxes(core, name, "from", message.from)
  if not from then bad(1, name, "from is missing") end
  built.from = from
  local sender, responsible, is = M.mailboxes(core, name, "sender", message.sender)
  if sender and #responsible ~= 1 then bad(1, name, "sender must be one mailbox") end
  if #senders > 1 and not sender then bad(1, name, "from has several mailboxes, so sender is required") end
  built.sender = sender
  international = international or is
  local to = {}
  for _, field in next, { "to", "cc", "bcc" } do
    local text, addresses, needs = M.mailboxes(core, name, field, message[field])
    if field ~= "bcc" then built[field] = text end
    for at = 1, #addresses do to[#to + 1] = addresses[at] end
    -- A blind recipient is in no header.
    international = international or field ~= "bcc" and needs
  end
  to = M.unique(to)
  if #to == 0 then bad(1, name, "to, cc and bcc are missing: the message has no recipient") end
  local answers, _, needs = M.mailboxes(core, name, "reply_to", message.reply_to)
  built.reply_to, international = answers, international or needs
  if message.headers then built.header_names, built.header_values = headers_of(core, name, message.headers) end
  for _, field in next, { "attachments", "body_parts" } do
    if message[field] then built[field] = parts_of(core, name, field, message[field]) end
  end
  return built, { from = opts.from or responsible[1] or senders[1], to = to, international = international }
end

--- Checks one address of an envelope.
function M.address(core, index, name, what, value)
  clients.word(index, name, what, value)
  if sub(value, 1, 1) == "<" and sub(value, -1) == ">" then value = sub(value, 2, -2) end
  local found = core.mail_mailboxes("<" .. value .. ">")
  if found == nil or #found ~= 1 or found[1] == "" then bad(index, name, what .. " is not an address: " .. show(value)) end
  return found[1]
end

return M
