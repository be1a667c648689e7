//! A: redirects and credentials.

use crate::row::{Row, answer, ok, read, row, say, to, with};
use crate::server::Turn;
use caspian_net::error::Kind;

const AUTH: &str = "Bearer s3cret";

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("A1 302 to another host: Authorization stays behind")
            .a([to(302, "http://b.test:{a}/x")])
            .a([ok("away")])
            .fetch()
            .field("Authorization", AUTH)
            .gets(200, "away")
            .sees('a', 0, AUTH, &[])
            .sees('a', 1, "GET /x HTTP/1.1\r\nHost: b.test:{a}\r\n", &["authorization", "s3cret"]),
        row("A2 302 to another port: Authorization stays behind")
            .a([to(302, "http://a.test:{b}/x")])
            .b([ok("away")])
            .fetch()
            .field("Authorization", AUTH)
            .gets(200, "away")
            .sees('b', 0, "Host: a.test:{b}\r\n", &["authorization", "s3cret"]),
        row("A2 302 to the same origin: Authorization goes along")
            .a([to(302, "/x"), ok("home")])
            .fetch()
            .field("Authorization", AUTH)
            .gets(200, "home")
            .sees('a', 1, AUTH, &[]),
        row("A3 https to http: refused, and not dialled")
            .tls_a()
            .a([to(302, "http://a.test:{b}/x")])
            .get("https://a.test:{a}/")
            .field("Authorization", AUTH)
            .refused()
            .saying("https to http")
            .connections('b', 0),
        row("A3 https to http, allowed: stripped")
            .tls_a()
            .a([to(302, "http://a.test:{b}/x")])
            .b([ok("away")])
            .get("https://a.test:{a}/")
            .field("Authorization", AUTH)
            .with(|o| o.redirects.allow_downgrade = true)
            .gets(200, "away")
            .sees('b', 0, "GET /x ", &["authorization", "s3cret"]),
        row("A4 Cookie header of the caller's, to another origin")
            .a([to(307, "http://b.test:{b}/x")])
            .b([ok("away")])
            .fetch()
            .field("Cookie", "id=s3cret")
            .gets(200, "away")
            .sees('b', 0, "GET /x ", &["cookie", "s3cret"]),
        row("A5 Proxy-Authorization of the caller's, to another origin")
            .a([to(302, "http://b.test:{b}/x")])
            .b([ok("away")])
            .fetch()
            .field("Proxy-Authorization", "Basic s3cret")
            .gets(200, "away")
            .sees('b', 0, "GET /x ", &["proxy-authorization", "s3cret"]),
        row("A6 headers of the caller's own, to another origin")
            .a([to(302, "http://b.test:{b}/x")])
            .b([ok("away")])
            .fetch()
            .field("X-API-Key", "s3cret")
            .field("Referer", "http://a.test/s3cret")
            .field("Accept-Language", "ga")
            .gets(200, "away")
            .sees('b', 0, "Accept-Language: ga\r\n", &["x-api-key", "referer", "s3cret"]),
        row("A6 a header that is named in forward_headers goes along")
            .a([to(302, "http://b.test:{b}/x")])
            .b([ok("away")])
            .fetch()
            .field("X-API-Key", "k")
            .with(|o| o.redirects.forward_headers = vec!["x-api-key".into()])
            .gets(200, "away")
            .sees('b', 0, "X-API-Key: k\r\n", &[]),
        row("A7 A, B, B: what was dropped does not come back")
            .a([to(302, "http://b.test:{b}/x")])
            .b([to(302, "/y"), ok("away")])
            .fetch()
            .field("Authorization", AUTH)
            .gets(200, "away")
            .sees('b', 0, "GET /x ", &["s3cret"])
            .sees('b', 1, "GET /y ", &["s3cret"]),
        row("A7 A, B, A: not even at home")
            .a([to(302, "http://b.test:{b}/x"), ok("home")])
            .b([to(302, "http://a.test:{a}/y")])
            .fetch()
            .field("Authorization", AUTH)
            .gets(200, "home")
            .sees('a', 1, "GET /y ", &["s3cret"]),
        row("A9 userinfo in Location is not sent, nor shown")
            .a([to(302, "http://user:s3cret@b.test:{b}/x")])
            .b([ok("away")])
            .fetch()
            .field("Authorization", "Bearer first")
            .gets(200, "away")
            .ends_at("http://b.test:{b}/x", 1)
            .sees('b', 0, "GET /x ", &["authorization", "s3cret", "user:", "first"]),
        row("A9 userinfo in a Location that is refused is not shown")
            .a([to(302, "ftp://user:s3cret@b.test/x")])
            .fetch()
            .refused(),
        row("A11 307 to an origin that is not granted")
            .grants(&["--allow-net=a.test"])
            .a([to(307, "http://b.test:{b}/x")])
            .ask("POST", "http://a.test:{a}/")
            .body("body")
            .fails(Kind::HostNotAllowed)
            .connections('b', 0),
        row("A11 307 and a body that can be read once")
            .a([to(307, "/x")])
            .ask("POST", "http://a.test:{a}/")
            .stream("body")
            .refused()
            .saying("only once")
            .over('a', &[0]),
        row("A11 307 and a body that can be read again, to another origin")
            .a([to(307, "http://b.test:{b}/x")])
            .b([ok("away")])
            .ask("PUT", "http://a.test:{a}/")
            .body("body")
            .gets(200, "away")
            .sees('b', 0, "\r\n\r\nbody", &[]),
        row("A12 303 to PUT")
            .a([to(303, "/x"), ok("seen")])
            .ask("PUT", "http://a.test:{a}/")
            .body("body")
            .gets(200, "seen")
            .sees('a', 1, "GET /x ", &["content-length", "body"]),
        row("A13 a redirect to itself ends after ten")
            .a([(0..11).flat_map(|_| to(302, "/")).collect()])
            .fetch()
            .refused()
            .saying("more than 10 redirects")
            .ends_at("http://a.test:{a}/", 10)
            .over('a', &[0; 11]),
        row("A13 the deadline spans the hops")
            .a([(0..8)
                .flat_map(|_| {
                    [
                        read(),
                        vec![Turn::Drip(
                            b"HTTP/1.1 302 Go\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".into(),
                            crate::ms(2),
                        )],
                    ]
                    .concat()
                })
                .collect()])
            .fetch()
            .within(300)
            .fails(Kind::Timeout),
        row("A14 two different Locations")
            .a([answer("HTTP/1.1 302 Go\r\nLocation: /x\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n")])
            .fetch()
            .refused()
            .over('a', &[0]),
        row("A14 two Locations alike")
            .a([answer("HTTP/1.1 302 Go\r\nLocation: /x\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"), ok("x")])
            .fetch()
            .gets(200, "x")
            .over('a', &[0, 0]),
        row("A14 an empty Location").a([to(302, "")]).fetch().gets(302, "gone"),
        row("A14 no Location")
            .a([answer("HTTP/1.1 302 Go\r\nContent-Length: 4\r\n\r\ngone")])
            .fetch()
            .gets(302, "gone"),
        row("A15 a Location that leads nowhere").a([to(302, "http://")]).fetch().refused(),
        row("A15 a control character in Location").a([to(302, "/x\x01y")]).fetch().refused(),
        row("A15 the grants are asked about the parsed host")
            .grants(&["--allow-net=a.test"])
            .a([to(302, "http://a.test@b.test:{b}/")])
            .fetch()
            .fails(Kind::HostNotAllowed)
            .connections('b', 0),
        row("A15 a host in wide letters is the host")
            .a([to(302, "http://\u{ff42}.test:{b}/")])
            .b([ok("b")])
            .fetch()
            .gets(200, "b")
            .sees('b', 0, "Host: b.test:{b}\r\n", &[]),
        row("A17 a Location to an address that is not granted")
            .grants(&["--allow-net=a.test"])
            .a([to(302, "http://127.0.0.1:{b}/")])
            .fetch()
            .fails(Kind::HostNotAllowed)
            .connections('b', 0),
        row("A17 a Location to a denied address")
            .grants(&["--allow-net", "--deny-net=127.0.0.2"])
            .a([to(302, "http://127.0.0.2:{b}/")])
            .fetch()
            .fails(Kind::HostNotAllowed)
            .connections('b', 0),
        row("A17 a Location to an odd spelling of a denied address")
            .grants(&["--allow-net", "--deny-net=127.0.0.2"])
            .a([to(302, "http://0x7f.2:{b}/")])
            .fetch()
            .fails(Kind::HostNotAllowed)
            .connections('b', 0),
        row("A17 a Location to a name whose address is denied")
            .grants(&["--allow-net", "--deny-net=127.0.0.2"])
            .a([to(302, "http://b.test:{b}/")])
            .fetch()
            .with(|o| {
                o.resolve
                    .iter_mut()
                    .filter(|(at, _)| at.host.to_string() == "b.test")
                    .for_each(|(_, ip)| *ip = [127, 0, 0, 2].into())
            })
            .fails(Kind::AddressNotAllowed)
            .connections('b', 0),
        row("A19 a redirect's endless body is not read to its end")
            .a([
                read(),
                say("HTTP/1.1 302 Go\r\nLocation: /x\r\nContent-Length: 10000000000\r\n\r\n"),
                vec![Turn::Endless(vec![b'x'])],
            ])
            .a([ok("x")])
            .fetch()
            .gets(200, "x")
            .over('a', &[0, 1]),
        row("A19 a redirect's endless chunked body")
            .a([
                read(),
                say("HTTP/1.1 302 Go\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\n\r\n"),
                vec![Turn::Endless(b"1\r\nx\r\n".into())],
            ])
            .a([ok("x")])
            .fetch()
            .gets(200, "x")
            .over('a', &[0, 1]),
        row("A19 a redirect's body that does not come")
            .a([read(), say("HTTP/1.1 302 Go\r\nLocation: /x\r\nContent-Length: 5\r\n\r\n")])
            .a([ok("x")])
            .fetch()
            .gets(200, "x")
            .over('a', &[0, 1]),
        row("A19 a redirect's coded body is not decoded")
            .a([
                answer("HTTP/1.1 302 Go\r\nLocation: /x\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nnogzi"),
                ok("x"),
            ])
            .fetch()
            .gets(200, "x")
            .over('a', &[0, 0]),
        row("A20 no Referer of ours").a([to(302, "/x"), ok("x")]).get("http://a.test:{a}/#f").gets(200, "x").sees(
            'a',
            1,
            "GET /x ",
            &["referer"],
        ),
        row("A21 a fragment is not sent, and is inherited")
            .a([to(302, "/x"), ok("x")])
            .get("http://a.test:{a}/?q#frag")
            .gets(200, "x")
            .ends_at("http://a.test:{a}/x#frag", 1)
            .sees('a', 0, "GET /?q HTTP/1.1\r\n", &["frag"])
            .sees('a', 1, "GET /x HTTP/1.1\r\n", &["frag"]),
        row("A21 a fragment of Location's own")
            .a([to(302, "/x#own"), ok("x")])
            .get("http://a.test:{a}/#frag")
            .gets(200, "x")
            .ends_at("http://a.test:{a}/x#own", 1)
            .sees('a', 1, "GET /x HTTP/1.1\r\n", &["frag", "own"]),
    ];
    // A8: names that only look alike.
    for name in ["sub.a.test", "xa.test", "a.test.evil.test"] {
        rows.push(
            row("A8 a name that looks like the same host")
                .a([to(302, &format!("http://{name}:{{a}}/x"))])
                .a([ok("away")])
                .fetch()
                .field("Authorization", AUTH)
                .gets(200, "away")
                .sees('a', 1, "GET /x ", &["authorization", "s3cret"]),
        );
    }
    rows.push(
        row("A8 an IPv6 zone is no host")
            .a([to(302, "http://[::1%25.a.test]:{a}/x")])
            .fetch()
            .field("Authorization", AUTH)
            .refused(),
    );
    // A10: what becomes of the method, the body and the headers that describe it.
    for status in [301, 302, 303] {
        rows.push(
            row("A10 a POST becomes a GET")
                .a([to(status, "/x"), ok("x")])
                .ask("POST", "http://a.test:{a}/")
                .field("Content-Type", "text/x")
                .field("Content-Language", "ga")
                .field("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==")
                .field("Content-Disposition", "inline")
                .body("body")
                .gets(200, "x")
                .sees('a', 1, "GET /x HTTP/1.1\r\n", &["content-", "transfer-encoding", "body"]),
        );
    }
    // A15: resolved as browsers do.
    for (location, host, target) in [
        ("//b.test:{b}/x", 'b', "GET /x HTTP/1.1\r\nHost: b.test:{b}\r\n"),
        ("\\\\b.test:{b}/x", 'b', "GET /x HTTP/1.1\r\nHost: b.test:{b}\r\n"),
        ("https:x/../y", 'z', ""),
        ("http:b", 'a', "GET /dir/b HTTP/1.1\r\nHost: a.test:{a}\r\n"),
        ("?q", 'a', "GET /dir/file?q HTTP/1.1\r\n"),
        ("#f", 'a', "GET /dir/file?old HTTP/1.1\r\n"),
        ("a b\tc", 'a', "GET /dir/a%20bc HTTP/1.1\r\n"),
        ("/\u{fc}", 'a', "GET /%C3%BC HTTP/1.1\r\n"),
        ("/../../x", 'a', "GET /x HTTP/1.1\r\n"),
        ("/%0d%0aX:%20y", 'a', "GET /%0d%0aX:%20y HTTP/1.1\r\n"),
    ] {
        let base = row("A15 a Location, resolved").a([to(302, location), ok("x")]).b([ok("x")]);
        let base = base.get("http://a.test:{a}/dir/file?old");
        rows.push(match host {
            // No server speaks TLS there: what counts is that it is another origin.
            'z' => base.fails(Kind::ConnectionRefused).with(|o| {
                o.resolve.push((caspian_net::address::Endpoint::parse("x:443").unwrap(), [127, 0, 0, 1].into()))
            }),
            'a' => base.gets(200, "x").sees('a', 1, target, &["\r\nx:"]).connections('b', 0),
            _ => base.gets(200, "x").sees('b', 0, target, &[]),
        });
    }
    // A16: nothing but http and https.
    for location in [
        "file:///etc/passwd",
        "ftp://b.test:{b}/x",
        "data:,x",
        "javascript:alert(1)",
        "unix:/run/x.sock",
        "gopher://b.test:{b}/x",
        "ws://b.test:{b}/x",
        "//b.test:0/",
        "//:{b}/",
        "//b.test:99999/",
    ] {
        rows.push(
            row("A16 another scheme, or no place")
                .a([to(302, location)])
                .fetch()
                .refused()
                .connections('a', 1)
                .connections('b', 0),
        );
    }
    rows.push(
        row("A18 a redirect out of the granted port (paths are the guard's)")
            .grants(&["--allow-net=a.test:{a}"])
            .a([to(302, "http://a.test:{b}/")])
            .fetch()
            .fails(Kind::PortNotAllowed)
            .connections('b', 0),
    );
    rows.push(
        row("A14 a body, a Location and no redirect")
            .a([with("Location: /x\r\nContent-Length: 2", "hi")])
            .fetch()
            .gets(200, "hi"),
    );
    rows
}
