//! Request options: from the table of the front to the types of the HTTP client.

use super::{
    answer::{Answer, argument},
    cookies,
    options::Options,
};
use crate::{
    address::{Endpoint, Host},
    client::{self, Http2},
    deadline::DEFAULT,
    files::Files,
    http::{
        auth::{Credentials, Schemes},
        cookies::SharedJar,
        proxy::Proxy,
        retry::Retry,
    },
    net::Net,
};
use mlua::{LuaString, Table, Value};
use std::{rc::Rc, sync::Arc, time::Duration};

/// What a build says of the option `http2` that does not have it.
pub(super) const NO_HTTP2: &str =
    "http2: built without HTTP/2 (the Cargo feature `http2`, which `full` turns on and `small` does not)";

/// Request options: a client's defaults, or those with one request's own options over them.
#[derive(Clone, Default)]
pub(super) struct RequestOptions {
    pub options: Arc<client::Options>,
    /// The response's body is read in pieces.
    pub streamed: bool,
    /// `timeout` and `read_timeout` are the caller's.
    pub timed: bool,
    pub patient: bool,
    /// Pairs that stand behind what a URL has, encoded.
    pub query: Option<Rc<str>>,
}

impl RequestOptions {
    /// For another origin than the one that they are meant for: nothing says who we are, nor with what query.
    pub fn forget_identity(&mut self) {
        self.query = None;
        if self.options.auth.is_some() {
            Arc::make_mut(&mut self.options).auth = None;
        }
        client::Options::forget_certificate(&mut self.options);
    }

    /// For a body that is handed out as it comes: how long it takes is not known, so without a `timeout` of the caller's the
    /// default leads to the head, and then the longest silence counts.
    pub fn open_ended(mut self) -> Arc<client::Options> {
        if self.streamed && !self.timed {
            let options = Arc::make_mut(&mut self.options);
            options.open_ended = true;
            if !self.patient {
                options.read_timeout = Some(DEFAULT);
            }
        }
        self.options
    }
}

/// `base` with what the front has gathered over it.
pub(super) fn options(
    opts: &Options<'_>,
    net: &Net,
    files: &Files,
    jar: &SharedJar,
    base: &RequestOptions,
) -> Answer<RequestOptions> {
    let mut request_options = base.clone();
    let options = Arc::make_mut(&mut request_options.options);
    let (mut trust, mut spoken) = (false, None);
    for name in opts.names()? {
        match &*name.as_bytes() {
            b"timeout" => (options.timeout, request_options.timed) = (opts.timeout()?, true),
            b"connect_timeout" => options.connect_timeout = opts.seconds("connect_timeout")?.flatten(),
            b"read_timeout" => {
                (options.read_timeout, request_options.patient) = (opts.seconds("read_timeout")?.flatten(), true)
            }
            b"follow_redirects" => options.follow_redirects = opts.flag("follow_redirects", true)?,
            b"max_redirects" => options.max_redirects = opts.find::<f64>("max_redirects")?.unwrap_or_default() as usize,
            b"allow_downgrade" => options.redirects.allow_downgrade = opts.flag("allow_downgrade", false)?,
            b"forward_headers" => options.redirects.forward_headers = opts.list("forward_headers")?,
            b"verify"
            | b"ca_bundle"
            | b"client_cert"
            | b"client_key"
            | b"client_key_password"
            | b"pins"
            | b"protocols" => trust = true,
            b"max_body_bytes" => {
                options.max_body_bytes = opts.find::<f64>("max_body_bytes")?.unwrap_or_default() as u64
            }
            b"resolve" => options.resolve = resolve(opts)?,
            b"unix" => options.unix = opts.text("unix")?,
            b"proxy" => options.proxy = proxy(opts)?,
            b"retry" => options.retry = retry(opts)?,
            b"http2" => spoken = Some(http2(opts)?),
            b"paced" => options.paced = opts.flag("paced", false)?,
            b"record" => options.record = opts.flag("record", false)?,
            b"decompress" => options.decompress = opts.flag("decompress", true)?,
            b"cookies" => options.cookies = chosen(opts, jar)?,
            b"auth" => options.auth = auth(opts)?,
            b"query" => request_options.query = opts.text("query")?.filter(|text| !text.is_empty()).map(Rc::from),
            b"stream" => request_options.streamed = opts.flag("stream", false)?,
            // Of whoever called: an event stream has some of its own.
            _ => (),
        }
    }
    if options.proxy.is_some() && options.unix.is_some() {
        return argument(opts.index, "proxy and unix exclude each other");
    }
    if let Some(spoken) = spoken.filter(|spoken| *spoken != options.http2) {
        options.http2 = spoken;
        options.tls.change(|tls| tls.alpn = spoken.alpn());
    }
    if trust {
        options.tls = opts.trust(files, &options.tls)?.into();
        // A wrong certificate or key is found now, whatever the URL; a right one is built once.
        net.shared_tls(&options.tls).or_else(|why| argument(opts.index, &why.fields().message))?;
    }
    Ok(request_options)
}

/// `cookies = true`, for the client's own jar, or a jar.
fn chosen(opts: &Options<'_>, own: &SharedJar) -> Answer<Option<SharedJar>> {
    match opts.find::<Value>("cookies")? {
        None | Some(Value::Boolean(false)) => Ok(None),
        Some(Value::UserData(jar)) => cookies::held(&jar).map(Some),
        Some(_) => Ok(Some(own.clone())),
    }
}

/// `scheme` of credentials.
fn schemes(given: &Options<'_>) -> Answer<Schemes> {
    Ok(match given.text("scheme")?.as_deref() {
        Some("basic") => Schemes::Basic,
        Some("digest") => Schemes::Digest,
        Some("challenge") => Schemes::Challenge,
        _ => Schemes::Any,
    })
}

/// `auth = { user =, password =, scheme = }` or `{ bearer = }`.
fn auth(opts: &Options<'_>) -> Answer<Option<Credentials>> {
    let given = match opts.find::<Value>("auth")? {
        Some(Value::Table(table)) => opts.of(table),
        _ => return Ok(None),
    };
    let bytes = |name| Answer::Ok(given.find::<LuaString>(name)?.map(|text| text.as_bytes().to_vec()));
    let made = match bytes("bearer")? {
        Some(token) => Credentials::bearer(&token),
        None => {
            let (user, password) = (bytes("user")?.unwrap_or_default(), bytes("password")?.unwrap_or_default());
            Credentials::user(&user, &password, schemes(&given)?)
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

/// `http2 = true`, `false` or `"prior"`.
fn http2(opts: &Options<'_>) -> Answer<Http2> {
    let spoken = match opts.find::<Value>("http2")? {
        None | Some(Value::Boolean(false)) => Http2::Never,
        Some(Value::Boolean(true)) => Http2::Offered,
        Some(Value::String(text)) if text.as_bytes() == b"prior" => Http2::Prior,
        Some(_) => return argument(opts.index, "http2 must be true, false or \"prior\""),
    };
    if spoken != Http2::Never && !cfg!(feature = "http2") {
        return argument(opts.index, NO_HTTP2);
    }
    Ok(spoken)
}

/// `proxy = "[SCHEME://][USER:PASSWORD@]HOST[:PORT]"`, or what the front has made of a table.
pub fn proxy(opts: &Options<'_>) -> Answer<Option<Proxy>> {
    let given = match opts.find::<Value>("proxy")? {
        None | Some(Value::Boolean(false)) => return Ok(None),
        Some(Value::Table(table)) => Some(opts.of(table)),
        Some(_) => None,
    };
    if opts.find::<Value>("unix")?.is_some() {
        return argument(opts.index, "proxy and unix exclude each other");
    }
    let url = given.as_ref().map_or_else(|| opts.text("proxy"), |given| given.text("url"))?.unwrap_or_default();
    let mut proxy = Proxy::parse(&url).or_else(|why| argument(opts.index, why))?;
    let Some(given) = given else { return Ok(Some(proxy)) };
    proxy.tunnel = given.flag("tunnel", false)?;
    if let (Some(user), Some(password)) = (given.find::<LuaString>("user")?, given.find::<LuaString>("password")?) {
        proxy
            .log_in(&user.as_bytes(), &password.as_bytes(), schemes(&given)?)
            .or_else(|why| argument(opts.index, why))?;
    }
    for (name, value) in given.headers("headers")? {
        value.map_or(Ok(()), |value| proxy.header(&name, &value)).or_else(|why| argument(opts.index, why))?;
    }
    Ok(Some(proxy))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_are_handed_out_as_they_come() {
        let silence = Some(Duration::from_secs(7));
        for (streamed, timed, patient, read_timeout, expected) in [
            (false, false, false, None, (false, None)),
            (true, false, false, None, (true, Some(DEFAULT))),
            (true, false, true, silence, (true, silence)),
            (true, false, true, None, (true, None)),
            (true, true, false, None, (false, None)),
            (false, false, true, silence, (false, silence)),
        ] {
            let options = Arc::new(client::Options { read_timeout, ..client::Options::default() });
            let options = RequestOptions { options, streamed, timed, patient, query: None }.open_ended();
            assert_eq!((options.open_ended, options.read_timeout), expected, "{streamed} {timed} {patient}");
            assert_eq!(options.timeout, Some(DEFAULT));
        }
    }
}
