//! Times as nanoseconds since the Unix epoch, so that the expected values do not depend on the arithmetic of
//! `SystemTime`, which the crate uses.

use std::time::{Duration, SystemTime};

use arbitrary::Arbitrary;

pub const SECOND: i128 = 1_000_000_000;
pub const MINUTE: i128 = 60 * SECOND;

/// The earliest and the latest time that a `SystemTime` holds.
const EARLIEST: i128 = i64::MIN as i128 * SECOND;
const LATEST: i128 = (i64::MAX as i128 + 1) * SECOND - 1;

/// Any time that a `SystemTime` can hold.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Moment {
    Earliest,
    Latest,
    /// Within 68 years of 1970.
    NearEpoch(i32, u32),
    Any(i64, u32),
}

impl Moment {
    #[must_use]
    pub fn nanos(self) -> i128 {
        match self {
            Self::Earliest => EARLIEST,
            Self::Latest => LATEST,
            Self::NearEpoch(seconds, nanos) => within(seconds.into(), nanos),
            Self::Any(seconds, nanos) => within(seconds, nanos),
        }
    }
}

fn within(seconds: i64, nanos: u32) -> i128 {
    i128::from(seconds) * SECOND + i128::from(nanos) % SECOND
}

/// Returns the time `nanos` nanoseconds after the epoch, or the nearest that a `SystemTime` can hold.
///
/// # Panics
///
/// Never: the value is clamped to the range first.
#[must_use]
pub fn system_time(nanos: i128) -> SystemTime {
    let nanos = nanos.clamp(EARLIEST, LATEST);
    let seconds = i64::try_from(nanos.div_euclid(SECOND)).expect("clamped");
    let rest = u64::try_from(nanos.rem_euclid(SECOND)).expect("less than a second");
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second = if seconds < 0 { SystemTime::UNIX_EPOCH - whole } else { SystemTime::UNIX_EPOCH + whole };
    second + Duration::from_nanos(rest)
}

/// Parses an RFC 3339 time in UTC. Returns `None` for any other text, and for one with trailing zeros in its fraction.
#[must_use]
pub fn read_rfc3339(text: &str) -> Option<i128> {
    let text = text.strip_suffix('Z')?;
    let (text, fraction) = text.split_once('.').map_or((text, None), |(text, digits)| (text, Some(digits)));
    let nanos = match fraction {
        None => 0,
        Some(digits) if digits.len() <= 9 && !digits.ends_with('0') => {
            parse_digits(digits)? * 10i128.pow(9 - u32::try_from(digits.len()).ok()?)
        }
        Some(_) => return None,
    };
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let in_range = (1..=12).contains(&month)
        && (1..=length_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let seconds = ((days_before(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    in_range.then_some(seconds * SECOND + nanos)
}

fn parse_digits(text: &str) -> Option<i128> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Parses three numbers with these numbers of digits.
fn numbers(text: &str, separator: char, lengths: [usize; 3]) -> Option<[i128; 3]> {
    let parts: Vec<&str> = text.split(separator).collect();
    let parts: [&str; 3] = parts.try_into().ok()?;
    let fit = parts.iter().zip(lengths).all(|(part, length)| part.len() == length);
    let [a, b, c] = parts.map(parse_digits);
    fit.then_some([a?, b?, c?])
}

fn is_leap(year: i128) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn length_of_month(year: i128, month: i128) -> i128 {
    match month {
        2 => 28 + i128::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the days from 1 January 1970 to a date in or after the year 0.
fn days_before(year: i128, month: i128, day: i128) -> i128 {
    // Leap days from the year 0 to the end of the previous year.
    let leaps = |year: i128| (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    let days_to = |year: i128| year * 365 + leaps(year);
    let months: i128 = (1..month).map(|month| length_of_month(year, month)).sum();
    days_to(year) - days_to(1970) + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_time_is_parsed() {
        assert_eq!(read_rfc3339("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(read_rfc3339("1969-12-31T23:59:59.999999999Z"), Some(-1));
        assert_eq!(read_rfc3339("2026-01-01T00:00:00.5Z"), Some(1_767_225_600 * SECOND + SECOND / 2));
        assert_eq!(read_rfc3339("0000-01-01T00:00:00Z"), Some(-62_167_219_200 * SECOND));
        assert_eq!(read_rfc3339("2000-02-29T00:00:00Z"), Some(951_782_400 * SECOND));
        assert_eq!(read_rfc3339("9999-12-31T23:59:59Z"), Some(253_402_300_799 * SECOND));
        for bad in [
            "",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00+00:00",
            "1970-01-01 00:00:00Z",
            "1970-1-01T00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "1970-01-01T00:00:60Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.50Z",
            "-001-01-01T00:00:00Z",
        ] {
            assert_eq!(read_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn extreme_moment_is_a_system_time() {
        for moment in [Moment::Earliest, Moment::Latest, Moment::NearEpoch(-1, u32::MAX), Moment::Any(0, 0)] {
            let time = system_time(moment.nanos());
            let epoch = SystemTime::UNIX_EPOCH;
            let nanos = match time.duration_since(epoch) {
                Ok(after) => i128::try_from(after.as_nanos()),
                Err(before) => i128::try_from(before.duration().as_nanos()).map(|nanos| -nanos),
            };
            assert_eq!(nanos, Ok(moment.nanos()));
        }
        assert_eq!(system_time(i128::MIN), system_time(Moment::Earliest.nanos()));
        assert_eq!(system_time(i128::MAX), system_time(Moment::Latest.nanos()));
    }
}
