/* A C program that runs a Lua script with a network of what it grants. Two ways to have the module (docs/embedding-c.md):
 *
 *   shared  cc -DSHARED -Wl,-E host.c …      the program shows its Lua, and `require` finds caspian_net.so on package.cpath
 *   static  cc host.c libcaspian_net.a …     the module is in the program; package.preload says so
 *
 * Usage: host LUADIR [CPATH]: the directory with caspian/net.lua, and for the shared way package.cpath. Prints what the script answers and
 * the class of the error that it meets; 0 if both are what they should be. Lua 5.2 or later (5.1 has no luaL_getsubtable, luaL_tolstring).
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

#ifndef SHARED
int luaopen_caspian_net(lua_State *L);
#endif

static const char SCRIPT[] =
    "local net = ...\n"
    "local listener = net.tcp_listen('127.0.0.1', 0)\n"
    "local client = net.tcp('127.0.0.1', listener.local_port)\n"
    "local server = listener:accept()\n"
    "client:send_all('hello\\n')\n"
    "print((server:recv_line():gsub('\\n', '')))\n"
    "net.tcp('example.com', 80)\n"; /* not granted */

static void set(lua_State *L, const char *field, const char *text) {
  lua_getglobal(L, "package");
  lua_pushstring(L, text);
  lua_setfield(L, -2, field);
  lua_pop(L, 1);
}

/* Pushes the network of these flags. LUA_OK, or an error and its words on the stack. */
static int launch(lua_State *L, const char *const *flags) {
  int i, status;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "caspian.net");
  if ((status = lua_pcall(L, 1, 1, 0)) != LUA_OK) return status;
  lua_getfield(L, -1, "launch");
  lua_remove(L, -2);
  lua_newtable(L);
  for (i = 0; flags[i]; i++) {
    lua_pushstring(L, flags[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return lua_pcall(L, 1, 1, 0);
}

/* Says what is on top of the stack: an error of the network is an object with fields, every other one a string. */
static void complain(lua_State *L) {
  fprintf(stderr, "host: %s\n", luaL_tolstring(L, -1, NULL));
  lua_pop(L, 1);
}

int main(int argc, char **argv) {
  const char *flags[] = {"--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0", NULL};
  char path[4096];
  int failed = 1;
  lua_State *L = luaL_newstate();
  if (!L || argc < 2 || snprintf(path, sizeof path, "%s/?.lua", argv[1]) >= (int)sizeof path) return 2;
  luaL_openlibs(L);
  set(L, "path", path);
#ifdef SHARED
  if (argc > 2) set(L, "cpath", argv[2]);
#else
  luaL_getsubtable(L, LUA_REGISTRYINDEX, "_PRELOAD");
  lua_pushcfunction(L, luaopen_caspian_net);
  lua_setfield(L, -2, "caspian_net");
  lua_pop(L, 1);
#endif
  if (launch(L, flags) != LUA_OK || luaL_loadstring(L, SCRIPT) != LUA_OK) {
    complain(L);
  } else {
    lua_insert(L, -2); /* the script gets the network as its argument, and nobody else has it */
    if (lua_pcall(L, 1, 0, 0) == LUA_OK) {
      fprintf(stderr, "host: the script went where it must not\n");
    } else if (lua_istable(L, -1)) {
      lua_getfield(L, -1, "class");
      lua_getfield(L, -2, "host");
      printf("%s %s\n", luaL_checkstring(L, -2), luaL_checkstring(L, -1));
      failed = strcmp(lua_tostring(L, -2), "puck.uno/error/network/host_not_allowed") != 0;
    } else {
      complain(L);
    }
  }
  lua_close(L);
  return failed;
}
