//! A backend keeps what it has compiled for a shape. Whoever writes ever other sets of columns, or to ever other tables, had a backend of
//! 84 MB for each table, and for each pooled connection.

use cache_sync_tests::Database;
use tokio_postgres::Client;

const MEGABYTE: i64 = 1 << 20;

/// What this backend has allocated.
async fn memory(client: &Client) -> i64 {
    let sum = "SELECT sum(total_bytes)::int8 FROM pg_backend_memory_contexts";
    client.query_one(sum, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_backend_keeps_those_that_it_used_last() {
    let db = Database::with_extension();
    let columns: Vec<String> = (0..60).map(|column| format!("c{column} text")).collect();
    db.psql(&format!(
        "CREATE TABLE wide (id int PRIMARY KEY, {}); SELECT cache_sync.attach('wide', versioned => true)",
        columns.join(", ")
    ));
    let client = db.connect().await;
    let write = async |shape: usize| {
        let is_written = |column: &usize| column % 7 != shape % 7 && *column != shape / 7;
        let fields: Vec<String> = (0..60).filter(is_written).map(|column| format!("c{column}")).collect();
        let patch = format!(
            "jsonb_object('{{{}}}', array_fill('x'::text, ARRAY[{}])) || '{{\"id\": {shape}}}'",
            fields.join(","),
            fields.len()
        );
        let call = format!("SELECT outcome FROM cache_sync.upsert('wide', {patch})");
        assert_eq!(client.query_one(&call, &[]).await.unwrap().get::<_, String>(0), "applied");
    };
    write(0).await;
    let before = memory(&client).await;
    for shape in 1..150 {
        write(shape).await;
    }
    let grown = memory(&client).await - before;
    assert!(grown < 30 * MEGABYTE, "{} MB for 150 shapes", grown / MEGABYTE);
    assert!(grown > MEGABYTE, "nothing is kept");
}

#[tokio::test]
async fn a_backend_keeps_the_tables_that_it_wrote_last() {
    let db = Database::with_extension();
    db.psql(
        "DO $$ BEGIN FOR n IN 1..90 LOOP
             EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, a text, b text); SELECT cache_sync.attach(''t%s'', versioned => true)', n, n);
         END LOOP; END $$",
    );
    let client = db.connect().await;
    let kept = async |tables: std::ops::RangeInclusive<i32>| {
        for table in tables {
            let call = format!(r#"SELECT outcome FROM cache_sync.upsert('t{table}', '{{"id": 1, "a": "x"}}')"#);
            client.query_one(&call, &[]).await.unwrap();
        }
        let plans = "SELECT count(*) FROM pg_backend_memory_contexts WHERE name IN ('CachedPlan', 'CachedPlanSource')";
        client.query_one(plans, &[]).await.unwrap().get::<_, i64>(0)
    };
    let (some, all) = (kept(1..=70).await, kept(71..=90).await);
    assert!(some > 64 && all <= some + 10, "{some} plans after 70 tables, {all} after 90");
}
