//! The pure half of mail for the front: SASL, mailboxes, and messages on their way out.

mod imap;
mod values;

use super::{
    answer::{Answer, argument},
    capability::Capability,
    define, held,
    kinds::List,
    options::Options,
};
use crate::{
    allocation,
    deadline::wall,
    error::{Error, Kind, reason},
    mail::{
        data::{self, Stuffer},
        mailbox::{self, Mailbox},
        message::{self, Content, Message, Part, Piece},
        sasl::{self, Scram},
    },
};
use mlua::{AnyUserData, Lua, LuaString, Table, UserData, Value};
use std::{cell::RefCell, fs::File, io::Read, num::NonZeroU32};

/// Adds the functions to the core; without them the front knows that this build has no mail.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    imap::register(lua, core)?;
    // sasl_prepared(text) -> the form that SCRAM hashes
    define(lua, core, "sasl_prepared", |lua, text: LuaString| {
        let Ok(text) = text.to_str() else { return argument(1, "is not valid UTF-8") };
        bytes(lua, sasl::prepared(&text).or_else(|why| argument(1, why))?.as_bytes())
    })?;
    // sasl_cram(password, challenge) -> the answer's digest
    define(lua, core, "sasl_cram", |_, (password, challenge): (LuaString, LuaString)| {
        Ok(sasl::cram(&password.as_bytes(), &challenge.as_bytes()))
    })?;
    // sasl_scram(hash, password, salt, rounds, message) -> proof, signature
    type Said = (LuaString, LuaString, LuaString, u32, LuaString);
    define(lua, core, "sasl_scram", |lua, (hash, password, salt, rounds, message): Said| {
        let (Some(scram), Some(rounds)) = (Scram::named(&hash.as_bytes()), NonZeroU32::new(rounds)) else {
            return argument(0, "no such SCRAM");
        };
        let (proof, signature) = scram.answer(&password.as_bytes(), &salt.as_bytes(), rounds, &message.as_bytes());
        Ok((bytes(lua, &proof)?, bytes(lua, &signature)?))
    })?;

    // mail_mailboxes(text) -> addresses, names ("" where there is none), and whether one asks for SMTPUTF8
    define(lua, core, "mail_mailboxes", |_, text: LuaString| {
        let list = mailboxes(&text)?;
        let international = list.iter().any(Mailbox::is_international);
        let (addresses, names): (Vec<_>, Vec<_>) =
            list.into_iter().map(|one| (one.address, one.name.unwrap_or_default())).unzip();
        Ok((List(addresses), List(names), international))
    })?;
    // mail_header(name, value), mail_text(value), mail_type(value), mail_cid(value) -> true, or why not
    define(lua, core, "mail_header", |_, (name, value): (LuaString, LuaString)| {
        checked(message::header(&utf8(&name)?, &utf8(&value)?))
    })?;
    define(lua, core, "mail_text", |_, value: LuaString| checked(message::text(&utf8(&value)?)))?;
    define(lua, core, "mail_type", |_, value: LuaString| checked(message::media_type(&utf8(&value)?)))?;
    define(lua, core, "mail_cid", |_, value: LuaString| checked(message::content_id(&utf8(&value)?)))?;
    // mail_message(capability, table) -> a message that is ready, its size, and whether it has bytes above 127. The front has
    // checked what is in the table.
    define(lua, core, "mail_message", |lua, (capability, table): (AnyUserData, Table)| {
        let outgoing = outgoing(&*held(&capability)?, &Options::new(lua, Some(table), 1))?;
        let (size, eight) = (outgoing.size as f64, outgoing.eight);
        Ok((outgoing.shared(), size, eight))
    })?;
    // mail_piece(message) -> the next bytes of it, and whether they are the last
    define(lua, core, "mail_piece", |lua, message: AnyUserData| {
        let Ok(message) = message.borrow::<Ready>() else { return argument(1, "not a message") };
        let Ok(mut message) = message.0.try_borrow_mut() else { return argument(1, "the message is in use") };
        let piece = message.next()?;
        Ok((bytes(lua, &piece)?, message.is_over()))
    })?;
    // mail_stuffer() -> the state of a message on its way; mail_stuffed(stuffer, bytes, last) -> what goes over the wire
    define(lua, core, "mail_stuffer", |_, ()| Ok(Stuffing(RefCell::default())))?;
    define(lua, core, "mail_stuffed", |lua, (stuffer, piece, last): (AnyUserData, LuaString, bool)| {
        let Ok(stuffer) = stuffer.borrow::<Stuffing>() else { return argument(1, "not a stuffer") };
        let Ok(mut state) = stuffer.0.try_borrow_mut() else { return argument(1, "in use") };
        let piece = piece.as_bytes();
        let mut out = allocation::room(piece.len() * 2 + 16)?;
        state.push(&piece, &mut out);
        if last {
            state.finish(&mut out);
        }
        bytes(lua, &out)
    })
}

struct Stuffing(RefCell<Stuffer>);

impl UserData for Stuffing {}

/// A message that can be sent once.
struct Ready(RefCell<Outgoing>);

impl UserData for Ready {}

struct Outgoing {
    pieces: std::vec::IntoIter<Piece>,
    files: Vec<Option<Attached>>,
    /// The file that is being sent.
    current: Option<Attached>,
    size: u64,
    eight: bool,
}

/// An open file, and so many bytes of it.
struct Attached {
    file: File,
    left: u64,
}

impl Outgoing {
    fn shared(self) -> Ready {
        Ready(RefCell::new(self))
    }

    fn is_over(&self) -> bool {
        self.current.is_none() && self.pieces.len() == 0
    }

    /// The next bytes; empty once it is over.
    fn next(&mut self) -> Answer<Vec<u8>> {
        loop {
            if let Some(attached) = &mut self.current {
                let out = attached.piece()?;
                if attached.left == 0 {
                    self.current = None;
                }
                if !out.is_empty() {
                    return Ok(out);
                }
                continue;
            }
            match self.pieces.next() {
                Some(Piece::Bytes(bytes)) => return Ok(bytes),
                Some(Piece::Later(index)) => self.current = self.files.get_mut(index).and_then(Option::take),
                None => return Ok(Vec::new()),
            }
        }
    }
}

impl Attached {
    /// The next lines of base64. What was promised to the server is what is sent: a file that changed its length is an error.
    fn piece(&mut self) -> Answer<Vec<u8>> {
        let count = usize::try_from(self.left).unwrap_or(data::PIECE).min(data::PIECE);
        let mut buffer = vec![0; count];
        if let Err(e) = self.file.read_exact(&mut buffer) {
            let message = match e.kind() {
                std::io::ErrorKind::UnexpectedEof => "an attachment's file became shorter while it was sent".to_owned(),
                _ => format!("an attachment's file: {}", reason(&e)),
            };
            return Err(Error::new(Kind::Socket, message).into());
        }
        self.left -= count as u64;
        let mut out = allocation::room(count * 3 / 2 + 16)?;
        data::base64_lines(&buffer, &mut out);
        Ok(out)
    }
}

/// Makes the message, and opens its files.
fn outgoing(capability: &Capability, given: &Options<'_>) -> Answer<Outgoing> {
    let mut random = [0; 16];
    if let Err(e) = getrandom::fill(&mut random) {
        return Err(Error::new(Kind::Socket, format!("no random bytes: {e}")).into());
    }
    let mut files = Vec::new();
    let lists = |name: &str| match given.find::<LuaString>(name)? {
        Some(text) => mailboxes(&text),
        None => Ok(Vec::new()),
    };
    let mut headers = Vec::new();
    let (names, values) = (given.list("header_names")?, given.list("header_values")?);
    headers.extend(names.into_iter().zip(values));
    let message = Message {
        from: lists("from")?,
        sender: lists("sender")?.pop(),
        to: lists("to")?,
        cc: lists("cc")?,
        reply_to: lists("reply_to")?,
        subject: text(given, "subject")?,
        text: text(given, "body")?,
        html: text(given, "body_html")?,
        forms: parts(capability, given, "body_parts", &mut files)?,
        attachments: parts(capability, given, "attachments", &mut files)?,
        headers,
        date: i64::try_from(wall().as_secs()).unwrap_or(0),
        random,
    };
    let pieces = message.build();
    let size = pieces.iter().try_fold(0u64, |sum, piece| match piece {
        Piece::Bytes(bytes) => sum.checked_add(bytes.len() as u64),
        Piece::Later(index) => {
            let left = files.get(*index).and_then(Option::as_ref).map_or(0, |file: &Attached| file.left);
            sum.checked_add(data::base64_length(left)?)
        }
    });
    let eight = pieces.iter().any(|piece| matches!(piece, Piece::Bytes(bytes) if !bytes.is_ascii()));
    let Some(size) = size else { return argument(1, "the message is too long") };
    Ok(Outgoing { pieces: pieces.into_iter(), files, current: None, size, eight })
}

fn parts(
    capability: &Capability,
    given: &Options<'_>,
    list: &str,
    files: &mut Vec<Option<Attached>>,
) -> Answer<Vec<Part>> {
    let mut parts = Vec::new();
    for (at, table) in given.find::<Vec<Table>>(list)?.unwrap_or_default().into_iter().enumerate() {
        let place = format!("{list}[{}]", at + 1);
        let part = given.of(table);
        let content = match (part.find::<LuaString>("data")?, part.find::<LuaString>("path")?) {
            (Some(data), _) => Content::Bytes(allocation::copied(&data.as_bytes())?),
            (None, Some(path)) => {
                let shown = path.to_string_lossy();
                let file = capability.files.open_regular(&path.as_bytes());
                let file = file.or_else(|refusal| argument(1, format!("{place}: {}", refusal.message(&shown))))?;
                let about = file.metadata();
                let left = about.or_else(|e| argument(1, format!("{place}: {shown}: {}", reason(&e))))?.len();
                files.push(Some(Attached { file, left }));
                Content::Later(files.len() - 1)
            }
            (None, None) => return argument(1, format!("{place} has neither data nor path")),
        };
        parts.push(Part {
            kind: text(&part, "type")?.unwrap_or_else(|| "application/octet-stream".into()),
            name: text(&part, "name")?,
            cid: text(&part, "cid")?,
            content,
        });
    }
    Ok(parts)
}

fn text(of: &Options<'_>, name: &str) -> Answer<Option<String>> {
    let Some(text) = of.find::<LuaString>(name)? else { return Ok(None) };
    match utf8(&text) {
        Ok(text) => Ok(Some(text)),
        Err(_) => argument(of.index, format!("{name} is not valid UTF-8")),
    }
}

fn mailboxes(text: &LuaString) -> Answer<Vec<Mailbox>> {
    mailbox::list(&utf8(text)?).or_else(|why| argument(1, why))
}

fn utf8(text: &LuaString) -> Answer<String> {
    text.to_str().map_or_else(|_| argument(1, "it is not valid UTF-8"), |text| Ok(text.to_owned()))
}

fn checked(done: Result<(), String>) -> Answer<Value> {
    done.map(|()| Value::Boolean(true)).or_else(|why| argument(1, why))
}

fn bytes(lua: &Lua, text: &[u8]) -> Answer<LuaString> {
    lua.create_string(text).map_err(Into::into)
}
