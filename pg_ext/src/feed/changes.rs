//! `changes()`, the feed for those who ask.
//!
//! Who has it wait takes no listener's seat, and nobody has to wake him: he looks at the ring's head now and then.

use super::since::{self, Since};
use super::subscription::Subscription;
use super::waiting;
use crate::call::argument::{self, argument};
use crate::call::function::sql_functions;
use crate::call::rows::{Rows, bigint};
use crate::pg::failure::Failure;
use crate::pg::patience::sleep;
use crate::pg::standby;
use crate::ring::{self, Entry, READ_MAX, Read, hlc};
use crate::server::epoch;
use cache_sync_core::number::TableId;
use cache_sync_core::wire::{Change, ChangeKind};
use pgrx::{IntoDatum, pg_sys};
use std::time::{Duration, Instant};

/// As long as somebody waits the statement has its snapshot, and what has died since then cannot be vacuumed.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How often somebody who waits looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

sql_functions! {
    /// `changes(since_epoch bigint, since_position bigint, max_rows integer, wait interval)`
    fn changes / pg_finfo_changes(fcinfo) {
        // SAFETY: Postgres calls this function with a call it has filled in, with these arguments and for these rows.
        unsafe {
            let since = Since { epoch: argument(fcinfo, 0), position: argument(fcinfo, 1) };
            let max_rows = argument::<i32>(fcinfo, 2).unwrap_or(0);
            // The script of before declares no wait.
            let wait = if (*fcinfo).nargs > 3 { wait(argument::datum(fcinfo, 3))? } else { Duration::ZERO };
            tell(Rows::new(fcinfo), since, max_rows, Instant::now() + wait)
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
fn tell(rows: Rows, since: Since, max_rows: i32, until: Instant) -> Result<pg_sys::Datum, Failure> {
    standby::refuse_standby()?;
    if !ring::is_there() {
        return Err(Failure::not_preloaded());
    }
    let max_rows = usize::try_from(max_rows)
        .ok()
        .filter(|max| *max > 0)
        .ok_or_else(|| Failure::new(b"22023", "max_rows must be positive"))?;
    let epoch = epoch::current();
    let (start, is_gap) = begin(epoch, since, max_rows);
    let mut telling = Telling { rows, epoch, position: start, told: 0, max_rows, hidden: Vec::new() };
    telling.place(if is_gap { "gap" } else { "start" });
    let mut is_overrun = telling.tell()?;
    while !is_gap && !is_overrun && telling.told == 0 && Instant::now() < until {
        pause(until);
        is_overrun = telling.tell()?;
    }
    telling.place("position");
    Ok(telling.rows.end())
}

/// How long to wait.
///
/// # Safety
/// It must be an interval.
unsafe fn wait(interval: Option<pg_sys::Datum>) -> Result<Duration, Failure> {
    const DAY: i64 = 86_400_000_000;
    let Some(interval) = interval else { return Ok(Duration::ZERO) };
    // SAFETY: the caller vouches for the interval.
    let pg_sys::Interval { time, day, month } = unsafe { *interval.cast_mut_ptr() };
    let micros = (i64::from(month) * 30 + i64::from(day)).checked_mul(DAY).and_then(|days| days.checked_add(time));
    let wait = micros.and_then(|micros| u64::try_from(micros).ok()).map(Duration::from_micros);
    wait.filter(|wait| *wait <= WAIT_MAX).ok_or_else(|| {
        Failure::new(b"22023", "wait must be between 0 and 60 seconds").hint("Ask again when it is over.")
    })
}

/// Waits until the next look, or until something interrupts.
fn pause(until: Instant) {
    let time = until.saturating_duration_since(Instant::now()).min(LOOK_EVERY);
    sleep(time, waiting::for_changes());
}

/// What `changes()` answers.
struct Telling {
    rows: Rows,
    epoch: i64,
    /// Everything up to here has been looked at.
    position: u64,
    told: usize,
    max_rows: usize,
    /// Tables with hidden rows that were told: once, or it would show how many rows change.
    hidden: Vec<TableId>,
}

impl Telling {
    /// Tells what there is, and says whether some of it was overwritten before it could be told.
    fn tell(&mut self) -> Result<bool, Failure> {
        // What is committed from here on is for the next look.
        let head = ring::head();
        if self.position == head {
            return Ok(false);
        }
        // SAFETY: may be called in any transaction. What the caller may read counts as it is now, also after a long wait.
        unsafe { pg_sys::AcceptInvalidationMessages() };
        let subscription = Subscription::new(None)?;
        let mut entries = Box::new([Entry::NONE; READ_MAX]);
        let mut changes = Vec::new();
        while self.position < head && self.told < self.max_rows {
            let Read::Copied(count) = ring::read(self.position, &mut entries) else { return Ok(true) };
            for entry in &entries[..count.min((head - self.position) as usize)] {
                if self.told == self.max_rows {
                    break;
                }
                self.position += 1;
                changes.clear();
                subscription.select(std::slice::from_ref(entry), &mut changes);
                for change in &changes {
                    let table = subscription.table(change.table);
                    if table.is_none_or(|table| !table.has_hidden_rows || self.is_first(table.id)) {
                        self.change(table.map(|table| table.relid), change);
                    }
                }
            }
            pgrx::check_for_interrupts!();
        }
        Ok(false)
    }

    /// Whether a table with hidden rows has not been told yet; it is from now on.
    fn is_first(&mut self, table: TableId) -> bool {
        let is_first = !self.hidden.contains(&table);
        if is_first {
            self.hidden.push(table);
        }
        is_first
    }

    fn place(&mut self, kind: &str) {
        self.rows.push([self.epoch.into_datum(), bigint(self.position), None, None, None, kind.into_datum()]);
    }

    fn change(&mut self, tbl: Option<pg_sys::Oid>, change: &Change) {
        let (key, kind) = match change.kind {
            ChangeKind::Versioned => (bigint(change.key.0), "versioned"),
            ChangeKind::Unversioned => (bigint(change.key.0), "unversioned"),
            ChangeKind::FlushTable => (None, "flush_table"),
            ChangeKind::Tag => (bigint(change.key.0), "tag"),
        };
        let version = (change.version.0 > 0).then_some(change.version.0).and_then(IntoDatum::into_datum);
        let (epoch, position) = (self.epoch.into_datum(), bigint(self.position));
        self.rows.push([epoch, position, tbl.into_datum(), key, version, kind.into_datum()]);
        self.told += 1;
    }
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
