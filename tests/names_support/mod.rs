//! A name server that says what it is told to, over UDP and TCP on one loopback port, and the messages for it.
#![allow(clippy::disallowed_methods, reason = "the other end of the test has no grants")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

// --- messages ------------------------------------------------------------------------------------------------------

pub const A: u16 = 1;
pub const NS: u16 = 2;
pub const CNAME: u16 = 5;
pub const SOA: u16 = 6;
pub const PTR: u16 = 12;
pub const MX: u16 = 15;
pub const TXT: u16 = 16;
pub const AAAA: u16 = 28;
pub const SRV: u16 = 33;
pub const CAA: u16 = 257;

pub const NXDOMAIN: u16 = 3;
pub const SERVFAIL: u16 = 2;
pub const TRUNCATED: u16 = 0x0200;

pub fn name(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

pub fn record(owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut out = name(owner);
    out.extend(kind.to_be_bytes());
    out.extend(1u16.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    out.extend(data);
    out
}

pub fn soa(owner: &str, ttl: u32) -> Vec<u8> {
    let mut data = [name("ns.test"), name("john\u{1}doe.test".replace('\u{1}', "-").as_str())].concat();
    for number in [7u32, 3600, 600, 86400, ttl] {
        data.extend(number.to_be_bytes());
    }
    record(owner, SOA, ttl, &data)
}

/// What a query asks: id, the bytes of its question, name, type; whether it has an OPT record (EDNS).
pub struct Asked {
    pub id: [u8; 2],
    pub question: Vec<u8>,
    pub name: String,
    pub kind: u16,
    pub edns: bool,
    pub tcp: bool,
    /// How many came before.
    pub nth: usize,
}

impl Asked {
    pub fn read(message: &[u8], tcp: bool, nth: usize) -> Asked {
        let (mut at, mut labels) = (12, Vec::new());
        while message[at] != 0 {
            let end = at + 1 + usize::from(message[at]);
            labels.push(String::from_utf8_lossy(&message[at + 1..end]).into_owned());
            at = end;
        }
        let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
        let question = message[12..at + 5].to_vec();
        let edns = message[11] == 1 && message[at + 5..at + 8] == [0, 0, 41];
        Asked { id: [message[0], message[1]], question, name: labels.join("."), kind, edns, tcp, nth }
    }

    pub fn reply(&self, flags: u16, answers: &[Vec<u8>], authority: &[Vec<u8>]) -> Vec<u8> {
        let mut out = self.id.to_vec();
        out.extend((0x8180 | flags).to_be_bytes());
        for count in [1, answers.len(), authority.len(), 0] {
            out.extend(u16::try_from(count).unwrap().to_be_bytes());
        }
        out.extend(&self.question);
        out.extend(answers.concat());
        out.extend(authority.concat());
        out
    }

    pub fn answer(&self, answers: &[Vec<u8>]) -> Vec<u8> {
        self.reply(0, answers, &[])
    }

    pub fn a(&self, ip: [u8; 4]) -> Vec<u8> {
        match self.kind {
            A => self.answer(&[record(&self.name, A, 60, &ip)]),
            _ => self.answer(&[]),
        }
    }
}

// --- the server ----------------------------------------------------------------------------------------------------

pub type Script = fn(&Asked) -> Vec<Vec<u8>>;

pub struct Server {
    pub address: SocketAddr,
    pub udp: Arc<AtomicUsize>,
    pub tcp: Arc<AtomicUsize>,
}

/// Serves until the test process ends: its threads wait for nobody.
pub fn serve(script: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Server {
    let script = Arc::new(script);
    let (udp, tcp) = sockets();
    let server = Server { address: tcp.local_addr().unwrap(), udp: Arc::default(), tcp: Arc::default() };
    let (count, here) = (Arc::clone(&server.udp), Arc::clone(&script));
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            let asked = Asked::read(&buffer[..length], false, count.fetch_add(1, Ordering::SeqCst));
            for message in here(&asked) {
                let _ = udp.send_to(&message, peer);
            }
        }
    });
    let count = Arc::clone(&server.tcp);
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let (mut stream, count, script) = (stream.unwrap(), Arc::clone(&count), Arc::clone(&script));
            thread::spawn(move || {
                while let Some(message) = receive(&mut stream) {
                    let asked = Asked::read(&message, true, count.fetch_add(1, Ordering::SeqCst));
                    for message in script(&asked) {
                        let _ = stream.write_all(&framed(&message));
                    }
                }
            });
        }
    });
    server
}

/// Two on one port.
pub fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

/// A message as TCP has it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// The next message over TCP.
pub fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}
