//! C: connections that are kept, and those that must not be.

use crate::row::{Row, answer, close, ok, read, reset, row, say, told, with};
use crate::server::Turn;
use caspian_net::error::Kind;

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("C41 the server closes without a word")
            .a([ok("a"), vec![Turn::Told], close()])
            .a([ok("b")])
            .fetch()
            .gets(200, "a")
            .fetch()
            .after()
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("C42 GET on a dead connection: once more")
            .a([ok("a"), read(), close()])
            .a([ok("b")])
            .fetch()
            .gets(200, "a")
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 0, 1]),
        row("C42 GET, reset: once more")
            .a([ok("a"), read(), reset()])
            .a([ok("b")])
            .fetch()
            .gets(200, "a")
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 0, 1]),
        row("C42 GET, and the next connection is dead, too: not twice")
            .a([ok("a"), read(), close()])
            .a([read(), close()])
            .a([ok("never")])
            .fetch()
            .gets(200, "a")
            .fetch()
            .fails(Kind::ConnectionReset)
            .connections('a', 2),
        row("C42 PUT is idempotent, and its body can be sent again")
            .a([ok("a"), read(), close()])
            .a([ok("b")])
            .fetch()
            .gets(200, "a")
            .ask("PUT", "http://a.test:{a}/")
            .body("body")
            .gets(200, "b")
            .sees('a', 2, "\r\n\r\nbody", &[]),
        row("C42 POST on a dead connection: never again")
            .a([ok("a"), read(), close()])
            .a([ok("never")])
            .fetch()
            .gets(200, "a")
            .ask("POST", "http://a.test:{a}/")
            .body("body")
            .fails(Kind::ConnectionReset)
            .connections('a', 1),
        row("C42 PATCH neither")
            .a([ok("a"), read(), reset()])
            .a([ok("never")])
            .fetch()
            .gets(200, "a")
            .ask("PATCH", "http://a.test:{a}/")
            .fails(Kind::ConnectionReset)
            .connections('a', 1),
        row("C42 a new connection is not tried again")
            .a([read(), close()])
            .a([ok("never")])
            .fetch()
            .fails(Kind::ConnectionReset)
            .connections('a', 1),
        row("C43 part of a status line, then a reset")
            .a([ok("a"), read(), say("HTTP/1.1 2"), reset()])
            .a([ok("never")])
            .fetch()
            .gets(200, "a")
            .fetch()
            .fails(Kind::ConnectionReset)
            .connections('a', 1),
        row("C43 part of a status line, then the end")
            .a([ok("a"), read(), say("HTTP/1.1 2"), close()])
            .a([ok("never")])
            .fetch()
            .gets(200, "a")
            .fetch()
            .fails(Kind::ConnectionReset)
            .connections('a', 1),
        row("C44 an answer while idle")
            .a([ok("a"), say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), told()])
            .a([ok("b")])
            .fetch()
            .gets(200, "a")
            .fetch()
            .after()
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("C44 the same over TLS")
            .tls_a()
            .a([ok("a"), say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), told()])
            .a([ok("b")])
            .get("https://a.test:{a}/")
            .gets(200, "a")
            .get("https://a.test:{a}/")
            .after()
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("C45 408 and the end while idle")
            .a([ok("a"), say("HTTP/1.1 408 Slow\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), told(), close()])
            .a([ok("b")])
            .fetch()
            .gets(200, "a")
            .fetch()
            .after()
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("C46 Keep-Alive: timeout=0")
            .a([with("Keep-Alive: timeout=0\r\nContent-Length: 1", "a")])
            .a([ok("b")])
            .fetch()
            .gets(200, "a")
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("C46 Keep-Alive: timeout=18446744073709551615")
            .a([with("Keep-Alive: timeout=18446744073709551615\r\nContent-Length: 1", "a"), ok("b")])
            .fetch()
            .gets(200, "a")
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 0]),
        row("C46 the caller says Connection: close")
            .a([ok("a")])
            .a([ok("b")])
            .fetch()
            .field("Connection", "close")
            .gets(200, "a")
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("C46 until close")
            .a([answer("HTTP/1.1 200 OK\r\n\r\nabc"), close()])
            .a([ok("b")])
            .fetch()
            .gets(200, "abc")
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("C47 a body that is not read to its end")
            .a([with("Content-Length: 5", "hello")])
            .a([ok("b")])
            .fetch()
            .dropped(2)
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("C47 a body of which only the last CRLF is not read")
            .a([with("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")])
            .a([ok("b")])
            .fetch()
            .dropped(5)
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("C48 another verification, another connection")
            .tls_a()
            .a([ok("a")])
            .a([ok("b")])
            .get("https://a.test:{a}/")
            .gets(200, "a")
            .get("https://a.test:{a}/")
            .with(|o| o.tls.change(|tls| tls.verify = false))
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("C48 and back: what was not verified does not count as verified")
            .tls_a()
            .a([ok("a")])
            .a([ok("never")])
            .get("https://a.test:{a}/")
            .with(|o| o.tls.change(|tls| tls.verify = false))
            .gets(200, "a")
            .get("https://a.test:{a}/")
            .with(|o| o.tls.change(|tls| tls.pins = vec![[7; 32]]))
            .fails(Kind::Tls)
            .over('a', &[0]),
        row("C48 another name at the same address")
            .a([ok("a")])
            .a([ok("b")])
            .fetch()
            .gets(200, "a")
            .get("http://b.test:{a}/")
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("C48 another address for the same name")
            .a([ok("a")])
            .fetch()
            .gets(200, "a")
            .fetch()
            .with(|o| o.resolve.iter_mut().for_each(|(_, ip)| *ip = [127, 0, 0, 9].into()))
            .fails(Kind::ConnectionRefused)
            .over('a', &[0]),
    ];
    for head in [
        "HTTP/1.1 200 OK\r\nConnection: close",
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, close",
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: Close",
        "HTTP/1.0 200 OK",
    ] {
        rows.push(
            row("C46 not kept")
                .a([answer(format!("{head}\r\nContent-Length: 1\r\n\r\na"))])
                .a([ok("b")])
                .fetch()
                .gets(200, "a")
                .fetch()
                .gets(200, "b")
                .over('a', &[0, 1]),
        );
    }
    rows
}
