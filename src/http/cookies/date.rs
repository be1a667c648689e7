//! Dates in cookies (RFC 6265bis section 5.1.1): any order, any delimiter, and the first of each part counts.
//!
//! Bytes in, seconds out. Also reads the dates of HTTP itself, which are a subset.

use crate::dates;

/// Seconds since 1970; dates before that are 0. `None` if it is no date.
pub fn seconds(text: &[u8]) -> Option<u64> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(|b| is_delimiter(*b)).filter(|token| !token.is_empty()) {
        if time.is_none() {
            time = clock(token);
            if time.is_some() {
                continue;
            }
        }
        if day.is_none() {
            day = number(token, 1, 2);
            if day.is_some() {
                continue;
            }
        }
        if month.is_none() {
            month = dates::month(token);
            if month.is_some() {
                continue;
            }
        }
        if year.is_none() {
            year = number(token, 2, 4);
        }
    }
    let ((hour, minute, second), day, month) = (time?, day?, month?);
    let year = match year? {
        short @ 70..=99 => short + 1900,
        short @ 0..=69 => short + 2000,
        year => year,
    };
    if hour > 23 || minute > 59 || second > 59 || year < 1601 {
        return None;
    }
    let midnight = dates::seconds(year, month, day)?;
    Some(u64::try_from(midnight).map_or(0, |midnight| midnight + u64::from(hour * 3600 + minute * 60 + second)))
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'/' | b';'..=b'@' | b'['..=b'`' | b'{'..=b'~')
}

/// Between `least` and `most` digits at the front; what follows must not be a digit.
fn number(token: &[u8], least: usize, most: usize) -> Option<u32> {
    let digits = token.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(least..=most).contains(&digits) {
        return None;
    }
    Some(token.iter().take(digits).fold(0, |n, b| n * 10 + u32::from(b - b'0')))
}

/// `hh:mm:ss`, one or two digits each; what follows the last must not be a digit.
fn clock(token: &[u8]) -> Option<(u32, u32, u32)> {
    let mut parts = token.splitn(3, |b| *b == b':');
    let whole = |part: &[u8]| number(part, 1, 2).filter(|_| part.len() <= 2 && part.iter().all(u8::is_ascii_digit));
    let (hour, minute) = (whole(parts.next()?)?, whole(parts.next()?)?);
    Some((hour, minute, number(parts.next()?, 1, 2)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("1994 6 nOVember 8:49:37", Some(784_111_777)),
            ("06/Nov/1994@08:49:37~", Some(784_111_777)),
            ("06 Nov 1994 08:49:37.123 +0200", Some(784_111_777)),
            ("06th Nov 94x 08:49:37Z", Some(784_111_777)),
            ("01 Jan 1970 00:00:00", Some(0)),
            ("31 Dec 1969 23:59:59", Some(0)),
            ("01 Jan 1601 00:00:00", Some(0)),
            ("29 Feb 2000 00:00:00", Some(951_782_400)),
            ("29 Feb 2024 23:59:59", Some(1_709_251_199)),
            ("01 Mar 2100 00:00:00", Some(4_107_542_400)),
            ("31 Dec 9999 23:59:59", Some(253_402_300_799)),
            ("01 Jan 69 00:00:00", Some(3_124_224_000)),
            ("01 Jan 70 00:00:00", Some(0)),
            // The first that fits is taken, even where a later one would fit better.
            ("10 11 Nov 1994 08:49:37", Some(1_320_914_977)),
            ("29 Feb 2100 00:00:00", None),
            ("29 Feb 2023 00:00:00", None),
            ("31 Apr 2023 00:00:00", None),
            ("00 Nov 1994 08:49:37", None),
            ("32 Nov 1994 08:49:37", None),
            ("06 Nov 1600 08:49:37", None),
            ("06 Nov 1994 24:00:00", None),
            ("06 Nov 1994 00:60:00", None),
            ("06 Nov 1994 00:00:60", None),
            ("06 Nov 1994 008:49:37", None),
            ("06 Nov 1994 08:49:371", None),
            ("06 Nov 1994 08:49", None),
            ("06 Nov 19940 08:49:37", None),
            ("006 Nov 1994 08:49:37", None),
            ("06 No 1994 08:49:37", None),
            ("06 Nov 08:49:37", None),
            ("99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(seconds(text.as_bytes()), expected, "{text:?}");
        }
    }
}
