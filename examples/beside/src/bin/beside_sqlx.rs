//! Beside sqlx: its migrations make the table and attach it, its pool does everything else, and what it writes drops the entry as it commits.
//!
//! A transaction over several tables is sqlx's. The cache shows nothing of it before it commits, and then all that concerns it.

use cache_sync::{Cache, Client, Patch};
use cache_sync_examples::{Result, close, database_url};
use serde::{Deserialize, Serialize};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPool;
use std::path::Path;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reader {
    name: String,
    loans: i32,
}

async fn lend(pool: &PgPool, readers: &Cache<i64, Reader>, reader: i64, book: &str) -> Result<()> {
    let mut transaction = pool.begin().await?;
    sqlx::query("INSERT INTO loan (reader, book) VALUES ($1, $2)")
        .bind(reader)
        .bind(book)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("UPDATE reader SET loans = loans + 1 WHERE id = $1").bind(reader).execute(&mut *transaction).await?;
    println!("before the commit: {:?}", readers.get(&reader).await?.map(|reader| reader.loans));
    transaction.commit().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    let pool = PgPool::connect(&dsn).await?;
    // In a service `sqlx::migrate!()`, which takes the files into the program.
    Migrator::new(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))).await?.run(&pool).await?;
    // The migrations of a program that runs again have nothing to do, and its reader is there, with his loans.
    let ann = "INSERT INTO reader (id, name) VALUES (1, 'Ann') ON CONFLICT (id) DO UPDATE SET name = 'Ann', loans = 0";
    sqlx::query(ann).execute(&pool).await?;

    let client = Client::connect(&dsn).await?;
    let readers: Cache<i64, Reader> = client.cache("reader").open().await?;
    println!("from Postgres: {:?}", readers.get(&1).await?.map(|reader| reader.loans));
    lend(&pool, &readers, 1, "Emma").await?;
    // Waits for what is on its way already; without it the entry would be dropped a moment later.
    client.catch_up().await?;
    println!("after the commit: {:?}", readers.get(&1).await?.map(|reader| reader.loans));

    // And the other way round: what the cache has written sqlx reads, once it is written.
    readers.patch(&1, Patch::new().add("loans", 5).set("name", "Anna")).await?.written().await?;
    let row: (String, i32) =
        sqlx::query_as("SELECT name, loans FROM reader WHERE id = $1").bind(1_i64).fetch_one(&pool).await?;
    println!("sqlx reads: {row:?}");
    close([client]).await
}
