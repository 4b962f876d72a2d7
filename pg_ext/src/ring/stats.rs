//! What is counted of the feed since the server started, for operators. But for what `commits` has, with atomics, apart from the
//! ring's lock.

use super::entry::Entry;
use super::line::OwnCacheLine;
use super::wall;
use cache_sync_core::number::TableId;
use cache_sync_core::outcome::Record;
use cache_sync_core::wire::ChangeKind;
use pgrx::pg_sys;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};
use std::time::Duration;

/// Most tables that are counted by themselves, in all databases together; those that change first have the places.
const TABLES_MAX: usize = 1_024;
/// Places looked at for a table.
const STEPS_MAX: usize = 64;

/// How many kinds of outcomes there are.
pub(crate) const VERDICTS: usize = 8;
/// An SQLSTATE as Postgres packs it.
const SQLSTATE_BITS: u32 = 30;

/// One table's counts; free while `name` is 0. What commits of plain SQL write comes first, in one cache line.
#[repr(C, align(64))]
struct OfTable {
    /// The database in the upper half, which is never 0, and the table's number.
    name: AtomicU64,
    changes: AtomicU64,
    flushes: AtomicU64,
    /// Under which of the extensions that the database has had this is counted.
    incarnation: AtomicU32,
    /// Since when it is counted, in microseconds since 1970.
    since: AtomicI64,
    batches: AtomicU64,
    apply_micros: AtomicU64,
    apply_micros_max: AtomicU64,
    failures: AtomicU64,
    verdicts: [AtomicU64; VERDICTS],
    /// When a batch failed last, in seconds since 1970, above why; in one number, so that nobody sees half of another failure.
    last_failure: AtomicU64,
}

/// What a table is counted as.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Name {
    /// The database in the upper half, which is never 0, and the table's number.
    table: u64,
    /// Which of the extensions that the database has had, one after the other, gave it the number; 0: not known.
    incarnation: u32,
}

/// What a transaction has applied to a table.
pub(super) struct Applied {
    /// What the table is counted as.
    pub(super) name: Name,
    batches: u64,
    micros: u64,
    micros_max: u64,
    verdicts: [u64; VERDICTS],
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
    /// How often something was not counted by its table, for want of a place.
    uncounted: AtomicU64,
    /// Since when all this is counted, in microseconds since 1970, and how much had been published then.
    since: AtomicI64,
    published_before: AtomicU64,
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
    /// How often something was not counted by its table, for want of a place.
    pub(crate) uncounted: u64,
    /// Since when all this is counted, in microseconds since 1970.
    pub(crate) since: i64,
}

/// The counts of a table.
pub(crate) struct TableCounts {
    /// The table's number.
    pub(crate) id: TableId,
    /// Its changes that were committed.
    pub(crate) changes: u64,
    /// Among them: the table as a whole.
    pub(crate) flushes: u64,
    /// Since when all this is counted, in microseconds since 1970.
    pub(crate) since: i64,
    /// Batches that were applied.
    pub(crate) batches: u64,
    /// How long they took, all together.
    pub(crate) apply_micros: u64,
    /// How long the one took that took longest.
    pub(crate) apply_micros_max: u64,
    /// Patches by their outcomes, by the outcomes' numbers.
    pub(crate) verdicts: [u64; VERDICTS],
    /// Tries of batches that failed.
    pub(crate) failures: u64,
    /// When one failed last, in seconds since 1970, and why.
    pub(crate) last_failure: Option<(i64, [u8; 5])>,
}

impl Applied {
    /// Nothing yet.
    pub(super) fn none(name: Name) -> Applied {
        Applied { name, batches: 0, micros: 0, micros_max: 0, verdicts: [0; VERDICTS] }
    }

    /// Adds patches.
    pub(super) fn add(&mut self, records: &[Record]) {
        records.iter().for_each(|record| self.verdicts[record.verdict as usize] += 1);
    }

    /// Adds a batch that took so long.
    pub(super) fn add_batch(&mut self, took: Duration) {
        let micros = took.as_micros() as u64;
        self.batches += 1;
        self.micros += micros;
        self.micros_max = self.micros_max.max(micros);
    }
}

impl Stats {
    /// Begins to count.
    pub(super) fn begin(&self) {
        self.told.0.since.store(wall::now_micros(), Relaxed);
    }

    /// Counts by tables what is published. Called from the commit callback: it neither allocates nor fails.
    pub(super) fn count_published(&self, entries: &[Entry]) {
        for of_table in entries.chunk_by(|one, next| one.table == next.table) {
            let Some(first) = of_table.first() else { continue };
            let flushes = of_table.iter().filter(|entry| entry.kind == ChangeKind::FlushTable).count() as u64;
            if flushes > 0 {
                self.told.0.flushes.fetch_add(flushes, Relaxed);
            }
            if let Some(table) = self.table(Name::new(first.database, first.table, first.incarnation)) {
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

    /// Counts what a transaction has applied. Called from a commit callback: it neither allocates nor fails.
    pub(super) fn count_applied(&self, applied: &Applied) {
        let Some(table) = self.table(applied.name) else { return };
        table.batches.fetch_add(applied.batches, Relaxed);
        table.apply_micros.fetch_add(applied.micros, Relaxed);
        table.apply_micros_max.fetch_max(applied.micros_max, Relaxed);
        for (count, more) in table.verdicts.iter().zip(applied.verdicts) {
            count.fetch_add(more, Relaxed);
        }
    }

    /// Counts that a batch failed.
    pub(super) fn count_failure(&self, name: Name, sqlstate: [u8; 5], now: i64) {
        let Some(table) = self.table(name) else { return };
        let code = sqlstate.iter().rev().fold(0, |code, byte| (code << 6) | u64::from(byte.wrapping_sub(b'0') & 0x3f));
        table.failures.fetch_add(1, Relaxed);
        table.last_failure.store(((now / 1_000_000) as u64) << SQLSTATE_BITS | code, Relaxed);
    }

    /// Counts a table anew.
    pub(super) fn reset_table(&self, name: Name) {
        if let Some(table) = self.table(name) {
            table.reset();
        }
    }

    /// Counts anew what is counted of the whole server, of which so many changes were published.
    pub(super) fn reset_server(&self, published: u64) {
        let told = &self.told.0;
        [&told.delivered, &told.gaps, &told.flushes, &told.uncounted]
            .into_iter()
            .for_each(|count| count.store(0, Relaxed));
        told.published_before.store(published, Relaxed);
        self.begin();
    }

    /// The counts of the whole server, of which so many changes were published.
    pub(super) fn of_server(&self, published: u64) -> FeedCounts {
        let told = &self.told.0;
        FeedCounts {
            published: published.saturating_sub(told.published_before.load(Relaxed)),
            delivered: told.delivered.load(Relaxed),
            gaps: told.gaps.load(Relaxed),
            flushes: told.flushes.load(Relaxed),
            uncounted: told.uncounted.load(Relaxed),
            since: told.since.load(Relaxed),
        }
    }

    /// The counts of a database's tables, under the extension that is there now.
    pub(super) fn of_tables(&self, database: pg_sys::Oid, incarnation: u32) -> Vec<TableCounts> {
        let name =
            |table: &OfTable| Name { table: table.name.load(Acquire), incarnation: table.incarnation.load(Acquire) };
        self.tables.iter().filter(|table| name(table).is_of(database, incarnation)).map(OfTable::counts).collect()
    }

    /// Where a table is counted; takes a place for one that is new. `None` when there is none left.
    fn table(&self, name: Name) -> Option<&OfTable> {
        let first = (name.table.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - TABLES_MAX.ilog2())) as usize;
        let mut places = (first..first + STEPS_MAX).map(|place| &self.tables[place % TABLES_MAX]);
        let found = places.find(|place| match place.name.load(Acquire) {
            0 => match place.name.compare_exchange(0, name.table, AcqRel, Acquire) {
                Ok(_) => {
                    place.since.store(wall::now_micros(), Relaxed);
                    true
                }
                Err(taken) => taken == name.table,
            },
            taken => taken == name.table,
        });
        match found {
            // What was counted under the number before is of another table.
            Some(table) => {
                let is_other = name.incarnation != 0 && table.incarnation.load(Acquire) != name.incarnation;
                if is_other && table.incarnation.swap(name.incarnation, AcqRel) != name.incarnation {
                    table.reset();
                }
            }
            None => drop(self.told.0.uncounted.fetch_add(1, Relaxed)),
        }
        found
    }
}

impl OfTable {
    fn reset(&self) {
        let counts = [
            &self.changes,
            &self.flushes,
            &self.batches,
            &self.apply_micros,
            &self.apply_micros_max,
            &self.failures,
            &self.last_failure,
        ];
        counts.into_iter().chain(&self.verdicts).for_each(|count| count.store(0, Relaxed));
        self.since.store(wall::now_micros(), Relaxed);
    }

    fn counts(&self) -> TableCounts {
        let last_failure = self.last_failure.load(Relaxed);
        let sqlstate = std::array::from_fn(|place| ((last_failure >> (6 * place)) & 0x3f) as u8 + b'0');
        TableCounts {
            id: TableId((self.name.load(Acquire) as u32).cast_signed()),
            changes: self.changes.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
            since: self.since.load(Relaxed),
            batches: self.batches.load(Relaxed),
            apply_micros: self.apply_micros.load(Relaxed),
            apply_micros_max: self.apply_micros_max.load(Relaxed),
            verdicts: std::array::from_fn(|verdict| self.verdicts[verdict].load(Relaxed)),
            failures: self.failures.load(Relaxed),
            last_failure: (last_failure != 0).then_some(((last_failure >> SQLSTATE_BITS) as i64, sqlstate)),
        }
    }
}

impl Name {
    /// Of a table of this database.
    pub(crate) fn of(table: TableId, incarnation: u32) -> Name {
        // SAFETY: a plain read of the number of the database that this backend is connected to.
        Name::new(unsafe { pg_sys::MyDatabaseId }, table, incarnation)
    }

    fn new(database: pg_sys::Oid, table: TableId, incarnation: u32) -> Name {
        let table = u64::from(database.to_u32()) << 32 | u64::from(table.0.cast_unsigned());
        Name { table, incarnation }
    }

    /// The table's number.
    pub(super) fn id(self) -> TableId {
        TableId((self.table as u32).cast_signed())
    }

    /// Whether it is of this database and of the extension that is there now.
    pub(super) fn is_of(self, database: pg_sys::Oid, incarnation: u32) -> bool {
        self.table >> 32 == u64::from(database.to_u32()) && [0, incarnation].contains(&self.incarnation)
    }

    /// Whether it names the same table, whoever gave it the number.
    pub(super) fn is_number_of(self, other: Name) -> bool {
        self.table == other.table
    }

    /// Whether a place with this name is free.
    pub(super) fn is_none(self) -> bool {
        self.table == 0
    }
}
