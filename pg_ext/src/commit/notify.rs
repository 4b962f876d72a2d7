//! The feed of a server without a ring: the same messages by NOTIFY, put before the commit.
//!
//! NOTIFY keeps what is put from being seen before the commit, and in the order of commits; for that it takes a lock of the
//! whole server until the commit's end, so it slows writers down. Without shared memory backends have no common clock and
//! no positions: changes are unversioned, and a listener that was away has missed something.
//!
//! Everybody may LISTEN. A table's keys are hashed with a secret of its own, which only those learn who may read it; where row-level
//! security hides rows from some of them, the table is told as changed as a whole.

use crate::pg::host_time;
use crate::pg::rights::has_row_security;
use crate::ring::{Entry, hlc, whole};
use crate::server::epoch;
use crate::tables::catalog::{self, Locked};
use crate::tables::known;
use cache_sync_core::number::{Epoch, Lsn, Position, Stamp, TableId};
use cache_sync_core::wire::{Body, CHANNEL, Change, Message};
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use std::ffi::{CString, c_char};

/// Most changes in one notification, whose text must be shorter than 8,000 bytes.
const CHANGES_MAX: usize = 280;

/// Puts the changes of the transaction that is about to commit; `None` when everything must be taken for changed.
pub(crate) fn put(changes: Option<Vec<Entry>>) {
    // A writer of an attached table must not wait for our tables; who cannot be told which changes must doubt them all.
    let secret = known::secret(Locked::GiveUp);
    let attached = catalog::attached(None, Locked::GiveUp);
    let epoch = secret.map_or(Epoch(0), |secret| epoch::of(secret.id));
    let (Some(changes), Some(_), Some(attached)) = (changes, secret, attached) else {
        return put_message(epoch, Body::Gap);
    };
    let tells_keys =
        |id: TableId| attached.iter().find(|table| table.id == id).is_some_and(|table| !has_row_security(table.relid));
    let mut told: Vec<Change> = Vec::with_capacity(changes.len());
    let mut as_a_whole: Vec<TableId> = Vec::new();
    for of_table in changes.chunk_by(|one, next| one.table == next.table) {
        let id = of_table[0].table;
        if tells_keys(id) {
            told.extend(of_table.iter().map(|entry| entry.change().unversioned()));
        } else if !as_a_whole.contains(&id) {
            as_a_whole.push(id);
            told.push(whole(id));
        }
    }
    for some in told.chunks(CHANGES_MAX) {
        put_message(epoch, Body::Changes(some.to_vec()));
    }
}

fn put_message(epoch: Epoch, body: Body) {
    unsafe extern "C-unwind" {
        fn Async_Notify(channel: *const c_char, payload: *const c_char);
    }
    let (hlc, sent) = (Stamp(hlc::now()), host_time::now());
    let message = Message { epoch, position: Position(0), hlc, lsn: Lsn(0), sent, as_of: None, body };
    let (Ok(channel), Ok(payload)) = (CString::new(CHANNEL), CString::new(message.encode())) else { return };
    // SAFETY: both are strings that end in a zero byte; they are copied.
    unsafe { pg_guard_ffi_boundary(|| Async_Notify(channel.as_ptr(), payload.as_ptr())) };
}
