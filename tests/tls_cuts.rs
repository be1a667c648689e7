//! TLS over a transport that cuts, stalls, breaks and lies: nothing is lost, nothing is invented, nothing panics.

#![allow(clippy::disallowed_methods, reason = "the tests are the world outside")]

mod tls_support;

use caspian_net::{
    deadline::Deadline,
    error::{Error, Kind, Result},
    tls::{ClientOptions, ClientTls, Tls, Transport, Version},
};
use rustls::{ServerConfig, ServerConnection};
use std::{
    collections::VecDeque,
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};
use tls_support::*;

/// rustls' server and the wire to it, in memory.
struct Memory {
    server: ServerConnection,
    /// On the way to the client.
    wire: VecDeque<u8>,
    /// What the server got.
    got: Vec<u8>,
    /// At most this many bytes in one read or write.
    cut: usize,
    /// Every second call times out. Off during the handshake, which is one call.
    stutter: bool,
    stalled: bool,
    /// Bytes that have passed to the client, and where the stream ends or is falsified.
    passed: usize,
    end: usize,
    flip: Option<(usize, u8)>,
}

impl Memory {
    fn new(config: &Arc<ServerConfig>, cut: usize) -> Memory {
        Memory {
            server: ServerConnection::new(config.clone()).unwrap(),
            wire: VecDeque::new(),
            got: Vec::new(),
            cut,
            stutter: false,
            stalled: false,
            passed: 0,
            end: usize::MAX,
            flip: None,
        }
    }

    /// Lets the server send what it has to send.
    fn pump(&mut self) {
        while self.server.wants_write() {
            let mut bytes = Vec::new();
            self.server.write_tls(&mut bytes).unwrap();
            self.wire.extend(bytes);
        }
    }

    fn stall(&mut self) -> bool {
        self.stalled = self.stutter && !self.stalled;
        self.stalled
    }
}

impl Transport for Memory {
    fn read(&mut self, buf: &mut [u8], deadline: &Deadline) -> Result<usize> {
        if self.stall() {
            return Err(deadline.error("memory"));
        }
        self.pump();
        let count = buf.len().min(self.cut).min(self.wire.len()).min(self.end - self.passed);
        for to in &mut buf[..count] {
            *to = self.wire.pop_front().unwrap();
            if let Some((at, mask)) = self.flip {
                *to ^= if at == self.passed { mask } else { 0 };
            }
            self.passed += 1;
        }
        Ok(count)
    }
    fn read_now(&mut self, buf: &mut [u8]) -> Result<Option<usize>> {
        match self.read(buf, &Deadline::after(Duration::ZERO)) {
            Ok(0) => Ok(None),
            Err(e) if e.is(Kind::Timeout) => Ok(None),
            other => other.map(Some),
        }
    }
    fn write(&mut self, mut bytes: &[u8], deadline: &Deadline) -> Result<usize> {
        if self.stall() {
            return Err(deadline.error("memory"));
        }
        bytes = &bytes[..bytes.len().min(self.cut)];
        let count = bytes.len();
        while !bytes.is_empty() {
            self.server.read_tls(&mut bytes).unwrap();
            // Of a falsified stream the server hears an alert, which is an error of its own.
            if self.server.process_new_packets().is_err() {
                return Err(Error::new(Kind::ConnectionReset, "the server is gone"));
            }
            let mut plain = [0; 20000];
            while let Ok(count @ 1..) = self.server.reader().read(&mut plain) {
                self.got.extend_from_slice(&plain[..count]);
            }
        }
        Ok(count)
    }
    fn write_now(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        match self.write(bytes, &Deadline::after(Duration::ZERO)) {
            Err(e) if e.is(Kind::Timeout) => Ok(None),
            other => other.map(Some),
        }
    }
    fn peer(&self) -> &str {
        "memory"
    }
}

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

/// A client, new at each call so that no session is resumed, and a server whose records hold at most `fragment` bytes.
fn pair(version: Version, fragment: Option<usize>) -> (impl Fn() -> ClientTls, Arc<ServerConfig>) {
    let pki = Pki::new();
    let mut server = Arc::unwrap_or_clone(rustls_server(&pki.root.issue(leaf(&["localhost"]))));
    server.max_fragment_size = fragment;
    let options = ClientOptions { protocols: vec![version], ..pki.client() };
    (move || ClientTls::new(&options).unwrap(), Arc::new(server))
}

fn connect(client: &ClientTls, memory: Memory) -> Result<Tls<Memory>> {
    Tls::connect(memory, client, &host("localhost"), &soon())
}

/// Reads to the end, however often it times out.
fn read_all(tls: &mut Tls<Memory>, size: usize) -> (Vec<u8>, Result<()>) {
    let (mut all, mut buf) = (Vec::new(), vec![0; size]);
    loop {
        match tls.read(&mut buf, &soon()) {
            Ok(0) => return (all, Ok(())),
            Ok(count) => all.extend_from_slice(&buf[..count]),
            Err(e) if e.is(Kind::Timeout) => {}
            Err(e) => return (all, Err(e)),
        }
    }
}

#[test]
fn reading_loses_nothing_wherever_the_stream_is_cut() {
    let data = sample(40_000);
    for version in Version::ALL {
        for fragment in [None, Some(32), Some(1000)] {
            let (client, server) = pair(version, fragment);
            for cut in [1, 2, 5, 21, 22, 1000, 16_405, 16_406, 16_407, usize::MAX] {
                // One byte at a time is enough once.
                for size in if cut == 1000 { &[1, 100, 16_384, 16_385, 1 << 20][..] } else { &[100, 1 << 20] } {
                    let mut tls = connect(&client(), Memory::new(&server, cut)).unwrap();
                    let memory = tls.transport_mut();
                    memory.stutter = true;
                    memory.server.set_buffer_limit(None);
                    memory.server.writer().write_all(&data).unwrap();
                    memory.server.send_close_notify();
                    let (all, end) = read_all(&mut tls, *size);
                    end.unwrap();
                    assert!(all == data, "{version:?} {fragment:?} cut {cut} size {size}: {} bytes", all.len());
                }
            }
        }
    }
}

#[test]
fn writing_loses_nothing_and_repeats_nothing() {
    let data = sample(200_000);
    for version in Version::ALL {
        let (client, server) = pair(version, None);
        for cut in [13, 1000, 16_406, 65_536, usize::MAX] {
            for stutter in [false, true] {
                let mut tls = connect(&client(), Memory::new(&server, cut)).unwrap();
                tls.transport_mut().stutter = stutter;
                let mut sent = 0;
                while sent < data.len() {
                    match tls.write(&data[sent..], &soon()) {
                        Ok(count) => {
                            assert!(count > 0);
                            sent += count;
                        }
                        Err(e) if e.is(Kind::Timeout) => sent += e.fields().sent.unwrap() as usize,
                        Err(e) => panic!("{e}"),
                    }
                }
                while tls.flush(&soon()).is_err() {}
                assert!(tls.transport().got == data, "{version:?} cut {cut} stutter {stutter}");
            }
        }
    }
}

#[test]
fn writing_without_waiting_loses_nothing() {
    let data = sample(200_000);
    let (client, server) = pair(Version::Tls13, None);
    let mut tls = connect(&client(), Memory::new(&server, 1000)).unwrap();
    tls.transport_mut().stutter = true;
    let mut sent = 0;
    while sent < data.len() {
        sent += tls.write_now(&data[sent..]).unwrap().unwrap_or(0);
    }
    while tls.write_now(b"").unwrap().is_none() {}
    assert!(tls.transport().got == data);
}

#[test]
fn keys_are_changed_on_the_way() {
    let data = sample(50_000);
    for cut in [3, usize::MAX] {
        let (client, server) = pair(Version::Tls13, None);
        let mut tls = connect(&client(), Memory::new(&server, cut)).unwrap();
        let mut buf = vec![0; 100_000];
        for _ in 0..5 {
            let memory = tls.transport_mut();
            memory.server.set_buffer_limit(None);
            memory.server.writer().write_all(&data).unwrap();
            memory.server.refresh_traffic_keys().unwrap();
            memory.server.writer().write_all(&data).unwrap();
            let mut all = Vec::new();
            while all.len() < 2 * data.len() {
                let count = tls.read(&mut buf, &soon()).unwrap();
                all.extend_from_slice(&buf[..count]);
                assert!(tls.write(b"go on", &soon()).unwrap() == 5);
            }
            assert!(all == [&data[..], &data].concat());
        }
        assert!(tls.transport().got.chunks(5).all(|chunk| chunk == b"go on"));
    }
}

#[test]
fn a_cut_stream_is_never_taken_for_a_whole_one() {
    let data = sample(300);
    for version in Version::ALL {
        let (client, server) = pair(version, Some(64));
        let run = |end: usize| {
            let mut memory = Memory::new(&server, usize::MAX);
            memory.end = end;
            let mut tls = connect(&client(), memory).map_err(|e| (Vec::new(), e))?;
            tls.transport_mut().server.writer().write_all(&data).unwrap();
            tls.transport_mut().server.send_close_notify();
            let (all, result) = read_all(&mut tls, 1000);
            match result {
                Ok(()) => Ok((all, tls.transport().passed)),
                Err(e) => Err((all, e)),
            }
        };
        let (all, whole) = run(usize::MAX).unwrap();
        assert_eq!(all, data);
        // Signatures and tickets differ in length by a few bytes from run to run.
        // Every byte of the data, and a sample of the handshake.
        for end in (0..whole - 500).step_by(9).chain(whole - 500..whole - 20) {
            let (all, e) = run(end).expect_err("cut");
            assert!(data.starts_with(&all) && e.is(Kind::ConnectionReset), "{version:?} cut at {end}: {e}");
        }
    }
}

#[test]
fn a_falsified_stream_is_refused_and_never_panics() {
    let data = sample(300);
    for version in Version::ALL {
        let (client, server) = pair(version, Some(200));
        let mut refused = 0;
        for at in (0..1300).step_by(2) {
            for mask in [0x01, 0xff] {
                let mut memory = Memory::new(&server, if at % 4 == 0 { usize::MAX } else { 17 });
                memory.flip = Some((at, mask));
                let (all, result) = match connect(&client(), memory) {
                    Ok(mut tls) => {
                        let _ = tls.transport_mut().server.writer().write_all(&data);
                        tls.transport_mut().server.send_close_notify();
                        let outcome = read_all(&mut tls, 77);
                        tls.close_notify();
                        outcome
                    }
                    Err(e) => (Vec::new(), Err(e)),
                };
                assert!(data.starts_with(&all), "{version:?} byte {at} ^ {mask:#x}");
                match result {
                    Ok(()) => assert_eq!(all, data),
                    Err(e) => {
                        assert!(matches!(e.kind(), Kind::Tls | Kind::ConnectionReset), "{e}");
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > 500, "{refused}");
    }
}

#[test]
fn tls_runs_inside_tls() {
    let pki = Pki::new();
    // The outer server hands the inner bytes on to an echo server that speaks TLS itself.
    let inner = serve_any(&pki.root.issue(leaf(&["inner.example"])));
    let (port, proxy) = serve_rustls(&pki.root.issue(leaf(&["localhost"])), move |conn, socket| {
        let mut onward = std::net::TcpStream::connect(("127.0.0.1", inner)).unwrap();
        onward.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut buf = [0; 20000];
        for _ in 0..4000 {
            if let Ok(count @ 1..) = onward.read(&mut buf) {
                conn.writer().write_all(&buf[..count]).unwrap();
                while conn.wants_write() {
                    conn.write_tls(socket).unwrap();
                }
            }
            match conn.read_tls(socket) {
                Ok(0) => return,
                Ok(_) => drop(conn.process_new_packets().unwrap()),
                Err(_) => {}
            }
            while let Ok(count @ 1..) = conn.reader().read(&mut buf) {
                onward.write_all(&buf[..count]).unwrap();
            }
        }
    });
    let client = ClientTls::new(&pki.client()).unwrap();
    let outer = Tls::connect(Tcp::dial(port), &client, &host("localhost"), &soon()).unwrap();
    let mut both = Tls::connect(outer, &client, &host("inner.example"), &soon()).unwrap();
    echo(&mut both).unwrap();
    drop(both);
    proxy.join().unwrap();
}
