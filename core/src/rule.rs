//! How a field merges.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How an incoming value and the row's value become one. Declared once per field, with `attach` or `set_rule`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Last write wins, by stamp; of equal stamps the larger value. The default on versioned tables.
    Lww,
    /// Whatever reaches Postgres last. The default on plain tables.
    Arrival,
    /// The incoming value is added; null counts as 0.
    Add,
    /// The larger value stays; null loses.
    Max,
    /// The smaller value stays; null loses.
    Min,
}

/// A word that names no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no rule \"{0}\"; the rules are lww, arrival, add, max and min")]
pub struct NoSuchRule(pub String);

impl Rule {
    /// Whether the field's stamp decides, so that the row needs a clock.
    pub fn is_stamped(self) -> bool {
        matches!(self, Rule::Lww)
    }

    /// Whether a put leaves the field of an existing row alone, because only changes to it can be merged.
    pub fn is_left_by_put(self) -> bool {
        matches!(self, Rule::Add)
    }

    /// The word that SQL uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::Lww => "lww",
            Rule::Arrival => "arrival",
            Rule::Add => "add",
            Rule::Max => "max",
            Rule::Min => "min",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Rule {
    type Err = NoSuchRule;

    fn from_str(word: &str) -> Result<Rule, NoSuchRule> {
        [Rule::Lww, Rule::Arrival, Rule::Add, Rule::Max, Rule::Min]
            .into_iter()
            .find(|rule| rule.as_str() == word)
            .ok_or_else(|| NoSuchRule(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_rules_match() {
        for rule in [Rule::Lww, Rule::Arrival, Rule::Add, Rule::Max, Rule::Min] {
            assert_eq!(rule.to_string().parse(), Ok(rule));
            assert_eq!(serde_json::to_string(&rule).unwrap(), format!("\"{rule}\""));
        }
        assert_eq!("LWW".parse::<Rule>(), Err(NoSuchRule("LWW".into())));
    }
}
