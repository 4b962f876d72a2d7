//! What a node does, call by call; each is written down with when it began and ended.

mod calls;
mod pace;
mod watched;
mod writes;

use super::log::Log;
use super::said::Counts;
use super::table::{Table, Terms, is_over};
use super::{NodeArguments, REFRESHING_MAX, SETTLE_MAX};
use crate::history::{COLUMNS, Event, Home, Nanos};
use crate::tables::{ITEM_TABLE, ITEMS, KEPT_TABLE, SWAPPED_TABLE};
use cache_sync::{CacheValue, Client, Error};
use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Dice, Result, locked, wait};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, watch};
use watched::Watchers;

/// Half of what is done to rows of numbers is done to the first of them.
const HOT: u64 = 4;
/// A task's pause between two calls, in milliseconds, at most.
const PAUSE_MAX: u64 = 14;
/// Once in so many times a call is given up, at some moment of the first 20 ms.
const GIVEN_UP_ONCE_IN: u64 = 25;
const GIVEN_UP_MICROS: u64 = 20_000;
/// How many errors are told that nobody expects.
const TOLD_MAX: usize = 10;
/// How long it may take until a node that is well has said so.
const WELL_MAX: Duration = Duration::from_secs(2);

/// A row of numbers: each node adds to a column of its own, plain writers to `n`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    id: i32,
    grp: i32,
    home: Home,
    n: i64,
    w1: i64,
    w2: i64,
    w3: i64,
    w4: i64,
}

impl Row {
    fn values(&self) -> [i64; COLUMNS] {
        [self.n, self.w1, self.w2, self.w3, self.w4]
    }

    fn column(&mut self, number: u32) -> &mut i64 {
        match number {
            1 => &mut self.w1,
            2 => &mut self.w2,
            3 => &mut self.w3,
            _ => &mut self.w4,
        }
    }
}

/// A row that is overwritten, deleted and made anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Item {
    id: i32,
    grp: i32,
    s: i64,
}

/// What the SDK says.
type Answer<T> = std::result::Result<T, Error>;

pub(crate) struct Work {
    client: Client,
    number: u32,
    only_reads: bool,
    pub(super) log: Arc<Log>,
    kept: Table<Row>,
    swapped: Table<Row>,
    items: Table<Item>,
    running: AtomicBool,
    /// When the last `catch_up` began that has succeeded.
    caught_up: AtomicI64,
    /// Makes each write another one.
    serial: AtomicI64,
    /// One write of an item at a time, so that it is known which is the later one.
    item_turns: Vec<AsyncMutex<()>>,
    counts: Mutex<Counts>,
    watchers: Watchers,
    /// Keys that the process has added to last.
    changed: Mutex<VecDeque<i32>>,
    /// Receipts that have not ended.
    unheard: Arc<AtomicU64>,
    /// Nobody waits for receipts any more.
    no_more: watch::Sender<bool>,
}

impl Work {
    pub(super) async fn new(client: &Client, arguments: &NodeArguments) -> Result<Work> {
        let terms = Terms {
            stale_while_refreshing: if arguments.serves_stale { REFRESHING_MAX } else { Duration::ZERO },
            refresh_on_change: arguments.number.is_multiple_of(2),
        };
        Ok(Work {
            client: client.clone(),
            number: arguments.number,
            only_reads: arguments.only_reads,
            log: Arc::new(Log::create(&arguments.history)?),
            kept: Table::open(client, KEPT_TABLE, terms).await?,
            swapped: Table::open(client, SWAPPED_TABLE, terms).await?,
            items: Table::open(client, ITEM_TABLE, terms).await?,
            running: AtomicBool::new(false),
            caught_up: AtomicI64::new(0),
            serial: AtomicI64::new(0),
            item_turns: (0..ITEMS).map(|_| AsyncMutex::new(())).collect(),
            counts: Mutex::default(),
            watchers: Watchers::default(),
            changed: Mutex::default(),
            unheard: Arc::default(),
            no_more: watch::Sender::new(false),
        })
    }

    pub(super) fn set_running(&self, is_running: bool) {
        self.running.store(is_running, Ordering::Release);
    }

    /// Acts until it is told to stop.
    pub(super) async fn run(self: Arc<Work>, seed: u64) {
        let mut dice = Dice::new(seed);
        while self.running.load(Ordering::Acquire) {
            let begun = now_ns();
            let done = match dice.below(100) {
                0..34 => self.read_row(&self.kept, &mut dice).await,
                34..46 => self.read_row(&self.swapped, &mut dice).await,
                46..58 => self.read_item(&mut dice).await,
                58..68 => self.query_sum(&mut dice).await,
                68..72 => self.query_items(&mut dice).await,
                72..83 => self.add(&self.kept, &mut dice).await,
                83..85 => self.count_or_create(&mut dice).await,
                85 => self.read_created(&mut dice).await,
                86..89 => self.add(&self.swapped, &mut dice).await,
                89..94 => self.write_item(&mut dice).await,
                94..96 => self.catch_up(&mut dice).await,
                96..98 => self.overtake(&mut dice).await,
                _ => self.invalidate(&mut dice),
            };
            let took = ((now_ns() - begun) / 1_000_000) as u64;
            let pause = {
                let mut counts = locked(&self.counts);
                counts.longest_ms = counts.longest_ms.max(took);
                if done.is_ok() { dice.below(PAUSE_MAX) } else { PAUSE_MAX }
            };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Waits for a call, or gives it up on the way.
    async fn call<T>(&self, dice: &mut Dice, call: impl Future<Output = Answer<T>>) -> Option<Answer<T>> {
        if !dice.once_in(GIVEN_UP_ONCE_IN) {
            return Some(call.await);
        }
        let answered = tokio::time::timeout(Duration::from_micros(dice.below(GIVEN_UP_MICROS)), call).await.ok();
        if answered.is_none() {
            locked(&self.counts).given_up += 1;
        }
        answered
    }

    /// Counts an error, and opens the cache again that says so.
    async fn failed<V: CacheValue>(&self, table: &Table<V>, opening: u32, error: Error) -> Result<()> {
        if !is_over(&error) {
            return self.refused(error);
        }
        match table.open_again(opening).await {
            Ok(()) => Ok(()),
            Err(error) => self.refused(error),
        }
    }

    fn refused(&self, error: Error) -> Result<()> {
        let mut counts = locked(&self.counts);
        counts.unavailable += 1;
        // Statements that waited for a lock for too long; a table that is detached for a moment.
        let is_expected = error.is_retryable()
            || error.is_missing()
            || matches!(error.sqlstate(), Some("57014" | "CS005" | "42P01"))
            || error.to_string().contains("is not attached")
            || is_over(&error);
        if !is_expected && counts.unexpected.len() < TOLD_MAX {
            counts.unexpected.push(format!("node {}: {error:?}", self.number));
        }
        Err(error.into())
    }

    fn caught_up_at(&self) -> Nanos {
        self.caught_up.load(Ordering::Acquire)
    }

    /// Whether the feed is heard and every cache answers.
    pub(super) async fn is_well(&self) -> bool {
        let answers = async {
            self.client.catch_up().await.is_ok()
                && self.kept.now().cache.get(&1).await.is_ok()
                && self.swapped.now().cache.get(&1).await.is_ok()
                && self.items.now().cache.get(&1).await.is_ok()
        };
        self.client.status().feed_live && tokio::time::timeout(WELL_MAX, answers).await.unwrap_or(false)
    }

    /// Waits until the outcome of every write is known, and hands back how many are not.
    pub(super) async fn outcomes_heard(&self) -> u64 {
        let all = async || Ok(self.unheard.load(Ordering::Acquire) == 0);
        let heard = wait::until(SETTLE_MAX, Duration::from_millis(5), all).await;
        let left = self.unheard.load(Ordering::Acquire);
        if !matches!(heard, Ok(true)) {
            self.no_more.send_replace(true);
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.no_more.send_replace(false);
        }
        left
    }

    /// Writes down what the caches hold.
    pub(super) async fn write_held(&self) -> Result<()> {
        self.write_watched().await?;
        for table in [&self.kept, &self.swapped] {
            for (id, row) in table.now().cache.entries() {
                let Some(row) = row else { continue };
                self.log.write(&Event::HeldRow { home: row.home, id, values: row.values() })?;
            }
        }
        for (id, item) in self.items.now().cache.entries() {
            self.log.write(&Event::HeldItem { id, state: item.map(|item| item.s) })?;
        }
        self.log.flush()
    }

    pub(super) fn counts(&self, client: &Client) -> Counts {
        let status = client.status();
        let openings = [&self.kept.openings, &self.swapped.openings, &self.items.openings];
        let caches = &status.caches;
        Counts {
            opened_again: openings.iter().map(|openings| openings.load(Ordering::Relaxed) - 1).sum(),
            hits: caches.iter().map(|cache| cache.hits).sum(),
            loads: caches.iter().map(|cache| cache.load_statements).sum(),
            gaps: status.gaps,
            standby_loads: status.standby_loads,
            ..locked(&self.counts).clone()
        }
    }
}
