--- LUA_INIT of every Lua that runs specs, and of its children.
---
--- LuaJIT's betas (Debian 12 has one of March 2022) compile `pairs` loops wrongly: a loop around another one ends early, or reads a key from
--- a slot that has none (LuaJIT's issue 827; mended in April 2022). Lua code of any program meets that, ours and busted's; so these
--- interpret.
if jit and jit.version:find("beta", 1, true) then jit.off() end
