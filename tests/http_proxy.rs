//! The client against scripted proxies on loopback: what they are told, what they may answer, and what never reaches them.

#![allow(clippy::disallowed_methods, reason = "the tests are the world outside")]
#![allow(clippy::type_complexity, reason = "a table's type is read in its rows")]

mod http_support;

use caspian_net::{
    client::{Fetch, Options, Step, pool::Pool},
    error::{Error, Kind, Result},
    grants::Grants,
    http::{
        proxy::Proxy,
        request::{Method, Request},
        url::HttpUrl,
    },
    net::Net,
};
use http_support::head;
use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, TcpListener},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A proxy that plays one script on one connection: each turn waits until what it was told ends with that, then says its
/// bytes. After the last turn it waits for the client to close, unless the last bytes are `CUT`.
struct Scripted {
    port: u16,
    seen: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

const CUT: &[u8] = b"<cut>";

impl Scripted {
    fn run(turns: Vec<(Vec<u8>, Vec<u8>)>) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let thread = thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut byte = [0];
            for (until, say) in turns {
                let mut told = Vec::new();
                while !told.ends_with(&until) {
                    match stream.read(&mut byte) {
                        Ok(1) => told.push(byte[0]),
                        _ => break,
                    }
                }
                log.lock().unwrap().extend(told);
                if say == CUT {
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                let _ = stream.write_all(&say);
            }
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            log.lock().unwrap().extend(rest);
        });
        Scripted { port, seen, thread: Some(thread) }
    }

    fn told(mut self) -> Vec<u8> {
        // Where nothing was dialled, somebody has to end the wait.
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.port)).map(|s| s.shutdown(Shutdown::Both));
        self.thread.take().map(JoinHandle::join);
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn net(flags: &[&str]) -> Net {
    Net::new(Grants::parse(flags).unwrap()).unwrap()
}

fn fetch(net: &Net, url: &str, proxy: &str, change: impl FnOnce(&mut Options)) -> Result<(u16, Vec<u8>)> {
    let request = Request::new(Method::GET, HttpUrl::parse(url).unwrap(), None);
    let proxy = Some(Proxy::parse(proxy).unwrap());
    let mut options = Options { timeout: Some(Duration::from_secs(5)), proxy, ..Options::default() };
    change(&mut options);
    let pool = Pool::new();
    let mut fetch = Fetch::new(net, &pool, request, None, options);
    assert_eq!(fetch.step()?, Step::Head);
    let body = fetch.body()?;
    let status = fetch.head().unwrap().status;
    drop(fetch);
    pool.close();
    Ok((status, body))
}

/// No secret of the tests' URLs, plain or encoded.
fn assert_discreet(label: &str, err: &Error) {
    let text = format!("{err:?}");
    for secret in ["s3cret", "dTpzM2NyZXQ="] {
        assert!(!text.contains(secret), "{label}: {text}");
    }
}

const AUTHORIZATION: &str = "Proxy-Authorization: Basic dTpzM2NyZXQ=\r\n";

#[test]
fn http_in_absolute_form() {
    let proxy = Scripted::run(vec![(b"\r\n\r\n".into(), OK.into())]);
    let all = net(&["--allow-net"]);
    let got =
        fetch(&all, "http://origin.invalid:8080/a?b#c", &format!("http://u:s3cret@127.0.0.1:{}", proxy.port), |_| ());
    assert_eq!(got.unwrap(), (200, b"ok".to_vec()));
    let told = String::from_utf8(proxy.told()).unwrap();
    assert!(told.starts_with("GET http://origin.invalid:8080/a?b HTTP/1.1\r\nHost: origin.invalid:8080\r\n"), "{told}");
    assert!(told.contains(AUTHORIZATION), "{told}");
}

/// Rows 69, 70 and 72 of the hostile table: what a proxy answers to CONNECT.
#[test]
fn connect_answers() {
    let big = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let rows: &[(&str, &[u8], Kind)] = &[
        ("early bytes", b"HTTP/1.1 200 OK\r\n\r\nhello", Kind::Protocol),
        ("407", b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno", Kind::Socket),
        ("401", b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno", Kind::Socket),
        ("403", b"HTTP/1.1 403 No\r\n\r\n", Kind::Socket),
        ("502", b"HTTP/1.1 502 No\r\n\r\n", Kind::Socket),
        ("a redirect", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", Kind::Protocol),
        ("101", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Kind::Protocol),
        ("1 MB of headers", big.as_bytes(), Kind::Protocol),
        ("1xx for ever", &b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20), Kind::Protocol),
        ("not HTTP", b"SSH-2.0-OpenSSH\r\n", Kind::Protocol),
        ("a bad header", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Kind::Protocol),
        ("the end at once", CUT, Kind::ConnectionReset),
        ("no TLS inside", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Kind::Timeout),
        ("silence", b"", Kind::Timeout),
    ];
    let all = net(&["--allow-net"]);
    for (label, answer, expected) in rows {
        let proxy = Scripted::run(vec![(b"\r\n\r\n".into(), answer.to_vec())]);
        let started = Instant::now();
        let url = format!("http://u:s3cret@127.0.0.1:{}", proxy.port);
        let err = fetch(&all, "https://origin.invalid/secret-path", &url, |options| {
            options.connect_timeout = Some(Duration::from_millis(500));
        })
        .unwrap_err();
        assert_eq!(err.kind(), *expected, "{label}: {err:?}");
        assert!(started.elapsed() < Duration::from_secs(4), "{label}");
        assert_discreet(label, &err);
        let told = proxy.told();
        let told = String::from_utf8_lossy(&told);
        assert!(told.starts_with("CONNECT origin.invalid:443 HTTP/1.1\r\n"), "{label}: {told}");
        assert_eq!(told.matches("uthorization").count(), 1, "{label}: {told}");
        assert!(!told.contains("secret-path"), "{label}");
    }
}

/// Row 73: what a proxy answers in SOCKS5. The sans-IO table is in `src/http/socks.rs`.
#[test]
fn socks_answers() {
    let open = b"\x05\x00\x00\x01\0\0\0\0\0\0".as_slice();
    let rows: &[(&str, &[u8], &[u8], std::result::Result<(), Kind>)] = &[
        ("open", b"\x05\x00", open, Ok(())),
        ("no method", b"\x05\xff", b"", Err(Kind::Socket)),
        ("bad version", b"\x04\x00", b"", Err(Kind::Protocol)),
        ("refused", b"\x05\x00", b"\x05\x05\x00\x01\0\0\0\0\0\0", Err(Kind::ConnectionRefused)),
        ("bad reply version", b"\x05\x00", b"\x04\x00\x00\x01\0\0\0\0\0\0", Err(Kind::Protocol)),
        ("short reply", b"\x05\x00", b"\x05\x00\x00\x01\0", Err(Kind::Timeout)),
        ("early bytes", b"\x05\x00", b"\x05\x00\x00\x01\0\0\0\0\0\0HTTP/1.1 200 OK\r\n", Err(Kind::Protocol)),
        ("the end in the middle", b"\x05\x00", CUT, Err(Kind::ConnectionReset)),
    ];
    let all = net(&["--allow-net"]);
    for (label, method, reply, expected) in rows {
        let proxy = Scripted::run(vec![
            (b"\x05\x01\x00".into(), method.to_vec()),
            (b"\x0eorigin.invalid\x00\x50".into(), reply.to_vec()),
            (b"\r\n\r\n".into(), OK.to_vec()),
        ]);
        let url = format!("socks5h://127.0.0.1:{}", proxy.port);
        let got = fetch(&all, "http://origin.invalid/", &url, |options| {
            options.connect_timeout = Some(Duration::from_millis(500));
        });
        assert_eq!(got.as_ref().map(|_| ()).map_err(Error::kind), *expected, "{label}: {got:?}");
        let told = proxy.told();
        let inside = String::from_utf8_lossy(&told).into_owned();
        assert_eq!(
            inside.contains("GET / HTTP/1.1\r\nHost: origin.invalid\r\n"),
            expected.is_ok(),
            "{label}: {inside}"
        );
    }
}

/// What a proxy answers in SOCKS4. The sans-IO table is in `src/http/socks.rs`.
#[test]
fn socks4_answers() {
    let rows: &[(&str, &[u8], std::result::Result<(), Kind>)] = &[
        ("open", b"\0\x5a\0\0\0\0\0\0", Ok(())),
        ("refused", b"\0\x5b\0\0\0\0\0\0", Err(Kind::Socket)),
        ("no identd", b"\0\x5c\0\0\0\0\0\0", Err(Kind::Socket)),
        ("bad version", b"\x04\x5a\0\0\0\0\0\0", Err(Kind::Protocol)),
        ("an unknown code", b"\0\0\0\0\0\0\0\0", Err(Kind::Protocol)),
        ("short", b"\0\x5a\0\0\0", Err(Kind::Timeout)),
        ("early bytes", b"\0\x5a\0\0\0\0\0\0HTTP/1.1 200 OK\r\n", Err(Kind::Protocol)),
        ("the end at once", CUT, Err(Kind::ConnectionReset)),
    ];
    let all = net(&["--allow-net"]);
    for (label, reply, expected) in rows {
        let proxy =
            Scripted::run(vec![(b"\0origin.invalid\0".into(), reply.to_vec()), (b"\r\n\r\n".into(), OK.to_vec())]);
        let url = format!("socks4a://127.0.0.1:{}", proxy.port);
        let got = fetch(&all, "http://origin.invalid/", &url, |options| {
            options.connect_timeout = Some(Duration::from_millis(500));
        });
        assert_eq!(got.as_ref().map(|_| ()).map_err(Error::kind), *expected, "{label}: {got:?}");
        let told = proxy.told();
        assert!(told.starts_with(b"\x04\x01\0\x50\0\0\0\x01\0origin.invalid\0"), "{label}: {told:?}");
    }
    // Nothing that SOCKS4 could say: nothing is said.
    let proxy = Scripted::run(vec![]);
    for (scheme, target) in
        [("socks4", "http://[::1]/"), ("socks4a", "http://[::1]/"), ("socks4", "http://v6.invalid/")]
    {
        let url = format!("{scheme}://127.0.0.1:{}", proxy.port);
        let err = fetch(&all, target, &url, |options| {
            options.resolve = vec![("v6.invalid:80".parse_endpoint(), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST))];
        })
        .unwrap_err();
        assert!(err.is(Kind::Socket) && err.to_string().contains("socks5://"), "{scheme} {target}: {err}");
    }
    assert_eq!(proxy.told(), b"");
}

/// A proxy that answers 407 to everything, on as many connections as it is asked on: what it was told.
fn refusing(answer: &'static str) -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().take(8) {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            // As a proxy that keeps its connection: requests until the client has had enough.
            while let Some(head) = head(&mut stream) {
                if head.is_empty() || tell.send(head).is_err() || stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    (port, told)
}

/// A proxy that is never content: the challenges that are answered are counted, and nothing of them is a message.
#[test]
fn challenges_end() {
    let rows: &[(&str, &'static str, usize)] = &[
        ("a wrong password", "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"", 2),
        ("every nonce is stale", "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", stale=true", 3),
        ("only auth-int", "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"", 2),
        ("Basic, which was said", "Proxy-Authenticate: Basic realm=\"r\"", 1),
        ("no challenge", "X: y", 1),
        ("an origin's challenge", "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"", 1),
        ("an open quote", "Proxy-Authenticate: Digest realm=\"r, nonce=\"n", 1),
        ("an unknown algorithm", "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=ROT13", 1),
        ("two nonces", "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", nonce=\"m\"", 1),
    ];
    let all = net(&["--allow-net"]);
    for (label, field, heads) in rows {
        let answer = format!("HTTP/1.1 407 No\r\n{field}\r\nContent-Length: 2\r\n\r\nno");
        for target in ["https://origin.invalid/", "http://origin.invalid/"] {
            let (port, told) = refusing(String::leak(answer.clone()));
            let got = fetch(&all, target, &format!("http://u:s3cret@127.0.0.1:{port}"), |_| ());
            match &got {
                // Without a tunnel the proxy's answer is the response.
                Ok((status, _)) => assert_eq!((*status, target), (407, "http://origin.invalid/"), "{label}"),
                Err(err) => {
                    assert!(err.is(Kind::Socket) && target.starts_with("https"), "{label}: {err:?}");
                    assert_discreet(label, err);
                }
            }
            let told: Vec<_> = told.try_iter().collect();
            assert_eq!(told.len(), *heads, "{label} {target}: {told:?}");
            // The first one says Basic, unless it is told otherwise; what is signed is what is asked for.
            assert!(told[0].contains(AUTHORIZATION), "{label}: {told:?}");
            let uri = if target.starts_with("https") {
                "uri=\"origin.invalid:443\""
            } else {
                "uri=\"http://origin.invalid/\""
            };
            assert!(told[1..].iter().all(|head| head.contains("Proxy-Authorization: Digest ") && head.contains(uri)));
        }
    }
}

/// A 407 that comes through a tunnel is the origin's, and no proxy's: it is shown nothing.
#[test]
fn a_407_inside_a_tunnel_is_an_answer() {
    let no = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\nContent-Length: 2\r\n\r\nno";
    let proxy =
        Scripted::run(vec![(b"\r\n\r\n".into(), b"HTTP/1.1 200 OK\r\n\r\n".into()), (b"\r\n\r\n".into(), no.to_vec())]);
    let got = fetch(
        &net(&["--allow-net"]),
        "http://origin.invalid/",
        &format!("http://u:s3cret@127.0.0.1:{}", proxy.port),
        |options| {
            let mut tunnel = options.proxy.take().unwrap();
            tunnel.tunnel = true;
            tunnel.header(b"X-Team", b"one").unwrap();
            options.proxy = Some(tunnel);
        },
    );
    assert_eq!(got.unwrap().0, 407);
    let told = String::from_utf8(proxy.told()).unwrap();
    let (outside, inside) = told.split_once("\r\n\r\n").unwrap();
    assert!(
        outside.starts_with("CONNECT origin.invalid:80 HTTP/1.1\r\n") && outside.contains("\r\nX-Team: one"),
        "{told}"
    );
    assert!(inside.starts_with("GET / HTTP/1.1\r\nHost: origin.invalid\r\n"), "{told}");
    assert!(!inside.contains("X-Team") && !inside.contains("uthorization"), "{told}");
}

#[test]
fn socks_login_stays_outside() {
    let proxy = Scripted::run(vec![
        (b"\x05\x02\x00\x02".into(), b"\x05\x02".into()),
        (b"\x01\x01u\x06s3cret".into(), b"\x01\x00".into()),
        (b"\x01\x7f\0\0\x01\x1f\x90".into(), b"\x05\x00\x00\x01\0\0\0\0\0\0".into()),
        (b"\r\n\r\n".into(), OK.into()),
    ]);
    let all = net(&["--allow-net"]);
    let got =
        fetch(&all, "http://localhost:8080/", &format!("socks5://u:s3cret@127.0.0.1:{}", proxy.port), |options| {
            options.resolve = vec![("localhost:8080".parse_endpoint(), IpAddr::V4(Ipv4Addr::LOCALHOST))];
        });
    assert_eq!(got.unwrap().0, 200);
    let told = proxy.told();
    let request = told.windows(4).position(|w| w == b"GET ").unwrap();
    assert!(!String::from_utf8_lossy(&told[request..]).contains("s3cret"));
}

trait Parse {
    fn parse_endpoint(&self) -> caspian_net::address::Endpoint;
}

impl Parse for str {
    fn parse_endpoint(&self) -> caspian_net::address::Endpoint {
        caspian_net::address::Endpoint::parse(self).unwrap()
    }
}

/// The gate is asked about both ends, before a packet leaves; and a deny rule about addresses takes the choice of the
/// address away from the proxy.
#[test]
fn the_gate() {
    for (label, flags, scheme, target, expected) in [
        (
            "the proxy is not granted",
            &["--allow-net=origin.invalid"][..],
            "http",
            "http://origin.invalid/",
            Kind::HostNotAllowed,
        ),
        ("nor by socks", &["--allow-net=origin.invalid"], "socks5h", "http://origin.invalid/", Kind::HostNotAllowed),
        (
            "the origin is not granted",
            &["--allow-net=127.0.0.1"],
            "http",
            "http://origin.invalid/",
            Kind::HostNotAllowed,
        ),
        (
            "nor its port",
            &["--allow-net=127.0.0.1", "--allow-net=origin.invalid:443"],
            "http",
            "http://origin.invalid/",
            Kind::PortNotAllowed,
        ),
        ("nor by connect", &["--allow-net=127.0.0.1"], "http", "https://origin.invalid/", Kind::HostNotAllowed),
        (
            "the proxy's address is denied",
            &["--allow-net", "--deny-net=127.0.0.0/8"],
            "http",
            "http://origin.invalid/",
            Kind::HostNotAllowed,
        ),
        (
            "a denied literal",
            &["--allow-net", "--deny-net=10.0.0.0/8"],
            "http",
            "http://10.1.2.3/",
            Kind::HostNotAllowed,
        ),
        (
            "a name that has no permitted address",
            &["--allow-net", "--deny-net=10.0.0.0/8"],
            "http",
            "http://origin.invalid/",
            Kind::DnsFailure,
        ),
        (
            "nor by socks5h",
            &["--allow-net", "--deny-net=10.0.0.0/8"],
            "socks5h",
            "http://origin.invalid/",
            Kind::DnsFailure,
        ),
        (
            "names under --no-dns",
            &["--allow-net", "--no-dns"],
            "socks5h",
            "http://origin.invalid/",
            Kind::HostNotAllowed,
        ),
    ] {
        let proxy = Scripted::run(vec![(b"\r\n\r\n".into(), OK.into())]);
        let err = fetch(&net(flags), target, &format!("{scheme}://127.0.0.1:{}", proxy.port), |_| ()).unwrap_err();
        assert!(err.is(expected), "{label}: {err:?}");
        assert_eq!(proxy.told(), b"", "{label}");
    }
}

#[test]
fn under_deny_rules_the_proxy_is_told_the_address() {
    let proxy =
        Scripted::run(vec![(b"\r\n\r\n".into(), b"HTTP/1.1 200 OK\r\n\r\n".into()), (b"\r\n\r\n".into(), OK.into())]);
    let watched = net(&["--allow-net", "--deny-net=10.0.0.0/8"]);
    let got = fetch(
        &watched,
        "http://origin.invalid:8080/",
        &format!("http://u:s3cret@127.0.0.1:{}", proxy.port),
        |options| {
            options.resolve = vec![("origin.invalid:8080".parse_endpoint(), "192.0.2.1".parse().unwrap())];
        },
    );
    assert_eq!(got.unwrap().0, 200);
    let told = String::from_utf8(proxy.told()).unwrap();
    assert!(told.starts_with("CONNECT 192.0.2.1:8080 HTTP/1.1\r\n"), "{told}");
    assert!(told.contains("\r\n\r\nGET / HTTP/1.1\r\nHost: origin.invalid:8080\r\n"), "{told}");
    assert_eq!(told.matches("uthorization").count(), 1, "{told}");

    let proxy = Scripted::run(vec![]);
    let err = fetch(&watched, "http://origin.invalid/", &format!("socks5h://127.0.0.1:{}", proxy.port), |options| {
        options.resolve = vec![("origin.invalid:80".parse_endpoint(), "10.0.0.1".parse().unwrap())];
    });
    assert_eq!(err.unwrap_err().kind(), Kind::AddressNotAllowed);
    assert_eq!(proxy.told(), b"");
}

/// A server's side of TLS for `names`, and the certificate to trust.
fn server_tls(names: &[&str]) -> (Arc<rustls::ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed(names.iter().map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(caspian_net::crypto::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    (Arc::new(config), made.cert.pem())
}

/// An https proxy: the request in absolute form inside one TLS, or CONNECT and TLS in TLS.
#[test]
fn https_proxies() {
    let (outer, outer_pem) = server_tls(&["127.0.0.1"]);
    let (inner, inner_pem) = server_tls(&["origin.invalid"]);
    let all = net(&["--allow-net"]);
    for (target, trusted, expected) in [
        ("http://origin.invalid/x", [&outer_pem, &inner_pem].map(String::as_str).concat(), Ok(())),
        ("https://origin.invalid/x", [&outer_pem, &inner_pem].map(String::as_str).concat(), Ok(())),
        ("https://origin.invalid/x", inner_pem.clone(), Err(Kind::Tls)),
        ("https://origin.invalid/x", outer_pem.clone(), Err(Kind::Tls)),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (outer, inner) = (Arc::clone(&outer), Arc::clone(&inner));
        let proxy = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(outer).unwrap(), stream);
            let mut seen = vec![head(&mut stream).unwrap_or_default()];
            if seen[0].starts_with("CONNECT ") {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(inner).unwrap(), stream);
                seen.push(head(&mut stream).unwrap_or_default());
                let _ = stream.write_all(OK);
                let _ = stream.read(&mut [0]);
            } else {
                let _ = stream.write_all(OK);
                let _ = stream.read(&mut [0]);
            }
            seen
        });
        let got = fetch(&all, target, &format!("https://u:s3cret@127.0.0.1:{port}"), |options| {
            options.tls.change(|tls| tls.ca_bundle = Some(trusted.into_bytes()));
        });
        assert_eq!(got.as_ref().map(|_| ()).map_err(Error::kind), expected, "{target}: {got:?}");
        let seen = proxy.join().unwrap();
        if expected.is_ok() {
            let (last, connect) = (seen.last().unwrap(), &seen[0]);
            assert!(connect.contains(AUTHORIZATION), "{connect}");
            if target.starts_with("https") {
                assert!(connect.starts_with("CONNECT origin.invalid:443 HTTP/1.1\r\n"), "{connect}");
                assert!(last.starts_with("GET /x HTTP/1.1\r\nHost: origin.invalid\r\n"), "{last}");
                assert!(!last.contains("uthorization"), "{last}");
            } else {
                assert!(last.starts_with("GET http://origin.invalid/x HTTP/1.1\r\n"), "{last}");
            }
        }
    }
}
