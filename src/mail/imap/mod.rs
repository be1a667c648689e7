//! Responses of IMAP servers (RFC 9051 section 7, RFC 3501 section 7): the bytes of one whole response become a typed
//! value.
//!
//! Pure, and without recursion that a server could drive: lists nest [`MAX_DEPTH`] deep at most. The grammar is our
//! own, since the available crates fail on real servers: imap-codec refuses UTF-8 in quoted strings, MODSEQ, ESEARCH,
//! VANISHED and every attribute that it does not know, imap-proto has no ESEARCH, NAMESPACE or LIST-EXTENDED and
//! overflows the stack on "((((". This one knows the tokens (RFC 9051 section 9): an unknown response or attribute is
//! data like any other.

mod body;
mod mailbox;
#[cfg(test)]
mod tests;
mod token;

pub use mailbox::{decode_mailbox, encode_mailbox};
pub use token::{MAX_DEPTH, literal};

use super::value::{Fields, Value, field, word};
use token::{Item, Reader};

/// What is wrong with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Malformed(&'static str),
    /// It has more values than the caller takes.
    TooMany,
}

use Fault::Malformed;

pub type Result<T> = std::result::Result<T, Fault>;

/// What one response says: a hash whose `kind` is "go", "status", "fetch", "list", "search", "esearch", "mailbox", "namespace",
/// "capability", "flags", "enabled", "vanished", "exists", "recent", "expunge" or "data"; and how many values it has.
///
/// `response` ends with its CRLF, or without it. Literals stand in it with their bytes. It may have `most` values, each number of a set
/// among them.
pub fn parse(response: &[u8], most: usize) -> Result<(Value<'_>, usize)> {
    let mut reader = Reader::new(response.strip_suffix(b"\r\n").unwrap_or(response), most);
    let fields = read(&mut reader)?;
    Ok((Value::Hash(fields), reader.count))
}

/// What FETCH says of many messages, one response to a line.
#[derive(Debug, Default, PartialEq)]
pub struct Fetched<'a> {
    /// As `message` of a response.
    pub messages: Vec<Value<'a>>,
    /// How many values each has.
    pub counts: Vec<u32>,
    /// Bytes of all their lines.
    pub length: usize,
}

/// Reads the responses of FETCH that `bytes` begin with, as long as nothing about them is out of the ordinary: each a line of at most
/// `longest` bytes (with its end), whole, without literals, control characters that no line has and mistakes. What stops it is
/// [`parse`]'s to read, and to find fault with. `most` is how many values they may have.
pub fn fetched(bytes: &[u8], longest: usize, most: usize) -> Fetched<'_> {
    let (mut found, mut most) = (Fetched::default(), most);
    while found.messages.len() < MANY {
        let rest = &bytes[found.length..];
        let rest = &rest[..rest.len().min(longest)];
        let Some((message, count, length)) = fetched_one(rest, most) else { break };
        found.messages.push(message);
        found.counts.push(count.try_into().unwrap_or(u32::MAX));
        found.length += length;
        most -= count;
    }
    found
}

/// Messages that are read in one go: enough, since no buffer has many more.
const MANY: usize = 256;

fn fetched_one(bytes: &[u8], most: usize) -> Option<(Value<'_>, usize, usize)> {
    if !bytes.starts_with(b"* ") {
        return None;
    }
    let end = memchr::memchr(b'\n', bytes)?;
    let line = bytes[..end].strip_suffix(b"\r")?;
    if line.ends_with(b"}") || memchr::memchr2(b'\r', 0, line).is_some() {
        return None;
    }
    let mut reader = Reader::new(line, most);
    // The tag and the number are values, as they are to `read`.
    let (_, number, name) = (reader.atom().ok()?, spaced(&mut reader)?, spaced(&mut reader)?);
    if !name.eq_ignore_ascii_case(b"FETCH") || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    reader.space().ok()?;
    let message = body::message(&mut reader, self::number(number).ok()?).ok()?;
    reader.end().ok()?;
    Some((Value::Hash(message), reader.count, end + 1))
}

fn spaced<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    reader.space().ok()?;
    reader.atom().ok()
}

fn read<'a>(reader: &mut Reader<'a>) -> Result<Fields<'a>> {
    if reader.starts(b"+") {
        let text = reader.rest().trim_ascii_start();
        return Ok(vec![field("kind", word("go")), field("text", Value::Text(text.into()))]);
    }
    let tag = reader.atom()?;
    reader.space()?;
    let name = reader.atom()?;
    if let Some(status) = status(name) {
        return spoken(reader, tag, status);
    }
    if tag != b"*" {
        return Err(Malformed("neither OK, NO nor BAD follows the tag"));
    }
    if name.iter().all(u8::is_ascii_digit) {
        return numbered(reader, number(name)?);
    }
    data(reader, name)
}

fn status(name: &[u8]) -> Option<&'static str> {
    ["OK", "NO", "BAD", "PREAUTH", "BYE"].into_iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// RFC 9051 section 7.1: `* OK [CODE …] text`.
fn spoken<'a>(reader: &mut Reader<'a>, tag: &'a [u8], status: &'static str) -> Result<Fields<'a>> {
    let mut text = reader.rest().trim_ascii_start();
    let mut fields = vec![field("kind", word("status")), field("status", word(status))];
    if tag != b"*" {
        fields.push(field("tag", Value::Text(tag.into())));
    }
    if let Some((code, rest)) = text.strip_prefix(b"[").and_then(token::bracketed) {
        text = rest.trim_ascii_start();
        let (name, arguments) = code.split_at(code.iter().position(|b| *b == b' ').unwrap_or(code.len()));
        let mut inner = Reader::new(arguments.trim_ascii(), reader.left());
        let items = inner.items_until_end();
        reader.count += inner.count;
        let items = match items {
            Ok(items) => values(items),
            Err(Fault::TooMany) => return Err(Fault::TooMany),
            // What is no list of tokens is a text for people.
            Err(Malformed(_)) => vec![Value::Text(arguments.trim_ascii().into())],
        };
        fields.push(field("code", Value::Text(name.to_ascii_uppercase().into())));
        fields.push(field("arguments", Value::List(items)));
    }
    fields.push(field("text", Value::Text(text.into())));
    Ok(fields)
}

/// `* 23 EXISTS`, `* 5 FETCH (…)`.
fn numbered<'a>(reader: &mut Reader<'a>, number: u64) -> Result<Fields<'a>> {
    reader.space()?;
    let name = reader.atom()?;
    let mut fields = Vec::new();
    for known in ["exists", "recent", "expunge"] {
        if name.eq_ignore_ascii_case(known.as_bytes()) {
            fields = vec![field("kind", word(known))];
        }
    }
    if name.eq_ignore_ascii_case(b"FETCH") {
        reader.space()?;
        fields = vec![field("kind", word("fetch")), field("message", Value::Hash(body::message(reader, number)?))];
    } else if fields.is_empty() {
        fields = vec![field("kind", word("data")), field("name", Value::Text(name.to_ascii_uppercase().into()))];
        fields.push(field("items", Value::List(values(reader.items_until_end()?))));
    }
    fields.push(field("number", Value::Number(number)));
    reader.end()?;
    Ok(fields)
}

/// The rest of RFC 9051 section 7, and what extensions have.
fn data<'a>(reader: &mut Reader<'a>, name: &'a [u8]) -> Result<Fields<'a>> {
    let upper = name.to_ascii_uppercase();
    let items = reader.items_until_end()?;
    let kind = |kind| field("kind", word(kind));
    Ok(match &*upper {
        b"CAPABILITY" => vec![kind("capability"), field("names", texts(items)?)],
        b"ENABLED" => vec![kind("enabled"), field("names", texts(items)?)],
        b"FLAGS" => match <[Item<'a>; 1]>::try_from(items) {
            Ok([Item::List(flags)]) => vec![kind("flags"), field("flags", texts(flags)?)],
            _ => return Err(Malformed("FLAGS has no list of flags")),
        },
        b"SEARCH" | b"SORT" => {
            let mut found = Vec::new();
            let mut fields = vec![kind("search")];
            for item in items {
                match item {
                    Item::Atom(atom) => found.push(small(atom)?),
                    // RFC 7162 section 3.1.5: `(MODSEQ 917162500)`
                    Item::List(_) => fields.push(field("more", item.into())),
                    _ => return Err(Malformed("SEARCH has a word that is not a number")),
                }
            }
            fields.push(field("found", Value::Numbers(found)));
            fields
        }
        b"ESEARCH" => extended(reader, items)?,
        b"LIST" | b"LSUB" | b"XLIST" => listed(items)?,
        b"STATUS" => mailbox_status(items)?,
        b"NAMESPACE" => namespaces(items)?,
        b"VANISHED" => {
            let earlier = matches!(items.first(), Some(Item::List(_)));
            let Some(Item::Atom(set)) = items.last() else { return Err(Malformed("VANISHED has no set of numbers")) };
            let mut fields = vec![kind("vanished"), field("uids", Value::Numbers(reader.numbers(set)?))];
            if earlier {
                fields.push(field("earlier", Value::True));
            }
            fields
        }
        _ => vec![kind("data"), field("name", Value::Text(upper.into())), field("items", Value::List(values(items)))],
    })
}

/// RFC 9051 section 7.3.4: `* ESEARCH (TAG "A1") UID MIN 2 COUNT 3 ALL 2,10:11`.
fn extended<'a>(reader: &mut Reader<'a>, items: Vec<Item<'a>>) -> Result<Fields<'a>> {
    let mut fields = vec![field("kind", word("esearch"))];
    let mut items = items.into_iter().peekable();
    if let Some(Item::List(_)) = items.peek()
        && let Some(Item::List(correlator)) = items.next()
        && let [Item::Atom(name), Item::Text(tag)] = &*correlator
        && name.eq_ignore_ascii_case(b"TAG")
    {
        fields.push(field("tag", Value::Text(tag.clone())));
    }
    while let Some(item) = items.next() {
        let Item::Atom(name) = item else { return Err(Malformed("ESEARCH has a value without a name")) };
        if name.eq_ignore_ascii_case(b"UID") {
            fields.push(field("uid", Value::True));
            continue;
        }
        let value = match (&*name.to_ascii_lowercase(), items.next()) {
            (b"all", Some(Item::Atom(set))) => Value::Numbers(reader.numbers(set)?),
            (b"min" | b"max" | b"count" | b"modseq", Some(Item::Atom(digits))) => Value::Number(number(digits)?),
            (_, Some(item)) => item.into(),
            (_, None) => return Err(Malformed("ESEARCH has a name without a value")),
        };
        fields.push((name.to_ascii_lowercase().into(), value));
    }
    Ok(fields)
}

/// RFC 9051 section 7.3.1: `* LIST (\Noselect) "/" foo`, and what LIST-EXTENDED has behind it.
fn listed(items: Vec<Item<'_>>) -> Result<Fields<'_>> {
    let mut items = items.into_iter();
    let (Some(Item::List(attributes)), Some(separator), Some(name)) = (items.next(), items.next(), items.next()) else {
        return Err(Malformed("LIST has not attributes, a separator and a name"));
    };
    let mut fields = vec![field("kind", word("list")), field("attributes", texts(attributes)?)];
    match separator {
        Item::Nil => {}
        Item::Text(text) => fields.push(field("separator", Value::Text(text))),
        _ => return Err(Malformed("LIST has a separator that is neither NIL nor a character")),
    }
    fields.push(field("name", name.name()?));
    if let Some(more @ Item::List(_)) = items.next() {
        fields.push(field("more", more.into()));
    }
    Ok(fields)
}

/// RFC 9051 section 7.3.3: `* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)`.
fn mailbox_status(items: Vec<Item<'_>>) -> Result<Fields<'_>> {
    let Ok([name, Item::List(items)]) = <[Item<'_>; 2]>::try_from(items) else {
        return Err(Malformed("STATUS has not a name and a list"));
    };
    let (mut found, mut items) = (Vec::new(), items.into_iter());
    while let Some(key) = items.next() {
        let (Item::Atom(key), Some(value)) = (key, items.next()) else {
            return Err(Malformed("STATUS has an item without a value"));
        };
        let value = match value {
            Item::Atom(digits) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                Value::Number(number(digits)?)
            }
            other => other.into(),
        };
        found.push((key.to_ascii_lowercase().into(), value));
    }
    Ok(vec![field("kind", word("mailbox")), field("name", name.name()?), field("status", Value::Hash(found))])
}

/// RFC 9051 section 7.3.2: `* NAMESPACE (("" "/")) (("~" "/")) NIL`.
fn namespaces(items: Vec<Item<'_>>) -> Result<Fields<'_>> {
    let mut fields = vec![field("kind", word("namespace"))];
    for (name, item) in ["personal", "other", "shared"].into_iter().zip(items) {
        let mut found = Vec::new();
        if let Item::List(spaces) = item {
            for space in spaces {
                let Item::List(space) = space else {
                    return Err(Malformed("NAMESPACE has an item that is not a list"));
                };
                let mut space = space.into_iter();
                let Some(Item::Text(prefix)) = space.next() else { return Err(Malformed("NAMESPACE has no prefix")) };
                let mut one = vec![field("prefix", Value::Text(prefix))];
                if let Some(Item::Text(separator)) = space.next() {
                    one.push(field("separator", Value::Text(separator)));
                }
                found.push(Value::Hash(one));
            }
        }
        fields.push(field(name, Value::List(found)));
    }
    Ok(fields)
}

impl<'a> Item<'a> {
    /// A mailbox, or another `astring`: there NIL is three letters.
    fn name(self) -> Result<Value<'a>> {
        match self {
            Item::Text(text) => Ok(Value::Text(text)),
            Item::Atom(atom) => Ok(Value::Text(atom.into())),
            Item::Nil => Ok(word("NIL")),
            Item::List(_) => Err(Malformed("a list stands for a name")),
        }
    }
}

impl<'a> From<Item<'a>> for Value<'a> {
    fn from(item: Item<'a>) -> Value<'a> {
        match item {
            Item::Nil => Value::Nil,
            Item::Atom(atom) => Value::Text(atom.into()),
            Item::Text(text) => Value::Text(text),
            Item::List(items) => Value::List(values(items)),
        }
    }
}

fn values(items: Vec<Item<'_>>) -> Vec<Value<'_>> {
    items.into_iter().map(Value::from).collect()
}

/// Names and flags: no lists among them.
fn texts(items: Vec<Item<'_>>) -> Result<Value<'_>> {
    items.into_iter().map(Item::name).collect::<Result<Vec<_>>>().map(Value::List)
}

fn number(digits: &[u8]) -> Result<u64> {
    let text = str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or(Malformed("a number is malformed"))
}

fn small(digits: &[u8]) -> Result<u32> {
    number(digits)?.try_into().map_err(|_| Malformed("a number has more than 32 bits"))
}

/// The numbers of a set (RFC 9051 section 9, `sequence-set`), in its order: `2,10:11`. `most` of them at the most.
pub fn expand(set: &[u8], most: usize) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for part in set.split(|b| *b == b',') {
        let (from, to) = match part.iter().position(|b| *b == b':') {
            Some(at) => (small(&part[..at])?, small(&part[at + 1..])?),
            None => (small(part)?, small(part)?),
        };
        let (from, to) = (from.min(to), from.max(to));
        // Ten bytes can name four billion.
        if (to - from) as usize >= most - found.len() {
            return Err(Fault::TooMany);
        }
        found.extend(from..=to);
    }
    Ok(found)
}
