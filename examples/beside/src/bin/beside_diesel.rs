//! Beside diesel (diesel-async): one struct is diesel's row and the cache's value, and what diesel writes drops the entry as it commits.
//!
//! `table!` need not know the two columns of a versioned table: leave `cs_version` and `cs_clock` out of it (`patch_file` in diesel.toml does).

use cache_sync::{Cache, Client, Patch};
use cache_sync_examples::{Result, database_url, make_once, plain_sql};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use schema::reader;
use serde::{Deserialize, Serialize};
use std::time::Duration;

// As `diesel print-schema` writes it.
mod schema {
    diesel::table! {
        reader (id) {
            id -> BigInt,
            name -> Text,
            loans -> Integer,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = reader)]
struct Reader {
    id: i64,
    name: String,
    loans: i32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    // In a service `diesel migration run`.
    make_once(&plain_sql(&dsn).await?, "reader", include_str!("../../migrations/1_reader.sql")).await?;
    let mut connection = AsyncPgConnection::establish(&dsn).await?;
    let ann = Reader { id: 1, name: "Ann".into(), loans: 0 };
    diesel::insert_into(reader::table).values(&ann).on_conflict_do_nothing().execute(&mut connection).await?;

    let client = Client::connect(&dsn).await?;
    let readers: Cache<i64, Reader> = client.cache("reader").open().await?;
    println!("from Postgres: {:?}", readers.get(&1).await?);
    let lend = diesel::update(reader::table.find(1)).set(reader::loans.eq(reader::loans + 1));
    lend.execute(&mut connection).await?;
    client.catch_up().await?;
    println!("what diesel wrote: {:?}", readers.get(&1).await?);

    readers.patch(&1, Patch::new().add("loans", 5).set("name", "Anna")).await?.written().await?;
    let anna = reader::table.find(1).select(Reader::as_select()).first(&mut connection).await?;
    println!("diesel reads: {anna:?}");
    client.close(Duration::from_secs(5)).await?;
    Ok(())
}
