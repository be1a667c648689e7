//! Running calls and their results: heads, fields and bodies for Lua.

use super::{
    answer::{Answer, Failure, argument, found},
    capability::Ends,
    define,
    kinds::{self, List},
    long::{self, Maker},
    saved,
    sockets::cert_table,
    userdata::{self, Classes, Held},
};
use crate::{
    allocation,
    client::{self, Fetch, stream::Stream},
    error::{Error, Kind},
    files::{
        Refusal,
        draft::{Draft, Place},
    },
    http::fields::Fields,
};
use mlua::{AnyUserData, IntoLua, Lua, LuaString, Table, UserData, Value};
use std::{
    cell::{RefCell, RefMut},
    ffi::CStr,
    rc::Rc,
    time::Duration,
};

/// A request under way, or a response. Lua holds it in a userdata of our own making, which a plain request is handed
/// without mlua (`plain`).
pub(super) struct Call {
    stream: RefCell<Stream>,
    /// The file that the body is saved to.
    saving: RefCell<Saving>,
}

/// How far the saving of a body is.
enum Saving {
    Unbegun,
    /// While the body comes: gone with the call.
    Begun(Box<Draft>),
    /// The file has its name, or was given up: nothing more is written, whatever still comes.
    Over,
}

/// Where a body is to be saved, before it is asked for.
struct HeldPlace(Place);

impl UserData for HeldPlace {}

impl Held for Call {
    const CLASSES: &'static [&'static CStr] = &[c"HTTP call"];
    const NAME: &'static str = "HTTP call";
    const OPEN: bool = false;
}

impl Ends for Call {
    fn end(&self) {
        if let Ok(mut stream) = self.stream.try_borrow_mut() {
            stream.fetch.abandon();
        }
        self.give_up();
    }
}

impl Call {
    pub(super) fn new(fetch: Box<Fetch>) -> Rc<Call> {
        Rc::new(Call { stream: RefCell::new(Stream::new(fetch)), saving: RefCell::new(Saving::Unbegun) })
    }

    pub(super) fn into_lua(self: Rc<Call>, lua: &Lua, calls: &Classes<Call>) -> Answer<Value> {
        calls.wrap(lua, 0, self).map_err(Failure::from)
    }

    /// Lua has its copy of all that was gathered.
    pub(super) fn spent(&self) {
        if let Ok(mut stream) = self.stream.try_borrow_mut() {
            stream.clear();
        }
    }

    pub(super) fn stream(&self) -> Answer<RefMut<'_, Stream>> {
        match self.stream.try_borrow_mut() {
            Ok(stream) => Ok(stream),
            Err(_) => Err(Error::new(Kind::Socket, "the response is in use by another call").into()),
        }
    }

    /// Removes what was saved of a body that is not going to be whole.
    fn give_up(&self) {
        if let Ok(mut saving) = self.saving.try_borrow_mut() {
            *saving = Saving::Over;
        }
    }

    /// The next piece of the body goes to where it is saved: how many bytes; 0 at its end, when the file has its name;
    /// nothing where the body was lost, and may be asked for again.
    fn keep(&self, place: &Place, count: usize) -> Answer<Option<usize>> {
        let piece = self.stream()?.saved(count)?;
        // Before anything is borrowed: where no descriptor is left, a collection may run what ends this call.
        let unbegun = matches!(*self.saving.borrow(), Saving::Unbegun);
        let new = unbegun.then(|| place.draft().map(Box::new)).transpose().map_err(unsaved)?;
        let mut saving = self.saving.borrow_mut();
        let draft = match std::mem::replace(&mut *saving, Saving::Over) {
            Saving::Unbegun => new,
            Saving::Begun(draft) => Some(draft),
            Saving::Over => None,
        };
        let Some(mut draft) = draft else {
            return Err(client::closed("save").into());
        };
        let kept = match piece {
            None => {
                draft.restart().map_err(|e| unsaved(e.into()))?;
                None
            }
            Some(piece) if piece.is_empty() => {
                draft.finish().map_err(unsaved)?;
                return Ok(Some(0));
            }
            Some(piece) => {
                draft.write(&piece).map_err(|e| unsaved(e.into()))?;
                Some(piece.len())
            }
        };
        *saving = Saving::Begun(draft);
        Ok(kept)
    }
}

pub(super) fn peek(lua: &Lua, value: &AnyUserData) -> Answer<Rc<Call>> {
    found(userdata::peek(lua, value), 0, || "not an HTTP call".into())
}

pub(super) fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // http_head(call) -> status, reason, version
    define(lua, core, "http_head", |lua, call: AnyUserData| head(lua, &*peek(lua, &call)?.stream()?))?;
    // http_fields(call, "headers" | "trailers" | "raw_headers")
    define(lua, core, "http_fields", |lua, (call, what): (AnyUserData, String)| {
        let call = peek(lua, &call)?;
        let stream = call.stream()?;
        let empty = Fields::new();
        let head = stream.fetch.head().map_or(&empty, |head| &head.fields);
        let made = match &*what {
            "raw_headers" => raw_fields(lua, head),
            "trailers" => fields(lua, stream.fetch.trailers()),
            _ => fields(lua, head),
        };
        made.map_err(Failure::from)
    })?;
    // http_whole(call) -> status, body: all of it, of which nobody has seen anything
    define(lua, core, "http_whole", |lua, call: AnyUserData| whole(lua, &call))?;
    // http_read(call, "piece" | "exact" | "line" | "rest", count) -> bytes, or nil at the end
    define(lua, core, "http_read", |lua, (call, how, count): (AnyUserData, String, Option<f64>)| {
        let call = peek(lua, &call)?;
        let mut stream = call.stream()?;
        // A count beyond the address space is as good as its end.
        let count = count.map_or(64 * 1024, |n| n as usize);
        let bytes = match &*how {
            "piece" => stream.piece(count)?,
            "exact" => stream.exact(count)?,
            "line" => stream.line()?,
            _ => return rest(lua, &mut stream).map(Value::String),
        };
        if bytes.is_empty() {
            return Ok(Value::Nil);
        }
        lua.create_string(bytes).map(Value::String).map_err(Failure::from)
    })?;
    // http_save(call, count) -> bytes, nil at the end; false: the body was lost, and `http_again` may ask for it again
    define(lua, core, "http_save", |lua, (call, count): (AnyUserData, f64)| {
        let call = peek(lua, &call)?;
        let bytes = call.stream()?.saved(count as usize)?;
        match bytes {
            None => Ok(Value::Boolean(false)),
            Some(bytes) if bytes.is_empty() => Ok(Value::Nil),
            Some(bytes) => lua.create_string(bytes).map(Value::String).map_err(Failure::from),
        }
    })?;
    // http_place(client, path) -> where `http_keep` saves a body; nothing is made yet
    define(lua, core, "http_place", |lua, (of, path): (AnyUserData, LuaString)| {
        match super::http::owner(lua, &of)?.files().place_for(&path.as_bytes()) {
            Ok(place) => Ok(HeldPlace(place)),
            Err(Refusal::Unpermitted) => argument(2, "save: files are not permitted here: give an open file"),
            Err(refusal) => argument(2, format!("save: {}", refusal.message(&path.to_string_lossy()))),
        }
    })?;
    // http_keep(call, place, count) -> bytes written, 0 at the end; false: as `http_save`
    define(lua, core, "http_keep", |lua, (call, place, count): (AnyUserData, AnyUserData, f64)| {
        let call = peek(lua, &call)?;
        let Ok(place) = place.borrow::<HeldPlace>() else { return argument(0, "not a place") };
        match call.keep(&place.0, count as usize) {
            Ok(Some(count)) => Ok(Value::Integer(count as _)),
            Ok(None) => Ok(Value::Boolean(false)),
            Err(why) => {
                Ends::end(&*call);
                Err(why)
            }
        }
    })?;
    // http_kept(place, bytes) -> true: a body that is here, saved
    define(lua, core, "http_kept", |_, (place, bytes): (AnyUserData, LuaString)| {
        let Ok(place) = place.borrow::<HeldPlace>() else { return argument(0, "not a place") };
        let mut draft = place.0.draft().map_err(unsaved)?;
        draft.write(&bytes.as_bytes()).map_err(|e| unsaved(e.into()))?;
        draft.finish().map_err(unsaved)?;
        Ok(true)
    })?;
    // http_again(call, refused?) -> true once the head of another answer is here; `refused`: why nobody asks, for the error
    define(lua, core, "http_again", |lua, (call, refused): (AnyUserData, Option<String>)| {
        let call = peek(lua, &call)?;
        call.stream()?.resume(refused.as_deref())?;
        Ok(true)
    })?;
    // http_cut(file, length) -> true: the file ends there, and so does the next write
    define(lua, core, "http_cut", |lua, (file, length): (AnyUserData, f64)| {
        saved::cut(lua, &file, length as u64).map_err(|e| Error::from_io("save", &e))?;
        Ok(true)
    })?;
    // http_text(call, body) -> the body in UTF-8, by the charset that the server names
    define(lua, core, "http_text", |lua, (call, body): (AnyUserData, LuaString)| {
        let call = peek(lua, &call)?;
        let stream = call.stream()?;
        text(lua, stream.fetch.head().and_then(|head| head.charset()), &body)
    })?;
    define(lua, core, "http_info", |lua, (call, what): (AnyUserData, String)| {
        let call = peek(lua, &call)?;
        let stream = call.stream()?;
        let made = match &*what {
            "timings" => timings(lua, &stream.fetch.timings()).map(Value::Table),
            "url" => stream.fetch.request().url.to_text().into_lua(lua),
            "chain" => List(stream.fetch.chain().to_vec()).into_lua(lua),
            "cert" => stream.fetch.cert().map(|cert| cert_table(lua, cert)).transpose().and_then(|t| t.into_lua(lua)),
            _ => Ok(Value::Boolean(stream.fetch.is_over())),
        };
        made.map_err(Failure::from)
    })?;
    define(lua, core, "http_drop", |lua, call: AnyUserData| {
        let call = peek(lua, &call)?;
        call.give_up();
        call.stream()?.fetch.close();
        Ok(true)
    })
}

/// Why a body could not be saved. The path is the script's own.
fn unsaved(why: Refusal) -> Error {
    match why {
        Refusal::System(err) => Error::from_io("save", &err),
        refusal => Error::new(Kind::Socket, format!("save{}", refusal.message(""))),
    }
    .op("fetch")
}

/// See `http_whole`. As [`Stream::gather`], to where Lua keeps it. A body that was lost may come with another answer: the status is that one's.
pub(super) fn whole(lua: &Lua, call: &AnyUserData) -> Answer<(u16, LuaString)> {
    let call = peek(lua, call)?;
    let mut stream = call.stream()?;
    loop {
        stream.fetch.bound();
        match rest(lua, &mut stream) {
            Err(Failure::Network(err)) => stream.again(err)?,
            done => return Ok((stream.fetch.head().map_or(0, |head| head.status), done?)),
        }
    }
}

/// All that is left of a body. A large one is read to where Lua keeps it.
pub(super) fn rest(lua: &Lua, stream: &mut Stream) -> Answer<LuaString> {
    /// Memory is touched piece by piece, so that it is still in the cache when it is read over.
    const PIECE: usize = 256 * 1024;
    let length = stream.left().unwrap_or_default();
    let maker = if length < long::WORTH { None } else { Maker::new(lua) };
    let Some(maker) = maker else { return copied(lua, stream) };
    // Announcing costs a server nothing: it gets room for no more than 512 times what it has sent.
    let (mut filled, _) = stream.ahead(PIECE.max(length / 512))?;
    let Some(mut place) = maker.room(length) else { return copied(lua, stream) };
    place.window(0, filled).copy_from_slice(&stream.exact(filled)?);
    while filled < length {
        match stream.fetch.read(place.window(filled, PIECE)) {
            Ok(0) => return Err(Error::new(Kind::Protocol, "the body is shorter than announced").op("fetch").into()),
            Ok(count) => filled += count,
            Err(err) => return Err(client::came_short(err, allocation::copied(place.window(0, filled))?).into()),
        }
    }
    place.finish().map_err(Failure::from)
}

fn copied(lua: &Lua, stream: &mut Stream) -> Answer<LuaString> {
    lua.create_string(stream.rest()?).map_err(Failure::from)
}

/// A body in UTF-8, by the charset that the head names.
pub(super) fn text(lua: &Lua, label: Option<&[u8]>, body: &LuaString) -> Answer<LuaString> {
    let encoding = label.and_then(encoding_rs::Encoding::for_label).unwrap_or(encoding_rs::UTF_8);
    // A byte order mark wins, as in browsers; what cannot be decoded becomes U+FFFD.
    let bytes = body.as_bytes();
    let (encoding, mark) = encoding_rs::Encoding::for_bom(&bytes).unwrap_or((encoding, 0));
    let bytes = bytes.get(mark..).unwrap_or_default();
    if encoding == encoding_rs::UTF_8 && std::str::from_utf8(bytes).is_ok() {
        return lua.create_string(bytes).map_err(Failure::from);
    }
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let most = decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(usize::MAX);
    let mut text = String::from_utf8(allocation::room(most)?).unwrap_or_default();
    let _ = decoder.decode_to_string(bytes, &mut text, true);
    lua.create_string(text).map_err(Failure::from)
}

/// Status, reason and version of a response.
fn head(lua: &Lua, stream: &Stream) -> Answer<(u16, LuaString, &'static str)> {
    let Some(head) = stream.fetch.head() else { return argument(0, "there is no response yet") };
    let reason = lua.create_string(&head.reason)?;
    Ok((head.status, reason, head.version.number()))
}

/// Lower-case names; repeated fields joined with `, `, but `set-cookie`, which is an array (RFC 9110, section 5.3).
pub(super) fn fields(lua: &Lua, fields: &Fields) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, fields.len())?;
    let mut cookies = Vec::new();
    for (name, value) in fields.iter() {
        let name = name.to_ascii_lowercase();
        if name == b"set-cookie" {
            cookies.push(lua.create_string(value)?);
            continue;
        }
        let name = lua.create_string(name)?;
        match table.raw_get::<Option<LuaString>>(&name)? {
            Some(before) => {
                table.raw_set(name, lua.create_string([&*before.as_bytes(), b", ", value].concat())?)?;
            }
            None => table.raw_set(name, lua.create_string(value)?)?,
        }
    }
    if !cookies.is_empty() {
        table.raw_set("set-cookie", List(cookies))?;
    }
    Ok(table)
}

/// `{ { name, value }, … }` as sent.
pub(super) fn raw_fields(lua: &Lua, fields: &Fields) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(fields.len(), 0)?;
    for (name, value) in fields.iter() {
        table.raw_push(List(vec![lua.create_string(name)?, lua.create_string(value)?]))?;
    }
    table.set_metatable(Some(kinds::array(lua)?))?;
    Ok(table)
}

fn timings(lua: &Lua, timings: &client::Timings) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let put = |name: &str, time: Duration| table.raw_set(name, time.as_secs_f64());
    put("dns", timings.dns)?;
    put("connect", timings.connect)?;
    put("tls", timings.tls)?;
    put("send", timings.send)?;
    put("wait", timings.wait)?;
    put("receive", timings.receive)?;
    put("total", timings.total)?;
    table.raw_set("reused", timings.reused)?;
    Ok(table)
}
