//! Rows in memory that may be dropped while they are being loaded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::record::Record;

/// What is held of rows. A load announces itself before it asks, and keeps what it brings only if the row was not dropped meanwhile:
/// else a change that is told between the answer and its arrival here would be lost on the way.
pub(crate) struct Held {
    rows: Cache<i64, Slot>,
    tickets: AtomicU64,
}

/// A load that is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

#[derive(Clone)]
enum Slot {
    Loading(Ticket),
    Row(Arc<Record>),
}

impl Held {
    /// At most so many rows, each for so long.
    pub(crate) fn new(rows: u64, time_to_live: Duration) -> Held {
        let rows = Cache::builder().max_capacity(rows).time_to_live(time_to_live).build();
        Held { rows, tickets: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self, key: i64) -> Option<Arc<Record>> {
        match self.rows.get(&key)? {
            Slot::Row(record) => Some(record),
            Slot::Loading(_) => None,
        }
    }

    /// Announces a load, before it asks. Of several the last one's row is held.
    pub(crate) fn begin(&self, key: i64) -> Ticket {
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed));
        self.rows.insert(key, Slot::Loading(ticket));
        ticket
    }

    /// Holds what a load brought, unless the row was dropped since it was announced.
    pub(crate) fn end(&self, key: i64, ticket: Ticket, record: &Arc<Record>) {
        self.rows.entry(key).and_compute_with(|entry| match entry.map(moka::Entry::into_value) {
            Some(Slot::Loading(now)) if now == ticket => Op::Put(Slot::Row(Arc::clone(record))),
            _ => Op::Nop,
        });
    }

    pub(crate) fn forget(&self, key: i64) {
        self.rows.invalidate(&key);
    }

    pub(crate) fn forget_all(&self) {
        self.rows.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_while_it_was_loaded_is_not_held() {
        let (held, record) = (Held::new(10, Duration::from_secs(60)), Arc::new(Record::filled(1, "x")));
        let load = |meanwhile: &dyn Fn()| {
            let ticket = held.begin(7);
            meanwhile();
            held.end(7, ticket, &record);
            held.get(7).is_some()
        };
        assert!(load(&|| ()));
        assert!(!load(&|| held.forget(7)));
        assert!(!load(&|| held.forget_all()));
        assert!(!load(&|| assert!(held.begin(7) != held.begin(7))));
        assert!(load(&|| held.forget(8)));
    }
}
