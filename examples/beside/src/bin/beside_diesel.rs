//! Beside diesel (diesel-async): one struct is diesel's row and the cache's value, and what diesel writes drops the entry as it commits.
//!
//! `table!` need not know the two columns of a versioned table: leave `cs_version` and `cs_clock` out of it (`patch_file` in diesel.toml does).

use cache_sync::{Cache, Client, Patch};
use cache_sync_examples::{Result, close, database_url, make_anew};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use schema::diesel_reader;
use serde::{Deserialize, Serialize};

// As `diesel print-schema` writes it.
mod schema {
    diesel::table! {
        diesel_reader (id) {
            id -> BigInt,
            name -> Text,
            loans -> Integer,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = diesel_reader)]
struct Reader {
    id: i64,
    name: String,
    loans: i32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    // In a service `diesel migration run`.
    make_anew(
        &dsn,
        r#"DROP TABLE IF EXISTS diesel_reader;
           CREATE TABLE diesel_reader (id bigint PRIMARY KEY, name text NOT NULL, loans int NOT NULL DEFAULT 0);
           SELECT cache_sync.attach('diesel_reader', versioned => true, rules => '{"loans": "add"}')"#,
    )
    .await?;
    let mut connection = AsyncPgConnection::establish(&dsn).await?;
    let ann = Reader { id: 1, name: "Ann".into(), loans: 0 };
    diesel::insert_into(diesel_reader::table).values(&ann).execute(&mut connection).await?;

    let client = Client::connect(&dsn).await?;
    let readers: Cache<i64, Reader> = client.cache("diesel_reader").open().await?;
    println!("from Postgres: {:?}", readers.get(&1).await?);
    let lend = diesel::update(diesel_reader::table.find(1)).set(diesel_reader::loans.eq(diesel_reader::loans + 1));
    lend.execute(&mut connection).await?;
    client.catch_up().await?;
    println!("what diesel wrote: {:?}", readers.get(&1).await?);

    readers.patch(&1, Patch::new().add("loans", 5).set("name", "Anna")).await?.written().await?;
    let anna = diesel_reader::table.find(1).select(Reader::as_select()).first(&mut connection).await?;
    println!("diesel reads: {anna:?}");
    close([client]).await
}
