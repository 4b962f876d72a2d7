//! Whether Postgres is known to be away, so that nobody who can do without has to wait for it.

use crate::common::jittered;
use crate::common::lock::lock;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// How long it is between two who look whether it is back; each time in a row twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What questions have shown last.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    open: Option<Open>,
    answered_at: Option<Instant>,
}

/// Postgres does not answer.
#[derive(Clone, Copy, Debug)]
struct Open {
    next_at: Instant,
    pause: Duration,
}

impl Breaker {
    /// Postgres answered.
    pub(crate) fn answered(&self) {
        *lock(&self.0) = State { open: None, answered_at: Some(Instant::now()) };
    }

    /// Postgres did not answer.
    pub(crate) fn failed(&self) {
        // Those who had asked before it was known say nothing new.
        let _ = lock(&self.0)
            .open
            .get_or_insert_with(|| Open { next_at: Instant::now() + jittered(PAUSE_MIN), pause: PAUSE_MIN });
    }

    /// Postgres has not answered yet what was asked at `asked`. That is only one table's affair if others are answered.
    pub(crate) fn is_silent(&self, asked: Instant) {
        if lock(&self.0).answered_at.is_none_or(|at| at < asked) {
            self.failed();
        }
    }

    /// Whether Postgres is known to be away.
    pub(crate) fn is_away(&self) -> bool {
        lock(&self.0).open.is_some()
    }

    /// Whether it is the caller who looks whether Postgres is back: one at a time.
    pub(crate) fn may_look(&self) -> bool {
        let mut state = lock(&self.0);
        let now = Instant::now();
        let Some(Open { next_at, pause }) = &mut state.open else { return true };
        if now < *next_at {
            return false;
        }
        *pause = (2 * *pause).min(PAUSE_MAX);
        *next_at = now + jittered(*pause);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn while_it_is_away_one_looks_now_and_then() {
        let breaker = Breaker::default();
        assert!(!breaker.is_away() && breaker.may_look() && breaker.may_look());
        breaker.failed();
        let mut looked = 0;
        for _ in 0..2000 {
            tokio::time::advance(Duration::from_millis(10)).await;
            looked += u32::from(breaker.may_look());
            breaker.failed();
        }
        assert!(breaker.is_away());
        assert!((10..=26).contains(&looked), "{looked}");
        breaker.answered();
        assert!(!breaker.is_away() && breaker.may_look() && breaker.may_look());
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_that_is_slow_says_nothing_of_the_others() {
        let breaker = Breaker::default();
        let asked = Instant::now();
        tokio::time::advance(Duration::from_millis(10)).await;
        breaker.answered();
        breaker.is_silent(asked);
        assert!(!breaker.is_away());
        breaker.is_silent(Instant::now() + Duration::from_millis(1));
        assert!(breaker.is_away());
    }
}
