//! What was committed, for callers who do something of their own with it.

use cache_sync::{Change, Client, Error, KeyHash, Patch, Version, Watch};
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{accounts, client, close, make_accounts, node_with, open};
use cache_sync_tests::{Database, SOON};
use std::time::Duration;
use tokio::time::timeout;

type Changes = Watch<Result<Change, Error>>;

/// More than are kept for whoever takes nothing.
const MANY: i64 = 12_000;

async fn next(changes: &mut Changes) -> Change {
    let item = timeout(SOON, changes.next()).await.expect("a change comes soon");
    item.expect("the stream goes on").unwrap_or_else(|error| panic!("{error:?}"))
}

fn says_nothing(changes: &mut Changes) -> bool {
    futures_util::FutureExt::now_or_never(changes.next()).is_none()
}

fn row(change: &Change) -> (&str, KeyHash, Option<Version>) {
    match change {
        Change::Row { table, key, version, .. } => (table, *key, *version),
        other => panic!("a row's change, and not {other:?}"),
    }
}

fn is_of(change: &Change, name: &str) -> bool {
    matches!(change, Change::Table { table, .. } if &**table == name)
}

#[tokio::test]
async fn are_told_of_tables_that_nobody_holds() {
    let (db, client, cache) = node_with(2).await;
    db.psql("CREATE TABLE plain (id int PRIMARY KEY); SELECT cache_sync.attach('plain')");
    let mut changes = client.changes(["account", "plain", "public.account"]).await.unwrap();
    assert!(says_nothing(&mut changes));
    // By SQL, in one transaction, in its order; by this node; rows that are new and rows that go.
    db.psql("BEGIN; INSERT INTO plain VALUES (7); UPDATE account SET balance = 5 WHERE id = 2; COMMIT");
    assert!(matches!(row(&next(&mut changes).await), ("public.plain", _, None)));
    let version = db.psql("SELECT cs_version FROM account WHERE id = 2").parse().map(Version).unwrap();
    assert_eq!(row(&next(&mut changes).await), ("public.account", cache.key_hash(&2), Some(version)));
    let written = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap().written().await.unwrap();
    assert_eq!(row(&next(&mut changes).await), ("public.account", cache.key_hash(&1), Some(written.version)));
    db.psql("DELETE FROM account WHERE id = 2");
    assert_eq!(row(&next(&mut changes).await), ("public.account", cache.key_hash(&2), None));
    db.psql("TRUNCATE plain");
    assert!(is_of(&next(&mut changes).await, "public.plain"));
    client.catch_up().await.unwrap();
    assert!(says_nothing(&mut changes));
    close(client).await;
    assert!(timeout(SOON, changes.next()).await.expect("it ends with the client").is_none());
    assert!(changes.next().await.is_none(), "and that is its end");
}

/// Who takes them slowly is told of each row once, as it is in the end; of too many rows as of all, and nothing less.
#[tokio::test]
async fn are_kept_for_the_slow_within_bounds() {
    let (db, client, cache) = node_with(MANY).await;
    db.psql("CREATE TABLE plain (id int PRIMARY KEY); SELECT cache_sync.attach('plain')");
    let mut changes = client.changes(["account", "plain"]).await.unwrap();
    for _ in 0..20 {
        db.psql("UPDATE account SET balance = balance + 1 WHERE id <= 2");
    }
    let version = db.psql("SELECT cs_version FROM account WHERE id = 1").parse().map(Version).unwrap();
    client.catch_up().await.unwrap();
    let both = [next(&mut changes).await, next(&mut changes).await];
    assert!(both.iter().any(|change| row(change) == ("public.account", cache.key_hash(&1), Some(version))));
    assert!(says_nothing(&mut changes));

    db.psql("INSERT INTO plain VALUES (1)");
    for part in 0..12 {
        db.psql(&format!("UPDATE account SET balance = 0 WHERE id % 12 = {part}"));
    }
    client.catch_up().await.unwrap();
    assert_eq!(row(&next(&mut changes).await).0, "public.plain");
    assert!(is_of(&next(&mut changes).await, "public.account"));
    assert!(says_nothing(&mut changes));
    db.psql("UPDATE account SET balance = 1 WHERE id = 1");
    assert_eq!(row(&next(&mut changes).await).1, cache.key_hash(&1));
    close(client).await;
}

/// Silence is told, and its end once all that was missed is.
#[tokio::test]
async fn say_when_they_are_not_heard() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    db.psql("CREATE TABLE plain (id int PRIMARY KEY); SELECT cache_sync.attach('plain')");
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(Duration::from_secs(1))).await;
    let cache = accounts(&client).await;
    let mut changes = client.changes(["account"]).await.unwrap();
    let mut of_nothing = client.changes(["plain"]).await.unwrap();
    proxy.cut_feed().await;
    assert_eq!(next(&mut changes).await, Change::Silent);
    db.psql("UPDATE account SET balance = 1");
    proxy.let_feed_through();
    // For long, so that both could be taken.
    while next(&mut of_nothing).await != Change::Heard {}
    assert_eq!(row(&next(&mut changes).await).1, cache.key_hash(&1));
    assert_eq!(next(&mut changes).await, Change::Heard);
    assert!(says_nothing(&mut changes));
    close(client).await;
}

/// A table that is none any more is told as an error, once; the others go on.
#[tokio::test]
async fn end_with_the_last_of_their_tables() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    db.psql("CREATE TABLE plain (id int PRIMARY KEY); SELECT cache_sync.attach('plain')");
    let client = client(&db).await;
    let refused = client.changes(["account", "nothing"]).await.unwrap_err();
    assert!(refused.to_string().contains("nothing"), "{refused}");
    let mut changes = client.changes(["account", "plain"]).await.unwrap();
    db.psql("DROP TABLE account");
    let mut said = Vec::new();
    loop {
        match timeout(SOON, changes.next()).await.expect("it is told").expect("the other one goes on") {
            Ok(change) => assert!(is_of(&change, "public.account"), "{change:?}"),
            Err(error) => break said.push(error.to_string()),
        }
    }
    assert!(said[0].contains("public.account"), "{said:?}");
    db.psql("INSERT INTO plain VALUES (1)");
    assert_eq!(row(&next(&mut changes).await).0, "public.plain");
    db.psql("DROP TABLE plain");
    while let Some(item) = timeout(SOON, changes.next()).await.expect("it ends") {
        said.extend(item.err().map(|error| error.to_string()));
    }
    assert_eq!(said.len(), 2, "{said:?}");
    drop(changes);
    // Nobody wants to hear anything any more.
    client.catch_up().await.unwrap();
    close(client).await;
}
