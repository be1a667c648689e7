//! Records for the caller. Names from the DNS are untrusted text: a malformed one is refused here, with the whole
//! answer. Pure.

use super::ask::Fault;
use crate::address::unmap;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::net::IpAddr;

/// The kinds that can be asked for. ANY is not one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    A,
    Aaaa,
    Mx,
    Ns,
    Txt,
    Cname,
    Srv,
    Caa,
    Ptr,
    Soa,
}

impl Type {
    pub const ALL: [Type; 10] =
        [Type::A, Type::Aaaa, Type::Mx, Type::Ns, Type::Txt, Type::Cname, Type::Srv, Type::Caa, Type::Ptr, Type::Soa];

    pub const fn word(self) -> &'static str {
        match self {
            Type::A => "a",
            Type::Aaaa => "aaaa",
            Type::Mx => "mx",
            Type::Ns => "ns",
            Type::Txt => "txt",
            Type::Cname => "cname",
            Type::Srv => "srv",
            Type::Caa => "caa",
            Type::Ptr => "ptr",
            Type::Soa => "soa",
        }
    }

    /// In lower or upper case.
    pub fn parse(text: &str) -> Option<Type> {
        Type::ALL.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(text))
    }

    pub(super) const fn wire(self) -> RecordType {
        match self {
            Type::A => RecordType::A,
            Type::Aaaa => RecordType::AAAA,
            Type::Mx => RecordType::MX,
            Type::Ns => RecordType::NS,
            Type::Txt => RecordType::TXT,
            Type::Cname => RecordType::CNAME,
            Type::Srv => RecordType::SRV,
            Type::Caa => RecordType::CAA,
            Type::Ptr => RecordType::PTR,
            Type::Soa => RecordType::SOA,
        }
    }
}

/// One record. Names are without the root's dot; the root itself is `.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// An address or a name; the character-strings of a TXT record, joined (RFC 7208 §3.3).
    Plain(Box<[u8]>),
    Mx {
        preference: u16,
        exchange: String,
    },
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: String,
    },
    Caa {
        critical: bool,
        tag: String,
        value: Box<[u8]>,
    },
    /// Times in seconds.
    Soa {
        mname: String,
        rname: String,
        serial: u32,
        refresh: u32,
        retry: u32,
        expire: u32,
        minimum: u32,
    },
}

impl Record {
    /// The address that an A or AAAA record is.
    pub(super) fn as_address(&self) -> Option<IpAddr> {
        match self {
            Record::Plain(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn address(ip: IpAddr) -> Record {
        Record::plain(unmap(ip).to_string())
    }

    pub(super) fn plain(text: String) -> Record {
        Record::Plain(text.into_bytes().into())
    }

    /// The text of a plain record.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Record::Plain(text) => Some(text),
            _ => None,
        }
    }

    /// What a record costs in memory, roughly.
    pub(super) fn size(&self) -> usize {
        let inner = match self {
            Record::Plain(text) => text.len(),
            Record::Mx { exchange, .. } => exchange.len(),
            Record::Srv { target, .. } => target.len(),
            Record::Caa { tag, value, .. } => tag.len() + value.len(),
            Record::Soa { mname, rname, .. } => mname.len() + rname.len(),
        };
        size_of::<Record>() + inner
    }

    /// Reads a record off the wire; `None` for a kind that cannot be asked for.
    pub(super) fn read(data: &RData) -> Result<Option<Record>, Fault> {
        Ok(Some(match data {
            RData::A(a) => Record::address(a.0.into()),
            RData::AAAA(aaaa) => Record::address(aaaa.0.into()),
            RData::NS(ns) => Record::plain(host(&ns.0)?),
            RData::CNAME(cname) => Record::plain(host(&cname.0)?),
            RData::PTR(ptr) => Record::plain(host(&ptr.0)?),
            RData::TXT(txt) => Record::Plain(txt.txt_data.concat().into()),
            RData::MX(mx) => Record::Mx { preference: mx.preference, exchange: host(&mx.exchange)? },
            RData::SRV(srv) => {
                Record::Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: host(&srv.target)? }
            }
            RData::CAA(caa) => Record::Caa {
                critical: caa.issuer_critical,
                // RFC 8659 §4.1: letters and digits, in any case.
                tag: match caa.tag.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    true => caa.tag.to_ascii_lowercase(),
                    false => return Err(Fault::BadName),
                },
                value: caa.value.clone().into(),
            },
            RData::SOA(soa) => Record::Soa {
                mname: host(&soa.mname)?,
                rname: mailbox(&soa.rname)?,
                serial: soa.serial,
                refresh: soa.refresh.cast_unsigned(),
                retry: soa.retry.cast_unsigned(),
                expire: soa.expire.cast_unsigned(),
                minimum: soa.minimum,
            },
            _ => return Ok(None),
        }))
    }
}

/// A name of letters, digits, hyphens, underscores, and the slashes of RFC 2317. Anything else in an answer is an
/// attack on whoever prints it or splits it at the dots.
fn host(name: &Name) -> Result<String, Fault> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/');
    text(name, |label| label.iter().all(plain))
}

/// The mailbox of a SOA: its first label may hold dots, which come out escaped (RFC 1035 §5.1).
fn mailbox(name: &Name) -> Result<String, Fault> {
    text(name, |label| label.iter().all(u8::is_ascii_graphic))
}

fn text(name: &Name, is_good: impl Fn(&[u8]) -> bool) -> Result<String, Fault> {
    if !name.iter().all(is_good) {
        return Err(Fault::BadName);
    }
    let mut text = String::new();
    let escaped = name.to_ascii();
    let mut chars = escaped.chars();
    while let Some(char) = chars.next() {
        match chars.as_str().chars().next() {
            // hickory escapes slashes, and a hyphen that begins a label. Dots in a label stay escaped.
            Some('/' | '-') if char == '\\' => {}
            Some(next) if char == '\\' => {
                text.extend([char, next]);
                chars.next();
            }
            _ => text.push(char),
        }
    }
    if text.len() > 1 && text.ends_with('.') {
        text.pop();
    }
    text.make_ascii_lowercase();
    Ok(if text.is_empty() { ".".into() } else { text })
}
