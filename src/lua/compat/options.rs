//! `setoption` and `getoption`: one table of names.

use super::{
    messages::{Answer, Arg, Fail, Out, Outcome, bad, fail},
    object::Object,
};
use crate::compat::bsd::{
    Bare,
    option::{self, Key},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, BorrowedFd},
};

/// Which kinds of socket have an option.
pub const TCP: u8 = 1;
pub const UDP: u8 = 2;
pub const STREAM: u8 = 4;
pub const DGRAM: u8 = 8;

/// What an option's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Bool(Key),
    Int(Key),
    Linger,
    Error,
    Device,
    Interface,
    /// Joins (`true`) or leaves a group of that family.
    Membership(bool, bool),
}

struct Row {
    name: &'static str,
    shape: Shape,
    /// The kinds that may set it, and those that may ask for it.
    set: u8,
    get: u8,
}

const fn row(name: &'static str, shape: Shape, set: u8, get: u8) -> Row {
    Row { name, shape, set, get }
}

const ROWS: &[Row] = &[
    row("keepalive", Shape::Bool(option::KEEPALIVE), TCP | STREAM, TCP),
    row("reuseaddr", Shape::Bool(option::REUSE_ADDRESS), TCP | UDP | STREAM | DGRAM, TCP | UDP),
    row("reuseport", Shape::Bool(option::REUSE_PORT), TCP | UDP, TCP | UDP),
    row("tcp-nodelay", Shape::Bool(option::NO_DELAY), TCP, TCP),
    row("tcp-keepidle", Shape::Int(option::KEEP_IDLE), TCP, TCP),
    row("tcp-keepcnt", Shape::Int(option::KEEP_COUNT), TCP, TCP),
    row("tcp-keepintvl", Shape::Int(option::KEEP_INTERVAL), TCP, TCP),
    #[cfg(target_os = "linux")]
    row("tcp-defer-accept", Shape::Int(option::DEFER_ACCEPT), TCP, 0),
    row("tcp-fastopen", Shape::Int(option::FAST_OPEN), TCP, 0),
    #[cfg(target_os = "linux")]
    row("tcp-fastopen-connect", Shape::Int(option::FAST_OPEN_CONNECT), TCP, 0),
    row("linger", Shape::Linger, TCP | STREAM, TCP),
    row("error", Shape::Error, 0, TCP | UDP),
    row("bindtodevice", Shape::Device, TCP, TCP),
    row("recv-buffer-size", Shape::Int(option::RECEIVE_BUFFER), TCP | UDP, TCP | UDP),
    row("send-buffer-size", Shape::Int(option::SEND_BUFFER), TCP | UDP, TCP | UDP),
    row("dontroute", Shape::Bool(option::DONT_ROUTE), UDP, UDP),
    row("broadcast", Shape::Bool(option::BROADCAST), UDP, UDP),
    row("ip-multicast-if", Shape::Interface, UDP, UDP),
    row("ip-multicast-ttl", Shape::Int(option::MULTICAST_TTL), UDP, 0),
    row("ip-multicast-loop", Shape::Bool(option::MULTICAST_LOOP), UDP, UDP),
    row("ip-add-membership", Shape::Membership(true, false), UDP, 0),
    row("ip-drop-membership", Shape::Membership(false, false), UDP, 0),
    row("ipv6-unicast-hops", Shape::Int(option::V6_HOPS), UDP, UDP),
    row("ipv6-multicast-hops", Shape::Int(option::V6_MULTICAST_HOPS), UDP, UDP),
    row("ipv6-multicast-loop", Shape::Bool(option::V6_MULTICAST_LOOP), UDP, UDP),
    row("ipv6-add-membership", Shape::Membership(true, true), UDP, 0),
    row("ipv6-drop-membership", Shape::Membership(false, true), UDP, 0),
    row("ipv6-v6only", Shape::Bool(option::V6_ONLY), TCP | UDP, UDP),
];

/// An option that a program set, and what to.
#[derive(Clone, Debug)]
pub struct Setting {
    name: &'static str,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Int(Key, i32),
    Linger(Option<u64>),
    Device(Vec<u8>),
    Interface(Ipv4Addr),
    Member { join: bool, group: IpAddr, interface: Ipv4Addr, index: u32 },
}

impl Setting {
    /// Gives the option to a socket.
    fn apply(&self, fd: BorrowedFd<'_>) -> Outcome<()> {
        let done = match &self.value {
            Value::Int(key, value) => option::set(fd, *key, *value),
            // A wait in close(2) has no deadline, and a finalizer may be who closes. So the kernel hears of 0 alone, which
            // resets; what else is to be sent goes out after the close, as without the option.
            Value::Linger(seconds) => option::set_linger(fd, seconds.filter(|seconds| *seconds == 0)),
            Value::Device(name) => option::set_device(fd, name),
            Value::Interface(interface) => option::set_multicast_interface(fd, *interface),
            Value::Member { join, group, interface, index } => {
                option::membership(fd, *join, *group, *interface, *index)
            }
        };
        done.map_err(|_| Fail::Message("setsockopt failed".into()))
    }
}

/// Gives a new socket what was asked for before it was made. An option that its family has not is passed over.
pub fn apply_all(object: &Object, bare: &Bare) {
    if let Ok(settings) = object.settings.try_borrow() {
        for setting in settings.iter() {
            let _ = setting.apply(bare.as_fd());
        }
    }
}

fn find(name: Arg<'_>, kind: u8, of: fn(&Row) -> u8) -> Outcome<&'static Row> {
    let name = name.text(2)?;
    match ROWS.iter().find(|row| row.name.as_bytes() == name && of(row) & kind != 0) {
        Some(row) => Ok(row),
        None => {
            let shown = String::from_utf8_lossy(name);
            bad(2, format!("unsupported option `{}'", shown.chars().take(35).collect::<String>()))
        }
    }
}

/// `setoption(name, value)`. `fields`: of a table, its `on`, `timeout`, `multiaddr` and `interface`.
pub fn set(object: &Object, kind: u8, name: Arg<'_>, value: Arg<'_>, fields: &[Arg<'_>; 4]) -> Outcome<Answer> {
    let row = find(name, kind, |row| row.set)?;
    let value = read(row.shape, value, fields)?;
    let setting = Setting { name: row.name, value };
    // What is not made yet gets the option when it is; what had a descriptor and is closed gets none.
    if object.number() >= 0 {
        object.with_fd(|fd| setting.apply(fd))?;
    } else if object.family.get().is_some() {
        return fail("setsockopt failed");
    }
    if let Ok(mut settings) = object.settings.try_borrow_mut() {
        match setting.value {
            // A group that was left is as if nobody had joined it: a program may do both for ever.
            Value::Member { join, group, interface, index } => {
                settings.retain(|old| match old.value {
                    Value::Member { group: g, interface: i, index: n, .. } => (g, i, n) != (group, interface, index),
                    _ => true,
                });
                if join {
                    settings.push(setting);
                }
            }
            _ => {
                settings.retain(|old| old.name != setting.name);
                settings.push(setting);
            }
        }
    }
    Ok(Answer::done())
}

/// How long the program wants a close to wait, which the kernel is not told.
fn lingering(object: &Object) -> Option<u64> {
    let settings = object.settings.try_borrow().ok()?;
    settings.iter().find_map(|setting| match setting.value {
        Value::Linger(seconds) => seconds,
        _ => None,
    })
}

fn read(shape: Shape, value: Arg<'_>, [on, timeout, group, interface]: &[Arg<'_>; 4]) -> Outcome<Value> {
    Ok(match shape {
        Shape::Bool(key) => Value::Int(key, value.boolean(3)?.into()),
        Shape::Int(key) => Value::Int(key, value.number(3)? as i32),
        Shape::Linger => {
            value.table(3)?;
            let Arg::Bool(on) = on else { return bad(3, "boolean 'on' field expected") };
            let Ok(seconds) = timeout.number(3) else { return bad(3, "number 'timeout' field expected") };
            Value::Linger(on.then_some(seconds.clamp(0.0, 65535.0) as u64))
        }
        Shape::Device => Value::Device(value.text(3)?.to_vec()),
        Shape::Interface => match value.text(3)? {
            b"*" => Value::Interface(Ipv4Addr::UNSPECIFIED),
            text => match parse(text) {
                Some(IpAddr::V4(interface)) => Value::Interface(interface),
                _ => return bad(3, "ip expected"),
            },
        },
        Shape::Membership(join, v6) => {
            value.table(3)?;
            let Arg::Text(text) = group else { return bad(3, "string 'multiaddr' field expected") };
            let Some(group) = parse(text).filter(|group| group.is_ipv6() == v6) else {
                return bad(3, "invalid 'multiaddr' ip address");
            };
            let (mut address, mut index) = (Ipv4Addr::UNSPECIFIED, 0);
            match interface {
                _ if !v6 => {
                    let Arg::Text(text) = interface else { return bad(3, "string 'interface' field expected") };
                    match parse(text) {
                        _ if *text == b"*" => {}
                        Some(IpAddr::V4(interface)) => address = interface,
                        _ => return bad(3, "invalid 'interface' ip address"),
                    }
                }
                absent if absent.is_absent() => {}
                number => match number.number(3) {
                    Ok(number) => index = number as u32,
                    Err(_) => return bad(3, "number 'interface' field expected"),
                },
            }
            Value::Member { join, group, interface: address, index }
        }
        Shape::Error => return bad(2, "unsupported option `error'"),
    })
}

fn parse(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `getoption(name)`
pub fn get(object: &Object, kind: u8, name: Arg<'_>) -> Outcome<Answer> {
    let row = find(name, kind, |row| row.get)?;
    if object.number() < 0 {
        return fail("getsockopt failed");
    }
    let failed = |_| Fail::Message("getsockopt failed".into());
    object.with_fd(|fd| {
        Ok(Answer::one(match row.shape {
            Shape::Bool(key) => Out::Bool(option::get(fd, key).map_err(failed)? != 0),
            Shape::Int(key) => Out::Number(option::get(fd, key).map_err(failed)?.into()),
            Shape::Linger => {
                let seconds = lingering(object).or(option::linger(fd).map_err(failed)?);
                Out::Linger(seconds.is_some(), seconds.unwrap_or(0) as i64)
            }
            Shape::Error => match option::take_error(fd) {
                Ok(()) => Out::Nil,
                Err(e) => match Fail::from(e) {
                    Fail::Message(why) => Out::Text(why.text()),
                    fail => return Err(fail),
                },
            },
            Shape::Device => Out::Bytes(option::device(fd).map_err(failed)?),
            Shape::Interface => Out::Text(option::multicast_interface(fd).map_err(failed)?.to_string().into()),
            Shape::Membership(..) => return bad(2, "unsupported option"),
        }))
    })
}
