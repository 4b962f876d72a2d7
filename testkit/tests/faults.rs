//! What goes wrong in a database in memory when a test says so, as its clients see it.

// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

use cache_sync::{Cache, Client, Verdict};
use cache_sync_testkit::{InMemory, Table};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_millis(300);
/// What happens, happens by then.
const SOON: Duration = Duration::from_secs(20);

type Names = Cache<i64, Value>;

fn database() -> InMemory {
    let table =
        Table::new("name").key("id", "bigint").column("name", "text").column("doc", "jsonb").column("at", "time");
    let database = Client::in_memory().table(table.column("size", "real")).start().unwrap();
    database.insert("name", json!({"id": 1, "name": "Ann"})).unwrap();
    database
}

async fn node(database: &InMemory) -> (Client, Names) {
    let client = database.client().feed_timeout(BOUND).query_timeout(Duration::from_secs(1)).connect().await.unwrap();
    let names = client.cache("name").open().await.unwrap();
    (client, names)
}

async fn name(names: &Names) -> Value {
    names.get(&1).await.unwrap().unwrap()["name"].clone()
}

/// Until it is so, with a deadline.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < SOON, "{what}");
        tokio::task::yield_now().await;
    }
}

/// The feed is silent: what another wrote meanwhile is not told, and yet nothing older than the bound is served.
#[tokio::test]
async fn a_deaf_client_serves_nothing_older_than_its_bound() {
    let database = database();
    let (client, names) = node(&database).await;
    assert_eq!(name(&names).await, "Ann");
    database.set_deaf(true);
    assert!(database.update("name", json!({"id": 1}), json!({"name": "Eve"})).unwrap());
    until("it is asked for again", async || name(&names).await == "Eve").await;
    assert!(!client.status().feed_live, "nobody has told it");
    database.set_deaf(false);
    assert!(database.update("name", json!({"id": 1}), json!({"name": "Bob"})).unwrap());
    until("it is told again", async || name(&names).await == "Bob").await;
}

#[tokio::test]
async fn a_restart_loses_no_row_and_no_change() {
    let database = database();
    let (client, names) = node(&database).await;
    assert_eq!(name(&names).await, "Ann");
    let _ = names.put(2, json!({"name": "Bob"})).await.unwrap();
    database.restart();
    assert!(database.update("name", json!({"id": 1}), json!({"name": "Eve"})).unwrap());
    client.flush().await.unwrap();
    client.catch_up().await.unwrap();
    assert_eq!(name(&names).await, "Eve");
    assert_eq!(database.row("name", json!({"id": 2})).unwrap().unwrap()["name"], "Bob");
}

#[tokio::test]
async fn who_asks_a_slow_database_waits_no_longer_than_is_set() {
    let database = database();
    let (_client, names) = node(&database).await;
    database.set_slow(Duration::from_millis(50));
    let began = Instant::now();
    assert_eq!(name(&names).await, "Ann");
    assert!(began.elapsed() >= Duration::from_millis(50), "{:?}", began.elapsed());
    database.set_slow(SOON * 2);
    let began = Instant::now();
    assert!(names.get(&2).await.unwrap_err().is_unavailable());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    database.set_slow(Duration::ZERO);
    until("it answers again", async || names.get(&2).await.is_ok()).await;
}

#[tokio::test]
async fn what_is_refused_as_a_whole_waits_until_it_is_not() {
    let database = database();
    let (client, names) = node(&database).await;
    database.set_refusing_writes(true);
    let receipt = names.put(1, json!({"name": "Bob"})).await.unwrap();
    until("the table is refused", async || client.status().caches[0].write_trouble.is_some()).await;
    assert_eq!(database.row("name", json!({"id": 1})).unwrap().unwrap()["name"], "Ann");
    database.set_refusing_writes(false);
    let outcome = tokio::time::timeout(SOON, receipt.written()).await.unwrap().unwrap();
    assert_eq!(outcome.verdict, Some(Verdict::Applied));
    assert_eq!(database.row("name", json!({"id": 1})).unwrap().unwrap()["name"], "Bob");
}

/// As Postgres refuses it.
#[test]
fn what_no_column_can_hold_is_refused() {
    let database = database();
    for (column, value, sqlstate) in [
        ("name", json!("\0"), "22021"),
        ("doc", json!({"a": ["\0"]}), "22P05"),
        ("size", json!(1e39), "22003"),
        ("at", json!("24:01"), "22007"),
        ("nothing", json!(1), "42703"),
    ] {
        let changes = json!({column: value});
        let error = database.update("name", json!({"id": 1}), changes.clone()).unwrap_err();
        assert_eq!(error.sqlstate(), Some(sqlstate), "{changes}: {error}");
    }
    assert!(database.update("name", json!({"id": 1}), json!({"at": "24:00", "size": 1e38})).unwrap());
}

/// What has expired is as good as removed: its key and what was unique of it are free.
#[test]
fn what_has_expired_is_in_nobodys_way() {
    let table = Table::new("session").key("id", "bigint").column("token", "text").column("ends_at", "timestamptz");
    let database = Client::in_memory().table(table.unique("one_token", &["token"]).expires("ends_at")).start().unwrap();
    let session = |id: i64, ends_at: &str| json!({"id": id, "token": "t", "ends_at": ends_at});
    database.insert("session", session(1, "2001-01-01T00:00:00Z")).unwrap();
    database.insert("session", session(2, "9999-01-01T00:00:00Z")).unwrap();
    let error = database.insert("session", session(1, "9999-01-01T00:00:00Z")).unwrap_err();
    assert_eq!(error.sqlstate(), Some("23505"));
    assert!(!database.delete("session", json!({"id": 1})).unwrap());
    assert!(database.delete("session", json!({"id": 2})).unwrap());
    database.insert("session", session(1, "9999-01-01T00:00:00Z")).unwrap();
    assert_eq!(database.rows("session").unwrap().len(), 1);
}

#[tokio::test]
async fn another_answer_takes_the_place_of_what_is_held() {
    const COUNT: &str = "SELECT count(*) FROM name";
    let database = database();
    let (client, _names) = node(&database).await;
    database.answer(COUNT, &["name"], |asked| vec![json!(asked.rows("name").len())]);
    assert_eq!(*client.query::<i64>(COUNT).fetch().await.unwrap(), [1]);
    database.answer(COUNT, &["name"], |_| vec![json!(7)]);
    client.catch_up().await.unwrap();
    assert_eq!(*client.query::<i64>(COUNT).fetch().await.unwrap(), [7]);
}

/// A test may stop tokio's time: nothing hangs, and what is written is seen.
#[tokio::test(start_paused = true)]
async fn where_tokios_time_stands_still_all_goes_on() {
    let database = database();
    let (client, names) = node(&database).await;
    for number in 0..50 {
        let text = number.to_string();
        let _ = names.put(1, json!({"name": text})).await.unwrap().written().await.unwrap();
        assert!(database.update("name", json!({"id": 1}), json!({"name": format!("{text}!")})).unwrap());
        client.catch_up().await.unwrap();
        assert_eq!(name(&names).await, format!("{text}!"));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(client.close(SOON).await.unwrap().is_empty());
}
