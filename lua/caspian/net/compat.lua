--- The drop-in for programs that were written for LuaSocket and LuaSec: `install(net)` replaces `require("socket")` and the
-- other modules by ours, over the grants of `net`.
--
--   local net = require("caspian.net").launch{ "--allow-net=example.com" }
--   require("caspian.net.compat").install(net)
--   local http = require("socket.http")
--
-- COMPAT.md says, function by function, what is the same, what is safer and what is missing.
require("caspian.net")
local ready = require("caspian.net.compat.ready") ---@type caspian.net.Compat
return ready
