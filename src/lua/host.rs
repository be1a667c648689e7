//! The interface for Rust hosts: the capability of a state, functions of scripts whose errors keep their fields, and
//! errors as values.

use super::{
    answer,
    capability::Handed,
    define,
    front::{pcall, preload},
};
use crate::{
    error::{Error, Kind},
    grants::Grants,
};
use mlua::{FromLua, FromLuaMulti, Function, IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};

/// Makes the network capability of a Lua state: the table that a script uses as `net`, or `None` where nothing is granted. The host
/// decides who sees it; nothing is set in the state's globals.
///
/// Seals the state, as `launch` of the Lua module does: the second call fails with `already launched`, whoever makes it. Certificates,
/// keys and bodies may be read from paths that the script names; a host that does not want that hands out
/// `net.narrow(…)`, which reads none. After it `require("caspian.net")` works in the state (see [`preload`]), and makes nothing more.
///
/// ```
/// # #[cfg(feature = "embedded")] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use caspian_net::{Grants, Kind, lua};
///
/// let state = mlua::Lua::new();
/// let grants = Grants::parse(&["--allow-net=api.example.com:443"])?;
/// let net = lua::launch(&state, grants)?.expect("something is granted");
///
/// let script = state.load("local net = ... return net.fetch('https://example.org/').status");
/// let err = script.call::<u16>(net).unwrap_err();
/// let err = lua::raised(&state, &err).expect("an error of the network");
/// assert_eq!((err.kind(), err.class()), (Kind::HostNotAllowed, "puck.uno/error/network/host_not_allowed"));
/// assert_eq!(err.fields().host.as_deref(), Some("example.org"));
/// # Ok(()) }
/// # #[cfg(not(feature = "embedded"))] fn main() {}
/// ```
///
/// # Errors
///
/// The state was launched before, has no `package` library, or `--net-log` and `--ca` name files that cannot be opened.
pub fn launch(lua: &Lua, grants: Grants) -> mlua::Result<Option<Table>> {
    preload(lua)?;
    let require: Function = lua.globals().raw_get("require")?;
    let caspian: Table = require.call("caspian.net")?;
    let launch: Function = caspian.raw_get("launch")?;
    // The second result is what a script that declares its needs lacks.
    let (net, _): (Option<Table>, Value) = call(lua, &launch, lua.create_userdata(Handed(grants))?)?;
    Ok(net)
}

/// The network error inside an [`mlua::Error`] of any call of mlua: `Function::call`, `Chunk::exec` and `eval`, `Thread::resume`, or
/// [`call`]; also if it passed through callbacks. `None` for every other error.
///
/// mlua turns a raised value into text. The error is recognised as the last one that became text, if its text is the same: call
/// this before the state runs other code. [`call`] has no such condition.
pub fn raised(lua: &Lua, err: &mlua::Error) -> Option<Error> {
    if let Some(err) = err.downcast_ref::<Error>() {
        return Some(err.clone());
    }
    let mut innermost = err;
    while let mlua::Error::CallbackError { cause, .. }
    | mlua::Error::WithContext { cause, .. }
    | mlua::Error::BadArgument { cause, .. } = innermost
    {
        innermost = cause;
    }
    let mlua::Error::RuntimeError(text) = innermost else { return None };
    let told: Table = lua.named_registry_value(TOLD).ok()?;
    let rest = text.strip_prefix(&*told.raw_get::<LuaString>(2).ok()?.to_string_lossy())?;
    if rest.is_empty() || rest.starts_with("\nstack traceback:") { error(lua, &told.raw_get(1).ok()?) } else { None }
}

/// The name under which the error that was made text last is kept, and its text.
const TOLD: &str = "caspian.net.error.told";

/// Lets the front tell which error it makes text of: mlua does that to what a script raises, and forgets the error.
pub fn listen(lua: &Lua, core: &Table) -> mlua::Result<()> {
    define(lua, core, "tell", |lua, (error, text): (Table, LuaString)| {
        let kept = lua.create_sequence_from([Value::Table(error), Value::String(text)]);
        kept.and_then(|told| lua.set_named_registry_value(TOLD, told)).map_err(Into::into)
    })
}

/// Calls a Lua function. A network error that it raises comes back as an [`Error`] inside the [`mlua::Error`]
/// ([`raised`] finds it, and so does [`mlua::Error::downcast_ref`]); every other error is that of `Function::call`, without a traceback.
///
/// # Errors
///
/// The function raises an error, or its results cannot be converted to `R`.
pub fn call<R: FromLuaMulti>(lua: &Lua, function: &Function, args: impl IntoLuaMulti) -> mlua::Result<R> {
    let mut given = args.into_lua_multi(lua)?;
    given.push_front(Value::Function(function.clone()));
    let mut results: MultiValue = pcall(lua)?.call(given)?;
    match results.pop_front() {
        Some(Value::Boolean(true)) => R::from_lua_multi(results, lua),
        _ => Err(as_error(lua, results.pop_front().unwrap_or_default())),
    }
}

/// What a script has raised, as mlua has it.
fn as_error(lua: &Lua, value: Value) -> mlua::Error {
    match value {
        Value::Error(err) => *err,
        value => match error(lua, &value) {
            Some(err) => mlua::Error::external(err),
            None => mlua::Error::runtime(
                value.to_string().unwrap_or_else(|_| format!("(error object is a {} value)", value.type_name())),
            ),
        },
    }
}

/// The network error that a value is, as `net.fetch_all` returns them and `pcall` catches them; `None` for every other value.
pub fn error(lua: &Lua, value: &Value) -> Option<Error> {
    let fields = answer::fields_of(lua, value)?;
    let text = |name| fields.raw_get::<Option<LuaString>>(name).ok().flatten();
    let message = |name| text(name).map(|text| text.to_string_lossy());
    let class = message("class")?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.class() == class)?;
    let mut err = Error::new(kind, message("message").unwrap_or_default());
    if let Some(op) = message("op") {
        err = err.op(op);
    }
    if let Some(host) = message("host") {
        err = match fields.raw_get("port") {
            Ok(Some(port)) => err.at(host, port),
            _ => err.host(host),
        };
    }
    if let Some(url) = message("url") {
        err = err.url(url);
    }
    if let Some(seconds) = fields.raw_get::<Option<f64>>("timeout").ok().flatten() {
        err = err.timeout(std::time::Duration::try_from_secs_f64(seconds).ok());
    }
    if let Some(partial) = text("partial") {
        err = err.partial(partial.as_bytes().to_vec());
    }
    if let Some(sent) = fields.raw_get::<Option<u64>>("sent").ok().flatten() {
        err = err.sent(sent);
    }
    if let Some(cause) = message("cause") {
        err = err.cause(cause);
    }
    Some(err)
}

/// An error that a script hands over as a value.
impl FromLua for Error {
    fn from_lua(value: Value, lua: &Lua) -> mlua::Result<Error> {
        let from = value.type_name();
        error(lua, &value).ok_or_else(|| mlua::Error::FromLuaConversionError {
            from,
            to: "caspian_net::Error".into(),
            message: Some("not an error of the network".into()),
        })
    }
}

/// So that a callback of the host's can end with `?`. A script that catches it sees a value of mlua's with these words; a host finds the
/// [`Error`] in it ([`raised`]).
impl From<Error> for mlua::Error {
    fn from(err: Error) -> mlua::Error {
        mlua::Error::external(err)
    }
}
