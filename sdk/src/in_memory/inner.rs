//! What all handles and clients of a database in memory share.

use super::answers::Answers;
use super::faults::Faults;
use super::state::State;
use std::sync::Mutex;
use tokio::sync::watch;

/// What all handles and clients of one share.
pub(super) struct Inner {
    pub(super) state: Mutex<State>,
    /// Something was written.
    pub(super) news: watch::Sender<()>,
    pub(super) answers: Mutex<Answers>,
    pub(super) faults: Faults,
}

impl Inner {
    pub(super) fn tell(&self) {
        self.news.send_replace(());
    }
}
