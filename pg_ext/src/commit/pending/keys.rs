//! A bounded set of changes, with one entry per key, in memory of fixed size.

use crate::ring::Entry;
use cache_sync_core::number::{KeyHash, TableId, Version};
use cache_sync_core::wire::ChangeKind;
use pgrx::pg_sys;
use std::mem::{offset_of, size_of};

/// Most entries; one more, and the tables concerned count as changed as a whole.
pub(super) const KEYS_MAX: usize = 4_096;
/// Most tables that may count as changed as a whole; one more, and everything does.
const FLUSHED_MAX: usize = 1_024;
/// At most half of the places are taken, so that few steps find a key.
const PLACES: usize = 2 * KEYS_MAX;
/// So few entries are found by looking at all of them: most transactions never touch the places.
const SCANNED_MAX: usize = 8;

/// The changes of a transaction. In this order, because all that a transaction with one change needs lies in one cache line then.
#[repr(C, align(64))]
pub(super) struct Keys {
    count: u16,
    flushed: u16,
    /// The table found to be flushed last, since rows come table by table.
    flushed_last: Option<TableId>,
    /// More tables changed as a whole than can be listed.
    everything: bool,
    entries: [Entry; KEYS_MAX],
    /// By hash, the entry's number plus 1; 0 where there is none, and everywhere while there are few entries.
    places: [u16; PLACES],
    /// Where in `places` each entry's number is, so that little is to be cleared after a small transaction.
    place_of: [u16; KEYS_MAX],
}

const _: () = assert!(offset_of!(Keys, entries) + size_of::<Entry>() <= 64);

impl Keys {
    /// No changes.
    pub(super) const EMPTY: Keys = Keys {
        count: 0,
        flushed: 0,
        flushed_last: None,
        everything: false,
        entries: [Entry::NONE; KEYS_MAX],
        places: [0; PLACES],
        place_of: [0; KEYS_MAX],
    };

    /// Whether there are no changes.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && !self.everything
    }

    /// The changes, or `None` when everything must be taken for changed.
    pub(super) fn changes(&self) -> Option<&[Entry]> {
        (!self.everything).then(|| &self.entries[..usize::from(self.count)])
    }

    /// Whether all of the table counts as changed.
    #[inline]
    pub(super) fn is_flushed(&mut self, table: TableId) -> bool {
        if self.everything || self.flushed_last == Some(table) {
            return true;
        }
        if self.flushed == 0 || self.find(table, KeyHash(0), ChangeKind::FlushTable).is_err() {
            return false;
        }
        self.flushed_last = Some(table);
        true
    }

    /// Notes the change of a key.
    #[inline]
    pub(super) fn note(&mut self, table: TableId, key: KeyHash, version: Version, kind: ChangeKind) {
        if self.is_flushed(table) {
            return;
        }
        match self.find(table, key, kind) {
            Ok(found) => {
                let entry = &mut self.entries[found];
                entry.version = entry.version.max(version);
                if kind == ChangeKind::Unversioned {
                    entry.kind = kind;
                }
            }
            Err(place) if usize::from(self.count) < KEYS_MAX => self.push(place, table, key, version, kind),
            Err(_) => {
                self.flush_all_tables();
                self.flush(table);
            }
        }
    }

    /// Notes that the whole table changed.
    pub(super) fn flush(&mut self, table: TableId) {
        if self.is_flushed(table) {
            return;
        }
        if usize::from(self.count) == KEYS_MAX {
            self.flush_all_tables();
        }
        if usize::from(self.flushed) == FLUSHED_MAX {
            self.clear();
            self.everything = true;
            return;
        }
        if let Err(place) = self.find(table, KeyHash(0), ChangeKind::FlushTable) {
            self.push(place, table, KeyHash(0), Version::NONE, ChangeKind::FlushTable);
            self.flushed += 1;
        }
        self.flushed_last = Some(table);
    }

    /// Forgets all changes.
    pub(super) fn clear(&mut self) {
        self.unlink();
        self.count = 0;
        self.flushed = 0;
        self.flushed_last = None;
        self.everything = false;
    }

    /// Replaces all keys by the tables they are of.
    fn flush_all_tables(&mut self) {
        let count = usize::from(self.count);
        self.unlink();
        self.count = 0;
        self.flushed = 0;
        self.flushed_last = None;
        for index in 0..count {
            // The entries are written from the front, never ahead of the one being read.
            let table = self.entries[index].table;
            self.flush(table);
            if self.everything {
                return;
            }
        }
    }

    fn unlink(&mut self) {
        let count = usize::from(self.count);
        if count <= SCANNED_MAX {
            return;
        }
        if count > KEYS_MAX / 8 {
            self.places.fill(0);
        } else {
            self.place_of[..count].iter().for_each(|place| self.places[usize::from(*place)] = 0);
        }
    }

    fn push(&mut self, place: usize, table: TableId, key: KeyHash, version: Version, kind: ChangeKind) {
        // SAFETY: a plain read of the number of the database that this backend is connected to.
        let database = unsafe { pg_sys::MyDatabaseId };
        let index = usize::from(self.count);
        self.entries[index] = Entry { database, table, key, version, kind };
        self.count += 1;
        if index > SCANNED_MAX {
            self.link(index, place);
        } else if index == SCANNED_MAX {
            (0..=index).for_each(|index| self.link(index, self.free_place(&self.entries[index])));
        }
    }

    fn link(&mut self, index: usize, place: usize) {
        self.place_of[index] = place as u16;
        self.places[place] = index as u16 + 1;
    }

    fn free_place(&self, entry: &Entry) -> usize {
        let mut place = first_place(entry.table, entry.key);
        while self.places[place] != 0 {
            place = (place + 1) % PLACES;
        }
        place
    }

    /// The number of the entry, or the place where it would go.
    #[inline]
    fn find(&self, table: TableId, key: KeyHash, kind: ChangeKind) -> Result<usize, usize> {
        let is_it = |entry: &Entry| entry.key == key && entry.table == table && names_of(entry.kind) == names_of(kind);
        let count = usize::from(self.count);
        if count <= SCANNED_MAX {
            return self.entries[..count].iter().position(is_it).ok_or(0);
        }
        let mut place = first_place(table, key);
        loop {
            let Some(index) = usize::from(self.places[place]).checked_sub(1) else { return Err(place) };
            if is_it(&self.entries[index]) {
                return Ok(index);
            }
            place = (place + 1) % PLACES;
        }
    }
}

/// What a change names: a key, a table or a tag.
fn names_of(kind: ChangeKind) -> u8 {
    match kind {
        ChangeKind::Versioned | ChangeKind::Unversioned => 0,
        ChangeKind::FlushTable => 1,
        ChangeKind::Tag => 2,
    }
}

/// Keys come hashed; a table's number spreads its own flush and those of its neighbours.
fn first_place(table: TableId, key: KeyHash) -> usize {
    let mixed = key.0 ^ (u64::from(table.0.unsigned_abs()) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize % PLACES
}
