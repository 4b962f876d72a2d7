//! What a platform provides.

use core::sync::atomic::{AtomicU64, Ordering};

/// A word of shared memory.
pub trait Word {
    /// Reads it.
    fn load(&self, order: Ordering) -> u64;
    /// Writes it.
    fn store(&self, value: u64, order: Ordering);
    /// Sets bits, and says what it was.
    fn fetch_or(&self, bits: u64, order: Ordering) -> u64;
    /// Clears all but these bits, and says what it was.
    fn fetch_and(&self, bits: u64, order: Ordering) -> u64;
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        AtomicU64::store(self, value, order);
    }

    #[inline]
    fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
        AtomicU64::fetch_or(self, bits, order)
    }

    #[inline]
    fn fetch_and(&self, bits: u64, order: Ordering) -> u64 {
        AtomicU64::fetch_and(self, bits, order)
    }
}

/// The shared memory of a ring, its lock, and the latches of those who wait.
pub trait Memory {
    /// Words in it.
    type Word: Word;
    /// A change.
    type Entry: Copy;

    /// How many changes were ever published.
    fn head(&self) -> &Self::Word;
    /// How many entries there are; not 0.
    fn size(&self) -> u64;
    /// A bit for each listener that waits to be woken.
    fn armed(&self) -> &[Self::Word];
    /// Up to where a listener has read, as of when it last said so: at least when it arms itself.
    fn position(&self, listener: usize) -> &Self::Word;
    /// Runs `body` while nobody else is in [`Memory::exclusive`] or [`Memory::shared`].
    fn exclusive<T>(&self, body: impl FnOnce() -> T) -> T;
    /// Runs `body` while nobody is in [`Memory::exclusive`].
    fn shared<T>(&self, body: impl FnOnce() -> T) -> T;
    /// Writes entries from `place` on, which do not reach beyond the end; inside of [`Memory::exclusive`].
    fn copy_in(&self, place: usize, entries: &[Self::Entry]);
    /// Reads entries from `place` on, which do not reach beyond the end; inside of [`Memory::shared`].
    fn copy_out(&self, place: usize, into: &mut [Self::Entry]);
    /// A fence that is sequentially consistent.
    fn fence(&self);
    /// Wakes a listener, or lets its next wait end at once.
    fn set_latch(&self, listener: usize);
}
