//! The connection of a request to its origin: direct, over a Unix socket, or through a proxy; idle or new.
//!
//! Asks the grants first, for the origin and for the proxy. A refusal costs no packet. A proxy would choose the address
//! of the origin itself; so where `--deny-net` is about addresses, the name is resolved here, every address is
//! permitted, and the proxy gets the address in place of the name.

#[cfg(feature = "http2")]
use crate::client::shared::Shared;
use crate::{
    address::Host,
    client::{
        Http2, Options, Timings,
        pool::{Key, Link, Opening, Pool, PooledConnection, Proof},
    },
    conn::Conn,
    deadline::{Deadline, now},
    dial::{self, Target, addresses, dial, dial_unix},
    error::{Error, Kind, Result},
    grants::Granted,
    http::{
        auth::{Auth, BodyHash},
        body::Asked,
        broken,
        exchange::{Event, Exchange},
        proxy::{Kind as Manner, Proxy},
        request::Form,
        socks::{Fed, Handshake, Refusal},
        url::{Origin, Scheme},
    },
    net::Net,
    panics::failpoint,
    tls::{ClientOptions, ClientTls, PeerCert},
};
use std::{net::IpAddr, sync::Arc, time::Instant};

/// Addresses of one origin that a proxy is asked for before we give up.
const MAX_TRIES: usize = 4;

/// A connection, and how to speak on it.
pub(super) struct Connected {
    pub link: Link,
    /// It was open already.
    pub reused: bool,
    pub form: Form,
}

/// Who wants to go where.
pub(super) struct Connector<'a> {
    pub op: &'static str,
    pub net: &'a Net,
    pub pool: &'a Pool,
    pub options: &'a Options,
    pub origin: &'a Origin,
    /// Idle connections will not do.
    pub fresh: bool,
    /// The protocol is going to change: a proxy that forwards will not do.
    pub upgrade: bool,
    /// The server has asked for HTTP/1.1.
    pub http1: bool,
    pub deadline: &'a Deadline,
    /// When it begins.
    pub now: Instant,
}

impl Connector<'_> {
    /// The gate, then a connection.
    pub fn connect(&self, timings: &mut Timings) -> Result<Connected> {
        let tls = match self.origin.scheme {
            Scheme::Https if self.http2() == self.options.http2 => Some(self.net.shared_tls(&self.options.tls)?),
            Scheme::Https => {
                let mut options = self.options.tls.clone();
                options.change(|tls| tls.alpn = self.http2().alpn());
                Some(self.net.shared_tls(&options)?)
            }
            Scheme::Http => None,
        };
        let mut key = Key {
            origin: self.origin.clone(),
            tls: tls.as_ref().map(ClientTls::identity),
            address: self.chosen(&self.origin.host, self.origin.port),
            unix: None,
            proxy: None,
            proxy_absolute: false,
            by_address: false,
        };
        match (&self.options.unix, &self.options.proxy) {
            (Some(path), _) => self.unix(&mut key, path, tls.as_ref(), timings),
            (None, Some(proxy)) => self.through(&mut key, proxy, tls.as_ref(), timings),
            (None, None) => self.straight(&key, tls.as_ref(), timings),
        }
    }

    /// The address that the option `resolve` names for an endpoint.
    fn chosen(&self, host: &Host, port: u16) -> Option<IpAddr> {
        self.options.resolve.iter().find(|(at, _)| at.host == *host && at.port == port).map(|(_, ip)| *ip)
    }

    fn http2(&self) -> Http2 {
        if self.upgrade || self.http1 { Http2::Never } else { self.options.http2 }
    }

    /// True if a connection of this key may be a shared one.
    fn may_share(&self, key: &Key) -> bool {
        match self.http2() {
            Http2::Never => false,
            Http2::Offered => key.tls.is_some(),
            Http2::Prior => true,
        }
    }

    /// A connection that is open; else the right to open one, for which others wait that could share it.
    fn idle(&self, key: &Key, proof: &Proof<'_>) -> Result<std::result::Result<Link, Opening>> {
        loop {
            let shares = cfg!(feature = "http2") && self.may_share(key);
            #[cfg(feature = "http2")]
            if shares && let Some(link) = self.pool.join(key, proof, self.now) {
                return Ok(Ok(link));
            }
            if !self.fresh
                && self.http2() != Http2::Prior
                && let Some(link) = self.pool.checkout(key, proof, self.now)
            {
                return Ok(Ok(link));
            }
            if !shares {
                return Ok(Err(Opening::default()));
            }
            if let Some(opening) = self.pool.open(key, self.deadline.slice()) {
                return Ok(Err(opening));
            }
            self.deadline.check("wait for a connection")?;
        }
    }

    fn opened(&self, key: &Key, conn: Conn) -> Result<Connected> {
        let cert = conn.peer_cert().map(Arc::new);
        self.spoken(key, conn, cert)
    }

    /// What the connection to the origin speaks.
    fn spoken(&self, key: &Key, conn: Conn, cert: Option<Arc<PeerCert>>) -> Result<Connected> {
        #[cfg(feature = "http2")]
        if self.may_share(key) {
            let chosen = conn.alpn() == Some(b"h2");
            if chosen || key.tls.is_none() {
                let shared = Shared::new(conn)?;
                self.pool.share(key, &shared, cert.clone(), now());
                return Ok(Connected { link: Link::Http2(shared, cert), reused: false, form: Form::Http2 });
            }
            if self.http2() == Http2::Prior {
                return Err(broken("the server does not speak HTTP/2, and nothing else was offered"));
            }
            self.pool.is_plain(key);
        }
        let link = Link::Http1(Box::new(PooledConnection { key: key.clone(), cert, conn }));
        Ok(Connected { link, reused: false, form: Form::Origin })
    }

    fn straight(&self, key: &Key, tls: Option<&ClientTls>, timings: &mut Timings) -> Result<Connected> {
        let granted = self.net.connect(self.op, &key.origin.host, key.origin.port)?;
        let _opening = match self.idle(key, &Proof::Name(&granted))? {
            Ok(link) => return Ok(Connected::reused(link)),
            Err(opening) => opening,
        };
        let names = self.options.names.as_ref();
        let target = Target { op: self.op, granted: &granted, address: key.address, names, local: None, tls };
        let (conn, took) = dial(self.net, &target, self.deadline)?;
        add(timings, took);
        self.opened(key, conn)
    }

    fn unix(&self, key: &mut Key, path: &str, tls: Option<&ClientTls>, timings: &mut Timings) -> Result<Connected> {
        let path = self.net.unix(self.op, path, false)?;
        key.unix = Some(path.clone());
        let _opening = match self.idle(key, &Proof::Path(&path))? {
            Ok(link) => return Ok(Connected::reused(link)),
            Err(opening) => opening,
        };
        let started = now();
        let conn = dial_unix(self.net, self.op, &path, self.deadline)?;
        timings.connect += started.elapsed();
        let Some(tls) = tls else { return self.opened(key, conn) };
        let started = now();
        let conn = conn.secured(tls, &key.origin.host, self.deadline)?;
        timings.tls += started.elapsed();
        self.opened(key, conn)
    }

    fn through(
        &self,
        key: &mut Key,
        proxy: &Proxy,
        tls: Option<&ClientTls>,
        timings: &mut Timings,
    ) -> Result<Connected> {
        let Origin { host, port, .. } = self.origin;
        let granted = self.net.connect(self.op, host, *port)?;
        failpoint("proxy");
        let gate = self.net.connect(self.op, &proxy.endpoint.host, proxy.endpoint.port)?;
        let outer = match proxy.kind {
            // The proxy is not the origin: what the caller knows or shows of that one is not for it, and a proxy that
            // is shown credentials is always verified.
            Manner::Https => Some(self.net.client_tls(&ClientOptions {
                ca_bundle: self.options.tls.ca_bundle.clone(),
                ..ClientOptions::clone(&Options::default().tls)
            })?),
            _ => None,
        };
        key.proxy_absolute = proxy.endpoint.host.is_absolute();
        key.proxy = Some(Box::new((proxy.clone(), outer.as_ref().map(ClientTls::identity))));
        let watched = host.ip().is_none() && self.net.grants().denies_addresses();
        key.by_address = proxy.kind.by_address() || watched || key.address.is_some();
        let asks = !key.by_address && !self.upgrade && self.http2() != Http2::Prior && !proxy.tunnel;
        let forwarded = !proxy.kind.is_socks() && tls.is_none() && asks;
        let spoken = |mut connected: Connected| {
            if forwarded {
                connected.form = Form::Absolute;
            }
            connected
        };
        let _opening = match self.idle(key, &Proof::Through(&granted, &gate))? {
            Ok(link) => return Ok(spoken(Connected::reused(link))),
            Err(opening) => opening,
        };
        let mut hosts = vec![host.clone()];
        if key.by_address || host.ip().is_some() {
            let address = key.address;
            let names = self.options.names.as_ref();
            let target = Target { op: self.op, granted: &granted, address, names, local: None, tls: None };
            let started = now();
            let permitted = addresses(self.net, &target, self.deadline)?;
            timings.dns += started.elapsed();
            let known =
                permitted.iter().map(|one| one.addr().ip()).filter(|ip| !proxy.kind.is_socks4() || ip.is_ipv4());
            hosts = known.take(MAX_TRIES).map(Host::Ip).collect();
            if hosts.is_empty() && !permitted.is_empty() {
                return Err(Error::new(
                    Kind::Socket,
                    "SOCKS4 has no IPv6, and the host no IPv4 address; use socks5://",
                ));
            }
        }
        let conn = if forwarded {
            self.to_proxy(proxy, &gate, outer.as_ref(), timings)?
        } else {
            self.tunnel(proxy, &gate, outer.as_ref(), &hosts, timings)?
        };
        let Some(tls) = tls else {
            // Over TLS to the proxy it is still http to the origin, which has shown no certificate.
            return Ok(spoken(self.spoken(key, conn, None)?));
        };
        let started = now();
        let conn = conn.secured(tls, host, self.deadline)?;
        timings.tls += started.elapsed();
        self.opened(key, conn)
    }

    fn to_proxy(
        &self,
        proxy: &Proxy,
        gate: &Granted,
        outer: Option<&ClientTls>,
        timings: &mut Timings,
    ) -> Result<Conn> {
        let address = self.chosen(&proxy.endpoint.host, proxy.endpoint.port);
        let target = Target { op: self.op, granted: gate, address, names: None, local: None, tls: outer };
        let dialled = dial(self.net, &target, self.deadline);
        let (conn, took) = dialled.map_err(|err| err.context("the proxy: "))?;
        add(timings, took);
        Ok(conn)
    }

    /// A connection to the proxy that is one to `hosts`, the first that it reaches.
    fn tunnel(
        &self,
        proxy: &Proxy,
        gate: &Granted,
        outer: Option<&ClientTls>,
        hosts: &[Host],
        timings: &mut Timings,
    ) -> Result<Conn> {
        let mut last = None;
        // What a proxy asks for at one address it asks for at the next.
        let mut auth = self.options.logins.proxy(proxy);
        for host in hosts {
            let asked = loop {
                let mut conn = self.to_proxy(proxy, gate, outer, timings)?;
                let started = now();
                let asked = match proxy.kind.is_socks() {
                    true => socks(&mut conn, proxy, host, self.origin.port, self.deadline).map(|()| true),
                    false => connect(&mut conn, proxy, auth.as_mut(), host, self.origin.port, self.deadline),
                };
                timings.connect += started.elapsed();
                match asked {
                    // A challenge, which is answered on another connection: what follows this answer need not be read.
                    Ok(false) => continue,
                    // The other end of a tunnel is a server, which waits to be spoken to.
                    Ok(true) if conn.ready() => return Err(broken("the proxy sent bytes ahead of the tunnel")),
                    Ok(true) => return Ok(conn),
                    Err(refusal) => break refusal,
                }
            };
            match asked {
                Refusal { error, elsewhere } if elsewhere && !self.deadline.is_past() => last = Some(error),
                Refusal { error, .. } => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::new(Kind::DnsFailure, "the host has no address")))
    }
}

impl Connected {
    fn reused(link: Link) -> Connected {
        let form = match link {
            Link::Http1(_) => Form::Origin,
            #[cfg(feature = "http2")]
            Link::Http2(..) => Form::Http2,
        };
        Connected { link, reused: true, form }
    }
}

fn add(timings: &mut Timings, took: dial::Timings) {
    timings.dns += took.dns;
    timings.connect += took.connect;
    timings.tls += took.tls;
}

/// The value of `Authorization` or `Proxy-Authorization` for a request, if there is something to say yet.
pub(super) fn credentials(
    auth: &mut Auth,
    method: &str,
    target: &str,
    body: Option<BodyHash>,
) -> Result<Option<Vec<u8>>> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| Error::new(Kind::Socket, format!("no random bytes: {e}")))?;
    Ok(auth.header(method, target, &random, body))
}

/// CONNECT (RFC 9110 section 9.3.6). Only a 2xx opens the tunnel; nothing that the proxy says otherwise is followed or
/// handed on, and its own credentials are all that it is ever shown. False where it asked for these in a way that a
/// further CONNECT can answer.
fn connect(
    conn: &mut Conn,
    proxy: &Proxy,
    mut auth: Option<&mut Auth>,
    host: &Host,
    port: u16,
    deadline: &Deadline,
) -> std::result::Result<bool, Refusal> {
    let target = Proxy::target(host, port);
    let login = match auth.as_deref_mut() {
        Some(auth) => {
            // A CONNECT has no body: what is signed is nothing.
            let body = auth.body_hash();
            credentials(auth, "CONNECT", &target, body)?
        }
        None => None,
    };
    conn.send_all(&proxy.connect(&target, login.as_deref()), deadline)?;
    let mut exchange = Exchange::new(Asked::Connect);
    loop {
        if conn.buffered().is_empty() && conn.fill(deadline)? == 0 {
            exchange.finish().map_err(|err| err.context("the proxy: "))?;
        }
        let fed = exchange.feed(conn.buffered()).map_err(|err| err.context("the proxy: "))?;
        conn.consume(fed.used);
        let Event::Head(head) = fed.event else { continue };
        let message = match head.status {
            200..=299 => return Ok(true),
            300..=399 => {
                return Err(broken(format!("the proxy answered CONNECT with a redirect ({})", head.status)).into());
            }
            407 => {
                if auth.is_some_and(|auth| auth.challenged(head.fields.all("proxy-authenticate"))) {
                    return Ok(false);
                }
                refused(proxy).to_owned()
            }
            status => format!("the proxy does not open a tunnel (status {status})"),
        };
        let elsewhere = matches!(head.status, 502..=504);
        return Err(Refusal { error: Error::new(Kind::Socket, message), elsewhere });
    }
}

/// Words for a 407 that ends it.
fn refused(proxy: &Proxy) -> &'static str {
    match proxy.login() {
        None => "the proxy requires credentials (407); give them in the URL of the option `proxy`",
        Some(_) => "the proxy refuses the credentials (407)",
    }
}

fn socks(
    conn: &mut Conn,
    proxy: &Proxy,
    host: &Host,
    port: u16,
    deadline: &Deadline,
) -> std::result::Result<(), Refusal> {
    let mut handshake = Handshake::of(proxy.kind, host, port, proxy.login())?;
    conn.send_all(&handshake.hello(), deadline)?;
    // What cannot be understood yet; a few hundred bytes at the most.
    let mut held: Vec<u8> = Vec::new();
    loop {
        match handshake.feed(&held)? {
            Fed::Done(used) if used == held.len() => return Ok(()),
            Fed::Done(_) => return Err(broken("the proxy sent bytes ahead of the tunnel").into()),
            Fed::Say(used, bytes) => {
                held.drain(..used.min(held.len()));
                conn.send_all(&bytes, deadline)?;
            }
            Fed::More => {
                if conn.buffered().is_empty() && conn.fill(deadline)? == 0 {
                    let message = "the proxy closed the connection in the middle of the SOCKS handshake";
                    return Err(Error::new(Kind::ConnectionReset, message).into());
                }
                held.extend_from_slice(conn.buffered());
                conn.consume(conn.buffered().len());
            }
        }
    }
}
