//! Postgres is away: reads fail, or are served stale within the caller's bound and say so; writes wait in the buffer and
//! are applied once when it is back.

use cache_sync::{Client, Freshness, Patch, Verdict};
use cache_sync_tests::rows::{accounts, client, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::time::Duration;

#[tokio::test]
async fn fails_reads_or_serves_them_stale_and_keeps_writes() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 3);
    let strict = client(&db).await;
    let lenient = open(Client::builder(&db.dsn()).stale_while_unavailable(Duration::from_secs(600))).await;
    let (here, there) = (accounts(&strict).await, accounts(&lenient).await);
    for cache in [&here, &there] {
        cache.get_many(&[1, 2]).await.unwrap();
    }

    cluster.stop("fast").unwrap();
    wait_until(SOON, "nothing counts as fresh", async || !strict.status().feed_live && !lenient.status().feed_live)
        .await;
    let error = here.get(&1).await.unwrap_err();
    assert!(error.is_unavailable() && error.is_retryable(), "{error:?}");
    let read = there.lookup(&1, Freshness::Cached).await.unwrap();
    assert_eq!(read.value.unwrap().balance, 0);
    assert!(read.stale_for.is_some_and(|doubt| doubt > Duration::ZERO), "{:?}", read.stale_for);
    assert!(there.get(&3).await.unwrap_err().is_unavailable(), "it was never held");

    let blind = here.patch(&1, Patch::new().add("balance", 5)).await.unwrap();
    let stale = there.update(&2, |account| account.balance += 7).await.unwrap();
    assert_eq!(
        there.lookup(&2, Freshness::Cached).await.unwrap().value.unwrap().balance,
        7,
        "one's own write shows in what is stale"
    );
    assert_eq!((strict.status().buffered, lenient.status().buffered), (1, 1));

    cluster.launch().unwrap();
    assert_eq!(blind.written().await.unwrap().verdict, Some(Verdict::Applied));
    assert_eq!(stale.written().await.unwrap().verdict, Some(Verdict::Applied));
    assert_eq!(db.psql("SELECT string_agg(balance::text, ',' ORDER BY id) FROM account"), "5,7,0");
    for cache in [&here, &there] {
        wait_until(SOON, "rows are confirmed again", async || {
            cache.lookup(&1, Freshness::Cached).await.is_ok_and(|read| read.stale_for.is_none())
                && cache.cached(&1).is_some()
        })
        .await;
        assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 5);
        assert_eq!(cache.get(&2).await.unwrap().unwrap().balance, 7);
    }
    close(strict).await;
    close(lenient).await;
}
