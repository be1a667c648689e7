//! Datagrams: the methods that TCP objects lack.

use super::{
    classes::Args,
    inet,
    messages::{Answer, Arg, Class, Fail, Out, Outcome, Why, fail},
    object::Object,
};
use crate::{
    compat::bsd::{self, Bare, Family, Name},
    dial::Target,
    zone,
};
use std::cell::RefCell;

/// What `receive` takes at the most, if the caller names nothing else.
pub const DATAGRAM: usize = 8192;
/// No datagram is larger.
const MOST: usize = 65_535;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A closed datagram socket refuses.
fn refused(fail: Fail) -> Fail {
    match fail {
        Fail::Message(Why::Closed) => Fail::Message("refused".into()),
        other => other,
    }
}

/// Runs `act` on the socket; what has none is `closed` to LuaSocket, and that is `refused` here.
fn socket<T>(object: &Object, act: impl FnOnce(&Bare) -> Outcome<T>) -> Outcome<T> {
    object.home.cap.net.alive()?;
    match object.number() {
        -1 => fail("refused"),
        _ => object.with_bare(act).map_err(|fail| refused(object.with_slot(|slot| slot.ending(fail)))),
    }
}

pub fn datagram(object: &Object, size: Arg<'_>) -> Outcome<(Vec<u8>, Option<Name>)> {
    let size = size.number_or(2, DATAGRAM as f64)?;
    // A float becomes the nearest number that there is.
    let size = (size as usize).min(MOST);
    let clock = object.timeouts.get().start()?;
    socket(object, |bare| {
        // Taken, not borrowed: a signal's handler that runs during the wait may receive, too.
        let mut scratch = SCRATCH.take();
        scratch.resize(MOST, 0);
        let room = scratch.get_mut(..size).unwrap_or_default();
        let received = clock
            .wait(|deadline| bare.recv_from(&mut *room, deadline))
            .map(|(count, from)| (room.get(..count).unwrap_or_default().to_vec(), from));
        SCRATCH.set(scratch);
        Ok(received?)
    })
}

/// `receive(size)`
pub fn receive(object: &Object, size: Arg<'_>) -> Outcome<Answer> {
    let (bytes, _) = datagram(object, size)?;
    Ok(Answer::one(Out::Bytes(bytes)))
}

/// `receivefrom(size)`: the datagram, and the sender's address and port.
pub fn receive_from(object: &Object, size: Arg<'_>) -> Outcome<Answer> {
    let (bytes, from) = datagram(object, size)?;
    let mut values = vec![Out::Bytes(bytes)];
    if let Some(Name::Ip(address)) = from {
        values.push(Out::Text(zone::host(address).into()));
        values.push(Out::Integer(address.port().into()));
    }
    Ok(Answer { values, class: None })
}

/// `send(data)` to the peer.
pub fn send(object: &Object, data: Arg<'_>) -> Outcome<Answer> {
    let data = data.text(2)?;
    let clock = object.timeouts.get().start()?;
    let sent = socket(object, |bare| Ok(clock.wait(|deadline| bare.send(data, deadline))?))?;
    Ok(Answer::one(Out::Number(sent as f64)))
}

/// `sendto(data, address, port)`: addresses only, no names.
pub fn send_to(object: &Object, _: Class, args: &Args<'_>) -> Outcome<Answer> {
    let (data, address) = (args.list[0].text(2)?, args.list[1].text(3)?);
    let port = inet::port(args.list[2], 4, "udp")?;
    // The original takes numbers here, and says what the resolver says.
    let Some((host, ip)) = inet::host(address).ok().and_then(|to| to.host.ip().map(|ip| (to, ip))) else {
        return fail("Name or service not known");
    };
    if object.family.get().is_some_and(|family| family != Family::of(ip)) {
        return fail("Address family for hostname not supported");
    }
    let net = &object.home.cap.net;
    let granted = net.connect_zoned("sendto", &host, port)?;
    let target = Target { op: "sendto", granted: &granted, address: None, names: None, local: None, tls: None };
    let to = net.permit(target.op, &granted, &[ip])?;
    if object.number() < 0 && object.family.get().is_none() {
        inet::ensure(object, Family::of(ip))?;
    }
    let clock = object.timeouts.get().start()?;
    let Some(to) = to.first() else { return fail("Name or service not known") };
    let sent = socket(object, |bare| Ok(clock.wait(|deadline| bare.send_to(data, to, deadline))?))?;
    Ok(Answer::one(Out::Number(sent as f64)))
}

/// `setpeername(address, port)`; `"*"` takes the peer away.
pub fn set_peer(object: &Object, args: &Args<'_>) -> Outcome<Answer> {
    let address = args.list[0].text(2)?;
    if address == b"*" {
        if object.number() >= 0 {
            let _ = socket(object, |bare| Ok(bare.disconnect()?));
        }
        return Ok(Answer::done().becomes(Class::UdpUnconnected));
    }
    let (host, port) = (inet::host(address)?, inet::port(args.list[1], 3, "udp")?);
    let mut why = Fail::Message(super::messages::NO_NAME.into());
    for to in inet::permitted(object, "setpeername", &host, port)? {
        let done = inet::ensure(object, Family::of(to.addr().ip()))
            .and_then(|()| object.with_bare(|bare| inet::started(bsd::connect(bare, &to))));
        match done {
            Ok(_) => return Ok(Answer::done().becomes(Class::UdpConnected)),
            Err(fail) => why = fail,
        }
    }
    Err(why)
}
