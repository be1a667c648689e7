//! The four content codings beside their reference decoders (C, by way of Python: `codings/reference.py`): bodies that the
//! reference encoders made, broken at random. Ours must take and refuse the same ones, give the same bytes, and answer the
//! same whole, byte by byte and cut at random.
//!
//! `CODINGS_TRIES` says how many broken bodies there are for each seed, 6 unless it is set.

use caspian_net::http::{
    decode::{Decoder, Progress},
    fields::Fields,
};
use std::{
    io::{BufReader, Read, Write},
    process::{Command, Stdio},
};

const NAMES: [&str; 4] = ["gzip", "deflate", "br", "zstd"];
const ZSTD: u8 = 3;
/// What the reference gathers at the most.
const MOST: usize = 1 << 20;

/// What became of a body.
#[derive(Debug, PartialEq)]
enum Verdict {
    Refused,
    Whole(Vec<u8>),
    /// More than `MOST` bytes.
    Large,
}

impl Verdict {
    fn short(&self) -> String {
        match self {
            Verdict::Refused => "refused".to_owned(),
            Verdict::Whole(data) => format!("{} bytes", data.len()),
            Verdict::Large => "large".to_owned(),
        }
    }
}

fn ours(coding: u8, pieces: &[&[u8]], room: usize) -> Verdict {
    let mut fields = Fields::new();
    fields.push(b"Content-Encoding", NAMES[usize::from(coding)].as_bytes());
    let mut decoder = Decoder::new(&fields).unwrap().unwrap();
    let (mut out, mut place) = (Vec::new(), vec![0; room]);
    for mut piece in pieces.iter().copied() {
        loop {
            let Ok(took) = decoder.step(piece, &mut place) else { return Verdict::Refused };
            out.extend_from_slice(&place[..took.given]);
            piece = &piece[took.used..];
            if out.len() > MOST {
                return Verdict::Large;
            }
            if took == Progress::default() {
                break;
            }
        }
    }
    decoder.finish().map_or(Verdict::Refused, |()| Verdict::Whole(out))
}

/// A seeded generator (xorshift): each run tries the same bodies.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }

    fn breaks(&mut self, body: &mut Vec<u8>) {
        for _ in 0..=self.below(2) {
            let at = self.below(body.len());
            match self.below(6) {
                _ if body.is_empty() => return,
                0 => body[at] ^= 1 << self.below(8),
                1 => body[at] = self.below(256) as u8,
                2 => body.truncate(at),
                3 => drop(body.remove(at)),
                4 => body.insert(at, self.below(256) as u8),
                // Most of what a format says of itself stands at its beginning.
                _ => body[at % 24] ^= 1 << self.below(8),
            }
        }
    }
}

fn record(from: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head).ok()?;
    let mut body = vec![0; u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize];
    from.read_exact(&mut body).ok()?;
    Some((head[0], body))
}

fn reference(what: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/codings/reference.py")).arg(what);
    command
}

#[test]
#[allow(clippy::disallowed_methods)] // a test takes its length from whoever starts it
fn answers_what_the_reference_answers() {
    let tries = std::env::var("CODINGS_TRIES").map_or(6, |tries| tries.parse().unwrap());
    let seeds = reference("seeds").output().unwrap();
    assert!(seeds.status.success(), "{}", String::from_utf8_lossy(&seeds.stderr));
    let mut seeds = seeds.stdout.as_slice();
    let seeds: Vec<_> = std::iter::from_fn(|| record(&mut seeds)).collect();
    assert!(seeds.len() > 200, "{} seeds", seeds.len());

    let mut peer = reference("decode").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut ask, mut answers) = (peer.stdin.take().unwrap(), BufReader::new(peer.stdout.take().unwrap()));
    let mut random = Random(0x0063_6173_7069_616e);
    let (mut wrong, mut refused, mut whole, mut lax) = (Vec::new(), 0, 0, 0);
    for (coding, seed) in &seeds {
        for turn in 0..=tries {
            let mut body = seed.clone();
            if turn > 0 {
                random.breaks(&mut body);
            }
            ask.write_all(&[*coding]).unwrap();
            ask.write_all(&u32::try_from(body.len()).unwrap().to_le_bytes()).unwrap();
            ask.write_all(&body).unwrap();
            let expected = match record(&mut answers).expect("an answer of the reference") {
                (0, _) => Verdict::Refused,
                (1, data) => Verdict::Whole(data),
                _ => Verdict::Large,
            };
            match expected {
                Verdict::Whole(_) => whole += 1,
                _ => refused += 1,
            }
            let cut = random.below(body.len());
            let (front, back) = body.split_at(cut);
            let bytes: Vec<_> = body.chunks(1).collect();
            let ways = [
                ("whole", ours(*coding, &[&body], 4096)),
                ("a byte at a time out", ours(*coding, &[&body], if body.len() < 300 { 1 } else { 64 })),
                ("a byte at a time in", ours(*coding, &bytes, 4096)),
                ("cut", ours(*coding, &[front, back], 100)),
            ];
            // Corrupt zstd without a checksum has more than one reading. libzstd of Debian 12 takes blocks with bits to spare
            // and coded blocks of no bytes, which RFC 8878 and later releases of it do not; ruzstd does not hold each of the
            // four streams of literals to its own length. So such a body is counted, and must read the same in every way.
            if *coding == ZSTD && turn > 0 && expected != Verdict::Refused {
                let first = &ways[0].1;
                if *first != expected && ways.iter().all(|(_, got)| got == first) {
                    lax += 1;
                    continue;
                }
            }
            for (way, got) in ways {
                if got != expected {
                    let hex = data_encoding::HEXLOWER.encode(&body);
                    let name = NAMES[usize::from(*coding)];
                    wrong.push(format!("{name} {way} (cut {cut}): {} for {}: {hex}", got.short(), expected.short()));
                }
            }
        }
    }
    drop(ask);
    assert!(peer.wait().unwrap().success());
    assert!(whole > seeds.len() / 2 && (tries == 0 || refused > seeds.len()), "{whole} whole, {refused} refused");
    assert!(lax <= refused / 50, "{lax} corrupt zstd bodies are read in another way, {refused} refused");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), whole + refused, wrong[..wrong.len().min(20)].join("\n"));
}
