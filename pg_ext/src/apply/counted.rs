//! Counts a batch for operators: that it was applied and what became of its patches, or that it failed.

use super::session::Session;
use crate::pg::failure::Failure;
use crate::ring::{Name, SessionId, applied};
use crate::tables::known;
use cache_sync_core::number::TableId;
use cache_sync_core::outcome::Record;
use std::cell::Cell;
use std::time::Instant;

/// A batch that is being applied.
pub(super) struct Counted {
    begun: Instant,
    /// Whose it is, once that is known.
    of: Cell<Option<(TableId, SessionId)>>,
}

impl Counted {
    /// It begins.
    pub(super) fn begin() -> Counted {
        Counted { begun: Instant::now(), of: Cell::new(None) }
    }

    /// It is of this session.
    pub(super) fn is_of(&self, session: Session) {
        // SAFETY: a session's id is a uuid, which has so many bytes.
        let id = unsafe { *session.id.cast_mut_ptr::<SessionId>() };
        self.of.set(Some((TableId(session.table_id), id)));
    }

    /// It was applied, if the transaction commits.
    pub(super) fn applied(&self, records: &[Record]) {
        if let Some((table, session)) = self.of.get() {
            applied::batch(Name::of(table, known::incarnation()), session, records, self.begun.elapsed());
        }
    }

    /// It failed. What a session's own state refuses (CS001 to CS004) is no fault of the batch.
    pub(super) fn failed(&self, failure: &Failure) {
        if let Some((table, session)) = self.of.get()
            && !failure.sqlstate().starts_with(b"CS")
        {
            applied::failed(Name::of(table, known::incarnation()), session, failure.sqlstate(), failure.message());
        }
    }
}
