//! Caches are opened while others work: those hear every change meanwhile, and none of their entries is doubted.

use cache_sync::Cache;
use cache_sync_tests::rows::{Account, close, node_with};
use std::time::Duration;

#[tokio::test]
async fn the_feed_of_the_others_goes_on() {
    let (db, client, cache) = node_with(3).await;
    db.psql(
        "DO $$ BEGIN FOR n IN 1..8 LOOP
           EXECUTE format('CREATE TABLE other_%s (LIKE account INCLUDING ALL)', n);
           PERFORM cache_sync.attach(format('other_%s', n)::regclass);
         END LOOP; END $$",
    );
    client.catch_up().await.unwrap();
    cache.get_many(&[1, 2, 3]).await.unwrap();
    let before = client.status();
    let mut others: Vec<Cache<i64, Account>> = Vec::new();
    for table in 1..=8 {
        let name = format!("other_{table}");
        let opening = client.cache(&name).open();
        tokio::pin!(opening);
        others.push(loop {
            tokio::select! {
                opened = &mut opening => break opened.unwrap(),
                () = tokio::time::sleep(Duration::from_micros(200)) => {
                    let doubted: Vec<_> = [1, 2, 3].into_iter().filter(|id| cache.cached(id).is_none()).collect();
                    assert!(doubted.is_empty(), "{doubted:?} while {name} is opened: {:?}", client.status());
                }
            }
        });
        // What was committed while connections changed is heard on one of them.
        db.psql(&format!("UPDATE account SET note = '{table}' WHERE id = 3"));
        client.catch_up().await.unwrap();
        assert_eq!(cache.get(&3).await.unwrap().unwrap().note, Some(table.to_string()));
    }
    let (after, caches) = (client.status(), others.len());
    assert_eq!((after.gaps, caches), (before.gaps, 8));
    assert!(cache.cached(&1).is_some());
    close(client).await;
}
