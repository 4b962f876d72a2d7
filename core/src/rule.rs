//! How a field merges.

mod read_under;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How an incoming value and the row's value become one. Declared once per field, with `attach` or `set_rule`, as a word
/// or, where there is more to say, as an object: `"add"`, `{"rule": "append", "cap": 100}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Spelling", into = "Spelling")]
pub enum Rule {
    /// Last write wins, by stamp; of equal stamps the larger value. The default on versioned tables.
    Lww,
    /// Whatever reaches Postgres last. The default on plain tables.
    Arrival,
    /// The first write wins, by stamp; null is no write.
    First,
    /// The incoming value is added; null counts as 0.
    Add,
    /// The larger value stays; null loses.
    Max,
    /// The smaller value stays; null loses.
    Min,
    /// The incoming elements are put at the end of a list, of which the last `cap` stay.
    Append {
        /// How many elements stay; `None` for all.
        cap: Option<u32>,
    },
    /// A set: elements are added and removed, in the order of their arrival.
    Union,
    /// A JSON document whose members merge by themselves.
    Json(Arc<DocumentRule>),
    /// A function of the user's, `(current, incoming) -> merged`, by its signature. Only Postgres can run it.
    Function(Arc<str>),
}

/// How the members of a document merge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DocumentRule {
    /// How many levels of objects merge, counted from the document; what lies deeper is one value. `None`: all of them.
    pub depth: Option<u32>,
    /// The rules of the document's own members; the others are `lww`, level by level.
    pub members: BTreeMap<String, Rule>,
}

impl DocumentRule {
    /// The rule of one of its own members: what lies deeper than the document merges is one value.
    pub fn member(&self, name: &str) -> Rule {
        match (self.members.get(name), self.depth) {
            (Some(rule), _) => rule.clone(),
            (None, Some(1)) => Rule::Lww,
            (None, depth) => {
                let depth = depth.map(|depth| depth - 1);
                Rule::Json(Arc::new(DocumentRule { depth, ..DocumentRule::default() }))
            }
        }
    }

    /// Whether a put leaves some member of an existing document alone.
    pub fn is_left_by_put(&self) -> bool {
        self.members.values().any(Rule::is_left_by_put)
    }
}

/// A rule that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARule {
    /// The word is unknown.
    #[error(
        "there is no rule \"{0}\"; the rules are lww, arrival, first, add, max, min, append, union, json and function"
    )]
    NoSuchWord(String),
    /// Something was said that the rule has no use for.
    #[error("the rule {0} takes no {1}")]
    NoSuchOption(String, &'static str),
    /// A function must be named.
    #[error("the rule function needs the name of a function with its types, such as \"merged(integer,integer)\"")]
    NoName,
    /// A number that is none.
    #[error("the {0} of the rule {1} must be a whole number from 1 to 1000000")]
    NotInBounds(&'static str, &'static str),
    /// A member's rule that only columns can have.
    #[error("a member of a document cannot have the rule {0}")]
    NotForMembers(String),
}

/// The largest `cap` and `depth`.
const LIMIT_MAX: u32 = 1_000_000;

/// A rule as JSON spells it.
#[derive(Clone, Serialize)]
#[serde(untagged)]
enum Spelling {
    Word(String),
    Object(Box<Spelled>),
}

impl<'de> Deserialize<'de> for Spelling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Spelling, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Spelling;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rule's word, or an object with it")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Spelling, E> {
                Ok(Spelling::Word(word.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Spelling, A::Error> {
                Spelled::deserialize(MapAccessDeserializer::new(map)).map(|spelled| Spelling::Object(Box::new(spelled)))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    rule: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cap: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    depth: Option<u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    members: BTreeMap<String, Rule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl TryFrom<Spelling> for Rule {
    type Error = NotARule;

    fn try_from(spelling: Spelling) -> Result<Rule, NotARule> {
        let spelled = match spelling {
            Spelling::Word(rule) => Spelled { rule, ..Spelled::default() },
            Spelling::Object(spelled) => *spelled,
        };
        let rule: Rule = spelled.rule.parse()?;
        let needless = [
            ("cap", spelled.cap.is_some(), matches!(rule, Rule::Append { .. })),
            ("depth", spelled.depth.is_some(), matches!(rule, Rule::Json(_))),
            ("members", !spelled.members.is_empty(), matches!(rule, Rule::Json(_))),
            ("name", spelled.name.is_some(), matches!(rule, Rule::Function(_))),
        ];
        if let Some((option, ..)) = needless.into_iter().find(|(_, is_given, is_wanted)| *is_given && !is_wanted) {
            return Err(NotARule::NoSuchOption(spelled.rule, option));
        }
        let is_out = |number: Option<u32>| number.is_some_and(|number| !(1..=LIMIT_MAX).contains(&number));
        match rule {
            Rule::Append { .. } if is_out(spelled.cap) => Err(NotARule::NotInBounds("cap", "append")),
            Rule::Append { .. } => Ok(Rule::Append { cap: spelled.cap }),
            Rule::Json(_) if is_out(spelled.depth) => Err(NotARule::NotInBounds("depth", "json")),
            Rule::Json(_) => match spelled.members.values().find(|rule| !rule.is_for_members()) {
                Some(rule) => Err(NotARule::NotForMembers(rule.to_string())),
                None => Ok(Rule::Json(Arc::new(DocumentRule { depth: spelled.depth, members: spelled.members }))),
            },
            Rule::Function(_) => {
                let name = spelled.name.filter(|name| !name.is_empty()).ok_or(NotARule::NoName)?;
                Ok(Rule::Function(name.into()))
            }
            rule => Ok(rule),
        }
    }
}

impl From<Rule> for Spelling {
    fn from(rule: Rule) -> Spelling {
        let mut spelled = Spelled { rule: rule.as_str().to_owned(), ..Spelled::default() };
        match rule {
            Rule::Append { cap: cap @ Some(_) } => spelled.cap = cap,
            Rule::Json(document) if *document != DocumentRule::default() => {
                spelled.depth = document.depth;
                spelled.members = document.members.clone();
            }
            Rule::Function(name) => spelled.name = Some(name.to_string()),
            _ => return Spelling::Word(spelled.rule),
        }
        Spelling::Object(Box::new(spelled))
    }
}

impl Rule {
    /// Whether the field's stamp decides, so that the row needs a clock.
    pub fn is_stamped(&self) -> bool {
        matches!(self, Rule::Lww | Rule::First | Rule::Json(_))
    }

    /// Whether a put leaves the field of an existing row alone, because only changes to it can be merged.
    pub fn is_left_by_put(&self) -> bool {
        matches!(self, Rule::Add | Rule::Append { .. } | Rule::Union)
    }

    /// The word that SQL uses.
    pub fn as_str(&self) -> &'static str {
        match self {
            Rule::Lww => "lww",
            Rule::Arrival => "arrival",
            Rule::First => "first",
            Rule::Add => "add",
            Rule::Max => "max",
            Rule::Min => "min",
            Rule::Append { .. } => "append",
            Rule::Union => "union",
            Rule::Json(_) => "json",
            Rule::Function(_) => "function",
        }
    }

    /// Whether a member of a document can have it: only Postgres runs functions, and on columns; a document within a
    /// document has no rules of its own.
    fn is_for_members(&self) -> bool {
        match self {
            Rule::Function(_) | Rule::Arrival => false,
            Rule::Json(document) => document.members.is_empty(),
            _ => true,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Rule {
    type Err = NotARule;

    /// Reads a word alone; a function comes without its name.
    fn from_str(word: &str) -> Result<Rule, NotARule> {
        Ok(match word {
            "lww" => Rule::Lww,
            "arrival" => Rule::Arrival,
            "first" => Rule::First,
            "add" => Rule::Add,
            "max" => Rule::Max,
            "min" => Rule::Min,
            "append" => Rule::Append { cap: None },
            "union" => Rule::Union,
            "json" => Rule::Json(Arc::default()),
            "function" => Rule::Function("".into()),
            _ => return Err(NotARule::NoSuchWord(word.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Rule, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn words_and_rules_match() {
        for word in ["lww", "arrival", "first", "add", "max", "min", "append", "union", "json"] {
            let rule = read(&format!("\"{word}\"")).unwrap();
            assert_eq!(rule.to_string(), word);
            assert_eq!(serde_json::to_string(&rule).unwrap(), format!("\"{word}\""));
            assert_eq!(read(&format!("{{\"rule\": \"{word}\"}}")).unwrap(), rule);
        }
    }

    #[test]
    fn what_there_is_to_say_survives_the_way() {
        for json in [
            r#"{"rule":"append","cap":100}"#,
            r#"{"rule":"json","depth":1,"members":{"likes":"add","log":{"rule":"append","cap":3}}}"#,
            r#"{"rule":"json","members":{"deep":"json"}}"#,
            r#"{"rule":"function","name":"f(integer,integer)"}"#,
        ] {
            assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for (json, why) in [
            (r#""LWW""#, "there is no rule \"LWW\""),
            (r#"{"rule":"add","cap":1}"#, "the rule add takes no cap"),
            (r#"{"rule":"lww","name":"f(int,int)"}"#, "the rule lww takes no name"),
            (r#"{"rule":"append","cap":0}"#, "the cap of the rule append must be a whole number from 1 to 1000000"),
            (r#"{"rule":"function"}"#, "the rule function needs the name"),
            (r#""function""#, "the rule function needs the name"),
            (r#"{"rule":"json","members":{"f":{"rule":"function","name":"f"}}}"#, "cannot have the rule function"),
            (r#"{"rule":"json","members":{"x":{"rule":"json","members":{"y":"add"}}}}"#, "cannot have the rule json"),
            (r#"{"rule":"append","other":1}"#, "unknown field `other`"),
            ("1", "expected a rule's word"),
        ] {
            let refused = read(json).unwrap_err();
            assert!(refused.contains(why), "{json}: {refused}");
        }
    }
}
