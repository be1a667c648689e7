//! The gate under fire: every spelling of a host, through every function that takes one, in a network namespace where
//! all addresses there are answer on `lo`.
//!
//! Three phases for each set of grants. What must be refused comes first, and nothing at all may come in meanwhile:
//! no connection, no datagram, no request at a proxy, no question at a name server. Then names with a denied address:
//! questions, but no connection. Last what is granted: each attempt must reach a server, so a gate that refuses
//! everything fails, and so does a world that sees nothing.
//!
//! Needs Linux, `unshare` and `ip`, and to be root or to be allowed namespaces of users; says so where it is not. The
//! rows are `data/hosts.tsv`, and those of `data/cases.tsv` that are about hosts and URLs.
#![cfg(all(feature = "embedded", target_os = "linux"))]
#![allow(clippy::disallowed_methods, reason = "the test is the world outside")]

mod names_support;
mod tables;
#[path = "namespace/world.rs"]
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};
use tables::text;
use world::{CONTROL, World, name_of};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/namespace/attempts.lua");
/// Says to the test that it is inside.
const INSIDE: &str = "CASPIAN_NET_NAMESPACE";

/// The grants that `hosts.tsv` names.
const GRANTS: &[(&str, &[&str])] = &[
    ("name", &["--allow-net=example.com:80+443"]),
    ("addr", &["--allow-net=93.184.216.34:80"]),
    ("six", &["--allow-net=[2606:2800:220::1]:80"]),
    ("child", &["--allow-net=*.example.com:80"]),
    ("below", &["--allow-net=**.example.com:80"]),
    ("block", &["--allow-net=10.0.0.0/8:80"]),
    ("blocked", &["--allow-net", "--deny-net=evil.test,**.evil.test,10.0.0.0/8,[fd00::]/8"]),
    ("public", &["--allow-net", "--deny-net=private"]),
    ("nodns", &["--allow-net", "--no-dns"]),
    ("idna", &["--allow-net=xn--mnchen-3ya.de:80"]),
    ("none", &[]),
];

/// Functions that take a host and a port, and those that take a URL. All others of the script are in one of the lists
/// below; a function that is in none fails the test.
const RAW: &[&str] =
    &["tcp", "tcp_class", "ssl", "udp", "send_to", "allows", "narrow_tcp", "narrow_wide", "within_tcp"];
const URL: &[&str] = &[
    "fetch",
    "fetch_https",
    "fetch_stream",
    "fetch_host",
    "client",
    "client_post",
    "fetch_all",
    "websocket",
    "events",
    "client_events",
    "redirect",
    "redirect_keeping",
    "through_http",
    "through_socks5",
    "through_socks5h",
    "through_websocket",
    "guard_gate",
    "within_fetch",
];
/// Guards by rules, or by their fence alone: where everything else is granted.
const GUARD: &[&str] = &["guard", "guard_redirect", "guard_rewrite"];
/// Take a URL, and the host as a pattern.
const BOTH: &[&str] = &["jail", "client_allow"];
/// The URL of a proxy is read as URLs are.
const PROXY: &[&str] = &["proxy_http", "proxy_https", "proxy_socks5", "proxy_socks5h"];
/// Ask for names; granted with any port of the host.
const NAMES: &[&str] = &["resolve", "resolve_txt", "reverse"];
/// Refused whatever the host is, unless something else were granted.
const NEVER: &[&str] = &["unix", "fetch_unix", "http_server", "sammy", "uds", "uds_client", "server", "ssl_sni"];
/// Refused where addresses are denied.
const PINNED: &str = "pinned";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
    /// Refused once its addresses are known.
    Address,
    Untold,
}

#[derive(Clone)]
struct Row {
    id: String,
    /// For [`GUARD`] only: what its rule is about, or nothing.
    rule: Option<String>,
    /// The flags.
    grants: Vec<String>,
    host: String,
    port: u16,
    url: String,
    raw: Verdict,
    web: Verdict,
}

fn verdict(word: &str) -> Verdict {
    match word {
        "allow" => Verdict::Allow,
        "addr" => Verdict::Address,
        "-" => Verdict::Untold,
        word if word.starts_with("deny") => Verdict::Deny,
        word => panic!("{word}"),
    }
}

fn flags(list: &[&str]) -> Vec<String> {
    list.iter().map(|flag| (*flag).to_owned()).collect()
}

fn own_rows() -> Vec<Row> {
    let row = |line: &str| {
        let [id, grants, host, port, raw, web, ..] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let known = GRANTS.iter().find(|(name, _)| *name == grants).unwrap_or_else(|| panic!("{line}"));
        let (host, port) = (text(host), port.parse().unwrap());
        let url = format!("http://{host}:{port}/");
        Row { id: id.into(), rule: None, grants: flags(known.1), host, port, url, raw: verdict(raw), web: verdict(web) }
    };
    include_str!("data/hosts.tsv").lines().skip(1).map(row).collect()
}

/// The rows of `cases.tsv` that name a host and a port, or a URL. The others are `grants/cases.rs`'s.
fn case_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for line in include_str!("data/cases.tsv").lines().skip(1) {
        let [id, kind, input, context, expected, ..] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let (input, context) = (text(input), text(context));
        match kind {
            "grant" => {
                let Some(net) = context.strip_prefix("net=") else { continue };
                let Some((host, Ok(port))) = input.rsplit_once(':').map(|(host, port)| (host, port.parse())) else {
                    continue;
                };
                let words = ["dns", "udp", "tls:", "proxy=", "narrow{", "happy", "net.", "connect "];
                if words.iter().any(|word| host.starts_with(word)) || port == 0 {
                    continue;
                }
                let grants = match net {
                    "*" => vec!["--allow-net".to_owned()],
                    "(none)" => Vec::new(),
                    net => vec![format!("--allow-net={net}")],
                };
                let raw = verdict(expected);
                // What is wrong as a raw host may be right in a URL, where it is read otherwise.
                let web = if expected == "deny:argument" { Verdict::Untold } else { raw };
                rows.push(Row {
                    id: id.into(),
                    rule: None,
                    grants,
                    host: host.into(),
                    port,
                    url: format!("http://{input}/"),
                    raw,
                    web,
                });
            }
            "url" if !context.starts_with("jail parent") => {
                let host = context.split_once("host=").and_then(|(_, rest)| rest.split(' ').next()).expect("a host");
                let ports = if context.contains("ports=80,443") { "80+443" } else { "443" };
                let grants = vec![format!("--allow-net={host}:{ports}")];
                let web = verdict(expected);
                rows.push(Row {
                    id: id.into(),
                    rule: None,
                    grants,
                    host: String::new(),
                    port: 80,
                    url: input,
                    raw: Verdict::Untold,
                    web,
                });
            }
            _ => {}
        }
    }
    rows
}

/// Every address of `cases.tsv`, as a literal and as a name that has it, where private ones are denied.
fn address_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for line in include_str!("data/cases.tsv").lines().skip(1) {
        let [id, kind, input, _, expected, ..] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let Ok(ip) = input.parse::<IpAddr>() else { continue };
        if kind != "guard" {
            continue;
        }
        let mut add = |suffix: &str, host: String, verdict| {
            let (id, url) = (format!("{id}{suffix}"), format!("http://{host}:80/"));
            let grants = flags(&["--allow-net", "--deny-net=private"]);
            rows.push(Row { id, rule: None, grants, host, port: 80, url, raw: verdict, web: verdict });
        };
        let open = expected == "allow";
        let literal = if ip.is_ipv6() { format!("[{input}]") } else { input.to_owned() };
        add("-literal", literal, if open { Verdict::Allow } else { Verdict::Deny });
        add("-name", name_of(ip), if open { Verdict::Allow } else { Verdict::Address });
    }
    rows
}

/// The same rows for guards: the gate lets everything through, and a rule, or the fence, has to hold.
fn guard_rows(rows: &[Row]) -> Vec<Row> {
    let rule = |row: &Row| match &*row.grants {
        [flag] if flag == "--allow-net=example.com:80+443" => Some("example.com 80 443".to_owned()),
        [any, private] if any == "--allow-net" && private == "--deny-net=private" => Some(String::new()),
        [flag] => {
            let (host, port) = flag.strip_prefix("--allow-net=")?.rsplit_once(':')?;
            // Blocks and names at any depth are not in the rules of guards.
            (!host.contains('/') && !host.starts_with("**")).then(|| format!("{host} {}", port.replace('+', " ")))
        }
        _ => None,
    };
    let guarded = |row: &Row| Some(Row { grants: flags(&["--allow-net"]), rule: Some(rule(row)?), ..row.clone() });
    rows.iter().filter_map(guarded).collect()
}

/// What an attempt has to come to.
fn expected(row: &Row, api: &str, granted: &BTreeSet<(Vec<String>, String)>) -> Verdict {
    match (&row.rule, GUARD.contains(&api)) {
        (Some(_), true) => return exceptions(row, api),
        (None, false) => {}
        _ => return Verdict::Untold,
    }
    let addresses_denied = row.grants.iter().any(|flag| flag == "--deny-net=private");
    if row.host.is_empty() && row.raw == Verdict::Untold {
        return if URL.contains(&api) { exceptions(row, api) } else { Verdict::Untold };
    }
    match api {
        // A capability for an address does not resolve; and a port is not the business of a question.
        api if NAMES.contains(&api) => match row.raw {
            Verdict::Deny if !granted.contains(&(row.grants.clone(), row.host.clone())) => Verdict::Deny,
            _ => Verdict::Untold,
        },
        // Listening follows from no grant of these.
        "unix" | "fetch_unix" | "http_server" | "sammy" | "uds" | "uds_client" => Verdict::Deny,
        // Port 80 of the name is what is asked about.
        "ssl_sni" if granted.contains(&(row.grants.clone(), row.host.clone())) => Verdict::Untold,
        // The name that it asks for has to be granted as well as the server.
        "server" | "ssl_sni" if row.raw == Verdict::Deny => Verdict::Deny,
        "server" | "ssl_sni" => Verdict::Untold,
        // The gate's answer knows no addresses.
        "allows" if row.raw == Verdict::Address => Verdict::Untold,
        PINNED if addresses_denied && row.raw == Verdict::Deny => Verdict::Deny,
        PINNED => Verdict::Untold,
        api if RAW.contains(&api) => row.raw,
        api if BOTH.contains(&api) => match (row.raw, row.web) {
            (Verdict::Deny, Verdict::Allow) => Verdict::Untold,
            (_, web) => web,
        },
        api if PROXY.contains(&api) || URL.contains(&api) => exceptions(row, api),
        api => panic!("{api} is in no list"),
    }
}

/// Where one function reads a URL otherwise than the others.
fn exceptions(row: &Row, api: &str) -> Verdict {
    match (&*row.id, api) {
        // Redirects drop userinfo, and proxies have it as credentials.
        ("N31", api) if api.starts_with("redirect") || api.starts_with("proxy") => Verdict::Allow,
        // A Location ends with its line, and may be relative.
        ("N22" | "U106" | "U082" | "U083" | "U084" | "U085" | "U086", api) if api.contains("redirect") => {
            Verdict::Untold
        }
        // The scheme of a WebSocket.
        ("U150", api) if api.ends_with("websocket") => Verdict::Untold,
        _ => row.web,
    }
}

/// A script with grants, which makes one attempt after the other.
struct Attacker {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Attacker {
    fn new(grants: &[String]) -> Attacker {
        let mut child = Command::new(env!("CARGO_BIN_EXE_caspian-net"))
            .args(grants)
            .arg(format!("--allow-net={CONTROL}:80+1080+3128"))
            .arg(SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Attacker { child, stdin, stdout }
    }

    fn attempt(&mut self, api: &str, row: &Row) -> String {
        let rule = row.rule.as_deref().unwrap_or_default();
        let mut line = format!("{api}\t{}\t{}\t{}\t{rule}\n", escaped(&row.host), row.port, escaped(&row.url));
        self.stdin.write_all(line.as_bytes()).unwrap();
        line.clear();
        self.stdout.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{}: the script died at {api}", row.id);
        line
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'%' | 0..=31 | 127.. => write!(out, "%{byte:02x}").unwrap(),
            _ => out.push(char::from(byte)),
        }
        out
    })
}

const REFUSED: [&str; 5] =
    ["host_not_allowed", "port_not_allowed", "address_not_allowed", "request_not_allowed", "argument"];

fn refused(answer: &str) -> bool {
    REFUSED.contains(&answer.split_whitespace().next().unwrap_or_default())
}

fn run(world: &World, rows: &[Row]) -> String {
    let mut wrong = String::new();
    let (mut tried, mut reached) = (BTreeMap::new(), 0);
    let granted: BTreeSet<_> =
        rows.iter().filter(|row| row.raw == Verdict::Allow).map(|row| (row.grants.clone(), row.host.clone())).collect();
    let apis: Vec<&str> = [RAW, URL, GUARD, BOTH, PROXY, NAMES, NEVER, &[PINNED]].concat();
    let sets: BTreeSet<&Vec<String>> = rows.iter().map(|row| &row.grants).collect();
    for grants in sets {
        let mut attacker = Attacker::new(grants);
        world.calm();
        for phase in [Verdict::Deny, Verdict::Address, Verdict::Allow] {
            for row in rows.iter().filter(|row| row.grants == *grants) {
                for api in apis.iter().filter(|api| expected(row, api, &granted) == phase) {
                    *tried.entry(*api).or_insert(0) += 1;
                    let answer = attacker.attempt(api, row);
                    let what = format!(
                        "{} {api} {:?} {} {:?} with {grants:?}: {}",
                        row.id,
                        row.host,
                        row.url,
                        row.rule,
                        answer.trim()
                    );
                    let seen = match phase {
                        Verdict::Allow => {
                            let silent = *api == "allows";
                            let seen =
                                world.settle(|seen| silent || !seen.reached.is_empty() || !seen.proxied.is_empty());
                            if !silent && seen.reached.is_empty() && seen.proxied.is_empty() {
                                writeln!(wrong, "reached nobody: {what}").unwrap();
                            }
                            reached += usize::from(!silent);
                            if refused(&answer) {
                                writeln!(wrong, "refused: {what}").unwrap();
                            }
                            continue;
                        }
                        _ => world.take(),
                    };
                    let failed = phase == Verdict::Address && answer.starts_with("dns_failure")
                        || api.contains("redirect") && answer.starts_with("protocol");
                    if !refused(&answer) && !failed {
                        writeln!(wrong, "not refused: {what}").unwrap();
                    }
                    if !seen.reached.is_empty() || !seen.proxied.is_empty() {
                        writeln!(wrong, "REACHED {:?} {:?}: {what}", seen.reached, seen.proxied).unwrap();
                    }
                    let denied = |name: &String| name == "evil.test" || name.ends_with(".evil.test");
                    if phase == Verdict::Deny && !seen.asked.is_empty() || seen.asked.iter().any(denied) {
                        writeln!(wrong, "ASKED {:?}: {what}", seen.asked).unwrap();
                    }
                }
            }
            // What comes late came of this phase.
            let late = world.calm();
            if phase != Verdict::Allow && (!late.reached.is_empty() || !late.proxied.is_empty()) {
                writeln!(wrong, "REACHED, late: {:?} {:?} with {grants:?}", late.reached, late.proxied).unwrap();
            }
        }
    }
    let total: usize = tried.values().sum();
    let summary = format!("{} rows, {total} attempts, {reached} of them reach a server; {tried:?}", rows.len());
    std::io::stderr().write_all(format!("{summary}\n").as_bytes()).unwrap();
    if total < 5000 || reached < 500 {
        writeln!(wrong, "too few: {summary}").unwrap();
    }
    wrong
}

/// DNS that answers differently each time: what was checked is what is dialled.
fn rebinding(world: &World) -> String {
    let mut wrong = String::new();
    let grants = flags(&["--allow-net", "--deny-net=private"]);
    let mut attacker = Attacker::new(&grants);
    let (mut allowed, mut denied) = (0, 0);
    for turn in 0..1000 {
        let api = ["tcp", "fetch", "udp", "send_to", "websocket", "through_socks5h", "redirect", "fetch_all"][turn % 8];
        let row = Row {
            id: "flip".into(),
            rule: None,
            grants: grants.clone(),
            host: "flip.test".into(),
            port: 80,
            url: "http://flip.test/".into(),
            raw: Verdict::Untold,
            web: Verdict::Untold,
        };
        let answer = attacker.attempt(api, &row);
        if refused(&answer) {
            denied += 1
        } else {
            allowed += 1
        }
        let seen = world.settle(|seen| refused(&answer) || !seen.reached.is_empty() || !seen.proxied.is_empty());
        if seen.reached.iter().chain(&seen.proxied).any(|at| at.contains("10.0.0.9") || at.contains("flip")) {
            writeln!(wrong, "{api}, turn {turn}: {:?} {:?}", seen.reached, seen.proxied).unwrap();
        }
    }
    let seen = world.calm();
    if seen.reached.iter().any(|at| at.contains("10.0.0.9")) {
        writeln!(wrong, "late: {:?}", seen.reached).unwrap();
    }
    if allowed < 100 || denied < 100 {
        writeln!(wrong, "flip.test was allowed {allowed} times and denied {denied} times").unwrap();
    }
    wrong
}

fn scratch() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("namespace-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Runs [`inside`] in namespaces of its own.
#[test]
fn every_door_of_the_gate() {
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
    let mut unshare: Vec<&str> = vec!["--net", "--mount", "--kill-child"];
    if !root {
        unshare.push("--map-root-user");
    }
    let probe = Command::new("unshare")
        .args(&unshare)
        .args(["sh", "-c", "ip link set lo up && ip route add local 0.0.0.0/0 dev lo"])
        .output();
    if !probe.as_ref().is_ok_and(|out| out.status.success()) {
        let why = probe.map_or_else(|e| e.to_string(), |out| String::from_utf8_lossy(&out.stderr).trim().to_owned());
        // Past the harness, which keeps what a test that passes says to itself.
        let words = format!("SKIPPED every_door_of_the_gate: no network namespace can be made here ({why})\n");
        std::io::stderr().write_all(words.as_bytes()).unwrap();
        return;
    }
    let dir = scratch();
    let inside = Command::new("unshare")
        .args(&unshare)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "inside", "--ignored", "--nocapture"])
        .env(INSIDE, &dir)
        .output()
        .unwrap();
    let _ = std::fs::remove_dir_all(&dir);
    let said = String::from_utf8_lossy(&inside.stdout) + String::from_utf8_lossy(&inside.stderr);
    assert!(inside.status.success(), "{said}");
    assert!(said.contains(" attempts, "), "nothing was run: {said}");
}

/// Not a test of its own: what [`every_door_of_the_gate`] runs in the namespace.
#[test]
#[ignore = "run by every_door_of_the_gate, in a network namespace"]
fn inside() {
    let Some(dir) = std::env::var_os(INSIDE) else { return };
    let world = World::start(Path::new(&dir));
    let listed: BTreeSet<&str> = [RAW, URL, GUARD, BOTH, PROXY, NAMES, NEVER, &[PINNED]].concat().into_iter().collect();
    let said = Command::new(env!("CARGO_BIN_EXE_caspian-net")).args([SCRIPT, "apis"]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert_eq!(listed, said.lines().collect(), "every function of the script is in a list");
    let mut rows: Vec<Row> = own_rows().into_iter().chain(case_rows()).chain(address_rows()).collect();
    rows.extend(guard_rows(&rows));
    let wrong = run(&world, &rows) + &rebinding(&world);
    assert!(wrong.is_empty(), "\n{wrong}");
}
