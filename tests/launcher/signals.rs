//! Ctrl-C and broken pipes.
#![cfg(unix)]

use super::{DEADLINE, end, launcher, signal};
use std::{
    io::{BufRead, BufReader, Read},
    process::Command,
    time::Instant,
};

/// Runs `code` and sends SIGINT when it calls `ready()`, and again when it prints the line `again`.
/// With `blocks` not before it sleeps in the call that comes next.
pub(super) fn interrupted(args: &[&str], blocks: bool, code: &str) -> (i32, String, String) {
    let code = format!("local function ready() print('ready') io.stdout:flush() end {code}");
    let mut child = launcher().args(args).args(["-e", &code]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "{code}");
    if blocks {
        asleep(child.id());
    }
    signal(child.id(), "INT");
    let mut rest = String::new();
    // A second Ctrl-C when the script says that it has seen the first.
    while out.read_line(&mut rest).unwrap() > 0 {
        if rest.ends_with("again\n") {
            signal(child.id(), "INT");
        }
    }
    let (status, _, err) = end(child);
    (status, rest, err)
}

/// Returns when the process waits for something (where the system tells).
fn asleep(id: u32) {
    let state = || std::fs::read_to_string(format!("/proc/{id}/stat")).ok();
    while state().is_some_and(|stat| !stat.contains(") S ")) {
        std::thread::yield_now();
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "measures how long an interruption takes")]
fn ctrl_c_is_an_error_in_the_script() {
    let listen = "local l = net.tcp_listen('127.0.0.1', 0) ready() ";
    let accept = format!("{listen} l:accept()");
    let recv = format!("{listen} net.tcp('127.0.0.1', l.local_port):recv(1)");
    let caught = format!("{listen} local ok, e = pcall(l.accept, l) print(e.class) os.exit(5)");
    let fetch = format!("{listen} net.fetch('http://127.0.0.1:' .. l.local_port .. '/')");
    let open = ["--standard", "--allow-listen"];
    for (args, blocks, code, status, stdout, words) in [
        (&[][..], false, "ready() while true do end", 1, "", "caspian-net: interrupted\n"),
        (&[], false, "ready() local function f() return f() end f()", 1, "", "interrupted"),
        (&[], false, "print(pcall(function() ready() while true do end end))", 0, "false\tinterrupted\n", ""),
        (&[], true, "ready() io.read()", 1, "", "interrupted"),
        (
            &[],
            false,
            "pcall(function() ready() while true do end end) print('again') io.stdout:flush() while true do end",
            130,
            "again\n",
            "",
        ),
        // A coroutine's loop is not interrupted, but what follows it is.
        (
            &[],
            false,
            "coroutine.wrap(function()
               ready() local t = os.time() while os.time() < t + 2 do end
             end)() print('end')",
            1,
            "",
            "interrupted",
        ),
        // A finaliser that does not end, at exit.
        (&[], false, "setmetatable({}, {__gc = function() ready() while true do end end})", 130, "", ""),
        (&open, true, &accept, 1, "", "interrupted"),
        (&open, true, &fetch, 1, "", "interrupted"),
        (&open, true, &recv, 1, "", "interrupted"),
        (&open, true, &caught, 5, "puck.uno/error/network/socket\n", ""),
    ] {
        let start = Instant::now();
        let (got, out, err) = interrupted(args, blocks, code);
        assert_eq!((got, out.as_str()), (status, stdout), "{code}\n{err}");
        assert!(err.contains(words) && (words.is_empty() == err.is_empty()), "{code}\n{err}");
        assert!(start.elapsed() < DEADLINE / 4, "{code}");
    }
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let program = env!("CARGO_BIN_EXE_caspian-net");
    let line =
        format!("'{program}' -e 'while true do print(1) end' | head -n 1; '{program}' --help | head -n 1 >/dev/null");
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"1\n"[..], &b""[..]));
}

#[test]
fn a_closed_socket_is_an_error_and_no_signal() {
    let code = "local l = net.tcp_listen('127.0.0.1', 0)
        local a = net.tcp('127.0.0.1', l.local_port)
        l:accept():close()
        local ok, e
        for _ = 1, 1000 do
          ok, e = pcall(a.send_all, a, ('x'):rep(65536))
          if not ok then break end
        end
        print(ok, e.class)";
    let mut child = launcher().args(["--standard", "--allow-listen", "-e", code]).spawn().unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let (status, _, err) = end(child);
    assert_eq!((status, out.as_str(), err.as_str()), (0, "false\tpuck.uno/error/network/connection_reset\n", ""));
}
