//! The REPL, on a terminal that `terminal.py` makes.
#![cfg(unix)]

use super::{Tree, end};
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// What is typed, and what must then stand on the screen.
type Step<'a> = (&'a str, &'a str);

/// Plays the steps: the launcher's exit status, and all that stood on the screen.
fn play(home: &Path, args: &[&str], steps: &[Step<'_>]) -> (i32, String) {
    let mut child = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/launcher/terminal.py"))
        .arg(env!("CARGO_BIN_EXE_caspian-net"))
        .args(args)
        .current_dir(home)
        .env("TERM", "xterm")
        .env("HOME", home)
        .env_remove("XDG_STATE_HOME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for step in steps {
        writeln!(input, "{}", serde_json::to_string(step).unwrap()).unwrap();
    }
    drop(input);
    let (status, screen, err) = end(child);
    assert!(err.is_empty(), "{err}");
    (status, screen)
}

#[test]
fn says_what_is_asked() {
    let tree = Tree::new("repl", &[("mod.lua", b"return { n = 5 }")]);
    let steps: &[Step<'_>] = &[
        ("", "Tab completes, Ctrl-D ends."),
        ("", "Granted: --allow-net=127.0.0.1:9"),
        ("", "> "),
        // expressions
        ("1 + 1\r", "\n2\n> "),
        ("1, nil, 'x'\r", "\n1\tnil\tx\n> "),
        ("= 2, 3\r", "\n2\t3\n> "),
        ("x = 5\r", "\n> "),
        ("x\r", "\n5\n> "),
        ("require('mod').n\r", "\n5\n> "),
        ("#arg, arg[0]\r", "\n0\tcaspian-net\n> "),
        // several lines, and strings with lines
        ("for i = 1, 2 do\r", "do\n"),
        ("print('row', i)\r", "\n"),
        ("end\r", "row\t1\nrow\t2\n> "),
        ("s = [[\r", "[[\n"),
        ("two]]\r", "> "),
        ("#s\r", "\n3\n> "),
        // tables
        ("{}\r", "\n{}\n> "),
        (
            "{ 1, 'a\\n', true, k = { x = 1.5 }, ['a b'] = 2, ['end'] = 3 }\r",
            "{ 1, \"a\\n\", true, [\"a b\"] = 2, [\"end\"] = 3, k = { x = 1.5 } }\n> ",
        ),
        ("t = { 1 } t.own = t return t\r", "\n{ 1, own = { the same again } }\n> "),
        ("d = {} for i = 1, 20 do d = { d } end return d\r", "{ { { { { { { { { … } } } } } } } } }\n> "),
        ("b = {} for i = 1, 300 do b[i] = i end return b\r", "200, … 100 more\n}\n> "),
        ("setmetatable({}, { __tostring = function() return 'mine' end })\r", "\nmine\n> "),
        ("setmetatable({}, { __tostring = error })\r", "\ntable: 0x"),
        // hostile ones
        ("setmetatable({}, { __tostring = coroutine.yield })\r", "\ntable: 0x"),
        ("setmetatable({}, { __tostring = function() return {} end })\r", "\ntable: 0x"),
        (
            "setmetatable({}, { __name = {}, __pairs = error, __index = error, __len = error, __metatable = error })\r",
            "\n{}\n> ",
        ),
        ("{ [true] = 1, [false] = 2, [0/1] = 3, [{}] = {}, [print] = print }\r", " = {}\n}\n> "),
        ("error(setmetatable({}, { __tostring = error }))\r", "caspian-net: "),
        ("error(nil)\r", "caspian-net: "),
        ("coroutine.yield(1)\r", "caspian-net: "),
        ("bad = setmetatable({}, { __index = error }) return 'made'\r", "\nmade\n> "),
        ("bad.fie\t\r", "caspian-net: "),
        ("'alive'\r", "\nalive\n> "),
        ("string.rep('x', -1), ('\\0'):rep(3)\r", "\n\t\\x00\\x00\\x00\n> "),
        ("{ ('x'):rep(1001) }\r", "x\" … (1001 bytes)\n}\n> "),
        // what a terminal would obey, is shown
        ("'\\27[31m red \\194\\155 \\255'\r", "\\x1B[31m red \\xC2\\x9B \\xFF\n> "),
        ("'\\194\\155 ü'\r", "\\u{9B} ü\n> "),
        // the network
        ("net\r", "\nnetwork capability\n> "),
        ("net.grants()\r", "\n{ \"--allow-net=127.0.0.1:9\" }\n> "),
        ("{ n = net.null }, net.null\r", "\n{ n = null }\tnull\n> "),
        // errors
        ("error('first')\r", "caspian-net: stdin:1: first"),
        ("x = = 1\r", "unexpected symbol near '='"),
        ("net.tcp('127.0.0.1', 10)\r", "hint: run with --allow-net=127.0.0.1:10"),
        ("select(2, pcall(net.tcp, '127.0.0.1', 10))\r", "\nnetwork/port_not_allowed: "),
        ("io.open('x')\r", "hint: io.open is withheld from scripts; --allow-fs[=DIR] opens it"),
        ("os.exit(7)\r", ""),
    ];
    let (status, screen) = play(&tree.0, &["--allow-net=127.0.0.1:9"], steps);
    assert_eq!(status, 7, "{screen}");
}

#[test]
fn edits_completes_and_remembers() {
    let tree = Tree::new("terminal", &[]);
    let history = tree.0.join(".local/state/caspian-net/history");
    let steps: &[Step<'_>] = &[
        ("", "> "),
        // completion: one word, the common beginning, the list
        ("net.fet\t", "net.fetch"),
        ("\t", "fetch_all"),
        ("\x15", "> "),
        ("#net.http.cl\t.je\x7f\t\x01type(\x05)\r", ""),
        ("", "\n> "),
        ("string.for\t == string.format\r", "\ntrue\n> "),
        ("mine = { answer = 42 }\r", "\n> "),
        ("mine.an\t\r", "\n42\n> "),
        ("nothing.at\tall\r", "attempt to index a nil value"),
        // editing: to the beginning, and what stood there before
        ("2 + 1\x0140 + \r", "\n43\n> "),
        ("\x1b[A\r", "\n43\n> "),
        (" 'secret'\r", "\nsecret\n> "),
        // Ctrl-C leaves an unfinished text, and a loop
        ("for i = 1,\r", "\n"),
        ("\x03", "> "),
        ("7 * 6\r", "\n42\n> "),
        ("while true do end\r", "while true do end\n"),
        ("\x03", "interrupted"),
        ("'still here'\r", "\nstill here\n> "),
        ("\x04", ""),
    ];
    let (status, screen) = play(&tree.0, &["--allow-net=127.0.0.1:9"], steps);
    assert_eq!(status, 0, "{screen}");
    let text = std::fs::read_to_string(&history).unwrap();
    assert!(text.contains("40 + 2 + 1") && text.contains("7 * 6") && !text.contains("secret"), "{text}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&history).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "others read it");
    // The next one knows it.
    let steps: &[Step<'_>] = &[("", "> "), ("\x12still\r", "\nstill here\n> "), ("\x04", "")];
    let (status, screen) = play(&tree.0, &[], steps);
    assert_eq!(status, 0, "{screen}");
}
