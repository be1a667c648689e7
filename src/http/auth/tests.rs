//! Challenges and answers as tables; the long answers are those of RFC 7616 section 3.9 and RFC 2617 section 3.5.

use super::*;
use crate::http::url::HttpUrl;

fn shape(line: &str) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let one = |challenge: &Challenge<'_>| {
        let params = challenge.params.iter().map(|(name, value)| format!(" {}={}", text(name), text(value)));
        text(challenge.scheme) + &params.collect::<String>()
    };
    challenge::parse(line.as_bytes()).iter().map(one).collect::<Vec<_>>().join(" | ")
}

#[test]
fn challenges() {
    for (line, expected) in [
        ("Basic", "Basic"),
        ("Basic realm=\"a b\"", "Basic realm=a b"),
        ("basic realm=x, charset=\"UTF-8\"", "basic realm=x charset=UTF-8"),
        ("Basic realm = \"x\" , a\t=\tb", "Basic realm=x a=b"),
        (r#"Digest realm="a\"b\\c", nonce="1,2""#, r#"Digest realm=a\"b\\c nonce=1,2"#),
        (
            "Newauth realm=\"apps\", type=1, title=\"Login\", Basic realm=\"simple\"",
            "Newauth realm=apps type=1 title=Login | Basic realm=simple",
        ),
        (", ,Basic realm=x,,, Digest nonce=y,", "Basic realm=x | Digest nonce=y"),
        ("Negotiate, Basic realm=x", "Negotiate | Basic realm=x"),
        ("Negotiate abc+/d==, Basic realm=x", "Negotiate | Basic realm=x"),
        ("Negotiate abc", "Negotiate"),
        ("A, B, C", "A | B | C"),
        ("Basic realm=\"\"", "Basic realm="),
        // The challenge with the fault is dropped, and so is what follows it.
        ("Basic realm=x, Digest nonce=\"open", "Basic realm=x"),
        ("Basic realm=\"x\\", ""),
        // `nonce=` alone is what other schemes have instead of parameters.
        ("Basic realm=x, Digest nonce=, qop=auth", "Basic realm=x | Digest qop=auth"),
        ("Basic realm=x y, Digest nonce=z", ""),
        ("Basic realm=\"x\"y", ""),
        ("realm=x", ""),
        ("\"Basic\"", ""),
        ("", ""),
    ] {
        assert_eq!(shape(line), expected, "{line}");
    }
}

const RANDOM: &[u8; 16] = &[0xab; 16];

fn auth(schemes: Schemes) -> Auth {
    Auth::new(Credentials::user(b"Mufasa", b"Circle of Life", schemes).unwrap())
}

#[test]
fn known_answers() {
    let asked = |cnonce| Asked { method: "GET", target: "/dir/index.html", cnonce, count: 1, body: "" };
    let new = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    for (challenge, user, password, asked, expected) in [
        (
            r#"Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#,
            "Mufasa",
            "Circle Of Life",
            asked("0a4f113b"),
            r#"Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", opaque="5ccc069c403ebaf9f0171e9517f40e41", cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1", qop=auth, nc=00000001"#,
        ),
        (
            r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#,
            "Mufasa",
            "Circle of Life",
            asked(new),
            r#"Digest username="Mufasa", realm="http-auth@example.org", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", uri="/dir/index.html", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", qop=auth, nc=00000001, algorithm=SHA-256"#,
        ),
        (
            r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#,
            "Mufasa",
            "Circle of Life",
            asked(new),
            r#"Digest username="Mufasa", realm="http-auth@example.org", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", uri="/dir/index.html", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", response="8ca523f5e9506fed4657c9700eebdbec", qop=auth, nc=00000001, algorithm=MD5"#,
        ),
    ] {
        let challenge = challenge::parse(challenge.as_bytes());
        let got = answer(&challenge[0].digest().unwrap(), user.as_bytes(), password.as_bytes(), &asked);
        assert_eq!(String::from_utf8(got).unwrap(), expected);
    }
}

#[test]
fn which_challenge_is_answered() {
    let digest = |rest: &str| format!("Digest realm=\"r\", nonce=\"n\"{rest}");
    for (lines, schemes, expected) in [
        (vec![digest(", qop=\"auth\"")], Schemes::Any, "MD5 auth"),
        (vec![digest("")], Schemes::Any, "MD5"),
        (vec![digest(", qop=auth, algorithm=md5-SESS")], Schemes::Any, "md5-SESS auth"),
        (vec![digest(", qop=\"auth-int\"")], Schemes::Any, "MD5 auth-int"),
        (vec![digest(", qop=\"auth-conf\"")], Schemes::Any, "-"),
        (vec![digest(", qop=\"\"")], Schemes::Any, "-"),
        (vec![digest(", qop=auth-int, algorithm=SHA-256"), digest(", qop=auth")], Schemes::Any, "SHA-256 auth-int"),
        (vec![digest(", qop=\"auth-int , AUTH\"")], Schemes::Any, "MD5 auth"),
        (vec![digest(", algorithm=SHA-1")], Schemes::Any, "-"),
        (vec![digest(", algorithm=\"\"")], Schemes::Any, "-"),
        (vec![digest(", nonce=\"m\"")], Schemes::Any, "-"),
        (vec![digest(", REALM=\"m\"")], Schemes::Any, "-"),
        (vec!["Digest realm=\"r\"".into()], Schemes::Any, "-"),
        (vec!["Digest realm=\"r\", nonce=\"\"".into()], Schemes::Any, "-"),
        (vec!["Digest nonce=\"n\"".into()], Schemes::Any, "-"),
        (vec![digest(&format!(", opaque=\"{}\"", "x".repeat(5000)))], Schemes::Any, "-"),
        (vec!["Basic realm=\"r\"".into()], Schemes::Any, "-"),
        (vec!["Basic realm=\"r\"".into()], Schemes::Digest, "-"),
        (vec!["Basic realm=\"r\"".into(), digest(", qop=auth")], Schemes::Any, "MD5 auth"),
        (vec![digest(", qop=auth")], Schemes::Basic, "-"),
        (vec![digest(", algorithm=MD5"), digest(", algorithm=SHA-256")], Schemes::Any, "SHA-256"),
        (vec![digest(", algorithm=SHA-256") + ", " + &digest(", algorithm=MD5")], Schemes::Digest, "SHA-256"),
        (vec![digest(", algorithm=SHA-512-256"), digest(", algorithm=SHA-256")], Schemes::Any, "SHA-512-256"),
        (vec![digest(", algorithm=SHA-256, opaque=1"), digest(", algorithm=SHA-256-sess")], Schemes::Any, "SHA-256"),
        (vec![digest(", algorithm=SHA3"), digest(", algorithm=MD5")], Schemes::Any, "MD5"),
        (vec!["Negotiate".into()], Schemes::Any, "-"),
        (vec!["Basic realm=\"r\"".into()], Schemes::Challenge, "Basic"),
        (vec!["Negotiate, bAsIc".into()], Schemes::Challenge, "Basic"),
        (vec!["Basic realm=\"r\"".into(), digest(", qop=auth")], Schemes::Challenge, "MD5 auth"),
        (vec!["Basic realm=\"r\"".into(), digest(", algorithm=SHA-1")], Schemes::Challenge, "Basic"),
        (vec!["Bearer".into()], Schemes::Challenge, "-"),
        (vec![], Schemes::Any, "-"),
    ] {
        let mut auth = auth(schemes);
        auth.header("GET", "/", RANDOM, None);
        let again = auth.challenged(lines.iter().map(|line| line.as_bytes()));
        let got = match (&*auth.known(), again) {
            (Some(Known::Digest(Nonce { digest, .. })), true) => {
                let qop = digest.qop.word().map(|word| format!(" {word}"));
                format!("{}{}", digest.name.as_deref().unwrap_or("MD5"), qop.unwrap_or_default())
            }
            (Some(Known::Basic), true) => "Basic".into(),
            _ => "-".into(),
        };
        assert_eq!(got, expected, "{lines:?}");
    }
}

#[test]
fn rounds() {
    let digest = |nonce: &str, stale: &str| format!("Digest realm=\"r\", qop=\"auth\", nonce=\"{nonce}\"{stale}");
    let header = |auth: &mut Auth| String::from_utf8(auth.header("GET", "/", RANDOM, None).unwrap()).unwrap();
    let challenge = |auth: &mut Auth, line: &str| auth.challenged([line.as_bytes()].into_iter());
    let logins = Logins::default();
    let origin = |text: &str| HttpUrl::parse(text).unwrap().origin().clone();
    let (here, there) = (origin("http://a.example"), origin("http://a.example:81"));
    let who = Credentials::user(b"Mufasa", b"Circle of Life", Schemes::Any).unwrap();
    let mut auth = logins.auth(&here, &who);
    assert_eq!(header(&mut auth), "Basic TXVmYXNhOkNpcmNsZSBvZiBMaWZl");
    assert!(challenge(&mut auth, &digest("n1", "")));
    assert!(header(&mut auth).contains("nonce=\"n1\"") && header(&mut auth).contains("nc=00000002"));
    // Refused with a fresh nonce: the password is wrong.
    assert!(!challenge(&mut auth, &digest("n2", "")));
    assert!(!challenge(&mut auth, &digest("n2", ", stale=false")));
    assert!(challenge(&mut auth, &digest("n2", ", stale=TRUE")));
    assert!(header(&mut auth).contains("nonce=\"n2\"") && header(&mut auth).contains("nc=00000002"));
    // A server for which every nonce is stale.
    assert!(!challenge(&mut auth, &digest("n3", ", stale=true")));
    // The next request speaks Digest at once; not to another origin, nor for somebody else.
    let mut next = logins.auth(&here, &who);
    assert!(header(&mut next).contains("nc=00000003"));
    assert!(challenge(&mut next, &digest("n4", ", stale=true")));
    assert!(header(&mut logins.auth(&there, &who)).starts_with("Basic "));
    let other = Credentials::user(b"Mufasa", b"x", Schemes::Any).unwrap();
    assert!(header(&mut logins.auth(&here, &other)).starts_with("Basic "));
}

/// The answers are Python's, by hashlib.
#[test]
fn the_body_is_signed_where_it_must_be() {
    for (algorithm, expected) in [
        ("MD5", "3c12bed915a159927a1ca9705da96e9f"),
        ("SHA-256", "a1905523f6efd64265adeb39f28ebec95250e10ebe81eddd2f06fb676649ad66"),
    ] {
        let mut auth = auth(Schemes::Digest);
        assert!(auth.body_hash().is_none());
        let line = format!("Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\", algorithm={algorithm}");
        assert!(auth.challenged([line.as_bytes()].into_iter()));
        // A body that cannot be shown: nothing is said, and nothing counted.
        assert_eq!(auth.header("POST", "/a?b", RANDOM, None), None);
        let mut hash = auth.body_hash().unwrap();
        [&b"hello"[..], b"", b", body"].into_iter().for_each(|piece| hash.update(piece));
        let got = String::from_utf8(auth.header("POST", "/a?b", RANDOM, Some(hash)).unwrap()).unwrap();
        assert!(got.contains(&format!("response=\"{expected}\", qop=auth-int, nc=00000001")), "{got}");
    }
}

#[test]
fn nothing_is_said_before_a_challenge() {
    let basic = || [&b"Basic realm=\"r\""[..]].into_iter();
    let digest = || [&b"Basic realm=\"r\", Digest realm=\"r\", nonce=\"n\""[..]].into_iter();
    let origin = HttpUrl::parse("http://a.example").unwrap().origin().clone();
    let who = Credentials::user(b"Mufasa", b"Circle of Life", Schemes::Challenge).unwrap();
    let logins = Logins::default();
    let mut auth = logins.auth(&origin, &who);
    assert_eq!(auth.header("GET", "/", RANDOM, None), None);
    assert!(auth.challenged(basic()));
    assert_eq!(auth.header("GET", "/", RANDOM, None).unwrap(), b"Basic TXVmYXNhOkNpcmNsZSBvZiBMaWZl");
    // Refused: the password is wrong.
    assert!(!auth.challenged(basic()));
    // The next request says it at once, and follows a server that has learnt Digest since.
    let mut next = logins.auth(&origin, &who);
    assert_eq!(next.header("GET", "/", RANDOM, None).unwrap(), b"Basic TXVmYXNhOkNpcmNsZSBvZiBMaWZl");
    assert!(next.challenged(digest()));
    assert!(next.header("GET", "/", RANDOM, None).unwrap().starts_with(b"Digest "));
    // What a proxy asked for is not for the origin at the same place, nor the other way round.
    let mut proxy = Proxy::parse("http://a.example").unwrap();
    proxy.log_in(b"Mufasa", b"Circle of Life", Schemes::Challenge).unwrap();
    let mut gateway = logins.proxy(&proxy).unwrap();
    assert_eq!(gateway.header("CONNECT", "b.example:443", RANDOM, None), None);
    assert!(gateway.challenged(digest()));
    assert!(logins.proxy(&proxy).unwrap().header("GET", "/", RANDOM, None).unwrap().starts_with(b"Digest "));
}

#[test]
fn credentials() {
    let long = "x".repeat(10_000);
    for (user, password, fine) in [
        ("user", "password", true),
        ("", "", true),
        ("us er", "pass:word\u{e9}", true),
        ("us:er", "password", false),
        ("user\r\nX: y", "password", false),
        ("user", "pass\0word", false),
        ("user", "pass\x7fword", false),
        (&long, &long, true),
    ] {
        let got = Credentials::user(user.as_bytes(), password.as_bytes(), Schemes::Any);
        assert_eq!(got.is_ok(), fine, "{user:?}");
        let text = format!("{got:?}");
        assert!(!text.contains("pass") || text.contains("user or password of"), "{text}");
    }
    for (token, fine) in
        [("abc.DEF-1_2~3+/==", true), ("a,b", true), ("", false), ("a b", false), ("a\r\n", false), ("\u{e9}", false)]
    {
        assert_eq!(Credentials::bearer(token.as_bytes()).is_ok(), fine, "{token:?}");
    }
    let mut bearer = Auth::new(Credentials::bearer(b"secret").unwrap());
    assert_eq!(bearer.header("GET", "/", RANDOM, None).unwrap(), b"Bearer secret");
    assert!(!bearer.challenged([&b"Digest realm=\"r\", nonce=\"n\""[..]].into_iter()));
    assert!(!format!("{bearer:?}").contains("secret"));
    let mut digest = auth(Schemes::Digest);
    assert_eq!(digest.header("GET", "/", RANDOM, None), None);
}

#[test]
fn quotes_survive() {
    let mut auth = Auth::new(Credentials::user(b"a\"b\\", b"p", Schemes::Digest).unwrap());
    let line = br#"Digest realm="r\"\x\\", nonce="n\"", opaque="\"", userhash=false"#;
    assert!(auth.challenged([&line[..]].into_iter()));
    let got = String::from_utf8(auth.header("GET", "/?\"", RANDOM, None).unwrap()).unwrap();
    for part in [r#"username="a\"b\\""#, r#"realm="r\"x\\""#, r#"nonce="n\"""#, r#"opaque="\"""#] {
        assert!(got.contains(part), "{got}");
    }
}
