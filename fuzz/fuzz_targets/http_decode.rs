//! Any bytes in any coding: never a panic, bounded output, and the same body however the bytes are cut.
use caspian_net::http::{
    decode::{Decoder, Progress},
    fields::Fields,
};

const CODINGS: [&str; 7] = ["gzip", "deflate", "br", "zstd", "gzip, gzip", "br, zstd", "zstd, deflate"];
/// Most inputs are cut off early, for bombs take most of the time; one in sixteen reaches beyond the windows of deflate.
const SHORT: usize = 1 << 14;
const LONG: usize = 1 << 16;

#[derive(Debug, PartialEq)]
enum End {
    Whole,
    /// Nobody looked at the rest.
    Much,
    Broken,
}

fn decode(codings: &str, pieces: [&[u8]; 2], room: usize, most: usize) -> (Vec<u8>, End) {
    let mut fields = Fields::new();
    fields.push(b"content-encoding", codings.as_bytes());
    let mut decoder = Decoder::new(&fields).unwrap().unwrap();
    let (mut out, mut place) = (Vec::new(), [0; 4096]);
    let place = &mut place[..room];
    for mut piece in pieces {
        loop {
            if out.len() >= most {
                out.truncate(most);
                return (out, End::Much);
            }
            let Ok(took) = decoder.step(piece, place) else { return (out, End::Broken) };
            if took == Progress::default() {
                assert!(piece.is_empty());
                break;
            }
            out.extend_from_slice(&place[..took.given]);
            piece = &piece[took.used..];
        }
    }
    let end = if decoder.finish().is_ok() { End::Whole } else { End::Broken };
    (out, end)
}

pub fn run(input: (u8, u16, u8, &[u8])) {
    let (codings, cut, room, bytes) = input;
    let most = if codings >= 240 { LONG } else { SHORT };
    let codings = CODINGS[usize::from(codings) % CODINGS.len()];
    let pieces = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    let (whole, end) = decode(codings, [bytes, b""], 4096, most);
    let (cut, cut_end) = decode(codings, [pieces.0, pieces.1], usize::from(room) * 16 + 1, most);
    // A decoder of brotli keeps what it has decoded until it is much or there is no more input; where it fails meanwhile, that is lost.
    if codings.contains("br") && (end == End::Broken || cut_end == End::Broken) {
        assert!(whole.starts_with(&cut) || cut.starts_with(&whole));
        assert!(end != End::Whole && cut_end != End::Whole);
        return;
    }
    assert_eq!((cut, cut_end), (whole, end));
}
