//! The packets of a look-up: who sends them, how often, and in which pieces.

use crate::{names_support::*, net, question, show};
use caspian_net::{deadline::Deadline, names::Names};
use std::{
    collections::HashSet,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

fn look_up(at: SocketAddr, kind: &str, seconds: f64) -> String {
    let at = Server { address: at, udp: Arc::default(), tcp: Arc::default() };
    let deadline = Deadline::after(Duration::from_secs_f64(seconds));
    show(Names::default().resolve(&net(&["--allow-net"]), &question("x.test", kind, &at), &deadline))
}

/// Serves datagrams until the test process ends.
fn datagrams(socket: UdpSocket, mut each: impl FnMut(&UdpSocket, &Asked, SocketAddr) + Send + 'static) -> SocketAddr {
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let (mut buffer, mut nth) = ([0; 4096], 0);
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            each(&socket, &Asked::read(&buffer[..length], false, nth), peer);
            nth += 1;
        }
    });
    address
}

fn local() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// The right id and the right question, from another port or another address.
#[test]
fn from_elsewhere() {
    let others = [local(), UdpSocket::bind("127.0.0.2:0").unwrap()];
    let at = datagrams(local(), move |socket, asked, peer| {
        for other in &others {
            // A closed port may be reported to who sends here, too.
            let _ = other.send_to(&asked.a([6, 6, 6, 6]), peer);
        }
        socket.send_to(&asked.a([192, 0, 2, 1]), peer).unwrap();
    });
    assert_eq!(look_up(at, "a", 5.0), "192.0.2.1");
}

/// A datagram is sent three times from one port; the next look-up has another port and another id.
#[test]
fn sent_again() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let here = Arc::clone(&seen);
    let at = datagrams(local(), move |socket, asked, peer| {
        let mut seen = here.lock().unwrap();
        seen.push((asked.id, peer));
        if seen.len() % 3 == 0 {
            socket.send_to(&asked.a([192, 0, 2, 1]), peer).unwrap();
        }
    });
    let (mut ids, mut ports) = (HashSet::new(), HashSet::new());
    for _ in 0..3 {
        seen.lock().unwrap().clear();
        assert_eq!(look_up(at, "a", 20.0), "192.0.2.1");
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 3);
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
        ids.insert(seen[0].0);
        ports.insert(seen[0].1);
    }
    assert!(ids.len() > 1 && ports.len() > 1, "{ids:?} {ports:?}");
    // Not more often than that.
    let count = Arc::new(AtomicUsize::new(0));
    let here = Arc::clone(&count);
    let at = datagrams(local(), move |_, _, _| _ = here.fetch_add(1, Ordering::SeqCst));
    assert_eq!(look_up(at, "a", 1.5), "!timeout");
    assert!(count.load(Ordering::SeqCst) <= 3);
}

/// What was answered is not asked again; the two families have one socket and two ids.
#[test]
fn both_families() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let here = Arc::clone(&seen);
    let at = datagrams(local(), move |socket, asked, peer| {
        here.lock().unwrap().push((asked.kind, asked.id, peer));
        if asked.kind == A || asked.nth > 1 {
            socket.send_to(&asked.a([192, 0, 2, 1]), peer).unwrap();
        }
    });
    assert_eq!(look_up(at, "", 20.0), "192.0.2.1");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().map(|one| one.0).collect::<Vec<_>>(), [A, AAAA, AAAA]);
    assert!(seen[0].1 != seen[1].1 && seen[1].1 == seen[2].1, "{seen:?}");
    assert!(seen.iter().all(|one| one.2 == seen[0].2), "{seen:?}");
}

/// An address of each family.
fn own(asked: &Asked) -> Vec<u8> {
    match asked.kind {
        A => asked.a([192, 0, 2, 1]),
        _ => asked.answer(&[record(&asked.name, AAAA, 60, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])]),
    }
}

/// A firewall lets one answer pass for each port.
#[test]
fn one_answer_for_each_port() {
    let mut ports = HashSet::new();
    let at = datagrams(local(), move |socket, asked, peer| {
        if ports.insert(peer) {
            socket.send_to(&own(asked), peer).unwrap();
        }
    });
    assert_eq!(look_up(at, "", 20.0), "192.0.2.1 2001:db8::1");
}

/// At the deadline, the family that was answered is there.
#[test]
fn one_family_at_the_deadline() {
    let at = datagrams(local(), |socket, asked, peer| {
        if asked.kind == A {
            socket.send_to(&own(asked), peer).unwrap();
        }
    });
    assert_eq!(look_up(at, "", 1.0), "192.0.2.1");
    assert_eq!(look_up(at, "aaaa", 0.5), "!timeout");
}

/// Aliases from answer to answer: at most eight questions.
#[test]
fn questions() {
    for (aliases, expected, questions) in [(0, "192.0.2.1", 1), (7, "192.0.2.1", 8), (8, "!dns_failure", 8)] {
        let count = Arc::new(AtomicUsize::new(0));
        let here = Arc::clone(&count);
        let at = datagrams(local(), move |socket, asked, peer| {
            let nth = here.fetch_add(1, Ordering::SeqCst);
            let message = match nth < aliases {
                true => asked.answer(&[record(&asked.name, CNAME, 60, &name(&format!("n{nth}.test")))]),
                false => asked.a([192, 0, 2, 1]),
            };
            socket.send_to(&message, peer).unwrap();
        });
        assert_eq!(look_up(at, "a", 20.0), expected, "{aliases}");
        assert_eq!(count.load(Ordering::SeqCst), questions, "{aliases}");
    }
}

type Over = fn(TcpStream, &[Asked]);

/// What a server does with a connection, for which it asked by an answer that is cut off.
#[test]
fn over_tcp() {
    fn put(mut stream: &TcpStream, bytes: &[u8]) {
        let _ = stream.write_all(bytes);
    }
    fn both(asked: &[Asked]) -> Vec<Vec<u8>> {
        asked.iter().map(|asked| framed(&asked.a([192, 0, 2, 1]))).collect()
    }
    // what, type, what it does, what must come of it
    let rows: &[(&str, &str, Over, &str)] = &[
        (
            "byte by byte",
            "",
            |stream, asked| {
                stream.set_nodelay(true).unwrap();
                both(asked).concat().chunks(1).for_each(|byte| put(&stream, byte));
            },
            "192.0.2.1",
        ),
        (
            "all at once, the other way round",
            "",
            |stream, asked| put(&stream, &both(asked).into_iter().rev().collect::<Vec<_>>().concat()),
            "192.0.2.1",
        ),
        (
            "after messages of nobody's",
            "a",
            |stream, asked| {
                let mut other = asked[0].a([6, 6, 6, 6]);
                other[0] ^= 1;
                put(&stream, &[framed(&[]), framed(&[0]), framed(&other), both(asked).concat()].concat());
            },
            "192.0.2.1",
        ),
        (
            "the longest message",
            "txt",
            |stream, asked| {
                let long = |n: u16| record("x.test", TXT, 60, &[&[200][..], &[b'x'; 198], &n.to_be_bytes()].concat());
                let end = record("x.test", TXT, 60, b"\x03end");
                let message = asked[0].answer(&[end].into_iter().chain((0..299).map(long)).collect::<Vec<_>>());
                assert!(message.len() > 65_500, "{}", message.len());
                put(&stream, &framed(&message));
            },
            "end x",
        ),
        (
            "one answer for each connection",
            "",
            |stream, asked| put(&stream, &framed(&own(&asked[0]))),
            "192.0.2.1 2001:db8::1",
        ),
        ("closed", "a", |_, _| {}, "!dns_failure"),
        (
            "closed in the middle of a message",
            "a",
            |stream, asked| put(&stream, &both(asked).concat()[..20]),
            "!dns_failure",
        ),
        ("closed between two messages", "", |stream, asked| put(&stream, &both(asked)[0]), "192.0.2.1"),
        (
            "a length that is not true",
            "a",
            |stream, asked| {
                let mut message = both(asked).concat();
                message[1] -= 1;
                put(&stream, &message);
            },
            "!protocol",
        ),
    ];
    for (what, kind, over, expected) in rows {
        let at = cut_off(Some(*over), |_| true);
        let got = look_up(at, kind, 20.0);
        let got = got.get(..expected.len()).unwrap_or(&got);
        assert_eq!(got, *expected, "{what}");
    }
    // Nobody takes the connection.
    assert_eq!(look_up(cut_off(None, |_| true), "a", 20.0), "!dns_failure");
    // One answer is truncated: both are asked for over TCP, and no datagram is sent again before.
    static DATAGRAMS: AtomicUsize = AtomicUsize::new(0);
    let says: fn(&Asked) -> bool = |asked| {
        DATAGRAMS.fetch_add(1, Ordering::SeqCst);
        asked.kind == A
    };
    let at = cut_off(Some(|stream, asked| put(&stream, &both(asked).concat())), says);
    assert_eq!(look_up(at, "", 20.0), "192.0.2.1");
    assert!(DATAGRAMS.load(Ordering::SeqCst) <= 2);
}

/// A server that says over UDP that its answer is cut off, where it says anything.
fn cut_off(over: Option<Over>, says: fn(&Asked) -> bool) -> SocketAddr {
    let (udp, tcp) = sockets();
    let at = datagrams(udp, move |socket, asked, peer| {
        if says(asked) {
            socket.send_to(&asked.reply(TRUNCATED, &[], &[]), peer).unwrap();
        }
    });
    if let Some(over) = over {
        thread::spawn(move || connections(&tcp, over));
    }
    at
}

fn connections(tcp: &TcpListener, over: Over) {
    for stream in tcp.incoming() {
        let mut stream = stream.unwrap();
        thread::spawn(move || {
            let mut asked = Vec::new();
            // The questions about two families are sent at once.
            while let Some(message) = receive(&mut stream) {
                asked.push(Asked::read(&message, true, asked.len()));
                if asked.len() == 2 || ![A, AAAA].contains(&asked[0].kind) || stream_is_empty(&stream) {
                    break;
                }
            }
            over(stream, &asked);
        });
    }
}

/// Whether no other question came with the first.
fn stream_is_empty(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let empty = stream.peek(&mut [0]).is_err();
    stream.set_nonblocking(false).unwrap();
    empty
}
