//! An attached table as `cache_sync.describe` tells it.

use crate::codec::key::KeyColumn;
use cache_sync_core::key::HashKey;
use cache_sync_core::number::{FieldId, TableId};
use cache_sync_core::rule::Rule;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// An attached table.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TableMeta {
    /// Its oid: which relation it is, by whatever name.
    #[serde(skip)]
    pub(crate) relation: u32,
    /// The number under which it is attached.
    pub(crate) table_id: TableId,
    /// Its schema, not quoted.
    pub(crate) schema: String,
    /// Its name, not quoted.
    pub(crate) name: String,
    /// Whether its rows have versions and clocks.
    pub(crate) versioned: bool,
    /// The secret with which its keys are hashed.
    #[serde(deserialize_with = "hash_key")]
    pub(crate) hash_key: HashKey,
    /// The columns of its primary key, in their order there.
    pub(crate) key: Vec<KeyColumn>,
    /// Every other column.
    pub(crate) fields: Vec<FieldMeta>,
    /// The column that says when a row expires, quoted.
    #[serde(default)]
    pub(crate) expires: Option<String>,
    /// The columns on which queries can depend, in the order in which the database numbers them.
    #[serde(default, deserialize_with = "tags")]
    pub(crate) tags: Vec<TagMeta>,
}

/// A column on which queries can depend.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TagMeta {
    /// Its name, not quoted.
    pub(crate) name: String,
    /// How its values are hashed; `None` when its column became one that cannot be a tag.
    pub(crate) kind: Option<TagKind>,
}

/// How the values of a tag are hashed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum TagKind {
    /// By the word that says what a key's column holds.
    Plain(String),
    /// A composite, part by part.
    Row(Vec<TagKind>),
}

impl TableMeta {
    /// The rule of a column.
    pub(crate) fn rule(&self, column: &str) -> Option<&Rule> {
        self.fields.iter().find(|field| field.name == column).map(|field| &field.rule)
    }
}

/// A column that is not part of the key.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FieldMeta {
    /// Its number, which survives renames.
    pub(crate) id: FieldId,
    /// Its name, not quoted.
    pub(crate) name: String,
    /// Its type's oid.
    #[serde(rename = "type")]
    pub(crate) type_oid: u32,
    /// How it merges.
    pub(crate) rule: Rule,
    /// Whether Postgres computes it.
    pub(crate) generated: bool,
    /// Whether it is NOT NULL.
    #[serde(default)]
    pub(crate) not_null: bool,
}

/// A table without tags has null.
fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TagMeta>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn hash_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HashKey, D::Error> {
    let digits = String::deserialize(deserializer)?;
    crate::codec::text::unhex(&format!("\\x{digits}"))
        .and_then(|bytes| bytes.try_into().ok())
        .map(HashKey)
        .ok_or_else(|| D::Error::custom("the hash key must be 32 hexadecimal digits"))
}
