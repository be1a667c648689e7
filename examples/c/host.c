/* A C program that runs a Lua script with a network of what it grants. Two ways to have the module (docs/embedding-c.md):
 *
 *   shared  cc -DSHARED -Wl,-E host.c …      the program shows its Lua, and `require` finds caspian_net.so on package.cpath
 *   static  cc host.c libcaspian_net.a …     the module is in the program; package.preload says so
 *
 * Usage: host                    static: nothing else is needed
 *        host LUADIR CPATH       shared: the directory with caspian/net.lua, and package.cpath
 * Prints what the script answers and the class of the error that it meets; 0 if both are what they should be. For every Lua from 5.1 on.
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

/* Says where the module and its front are. 0, or an error and its words on the stack. */
#ifdef SHARED
static void set(lua_State *L, const char *field, const char *text) {
  lua_getglobal(L, "package");
  lua_pushstring(L, text);
  lua_setfield(L, -2, field);
  lua_pop(L, 1);
}

static int prepare(lua_State *L, char **argv) {
  char path[4096];
  snprintf(path, sizeof path, "%s/?.lua", argv[1]);
  set(L, "path", path);
  set(L, "cpath", argv[2]);
  return 0;
}
#else
static int prepare(lua_State *L, char **argv) {
  (void)argv;
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, luaopen_caspian_net);
  lua_setfield(L, -2, "caspian_net");
  lua_pop(L, 2);
  /* The module puts its front into package.preload when it is opened. */
  lua_getglobal(L, "require");
  lua_pushliteral(L, "caspian_net");
  return lua_pcall(L, 1, 0, 0);
}
#endif

/* Pushes the network of these flags. 0, or an error and its words on the stack. */
static int launch(lua_State *L, const char *const *flags) {
  int i, status;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "caspian.net");
  if ((status = lua_pcall(L, 1, 1, 0)) != 0) return status;
  lua_getfield(L, -1, "launch");
  lua_remove(L, -2);
  lua_newtable(L);
  for (i = 0; flags[i]; i++) {
    lua_pushstring(L, flags[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return lua_pcall(L, 1, 1, 0);
}

/* What was raised: one line, and of an error of the network its class and host. Called protected: a script may raise a table of its own,
 * and its metamethods would run here. */
static int describe(lua_State *L) {
  lua_settop(L, 1);
  if (!luaL_callmeta(L, 1, "__tostring")) lua_pushvalue(L, 1);
  if (!lua_istable(L, 1)) return 1;
  lua_getfield(L, 1, "class");
  lua_getfield(L, 1, "host");
  return 3;
}

/* The same of what is on top of the stack: leaves three values in its place. */
static void described(lua_State *L) {
  lua_pushcfunction(L, describe);
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 3, 0) != 0) {
    lua_pushnil(L);
    lua_pushnil(L);
  }
}

int main(int argc, char **argv) {
  const char *flags[] = {"--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0", NULL};
  int failed = 1, needed = 1;
  lua_State *L = luaL_newstate();
#ifdef SHARED
  needed = 3;
#endif
  if (!L || argc < needed) return 2;
  luaL_openlibs(L);
  if (prepare(L, argv) != 0 || launch(L, flags) != 0 || luaL_loadstring(L, SCRIPT) != 0) {
    described(L);
    fprintf(stderr, "host: %s\n", lua_tostring(L, -3));
  } else {
    lua_insert(L, -2); /* the script gets the network as its argument, and nobody else has it */
    if (lua_pcall(L, 1, 0, 0) == 0) {
      fprintf(stderr, "host: the script went where it must not\n");
    } else {
      described(L);
      const char *class = lua_tostring(L, -2), *host = lua_tostring(L, -1);
      if (class && host) printf("%s %s\n", class, host);
      else fprintf(stderr, "host: %s\n", lua_tostring(L, -3));
      failed = !class || strcmp(class, "puck.uno/error/network/host_not_allowed") != 0;
    }
  }
  lua_close(L);
  return failed;
}
