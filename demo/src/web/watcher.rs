//! Looks at rows in Postgres all the time, as nobody's cache, and changes one of them; counts the statements of each way.

use std::sync::Mutex;
use std::time::Duration;

use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Result, locked};
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
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Statements {
    /// Since the start.
    pub(crate) total: u64,
    /// A second, lately.
    pub(crate) rate: f64,
    /// How long it was busy with loads, and with writes, which may have waited for locks. The feed, which lasts, is neither.
    pub(crate) loads_ms: f64,
    pub(crate) writes_ms: f64,
}

/// What pg_stat_statements says of a role. It forgets all when Postgres crashes.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    calls: i64,
    loads_ms: f64,
    writes_ms: f64,
}

impl Said {
    /// What has been added to what was said before.
    fn since(self, before: Said) -> Said {
        if self.calls < before.calls {
            return self;
        }
        Said {
            calls: self.calls - before.calls,
            loads_ms: self.loads_ms - before.loads_ms,
            writes_ms: self.writes_ms - before.writes_ms,
        }
    }
}

/// What Postgres says that it did.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<Counts>);

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    answers: bool,
    ways: [Statements; 2],
    last: Option<(i64, [Said; 2])>,
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

    fn note(&self, at_ns: i64, said: [Said; 2]) {
        let mut counts = locked(&self.0);
        counts.answers = true;
        let Some((last_ns, last)) = counts.last.replace((at_ns, said)) else { return };
        for ((way, said), last) in counts.ways.iter_mut().zip(said).zip(last) {
            let since = said.since(last);
            way.total += since.calls.unsigned_abs();
            way.rate = since.calls as f64 * 1e9 / (at_ns - last_ns) as f64;
            way.loads_ms += since.loads_ms;
            way.writes_ms += since.writes_ms;
        }
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

/// Counts the statements of each way, as Postgres has counted them. Both load by a SELECT from the table, and one of them writes by calling a
/// function.
pub(crate) async fn count(shared: &Shared) -> Result<()> {
    let roles = Way::BOTH.map(Way::role);
    let sums = "SELECT coalesce(sum(calls), 0)::bigint, \
                coalesce(sum(total_exec_time) FILTER (WHERE query LIKE '%record% WHERE id = $1' OR query LIKE '%load_state%'), 0), \
                coalesce(sum(total_exec_time) FILTER (WHERE query LIKE 'UPDATE%' OR query LIKE '%cache_sync.apply%'), 0) \
                FROM pg_stat_statements WHERE userid = $1::text::regrole";
    again_and_again(shared, COUNT_EVERY, async |client| {
        let mut said = [Said::default(); 2];
        for (role, said) in roles.iter().zip(&mut said) {
            let row = client.query_one(sums, &[role]).await?;
            *said = Said { calls: row.try_get(0)?, loads_ms: row.try_get(1)?, writes_ms: row.try_get(2)? };
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
        let (counted, second) = (Counted::default(), 1_000_000_000);
        let said = |calls, loads_ms, writes_ms| [Said { calls, loads_ms, writes_ms }, Said::default()];
        counted.note(second, said(1000, 500.0, 50.0));
        assert_eq!(counted.of(Way::CacheSync), Statements::default(), "what was before the start does not count");
        counted.note(3 * second, said(1400, 600.0, 70.0));
        let before = Statements { total: 400, rate: 200.0, loads_ms: 100.0, writes_ms: 20.0 };
        assert_eq!(counted.of(Way::CacheSync), before);
        counted.is_away();
        assert_eq!((counted.answers(), counted.of(Way::CacheSync).rate), (false, 0.0));
        counted.note(4 * second, said(30, 20.0, 3.0));
        let after = Statements { total: 430, rate: 30.0, loads_ms: 120.0, writes_ms: 23.0 };
        assert_eq!((counted.of(Way::CacheSync), counted.of(Way::Redis)), (after, Statements::default()));
    }
}
