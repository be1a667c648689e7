//! Coded bodies as a table; each row whole, byte by byte, cut at every place, and into memory of one byte.

use super::*;
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use flate2::{Compression, write};
use std::io::Write;

const TEXT: &[u8] =
    b"It is a truth universally acknowledged, that a single man in possession of a good fortune, must be \
    in want of a wife. It is a truth universally acknowledged, that a wife is a wife.";
const BR: &str = "1bb300401d09364ef46d5c8aa1322cad2d41caead2cd85057271c0fe95ec220d7c49e6e90d9f7bb7924c4263f7d4a328736a5a3e62\
    afa9f53fde919c598446b0ce8abc01a62be4f7a24b7b28b64f68";
const ZSTD: &str = "28b52ffd24b41d030032871411a0edb06f854c6ef06b5a2a40fd5efd3735adfe608ea291979ed5cd786cd90e0ccb08dd79710e7d7fdc\
    d9a96ed3edde599db7dd30c4aabf8f9be24131a818461d2fb2af8c6d433315cba72861fcbed5a30804004220837500e6c1946a30650628213fbc";

fn hex(text: &str) -> Vec<u8> {
    HEX.decode(text.as_bytes()).unwrap()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = write::GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(data).unwrap();
    out.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut out = write::ZlibEncoder::new(Vec::new(), Compression::best());
    out.write_all(data).unwrap();
    out.finish().unwrap()
}

fn raw(data: &[u8]) -> Vec<u8> {
    let mut out = write::DeflateEncoder::new(Vec::new(), Compression::best());
    out.write_all(data).unwrap();
    out.finish().unwrap()
}

/// A zstd frame of blocks `(type, size, content)`; the last one is marked as such.
fn zstd(header: &[u8], blocks: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let mut out = [&[0x28, 0xb5, 0x2f, 0xfd], header].concat();
    for (at, (kind, size, content)) in blocks.iter().enumerate() {
        let last = u32::from(at + 1 == blocks.len());
        out.extend_from_slice(&(size << 3 | kind << 1 | last).to_le_bytes()[..3]);
        out.extend_from_slice(content);
    }
    out
}

fn decoder(codings: &str) -> Result<Option<Decoder>> {
    let mut fields = Fields::new();
    fields.push(b"Content-Encoding", codings.as_bytes());
    Decoder::new(&fields)
}

/// Everything that comes out of `pieces`, through memory of `room` bytes.
fn decode(codings: &str, pieces: &[&[u8]], room: usize) -> Result<Vec<u8>> {
    let mut decoder = decoder(codings)?.expect("a coding");
    let (mut out, mut place) = (Vec::new(), vec![0; room]);
    for piece in pieces {
        let mut input = *piece;
        loop {
            let took = decoder.step(input, &mut place)?;
            assert!(took.used <= input.len() && took.given <= room);
            out.extend_from_slice(&place[..took.given]);
            input = &input[took.used..];
            if took == Progress::default() {
                assert!(input.is_empty(), "{codings} stands still with {} bytes to go", input.len());
                break;
            }
        }
    }
    decoder.finish().map(|()| out)
}

fn check(codings: &str, body: &[u8], expected: std::result::Result<&[u8], Kind>) {
    let name = format!("{codings} {}", body.get(..body.len().min(40)).unwrap_or_default().escape_ascii());
    let got = |pieces: &[&[u8]], room| decode(codings, pieces, room).map_err(|err| err.kind());
    let expected = expected.map(<[u8]>::to_vec);
    assert_eq!(got(&[body], 4096), expected, "{name}");
    assert_eq!(got(&[body], 1), expected, "{name}, a byte at a time out");
    assert_eq!(got(&body.chunks(1).collect::<Vec<_>>(), 4096), expected, "{name}, a byte at a time in");
    for at in 0..body.len().min(200) {
        let (front, back) = body.split_at(at);
        assert_eq!(got(&[front, back], 100), expected, "{name}, cut at {at}");
    }
}

#[test]
fn bodies() {
    let (gz, zl, df, br, zs) = (gzip(TEXT), zlib(TEXT), raw(TEXT), hex(BR), hex(ZSTD));
    let twice: Vec<u8> = [TEXT, TEXT].concat();
    let with = |front: &[u8], back: &[u8]| [front, back].concat();
    // A header with everything that one can have.
    let mut long = b"\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x03\0xyzname\0comment\0\x12\x34".to_vec();
    long.extend_from_slice(&gz[10..]);
    let none = gzip(b"");
    let many_empty = with(&none.repeat(50), &gz);
    let skip = b"\x5a\x2a\x4d\x18\x03\0\0\0xyz";
    let stored = zstd(&[0x20, 5], &[(0, 5, b"hello")]);
    let run = zstd(&[0, 0x58], &[(1, 3, b"x"), (0, 0, b""), (1, 2, b"y")]);
    for (codings, body, expected) in [
        ("gzip", &gz, Ok(TEXT)),
        ("X-GZIP", &gz, Ok(TEXT)),
        ("identity, gzip,", &gz, Ok(TEXT)),
        ("gzip", &long, Ok(TEXT)),
        ("gzip", &with(&gz, &gz), Ok(&twice)),
        ("gzip", &with(&gz, &none), Ok(TEXT)),
        ("gzip", &many_empty, Ok(TEXT)),
        ("gzip", &none, Ok(b"")),
        ("gzip", &Vec::new(), Ok(b"")),
        // What follows and does not begin like gzip is ignored.
        ("gzip", &with(&gz, &[0; 20]), Ok(TEXT)),
        ("gzip", &with(&gz, b"\x1fgarbage"), Ok(TEXT)),
        ("gzip", &with(&gz, b"\x1f"), Err(Kind::Protocol)),
        ("gzip", &with(&gz, &gz[..12]), Err(Kind::Protocol)),
        ("gzip", &with(&gz, b"\x1f\x8b\x09"), Err(Kind::Protocol)),
        ("gzip", &gz[..gz.len() - 1].to_vec(), Err(Kind::Protocol)),
        ("gzip", &gz[..1].to_vec(), Err(Kind::Protocol)),
        ("gzip", &b"hello".to_vec(), Err(Kind::Protocol)),
        ("gzip", &b"\x1f\x8b\x08\xe0\0\0\0\0\0\x03".to_vec(), Err(Kind::Protocol)),
        ("deflate", &zl, Ok(TEXT)),
        ("deflate", &df, Ok(TEXT)),
        ("deflate", &with(&zl, b"more"), Ok(TEXT)),
        ("deflate", &with(&df, b"more"), Ok(TEXT)),
        ("deflate", &zlib(b""), Ok(b"")),
        ("deflate", &raw(b""), Ok(b"")),
        ("deflate", &Vec::new(), Ok(b"")),
        ("deflate", &zl[..zl.len() - 1].to_vec(), Err(Kind::Protocol)),
        ("deflate", &df[..df.len() - 1].to_vec(), Err(Kind::Protocol)),
        ("deflate", &zl[..1].to_vec(), Err(Kind::Protocol)),
        ("deflate", &with(b"\x78\xbb", &zl[2..]), Err(Kind::Protocol)),
        ("deflate", &b"\xff\xff".to_vec(), Err(Kind::Protocol)),
        // A distance beyond the beginning (RFC 1951 section 3.2.3).
        ("deflate", &hex("2bc94855c84f53484b5128c928c1c30300"), Err(Kind::Protocol)),
        ("br", &br, Ok(TEXT)),
        ("br", &with(&br, b"more"), Ok(TEXT)),
        ("br", &hex("3b"), Ok(b"")),
        ("br", &Vec::new(), Ok(b"")),
        ("br", &br[..br.len() - 1].to_vec(), Err(Kind::Protocol)),
        ("br", &br[..1].to_vec(), Err(Kind::Protocol)),
        ("br", &b"\xff\xff\xff".to_vec(), Err(Kind::Protocol)),
        // A meta-block with more in it than its length says (RFC 7932 section 9.3).
        ("br", &hex("00000020789c020020bf02802532cd3e36"), Err(Kind::Protocol)),
        // A large window (28 bits), an extension.
        ("br", &hex("115ccc02007524d838d1b7712986cab0b4b60429ab4b3717"), Err(Kind::Protocol)),
        ("zstd", &zs, Ok(TEXT)),
        ("zstd", &with(&zs, &zs), Ok(&twice)),
        ("zstd", &with(skip, &with(&zs, skip)), Ok(TEXT)),
        ("zstd", &stored, Ok(b"hello")),
        ("zstd", &run, Ok(b"xxxyy")),
        ("zstd", &Vec::new(), Ok(b"")),
        ("zstd", &with(&zs, b"more"), Ok(TEXT)),
        ("zstd", &with(&zs, &[0x28, 0xb5]), Err(Kind::Protocol)),
        ("zstd", &with(&zs, &[0x28, 0xb5, 0, 0]), Ok(TEXT)),
        ("zstd", &skip[..9].to_vec(), Err(Kind::Protocol)),
        ("zstd", &zs[..zs.len() - 1].to_vec(), Err(Kind::Protocol)),
        ("zstd", &zs[..4].to_vec(), Err(Kind::Protocol)),
        ("zstd", &with(&zs[..zs.len() - 1], b"\0"), Err(Kind::Protocol)),
        ("zstd", &b"hello".to_vec(), Err(Kind::Protocol)),
        ("zstd", &zstd(&[0x20, 6], &[(0, 5, b"hello")]), Err(Kind::Protocol)),
        ("zstd", &zstd(&[0x20, 4], &[(0, 5, b"hello")]), Err(Kind::Protocol)),
        ("zstd", &zstd(&[0x28, 5], &[(0, 5, b"hello")]), Err(Kind::Protocol)),
        ("zstd", &zstd(&[0x21, 9, 5], &[(0, 5, b"hello")]), Err(Kind::Protocol)),
        ("zstd", &zstd(&[0x21, 0, 5], &[(0, 5, b"hello")]), Ok(b"hello")),
        ("zstd", &zstd(&[0, 0x58], &[(3, 5, b"hello")]), Err(Kind::Protocol)),
        ("zstd", &zstd(&[0, 0x58], &[(1, 128 * 1024 + 1, b"x")]), Err(Kind::Protocol)),
        ("zstd", &zstd(&[0, 0x58], &[(2, 5, b"hello")]), Err(Kind::Protocol)),
        // Windows: 8 MiB are allowed, more are not, in either way of saying it.
        ("zstd", &zstd(&[0, 0x68], &[(1, 3, b"x")]), Ok(b"xxx")),
        ("zstd", &zstd(&[0, 0x69], &[(1, 3, b"x")]), Err(Kind::TooLarge)),
        ("zstd", &zstd(&[0, 0xff], &[(1, 3, b"x")]), Err(Kind::TooLarge)),
        ("zstd", &zstd(&[0xa0, 1, 0, 0x80, 0], &[(1, 3, b"x")]), Err(Kind::TooLarge)),
        ("zstd", &zstd(&[0xe0, 0, 0, 0, 0, 0, 0, 0, 0xff], &[(1, 3, b"x")]), Err(Kind::TooLarge)),
        // The one that is listed last is undone first.
        ("gzip, br", &hex(BR), Err(Kind::Protocol)),
        ("br, gzip", &gzip(&br), Ok(TEXT)),
        ("gzip, gzip", &gzip(&gz), Ok(TEXT)),
        ("deflate, identity, gzip", &gzip(&zl), Ok(TEXT)),
        ("gzip, zstd", &zstd(&[0x20, gz.len() as u8], &[(0, gz.len() as u32, &gz)]), Ok(TEXT)),
        ("gzip, gzip", &gzip(&gz[..gz.len() - 1]), Err(Kind::Protocol)),
        ("gzip, gzip", &gzip(&gz)[..30].to_vec(), Err(Kind::Protocol)),
        ("gzip, gzip", &Vec::new(), Ok(b"")),
    ] {
        check(codings, body, expected);
    }
}

#[test]
fn which_codings() {
    for (codings, expected) in [
        ("", Ok(false)),
        ("identity", Ok(false)),
        ("Identity, ,identity", Ok(false)),
        ("none", Ok(false)),
        ("gzip, none", Ok(false)),
        ("aes128gcm", Ok(false)),
        ("gzip;q=1", Ok(false)),
        ("gzip", Ok(true)),
        ("GZip, BR", Ok(true)),
        ("gzip, gzip, gzip", Err(())),
        ("gzip, none, x", Err(())),
        ("gzip, identity, br, identity", Ok(true)),
        ("br, Br", Err(())),
    ] {
        assert_eq!(decoder(codings).map(|found| found.is_some()).map_err(|_| ()), expected, "{codings:?}");
    }
    let mut fields = Fields::new();
    (0..3).for_each(|_| fields.push(b"content-encoding", b"gzip"));
    assert!(Decoder::new(&fields).is_err());
    assert!(Decoder::new(&Fields::new()).unwrap().is_none());
}

/// Every byte of a body changed: an error, or (where nothing guards it) another body, but never a panic.
#[test]
fn corrupted() {
    for (codings, body, guarded) in [
        ("gzip", gzip(TEXT), true),
        ("deflate", zlib(TEXT), true),
        ("deflate", raw(TEXT), false),
        ("br", hex(BR), false),
        ("zstd", hex(ZSTD), true),
    ] {
        for at in 0..body.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut body = body.clone();
                body[at] ^= change;
                if let Ok(got) = decode(codings, &[&body], 64) {
                    // gzip's time, system and extra flags may be anything.
                    assert!(!guarded || got == TEXT, "{codings} changed at {at}");
                }
            }
        }
    }
}

/// What was decoded before the bytes that are wrong comes first, however the input is cut and however much room there is.
#[test]
fn before_an_error() {
    let text = TEXT.repeat(40);
    let mut members = [gzip(&text), gzip(&text)].concat();
    let last = members.len() - 5;
    members[last] ^= 1;
    // Of a window of 1 KiB, which the crate keeps to itself until the end.
    let block: (u32, u32, &[u8]) = (0, 5 * TEXT.len() as u32, &text[..5 * TEXT.len()]);
    let blocks = zstd(b"\x00\x00", &[block, block, block, (3, 1, b"x")]);
    // Two stored blocks, and one of a type that there is not.
    let stored = [&[0, 4, 0, 0xfb, 0xff][..], b"abcd", &[0, 2, 0, 0xfd, 0xff], b"ef", &[7]].concat();
    for (codings, body) in [("gzip", members), ("deflate", stored), ("zstd", blocks)] {
        let given = |pieces: &[&[u8]], room: usize| {
            let mut decoder = decoder(codings).unwrap().unwrap();
            let (mut out, mut place) = (Vec::new(), vec![0; room]);
            for piece in pieces {
                let mut rest = *piece;
                loop {
                    match decoder.step(rest, &mut place) {
                        Err(_) => return (out, true),
                        Ok(took) if took == Progress::default() => break,
                        Ok(took) => {
                            out.extend_from_slice(&place[..took.given]);
                            rest = &rest[took.used..];
                        }
                    }
                }
            }
            (out, decoder.finish().is_err())
        };
        let whole = given(&[&body], 1 << 16);
        assert!(whole.1 && !whole.0.is_empty(), "{codings}");
        for room in [1, 7, 100, 4096] {
            assert_eq!(given(&[&body], room), whole, "{codings}, room of {room}");
            let bytes: Vec<&[u8]> = body.chunks(1).collect();
            assert_eq!(given(&bytes, room), whole, "{codings}, byte by byte, room of {room}");
        }
    }
    // A decoder that has failed says so again, at the end as well.
    let mut failed = decoder("gzip").unwrap().unwrap();
    assert!(
        failed.step(b"no gzip", &mut [0; 9]).is_err()
            && failed.step(b"", &mut [0; 9]).is_err()
            && failed.finish().is_err()
    );
}

/// What expands without measure is cut, in memory that does not grow.
#[test]
fn bombs() {
    let zeros = vec![0; 1 << 20];
    let mut sixty = write::GzEncoder::new(Vec::new(), Compression::best());
    (0..60).for_each(|_| sixty.write_all(&zeros).unwrap());
    let sixty = sixty.finish().unwrap();
    let runs = vec![(1, 128 * 1024, &b"\0"[..]); 320];
    let rows = [
        // All that deflate can do is allowed; what bounds it is the cap on bodies.
        ("gzip", sixty.clone(), None),
        ("gzip, gzip", gzip(&sixty), Some(Kind::TooLarge)),
        ("zstd", zstd(&[0, 0x68], &runs), Some(Kind::TooLarge)),
        ("zstd", zstd(&[0, 0x68], &runs[..8]), None),
        (
            "br",
            hex("cfffff7ff82700e2b14020f7fe9ffffffff04f00c4610180eefd7ffeffffe19f0088c32200ddfb3f"),
            Some(Kind::TooLarge),
        ),
        ("br", hex("5bffff8f7f02201e0b0472ef1f00"), None),
    ];
    for (codings, body, expected) in rows {
        let (mut decoder, mut place, mut input, mut total) =
            (decoder(codings).unwrap().unwrap(), [0; 16384], &*body, 0);
        let end = loop {
            match decoder.step(input, &mut place) {
                Ok(took) if took == Progress::default() => break decoder.finish().err(),
                Ok(took) => {
                    input = &input[took.used..];
                    total += took.given as u64;
                }
                Err(err) => break Some(err),
            }
        };
        assert_eq!(end.map(|err| err.kind()), expected, "{codings} of {} gave {total}", body.len());
        assert!(total <= FREE + body.len() as u64 * MAX_RATIO);
    }
}
