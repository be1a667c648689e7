//! Names to addresses through the operating system's resolver, in a thread of its own so that it can time out.
//!
//! Takes a [`Granted`], so that names without a grant are never looked up. `Grants::permit` decides about the
//! addresses.

use crate::{
    address::Host,
    deadline::Deadline,
    descriptors::spare,
    error::{Error, Kind, Result, describe},
    files::whole,
    grants::Granted,
    panics::{contained, failpoint},
    wire::{Want, wait},
};
use std::{
    io::{self, Write},
    net::IpAddr,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

mod pending;
pub use pending::Pending;

/// The addresses of a granted host, in the order the system prefers (RFC 6724). A literal is its own answer.
pub fn addresses(granted: &Granted, pending: &Pending, deadline: &Deadline) -> Result<Vec<IpAddr>> {
    match granted.host() {
        Host::Ip(ip) => Ok(vec![*ip]),
        Host::Name(name) => ask(name.as_asked(), pending, deadline),
    }
}

fn ask(name: &str, pending: &Pending, deadline: &Deadline) -> Result<Vec<IpAddr>> {
    let what = || format!("resolve {name}");
    let failed = |e: &io::Error| {
        let text = describe(e);
        Error::new(Kind::DnsFailure, format!("{}: {text}", what())).cause(text)
    };
    let slot = pending.begin().ok_or_else(|| {
        let message = "too many look-ups of this network capability wait for the system's resolver";
        Error::new(Kind::DnsFailure, format!("{}: {message}; try again when some have ended", what()))
    })?;
    // The pair wakes this thread from a poll, so that the deadline and Ctrl-C are seen as in every other wait.
    let (here, there) = spare(UnixStream::pair).map_err(|e| failed(&e))?;
    let answer = Arc::new(Mutex::new(None));
    let (given, asked) = (Arc::clone(&answer), name.to_owned());
    thread::Builder::new()
        .name("resolve".into())
        .stack_size(256 * 1024)
        .spawn(move || {
            contained(|| {
                let found = system(&asked);
                let mut place = given.lock().unwrap_or_else(PoisonError::into_inner);
                failpoint("resolve");
                *place = Some(found);
            });
            drop(slot);
            let _ = (&there).write(&[1]);
        })
        .map_err(|e| failed(&e))?;
    wait(here.as_fd(), Want::Read, deadline, what)?;
    let found = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    match found {
        Some(Ok(addresses)) if addresses.is_empty() => {
            Err(Error::new(Kind::DnsFailure, format!("{}: the name has no address", what())))
        }
        Some(Ok(addresses)) => Ok(addresses),
        Some(Err(e)) => {
            let text = e.to_string();
            let text = text.rsplit(": ").next().unwrap_or(&text).to_lowercase();
            Err(Error::new(Kind::DnsFailure, format!("{}: {text}", what())).cause(text))
        }
        None => Err(Error::new(Kind::DnsFailure, format!("{}: the resolver gave no answer", what()))),
    }
}

/// getaddrinfo(3), which reads the hosts file and the search domains as every other program here does.
#[allow(clippy::disallowed_methods, reason = "the one place that resolves: `lookup` holds a Granted")]
fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    use std::net::ToSocketAddrs;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in (name, 0).to_socket_addrs()? {
        let ip = address.ip().to_canonical();
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    Ok(addresses)
}

/// What this machine calls itself, by uname(2).
pub fn hostname() -> Vec<u8> {
    rustix::system::uname().nodename().to_bytes().to_vec()
}

/// The port that /etc/services knows a service by, for "tcp" or "udp". An error if the file is there and cannot be read.
pub fn service(name: &str, protocol: &str) -> io::Result<Option<u16>> {
    services(|port, of, names| (of == protocol && names.contains(&name)).then_some(port))
}

/// The first name that /etc/services has for a port.
pub fn service_name(port: u16, protocol: &str) -> io::Result<Option<String>> {
    services(|number, of, names| {
        (number == port && of == protocol).then(|| names.first().map(|name| (*name).to_owned()))?
    })
}

/// The first answer of `pick(port, protocol, names)` over the lines of /etc/services.
fn services<T>(pick: impl Fn(u16, &str, &[&str]) -> Option<T>) -> io::Result<Option<T>> {
    // Debian's has 13 KiB.
    const MOST: u64 = 1024 * 1024;
    let Some(bytes) = whole::read(Path::new("/etc/services"), MOST)? else { return Ok(None) };
    Ok(String::from_utf8_lossy(&bytes).lines().find_map(|line| {
        let mut names: Vec<_> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        if names.len() < 2 {
            return None;
        }
        let (port, protocol) = names.remove(1).split_once('/')?;
        pick(port.parse().ok()?, protocol, &names)
    }))
}
