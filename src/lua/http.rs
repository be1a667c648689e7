//! HTTP for Lua: clients and calls as values of the front's, requests from plain tables, responses to plain tables.
//!
//! A call goes in steps, and Lua drives them: bodies that a function makes and streams that a script reads are
//! callbacks of Lua by Lua, never through here.

use super::{
    answer::{Answer, argument, three},
    capability::{Capability, Ends, Files, strings},
    cookies, define, held, json,
    long::{self, Maker},
    options::Options,
    sockets::cert_table,
};
use crate::{
    address::{Endpoint, Host},
    error::{Error, Kind},
    grants::Grants,
    http::{
        Invalid,
        auth::{Credentials, Logins, Schemes},
        client,
        client::{Fetch, Step},
        cookies::SharedJar,
        fields::Fields,
        form, multipart,
        pool::{Limits, Pool},
        proxy::Proxy,
        request::{Method, Request},
        response::Head,
        retry::Retry,
        stream::Stream,
        upload::{Part, Source},
        url::HttpUrl,
    },
    names::Lookup,
    net::Net,
    pages, panics,
};
use mlua::{AnyUserData, IntoLua, Lua, LuaString, Table, UserData, Value};
use std::{
    cell::{Cell, RefCell, RefMut},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// A client: a capability, maybe narrowed, and a pool of its own.
pub(super) struct Client {
    cap: Rc<Capability>,
    net: RefCell<Net>,
    /// A jail reads none.
    files: Files,
    pool: Pool,
    /// For `cookies = true`.
    jar: SharedJar,
    /// What a request wishes that says nothing of its own.
    wishes: Wishes,
    /// The URL that was asked for last, as the caller wrote it and as it was read: who asks again and again asks for the
    /// same one.
    last: RefCell<Option<(Box<[u8]>, HttpUrl)>>,
    closed: Cell<bool>,
}

impl Client {
    pub(super) fn net(&self) -> Net {
        self.net.borrow().clone()
    }

    pub(super) fn names(&self) -> Option<&Lookup> {
        self.wishes.options.names.as_ref()
    }

    /// The client's defaults with these options over them.
    pub(super) fn wishes(&self, opts: &Options<'_>) -> Answer<Wishes> {
        options(opts, &self.net.borrow(), &self.files, &self.jar, &self.wishes)
    }

    /// A caller's URL, the first argument.
    fn parse(&self, text: &[u8]) -> Answer<HttpUrl> {
        if let Some((_, url)) = self.last.borrow().as_ref().filter(|(last, _)| **last == *text) {
            return Ok(url.clone());
        }
        let Ok(words) = std::str::from_utf8(text) else { return argument(1, "URL is not valid UTF-8") };
        let url = HttpUrl::parse(words).or_else(|why| argument(1, why))?;
        self.last.replace(Some((text.into(), url.clone())));
        Ok(url)
    }
}

pub(super) struct HeldClient(Rc<Client>);

impl UserData for HeldClient {}

impl Ends for Client {
    fn end(&self) {
        self.pool.close();
    }
}

/// A request under way, or a response.
pub(super) struct Call(RefCell<Stream>);

pub(super) struct HeldCall(Rc<Call>);

impl UserData for HeldCall {}

impl HeldCall {
    pub(super) fn new(fetch: Fetch) -> HeldCall {
        HeldCall(Rc::new(Call(RefCell::new(Stream::new(fetch)))))
    }
}

impl Ends for Call {
    fn end(&self) {
        if let Ok(mut stream) = self.0.try_borrow_mut() {
            stream.fetch.close();
        }
    }
}

impl Call {
    pub(super) fn stream(&self) -> Answer<RefMut<'_, Stream>> {
        match self.0.try_borrow_mut() {
            Ok(stream) => Ok(stream),
            Err(_) => Err(Error::new(Kind::Socket, "the response is in use by another call").into()),
        }
    }
}

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    core.raw_set("null", Value::NULL)?;
    define(lua, core, "set_array_metatable", |lua, metatable: Table| {
        super::capability::unsealed(lua)?;
        Ok(json::set_array_metatable(lua, metatable).is_ok())
    })?;
    define(lua, core, "json_encode", |lua, (value, index): (Value, usize)| {
        lua.create_string(json::encode(lua, &value, index)?).or_else(|e| argument(0, e))
    })?;
    define(lua, core, "json_decode", |lua, text: LuaString| json::decode(lua, &text.as_bytes()))?;
    define(lua, core, "form_encode", |lua, (names, values): (Vec<LuaString>, Vec<LuaString>)| {
        let pairs: Vec<_> = names.iter().zip(&values).map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let form = form::encode(pairs.iter().map(|(name, value)| (&**name, &**value)))?;
        lua.create_string(form).or_else(|e| argument(0, e))
    })?;
    clients(lua, core)?;
    define(lua, core, "http_start", start)?;
    // http_fetch(as http_start) -> call, status, body: a request that Lua has no part in, in one step
    core.raw_set(
        "http_fetch",
        lua.create_function(|lua, given: Given| {
            let answer = panics::caught(|| Ok(fetch(lua, given)));
            three(lua, answer.unwrap_or_else(|panic| Err(panic.into())))
        })?,
    )?;
    // http_step(call) -> true for the head, false where a piece of body is asked for, "sent" after one (`paced`)
    define(lua, core, "http_step", |lua, call: AnyUserData| match peek(&call)?.stream()?.fetch.step()? {
        Step::Head => Ok(Value::Boolean(true)),
        Step::Piece => Ok(Value::Boolean(false)),
        Step::Sent => lua.create_string("sent").map(Value::String).or_else(|e| argument(0, e)),
    })?;
    define(lua, core, "http_supply", |_, (call, piece): (AnyUserData, LuaString)| {
        peek(&call)?.stream()?.fetch.supply(&piece.as_bytes())?;
        Ok(true)
    })?;
    responses(lua, core)
}

/// See `http_fetch`.
fn fetch(lua: &Lua, given: Given) -> Answer<(HeldCall, u16, LuaString)> {
    let call = start(lua, given)?;
    let (status, body) = {
        let mut stream = call.0.stream()?;
        if stream.fetch.step()? != Step::Head {
            return argument(2, "this body comes in pieces");
        }
        (stream.fetch.head().map_or(0, |head| head.status), rest(lua, &mut stream)?)
    };
    Ok((call, status, body))
}

/// All that is left of a body. A large one is read to where Lua keeps it.
fn rest(lua: &Lua, stream: &mut Stream) -> Answer<LuaString> {
    /// Memory is touched piece by piece, so that it is still in the cache when it is read over.
    const PIECE: usize = 256 * 1024;
    let length = stream.left().unwrap_or_default();
    let maker = if length < long::WORTH { None } else { Maker::new(lua) };
    let Some(maker) = maker else { return copied(lua, stream) };
    // Announcing costs a server nothing: it gets room for no more than 512 times what it has sent.
    let (mut filled, _) = stream.ahead(PIECE.max(length / 512))?;
    let Some(mut place) = maker.room(length) else { return copied(lua, stream) };
    place.window(0, filled).copy_from_slice(&stream.exact(filled)?);
    while filled < length {
        match stream.fetch.read(place.window(filled, PIECE))? {
            0 => return Err(Error::new(Kind::Protocol, "the body is shorter than announced").op("fetch").into()),
            count => filled += count,
        }
    }
    place.finish().ok_or_else(|| Error::new(Kind::TooLarge, "no memory for the body").op("fetch").into())
}

fn copied(lua: &Lua, stream: &mut Stream) -> Answer<LuaString> {
    lua.create_string(stream.rest()?).or_else(|e| argument(0, e))
}

fn clients(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // http_client(capability, { max_idle =, max_idle_per_origin =, idle_timeout = }?, its requests' options?)
    define(lua, core, "http_client", |lua, (cap, limits, wishes): (AnyUserData, Option<Table>, Option<Table>)| {
        let cap = held(&cap)?;
        let (given, default) = (Options::new(lua, limits, 1), Limits::default());
        let limits = Limits {
            per_origin: given.find::<f64>("max_idle_per_origin")?.map_or(default.per_origin, |n| n as usize),
            idle: given.find::<f64>("max_idle")?.map_or(default.idle, |n| n as usize),
            lifetime: given.seconds("idle_timeout")?.map_or(default.lifetime, |time| time.unwrap_or(Duration::MAX)),
        };
        let jar = SharedJar::default();
        let wishes = options(&Options::new(lua, wishes, 1), &cap.net, &cap.files, &jar, &Wishes::default())?;
        Ok(client(&cap, cap.net.clone(), cap.files.clone(), limits, wishes))
    })?;
    // http_jail(client, hosts): a client for those hosts only, with a pool of its own and no files
    define(lua, core, "http_jail", |_, (of, hosts): (AnyUserData, Table)| {
        let of = owner(&of)?;
        of.net.borrow().alive()?;
        let net = of.net.borrow().narrow(&parse_hosts(&hosts, "jail", 1)?);
        Ok(client(&of.cap, net, Files::No, Limits::default(), of.wishes.clone()))
    })?;
    // http_allow(client, hosts?): from now on only those hosts; nil for all that the capability has
    define(lua, core, "http_allow", |_, (of, hosts): (AnyUserData, Option<Table>)| {
        let of = owner(&of)?;
        let net = match hosts {
            Some(hosts) => of.cap.net.narrow(&parse_hosts(&hosts, "allow", 0)?),
            None => of.cap.net.clone(),
        };
        of.net.replace(net);
        Ok(true)
    })?;
    // http_jar(client) -> the jar for `cookies = true`
    define(lua, core, "http_jar", |_, of: AnyUserData| Ok(cookies::HeldJar(owner(&of)?.jar.clone())))?;
    define(lua, core, "http_close", |_, of: AnyUserData| {
        let of = owner(&of)?;
        of.closed.set(true);
        of.pool.close();
        Ok(true)
    })
}

pub(super) fn client(cap: &Rc<Capability>, net: Net, files: Files, limits: Limits, mut wishes: Wishes) -> HeldClient {
    // What one client has learnt of servers' challenges is not for another.
    Arc::make_mut(&mut wishes.options).logins = Logins::default();
    let client = Rc::new(Client {
        cap: Rc::clone(cap),
        net: RefCell::new(net),
        files,
        pool: Pool::with(limits),
        jar: SharedJar::default(),
        wishes,
        last: RefCell::default(),
        closed: Cell::new(false),
    });
    cap.opened(Rc::<Client>::downgrade(&client));
    HeldClient(client)
}

fn parse_hosts(list: &Table, name: &str, index: usize) -> Answer<Grants> {
    let hosts = strings(list, name, index)?;
    Grants::hosts(&hosts).or_else(|why| argument(index, format!("{name}: {why}")))
}

pub(super) fn owner(value: &AnyUserData) -> Answer<Rc<Client>> {
    match value.borrow::<HeldClient>() {
        Ok(client) => Ok(Rc::clone(&client.0)),
        Err(_) => argument(0, "not an HTTP client"),
    }
}

pub(super) fn peek(value: &AnyUserData) -> Answer<Rc<Call>> {
    match value.borrow::<HeldCall>() {
        Ok(call) => Ok(Rc::clone(&call.0)),
        Err(_) => argument(0, "not an HTTP call"),
    }
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
    pub options: Arc<client::Options>,
    /// The response's body is read in pieces.
    pub streamed: bool,
}

/// http_start(client, url, method, names, values, body, opts) -> call; see [`prepare`].
fn start(lua: &Lua, given: Given) -> Answer<HeldCall> {
    let Prepared { cap, net, pool, request, source, options, streamed } = prepare(lua, "fetch", given)?;
    let call = HeldCall::new(Fetch::new(&net, &pool, request, source, options));
    if streamed {
        cap.opened(Rc::<Call>::downgrade(&call.0));
    }
    Ok(call)
}

/// `names` and `values` are the headers; `body` is `{ bytes =, type = }`, `{ path =, type = }`, `{ parts = }` or
/// `{ pump = true, length = }`; `opts` what else was given. Arguments that are wrong are the caller's first (URL) or
/// second (everything else).
pub(super) fn prepare(lua: &Lua, op: &'static str, given: Given) -> Answer<Prepared> {
    let (of, url, method, names, values, body, opts) = given;
    let of = owner(&of)?;
    let net = of.net.borrow().clone();
    net.alive()?;
    if of.closed.get() {
        return Err(Error::new(Kind::Socket, "the client is closed").op(op).into());
    }
    let url = of.parse(&url.as_bytes())?;
    let method = Method::parse(&method.as_bytes()).or_else(wrong)?;
    let (source, content_type) = match body {
        Some(body) => source(&Options::new(lua, Some(body), 2), &of.files)?,
        None => (None, None),
    };
    let payload = source.as_ref().map(|source| source.payload(content_type));
    let mut request = Request::new(method, url, payload);
    for (name, value) in names.iter().flatten().zip(values.iter().flatten()) {
        request.field(&name.as_bytes(), &value.as_bytes()).or_else(wrong)?;
    }
    let Wishes { options, streamed } = match opts {
        Some(opts) => of.wishes(&Options::new(lua, Some(opts), 2))?,
        None => of.wishes.clone(),
    };
    if options.proxy.is_some() && request.fields().has("proxy-authorization") {
        return argument(2, "header Proxy-Authorization: give the credentials in the URL of the option `proxy`");
    }
    Ok(Prepared { cap: Rc::clone(&of.cap), net, pool: of.pool.clone(), request, source, options, streamed })
}

fn wrong<T>(why: Invalid) -> Answer<T> {
    argument(2, why)
}

/// What requests wish: a client's defaults, or those with one request's own options over them.
#[derive(Clone, Default)]
pub(super) struct Wishes {
    pub options: Arc<client::Options>,
    /// The response's body is read in pieces.
    streamed: bool,
}

/// `base` with what the front has gathered over it. Who the client is (`cookies`, `auth`) is told with each request.
fn options(opts: &Options<'_>, net: &Net, files: &Files, jar: &SharedJar, base: &Wishes) -> Answer<Wishes> {
    let mut wishes = base.clone();
    let options = Arc::make_mut(&mut wishes.options);
    let mut trust = false;
    for name in opts.names()? {
        match &*name.as_bytes() {
            b"timeout" => options.timeout = opts.timeout()?,
            b"connect_timeout" => options.connect_timeout = opts.seconds("connect_timeout")?.flatten(),
            b"read_timeout" => options.read_timeout = opts.seconds("read_timeout")?.flatten(),
            b"follow_redirects" => options.follow_redirects = opts.flag("follow_redirects", true)?,
            b"max_redirects" => options.max_redirects = opts.find::<f64>("max_redirects")?.unwrap_or_default() as usize,
            b"allow_downgrade" => options.redirects.allow_downgrade = opts.flag("allow_downgrade", false)?,
            b"forward_headers" => options.redirects.forward_headers = opts.list("forward_headers")?,
            b"verify" | b"ca_bundle" | b"client_cert" | b"client_key" | b"pins" => trust = true,
            b"max_body_bytes" => {
                options.max_body_bytes = opts.find::<f64>("max_body_bytes")?.unwrap_or_default() as u64
            }
            b"resolve" => options.resolve = resolve(opts)?,
            b"unix" => options.unix = opts.text("unix")?,
            b"proxy" => options.proxy = proxy(opts)?,
            b"retry" => options.retry = retry(opts)?,
            b"paced" => options.paced = opts.flag("paced", false)?,
            b"record" => options.record = opts.flag("record", false)?,
            b"decompress" => options.decompress = opts.flag("decompress", true)?,
            b"cookies" => options.cookies = chosen(opts, jar)?,
            b"auth" => options.auth = auth(opts)?,
            b"stream" => wishes.streamed = opts.flag("stream", false)?,
            // Of whoever called: an event stream has some of its own.
            _ => (),
        }
    }
    if options.proxy.is_some() && options.unix.is_some() {
        return argument(opts.index, "proxy and unix exclude each other");
    }
    if trust {
        options.tls = opts.trust(files, &options.tls)?.into();
        // A wrong certificate or key is found now, whatever the URL; a right one is built once.
        net.shared_tls(&options.tls).or_else(|why| argument(opts.index, &why.fields().message))?;
    }
    Ok(wishes)
}

/// `cookies = true`, for the client's own jar, or a jar.
fn chosen(opts: &Options<'_>, own: &SharedJar) -> Answer<Option<SharedJar>> {
    match opts.find::<Value>("cookies")? {
        None | Some(Value::Boolean(false)) => Ok(None),
        Some(Value::UserData(jar)) => cookies::held(&jar).map(Some),
        Some(_) => Ok(Some(own.clone())),
    }
}

/// `auth = { user =, password =, scheme = }` or `{ bearer = }`.
fn auth(opts: &Options<'_>) -> Answer<Option<Credentials>> {
    let Some(table) = opts.find::<Table>("auth")? else { return Ok(None) };
    let given = opts.of(table);
    let bytes = |name| Answer::Ok(given.find::<LuaString>(name)?.map(|text| text.as_bytes().to_vec()));
    let made = match bytes("bearer")? {
        Some(token) => Credentials::bearer(&token),
        None => {
            let schemes = match given.text("scheme")?.as_deref() {
                Some("basic") => Schemes::Basic,
                Some("digest") => Schemes::Digest,
                _ => Schemes::Any,
            };
            Credentials::user(&bytes("user")?.unwrap_or_default(), &bytes("password")?.unwrap_or_default(), schemes)
        }
    };
    made.map(Some).or_else(|why| argument(opts.index, why))
}

/// `retry = 3`, or `{ attempts =, backoff =, statuses = { … }, max_wait = }`.
fn retry(opts: &Options<'_>) -> Answer<Option<Retry>> {
    let number = |n: f64| n.clamp(0.0, f64::from(u32::MAX)) as u32;
    match opts.find::<Value>("retry")? {
        None | Some(Value::Boolean(false)) => Ok(None),
        Some(Value::Boolean(true)) => Ok(Some(Retry::default())),
        Some(Value::Table(table)) => {
            let given = opts.of(table);
            let default = Retry::default();
            let wait =
                |name, default| Answer::Ok(given.seconds(name)?.map_or(default, |time| time.unwrap_or(Duration::MAX)));
            let statuses = given.find::<Vec<f64>>("statuses")?.map(|list| list.iter().map(|n| *n as u16).collect());
            Ok(Some(Retry {
                attempts: given.find::<f64>("attempts")?.map_or(default.attempts, number),
                backoff: wait("backoff", default.backoff)?,
                statuses: statuses.unwrap_or(default.statuses),
                max_wait: wait("max_wait", default.max_wait)?,
            }))
        }
        Some(_) => Ok(Some(Retry { attempts: number(opts.find("retry")?.unwrap_or_default()), ..Retry::default() })),
    }
}

/// `proxy = "SCHEME://[USER:PASSWORD@]HOST[:PORT]"`.
pub fn proxy(opts: &Options<'_>) -> Answer<Option<Proxy>> {
    let Some(url) = opts.text("proxy")? else { return Ok(None) };
    if opts.find::<Value>("unix")?.is_some() {
        return argument(opts.index, "proxy and unix exclude each other");
    }
    Proxy::parse(&url).map(Some).or_else(|why| argument(opts.index, why))
}

/// `resolve = { ["host:port"] = ip }`.
pub fn resolve(opts: &Options<'_>) -> Answer<Vec<(Endpoint, std::net::IpAddr)>> {
    let Some(table) = opts.find::<Table>("resolve")? else { return Ok(Vec::new()) };
    let mut list = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let Ok((Value::String(at), Value::String(ip))) = pair else {
            return argument(opts.index, "resolve must be a table from \"host:port\" to an address");
        };
        let (at, ip) = (at.to_string_lossy(), ip.to_string_lossy());
        let endpoint = Endpoint::parse(&at).or_else(|why| argument(opts.index, format!("resolve: {at}: {why}")))?;
        match Host::parse(&ip).ok().and_then(|host| host.ip()) {
            Some(ip) => list.push((endpoint, ip)),
            None => return argument(opts.index, format!("resolve: {ip} is not an IP address")),
        }
    }
    Ok(list)
}

/// Where the body comes from, and its content type.
fn source(body: &Options<'_>, files: &Files) -> Answer<(Option<Source>, Option<String>)> {
    let content_type = body.text("type")?;
    if let Some(parts) = body.find::<Vec<Table>>("parts")? {
        let (source, kind) = multipart(body, &parts, files)?;
        return Ok((Some(source), Some(kind)));
    }
    if body.flag("pump", false)? {
        return Ok((Some(Source::Caller(body.find::<f64>("length")?.map(|n| n as u64))), content_type));
    }
    let part = part(body, "body_file", files)?;
    Ok((Some(Source::Parts(vec![part])), content_type))
}

/// `bytes`, or the file at `path`.
fn part(of: &Options<'_>, name: &str, files: &Files) -> Answer<Part> {
    if let Some(bytes) = of.find::<LuaString>("bytes")? {
        return Ok(Part::Bytes(Arc::new(pages::copied(&bytes.as_bytes())?)));
    }
    let Some(path) = of.text("path")? else {
        return argument(of.index, format!("{name} has neither bytes nor a path"));
    };
    let file = files.open(&path).or_else(|why| argument(of.index, format!("{name}: {why}")))?;
    Part::rest_of(file).or_else(|e| argument(of.index, format!("{name}: {path}: {e}")))
}

fn multipart(of: &Options<'_>, parts: &[Table], files: &Files) -> Answer<(Source, String)> {
    let mut random = [0; 16];
    if let Err(e) = getrandom::fill(&mut random) {
        return Err(Error::new(Kind::Socket, format!("no random bytes: {e}")).into());
    }
    let boundary = multipart::boundary(random);
    let mut all = Vec::new();
    for (at, table) in parts.iter().enumerate() {
        let name = format!("body_multipart[{}]", at + 1);
        let given = of.of(table.clone());
        let head = multipart::Part {
            name: given.find::<LuaString>("name")?.map(|name| name.as_bytes().to_vec()).unwrap_or_default(),
            filename: given.find::<LuaString>("filename")?.map(|name| name.as_bytes().to_vec()),
            content_type: given.text("type")?,
        };
        let before = multipart::before(&head, &boundary, at == 0);
        all.push(Part::Bytes(Arc::new(before.or_else(|why| argument(of.index, format!("{name}: {why}")))?)));
        all.push(part(&given, &name, files)?);
    }
    all.push(Part::Bytes(Arc::new(multipart::after(&boundary, parts.is_empty()))));
    Ok((Source::Parts(all), multipart::content_type(&boundary)))
}

fn responses(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // http_head(call) -> status, reason, version
    define(lua, core, "http_head", |lua, call: AnyUserData| head(lua, &*peek(&call)?.stream()?))?;
    // http_fields(call, "headers" | "trailers" | "raw_headers")
    define(lua, core, "http_fields", |lua, (call, what): (AnyUserData, String)| {
        let call = peek(&call)?;
        let stream = call.stream()?;
        let empty = Fields::new();
        let head = stream.fetch.head().map_or(&empty, |head| &head.fields);
        let made = match &*what {
            "raw_headers" => raw_fields(lua, head),
            "trailers" => fields(lua, stream.fetch.trailers()),
            _ => fields(lua, head),
        };
        made.or_else(|e| argument(0, e))
    })?;
    // http_read(call, "piece" | "exact" | "line" | "rest", count) -> bytes, or nil at the end
    define(lua, core, "http_read", |lua, (call, how, count): (AnyUserData, String, Option<f64>)| {
        let call = peek(&call)?;
        let mut stream = call.stream()?;
        // A count beyond the address space is as good as its end.
        let count = count.map_or(64 * 1024, |n| n as usize);
        let bytes = match &*how {
            "piece" => stream.piece(count)?,
            "exact" => stream.exact(count)?,
            "line" => stream.line()?,
            _ => return rest(lua, &mut stream).map(Value::String),
        };
        if bytes.is_empty() {
            return Ok(Value::Nil);
        }
        lua.create_string(bytes).map(Value::String).or_else(|e| argument(0, e))
    })?;
    // http_text(call, body) -> the body in UTF-8, by the charset that the server names
    define(lua, core, "http_text", |lua, (call, body): (AnyUserData, LuaString)| {
        let call = peek(&call)?;
        let stream = call.stream()?;
        text(lua, stream.fetch.head(), &body)
    })?;
    define(lua, core, "http_info", |lua, (call, what): (AnyUserData, String)| {
        let call = peek(&call)?;
        let stream = call.stream()?;
        let made = match &*what {
            "timings" => timings(lua, &stream.fetch.timings()).map(Value::Table),
            "url" => stream.fetch.request().url.to_text().into_lua(lua),
            "chain" => stream.fetch.chain().to_vec().into_lua(lua),
            "cert" => stream.fetch.cert().map(|cert| cert_table(lua, cert)).transpose().and_then(|t| t.into_lua(lua)),
            _ => Ok(Value::Boolean(stream.fetch.is_over())),
        };
        made.or_else(|e| argument(0, e))
    })?;
    define(lua, core, "http_drop", |_, call: AnyUserData| {
        peek(&call)?.stream()?.fetch.close();
        Ok(true)
    })
}

/// A body in UTF-8, by the charset that the head names.
pub(super) fn text(lua: &Lua, head: Option<&Head>, body: &LuaString) -> Answer<LuaString> {
    let label = head.and_then(Head::charset);
    let encoding = label.and_then(encoding_rs::Encoding::for_label).unwrap_or(encoding_rs::UTF_8);
    // A byte order mark wins, as in browsers; what cannot be decoded becomes U+FFFD.
    let bytes = body.as_bytes();
    let (encoding, mark) = encoding_rs::Encoding::for_bom(&bytes).unwrap_or((encoding, 0));
    let bytes = bytes.get(mark..).unwrap_or_default();
    if encoding == encoding_rs::UTF_8 && std::str::from_utf8(bytes).is_ok() {
        return lua.create_string(bytes).or_else(|e| argument(0, e));
    }
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let most = decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(usize::MAX);
    let mut text = String::from_utf8(pages::room(most)?).unwrap_or_default();
    let _ = decoder.decode_to_string(bytes, &mut text, true);
    lua.create_string(text).or_else(|e| argument(0, e))
}

/// Status, reason and version of a response.
fn head(lua: &Lua, stream: &Stream) -> Answer<(u16, LuaString, &'static str)> {
    let Some(head) = stream.fetch.head() else { return argument(0, "there is no response yet") };
    let reason = lua.create_string(&head.reason).or_else(|e| argument(0, e))?;
    Ok((head.status, reason, head.version.number()))
}

/// Lower-case names; repeated fields joined with `, `, but `set-cookie`, which is an array (RFC 9110, section 5.3).
fn fields(lua: &Lua, fields: &Fields) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, fields.len())?;
    let mut cookies = Vec::new();
    for (name, value) in fields.iter() {
        let name = name.to_ascii_lowercase();
        if name == b"set-cookie" {
            cookies.push(lua.create_string(value)?);
            continue;
        }
        let name = lua.create_string(name)?;
        match table.raw_get::<Option<LuaString>>(&name)? {
            Some(before) => {
                table.raw_set(name, lua.create_string([&*before.as_bytes(), b", ", value].concat())?)?;
            }
            None => table.raw_set(name, lua.create_string(value)?)?,
        }
    }
    if !cookies.is_empty() {
        table.raw_set("set-cookie", cookies)?;
    }
    Ok(table)
}

/// `{ { name, value }, … }` as sent.
fn raw_fields(lua: &Lua, fields: &Fields) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(fields.len(), 0)?;
    for (name, value) in fields.iter() {
        table.raw_push([lua.create_string(name)?, lua.create_string(value)?])?;
    }
    Ok(table)
}

fn timings(lua: &Lua, timings: &client::Timings) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let put = |name: &str, time: Duration| table.raw_set(name, time.as_secs_f64());
    put("dns", timings.dns)?;
    put("connect", timings.connect)?;
    put("tls", timings.tls)?;
    put("send", timings.send)?;
    put("wait", timings.wait)?;
    put("receive", timings.receive)?;
    put("total", timings.total)?;
    table.raw_set("reused", timings.reused)?;
    Ok(table)
}
