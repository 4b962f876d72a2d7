//! What the ring holds.

use cache_sync_core::number::{KeyHash, TableId, Version};
use cache_sync_core::wire::{Change, ChangeKind};
use pgrx::pg_sys;

/// One change, as the ring holds it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Entry {
    /// The database.
    pub(crate) database: pg_sys::Oid,
    /// The change.
    pub(crate) table: TableId,
    /// The key's hash, 0 for a whole table.
    pub(crate) key: KeyHash,
    /// The row's version or 0.
    pub(crate) version: Version,
    /// Which of the extensions that the database has had, one after the other, noted it; 0: not known. Their tables have the same
    /// numbers.
    pub(crate) incarnation: u32,
    /// What it does.
    pub(crate) kind: ChangeKind,
}

impl Entry {
    /// An entry of no meaning, to fill arrays with. All zeroes, so that such arrays take no room in the library.
    pub(crate) const NONE: Entry = Entry {
        database: pg_sys::InvalidOid,
        table: TableId(0),
        key: KeyHash(0),
        version: Version::NONE,
        incarnation: 0,
        kind: ChangeKind::Versioned,
    };

    /// Whether it is of this database and of the extension that is there now; who cannot say which that is gets those of all.
    pub(crate) fn is_of(&self, database: pg_sys::Oid, incarnation: u32) -> bool {
        self.database == database && (self.incarnation == incarnation || self.incarnation == 0 || incarnation == 0)
    }

    /// The change as the feed tells it.
    pub(crate) fn change(&self) -> Change {
        Change { table: self.table, key: self.key, version: self.version, kind: self.kind }
    }
}

/// The change of a whole table.
pub(crate) fn whole(table: TableId) -> Change {
    Change { table, key: KeyHash(0), version: Version::NONE, kind: ChangeKind::FlushTable }
}
