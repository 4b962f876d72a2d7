//! The servers, the table and the roles: each way has a role of its own, by which Postgres tells their statements apart.

use std::process::Stdio;
use std::time::Duration;

use cache_sync_cluster::{Cluster, Options, Redis};
use cache_sync_kit::{During, Result, connect};
use cache_sync_peers::{Database, FIELD_BYTES};
use tokio::process::Command;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::side::{ROWS, SHELF};
use super::sql::STATEMENTS_MAX;
use super::watcher::Counted;
use super::words::Way;
use crate::keys::STRIDE;

const DATABASE: &str = "web";
/// Rows that pgbench changes in a second.
const PGBENCH_RATE: u32 = 50;
/// Before pgbench is started again when Postgres was away.
const PGBENCH_PAUSE: Duration = Duration::from_millis(300);
/// If it ends sooner than this, so many times after each other though Postgres answers, something is wrong with it.
const PGBENCH_QUICK: Duration = Duration::from_secs(2);
const PGBENCH_QUICK_ENDS_MAX: u32 = 5;
/// What it sends, by which its statements are counted.
pub(crate) const PGBENCH_UPDATE: &str = "UPDATE record SET counter = counter + ";
/// Who edits rows by SQL from the page. He may change the texts on the shelf, and call what does nothing but compute: no function that is
/// volatile, since some of those write, hold locks or wait.
const VISITOR: &str = "visitor";
/// Connections that he has at most: some more than statements at a time, since one may take a while to end.
const VISITOR_CONNECTIONS_MAX: usize = 2 * STATEMENTS_MAX;

/// What a statement of his may put onto the disk while it sorts.
const VISITOR_TEMP_FILES_MAX: &str = "16MB";

/// How long a text in a row may be.
pub(crate) const TEXT_LENGTH_MAX: usize = FIELD_BYTES;

/// Both ways share the table, since each is to show what others write: so the writes of both pay for this trigger and for those of cache_sync, and
/// the page says so. Versions are counted by an ordinary trigger, as in many an application: so what is read tells its own age, whoever wrote and read it.
const TRIGGER: &str = "
    CREATE FUNCTION count_version() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN NEW.version := OLD.version + 1; RETURN NEW; END';
    CREATE TRIGGER count_version BEFORE UPDATE ON record FOR EACH ROW EXECUTE FUNCTION count_version();
";

/// The servers.
pub(crate) struct Stage {
    cluster: Cluster,
    redis: Redis,
}

impl Stage {
    /// Starts the servers and fills the table.
    pub(crate) async fn build() -> Result<Stage> {
        let stage = tokio::task::block_in_place(|| {
            let mut options = Options::default().setting("shared_preload_libraries", "cache_sync,pg_stat_statements");
            if cfg!(target_os = "linux") {
                // After a crash it would else open and sync each of its files: more of them come with it than hold rows here.
                options = options.setting("recovery_init_sync_method", "syncfs");
            }
            let cluster = options.start()?;
            cluster.createdb(DATABASE)?;
            Result::Ok(Stage { cluster, redis: Redis::start()? })
        })?;
        Database::create(&stage.dsn("postgres"), *SHELF.end() as u64 + 1).await?;
        stage.connect().await?.batch_execute(&prepare()).await?;
        Ok(stage)
    }

    /// A connection string of a role.
    fn dsn(&self, role: &str) -> String {
        format!("postgresql://{role}@127.0.0.1:{}/{DATABASE}", self.cluster.port())
    }

    pub(crate) fn dsn_of(&self, way: Way) -> String {
        self.dsn(way.role())
    }

    pub(crate) fn redis_url(&self) -> String {
        self.redis.url()
    }

    /// Connects as the one who may do everything.
    pub(crate) async fn connect(&self) -> Result<Client> {
        Ok(connect(&self.dsn("postgres")).await?)
    }

    pub(crate) async fn connect_visitor(&self) -> Result<Client> {
        Ok(connect(&self.dsn(VISITOR)).await?)
    }

    pub(crate) fn restart_postgres(&self) -> Result<()> {
        self.cluster.restart_immediate()
    }

    /// Lets pgbench change rows, the hotter ones more often, for as long as this is polled; it begins anew when Postgres was away.
    pub(crate) async fn keep_writing(&self, counted: &Counted) -> Result<()> {
        let script = self.cluster.socket_dir().join("pgbench.sql");
        std::fs::write(&script, pgbench_script())?;
        let mut quick_ends = 0;
        loop {
            let mut pgbench = Command::from(self.cluster.client("pgbench", DATABASE));
            pgbench
                .args(["-n", "--client", "2", "--time", "86400", "--rate", &PGBENCH_RATE.to_string(), "--file"])
                .arg(&script);
            pgbench.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
            let begun = Instant::now();
            let ended = pgbench.spawn().during(|| "pgbench".into())?.wait_with_output().await?;
            let is_quick = begun.elapsed() < PGBENCH_QUICK && counted.answers();
            quick_ends = if is_quick { quick_ends + 1 } else { 0 };
            if quick_ends == PGBENCH_QUICK_ENDS_MAX {
                let said = String::from_utf8_lossy(&ended.stderr);
                return Err(format!("pgbench ends again and again ({}): {}", ended.status, said.trim()).into());
            }
            tokio::time::sleep(PGBENCH_PAUSE).await;
        }
    }
}

/// The extension, the roles, and what is in the rows of the shelf.
fn prepare() -> String {
    let (first, last) = (SHELF.start(), SHELF.end());
    let roles = Way::BOTH.map(|way| {
        let role = way.role();
        format!("CREATE ROLE {role} LOGIN; GRANT cache_sync_user TO {role}; GRANT SELECT, UPDATE ON record TO {role};")
    });
    format!(
        "CREATE EXTENSION cache_sync; CREATE EXTENSION pg_stat_statements;
         UPDATE record SET field0 = (ARRAY['', 'bread 3.20', 'coffee 8.90', 'lamp 24.50', 'bicycle 649.00'])[id - {first} + 1]
         WHERE id BETWEEN {first} AND {last};
         ALTER TABLE record ADD CHECK (length(field0) <= {TEXT_LENGTH_MAX});
         {TRIGGER}
         SELECT cache_sync.attach('record', versioned => true, rules => '{{\"counter\": \"add\"}}');
         {}
         CREATE ROLE {VISITOR} LOGIN CONNECTION LIMIT {VISITOR_CONNECTIONS_MAX};
         ALTER ROLE {VISITOR} SET statement_timeout = '3s';
         ALTER ROLE {VISITOR} SET temp_file_limit = '{VISITOR_TEMP_FILES_MAX}';
         {}
         CREATE VIEW shelf AS SELECT id - {first} AS row, field0 AS text FROM record WHERE id BETWEEN {first} + 1 AND {last};
         GRANT SELECT, UPDATE (text) ON shelf TO {VISITOR}",
        roles.concat(),
        take_volatile_functions()
    )
}

/// Nobody but the ways may call them.
fn take_volatile_functions() -> String {
    let [ours, theirs] = Way::BOTH.map(Way::role);
    format!(
        "DO $$ DECLARE name regprocedure; BEGIN
             FOR name IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND provolatile = 'v'
                 AND has_function_privilege('public', oid, 'EXECUTE')
             LOOP
                 EXECUTE format('GRANT EXECUTE ON FUNCTION %1$s TO {ours}, {theirs}; REVOKE EXECUTE ON FUNCTION %1$s FROM PUBLIC', name);
             END LOOP;
         END $$;"
    )
}

/// The same rows are hot as in the nodes.
fn pgbench_script() -> String {
    format!(
        "\\set rank random_zipfian(1, {ROWS}, 1.001)\n\
         \\set id 1 + ((:rank - 1) * {STRIDE}) % {ROWS}\n\
         {PGBENCH_UPDATE}1 WHERE id = :id;\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_postgres::error::SqlState;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_visitor_changes_texts_and_calls_nothing_that_does_more_than_compute() {
        let stage = Stage::build().await.expect("servers");
        let visitor = stage.connect_visitor().await.expect("Postgres");
        let set = async |text: &str| {
            visitor.execute(&format!("UPDATE shelf SET text = ({text})::text WHERE row = 1"), &[]).await
        };
        assert_eq!(set("upper('bread') || ' ' || row || ' ' || now()::date").await.expect("an update"), 1);
        for call in [
            "lo_from_bytea(0, 'x')",
            "lo_create(0)",
            "pg_notify('x', 'y')",
            "pg_advisory_lock(1)",
            "pg_try_advisory_lock_shared(1, 2)",
            "pg_advisory_xact_lock(1)",
            "pg_sleep(1)",
            "pg_logical_emit_message(true, 'x', 'y')",
            "set_config('statement_timeout', '0', false)",
        ] {
            let refused = set(call).await.expect_err(call);
            assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{call}: {refused}");
        }
        let limit: String = visitor.query_one("SHOW temp_file_limit", &[]).await.expect("a setting").get(0);
        assert_eq!(limit, VISITOR_TEMP_FILES_MAX);
        // All that is left, of whichever schema.
        let left = "SELECT oid::regprocedure::text FROM pg_proc
                    WHERE provolatile = 'v' AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
                    AND has_schema_privilege($1, pronamespace, 'USAGE') AND has_function_privilege($1, oid, 'EXECUTE') ORDER BY 1";
        let left = stage.connect().await.expect("Postgres").query(left, &[&VISITOR]).await.expect("functions");
        let left: Vec<String> = left.iter().map(|row| row.get(0)).collect();
        assert_eq!(left, ["pg_stat_statements(boolean)", "pg_stat_statements_info()"], "what only tells");
    }
}
