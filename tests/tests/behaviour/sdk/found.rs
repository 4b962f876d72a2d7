//! What a cached query depends on is found by the server: nobody has to say it, and nobody can forget it.

use cache_sync::{Client, Query};
use cache_sync_tests::Database;
use cache_sync_tests::rows::client;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

#[derive(Debug, PartialEq, Deserialize)]
struct Found {
    n: i64,
}

fn tables(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE author (id int PRIMARY KEY, name text, country text);
         SELECT cache_sync.attach('author', tags => '{country}');
         CREATE TABLE post (id bigint PRIMARY KEY, author int, topic text, score int NOT NULL DEFAULT 1);
         SELECT cache_sync.attach('post', tags => '{author,topic}');
         CREATE TABLE unattached (id int PRIMARY KEY);
         CREATE VIEW seen AS SELECT * FROM post WHERE topic = 'sql';
         CREATE VIEW over_seen AS SELECT * FROM seen;
         CREATE FUNCTION looks() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM public.post';
         INSERT INTO author SELECT n, 'author ' || n, 'c' || n % 2 FROM generate_series(1, 5) n;
         INSERT INTO post SELECT n, n % 5, CASE n % 2 WHEN 0 THEN 'sql' ELSE 'rust' END FROM generate_series(1, 20) n",
    );
}

async fn fetch(query: Query<Found>) -> Arc<Vec<Found>> {
    query.fetch().await.unwrap()
}

/// Whether a statement makes the query be loaded again.
async fn is_dropped(db: &Database<'_>, client: &Client, query: impl Fn() -> Query<Found>, statement: &str) -> bool {
    let before = fetch(query()).await;
    assert!(Arc::ptr_eq(&before, &fetch(query()).await), "it is not held");
    db.psql(statement);
    client.catch_up().await.unwrap();
    let after = fetch(query()).await;
    !Arc::ptr_eq(&before, &after)
}

#[tokio::test]
async fn by_whatever_pins_its_rows() {
    let db = Database::with_extension();
    tables(&db);
    let client = client(&db).await;
    let sql = |sql: &str| client.query::<Found>(sql);
    let of_author = || sql("SELECT count(*) AS n FROM post WHERE author = $1").bind(1);
    assert!(is_dropped(&db, &client, of_author, "UPDATE post SET score = 2 WHERE id = 1").await);
    assert!(!is_dropped(&db, &client, of_author, "UPDATE post SET score = 2 WHERE id = 2").await);
    let by_text = || sql("SELECT count(*) AS n FROM post WHERE topic = $1").bind("sql".to_owned());
    assert!(is_dropped(&db, &client, by_text, "UPDATE post SET score = 3 WHERE id = 2").await);
    assert!(!is_dropped(&db, &client, by_text, "UPDATE post SET score = 3 WHERE id = 1").await);
    let of_some = || sql("SELECT count(*) AS n FROM post WHERE author = ANY($1)").bind(vec![1, 2]);
    assert!(is_dropped(&db, &client, of_some, "UPDATE post SET score = 4 WHERE id = 2").await);
    assert!(!is_dropped(&db, &client, of_some, "UPDATE post SET score = 4 WHERE id = 3").await);
    let constant = || sql("SELECT count(*) AS n FROM post WHERE author = 4");
    assert!(is_dropped(&db, &client, constant, "DELETE FROM post WHERE id = 4").await);
    assert!(!is_dropped(&db, &client, constant, "DELETE FROM post WHERE id = 5").await);
    let by_key = || sql("SELECT score::bigint AS n FROM post WHERE id = $1").bind(7_i64);
    assert!(is_dropped(&db, &client, by_key, "UPDATE post SET score = 9 WHERE id = 7").await);
    assert_eq!(*fetch(by_key()).await, [Found { n: 9 }]);
    assert!(!is_dropped(&db, &client, by_key, "UPDATE post SET score = 9 WHERE id = 8").await);
    assert!(is_dropped(&db, &client, by_key, "DELETE FROM post WHERE id = 7").await);
    assert!(is_dropped(&db, &client, by_key, "INSERT INTO post VALUES (7)").await);
    let joined = || sql("SELECT count(*) AS n FROM post p JOIN author a ON a.id = p.author WHERE a.id = $1").bind(3);
    assert!(is_dropped(&db, &client, joined, "UPDATE author SET name = 'x' WHERE id = 3").await);
    assert!(is_dropped(&db, &client, joined, "INSERT INTO post VALUES (100, 3)").await);
    assert!(!is_dropped(&db, &client, joined, "UPDATE author SET name = 'x' WHERE id = 2").await);
    assert!(!is_dropped(&db, &client, joined, "INSERT INTO post VALUES (101, 4)").await);
    let all = || sql("SELECT count(*) AS n FROM over_seen");
    assert!(is_dropped(&db, &client, all, "INSERT INTO post VALUES (102, 1, 'sql')").await);
    assert!(!is_dropped(&db, &client, all, "INSERT INTO post VALUES (103, 1, 'rust')").await);
    // Other tags have other hashes.
    db.psql("SELECT cache_sync.set_tags('post', '{score,author}')");
    client.catch_up().await.unwrap();
    assert!(is_dropped(&db, &client, of_author, "UPDATE post SET score = 5 WHERE id = 1").await);
    assert!(!is_dropped(&db, &client, of_author, "UPDATE post SET score = 5 WHERE id = 3").await);
    client.close(SOON).await.unwrap();
}

#[tokio::test]
async fn again_when_a_view_or_a_policy_is_another_one() {
    let db = Database::with_extension();
    tables(&db);
    db.psql("ALTER TABLE author ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON author USING (true)");
    let client = client(&db).await;
    let seen = || client.query::<Found>("SELECT count(*) AS n FROM over_seen");
    for (statement, n) in [
        ("CREATE OR REPLACE VIEW seen AS SELECT id, author, topic, 1 AS score FROM post WHERE topic = 'rust'", 10),
        ("CREATE OR REPLACE VIEW seen AS SELECT id::bigint, id AS author, name AS topic, 1 AS score FROM author", 5),
        ("INSERT INTO author VALUES (6)", 6),
        ("DROP VIEW over_seen; CREATE VIEW over_seen AS SELECT * FROM post WHERE id < 4", 3),
        ("ALTER VIEW over_seen RENAME TO over_seen_before; CREATE VIEW over_seen AS SELECT FROM post WHERE id = 1", 1),
    ] {
        assert!(is_dropped(&db, &client, seen, statement).await, "{statement}");
        assert_eq!(fetch(seen()).await[0].n, n, "{statement}");
    }
    let authors = || client.query::<Found>("SELECT count(*) AS n FROM author WHERE id = 1");
    for statement in [
        "CREATE POLICY q ON author USING (id = 2)",
        "ALTER POLICY q ON author USING (id IN (SELECT author FROM public.post))",
        "DROP POLICY q ON author",
    ] {
        assert!(is_dropped(&db, &client, authors, statement).await, "{statement}");
    }
    // A new one drops nothing.
    assert!(!is_dropped(&db, &client, authors, "CREATE VIEW another AS SELECT * FROM author").await);
    client.close(SOON).await.unwrap();
}

#[tokio::test]
async fn or_the_query_is_refused() {
    let db = Database::with_extension();
    tables(&db);
    let client = client(&db).await;
    let sql = |sql: &str| client.query::<Found>(sql);
    for (query, message) in [
        (sql("SELECT count(*) AS n FROM post WHERE now() > '2020-01-01'"), "bind the time as a parameter"),
        (sql("SELECT looks() AS n"), "looks(), which is stable"),
        (sql("SELECT (random() * 9)::bigint AS n"), "random(), which is volatile"),
        (sql("SELECT count(*) AS n FROM unattached"), "the table public.unattached (it is not attached"),
        (sql("SELECT count(*) AS n FROM post, unattached").depends_on_table("post"), "the table public.unattached"),
        (
            sql("SELECT count(*) AS n FROM post JOIN author USING (id)").depends_on_table("post"),
            "the query reads public.author, and is not said to depend on it",
        ),
        (sql("SELECT count(*) AS n FROM over_seen").depends_on_table("author"), "the query reads public.post"),
    ] {
        let error = query.fetch().await.unwrap_err();
        assert!(error.to_string().contains(message), "{message}: {error}");
        assert!(!error.is_unavailable());
    }
    // Who answers for it may have it.
    let looked = sql("SELECT looks() AS n").depends_on_table("post").assume_complete();
    assert_eq!(fetch(looked).await[0].n, 20);
    // By whatever name.
    fetch(sql("SELECT count(*) AS n FROM post p, author a").depends_on_table("public.post").depends_on_table("author"))
        .await;
    assert_eq!(fetch(sql("SELECT 1::bigint AS n")).await[0].n, 1);
    client.close(SOON).await.unwrap();
}

#[tokio::test]
async fn and_is_shown() {
    let db = Database::with_extension();
    tables(&db);
    let client = client(&db).await;
    let query = client.query::<Found>(
        "SELECT count(*) AS n FROM post p JOIN author a ON a.id = p.author WHERE p.author = $1 AND a.country <> looks()::text",
    );
    let reads = query.explain().await.unwrap();
    assert_eq!(reads.depends_on, ["public.post where author is $1", "public.author where its key is $1"]);
    assert!(reads.refused[0].starts_with("looks(), which is stable"), "{reads:?}");
    let error = client.query::<Found>("SELECT nope FROM post").explain().await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("42703"));
    client.close(SOON).await.unwrap();
}
