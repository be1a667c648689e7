//! Names, ports and connections of TCP and UDP objects. Each connect, bind and datagram asks the gate, by the host and
//! the port that the program gave.

use super::{
    messages::{Answer, Arg, Fail, NO_NAME, Out, Outcome, Why, fail},
    object::{Attempt, Clock, Item, Object},
    options,
};
use crate::{
    address::{Host, Zoned},
    compat::bsd::{self, Bare, Family, Name, Progress, option::V6_ONLY},
    conn::Conn,
    deadline::{DEFAULT, Deadline},
    dial::{self, Target, addresses},
    grants::{Bindable, Permitted},
    zone,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsFd,
};

/// A port: a number, its digits, or the name of a service in /etc/services. What is out of range is refused: the
/// original would take it modulo 65536, past whatever was checked.
pub fn port(arg: Arg<'_>, index: usize, protocol: &str) -> Outcome<u16> {
    let range = |number: f64| match (0.0..=65535.0).contains(&number) {
        true => Ok(number as u16),
        false => fail(format!("port must be 0 to 65535, got {number}")),
    };
    let text = match arg {
        Arg::Number(number) if number.fract() == 0.0 => return range(number),
        Arg::Number(_) => return fail(NO_SERVICE),
        other => other.text(index)?,
    };
    let text = String::from_utf8_lossy(text);
    match text.trim().parse::<f64>() {
        Ok(number) if text.trim().bytes().all(|b| b.is_ascii_digit() || b == b'-') => range(number),
        _ => match crate::resolve::service(&text, protocol) {
            Ok(Some(port)) => Ok(port),
            Ok(None) => fail(NO_SERVICE),
            Err(_) => fail(NO_ANSWER),
        },
    }
}

const NO_SERVICE: &str = "service not supported for socket type";
/// getaddrinfo's word where /etc/services cannot be read.
pub(super) const NO_ANSWER: &str = "System error";

pub fn host(text: &[u8]) -> Outcome<Zoned> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| Zoned::parse(text).ok());
    // The original, too, knows no such host where there is no such interface.
    let there = |host: &Zoned| host.zone.as_ref().is_none_or(|zone| zone::index(zone).is_ok());
    parsed.filter(there).map_or_else(|| fail(NO_NAME), Ok)
}

fn fits(family: Option<Family>, ip: IpAddr) -> bool {
    family.is_none_or(|family| family == Family::of(ip))
}

/// The addresses that the object may be connected to for that host. Names are outside of the timeout, as in the
/// original, but not outside of every limit.
pub fn permitted(object: &Object, op: &'static str, name: &Zoned, port: u16) -> Outcome<Vec<Permitted>> {
    let net = &object.home.cap.net;
    let granted = net.connect_zoned(op, name, port)?;
    let target = Target { op, granted: &granted, address: None, names: None, local: None, tls: None };
    let mut all = addresses(net, &target, &Deadline::new(Some(DEFAULT)))?;
    all.retain(|to| fits(object.family.get(), to.addr().ip()));
    match all.is_empty() {
        true => fail("Address family for hostname not supported"),
        false => Ok(all),
    }
}

/// Where `bind(address, port)` may bind the object. A name stands for its addresses, of which the first that is
/// granted counts.
pub fn bindable(object: &Object, op: &'static str, address: &[u8], port: u16) -> Outcome<Vec<Bindable>> {
    let net = &object.home.cap.net;
    let family = object.family.get();
    let name = match address {
        b"*" if family == Some(Family::V6) => Host::from(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).into(),
        b"*" => Host::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).into(),
        text => host(text)?,
    };
    let Zoned { host: name, zone } = name;
    let ips = match name.ip() {
        Some(ip) => vec![ip],
        None if name.is_localhost() && family == Some(Family::V6) => vec![IpAddr::V6(Ipv6Addr::LOCALHOST)],
        None if name.is_localhost() => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        None => dial::look_up(net, op, &net.permit_lookup(op, &name)?, &Deadline::new(Some(DEFAULT)))?,
    };
    let fitting: Vec<_> = ips.into_iter().filter(|ip| fits(family, *ip)).collect();
    if fitting.is_empty() {
        return fail("Address family for hostname not supported");
    }
    let places: crate::error::Result<Vec<_>> = fitting
        .into_iter()
        .map(|ip| net.listen_zoned(op, &Zoned { host: ip.into(), zone: zone.clone() }, port))
        .collect();
    Ok(places?)
}

/// A socket for the object, with the options that were set on it.
fn open(object: &Object, family: Family) -> Outcome<Bare> {
    let bare = Bare::open(family, object.datagrams)?;
    options::apply_all(object, &bare);
    Ok(bare)
}

/// The object's socket if it has one of that family, else a new one, which is put into the object.
pub fn ensure(object: &Object, family: Family) -> Outcome<()> {
    if object.number() < 0 || object.family.get() != Some(family) {
        object.put(Item::Bare(open(object, family)?))?;
    }
    object.family.set(Some(family));
    Ok(())
}

/// `bind(address, port)` of a TCP master, `setsockname` of a UDP object.
pub fn bind(object: &Object, address: Arg<'_>, service: Arg<'_>) -> Outcome<Answer> {
    let address = address.text(2)?;
    let port = port(service, 3, if object.datagrams { "udp" } else { "tcp" })?;
    let mut why = Fail::Message(NO_NAME.into());
    let family = object.family.get();
    for at in bindable(object, "bind", address, port)? {
        let done = ensure(object, Family::of(at.addr().ip()))
            .and_then(|()| object.with_bare(|bare| both(object, bare, &at, port).and_then(|()| Ok(bare.bind(&at)?))));
        match done {
            Ok(()) => {
                *object.bound.borrow_mut() = Some(at);
                return Ok(Answer::done());
            }
            Err(fail) => why = fail,
        }
    }
    // What could not be bound has chosen no family for `connect`.
    object.family.set(family);
    Err(why)
}

/// With the option `ipv6-v6only` off, `[::]` is every interface of IPv4 as well, which takes a grant of its own.
fn both(object: &Object, bare: &Bare, at: &Bindable, port: u16) -> Outcome<()> {
    if at.addr().ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && bsd::option::get(bare.as_fd(), V6_ONLY)? == 0 {
        object.home.cap.net.listen("bind", &Host::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port)?;
    }
    Ok(())
}

/// `connect(address, port)` of a TCP object. The addresses of a name are tried in their order, each with a socket of
/// its own and the whole timeout. After a failure the next call begins with a new socket, which has the options that were
/// set; a socket that the program has bound is asked again, as BSD sockets are; so is what is under way.
pub fn connect(object: &Object, address: Arg<'_>, service: Arg<'_>) -> Outcome<Answer> {
    let address = address.text(2)?;
    let (name, port) = (host(address)?, port(service, 3, "tcp")?);
    let all = permitted(object, "connect", &name, port)?;
    let peer = name.endpoint(port);
    let clock = || object.timeouts.get().start();
    let family = object.family.get();
    // A connection under way is to one of the addresses: those in front of it have failed already.
    let mut own = *object.attempt.borrow() != Attempt::Failed && object.number() >= 0;
    let first = match &*object.attempt.borrow() {
        Attempt::Started(to, at) if own && *to == peer && *at < all.len() => *at,
        _ => 0,
    };
    let mut why = Fail::Message(NO_NAME.into());
    for (at, to) in all.iter().enumerate().skip(first) {
        own = own && object.family.get() == Some(Family::of(to.addr().ip()));
        let clock = clock()?;
        match attempt(object, to, &peer, own, &clock) {
            Ok(()) => {
                object.attempt.take();
                note(object, &name, port, None);
                return Ok(Answer::done());
            }
            Err(Fail::Interrupted) => return Err(Fail::Interrupted),
            Err(fail) => why = fail,
        }
        if clock.is_now() && matches!(why, Fail::Message(Why::Timeout | Why::UnderWay)) {
            *object.attempt.borrow_mut() = Attempt::Started(peer, at);
            note(object, &name, port, Some(&why));
            return Err(why);
        }
        own = false;
    }
    failed(object, family, &why);
    note(object, &name, port, Some(&why));
    Err(why)
}

/// Notes that nothing came of a connect: the next one is free to choose the family, too, where the program has not.
fn failed(object: &Object, family: Option<Family>, why: &Fail) {
    match why {
        Fail::Message(Why::Stands) => return,
        // The program may ask how far a socket of its own choice is.
        Fail::Message(Why::Timeout | Why::UnderWay) if family.is_some() => return,
        _ => {}
    }
    // Another socket would have another local port, where the program has left the choice to the system.
    if object.bound.borrow().is_some() && object.number() >= 0 {
        object.attempt.take();
        return;
    }
    object.family.set(family);
    object.attempt.replace(Attempt::Failed);
}

fn attempt(object: &Object, to: &Permitted, peer: &str, own: bool, clock: &Clock) -> Outcome<()> {
    let family = Family::of(to.addr().ip());
    if !own {
        // The place where it is bound is free for the new socket when the old one is gone.
        object.put(Item::None)?;
        let bare = open(object, family)?;
        if let Some(at) = &*object.bound.borrow() {
            bare.bind(at)?;
        }
        object.put(Item::Bare(bare))?;
        object.family.set(Some(family));
        // What the connection before has left is not this one's.
        if let Ok(mut left) = object.left.try_borrow_mut() {
            left.clear();
        }
    }
    // Whatever comes of it, from now on it is a stream: a program may wait for it, and use it, on its own.
    object.turn_into_stream(peer)?;
    object.with_fd(|fd| match started(bsd::connect(fd, to))? {
        false => Ok(()),
        true if clock.is_now() => fail(Why::Timeout),
        true => Ok(clock.wait(|deadline| bsd::connected(fd, deadline))?),
    })
}

/// True if a connection was begun that does not stand yet.
pub fn started(progress: crate::error::Result<Progress>) -> Outcome<bool> {
    match progress? {
        Progress::Done => Ok(false),
        Progress::Started => Ok(true),
        Progress::UnderWay => fail(Why::UnderWay),
        Progress::Stands => fail(Why::Stands),
    }
}

/// A line for `--net-log`.
fn note(object: &Object, host: &Zoned, port: u16, why: Option<&Fail>) {
    let net = &object.home.cap.net;
    if net.is_logged() {
        let why = match why {
            Some(Fail::Message(why)) => Some(why.clone().text().into_owned()),
            Some(_) => Some("interrupted".to_owned()),
            None => None,
        };
        let event = if why.is_none() { "connected" } else { "failed" };
        net.log(
            event,
            &[("op", "connect".into()), ("host", host.to_string().into()), ("port", port.into()), ("why", why.into())],
        );
    }
}

/// `accept()` of a server: the client's socket.
pub fn accept(object: &Object) -> Outcome<Conn> {
    object.home.cap.net.alive()?;
    let clock = object.timeouts.get().start()?;
    let done = object.with_slot(|slot| match &*slot.look()? {
        Item::Bare(bare) => {
            let new = clock.wait(|deadline| bare.accept(deadline))?;
            let peer = match bsd::remote(&new) {
                Ok(Name::Ip(address)) => zone::endpoint(address),
                _ => "a client".to_owned(),
            };
            Ok(Conn::plain(new.into_wire(&peer)))
        }
        Item::Stream(_) => fail("Invalid argument"),
        Item::None => fail(super::messages::Why::Closed),
    });
    done.map_err(|fail| object.with_slot(|slot| slot.ending(fail)))
}

/// `getsockname` or `getpeername`: the address, the port, the family.
pub fn name(object: &Object, ask: fn(std::os::fd::BorrowedFd<'_>) -> crate::error::Result<Name>) -> Outcome<Answer> {
    let name = object.with_fd(|fd| Ok(ask(fd.as_fd())?))?;
    let family = match object.family.get() {
        Some(Family::V4) => "inet",
        Some(Family::V6) => "inet6",
        Some(Family::Unix) | None => "unspec",
    };
    let Name::Ip(address) = name else { return fail("Address family for hostname not supported") };
    Ok(Answer {
        values: vec![
            Out::Text(zone::host(address).into()),
            Out::Integer(address.port().into()),
            Out::Text(family.into()),
        ],
        class: None,
    })
}

/// `getfamily()`
pub fn family(object: &Object) -> Answer {
    let v6 = object.family.get() == Some(Family::V6);
    Answer::one(Out::Text(if v6 { "inet6" } else { "inet4" }.into()))
}
