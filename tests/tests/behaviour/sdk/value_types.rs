//! One table is opened with several types: each reads and writes its own columns, and all of them hear what the others have written.

use cache_sync::Cache;
use cache_sync_tests::rows::{Account, close, node_with};
use cache_sync_tests::{SOON, wait_until};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Name {
    name: String,
}

#[tokio::test]
async fn each_has_columns_of_its_own() {
    let (db, client, accounts) = node_with(3).await;
    let names: Cache<i64, Name> = client.cache("account").open().await.unwrap();
    let again = client.cache::<i64, Name>("account").open().await.expect_err("it is open").to_string();
    assert!(again.contains("with the same types"), "{again}");
    let name = async |id| names.get(&id).await.unwrap().unwrap().name.clone();
    let account = async |id| Account::clone(&*accounts.get(&id).await.unwrap().unwrap());

    // What others write is told to both.
    assert_eq!((name(1).await, account(1).await.name), ("name 1".into(), "name 1".into()));
    db.psql("UPDATE account SET name = 'by SQL' WHERE id = 1");
    client.catch_up().await.unwrap();
    assert_eq!((name(1).await, account(1).await.name), ("by SQL".into(), "by SQL".into()));

    // What one writes shows in itself at once, and in the other once it is told.
    let receipt = names.put(2, Name { name: "Ann".into() }).await.unwrap();
    assert_eq!(name(2).await, "Ann");
    let other = accounts.update(&2, |account| account.balance += 5).await.unwrap();
    assert!(receipt.written().await.unwrap().is_written() && other.written().await.unwrap().is_written());
    client.catch_up().await.unwrap();
    let after = account(2).await;
    assert_eq!((after.name.as_str(), after.balance, name(2).await.as_str()), ("Ann", 5, "Ann"));
    assert_eq!(db.psql("SELECT name, balance FROM account WHERE id = 2"), "Ann|5");
    assert_eq!(client.status().caches.len(), 2);

    // One that goes leaves the other its feed, and its place to whoever comes next.
    drop(names);
    let names: Cache<i64, Name> = client.cache("account").open().await.unwrap();
    drop(accounts);
    assert_eq!(names.get(&3).await.unwrap().unwrap().name, "name 3");
    db.psql("UPDATE account SET name = 'later' WHERE id = 3");
    client.catch_up().await.unwrap();
    assert_eq!(names.get(&3).await.unwrap().unwrap().name, "later");
    close(client).await;
}

/// All of a table's caches go with the table.
#[tokio::test]
async fn all_of_them_retire_with_the_table() {
    let (db, client, accounts) = node_with(1).await;
    let names: Cache<i64, Name> = client.cache("account").open().await.unwrap();
    names.get(&1).await.unwrap();
    db.psql("DROP TABLE account; CREATE TABLE account (id bigint PRIMARY KEY, name text); SELECT cache_sync.attach('account')");
    client.catch_up().await.unwrap();
    let both = async || (accounts.get(&1).await.is_err(), names.get(&1).await.is_err());
    wait_until(SOON, "both have retired", async || both().await == (true, true)).await;
    let names: Cache<i64, Name> = client.cache("account").open().await.unwrap();
    assert_eq!(names.get(&1).await.unwrap(), None);
    close(client).await;
}
