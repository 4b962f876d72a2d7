//! `CALL stream`: turns the connection into a feed.
//!
//! The procedure ends its transaction at once and holds no snapshot while it waits. What it does then is a loop of
//! steps, each of which does what there is to do without waiting, and one wait.

mod client;

use super::since::{self, Since};
use super::subscription::{self, Subscription};
use crate::call::argument::argument;
use crate::call::function::sql_functions;
use crate::pg::failure::Failure;
use crate::pg::{backend, host_time, settings, sqlstate, standby};
use crate::ring::{self, Entry, Listener, READ_MAX, Read, hlc, view, whole};
use crate::server::epoch;
use crate::tables::catalog::Locked;
use crate::tables::known;
use cache_sync_core::number::{Epoch, HostTime, Position, Stamp, TableId};
use cache_sync_core::wire::{Body, Change, Message};
use client::Client;
use pgrx::pg_sys;
use std::time::{Duration, Instant};

/// Most changes in one message; keeps it below 15 kB.
const CHANGES_MAX: usize = 512;
/// Most times that the ring is read for one message, when most of its changes are for others.
const READS_MAX: usize = 64;
/// By how much each listener stretches the time between two messages of one.
const STRETCH: Duration = Duration::from_micros(400);
/// However many there are.
const STRETCH_MAX: Duration = Duration::from_millis(100);
/// By how much each change since the last message stretches it, too: a message takes its turn on a processor from those who write,
/// and the more they write, the less they have to spare.
const STRETCH_BY_CHANGE: Duration = Duration::from_micros(50);
/// However many there were.
const STRETCH_BY_CHANGES_MAX: Duration = Duration::from_millis(3);

sql_functions! {
    /// `stream(table_ids int[], since_epoch bigint, since_position bigint)`
    fn stream / pg_finfo_stream(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: Postgres calls this function with a call it has filled in, and with these arguments.
            let (tables, since) = unsafe {
                refuse_in_transaction(fcinfo)?;
                (subscription::table_ids(argument(fcinfo, 0))?, Since { epoch: argument(fcinfo, 1), position: argument(fcinfo, 2) })
            };
            let mut feed = Feed::open(tables, since)?;
            loop {
                feed.step().map_err(|failure| feed.client.or_end(failure))?;
                feed.wait();
            }
        })
    }
}

/// A feed in this backend.
struct Feed {
    client: Client,
    listener: Listener,
    subscription: Subscription,
    /// What was known of the extension's tables when the subscription was looked at last.
    generation: u64,
    secret_id: i64,
    epoch: Epoch,
    /// Everything up to here has been put.
    position: u64,
    /// What was committed before this has been put; none while what was missed before is being told.
    as_of: Option<HostTime>,
    /// A head, and when it was looked at: once everything up to it has been put, `as_of` is that time.
    mark: Option<(u64, HostTime)>,
    next_heartbeat: Instant,
    /// The head when the feed began, or heard that tables have come or gone: what is there until then is told first, and then a heartbeat
    /// says so.
    catching_up_to: Option<u64>,
    /// When to look at the ring again, after a message was put; not waiting for a wake-up until then.
    resting_until: Option<Instant>,
    entries: Box<[Entry; READ_MAX]>,
}

impl Feed {
    fn open(tables: Option<Vec<TableId>>, since: Since) -> Result<Feed, Failure> {
        standby::refuse_standby()?;
        if !ring::is_there() {
            return Err(Failure::not_preloaded());
        }
        let client = Client::new()
            .ok_or_else(|| Failure::new(b"0A000", "cache_sync.stream() can only be called by a client's connection"))?;
        let secret = known::secret(Locked::Wait).ok_or_else(gone)?;
        let generation = known::generation();
        let subscription = Subscription::new(tables)?;
        let epoch = epoch::of(secret.id);
        let (position, resumed) = resume(epoch, since);
        let listener = Listener::join(position).ok_or_else(|| {
            Failure::new(b"53300", format!("all {} feeds are taken", settings::max_listeners())).hint(
                if ring::is_preloaded() {
                    "Raise cache_sync.max_listeners and restart the server."
                } else {
                    "Add cache_sync to shared_preload_libraries, raise cache_sync.max_listeners and restart the server."
                },
            )
        })?;
        let mut feed = Feed {
            client,
            listener,
            subscription,
            generation,
            secret_id: secret.id,
            epoch,
            position,
            as_of: None,
            mark: None,
            next_heartbeat: Instant::now() + settings::heartbeat_interval(),
            catching_up_to: Some(ring::head()),
            resting_until: None,
            entries: Box::new([Entry::NONE; READ_MAX]),
        };
        new_transaction();
        // What the transaction before began to LISTEN to is known from its commit on.
        refuse_listening()?;
        if since.epoch.is_some() && since.position.is_some() && !resumed {
            feed.listener.count_gap();
        }
        feed.put(Body::Start { resumed });
        Ok(feed)
    }

    /// Does what there is to do without waiting.
    fn step(&mut self) -> Result<(), Failure> {
        // SAFETY: the latch is this process' own. It is reset before anything that may set it is looked at.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
        self.client.check_interrupts();
        if reload_settings() {
            self.client.bound_silence();
        }
        if !self.client.has_taken_all() {
            return Ok(());
        }
        if let Some(end) = self.catching_up_to {
            return self.catch_up(end);
        }
        let now = Instant::now();
        if now >= self.next_heartbeat {
            return self.heartbeat();
        }
        if self.resting_until.is_none_or(|end| end <= now) {
            self.resting_until = None;
            self.tell_changes();
        }
        Ok(())
    }

    fn catch_up(&mut self, end: u64) -> Result<(), Failure> {
        if self.position < end {
            self.tell_changes();
            return Ok(());
        }
        self.catching_up_to = None;
        self.heartbeat()
    }

    /// Waits for something to do.
    fn wait(&mut self) {
        if !self.client.has_taken_all() {
            // Until then there are no heartbeats either.
            return self.client.wait(settings::send_timeout(), || ());
        }
        let now = Instant::now();
        let time = self.next_heartbeat.saturating_duration_since(now);
        if self.catching_up_to.is_some() {
            return;
        }
        if let Some(end) = self.resting_until {
            return self.client.wait(time.min(end.saturating_duration_since(now)), || ());
        }
        if self.listener.arm(self.position) {
            self.client.wait(time, || self.listener.woken());
        }
    }

    /// Puts the next message of changes, if there are any.
    fn tell_changes(&mut self) {
        let mut changes = Vec::new();
        let before = self.position;
        self.look();
        for _ in 0..READS_MAX {
            match ring::read(self.position, &mut self.entries) {
                Read::Copied(count) => {
                    self.subscription.select(&self.entries[..count], &mut changes);
                    self.position += count as u64;
                    if count < READ_MAX {
                        self.rest(self.position - before);
                        break;
                    }
                }
                Read::Lapped if self.position == before => {
                    self.position = ring::head();
                    self.note_progress();
                    return self.put(Body::Gap);
                }
                Read::Lapped => break,
            }
            if changes.len() + READ_MAX > CHANGES_MAX {
                break;
            }
        }
        self.note_progress();
        if self.position == before {
            self.resting_until = None;
        } else {
            // Also without a change for this client: it may be waiting for the position.
            self.put(Body::Changes(changes));
        }
    }

    /// Starts a new transaction, sees to it that the client may still read what it is told of, and says that all is
    /// well. A feed that is behind says so in the position, and as of when that is.
    fn heartbeat(&mut self) -> Result<(), Failure> {
        self.next_heartbeat = Instant::now() + settings::heartbeat_interval();
        self.look();
        // SAFETY: may be called in any transaction.
        unsafe { pg_sys::AcceptInvalidationMessages() };
        if is_server_stopping() {
            let failure = Failure::new(b"57P01", "terminating connection due to administrator command");
            self.client.end(failure.detail("The server is to stop once all clients have left."));
        }
        let changes = self.check()?;
        self.note_progress();
        self.put(if changes.is_empty() { Body::Heartbeat } else { Body::Changes(changes) });
        Ok(())
    }

    /// Looks again at what the client may be told of, and answers with what is to be told of tables that have come or gone: what has
    /// changed in them meanwhile was, or will be, not selected.
    fn check(&mut self) -> Result<Vec<Change>, Failure> {
        self.generation = known::generation();
        if known::secret(Locked::Wait).ok_or_else(gone)?.id != self.secret_id {
            return Err(gone());
        }
        let others = self.subscription.check_again()?;
        new_transaction();
        Ok(others.into_iter().map(whole).collect())
    }

    /// Marks where the head is, unless what was up to the last mark has not been put yet.
    fn look(&mut self) {
        self.mark.get_or_insert_with(|| {
            // The time first: what is published between the two is no loss.
            let now = host_time::now();
            (ring::head(), now)
        });
    }

    /// Everything up to the position is about to be put. Of a table that was detached, or with the extension dropped, nobody tells any more:
    /// before it says that all has been told as of then, a feed looks again at what it tells of, once the last of those is told, too.
    fn note_progress(&mut self) {
        // SAFETY: may be called in any transaction.
        unsafe { pg_sys::AcceptInvalidationMessages() };
        if known::generation() != self.generation {
            self.catching_up_to.get_or_insert_with(ring::head);
            return;
        }
        if let Some((_, looked)) = self.mark.take_if(|(head, _)| *head <= self.position) {
            self.as_of = Some(looked);
        }
    }

    /// Lets changes gather before the next message, after one of so many. Only a feed that has caught up does.
    fn rest(&mut self, changes: u64) {
        let changes = u32::try_from(changes).unwrap_or(u32::MAX);
        let pause = settings::wake_interval()
            + (STRETCH * view::listeners_count()).min(STRETCH_MAX)
            + STRETCH_BY_CHANGE.saturating_mul(changes).min(STRETCH_BY_CHANGES_MAX);
        // The wait counts in milliseconds; one listener alone is not stretched to the next one.
        self.resting_until = Some(Instant::now() + Duration::from_millis(pause.as_millis() as u64));
    }

    fn put(&mut self, body: Body) {
        self.listener.tell_position(self.position, self.as_of);
        self.listener.count(&body);
        let lsn = match body {
            // What came before may be anything up to now.
            Body::Start { .. } | Body::Gap => standby::log_end(),
            Body::Changes(_) | Body::Heartbeat => ring::last_lsn(),
        };
        self.client.put(&Message {
            epoch: self.epoch,
            position: Position(self.position),
            hlc: Stamp(hlc::now()),
            lsn,
            sent: host_time::now(),
            as_of: self.as_of,
            body,
        });
    }
}

/// Where a feed begins, and whether that is where the client asked for: the same memory, which still holds everything
/// from there on.
fn resume(epoch: Epoch, since: Since) -> (u64, bool) {
    match since {
        Since { epoch: Some(of), position: Some(position) } if of as u64 == epoch.0 => match since::held(position) {
            Ok(position) => (position, true),
            Err(head) => (head, false),
        },
        _ => (ring::head(), false),
    }
}

/// A backend takes others' notifications between its statements only, and Postgres keeps all that anybody puts, in any database, until
/// the last of those who LISTEN has taken it. When its queue is full, commits fail.
fn refuse_listening() -> Result<(), Failure> {
    if !backend::listens() {
        return Ok(());
    }
    Err(Failure::new(b"55000", "cache_sync.stream() cannot run on a connection that LISTENs")
        .detail("It would take no notification as long as the feed runs, and the server keeps what is not taken, until commits fail.")
        .hint("The feed needs no LISTEN: send UNLISTEN * before, or LISTEN on another connection."))
}

fn gone() -> Failure {
    Failure::new(b"55000", "the extension cache_sync was dropped or created anew")
        .hint("Subscribe again, and take everything held for changed.")
}

/// # Safety
/// `fcinfo` must be what Postgres called a procedure with.
unsafe fn refuse_in_transaction(fcinfo: pg_sys::FunctionCallInfo) -> Result<(), Failure> {
    // SAFETY: the caller vouches for `fcinfo`; a context that is not null is a node and says which.
    let may_commit = unsafe {
        let context = (*fcinfo).context;
        !context.is_null()
            && (*context).type_ == pg_sys::NodeTag::T_CallContext
            && !(*context.cast::<pg_sys::CallContext>()).atomic
    };
    if may_commit {
        return Ok(());
    }
    Err(Failure::new(
        b"25001",
        "cache_sync.stream() cannot run inside a transaction block, a function or a subtransaction",
    )
    .hint("Send CALL cache_sync.stream() by itself, on a connection that is used for nothing else."))
}

/// Ends the transaction and starts another one, as COMMIT in a procedure does. Neither snapshot nor catalog snapshot
/// outlives it, so a waiting feed keeps nobody from vacuuming.
fn new_transaction() {
    // SAFETY: `refuse_in_transaction` saw to it that the procedure may commit.
    unsafe {
        pg_sys::SPI_connect_ext(pg_sys::SPI_OPT_NONATOMIC as i32);
        pg_sys::SPI_commit();
        pg_sys::SPI_finish();
    }
}

/// Whether the server waits for its clients to leave (`pg_ctl stop -m smart`), which Postgres tells nobody but its lock file.
fn is_server_stopping() -> bool {
    const STATUS_LINE: usize = 8;
    // A backend's directory is the server's; without that file nobody is to be waited for either.
    let file = std::fs::read_to_string("postmaster.pid").unwrap_or_default();
    file.lines().nth(STATUS_LINE - 1).is_some_and(|status| status.trim() == "stopping")
}

/// Takes over changes of the configuration files, which Postgres does between statements only. Says whether there were any.
fn reload_settings() -> bool {
    // SAFETY: the flag is set by a signal handler and cleared by who handles it.
    unsafe {
        if (&raw const pg_sys::ConfigReloadPending).read_volatile() != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
            return true;
        }
    }
    false
}
