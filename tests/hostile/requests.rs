//! H and I: what the caller may say. Nothing of it splits a request, and one host is checked, dialled and named.

use crate::row::{Row, ok, row, to};
use caspian_net::error::Kind;

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("H78 a wrong Content-Length")
            .ask("POST", "http://a.test:{a}/")
            .body("body")
            .field("Content-Length", "3")
            .wrong(),
        row("H78 a true Content-Length is said once")
            .a([ok("x")])
            .ask("POST", "http://a.test:{a}/")
            .body("body")
            .field("content-length", "4")
            .gets(200, "x")
            .sees('a', 0, "Content-Length: 4\r\n\r\nbody", &["content-length: 4\r\ncontent-length"]),
        row("H78 Transfer-Encoding")
            .ask("POST", "http://a.test:{a}/")
            .body("body")
            .field("Transfer-Encoding", "chunked")
            .wrong(),
        row("H78 Content-Length for a stream")
            .ask("POST", "http://a.test:{a}/")
            .stream("body")
            .field("Content-Length", "4")
            .wrong(),
        row("H78 two Hosts").fetch().field("Host", "x").field("host", "y").wrong(),
        row("H80 a Host of the caller's stays with its origin")
            .a([to(302, "/y"), to(302, "http://b.test:{b}/x")])
            .b([ok("x")])
            .fetch()
            .field("Host", "other.example")
            .gets(200, "x")
            .sees('a', 0, "\r\nHost: other.example\r\n", &["a.test"])
            .sees('a', 1, "\r\nHost: other.example\r\n", &["a.test"])
            .sees('b', 0, "\r\nHost: b.test:{b}\r\n", &["other.example"]),
        row("I81 the host is the one that is granted")
            .grants(&["--allow-net=a.test"])
            .a([ok("x")])
            .get("http://A%2Etest.:{a}/")
            .gets(200, "x")
            .sees('a', 0, "Host: a.test:{a}\r\n", &[]),
        row("I81 wide letters")
            .grants(&["--allow-net=a.test"])
            .a([ok("x")])
            .get("http://\u{ff41}.test:{a}/")
            .gets(200, "x")
            .sees('a', 0, "Host: a.test:{a}\r\n", &[]),
        row("I81 an ideographic full stop")
            .grants(&["--allow-net=a.test"])
            .a([ok("x")])
            .get("http://a\u{3002}test:{a}/")
            .gets(200, "x")
            .sees('a', 0, "Host: a.test:{a}\r\n", &[]),
        row("I81 odd spellings are the address, and so granted")
            .grants(&["--allow-net=127.0.0.1"])
            .a([ok("x"), ok("y"), ok("z")])
            .get("http://0x7f.1:{a}/")
            .gets(200, "x")
            .get("http://2130706433:{a}/")
            .gets(200, "y")
            .get("http://[::ffff:127.0.0.1]:{a}/")
            .gets(200, "z")
            .over('a', &[0, 0, 0])
            .sees('a', 1, "Host: 127.0.0.1:{a}\r\n", &[]),
        row("I81 odd spellings are the address, and so denied")
            .grants(&["--allow-net", "--deny-net=127.0.0.1"])
            .get("http://0x7f.1:{a}/")
            .fails(Kind::HostNotAllowed)
            .get("http://127.1:{a}/")
            .fails(Kind::HostNotAllowed)
            .get("http://[::ffff:7f00:1]:{a}/")
            .fails(Kind::HostNotAllowed)
            .connections('a', 0),
        row("I81 a name is not granted by its address")
            .grants(&["--allow-net=127.0.0.1"])
            .fetch()
            .fails(Kind::HostNotAllowed)
            .connections('a', 0),
    ];
    // H77: what would split a request.
    for bad in ["\r\nX: y", "\n", "\r", "\0"] {
        rows.push(row("H77 in a method").ask(format!("GET{bad}"), "http://a.test:{a}/").wrong());
        rows.push(row("H77 in a URL").get(&format!("http://a.test:{{a}}/{bad}")).wrong());
        rows.push(row("H77 in a URL's query").get(&format!("http://a.test:{{a}}/?{bad}")).wrong());
        rows.push(row("H77 in a URL's host").get(&format!("http://a.test{bad}:{{a}}/")).wrong());
        rows.push(row("H77 in a URL's fragment").get(&format!("http://a.test:{{a}}/#{bad}")).wrong());
        rows.push(row("H77 in a header's name").fetch().field(format!("X{bad}"), "y").wrong());
        rows.push(row("H77 in a header's value").fetch().field("X-Token", format!("s3cret{bad}")).wrong());
        rows.push(row("H77 in Host").fetch().field("Host", format!("x{bad}")).wrong());
        rows.push(row("H77 in Cookie").fetch().field("Cookie", format!("a=s3cret{bad}")).wrong());
    }
    for name in ["", " X", "X ", "X:", "X\t", "\u{fc}", "(X)"] {
        rows.push(row("H77 a header's name that is no token").fetch().field(name, "y").wrong());
    }
    // I81: no URL, or none with one meaning.
    for url in [
        "http://a@b@c/",
        "http://user:s3cret@a.test:{a}/",
        "http://[::1%25lo]/",
        "http://[::1%lo]/",
        "http:///",
        "http://:{a}/",
        "http://a.test:0/",
        "http://a.test:65536/",
        "http://a.test:+80/",
        "http://a..test/",
        "http://a b.test/",
        "http://a%00.test/",
        "http://a%2f.test/",
        "http://xn--example-.org/",
        "http://xn--a/",
        "http://1.2.3.4.5/",
        "http://256.1.1.1/",
        "http://[1.2.3.4]/",
        "a.test/",
        "ftp://a.test/",
        "data:,x",
    ] {
        rows.push(row("I81 no URL to fetch, I82").get(url).wrong());
    }
    rows
}
