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
use super::pace::{Pace, Turn};
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::jittered;
use crate::common::lock::lock;
use crate::entries::Outcomes;
use crate::error::{Error, ErrorKind};
use crate::meter::Timer;
use crate::receipt::Refusal;
use crate::store::{BatchLink, Batches, Sending};
use cache_sync_core::number::{Fence, Sequence};
use cache_sync_core::outcome::{self, Record, Verdict};
use cache_sync_core::sqlstate::{Fault, took_too_long};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Instrument, debug_span, field};
use uuid::Uuid;

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// How often a batch that Postgres refuses as a whole is tried before it is halved, and its last patch given up.
const REFUSALS_MAX: u32 = 3;

/// How long it may take to ask why patches were refused, which others wait for.
const LETTERS_MAX: Duration = Duration::from_secs(1);

/// Writes the batches of one table, in a task of its own.
pub(crate) struct Flusher<K, V> {
    pub(crate) writes: Arc<Writes<K, V>>,
    pub(crate) connection: Arc<dyn Batches>,
    pub(crate) apply_timeout: Duration,
}

/// What is known from the tries of a batch so far.
#[derive(Default)]
struct Tries {
    /// How many there were.
    sends: u32,
    /// It may have reached the server, which may have applied it.
    sent: bool,
    /// How often Postgres has refused it as a whole.
    refusals: u32,
    /// How often that may have been the fault of one of its patches.
    suspicions: u32,
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
            if self.write_measured(&mut fence, &batch, turn).await {
                pace.went_well(turn);
                continue;
            }
            let aside = turn == Turn::Aside || batch.keys.len() == 1;
            if aside && turn == Turn::Line {
                self.writes.hindrance.set_aside(&batch.keys);
            }
            self.writes.thaw(sequence, &batch.keys, aside);
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
                false => *gathered_at.get_or_init(|| Instant::now() + self.writes.limits.flush_interval),
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

    /// Writes a batch, and says so to whom it concerns. `false`: it was not applied, and must go out otherwise.
    async fn write_measured(&self, fence: &mut Option<Fence>, batch: &Batch, turn: Turn) -> bool {
        let entries = &*self.writes.entries;
        if batch.keys.is_empty() {
            entries.numbering.leave_out(batch.sequence);
            return true;
        }
        let (table, patches) = (&entries.schema, batch.keys.len());
        let span = debug_span!(
            "cache_sync.batch",
            table = table.display_name(),
            patches,
            sequence = batch.sequence.0,
            outcome = field::Empty,
        );
        let is_settled = self.write(fence, batch, turn).instrument(span.clone()).await;
        span.record("outcome", if is_settled { "settled" } else { "undone" });
        is_settled
    }

    /// Sends a batch until its outcome is known.
    async fn write(&self, fence: &mut Option<Fence>, batch: &Batch, turn: Turn) -> bool {
        let entries = &*self.writes.entries;
        let began = Timer::start();
        // What was set aside is suspicious, and must not keep the line waiting.
        let suspicions = if turn == Turn::Aside { REFUSALS_MAX } else { 0 };
        let (mut tries, mut pause) = (Tries { suspicions, ..Tries::default() }, PAUSE_MIN);
        let outcomes = loop {
            tries.sends += 1;
            let next = match self.send(fence, batch, &mut tries).await {
                Ok(outcomes) => Next::Settled(outcomes),
                Err(error) => {
                    self.note(batch, turn, &error);
                    self.after_error(fence, batch, turn, &error, &mut tries)
                }
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
        if turn == Turn::Line {
            self.writes.hindrance.succeeded();
        }
        self.writes.hindrance.succeeded_aside(&batch.keys);
        let free = |bytes| self.writes.budget.give_back(bytes);
        entries.settle(&batch.keys, batch.sequence, &outcomes, free);
        entries.meter.batch(began, batch.keys.len(), tries.sends);
        true
    }

    /// Tells whoever waits what the batch has met.
    fn note(&self, batch: &Batch, turn: Turn, error: &Error) {
        match (error.fault(), turn) {
            // The next try goes on from there.
            (Some(Fault::Session), _) => {}
            (_, Turn::Line) => self.writes.hindrance.failed(error),
            (_, Turn::Aside) => self.writes.hindrance.failed_aside(&batch.keys, error),
        }
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
            let is_refused = |code| took_too_long(code) || !matches!(Fault::of(code), Fault::Away | Fault::Batch);
            if error.is_some_and(|error| !error.is_fatal() && error.sqlstate().is_some_and(is_refused)) {
                tries.sent = before;
            }
            Ok((applied?, connected, sending.sequence))
        };
        // The server's own time-outs come first: what they end has not been applied, and holds nothing any more.
        let Ok(applied) = tokio::time::timeout(self.apply_timeout.mul_f64(1.5), work).await else {
            self.connection.forget().await;
            return Err(Error::timeout("writing a batch", self.apply_timeout));
        };
        let (applied, connected, sequence) = applied?;
        let same_server = applied.epoch.0 == entries.common.freshness.epoch();
        if !same_server && entries.common.is_live() {
            self.connection.doubt_server();
        }
        let records = outcome::unpack(&applied.outcomes).map_err(|error| {
            Error::caused(ErrorKind::Mismatch, "the extension answers a batch in a way unknown here", error)
        })?;
        let refusals = self.refusals(&*connected, session.id, sequence, &records).await;
        Ok(Outcomes { records: Some(records), refusals, same_server })
    }

    /// Why Postgres refused patches, as far as it lets us know that.
    async fn refusals(
        &self,
        connected: &dyn BatchLink,
        session: Uuid,
        sequence: Sequence,
        records: &[Record],
    ) -> HashMap<usize, Refusal> {
        let refused = records.iter().filter(|record| record.verdict == Verdict::Rejected).count();
        if refused == 0 {
            return HashMap::new();
        }
        let letters = connected.dead_letters(session, sequence, refused);
        let Ok(letters) = tokio::time::timeout(LETTERS_MAX, letters).await else {
            // The next batch must not wait behind it.
            self.connection.forget().await;
            return HashMap::new();
        };
        letters.unwrap_or_else(|error| {
            tracing::debug!(error = %error.logged(), "why patches were refused could not be asked");
            HashMap::new()
        })
    }

    fn after_error(
        &self,
        fence: &mut Option<Fence>,
        batch: &Batch,
        turn: Turn,
        error: &Error,
        tries: &mut Tries,
    ) -> Next {
        let table = &self.writes.entries.schema.meta.name;
        let code = error.sqlstate().unwrap_or_default();
        let fault = error.fault();
        tries.suspicions += u32::from(fault.is_some_and(Fault::may_be_of_a_row));
        let is_last = tries.refusals + 1 >= REFUSALS_MAX;
        match fault {
            // The session is this client's alone: it can only have been opened by an earlier try of its own that came
            // late. Number and digest see to it that the batch is applied once.
            Some(Fault::Session) if code == "CS002" => {
                *fence = None;
                Next::Again(Duration::ZERO)
            }
            Some(Fault::Session) if code == "CS003" => self.follow_server(fence, batch, error),
            Some(Fault::Session) => {
                tracing::error!(table, error = %error.logged(), sent = tries.sent, "the session is lost; going on with a new one");
                // Something of ours was committed under this number.
                self.leave_session(fence, batch, tries.sent || code == "CS004")
            }
            Some(Fault::WrongServer) => {
                self.connection.doubt_server();
                Next::Again(Duration::ZERO)
            }
            Some(_) if took_too_long(code) => Next::Undone,
            Some(Fault::Away | Fault::Batch | Fault::Login) | None => Next::Again(Duration::ZERO),
            // Two that Postgres cannot take together (keys that are one to it, say) it may take one after the other.
            Some(Fault::Row) if is_last && batch.keys.len() > 1 => Next::Undone,
            Some(Fault::Row) if is_last => Next::Settled(self.give_up(batch, error)),
            // Postgres could not tell either whether it is this patch or the table: the others show it.
            Some(fault) if fault.may_be_of_a_row() && tries.suspicions > REFUSALS_MAX && batch.keys.len() == 1 => {
                Next::Undone
            }
            Some(_) if turn == Turn::Aside => Next::Undone,
            Some(_) => {
                tries.refusals += 1;
                Next::Again(Duration::from_millis(500))
            }
        }
    }

    /// Postgres does not take the batch's only patch, and has not kept it among the dead letters.
    fn give_up(&self, batch: &Batch, error: &Error) -> Outcomes {
        let Batch { sequence, shapes, rows, .. } = batch;
        let table = self.writes.entries.schema.display_name();
        tracing::error!(table, %error, sqlstate = error.sqlstate(), shapes, ?rows, "Postgres refuses a patch; it is given up");
        // Before anybody hears of it: a load that begins then must count as one that contains the batch.
        self.writes.entries.numbering.leave_out(*sequence);
        let sqlstate = error.sqlstate().and_then(|code| code.as_bytes().try_into().ok());
        let refusal = Refusal {
            message: error.to_string(),
            constraint: error.constraint().map(str::to_owned),
            dead_letter: None,
        };
        Outcomes {
            records: Some(vec![Record { sqlstate, ..Record::of(Verdict::Rejected) }]),
            refusals: HashMap::from([(0, refusal)]),
            same_server: true,
        }
    }

    /// A batch that was never sent moves to the new session; of one that was, nobody can say any more what became.
    fn leave_session(&self, fence: &mut Option<Fence>, batch: &Batch, sent: bool) -> Next {
        let numbering = &self.writes.entries.numbering;
        *fence = None;
        if sent {
            numbering.begin_anew(Sequence(batch.sequence.0 + 1));
            Next::Settled(Outcomes::unknown())
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
