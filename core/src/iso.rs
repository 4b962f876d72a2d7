//! Dates and times in the one form in which the order of their texts is that of what they mean.

/// Whether both are dates or times as programs write them (ISO 8601: `2024-02-29`, `2024-02-29T12:30:00.25Z`, `12:30:00`), of the same
/// form, as exact as each other and of the same offset: whatever type has such values, and whatever collation, compares them as their
/// texts compare. Others only Postgres can compare: a date with a time but without an offset may be of a time zone whose clocks are put
/// back.
pub(crate) fn are_alike(a: &str, b: &str) -> bool {
    match (Form::of(a), Form::of(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// All of a text that does not change from one to the next.
#[derive(PartialEq, Eq)]
struct Form<'a> {
    has_date: bool,
    /// What separates the date from the time, if there are both.
    separator: Option<u8>,
    /// Digits of a second's fraction; `None` without a time.
    fraction: Option<usize>,
    offset: &'a str,
}

impl Form<'_> {
    fn of(json: &str) -> Option<Form<'_>> {
        let text = json.strip_prefix('"')?.strip_suffix('"')?;
        let date = text.get(..10).filter(|text| is_date(text.as_bytes()));
        let rest = if date.is_some() { &text[10..] } else { text };
        if date.is_some() && rest.is_empty() {
            return Some(Form { has_date: true, separator: None, fraction: None, offset: "" });
        }
        let separator = date.and_then(|_| rest.bytes().next()).filter(|separator| b"T ".contains(separator));
        if date.is_some() && separator.is_none() {
            return None;
        }
        let time = &rest[usize::from(separator.is_some())..];
        time.get(..8).filter(|time| is_time(time.as_bytes()))?;
        let rest = &time[8..];
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, offset) = match rest.strip_prefix('.') {
            Some(rest) => (digits(rest), &rest[digits(rest)..]),
            None => (0, rest),
        };
        // A time of day with an offset is compared by another rule.
        let is_placed = if date.is_some() { is_offset(offset) } else { offset.is_empty() };
        let is_whole = (fraction > 0 || !rest.starts_with('.')) && is_placed;
        is_whole.then_some(Form { has_date: date.is_some(), separator, fraction: Some(fraction), offset })
    }
}

/// The number that these two digits are.
fn two(text: &[u8]) -> Option<u8> {
    match text {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some((tens - b'0') * 10 + ones - b'0'),
        _ => None,
    }
}

/// What is no date must not win over one that is.
fn is_date(text: &[u8]) -> bool {
    let [a, b, c, d, b'-', e, f, b'-', g, h] = *text else { return false };
    let (Some(century), Some(year)) = (two(&[a, b]), two(&[c, d])) else { return false };
    let (Some(month), Some(day)) = (two(&[e, f]), two(&[g, h])) else { return false };
    let is_leap = if year == 0 { century % 4 == 0 } else { year % 4 == 0 };
    let days = match month {
        2 => 28 + u8::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (century, year) != (0, 0) && (1..=12).contains(&month) && (1..=days).contains(&day)
}

fn is_time(text: &[u8]) -> bool {
    let [a, b, b':', c, d, b':', e, f] = *text else { return false };
    let parts = (two(&[a, b]), two(&[c, d]), two(&[e, f]));
    matches!(parts, (Some(..=23), Some(..=59), Some(..=59)))
}

fn is_offset(text: &str) -> bool {
    match text.as_bytes() {
        [b'Z'] => true,
        [b'+' | b'-', hours @ ..] if hours.len() == 2 => two(hours).is_some_and(|hours| hours <= 14),
        [b'+' | b'-', a, b, b':', c, d] => {
            two(&[*a, *b]).is_some_and(|hours| hours <= 14) && two(&[*c, *d]).is_some_and(|minutes| minutes <= 59)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_of_one_form_are_alike() {
        for (a, b) in [
            ("\"2024-02-29\"", "\"1999-12-31\""),
            ("\"2024-02-29T12:30:00Z\"", "\"2024-03-01T00:00:00Z\""),
            ("\"2024-02-29T12:30:00.123456789Z\"", "\"2024-03-01T00:00:00.000000001Z\""),
            ("\"2024-02-29 12:30:00Z\"", "\"2024-03-01 00:00:00Z\""),
            ("\"2024-02-29T12:30:00.5+01:00\"", "\"2024-03-01T00:00:00.1+01:00\""),
            ("\"12:30:00\"", "\"00:00:59\""),
        ] {
            assert!(are_alike(a, b) && are_alike(b, a), "{a} {b}");
        }
    }

    #[test]
    fn what_may_be_ordered_otherwise_is_not() {
        let time = "\"2024-02-29T12:30:00Z\"";
        for other in [
            "\"2024-02-29T12:30:00.5Z\"",
            "\"2024-02-29T12:30:00+01:00\"",
            "\"2024-02-29T12:30:00\"",
            "\"2024-02-29 12:30:00Z\"",
            "\"2024-02-29\"",
            "\"+10000-01-01T00:00:00Z\"",
            "\"-0044-03-15T00:00:00Z\"",
            "\"infinity\"",
            "\"a\"",
            "\"\"",
            "null",
            "1",
        ] {
            assert!(!are_alike(time, other) && !are_alike(other, time), "{other}");
        }
        for none in [
            "\"2023-02-29\"",
            "\"1900-02-29\"",
            "\"0000-01-01\"",
            "\"2024-13-01\"",
            "\"2024-00-10\"",
            "\"2024-01-32\"",
            "\"24:00:00\"",
            "\"12:60:00\"",
            "\"12:30:00Z\"",
            "\"2024-02-29T12:30:00\"",
            "\"2024-02-29 12:30:00.5\"",
            "\"12:30:00.\"",
            "\"2024-02-29T12:30:00+15:00\"",
            "\"2024-02-29T12:30\"",
            "\"0044-03-15 BC\"",
            "\"1 day\"",
        ] {
            assert!(!are_alike(none, none), "{none}");
        }
        assert!(are_alike("\"2000-02-29\"", "\"2000-02-29\""));
    }
}
