//! What is known of a cache's table from when it was opened on.

use super::fields;
use super::key::{self, LookUp};
use super::layout::{Layout, Role, TableMeta, quote};
use super::value::{CacheValue, Row, Value};
use crate::error::{Error, ErrorKind};
use cache_sync_core::fields::{FieldIndex, Fields};
use cache_sync_core::merge::CannotMerge;
use cache_sync_core::number::{KeyHash, TableId};
use cache_sync_core::patch::{PatchKind, RowPatch};
use cache_sync_core::rule::Rule;

/// How the table was described, and which of its columns the type's members are.
pub(crate) struct Schema {
    pub(crate) meta: TableMeta,
    pub(crate) layout: Layout,
    /// Puts make their value whatever the row is: no field counts or compares.
    is_determined: bool,
    /// Members that only Postgres can tell: after a write the row has to be loaded.
    has_read_only: bool,
}

impl Schema {
    pub(crate) fn new(meta: TableMeta, layout: Layout) -> Schema {
        let roles = || layout.columns.iter().map(|column| &column.role);
        Schema {
            is_determined: roles()
                .all(|role| matches!(role, Role::Key(_) | Role::Field { rule: Rule::Lww | Rule::Arrival, .. })),
            has_read_only: roles().any(|role| matches!(role, Role::ReadOnly)),
            meta,
            layout,
        }
    }

    #[inline]
    pub(crate) fn hash<K: LookUp<Q>, Q: ?Sized>(&self, by: &Q) -> KeyHash {
        key::key_hash::<K, Q>(&self.meta.hash_key, by)
    }

    pub(crate) fn table_id(&self) -> TableId {
        self.meta.table_id
    }

    /// The table's name with its schema, for people.
    pub(crate) fn display_name(&self) -> String {
        format!("{}.{}", self.meta.schema, self.meta.name)
    }

    /// The same as SQL writes it.
    pub(crate) fn sql_name(&self) -> String {
        let is_plain = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let name = |name: &str| if is_plain(name) { name.to_owned() } else { quote(name) };
        format!("{}.{}", name(&self.meta.schema), name(&self.meta.name))
    }

    pub(crate) fn rule(&self, field: FieldIndex) -> &Rule {
        match self.layout.columns.get(usize::from(field)).map(|column| &column.role) {
            Some(Role::Field { rule, .. }) => rule,
            _ => &Rule::Arrival,
        }
    }

    /// Whether the patch makes its value whatever the row is.
    pub(crate) fn is_determined(&self, patch: &RowPatch) -> bool {
        match patch.kind {
            PatchKind::Delete => true,
            PatchKind::Edit | PatchKind::CompareAndSet => false,
            _ => self.is_determined && self.is_whole(patch),
        }
    }

    /// Whether the patch names every field: what it leaves out has a default, or what it had.
    fn is_whole(&self, patch: &RowPatch) -> bool {
        self.has_every_field(patch.fields())
    }

    pub(crate) fn has_every_field(&self, fields: &Fields) -> bool {
        let mut columns = (0..).zip(&self.layout.columns);
        columns.all(|(index, column)| !matches!(column.role, Role::Field { .. }) || fields.get(index).is_some())
    }

    /// Whether the row can be told from what it was and the patch, where Postgres says that nothing coerced it.
    pub(crate) fn is_told(&self, patch: &RowPatch) -> bool {
        !self.has_read_only && self.leaves_expiry(patch)
    }

    /// Whether the row expires after the patch when it did before. Of a row that it creates, Postgres may say when.
    pub(crate) fn leaves_expiry(&self, patch: &RowPatch) -> bool {
        match &self.meta.expires {
            None => true,
            Some(column) => {
                let is_it =
                    |field| self.layout.columns.get(usize::from(field)).is_none_or(|of| quote(&of.name) == *column);
                patch.kind == PatchKind::Edit && !patch.fields().indexes().any(is_it)
            }
        }
    }

    /// The value with the patch; none where only Postgres can tell.
    ///
    /// # Errors
    /// When the patch is one that its rules cannot take.
    pub(crate) fn preview<V: CacheValue>(&self, patch: &RowPatch, value: &Value<V>) -> Result<Option<Value<V>>, Error> {
        let violation = |error: &dyn std::fmt::Display| Error::new(ErrorKind::RuleViolation, error.to_string());
        let row = match value {
            Some(value) => Some(fields::to_fields(&self.layout, &**value).map_err(|error| violation(&error))?),
            None => None,
        };
        // What the type never writes is not in there: only Postgres has it.
        let is_partial = match &row {
            Some(row) => !self.has_every_field(row),
            None => matches!(patch.kind, PatchKind::Put { .. } | PatchKind::Replace) && !self.is_whole(patch),
        };
        if is_partial && patch.kind != PatchKind::Delete {
            return Ok(None);
        }
        match patch.preview(row, |field| self.rule(field)) {
            Ok(Some(row)) => {
                let value = fields::from_fields(&self.layout, &row).map_err(|error| violation(&error))?;
                Ok(Some(Some(Row::new(value, row.text_len()))))
            }
            Ok(None) => Ok(Some(None)),
            Err(CannotMerge::OnlyPostgres(_)) => Ok(None),
            Err(error) => Err(violation(&error)),
        }
    }
}
