//! F and G: cookies and credentials over hops, on the wire. The rules themselves are in `src/http/cookies/tests.rs` and
//! `src/http/auth/tests.rs`.

use crate::row::{Row, SECRET, answer, ok, row, to, with};
use crate::server::Turn;
use caspian_net::{
    client::Options,
    http::{
        auth::{Credentials, Logins, Schemes},
        cookies::SharedJar,
    },
};

/// Basic, for `me` and [`SECRET`].
const BASIC: &str = "Authorization: Basic bWU6czNjcmV0\r\n";

pub fn rows() -> Vec<Row> {
    cookies().into_iter().chain(credentials()).collect()
}

/// Requests of one row that share a jar.
fn jar() -> impl Fn(&mut Options) + Clone + Send + Sync + 'static {
    let jar = SharedJar::default();
    move |o| o.cookies = Some(jar.clone())
}

fn cookies() -> Vec<Row> {
    let set = |lines: &str| with(&format!("{lines}\r\nContent-Length: 0"), "");
    let hop = |location: &str, lines: &str| {
        answer(format!("HTTP/1.1 302 Go\r\nLocation: {location}\r\n{lines}\r\nContent-Length: 0\r\n\r\n"))
    };
    let many: String = (0..200).map(|n| format!("Set-Cookie: n{n}={}\r\n", "v".repeat(200))).collect();
    let jars: Vec<_> = (0..12).map(|_| jar()).collect();
    vec![
        row("F68 set on a hop, sent on the next by rule")
            .a([hop("/x", "Set-Cookie: a=1\r\nSet-Cookie: b=2; Path=/y\r\nSet-Cookie: c=3; Path=/x"), ok("x")])
            .fetch()
            .with(jars[0].clone())
            .gets(200, "x")
            .sees('a', 0, "GET / ", &["cookie"])
            .sees('a', 1, "Cookie: c=3; a=1\r\n", &["b=2"]),
        row("F68 set on a hop, not sent to another host")
            .a([hop("http://b.test:{b}/", "Set-Cookie: a=1\r\nSet-Cookie: t=1; Domain=test"), ok("back")])
            .b([hop("http://a.test:{a}/", "Set-Cookie: b=2; Domain=a.test")])
            .fetch()
            .with(jars[1].clone())
            .gets(200, "back")
            .sees('b', 0, "GET / ", &["cookie"])
            .sees('a', 1, "Cookie: a=1\r\n", &["b=2", "t=1"]),
        row("F68 cookies know no ports")
            .a([hop("http://a.test:{b}/", "Set-Cookie: a=1")])
            .b([ok("x")])
            .fetch()
            .with(jars[2].clone())
            .gets(200, "x")
            .sees('b', 0, "Cookie: a=1\r\n", &[]),
        row("F68 from a subdomain for the domain")
            .a([hop("http://a.test:{a}/", "Set-Cookie: a=1; Domain=a.test\r\nSet-Cookie: b=2")])
            .a([ok("x")])
            .get("http://sub.a.test:{a}/")
            .with(jars[3].clone())
            .gets(200, "x")
            .sees('a', 1, "Cookie: a=1\r\n", &["b=2"]),
        row("F65 Secure stays with https")
            .tls_a()
            .a([hop("http://a.test:{b}/", "Set-Cookie: a=1; Secure\r\nSet-Cookie: b=2"), ok("x")])
            .b([set("Set-Cookie: a=stolen\r\nSet-Cookie: c=3; Secure")])
            .get("https://a.test:{a}/")
            .with({
                let jar = jars[4].clone();
                move |o| {
                    jar(o);
                    o.redirects.allow_downgrade = true;
                }
            })
            .get("https://a.test:{a}/")
            .with(jars[4].clone())
            .gets(200, "x")
            .sees('b', 0, "Cookie: b=2\r\n", &["a=1"])
            .sees('a', 1, "Cookie: a=1; b=2\r\n", &["stolen", "c=3"]),
        row("F66 many cookies do not shut us out")
            .a([set(many.trim_end()), ok("x")])
            .fetch()
            .with(jars[5].clone())
            .fetch()
            .with(jars[5].clone())
            .gets(200, "x")
            .sees('a', 1, "n150=", &["n149="]),
        row("F67 control characters")
            .a([set("Set-Cookie: a=1\tb\r\nSet-Cookie: b=%0d%0a\r\nSet-Cookie: c=1; path=/\t"), ok("x")])
            .fetch()
            .with(jars[6].clone())
            .fetch()
            .with(jars[6].clone())
            .gets(200, "x")
            .sees('a', 1, "Cookie: b=%0d%0a; c=1\r\n", &["a=1"]),
        row("F30 trailers set no cookies")
            .a([with("Transfer-Encoding: chunked\r\nTrailer: Set-Cookie", "0\r\nSet-Cookie: a=1\r\n\r\n"), ok("x")])
            .fetch()
            .with(jars[7].clone())
            .fetch()
            .with(jars[7].clone())
            .gets(200, "x")
            .sees('a', 1, "GET / ", &["cookie"]),
        row("F no jar, no cookies").a([hop("/x", "Set-Cookie: a=1"), ok("x")]).fetch().gets(200, "x").sees(
            'a',
            1,
            "GET /x ",
            &["cookie"],
        ),
        row("F the caller's own Cookie header wins")
            .a([set("Set-Cookie: a=1"), ok("x")])
            .fetch()
            .with(jars[8].clone())
            .fetch()
            .with(jars[8].clone())
            .field("Cookie", "own=1")
            .gets(200, "x")
            .sees('a', 1, "Cookie: own=1\r\n", &["a=1"]),
        row("F with the answer that is an error")
            .a([answer("HTTP/1.1 500 No\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n"), ok("x")])
            .fetch()
            .with(jars[9].clone())
            .gets(500, "")
            .fetch()
            .with(jars[9].clone())
            .gets(200, "x")
            .sees('a', 1, "Cookie: a=1\r\n", &[]),
    ]
}

/// Requests of one row that share what was learnt.
fn me(schemes: Schemes) -> impl Fn(&mut Options) + Clone + Send + Sync + 'static {
    let logins = Logins::default();
    move |o| {
        o.auth = Some(Credentials::user(b"me", SECRET.as_bytes(), schemes).unwrap());
        o.logins = logins.clone();
    }
}

fn refused(status: u16, lines: &str) -> Vec<Turn> {
    answer(format!("HTTP/1.1 {status} No\r\n{lines}\r\nContent-Length: 2\r\n\r\nno"))
}

fn asks(nonce: &str, more: &str) -> Vec<Turn> {
    refused(401, &format!("WWW-Authenticate: Digest realm=\"r\", qop=\"auth\", nonce=\"{nonce}\"{more}"))
}

fn credentials() -> Vec<Row> {
    let twice = me(Schemes::Any);
    vec![
        row("G75 Basic at once").a([ok("x")]).fetch().with(me(Schemes::Any)).gets(200, "x").sees('a', 0, BASIC, &[]),
        row("G75 Basic refused is refused")
            .a([refused(401, "WWW-Authenticate: Basic realm=\"r\"")])
            .fetch()
            .with(me(Schemes::Any))
            .gets(401, "no")
            .connections('a', 1),
        row("G75 Digest where it is asked for, over the same connection; the next request says it at once")
            .a([asks("n1", ""), ok("x"), ok("y")])
            .get("http://a.test:{a}/p?q=1#f")
            .with(twice.clone())
            .gets(200, "x")
            .fetch()
            .with(twice)
            .gets(200, "y")
            .sees('a', 0, BASIC, &[])
            .sees('a', 1, "uri=\"/p?q=1\"", &["basic", "s3cret"])
            .sees('a', 1, "nc=00000001", &[])
            .sees('a', 2, "nc=00000002", &["basic", "s3cret"])
            .over('a', &[0, 0, 0]),
        row("G75 the strongest of several")
            .a([
                asks("n1", ", Digest realm=\"r\", qop=\"auth\", nonce=\"n2\", algorithm=SHA-256, Basic realm=\"r\""),
                ok("x"),
            ])
            .fetch()
            .with(me(Schemes::Digest))
            .gets(200, "x")
            .sees('a', 0, "GET / ", &["authorization"])
            .sees('a', 1, "algorithm=SHA-256", &["basic"]),
        row("G75 Basic offered, only Digest allowed")
            .a([refused(401, "WWW-Authenticate: Basic realm=\"r\"")])
            .fetch()
            .with(me(Schemes::Digest))
            .gets(401, "no")
            .sees('a', 0, "GET / ", &["authorization"]),
        row("G75 a realm with a quote, a backslash and a comma in it")
            .a([refused(401, "WWW-Authenticate: Digest realm=\"a\\\"b\\\\c, x=\", nonce=\"n\""), ok("x")])
            .fetch()
            .with(me(Schemes::Digest))
            .gets(200, "x")
            .sees('a', 1, "realm=\"a\\\"b\\\\c, x=\"", &["s3cret"]),
        row("G75 a challenge with an endless body")
            .a([
                answer("HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n\r\n"),
                vec![Turn::Endless(vec![b'x'])],
            ])
            .a([ok("x")])
            .fetch()
            .with(me(Schemes::Digest))
            .gets(200, "x")
            .over('a', &[0, 1]),
        row("G75 an algorithm that nobody knows")
            .a([asks("n1", ", algorithm=SHA-1")])
            .fetch()
            .with(me(Schemes::Digest))
            .gets(401, "no"),
        row("G75 every nonce is stale: twice, and no more")
            .a([asks("n1", ""), asks("n2", ", stale=true"), asks("n3", ", stale=true")])
            .fetch()
            .with(me(Schemes::Digest))
            .gets(401, "no")
            .sees('a', 2, "nonce=\"n2\"", &[])
            .connections('a', 1),
        row("G75 the password is wrong")
            .a([asks("n1", ""), asks("n2", "")])
            .fetch()
            .with(me(Schemes::Digest))
            .gets(401, "no")
            .over('a', &[0, 0]),
        row("G75 a body is sent again")
            .a([asks("n1", ""), ok("x")])
            .ask("POST", "http://a.test:{a}/")
            .body("hello")
            .with(me(Schemes::Digest))
            .gets(200, "x")
            .sees('a', 1, "\r\n\r\nhello", &[]),
        row("G75 a body that can be read once is not")
            .a([asks("n1", "")])
            .ask("POST", "http://a.test:{a}/")
            .stream("hello")
            .with(me(Schemes::Digest))
            .gets(401, "no")
            .over('a', &[0]),
        row("G75 the caller's own Authorization wins")
            .a([asks("n1", "")])
            .fetch()
            .field("Authorization", "Bearer own")
            .with(me(Schemes::Any))
            .gets(401, "no")
            .sees('a', 0, "Authorization: Bearer own\r\n", &["basic"]),
        row("G75 a redirect within the origin")
            .a([to(302, "/x"), ok("x")])
            .fetch()
            .with(me(Schemes::Any))
            .gets(200, "x")
            .sees('a', 1, BASIC, &[]),
        row("A1 a redirect to another origin, and back: not a word")
            .a([to(302, "http://b.test:{b}/"), ok("x")])
            .b([to(302, "http://a.test:{a}/")])
            .fetch()
            .with(me(Schemes::Any))
            .gets(200, "x")
            .sees('b', 0, "GET / ", &["authorization"])
            .sees('a', 1, "GET / ", &["authorization"]),
        row("A1 a challenge of another origin is not answered")
            .a([to(302, "http://b.test:{b}/")])
            .b([asks("n1", "")])
            .fetch()
            .with(me(Schemes::Any))
            .gets(401, "no")
            .over('b', &[0]),
        row("A1 the same with a bearer token")
            .a([to(302, "http://b.test:{b}/")])
            .b([ok("x")])
            .fetch()
            .with(|o| o.auth = Some(Credentials::bearer(SECRET.as_bytes()).unwrap()))
            .gets(200, "x")
            .sees('a', 0, "Authorization: Bearer s3cret\r\n", &[])
            .sees('b', 0, "GET / ", &["authorization"]),
        row("G70 a proxy's 407 is not for the origin's password")
            .a([refused(407, "Proxy-Authenticate: Digest realm=\"r\", qop=\"auth\", nonce=\"n\"")])
            .fetch()
            .with(me(Schemes::Digest))
            .gets(407, "no")
            .sees('a', 0, "GET / ", &["authorization"]),
    ]
}
