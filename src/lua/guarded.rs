//! The network side of a guard, in steps that the front drives: a client within the guard's rules, one clock for a
//! whole fetch, the addresses of a name, one request pinned to its permitted addresses, and the target of a redirect.
//!
//! `guard` decides about rules; here only the gate is asked.

use super::{
    answer::{Answer, argument},
    capability::strings,
    define, headers, held,
    http::{Classes, Given, Prepared, client, owner, prepare},
    options::Options,
    request_options::{RequestOptions, resolve},
    responses::{self, Call, peek},
    socket::seconds,
};
use crate::{
    client::{Fetch, pool::Limits},
    deadline::{DEFAULT, Deadline},
    error::{Error, Kind},
    files::Files,
    grants::Grants,
    guard::shown::shown_after,
    http::{
        cookies::SharedJar,
        fields::Fields,
        redirect::{self, Rules},
        request::{Method, Payload, Request},
        response::{Head, Version},
        url::{HttpUrl, Scheme},
    },
    names::Lookup,
};
use mlua::{AnyUserData, Lua, LuaString, Table, UserData};
use std::{rc::Rc, sync::Arc};

const OP: &str = "fetch";

/// The one deadline of a guarded fetch: DNS, connects, every hop and the callbacks in between share it.
struct Clock(Deadline);

impl UserData for Clock {}

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table, classes: Rc<Classes>) -> mlua::Result<()> {
    // guard_client(capability, rules, open?) -> a client for the hosts of those rules, with a pool, a jar and a resolver of
    // its own, no files, and no private addresses but those in `open` (nil: no such fence)
    let made = Rc::clone(&classes);
    define(lua, core, "guard_client", move |lua, (cap, rules, open): (AnyUserData, AnyUserData, Option<Table>)| {
        let cap = held(&cap)?;
        cap.net.alive()?;
        let hosts = super::guard::rules(&rules)?.hosts().map(Grants::only);
        let open = open.map(|open| strings(&open, "allow_private", 1)).transpose()?;
        let fence = Grants::fenced(open.as_deref()).or_else(|why| argument(1, format!("allow_private: {why}")))?;
        let net = hosts.map_or(Ok(cap.net.clone()), |hosts| cap.net.narrow(&hosts));
        let net = net.and_then(|net| net.narrow(&fence)).map_err(|e| e.op("guard"))?;
        let mut request_options = RequestOptions::default();
        Arc::make_mut(&mut request_options.options).names = Some(Lookup::default());
        let (limits, jar, headers) = (Limits::default(), SharedJar::default(), Default::default());
        client(&cap, net, Files::default(), limits, request_options, jar, headers, None).into_lua(lua, &made)
    })?;
    // guard_check(client, opts): are these options of requests right?
    define(lua, core, "guard_check", |lua, (of, opts): (AnyUserData, Table)| {
        let of = owner(lua, &of)?;
        of.request_options(&Options::new(lua, Some(opts), 1))?;
        Ok(true)
    })?;
    // guard_clock(seconds?)
    define(lua, core, "guard_clock", |_, timeout: Option<f64>| {
        let timeout = timeout.map_or(Some(Some(DEFAULT)), seconds);
        match timeout {
            Some(timeout) => Ok(Clock(Deadline::new(timeout).start())),
            None => argument(2, "timeout must be 0 or more seconds"),
        }
    })?;
    define(lua, core, "guard_addresses", addresses)?;
    define(lua, core, "guard_start", move |lua, given| start(lua, given)?.into_lua(lua, &classes.calls))?;
    // guard_reached(call): was there a connection? If not, nothing has left yet.
    define(lua, core, "guard_reached", |lua, call: AnyUserData| Ok(peek(lua, &call)?.stream()?.fetch.reached()))?;
    define(lua, core, "guard_request", request)?;
    // guard_log(client, method, url, class, words?): a refusal, or what failed behind the guard, for --net-log; of the URL only what cannot be a
    // secret by design
    type Refused = (AnyUserData, String, LuaString, String, Option<String>);
    define(lua, core, "guard_log", |lua, (of, method, url, class, words): Refused| {
        let net = owner(lua, &of)?.net();
        if net.is_logged() {
            let url = parse(&url, 1).map(|url| format!("{}{}", url.origin(), url.path())).ok();
            let method = (!method.is_empty()).then_some(method);
            let fields = [
                ("op", OP.into()),
                ("method", method.into()),
                ("url", url.into()),
                ("class", class.into()),
                ("error", words.into()),
            ];
            net.log("guarded", &fields);
        }
        Ok(true)
    })?;
    define(lua, core, "guard_next", next)?;
    // guard_text(content_type?, body) -> the body in UTF-8
    define(lua, core, "guard_text", |lua, (kind, body): (Option<LuaString>, LuaString)| {
        let mut fields = Fields::new();
        if let Some(kind) = &kind {
            fields.push(b"content-type", &kind.as_bytes());
        }
        let head = Head { version: Version::Http11, status: 200, reason: Default::default(), fields };
        responses::text(lua, head.charset(), &body)
    })
}

/// guard_request(method, headers) -> the method as it will be sent, in upper case; wrong if it or a header cannot be.
fn request(lua: &Lua, (method, headers): (LuaString, Option<Table>)) -> Answer<String> {
    let method = Method::parse(&method.as_bytes()).or_else(|why| argument(2, why))?.into_upper_case();
    let url = HttpUrl::parse("http://localhost/").or_else(|why| argument(0, why))?;
    let mut request = Request::new(method.clone(), url, None);
    for (name, value) in headers::of(lua, headers.as_ref())? {
        value.map_or(Ok(()), |value| request.field(&name, &value)).or_else(|why| argument(2, why))?;
    }
    Ok(method.as_str().to_owned())
}

/// guard_addresses(client, clock, url, opts) -> the addresses of the URL's host, as text: each one permitted,
/// or none. `opts` may have `connect_timeout` and `resolve`.
fn addresses(
    lua: &Lua,
    (of, clock, url, opts): (AnyUserData, AnyUserData, LuaString, Option<Table>),
) -> Answer<Vec<String>> {
    let of = owner(lua, &of)?;
    let (net, url) = (of.net(), parse(&url, 1)?);
    let origin = url.origin();
    let opts = Options::new(lua, opts, 1);
    let deadline = clocked(&clock)?.within(opts.seconds("connect_timeout")?.flatten());
    let granted = net.connect(OP, &origin.host, origin.port)?;
    let chosen = resolve(&opts)?.into_iter().find(|(at, _)| at == granted.endpoint());
    let found = match (chosen, of.names()) {
        (Some((_, ip)), _) => vec![ip],
        (None, Some(names)) => names.addresses(&net, OP, &granted, &deadline)?,
        (None, None) => return argument(0, "not a guard's client"),
    };
    let permitted = net.permit(OP, &granted, &found)?;
    Ok(permitted.iter().map(|one| one.addr().ip().to_string()).collect())
}

/// guard_start(clock, share, { client =, url =, method =, headers =, opts =, body = }) -> call: a request that has not begun, under
/// the clock. `share`: of how many addresses this is the first, since each of them may take its part of the time to connect.
fn start(lua: &Lua, (clock, share, given): (AnyUserData, u32, Table)) -> Answer<Rc<Call>> {
    let given = read(&given)?;
    let (of, Prepared { net, request, source, request_options }) = prepare(lua, OP, given)?;
    let mut options = request_options.options;
    let deadline = clocked(&clock)?;
    let part = deadline.left().map(|left| left / share.max(1)).filter(|_| share > 1);
    if let Some(part) = part {
        let connect = &mut Arc::make_mut(&mut options).connect_timeout;
        *connect = Some(connect.map_or(part, |own| own.min(part)));
    }
    Ok(Call::new(Fetch::new(&net, of.pool(), request, source, options).under(&deadline)))
}

/// What [`prepare`] takes, by name: `client`, `url`, `method`, `headers`, `opts`, `body`.
fn read(given: &Table) -> mlua::Result<Given> {
    Ok((
        given.raw_get("client")?,
        given.raw_get("url")?,
        given.raw_get("method")?,
        given.raw_get("headers")?,
        given.raw_get("opts")?,
        given.raw_get("body")?,
        None,
    ))
}

/// What a redirect is decided on.
type Asked = (LuaString, LuaString, LuaString, u16, LuaString, bool, Vec<LuaString>);

/// guard_next(method, url, shown, status, location, has body, header names) -> the next hop, as `{ url =, shown =, method =,
/// body = is it sent again?, crossed = does it lead to another origin?, names = the headers that stay }`. `shown` is the URL
/// that the untrusted side knows in place of `url`. Nothing if the response is no redirect that can be followed.
fn next(lua: &Lua, (method, url, shown, status, location, body, names): Asked) -> Answer<Option<Table>> {
    let method = Method::parse(&method.as_bytes()).or_else(|why| argument(2, why))?;
    let (url, shown) = (parse(&url, 1)?, parse(&shown, 1)?);
    let payload = body.then_some(Payload { length: Some(0), content_type: None, replayable: true });
    let mut request = Request::new(method, url, payload);
    for name in &names {
        request.field(&name.as_bytes(), b"").or_else(|why| argument(2, why))?;
    }
    let mut fields = Fields::new();
    fields.push(b"location", &location.as_bytes());
    let head = Head { version: Version::Http11, status, reason: Default::default(), fields };
    if request.url.joins_userinfo(&location.as_bytes()) {
        let message = "the redirect's URL contains credentials";
        return Err(Error::new(Kind::RequestNotAllowed, message).op(OP).into());
    }
    if is_schemed_path(&location.as_bytes()) {
        let message = "the redirect's URL has a scheme and no host";
        return Err(Error::new(Kind::RequestNotAllowed, message).op(OP).into());
    }
    let target = request.url.join(&location.as_bytes()).ok();
    if request.url.origin().scheme == Scheme::Https && target.is_some_and(|url| url.origin().scheme == Scheme::Http) {
        return Err(Error::new(Kind::Protocol, "the redirect leads from https to http").op(OP).into());
    }
    let hop = redirect::next(&request, &head, &Rules::default()).map_err(|err| err.op(OP))?;
    let Some(hop) = hop else { return Ok(None) };
    let broken = |why| Error::new(Kind::Protocol, format!("the redirect cannot be followed: {why}")).op(OP);
    let shown = shown_after(&request.url, &shown, &location.as_bytes()).map_err(broken)?;
    let made = leads(lua, &hop.request, &shown, hop.crossed);
    made.map(Some).map_err(Into::into)
}

/// `https:evil.example`: a path to those who read it as browsers do, a host to others.
fn is_schemed_path(location: &[u8]) -> bool {
    let mut parts = location.trim_ascii().splitn(2, |byte| *byte == b':');
    let (Some(scheme), Some(rest)) = (parts.next(), parts.next()) else { return false };
    let named = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    named && !rest.starts_with(b"//") && !rest.starts_with(b"\\\\")
}

fn leads(lua: &Lua, next: &Request, shown: &HttpUrl, crossed: bool) -> mlua::Result<Table> {
    let stay = next.fields().iter().map(|(name, _)| lua.create_string(name)).collect::<mlua::Result<Vec<_>>>()?;
    let table = lua.create_table()?;
    table.raw_set("url", next.url.to_text())?;
    table.raw_set("shown", shown.to_text())?;
    table.raw_set("method", next.method.as_str())?;
    table.raw_set("body", next.payload.is_some())?;
    table.raw_set("crossed", crossed)?;
    table.raw_set("names", stay)?;
    Ok(table)
}

fn parse(url: &LuaString, index: usize) -> Answer<HttpUrl> {
    match std::str::from_utf8(&url.as_bytes()) {
        Ok(text) => HttpUrl::parse(text).or_else(|why| argument(index, why)),
        Err(_) => argument(index, "URL is not valid UTF-8"),
    }
}

fn clocked(value: &AnyUserData) -> Answer<Deadline> {
    match value.borrow::<Clock>() {
        Ok(clock) => Ok(clock.0.clone()),
        Err(_) => argument(0, "not a clock"),
    }
}
