//! The jar as a table of visits: what a server at one URL sets, and what a request to another sends.

use super::*;

const NOW: u64 = 1_700_000_000;

fn url(text: &str) -> HttpUrl {
    HttpUrl::parse(text).unwrap()
}

fn header(jar: &Jar, at: &str, now: u64) -> String {
    jar.header(&url(at), now).map_or_else(|| "-".into(), |value| value.escape_ascii().to_string())
}

/// Each row: the lines `URL Set-Cookie` in order, the URL asked, the expected `Cookie`.
fn check(rows: &[(&[&str], &str, &str)]) {
    for (lines, asked, expected) in rows {
        let mut jar = Jar::new();
        for line in *lines {
            let (from, field) = line.split_once(' ').unwrap();
            jar.store(&url(from), field.as_bytes(), NOW);
        }
        assert_eq!(header(&jar, asked, NOW), *expected, "{lines:?} then {asked}");
    }
}

#[test]
fn hosts_and_domains() {
    check(&[
        (&["http://a.example.com/ a=1"], "http://a.example.com/", "a=1"),
        (&["http://a.example.com/ a=1"], "http://A.EXAMPLE.com.:8080/", "a=1"),
        (&["http://example.com/ a=1"], "http://a.example.com/", "-"),
        (&["http://a.example.com/ a=1"], "http://example.com/", "-"),
        (&["http://a.example.com/ a=1; Domain=example.com"], "http://b.c.example.com/", "a=1"),
        (&["http://a.example.com/ a=1; Domain=.EXAMPLE.com"], "http://example.com/", "a=1"),
        (&["http://example.com/ a=1; Domain=example.com"], "http://xexample.com/", "-"),
        (&["http://example.com/ a=1; Domain=example.com"], "http://example.com.evil.net/", "-"),
        (&["http://example.com/ a=1; Domain=a.example.com"], "http://a.example.com/", "-"),
        (&["http://a.example.com/ a=1; Domain=b.example.com"], "http://b.example.com/", "-"),
        (&["http://xexample.com/ a=1; Domain=example.com"], "http://example.com/", "-"),
        (&["http://a.example.com/ a=1; Domain=example.com."], "http://a.example.com/", "-"),
        (&["http://a.example.com/ a=1; Domain=..example.com"], "http://a.example.com/", "-"),
        (&["http://a.example.com/ a=1; Domain=.example..com"], "http://a.example.com/", "-"),
        (&["http://a.example.com/ a=1; Domain=*.example.com"], "http://a.example.com/", "-"),
        (&["http://a.example.com/ a=1; Domain=ex\u{e4}mple.com"], "http://a.example.com/", "-"),
        // An empty Domain is none.
        (&["http://a.example.com/ a=1; Domain="], "http://a.example.com/", "a=1"),
        (&["http://a.example.com/ a=1; Domain=."], "http://a.example.com/", "a=1"),
        // Public suffixes, of both sections of the list, with its wildcards and exceptions.
        (&["http://a.example.com/ a=1; Domain=com"], "http://a.example.com/", "-"),
        (&["http://a.example.com/ a=1; Domain=.COM"], "http://a.example.com/", "-"),
        (&["http://a.example.com/ a=1; Domain=com."], "http://a.example.com/", "-"),
        (&["http://a.b.co.uk/ a=1; Domain=co.uk"], "http://a.b.co.uk/", "-"),
        (&["http://a.b.co.uk/ a=1; Domain=b.co.uk"], "http://b.co.uk/", "a=1"),
        (&["http://me.github.io/ a=1; Domain=github.io"], "http://me.github.io/", "-"),
        (&["http://a.b.ck/ a=1; Domain=b.ck"], "http://a.b.ck/", "-"),
        (&["http://a.www.ck/ a=1; Domain=www.ck"], "http://b.www.ck/", "a=1"),
        (
            &["http://a.xn--85x722f.xn--55qx5d.cn/ a=1; Domain=xn--55qx5d.cn"],
            "http://a.xn--85x722f.xn--55qx5d.cn/",
            "-",
        ),
        (&["http://a.intranet/ a=1; Domain=intranet"], "http://a.intranet/", "-"),
        // A public suffix that is the host itself: the cookie is its own.
        (&["http://github.io/ a=1; Domain=github.io"], "http://github.io/", "a=1"),
        (&["http://github.io/ a=1; Domain=github.io"], "http://me.github.io/", "-"),
        (&["http://localhost/ a=1; Domain=localhost"], "http://localhost/", "a=1"),
        (&["http://localhost/ a=1; Domain=localhost"], "http://a.localhost/", "-"),
        // Addresses have no domain.
        (&["http://127.0.0.1/ a=1"], "http://127.0.0.1:81/", "a=1"),
        (&["http://127.0.0.1/ a=1; Domain=127.0.0.1"], "http://127.0.0.1:81/", "a=1"),
        (&["http://127.0.0.1/ a=1; Domain=.127.0.0.1"], "http://127.0.0.1/", "a=1"),
        (&["http://127.0.0.1/ a=1; Domain=127.1"], "http://127.0.0.1/", "-"),
        (&["http://127.0.0.1/ a=1; Domain=127.0.0.2"], "http://127.0.0.1/", "-"),
        (&["http://127.0.0.1/ a=1; Domain=0.0.1"], "http://127.0.0.1/", "-"),
        (&["http://127.0.0.1/ a=1; Domain=.1"], "http://127.0.0.1/", "-"),
        (&["http://[::1]/ a=1"], "http://[::1]/", "a=1"),
        (&["http://[::1]/ a=1; Domain=[::1]"], "http://[::1]/", "a=1"),
        (&["http://[::1]/ a=1; Domain=::1"], "http://[::1]/", "a=1"),
        (&["http://[::1]/ a=1; Domain=[::2]"], "http://[::1]/", "-"),
        (&["http://a.example.com/ a=1; Domain=1.2.3.4"], "http://a.example.com/", "-"),
    ]);
}

#[test]
fn paths() {
    check(&[
        (&["http://h.example/a/b/c?d/e a=1"], "http://h.example/a/b", "a=1"),
        (&["http://h.example/a/b/c a=1"], "http://h.example/a/bc", "-"),
        (&["http://h.example/a/b/c a=1"], "http://h.example/a/b/", "a=1"),
        (&["http://h.example/a a=1"], "http://h.example/", "a=1"),
        (&["http://h.example/a/b a=1; Path=x"], "http://h.example/a/", "a=1"),
        (&["http://h.example/a/b a=1; Path=/"], "http://h.example/", "a=1"),
        (&["http://h.example/ a=1; Path=/x/"], "http://h.example/x", "-"),
        (&["http://h.example/ a=1; Path=/x/"], "http://h.example/x/y", "a=1"),
        (&["http://h.example/ a=1; Path=/x"], "http://h.example/X", "-"),
        (&["http://h.example/ a=1; Path=/x"], "http://h.example/%78", "-"),
        (&["http://h.example/ a=1; Path=/x"], "http://h.example/y/../x?q", "a=1"),
        // Another path is another cookie; longer paths first, then the older one, whatever was set again.
        (
            &[
                "http://h.example/ b=1",
                "http://h.example/ a=1",
                "http://h.example/ a=2; path=/x",
                "http://h.example/ b=2",
            ],
            "http://h.example/x",
            "a=2; b=2; a=1",
        ),
        (&["http://h.example/ a=1", "http://h.example/ a=2"], "http://h.example/", "a=2"),
        (&["http://h.example/ x", "http://h.example/ =y"], "http://h.example/", "y"),
        (
            &["http://a.example.com/ a=1", "http://a.example.com/ a=2; Domain=example.com"],
            "http://a.example.com/",
            "a=1; a=2",
        ),
    ]);
}

#[test]
fn secure_and_prefixes() {
    check(&[
        (&["https://h.example/ a=1; Secure"], "https://h.example/", "a=1"),
        (&["https://h.example/ a=1; Secure"], "http://h.example/", "-"),
        (&["https://h.example/ a=1"], "http://h.example/", "a=1"),
        (&["http://h.example/ a=1; Secure"], "https://h.example/", "-"),
        // What does not leave the machine is as good as https.
        (&["http://localhost/ a=1; Secure"], "http://localhost:8080/", "a=1"),
        (&["http://localhost./ a=1; Secure"], "http://LOCALHOST/", "a=1"),
        (&["http://a.localhost/ a=1; Secure"], "https://a.localhost/", "a=1"),
        (&["https://a.localhost/ a=1; Secure"], "http://a.localhost/", "a=1"),
        (&["http://localhost/ __Secure-a=1; Secure"], "http://localhost/", "__Secure-a=1"),
        (&["http://localhost/ __Host-a=1; Secure; Path=/"], "http://localhost/", "__Host-a=1"),
        (&["http://localhost/ __Secure-a=1"], "http://localhost/", "-"),
        (&["https://localhost/ a=1; Secure", "http://localhost/ a=2"], "https://localhost/", "a=2"),
        (&["http://127.0.0.1/ a=1; Secure"], "http://127.0.0.1/", "a=1"),
        (&["http://[::1]/ a=1; Secure"], "http://[::1]/", "a=1"),
        (&["http://localhost.example/ a=1; Secure"], "http://localhost.example/", "-"),
        (&["http://alocalhost/ a=1; Secure"], "http://alocalhost/", "-"),
        (&["http://128.0.0.1/ a=1; Secure"], "http://128.0.0.1/", "-"),
        (&["http://[::ffff:10.0.0.1]/ a=1; Secure"], "http://10.0.0.1/", "-"),
        (&["https://h.example/ a=1; Secure", "http://h.example/ a=2"], "https://h.example/", "a=1"),
        (&["https://h.example/ a=1; Secure", "http://h.example/ a=; Max-Age=0"], "https://h.example/", "a=1"),
        (&["https://h.example/ a=1; Secure", "https://h.example/ a=2"], "https://h.example/", "a=2"),
        (&["https://h.example/ a=1; Secure", "http://h.example/ a=2; Path=/x"], "https://h.example/x", "a=1"),
        (&["https://h.example/ a=1; Secure; Path=/x", "http://h.example/ a=2"], "https://h.example/x", "a=1; a=2"),
        (
            &["https://a.h.example/ a=1; Secure", "http://b.h.example/ a=2; Domain=h.example"],
            "https://a.h.example/",
            "a=1",
        ),
        (
            &["https://h.example/ a=1; Secure; Domain=h.example", "http://a.h.example/ a=2"],
            "https://a.h.example/",
            "a=1",
        ),
        (&["https://xh.example/ a=1; Secure", "http://h.example/ a=2"], "http://h.example/", "a=2"),
        (&["https://h.example/ __Secure-a=1; Secure"], "https://h.example/", "__Secure-a=1"),
        (&["https://h.example/ __Secure-a=1"], "https://h.example/", "-"),
        (&["https://h.example/ __sECURE-a=1"], "https://h.example/", "-"),
        (&["https://h.example/ __Host-a=1; Secure; Path=/"], "https://h.example/", "__Host-a=1"),
        (&["https://h.example/ __Host-a=1; Secure"], "https://h.example/", "-"),
        (&["https://h.example/ __Host-a=1; Path=/"], "https://h.example/", "-"),
        (&["https://h.example/ __Host-a=1; Secure; Path=/x"], "https://h.example/x", "-"),
        (&["https://h.example/ __Host-a=1; Secure; Path=/; Domain=h.example"], "https://h.example/", "-"),
        (&["https://h.example/ __hOST-a=1; Secure; Path=/; Domain=h.example"], "https://h.example/", "-"),
        (&["https://h.example/ __Host-a=1; Secure; Path=/; Domain="], "https://h.example/", "__Host-a=1"),
        (&["https://h.example/ =__Host-a=1; Secure; Path=/"], "https://h.example/", "-"),
        (&["https://h.example/ __Secure-a; Secure"], "https://h.example/", "-"),
        (&["https://h.example/ __Secur-a=1"], "https://h.example/", "__Secur-a=1"),
        (&["https://h.example/ a=1; SameSite=None"], "http://h.example/", "a=1"),
        (&["https://h.example/ a=1; SameSite=Strict"], "http://h.example/", "a=1"),
    ]);
}

#[test]
fn time() {
    for (field, until) in [
        ("a=1", None),
        ("a=1; Max-Age=10", Some(10)),
        ("a=1; Max-Age=10; Expires=Wed, 21 Oct 2099 07:28:00 GMT", Some(10)),
        ("a=1; Expires=Tue, 14 Nov 2023 22:13:25 GMT", Some(5)),
        ("a=1; Expires=Wed, 21 Oct 2099 07:28:00 GMT", Some(MAX_AGE)),
        ("a=1; Max-Age=99999999999999999999999", Some(MAX_AGE)),
        ("a=1; Max-Age=0", Some(0)),
        ("a=1; Max-Age=-99999999999999999999999", Some(0)),
        ("a=1; Expires=Tue, 14 Nov 2023 22:13:20 GMT", Some(0)),
        ("a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
    ] {
        let mut jar = Jar::new();
        let at = "http://h.example/";
        jar.store(&url(at), b"a=0", NOW);
        jar.store(&url(at), field.as_bytes(), NOW);
        for (later, there) in [(until, false), (until.map(|until| until.saturating_sub(1)), until != Some(0))] {
            let Some(later) = later else { continue };
            let expected = if there { "a=1" } else { "-" };
            assert_eq!(header(&jar, at, NOW + later), expected, "{field} after {later}");
        }
        assert_eq!(jar.is_empty(), until == Some(0));
        assert_eq!(jar.records(NOW).len(), jar.len());
    }
}

#[test]
fn caps() {
    let (at, value) = (url("http://h.example/"), "v".repeat(4000));
    let mut jar = Jar::new();
    for n in 0..500 {
        assert!(jar.store(&at, format!("n{n}={value}").as_bytes(), NOW));
    }
    assert_eq!(jar.len(), MAX_PER_DOMAIN);
    let sent = header(&jar, "http://h.example/", NOW);
    assert!(sent.starts_with("n450=v") && sent.len() <= MAX_HEADER, "{}", sent.len());
    // What fits after what does not is sent.
    jar.store(&at, b"small=1", NOW);
    assert!(header(&jar, "http://h.example/", NOW).ends_with("; small=1"));
    for n in 0..3100 {
        assert!(jar.store(&url(&format!("http://h{n}.example/")), b"a=1", NOW));
    }
    assert_eq!(jar.len(), MAX_IN_ALL);
    assert_eq!(jar.records(NOW).len(), MAX_IN_ALL);
    assert_eq!(header(&jar, "http://h.example/", NOW), "-");
    assert_eq!(header(&jar, "http://h3099.example/", NOW), "a=1");
}

#[test]
fn who_makes_room() {
    let https = url("https://h.example/");
    let mut jar = Jar::new();
    jar.store(&https, b"guarded=1; Secure", NOW);
    jar.store(&https, b"again=1", NOW);
    jar.store(&https, b"over=1; Max-Age=1", NOW);
    for n in 3..MAX_PER_DOMAIN {
        jar.store(&https, format!("n{n}=1").as_bytes(), NOW);
    }
    jar.store(&https, b"again=2", NOW);
    let names = |jar: &Jar| {
        let has = |name: &str| jar.records(NOW).iter().any(|record| record.name == name.as_bytes());
        ["guarded", "again", "over", "n3", "new1", "new2"]
            .into_iter()
            .filter(|name| has(name))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(&jar), "guarded again over n3");
    // First what is over, then what was set longest ago; what https guards is last.
    jar.store(&https, b"new1=1", NOW + 1);
    assert_eq!(names(&jar), "guarded again n3 new1");
    jar.store(&https, b"new2=1", NOW + 1);
    assert_eq!(names(&jar), "guarded again new1 new2");
    assert_eq!(jar.len(), MAX_PER_DOMAIN);
}

#[test]
fn saved_and_loaded() {
    let mut jar = Jar::new();
    for (at, field) in [
        ("https://a.example.com/", "b=1; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ("https://a.example.com/", "a=\u{e9}; Domain=example.com; Max-Age=9"),
        ("https://a.example.com/", "gone=1; Max-Age=1"),
        ("http://127.0.0.1/", "c=1"),
        ("http://[::1]/", "d"),
        ("http://localhost/", "e=1; Domain=localhost"),
    ] {
        assert!(jar.store(&url(at), field.as_bytes(), NOW));
    }
    let records = jar.records(NOW + 1);
    assert_eq!(records.len(), 5);
    assert_eq!(format!("{:?}", records[0]), "Record(b of a.example.com/)");
    let mut again = Jar::new();
    assert_eq!(again.load(records.clone(), NOW + 1), 5);
    assert_eq!(again.records(NOW + 1), records);
    assert_eq!(header(&again, "https://a.example.com/", NOW + 1), "b=1; a=\\xc3\\xa9");
    again.clear();
    assert!(again.is_empty());

    let good = records[1].clone();
    type Change = fn(&mut Record);
    let rows: &[(&str, Change, bool)] = &[
        ("as it is", |_| (), true),
        ("other spelling of the domain", |r| r.domain = "EXAMPLE.com.".into(), true),
        ("over", |r| r.expires = Some(NOW), true),
        ("public suffix", |r| r.domain = "co.uk".into(), false),
        ("public suffix, host only", |r| (r.domain, r.host_only) = ("co.uk".into(), true), true),
        ("address", |r| r.domain = "127.0.0.1".into(), false),
        ("no host", |r| r.domain = "a b".into(), false),
        ("empty host", |r| r.domain = String::new(), false),
        ("relative path", |r| r.path = b"x".to_vec(), false),
        ("path with a line end", |r| r.path = b"/\r\n".to_vec(), false),
        ("value with a line end", |r| r.value = b"x\r\nX: y".to_vec(), false),
        ("value with a semicolon", |r| r.value = b"x; y=z".to_vec(), false),
        ("name with an equals sign", |r| r.name = b"x=y".to_vec(), false),
        ("neither name nor value", |r| (r.name, r.value) = (Vec::new(), Vec::new()), false),
        ("too long", |r| r.value = vec![b'x'; 4096], false),
        ("long path", |r| r.path = [b"/".as_slice(), &[b'x'; 1024]].concat(), false),
        ("prefix not held", |r| r.name = b"__Secure-x".to_vec(), false),
    ];
    for (why, change, taken) in rows {
        let mut record = good.clone();
        change(&mut record);
        let mut jar = Jar::new();
        assert_eq!(jar.load([record], NOW) == 1, *taken, "{why}");
    }
    let mut jar = Jar::new();
    jar.load([Record { expires: Some(u64::MAX), ..good.clone() }], NOW);
    assert_eq!(jar.records(NOW)[0].expires, Some(NOW + MAX_AGE));
}
