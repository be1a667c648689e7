//! Unix sockets, by the paths that the gate has granted.

use super::{
    classes::Args,
    inet,
    messages::{Answer, Arg, Class, Out, Outcome, Why, fail},
    object::Object,
    udp,
};
use crate::{
    compat::bsd::{self, Name},
    deadline::{Deadline, pause},
    grants::GrantedPath,
};
use std::time::Duration;

/// What fits into a `sockaddr_un`.
const LONGEST: usize = 107;

/// The path, if the gate lets it pass. Names that are no paths (Linux's abstract ones) cannot be granted.
fn granted(object: &Object, op: &'static str, path: Arg<'_>, index: usize, listen: bool) -> Outcome<GrantedPath> {
    let path = path.text(index)?;
    if path.len() > LONGEST {
        return fail("path too long");
    }
    match std::str::from_utf8(path) {
        Ok(path) => Ok(object.home.cap.net.unix(op, path, listen)?),
        Err(_) => fail("host not allowed: the path is not valid UTF-8"),
    }
}

/// `bind(path)`. The descriptor does not outlive a failure, as in the original; the file outlives the descriptor.
pub fn bind(object: &Object, path: Arg<'_>) -> Outcome<Answer> {
    let at = granted(object, "bind", path, 2, true)?;
    if object.number() < 0 {
        return fail(super::messages::NO_DESCRIPTOR);
    }
    let done = object.with_bare(|bare| Ok(bare.bind_unix(&at)?));
    done.inspect_err(|_| object.close())?;
    Ok(Answer::done())
}

/// `connect(path)` of a stream.
pub fn connect(object: &Object, path: Arg<'_>) -> Outcome<Answer> {
    let to = granted(object, "connect", path, 2, false)?;
    if object.number() < 0 {
        return fail(Why::Closed);
    }
    let clock = object.timeouts.get().start()?;
    let done = loop {
        match object.with_bare(|bare| inet::started(bsd::connect_unix(bare, &to))) {
            Ok(false) => break Ok(()),
            // A full backlog: a Unix socket does not tell when there is room, so ask again.
            Ok(true) if clock.is_now() || clock.wait(Deadline::is_past) => break fail(Why::Timeout),
            Ok(true) => pause(Duration::from_millis(10), "connect")?,
            Err(fail) => break Err(fail),
        }
    };
    done.inspect_err(|_| object.close())?;
    object.turn_into_stream(&format!("unix:{}", to.path().display()))?;
    Ok(Answer::done().becomes(Class::StreamClient))
}

/// `connect(path)` of datagrams.
pub fn set_peer(object: &Object, path: Arg<'_>) -> Outcome<Answer> {
    let to = granted(object, "connect", path, 2, false)?;
    if object.number() < 0 {
        return fail(Why::Closed);
    }
    let done = object.with_bare(|bare| inet::started(bsd::connect_unix(bare, &to)));
    done.inspect_err(|_| object.close())?;
    Ok(Answer::done().becomes(Class::DgramConnected))
}

/// `getsockname()`: the path, empty where there is none.
pub fn name(object: &Object) -> Outcome<Answer> {
    let name = object.with_fd(|fd| Ok(bsd::local(fd)?))?;
    let Name::Path(path) = name else { return fail("Invalid argument") };
    Ok(Answer::one(Out::Bytes(path)))
}

/// `receivefrom(size)`: the datagram, and the sender's path.
pub fn receive_from(object: &Object, size: Arg<'_>) -> Outcome<Answer> {
    let (bytes, from) = udp::datagram(object, size)?;
    let path = match from {
        Some(Name::Path(path)) => path,
        _ => Vec::new(),
    };
    Ok(Answer { values: vec![Out::Bytes(bytes), Out::Bytes(path)], class: None })
}

/// `sendto(data, path)`
pub fn send_to(object: &Object, args: &Args<'_>) -> Outcome<Answer> {
    let data = args.list[0].text(2)?;
    let to = granted(object, "sendto", args.list[1], 3, false)?;
    if object.number() < 0 {
        return fail("refused");
    }
    let clock = object.timeouts.get().start()?;
    let sent = object.with_bare(|bare| Ok(clock.wait(|deadline| bare.send_to_unix(data, &to, deadline))?))?;
    Ok(Answer::one(Out::Number(sent as f64)))
}
