//! The negotiation of permessage-deflate (RFC 7692 section 7.1): the client's offer, the server's answer, and the check
//! of the answer against the offer. Pure: the fields of heads.

use super::super::{fields::Fields, fields::trim, is_token};

/// The header field of offers and answers.
pub const FIELD: &str = "Sec-WebSocket-Extensions";
const NAME: &[u8] = b"permessage-deflate";
/// The largest window, and what a side has that says nothing, in bits.
pub const MOST_BITS: u8 = 15;
/// Extensions in one handshake, and parameters of one; more are no honest offer.
const MOST: usize = 32;

/// What one side wants, in the words of the RFC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compress {
    /// The server begins each message anew. Defaults to false.
    pub server_no_context_takeover: bool,
    /// The client does. Defaults to false.
    pub client_no_context_takeover: bool,
    /// The server's window, 9 to 15 bits. Defaults to 15.
    pub server_max_window_bits: u8,
    /// The client's.
    pub client_max_window_bits: u8,
    /// Shorter messages go as they are, in bytes. Defaults to 128.
    pub threshold: usize,
}

impl Default for Compress {
    fn default() -> Self {
        Compress {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: MOST_BITS,
            client_max_window_bits: MOST_BITS,
            threshold: 128,
        }
    }
}

/// How one side compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub window_bits: u8,
    /// What earlier messages had is known in later ones.
    pub takeover: bool,
}

/// What both sides have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    pub server: Way,
    pub client: Way,
    pub threshold: usize,
}

/// The parameters of one offer or answer.
#[derive(Debug, Default)]
struct Params {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// An offer may name it without a value.
    client_max_window_bits: Option<Option<u8>>,
}

impl Compress {
    /// The value of the field in a client's request. That its own window may be limited is always said.
    pub fn offer(&self) -> String {
        let mut text = String::from("permessage-deflate");
        let mut add = |said: bool, name: &str, bits: Option<u8>| {
            if said {
                text += "; ";
                text += name;
                text += &bits.filter(|bits| *bits < MOST_BITS).map_or(String::new(), |bits| format!("={bits}"));
            }
        };
        add(self.server_no_context_takeover, "server_no_context_takeover", None);
        add(self.client_no_context_takeover, "client_no_context_takeover", None);
        let server = self.server_max_window_bits;
        add(server < MOST_BITS, "server_max_window_bits", Some(server));
        add(true, "client_max_window_bits", Some(self.client_max_window_bits));
        text
    }

    /// The client's judgement of the answer to [`Compress::offer`]; nothing where the server does not compress. The error
    /// says what is wrong.
    pub fn accepted(&self, fields: &Fields) -> Result<Option<Agreed>, &'static str> {
        let list = read(fields).ok_or("the server's Sec-WebSocket-Extensions is malformed")?;
        let params = match list.as_slice() {
            [] => return Ok(None),
            [(name, params)] if name.eq_ignore_ascii_case(NAME) => params,
            [_] => return Err("the server uses an extension that was not offered"),
            _ => return Err("the server uses more than one extension"),
        };
        let params = Params::of(params).ok_or("the server's parameters of permessage-deflate are malformed")?;
        let wrong = "the server's parameters of permessage-deflate are not what was offered";
        if self.server_no_context_takeover && !params.server_no_context_takeover {
            return Err(wrong);
        }
        let server = params.server_max_window_bits.unwrap_or(MOST_BITS);
        if server > self.server_max_window_bits {
            return Err(wrong);
        }
        let client = match params.client_max_window_bits {
            None => self.client_max_window_bits,
            // In an answer it has a value (section 7.1.2.2).
            Some(Some(bits)) if bits <= self.client_max_window_bits => bits,
            Some(_) => return Err(wrong),
        };
        let client_no_takeover = self.client_no_context_takeover || params.client_no_context_takeover;
        Ok(Some(Agreed {
            server: Way { window_bits: server, takeover: !params.server_no_context_takeover },
            client: Way { window_bits: client, takeover: !client_no_takeover },
            threshold: self.threshold,
        }))
    }

    /// The server's choice among a client's offers, and the value of the field that says so; nothing where none is one that
    /// it can accept. An error where the field is malformed (RFC 6455 section 9.1).
    pub fn choose(&self, fields: &Fields) -> Result<Option<(Agreed, String)>, Malformed> {
        let list = read(fields).ok_or(Malformed)?;
        let named = list.iter().filter(|(name, _)| name.eq_ignore_ascii_case(NAME));
        // An offer with parameters that nobody knows is declined, and the next one looked at.
        Ok(named.filter_map(|(_, params)| Params::of(params)).next().map(|offer| self.answer(&offer)))
    }

    fn answer(&self, offer: &Params) -> (Agreed, String) {
        let server_anew = self.server_no_context_takeover || offer.server_no_context_takeover;
        let client_anew = self.client_no_context_takeover || offer.client_no_context_takeover;
        let server = self.server_max_window_bits.min(offer.server_max_window_bits.unwrap_or(MOST_BITS));
        // A client that does not say that it can limit its window cannot be asked to.
        let client =
            offer.client_max_window_bits.map(|bits| self.client_max_window_bits.min(bits.unwrap_or(MOST_BITS)));
        let mut text = String::from("permessage-deflate");
        if server_anew {
            text += "; server_no_context_takeover";
        }
        if client_anew {
            text += "; client_no_context_takeover";
        }
        if server < MOST_BITS || offer.server_max_window_bits.is_some() {
            text += &format!("; server_max_window_bits={server}");
        }
        if let Some(bits) = client.filter(|bits| *bits < MOST_BITS) {
            text += &format!("; client_max_window_bits={bits}");
        }
        let agreed = Agreed {
            server: Way { window_bits: server, takeover: !server_anew },
            client: Way { window_bits: client.unwrap_or(MOST_BITS), takeover: !client_anew },
            threshold: self.threshold,
        };
        (agreed, text)
    }
}

/// A field that is no list of extensions.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl Params {
    /// Nothing for a parameter that is unknown, given twice, or has a value that it cannot have (section 7.1).
    fn of(list: &[Param<'_>]) -> Option<Params> {
        let mut params = Params::default();
        for (at, (name, value)) in list.iter().enumerate() {
            if list.iter().take(at).any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                return None;
            }
            let value = value.as_deref();
            match name.to_ascii_lowercase().as_slice() {
                b"server_no_context_takeover" if value.is_none() => params.server_no_context_takeover = true,
                b"client_no_context_takeover" if value.is_none() => params.client_no_context_takeover = true,
                b"server_max_window_bits" => params.server_max_window_bits = Some(bits(value?)?),
                b"client_max_window_bits" => {
                    params.client_max_window_bits = Some(value.map(bits).map_or(Some(None), |bits| bits.map(Some))?);
                }
                _ => return None,
            }
        }
        Some(params)
    }
}

/// 8 to 15, without a zero in front.
fn bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ (b'8' | b'9')] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

type Param<'a> = (&'a [u8], Option<Vec<u8>>);

/// The extensions of a head: `token *(";" token ["=" (token | quoted-string)])`, with commas between (RFC 6455 section 9.1).
fn read(fields: &Fields) -> Option<Vec<(&[u8], Vec<Param<'_>>)>> {
    let mut list = Vec::new();
    for mut rest in fields.all(FIELD) {
        loop {
            rest = trim(rest);
            // An element of the list may be empty (RFC 9110 section 5.6.1).
            if let [b',', after @ ..] = rest {
                rest = after;
                continue;
            }
            if rest.is_empty() {
                break;
            }
            let name = token(&mut rest)?;
            let mut params = Vec::new();
            while next(&mut rest, b';') {
                let param = token(&mut rest)?;
                let value = if next(&mut rest, b'=') { Some(value(&mut rest)?) } else { None };
                params.push((param, value));
            }
            list.push((name, params));
            if list.len() > MOST || list.last().is_some_and(|(_, params)| params.len() > MOST) {
                return None;
            }
            rest = trim(rest);
            if !rest.is_empty() && rest.first() != Some(&b',') {
                return None;
            }
        }
    }
    Some(list)
}

/// Takes that byte, with what blanks are before it, if it is there.
fn next(rest: &mut &[u8], byte: u8) -> bool {
    match trim(rest).split_first() {
        Some((first, after)) if *first == byte => {
            *rest = after;
            true
        }
        _ => false,
    }
}

fn token<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let text = trim(rest);
    let end = text.iter().position(|byte| !is_token(&[*byte])).unwrap_or(text.len());
    let (token, after) = text.split_at(end);
    *rest = after;
    Some(token).filter(|token| !token.is_empty())
}

/// A token, or one in quotes.
fn value(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let text = trim(rest);
    let [b'"', quoted @ ..] = text else { return token(rest).map(<[u8]>::to_vec) };
    let (mut value, mut bytes) = (Vec::new(), quoted.iter());
    loop {
        match bytes.next()? {
            b'"' => break,
            b'\\' => value.push(*bytes.next()?),
            byte => value.push(*byte),
        }
    }
    *rest = bytes.as_slice();
    Some(value).filter(|value| is_token(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[&str]) -> Fields {
        let mut fields = Fields::new();
        lines.iter().for_each(|line| fields.push(FIELD.as_bytes(), line.as_bytes()));
        fields
    }

    fn shown(agreed: &Agreed) -> String {
        let way = |way: &Way| format!("{}{}", way.window_bits, if way.takeover { "" } else { "!" });
        format!("{} {}", way(&agreed.server), way(&agreed.client))
    }

    fn wanted(server_anew: bool, client_anew: bool, server: u8, client: u8) -> Compress {
        Compress {
            server_no_context_takeover: server_anew,
            client_no_context_takeover: client_anew,
            server_max_window_bits: server,
            client_max_window_bits: client,
            ..Compress::default()
        }
    }

    #[test]
    fn what_a_server_chooses() {
        let any = Compress::default();
        let small = wanted(true, true, 10, 11);
        for (ours, lines, expected) in [
            (&any, vec!["permessage-deflate"], "15 15: permessage-deflate"),
            (&any, vec!["Permessage-Deflate ; CLIENT_max_window_bits"], "15 15: permessage-deflate"),
            (
                &any,
                vec!["permessage-deflate; client_max_window_bits=10"],
                "15 10: permessage-deflate; client_max_window_bits=10",
            ),
            (
                &any,
                vec!["permessage-deflate;server_max_window_bits=\"1\\0\" ; server_no_context_takeover"],
                "10! 15: permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
            ),
            (
                &any,
                vec!["permessage-deflate; client_no_context_takeover; server_max_window_bits=8"],
                "8 15!: permessage-deflate; client_no_context_takeover; server_max_window_bits=8",
            ),
            (
                &any,
                vec!["permessage-deflate; server_max_window_bits=15"],
                "15 15: permessage-deflate; server_max_window_bits=15",
            ),
            (
                &small,
                vec!["permessage-deflate; client_max_window_bits"],
                "10! 11!: permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits=11",
            ),
            (
                &small,
                vec!["permessage-deflate; client_max_window_bits=9; server_max_window_bits=9"],
                "9! 9!: permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=9",
            ),
            (
                &small,
                vec!["permessage-deflate"],
                "10! 15!: permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10",
            ),
            // The first offer that is one.
            (
                &any,
                vec![
                    "x-webkit-deflate-frame, permessage-deflate; unknown",
                    "permessage-deflate; server_max_window_bits=9",
                ],
                "9 15: permessage-deflate; server_max_window_bits=9",
            ),
            (&any, vec![], "-"),
            (&any, vec![""], "-"),
            (&any, vec![", ,"], "-"),
            (&any, vec!["bbf-usp-protocol; eid=\"a-b\""], "-"),
            (&any, vec!["permessage-deflate; server_no_context_takeover=1"], "-"),
            (&any, vec!["permessage-deflate; server_max_window_bits"], "-"),
            (&any, vec!["permessage-deflate; server_max_window_bits=7"], "-"),
            (&any, vec!["permessage-deflate; server_max_window_bits=16"], "-"),
            (&any, vec!["permessage-deflate; server_max_window_bits=09"], "-"),
            (&any, vec!["permessage-deflate; server_max_window_bits=010"], "-"),
            (&any, vec!["permessage-deflate; client_max_window_bits=1x"], "-"),
            (&any, vec!["permessage-deflate; client_max_window_bits; client_max_window_bits=10"], "-"),
            (&any, vec!["permessage-deflate; server_no_context_takeover; server_no_context_takeover"], "-"),
            (&any, vec!["permessage-deflate;"], "malformed"),
            (&any, vec!["permessage-deflate; =1"], "malformed"),
            (&any, vec!["permessage-deflate; client_max_window_bits="], "malformed"),
            (&any, vec!["permessage-deflate; client_max_window_bits=\"10"], "malformed"),
            (&any, vec!["permessage-deflate; client_max_window_bits=\"1 0\""], "malformed"),
            (&any, vec!["permessage-deflate; client_max_window_bits=\"\""], "malformed"),
            (&any, vec!["permessage-deflate client_max_window_bits"], "malformed"),
            (&any, vec!["permessage-deflate", "@"], "malformed"),
            (&any, vec![&"x,".repeat(40)], "malformed"),
            (&any, vec![&("x".to_owned() + &"; a".repeat(40))], "malformed"),
        ] {
            let got = match ours.choose(&fields(&lines)) {
                Ok(Some((agreed, text))) => format!("{}: {text}", shown(&agreed)),
                Ok(None) => "-".into(),
                Err(Malformed) => "malformed".into(),
            };
            assert_eq!(got, expected, "{lines:?}");
        }
    }

    #[test]
    fn what_a_client_takes() {
        let any = Compress::default();
        let small = wanted(true, true, 10, 11);
        assert_eq!(any.offer(), "permessage-deflate; client_max_window_bits");
        assert_eq!(
            small.offer(),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits=11"
        );
        for (ours, lines, expected) in [
            (&any, vec![], "-"),
            (&any, vec![""], "-"),
            (&any, vec!["permessage-deflate"], "15 15"),
            (&any, vec!["permessage-deflate; server_no_context_takeover; client_no_context_takeover"], "15! 15!"),
            (&any, vec!["permessage-deflate; server_max_window_bits=8; client_max_window_bits=9"], "8 9"),
            (&small, vec!["permessage-deflate; server_no_context_takeover; server_max_window_bits=10"], "10! 11!"),
            (
                &small,
                vec![
                    "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=8",
                ],
                "9! 8!",
            ),
            (&small, vec!["permessage-deflate; server_max_window_bits=10"], "not what was offered"),
            (&small, vec!["permessage-deflate; server_no_context_takeover"], "not what was offered"),
            (
                &small,
                vec!["permessage-deflate; server_no_context_takeover; server_max_window_bits=11"],
                "not what was offered",
            ),
            (
                &small,
                vec![
                    "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=12",
                ],
                "not what was offered",
            ),
            (&any, vec!["permessage-deflate; client_max_window_bits"], "not what was offered"),
            (
                &any,
                vec!["permessage-deflate; server_max_window_bits"],
                "parameters of permessage-deflate are malformed",
            ),
            (&any, vec!["permessage-deflate; server_max_window_bits=16"], "malformed"),
            (&any, vec!["permessage-deflate; unknown"], "malformed"),
            (&any, vec!["permessage-deflate, permessage-deflate"], "more than one"),
            (&any, vec!["permessage-deflate", "permessage-deflate"], "more than one"),
            (&any, vec!["permessage-bzip2"], "not offered"),
            (&any, vec!["permessage-deflate; "], "Extensions is malformed"),
            (&any, vec!["\"permessage-deflate\""], "Extensions is malformed"),
        ] {
            let got = match ours.accepted(&fields(&lines)) {
                Ok(Some(agreed)) => shown(&agreed),
                Ok(None) => "-".into(),
                Err(why) => why.into(),
            };
            assert!(
                got == expected || got.contains(expected) && expected.len() > 8,
                "{lines:?}: {got}, not {expected}"
            );
        }
    }

    /// What one side says the other one understands, whatever both want.
    #[test]
    fn both_sides_agree() {
        let wants: Vec<_> = (0..4u8)
            .flat_map(|flags| {
                [(9, 15), (15, 9), (12, 12), (15, 15)].map(|(s, c)| wanted(flags & 1 != 0, flags & 2 != 0, s, c))
            })
            .collect();
        for client in &wants {
            for server in &wants {
                let (theirs, text) = server.choose(&fields(&[&client.offer()])).unwrap().unwrap();
                let ours = client.accepted(&fields(&[&text])).unwrap().unwrap();
                assert_eq!((ours.server, ours.client), (theirs.server, theirs.client), "{client:?} {server:?}");
            }
        }
    }
}
