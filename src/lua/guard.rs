//! A guard's rules for Lua: made once, then asked about each request. The front checks types and copies first.

use super::{
    answer::{Answer, argument},
    define,
};
use crate::guard::rules::{Decision, Refusal, RouteSpec, RuleSpec, Rules};
use mlua::{AnyUserData, IntoLuaMulti, Lua, LuaString, MultiValue, Table, UserData, UserDataRef};
use std::ops::Deref;

pub struct HeldRules(Rules);

impl Deref for HeldRules {
    type Target = Rules;

    fn deref(&self) -> &Rules {
        &self.0
    }
}

impl UserData for HeldRules {}

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // guard_rules(rules, has_policy) -> rules, or nil and what is wrong with which key
    define(lua, core, "guard_rules", |lua, (rules, has_policy): (Vec<Table>, bool)| {
        let specs = rules.iter().map(rule).collect::<mlua::Result<Vec<_>>>().or_else(|e| argument(1, e))?;
        let rules = Rules::new(&specs, has_policy).or_else(|why| argument(1, why))?;
        lua.create_userdata(HeldRules(rules)).or_else(|e| argument(1, e))
    })?;
    // guard_decide(rules, url, method) -> rule, route, params or nil, url, scheme, host, port, path
    define(lua, core, "guard_decide", |lua, (rules, url, method): (AnyUserData, LuaString, LuaString)| {
        match self::rules(&rules)?.decide(&url.as_bytes(), &method.as_bytes()) {
            Ok(decision) => values(lua, decision).map_err(Into::into),
            Err(Refusal::Refused(error)) => Err(error.into()),
            Err(Refusal::Wrong(index, why)) => argument(index, why),
        }
    })
}

/// The rules that `guard_rules` made.
pub fn rules(held: &AnyUserData) -> Answer<UserDataRef<HeldRules>> {
    held.borrow().or_else(|_| argument(0, "not a guard's rules"))
}

fn rule(table: &Table) -> mlua::Result<RuleSpec> {
    let routes: Option<Vec<Table>> = table.raw_get("routes")?;
    let route = |table: Table| Ok(RouteSpec { path: table.raw_get("path")?, methods: table.raw_get("methods")? });
    Ok(RuleSpec {
        host: table.raw_get("host")?,
        https_only: table.raw_get("https_only")?,
        ports: table.raw_get("ports")?,
        routes: routes.map(|routes| routes.into_iter().map(route).collect::<mlua::Result<_>>()).transpose()?,
    })
}

fn values(lua: &Lua, decision: Decision<'_>) -> mlua::Result<MultiValue> {
    let params = match decision.params.is_empty() {
        true => None,
        false => Some(lua.create_table_from(decision.params)?),
    };
    let origin = decision.origin;
    let place = (decision.rule, decision.route, params, decision.url);
    let parts = (origin.scheme.name(), origin.host.to_string(), origin.port, decision.path);
    let mut values = place.into_lua_multi(lua)?;
    values.extend(parts.into_lua_multi(lua)?);
    Ok(values)
}
