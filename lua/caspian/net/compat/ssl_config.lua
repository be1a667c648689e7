--- `ssl.config` of the drop-in: the supported names. Programs read it before they choose a curve, a protocol or an option.
local ipairs, setfenv = ipairs, setfenv
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local function set(names)
  local all = {}
  for _, name in ipairs(names) do all[name] = true end
  return all
end

return function(native)
  local options, curves = native.config()
  return {
    -- Neither TLS 1.0 nor 1.1, so that a program which looks does not ask for them.
    protocols = { tlsv1_2 = true, tlsv1_3 = true },
    options = set(options),
    algorithms = { ec = true },
    curves = set(curves),
    capabilities = { alpn = true, curves_list = true, ecdh_auto = true },
  }
end
