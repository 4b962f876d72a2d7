//! How old a result may be, and how often it is loaded.

use cache_sync::{Client, QueryRead};
use cache_sync_tests::rows::client;
use cache_sync_tests::{Database, wait_until};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);
const SQL: &str = "SELECT max(score) FROM player";

async fn leaderboard() -> (Database<'static>, Client) {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE player (id int PRIMARY KEY, score int NOT NULL); SELECT cache_sync.attach('player');
         INSERT INTO player SELECT n, n FROM generate_series(1, 10) n",
    );
    let client = client(&db).await;
    (db, client)
}

async fn read(client: &Client, min_refresh: Duration) -> QueryRead<i32> {
    client.query::<i32>(SQL).min_refresh(min_refresh).read().await.unwrap()
}

/// Although writers never rest: the answer says how old it is, and is the last one once they do.
#[tokio::test]
async fn a_hot_result_is_loaded_at_most_so_often() {
    const INTERVAL: Duration = Duration::from_millis(400);
    let (db, client) = leaderboard().await;
    let writer = db.connect().await;
    let (begun, before) = (Instant::now(), client.status().query_loads);
    let (mut reads, mut outdated, mut shown) = (0_u32, 0_u32, 0);
    while begun.elapsed() < 5 * INTERVAL {
        writer.batch_execute("UPDATE player SET score = score + 1").await.unwrap();
        let (one, other) = tokio::join!(read(&client, INTERVAL), read(&client, INTERVAL));
        for read in [one, other] {
            assert!(read.rows[0] >= shown, "{} after {shown}", read.rows[0]);
            shown = read.rows[0];
            assert!(read.stale_for.is_none_or(|age| age < INTERVAL && age <= read.age), "{read:?}");
            outdated += u32::from(read.stale_for.is_some());
            reads += 1;
        }
    }
    let loads = client.status().query_loads - before;
    let may_be = begun.elapsed().as_secs_f64() / INTERVAL.as_secs_f64() + 1.0;
    assert!(loads as f64 <= may_be, "{loads} loads in {:?}", begun.elapsed());
    assert!(outdated > reads / 2, "{outdated} of {reads}");
    let last = db.psql(SQL).parse::<i32>().unwrap();
    wait_until(INTERVAL + SOON, "the last result is shown", async || {
        let read = read(&client, INTERVAL).await;
        read.stale_for.is_none() && read.rows[0] == last
    })
    .await;
    // Whoever takes nothing that has changed is told at once.
    writer.batch_execute("UPDATE player SET score = score + 1").await.unwrap();
    client.catch_up().await.unwrap();
    let now = client.query::<i32>(SQL).read().await.unwrap();
    assert_eq!((now.rows[0], now.stale_for), (last + 1, None));
}

#[tokio::test]
async fn no_result_is_older_than_it_may_be() {
    const MAX: Duration = Duration::from_millis(200);
    let (_db, client) = leaderboard().await;
    let loads = || client.status().query_loads;
    let read = || client.query::<i32>(SQL).max_age(MAX).read();
    let begun = Instant::now();
    read().await.unwrap();
    let before = loads();
    while loads() < before + 3 {
        let read = read().await.unwrap();
        assert!(read.age <= MAX && read.stale_for.is_none(), "{read:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(begun.elapsed() > 3 * MAX, "3 loads more in {:?}", begun.elapsed());
    // It is the same result, which others take for longer.
    let before = loads();
    wait_until(SOON, "it is older", async || client.query::<i32>(SQL).read().await.unwrap().age >= 2 * MAX).await;
    assert_eq!(loads(), before);
}

/// Nobody waits for the load after a change; and what nobody reads any more is not loaded.
#[tokio::test]
async fn a_result_is_loaded_again_before_anybody_asks_as_long_as_it_is_read() {
    let (db, client) = leaderboard().await;
    let read = || client.query::<i32>(SQL).refresh_on_change(true).read();
    let loads = || client.status().query_loads;
    read().await.unwrap();
    for round in 1..=3 {
        let before = loads();
        db.psql("UPDATE player SET score = score + 1");
        wait_until(SOON, "it is loaded", async || loads() == before + 1).await;
        wait_until(SOON, "it is shown", async || read().await.unwrap().rows[0] == 10 + round).await;
        assert_eq!(loads(), before + 1, "a reader had to load it");
    }
    // The last one that was loaded has been read; the one after it is not, though another one is, which is looked at in its turn.
    let other = || client.query::<i64>("SELECT count(*) FROM player").refresh_on_change(true).fetch();
    other().await.unwrap();
    for loaded in [2, 1] {
        other().await.unwrap();
        let before = loads();
        db.psql("UPDATE player SET score = score + 1");
        wait_until(SOON, "what is read is loaded", async || loads() == before + loaded).await;
    }
    other().await.unwrap();
    let before = loads();
    db.psql("UPDATE player SET score = score + 1");
    wait_until(SOON, "and again, alone", async || loads() == before + 1).await;
    assert_eq!(read().await.unwrap().rows[0], 16);
}
