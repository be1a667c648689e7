//! `ssl.context`: the configuration of connections, made step by step.

use super::ssl_core::Classes;
use crate::lua::userdata::{self, Held, expected};
use crate::{
    compat::tls::{BadKey, Built, Context, Mode, OPTIONS, curve_names},
    files::Files,
    lua::{
        answer::{Answer, found},
        capability::Capability,
        define, held as capability,
        options::MAX_PEM,
    },
    tls::is_machine_path,
};
use mlua::{AnyUserData, Lua, LuaString, Table, Value};
use std::{cell::RefCell, ffi::CStr, rc::Rc};

/// A context, the capability whose files it may read, and what was built of it.
pub struct SslContext {
    pub cap: Rc<Capability>,
    asked: RefCell<Context>,
    built: RefCell<Option<Built>>,
}

impl Held for SslContext {
    const CLASSES: &'static [&'static CStr] = &[c"SSL context"];
    const NAME: &'static str = "SSL:Context";
}

impl SslContext {
    /// What connections begin with; built again after each change.
    pub fn built(&self) -> Result<Built, &'static str> {
        let mut built = self.built.borrow_mut();
        if let Some(built) = &*built {
            return Ok(built.clone());
        }
        let fresh = self.asked.borrow().build()?;
        *built = Some(fresh.clone());
        Ok(fresh)
    }

    pub fn mode(&self) -> Option<Mode> {
        self.asked.borrow().mode
    }

    fn change<T>(&self, act: impl FnOnce(&mut Context) -> T) -> T {
        self.built.take();
        act(&mut self.asked.borrow_mut())
    }
}

pub fn held(lua: &Lua, value: &Value, index: usize) -> Answer<Rc<SslContext>> {
    found(userdata::peek(lua, value), index, || expected::<SslContext>(value))
}

/// What a step answers: true, or false and why.
type Step = (bool, Option<String>);

fn step(done: Result<(), impl ToString>) -> Answer<Step> {
    Ok(match done {
        Ok(()) => (true, None),
        Err(why) => (false, Some(why.to_string())),
    })
}

/// PEM text, or what stands in the file of that name.
fn pem(files: &Files, given: &LuaString) -> Result<Vec<u8>, String> {
    let bytes = given.as_bytes();
    if memchr::memmem::find(&bytes, b"-----BEGIN").is_some() {
        return Ok(bytes.to_vec());
    }
    let path = std::str::from_utf8(&bytes).map_err(|_| "the path is not UTF-8")?;
    files.read(path, MAX_PEM)
}

pub fn register(lua: &Lua, core: &Table, classes: &Rc<Classes>) -> mlua::Result<()> {
    let own = Rc::clone(classes);
    define(lua, core, "context_class", move |lua, methods: Table| {
        own.context.around(lua, methods).map_err(Into::into)
    })?;
    // create(cap, protocol): nothing for a protocol that is not spoken
    let own = Rc::clone(classes);
    define(lua, core, "context_create", move |lua, (cap, protocol): (AnyUserData, LuaString)| {
        let cap = capability(&cap)?;
        let Some(asked) = Context::new(&protocol.to_string_lossy(), cap.net.ca()) else { return Ok(Value::Nil) };
        let context = SslContext { cap, asked: RefCell::new(asked), built: RefCell::default() };
        own.context.wrap(lua, 0, Rc::new(context)).map_err(Into::into)
    })?;
    define(lua, core, "context_mode", |lua, (context, mode): (Value, LuaString)| {
        let mode = match &*mode.as_bytes() {
            b"client" => Some(Mode::Client),
            b"server" => Some(Mode::Server),
            _ => None,
        };
        held(lua, &context, 1)?.change(|asked| asked.mode = mode.or(asked.mode));
        Ok(mode.is_some())
    })?;
    // key(context, key, password): whether it was taken, why not, and whether that is for want of a password
    define(lua, core, "context_key", |lua, (context, key, password): (Value, LuaString, Option<LuaString>)| {
        let context = held(lua, &context, 1)?;
        let Ok(text) = pem(&context.cap.files, &key) else {
            // What was meant for a key may be one without its frame: it is not repeated.
            return Ok((false, Some("it is neither PEM text nor a file that can be read".to_owned()), false));
        };
        let password = password.as_ref().map(LuaString::as_bytes);
        Ok(match context.change(|asked| asked.add_key(&text, password.as_deref())) {
            Ok(()) => (true, None, false),
            Err(BadKey { message, sealed }) => (false, Some(message), sealed),
        })
    })?;
    define(lua, core, "context_certificate", |lua, (context, cert): (Value, LuaString)| {
        let context = held(lua, &context, 1)?;
        let text = pem(&context.cap.files, &cert);
        step(text.and_then(|text| context.change(|asked| asked.add_certificate(&text)).map_err(str::to_owned)))
    })?;
    define(lua, core, "context_keys_match", |lua, context: Value| {
        Ok(held(lua, &context, 1)?.asked.borrow().keys_match())
    })?;
    type Locations = (Value, Option<LuaString>, Option<LuaString>);
    define(lua, core, "context_locations", |lua, (context, file, path): Locations| {
        let context = held(lua, &context, 1)?;
        step(context.change(|asked| {
            asked.tell_trust();
            file.map_or(Ok(()), |file| trust_file(asked, &context.cap.files, &file))?;
            path.map_or(Ok(()), |path| trust_directory(asked, &context.cap.files, &path.to_string_lossy()))
        }))
    })?;
    // set(context, what, word): one word of one list; false for a word that is none
    define(lua, core, "context_set", |lua, (context, what, word): (Value, String, LuaString)| {
        let word = word.to_string_lossy();
        let context = held(lua, &context, 1)?;
        Ok(context.change(|asked| match &*what {
            "ciphers" => asked.set_ciphers(&word),
            "ciphersuites" => asked.set_ciphersuites(&word),
            "curve" => asked.set_curve(&word),
            "curves" => asked.set_curves(&word),
            "verify" => asked.verify(&word),
            "verifyext" => asked.verify_ext(&word),
            "option" => asked.option(&word),
            _ => false,
        }))
    })?;
    // forget(context, what): a list of words is about to be said anew
    define(lua, core, "context_forget", |lua, (context, what): (Value, String)| {
        held(lua, &context, 1)?.change(|asked| match &*what {
            "verify" => asked.verify_anew(),
            _ => asked.verify_ext_anew(),
        });
        Ok(true)
    })?;
    define(lua, core, "context_depth", |lua, (context, depth): (Value, f64)| {
        held(lua, &context, 1)?.change(|asked| asked.set_depth(depth as i64));
        Ok(true)
    })?;
    define(lua, core, "context_alpn", |lua, (context, names): (Value, Vec<LuaString>)| {
        let names = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        held(lua, &context, 1)?.change(|asked| asked.alpn = names);
        Ok(true)
    })?;
    define(lua, core, "config", |_, ()| Ok((OPTIONS.to_vec(), curve_names())))
}

fn trust_file(asked: &mut Context, files: &Files, given: &LuaString) -> Result<(), String> {
    if is_machine_path(&given.to_string_lossy()) {
        return asked.trust_machine().map_err(|e| e.fields().message.clone());
    }
    match asked.add_trust(&pem(files, given)?)? {
        0 => Err("no certificate or crl found".into()),
        _ => Ok(()),
    }
}

/// A directory as `openssl rehash` leaves it: files `HASH.N` hold certificates, files `HASH.rN` revocation lists. One that
/// is not there holds nothing, as with OpenSSL.
fn trust_directory(asked: &mut Context, files: &Files, path: &str) -> Result<(), String> {
    /// The machine's own has some 300.
    const MOST: usize = 4096;
    if is_machine_path(path) {
        return asked.trust_machine().map_err(|e| e.fields().message.clone());
    }
    for name in files.list(path)?.iter().filter(|name| is_hashed(name)).take(MOST) {
        let file = format!("{path}/{name}");
        // A link may lead nowhere; what is there must be read, or less would be believed, and fewer held to be revoked.
        if let Some(text) = files.read_if_there(&file, MAX_PEM)? {
            asked.add_trust(&text).map_err(|why| format!("{file}: {why}"))?;
        }
    }
    Ok(())
}

fn is_hashed(name: &str) -> bool {
    name.split_once('.').is_some_and(|(hash, number)| {
        let number = number.strip_prefix('r').unwrap_or(number);
        hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit()) && number.parse::<u16>().is_ok()
    })
}
