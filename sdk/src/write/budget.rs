//! The bounds of the buffer: how many patches, and how many bytes, may wait for Postgres.

use crate::common::lock::lock;
use crate::config::WhenFull;
use crate::error::{Error, ErrorKind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    entries: usize,
    bytes: usize,
}

/// What a client may buffer, for all its caches together.
#[derive(Debug)]
pub(crate) struct Budget {
    taken: Mutex<Taken>,
    entries_max: usize,
    bytes_max: usize,
    when_full: WhenFull,
    freed: Notify,
    closed: AtomicBool,
}

impl Budget {
    pub(crate) fn new(entries_max: usize, bytes_max: usize, when_full: WhenFull) -> Budget {
        let (freed, closed) = (Notify::new(), AtomicBool::new(false));
        Budget { taken: Mutex::default(), entries_max, bytes_max, when_full, freed, closed }
    }

    /// Takes room for one patch, waiting for it if the caller chose so.
    pub(super) async fn take(&self, bytes: usize) -> Result<(), Error> {
        if bytes > self.bytes_max {
            let max = self.bytes_max;
            return Err(Error::new(
                ErrorKind::RuleViolation,
                format!("a patch of {bytes} bytes exceeds buffer_bytes_max = {max}"),
            ));
        }
        while !self.try_take(bytes) {
            if self.when_full == WhenFull::Refuse {
                return Err(Error::new(ErrorKind::Full, "the buffer of unwritten patches is full"));
            }
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.closed.load(Ordering::Acquire) {
                return Err(Error::closed());
            }
            if self.try_take(bytes) {
                break;
            }
            freed.await;
        }
        Ok(())
    }

    fn try_take(&self, bytes: usize) -> bool {
        let mut taken = lock(&self.taken);
        let fits = taken.entries < self.entries_max && taken.bytes + bytes <= self.bytes_max;
        if fits {
            taken.entries += 1;
            taken.bytes += bytes;
        }
        fits
    }

    /// The patch for which room was taken became part of one that waits already, which grew by `grown` bytes.
    pub(super) fn merged(&self, reserved: usize, grown: isize) {
        let mut taken = lock(&self.taken);
        taken.entries -= 1;
        taken.bytes = taken.bytes.saturating_sub(reserved).saturating_add_signed(grown);
        drop(taken);
        self.freed.notify_waiters();
    }

    /// Nobody makes room any more: whoever waits for it hears so.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.freed.notify_waiters();
    }

    /// Gives back what one patch has taken.
    pub(super) fn give_back(&self, bytes: usize) {
        let mut taken = lock(&self.taken);
        taken.entries -= 1;
        taken.bytes -= bytes;
        drop(taken);
        self.freed.notify_waiters();
    }

    pub(crate) fn entries(&self) -> usize {
        lock(&self.taken).entries
    }

    pub(crate) fn bytes(&self) -> usize {
        lock(&self.taken).bytes
    }
}
