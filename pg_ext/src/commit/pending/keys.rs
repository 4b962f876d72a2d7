//! A bounded set of changes, with one entry per key, in memory of fixed size.
//!
//! A table with more keys than the setting allows counts as changed as a whole, and so does the one with the most keys when all
//! places are taken. How many keys each table has is counted only once one of them may have too many.

mod counts;

use crate::pg::settings::{TRANSACTION_CHANGES_MAX, max_transaction_keys};
use crate::ring::Entry;
use crate::tables::known;
use cache_sync_core::number::{KeyHash, TableId, Version};
use cache_sync_core::wire::ChangeKind;
use counts::Counts;
use pgrx::pg_sys;
use std::mem::{offset_of, size_of};

/// Most entries, of all tables.
const KEYS_MAX: usize = TRANSACTION_CHANGES_MAX as usize;
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
    /// Whether `counts` says how many keys each table has.
    counted: bool,
    entries: [Entry; KEYS_MAX],
    /// By hash, the entry's number plus 1; 0 where there is none, and everywhere while there are few entries.
    places: [u16; PLACES],
    /// Where in `places` each entry's number is, so that little is to be cleared after a small transaction.
    place_of: [u16; KEYS_MAX],
    counts: Counts,
}

const _: () = assert!(offset_of!(Keys, entries) + size_of::<Entry>() <= 64);

impl Keys {
    /// No changes.
    pub(super) const EMPTY: Keys = Keys {
        count: 0,
        flushed: 0,
        flushed_last: None,
        everything: false,
        counted: false,
        entries: [Entry::NONE; KEYS_MAX],
        places: [0; PLACES],
        place_of: [0; KEYS_MAX],
        counts: Counts::NONE,
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
            // No table has more keys than there are.
            Err(place) if !self.counted && u32::from(self.count) < max_transaction_keys() => {
                self.push(place, entry(table, key, version, kind));
            }
            Err(_) => self.note_counted(entry(table, key, version, kind)),
        }
    }

    /// Notes the change of a key that is not there yet, if its table may have one more.
    #[cold]
    fn note_counted(&mut self, entry: Entry) {
        self.count_by_tables();
        if self.counts.of(entry.table) >= max_transaction_keys() {
            return self.flush_keys(entry.table);
        }
        self.make_room();
        if self.is_flushed(entry.table) {
            return;
        }
        // What was there before may have moved.
        if let Err(place) = self.find(entry.table, entry.key, entry.kind) {
            self.push(place, entry);
            self.counts.add(entry.table);
        }
    }

    /// Notes that the whole table changed.
    pub(super) fn flush(&mut self, table: TableId) {
        if self.is_flushed(table) {
            return;
        }
        if usize::from(self.flushed) == FLUSHED_MAX {
            return self.flush_everything();
        }
        self.make_room();
        if self.is_flushed(table) {
            return;
        }
        if let Err(place) = self.find(table, KeyHash(0), ChangeKind::FlushTable) {
            self.push(place, entry(table, KeyHash(0), Version::NONE, ChangeKind::FlushTable));
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
        if self.counted {
            self.counted = false;
            self.counts = Counts::NONE;
        }
    }

    fn flush_everything(&mut self) {
        self.clear();
        self.everything = true;
    }

    /// Sees to it that one more entry fits: the table with the most keys gives its places up.
    fn make_room(&mut self) {
        while usize::from(self.count) == KEYS_MAX {
            self.count_by_tables();
            match self.counts.largest() {
                Some(table) => self.flush_keys(table),
                None => return self.flush_everything(),
            }
        }
    }

    fn count_by_tables(&mut self) {
        if !self.counted {
            self.counted = true;
            let count = usize::from(self.count);
            self.entries[..count].iter().filter(|entry| is_key(entry)).for_each(|entry| self.counts.add(entry.table));
        }
    }

    /// Replaces a table's keys by the table, which may stand there already.
    fn flush_keys(&mut self, table: TableId) {
        self.unlink();
        let count = usize::from(self.count);
        let mut kept = 0;
        for index in 0..count {
            if self.entries[index].table != table || !is_key(&self.entries[index]) {
                self.entries[kept] = self.entries[index];
                kept += 1;
            }
        }
        self.count = kept as u16;
        if kept > SCANNED_MAX {
            (0..kept).for_each(|index| self.link(index, self.free_place(&self.entries[index])));
        }
        self.counts.forget(table);
        self.flush(table);
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

    fn push(&mut self, place: usize, entry: Entry) {
        let index = usize::from(self.count);
        self.entries[index] = entry;
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

/// A change in this database.
fn entry(table: TableId, key: KeyHash, version: Version, kind: ChangeKind) -> Entry {
    // SAFETY: a plain read of the number of the database that this backend is connected to.
    let database = unsafe { pg_sys::MyDatabaseId };
    Entry { database, table, key, version, incarnation: known::incarnation(), kind }
}

fn is_key(entry: &Entry) -> bool {
    entry.kind != ChangeKind::FlushTable
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
