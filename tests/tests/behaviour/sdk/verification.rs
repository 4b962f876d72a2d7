//! What is held is compared with Postgres: what the feed kept quiet about is found, and nothing else is.

use cache_sync::{Cache, CacheBuilder, CacheStatus, Client, Mode, Patch};
use cache_sync_kit::Dice;
use cache_sync_tests::logged::Logged;
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{Account, client, close, make_accounts, make_plain_accounts, open};
use cache_sync_tests::{Database, SOON, cluster_with_quick_heartbeats, start, unsynced, wait_until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Machines may be busy.
const LONG: Duration = Duration::from_secs(90);

type Builder = CacheBuilder<i64, Account>;
type Accounts = Cache<i64, Account>;

async fn node_in(db: &Database<'_>, set: impl FnOnce(Builder) -> Builder) -> (Client, Accounts) {
    let client = client(db).await;
    let cache = set(client.cache("account")).open().await.unwrap();
    (client, cache)
}

/// What the feed tells nobody: of rows and of absences, with versions and without.
#[tokio::test]
async fn what_the_feed_kept_quiet_about_is_found_and_the_cache_goes_back() {
    let logged = Logged::start();
    for (change, make) in [
        ("UPDATE account SET balance = 7 WHERE id = 1", make_accounts as fn(&Database<'_>, i64)),
        ("UPDATE account SET balance = 7 WHERE id = 1", make_plain_accounts),
        ("DELETE FROM account WHERE id = 1", make_accounts),
        ("INSERT INTO account VALUES (99, 'late', 7)", make_plain_accounts),
    ] {
        let db = Database::with_extension_in(cluster_with_quick_heartbeats());
        make(&db, 10);
        let (client, cache) = node_in(&db, |builder| builder.verify(1.0).retreat_after(1)).await;
        cache.get_many(&[1, 2, 99]).await.unwrap();
        // Who goes on writing keeps nothing from being found.
        let writer = db.connect().await;
        let writes = "BEGIN; UPDATE account SET note = 'a' WHERE id = 5; SAVEPOINT s; UPDATE account SET note = 'b' WHERE id = 5";
        writer.batch_execute(writes).await.unwrap();
        client.mute_feed(true);
        db.psql(change);
        wait_until(SOON, change, async || {
            cache.get_many(&[1, 2, 99]).await.unwrap();
            cache.mode() == Mode::Shadow
        })
        .await;
        let status = cache.status();
        assert_eq!((status.violations, status.retreats, status.has_retreated), (1, 1, true), "{change}: {status:?}");
        let as_it_is = async |id: i64| cache.get(&id).await.unwrap().map(|row| row.balance);
        let expected = if change.starts_with("DELETE") { None } else { Some(7) };
        let changed = if change.starts_with("INSERT") { 99 } else { 1 };
        assert_eq!(as_it_is(changed).await, expected, "{change}");
        // It does not come back by itself.
        client.mute_feed(false);
        client.catch_up().await.unwrap();
        assert_eq!((as_it_is(changed).await, cache.mode()), (expected, Mode::Shadow));
        cache.set_mode(Mode::On).unwrap();
        assert_eq!(cache.mode(), Mode::Shadow, "that was asked for before");
        for mode in [Mode::Shadow, Mode::On] {
            cache.set_mode(mode).unwrap();
        }
        let status = cache.status();
        assert_eq!((status.mode, status.has_retreated, status.violations), (Mode::On, false, 1));
        assert_eq!(as_it_is(changed).await, expected, "what was wrong is not held any more");
        close(client).await;
    }
    let found = logged.with(&["WARN", "rows are held otherwise than Postgres has them", "public.account", "key_hash"]);
    let went_back = logged.with(&["WARN", "the cache has gone back to Shadow", "public.account", "before=On"]);
    assert_eq!((found.len(), went_back.len()), (4, 4), "{found:#?} {went_back:#?}");
    let spoken = [found, went_back].concat();
    assert!(!spoken.iter().any(|line| line.contains("late") || line.contains("name ")), "{spoken:#?}");
}

/// Without versions rows are compared by digests, which those have that were loaded where something may compare them.
#[tokio::test]
async fn what_was_loaded_where_nothing_compares_has_no_verdict_without_versions() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_plain_accounts(&db, 10);
    let (client, cache) = node_in(&db, |builder| builder).await;
    cache.get(&1).await.unwrap();
    cache.set_mode(Mode::Shadow).unwrap();
    cache.get(&1).await.unwrap();
    let status = cache.status();
    assert_eq!((status.unverified, status.verified_equal), (1, 0), "{status:?}");
    cache.invalidate(&1);
    for _ in 0..2 {
        cache.get(&1).await.unwrap();
    }
    let status = cache.status();
    assert_eq!((status.unverified, status.verified_equal), (1, 1), "{status:?}");
    close(client).await;
}

/// In the shadow there is nowhere to go back to; a canary does.
#[tokio::test]
async fn rows_that_are_not_served_are_compared_as_well() {
    for (mode, after) in [(Mode::Shadow, Mode::Shadow), (Mode::Canary(0.0), Mode::Shadow)] {
        let db = Database::with_extension_in(cluster_with_quick_heartbeats());
        make_accounts(&db, 10);
        let (client, cache) = node_in(&db, |builder| builder.mode(mode).retreat_after(1)).await;
        cache.get(&1).await.unwrap();
        client.mute_feed(true);
        db.psql("UPDATE account SET balance = 7");
        wait_until(SOON, "it is found", async || {
            assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 7, "whatever is held");
            cache.status().violations == 1
        })
        .await;
        let status = cache.status();
        assert_eq!((status.mode, status.retreats), (after, u64::from(mode != after)), "{mode:?}");
        close(client).await;
    }
}

/// Each takes his steps until the time is over.
async fn go_on(is_over: Arc<AtomicBool>, seed: u64, mut step: impl AsyncFnMut(&mut Dice)) {
    let mut dice = Dice::new(seed);
    while !is_over.load(Ordering::Acquire) {
        step(&mut dice).await;
    }
}

const KEYS: u64 = 40;

/// Writes whatever SQL can: of one row, of many, of all, in transactions that last, and takes rows away and back.
async fn writes_sql(writer: &tokio_postgres::Client, dice: &mut Dice) {
    let id = 1 + dice.below(KEYS);
    let statement = match dice.below(12) {
        0 => format!("DELETE FROM account WHERE id = {id}"),
        1..=3 => {
            format!("INSERT INTO account (id, name) VALUES ({id}, 'new') ON CONFLICT (id) DO UPDATE SET name = 'again'")
        }
        4 => format!("BEGIN; UPDATE account SET note = 'long' WHERE id = {id}; SELECT pg_sleep(0.02); COMMIT"),
        5 => format!("BEGIN; UPDATE account SET note = 'undone' WHERE id = {id}; ROLLBACK"),
        6 if dice.below(20) == 0 => {
            "TRUNCATE account; INSERT INTO account SELECT n, 'anew' FROM generate_series(1, 40) n".to_owned()
        }
        7 => format!("UPDATE account SET balance = balance + 1 WHERE id BETWEEN {id} AND {id} + 5"),
        _ => format!("UPDATE account SET balance = balance + 1 WHERE id = {id}"),
    };
    // Two who write many rows may wait for each other.
    if writer.batch_execute(&statement).await.is_err() {
        let _ = writer.batch_execute("ROLLBACK").await;
    }
    tokio::time::sleep(Duration::from_micros(dice.below(2000))).await;
}

async fn writes_behind(cache: &Accounts, dice: &mut Dice) {
    let id = 1 + dice.below(KEYS) as i64;
    match dice.below(10) {
        0 => drop(cache.delete(&id).await.unwrap()),
        1 | 2 => drop(cache.put(id, Account { id, name: "put".into(), balance: 0, note: None }).await.unwrap()),
        3 => drop(cache.update(&id, |row| row.note = Some("mine".into())).await),
        _ => drop(cache.patch(&id, Patch::new().add("balance", 1)).await.unwrap()),
    }
    tokio::time::sleep(Duration::from_millis(1 + dice.below(10))).await;
}

/// An hour's worth of changes: everybody writes, in every way, and each hit is compared, so often.
async fn compared_under_load(db: &Database<'_>, mode: Mode, comparisons: u64) {
    let (client, cache) = node_in(db, |builder| builder.mode(mode).verify(1.0).max_capacity(30).retreat_after(1)).await;
    let (neighbour, other) = node_in(db, |builder| builder).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for seed in 0..2 {
        let (writer, is_over) = (db.connect().await, is_over.clone());
        tasks.push(tokio::spawn(go_on(is_over, seed, async move |dice| writes_sql(&writer, dice).await)));
    }
    for (seed, cache) in [(10, cache.clone()), (11, other)] {
        let is_over = is_over.clone();
        tasks.push(tokio::spawn(go_on(is_over, seed, async move |dice| writes_behind(&cache, dice).await)));
    }
    for seed in 20..24 {
        let (cache, is_over) = (cache.clone(), is_over.clone());
        tasks.push(tokio::spawn(go_on(is_over, seed, async move |dice| {
            for _ in 0..20 {
                let _ = cache.get(&(1 + dice.below(KEYS + 2) as i64)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        })));
    }
    let compared = |status: &CacheStatus| status.verified_equal + status.verified_behind;
    wait_until(LONG, "so much is compared", async || compared(&cache.status()) >= comparisons).await;
    is_over.store(true, Ordering::Release);
    for task in tasks {
        task.await.unwrap();
    }
    client.flush().await.unwrap();
    client.catch_up().await.unwrap();
    let status = cache.status();
    assert_eq!((status.violations, status.retreats, status.mode), (0, 0, mode), "{status:?}");
    assert!(status.verified_equal > comparisons / 2 && status.verified_behind > 0, "{status:?}");
    the_only_violation_is_found(db, &client, &cache).await;
    close(client).await;
    close(neighbour).await;
}

/// There is one now. What was suspected before has been judged when that is found, or is with it.
async fn the_only_violation_is_found(db: &Database<'_>, client: &Client, cache: &Accounts) {
    const ID: i64 = 1000;
    db.psql(&format!("INSERT INTO account (id, name) VALUES ({ID}, 'alone') ON CONFLICT DO NOTHING"));
    client.catch_up().await.unwrap();
    // There is room for it.
    (1..=KEYS as i64 + 2).for_each(|id| cache.invalidate(&id));
    client.mute_feed(true);
    let mut tries = 0;
    wait_until(LONG, "a row is held, changed, and found", async || {
        cache.get(&ID).await.unwrap();
        // Now and then: while it is muted, only heartbeats bring the feed on, and there are none where there are changes.
        if tries % 500 == 0 && cache.status().violations == 0 {
            db.psql(&format!("UPDATE account SET balance = balance + 1 WHERE id = {ID}"));
        }
        tries += 1;
        cache.status().violations > 0
    })
    .await;
    wait_until(LONG, "it is held as it is", async || {
        let before = cache.status().verified_equal;
        cache.get(&ID).await.unwrap();
        cache.status().verified_equal > before
    })
    .await;
    let status = cache.status();
    assert_eq!((status.violations, status.mode), (1, Mode::Shadow), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_found_where_nothing_is_wrong() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, KEYS as i64);
    compared_under_load(&db, Mode::On, 10_000).await;
    compared_under_load(&db, Mode::Canary(0.5), 3_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_without_versions() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_plain_accounts(&db, KEYS as i64);
    compared_under_load(&db, Mode::On, 5_000).await;
    compared_under_load(&db, Mode::Shadow, 2_000).await;
}

/// The clock of the server goes its way, and rows end without a change.
#[tokio::test]
async fn rows_that_expire_are_no_violation() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, 20);
    db.psql(
        "ALTER TABLE account ADD until timestamptz;
         SELECT cache_sync.set_expiry('account', 'until')",
    );
    let (client, cache) = node_in(&db, |builder| builder.verify(1.0)).await;
    let keys: Vec<i64> = (1..=20).collect();
    let mut times = 0;
    wait_until(LONG, "rows have come and gone, and were compared", async || {
        db.psql("UPDATE account SET until = clock_timestamp() + '150 ms'");
        let mut has_come = false;
        wait_until(SOON, "they end", async || {
            let rows = cache.get_many(&keys).await.unwrap();
            has_come |= rows.iter().any(Option::is_some);
            rows.iter().all(Option::is_none)
        })
        .await;
        times += u32::from(has_come);
        times >= 10 && cache.status().verified_equal > 1000
    })
    .await;
    let status = cache.status();
    assert_eq!(status.violations, 0, "{status:?}");
    close(client).await;
}

/// What is loaded from a standby may be ahead of what the primary shows, for as long as its commit waits for another standby.
#[tokio::test]
async fn a_standby_that_is_ahead_is_no_violation() {
    let primary = start(unsynced().setting("cache_sync.heartbeat_interval", "100ms"));
    let db = Database::with_extension_in(&primary);
    make_accounts(&db, 10);
    let standby = primary.standby(&[]).unwrap();
    let on_standby = |sql: &str| standby.psql(db.name(), sql).unwrap_or_default();
    wait_until(SOON, "the standby is there", async || on_standby("SELECT count(*) FROM account") == "10").await;
    let client = open(Client::builder(&db.dsn()).standby(&standby.dsn(db.name()))).await;
    let cache: Accounts = client.cache("account").verify(1.0).retreat_after(1).open().await.unwrap();
    db.psql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    db.psql("SELECT pg_reload_conf()");
    wait_until(SOON, "commits wait", async || db.psql("SHOW synchronous_standby_names") == "nobody").await;
    let writer = db.connect().await;
    let waiting =
        tokio::spawn(async move { writer.batch_execute("UPDATE account SET balance = 7 WHERE id = 1").await });
    wait_until(SOON, "the standby shows it", async || on_standby("SELECT balance FROM account WHERE id = 1") == "7")
        .await;
    assert_eq!(db.psql("SELECT balance FROM account WHERE id = 1"), "0", "the primary does not");
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 7, "{:?}", client.status());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        cache.get(&1).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let status = cache.status();
    assert!(status.unverified > 0 && status.verified_equal == 0, "it was suspected: {status:?}");
    db.psql("ALTER SYSTEM RESET synchronous_standby_names");
    db.psql("SELECT pg_reload_conf()");
    waiting.await.unwrap().unwrap();
    wait_until(SOON, "it is the same by then", async || {
        cache.get(&1).await.unwrap();
        cache.status().verified_equal > 0
    })
    .await;
    assert_eq!((cache.status().violations, cache.mode()), (0, Mode::On));
    close(client).await;
}

#[tokio::test]
async fn nothing_is_found_while_postgres_is_away() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, 10);
    let proxy = Proxy::start(db.cluster().port()).await;
    // What is asked in the silence is given up after that.
    let patience = Duration::from_secs(2);
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(patience).query_timeout(patience)).await;
    let cache: Accounts = client.cache("account").verify(1.0).open().await.unwrap();
    cache.get(&1).await.unwrap();
    proxy.faults.set(|faults| &faults.silent, true);
    db.psql("UPDATE account SET balance = 7");
    wait_until(SOON, "it is not served any more", async || {
        let is_held = cache.cached(&1).is_some();
        if is_held {
            let _ = cache.get(&1).await;
        }
        !is_held
    })
    .await;
    assert!(cache.status().hits > 0, "it was served, and is not what Postgres says");
    proxy.faults.set(|faults| &faults.silent, false);
    let compared = cache.status().verified_equal;
    wait_until(SOON, "it is compared again", async || {
        let _ = cache.get(&1).await;
        cache.status().verified_equal > compared
    })
    .await;
    let status = cache.status();
    assert!(status.unverified + status.verified_behind > 0, "what was served meanwhile: {status:?}");
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 7);
    assert_eq!(cache.status().violations, 0, "{:?}", cache.status());
    drop(client.close(Duration::from_secs(20)).await.unwrap());
}

/// A cache that is not told of changes any more is not held against them.
#[tokio::test]
async fn a_cache_that_is_let_go_convicts_nobody() {
    let logged = Logged::start();
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, 10);
    let client = client(&db).await;
    let other: Cache<i64, (i64, String)> =
        client.cache("account").columns(["id", "name"]).verify(1.0).open().await.unwrap();
    for round in 0..30 {
        let cache: Accounts = client.cache("account").verify(1.0).open().await.unwrap();
        cache.get(&1).await.unwrap();
        let writer = db.connect().await;
        for _ in 0..20 {
            cache.get(&1).await.unwrap();
        }
        drop(cache);
        writer.batch_execute(&format!("UPDATE account SET balance = {round}")).await.unwrap();
    }
    // What was suspected before is judged before that, by whoever is still at it.
    other.get(&1).await.unwrap();
    client.mute_feed(true);
    db.psql("UPDATE account SET name = 'other'");
    wait_until(SOON, "the one that is left is told nothing, and found", async || {
        other.get(&1).await.unwrap();
        other.status().violations > 0
    })
    .await;
    let found = logged.with(&["WARN", "rows are held otherwise"]);
    assert_eq!(found.len(), 1, "{found:#?}");
    close(client).await;
}
