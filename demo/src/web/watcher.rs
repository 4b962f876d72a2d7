//! Looks at rows in Postgres all the time, as nobody's cache, and changes one of them; counts the statements of each way.

use std::sync::Mutex;
use std::time::Duration;

use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Result, locked};
use serde::Serialize;
use tokio_postgres::Client;

use super::Shared;
use super::node::WATCHED;
use super::shelf::{Confirmed, Item};
use super::side::{ROWS, SHELF};
use super::words::Way;
use crate::keys::Keys;

/// Between two looks at the rows.
const LOOK_PAUSE: Duration = Duration::from_millis(4);
/// Between two changes of the first row of the shelf.
const BEAT: Duration = Duration::from_millis(500);
/// Between two counts.
const COUNT_EVERY: Duration = Duration::from_millis(500);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(50);
/// Who does not answer within this is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// What Postgres did for a way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Statements {
    /// Since the start.
    pub(crate) total: u64,
    /// A second, lately.
    pub(crate) rate: f64,
    /// How long they took it, in milliseconds, since the start.
    pub(crate) busy_ms: f64,
}

/// What Postgres says that it did.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<Counts>);

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    answers: bool,
    ways: [Statements; 2],
    /// As pg_stat_statements said last. It forgets all when Postgres crashes.
    last: [(i64, f64); 2],
    at_ns: i64,
}

impl Counted {
    pub(crate) fn of(&self, way: Way) -> Statements {
        locked(&self.0).ways[way.place()]
    }

    /// Whether Postgres answers.
    pub(crate) fn answers(&self) -> bool {
        locked(&self.0).answers
    }

    fn is_away(&self) {
        let mut counts = locked(&self.0);
        counts.answers = false;
        counts.ways.iter_mut().for_each(|way| way.rate = 0.0);
    }

    fn note(&self, at_ns: i64, said: [(i64, f64); 2]) {
        let mut counts = locked(&self.0);
        let seconds = (at_ns - counts.at_ns) as f64 / 1e9;
        let is_first = counts.at_ns == 0;
        for (place, (calls, busy_ms)) in said.into_iter().enumerate() {
            let (calls_before, busy_before) = counts.last[place];
            let began_anew = calls < calls_before;
            let calls_since = if began_anew { calls } else { calls - calls_before };
            let busy_since = if began_anew { busy_ms } else { busy_ms - busy_before };
            if !is_first {
                let way = &mut counts.ways[place];
                way.total += calls_since.unsigned_abs();
                way.busy_ms += busy_since;
                way.rate = calls_since as f64 / seconds;
            }
        }
        (counts.last, counts.at_ns, counts.answers) = (said, at_ns, true);
    }
}

/// Looks until this is no longer polled; when Postgres is away it tries again.
pub(crate) async fn look(shared: &Shared) -> Result<()> {
    let keys = Keys::new(ROWS);
    let watched: Vec<i64> = (0..WATCHED).map(|rank| i64::from(keys.at(rank))).collect();
    let shelf: Vec<i64> = SHELF.collect();
    again_and_again(shared, LOOK_PAUSE, async |client| {
        let select = "SELECT id, version FROM record WHERE id = ANY($1)";
        let rows = client.query(select, &[&watched]).await?;
        // These states were there before the answer came.
        let at_ns = now_ns();
        for row in rows {
            shared.board.saw(at_ns, row.try_get(0)?, row.try_get(1)?);
        }
        let rows = client.query("SELECT id, field0, version FROM record WHERE id = ANY($1)", &[&shelf]).await?;
        let at_ns = now_ns();
        for row in rows {
            let (id, text, version) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            shared.shelf.stored(at_ns, Item { id, text, version });
        }
        Ok(())
    })
    .await
}

/// Changes the first row of the shelf twice a second, as any program might.
pub(crate) async fn beat(shared: &Shared) -> Result<()> {
    let id = *SHELF.start();
    again_and_again(shared, BEAT, async |client| {
        let change = "UPDATE record SET field0 = 'changed ' || counter + 1 || ' times by SQL', counter = counter + 1 \
                      WHERE id = $1 RETURNING version";
        let version = client.query_one(change, &[&id]).await?.try_get(0)?;
        shared.shelf.confirmed(Confirmed { id, version, at_ns: now_ns() });
        Ok(())
    })
    .await
}

/// Counts the statements of each way, as Postgres has counted them.
pub(crate) async fn count(shared: &Shared) -> Result<()> {
    let roles = Way::BOTH.map(Way::role);
    let sums = "SELECT coalesce(sum(calls), 0)::bigint, coalesce(sum(total_exec_time), 0) \
                FROM pg_stat_statements(false) WHERE userid = $1::text::regrole";
    again_and_again(shared, COUNT_EVERY, async |client| {
        let mut said = [(0, 0.0); 2];
        for (role, said) in roles.iter().zip(&mut said) {
            let row = client.query_one(sums, &[role]).await?;
            *said = (row.try_get(0)?, row.try_get(1)?);
        }
        shared.counted.note(now_ns(), said);
        Ok(())
    })
    .await
}

/// Does something again and again, with a connection that is made anew when Postgres was away.
async fn again_and_again(
    shared: &Shared,
    pause: Duration,
    mut once: impl AsyncFnMut(&Client) -> Result<()>,
) -> Result<()> {
    loop {
        if let Ok(Ok(client)) = tokio::time::timeout(PATIENCE, shared.stage.connect()).await {
            while let Ok(Ok(())) = tokio::time::timeout(PATIENCE, once(&client)).await {
                tokio::time::sleep(pause).await;
            }
        }
        shared.counted.is_away();
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_on_where_postgres_has_forgotten_them() {
        let counted = Counted::default();
        let second = 1_000_000_000;
        counted.note(second, [(1000, 50.0), (5, 1.0)]);
        assert_eq!(counted.of(Way::CacheSync), Statements::default(), "what was before the start does not count");
        counted.note(3 * second, [(1400, 70.0), (5, 1.0)]);
        assert_eq!(counted.of(Way::CacheSync), Statements { total: 400, rate: 200.0, busy_ms: 20.0 });
        counted.is_away();
        assert_eq!((counted.answers(), counted.of(Way::CacheSync).rate), (false, 0.0));
        counted.note(4 * second, [(30, 3.0), (7, 2.0)]);
        assert_eq!(counted.of(Way::CacheSync), Statements { total: 430, rate: 30.0, busy_ms: 23.0 });
        assert_eq!(counted.of(Way::Redis).total, 2);
    }
}
