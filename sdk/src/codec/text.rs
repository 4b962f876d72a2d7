//! Values as texts: dates and times as Postgres reads and writes them in ISO form, hexadecimal, JSON strings.
//!
//! Everything is exact to the microsecond, in UTC, and free of the session's settings (`DateStyle`, `TimeZone`,
//! `IntervalStyle`), so that two connections never tell one value in two ways.

use std::fmt::Write;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;
/// Days from 0000-03-01, where the leap years' cycle of 400 years begins, to 2000-01-01, where Postgres begins.
const DAYS_TO_EPOCH: i64 = 730_425;
const DAYS_PER_CYCLE: i64 = 146_097;

/// A `date`, given in days since 2000-01-01.
pub(crate) fn date(days: i32) -> String {
    let mut out = String::with_capacity(16);
    match days {
        i32::MAX => out.push_str("infinity"),
        i32::MIN => out.push_str("-infinity"),
        _ => {
            let before_christ = push_date(&mut out, i64::from(days));
            push_era(&mut out, before_christ);
        }
    }
    out
}

/// A `timestamp`, given in microseconds since 2000-01-01.
pub(crate) fn timestamp(micros: i64) -> String {
    instant(micros, "")
}

/// A `timestamptz`, given in microseconds since 2000-01-01 in UTC.
pub(crate) fn timestamptz(micros: i64) -> String {
    instant(micros, "+00:00")
}

/// A `time`, given in microseconds since midnight.
pub(crate) fn time(micros: i64) -> String {
    let mut out = String::with_capacity(16);
    push_time(&mut out, micros);
    out
}

/// A `timetz`: its time and its zone, which Postgres counts in seconds west of Greenwich.
pub(crate) fn timetz(micros: i64, seconds_west: i32) -> String {
    let mut out = time(micros);
    let offset = seconds_west.unsigned_abs();
    out.push(if seconds_west > 0 { '-' } else { '+' });
    push_padded(&mut out, i64::from(offset / 3600), 2);
    out.push(':');
    push_padded(&mut out, i64::from(offset / 60 % 60), 2);
    if !offset.is_multiple_of(60) {
        out.push(':');
        push_padded(&mut out, i64::from(offset % 60), 2);
    }
    out
}

/// An `interval` as `intervalstyle = iso_8601` writes it; but one that is negative in all its parts has one sign ahead, which is how others
/// read it, and Postgres does not: see [`signed_parts`].
pub(crate) fn interval(months: i32, days: i32, micros: i64) -> String {
    match (months, days, micros) {
        (0, 0, 0) => return "PT0S".to_owned(),
        (i32::MAX, i32::MAX, i64::MAX) => return "infinity".to_owned(),
        (i32::MIN, i32::MIN, i64::MIN) => return "-infinity".to_owned(),
        _ => {}
    }
    let is_negative = months <= 0 && days <= 0 && micros <= 0 && micros > i64::MIN;
    let sign = if is_negative { -1 } else { 1 };
    let (months, days, micros) = (sign * i64::from(months), sign * i64::from(days), sign * micros);
    let mut out = String::from(if is_negative { "-P" } else { "P" });
    let mut part = |value: i64, unit: char| {
        if value != 0 {
            push_integer(&mut out, value);
            out.push(unit);
        }
    };
    part(months / 12, 'Y');
    part(months % 12, 'M');
    part(days, 'D');
    if micros != 0 {
        out.push('T');
        let mut part = |value: i64, unit: char| {
            if value != 0 {
                push_integer(&mut out, value);
                out.push(unit);
            }
        };
        part(micros / MICROS_PER_HOUR, 'H');
        part(micros % MICROS_PER_HOUR / MICROS_PER_MINUTE, 'M');
        let seconds = micros % MICROS_PER_MINUTE;
        if seconds != 0 {
            if seconds < 0 {
                out.push('-');
            }
            push_integer(&mut out, seconds.abs() / MICROS_PER_SECOND);
            push_fraction(&mut out, seconds.abs() % MICROS_PER_SECOND);
            out.push('S');
        }
    }
    out
}

/// An ISO 8601 interval with one sign ahead as one with a sign for each part; `None` when it has none ahead.
pub(crate) fn signed_parts(interval: &str) -> Option<String> {
    let parts = interval.strip_prefix("-P")?;
    let mut out = String::from("P");
    let mut is_within = false;
    for it in parts.chars() {
        let is_number = it.is_ascii_digit() || matches!(it, '.' | '-');
        match it {
            '-' => {}
            _ if is_number && !is_within => out.extend(['-', it]),
            _ => out.push(it),
        }
        // A sign of its own is turned around.
        is_within = is_number;
    }
    Some(out)
}

/// A `bytea` in the form `\x0102`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(2 + 2 * bytes.len());
    out.push_str("\\x");
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

/// The bytes of the form `\x0102`; `None` when it is not of that form.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Appends a JSON string.
pub(crate) fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    let mut clean = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[clean..at]);
        clean = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\r' => out.push_str("\\r"),
            control => {
                let _infallible = write!(out, "\\u{control:04x}");
            }
        }
    }
    out.push_str(&text[clean..]);
    out.push('"');
}

/// Appends an integer.
pub(crate) fn push_integer(out: &mut String, value: i64) {
    let _infallible = write!(out, "{value}");
}

fn instant(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => return "infinity".to_owned(),
        i64::MIN => return "-infinity".to_owned(),
        _ => {}
    }
    let mut out = String::with_capacity(32);
    let before_christ = push_date(&mut out, micros.div_euclid(MICROS_PER_DAY));
    out.push('T');
    push_time(&mut out, micros.rem_euclid(MICROS_PER_DAY));
    out.push_str(zone);
    push_era(&mut out, before_christ);
    out
}

/// Appends year, month and day, and says whether the year is one before Christ.
///
/// The proleptic Gregorian calendar, with years that begin in March so that the leap day comes last.
fn push_date(out: &mut String, days_since_2000: i64) -> bool {
    let days = days_since_2000 + DAYS_TO_EPOCH;
    let cycle = days.div_euclid(DAYS_PER_CYCLE);
    let day_of_cycle = days.rem_euclid(DAYS_PER_CYCLE);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_cycle + cycle * 400 + i64::from(month <= 2);
    push_padded(out, if year > 0 { year } else { 1 - year }, 4);
    out.push('-');
    push_padded(out, month, 2);
    out.push('-');
    push_padded(out, day, 2);
    year <= 0
}

fn push_era(out: &mut String, before_christ: bool) {
    if before_christ {
        out.push_str(" BC");
    }
}

fn push_time(out: &mut String, micros: i64) {
    push_padded(out, micros / MICROS_PER_HOUR, 2);
    out.push(':');
    push_padded(out, micros % MICROS_PER_HOUR / MICROS_PER_MINUTE, 2);
    out.push(':');
    push_padded(out, micros % MICROS_PER_MINUTE / MICROS_PER_SECOND, 2);
    push_fraction(out, micros % MICROS_PER_SECOND);
}

fn push_fraction(out: &mut String, micros: i64) {
    if micros != 0 {
        out.push('.');
        push_padded(out, micros, 6);
        out.truncate(out.trim_end_matches('0').len());
    }
}

fn push_padded(out: &mut String, value: i64, width: usize) {
    let _infallible = write!(out, "{value:0width$}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_on_both_sides_of_every_edge() {
        assert_eq!(date(0), "2000-01-01");
        assert_eq!(date(59), "2000-02-29");
        assert_eq!(date(-1), "1999-12-31");
        assert_eq!(date(-730_119), "0001-01-01");
        assert_eq!(date(-730_120), "0001-12-31 BC");
        assert_eq!(date(-2_451_545), "4714-11-24 BC");
        assert_eq!(date(2_145_031_948), "5874897-12-31");
        assert_eq!((date(i32::MAX), date(i32::MIN)), ("infinity".into(), "-infinity".into()));
    }

    #[test]
    fn instants_keep_their_microseconds_and_drop_zeros() {
        assert_eq!(timestamp(0), "2000-01-01T00:00:00");
        assert_eq!(timestamptz(-1), "1999-12-31T23:59:59.999999+00:00");
        assert_eq!(timestamptz(500_000), "2000-01-01T00:00:00.5+00:00");
        assert_eq!(timestamp(-211_813_488_000_000_000), "4714-11-24T00:00:00 BC");
        assert_eq!(timestamptz(-211_813_488_000_000_000), "4714-11-24T00:00:00+00:00 BC");
        assert_eq!(timestamptz(9_223_371_331_199_999_999), "294276-12-31T23:59:59.999999+00:00");
        assert_eq!(timestamp(i64::MIN), "-infinity");
    }

    #[test]
    fn times_of_day() {
        assert_eq!(time(0), "00:00:00");
        assert_eq!(time(86_400_000_000), "24:00:00");
        assert_eq!(timetz(43_200_000_001, -7200), "12:00:00.000001+02:00");
        assert_eq!(timetz(0, 19_830), "00:00:00-05:30:30");
    }

    #[test]
    fn intervals_as_iso_8601() {
        assert_eq!(interval(0, 0, 0), "PT0S");
        assert_eq!(interval(14, 3, 14_706_789_000), "P1Y2M3DT4H5M6.789S");
        assert_eq!(interval(-14, 3, -14_706_000_000), "P-1Y-2M3DT-4H-5M-6S");
        assert_eq!(interval(0, 0, -500_000), "-PT0.5S");
        assert_eq!(interval(-14, 0, -1), "-P1Y2MT0.000001S");
        assert_eq!(interval(0, i32::MIN, 0), "-P2147483648D");
        assert_eq!(interval(0, 0, i64::MIN), "PT-2562047788H-54.775808S");
        assert_eq!(signed_parts("-P1Y2MT0.5S").as_deref(), Some("P-1Y-2MT-0.5S"));
        assert_eq!(signed_parts("P-1D"), None);
        assert_eq!(interval(1, 0, 0), "P1M");
    }

    #[test]
    fn hexadecimal_there_and_back() {
        assert_eq!(hex(&[0, 255, 16]), "\\x00ff10");
        assert_eq!(unhex("\\x00FF10"), Some(vec![0, 255, 16]));
        assert_eq!((unhex("00"), unhex("\\x0"), unhex("\\x0g")), (None, None, None));
    }

    #[test]
    fn json_strings_are_those_of_serde_json() {
        for text in ["", "plain", "q\"b\\s\n\t\r\u{1}\u{8}é😀\u{7f}"] {
            let mut out = String::new();
            push_json_string(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
