//! Queries that are watched: their rows are shown as they are, and as they become, to the last ones.

use cache_sync::{Client, Error, QueryRead};
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{client, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, cluster_with_quick_heartbeats, connect, wait_until};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::time::timeout;

type Watch<T> = cache_sync::Watch<Result<QueryRead<T>, Error>>;

const A_WHILE: Duration = Duration::from_millis(300);
const TOTAL: &str = "SELECT sum(balance)::bigint FROM account";
const ONE: &str = "SELECT balance FROM account WHERE id = $1";

async fn next<T>(watch: &mut Watch<T>) -> QueryRead<T> {
    let item = timeout(SOON, watch.next()).await.expect("an item comes soon");
    item.expect("the stream goes on").unwrap_or_else(|error| panic!("{error:?}"))
}

async fn says_nothing<T>(watch: &mut Watch<T>) -> bool {
    timeout(A_WHILE, watch.next()).await.is_err()
}

#[tokio::test]
async fn show_their_rows_and_whatever_changes_them() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let client = client(&db).await;
    let (mut total, mut one) = (client.query::<i64>(TOTAL).watch(), client.query::<i64>(ONE).bind(1_i64).watch());
    assert_eq!((next(&mut total).await.rows[0], next(&mut one).await.rows[0]), (0, 0));
    assert!(says_nothing(&mut total).await);
    db.psql("UPDATE account SET balance = 5 WHERE id = 1");
    assert_eq!((next(&mut total).await.rows[0], next(&mut one).await.rows[0]), (5, 5));
    // What concerns only one of them.
    db.psql("UPDATE account SET balance = 2 WHERE id = 2");
    assert_eq!(next(&mut total).await.rows[0], 7);
    assert!(says_nothing(&mut one).await);
    // The last state, for who was slow.
    for balance in 1..=100 {
        db.psql(&format!("UPDATE account SET balance = {balance} WHERE id = 1"));
    }
    client.catch_up().await.unwrap();
    assert_eq!((next(&mut total).await.rows[0], next(&mut one).await.rows[0]), (102, 100));
    db.psql("TRUNCATE account");
    let gone = next(&mut one).await;
    assert!(gone.rows.is_empty() && gone.stale_for.is_none());
    close(client).await;
    assert!(timeout(SOON, one.next()).await.unwrap().is_none(), "it ends with the client");
}

/// Many who watch one query cost one load for each change; and nobody is shown less after more, of a sum that only grows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn share_their_loads_and_never_go_back() {
    const WATCHERS: usize = 20;
    const CHANGES: i64 = 60;
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let client = client(&db).await;
    let watching: Vec<_> = (0..WATCHERS)
        .map(|_| {
            let mut watch = client.query::<i64>(TOTAL).watch();
            tokio::spawn(async move {
                let mut last = 0;
                while last < CHANGES {
                    let now = next(&mut watch).await.rows[0];
                    assert!(now >= last, "{last} and then {now}");
                    last = now;
                }
            })
        })
        .collect();
    let sql = connect(&db.dsn()).await;
    for change in 0..CHANGES {
        let update = "UPDATE account SET balance = balance + 1 WHERE id = $1";
        sql.execute(update, &[&(1 + change % 3)]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for watcher in watching {
        timeout(SOON, watcher).await.expect("everybody is shown the last state").unwrap();
    }
    let loads = client.status().query_loads;
    assert!(loads <= 2 * CHANGES as u64, "{loads} loads");
    close(client).await;
}

/// Under constant writes a result is shown as often as it may be loaded.
#[tokio::test]
async fn are_loaded_no_more_often_than_they_are_said_to_be() {
    const INTERVAL: Duration = Duration::from_millis(400);
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = client(&db).await;
    let mut watch = client.query::<i64>(TOTAL).min_refresh(INTERVAL).watch();
    let (dsn, begun) = (db.dsn(), Instant::now());
    let writer = tokio::spawn(async move {
        let sql = connect(&dsn).await;
        while begun.elapsed() < 6 * INTERVAL {
            sql.batch_execute("UPDATE account SET balance = balance + 1").await.unwrap();
        }
    });
    let mut shown = Vec::new();
    while begun.elapsed() < 5 * INTERVAL {
        shown.push(next(&mut watch).await.rows[0]);
    }
    assert!((4..=7).contains(&shown.len()), "{shown:?}");
    assert!(shown.is_sorted_by(|before, after| before < after), "{shown:?}");
    writer.await.unwrap();
    let last: i64 = db.psql(TOTAL).parse().unwrap();
    while next(&mut watch).await.rows[0] < last {}
    close(client).await;
}

#[tokio::test]
async fn say_when_changes_are_not_heard_any_more() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, 1);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(Duration::from_secs(1))).await;
    let mut watch = client.query::<i64>(TOTAL).watch();
    assert!(next(&mut watch).await.stale_for.is_none());
    proxy.faults.silent_feed.store(true, Ordering::Release);
    let doubted = next(&mut watch).await;
    assert!(doubted.rows[0] == 0 && doubted.stale_for.is_some(), "{doubted:?}");
    let loads = client.status().query_loads;
    db.psql("UPDATE account SET balance = 1");
    assert!(says_nothing(&mut watch).await);
    assert_eq!(client.status().query_loads, loads, "nobody asks again and again");
    proxy.faults.silent_feed.store(false, Ordering::Release);
    let now = next(&mut watch).await;
    assert_eq!((now.rows[0], now.stale_for), (1, None));
    close(client).await;
}

/// A mistake is said, and again while it lasts, but not without end in between; it may be mended meanwhile.
#[tokio::test]
async fn say_what_is_wrong_until_it_is_mended() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 7)");
    let client = client(&db).await;
    let mut watch = client.query::<i32>("SELECT n FROM t").watch();
    let begun = Instant::now();
    let mut errors = 0;
    while begun.elapsed() < A_WHILE {
        let error = timeout(SOON, watch.next()).await.unwrap().unwrap().unwrap_err();
        assert!(error.to_string().contains("not attached"), "{error}");
        errors += 1;
    }
    assert!(errors <= 8, "{errors}");
    db.psql("SELECT cache_sync.attach('t')");
    let mended = async || matches!(watch.next().await, Some(Ok(read)) if *read.rows == [7]);
    wait_until(SOON, "it is mended", mended).await;
    close(client).await;
}

/// What reads no table is shown once, and ends with the client.
#[tokio::test]
async fn of_no_table_have_one_result() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = client(&db).await;
    // So that the feed is heard.
    let _cache = cache_sync_tests::rows::accounts(&client).await;
    let mut watch = client.query::<i32>("SELECT 1").watch();
    assert_eq!(*next(&mut watch).await.rows, [1]);
    assert!(says_nothing(&mut watch).await);
    close(client).await;
    assert!(timeout(SOON, watch.next()).await.unwrap().is_none());
}
