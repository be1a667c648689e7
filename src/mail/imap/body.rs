//! The data of FETCH about a message (RFC 9051 section 7.5.2): attributes by name, envelope and structure by field.

use super::{
    Fault::Malformed,
    Result, number,
    token::{Item, Reader},
    values,
};
use crate::{
    dates,
    mail::{
        parsed::decoded_words,
        value::{Fields, Value, field},
    },
};
use std::borrow::Cow;

/// `(UID 5 FLAGS (\Seen) …)`: a hash with `seq`, and `uid`, `flags`, `size`, `internal_date` (Unix time), `envelope`, `structure`, `modseq`,
/// `body` and `binary` (by section; `body[""]` is all of it), and what else there is, by its name in lower case.
pub fn message<'a>(reader: &mut Reader<'a>, seq: u64) -> Result<Fields<'a>> {
    let mut fields = vec![field("seq", Value::Number(seq))];
    let (mut body, mut binary) = (Vec::new(), Vec::new());
    if !reader.starts(b"(") {
        return Err(Malformed("FETCH has no list of attributes"));
    }
    loop {
        while reader.starts(b" ") {}
        if reader.starts(b")") {
            break;
        }
        let (name, section) = reader.attribute()?;
        reader.space()?;
        let item = reader.item()?;
        let lower = name.to_ascii_lowercase();
        match (&*lower, section) {
            (b"uid", None) => fields.push(field("uid", digits(&item)?)),
            (b"rfc822.size", None) => fields.push(field("size", digits(&item)?)),
            (b"flags", None) => fields.push(field("flags", flags(item)?)),
            (b"internaldate", None) => fields.push(match &item {
                Item::Text(text) => match internal_date(text) {
                    Some(time) => field("internal_date", Value::Seconds(time)),
                    None => field("internaldate", item.into()),
                },
                _ => field("internaldate", item.into()),
            }),
            (b"envelope", None) => fields.push(field("envelope", envelope(item)?)),
            (b"bodystructure" | b"body", None) => {
                fields.push(field("structure", Value::Hash(structure(item, &Place::Root)?)))
            }
            (b"modseq", None) => fields.push(match &item {
                Item::List(list) if list.len() == 1 => field("modseq", digits(&list[0])?),
                _ => return Err(Malformed("MODSEQ is not one number")),
            }),
            (b"body", Some(section)) => body.push((section.to_ascii_uppercase().into(), bytes(item)?)),
            (b"binary", Some(section)) => binary.push((section.to_ascii_uppercase().into(), bytes(item)?)),
            (b"rfc822", None) => body.push((Cow::Borrowed(&b""[..]), bytes(item)?)),
            (b"rfc822.header", None) => body.push((Cow::Borrowed(&b"HEADER"[..]), bytes(item)?)),
            (b"rfc822.text", None) => body.push((Cow::Borrowed(&b"TEXT"[..]), bytes(item)?)),
            (_, None) => fields.push((lower.into(), item.into())),
            (_, Some(section)) => {
                let name = [&*lower, b"[", &*section.to_ascii_lowercase(), b"]"].concat();
                fields.push((name.into(), item.into()));
            }
        }
    }
    for (name, found) in [("body", body), ("binary", binary)] {
        if !found.is_empty() {
            fields.push(field(name, Value::Hash(found)));
        }
    }
    Ok(fields)
}

fn digits<'a>(item: &Item<'a>) -> Result<Value<'a>> {
    match item {
        Item::Atom(digits) => Ok(Value::Number(number(digits)?)),
        _ => Err(Malformed("a number is missing")),
    }
}

fn flags(item: Item<'_>) -> Result<Value<'_>> {
    match item {
        Item::List(flags) => super::texts(flags),
        _ => Err(Malformed("FLAGS is no list")),
    }
}

/// The bytes of a section. NIL where there is no such part.
fn bytes(item: Item<'_>) -> Result<Value<'_>> {
    match item {
        Item::Nil => Ok(Value::Nil),
        Item::Text(text) => Ok(Value::Text(text)),
        _ => Err(Malformed("a section is neither a string nor NIL")),
    }
}

/// A string or NIL; an atom is taken for the string that it should have been.
fn string(item: Option<Item<'_>>) -> Option<Cow<'_, [u8]>> {
    match item {
        Some(Item::Text(text)) => Some(text),
        Some(Item::Atom(atom)) => Some(atom.into()),
        _ => None,
    }
}

fn put<'a>(fields: &mut Fields<'a>, name: &'static str, text: Option<Cow<'a, [u8]>>) {
    if let Some(text) = text {
        fields.push(field(name, Value::Text(text)));
    }
}

/// Text in which encoded words (RFC 2047) are what they stand for.
fn decoded(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match decoded_words(&text) {
        Some(decoded) => Cow::Owned(decoded.into_bytes()),
        None => text,
    }
}

fn lower(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if text.iter().any(u8::is_ascii_uppercase) { Cow::Owned(text.to_ascii_lowercase()) } else { text }
}

/// `(date subject from sender reply-to to cc bcc in-reply-to message-id)`
fn envelope(item: Item<'_>) -> Result<Value<'_>> {
    let Item::List(items) = item else { return Err(Malformed("ENVELOPE is no list")) };
    let mut items = items.into_iter();
    let mut fields = Vec::with_capacity(10);
    put(&mut fields, "date", string(items.next()));
    put(&mut fields, "subject", string(items.next()).map(decoded));
    let from = items.next();
    let others = [("sender", items.next()), ("reply_to", items.next())];
    // Servers say it again where a message has none of them (RFC 9051 section 7.5.2): that is most of what envelopes are made of.
    let others = others.map(|(name, item)| match item == from && matches!(item, Some(Item::List(_))) {
        true => (name, Ok(Value::Same("from"))),
        false => (name, addresses(item).map(Value::List)),
    });
    fields.push(field("from", Value::List(addresses(from)?)));
    for (name, value) in others {
        fields.push(field(name, value?));
    }
    for name in ["to", "cc", "bcc"] {
        fields.push(field(name, Value::List(addresses(items.next())?)));
    }
    put(&mut fields, "in_reply_to", string(items.next()));
    put(&mut fields, "message_id", string(items.next()));
    Ok(Value::Hash(fields))
}

/// `((name route mailbox host) …)`. A group is (NIL NIL name NIL), its members, (NIL NIL NIL NIL): members know its name.
fn addresses(item: Option<Item<'_>>) -> Result<Vec<Value<'_>>> {
    let Some(Item::List(items)) = item else { return Ok(Vec::new()) };
    let (mut found, mut group) = (Vec::with_capacity(items.len()), None);
    for item in items {
        let Item::List(parts) = item else { return Err(Malformed("an address is no list")) };
        let mut parts = parts.into_iter();
        let name = string(parts.next());
        parts.next();
        let (mailbox, host) = (string(parts.next()), string(parts.next()));
        let Some(host) = host else {
            group = mailbox;
            continue;
        };
        let mailbox = mailbox.unwrap_or_default();
        let address = if host.is_empty() { mailbox.to_vec() } else { [&*mailbox, b"@", &*host].concat() };
        let mut fields = Vec::with_capacity(2);
        put(&mut fields, "name", name.map(decoded));
        fields.push(field("address", Value::Text(address.into())));
        put(&mut fields, "group", group.clone().map(decoded));
        found.push(Value::Hash(fields));
    }
    Ok(found)
}

/// Where a part stands, by which its number is known (RFC 9051 section 6.4.5.1).
enum Place {
    Root,
    /// The message inside the part of this number.
    Inside(String),
    Part(String),
}

/// A part: { type = "text/plain", section = "1.2", params, id, description, encoding, size, lines, md5, disposition, disposition_params,
/// language, location }, and `parts` of a multipart, `envelope` and `structure` of a message.
fn structure<'a>(item: Item<'a>, place: &Place) -> Result<Fields<'a>> {
    let Item::List(items) = item else { return Err(Malformed("BODYSTRUCTURE is no list")) };
    let mut items = items.into_iter().peekable();
    let mut fields = Vec::with_capacity(8);
    if matches!(items.peek(), Some(Item::List(_))) {
        let prefix = match place {
            Place::Root => String::new(),
            Place::Inside(at) | Place::Part(at) => format!("{at}."),
        };
        let mut parts = Vec::new();
        while let Some(part) = items.next_if(|item| matches!(item, Item::List(_))) {
            let place = Place::Part(format!("{prefix}{}", parts.len() + 1));
            parts.push(Value::Hash(structure(part, &place)?));
        }
        let subtype = string(items.next()).map(lower).unwrap_or_default();
        fields.push(field("type", Value::Text([b"multipart/", &*subtype].concat().into())));
        if let Place::Part(at) = place {
            fields.push(field("section", Value::Text(at.clone().into_bytes().into())));
        }
        fields.push(field("parts", Value::List(parts)));
        params(&mut fields, "params", items.next());
        extended(&mut fields, &mut items);
        return Ok(fields);
    }
    let section = match place {
        Place::Root => "1".to_owned(),
        Place::Inside(at) => format!("{at}.1"),
        Place::Part(at) => at.clone(),
    };
    // What a server does not know it calls NIL; RFC 2045 section 5.2 has the default.
    let kind = string(items.next()).map(lower).unwrap_or(Cow::Borrowed(b"text"));
    let subtype = string(items.next()).map(lower).unwrap_or(Cow::Borrowed(b"plain"));
    fields.push(field("type", Value::Text([&*kind, b"/", &*subtype].concat().into())));
    fields.push(field("section", Value::Text(section.clone().into_bytes().into())));
    params(&mut fields, "params", items.next());
    put(&mut fields, "id", string(items.next()));
    put(&mut fields, "description", string(items.next()).map(decoded));
    put(&mut fields, "encoding", string(items.next()).map(lower));
    count(&mut fields, "size", items.next());
    if &*kind == b"message"
        && matches!(&*subtype, b"rfc822" | b"global")
        && matches!(items.peek(), Some(Item::List(_) | Item::Nil))
    {
        if let Some(inner @ Item::List(_)) = items.next() {
            fields.push(field("envelope", envelope(inner)?));
        }
        if let Some(inner @ Item::List(_)) = items.next() {
            fields.push(field("structure", Value::Hash(structure(inner, &Place::Inside(section))?)));
        }
        count(&mut fields, "lines", items.next());
    } else if &*kind == b"text" {
        count(&mut fields, "lines", items.next());
    }
    put(&mut fields, "md5", string(items.next()));
    extended(&mut fields, &mut items);
    Ok(fields)
}

fn count<'a>(fields: &mut Fields<'a>, name: &'static str, item: Option<Item<'a>>) {
    if let Some(Item::Atom(digits)) = item
        && let Ok(count) = number(digits)
    {
        fields.push(field(name, Value::Number(count)));
    }
}

/// Disposition, language and location, which all parts have at their end.
fn extended<'a>(fields: &mut Fields<'a>, items: &mut dyn Iterator<Item = Item<'a>>) {
    match items.next() {
        Some(Item::List(parts)) => {
            let mut parts = parts.into_iter();
            put(fields, "disposition", string(parts.next()).map(lower));
            params(fields, "disposition_params", parts.next());
        }
        other => put(fields, "disposition", string(other).map(lower)),
    }
    match items.next() {
        Some(Item::List(languages)) => fields.push(field("language", Value::List(values(languages)))),
        other => {
            if let Some(text) = string(other) {
                fields.push(field("language", Value::List(vec![Value::Text(text)])));
            }
        }
    }
    put(fields, "location", string(items.next()));
}

/// `("CHARSET" "UTF-8")`, by name in lower case.
fn params<'a>(fields: &mut Fields<'a>, name: &'static str, item: Option<Item<'a>>) {
    let Some(Item::List(items)) = item else { return };
    let (mut found, mut items) = (Vec::new(), items.into_iter());
    while let Some(key) = string(items.next()) {
        if let Some(value) = string(items.next()) {
            found.push((lower(key), Value::Text(decoded(value))));
        }
    }
    fields.push(field(name, Value::Hash(found)));
}

/// `17-Jul-1996 02:44:25 -0700` as Unix time.
pub fn internal_date(text: &[u8]) -> Option<i64> {
    let text = str::from_utf8(text).ok()?.trim_start();
    let (date, rest) = text.split_once(' ')?;
    let (time, zone) = rest.split_once(' ')?;
    let number = |text: &str, most: u32| -> Option<u32> {
        let plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|number| plain && *number <= most)
    };
    let mut date = date.split('-');
    let (day, month, year) = (number(date.next()?, 31)?, date.next()?, number(date.next()?, 9999)?);
    let month = dates::month(month.as_bytes()).filter(|_| month.len() == 3)?;
    let mut time = time.split(':');
    let (hour, minute, second) = (number(time.next()?, 23)?, number(time.next()?, 59)?, number(time.next()?, 60)?);
    let (sign, zone) = match (zone.strip_prefix('-'), zone.strip_prefix('+')) {
        (Some(zone), _) => (-1, zone),
        (_, Some(zone)) => (1, zone),
        _ => return None,
    };
    let zone = number(zone, 9999).filter(|_| zone.len() == 4)?;
    let ahead = sign * i64::from(zone / 100 * 3600 + zone % 100 * 60);
    Some(dates::seconds(year, month, day)? + i64::from(hour * 3600 + minute * 60 + second) - ahead)
}
