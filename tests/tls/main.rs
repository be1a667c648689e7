//! TLS on loopback: peers of every kind and what was negotiated, each row with what must come of it. Certificates of every
//! kind have a table of their own.

#![allow(clippy::disallowed_methods, reason = "the tests are the world outside")]
#![allow(clippy::type_complexity, reason = "a table's type is read in its rows")]

mod certificates;
mod groups;
#[path = "../tls_support/mod.rs"]
mod tls_support;

use caspian_net::{
    crypto::aead,
    deadline::Deadline,
    error::Kind,
    tls::{ClientConfigs, ClientOptions, ClientTls, ServerOptions, ServerTls, Tls, Version},
};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};
use tls_support::*;

#[test]
fn peers_of_every_kind() {
    /// What the peer does once it has the ClientHello.
    enum Peer {
        Says(&'static [u8]),
        SaysAndStays(&'static [u8]),
    }
    use Peer::{Says, SaysAndStays};
    const LONG: &[u8] = &[0x16; 70_000];
    let rows: Vec<(&str, Peer, Kind, &str)> = vec![
        ("closes at once", Says(b""), Kind::ConnectionReset, "closed the connection"),
        ("closes in a record's head", Says(b"\x16\x03"), Kind::ConnectionReset, "closed the connection"),
        ("closes in a record", Says(b"\x16\x03\x03\x00\x40\x02\x00"), Kind::ConnectionReset, "closed the connection"),
        ("stalls", SaysAndStays(b""), Kind::Timeout, "TLS handshake with"),
        ("stalls in a record", SaysAndStays(b"\x16\x03\x03\x00\x40\x02\x00"), Kind::Timeout, "timed out"),
        (
            "plain HTTP",
            Says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Kind::Tls,
            "does not speak TLS (it says \"HTTP/1.1 400",
        ),
        (
            "SMTP that speaks first",
            SaysAndStays(b"220 mail.example.com ESMTP\r\n"),
            Kind::Tls,
            "does not speak TLS (it says \"220 ",
        ),
        ("garbage", SaysAndStays(b"\x99\xfe\x00\x01\x02\x03\x04\x05\x06\x07\x08"), Kind::Tls, "does not speak TLS"),
        ("alert protocol_version (TLS 1.0 only)", Says(b"\x15\x03\x01\x00\x02\x02\x46"), Kind::Tls, "offered versions"),
        ("alert handshake_failure (no suite)", Says(b"\x15\x03\x03\x00\x02\x02\x28"), Kind::Tls, "cipher suites"),
        ("alert no_application_protocol", Says(b"\x15\x03\x03\x00\x02\x02\x78"), Kind::Tls, "alpn"),
        ("alert of no known kind", Says(b"\x15\x03\x03\x00\x02\x02\xee"), Kind::Tls, "alert"),
        ("alert cut short", Says(b"\x15\x03\x03\x00\x01\x02"), Kind::Tls, ""),
        ("close_notify instead of a hello", Says(b"\x15\x03\x03\x00\x02\x01\x00"), Kind::ConnectionReset, "closed"),
        ("record of 2^14+2049 bytes", SaysAndStays(b"\x16\x03\x03\x48\x01"), Kind::Tls, ""),
        ("empty records for ever", Says(&EMPTY_RECORDS), Kind::Tls, ""),
        ("application data before the handshake", Says(b"\x17\x03\x03\x00\x05hello"), Kind::Tls, ""),
        ("ServerHello of TLS 1.0", Says(&HELLO_10), Kind::Tls, "version"),
        ("handshake message of 16 MiB", SaysAndStays(b"\x16\x03\x03\x00\x04\x02\xff\xff\xff"), Kind::Tls, ""),
        ("heartbeat record", Says(b"\x18\x03\x03\x00\x03\x01\x40\x00"), Kind::Tls, ""),
        ("0x16 for ever", Says(LONG), Kind::Tls, ""),
    ];
    let pki = Pki::new();
    let tls = ClientTls::new(&pki.client()).unwrap();
    for (name, peer, kind, words) in rows {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 4096]);
            match peer {
                Says(bytes) => {
                    let _ = socket.write_all(bytes);
                }
                SaysAndStays(bytes) => {
                    let _ = socket.write_all(bytes);
                    let _ = wait.recv_timeout(Duration::from_secs(20));
                }
            }
            // The client's alert is read, so that the close is no reset.
            let _ = socket.shutdown(Shutdown::Write);
            let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = std::io::copy(&mut socket, &mut std::io::sink());
        });
        let timeout = if kind == Kind::Timeout { 0.2 } else { 20.0 };
        let deadline = Deadline::after(Duration::from_secs_f64(timeout));
        let e = Tls::connect(Tcp::dial(port), &tls, &host("localhost"), &deadline).map(drop).expect_err(name);
        assert!(e.kind() == kind && e.fields().message.contains(words), "{name}: {e}");
        drop(done);
        thread.join().unwrap();
    }
}

static EMPTY_RECORDS: [u8; 5 * 4000] = {
    let mut bytes = [0; 5 * 4000];
    let mut i = 0;
    while i < bytes.len() {
        bytes[i] = 0x16;
        bytes[i + 1] = 3;
        bytes[i + 2] = 3;
        i += 5;
    }
    bytes
};

/// A whole ServerHello that chooses TLS 1.0 and TLS_RSA_WITH_AES_128_CBC_SHA.
const HELLO_10: [u8; 5 + 4 + 38] = {
    let mut bytes = [0; 47];
    let head = [0x16, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
    let mut i = 0;
    while i < head.len() {
        bytes[i] = head[i];
        i += 1;
    }
    bytes[44] = 0;
    bytes[45] = 0x2f;
    bytes
};

/// A session ticket in a record of TLS 1.3 (RFC 8446, sections 4.6.1 and 5.2): nothing for the caller.
fn ticket(key: &aead::LessSafeKey, iv: &[u8], sequence: u64) -> Vec<u8> {
    const TICKET: &[u8] = b"\x04\0\0\x0f\0\0\x0e\x10\0\0\0\0\x01n\0\x01t\0\0";
    let mut nonce: [u8; 12] = iv.try_into().unwrap();
    nonce[4..].iter_mut().zip(sequence.to_be_bytes()).for_each(|(n, s)| *n ^= s);
    let mut inner = [TICKET, &[0x16]].concat();
    let mut record = vec![0x17, 3, 3, 0, inner.len() as u8 + 16];
    let aad = aead::Aad::from(record.clone());
    key.seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(nonce), aad, &mut inner).unwrap();
    record.extend(inner);
    record
}

/// Session tickets without end: each call ends with its deadline all the same.
#[test]
fn a_peer_that_floods_meets_the_deadline() {
    let pki = Pki::new();
    let mut config = (*rustls_server(&pki.root.issue(leaf(&["localhost"])))).clone();
    config.enable_secret_extraction = true;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut conn = rustls::ServerConnection::new(config.into()).unwrap();
        while conn.is_handshaking() || conn.wants_write() {
            conn.complete_io(&mut socket).unwrap();
        }
        let (first, secrets) = conn.dangerous_extract_secrets().unwrap().tx;
        let (cipher, key, iv) = match &secrets {
            rustls::ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv),
            rustls::ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv),
            rustls::ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&aead::CHACHA20_POLY1305, key, iv),
            _ => panic!("another cipher"),
        };
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(cipher, key.as_ref()).unwrap());
        // Ends when the client has gone.
        for turn in 0.. {
            let records: Vec<u8> =
                (0..1000).flat_map(|at| ticket(&key, iv.as_ref(), first + turn * 1000 + at)).collect();
            if socket.write_all(&records).is_err() {
                return;
            }
        }
    });
    let client = ClientTls::new(&pki.client()).unwrap();
    let mut tls = Tls::connect(Tcp::dial(port), &client, &host("localhost"), &soon()).unwrap();
    let flood = |tls: &Tls<Tcp>, wait: Duration| {
        let socket = &tls.transport().0;
        socket.set_read_timeout(Some(wait)).unwrap();
        socket.peek(&mut [0]).is_ok_and(|count| count > 0)
    };
    assert!(flood(&tls, Duration::from_secs(20)), "the flood begins");
    for wait in [Duration::from_millis(200), Duration::ZERO, Duration::from_millis(100)] {
        let started = Instant::now();
        let answer = tls.read(&mut [0; 16], &Deadline::after(wait));
        assert!(answer.as_ref().is_err_and(|e| e.is(Kind::Timeout)), "{wait:?}: {answer:?}");
        assert!(started.elapsed() < wait + Duration::from_secs(5), "{wait:?}: {:?}", started.elapsed());
        assert!(flood(&tls, Duration::from_secs(1)), "the flood outlasts the call");
    }
    let started = Instant::now();
    tls.settle();
    assert_eq!(tls.read_now(&mut [0; 16]).unwrap(), None);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn servers_meet_peers_of_every_kind_too() {
    let pki = Pki::new();
    for (name, bytes, kind, words) in [
        ("closes at once", &b""[..], Kind::ConnectionReset, "closed"),
        (
            "plain HTTP",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            Kind::Tls,
            "does not speak TLS (it says \"GET / HTTP/1.1\")",
        ),
        ("garbage", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", Kind::Tls, "does not speak TLS"),
        ("empty hello", b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", Kind::Tls, "malformed"),
        ("alert", b"\x15\x03\x01\x00\x02\x02\x30", Kind::Tls, "issuer"),
    ] {
        let server = serve_echo(ServerTls::new(&pki.root.issue(leaf(&["localhost"])).server()).unwrap());
        let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        socket.write_all(bytes).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let e = server.outcome().expect_err(name);
        assert!(e.kind() == kind && e.fields().message.contains(words), "{name}: {e}");
    }
}

#[test]
fn versions_and_protocols_are_negotiated() {
    use Version::{Tls12, Tls13};
    let pki = Pki::new();
    let all: &[Version] = &[];
    type Words = &'static [&'static str];
    let rows: [(&[Version], &[Version], Words, Words, Result<(&str, Option<&str>), &str>); 10] = [
        (all, all, &[], &[], Ok(("TLSv1.3", None))),
        (all, &[Tls12], &[], &[], Ok(("TLSv1.2", None))),
        (all, &[Tls13], &[], &[], Ok(("TLSv1.3", None))),
        (&[Tls12], all, &[], &[], Ok(("TLSv1.2", None))),
        (&[Tls12], &[Tls13], &[], &[], Err("version")),
        (&[Tls13], &[Tls12], &[], &[], Err("version")),
        (all, all, &["h2", "http/1.1"], &["http/1.1"], Ok(("TLSv1.3", Some("http/1.1")))),
        (&[Tls12], all, &["h2", "http/1.1"], &["http/1.1", "h2"], Ok(("TLSv1.2", Some("http/1.1")))),
        (all, all, &["h2"], &[], Ok(("TLSv1.3", None))),
        (all, all, &["h2"], &["imap"], Err("alpn")),
    ];
    for (client, server, offered, spoken, expected) in rows {
        let mut options = pki.root.issue(leaf(&["localhost"])).server();
        options.protocols = server.to_vec();
        options.alpn = spoken.iter().map(|name| name.as_bytes().to_vec()).collect();
        let server = serve_echo(ServerTls::new(&options).unwrap());
        let tls = ClientTls::new(&ClientOptions {
            protocols: client.to_vec(),
            alpn: offered.iter().map(|name| name.as_bytes().to_vec()).collect(),
            ..pki.client()
        })
        .unwrap();
        let result = Tls::connect(server.dial(), &tls, &host("localhost"), &soon());
        match expected {
            Ok((version, alpn)) => {
                let mut tls = result.unwrap();
                assert_eq!((tls.protocol(), tls.alpn()), (version, alpn.map(str::as_bytes)));
                assert!(tls.cipher().starts_with("TLS_") && tls.cipher().contains("_WITH_") == (version == "TLSv1.2"));
                echo(&mut tls).unwrap();
            }
            Err(words) => {
                let e = result.map(drop).unwrap_err();
                assert!(e.is(Kind::Tls) && e.fields().message.contains(words), "{offered:?} {spoken:?}: {e}");
            }
        }
    }
}

#[test]
fn sessions_are_resumed_only_where_they_were_made() {
    let pki = Pki::new();
    for version in Version::ALL {
        let server = serve_echo(ServerTls::new(&pki.root.issue(leaf(&["localhost"])).server()).unwrap());
        let options = ClientOptions { protocols: vec![version], ..pki.client() };
        let connect = |tls: &ClientTls| {
            let mut conn = Tls::connect(server.dial(), tls, &host("localhost"), &soon()).unwrap();
            echo(&mut conn).unwrap();
            conn.resumed()
        };
        let tls = ClientTls::new(&options).unwrap();
        assert_eq!([connect(&tls), connect(&tls), connect(&tls.clone())], [false, true, true], "{}", version.word());
        // One capability shares them between equal options.
        let configs = ClientConfigs::default();
        assert_eq!([0; 3].map(|_| connect(&configs.client(&options).unwrap())), [false, true, true]);
        configs.clear();
        assert!(!connect(&configs.client(&options).unwrap()));
        // Equal options in another capability, and other options: nothing is shared.
        assert!(!connect(&ClientTls::new(&options).unwrap()));
        let blind = ClientTls::new(&ClientOptions { verify: false, ..options.clone() }).unwrap();
        assert_eq!([connect(&blind), connect(&blind)], [false, true]);
        assert!(connect(&tls));
        let refused = ClientOptions { ca_bundle: Some(Pki::stranger().root.pem.into()), ..options };
        let refused = ClientTls::new(&refused).unwrap();
        let e = Tls::connect(server.dial(), &refused, &host("localhost"), &soon()).map(drop).unwrap_err();
        assert!(e.is(Kind::Tls), "{e}");
    }
}

#[test]
fn the_identity_tells_every_option_apart() {
    let pem = |text: &str| Some(text.as_bytes().to_vec());
    let base = ClientOptions::default();
    let options = [
        base.clone(),
        ClientOptions { verify: false, ..base.clone() },
        ClientOptions { ca_bundle: pem("a"), ..base.clone() },
        ClientOptions { client_cert: pem("a"), ..base.clone() },
        ClientOptions { client_key: pem("a"), ..base.clone() },
        ClientOptions { client_cert: pem("a"), client_key: pem("b"), ..base.clone() },
        ClientOptions { sni: Some(host("a")), ..base.clone() },
        ClientOptions { protocols: vec![Version::Tls12], ..base.clone() },
        ClientOptions { protocols: vec![Version::Tls13], ..base.clone() },
        ClientOptions { alpn: vec![b"ab".to_vec()], ..base.clone() },
        ClientOptions { alpn: vec![b"a".to_vec(), b"b".to_vec()], ..base.clone() },
        ClientOptions { alpn: vec![b"b".to_vec(), b"a".to_vec()], ..base.clone() },
        ClientOptions { pins: vec![[1; 32]], ..base.clone() },
        ClientOptions { pins: vec![[1; 32], [2; 32]], ..base.clone() },
    ];
    for (i, a) in options.iter().enumerate() {
        for (j, b) in options.iter().enumerate() {
            assert_eq!(a.identity() == b.identity(), i == j, "{i} {j}");
        }
    }
    let same = [
        (ClientOptions { protocols: Version::ALL.to_vec(), ..base.clone() }, base.clone()),
        (
            ClientOptions { pins: vec![[2; 32], [1; 32], [2; 32]], ..base.clone() },
            ClientOptions { pins: vec![[1; 32], [2; 32]], ..base },
        ),
    ];
    for (a, b) in same {
        assert_eq!(a.identity(), b.identity());
    }
}

#[test]
fn pins_come_on_top() {
    let pki = Pki::new();
    let chain = pki.root.issue(leaf(&["localhost"]));
    let server = serve_echo(ServerTls::new(&chain.server()).unwrap());
    let stranger = Pki::stranger().root.pem;
    for (name, verify, bundle, pins, expected) in [
        ("right", true, &pki.root.pem, vec![chain.pin()], Ok(())),
        ("right among others", true, &pki.root.pem, vec![[7; 32], chain.pin()], Ok(())),
        ("wrong", true, &pki.root.pem, vec![[7; 32]], Err("none of the pins")),
        ("the authority's", true, &pki.root.pem, vec![pki.root.pin()], Err("none of the pins")),
        ("right, but the chain is not", true, &stranger, vec![chain.pin()], Err("issuer is unknown")),
        ("right, unverified", false, &stranger, vec![chain.pin()], Ok(())),
        ("wrong, unverified", false, &stranger, vec![[7; 32]], Err("none of the pins")),
    ] {
        for version in Version::ALL {
            let options = ClientOptions {
                verify,
                ca_bundle: Some(bundle.clone().into()),
                pins: pins.clone(),
                protocols: vec![version],
                ..ClientOptions::default()
            };
            let tls = ClientTls::new(&options).unwrap();
            let result = Tls::connect(server.dial(), &tls, &host("localhost"), &soon()).and_then(|mut t| echo(&mut t));
            match (expected, result) {
                (Ok(()), Ok(())) => {}
                (Err(words), Err(e)) if e.is(Kind::Tls) && e.fields().message.contains(words) => {}
                (_, result) => panic!("{name}: {result:?}"),
            }
        }
    }
}

#[test]
fn the_server_is_told_the_canonical_name_and_no_address() {
    let pki = Pki::new();
    for (dialled, sni, told) in [
        ("localhost", None, Some("localhost")),
        ("LOCALHOST.", None, Some("localhost")),
        ("bücher.example", None, Some("xn--bcher-kva.example")),
        ("127.0.0.1", None, None),
        ("::1", None, None),
        ("127.0.0.1", Some("localhost"), Some("localhost")),
        ("example.com", Some("localhost"), Some("localhost")),
        ("localhost", Some("127.0.0.1"), None),
    ] {
        let chain = pki.root.issue(leaf(&["localhost", "xn--bcher-kva.example", "127.0.0.1", "::1"]));
        let (port, thread) = serve_rustls(&chain, |conn, _| conn.server_name().map(str::to_owned));
        let tls = ClientTls::new(&ClientOptions { sni: sni.map(host), ..pki.client() }).unwrap();
        Tls::connect(Tcp::dial(port), &tls, &host(dialled), &soon()).unwrap();
        assert_eq!(thread.join().unwrap().as_deref(), told, "{dialled} {sni:?}");
    }
    // The name that is asked for is the name that is verified.
    let server = serve_echo(ServerTls::new(&pki.root.issue(leaf(&["localhost"])).server()).unwrap());
    let tls = ClientTls::new(&ClientOptions { sni: Some(host("example.com")), ..pki.client() }).unwrap();
    let e = Tls::connect(server.dial(), &tls, &host("localhost"), &soon()).map(drop).unwrap_err();
    assert!(e.fields().message.contains("not for example.com"), "{e}");
}

#[test]
fn wrong_options_name_themselves() {
    let pki = Pki::new();
    let (one, other) = (pki.root.issue(leaf(&["a"])), pki.root.issue(leaf(&["b"])));
    let pem = |text: &str| Some(text.as_bytes().to_vec());
    let base = ClientOptions::default();
    let broken = one.cert.replace("MII", "!!!");
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (options, words) in [
        (
            ClientOptions { ca_bundle: pem(""), ..base.clone() },
            "ca_bundle: no certificate found in the PEM (it is empty)",
        ),
        (ClientOptions { ca_bundle: pem(&one.key), ..base.clone() }, "ca_bundle: no certificate found in the PEM"),
        (ClientOptions { ca_bundle: pem(&broken), ..base.clone() }, "ca_bundle: the PEM is not valid base64"),
        (ClientOptions { ca_bundle: pem(not_der), ..base.clone() }, "ca_bundle: certificate 1 cannot be used"),
        (ClientOptions { verify: false, ca_bundle: pem("x"), ..base.clone() }, "ca_bundle: no certificate found"),
        (
            ClientOptions { client_cert: pem(&one.cert), ..base.clone() },
            "client_cert: needs client_key, which is missing",
        ),
        (
            ClientOptions { client_key: pem(&one.key), ..base.clone() },
            "client_key: needs client_cert, which is missing",
        ),
        (
            ClientOptions { client_cert: pem(&one.cert), client_key: pem(&one.cert), ..base.clone() },
            "client_key: no private key found in the PEM",
        ),
        (
            ClientOptions { client_cert: pem(&one.cert), client_key: pem(&other.key), ..base.clone() },
            "client_key: the key does not belong to the certificate",
        ),
        (ClientOptions { alpn: vec![Vec::new()], ..base.clone() }, "alpn: a protocol name has 1 to 255 bytes"),
        (ClientOptions { alpn: vec![vec![0; 256]], ..base.clone() }, "alpn: a protocol name has 1 to 255 bytes"),
    ] {
        let e = ClientTls::new(&options).expect_err(words);
        assert!(e.is(Kind::Tls) && e.fields().message.contains(words), "{e}");
    }
    let good = one.server();
    for (options, words) in [
        (ServerOptions { cert: Vec::new(), ..good.clone() }, "cert: no certificate found in the PEM"),
        (ServerOptions { key: None, ..good.clone() }, "cert: needs key, which is missing"),
        (ServerOptions { key: pem(&other.key), ..good.clone() }, "key: the key does not belong to the certificate"),
        (ServerOptions { client_ca: pem("x"), ..good.clone() }, "client_ca: no certificate found in the PEM"),
    ] {
        let e = ServerTls::new(&options).expect_err(words);
        assert!(e.is(Kind::Tls) && e.fields().message.contains(words), "{e}");
    }
    // A key beside its certificate in one file will do.
    ServerTls::new(&ServerOptions { cert: (one.cert.clone() + &one.key).into(), key: None, ..good }).unwrap();
    ClientTls::new(&ClientOptions { client_cert: pem(&(one.cert + &one.key)), ..base }).unwrap();
}

#[test]
fn the_end_of_the_stream_is_told_from_a_cut() {
    let pki = Pki::new();
    let chain = pki.root.issue(leaf(&["localhost"]));
    let tls = ClientTls::new(&pki.client()).unwrap();
    for clean in [true, false] {
        let (port, thread) = serve_rustls(&chain, move |conn, socket| {
            conn.writer().write_all(b"some bytes").unwrap();
            if clean {
                conn.send_close_notify();
            }
            conn.write_tls(socket).unwrap();
            socket.shutdown(Shutdown::Write).unwrap();
            let _ = std::io::copy(socket, &mut std::io::sink());
        });
        let mut conn = Tls::connect(Tcp::dial(port), &tls, &host("localhost"), &soon()).unwrap();
        let mut got = [0; 4];
        assert_eq!(conn.read(&mut got, &soon()).unwrap(), 4);
        assert!(conn.ready());
        let mut rest = [0; 100];
        assert_eq!(conn.read(&mut rest, &soon()).unwrap(), 6);
        for _ in 0..2 {
            let end = conn.read(&mut rest, &soon());
            match clean {
                true => assert_eq!(end.unwrap(), 0),
                false => assert!(end.unwrap_err().is(Kind::ConnectionReset)),
            }
            assert!(conn.ready() && conn.settle());
        }
        drop(conn);
        thread.join().unwrap();
    }
}

#[test]
fn the_certificate_of_the_peer_can_be_read() {
    let pki = Pki::new();
    let mut params = leaf(&["localhost", "127.0.0.1", "*.example.com"]);
    params.not_before = rcgen::date_time_ymd(2020, 1, 2);
    params.not_after = rcgen::date_time_ymd(2999, 3, 4);
    params.serial_number = Some(rcgen::SerialNumber::from(0x1234_5678));
    params.distinguished_name.push(rcgen::DnType::CommonName, "a\u{1b}[31mname");
    let chain = pki.root.issue(params);
    let server = serve_echo(ServerTls::new(&chain.server()).unwrap());
    let conn =
        Tls::connect(server.dial(), &ClientTls::new(&pki.client()).unwrap(), &host("localhost"), &soon()).unwrap();
    let cert = conn.peer_cert().unwrap();
    assert_eq!(cert.subject, "CN=a\\u{1b}[31mname");
    assert_eq!(cert.issuer, "CN=root");
    assert_eq!(cert.valid_from, "2020-01-02T00:00:00Z");
    assert_eq!(cert.valid_until, "2999-03-04T00:00:00Z");
    assert_eq!(cert.not_before, 1_577_923_200);
    assert_eq!(cert.sans, ["localhost", "127.0.0.1", "*.example.com"]);
    assert_eq!(cert.serial, "12345678");
    assert_eq!(cert.pem.replace('\n', ""), chain.cert.replace(['\r', '\n'], ""));
    assert_eq!(cert.pin, chain.pin().iter().map(|b| format!("{b:02x}")).collect::<String>());
    assert_eq!(cert.fingerprint.len(), 64);
}

#[test]
#[allow(unsafe_code)]
fn a_forked_child_leaves_the_connection_alone() {
    let pki = Pki::new();
    let server = serve_echo(ServerTls::new(&pki.root.issue(leaf(&["localhost"])).server()).unwrap());
    let tls = ClientTls::new(&pki.client()).unwrap();
    let mut conn = Tls::connect(server.dial(), &tls, &host("localhost"), &soon()).unwrap();
    // SAFETY: the child touches only this connection's memory and leaves without running anything else.
    match unsafe { libc::fork() } {
        0 => {
            let refused = conn.write(b"x", &soon()).is_err() && conn.read(&mut [0], &soon()).is_err() && conn.settle();
            conn.close_notify();
            drop(conn);
            // SAFETY: ends the child, and nothing but the child.
            unsafe { libc::_exit(if refused { 0 } else { 1 }) }
        }
        child => {
            let mut status = -1;
            // SAFETY: `status` lives on this frame; `child` is ours.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert_eq!(status, 0);
        }
    }
    // The child's close_notify would have ended this.
    echo(&mut conn).unwrap();
}
