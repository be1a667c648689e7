//! E: codings of bodies, on the wire. What each coding does with each byte is in `src/http/decode/tests.rs`.

use crate::row::{Row, answer, close, ok, row, say, to, with};
use crate::server::Turn;
use caspian_net::error::Kind;
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

pub fn rows() -> Vec<Row> {
    let hello = gzip(b"hello");
    let length = hello.len();
    let coded = |lines: &str, body: &[u8]| with(&format!("{lines}\r\nContent-Length: {}", body.len()), body);
    let half = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
    let chunks: Vec<u8> = hello.iter().flat_map(|byte| [b"1\r\n".as_slice(), &[*byte], b"\r\n"].concat()).collect();
    let chunked = [chunks.as_slice(), b"0\r\n\r\n"].concat();
    let zeros = gzip(&vec![0; 3 << 20]);
    let bomb = gzip(&gzip(&vec![0; 40 << 20]));
    vec![
        row("E60 gzip, and the connection is kept")
            .a([coded("Content-Encoding: gzip", &hello), ok("next")])
            .fetch()
            .gets(200, "hello")
            .sees('a', 0, "Accept-Encoding: gzip, deflate, br, zstd\r\n", &[])
            .fetch()
            .gets(200, "next")
            .over('a', &[0, 0]),
        row("E60 gzip in chunks of a byte")
            .a([with("Content-Encoding: X-Gzip\r\nTransfer-Encoding: chunked", &chunked)])
            .fetch()
            .gets(200, "hello"),
        row("E60 gzip until the connection closes")
            .a([with("Content-Encoding: identity, gzip", &hello), close()])
            .fetch()
            .gets(200, "hello"),
        row("E60 read byte by byte").a([coded("Content-Encoding: gzip", &hello)]).fetch().by(1).gets(200, "hello"),
        row("E60 not asked for, handed out as it came")
            .a([coded("Content-Encoding: gzip", &hello)])
            .fetch()
            .with(|o| o.decompress = false)
            .gets(200, hello.clone())
            .sees('a', 0, "GET / ", &["accept-encoding"]),
        row("E60 the caller's own Accept-Encoding")
            .a([coded("Content-Encoding: gzip", &hello)])
            .fetch()
            .field("Accept-Encoding", "gzip")
            .gets(200, "hello")
            .sees('a', 0, "Accept-Encoding: gzip\r\n", &["deflate"]),
        row("E60 a coding that nobody knows").a([coded("Content-Encoding: none", b"hello")]).fetch().gets(200, "hello"),
        row("E60 a part of a coded body is handed out as it came")
            .a([answer(b"HTTP/1.1 206 P\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")])
            .fetch()
            .field("Range", "bytes=5-7")
            .gets(206, "abc")
            .sees('a', 0, "Accept-Encoding: identity\r\n", &["gzip"]),
        row("E60 an empty body")
            .a([coded("Content-Encoding: gzip", b""), coded("Content-Encoding: br, zstd", b"")])
            .fetch()
            .fetch()
            .over('a', &[0, 0]),
        row("E60 HEAD, 204 and 304")
            .a([
                answer(format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n")),
                answer("HTTP/1.1 304 N\r\nContent-Encoding: gzip\r\n\r\n"),
                answer("HTTP/1.1 204 N\r\nContent-Encoding: gzip\r\n\r\n"),
            ])
            .ask("HEAD", "http://a.test:{a}/")
            .fetch()
            .gets(304, "")
            .fetch()
            .gets(204, ""),
        row("E60 corrupt").a([coded("Content-Encoding: gzip", b"hello")]).fetch().refused().saying("gzip"),
        row("E60 truncated, in a body of the announced length")
            .a([coded("Content-Encoding: gzip", &hello[..length - 1])])
            .fetch()
            .refused()
            .saying("too early"),
        row("E60 truncated by the end of the connection")
            .a([with("Content-Encoding: gzip", &hello[..length - 1]), close()])
            .fetch()
            .refused(),
        row("E60 cut by the end of the connection")
            .a([answer(&half), say(&hello[..8]), close()])
            .fetch()
            .fails(Kind::ConnectionReset),
        row("E60 followed by what is not gzip, and the connection is kept")
            .a([coded("Content-Encoding: gzip", &[hello.as_slice(), b"garbage"].concat()), ok("next")])
            .fetch()
            .gets(200, "hello")
            .fetch()
            .gets(200, "next")
            .over('a', &[0, 0]),
        row("E59 chained three times")
            .a([coded("Content-Encoding: gzip, gzip\r\nContent-Encoding: gzip", &hello)])
            .fetch()
            .refused()
            .saying("chained"),
        row("E59 larger than max_body_bytes once it is decoded")
            .a([coded("Content-Encoding: gzip", &zeros)])
            .fetch()
            .with(|o| o.max_body_bytes = (3 << 20) - 1)
            .fails(Kind::TooLarge),
        row("E59 as large as max_body_bytes")
            .a([coded("Content-Encoding: gzip", &zeros)])
            .fetch()
            .with(|o| o.max_body_bytes = 3 << 20)
            .gets(200, vec![0; 3 << 20]),
        row("E59 a bomb, gathered")
            .a([coded("Content-Encoding: gzip, gzip", &bomb)])
            .fetch()
            .fails(Kind::TooLarge)
            .saying("expands"),
        row("E59 a bomb, streamed")
            .a([coded("Content-Encoding: gzip, gzip", &bomb)])
            .fetch()
            .by(65536)
            .fails(Kind::TooLarge)
            .saying("expands"),
        row("E59 gzip members without content, for ever: the total counts")
            .a([
                with("Content-Encoding: gzip", ""),
                vec![Turn::Endless(b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0".into())],
            ])
            .fetch()
            .within(300)
            .fails(Kind::Timeout),
        row("E59 br in br: two large windows")
            .a([coded("Content-Encoding: br, br", b"\x3b")])
            .fetch()
            .refused()
            .saying("br"),
        row("A19 a redirect's codings are not even counted")
            .a([
                answer(
                    "HTTP/1.1 302 Go\r\nLocation: /x\r\nContent-Encoding: br, br, br\r\nContent-Length: 4\r\n\r\nnope",
                ),
                ok("x"),
            ])
            .fetch()
            .gets(200, "x")
            .over('a', &[0, 0]),
        row("E59 a zstd window of 2 GiB")
            .a([coded("Content-Encoding: zstd", b"\x28\xb5\x2f\xfd\x00\xa8\x1b\0\0x")])
            .fetch()
            .fails(Kind::TooLarge)
            .saying("window"),
        row("A19 a redirect's coded body is not decoded")
            .a([
                answer("HTTP/1.1 302 Go\r\nLocation: /x\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"),
                ok("x"),
            ])
            .fetch()
            .gets(200, "x")
            .over('a', &[0, 0]),
        row("E60 after a redirect")
            .a([to(302, "/x"), coded("Content-Encoding: gzip", &hello)])
            .fetch()
            .gets(200, "hello"),
    ]
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(data).unwrap();
    out.finish().unwrap()
}
