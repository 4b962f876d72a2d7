//! Tables of one kind in a schema of their own, clients of pgbench that write to them, and who listens to what they change.

use crate::listeners::Listeners;
use cache_sync_cluster::Cluster;
use cache_sync_kit::{Result, command, connect, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio_postgres::Client;

const PGBENCH_SCALE: &str = "2";
/// What a side's schema holds, beside pgbench's own tables.
const TABLE: &str = "CREATE TABLE single (id int PRIMARY KEY, n int NOT NULL, filler text) WITH (fillfactor = 50);
    INSERT INTO single SELECT i, 0, repeat('x', 80) FROM generate_series(1, 100000) i";
/// Writes to as many rows as the schema inserts.
const SCRIPT: &str = "\\set id random(1, 100000)\nUPDATE single SET n = n + 1 WHERE id = :id;\n";
/// How long writers have to get going: their first statements read the catalogs and map shared memory.
const WARM_UP: Duration = Duration::from_millis(500);
/// How soon writers must have begun, or have ended a statement.
const SOON: Duration = Duration::from_secs(30);
/// Writers are still once nothing has been written between so many looks.
const QUIET_LOOKS: usize = 3;
const QUIET_PAUSE: Duration = Duration::from_millis(10);
/// Longer than any run: the writers end when they are killed.
const PGBENCH_SECONDS: &str = "86400";

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
}

/// How many do what.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) workload: Workload,
    pub(crate) writers: usize,
    /// Where the side has any.
    pub(crate) listeners: usize,
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
    pub(crate) fn set_up(&self) -> Result<()> {
        self.cluster.psql(self.database, &format!("CREATE SCHEMA {}", self.name))?;
        let mut pgbench = self.cluster.client("pgbench", self.database);
        pgbench.env("PGOPTIONS", self.options()).args(["-i", "-q", "-s", PGBENCH_SCALE, "-F", "50"]);
        command::output(&mut pgbench)?;
        self.cluster.psql(self.database, &format!("SET search_path = {}; {TABLE}; {}", self.name, self.setup))?;
        self.cluster.psql(self.database, "VACUUM ANALYZE")?;
        Ok(())
    }

    /// Starts writers and listeners. The writers are paused once they have got going.
    pub(crate) async fn start(&self, load: Load) -> Result<Writers<'_>> {
        let dsn = self.cluster.dsn(self.database);
        let control = connect(&dsn).await?;
        control.batch_execute(&format!("SET search_path = {}; TRUNCATE pgbench_history", self.name)).await?;
        for table in ["single", "pgbench_accounts"] {
            control.batch_execute(&format!("VACUUM {table}")).await?;
        }
        let listening = match self.listening {
            Some(statement) => Listeners::start(&dsn, load.listeners, statement).await?,
            None => Listeners::default(),
        };
        let pgbench = self.pgbench(load)?.stdout(Stdio::null()).spawn()?;
        let mut writers = Writers { side: self, load, pgbench, control, listening };
        let before = writers.transactions().await?;
        writers.wait_until("pgbench writes", async |writers| Ok(writers.transactions().await? > before)).await?;
        tokio::time::sleep(WARM_UP).await;
        writers.pause().await?;
        Ok(writers)
    }

    /// pgbench, which is killed when the thread ends that starts it (`main`): one that is stopped would notice nothing.
    fn pgbench(&self, load: Load) -> Result<Command> {
        let pgbench = self.cluster.client("pgbench", self.database);
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(pgbench.get_program());
        for (name, value) in pgbench.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("PGOPTIONS", self.options()).env("PGAPPNAME", self.name);
        command.args(["-n", "-M", "prepared", "-j", "2", "-c", &load.writers.to_string(), "-T", PGBENCH_SECONDS]);
        match load.workload {
            Workload::SingleRow => {
                let script = self.cluster.socket_dir().join(format!("{}.sql", self.name));
                std::fs::write(&script, SCRIPT)?;
                command.arg("-f").arg(script);
            }
            Workload::SimpleUpdate => {
                command.args(["-b", "simple-update"]);
            }
        }
        Ok(command)
    }

    fn options(&self) -> String {
        format!("-c search_path={} {}", self.name, self.options)
    }
}

/// pgbench's clients, which write unless they are paused, and the listeners of the same side. All end when this is dropped.
pub(crate) struct Writers<'s> {
    pub(crate) side: &'s Side<'s>,
    load: Load,
    pgbench: Child,
    control: Client,
    listening: Listeners,
}

impl Writers<'_> {
    /// Lets the writers go on.
    pub(crate) fn resume(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.pgbench), Signal::CONT)?)
    }

    /// Lets no writer begin another statement, and waits for those under way.
    pub(crate) async fn pause(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.pgbench), Signal::STOP)?;
        // On a busy machine the signal takes its time: as long as it is on its way, another statement may begin.
        self.wait_until("the writers stop", async |writers| writers.is_stopped()).await?;
        // What pgbench had sent may still lie in a socket that its server process has not got round to, where nothing shows it.
        let (mut looks, mut before) = (0, self.transactions().await?);
        while looks < QUIET_LOOKS {
            tokio::time::sleep(QUIET_PAUSE).await;
            let is_over = async |writers: &Writers<'_>| Ok(writers.sessions("active").await? == 0);
            self.wait_until("no writer's statement is under way", is_over).await?;
            let now = self.transactions().await?;
            looks = if now == before { looks + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    /// Whether the kernel has stopped pgbench.
    fn is_stopped(&self) -> Result<bool> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pgbench.id()))?;
        Ok(status.contains("State:\tT (stopped)"))
    }

    /// How many transactions were committed so far, and a number more that stays the same.
    pub(crate) async fn transactions(&self) -> Result<f64> {
        let count = match self.load.workload {
            Workload::SingleRow => "SELECT sum(n)::float8 FROM single",
            Workload::SimpleUpdate => "SELECT count(*)::float8 FROM pgbench_history",
        };
        Ok(self.control.query_one(count, &[]).await?.get(0))
    }

    /// Fails if a writer has ended, or if a listener has, or has heard of no change.
    pub(crate) async fn check(&mut self) -> Result<()> {
        let (writers, left) = (self.load.writers as i64, self.sessions("%").await?);
        if left != writers {
            return Err(format!("{left} of {writers} writers are left").into());
        }
        self.listening.check()
    }

    /// Its writers' sessions in a state like this.
    async fn sessions(&self, state: &str) -> Result<i64> {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state LIKE $2";
        Ok(self.control.query_one(count, &[&self.side.name, &state]).await?.get(0))
    }

    async fn wait_until(&mut self, what: &str, holds: impl AsyncFn(&Self) -> Result<bool>) -> Result<()> {
        let holds = async || {
            let is_so = holds(self).await?;
            match self.pgbench.try_wait()? {
                Some(status) if !is_so => Err(format!("pgbench ended: {status}").into()),
                _ => Ok(is_so),
            }
        };
        match wait::until(SOON, Duration::from_millis(1), holds).await? {
            true => Ok(()),
            false => Err(format!("not within {SOON:?}: {what}").into()),
        }
    }
}

impl Drop for Writers<'_> {
    fn drop(&mut self) {
        // If this fails it has ended already.
        let _ = (self.pgbench.kill(), self.pgbench.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::{Load, Side, Workload, Writers};

    #[tokio::test]
    async fn writers_that_are_paused_write_nothing() {
        let cluster = crate::options().preload(false).fsync(false).start().expect("a cluster");
        let side = Side { cluster: &cluster, database: "postgres", name: "s", setup: "", listening: None, options: "" };
        side.set_up().expect("its tables");
        for workload in [Workload::SingleRow, Workload::SimpleUpdate] {
            let mut writers = side.start(Load { workload, writers: 4, listeners: 0 }).await.expect("writers");
            for _ in 0..5 {
                assert!(writers.is_stopped().expect("a process"));
                let before = writers.transactions().await.expect("a count");
                assert!(before > 0.0 && writers.transactions().await.expect("a count") == before);
                writers.resume().expect("going on");
                let goes_on = async |writers: &Writers<'_>| Ok(writers.transactions().await? > before);
                writers.wait_until("they go on", goes_on).await.expect("more transactions");
                writers.pause().await.expect("a pause");
            }
            writers.check().await.expect("all writers");
            let one = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 's' LIMIT 1";
            writers.control.batch_execute(one).await.expect("an end");
            let is_gone = async |writers: &Writers<'_>| Ok(writers.sessions("%").await? < 4);
            writers.wait_until("one is gone", is_gone).await.expect("an end");
            assert_eq!(writers.check().await.unwrap_err().to_string(), "3 of 4 writers are left");
        }
    }
}
