//! The command line: options, sources of the script, exit status, what is said on stderr.

use super::{Row, Tree, check, run};
use std::path::Path;

#[test]
fn runs_and_says_how_it_went() {
    let tree = Tree::new(
        "command",
        &[
            ("args.lua", b"print(arg[0], #arg, ...)"),
            ("shebang.lua", b"#!/usr/bin/env caspian-net\nprint('ran') error('line two')"),
            ("bom.lua", b"\xef\xbb\xbfprint('bom')"),
            ("syntax.lua", b"x = = 1"),
            ("binary.lua", b"\x1bLuaT\x00\x19\x93\r\n\x1a\n"),
            ("-odd.lua", b"print('odd')"),
            ("exit.lua", b"io.write('out') os.exit(tonumber(...) or (...) == 'true')"),
        ],
    );
    let (provider, size) = if cfg!(feature = "full") { ("aws-lc-rs", "full mail http2") } else { ("ring", "small") };
    let version = format!(
        "caspian-net {} (Lua 5.4)\nTLS provider: {provider} (rustls)\nFeatures: {size} embedded\n",
        env!("CARGO_PKG_VERSION"),
    );
    check(
        &tree.0,
        &[
            // sources
            Row(&["-e", "print(1 + 1)"], "", 0, "2\n", &[]),
            Row(&["-e", "print(arg[0], ...)", "a", "-b"], "", 0, "-e\ta\t-b\n", &[]),
            Row(&["-e", "print(...)", "--", "--help"], "", 0, "--help\n", &[]),
            Row(&["args.lua"], "", 0, "args.lua\t0\n", &[]),
            Row(&["args.lua", "a", "--allow-net", ""], "", 0, "args.lua\t3\ta\t--allow-net\t\n", &[]),
            Row(&["./args.lua", "x"], "", 0, "./args.lua\t1\tx\n", &[]),
            Row(&["-"], "print(arg[0], ...)", 0, "-\n", &[]),
            Row(&["-", "a"], "#!x\nprint(...)", 0, "a\n", &[]),
            Row(&["--", "-odd.lua"], "", 0, "odd\n", &[]),
            Row(&["bom.lua"], "", 0, "bom\n", &[]),
            Row(&["shebang.lua"], "", 1, "ran\n", &["caspian-net: shebang.lua:2: line two\nstack traceback:"]),
            Row(&["-e", "print(io.read('n', 'l', 'a'))"], "7x\nrest", 0, "7\tx\trest\n", &[]),
            // help
            Row(&["--version"], "", 0, &version, &[]),
            Row(&["-V"], "", 0, &version, &[]),
            Row(&["--help", "errors"], "", 0, include_str!("../../docs/errors.md"), &[]),
            Row(&["-h", "errors.md"], "", 0, include_str!("../../docs/errors.md"), &[]),
            Row(
                &["--help", "sokets"],
                "",
                2,
                "",
                &["no topic \"sokets\" (did you mean sockets? topics: getting-started "],
            ),
            Row(&["--help", "retry"], "", 2, "", &["(the word is in recipes http-client", "topics: getting-started "]),
            // exit status
            Row(&["exit.lua", "0"], "", 0, "out", &[]),
            Row(&["exit.lua", "7"], "", 7, "out", &[]),
            Row(&["exit.lua", "true"], "", 0, "out", &[]),
            Row(&["exit.lua", "false"], "", 1, "out", &[]),
            Row(&["-e", "os.exit(true, true)"], "", 0, "", &[]),
            Row(
                &["-e", "error('boom', 0)"],
                "",
                1,
                "",
                &["caspian-net: boom\nstack traceback:\n\t[C]: in function 'error'"],
            ),
            Row(&["-e", "error()"], "", 1, "", &["caspian-net: (error object is a nil value)"]),
            Row(&["-e", "error({})"], "", 1, "", &["caspian-net: (error object is a table value)"]),
            Row(
                &["-e", "error(setmetatable({}, {__tostring = function() return 'mine' end}))"],
                "",
                1,
                "",
                &["caspian-net: (command line):1: mine\n"],
            ),
            Row(
                &["-e", "error(setmetatable({}, {__tostring = error}))"],
                "",
                1,
                "",
                &["error object is a table value"],
            ),
            Row(&["-e", "local function f() return f() + 1 end f()"], "", 1, "", &["stack overflow"]),
            Row(&["-e", "coroutine.yield()"], "", 1, "", &["outside a coroutine"]),
            Row(&["syntax.lua"], "", 1, "", &["caspian-net: syntax.lua:1: unexpected symbol near '='"]),
            Row(&["-e", "x = "], "", 1, "", &["(command line):1: unexpected symbol near <eof>"]),
            Row(&["binary.lua"], "", 1, "", &["attempt to load a binary chunk"]),
            Row(&["-"], "\x1bLua", 1, "", &["attempt to load a binary chunk"]),
            // usage
            Row(&["--frobnicate", "args.lua"], "", 2, "", &["unknown option: --frobnicate"]),
            Row(&["-x"], "", 2, "", &["unknown option: -x"]),
            Row(&["-e"], "", 2, "", &["-e needs CODE"]),
            Row(&["none.lua"], "", 2, "", &["cannot read script none.lua: no such file or directory"]),
            Row(&["."], "", 2, "", &["cannot read script .: is a directory"]),
            Row(
                &["--allow-net", "none.example"],
                "",
                2,
                "",
                &["(a value of --allow-net is written with =, as --allow-net=VALUE)"],
            ),
            Row(&["--allow-net=a.example:80,443", "args.lua"], "", 2, "", &["joined by +, as in example.com:80+443"]),
            Row(&["--allow-net=", "args.lua"], "", 2, "", &["--allow-net="]),
            Row(&["--allow-net=a..b", "args.lua"], "", 2, "", &["a..b"]),
            Row(&["--allow-net=a.example:99999", "args.lua"], "", 2, "", &["99999"]),
            Row(&["--allow-listen=x:y", "args.lua"], "", 2, "", &["x:y"]),
            Row(&["--deny-net", "args.lua"], "", 2, "", &["--deny-net"]),
            Row(&["--net-log=", "args.lua"], "", 2, "", &["--net-log="]),
            Row(&["--net-log=none/x", "args.lua"], "", 2, "", &["--net-log=none/x: No such file"]),
            Row(
                &["--net-log=none/x", "--allow-net", "args.lua"],
                "",
                2,
                "",
                &["caspian-net: --net-log=none/x: No such file"],
            ),
            Row(&["--ca=", "args.lua"], "", 2, "", &["--ca="]),
            Row(&["--ca", "args.lua"], "", 2, "", &["--ca: the value is missing"]),
            Row(&["--ca=none/x", "args.lua"], "", 2, "", &["caspian-net: --ca=none/x: there is no such file"]),
            Row(&["--ca=args.lua", "--allow-net", "args.lua"], "", 2, "", &["--ca=args.lua: no certificate found"]),
            Row(&["--standard=1", "args.lua"], "", 2, "", &["--standard"]),
            Row(&["--allow-fs=", "args.lua"], "", 2, "", &["--allow-fs= has an empty value"]),
            Row(&["--allow-fs=none", "args.lua"], "", 2, "", &["--allow-fs=none: no such file"]),
            Row(&["--allow-fs=args.lua", "args.lua"], "", 2, "", &["--allow-fs=args.lua: not a directory"]),
            Row(&["--allow-env=", "args.lua"], "", 2, "", &["--allow-env= has an empty value"]),
            Row(&["--allow-env=A=1", "args.lua"], "", 2, "", &["--allow-env=A=1: a name must not contain ="]),
            Row(&["--allow-run=sh", "args.lua"], "", 2, "", &["--allow-run takes no value"]),
            // requires
            Row(&["--requires=127.0.0.1:80", "args.lua"], "", 2, "", &["add: --allow-net=127.0.0.1:80"]),
            Row(
                &["--requires=a.example:443,[::1]:80", "--allow-net=a.example", "args.lua"],
                "",
                2,
                "",
                &["add: --allow-net=[::1]:80\n"],
            ),
            Row(&["--requires=a.example:443", "--allow-net=a.example:443", "args.lua"], "", 0, "args.lua\t0\n", &[]),
            Row(&["--requires=a.example", "args.lua"], "", 2, "", &["add: --allow-net=a.example"]),
            Row(
                &["--requires=a.example", "--allow-net=a.example:443", "args.lua"],
                "",
                2,
                "",
                &["add: --allow-net=a.example"],
            ),
            Row(&["--requires=a.example", "--allow-net=a.example", "args.lua"], "", 0, "args.lua\t0\n", &[]),
            Row(&["--requires=*.a.example:80+443", "--standard", "args.lua"], "", 0, "args.lua\t0\n", &[]),
            Row(&["--requires=a example", "args.lua"], "", 2, "", &["requires: ", "a example"]),
            Row(
                &["--alow-net=a.example", "args.lua"],
                "",
                2,
                "",
                &["--alow-net=a.example", "did you mean --allow-net?"],
            ),
        ],
    );
}

#[test]
fn help_names_every_flag_with_an_example() {
    let tree = Tree::new("help", &[]);
    let (status, out, err) = run(&tree.0, &["--help"], "");
    assert_eq!((status, err.as_str()), (0, ""));
    for flag in [
        "--allow-net",
        "--allow-net=HOST[:PORTS]",
        "--allow-net=api.example.com:443",
        "--allow-listen",
        "--allow-listen=PORTS",
        "--allow-listen=HOST:PORTS",
        "--deny-net=TARGET",
        "--deny-net=private",
        "--standard",
        "--no-dns",
        "--net-log=FILE",
        "--net-log=net.jsonl",
        "--ca=FILE",
        "--allow-run",
        "--allow-native",
        "--allow-fs",
        "--allow-fs=DIR",
        "--allow-fs=./data",
        "--allow-env",
        "--allow-env=NAME",
        "--allow-all, -A",
        "--compat",
        "--requires=HOST[:PORTS]",
        "--requires=api.example.com:443",
        "-e CODE",
        "--help",
        "--version",
    ] {
        assert!(out.contains(flag), "{flag}");
    }
    assert!(out.lines().all(|line| line.chars().count() <= 100), "no long lines");
}

#[test]
fn the_network_is_what_was_granted() {
    let tree = Tree::new("network", &[]);
    let refused = "caspian-net: (command line):1: network/";
    check(
        &tree.0,
        &[
            Row(&["-e", "print(net, _ENV['%net'])"], "", 0, "nil\tnil\n", &[]),
            Row(
                &["--allow-net=127.0.0.1:9", "-e", "print(net == _ENV['%net'], net.allows('127.0.0.1', 9))"],
                "",
                0,
                "true\ttrue\n",
                &[],
            ),
            Row(
                &["--allow-net=127.0.0.1:9", "-e", "print(table.concat(net.grants(), ' '))"],
                "",
                0,
                "--allow-net=127.0.0.1:9\n",
                &[],
            ),
            Row(
                &["--allow-net=[::1]:9", "-e", "net.fetch('http://[::1]:10/')"],
                "",
                1,
                "",
                &["hint: run with --allow-net=[::1]:10\n"],
            ),
            Row(
                &["--allow-net", "-e", "net.narrow{'--allow-net=127.0.0.1:9'}.tcp('127.0.0.1', 10)"],
                "",
                1,
                "",
                &["narrowed, and lacks --allow-net=127.0.0.1:10\n"],
            ),
            Row(&["-e", "net.fetch('http://127.0.0.1/')"], "", 1, "", &["hint: no network was granted"]),
            Row(
                &["-e", "net.fetch('http://127.0.0.1/')", "x", "--allow-net=127.0.0.1"],
                "",
                1,
                "",
                &[
                    "hint: no network was granted",
                    "hint: --allow-net=127.0.0.1 follows the script, so it is the script's argument; flags of caspian-net come before",
                ],
            ),
            Row(
                &["--allow-net=a.example", "-e", "net.tcp('b.example', 80)", "x", "--allow-net=b.example"],
                "",
                1,
                "",
                &["hint: run with", "hint: --allow-net=b.example follows the script"],
            ),
            Row(&["-e", "os.execute('x')", "x", "--allow-run"], "", 1, "", &["hint: --allow-run follows the script"]),
            Row(
                &["-e", "os.getenv('HOME')"],
                "",
                1,
                "",
                &["hint: os.getenv is withheld from scripts; --allow-env[=NAME]"],
            ),
            Row(
                &["-e", "os.getenv('HOME')", "x", "-A"],
                "",
                1,
                "",
                &["hint: -A follows the script, so it is the script's argument"],
            ),
            Row(
                &["--allow-net=127.0.0.1:9", "-e", "net.tcp('127.0.0.1', 10)"],
                "",
                1,
                "",
                &[&format!("{refused}port_not_allowed"), "hint: run with --allow-net=127.0.0.1:10\n"],
            ),
            Row(
                &["--allow-net=127.0.0.1:9", "-e", "net.tcp('a.example', 80)"],
                "",
                1,
                "",
                &[&format!("{refused}host_not_allowed"), "hint: run with --allow-net=a.example:80\n"],
            ),
            Row(
                &["--standard", "-e", "net.tcp_listen('127.0.0.1', 0)"],
                "",
                1,
                "",
                &["hint: run with --allow-listen=127.0.0.1:0\n"],
            ),
            Row(
                &["--allow-net=[::1]:9", "-e", "net.tcp('::1', 10)"],
                "",
                1,
                "",
                &["hint: run with --allow-net=[::1]:10\n"],
            ),
            Row(
                &["-e", "os.execute('true')"],
                "",
                1,
                "",
                &["hint: os.execute is withheld from scripts; --allow-run opens it"],
            ),
            Row(
                &["-e", "io.open('x')"],
                "",
                1,
                "",
                &["hint: io.open is withheld from scripts; --allow-fs[=DIR] opens it"],
            ),
            Row(
                &["--allow-net=localhost", "-e", "net.ssl('localhost', 9, { ca_bundle = 'ca.pem' })"],
                "",
                1,
                "",
                &["hint: paths in options are read only with --allow-fs[=DIR]\n"],
            ),
            Row(
                &["-e", "require('socket.http')"],
                "",
                1,
                "",
                &["hint: LuaSocket's and LuaSec's modules are there with --compat\n"],
            ),
        ],
    );
}

/// Only a terminal has a REPL.
#[test]
fn no_script_and_no_terminal_is_standard_input() {
    let tree = Tree::new("no-script", &[("mod.lua", b"return { n = 5 }")]);
    check(
        &tree.0,
        &[
            Row(&[], "", 0, "", &[]),
            Row(&[], "local a = 1\nprint(a, arg[0], require('mod').n)\n", 0, "1\t-\t5\n", &[]),
            Row(&[], "#!x\nprint(...)", 0, "\n", &[]),
            Row(&[], "1 + 1\n", 1, "", &["caspian-net: stdin:1: unexpected symbol near '1'"]),
            Row(&[], "print(1) error('first')\nprint('no')\n", 1, "1\n", &["caspian-net: stdin:1: first"]),
            Row(&[], "f(\n", 1, "", &["stdin:2: unexpected symbol near <eof>"]),
            Row(&[], "os.exit(3)\nprint('no')\n", 3, "", &[]),
            Row(&["--allow-net=127.0.0.1:9"], "print(net.allows('127.0.0.1', 9))\n", 0, "true\n", &[]),
            Row(&[], "\x1bLua\n", 1, "", &["attempt to load a binary chunk"]),
        ],
    );
}

/// What a finalizer gets when the state closes is what it gets at any other time, and no panic of the binding's.
#[test]
fn errors_are_errors_while_the_state_closes() {
    let script = "local function again(n)
        setmetatable({}, { __gc = function()
            local ok, err = pcall(net.tcp, 'a.example', 80)
            print(n, ok, err.class, err.message == tostring(err):match(': (.*)'), err:is('host_not_allowed'))
            print(pcall(net.json.encode, { 1 }))
            again(n + 1)
        end })
    end
    again(1)";
    let (status, out, err) = run(Path::new("/"), &["--allow-net=127.0.0.1", "-e", script], "");
    let told = "1\tfalse\tpuck.uno/error/network/host_not_allowed\ttrue\ttrue\ntrue\t[1]\n";
    assert_eq!((status, out.as_str(), err.as_str()), (0, told, ""));
}
