//! Key exchange: what a client offers, and what two of ours agree on. A full build offers the hybrid group first, a small one
//! has none (spec/hybrid_spec.lua has another author's peer).

use crate::tls_support::*;
use caspian_net::tls::{ClientTls, ServerTls, Tls, Transport, Version};
use std::{net::TcpListener, thread};

const HYBRID: u16 = 0x11ec;
const X25519: u16 = 0x1d;
const P256: u16 = 0x17;
const P384: u16 = 0x18;

/// A list of 16-bit numbers behind its length in bytes.
fn numbers(bytes: &[u8]) -> Vec<u16> {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    bytes[2..2 + length].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

/// The extensions of a ClientHello (RFC 8446, section 4.1.2) by their types, from the bytes of its one record.
fn extensions(record: &[u8]) -> Vec<(u16, &[u8])> {
    let word = |at: usize| usize::from(u16::from_be_bytes([record[at], record[at + 1]]));
    // Record and message heads, version, random; then the session's id, the suites, the compressions.
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(record[at]);
    at += 2 + word(at);
    at += 1 + usize::from(record[at]);
    let end = at + 2 + word(at);
    at += 2;
    let mut found = Vec::new();
    while at < end {
        let length = word(at + 2);
        found.push((word(at) as u16, &record[at + 4..at + 4 + length]));
        at += 4 + length;
    }
    found
}

#[test]
fn a_client_offers_the_hybrid_group_first() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = thread::spawn(move || {
        let mut socket = Tcp(listener.accept().unwrap().0);
        let mut hello = Vec::new();
        // Until the record is whole: its length stands behind three bytes.
        while hello.len() < 5 || hello.len() < 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]])) {
            let mut buf = [0; 4096];
            let count = socket.read(&mut buf, &soon()).unwrap();
            assert_ne!(count, 0);
            hello.extend_from_slice(&buf[..count]);
        }
        hello
    });
    let tls = ClientTls::new(&Pki::new().client()).unwrap();
    Tls::connect(Tcp::dial(port), &tls, &host("localhost"), &soon()).map(drop).unwrap_err();
    let hello = peer.join().unwrap();
    let extensions = extensions(&hello);
    let extension = |wanted: u16| extensions.iter().find(|(kind, _)| *kind == wanted).unwrap().1;
    // supported_groups, and the shares that are sent at once: the classical one beside the hybrid, so that a server without
    // it loses no round trip.
    let offered = numbers(extension(10));
    let shares = extension(51);
    let (mut at, mut shared) = (2, Vec::new());
    while at < shares.len() {
        shared.push(u16::from_be_bytes([shares[at], shares[at + 1]]));
        at += 4 + usize::from(u16::from_be_bytes([shares[at + 2], shares[at + 3]]));
    }
    if cfg!(feature = "full") {
        assert_eq!((offered, shared), (vec![HYBRID, X25519, P256, P384], vec![HYBRID, X25519]));
    } else {
        assert_eq!((offered, shared), (vec![X25519, P256, P384], vec![X25519]));
    }
}

#[test]
fn two_of_ours_agree_on_the_first_group() {
    let pki = Pki::new();
    for version in Version::ALL {
        let server = serve_echo(ServerTls::new(&pki.root.issue(leaf(&["localhost"])).server()).unwrap());
        let mut options = pki.client();
        options.protocols = vec![version];
        let tls = ClientTls::new(&options).unwrap();
        let mut groups = [None; 2].map(|_: Option<()>| {
            let mut conn = Tls::connect(server.dial(), &tls, &host("localhost"), &soon()).unwrap();
            echo(&mut conn).unwrap();
            conn.group()
        });
        let first = if cfg!(feature = "full") { "X25519MLKEM768" } else { "X25519" };
        match version {
            // Resumed sessions exchange keys afresh.
            Version::Tls13 => assert_eq!(groups, [Some(first); 2]),
            // The hybrid groups are of TLS 1.3; a resumed session of TLS 1.2 has no exchange.
            Version::Tls12 => assert_eq!((groups[0].take(), groups[1]), (Some("X25519"), None)),
        }
    }
}
