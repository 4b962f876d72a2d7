//! Attached tables that logical replication copies, from here or to here.

use cache_sync_cluster::Cluster;
use cache_sync_tests::document::read;
use cache_sync_tests::{Database, SOON, output, start, unsynced, wait_blocking};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

/// A statement of docs/install.md that begins like this.
fn documented(begin: &str) -> String {
    let document = read("docs/install.md");
    let found = document.split('`').find(|code| code.starts_with(begin));
    found.unwrap_or_else(|| panic!("docs/install.md has no {begin}")).to_owned()
}

/// The steps of the document, in its order: nobody stops, and nobody is warned.
#[test]
fn the_documents_order_of_steps_is_one() {
    let server = server();
    let (publisher, subscriber) = (Database::with_extension_in(&server), Database::empty_in(&server));
    let table = "CREATE TABLE users (id int PRIMARY KEY, name text, logins int)";
    publisher.psql(&format!("{table}; CREATE PUBLICATION p FOR TABLE users"));
    subscriber.psql(table);
    publisher.psql("SELECT pg_create_logical_replication_slot('slot', 'pgoutput')");
    subscriber.psql(&format!(
        "CREATE SUBSCRIPTION subscribed CONNECTION '{}' PUBLICATION p WITH (create_slot = false, slot_name = 'slot', copy_data = false)",
        publisher.dsn()
    ));
    subscriber.psql(&documented("ALTER TABLE users ADD COLUMN"));
    publisher.psql(&documented("SELECT cache_sync.attach('users', versioned"));
    publisher.psql("INSERT INTO users VALUES (1, 'Ann', 0)");
    let versions = "SELECT name, cs_version > 0 FROM users";
    wait_blocking(SOON, || subscriber.psql(versions), || subscriber.psql(versions) == "Ann|t");
    assert_eq!(publisher.psql(PROBLEMS), "");
    subscriber.psql("CREATE EXTENSION cache_sync");
    subscriber.psql(&documented("SELECT cache_sync.attach('users', versioned"));
    publisher.psql("SELECT cache_sync.detach('users', true)");
    publisher.psql(&documented("ALTER PUBLICATION"));
    assert_eq!(warnings(&publisher, &documented("SELECT cache_sync.attach('users', versioned")), "");
    publisher.psql("UPDATE users SET logins = 1");
    wait_blocking(SOON, || subscriber.psql("TABLE users"), || subscriber.psql("SELECT logins FROM users") == "1");
    unsubscribe(&subscriber);
}
const PROBLEMS: &str = "SELECT problem, hint FROM cache_sync.check_tables()";

/// A server that publishes to itself: one database to another. Then the slot has to be made first.
fn server() -> Cluster {
    start(
        unsynced()
            .setting("wal_level", "logical")
            .setting("max_prepared_transactions", "4")
            .setting("wal_retrieve_retry_interval", "100ms"),
    )
}

fn subscribe(publisher: &Database<'_>, subscriber: &Database<'_>, two_phase: bool) {
    publisher.psql(&format!("SELECT pg_create_logical_replication_slot('slot', 'pgoutput', false, {two_phase})"));
    subscriber.psql(&format!(
        "CREATE SUBSCRIPTION subscribed CONNECTION '{}' PUBLICATION published
         WITH (create_slot = false, slot_name = 'slot', two_phase = {two_phase}, copy_data = false)",
        publisher.dsn()
    ));
}

/// What psql prints beside the rows.
fn warnings(db: &Database<'_>, sql: &str) -> String {
    let told = db.client("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]).output().unwrap();
    String::from_utf8_lossy(&told.stderr).into_owned()
}

fn unsubscribe(subscriber: &Database<'_>) {
    subscriber.psql("ALTER SUBSCRIPTION subscribed DISABLE");
    subscriber.psql("ALTER SUBSCRIPTION subscribed SET (slot_name = NONE)");
    subscriber.psql("DROP SUBSCRIPTION subscribed");
}

/// Versioned tables have two columns more, which subscribers lacked: they stopped at the next change, and nobody had said so.
#[test]
fn of_columns_that_subscribers_lack_one_is_warned() {
    let server = server();
    let (publisher, subscriber) = (Database::with_extension_in(&server), Database::empty_in(&server));
    publisher.psql(&format!("{TABLE}; CREATE PUBLICATION published FOR TABLE t"));
    subscriber.psql(TABLE);
    subscribe(&publisher, &subscriber, false);
    let told = warnings(&publisher, "SELECT cache_sync.attach('t', versioned => true)");
    assert!(
        told.contains(
            "WARNING:  public.t is published by published: subscribers that lack cs_version and cs_clock stop"
        ),
        "{told}"
    );
    let add = "ALTER TABLE public.t ADD COLUMN cs_version bigint, ADD COLUMN cs_clock bytea;";
    assert!(told.contains(add), "{told}");
    publisher.psql("INSERT INTO t VALUES (1, 'a')");
    wait_blocking(
        SOON,
        || format!("it is said: {}", publisher.psql(PROBLEMS)),
        || {
            let said = publisher.psql(PROBLEMS);
            said.contains("nobody reads the replication slot slot") && said.contains(add)
        },
    );
    // What is said heals it.
    subscriber.psql(add);
    wait_blocking(SOON, || subscriber.psql("TABLE t"), || subscriber.psql("SELECT v, cs_version > 0 FROM t") == "a|t");
    wait_blocking(SOON, || publisher.psql(PROBLEMS), || publisher.psql(PROBLEMS).is_empty());
    // One that has the columns, or does not get them, is not warned of.
    publisher.psql("SELECT cache_sync.detach('t')");
    assert_eq!(warnings(&publisher, "SELECT cache_sync.attach('t', versioned => true)"), "");
    publisher.psql("SELECT cache_sync.detach('t', true); ALTER PUBLICATION published SET TABLE t (id, v)");
    assert_eq!(warnings(&publisher, "SELECT cache_sync.attach('t', versioned => true)"), "");
    publisher.psql("INSERT INTO t VALUES (2, 'b')");
    wait_blocking(SOON, || subscriber.psql("TABLE t"), || subscriber.psql("SELECT count(*) FROM t") == "2");
    unsubscribe(&subscriber);
}

/// The worker of a two-phase subscription prepares what was prepared elsewhere; with an attached table it cannot, and tried for ever.
#[test]
fn of_a_subscription_that_prepares_one_is_warned() {
    let server = server();
    let (publisher, subscriber) = (Database::empty_in(&server), Database::with_extension_in(&server));
    publisher.psql(&format!("{TABLE}; CREATE PUBLICATION published FOR TABLE t"));
    subscriber.psql(TABLE);
    subscribe(&publisher, &subscriber, true);
    let told = warnings(&subscriber, "SELECT cache_sync.attach('t')");
    assert!(told.contains("WARNING:  the subscription subscribed is two-phase"), "{told}");
    let said = subscriber.psql(PROBLEMS);
    assert!(said.contains("the subscription subscribed is two-phase") && said.contains("two_phase = false"), "{said}");
    unsubscribe(&subscriber);
    assert_eq!(subscriber.psql(PROBLEMS), "");
    output(publisher.client("psql").args(["-c", "SELECT pg_drop_replication_slot('slot')"]));
    subscribe(&publisher, &subscriber, false);
    assert_eq!(subscriber.psql(PROBLEMS), "");
    publisher.psql("BEGIN; INSERT INTO t VALUES (1, 'a'); PREPARE TRANSACTION 'p'");
    publisher.psql("COMMIT PREPARED 'p'");
    wait_blocking(SOON, || subscriber.psql("TABLE t"), || subscriber.psql("SELECT v FROM t") == "a");
    unsubscribe(&subscriber);
}
