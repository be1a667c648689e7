//! The server closes, or resets, at every byte of its answer: an error or the right body, never a wrong one.

use crate::{
    row::defaults,
    server::{Below, Bound, Server, Turn},
};
use caspian_net::{
    client::{Fetch, pool::Pool},
    error::{Kind, Result},
    grants::Grants,
    http::{
        request::{Method, Request},
        url::HttpUrl,
    },
    net::Net,
};
use std::thread;

/// Name, transport, answer, and its body.
type Row = (&'static str, Below, Vec<u8>, &'static [u8]);

/// `hello world`.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\xcd\xc9\xc9\x57\x28\xcf\x2f\xca\x49\x01\x00\x85\x11\x4a\x0d\x0b\x00\x00\x00";

fn rows() -> Vec<Row> {
    let head = "HTTP/1.1 200 OK\r\n";
    let text = |rest: &str| format!("{head}{rest}").into_bytes();
    let chunked =
        text("Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\nY: z\r\n\r\n");
    let coded = |coding: &str, body: &[u8]| {
        [&text(&format!("Content-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n", body.len())), body].concat()
    };
    let gzip_chunked = [
        &text("Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"),
        &GZIP[..5],
        format!("\r\n{:x}\r\n", GZIP.len() - 5).as_bytes(),
        &GZIP[5..],
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let interim =
        ["HTTP/1.1 103 Early\r\nLink: x\r\n\r\n".as_bytes(), &text("Content-Length: 11\r\n\r\nhello world")].concat();
    vec![
        ("length", Below::Plain, text("Content-Length: 11\r\n\r\nhello world"), b"hello world"),
        ("length twice", Below::Plain, text("Content-Length: 11, 11\r\n\r\nhello world"), b"hello world"),
        ("chunked with trailers", Below::Plain, chunked.clone(), b"hello world"),
        ("gzip", Below::Plain, coded("gzip", GZIP), b"hello world"),
        ("gzip in chunks", Below::Plain, gzip_chunked, b"hello world"),
        // It says itself where it ends. But a body of no bytes is an empty one, in any coding.
        ("gzip until close", Below::Plain, [&text("Content-Encoding: gzip\r\n\r\n"), GZIP].concat(), b"hello world"),
        ("br", Below::Plain, coded("br", b"\x0b\x05\x80hello world\x03"), b"hello world"),
        (
            "zstd",
            Below::Plain,
            coded("zstd", b"\x28\xb5\x2f\xfd\x04\x58\x59\x00\x00hello world\x68\x69\x1e\xb2"),
            b"hello world",
        ),
        ("after an interim response", Below::Plain, interim, b"hello world"),
        ("length over TLS", Below::Tls, text("Content-Length: 11\r\n\r\nhello world"), b"hello world"),
        ("chunked over TLS", Below::Tls, chunked, b"hello world"),
        // Without close_notify nothing says that this is all of it: see `run`.
        ("until close over TLS", Below::Tls, text("\r\nhello world"), b"hello world"),
    ]
}

pub fn run() {
    thread::scope(|scope| {
        for (name, below, whole, body) in rows() {
            for end in [Turn::Close, Turn::Reset] {
                let whole = whole.clone();
                scope.spawn(move || every_byte(name, below, &whole, body, &end));
            }
        }
    });
}

fn every_byte(name: &str, below: Below, whole: &[u8], body: &[u8], end: &Turn) {
    let scripts: Vec<_> =
        (0..=whole.len()).map(|at| vec![Turn::Read, Turn::Say(whole[..at].to_vec()), end.clone()]).collect();
    let bound = Bound::new();
    let ports = [bound.port; 2];
    let server = Server::run(bound, below, scripts, ports);
    let net = Net::new(Grants::parse(&["--allow-net"]).unwrap()).unwrap();
    let scheme = if below == Below::Tls { "https" } else { "http" };
    let url = format!("{scheme}://a.test:{}/", ports[0]);
    let mut right = 0;
    for at in 0..=whole.len() {
        match fetch(&net, &url, ports) {
            Ok(got) => {
                let empty = got.is_empty() && name == "gzip until close" && whole[..at].ends_with(b"\r\n\r\n");
                if empty {
                    continue;
                }
                assert_eq!(got, body, "{name}, {end:?} at {at} of {}", whole.len());
                right += 1;
            }
            Err(err) => {
                // Where the connection's end is the body's, only the coding can tell.
                let fine = err.is(Kind::ConnectionReset) || name == "gzip until close" && err.is(Kind::Protocol);
                assert!(fine, "{name}, {end:?} at {at}: {err}");
            }
        }
    }
    if matches!(end, Turn::Close) {
        let wanted = if name.starts_with("until close") { 0 } else { 1 };
        assert_eq!(right, wanted, "{name}: only the whole answer is one");
    }
    drop(server);
}

fn fetch(net: &Net, url: &str, ports: [u16; 2]) -> Result<Vec<u8>> {
    let request = Request::new(Method::GET, HttpUrl::parse(url).unwrap(), None);
    let mut fetch = Fetch::new(net, &Pool::new(), request, None, defaults(ports));
    fetch.step()?;
    fetch.body()
}
