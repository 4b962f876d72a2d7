//! What must be so of rows that matter to a result.

use super::answer::Value;
use super::scope::Column;

/// Something that is so of every combination of rows that may matter.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    /// Both columns are equal, and neither is null.
    Equal(Column, Column),
    /// The column has one of these values.
    In {
        column: Column,
        values: Vec<Value>,
        /// Whether it is not so of a null.
        strict: bool,
    },
}

/// The facts that are also so where an outer join may have put nulls in the place of columns: a combination in which they are not
/// so is thrown away whether it is the row itself or the nulls that stand for no row.
pub(super) fn strict(facts: &[Fact]) -> Vec<Fact> {
    facts.iter().filter(|fact| !matches!(fact, Fact::In { strict: false, .. })).cloned().collect()
}

/// The fewest values that a column can have, if anything is known of it or of one that it equals.
pub(super) fn values(facts: &[Fact], column: Column) -> Option<Vec<Value>> {
    let mut equal = vec![column];
    let mut next = 0;
    while let Some(one) = equal.get(next).copied() {
        next += 1;
        for fact in facts {
            let other = match fact {
                Fact::Equal(a, b) if *a == one => *b,
                Fact::Equal(a, b) if *b == one => *a,
                _ => continue,
            };
            if !equal.contains(&other) {
                equal.push(other);
            }
        }
    }
    let known = facts.iter().filter_map(|fact| match fact {
        Fact::In { column: of, values, strict } if *of == column || (*strict && equal.contains(of)) => Some(values),
        _ => None,
    });
    known.min_by_key(|values| weight(values)).cloned()
}

/// How much there is to look after. An array has some elements.
pub(super) fn weight(values: &[Value]) -> usize {
    /// As good a guess as any.
    const ELEMENTS: usize = 8;
    values.iter().map(|value| if matches!(value, Value::EachOf(_)) { ELEMENTS } else { 1 }).sum()
}

/// What is so if one of several lists of facts is: a column that has known values in each of them has one of all these.
pub(super) fn either(arms: &[Vec<Fact>]) -> Vec<Fact> {
    let Some((first, others)) = arms.split_first() else { return Vec::new() };
    let of = |arm: &[Fact], wanted: Column| {
        arm.iter().find_map(|fact| match fact {
            Fact::In { column, values, strict } if *column == wanted => Some((values.clone(), *strict)),
            _ => None,
        })
    };
    let united = |fact: &Fact| {
        let Fact::In { column, values, strict } = fact else { return None };
        let (mut all, mut all_strict) = (values.clone(), *strict);
        for arm in others {
            let (values, strict) = of(arm, *column)?;
            all.extend(values);
            all_strict &= strict;
        }
        Some(Fact::In { column: *column, values: all, strict: all_strict })
    };
    first.iter().filter_map(united).collect()
}
