//! What changed between two values.

use super::RuleViolation;
use crate::codec::layout::{Column, Layout, Role, TypeKind};
use cache_sync_core::fields::Fields;
use cache_sync_core::merge;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The patch that makes `after` out of `before`: the changed fields only, each as its rule takes it. A member that is
/// absent after, because its type skips it when empty, becomes null.
///
/// # Errors
/// [`RuleViolation`] when a member changed that cannot be written, or in a way that its rule cannot express.
pub(crate) fn diff(layout: &Layout, before: &Fields, after: &Fields) -> Result<Fields, RuleViolation> {
    let mut changed = Fields::new();
    for (index, column) in (0..).zip(&layout.columns) {
        let from = before.get(index);
        let to = match after.get(index) {
            Some(to) => to,
            None if from.is_some() => "null",
            None => continue,
        };
        if from.is_some_and(|from| is_same(column, from, to)) {
            continue;
        }
        if let Some(incoming) = incoming(column, from, to)? {
            changed.insert(index, &incoming);
        }
    }
    Ok(changed)
}

/// Whether two texts of a column are one value: in a jsonb the order of keys says nothing, and that of a `HashMap` changes.
fn is_same(column: &Column, from: &str, to: &str) -> bool {
    from == to || (matches!(TypeKind::of(&column.ty), TypeKind::Jsonb) && is_same_document(from, to))
}

fn is_same_document(one: &str, other: &str) -> bool {
    match (one.as_bytes().first(), other.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => {
            let members = |text| serde_json::from_str::<BTreeMap<String, &RawValue>>(text).ok();
            let (Some(one), Some(other)) = (members(one), members(other)) else { return false };
            one.len() == other.len()
                && one
                    .iter()
                    .zip(&other)
                    .all(|((a, one), (b, other))| a == b && is_same_document(one.get(), other.get()))
        }
        (Some(b'['), Some(b'[')) => {
            let elements = |text| serde_json::from_str::<Vec<&RawValue>>(text).ok();
            let (Some(one), Some(other)) = (elements(one), elements(other)) else { return false };
            one.len() == other.len()
                && one.iter().zip(&other).all(|(one, other)| is_same_document(one.get(), other.get()))
        }
        _ => one == other,
    }
}

/// What the rule takes for the change; none where two texts are one value to it.
fn incoming<'a>(column: &Column, from: Option<&str>, to: &'a str) -> Result<Option<Cow<'a, str>>, RuleViolation> {
    let violation = |rule| RuleViolation::new(&column.name, rule, from, to);
    let Role::Field { rule, .. } = &column.role else { return Err(violation(None)) };
    merge::difference(rule, from, to).map_err(|_| violation(Some(rule.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::layout::tests::layout;
    use cache_sync_core::rule::Rule;
    use postgres_types::Type;

    fn fields(values: &[&str]) -> Fields {
        let values = values.iter().enumerate().filter(|(_, text)| !text.is_empty());
        values.map(|(index, text)| (index as u16, *text)).collect()
    }

    /// The member `x` under a rule, from one value to another.
    fn change(rule: Rule, from: &str, to: &str) -> Result<String, RuleViolation> {
        let layout = layout(&[("id", Type::INT8, Rule::Lww), ("x", Type::NUMERIC, rule)]);
        let changed = diff(&layout, &fields(&["1", from]), &fields(&["1", to]))?;
        Ok(changed.get(1).unwrap_or_default().to_owned())
    }

    #[test]
    fn the_order_of_keys_in_a_jsonb_is_no_change() {
        let layout = layout(&[("id", Type::INT8, Rule::Lww), ("x", Type::JSONB, Rule::Lww)]);
        let changes = |from, to| !diff(&layout, &fields(&["1", from]), &fields(&["1", to])).unwrap().is_empty();
        let from = r#"{"a":1,"b":[{"c":2,"d":"3"}]}"#;
        assert!(!changes(from, r#"{"b":[{"d":"3","c":2}],"a":1}"#));
        for to in [
            r#"{"b":[{"d":"3","c":4}],"a":1}"#,
            r#"{"a":1,"b":[{"c":2}]}"#,
            r#"{"a":1,"b":[{"c":2,"d":"3"},0]}"#,
            r#"{"a":1.0,"b":[{"c":2,"d":"3"}]}"#,
            "[]",
        ] {
            assert!(changes(from, to), "{to}");
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        assert_eq!(change(Rule::Lww, "1", "1").unwrap(), "");
        assert_eq!(change(Rule::Lww, "1", "2").unwrap(), "2");
        assert_eq!(change(Rule::Arrival, "\"a\"", "\"b\"").unwrap(), "\"b\"");
        assert_eq!(change(Rule::Lww, "1", "1.0").unwrap(), "1.0");
    }

    #[test]
    fn a_member_left_out_becomes_null() {
        assert_eq!(change(Rule::Lww, "1", "").unwrap(), "null");
        assert_eq!(change(Rule::Lww, "", "").unwrap(), "");
        assert_eq!(change(Rule::Lww, "", "1").unwrap(), "1");
    }

    #[test]
    fn counters_send_their_difference() {
        assert_eq!(change(Rule::Add, "10", "7").unwrap(), "-3");
        assert_eq!(change(Rule::Add, "0.1", "0.30").unwrap(), "0.20");
        assert_eq!(change(Rule::Add, "null", "7").unwrap(), "7");
        assert_eq!(change(Rule::Add, "1.0", "1.00").unwrap(), "");
        assert_eq!(change(Rule::Add, "-9223372036854775808", "9223372036854775807").unwrap(), "18446744073709551615");
        assert!(change(Rule::Add, "1", "null").is_err());
        assert!(change(Rule::Add, "1", "\"NaN\"").is_err());
    }

    #[test]
    fn extremes_move_one_way() {
        assert_eq!(change(Rule::Max, "9", "10").unwrap(), "10");
        assert_eq!(change(Rule::Max, "1.0", "1").unwrap(), "");
        assert_eq!(change(Rule::Max, "null", "-1").unwrap(), "-1");
        assert_eq!(change(Rule::Max, "\"b\"", "\"a\"").unwrap(), "\"a\"");
        assert_eq!(change(Rule::Min, "10", "9").unwrap(), "9");
        let lowered = change(Rule::Max, "10", "9").unwrap_err();
        assert_eq!(lowered.to_string(), "the rule max of \"x\" cannot make 9 out of 10");
        assert!(change(Rule::Min, "9", "10").is_err());
        assert!(change(Rule::Max, "9", "null").is_err());
    }

    #[test]
    fn lists_sets_and_documents_send_what_was_done_to_them() {
        let rule = |json: &str| serde_json::from_str::<Rule>(json).unwrap();
        assert_eq!(change(rule("\"append\""), "[1]", "[1,2]").unwrap(), "[2]");
        assert!(change(rule("\"append\""), "[1]", "[2]").is_err());
        assert_eq!(change(Rule::Union, "[1,2]", "[2,3]").unwrap(), r#"{"add":[3],"remove":[1]}"#);
        assert_eq!(change(Rule::Union, "[1,2]", "[2,1]").unwrap(), "");
        assert_eq!(
            change(rule("\"json\""), r#"{"a":1,"b":{"c":1,"d":1}}"#, r#"{"b":{"c":2,"d":1}}"#).unwrap(),
            r#"{"b": {"c": 2}, "a": null}"#
        );
        assert_eq!(change(Rule::First, "null", "2").unwrap(), "2");
        assert!(change(Rule::First, "1", "2").is_err());
    }

    #[test]
    fn a_key_does_not_change() {
        let layout = layout(&[("id", Type::INT8, Rule::Lww)]);
        let error = diff(&layout, &fields(&["1"]), &fields(&["2"])).unwrap_err();
        assert_eq!(error.to_string(), "\"id\" cannot be written, but changed from 1 to 2");
        assert_eq!(diff(&layout, &fields(&["1"]), &fields(&["1"])).unwrap().len(), 0);
    }
}
