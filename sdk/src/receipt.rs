//! What a write hands back.

use crate::error::Error;
use cache_sync_core::number::Version;
use cache_sync_core::outcome::{Record, Verdict};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// What Postgres made of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was decided; `None` when the server can no longer say whether the write was applied (its session was
    /// pruned or taken over while the batch was under way).
    pub verdict: Option<Verdict>,
    /// The row's version after the write; [`Version::NONE`] on plain tables and where there is no row.
    pub version: Version,
    /// The write's stamp was ahead of the server's clock and was lowered to it.
    pub lowered: bool,
    /// Why Postgres refused the write.
    pub sqlstate: Option<String>,
}

impl Outcome {
    /// Whether the write, or the part of it that won, stands in the row (or stood there already).
    pub fn is_written(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Applied | Verdict::Merged | Verdict::Unchanged))
    }

    pub(crate) fn unknown() -> Outcome {
        Outcome { verdict: None, version: Version::NONE, lowered: false, sqlstate: None }
    }
}

impl From<&Record> for Outcome {
    fn from(record: &Record) -> Outcome {
        Outcome {
            verdict: Some(record.verdict),
            version: record.version,
            lowered: record.lowered,
            sqlstate: record.sqlstate.map(|code| String::from_utf8_lossy(&code).into_owned()),
        }
    }
}

/// Proof that a write was accepted. Dropping it cancels nothing.
#[derive(Debug)]
#[must_use = "a receipt tells what became of the write; `let _ = receipt` if that does not matter"]
pub struct Receipt(pub(crate) oneshot::Receiver<Outcome>);

impl Receipt {
    /// That of a write whose outcome is known.
    pub(crate) fn settled(outcome: Outcome) -> Receipt {
        let (sender, receiver) = oneshot::channel();
        // The receiver is right here.
        let _ = sender.send(outcome);
        Receipt(receiver)
    }

    /// Waits until Postgres has committed the write, and says what became of it.
    ///
    /// # Errors
    /// [`Error::is_closed`] when the client was closed before the outcome was known;
    /// [`Client::close`](crate::Client::close) says which writes those were.
    pub fn written(self) -> Written {
        Written(self.0)
    }
}

/// The future of [`Receipt::written`].
#[derive(Debug)]
pub struct Written(oneshot::Receiver<Outcome>);

impl Future for Written {
    type Output = Result<Outcome, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| outcome.map_err(|_| Error::closed()))
    }
}

/// A write that Postgres may not have when the client closes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unwritten {
    /// The table, with its schema.
    pub table: String,
    /// The key's columns as a JSON object.
    pub key: String,
    /// The change as JSON: its kind and its fields.
    pub patch: String,
}
