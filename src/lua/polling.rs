//! `net.poll`: many sockets at once.

use super::{
    answer::{Answer, Failure, argument, found},
    define, raw,
    socket::{Item, Socket, seconds},
};
use crate::{
    deadline::Deadline,
    error::{Error, Kind},
    poll,
    wire::Want,
};
use mlua::{Lua, Table, Value};
use std::{os::fd::AsFd, rc::Rc};

/// Adds the function to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // poll(readers, writers, timeout, wake): the indices of those that are ready; `wake`: writers end the wait too.
    define(lua, core, "poll", |lua, (readers, writers, timeout, wake): (Table, Table, f64, bool)| {
        let Some(timeout) = seconds(timeout) else { return argument(2, "timeout must be 0 or more seconds") };
        let mut all = Vec::new();
        for (list, want) in [(readers, Want::Read), (writers, Want::Write)] {
            for index in 1..=list.raw_len() {
                let value: Value = list.raw_get(index).unwrap_or(Value::Nil);
                let socket = found(raw::peek(lua, value), 1, || "sockets must hold sockets only".into())?;
                all.push((index, want, socket));
            }
        }
        poll_sockets(&all, wake, &Deadline::new(timeout).start())
    })
}

/// A socket, where it stands in its list, and what is asked about it.
type Asked = (usize, Want, Rc<Socket>);

fn poll_sockets(all: &[Asked], wake: bool, deadline: &Deadline) -> Answer<(Vec<usize>, Vec<usize>)> {
    loop {
        let mut ready = ask(all, wake, deadline)?;
        let mut silenced = false;
        for (ready, (_, want, socket)) in ready.iter_mut().zip(all) {
            // What woke a TLS socket may have been a session ticket: nothing that a read would answer with.
            if *ready && *want == Want::Read && !settle(socket) {
                (*ready, silenced) = (false, true);
            }
        }
        if !silenced
            || ready.iter().zip(all).any(|(ready, (_, want, _))| *ready && (wake || *want == Want::Read))
            || deadline.is_past()
        {
            let pick = |wanted| {
                let those = all.iter().zip(&ready).filter(|((_, want, _), ready)| *want == wanted && **ready);
                those.map(|((index, ..), _)| *index).collect()
            };
            return Ok((pick(Want::Read), pick(Want::Write)));
        }
    }
}

/// True if a read would answer at once.
fn settle(socket: &Socket) -> bool {
    match socket.item().as_deref_mut() {
        Ok(Item::Stream(conn)) => conn.settle(),
        Ok(Item::WebSocket(ws)) => ws.settle(),
        _ => true,
    }
}

fn closed() -> Failure {
    Error::new(Kind::Socket, "poll: a socket is closed").op("poll").into()
}

fn ask(all: &[Asked], wake: bool, deadline: &Deadline) -> Answer<Vec<bool>> {
    let items = all.iter().map(|(.., socket)| socket.look()).collect::<Result<Vec<_>, _>>()?;
    let mut interests = Vec::new();
    for ((_, want, _), item) in all.iter().zip(&items) {
        let (fd, ready) = match &**item {
            Item::Stream(conn) => (conn.as_fd(), conn.ready()),
            Item::Udp(udp) => (udp.as_fd(), false),
            Item::Listener(listener, _) => (listener.as_fd(), false),
            Item::WebSocket(ws) => match ws.conn() {
                Some(conn) => (conn.as_fd(), ws.is_stirring()),
                None => return Err(closed()),
            },
            Item::Closed => return Err(closed()),
        };
        let read = *want == Want::Read;
        interests.push(poll::Interest { fd, want: *want, ready: ready && read, wakes: read || wake });
    }
    Ok(poll::wait(&interests, deadline).map_err(|e| e.op("poll"))?)
}
