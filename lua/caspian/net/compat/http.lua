--- `socket.http` of the drop-in: a client for HTTP/1.1 over LuaSocket's objects, with the caller's `create`, sinks and steps.
--
-- Beyond LuaSocket: it sends no line break inside a line, sends credentials to their own origin only, frames strictly, reads
-- heads with a cap and one deadline, and a failed upload never looks complete.
local selectable = require("caspian.net.compat.callables").selectable
local make_url = require("caspian.net.compat.url")
local message = require("caspian.net.compat.message")
local error, ipairs, next, setfenv, setmetatable, tostring, type =
  error, ipairs, next, setfenv, setmetatable, tostring, type
local byte, find, format, gsub, lower, match = string.byte, string.find, string.format, string.gsub, string.lower,
  string.match
local concat = table.concat
local min = math.min
local tonumber = tonumber
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

-- Chunked bodies ------------------------------------------------------------------------------------------------------

--- Bytes of a chunk that are handed over at once; a larger one comes in pieces.
local PIECE = 1048576

--- Reads a chunked body (RFC 9112, 7.1). Trailers go into `headers` if there is such a table, and nowhere else.
local function chunked_source(c, headers)
  local left, begun, ended = 0, false, false
  local extensions = message.EXTENSIONS
  local function wait() return 1 end
  return selectable(c, function()
    if ended then return nil end
    if left == 0 then
      local text, err
      if begun then
        text, err = message.line(c, { bytes = message.CHUNK_LINE }, wait)
        if not text then return nil, err end
        if text ~= "" then return nil, "invalid chunk" end
      end
      text, err = message.line(c, { bytes = message.CHUNK_LINE }, wait)
      if not text then return nil, err end
      local digits, rest = match(text, "^(%x+)(.*)$")
      if not digits or #digits > 12 or not find(rest, "^[ \t]*;[ \t]*[^%c ;\",=]") and rest ~= "" or find(rest, "[%z\r]") then
        return nil, "invalid chunk size"
      end
      extensions = extensions - #rest
      if extensions < 0 then return nil, "oversized" end
      left, begun = tonumber(digits, 16), true
      if left == 0 then
        local trailers
        trailers, err = message.fields(c, message.budget(), wait, type(headers) == "table" and headers or nil)
        if not trailers then return nil, err end
        ended = true
        return nil
      end
    end
    local piece, err = c:receive(min(left, PIECE))
    if not piece then return nil, err end
    left = left - #piece
    return piece
  end)
end

--- Writes a chunked body. An empty piece is none: it would end the body.
local function chunked_sink(c)
  return selectable(c, function(_, piece, err)
    if not piece then
      -- What failed must not look complete.
      if err then return nil, err end
      return c:send("0\r\n\r\n")
    end
    if piece == "" then return 1 end
    return c:send(format("%X\r\n", #piece) .. piece .. "\r\n")
  end)
end

--- Writes a body of as many bytes as were announced, no more and no fewer.
local function measured_sink(c, length)
  local sent = 0
  return function(piece, err)
    if not piece then
      if err then return nil, err end
      if sent < length then return nil, "the source is shorter than content-length" end
      return 1
    end
    sent = sent + #piece
    if sent > length then return nil, "the source is longer than content-length" end
    return c:send(piece)
  end
end

-- Requests ------------------------------------------------------------------------------------------------------------

--- The headers that say what is wanted, not who wants it: they follow to another origin.
local FOLLOW = {
  ["accept"] = true, ["accept-charset"] = true, ["accept-encoding"] = true, ["accept-language"] = true,
  ["content-encoding"] = true, ["content-language"] = true, ["content-type"] = true, ["if-range"] = true, ["range"] = true,
  ["user-agent"] = true,
}
local REDIRECT = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

--- 1xx answers that are read before the one that counts.
local PROVISIONAL = 16

--- What says in TLS who the caller is: to the origin that it was meant for.
local IDENTITY = { "key", "certificate", "certificates" }

--- The parts of a URL that a new one replaces.
local PARTS = {
  "url", "uri", "scheme", "authority", "userinfo", "user", "password", "host", "port", "path", "params", "query", "fragment",
}

local function copy(of)
  local new = {}
  for name, value in next, of do new[name] = value end
  return new
end

return function(import)
  local socket, ltn12, mime = import("socket"), import("ltn12"), import("mime")
  local canonic = import("socket.headers").canonic
  local now, allows = import("caspian.now"), import("caspian.allows")
  local url = make_url(import, true)
  local try = socket.try

  local M = {
    TIMEOUT = 60,          -- seconds: of connecting, of the head of an answer, and of each wait for its body
    USERAGENT = socket._VERSION,
    MAXBODY = 268435456,   -- bytes of a body that `request(url)` gathers
    HTTP09 = false,        -- true takes an answer without a status line for a body, as HTTP/0.9 was
    -- PROXY: the URL of a proxy for all requests
  }

  -- A scheme: its port, and the maker of a `create` from a request.
  M.schemes = {
    http = { port = 80, create = function() return socket.tcp end },
    https = { port = 443, create = function(reqt) return import("ssl.https").tcp(reqt) end },
  }
  local schemes = M.schemes

  socket.sourcet["http-chunked"] = chunked_source
  socket.sinkt["http-chunked"] = chunked_sink

  -- A connection ------------------------------------------------------------------------------------------------------

  local methods = {}
  local connection = { __index = methods }

  --- Connects. Answers an object whose methods raise what `socket.protect` catches; it is closed then.
  function M.open(host, port, create)
    local c = try((create or socket.tcp)())
    local h = setmetatable({ c = c }, connection)
    h.limit = type(c) == "table" and import("caspian.secure").limit(c) or M.TIMEOUT
    h.try = socket.newtry(function() h:close() end)
    c:settimeout(h.limit)
    h.try(c:connect(host, port))
    return h
  end

  --- Begins a stretch of the conversation that `limit` seconds are for, all in all.
  local function begin(h)
    h.wait, h.budget = message.patience(h.c, h.limit, now), message.budget()
  end

  --- Reads a part of the head within the stretch that `begin` began; a program that drives the connection itself has one
  --- for each part.
  local function read(h, part)
    if h.wait then return part(h.c, h.budget, h.wait) end
    local one, two, three = part(h.c, message.budget(), message.patience(h.c, h.limit, now))
    h.c:settimeout(h.limit)
    return one, two, three
  end

  local function request_line(method, uri)
    method = method or "GET"
    if not message.token(method) then return nil, "invalid method" end
    if not message.target(uri) then return nil, "invalid uri" end
    return method .. " " .. uri .. " HTTP/1.1\r\n"
  end

  function methods:sendrequestline(method, uri)
    return self.try(self.c:send(self.try(request_line(method, uri))))
  end

  function methods:sendheaders(headers)
    self.try(self.c:send(self.try(message.lines(headers, canonic)) .. "\r\n"))
    return 1
  end

  function methods:sendbody(headers, source, step)
    local sink
    local length = headers["content-length"]
    if length then
      length = message.digits(length)
      self.try(find(length, "^%d+$") and #length <= 15, "invalid content-length")
      sink = measured_sink(self.c, tonumber(length))
    else
      sink = chunked_sink(self.c)
    end
    return self.try(ltn12.pump.all(source or ltn12.source.empty(), sink, step or ltn12.pump.step))
  end

  --- The code and the status line; nil and what was read where HTTP/0.9 is spoken, and `http.HTTP09` allows it.
  function methods:receivestatusline()
    local code, status, first = read(self, message.status)
    if first and M.HTTP09 then return nil, first end
    return self.try(code, status), status
  end

  function methods:receiveheaders()
    return self.try(read(self, message.fields))
  end

  function methods:receivebody(headers, sink, step)
    self.c:settimeout(self.limit)
    local framing = self.try(message.framing(headers))
    local source
    if framing == "chunked" then
      source = chunked_source(self.c)
    elseif framing == "close" then
      source = socket.source("until-closed", self.c)
    else
      source = socket.source("by-length", self.c, framing)
    end
    return self.try(ltn12.pump.all(source, sink or ltn12.sink.null(), step or ltn12.pump.step))
  end

  function methods:receive09body(status, sink, step)
    self.c:settimeout(self.limit)
    local source = ltn12.source.rewind(socket.source("until-closed", self.c))
    source(status)
    return self.try(ltn12.pump.all(source, sink, step or ltn12.pump.step))
  end

  function methods:close()
    return self.c:close()
  end

  -- A request ---------------------------------------------------------------------------------------------------------

  local function basic(user, password)
    return "Basic " .. (mime.b64(user .. ":" .. password))
  end

  --- The proxy of a request: its host and port, and what it is told.
  local function proxy_of(reqt)
    local given = reqt.proxy or M.PROXY
    if not given then return nil end
    local proxy = try(url.parse(given))
    try(lower(proxy.scheme or "http") == "http", "unsupported scheme of the proxy")
    try(proxy.host and not find(proxy.host, "[%z\1-\32\127/\\?#@]"), "invalid proxy")
    local authorization
    if proxy.user and proxy.password then
      authorization = basic(url.unescape(proxy.user), url.unescape(proxy.password))
    end
    local port = proxy.port and proxy.port ~= "" and proxy.port or 3128
    return { host = proxy.host, port = port, authorization = authorization }
  end

  local function whole_port(port)
    local digits = message.digits(port)
    local number = find(digits, "^%d+$") and #digits <= 5 and tonumber(digits)
    return try(number and number >= 1 and number <= 65535 and number, "invalid port '" .. gsub(digits, "%c", "?") .. "'")
  end

  --- The headers of a request: what every one has, overridden by the caller's.
  local function headers_of(reqt, scheme, proxy)
    local headers = {
      ["user-agent"] = M.USERAGENT,
      ["host"] = message.place(reqt.host, reqt.port ~= scheme.port and reqt.port or nil),
      ["connection"] = "close, TE",
      ["te"] = "trailers",
    }
    if reqt.user and reqt.password then headers.authorization = basic(reqt.user, url.unescape(reqt.password)) end
    if proxy and reqt.scheme ~= "https" then headers["proxy-authorization"] = proxy.authorization end
    for name, value in next, reqt.headers or {} do headers[type(name) == "string" and lower(name) or name] = value end
    if reqt.source and not headers["content-length"] and not headers["transfer-encoding"] then
      headers["transfer-encoding"] = "chunked"
    end
    local coding = headers["transfer-encoding"]
    if coding then
      try(not headers["content-length"], "both transfer-encoding and content-length")
      try(not reqt.source or type(coding) == "string" and find(lower(coding), "chunked[ \t]*$"), "unsupported transfer-encoding")
    end
    return headers
  end

  --- A request with everything that it leaves open filled in, and the place to connect to.
  local function prepare(reqt)
    local parsed = {}
    if reqt.url then
      parsed = url.parse(reqt.url, { path = "/", scheme = "http" }) or {}
      -- A host that another reader of the same URL would end elsewhere.
      try(not find(parsed.authority or "", "[%z\1-\32\127\\?#]"), "invalid url")
      if parsed.user then parsed.user = url.unescape(parsed.user) end
    end
    local new = parsed
    for name, value in next, reqt do new[name] = value end
    new.scheme = lower(new.scheme or "http")
    local scheme = try(schemes[new.scheme], "unknown scheme '" .. gsub(new.scheme, "%c", "?") .. "'")
    local host = new.host
    try(type(host) == "string" and host ~= "" and not find(host, "[%z\1-\32\127/\\?#@]"),
      "invalid host '" .. gsub(tostring(host), "%c", "?") .. "'")
    new.port = (new.port == nil or new.port == "") and scheme.port or whole_port(new.port)
    if not new.method or new.method == "" then new.method = "GET" end

    local proxy = proxy_of(new)
    if not reqt.uri then
      local u = { path = try(new.path, "invalid path 'nil'"), params = new.params, query = new.query }
      if not find(u.path, "^[/*]") then u.path = "/" .. u.path end
      if proxy and new.scheme ~= "https" then
        u.scheme, u.host, u.port = new.scheme, host, new.port ~= scheme.port and new.port or nil
      end
      new.uri = url.build(u)
    end
    new.headers = headers_of(new, scheme, proxy)

    local peer = proxy or new
    -- The gate sees the proxy when it is dialled; it is asked about the target here.
    if proxy then try(allows(new.host, new.port)) end
    if new.scheme == "https" and proxy then
      -- TLS goes through the proxy, never to it. A `create` of ssl.https's is one for the host, any other makes the socket.
      local secure = import("caspian.secure")
      local params = reqt.create and secure.parameters(reqt.create)
      new.create = secure.factory(params or new, not params and reqt.create or nil,
        { host = new.host, port = new.port, authorization = proxy.authorization })
    elseif not new.create then
      new.create = scheme.create(new)
    elseif new.scheme == "https" and reqt.plain == new.create then
      new.create = import("caspian.secure").factory(new, reqt.create)
    end
    return new, peer.host, peer.port
  end

  --- Where a redirect leads; nil where the answer is for the caller.
  local function target_of(new, code, headers)
    local location = match(headers.location or "", "^%s*(.-)%s*$")
    if location == "" or not REDIRECT[code] or new.redirect == false or new.source then return nil end
    if new.method ~= "GET" and new.method ~= "HEAD" then return nil end
    if new.maxredirects ~= false and (new.nredirects or 0) >= (new.maxredirects or 5) then return nil end
    location = gsub(location, "[%z\1-\32\127]", function(c) return format("%%%02X", byte(c)) end)
    local found = url.resolve({
      scheme = new.scheme, host = new.host, port = new.port ~= schemes[new.scheme].port and new.port or nil,
      path = new.path, params = new.params, query = new.query,
    }, location)
    local scheme = lower(found.scheme)
    if not schemes[scheme] then return nil end
    if new.scheme == "https" and scheme ~= "https" then return nil end
    return found, location
  end

  --- The request that a redirect asks for: the caller's, for another URL.
  local function onward(reqt, new, found)
    local scheme = lower(found.scheme)
    local port = found.port and found.port ~= "" and tostring(found.port) or tostring(schemes[scheme].port)
    local same = scheme == new.scheme and lower(found.host or "") == lower(new.host) and port == tostring(new.port)
    local next_one = copy(reqt)
    for _, name in ipairs(PARTS) do next_one[name] = nil end
    next_one.url = url.build{
      scheme = scheme, host = found.host, port = found.port, user = found.user, password = found.password,
      path = found.path or "/", params = found.params, query = found.query,
    }
    next_one.nredirects = (reqt.nredirects or 0) + 1
    -- A socket's maker for http is no maker of TLS: https is spoken over what it makes.
    if reqt.create and scheme == "https" and new.scheme ~= "https" then next_one.plain = reqt.create end
    if same then
      if not found.user then next_one.user, next_one.password = new.user, new.password end
      return next_one
    end
    local follow = copy(FOLLOW)
    for _, name in ipairs(reqt.forward_headers or {}) do follow[lower(name)] = true end
    next_one.headers = {}
    for name, value in next, reqt.headers or {} do
      if type(name) == "string" and follow[lower(name)] then next_one.headers[name] = value end
    end
    local secure = import("caspian.secure")
    local params = reqt.create and secure.parameters(reqt.create)
    params = params and copy(params)
    for _, name in ipairs(IDENTITY) do
      next_one[name] = nil
      if params then params[name] = nil end
    end
    if params then next_one.create = secure.factory(params) end
    return next_one
  end

  local function body_expected(new, code)
    return new.method ~= "HEAD" and code ~= 204 and code ~= 304 and code >= 200
  end

  local function perform(reqt)
    local new, host, port = prepare(reqt)
    -- Everything that can be refused is refused before a packet leaves.
    local head = try(request_line(new.method, new.uri)) .. try(message.lines(new.headers, canonic)) .. "\r\n"
    local h = M.open(host, port, new.create)
    begin(h)
    h.try(h.wait())
    h.try(h.c:send(head))
    if new.source then
      h.c:settimeout(h.limit)
      h:sendbody(new.headers, new.source, new.step)
      begin(h)
    end
    local code, status = h:receivestatusline()
    if not code then
      h:receive09body(status, new.sink or ltn12.sink.null(), new.step)
      h:close()
      return 1, 200
    end
    local headers = h:receiveheaders()
    local provisional = 0
    while code < 200 and code ~= 101 do
      provisional = provisional + 1
      h.try(provisional <= PROVISIONAL, "too many provisional responses")
      code, status = h:receivestatusline()
      h.try(code, "malformed status line")
      headers = h:receiveheaders()
    end
    local found, location = target_of(new, code, headers)
    if found then
      h:close()
      local done, last, fields, line = perform(onward(reqt, new, found))
      fields = fields or {}
      fields.location = fields.location or location
      return done, last, fields, line
    end
    if body_expected(new, code) then h:receivebody(headers, new.sink, new.step) end
    h:close()
    return 1, code, headers, status
  end

  -- The module --------------------------------------------------------------------------------------------------------

  --- The request that `request(url, body)` makes; its `target` gathers the body, up to `MAXBODY`.
  function M.genericform(where, body)
    local target, left = {}, M.MAXBODY
    local gather = ltn12.sink.table(target)
    local function sink(piece, err)
      left = left - #(piece or "")
      if left < 0 then return nil, "oversized" end
      return gather(piece, err)
    end
    local reqt = { url = where, sink = sink, target = target }
    if body then
      reqt.source = ltn12.source.string(body)
      reqt.headers = { ["content-length"] = #body, ["content-type"] = "application/x-www-form-urlencoded" }
      reqt.method = "POST"
    end
    return reqt
  end

  local function gather(where, body)
    local reqt = M.genericform(where, body)
    local _, code, headers, status = perform(reqt)
    return concat(reqt.target), code, headers, status
  end

  --- `request(url [, body])` answers the body, the code, the headers and the status line; `request{ … }` 1 instead of the
  --- body, which went to the sink. nil and an error where there is no answer.
  M.request = socket.protect(function(what, body)
    if type(what) == "string" then return gather(what, body) end
    if type(what) ~= "table" then error("bad argument #1 to 'request' (string or table expected, got " .. type(what) .. ")", 0) end
    return perform(what)
  end)

  return M
end
