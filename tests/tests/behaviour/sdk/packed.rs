//! A member is kept packed in a `bytea` column: it takes less room there, and what is no packed value is an error of its row alone.

use cache_sync::{Cache, Packed};
use cache_sync_tests::Database;
use cache_sync_tests::rows::{client, close};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Level {
    title: String,
    tiles: Packed<Vec<Vec<u16>>>,
    more: Option<Packed<BTreeMap<String, f64>>>,
}

/// The cause of the error that a read of this row brings.
async fn error(cache: &Cache<i32, Level>, id: i32) -> String {
    let error = cache.get(&id).await.unwrap_err();
    std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
}

#[tokio::test]
async fn what_is_written_is_read() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE level (id int PRIMARY KEY, title text NOT NULL, tiles bytea NOT NULL, more bytea);
         SELECT cache_sync.attach('level', true)",
    );
    let client = client(&db).await;
    let cache: Cache<i32, Level> = client.cache("level").open().await.unwrap();
    let tiles: Vec<Vec<u16>> = (0..100).map(|row| (0..100).map(|column| row * column % 7).collect()).collect();
    let level = Level { title: "first".into(), tiles: Packed(tiles), more: None };
    assert!(cache.put(1, level.clone()).await.unwrap().written().await.unwrap().is_written());
    cache.invalidate(&1);
    assert_eq!(*cache.get(&1).await.unwrap().unwrap(), level);
    assert_eq!(db.psql("SELECT substr(tiles, 1, 1), octet_length(tiles) < 2000, more IS NULL FROM level"), "\\x11|t|t");

    // Only what has changed is sent, all of it.
    let unchanged = cache.update(&1, |level| level.tiles[0][0] = 0).await.unwrap().written().await.unwrap();
    assert_eq!(unchanged.verdict, Some(cache_sync::Verdict::Unchanged));
    let more = BTreeMap::from([("ü".to_owned(), 0.5)]);
    let receipt = cache.update(&1, |level| level.more = Some(more.clone().into())).await.unwrap();
    assert!(receipt.written().await.unwrap().is_written());
    db.psql("UPDATE level SET title = 'by SQL'");
    client.catch_up().await.unwrap();
    let read = cache.get(&1).await.unwrap().unwrap();
    assert_eq!((read.title.as_str(), &read.tiles, &read.more), ("by SQL", &level.tiles, &Some(Packed(more))));
    close(client).await;
}

/// A bomb, bytes of somebody else, and those of a version to come.
#[tokio::test]
async fn what_is_no_packed_value_says_so() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE level (id int PRIMARY KEY, title text NOT NULL, tiles bytea NOT NULL, more bytea);
         INSERT INTO level VALUES (1, '', ''), (2, '', '\\x20'), (3, '', '\\x109301'), (4, '', '\\x1128b52ffd00a8010000');
         SELECT cache_sync.attach('level'); CREATE TABLE text (id int PRIMARY KEY, title text, tiles text, more bytea);
         SELECT cache_sync.attach('text')",
    );
    let client = client(&db).await;
    let cache: Cache<i32, Level> = client.cache("level").open().await.unwrap();
    for (id, said) in
        [(1, "there are none"), (2, "the first one is 0x20"), (3, "does not fit"), (4, "cannot be decompressed")]
    {
        let error = error(&cache, id).await;
        assert!(error.contains("column \"tiles\" (bytea)") && error.contains(said), "{error}");
    }
    let refused = client.cache::<i32, Level>("text").open().await.expect_err("a text").to_string();
    assert!(refused.contains("expected a packed value, which is bytes"), "{refused}");
    close(client).await;
}
