//! One load of a key, and who waits for it.

use crate::common::time::Moment;
use crate::entries::entry::Answer;
use crate::error::Error;
use cache_sync_core::number::{Sequence, Version};
use smallvec::SmallVec;
use tokio::sync::oneshot;

/// Somebody who waits for a load.
pub(crate) type Waiter<V> = oneshot::Sender<Result<Answer<V>, Error>>;

/// Mostly one.
pub(crate) type Waiters<V> = SmallVec<[Waiter<V>; 1]>;

/// One load of the key.
pub(super) struct Flight<V> {
    pub(super) number: u64,
    pub(super) waiters: Waiters<V>,
    /// How many of them have not given up.
    pub(super) present: usize,
    pub(super) started: Option<Started>,
}

impl<V> Flight<V> {
    pub(super) fn join(&mut self, waiter: Waiter<V>) {
        // Those who have given up leave by and by: each look at them is paid for by as many who came.
        if self.waiters.len() > 2 * self.present + 8 {
            self.waiters.retain(|waiter| !waiter.is_closed());
        }
        self.waiters.push(waiter);
        self.present += 1;
    }
}

pub(super) struct Started {
    /// Its statement was sent then or later: it shows everything that was committed before.
    pub(super) at: Moment,
    pub(super) generation: u64,
    pub(super) fence: LoadFence,
    /// A batch with this key was settled since; a load that does not contain it yet would take a write back.
    pub(super) settled: Option<Sequence>,
}

/// What the changes since a load began allow it to do.
#[derive(Clone, Copy)]
pub(super) enum LoadFence {
    Open,
    AtLeast(Version),
    Shut,
}
