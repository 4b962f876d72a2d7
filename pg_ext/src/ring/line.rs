//! A cache line of its own.

/// Keeps what many write apart from what others read.
#[repr(C, align(128))]
pub(super) struct OwnCacheLine<T>(pub(super) T);
