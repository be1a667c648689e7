//! Helpers without authority: JSON, URLs, base64, digests, as functions that need no capability.

use super::{
    answer::{Answer, Failure, argument},
    define, json,
    kinds::{self, List},
};
use crate::{
    codec::{self, Invalid, Parts},
    digest::{Algorithm, equal},
};
use data_encoding::HEXLOWER;
use mlua::{Lua, LuaString, Table, Value};

/// Random bytes at once, at most.
const MAX_RANDOM: usize = 1 << 20;

/// The longest JSON text that a value becomes; what is read has the same cap, in the front.
const MAX_JSON: usize = 64 << 20;

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // codec_json(value, sorted) -> text; codec_value(text) -> value
    define(lua, core, "codec_json", |lua, (value, sorted): (Value, bool)| {
        bytes(lua, &json::encode(&value, 1, "value", sorted, MAX_JSON)?)
    })?;
    define(lua, core, "codec_value", |lua, text: LuaString| {
        json::decode(lua, &text.as_bytes()).map_err(|failure| match failure {
            // Nobody's network: the text is an argument.
            Failure::Network(error) => Failure::Argument(1, error.fields().message.clone()),
            other => other,
        })
    })?;
    // codec_array(table): marks it as a JSON array
    define(lua, core, "codec_array", |lua, table: Table| {
        let marked = kinds::array(lua).and_then(|array| table.set_metatable(Some(array)));
        marked.map(|()| true).or_else(|e| argument(1, e))
    })?;
    define(lua, core, "codec_url", |lua, text: LuaString| parse(lua, &utf8(&text, 1, "URL")?))?;
    define(lua, core, "codec_build", |_, parts: Table| checked(codec::build(&parts_of(&parts)?), 1))?;
    define(lua, core, "codec_join", |_, (base, reference): (LuaString, LuaString)| {
        let (base, reference) = (utf8(&base, 1, "URL")?, utf8(&reference, 2, "URL")?);
        if let Err(Invalid(why)) = codec::parse(&base) {
            return argument(1, why);
        }
        checked(codec::join(&base, &reference), 2)
    })?;
    define(lua, core, "codec_escape", |lua, (text, safe): (LuaString, Option<LuaString>)| {
        let safe = safe.map(|safe| safe.as_bytes().to_vec()).unwrap_or_default();
        bytes(lua, &checked(codec::percent_encode(&text.as_bytes(), &safe), 1)?)
    })?;
    define(lua, core, "codec_unescape", |lua, (text, plus): (LuaString, bool)| {
        bytes(lua, &checked(codec::percent_decode(&text.as_bytes(), plus), 1)?)
    })?;
    define(lua, core, "codec_base64", |lua, (text, for_url): (LuaString, bool)| {
        bytes(lua, checked(codec::base64_encode(&text.as_bytes(), for_url), 1)?.as_bytes())
    })?;
    define(lua, core, "codec_unbase64", |lua, (text, for_url): (LuaString, bool)| {
        bytes(lua, &checked(codec::base64_decode(&text.as_bytes(), for_url), 1)?)
    })?;
    // codec_digest(algorithm, bytes, as hex), codec_hmac(algorithm, key, bytes, as hex)
    define(lua, core, "codec_digest", |lua, (word, text, hex): (LuaString, LuaString, bool)| {
        shown(lua, &algorithm(&word)?.digest(&text.as_bytes()), hex)
    })?;
    define(lua, core, "codec_hmac", |lua, (word, key, text, hex): (LuaString, LuaString, LuaString, bool)| {
        match algorithm(&word)?.hmac(&key.as_bytes(), &text.as_bytes()) {
            Some(code) => shown(lua, &code, hex),
            None => argument(0, "no such code"),
        }
    })?;
    define(lua, core, "codec_equal", |_, (a, b): (LuaString, LuaString)| Ok(equal(&a.as_bytes(), &b.as_bytes())))?;
    define(lua, core, "codec_random", |lua, count: usize| {
        if count > MAX_RANDOM {
            return argument(1, format!("n must be at most {MAX_RANDOM}"));
        }
        let mut random = vec![0; count];
        match getrandom::fill(&mut random) {
            Ok(()) => bytes(lua, &random),
            Err(e) => argument(0, format!("no random bytes: {e}")),
        }
    })
}

fn bytes(lua: &Lua, text: &[u8]) -> Answer<LuaString> {
    lua.create_string(text).map_err(Failure::from)
}

fn shown(lua: &Lua, digest: &[u8], hex: bool) -> Answer<LuaString> {
    if hex { bytes(lua, HEXLOWER.encode(digest).as_bytes()) } else { bytes(lua, digest) }
}

fn checked<T>(made: Result<T, Invalid>, index: usize) -> Answer<T> {
    made.or_else(|Invalid(why)| argument(index, why))
}

fn algorithm(word: &LuaString) -> Answer<Algorithm> {
    Algorithm::named(&word.as_bytes()).map_or_else(|| argument(0, "no such digest"), Ok)
}

fn utf8(text: &LuaString, index: usize, what: &str) -> Answer<String> {
    if text.as_bytes().len() > codec::MAX_URL {
        return argument(index, format!("{what} is longer than {} bytes", codec::MAX_URL));
    }
    match text.to_str() {
        Ok(text) => Ok(text.to_string()),
        Err(_) => argument(index, format!("{what} is not valid UTF-8")),
    }
}

/// The parts of a URL as a table, with the pairs of its query.
fn parse(lua: &Lua, text: &str) -> Answer<Table> {
    let parts = checked(codec::parse(text), 1)?;
    let pairs = checked(codec::pairs(parts.query.as_deref().unwrap_or("")), 1)?;
    let pair = |(name, value): &(Vec<u8>, Vec<u8>)| Ok(List(vec![lua.create_string(name)?, lua.create_string(value)?]));
    let pairs = pairs.iter().map(pair).collect::<mlua::Result<Vec<_>>>()?;
    let table = lua.create_table()?;
    table.raw_set("scheme", parts.scheme.as_str())?;
    table.raw_set("userinfo", parts.userinfo.as_deref())?;
    table.raw_set("host", parts.host.as_deref())?;
    table.raw_set("port", parts.port)?;
    table.raw_set("path", parts.path.as_str())?;
    table.raw_set("query", parts.query.as_deref())?;
    table.raw_set("fragment", parts.fragment.as_deref())?;
    table.raw_set("pairs", List(pairs))?;
    Ok(table)
}

/// The front has checked the types.
fn parts_of(table: &Table) -> Answer<Parts> {
    let text = |name: &str| match table.raw_get::<Option<LuaString>>(name) {
        Ok(Some(text)) => utf8(&text, 1, name).map(Some),
        Ok(None) => Ok(None),
        Err(e) => argument(1, e),
    };
    Ok(Parts {
        scheme: text("scheme")?.unwrap_or_default(),
        userinfo: text("userinfo")?,
        host: text("host")?,
        port: table.raw_get("port").or_else(|e| argument(1, e))?,
        path: text("path")?.unwrap_or_default(),
        query: text("query")?,
        fragment: text("fragment")?,
    })
}
