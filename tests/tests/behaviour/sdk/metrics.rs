//! What a client and its caches count and measure reaches the recorder of the facade `metrics`, adds up over caches and clients, and goes
//! with them.

use cache_sync::{Cache, Client, METRICS, Patch};
use cache_sync_tests::logged::Logged;
use cache_sync_tests::recorded::Recorded;
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, wait_until};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, set_default_local_recorder,
};
use std::collections::BTreeSet;
use std::time::Duration;

const OFTEN: Duration = Duration::from_millis(100);
const TABLE: &[&str] = &["table=public.account"];

async fn measured(db: &Database<'_>) -> Client {
    open(Client::builder(&db.dsn()).metrics_interval(OFTEN)).await
}

async fn until(recorded: &Recorded, name: &str, count: u64) {
    let labels = if name.contains("query") { &[] } else { TABLE };
    wait_until(SOON, name, async || recorded.counter(name, labels) == count).await;
}

/// Reads, misses, writes that are refused, changes that others make, and a query, each of them once at least.
async fn live(db: &Database<'_>, client: &Client, cache: &Cache<i64, Account>) {
    for key in [1, 1, 2] {
        cache.get(&key).await.unwrap();
    }
    cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap().written().await.unwrap();
    let broken = cache.patch(&2, Patch::new().set("name", "x".repeat(30)));
    assert!(!broken.await.unwrap().written().await.unwrap().is_written());
    cache.get(&1).await.unwrap();
    cache.get(&2).await.unwrap();
    db.psql("UPDATE account SET note = 'changed' WHERE id = 1");
    client.catch_up().await.unwrap();
    cache.get(&1).await.unwrap();
    client.query::<i64>("SELECT count(*) FROM account").fetch().await.unwrap();
}

fn make(db: &Database<'_>) {
    make_accounts(db, 10);
    db.psql("ALTER TABLE account ADD CHECK (length(name) < 20)");
}

#[tokio::test]
async fn all_that_is_described_is_published_and_nothing_else() {
    let recorded = Recorded::default();
    let _here = set_default_local_recorder(&recorded);
    let db = Database::with_extension();
    make(&db);
    let client = measured(&db).await;
    let cache = accounts(&client).await;
    live(&db, &client, &cache).await;
    until(&recorded, "cache_sync_query_loads_total", 1).await;
    let described = METRICS.iter().map(|metric| {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        format!("{kind} {} {}", metric.name, metric.unit)
    });
    assert_eq!(recorded.described(), described.collect());
    let (database, mut expected) = (format!("database={}", db.name()), BTreeSet::new());
    for metric in METRICS {
        let table = if metric.labels.contains(&"table") { ",table=public.account" } else { "" };
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let outcomes =
            if metric.labels.contains(&"outcome") { vec![",outcome=ok", ",outcome=error"] } else { vec![""] };
        let name = metric.name;
        expected.extend(outcomes.iter().map(|outcome| format!("{kind} {name}{{{database}{table}{outcome}}}")));
    }
    assert_eq!(recorded.all(), expected);
    close(client).await;
}

#[tokio::test]
async fn what_happens_is_measured_where_it_does() {
    let recorded = Recorded::default();
    let _here = set_default_local_recorder(&recorded);
    let db = Database::with_extension();
    make(&db);
    let client = measured(&db).await;
    let cache = accounts(&client).await;
    live(&db, &client, &cache).await;
    // One look-up in about a thousand is measured.
    for _ in 0..4000 {
        cache.get(&2).await.unwrap();
    }
    let status = cache.status();
    until(&recorded, "cache_sync_hits_total", status.hits).await;
    for (name, count) in [
        ("cache_sync_misses_total", status.misses),
        ("cache_sync_load_statements_total", status.load_statements),
        ("cache_sync_changes_total", status.changes),
        ("cache_sync_writes_total", 2),
        ("cache_sync_batches_total", 2),
        ("cache_sync_rejected_total", 1),
        ("cache_sync_unknown_total", 0),
    ] {
        assert_eq!(recorded.counter(name, TABLE), count, "{name}");
    }
    assert_eq!(recorded.gauge("cache_sync_entries", TABLE), status.entries as f64);
    assert_eq!((recorded.gauge("cache_sync_clients", &[]), recorded.gauge("cache_sync_feed_live", &[])), (1.0, 1.0));
    let samples = |name: &str| recorded.samples(name, TABLE);
    assert_eq!(samples("cache_sync_miss_seconds").len() as u64, status.misses);
    let loads = |outcome| recorded.samples("cache_sync_load_seconds", &["table=public.account", outcome]).len() as u64;
    assert_eq!((loads("outcome=ok"), loads("outcome=error")), (status.load_statements, 0));
    assert_eq!(samples("cache_sync_load_keys").iter().sum::<f64>(), status.loaded_keys as f64);
    for (name, expected) in [("cache_sync_batch_patches", 1.0), ("cache_sync_batch_tries", 1.0)] {
        assert_eq!(samples(name), [expected, expected], "{name}");
    }
    let (batches, writes) = (samples("cache_sync_batch_seconds"), samples("cache_sync_write_seconds"));
    assert!((batches.len(), writes.len()) == (2, 2) && batches.iter().zip(&writes).all(|(batch, write)| batch < write));
    let hits = samples("cache_sync_hit_seconds");
    assert!((2..8).contains(&hits.len()) && hits.iter().all(|seconds| *seconds < 0.1), "{hits:?}");
    let ages = samples("cache_sync_read_age_seconds");
    assert!(ages.len() == hits.len() && ages.iter().all(|seconds| *seconds < 3.0), "{ages:?}");
    let drops = samples("cache_sync_commit_to_drop_seconds");
    assert!(!drops.is_empty() && drops.iter().all(|seconds| (0.0..2.0).contains(seconds)), "{drops:?}");
    close(client).await;
}

/// A change is made half a second before it is committed.
#[tokio::test]
async fn a_change_counts_from_when_it_was_made() {
    let recorded = Recorded::default();
    let _here = set_default_local_recorder(&recorded);
    let db = Database::with_extension();
    make(&db);
    let client = measured(&db).await;
    let cache = accounts(&client).await;
    cache.get(&3).await.unwrap();
    db.psql("BEGIN; UPDATE account SET note = 'slow' WHERE id = 3; SELECT pg_sleep(0.5); COMMIT");
    client.catch_up().await.unwrap();
    let drops = recorded.samples("cache_sync_commit_to_drop_seconds", TABLE);
    assert!(drops.len() == 1 && (0.5..2.0).contains(&drops[0]), "{drops:?}");
    close(client).await;
}

#[tokio::test]
async fn caches_and_clients_add_up_and_take_their_share_along() {
    let recorded = Recorded::default();
    let _here = set_default_local_recorder(&recorded);
    let db = Database::with_extension();
    make(&db);
    let (one, two) = (measured(&db).await, measured(&db).await);
    let (here, there) = (accounts(&one).await, accounts(&two).await);
    for (cache, keys) in [(&here, 1..=3), (&there, 1..=4)] {
        cache.get_many(&keys.collect::<Vec<i64>>()).await.unwrap();
    }
    until(&recorded, "cache_sync_misses_total", 7).await;
    assert_eq!(recorded.gauge("cache_sync_clients", &[]), 2.0);
    wait_until(SOON, "all are held", async || recorded.gauge("cache_sync_entries", TABLE) == 7.0).await;
    // What was counted last is not lost; a cache that is opened again begins at nothing, and its table goes on.
    here.get(&6).await.unwrap();
    drop(here);
    wait_until(SOON, "it has left", async || recorded.gauge("cache_sync_entries", TABLE) == 4.0).await;
    assert_eq!(recorded.counter("cache_sync_misses_total", TABLE), 8);
    let again = accounts(&one).await;
    again.get(&1).await.unwrap();
    until(&recorded, "cache_sync_misses_total", 9).await;
    again.get(&2).await.unwrap();
    close(one).await;
    assert_eq!(recorded.counter("cache_sync_misses_total", TABLE), 10);
    assert_eq!(recorded.gauge("cache_sync_entries", TABLE), 4.0);
    there.get(&5).await.unwrap();
    drop((two, there, again));
    wait_until(SOON, "all are gone", async || recorded.gauge("cache_sync_clients", &[]) == 0.0).await;
    assert_eq!(recorded.counter("cache_sync_misses_total", TABLE), 11);
    for name in ["cache_sync_entries", "cache_sync_write_trouble_seconds"] {
        assert_eq!(recorded.gauge(name, TABLE), 0.0, "{name}");
    }
    assert_eq!(recorded.gauge("cache_sync_feed_live", &[]), 0.0);
}

#[tokio::test]
async fn what_fails_shows() {
    let recorded = Recorded::default();
    let _here = set_default_local_recorder(&recorded);
    let db = Database::with_extension();
    make(&db);
    let role = format!("measured_{}", db.name());
    db.psql(&format!("CREATE ROLE {role} LOGIN IN ROLE cache_sync_user; GRANT SELECT ON account TO {role}"));
    let client = open(Client::builder(&db.dsn_as(&role)).metrics_interval(OFTEN)).await;
    let cache = client.cache::<i64, Account>("account").open().await.unwrap();
    let _ = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
    let trouble = async || recorded.gauge("cache_sync_write_trouble_seconds", TABLE) >= 1.0;
    wait_until(SOON, "it cannot be written", trouble).await;
    assert_eq!(recorded.gauge("cache_sync_buffered_patches", &[]), 1.0);
    db.psql(&format!("GRANT UPDATE ON account TO {role}"));
    let is_over = async || recorded.gauge("cache_sync_write_trouble_seconds", TABLE) == 0.0;
    wait_until(SOON, "it is written", is_over).await;
    assert!(recorded.counter("cache_sync_flush_retries_total", TABLE) >= 1);
    assert!(recorded.samples("cache_sync_batch_tries", TABLE)[0] >= 2.0);
    db.psql(&format!("REVOKE SELECT ON account FROM {role}"));
    cache.invalidate(&2);
    cache.get(&2).await.unwrap_err();
    assert_eq!(recorded.samples("cache_sync_load_seconds", &["outcome=error"]).len(), 1);
    close(client).await;
}

/// The client lives on where its runtime has ended, and does nothing any more: it must not look well for ever.
#[test]
fn a_client_whose_runtime_has_ended_is_none() {
    let recorded = Recorded::default();
    let _here = set_default_local_recorder(&recorded);
    let db = Database::with_extension();
    make(&db);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(async {
        let client = measured(&db).await;
        accounts(&client).await.get(&1).await.unwrap();
        let live = async || recorded.gauge("cache_sync_feed_live", &[]) == 1.0;
        wait_until(SOON, "it is well", live).await;
        client
    });
    drop(runtime);
    for gauge in ["cache_sync_clients", "cache_sync_feed_live", "cache_sync_entries"] {
        assert_eq!(recorded.gauge(gauge, &[]), 0.0, "{gauge}");
    }
    drop(client);
}

/// Fails once something is published.
struct Panicking;

impl Recorder for Panicking {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        panic!("no room for another series")
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// What an exporter does wrong concerns nobody's rows.
#[tokio::test]
async fn a_recorder_that_panics_ends_the_publishing_alone() {
    let logged = Logged::start();
    let _here = set_default_local_recorder(&Panicking);
    let db = Database::with_extension();
    make(&db);
    let client = measured(&db).await;
    let cache = accounts(&client).await;
    let is_said = async || !logged.with(&["ERROR", "the recorder of metrics has panicked"]).is_empty();
    wait_until(SOON, "it is said", is_said).await;
    let receipt = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
    assert!(receipt.written().await.unwrap().is_written() && cache.get(&2).await.unwrap().is_some());
    drop(cache);
    close(client).await;
    assert_eq!(logged.with(&["the recorder of metrics has panicked"]).len(), 1, "once");
}
