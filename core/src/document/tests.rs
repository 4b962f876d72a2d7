use super::*;
use crate::rule::Rule;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn rule(json: Value) -> DocumentRule {
    match serde_json::from_value(json).unwrap() {
        Rule::Json(rule) => (*rule).clone(),
        other => panic!("{other} is no rule for documents"),
    }
}

/// The document after these patches, each with its stamp, and what was written when.
fn after(rule: &DocumentRule, patches: &[(i64, Value)]) -> (Option<Value>, Paths) {
    let (mut document, mut paths) = (None, Paths::all(Stamp(0)));
    for (stamp, patch) in patches {
        let merged =
            merge(rule, document.as_deref(), &patch.to_string(), Way::Edit, Stamp(*stamp), &mut paths).unwrap();
        document = merged.text;
    }
    (document.map(|text| serde_json::from_str(&text).unwrap()), paths)
}

fn check(rule_json: Value, patches: &[(i64, Value)], expected: Value) {
    let (document, _) = after(&rule(rule_json), patches);
    assert_eq!(document.unwrap_or(Value::Null), expected);
}

#[test]
fn what_was_written_later_stays_path_by_path() {
    let both = [(5, json!({"a": {"x": 1}, "b": 1})), (4, json!({"a": {"x": 2, "y": 2}, "c": 2}))];
    check(json!("json"), &both, json!({"a": {"x": 1, "y": 2}, "b": 1, "c": 2}));
    check(json!({"rule": "json", "depth": 1}), &both, json!({"a": {"x": 1}, "b": 1, "c": 2}));
}

#[test]
fn null_removes_and_what_is_older_does_not_come_back() {
    check(json!("json"), &[(5, json!({"a": null})), (4, json!({"a": 1, "b": 1}))], json!({"b": 1}));
    check(json!("json"), &[(4, json!({"a": 1})), (5, json!(null)), (3, json!({"b": 1}))], json!(null));
}

#[test]
fn members_have_rules_of_their_own() {
    let rules = json!({"rule": "json", "members": {
        "n": "add", "log": {"rule": "append", "cap": 2}, "tags": "union", "by": "first", "top": "max", "whole": "lww"}});
    let patches = [
        (5, json!({"n": 1, "log": [1, 2], "tags": {"add": ["x"]}, "by": "b", "top": 3, "whole": {"x": 1}})),
        (
            4,
            json!({"n": 2, "log": [3], "tags": {"add": ["y"], "remove": ["x"]}, "by": "a", "top": 2, "whole": {"y": 1}}),
        ),
    ];
    let expected = json!({"n": 3, "log": [2, 3], "tags": ["y"], "by": "a", "top": 3, "whole": {"x": 1}});
    check(rules, &patches, expected);
}

fn rule_of_log() -> DocumentRule {
    rule(json!({"rule": "json", "members": {"log": {"rule": "append", "cap": 2}}}))
}

#[test]
fn a_put_leaves_counters_alone() {
    let rule = rule(json!({"rule": "json", "members": {"n": "add"}}));
    let put = |current: &str, patch: &str| {
        let mut paths = Paths::all(Stamp(0));
        merge(&rule, Some(current), patch, Way::Put, Stamp(1), &mut paths).unwrap().text.unwrap()
    };
    assert_eq!(put(r#"{"n":5,"a":1}"#, r#"{"n":0,"a":2}"#), r#"{"n": 5, "a": 2}"#);
    let capped = rule_of_log();
    assert_eq!(fresh(&capped, r#"{"log":[1,2,3],"x":null}"#).as_deref(), Some(r#"{"log": [2,3]}"#));
    assert_eq!(put(r#"{"a":1}"#, r#"{"n":0}"#), r#"{"a": 1, "n": 0}"#);
}

#[test]
fn a_member_that_cannot_be_merged_spoils_the_patch() {
    let rule = rule(json!({"rule": "json", "members": {"n": "add"}}));
    let mut paths = Paths::all(Stamp(0));
    let refused = merge(&rule, Some(r#"{"n":1}"#), r#"{"n":"x"}"#, Way::Edit, Stamp(1), &mut paths).unwrap_err();
    assert_eq!(refused.to_string(), "the rule add needs a number, not \"x\"");
}

#[test]
fn what_wins_nothing_says_so() {
    let rule = rule(json!("json"));
    let mut paths = Paths::all(Stamp(5));
    let merged = merge(&rule, Some(r#"{"a":1}"#), r#"{"a":2}"#, Way::Edit, Stamp(4), &mut paths).unwrap();
    assert_eq!((merged.is_applied, merged.is_lost), (false, true));
    let merged = merge(&rule, Some(r#"{"a":1}"#), r#"{"a":1.0}"#, Way::Edit, Stamp(4), &mut paths).unwrap();
    assert_eq!((merged.is_applied, merged.is_lost), (false, false));
    let merged = merge(&rule, Some(r#"{"a":1}"#), r#"{"a":1}"#, Way::Edit, Stamp(6), &mut paths).unwrap();
    assert_eq!((merged.is_applied, merged.is_lost), (true, false));
    assert_eq!(paths.newest(), Stamp(6));
}

#[test]
fn too_many_paths_are_taken_together_as_newer() {
    let rule = rule(json!("json"));
    let (mut document, mut paths) = (None, Paths::all(Stamp(0)));
    for number in 1..1000 {
        let patch = format!("{{\"m{number}\":{number}}}");
        let way = Way::Edit;
        document = merge(&rule, document.as_deref(), &patch, way, Stamp(number), &mut paths).unwrap().text;
    }
    assert!(paths.own.len() <= 256 && paths.base > Stamp(0));
    let late = merge(&rule, document.as_deref(), r#"{"m3":0}"#, Way::Edit, Stamp(4), &mut paths).unwrap();
    assert!(late.is_lost && !late.is_applied);
}

#[test]
fn a_long_path_counts_as_the_one_above() {
    let rule = rule(json!("json"));
    let name = "n".repeat(1000);
    let (mut document, mut paths) = (None, Paths::all(Stamp(0)));
    let patches = [(1, json!({"k": 0})), (5, json!({"a": {name.as_str(): 1}})), (4, json!({"a": {"b": 1}, "c": 1}))];
    for (stamp, patch) in patches {
        document =
            merge(&rule, document.as_deref(), &patch.to_string(), Way::Edit, Stamp(stamp), &mut paths).unwrap().text;
    }
    let document: Value = serde_json::from_str(&document.unwrap()).unwrap();
    assert_eq!(document, json!({"k": 0, "a": {name: 1}, "c": 1}));
}

#[test]
fn deep_values_do_not_overflow_the_stack() {
    // 100 bytes for each level: less than a frame takes. Some levels are compared each in its own, but a fixed number of them.
    const LEVELS: usize = 5000;
    const STACK: usize = 100 * LEVELS;
    let work = || {
        let deep = r#"{"a":"#.repeat(LEVELS) + "1" + &"}".repeat(LEVELS);
        let rule = rule(json!("json"));
        let mut paths = Paths::all(Stamp(0));
        let merged = merge(&rule, Some(&deep), &deep, Way::Edit, Stamp(1), &mut paths).unwrap();
        assert_eq!(merged.text.unwrap().replace(' ', ""), deep);
        let patch = difference(&rule, Some(&deep), &deep.replace('1', "2")).unwrap().unwrap();
        assert_eq!(patch.replace(' ', "").len(), deep.len());
    };
    std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), (0..3i64).prop_map(Value::from), Just(json!([1])), Just(json!({}))]
}

fn patch() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        proptest::collection::btree_map("[a-c]", inner, 0..3).prop_map(|map| map.into_iter().collect())
    })
}

/// A document of plain values: of these, to write a value and to change a member are the same.
fn flat() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-d]", 0..3i64, 0..4).prop_map(|map| json!(map))
}

/// RFC 7396, as it stands there.
fn merge_patch(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = match target {
        Value::Object(target) => target,
        _ => Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let current = target.remove(name).unwrap_or(Value::Null);
            target.insert(name.clone(), merge_patch(current, value));
        }
    }
    Value::Object(target)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_order_of_arrival_does_not_matter(
        patches in proptest::collection::vec((1i64..6, patch()), 1..5).prop_shuffle(),
        depth in proptest::option::of(1u32..3),
    ) {
        let rule = DocumentRule { depth, ..DocumentRule::default() };
        let mut sorted = patches.clone();
        sorted.sort_by_key(|(stamp, _)| *stamp);
        prop_assert_eq!(after(&rule, &patches).0, after(&rule, &sorted).0);
        let mut reversed = patches.clone();
        reversed.reverse();
        prop_assert_eq!(after(&rule, &patches).0, after(&rule, &reversed).0);
    }

    #[test]
    fn in_the_order_of_their_stamps_patches_do_what_the_rfc_says(patches in proptest::collection::vec(patch(), 1..5)) {
        let dated: Vec<_> = (1..).zip(patches.iter().cloned()).collect();
        let by_rfc = patches.iter().fold(Value::Null, merge_patch);
        prop_assert_eq!(after(&DocumentRule::default(), &dated).0.unwrap_or(Value::Null), by_rfc);
    }

    #[test]
    fn coalesced_patches_do_what_each_does(
        before in proptest::collection::vec((1i64..9, patch()), 0..3),
        a in patch(), b in patch(), depth in proptest::option::of(1u32..3),
    ) {
        let rule = DocumentRule { depth, ..DocumentRule::default() };
        let with = |more: &[(i64, Value)]| after(&rule, &[&before[..], more].concat()).0;
        let (rest, both) = coalesce(&rule, &a.to_string(), &b.to_string()).unwrap();
        let mut coalesced: Vec<_> = rest.into_iter().map(|rest| (4, serde_json::from_str(&rest).unwrap())).collect();
        coalesced.push((6, serde_json::from_str(&both).unwrap()));
        prop_assert_eq!(with(&[(4, a), (6, b)]), with(&coalesced));
    }

    #[test]
    fn a_difference_makes_what_it_was_made_of(before in patch(), after in patch(), depth in proptest::option::of(1u32..3)) {
        let rule = DocumentRule { depth, ..DocumentRule::default() };
        let [before, after] = [before, after].map(|value| fresh(&rule, &value.to_string()).unwrap_or("null".into()));
        let mut paths = Paths::all(Stamp(0));
        let made = match difference(&rule, Some(&before), &after).unwrap() {
            Some(patch) => merge(&rule, Some(&before), &patch, Way::Edit, Stamp(1), &mut paths).unwrap().text,
            None => Some(before),
        };
        prop_assert!(Json::new(made.as_deref().unwrap_or("null").as_bytes()).is_same(Json::new(after.as_bytes())));
    }

    #[test]
    fn somebody_elses_change_is_stamped_where_it_is(before in flat(), after in flat(), late in flat()) {
        let rule = DocumentRule::default();
        let [before, after] = [before, after].map(|value| fresh(&rule, &value.to_string()));
        let merged = |current: Option<&str>, patch: &str, stamp, paths: &mut Paths| {
            merge(&rule, current, patch, Way::Edit, Stamp(stamp), paths).unwrap().text
        };
        let (mut noted, mut patched) = (Paths::all(Stamp(1)), Paths::all(Stamp(1)));
        note_change(&rule, before.as_deref(), after.as_deref(), Stamp(9), &mut noted);
        let patch = difference(&rule, before.as_deref(), after.as_deref().unwrap_or("null")).unwrap();
        let by_patch = match patch {
            Some(patch) => merged(before.as_deref(), &patch, 9, &mut patched),
            None => before,
        };
        let late = late.to_string();
        let [noted, patched] = [
            merged(after.as_deref(), &late, 5, &mut noted),
            merged(by_patch.as_deref(), &late, 5, &mut patched),
        ].map(|text| text.map(|text| Json::new(text.as_bytes()).canonical()));
        prop_assert_eq!(noted, patched);
    }
}
