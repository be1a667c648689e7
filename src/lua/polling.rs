//! `net.poll`: many sockets at once. `net.sleep`: none.

use super::{
    answer::{Answer, Failure, argument, found},
    define,
    kinds::List,
    raw,
    socket::{Class, Item, Socket, seconds},
    sockets::log_handshake,
};
use crate::{
    deadline::{Deadline, check_block, check_interrupt, pause},
    error::{Error, Kind},
    poll,
    wire::Want,
};
use mlua::{Lua, Table, Value};
use std::{os::fd::AsFd, rc::Rc, time::Duration};

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // poll(readers, writers, timeout, wake): the indices of those that are ready; `wake`: writers end the wait too.
    define(lua, core, "poll", |lua, (readers, writers, timeout, wake): (Table, Table, f64, bool)| {
        let Some(timeout) = seconds(timeout) else { return argument(2, "timeout must be 0 or more seconds") };
        check_block("poll")?;
        let mut all = Vec::new();
        for (list, want) in [(readers, Want::Read), (writers, Want::Write)] {
            for index in 1..=list.raw_len() {
                let value: Value = list.raw_get(index).unwrap_or(Value::Nil);
                let socket = found(raw::peek(lua, value), 1, || "sockets must hold sockets only".into())?;
                all.push((index, want, socket));
            }
        }
        let (readable, writable) = poll_sockets(&all, wake, &Deadline::new(timeout).start())?;
        Ok((List(readable), List(writable)))
    })?;
    define(lua, core, "sleep", |_, time: f64| {
        let Some(time) = seconds(time) else { return argument(1, "seconds must be 0 or more seconds") };
        pause(time.unwrap_or(Duration::MAX), "sleep")?;
        Ok(true)
    })
}

/// A socket, where it stands in its list, and what is asked about it.
type Asked = (usize, Want, Rc<Socket>);

fn poll_sockets(all: &[Asked], wake: bool, deadline: &Deadline) -> Answer<(Vec<usize>, Vec<usize>)> {
    loop {
        let mut ready = ask(all, wake, deadline).map_err(|failure| match failure {
            Failure::Network(error) => {
                all.iter().fold(error, |error, (.., socket)| socket.ending(error, "poll")).into()
            }
            other => other,
        })?;
        for (ready, (_, want, socket)) in ready.iter_mut().zip(all) {
            // What woke a TLS socket may have been a session ticket, or a listener one step of a handshake: nothing that the
            // call would answer with.
            // A server has timers, too, which nobody else looks at.
            if (*ready || socket.kind == Class::Server) && *want == Want::Read {
                *ready = settle(socket);
            }
        }
        let answered = ready.iter().zip(all).any(|(ready, (_, want, _))| *ready && (wake || *want == Want::Read));
        if !answered {
            check_block("poll")?;
        }
        if answered || deadline.is_past() {
            let pick = |wanted| {
                let those = all.iter().zip(&ready).filter(|((_, want, _), ready)| *want == wanted && **ready);
                those.map(|((index, ..), _)| *index).collect()
            };
            return Ok((pick(Want::Read), pick(Want::Write)));
        }
        check_interrupt("poll").map_err(|e| e.op("poll"))?;
    }
}

/// True if a read would answer at once.
fn settle(socket: &Socket) -> bool {
    match socket.item().as_deref_mut() {
        Ok(Item::Stream(conn)) => conn.settle(),
        Ok(Item::WebSocket(ws)) => ws.settle(),
        Ok(Item::TlsListener(listener)) => listener.settle(&mut |peer, error| log_handshake(&socket.cap, peer, error)),
        Ok(Item::Server(serving)) => serving.0.settle(),
        _ => true,
    }
}

fn closed() -> Failure {
    Error::new(Kind::Socket, "poll: a socket is closed").op("poll").into()
}

/// Waits until one that wakes stirs, the deadline, or the end of a handshake's time: which of `all` stir then.
fn ask(all: &[Asked], wake: bool, deadline: &Deadline) -> Answer<Vec<bool>> {
    let items = all.iter().map(|(.., socket)| socket.look()).collect::<Result<Vec<_>, _>>()?;
    let (mut interests, mut owners, mut expiry) = (Vec::new(), Vec::new(), None);
    // Handlers of signals may use a server while this waits: its queue is waited for beside it.
    let servers = items.iter().map(|item| match &**item {
        Item::Server(serving) => serving.0.interest().map(Some),
        _ => Ok(None),
    });
    let servers = servers.collect::<Result<Vec<_>, _>>()?;
    for (owner, ((_, want, _), item)) in all.iter().zip(&items).enumerate() {
        let read = *want == Want::Read;
        let mut add = |fd, want, ready: bool| {
            interests.push(poll::Interest { fd, want, ready: ready && read, wakes: read || wake });
            owners.push(owner);
        };
        match &**item {
            Item::Stream(conn) => add(conn.as_fd(), *want, conn.ready()),
            Item::Udp(udp) => add(udp.as_fd(), *want, false),
            Item::Listener(listener) => add(listener.as_fd(), *want, false),
            // Its handshakes wait for their own descriptors.
            Item::TlsListener(listener) if read => {
                let left = listener.expiry();
                // A handshake has had its time: the listener has something to do.
                let ready = listener.ready() || left == Some(Duration::ZERO);
                listener.interests().for_each(|(fd, want)| add(fd, want, ready));
                expiry = expiry.into_iter().chain(left).min();
            }
            Item::TlsListener(listener) => add(listener.listener().as_fd(), *want, false),
            Item::WebSocket(ws) => match ws.conn() {
                Some(conn) => add(conn.as_fd(), *want, ws.is_stirring()),
                None => return Err(closed()),
            },
            Item::Server(_) => {
                if let Some(Some((fd, ready, left))) = servers.get(owner) {
                    add(fd.as_fd(), Want::Read, *ready);
                    expiry = expiry.into_iter().chain(Some(*left)).min();
                }
            }
            Item::Closed => return Err(closed()),
        }
    }
    let deadline = deadline.within(expiry);
    let found = poll::wait(&interests, &deadline).map_err(|e| e.op("poll"))?;
    let mut ready = vec![false; all.len()];
    for (owner, found) in owners.iter().zip(found) {
        if let Some(ready) = ready.get_mut(*owner) {
            *ready |= found;
        }
    }
    Ok(ready)
}
