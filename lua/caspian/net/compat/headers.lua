--- `socket.headers` of the drop-in: the canonical spelling of header field names.
local gmatch, lower = string.gmatch, string.lower
local setfenv = setfenv
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

-- RFC 9110, RFC 5322 and the reports of mail (RFC 3464), as their registries write them.
local NAMES = [[
  Accept Accept-Charset Accept-Encoding Accept-Language Accept-Ranges Action Age Allow Alternate-Recipient Arrival-Date
  Authorization Bcc Cc Cache-Control Comments Connection Content-Description Content-Disposition Content-Encoding
  Content-ID Content-Language Content-Length Content-Location Content-MD5 Content-Range Content-Transfer-Encoding
  Content-Type Cookie DSN-Gateway Date Diagnostic-Code ETag Expect Expires Final-Log-ID Final-Recipient From Host If-Match
  If-Modified-Since If-None-Match If-Range If-Unmodified-Since In-Reply-To Keywords Last-Attempt-Date Last-Modified
  Location MIME-Version Max-Forwards Message-ID Original-Envelope-ID Original-Recipient Pragma Proxy-Authenticate
  Proxy-Authorization Range Received Received-From-MTA References Referer Remote-MTA Reply-To Reporting-MTA Resent-Bcc
  Resent-Cc Resent-Date Resent-From Resent-Message-ID Resent-Reply-To Resent-Sender Resent-To Retry-After Return-Path
  SMTP-Remote-Recipient Sender Server Status Subject TE To Trailer Transfer-Encoding Upgrade User-Agent Vary Via
  WWW-Authenticate Warning Will-Retry-Until X-Mailer
]]

return function()
  local canonic = {}
  for name in gmatch(NAMES, "%S+") do canonic[lower(name)] = name end
  return { canonic = canonic }
end
