//! A world of its own inside a network namespace: every address is on `lo`, so whatever is dialled answers, and is seen.

use super::names_support::{A, AAAA, Asked, CNAME, NXDOMAIN, name, record};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// Serves redirects on port 80 and proxies on 3128 and 1080: every attempt may go there.
pub const CONTROL: &str = "1.1.1.1";
const NAMESERVER: &str = "192.0.2.53";
/// What the name servers' zone has for a name that it does not know.
pub const PUBLIC: [u8; 4] = [93, 184, 216, 34];

/// What came in.
#[derive(Default)]
pub struct Seen {
    /// Connections accepted and datagrams received: at which address of ours.
    pub reached: Vec<String>,
    /// Names that a proxy was asked for.
    pub proxied: Vec<String>,
    /// Questions to name servers.
    pub asked: Vec<String>,
}

#[derive(Clone, Default)]
pub struct World(Arc<Mutex<Seen>>);

impl World {
    /// Makes every address local, starts all servers, and lets the system's resolver find ours.
    pub fn start(dir: &std::path::Path) -> World {
        let files = [
            ("resolv.conf", format!("nameserver {NAMESERVER}\nsearch test\noptions timeout:1 attempts:1\n")),
            ("hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost\n10.0.0.7 hosts.test\n".to_owned()),
            ("nsswitch.conf", "hosts: files dns\n".to_owned()),
        ];
        let mut script = String::from(
            "set -e\nip link set lo up\nip route add local 0.0.0.0/0 dev lo\nip -6 route add local ::/0 dev lo\n",
        );
        for (file, text) in files {
            let path = dir.join(file);
            std::fs::write(&path, text).unwrap();
            script += &format!("[ ! -e /etc/{file} ] || mount --bind {} /etc/{file}\n", path.display());
        }
        let done = Command::new("sh").args(["-c", &script]).status().unwrap();
        assert!(done.success(), "the namespace could not be furnished");
        let world = World::default();
        for port in [80, 443, 8080] {
            world.tcp(port, web);
            world.udp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
        }
        world.tcp(3128, http_proxy);
        world.tcp(1080, socks_proxy);
        world.nameserver();
        world
    }

    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen())
    }

    /// What came in until `enough` says so, or for a third of a second.
    pub fn settle(&self, enough: impl Fn(&Seen) -> bool) -> Seen {
        let mut all = self.take();
        for _ in 0..60 {
            if enough(&all) {
                break;
            }
            thread::sleep(Duration::from_millis(5));
            let more = self.take();
            all.reached.extend(more.reached);
            all.proxied.extend(more.proxied);
            all.asked.extend(more.asked);
        }
        all
    }

    /// What is late.
    pub fn calm(&self) -> Seen {
        thread::sleep(Duration::from_millis(60));
        self.take()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }

    fn reach(&self, ip: IpAddr, port: u16) {
        let ip = ip.to_canonical();
        if ip.to_string() != CONTROL {
            self.seen().reached.push(SocketAddr::new(ip, port).to_string());
        }
    }

    /// Both families, every address.
    fn tcp(&self, port: u16, serve: fn(&World, TcpStream)) {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_only_v6(false).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into()).unwrap();
        socket.listen(128).unwrap();
        let (world, listener) = (self.clone(), TcpListener::from(socket));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (world, stream) = (world.clone(), stream.unwrap());
                let at = stream.local_addr().unwrap();
                world.reach(at.ip(), at.port());
                thread::spawn(move || serve(&world, stream));
            }
        });
    }

    /// A datagram to an address of ours comes from that same address: the kernel takes the destination for the source.
    fn udp(&self, at: SocketAddr) {
        let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP)).unwrap();
        if at.is_ipv6() {
            socket.set_only_v6(false).unwrap();
        }
        socket.set_reuse_address(true).unwrap();
        socket.bind(&at.into()).unwrap();
        let (world, socket) = (self.clone(), UdpSocket::from(socket));
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                world.reach(from.ip(), at.port());
            }
        });
    }

    fn nameserver(&self) {
        let at: SocketAddr = format!("{NAMESERVER}:53").parse().unwrap();
        let socket = UdpSocket::bind(at).unwrap();
        let world = self.clone();
        thread::spawn(move || {
            let (mut buffer, mut flips) = ([0; 2048], 0);
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let mut asked = Asked::read(&buffer[..length], false, flips);
                if asked.name == "flip.test" && asked.kind == A {
                    flips += 1;
                    asked.nth = flips;
                }
                world.seen().asked.push(asked.name.to_lowercase());
                let _ = socket.send_to(&answer(&asked), peer);
            }
        });
        let (world, listener) = (self.clone(), TcpListener::bind(at).unwrap());
        thread::spawn(move || {
            for _ in listener.incoming() {
                world.seen().asked.push("over TCP".to_owned());
            }
        });
    }
}

/// The zone. What it does not know is a public address: a question about a denied name would be answered.
fn answer(asked: &Asked) -> Vec<u8> {
    let name_asked = asked.name.to_lowercase();
    let v4 = |ips: &[[u8; 4]]| ips.iter().map(|ip| record(&asked.name, A, 0, ip)).collect::<Vec<_>>();
    let v6 = |ip: &str| vec![record(&asked.name, AAAA, 0, &ip.parse::<Ipv6Addr>().unwrap().octets())];
    let records = match (name_asked.as_str(), asked.kind) {
        (single, _) if !single.contains('.') => return asked.reply(NXDOMAIN, &[], &[]),
        ("example.com", AAAA) => v6("2606:2800:220::1"),
        ("mapped.test", AAAA) => v6("::ffff:10.0.0.1"),
        ("six.test", AAAA) => v6("fd12::1"),
        ("mapped.test" | "six.test", _) => Vec::new(),
        ("ten.test", A) => v4(&[[10, 0, 0, 1]]),
        ("mixed.test", A) => v4(&[PUBLIC, [10, 0, 0, 2]]),
        ("metadata.test", A) => v4(&[[169, 254, 169, 254]]),
        ("zero.test", A) => v4(&[[0, 0, 0, 0]]),
        ("hosts.test", _) => Vec::new(),
        // Public to who asks first, private to who asks again.
        ("flip.test", A) if asked.nth.is_multiple_of(2) => v4(&[[10, 0, 0, 9]]),
        ("alias.test", A) => {
            vec![record(&asked.name, CNAME, 0, &name("ten.test")), record("ten.test", A, 0, &[10, 0, 0, 1])]
        }
        // `x7f000001.hex.test`: any address at all.
        (other, kind) => match (other.strip_suffix(".hex.test").and_then(|hex| hex.strip_prefix('x')), kind) {
            (Some(hex), A) if hex.len() == 8 => v4(&[u32::from_str_radix(hex, 16).unwrap().to_be_bytes()]),
            (Some(hex), AAAA) if hex.len() == 32 => {
                v6(&Ipv6Addr::from(u128::from_str_radix(hex, 16).unwrap()).to_string())
            }
            (Some(_), _) => Vec::new(),
            (None, A) => v4(&[PUBLIC]),
            _ => Vec::new(),
        },
    };
    asked.answer(&records)
}

/// A name of the zone that resolves to that address.
pub fn name_of(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("x{:08x}.hex.test", u32::from(ip)),
        IpAddr::V6(ip) => format!("x{:032x}.hex.test", u128::from(ip)),
    }
}

fn head(stream: &TcpStream) -> Vec<String> {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect()
}

/// `/to/STATUS?URL` redirects to the URL, byte for byte; everything else is there. Who speaks TLS or SOCKS is left alone.
fn web(_: &World, mut stream: TcpStream) {
    if !first(&stream).is_ascii_uppercase() {
        return;
    }
    let lines = head(&stream);
    let Some(target) = lines.first().and_then(|line| line.split(' ').nth(1)) else { return };
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".to_vec();
    if let Some((status, to)) = target.strip_prefix("/to/").and_then(|rest| rest.split_once('?')) {
        answer =
            format!("HTTP/1.1 {status} Found\r\nContent-Length: 0\r\nConnection: close\r\nLocation: ").into_bytes();
        let mut bytes = to.bytes();
        while let Some(byte) = bytes.next() {
            let mut hex = || char::from(bytes.next().unwrap()).to_digit(16).unwrap() as u8;
            answer.push(if byte == b'%' { hex() << 4 | hex() } else { byte });
        }
        answer.extend(b"\r\n\r\n");
    }
    let _ = stream.write_all(&answer);
}

fn first(stream: &TcpStream) -> u8 {
    let mut byte = [0];
    stream.peek(&mut byte).map_or(0, |_| byte[0])
}

fn http_proxy(world: &World, mut stream: TcpStream) {
    let lines = head(&stream);
    if let Some(line) = lines.first() {
        world.seen().proxied.push(line.clone());
        let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
}

/// SOCKS5 (RFC 1928) that notes the request and refuses it.
fn socks_proxy(world: &World, mut stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut read = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).map(|()| bytes)
    };
    let Ok(hello) = read(2) else { return };
    let Ok(_) = read(usize::from(hello[1])) else { return };
    let _ = stream.write_all(&[5, 0]);
    let mut read = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).map(|()| bytes)
    };
    let Ok(request) = read(4) else { return };
    let target = match request[3] {
        1 => read(4).map(|ip| Ipv4Addr::from(<[u8; 4]>::try_from(ip).unwrap()).to_string()),
        3 => read(1).and_then(|n| read(usize::from(n[0]))).map(|name| String::from_utf8_lossy(&name).into_owned()),
        _ => read(16).map(|ip| Ipv6Addr::from(<[u8; 16]>::try_from(ip).unwrap()).to_string()),
    };
    let Ok(target) = target else { return };
    world.seen().proxied.push(target);
    let _ = stream.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]);
}
