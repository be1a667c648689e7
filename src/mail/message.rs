//! A message (RFC 5322, RFC 2045 to 2047, RFC 2183, RFC 2387) from a caller's description, by the crate `mail-builder`,
//! which knows encodings, folding and encoded words. The parts and their nesting are decided here.
//!
//! Pure: time and random bytes are passed in. The content of files is left out: the message is a list of pieces, and
//! the files between them are sent in base64.

use super::mailbox::Mailbox;
use data_encoding::HEXLOWER;
use mail_builder::{
    MessageBuilder,
    headers::{
        HeaderType, address::Address, content_type::ContentType, date::Date, message_id::MessageId, raw::Raw,
        text::Text,
    },
    mime::{BodyPart, MimePart},
};
use std::borrow::Cow;

/// Bytes of a line (RFC 5322 section 2.1.1), and of a word that a header cannot be folded in.
const LINE: usize = 998;
const WORD: usize = 900;
/// Bytes of a name of a header.
const NAME: usize = 70;

/// What a caller says of a message. Texts hold no control characters but where a body is text.
#[derive(Default)]
pub struct Message {
    pub from: Vec<Mailbox>,
    pub sender: Option<Mailbox>,
    pub to: Vec<Mailbox>,
    pub cc: Vec<Mailbox>,
    pub reply_to: Vec<Mailbox>,
    pub subject: Option<String>,
    pub text: Option<String>,
    pub html: Option<String>,
    /// Other forms of the same text, the richest last.
    pub forms: Vec<Part>,
    pub attachments: Vec<Part>,
    /// The caller's own headers, checked by [`header`].
    pub headers: Vec<(String, String)>,
    /// Seconds since 1970.
    pub date: i64,
    /// What no content can know.
    pub random: [u8; 16],
}

/// A part with contents of its own.
pub struct Part {
    /// Its media type, checked by [`media_type`].
    pub kind: String,
    pub name: Option<String>,
    /// What `cid:` in the HTML refers to: the part is shown there, and is no attachment to save.
    pub cid: Option<String>,
    pub content: Content,
}

/// What a part holds.
pub enum Content {
    Bytes(Vec<u8>),
    /// It comes later, as the so manieth piece of this kind.
    Later(usize),
}

/// A stretch of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// The base64 of that content.
    Later(usize),
}

/// Headers that the message has by what is said of it, and those that are not the caller's.
const OWN: &[&str] = &[
    "from",
    "sender",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "subject",
    "mime-version",
    "return-path",
    "received",
    "dkim-signature",
];

/// Checks a header of the caller's: why it cannot be one.
pub fn header(name: &str, value: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME || !name.bytes().all(|byte| matches!(byte, 33..=57 | 59..=126)) {
        return Err("a header's name is printable ASCII without a colon or blanks".into());
    }
    let lower = name.to_ascii_lowercase();
    if lower == "bcc" {
        return Err("Bcc is never sent: name them in the message's bcc".into());
    }
    if lower.starts_with("content-") || lower.starts_with("resent-") || OWN.contains(&&*lower) {
        return Err(format!("{name} is not a header to set by hand: it comes from the message's other fields"));
    }
    text(value).map_err(|why| format!("{name}: {why}"))?;
    match value.is_ascii() && value.split([' ', '\t']).any(|word| word.len() > WORD) {
        true => Err(format!("{name}: a word of more than {WORD} bytes does not fit a line")),
        false => Ok(()),
    }
}

/// Checks a text of one line.
pub fn text(value: &str) -> Result<(), String> {
    match value.chars().find(|c| c.is_control() && *c != '\t') {
        Some('\r' | '\n' | '\0') => Err("it holds CR, LF or NUL; a text of one line is needed".into()),
        Some(c) => Err(format!("it holds a control character (U+{:04X})", u32::from(c))),
        None => Ok(()),
    }
}

/// Checks a media type, as `text/csv; charset=utf-8`.
pub fn media_type(value: &str) -> Result<(), String> {
    let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
    let token =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    let fine = kind.trim_end().split_once('/').is_some_and(|(a, b)| token(a) && token(b));
    if !fine || !parameters.bytes().all(|byte| matches!(byte, b'\t' | 32..=126)) || value.len() > WORD {
        return Err("a media type is like image/png".into());
    }
    match kind.get(..10) {
        Some(start) if start.eq_ignore_ascii_case("multipart/") => Err("a part is no multipart: name its parts".into()),
        _ => Ok(()),
    }
}

/// Checks the id of a part, which stands in angle brackets.
pub fn content_id(value: &str) -> Result<(), String> {
    match !value.is_empty()
        && value.len() <= 200
        && value.bytes().all(|b| matches!(b, 33..=126) && !b"<>()\"\\,;:".contains(&b))
    {
        true => Ok(()),
        false => Err("a cid is printable ASCII without blanks and brackets".into()),
    }
}

/// The names that no content can know, one after the other.
struct Names {
    base: String,
    next: usize,
}

impl Names {
    fn boundary(&mut self) -> String {
        self.next += 1;
        format!("=_{}_{}", self.base, self.next)
    }

    fn later(&self, index: usize) -> String {
        format!("={}={index}=", self.base)
    }

    fn multipart(&mut self, kind: &'static str, parts: Vec<MimePart<'static>>) -> MimePart<'static> {
        MimePart::new(ContentType::new(kind).attribute("boundary", self.boundary()), parts)
    }
}

impl Message {
    /// Writes the message. Bcc is none of its fields.
    pub fn build(self) -> Vec<Piece> {
        let mut names = Names { base: HEXLOWER.encode(&self.random), next: 0 };
        let later =
            self.forms.iter().chain(&self.attachments).filter(|part| matches!(part.content, Content::Later(_))).count();
        let domain = self.from.first().map_or("localhost", Mailbox::domain).trim_matches(['[', ']']).to_owned();
        let set = |name: &str| self.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let mut builder = MessageBuilder::new();
        if !set("Date") {
            builder = builder.date(Date::new(self.date));
        }
        builder = builder.from(addresses(self.from));
        if let Some(sender) = self.sender {
            builder = builder.sender(addresses(vec![sender]));
        }
        for (name, list) in [("To", self.to), ("Cc", self.cc), ("Reply-To", self.reply_to)] {
            if !list.is_empty() {
                builder = builder.header(name, addresses(list));
            }
        }
        if let Some(subject) = self.subject {
            builder = builder.subject(subject);
        }
        if !set("Message-ID") {
            builder = builder.message_id(MessageId::new(format!("{}@{domain}", names.base)));
        }
        for (name, value) in self.headers {
            // The crate looks for these two by their name.
            let name = match name.to_ascii_lowercase().as_str() {
                "message-id" => "Message-ID".into(),
                "date" => "Date".into(),
                _ => name,
            };
            // ASCII stays as it is: encoded words mean nothing in a header that has a structure.
            let value: HeaderType<'_> = if value.is_ascii() { Raw::new(value).into() } else { Text::new(value).into() };
            builder = builder.header(name, value);
        }
        let root = root(self.text, self.html, self.forms, self.attachments, &mut names);
        let mut out = Vec::new();
        builder.body(root).serialize(&mut out);
        pieces(out, &names, later)
    }
}

fn addresses(list: Vec<Mailbox>) -> Address<'static> {
    Address::new_list(list.into_iter().map(|one| Address::new_address(one.name, one.address)).collect())
}

/// The parts as they nest: mixed(alternative(text, related(html, what it shows), other forms), attachments).
fn root(
    text: Option<String>,
    html: Option<String>,
    forms: Vec<Part>,
    attachments: Vec<Part>,
    names: &mut Names,
) -> MimePart<'static> {
    let (shown, mut saved): (Vec<_>, Vec<_>) =
        attachments.into_iter().partition(|part| part.cid.is_some() && html.is_some());
    let mut alternatives: Vec<MimePart<'static>> =
        text.map(|text| MimePart::new("text/plain", text)).into_iter().collect();
    if let Some(html) = html {
        let html = MimePart::new("text/html", html);
        alternatives.push(if shown.is_empty() {
            html
        } else {
            let parts =
                std::iter::once(html).chain(shown.into_iter().map(|part| leaf(part, Role::Shown, names))).collect();
            let boundary = names.boundary();
            let kind =
                ContentType::new("multipart/related").attribute("type", "text/html").attribute("boundary", boundary);
            MimePart::new(kind, BodyPart::Multipart(parts))
        });
    }
    alternatives.extend(forms.into_iter().map(|part| leaf(part, Role::Form, names)));
    if alternatives.is_empty() && saved.is_empty() {
        return MimePart::new("text/plain", "");
    }
    let body = match alternatives.len() {
        0 => None,
        1 => alternatives.pop(),
        _ => Some(names.multipart("multipart/alternative", alternatives)),
    };
    match body {
        Some(body) if saved.is_empty() => body,
        body => {
            let parts = body.into_iter().chain(saved.drain(..).map(|part| leaf(part, Role::Saved, names))).collect();
            names.multipart("multipart/mixed", parts)
        }
    }
}

/// What a part is there for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Form,
    Shown,
    Saved,
}

fn leaf(part: Part, role: Role, names: &Names) -> MimePart<'static> {
    let is = |start: &str| part.kind.get(..start.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(start));
    let (encoding, content): (&str, Vec<u8>) = match part.content {
        Content::Later(index) => ("base64", names.later(index).into_bytes()),
        // A message inside a message is in no encoding (RFC 2046 section 5.2.1).
        Content::Bytes(bytes) if is("message/") && lines_fit(&bytes) => {
            (if bytes.is_ascii() { "7bit" } else { "8bit" }, bytes)
        }
        Content::Bytes(bytes) => {
            let mut lines = Vec::new();
            super::data::base64_lines(&bytes, &mut lines);
            ("base64", lines)
        }
    };
    let mut made =
        MimePart::new(ContentType::new(part.kind), BodyPart::Binary(Cow::Owned(content))).transfer_encoding(encoding);
    let disposition = match role {
        Role::Form if part.name.is_none() => None,
        Role::Form | Role::Shown => Some("inline"),
        Role::Saved => Some("attachment"),
    };
    if let Some(word) = disposition {
        let disposition = ContentType::new(word);
        let disposition = match part.name {
            Some(name) => disposition.attribute("filename", name),
            None => disposition,
        };
        made = made.header("Content-Disposition", disposition);
    }
    if let Some(cid) = part.cid {
        made = made.cid(cid);
    }
    made
}

fn lines_fit(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && bytes.split(|byte| *byte == b'\n').all(|line| line.len() <= LINE)
}

/// Cuts what was written where contents are missing.
fn pieces(text: Vec<u8>, names: &Names, later: usize) -> Vec<Piece> {
    let mut places = Vec::new();
    for index in 0..later {
        let mark = names.later(index);
        if let Some(at) = memchr::memmem::find(&text, mark.as_bytes()) {
            places.push((at, mark.len(), index));
        }
    }
    places.sort_unstable();
    let (mut pieces, mut from) = (Vec::new(), 0);
    for (at, length, index) in places {
        pieces.push(Piece::Bytes(text.get(from..at).unwrap_or_default().to_vec()));
        pieces.push(Piece::Later(index));
        from = at + length;
    }
    match from {
        0 => pieces.push(Piece::Bytes(text)),
        _ => pieces.push(Piece::Bytes(text.get(from..).unwrap_or_default().to_vec())),
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mailbox::list;

    fn one(text: &str) -> Vec<Mailbox> {
        list(text).unwrap()
    }

    fn base() -> Message {
        Message {
            from: one("Jörg <a@x.example>"),
            to: one("b@y.example"),
            date: 0,
            random: [7; 16],
            ..Message::default()
        }
    }

    fn part(kind: &str, name: Option<&str>, cid: Option<&str>, content: Content) -> Part {
        Part { kind: kind.into(), name: name.map(Into::into), cid: cid.map(Into::into), content }
    }

    fn whole(message: Message) -> String {
        let pieces = message.build().into_iter().map(|piece| match piece {
            Piece::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
            Piece::Later(index) => format!("[{index}]\r\n"),
        });
        pieces.collect()
    }

    #[test]
    fn a_plain_message() {
        let text = whole(Message { subject: Some("hi".into()), text: Some("one\ntwo\n".into()), ..base() });
        let id = "07".repeat(16);
        assert_eq!(
            text,
            format!(
                "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nFrom: =?utf-8?B?SsO2cmc=?= <a@x.example>\r\nTo: <b@y.example>\r\nSubject: hi\r\n\
                 Message-ID: <{id}@x.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=\"utf-8\"\r\n\
                 Content-Transfer-Encoding: 7bit\r\n\r\none\r\ntwo\r\n"
            )
        );
    }

    #[test]
    fn parts_nest_as_they_are_shown() {
        let image = || part("image/png", Some("i.png"), Some("i@x"), Content::Later(0));
        let file = || part("application/pdf", Some("ä.pdf"), None, Content::Later(1));
        let form = || part("text/calendar; method=REQUEST", None, None, Content::Bytes(b"BEGIN".to_vec()));
        let kinds = |text: String| {
            let kinds = text
                .split("Content-Type: ")
                .skip(1)
                .map(|rest| rest.split([';', '\r']).next().unwrap_or_default().to_owned());
            kinds.collect::<Vec<_>>().join(" ")
        };
        let all = Message {
            text: Some("t".into()),
            html: Some("<img src=cid:i@x>".into()),
            forms: vec![form()],
            attachments: vec![file(), image()],
            ..base()
        };
        assert_eq!(
            kinds(whole(all)),
            "multipart/mixed multipart/alternative text/plain multipart/related text/html image/png text/calendar application/pdf"
        );
        let rows = [
            (None, None, vec![], vec![], "text/plain"),
            (Some("t"), None, vec![], vec![], "text/plain"),
            (None, Some("h"), vec![], vec![], "text/html"),
            (Some("t"), Some("h"), vec![], vec![], "multipart/alternative text/plain text/html"),
            (None, Some("h"), vec![], vec![image()], "multipart/related text/html image/png"),
            (Some("t"), None, vec![], vec![image()], "multipart/mixed text/plain image/png"),
            (None, None, vec![], vec![file()], "multipart/mixed application/pdf"),
            (None, None, vec![form()], vec![], "text/calendar"),
        ];
        for (text, html, forms, attachments, expected) in rows {
            let message =
                Message { text: text.map(Into::into), html: html.map(Into::into), forms, attachments, ..base() };
            assert_eq!(kinds(whole(message)), expected);
        }
    }

    #[test]
    fn what_comes_later_is_left_out_in_order() {
        let attachments = (0..3).map(|index| part("a/b", Some("f"), None, Content::Later(index))).collect();
        let built = Message { attachments, text: Some("t".into()), ..base() }.build();
        let order: Vec<_> = built
            .iter()
            .filter_map(|piece| if let Piece::Later(index) = piece { Some(*index) } else { None })
            .collect();
        assert_eq!((order, built.len()), (vec![0, 1, 2], 7));
        for piece in &built {
            if let Piece::Bytes(bytes) = piece {
                assert!(!bytes.windows(4).any(|four| four == b"=070"), "{piece:?}");
            }
        }
    }

    #[test]
    fn lines_are_short_and_headers_end_where_they_should() {
        let long = "ä".repeat(2000) + &" word".repeat(500);
        let text = whole(Message {
            subject: Some(long.clone()),
            text: Some(long.clone()),
            headers: vec![("X-Long".into(), "word ".repeat(500)), ("X-Ö".replace('Ö', "O"), long)],
            attachments: vec![part("text/plain", Some(&"ü".repeat(300)), None, Content::Bytes(vec![b'x'; 5000]))],
            ..base()
        });
        assert!(text.split("\r\n").all(|line| line.len() <= 78), "{text}");
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
    }

    #[test]
    fn a_message_inside_is_in_no_encoding() {
        for (bytes, encoding) in
            [(&b"Subject: x\r\n\r\ny"[..], "7bit"), ("Subject: ä".as_bytes(), "8bit"), (&[b'x'; 999], "base64")]
        {
            let attachments = vec![part("message/rfc822", None, None, Content::Bytes(bytes.to_vec()))];
            assert!(
                whole(Message { attachments, ..base() })
                    .contains(&format!("Content-Transfer-Encoding: {encoding}\r\n"))
            );
        }
    }

    #[test]
    fn what_a_caller_may_say() {
        for (name, value, fine) in [
            ("X-Mailer", "caspian", true),
            ("In-Reply-To", "<a@b>", true),
            ("Message-ID", "<a@b>", true),
            ("date", "Thu, 1 Jan 1970 00:00:00 +0000", true),
            ("X", "a\tb ä", true),
            ("X-A\r\nB", "x", false),
            ("X-A:", "x", false),
            ("X A", "x", false),
            ("", "x", false),
            ("X-Ä", "x", false),
            ("X", "a\r\nBcc: c@d", false),
            ("X", "a\nb", false),
            ("X", "a\0", false),
            ("X", "a\u{85}b", false),
            ("bCC", "a@b", false),
            ("From", "a@b", false),
            ("Content-Type", "text/html", false),
            ("MIME-Version", "1.0", false),
        ] {
            assert_eq!(header(name, value).is_ok(), fine, "{name:?} {value:?}");
        }
        assert!(header("X", &"x".repeat(901)).is_err());
        for (value, fine) in [
            ("image/png", true),
            ("text/plain; charset=utf-8", true),
            ("application/vnd.a+xml", true),
            ("image", false),
            ("image/", false),
            ("image/png\r\nX: y", false),
            ("image/png; a=\u{e4}", false),
            ("multipart/mixed", false),
            ("MULTIPART/mixed; boundary=x", false),
        ] {
            assert_eq!(media_type(value).is_ok(), fine, "{value:?}");
        }
        for (value, fine) in
            [("a@b", true), ("logo", true), ("", false), ("<a@b>", false), ("a b", false), ("a\r\nb", false)]
        {
            assert_eq!(content_id(value).is_ok(), fine, "{value:?}");
        }
    }
}
