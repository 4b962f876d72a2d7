//! What statements of ours remember, while others run in the middle of them.

use crate::rules::clock::LastContest;
use crate::rules::document::LastDocuments;
use crate::rules::list;

/// Keeps what statements of ours remember of the row that they are at, while a user's code in the middle of one calls us
/// again; restored when dropped.
pub(super) struct Kept {
    _contest: LastContest,
    _documents: LastDocuments,
}

impl Kept {
    /// Keeps it.
    pub(super) fn keep() -> Kept {
        list::forget();
        Kept { _contest: LastContest::keep(), _documents: LastDocuments::keep() }
    }
}
