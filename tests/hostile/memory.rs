//! The memory of a process that fetches from a server that never stops: measured in a process of its own, this test
//! binary run again for one test.

use crate::{
    row::{answer, defaults, read, say, with},
    server::{Below, Bound, Server, Turn},
};
use caspian_net::{
    error::{Kind, Result},
    grants::Grants,
    http::{
        client::{Fetch, Options},
        pool::Pool,
        request::{Method, Request},
        url::HttpUrl,
    },
    net::Net,
};
use std::{
    env, fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// What a fetch may cost over the idle process.
const MOST_KIB: u64 = 32 * 1024;
/// The variable that makes the binary the child: port, cap of the body, and whether it is read in pieces.
const CHILD: &str = "HOSTILE_CHILD";
/// Read in pieces, so much of an endless body is enough.
const ENOUGH: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// Into memory, with this cap.
    Gathered(u64),
    /// Read and dropped.
    Streamed,
}

type Row = (&'static str, Vec<Turn>, How, &'static str);

fn rows() -> Vec<Row> {
    const PROTOCOL: &str = "protocol";
    let most = How::Gathered(Options::default().max_body_bytes);
    let endless = |head: &str, again: &str| {
        [read(), say(format!("HTTP/1.1 200 OK\r\n{head}")), vec![Turn::Endless(again.into())]].concat()
    };
    let chunked = |head: &str, again: &str| endless(&format!("Transfer-Encoding: chunked\r\n\r\n{head}"), again);
    vec![
        ("a header", endless("A: ", "b"), most, PROTOCOL),
        ("a header's name", endless("", "a"), most, PROTOCOL),
        ("headers", endless("", "A: b\r\n"), most, PROTOCOL),
        ("a status line", [read(), vec![Turn::Endless(b"HTTP/1.1 200 ".into())]].concat(), most, PROTOCOL),
        ("interim responses", [read(), vec![Turn::Endless(b"HTTP/1.1 102 P\r\n\r\n".into())]].concat(), most, PROTOCOL),
        ("a trailer", chunked("0\r\nA: ", "b"), most, PROTOCOL),
        ("trailers", chunked("0\r\n", "A: b\r\n"), most, PROTOCOL),
        ("a chunk extension", chunked("1;", "e"), most, PROTOCOL),
        ("chunk extensions", chunked("", "1;e=f\r\nx\r\n"), most, PROTOCOL),
        ("a body past its cap", endless("\r\n", "x"), How::Gathered(1 << 20), "too_large"),
        ("chunks past the cap", chunked("", "1\r\nx\r\n"), How::Gathered(1 << 20), "too_large"),
        ("a body in pieces", endless("\r\n", "x"), How::Streamed, "fine"),
        ("chunks in pieces", chunked("", "8\r\nxxxxxxxx\r\n"), How::Streamed, "fine"),
        (
            "E61 a length that is not true",
            [with("Content-Length: 9000000000000000000", "0123456789"), vec![Turn::Close]].concat(),
            How::Gathered(u64::MAX),
            PROTOCOL,
        ),
        (
            "a chunk size that is not true",
            [with("Transfer-Encoding: chunked", "7FFFFFFFFFFFFFFF\r\n0123456789"), vec![Turn::Close]].concat(),
            How::Gathered(u64::MAX),
            PROTOCOL,
        ),
        (
            "redirects with endless bodies",
            [
                answer("HTTP/1.1 302 Go\r\nLocation: /\r\nContent-Length: 1000000000000\r\n\r\n"),
                vec![Turn::Endless(b"x".into())],
            ]
            .concat(),
            most,
            PROTOCOL,
        ),
    ]
}

pub fn run() {
    let rows = rows();
    thread::scope(|scope| {
        // Two at a time: the servers are threads of this process, the fetches are processes.
        for lane in 0..2 {
            let rows = &rows;
            scope.spawn(move || rows.iter().skip(lane).step_by(2).for_each(one));
        }
    });
}

fn one((name, script, how, expected): &Row) {
    let bound = Bound::new();
    let ports = [bound.port; 2];
    let server = Server::run(bound, Below::Plain, vec![script.clone(); 12], ports);
    let how = match how {
        How::Gathered(most) => most.to_string(),
        How::Streamed => "streamed".into(),
    };
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "memory_child", "--nocapture"])
        .env(CHILD, format!("{} {how}", ports[0]))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    let line = text.lines().find_map(|line| line.split_once("peak: ")).unwrap_or_else(|| panic!("{name}: {text}")).1;
    let mut words = line.split(' ');
    let (peak, kind) = (words.next().unwrap().parse::<u64>().unwrap(), words.next().unwrap());
    assert_eq!(kind, *expected, "{name}: {line}");
    assert!(peak < MOST_KIB, "{name}: {peak} KiB over the idle process");
    drop(server);
}

/// The child: fetches, and says how far its memory rose, in KiB.
pub fn child() {
    let Ok(order) = env::var(CHILD) else { return };
    let (port, how) = order.split_once(' ').unwrap();
    let port: u16 = port.parse().unwrap();
    let most = how.parse().ok();
    let net = Net::new(Grants::parse(&["--allow-net"]).unwrap()).unwrap();
    let mut options = Options { timeout: Some(Duration::from_secs(10)), ..defaults([port; 2]) };
    options.max_body_bytes = most.unwrap_or(options.max_body_bytes);
    let idle = peak();
    let outcome = match fetch(&net, port, options, most.is_none()) {
        Ok(()) => "fine".into(),
        Err(err) => format!("{} {err}", err.kind().word()),
    };
    println!("peak: {} {outcome}", peak() - idle);
}

fn fetch(net: &Net, port: u16, options: Options, streamed: bool) -> Result<()> {
    let url = HttpUrl::parse(&format!("http://a.test:{port}/")).unwrap();
    let mut fetch = Fetch::new(net, &Pool::new(), Request::new(Method::GET, url, None), None, options);
    fetch.step()?;
    if !streamed {
        return fetch.body().map(drop);
    }
    let (mut buffer, mut count) = (vec![0; 64 * 1024], 0);
    while count < ENOUGH {
        match fetch.read(&mut buffer)? {
            0 => return Err(caspian_net::error::Error::new(Kind::Socket, "it ended")),
            some => count += some,
        }
    }
    Ok(())
}

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
