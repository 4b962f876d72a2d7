//! Everything that a database in memory holds, as of one moment.

use super::rows::{self, Key, Row};
use super::table::Defined;
use crate::common::time::Time;
use cache_sync_core::hlc;
use cache_sync_core::number::{Epoch, Fence, HostTime, Position, Sequence, Stamp, TableId, Version};
use cache_sync_core::wire::{Change, ChangeKind};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// So many changes are kept for who subscribes again.
const LOG_MAX: usize = 65_536;

/// A table with its rows.
pub(super) struct Stored {
    pub(super) table: Defined,
    pub(super) rows: BTreeMap<Key, Row>,
}

impl Stored {
    /// Those that have not expired: what has counts as removed.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&Key, &Row)> {
        let now = wall_micros();
        self.rows.iter().filter(move |(_, row)| row.is_there(&self.table, now))
    }

    /// The row of this key, if it has not expired.
    pub(super) fn row(&self, key: &Key) -> Option<&Row> {
        self.rows.get(key).filter(|row| row.is_there(&self.table, wall_micros()))
    }
}

/// A client's line of batches to a table.
pub(super) struct Session {
    pub(super) fence: Fence,
    pub(super) last: Sequence,
    /// The last batch, and what it was answered.
    pub(super) answered: Option<(Vec<String>, Vec<u8>)>,
}

/// A write that was refused.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its number, as [`Outcome::dead_letter`](crate::Outcome) tells it.
    pub id: i64,
    /// The table.
    pub table: String,
    /// The SQLSTATE.
    pub sqlstate: String,
    /// Why.
    pub message: String,
    /// The constraint that was violated, if it was one.
    pub constraint: Option<String>,
    pub(super) session: Uuid,
    pub(super) sequence: i64,
    pub(super) place: usize,
}

pub(super) struct State {
    pub(super) tables: Vec<Stored>,
    pub(super) sessions: HashMap<(u32, Uuid), Session>,
    pub(super) letters: Vec<DeadLetter>,
    pub(super) fences: i64,
    pub(super) epoch: Epoch,
    /// How many changes there were; the last ones are kept.
    pub(super) position: Position,
    log: VecDeque<Change>,
    hlc: i64,
    time: Time,
}

impl State {
    pub(super) fn new(tables: Vec<Stored>) -> State {
        State {
            tables,
            sessions: HashMap::new(),
            letters: Vec::new(),
            fences: 0,
            epoch: new_epoch(),
            position: Position(0),
            log: VecDeque::new(),
            hlc: 0,
            time: Time::default(),
        }
    }

    /// As if it had crashed and come back: nothing is lost but what the feed could have told.
    pub(super) fn restart(&mut self) {
        self.epoch = new_epoch();
        self.position = Position(0);
        self.log.clear();
    }

    /// The next number of the clock that versions and stamps are of.
    pub(super) fn tick(&mut self) -> i64 {
        self.hlc = hlc::next(self.hlc, wall_micros());
        self.hlc
    }

    /// What that clock shows.
    pub(super) fn hlc(&self) -> Stamp {
        Stamp(self.hlc.max(wall_micros()))
    }

    /// What the clock of the database's host shows.
    pub(super) fn host_time(&self) -> HostTime {
        HostTime(self.time.now().micros())
    }

    /// The table of this name, which may have its schema ahead and may be quoted.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        let folded = |part: &str| match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => part.to_lowercase(),
        };
        let name = name.strip_prefix("public.").or_else(|| name.strip_prefix("\"public\".")).unwrap_or(name);
        let name = folded(name);
        self.tables.iter().position(|stored| stored.table.meta.name == name)
    }

    pub(super) fn of_relation(&self, relation: u32) -> Option<usize> {
        self.tables.iter().position(|stored| stored.table.meta.relation == relation)
    }

    /// A row that has not expired.
    pub(super) fn row(&self, table: usize, key: &Key) -> Option<&Row> {
        self.tables[table].row(key)
    }

    /// The rows of all tables that have not expired, as JSON.
    pub(super) fn all_rows(&self) -> BTreeMap<String, Vec<Value>> {
        let of = |stored: &Stored| {
            let table = &stored.table;
            (table.meta.name.clone(), stored.rows().map(|(_, row)| row.to_json(table)).collect())
        };
        self.tables.iter().map(of).collect()
    }

    /// When the next row of these tables expires.
    pub(super) fn next_expiry(&self, tables: &[String]) -> Option<Duration> {
        let now = wall_micros();
        let of_tables = self.tables.iter().filter(|stored| tables.contains(&stored.table.meta.name));
        let ends =
            of_tables.flat_map(|Stored { table, rows }| rows.values().filter_map(|row| row.expires_in(table, now)));
        ends.filter_map(|micros| u64::try_from(micros).ok().filter(|micros| *micros > 0))
            .min()
            .map(Duration::from_micros)
    }

    /// Puts what a write has made in the place of what was there, and tells the feed. Returns the version.
    pub(super) fn put(&mut self, table: usize, key: &Key, after: Option<Row>) -> i64 {
        let version = self.tick();
        let Stored { table, rows } = &mut self.tables[table];
        let versioned = table.meta.versioned;
        let (of, hash) = (table.meta.table_id, rows::hash(key, table));
        let is_there = after.is_some();
        let was_there = match after {
            Some(row) => {
                rows.insert(key.clone(), Row { version: if versioned { version } else { 0 }, ..row }).is_some()
            }
            None => {
                rows.remove(key);
                false
            }
        };
        let kind = if was_there && versioned { ChangeKind::Versioned } else { ChangeKind::Unversioned };
        // Of a row that is gone no version is told.
        let told = if versioned && is_there { Version(version) } else { Version::NONE };
        self.tell(Change { table: of, key: hash, version: told, kind });
        if versioned { version } else { 0 }
    }

    /// Everything in the table has changed.
    pub(super) fn tell_flush(&mut self, table: TableId) {
        let key = cache_sync_core::number::KeyHash(0);
        self.tell(Change { table, key, version: Version::NONE, kind: ChangeKind::FlushTable });
    }

    fn tell(&mut self, change: Change) {
        self.position.0 += 1;
        self.log.push_back(change);
        if self.log.len() > LOG_MAX {
            self.log.pop_front();
        }
    }

    /// What has changed since; `None`: that is no longer known.
    pub(super) fn since(&self, position: Position) -> Option<impl Iterator<Item = &Change>> {
        let count = usize::try_from(self.position.0.checked_sub(position.0)?).ok()?;
        let first = self.log.len().checked_sub(count)?;
        Some(self.log.range(first..))
    }
}

/// Microseconds since 1970.
pub(super) fn wall_micros() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "it is the database's own clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// No two are the same, nor 0.
fn new_epoch() -> Epoch {
    Epoch((Uuid::new_v4().as_u128() as u64 >> 12) | 1)
}
