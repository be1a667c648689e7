//! `--allow-fs=DIR`: beneath DIR, wherever a path seems to lead, and whoever renames what meanwhile.
#![cfg(unix)]

use super::{Row, Tree, check};
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

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
    symlink(at("data/a.txt"), at("data/absolute")).unwrap();
    symlink("inner", at("data/chain")).unwrap();
    symlink("../data/sub/..", at("data/around")).unwrap();
    symlink("sub/../made", at("data/fresh")).unwrap();
    symlink("round", at("data/round")).unwrap();
    let data = ["--allow-fs=data", "-e"];
    let refused = "not allowed";
    let mut wrong = Vec::new();
    for (code, expected) in [
        // inside
        ("return io.open('data/a.txt'):read()", "first"),
        ("return io.open('./data/../data/sub/../a.txt'):read()", "first"),
        ("return io.open('data/none/../../data/a.txt'):read()", "first"),
        ("return io.open('data/inner'):read()", "first"),
        ("return io.open('data/absolute'):read()", "first"),
        ("return io.open('data/chain'):read()", "first"),
        ("return io.open('data/around/a.txt'):read()", "first"),
        ("local f <close> = io.open('data/fresh', 'w') return f:write('x') and io.open('data/made'):close()", "true"),
        ("return os.remove('data/fresh') and io.open('data/made'):close()", "true"),
        ("local n for a, b in io.lines('data/a.txt', 1, 'n') do n = (n or '') .. a break end return n", "f"),
        (
            "local f = io.open('data/log', 'w') f:write('1') f:close() f = io.open('data/log', 'a') f:write('2') f:close() return io.open('data/log'):read()",
            "12",
        ),
        ("local f = io.open('data/log', 'r+') f:write('3') f:seek('set') return f:read()", "32"),
        ("local f = io.open('data/log', 'w+b') f:close() return io.open('data/log'):seek('end')", "0"),
        ("local f = io.open('data/log') f:close() return tostring(f)", "file (closed)"),
        ("io.output('data/log') io.write('out') io.close() return io.open('data/log'):read()", "out"),
        ("return io.open('data/log', 'q')", "bad argument #2 to 'open' (invalid mode)"),
        ("return io.open('data/log', 'rw')", "bad argument #2 to 'open' (invalid mode)"),
        ("return os.remove('data/log')", "true"),
        ("return (select(2, io.open('data/a.txt/x')))", "data/a.txt/x: Not a directory"),
        ("return (select(2, io.open('data/round')))", "data/round: Too many levels of symbolic links"),
        ("return (select(2, os.remove('data/sub')))", "data/sub: Directory not empty"),
        ("return (select(2, os.rename('data/none', 'data/x')))", "data/none: No such file or directory"),
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
        ("return io.open('data/dangling', 'w')", refused),
        // A name outside that leads inside: whether there is one is told to nobody.
        ("return io.open('door/a.txt')", refused),
        ("return io.open('data/round/../../outside.txt')", refused),
        ("return io.open('data/sub/../../outside.txt')", refused),
        ("return io.open('data/up/made.txt', 'w')", refused),
        ("return io.open('data2/c.txt')", refused),
        ("return io.open('/etc/passwd')", refused),
        ("return io.open('data/mem', 'r+')", refused),
        ("return io.open('/dev/null')", refused),
        ("return io.open('data/a.txt\\0')", "not a path"),
        ("return io.open('')", ": No such file or directory"),
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
            Row(&["--allow-fs", "-e", "print(io.open('data/up/outside.txt'):read())"], "", 0, "no\n", &[]),
            // As the flag spells it, which is what the script's author has before him.
            Row(
                &["--allow-fs=door", "-e", "print(io.open('door/a.txt'):read(), io.open('data/a.txt'):read())"],
                "",
                0,
                "first\tfirst\n",
                &[],
            ),
            // From one directory into another.
            Row(
                &[
                    "--allow-fs=data",
                    "--allow-fs=data2",
                    "-e",
                    "print(io.open('data/up/data2/c.txt'):read(), os.rename('data2/c.txt', 'data/c.txt'), os.rename('data/c.txt', 'data2/c.txt'))",
                ],
                "",
                0,
                "no\ttrue\ttrue\n",
                &[],
            ),
            Row(
                &["--allow-fs", "-e", "print(io.open('/proc/self/mem', 'r+'))"],
                "",
                0,
                "nil\t/proc/self/mem: not allowed (never /proc and /sys)\t13\n",
                &[],
            ),
            Row(
                &["--allow-fs=/", "-e", "print(io.open('/proc/self/maps'))"],
                "",
                0,
                "nil\t/proc/self/maps: not allowed (never /proc and /sys)\t13\n",
                &[],
            ),
            // What a certificate's path leads to outside is not told: not even whether there is something.
            Row(
                &[
                    "--allow-net=localhost",
                    "--allow-fs=data",
                    "-e",
                    "for _, p in ipairs{ 'outside.txt', 'nothing.txt', '/etc/passwd', '/etc/no/thing' } do local _, why = pcall(net.http.client.new, { ca_bundle = p }) print((why:gsub('^.- %(', ''):gsub(p, 'P', 1))) end print((select(2, pcall(net.http.client.new, { ca_bundle = 'data/none.pem' })):match('No such file')))",
                ],
                "",
                0,
                "ca_bundle: P: not allowed (--allow-fs=DIR names other directories))\nca_bundle: P: not allowed (--allow-fs=DIR names other directories))\nca_bundle: P: not allowed (--allow-fs=DIR names other directories))\nca_bundle: P: not allowed (--allow-fs=DIR names other directories))\nNo such file\n",
                &[],
            ),
            // The option `save`: beneath the directory alone, and nowhere without one. Nobody is asked before.
            Row(
                &[
                    "--allow-net=localhost",
                    "--allow-fs=data",
                    "-e",
                    "for _, p in ipairs{ 'outside.txt', 'nothing.txt', 'data/../x', '/etc/passwd' } do local _, why = pcall(net.fetch, 'http://localhost:1/', { save = p }) print((why:gsub('^.- %(', ''):gsub(p, 'P', 1))) end print((select(2, pcall(net.fetch, 'http://localhost:1/', { save = 'data/new', timeout = 5 })).class))",
                ],
                "",
                0,
                "save: P: not allowed (--allow-fs=DIR names other directories))\nsave: P: not allowed (--allow-fs=DIR names other directories))\nsave: P: not allowed (--allow-fs=DIR names other directories))\nsave: P: not allowed (--allow-fs=DIR names other directories))\npuck.uno/error/network/connection_refused\n",
                &[],
            ),
            Row(
                &[
                    "--allow-net=localhost",
                    "-e",
                    "print((select(2, pcall(net.fetch, 'http://localhost:1/', { save = 'x' })):match('files are not permitted here')))",
                ],
                "",
                0,
                "files are not permitted here\n",
                &[],
            ),
            Row(
                &["--allow-fs", "-e", "print(io.open('/dev/fd/0'))"],
                "",
                0,
                "nil\t/dev/fd/0: not allowed (never /proc and /sys)\t13\n",
                &[],
            ),
        ],
    );
}

/// Whatever is outside, there or not, a file, a directory, a link, closed to us: one answer and one number.
#[test]
fn names_outside_cannot_be_probed() {
    let tree = Tree::new(
        "probes",
        &[
            ("data/a.txt", b"a"),
            ("home/.bashrc", b"secret"),
            ("home/dir/x.lua", b"secret"),
            ("home/key.txt", b"secret"),
        ],
    );
    let at = |path: &str| tree.0.join(path);
    symlink("../data", at("home/in")).unwrap();
    symlink("none", at("home/dangling")).unwrap();
    symlink("loop", at("home/loop")).unwrap();
    for (link, target) in
        [("file", "../home/.bashrc"), ("dir", "../home/dir"), ("none", "../home/none"), ("loop", "../home/loop")]
    {
        symlink(target, at(&format!("data/{link}"))).unwrap();
    }
    let code = r#"
        local long = ("x"):rep(5000)
        local names = { "home/.bashrc", "home/.bashrc/x", "home/.bashrcx", "home/.bashrcx/x", "home/dir", "home/dir/", "home/dir/x.lua",
          "home/none.lua", "home/dir/../.bashrc", "home/none/../.bashrc", "home/in/a.txt", "home/no/a.txt", "home/dangling", "home/loop",
          "home/loop/x.lua", "home/" .. long, "/root/.ssh/id_rsa", "/root/no/x", "..", "/", "/etc/passwd/x" }
        if inside then
          for _, name in ipairs{ "file", "file/x", "dir", "dir/x.lua", "dir/none", "none", "none/x", "loop", "loop/x" } do
            names[#names + 1] = "data/" .. name
          end
        end
        local function same(what, ask)
          local first
          for _, name in ipairs(names) do
            local got = {}
            for i, value in ipairs{ ask(name) } do got[i] = tostring(value) end
            -- The path is told as it was given.
            got = table.concat(got, "|")
            local from, to = got:find(name, 1, true)
            got = from and got:sub(1, from - 1) .. "P" .. got:sub(to + 1) or got
            first = first or got
            if got ~= first then print(what, name:sub(1, 40), got:sub(1, 200), first) end
          end
          print(what, first)
        end
        local function why(f, ...) local ok, why = pcall(f, ...) return why end
        same("loadfile", function(p) return select(2, loadfile(p)) end)
        same("dofile", function(p) return why(dofile, p) end)
        same("searchpath", function(p) return select(2, package.searchpath("m", p)) end)
        if inside then
          same("open", function(p) return select(2, io.open(p)) end)
          same("append", function(p) return select(2, io.open(p, "a")) end)
          same("lines", function(p) return why(io.lines, p) end)
          for i, name in ipairs(names) do names[i] = name .. "/y" end
          same("rename to", function(p) return select(2, os.rename("data/a.txt", p)) end)
          same("remove", function(p) return select(2, os.remove(p)) end)
        end
    "#;
    let outside = "P: not allowed (--allow-fs=DIR names other directories)";
    let module = "P: not allowed (outside the script's directory; --allow-fs=DIR opens another)";
    let expected = format!("loadfile\t{module}\ndofile\t{module}\nsearchpath\t\n\t{module}\n");
    fs::create_dir(at("lib")).unwrap();
    fs::write(at("lib/script.lua"), format!("inside = false\n{code}")).unwrap();
    fs::write(at("lib/inside.lua"), format!("inside = true\n{code}")).unwrap();
    check(
        &tree.0,
        &[
            Row(&["lib/script.lua"], "", 0, &expected, &[]),
            Row(
                &["--allow-fs=data", "lib/inside.lua"],
                "",
                0,
                &format!(
                    "{expected}open\t{outside}|13\nappend\t{outside}|13\nlines\t{outside}\nrename to\t{outside}|13\nremove\t{outside}|13\n"
                ),
                &[],
            ),
        ],
    );
    assert!(!at("home/none").exists() && at("data/a.txt").exists());
}

/// In the script's directory nothing but modules can be found out, either.
#[test]
fn beside_the_script_are_modules_only() {
    let tree = Tree::new("beside", &[("m.lua", b"return 7"), ("key.txt", b"secret"), ("sub/n.lua", b"return 8")]);
    let at = |path: &str| tree.0.join(path);
    symlink("key.txt", at("trap.lua")).unwrap();
    symlink("none.txt", at("gone.lua")).unwrap();
    symlink("m.lua", at("link.lua")).unwrap();
    let none = "No such file or directory";
    let other = "not allowed (not a .lua file; --allow-fs=DIR opens others)";
    let mut rows = Vec::new();
    for (path, expected) in [
        ("m.lua", "7"),
        ("link.lua", "7"),
        ("sub/../m.lua", "7"),
        ("sub/n.lua", "8"),
        ("trap.lua", other),
        ("gone.lua", other),
        ("key.txt", other),
        ("none.txt", other),
        ("key.txt/x", other),
        ("key.txt/x.lua", none),
        ("none.txt/x.lua", none),
        ("none.lua", none),
        ("sub", other),
        ("no", other),
    ] {
        let expected = if expected.len() == 1 { expected.to_owned() } else { format!("{path}: {expected}") };
        rows.push((format!("local f, why = loadfile('{path}') print(f and f() or why)"), format!("{expected}\n")));
    }
    for (code, expected) in &rows {
        check(&tree.0, &[Row(&["-e", code], "", 0, expected, &[])]);
    }
}

/// While others swap a directory and a file with links that lead outside: nothing there is read, made, emptied, renamed or
/// removed. (The long run is `torture/renames`.)
#[test]
#[cfg(target_os = "linux")]
fn no_race_leads_outside() {
    let tree = Tree::new(
        "races",
        &[("data/d/a.txt", b"inside"), ("data/f", b"inside"), ("out/a.txt", b"OUTSIDE"), ("out/m.lua", b"OUTSIDE = 1")],
    );
    let at = |path: &str| tree.0.join(path);
    symlink("../out", at("data/d2")).unwrap();
    symlink("../out/a.txt", at("data/f2")).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                exchange(&at("data/d"), &at("data/d2"));
                exchange(&at("data/f"), &at("data/f2"));
            }
        });
        let code = r#"
            local out, seen = 0, 0
            local function note(text) seen = seen + 1 if text and text:find("OUTSIDE") then out = out + 1 end end
            for i = 1, 4000 do
              local f = io.open("data/d/a.txt") if f then note(f:read("a")) f:close() end
              f = io.open("data/f") if f then note(f:read("a")) f:close() end
              f = io.open("data/f", "a") if f then f:write("x") f:close() end
              f = io.open("data/f", "w") if f then f:write("inside") f:close() end
              f = io.open("data/d/new", "w") if f then f:write("x") f:close() end
              os.remove("data/d/new")
              local m, why = loadfile("data/d/m.lua") note(m and "OUTSIDE" or why)
              os.rename("data/d/a.txt", "data/d/b.txt") os.rename("data/d/b.txt", "data/d/a.txt")
            end
            print(out, seen > 4000)
        "#;
        fs::create_dir(at("lib")).unwrap();
        fs::write(at("lib/race.lua"), code).unwrap();
        let said = super::run(&tree.0, &["--allow-fs=data", "lib/race.lua"], "");
        over.store(true, Relaxed);
        assert_eq!(said, (0, "0\ttrue\n".into(), String::new()));
    });
    let mut names: Vec<_> = fs::read_dir(at("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.txt", "m.lua"]);
    assert_eq!(fs::read(at("out/a.txt")).unwrap(), b"OUTSIDE");
}

/// Swaps two names at once.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}
