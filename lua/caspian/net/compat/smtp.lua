--- `socket.smtp` of the drop-in: mail sent (RFC 5321), and messages made of headers and bodies (RFC 5322, RFC 2046).
--
-- No address or header of the caller can begin a new line. A password is not sent in clear text, except to this machine or
-- with `insecure_auth`; where the server offers STARTTLS it is used.
local message = require("caspian.net.compat.message")
local ipairs, next, setfenv, setmetatable, sort, tostring, type =
  ipairs, next, setfenv, setmetatable, table.sort, tostring, type
local find, format, gsub, lower, sub = string.find, string.format, string.gsub, string.lower, string.sub
local concat, date, random = table.concat, os.date, math.random
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local function lowered(headers)
  local new = {}
  for name, value in next, headers or {} do new[lower(tostring(name))] = value end
  return new
end

--- A value as it goes on its line; nil where it holds a line break that does not fold it (RFC 5322, 2.2.3).
local function folded(value)
  local rest = gsub(gsub(value, "\r\n", "\n"), "\n[ \t]+[^%s%z]", "")
  if message.breaks(rest) then return nil end
  return (gsub(gsub(value, "\r\n", "\n"), "\n", "\r\n"))
end

return function(import)
  local socket, tp, ltn12, mime = import("socket"), import("socket.tp"), import("ltn12"), import("mime")
  local canonic, token = import("socket.headers").canonic, import("caspian.token")
  local try = socket.try

  local M = {
    TIMEOUT = 60,         -- seconds: of connecting, of each reply, and of each other wait
    SERVER = "localhost",
    PORT = 25,
    DOMAIN = "localhost", -- of this machine, for EHLO
    ZONE = "-0000",       -- of the Date that `message` writes: UTC, from nowhere in particular
  }

  -- A conversation ----------------------------------------------------------------------------------------------------

  local methods = {}
  local conversation = { __index = methods }

  --- Connects. Answers an object whose methods raise what `socket.protect` catches; it is closed then.
  function M.open(server, port, create)
    server = server or M.SERVER
    local channel = try(tp.connect(server, port or M.PORT, M.TIMEOUT, create))
    local s = setmetatable({ tp = channel, server = server }, conversation)
    s.try = socket.newtry(function() s:close() end)
    return s
  end

  local function command(self, ok, name, argument)
    self.try(self.tp:command(name, argument))
    return self.try(self.tp:check(ok))
  end

  --- Waits for the greeting and says EHLO; answers what the server can, as it said it.
  function methods:greet(domain)
    self.try(self.tp:check("2.."))
    local _, extensions = command(self, "2..", "EHLO", domain or M.DOMAIN)
    return extensions
  end

  function methods:mail(from) return command(self, "2..", "MAIL", "FROM:" .. from) end
  function methods:rcpt(to) return command(self, "2..", "RCPT", "TO:" .. to) end
  function methods:quit() return command(self, "2..", "QUIT") end
  function methods:close() return self.tp:close() end

  --- Sends a message whose dots are stuffed already.
  function methods:data(source, step)
    command(self, "3..", "DATA")
    self.try(self.tp:source(source, step))
    self.try(self.tp:send("\r\n.\r\n"))
    return self.try(self.tp:check("2.."))
  end

  --- True where a password is not carried in the open: over TLS, over an object of the caller's own making, and inside
  --- this machine.
  local function is_private(self)
    local c = self.tp:getcontrol()
    if sub(tostring(c), 1, 4) ~= "tcp{" then return true end
    local address = c.getpeername and c:getpeername()
    return type(address) == "string" and (find(address, "^127%.") or address == "::1" or find(address, "^::ffff:127%.")) ~= nil
  end

  local function refuse_clear(self)
    self.try(is_private(self) or self.insecure,
      "authentication in clear text refused: the server offers no STARTTLS (insecure_auth = true allows it)")
  end

  --- Turns the connection into TLS to the server's name, verified; says EHLO again and answers what the server can now.
  -- @param params LuaSec's
  function methods:starttls(params, domain)
    command(self, "220", "STARTTLS")
    local c = self.tp:getcontrol()
    -- What came before the handshake may be anyone's.
    self.try(not (c.dirty and c:dirty()), "the server sent more than its reply to STARTTLS")
    self.tp.c = self.try(import("caspian.secure").wrap(c, self.server, params or {}, function(conn)
      conn:settimeout(M.TIMEOUT)
      return 1
    end))
    local _, extensions = command(self, "2..", "EHLO", domain or M.DOMAIN)
    return extensions
  end

  function methods:login(user, password)
    refuse_clear(self)
    command(self, "3..", "AUTH", "LOGIN")
    self.try(self.tp:send((mime.b64(user) or "") .. "\r\n"))
    self.try(self.tp:check("3.."))
    self.try(self.tp:send((mime.b64(password) or "") .. "\r\n"))
    return self.try(self.tp:check("2.."))
  end

  function methods:plain(user, password)
    refuse_clear(self)
    return command(self, "2..", "AUTH", "PLAIN " .. (mime.b64("\0" .. user .. "\0" .. password)))
  end

  --- Authenticates by a mechanism that the server offered. Without user and password there is nothing to do.
  function methods:auth(user, password, extensions)
    if not user or not password then return 1 end
    if find(extensions, "AUTH[^\n]+LOGIN") then return self:login(user, password) end
    if find(extensions, "AUTH[^\n]+PLAIN") then return self:plain(user, password) end
    return self.try(nil, "authentication not supported")
  end

  --- Sends one message to all its recipients.
  function methods:send(mail)
    -- Lines that end otherwise than in CRLF end where some server thinks they do: one way in for a second message.
    local source = ltn12.source.chain(mail.source, mime.normalize(), mime.stuff())
    self:mail(mail.from)
    for _, to in ipairs(type(mail.rcpt) == "table" and mail.rcpt or { mail.rcpt }) do self:rcpt(to) end
    self:data(source, mail.step)
  end

  -- Messages ----------------------------------------------------------------------------------------------------------

  --- The header of a message, with the empty line after it; nil and an error.
  local function head_of(headers)
    local names, out = {}, {}
    for name in next, headers do names[#names + 1] = name end
    sort(names)
    for at, name in ipairs(names) do
      if not find(name, "^[\33-\57\59-\126]+$") then return nil, "invalid header name" end
      local value = headers[name]
      if type(value) ~= "string" and type(value) ~= "number" then
        return nil, format("invalid value of header '%s': a string expected, got %s", name, type(value))
      end
      value = folded(message.digits(value))
      if not value then return nil, "invalid value of header '" .. name .. "': it holds a line break" end
      out[at] = (canonic[name] or name) .. ": " .. value .. "\r\n"
    end
    return concat(out) .. "\r\n"
  end

  --- A boundary that no part can know.
  local function boundary()
    local digits = token()
    -- Where the system has no random bytes, at least another one each time.
    return "=_" .. (digits or format("%08x%08x", random(0, 2147483647), random(0, 2147483647)))
  end

  --- Sources one after the other, as many as there are.
  local function series(list)
    local at = 1
    return function()
      while list[at] do
        local piece, err = list[at]()
        if piece then return piece end
        if err then return nil, err end
        at = at + 1
      end
    end
  end

  local source_of

  local function multipart(body, headers)
    local mark = boundary()
    headers["content-type"] = (headers["content-type"] or "multipart/mixed") .. '; boundary="' .. mark .. '"'
    local head, err = head_of(headers)
    if not head then return nil, err end
    local out = { ltn12.source.string(head) }
    local function add(text) out[#out + 1] = ltn12.source.string(text) end
    if body.preamble then add(body.preamble .. "\r\n") end
    for _, part in ipairs(body) do
      add("\r\n--" .. mark .. "\r\n")
      local source
      source, err = source_of(part, lowered(part.headers))
      if not source then return nil, err end
      out[#out + 1] = source
    end
    add("\r\n--" .. mark .. "--\r\n\r\n")
    if body.epilogue then add(body.epilogue .. "\r\n") end
    return series(out)
  end

  --- The source of a message or of a part: its headers, then its body (a string, a source, or an array of parts).
  function source_of(part, headers)
    local body = part.body
    if type(body) == "table" then return multipart(body, headers) end
    headers["content-type"] = headers["content-type"] or 'text/plain; charset="iso-8859-1"'
    local head, err = head_of(headers)
    if not head then return nil, err end
    if type(body) == "function" then return ltn12.source.cat(ltn12.source.string(head), body) end
    if type(body) ~= "string" and type(body) ~= "number" then
      return nil, "invalid body: a string, source or table expected, got " .. type(body)
    end
    return ltn12.source.string(head .. body)
  end

  --- A source of the message `{ headers =, body = }`; one that fails where it cannot be made.
  function M.message(mail)
    local headers = lowered(mail.headers)
    headers.date = headers.date or date("!%a, %d %b %Y %H:%M:%S ") .. (mail.zone or M.ZONE)
    headers["x-mailer"] = headers["x-mailer"] or socket._VERSION
    headers["mime-version"] = "1.0"
    local source, err = source_of(mail, headers)
    return source or ltn12.source.error(err)
  end

  --- Sends mail: `{ from =, rcpt =, source =, user =, password =, server =, port =, domain =, step =, create = }`. Answers 1,
  --- or nil and an error.
  -- Besides LuaSocket's fields: `insecure_auth` (true lets the password go in clear text), and LuaSec's parameters for
  -- STARTTLS (`cafile`, `verify` …).
  M.send = socket.protect(function(mail)
    local s = M.open(mail.server, mail.port, mail.create)
    s.insecure = mail.insecure_auth
    local extensions = s:greet(mail.domain)
    if mail.user and mail.password and not is_private(s) and not s.insecure and find(extensions .. "\n", "[ -]STARTTLS%s") then
      local params = {}
      for name, value in next, mail do if name ~= "password" then params[name] = value end end
      extensions = s:starttls(params, mail.domain)
    end
    s:auth(mail.user, mail.password, extensions)
    s:send(mail)
    s:quit()
    return s:close()
  end)

  return M
end
