//! Reads, queries, and catching up.

use super::super::table::Table;
use super::{HOT, Item, Row, Work};
use crate::history::{COLUMNS, Call, Event, Nanos, Span};
use crate::tables::{CREATED, GROUPS, ITEM_TABLE, ITEMS, KEPT_TABLE, ROWS, SHELF_ROWS, SWAPPED_TABLE};
use cache_sync::{Freshness, Query};
use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Dice, Result, locked};
use serde::Deserialize;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Mostly one and the same is asked for, so that several ask at a time.
const HOT_GROUP: i32 = 1;
const SUM: &str =
    "SELECT max(home) AS home, count(*) AS rows, sum(n)::bigint AS n, sum(w1 + w2 + w3 + w4)::bigint AS w";
const SLOW_SECONDS: f64 = 0.8;
/// Two questions for the same: what is held of one says nothing of the other.
const QUICK: u32 = 0;
const SLOW: u32 = 1;

/// A group, summed up.
#[derive(Deserialize)]
struct Summed {
    home: i32,
    rows: i64,
    n: i64,
    w: i64,
}

impl Work {
    /// A key of a table of numbers.
    pub(super) fn row_key(&self, table: &Table<Row>, dice: &mut Dice) -> i32 {
        let rows = if std::ptr::eq(table, &self.swapped) { SHELF_ROWS } else { ROWS };
        let below = if dice.once_in(2) { HOT } else { rows as u64 };
        dice.below(below) as i32 + 1
    }

    /// A call that began at `begun` and has been answered.
    fn answered(&self, begun: Nanos, caught_up: Nanos, stale_for: Option<Duration>, opening: u32) -> Call {
        Call { span: Span { begun, ended: now_ns() }, caught_up, is_stale: stale_for.is_some(), opening }
    }

    /// How fresh a read that begins now is to be; and from when on everything must be in it, beside the bound.
    fn asked_for(&self, begun: Nanos, dice: &mut Dice) -> (Freshness, Nanos) {
        let caught_up = self.caught_up_at();
        match dice.below(8) {
            0 => (Freshness::Latest, begun),
            1 => {
                let age = Duration::from_millis(dice.below(500));
                (Freshness::AtMost(age), caught_up.max(begun - age.as_nanos() as Nanos))
            }
            _ => (Freshness::Cached, caught_up),
        }
    }

    pub(super) async fn read_row(&self, table: &Table<Row>, dice: &mut Dice) -> Result<()> {
        let key = self.row_key(table, dice);
        self.read_numbers(table, key, dice).await
    }

    /// Reads a row that is there as soon as somebody has counted in it.
    pub(super) async fn read_created(&self, dice: &mut Dice) -> Result<()> {
        self.read_numbers(&self.kept, -1 - dice.below(CREATED as u64) as i32, dice).await
    }

    async fn read_numbers(&self, table: &Table<Row>, key: i32, dice: &mut Dice) -> Result<()> {
        let opened = table.now();
        let begun = now_ns();
        let (freshness, caught_up) = self.asked_for(begun, dice);
        let read = match self.call(dice, opened.cache.lookup(&key, freshness)).await {
            Some(Ok(read)) => read,
            Some(Err(error)) => return self.failed(table, opened.number, error).await,
            None => return Ok(()),
        };
        let call = self.answered(begun, caught_up, read.stale_for, opened.number);
        locked(&self.counts).reads += 1;
        let (home, values) = match (&read.value, opened.home.get()) {
            (Some(row), _) => (row.home, row.values()),
            // What nobody has counted in yet.
            (None, Some(home)) if key < 0 => (*home, [0; COLUMNS]),
            (None, None) if key < 0 => return Ok(()),
            (None, _) => return self.gone(key),
        };
        opened.home.get_or_init(|| home);
        self.log.write(&Event::Row { call, home, id: key, values })
    }

    /// Rows of numbers are never deleted.
    fn gone(&self, key: i32) -> Result<()> {
        locked(&self.counts).unexpected.push(format!("node {}: row {key} is said not to exist", self.number));
        Ok(())
    }

    pub(super) async fn read_item(&self, dice: &mut Dice) -> Result<()> {
        let (key, opened) = (dice.below(ITEMS as u64) as i32, self.items.now());
        let begun = now_ns();
        let (freshness, caught_up) = self.asked_for(begun, dice);
        let read = match self.call(dice, opened.cache.lookup(&key, freshness)).await {
            Some(Ok(read)) => read,
            Some(Err(error)) => return self.failed(&self.items, opened.number, error).await,
            None => return Ok(()),
        };
        let call = self.answered(begun, caught_up, read.stale_for, opened.number);
        locked(&self.counts).reads += 1;
        self.log.write(&Event::Item { call, id: key, state: read.value.map(|item| item.s) })
    }

    pub(super) async fn query_sum(&self, dice: &mut Dice) -> Result<()> {
        match dice.below(4) {
            0 => self.sum_of(SWAPPED_TABLE, dice.below(GROUPS as u64) as i32, dice).await,
            1 => self.sum_of(KEPT_TABLE, dice.below(GROUPS as u64) as i32, dice).await,
            _ => self.sum_of(KEPT_TABLE, HOT_GROUP, dice).await,
        }
    }

    async fn sum_of(&self, table: &str, group: i32, dice: &mut Dice) -> Result<()> {
        let sql = format!("{SUM} FROM {table} WHERE grp = $1");
        let query = self.client.query::<Summed>(&sql).bind(group);
        self.sum(query, group, QUICK, dice).await
    }

    /// The same of the group that is asked for mostly, by a query that takes its time: it shows what was there when it began.
    async fn slow_sum(&self, dice: &mut Dice) -> Result<()> {
        let sql = format!(
            "WITH slowly AS MATERIALIZED (SELECT pg_sleep({SLOW_SECONDS})) {SUM} FROM {KEPT_TABLE}, slowly WHERE grp = $1"
        );
        // To sleep is volatile.
        let query = self.client.query::<Summed>(&sql).bind(HOT_GROUP).depends_on(KEPT_TABLE, "grp", HOT_GROUP);
        self.sum(query.assume_complete(), HOT_GROUP, SLOW, dice).await
    }

    async fn sum(&self, query: Query<Summed>, group: i32, question: u32, dice: &mut Dice) -> Result<()> {
        let (caught_up, begun) = (self.caught_up_at(), now_ns());
        let read = match self.call(dice, query.read()).await {
            Some(Ok(read)) => read,
            Some(Err(error)) => return self.refused(error),
            None => return Ok(()),
        };
        let call = self.answered(begun, caught_up, read.stale_for, question);
        locked(&self.counts).queries += 1;
        let Summed { home, rows, n, w } = read.rows[0];
        self.log.write(&Event::Sum { call, home, group, rows, values: [n, w] })
    }

    pub(super) async fn query_items(&self, dice: &mut Dice) -> Result<()> {
        let group = dice.below(GROUPS as u64) as i32;
        let sql = format!("SELECT id, grp, s FROM {ITEM_TABLE} WHERE grp = $1 ORDER BY id");
        let query = self.client.query::<Item>(&sql).bind(group);
        let (caught_up, begun) = (self.caught_up_at(), now_ns());
        let read = match self.call(dice, query.read()).await {
            Some(Ok(read)) => read,
            Some(Err(error)) => return self.refused(error),
            None => return Ok(()),
        };
        let call = self.answered(begun, caught_up, read.stale_for, 0);
        locked(&self.counts).queries += 1;
        let states = read.rows.iter().map(|item| (item.id, item.s)).collect();
        self.log.write(&Event::Items { call, group, states })
    }

    /// What comes after it must show everything from before it; a query and a read are tried at once.
    pub(super) async fn catch_up(&self, dice: &mut Dice) -> Result<()> {
        self.caught_up(dice).await?;
        self.sum_of(KEPT_TABLE, HOT_GROUP, dice).await?;
        self.read_row(&self.kept, dice).await
    }

    async fn caught_up(&self, dice: &mut Dice) -> Result<()> {
        let begun = now_ns();
        match self.call(dice, self.client.catch_up()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return self.refused(error),
            None => return Ok(()),
        }
        self.caught_up.fetch_max(begun, Ordering::AcqRel);
        locked(&self.counts).catch_ups += 1;
        Ok(())
    }

    /// A query is under way when its rows change and that has been heard: who asks after that is not told what was read before.
    pub(super) async fn overtake(&self, dice: &mut Dice) -> Result<()> {
        let mut others = Dice::new(dice.below(1 << 40));
        let change = async {
            let key = HOT_GROUP + GROUPS * dice.below((ROWS / GROUPS) as u64) as i32;
            if let Some(written) = self.add_to(&self.kept, key, dice).await? {
                written.await?;
            }
            self.caught_up(dice).await?;
            self.slow_sum(dice).await
        };
        let (before, after) = tokio::join!(self.slow_sum(&mut others), change);
        before.and(after)
    }

    pub(super) fn invalidate(&self, dice: &mut Dice) -> Result<()> {
        self.kept.now().cache.invalidate(&self.row_key(&self.kept, dice));
        self.items.now().cache.invalidate(&(dice.below(ITEMS as u64) as i32));
        Ok(())
    }
}
