-- What luacheck holds the Lua files to. The strictest Lua that all of them share is 5.1.
max_line_length = 160
self = false

-- The front: locals at the top and no globals after, so that a script's environment cannot reach into it.
files["lua"] = { std = "min", read_globals = { "setfenv" } }
files["lua/caspian/net/meta.lua"] = { ignore = { "212", "241" } } -- declarations for editors
files["spec"] = { std = "max+busted" }
files["spec/support/types"] = { globals = { "net", "pcall" }, ignore = { "113", "143", "212", "241", "631" } } -- what the step `types` checks
files["bench"] = { std = "max" }
files["torture"] = { std = "max", globals = { "net" } }
files["examples"] = { std = "max", globals = { "net" } }
files["**/*.rockspec"] = { std = "rockspec" }
