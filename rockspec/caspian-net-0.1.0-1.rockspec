rockspec_format = "3.0"
package = "caspian-net"
version = "0.1.0-1"
source = {
  -- `luarocks make rockspec/caspian-net-0.1.0-1.rockspec` in a checkout builds what lies there.
  url = "file://.",
}
description = {
  summary = "Network access for Lua: sockets, TLS and HTTP behind launcher grants, safe by construction",
  detailed = [[
Sockets, TLS and HTTP for Lua 5.1 to 5.5 and LuaJIT, written in Rust, without OpenSSL. A script reaches only the
hosts and ports that whoever launched it granted.]],
  license = "MIT",
  maintainer = "caspian-net developers",
}
dependencies = {
  "lua >= 5.1, < 5.6",
}
build = {
  -- Needs cargo. The Lua that luarocks works for is asked which of the six builds it wants.
  type = "command",
  build_command = '"$(LUA)" rockspec/build.lua build',
  install_command = '"$(LUA)" rockspec/build.lua install "$(LUADIR)" "$(LIBDIR)"',
}
