//! A machine on a link: it does what datagrams to port 7000 tell it, and says what came of that.

use rustix::net::netdevice::name_to_index;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket},
    process::Command,
    time::Duration,
};

/// Its number, 1 or 2, in its environment.
pub const NEIGHBOUR: &str = "CASPIAN_NET_NEIGHBOUR";
const LINK: &str = "wire";
const PATIENCE: Duration = Duration::from_secs(10);

pub fn serve(number: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "HERE").unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let host: u8 = number.parse::<u8>().unwrap() - 1;
    let script = format!(
        "ip link set lo up
         ip link set {LINK} addrgenmode none
         ip addr add fe80::2/64 dev {LINK} nodad
         ip addr add 10.9.{host}.2/24 brd + dev {LINK}
         ip link set {LINK} up"
    );
    assert!(Command::new("sh").args(["-ec", &script]).status().unwrap().success());

    let control = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 7000)).unwrap();
    let link = name_to_index(&control, LINK).unwrap();
    let greeter = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 7001)).unwrap();
    let name = format!("peer{number}");
    let greeting = format!("{name}\n");
    std::thread::spawn(move || {
        for client in greeter.incoming() {
            let _ = client.unwrap().write_all(greeting.as_bytes());
        }
    });
    let groups = [
        UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 7002)).unwrap(),
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 7003)).unwrap(),
    ];
    groups[0].join_multicast_v6(&"ff02::77".parse().unwrap(), link).unwrap();
    groups[1].join_multicast_v4(&Ipv4Addr::new(239, 1, 1, 7), &Ipv4Addr::new(10, 9, host, 2)).unwrap();
    groups.iter().for_each(|group| group.set_nonblocking(true).unwrap());
    writeln!(out, "SERVING").unwrap();

    let mut room = [0; 200];
    loop {
        let (count, from) = control.recv_from(&mut room).unwrap();
        let text = String::from_utf8_lossy(&room[..count]).into_owned();
        let (word, port) = text.split_once(' ').unwrap_or((&text, "0"));
        let port: u16 = port.parse().unwrap();
        let back = || {
            let mut to = from;
            to.set_port(port);
            to
        };
        let answer = match word {
            "who" => name.clone(),
            "talk" => talk(back()),
            "dial" => dial(back()),
            "shout" => {
                let six = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
                six.send_to(name.as_bytes(), SocketAddrV6::new("ff02::78".parse().unwrap(), port, 0, link)).unwrap();
                let four = UdpSocket::bind((Ipv4Addr::new(10, 9, host, 2), 0)).unwrap();
                four.send_to(name.as_bytes(), (Ipv4Addr::new(239, 1, 1, 8), port + 1)).unwrap();
                "shouted".into()
            }
            "heard" => {
                let mut heard = String::from("heard");
                for group in &groups {
                    while let Ok((count, _)) = group.recv_from(&mut room) {
                        heard = heard + " " + &String::from_utf8_lossy(&room[..count]);
                    }
                }
                heard
            }
            word => format!("what is {word}?"),
        };
        control.send_to(answer.as_bytes(), from).unwrap();
    }
}

/// Says hello to that address and waits for an answer.
fn talk(to: SocketAddr) -> String {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"hello", to).unwrap();
    let mut room = [0; 100];
    match socket.recv_from(&mut room) {
        Ok((count, _)) => String::from_utf8_lossy(&room[..count]).into_owned(),
        Err(_) => "silence".into(),
    }
}

/// Connects to that address and reads a line.
fn dial(to: SocketAddr) -> String {
    let mut line = String::new();
    let Ok(stream) = TcpStream::connect_timeout(&to, PATIENCE) else { return "unreachable".into() };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = BufReader::new(stream.take(100)).read_line(&mut line);
    line.trim().to_owned()
}
