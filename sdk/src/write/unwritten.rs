//! Patches as data, for whoever applies by hand what a client could not.

use crate::codec::fields;
use crate::codec::key::{self, Key};
use crate::codec::layout::{Column, Role};
use crate::codec::schema::Schema;
use crate::codec::text::push_json_string;
use crate::receipt::{Operation, Unwritten};
use cache_sync_core::merge;
use cache_sync_core::number::{Stamp, Version};
use cache_sync_core::patch::{Expected, PatchKind, RowPatch};
use std::collections::BTreeMap;

/// A patch as writes that the functions for SQL take, to be applied in this order: where parts of a document were written at different
/// times, those that came later are edits of their own.
pub(super) fn unwritten<K: Key>(schema: &Schema, key: &K, patch: &RowPatch) -> Vec<Unwritten> {
    let mut first = Members::default();
    let mut later: BTreeMap<Stamp, Members<'_>> = BTreeMap::new();
    for (field, value, stamp) in patch.incoming() {
        let column = &schema.layout.columns[usize::from(field)];
        for (place, (stamp, part)) in merge::dated(value, stamp).into_iter().enumerate() {
            match place {
                0 => first.add(column, part),
                _ => later.entry(stamp).or_default().add(column, part),
            }
        }
    }
    let mut members = String::new();
    key::write_members(key, &schema.meta.key, &mut members);
    let write = |operation, patch: Members<'_>, stamp: Stamp| Unwritten {
        table: schema.sql_name(),
        key: format!("{{{members}}}"),
        operation,
        patch: patch.into_json(),
        stamp: stamp.0,
    };
    let operation = match patch.kind {
        PatchKind::Edit => Operation::Edit,
        PatchKind::CompareAndSet => Operation::CompareAndSet {
            expected: match patch.expected {
                Expected::Nothing => None,
                Expected::Absence => Some(Version::NONE),
                Expected::Version(version) => Some(version),
            },
        },
        PatchKind::Put { seen } => Operation::Put { creates: !seen },
        PatchKind::Replace => Operation::Replace,
        PatchKind::Delete => Operation::Delete,
    };
    let mut writes = vec![write(operation, first, patch.stamp)];
    writes.extend(later.into_iter().map(|(stamp, members)| write(Operation::Edit, members, stamp)));
    writes
}

/// Values by column; members of documents by their document's.
#[derive(Default)]
struct Members<'a> {
    columns: Vec<(&'a str, String)>,
    documents: BTreeMap<&'a str, Vec<(&'a str, String)>>,
}

impl<'a> Members<'a> {
    fn add(&mut self, column: &'a Column, value: &str) {
        match (&column.document, &column.role) {
            (Some(document), Role::Field { .. }) => {
                self.documents.entry(document).or_default().push((&column.name, value.to_owned()));
            }
            _ => self.columns.push((&column.name, fields::sql_json(column, value).into())),
        }
    }

    fn into_json(self) -> String {
        let mut columns = self.columns;
        columns.extend(self.documents.into_iter().map(|(name, members)| (name, object(members))));
        object(columns)
    }
}

fn object(members: Vec<(&str, String)>) -> String {
    let mut json = String::new();
    for (name, value) in members {
        json.push(if json.is_empty() { '{' } else { ',' });
        push_json_string(&mut json, name);
        json.push(':');
        json.push_str(&value);
    }
    if json.is_empty() { "{}".to_owned() } else { json + "}" }
}
