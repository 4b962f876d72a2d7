//! Feed and pool speak to different servers, as behind a load balancer or a name that moves: what is loaded there is
//! never told about here, so it is not kept.

use cache_sync::{Client, Patch};
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{accounts, close, make_accounts, open, shown, stored, until_another_epoch};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::sync::atomic::Ordering;

#[tokio::test]
async fn what_one_loads_the_other_cannot_keep_in_step() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let elsewhere = start(unsynced());
    elsewhere.createdb(db.name()).unwrap();
    elsewhere
        .psql(
            db.name(),
            "CREATE EXTENSION cache_sync;
             CREATE TABLE account (id bigint PRIMARY KEY, name text NOT NULL, balance bigint NOT NULL, note text);
             SELECT cache_sync.attach('account', versioned => true, rules => '{\"balance\": \"add\"}')",
        )
        .unwrap();
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db))).await;
    let cache = accounts(&client).await;
    cache.get(&1).await.unwrap();
    assert!(cache.cached(&1).is_some());

    let epoch = client.status().epoch;
    proxy.faults.feed_port.store(elsewhere.port(), Ordering::Release);
    proxy.cut_feed().await;
    proxy.let_feed_through();
    until_another_epoch(&client, epoch).await;
    for note in ["one", "two"] {
        assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), stored(&db, 1));
        assert!(cache.cached(&1).is_none(), "nobody would tell us of its changes");
        db.psql(&format!("UPDATE account SET note = '{note}'"));
    }
    let receipt = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
    receipt.written().await.unwrap();
    db.psql("UPDATE account SET balance = balance + 10");
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 11);

    proxy.faults.feed_port.store(0, Ordering::Release);
    proxy.cut_feed().await;
    proxy.let_feed_through();
    wait_until(SOON, "entries are held again", async || {
        assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), stored(&db, 1));
        cache.cached(&1).is_some()
    })
    .await;
    close(client).await;
}
