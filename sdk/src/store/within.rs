//! Time-outs.

use crate::error::{Error, Step};
use std::future::Future;
use std::time::Duration;

/// Does the work within the time.
///
/// # Errors
/// Those of the work; one that names the step when the time is over.
pub(crate) async fn within<T>(
    step: Step,
    timeout: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(Error::timeout(step, timeout)))
}
