//! The clock that hands out versions and stamps: one number in shared memory. Nothing that is met elsewhere raises it: anybody who may
//! insert a row could set it, and with it the versions of all others.

use super::memory;
use cache_sync_core::hlc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// The clock of a backend without the ring's memory: it rises within the backend only.
static OF_THIS_BACKEND: AtomicI64 = AtomicI64::new(0);

/// A number above every number handed out before.
pub(crate) fn next() -> i64 {
    let clock = clock();
    let now = wall_clock_micros();
    let mut last = clock.load(Relaxed);
    loop {
        let next = hlc::next(last, now);
        match clock.compare_exchange_weak(last, next, Relaxed, Relaxed) {
            Ok(_) => return next,
            Err(newer) => last = newer,
        }
    }
}

/// Where the clock stands, without raising it.
pub(crate) fn now() -> i64 {
    clock().load(Relaxed).max(wall_clock_micros())
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

fn wall_clock_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as i64)
}
