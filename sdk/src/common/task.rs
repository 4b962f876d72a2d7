//! Tasks that end with whoever has them.

use tokio::task::{JoinError, JoinHandle};

/// A task that is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct OwnedTask<T>(pub(crate) JoinHandle<T>);

impl<T> OwnedTask<T> {
    /// What it comes to.
    ///
    /// # Errors
    /// It panicked, or its runtime has ended.
    pub(crate) async fn join(mut self) -> Result<T, JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for OwnedTask<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
