//! The client's numbered line of batches to one table: writes go on with it, and loads tell by it which of them they have seen.

use crate::common::lock::lock;
use cache_sync_core::number::Sequence;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use uuid::Uuid;

/// The client's line of batches to one table. The client's own numbers never start anew, so that what a load saw of an
/// earlier session cannot be taken for a batch of this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    /// The client's number of a batch less the server's.
    offset: i64,
}

impl Session {
    pub(crate) fn to_server(self, number: Sequence) -> Sequence {
        Sequence(number.0 - self.offset)
    }

    pub(crate) fn to_client(self, on_server: Sequence) -> Sequence {
        Sequence(on_server.0.max(0) + self.offset)
    }
}

/// The session under which batches are sent now, and how far it has come.
#[derive(Debug)]
pub(crate) struct Numbering {
    session: Mutex<Session>,
    /// The last batch whose outcome is known.
    settled: AtomicI64,
}

impl Numbering {
    pub(super) fn new() -> Numbering {
        Numbering { session: Mutex::new(Session { id: Uuid::new_v4(), offset: 0 }), settled: AtomicI64::new(0) }
    }

    /// The session under which batches are sent now.
    pub(crate) fn session(&self) -> Session {
        *lock(&self.session)
    }

    /// The last batch whose outcome is known.
    pub(crate) fn settled(&self) -> Sequence {
        Sequence(self.settled.load(Ordering::Acquire))
    }

    /// The outcome of the batch of this number is known.
    pub(super) fn note_settled(&self, number: Sequence) {
        self.settled.fetch_max(number.0, Ordering::AcqRel);
    }

    /// The batch of this number was not sent after all, or refused without moving the session.
    pub(crate) fn leave_out(&self, number: Sequence) {
        let mut session = lock(&self.session);
        let next = session.to_server(number);
        session.offset = number.0 + 1 - next.0;
    }

    /// The batch of this number, and those after it, continue the session from the server's number.
    pub(crate) fn renumber(&self, number: Sequence, on_server: Sequence) {
        lock(&self.session).offset = number.0 - on_server.0;
    }

    /// The batch of this number will be the first of a new session.
    pub(crate) fn begin_anew(&self, first: Sequence) {
        *lock(&self.session) = Session { id: Uuid::new_v4(), offset: first.0 - 1 };
    }
}
