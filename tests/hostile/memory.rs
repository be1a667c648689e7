//! The memory of a process that fetches from a server that never stops: measured in a process of its own, this test
//! binary run again for one test.

use crate::{
    row::{answer, defaults, read, say, with},
    server::{Below, Bound, Server, Turn},
};
use caspian_net::{
    client::{Fetch, Http2, Options, pool::Pool},
    error::{Kind, Result},
    grants::Grants,
    http::{
        request::{Method, Request},
        url::HttpUrl,
    },
    net::Net,
};
use flate2::{Compress, Compression, FlushCompress};
use std::{
    env, fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// What a fetch may cost over the idle process.
const MOST_KIB: u64 = 32 * 1024;
/// The variable that makes the binary the child: port, cap of the body, how much of it to read in pieces, and whether HTTP/2 is spoken.
const CHILD: &str = "HOSTILE_CHILD";

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// Into memory, with this cap.
    Gathered(u64),
    /// Read and dropped, until it was so much.
    Streamed(usize),
}

type Row = (&'static str, Vec<Turn>, How, &'static str);

fn rows() -> Vec<Row> {
    const PROTOCOL: &str = "protocol";
    let most = How::Gathered(Options::default().max_body_bytes);
    let endless = |head: &str, again: &str| {
        [read(), say(format!("HTTP/1.1 200 OK\r\n{head}")), vec![Turn::Endless(again.into())]].concat()
    };
    let chunked = |head: &str, again: &str| endless(&format!("Transfer-Encoding: chunked\r\n\r\n{head}"), again);
    let coded = |coding: &str, (front, again): (Vec<u8>, Vec<u8>)| {
        [with(&format!("Content-Encoding: {coding}"), front), vec![Turn::Endless(again)]].concat()
    };
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
        ("a body in pieces", endless("\r\n", "x"), How::Streamed(8 << 20), "fine"),
        ("chunks in pieces", chunked("", "8\r\nxxxxxxxx\r\n"), How::Streamed(8 << 20), "fine"),
        (
            "E61 a length that is not true",
            [with("Content-Length: 9000000000000000000", "0123456789"), vec![Turn::Close]].concat(),
            How::Gathered(u64::MAX),
            "connection_reset",
        ),
        (
            "a chunk size that is not true",
            [with("Transfer-Encoding: chunked", "7FFFFFFFFFFFFFFF\r\n0123456789"), vec![Turn::Close]].concat(),
            How::Gathered(u64::MAX),
            "connection_reset",
        ),
        ("gzip of zeros", coded("gzip", endless_gzip()), How::Gathered(1 << 20), "too_large"),
        ("gzip of zeros, in pieces", coded("gzip", endless_gzip()), How::Streamed(24 << 20), "fine"),
        ("zstd of zeros", coded("zstd", endless_zstd(128 * 1024, b"")), How::Gathered(1 << 20), "too_large"),
        (
            "zstd of zeros, in pieces",
            coded("zstd", endless_zstd(128 * 1024, b"")),
            How::Streamed(64 << 20),
            "too_large",
        ),
        // Windows as large as may be, in both codings of a chain.
        ("zstd in zstd", coded("zstd, zstd", endless_zstd_in_zstd()), How::Streamed(64 << 20), "too_large"),
        ("br in zstd", coded("br, zstd", endless_br_in_zstd()), How::Streamed(128 << 20), "too_large"),
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

/// The same over HTTP/2, as far as it is not about chunks and lines.
#[cfg(feature = "http2")]
fn http2_rows() -> Vec<Row> {
    const PROTOCOL: &str = "protocol";
    let most = How::Gathered(Options::default().max_body_bytes);
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        [&(payload.len() as u32).to_be_bytes()[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    // Behind the preface, SETTINGS, and what acknowledges the client's, so that its windows count.
    let begun = |frames: &[u8]| {
        [vec![Turn::Take(24)], say([&frame(4, 0, 0, b"")[..], &frame(4, 1, 0, b""), frames].concat())].concat()
    };
    let endless = |frames: &[u8], again: Vec<u8>| [begun(frames), vec![Turn::Endless(again)]].concat();
    // Bytes of a body, no more of them than its window has room for.
    let body = |fields: &[u8], bytes: &[u8]| {
        let head = frame(1, 4, 1, &[b"\x88", fields].concat());
        let data: Vec<u8> = bytes.chunks(16384).flat_map(|part| frame(0, 0, 1, part)).collect();
        [begun(&[head, data].concat()), vec![Turn::Take(1 << 20)]].concat()
    };
    let (mut zeros, again) = endless_gzip();
    while zeros.len() + again.len() < 1 << 20 {
        zeros.extend_from_slice(&again);
    }
    let gzip = b"\0\x10content-encoding\x04gzip";
    vec![
        ("HTTP/2: interim responses", endless(b"", frame(1, 4, 1, b"\x48\x03103")), most, PROTOCOL),
        (
            "HTTP/2: a field",
            endless(&frame(1, 0, 1, b"\x88\0\x01a\x7f\xff\xff\xff\x7f"), frame(9, 0, 1, &[b'b'; 16384])),
            most,
            PROTOCOL,
        ),
        (
            "HTTP/2: fields",
            endless(&frame(1, 0, 1, b"\x88"), frame(9, 0, 1, &b"\0\x01a\x01b".repeat(3000))),
            most,
            PROTOCOL,
        ),
        (
            "HTTP/2: fields of a table",
            endless(
                &frame(1, 0, 1, &[&b"\x88\x40\x01a\x7f\xa1\x1e"[..], &[b't'; 4000]].concat()),
                frame(9, 0, 1, &[0xbe; 16384]),
            ),
            most,
            PROTOCOL,
        ),
        ("HTTP/2: PINGs", endless(b"", frame(6, 0, 0, b"12345678")), most, PROTOCOL),
        ("HTTP/2: SETTINGS", endless(b"", frame(4, 0, 0, b"\0\x04\0\0\xff\xff")), most, PROTOCOL),
        ("HTTP/2: frames of no known type", endless(b"", frame(66, 0, 1, &[0; 16384])), most, PROTOCOL),
        (
            "HTTP/2: padding",
            endless(&frame(1, 4, 1, b"\x88"), frame(0, 8, 1, &[&[255][..], &[0; 255]].concat())),
            most,
            PROTOCOL,
        ),
        ("HTTP/2: a body past its cap", body(b"", &vec![b'x'; 1 << 20]), How::Gathered(1 << 19), "too_large"),
        ("HTTP/2: a body in pieces", body(b"", &vec![b'x'; 1 << 20]), How::Streamed(1 << 20), "fine"),
        ("HTTP/2: gzip of zeros", body(gzip, &zeros), How::Gathered(1 << 20), "too_large"),
        ("HTTP/2: gzip of zeros, in pieces", body(gzip, &zeros), How::Streamed(24 << 20), "fine"),
    ]
}

/// A whole gzip member of nothing.
const EMPTY_GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0";

/// The head of a gzip member, and what can follow it, and itself, for ever: a MiB of zeros.
fn endless_gzip() -> (Vec<u8>, Vec<u8>) {
    let mut stretch = Vec::with_capacity(64 * 1024);
    let mut coder = Compress::new(Compression::best(), false);
    coder.compress_vec(&vec![0; 1 << 20], &mut stretch, FlushCompress::Full).unwrap();
    (EMPTY_GZIP[..10].to_vec(), stretch)
}

/// A frame with a window of 8 MiB, and blocks for ever: these bytes, then so many zeros.
fn endless_zstd(zeros: u32, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let block = |kind: u32, size: u32| (size << 3 | kind << 1).to_le_bytes()[..3].to_vec();
    let raw = if bytes.is_empty() { Vec::new() } else { [block(0, bytes.len() as u32), bytes.to_vec()].concat() };
    (ZSTD_FRAME.to_vec(), [raw, block(1, zeros), vec![0]].concat())
}

const ZSTD_FRAME: &[u8] = b"\x28\xb5\x2f\xfd\x00\x68";

/// Inside, the same frame with stored blocks of 128 KiB.
fn endless_zstd_in_zstd() -> (Vec<u8>, Vec<u8>) {
    let (front, again) = endless_zstd(128 * 1024, &[0, 0, 0x10]);
    (starting(front, ZSTD_FRAME), again)
}

/// Inside, br with a window of 16 MiB and stored blocks of 64 KiB.
fn endless_br_in_zstd() -> (Vec<u8>, Vec<u8>) {
    let (front, again) = endless_zstd(64 * 1024, &[0xf8, 0xff, 0x0f]);
    // The first block has the size of the window in front.
    let first = [&[0x8f, 0xff, 0xff][..], &[0; 65536]].concat();
    (starting(front, &first), again)
}

/// A frame whose first block is stored, and this.
fn starting(front: Vec<u8>, bytes: &[u8]) -> Vec<u8> {
    [front, ((bytes.len() as u32) << 3).to_le_bytes()[..3].to_vec(), bytes.to_vec()].concat()
}

pub fn run() {
    let rows: Vec<(Row, bool)> = rows().into_iter().map(|row| (row, false)).collect();
    #[cfg(feature = "http2")]
    let rows = [rows, http2_rows().into_iter().map(|row| (row, true)).collect()].concat();
    thread::scope(|scope| {
        // Two at a time: the servers are threads of this process, the fetches are processes.
        for lane in 0..2 {
            let rows = &rows;
            scope.spawn(move || rows.iter().skip(lane).step_by(2).for_each(one));
        }
    });
}

fn one(((name, script, how, expected), http2): &(Row, bool)) {
    let bound = Bound::new();
    let ports = [bound.port; 2];
    let server = Server::run(bound, Below::Plain, vec![script.clone(); 12], ports);
    let how = match how {
        How::Gathered(most) => format!("{most} 0"),
        How::Streamed(enough) => format!("0 {enough}"),
    };
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "memory_child", "--nocapture"])
        .env(CHILD, format!("{} {how} {}", ports[0], u8::from(*http2)))
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
    let mut numbers = order.split(' ').map(|word| word.parse::<u64>().unwrap());
    let mut next = || numbers.next().unwrap();
    let (port, most, enough) = (u16::try_from(next()).unwrap(), next(), usize::try_from(next()).unwrap());
    let net = Net::new(Grants::parse(&["--allow-net"]).unwrap()).unwrap();
    let http2 = if next() == 1 { Http2::Prior } else { Http2::Never };
    let timeout = Some(Duration::from_secs(10));
    let options = Options { timeout, max_body_bytes: most, http2, ..defaults([port; 2]) };
    let idle = peak();
    let outcome = match fetch(&net, port, options, enough) {
        Ok(()) => "fine".into(),
        Err(err) => format!("{} {err}", err.kind().word()),
    };
    println!("peak: {} {outcome}", peak() - idle);
}

fn fetch(net: &Net, port: u16, options: Options, enough: usize) -> Result<()> {
    let url = HttpUrl::parse(&format!("http://a.test:{port}/")).unwrap();
    let mut fetch = Fetch::new(net, &Pool::new(), Request::new(Method::GET, url, None), None, options);
    fetch.step()?;
    if enough == 0 {
        return fetch.body().map(drop);
    }
    let (mut buffer, mut count) = (vec![0; 64 * 1024], 0);
    while count < enough {
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
