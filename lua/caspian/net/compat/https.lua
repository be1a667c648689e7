--- `ssl.https` of the drop-in: requests over TLS, verified.
local concat = table.concat
local next, setfenv, type = next, setfenv, type
local make_url = require("caspian.net.compat.url")
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

return function(import)
  local url = make_url(import, true)
  local M = {
    _VERSION = "1.3.2",
    _COPYRIGHT = "caspian-net: the drop-in for LuaSec's https",
    PORT = 443,   -- of URLs that name none
    TIMEOUT = 60, -- seconds: of connecting and the handshake together, of the head, and of each wait for the body
  }

  --- The URL with its port and its scheme said: this module speaks TLS whatever the scheme.
  local function complete(text)
    local parsed = url.parse(text, { port = M.PORT })
    if not parsed then return text end
    parsed.scheme = "https"
    if parsed.port == "" then parsed.port = M.PORT end
    return url.build(parsed)
  end

  --- A `create` for `socket.http`, `socket.smtp` and others: connections over TLS with LuaSec's parameters.
  -- `verify` defaults to "peer", and the certificate must be for the host that is connected to.
  function M.tcp(params)
    return import("caspian.secure").factory(params or {})
  end

  --- `request(url [, body])` or `request{ … }` as `socket.http`'s, with LuaSec's parameters beside the others.
  function M.request(what, body)
    local simple = type(what) == "string"
    local reqt, http = {}, import("socket.http")
    if simple then
      reqt = http.genericform(what, body)
      reqt.method = body and "POST" or "GET"
    else
      -- The caller's table stays as it is.
      for name, value in next, what do reqt[name] = value end
    end
    if http.PROXY or reqt.proxy then
      return nil, "proxy not supported"
    elseif reqt.redirect then
      return nil, "redirect not supported"
    elseif reqt.create then
      return nil, "create function not permitted"
    end
    reqt.url = reqt.url and complete(reqt.url)
    if not reqt.url then reqt.scheme, reqt.port = "https", reqt.port or M.PORT end
    reqt.create = M.tcp(reqt)
    local done, code, headers, status = http.request(reqt)
    if done and simple then return concat(reqt.target), code, headers, status end
    return done, code, headers, status
  end

  return M
end
