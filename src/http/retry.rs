//! The option `retry`: whether a request is repeated, and when.
//!
//! Pure: no clock, no random numbers, no sleep. Only for requests whose body is still available, and that are
//! idempotent or did not reach the server.

use super::{cookies::date, response::Head};
use crate::error::{Error, Kind};
use std::time::Duration;

/// The caller's options.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Further tries after the first one. Defaults to 3.
    pub attempts: u32,
    /// The wait before the first of them; each next one is twice as long. Defaults to half a second.
    pub backoff: Duration,
    /// Answers that are worth another try. Defaults to 429, 502, 503 and 504.
    pub statuses: Vec<u16>,
    /// No wait is longer; where `Retry-After` asks for more, the answer is handed over. Defaults to a minute.
    pub max_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: 3,
            backoff: Duration::from_millis(500),
            statuses: vec![429, 502, 503, 504],
            max_wait: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// The wait after an answer, if it asks for another try. `tries` were further ones already; `wall` is seconds
    /// since 1970; `dice` any number.
    pub fn after_answer(&self, head: &Head, tries: u32, wall: Duration, dice: u32) -> Option<Duration> {
        if !self.statuses.contains(&head.status) || tries >= self.attempts {
            return None;
        }
        match retry_after(head, wall) {
            Some(asked) => (asked <= self.max_wait).then_some(asked),
            None => Some(self.backoff(tries, dice)),
        }
    }

    /// The same after a failure without an answer.
    pub fn after_failure(&self, err: &Error, tries: u32, dice: u32) -> Option<Duration> {
        let passing = err.is_absence()
            || matches!(err.kind(), Kind::ConnectionRefused | Kind::ConnectionReset | Kind::DnsFailure | Kind::Timeout);
        (passing && tries < self.attempts).then(|| self.backoff(tries, dice))
    }

    /// Exponential, between half of it and all of it, so that many clients do not come back at once.
    fn backoff(&self, tries: u32, dice: u32) -> Duration {
        let full = self.backoff.saturating_mul(2u32.saturating_pow(tries)).min(self.max_wait);
        full / 2 + (full / 2).mul_f64(f64::from(dice) / f64::from(u32::MAX))
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3); what is neither is as if it were not there.
fn retry_after(head: &Head, wall: Duration) -> Option<Duration> {
    let text = head.fields.first("retry-after")?;
    if !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
        // More than 64 bits is for ever, and longer than anybody waits.
        let seconds = std::str::from_utf8(text).ok()?.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds));
    }
    let at = date::seconds(text)?;
    Some(Duration::from_secs(at).saturating_sub(wall))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{fields::Fields, response::Version};

    fn head(status: u16, after: Option<&str>) -> Head {
        let mut fields = Fields::new();
        if let Some(after) = after {
            fields.push(b"Retry-After", after.as_bytes());
        }
        Head { version: Version::Http11, status, reason: Default::default(), fields }
    }

    #[test]
    fn answers() {
        let retry = Retry::default();
        let wall = Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        let ms = |ms| Some(Duration::from_millis(ms));
        for (label, status, after, tries, expected) in [
            ("a plain 503", 503, None, 0, ms(500)),
            ("twice", 503, None, 1, ms(1000)),
            ("three times", 429, None, 2, ms(2000)),
            ("spent", 503, None, 3, None),
            ("fine", 200, None, 0, None),
            ("500 may have done it", 500, None, 0, None),
            ("seconds", 429, Some("7"), 0, ms(7000)),
            ("at once", 429, Some("0"), 0, ms(0)),
            ("the longest", 429, Some("60"), 0, ms(60000)),
            ("too long", 429, Some("3600"), 0, None),
            ("much too long", 429, Some("1000000000000000000000000000000"), 0, None),
            ("a date", 503, Some("Sun, 06 Nov 1994 08:49:40 GMT"), 0, ms(3000)),
            ("a date that has been", 503, Some("Sun, 06 Nov 1994 08:49:30 GMT"), 0, ms(0)),
            ("a far date", 503, Some("Wed, 21 Oct 2099 00:00:00 GMT"), 0, None),
            ("negative", 503, Some("-1"), 0, ms(500)),
            ("garbage", 503, Some("soon"), 0, ms(500)),
            ("a fraction", 503, Some("1.5"), 0, ms(500)),
            ("empty", 503, Some(""), 0, ms(500)),
        ] {
            assert_eq!(retry.after_answer(&head(status, after), tries, wall, u32::MAX), expected, "{label}");
        }
    }

    #[test]
    fn failures_and_jitter() {
        let retry = Retry { attempts: 40, ..Retry::default() };
        for kind in Kind::ALL {
            let passing =
                [Kind::ConnectionRefused, Kind::ConnectionReset, Kind::DnsFailure, Kind::Timeout].contains(&kind);
            assert_eq!(retry.after_failure(&Error::new(kind, ""), 0, 0).is_some(), passing, "{kind:?}");
        }
        let after_errno = |errno| {
            let err = Error::from_path("connect", &std::io::Error::from_raw_os_error(errno));
            retry.after_failure(&err, 0, 0).is_some()
        };
        assert!(after_errno(libc::ENOENT) && after_errno(libc::ECONNREFUSED));
        assert!(!after_errno(libc::EACCES) && !after_errno(libc::ENOTDIR));
        let err = Error::new(Kind::Timeout, "");
        assert_eq!(retry.after_failure(&err, 0, 0), Some(Duration::from_millis(250)));
        assert_eq!(retry.after_failure(&err, 39, u32::MAX), Some(Duration::from_secs(60)));
    }
}
