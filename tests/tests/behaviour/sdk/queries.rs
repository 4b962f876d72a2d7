//! Cached queries: dropped exactly when a row changes on which they depend.

use cache_sync::{Client, TagValue};
use cache_sync_tests::rows::{client, open};
use cache_sync_tests::{Database, wait_until};
use futures_util::FutureExt;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

#[derive(Debug, PartialEq, Deserialize)]
struct Post {
    id: i32,
    body: String,
}

fn posts(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE post (id int PRIMARY KEY, author int, body text NOT NULL, score int NOT NULL DEFAULT 0);
         SELECT cache_sync.attach('post', tags => '{author}');
         INSERT INTO post SELECT n, n % 3, 'post ' || n FROM generate_series(1, 30) n",
    );
}

async fn newest(client: &Client, author: i32) -> Arc<Vec<Post>> {
    client
        .query::<Post>("SELECT id, body FROM post WHERE author = $1 ORDER BY id DESC LIMIT 2")
        .bind(author)
        .depends_on("post", "author", author)
        .fetch()
        .await
        .unwrap()
}

fn ids(posts: &[Post]) -> Vec<i32> {
    posts.iter().map(|post| post.id).collect()
}

#[tokio::test]
async fn are_dropped_exactly_when_a_row_with_their_tag_changes() {
    let db = Database::with_extension();
    posts(&db);
    let client = client(&db).await;
    let (one, two) = (newest(&client, 1).await, newest(&client, 2).await);
    assert_eq!(ids(&one), [28, 25]);
    assert_eq!(ids(&two), [29, 26]);
    for (statement, of_one, of_two, is_one_dropped, is_two_dropped) in [
        ("INSERT INTO post VALUES (31, 1, 'new')", [31, 28], [29, 26], true, false),
        ("UPDATE post SET author = 2 WHERE id = 31", [28, 25], [31, 29], true, true),
        ("DELETE FROM post WHERE id = 31", [28, 25], [29, 26], false, true),
        ("UPDATE post SET body = 'x' WHERE author = 0", [28, 25], [29, 26], false, false),
        ("UPDATE post SET id = 101 WHERE id = 1", [101, 28], [29, 26], true, false),
        ("INSERT INTO post SELECT n, 7, '' FROM generate_series(1000, 1010) n", [101, 28], [29, 26], false, false),
    ] {
        let before = (newest(&client, 1).await, newest(&client, 2).await);
        db.psql(statement);
        client.catch_up().await.unwrap();
        let after = (newest(&client, 1).await, newest(&client, 2).await);
        assert_eq!((ids(&after.0), ids(&after.1)), (of_one.to_vec(), of_two.to_vec()), "{statement}");
        assert_eq!(Arc::ptr_eq(&before.0, &after.0), !is_one_dropped, "{statement}: author 1");
        assert_eq!(Arc::ptr_eq(&before.1, &after.1), !is_two_dropped, "{statement}: author 2");
    }
    // What concerns the whole table concerns them all.
    let before = newest(&client, 1).await;
    db.psql("INSERT INTO post SELECT n, 7, '' FROM generate_series(10000, 15000) n");
    client.catch_up().await.unwrap();
    assert!(!Arc::ptr_eq(&before, &newest(&client, 1).await));
    db.psql("TRUNCATE post");
    client.catch_up().await.unwrap();
    assert!(newest(&client, 1).await.is_empty());
    client.close(SOON).await.unwrap();
}

#[tokio::test]
async fn of_a_whole_table_and_of_several() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Best {
        name: String,
        score: i64,
    }
    let db = Database::with_extension();
    posts(&db);
    db.psql(
        "CREATE TABLE player (id int PRIMARY KEY, name text NOT NULL); SELECT cache_sync.attach('player');
         INSERT INTO player SELECT n, 'player ' || n FROM generate_series(0, 2) n;
         UPDATE post SET score = id",
    );
    let client = client(&db).await;
    let sql = "SELECT name, sum(score)::bigint AS score FROM post JOIN player ON player.id = author GROUP BY name
               ORDER BY score DESC LIMIT 1";
    let best = async || {
        let query = client.query::<Best>(sql).depends_on_table("post").depends_on_table("public.player");
        query.fetch().await.unwrap()
    };
    let first = best().await;
    assert_eq!(first[0], Best { name: "player 0".into(), score: 165 });
    assert!(Arc::ptr_eq(&first, &best().await));
    db.psql("UPDATE post SET score = 1000 WHERE id = 1");
    client.catch_up().await.unwrap();
    assert_eq!(best().await[0], Best { name: "player 1".into(), score: 1144 });
    db.psql("UPDATE player SET name = 'Ann' WHERE id = 1");
    client.catch_up().await.unwrap();
    assert_eq!(best().await[0].name, "Ann");
    client.close(SOON).await.unwrap();
}

/// A query that waits until the test lets it go on: it has begun, and sees what was there then.
const GATED: &str = "SELECT id, body FROM post, pg_advisory_xact_lock_shared(1) WHERE id = 1 AND author = $1";

struct Gate<'d> {
    db: &'d Database<'d>,
    keeper: tokio_postgres::Client,
}

impl<'d> Gate<'d> {
    async fn close(db: &'d Database<'_>) -> Gate<'d> {
        let keeper = db.connect().await;
        keeper.batch_execute("SELECT pg_advisory_lock(1)").await.unwrap();
        Gate { db, keeper }
    }

    async fn is_reached(&self) {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        wait_until(SOON, "the query has begun", async || self.db.psql(waiting) == "1").await;
    }

    async fn open(self) {
        self.keeper.batch_execute("SELECT pg_advisory_unlock(1)").await.unwrap();
    }
}

async fn gated(client: &Client) -> Arc<Vec<Post>> {
    client.query(GATED).bind(1).depends_on("post", "author", 1).assume_complete().fetch().await.unwrap()
}

/// The change comes while the query runs: what it read may be from before, so nobody who asks later gets it.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_during_the_load_is_not_missed() {
    let db = Database::with_extension();
    posts(&db);
    let client = client(&db).await;
    newest(&client, 1).await;
    let gate = Gate::close(&db).await;
    let early = tokio::spawn({
        let client = client.clone();
        async move { gated(&client).await }
    });
    gate.is_reached().await;
    db.psql("UPDATE post SET body = 'changed' WHERE id = 1");
    client.catch_up().await.unwrap();
    let (late, ()) = tokio::join!(gated(&client), gate.open());
    assert_eq!(late[0].body, "changed");
    assert_eq!(early.await.unwrap()[0].body, "post 1");
    assert!(Arc::ptr_eq(&late, &gated(&client).await));
    client.close(SOON).await.unwrap();
}

#[tokio::test]
async fn many_who_ask_at_a_time_send_one_query() {
    let db = Database::with_extension();
    posts(&db);
    let client = client(&db).await;
    newest(&client, 1).await;
    let before = client.status().query_loads;
    let gate = Gate::close(&db).await;
    let asking = futures_util::future::join_all((0..50).map(|_| gated(&client)));
    // All of them ask before the first one is answered.
    let open = async {
        gate.is_reached().await;
        gate.open().await;
    };
    let (answers, ()) = tokio::join!(asking, open);
    assert!(answers.iter().all(|answer| Arc::ptr_eq(answer, &answers[0])));
    assert_eq!(client.status().query_loads, before + 1);
    assert!(client.status().query_results >= 2);
    gated(&client).await;
    assert_eq!((client.status().query_loads, client.status().query_hits), (before + 1, 1));
    client.close(SOON).await.unwrap();
}

#[tokio::test]
async fn who_gives_up_does_not_take_the_others_along() {
    let db = Database::with_extension();
    posts(&db);
    let client = client(&db).await;
    newest(&client, 1).await;
    let gate = Gate::close(&db).await;
    let (mut first, mut second) = (Box::pin(gated(&client)), Box::pin(gated(&client)));
    tokio::select! {
        biased;
        _ = &mut first => panic!("the gate is closed"),
        _ = &mut second => panic!("the gate is closed"),
        () = gate.is_reached() => {}
    }
    drop(first);
    let (answer, ()) = tokio::join!(second, gate.open());
    assert_eq!(ids(&answer), [1]);
    // Nor does one leave anything behind that others would wait for.
    db.psql("UPDATE post SET body = 'y' WHERE id = 1");
    client.catch_up().await.unwrap();
    let gate = Gate::close(&db).await;
    tokio::select! {
        _ = gated(&client) => panic!("the gate is closed"),
        () = gate.is_reached() => {}
    }
    gate.open().await;
    assert_eq!(gated(&client).await[0].body, "y");
    client.close(SOON).await.unwrap();
}

#[tokio::test]
async fn go_on_with_other_tags() {
    let db = Database::with_extension();
    posts(&db);
    let client = client(&db).await;
    assert_eq!(ids(&newest(&client, 1).await), [28, 25]);
    // The tag has another place in the list now, so its values have other hashes.
    db.psql("SELECT cache_sync.set_tags('post', '{score,author}')");
    client.catch_up().await.unwrap();
    assert_eq!(ids(&newest(&client, 1).await), [28, 25]);
    db.psql("INSERT INTO post VALUES (31, 1, 'new')");
    client.catch_up().await.unwrap();
    assert_eq!(ids(&newest(&client, 1).await), [31, 28]);
    // By null, too.
    let orphans = async || {
        let query = client.query::<Post>("SELECT id, body FROM post WHERE author IS NULL");
        query.depends_on("post", "author", None::<i32>).fetch().await.unwrap()
    };
    assert!(orphans().await.is_empty());
    db.psql("UPDATE post SET author = NULL WHERE id = 31");
    client.catch_up().await.unwrap();
    assert_eq!(ids(&orphans().await), [31]);
    client.close(SOON).await.unwrap();
}

/// Names are those of the caller: what stands under one now is what a result depends on.
#[tokio::test]
async fn follow_the_name_when_tables_change_theirs() {
    let db = Database::with_extension();
    posts(&db);
    db.psql(
        "CREATE TABLE next (LIKE post INCLUDING ALL); SELECT cache_sync.attach('next', tags => '{author}');
         INSERT INTO next VALUES (100, 1, 'next')",
    );
    let client = client(&db).await;
    let count = async || {
        let query = client.query::<Post>("SELECT id, body FROM post WHERE author = 1").depends_on_table("post");
        query.fetch().await.unwrap().len()
    };
    assert_eq!((count().await, ids(&newest(&client, 1).await)), (10, vec![28, 25]));
    db.psql("BEGIN; ALTER TABLE post RENAME TO old; ALTER TABLE next RENAME TO post; COMMIT");
    client.catch_up().await.unwrap();
    assert_eq!((count().await, ids(&newest(&client, 1).await)), (1, vec![100]));
    db.psql("INSERT INTO post VALUES (101, 1, 'more')");
    client.catch_up().await.unwrap();
    assert_eq!((count().await, ids(&newest(&client, 1).await)), (2, vec![101, 100]));
    // One that was renamed goes on under its new name.
    let old = client.query::<Post>("SELECT id, body FROM old WHERE author = 1").depends_on("old", "author", 1);
    assert_eq!(old.fetch().await.unwrap().len(), 10);
    client.close(SOON).await.unwrap();
}

/// Altering a type gives its values other hashes, so it waits for who has noted the old ones.
#[tokio::test]
async fn a_type_is_altered_under_writers() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TYPE state AS ENUM ('open', 'shut'); CREATE TABLE t (id int PRIMARY KEY, state state, body text NOT NULL);
         SELECT cache_sync.attach('t', tags => '{state}')",
    );
    let client = client(&db).await;
    let writer = db.connect().await;
    writer.batch_execute("BEGIN; INSERT INTO t VALUES (1, 'open', 'x')").await.unwrap();
    let error = db.psql_error("SET lock_timeout = '200ms'; ALTER TYPE state RENAME VALUE 'open' TO 'active'");
    assert!(error.contains("55P03"), "{error}");
    writer.batch_execute("COMMIT").await.unwrap();
    db.psql("ALTER TYPE state RENAME VALUE 'open' TO 'active'");
    let active = async || {
        let query = client.query::<Post>("SELECT id, body FROM t WHERE state = 'active' ORDER BY id");
        ids(&query.depends_on("t", "state", "active").fetch().await.unwrap())
    };
    assert_eq!(active().await, [1]);
    db.psql("INSERT INTO t VALUES (2, 'active', 'y')");
    client.catch_up().await.unwrap();
    assert_eq!(active().await, [1, 2]);
    client.close(SOON).await.unwrap();
}

#[tokio::test]
async fn are_loaded_again_after_a_gap_and_not_served_in_silence() {
    let cluster = cache_sync_tests::start(Default::default());
    let db = Database::with_extension_in(&cluster);
    posts(&db);
    let client = open(Client::builder(&db.dsn()).stale_while_unavailable(Duration::from_secs(60))).await;
    let before = newest(&client, 1).await;
    cluster.stop("fast").unwrap();
    let read = async || {
        let query = client.query::<Post>("SELECT id, body FROM post WHERE author = $1 ORDER BY id DESC LIMIT 2");
        query.bind(1).depends_on("post", "author", 1).read().await
    };
    let is_stale = async || {
        let read = read().await.unwrap();
        assert!(Arc::ptr_eq(&read.rows, &before));
        read.stale_for.is_some()
    };
    wait_until(Duration::from_secs(20), "the rows are marked as doubtful", is_stale).await;
    cluster.launch().unwrap();
    let is_back = async || read().await.is_ok_and(|read| read.stale_for.is_none() && !Arc::ptr_eq(&read.rows, &before));
    wait_until(Duration::from_secs(20), "it is loaded again", is_back).await;
    client.close(SOON).await.unwrap();
}

#[tokio::test]
async fn mistakes_are_told() {
    let db = Database::with_extension();
    posts(&db);
    db.psql("CREATE TABLE bare (id int PRIMARY KEY)");
    let client = client(&db).await;
    let query = || client.query::<Post>("SELECT id, body FROM post");
    let tagged = |tag: &str, value: TagValue| query().depends_on("post", tag, value);
    for (query, message) in [
        (query().assume_complete(), "a query that is said to be complete must depend on something"),
        (query().depends_on_table("bare"), "bare is not attached"),
        (query().depends_on_table("nowhere"), "\"nowhere\" does not exist"),
        (tagged("score", 1.into()), "\"score\" is no tag of the table post, which has: author"),
        (tagged("author", "ann".into()), "the tag \"author\" of the table post cannot hold Text(\"ann\")"),
        (
            client.query("SELECT id FROM post").depends_on_table("post"),
            "a row of a query does not fit its type: missing field",
        ),
        (client.query("SELECT nope").depends_on_table("post"), "column \"nope\" does not exist"),
        (query().bind(1).depends_on_table("post"), "the query takes 0 parameters, but 1 are bound"),
        (
            client.query("SELECT id, body FROM post WHERE id = $1").bind("x").depends_on_table("post"),
            "a parameter is not of the type that the query takes: error serializing parameter 0",
        ),
    ] {
        let error = query.fetch().await.unwrap_err();
        assert!(error.to_string().contains(message), "{message}: {error:?}");
    }
    // It goes on.
    assert_eq!(newest(&client, 1).await.len(), 2);
    client.close(SOON).await.unwrap();
    assert!(client.query::<Post>("SELECT 1").depends_on_table("post").fetch().await.unwrap_err().is_closed());
}

/// A future that is neither polled nor dropped, as beside a `select!` that goes round.
#[tokio::test]
async fn who_does_not_go_on_keeps_nobody_waiting() {
    let db = Database::with_extension();
    posts(&db);
    let client = client(&db).await;
    let count = || client.query::<i64>("SELECT count(*) FROM post").fetch();
    let mut stuck = std::pin::pin!(count());
    assert!(stuck.as_mut().now_or_never().is_none(), "it has begun, and no more");
    let other = tokio::time::timeout(SOON, count()).await.expect("who began keeps others waiting");
    assert_eq!(*other.unwrap(), [30]);
    assert_eq!(*stuck.await.unwrap(), [30]);
    assert_eq!(client.status().query_loads, 1);
}
