//! `ssl.x509`: certificates as objects.

use super::ssl_core::Classes;
use crate::lua::userdata::{self, Held, expected};
use crate::{
    compat::tls::{ALT_NAMES, AltName, Attribute, Certificate, Encode, time_text},
    lua::{
        answer::{Answer, found},
        define,
    },
};
use mlua::{Lua, LuaString, Table, Value, Variadic};
use std::{cell::Cell, ffi::CStr, rc::Rc};

/// A certificate, and how it hands out its texts.
pub struct X509 {
    pub cert: Certificate,
    encode: Cell<Encode>,
}

impl Held for X509 {
    const CLASSES: &'static [&'static CStr] = &[c"X509 certificate"];
    const NAME: &'static str = "SSL:Certificate";
}

/// A certificate as a Lua value.
pub fn wrap(lua: &Lua, classes: &Classes, cert: Certificate) -> Answer<Value> {
    classes.x509.wrap(lua, 0, Rc::new(X509 { cert, encode: Cell::default() })).map_err(Into::into)
}

fn held(lua: &Lua, value: &Value, index: usize) -> Answer<Rc<X509>> {
    found(userdata::peek(lua, value), index, || expected::<X509>(value))
}

pub fn register(lua: &Lua, core: &Table, classes: &Rc<Classes>) -> mlua::Result<()> {
    let own = Rc::clone(classes);
    // The class around its methods, which the front has made; the metatable that is in use.
    define(lua, core, "x509_class", move |lua, methods: Table| own.x509.around(lua, methods).map_err(Into::into))?;
    let own = Rc::clone(classes);
    define(lua, core, "x509_load", move |lua, pem: LuaString| {
        Certificate::from_pem(&pem.as_bytes()).map(|cert| wrap(lua, &own, cert)).transpose()
    })?;
    define(lua, core, "x509_pem", |lua, cert: Value| Ok(held(lua, &cert, 1)?.cert.pem()))?;
    define(lua, core, "x509_digest", |lua, (cert, algorithm): (Value, LuaString)| {
        Ok(held(lua, &cert, 1)?.cert.digest(&algorithm.to_string_lossy()))
    })?;
    define(lua, core, "x509_serial", |lua, cert: Value| Ok(held(lua, &cert, 1)?.cert.serial()))?;
    define(lua, core, "x509_pubkey", |lua, cert: Value| {
        let key = held(lua, &cert, 1)?.cert.public_key();
        Ok(key.map_or((None, None, None), |(pem, kind, bits)| (Some(pem), Some(kind), Some(bits))))
    })?;
    define(lua, core, "x509_signature", |lua, cert: Value| Ok(held(lua, &cert, 1)?.cert.signature_name()))?;
    // not before and not after: as text, and as seconds since 1970
    define(lua, core, "x509_validity", |lua, cert: Value| {
        let (from, to) = held(lua, &cert, 1)?.cert.validity();
        Ok((time_text(from), time_text(to), from as f64, to as f64))
    })?;
    // encode(cert, word): false for a word that is none
    define(lua, core, "x509_encode", |lua, (cert, word): (Value, LuaString)| {
        let cert = held(lua, &cert, 1)?;
        let encode = match &*word.as_bytes() {
            b"utf8" => Encode::Utf8,
            b"ai5" => Encode::Raw,
            _ => return Ok(false),
        };
        cert.encode.set(encode);
        Ok(true)
    })?;
    define(lua, core, "x509_names", |lua, (cert, issuer): (Value, bool)| {
        let x509 = held(lua, &cert, 1)?;
        let encode = x509.encode.get();
        let names = if issuer { x509.cert.issuer(encode) } else { x509.cert.subject(encode) };
        names_table(lua, names).map_err(Into::into)
    })?;
    define(lua, core, "x509_extensions", |lua, cert: Value| {
        let x509 = held(lua, &cert, 1)?;
        let names = x509.cert.alt_names(x509.encode.get());
        extensions(lua, names).map_err(Into::into)
    })?;
    // issued(issuer, subject, between…): true, or false and why
    define(lua, core, "x509_issued", |lua, (issuer, subject, rest): (Value, Value, Variadic<Value>)| {
        let (issuer, subject) = (held(lua, &issuer, 1)?, held(lua, &subject, 2)?);
        let mut between = Vec::new();
        for (index, cert) in rest.iter().enumerate() {
            between.push(held(lua, cert, index + 3)?.cert.clone());
        }
        Ok(match issuer.cert.issued(&subject.cert, &between) {
            Ok(()) => (true, None),
            Err(why) => (false, Some(why)),
        })
    })
}

fn names_table(lua: &Lua, names: Vec<Attribute>) -> mlua::Result<Table> {
    let all = lua.create_table()?;
    for attribute in names {
        let entry = lua.create_table()?;
        entry.raw_set("oid", attribute.oid)?;
        entry.raw_set("name", attribute.name)?;
        entry.raw_set("value", attribute.value.map(|text| lua.create_string(text)).transpose()?)?;
        all.raw_push(entry)?;
    }
    Ok(all)
}

fn extensions(lua: &Lua, names: Option<Vec<AltName>>) -> mlua::Result<Table> {
    let all = lua.create_table()?;
    let Some(names) = names else { return Ok(all) };
    let found = lua.create_table()?;
    found.raw_set("name", ALT_NAMES.1)?;
    for name in names {
        let (kind, long, value) = match name {
            AltName::Plain(kind, value) => (kind.to_owned(), None, value),
            AltName::Other(oid, long, value) => (oid, Some(long), value),
        };
        let list = match found.raw_get::<Option<Table>>(&*kind)? {
            Some(list) => list,
            None => {
                let list = lua.create_table()?;
                if let Some(long) = long {
                    list.raw_set("name", long)?;
                }
                found.raw_set(kind, &list)?;
                list
            }
        };
        if let Some(value) = value {
            list.raw_push(lua.create_string(value)?)?;
        }
    }
    all.raw_set(ALT_NAMES.0, found)?;
    Ok(all)
}
