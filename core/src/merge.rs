//! What the rules do to values, which are JSON texts as they travel.

use crate::rule::Rule;
use bigdecimal::BigDecimal;
use serde_json::value::RawValue;
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
pub fn merge(rule: Rule, current: Option<&RawValue>, incoming: &RawValue) -> Result<Box<RawValue>, NotANumber> {
    let current = current.filter(|value| value.get() != "null");
    match (rule, current) {
        (Rule::Lww | Rule::Arrival, _) | (_, None) => Ok(incoming.to_owned()),
        (Rule::Add, Some(current)) => add(current, incoming),
        (Rule::Max, Some(current)) => Ok(if order(incoming, current).is_gt() { incoming } else { current }.to_owned()),
        (Rule::Min, Some(current)) => Ok(if order(incoming, current).is_lt() { incoming } else { current }.to_owned()),
    }
}

/// Two incoming values of one field as one, or `None` where only Postgres can put them together, because it alone
/// knows how the column's type adds or compares.
pub fn coalesce(rule: Rule, earlier: &RawValue, later: &RawValue) -> Option<Box<RawValue>> {
    match rule {
        Rule::Lww | Rule::Arrival => Some(later.to_owned()),
        Rule::Add => add(earlier, later).ok(),
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
pub fn difference(before: Option<&RawValue>, after: &RawValue) -> Result<Box<RawValue>, NotANumber> {
    let Some(before) = before.filter(|value| value.get() != "null") else {
        return if number(after).is_some() { Ok(after.to_owned()) } else { Err(not_a_number(after)) };
    };
    if let (Some(before), Some(after)) = (small(before), small(after)) {
        return Ok(raw((after - before).to_string()));
    }
    let before = number(before).ok_or_else(|| not_a_number(before))?;
    let after = number(after).ok_or_else(|| not_a_number(after))?;
    Ok(raw((after - before).to_plain_string()))
}

/// The order of two values as far as a client can tell: numbers exactly, everything else by its JSON text.
pub fn order(a: &RawValue, b: &RawValue) -> Ordering {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.get().cmp(b.get()),
    }
}

/// Whether the value is a JSON number.
pub fn is_number(value: &RawValue) -> bool {
    number(value).is_some()
}

fn add(current: &RawValue, incoming: &RawValue) -> Result<Box<RawValue>, NotANumber> {
    if let (Some(a), Some(b)) = (small(current), small(incoming)) {
        return Ok(raw((a + b).to_string()));
    }
    let a = number(current).ok_or_else(|| not_a_number(current))?;
    let b = number(incoming).ok_or_else(|| not_a_number(incoming))?;
    Ok(raw((a + b).to_plain_string()))
}

fn small(value: &RawValue) -> Option<i128> {
    value.get().parse::<i64>().ok().map(i128::from)
}

/// Exponents beyond what any Postgres number has are left to Postgres: expanding them would take unbounded memory.
fn number(value: &RawValue) -> Option<BigDecimal> {
    const EXPONENT_MAX: i64 = 200_000;
    let text = value.get();
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    BigDecimal::from_str(text).ok().filter(|number| number.fractional_digit_count().abs() <= EXPONENT_MAX)
}

fn not_a_number(value: &RawValue) -> NotANumber {
    NotANumber { rule: Rule::Add, value: value.get().to_owned() }
}

fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).expect("a decimal number in plain notation is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).unwrap()
    }

    fn merged(rule: Rule, current: &str, incoming: &str) -> String {
        merge(rule, Some(&json(current)), &json(incoming)).unwrap().get().to_owned()
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
        assert_eq!(difference(Some(&json("0.1")), &json("0.3")).unwrap().get(), "0.2");
    }

    #[test]
    fn what_only_postgres_can_add_or_compare_waits() {
        assert!(coalesce(Rule::Add, &json("\"1 day\""), &json("\"1 day\"")).is_none());
        assert!(coalesce(Rule::Max, &json("\"a\""), &json("\"b\"")).is_none());
        assert!(coalesce(Rule::Add, &json("1e999999"), &json("1")).is_none());
        assert_eq!(coalesce(Rule::Add, &json("1"), &json("2")).unwrap().get(), "3");
    }
}
