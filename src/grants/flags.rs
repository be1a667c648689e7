//! Reads flags and tables into rules. An unknown value is refused by name: an unset shell variable or a typing error
//! must never become a wider grant. Pure.

use super::{
    Grants, keyword,
    layer::Layer,
    ports::Ports,
    proof::Links,
    set::{Pattern, Rule, Set, truncated},
};
use crate::address::{Host, Name, TWO_LABELS, quoted, unix_directory, unix_path, unmap};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

/// The table form of the flags: `launch{ allow_net = {…}, allow_listen = {…}, deny_net = {…}, dns = true }`.
/// Defaults to nothing granted, and names resolved.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Values of `--allow-net=`.
    pub allow_net: Vec<String>,
    /// As the bare `--allow-net`: `allow_net = true`.
    pub any_net: bool,
    /// Values of `--allow-listen=`.
    pub allow_listen: Vec<String>,
    /// As the bare `--allow-listen`: `allow_listen = true`.
    pub any_listen: bool,
    /// Values of `--deny-net=`.
    pub deny_net: Vec<String>,
    /// False as `--no-dns`.
    pub dns: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Spec {
            allow_net: Vec::new(),
            any_net: false,
            allow_listen: Vec::new(),
            any_listen: false,
            deny_net: Vec::new(),
            dns: true,
        }
    }
}

/// A flag or a value that is not one: names it and says why. The launcher exits with status 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    message: String,
}

impl UsageError {
    fn new(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        UsageError { message: format!("{what}: {why}") }
    }
}

impl UsageError {
    pub(super) fn about(text: &str, why: &str) -> Self {
        UsageError::new(shown(text), why)
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for UsageError {}

/// The grant flags by name.
pub const FLAGS: [&str; 7] =
    ["--allow-net", "--allow-listen", "--deny-net", "--standard", "--no-dns", "--net-log", "--ca"];

type Parsed<T> = Result<T, UsageError>;

/// Rules, as they are gathered.
#[derive(Default)]
struct Gathered {
    net: Vec<Rule>,
    listen: Vec<Rule>,
    deny: Vec<Rule>,
    no_dns: bool,
    log: Option<PathBuf>,
    ca: Vec<String>,
}

pub(super) fn parse<S: AsRef<str>>(flags: &[S], purpose: Use) -> Parsed<Grants> {
    let mut all = Gathered::default();
    for flag in flags.iter().map(AsRef::as_ref) {
        all.flag(flag, purpose)?;
    }
    Ok(all.grants())
}

pub(super) fn of(spec: &Spec) -> Parsed<Grants> {
    let mut all = Gathered { no_dns: !spec.dns, ..Gathered::default() };
    if spec.any_net {
        all.net.push((Pattern::Any, Ports::CONNECT));
    }
    if spec.any_listen {
        all.listen.push((Pattern::Any, Ports::LISTEN));
    }
    for value in &spec.allow_net {
        items("allow_net = ", value, &mut all.net, |item| target(item, Use::Allow))?;
    }
    for value in &spec.allow_listen {
        items("allow_listen = ", value, &mut all.listen, interface)?;
    }
    for value in &spec.deny_net {
        items("deny_net = ", value, &mut all.deny, |item| target(item, Use::Deny))?;
    }
    Ok(all.grants())
}

/// What `requires` names: the values of one `--allow-net=`.
pub(super) fn needs(list: &str) -> Parsed<Vec<Rule>> {
    let mut rules = Vec::new();
    items("requires: ", list, &mut rules, |item| target(item, Use::Allow))?;
    Ok(rules)
}

pub(super) fn hosts<S: AsRef<str>>(hosts: &[S]) -> Parsed<Grants> {
    let mut all = Gathered::default();
    for host in hosts {
        items("host ", host.as_ref(), &mut all.net, |item| target(item, Use::Restrict))?;
    }
    Ok(all.grants())
}

impl Gathered {
    /// `purpose`: of what is allowed.
    fn flag(&mut self, flag: &str, purpose: Use) -> Parsed<()> {
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        match (name, value) {
            ("--allow-net" | "--standard", None) => self.net.push((Pattern::Any, Ports::CONNECT)),
            ("--allow-listen", None) => self.listen.push((Pattern::Any, Ports::LISTEN)),
            ("--no-dns", None) => self.no_dns = true,
            ("--allow-net", Some(value)) => {
                items("--allow-net=", value, &mut self.net, |item| target(item, purpose))?;
            }
            ("--allow-listen", Some(value)) => items("--allow-listen=", value, &mut self.listen, interface)?,
            ("--deny-net", Some(value)) => {
                items("--deny-net=", value, &mut self.deny, |item| target(item, Use::Deny))?;
            }
            ("--net-log", Some(file)) => self.log(file)?,
            ("--ca", Some(file)) => self.authorities(file)?,
            ("--deny-net" | "--net-log" | "--ca", None) => return Err(UsageError::new(name, "the value is missing")),
            ("--standard" | "--no-dns", Some(_)) => return Err(UsageError::new(shown(flag), "takes no value")),
            // What narrows may be a plain host.
            _ if purpose == Use::Restrict && !flag.starts_with('-') => {
                // A host may well be called `standard` or `ca`.
                if let Some(meant) = FLAGS.iter().find(|one| one[2..] == *name && name.contains('-')) {
                    let why = format!("did you mean {meant}? (a host of that name is written with a dot at its end)");
                    return Err(UsageError::new(shown(flag), why));
                }
                items("host ", flag, &mut self.net, |item| target(item, purpose))?;
            }
            _ => {
                let why = match (flag.starts_with("--"), keyword::nearest(name, FLAGS)) {
                    (true, Some(meant)) => format!("unknown flag; did you mean {meant}?"),
                    (true, None) => "unknown flag".into(),
                    (false, _) => "not a flag (a host is granted with --allow-net=HOST)".into(),
                };
                return Err(UsageError::new(shown(flag), why));
            }
        }
        Ok(())
    }

    fn log(&mut self, file: &str) -> Parsed<()> {
        let why = if file.is_empty() {
            "the value is empty"
        } else if file.contains(|c: char| c.is_control()) {
            "has a control character"
        } else if self.log.is_some() {
            "given twice"
        } else {
            self.log = Some(file.into());
            return Ok(());
        };
        Err(UsageError::new(format!("--net-log={}", shown(file)), why))
    }

    /// A path, or PEM text where a table says so.
    fn authorities(&mut self, file: &str) -> Parsed<()> {
        let why = if file.is_empty() {
            "the value is empty (an unset variable?)"
        } else if file.contains(|c: char| c.is_control()) && !file.contains("-----BEGIN") {
            "has a control character"
        } else {
            self.ca.push(file.to_owned());
            return Ok(());
        };
        Err(UsageError::new(format!("--ca={}", shown(file)), why))
    }

    fn grants(self) -> Grants {
        let layer = Layer {
            net: Set::new(self.net),
            listen: Set::new(self.listen),
            deny: Set::new(self.deny),
            dns: !self.no_dns,
            fences: Vec::new(),
        };
        Grants::from_layer(layer, self.log, self.ca)
    }
}

/// A comma list of at least one item, none of them empty.
fn items<R>(label: &str, value: &str, rules: &mut Vec<Rule>, read: impl Fn(&str) -> Result<R, String>) -> Parsed<()>
where
    R: IntoIterator<Item = Rule>,
{
    for item in value.split(',') {
        let read = match item {
            "" if value.is_empty() => Err("the value is empty (an unset variable?)".into()),
            "" => Err("the list has an empty item".into()),
            item => read(item),
        };
        // In a long list only the item tells where to look.
        let named = if item.is_empty() { value } else { item };
        rules.extend(read.map_err(|why| UsageError::new(format!("{label}{}", shown(named)), why))?);
    }
    Ok(())
}

/// What a target is read for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Use {
    Allow,
    Deny,
    /// A list that narrows: wildcards have two labels.
    Restrict,
}

/// `HOST[:PORTS]`, a Unix socket, and for denying `private`.
fn target(text: &str, purpose: Use) -> Result<Option<Rule>, String> {
    if let Some(rule) = unix(text).map_err(|why| named_unix(text).unwrap_or(why))? {
        return Ok(Some(rule));
    }
    let (host, ports) = split(text)?;
    // `HOST:80,443` is two items.
    if ports.is_none() && host.len() <= 5 && host.bytes().all(|b| b.is_ascii_digit()) {
        return Err("is a port without its host: several ports are joined by +, as in example.com:80+443".into());
    }
    let ports = ports.map_or(Ok(Ports::CONNECT), |ports| Ports::parse(ports, false))?;
    let pattern = if host.eq_ignore_ascii_case(keyword::PRIVATE) {
        match purpose {
            Use::Deny => Pattern::Private,
            _ => return Err("`private` can be denied, not allowed: name the addresses, as in 10.0.0.0/8".into()),
        }
    } else if let (Use::Deny, Some(meant)) = (purpose, keyword::meant(host)) {
        return Err(format!("did you mean {meant}? (a host of that name is written with a dot at its end: {host}.)"));
    } else if host.contains('*') {
        wildcard(host, purpose)?
    } else {
        match block(host)? {
            Some(net) => net,
            None => match Host::parse(host).map_err(|bad| bad.0)? {
                Host::Name(name) => Pattern::Name(name),
                Host::Ip(ip) => Pattern::Net(ip.into()),
            },
        }
    };
    Ok(Some((pattern, ports)))
}

/// PORTS, HOST:PORTS or a Unix socket, where HOST is an address, a block or `localhost`.
fn interface(text: &str) -> Result<Vec<Rule>, String> {
    if let Some(rule) = unix(text)? {
        return Ok(vec![rule]);
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'+' || b == b'-') {
        return Ok(vec![(Pattern::Any, Ports::parse(text, true)?)]);
    }
    let (host, ports) = split(text)?;
    let Some(ports) = ports else {
        return Err("the port is missing, as in 127.0.0.1:8080 (0 is an ephemeral port)".into());
    };
    let ports = Ports::parse(ports, true)?;
    if host == "*" {
        return Err(format!("any interface is written without a host: --allow-listen={ports}"));
    }
    if let Some(net) = block(host)? {
        return Ok(vec![(net, ports)]);
    }
    match Host::parse(host).map_err(|bad| bad.0)? {
        Host::Ip(ip) => Ok(vec![(Pattern::Net(ip.into()), ports)]),
        host if host.is_localhost() => {
            let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            Ok(loopback.map(|ip| (Pattern::Net(ip.into()), ports.clone())).into())
        }
        Host::Name(_) => Err("an interface is an address or `localhost`, not a name".into()),
    }
}

/// What to say of `unix:80`, which may be meant for a host and its port.
fn named_unix(text: &str) -> Option<String> {
    let (host, ports) = text.split_once(':').filter(|(_, ports)| Ports::parse(ports, false).is_ok())?;
    Some(format!("is no path (a host of that name is written with a dot at its end: {host}.:{ports})"))
}

/// `unix:/path`, or `unix:/dir/*`; the keyword in any case, as all words here.
fn unix(text: &str) -> Result<Option<Rule>, String> {
    let Some((_, path)) = text.split_once(':').filter(|(word, _)| word.eq_ignore_ascii_case(keyword::UNIX)) else {
        return Ok(None);
    };
    let directory = path.strip_suffix("/*");
    if directory.unwrap_or(path).contains('*') {
        return Err(
            "a star stands for any socket directly in a directory, as in unix:/dir/*, and for nothing else".into()
        );
    }
    let pattern = match directory {
        // The slash before the star ends the directory's name: the root has no other.
        Some(directory) => unix_directory(&format!("{directory}/")).map(Pattern::UnixIn),
        None => unix_path(path).map(|path| Pattern::Unix(path, Links::Followed)),
    };
    Ok(Some((pattern.map_err(|bad| bad.0)?, Ports::None)))
}

/// Parts HOST from PORTS. IPv6 must be in brackets, since its colons would be ambiguous.
fn split(text: &str) -> Result<(&str, Option<&str>), String> {
    if text.contains("://") {
        return Err("is a URL: only HOST[:PORTS] belongs here".into());
    }
    if text.contains('@') {
        return Err("has userinfo: only HOST[:PORTS] belongs here".into());
    }
    let end = match text.starts_with('[') {
        true => text.find(']').ok_or("has an opening bracket without its closing one")?,
        false => 0,
    };
    let (inside, rest) = text.split_at(end);
    let Some((after, ports)) = rest.split_once(':') else { return Ok((text, None)) };
    if ports.contains(':') {
        return Err("has too many colons: IPv6 addresses are written in brackets, as in [::1]:80".into());
    }
    let host = &text[..inside.len() + after.len()];
    if host.is_empty() {
        return Err("the host is missing".into());
    }
    Ok((host, Some(ports)))
}

/// `10.0.0.0/8`, `[fd00::]/8`; `None` if there is no slash.
fn block(host: &str) -> Result<Option<Pattern>, String> {
    let Some((address, length)) = host.split_once('/') else { return Ok(None) };
    if address.contains('%') {
        return Err("has a zone, which flags do not have: a grant covers every zone of its addresses".into());
    }
    let inner = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip: IpAddr = match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => address.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
    .ok_or("has a slash but is no block, as in 10.0.0.0/8 or [fd00::]/8")?;
    let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let plain = digits && (length == "0" || !length.starts_with('0'));
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    let Some(length) = length.parse::<u8>().ok().filter(|length| plain && *length <= bits) else {
        return Err(format!("the prefix length is a number from 0 to {bits}"));
    };
    // Mapped addresses are IPv4 wherever they are asked about, so their blocks have to be, too.
    let (ip, length) = match (unmap(ip), length.checked_sub(96)) {
        (IpAddr::V4(v4), Some(length)) if ip.is_ipv6() => (IpAddr::V4(v4), length),
        _ => (ip, length),
    };
    let net = truncated(ip, length).ok_or("is not a block")?;
    if net.addr() != ip {
        return Err(format!("has bits outside its prefix: did you mean {}?", Pattern::Net(net)));
    }
    Ok(Some(Pattern::Net(net)))
}

/// `*.example.com`, `**.example.com`.
fn wildcard(host: &str, purpose: Use) -> Result<Pattern, String> {
    if host == "*" || host == "**" {
        return Err(match purpose {
            Use::Deny => "what no flag allows is denied: leave the --allow-net out".into(),
            _ => "any host is the bare --allow-net".into(),
        });
    }
    let (kind, rest): (fn(Name) -> Pattern, &str) = match (host.strip_prefix("**."), host.strip_prefix("*.")) {
        (Some(rest), _) => (Pattern::Below, rest),
        (None, Some(rest)) => (Pattern::Child, rest),
        (None, None) => return Err("a star stands for the first label only: *.example.com or **.example.com".into()),
    };
    if rest.contains('*') {
        return Err("has more than one star: *.example.com is one label, **.example.com one or more".into());
    }
    match Host::parse(rest).map_err(|bad| bad.0)? {
        Host::Name(name) if purpose == Use::Restrict && !name.as_str().contains('.') => Err(TWO_LABELS.into()),
        Host::Name(name) => Ok(kind(name)),
        Host::Ip(_) => Err("an address has no wildcards: write a block, as in 10.0.0.0/8".into()),
    }
}

/// A value as a message shows it: bare where it is plain, escaped where it is not, and never with userinfo.
fn shown(text: &str) -> String {
    let quoted = quoted(text);
    match !text.is_empty() && quoted.len() == text.len() + 2 {
        true => text.into(),
        false => quoted,
    }
}
