//! The tables that one feed tells of: those asked for, or all that the caller may read.
//!
//! Of a table with row-level security that applies to the caller, the feed tells no keys: how many rows others change,
//! and which, is not for somebody who may not see them. Such a table is told as changed as a whole.

use crate::pg::failure::Failure;
use crate::pg::rights::{hides_rows, name_of};
use crate::ring::{Entry, whole};
use crate::tables::catalog::{self, Attached, Locked};
use crate::tables::known;
use cache_sync_core::number::TableId;
use cache_sync_core::wire::Change;
use pgrx::pg_sys;

/// A table that the caller may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readable {
    /// Its number.
    pub(crate) id: TableId,
    /// The table.
    pub(crate) relid: pg_sys::Oid,
    /// Whether row-level security keeps rows from the caller.
    pub(crate) has_hidden_rows: bool,
}

/// The tables of one feed.
pub(crate) struct Subscription {
    asked_for: Option<Vec<TableId>>,
    incarnation: u32,
    /// Sorted by number.
    tables: Vec<Readable>,
}

impl Subscription {
    /// The tables asked for, or all that the caller may read.
    ///
    /// # Errors
    /// CS005 for a table that is not attached, 42501 for one that the caller may not read.
    pub(crate) fn new(asked_for: Option<Vec<TableId>>) -> Result<Subscription, Failure> {
        let tables = readable(asked_for.as_deref())?;
        let incarnation = known::secret(Locked::Wait).map_or(0, |_| known::incarnation());
        Ok(Subscription { asked_for, incarnation, tables })
    }

    /// Looks again at what the caller may read, and says which tables came along, or are not to be told of any more.
    ///
    /// # Errors
    /// As for [`Subscription::new`].
    pub(crate) fn check_again(&mut self) -> Result<Vec<TableId>, Failure> {
        let before = std::mem::replace(&mut self.tables, readable(self.asked_for.as_deref())?);
        let added = self.tables.iter().filter(|table| !before.contains(table));
        let gone = before.iter().filter(|table| self.table(table.id).is_none());
        Ok(added.chain(gone).map(|table| table.id).collect())
    }

    /// The table of a number, if the feed tells of it.
    pub(crate) fn table(&self, id: TableId) -> Option<&Readable> {
        self.tables.binary_search_by_key(&id, |table| table.id).ok().map(|place| &self.tables[place])
    }

    /// Adds to `changes` what of the entries is for this feed.
    pub(crate) fn select(&self, entries: &[Entry], changes: &mut Vec<Change>) {
        // SAFETY: a plain read of the number of the database that this backend is connected to.
        let database = unsafe { pg_sys::MyDatabaseId };
        for entry in entries.iter().filter(|entry| entry.is_of(database, self.incarnation)) {
            match self.table(entry.table) {
                None => {}
                Some(table) if table.has_hidden_rows => {
                    let change = whole(entry.table);
                    if !changes.contains(&change) {
                        changes.push(change);
                    }
                }
                Some(_) => changes.push(entry.change()),
            }
        }
    }
}

/// The numbers of tables that a caller asks for, none of them null.
///
/// # Errors
/// 22004 for a null.
pub(crate) fn table_ids(ids: Option<Vec<Option<i32>>>) -> Result<Option<Vec<TableId>>, Failure> {
    let Some(ids) = ids else { return Ok(None) };
    ids.into_iter()
        .map(|id| id.map(TableId).ok_or_else(|| Failure::new(b"22004", "table_ids must not contain nulls")))
        .collect::<Result<Vec<_>, _>>()
        .map(Some)
}

/// The tables asked for, or all that the caller may read; sorted by number.
fn readable(asked_for: Option<&[TableId]>) -> Result<Vec<Readable>, Failure> {
    let mut attached = catalog::attached(None, Locked::Wait).unwrap_or_default();
    attached.sort_by_key(|table| table.id);
    let Some(asked_for) = asked_for else {
        return Ok(attached.iter().filter_map(|table| check(table).ok()).collect());
    };
    let mut tables: Vec<Readable> = Vec::with_capacity(asked_for.len());
    for id in asked_for {
        let table = attached
            .binary_search_by_key(id, |table| table.id)
            .map_err(|_| Failure::new(b"CS005", format!("there is no attached table with number {id}")))?;
        tables.push(check(&attached[table])?);
    }
    tables.sort_by_key(|table| table.id);
    tables.dedup_by_key(|table| table.id);
    Ok(tables)
}

/// Whether the caller may read the table.
fn check(table: &Attached) -> Result<Readable, Failure> {
    let mut is_missing = false;
    // SAFETY: looks the table up in the system catalogs.
    let right = unsafe {
        pg_sys::pg_class_aclcheck_ext(
            table.relid,
            pg_sys::GetUserId(),
            pg_sys::ACL_SELECT as pg_sys::AclMode,
            &mut is_missing,
        )
    };
    if is_missing {
        return Err(Failure::new(b"CS005", format!("the table with number {} is gone", table.id)));
    }
    if right != pg_sys::AclResult::ACLCHECK_OK {
        return Err(Failure::new(b"42501", format!("permission denied for table {}", name_of(table.relid)))
            .hint("The feed tells only of tables that you may SELECT."));
    }
    Ok(Readable { id: table.id, relid: table.relid, has_hidden_rows: hides_rows(table.relid) })
}
