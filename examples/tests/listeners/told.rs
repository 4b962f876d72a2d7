//! The packages say what happens to table, feed and server.

use crate::languages::{in_node, in_python, package};
use crate::printer::{Printer, START};
use crate::{END_ALL, each_language};
use cache_sync_cluster::Options;
use cache_sync_tests::pooler::Pooler;
use cache_sync_tests::{Database, SOON, output, start};

each_language! {
    what_happens_is_told,
    a_bound_below_some_heartbeats_is_refused,
    the_feed_is_heard_through_a_pooler_in_session_mode,
    a_reader_needs_no_other_rights,
}

/// It goes on where it was: nothing is missed, so there is no gap.
const MISSED: [&str; 4] = ["silent - False False", "tag page True False", "row page True True", "heard - False False"];

fn what_happens_is_told(script: &str) {
    let cluster = start(Options::default().fsync(false).setting("cache_sync.heartbeat_interval", "50"));
    let db = Database::with_extension_in(&cluster);
    db.psql("CREATE TABLE page (id int PRIMARY KEY, topic int, note text); SELECT cache_sync.attach('page', versioned => true, tags => '{topic}')");
    db.psql("INSERT INTO page VALUES (1, 7)");
    let printer = Printer::start(script, &db.dsn(), "page", r#"{"bound": 1500}"#);
    printer.expect("the start", &START);
    db.psql("UPDATE page SET note = 'a'");
    printer.expect("an update", &["tag page True False", "row page True True"]);
    db.psql("INSERT INTO page VALUES (2, NULL)");
    printer.expect("an insert", &["tag page True False", "row page True True"]);
    db.psql("TRUNCATE page");
    printer.expect("the whole table", &["table page False False"]);
    db.psql(&format!("{END_ALL}; INSERT INTO page VALUES (3, 7)"));
    printer.expect("a lost connection", &MISSED);
    // What comes once it goes on is older than the bound, so nobody may take it for what is now.
    printer.signal("-STOP");
    db.psql("UPDATE page SET note = 'b'");
    crate::until_older_than(&db, "1500 ms");
    printer.signal("-CONT");
    printer.expect("a process that was stopped", &MISSED);
    cluster.restart_immediate().unwrap();
    printer.expect("another epoch", &["silent - False False", "gap - False False", "heard - False False"]);
    // It has another number then.
    db.psql("SELECT cache_sync.detach('page'); SELECT cache_sync.attach('page')");
    // The feed ends with a heartbeat, which may come before the change is told.
    let first = printer.next(SOON);
    let silent = if first == "table page False False" { printer.next(SOON) } else { first };
    assert_eq!(silent, "silent - False False", "a table that is attached anew");
    printer.expect("a table that is attached anew", &START);
    db.psql("INSERT INTO page VALUES (4, 7)");
    printer.expect("a change of that", &["row page True False"]);
    db.psql("SELECT cache_sync.detach('page')");
    ends_with(printer, "not attached: page");
    ends_with(Printer::start(script, &db.dsn(), "nothing", "{}"), "\"nothing\" does not exist");
}

fn ends_with(printer: Printer, message: &str) {
    let (status, errors) = printer.end();
    assert!(!status.success() && errors.contains(message), "{message}: {status}: {errors}");
}

fn a_bound_below_some_heartbeats_is_refused(script: &str) {
    let db = Database::with_extension();
    db.psql("CREATE TABLE page (id int PRIMARY KEY); SELECT cache_sync.attach('page')");
    let refused = Printer::start(script, &db.dsn(), "page", r#"{"bound": 2999}"#);
    ends_with(refused, "it must be at least 3 times the server's cache_sync.heartbeat_interval, which is 1000 ms");
    Printer::start(script, &db.dsn(), "page", r#"{"bound": 3000}"#).expect("three heartbeats", &START);
}

fn the_feed_is_heard_through_a_pooler_in_session_mode(script: &str) {
    let db = Database::with_extension();
    db.psql("CREATE TABLE page (id int PRIMARY KEY); SELECT cache_sync.attach('page')");
    let pooler = Pooler::start(db.cluster(), "session", 5);
    let printer = Printer::start(script, &pooler.dsn(&db), "page", "{}");
    printer.expect("the start", &START);
    db.psql("INSERT INTO page VALUES (1)");
    printer.expect("an insert", &["row page True False"]);
}

fn a_reader_needs_no_other_rights(script: &str) {
    let cluster = start(Options::default().fsync(false));
    let db = Database::with_extension_in(&cluster);
    db.psql("CREATE TABLE page (id int PRIMARY KEY); SELECT cache_sync.attach('page')");
    db.psql("CREATE ROLE reader LOGIN; GRANT cache_sync_user TO reader; GRANT SELECT ON page TO reader");
    let printer = Printer::start(script, &db.dsn_as("reader"), "page", "{}");
    printer.expect("the start", &START);
    db.psql("INSERT INTO page VALUES (1)");
    printer.expect("an insert", &["row page True False"]);
    db.psql("REVOKE SELECT ON page FROM reader");
    ends_with(printer, "permission denied");
}

#[test]
fn the_packages_own_tests_pass() {
    let mut tests = in_python();
    output(tests.args(["-m", "unittest", "discover", "--start-directory", "tests"]).current_dir(package("python")));
    // Each file by itself: how a directory is named depends on the version of Node.
    let files = ["message", "inbox", "reconnect"].map(|name| format!("test/{name}.test.js"));
    output(in_node().arg("--test").args(files).current_dir(package("node")));
}
