//! The protocol of the ring: how changes are published in shared memory, read, and told to those who wait for them. The
//! extension runs it on Postgres' locks and latches, the tests on loom's, which try every order of steps.
//!
//! ```text
//! memory   what a platform provides      ring   publishing and reading      bell   waiting and waking
//! ```
//! `head` counts all changes ever published; the change at position `p` lies in entry `p % size`. Writers hold a lock alone,
//! readers share it, so nobody sees half a change or one that is being overwritten. Publishing neither allocates nor fails.
#![forbid(unsafe_code)]
#![no_std]

mod bell;
mod memory;
mod ring;

pub use bell::{arm, is_armed, leave, woken};
pub use memory::{Memory, Word};
pub use ring::{Read, publish, publish_gap, read};
