//! What is asked for nobody who waits: one statement at a time of all caches of a client, so that it takes one connection of the pool at most.

use tokio::sync::{Mutex, MutexGuard};

/// Who asks so.
#[derive(Debug, Default)]
pub(super) struct Asides(Mutex<()>);

/// The right to ask so: one has it at a time.
#[derive(Debug)]
pub(crate) struct Aside<'a> {
    _alone: MutexGuard<'a, ()>,
}

impl Asides {
    pub(super) async fn wait(&self) -> Aside<'_> {
        Aside { _alone: self.0.lock().await }
    }
}
