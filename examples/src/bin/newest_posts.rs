//! A cached query: the newest posts of a user. It is dropped when one of that user's posts changes, and by nothing else.

use cache_sync::Client;
use cache_sync_examples::{Result, close, database_url, make_anew};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
struct Post {
    id: i64,
    body: String,
}

async fn newest(client: &Client, author: i32) -> Result<Arc<Vec<Post>>> {
    let query = client.query("SELECT id, body FROM post WHERE author = $1 ORDER BY id DESC LIMIT 20");
    Ok(query.bind(author).fetch().await?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    // `author` is a tag: the feed tells which authors' posts have changed, and the server sees that the query compares it.
    let sql = make_anew(
        &dsn,
        "DROP TABLE IF EXISTS post;
         CREATE TABLE post (id bigint PRIMARY KEY, author int NOT NULL, body text NOT NULL);
         INSERT INTO post SELECT n, n % 10, 'post ' || n FROM generate_series(1, 1000) n;
         SELECT cache_sync.attach('post', tags => '{author}')",
    )
    .await?;

    let client = Client::connect(&dsn).await?;
    let (ann, bob) = (newest(&client, 1).await?, newest(&client, 2).await?);
    println!("Ann's newest of {}: {:?}", ann.len(), ann[0]);

    // Somebody else writes, without knowing of caches.
    sql.batch_execute("INSERT INTO post VALUES (2001, 1, 'hello')").await?;
    client.catch_up().await?;
    let now = newest(&client, 1).await?;
    println!("Ann's newest now: {:?}", now[0]);
    assert_eq!((now[0].id, now[0].body.as_str()), (2001, "hello"));
    assert!(Arc::ptr_eq(&bob, &newest(&client, 2).await?), "Bob's are still those from memory");

    close([client]).await
}
