//! D: time. Each row ends by its own deadline or by the server's doing; nobody waits for the row's ten seconds.

use crate::{
    ms,
    row::{Row, answer, close, ok, read, reset, row, say, to, with},
    server::Turn,
};
use caspian_net::{client::Options, error::Kind, http::retry::Retry};

/// A record of the beginning of a handshake message that is 16 MiB long.
const HANDSHAKE: &[u8] = b"\x16\x03\x03\x00\x08\x02\xff\xff\xff\x03\x03\x00\x00";

fn drip(text: &str) -> Vec<Turn> {
    vec![Turn::Drip(text.into(), ms(20))]
}

/// Three further tries, soon after one another.
fn again(options: &mut Options) {
    options.retry = Some(Retry { backoff: ms(5), ..Retry::default() });
}

fn busy(after: &str) -> Vec<Turn> {
    answer(format!("HTTP/1.1 503 Busy\r\nRetry-After: {after}\r\nContent-Length: 2\r\n\r\nno"))
}

/// D57: what `Retry-After` may say. No wait is begun that is longer than `max_wait` or would end past the deadline.
fn retries() -> Vec<Row> {
    let mut rows = vec![
        row("D57 busy for ever: three further tries")
            .a([busy("0"), busy("0"), busy("0"), busy("0"), ok("never")])
            .fetch()
            .with(again)
            .gets(503, "no")
            .over('a', &[0; 4]),
        row("D57 a wait past the deadline is not begun")
            .a([busy("2"), ok("never")])
            .fetch()
            .with(|o| (o.retry, o.timeout) = (Some(Retry::default()), Some(ms(1000))))
            .gets(503, "no")
            .over('a', &[0]),
        row("D57 resets for ever: three further tries")
            .a([read(), reset()])
            .a([read(), reset()])
            .a([read(), reset()])
            .a([read(), reset()])
            .a([ok("never")])
            .fetch()
            .with(again)
            .fails(Kind::ConnectionReset)
            .connections('a', 4),
        row("D57 a body that was cut is asked for again")
            .a([with("Content-Length: 5", "hell"), close()])
            .a([with("Transfer-Encoding: chunked", "5\r\nhello\r\n"), close()])
            .a([ok("a")])
            .fetch()
            .with(again)
            .gets(200, "a")
            .connections('a', 3),
        row("D57 a body that is broken is not")
            .a([with("Transfer-Encoding: chunked", "z\r\n"), close()])
            .a([ok("never")])
            .fetch()
            .with(again)
            .refused()
            .connections('a', 1),
        row("D57 a busy answer with an endless body")
            .a([answer("HTTP/1.1 503 Busy\r\n\r\n"), vec![Turn::Endless(vec![b'x'])]])
            .a([ok("a")])
            .fetch()
            .with(again)
            .gets(200, "a")
            .over('a', &[0, 1]),
        row("D57 POST is not asked again")
            .a([busy("0"), ok("never")])
            .ask("POST", "http://a.test:{a}/")
            .body("body")
            .with(again)
            .gets(503, "no")
            .over('a', &[0]),
        row("D57 what a redirect dropped stays dropped")
            .a([to(302, "http://b.test:{b}/x")])
            .b([busy("0"), ok("b")])
            .fetch()
            .field("Authorization", "Bearer s3cret")
            .with(again)
            .gets(200, "b")
            .sees('b', 0, "GET /x ", &["s3cret"])
            .sees('b', 1, "GET /x ", &["s3cret"]),
    ];
    for long in ["3600", "Wed, 21 Oct 2099 07:28:00 GMT", "1000000000000000000000000000000", "18446744073709551616"] {
        rows.push(
            row("D57 a long time").a([busy(long), ok("never")]).fetch().with(again).gets(503, "no").over('a', &[0]),
        );
    }
    for nothing in ["-1", "soon", "", "1e3", "0x10", "Wed, 99 Foo 2099 99:99:99 GMT"] {
        rows.push(
            row("D57 nothing that is a time")
                .a([busy(nothing), ok("a")])
                .fetch()
                .with(again)
                .gets(200, "a")
                .over('a', &[0, 0]),
        );
    }
    rows
}

/// D56: a body that waits for the server's word. Sent unasked, this one would be a request of its own.
fn expectations() -> Vec<Row> {
    const BODY: &str = "GET /body HTTP/1.1\r\n\r\n";
    let head = || vec![Turn::Head];
    let asked = |row: Row| row.ask("PUT", "http://a.test:{a}/").field("Expect", "100-continue").body(BODY);
    let go = "HTTP/1.1 100 Continue\r\n\r\n";
    let refusal = |status: u16| say(format!("HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno"));
    vec![
        asked(row("D56 100 Continue").a([
            head(),
            say(go),
            read(),
            say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"),
        ]))
        .gets(200, "a")
        .sees('a', 1, "GET /body ", &[]),
        asked(row("D56 no word: the body goes after a second").a([head(), ok("a")])).gets(200, "a").sees(
            'a',
            1,
            BODY,
            &[],
        ),
        asked(row("D56 no word, and less than a second: the deadline holds").a([head(), ok("a")]))
            .within(200)
            .fails(Kind::Timeout),
        asked(row("D56 417: once more, without").a([head(), refusal(417), read()]).a([ok("a")]))
            .gets(200, "a")
            .over('a', &[0, 1])
            .sees('a', 1, BODY, &["expect"]),
        asked(row("D56 417 for ever").a([head(), refusal(417), read()]).a([read(), refusal(417)]))
            .gets(417, "no")
            .connections('a', 2),
        asked(row("D56 an answer instead: the body is not sent, and half a request not followed by another").a([
            head(),
            refusal(403),
            read(),
        ]))
        .gets(403, "no")
        .a([ok("b")])
        .fetch()
        .gets(200, "b")
        .over('a', &[0, 1]),
        asked(row("D56 other interim responses are no word").a([head(), say("HTTP/1.1 102 P\r\n\r\n".repeat(17))]))
            .refused(),
        asked(row("D56 the end instead").a([head(), close()])).fails(Kind::ConnectionReset),
        asked(row("D56 a redirect instead, to another origin: the body goes there").a([
            head(),
            say("HTTP/1.1 307 Go\r\nLocation: http://b.test:{b}/\r\nContent-Length: 0\r\n\r\n"),
            read(),
        ]))
        .b([ok("b")])
        .gets(200, "b")
        .over('a', &[0])
        .sees('b', 0, BODY, &["expect"]),
    ]
}

pub fn rows() -> Vec<Row> {
    let mut rows = retries();
    rows.extend(expectations());
    rows.extend(waits());
    rows
}

fn waits() -> Vec<Row> {
    let long = "x".repeat(1000);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let large = vec![7u8; 64 << 20];
    vec![
        row("D51 accepts, never speaks TLS")
            .a([vec![]])
            .get("https://a.test:{a}/")
            .with(|o| o.connect_timeout = Some(ms(200)))
            .fails(Kind::Timeout)
            .connections('a', 1),
        row("D51 accepts, speaks something that is not TLS")
            .a([say("220 mail.example ESMTP\r\n")])
            .get("https://a.test:{a}/")
            .fails(Kind::Tls),
        row("D51 a handshake that drips")
            .a([say("\x16\x03\x03\x40\x00"), drip(&long)])
            .get("https://a.test:{a}/")
            .with(|o| o.connect_timeout = Some(ms(200)))
            .fails(Kind::Timeout)
            .connections('a', 1),
        row("D51 a handshake without an end")
            .a([vec![Turn::Endless(HANDSHAKE.into())]])
            .get("https://a.test:{a}/")
            .fails(Kind::Tls),
        row("D53 a head that drips")
            .a([read(), drip("HTTP/1.1 200 OK\r\nA: b\r\nA: b\r\n")])
            .fetch()
            .within(200)
            .fails(Kind::Timeout),
        row("D53 a body that drips")
            .a([answer("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), drip(&long)])
            .fetch()
            .within(200)
            .fails(Kind::Timeout),
        row("D53 chunks that drip")
            .a([answer(chunked), drip(&"1\r\nx\r\n".repeat(100))])
            .fetch()
            .within(200)
            .fails(Kind::Timeout),
        row("D53 a chunk extension that drips")
            .a([answer(format!("{chunked}5;")), drip(&long)])
            .fetch()
            .within(200)
            .fails(Kind::Timeout),
        row("D53 trailers that drip")
            .a([answer(format!("{chunked}0\r\n")), drip(&"A: b\r\n".repeat(100))])
            .fetch()
            .within(200)
            .fails(Kind::Timeout),
        row("D53 interim responses that drip")
            .a([read(), drip(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(10))])
            .fetch()
            .within(200)
            .fails(Kind::Timeout),
        row("D53 a body that never stops, as fast as it can")
            .a([answer("HTTP/1.1 200 OK\r\n\r\n"), vec![Turn::Endless(vec![b'x'; 64])]])
            .fetch()
            .with(|o| o.max_body_bytes = 1 << 20)
            .fails(Kind::TooLarge),
        row("D53 the same, read piece by piece: the total counts while there is always something to read")
            .a([answer("HTTP/1.1 200 OK\r\n\r\n"), vec![Turn::Endless(vec![b'x'; 64])]])
            .fetch()
            .within(100)
            .by(16)
            .fails(Kind::Timeout),
        row("D54 dripping within the longest silence is fine")
            .a([read(), vec![Turn::Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".into(), ms(5))]])
            .fetch()
            .with(|o| o.read_timeout = Some(ms(3000)))
            .gets(200, "hello"),
        row("D54 but the total counts")
            .a([answer("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), drip(&long)])
            .fetch()
            .with(|o| (o.read_timeout, o.timeout) = (Some(ms(3000)), Some(ms(200))))
            .fails(Kind::Timeout),
        row("D54 and so does silence")
            .a([answer("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")])
            .fetch()
            .with(|o| o.read_timeout = Some(ms(100)))
            .fails(Kind::Timeout),
        row("D55 a server that reads no upload")
            .a([vec![Turn::Head, Turn::Told, Turn::Drip(vec![b'x'], ms(2000))]])
            .ask("POST", "http://a.test:{a}/")
            .body(large.clone())
            .within(300)
            .fails(Kind::Timeout),
        row("D55 413 and the end while we upload")
            .a([
                vec![Turn::Head],
                say("HTTP/1.1 413 Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"),
                close(),
            ])
            .ask("POST", "http://a.test:{a}/")
            .body(large.clone())
            .gets(413, "no"),
        row("D55 the same over TLS")
            .tls_a()
            .a([
                vec![Turn::Head],
                say("HTTP/1.1 413 Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"),
                vec![Turn::Notify],
            ])
            .ask("POST", "https://a.test:{a}/")
            .body(large.clone())
            .gets(413, "no"),
        row("D55 413 and silence while we upload: half a request is not followed by another")
            .a([
                vec![Turn::Head],
                say("HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno"),
                vec![Turn::Told, Turn::Drip(vec![b'x'], ms(300))],
            ])
            .a([ok("b")])
            .ask("POST", "http://a.test:{a}/")
            .body(large.clone())
            .gets(413, "no")
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 1]),
        row("E63 the server's answer begins while we upload, and we go on")
            .a([
                vec![Turn::Head],
                say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"),
                vec![Turn::Take(4 << 20)],
                say("seen"),
                read(),
                say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"),
            ])
            .ask("POST", "http://a.test:{a}/")
            .body(vec![7u8; 4 << 20])
            .gets(200, "seen")
            .fetch()
            .gets(200, "b")
            .over('a', &[0, 0]),
        row("E63 the server sends back what we upload, while we do")
            .a([vec![Turn::Head], say("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n"), vec![Turn::Echo]])
            .ask("POST", "http://a.test:{a}/")
            .body(large)
            .within(400)
            // It stops reading until we read, and we read when it has stopped: the rest of the upload stays here.
            .fails(Kind::Timeout),
        row("D13 a hop costs of the same deadline").a([to(302, "/x"), read()]).fetch().within(200).fails(Kind::Timeout),
    ]
}
