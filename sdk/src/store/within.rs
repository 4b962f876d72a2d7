//! Time-outs.

use crate::error::{Error, Step};
use futures_util::FutureExt;
use std::future::Future;
use std::time::Duration;

/// Does the work within the time, which begins now.
///
/// No `async fn`, in which the work would lie twice: as it came, and as what is awaited.
///
/// # Errors
/// Those of the work; one that names the step when the time is over.
pub(crate) fn within<T, W: Future<Output = Result<T, Error>>>(
    step: Step,
    timeout: Duration,
    work: W,
) -> impl Future<Output = Result<T, Error>> + use<T, W> {
    let ended = tokio::time::timeout(timeout, work);
    ended.map(move |ended| ended.unwrap_or_else(|_| Err(Error::timeout(step, timeout))))
}
