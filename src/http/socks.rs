//! The client side of SOCKS5 (RFC 1928, RFC 1929), and of SOCKS4 and 4a (by the notes of their authors), without I/O:
//! bytes in, bytes to send out.
//!
//! A version, a length or a code that is not in these documents is an error. No message contains a credential.

use super::{
    broken,
    proxy::{Kind as Manner, Login},
};
use crate::{
    address::Host,
    error::{Error, Kind, Result},
};
use std::net::IpAddr;

const VERSION: u8 = 5;
const FOUR: u8 = 4;
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum Fed {
    /// More bytes are needed; none was used.
    More,
    /// So many bytes were used; say these.
    Say(usize, Vec<u8>),
    /// So many bytes were used, and what follows is the tunnel.
    Done(usize),
}

/// Why there is no tunnel.
#[derive(Debug)]
pub struct Refusal {
    pub error: Error,
    /// Another address of the same host may do.
    pub elsewhere: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal { error, elsewhere: false }
    }
}

enum At {
    Method,
    Login,
    Reply,
    /// SOCKS4 has one answer only.
    Four,
}

/// One tunnel being asked for.
pub struct Handshake {
    at: At,
    login: Option<Vec<u8>>,
    request: Vec<u8>,
}

impl Handshake {
    /// A tunnel as that kind of proxy makes it.
    pub fn of(kind: Manner, host: &Host, port: u16, login: Option<&Login>) -> Result<Handshake> {
        if kind.is_socks4() { Handshake::four(host, port, login) } else { Handshake::new(host, port, login) }
    }

    /// SOCKS4 to an IPv4 address. A name is sent as 4a does: behind the user, with an address that no host has.
    fn four(host: &Host, port: u16, login: Option<&Login>) -> Result<Handshake> {
        let (address, name) = match host {
            Host::Ip(IpAddr::V4(ip)) => (ip.octets(), None),
            Host::Ip(IpAddr::V6(_)) => return Err(Error::new(Kind::Socket, "SOCKS4 has no IPv6; use socks5://")),
            Host::Name(name) => ([0, 0, 0, 1], Some(name.as_asked().as_bytes())),
        };
        let text = |bytes: &[u8]| bytes.len() <= 255 && !bytes.contains(&0);
        let user = login.map(|login| &*login.user).unwrap_or_default();
        // A NUL would end the text early, and the rest would be read as something else.
        if !text(user) || !name.is_none_or(text) {
            return Err(Error::new(Kind::Socket, "SOCKS4 takes a user and a name of up to 255 bytes without NUL"));
        }
        let mut request = vec![FOUR, 1];
        request.extend(port.to_be_bytes());
        request.extend(address);
        for text in [Some(user), name].into_iter().flatten() {
            request.extend(text);
            request.push(0);
        }
        Ok(Handshake { at: At::Four, login: None, request })
    }

    /// SOCKS5: a tunnel to `host`: a name is sent as a name, and resolved by the proxy.
    pub fn new(host: &Host, port: u16, login: Option<&Login>) -> Result<Handshake> {
        let mut request = vec![VERSION, 1, 0];
        match host {
            Host::Ip(IpAddr::V4(ip)) => {
                request.push(1);
                request.extend(ip.octets());
            }
            Host::Ip(IpAddr::V6(ip)) => {
                request.push(4);
                request.extend(ip.octets());
            }
            Host::Name(name) => {
                // A length that does not fit would be cut, and the rest read as something else (CVE-2023-38545).
                let name = name.as_asked().as_bytes();
                let Some(length) = u8::try_from(name.len()).ok().filter(|length| *length > 0) else {
                    return Err(Error::new(Kind::Socket, "the host's name is longer than SOCKS5 can say (255 bytes)"));
                };
                request.extend([3, length]);
                request.extend(name);
            }
        }
        request.extend(port.to_be_bytes());
        let login = login.map(|login| {
            let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap_or(u8::MAX);
            let mut message = vec![1, length(&login.user)];
            message.extend(login.user.iter().take(255));
            message.push(length(&login.password));
            message.extend(login.password.iter().take(255));
            message
        });
        Ok(Handshake { at: At::Method, login, request })
    }

    /// What the client says first.
    pub fn hello(&self) -> Vec<u8> {
        if let At::Four = self.at {
            return self.request.clone();
        }
        match self.login {
            Some(_) => vec![VERSION, 2, NO_LOGIN, LOGIN],
            None => vec![VERSION, 1, NO_LOGIN],
        }
    }

    /// Looks at what arrived. An error is final.
    pub fn feed(&mut self, input: &[u8]) -> std::result::Result<Fed, Refusal> {
        match self.at {
            At::Method => self.method(input),
            At::Login => self.logged_in(input),
            At::Reply => self.reply(input),
            At::Four => four(input),
        }
    }

    fn method(&mut self, input: &[u8]) -> std::result::Result<Fed, Refusal> {
        version(input, VERSION)?;
        let Some(method) = input.get(1) else { return Ok(Fed::More) };
        match (*method, self.login.take()) {
            (NO_LOGIN, _) => {
                self.at = At::Reply;
                Ok(Fed::Say(2, self.request.clone()))
            }
            (LOGIN, Some(login)) => {
                self.at = At::Login;
                Ok(Fed::Say(2, login))
            }
            (0xff, Some(_)) => Err(refused("accepts none of the offered methods of authentication").into()),
            (0xff, None) => Err(refused("wants credentials; give them in the URL of the option `proxy`").into()),
            (other, _) => {
                Err(broken(format!("the proxy chose method {other} of SOCKS5, which was not offered")).into())
            }
        }
    }

    fn logged_in(&mut self, input: &[u8]) -> std::result::Result<Fed, Refusal> {
        version(input, 1)?;
        match input.get(1) {
            None => Ok(Fed::More),
            Some(0) => {
                self.at = At::Reply;
                Ok(Fed::Say(2, self.request.clone()))
            }
            Some(_) => Err(refused("refuses the credentials").into()),
        }
    }

    fn reply(&mut self, input: &[u8]) -> std::result::Result<Fed, Refusal> {
        version(input, VERSION)?;
        let Some(code) = input.get(1) else { return Ok(Fed::More) };
        let refusal = |error, elsewhere| Err(Refusal { error, elsewhere });
        match code {
            0 => (),
            2 => return refusal(refused("does not allow the connection"), false),
            3 => return refusal(refused("says that the network is unreachable"), true),
            4 => return refusal(refused("says that the host is unreachable"), true),
            5 => return refusal(Error::new(Kind::ConnectionRefused, "connection refused, says the proxy"), true),
            6 => return refusal(refused("says that the connection timed out on its way"), true),
            8 => return refusal(refused("does not know that type of address"), true),
            1 | 7 => return refusal(refused(&format!("failed to connect (code {code} of SOCKS5)")), true),
            _ => {
                return refusal(
                    broken(format!("the proxy answered with code {code}, which SOCKS5 does not have")),
                    false,
                );
            }
        }
        let address = match input.get(3) {
            None => return Ok(Fed::More),
            Some(1) => 4,
            Some(4) => 16,
            Some(3) => match input.get(4) {
                None => return Ok(Fed::More),
                Some(length) => 1 + usize::from(*length),
            },
            Some(other) => {
                return Err(broken(format!(
                    "the proxy answered with address type {other}, which SOCKS5 does not have"
                ))
                .into());
            }
        };
        let length = 4 + address + 2;
        if input.len() < length { Ok(Fed::More) } else { Ok(Fed::Done(length)) }
    }
}

/// SOCKS4's answer: a zero, a code, and six bytes that mean nothing here.
fn four(input: &[u8]) -> std::result::Result<Fed, Refusal> {
    const LENGTH: usize = 8;
    if input.first().is_some_and(|version| *version != 0) {
        return Err(broken("the proxy does not speak SOCKS4").into());
    }
    let refusal = |error, elsewhere| Err(Refusal { error, elsewhere });
    match input.get(1) {
        None => Ok(Fed::More),
        Some(90) if input.len() < LENGTH => Ok(Fed::More),
        Some(90) => Ok(Fed::Done(LENGTH)),
        // One code for everything: another address may do.
        Some(91) => refusal(refused("refuses the connection or failed to make it (code 91 of SOCKS4)"), true),
        Some(92) => refusal(refused("cannot reach identd here, which it asks (code 92 of SOCKS4)"), false),
        Some(93) => refusal(refused("refuses the user: identd says another one (code 93 of SOCKS4)"), false),
        Some(code) => {
            refusal(broken(format!("the proxy answered with code {code}, which SOCKS4 does not have")), false)
        }
    }
}

fn version(input: &[u8], expected: u8) -> Result<()> {
    match input.first() {
        Some(other) if *other != expected => Err(broken("the proxy does not speak SOCKS5")),
        _ => Ok(()),
    }
}

fn refused(message: &str) -> Error {
    Error::new(Kind::Socket, format!("the proxy {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in two pieces; what was said, and how it ended.
    fn run(host: &str, login: bool, input: &[u8], cut: usize) -> (Vec<u8>, std::result::Result<usize, (Kind, bool)>) {
        let login = login.then(|| Login { user: b"u".to_vec(), password: b"pw".to_vec() });
        play(Handshake::new(&Host::parse(host).unwrap(), 443, login.as_ref()).unwrap(), input, cut)
    }

    fn play(mut handshake: Handshake, input: &[u8], cut: usize) -> (Vec<u8>, std::result::Result<usize, (Kind, bool)>) {
        let mut said = handshake.hello();
        let mut at = 0;
        for end in [cut, input.len()] {
            loop {
                match handshake.feed(&input[at..end]) {
                    Ok(Fed::More) => break,
                    Ok(Fed::Say(used, bytes)) => {
                        at += used;
                        said.extend(bytes);
                    }
                    Ok(Fed::Done(used)) => return (said, Ok(input.len() - at - used)),
                    Err(refusal) => return (said, Err((refusal.error.kind(), refusal.elsewhere))),
                }
            }
        }
        (said, Ok(usize::MAX))
    }

    #[test]
    fn answers() {
        const MORE: std::result::Result<usize, (Kind, bool)> = Ok(usize::MAX);
        let name = b"\x05\x01\x00\x03\x09a.example\x01\xbb".as_slice();
        let rows: &[(&str, &str, bool, &[u8], _)] = &[
            ("open, IPv4 answer", "a.example", false, b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0", Ok(0)),
            ("open, name answer", "a.example", false, b"\x05\x00\x05\x00\x00\x03\x02ab\0\0", Ok(0)),
            (
                "open, IPv6 answer",
                "a.example",
                false,
                b"\x05\x00\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0x",
                Ok(1),
            ),
            ("login", "a.example", true, b"\x05\x02\x01\x00\x05\x00\x00\x01\0\0\0\0\0\0", Ok(0)),
            ("login not asked for", "a.example", true, b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0", Ok(0)),
            ("login refused", "a.example", true, b"\x05\x02\x01\x01", Err((Kind::Socket, false))),
            ("login's version", "a.example", true, b"\x05\x02\x05\x00", Err((Kind::Protocol, false))),
            ("no method", "a.example", false, b"\x05\xff", Err((Kind::Socket, false))),
            ("a method not offered", "a.example", false, b"\x05\x02", Err((Kind::Protocol, false))),
            ("GSSAPI", "a.example", true, b"\x05\x01", Err((Kind::Protocol, false))),
            ("SOCKS4", "a.example", false, b"\x00\x5a", Err((Kind::Protocol, false))),
            ("HTTP", "a.example", false, b"HTTP/1.1 400", Err((Kind::Protocol, false))),
            ("refused", "a.example", false, b"\x05\x00\x05\x05", Err((Kind::ConnectionRefused, true))),
            ("unreachable", "a.example", false, b"\x05\x00\x05\x04", Err((Kind::Socket, true))),
            ("not allowed", "a.example", false, b"\x05\x00\x05\x02", Err((Kind::Socket, false))),
            ("unknown code", "a.example", false, b"\x05\x00\x05\x09", Err((Kind::Protocol, false))),
            ("reply's version", "a.example", false, b"\x05\x00\x04\x00\x00\x01", Err((Kind::Protocol, false))),
            ("address type", "a.example", false, b"\x05\x00\x05\x00\x00\x02", Err((Kind::Protocol, false))),
            ("nothing", "a.example", false, b"", MORE),
            ("short", "a.example", false, b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0", MORE),
            ("short name", "a.example", false, b"\x05\x00\x05\x00\x00\x03", MORE),
        ];
        for (label, host, login, input, expected) in rows {
            for cut in 0..=input.len() {
                let (said, got) = run(host, *login, input, cut);
                assert_eq!(got, *expected, "{label} cut at {cut}");
                if got.is_ok() && input.len() > 4 {
                    assert!(said.ends_with(name), "{label}: {said:?}");
                }
            }
        }
    }

    #[test]
    fn requests() {
        for (host, expected) in [
            ("short", &b"\x05\x01\x00\x03\x05short\x01\xbb"[..]),
            ("Short.", b"\x05\x01\x00\x03\x06short.\x01\xbb"),
            ("127.0.0.1", b"\x05\x01\x00\x01\x7f\0\0\x01\x01\xbb"),
            ("::1", b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb"),
        ] {
            let handshake = Handshake::new(&Host::parse(host).unwrap(), 443, None).unwrap();
            assert_eq!(handshake.request, expected, "{host}");
        }
    }

    #[test]
    fn answers_of_socks4() {
        const MORE: std::result::Result<usize, (Kind, bool)> = Ok(usize::MAX);
        for (label, input, expected) in [
            ("open", &b"\0\x5a\x01\xbb\x7f\0\0\x01"[..], Ok(0)),
            ("open, zeros", b"\0\x5a\0\0\0\0\0\0", Ok(0)),
            ("bytes ahead", b"\0\x5a\0\0\0\0\0\0x", Ok(1)),
            ("refused", b"\0\x5b\0\0\0\0\0\0", Err((Kind::Socket, true))),
            ("refused in two bytes", b"\0\x5b", Err((Kind::Socket, true))),
            ("no identd", b"\0\x5c", Err((Kind::Socket, false))),
            ("another user", b"\0\x5d", Err((Kind::Socket, false))),
            ("no code of SOCKS4", b"\0\x00", Err((Kind::Protocol, false))),
            ("beyond the codes", b"\0\x5e", Err((Kind::Protocol, false))),
            ("the request's version", b"\x04\x5a\0\0\0\0\0\0", Err((Kind::Protocol, false))),
            ("SOCKS5", b"\x05\xff", Err((Kind::Protocol, false))),
            ("HTTP", b"HTTP/1.1 400", Err((Kind::Protocol, false))),
            ("nothing", b"", MORE),
            ("short", b"\0\x5a\0\0\0\0\0", MORE),
        ] {
            for cut in 0..=input.len() {
                let handshake = Handshake::of(Manner::Socks4a, &Host::parse("a.example").unwrap(), 443, None).unwrap();
                let (said, got) = play(handshake, input, cut);
                assert_eq!(got, expected, "{label} cut at {cut}");
                assert_eq!(said, b"\x04\x01\x01\xbb\0\0\0\x01\0a.example\0", "{label}");
            }
        }
    }

    #[test]
    fn requests_of_socks4() {
        let user = |user: &[u8]| Login { user: user.to_vec(), password: Vec::new() };
        for (host, login, expected) in [
            ("127.0.0.1", None, Some(&b"\x04\x01\x01\xbb\x7f\0\0\x01\0"[..])),
            ("127.0.0.1", Some(user(b"me")), Some(b"\x04\x01\x01\xbb\x7f\0\0\x01me\0")),
            ("Short.", Some(user(b"me")), Some(b"\x04\x01\x01\xbb\0\0\0\x01me\0short.\0")),
            ("::1", None, None),
            ("127.0.0.1", Some(user(b"a\0b")), None),
            ("127.0.0.1", Some(user(&[b'x'; 256])), None),
        ] {
            let made = Handshake::of(Manner::Socks4, &Host::parse(host).unwrap(), 443, login.as_ref());
            assert_eq!(made.ok().map(|handshake| handshake.hello()).as_deref(), expected, "{host}");
        }
    }
}
