//! What a script tries in order to get around its grants, and that it gets nowhere.

use super::{Row, Tree, check, run};

/// Each row is what is tried, as the body of a function that returns something true if it worked. The script's helper
/// functions are in [`HELPERS`].
const ESCAPES: &[(&str, &str)] = &[
    // programs, files, the environment
    ("os.execute", "return os.execute"),
    ("io.popen", "return io.popen"),
    ("io.open", "return io.open"),
    ("io.open on memory", "return io.open('/proc/self/mem', 'r+')"),
    ("io.tmpfile", "return io.tmpfile"),
    ("io.input opens files", "return io.input and io.input('/etc/passwd')"),
    ("io.output opens files", "return io.output and io.output('/tmp/x')"),
    ("io.lines opens files", "return io.lines('/etc/passwd')"),
    ("os.remove", "return os.remove"),
    ("os.rename", "return os.rename"),
    ("os.tmpname", "return os.tmpname"),
    ("os.getenv", "return os.getenv"),
    ("os.setlocale", "return os.setlocale"),
    ("a handle opens files", "return io.stdout.open or io.stdout.popen or io.stdin.lines('/etc/passwd')"),
    ("dofile of a file elsewhere", "dofile('/etc/passwd') return true"),
    ("loadfile of a file elsewhere", "return loadfile('/etc/passwd')"),
    ("loadfile quotes a file", "local _, e = loadfile('secret.txt') return e:find('hunter2')"),
    ("loadfile of a directory above", "return loadfile('../outside.lua')"),
    ("loadfile through a symlink", "return loadfile('link.lua')"),
    ("require of a directory above", "package.path = '../?.lua' return require('outside')"),
    ("require through a symlink", "return require('link')"),
    ("require of an absolute path", "package.path = '?' return require('/etc/passwd')"),
    ("searchpath finds files elsewhere", "return package.searchpath('passwd', '/etc/?')"),
    ("searchpath reads no patterns", "return package.searchpath('%1', '/etc/passwd%')"),
    ("NUL ends a path", "return loadfile('/etc/passwd\\0.lua')"),
    // C modules and the host's own modules
    ("package.loadlib", "return package.loadlib"),
    ("package.cpath", "return package.cpath"),
    ("C searchers", "return package.searchers[3] or package.searchers[4]"),
    ("require of a C module", "package.cpath = '/usr/lib/x86_64-linux-gnu/lua/5.4/?.so' return require('socket.core')"),
    ("the core by name", "return require('caspian_net')"),
    ("the front by name", "return require('caspian.net')"),
    ("the sandbox by name", "return require('caspian.net.sandbox')"),
    ("the launcher by name", "return require('caspian.net.launcher')"),
    ("the core in package.loaded", "return package.loaded.caspian_net or package.loaded['caspian.net']"),
    ("the core in package.preload", "return next(package.preload)"),
    ("a second instance", "package.loaded['caspian.net'] = nil return require('caspian.net').launch{'--allow-net'}"),
    ("ffi", "return require('ffi')"),
    ("jit", "return jit or package.preload.jit"),
    // debug
    ("debug functions", "for k in pairs(debug) do if k ~= 'traceback' then return k end end"),
    ("require debug", "return require('debug').getinfo or require('debug').getregistry"),
    ("debug in package.loaded", "return package.loaded.debug.getinfo"),
    ("debug in package.loaded._G", "return package.loaded._G.debug.sethook"),
    ("debug through the string metatable", "return (''):gsub('', '').debug"),
    ("getfenv, setfenv", "return getfenv or setfenv or module or newproxy"),
    // bytecode
    ("string.dump", "return string.dump"),
    ("dump as a method", "return ('').dump"),
    ("load of bytecode", "return load('\\27Lua')"),
    ("load of bytecode, mode b", "return load('\\27Lua', 'x', 'b')"),
    ("load of bytecode, mode bt", "return load('\\27Lua', 'x', 'bt')"),
    ("load of bytecode in pieces", "local p = {'\\27', 'Lua'} return load(function() return table.remove(p, 1) end)"),
    ("loadfile of bytecode", "return loadfile('binary.lua')"),
    ("require of bytecode", "return require('binary')"),
    (
        "bytecode of every kind",
        "for i = 1, 1000 do
           local bytes = {}
           for j = 1, 40 do bytes[j] = string.char((i * j * 7919 + i) % 256) end
           local text = '\\27Lua' .. table.concat(bytes)
           if load(text) or load(text, 'x', 'b') or load(function() local t = text text = nil return t end) then return true end
         end",
    ),
    ("mode b compiles text", "return load('return 1', 'x', 'b')"),
    // environments
    ("load leads to the host", "return load('return os.execute or io.open or package.loadlib')()"),
    ("load with the caller's env only", "return load('return print', 'x', 't', {})()"),
    ("load with env nil", "return load('return _ENV', 'x', 't', nil)()"),
    ("a reader that is a table", "return load(setmetatable({}, {__call = function() return '' end}))"),
    ("a name that is no name", "return load('return 1', setmetatable({}, {__tostring = function() return os end}))"),
    ("the metatable of _G", "return walk(getmetatable(_G))"),
    ("everything that is reachable", "return walk(_G) or walk(package) or walk(getmetatable(_G)) or walk(getmetatable(''))"),
    ("everything in a coroutine", "return coroutine.wrap(function() return walk(_G) end)()"),
    ("an error handler's view", "local _, e = xpcall(error, function(e) return walk(_G) end) return e"),
    ("the errors of the front", "local _, e = pcall(net.tcp, 'a.example', 80) return walk(e) or walk(getmetatable(e))"),
    ("a finaliser's view", "local seen setmetatable({}, {__gc = function() seen = walk(_G) end}) collectgarbage() return seen"),
    ("collectgarbage of another kind", "return collectgarbage('generational') or collectgarbage('stop')"),
    // shared metatables and libraries
    ("the string metatable", "return getmetatable('')"),
    ("the metatable of handles", "return getmetatable(io.stdout)"),
    ("the methods of handles", "return io.stdout.__index or io.stdout.__gc"),
    ("changing strings for the host", "string.format = function() return 'evil' end return ('%d'):format(1) == 'evil'"),
    (
        "changing the libraries under the front",
        "for _, lib in pairs{string, table, math, coroutine, _G} do
           for k in pairs(lib) do if type(lib[k]) == 'function' and k ~= 'print' and k ~= 'pcall' then lib[k] = nil end end
         end
         return net.allows('a.example', 80)",
    ),
    (
        "changing what the front calls",
        "type = function() return 'string' end pairs = nil error = function() end setmetatable = function(t) return t end
         return net.allows('a.example', 80) or net.tcp('a.example', 80)",
    ),
    // the capability
    ("the metatable of net", "return getmetatable(net)"),
    ("changing net", "local f = net.allows net.allows = function() return true end return net.allows ~= f"),
    ("putting something on net", "rawset(net, 'allows', function() return true end) return net.allows('a.example', 80)"),
    (
        "putting something on a client, for whom it is shared with",
        "local c = net.http.client.new{} rawset(c, 'get', function() return true end) return c:get('http://a.example/')",
    ),
    ("putting something on a jail", "return rawset(net.http.client.jail('a.example'), 'fetch', function() return true end)"),
    ("putting something on an error's class", "local _, e = pcall(net.tcp, 'a.example', 80) e.is = nil return rawget(e, 'is')"),
    ("setting net's metatable", "return setmetatable(net, {})"),
    ("launching again", "return net.launch or net.register"),
    ("a wider narrow", "return net.narrow{'--allow-net'}.allows('a.example', 80)"),
    ("certificate paths are no file access", "return net.ssl('127.0.0.1', 9, {ca_bundle = '/etc/passwd', timeout = 1})"),
];

const HELPERS: &str = "
local FORBIDDEN = {
  execute = true, popen = true, getenv = true, open = true, tmpfile = true, remove_file = true, rename = true,
  tmpname = true, setlocale = true, loadlib = true, cpath = true, getinfo = true, sethook = true, getregistry = true,
  setupvalue = true, getupvalue = true, setuservalue = true, dump = true, launch = true, register = true,
  caspian_net = true, ['caspian.net'] = true, getfenv = true, setfenv = true,
}
-- Anything that must not be there, in any table that can be reached from `root`.
function walk(root)
  local seen, queue = {}, {root}
  while #queue > 0 do
    local t = table.remove(queue)
    if type(t) == 'table' and not seen[t] then
      seen[t] = true
      if t ~= FORBIDDEN then
        for k, v in next, t do
          if FORBIDDEN[k] then return k end
          queue[#queue + 1] = k
          queue[#queue + 1] = v
        end
        queue[#queue + 1] = getmetatable(t)
      end
    end
  end
end
";

#[test]
fn nothing_gets_out() {
    let tree = Tree::new(
        "escapes",
        &[
            ("outside.lua", b"return 'outside'"),
            ("dir/secret.txt", b"hunter2 is the password"),
            ("dir/binary.lua", b"\x1bLuaT\x00\x19\x93\r\n\x1a\n"),
        ],
    );
    #[cfg(unix)]
    std::os::unix::fs::symlink("../outside.lua", tree.0.join("dir/link.lua")).unwrap();
    let mut wrong = Vec::new();
    for (what, code) in ESCAPES {
        let script = format!(
            "{HELPERS}\nlocal print, pcall, tostring = print, pcall, tostring
            local ok, got = pcall(function()\n{code}\nend)
            if ok and got then print('ESCAPED', tostring(got)) else print('held') end"
        );
        let answer = run(&tree.0.join("dir"), &["--allow-net=127.0.0.1:9", "-e", &script], "");
        if answer != (0, "held\n".into(), String::new()) {
            wrong.push(format!("{what}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Dumps of real functions, broken in many ways, as the script itself: by name, on standard input, and of a module.
#[test]
fn a_script_of_bytecode_does_not_start() {
    let lua = mlua::Lua::new();
    let dump = |code: &str| lua.load(code).into_function().unwrap().dump(false);
    let whole =
        [dump("return 1"), dump("local t = {} for i = 1, 9 do t[i] = function() return t, i, 1.5, 'x' end end")];
    let tree = Tree::new("bytecode", &[("ok.lua", b"print(7)")]);
    check(&tree.0, &[Row(&["ok.lua"], "", 0, "7\n", &[])]);
    let mut seed = 1_u64;
    let mut below = |bound: usize| {
        seed = seed * 48_271 % 2_147_483_647;
        seed as usize % bound
    };
    for round in 0..40 {
        let mut bytes = whole[round % 2].clone();
        match round / 2 % 5 {
            0 => {}
            1 => bytes[40 + below(20)] ^= 0x55,
            2 => bytes.truncate(1 + below(bytes.len() - 1)),
            3 => bytes[2 + below(30)] = 0xff,
            _ => bytes.splice(..0, *b"\xef\xbb\xbf").for_each(drop),
        }
        std::fs::write(tree.0.join("broken.lua"), &bytes).unwrap();
        let ways: [&[&str]; 3] = [&["broken.lua"], &["/dev/stdin"], &["-e", "require('broken')"]];
        for way in ways {
            let mut command = super::launcher();
            let stdin = std::fs::File::open(tree.0.join("broken.lua")).unwrap();
            let child = command.current_dir(&tree.0).args(way).stdin(stdin).spawn().unwrap();
            let (status, out, err) = super::end(child);
            assert_eq!((status, &*out), (1, ""), "{round} {way:?}: {err}");
            assert!(err.contains("attempt to load a binary chunk"), "{round} {way:?}: {err}");
        }
    }
}

#[test]
fn only_the_script_has_the_network() {
    let tree = Tree::new(
        "modules",
        &[
            (
                "main.lua",
                b"assert(net and _G.net == net and _ENV['%net'] == net)
                keep = net -- the script's globals are its own
                local seen = require('pkg.seen')
                print(seen.net, seen.dynamic, seen.later(), seen.required)
                -- parameters are the way
                print(seen.allows(net))
                assert(made == 'by the module') -- modules' globals are everyone's
                net = nil; net = keep; print(seen.later())
                assert(load('return net')() == keep)",
            ),
            (
                "pkg/seen.lua",
                b"made = 'by the module'
                for _, lib in pairs{string, table, coroutine, math} do
                  for k, v in pairs(lib) do if type(v) == 'function' then lib[k] = function() error('hijacked') end end end
                end
                pcall, print, select = nil, nil, nil
                local M = { net = net or _G.net or _ENV['%net'] or package.loaded._G.net or rawget(_G, 'net') }
                M.dynamic = load('return net or keep or _ENV[\"%net\"] or _G.net')()
                M.required = require('pkg.other')
                function M.later() return net or keep or _G.net or _G.keep end
                function M.allows(n) return n.allows('127.0.0.1', 9) end
                return M",
            ),
            ("pkg/other.lua", b"return (...) .. ' ' .. tostring(net)"),
            ("pkg/init.lua", b"return 'init'"),
            ("libs.lua", b"return string == require('string') and debug == package.loaded.debug and _G == package.loaded._G"),
            ("broken.lua", b"x = = 1"),
            ("raises.lua", b"error('from module')"),
            ("nothing.lua", b""),
            ("extends.lua", b"function string.shout(s) return s:upper() .. '!' end"),
        ],
    );
    let dir = tree.0.as_path();
    let from = std::path::Path::new("/");
    let script = dir.join("main.lua");
    let main = script.to_str().unwrap();
    let other = "pkg.other nil";
    let expected = format!("nil\tnil\tnil\t{other}\ntrue\nnil\n");
    // Beside the script, wherever it is started.
    check(from, &[Row(&["--allow-net=127.0.0.1:9", main], "", 0, &expected, &[])]);
    check(
        dir,
        &[
            Row(&["--allow-net=127.0.0.1:9", "main.lua"], "", 0, &expected, &[]),
            Row(&["-e", "print(require('pkg'))"], "", 0, &format!("init\t{}/pkg/init.lua\n", dir.display()), &[]),
            Row(&["-e", "print((require('libs')))"], "", 0, "true\n", &[]),
            Row(&["-e", "print(require('nothing') == true, package.loaded.nothing)"], "", 0, "true\ttrue\n", &[]),
            Row(
                &["-e", "local _, e = pcall(require, 'broken') print((e:gsub('\\n.*/', '\\n')))"],
                "",
                0,
                &format!(
                    "error loading module 'broken' from file '{0}/broken.lua':\nbroken.lua:1: unexpected symbol near '='\n",
                    dir.display()
                ),
                &[],
            ),
            Row(&["-e", "require('raises')"], "", 1, "", &["raises.lua:1: from module"]),
            Row(
                &["-e", "require('none')"],
                "",
                1,
                "",
                &["module 'none' not found:", "no field package.preload['none']", "none.lua'"],
            ),
            Row(
                &["-e", "require('caspian.net')"],
                "",
                1,
                "",
                &["the network was launched already: it is the script's `net`"],
            ),
            Row(
                &["-e", "package.preload.x = function(n) return n .. '!' end print((require('x')))"],
                "",
                0,
                "x!\n",
                &[],
            ),
            Row(&["-e", "require('extends') print(('a'):shout(), string.shout('b'))"], "", 0, "A!\tB!\n", &[]),
            Row(&["-e", "function string.twice(s) return s .. s end print(('a'):twice())"], "", 0, "aa\n", &[]),
            Row(&["-e", "print(dofile('pkg/init.lua'), loadfile('libs.lua') ~= nil)"], "", 0, "init\ttrue\n", &[]),
            Row(
                &["-e", "arg[1] = 'x' package.preload.m = function() return arg[1] end print((require('m')))"],
                "",
                0,
                "x\n",
                &[],
            ),
            Row(
                &["-e", "setmetatable(_G, {__index = function(_, k) return k end}) print(undefined)"],
                "",
                0,
                "undefined\n",
                &[],
            ),
        ],
    );
}

#[test]
fn each_flag_opens_what_it_says() {
    let tree = Tree::new("flags", &[]);
    check(
        &tree.0,
        &[
            Row(&["--allow-run", "-e", "print(os.execute('exit 3'))"], "", 0, "nil\texit\t3\n", &[]),
            Row(&["--allow-run", "-e", "print(io.popen('echo hi'):read())"], "", 0, "hi\n", &[]),
            Row(
                &["--allow-run", "-e", "print(os.getenv('NO_SUCH_VARIABLE'), io.open, debug.getinfo)"],
                "",
                0,
                "nil\tnil\tnil\n",
                &[],
            ),
            Row(
                &["--allow-native", "-e", "print(debug.getinfo(1).what, type(package.loadlib), os.execute)"],
                "",
                0,
                "main\tfunction\tnil\n",
                &[],
            ),
            Row(
                &["--allow-native", "-e", "print(load('\\27Lua'))"],
                "",
                0,
                "nil\tattempt to load a binary chunk (mode is 't')\n",
                &[],
            ),
            Row(
                &["--allow-fs", "-e", "print(io.open('/none'))"],
                "",
                0,
                "nil\t/none: No such file or directory\t2\n",
                &[],
            ),
            Row(
                &["--allow-fs", "-e", "print(type(os.tmpname), os.execute, debug.getinfo)"],
                "",
                0,
                "function\tnil\tnil\n",
                &[],
            ),
        ],
    );
}

/// Each row: flags, code, what it prints with HOSTS_A=1, HOSTS_B=2 and HOSTS_BYTES in the environment.
#[test]
fn a_script_sees_the_variables_that_are_named() {
    let tree = Tree::new("variables", &[("m.lua", b"return os.getenv and os.getenv('HOSTS_A')")]);
    let both = "print(os.getenv('HOSTS_A'), os.getenv('HOSTS_B'), os.getenv('HOSTS_NONE'))";
    for (args, code, stdout) in [
        (&[][..], "print(os.getenv)", "nil\n"),
        (&["--allow-fs", "--allow-native"], "print(os.getenv)", "nil\n"),
        (&["--allow-env=HOSTS_A"], both, "1\tnil\tnil\n"),
        (&["--allow-env=HOSTS_A,HOSTS_B"], both, "1\t2\tnil\n"),
        (&["--allow-env=HOSTS_B", "--allow-env=HOSTS_A"], both, "1\t2\tnil\n"),
        (&["--allow-env=HOSTS_A", "--allow-env"], both, "1\t2\tnil\n"),
        (&["--allow-env"], both, "1\t2\tnil\n"),
        (&["--allow-run"], both, "1\t2\tnil\n"),
        (&["--allow-run", "--allow-env=HOSTS_A"], both, "1\t2\tnil\n"),
        (&["-A"], both, "1\t2\tnil\n"),
        // the C library would see the name before the NUL
        (
            &["--allow-env=HOSTS_A"],
            "print(os.getenv('HOSTS_A\\0'), os.getenv('hosts_a'), os.getenv(''))",
            "nil\tnil\tnil\n",
        ),
        (&["--allow-env=1"], "print(os.getenv(1), os.getenv(2))", "nil\tnil\n"),
        (&["--allow-env=HOSTS_A"], "print(require('m'))", "1\tm.lua\n"),
        (&["--allow-env=HOSTS_BYTES"], "print((os.getenv('HOSTS_BYTES'):byte(1, -1)))", "255\n"),
        (
            &["--allow-env=HOSTS_A"],
            "print(pcall(os.getenv)) print(pcall(os.getenv, {}))",
            "false\tbad argument #1 to 'getenv' (string expected, got no value)\n\
             false\tbad argument #1 to 'getenv' (string expected, got table)\n",
        ),
        // what a script puts in the way stays in its own
        (
            &["--allow-env=HOSTS_A"],
            "string.format, ipairs, type, tostring = nil print(os.getenv('HOSTS_B'), os.getenv('HOSTS_A'))",
            "nil\t1\n",
        ),
        (
            &["-A"],
            "print(type(os.execute), type(io.open), type(debug.getinfo), net.allows('a.example', 1), net.grants()[1])",
            "function\tfunction\tfunction\ttrue\t--allow-listen\n",
        ),
        (
            &["-A", "--deny-net=a.example"],
            "print(net.allows('a.example', 1), net.allows('b.example', 1))",
            "false\ttrue\n",
        ),
    ] {
        let mut command = super::launcher();
        command.current_dir(&tree.0).args(args).args(["-e", code]).env("HOSTS_A", "1").env("HOSTS_B", "2");
        #[cfg(unix)]
        command.env("HOSTS_BYTES", <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\xfe"));
        let (status, out, err) = super::end(command.spawn().unwrap());
        let out = out.replace(&format!("{}/", tree.0.display()), "");
        assert_eq!((status, &*out, &*err), (0, stdout, ""), "{args:?} {code}");
    }
}

/// A C module finds this binary's Lua.
#[test]
#[cfg(target_os = "linux")]
fn allow_native_loads_c_modules() {
    let source = "typedef struct lua_State lua_State;
        extern void lua_pushstring(lua_State *, const char *);
        extern void lua_createtable(lua_State *, int, int);
        extern void lua_setfield(lua_State *, int, const char *);
        int luaopen_native_greeting(lua_State *L) {
          lua_createtable(L, 0, 0); lua_pushstring(L, \"hello from C\"); lua_setfield(L, -2, \"text\"); return 1;
        }";
    let tree = Tree::new("native", &[("native/greeting.c", source.as_bytes())]);
    let built = std::process::Command::new("cc")
        .current_dir(tree.0.join("native"))
        .args(["-shared", "-fPIC", "-o", "greeting.so", "greeting.c"])
        .status();
    assert!(built.unwrap().success());
    let code = "package.cpath = './?.so' print(require('native.greeting').text)";
    check(
        &tree.0,
        &[
            Row(&["--allow-native", "-e", code], "", 0, "hello from C\n", &[]),
            Row(&["-e", code], "", 1, "", &["module 'native.greeting' not found"]),
        ],
    );
}
