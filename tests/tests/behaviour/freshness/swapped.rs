//! Another table takes the name of the one that a cache was opened on, or nothing has it any more. Loads go by name, writes by oid, the
//! feed by number: the cache does not mix them up but says that it must be opened again.

use cache_sync::{Cache, Client};
use cache_sync_tests::{Database, SOON, wait_until};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Price {
    id: i64,
    cents: i64,
}

/// How a table's name comes to mean something else, and whether what has it then is attached.
const SWAPS: [(&str, &str, bool); 7] = [
    ("swapped", "BEGIN; ALTER TABLE price RENAME TO price_old; ALTER TABLE price_new RENAME TO price; COMMIT", true),
    (
        "swapped for one that is not attached",
        "SELECT cache_sync.detach('price_new'); BEGIN; ALTER TABLE price RENAME TO price_old; ALTER TABLE price_new RENAME TO price; COMMIT",
        false,
    ),
    ("renamed", "ALTER TABLE price RENAME TO price_old", false),
    ("moved", "CREATE SCHEMA attic; ALTER TABLE price SET SCHEMA attic", false),
    (
        "moved, and another one in its place",
        "CREATE SCHEMA attic; ALTER TABLE price SET SCHEMA attic; ALTER TABLE price_new RENAME TO price",
        true,
    ),
    ("dropped", "DROP TABLE price", false),
    (
        "dropped and made anew",
        "BEGIN; DROP TABLE price; CREATE TABLE price (id bigint PRIMARY KEY, cents bigint NOT NULL);
         INSERT INTO price VALUES (1, 200); SELECT cache_sync.attach('price'); COMMIT",
        true,
    ),
];

async fn open(client: &Client) -> Result<Cache<i64, Price>, cache_sync::Error> {
    client.cache("price").open().await
}

fn make(db: &Database<'_>, options: &str) {
    for (name, cents) in [("price", 100), ("price_new", 200)] {
        db.psql(&format!(
            "CREATE TABLE {name} (id bigint PRIMARY KEY, cents bigint NOT NULL); INSERT INTO {name} VALUES (1, {cents});
             SELECT cache_sync.attach('{name}'{options})"
        ));
    }
}

#[tokio::test]
async fn a_cache_whose_table_is_another_one_now_says_so() {
    for options in ["", ", versioned => true"] {
        for (what, swap, is_attached) in SWAPS {
            let db = Database::with_extension();
            make(&db, options);
            let client = Client::builder(&db.dsn()).connect().await.unwrap();
            let cache = open(&client).await.unwrap();
            assert_eq!(cache.get(&1).await.unwrap().unwrap().cents, 100);
            db.psql(swap);
            client.catch_up().await.unwrap();
            let error = cache.get(&1).await.expect_err(&format!("{what}: it goes on as if nothing had happened"));
            assert!(error.to_string().contains("open it again"), "{what}: {error}");
            let error = cache.put(1, Price { id: 1, cents: 7 }).await.expect_err("a write to a table of another name");
            assert!(error.to_string().contains("open it again"), "{what}: {error}");
            let again = open(&client).await;
            assert_eq!(again.is_ok(), is_attached, "{what}: {:?}", again.err());
            if let Ok(again) = again {
                assert_eq!(again.get(&1).await.unwrap().unwrap().cents, 200, "{what}");
                db.psql("UPDATE price SET cents = 300");
                client.catch_up().await.unwrap();
                assert_eq!(again.get(&1).await.unwrap().unwrap().cents, 300, "{what}: it is not followed");
                again.put(1, Price { id: 1, cents: 400 }).await.unwrap().written().await.unwrap();
                assert_eq!(db.psql("SELECT cents FROM price"), "400", "{what}");
            }
            client.close(SOON).await.unwrap();
        }
    }
}

/// Before the feed has told it: what is loaded then is not taken for a row of the table that was opened.
#[tokio::test]
async fn nor_does_it_load_from_the_other_one_before_it_hears_of_that() {
    let db = Database::with_extension();
    make(&db, "");
    let client = Client::builder(&db.dsn()).connect().await.unwrap();
    let cache = open(&client).await.unwrap();
    client.mute_feed(true);
    db.psql(SWAPS[0].1);
    let error = cache.get(&1).await.expect_err("a row of another table");
    assert!(error.to_string().contains("open it again"), "{error}");
    client.close(SOON).await.unwrap();
}

/// Who only writes is told, too.
#[tokio::test]
async fn writes_alone_find_out() {
    let db = Database::with_extension();
    make(&db, "");
    let client = Client::builder(&db.dsn()).connect().await.unwrap();
    let cache = open(&client).await.unwrap();
    db.psql(SWAPS[0].1);
    wait_until(SOON, "writes are refused", async || match cache.put(1, Price { id: 1, cents: 7 }).await {
        Ok(receipt) => {
            receipt.written().await.unwrap();
            false
        }
        Err(error) => error.to_string().contains("open it again"),
    })
    .await;
    assert_eq!(db.psql("SELECT cents FROM price"), "200", "a write went to the table that has the name now");
    client.close(SOON).await.unwrap();
}

/// Which column says when rows expire is a part of how a cache reads the table.
#[tokio::test]
async fn a_table_whose_rows_expire_otherwise_is_another() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE session (id bigint PRIMARY KEY, ends timestamptz); SELECT cache_sync.attach('session');
         INSERT INTO session VALUES (1, now() - interval '1 hour')",
    );
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Session {}
    let client = cache_sync_tests::rows::client(&db).await;
    let open = || client.cache::<i64, Session>("session").columns(["ends"]).open();
    let before = open().await.unwrap();
    assert!(before.get(&1).await.unwrap().is_some());
    db.psql("SELECT cache_sync.set_expiry('session', 'ends')");
    wait_until(SOON, "it says so", async || {
        before.get(&1).await.is_err_and(|error| error.to_string().contains("open it again"))
    })
    .await;
    drop(before);
    assert!(open().await.unwrap().get(&1).await.unwrap().is_none(), "it has expired");
    cache_sync_tests::rows::close(client).await;
}
