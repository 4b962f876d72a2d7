//! The bounds of the buffer: how many patches, and how many bytes, may wait for Postgres; of all caches of a client, and of one of them
//! that has bounds of its own.

use crate::common::lock::lock;
use crate::config::{Buffer, WhenFull};
use crate::error::{Error, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, TryAcquireError};

/// What a client may buffer, for all its caches together; or what one of them may. Those who wait for room get it in the order of their arrival, each as it
/// becomes free, whether he is being polled or not: one who does not look keeps nobody else waiting.
#[derive(Debug)]
pub(crate) struct Budget {
    room: Room,
    bytes_max: usize,
    when_full: WhenFull,
    entries: AtomicUsize,
    bytes: AtomicUsize,
    /// How many wait for room.
    waiting: AtomicUsize,
    hurried: Notify,
    /// That of the client, in which there must be room too.
    whole: Option<Arc<Budget>>,
    /// Those of its caches that have their own.
    parts: Mutex<Vec<Weak<Budget>>>,
}

/// What is free.
#[derive(Debug)]
struct Room {
    entries: Semaphore,
    bytes: Semaphore,
    /// Bytes by which patches grew beyond what there was when they became one; they are paid for with what is given back.
    owed: AtomicUsize,
}

/// Says that somebody waits for room while it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Waiting<'a> {
        waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Room {
    fn try_take(&self, bytes: u32) -> Result<[SemaphorePermit<'_>; 2], TryAcquireError> {
        Ok([self.entries.try_acquire()?, self.bytes.try_acquire_many(bytes)?])
    }

    /// Gives bytes back, of which those that are owed are not free.
    fn free(&self, bytes: usize) {
        let pay = |owed: usize| Some(owed - owed.min(bytes));
        let owed = self.owed.fetch_update(Ordering::AcqRel, Ordering::Acquire, pay).unwrap_or_default();
        self.bytes.add_permits(bytes - owed.min(bytes));
    }

    /// Takes bytes that may not be there.
    fn overdraw(&self, bytes: usize) {
        let taken = self.bytes.forget_permits(bytes);
        self.owed.fetch_add(bytes - taken, Ordering::AcqRel);
    }
}

impl Budget {
    pub(crate) fn new(buffer: Buffer) -> Budget {
        let Buffer { entries_max, bytes_max, when_full } = buffer;
        Budget {
            room: Room {
                entries: Semaphore::new(entries_max),
                bytes: Semaphore::new(bytes_max),
                owed: AtomicUsize::new(0),
            },
            bytes_max,
            when_full,
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            hurried: Notify::new(),
            whole: None,
            parts: Mutex::default(),
        }
    }

    /// One for a part of what this one is for.
    pub(crate) fn part(self: &Arc<Budget>, buffer: Buffer) -> Arc<Budget> {
        let part = Arc::new(Budget { whole: Some(self.clone()), ..Budget::new(buffer) });
        let mut parts = lock(&self.parts);
        parts.retain(|part| part.strong_count() > 0);
        parts.push(Arc::downgrade(&part));
        part
    }

    /// Takes room for one patch, waiting for it if the caller chose so.
    pub(super) async fn take(&self, bytes: usize) -> Result<(), Error> {
        let permits = self.room(bytes, self.when_full).await?;
        if let Some(whole) = &self.whole {
            // Who gives up waiting here gives back what he has there.
            let of_whole = whole.room(bytes, self.when_full).await?;
            whole.taken(bytes, of_whole);
        }
        self.taken(bytes, permits);
        Ok(())
    }

    fn taken(&self, bytes: usize, permits: [SemaphorePermit<'_>; 2]) {
        permits.into_iter().for_each(SemaphorePermit::forget);
        self.entries.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    async fn room(&self, bytes: usize, when_full: WhenFull) -> Result<[SemaphorePermit<'_>; 2], Error> {
        let Some(wanted) = u32::try_from(bytes).ok().filter(|_| bytes <= self.bytes_max) else {
            let max = self.bytes_max;
            let message = format!("a write that takes {bytes} bytes of the buffer exceeds buffer_bytes_max = {max}");
            return Err(Error::new(ErrorKind::TooLarge, message));
        };
        match self.room.try_take(wanted) {
            Err(TryAcquireError::NoPermits) if when_full == WhenFull::Wait => self.wait(wanted).await,
            Err(TryAcquireError::NoPermits) => {
                Err(Error::new(ErrorKind::Full, "the buffer of unwritten patches is full"))
            }
            Err(TryAcquireError::Closed) => Err(Error::closed()),
            Ok(permits) => Ok(permits),
        }
    }

    async fn wait(&self, bytes: u32) -> Result<[SemaphorePermit<'_>; 2], Error> {
        let _waiting = Waiting::new(&self.waiting);
        self.hurry();
        let entry = self.room.entries.acquire().await.map_err(|_| Error::closed())?;
        Ok([entry, self.room.bytes.acquire_many(bytes).await.map_err(|_| Error::closed())?])
    }

    fn hurry(&self) {
        self.hurried.notify_waiters();
        self.each_part(Budget::hurry);
    }

    fn each_part(&self, of: impl Fn(&Budget)) {
        let parts: Vec<_> = lock(&self.parts).iter().filter_map(Weak::upgrade).collect();
        parts.iter().for_each(|part| of(part));
    }

    /// Whether somebody waits for room: what stands in line must not wait for more.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0 || self.whole.as_ref().is_some_and(|whole| whole.is_wanted())
    }

    /// Waits until somebody has to wait for room.
    pub(super) fn hurried(&self) -> Notified<'_> {
        self.hurried.notified()
    }

    /// The patch for which room was taken became part of one that waits already, which grew by `grown` bytes.
    pub(super) fn merged(&self, reserved: usize, grown: isize) {
        self.whole.iter().for_each(|whole| whole.merged(reserved, grown));
        self.entries.fetch_sub(1, Ordering::AcqRel);
        match usize::try_from(grown).unwrap_or_default().checked_sub(reserved) {
            Some(more) => {
                self.bytes.fetch_add(more, Ordering::AcqRel);
                self.room.overdraw(more);
            }
            None => self.release(reserved.saturating_add_signed(-grown)),
        }
        self.room.entries.add_permits(1);
    }

    /// Nobody makes room any more: whoever waits for it hears so.
    pub(crate) fn close(&self) {
        self.room.entries.close();
        self.room.bytes.close();
        self.each_part(Budget::close);
    }

    /// Gives back what one patch has taken.
    pub(super) fn give_back(&self, bytes: usize) {
        self.whole.iter().for_each(|whole| whole.give_back(bytes));
        self.entries.fetch_sub(1, Ordering::AcqRel);
        self.release(bytes);
        self.room.entries.add_permits(1);
    }

    fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.room.free(bytes);
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries.load(Ordering::Acquire)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn buffer(entries_max: usize, when_full: WhenFull) -> Buffer {
        Buffer { entries_max, bytes_max: 100, when_full }
    }

    fn budget(entries_max: usize, when_full: WhenFull) -> Arc<Budget> {
        Arc::new(Budget::new(buffer(entries_max, when_full)))
    }

    #[test]
    fn one_who_does_not_look_keeps_nobody_else_waiting() {
        let budget = budget(2, WhenFull::Wait);
        for _ in 0..2 {
            budget.take(10).now_or_never().unwrap().unwrap();
        }
        assert!(!budget.is_wanted());
        let (mut one, mut other) = (Box::pin(budget.take(10)), Box::pin(budget.take(10)));
        assert!((&mut one).now_or_never().is_none() && (&mut other).now_or_never().is_none());
        assert!(budget.is_wanted());
        budget.give_back(10);
        assert!((&mut other).now_or_never().is_none(), "the first one has it");
        budget.give_back(10);
        (&mut other).now_or_never().expect("he waits for one who does not look").unwrap();
        (&mut one).now_or_never().unwrap().unwrap();
        assert_eq!((budget.entries(), budget.bytes()), (2, 20));
    }

    #[test]
    fn what_patches_grow_and_shrink_by_is_counted_and_paid_for() {
        let budget = budget(10, WhenFull::Refuse);
        let take = |bytes| budget.take(bytes).now_or_never().unwrap();
        take(60).unwrap();
        take(30).unwrap();
        // It took 30, and made the other one 50 bytes larger: 10 bytes more than there are.
        budget.merged(30, 50);
        assert_eq!((budget.entries(), budget.bytes()), (1, 110));
        assert!(take(1).unwrap_err().is_full());
        budget.give_back(110);
        take(100).unwrap();
        assert!(take(1).unwrap_err().is_full());
        budget.give_back(100);
        // One that becomes smaller.
        take(60).unwrap();
        take(30).unwrap();
        budget.merged(30, -20);
        assert_eq!((budget.entries(), budget.bytes()), (1, 40));
        take(60).unwrap();
        assert!(take(1).unwrap_err().is_full());
        assert!(take(101).unwrap_err().is_too_large());
    }

    #[test]
    fn nobody_waits_for_one_that_is_closed() {
        let budget = budget(1, WhenFull::Wait);
        budget.take(10).now_or_never().unwrap().unwrap();
        let mut waiting = Box::pin(budget.take(10));
        assert!((&mut waiting).now_or_never().is_none());
        budget.close();
        assert!((&mut waiting).now_or_never().unwrap().unwrap_err().is_closed());
        assert!(budget.take(1).now_or_never().unwrap().unwrap_err().is_closed());
        budget.give_back(10);
        assert_eq!((budget.entries(), budget.bytes()), (0, 0));
    }

    /// One of a cache's own leaves room for the others, and takes none that is not there.
    #[test]
    fn a_part_is_bounded_by_itself_and_by_the_whole() {
        let whole = budget(3, WhenFull::Wait);
        let part = whole.part(buffer(2, WhenFull::Refuse));
        let take = |of: &Budget| of.take(10).now_or_never();
        take(&part).unwrap().unwrap();
        take(&part).unwrap().unwrap();
        assert!(take(&part).unwrap().unwrap_err().is_full(), "by itself");
        assert_eq!((whole.entries(), whole.bytes()), (2, 20));
        take(&whole).unwrap().unwrap();
        part.give_back(10);
        take(&whole).unwrap().unwrap();
        assert!(take(&part).unwrap().unwrap_err().is_full(), "by the whole, as the part says");
        whole.give_back(10);
        take(&part).unwrap().expect("what it could not use was given back");
        part.merged(10, -5);
        assert_eq!((part.entries(), part.bytes(), whole.entries(), whole.bytes()), (1, 5, 2, 15));
    }

    #[test]
    fn who_waits_for_the_whole_holds_nothing_once_he_has_left() {
        let whole = budget(1, WhenFull::Wait);
        let part = whole.part(buffer(1, WhenFull::Wait));
        whole.take(10).now_or_never().unwrap().unwrap();
        let waiting = part.take(10).now_or_never();
        assert!(waiting.is_none());
        whole.give_back(10);
        part.take(10).now_or_never().expect("the first one has left").unwrap();
        assert!(!part.is_wanted());
        let mut waiting = Box::pin(part.take(10));
        assert!((&mut waiting).now_or_never().is_none());
        assert!(part.is_wanted() && !whole.is_wanted(), "others need not hurry");
        whole.close();
        assert!((&mut waiting).now_or_never().unwrap().unwrap_err().is_closed());
    }
}
