--- `socket.ftp` of the drop-in: files fetched and stored (RFC 959, RFC 2428).
--
-- Data connections are made by the caller's `create`, and go to the address of the control connection.
local make_url = require("caspian.net.compat.url")
local message = require("caspian.net.compat.message")
local replies = require("caspian.net.ftp.replies")
local ipairs, next, pcall, setfenv, setmetatable, tonumber, tostring, type =
  ipairs, next, pcall, setfenv, setmetatable, tonumber, tostring, type
local find, format, gsub, match, sub = string.find, string.format, string.gsub, string.match, string.sub
local concat = table.concat
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

return function(import)
  local socket, tp, ltn12 = import("socket"), import("socket.tp"), import("ltn12")
  local url = make_url(import, true)
  local try = socket.try

  local M = {
    TIMEOUT = 60, -- seconds: of connecting, of each reply, and of each wait for data
    USER = "ftp",
    PASSWORD = "anonymous@anonymous.org",
    MAXBODY = 268435456, -- bytes that `get(url)` gathers
    FOREIGN = false,     -- true connects where a reply to PASV says, be it another machine
  }
  local PORT = 21

  local methods = {}
  local session = { __index = methods }

  --- Connects. Answers an object whose methods raise what `socket.protect` catches; it is closed then.
  function M.open(server, port, create)
    local channel = try(tp.connect(server, port or PORT, M.TIMEOUT, create))
    local f = setmetatable({ tp = channel, host = server, create = create }, session)
    f.try = socket.newtry(function() f:close() end)
    return f
  end

  local function command(self, ok, name, argument)
    self.try(self.tp:command(name, argument))
    return self.try(self.tp:check(ok))
  end

  --- The address of the other end of the control connection.
  local function peer_of(self)
    local c = self.tp:getcontrol()
    return c.getpeername and c:getpeername() or self.host
  end

  local function forget_server(self)
    if self.server then self.server:close() end
    self.server = nil
  end

  -- Replies come twice to some questions: a 1xx first.
  function methods:greet()
    local code = self.try(self.tp:check{ "1..", "2.." })
    if code < 200 then self.try(self.tp:check("2..")) end
    return 1
  end

  function methods:login(user, password)
    local code = command(self, { "2..", "331" }, "USER", user or M.USER)
    if code == 331 then command(self, "2..", "PASS", password or M.PASSWORD) end
    return 1
  end

  function methods:cwd(directory)
    command(self, "250", "CWD", directory)
    return 1
  end

  function methods:type(kind)
    command(self, "200", "TYPE", kind)
    return 1
  end

  function methods:quit()
    command(self, "2..", "QUIT")
    return 1
  end

  -- Data connections --------------------------------------------------------------------------------------------------

  local function passive(self, address, port)
    forget_server(self)
    self.pasvt = { address = address, port = port }
    return address, port
  end

  --- Asks the server to listen for a data connection; answers its address and port. The address in the reply counts only
  --- where `ftp.FOREIGN` is true: another machine is not what the caller asked for.
  function methods:pasv()
    local _, reply = command(self, "2..", "PASV")
    -- Behind the code, which is a number, too.
    local address, port = replies.passive(sub(reply, 4))
    self.try(address, reply)
    return passive(self, M.FOREIGN and address or peer_of(self), port)
  end

  local function extended(self, reply)
    return passive(self, peer_of(self), self.try(replies.extended(reply), "invalid epsv response"))
  end

  --- The same, for any kind of address.
  function methods:epsv()
    local _, reply = command(self, "229", "EPSV")
    return extended(self, reply)
  end

  --- Listens for a data connection on the address that the control connection has here.
  local function listen(self)
    self.pasvt = nil
    forget_server(self)
    local address = self.try(self.tp:getsockname())
    self.server = self.try(socket.bind(address, 0))
    self.server:settimeout(M.TIMEOUT)
    local _, port = self.try(self.server:getsockname())
    return address, tonumber(port)
  end

  --- Tells the server where to connect to; without an address it listens itself.
  function methods:port(address, port)
    if address then self.pasvt = nil else address, port = listen(self) end
    port = self.try(tonumber(port), "invalid port")
    command(self, "2..", "PORT", replies.port(address, port))
    return 1
  end

  --- The same, for any family: "1" is IPv4, "2" IPv6.
  function methods:eprt(family, address, port)
    if address then self.pasvt = nil else address, port = listen(self) end
    command(self, "2..", "EPRT", format("|%s|%s|%d|", tostring(family), address, self.try(tonumber(port), "invalid port")))
    return 1
  end

  local function connect(self)
    self.data = self.try((self.create or socket.tcp)())
    self.data:settimeout(M.TIMEOUT)
    self.try(self.data:connect(self.pasvt.address, self.pasvt.port))
  end

  local function accept(self)
    self.data = self.try(self.server:accept())
    self.data:settimeout(M.TIMEOUT)
    -- Anyone may connect; only the server has the file.
    self.try(self.data:getpeername() == peer_of(self), "the data connection is from another host")
  end

  local function argument_of(given)
    local argument = given.argument or url.unescape((gsub(given.path or "", "^[/\\]", "")))
    return argument ~= "" and argument or nil
  end

  --- Sends the command of a transfer; its code and reply, the data connection open.
  local function begin(self, given, name)
    self.try(self.pasvt or self.server, "need port or pasv first")
    -- A path that cannot be sent is refused before anything is opened.
    self.try(not message.breaks(argument_of(given) or ""), "a line break in a command")
    if self.pasvt then connect(self) end
    local code, reply = command(self, { "1..", "2.." }, given.command or name, argument_of(given))
    if not self.pasvt and (name == "stor" or code < 200) then accept(self) end
    return code, reply
  end

  --- Stores what `source` gives; answers how many bytes that were.
  function methods:send(given)
    local code = begin(self, given, "stor")
    local data, sent = self.data, 0
    local function sink(piece, err)
      if not piece then
        if err then return nil, err end
        data:close()
        return 1
      end
      sent = sent + #piece
      return data:send(piece)
    end
    local step, control = given.step or ltn12.pump.step, { self.tp }
    local watched = self.tp:getcontrol().getfd ~= nil
    local function checked(source, snk)
      -- A server that has had enough says so before the end.
      if watched and code < 200 and socket.select(control, nil, 0)[self.tp] then code = self.try(self.tp:check("2..")) end
      return step(source, snk)
    end
    local done, err = ltn12.pump.all(given.source, sink, checked)
    if not done then
      -- The end of the data is the end of the file: only a reset tells the server that this was not it.
      pcall(function() data:setoption("linger", { on = true, timeout = 0 }) end)
      self.try(nil, err)
    end
    if code < 200 then self.try(self.tp:check("2..")) end
    data:close()
    self.data = nil
    return sent
  end

  --- Fetches into `sink`. A server that answers at once, without data, has its reply go there.
  function methods:receive(given)
    local code, reply = begin(self, given, "retr")
    if code >= 200 then
      given.sink(reply)
      return 1
    end
    local source = socket.source("until-closed", self.data)
    self.try(ltn12.pump.all(source, given.sink, given.step or ltn12.pump.step))
    self.try(self.tp:check("2.."))
    self.data:close()
    self.data = nil
    return 1
  end

  function methods:close()
    if self.data then self.data:close() end
    if self.server then self.server:close() end
    return self.tp:close()
  end

  -- The module --------------------------------------------------------------------------------------------------------

  --- What a URL says, and what is said beside it.
  local function merge(parsed, given)
    try(not find(parsed.authority or "", "[%z\1-\32\127\\]"), "invalid url")
    parsed.user = parsed.user and url.unescape(parsed.user)
    parsed.password = parsed.password and url.unescape(parsed.password)
    for name, value in next, given do parsed[name] = value end
    return parsed
  end

  local function complete(given)
    return given.url and merge(try(url.parse(given.url)), given) or given
  end

  --- The request that a URL is: `ftp://[user[:password]@]host[:port]/path[;type=a|i]`.
  function M.genericform(where)
    local parsed = try(url.parse(where, { path = "/", scheme = "ftp" }))
    try(parsed.scheme == "ftp", "wrong scheme '" .. gsub(parsed.scheme, "%c", "?") .. "'")
    try(parsed.host, "missing hostname")
    if parsed.params then
      parsed.type = match(parsed.params, "^type=(.)$")
      try(parsed.type == "a" or parsed.type == "i", "invalid type '" .. tostring(parsed.type) .. "'")
    end
    return parsed
  end

  local function request_of(what)
    if type(what) == "string" then return merge(M.genericform(what), {}) end
    return complete(what)
  end

  local function login(given)
    try(given.host, "missing hostname")
    local port = given.port
    local f = M.open(given.host, port ~= "" and port or nil, given.create)
    f:greet()
    f:login(given.user, given.password)
    if given.type then f:type(given.type) end
    return f
  end

  --- Makes ready for data: EPSV, and PASV where the server does not know that.
  local function prepare(f)
    local code, reply = command(f, { "229", "50.", "52.", "53." }, "EPSV")
    if code == 229 then return extended(f, reply) end
    return f:pasv()
  end

  --- Stores: `put(url, text)`, or `put{ host =, path =, source =, … }`. Answers the number of bytes, or nil and an error.
  M.put = socket.protect(function(what, text)
    local given = request_of(what)
    if type(what) == "string" then given.source = ltn12.source.string(text) end
    local f = login(given)
    prepare(f)
    local sent = f:send(given)
    f:quit()
    f:close()
    return sent
  end)

  --- Fetches: `get(url)` answers the content, `get{ host =, path =, sink =, … }` 1; nil and an error.
  M.get = socket.protect(function(what)
    local given, gathered = request_of(what), {}
    if type(what) == "string" then
      local left = M.MAXBODY
      given.sink = function(piece)
        left = left - #(piece or "")
        if left < 0 then return nil, "oversized" end
        if piece then gathered[#gathered + 1] = piece end
        return 1
      end
    end
    local f = login(given)
    prepare(f)
    f:receive(given)
    f:quit()
    local closed = f:close()
    if type(what) == "string" then return concat(gathered) end
    return closed
  end)

  --- Sends one command, or an array of them with arrays `argument` and `check`.
  M.command = socket.protect(function(given)
    given = complete(given)
    try(given.host, "missing hostname")
    local commands = try(given.command, "missing command")
    local many = type(commands) == "table"
    local f = login(given)
    for at, name in ipairs(many and commands or { commands }) do
      local argument, check = given.argument, given.check
      if many then argument, check = (argument or {})[at], (check or {})[at] end
      f.try(f.tp:command(name, argument))
      if check then f.try(f.tp:check(check)) end
    end
    f:quit()
    return f:close()
  end)

  return M
end
