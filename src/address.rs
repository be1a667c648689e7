//! Hosts and addresses, parsed and canonicalised once: what is checked is byte for byte what is used.
//!
//! Flags, raw sockets and URLs all become the same [`Host`]. Pure: no I/O, and it never resolves a name. Every text
//! gives a [`Host`], or a [`BadHost`] with the reason; never a panic.

mod special;
mod zone;
pub use special::{Special, special};
pub use zone::{Zone, Zoned, is_link_local};

use std::{
    borrow::{Borrow, Cow},
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// Why `*.com` is refused where code means to restrict: there it is a mistake.
pub const TWO_LABELS: &str = "a wildcard needs two labels after it, as in *.example.com";

/// Longer texts are refused before UTS 46 looks at them: the longest name has 253 octets, and mapping only shortens.
const LONGEST_TEXT: usize = 1024;

/// A host in its one canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    Name(Name),
    /// Never an IPv4-mapped IPv6 address: that is its IPv4 address.
    Ip(IpAddr),
}

/// A DNS name: lower-case A-labels of letters, digits, hyphens and underscores. The root's dot is kept for who resolves
/// it ([`Name::as_asked`]), and is no part of what is compared, hashed or shown.
#[derive(Clone, Debug)]
pub struct Name(Arc<str>);

/// A host and a port. Displayed as `example.com:80`, `[::1]:80`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    pub host: Host,
    pub port: u16,
}

/// Why a text is not a host: a sentence for people, without the userinfo that the text may have held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHost(pub String);

impl Host {
    /// Reads what raw sockets take: a name, a dotted quad, an IPv6 address with or without brackets.
    ///
    /// UTS 46 non-transitional; one trailing dot of a name says only how it is resolved (RFC 1034 §3.1). Spellings that `inet_aton`
    /// takes for an address (`127.1`, `0x7f.1`, `2130706433`) are refused: two readers would see two hosts.
    pub fn parse(text: &str) -> Result<Host, BadHost> {
        well_formed(text)?;
        if let Some(inner) = text.strip_prefix('[') {
            let inner =
                inner.strip_suffix(']').ok_or_else(|| bad(text, "has an opening bracket without its closing one"))?;
            return ipv6(inner).ok_or_else(|| bad(text, "is not an IPv6 address in brackets"));
        }
        if text.contains(':') {
            return ipv6(text)
                .ok_or_else(|| bad(text, "is neither a name nor an IPv6 address (is the port part of it?)"));
        }
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Host::Ip(ip.into()));
        }
        Name::parse(text).map(Host::Name)
    }

    /// Takes over the host of a parsed URL. The WHATWG parser has turned odd IPv4 spellings into addresses; its names
    /// still have to be DNS names (it lets `*`, a leading dot and other things pass).
    pub fn from_url(host: url::Host<&str>) -> Result<Host, BadHost> {
        match host {
            url::Host::Domain(name) => {
                well_formed(name)?;
                Name::parse(name).map(Host::Name)
            }
            url::Host::Ipv4(ip) => Ok(Host::from(IpAddr::V4(ip))),
            url::Host::Ipv6(ip) => Ok(Host::from(IpAddr::V6(ip))),
        }
    }

    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Ip(ip) => Some(*ip),
            Host::Name(_) => None,
        }
    }

    pub fn name(&self) -> Option<&str> {
        match self {
            Host::Name(name) => Some(name.as_str()),
            Host::Ip(_) => None,
        }
    }

    /// True for a name that was written with the root's dot: no search domain makes another name of it.
    pub fn is_absolute(&self) -> bool {
        matches!(self, Host::Name(name) if name.as_asked().ends_with('.'))
    }

    /// True for `localhost` and the names below it, which are loopback wherever they are asked for (RFC 6761 §6.3).
    pub fn is_localhost(&self) -> bool {
        let above =
            |name: &str| name.strip_suffix("localhost").is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        self.name().is_some_and(above)
    }

    /// True for what never leaves this machine: `localhost`, the names below it, and loopback addresses.
    pub fn is_loopback(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_loopback()) || self.is_localhost()
    }

    /// As an authority has it (RFC 3986 §3.2.2): IPv6 in brackets.
    pub fn authority(&self) -> Cow<'_, str> {
        match self {
            Host::Name(name) => Cow::Borrowed(name.as_str()),
            Host::Ip(IpAddr::V4(ip)) => Cow::Owned(ip.to_string()),
            Host::Ip(IpAddr::V6(ip)) => Cow::Owned(format!("[{ip}]")),
        }
    }

    /// The same for whoever resolves it in our place, a proxy: with the root's dot, where it was written.
    pub fn authority_asked(&self) -> Cow<'_, str> {
        match self {
            Host::Name(name) => Cow::Borrowed(name.as_asked()),
            Host::Ip(_) => self.authority(),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Host::Ip(unmap(ip))
    }
}

/// What one rule of a guard is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    Host(Host),
    /// Names with exactly one label more.
    Children(Name),
}

impl Name {
    fn parse(text: &str) -> Result<Name, BadHost> {
        let ascii = match is_plain(text) {
            true => Cow::Borrowed(text),
            false => idna::uts46::Uts46::new()
                .to_ascii(
                    text.as_bytes(),
                    idna::AsciiDenyList::URL,
                    idna::uts46::Hyphens::Allow,
                    idna::uts46::DnsLength::Ignore,
                )
                .map_err(|_| bad(text, "is not a host name (UTS 46)"))?,
        };
        let name = ascii.strip_suffix('.').unwrap_or(&ascii);
        let fault = if name.is_empty() {
            Some("is empty")
        } else if name.len() > 253 {
            Some("is longer than 253 octets")
        } else {
            name.as_bytes().split(|byte| *byte == b'.').find_map(label_fault)
        };
        if let Some(fault) = fault {
            return Err(bad(text, fault));
        }
        // WHATWG URL, "ends in a number checker": what it would read as an address must not pass as a name.
        let last = name.as_bytes().rsplit(|byte| *byte == b'.').next().unwrap_or_default();
        let digits = match last.strip_prefix(b"0x") {
            Some(hex) => hex.iter().all(u8::is_ascii_hexdigit),
            None => last.iter().all(u8::is_ascii_digit),
        };
        if digits {
            let why = "is an odd spelling of an IPv4 address: write four decimal numbers without leading zeros";
            return Err(bad(text, why));
        }
        Ok(Name(ascii.into()))
    }

    pub fn as_str(&self) -> &str {
        self.0.strip_suffix('.').unwrap_or(&self.0)
    }

    /// What a resolver is asked: with the root's dot, where it was written.
    pub fn as_asked(&self) -> &str {
        &self.0
    }
}

/// True for what UTS 46 leaves as it is, as most names are and all that a URL parser hands over: it need not be asked.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
        && !text.as_bytes().windows(4).any(|four| four == b"xn--")
}

fn label_fault(label: &[u8]) -> Option<&'static str> {
    if label.is_empty() {
        Some("has an empty label")
    } else if label.len() > 63 {
        Some("has a label longer than 63 octets")
    } else if label.starts_with(b"-") || label.ends_with(b"-") {
        Some("has a label that starts or ends with a hyphen")
    } else if !label.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        Some("has a character that host names do not have")
    } else {
        None
    }
}

/// What no host contains, whatever its kind; named one by one so that the message helps.
fn well_formed(text: &str) -> Result<(), BadHost> {
    let fault = if text.is_empty() {
        "is empty"
    } else if text.len() > LONGEST_TEXT {
        "is longer than 253 octets"
    } else if is_plain(text) {
        // Most hosts: nothing of what is looked for below is in them.
        return Ok(());
    } else if text.contains(|c: char| c.is_control()) {
        "has a control character"
    } else if text.contains(char::is_whitespace) {
        "has a blank"
    } else if text.contains("://") {
        "is a URL: only its host belongs here"
    } else if text.contains('@') {
        "has userinfo"
    } else if text.contains('%') {
        match text.contains(':') {
            true => "has a zone, which flags and URLs do not have: a grant covers every zone of its address",
            false => "has a percent sign: escapes exist in URLs only",
        }
    } else if text.contains(['/', '\\']) {
        "has a slash: only the host belongs here"
    } else {
        return Ok(());
    };
    Err(bad(text, fault))
}

fn ipv6(text: &str) -> Option<Host> {
    text.parse::<Ipv6Addr>().ok().map(|ip| Host::from(IpAddr::V6(ip)))
}

/// The IPv4 address inside an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2); anything else as it is.
pub fn unmap(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// Reads the path of a Unix socket: absolute, lexically normalised. `..` is refused rather than resolved, since what
/// it means depends on symbolic links.
pub fn unix_path(text: &str) -> Result<String, BadHost> {
    let path = absolute(text)?;
    match path.is_empty() || text.ends_with('/') || text.ends_with("/.") {
        true => Err(BadHost(format!("path {} is a directory", quoted(text)))),
        false => Ok(path),
    }
}

/// Reads a directory of Unix sockets in the same way; the root is the empty text.
pub fn unix_directory(text: &str) -> Result<String, BadHost> {
    absolute(text)
}

fn absolute(text: &str) -> Result<String, BadHost> {
    let fault = if text.is_empty() {
        Some("is empty")
    } else if text.contains(|c: char| c.is_control()) {
        Some("has a control character")
    } else if !text.starts_with('/') {
        Some("is not an absolute path")
    } else if text.split('/').any(|part| part == "..") {
        Some("has `..` in it")
    } else {
        None
    };
    if let Some(fault) = fault {
        return Err(BadHost(format!("path {} {fault}", quoted(text))));
    }
    let mut path = String::with_capacity(text.len());
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        path.push('/');
        path.push_str(part);
    }
    Ok(path)
}

fn bad(text: &str, fault: &str) -> BadHost {
    BadHost(format!("host {} {fault}", quoted(text)))
}

/// A text of the caller's, fit for one line of a message: escaped, shortened, and without userinfo, which may hold a
/// password.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let tail = text.rsplit('@').next().unwrap_or(text);
    let mut shown: String = tail.chars().take(SHOWN).collect();
    if shown.len() < tail.len() {
        shown.push('…');
    }
    if tail.len() < text.len() {
        shown.insert_str(0, "…@");
    }
    format!("{shown:?}")
}

impl Endpoint {
    /// Reads `HOST:PORT`, as `requires` lists it: IPv6 in brackets, the port a decimal number from 1 to 65535.
    pub fn parse(text: &str) -> Result<Endpoint, BadHost> {
        let why = |fault| BadHost(format!("{} {fault}", quoted(text)));
        let (host, port) = text.rsplit_once(':').ok_or_else(|| why("has no port: write HOST:PORT"))?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(why("has too many colons: write IPv6 addresses in brackets, as in [::1]:80"));
        }
        let plain = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
        match port.parse() {
            Ok(port) if plain => Ok(Endpoint { host: Host::parse(host)?, port }),
            _ => Err(why("has a port that is not a number from 1 to 65535")),
        }
    }
}

impl Borrow<str> for Name {
    // `Name` hashes and compares as its text does, so a map of names can be asked with a part of another name.
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => name.fmt(f),
            Host::Ip(ip) => ip.fmt(f),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            ref host => write!(f, "{host}:{}", self.port),
        }
    }
}

impl fmt::Display for BadHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadHost {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The short cut says what UTS 46 would.
    #[test]
    fn plain_names_are_their_own_form() {
        for text in ["a", "a.b", "-a-.b--c_1", "a..b", ".", "..a.", "0x1.2", "ab--cd", "r3---sn-x.example.com", "xn-.a"]
        {
            let mapped = idna::uts46::Uts46::new().to_ascii(
                text.as_bytes(),
                idna::AsciiDenyList::URL,
                idna::uts46::Hyphens::Allow,
                idna::uts46::DnsLength::Ignore,
            );
            assert!(is_plain(text) && mapped.is_ok_and(|mapped| mapped == text), "{text}");
        }
        for text in ["A.b", "xn--a", "a.xn--bcher-kva", "ü", "a b", "a/b", "a*b"] {
            assert!(!is_plain(text), "{text}");
        }
    }

    #[test]
    fn hosts_have_one_form() {
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        for (text, expected) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com.", "example.com"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            ("r3---sn-x.example.com", "r3---sn-x.example.com"),
            ("münchen.de", "xn--mnchen-3ya.de"),
            ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
            ("faß.de", "xn--fa-hia.de"),
            ("ｅxample。com", "example.com"),
            ("exa\u{ad}mple.com", "example.com"),
            ("1.2.3.4", "1.2.3.4"),
            ("1.2.3.example.com", "1.2.3.example.com"),
            ("0xg.example", "0xg.example"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("[::ffff:127.0.0.1]", "127.0.0.1"),
            ("::ffff:7f00:1", "127.0.0.1"),
            ("::127.0.0.1", "::127.0.0.1"),
            (&long, &long),
        ] {
            let host = Host::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(host, Host::parse(expected).unwrap(), "{text}");
            if host.name().is_some() {
                assert_eq!(host.to_string(), expected);
            }
        }
    }

    /// The root's dot changes who is asked, and nothing that is compared.
    #[test]
    fn the_dot_at_the_end() {
        for (text, asked, absolute, localhost) in [
            ("short", Some("short"), false, false),
            ("short.", Some("short."), true, false),
            ("SHORT。", Some("short."), true, false),
            ("bücher.", Some("xn--bcher-kva."), true, false),
            ("localhost", Some("localhost"), false, true),
            ("LocalHost.", Some("localhost."), true, true),
            ("a.b.localhost", Some("a.b.localhost"), false, true),
            ("a.localhost.", Some("a.localhost."), true, true),
            ("alocalhost", Some("alocalhost"), false, false),
            ("localhost.example", Some("localhost.example"), false, false),
            ("127.0.0.1", None, false, false),
            ("::1", None, false, false),
        ] {
            let host = Host::parse(text).unwrap();
            assert_eq!((host.is_absolute(), host.is_localhost()), (absolute, localhost), "{text}");
            assert_eq!(host.is_loopback(), localhost || asked.is_none(), "{text}");
            let Host::Name(name) = &host else { continue };
            assert_eq!(Some(name.as_asked()), asked, "{text}");
            let other = Host::parse(&format!("{host}.")).unwrap();
            let hash = |host: &Host| std::hash::BuildHasher::hash_one(&foldhash::fast::FixedState::default(), host);
            assert!(other == host && other.cmp(&host).is_eq() && hash(&other) == hash(&host), "{text}");
            assert!(!other.to_string().ends_with('.') && !other.authority().ends_with('.'), "{text}");
        }
    }

    #[test]
    fn odd_hosts_are_refused_with_a_reason() {
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(62));
        let label = format!("{}.com", "a".repeat(64));
        for (text, reason) in [
            ("", "empty"),
            (".", "empty"),
            ("\u{ad}", "empty"),
            ("..", "empty label"),
            (".example.com", "empty label"),
            ("example.com..", "empty label"),
            ("exa mple.com", "blank"),
            ("example.com\n", "control"),
            ("example.com\0.evil.com", "control"),
            ("a\u{a0}b.com", "blank"),
            ("exa%6dple.com", "percent"),
            ("fe80::1%eth0", "zone"),
            ("[fe80::1%25eth0]", "zone"),
            ("127.1", "odd spelling"),
            ("0x7f.1", "odd spelling"),
            ("0X7F.0.0.0x1", "odd spelling"),
            ("0x", "odd spelling"),
            ("2130706433", "odd spelling"),
            ("017700000001", "odd spelling"),
            ("127.000.000.001", "odd spelling"),
            ("256.256.256.256", "odd spelling"),
            ("1.2.3.4.", "odd spelling"),
            ("１27.0.0.1", "odd spelling"),
            ("example.1", "odd spelling"),
            ("[[::1]]", "brackets"),
            ("[1.2.3.4]", "brackets"),
            ("[::1", "bracket"),
            ("[::1]:80", "bracket"),
            ("example.com:80", "port"),
            ("1:2:3:4:5:6:7:8:9", "IPv6"),
            ("::1::", "IPv6"),
            ("-x.example", "hyphen"),
            ("x-.example", "hyphen"),
            ("*.example.com", "character"),
            ("exa<mple.com", "UTS 46"),
            ("exa!mple.com", "character"),
            ("xn--a", "UTS 46"),
            ("example\u{2024}com", "UTS 46"),
            ("a\u{2100}b.com", "UTS 46"),
            ("/run/docker.sock", "slash"),
            ("https://example.com", "URL"),
            (&long, "253"),
            (&label, "63"),
            (&"a".repeat(1 << 20), "253"),
        ] {
            match Host::parse(text) {
                Ok(host) => panic!("{text:?} became {host:?}"),
                Err(err) => assert!(err.0.contains(reason), "{text:?}: {err}"),
            }
        }
    }

    #[test]
    fn messages_never_hold_userinfo() {
        for text in ["user:secret@example.com", "a:secret@b@c", "https://user:secret@example.com/"] {
            let err = Host::parse(text).unwrap_err();
            assert!(!err.0.contains("secret"), "{err}");
        }
    }

    #[test]
    fn urls_come_to_the_same_form() {
        for (url, expected) in [
            ("http://2130706433/", Some("127.0.0.1")),
            ("http://[::ffff:127.0.0.1]/", Some("127.0.0.1")),
            ("http://EXAMPLE.com./", Some("example.com")),
            ("http://.example.com/", None),
            ("http://example.com../", None),
            ("http://*.example.com/", None),
            ("http://-a.example.com/", None),
        ] {
            let parsed = url::Url::parse(url).unwrap();
            let host = Host::from_url(parsed.host().unwrap());
            assert_eq!(host.ok().map(|h| h.to_string()).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn endpoints_have_a_host_and_a_port() {
        for (text, expected) in [
            ("Example.com:443", Some("example.com:443")),
            ("[::1]:80", Some("[::1]:80")),
            ("[::ffff:1.2.3.4]:80", Some("1.2.3.4:80")),
            ("::1:80", None),
            ("example.com", None),
            ("example.com:", None),
            ("example.com:0", None),
            ("example.com:+80", None),
            ("example.com:080", None),
            ("example.com:65536", None),
            (":80", None),
            ("https://example.com:443", None),
            ("u:secret@example.com:443", None),
        ] {
            let endpoint = Endpoint::parse(text);
            assert!(!format!("{endpoint:?}").contains("secret"));
            assert_eq!(endpoint.ok().map(|e| e.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_absolute_and_lexical() {
        for (text, expected) in [
            ("/run/x.sock", Some("/run/x.sock")),
            ("//run/./x.sock", Some("/run/x.sock")),
            ("/run/../x.sock", None),
            ("run/x.sock", None),
            ("/run/x.sock/", None),
            ("/", None),
            ("", None),
            ("/run/x\0.sock", None),
            ("\0abstract", None),
            ("/a..b/...", Some("/a..b/...")),
        ] {
            assert_eq!(unix_path(text).ok().as_deref(), expected, "{text:?}");
        }
    }
}
