//! What the catalogs say of an attached table, as `cache_sync_internal.layout` tells it.

use super::operation::Shape;
use crate::pg::failure::Failure;
use crate::pg::owner::{as_owner, refuse_other_script};
use cache_sync_core::patch::PatchKind;
use cache_sync_core::rule::Rule;
use pgrx::datum::DatumWithOid;
use pgrx::{JsonB, Spi, pg_sys};
use serde::Deserialize;
use std::mem::discriminant;

/// Raises when the rule cannot stand on the column.
const CHECK_RULE: &str = "SELECT cache_sync_internal.check_rule($1, $2, $3, $4::pg_catalog.name)";
/// What there is to know of a function that merges.
const FUNCTION_FACTS: &str = "SELECT cache_sync_internal.function_facts($1)";

/// An attached table. Everything that goes into SQL texts comes quoted and schema-qualified.
#[derive(Debug, Deserialize)]
pub(crate) struct Layout {
    pub(crate) table_id: i32,
    /// The table.
    pub(crate) relation: String,
    pub(crate) versioned: bool,
    /// The columns of the primary key, in its order.
    pub(crate) key: Vec<KeyColumn>,
    /// Whether a key column is an identity column that takes no values without being told to.
    pub(crate) identity: bool,
    pub(crate) fields: Vec<FieldColumn>,
    /// Whether a trigger of the user's, or a generated column, may make another row of what is written.
    pub(crate) coerced: bool,
    /// The column that says when a row expires, quoted.
    pub(crate) expires: Option<String>,
    /// The table and its partitions.
    pub(crate) relations: Vec<u32>,
}

/// A column of the primary key.
#[derive(Debug, Deserialize)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    /// The name, quoted.
    pub(crate) column: String,
    /// The type, with its modifier and collation, as a column definition has it.
    pub(crate) declared: String,
    /// What follows the column in ORDER BY: the cheapest order that is the same for everybody.
    pub(crate) order: String,
}

/// A column that is a field.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FieldColumn {
    pub(crate) id: i16,
    pub(crate) name: String,
    /// The name, quoted.
    pub(crate) column: String,
    #[serde(rename = "type")]
    type_oid: u32,
    /// The type, with its modifier and collation, as a column definition has it.
    pub(crate) declared: String,
    /// The type of a change, under the rules `add` and `union`.
    pub(crate) change: String,
    pub(crate) rule: Rule,
    pub(crate) generated: bool,
    /// Whether the type's JSON form reads back as it was written.
    pub(crate) exact: bool,
    pub(crate) is_array: bool,
    /// Whether the type is neither an array nor a composite.
    pub(crate) is_plain: bool,
    /// The user's function, under the rule `function`.
    pub(crate) function: Option<Function>,
}

/// A function of the user's that merges.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Function {
    /// Its name, quoted and qualified.
    pub(crate) name: String,
    /// The type of both arguments.
    pub(crate) argument: String,
    pub(crate) strict: bool,
}

/// What one of the extension's own functions answers; SPI must be connected.
fn ask<T: pgrx::FromDatum + pgrx::IntoDatum>(
    query: &str,
    arguments: &[DatumWithOid<'_>],
) -> Result<Option<T>, Failure> {
    as_owner(|| Spi::get_one_with_args::<T>(query, arguments))?
        .map_err(|error| Failure::new(b"XX000", error.to_string()))
}

impl FieldColumn {
    /// The rule as JSON.
    pub(super) fn rule_text(&self) -> String {
        serde_json::to_string(&self.rule).unwrap_or_default()
    }
}

impl Layout {
    /// Reads it; SPI must be connected.
    ///
    /// # Errors
    /// When the table is not attached, or cannot be worked on as it stands.
    pub(super) fn read(table: pg_sys::Oid) -> Result<Layout, Failure> {
        if table == pg_sys::InvalidOid {
            return Err(Failure::new(b"CS005", "the table 0 is not attached"));
        }
        refuse_other_script()?;
        let layout =
            as_owner(|| Spi::get_one_with_args::<JsonB>("SELECT cache_sync_internal.layout($1)", &[table.into()]))?;
        let Ok(Some(JsonB(layout))) = layout else {
            return Err(Failure::new(b"XX000", "cache_sync_internal.layout() said nothing"));
        };
        serde_json::from_value(layout).map_err(|error| {
            Failure::new(b"CS007", format!("cache_sync_internal.layout() is not of this library: {error}"))
        })
    }

    /// The field as a patch of this shape means it. Its writer may have known another rule. SPI must be connected.
    ///
    /// # Errors
    /// When a change was made under a rule that cannot stand on what the column is by now.
    pub(super) fn read_under(&self, field: &FieldColumn, shape: &Shape) -> Result<FieldColumn, Failure> {
        let mut field = field.clone();
        let Some(written) = shape.rules.get(&field.name).filter(|rule| **rule != field.rule) else { return Ok(field) };
        // Whoever wrote the patch foresaw another row.
        field.exact = false;
        let mut rule = field.rule.read_under(written, shape.kind == PatchKind::Edit);
        if rule == Rule::Lww && !field.rule.is_stamped() {
            // Nothing keeps when the field was written.
            rule = Rule::Arrival;
        }
        if discriminant(&rule) != discriminant(&field.rule) {
            let arguments = [
                JsonB(serde_json::json!(rule)).into(),
                pg_sys::Oid::from(field.type_oid).into(),
                self.versioned.into(),
                (*field.name).into(),
            ];
            ask::<JsonB>(CHECK_RULE, &arguments)?;
        }
        if let Rule::Function(name) = &rule
            && rule != field.rule
        {
            let facts = ask::<JsonB>(FUNCTION_FACTS, &[(**name).into()])?.map(|JsonB(facts)| facts);
            field.function = facts.and_then(|facts| serde_json::from_value(facts).ok());
        }
        if rule == Rule::Union {
            field.change = "pg_catalog.jsonb".to_owned();
        }
        field.rule = rule;
        Ok(field)
    }

    /// The fields that have stamps and can be written.
    pub(super) fn stamped(&self) -> impl Iterator<Item = &FieldColumn> {
        self.fields.iter().filter(|field| field.rule.is_stamped() && !field.generated)
    }
}
