//! What the rules do to one value, which is a JSON text as it travels; documents and functions are left to others.

use crate::decimal;
use crate::iso;
use crate::json::Json;
use crate::list;
use crate::rule::Rule;
use std::borrow::Cow;
use std::cmp::Ordering;

/// A rule met a value that it cannot work on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotMerge {
    /// The rule computes.
    #[error("the rule {rule} needs a number, not {value}")]
    NotANumber {
        /// The rule.
        rule: Rule,
        /// The value, as JSON.
        value: String,
    },
    /// The rule works on lists.
    #[error("the rule {rule} needs a list, not {value}")]
    NotAList {
        /// The rule.
        rule: Rule,
        /// The value, as JSON.
        value: String,
    },
    /// A set takes changes.
    #[error("the rule union needs a change {{\"add\": [...], \"remove\": [...]}}, not {0}")]
    NotAChange(String),
    /// No patch under this rule has that effect.
    #[error("the rule {rule} cannot make {after} out of {before}")]
    NoSuchPatch {
        /// The rule.
        rule: Rule,
        /// The value before, as JSON.
        before: String,
        /// The value after, as JSON.
        after: String,
    },
    /// A function of the user's.
    #[error("only Postgres can merge with the function {0}")]
    OnlyPostgres(String),
}

/// The value of a field after an incoming value that wins its comparison of stamps.
///
/// # Errors
/// [`CannotMerge`] when the rule cannot work on one of the values.
pub(crate) fn merge<'a>(rule: &Rule, current: Option<&'a str>, incoming: &'a str) -> Result<Cow<'a, str>, CannotMerge> {
    let current = current.filter(|value| *value != "null");
    if incoming == "null" && !matches!(rule, Rule::Lww | Rule::Arrival) {
        return Ok(current.unwrap_or("null").into());
    }
    match (rule, current) {
        (Rule::Append { cap }, _) => match list::append(current, incoming, *cap) {
            Some(list) => Ok(list.into()),
            None => Err(not_a_list(rule, [current.unwrap_or("[]"), incoming])),
        },
        (Rule::Union, _) => unite(current, incoming).map(|(set, _)| set.into()),
        (Rule::Lww | Rule::Arrival, _) | (_, None) => Ok(incoming.into()),
        (Rule::First, Some(current)) => Ok(current.into()),
        (Rule::Add, Some(current)) => match decimal::sum(current, incoming) {
            Some(sum) => Ok(sum.into()),
            None => Err(not_a_number(rule, [current, incoming])),
        },
        (Rule::Max, Some(current)) => Ok(if order(incoming, current).is_gt() { incoming } else { current }.into()),
        (Rule::Min, Some(current)) => Ok(if order(incoming, current).is_lt() { incoming } else { current }.into()),
        (Rule::Function(name), _) => Err(CannotMerge::OnlyPostgres(name.to_string())),
        (Rule::Json(_), _) => unreachable!("documents are merged by their own module"),
    }
}

/// A set after a change, and whether it is another one.
///
/// # Errors
/// [`CannotMerge`] when the set is no list, or the change is none.
pub fn unite(current: Option<&str>, change: &str) -> Result<(String, bool), CannotMerge> {
    match list::unite(current, change) {
        Some(united) => Ok(united),
        None if !list::is_change(change) => Err(CannotMerge::NotAChange(change.to_owned())),
        None => Err(not_a_list(&Rule::Union, [current.unwrap_or("[]"), "[]"])),
    }
}

/// The value where there was none: a list keeps its last elements.
pub(crate) fn fresh<'a>(rule: &Rule, incoming: &'a str) -> Cow<'a, str> {
    match rule {
        Rule::Append { cap: Some(_) } => merge(rule, None, incoming).unwrap_or(incoming.into()),
        _ => incoming.into(),
    }
}

/// Two incoming values of one field as one, or `None` where only Postgres can put them together, because it alone
/// knows how the column's type adds or compares.
pub(crate) fn coalesce<'a>(rule: &Rule, earlier: &'a str, later: &'a str) -> Option<Cow<'a, str>> {
    match rule {
        Rule::Lww | Rule::Arrival => Some(later.into()),
        Rule::First => Some(if earlier == "null" { later } else { earlier }.into()),
        Rule::Add => decimal::sum(earlier, later).map(Cow::Owned),
        Rule::Max | Rule::Min => {
            let is_number = decimal::is_number(earlier) && decimal::is_number(later);
            let is_ordered = is_number || iso::are_alike(earlier, later);
            is_ordered.then(|| merge(rule, Some(earlier), later).ok()).flatten()
        }
        Rule::Append { cap } => list::append(Some(earlier), later, *cap).map(Cow::Owned),
        Rule::Union => list::both_changes(earlier, later),
        Rule::Json(_) | Rule::Function(_) => None,
    }
}

/// What makes `after` out of `before` under the rule; `None` where nothing has to change.
///
/// # Errors
/// [`CannotMerge`] when nothing does.
pub(crate) fn difference<'a>(
    rule: &Rule,
    before: Option<&str>,
    after: &'a str,
) -> Result<Option<Cow<'a, str>>, CannotMerge> {
    let current = before.filter(|value| *value != "null");
    let refused = || CannotMerge::NoSuchPatch {
        rule: rule.clone(),
        before: before.unwrap_or("nothing").to_owned(),
        after: after.to_owned(),
    };
    let is_same = current.map_or(after == "null", |current| is_same(current, after));
    let is_number = decimal::is_number(after);
    match rule {
        Rule::Lww | Rule::Arrival => Ok((before != Some(after)).then_some(after.into())),
        _ if is_same => Ok(None),
        // Null loses against everything, so a value cannot be taken back.
        _ if after == "null" => Err(refused()),
        Rule::Function(_) => Ok(Some(after.into())),
        Rule::First if current.is_some() => Err(refused()),
        Rule::First => Ok(Some(after.into())),
        Rule::Add => match current {
            None if is_number => Ok(Some(after.into())),
            None => Err(refused()),
            Some(current) => decimal::difference(current, after).map(|by| Some(by.into())).ok_or_else(refused),
        },
        Rule::Max | Rule::Min => {
            let order = current.filter(|current| is_number && decimal::is_number(current));
            let order = order.map(|current| order_of_numbers(after, current));
            // What is no number, Postgres alone can compare.
            let is_refused =
                matches!((rule, order), (Rule::Max, Some(Ordering::Less)) | (Rule::Min, Some(Ordering::Greater)));
            if is_refused { Err(refused()) } else { Ok(Some(after.into())) }
        }
        Rule::Append { cap } => match list::appended(current, after, *cap) {
            Some(change) => Ok(change.map(Cow::Owned)),
            None => Err(refused()),
        },
        Rule::Union => match list::change_of(current, after) {
            Some(change) => Ok(change.map(Cow::Owned)),
            None => Err(refused()),
        },
        Rule::Json(_) => unreachable!("documents are compared by their own module"),
    }
}

/// The order of two values as far as a client can tell: numbers exactly, everything else by its JSON text.
pub fn order(a: &str, b: &str) -> Ordering {
    if decimal::is_number(a) && decimal::is_number(b) { order_of_numbers(a, b) } else { a.cmp(b) }
}

fn order_of_numbers(a: &str, b: &str) -> Ordering {
    decimal::parse(a).cmp(&decimal::parse(b))
}

fn is_same(a: &str, b: &str) -> bool {
    Json::new(a.as_bytes()).is_same(Json::new(b.as_bytes()))
}

fn not_a_number(rule: &Rule, values: [&str; 2]) -> CannotMerge {
    let value = values.into_iter().find(|value| !decimal::is_number(value)).unwrap_or(values[1]);
    CannotMerge::NotANumber { rule: rule.clone(), value: value.to_owned() }
}

fn not_a_list(rule: &Rule, values: [&str; 2]) -> CannotMerge {
    let value = values.into_iter().find(|value| !value.starts_with('[')).unwrap_or(values[1]);
    CannotMerge::NotAList { rule: rule.clone(), value: value.to_owned() }
}
