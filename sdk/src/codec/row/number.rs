//! Exact decimals, as texts.

use std::fmt::{Display, Write};
use std::str::FromStr;

/// The text of a `numeric` in its binary form; `None` when the bytes are none.
///
/// The form: how many digits to base 10000, the weight of the first (a power of 10000), the sign, how many decimal
/// places to show, the digits; 16 bits each.
pub(crate) fn numeric(bytes: &[u8]) -> Option<String> {
    const POSITIVE: i16 = 0;
    const NEGATIVE: i16 = 0x4000;
    let (words, []) = bytes.as_chunks::<2>() else { return None };
    let [count, weight, sign, scale, ..] = *words else { return None };
    let digits = &words[4..];
    if usize::try_from(i16::from_be_bytes(count)).ok()? != digits.len() {
        return None;
    }
    let mut out = String::with_capacity(4 * digits.len() + 8);
    match i16::from_be_bytes(sign) {
        POSITIVE => {}
        NEGATIVE => out.push('-'),
        sign => {
            return match sign as u16 {
                0xc000 => Some("NaN".to_owned()),
                0xd000 => Some("Infinity".to_owned()),
                0xf000 => Some("-Infinity".to_owned()),
                _ => None,
            };
        }
    }
    let weight = i32::from(i16::from_be_bytes(weight));
    let scale = usize::try_from(i16::from_be_bytes(scale)).ok()?;
    let digit = |power: i32| -> i16 {
        let place = usize::try_from(weight - power).ok();
        place.and_then(|place| digits.get(place)).map_or(0, |digit| i16::from_be_bytes(*digit))
    };
    let _infallible = write!(out, "{}", digit(weight.max(0)) * i16::from(weight >= 0));
    for power in (0..weight).rev() {
        let _infallible = write!(out, "{:04}", digit(power));
    }
    if scale > 0 {
        out.push('.');
        let end = out.len() + scale;
        let mut power = -1;
        while out.len() < end {
            let _infallible = write!(out, "{:04}", digit(power));
            power -= 1;
        }
        out.truncate(end);
    }
    Some(out)
}

/// The decimal as an integer, if it is one: `3`, `3.00`.
pub(super) fn integer<T: FromStr>(decimal: &str) -> Option<T> {
    let whole = match decimal.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
        Some(_) => return None,
        None => decimal,
    };
    whole.parse().ok()
}

/// The decimal as a float, if the float's shortest text is the same number, so that nothing is lost.
pub(super) fn float<T: FromStr + Display>(decimal: &str) -> Option<T> {
    let float: T = decimal.parse().ok()?;
    (decimal == "NaN" || decimal.ends_with("Infinity") || same(decimal, &float.to_string())).then_some(float)
}

/// Whether the text is a number as JSON writes them, and one that Postgres' `numeric` can hold.
pub(crate) fn is_json_number(text: &str) -> bool {
    const DIGITS_BEFORE_POINT_MAX: i64 = 131_072;
    const DIGITS_AFTER_POINT_MAX: i64 = 16_383;
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        None => (text, 0),
        Some((mantissa, exponent)) => match exponent.parse::<i32>() {
            Ok(value) => (mantissa, i64::from(value)),
            Err(_) => return false,
        },
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return false,
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !whole.is_empty()
        && digits(whole)
        && digits(fraction)
        && (whole == "0" || !whole.starts_with('0'))
        && whole.len() as i64 + exponent <= DIGITS_BEFORE_POINT_MAX
        && fraction.len() as i64 - exponent <= DIGITS_AFTER_POINT_MAX
}

/// Whether two decimals in plain notation or with exponents are the same number.
fn same(a: &str, b: &str) -> bool {
    canonical(a).is_some_and(|a| Some(a) == canonical(b))
}

/// Sign, digits without zeros at either end, and the power of ten of the last digit.
fn canonical(decimal: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = decimal.split_once(['e', 'E']).unwrap_or((decimal, "0"));
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let trimmed = all.trim_end_matches('0');
    let power = exponent.parse::<i64>().ok()? - fraction.len() as i64 + (all.len() - trimmed.len()) as i64;
    let digits = trimmed.trim_start_matches('0').to_owned();
    if digits.is_empty() { Some((false, digits, 0)) } else { Some((negative, digits, power)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn numerics_as_postgres_sends_them() {
        for (sent, text) in [
            (&[0, 0, 0, 0][..], "0"),
            (&[0, 0, 0, 3], "0.000"),
            (&[1, 0, 0, 2, 1], "1.00"),
            (&[2, 0, 0x4000, 2, 12, 3400], "-12.34"),
            (&[1, 2, 0, 0, 1], "100000000"),
            (&[1, 0xffff, 0, 4, 7], "0.0007"),
            (&[1, 0xfffe, 0, 8, 7], "0.00000007"),
            (&[3, 1, 0, 5, 1, 2, 9000], "10002.90000"),
            (&[0, 0, 0xc000, 0], "NaN"),
            (&[0, 0, 0xf000, 0], "-Infinity"),
        ] {
            assert_eq!(numeric(&words(sent)).as_deref(), Some(text));
        }
        assert_eq!(numeric(&words(&[2, 0, 0, 0, 1])), None);
        assert_eq!(numeric(&[0, 1, 2]), None);
    }

    #[test]
    fn whole_decimals_are_integers() {
        assert_eq!((integer("3"), integer("3.00"), integer("-0.0")), (Some(3i64), Some(3), Some(0)));
        assert_eq!(integer::<i64>("3.01"), None);
        assert_eq!(integer::<i64>("9223372036854775808"), None);
        assert_eq!(integer("9223372036854775808"), Some(1u64 << 63));
    }

    #[test]
    fn floats_only_where_nothing_is_lost() {
        assert_eq!((float("0.1"), float("0.10"), float("-1200")), (Some(0.1f64), Some(0.1), Some(-1200.0)));
        assert_eq!(float::<f64>("0.10000000000000000001"), None);
        assert_eq!(float::<f32>("16777217"), None);
        assert_eq!(float::<f64>("9007199254740993"), None);
        assert_eq!(float::<f64>("Infinity"), Some(f64::INFINITY));
        assert!(float::<f64>("NaN").is_some_and(f64::is_nan));
        assert_eq!(float::<f64>(&"9".repeat(400)), None);
    }

    #[test]
    fn numbers_as_json_writes_them() {
        for number in ["0", "-1", "1.50", "1e5", "1E-7", "-0.0", "12e+3"] {
            assert!(is_json_number(number), "{number}");
        }
        for other in ["", "-", "01", "1.", ".5", "+1", " 1", "1e", "NaN", "0x1", "1e200000", "1e-17000", "1e5.0"] {
            assert!(!is_json_number(other), "{other}");
        }
    }
}
