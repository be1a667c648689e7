//! The system's resolver and ours, asked the same under the same configuration: a table of resolv.conf files, and of
//! servers that know, refuse, fail or stay silent, in namespaces where the servers are at their usual port. Both must
//! come to the same answer, and ask the same servers for the same names in the same order.
//!
//! Needs Linux, `unshare` and `ip`, and to be root or to be allowed namespaces of users; says so where it is not.
#![cfg(all(feature = "embedded", target_os = "linux"))]
#![allow(clippy::disallowed_methods, reason = "the test is the world outside")]

mod doors;
mod limits;
#[path = "../names_support/mod.rs"]
mod names_support;
mod table;

use caspian_net::{
    address::Host,
    deadline::Deadline,
    dial,
    error::Result,
    grants::Grants,
    names::{Names, Question, Record},
    net::Net,
};
use names_support::{Asked, framed, receive};
use std::{
    fs,
    io::Write,
    net::{IpAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// Says to the test that it is inside, and where its files are.
const INSIDE: &str = "CASPIAN_NET_RESOLVERS";

/// Where the servers are, by their numbers. Nobody is at 127.1.0.9.
const SERVERS: [&str; 6] = ["127.1.0.1", "127.1.0.2", "127.1.0.3", "127.1.0.4", "127.0.0.1", "fe80::53%lo"];

type Says = Arc<dyn Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync>;

/// The servers, what they say, and what they were asked: `1 web.test`, each once.
#[derive(Clone, Default)]
struct World {
    says: Arc<Mutex<Vec<Says>>>,
    asked: Arc<Mutex<Vec<String>>>,
    dir: PathBuf,
}

impl World {
    /// Furnishes the namespace: files of its own in /etc, and servers.
    fn start(dir: &Path) -> World {
        let files = [
            ("resolv.conf", ""),
            ("hosts", "10.9.9.9 inhosts\n10.9.9.8 dotted.\n"),
            ("nsswitch.conf", "hosts: files dns\nservices: files\n"),
        ];
        let mut script = String::from("set -e\nip link set lo up\nip addr add fe80::53/64 dev lo nodad\n");
        for (file, text) in files {
            let path = dir.join(file);
            fs::write(&path, text).unwrap();
            script += &format!("[ -e /etc/{file} ] || : >/etc/{file}\nmount --bind {} /etc/{file}\n", path.display());
        }
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success(), "the namespace is not furnished");
        let world = World { dir: dir.to_owned(), ..World::default() };
        for (index, address) in SERVERS.into_iter().enumerate() {
            world.serve(index, address);
        }
        world
    }

    /// One server, over UDP and TCP.
    fn serve(&self, index: usize, address: &str) {
        let socket = UdpSocket::bind((address, 53)).unwrap();
        let listener = TcpListener::bind(socket.local_addr().unwrap()).unwrap();
        let world = self.clone();
        thread::spawn(move || {
            let (mut buffer, mut nth) = ([0; 2048], 0);
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let asked = Asked::read(&buffer[..length], false, nth);
                nth += 1;
                for message in world.says(index, &asked) {
                    let _ = socket.send_to(&message, peer);
                }
            }
        });
        let world = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, world) = (stream.unwrap(), world.clone());
                thread::spawn(move || {
                    while let Some(message) = receive(&mut stream) {
                        for message in world.says(index, &Asked::read(&message, true, 0)) {
                            let _ = stream.write_all(&framed(&message));
                        }
                    }
                });
            }
        });
    }

    /// What a server says, which is noted.
    fn says(&self, index: usize, asked: &Asked) -> Vec<Vec<u8>> {
        self.note(format!("{} {}", index + 1, asked.name.to_lowercase()));
        let says = self.says.lock().unwrap().get(index).cloned();
        says.iter().flat_map(|says| says(asked)).collect()
    }

    fn note(&self, line: String) {
        let mut asked = self.asked.lock().unwrap();
        if !asked.contains(&line) {
            asked.push(line);
        }
    }

    /// Another configuration, written over the old one in place; and other servers.
    fn furnish(&self, conf: &str, says: &[Says]) {
        *self.says.lock().unwrap() = says.to_vec();
        fs::write(self.dir.join("resolv.conf"), conf).unwrap();
        self.asked.lock().unwrap().clear();
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn net(flags: &[&str]) -> Net {
    Net::new(Grants::parse(flags).unwrap()).unwrap()
}

fn show(answer: Result<Vec<IpAddr>>) -> String {
    match answer {
        Ok(mut addresses) => {
            addresses.sort();
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("!{}", error.kind().word()),
    }
}

/// What a connection would be made to: the system's resolver.
fn system(net: &Net, host: &str, seconds: f64) -> Result<Vec<IpAddr>> {
    let granted = net.connect("tcp", &Host::parse(host).unwrap(), 80)?;
    dial::look_up(net, "tcp", &granted, &Deadline::after(Duration::from_secs_f64(seconds)))
}

/// What `resolve` answers: ours.
fn ours(names: &Names, net: &Net, host: &str) -> Result<Vec<IpAddr>> {
    let question = Question::new("resolve", host).unwrap();
    let records = names.resolve(net, &question, &Deadline::after(Duration::from_secs(20)))?;
    let text = |record: &Record| String::from_utf8_lossy(record.text().unwrap()).into_owned();
    Ok(records.iter().map(|record| text(record).parse().unwrap()).collect())
}

/// Runs an ignored test of this program in namespaces of its own.
fn inside(test: &str) {
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
    let mut unshare: Vec<&str> = vec!["--net", "--mount", "--kill-child"];
    if !root {
        unshare.push("--map-root-user");
    }
    let probe = Command::new("unshare").args(&unshare).args(["ip", "link", "set", "lo", "up"]).output();
    if !probe.as_ref().is_ok_and(|out| out.status.success()) {
        let why = probe.map_or_else(|e| e.to_string(), |out| String::from_utf8_lossy(&out.stderr).trim().to_owned());
        // Past the harness, which keeps what a test that passes says to itself.
        let words = format!("SKIPPED {test}: no network namespace can be made here ({why})\n");
        std::io::stderr().write_all(words.as_bytes()).unwrap();
        return;
    }
    let name = test.replace("::", "-");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("resolvers-{}-{name}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let inside = Command::new("unshare")
        .args(&unshare)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(INSIDE, &dir)
        .output()
        .unwrap();
    let _ = fs::remove_dir_all(&dir);
    let said = String::from_utf8_lossy(&inside.stdout) + String::from_utf8_lossy(&inside.stderr);
    assert!(inside.status.success() && said.contains("1 passed"), "{said}");
}

/// The world of the namespace that [`inside`] made; `None` where it did not.
fn world() -> Option<World> {
    std::env::var_os(INSIDE).map(|dir| World::start(Path::new(&dir)))
}
