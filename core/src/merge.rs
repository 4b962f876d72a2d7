//! What the rules do to values, which are JSON texts as they travel.

use crate::document::{self, Way};
use crate::json::Json;
use crate::number::Stamp;
use crate::paths::Paths;
use crate::rule::{DocumentRule, Rule};
use crate::value;
use std::borrow::Cow;

pub use crate::value::{CannotMerge, order, unite};

/// The value of a field after an incoming value that wins its comparison of stamps.
///
/// # Errors
/// [`CannotMerge`] when the rule cannot work on one of the values.
pub fn merge<'a>(rule: &Rule, current: Option<&'a str>, incoming: &'a str) -> Result<Cow<'a, str>, CannotMerge> {
    match rule {
        Rule::Json(document) => merge_document(document, current, incoming, Way::Edit),
        _ => value::merge(rule, current, incoming),
    }
}

/// The same for a put, whose value is not a change but the value to be.
///
/// # Errors
/// As [`merge`].
pub fn put<'a>(rule: &Rule, current: Option<&'a str>, incoming: &'a str) -> Result<Cow<'a, str>, CannotMerge> {
    match rule {
        Rule::Json(document) => merge_document(document, current, incoming, Way::Put),
        _ => value::merge(rule, current, incoming),
    }
}

/// The value of a field in a row that a patch creates, or replaces.
pub fn fresh<'a>(rule: &Rule, incoming: &'a str) -> Cow<'a, str> {
    match rule {
        Rule::Json(_) if is_dated(incoming) => merge(rule, None, incoming).unwrap_or("null".into()),
        Rule::Json(document) => document::fresh(document, incoming).map_or("null".into(), Cow::Owned),
        _ => value::fresh(rule, incoming),
    }
}

/// Two incoming changes of one field, each with its stamp, as one; `None` where only Postgres can put them together,
/// because it alone knows how the column's type adds or compares.
pub fn coalesce<'a>(rule: &Rule, earlier: (&'a str, Stamp), later: (&'a str, Stamp)) -> Option<Cow<'a, str>> {
    match rule {
        Rule::Json(document) => coalesce_documents(document, earlier, later).map(Cow::Owned),
        _ => value::coalesce(rule, earlier.0, later.0),
    }
}

/// What makes `after` out of `before` under the rule; `None` where nothing has to change.
///
/// # Errors
/// [`CannotMerge`] when nothing does.
pub fn difference<'a>(rule: &Rule, before: Option<&str>, after: &'a str) -> Result<Option<Cow<'a, str>>, CannotMerge> {
    match rule {
        Rule::Json(document) => Ok(document::difference(document, before, after)?.map(Cow::Owned)),
        _ => value::difference(rule, before, after),
    }
}

fn merge_document<'a>(
    rule: &DocumentRule,
    current: Option<&'a str>,
    incoming: &'a str,
    way: Way,
) -> Result<Cow<'a, str>, CannotMerge> {
    let mut document = current.map(Cow::Borrowed);
    // In their order, each newer than all before.
    for (place, (_, patch)) in (1..).zip(dated(incoming, Stamp(0))) {
        let mut paths = Paths::all(Stamp(0));
        document =
            document::merge(rule, document.as_deref(), patch, way, Stamp(place), &mut paths)?.text.map(Cow::Owned);
    }
    Ok(document.unwrap_or("null".into()))
}

/// A document patch is put together of no more; the next write waits for the next batch.
const PARTS_MAX: usize = 64;

/// What marks a document patch that was put together of several, written at different times: a list of pairs of stamp
/// and patch follows. No JSON begins so.
const DATED: char = '@';

/// Whether a document patch was put together of several, written at different times.
pub fn is_dated(patch: &str) -> bool {
    patch.starts_with(DATED)
}

/// The parts of a document patch, the earliest first; one that has no stamps of its own was written at `stamp`.
pub fn dated(patch: &str, stamp: Stamp) -> Vec<(Stamp, &str)> {
    match patch.strip_prefix(DATED) {
        None => vec![(stamp, patch)],
        Some(list) => dated_list(list).unwrap_or_default(),
    }
}

/// The parts of a document patch as they travel, a list of pairs; `None` when it is none.
pub fn dated_list(list: &str) -> Option<Vec<(Stamp, &str)>> {
    let list = Json::new(list.as_bytes());
    if !list.is_array() {
        return None;
    }
    list.elements().map(stamp_and_patch).collect()
}

fn stamp_and_patch(pair: Json<'_>) -> Option<(Stamp, &str)> {
    let mut both = pair.elements().take_while(|_| pair.is_array());
    let (stamp, patch) = (both.next()?.int8()?, both.next()?.as_str()?);
    both.next().is_none().then_some((Stamp(stamp), patch))
}

/// The parts of a document patch as they travel.
pub fn dated_as_list(patch: &str, stamp: Stamp) -> String {
    write_dated(&dated(patch, stamp))
}

fn write_dated<T: AsRef<str>>(parts: &[(Stamp, T)]) -> String {
    let parts: Vec<_> = parts.iter().map(|(stamp, patch)| format!("[{stamp},{}]", patch.as_ref())).collect();
    format!("[{}]", parts.join(","))
}

fn coalesce_documents(rule: &DocumentRule, earlier: (&str, Stamp), later: (&str, Stamp)) -> Option<String> {
    let mut parts: Vec<(Stamp, String)> = Vec::new();
    for (stamp, patch) in dated(earlier.0, earlier.1) {
        parts.push((stamp, patch.to_owned()));
    }
    for (stamp, patch) in dated(later.0, later.1) {
        let mut patch = patch.to_owned();
        let mut before = Vec::with_capacity(parts.len() + 1);
        for (of, part) in parts {
            let (rest, both) = document::coalesce(rule, &part, &patch)?;
            patch = both;
            before.extend(rest.map(|rest| (of, rest)));
        }
        before.push((stamp, patch));
        parts = before;
    }
    if parts.len() > PARTS_MAX {
        return None;
    }
    match &mut parts[..] {
        [(stamp, only)] if *stamp == later.1 => Some(std::mem::take(only)),
        _ => Some(format!("{DATED}{}", write_dated(&parts))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Rule {
        serde_json::from_str(json).unwrap()
    }

    fn merged(rule: &Rule, current: &str, incoming: &str) -> String {
        merge(rule, Some(current), incoming).unwrap().into_owned()
    }

    #[test]
    fn each_rule_does_what_its_name_says() {
        assert_eq!(merged(&Rule::Lww, "1", "\"x\""), "\"x\"");
        assert_eq!(merged(&Rule::First, "1", "2"), "1");
        assert_eq!(merged(&Rule::First, "null", "2"), "2");
        assert_eq!(merged(&Rule::Add, "1", "41"), "42");
        assert_eq!(merged(&Rule::Add, "null", "41"), "41");
        assert_eq!(merged(&Rule::Max, "9", "10"), "10");
        assert_eq!(merged(&Rule::Min, "9", "10"), "9");
        assert_eq!(merged(&Rule::Max, "null", "-1"), "-1");
        assert_eq!(merged(&Rule::Max, "1", "null"), "1");
        assert_eq!(merged(&rule(r#"{"rule":"append","cap":2}"#), "[1,2]", "[3]"), "[2,3]");
        assert_eq!(merged(&Rule::Union, "[1,2]", r#"{"add":[3],"remove":[1]}"#), "[2,3]");
        assert_eq!(merged(&rule("\"json\""), r#"{"a":{"b":1}}"#, r#"{"a":{"c":2}}"#), r#"{"a": {"b": 1, "c": 2}}"#);
    }

    #[test]
    fn what_cannot_be_merged_says_why() {
        let why =
            |rule: &Rule, current: &str, incoming: &str| merge(rule, Some(current), incoming).unwrap_err().to_string();
        assert_eq!(why(&Rule::Add, "1", "\"x\""), "the rule add needs a number, not \"x\"");
        assert_eq!(why(&Rule::Append { cap: None }, "[]", "1"), "the rule append needs a list, not 1");
        assert!(why(&Rule::Union, "[]", "[1]").ends_with("not [1]"));
        assert_eq!(why(&Rule::Union, "1", "{}"), "the rule union needs a list, not 1");
        assert_eq!(
            why(&Rule::Function("f(int,int)".into()), "1", "2"),
            "only Postgres can merge with the function f(int,int)"
        );
    }

    #[test]
    fn what_only_postgres_can_add_or_compare_waits() {
        let waits = |rule: &Rule, a: &str, b: &str| coalesce(rule, (a, Stamp(1)), (b, Stamp(2))).is_none();
        assert!(waits(&Rule::Add, "\"1 day\"", "\"1 day\""));
        assert!(waits(&Rule::Max, "\"a\"", "\"b\""));
        assert!(waits(&Rule::Add, "1e999999", "1"));
        assert!(waits(&Rule::Function("f".into()), "1", "2"));
        assert!(!waits(&Rule::Add, "1", "2"));
    }

    #[test]
    fn document_patches_of_different_times_keep_their_stamps() {
        let json = rule(r#"{"rule":"json","members":{"n":"add"}}"#);
        let both = coalesce(&json, (r#"{"a":1,"b":1,"n":1}"#, Stamp(5)), (r#"{"a":2,"n":2}"#, Stamp(7))).unwrap();
        assert_eq!(both, r#"@[[5,{"b": 1}],[7,{"n": 3, "a": 2}]]"#);
        let three = coalesce(&json, (&both, Stamp(7)), (r#"{"b":3}"#, Stamp(9))).unwrap();
        assert_eq!(three, r#"@[[7,{"n": 3, "a": 2}],[9,{"b": 3}]]"#);
        let one = coalesce(&json, (&three, Stamp(9)), ("5", Stamp(10))).unwrap();
        assert_eq!(one, "5");
        assert_eq!(dated_as_list(&three, Stamp(0)), three[1..]);
        assert_eq!(dated_as_list("{}", Stamp(3)), "[[3,{}]]");
        assert_eq!(merged(&json, r#"{"n":1}"#, &three), r#"{"n": 4, "a": 2, "b": 3}"#);
        assert_eq!(dated_list("[[1,2,3]]"), None);
        assert_eq!(dated_list("[[\"x\",2]]"), None);
    }
}
