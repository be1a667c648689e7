//! Cookie jars for Lua: a value of the front, loaded and read as plain tables.

use super::{
    answer::{Answer, argument},
    define,
    kinds::{self, List},
    options::Options,
};
use crate::{
    deadline::wall,
    http::{
        cookies::{Record, SameSite, SharedJar},
        url::HttpUrl,
    },
};
use mlua::{AnyUserData, IntoLua, Lua, LuaString, Table, UserData};

pub struct HeldJar(pub SharedJar);

impl UserData for HeldJar {}

/// The jar behind a value of the front's.
pub fn held(value: &AnyUserData) -> Answer<SharedJar> {
    match value.borrow::<HeldJar>() {
        Ok(jar) => Ok(jar.0.clone()),
        Err(_) => argument(0, "not a cookie jar"),
    }
}

fn seconds() -> u64 {
    wall().as_secs()
}

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    define(lua, core, "jar_new", |_, ()| Ok(HeldJar(SharedJar::default())))?;
    // jar_records(jar) -> list of plain tables, oldest first
    define(lua, core, "jar_records", |lua, jar: AnyUserData| {
        let records = held(&jar)?.lock().records(seconds());
        let list: mlua::Result<Vec<Table>> = records.iter().map(|record| table(lua, record)).collect();
        list.map(List).map_err(Into::into)
    })?;
    // jar_load(jar, list) -> how many were taken
    define(lua, core, "jar_load", |lua, (jar, list): (AnyUserData, Vec<Table>)| {
        let records = list.into_iter().map(|row| record(&Options::new(lua, Some(row), 1)));
        let records = records.collect::<Answer<Vec<Record>>>()?;
        Ok(held(&jar)?.lock().load(records, seconds()))
    })?;
    // jar_set(jar, url, line) -> true if it was taken
    define(lua, core, "jar_set", |_, (jar, at, line): (AnyUserData, LuaString, LuaString)| {
        Ok(held(&jar)?.lock().store(&url(&at)?, &line.as_bytes(), seconds()))
    })?;
    // jar_header(jar, url) -> the value of Cookie, or nil
    define(lua, core, "jar_header", |lua, (jar, at): (AnyUserData, LuaString)| {
        let value = held(&jar)?.lock().header(&url(&at)?, seconds());
        value.map(|value| lua.create_string(value)).transpose().map_err(Into::into)
    })?;
    define(lua, core, "jar_clear", |_, jar: AnyUserData| {
        held(&jar)?.lock().clear();
        Ok(true)
    })
}

fn url(text: &LuaString) -> Answer<HttpUrl> {
    match text.to_str() {
        Ok(text) => HttpUrl::parse(&text).or_else(|why| argument(1, why)),
        Err(_) => argument(1, "URL is not valid UTF-8"),
    }
}

fn table(lua: &Lua, record: &Record) -> mlua::Result<Table> {
    let row = lua.create_table()?;
    let put = |name: &str, value: mlua::Result<mlua::Value>| row.raw_set(name, value?);
    put("name", lua.create_string(&record.name)?.into_lua(lua))?;
    put("value", lua.create_string(&record.value)?.into_lua(lua))?;
    put("domain", record.domain.as_str().into_lua(lua))?;
    put("host_only", record.host_only.into_lua(lua))?;
    put("path", lua.create_string(&record.path)?.into_lua(lua))?;
    put("secure", record.secure.into_lua(lua))?;
    put("http_only", record.http_only.into_lua(lua))?;
    put("same_site", record.same_site.name().into_lua(lua))?;
    put("expires", record.expires.into_lua(lua))?;
    put("created", record.created.into_lua(lua))?;
    kinds::hash(lua, row)
}

/// What is missing has the narrower meaning.
fn record(row: &Options<'_>) -> Answer<Record> {
    let bytes = |name| Answer::Ok(row.find::<LuaString>(name)?.map(|text| text.as_bytes().to_vec()));
    let time = |name| Answer::Ok(row.find::<f64>(name)?.map(|n| n as u64));
    Ok(Record {
        name: bytes("name")?.unwrap_or_default(),
        value: bytes("value")?.unwrap_or_default(),
        domain: row.text("domain")?.unwrap_or_default(),
        host_only: row.flag("host_only", true)?,
        path: bytes("path")?.unwrap_or_else(|| b"/".to_vec()),
        secure: row.flag("secure", false)?,
        http_only: row.flag("http_only", false)?,
        same_site: SameSite::parse(row.text("same_site")?.unwrap_or_default().as_bytes()),
        expires: time("expires")?,
        created: time("created")?.unwrap_or_else(seconds),
    })
}
