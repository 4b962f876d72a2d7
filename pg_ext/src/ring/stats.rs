//! What is counted of the feed since the server started, for operators. But for what `commits` has, with atomics, apart from the
//! ring's lock.

use super::entry::Entry;
use super::line::OwnCacheLine;
use cache_sync_core::number::TableId;
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

/// The counts of the whole server.
#[derive(Clone, Copy, Default)]
pub(crate) struct FeedCounts {
    /// Changes that were committed.
    pub(crate) published: u64,
    /// Changes put into messages, over all feeds.
    pub(crate) delivered: u64,
    /// How often a feed had to say that something was missed.
    pub(crate) gaps: u64,
    /// Among those published: tables as a whole.
    pub(crate) flushes: u64,
}

/// The counts of a table.
pub(crate) struct TableCounts {
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
            if let Some(table) = self.table(counted_as(first.database, first.table)) {
                table.changes.fetch_add(of_table.len() as u64, Relaxed);
                if flushes > 0 {
                    table.flushes.fetch_add(flushes, Relaxed);
                }
            }
        }
    }

    /// Counts changes that a feed has put into a message.
    pub(super) fn count_delivered(&self, changes: usize) {
        self.told.0.delivered.fetch_add(changes as u64, Relaxed);
    }

    /// Counts a gap that a feed has told.
    pub(super) fn count_gap(&self) {
        self.told.0.gaps.fetch_add(1, Relaxed);
    }

    /// The counts of the whole server, of which so many changes were published.
    pub(super) fn of_server(&self, published: u64) -> FeedCounts {
        let told = &self.told.0;
        FeedCounts {
            published,
            delivered: told.delivered.load(Relaxed),
            gaps: told.gaps.load(Relaxed),
            flushes: told.flushes.load(Relaxed),
        }
    }

    /// The counts of a database's tables.
    pub(super) fn of_tables(&self, database: pg_sys::Oid) -> Vec<TableCounts> {
        let of_database = |table: &&OfTable| table.name.load(Acquire) >> 32 == u64::from(database.to_u32());
        let counts = |table: &OfTable| TableCounts {
            id: TableId((table.name.load(Acquire) as u32).cast_signed()),
            changes: table.changes.load(Relaxed),
            flushes: table.flushes.load(Relaxed),
        };
        self.tables.iter().filter(of_database).map(counts).collect()
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

/// The name under which a table is counted.
fn counted_as(database: pg_sys::Oid, table: TableId) -> u64 {
    u64::from(database.to_u32()) << 32 | u64::from(table.0.cast_unsigned())
}
