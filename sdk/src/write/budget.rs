//! The bounds of the buffer: how many patches, and how many bytes, may wait for Postgres.

use crate::common::lock::lock;
use crate::config::WhenFull;
use crate::error::{Error, ErrorKind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

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
    /// Whose turn it is to wait for room.
    turn: tokio::sync::Mutex<()>,
    is_wanted: AtomicBool,
    hurried: Notify,
    closed: AtomicBool,
}

/// Says that room is wanted while it lives.
struct Wanted<'a>(&'a AtomicBool);

impl<'a> Wanted<'a> {
    fn new(is_wanted: &'a AtomicBool) -> Wanted<'a> {
        is_wanted.store(true, Ordering::Release);
        Wanted(is_wanted)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Budget {
    pub(crate) fn new(entries_max: usize, bytes_max: usize, when_full: WhenFull) -> Budget {
        Budget {
            taken: Mutex::default(),
            entries_max,
            bytes_max,
            when_full,
            freed: Notify::new(),
            turn: tokio::sync::Mutex::default(),
            is_wanted: AtomicBool::new(false),
            hurried: Notify::new(),
            closed: AtomicBool::new(false),
        }
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
        if self.when_full == WhenFull::Refuse {
            let full = || Error::new(ErrorKind::Full, "the buffer of unwritten patches is full");
            return if self.try_take(bytes) { Ok(()) } else { Err(full()) };
        }
        // In the order of their arrival: nobody overtakes one who waits, and only the first of them is woken.
        if self.turn.try_lock().is_ok_and(|_turn| self.try_take(bytes)) {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let _wanted = Wanted::new(&self.is_wanted);
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.closed.load(Ordering::Acquire) {
                return Err(Error::closed());
            }
            if self.try_take(bytes) {
                return Ok(());
            }
            self.hurried.notify_waiters();
            freed.await;
        }
    }

    /// Whether somebody waits for room: what stands in line must not wait for more.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    /// Waits until somebody has to wait for room.
    pub(super) fn hurried(&self) -> Notified<'_> {
        self.hurried.notified()
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
