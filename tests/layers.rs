//! The fence between the floors: one table of rooms and doors, walked over `src/`.
//!
//! A room is a file or directory of `src/`, or of a directory that has rows of its own. It may use every room on a lower floor, itself, and
//! the doors named in its row, which lead to rooms of its own floor. A room that is not in the table fails the test:
//! give it a place. Reads source text, never runs it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// room, floor, doors to rooms of the same floor.
const ROOMS: &[(&str, u8, &[&str])] = &[
    // ground: words that everyone shares
    ("error", 0, &[]),
    ("dates", 0, &[]),
    ("deadline", 0, &["error"]),
    ("address", 0, &["error"]),
    ("crypto", 0, &[]),
    ("descriptors", 0, &[]),
    ("fork", 0, &[]),
    ("allocation", 0, &["error", "reserve"]),
    ("buffer", 0, &["allocation", "error"]),
    ("panics", 0, &["error"]),
    ("reserve", 0, &[]),
    // floor 1: pure decisions, no I/O, no clock
    ("grants", 1, &[]),
    ("codec", 1, &[]),
    ("compat::mime", 1, &[]),
    ("digest", 1, &[]),
    ("mail", 1, &["digest"]),
    ("http", 1, &[]),
    ("guard", 1, &["http"]),
    // floor 2: the world outside
    ("zone", 2, &[]),
    ("wire", 2, &["zone"]),
    ("resolve", 2, &["wire", "files"]),
    ("udp", 2, &["wire", "zone"]),
    ("listen", 2, &["wire", "zone", "tls"]),
    ("compat::bsd", 2, &["wire"]),
    ("compat::tls", 2, &["tls"]),
    ("tls", 2, &["wire", "files"]),
    ("conn", 2, &["wire", "tls"]),
    ("client::upload", 2, &[]),
    ("files", 2, &[]),
    ("poll", 2, &["wire", "tls", "conn", "udp", "listen"]),
    ("compat", 2, &["compat::bsd", "compat::tls"]),
    // floor 3: grants × network × protocol
    ("log", 3, &[]),
    ("net", 3, &["log", "client::pool"]),
    ("names", 3, &["net"]),
    ("dial", 3, &["net", "log", "names"]),
    ("client::shared", 3, &[]),
    ("client::pool", 3, &["client::shared"]),
    ("client::transaction", 3, &["client::pool", "client::shared"]),
    ("client::connector", 3, &["net", "dial", "client::pool", "client::shared", "client"]),
    ("client", 3, &["net", "dial", "log", "names", "client::pool", "client::transaction", "client::connector"]),
    ("client::stream", 3, &["client"]),
    ("client::batch", 3, &["client", "client::stream"]),
    ("client::event_source", 3, &["net", "client", "client::pool"]),
    ("client::websocket", 3, &["net", "client", "client::pool", "client::connector"]),
    ("server", 3, &[]),
    // floor 4: the binding and the launcher
    ("lua", 4, &[]),
    ("launcher", 4, &["lua"]),
    ("main", 4, &["launcher"]),
    // the map itself: names the rooms, and is used by nobody
    ("lib", 5, &[]),
];

/// A word that only the rooms named may write, and why.
const WORDS: &[(&str, &[&str], &str)] = &[
    ("mlua", &["lua", "launcher"], "src/lua and the launcher are the binding"),
    (
        "socket2",
        &["wire", "udp", "listen", "compat::bsd", "poll", "dial", "names"],
        "sockets are made on floor 2; names has those of its questions",
    ),
    (
        "rustix",
        &["zone", "wire", "udp", "listen", "compat::bsd", "poll", "resolve", "files"],
        "system calls are made on floor 2",
    ),
    (
        "canonicalize",
        &["files", "launcher", "net"],
        "src/files.rs is the one door to files; net knows names of Unix sockets",
    ),
    ("read_dir", &["files"], "src/files.rs is the one door to files that a script names"),
    ("rustls", &["tls", "compat::tls", "crypto"], "TLS has one room, and its drop-in another"),
    ("webpki", &["tls", "compat::tls"], "TLS has one room, and its drop-in another"),
    ("ring", &["crypto"], "src/crypto.rs names the library of cryptography"),
    ("aws_lc_rs", &["crypto"], "src/crypto.rs names the library of cryptography"),
    ("pkcs8", &["tls"], "TLS has one room"),
    ("mio", &["server"], "the readiness of many connections has one room"),
    ("httparse", &["http"], "HTTP has one room"),
    ("mail_builder", &["mail"], "mail has one room"),
    ("mail_parser", &["mail"], "mail has one room"),
    ("stringprep", &["mail"], "mail has one room"),
    ("regex_lite", &["guard"], "constraints of a guard have one room"),
    ("tungstenite", &["http"], "WebSockets have one room"),
    ("psl2", &["http"], "HTTP has one room"),
    ("rustyline", &["launcher"], "the line editor is the launcher's alone"),
    ("hickory_resolver", &["names"], "names that are asked for have one room"),
    ("tokio", &["http"], "the traits by which h2 reads and writes"),
    ("h2", &["http", "server"], "HTTP/2 has one room, and the server speaks its side of it"),
    ("OffsetDateTime", &["dates"], "src/dates.rs is the only calendar of the core"),
    (
        "Instant",
        &["deadline", "names", "dial", "client::pool", "client::transaction", "client::connector", "client"],
        "src/deadline.rs is the only clock",
    ),
    ("SystemTime", &["deadline"], "src/deadline.rs is the only clock"),
    ("TcpStream", &["wire", "dial"], "src/dial.rs is the one door out"),
    ("TcpListener", &["wire", "listen"], "binding needs a proof"),
    ("UdpSocket", &["udp"], "binding needs a proof"),
];

/// Files that may say `unsafe`, each with the system call or C interface that asks for it.
const UNSAFE: &[(&str, &str)] = &[
    ("lua/userdata.rs", "userdata whose metatables are made by hand on the C API"),
    ("lua/stack.rs", "arguments and results on Lua's stack"),
    ("lua/signals.rs", "hooks that signals have set run through the C API"),
    ("lua/headers.rs", "a table of headers is read by the C API"),
    ("lua/request.rs", "requests speak the C API"),
    ("lua/hot.rs", "the hot path of the binding speaks the C API"),
    ("lua/server/hot.rs", "the hot path of a server speaks the C API"),
    ("lua/server/headers.rs", "a table of headers is read by the C API"),
    ("lua/saved.rs", "Lua's file handles are a C interface, and ftruncate(2) has no word in Lua"),
    (
        "lua/mail/values.rs",
        "what is said of mail becomes Lua's values on the C API: a mailbox has thousands of envelopes",
    ),
    ("lua/long.rs", "a long string is written in the block that Lua's allocator gives"),
    ("lua/json/build.rs", "values of a document are made by the C API, many in one protected call"),
    ("lua/returns.rs", "LuaJIT is given C functions that fill a register with the number of their results"),
    ("lua/within.rs", "a function is called on the C API, so that nothing comes between its end and its deadline's"),
    ("lua/compat/mime.rs", "filters call mime.core for every piece: the C API"),
    ("lua/compat/classes.rs", "the drop-in's classes are made by hand on the C API"),
    ("lua/compat/hot.rs", "the hot path of the drop-in speaks the C API"),
    ("compat/bsd/pipe.rs", "sigaction(2): SIGPIPE is ignored as LuaSocket does it"),
    ("compat/bsd/option.rs", "setsockopt(2) for the options that have no other name in Rust"),
    ("wire/peer.rs", "getsockopt(2) for SO_PEERCRED, where rustix has no word for an unknown process"),
    ("poll.rs", "poll(2) asks about numbers that foreign objects give"),
    ("panics.rs", "_Unwind_Backtrace finds no frames in a released module"),
    ("fork.rs", "pthread_atfork tells a child from its parent"),
    ("reserve.rs", "an allocator is an unsafe trait"),
    ("allocation.rs", "madvise takes a pointer"),
    ("launcher/files.rs", "Lua's file handles are a C interface"),
    ("launcher/memory.rs", "Lua's allocator is a C interface"),
    ("launcher/mod.rs", "mlua calls the debug library and C modules unsafe"),
    ("launcher/signal.rs", "signal handlers and Lua's hook are C interfaces"),
];

struct File {
    /// Relative to `src/`, with `/`.
    path: String,
    room: String,
    code: String,
}

#[test]
fn every_room_has_a_place() {
    let unknown: BTreeSet<_> = files().into_iter().map(|f| f.room).filter(|r| floor(r).is_none()).collect();
    assert!(unknown.is_empty(), "no place in ROOMS for {unknown:?}");
}

#[test]
fn every_place_has_a_room() {
    let rooms: BTreeSet<_> = files().into_iter().map(|f| f.room).collect();
    let empty: Vec<_> = ROOMS.iter().map(|(room, ..)| *room).filter(|room| !rooms.contains(*room)).collect();
    assert!(empty.is_empty(), "no file is in {empty:?}");
}

/// ARCHITECTURE.md shows the floors as ROOMS has them, and names the rooms of system calls.
#[test]
fn the_map_has_every_room() {
    let map = include_str!("../ARCHITECTURE.md");
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(|w| w.replace('/', "::")).collect::<BTreeSet<_>>();
    let drawn = |wanted: u8| {
        let row = map.lines().find_map(|line| line.strip_prefix(&format!("| {wanted} | "))).unwrap_or_default();
        quoted(row.split(" | ").next().unwrap_or_default())
    };
    for wanted in 0..=4 {
        let drawn = drawn(wanted);
        // A room within a directory of the same floor needs no word of its own.
        let inside =
            |room: &str| room.split_once("::").is_some_and(|(outer, _)| floor(outer).is_some_and(|(f, _)| f == wanted));
        let rooms: BTreeSet<_> = ROOMS
            .iter()
            .filter(|(room, floor, _)| *floor == wanted && !inside(room))
            .map(|(room, ..)| String::from(*room))
            .collect();
        assert_eq!(drawn, rooms, "floor {wanted} of ARCHITECTURE.md and of ROOMS");
    }
    let calls = map.lines().find(|line| line.starts_with("System calls ")).map(quoted).unwrap_or_default();
    let made = WORDS.iter().filter(|(word, ..)| ["rustix", "socket2"].contains(word)).flat_map(|(_, rooms, _)| *rooms);
    let missing: Vec<_> = made.filter(|room| !calls.contains(**room)).collect();
    assert!(missing.is_empty(), "the line `System calls …` of ARCHITECTURE.md lacks {missing:?}");
}

#[test]
fn doors_open_downward() {
    let mut wrong = Vec::new();
    for file in files() {
        let Some((own, doors)) = floor(&file.room) else { continue };
        for used in rooms_used(&file) {
            let Some((other, _)) = floor(&used) else { continue };
            if own <= other && used != file.room && file.room != "lib" && !doors.contains(&used.as_str()) {
                wrong.push(format!("{} (floor {own}) uses {used} (floor {other})", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for file in files() {
        for (word, rooms, why) in WORDS {
            if words(&file.code).any(|w| w == *word) && !rooms.contains(&file.room.as_str()) {
                wrong.push(format!("{} names {word}: {why}", file.path));
            }
        }
        if words(&file.code).any(|w| w == "unsafe") && !UNSAFE.iter().any(|(path, _)| *path == file.path) {
            wrong.push(format!("{} says unsafe: add it to UNSAFE with the call that asks for it", file.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The fence itself: what it finds in a text.
#[test]
fn the_fence_sees() {
    let seen = |room: &str, code: &str| {
        let file = File { path: String::new(), room: room.into(), code: strip(code) };
        rooms_used(&file).into_iter().collect::<Vec<_>>().join(" ")
    };
    let rows = [
        ("udp", "use crate::error::Error;", "error"),
        ("udp", "use crate::{error::{Error, Kind}, wire, deadline as d};", "deadline error wire"),
        ("udp", "fn f() -> crate::conn::Conn { }", "conn"),
        ("main", "use caspian_net::lua::open;", "lua"),
        ("http", "use crate::client::Client;", "client"),
        ("http", "use crate::{http::body, client::pool};", "client::pool http"),
        ("udp", "// crate::conn is not a door\n/* nor crate::lua */ let s = \"crate::net\";", ""),
    ];
    for (room, code, expected) in rows {
        assert_eq!(seen(room, code), expected, "{code}");
    }
}

/// Floor and doors of a room. A file that has no row of its own belongs to its directory's room.
fn floor(room: &str) -> Option<(u8, &'static [&'static str])> {
    ROOMS.iter().find(|(name, ..)| *name == room).map(|(_, floor, doors)| (*floor, *doors))
}

/// The room that a path of module names leads to: `client::pool` has a row, `grants::flag` is in `grants`.
fn room_of(first: &str, second: Option<&str>) -> String {
    let inner = second.map(|s| format!("{first}::{s}"));
    match inner {
        Some(inner) if floor(&inner).is_some() => inner,
        _ => first.to_string(),
    }
}

fn files() -> Vec<File> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push(path);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&src, &mut paths);
    // Tests may look into any room.
    paths.retain(|path| path.file_name().is_some_and(|name| name != "tests.rs"));
    paths.sort();
    let file = |path: PathBuf| {
        let relative = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
        let parts: Vec<_> = relative.trim_end_matches(".rs").split('/').collect();
        let room = room_of(parts[0], parts.get(1).copied());
        File { path: relative, room, code: strip(&fs::read_to_string(&path).unwrap()) }
    };
    paths.into_iter().map(file).collect()
}

/// The rooms whose names follow `crate::` or `caspian_net::`, also inside braces.
fn rooms_used(file: &File) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in ["crate::", "caspian_net::"] {
        for (at, _) in file.code.match_indices(root) {
            for path in paths(&file.code[at + root.len()..]) {
                let mut parts = path.split("::");
                let first = parts.next().unwrap_or_default();
                let room = room_of(first, parts.next());
                if floor(&room).is_some() {
                    found.insert(room);
                }
            }
        }
    }
    found
}

/// The paths that a `use` tree spells out: `{a::{b, c}, d}` is `a::b`, `a::c`, `d`. Stops where the tree ends.
fn paths(tree: &str) -> Vec<String> {
    let (mut found, mut stack, mut prefix, mut word) = (Vec::new(), Vec::new(), String::new(), String::new());
    for c in tree.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | ':' | '*' => word.push(c),
            '{' => {
                stack.push(prefix.clone());
                prefix.push_str(&word);
                word.clear();
            }
            ',' | '}' if !stack.is_empty() => {
                if !word.is_empty() {
                    found.push(format!("{prefix}{word}"));
                    word.clear();
                }
                if c == '}' {
                    prefix = stack.pop().unwrap_or_default();
                    if stack.is_empty() {
                        return found;
                    }
                }
            }
            c if c.is_whitespace() && !stack.is_empty() => {
                // `a as b`: what comes after the blank is not part of the path.
                if !word.is_empty() {
                    found.push(format!("{prefix}{word}"));
                    word.clear();
                }
            }
            _ => break,
        }
    }
    if !word.is_empty() {
        found.push(format!("{prefix}{word}"));
    }
    found
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The code without comments, without what stands in string literals, and without `#[cfg(test)] mod tests`, which
/// comes last in a file and may look into any room.
fn strip(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").map_or(rest.len(), |at| at + 5)
        } else if c == '"' {
            literal(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            // A quote as a character opens no string.
            rest[1..].find('\'').map_or(rest.len(), |at| at + 2).max(3)
        } else {
            0
        };
        if skip == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.push(' ');
            rest = &rest[skip..];
        }
    }
    out
}

/// The length of the string literal that `text` begins with, quotes included.
fn literal(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}
