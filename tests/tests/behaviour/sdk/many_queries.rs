//! An application makes up the texts of its queries: each was kept prepared on each connection, 10 kB of a backend's memory a text. And
//! results that had changed stayed in memory until others took their place.

use cache_sync::Client;
use cache_sync_tests::Database;
use cache_sync_tests::rows::{close, make_accounts, open};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Counted {
    n: i64,
}

async fn one(client: &Client, sql: &str) -> i64 {
    client.query::<Counted>(sql).depends_on_table("account").assume_complete().fetch().await.unwrap()[0].n
}

#[tokio::test]
async fn of_many_texts_the_last_ones_are_prepared_and_results_that_changed_are_let_go() {
    const TEXTS: i64 = 400;
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = open(Client::builder(&db.dsn()).pool_size(1).query_results_max(100_000)).await;
    for text in 0..TEXTS {
        assert_eq!(one(&client, &format!("SELECT count(*) + {text} AS n FROM account")).await, 1 + text);
    }
    let prepared = one(&client, "SELECT count(*) AS n FROM pg_prepared_statements").await;
    assert!((100..=200).contains(&prepared), "{prepared} statements are prepared");
    assert!(client.status().query_results > TEXTS as u64, "all are held that are good");

    db.psql("UPDATE account SET balance = 1");
    client.catch_up().await.unwrap();
    for text in 0..2 * TEXTS {
        one(&client, &format!("SELECT sum(balance)::int8 + {text} AS n FROM account")).await;
    }
    let results = client.status().query_results;
    assert!(results <= 2 * TEXTS as u64, "{results} results are held, {} are good", 2 * TEXTS);
    close(client).await;
}
