//! What TLS costs, in memory and on one core: `cargo bench --bench tls`, and over ring in place of aws-lc-rs
//! `cargo bench --no-default-features --features small --bench tls`. An argument (`handshakes`, `read`, `write`) picks rows.
//!
//! Handshakes count both ends (the other one is rustls' own server); reading and writing count ours alone. Time is the
//! thread's CPU time as Linux counts it, so that what else the machine does matters little. The RSA keys need the `openssl`
//! command. The reasons for the choice of cryptography are in docs/inside.md.

#![allow(clippy::disallowed_methods, reason = "a benchmark starts a command")]

#[path = "../tests/tls_support/mod.rs"]
mod tls_support;

use caspian_net::{
    deadline::Deadline,
    error::Result,
    tls::{ClientOptions, ClientTls, Tls, Transport, Version},
};
use rustls::{CipherSuite, NamedGroup, ServerConfig, ServerConnection};
use std::{hint::black_box, io::Write, process::Command, sync::Arc};
use tls_support::*;

const MIB: usize = 1 << 20;
const ROUNDS: usize = 5;
/// Seconds of CPU time that a round of handshakes takes.
const ROUND: f64 = 0.3;

/// Seconds that this thread was on a core.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    stat.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).expect("a number") / 1e9
}

/// A new RSA key, which ring cannot make.
fn rsa() -> rcgen::KeyPair {
    let words = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let output = Command::new("openssl").args(words).output().expect("needs the openssl command (Debian: openssl)");
    rcgen::KeyPair::from_pem(&String::from_utf8(output.stdout).expect("PEM")).expect("a key")
}

/// The server's end and the wire, in memory. What the client writes after the handshake is dropped if `deaf`.
struct Memory {
    server: ServerConnection,
    wire: Vec<u8>,
    head: usize,
    deaf: bool,
}

impl Memory {
    fn pump(&mut self) {
        if self.head == self.wire.len() {
            self.wire.clear();
            self.head = 0;
        }
        while self.server.wants_write() {
            self.server.write_tls(&mut self.wire).expect("memory");
        }
    }
}

impl Transport for Memory {
    fn read(&mut self, buf: &mut [u8], _: &Deadline) -> Result<usize> {
        self.pump();
        let count = buf.len().min(self.wire.len() - self.head);
        buf[..count].copy_from_slice(&self.wire[self.head..self.head + count]);
        self.head += count;
        Ok(count)
    }
    fn read_now(&mut self, buf: &mut [u8]) -> Result<Option<usize>> {
        Ok(Some(self.read(buf, &soon())?).filter(|count| *count > 0))
    }
    fn write(&mut self, bytes: &[u8], _: &Deadline) -> Result<usize> {
        let mut rest = if self.deaf { &[][..] } else { bytes };
        while !rest.is_empty() {
            self.server.read_tls(&mut rest).expect("memory");
            self.server.process_new_packets().expect("the client's bytes are right");
        }
        Ok(bytes.len())
    }
    fn write_now(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        self.write(bytes, &soon()).map(Some)
    }
    fn peer(&self) -> &str {
        "memory"
    }
}

fn connect(client: &ClientTls, server: &Arc<ServerConfig>) -> Tls<Memory> {
    let server = ServerConnection::new(server.clone()).expect("server");
    let memory = Memory { server, wire: Vec::new(), head: 0, deaf: false };
    Tls::connect(memory, client, &host("localhost"), &soon()).expect("handshake")
}

/// The median of some rounds.
fn median(round: impl FnMut(usize) -> f64) -> f64 {
    let mut rates: Vec<f64> = (0..ROUNDS).map(round).collect();
    rates.sort_by(f64::total_cmp);
    rates[ROUNDS / 2]
}

/// Full and resumed handshakes with a server that offers these groups (all, if none).
fn handshakes(what: &str, pki: &Pki, chain: &Chain, group: Option<NamedGroup>) {
    let mut provider = caspian_net::crypto::default_provider();
    provider.kx_groups.retain(|known| group.is_none_or(|group| known.name() == group));
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(rustls_server(chain).cert_resolver.clone());
    let config = Arc::new(config);
    for version in Version::ALL {
        let options = ClientOptions { protocols: vec![version], ..pki.client() };
        let kept = ClientTls::new(&options).expect("client");
        for resumed in [false, true] {
            let mut group = None;
            let rate = median(|_| {
                let (start, mut count) = (cpu(), 0);
                loop {
                    for _ in 0..10 {
                        let client = if resumed { kept.clone() } else { ClientTls::new(&options).expect("client") };
                        let mut tls = connect(&client, &config);
                        tls.settle();
                        group = group.or(tls.group());
                        count += 1;
                    }
                    let took = cpu() - start;
                    if took > ROUND {
                        return f64::from(count) / took;
                    }
                }
            });
            let group = group.unwrap_or("no exchange");
            println!("handshakes, {what}, {}, {group}, resumed {resumed:5}: {rate:8.0} /s", version.word());
        }
    }
}

fn main() {
    let pki = Pki::new();
    let chain = pki.root.issue(leaf(&["localhost"]));
    let config = rustls_server(&chain);
    let picked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |word: &str| picked.is_empty() || picked.iter().any(|asked| asked == word);
    if wanted("handshakes") {
        handshakes("ECDSA P-256", &pki, &chain, None);
        handshakes("ECDSA P-256", &pki, &chain, Some(NamedGroup::X25519));
        // The root's key is RSA as well, as most are.
        let pki = Pki::with_key("root", rsa());
        let chain = pki.root.issue_for(leaf(&["localhost"]), rsa());
        handshakes("RSA-2048", &pki, &chain, None);
        handshakes("RSA-2048", &pki, &chain, Some(NamedGroup::X25519));
    }
    for suite in [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ] {
        let mut provider = caspian_net::crypto::default_provider();
        provider.cipher_suites.retain(|s| s.suite() == suite);
        let server = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(config.cert_resolver.clone());
        let client = ClientTls::new(&pki.client()).expect("client");
        let mut tls = connect(&client, &Arc::new(server));
        tls.settle();
        for slice in [16 * 1024, 64 * 1024, MIB].into_iter().filter(|_| wanted("read")) {
            let mut buf = vec![0; slice];
            let rate = median(|_| {
                let memory = tls.transport_mut();
                memory.server.set_buffer_limit(None);
                memory.server.writer().write_all(&vec![7; 64 * MIB]).expect("memory");
                memory.pump();
                let (start, mut count) = (cpu(), 0);
                while count < 64 * MIB {
                    count += tls.read(&mut buf, &soon()).expect("read");
                }
                black_box(&buf);
                64.0 / (cpu() - start)
            });
            println!("read,  {suite:?}, {:4} KiB at a time: {rate:8.0} MiB/s", slice / 1024);
        }
        tls.transport_mut().deaf = true;
        for slice in [16 * 1024, 64 * 1024, MIB].into_iter().filter(|_| wanted("write")) {
            let data = vec![7; slice];
            let rate = median(|_| {
                let (start, mut count) = (cpu(), 0);
                while count < 64 * MIB {
                    count += tls.write(&data, &soon()).expect("write");
                }
                64.0 / (cpu() - start)
            });
            println!("write, {suite:?}, {:4} KiB at a time: {rate:8.0} MiB/s", slice / 1024);
        }
    }
}
