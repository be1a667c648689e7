//! What TLS costs, in memory and on one core: `cargo bench --bench tls`.
//!
//! Handshakes count both ends (the other one is rustls' own server); reading and writing count ours alone. The
//! reasons for the choice of cryptography are in ARCHITECTURE.md.

#![allow(clippy::disallowed_methods, reason = "a benchmark has a clock")]

#[path = "../tests/tls_support/mod.rs"]
mod tls_support;

use caspian_net::{
    deadline::Deadline,
    error::Result,
    tls::{ClientOptions, ClientTls, Tls, Transport, Version},
};
use rustls::{CipherSuite, ServerConfig, ServerConnection};
use std::{
    hint::black_box,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};
use tls_support::*;

const MIB: usize = 1 << 20;
const ROUNDS: usize = 5;

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

/// The best of some rounds: what the machine can do when nothing else runs.
fn best(mut round: impl FnMut() -> f64) -> f64 {
    (0..ROUNDS).map(|_| round()).fold(0.0, f64::max)
}

fn main() {
    let pki = Pki::new();
    let config = rustls_server(&pki.root.issue(leaf(&["localhost"])));
    for version in Version::ALL {
        let options = ClientOptions { protocols: vec![version], ..pki.client() };
        let kept = ClientTls::new(&options).expect("client");
        for resumed in [false, true] {
            let rate = best(|| {
                let (start, mut count) = (Instant::now(), 0);
                while start.elapsed() < Duration::from_millis(500) {
                    let client = if resumed { kept.clone() } else { ClientTls::new(&options).expect("client") };
                    let mut tls = connect(&client, &config);
                    tls.settle();
                    count += 1;
                }
                f64::from(count) / start.elapsed().as_secs_f64()
            });
            println!("handshakes, {}, resumed {resumed:5}: {rate:8.0} /s", version.word());
        }
    }
    for suite in [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ] {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.retain(|s| s.suite() == suite);
        let server = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(config.cert_resolver.clone());
        let client = ClientTls::new(&pki.client()).expect("client");
        let mut tls = connect(&client, &Arc::new(server));
        tls.settle();
        for slice in [16 * 1024, 64 * 1024, MIB] {
            let mut buf = vec![0; slice];
            let rate = best(|| {
                let memory = tls.transport_mut();
                memory.server.set_buffer_limit(None);
                memory.server.writer().write_all(&vec![7; 64 * MIB]).expect("memory");
                memory.pump();
                let (start, mut count) = (Instant::now(), 0);
                while count < 64 * MIB {
                    count += tls.read(&mut buf, &soon()).expect("read");
                }
                black_box(&buf);
                64.0 / start.elapsed().as_secs_f64()
            });
            println!("read,  {suite:?}, {:4} KiB at a time: {rate:8.0} MiB/s", slice / 1024);
        }
        tls.transport_mut().deaf = true;
        for slice in [16 * 1024, 64 * 1024, MIB] {
            let data = vec![7; slice];
            let rate = best(|| {
                let (start, mut count) = (Instant::now(), 0);
                while count < 64 * MIB {
                    count += tls.write(&data, &soon()).expect("write");
                }
                64.0 / start.elapsed().as_secs_f64()
            });
            println!("write, {suite:?}, {:4} KiB at a time: {rate:8.0} MiB/s", slice / 1024);
        }
    }
}
