//! The client's side of a connection of HTTP/2, with three requests under way: no panic, no more waiting than may, no more of a body than came,
//! and bodies that begin alike however the bytes are cut.
use caspian_net::http::{
    body::Asked,
    http2::{
        answer::{Answer, Found},
        session::Session,
    },
};

const REQUESTS: [(&[u8], Option<u64>, Asked); 3] = [
    (b"GET /a HTTP/2\r\nHost: a.example\r\n\r\n", Some(0), Asked::Other),
    (b"POST /b HTTP/2\r\nHost: a.example\r\nContent-Type: x\r\n\r\n", None, Asked::Other),
    (b"HEAD /c HTTP/2\r\nHost: a.example\r\n\r\n", Some(0), Asked::Head),
];

struct Talk {
    answer: Answer,
    status: Option<u16>,
    body: Vec<u8>,
    over: bool,
}

impl Talk {
    /// Reads as far as it goes; false where it is not further.
    fn step(&mut self, session: &mut Session) -> bool {
        if self.status.is_none() {
            match self.answer.head(session) {
                Ok(Some(Found::Final(head))) => self.status = Some(head.status),
                Ok(Some(Found::Interim(head))) => assert!(head.status < 200),
                Ok(None) => return false,
                Err(_) => self.over = true,
            }
            return true;
        }
        let mut room = [0; 512];
        match self.answer.read(session, &mut room) {
            Ok(Some(0)) | Err(_) => self.over = true,
            Ok(Some(count)) => self.body.extend_from_slice(&room[..count]),
            Ok(None) => return false,
        }
        true
    }
}

/// Status and body of each.
fn talk<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, ends: bool) -> Vec<(Option<u16>, Vec<u8>)> {
    let mut session = Session::new().unwrap();
    let begun = REQUESTS.map(|(head, length, asked)| session.begin("http", head, length, asked).unwrap());
    let mut talks = begun.map(|answer| Talk { answer, status: None, body: Vec::new(), over: false });
    let mut fed = 0;
    let mut turn = |session: &mut Session, fed: usize| {
        let _ = talks[1].answer.send(session, b"body", false);
        for talk in &mut talks {
            while !talk.over && talk.step(session) {}
            assert!(talk.body.len() <= fed);
        }
        assert!(session.pending() <= 64 * 1024);
        while session.pending() > 0 {
            session.send(|bytes| Ok(bytes.len())).unwrap();
        }
    };
    for piece in pieces {
        let mut rest = piece;
        while !rest.is_empty() && !session.is_over() {
            // As it is read from a socket, or copied where that does not go.
            let used = match session.feed_all(&mut rest.to_vec(), 0..rest.len()) {
                true => rest.len(),
                false => session.feed(rest),
            };
            (fed, rest) = (fed + used, &rest[used..]);
            turn(&mut session, fed);
            assert!(used > 0 || session.is_over());
        }
    }
    if ends {
        session.end();
        turn(&mut session, fed);
    }
    talks
        .map(|talk| {
            session.release(talk.answer);
            (talk.status, talk.body)
        })
        .into()
}

pub fn run(data: (u8, u16, &[u8])) {
    let (mode, cut, bytes) = data;
    let bytes = [if mode & 2 == 0 { &b"\0\0\0\x04\0\0\0\0\0"[..] } else { b"" }, &super::frames::of(mode, bytes)].concat();
    let (front, back) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    let ends = mode & 4 != 0;
    let whole = talk([&bytes[..]], ends);
    let other = match cut % 16 {
        // A hundred times the work of the others.
        0 => talk(bytes.chunks(1), ends),
        _ => talk([front, back], ends),
    };
    for ((status, body), (other, part)) in whole.iter().zip(&other) {
        // Who reads late may see a failure in place of what came before it.
        assert!(status.is_none() || other.is_none() || status == other);
        assert!(body.starts_with(part) || part.starts_with(body));
    }
}
