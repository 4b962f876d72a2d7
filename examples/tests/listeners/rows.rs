//! The examples show what the table has, through everything that happens to it and to the server.

use crate::END_ALL;
use crate::languages::running;
use crate::process::Process;
use cache_sync_cluster::{Options, workspace_root};
use cache_sync_tests::pooler::Pooler;
use cache_sync_tests::rows::make_accounts;
use cache_sync_tests::{Database, SOON, start, wait_blocking};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

const KEYS: [i64; 3] = [1, 2, 3];

/// A listener that runs, and the last line that it printed of each key.
struct Listener {
    process: Process,
    shown: Arc<Mutex<BTreeMap<i64, String>>>,
}

impl Listener {
    fn start(script: &str, dsn: &str) -> Listener {
        let mut process = Process::start(following(script, dsn, "id").stdout(Stdio::piped()));
        let shown = Arc::new(Mutex::new(BTreeMap::new()));
        let (lines, seen) = (BufReader::new(process.0.stdout.take().unwrap()).lines(), shown.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let (key, row) = line.split_once(' ').unwrap();
                seen.lock().unwrap().insert(key.parse().unwrap(), row.to_owned());
            }
        });
        Listener { process, shown }
    }

    /// Waits until it shows what the table has.
    fn follows(&mut self, db: &Database<'_>, what: &str) {
        let keys = KEYS.map(|key| format!("({key})")).join(", ");
        let stored = db.psql(&format!(
            "SELECT k, coalesce(to_jsonb(t)::text, 'None') FROM (VALUES {keys}) v (k) LEFT JOIN account t ON t.id = k ORDER BY k"
        ));
        let row = |line: &str| line.split_once('|').map(|(key, row)| (key.parse().unwrap(), row.to_owned())).unwrap();
        let stored: BTreeMap<i64, String> = stored.lines().map(row).collect();
        let shown = self.shown.clone();
        let told = || format!("{what}: shown {:?}, stored {stored:?}", shown.lock().unwrap());
        wait_blocking(SOON, told, || {
            let ended = self.process.0.try_wait().unwrap();
            assert!(ended.is_none(), "{what}: the listener ended: {ended:?}");
            *shown.lock().unwrap() == stored
        });
    }
}

/// An example, by this column of the table of accounts.
fn following(script: &str, dsn: &str, column: &str) -> Command {
    let mut command = running(&workspace_root().join("examples").join(script));
    command.args(["public.account", column]).args(KEYS.map(|key| key.to_string())).env("DATABASE_URL", dsn);
    command
}

fn is_followed(script: &str, through_pooler: bool) {
    let cluster = start(Options::default().fsync(false).setting("cache_sync.ring_size", "1024"));
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 10);
    let pooler = through_pooler.then(|| Pooler::start(&cluster, "transaction", 5));
    db.psql("CREATE ROLE reader LOGIN; GRANT cache_sync_user TO reader; GRANT SELECT ON account TO reader");
    let dsn = pooler.as_ref().map_or_else(|| db.dsn_as("reader"), |pooler| pooler.dsn(&db));
    let mut listener = Listener::start(script, &dsn);
    listener.follows(&db, "the first rows");
    let other_rows = "UPDATE account SET note = 'other' WHERE id > 3";
    let many = "INSERT INTO account (id, name) SELECT n, 'many' FROM generate_series(100, 2200) n";
    for statement in [
        "UPDATE account SET note = 'ä' WHERE id = 2",
        other_rows,
        "DELETE FROM account WHERE id = 1",
        "UPDATE account SET id = 1 WHERE id = 3",
        "BEGIN; UPDATE account SET note = 'undone'; ROLLBACK",
        // More than the ring holds.
        many,
        "TRUNCATE account",
        "INSERT INTO account (id, name) VALUES (1, 'again'), (3, 'third')",
        END_ALL,
        "UPDATE account SET note = 'meanwhile' WHERE id = 3",
        "ALTER TABLE account ADD extra int DEFAULT 7",
    ] {
        db.psql(statement);
        listener.follows(&db, statement);
    }
    // Connections that are lost in the middle of something.
    for round in 0..20 {
        db.psql(&format!("UPDATE account SET note = 'round {round}'"));
        db.psql(END_ALL);
    }
    listener.follows(&db, "many lost connections");
    cluster.restart_immediate().unwrap();
    db.psql("UPDATE account SET note = 'another epoch' WHERE id = 1");
    listener.follows(&db, "a restart");
}

#[test]
fn asyncpg() {
    is_followed("python/listener.py", false);
}

#[test]
fn psycopg() {
    is_followed("python/poll.py", false);
}

#[test]
fn psycopg_through_a_pooler_in_transaction_mode() {
    is_followed("python/poll.py", true);
}

#[test]
fn node_with_pg() {
    is_followed("node/listener.js", false);
}

fn ends_where_it_cannot_load(script: &str) {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let mut process = Process::start(following(script, &db.dsn(), "nonsense").stderr(Stdio::piped()));
    wait_blocking(SOON, || format!("{script} ends"), || process.0.try_wait().unwrap().is_some());
    let mut errors = String::new();
    process.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(!process.0.wait().unwrap().success() && errors.contains("lacks a value for its column"), "{errors}");
}

#[test]
fn asyncpg_ends_where_it_cannot_load() {
    ends_where_it_cannot_load("python/listener.py");
}

#[test]
fn node_ends_where_it_cannot_load() {
    ends_where_it_cannot_load("node/listener.js");
}
