//! The capability as Lua holds it, in the front's hands only: minting it (once per state), narrowing, asking, ending.

use super::{
    answer::{Answer, argument},
    kinds::List,
    socket::Socket,
};
use crate::{
    address::Zoned,
    crypto,
    error::reason,
    files::Files,
    grants::{Grants, Need, UsageError},
    names::Names,
    net::Net,
};
use mlua::{Lua, LuaString, Table, UserData, Value};
use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

impl Ends for Socket {
    fn end(&self) {
        self.close();
    }
}

/// A capability, and what came from it.
pub struct Capability {
    pub net: Net,
    pub names: Names,
    /// Certificates, keys and bodies: never more than its launcher said.
    pub files: Files,
    opened: Rc<Opened>,
}

/// The value that the front holds.
pub struct Held(pub Rc<Capability>);

impl UserData for Held {}

/// Grants that a Rust host has parsed.
pub struct Handed(pub Grants);

impl UserData for Handed {}

/// What ends with its capability.
pub trait Ends {
    /// Closes it for good. Fine more than once.
    fn end(&self);
}

/// What to end with a capability: what it opened, and what everything that was narrowed from it opened.
pub struct Opened {
    net: Net,
    things: RefCell<Vec<Weak<dyn Ends>>>,
    parent: Option<Rc<Opened>>,
}

impl Opened {
    /// Ends the capability and everything that came from it.
    pub fn end(&self) {
        self.net.revoke();
        for thing in self.things.take() {
            if let Some(thing) = thing.upgrade() {
                thing.end();
            }
        }
    }

    fn add(&self, thing: Weak<dyn Ends>) {
        let mut things = self.things.borrow_mut();
        // Forget the dead each time the list would grow. What stays may fill half of the list at the most, so that the
        // next look is as far away as this one was long: amortised, it costs nothing.
        if things.len() == things.capacity() {
            things.retain(|thing| thing.strong_count() > 0);
            let alive = things.len();
            things.reserve(alive.max(4));
        }
        things.push(Weak::clone(&thing));
        drop(things);
        if let Some(parent) = &self.parent {
            parent.add(thing);
        }
    }
}

impl Capability {
    fn make(net: Net, files: Files, parent: Option<Rc<Opened>>) -> Held {
        let opened = Rc::new(Opened { net: net.clone(), things: RefCell::default(), parent });
        Held(Rc::new(Capability { net, names: Names::default(), files, opened }))
    }

    /// Remembers what was opened, to end it with the capability.
    pub fn opened(&self, thing: Weak<dyn Ends>) {
        self.opened.add(thing);
    }

    /// Ends this capability and everything that came from it.
    pub fn revoke(&self) {
        self.opened.end();
    }

    /// What there is to end, for as long as any of it is left.
    pub fn end(&self) -> Weak<Opened> {
        Rc::downgrade(&self.opened)
    }
}

/// The name of the mark in the state's registry that says it was launched. A string, so that a second copy of the
/// library sees the first one's.
const SEALED: &str = "caspian.net.sealed";

/// Whoever has it makes capabilities: there is one in a Lua state, until it is broken.
pub struct Seal {
    broken: Cell<bool>,
}

impl UserData for Seal {}

/// Seals the state. The second call in one Lua state fails.
pub fn seal(lua: &Lua) -> Answer<Seal> {
    unsealed(lua)?;
    crypto::prepare();
    match lua.set_named_registry_value(SEALED, true) {
        Ok(()) => Ok(Seal { broken: Cell::new(false) }),
        Err(_) => argument(0, "out of memory"),
    }
}

impl Seal {
    /// For a call that delivered nothing: the state is as it was. Only the seal that is on it can be broken.
    pub fn undo(&self, lua: &Lua) {
        if !self.broken.replace(true) {
            // Where that fails the state stays sealed.
            let _ = lua.unset_named_registry_value(SEALED);
        }
    }

    /// Makes a capability; `None` if nothing is granted.
    /// `what`: a host's [`Handed`], an array of flags, or `{ allow_net =, allow_listen =, deny_net =, dns =, net_log =, ca = }`.
    /// `host`: `{ files = bool | { dir … } }`.
    pub fn mint(&self, what: Value, host: Table) -> Answer<Option<Held>> {
        if self.broken.get() {
            return argument(0, "already launched");
        }
        let grants = match &what {
            Value::Table(what) => parse(what, Grants::parse)?,
            Value::UserData(handed) => match handed.borrow::<Handed>() {
                Ok(handed) => handed.0.clone(),
                Err(_) => return argument(1, "a table of flags expected, got userdata"),
            },
            _ => return argument(1, "a table of flags expected"),
        };
        let files = files(&host)?;
        let net = Net::new(grants.clone()).or_else(|why| argument(1, why))?;
        Ok((!grants.is_empty()).then(|| Capability::make(net, files, None)))
    }
}

/// A capability that allows nothing.
pub fn nothing() -> Answer<Held> {
    let net = Net::new(Grants::nothing()).or_else(|why| argument(1, why))?;
    Ok(Capability::make(net, Files::default(), None))
}

/// An error once the state was launched.
pub fn unsealed(lua: &Lua) -> Answer<()> {
    match lua.named_registry_value::<Option<bool>>(SEALED) {
        Ok(None) => Ok(()),
        _ => argument(0, "already launched"),
    }
}

/// What this capability and `spec` both allow. It reads no files.
pub fn narrow(capability: &Capability, spec: Table) -> Answer<Held> {
    capability.net.alive()?;
    let spec = parse(&spec, Grants::narrowing)?;
    if !spec.ca().is_empty() {
        return argument(1, "--ca is no flag of narrow: a narrowed network trusts the same authorities");
    }
    let net = capability.net.narrow(&spec).map_err(|e| e.op("narrow"))?;
    Ok(Capability::make(net, Files::default(), Some(Rc::clone(&capability.opened))))
}

/// True if the gate would let `host:port` pass, without connecting.
pub fn allows(capability: &Capability, host: &str, port: u16) -> Answer<bool> {
    let host = Zoned::parse(host).or_else(|why| argument(1, why))?.host;
    Ok(capability.net.is_alive() && capability.net.grants().allows(&host, port))
}

/// The flags that `requires` asks for and `what` does not grant: targets as a grant has them, or true for any.
pub fn missing(what: Table, requires: Value) -> Answer<List<String>> {
    let grants = parse(&what, Grants::parse)?;
    let mut wanted = Vec::new();
    match requires {
        Value::Boolean(true) => wanted.push(Need::any()),
        Value::Table(list) => {
            for text in strings(&list, "requires", 2)? {
                wanted.extend(Need::parse(&text).or_else(|why| argument(2, why))?);
            }
        }
        _ => return argument(2, "requires must be a list of strings, or true"),
    }
    Ok(List(grants.missing(&wanted)))
}

/// Flags or table, to grants: `read` reads the flags.
fn parse(what: &Table, read: impl Fn(&[String]) -> Result<Grants, UsageError>) -> Answer<Grants> {
    let (mut numbered, mut count) = (false, 0);
    for pair in what.pairs::<Value, Value>() {
        let Ok((key, _)) = pair else { return argument(1, "flags cannot be read") };
        numbered |= key.is_number() || key.is_integer();
        count += 1;
    }
    if numbered {
        // Nothing that was said may be passed over: a hole would end the list before a --deny-net behind it.
        let authorities = authorities(what)?;
        let count = count - usize::from(!matches!(what.raw_get("ca"), Ok(Value::Nil)));
        if what.raw_len() != count || matches!(what.raw_get::<Value>(count), Ok(Value::Nil) | Err(_)) {
            return argument(1, "flags must be a list without holes, and without options beside them");
        }
        let mut flags = items(what, "flags", 1)?;
        flags.extend(authorities);
        return read(&flags).or_else(|why| argument(1, why));
    }
    let mut flags = Vec::new();
    for (name, flag) in [("allow_net", "--allow-net"), ("allow_listen", "--allow-listen"), ("deny_net", "--deny-net")] {
        match what.raw_get::<Value>(name) {
            Ok(Value::Nil | Value::Boolean(false)) => {}
            Ok(Value::Boolean(true)) => flags.push(flag.to_owned()),
            // An empty list grants nothing; only `true` is the bare flag.
            Ok(Value::Table(list)) => {
                flags.extend(strings(&list, name, 1)?.iter().map(|value| format!("{flag}={value}")));
            }
            _ => return argument(1, format!("{name} must be a list of strings, or true")),
        }
    }
    match what.raw_get::<Value>("dns") {
        Ok(Value::Nil | Value::Boolean(true)) => {}
        Ok(Value::Boolean(false)) => flags.push("--no-dns".into()),
        _ => return argument(1, "dns must be true or false"),
    }
    match what.raw_get::<Value>("net_log") {
        Ok(Value::Nil) => {}
        Ok(Value::String(path)) => flags.push(format!("--net-log={}", text(&path, "net_log", 1)?)),
        _ => return argument(1, "net_log must be a path"),
    }
    flags.extend(authorities(what)?);
    read(&flags).or_else(|why| argument(1, why))
}

fn files(host: &Table) -> Answer<Files> {
    match host.raw_get::<Value>("files") {
        Ok(Value::Boolean(true)) => Ok(Files::everywhere()),
        Ok(Value::Table(dirs)) => {
            let dirs = strings(&dirs, "files", 2)?;
            Files::within(&dirs).or_else(|(at, e)| argument(2, format!("files[{}]: {}", at + 1, reason(&e))))
        }
        _ => Ok(Files::default()),
    }
}

/// The flags for `ca`, which may stand beside flags, too: PEM text is not for a command line.
fn authorities(what: &Table) -> Answer<Vec<String>> {
    let flag = |value: &String| format!("--ca={value}");
    match what.raw_get::<Value>("ca") {
        Ok(Value::Nil) => Ok(Vec::new()),
        Ok(Value::String(one)) => Ok(vec![flag(&text(&one, "ca", 1)?)]),
        Ok(Value::Table(list)) => Ok(strings(&list, "ca", 1)?.iter().map(flag).collect()),
        _ => argument(1, "ca must be a path or PEM text, or a list of them"),
    }
}

/// An array of strings, read raw. Nothing that it holds is passed over: `{ private = true }` is no list, and an empty
/// `deny_net` would be the opposite of what was meant.
pub fn strings(list: &Table, name: &str, index: usize) -> Answer<Vec<String>> {
    if list.pairs::<Value, Value>().count() != list.raw_len() {
        return argument(index, format!("{name} must be a list of strings without holes"));
    }
    items(list, name, index)
}

fn items(list: &Table, name: &str, index: usize) -> Answer<Vec<String>> {
    let mut all = Vec::new();
    for i in 1..=list.raw_len() {
        match list.raw_get::<Value>(i) {
            Ok(Value::String(one)) => all.push(text(&one, name, index)?),
            _ => return argument(index, format!("{name}[{i}] must be a string")),
        }
    }
    Ok(all)
}

/// Of one flag or host of a list, in bytes.
const MAX_TEXT: usize = 4 << 20;

fn text(string: &LuaString, name: &str, index: usize) -> Answer<String> {
    if string.as_bytes().len() > MAX_TEXT {
        return argument(index, format!("{name}: longer than {MAX_TEXT} bytes"));
    }
    match string.to_str() {
        Ok(text) => Ok(text.to_string()),
        Err(_) => argument(index, format!("{name}: not valid UTF-8")),
    }
}
