//! What `--help` and `--version` print: every flag, with an example; the pages of `docs/`, by name.

use caspian_net::grants::nearest;

/// The pages that `--help TOPIC` prints: those of docs/ that site/SUMMARY.md lists, in its order.
const PAGES: &[(&str, &str)] = &[
    ("getting-started", include_str!("../../docs/getting-started.md")),
    ("recipes", include_str!("../../docs/recipes.md")),
    ("grants", include_str!("../../docs/grants.md")),
    ("sockets", include_str!("../../docs/sockets.md")),
    ("http-client", include_str!("../../docs/http-client.md")),
    ("server", include_str!("../../docs/server.md")),
    ("sammy", include_str!("../../docs/sammy.md")),
    ("guards", include_str!("../../docs/guards.md")),
    ("events-and-websockets", include_str!("../../docs/events-and-websockets.md")),
    ("mail", include_str!("../../docs/mail.md")),
    ("ftp", include_str!("../../docs/ftp.md")),
    ("pop3", include_str!("../../docs/pop3.md")),
    ("names", include_str!("../../docs/names.md")),
    ("helpers", include_str!("../../docs/helpers.md")),
    ("errors", include_str!("../../docs/errors.md")),
    ("coming-from", include_str!("../../docs/coming-from.md")),
    ("embedding", include_str!("../../docs/embedding.md")),
    ("embedding-c", include_str!("../../docs/embedding-c.md")),
    ("decisions", include_str!("../../docs/decisions.md")),
    ("inside", include_str!("../../docs/inside.md")),
];

/// The features of Cargo.toml that a binary can be built with, and whether this one is.
const FEATURES: &[(&str, bool)] = &[
    ("full", cfg!(feature = "full")),
    ("small", cfg!(feature = "small")),
    ("mail", cfg!(feature = "mail")),
    ("http2", cfg!(feature = "http2")),
    ("embedded", cfg!(feature = "embedded")),
    ("panics", cfg!(feature = "panics")),
];

/// What this binary is made of.
pub fn version() -> String {
    let features: Vec<_> = FEATURES.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    format!(
        "caspian-net {} (Lua 5.4)\nTLS provider: {} (rustls)\nFeatures: {}\n",
        env!("CARGO_PKG_VERSION"),
        caspian_net::tls::PROVIDER,
        features.join(" ")
    )
}

/// Flag, example (or nothing), what it does.
type Row = (&'static str, &'static str, &'static str);

const SECTIONS: &[(&str, &[Row])] = &[
    (
        "Network grants (repeat, or separate values with commas; see TARGET below)",
        &[
            ("--allow-net", "--allow-net --deny-net=private", "connect to any host, any port"),
            (
                "--allow-net=HOST[:PORTS]",
                "--allow-net=api.example.com:443",
                "connect to that host; without PORTS to any of its ports",
            ),
            ("--allow-listen", "caspian-net --allow-listen server.lua", "listen on any interface, any port"),
            ("--allow-listen=PORTS", "--allow-listen=8080+9000-9010", "listen on those ports; 0 is an ephemeral port"),
            ("--allow-listen=HOST:PORTS", "--allow-listen=127.0.0.1:0", "listen on that interface and those ports"),
            (
                "--deny-net=TARGET",
                "--deny-net=private,*.internal.example",
                "never, whatever else allows it; checked on the name and on each address; `private` is every address \
                 that is not public",
            ),
            ("--standard", "caspian-net --standard crawler.lua", "broad outbound (as --allow-net); never listening"),
            ("--no-dns", "--no-dns --allow-net=192.0.2.1:53", "no name resolution: only IP literals connect"),
            ("--net-log=FILE", "--net-log=net.jsonl", "append each decision and connection to FILE as one JSON line"),
            (
                "--ca=FILE",
                "caspian-net --allow-net=intranet.example --ca=corporate-ca.pem sync.lua",
                "trust the authorities in FILE (PEM) in addition to the system's, for every TLS connection without its own \
                 `ca_bundle`",
            ),
        ],
    ),
    (
        "The sandbox (a script with --allow-run, --allow-native or --allow-fs can bypass its network grants)",
        &[
            (
                "--allow-run",
                "caspian-net --allow-net=example.com --allow-run deploy.lua",
                "os.execute, io.popen, os.getenv: programs of this user, and the environment that they have",
            ),
            (
                "--allow-native",
                "caspian-net --allow-native -e 'print(require(\"lfs\").currentdir())'",
                "C modules, package.loadlib and the whole debug library",
            ),
            (
                "--allow-fs",
                "caspian-net --allow-net=example.com --allow-fs mirror.lua",
                "every file: io.open, io.lines, os.remove, os.rename, os.tmpname …",
            ),
            (
                "--allow-fs=DIR",
                "--allow-fs=./data",
                "the same beneath DIR only: paths that begin with DIR as it is named here, or with its real name; symlinks \
                 are followed where they stay inside; repeat it for more; modules are found there too",
            ),
            (
                "--allow-env",
                "caspian-net --allow-env -e 'print(os.getenv(\"HOME\"))'",
                "os.getenv: every variable of the environment",
            ),
            ("--allow-env=NAME", "--allow-env=API_TOKEN,HOME", "os.getenv for that variable; others read as unset"),
            (
                "--allow-all, -A",
                "caspian-net -A script.lua",
                "all of them: --allow-net --allow-listen --allow-run --allow-native --allow-fs --allow-env; --deny-net still \
                 holds for `net`, but such a script can bypass it",
            ),
        ],
    ),
    (
        "Running",
        &[
            ("-e CODE", "-e 'print(net:fetch(arg[1]).status)' URL", "run CODE instead of a script"),
            ("-", "echo 'print(1)' | caspian-net -", "read the script from standard input"),
            ("--", "caspian-net -- -odd-name.lua", "end of the options"),
            (
                "--requires=HOST[:PORTS]",
                "--requires=api.example.com:443",
                "what the script needs, written as for --allow-net: if it is not granted, print the missing flags and exit with 2",
            ),
            (
                "--compat",
                "caspian-net --compat --allow-net=example.com luasocket-script.lua",
                "offer LuaSocket's and LuaSec's modules (socket, ssl, ltn12 …) over these grants; every module \
                 that the script requires has the network then",
            ),
            ("--help, -h", "caspian-net --help | less", "this text"),
            ("--help TOPIC", "caspian-net --help sockets | less", "a page of the documentation; the topics are below"),
            ("--version, -V", "caspian-net --version", "the version, its Lua, its TLS provider and its features"),
        ],
    ),
];

const HEAD: &str = "\
Usage: caspian-net [FLAG…] [SCRIPT | -e CODE | -] [ARG…]

Runs a Lua 5.4 script that has network access only through the grants named here. The script finds
the network as `net` (and as _ENV[\"%net\"]; nil when nothing is granted) and its arguments as `...`
and `arg`. Without a script, a terminal gets a REPL (Tab completes, the arrows edit and recall, an
unfinished text continues on the next line, values are printed); other input is read as with `-`.

  caspian-net --allow-net=example.com -e 'print(net.fetch(\"https://example.com/\").status)'
";

const TAIL: &str = "
TARGET is HOST[:PORTS] or `private`.
  HOST is a name, an IPv4 or bracketed IPv6 address, a block (10.0.0.0/8, [fd00::]/8),
  *.example.com (exactly one label), **.example.com (one or more), unix:/path, or unix:/dir/*
  (any socket directly in that directory).
  PORTS is 80, 80-90 or 80+443+8000-8100.
  Names match by name, never by what they resolve to; addresses match addresses only.

In the sandbox, without the flags above:
  the script       has `net`; modules that it requires have no `net` (pass it as a parameter) and do
                   not see the script's globals; text only, never bytecode
  require          Lua files (*.lua) beneath the script's directory (for -e, - and the REPL the
                   current one), also dofile and loadfile; LUA_PATH and LUA_INIT are ignored
  io               close, flush, lines, read, stderr, stdin, stdout, type, write: no files
  os               clock, date, difftime, exit, time
  debug            traceback
  collectgarbage   collect, count, isrunning, step
  absent           string.dump, os.setlocale, package.loadlib, package.cpath
  never            /proc and /sys, not even with --allow-fs

The REPL keeps its history in $XDG_STATE_HOME/caspian-net/history (by default in ~/.local/state); a
line that begins with a space stays out of it.

Exit status: 0, 1 for an uncaught error, 2 for a usage error.
Ctrl-C raises an error in the script; a second Ctrl-C ends it.
";

/// The whole text.
pub fn text() -> String {
    let mut out = String::from(HEAD);
    for (title, rows) in SECTIONS {
        out.push_str(&format!("\n{title}:\n"));
        for (flag, example, what) in *rows {
            out.push_str(&format!("  {flag}\n"));
            wrap(&mut out, what);
            if !example.is_empty() && example != flag {
                out.push_str(&format!("      e.g. {example}\n"));
            }
        }
    }
    out.push_str(TAIL);
    out.push_str("\nTopics of --help:\n");
    wrap(&mut out, &topics());
    out
}

/// The page of that name, or what is wrong with the name.
pub fn page(topic: &str) -> Result<&'static str, String> {
    let wanted = topic.strip_suffix(".md").unwrap_or(topic);
    PAGES.iter().find(|(name, _)| *name == wanted).map(|(_, text)| *text).ok_or_else(|| {
        let meant = nearest(wanted, PAGES.iter().map(|(name, _)| *name));
        let meant = meant.map(|meant| format!("did you mean {meant}? "));
        let found = about(wanted);
        let found = if found.is_empty() { found } else { format!("the word is in {found}; ") };
        format!("--help has no topic {topic:?} ({}{found}topics: {})", meant.unwrap_or_default(), topics())
    })
}

/// The pages that have a word among their headings, options and fields: those of their code (`retry`).
fn about(word: &str) -> String {
    let marked = format!("`{word}`");
    let pages = PAGES.iter().filter(|(_, text)| !word.is_empty() && text.contains(&marked));
    pages.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

fn topics() -> String {
    PAGES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

/// `text` in lines of at most 100 columns, indented by six.
fn wrap(out: &mut String, text: &str) {
    let mut column = 0;
    for word in text.split(' ') {
        if column == 0 || column + word.len() >= 100 {
            out.push_str(if column == 0 { "      " } else { "\n      " });
            column = 6;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::{FEATURES, PAGES, SECTIONS, page};
    use crate::launcher::options::{Command, OTHERS, parse};
    use caspian_net::grants::FLAGS;
    use std::collections::BTreeSet;

    /// Features of the module, which the launcher is not, and those that `embedded` has.
    const MODULE: &[&str] = &[
        "default", "module", "vendored", "front", "stripped", "lua", "lua51", "lua52", "lua53", "lua54", "lua55",
        "luajit",
    ];

    #[test]
    fn every_feature_is_named() {
        let manifest = include_str!("../../Cargo.toml");
        let (_, rest) = manifest.split_once("[features]\n").unwrap();
        let section = rest.split("\n[").next().unwrap();
        let names = section.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).filter(|n| !n.starts_with('#'));
        let ours: Vec<_> = names.filter(|name| !MODULE.contains(name)).collect();
        let listed: Vec<_> = FEATURES.iter().map(|(name, _)| *name).collect();
        assert_eq!(listed, ours);
    }

    #[test]
    fn every_page_of_the_book_is_a_topic() {
        let book = include_str!("../../site/SUMMARY.md");
        let pages: Vec<_> =
            book.lines().filter_map(|line| line.split_once("](docs/")?.1.strip_suffix(".md)")).collect();
        let ours: Vec<_> = PAGES.iter().map(|(name, _)| *name).collect();
        assert_eq!(ours, pages);
    }

    /// What the page of grants leaves to `--help`.
    const RUNNING: &[&str] = &["-e CODE", "-", "--", "--help", "-h", "--help TOPIC", "--version", "-V"];

    #[test]
    fn every_flag_is_in_the_help_and_in_the_page_of_grants() {
        let rows = SECTIONS.iter().flat_map(|(_, rows)| *rows);
        assert!(rows.clone().all(|(_, _, what)| !what.is_empty()));
        let helped: BTreeSet<_> = rows.flat_map(|(flags, ..)| flags.split(", ")).collect();
        let named = helped.iter().filter_map(|flag| flag.split(['=', ' ']).next()).filter(|name| name.len() > 2);
        assert_eq!(named.collect::<BTreeSet<_>>(), FLAGS.into_iter().chain(OTHERS).collect());
        for flag in &helped {
            let unknown = match parse([(*flag).into()].into_iter()) {
                Ok(Command::Run(_) | Command::Help(_) | Command::Version) => false,
                Err(why) => why.starts_with("unknown option") && !flag.contains(' '),
            };
            assert!(!unknown, "{flag}");
        }
        let mut paged = BTreeSet::new();
        for line in page("grants").unwrap().lines().filter(|line| line.starts_with("| `-")) {
            let cells: Vec<_> = line.split(" | ").collect();
            assert!(cells[1..].iter().all(|cell| !cell.trim_matches([' ', '|']).is_empty()), "{line}");
            paged.extend(cells[0].split('`').filter(|word| word.starts_with('-')));
        }
        assert_eq!(paged, helped.into_iter().filter(|flag| !RUNNING.contains(flag)).collect());
    }
}
