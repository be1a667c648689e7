//! The codecs of `mime.core`: the room is enough (`Out` asserts it), the cut does not show, and what was encoded comes back.

use caspian_net::compat::mime::{self, Out, Rest};

type Codec = fn([&[u8]; 2], &mut Out<'_>) -> Rest;

/// What a codec makes of two pieces, the second one in a call of its own.
fn pieces(front: &[u8], back: &[u8], code: Codec, end: fn(&Rest, &mut Out<'_>)) -> Vec<u8> {
    let run = |parts: [&[u8]; 2], last: bool, into: &mut Vec<u8>| {
        let length = parts[0].len() + parts[1].len();
        let mut buffer = vec![0; mime::qp_room(length, length, 2).unwrap()];
        let mut out = Out::new(&mut buffer);
        let rest = code(parts, &mut out);
        if last {
            end(&rest, &mut out);
        }
        let written = out.len();
        into.extend_from_slice(&buffer[..written]);
        rest
    };
    let mut all = Vec::new();
    let rest = run([&[], front], false, &mut all);
    run([rest.as_slice(), back], true, &mut all);
    all
}

/// The same for a function that carries a state.
fn stateful<S: Copy>(front: &[u8], back: &[u8], state: S, run: impl Fn(&[u8], S, &mut Out<'_>) -> S) -> Vec<u8> {
    let mut all = Vec::new();
    let mut state = state;
    for piece in [front, back] {
        let mut buffer = vec![0; piece.len() * 4];
        let mut out = Out::new(&mut buffer);
        state = run(piece, state, &mut out);
        let written = out.len();
        all.extend_from_slice(&buffer[..written]);
    }
    all
}

pub fn run(data: &[u8]) {
    let Some((&cut, text)) = data.split_first() else { return };
    let (front, back) = text.split_at(usize::from(cut) % (text.len() + 1));
    let crlf: Codec = |parts, out| mime::qp(parts, b"\r\n", out);

    for (encode, end, decode) in [
        (mime::b64 as Codec, mime::b64_end as fn(&Rest, &mut Out<'_>), mime::unb64 as Codec),
        (crlf, mime::qp_end, mime::unqp),
    ] {
        let coded = pieces(front, back, encode, end);
        assert_eq!(coded, pieces(text, &[], encode, end));
        let (head, tail) = coded.split_at(usize::from(cut) % (coded.len() + 1));
        assert_eq!(pieces(head, tail, decode, |_, _| {}), text);
        assert_eq!(pieces(front, back, decode, |_, _| {}), pieces(text, &[], decode, |_, _| {}));
    }
    let length = i64::from(cut % 80);
    for wrap in [mime::wrp, mime::qpwrp] {
        let run = |piece: &[u8], left, out: &mut Out<'_>| wrap(piece, left, length, out);
        assert_eq!(stateful(front, back, length, run), stateful(text, &[], length, run));
    }
    let eol = |piece: &[u8], last, out: &mut Out<'_>| mime::eol(piece, last, b"\r\n", out);
    assert_eq!(stateful(front, back, 0, eol), stateful(text, &[], 0, eol));
    assert_eq!(stateful(front, back, 2, mime::dot), stateful(text, &[], 2, mime::dot));
}
