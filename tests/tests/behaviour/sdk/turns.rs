//! Several change one row by looking at it, where memory does not show what the others write: nobody's change is lost, and nobody waits without end.

use cache_sync::in_memory::{InMemory, Table};
use cache_sync::{Cache, Client, ClientBuilder, Error, Mode, Patch};
use cache_sync_tests::{SOON, wait_until};
use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::task::unconstrained;

type Names = Cache<i64, Value>;

fn database() -> InMemory {
    let table = Table::new("name").key("id", "bigint").column("name", "text");
    let database = Client::in_memory().table(table).start().unwrap();
    database.insert("name", json!({"id": 1, "name": "Ann"})).unwrap();
    database
}

async fn node(database: &InMemory, set: impl FnOnce(ClientBuilder) -> ClientBuilder, mode: Mode) -> (Client, Names) {
    let client = set(database.client().feed_timeout(Duration::from_millis(300))).connect().await.unwrap();
    let names = client.cache("name").mode(mode).open().await.unwrap();
    (client, names)
}

async fn until_unheard(client: &Client) {
    wait_until(SOON, "the feed counts as silent", async || !client.status().feed_live).await;
}

fn append(row: &mut Value, what: &str) {
    row["name"] = format!("{}{what}", row["name"].as_str().unwrap()).into();
}

/// Another one writes while he looks, and that is not shown: the feed is silent, or the entry is let go.
#[tokio::test]
async fn what_others_write_meanwhile_is_not_overwritten() {
    for (mode, is_deaf) in [(Mode::On, true), (Mode::Off, false)] {
        let database = database();
        let (client, names) = node(&database, |builder| builder, mode).await;
        database.set_deaf(is_deaf);
        if is_deaf {
            until_unheard(&client).await;
        }
        let mut looks = 0;
        let changed = names.update(&1, |row| {
            looks += 1;
            if looks == 1 {
                // It is accepted at once, whatever is waited for then.
                let _ = unconstrained(names.patch(&1, Patch::new().set("name", "Eve"))).now_or_never();
                names.invalidate(&1);
            }
            append(row, "!");
        });
        assert!(changed.await.unwrap().written().await.unwrap().is_written());
        let row = database.row("name", json!({"id": 1})).unwrap().unwrap();
        assert_eq!((&row["name"], looks), (&json!("Eve!"), 2), "{mode:?}");
        client.close(SOON).await.unwrap();
    }
}

/// They stand in line for one row, and Postgres does not answer the first.
#[tokio::test]
async fn who_stands_behind_one_whom_nobody_answers_does_not_find_out_by_himself() {
    const STAND: u32 = 40;
    let database = database();
    let (client, names) = node(&database, |builder| builder.query_timeout(Duration::from_secs(1)), Mode::On).await;
    database.set_deaf(true);
    until_unheard(&client).await;
    database.set_slow(SOON);
    let begun = Instant::now();
    let changes = (0..STAND).map(|_| names.update(&1, |row| append(row, "!")));
    let failed =
        join_all(changes).await.into_iter().filter(|changed| changed.as_ref().is_err_and(Error::is_unavailable));
    assert_eq!(failed.count(), STAND as usize);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    database.set_slow(Duration::ZERO);
    assert!(names.update(&1, |row| append(row, "!")).await.is_ok(), "who comes later tries for himself");
    client.close(SOON).await.unwrap();
}

/// What is accepted is shown to the next one, also while Postgres does not take it.
#[tokio::test]
async fn a_turn_ends_before_it_is_written() {
    let database = database();
    let (client, names) = node(&database, |builder| builder, Mode::Off).await;
    database.set_refusing_writes(true);
    let looks = AtomicU32::new(0);
    let changes = join_all(["a", "b"].map(|what| {
        names.update(&1, {
            let looks = &looks;
            move |row| {
                looks.fetch_add(1, Ordering::Relaxed);
                append(row, what);
            }
        })
    }));
    let both = wait_until(SOON, "both have looked", async || {
        tokio::time::sleep(Duration::from_millis(1)).await;
        looks.load(Ordering::Relaxed) >= 2
    });
    let written = async {
        both.await;
        database.set_refusing_writes(false);
    };
    let (changed, ()) = tokio::join!(changes, written);
    assert!(changed.iter().all(Result::is_ok), "{changed:?}");
    let row = database.row("name", json!({"id": 1})).unwrap().unwrap();
    assert!([json!("Annab"), json!("Annba")].contains(&row["name"]), "{row}");
    client.close(SOON).await.unwrap();
}

/// Others write the row whenever he looks.
#[tokio::test]
async fn a_change_that_never_succeeds_ends_after_the_timeout() {
    let database = database();
    let (client, names) = node(&database, |builder| builder.write_timeout(Duration::from_millis(200)), Mode::Off).await;
    let mut looks = 0;
    let changed = names.update(&1, |row| {
        looks += 1;
        let _ = unconstrained(names.patch(&1, Patch::new().set("name", looks.to_string()))).now_or_never();
        append(row, "!");
    });
    let error = tokio::time::timeout(SOON, changed).await.expect("it ends").unwrap_err();
    assert!(error.is_conflict() && looks > 1, "{error}");
    client.close(SOON).await.unwrap();
}
