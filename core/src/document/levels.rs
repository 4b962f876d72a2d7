//! How deep documents merge.

use crate::rule::DocumentRule;

/// So many levels merge at most: bounds the stack.
const LEVELS_MAX: u32 = 100;

/// How many levels of objects merge under the rule.
pub fn levels_of(rule: &DocumentRule) -> u32 {
    rule.depth.map_or(LEVELS_MAX, |depth| depth.min(LEVELS_MAX))
}

/// How many do one level further down.
pub(super) fn below(levels: u32) -> u32 {
    levels.saturating_sub(1)
}
