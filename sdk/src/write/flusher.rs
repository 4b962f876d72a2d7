//! Brings the buffer to Postgres: freezes a batch, sends it until its outcome is known, settles it.
//!
//! What can happen to a batch, and what then:
//!
//! - *It is answered*: each patch gets its outcome.
//! - *The connection breaks, or Postgres is busy or away*: it is sent again, in the same bytes under the same number,
//!   after a pause that grows to a few seconds. Postgres answers a batch that it has already applied with what it said
//!   the first time.
//! - *Postgres undoes it because it takes too long, or waits for a row that somebody holds*: its patches wait again, and go in smaller
//!   batches. One that is alone is set aside: it is tried by itself now and then, between all others.
//! - *Its session is unknown or lost*: had it never been sent, it moves to a new session; else nobody can say whether it
//!   was applied, and each of its outcomes is unknown.
//! - *The server has lost earlier batches* (failover, restore): what was lost is reported, the batch gets the number
//!   that the server expects.
//! - *It fails in a way that does not say whose fault that is*: after a few tries Postgres is to find out which of its patches is to
//!   blame, if others can be applied.
//! - *The table cannot be written at all* (privileges, a dropped column): it waits, loudly, and tries again.

use super::Writes;
use super::batch::Batch;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::jittered;
use crate::common::lock::lock;
use crate::entries::Outcomes;
use crate::error::{Error, ErrorKind, is_outage};
use crate::pg::{BatchConnection, Sending};
use cache_sync_core::number::{Fence, Sequence};
use cache_sync_core::outcome::{self, Record, Verdict};
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// How often a batch that Postgres refuses as a whole is tried before its patches are given up as rejected.
const REFUSALS_MAX: u32 = 3;

/// How long a patch that could not be written by itself waits before it is tried again; each time in a row twice as long.
const ASIDE_PAUSE_MIN: Duration = Duration::from_secs(1);
const ASIDE_PAUSE_MAX: Duration = Duration::from_secs(4);

/// Writes the batches of one table, in a task of its own.
pub(crate) struct Flusher<K, V> {
    pub(crate) writes: Arc<Writes<K, V>>,
    pub(crate) connection: Arc<BatchConnection>,
    pub(crate) flush_interval: Duration,
    pub(crate) apply_timeout: Duration,
}

/// What is known from the tries of a batch so far.
#[derive(Default)]
struct Tries {
    /// It may have reached the server, which may have applied it.
    sent: bool,
    /// How often Postgres has refused it as a whole.
    refusals: u32,
    /// How often that may have been the fault of one of its patches.
    suspicions: u32,
}

/// Whose turn it is: that of the line, or of what was set aside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Line,
    Aside,
}

impl Turn {
    fn other(self) -> Turn {
        match self {
            Turn::Line => Turn::Aside,
            Turn::Aside => Turn::Line,
        }
    }
}

/// How many patches go together, and when those are tried again that were set aside.
struct Pace {
    max: usize,
    limit: usize,
    last: Turn,
    aside_at: Instant,
    aside_limit: usize,
    aside_pause: Duration,
}

impl Pace {
    fn new(max: usize) -> Pace {
        let aside_at = Instant::now();
        Pace { max, limit: max, last: Turn::Aside, aside_at, aside_limit: 1, aside_pause: ASIDE_PAUSE_MIN }
    }

    /// Batches become larger again by and by: what takes too long must not do so every other time.
    fn went_well(&mut self, turn: Turn) {
        self.last = turn;
        match turn {
            Turn::Line => self.limit = (self.limit + (self.limit / 8).max(1)).min(self.max),
            Turn::Aside => {
                self.aside_limit = (2 * self.aside_limit).min(self.max);
                self.aside_pause = ASIDE_PAUSE_MIN;
            }
        }
    }

    fn was_undone(&mut self, turn: Turn, patches: usize) {
        self.last = turn;
        match (turn, patches) {
            (Turn::Line, 2..) => self.limit = patches / 2,
            (Turn::Line, _) => self.limit = self.max,
            (Turn::Aside, _) => self.aside_limit = 1,
        }
        if patches < 2 {
            self.aside_at = Instant::now() + self.aside_pause;
            self.aside_pause = (2 * self.aside_pause).min(ASIDE_PAUSE_MAX);
        }
    }
}

/// What comes after an error.
enum Next {
    Settled(Outcomes),
    /// It was not applied, and must not go out again as it is.
    Undone,
    /// Again, after so long at least.
    Again(Duration),
}

impl<K: Key, V: CacheValue> Flusher<K, V> {
    /// Flushes until all has been written of what nobody writes to any more, or its task is ended.
    pub(crate) async fn run(self) {
        let mut fence = None;
        let mut pace = Pace::new(self.writes.limits.batch_entries_max);
        for number in 1.. {
            let sequence = Sequence(number);
            let Some(turn) = self.next(&pace).await else { return };
            let frozen = match turn {
                Turn::Line => self.writes.freeze(sequence, pace.limit),
                Turn::Aside => self.writes.freeze_aside(sequence, pace.aside_limit),
            };
            let batch = Batch::new(sequence, &frozen, &self.writes.entries.schema);
            drop(frozen);
            if self.write(&mut fence, &batch).await {
                pace.went_well(turn);
                continue;
            }
            self.writes.thaw(sequence, &batch.keys, turn == Turn::Aside || batch.keys.len() == 1);
            self.writes.entries.numbering.leave_out(sequence);
            pace.was_undone(turn, batch.keys.len());
        }
    }

    /// Waits until there is something to be written, and says what; `None` when there never will be.
    async fn next(&self, pace: &Pace) -> Option<Turn> {
        let gathered_at = OnceCell::new();
        loop {
            let hurried = self.writes.budget.hurried();
            tokio::pin!(hurried);
            hurried.as_mut().enable();
            // Writes come together for a moment, unless somebody waits for them or the batch is full.
            let line_at = self.writes.has_waiting().then(|| match self.writes.is_next_batch_due() {
                true => Instant::now(),
                false => *gathered_at.get_or_init(|| Instant::now() + self.flush_interval),
            });
            let aside_at = lock(&self.writes.line).has_aside().then_some(pace.aside_at);
            let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
            match (is_due(line_at), is_due(aside_at)) {
                (true, true) => return Some(pace.last.other()),
                (true, false) => return Some(Turn::Line),
                (false, true) => return Some(Turn::Aside),
                (false, false) => {}
            }
            let due_at = line_at.into_iter().chain(aside_at).min();
            if due_at.is_none() && self.writes.is_left() {
                return None;
            }
            tokio::select! {
                () = self.writes.arrived.notified() => {}
                () = hurried, if line_at.is_some() => {}
                () = tokio::time::sleep_until(due_at.unwrap_or_else(Instant::now)), if due_at.is_some() => {}
            }
        }
    }

    /// Sends a batch until its outcome is known. `false`: it was not applied, and must go out otherwise.
    async fn write(&self, fence: &mut Option<Fence>, batch: &Batch) -> bool {
        let entries = &*self.writes.entries;
        if batch.keys.is_empty() {
            entries.numbering.leave_out(batch.sequence);
            return true;
        }
        let (mut tries, mut pause) = (Tries::default(), PAUSE_MIN);
        let outcomes = loop {
            let next = match self.send(fence, batch, &mut tries).await {
                Ok(outcomes) => Next::Settled(outcomes),
                Err(error) => self.after_error(fence, batch, &error, &mut tries),
            };
            let at_least = match next {
                Next::Settled(outcomes) => break outcomes,
                Next::Undone if self.is_undone_for_certain(fence, batch, &mut tries).await => {
                    entries.counters.flush_retries.add(1);
                    return false;
                }
                Next::Undone => Duration::ZERO,
                Next::Again(at_least) => at_least,
            };
            entries.counters.flush_retries.add(1);
            tokio::time::sleep(jittered(pause.max(at_least))).await;
            pause = (pause * 2).min(PAUSE_MAX);
        };
        let free = |bytes| self.writes.budget.give_back(bytes);
        entries.settle(&batch.keys, batch.sequence, &outcomes, free);
        true
    }

    /// Whether no try of the batch has been applied, nor can be any more. Where one was never answered, its backend may still be about to
    /// commit, and a commit may wait for a standby for any time. Opening the session again waits for such a backend, makes its fence
    /// worthless where it comes later, and says how far the session is.
    async fn is_undone_for_certain(&self, fence: &mut Option<Fence>, batch: &Batch, tries: &mut Tries) -> bool {
        if !tries.sent {
            return true;
        }
        let entries = &*self.writes.entries;
        let session = entries.numbering.session();
        let opening =
            async { self.connection.get().await?.open_session(entries.schema.meta.relation, session.id).await };
        let Ok(Ok(opened)) = tokio::time::timeout(self.apply_timeout, opening).await else { return false };
        *fence = Some(opened.fence);
        // Had it been applied, the same bytes get the answer that was kept.
        tries.sent = opened.last >= session.to_server(batch.sequence);
        !tries.sent
    }

    async fn send(&self, fence: &mut Option<Fence>, batch: &Batch, tries: &mut Tries) -> Result<Outcomes, Error> {
        let entries = &*self.writes.entries;
        let session = entries.numbering.session();
        let work = async {
            let connected = self.connection.get().await?;
            let fence = match *fence {
                Some(fence) => fence,
                None => *fence.insert(connected.open_session(entries.schema.meta.relation, session.id).await?.fence),
            };
            let before = std::mem::replace(&mut tries.sent, true);
            let sending = Sending {
                table: entries.schema.meta.relation,
                session: session.id,
                fence,
                sequence: session.to_server(batch.sequence),
                shapes: &batch.shapes,
                rows: &batch.rows,
                is_suspicious: tries.suspicions >= REFUSALS_MAX,
            };
            let applied = connected.apply(&sending).await;
            // What Postgres refuses it has not committed; where it goes away with an error, it may have.
            let error = applied.as_ref().err();
            let is_refused = |code| !is_outage(code) || is_undone(code) || is_suspicious(code);
            if error.is_some_and(|error| !error.is_fatal() && error.sqlstate().is_some_and(is_refused)) {
                tries.sent = before;
            }
            applied
        };
        // The server's own time-outs come first: what they end has not been applied, and holds nothing any more.
        let Ok(applied) = tokio::time::timeout(self.apply_timeout.mul_f64(1.5), work).await else {
            self.connection.forget().await;
            return Err(Error::timeout("writing a batch", self.apply_timeout));
        };
        let applied = applied?;
        let same_server = applied.epoch.0 == entries.common.freshness.epoch();
        let records = outcome::unpack(&applied.outcomes).map_err(|error| {
            Error::caused(ErrorKind::Mismatch, "the extension answers a batch in a way unknown here", error)
        })?;
        Ok(Outcomes { records: Some(records), same_server })
    }

    fn after_error(&self, fence: &mut Option<Fence>, batch: &Batch, error: &Error, tries: &mut Tries) -> Next {
        let table = &self.writes.entries.schema.meta.name;
        tries.suspicions += u32::from(error.sqlstate().is_some_and(is_suspicious));
        match error.sqlstate() {
            // The session is this client's alone: it can only have been opened by an earlier try of its own that came
            // late. Number and digest see to it that the batch is applied once.
            Some("CS002") => {
                *fence = None;
                Next::Again(Duration::ZERO)
            }
            Some(code @ ("CS001" | "CS004")) => {
                tracing::error!(table, %error, sent = tries.sent, "the session is lost; going on with a new one");
                // Something of ours was committed under this number.
                self.leave_session(fence, batch, tries.sent || code == "CS004")
            }
            Some("CS003") => self.follow_server(fence, batch, error),
            Some(code) if is_undone(code) => {
                tracing::warn!(table, %error, patches = batch.keys.len(), "a batch takes too long; it goes on in parts");
                Next::Undone
            }
            Some(code) if is_outage(code) && !is_suspicious(code) => Next::Again(Duration::ZERO),
            Some(code) if is_refusal(code) && tries.refusals + 1 >= REFUSALS_MAX => {
                tracing::error!(table, %error, patches = batch.keys.len(), "Postgres refuses the batch as a whole");
                // Before anybody hears of it: a load that begins then must count as one that contains the batch.
                self.writes.entries.numbering.leave_out(batch.sequence);
                let records = vec![rejected(code); batch.keys.len()];
                Next::Settled(Outcomes { records: Some(records), same_server: true })
            }
            // Postgres could not tell either whether it is this patch or the table: the others show it.
            Some(code) if is_suspicious(code) && tries.suspicions > REFUSALS_MAX && batch.keys.len() == 1 => {
                tracing::error!(table, %error, "a patch cannot be written; it is set aside");
                Next::Undone
            }
            Some(_) => {
                tries.refusals += 1;
                tracing::error!(table, %error, "the table cannot be written; its patches wait");
                Next::Again(Duration::from_millis(500))
            }
            None => {
                tracing::warn!(table, %error, "a batch could not be written yet; it will be sent again");
                Next::Again(Duration::ZERO)
            }
        }
    }

    /// A batch that was never sent moves to the new session; of one that was, nobody can say any more what became.
    fn leave_session(&self, fence: &mut Option<Fence>, batch: &Batch, sent: bool) -> Next {
        let numbering = &self.writes.entries.numbering;
        *fence = None;
        if sent {
            numbering.begin_anew(Sequence(batch.sequence.0 + 1));
            Next::Settled(Outcomes::UNKNOWN)
        } else {
            numbering.begin_anew(batch.sequence);
            Next::Again(Duration::ZERO)
        }
    }

    /// The server stands elsewhere in the session: it was restored from a backup, or failed over to a standby that was
    /// behind.
    fn follow_server(&self, fence: &mut Option<Fence>, batch: &Batch, error: &Error) -> Next {
        let entries = &*self.writes.entries;
        let detail = error.db_error().and_then(|db| db.detail()).unwrap_or_default();
        let last: Option<i64> = detail.split("last_seq=").nth(1).and_then(|rest| rest.trim().parse().ok());
        let expected = entries.numbering.session().to_server(batch.sequence);
        let table = &entries.schema.meta.name;
        match last {
            Some(last) if last < expected.0 => {
                let lost = expected.0 - 1 - last;
                tracing::error!(table, lost, "the server has lost batches that it had confirmed");
                entries.numbering.renumber(batch.sequence, Sequence(last + 1));
                Next::Again(Duration::ZERO)
            }
            last => {
                tracing::error!(table, ?last, "the server is ahead of this session; the outcome is unknown");
                self.leave_session(fence, batch, true)
            }
        }
    }
}

/// A statement that took too long, or waited too long for a lock: it was rolled back.
fn is_undone(sqlstate: &str) -> bool {
    matches!(sqlstate, "57014" | "55P03")
}

/// What does not pass by itself, but may be the fault of a row's values or of a trigger that met them.
fn is_suspicious(sqlstate: &str) -> bool {
    !["08", "25", "40", "53", "57", "58", "CS"].iter().any(|class| sqlstate.starts_with(class))
        && !["55P03", "42501"].contains(&sqlstate)
}

/// Data exceptions, constraints, limits, and errors that functions raise: what a patch, not the table, is to blame for. The
/// same classes as the extension's, for what it could not isolate: a key that comes twice as Postgres reads it, say.
fn is_refusal(sqlstate: &str) -> bool {
    ["20", "21", "22", "23", "27", "44", "54", "P0"].iter().any(|class| sqlstate.starts_with(class))
}

fn rejected(sqlstate: &str) -> Record {
    let sqlstate = sqlstate.as_bytes().try_into().ok();
    Record { sqlstate, ..Record::of(Verdict::Rejected) }
}
