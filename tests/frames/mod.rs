//! Frames of HTTP/2 from the notation of `spec/data/hostile_http2.tsv`, which says what it means. `spec/support/frames.lua` reads it in Lua.

/// The bytes of a client's connection: preface, SETTINGS and frames, unless `!` says another preface.
#[allow(dead_code, reason = "for the tests of a server")]
pub fn connection(row: &str) -> Vec<u8> {
    let (mut out, row) = match row.strip_prefix('!') {
        Some(raw) => {
            let (preface, rest) = raw.split_once(' ').unwrap();
            (text(preface), rest)
        }
        None => (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), row),
    };
    out.extend(list(row).concat());
    out
}

/// The frames of a row, one by one.
pub fn list(row: &str) -> Vec<Vec<u8>> {
    let mut last = 0;
    repeated(row).split(' ').filter(|frame| !frame.is_empty()).map(|text| frame(text, &mut last)).collect()
}

fn frame(text: &str, last: &mut u32) -> Vec<u8> {
    let mut parts = text.splitn(4, ':');
    let (kind, flags, stream) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let payload = payload(parts.next().unwrap());
    let hex = |text: &str| u32::from_str_radix(text, 16).unwrap();
    let mut length = payload.len() as u32;
    let kind = match kind {
        "X" => return payload,
        "D" => 0,
        "H" => 1,
        "P" => 2,
        "R" => 3,
        "S" => 4,
        "U" => 5,
        "I" => 6,
        "G" => 7,
        "W" => 8,
        "C" => 9,
        long if long.starts_with('L') => {
            length = hex(&long[1..]);
            0
        }
        other => hex(other),
    };
    *last = match (stream, *last) {
        ("+", 0) => 1,
        ("+", last) => last + 2,
        ("=", last) => last,
        (number, _) => number.parse().unwrap(),
    };
    let mut out = length.to_be_bytes()[1..].to_vec();
    out.extend([kind as u8, hex(flags) as u8]);
    out.extend(last.to_be_bytes());
    out.extend(payload);
    out
}

/// `Nx[..]` written out.
fn repeated(frames: &str) -> String {
    let mut out = String::new();
    let mut rest = frames;
    while let Some(at) = rest.find("x[") {
        let start = rest[..at].rfind(' ').map_or(0, |blank| blank + 1);
        let end = at + rest[at..].find(']').unwrap();
        let count: usize = rest[start..at].parse().unwrap();
        out.push_str(&rest[..start]);
        out.push_str(vec![&rest[at + 2..end]; count].join(" ").as_str());
        rest = &rest[end + 1..];
    }
    out + rest
}

fn payload(parts: &str) -> Vec<u8> {
    let mut all = String::new();
    let mut rest = parts;
    // {N*..,} is parts of their own; within a value it is text.
    while let Some(at) = rest.find('{') {
        let end = at + rest[at..].find('}').unwrap();
        let (count, what) = rest[at + 1..end].split_once('*').unwrap();
        all.push_str(&rest[..at]);
        all.push_str(&what.repeat(count.parse().unwrap()));
        rest = &rest[end + 1..];
    }
    all.push_str(rest);
    let mut out = Vec::new();
    for part in all.split(',').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            _ if part == "$" => out.extend(payload("m=GET,s=http,p=/,a=a")),
            _ if part == "$P" => out.extend(payload("m=POST,s=http,p=/,a=a")),
            _ if part.starts_with('#') => {
                let digits = &part[1..];
                out.extend(
                    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()),
                );
            }
            None => out.extend(text(part)),
            Some((name, value)) => {
                out.push(0);
                let name = match name {
                    "m" => b":method".to_vec(),
                    "s" => b":scheme".to_vec(),
                    "p" => b":path".to_vec(),
                    "a" => b":authority".to_vec(),
                    name => text(name),
                };
                string(&name, &mut out);
                string(&text(value), &mut out);
            }
        }
    }
    out
}

/// A string of HPACK, without Huffman's code (RFC 7541 section 5.2).
fn string(text: &[u8], out: &mut Vec<u8>) {
    let mut length = text.len();
    if length < 127 {
        out.push(length as u8);
    } else {
        out.push(127);
        length -= 127;
        while length >= 128 {
            out.push((length % 128) as u8 | 128);
            length /= 128;
        }
        out.push(length as u8);
    }
    out.extend_from_slice(text);
}

/// `\r \n \xHH`.
fn text(escaped: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = escaped;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        match &rest[at + 1..at + 2] {
            "r" => out.push(b'\r'),
            "n" => out.push(b'\n'),
            _ => out.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).unwrap()),
        }
        rest = &rest[at + if &rest[at + 1..at + 2] == "x" { 4 } else { 2 }..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}
