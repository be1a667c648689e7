--- SMTP (RFC 5321): `net.smtp` and the class of what it returns.
local clients = require("caspian.net.mail.client")
local opening = require("caspian.net.mail.opening")
local next, select, setfenv = next, select, setfenv
local find, format, gmatch, gsub, match, sub, upper =
  string.find, string.format, string.gmatch, string.gsub, string.match, string.sub, string.upper
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
  local copy = {}
  for keyword, parameters in next, state.extensions do copy[keyword] = parameters end
  return clients.hash(copy)
end

local object = clients.class("smtp", METHODS, FIELDS, function(state)
  ask(state, "2", "QUIT")
end)

local PROTOCOL = {
  ports = { starttls = 587, implicit = 465, none = 25 },
  options = {
    name = "string", -- of this machine, for EHLO. Defaults to the connection's own address: "[192.0.2.1]"
  },
  start = start,
  object = object,
}

local function open(door, name, given, depth)
  return opening.open(door, name, given, PROTOCOL, depth + 1)
end

return { open = open }
