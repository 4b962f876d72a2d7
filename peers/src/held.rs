//! Rows in memory that may be dropped while they are being loaded.

use std::sync::Arc;
use std::time::Duration;

use cache_sync_kit::Result;
use moka::ops::compute::Op;
use moka::sync::Cache;
use tokio::sync::OnceCell;

use crate::record::Record;

/// What is held of rows. Who misses joins the load of those who missed before. A load is announced before anybody asks, and what it brings
/// is kept only if the row was not dropped meanwhile: else a change that is told between the answer and its arrival here would be lost
/// on the way. Who misses after the drop begins a load of his own.
pub(crate) struct Held(Cache<i64, Slot>);

/// What a load brought, once it has. `None`: there is no such row.
type Load = OnceCell<Option<Arc<Record>>>;

#[derive(Clone)]
enum Slot {
    Loading(Arc<Load>),
    Row(Arc<Record>),
}

impl Held {
    /// At most so many rows, each for so long.
    pub(crate) fn new(rows: u64, time_to_live: Duration) -> Held {
        Held(Cache::builder().max_capacity(rows).time_to_live(time_to_live).build())
    }

    /// The row, which `load` brings if it is not held and nobody else is loading it. Where a load fails the next one who waits tries.
    pub(crate) async fn read<F: Future<Output = Result<Option<Arc<Record>>>>>(
        &self,
        key: i64,
        load: impl FnOnce() -> F,
    ) -> Result<Option<Arc<Record>>> {
        let load_of_all = match self.0.get_with(key, || Slot::Loading(Arc::default())) {
            Slot::Row(record) => return Ok(Some(record)),
            Slot::Loading(load) => load,
        };
        let brought = load_of_all.get_or_try_init(load).await?.clone();
        self.0.entry(key).and_compute_with(|entry| match entry.map(moka::Entry::into_value) {
            Some(Slot::Loading(now)) if Arc::ptr_eq(&now, &load_of_all) => match &brought {
                Some(record) => Op::Put(Slot::Row(Arc::clone(record))),
                None => Op::Remove,
            },
            _ => Op::Nop,
        });
        Ok(brought)
    }

    pub(crate) fn forget(&self, key: i64) {
        self.0.invalidate(&key);
    }

    pub(crate) fn forget_all(&self) {
        self.0.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn held() -> Held {
        Held::new(10, Duration::from_secs(60))
    }

    fn record(version: i64) -> Option<Arc<Record>> {
        Some(Arc::new(Record::filled(version, "x")))
    }

    async fn version(held: &Held, loaded: i64) -> i64 {
        let read = held.read(7, async || Ok(record(loaded))).await;
        read.expect("a load").expect("a row").version
    }

    #[tokio::test]
    async fn what_was_dropped_while_it_was_loaded_is_not_held() {
        let is_held_after = async |meanwhile: &dyn Fn(&Held)| {
            let held = held();
            let load = async || {
                meanwhile(&held);
                Ok(record(1))
            };
            assert_eq!(held.read(7, load).await.expect("a load"), record(1));
            version(&held, 2).await == 1
        };
        assert!(is_held_after(&|_| ()).await);
        assert!(!is_held_after(&|held| held.forget(7)).await);
        assert!(!is_held_after(&|held| held.forget_all()).await);
        assert!(is_held_after(&|held| held.forget(8)).await);
    }

    #[tokio::test]
    async fn who_misses_meanwhile_waits_for_the_same_load_unless_the_row_was_dropped() {
        let (held, loads) = (held(), Cell::new(0));
        let load = async || {
            loads.set(loads.get() + 1);
            let number = loads.get();
            tokio::task::yield_now().await;
            Ok(record(number))
        };
        let (first, second) = tokio::join!(held.read(7, load), held.read(7, load));
        assert_eq!((first.expect("a load"), second.expect("a load"), loads.get()), (record(1), record(1), 1));
        held.forget(7);
        let after_a_drop = async {
            held.forget(7);
            held.read(7, load).await
        };
        let (before, after) = tokio::join!(held.read(7, load), after_a_drop);
        assert_eq!((before.expect("a load"), after.expect("a load"), loads.get()), (record(2), record(3), 3));
        assert_eq!(version(&held, 4).await, 3, "the older one is held");
    }

    #[tokio::test]
    async fn neither_a_failure_nor_a_missing_row_is_held() {
        let held = held();
        assert!(held.read(7, async || Err("no answer".into())).await.is_err());
        assert_eq!(held.read(7, async || Ok(None)).await.expect("a load"), None);
        assert_eq!(version(&held, 1).await, 1);
    }
}
