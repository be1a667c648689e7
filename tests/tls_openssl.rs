//! OpenSSL at the other end: the judge who has not read our code. Needs the `openssl` command.

#![allow(clippy::disallowed_methods, reason = "the tests are the world outside")]

mod tls_support;

use caspian_net::{
    deadline::Deadline,
    error::{Kind, Result},
    tls::{ClientOptions, ClientTls, ServerTls, Tls, Version},
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};
use tls_support::*;

const LONG: Duration = Duration::from_secs(20);

/// Files of one test, gone when it ends.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("caspian-net-tls-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Dir(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// Runs `openssl` to its end.
    fn openssl(&self, line: &str) -> Output {
        openssl(&self.0, line).stdin(Stdio::null()).output().expect("needs the openssl command (Debian: openssl)")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn openssl(dir: &Path, line: &str) -> Command {
    let mut command = Command::new("openssl");
    command.args(line.split_whitespace()).current_dir(dir).env_remove("SSLKEYLOGFILE");
    command
}

/// A running `openssl`, whose lines arrive on a channel. Ends with its owner.
struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Peer {
    fn start(dir: &Dir, line: &str) -> Peer {
        let mut child = openssl(&dir.0, line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("needs the openssl command (Debian: openssl)");
        let (tell, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.split(b'\n').map_while(std::result::Result::ok) {
                let _ = tell.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Peer { stdin: child.stdin.take(), child, lines }
    }

    /// Waits for a line that holds `words`; what it holds behind them.
    fn line(&self, words: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LONG).unwrap_or_else(|e| panic!("no {words:?} from openssl: {e}"));
            if let Some((_, rest)) = line.split_once(words) {
                return rest.trim().to_owned();
            }
        }
    }

    fn say(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `openssl s_server` on a port of its choice. With `-rev` it sends each line back, reversed.
fn s_server(dir: &Dir, options: &str) -> (Peer, u16) {
    let peer = Peer::start(dir, &format!("s_server -accept 127.0.0.1:0 {options}"));
    let port = peer.line("ACCEPT 127.0.0.1:").parse().unwrap();
    (peer, port)
}

fn reversed(tls: &mut Tls<Tcp>) -> Result<()> {
    tls.write(b"olleh\n", &soon())?;
    let mut back = Vec::new();
    while !back.ends_with(b"\n") {
        let mut buf = [0; 100];
        match tls.read(&mut buf, &soon())? {
            0 => break,
            count => back.extend_from_slice(&buf[..count]),
        }
    }
    assert_eq!(back, b"hello\n");
    Ok(())
}

/// A directory with `root.pem`, `root.key`, and the chains of an ECDSA server and a client.
fn prepared() -> (Dir, Pki) {
    let (dir, pki) = (Dir::new(), Pki::new());
    let server = pki.root.issue(leaf(&["localhost"]));
    let mut params = leaf(&["client"]);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let client = pki.root.issue(params);
    for (name, text) in [
        ("root.pem", &pki.root.pem),
        ("root.key", &pki.root.key()),
        ("ec.pem", &server.cert),
        ("ec.key", &server.key),
        ("client.pem", &client.cert),
        ("client.key", &client.key),
    ] {
        dir.write(name, text);
    }
    dir.write("ext", "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n");
    (dir, pki)
}

/// `NAME.pem` and `NAME.key`, issued by the root.
fn issue(dir: &Dir, name: &str, key: &str, sign: &str) {
    for line in [
        format!("genpkey {key} -out {name}.key"),
        format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"),
        format!("x509 -req -in {name}.csr -CA root.pem -CAkey root.key -set_serial 77 -days 2 -out {name}.pem {sign}"),
    ] {
        let output = dir.openssl(&line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn servers_of_openssl() {
    let (dir, pki) = prepared();
    issue(&dir, "rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "-sha256 -extfile ext");
    issue(&dir, "p384", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "-sha384 -extfile ext");
    issue(&dir, "ed25519", "-algorithm ED25519", "-sha256 -extfile ext");
    issue(&dir, "small", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "-sha256 -extfile ext");
    issue(&dir, "p521", "-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "-sha256 -extfile ext");
    issue(&dir, "sha512", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "-sha512 -extfile ext");
    issue(&dir, "sha224", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "-sha224 -extfile ext");
    issue(&dir, "sha1", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "-sha1 -extfile ext");
    let none = ClientOptions::default();
    let shown = ClientOptions {
        client_cert: Some(dir.read("client.pem").into()),
        client_key: Some(dir.read("client.key").into()),
        ..none.clone()
    };
    let only = |version| ClientOptions { protocols: vec![version], ..none.clone() };
    let alpn = ClientOptions { alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()], ..none.clone() };
    const EC: &str = "-cert ec.pem -key ec.key";
    const RSA: &str = "-cert rsa.pem -key rsa.key";
    type Expected = std::result::Result<(&'static str, &'static str), &'static str>;
    // What ring lacks.
    let only_full = |words| if cfg!(feature = "full") { Ok(("TLSv1.3", "TLS_AES")) } else { Err(words) };
    let rows: Vec<(&str, &str, ClientOptions, Expected)> = vec![
        (EC, "", none.clone(), Ok(("TLSv1.3", "TLS_AES"))),
        (EC, "-tls1_2", none.clone(), Ok(("TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_"))),
        (EC, "-tls1_3", none.clone(), Ok(("TLSv1.3", "TLS_AES"))),
        (EC, "", only(Version::Tls12), Ok(("TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_"))),
        (EC, "", only(Version::Tls13), Ok(("TLSv1.3", "TLS_AES"))),
        (EC, "-tls1_2", only(Version::Tls13), Err("version")),
        (EC, "-tls1_3", only(Version::Tls12), Err("version")),
        (EC, "-tls1_1 -cipher ALL:@SECLEVEL=0", none.clone(), Err("version")),
        (EC, "-tls1 -cipher ALL:@SECLEVEL=0", none.clone(), Err("version")),
        (RSA, "-tls1_2", none.clone(), Ok(("TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_"))),
        (RSA, "-tls1_3", none.clone(), Ok(("TLSv1.3", "TLS_AES"))),
        ("-cert p384.pem -key p384.key", "", none.clone(), Ok(("TLSv1.3", "TLS_AES"))),
        ("-cert ed25519.pem -key ed25519.key", "", none.clone(), Ok(("TLSv1.3", "TLS_AES"))),
        (
            EC,
            "-ciphersuites TLS_CHACHA20_POLY1305_SHA256",
            none.clone(),
            Ok(("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256")),
        ),
        (EC, "-ciphersuites TLS_AES_128_GCM_SHA256", none.clone(), Ok(("TLSv1.3", "TLS_AES_128_GCM_SHA256"))),
        (
            RSA,
            "-tls1_2 -cipher ECDHE-RSA-CHACHA20-POLY1305",
            none.clone(),
            Ok(("TLSv1.2", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")),
        ),
        (RSA, "-tls1_2 -cipher AES128-SHA", none.clone(), Err("no parameters in common")),
        (RSA, "-tls1_2 -cipher ECDHE-RSA-AES128-SHA", none.clone(), Err("no parameters in common")),
        ("-cert p521.pem -key p521.key", "", none.clone(), only_full("no parameters in common")),
        ("-cert sha512.pem -key sha512.key", "", none.clone(), only_full("ECDSA with SHA-512")),
        ("-cert sha224.pem -key sha224.key", "", none.clone(), Err("ECDSA with SHA-224")),
        (EC, "-groups P-384", none.clone(), Ok(("TLSv1.3", "TLS_AES"))),
        (EC, "-groups X448", none.clone(), Err("no parameters in common")),
        (EC, "-alpn http/1.1", alpn.clone(), Ok(("TLSv1.3", "TLS_AES"))),
        (EC, "-tls1_2 -alpn http/1.1", alpn.clone(), Ok(("TLSv1.2", "TLS_ECDHE"))),
        (EC, "-alpn imap", alpn, Err("alpn")),
        (EC, "-Verify 1 -CAfile root.pem -verify_return_error", shown.clone(), Ok(("TLSv1.3", "TLS_AES"))),
        (EC, "-Verify 1 -CAfile root.pem -verify_return_error -tls1_2", shown, Ok(("TLSv1.2", "TLS_ECDHE"))),
        (EC, "-Verify 1 -CAfile root.pem", none.clone(), Err("client_cert")),
        (EC, "-Verify 1 -CAfile root.pem -tls1_2", none.clone(), Err("client certificate")),
        (EC, "-max_send_frag 512", none.clone(), Ok(("TLSv1.3", "TLS_AES"))),
        ("-cert small.pem -key small.key", "-cipher ALL:@SECLEVEL=0", none.clone(), Err("RSA of 1024 bits")),
        ("-cert sha1.pem -key sha1.key", "-cipher ALL:@SECLEVEL=0", none.clone(), Err("ECDSA with SHA-1")),
        ("-cert small.pem -key small.key", "-cipher ALL:@SECLEVEL=0 -tls1_2", none.clone(), Err("RSA of 1024 bits")),
    ];
    for (cert, options, client, expected) in rows {
        let what = format!("{cert} {options}");
        let (peer, port) = s_server(&dir, &format!("{cert} {options} -rev"));
        let tls = ClientTls::new(&ClientOptions { ca_bundle: pki.client().ca_bundle, ..client.clone() }).unwrap();
        let result = Tls::connect(Tcp::dial(port), &tls, &host("localhost"), &soon()).and_then(|mut tls| {
            reversed(&mut tls)?;
            Ok((tls.protocol(), tls.cipher(), tls.alpn().map(<[u8]>::to_vec)))
        });
        match (expected, result) {
            (Ok((protocol, cipher)), Ok(got)) => {
                assert!(got.0 == protocol && got.1.starts_with(cipher), "{what}: {got:?}");
                assert_eq!(got.2.as_deref(), options.contains("-alpn").then_some(&b"http/1.1"[..]), "{what}");
            }
            (Err(words), Err(e)) => assert!(e.is(Kind::Tls) && e.to_string().contains(words), "{what}: {e}"),
            (expected, got) => panic!("{what}: expected {expected:?}, got {got:?}"),
        }
        // What verification refuses is reached without it.
        if cert.contains("small") || cert.contains("sha1") {
            let tls = ClientTls::new(&ClientOptions { verify: false, ..client }).unwrap();
            let mut conn = Tls::connect(Tcp::dial(port), &tls, &host("localhost"), &soon()).unwrap();
            reversed(&mut conn).unwrap_or_else(|e| panic!("{what}, unverified: {e}"));
        }
        drop(peer);
    }
}

#[test]
fn a_leaf_of_version_1_is_refused() {
    let (dir, pki) = prepared();
    // From OpenSSL 3.2 on, version 1 must be asked for.
    let help = dir.openssl("x509 -help");
    let flag = if String::from_utf8_lossy(&help.stderr).contains("-x509v1") { "-x509v1" } else { "" };
    issue(&dir, "v1", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", &format!("-sha256 {flag}"));
    let (_peer, port) = s_server(&dir, "-cert v1.pem -key v1.key -rev");
    let tls = ClientTls::new(&pki.client()).unwrap();
    let e = Tls::connect(Tcp::dial(port), &tls, &host("localhost"), &soon()).map(drop).unwrap_err();
    assert!(e.is(Kind::Tls) && e.fields().message.contains("not of version 3"), "{e}");
    let tls = ClientTls::new(&ClientOptions { verify: false, ..ClientOptions::default() }).unwrap();
    let mut conn = Tls::connect(Tcp::dial(port), &tls, &host("localhost"), &soon()).unwrap();
    reversed(&mut conn).unwrap();
    assert_eq!(conn.peer_cert().unwrap().subject, "CN=v1");
}

#[test]
fn sessions_of_openssl_servers_are_resumed() {
    let (dir, pki) = prepared();
    for (options, resumes) in
        [("-tls1_2", true), ("-tls1_3", true), ("-tls1_2 -no_ticket", true), ("-tls1_3 -num_tickets 0", false)]
    {
        let (_peer, port) = s_server(&dir, &format!("-cert ec.pem -key ec.key {options} -rev"));
        let tls = ClientTls::new(&pki.client()).unwrap();
        let resumed: Vec<bool> = (0..3)
            .map(|_| {
                let mut conn = Tls::connect(Tcp::dial(port), &tls, &host("localhost"), &soon()).unwrap();
                reversed(&mut conn).unwrap();
                assert!(!conn.settle());
                conn.resumed()
            })
            .collect();
        assert_eq!(resumed, [false, resumes, resumes], "{options}");
    }
}

#[test]
fn renegotiation_is_refused_and_nothing_hangs() {
    let (dir, pki) = prepared();
    let (mut peer, port) = s_server(&dir, "-cert ec.pem -key ec.key -tls1_2");
    let tls = ClientTls::new(&pki.client()).unwrap();
    let mut conn = Tls::connect(Tcp::dial(port), &tls, &host("localhost"), &soon()).unwrap();
    conn.write(b"ready\n", &soon()).unwrap();
    peer.line("ready");
    peer.say("R\n");
    let mut buf = [0; 100];
    // OpenSSL drops a connection whose peer does not renegotiate; what counts is that it ends, in an error.
    let e = conn.read(&mut buf, &Deadline::after(LONG)).unwrap_err();
    assert!(matches!(e.kind(), Kind::Tls | Kind::ConnectionReset), "{e}");
}

#[test]
fn clients_of_openssl() {
    let (dir, pki) = prepared();
    let base = pki.root.issue(leaf(&["localhost"])).server();
    let mutual = caspian_net::tls::ServerOptions { client_ca: Some(pki.root.pem.clone().into()), ..base.clone() };
    let alpn = caspian_net::tls::ServerOptions { alpn: vec![b"http/1.1".to_vec()], ..base.clone() };
    for (options, server, words, expected) in [
        ("-tls1_2", &base, "Protocol version: TLSv1.2", Ok(())),
        ("-tls1_3", &base, "Protocol version: TLSv1.3", Ok(())),
        ("-ciphersuites TLS_CHACHA20_POLY1305_SHA256", &base, "Ciphersuite: TLS_CHACHA20_POLY1305_SHA256", Ok(())),
        ("-groups P-256", &base, "Protocol version: TLSv1.3", Ok(())),
        ("-alpn h2,http/1.1", &alpn, "Protocol version: TLSv1.3", Ok(())),
        ("-max_send_frag 512", &base, "Protocol version: TLSv1.3", Ok(())),
        ("-cert client.pem -key client.key", &mutual, "Protocol version: TLSv1.3", Ok(())),
        ("-cert client.pem -key client.key -tls1_2", &mutual, "Protocol version: TLSv1.2", Ok(())),
        ("", &mutual, "", Err("no certificate")),
        ("-alpn imap", &alpn, "", Err("application protocol")),
        ("-tls1_1 -cipher ALL:@SECLEVEL=0", &base, "", Err("version")),
        ("-tls1_2 -cipher AES128-SHA", &base, "", Err("no ")),
    ] {
        let server = serve_echo(ServerTls::new(server).unwrap());
        let line = format!(
            "s_client -connect 127.0.0.1:{} -CAfile root.pem -verify_return_error -verify_hostname localhost \
             -servername localhost -brief -ign_eof {options}",
            server.port
        );
        let mut child = openssl(&dir.0, &line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("needs the openssl command (Debian: openssl)");
        let _ = child.stdin.as_mut().unwrap().write_all(b"hello\n");
        let outcome = server.outcome();
        match expected {
            Ok(()) => {
                let cert = outcome.unwrap_or_else(|e| panic!("{options}: {e}"));
                assert_eq!(cert.is_some(), options.contains("-cert"), "{options}");
                let stdout = child.stdout.take().unwrap();
                let (tell, told) = mpsc::channel();
                thread::spawn(move || {
                    let mut line = String::new();
                    let _ = BufReader::new(stdout).read_line(&mut line);
                    let _ = tell.send(line);
                });
                assert_eq!(told.recv_timeout(LONG).unwrap(), "hello\n", "{options}");
            }
            Err(words) => {
                let e = outcome.expect_err(options);
                assert!(e.is(Kind::Tls) && e.fields().message.contains(words), "{options}: {e}");
            }
        }
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{options}: {said}");
    }
}

#[test]
fn openssl_clients_resume_our_sessions() {
    let (dir, pki) = prepared();
    for version in ["-tls1_2", "-tls1_3"] {
        let server = serve_echo(ServerTls::new(&pki.root.issue(leaf(&["localhost"])).server()).unwrap());
        let common = format!("s_client -connect 127.0.0.1:{} -CAfile root.pem {version} -ign_eof", server.port);
        for (session, words) in [("-sess_out session", "New, TLSv1"), ("-sess_in session", "Reused, TLSv1")] {
            let mut peer = Peer::start(&dir, &format!("{common} {session}"));
            peer.line(words);
            // The tickets of TLS 1.3 come before the echo.
            peer.say("hello\n");
            peer.line("hello");
            server.outcome().unwrap();
            // A session is written when it arrives (TLS 1.3) or once the handshake is done (TLS 1.2).
            drop(peer);
        }
    }
}
