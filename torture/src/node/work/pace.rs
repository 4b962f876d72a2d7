//! Calls at a pace of their own, however long the ones before take; and glances, which see all that memory would serve.

use super::{Item, Row, Work};
use crate::history::{Call, Event, Nanos, Span};
use crate::tables::{ITEMS, ROWS, SHELF_ROWS};
use cache_sync::Freshness;
use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Dice, locked};
use futures_util::FutureExt;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often somebody comes.
const PACE: Duration = Duration::from_millis(60);
/// How many of those may wait.
const WAITING_MAX: usize = 64;
/// How often memory is looked at.
const GLANCE: Duration = Duration::from_millis(4);
/// How many keys are looked at that the process has written itself.
const CHANGED_MAX: usize = 12;
/// What memory goes on to show is written down this often, and when it shows it last.
const AGAIN: Nanos = 500_000_000;

/// What memory showed of one key.
struct Glanced {
    /// Written down last.
    told: Event,
    at: Nanos,
    /// Seen since, and the same.
    since: Option<Event>,
}

/// What was seen of each key, by table and key.
#[derive(Default)]
struct Glances(HashMap<(u8, i32), Glanced>);

impl Work {
    /// Calls that begin whether or not those before have ended.
    pub(in super::super) async fn run_at_pace(self: Arc<Work>, seed: u64) {
        let mut dice = Dice::new(seed);
        let mut waiting = JoinSet::new();
        while self.running.load(Ordering::Acquire) {
            while waiting.try_join_next().is_some() {}
            if waiting.len() < WAITING_MAX {
                let (work, mut dice) = (self.clone(), Dice::new(dice.below(1 << 40)));
                waiting.spawn(async move {
                    match dice.below(8) {
                        0 => work.query_sum(&mut dice).await,
                        1 => work.overtake(&mut dice).await,
                        2 => work.add(&work.kept, &mut dice).await,
                        3 => work.read_row(&work.swapped, &mut dice).await,
                        _ => work.read_row(&work.kept, &mut dice).await,
                    }
                });
            }
            tokio::time::sleep(PACE).await;
        }
        while waiting.join_next().await.is_some() {}
    }

    /// Looks at what memory serves.
    pub(in super::super) async fn glance(self: Arc<Work>) {
        let mut glances = Glances::default();
        while self.running.load(Ordering::Acquire) {
            for key in 1..=ROWS {
                let row = self.glance_row(&self.kept, key);
                glances.note(&self, (0, key), row);
            }
            self.glance_changed(&mut glances);
            for key in 1..=SHELF_ROWS {
                let row = self.glance_row(&self.swapped, key);
                glances.note(&self, (1, key), row);
            }
            for key in 0..ITEMS {
                let item = self.glance_item(key);
                glances.note(&self, (2, key), item);
            }
            tokio::time::sleep(GLANCE).await;
        }
        glances.finish(&self);
    }

    fn glance_row(&self, table: &super::Table<Row>, key: i32) -> Option<Event> {
        let (opened, caught_up, begun) = (table.now(), self.caught_up_at(), now_ns());
        let row = opened.cache.held(&key)?.value?;
        let call = glanced(begun, caught_up, opened.number);
        Some(Event::Row { call, home: row.home, id: key, values: row.values() })
    }

    /// Of rows that a batch is under way for a read shows more than memory alone. It does not wait; while the feed is not heard each would
    /// be a load.
    fn glance_changed(&self, glances: &mut Glances) {
        if !self.client.status().feed_live {
            return;
        }
        let changed: Vec<i32> = locked(&self.changed).iter().copied().collect();
        for key in changed {
            let (opened, caught_up, begun) = (self.kept.now(), self.caught_up_at(), now_ns());
            let read = opened.cache.lookup(&key, Freshness::Cached).now_or_never().and_then(Result::ok);
            let row = read.filter(|read| read.stale_for.is_none()).and_then(|read| read.value).map(|row| Event::Row {
                call: glanced(begun, caught_up, opened.number),
                home: row.home,
                id: key,
                values: row.values(),
            });
            glances.note(self, (3, key), row);
        }
    }

    /// Of such keys the last are kept in mind.
    pub(super) fn note_changed(&self, key: i32) {
        let mut changed = locked(&self.changed);
        changed.retain(|other| *other != key);
        changed.push_back(key);
        if changed.len() > CHANGED_MAX {
            changed.pop_front();
        }
    }

    fn glance_item(&self, key: i32) -> Option<Event> {
        let (opened, caught_up, begun) = (self.items.now(), self.caught_up_at(), now_ns());
        let item: Option<Arc<Item>> = opened.cache.held(&key)?.value;
        let call = glanced(begun, caught_up, opened.number);
        Some(Event::Item { call, id: key, state: item.map(|item| item.s) })
    }

    /// A line that cannot be written makes the history shorter, and hides nothing that was written.
    fn note(&self, event: &Event) {
        drop(self.log.write(event));
    }
}

fn glanced(begun: Nanos, caught_up: Nanos, opening: u32) -> Call {
    Call { span: Span { begun, ended: now_ns() }, caught_up, is_stale: false, opening }
}

impl Glances {
    fn note(&mut self, work: &Work, key: (u8, i32), seen: Option<Event>) {
        let Some(seen) = seen else {
            if let Some(last) = self.0.remove(&key).and_then(|glanced| glanced.since) {
                work.note(&last);
            }
            return;
        };
        let now = now_ns();
        match self.0.get_mut(&key) {
            Some(glanced) if is_same(&glanced.told, &seen) && now - glanced.at < AGAIN => glanced.since = Some(seen),
            glanced => {
                if let Some(last) = glanced.and_then(|glanced| glanced.since.take()) {
                    work.note(&last);
                }
                work.note(&seen);
                self.0.insert(key, Glanced { told: seen, at: now, since: None });
            }
        }
    }

    fn finish(&mut self, work: &Work) {
        self.0.drain().filter_map(|(_, glanced)| glanced.since).for_each(|last| work.note(&last));
    }
}

/// Whether the second says nothing that the first has not said, but for when.
fn is_same(one: &Event, other: &Event) -> bool {
    match (one, other) {
        (Event::Row { call, home, id, values }, Event::Row { call: at, home: of, id: key, values: now }) => {
            (call.opening, call.caught_up, home, id, values) == (at.opening, at.caught_up, of, key, now)
        }
        (Event::Item { call, id, state }, Event::Item { call: at, id: key, state: now }) => {
            (call.opening, call.caught_up, id, state) == (at.opening, at.caught_up, key, now)
        }
        _ => false,
    }
}
