//! One row that eight processes change as often as they can, by looking at it.

use crate::measure::{Rounds, Sides};
use crate::report::{Figure, Report, Target};
use cache_sync::{Cache, Client, Error, Patch};
use cache_sync_kit::{Result, connect};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

const PROCESSES: usize = 8;
const BY_HAND: &str = "by_hand";
const MODIFY: &str = "modify";
const PATCH_OR_PUT: &str = "patch_or_put";

#[derive(Clone, Serialize, Deserialize)]
struct Row {
    n: i64,
}

/// What a process has done: how often it has changed the row, and how often it has tried to.
#[derive(Clone, Copy, Default)]
struct Done {
    changes: u64,
    tries: u64,
}

pub(super) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let sql = connect(dsn).await?;
    sql.batch_execute(
        "CREATE TABLE contended (id int PRIMARY KEY, n bigint NOT NULL); INSERT INTO contended VALUES (1, 0);
         SELECT cache_sync.attach('contended', versioned => true, rules => '{\"n\": \"add\"}')",
    )
    .await?;
    for way in [MODIFY, PATCH_OR_PUT] {
        let (mut sides, mut tries) = (Sides::default(), Sides::default());
        for _ in 0..rounds.count {
            let ours = race(dsn, &sql, way, rounds.time()).await?;
            let theirs = race(dsn, &sql, BY_HAND, rounds.time()).await?;
            let rate = |done: Done| done.changes as f64 / rounds.seconds;
            sides.add(rate(ours), rate(theirs));
            tries.add(ours.tries as f64 / ours.changes as f64, 1.0);
        }
        let row = format!("{way} by 8 processes on one row / SELECT ... FOR UPDATE by hand");
        report.rounds(Figure::new("live", row, "1/s", Target::None), &sides);
        if way == MODIFY {
            report.rounds(Figure::new("live", "tries for each change / 1", "tries", Target::None), &tries);
        }
    }
    Ok(())
}

/// What all of them have done together; the row must say so, too.
async fn race(dsn: &str, sql: &tokio_postgres::Client, way: &str, time: Duration) -> Result<Done> {
    sql.batch_execute("UPDATE contended SET n = 0").await?;
    let racers = try_join_all((0..PROCESSES).map(|_| Racer::start(dsn, way, time))).await?;
    let done = try_join_all(racers.into_iter().map(Racer::run)).await?;
    let sum = done
        .into_iter()
        .fold(Done::default(), |sum, done| Done { changes: sum.changes + done.changes, tries: sum.tries + done.tries });
    let stored: i64 = sql.query_one("SELECT n FROM contended", &[]).await?.get(0);
    match stored == sum.changes as i64 {
        true => Ok(sum),
        false => Err(format!("{way}: {} changes, but the row says {stored}", sum.changes).into()),
    }
}

/// A process that waits to be told to go.
struct Racer(Child);

impl Racer {
    async fn start(dsn: &str, way: &str, time: Duration) -> Result<Racer> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["contend", dsn, way, &time.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.as_mut().ok_or("it has no output")?;
        let mut ready = String::new();
        BufReader::new(output).read_line(&mut ready).await?;
        Ok(Racer(process))
    }

    async fn run(mut self) -> Result<Done> {
        self.0.stdin.as_mut().ok_or("it has no input")?.write_all(b"go\n").await?;
        let output = self.0.wait_with_output().await?;
        let text = String::from_utf8(output.stdout)?;
        let mut numbers = text.split_whitespace().map(str::parse);
        let mut next = || numbers.next().ok_or("it said nothing");
        Ok(Done { changes: next()??, tries: next()?? })
    }
}

/// The other process.
pub(crate) fn contend(args: &[String]) -> Result<()> {
    let [dsn, way, millis] = args else { return Err("contend needs a DSN, a way and a time".into()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let time = Duration::from_millis(millis.parse()?);
    let done = runtime.block_on(async {
        match way.as_str() {
            BY_HAND => by_hand(dsn, time).await,
            way => by_cache(dsn, way, time).await,
        }
    })?;
    println!("{} {}", done.changes, done.tries);
    Ok(())
}

/// Says that it is ready, and waits until it may go.
fn ready() -> Result<Instant> {
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(Instant::now())
}

async fn by_hand(dsn: &str, time: Duration) -> Result<Done> {
    let sql = connect(dsn).await?;
    let look = sql.prepare("SELECT n FROM contended WHERE id = 1 FOR UPDATE").await?;
    let set = sql.prepare("UPDATE contended SET n = $1 WHERE id = 1").await?;
    let (start, mut done) = (ready()?, Done::default());
    while start.elapsed() < time {
        sql.batch_execute("BEGIN").await?;
        let n: i64 = sql.query_one(&look, &[]).await?.get(0);
        sql.execute(&set, &[&(n + 1)]).await?;
        sql.batch_execute("COMMIT").await?;
        done = Done { changes: done.changes + 1, tries: done.tries + 1 };
    }
    Ok(done)
}

async fn by_cache(dsn: &str, way: &str, time: Duration) -> Result<Done> {
    let client = Client::connect(dsn).await?;
    let rows: Cache<i32, Row> = client.cache("contended").open().await?;
    let (start, mut done) = (ready()?, Done::default());
    while start.elapsed() < time {
        if way == MODIFY {
            let modified = rows.modify(&1, |row| {
                done.tries += 1;
                row.n += 1;
                Ok::<_, Error>(())
            });
            match modified.await {
                Ok(()) => done.changes += 1,
                // It was tried often enough: nothing was written.
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        } else {
            rows.patch_or_put(&1, Patch::new().add("n", 1), || Row { n: 1 }).await?;
            done = Done { changes: done.changes + 1, tries: done.tries + 1 };
        }
    }
    client.close(Duration::from_secs(10)).await?;
    Ok(done)
}
