//! `net.poll`: many sockets at once. `net.sleep`: none.

use super::{
    answer::{Answer, Failure, argument, found},
    define,
    events::{self, Open},
    kinds::List,
    responses::{self, Call},
    server::{self, HeldRequest, Server},
    socket::{Class, Item, Socket, seconds},
    sockets::log_handshake,
    userdata,
};
use crate::{
    client::{event_source::EventSource, stream::Stream},
    deadline::{Deadline, check_block, check_interrupt, pause},
    error::{Error, Kind},
    poll,
    wire::Want,
};
use mlua::{Lua, Table, Value};
use std::{
    cell::{Ref, RefMut},
    os::fd::AsFd,
    rc::Rc,
    time::Duration,
};

/// What can be waited for.
enum Polled {
    Socket(Rc<Socket>),
    /// `net.events`.
    Events(Rc<Open>),
    /// A streamed response.
    Response(Rc<Call>),
    /// An event stream of a server's: readable once its client is gone, writable while there is room.
    Request(Rc<HeldRequest>),
}

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // poll(readers, writers, timeout, wake, handles): the indices of those that are ready; `wake`: writers end the wait too;
    // `handles`: what is behind objects of the front's.
    define(lua, core, "poll", |lua, (readers, writers, timeout, wake, handles): (Table, Table, f64, bool, Table)| {
        let Some(timeout) = seconds(timeout) else { return argument(2, "timeout must be 0 or more seconds") };
        check_block("poll")?;
        let mut all = Vec::new();
        for (list, want) in [(readers, Want::Read), (writers, Want::Write)] {
            for index in 1..=list.raw_len() {
                let value: Value = list.raw_get(index).unwrap_or(Value::Nil);
                all.push((index, want, polled(lua, value, &handles)?));
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

fn polled(lua: &Lua, value: Value, handles: &Table) -> Answer<Polled> {
    let value = match value {
        Value::Table(object) => handles.raw_get(object).unwrap_or(Value::Nil),
        value => value,
    };
    match userdata::peek(lua, &value) {
        Ok(None) => (),
        socket => return found(socket, 1, String::new).map(Polled::Socket),
    }
    if let Value::UserData(handle) = &value {
        if let Ok(events) = events::peek(handle) {
            return Ok(Polled::Events(events));
        }
        if let Ok(request) = server::asked(lua, &value) {
            return Ok(Polled::Request(request));
        }
        if let Ok(call) = responses::peek(lua, handle) {
            return Ok(Polled::Response(call));
        }
    }
    argument(1, "sockets must hold sockets, servers, event streams and streamed responses only")
}

/// Where it stands in its list, what is asked about it, and what it is.
type Asked = (usize, Want, Polled);

fn poll_sockets(all: &[Asked], wake: bool, deadline: &Deadline) -> Answer<(Vec<usize>, Vec<usize>)> {
    loop {
        turn(all);
        let mut ready = ask(all, wake, deadline).map_err(|failure| match failure {
            Failure::Network(error) => all.iter().fold(error, |error, (.., polled)| polled.ending(error)).into(),
            other => other,
        })?;
        turn(all);
        for (ready, (_, want, polled)) in ready.iter_mut().zip(all) {
            *ready = polled.settle(*want, *ready);
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

/// Lets each server do what there is to do, before anything is looked at: what one entry of a list sets off may be what another
/// one waits for, and the queue says it once.
fn turn(all: &[Asked]) {
    for (server, _) in servers(all, false) {
        server.turn();
    }
}

/// The servers behind the entries, each once, and whether one of its entries ends the wait.
fn servers(all: &[Asked], wake: bool) -> Vec<(Rc<Server>, bool)> {
    let mut found: Vec<(Rc<Server>, bool)> = Vec::new();
    for (_, want, polled) in all {
        let Some(server) = polled.server() else { continue };
        let wakes = wake || *want == Want::Read;
        match found.iter_mut().find(|(known, _)| Rc::ptr_eq(known, &server)) {
            Some((_, others)) => *others |= wakes,
            None => found.push((server, wakes)),
        }
    }
    found
}

impl Polled {
    /// The server that an entry is, or belongs to.
    fn server(&self) -> Option<Rc<Server>> {
        match self {
            Polled::Socket(socket) if socket.kind == Class::Server => match socket.item().as_deref() {
                Ok(Item::Server(serving)) => Some(Rc::clone(&serving.0)),
                _ => None,
            },
            Polled::Request(request) => Some(Rc::clone(&request.server)),
            _ => None,
        }
    }

    fn ending(&self, error: Error) -> Error {
        match self {
            Polled::Socket(socket) => socket.ending(error, "poll"),
            _ => error,
        }
    }

    /// True if the call that it stands for would answer at once; `stirs`: its descriptor says so.
    fn settle(&self, want: Want, stirs: bool) -> bool {
        match self {
            Polled::Socket(socket) if socket.kind == Class::Server && want == Want::Write => false,
            // What woke a TLS socket may have been a session ticket, or a listener one step of a handshake: nothing that the
            // call would answer with.
            // A server has timers, too, which nobody else looks at.
            Polled::Socket(socket) if (stirs || socket.kind == Class::Server) && want == Want::Read => settle(socket),
            Polled::Socket(_) => stirs,
            Polled::Events(events) => stirs && events.look().map_or(true, |mut events| events.settle()),
            Polled::Response(call) => stirs && call.stream().map_or(true, |mut stream| stream.settle()),
            Polled::Request(request) => {
                let (gone, roomy) = request.look();
                if want == Want::Read { gone } else { roomy }
            }
        }
    }
}

/// True if a read would answer at once.
fn settle(socket: &Socket) -> bool {
    match socket.item().as_deref_mut() {
        Ok(Item::Stream(conn)) => conn.settle(),
        Ok(Item::WebSocket(ws)) => ws.settle(),
        Ok(Item::TlsListener(listener)) => listener.settle(&mut |peer, error| log_handshake(&socket.cap, peer, error)),
        Ok(Item::Server(serving)) => serving.0.is_ready(),
        _ => true,
    }
}

fn closed() -> Failure {
    Error::new(Kind::Closed, "poll: a socket is closed").op("poll").into()
}

/// Waits until one that wakes stirs, the deadline, or the end of a handshake's time: which of `all` stir then.
fn ask(all: &[Asked], wake: bool, deadline: &Deadline) -> Answer<Vec<bool>> {
    let views = all.iter().map(|(_, want, polled)| view(polled, *want)).collect::<Answer<Vec<_>>>()?;
    let (mut interests, mut owners, mut expiry) = (Vec::new(), Vec::new(), None);
    let mut ready: Vec<bool> = views.iter().map(|view| view.is_ready()).collect();
    if ready.iter().zip(all).any(|(ready, (_, want, _))| *ready && (wake || *want == Want::Read)) {
        expiry = Some(Duration::ZERO);
    }
    for (owner, ((_, want, _), view)) in all.iter().zip(&views).enumerate() {
        let read = *want == Want::Read;
        let mut add = |fd, want, ready: bool| {
            interests.push(poll::Interest { fd, want, ready, wakes: read || wake });
            owners.push(owner);
        };
        let item = match view {
            View::Item(item) => item,
            View::Events(events, _) => {
                events.fd().into_iter().for_each(|fd| add(fd, Want::Read, false));
                expiry = expiry.into_iter().chain(events.expiry()).min();
                continue;
            }
            View::Response(stream, _) => {
                stream.fetch.fd().into_iter().for_each(|fd| add(fd, Want::Read, false));
                continue;
            }
            View::Known(_) => continue,
        };
        match &**item {
            Item::Stream(conn) => add(conn.as_fd(), *want, read && conn.ready()),
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
                Some(conn) => add(conn.as_fd(), *want, read && ws.is_stirring()),
                None => return Err(closed()),
            },
            Item::Server(_) | Item::Closed => return Err(closed()),
        }
    }
    // Handlers of signals may use a server meanwhile, so nothing of it is borrowed.
    let mut queues = Vec::new();
    for (server, wakes) in servers(all, wake) {
        let (fd, left) = server.interest()?;
        expiry = expiry.into_iter().chain(Some(left)).min();
        queues.push((fd, wakes));
    }
    for (fd, wakes) in &queues {
        interests.push(poll::Interest { fd: fd.as_fd(), want: Want::Read, ready: false, wakes: *wakes });
    }
    let deadline = deadline.within(expiry);
    let found = poll::wait(&interests, &deadline).map_err(|e| e.op("poll"))?;
    for (owner, found) in owners.iter().zip(found) {
        if let Some(ready) = ready.get_mut(*owner) {
            *ready |= found;
        }
    }
    Ok(ready)
}

/// What is looked at of one while this waits.
enum View<'a> {
    Item(Ref<'a, Item>),
    Events(RefMut<'a, EventSource>, bool),
    Response(RefMut<'a, Stream>, bool),
    /// Is there an answer? What it waits for besides is its server's queue, or nothing.
    Known(bool),
}

impl View<'_> {
    /// True if there is an answer without a wait.
    fn is_ready(&self) -> bool {
        match self {
            View::Events(_, ready) | View::Response(_, ready) | View::Known(ready) => *ready,
            View::Item(_) => false,
        }
    }
}

fn view(polled: &Polled, want: Want) -> Answer<View<'_>> {
    let read = want == Want::Read;
    Ok(match polled {
        Polled::Socket(socket) => match &*socket.look()? {
            Item::Server(serving) => View::Known(read && serving.0.is_ready()),
            _ => View::Item(socket.look()?),
        },
        Polled::Events(_) | Polled::Response(_) if !read => View::Known(false),
        Polled::Events(events) => {
            let mut events = events.look()?;
            if events.is_closed() {
                return Err(closed());
            }
            let ready = events.settle();
            View::Events(events, ready)
        }
        Polled::Response(call) => {
            let mut stream = call.stream()?;
            let ready = stream.settle();
            View::Response(stream, ready)
        }
        Polled::Request(request) => {
            let (gone, roomy) = request.look();
            View::Known(if read { gone } else { roomy })
        }
    })
}
