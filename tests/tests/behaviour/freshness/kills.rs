//! Processes of the server are killed: Postgres makes its shared memory anew, nobody trusts what was held, and what was confirmed is
//! there.

use cache_sync::{Cache, Client, Patch, Verdict};
use cache_sync_cluster::{Cluster, Options};
use cache_sync_tests::feed::Feed;
use cache_sync_tests::rows::{Account, assert_served, close, make_accounts, node, shown, stored};
use cache_sync_tests::{Database, SOON, notifies_without_preloading, output, start, wait_until};
use std::fs;
use std::process::Command;
use std::time::Duration;

fn kill(pid: &str) {
    output(Command::new("kill").args(["-9", pid]));
}

/// A node that holds ten accounts.
async fn holding(db: &Database<'_>) -> (Client, Cache<i64, Account>) {
    make_accounts(db, 10);
    let (client, cache) = node(db).await;
    cache.get_many(&(1..=10).collect::<Vec<_>>()).await.unwrap();
    (client, cache)
}

/// Waits until a new epoch is heard and everything is served from memory as it is stored.
async fn recovers(db: &Database<'_>, client: &Client, cache: &Cache<i64, Account>, epoch: u64) {
    let keys: Vec<i64> = (1..=10).collect();
    wait_until(SOON, "a new epoch is heard", async || {
        let status = client.status();
        status.feed_live && status.epoch != epoch && client.catch_up().await.is_ok()
    })
    .await;
    assert_served(cache, db, &keys, "after the kill").await;
    assert!(keys.iter().all(|id| cache.cached(id).is_some()));
}

/// A confirmed write, and what another program writes, before and after.
async fn write(db: &Database<'_>, cache: &Cache<i64, Account>, note: &str) {
    db.until_back().await;
    let receipt = cache.patch(&1, Patch::new().add("balance", 1).set("note", note)).await.unwrap();
    assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
    db.psql(&format!("UPDATE account SET name = '{note}' WHERE id = 2"));
}

#[tokio::test]
async fn a_backend_or_a_helper() {
    for preload in [true, false] {
        let cluster = start(Options::default().preload(preload));
        if preload || !notifies_without_preloading(&cluster) {
            they_are_killed(&Database::with_extension_in(&cluster)).await;
        }
    }
}

async fn they_are_killed(db: &Database<'_>) {
    let (client, cache) = holding(db).await;
    let victims = [
        "application_name = 'cache_sync feed'",
        "application_name = 'cache_sync pool'",
        "application_name = 'cache_sync flusher'",
        "backend_type = 'checkpointer'",
        "backend_type = 'walwriter'",
        "backend_type = 'autovacuum launcher'",
    ];
    for (round, victim) in victims.into_iter().enumerate() {
        let epoch = client.status().epoch;
        write(db, &cache, &format!("before {victim}").replace('\'', "")).await;
        kill(&db.psql(&format!("SELECT min(pid) FROM pg_stat_activity WHERE {victim}")));
        recovers(db, &client, &cache, epoch).await;
        write(db, &cache, &format!("after {victim}").replace('\'', "")).await;
        client.catch_up().await.unwrap();
        for id in [1, 2] {
            assert_eq!(shown(cache.get(&id).await.unwrap().as_deref()), stored(db, id), "{victim}");
        }
        assert_eq!(db.psql("SELECT balance FROM account WHERE id = 1"), (2 * round + 2).to_string(), "{victim}");
    }
    close(client).await;
}

/// Nobody restarts anything then, and a feed must not stay behind as an orphan that tells of nothing.
#[tokio::test]
async fn the_postmaster() {
    let cluster = start(Options::default());
    let db = Database::with_extension_in(&cluster);
    let (client, cache) = holding(&db).await;
    let feed = Feed::open(&db).await;
    let epoch = client.status().epoch;
    write(&db, &cache, "before").await;
    kill(&postmaster(&cluster));
    wait_until(Duration::from_secs(5), "the feed ends", async || !runs(feed.pid)).await;
    // Orphans would keep the server from starting: whoever waits for a client hears of the death, too.
    wait_until(SOON, "the server can be started again", async || cluster.launch().is_ok()).await;
    recovers(&db, &client, &cache, epoch).await;
    write(&db, &cache, "after").await;
    client.catch_up().await.unwrap();
    assert_eq!(shown(cache.get(&2).await.unwrap().as_deref()), stored(&db, 2));
    assert_eq!(db.psql("SELECT balance FROM account WHERE id = 1"), "2");
    close(client).await;
}

/// Whether a process has not ended. Where nobody asks for what became of it, as in many a container, it stays in the list after that.
fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn postmaster(cluster: &Cluster) -> String {
    let file = fs::read_to_string(cluster.data_dir().join("postmaster.pid")).unwrap();
    file.lines().next().unwrap().to_owned()
}
