//! Option tables to typed options. The front has checked names and types and made a plain copy; here the values are
//! interpreted, and files are read where that is permitted.

use super::{
    answer::{Answer, argument},
    capability::{Capability, strings},
    headers::{self, Header},
    socket::seconds,
};
use crate::{
    address::{Host, Zoned},
    deadline::{DEFAULT, Deadline, check_block},
    files::Files,
    grants::Bindable,
    tls::{ClientAuth, ClientOptions, ClientTls, ServerOptions, ServerTls, Version},
};
use mlua::{FromLua, Lua, LuaString, Table, Value};
use std::time::Duration;

/// A certificate or key file is small.
pub const MAX_PEM: u64 = 16 << 20;

/// An option table, read raw, and the argument that it is.
pub struct Options<'a> {
    lua: &'a Lua,
    table: Option<Table>,
    pub index: usize,
}

impl<'a> Options<'a> {
    pub fn new(lua: &'a Lua, table: Option<Table>, index: usize) -> Self {
        Options { lua, table, index }
    }

    /// The option's value, if it is given.
    pub fn find<T: FromLua>(&self, name: &str) -> Answer<Option<T>> {
        let Some(table) = &self.table else { return Ok(None) };
        // Reading can fail (no memory, Ctrl-C): an option must not get lost on the way.
        let value: Value = table.raw_get(name).or_else(|e| argument(self.index, format!("{name}: {e}")))?;
        if value.is_nil() {
            return Ok(None);
        }
        match T::from_lua(value, self.lua) {
            Ok(value) => Ok(Some(value)),
            Err(_) => argument(self.index, format!("{name} is of the wrong type")),
        }
    }

    pub fn flag(&self, name: &str, default: bool) -> Answer<bool> {
        Ok(self.find(name)?.unwrap_or(default))
    }

    pub fn text(&self, name: &str) -> Answer<Option<String>> {
        self.find(name)
    }

    pub fn list(&self, name: &str) -> Answer<Vec<String>> {
        match self.find::<Value>(name)? {
            None => Ok(Vec::new()),
            Some(Value::Table(list)) => strings(&list, name, self.index),
            Some(Value::String(one)) => Ok(vec![one.to_string_lossy()]),
            Some(_) => argument(self.index, format!("{name} must be a list of strings")),
        }
    }

    /// A time in seconds: the outer `None` if it is not given, the inner one for ever.
    pub fn seconds(&self, name: &str) -> Answer<Option<Option<Duration>>> {
        match self.find::<f64>(name)? {
            None => Ok(None),
            Some(number) => match seconds(number) {
                Some(time) => Ok(Some(time)),
                None => argument(self.index, format!("{name} must be 0 or more seconds, got {number}")),
            },
        }
    }

    /// The call's timeout. Defaults to 30 seconds.
    pub fn timeout(&self) -> Answer<Option<Duration>> {
        Ok(self.seconds("timeout")?.unwrap_or(Some(DEFAULT)))
    }

    pub fn deadline(&self) -> Answer<Deadline> {
        check_block("called too late")?;
        Ok(Deadline::new(self.timeout()?).start())
    }

    /// `local_host`, `local_port`: this end's address, which is bound like a listener's.
    pub fn local(&self, capability: &Capability, op: &'static str) -> Answer<Option<Bindable>> {
        let (host, port) = (self.text("local_host")?, self.find::<u16>("local_port")?);
        if host.is_none() && port.is_none() {
            return Ok(None);
        }
        let host = Zoned::parse(host.as_deref().unwrap_or("0.0.0.0"))
            .or_else(|why| argument(self.index, format!("local_host: {why}")))?;
        Ok(Some(capability.net.listen_zoned(op, &host, port.unwrap_or(0))?))
    }

    /// PEM text, or a path where files may be read.
    fn pem(&self, name: &str, files: &Files) -> Answer<Option<Vec<u8>>> {
        let Some(value) = self.find::<LuaString>(name)? else { return Ok(None) };
        let bytes = value.as_bytes();
        if memchr::memmem::find(&bytes, b"-----BEGIN").is_some() {
            return Ok(Some(bytes.to_vec()));
        }
        let path = std::str::from_utf8(&bytes).ok();
        match path.map_or_else(|| Err("it is not UTF-8".to_owned()), |path| files.read(path, MAX_PEM)) {
            Ok(pem) => Ok(Some(pem)),
            // What was meant for a key may be one without its frame: it is not repeated.
            Err(_) if name.ends_with("key") => {
                argument(self.index, format!("{name} is neither PEM text nor a file that can be read"))
            }
            Err(why) => argument(self.index, format!("{name}: {why}")),
        }
    }

    /// Any bytes.
    fn secret(&self, name: &str) -> Answer<Option<Vec<u8>>> {
        Ok(self.find::<LuaString>(name)?.map(|text| text.as_bytes().to_vec()))
    }

    /// The options of a TLS client (contract, section 4), built.
    pub fn client_tls(&self, capability: &Capability, op: &'static str, port: u16) -> Answer<ClientTls> {
        let options = self.client_options(capability, op, port)?;
        capability.net.client_tls(&options).or_else(|why| argument(self.index, &why.fields().message))
    }

    /// The same, not built yet.
    pub fn client_options(&self, capability: &Capability, op: &'static str, port: u16) -> Answer<ClientOptions> {
        let sni = match self.text("sni")? {
            None => None,
            Some(name) => {
                let host = Host::parse(&name).or_else(|why| argument(self.index, format!("sni: {why}")))?;
                // The name that is verified is a name that is reached: it needs the grant of one.
                capability.net.connect(op, &host, port)?;
                Some(host)
            }
        };
        let alpn = self.list("alpn")?.into_iter().map(String::into_bytes).collect();
        Ok(ClientOptions { sni, alpn, ..self.trust(&capability.files, &ClientOptions::default())? })
    }

    /// Headers, as [`headers`] says.
    pub(super) fn headers(&self, name: &str) -> Answer<Vec<Header<'static>>> {
        headers::of(self.lua, self.find::<Table>(name)?.as_ref())
    }

    /// The names of those that are given.
    pub fn names(&self) -> Answer<Vec<LuaString>> {
        let Some(table) = &self.table else { return Ok(Vec::new()) };
        let names: mlua::Result<_> = table.pairs::<LuaString, Value>().map(|pair| pair.map(|(name, _)| name)).collect();
        names.or_else(|e| argument(self.index, e))
    }

    /// Whom to believe, what to show and in which versions: `verify`, `ca_bundle`, `client_cert`, `client_key`,
    /// `client_key_password`, `pins`, `protocols`; what is not given is as in `base`.
    pub fn trust(&self, files: &Files, base: &ClientOptions) -> Answer<ClientOptions> {
        let mut pins = Vec::new();
        for text in self.list("pins")? {
            match pin(&text) {
                Some(pin) => pins.push(pin),
                None => {
                    let message = "pins must be SHA-256 hashes of the public key: 64 hex digits, or sha256/BASE64";
                    return argument(self.index, message);
                }
            }
        }
        let given = self.find::<Value>("pins")?.is_some();
        let pem = |name, base: &Option<Vec<u8>>| Answer::Ok(self.pem(name, files)?.or_else(|| base.clone()));
        Ok(ClientOptions {
            verify: self.flag("verify", base.verify)?,
            ca_bundle: pem("ca_bundle", &base.ca_bundle)?,
            client_cert: pem("client_cert", &base.client_cert)?,
            client_key: pem("client_key", &base.client_key)?,
            client_key_password: self.secret("client_key_password")?.or_else(|| base.client_key_password.clone()),
            pins: if given { pins } else { base.pins.clone() },
            sni: base.sni.clone(),
            protocols: match self.find::<Value>("protocols")? {
                Some(_) => self.versions()?,
                None => base.protocols.clone(),
            },
            alpn: base.alpn.clone(),
        })
    }

    /// The options of a TLS server: `cert`, `key`, `key_password`, `client_ca`, `alpn`, `protocols`.
    pub fn server_tls(&self, capability: &Capability) -> Answer<ServerTls> {
        ServerTls::new(&self.server_options(capability)?).or_else(|why| argument(self.index, &why.fields().message))
    }

    /// The same, not built yet.
    pub fn server_options(&self, capability: &Capability) -> Answer<ServerOptions> {
        let files = &capability.files;
        let Some(cert) = self.pem("cert", files)? else {
            return argument(self.index, "a TLS server needs cert and key");
        };
        Ok(ServerOptions {
            cert,
            key: self.pem("key", files)?,
            key_password: self.secret("key_password")?,
            client_ca: self.pem("client_ca", files)?,
            client_auth: ClientAuth::Required,
            protocols: self.versions()?,
            alpn: self.list("alpn")?.into_iter().map(String::into_bytes).collect(),
        })
    }

    fn versions(&self) -> Answer<Vec<Version>> {
        let mut versions = Vec::new();
        let names = self.list("protocols")?;
        if names.is_empty() && self.find::<Value>("protocols")?.is_some() {
            return argument(self.index, "protocols must name TLSv1.2, TLSv1.3 or both");
        }
        for name in names {
            match Version::parse(&name) {
                Some(version) => versions.push(version),
                None => {
                    let message = format!("protocols: {name:?} is not offered; there are TLSv1.2 and TLSv1.3");
                    return argument(self.index, message);
                }
            }
        }
        Ok(versions)
    }

    /// Another table of the same argument.
    pub fn of(&self, table: Table) -> Options<'a> {
        Options::new(self.lua, Some(table), self.index)
    }

    /// The options under `name`, as options of their own.
    pub fn inner(&self, name: &str) -> Answer<Option<Options<'a>>> {
        Ok(self.find::<Table>(name)?.map(|table| Options::new(self.lua, Some(table), self.index)))
    }
}

/// 64 hex digits, or `sha256/` and BASE64 as HPKP and curl write it.
fn pin(text: &str) -> Option<[u8; 32]> {
    let mut pin = [0; 32];
    if let Some(base64) = text.strip_prefix("sha256/") {
        // A hash may begin with a slash of its own: only a character too many is curl's second slash.
        let base64 = base64.strip_prefix('/').filter(|rest| rest.len() == 44).unwrap_or(base64);
        let bytes = data_encoding::BASE64.decode(base64.as_bytes()).ok()?;
        pin.copy_from_slice(bytes.get(..32).filter(|_| bytes.len() == 32)?);
    } else {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.replace(':', "").as_bytes()).ok()?;
        pin.copy_from_slice(bytes.get(..32).filter(|_| bytes.len() == 32)?);
    }
    Some(pin)
}
