use super::*;

fn text(bytes: Result<Vec<u8>>) -> String {
    bytes.map_or_else(|why| format!("! {}", why.0), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn percent() {
    for (bytes, safe, expected) in [
        (&b""[..], "", ""),
        (b"aZ09-._~", "", "aZ09-._~"),
        (b"a b/c+d*", "", "a%20b%2Fc%2Bd%2A"),
        (b"a b/c", "/", "a%20b/c"),
        (b"\x00\xff%", "", "%00%FF%25"),
    ] {
        assert_eq!(text(percent_encode(bytes, safe.as_bytes())), expected);
        assert_eq!(percent_decode(expected.as_bytes(), false).unwrap(), bytes);
    }
    for (given, plus, expected) in [
        ("a+b%2b", false, "a+b+"),
        ("a+b%2b", true, "a b+"),
        ("%", false, "! invalid escape at byte 1"),
        ("ab%4", false, "! invalid escape at byte 3"),
        ("ab%4g", false, "! invalid escape at byte 3"),
        ("%+1", false, "! invalid escape at byte 1"),
        ("%%41", false, "! invalid escape at byte 1"),
    ] {
        assert_eq!(text(percent_decode(given.as_bytes(), plus)), expected, "{given}");
    }
}

#[test]
fn queries() {
    let pair = |(name, value): &(Vec<u8>, Vec<u8>)| {
        format!("{}>{}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    for (query, expected) in
        [("", ""), ("a=1&b=2&a=3", "a>1 b>2 a>3"), ("a&b=&=c&&", "a> b> >c"), ("a=b=c&d+e=%26%", "a>b=c d e>&%")]
    {
        assert_eq!(pairs(query).unwrap().iter().map(pair).collect::<Vec<_>>().join(" "), expected, "{query}");
    }
    assert_eq!(pairs("a=%ff").unwrap(), [(b"a".to_vec(), b"\xff".to_vec())]);
}

#[test]
fn urls_are_read_and_built_the_same() {
    // as written; as it is built from what was read
    for (given, expected) in [
        ("HTTP://EXAMPLE.com", "http://example.com/"),
        ("https://example.com:443/a b?c d#e f", "https://example.com/a%20b?c%20d#e%20f"),
        ("https://example.com:8443/a/../b", "https://example.com:8443/b"),
        ("https://u%40x:p%3Aq@example.com/", "https://u%40x:p%3Aq@example.com/"),
        ("http://[2001:DB8::1]:8080/?", "http://[2001:db8::1]:8080/?"),
        ("mailto:ada@example.com?subject=x", "mailto:ada@example.com?subject=x"),
        ("data:text/plain,hi", "data:text/plain,hi"),
        ("file:///etc/hosts", "file:///etc/hosts"),
        ("redis://cache.test/0", "redis://cache.test/0"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
    ] {
        let parts = parse(given).unwrap();
        assert_eq!(build(&parts).unwrap(), expected, "{parts:?}");
        assert_eq!(parse(expected).unwrap(), parts, "{given}");
    }
    let parts = parse("wss://u:p@[::1]/x?y=z#f").unwrap();
    let expected = Parts {
        scheme: "wss".into(),
        userinfo: Some("u:p".into()),
        host: Some("::1".into()),
        port: Some(443),
        path: "/x".into(),
        query: Some("y=z".into()),
        fragment: Some("f".into()),
    };
    assert_eq!(parts, expected);
}

#[test]
fn what_would_be_another_url_is_refused() {
    let plain = || Parts { scheme: "https".into(), host: Some("example.com".into()), ..Parts::default() };
    let with = |change: &dyn Fn(&mut Parts)| {
        let mut parts = plain();
        change(&mut parts);
        build(&parts)
    };
    assert_eq!(build(&plain()).unwrap(), "https://example.com/");
    assert_eq!(with(&|p| p.path = "a?b#c".into()).unwrap(), "https://example.com/a%3Fb%23c");
    assert_eq!(with(&|p| p.query = Some("a#b".into())).unwrap(), "https://example.com/?a%23b");
    assert_eq!(with(&|p| p.userinfo = Some("a/b@c:d:e@".into())).unwrap(), "https://a%2Fb%40c:d%3Ae%40@example.com/");
    assert_eq!(with(&|p| p.path = "//evil.test/".into()).unwrap(), "https://example.com//evil.test/");
    for host in ["a/b", "a?b", "a#b", "a@b", "a\\b", "a:80", "[::1", "::1]:80", "a b", "%65", "", "a\nb"] {
        assert!(with(&|p| p.host = Some(host.into())).is_err(), "{host:?}");
    }
    for scheme in ["", "1a", "ht tp", "a:b", "https://x"] {
        assert!(with(&|p| p.scheme = scheme.into()).is_err(), "{scheme:?}");
    }
    for text in ["\r\n", "\0", "a\tb"] {
        assert!(with(&|p| p.path = text.into()).is_err());
        assert!(with(&|p| p.query = Some(text.into())).is_err());
        assert!(with(&|p| p.fragment = Some(text.into())).is_err());
        assert!(with(&|p| p.userinfo = Some(text.into())).is_err());
    }
    let none = |scheme: &str, path: &str| Parts { scheme: scheme.into(), path: path.into(), ..Parts::default() };
    assert!(build(&none("https", "example.com")).is_err());
    assert!(build(&none("https", "//example.com")).is_err());
    assert!(build(&none("custom", "//example.com")).is_err());
    assert!(build(&Parts { port: Some(1), ..none("mailto", "a") }).is_err());
    assert_eq!(build(&none("mailto", "a?b")).unwrap(), "mailto:a%3Fb");
    assert!(with(&|p| p.path = "x".repeat(MAX_URL + 1)).is_err());
    for wrong in ["", "/a", "a b", "http://", "https://a\tb", "http://[::1", "http://a:99999/"] {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn references() {
    // RFC 3986 section 5.4.1
    for (reference, expected) in [
        ("g", "http://a/b/c/g"),
        ("../g", "http://a/b/g"),
        ("/g", "http://a/g"),
        ("//g", "http://g/"),
        ("?y", "http://a/b/c/d;p?y"),
        ("#s", "http://a/b/c/d;p?q#s"),
        ("", "http://a/b/c/d;p?q"),
        ("../../../g", "http://a/g"),
        ("mailto:x", "mailto:x"),
    ] {
        assert_eq!(join("http://a/b/c/d;p?q", reference).unwrap(), expected, "{reference}");
    }
    assert!(join("mailto:x", "g").is_err());
    assert!(join("http://a/", "g\n").is_err());
}

#[test]
fn base64() {
    // RFC 4648 section 10, and the two digits that differ
    for (bytes, plain, url) in [
        (&b""[..], "", ""),
        (b"f", "Zg==", "Zg"),
        (b"fo", "Zm8=", "Zm8"),
        (b"foo", "Zm9v", "Zm9v"),
        (b"\xfb\xff\xfe", "+//+", "-__-"),
    ] {
        assert_eq!(base64_encode(bytes, false).unwrap(), plain);
        assert_eq!(base64_encode(bytes, true).unwrap(), url);
        assert_eq!(base64_decode(plain.as_bytes(), false).unwrap(), bytes);
        assert_eq!(base64_decode(url.as_bytes(), true).unwrap(), bytes);
    }
    assert_eq!(base64_decode(b"Zg==", true).unwrap(), b"f");
    for (given, for_url) in [
        ("Zg", false),
        ("Zg=", false),
        ("Zh==", false),
        ("Z", false),
        ("Z g==", false),
        ("Zg==\n", false),
        ("Zg==Zg==", false),
        ("Zm8=Zm8=", false),
        ("-__-", false),
        ("=", true),
        ("Zg=", true),
        ("Zm9v====", true),
        ("Zh", true),
        ("+//+", true),
        ("Zg===", true),
        ("====", true),
    ] {
        assert!(base64_decode(given.as_bytes(), for_url).is_err(), "{given}");
    }
}
