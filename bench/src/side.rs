//! Tables of one kind in a schema of their own, clients of pgbench that write to them, and who listens to what they change.

use crate::Result;
use crate::load::Listeners;
use cache_sync_cluster::Cluster;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// As many as the schema inserts.
const ROWS: i64 = 100_000;
const PGBENCH_SCALE: &str = "2";
/// What a side's schema holds, beside pgbench's own tables.
const TABLE: &str = "CREATE TABLE single (id int PRIMARY KEY, n int NOT NULL, filler text) WITH (fillfactor = 50);
    INSERT INTO single SELECT i, 0, repeat('x', 80) FROM generate_series(1, 100000) i";
/// How long writers have to get going, each with its caches filled.
const WARM_UP: Duration = Duration::from_secs(1);
/// How soon they must have begun at all.
const START_MAX: Duration = Duration::from_secs(30);

/// What the writers do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// UPDATE of one row by its key.
    SingleRow,
    /// pgbench's simple-update: UPDATE of one row by its key, SELECT, INSERT into another table.
    SimpleUpdate,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::SingleRow => "single-row UPDATE",
            Workload::SimpleUpdate => "simple-update",
        }
    }

    /// Counts the transactions that were committed.
    fn count(self) -> &'static str {
        match self {
            Workload::SingleRow => "SELECT sum(n) FROM single",
            Workload::SimpleUpdate => "SELECT count(*) FROM pgbench_history",
        }
    }
}

/// Tables of one kind, and who listens to what changes in them.
#[derive(Clone, Copy)]
pub(crate) struct Side<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) database: &'c str,
    pub(crate) name: &'static str,
    pub(crate) setup: &'c str,
    pub(crate) listening: Option<&'static str>,
    /// More options of its sessions.
    pub(crate) options: &'static str,
}

impl Side<'_> {
    fn client(&self, program: &str) -> Command {
        let mut client = self.cluster.client(program, self.database);
        client.env("PGOPTIONS", format!("-c search_path={} {}", self.name, self.options));
        client
    }

    fn psql(&self, sql: &str) -> Result<String> {
        Ok(self.cluster.psql(self.database, &format!("SET search_path = {}; {sql}", self.name))?)
    }

    pub(crate) fn set_up(&self) -> Result<()> {
        self.cluster.psql(self.database, &format!("CREATE SCHEMA {}", self.name))?;
        let made = self.client("pgbench").args(["-i", "-q", "-s", PGBENCH_SCALE, "-F", "50"]).output()?;
        if !made.status.success() {
            return Err(format!("pgbench -i: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        self.psql(&format!("{TABLE}; {}", self.setup))?;
        self.cluster.psql(self.database, "VACUUM ANALYZE")?;
        Ok(())
    }

    /// Starts writers, and listeners where this side has any. They are paused once they have got going.
    pub(crate) async fn start(&self, workload: Workload, writers: usize, listeners: usize) -> Result<Writers<'_>> {
        let listening = match self.listening {
            Some(statement) => Listeners::start(&self.cluster.dsn(self.database), listeners, statement).await?,
            None => Listeners::none(),
        };
        self.psql("TRUNCATE pgbench_history")?;
        for table in ["single", "pgbench_accounts"] {
            self.cluster.psql(self.database, &format!("VACUUM {}.{table}", self.name))?;
        }
        let script = script(self.name)?;
        let mut pgbench = self.client("pgbench");
        // They end when they are killed.
        pgbench.args(["-n", "-M", "prepared", "-j", "2", "-c", &writers.to_string(), "-T", "86400"]);
        match workload {
            Workload::SingleRow => pgbench.arg("-f").arg(&script),
            Workload::SimpleUpdate => pgbench.args(["-b", "simple-update"]),
        };
        let pgbench = pgbench.stdout(Stdio::null()).spawn()?;
        let mut writers = Writers { side: self, workload, pgbench, script, listening };
        let (before, start) = (writers.transactions()?, Instant::now());
        while writers.transactions()? <= before {
            if let Some(status) = writers.pgbench.try_wait()? {
                return Err(format!("pgbench ended: {status}").into());
            }
            if start.elapsed() > START_MAX {
                return Err("pgbench has not begun to write".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(WARM_UP).await;
        writers.pause()?;
        Ok(writers)
    }
}

/// pgbench's clients, which write unless they are paused, and the listeners of the same side. Both end when this is dropped.
pub(crate) struct Writers<'s> {
    pub(crate) side: &'s Side<'s>,
    workload: Workload,
    pgbench: Child,
    script: PathBuf,
    listening: Listeners,
}

impl Writers<'_> {
    /// Lets no writer begin another statement. What the server does already it finishes.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets the writers go on.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.pgbench), signal)?)
    }

    /// How many transactions were committed, up to a number that does not change.
    pub(crate) fn transactions(&self) -> Result<f64> {
        Ok(self.side.psql(self.workload.count())?.parse()?)
    }

    /// Fails if some of the listeners can have heard nothing.
    pub(crate) fn have_been_heard(&self) -> Result<()> {
        let (listeners, heard) = (self.listening.count(), self.listening.heard());
        if heard < listeners {
            return Err(format!("{listeners} listeners heard {heard} messages").into());
        }
        Ok(())
    }
}

impl Drop for Writers<'_> {
    fn drop(&mut self) {
        // Whatever of it fails leaves nothing that could still be done.
        let _ = (self.pgbench.kill(), self.pgbench.wait(), std::fs::remove_file(&self.script));
    }
}

fn script(side: &str) -> Result<PathBuf> {
    let script = std::env::temp_dir().join(format!("cache_sync_bench_{}_{side}.sql", std::process::id()));
    let mut file = std::fs::File::create(&script)?;
    writeln!(file, "\\set id random(1, {ROWS})\nUPDATE single SET n = n + 1 WHERE id = :id;")?;
    Ok(script)
}
