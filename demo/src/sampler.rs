//! A process that looks at rows in Postgres and writes down which state it saw when. It also changes one row now and
//! then, as any program might, and says when its commit was answered.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{CommandLine, Result, connect};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio_postgres::Client;

use crate::arguments::USAGE;
use crate::keys::Keys;
use crate::message::Message;
use crate::node::{WATCHED, probed};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(3);
/// Between two changes of the probed row.
const PROBE_EVERY: Duration = Duration::from_millis(200);

const LINE: CommandLine<'_> = CommandLine { valued: &["--dsn", "--log", "--accounts"], alone: &[], usage: USAGE };

/// Runs the sampler until its standard input ends.
pub(crate) async fn main(args: &[String]) -> Result<()> {
    let values = LINE.parse(args)?;
    let (dsn, file): (String, PathBuf) = (values.must("--dsn")?, values.must("--log")?);
    let accounts: u32 = values.must("--accounts")?;
    let keys = Keys::new(accounts);
    let mut sampler = Sampler {
        watched: (0..WATCHED).map(|rank| keys.at(rank)).collect(),
        probed: probed(accounts),
        seen: HashMap::new(),
        out: std::io::BufWriter::new(std::fs::File::create(file)?),
        probe_at: Instant::now(),
    };
    Message::Ready.send()?;
    let mut commands = BufReader::new(stdin()).lines();
    tokio::select! {
        _ = commands.next_line() => {}
        result = sampler.look(&dsn) => result?,
    }
    sampler.out.flush()?;
    Message::Stopped.send()
}

struct Sampler {
    watched: Vec<i32>,
    probed: i32,
    /// The newest version seen of each account.
    seen: HashMap<i32, i64>,
    out: std::io::BufWriter<std::fs::File>,
    probe_at: Instant,
}

impl Sampler {
    /// Looks for ever; when Postgres is away it tries again.
    async fn look(&mut self, dsn: &str) -> Result<()> {
        loop {
            if let Ok(client) = connect(dsn).await {
                while self.once(&client).await? {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// One look. False when Postgres does not answer.
    async fn once(&mut self, client: &Client) -> Result<bool> {
        let looked = client
            .query("SELECT aid, coalesce(cs_version, 0) FROM pgbench_accounts WHERE aid = ANY($1)", &[&self.watched])
            .await;
        // The state was there before the answer came: counting from here is to the SDK's favour by the look's length.
        let at_ns = now_ns();
        let Ok(rows) = looked else { return Ok(false) };
        for row in rows {
            let (aid, version): (i32, i64) = (row.try_get(0)?, row.try_get(1)?);
            if self.seen.insert(aid, version) != Some(version) {
                writeln!(self.out, "{at_ns} {aid} {version}")?;
            }
        }
        if self.probe_at > Instant::now() {
            return Ok(true);
        }
        self.probe_at = Instant::now() + PROBE_EVERY;
        let change = "UPDATE pgbench_accounts SET filler = $2::text WHERE aid = $1 RETURNING cs_version";
        let changed = client.query_one(change, &[&self.probed, &format!("changed at {at_ns}")]).await;
        let at_ns = now_ns();
        let Ok(row) = changed else { return Ok(false) };
        Message::Committed { version: row.try_get(0)?, at_ns }.send()?;
        Ok(true)
    }
}
