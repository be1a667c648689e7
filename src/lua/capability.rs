//! The capability as Lua holds it, in the front's hands only: minting it (once per state), narrowing, asking, ending.

use super::{
    answer::{Answer, argument},
    socket::Socket,
};
use crate::{
    address::{Endpoint, Host},
    grants::{Grants, UsageError},
    names::Names,
    net::Net,
};
use mlua::{Lua, LuaString, Table, UserData, Value};
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    rc::{Rc, Weak},
};

/// Which files a capability may read (certificates, keys, bodies), if any: never more than its launcher said.
#[derive(Clone, Debug)]
pub enum Files {
    No,
    Any,
    Within(Vec<PathBuf>),
}

impl Files {
    /// The file's bytes, at most `max`; or why not.
    pub fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, String> {
        use std::io::Read;
        let mut bytes = Vec::new();
        let read = self.open(path)?.take(max + 1).read_to_end(&mut bytes);
        match read {
            Ok(count) if count as u64 > max => Err(format!("{path} is larger than {max} bytes")),
            Ok(_) => Ok(bytes),
            Err(e) => Err(format!("{path}: {e}")),
        }
    }

    /// The names in a directory; or why not. A directory that is not there has none.
    pub fn list(&self, path: &str) -> Result<Vec<String>, String> {
        if matches!(self, Files::Any) && !Path::new(path).exists() {
            return Ok(Vec::new());
        }
        let entries = std::fs::read_dir(self.resolve(path)?).map_err(|e| format!("{path}: {e}"))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    /// The file, open for reading; or why not.
    pub fn open(&self, path: &str) -> Result<std::fs::File, String> {
        use std::os::unix::fs::OpenOptionsExt;
        let failed = |e: std::io::Error| format!("{path}: {e}");
        let real = self.resolve(path)?;
        // A pipe or a device would hold the call without a deadline.
        let file = std::fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(real).map_err(failed)?;
        match file.metadata() {
            Ok(meta) if meta.is_file() => Ok(file),
            Ok(_) => Err(format!("{path} is not a regular file")),
            Err(e) => Err(failed(e)),
        }
    }

    /// Where a path leads, if that may be read.
    fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        if matches!(self, Files::No) {
            return Err("files are not permitted here: give the contents, not a path".into());
        }
        // Resolved before it is compared, so that neither `..` nor a link leads out.
        let path = Path::new(path);
        let found = path.canonicalize();
        if let Files::Within(roots) = self {
            // Whether there is such a file outside is nobody's business: the nearest directory that there is decides.
            let near = found.as_ref().ok().cloned().or_else(|| path.ancestors().find_map(|at| at.canonicalize().ok()));
            if !near.is_some_and(|near| roots.iter().any(|root| near.starts_with(root))) {
                return Err(format!("{} is outside the directories that --allow-fs names", path.display()));
            }
        }
        let real = found.map_err(|e| format!("{}: {e}", path.display()))?;
        // What the kernel tells there, the environment among it, is no file of anybody's.
        if real.starts_with("/proc") || real.starts_with("/sys") {
            return Err(format!("{} is not a file that may be read", path.display()));
        }
        Ok(real)
    }
}

impl Ends for Socket {
    fn end(&self) {
        drop(self.take());
    }
}

/// A capability, and what came from it.
pub struct Capability {
    pub net: Net,
    pub names: Names,
    pub files: Files,
    opened: Rc<Opened>,
}

/// The value that the front holds.
pub struct Held(pub Rc<Capability>);

impl UserData for Held {}

/// What ends with its capability.
pub trait Ends {
    /// Closes it for good. Fine more than once.
    fn end(&self);
}

/// What to end with a capability: what it opened, and what everything that was narrowed from it opened.
#[derive(Default)]
struct Opened {
    things: RefCell<Vec<Weak<dyn Ends>>>,
    parent: Option<Rc<Opened>>,
}

impl Opened {
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
        let opened = Rc::new(Opened { things: RefCell::default(), parent });
        Held(Rc::new(Capability { net, names: Names::default(), files, opened }))
    }

    /// Remembers what was opened, to end it with the capability.
    pub fn opened(&self, thing: Weak<dyn Ends>) {
        self.opened.add(thing);
    }

    /// Ends this capability and everything that came from it.
    pub fn revoke(&self) {
        self.net.revoke();
        for thing in self.opened.things.take() {
            if let Some(thing) = thing.upgrade() {
                thing.end();
            }
        }
    }
}

/// The name of the mark in the state's registry that says it was launched. A string, so that a second copy of the
/// library sees the first one's.
const SEALED: &str = "caspian.net.sealed";

/// Makes the state's capability; `nil` if nothing is granted. The second call in one Lua state fails.
/// `what`: an array of flags, or `{ allow_net =, allow_listen =, deny_net =, dns =, net_log = }`.
/// `host`: `{ files = bool | { dir … } }`.
pub fn mint(lua: &Lua, what: Table, host: Table) -> Answer<Option<Held>> {
    let grants = parse(&what, Grants::parse)?;
    let files = files(&host)?;
    let net = Net::new(grants.clone()).or_else(|why| argument(1, why))?;
    unsealed(lua)?;
    if lua.set_named_registry_value(SEALED, true).is_err() {
        return argument(0, "out of memory");
    }
    Ok((!grants.is_empty()).then(|| Capability::make(net, files, None)))
}

/// A capability that allows nothing.
pub fn nothing() -> Answer<Held> {
    let net = Net::new(Grants::nothing()).or_else(|why| argument(1, why))?;
    Ok(Capability::make(net, Files::No, None))
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
    Ok(Capability::make(capability.net.narrow(&spec), Files::No, Some(Rc::clone(&capability.opened))))
}

/// True if the gate would let `host:port` pass, without connecting.
pub fn allows(capability: &Capability, host: &str, port: u16) -> Answer<bool> {
    let host = Host::parse(host).or_else(|why| argument(1, why))?;
    Ok(capability.net.is_alive() && capability.net.grants().allows(&host, port))
}

/// The flags that `requires` asks for and `what` does not grant.
pub fn missing(what: Table, requires: Table) -> Answer<Vec<String>> {
    let grants = parse(&what, Grants::parse)?;
    let mut wanted = Vec::new();
    for text in strings(&requires, "requires", 2)? {
        wanted.push(Endpoint::parse(&text).or_else(|why| argument(2, format!("requires: {text}: {why}")))?);
    }
    Ok(grants.missing(&wanted))
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
        if what.raw_len() != count || matches!(what.raw_get::<Value>(count), Ok(Value::Nil) | Err(_)) {
            return argument(1, "flags must be a list without holes, and options do not mix with it");
        }
        let flags = strings(what, "flags", 1)?;
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
    read(&flags).or_else(|why| argument(1, why))
}

fn files(host: &Table) -> Answer<Files> {
    match host.raw_get::<Value>("files") {
        Ok(Value::Boolean(true)) => Ok(Files::Any),
        Ok(Value::Table(roots)) => {
            let roots = strings(&roots, "files", 2)?;
            let real = |root: &String| Path::new(root).canonicalize();
            let roots = roots.iter().map(real).collect::<Result<_, _>>();
            roots.map(Files::Within).or_else(|e| argument(2, format!("files: {e}")))
        }
        _ => Ok(Files::No),
    }
}

/// An array of strings, read raw. Nothing that it holds is passed over: `{ private = true }` is no list, and an empty
/// `deny_net` would be the opposite of what was meant.
pub fn strings(list: &Table, name: &str, index: usize) -> Answer<Vec<String>> {
    let mut all = Vec::new();
    if list.pairs::<Value, Value>().count() != list.raw_len() {
        return argument(index, format!("{name} must be a list of strings without holes"));
    }
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
