//! The server's side of a connection of HTTP/2: no panic, no more waiting than may, no more of bodies than came.
use caspian_net::http::{
    answer::{Answer, Ends, Exchange},
    http2::serve::{Event, Session},
    incoming::Limits,
    response::Version,
};
use std::time::Duration;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Answers what is whole, as far as there are windows; how many bytes of bodies came.
fn listen(session: &mut Session) -> usize {
    let mut came = 0;
    while let Some(event) = session.event() {
        let (id, status) = match event {
            Event::Request { stream, head, ends } => {
                if head.expects {
                    session.go_on(stream);
                }
                if !ends {
                    continue;
                }
                (stream, 200)
            }
            Event::Refused { stream, refusal, .. } => (stream, refusal.status),
            Event::End(id) => (id, 200),
            Event::Data(_, bytes) => {
                came += bytes.len();
                continue;
            }
            Event::Reset(_) => continue,
        };
        let known = Exchange { version: Version::Http2, head_only: id % 8 == 7, keeps_alive: true, date: "D" };
        if session.respond(id, &Answer::new(status).unwrap(), &known, Ends::After(2), id % 8 == 7).is_ok_and(|it| it) {
            let count = session.window(id, 2);
            session.data(id, &b"ok"[..count], count == 2);
        }
    }
    session.poll();
    came
}

fn talk<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, reads: bool) {
    let mut session = Session::new(Limits { head: 4096, fields: 16, body: 4096 }, false, Duration::ZERO);
    let (mut fed, mut came) = (0, 0);
    for piece in pieces {
        let mut rest = piece;
        loop {
            // As it is read from a socket, or copied where that does not go.
            let used = match session.feed_all(&mut rest.to_vec(), 0..rest.len(), Duration::ZERO) {
                true => rest.len(),
                false => session.feed(rest, Duration::ZERO),
            };
            fed += used;
            rest = &rest[used..];
            came += listen(&mut session);
            assert!(session.pending() <= 64 * 1024 && came <= fed);
            while reads && session.pending() > 0 {
                session.take(|bytes| Ok::<_, ()>(bytes.len())).unwrap();
            }
            if rest.is_empty() || used == 0 || session.is_over() {
                break;
            }
        }
    }
    session.tick(Duration::from_secs(1));
    session.tick(Duration::from_secs(9));
    session.drain();
    assert!(session.pending() <= 64 * 1024);
}

pub fn run(data: (u8, u16, &[u8])) {
    let (mode, cut, bytes) = data;
    let bytes = [if mode & 2 == 0 { PREFACE } else { b"" }, &super::frames::of(mode, bytes)].concat();
    let (front, back) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    talk([&bytes[..]], mode & 4 == 0);
    match cut % 16 {
        // A hundred times the work of the others.
        0 => talk(bytes.chunks(1), true),
        _ => talk([front, back], mode & 4 == 0),
    }
}
