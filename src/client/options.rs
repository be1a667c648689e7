//! Request options, and the timings of a request.

use crate::{
    address::Endpoint,
    deadline::DEFAULT,
    http::{
        auth::{Credentials, Logins},
        cookies::SharedJar,
        proxy::Proxy,
        redirect::Rules,
        retry::Retry,
        url::Origin,
    },
    names::Lookup,
    tls::{ClientOptions, SharedOptions},
};
use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

/// Whether HTTP/2 is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http2 {
    #[default]
    Never,
    /// Over TLS, where the server picks it (ALPN).
    Offered,
    /// Without asking in the clear, and nothing else over TLS.
    Prior,
}

impl Http2 {
    /// What is offered by ALPN.
    pub fn alpn(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Http2::Never => &[b"http/1.1"],
            Http2::Offered => &[b"h2", b"http/1.1"],
            Http2::Prior => &[b"h2"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// Request options, the same for all hops of a fetch.
#[derive(Clone)]
pub struct Options {
    /// Of everything together. Defaults to 30 seconds; `None` is for ever.
    pub timeout: Option<Duration>,
    /// `timeout` leads to the head only; then nothing but `read_timeout` rules. Defaults to false.
    pub open_ended: bool,
    /// Of DNS, TCP and TLS of each hop. Defaults to what is left of `timeout`.
    pub connect_timeout: Option<Duration>,
    /// The longest silence of the server. Defaults to what is left of `timeout`.
    pub read_timeout: Option<Duration>,
    /// Defaults to true.
    pub follow_redirects: bool,
    /// Defaults to 10.
    pub max_redirects: usize,
    pub redirects: Rules,
    /// Its `alpn` follows [`Options::http2`].
    pub tls: SharedOptions,
    /// Defaults to never.
    pub http2: Http2,
    /// The largest body that [`super::Fetch::body`] gathers. Defaults to 256 MiB.
    pub max_body_bytes: u64,
    /// Addresses to dial instead of asking DNS.
    pub resolve: Vec<(Endpoint, IpAddr)>,
    /// Path of the socket to speak HTTP over.
    pub unix: Option<String>,
    /// Where to go through. Environment variables are never asked.
    pub proxy: Option<Proxy>,
    /// Idempotent requests that failed in passing are made again. Defaults to `None`: they are not.
    pub retry: Option<Retry>,
    /// Come back after each piece of the request's body. Defaults to false.
    pub paced: bool,
    /// Keep what is asked and answered ([`super::Fetch::records`]). Defaults to false.
    pub record: bool,
    /// Content codings are offered, and undone. Defaults to true.
    pub decompress: bool,
    /// Sends what is in there, and keeps what servers set. Defaults to `None`.
    pub cookies: Option<SharedJar>,
    /// For the first origin only, and wherever a redirect leads within it.
    pub auth: Option<Credentials>,
    /// What is known of servers' challenges.
    pub logins: Logins,
    /// Who is asked for addresses. Defaults to the system's resolver.
    pub names: Option<Lookup>,
    /// A field for requests to that origin only, on whichever hop: it comes from there.
    pub bound: Option<(Origin, &'static str, Vec<u8>)>,
}

impl Options {
    /// For another origin: a client certificate says who we are, to whom it was meant for.
    pub fn forget_certificate(options: &mut Arc<Options>) {
        if options.tls.client_cert.is_some() {
            Arc::make_mut(options).tls.change(|tls| {
                (tls.client_cert, tls.client_key, tls.client_key_password) = (None, None, None);
            });
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            timeout: Some(DEFAULT),
            open_ended: false,
            connect_timeout: None,
            read_timeout: None,
            follow_redirects: true,
            max_redirects: 10,
            redirects: Rules::default(),
            tls: plain_tls(),
            http2: Http2::Never,
            max_body_bytes: 256 << 20,
            resolve: Vec::new(),
            unix: None,
            proxy: None,
            retry: None,
            paced: false,
            record: false,
            decompress: true,
            cookies: None,
            auth: None,
            logins: Logins::default(),
            names: None,
            bound: None,
        }
    }
}

/// What HTTP asks of TLS where the caller asks for nothing.
fn plain_tls() -> SharedOptions {
    static PLAIN: LazyLock<SharedOptions> =
        LazyLock::new(|| ClientOptions { alpn: Http2::Never.alpn(), ..ClientOptions::default() }.into());
    PLAIN.clone()
}

/// Where the time went. Sums over all hops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    pub dns: Duration,
    pub connect: Duration,
    pub tls: Duration,
    /// The request, head and body.
    pub send: Duration,
    /// From the request's last byte to the final head.
    pub wait: Duration,
    /// From there to the body's last byte.
    pub receive: Duration,
    /// From the start to the body's last byte.
    pub total: Duration,
    /// The last hop went over a connection that was open already.
    pub reused: bool,
}
