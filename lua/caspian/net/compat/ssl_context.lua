--- `ssl.context` of the drop-in: the configuration of TLS connections, made step by step. A step returns true, or false and
-- the reason; `create` returns the context, or nil and the reason.
local alpn = require("caspian.net.compat.alpn")
local checks = require("caspian.net.compat.ssl_checks")
local format, select, setfenv, setmetatable, type = string.format, select, setfenv, setmetatable, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, number_at, string_at = checks.answer, checks.bad, checks.number, checks.string

return function(native, cap)
  local module = {}
  -- What a server answers to the protocols that a client offers: a function for each context.
  local choosers = setmetatable({}, { __mode = "k" })

  --- A step that says words of a list one by one.
  local function say(context, what, message, ...)
    for index = 1, select("#", ...) do
      local word = string_at(index + 1, (select(index, ...)), nil)
      if not answer(native.context_set(context, what, word)) then return false, format(message, word) end
    end
    return true
  end

  function module.create(protocol)
    protocol = string_at(1, protocol, "create")
    local context = answer(native.context_create(cap, protocol))
    if context == nil then return nil, "invalid protocol (" .. protocol .. ")" end
    return context
  end

  function module.setmode(context, mode)
    mode = string_at(2, mode, "setmode")
    if answer(native.context_mode(context, mode)) then return true end
    return false, "invalid mode (" .. mode .. ")"
  end

  --- The private key: a path where files may be read, or PEM text. `password` opens an encrypted one: a string, or a function
  -- that answers one and is asked only then.
  function module.loadkey(context, key, password)
    key = string_at(2, key, "loadkey")
    if password ~= nil and type(password) ~= "string" and type(password) ~= "function" then
      bad(3, "invalid callback value", "loadkey")
    end
    local good, why, sealed = answer(native.context_key(context, key, type(password) == "string" and password or nil))
    if sealed and type(password) == "function" then
      local said = password()
      -- As in LuaSec, whatever else it answers opens nothing.
      good, why = answer(native.context_key(context, key, type(said) == "string" and said or ""))
    end
    if good then return true end
    return false, "error loading private key (" .. why .. ")"
  end

  --- The certificate chain: a path or PEM text.
  function module.loadcert(context, certificate)
    local good, why = answer(native.context_certificate(context, string_at(2, certificate, "loadcert")))
    if good then return true end
    return false, "error loading certificate (" .. why .. ")"
  end

  function module.checkkey(context)
    return (answer(native.context_keys_match(context)))
  end

  --- Whom to believe: a file (or PEM text), and a directory of files named by their hash.
  function module.locations(context, file, path)
    if file ~= nil then file = string_at(2, file, "locations") end
    if path ~= nil then path = string_at(3, path, "locations") end
    local good, why = answer(native.context_locations(context, file, path))
    if good then return true end
    return false, "error loading CA locations (" .. why .. ")"
  end

  function module.setcipher(context, list)
    return say(context, "ciphers", "error setting cipher list (no cipher match)", list)
  end

  function module.setciphersuites(context, list)
    return say(context, "ciphersuites", "error setting cipher list (no cipher match)", list)
  end

  function module.setcurve(context, name)
    return say(context, "curve", "elliptic curve '%s' not supported", name)
  end

  function module.setcurveslist(context, list)
    return say(context, "curves", 'unknown elliptic curve in "%s"', list)
  end

  function module.setdepth(context, depth)
    return (answer(native.context_depth(context, number_at(2, depth, "setdepth"))))
  end

  --- "none", "peer", "client_once", "fail_if_no_peer_cert"
  function module.setverify(context, ...)
    if select("#", ...) > 0 then answer(native.context_forget(context, "verify")) end
    return say(context, "verify", "invalid verify option (%s)", ...)
  end

  function module.setoptions(context, ...)
    return say(context, "option", "invalid option (%s)", ...)
  end

  --- Taken and never asked: key exchange is over elliptic curves alone.
  function module.setdhparam(context, callback)
    answer(native.context_keys_match(context))
    if type(callback) ~= "function" then bad(2, "function expected, got " .. type(callback), "setdhparam") end
  end

  --- What a client offers, as a list in TLS's own form.
  function module.setalpn(context, wire)
    local names = alpn.names(string_at(2, wire, "setalpn"))
    return (answer(native.context_alpn(context, names)))
  end

  --- `choose(offered)` is given the client's list in TLS's own form and answers the server's, or nil.
  function module.setalpncb(context, choose)
    answer(native.context_keys_match(context))
    choosers[context] = choose
    return true
  end

  local function setverifyext(context, ...)
    answer(native.context_forget(context, "verifyext"))
    return say(context, "verifyext", "invalid verify option (%s)", ...)
  end
  answer(native.context_class{ setverifyext = setverifyext })

  --- For `ssl.core`: the function of `setalpncb`.
  function native.alpn_chooser(context)
    return choosers[context]
  end

  return module
end
