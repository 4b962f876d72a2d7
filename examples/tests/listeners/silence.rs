//! Connections that are worth nothing any more though nobody closes them, and callers who take nothing.

use crate::printer::{Printer, START};
use crate::{END_ALL, each_language, until_older_than};
use cache_sync_cluster::Options;
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::{Database, SOON, start, wait_blocking};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Runtime;

each_language! {
    silence_counts_from_what_was_heard_last,
    a_connection_that_hangs_while_it_begins_is_given_up,
    a_caller_who_takes_nothing_misses_nothing,
    a_connection_is_made_anew_unnoticed,
}

const ATTACHED: &str = "CREATE TABLE page (id int PRIMARY KEY); SELECT cache_sync.attach('page')";
const ROW: &str = "row page True False";

fn silence_counts_from_what_was_heard_last(script: &str) {
    let runtime = Runtime::new().unwrap();
    let db = Database::with_extension();
    db.psql(ATTACHED);
    let proxy = runtime.block_on(Proxy::start(db.cluster().port()));
    let mut printer = Printer::start(script, &proxy.dsn(&db), "page", r#"{"bound": 6000, "holds": true}"#);
    printer.expect("the start", &START);
    db.psql("INSERT INTO page VALUES (1)");
    printer.expect("an insert", &[ROW]);
    proxy.faults.set(|faults| &faults.silent, true);
    db.psql("INSERT INTO page VALUES (2)");
    until_older_than(&db, "6 s");
    printer.release();
    // Its caller was away for a whole bound, so there is nothing left to wait for.
    assert_eq!(printer.next(Duration::from_secs(3)), "silent - False False");
    proxy.faults.set(|faults| &faults.silent, false);
    printer.expect("what was missed", &[ROW, "heard - False False"]);
}

fn a_connection_that_hangs_while_it_begins_is_given_up(script: &str) {
    let runtime = Runtime::new().unwrap();
    let db = Database::with_extension();
    db.psql(ATTACHED);
    let proxy = runtime.block_on(Proxy::start(db.cluster().port()));
    let printer = Printer::start(script, &proxy.dsn(&db), "page", "{}");
    printer.expect("the start", &START);
    proxy.faults.set(|faults| &faults.hold_loads, true);
    proxy.faults.loads_to_hold.store(1, Ordering::Release);
    db.psql(END_ALL);
    printer.expect("a lost connection", &["silent - False False"]);
    let is_held = || proxy.faults.loads_to_hold.load(Ordering::Acquire) == 0;
    wait_blocking(SOON, || "an answer is held".to_owned(), is_held);
    printer.expect("another connection", &["heard - False False"]);
}

fn a_caller_who_takes_nothing_misses_nothing(script: &str) {
    let cluster = start(Options::default().fsync(false).setting("cache_sync.heartbeat_interval", "50"));
    let db = Database::with_extension_in(&cluster);
    db.psql(ATTACHED);
    let mut printer = Printer::start(script, &db.dsn(), "page", r#"{"bound": 60000, "queueMax": 20, "holds": true}"#);
    printer.expect("the start", &START);
    let insert =
        |ids: std::ops::Range<i32>| ids.for_each(|id| drop(db.psql(&format!("INSERT INTO page VALUES ({id})"))));
    insert(0..5);
    printer.expect("the first", &[ROW]);
    let ended = || feeds(&db).is_empty();
    wait_blocking(SOON, || "the feed of who takes nothing ends".to_owned(), ended);
    insert(5..10);
    printer.release();
    // How many of them were in the queue depends on how fast they came.
    let mut told: Vec<String> = (0..11).map(|_| printer.next(SOON)).collect();
    assert_eq!(told.pop().as_deref(), Some("heard - False False"), "all of it: {told:?}");
    told.sort();
    let (rows, silent) = told.split_at(9);
    assert_eq!((rows, silent), ([ROW; 9].map(String::from).as_slice(), ["silent - False False".to_owned()].as_slice()));
}

fn a_connection_is_made_anew_unnoticed(script: &str) {
    let cluster = start(Options::default().fsync(false).setting("cache_sync.heartbeat_interval", "50"));
    let db = Database::with_extension_in(&cluster);
    db.psql(ATTACHED);
    let printer = Printer::start(script, &db.dsn(), "page", r#"{"renew": 3000, "bound": 3000}"#);
    printer.expect("the start", &START);
    for id in 0..2 {
        let before = feeds(&db);
        let is_another = || !matches!(feeds(&db).as_str(), now if now.is_empty() || now == before);
        wait_blocking(SOON, || format!("a connection after that of {before}"), is_another);
        db.psql(&format!("INSERT INTO page VALUES ({id})"));
        printer.expect("an insert", &[ROW]);
    }
}

/// The processes of the feeds.
fn feeds(db: &Database<'_>) -> String {
    db.psql("SELECT pid FROM cache_sync.listeners WHERE database = current_database()")
}
