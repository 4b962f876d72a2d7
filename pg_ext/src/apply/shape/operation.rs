//! What patches have in common.

use crate::pg::failure::Failure;
use cache_sync_core::patch::PatchKind;
use cache_sync_core::rule::Rule;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What patches have in common: the operation and the fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) kind: PatchKind,
    /// Sorted by name.
    pub(crate) fields: Vec<String>,
    /// The rules that the writer took the fields to have; the present ones where it does not say.
    pub(crate) rules: BTreeMap<String, Rule>,
    /// Whether each field has a stamp of its own.
    pub(crate) each: bool,
}

/// A shape as it travels.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Travelling {
    op: Op,
    #[serde(default)]
    seen: bool,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    rules: BTreeMap<String, Rule>,
    #[serde(default)]
    stamps: Stamps,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Edit,
    Put,
    Replace,
    Delete,
    #[serde(rename = "compare_and_set")]
    CompareAndSet,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Stamps {
    #[default]
    One,
    Each,
}

impl Shape {
    /// Whether its writer knew a field whose values a function of the user's merges.
    pub(super) fn calls_functions(&self) -> bool {
        self.rules.values().any(|rule| matches!(rule, Rule::Function(_)))
    }

    /// A shape without own stamps.
    pub(crate) fn new(kind: PatchKind, mut fields: Vec<String>) -> Shape {
        fields.sort_unstable();
        Shape { kind, fields, rules: BTreeMap::new(), each: false }
    }

    /// Reads the shapes of a batch.
    ///
    /// # Errors
    /// When the JSON is not of the form that docs/design.md describes.
    pub(crate) fn read(shapes: &str) -> Result<Vec<Shape>, Failure> {
        let shapes: Vec<Travelling> = serde_json::from_str(shapes)
            .map_err(|error| Failure::new(b"22023", format!("shapes is not a list of shapes: {error}")))?;
        shapes.into_iter().map(Shape::of).collect()
    }

    /// The shape as it travels.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "op": self.op(),
            "seen": self.kind == PatchKind::Put { seen: true },
            "fields": self.fields,
            "rules": self.rules,
            "stamps": if self.each { "each" } else { "one" },
        })
    }

    fn of(travelling: Travelling) -> Result<Shape, Failure> {
        let kind = match travelling.op {
            Op::Edit => PatchKind::Edit,
            Op::Put => PatchKind::Put { seen: travelling.seen },
            Op::Replace => PatchKind::Replace,
            Op::Delete => PatchKind::Delete,
            Op::CompareAndSet => PatchKind::CompareAndSet,
        };
        let Travelling { rules, stamps, .. } = travelling;
        let shape = Shape { rules, each: stamps == Stamps::Each, ..Shape::new(kind, travelling.fields) };
        if let Some(twice) = shape.fields.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Failure::new(b"22023", format!("a shape names the field \"{}\" twice", twice[0])));
        }
        if let Some(name) = shape.rules.keys().find(|name| !shape.fields.contains(name)) {
            return Err(Failure::new(
                b"22023",
                format!("a shape has a rule for \"{name}\", which is not among its fields"),
            ));
        }
        match kind {
            PatchKind::Delete if !shape.fields.is_empty() => {
                Err(Failure::new(b"22023", "a deletion carries no fields"))
            }
            PatchKind::Edit if shape.fields.is_empty() => Err(Failure::new(b"22023", "an edit carries no field")),
            _ => Ok(shape),
        }
    }

    /// The word for its operation.
    pub(crate) fn op(&self) -> &'static str {
        match self.kind {
            PatchKind::Edit => "edit",
            PatchKind::Put { .. } => "put",
            PatchKind::Replace => "replace",
            PatchKind::Delete => "delete",
            PatchKind::CompareAndSet => "compare_and_set",
        }
    }
}
