//! Lengths of time in `interval` columns: `#[serde(with = "cache_sync::interval")]` on a member.
//!
//! For `std::time::Duration`, with the features of the same names also `chrono::TimeDelta`, `time::Duration` and `jiff::SignedDuration`,
//! and for an `Option` of any of them. `String` and `jiff::Span` need no attribute; a span has one sign, so it does not read `1 day -1 hour`.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Session {
//!     #[serde(with = "cache_sync::interval")]
//!     keep: Duration,
//!     #[serde(with = "cache_sync::interval")]
//!     idle: Option<Duration>,
//! }
//! ```
//! Written is a length in hours, minutes and seconds, rounded to the microsecond, which is the unit of an interval. Read is one with days,
//! too, each of 24 hours. Months and years have no length of their own: a row with such an interval is an error, and so is a negative one
//! where the type has no sign.

use super::text;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// A type that `cache_sync::interval` reads and writes; it is not for others to implement.
pub trait Length: Sized + sealed::Micros {}

impl<T: sealed::Micros> Length for T {}

/// Writes the length as an interval.
///
/// # Errors
/// It has more than 2^63 microseconds, or 292,271 years.
pub fn serialize<T: Length, S: Serializer>(length: &T, serializer: S) -> Result<S::Ok, S::Error> {
    match length.micros() {
        Ok(Some(micros)) => serializer.serialize_str(&text::interval(0, 0, micros)),
        Ok(None) => serializer.serialize_none(),
        Err(error) => Err(S::Error::custom(error)),
    }
}

/// Reads an interval as a length.
///
/// # Errors
/// It has months or years, is infinite, or is negative and the type has no sign.
pub fn deserialize<'de, T: Length, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let micros = match Option::<String>::deserialize(deserializer)? {
        Some(interval) => Some(micros_of(&interval).map_err(D::Error::custom)?),
        None => None,
    };
    T::of_micros(micros).map_err(D::Error::custom)
}

/// The microseconds of an interval as [`text::interval`] writes it.
fn micros_of(interval: &str) -> Result<i64, &'static str> {
    const NONE: &str = "this is no interval in ISO 8601 form";
    let (sign, unsigned) = interval.strip_prefix('-').map_or((1, interval), |unsigned| (-1, unsigned));
    let mut rest = unsigned.strip_prefix('P').ok_or(NONE)?;
    let (mut micros, mut is_time) = (0i128, false);
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            (rest, is_time) = (time, true);
            continue;
        }
        let end = rest.find(|part: char| part.is_ascii_alphabetic()).ok_or(NONE)?;
        let (number, unit) = rest.split_at(end);
        let seconds = match (&unit[..1], is_time) {
            ("W", false) => 7 * 86_400,
            ("D", false) => 86_400,
            ("H", true) => 3600,
            ("M", true) => 60,
            ("S", true) => 1,
            ("Y" | "M", false) => return Err("months and years have no length of their own"),
            _ => return Err(NONE),
        };
        micros += sign * seconds * millionths(number).ok_or(NONE)?;
        rest = &unit[1..];
    }
    i64::try_from(micros).map_err(|_| "the interval is longer than any length of time")
}

/// A number with at most six places, times a million.
fn millionths(number: &str) -> Option<i128> {
    let (is_negative, digits) = number.strip_prefix('-').map_or((false, number), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty()
        || whole.len() > 20
        || fraction.len() > 6
        || !digits.bytes().all(|it| it == b'.' || it.is_ascii_digit())
    {
        return None;
    }
    let value = format!("{whole}{fraction:0<6}").parse::<i128>().ok()?;
    Some(if is_negative { -value } else { value })
}

mod sealed {
    use std::time::Duration;

    pub(super) const TOO_LONG: &str = "it is longer than any interval";
    const NULL: &str = "null is no length of time; make the member an `Option`";

    /// A length of time in microseconds; `None` is null.
    pub trait Micros: Sized {
        fn micros(&self) -> Result<Option<i64>, &'static str>;
        fn of_micros(micros: Option<i64>) -> Result<Self, &'static str>;
    }

    impl<T: Micros> Micros for Option<T> {
        fn micros(&self) -> Result<Option<i64>, &'static str> {
            self.as_ref().map_or(Ok(None), T::micros)
        }

        fn of_micros(micros: Option<i64>) -> Result<Option<T>, &'static str> {
            micros.map(|micros| T::of_micros(Some(micros))).transpose()
        }
    }

    /// Nanoseconds, rounded.
    fn micros_of_nanos(nanos: i128) -> Result<Option<i64>, &'static str> {
        i64::try_from((nanos + 500).div_euclid(1000)).map(Some).map_err(|_| TOO_LONG)
    }

    impl Micros for Duration {
        fn micros(&self) -> Result<Option<i64>, &'static str> {
            micros_of_nanos(i128::try_from(self.as_nanos()).map_err(|_| TOO_LONG)?)
        }

        fn of_micros(micros: Option<i64>) -> Result<Duration, &'static str> {
            u64::try_from(micros.ok_or(NULL)?).map(Duration::from_micros).map_err(|_| "a `Duration` is not negative")
        }
    }

    #[cfg(feature = "chrono")]
    impl Micros for chrono::TimeDelta {
        fn micros(&self) -> Result<Option<i64>, &'static str> {
            micros_of_nanos(i128::from(self.num_seconds()) * 1_000_000_000 + i128::from(self.subsec_nanos()))
        }

        fn of_micros(micros: Option<i64>) -> Result<chrono::TimeDelta, &'static str> {
            micros.map(chrono::TimeDelta::microseconds).ok_or(NULL)
        }
    }

    #[cfg(feature = "time")]
    impl Micros for time::Duration {
        fn micros(&self) -> Result<Option<i64>, &'static str> {
            micros_of_nanos(self.whole_nanoseconds())
        }

        fn of_micros(micros: Option<i64>) -> Result<time::Duration, &'static str> {
            micros.map(time::Duration::microseconds).ok_or(NULL)
        }
    }

    #[cfg(feature = "jiff")]
    impl Micros for jiff::SignedDuration {
        fn micros(&self) -> Result<Option<i64>, &'static str> {
            micros_of_nanos(self.as_nanos())
        }

        fn of_micros(micros: Option<i64>) -> Result<jiff::SignedDuration, &'static str> {
            micros.map(jiff::SignedDuration::from_micros).ok_or(NULL)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn intervals_have_a_length_unless_they_have_months() {
        for (interval, micros) in [
            ("PT0S", Ok(0)),
            ("PT1H30M0.000001S", Ok(5_400_000_001)),
            ("P1DT-1H", Ok(23 * 3_600_000_000)),
            ("P-2D", Ok(-172_800_000_000)),
            ("PT-0.5S", Ok(-500_000)),
            ("-P1DT0.5S", Ok(-86_400_500_000)),
            ("P1Y", Err("months and years have no length of their own")),
            ("P1M", Err("months and years have no length of their own")),
            ("infinity", Err("this is no interval in ISO 8601 form")),
            ("PT1", Err("this is no interval in ISO 8601 form")),
            ("PTS", Err("this is no interval in ISO 8601 form")),
            ("P1H", Err("this is no interval in ISO 8601 form")),
            ("PT1é", Err("this is no interval in ISO 8601 form")),
        ] {
            assert_eq!(micros_of(interval), micros, "{interval}");
        }
        for micros in [i64::MIN, -1, 0, 1, 86_400_000_000, i64::MAX] {
            assert_eq!(micros_of(&text::interval(0, 0, micros)), Ok(micros));
        }
    }

    #[test]
    fn lengths_are_rounded_to_microseconds() {
        let written = |length: Duration| serde_json::to_string(&Written(length)).map_err(|error| error.to_string());
        assert_eq!(written(Duration::from_nanos(1_499)).as_deref(), Ok("\"PT0.000001S\""));
        assert_eq!(written(Duration::from_nanos(1_500)).as_deref(), Ok("\"PT0.000002S\""));
        assert_eq!(written(Duration::from_secs(90_000)).as_deref(), Ok("\"PT25H\""));
        assert_eq!(written(Duration::MAX), Err(sealed::TOO_LONG.to_owned()));
        let read = serde_json::from_str::<Written>("\"P1DT1S\"").map(|Written(length)| length);
        assert_eq!(read.ok(), Some(Duration::from_secs(86_401)));
        assert!(serde_json::from_str::<Written>("\"PT-1S\"").is_err());
        assert!(serde_json::from_str::<Written>("null").is_err());
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Written(#[serde(with = "super")] Duration);
}
