//! The capability behind a `%net`: its grants, its log, and whether it was revoked.
//!
//! Every question to the grants goes through here, so that every answer reaches the log. A [`Net`] only narrows: a
//! child has at most the grants of its parent, and is revoked with it.

use crate::{
    address::{Host, Zoned},
    error::{Error, Kind, Result, reason},
    files::whole,
    grants::{Bindable, DeniedPath, Granted, GrantedPath, Grants, Permitted},
    log::Log,
    panics::failpoint,
    resolve::Pending,
    tls::{Ca, ClientConfigs, ClientOptions, ClientTls, Sessions, SharedOptions},
    zone,
};
use serde_json::Value;
use std::{
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// How often narrowed ones may be narrowed again. Every question goes through all that a capability came from.
pub const MAX_NARROWED: usize = 1000;

/// Authorities in a file, or in several, have not more.
const MAX_CA: u64 = 16 << 20;

/// What `--ca` names, as paths or as PEM text.
fn believed(named: &[String]) -> std::result::Result<Option<Arc<Ca>>, String> {
    let mut texts = Vec::new();
    for value in named {
        if value.contains("-----BEGIN") {
            texts.push(("ca".to_owned(), value.clone().into_bytes()));
            continue;
        }
        let label = format!("--ca={value}");
        match whole::read(Path::new(value), MAX_CA) {
            Ok(Some(text)) => texts.push((label, text)),
            Ok(None) => return Err(format!("{label}: there is no such file")),
            Err(e) => return Err(format!("{label}: {}", reason(&e))),
        }
    }
    if texts.is_empty() {
        return Ok(None);
    }
    match Ca::new(texts.iter().map(|(label, text)| (label.as_str(), text.as_slice()))) {
        Ok(ca) => Ok(Some(Arc::new(ca))),
        Err(e) => Err(e.fields().message.clone()),
    }
}

/// A capability. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Net(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    grants: Grants,
    log: Option<Arc<Log>>,
    revoked: AtomicBool,
    parent: Option<Net>,
    /// How many capabilities this one came from.
    depth: usize,
    tls: ClientConfigs,
    lookups: Pending,
}

impl Net {
    /// The root capability of a Lua state. Fails if the grants name a log that cannot be opened, or authorities (`--ca`) that
    /// cannot be read.
    pub fn new(grants: Grants) -> std::result::Result<Net, String> {
        let log = match grants.log() {
            Some(path) => match Log::open(path) {
                Ok(log) => Some(Arc::new(log)),
                Err(e) => return Err(format!("--net-log={}: {}", path.display(), reason(&e))),
            },
            None => None,
        };
        let ca = believed(grants.ca())?;
        Ok(Net(Arc::new(Inner {
            grants,
            log,
            revoked: AtomicBool::new(false),
            parent: None,
            depth: 0,
            tls: ClientConfigs::with_ca(ca),
            lookups: Pending::root(),
        })))
    }

    /// What both this one and `spec` allow. A snapshot that dies with its parent. `too_large` beyond [`MAX_NARROWED`].
    pub fn narrow(&self, spec: &Grants) -> Result<Net> {
        failpoint("narrow");
        let depth = self.0.depth + 1;
        if depth > MAX_NARROWED {
            let message = format!("a network that was narrowed {MAX_NARROWED} times over cannot be narrowed again");
            return Err(Error::new(Kind::TooLarge, message));
        }
        Ok(Net(Arc::new(Inner {
            grants: self.0.grants.narrow(spec),
            log: self.0.log.clone(),
            revoked: AtomicBool::new(false),
            parent: Some(self.clone()),
            depth,
            tls: ClientConfigs::with_ca(self.ca()),
            lookups: self.0.lookups.narrowed(),
        })))
    }

    pub fn grants(&self) -> &Grants {
        &self.0.grants
    }

    /// How many look-ups of this capability the system's resolver has not answered yet.
    pub fn lookups(&self) -> &Pending {
        &self.0.lookups
    }

    /// Ends this capability and every one that was narrowed from it.
    pub fn revoke(&self) {
        self.0.revoked.store(true, Ordering::Release);
        self.0.tls.clear();
        self.log("revoke", &[]);
    }

    /// What connections believe beside the machine's store.
    pub fn ca(&self) -> Option<Arc<Ca>> {
        self.0.tls.ca().cloned()
    }

    /// The TLS configuration for these options. TLS sessions are resumed within this capability only.
    pub fn client_tls(&self, options: &ClientOptions) -> Result<ClientTls> {
        self.0.tls.client(options)
    }

    /// The same with sessions of its own, which no other connection resumes.
    pub fn own_client_tls(&self, options: &ClientOptions) -> Result<(ClientTls, Arc<Sessions>)> {
        self.0.tls.own(options)
    }

    /// The same for options that many connections share.
    pub fn shared_tls(&self, options: &SharedOptions) -> Result<ClientTls> {
        self.0.tls.shared(options)
    }

    pub fn is_alive(&self) -> bool {
        !self.0.revoked.load(Ordering::Acquire) && self.0.parent.as_ref().is_none_or(Net::is_alive)
    }

    /// `socket` once this capability, or one that it came from, was revoked.
    pub fn alive(&self) -> Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        Err(Error::new(Kind::Revoked, "this network capability was revoked"))
    }

    /// May `host:port` be connected to? Asked by name, before DNS.
    pub fn connect(&self, op: &'static str, host: &Host, port: u16) -> Result<Granted> {
        self.alive()?;
        let answer = self.0.grants.connect(host, port);
        self.decided(op, &answer, || vec![("host", host.to_string().into()), ("port", port.into())]);
        answer.map_err(|e| e.op(op).at(host.to_string(), port))
    }

    /// The same for an address in a zone. Which interfaces there are is asked about once the address has passed.
    pub fn connect_zoned(&self, op: &'static str, to: &Zoned, port: u16) -> Result<Granted> {
        let granted = self.connect(op, &to.host, port)?;
        self.zone(op, to, port).map(|zone| granted.in_zone(zone))
    }

    /// The index of the zone; 0 if there is none.
    fn zone(&self, op: &'static str, place: &Zoned, port: u16) -> Result<u32> {
        let index = place.zone.as_ref().map_or(Ok(0), zone::index);
        index.map_err(|e| e.context(&format!("{}: ", place.endpoint(port))).op(op).at(place.to_string(), port))
    }

    /// May the DNS be asked about this host?
    pub fn permit_lookup(&self, op: &'static str, host: &Host) -> Result<Granted> {
        self.alive()?;
        let answer = self.0.grants.permit_lookup(host);
        self.decided(op, &answer, || vec![("host", host.to_string().into())]);
        answer.map_err(|e| e.op(op).host(host.to_string()))
    }

    /// May these addresses of a granted name be dialled? One denied refuses all.
    pub fn permit(&self, op: &'static str, granted: &Granted, answers: &[IpAddr]) -> Result<Vec<Permitted>> {
        let permitted = self.0.grants.permit(granted, answers);
        if permitted.is_err() {
            self.decided(op, &permitted, || {
                let list = answers.iter().map(|ip| Value::from(ip.to_string())).collect::<Vec<_>>();
                vec![
                    ("host", granted.host().to_string().into()),
                    ("port", granted.port().into()),
                    ("addresses", list.into()),
                ]
            });
        }
        permitted.map_err(|e| e.op(op).at(granted.host().to_string(), granted.port()))
    }

    /// May `host:port` be bound?
    pub fn listen(&self, op: &'static str, host: &Host, port: u16) -> Result<Bindable> {
        self.alive()?;
        let answer = self.0.grants.listen(host, port);
        self.decided(op, &answer, || vec![("host", host.to_string().into()), ("port", port.into())]);
        answer.map_err(|e| e.op(op).at(host.to_string(), port))
    }

    /// The same for an address in a zone.
    pub fn listen_zoned(&self, op: &'static str, at: &Zoned, port: u16) -> Result<Bindable> {
        let bindable = self.listen(op, &at.host, port)?;
        self.zone(op, at, port).map(|zone| bindable.in_zone(zone))
    }

    /// May this Unix socket be connected to (`listen`: be made)?
    pub fn unix(&self, op: &'static str, path: &str, listen: bool) -> Result<GrantedPath> {
        self.alive()?;
        let answer = if listen { self.0.grants.listen_unix(path) } else { self.0.grants.unix(path) };
        let answer = answer.and_then(|granted| match self.denied_elsewhere(granted.path(), listen) {
            false => Ok(granted),
            true => {
                let act = if listen { "listen on" } else { "connect to" };
                let message = format!("{act} unix:{path} is not allowed: it leads to a path that --deny-net forbids");
                Err(Error::new(Kind::AddressNotAllowed, message))
            }
        });
        self.decided(op, &answer, || vec![("path", path.into())]);
        answer.map_err(|e| e.op(op))
    }

    /// Whether a path is another name, by links, of one that is denied.
    fn denied_elsewhere(&self, path: &Path, listen: bool) -> bool {
        let mut denied = self.0.grants.denied_paths().peekable();
        if denied.peek().is_none() {
            return false;
        }
        let place = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
        let same = |a: Option<&Path>, b: Option<&Path>| {
            let place_of = |path: Option<&Path>| path.and_then(place);
            place_of(a).is_some_and(|a| Some(a) == place_of(b))
        };
        // A link is followed by a connect, and never by a bind.
        let real = if listen { path.to_owned() } else { path.canonicalize().unwrap_or_else(|_| path.to_owned()) };
        denied.any(|denied| match denied {
            DeniedPath::Directory(directory) => same(real.parent(), Some(directory)),
            DeniedPath::Socket(socket) => {
                let named = real.file_name() == socket.file_name() && same(real.parent(), socket.parent());
                named || !listen && same(Some(&real), Some(socket))
            }
        })
    }

    /// Logs an answer of the gate's; `fields` are made only if there is a log.
    fn decided<'a, T>(&self, op: &'a str, answer: &Result<T>, fields: impl FnOnce() -> Vec<(&'a str, Value)>) {
        if self.0.log.is_some() {
            let mut fields = fields();
            fields.push(("op", op.into()));
            match answer {
                Ok(_) => self.log("allowed", &fields),
                Err(e) => {
                    fields.push(("class", e.kind().word().into()));
                    self.log("refused", &fields);
                }
            }
        }
    }

    /// Appends a line to the log, if there is one.
    pub fn log(&self, event: &str, fields: &[(&str, Value)]) {
        if let Some(log) = &self.0.log {
            log.write(event, fields);
        }
    }

    pub fn is_logged(&self) -> bool {
        self.0.log.is_some()
    }
}
