//! Changes of one row that hold whatever others do at the same time: who is first, is first, and all counts are exact.

use cache_sync::{Cache, Client, Error, Freshness, Outcome, Patch, Verdict, Version};
use cache_sync_tests::locks::until_waiting;
use cache_sync_tests::rows::{Account, client, close, make_plain_accounts, node, node_with};
use cache_sync_tests::{Database, SOON};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn account(id: i64, balance: i64) -> Account {
    Account { id, name: format!("name {id}"), balance, note: None }
}

fn verdict(outcome: &Outcome) -> Verdict {
    outcome.verdict.expect("it is known")
}

#[tokio::test]
async fn a_row_is_inserted_once_on_plain_tables_too() {
    let plain = Database::with_extension();
    make_plain_accounts(&plain, 1);
    let (versioned, here, cache) = node_with(1).await;
    let (there, others) = node(&plain).await;
    for (db, cache) in [(&versioned, &cache), (&plain, &others)] {
        assert_eq!(verdict(&cache.insert(1, account(1, 9)).await.unwrap()), Verdict::Conflict);
        assert_eq!(verdict(&cache.insert(2, account(2, 9)).await.unwrap()), Verdict::Applied);
        assert_eq!(verdict(&cache.insert(2, account(2, 8)).await.unwrap()), Verdict::Conflict);
        assert_eq!(db.psql("SELECT string_agg(id || ':' || balance, ' ' ORDER BY id) FROM account"), "1:0 2:9");
        assert_eq!(cache.get(&2).await.unwrap().unwrap().balance, 9);
        // What is deleted may be inserted again.
        let _ = cache.delete(&2).await.unwrap();
        assert_eq!(verdict(&cache.insert(2, account(2, 7)).await.unwrap()), Verdict::Applied);
        assert_eq!(cache.get(&2).await.unwrap().unwrap().balance, 7);
        let error = cache.insert(3, account(4, 0)).await.unwrap_err();
        assert!(error.is_rule_violation(), "{error}");
    }
    let error = others.compare_and_set(&1, account(1, 3), Version::NONE).await.unwrap_err();
    assert!(error.is_rule_violation() && error.to_string().contains("not versioned"), "{error}");
    close(here).await;
    close(there).await;
}

/// What waits for its outcome is not shown: it may lose.
#[tokio::test]
async fn what_may_lose_is_not_shown() {
    let (db, client, cache) = node_with(1).await;
    let holder = db.connect().await;
    holder.batch_execute("BEGIN; INSERT INTO account VALUES (2, 'another', 5)").await.unwrap();
    let inserting = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.insert(2, account(2, 9)).await })
    };
    until_waiting(&db, 1).await;
    assert!(cache.get(&2).await.unwrap().is_none());
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(verdict(&inserting.await.unwrap().unwrap()), Verdict::Conflict);
    assert_eq!(cache.get(&2).await.unwrap().unwrap().balance, 5);
    close(client).await;
}

#[tokio::test]
async fn a_row_is_set_if_it_is_the_one_that_was_seen() {
    let (db, client, cache) = node_with(2).await;
    let seen = cache.lookup(&1, Freshness::Cached).await.unwrap().version;
    let set = cache.compare_and_set(&1, account(1, 7), seen).await.unwrap();
    assert_eq!(verdict(&set), Verdict::Applied);
    // It is known without a load.
    let loads = cache.status().load_statements;
    let read = cache.lookup(&1, Freshness::Cached).await.unwrap();
    assert_eq!((read.value.unwrap().balance, read.version), (7, set.version));
    assert_eq!(cache.status().load_statements, loads);
    assert_eq!(verdict(&cache.compare_and_set(&1, account(1, 8), seen).await.unwrap()), Verdict::Conflict);
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 7);
    // Writes that wait go first.
    let seen = cache.lookup(&2, Freshness::Cached).await.unwrap().version;
    let _ = cache.patch(&2, Patch::new().add("balance", 1)).await.unwrap();
    assert_eq!(verdict(&cache.compare_and_set(&2, account(2, 8), seen).await.unwrap()), Verdict::Conflict);
    assert_eq!(cache.get(&2).await.unwrap().unwrap().balance, 1);
    // A row that is gone, and one that has never been there.
    let seen = cache.lookup(&2, Freshness::Cached).await.unwrap().version;
    db.psql("DELETE FROM account WHERE id = 2");
    assert_eq!(verdict(&cache.compare_and_set(&2, account(2, 8), seen).await.unwrap()), Verdict::Missing);
    assert_eq!(verdict(&cache.compare_and_set(&3, account(3, 8), Version::NONE).await.unwrap()), Verdict::Applied);
    assert_eq!(verdict(&cache.compare_and_set(&3, account(3, 9), Version::NONE).await.unwrap()), Verdict::Conflict);
    close(client).await;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Room {
    places: i32,
    members: Vec<i64>,
}

#[derive(Debug)]
enum NotJoined {
    IsFull,
    Failed(Error),
}

impl From<Error> for NotJoined {
    fn from(error: Error) -> NotJoined {
        NotJoined::Failed(error)
    }
}

async fn join(rooms: &Cache<i32, Room>, who: i64) -> Result<usize, NotJoined> {
    let joining = rooms.modify(&1, |room| {
        if room.members.len() >= room.places as usize {
            return Err(NotJoined::IsFull);
        }
        room.members.push(who);
        Ok(room.members.len())
    });
    joining.await
}

/// Sixty want to join a room for forty, on three nodes, one of which holds nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_takes_as_many_as_it_has_places() {
    const NODES: i64 = 3;
    const EACH: i64 = 20;
    const PLACES: usize = 40;
    let db = Database::with_extension();
    db.psql(&format!(
        "CREATE TABLE room (id int PRIMARY KEY, places int NOT NULL, members bigint[] NOT NULL);
         SELECT cache_sync.attach('room', true); INSERT INTO room VALUES (1, {PLACES}, '{{}}')"
    ));
    let mut clients = Vec::new();
    let mut joining = Vec::new();
    for node in 0..NODES {
        let client = client(&db).await;
        let capacity = if node == 0 { 0 } else { 10 };
        let rooms: Cache<i32, Room> = client.cache("room").max_capacity(capacity).open().await.unwrap();
        joining.extend((0..EACH).map(|number| {
            let rooms = rooms.clone();
            tokio::spawn(async move { (node * EACH + number, join(&rooms, node * EACH + number).await) })
        }));
        clients.push(client);
    }
    let (mut joined, mut full) = (Vec::new(), 0);
    for who in joining {
        match who.await.unwrap() {
            (who, Ok(place)) => joined.push((place, who)),
            (_, Err(NotJoined::IsFull)) => full += 1,
            (_, Err(NotJoined::Failed(error))) => panic!("{error:?}"),
        }
    }
    joined.sort_unstable();
    let places: Vec<_> = joined.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, (1..=PLACES).collect::<Vec<_>>(), "each place is taken once");
    assert_eq!(full, NODES as usize * EACH as usize - PLACES);
    let members: Vec<_> = joined.iter().map(|(_, who)| who.to_string()).collect();
    assert_eq!(db.psql("SELECT array_to_string(members, ',') FROM room"), members.join(","));
    for client in clients {
        close(client).await;
    }
}

#[tokio::test]
async fn a_change_ends_as_its_caller_or_postgres_says() {
    let (db, client, cache) = node_with(3).await;
    db.psql("ALTER TABLE account ADD CONSTRAINT solvent CHECK (balance >= 0)");
    let spend = |amount: i64| {
        move |account: &mut Account| {
            account.balance -= amount;
            Ok::<_, Error>(account.balance)
        }
    };
    let error = cache.modify(&1, spend(5)).await.unwrap_err();
    assert!(error.is_rejected() && error.to_string().contains("solvent"), "{error}");
    // Writes that wait are what it looks at.
    let _ = cache.patch(&1, Patch::new().add("balance", 7)).await.unwrap();
    assert_eq!(cache.modify(&1, spend(5)).await.unwrap(), 2);
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 2);
    // What changes nothing writes nothing.
    let before = db.psql("SELECT xmin FROM account WHERE id = 1");
    assert_eq!(cache.modify(&1, spend(0)).await.unwrap(), 2);
    assert_eq!(db.psql("SELECT xmin FROM account WHERE id = 1"), before);
    assert!(cache.modify(&9, spend(0)).await.unwrap_err().is_missing());
    let moved = cache.modify(&1, |account| {
        account.id = 2;
        Ok::<_, Error>(())
    });
    assert!(moved.await.unwrap_err().is_rule_violation());
    // Somebody is quicker each time.
    let mut tries = 0;
    let sql = std::cell::RefCell::new(0);
    let lost = cache.modify(&2, |account| {
        tries += 1;
        *sql.borrow_mut() += 1;
        db.psql(&format!("UPDATE account SET note = '{}' WHERE id = 2", sql.borrow()));
        account.balance += 1;
        Ok::<_, Error>(())
    });
    let error = lost.await.unwrap_err();
    assert!(error.is_conflict() && error.is_retryable(), "{error}");
    assert_eq!((tries, db.psql("SELECT balance FROM account WHERE id = 2")), (100, "0".to_owned()));
    // Who gives up lets the next one have his turn.
    let holder = db.connect().await;
    holder.batch_execute("BEGIN; SELECT FROM account WHERE id = 3 FOR UPDATE").await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(100), cache.modify(&3, spend(-1))).await.is_err());
    holder.batch_execute("COMMIT").await.unwrap();
    let next = tokio::time::timeout(SOON, cache.modify(&3, spend(-1))).await.expect("it has its turn").unwrap();
    assert!((1..=2).contains(&next), "{next}: the one that was given up may have been written");
    close(client).await;
}

/// Counters that are not there yet, counted up by many tasks on three nodes at a time; somebody deletes one now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_counts_counts_once_whether_the_row_is_there_or_not() {
    const KEYS: i64 = 5;
    const EACH: i64 = 40;
    let db = Database::with_extension();
    cache_sync_tests::rows::make_accounts(&db, 0);
    let mut nodes: Vec<(Client, Cache<i64, Account>)> = Vec::new();
    for _ in 0..3 {
        nodes.push(node(&db).await);
    }
    let counting = nodes.iter().flat_map(|(_, cache)| (0..EACH).map(move |number| (cache.clone(), number % KEYS)));
    let counting: Vec<_> = counting
        .map(|(cache, key)| {
            tokio::spawn(async move {
                let patch = Patch::new().add("balance", 1);
                cache.patch_or_put(&key, patch, || account(key, 1)).await.unwrap()
            })
        })
        .collect();
    let outcomes: Vec<_> = join_all(counting).await.into_iter().map(Result::unwrap).collect();
    assert!(outcomes.iter().all(Outcome::is_written), "{outcomes:?}");
    let each = 3 * EACH / KEYS;
    let expected: Vec<_> = (0..KEYS).map(|key| format!("{key}:{each}")).collect();
    assert_eq!(db.psql("SELECT string_agg(id || ':' || balance, ' ' ORDER BY id) FROM account"), expected.join(" "));
    for (client, _) in nodes {
        close(client).await;
    }
}

/// What it has become is known without a load, whether all of its fields were changed or not.
#[tokio::test]
async fn what_was_made_of_a_row_is_shown() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Wallet {
        gold: i64,
    }
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE wallet (owner text PRIMARY KEY, gold bigint NOT NULL);
         SELECT cache_sync.attach('wallet', true, '{\"gold\": \"add\"}'); INSERT INTO wallet VALUES ('ann', 7)",
    );
    let client = client(&db).await;
    let wallets: Cache<String, Wallet> = client.cache("wallet").open().await.unwrap();
    let spend = |wallet: &mut Wallet| {
        wallet.gold -= 2;
        Ok::<_, Error>(wallet.gold)
    };
    assert_eq!(wallets.modify("ann", spend).await.unwrap(), 5);
    assert_eq!(wallets.get("ann").await.unwrap().as_deref(), Some(&Wallet { gold: 5 }));
    assert_eq!(wallets.modify("ann", spend).await.unwrap(), 3);
    assert_eq!(wallets.cached("ann").unwrap().as_deref(), Some(&Wallet { gold: 3 }));
    let outcome = wallets.insert("ben".to_owned(), Wallet { gold: 1 }).await.unwrap();
    assert_eq!((verdict(&outcome), wallets.cached("ben").unwrap().unwrap().gold), (Verdict::Applied, 1));
    assert_eq!(db.psql("SELECT string_agg(owner || ':' || gold, ' ' ORDER BY owner) FROM wallet"), "ann:3 ben:1");
    close(client).await;
}

/// Its own client patches the row without a break: a change by looking comes through, or says that it does not; it does not wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_without_a_break_keeps_nobody_waiting_for_ever() {
    let (db, client, cache) = node_with(1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let patching: Vec<_> = (0..4)
        .map(|_| {
            let (cache, stop) = (cache.clone(), stop.clone());
            tokio::spawn(async move {
                let mut patches = 0;
                while !stop.load(Ordering::Acquire) {
                    let _ = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
                    patches += 1;
                    tokio::task::yield_now().await;
                }
                patches
            })
        })
        .collect();
    let mut taken = 0;
    for _ in 0..3 {
        let taking = cache.modify(&1, |account| {
            account.balance -= 1_000_000;
            Ok::<_, Error>(())
        });
        match tokio::time::timeout(SOON, taking).await.expect("it ends") {
            Ok(()) => taken += 1_000_000,
            Err(error) => assert!(error.is_conflict(), "{error}"),
        }
    }
    stop.store(true, Ordering::Release);
    let mut patches: i64 = 0;
    for patching in patching {
        patches += patching.await.unwrap();
    }
    client.flush().await.unwrap();
    assert_eq!(db.psql("SELECT balance FROM account"), (patches - taken).to_string());
    close(client).await;
}
