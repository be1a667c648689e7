--- `mime` of the drop-in: filters for the transfer encodings of MIME, for long lines and for line ends.
--
-- The functions that do the work are `mime.core`'s, which is native; both are one table, as in LuaSocket.
local choose = require("caspian.net.compat.callables").choose
local setfenv = setfenv
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

return function(import)
  local M = import("mime.core")
  local cycle = import("ltn12").filter.cycle
  M._VERSION = "MIME 1.0.3"

  local function text(length)
    length = length or 76
    return cycle(M.wrp, length, length)
  end
  M.encodet = {
    base64 = function() return cycle(M.b64, "") end,
    ["quoted-printable"] = function(mode) return cycle(M.qp, "", mode == "binary" and "=0D=0A" or "\r\n") end,
  }
  M.decodet = {
    base64 = function() return cycle(M.unb64, "") end,
    ["quoted-printable"] = function() return cycle(M.unqp, "") end,
  }
  M.wrapt = {
    text = text, base64 = text, default = text,
    ["quoted-printable"] = function() return cycle(M.qpwrp, 76, 76) end,
  }
  M.encode, M.decode, M.wrap = choose(M.encodet), choose(M.decodet), choose(M.wrapt)

  --- Makes every line end `marker` (CRLF).
  function M.normalize(marker) return cycle(M.eol, 0, marker) end
  --- Doubles the dots that begin lines, as SMTP wants it.
  function M.stuff() return cycle(M.dot, 2) end

  return M
end
