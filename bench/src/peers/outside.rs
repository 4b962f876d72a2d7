//! Another program, which knows no cache: it writes by SQL at a rate that does not depend on what the nodes do.

use super::load::Field;
use crate::measure::thread_nanos;
use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Dice, Result};
use cache_sync_peers::Database;
use futures_util::future::try_join_all;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Between two writes that are due.
const PAUSE: Duration = Duration::from_millis(2);
/// How many it writes a second.
pub(super) const WRITES_PER_SECOND: f64 = 1000.0 / PAUSE.as_millis() as f64;
/// Writes that are under way at a time, where they take longer than that.
const WRITERS: usize = 8;

/// What it did in a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) writes: u64,
    /// Of its thread, which is one of the peer's process.
    pub(super) cpu_seconds: f64,
}

/// Writes for so long, on this thread and connections of its own.
pub(super) fn write(field: &Field, dsn: &str, time: Duration) -> Result<Written> {
    let before = thread_nanos();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (database, dice) = (Database::open(dsn)?, RefCell::new(Dice::new(now_ns() as u64)));
    let writes = runtime.block_on(at_rate(time, async || {
        let write = field.some_write(&mut dice.borrow_mut());
        database.write(write).await?;
        field.confirmed.commit(write.key, write.version);
        field.confirmed.confirm(write.key, write.version, 0);
        Ok(())
    }))?;
    drop(runtime);
    Ok(Written { writes, cpu_seconds: (thread_nanos() - before) / 1e9 })
}

/// Does something as often as it is due; what is late is made up for until the time is over. Says how often it was done.
async fn at_rate(time: Duration, once: impl AsyncFn() -> Result<()>) -> Result<u64> {
    let (start, begun, done) = (Instant::now(), Cell::new(0), Cell::new(0));
    let writer = async || {
        loop {
            let due = PAUSE * begun.get();
            // Nobody reads any more what would be written later.
            if due >= time || start.elapsed() >= time {
                return Ok(());
            }
            begun.set(begun.get() + 1);
            sleep_until(start + due).await;
            once().await?;
            done.set(done.get() + 1);
        }
    };
    try_join_all((0..WRITERS).map(|_| writer())).await.map(|_| done.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(400);
    const DUE: u64 = 200;
    /// A machine may be away just before the end.
    const TRIES_MAX: usize = 50;

    /// How often `once` was done in a try in which that was as often as it should be, or in the last one.
    async fn tried(once: impl AsyncFn() -> Result<()>) -> u64 {
        let mut writes = 0;
        for _ in 0..TRIES_MAX {
            writes = at_rate(TIME, &once).await.expect("nothing fails");
            assert!(writes <= DUE, "{writes} were not due");
            if writes == DUE {
                break;
            }
        }
        writes
    }

    #[tokio::test]
    async fn it_is_as_often_however_long_each_takes() {
        assert_eq!(tried(async || Ok(())).await, DUE);
        let slow = async || {
            tokio::time::sleep(2 * PAUSE).await;
            Ok(())
        };
        assert_eq!(tried(slow).await, DUE);
    }

    #[tokio::test]
    async fn what_is_late_is_made_up_for() {
        let calls = Cell::new(0);
        let held_up = async || {
            calls.set(calls.get() + 1);
            if calls.get() % 100 == 1 {
                std::thread::sleep(TIME / 4);
            }
            Ok(())
        };
        assert_eq!(tried(held_up).await, DUE);
    }

    #[tokio::test]
    async fn it_ends_in_time_though_not_all_is_done() {
        let begun = Instant::now();
        let stuck = async || {
            tokio::time::sleep(TIME / 2).await;
            Ok(())
        };
        let writes = at_rate(TIME, stuck).await.expect("nothing fails");
        assert!((WRITERS as u64..=3 * WRITERS as u64).contains(&writes), "{writes}");
        assert!(begun.elapsed() >= TIME);
    }
}
