//! The listeners in Python follow rows through everything that happens to table, feed and server.

#![allow(clippy::unwrap_used)]

use cache_sync_cluster::{Options, python};
use cache_sync_tests::pooler::Pooler;
use cache_sync_tests::rows::make_accounts;
use cache_sync_tests::{Database, start, wait_blocking};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const KEYS: [i64; 3] = [1, 2, 3];

/// A listener that runs, and the last line that it printed of each key.
struct Listener {
    process: Child,
    shown: Arc<Mutex<BTreeMap<i64, String>>>,
}

impl Listener {
    fn start(script: &str, dsn: &str) -> Listener {
        let script = format!("{}/python/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(python().unwrap_or_else(|error| panic!("{error}")));
        command.arg(script).args(["public.account", "id"]).args(KEYS.map(|key| key.to_string()));
        let mut process = command.env("DATABASE_URL", dsn).stdout(Stdio::piped()).spawn().unwrap();
        let shown = Arc::new(Mutex::new(BTreeMap::new()));
        let (lines, seen) = (BufReader::new(process.stdout.take().unwrap()).lines(), shown.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let (key, row) = line.split_once(' ').unwrap();
                seen.lock().unwrap().insert(key.parse().unwrap(), row.to_owned());
            }
        });
        Listener { process, shown }
    }

    /// Waits until it shows what the table has.
    fn follows(&mut self, db: &Database<'_>, what: &str, within: Duration) {
        let keys = KEYS.map(|key| format!("({key})")).join(", ");
        let stored = db.psql(&format!(
            "SELECT k, coalesce(to_jsonb(t)::text, 'None') FROM (VALUES {keys}) v (k) LEFT JOIN account t ON t.id = k ORDER BY k"
        ));
        let row = |line: &str| line.split_once('|').map(|(key, row)| (key.parse().unwrap(), row.to_owned())).unwrap();
        let stored: BTreeMap<i64, String> = stored.lines().map(row).collect();
        let shown = self.shown.clone();
        let told = || format!("{what}: shown {:?}, stored {stored:?}", shown.lock().unwrap());
        wait_blocking(within, told, || {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "{what}: the listener ended: {ended:?}");
            *shown.lock().unwrap() == stored
        });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_followed(script: &str, through_pooler: bool) {
    let cluster = start(Options::default().fsync(false).setting("cache_sync.ring_size", "1024"));
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 10);
    let pooler = through_pooler.then(|| Pooler::start(&cluster, "transaction", 5));
    let dsn = pooler.as_ref().map_or_else(|| db.dsn(), |pooler| pooler.dsn(&db));
    let mut listener = Listener::start(script, &dsn);
    listener.follows(&db, "the first rows", Duration::from_secs(20));
    let other_rows = "UPDATE account SET note = 'other' WHERE id > 3";
    let many = "INSERT INTO account (id, name) SELECT n, 'many' FROM generate_series(100, 2200) n";
    for (statement, seconds) in [
        ("UPDATE account SET note = 'ä' WHERE id = 2", 1),
        (other_rows, 1),
        ("DELETE FROM account WHERE id = 1", 1),
        ("UPDATE account SET id = 1 WHERE id = 3", 1),
        ("BEGIN; UPDATE account SET note = 'undone'; ROLLBACK", 1),
        // More than the ring holds.
        (many, 1),
        ("TRUNCATE account", 1),
        ("INSERT INTO account (id, name) VALUES (1, 'again'), (3, 'third')", 1),
        (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()",
            5,
        ),
        ("UPDATE account SET note = 'meanwhile' WHERE id = 3", 5),
        ("ALTER TABLE account ADD extra int DEFAULT 7", 1),
    ] {
        db.psql(statement);
        listener.follows(&db, statement, Duration::from_secs(seconds));
    }
    // Connections that are lost in the middle of something.
    let end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()";
    for round in 0..20 {
        db.psql(&format!("UPDATE account SET note = 'round {round}'"));
        db.psql(end_all);
    }
    listener.follows(&db, "many lost connections", Duration::from_secs(10));
    cluster.restart_immediate().unwrap();
    db.psql("UPDATE account SET note = 'another epoch' WHERE id = 1");
    listener.follows(&db, "a restart", Duration::from_secs(10));
}

#[test]
fn asyncpg() {
    is_followed("listener.py", false);
}

#[test]
fn psycopg() {
    is_followed("poll.py", false);
}

#[test]
fn psycopg_through_a_pooler_in_transaction_mode() {
    is_followed("poll.py", true);
}
