//! One load of a key, and who waits for it.

use super::base::Answer;
use crate::common::time::Moment;
use crate::error::Error;
use cache_sync_core::number::{Sequence, Version};
use smallvec::SmallVec;
use tokio::sync::oneshot;

/// Somebody who waits for a load.
pub(crate) type Waiter<V> = oneshot::Sender<Result<Answer<V>, Error>>;

/// One load of the key.
pub(super) struct Flight<V> {
    pub(super) number: u64,
    pub(super) waiters: SmallVec<[Waiter<V>; 1]>,
    pub(super) started: Option<Started>,
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
