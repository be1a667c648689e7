//! HTTP for Lua: clients as values of the front, and the start of calls.
//!
//! Lua drives a call in steps: functions that produce bodies, and scripts that read streams, are called by Lua, never
//! from here.

use super::{
    answer::{Answer, argument, found},
    bodies::source,
    capability::{Capability, Ends, strings},
    cookies, define,
    headers::{self, Header},
    held, json,
    options::Options,
    request,
    request_options::{RequestOptions, options},
    responses::{self, Call, peek},
    socket::seconds,
    userdata::{self, Held},
};
use crate::{
    allocation,
    client::{
        self, Fetch, Step,
        pool::{Limits, Pool},
        upload::Source,
    },
    codec,
    deadline::check_block,
    error::{Error, Kind},
    files::Files,
    grants::Grants,
    http::{
        Invalid,
        auth::Logins,
        cookies::SharedJar,
        form, multipart, redirect,
        request::{Method, Request},
        url::{HttpUrl, Origin},
    },
    names::Lookup,
    net::Net,
};
use mlua::{AnyUserData, Lua, LuaString, Table, Value};
use std::{
    cell::{Cell, RefCell},
    ffi::CStr,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

type Headers = Rc<[Header<'static>]>;

/// A client's `base_url`. What the client says of itself is for its origin.
pub(super) struct Base {
    text: String,
    origin: Origin,
}

/// A client: a capability, maybe narrowed, and a pool of its own.
pub(super) struct Client {
    cap: Rc<Capability>,
    net: RefCell<Net>,
    /// A jail reads none.
    files: Files,
    pool: Pool,
    /// For `cookies = true`.
    jar: SharedJar,
    /// What a request asks for that has no options of its own.
    request_options: RequestOptions,
    /// The headers of its requests; a request's own of the same name take their place.
    headers: Headers,
    /// What the URLs of its requests are relative to.
    base: Option<Rc<Base>>,
    /// The URL that was asked for last, as the caller wrote it and as it was read: who asks again and again asks for the
    /// same one.
    last: RefCell<Option<(Box<[u8]>, HttpUrl)>>,
    /// The options of the request before that had a timeout of its own, behind those that they were made of.
    timed: RefCell<Option<(Arc<client::Options>, Arc<client::Options>)>>,
    closed: Cell<bool>,
}

/// What a request says of its own.
pub(super) struct Own<'a> {
    pub headers: Vec<Header<'a>>,
    pub source: Option<Source>,
    pub content_type: Option<String>,
    pub told: Told<'a>,
}

/// The options of a request.
pub(super) enum Told<'a> {
    Nothing,
    /// `None` is for ever.
    Timeout(Option<Duration>),
    Options(Options<'a>),
}

/// A request that can begin.
pub(super) struct Prepared {
    pub net: Net,
    pub request: Request,
    pub source: Option<Source>,
    pub request_options: RequestOptions,
}

impl Client {
    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn net(&self) -> Net {
        self.net.borrow().clone()
    }

    pub(super) fn into_lua(self: Rc<Client>, lua: &Lua, classes: &Classes) -> Answer<Value> {
        classes.clients.wrap(lua, 0, self).map_err(Into::into)
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What ends with the client's capability.
    pub(super) fn opened(&self, thing: Weak<dyn Ends>) {
        self.cap.opened(thing);
    }

    pub(super) fn names(&self) -> Option<&Lookup> {
        self.request_options.options.names.as_ref()
    }

    /// The client's defaults with these options over them.
    pub(super) fn request_options(&self, opts: &Options<'_>) -> Answer<RequestOptions> {
        self.over(opts, &self.request_options)
    }

    fn over(&self, opts: &Options<'_>, defaults: &RequestOptions) -> Answer<RequestOptions> {
        options(opts, &self.net.borrow(), &self.files, &self.jar, defaults)
    }

    /// True for another origin than that of `base_url`. As after a redirect, nothing goes there that says who the client is.
    fn leaves(&self, url: &HttpUrl) -> bool {
        self.base.as_ref().is_some_and(|base| base.origin != *url.origin())
    }

    /// The request: the client's URL, headers and options with its own over them. Arguments that are wrong are the caller's first (URL) or
    /// second (everything else).
    pub(super) fn prepare(&self, op: &'static str, url: &[u8], method: &[u8], own: Own<'_>) -> Answer<Prepared> {
        let net = self.net();
        net.alive()?;
        check_block(op)?;
        if self.closed.get() {
            return Err(Error::new(Kind::Closed, "the client is closed").op(op).into());
        }
        let (mut url, method) = (self.parse(url)?, Method::parse(method).or_else(wrong)?);
        let leaves = self.leaves(&url);
        let mut request_options = self.request_options.clone();
        if leaves {
            request_options.forget_identity();
        }
        match own.told {
            Told::Nothing => (),
            Told::Timeout(timeout) => request_options = self.within(request_options, timeout),
            Told::Options(opts) => request_options = self.over(&opts, &request_options)?,
        }
        if let Some(query) = request_options.query.as_deref() {
            url = url.with_pairs(query);
        }
        let Own { headers, source, content_type, .. } = own;
        let payload = source.as_ref().map(|source| source.payload(content_type.clone()));
        let request = Request::new(method, url, payload);
        let request = self.headers(request, leaves, content_type.as_deref(), &headers)?;
        if request_options.options.proxy.is_some() && request.fields().has("proxy-authorization") {
            return argument(2, "header Proxy-Authorization: give the credentials in the option `proxy`");
        }
        Ok(Prepared { net, request, source, request_options })
    }

    /// A call that has not begun; true if Lua has no part in it before its body is here.
    pub(super) fn call(&self, url: &[u8], method: &[u8], own: Own<'_>) -> Answer<(Rc<Call>, bool)> {
        let Prepared { net, request, source, request_options } = self.prepare("fetch", url, method, own)?;
        let (streamed, options) = (request_options.streamed, request_options.open_ended());
        let whole = !(streamed || options.paced || options.record || matches!(source, Some(Source::Caller(_))));
        let call = Call::new(Fetch::new(&net, &self.pool, request, source, options));
        if streamed {
            self.cap.opened(Rc::<Call>::downgrade(&call));
        }
        Ok((call, whole))
    }

    /// The options with another timeout: a program asks for the same one again and again.
    fn within(&self, base: RequestOptions, timeout: Option<Duration>) -> RequestOptions {
        let kept =
            self.timed.borrow().clone().filter(|(of, made)| Arc::ptr_eq(of, &base.options) && made.timeout == timeout);
        let options = match kept {
            Some((_, made)) => made,
            None => {
                let made = Arc::new(client::Options { timeout, ..client::Options::clone(&base.options) });
                self.timed.replace(Some((Arc::clone(&base.options), Arc::clone(&made))));
                made
            }
        };
        RequestOptions { options, timed: true, ..base }
    }

    /// The request with the client's headers and its own in place of those of the same name.
    fn headers(
        &self,
        mut request: Request,
        leaves: bool,
        content_type: Option<&str>,
        own: &[Header<'_>],
    ) -> Answer<Request> {
        let rules = &self.request_options.options.redirects;
        let replaced = |name: &[u8]| own.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let stays = |name: &[u8], value: &Option<_>| leaves && value.is_some() && !redirect::follows(name, rules);
        let inherited = self.headers.iter().filter(|(name, value)| !replaced(name) && !stays(name, value));
        for (name, value) in inherited.chain(own) {
            let Some(value) = value else {
                request.without(name);
                continue;
            };
            let bounded = match content_type {
                Some(own) if name.eq_ignore_ascii_case(b"content-type") => multipart::bounded(value, own),
                _ => None,
            };
            request.field(name, bounded.as_deref().unwrap_or(value)).or_else(wrong)?;
        }
        Ok(request)
    }

    /// A caller's URL.
    fn parse(&self, text: &[u8]) -> Answer<HttpUrl> {
        if let Some((_, url)) = self.last.borrow().as_ref().filter(|(last, _)| **last == *text) {
            return Ok(url.clone());
        }
        let Ok(given) = std::str::from_utf8(text) else { return argument(1, "URL is not valid UTF-8") };
        let joined = self.base.as_ref().map(|base| codec::join(&base.text, given)).transpose();
        let joined = joined.or_else(|why| argument(1, why.0))?;
        let url = HttpUrl::parse(joined.as_deref().unwrap_or(given)).or_else(|why| argument(1, why))?;
        // `//host/x` and `\\host\x` pass for paths, where URLs are made of names that others choose.
        if self.leaves(&url) && codec::is_relative(given) {
            return argument(
                1,
                format!("URL leads from the origin of base_url to {}; give an absolute URL", url.origin()),
            );
        }
        self.last.replace(Some((text.into(), url.clone())));
        Ok(url)
    }
}

impl Held for Client {
    const CLASSES: &'static [&'static CStr] = &[c"HTTP client"];
    const NAME: &'static str = "HTTP client";
    const OPEN: bool = false;
}

impl Ends for Client {
    fn end(&self) {
        self.pool.close();
    }
}

/// The classes of what the front holds.
pub(super) struct Classes {
    pub clients: userdata::Classes<Client>,
    pub calls: userdata::Classes<Call>,
}

/// The longest body that `body_json` becomes: as long as one that comes back may be by default.
const MAX_BODY_JSON: usize = 256 << 20;

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<Rc<Classes>> {
    core.raw_set("null", Value::NULL)?;
    define(lua, core, "json_encode", |lua, (value, index): (Value, usize)| {
        lua.create_string(json::encode(&value, index, "body_json", false, MAX_BODY_JSON)?).map_err(Into::into)
    })?;
    define(lua, core, "json_decode", |lua, text: LuaString| json::decode(lua, &text.as_bytes()))?;
    define(lua, core, "form_encode", |lua, (names, values): (Vec<LuaString>, Vec<LuaString>)| {
        let pairs: Vec<_> = names.iter().zip(&values).map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let form = form::encode(pairs.iter().map(|(name, value)| (&**name, &**value)))?;
        lua.create_string(form).map_err(Into::into)
    })?;
    let classes = Rc::new(Classes { clients: userdata::Classes::new(lua)?, calls: userdata::Classes::new(lua)? });
    classes.clients.around(lua, lua.create_table()?)?;
    classes.calls.around(lua, lua.create_table()?)?;
    clients(lua, core, &classes)?;
    core.raw_set("http_request", request::made(lua, &classes)?)?;
    // http_step(call) -> true for the head, false where a piece of body is asked for, "sent" after one (`paced`)
    define(lua, core, "http_step", |lua, call: AnyUserData| match peek(lua, &call)?.stream()?.fetch.step()? {
        Step::Head => Ok(Value::Boolean(true)),
        Step::Piece => Ok(Value::Boolean(false)),
        Step::Sent => lua.create_string("sent").map(Value::String).map_err(Into::into),
    })?;
    define(lua, core, "http_supply", |lua, (call, piece): (AnyUserData, LuaString)| {
        peek(lua, &call)?.stream()?.fetch.supply(&piece.as_bytes())?;
        Ok(true)
    })?;
    responses::register(lua, core)?;
    Ok(classes)
}

fn clients(lua: &Lua, core: &Table, classes: &Rc<Classes>) -> mlua::Result<()> {
    let (made, jailed) = (Rc::clone(classes), Rc::clone(classes));
    // http_client(capability, { max_idle =, max_idle_per_origin =, idle_timeout =, base_url = }?, its requests' options?, their headers?)
    define(lua, core, "http_client", move |lua, given| open(lua, given)?.into_lua(lua, &made))?;
    // http_jail(client, hosts): a client for those hosts only, with a pool of its own and no files
    define(lua, core, "http_jail", move |lua, (of, hosts): (AnyUserData, Table)| {
        let of = owner(lua, &of)?;
        of.net.borrow().alive()?;
        let net = of.net.borrow().narrow(&parse_hosts(&hosts, "jail", 1)?).map_err(|e| e.op("jail"))?;
        let (mut request_options, jar) = (of.request_options.clone(), SharedJar::default());
        let options = Arc::make_mut(&mut request_options.options);
        options.record = false;
        if options.cookies.as_ref().is_some_and(|cookies| cookies.is(&of.jar)) {
            options.cookies = Some(jar.clone());
        }
        let (limits, headers) = (Limits::default(), Rc::clone(&of.headers));
        client(&of.cap, net, Files::default(), limits, request_options, jar, headers, of.base.clone())
            .into_lua(lua, &jailed)
    })?;
    // http_allow(client, hosts?): from now on only those hosts; nil for all that the capability has
    define(lua, core, "http_allow", |lua, (of, hosts): (AnyUserData, Option<Table>)| {
        let of = owner(lua, &of)?;
        let net = match hosts {
            Some(hosts) => of.cap.net.narrow(&parse_hosts(&hosts, "allow", 0)?).map_err(|e| e.op("allow"))?,
            None => of.cap.net.clone(),
        };
        of.net.replace(net);
        Ok(true)
    })?;
    // http_jar(client) -> the jar for `cookies = true`
    define(lua, core, "http_jar", |lua, of: AnyUserData| Ok(cookies::HeldJar(owner(lua, &of)?.jar.clone())))?;
    define(lua, core, "http_close", |lua, of: AnyUserData| {
        let of = owner(lua, &of)?;
        of.closed.set(true);
        of.pool.close();
        Ok(true)
    })
}

/// See `http_client`.
type Opening = (AnyUserData, Option<Table>, Option<Table>, Option<Table>);

fn open(lua: &Lua, (cap, limits, request_options, headers): Opening) -> Answer<Rc<Client>> {
    let cap = held(&cap)?;
    let (given, default) = (Options::new(lua, limits, 1), Limits::default());
    let limits = Limits {
        per_origin: given.find::<f64>("max_idle_per_origin")?.map_or(default.per_origin, |n| n as usize),
        idle: given.find::<f64>("max_idle")?.map_or(default.idle, |n| n as usize),
        lifetime: given.seconds("idle_timeout")?.map_or(default.lifetime, |time| time.unwrap_or(Duration::MAX)),
    };
    let jar = SharedJar::default();
    let request_options =
        options(&Options::new(lua, request_options, 1), &cap.net, &cap.files, &jar, &RequestOptions::default())?;
    let headers = headers::of(lua, headers.as_ref())?.into();
    let base = match given.text("base_url")? {
        None => None,
        Some(base) => match HttpUrl::parse(&base) {
            Ok(url) => Some(Rc::new(Base { origin: url.origin().clone(), text: base })),
            Err(why) => return argument(1, format!("base_url: {why}")),
        },
    };
    Ok(client(&cap, cap.net.clone(), cap.files.clone(), limits, request_options, jar, headers, base))
}

#[allow(clippy::too_many_arguments, reason = "what a client is made of")]
pub(super) fn client(
    cap: &Rc<Capability>,
    net: Net,
    files: Files,
    limits: Limits,
    mut request_options: RequestOptions,
    jar: SharedJar,
    headers: Headers,
    base: Option<Rc<Base>>,
) -> Rc<Client> {
    // What one client has learnt of servers' challenges is not for another.
    Arc::make_mut(&mut request_options.options).logins = Logins::default();
    let client = Rc::new(Client {
        cap: Rc::clone(cap),
        net: RefCell::new(net),
        files,
        pool: Pool::with(limits),
        jar,
        request_options,
        headers,
        base,
        last: RefCell::default(),
        timed: RefCell::default(),
        closed: Cell::new(false),
    });
    cap.opened(Rc::<Client>::downgrade(&client));
    client
}

fn parse_hosts(list: &Table, name: &str, index: usize) -> Answer<Grants> {
    let hosts = strings(list, name, index)?;
    Grants::hosts(&hosts).or_else(|why| argument(index, format!("{name}: {why}")))
}

pub(super) fn owner(lua: &Lua, value: &AnyUserData) -> Answer<Rc<Client>> {
    found(userdata::peek(lua, value), 0, || "not an HTTP client".into())
}

/// client, url, method, headers, opts, body, type
pub(super) type Given = (AnyUserData, LuaString, LuaString, Option<Table>, Value, Value, Option<String>);

/// What the front gives, as a client takes it: `headers` as [`headers`] says; `opts` a timeout or a table; `body` a string, `{ path = }`,
/// `{ parts = }` or `{ pump = true, length = }`; `content_type` the body's.
pub(super) fn own<'a>(
    lua: &'a Lua,
    of: &Client,
    headers: Option<&Table>,
    opts: Value,
    body: Value,
    content_type: Option<String>,
) -> Answer<Own<'a>> {
    let told = match opts {
        Value::Table(opts) => Told::Options(Options::new(lua, Some(opts), 2)),
        other => other.as_f64().and_then(seconds).map_or(Told::Nothing, Told::Timeout),
    };
    let (source, content_type) = match body {
        Value::Table(body) => source(&Options::new(lua, Some(body), 2), &of.files, content_type)?,
        Value::String(bytes) => (Some(Source::bytes(allocation::copied(&bytes.as_bytes())?)), content_type),
        _ => (None, None),
    };
    Ok(Own { headers: headers::of(lua, headers)?, source, content_type, told })
}

/// See [`own`] and [`Client::prepare`].
pub(super) fn prepare(lua: &Lua, op: &'static str, given: Given) -> Answer<(Rc<Client>, Prepared)> {
    let (of, url, method, headers, opts, body, content_type) = given;
    let of = owner(lua, &of)?;
    let own = own(lua, &of, headers.as_ref(), opts, body, content_type)?;
    let prepared = of.prepare(op, &url.as_bytes(), &method.as_bytes(), own)?;
    Ok((of, prepared))
}

fn wrong<T>(why: Invalid) -> Answer<T> {
    argument(2, why)
}
