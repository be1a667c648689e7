--- What rows about TLS see besides that of `spec.support.rows`: both ends of a connection in one process, which take turns
--- because neither waits. The code runs on the drop-in and on LuaSec.
---
---   pem(name)         the path of a certificate, `key(name)` of its key
---   context(cfg)      a client's context that believes the root and checks; fields of cfg win, `false` takes one away
---   serving(cfg)      a server's
---   shake(c, s)       the handshake of both; what each has answered last: ok, why, ok, why
---   tls(ccfg, scfg)   a client and a server that have shaken hands
---   moved(from, to, data)  sends all of it while the other end reads; what arrived

local servers = require("spec.support.servers")

return ("local directory = %q\n"):format(servers.dir) .. [[
local ssl = modules("ssl")
function pem(name) return directory .. "/" .. name .. ".pem" end
function key(name) return directory .. "/" .. name .. ".key" end
local function with(defaults, cfg)
  for name, value in pairs(cfg or {}) do
    if value == false then defaults[name] = nil else defaults[name] = value end
  end
  return assert(ssl.newcontext(defaults))
end
function context(cfg)
  return with({ mode = "client", protocol = "any", cafile = pem("ca"), verify = "peer" }, cfg)
end
function serving(cfg)
  local name = cfg and cfg.as or "server"
  local rest = {}
  for k, v in pairs(cfg or {}) do if k ~= "as" then rest[k] = v end end
  return with({ mode = "server", protocol = "any", cafile = pem("ca"), certificate = pem(name), key = key(name) }, rest)
end
function shake(c, s)
  local c_ok, c_why, s_ok, s_why
  local function waits(ok, why) return not ok and (why == "wantread" or why == "wantwrite") end
  for _ = 1, 50 do
    if not c_ok and (c_why == nil or waits(c_ok, c_why)) then c_ok, c_why = c:dohandshake() end
    if not s_ok and (s_why == nil or waits(s_ok, s_why)) then s_ok, s_why = s:dohandshake() end
    if not waits(c_ok, c_why) and not waits(s_ok, s_why) then break end
    socket.select({ c, s }, nil, 0.02)
  end
  c:settimeout(5) s:settimeout(5)
  return c_ok, c_why, s_ok, s_why
end
function ends(ccfg, scfg)
  local a, b = pair()
  local c = keep(assert(ssl.wrap(a, type(ccfg) == "userdata" and ccfg or context(ccfg))))
  local s = keep(assert(ssl.wrap(b, type(scfg) == "userdata" and scfg or serving(scfg))))
  c:settimeout(0) s:settimeout(0)
  return c, s
end
function tls(ccfg, scfg)
  local c, s = ends(ccfg, scfg)
  local c_ok, c_why, s_ok, s_why = shake(c, s)
  assert(c_ok and s_ok, tostring(c_why) .. " / " .. tostring(s_why))
  return c, s
end
function moved(from, to, data)
  from:settimeout(0) to:settimeout(0)
  local at, parts, got = 0, {}, 0
  while got < #data do
    if at < #data then
      local last, _, partial = from:send(data, at + 1)
      at = last or partial
    else
      from:send("")
    end
    local piece, _, partial = to:receive(#data - got)
    piece = piece or partial
    parts[#parts + 1], got = piece, got + #piece
  end
  return table.concat(parts)
end
]]
