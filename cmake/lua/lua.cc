// Lua and those of its libraries that a policy can have, compiled as C++ in one piece: its errors unwind
// as exceptions, and the compiler sees through its calls. `io`, `os`, `package`, `debug` and `coroutine`
// are not in the program at all.

#define LUA_CORE
#define LUA_LIB
#define ltable_c
#define lvm_c

#include "lprefix.h"

// Before macros of Lua's files that have names of the C++ library, such as `next`.
#include <math.h>
#include <stdlib.h>

#include "luaconf.h"

// What Lua's files share among themselves need not be seen from outside.
#undef LUAI_FUNC
#undef LUAI_DDEC
#undef LUAI_DDEF
#define LUAI_FUNC static
#define LUAI_DDEC(def)
#define LUAI_DDEF static

#include "lzio.c"
#include "lctype.c"
#include "lopcodes.c"
#include "lmem.c"
#include "lundump.c"
#include "ldump.c"
#include "lstate.c"
#include "lgc.c"
#include "llex.c"
#include "lcode.c"
#include "lparser.c"
#include "ldebug.c"
#include "lfunc.c"
#include "lobject.c"
#include "ltm.c"
#include "lstring.c"
#include "ltable.c"
#include "ldo.c"
#include "lvm.c"
#include "lapi.c"

#include "lauxlib.c"
#include "lbaselib.c"
#include "lmathlib.c"
#include "lstrlib.c"
#include "ltablib.c"
#include "lutf8lib.c"
