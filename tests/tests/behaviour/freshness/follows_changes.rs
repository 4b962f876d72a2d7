//! Changes by others: an entry is dropped as its row changes, whoever changed it.

use cache_sync_tests::rows::{assert_served, close, make_accounts, make_plain_accounts, node, node_with};
use cache_sync_tests::{Database, SOON, wait_until};

/// Each statement changes what is held of rows 1 to 3; afterwards the cache says what the table says.
const STATEMENTS: [&str; 8] = [
    "UPDATE account SET balance = balance + 1 WHERE id = 1",
    "UPDATE account SET note = 'all'",
    "DELETE FROM account WHERE id = 2",
    "INSERT INTO account VALUES (2, 'again')",
    "INSERT INTO account VALUES (2, 'x') ON CONFLICT (id) DO UPDATE SET name = 'upserted'",
    "UPDATE account SET id = 3000 WHERE id = 3",
    "BEGIN; DELETE FROM account WHERE id = 1; INSERT INTO account VALUES (1, 'replaced'); COMMIT",
    "TRUNCATE account",
];

async fn follows(db: Database<'static>) {
    let (client, cache) = node(&db).await;
    let keys = [1, 2, 3, 3000];
    cache.get_many(&keys).await.unwrap();
    for statement in STATEMENTS {
        db.psql(statement);
        client.catch_up().await.unwrap();
        assert_served(&cache, &db, &keys, &format!("after {statement}")).await;
    }
    close(client).await;
}

#[tokio::test]
async fn on_versioned_tables() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    follows(db).await;
}

#[tokio::test]
async fn on_plain_tables() {
    let db = Database::with_extension();
    make_plain_accounts(&db, 3);
    follows(db).await;
}

#[tokio::test]
async fn without_waiting_for_anything() {
    let (db, client, cache) = node_with(1).await;
    for balance in 1..=50 {
        cache.get(&1).await.unwrap();
        db.psql(&format!("UPDATE account SET balance = {balance}"));
        wait_until(SOON, "the change is seen", async || cache.get(&1).await.unwrap().unwrap().balance == balance).await;
    }
    close(client).await;
}

#[tokio::test]
async fn a_change_of_one_row_reloads_only_that_row() {
    let (db, client, cache) = node_with(100).await;
    let keys: Vec<i64> = (1..=100).collect();
    cache.get_many(&keys).await.unwrap();
    db.psql("UPDATE account SET balance = 1 WHERE id = 7");
    client.catch_up().await.unwrap();
    cache.get_many(&keys).await.unwrap();
    assert_eq!(cache.status().loaded_keys, 101);
    close(client).await;
}

#[tokio::test]
async fn rolled_back_changes_cost_nothing() {
    let (db, client, cache) = node_with(3).await;
    cache.get_many(&[1, 2, 3]).await.unwrap();
    db.psql("BEGIN; UPDATE account SET balance = 1; ROLLBACK");
    client.catch_up().await.unwrap();
    cache.get_many(&[1, 2, 3]).await.unwrap();
    assert_eq!(cache.status().loaded_keys, 3);
    close(client).await;
}
