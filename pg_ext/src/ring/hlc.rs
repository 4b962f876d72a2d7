//! The clock that hands out versions and stamps: one number in shared memory. Nothing that is met elsewhere raises it: anybody who may
//! insert a row could set it, and with it the versions of all others.

use super::memory;
use super::wall::now_micros;
use crate::pg::backend::OfBackend;
use cache_sync_core::hlc;
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// By how many microseconds the clock may run ahead of the wall clock before those who ask are slowed down.
const AHEAD_MAX: i64 = 1_000_000;
/// What is further ahead is no matter of asking: the wall clock was set back.
const SET_BACK: i64 = 10_000_000;
/// For so many microseconds more that it is ahead, each call takes one more: as many processors that do nothing but ask, with so many
/// calls each, hold it there, well below what is plausible after a restart.
const AHEAD_BY_PAUSE: i64 = 50_000;

/// The clock of a backend without the ring's memory: it rises within the backend only.
static OF_THIS_BACKEND: AtomicI64 = AtomicI64::new(0);

/// The last number that a row of this transaction got; none is 0.
static LAST_OF_TRANSACTION: OfBackend<Cell<i64>> = OfBackend::new(Cell::new(0));

/// The version of a row that is being inserted.
pub(crate) fn next_of_row() -> i64 {
    let next = next();
    LAST_OF_TRANSACTION.set(next);
    next
}

/// Whether a number is the one that this transaction's rows got last.
pub(crate) fn is_last_of_transaction(number: i64) -> bool {
    number != 0 && number == LAST_OF_TRANSACTION.get()
}

/// Forgets what the transaction's rows got, as it ends. It neither allocates nor fails.
pub(crate) fn end_of_transaction() {
    LAST_OF_TRANSACTION.set(0);
}

/// A number above every number handed out before.
pub(crate) fn next() -> i64 {
    let clock = clock();
    let now = now_micros();
    let mut last = clock.load(Relaxed);
    loop {
        let next = hlc::next(last, now);
        match clock.compare_exchange_weak(last, next, Relaxed, Relaxed) {
            Ok(_) => {
                if next - now > AHEAD_MAX {
                    slow_down(next - now);
                }
                return next;
            }
            Err(newer) => last = newer,
        }
    }
}

/// Takes time. Each number is above the one before, so who asks faster than microseconds pass would move everybody's clock ahead,
/// as far as he likes, and what is written then would not be plausible any more after a restart.
#[cold]
fn slow_down(ahead: i64) {
    if ahead < SET_BACK {
        let (begun, pause) = (Instant::now(), Duration::from_micros((ahead / AHEAD_BY_PAUSE) as u64));
        while begun.elapsed() < pause {
            std::hint::spin_loop();
        }
    }
}

/// Where the clock stands, without raising it.
pub(crate) fn now() -> i64 {
    clock().load(Relaxed).max(now_micros())
}

/// A number above every number handed out before, and above this one from elsewhere, if that is plausible.
pub(crate) fn next_above(number: i64) -> i64 {
    let next = next();
    if number >= next && plausible(number) { number.saturating_add(1) } else { next }
}

/// Whether a number may be believed: not negative and not further ahead of the clock than clocks of different hosts are.
pub(crate) fn plausible(number: i64) -> bool {
    // Most numbers met were handed out here, which the first comparison sees without asking for the time.
    number >= 0 && (number <= clock().load(Relaxed) || hlc::is_plausible(number, now()))
}

fn clock() -> &'static AtomicI64 {
    memory::clock().unwrap_or(&OF_THIS_BACKEND)
}
