//! What a write hands back.
//!
//! ```text
//! hindrance  what keeps the writes of a cache from Postgres, and how long it is waited for
//! unwritten  what a client hands out when it closes
//! ```

mod hindrance;
mod unwritten;

pub(crate) use hindrance::{Hindrance, Hindrances};
pub use unwritten::{Operation, Unwritten};

use crate::error::Error;
use crate::meter::Timer;
use cache_sync_core::number::{KeyHash, Version};
use cache_sync_core::outcome::{Record, Verdict};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tokio::sync::Notify;

/// What Postgres made of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// What Postgres said when it refused the write. `None` too if the role may not read the table's dead letters, or could not be
    /// told in time.
    pub message: Option<String>,
    /// The name of the violated constraint, as in the error's field `constraint_name`; `None` where the error names none, and as with
    /// the message.
    pub constraint: Option<String>,
    /// The number of the refused write in `cache_sync.dead_letters`, for `requeue_dead_letter`; `None` as with the message.
    pub dead_letter: Option<i64>,
}

/// Why Postgres refused a patch.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) constraint: Option<String>,
    pub(crate) dead_letter: Option<i64>,
}

impl Refusal {
    /// What the log may say of it: a message of a violated constraint names what the table is made of; all others may quote the row.
    pub(crate) fn said(&self) -> Option<&str> {
        self.constraint.is_some().then_some(&*self.message)
    }
}

impl Outcome {
    /// Whether the write, or the part of it that won, stands in the row (or stood there already).
    pub fn is_written(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Applied | Verdict::Merged | Verdict::Unchanged))
    }

    /// An outcome of one's own, for tests of what a service makes of it; its other fields can be set then.
    #[cfg(feature = "in-memory")]
    pub fn made(verdict: Verdict) -> Outcome {
        Outcome { verdict: Some(verdict), ..Outcome::unknown() }
    }

    pub(crate) fn unknown() -> Outcome {
        Outcome {
            verdict: None,
            version: Version::NONE,
            lowered: false,
            sqlstate: None,
            message: None,
            constraint: None,
            dead_letter: None,
        }
    }

    /// The same, with what is known of why it was refused.
    pub(crate) fn refused(mut self, why: Option<&Refusal>) -> Outcome {
        self.message = why.map(|why| why.message.clone());
        self.constraint = why.and_then(|why| why.constraint.clone());
        self.dead_letter = why.and_then(|why| why.dead_letter);
        self
    }
}

impl From<&Record> for Outcome {
    fn from(record: &Record) -> Outcome {
        Outcome {
            verdict: Some(record.verdict),
            version: record.version,
            lowered: record.lowered,
            sqlstate: record.sqlstate.map(|code| String::from_utf8_lossy(&code).into_owned()),
            ..Outcome::unknown()
        }
    }
}

/// What becomes of a patch: one for all writes that have become part of it, and for all who wait for them.
#[derive(Debug, Default)]
struct Fate {
    /// `None` inside: nobody will ever know.
    outcome: OnceLock<Option<Outcome>>,
    known: Notify,
    /// When the first of the writes was accepted that it is of.
    accepted: Timer,
    /// What may keep it from being known.
    hindrance: Option<(Arc<Hindrance>, KeyHash)>,
}

impl Fate {
    fn decide(&self, outcome: Option<Outcome>) {
        // The first to decide is the only one.
        let _ = self.outcome.set(outcome);
        self.known.notify_waiters();
    }

    /// Waits until it is decided.
    async fn decided(&self) -> Result<Outcome, Error> {
        loop {
            // Whoever decides from here on wakes it.
            let known = self.known.notified();
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone().ok_or_else(Error::closed);
            }
            known.await;
        }
    }

    /// Waits until it is decided, but no longer than that is worth.
    async fn outcome(self: Arc<Fate>) -> Result<Outcome, Error> {
        match &self.hindrance {
            Some((hindrance, key)) => hindrance.written(*key, self.decided()).await?,
            None => self.decided().await,
        }
    }
}

/// Who says what became of a patch. Dropped without a word, it says that nobody knows.
#[derive(Debug, Default)]
pub(crate) struct Settler(Arc<Fate>);

impl Settler {
    /// Of a patch of this key, which may meet this hindrance.
    pub(crate) fn new(hindrance: Arc<Hindrance>, key: KeyHash) -> Settler {
        Settler(Arc::new(Fate { hindrance: Some((hindrance, key)), ..Fate::default() }))
    }

    /// When the first of the writes was accepted.
    pub(crate) fn accepted(&self) -> Timer {
        self.0.accepted
    }

    pub(crate) fn receipt(&self) -> Receipt {
        Receipt(self.0.clone())
    }

    pub(crate) fn settle(self, outcome: Outcome) {
        self.0.decide(Some(outcome));
    }

    /// Nobody works for the patch any more.
    pub(crate) fn abandon(&self) {
        self.0.decide(None);
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// Proof that a write was accepted. Dropping it cancels nothing.
#[must_use = "a receipt tells what became of the write; `let _ = receipt` if that does not matter"]
pub struct Receipt(Arc<Fate>);

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("outcome", &self.0.outcome.get().and_then(Option::as_ref))
            .finish_non_exhaustive()
    }
}

impl Receipt {
    /// The receipt of a write that has come to this outcome, for tests of what a service makes of it.
    #[cfg(feature = "in-memory")]
    pub fn made(outcome: Outcome) -> Receipt {
        Receipt::settled(outcome)
    }

    /// That of a write whose outcome is known.
    pub(crate) fn settled(outcome: Outcome) -> Receipt {
        let settler = Settler::default();
        let receipt = settler.receipt();
        settler.settle(outcome);
        receipt
    }

    /// Waits until Postgres has committed the write, and says what became of it.
    ///
    /// # Errors
    /// [`Error::is_unwritten`] when that takes longer than
    /// [`ClientBuilder::write_timeout`](crate::ClientBuilder::write_timeout) allows; the write is tried again all the same.
    /// [`Error::is_closed`] when the client was closed before the outcome was known;
    /// [`Client::close`](crate::Client::close) says which writes those were.
    pub fn written(self) -> Written {
        Written(Box::pin(self.0.outcome()))
    }

    /// The same, however long it takes.
    pub(crate) async fn decided(self) {
        drop(self.0.decided().await);
    }
}

/// The future of [`Receipt::written`].
pub struct Written(Pin<Box<dyn Future<Output = Result<Outcome, Error>> + Send + Sync>>);

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").finish_non_exhaustive()
    }
}

impl Future for Written {
    type Output = Result<Outcome, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn all_who_wait_for_a_patch_hear_the_same() {
        let settler = Settler::default();
        let (mut one, other) = (settler.receipt().written(), settler.receipt());
        assert!((&mut one).now_or_never().is_none());
        let late = settler.receipt();
        settler.settle(Outcome::unknown());
        for written in [one, other.written(), late.written()] {
            assert_eq!(written.now_or_never().unwrap().unwrap(), Outcome::unknown());
        }
    }

    #[test]
    fn nobody_waits_for_what_will_never_be_known() {
        let settler = Settler::default();
        let (one, mut other) = (settler.receipt(), settler.receipt().written());
        assert!((&mut other).now_or_never().is_none());
        drop(settler);
        for written in [one.written(), other] {
            assert!(written.now_or_never().unwrap().unwrap_err().is_closed());
        }
    }
}
