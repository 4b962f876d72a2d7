//! A client's clock may lag behind the row's version; its write still comes after what it saw.

use cache_sync::{Client, Verdict};
use cache_sync_tests::Database;
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{accounts, close, make_accounts, open, stored};
use std::time::Duration;

#[tokio::test]
async fn of_a_client_whose_clock_lags_are_above_the_version_that_it_saw() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(Duration::from_secs(3600))).await;
    let cache = accounts(&client).await;
    // From here on the client does not hear that the server's clock was raised.
    proxy.faults.set(|faults| &faults.silent_feed, true);
    db.psql_as_replica("INSERT INTO account (id, name, cs_version) VALUES (2, 'ahead', cache_sync.hlc() + 4000000)");
    let receipt = cache.update(&2, |account| account.name = "later".into()).await.unwrap();
    assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
    assert_eq!(stored(&db, 2), "2|later|0|");
    // And above its own last one, though the outcome is not heard on the feed either.
    let receipt = cache.update(&2, |account| account.name = "last".into()).await.unwrap();
    assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
    assert_eq!(stored(&db, 2), "2|last|0|");
    close(client).await;
}
