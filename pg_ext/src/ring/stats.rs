//! What is counted of the feed since the server started, for operators. But for what `commits` has, with atomics, apart from the
//! ring's lock.

use super::memory::OwnCacheLine;
use super::{Entry, shared};
use cache_sync_core::number::{Lsn, TableId};
use cache_sync_core::wire::ChangeKind;
use pgrx::pg_sys;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// Most tables that are counted by themselves, in all databases together; those that change first have the places.
const TABLES_MAX: usize = 1_024;
/// Places looked at for a table.
const STEPS_MAX: usize = 64;

/// One table's counts; free while `name` is 0.
#[repr(C)]
struct OfTable {
    /// The database in the upper half, which is never 0, and the table's number.
    name: AtomicU64,
    changes: AtomicU64,
    flushes: AtomicU64,
}

/// The counts; zeroed memory is a valid value.
#[repr(C)]
pub(super) struct Stats {
    told: OwnCacheLine<Told>,
    tables: [OfTable; TABLES_MAX],
}

/// What feeds have told, and what committers seldom do.
#[repr(C)]
struct Told {
    delivered: AtomicU64,
    gaps: AtomicU64,
    flushes: AtomicU64,
}

/// What one can see of it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Changes that were committed.
    pub(crate) published: u64,
    /// Changes put into messages, over all feeds.
    pub(crate) delivered: u64,
    /// How often a feed had to say that something was missed.
    pub(crate) gaps: u64,
    /// Among those published: tables as a whole.
    pub(crate) flushes: u64,
}

/// What one can see of a table.
pub(crate) struct SeenTable {
    /// The table's number.
    pub(crate) id: TableId,
    /// Its changes that were committed.
    pub(crate) changes: u64,
    /// Among them: the table as a whole.
    pub(crate) flushes: u64,
}

impl Stats {
    /// Counts by tables what is published. Called from the commit callback: it neither allocates nor fails.
    pub(super) fn count_published(&self, entries: &[Entry]) {
        for of_table in entries.chunk_by(|one, next| one.table == next.table) {
            let Some(first) = of_table.first() else { continue };
            let flushes = of_table.iter().filter(|entry| entry.kind == ChangeKind::FlushTable).count() as u64;
            if flushes > 0 {
                self.told.0.flushes.fetch_add(flushes, Relaxed);
            }
            if let Some(table) = self.table(name_of(first.database, first.table)) {
                table.changes.fetch_add(of_table.len() as u64, Relaxed);
                if flushes > 0 {
                    table.flushes.fetch_add(flushes, Relaxed);
                }
            }
        }
    }

    /// Where a table is counted; takes a place for one that is new. `None` when there is none left.
    fn table(&self, name: u64) -> Option<&OfTable> {
        let first = (name.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - TABLES_MAX.ilog2())) as usize;
        let mut places = (first..first + STEPS_MAX).map(|place| &self.tables[place % TABLES_MAX]);
        places.find(|place| match place.name.load(Acquire) {
            0 => match place.name.compare_exchange(0, name, AcqRel, Acquire) {
                Ok(_) => true,
                Err(taken) => taken == name,
            },
            taken => taken == name,
        })
    }
}

fn name_of(database: pg_sys::Oid, table: TableId) -> u64 {
    u64::from(database.to_u32()) << 32 | u64::from(table.0.cast_unsigned())
}

/// Counts changes that a feed has put into a message.
pub(crate) fn count_delivered(changes: usize) {
    if let Some(shared) = shared() {
        shared.stats.0.told.0.delivered.fetch_add(changes as u64, Relaxed);
    }
}

/// Counts a gap that a feed has told.
pub(crate) fn count_gap() {
    if let Some(shared) = shared() {
        shared.stats.0.told.0.gaps.fetch_add(1, Relaxed);
    }
}

/// Where in the log the last of the commits ends that were published.
pub(crate) fn last_lsn() -> Lsn {
    Lsn(shared().map_or(0, |shared| shared.commits.0.lsn.load(Acquire)))
}

/// The counts of the whole server.
pub(crate) fn seen() -> Seen {
    let Some(shared) = shared() else { return Seen::default() };
    let told = &shared.stats.0.told.0;
    Seen {
        published: shared.commits.0.changes.load(Relaxed),
        delivered: told.delivered.load(Relaxed),
        gaps: told.gaps.load(Relaxed),
        flushes: told.flushes.load(Relaxed),
    }
}

/// The counts of this database's tables.
pub(crate) fn tables() -> Vec<SeenTable> {
    // SAFETY: a plain read of the number of the database that this backend is connected to.
    let database = u64::from(unsafe { pg_sys::MyDatabaseId }.to_u32());
    let Some(shared) = shared() else { return Vec::new() };
    let of_database = |table: &&OfTable| table.name.load(Acquire) >> 32 == database;
    let seen = |table: &OfTable| SeenTable {
        id: TableId((table.name.load(Acquire) as u32).cast_signed()),
        changes: table.changes.load(Relaxed),
        flushes: table.flushes.load(Relaxed),
    };
    shared.stats.0.tables.iter().filter(of_database).map(seen).collect()
}
