//! Any bytes in any coding: never a panic, bounded output, and the same body however the bytes are cut.
use caspian_net::http::{
    decode::{Decoder, Progress},
    fields::Fields,
};

const CODINGS: [&str; 7] = ["gzip", "deflate", "br", "zstd", "gzip, gzip", "br, zstd", "zstd, deflate"];
const MOST: usize = 1 << 16;

fn decode(codings: &str, pieces: [&[u8]; 2], room: usize) -> Option<Vec<u8>> {
    let mut fields = Fields::new();
    fields.push(b"content-encoding", codings.as_bytes());
    let mut decoder = Decoder::new(&fields).unwrap().unwrap();
    let (mut out, mut place) = (Vec::new(), [0; 4096]);
    let place = &mut place[..room];
    for mut piece in pieces {
        while out.len() < MOST {
            let took = decoder.step(piece, place).ok()?;
            if took == Progress::default() {
                assert!(piece.is_empty());
                break;
            }
            out.extend_from_slice(&place[..took.given]);
            piece = &piece[took.used..];
        }
    }
    if out.len() >= MOST {
        out.truncate(MOST);
        return Some(out);
    }
    decoder.finish().ok().map(|()| out)
}

pub fn run(input: (u8, u16, u8, &[u8])) {
    let (codings, cut, room, bytes) = input;
    let codings = CODINGS[usize::from(codings) % CODINGS.len()];
    let pieces = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    let whole = decode(codings, [bytes, b""], 4096);
    assert_eq!(decode(codings, [pieces.0, pieces.1], usize::from(room) * 16 + 1), whole);
}
