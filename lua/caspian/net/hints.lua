--- Hints for unknown options: the option that was probably meant. Compiled on first use.
local slips = require("caspian.net.args").slips
local next, setfenv, type = next, setfenv, type
local format, gmatch, lower = string.format, string.gmatch, string.lower
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

--- What other programs call our options; of several names here the first that there is where it is asked.
local MEANT = {
  json = "body_json", data = "body", content = "body", payload = "body", form = "body_form", files = "body_multipart",
  multipart = "body_multipart", params = "query", cafile = "ca_bundle client_ca", ca = "ca_bundle client_ca",
  ca_file = "ca_bundle client_ca", ca_cert = "ca_bundle client_ca", cacert = "ca_bundle client_ca", cert = "client_cert cert",
  certificate = "client_cert cert", key = "client_key key", retries = "retry attempts", max_retries = "retry attempts",
  concurrency = "parallel", max_concurrency = "parallel", redirects = "follow_redirects", redirect = "follow_redirects",
  allow_redirects = "follow_redirects", insecure = "verify", verify_ssl = "verify", server_name = "sni", servername = "sni",
  username = "user auth", user = "auth", password = "auth", token = "auth", cookie_jar = "cookies", jar = "cookies",
  permessagedeflate = "compress", permessage_deflate = "compress", compression = "compress",
  text = "body", html = "body_html",
  baseurl = "base_url", base_uri = "base_url", prefix_url = "base_url",
  proxies = "proxy", user_agent = "headers", max_size = "max_body_bytes", sink = "save", output = "save",
  source = "body", follow = "follow_redirects", follow_location = "follow_redirects", basic_auth = "auth", bearer = "auth",
  tries = "retry attempts", limit = "max_body_bytes max_bytes", ssl_verify = "verify", verify_peer = "verify",
}

--- What a message adds for a key that is none of `allowed`: `; did you mean "timeout"?` where one of them is near.
local function hint(key, allowed)
  if type(key) ~= "string" or #key > 40 then return "" end
  for meant in gmatch(MEANT[lower(key)] or "", "%S+") do
    if allowed[meant] then return format("; did you mean %q?", meant) end
  end
  local nearest, least = nil, #key < 5 and 1 or 2
  for name in next, allowed do
    local count = slips(lower(key), name)
    -- Of several the first by name: the order of `next` is no order.
    if count < least or count == least and not (nearest and nearest < name) then nearest, least = name, count end
  end
  return nearest and format("; did you mean %q?", nearest) or ""
end

return hint
