//! Patches that were made under another rule than the field has by now.

use super::{DocumentRule, Rule};
use std::mem::discriminant;
use std::sync::Arc;

impl Rule {
    /// The rule by which a patch is merged whose writer knew the rule `written_under`, while the field's rule is `self`
    /// by now. Where both mean the same by what a patch brings, a value, the present rule decides. Where they do not, a
    /// change stays what it was made as: `+1` must not become the value 1, nor the value 5 an addition.
    pub fn read_under(&self, written_under: &Rule, brings_changes: bool) -> Rule {
        match (written_under, self) {
            (Rule::Json(written), Rule::Json(present)) => {
                Rule::Json(Arc::new(document(present, written, brings_changes)))
            }
            _ if is_same_form(written_under, self, brings_changes) => self.clone(),
            _ => written_under.clone(),
        }
    }
}

/// How deep a patch reaches is its writer's to say: below, it brings values.
fn document(present: &DocumentRule, written: &DocumentRule, brings_changes: bool) -> DocumentRule {
    let names = written.members.keys().chain(present.members.keys());
    let members = names.map(|name| {
        let rule = match (written.member(name), present.member(name)) {
            // Whoever took it for any member brought what can be compared: it is a value.
            (Rule::Json(_), rule @ (Rule::Max | Rule::Min)) => rule,
            (written, present) => present.read_under(&written, brings_changes),
        };
        (name.clone(), rule)
    });
    let is_own = |name: &String, rule: &Rule| written.members.contains_key(name) || *rule != written.member(name);
    DocumentRule { depth: written.depth, members: members.filter(|(name, rule)| is_own(name, rule)).collect() }
}

fn is_same_form(one: &Rule, other: &Rule, brings_changes: bool) -> bool {
    let is_value = |rule: &Rule| match rule {
        Rule::Add | Rule::Append { .. } | Rule::Union => !brings_changes,
        Rule::Json(_) => false,
        _ => true,
    };
    (is_value(one) && is_value(other)) || discriminant(one) == discriminant(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Rule {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_a_value_either_way_follows_the_present_rule() {
        for (written, present) in [(r#""lww""#, r#""max""#), (r#""first""#, r#""lww""#), (r#""max""#, r#""arrival""#)] {
            for brings_changes in [false, true] {
                assert_eq!(rule(present).read_under(&rule(written), brings_changes), rule(present));
            }
        }
        // A put brings values, whatever the rule.
        assert_eq!(rule(r#""add""#).read_under(&rule(r#""lww""#), false), Rule::Add);
        let capped = rule(r#"{"rule": "append", "cap": 3}"#);
        assert_eq!(capped.read_under(&rule(r#""append""#), true), capped);
    }

    #[test]
    fn what_is_no_value_stays_what_it_was_made_as() {
        for (written, present) in [
            (r#""add""#, r#""lww""#),
            (r#""lww""#, r#""add""#),
            (r#""append""#, r#""union""#),
            (r#""json""#, r#""lww""#),
            (r#""lww""#, r#""json""#),
        ] {
            assert_eq!(rule(present).read_under(&rule(written), true), rule(written));
        }
    }

    #[test]
    fn each_member_of_a_document_is_asked_by_itself() {
        let written = rule(r#"{"rule": "json", "depth": 1, "members": {"n": "add", "top": "lww", "by": "lww"}}"#);
        let present = rule(r#"{"rule": "json", "members": {"n": "lww", "top": "max", "log": "append", "x": "first"}}"#);
        let read = r#"{"rule": "json", "depth": 1,
            "members": {"n": "add", "top": "max", "by": "lww", "x": "first"}}"#;
        assert_eq!(present.read_under(&written, true), rule(read));
        assert_eq!(written.read_under(&written, true), written);
        assert_eq!(present.read_under(&present, true), present);
        // Most members are not declared.
        let plain = rule(r#""json""#);
        let top = rule(r#"{"rule": "json", "members": {"top": "max"}}"#);
        assert_eq!(top.read_under(&plain, true), top);
        assert_eq!(present.read_under(&plain, true), top);
        // A put brings values, also of members that count.
        let counts = rule(r#"{"rule": "json", "depth": 1, "members": {"n": "add"}}"#);
        let flat = rule(r#"{"rule": "json", "depth": 1}"#);
        assert_eq!(counts.read_under(&flat, false), counts);
        assert_eq!(counts.read_under(&flat, true), flat);
    }
}
