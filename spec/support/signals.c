/* A module that handles signals as hosts of Lua do: the C handler sets a hook, and the hook calls the program's function.
   Unlike luaposix it lets what that raises through. Declares what it needs of Lua, which has no headers everywhere. */
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

typedef struct lua_State lua_State;
typedef struct lua_Debug lua_Debug;
typedef void (*lua_Hook)(lua_State *, lua_Debug *);
typedef ptrdiff_t lua_KContext;

extern void lua_pushcclosure(lua_State *, int (*)(lua_State *), int);
extern void lua_pushlightuserdata(lua_State *, void *);
extern void lua_pushvalue(lua_State *, int);
extern double luaL_checknumber(lua_State *, int);
#if OLD /* 5.1 and LuaJIT */
#define REGISTRY (-10000)
extern void lua_call(lua_State *, int, int);
#else
#define REGISTRY (-1001000)
extern void lua_callk(lua_State *, int, int, lua_KContext, void *);
#define lua_call(L, n, r) lua_callk(L, n, r, 0, NULL)
#endif
extern int lua_sethook(lua_State *, lua_Hook, int, int);
extern int lua_rawget(lua_State *, int);
extern void lua_rawset(lua_State *, int);

static lua_State *main_state;
static char key;
static int mask;

static void hook(lua_State *L, lua_Debug *ar)
{
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  lua_pushlightuserdata(L, &key);
  lua_rawget(L, REGISTRY);
  lua_call(L, 0, 0);
}

static void on_signal(int number)
{
  (void)number;
  lua_sethook(main_state, hook, mask, 1);
}

/* handle(f, mask): SIGTERM calls it. The mask of the hook is one of 8 (count), with 1 (call), 2 (return), 4 (line). */
static int handle(lua_State *L)
{
  struct sigaction action = { 0 };
  mask = (int)luaL_checknumber(L, 2);
  lua_pushlightuserdata(L, &key);
  lua_pushvalue(L, 1);
  lua_rawset(L, REGISTRY);
  action.sa_handler = on_signal;
  sigaction(SIGTERM, &action, NULL);
  return 0;
}

int luaopen_signals(lua_State *L)
{
  main_state = L;
  lua_pushcclosure(L, handle, 0);
  return 1;
}
