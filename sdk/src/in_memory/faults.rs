//! What goes wrong, when a test says so.

use crate::error::{Error, ErrorKind, Step};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Nothing answers, and connections are broken; its changes are waited for by feeds.
    pub(super) outage: watch::Sender<bool>,
    /// How often all connections were broken.
    pub(super) broken: watch::Sender<u64>,
    /// The feed says nothing, and nobody hears that it does not.
    pub(super) deaf: watch::Sender<bool>,
    /// So many more batches are applied, but their answers get lost.
    lost_replies: AtomicU32,
    slow: Mutex<Duration>,
    refused: AtomicBool,
}

impl Faults {
    /// Breaks all connections that there are.
    pub(super) fn break_connections(&self) {
        self.broken.send_modify(|number| *number += 1);
    }

    pub(super) fn lose_replies(&self, count: u32) {
        self.lost_replies.store(count, Ordering::Release);
    }

    /// Whether the answer to this batch gets lost.
    pub(super) fn loses_reply(&self) -> bool {
        let one_less = |count: u32| count.checked_sub(1);
        self.lost_replies.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok()
    }

    pub(super) fn set_slow(&self, time: Duration) {
        *self.slow.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    pub(super) fn refuse_writes(&self, refused: bool) {
        self.refused.store(refused, Ordering::Release);
    }

    /// What a question meets before it is answered.
    pub(super) async fn meet(&self, step: Step) -> Result<(), Error> {
        let slow = *self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        if slow > Duration::ZERO {
            tokio::time::sleep(slow).await;
        }
        if *self.outage.borrow() { Err(away(step)) } else { Ok(()) }
    }

    /// What a batch meets.
    pub(super) async fn meet_writing(&self, step: Step) -> Result<(), Error> {
        self.meet(step).await?;
        if self.refused.load(Ordering::Acquire) {
            return Err(Error::saying(step, "42501", "permission denied for the table"));
        }
        Ok(())
    }
}

pub(super) fn away(step: Step) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{step}: the database in memory is away, as a test has said"))
}

pub(super) fn broken(step: Step) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{step}: the connection was broken, as a test has said"))
}
