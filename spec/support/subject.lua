--- The one file that knows which implementation of %net is under test. Another engine replaces it and runs the rest
--- unchanged. What it must answer:
---
---   net            the broadest capability: any host, any port, listening anywhere, the Unix sockets below
---   unix(name)     the path of a Unix socket that `net` may connect to and bind; name is "a", "b" or "c"
---   prelude        Lua source that defines `launch` and `register` in a fresh interpreter
---   lua            the command that runs a Lua file with that interpreter: `LUA FILE`
---
--- A launch seals the state: so `net` is launched once, here, specs `narrow` it, and rows about launching run in
--- processes of their own (spec.support.child).

local subject = {}

local directory = os.getenv("CASPIAN_SERVERS")
assert(directory, "run the specs beside their servers: spec/support/servers LUA $(command -v busted)")
directory = directory:match("^(.*)/")

function subject.unix(name)
  return directory .. "/" .. name .. ".sock"
end

local flags = { "--allow-net", "--allow-listen" }
for _, name in ipairs{ "a", "b", "c", "http", "websocket" } do
  flags[#flags + 1] = "--allow-net=unix:" .. subject.unix(name)
  flags[#flags + 1] = "--allow-listen=unix:" .. subject.unix(name)
end

subject.lua = os.getenv("LUA") or "lua"
subject.prelude = [[
local caspian = require("caspian.net")
local launch, register = caspian.launch, caspian.register
]]
subject.net = require("caspian.net").launch(flags)

return subject
