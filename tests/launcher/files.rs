//! `--allow-fs=DIR`: beneath DIR, wherever a path seems to lead.
#![cfg(unix)]

use super::{Row, Tree, check};
use std::{fs, os::unix::fs::symlink};

#[test]
fn files_stay_beneath_their_directory() {
    let tree = Tree::new(
        "files",
        &[
            ("data/a.txt", b"first\nsecond\n"),
            ("data/sub/b.lua", b"return 'b'"),
            ("data2/c.txt", b"no"),
            ("outside.txt", b"no"),
        ],
    );
    let at = |path: &str| tree.0.join(path);
    symlink("../outside.txt", at("data/link")).unwrap();
    symlink("../made.txt", at("data/dangling")).unwrap();
    symlink("..", at("data/up")).unwrap();
    symlink("a.txt", at("data/inner")).unwrap();
    symlink("data", at("door")).unwrap();
    symlink("/proc/self/mem", at("data/mem")).unwrap();
    let data = ["--allow-fs=data", "-e"];
    let refused = "not allowed";
    let mut wrong = Vec::new();
    for (code, expected) in [
        // inside
        ("return io.open('data/a.txt'):read()", "first"),
        ("return io.open('./data/../data/sub/../a.txt'):read()", "first"),
        ("return io.open('door/a.txt'):read()", "first"),
        ("return io.open('data/inner'):read()", "first"),
        ("local n = 0 for _ in io.lines('data/a.txt') do n = n + 1 end return n", "2"),
        ("io.input('data/a.txt') return io.read()", "first"),
        ("local f <close> = io.open('data/new', 'w') f:write('x') return io.type(f)", "file"),
        ("return io.open('data/new'):read()", "x"),
        ("return os.rename('data/new', 'data/newer')", "true"),
        ("return os.remove('data/newer')", "true"),
        ("return (select(2, io.open('data/none')))", "data/none: No such file or directory"),
        ("return dofile('data/sub/b.lua')", "b"),
        ("return (require('sub.b'))", "b"),
        ("return io.type(io.tmpfile())", "file"),
        // outside
        ("return io.open('outside.txt')", refused),
        ("return io.open('data/../outside.txt')", refused),
        ("return io.open('data/up/outside.txt')", refused),
        ("return io.open('data/link')", refused),
        ("return io.open('data/dangling', 'w')", "data/dangling: no such file or directory"),
        ("return io.open('data/up/made.txt', 'w')", refused),
        ("return io.open('data2/c.txt')", refused),
        ("return io.open('/etc/passwd')", refused),
        ("return io.open('data/mem', 'r+')", refused),
        ("return io.open('/dev/null')", refused),
        ("return io.open('data/a.txt\\0')", "not a path"),
        ("return io.open('')", ": no such file or directory"),
        ("return io.open(5)", "not a path"),
        ("return io.lines('data/link')", refused),
        ("return io.input('outside.txt')", refused),
        ("return io.output('outside.txt')", refused),
        ("return os.remove('outside.txt')", refused),
        ("return os.remove('data')", refused),
        ("return os.rename('data/a.txt', 'gone')", refused),
        ("return os.rename('outside.txt', 'data/in')", refused),
        ("return os.rename('data/a.txt', 'data/up/gone')", refused),
        ("return tostring(os.tmpname)", "nil"),
        ("return dofile('data2/c.txt')", refused),
        ("return io.popen or os.execute or os.getenv or 'none'", "none"),
    ] {
        let code = format!("local ok, a, b = pcall(function() {code} end) print(a or b)");
        let (status, out, err) = super::run(&tree.0, &[data[0], data[1], &code], "");
        let fits = if expected == refused { out.contains(refused) } else { out.trim_end().starts_with(expected) };
        if status != 0 || !fits || !err.is_empty() {
            wrong.push(format!("{code}: [{status}] {out}{err}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!at("made.txt").exists() && !at("gone").exists());
    assert_eq!(fs::read(at("outside.txt")).unwrap(), b"no");

    check(
        &tree.0,
        &[
            Row(
                &["--allow-fs=data", "--allow-fs=data2", "-e", "print(io.open('data2/c.txt'):read())"],
                "",
                0,
                "no\n",
                &[],
            ),
            Row(&["--allow-fs", "-e", "print(io.open('outside.txt'):read())"], "", 0, "no\n", &[]),
            Row(
                &["--allow-fs", "-e", "print(io.open('/proc/self/mem', 'r+'))"],
                "",
                0,
                "nil\t/proc/self/mem: not allowed in the sandbox\t13\n",
                &[],
            ),
            Row(
                &["--allow-fs=/", "-e", "print(io.open('/proc/self/maps'))"],
                "",
                0,
                "nil\t/proc/self/maps: not allowed in the sandbox\t13\n",
                &[],
            ),
            // What a certificate's path leads to outside is not told: not even whether there is something.
            Row(
                &[
                    "--allow-net=localhost",
                    "--allow-fs=data",
                    "-e",
                    "for _, p in ipairs{ 'outside.txt', 'nothing.txt', '/etc/passwd', '/etc/no/thing' } do local _, why = pcall(net.http.client.new, { ca_bundle = p }) print((why:gsub('^.*%(', ''):gsub(p, 'P', 1))) end print((select(2, pcall(net.http.client.new, { ca_bundle = 'data/none.pem' })):match('No such file')))",
                ],
                "",
                0,
                "ca_bundle: P is outside the directories that --allow-fs names)\nca_bundle: P is outside the directories that --allow-fs names)\nca_bundle: P is outside the directories that --allow-fs names)\nca_bundle: P is outside the directories that --allow-fs names)\nNo such file\n",
                &[],
            ),
            Row(
                &["--allow-fs", "-e", "print(io.open('/dev/fd/0'))"],
                "",
                0,
                "nil\t/dev/fd/0: no such file or directory\t2\n",
                &[],
            ),
        ],
    );
}
