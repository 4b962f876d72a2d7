//! Reads: from memory when held, else loaded, with everybody else who misses at that moment.

use cache_sync_tests::rows::{accounts, client, close, make_accounts, node_with};
use cache_sync_tests::{Database, SOON};

#[tokio::test]
async fn a_row_is_loaded_once_and_served_from_memory() {
    let (_db, client, cache) = node_with(10).await;
    assert!(cache.cached(&1).is_none(), "it is not held yet");
    let loaded = cache.get(&1).await.unwrap().unwrap();
    assert_eq!(loaded.name, "name 1");
    for _ in 0..100 {
        assert_eq!(*cache.get(&1).await.unwrap().unwrap(), *loaded);
    }
    assert_eq!(cache.cached(&1).unwrap().unwrap().name, "name 1");
    let status = cache.status();
    assert_eq!((status.load_statements, status.hits, status.misses), (1, 101, 1));
    close(client).await;
}

#[tokio::test]
async fn absence_is_remembered_and_an_insert_ends_it() {
    let (db, client, cache) = node_with(1).await;
    assert!(cache.get(&77).await.unwrap().is_none());
    assert_eq!(cache.cached(&77), Some(None));
    db.psql("INSERT INTO account VALUES (77, 'late')");
    client.catch_up().await.unwrap();
    assert_eq!(cache.get(&77).await.unwrap().unwrap().name, "late");
    close(client).await;
}

#[tokio::test]
async fn misses_of_many_keys_share_statements() {
    let (_db, client, cache) = node_with(1000).await;
    let keys: Vec<i64> = (1..=1001).collect();
    let rows = cache.get_many(&keys).await.unwrap();
    assert_eq!(rows.iter().flatten().count(), 1000);
    assert_eq!(rows[41].as_ref().unwrap().id, 42);
    let status = cache.status();
    assert_eq!(status.loaded_keys, 1001);
    assert!(status.load_statements <= 10, "{} statements", status.load_statements);
    close(client).await;
}

#[tokio::test]
async fn concurrent_misses_of_one_key_are_one_load() {
    let (_db, client, cache) = node_with(1).await;
    let reads = (0..200).map(|_| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get(&1).await.unwrap().unwrap().id })
    });
    for read in reads.collect::<Vec<_>>() {
        let read = tokio::time::timeout(SOON, read).await.expect("nobody waits for what is there");
        assert_eq!(read.unwrap(), 1);
    }
    assert_eq!(cache.status().loaded_keys, 1);
    close(client).await;
}

#[tokio::test]
async fn a_reader_that_gives_up_stops_nobody() {
    let (db, client, cache) = node_with(1).await;
    let locked = db.connect().await;
    locked.batch_execute("BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let first = cache.clone();
    let gives_up = tokio::time::timeout(std::time::Duration::from_millis(50), async move { first.get(&1).await });
    assert!(gives_up.await.is_err());
    let second = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&1).await }
    });
    locked.batch_execute("COMMIT").await.unwrap();
    assert_eq!(second.await.unwrap().unwrap().unwrap().id, 1);
    close(client).await;
}

#[tokio::test]
async fn a_key_out_of_its_columns_range_is_absent_without_asking() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE small (id int PRIMARY KEY, v int); SELECT cache_sync.attach('small')");
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Small {
        v: Option<i32>,
    }
    let client = client(&db).await;
    let cache: cache_sync::Cache<i64, Small> = client.cache("small").open().await.unwrap();
    assert!(cache.get(&i64::MAX).await.unwrap().is_none());
    assert_eq!(cache.status().load_statements, 0);
    close(client).await;
}

#[tokio::test]
async fn what_does_not_fit_is_said_when_the_cache_is_opened() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    db.psql("CREATE TABLE loose (id int PRIMARY KEY)");
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Wrong {
        nmae: String,
    }
    let client = client(&db).await;
    let error = client.cache::<i64, Wrong>("account").open().await.err().unwrap();
    assert!(error.to_string().contains("nmae"), "{error}");
    let error = client.cache::<(i64, i64), Wrong>("account").open().await.err().unwrap();
    assert!(error.to_string().contains("column"), "{error}");
    let error = client.cache::<i64, Wrong>("loose").open().await.err().unwrap();
    assert_eq!(error.sqlstate(), Some("CS005"), "{error}");
    let _cache = accounts(&client).await;
    let again = client.cache::<i64, cache_sync_tests::rows::Account>("account").open().await.err().unwrap();
    assert!(again.to_string().contains("already"), "{again}");
    close(client).await;
}
