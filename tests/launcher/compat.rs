//! `--compat`: a script's `require("socket")` is the drop-in, over the script's own grants and in its sandbox.

use super::{Row, Tree, check, signals};

const ECHO: &str = "local socket = require('socket') local s = assert(socket.bind('127.0.0.1', 0)) \
    local ip, port = s:getsockname() local c = assert(socket.connect(ip, port)) local a = s:accept() \
    a:send('hello\\r\\nrest') a:close() ";

#[test]
fn scripts_get_luasocket_over_their_grants() {
    let tree = Tree::new(
        "compat",
        &[("lib.lua", b"local socket = require('socket') return function(...) return socket.connect(...) end")],
    );
    let both = ["--compat", "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0", "-e"];
    let with = |code: &str| [&both[..], &[code]].concat().iter().map(|s| s.to_string()).collect::<Vec<_>>();
    let rows = [
        (format!("{ECHO} print(c:receive()) print(c:receive())"), 0, "hello\tnil\tnil\nnil\tclosed\trest\n", ""),
        (
            format!("{ECHO} print(tostring(c):match('^tcp{{client}}: 0x') ~= nil, c.class)"),
            0,
            "true\ttcp{client}\n",
            "",
        ),
        (format!("{ECHO} print(package.loaded['socket.core'] == socket)"), 0, "true\n", ""),
        (
            "print(require('socket').connect('127.0.0.2', 80))".into(),
            0,
            "nil\thost not allowed: connect to 127.0.0.2:80 is not allowed; --allow-net=127.0.0.2:80 would allow it\n",
            "",
        ),
        (
            "print(require('socket').tcp():setfd(0))".into(),
            0,
            "nil\tdescriptor 0 is not a socket of this program; --allow-native would allow it\n",
            "",
        ),
        ("print(pcall(require, 'caspian.net.compat.install'))".into(), 0, "", "not found"),
        ("print(require('socket').dns.gethostname())".into(), 0, "localhost\n", ""),
        // What the objects show leads nowhere.
        (
            "local s = require('socket').tcp() local seen, found = {}, 0 \
             local function walk(x) if seen[x] or x == _G or x == net then return end seen[x] = true \
               if x == _ENV or type(x) == 'thread' then found = found + 1 end \
               if type(x) == 'table' then for k, v in next, x do walk(k) walk(v) end end \
               local m = type(x) ~= 'string' and getmetatable(x) if m then walk(m) end end \
             walk(s) walk(getmetatable(s)) print(found)"
                .into(),
            0,
            "0\n",
            "",
        ),
        // A finalizer that a script calls by hand leaves nothing behind that could be used.
        (
            format!("{ECHO} getmetatable(c).__gc(c) getmetatable(c).__gc(c) print(pcall(c.send, c, 'x'))"),
            0,
            "false\tbad argument #1 to '?' (tcp{client} expected)\n",
            "",
        ),
    ];
    for (code, status, out, words) in &rows {
        let args = with(code);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match words.is_empty() {
            true => check(&tree.0, &[Row(&args, "", *status, out, &[])]),
            false => {
                let (got, stdout, err) = super::run(&tree.0, &args, "");
                assert!(got == *status && (stdout + &err).contains(words), "{code}: {err}");
            }
        }
    }
    check(
        &tree.0,
        &[Row(
            &["--compat", "-e", "print(require('socket').connect('127.0.0.1', 80))"],
            "",
            0,
            "nil\thost not allowed: connect to 127.0.0.1:80 is not allowed; --allow-net=127.0.0.1:80 would allow it\n",
            &[],
        )],
    );
}

#[test]
fn ctrl_c_ends_a_wait_of_the_drop_in() {
    let wait = format!("{ECHO} c:receive('*a') c:close() s:settimeout(nil) ready() s:accept()");
    let args = ["--compat", "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0"];
    let (status, _, err) = signals::interrupted(&args, true, &wait);
    assert_ne!(status, 0);
    assert!(err.contains("interrupted"), "{err}");
}
