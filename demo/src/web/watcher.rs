//! Looks at rows in Postgres all the time, as nobody's cache, and changes one of them; counts the statements of each way.

use std::sync::Mutex;
use std::time::Duration;

use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Result, locked};
use tokio_postgres::Client;

use super::Shared;
use super::board::Totals;
use super::node::WATCHED;
use super::shelf::{Confirmed, Item};
use super::side::{ROWS, SHELF};
use super::stage::PGBENCH_UPDATE;
use super::words::Way;
use crate::keys::Keys;

/// Between two looks at the rows.
const LOOK_PAUSE: Duration = Duration::from_millis(4);
/// Between two changes of the first row of the shelf.
const BEAT: Duration = Duration::from_millis(500);
/// Between two counts.
const COUNT_EVERY: Duration = Duration::from_millis(500);
/// Which statements of a way are loads, and which are writes, by their texts as pg_stat_statements has them: it keeps parameters as they are. Both
/// ways load by a SELECT from the table, and one of them writes by calling a function. No text is both.
const LOADS: &str = "(query LIKE 'SELECT%record% WHERE id = $1' OR query LIKE 'SELECT%cache\\_sync.load\\_state(%')";
const WRITES: &str = "(query LIKE 'UPDATE record SET %' OR query LIKE '%cache\\_sync.apply(%')";
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
    pub(crate) priced: Priced,
}

/// How long Postgres was busy with loads, and with writes, which may have waited for rows; the feed, which lasts, is neither. And for how many
/// reads and writes. All of it while nothing was broken: who waits for a lock that is held on purpose keeps nobody busy.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Priced {
    pub(crate) reads: u64,
    pub(crate) misses: u64,
    pub(crate) writes: u64,
    pub(crate) loads_ms: f64,
    pub(crate) writes_ms: f64,
}

impl Priced {
    fn add(&mut self, since: Said, now: Totals, before: Totals) {
        let reads = now.reads - before.reads;
        self.reads += reads;
        self.misses += reads - (now.hits - before.hits);
        self.writes += now.writes - before.writes;
        self.loads_ms += since.loads_ms;
        self.writes_ms += since.writes_ms;
    }
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

/// What Postgres says of the ways and of pgbench, and what the ways' nodes have told by then.
#[derive(Debug, Clone, Copy)]
struct Count {
    at_ns: i64,
    said: [Said; 3],
    totals: [Totals; 2],
}

/// Its place, after the ways.
const PGBENCH: usize = 2;

/// What Postgres says that it did.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<Counts>);

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    answers: bool,
    ways: [Statements; 2],
    /// Rows that pgbench changed, a second.
    pgbench_rate: f64,
    last: Option<Count>,
}

impl Counted {
    pub(crate) fn of(&self, way: Way) -> Statements {
        locked(&self.0).ways[way.place()]
    }

    /// Rows that pgbench changed a second, lately.
    pub(crate) fn pgbench_rate(&self) -> f64 {
        locked(&self.0).pgbench_rate
    }

    /// Whether Postgres answers.
    pub(crate) fn answers(&self) -> bool {
        locked(&self.0).answers
    }

    fn is_away(&self) {
        let mut counts = locked(&self.0);
        counts.answers = false;
        counts.ways.iter_mut().for_each(|way| way.rate = 0.0);
        counts.pgbench_rate = 0.0;
    }

    fn note(&self, count: Count, is_calm: bool) {
        let mut counts = locked(&self.0);
        counts.answers = true;
        let Some(last) = counts.last.replace(count) else { return };
        let rate = |since: Said| since.calls as f64 * 1e9 / (count.at_ns - last.at_ns) as f64;
        counts.pgbench_rate = rate(count.said[PGBENCH].since(last.said[PGBENCH]));
        for (place, way) in counts.ways.iter_mut().enumerate() {
            let since = count.said[place].since(last.said[place]);
            way.total += since.calls.unsigned_abs();
            way.rate = rate(since);
            if is_calm {
                way.priced.add(since, count.totals[place], last.totals[place]);
            }
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

/// Counts the statements of each way, as Postgres has counted them.
pub(crate) async fn count(shared: &Shared) -> Result<()> {
    let roles = Way::BOTH.map(Way::role);
    let sums = format!(
        "SELECT coalesce(sum(calls), 0)::bigint, coalesce(sum(total_exec_time) FILTER (WHERE {LOADS}), 0), \
         coalesce(sum(total_exec_time) FILTER (WHERE {WRITES}), 0) \
         FROM pg_stat_statements WHERE userid = $1::text::regrole"
    );
    let pgbench = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE starts_with(query, $1::text)";
    let updates = PGBENCH_UPDATE;
    again_and_again(shared, COUNT_EVERY, async |client| {
        let mut said = [Said::default(); 3];
        let calls = client.query_one(pgbench, &[&updates]).await?.try_get(0)?;
        said[PGBENCH] = Said { calls, ..Said::default() };
        for (role, said) in roles.iter().zip(&mut said) {
            let row = client.query_one(&sums, &[role]).await?;
            *said = Said { calls: row.try_get(0)?, loads_ms: row.try_get(1)?, writes_ms: row.try_get(2)? };
        }
        let (at_ns, totals) = (now_ns(), Way::BOTH.map(|way| shared.board.totals(way)));
        let is_calm = locked(&shared.timeline).is_calm();
        shared.counted.note(Count { at_ns, said, totals }, is_calm);
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
    use crate::run::BOUND;
    use crate::web::side::Side;
    use crate::web::side::ours::Ours;
    use crate::web::side::redis::Aside;
    use crate::web::stage::Stage;

    /// Reads a row that is not held, and writes in both ways.
    async fn work(side: &impl Side) {
        let id = *SHELF.end();
        side.read(id).await.expect("a read");
        side.add(id).await.expect("an addition");
        side.edit(id, "a text".to_owned()).await.expect("an edit");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_statement_of_the_ways_is_a_load_or_a_write_or_neither() {
        let stage = Stage::build().await.expect("servers");
        let ours = Ours::open(&stage.dsn_of(Way::CacheSync), BOUND).await.expect("a node");
        let aside = Aside::open(&stage.dsn_of(Way::Redis), &stage.redis_url(), BOUND).await.expect("a node");
        work(&ours).await;
        work(&aside).await;
        let postgres = stage.connect().await.expect("Postgres");
        let asked = format!(
            "SELECT query, {LOADS}, {WRITES} FROM pg_stat_statements WHERE userid = $1::text::regrole ORDER BY query"
        );
        // Neither are what is asked when a node connects, and the feed, which shows only once it ends.
        for (way, loads_at_least, writes_at_least) in [(Way::CacheSync, 1, 1), (Way::Redis, 1, 2)] {
            let rows = postgres.query(&asked, &[&way.role()]).await.expect("statements");
            let texts = |is: &dyn Fn(bool, bool) -> bool| -> Vec<String> {
                rows.iter().filter(|row| is(row.get(1), row.get(2))).map(|row| row.get(0)).collect()
            };
            assert_eq!(texts(&|load, write| load && write), [""; 0], "loads and writes at once");
            let (loads, writes) = (texts(&|load, _| load), texts(&|_, write| write));
            assert!(
                loads.len() >= loads_at_least && loads.iter().all(|text| text.starts_with("SELECT ")),
                "{loads:#?}"
            );
            assert!(writes.len() >= writes_at_least, "{writes:#?}");
            let rest = texts(&|load, write| !load && !write);
            assert!(
                rest.iter().all(|text| !text.starts_with("UPDATE ") && !text.contains(" FROM record")),
                "{rest:#?}"
            );
        }
    }

    const SECOND: i64 = 1_000_000_000;

    /// For each hundred of statements ten of pgbench's, ten reads of which five are hits, and one write.
    fn note(counted: &Counted, second: i64, calls: i64, is_calm: bool) {
        let said = Said { calls, loads_ms: calls as f64, writes_ms: calls as f64 / 10.0 };
        let pgbench = Said { calls: calls / 10, ..Said::default() };
        let hundreds = calls.unsigned_abs() / 100;
        let totals = Totals { reads: 10 * hundreds, hits: 5 * hundreds, writes: hundreds, ..Totals::default() };
        let (said, totals) = ([said, Said::default(), pgbench], [totals, Totals::default()]);
        counted.note(Count { at_ns: second * SECOND, said, totals }, is_calm);
    }

    #[test]
    fn counts_go_on_where_postgres_has_forgotten_them() {
        let counted = Counted::default();
        note(&counted, 1, 1000, true);
        assert_eq!(counted.of(Way::CacheSync), Statements::default(), "what was before the start does not count");
        note(&counted, 3, 1400, true);
        let priced = Priced { reads: 40, misses: 20, writes: 4, loads_ms: 400.0, writes_ms: 40.0 };
        assert_eq!(counted.of(Way::CacheSync), Statements { total: 400, rate: 200.0, priced });
        assert_eq!(counted.pgbench_rate(), 20.0);
        counted.is_away();
        assert_eq!((counted.answers(), counted.of(Way::CacheSync).rate), (false, 0.0));
        let again = Said { calls: 30, loads_ms: 20.0, writes_ms: 3.0 };
        let totals = locked(&counted.0).last.map(|last| last.totals).expect("a count");
        counted.note(Count { at_ns: 4 * SECOND, said: [again, Said::default(), Said::default()], totals }, true);
        let priced = Priced { loads_ms: 420.0, writes_ms: 43.0, ..priced };
        assert_eq!(counted.of(Way::CacheSync), Statements { total: 430, rate: 30.0, priced });
        assert_eq!(counted.of(Way::Redis), Statements::default());
    }

    #[test]
    fn what_is_broken_has_no_price() {
        let counted = Counted::default();
        note(&counted, 1, 1000, true);
        note(&counted, 2, 2000, false);
        let Statements { total, priced, .. } = counted.of(Way::CacheSync);
        assert_eq!((total, priced), (1000, Priced::default()));
        note(&counted, 3, 2100, true);
        let priced = Priced { reads: 10, misses: 5, writes: 1, loads_ms: 100.0, writes_ms: 10.0 };
        assert_eq!(counted.of(Way::CacheSync).priced, priced);
    }
}
