//! Rows that are watched: shown as they are, and as they become, in order, to the last one.

use cache_sync::{Cache, Client, Error, Lookup, Patch, Version};
use cache_sync_kit::Dice;
use cache_sync_tests::locks::until_waiting;
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{Account, accounts, client, close, make_accounts, node, node_with, open};
use cache_sync_tests::{Database, SOON, cluster_with_quick_heartbeats, start, unsynced};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

type Watch<V> = cache_sync::Watch<Result<Lookup<V>, Error>>;

/// Long enough to see that nothing comes.
const A_WHILE: Duration = Duration::from_millis(300);

async fn next<V>(watch: &mut Watch<V>) -> Lookup<V> {
    let item = timeout(SOON, watch.next()).await.expect("an item comes soon");
    item.expect("the stream goes on").unwrap_or_else(|error| panic!("{error:?}"))
}

/// Takes items until one satisfies.
async fn until<V>(watch: &mut Watch<V>, mut is_it: impl FnMut(&Lookup<V>) -> bool) -> Lookup<V> {
    loop {
        let read = next(watch).await;
        if is_it(&read) {
            return read;
        }
    }
}

fn balance(read: &Lookup<Account>) -> Option<i64> {
    read.value.as_ref().map(|row| row.balance)
}

async fn says_nothing<V>(watch: &mut Watch<V>) -> bool {
    timeout(A_WHILE, watch.next()).await.is_err()
}

#[tokio::test]
async fn shows_the_row_and_whoever_changes_it() {
    let (db, here, cache) = node_with(2).await;
    let (there, others) = node(&db).await;
    let mut watch = cache.watch(&1);
    assert_eq!(balance(&next(&mut watch).await), Some(0));
    assert!(says_nothing(&mut watch).await);
    // By SQL, and by another node.
    db.psql("UPDATE account SET balance = 5 WHERE id = 1");
    assert_eq!(balance(&next(&mut watch).await), Some(5));
    let _ = others.patch(&1, Patch::new().add("balance", 2)).await.unwrap().written().await.unwrap();
    assert_eq!(balance(&next(&mut watch).await), Some(7));
    // Another row is none of its business.
    db.psql("UPDATE account SET balance = 5 WHERE id = 2");
    assert!(says_nothing(&mut watch).await);
    db.psql("DELETE FROM account WHERE id = 1");
    assert_eq!(balance(&next(&mut watch).await), None);
    db.psql("INSERT INTO account VALUES (1, 'again')");
    assert_eq!(balance(&next(&mut watch).await), Some(0));
    assert!(says_nothing(&mut watch).await);
    close(here).await;
    close(there).await;
}

/// A write shows at once, and once more when Postgres has it, if only its version is another then.
#[tokio::test]
async fn shows_writes_of_its_own_before_postgres_has_them() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = open(Client::builder(&db.dsn()).flush_interval(A_WHILE)).await;
    let cache = accounts(&client).await;
    let mut watch = cache.watch(&1);
    let before = next(&mut watch).await;
    let receipt = cache.update(&1, |row| row.balance += 3).await.unwrap();
    let own = timeout(A_WHILE / 2, watch.next()).await.expect("it is shown at once").unwrap().unwrap();
    assert_eq!((balance(&own), own.version), (Some(3), before.version));
    let version = receipt.written().await.unwrap().version;
    assert_eq!(balance(&until(&mut watch, |read| read.version == version).await), Some(3));
    assert!(says_nothing(&mut watch).await);
    close(client).await;
}

/// Whoever takes items slowly is shown the last state, not all in between.
#[tokio::test]
async fn slow_readers_are_shown_the_last_state() {
    let (db, client, cache) = node_with(1).await;
    let mut watch = cache.watch(&1);
    next(&mut watch).await;
    for balance in 1..=200 {
        db.psql(&format!("UPDATE account SET balance = {balance} WHERE id = 1"));
    }
    client.catch_up().await.unwrap();
    assert_eq!(balance(&next(&mut watch).await), Some(200));
    assert!(says_nothing(&mut watch).await);
    close(client).await;
}

/// Watchers of a few keys on two nodes, of which one holds nothing at all and the other writes, too, while others write whatever they like:
/// nobody is shown an older version after a newer one, and all are shown the last state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_goes_back_and_ends_with_the_last_state() {
    const KEYS: i64 = 4;
    let db = Database::with_extension();
    make_accounts(&db, KEYS);
    let (here, there) = (client(&db).await, client(&db).await);
    let caches: [Cache<i64, Account>; 2] =
        [accounts(&here).await, there.cache("account").max_capacity(0).open().await.unwrap()];
    let watching: Vec<_> = caches
        .iter()
        .flat_map(|cache| (1..=KEYS).flat_map(|key| [(cache.clone(), key), (cache.clone(), key)]))
        .map(|(cache, key)| {
            tokio::spawn(async move {
                let (mut watch, mut last) = (cache.watch(&key), Version::NONE);
                loop {
                    let read = next(&mut watch).await;
                    assert!(read.version >= last, "key {key}: {last} and then {}", read.version);
                    last = read.version;
                    if read.value.is_some_and(|row| row.note.as_deref() == Some("last")) {
                        return;
                    }
                }
            })
        })
        .collect();
    let writing = (0..4).map(|writer| {
        let (cache, dsn) = (caches[0].clone(), db.dsn());
        tokio::spawn(async move {
            let (mut dice, sql) = (Dice::new(writer), cache_sync_tests::connect(&dsn).await);
            for _ in 0..150 {
                let key = 1 + dice.below(KEYS as u64) as i64;
                if writer == 0 {
                    let _ = cache.patch(&key, Patch::new().add("balance", 1)).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(2)).await;
                } else {
                    let update = "UPDATE account SET balance = balance + 1 WHERE id = $1";
                    sql.execute(update, &[&key]).await.unwrap();
                }
            }
        })
    });
    for writer in writing.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    here.flush().await.unwrap();
    db.psql("UPDATE account SET note = 'last'");
    for watcher in watching {
        timeout(SOON, watcher).await.expect("every watcher is shown the last state").unwrap();
    }
    close(here).await;
    close(there).await;
}

/// What falls silent is said to be in doubt, once; and when it is heard again, the row is shown as it is then.
#[tokio::test]
async fn says_when_changes_are_not_heard_any_more() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, 1);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(Duration::from_secs(1))).await;
    let cache = accounts(&client).await;
    let mut watch = cache.watch(&1);
    assert!(next(&mut watch).await.stale_for.is_none());
    proxy.faults.set(|faults| &faults.silent_feed, true);
    let doubted = next(&mut watch).await;
    assert_eq!(balance(&doubted), Some(0));
    assert!(doubted.stale_for >= Some(Duration::from_millis(900)), "{:?}", doubted.stale_for);
    db.psql("UPDATE account SET balance = 1");
    assert!(says_nothing(&mut watch).await, "nobody asks again and again, nor says it twice");
    proxy.faults.set(|faults| &faults.silent_feed, false);
    let now = next(&mut watch).await;
    assert_eq!((balance(&now), now.stale_for), (Some(1), None));
    close(client).await;
}

/// The server is gone and comes back: the same, however often loads failed in between.
#[tokio::test]
async fn goes_on_when_postgres_is_back() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    let (strict, lenient) =
        (client(&db).await, open(Client::builder(&db.dsn()).stale_while_unavailable(Duration::from_secs(600))).await);
    for client in [&strict, &lenient] {
        let cache = accounts(client).await;
        let mut watch = cache.watch(&1);
        next(&mut watch).await;
        cluster.stop("fast").unwrap();
        let doubted = until(&mut watch, |read| read.stale_for.is_some()).await;
        assert_eq!(balance(&doubted), Some(0));
        assert!(says_nothing(&mut watch).await);
        cluster.launch().unwrap();
        let again = until(&mut watch, |read| read.stale_for.is_none()).await;
        assert_eq!(balance(&again), Some(0));
        db.psql("UPDATE account SET balance = 1");
        assert_eq!(balance(&until(&mut watch, |read| balance(read) != Some(0)).await), Some(1));
        db.psql("UPDATE account SET balance = 0");
    }
    close(strict).await;
    close(lenient).await;
}

#[tokio::test]
async fn shows_that_a_row_has_expired() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE session (id int PRIMARY KEY, who text, ends timestamptz); SELECT cache_sync.attach('session', true);
         SELECT cache_sync.set_expiry('session', 'ends'); INSERT INTO session VALUES (1, 'ann', now() + interval '1 s')",
    );
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Session {
        who: String,
    }
    let client = client(&db).await;
    let cache: Cache<i32, Session> = client.cache("session").open().await.unwrap();
    let mut watch = cache.watch(&1);
    assert_eq!(next(&mut watch).await.value.unwrap().who, "ann");
    // For Postgres it may live on for as long as its answer took, and is loaded once more then.
    until(&mut watch, |read| read.value.is_none()).await;
    close(client).await;
}

/// A row that does not fit the type is an error, which the next change may mend.
#[tokio::test]
async fn goes_on_after_a_row_that_does_not_fit() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'On'); SELECT cache_sync.attach('t')",
    );
    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    enum Switch {
        On,
        Off,
    }
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Row {
        v: Switch,
    }
    let client = client(&db).await;
    let cache: Cache<i32, Row> = client.cache("t").open().await.unwrap();
    let mut watch = cache.watch(&1);
    assert_eq!(next(&mut watch).await.value.unwrap().v, Switch::On);
    db.psql("UPDATE t SET v = 'between'");
    let item: Option<Result<_, Error>> = timeout(SOON, watch.next()).await.unwrap();
    let Some(Err(error)) = item else { panic!("an error") };
    assert!(!error.is_closed() && error.to_string().contains("does not fit"), "{error}");
    assert!(says_nothing(&mut watch).await, "the error comes once");
    db.psql("UPDATE t SET v = 'Off'");
    assert_eq!(next(&mut watch).await.value.unwrap().v, Switch::Off);
    // Another table takes the name: that is said, and is the end.
    db.psql("DROP TABLE t");
    let item = timeout(SOON, watch.next()).await.unwrap();
    assert!(item.unwrap().is_err_and(|error| error.to_string().contains("open it again")));
    assert!(timeout(SOON, watch.next()).await.unwrap().is_none());
    close(client).await;
}

#[tokio::test]
async fn many_are_loaded_together_and_end_with_the_client() {
    let (db, client, cache) = node_with(500).await;
    let mut watch = cache.watch_many(1..=500);
    for _ in 0..500 {
        let (key, read) = timeout(SOON, watch.next()).await.unwrap().unwrap();
        assert_eq!(read.unwrap().value.unwrap().id, key);
    }
    let status = cache.status();
    assert_eq!(status.loaded_keys, 500);
    assert!(status.load_statements <= 4, "{}", status.load_statements);
    db.psql("UPDATE account SET balance = id WHERE id IN (7, 77)");
    let mut shown = Vec::new();
    for _ in 0..2 {
        let (key, read) = timeout(SOON, watch.next()).await.unwrap().unwrap();
        shown.push((key, read.unwrap().value.unwrap().balance));
    }
    shown.sort_unstable();
    assert_eq!(shown, [(7, 7), (77, 77)]);
    // However many watch, a change is loaded once.
    let shown = Arc::new(Semaphore::new(0));
    let watchers: Vec<_> = (0..20).map(|_| cache.watch(&1)).collect();
    let watchers: Vec<_> = watchers
        .into_iter()
        .map(|mut watch| {
            let shown = shown.clone();
            tokio::spawn(async move {
                next(&mut watch).await;
                shown.add_permits(1);
                until(&mut watch, |read| balance(read) == Some(9)).await;
                shown.add_permits(1);
                assert!(timeout(SOON, watch.next()).await.unwrap().is_none(), "it ends with the client");
            })
        })
        .collect();
    let all_are_shown =
        async || drop(timeout(SOON, shown.acquire_many(20)).await.expect("all are").map(|all| all.forget()));
    all_are_shown().await;
    let before = cache.status().loaded_keys;
    db.psql("UPDATE account SET balance = 9 WHERE id = 1");
    client.catch_up().await.unwrap();
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 9);
    assert!(cache.status().loaded_keys - before <= 2, "{}", cache.status().loaded_keys - before);
    all_are_shown().await;
    close(client).await;
    for watcher in watchers {
        watcher.await.unwrap();
    }
    while let Some(item) = timeout(SOON, watch.next()).await.expect("it ends with the client") {
        assert!(item.1.is_ok());
    }
}

/// A server stops taking items when its client is slow, also in the middle of a load: the connection must not wait for that client.
#[tokio::test]
async fn who_does_not_take_items_keeps_no_connection() {
    let db = Database::with_extension();
    make_accounts(&db, 2);
    db.psql("CREATE TABLE other (id int PRIMARY KEY, v int); INSERT INTO other VALUES (1, 7); SELECT cache_sync.attach('other')");
    let client = open(Client::builder(&db.dsn()).pool_size(2)).await;
    let cache = accounts(&client).await;
    let locked = db.connect().await;
    let (mut row, mut total) =
        (cache.watch(&1), client.query::<i64>("SELECT sum(balance)::bigint FROM account").watch());
    locked.batch_execute("BEGIN; LOCK TABLE account").await.unwrap();
    assert!(timeout(A_WHILE, row.next()).await.is_err() && timeout(A_WHILE, total.next()).await.is_err());
    until_waiting(&db, 2).await;
    locked.batch_execute("COMMIT").await.unwrap();
    // Nobody polls them now.
    let others = async {
        assert_eq!(cache.get(&2).await.unwrap().unwrap().id, 2);
        assert_eq!(*client.query::<i32>("SELECT v FROM other").fetch().await.unwrap(), [7]);
    };
    timeout(SOON / 4, others).await.expect("there are connections");
    assert_eq!(balance(&next(&mut row).await), Some(0));
    assert_eq!(timeout(SOON, total.next()).await.unwrap().unwrap().unwrap().rows[0], 0);
    close(client).await;
}
