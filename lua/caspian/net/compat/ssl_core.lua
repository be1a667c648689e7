--- `ssl.core` of the drop-in: connections, their methods, and the server's choice of a certificate by SNI.
local lists = require("caspian.net.compat.alpn")
local checks = require("caspian.net.compat.ssl_checks")
local format, sub = string.format, string.sub
local ipairs, next, setfenv, setmetatable, tonumber, type = ipairs, next, setfenv, setmetatable, tonumber, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local wire_of, names_of = lists.wire, lists.names
local answer, bad, string_at = checks.answer, checks.bad, checks.string

local COPYRIGHT = "LuaSec 1.3.2, as the drop-in of caspian.net has it (rustls)"

--- The first name of a list in TLS's own form that is also among `names`.
local function common(wire, names)
  for _, name in ipairs(names_of(wire)) do
    for _, other in ipairs(names) do
      if name == other then return name end
    end
  end
end

--- Seconds as `settimeout` takes them: a number, or a string that is one.
local function seconds_at(index, value)
  if value == nil then return -1 end
  local seconds = tonumber(value)
  if not seconds then bad(index, "number expected, got " .. type(value), nil, 1) end
  return seconds
end

local function methods_of(native, contexts)
  local methods = {}
  -- What a server may answer as: for each connection `{ map =, strict = }`.
  local maps = setmetatable({}, { __mode = "k" })

  --- Answers the client's first words: with the certificates of the host that it asks for, and a protocol that both speak.
  local function choose(conn, name, offered)
    local context = contexts.own[conn]
    local known = maps[conn]
    if known and name then
      local found = known.map[name]
      if found ~= nil then
        context = found
      elseif known.strict then
        native.refuse(conn)
        return
      end
    end
    local alpn
    local chooser = offered[1] and contexts.chooser(context)
    if chooser then
      local wire = chooser(wire_of(offered) or "")
      alpn = type(wire) == "string" and common(wire, offered) or nil
    end
    answer(native.choose(conn, context, alpn))
  end

  --- The handshake: true; or false and why, "wantread" or "wantwrite" where it is to be called again.
  function methods.dohandshake(conn)
    local done, first, second = answer(native.shake(conn, true))
    if done == "hello" then
      choose(conn, first, second)
      done, first = answer(native.shake(conn, false))
    end
    if done then return true end
    return false, first
  end

  --- Client: the host to ask for, and to check where certificates are checked (`verify = "peer"`). An address is checked
  -- and never sent. Refused without a grant for the host: nil and why, and so is the handshake then.
  -- Server: contexts by the hosts that clients may ask for; `strict`: no others.
  function methods.sni(conn, names, strict)
    if not answer(native.is_server(conn)) then
      local good, why = answer(native.sni(conn, string_at(2, names)))
      if not good then return nil, why end
      return
    end
    if type(names) ~= "table" then
      bad(2, "table expected, got " .. (names == nil and "no value" or type(names)))
    end
    for name, context in next, names do
      string_at(1, name)
      answer(native.context_keys_match(context))
    end
    maps[conn] = { map = names, strict = strict and true or false }
  end

  --- The host: what the client asks for, or what it asked this server for.
  function methods.getsniname(conn)
    return (answer(native.sniname(conn)))
  end

  function methods.getalpn(conn)
    return (answer(native.alpn(conn)))
  end

  --- True until the connection stands, and once it is closed.
  local function closed(conn)
    return answer(native.state(conn)) ~= "connected"
  end

  local function certificate(conn, index, is_local)
    if closed(conn) then return nil, "closed" end
    index = index == nil and 1 or tonumber(index)
    if not index then bad(2, "number expected", nil, 1) end
    if index < 1 then return nil, "invalid certificate index" end
    return answer(native.chain(conn, is_local))[index]
  end

  --- A certificate that the peer has shown, counted from its own; nil where there is none.
  function methods.getpeercertificate(conn, index)
    return certificate(conn, index, false)
  end

  function methods.getlocalcertificate(conn, index)
    return certificate(conn, index, true)
  end

  function methods.getpeerchain(conn)
    if closed(conn) then return nil, "closed" end
    return (answer(native.chain(conn, false)))
  end

  function methods.getlocalchain(conn)
    if closed(conn) then return nil, "closed" end
    return (answer(native.chain(conn, true)))
  end

  --- True if the peer's chain is good; else false and why: a text, or with `lsec_continue` all complaints by depth + 1.
  function methods.getpeerverification(conn)
    if closed(conn) then return false, "closed" end
    local good, why = answer(native.verdict(conn))
    if good then return true end
    return false, why
  end

  --- Not to be had here: no value, as from a connection without the message. `exportkeyingmaterial` binds to a
  -- channel of TLS 1.3 (RFC 9266).
  function methods.getfinished(conn)
    if closed(conn) then return nil, "closed" end
  end
  methods.getpeerfinished = methods.getfinished

  --- Keying material for a label (RFC 8446, section 7.5). Over TLS 1.2 there is none.
  function methods.exportkeyingmaterial(conn, label, length, context)
    if closed(conn) then return nil, "closed" end
    label = string_at(2, label)
    local count = tonumber(length)
    if not count then bad(3, "number expected, got " .. (length == nil and "no value" or type(length))) end
    if context ~= nil then context = string_at(4, context) end
    local bytes = answer(native.export(conn, label, count, context))
    if not bytes then return nil, "error exporting keying material" end
    return bytes
  end

  --- The limit of each call ("b", the default) or of each and all ("t") in seconds; nil for none.
  function methods.settimeout(conn, value, mode)
    local seconds = seconds_at(2, value)
    local letter = mode == nil and "b" or sub(string_at(3, mode), 1, 1)
    if letter ~= "b" and letter ~= "t" and letter ~= "r" then bad(3, "invalid timeout mode") end
    return (answer(native.timeout(conn, letter ~= "b", seconds)))
  end

  function methods.gettimeout(conn)
    return answer(native.gettimeout(conn))
  end

  --- "read" or "write" after a call that ended with "wantread" or "wantwrite", else "nothing".
  function methods.want(conn)
    return (answer(native.want(conn)))
  end

  function methods.getfd(conn)
    return (answer(native.getfd(conn)))
  end

  function methods.dirty(conn)
    return (answer(native.dirty(conn)))
  end

  --- Bytes received, bytes sent, age in seconds.
  function methods.getstats(conn)
    return answer(native.getstats(conn))
  end

  function methods.setstats(conn, received, sent, age)
    local was_received, was_sent, was_age = answer(native.getstats(conn))
    return (answer(native.setstats(conn, tonumber(received) or was_received, tonumber(sent) or was_sent,
      tonumber(age) or was_age)))
  end

  function methods.close(conn)
    answer(native.close(conn))
  end

  return methods
end

return function(native, import)
  import("ssl.context")
  -- The context of each connection.
  local contexts = { own = setmetatable({}, { __mode = "k" }), chooser = native.alpn_chooser }
  local methods = methods_of(native, contexts)
  local metatable = answer(native.class(methods))
  local M = { SOCKET_INVALID = -1 }

  --- A connection that has no socket yet.
  function M.create(context)
    local conn, why = answer(native.create(context))
    if not conn then return nil, why end
    contexts.own[conn] = context
    return conn
  end

  --- Gives it a socket of this program's, which is spent by that. (LuaSec takes a descriptor's number.)
  function M.setfd(conn, socket)
    local good, why = answer(native.attach(conn, socket))
    if not good then bad(2, why, "setfd") end
  end

  --- The description of the cipher, its bits twice, the protocol; nothing before the handshake.
  function M.info(conn)
    local protocol, cipher, key, authentication, encryption, bits = answer(native.info(conn))
    if not protocol then return end
    return format("%s %s Kx=%s Au=%s Enc=%s Mac=AEAD", cipher, protocol, key, authentication, encryption),
      bits + 0.0, bits + 0.0, protocol
  end

  --- nil: there is no compression.
  function M.compression(conn)
    if answer(native.state(conn)) ~= "connected" then return nil, "closed" end
    return nil
  end

  --- Adds a method to connections.
  function M.setmethod(name, method)
    metatable.__index[name] = method
  end

  function M.copyright()
    return COPYRIGHT
  end

  return M
end
