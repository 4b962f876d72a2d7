//! What a service sees of its caches.

use super::world::{World, worlds};
use cache_sync::{Cache, Client, Durability, Freshness, Outcome, Patch, Verdict};
use cache_sync_tests::{SOON, wait_until};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Player {
    name: String,
    gold: i64,
    best: Option<i32>,
    email: Option<String>,
}

fn player(name: &str, gold: i64) -> Player {
    Player { name: name.into(), gold, best: None, email: None }
}

type Players = Cache<i64, Player>;

async fn node(world: &dyn World) -> (Client, Players) {
    let client = world.client().connect().await.unwrap();
    let players = client.cache("player").open().await.unwrap();
    (client, players)
}

async fn written(receipt: cache_sync::Receipt) -> Outcome {
    tokio::time::timeout(SOON, receipt.written()).await.expect("it is written soon").unwrap()
}

fn verdict(outcome: &Outcome) -> Verdict {
    outcome.verdict.expect("it is known")
}

#[tokio::test]
async fn what_is_written_is_read_and_reaches_other_nodes() {
    for world in worlds() {
        let ((one, here), (other, there)) = (node(&*world).await, node(&*world).await);
        assert_eq!(there.get(&1).await.unwrap(), None, "{}", world.name());
        let outcome = written(here.put(1, player("Ann", 5)).await.unwrap()).await;
        assert_eq!(verdict(&outcome), Verdict::Applied, "{}", world.name());
        other.catch_up().await.unwrap();
        assert_eq!(*there.get(&1).await.unwrap().unwrap(), player("Ann", 5), "{}", world.name());
        assert_eq!(there.lookup(&1, Freshness::Latest).await.unwrap().version, outcome.version);
        let _ = there.update(&1, |player| player.gold += 7).await.unwrap();
        let _ = here.patch(&1, Patch::new().add("gold", 30).max("best", 4)).await.unwrap();
        one.flush().await.unwrap();
        other.flush().await.unwrap();
        let row = world.row(1).await.unwrap();
        assert_eq!(
            (&row["gold"], &row["best"], &row["name"]),
            (&json!(42), &json!(4), &json!("Ann")),
            "{}",
            world.name()
        );
        let outcome = written(here.delete(&1).await.unwrap()).await;
        assert_eq!(verdict(&outcome), Verdict::Applied, "{}", world.name());
        assert_eq!(world.row(1).await, None);
        let outcome = written(there.patch(&1, Patch::new().add("gold", 1)).await.unwrap()).await;
        assert_eq!(verdict(&outcome), Verdict::Missing, "{}", world.name());
    }
}

#[tokio::test]
async fn what_others_write_by_sql_is_seen() {
    for world in worlds() {
        let (client, players) = node(&*world).await;
        world.insert(json!({"id": 1, "name": "Ann"})).await;
        client.catch_up().await.unwrap();
        assert_eq!(*players.get(&1).await.unwrap().unwrap(), player("Ann", 0), "{}", world.name());
        world.update(1, json!({"gold": 9, "name": "Eve"})).await;
        client.catch_up().await.unwrap();
        assert_eq!(*players.get(&1).await.unwrap().unwrap(), player("Eve", 9), "{}", world.name());
        world.delete(1).await;
        client.catch_up().await.unwrap();
        assert_eq!(players.get(&1).await.unwrap(), None, "{}", world.name());
    }
}

#[tokio::test]
async fn who_is_first_is_first() {
    for world in worlds() {
        let ((_one, here), (_other, there)) = (node(&*world).await, node(&*world).await);
        assert_eq!(verdict(&here.insert(1, player("Ann", 1)).await.unwrap()), Verdict::Applied, "{}", world.name());
        assert_eq!(verdict(&there.insert(1, player("Bob", 1)).await.unwrap()), Verdict::Conflict, "{}", world.name());
        let seen = there.lookup(&1, Freshness::Latest).await.unwrap();
        world.update(1, json!({"gold": 3})).await;
        let outcome = there.compare_and_set(&1, player("Bob", 1), seen.version).await.unwrap();
        assert_eq!(verdict(&outcome), Verdict::Conflict, "{}", world.name());
        let left = here.modify(&1, |player| {
            player.gold *= 2;
            Ok::<_, cache_sync::Error>(player.gold)
        });
        assert_eq!(left.await.unwrap(), 6, "{}", world.name());
        assert_eq!(world.row(1).await.unwrap()["gold"], 6);
    }
}

/// One of many is refused: the others stand, and who waits hears why.
#[tokio::test]
async fn what_a_constraint_forbids_is_refused_alone() {
    for world in worlds() {
        let (client, players) = node(&*world).await;
        let receipts = [
            players.put(1, Player { email: Some("a@b".into()), ..player("Ann", 5) }).await.unwrap(),
            players.put(2, player("Owes", -5)).await.unwrap(),
            players.put(3, player("Bob", 5)).await.unwrap(),
        ];
        let mut outcomes = Vec::new();
        for receipt in receipts {
            outcomes.push(written(receipt).await);
        }
        let verdicts: Vec<_> = outcomes.iter().map(verdict).collect();
        assert_eq!(verdicts, [Verdict::Applied, Verdict::Rejected, Verdict::Applied], "{}", world.name());
        assert_eq!(outcomes[1].sqlstate.as_deref(), Some("23514"), "{}", world.name());
        assert_eq!(outcomes[1].constraint.as_deref(), Some("not_owed"), "{}", world.name());
        assert!(outcomes[1].dead_letter.is_some(), "{}", world.name());
        let outcome = written(players.patch(&3, Patch::new().set("email", "a@b")).await.unwrap()).await;
        assert_eq!(outcome.constraint.as_deref(), Some("one_email"), "{}", world.name());
        let outcome = written(players.patch(&1, Patch::new().set("name", Value::Null)).await.unwrap()).await;
        assert_eq!(outcome.sqlstate.as_deref(), Some("23502"), "{}: {outcome:?}", world.name());
        client.catch_up().await.unwrap();
        assert_eq!(players.get(&3).await.unwrap().unwrap().email, None, "{}", world.name());
    }
}

#[tokio::test]
async fn an_expired_row_is_none() {
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Session {
        name: String,
        ends_at: Option<chrono::DateTime<chrono::Utc>>,
    }
    for world in worlds() {
        let client = world.client().connect().await.unwrap();
        let sessions: Cache<i64, Session> = client.cache("player").open().await.unwrap();
        let soon = chrono::Utc::now() + Duration::from_millis(1500);
        let outcome =
            written(sessions.put(1, Session { name: "Ann".into(), ends_at: Some(soon) }).await.unwrap()).await;
        assert_eq!(verdict(&outcome), Verdict::Applied, "{}", world.name());
        assert!(sessions.get(&1).await.unwrap().is_some(), "{}", world.name());
        wait_until(SOON, "it has expired", async || sessions.get(&1).await.unwrap().is_none()).await;
        assert!(chrono::Utc::now() >= soon, "{}", world.name());
        assert_eq!(world.row(1).await, None, "{}", world.name());
    }
}

#[tokio::test]
async fn a_watcher_sees_what_a_row_becomes() {
    for world in worlds() {
        let (_client, players) = node(&*world).await;
        world.insert(json!({"id": 1, "name": "Ann"})).await;
        let mut watch = players.watch(&1);
        let mut next = async || {
            let read = tokio::time::timeout(SOON, watch.next()).await.expect("it is shown soon");
            read.expect("a watch does not end").unwrap().value.map(|player| player.gold)
        };
        assert_eq!(next().await, Some(0), "{}", world.name());
        world.update(1, json!({"gold": 8})).await;
        assert_eq!(next().await, Some(8), "{}", world.name());
        world.delete(1).await;
        assert_eq!(next().await, None, "{}", world.name());
    }
}

#[tokio::test]
async fn a_write_that_is_to_last_is_there_when_it_returns() {
    for world in worlds() {
        let client = world.client().connect().await.unwrap();
        let players: Players = client.cache("player").durability(Durability::Database).open().await.unwrap();
        let _ = players.put(1, player("Ann", 2)).await.unwrap();
        assert_eq!(world.row(1).await.unwrap()["gold"], 2, "{}", world.name());
        assert!(client.close(SOON).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_does_not_fit_is_said_when_a_cache_is_opened() {
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Wrong {
        name: i32,
    }
    for world in worlds() {
        let client = world.client().connect().await.unwrap();
        let error = client.cache::<i64, Wrong>("player").open().await.unwrap_err();
        assert!(error.to_string().contains("name") && error.to_string().contains("i32"), "{}: {error}", world.name());
        let error = client.cache::<String, Player>("player").open().await.unwrap_err();
        assert!(error.to_string().contains("id"), "{}: {error}", world.name());
        let error = client.cache::<i64, Player>("nobody").open().await.unwrap_err();
        assert_eq!(error.sqlstate(), Some("42P01"), "{}: {error}", world.name());
    }
}
