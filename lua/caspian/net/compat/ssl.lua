--- `ssl` of the drop-in: TLS around the sockets of `socket`, as LuaSec has it.
local lists = require("caspian.net.compat.alpn")
local ipairs, match, setfenv, type = ipairs, string.match, setfenv, type
local unpack = unpack or table.unpack -- luacheck: ignore
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local wire_of, names_of = lists.wire, lists.names

--- What a server answers to a client's protocols: a list, or a function that is given the client's.
local function server_alpn(alpn)
  if type(alpn) == "function" then
    return function(offered)
      local chosen = alpn(names_of(offered))
      if type(chosen) == "string" then chosen = { chosen } end
      if type(chosen) ~= "table" then return nil end
      return (wire_of(chosen))
    end
  elseif type(alpn) == "table" then
    local good, why = wire_of(alpn)
    if not good then return nil, why end
    return function() return (wire_of(alpn)) end
  end
  return nil, "invalid ALPN parameter"
end

local function client_alpn(alpn)
  if type(alpn) == "string" then alpn = { alpn } end
  if type(alpn) ~= "table" then return nil, "invalid ALPN parameter" end
  return wire_of(alpn)
end

return function(native, import)
  local core, context = import("ssl.core"), import("ssl.context")
  local M = {
    _VERSION = "1.3.2",
    _COPYRIGHT = core.copyright(),
    config = import("ssl.config"),
    loadcertificate = import("ssl.x509").load,
  }

  --- A step with one word or a list of them.
  local function each(step, target, words)
    if type(words) == "table" then return step(target, unpack(words)) end
    return step(target, words)
  end

  --- The steps of a context, in LuaSec's order: the first that fails is told of.
  local STEPS = {
    function(target, cfg)
      local pairs_of = cfg.certificates or { { certificate = cfg.certificate, key = cfg.key, password = cfg.password } }
      for _, pair in ipairs(pairs_of) do
        if pair.key then
          local password = pair.password
          if password and type(password) ~= "function" and type(password) ~= "string" then
            return nil, "invalid password type"
          end
          local good, why = context.loadkey(target, pair.key, password or nil)
          if not good then return nil, why end
        end
        if pair.certificate then
          local good, why = context.loadcert(target, pair.certificate)
          if not good then return nil, why end
          if pair.key and not context.checkkey(target) then return nil, "private key does not match public key" end
        end
      end
      return true
    end,
    function(target, cfg)
      if not cfg.cafile and not cfg.capath then return true end
      return context.locations(target, cfg.cafile or nil, cfg.capath or nil)
    end,
    function(target, cfg)
      if not cfg.ciphers then return true end
      return context.setcipher(target, cfg.ciphers)
    end,
    function(target, cfg)
      if not cfg.ciphersuites then return true end
      return context.setciphersuites(target, cfg.ciphersuites)
    end,
    function(target, cfg)
      if not cfg.verify then return true end
      return each(context.setverify, target, cfg.verify)
    end,
    function(target, cfg)
      if not cfg.options then return true end
      return each(context.setoptions, target, cfg.options)
    end,
    function(target, cfg)
      if not cfg.depth then return true end
      return context.setdepth(target, cfg.depth)
    end,
    function(target, cfg)
      if not cfg.dhparam then return true end
      if type(cfg.dhparam) ~= "function" then return nil, "invalid DH parameter type" end
      context.setdhparam(target, cfg.dhparam)
      return true
    end,
    function(target, cfg)
      if cfg.curveslist then return context.setcurveslist(target, cfg.curveslist) end
      if cfg.curve then return context.setcurve(target, cfg.curve) end
      return true
    end,
    function(target, cfg)
      if not cfg.verifyext then return true end
      return each(target.setverifyext, target, cfg.verifyext)
    end,
    function(target, cfg)
      if not cfg.alpn then return true end
      if cfg.mode == "server" then
        local chooser, why = server_alpn(cfg.alpn)
        if not chooser then return nil, why end
        return context.setalpncb(target, chooser)
      end
      local wire, why = client_alpn(cfg.alpn)
      if not wire then return nil, why end
      return context.setalpn(target, wire)
    end,
    -- Left out silently, these would leave a connection unproven that the program thinks is proven.
    function(_, cfg)
      if cfg.psk then return nil, "PSK not supported" end
      if cfg.dane then return nil, "DANE not supported" end
      return true
    end,
  }

  --- What connections begin with, as `cfg` says; nil and why.
  function M.newcontext(cfg)
    local target, why = context.create(cfg.protocol)
    if not target then return nil, why end
    local good
    good, why = context.setmode(target, cfg.mode)
    if not good then return nil, why end
    for i = 1, #STEPS do
      good, why = STEPS[i](target, cfg)
      if not good then return nil, why end
    end
    return target
  end

  --- TLS over a connected socket, which is spent by it. `cfg`: a context, or what one is made of.
  function M.wrap(socket, cfg)
    local target = cfg
    if type(cfg) == "table" then
      local err
      target, err = M.newcontext(cfg)
      if not target then return nil, err end
    end
    local conn, err = core.create(target)
    if not conn then return nil, err end
    local good, why = native.attach(conn, socket)
    if not good then return nil, why end
    return conn
  end

  --- What was negotiated: a table, or the one field of it.
  local function info(conn, field)
    local compression, err = core.compression(conn)
    if err then return compression, err end
    if field == "compression" then return compression end
    local text, bits, algbits, protocol = core.info(conn)
    if not text then return nil end
    local all = { bits = bits, algbits = algbits, export = false }
    all.cipher, all.protocol, all.key, all.authentication, all.encryption, all.mac =
      match(text, "^(%S+)%s+(%S+)%s+Kx=(%S+)%s+Au=(%S+)%s+Enc=(%S+)%s+Mac=(%S+)")
    all.protocol = protocol
    if field ~= nil then return all[field] end
    return all
  end
  core.setmethod("info", info)

  return M
end
