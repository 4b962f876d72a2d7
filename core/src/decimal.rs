//! JSON numbers, exactly.

use bigdecimal::BigDecimal;
use std::borrow::Cow;
use std::str::FromStr;

/// The number, if the value is one. Exponents beyond what any Postgres number has are left to Postgres: expanding them
/// would take unbounded memory.
pub(crate) fn parse(value: &str) -> Option<BigDecimal> {
    const EXPONENT_MAX: i64 = 200_000;
    if !value.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    BigDecimal::from_str(value).ok().filter(|number| number.fractional_digit_count().abs() <= EXPONENT_MAX)
}

/// Whether the value is a JSON number.
pub fn is_number(value: &str) -> bool {
    parse(value).is_some()
}

/// A number without fraction, written as an exponent or with a point, as plain digits; `None` for everything else, and
/// for what is far beyond any integer of Postgres'.
pub fn plain_integer(value: &str) -> Option<String> {
    const ZEROES_MAX: i64 = 64;
    if !value.contains(['.', 'e', 'E']) {
        return None;
    }
    let number = parse(value).filter(|number| number.is_integer())?;
    (-number.fractional_digit_count() <= ZEROES_MAX).then(|| number.with_scale(0).to_plain_string())
}

/// One text for all ways to write this number: whole ones that are not very long as plain digits.
pub(crate) fn canonical(value: &str) -> Cow<'_, str> {
    const DIGITS_MAX: usize = 60;
    if value.len() <= DIGITS_MAX && !value.contains(['.', 'e', 'E']) {
        return if value == "-0" { "0".into() } else { value.into() };
    }
    match (plain_integer(value).filter(|digits| digits.len() <= DIGITS_MAX), parse(value)) {
        (Some(digits), _) => digits.into(),
        (None, Some(number)) => number.normalized().to_scientific_notation().into(),
        (None, None) => value.into(),
    }
}

/// The sum of two numbers; `None` when one of them is none.
pub(crate) fn sum(a: &str, b: &str) -> Option<String> {
    if let (Some(a), Some(b)) = (small(a), small(b)) {
        return Some((a + b).to_string());
    }
    Some((parse(a)? + parse(b)?).to_plain_string())
}

/// What has to be added to `before` to make `after`; `None` when one of them is no number.
pub(crate) fn difference(before: &str, after: &str) -> Option<String> {
    if let (Some(before), Some(after)) = (small(before), small(after)) {
        return Some((after - before).to_string());
    }
    Some((parse(after)? - parse(before)?).to_plain_string())
}

fn small(value: &str) -> Option<i128> {
    value.parse::<i64>().ok().map(i128::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_beyond_64_bits_and_in_decimals() {
        for (a, b, both) in [
            ("9223372036854775807", "1", "9223372036854775808"),
            ("0.1", "0.2", "0.3"),
            ("1e3", "0.5", "1000.5"),
            ("-1", "1", "0"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(both));
        }
        assert_eq!(difference("0.1", "0.3").as_deref(), Some("0.2"));
        assert_eq!(sum("1", "\"1\""), None);
        assert_eq!(sum("1e999999", "1"), None);
    }

    #[test]
    fn whole_numbers_are_written_as_such() {
        for (number, plain) in
            [("1.0", Some("1")), ("-2.50e1", Some("-25")), ("1E+3", Some("1000")), ("0.0", Some("0"))]
        {
            assert_eq!(plain_integer(number).as_deref(), plain);
        }
        for other in ["1", "1.5", "1e-1", "1e100000", "\"1.0\"", "null"] {
            assert_eq!(plain_integer(other), None, "{other}");
        }
    }
}
