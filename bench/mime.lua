-- bench/mime.lua SIDE FUNCTION PIECE COUNT: so many calls of one function of mime.core for pieces of one length, by `ours` or by `luasocket`
-- (Debian's lua-socket), as filters call it. Prints MiB/s of input by CPU. bench/mime starts it.
local side, name, piece, count = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
if side == "ours" then require("caspian.net.compat").install(require("caspian.net").launch{}) end
local mime = require("mime")

local text = {}
for at = 1, piece do text[at] = string.char((at * 7 + at // 11) % 256) end
text = table.concat(text)
if name == "unb64" then
  text = ((mime.b64(text)) or ""):sub(1, piece)
elseif name == "unqp" then
  text = ((mime.qp(text)) or ""):sub(1, piece)
end

local call, state = mime[name], ({ dot = 2, eol = 0, wrp = 76, qpwrp = 76 })[name]
local bytes, rest = 0, ""
local out
local start = os.clock()
if state then
  for _ = 1, count do
    out, state = call(state, text)
    bytes = bytes + #out
  end
else
  for _ = 1, count do
    out, rest = call(rest, text)
    bytes = bytes + #out
  end
end
assert(bytes > 0)
print(("%.0f"):format(piece * count / (os.clock() - start) / 1048576))
