//! Plain SQL writers on an attached table, with listeners, against the same table not attached, and against a row trigger
//! with pg_notify. Each side has a schema of its own.

use crate::Result;
use crate::cpu::server_seconds;
use crate::idle;
use crate::load::Listeners;
use crate::measure::{Rounds, median};
use crate::report::{Report, Target};
use cache_sync_cluster::Cluster;
use std::io::Write;
use std::path::PathBuf;

/// As many as the schema inserts.
const ROWS: i64 = 100_000;
const PGBENCH_SCALE: &str = "2";
const LISTENERS: [(usize, f64); 4] = [(0, 0.95), (1, 0.90), (32, 0.75), (128, 0.5)];
const STREAM: &str = "CALL cache_sync.stream()";
const LISTEN: &str = "LISTEN cache_sync";

/// What a side's schema holds, beside pgbench's own tables.
const TABLE: &str = "CREATE TABLE single (id int PRIMARY KEY, n int NOT NULL, filler text) WITH (fillfactor = 50);
    INSERT INTO single SELECT i, 0, repeat('x', 80) FROM generate_series(1, 100000) i";
const ATTACH: &str = "SELECT cache_sync.attach('single'), cache_sync.attach('pgbench_accounts')";
const NOTIFY: &str = "CREATE FUNCTION notify_change() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_notify('cache_sync', TG_TABLE_NAME || ':' || (to_jsonb(NEW) ->> TG_ARGV[0])); RETURN NULL; END $$;
    CREATE TRIGGER notify AFTER UPDATE ON single FOR EACH ROW EXECUTE FUNCTION notify_change('id');
    CREATE TRIGGER notify AFTER UPDATE ON pgbench_accounts FOR EACH ROW EXECUTE FUNCTION notify_change('aid')";

/// What the writers do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// UPDATE of one row by its key.
    SingleRow,
    /// pgbench's simple-update: UPDATE of one row by its key, SELECT, INSERT into another table.
    SimpleUpdate,
}

impl Workload {
    fn name(self) -> &'static str {
        match self {
            Workload::SingleRow => "single-row UPDATE",
            Workload::SimpleUpdate => "simple-update",
        }
    }
}

/// Which of them are measured.
pub(crate) struct Scope {
    /// With 1 and 8 writers, too.
    pub(crate) full: bool,
    /// With how many listeners, and what to hold then.
    pub(crate) listeners: Vec<(usize, f64)>,
}

impl Default for Scope {
    fn default() -> Scope {
        Scope { full: false, listeners: LISTENERS.to_vec() }
    }
}

/// Reads a list of numbers of listeners.
pub(crate) fn listeners(list: &str) -> std::result::Result<Vec<(usize, f64)>, String> {
    let target = |text: &str| {
        let number = text.parse().ok();
        let known = LISTENERS.into_iter().find(|(listeners, _)| Some(*listeners) == number);
        known.ok_or_else(|| format!("--listeners {text}: of 0,1,32,128"))
    };
    list.split(',').map(target).collect()
}

/// Measures them.
pub(crate) async fn run(
    cluster: &Cluster,
    database: &str,
    (rounds, scope): (Rounds, &Scope),
    report: &mut Report,
) -> Result<()> {
    let side = |name, setup, listening| Side { cluster, database, name, setup, listening, rounds };
    let (untouched, attached, notified) =
        (side("untouched", "", None), side("attached", ATTACH, Some(STREAM)), side("notified", NOTIFY, Some(LISTEN)));
    let idle_setup = [idle::FUNCTION, &idle::trigger("single"), &idle::trigger("pgbench_accounts")].join("; ");
    let with_idle = side("idle", &idle_setup, None);
    for side in [&untouched, &attached, &notified, &with_idle] {
        side.set_up()?;
    }
    let writers: &[usize] = if scope.full { &[1, 8, 32] } else { &[32] };
    for workload in [Workload::SingleRow, Workload::SimpleUpdate] {
        for (writers, (listeners, target)) in pairs(writers, &scope.listeners) {
            let is_main = writers == 32;
            let (mut our_cpu, mut their_cpu) = (Vec::new(), Vec::new());
            let sides = rounds
                .alternate(
                    async || attached.run(workload, writers, listeners).await.map(|ran| ran.noting(&mut our_cpu)),
                    async || untouched.run(workload, writers, 0).await.map(|ran| ran.noting(&mut their_cpu)),
                )
                .await?;
            let row = format!("{}, {writers} writers, {listeners} listeners / not attached", workload.name());
            report.rounds(
                ("writers", &row),
                &sides,
                "tps",
                if is_main { Target::AtLeast(target) } else { Target::None },
            );
            let row = format!("{}, {writers} writers, {listeners} listeners: server CPU per million", workload.name());
            report.ratio(("writers", &row), (median(our_cpu), median(their_cpu)), "s", Target::None);
            let sides = rounds
                .alternate(
                    async || attached.run(workload, writers, listeners).await.map(|ran| ran.tps),
                    async || notified.run(workload, writers, listeners).await.map(|ran| ran.tps),
                )
                .await?;
            let row = format!("{}, {writers} writers, {listeners} listeners / pg_notify", workload.name());
            report.rounds(("writers", &row), &sides, "tps", if is_main { Target::AtLeast(4.0) } else { Target::None });
        }
    }
    // What is faster than this is out of a trigger's reach.
    for workload in [Workload::SingleRow, Workload::SimpleUpdate] {
        for (what, one, other) in
            [("idle trigger / no trigger", &with_idle, &untouched), ("no trigger / pg_notify", &untouched, &notified)]
        {
            let sides = rounds
                .alternate(
                    async || one.run(workload, 32, 0).await.map(|ran| ran.tps),
                    async || other.run(workload, 32, 0).await.map(|ran| ran.tps),
                )
                .await?;
            let row = format!("{}, 32 writers, 0 listeners: {what}", workload.name());
            report.rounds(("writers", &row), &sides, "tps", Target::None);
        }
    }
    without_preloading(database, (rounds, scope), report).await
}

fn pairs(writers: &[usize], listeners: &[(usize, f64)]) -> impl Iterator<Item = (usize, (usize, f64))> {
    writers.iter().flat_map(|writers| listeners.iter().map(|listeners| (*writers, *listeners)))
}

/// The same on a server that has not preloaded the library.
async fn without_preloading(database: &str, (rounds, scope): (Rounds, &Scope), report: &mut Report) -> Result<()> {
    let cluster = crate::options().preload(false).start()?;
    cluster.createdb(database)?;
    cluster.psql(database, "CREATE EXTENSION cache_sync")?;
    let side = |name, setup| Side { cluster: &cluster, database, name, setup, listening: Some(LISTEN), rounds };
    let (attached, notified) = (side("attached", ATTACH), side("notified", NOTIFY));
    for side in [&attached, &notified] {
        side.set_up()?;
    }
    for listeners in
        scope.listeners.iter().map(|(listeners, _)| *listeners).filter(|listeners| [0, 32].contains(listeners))
    {
        let sides = rounds
            .alternate(
                async || attached.run(Workload::SingleRow, 32, listeners).await.map(|ran| ran.tps),
                async || notified.run(Workload::SingleRow, 32, listeners).await.map(|ran| ran.tps),
            )
            .await?;
        let row = format!("not preloaded, single-row UPDATE, 32 writers, {listeners} listeners / pg_notify");
        report.rounds(("writers", &row), &sides, "tps", Target::AtLeast(0.9));
    }
    Ok(())
}

/// What one run brought.
struct Ran {
    tps: f64,
    /// Seconds of processor time that the server took for a million transactions.
    cpu_per_million: f64,
}

impl Ran {
    fn noting(self, cpu: &mut Vec<f64>) -> f64 {
        cpu.push(self.cpu_per_million);
        self.tps
    }
}

/// Tables of one kind, and who listens to what changes in them.
pub(crate) struct Side<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) database: &'c str,
    pub(crate) name: &'static str,
    pub(crate) setup: &'c str,
    pub(crate) listening: Option<&'static str>,
    pub(crate) rounds: Rounds,
}

impl Side<'_> {
    fn client(&self, program: &str) -> std::process::Command {
        let mut client = self.cluster.client(program, self.database);
        client.env("PGOPTIONS", format!("-c search_path={}", self.name));
        client
    }

    pub(crate) fn set_up(&self) -> Result<()> {
        self.cluster.psql(self.database, &format!("CREATE SCHEMA {}", self.name))?;
        let made = self.client("pgbench").args(["-i", "-q", "-s", PGBENCH_SCALE, "-F", "50"]).output()?;
        if !made.status.success() {
            return Err(format!("pgbench -i: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        self.cluster.psql(self.database, &format!("SET search_path = {}; {TABLE}; {}", self.name, self.setup))?;
        self.cluster.psql(self.database, "VACUUM ANALYZE")?;
        Ok(())
    }

    /// Lets writers write while listeners listen.
    async fn run(&self, workload: Workload, writers: usize, listeners: usize) -> Result<Ran> {
        let dsn = self.cluster.dsn(self.database);
        let listening = match self.listening {
            Some(statement) => Some(Listeners::start(&dsn, listeners, statement).await?),
            None => None,
        };
        for table in ["single", "pgbench_accounts"] {
            self.cluster.psql(self.database, &format!("VACUUM {}.{table}", self.name))?;
        }
        let before = server_seconds(self.cluster)?;
        let (tps, transactions) = self.write(workload, writers).await?;
        let cpu = server_seconds(self.cluster)? - before;
        if let Some(listening) = listening.filter(|listening| listeners > 0 && listening.heard() < listeners as u64) {
            return Err(format!("{listeners} listeners heard {} messages", listening.heard()).into());
        }
        Ok(Ran { tps, cpu_per_million: cpu * 1e6 / transactions })
    }

    /// Lets pgbench write, and says how many transactions it did a second, and in all.
    pub(crate) async fn write(&self, workload: Workload, writers: usize) -> Result<(f64, f64)> {
        let script = script(self.name)?;
        let seconds = self.rounds.seconds.ceil().max(1.0).to_string();
        let mut pgbench = self.client("pgbench");
        pgbench.args(["-n", "-M", "prepared", "-j", "2", "-c", &writers.to_string(), "-T", &seconds]);
        match workload {
            Workload::SingleRow => pgbench.arg("-f").arg(&script),
            Workload::SimpleUpdate => pgbench.args(["-b", "simple-update"]),
        };
        let output = tokio::task::spawn_blocking(move || pgbench.output()).await??;
        std::fs::remove_file(&script)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = |begin: &str| {
            text.lines().find_map(|line| line.strip_prefix(begin)?.split([' ', '/']).next()?.parse().ok())
        };
        let numbers = number("tps = ").zip(number("number of transactions actually processed: "));
        numbers.ok_or_else(|| format!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

fn script(side: &str) -> Result<PathBuf> {
    let script = std::env::temp_dir().join(format!("cache_sync_bench_{}_{side}.sql", std::process::id()));
    let mut file = std::fs::File::create(&script)?;
    writeln!(file, "\\set id random(1, {ROWS})\nUPDATE single SET n = n + 1 WHERE id = :id;")?;
    Ok(script)
}
