//! Event streams for Lua: a value of the front that returns one event after the other.

use super::{
    answer::{Answer, argument},
    capability::Ends,
    define,
    http::{Given, Prepared, prepare},
    options::Options,
    socket::seconds,
};
use crate::{
    client::event_source::{EventSource, EventSourceOptions},
    deadline::{DEFAULT, Deadline, check_block},
    error::{Error, Kind},
    http::events::MAX_EVENT,
};
use mlua::{AnyUserData, IntoLuaMulti, Lua, Table, UserData};
use std::{
    cell::{RefCell, RefMut},
    rc::Rc,
    sync::Arc,
};

/// A stream, open or not any more.
pub(super) struct Open(RefCell<EventSource>);

struct HeldEvents(Rc<Open>);

impl UserData for HeldEvents {}

impl Ends for Open {
    fn end(&self) {
        if let Ok(mut events) = self.0.try_borrow_mut() {
            events.close();
        }
    }
}

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    define(lua, core, "events_open", open)?;
    // events_next(events, timeout?) -> event, data, id; false at the end
    define(lua, core, "events_next", |lua, (events, timeout): (AnyUserData, Option<f64>)| {
        let events = peek(&events)?;
        let timeout = timeout.and_then(seconds).unwrap_or(Some(DEFAULT));
        check_block("next")?;
        let made = match borrow(&events)?.next(&Deadline::new(timeout).start())? {
            Some(event) => (event.name, event.data, event.id).into_lua_multi(lua),
            None => false.into_lua_multi(lua),
        };
        made.map_err(Into::into)
    })?;
    // events_info(events) -> url, last id, seconds before coming back
    define(lua, core, "events_info", |_, events: AnyUserData| {
        let events = peek(&events)?;
        let events = borrow(&events)?;
        Ok((events.url(), events.last_id().to_owned(), events.retry().as_secs_f64()))
    })?;
    define(lua, core, "events_close", |_, events: AnyUserData| {
        borrow(&*peek(&events)?)?.close();
        Ok(true)
    })
}

/// events_open(client, url, method, headers, opts, body, type) -> events; see [`prepare`]. `opts` has also `reconnect`,
/// `last_event_id` and `max_event_bytes`.
fn open(lua: &Lua, given: Given) -> Answer<HeldEvents> {
    let opts = Options::new(lua, given.4.as_table().cloned(), 2);
    let last_id = opts.text("last_event_id")?.unwrap_or_default();
    if last_id.bytes().any(|b| b.is_ascii_control()) {
        return argument(2, "last_event_id contains a control character");
    }
    let reconnect = opts.flag("reconnect", true)?;
    let max_event_bytes = opts.find::<f64>("max_event_bytes")?.map_or(MAX_EVENT, |n| n as usize);
    let (of, Prepared { net, request, source, request_options }) = prepare(lua, "events", given)?;
    let options = request_options.options;
    let deadline = Deadline::new(options.timeout).start();
    let options = EventSourceOptions { options: Arc::unwrap_or_clone(options), reconnect, max_event_bytes, last_id };
    let events = Rc::new(Open(RefCell::new(EventSource::open(&net, of.pool(), request, source, options, &deadline)?)));
    of.opened(Rc::<Open>::downgrade(&events));
    Ok(HeldEvents(events))
}

impl Open {
    /// The stream, for a look.
    pub(super) fn look(&self) -> Answer<RefMut<'_, EventSource>> {
        borrow(self)
    }
}

pub(super) fn peek(value: &AnyUserData) -> Answer<Rc<Open>> {
    match value.borrow::<HeldEvents>() {
        Ok(events) => Ok(Rc::clone(&events.0)),
        Err(_) => argument(0, "not an event stream"),
    }
}

fn borrow(events: &Open) -> Answer<RefMut<'_, EventSource>> {
    match events.0.try_borrow_mut() {
        Ok(events) => Ok(events),
        Err(_) => Err(Error::new(Kind::Socket, "the event stream is in use by another call").into()),
    }
}
