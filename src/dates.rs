//! Dates of the Gregorian calendar in UTC, and seconds since 1970.
//!
//! The calendar is the crate `time`'s; only this file names it. Pure: the time is an argument. Years are 0 to 9999, as X.509, HTTP and mail
//! write them.

use time::{Date, Month, OffsetDateTime};

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
const RANGE: (i64, i64) = (-62_167_219_200, 253_402_300_799);
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A second by the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    /// 0 is Sunday.
    pub weekday: u8,
}

impl Moment {
    /// What is outside of the years 0 to 9999 is their first or last second.
    pub fn of(seconds: i64) -> Moment {
        let at =
            OffsetDateTime::from_unix_timestamp(seconds.clamp(RANGE.0, RANGE.1)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let ((year, month, day), (hour, minute, second)) = (at.to_calendar_date(), at.to_hms());
        let weekday = at.weekday().number_days_from_sunday();
        Moment { year, month: month.into(), day, hour, minute, second, weekday }
    }

    /// `Jan` to `Dec`.
    pub fn month_name(&self) -> &'static str {
        MONTHS.get(usize::from(self.month).wrapping_sub(1)).unwrap_or(&"")
    }
}

/// Seconds since 1970 as ISO 8601: `2026-01-31T12:00:00Z`.
pub fn iso(seconds: i64) -> String {
    let Moment { year, month, day, hour, minute, second, .. } = Moment::of(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Seconds between 1970 and the beginning of a day; `None` for a day that there is not.
pub fn seconds(year: u32, month: u32, day: u32) -> Option<i64> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    Some(date.midnight().assume_utc().unix_timestamp())
}

/// 1 to 12, by the first three letters of an English name, in any case.
pub fn month(name: &[u8]) -> Option<u32> {
    let start = name.get(..3)?;
    (1..).zip(MONTHS).find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(start)).map(|(month, _)| month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (784_111_777, "1994-11-06T08:49:37Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (-62_167_219_200, "0000-01-01T00:00:00Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(iso(seconds), text);
        }
    }

    #[test]
    fn days() {
        for (year, month, day, expected) in [
            (1970, 1, 1, Some(0)),
            (0, 1, 1, Some(RANGE.0)),
            (1601, 1, 1, Some(-11_644_473_600)),
            (2000, 2, 29, Some(951_782_400)),
            (9999, 12, 31, Some(RANGE.1 - 86_399)),
            (2100, 2, 29, None),
            (2026, 4, 31, None),
            (2026, 0, 1, None),
            (2026, 13, 1, None),
            (2026, 1, 0, None),
            (2026, 257, 257, None),
            (10_000, 1, 1, None),
            (u32::MAX, 1, 1, None),
        ] {
            assert_eq!(seconds(year, month, day), expected, "{year}-{month}-{day}");
        }
        // Every day has its number, and its number is that day.
        let mut at = seconds(1600, 12, 31).unwrap();
        for year in 1601..=2400 {
            for month in 1..=12 {
                for day in (1..=31).filter(|day| seconds(year, month, *day).is_some()) {
                    at += 86_400;
                    assert_eq!(seconds(year, month, day), Some(at), "{year}-{month}-{day}");
                    let found = Moment::of(at);
                    assert_eq!((found.year as u32, found.month.into(), found.day.into()), (year, month, day));
                    assert_eq!(i64::from(found.weekday), (at / 86_400 + 4).rem_euclid(7), "{year}-{month}-{day}");
                }
            }
        }
        assert_eq!(at, 13_601_001_600);
    }

    #[test]
    fn months() {
        for (name, expected) in [("jan", Some(1)), ("DECember", Some(12)), ("ja", None), ("xyz", None)] {
            assert_eq!(month(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(Moment::of(0).month_name(), "Jan");
    }
}
