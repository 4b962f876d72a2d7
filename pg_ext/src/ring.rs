//! The ring: the last changes of the whole server, in shared memory. Its protocol is that of `cache_sync_ring`, on one LWLock
//! and the backends' latches; a reader copies at most [`READ_MAX`] entries while it holds the lock.
//!
//! ```text
//! hlc        the clock that hands out versions      view       what there is to see
//! listener   who waits for changes                  protocol   publishing and reading
//! segment    the memory of who is not preloaded     memory     where it lies, and who makes it
//! layout     all that lies there, and its filling
//! commits    what every committer writes            listeners  the seats of those who wait
//! stats      what is counted                        entry      one change
//! applied    what this transaction has applied      failing    sessions whose batches fail
//! line       a cache line of its own                lock       a lock of Postgres' kind
//! wall       the wall clock
//! ```
//! `commit::pending` publishes at a commit, `feed::stream` reads, and waits by a [`Listener`]; each function that SQL calls has
//! [`ensure`]d before that there is a ring. From `layout` down there is only data with its methods; `memory` knows where it lies, and
//! all above ask it.
//!
//! Nothing here is written to disk. Postgres makes shared memory anew after every crash, and with it the epoch, so a
//! lost change always shows as a new epoch.

pub(crate) mod applied;
mod commits;
mod entry;
mod failing;
pub(crate) mod hlc;
mod layout;
mod line;
mod listener;
mod listeners;
mod lock;
mod memory;
mod protocol;
mod segment;
mod stats;
pub(crate) mod view;
mod wall;

pub(crate) use entry::{Entry, whole};
pub(crate) use failing::{FailedSession, SessionId};
pub(crate) use layout::EPOCH_BITS;
pub(crate) use listener::Listener;
pub(crate) use memory::{epoch, install_hooks, is_preloaded, is_there};
pub(crate) use protocol::{READ_MAX, Read, head, last_lsn, publish, publish_gap, read, size, tail};
pub(crate) use segment::ensure;
pub(crate) use stats::{Name, TableCounts};
