//! HTTP for Lua: clients as values of the front, and the start of calls.
//!
//! Lua drives a call in steps: functions that produce bodies, and scripts that read streams, are called by Lua, never
//! from here.

use super::{
    answer::{Answer, argument, found},
    bodies::source,
    boxed::{self, Boxed, Class},
    capability::{Capability, Ends, strings},
    cookies, define, held, json,
    options::Options,
    plain,
    request_options::{RequestOptions, options},
    responses::{self, Call, peek, whole},
};
use crate::{
    allocation,
    client::{
        self, Fetch, Step,
        pool::{Limits, Pool},
        stream::Stream,
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
use mlua::{AnyUserData, BorrowedBytes, Lua, LuaString, Table, Value};
use std::{
    cell::{Cell, RefCell},
    ffi::CStr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// Names and values, as the caller gave them; without a value what the client does not add by itself.
type Headers = Rc<[(Box<[u8]>, Option<Box<[u8]>>)]>;

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
    /// The options of the request before that had a timeout of its own.
    timed: RefCell<Option<Arc<client::Options>>>,
    closed: Cell<bool>,
}

/// What a plain request says of its own.
pub(super) struct Own<'a> {
    /// Of headers, with the values of the first of them.
    pub names: &'a [&'a [u8]],
    pub values: &'a [&'a [u8]],
    /// `Some(None)` is for ever.
    pub timeout: Option<Option<Duration>>,
    pub body: Option<&'a [u8]>,
    pub content_type: Option<&'a [u8]>,
}

impl Client {
    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn net(&self) -> Net {
        self.net.borrow().clone()
    }

    pub(super) fn into_lua(self: Rc<Client>, lua: &Lua, classes: &Classes) -> Answer<Value> {
        boxed::wrap(lua, &classes.clients, self).map_err(Into::into)
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

    /// True for another origin than that of `base_url`. As after a redirect, nothing that says who the client is goes there:
    /// headers and certificate stay behind here, `auth` and `query` in the front, which has them.
    fn leaves(&self, url: &HttpUrl) -> bool {
        self.base.as_ref().is_some_and(|base| base.origin != *url.origin())
    }

    /// What every request begins with: a live capability, an open client, a URL (the first argument) and a method.
    fn begin(&self, op: &'static str, url: &[u8], method: &[u8]) -> Answer<(Net, HttpUrl, Method)> {
        let net = self.net();
        net.alive()?;
        check_block(op)?;
        if self.closed.get() {
            return Err(Error::new(Kind::Socket, "the client is closed").op(op).into());
        }
        Ok((net, self.parse(url)?, Method::parse(method).or_else(wrong)?))
    }

    /// A request whose body is a string, if it has one, and which asks for nothing but a timeout.
    pub(super) fn plain(&self, url: &[u8], method: &[u8], own: &Own<'_>) -> Answer<Box<Fetch>> {
        let (net, url, method) = self.begin("fetch", url, method)?;
        let source = match own.body {
            Some(body) => Some(Source::bytes(allocation::copied(body)?)),
            None => None,
        };
        let content_type = own.content_type.and_then(|kind| std::str::from_utf8(kind).ok());
        let payload = source.as_ref().map(|source| source.payload(content_type.map(str::to_owned)));
        let request = self.request(Request::new(method, url, payload), content_type, own.names, own.values)?;
        let mut options = match own.timeout {
            Some(timeout) => self.within(timeout),
            None => Arc::clone(&self.request_options.options),
        };
        if self.leaves(&request.url) {
            client::Options::forget_certificate(&mut options);
        }
        refuse_proxy_authorization(&request, &options)?;
        Ok(Fetch::new(&net, &self.pool, request, source, options))
    }

    /// The client's options with another timeout: a program asks for the same one again and again.
    fn within(&self, timeout: Option<Duration>) -> Arc<client::Options> {
        if let Some(options) = self.timed.borrow().as_ref().filter(|options| options.timeout == timeout) {
            return Arc::clone(options);
        }
        let options = Arc::new(client::Options { timeout, ..client::Options::clone(&self.request_options.options) });
        self.timed.replace(Some(Arc::clone(&options)));
        options
    }

    /// The request with the client's headers and its own in place of those of the same name. Names without a value are headers that the
    /// client does not add.
    fn request(
        &self,
        mut request: Request,
        content_type: Option<&str>,
        names: &[&[u8]],
        values: &[&[u8]],
    ) -> Answer<Request> {
        let (leaves, rules) = (self.leaves(&request.url), &self.request_options.options.redirects);
        let mut add = |name: &[u8], value: &[u8]| {
            let bounded = match content_type {
                Some(own) if name.eq_ignore_ascii_case(b"content-type") => multipart::bounded(value, own),
                _ => None,
            };
            request.field(name, bounded.as_deref().unwrap_or(value)).or_else(wrong)
        };
        let replaced = |name: &[u8]| names.iter().any(|own| own.eq_ignore_ascii_case(name));
        let stays = |name: &[u8], value: &Option<_>| leaves && value.is_some() && !redirect::follows(name, rules);
        let inherited = || self.headers.iter().filter(|(name, value)| !replaced(name) && !stays(name, value));
        for (name, value) in inherited() {
            if let Some(value) = value {
                add(name, value)?;
            }
        }
        for (name, value) in names.iter().zip(values) {
            add(name, value)?;
        }
        names.iter().skip(values.len()).for_each(|name| request.without(name));
        inherited().filter(|(_, value)| value.is_none()).for_each(|(name, _)| request.without(name));
        Ok(request)
    }

    /// A caller's URL.
    fn parse(&self, text: &[u8]) -> Answer<HttpUrl> {
        if let Some((_, url)) = self.last.borrow().as_ref().filter(|(last, _)| **last == *text) {
            return Ok(url.clone());
        }
        let Ok(message) = std::str::from_utf8(text) else { return argument(1, "URL is not valid UTF-8") };
        let joined = self.base.as_ref().map(|base| codec::join(&base.text, message)).transpose();
        let joined = joined.or_else(|why| argument(1, why.0))?;
        let url = HttpUrl::parse(joined.as_deref().unwrap_or(message)).or_else(|why| argument(1, why))?;
        // `//host/x` and `\\host\x` pass for paths, where URLs are made of names that others choose.
        if self.leaves(&url) && codec::is_relative(message) {
            return argument(
                1,
                format!("URL leaves the origin of base_url, for {}; give an absolute URL", url.origin()),
            );
        }
        self.last.replace(Some((text.into(), url.clone())));
        Ok(url)
    }
}

impl Boxed for Client {
    const NAME: &'static str = "HTTP client";
    const WORD: &'static CStr = c"HTTP client";
    const OPEN: bool = false;
}

impl Ends for Client {
    fn end(&self) {
        self.pool.close();
    }
}

/// The classes of what the front holds.
#[derive(Default)]
pub(super) struct Classes {
    clients: Class,
    pub calls: Class,
}

/// The longest body that `body_json` becomes: as long as one that comes back may be by default.
const MAX_BODY_JSON: usize = 256 << 20;

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<Rc<Classes>> {
    core.raw_set("null", Value::NULL)?;
    define(lua, core, "json_encode", |lua, (value, index): (Value, usize)| {
        lua.create_string(json::encode(lua, &value, index, "body_json", false, MAX_BODY_JSON)?).map_err(Into::into)
    })?;
    define(lua, core, "json_decode", |lua, text: LuaString| json::decode(lua, &text.as_bytes()))?;
    define(lua, core, "form_encode", |lua, (names, values): (Vec<LuaString>, Vec<LuaString>)| {
        let pairs: Vec<_> = names.iter().zip(&values).map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let form = form::encode(pairs.iter().map(|(name, value)| (&**name, &**value)))?;
        lua.create_string(form).map_err(Into::into)
    })?;
    let classes = Rc::new(Classes::default());
    boxed::class::<Client>(lua, &classes.clients, lua.create_table()?)?;
    boxed::class::<Call>(lua, &classes.calls, lua.create_table()?)?;
    clients(lua, core, &classes)?;
    core.raw_set("http_plain", plain::function(lua, &classes.calls)?)?;
    let of = Rc::clone(&classes);
    define(lua, core, "http_start", move |lua, given: Given| start(lua, given)?.into_lua(lua, &of.calls))?;
    let of = Rc::clone(&classes);
    // http_fetch(as http_start) -> call, status, body: a request that Lua has no part in, in one step
    define(lua, core, "http_fetch", move |lua, given: Given| fetch(lua, &of.calls, given))?;
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

/// See `http_fetch`.
fn fetch(lua: &Lua, calls: &Class, given: Given) -> Answer<(Value, u16, LuaString)> {
    let call = start(lua, given)?;
    let (status, body) = {
        let mut stream = call.stream()?;
        answered(&mut stream)?;
        let body = whole(lua, &mut stream)?;
        (stream.fetch.head().map_or(0, |head| head.status), body)
    };
    Ok((call.into_lua(lua, calls)?, status, body))
}

/// Does a request whose body Lua has no part in, up to the head of its response: the status.
pub(super) fn answered(stream: &mut Stream) -> Answer<u16> {
    match stream.fetch.step()? {
        Step::Head => Ok(stream.fetch.head().map_or(0, |head| head.status)),
        _ => argument(2, "this body comes in pieces"),
    }
}

fn clients(lua: &Lua, core: &Table, classes: &Rc<Classes>) -> mlua::Result<()> {
    let (made, jailed) = (Rc::clone(classes), Rc::clone(classes));
    // http_client(capability, { max_idle =, max_idle_per_origin =, idle_timeout =, base_url = }?, its requests' options?, names?, values?):
    // the last two are its requests' headers
    define(lua, core, "http_client", move |lua, given| open(lua, given)?.into_lua(lua, &made))?;
    // http_jail(client, hosts): a client for those hosts only, with a pool of its own and no files
    define(lua, core, "http_jail", move |lua, (of, hosts): (AnyUserData, Table)| {
        let of = owner(lua, &of)?;
        of.net.borrow().alive()?;
        let net = of.net.borrow().narrow(&parse_hosts(&hosts, "jail", 1)?).map_err(|e| e.op("jail"))?;
        client(
            &of.cap,
            net,
            Files::default(),
            Limits::default(),
            of.request_options.clone(),
            Rc::clone(&of.headers),
            of.base.clone(),
        )
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
    // http_leaves(client, url): is that another origin than the one of `base_url`?
    define(lua, core, "http_leaves", |lua, (of, url): (AnyUserData, LuaString)| {
        let of = owner(lua, &of)?;
        Ok(of.leaves(&of.parse(&url.as_bytes())?))
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
type Opening = (AnyUserData, Option<Table>, Option<Table>, Option<Vec<LuaString>>, Option<Vec<LuaString>>);

fn open(lua: &Lua, (cap, limits, request_options, names, values): Opening) -> Answer<Rc<Client>> {
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
    let bytes = |text: &LuaString| Box::from(&*text.as_bytes());
    let mut values = values.iter().flatten().map(bytes);
    let headers = names.iter().flatten().map(|name| (bytes(name), values.next())).collect();
    let base = match given.text("base_url")? {
        None => None,
        Some(base) => match HttpUrl::parse(&base) {
            Ok(url) => Some(Rc::new(Base { origin: url.origin().clone(), text: base })),
            Err(why) => return argument(1, format!("base_url: {why}")),
        },
    };
    Ok(client(&cap, cap.net.clone(), cap.files.clone(), limits, request_options, headers, base))
}

pub(super) fn client(
    cap: &Rc<Capability>,
    net: Net,
    files: Files,
    limits: Limits,
    mut request_options: RequestOptions,
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
        jar: SharedJar::default(),
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
    found(boxed::peek(lua, value), 0, || "not an HTTP client".into())
}

/// client, url, method, names, values, body, opts
pub(super) type Given =
    (AnyUserData, LuaString, LuaString, Option<Vec<LuaString>>, Option<Vec<LuaString>>, Option<Table>, Option<Table>);

/// A request that can begin.
pub(super) struct Prepared {
    pub cap: Rc<Capability>,
    pub net: Net,
    pub pool: Pool,
    pub request: Request,
    pub source: Option<Source>,
    pub request_options: RequestOptions,
}

/// http_start(client, url, method, names, values, body, opts) -> call; see [`prepare`].
fn start(lua: &Lua, given: Given) -> Answer<Rc<Call>> {
    let Prepared { cap, net, pool, request, source, request_options } = prepare(lua, "fetch", given)?;
    let streamed = request_options.streamed;
    let call = Call::new(Fetch::new(&net, &pool, request, source, request_options.open_ended()));
    if streamed {
        cap.opened(Rc::<Call>::downgrade(&call));
    }
    Ok(call)
}

/// `names` and `values` are the headers; `body` is `{ bytes =, type = }`, `{ path =, type = }`, `{ parts = }` or
/// `{ pump = true, length = }`; `opts` what else was given. Names without a value are headers that the client does not add.
/// Arguments that are wrong are the caller's first (URL) or second (everything else).
pub(super) fn prepare(lua: &Lua, op: &'static str, given: Given) -> Answer<Prepared> {
    let (of, url, method, names, values, body, opts) = given;
    let of = owner(lua, &of)?;
    let (net, url, method) = of.begin(op, &url.as_bytes(), &method.as_bytes())?;
    let (source, content_type) = match body {
        Some(body) => source(&Options::new(lua, Some(body), 2), &of.files)?,
        None => (None, None),
    };
    let payload = source.as_ref().map(|source| source.payload(content_type.clone()));
    let (names, values) = (names.unwrap_or_default(), values.unwrap_or_default());
    let (names, values) = (bytes_of(&names), bytes_of(&values));
    let (names, values): (Vec<&[u8]>, Vec<&[u8]>) =
        (names.iter().map(|b| &**b).collect(), values.iter().map(|b| &**b).collect());
    let request = of.request(Request::new(method, url, payload), content_type.as_deref(), &names, &values)?;
    let mut request_options = of.request_options.clone();
    if of.leaves(&request.url) {
        client::Options::forget_certificate(&mut request_options.options);
    }
    if let Some(opts) = opts {
        request_options = of.over(&Options::new(lua, Some(opts), 2), &request_options)?;
    }
    refuse_proxy_authorization(&request, &request_options.options)?;
    Ok(Prepared { cap: Rc::clone(&of.cap), net, pool: of.pool.clone(), request, source, request_options })
}

fn bytes_of(list: &[LuaString]) -> Vec<BorrowedBytes> {
    list.iter().map(LuaString::as_bytes).collect()
}

fn refuse_proxy_authorization(request: &Request, options: &client::Options) -> Answer<()> {
    if options.proxy.is_some() && request.fields().has("proxy-authorization") {
        return argument(2, "header Proxy-Authorization: give the credentials in the option `proxy`");
    }
    Ok(())
}

fn wrong<T>(why: Invalid) -> Answer<T> {
    argument(2, why)
}
