//! Lists and sets of JSON values: what `append` and `union` do.

use crate::json::Json;
use std::borrow::Cow;
use std::collections::HashSet;

/// The elements, if the value is a list.
fn elements(list: &str) -> Option<Vec<&str>> {
    let list = Json::new(list.as_bytes());
    list.is_array().then(|| list.elements().filter_map(Json::as_str).collect())
}

fn write<'a>(elements: impl Iterator<Item = &'a str>) -> String {
    let mut out = "[".to_owned();
    for element in elements {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(element);
    }
    out.push(']');
    out
}

/// One text for all ways to write an element; mostly it is that already.
fn canonical<'a>(element: &&'a str) -> Cow<'a, str> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = match element.as_bytes() {
        [b'"', ..] => !element.contains('\\'),
        [b'0'..=b'9', ..] => element.len() <= 18 && is_digits(element),
        _ => false,
    };
    if is_plain { (*element).into() } else { Json::new(element.as_bytes()).canonical().into() }
}

/// Both lists as one, of which the last `cap` elements stay; `None` when one of them is no list.
pub(crate) fn append(current: Option<&str>, incoming: &str, cap: Option<u32>) -> Option<String> {
    let mut all = current.map_or(Some(Vec::new()), elements)?;
    all.extend(elements(incoming)?);
    let dropped = cap.map_or(0, |cap| all.len().saturating_sub(cap as usize));
    Some(write(all.into_iter().skip(dropped)))
}

/// What has to be appended to make `after` out of `before`; nothing when they are the same, `None` when no appending does
/// it, or one of them is no list.
pub(crate) fn appended(before: Option<&str>, after: &str, cap: Option<u32>) -> Option<Option<String>> {
    let (before, after) = (before.map_or(Some(Vec::new()), elements)?, elements(after)?);
    let (old, new): (Vec<_>, Vec<_>) = (before.iter().map(canonical).collect(), after.iter().map(canonical).collect());
    let kept = (0..=old.len().min(new.len())).rev().find(|kept| {
        let is_whole = *kept == old.len() || cap.is_some_and(|cap| new.len() >= cap as usize);
        is_whole && old[old.len() - kept..] == new[..*kept]
    })?;
    Some((kept < after.len()).then(|| write(after[kept..].iter().copied())))
}

/// A change of a set: what is removed, and then what is added.
struct Change<'a> {
    added: Vec<&'a str>,
    removed: Vec<&'a str>,
}

impl<'a> Change<'a> {
    fn of(change: &'a str) -> Option<Change<'a>> {
        let change = Json::new(change.as_bytes());
        if !change.is_object() {
            return None;
        }
        let mut both = Change { added: Vec::new(), removed: Vec::new() };
        for (key, value) in change.members() {
            let list = value.is_array().then(|| value.elements().filter_map(Json::as_str).collect())?;
            match key {
                b"add" => both.added = list,
                b"remove" => both.removed = list,
                _ => return None,
            }
        }
        Some(both)
    }

    fn write(&self) -> String {
        let lists = [("add", &self.added), ("remove", &self.removed)];
        let said = lists.iter().filter(|(_, list)| !list.is_empty());
        let said: Vec<_> = said.map(|(name, list)| format!("\"{name}\":{}", write(list.iter().copied()))).collect();
        format!("{{{}}}", said.join(","))
    }
}

/// Whether the value is a change of a set: `{"add": [...], "remove": [...]}`.
pub(crate) fn is_change(value: &str) -> bool {
    Change::of(value).is_some()
}

/// The set after a change, and whether it is another one; `None` when the set is no list, or the change is none. Elements
/// keep their places, new ones come last.
pub(crate) fn unite(current: Option<&str>, change: &str) -> Option<(String, bool)> {
    let is_new = current.is_none();
    let (current, change) = (current.map_or(Some(Vec::new()), elements)?, Change::of(change)?);
    let removed: HashSet<_> = change.removed.iter().map(canonical).collect();
    let mut all: Vec<_> = current.iter().copied().filter(|element| !removed.contains(&canonical(element))).collect();
    let mut known: HashSet<_> = all.iter().map(canonical).collect();
    all.extend(change.added.into_iter().filter(|element| known.insert(canonical(element))));
    let differ = |(a, b): (&&str, &&str)| a != b && canonical(a) != canonical(b);
    let is_changed = is_new || all.len() != current.len() || all.iter().zip(&current).any(differ);
    Some((write(all.into_iter()), is_changed))
}

/// The change that makes the set `after` out of `before`; nothing when they have the same elements, `None` when one of
/// them is no list.
pub(crate) fn change_of(before: Option<&str>, after: &str) -> Option<Option<String>> {
    let (before, after) = (before.map_or(Some(Vec::new()), elements)?, elements(after)?);
    let without = |list: &[&'_ str], others: &[&'_ str]| -> Vec<String> {
        let others: HashSet<_> = others.iter().map(canonical).collect();
        list.iter()
            .filter(|element| !others.contains(&canonical(element)))
            .map(|element| (*element).to_owned())
            .collect()
    };
    let (added, removed) = (without(&after, &before), without(&before, &after));
    let change = Change {
        added: added.iter().map(String::as_str).collect(),
        removed: removed.iter().map(String::as_str).collect(),
    };
    Some((!added.is_empty() || !removed.is_empty()).then(|| change.write()))
}

/// Two changes of a set as one; `None` when one of them is none.
pub(crate) fn both_changes<'a>(earlier: &'a str, later: &'a str) -> Option<Cow<'a, str>> {
    let (earlier, later) = (Change::of(earlier)?, Change::of(later)?);
    let removed: HashSet<_> = later.removed.iter().map(canonical).collect();
    let mut added: Vec<_> =
        earlier.added.into_iter().filter(|element| !removed.contains(&canonical(element))).collect();
    let mut known: HashSet<_> = added.iter().map(canonical).collect();
    added.extend(later.added.into_iter().filter(|element| known.insert(canonical(element))));
    let mut removed = earlier.removed;
    let mut known: HashSet<_> = removed.iter().map(canonical).collect();
    removed.extend(later.removed.into_iter().filter(|element| known.insert(canonical(element))));
    Some(Change { added, removed }.write().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_keeps_its_last_elements() {
        assert_eq!(append(Some("[1, 2]"), "[3]", None).as_deref(), Some("[1,2,3]"));
        assert_eq!(append(Some("[1,2]"), "[3]", Some(2)).as_deref(), Some("[2,3]"));
        assert_eq!(append(None, "[1,2,3]", Some(2)).as_deref(), Some("[2,3]"));
        assert_eq!(append(Some("{}"), "[3]", None), None);
        assert_eq!(append(Some("[]"), "3", None), None);
    }

    #[test]
    fn what_was_appended_is_found() {
        let found = |before, after, cap| appended(Some(before), after, cap);
        assert_eq!(found("[1,2]", "[1,2,3]", None), Some(Some("[3]".into())));
        assert_eq!(found("[1,2]", "[1, 2.0]", None), Some(None));
        assert_eq!(found("[1,2]", "[2,3]", Some(2)), Some(Some("[3]".into())));
        assert_eq!(found("[1,2]", "[2,3]", None), None);
        assert_eq!(found("[1,2]", "[2,1]", None), None);
        assert_eq!(found("[1,1]", "[1,1,1]", Some(9)), Some(Some("[1]".into())));
        assert_eq!(appended(None, "[]", None), Some(None));
    }

    #[test]
    fn a_set_knows_equal_elements_however_they_are_written() {
        let set = r#"[1,"a",{"x":1,"y":2}]"#;
        let change = r#"{"add":[1.0,"\u0061",2],"remove":[{"y":2.0,"x":1}]}"#;
        assert_eq!(unite(Some(set), change), Some((r#"[1,"a",2]"#.into(), true)));
        assert_eq!(unite(Some("[1]"), r#"{"add":[1],"remove":[2]}"#), Some(("[1]".into(), false)));
        assert_eq!(unite(Some("[1]"), r#"{"add":[1],"remove":[1]}"#), Some(("[1]".into(), false)));
        assert_eq!(unite(Some("[1]"), "[2]"), None);
        assert_eq!(unite(Some("[1]"), r#"{"adds":[2]}"#), None);
    }

    fn set() -> impl Strategy<Value = String> {
        proptest::collection::btree_set(0..6, 0..5).prop_map(|set| serde_json::to_string(&set).unwrap())
    }

    fn change() -> impl Strategy<Value = String> {
        (set(), set()).prop_map(|(add, remove)| format!("{{\"add\":{add},\"remove\":{remove}}}"))
    }

    proptest! {
        #[test]
        fn two_changes_do_what_each_does(current in set(), a in change(), b in change()) {
            let one_by_one = unite(Some(&unite(Some(&current), &a).unwrap().0), &b).unwrap().0;
            let both = both_changes(&a, &b).unwrap();
            let at_once = unite(Some(&current), &both).unwrap().0;
            prop_assert_eq!(change_of(Some(&one_by_one), &at_once), Some(None));
        }

        #[test]
        fn a_change_makes_what_it_was_made_of(before in set(), after in set()) {
            let made = match change_of(Some(&before), &after).unwrap() {
                Some(change) => unite(Some(&before), &change).unwrap().0,
                None => before,
            };
            prop_assert_eq!(change_of(Some(&made), &after), Some(None));
        }

        #[test]
        fn appending_makes_what_it_was_made_of(before in set(), more in set(), cap in proptest::option::of(1u32..6)) {
            let before = append(None, &before, cap).unwrap();
            let after = append(Some(&before), &more, cap).unwrap();
            let made = match appended(Some(&before), &after, cap).unwrap() {
                Some(more) => append(Some(&before), &more, cap).unwrap(),
                None => before,
            };
            prop_assert_eq!(made, after);
        }
    }
}
