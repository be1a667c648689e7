//! B: framing and smuggling, over sockets. The same bytes and many more go through the exchange alone, cut in every way,
//! in `http_framing.rs`.

use crate::row::{Row, answer, close, ok, read, row, say, told, with};
use crate::server::Turn;
use caspian_net::error::Kind;

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("B23 chunked with a length: refused (the contract decides)")
            .a([with("Transfer-Encoding: chunked\r\nContent-Length: 5", "5\r\nhello\r\n0\r\n\r\n")])
            .a([ok("b")])
            .fetch()
            .refused()
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("B24 chunked on HTTP/1.0")
            .a([answer("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), close()])
            .fetch()
            .refused(),
        row("B28 a chunk extension of 100 bytes and a quoted one")
            .a([with("Transfer-Encoding: chunked", format!("5;a=\"b;c\"\r\nhello\r\n1;{}\r\n!\r\n0\r\n\r\n", "e".repeat(100)))])
            .fetch()
            .gets(200, "hello!"),
        row("B30 trailers are no headers: none redirects, frames or sets a cookie")
            .a([
                with(
                    "Transfer-Encoding: chunked",
                    "5\r\nhello\r\n0\r\nContent-Length: 3\r\nLocation: /x\r\nSet-Cookie: a=b\r\nConnection: close\r\n\r\n",
                ),
                ok("b"),
            ])
            .fetch()
            .gets(200, "hello")
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 0])
            .sees('a', 1, "GET / ", &["cookie"]),
        row("B35 101 unasked")
            .a([answer("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")])
            .fetch()
            .refused(),
        row("B35 101 with an Upgrade header of the caller's: that is what `websocket` is for")
            .a([answer("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")])
            .fetch()
            .field("Upgrade", "x")
            .refused(),
        row("B37 interim responses, then the final one")
            .a([answer(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 Early\r\nLocation: /x\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            )])
            .fetch()
            .gets(200, "hi"),
        row("B37 a thousand interim responses")
            .a([answer("HTTP/1.1 102 Processing\r\n\r\n".repeat(1000))])
            .fetch()
            .refused(),
        row("B37 interim responses for ever")
            .a([read(), vec![Turn::Endless(b"HTTP/1.1 100 Continue\r\n\r\n".into())]])
            .fetch()
            .refused(),
        row("B37 100, then the end")
            .a([answer("HTTP/1.1 100 Continue\r\n\r\n"), close()])
            .fetch()
            .fails(Kind::ConnectionReset),
        row("B38 shorter than announced")
            .a([with("Content-Length: 100", "x".repeat(50)), close()])
            .fetch()
            .fails(Kind::ConnectionReset)
            .saying("50 bytes are missing"),
        row("B38 no last chunk")
            .a([with("Transfer-Encoding: chunked", "5\r\nhello\r\n"), close()])
            .fetch()
            .fails(Kind::ConnectionReset),
        row("B38 TLS: until close, and no close_notify")
            .tls_a()
            .a([answer("HTTP/1.1 200 OK\r\n\r\nhello"), close()])
            .get("https://a.test:{a}/")
            .fails(Kind::ConnectionReset),
        row("B38 TLS: until close, and close_notify")
            .tls_a()
            .a([answer("HTTP/1.1 200 OK\r\n\r\nhello"), vec![Turn::Notify]])
            .get("https://a.test:{a}/")
            .gets(200, "hello"),
        row("B38 TLS: a length says where it ends, close_notify or not")
            .tls_a()
            .a([ok("hello"), close()])
            .a([ok("again")])
            .get("https://a.test:{a}/")
            .gets(200, "hello"),
        row("B39 a length, and the server does not close")
            .a([answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")])
            .fetch()
            .within(3000)
            .gets(200, "hello"),
        row("B40 bytes after the body: not the next answer")
            .a([with("Content-Length: 5", "helloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")])
            .a([ok("b")])
            .fetch()
            .gets(200, "hello")
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("B40 bytes after the last chunk")
            .a([with("Transfer-Encoding: chunked", "0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")])
            .a([ok("b")])
            .fetch()
            .gets(200, "")
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("B40 bytes after the body, later")
            .a([ok("hello"), say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), told()])
            .a([ok("b")])
            .fetch()
            .gets(200, "hello")
            .fetch()
            .after()
            .gets(200, "b")
            .over('a', &[0, 1]),
    ];
    // B22, B24 to B27, B29, B31 to B34: refused, and the connection is not used again. Line by line after the status line.
    for (name, lines) in [
        ("B22 two different lengths", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        ("B22 two different lengths in a list", "Content-Length: 5,6\r\n\r\nhello!"),
        ("B22 an empty member", "Content-Length: 5,\r\n\r\nhello"),
        ("B22 plus", "Content-Length: +5\r\n\r\nhello"),
        ("B22 minus", "Content-Length: -1\r\n\r\nhello"),
        ("B22 hexadecimal", "Content-Length: 0x5\r\n\r\nhello"),
        ("B22 two numbers", "Content-Length: 5 6\r\n\r\nhello"),
        ("B22 2^64", "Content-Length: 18446744073709551616\r\n\r\nhello"),
        ("B24 chunked, gzip", "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
        ("B24 gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("B24 chunked, chunked", "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        ("B24 xchunked", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("B24 a parameter", "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
        ("B25 plus", "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n"),
        ("B25 prefix", "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
        ("B25 minus", "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"),
        ("B25 empty", "Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n"),
        ("B25 seventeen digits", "Transfer-Encoding: chunked\r\n\r\n00000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("B25 2^64 - 1", "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nhello"),
        ("B26 no CRLF after the data", "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n"),
        ("B27 line feeds alone", "Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n"),
        ("B27 a line feed in an extension", "Transfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n"),
        ("B27 a carriage return in an extension", "Transfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("B31 a bare carriage return", "A: b\rc\r\nContent-Length: 5\r\n\r\nhello"),
        ("B31 NUL", "A: b\0c\r\nContent-Length: 5\r\n\r\nhello"),
        ("B31 a control character in a name", "A\x01: b\r\nContent-Length: 5\r\n\r\nhello"),
        ("B32 obs-fold of two lengths", "Content-Length: 5\r\n 5\r\n\r\nhello"),
        ("B24 nothing but commas", "Transfer-Encoding: ,\r\n\r\n0\r\n\r\n"),
        ("B25 a bare semicolon", "Transfer-Encoding: chunked\r\n\r\n5;\r\nhello\r\n0\r\n\r\n"),
        ("B32 a first line with a leading space", " A: b\r\nContent-Length: 5\r\n\r\nhello"),
        ("B33 a space before the colon", "Content-Length : 5\r\n\r\nhello"),
        ("B33 an empty name", ": b\r\nContent-Length: 5\r\n\r\nhello"),
        ("B33 no colon", "A\r\nContent-Length: 5\r\n\r\nhello"),
        ("B33 not a token", "A{}: b\r\nContent-Length: 5\r\n\r\nhello"),
    ] {
        rows.push(
            row(name)
                .a([answer(format!("HTTP/1.1 200 OK\r\n{lines}"))])
                .a([ok("b")])
                .fetch()
                .refused()
                .fetch()
                .gets(200, "b")
                .over('a', &[0, 1]),
        );
    }
    for line in [
        "HTTP/1.2 200 OK",
        "HTTP/11.1 200 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 -20 OK",
        "HTTP/1.1 099 OK",
        "HTTP/2.0 200 OK",
        "RTSP/1.0 200 OK",
        "ICY 200 OK",
        "<html>",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 O\0K",
    ] {
        rows.push(
            row("B34 a status line that is none, B31")
                .a([answer(format!("{line}\r\nContent-Length: 2\r\n\r\nhi"))])
                .fetch()
                .refused(),
        );
    }
    // B29, B30, E58: for ever, and over as soon as the budget is.
    for (name, head, again) in [
        ("B29 an endless chunk extension", "Transfer-Encoding: chunked\r\n\r\n5;", "e"),
        ("B29 endless small extensions", "Transfer-Encoding: chunked\r\n\r\n", "1;eeeeeeee\r\nx\r\n"),
        ("B30 an endless trailer", "Transfer-Encoding: chunked\r\n\r\n0\r\nA: ", "b"),
        ("B30 endless trailers", "Transfer-Encoding: chunked\r\n\r\n0\r\n", "A: b\r\n"),
        ("E58 an endless header line", "A: ", "b"),
        ("E58 endless headers", "", "A: b\r\n"),
        ("E58 an endless name", "", "A"),
    ] {
        rows.push(
            row(name)
                .a([read(), say(format!("HTTP/1.1 200 OK\r\n{head}")), vec![Turn::Endless(again.into())]])
                .fetch()
                .refused(),
        );
    }
    // B22, the good ones.
    for lines in ["Content-Length: 5, 5", "Content-Length: 5\r\nContent-Length: 5"] {
        rows.push(
            row("B22 a length said twice")
                .a([with(lines, "hello"), ok("b")])
                .fetch()
                .gets(200, "hello")
                .fetch()
                .gets(200, "b")
                .over('a', &[0, 0]),
        );
    }
    // B36: a body where there is none closes the connection.
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
        rows.push(
            row("B36 a body that is not there")
                .a([answer(format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\nhello"))])
                .a([ok("b")])
                .ask(method, "http://a.test:{a}/")
                .gets(status, "")
                .fetch()
                .gets(200, "b")
                .over('a', &[0, 1]),
        );
    }
    rows
}
