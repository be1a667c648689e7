//! Messages (RFC 5322, MIME): bytes in, headers, texts and attachments out, by mail-parser. It accepts any input and
//! returns what it can read; so does this file. Pure.

use super::value::{Fields, Value, field, text};
use mail_parser::{
    Address, Encoding, HeaderName, HeaderValue, Message, MessageParser, MessagePart, MimeHeaders, PartType,
    decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode},
    parsers::MessageStream,
};
use std::borrow::Cow;

/// Parts, headers and addresses of one message; each takes a few hundred bytes, whatever it has in it.
pub const MAX_ITEMS: usize = 100_000;

/// The message has more parts, header fields or addresses than [`MAX_ITEMS`].
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

/// Text in which encoded words (RFC 2047) are what they stand for; `None` where there are none.
pub fn decoded_words(raw: &[u8]) -> Option<String> {
    raw.windows(2).any(|pair| pair == b"=?").then_some(())?;
    let mut line = Vec::with_capacity(raw.len() + 1);
    line.extend(raw.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }));
    line.push(b'\n');
    match MessageStream::new(&line).parse_unstructured() {
        HeaderValue::Text(text) => Some(text.into_owned()),
        _ => None,
    }
}

/// A message as a hash: `headers` (by name in lower case, decoded; the first of a name), `raw_headers` (`{ { name, value }, … }`, as they
/// stand), `subject`, `from`, `to`, `cc`, `bcc`, `reply_to`, `sender` (lists of { name, address, group }), `date` (Unix time), `message_id`,
/// `in_reply_to`, `references` (lists), `text`, `html` (the bodies, in UTF-8), `attachments` (a list of { name, type, data, cid, disposition }).
///
/// # Errors
///
/// [`TooMany`].
pub fn parse<'a>(raw: &'a [u8], make: &mut dyn FnMut(Value<'_>)) -> Result<(), TooMany> {
    // Beyond that the parser itself would take more memory than the message has bytes, forty times.
    let lines = raw.split(|b| *b == b'\n').filter(|line| line.starts_with(b"--") || contains(line, b"rfc822"));
    if lines.take(MAX_ITEMS + 1).count() > MAX_ITEMS {
        return Err(TooMany);
    }
    let Some(message) = MessageParser::default().parse(raw) else {
        make(Value::Hash(bare()));
        return Ok(());
    };
    let done = fields(&message, raw).map(|fields| make(Value::Hash(fields)));
    dismantle(message);
    done
}

fn contains(line: &[u8], word: &[u8]) -> bool {
    line.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

/// Messages stand in messages, as deep as the sender likes: dropped one after the other, and not on the stack.
fn dismantle(message: Message<'_>) {
    let mut todo = vec![message];
    while let Some(message) = todo.pop() {
        todo.extend(message.parts.into_iter().filter_map(|part| match part.body {
            PartType::Message(inner) => Some(inner),
            _ => None,
        }));
    }
}

/// What has no header field at all.
fn bare<'a>() -> Fields<'a> {
    let mut fields = vec![field("headers", Value::Hash(Vec::new())), field("raw_headers", Value::List(Vec::new()))];
    fields.extend(ADDRESSES.iter().map(|(name, _)| field(name, Value::List(Vec::new()))));
    fields.extend(["in_reply_to", "references", "attachments"].map(|name| field(name, Value::List(Vec::new()))));
    fields
}

const ADDRESSES: [(&str, HeaderName<'static>); 6] = [
    ("from", HeaderName::From),
    ("to", HeaderName::To),
    ("cc", HeaderName::Cc),
    ("bcc", HeaderName::Bcc),
    ("reply_to", HeaderName::ReplyTo),
    ("sender", HeaderName::Sender),
];

fn fields<'a>(message: &'a Message<'a>, raw: &'a [u8]) -> Result<Fields<'a>, TooMany> {
    if message.parts.len() + message.headers().len() > MAX_ITEMS {
        return Err(TooMany);
    }
    let (mut headers, mut raw_headers) = (Fields::new(), Vec::new());
    let mut known = std::collections::HashSet::new();
    for header in message.headers() {
        let value = raw.get(header.offset_start as usize..header.offset_end as usize).unwrap_or_default().trim_ascii();
        let name = raw
            .get(header.offset_field as usize..(header.offset_start as usize).saturating_sub(1))
            .unwrap_or_default()
            .trim_ascii();
        raw_headers.push(Value::List(vec![Value::Text(name.into()), Value::Text(value.into())]));
        let lower = name.to_ascii_lowercase();
        if known.insert(lower.clone()) {
            headers.push((lower.into(), Value::Text(unfolded(value))));
        }
    }
    let mut fields = vec![field("headers", Value::Hash(headers)), field("raw_headers", Value::List(raw_headers))];
    if let Some(subject) = message.subject() {
        fields.push(field("subject", text(subject.into())));
    }
    for (name, header) in ADDRESSES {
        fields.push(field(name, Value::List(addresses(message.header(header))?)));
    }
    if let Some(date) = message.date().filter(|date| date.is_valid()) {
        fields.push(field("date", Value::Seconds(date.to_timestamp())));
    }
    if let Some(id) = message.message_id() {
        fields.push(field("message_id", text(id.into())));
    }
    for (name, value) in [("in_reply_to", message.in_reply_to()), ("references", message.references())] {
        let ids = value.as_text_list().unwrap_or_default();
        if ids.len() > MAX_ITEMS {
            return Err(TooMany);
        }
        fields.push(field(name, Value::List(ids.iter().map(|id| text(Cow::Borrowed(id))).collect())));
    }
    for (name, ids, html) in [("text", &message.text_body, false), ("html", &message.html_body, true)] {
        if let Some(body) = joined(message, ids, html) {
            fields.push(field(name, text(body)));
        }
    }
    let attached = message.attachments.iter().filter_map(|id| message.part(*id));
    fields.push(field("attachments", Value::List(attached.map(|part| attachment(part, raw)).collect())));
    Ok(fields)
}

/// A value in one line, decoded.
fn unfolded(value: &[u8]) -> Cow<'_, [u8]> {
    if let Some(message) = decoded_words(value) {
        return Cow::Owned(message.into_bytes());
    }
    if !value.contains(&b'\n') {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect())
}

fn addresses<'a>(value: Option<&'a HeaderValue<'a>>) -> Result<Vec<Value<'a>>, TooMany> {
    let Some(HeaderValue::Address(address)) = value else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut add = |addr: &'a mail_parser::Addr<'a>, group: Option<&'a str>| {
        let mut fields = Vec::with_capacity(2);
        if let Some(name) = &addr.name {
            fields.push(field("name", text(Cow::Borrowed(name))));
        }
        fields.push(field("address", text(Cow::Borrowed(addr.address.as_deref().unwrap_or_default()))));
        if let Some(group) = group {
            fields.push(field("group", text(group.into())));
        }
        found.push(Value::Hash(fields));
    };
    match address {
        Address::List(list) => list.iter().for_each(|addr| add(addr, None)),
        Address::Group(groups) => {
            groups.iter().for_each(|group| group.addresses.iter().for_each(|addr| add(addr, group.name.as_deref())));
        }
    }
    if found.len() > MAX_ITEMS { Err(TooMany) } else { Ok(found) }
}

/// The texts of a message, one behind the other: `html` or not; none where it has none of that kind.
fn joined<'a>(message: &'a Message<'a>, ids: &[u32], html: bool) -> Option<Cow<'a, str>> {
    let mut found: Option<Cow<'a, str>> = None;
    for part in ids.iter().filter_map(|id| message.part(*id)) {
        let body = match &part.body {
            PartType::Text(body) if !html => body,
            PartType::Html(body) if html => body,
            _ => continue,
        };
        found = Some(match found {
            None => Cow::Borrowed(body),
            Some(before) => Cow::Owned(before.into_owned() + body),
        });
    }
    found
}

fn attachment<'a>(part: &'a MessagePart<'a>, raw: &'a [u8]) -> Value<'a> {
    let mut fields = Vec::with_capacity(4);
    if let Some(name) = part.attachment_name() {
        fields.push(field("name", text(name.into())));
    }
    let kind = match part.content_type() {
        Some(kind) => format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("plain")).to_ascii_lowercase(),
        None if part.is_message() => "message/rfc822".into(),
        None => "text/plain".into(),
    };
    fields.push(field("type", text(kind.into())));
    if let Some(id) = part.content_id() {
        fields.push(field("cid", text(id.trim_matches(['<', '>']).into())));
    }
    if let Some(disposition) = part.content_disposition() {
        fields.push(field("disposition", text(disposition.ctype().to_ascii_lowercase().into())));
    }
    fields.push(field("data", Value::Text(data(part, raw))));
    Value::Hash(fields)
}

/// The bytes of an attachment as they were attached: texts, too, whatever their charset.
fn data<'a>(part: &'a MessagePart<'a>, raw: &'a [u8]) -> Cow<'a, [u8]> {
    let encoded = raw.get(part.offset_body as usize..part.offset_end as usize).unwrap_or_default();
    match (&part.body, part.encoding) {
        (PartType::Binary(bytes) | PartType::InlineBinary(bytes), _) => Cow::Borrowed(bytes),
        (PartType::Message(inner), Encoding::None) if inner.raw_message.is_empty() => Cow::Borrowed(encoded),
        (PartType::Message(inner), _) if part.encoding != Encoding::None => Cow::Borrowed(&inner.raw_message),
        (_, Encoding::None) => Cow::Borrowed(encoded),
        (PartType::Text(body) | PartType::Html(body), encoding) => {
            let decoded =
                if encoding == Encoding::Base64 { base64_decode(encoded) } else { quoted_printable_decode(encoded) };
            decoded.map_or(Cow::Borrowed(body.as_bytes()), Cow::Owned)
        }
        (_, _) => Cow::Borrowed(encoded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_decoded() {
        let rows = [
            ("plain", None),
            ("=?utf-8?q?caf=C3=A9?= =?iso-8859-1?b?6Q==?=", Some("caf\u{e9}\u{e9}")),
            ("=?utf-8?q?a?=\r\n =?utf-8?q?b?=", Some("ab")),
            ("half =?utf-8?q?a", Some("half =?utf-8?q?a")),
        ];
        for (raw, expected) in rows {
            assert_eq!(decoded_words(raw.as_bytes()).as_deref(), expected, "{raw}");
        }
    }

    /// On a stack that is not large: whoever embeds us may have a small one.
    #[test]
    fn what_nests_takes_no_stack() {
        let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(50_000);
        let parsed =
            std::thread::Builder::new().stack_size(256 * 1024).spawn(move || parse(deep.as_bytes(), &mut |_| ()));
        assert_eq!(parsed.unwrap().join().unwrap(), Ok(()));
    }

    #[test]
    fn there_is_a_cap() {
        let rows =
            ["--x\r\n", "a: b\r\n", "Content-Type: message/rfc822\r\n\r\n"].map(|line| line.repeat(MAX_ITEMS + 1));
        for many in rows.into_iter().chain([format!("To: {}\r\n\r\n", "a@b,".repeat(MAX_ITEMS + 1))]) {
            assert_eq!(parse(many.as_bytes(), &mut |_| ()), Err(TooMany), "{}", &many[..10]);
        }
    }
}
