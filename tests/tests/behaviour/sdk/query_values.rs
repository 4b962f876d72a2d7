//! What a query's rows and parameters may be.

use cache_sync::{Client, Float};
use cache_sync_tests::Database;
use cache_sync_tests::rows::client;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// How fast something is.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Pace {
    Slow,
    Fast,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(transparent)]
struct Points(i64);

async fn game() -> (Database<'static>, Client) {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE player (id bigint PRIMARY KEY, name text, score float8 NOT NULL, badges int[] NOT NULL, pace text);
         SELECT cache_sync.attach('player');
         INSERT INTO player VALUES (1, 'Ann', 0.5, '{1,2}', 'fast'), (2, NULL, 1.5, '{}', 'slow')",
    );
    let client = client(&db).await;
    (db, client)
}

async fn refused<T: DeserializeOwned + Send + Sync + std::fmt::Debug + 'static>(client: &Client, sql: &str) -> String {
    let error = client.query::<T>(sql).fetch().await.unwrap_err();
    format!("{error}: {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default())
}

async fn asked<T: DeserializeOwned + Clone + Send + Sync + 'static>(client: &Client, sql: &str) -> Vec<T> {
    client.query::<T>(sql).fetch().await.unwrap().to_vec()
}

#[tokio::test]
async fn rows_of_one_column_are_values() {
    let (_db, client) = game().await;
    assert_eq!(asked::<i64>(&client, "SELECT count(*) FROM player").await, [2]);
    assert_eq!(asked::<i32>(&client, "SELECT id FROM player ORDER BY id").await, [1, 2]);
    assert_eq!(asked::<f64>(&client, "SELECT score FROM player ORDER BY id").await, [0.5, 1.5]);
    assert_eq!(asked::<bool>(&client, "SELECT score > 1 FROM player ORDER BY id").await, [false, true]);
    let names = asked::<Option<String>>(&client, "SELECT name FROM player ORDER BY id").await;
    assert_eq!(names, [Some("Ann".to_owned()), None]);
    let badges = asked::<Vec<i32>>(&client, "SELECT badges FROM player ORDER BY id").await;
    assert_eq!(badges, [vec![1, 2], vec![]]);
    let paces = client.query::<Pace>("SELECT pace FROM player ORDER BY id").fetch().await.unwrap();
    assert_eq!(*paces, [Pace::Fast, Pace::Slow]);
    let points = client.query::<Points>("SELECT id FROM player ORDER BY id").fetch().await.unwrap();
    assert_eq!(*points, [Points(1), Points(2)]);
    assert!(asked::<i64>(&client, "SELECT id FROM player WHERE id > 2").await.is_empty());
}

#[tokio::test]
async fn rows_of_several_are_tuples() {
    let (_db, client) = game().await;
    let rows = asked::<(i64, Option<String>)>(&client, "SELECT id, name FROM player ORDER BY id").await;
    assert_eq!(rows, [(1, Some("Ann".to_owned())), (2, None)]);
}

#[tokio::test]
async fn what_does_not_fit_is_an_error_that_says_why() {
    let (_db, client) = game().await;
    for (error, said) in [
        (refused::<i64>(&client, "SELECT id, score FROM player").await, "rows of one column"),
        (refused::<i64>(&client, "SELECT name FROM player ORDER BY id").await, "column \"name\" (text): invalid type"),
        (refused::<i64>(&client, "SELECT NULL::bigint FROM player").await, "invalid type"),
        (
            refused::<(i64,)>(&client, "SELECT id, score FROM player").await,
            "a row of 2 columns is no tuple of 1 values",
        ),
    ] {
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn numbers_with_a_point_are_bound() {
    let (_db, client) = game().await;
    let above = |score: f64| client.query::<i64>("SELECT id FROM player WHERE score > $1").bind(Float(score));
    assert_eq!(*above(1.0).fetch().await.unwrap(), [2]);
    assert_eq!(*above(0.25).read().await.unwrap().rows, [1, 2]);
    let (hits, loads) = (client.status().query_hits, client.status().query_loads);
    assert_eq!(*above(1.0).fetch().await.unwrap(), [2]);
    assert_eq!((client.status().query_hits - hits, client.status().query_loads - loads), (1, 0));
}

/// A handle asks the same question as whoever writes it anew.
#[tokio::test]
async fn a_prepared_query_has_the_same_results() {
    let (db, client) = game().await;
    let sql = "SELECT name FROM player WHERE id = $1 AND score < $2";
    let prepared = client.prepare_query::<Option<String>>(sql);
    assert_eq!(*prepared.fetch((1_i64, Float(1.0))).await.unwrap(), [Some("Ann".to_owned())]);
    let (hits, loads) = (client.status().query_hits, client.status().query_loads);
    let anew = client.query::<Option<String>>(sql).bind(1_i64).bind(Float(1.0)).fetch().await.unwrap();
    assert_eq!(*anew, [Some("Ann".to_owned())]);
    assert_eq!(*prepared.clone().fetch((1_i64, Float(1.0))).await.unwrap(), *anew);
    assert_eq!((client.status().query_hits - hits, client.status().query_loads - loads), (2, 0));

    db.psql("UPDATE player SET name = 'Zoe' WHERE id = 1");
    client.catch_up().await.unwrap();
    assert_eq!(*prepared.fetch((1_i64, Float(1.0))).await.unwrap(), [Some("Zoe".to_owned())]);
    assert_eq!(prepared.fetch((2_i64, Float(1.0))).await.unwrap().len(), 0);
    assert_eq!(client.prepare_query::<i64>("SELECT count(*) FROM player").fetch(()).await.unwrap()[0], 2);
    assert_eq!(prepared.explain().await.unwrap().depends_on, ["public.player where its key is $1"]);
}

/// Dates and times are parameters by the features of their crates alone.
#[tokio::test]
async fn times_of_each_crate_are_parameters() {
    let (db, client) = game().await;
    db.psql("ALTER TABLE player ADD seen timestamptz; UPDATE player SET seen = '2020-02-02 02:02:02Z' WHERE id = 1");
    let seen_since = || client.query::<i64>("SELECT id FROM player WHERE seen >= $1");
    let seconds = 1_580_608_922;
    let (chrono, time) = (
        chrono::DateTime::from_timestamp(seconds, 0).unwrap(),
        time::OffsetDateTime::from_unix_timestamp(seconds).unwrap(),
    );
    let jiff = jiff::Timestamp::from_second(seconds).unwrap();
    for query in [seen_since().bind(chrono), seen_since().bind(time), seen_since().bind(jiff)] {
        assert_eq!(query.fetch().await.unwrap().as_slice(), [1]);
    }
    client.close(std::time::Duration::from_secs(5)).await.unwrap();
}
