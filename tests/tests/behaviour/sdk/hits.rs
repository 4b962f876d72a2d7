//! A hit sends no statement: neither our counters nor Postgres know of one.

use cache_sync_tests::rows::{close, node_with};

const HITS: u64 = 10_000;

/// When each connection of the pool and the flusher last began a statement or ended one.
const ACTIVITY: &str = "SELECT string_agg(concat_ws(' ', pid, query_start, state_change), ',' ORDER BY pid)
    FROM pg_stat_activity
    WHERE datname = current_database() AND application_name SIMILAR TO 'cache_sync (pool|flusher)'";

#[tokio::test]
async fn sends_no_statement() {
    let (db, client, cache) = node_with(10).await;
    let keys: Vec<i64> = (1..=10).collect();
    cache.get_many(&keys).await.unwrap();
    let (before, activity) = (cache.status(), db.psql(ACTIVITY));
    assert_ne!(activity, "");
    for hit in 0..HITS {
        assert!(cache.get(&keys[hit as usize % keys.len()]).await.unwrap().is_some());
    }
    let after = cache.status();
    assert_eq!(after.hits - before.hits, HITS);
    assert_eq!((after.misses, after.load_statements), (before.misses, before.load_statements));
    assert_eq!(db.psql(ACTIVITY), activity);
    close(client).await;
}
