//! What the rules do to values, which are JSON texts as they travel.

use crate::rule::Rule;
use bigdecimal::BigDecimal;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::str::FromStr;

/// A rule met a value that it cannot work on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rule {rule} needs a number, not {value}")]
pub struct NotANumber {
    /// The rule.
    pub rule: Rule,
    /// The value, as JSON.
    pub value: String,
}

/// The value of a field after an incoming value that wins its comparison of stamps.
///
/// # Errors
/// [`NotANumber`] when `add` meets anything else.
pub fn merge<'a>(rule: Rule, current: Option<&'a str>, incoming: &'a str) -> Result<Cow<'a, str>, NotANumber> {
    let current = current.filter(|value| *value != "null");
    match (rule, current) {
        (Rule::Lww | Rule::Arrival, _) | (_, None) => Ok(incoming.into()),
        (Rule::Add, Some(current)) => add(current, incoming).map(Cow::Owned),
        (Rule::Max, Some(current)) => Ok(if order(incoming, current).is_gt() { incoming } else { current }.into()),
        (Rule::Min, Some(current)) => Ok(if order(incoming, current).is_lt() { incoming } else { current }.into()),
    }
}

/// Two incoming values of one field as one, or `None` where only Postgres can put them together, because it alone
/// knows how the column's type adds or compares.
pub fn coalesce<'a>(rule: Rule, earlier: &'a str, later: &'a str) -> Option<Cow<'a, str>> {
    match rule {
        Rule::Lww | Rule::Arrival => Some(later.into()),
        Rule::Add => add(earlier, later).ok().map(Cow::Owned),
        Rule::Max | Rule::Min => {
            number(earlier)?;
            number(later)?;
            merge(rule, Some(earlier), later).ok()
        }
    }
}

/// The change that makes `after` out of `before` under `add`.
///
/// # Errors
/// [`NotANumber`] when one of them is no number.
pub fn difference<'a>(before: Option<&str>, after: &'a str) -> Result<Cow<'a, str>, NotANumber> {
    let Some(before) = before.filter(|value| *value != "null") else {
        return if number(after).is_some() { Ok(after.into()) } else { Err(not_a_number(after)) };
    };
    if let (Some(before), Some(after)) = (small(before), small(after)) {
        return Ok((after - before).to_string().into());
    }
    let before = number(before).ok_or_else(|| not_a_number(before))?;
    let after = number(after).ok_or_else(|| not_a_number(after))?;
    Ok((after - before).to_plain_string().into())
}

/// The order of two values as far as a client can tell: numbers exactly, everything else by its JSON text.
pub fn order(a: &str, b: &str) -> Ordering {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

/// A number without fraction, written as an exponent or with a point, as plain digits; `None` for everything else, and
/// for what is far beyond any integer of Postgres'.
pub fn plain_integer(value: &str) -> Option<String> {
    const ZEROES_MAX: i64 = 64;
    if !value.contains(['.', 'e', 'E']) {
        return None;
    }
    let number = number(value).filter(|number| number.is_integer())?;
    (-number.fractional_digit_count() <= ZEROES_MAX).then(|| number.with_scale(0).to_plain_string())
}

/// Whether the value is a JSON number.
pub fn is_number(value: &str) -> bool {
    number(value).is_some()
}

fn add(current: &str, incoming: &str) -> Result<String, NotANumber> {
    if let (Some(a), Some(b)) = (small(current), small(incoming)) {
        return Ok((a + b).to_string());
    }
    let a = number(current).ok_or_else(|| not_a_number(current))?;
    let b = number(incoming).ok_or_else(|| not_a_number(incoming))?;
    Ok((a + b).to_plain_string())
}

fn small(value: &str) -> Option<i128> {
    value.parse::<i64>().ok().map(i128::from)
}

/// Exponents beyond what any Postgres number has are left to Postgres: expanding them would take unbounded memory.
fn number(value: &str) -> Option<BigDecimal> {
    const EXPONENT_MAX: i64 = 200_000;
    if !value.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    BigDecimal::from_str(value).ok().filter(|number| number.fractional_digit_count().abs() <= EXPONENT_MAX)
}

fn not_a_number(value: &str) -> NotANumber {
    NotANumber { rule: Rule::Add, value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(rule: Rule, current: &str, incoming: &str) -> String {
        merge(rule, Some(current), incoming).unwrap().into_owned()
    }

    #[test]
    fn each_rule_does_what_its_name_says() {
        assert_eq!(merged(Rule::Lww, "1", "\"x\""), "\"x\"");
        assert_eq!(merged(Rule::Add, "1", "41"), "42");
        assert_eq!(merged(Rule::Add, "null", "41"), "41");
        assert_eq!(merged(Rule::Max, "9", "10"), "10");
        assert_eq!(merged(Rule::Min, "9", "10"), "9");
        assert_eq!(merged(Rule::Max, "null", "-1"), "-1");
    }

    #[test]
    fn sums_are_exact_beyond_64_bits_and_in_decimals() {
        assert_eq!(merged(Rule::Add, "9223372036854775807", "1"), "9223372036854775808");
        assert_eq!(merged(Rule::Add, "0.1", "0.2"), "0.3");
        assert_eq!(merged(Rule::Add, "1e3", "0.5"), "1000.5");
        assert_eq!(difference(Some("0.1"), "0.3").unwrap(), "0.2");
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

    #[test]
    fn what_only_postgres_can_add_or_compare_waits() {
        assert!(coalesce(Rule::Add, "\"1 day\"", "\"1 day\"").is_none());
        assert!(coalesce(Rule::Max, "\"a\"", "\"b\"").is_none());
        assert!(coalesce(Rule::Add, "1e999999", "1").is_none());
        assert_eq!(coalesce(Rule::Add, "1", "2").unwrap(), "3");
    }
}
