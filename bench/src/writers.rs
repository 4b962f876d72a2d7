//! Plain SQL writers on an attached table, with listeners, against the same table not attached, and against a row trigger
//! with pg_notify.

use crate::Result;
use crate::load::Listeners;
use crate::measure::Rounds;
use crate::report::{Report, Target};
use cache_sync_cluster::Cluster;
use std::io::Write;

/// As many as the schema inserts.
const ROWS: i64 = 100_000;
const CLIENTS: &str = "32";

const SCHEMA: &str = "
    CREATE TABLE untouched (id int PRIMARY KEY, n int NOT NULL, filler text) WITH (fillfactor = 50);
    INSERT INTO untouched SELECT i, 0, repeat('x', 80) FROM generate_series(1, 100000) i;
    CREATE TABLE attached (LIKE untouched INCLUDING ALL);
    INSERT INTO attached SELECT * FROM untouched;
    CREATE TABLE notified (LIKE untouched INCLUDING ALL);
    INSERT INTO notified SELECT * FROM untouched;
    SELECT cache_sync.attach('attached');
    CREATE FUNCTION notify_change() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_notify('cache_sync', 'notified:' || NEW.id); RETURN NULL; END $$;
    CREATE TRIGGER notify AFTER UPDATE ON notified FOR EACH ROW EXECUTE FUNCTION notify_change();";

pub(crate) async fn run(cluster: &Cluster, database: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    cluster.psql(database, SCHEMA)?;
    cluster.psql(database, "VACUUM ANALYZE")?;
    let writers = Writers { cluster, database, rounds };
    for (listeners, target) in [(0, 0.95), (1, 0.90), (32, 0.75), (128, 0.5)] {
        let ours = async || writers.attached(listeners).await;
        let (ours, theirs) = rounds.alternate(ours, async || writers.tps("untouched").await).await?;
        let row = format!("32 writers, {listeners} listeners / not attached");
        report.ratio(("writers", &row), (ours, theirs), "tps", Target::AtLeast(target));
    }
    for listeners in [0, 1, 32, 128] {
        let ours = async || writers.attached(listeners).await;
        let (ours, theirs) = rounds.alternate(ours, async || writers.notified(listeners).await).await?;
        let row = format!("32 writers, {listeners} listeners / pg_notify trigger");
        report.ratio(("writers", &row), (ours, theirs), "tps", Target::AtLeast(4.0));
    }
    Ok(())
}

struct Writers<'c> {
    cluster: &'c Cluster,
    database: &'c str,
    rounds: Rounds,
}

impl Writers<'_> {
    async fn attached(&self, listeners: usize) -> Result<f64> {
        let listeners_running =
            Listeners::start(&self.cluster.dsn(self.database), listeners, "CALL cache_sync.stream()").await?;
        let tps = self.tps("attached").await?;
        heard_something(listeners, &listeners_running)?;
        Ok(tps)
    }

    async fn notified(&self, listeners: usize) -> Result<f64> {
        let listeners_running =
            Listeners::start(&self.cluster.dsn(self.database), listeners, "LISTEN cache_sync").await?;
        let tps = self.tps("notified").await?;
        heard_something(listeners, &listeners_running)?;
        Ok(tps)
    }

    /// pgbench on one table: single-row UPDATEs by key, prepared, 32 clients.
    async fn tps(&self, table: &str) -> Result<f64> {
        self.cluster.psql(self.database, &format!("VACUUM {table}"))?;
        let mut script = std::env::temp_dir();
        script.push(format!("cache_sync_bench_{}_{table}.sql", std::process::id()));
        let mut file = std::fs::File::create(&script)?;
        writeln!(file, "\\set id random(1, {ROWS})\nUPDATE {table} SET n = n + 1 WHERE id = :id;")?;
        let seconds = self.rounds.seconds.ceil().max(1.0).to_string();
        let mut pgbench = self.cluster.client("pgbench", self.database);
        pgbench.args(["-n", "-M", "prepared", "-c", CLIENTS, "-j", "2", "-T", &seconds, "-f"]).arg(&script);
        let output = tokio::task::spawn_blocking(move || pgbench.output()).await??;
        std::fs::remove_file(&script)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        tps.ok_or_else(|| format!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

fn heard_something(count: usize, listeners: &Listeners) -> Result<()> {
    if count > 0 && listeners.heard() < count as u64 {
        return Err(format!("{count} listeners heard {} messages", listeners.heard()).into());
    }
    Ok(())
}
