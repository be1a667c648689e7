--- `socket.dns`: names and addresses, through the gate.
local error, find, select, setfenv, tostring, type = error, string.find, select, setfenv, tostring, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

--- The words of gethostbyname(3) for those of getaddrinfo(3).
local WORDS = {
  ["host or service not provided, or not known"] = "host not found",
  ["temporary failure in name resolution"] = "Host name lookup failure",
  ["non-recoverable failure in name resolution"] = "Unknown server error",
}

--- Adds `dns` to the module. `told` turns the native half's failures into `nil, words`; `expected` raises.
return function(M, native, told, expected)
  local dns = {}
  M.dns = dns
  dns.gethostname = native.gethostname

  --- The argument at `index`, a string or a number.
  local function text(index, name, ...)
    local value = select(index, ...)
    if type(value) == "number" then return tostring(value) end
    if type(value) ~= "string" then
      return nil, expected(index, name, "string", select("#", ...), value)
    end
    return value
  end

  --- The addresses of a name, as the resolver has them: `{ { family = "inet", addr = "127.0.0.1" }, … }`.
  function dns.getaddrinfo(...)
    local found, err, interrupted = native.addresses(text(1, "getaddrinfo", ...), false)
    if not found then return told(err, interrupted) end
    for i = 1, #found do
      found[i] = { family = find(found[i], ":", 1, true) and "inet6" or "inet", addr = found[i] }
    end
    return found
  end

  --- What the original's gethostbyname tells: IPv4 only.
  local function hosts(name)
    local found, err, interrupted = native.addresses(name, true)
    if not found then
      local _, words = told(err, interrupted)
      return nil, WORDS[words] or words
    elseif found[1] == nil then
      return nil, "host not found"
    end
    return found
  end

  --- The first IPv4 address of a name; and all that is known: `{ name =, ip = {…}, alias = {…} }`.
  function dns.toip(...)
    local name = text(1, "toip", ...)
    local found, err = hosts(name)
    if not found then return nil, err end
    return found[1], { name = name, ip = found, alias = {} }
  end

  --- The name of an address, or of a name's address; and all that is known.
  function dns.tohostname(...)
    local found, err = hosts(text(1, "tohostname", ...))
    if not found then return nil, err end
    local name, why, interrupted = native.hostname(found[1])
    if name == nil then return told(why, interrupted) end
    if not name then return nil, "host not found" end
    return name, { name = name, ip = found, alias = {} }
  end

  --- The names of a host's addresses, and the name of a service.
  function dns.getnameinfo(host, service)
    if host == nil and service == nil then error("host and serv cannot be both nil", 2) end
    local names = { "" }
    if host ~= nil then
      local found, err, interrupted = native.addresses(text(1, "getnameinfo", host), false)
      if not found then return told(err, interrupted) end
      for i = 1, #found do
        local known, why
        known, why, interrupted = native.hostname(found[i])
        if interrupted then told(why, interrupted) end
        names[i] = known or found[i]
      end
    end
    if service == nil then return names end
    local name, err = native.service(text(2, "getnameinfo", host, service))
    if name == nil then return told(err) end
    if not name then return nil, "service not supported for socket type" end
    return names, name
  end
end
