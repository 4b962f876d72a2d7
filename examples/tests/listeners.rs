//! The listeners in Python and Node follow rows through everything that happens to table, feed and server, and their packages say what happens.

#![allow(clippy::unwrap_used)]

use cache_sync_cluster::{Options, node, python, workspace_root};
use cache_sync_tests::pooler::Pooler;
use cache_sync_tests::rows::make_accounts;
use cache_sync_tests::{Database, output, start, wait_blocking};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
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
        let mut command = if script.ends_with(".py") { in_python() } else { in_node() };
        command
            .arg(workspace_root().join("examples").join(script))
            .args(["public.account", "id"])
            .args(KEYS.map(|key| key.to_string()));
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

/// Python that finds the package.
fn in_python() -> Command {
    let mut command = Command::new(python().unwrap_or_else(|error| panic!("{error}")));
    command.env("PYTHONPATH", package("python")).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn in_node() -> Command {
    node().unwrap_or_else(|error| panic!("{error}"))
}

fn package(language: &str) -> PathBuf {
    workspace_root().join("listeners").join(language)
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
        (END_ALL, 5),
        ("UPDATE account SET note = 'meanwhile' WHERE id = 3", 5),
        ("ALTER TABLE account ADD extra int DEFAULT 7", 1),
    ] {
        db.psql(statement);
        listener.follows(&db, statement, Duration::from_secs(seconds));
    }
    // Connections that are lost in the middle of something.
    for round in 0..20 {
        db.psql(&format!("UPDATE account SET note = 'round {round}'"));
        db.psql(END_ALL);
    }
    listener.follows(&db, "many lost connections", Duration::from_secs(10));
    cluster.restart_immediate().unwrap();
    db.psql("UPDATE account SET note = 'another epoch' WHERE id = 1");
    listener.follows(&db, "a restart", Duration::from_secs(10));
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

/// Prints what is told, a line each: kind, table, and whether there are hash and version. The table is the first argument.
const IN_PYTHON: &str = "
import asyncio, os, sys, cache_sync
async def main():
    async for told in cache_sync.changes(os.environ['DATABASE_URL'], [sys.argv[1]]):
        print(told.kind, told.table or '-', told.key_hash is not None, told.version is not None, flush=True)
asyncio.run(main())";
const IN_NODE: &str = "
const { changes } = require(process.env.PACKAGE);
(async () => {
  for await (const told of changes({ connection: process.env.DATABASE_URL, tables: [process.argv[1]] })) {
    const has = (value) => (value !== null && value !== undefined ? 'True' : 'False');
    console.log(told.kind, told.table ?? '-', has(told.keyHash), has(told.version));
  }
})();";

/// One of the two, of this table.
fn printing(language: &str, dsn: &str, table: &str) -> Command {
    let mut command = match language {
        "python" => in_python(),
        _ => in_node(),
    };
    match language {
        "python" => command.args(["-c", IN_PYTHON]),
        _ => command.args(["-e", IN_NODE]),
    };
    command.arg(table).env("PACKAGE", package(language)).env("DATABASE_URL", dsn);
    command
}

/// What is told counts for 3 s.
const LONGER_THAN_THE_BOUND: Duration = Duration::from_secs(4);

/// Ends every connection to the database but its own.
const END_ALL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()";

fn what_happens_is_told(language: &str) {
    let cluster = start(Options::default().fsync(false));
    let db = Database::with_extension_in(&cluster);
    db.psql("CREATE TABLE page (id int PRIMARY KEY, topic int, note text); SELECT cache_sync.attach('page', versioned => true, tags => '{topic}')");
    db.psql("INSERT INTO page VALUES (1, 7)");
    let mut command = printing(language, &db.dsn(), "page");
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = Mutex::new(BufReader::new(process.stdout.take().unwrap()).lines());
    let next = || lines.lock().unwrap().next().expect("it goes on").unwrap();
    let expect = |what: &str, told: &[&str]| {
        for told in told {
            assert_eq!(next(), *told, "{language}: {what}");
        }
    };
    expect("the start", &["gap - False False", "heard - False False"]);
    db.psql("UPDATE page SET note = 'a'");
    expect("an update", &["tag page True False", "row page True True"]);
    db.psql("INSERT INTO page VALUES (2, NULL)");
    expect("an insert", &["tag page True False", "row page True True"]);
    db.psql("TRUNCATE page");
    expect("the whole table", &["table page False False"]);
    // It goes on where it was: nothing is missed, so there is no gap.
    db.psql(&format!("{END_ALL}; INSERT INTO page VALUES (3, 7)"));
    let missed = ["silent - False False", "tag page True False", "row page True True", "heard - False False"];
    expect("a lost connection", &missed);
    // What comes once it goes on is older than the bound, so nobody may take it for what is now.
    let signal = |what: &str| output(Command::new("kill").args([what, &process.id().to_string()]));
    signal("-STOP");
    db.psql("UPDATE page SET note = 'b'");
    std::thread::sleep(LONGER_THAN_THE_BOUND);
    signal("-CONT");
    expect("a process that was stopped", &missed);
    cluster.restart_immediate().unwrap();
    expect("another epoch", &["silent - False False", "gap - False False", "heard - False False"]);
    // It has another number then.
    db.psql("SELECT cache_sync.detach('page'); SELECT cache_sync.attach('page')");
    let anew = ["table page False False", "silent - False False", "gap - False False", "heard - False False"];
    expect("a table that is attached anew", &anew);
    db.psql("INSERT INTO page VALUES (4, 7)");
    expect("a change of that", &["row page True False"]);
    db.psql("SELECT cache_sync.detach('page')");
    while lines.lock().unwrap().next().is_some() {}
    let ended = process.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && errors.contains("not attached: page"), "{language}: {errors}");
    let refused = printing(language, &db.dsn(), "nothing").output().unwrap();
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && errors.contains("\"nothing\" does not exist"), "{language}: {errors}");
}

#[test]
fn the_package_for_python_says_what_happens() {
    what_happens_is_told("python");
}

#[test]
fn the_package_for_node_says_what_happens() {
    what_happens_is_told("node");
}

#[test]
fn the_packages_read_every_message_of_the_documentation() {
    let mut tests = in_python();
    output(tests.args(["-m", "unittest", "discover", "--start-directory", "tests"]).current_dir(package("python")));
    // Each file by itself: how a directory is named depends on the version of Node.
    output(in_node().args(["--test", "test/message.test.js"]).current_dir(package("node")));
}
