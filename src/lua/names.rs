//! The core's functions for names: `resolve`, `reverse_resolve`.

use super::{
    answer::{Answer, argument},
    define, held,
    kinds::{self, hash},
    options::Options,
};
use crate::{
    address::Zoned,
    names::{Question, Record, Type, server},
};
use mlua::{AnyUserData, IntoLua, Lua, LuaString, Table, Value};

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // resolve(capability, name, type?, opts?)
    define(
        lua,
        core,
        "resolve",
        |lua, (cap, name, kind, opts): (AnyUserData, LuaString, Option<LuaString>, Option<Table>)| {
            let cap = held(&cap)?;
            let mut question = question("resolve", &name)?;
            if let Some(kind) = kind {
                let kind = kind.to_string_lossy();
                question.kind = Type::parse(&kind);
                if question.kind.is_none() {
                    let types = Type::ALL.map(Type::word).join(" ");
                    return argument(2, format!("type must be one of {types}, got {kind:?}"));
                }
            }
            if question.host.ip().is_some() && !matches!(question.kind, None | Some(Type::A | Type::Aaaa | Type::Ptr)) {
                return argument(1, "an address has no records of that type: name must be a host name");
            }
            let opts = Options::new(lua, opts, 3);
            choose(&mut question, &opts)?;
            let records = cap.names.resolve(&cap.net, &question, &opts.deadline()?)?;
            table(lua, &records).map_err(Into::into)
        },
    )?;
    // reverse_resolve(capability, ip, opts?)
    define(lua, core, "reverse_resolve", |lua, (cap, ip, opts): (AnyUserData, LuaString, Option<Table>)| {
        let cap = held(&cap)?;
        // Names are given to addresses, whatever their zone.
        let address = ip.to_str().ok().and_then(|text| Zoned::parse(&text).ok()).filter(|zoned| zoned.zone.is_some());
        let mut question = match address {
            Some(Zoned { host, .. }) => {
                Question::new("reverse_resolve", &host.to_string()).or_else(|why| argument(1, why))?
            }
            None => question("reverse_resolve", &ip)?,
        };
        if question.host.ip().is_none() {
            return argument(1, format!("ip must be an address, got {:?}", ip.to_string_lossy()));
        }
        question.kind = Some(Type::Ptr);
        let opts = Options::new(lua, opts, 2);
        choose(&mut question, &opts)?;
        match cap.names.reverse(&cap.net, &question, &opts.deadline()?)? {
            Some(record) => value(lua, &record).map_err(Into::into),
            None => Ok(Value::Nil),
        }
    })
}

fn question(op: &'static str, name: &LuaString) -> Answer<Question> {
    match name.to_str() {
        Ok(text) => Question::new(op, &text).or_else(|why| argument(1, why)),
        Err(_) => argument(1, "name must be valid UTF-8"),
    }
}

/// The options `server` and `tcp`.
fn choose(question: &mut Question, opts: &Options<'_>) -> Answer<()> {
    question.tcp = opts.flag("tcp", false)?;
    question.server = match opts.text("server")? {
        Some(text) => Some(server(&text).or_else(|why| argument(opts.index, why))?),
        None => None,
    };
    Ok(())
}

fn table(lua: &Lua, records: &[Record]) -> mlua::Result<Table> {
    let list = lua.create_table_with_capacity(records.len(), 0)?;
    for (index, record) in records.iter().enumerate() {
        list.raw_set(index + 1, value(lua, record)?)?;
    }
    list.set_metatable(Some(kinds::array(lua)?))?;
    Ok(list)
}

/// A string, or a table with the record's fields.
fn value(lua: &Lua, record: &Record) -> mlua::Result<Value> {
    let table = || lua.create_table();
    let fields = match record {
        Record::Plain(text) => return lua.create_string(text)?.into_lua(lua),
        Record::Mx { preference, exchange } => {
            let fields = table()?;
            fields.raw_set("preference", *preference)?;
            fields.raw_set("exchange", &**exchange)?;
            fields
        }
        Record::Srv { priority, weight, port, target } => {
            let fields = table()?;
            fields.raw_set("priority", *priority)?;
            fields.raw_set("weight", *weight)?;
            fields.raw_set("port", *port)?;
            fields.raw_set("target", &**target)?;
            fields
        }
        Record::Caa { critical, tag, value } => {
            let fields = table()?;
            fields.raw_set("critical", *critical)?;
            fields.raw_set("tag", &**tag)?;
            fields.raw_set("value", lua.create_string(value)?)?;
            fields
        }
        Record::Soa { mname, rname, serial, refresh, retry, expire, minimum } => {
            let fields = table()?;
            fields.raw_set("mname", &**mname)?;
            fields.raw_set("rname", &**rname)?;
            fields.raw_set("serial", *serial)?;
            fields.raw_set("refresh", *refresh)?;
            fields.raw_set("retry", *retry)?;
            fields.raw_set("expire", *expire)?;
            fields.raw_set("minimum", *minimum)?;
            fields
        }
    };
    hash(lua, fields)?.into_lua(lua)
}
