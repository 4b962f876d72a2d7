//! `changes()`, the feed for those who ask instead of waiting.

use super::since::{self, Since};
use super::subscription::Subscription;
use crate::call::argument::argument;
use crate::call::function::sql_functions;
use crate::call::rows::{Rows, bigint};
use crate::pg::failure::Failure;
use crate::pg::standby;
use crate::ring::{self, Entry, READ_MAX, Read, hlc};
use crate::server::epoch;
use cache_sync_core::wire::{Change, ChangeKind};
use pgrx::{IntoDatum, pg_sys};

sql_functions! {
    /// `changes(since_epoch bigint, since_position bigint, max_rows integer)`
    fn changes / pg_finfo_changes(fcinfo) {
        // SAFETY: Postgres calls this function with a call it has filled in, with these arguments and for these rows.
        unsafe {
            let since = Since { epoch: argument(fcinfo, 0), position: argument(fcinfo, 1) };
            let max_rows = argument::<i32>(fcinfo, 2).unwrap_or(0);
            tell(Rows::new(fcinfo), since, max_rows)
        }
    }

    /// `feed_head() -> (epoch bigint, feed_position bigint, hlc bigint)`
    fn feed_head / pg_finfo_feed_head(fcinfo) {
        standby::refuse_standby()?;
        if !ring::is_there() {
            return Err(Failure::not_preloaded());
        }
        // SAFETY: Postgres calls this function with a call it has filled in, and for these rows.
        let mut rows = unsafe { Rows::new(fcinfo) };
        rows.push([epoch::current().into_datum(), bigint(ring::head()), hlc::now().into_datum()]);
        Ok(rows.end())
    }
}

/// Rows of `changes()`: where it begins, the changes, where it ended.
fn tell(mut rows: Rows, since: Since, max_rows: i32) -> Result<pg_sys::Datum, Failure> {
    standby::refuse_standby()?;
    if !ring::is_there() {
        return Err(Failure::not_preloaded());
    }
    let max_rows = usize::try_from(max_rows)
        .ok()
        .filter(|max| *max > 0)
        .ok_or_else(|| Failure::new(b"22023", "max_rows must be positive"))?;
    let subscription = Subscription::new(None)?;
    let epoch = epoch::current();
    let (start, is_gap) = begin(epoch, since, max_rows);
    push_place(&mut rows, epoch, start, if is_gap { "gap" } else { "start" });
    let mut position = start;
    let mut entries = Box::new([Entry::NONE; READ_MAX]);
    let mut told = 0;
    let mut changes = Vec::new();
    // What is committed from here on is for the next call.
    let head = ring::head();
    while position < head && told < max_rows {
        let Read::Copied(count) = ring::read(position, &mut entries) else { break };
        for entry in &entries[..count.min((head - position) as usize)] {
            if told == max_rows {
                break;
            }
            position += 1;
            changes.clear();
            subscription.select(std::slice::from_ref(entry), &mut changes);
            for change in &changes {
                let tbl = subscription.table(change.table).map(|table| table.relid);
                push_change(&mut rows, epoch, position, tbl, change);
                told += 1;
            }
        }
        pgrx::check_for_interrupts!();
    }
    push_place(&mut rows, epoch, position, "position");
    Ok(rows.end())
}

/// Where to begin, and whether what came before may have been missed. Who does not say from where on gets the latest
/// changes.
fn begin(epoch: i64, since: Since, max_rows: usize) -> (u64, bool) {
    match since {
        Since { epoch: None, position: None } => {
            let (tail, head) = (ring::tail(), ring::head());
            (head.saturating_sub(max_rows as u64).max(tail), false)
        }
        Since { epoch: of, position: Some(position) } if of.is_none_or(|of| of == epoch) => match since::held(position)
        {
            Ok(position) => (position, false),
            Err(head) => (head, true),
        },
        _ => (ring::head(), true),
    }
}

fn push_place(rows: &mut Rows, epoch: i64, position: u64, kind: &str) {
    rows.push([epoch.into_datum(), bigint(position), None, None, None, kind.into_datum()]);
}

fn push_change(rows: &mut Rows, epoch: i64, position: u64, tbl: Option<pg_sys::Oid>, change: &Change) {
    let (key, kind) = match change.kind {
        ChangeKind::Versioned => (bigint(change.key.0), "versioned"),
        ChangeKind::Unversioned => (bigint(change.key.0), "unversioned"),
        ChangeKind::FlushTable => (None, "flush_table"),
        ChangeKind::Tag => (bigint(change.key.0), "tag"),
    };
    let version = (change.version.0 > 0).then_some(change.version.0);
    rows.push([
        epoch.into_datum(),
        bigint(position),
        tbl.into_datum(),
        key,
        version.and_then(IntoDatum::into_datum),
        kind.into_datum(),
    ]);
}
