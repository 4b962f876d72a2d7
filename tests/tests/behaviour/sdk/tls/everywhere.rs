//! All of a client's connections are encrypted, also those that are made on the way.

use super::{encrypted, encryption};
use cache_sync::{Client, Patch};
use cache_sync_tests::certificates::{let_in, libpq, write};
use cache_sync_tests::gate::Gate;
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};

/// So many loads may be left to the primary before the standby has replayed what was heard.
const ROWS: i64 = 10_000;

#[tokio::test]
async fn pool_feed_flusher_and_standby_are_encrypted() {
    let primary = start(unsynced());
    let db = Database::with_extension_in(&primary);
    make_accounts(&db, ROWS);
    let root = write(&primary, "root.crt", &encrypted(&primary).pem());
    let standby = primary.standby(&[]).unwrap();
    let at = |port: u16, host: &str| {
        format!("postgresql://postgres@{host}:{port}/{}?sslmode=verify-full&sslrootcert={root}", db.name())
    };
    // Nobody is let in otherwise: a connection that were not encrypted would not be there.
    let_in(&primary, "hostnossl all all 0.0.0.0/0 reject");
    let plain = format!("user=postgres host=127.0.0.1 port={} sslmode=disable", primary.port());
    wait_until(SOON, "the server knows its rules", async || libpq(&primary, &plain).is_err()).await;

    let client =
        open(Client::builder(&at(primary.port(), "localhost")).standby(&at(standby.port(), "127.0.0.1"))).await;
    let cache = accounts(&client).await;
    let mut ids = 1..=ROWS;
    let loaded_there = async || {
        cache.get(&ids.next().expect("the standby is never asked")).await.unwrap();
        client.status().standby_loads > 0
    };
    wait_until(SOON, "the standby is asked", loaded_there).await;
    cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap().written().await.unwrap();
    client.catch_up().await.unwrap();
    let names =
        "SELECT string_agg(DISTINCT application_name || ' ' || ssl, ',' ORDER BY application_name || ' ' || ssl)
         FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'cache_sync %'";
    let shown = |cluster: &cache_sync_cluster::Cluster| cluster.psql(db.name(), names).unwrap();
    assert_eq!(shown(&primary), "cache_sync feed true,cache_sync flusher true,cache_sync pool true");
    assert_eq!(shown(&standby), "cache_sync standby true");
    close(client).await;
}

/// A cancel request is a connection of its own, and whoever listens could cancel for ever with what is in it. No other one gets through here.
#[tokio::test]
async fn what_nobody_waits_for_is_cancelled() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    let root = write(&cluster, "root.crt", &encrypted(&cluster).pem());
    let gate = Gate::start(cluster.port(), false).await;
    let place = format!("postgresql://postgres@localhost:{}/{}", gate.port, db.name());
    let dsn = format!("{place}?sslmode=verify-full&sslrootcert={root}&application_name=shop");
    let client = open(Client::builder(&dsn)).await;
    assert_eq!(encryption(&db, "shop"), "t");
    let sleeping = "SELECT count(*) FROM pg_stat_activity
         WHERE application_name = 'shop pool' AND state = 'active' AND query LIKE 'SELECT pg_sleep%'";
    let count = || cluster.psql("postgres", sleeping).unwrap();
    let asked = tokio::spawn({
        let sql = "SELECT pg_sleep(1000)::text AS slept FROM (SELECT count(*) FROM account) a";
        let query = client.query::<(String,)>(sql).depends_on_table("account").assume_complete();
        async move { query.fetch().await.map(drop) }
    });
    wait_until(SOON, "the query runs", async || count() == "1").await;
    asked.abort();
    wait_until(SOON, "it is cancelled", async || count() == "0").await;
    assert_eq!(gate.seen().1, 0, "something was sent without TLS");
    close(client).await;
}
