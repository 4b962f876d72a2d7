//! Beside SeaORM: the entity's model is the cache's value, and what SeaORM writes drops the entry as it commits.
//!
//! An entity need not know the two columns of a versioned table: leave `cs_version` and `cs_clock` out of the model.

use cache_sync::{Cache, Client, Patch};
use cache_sync_examples::{Result, close, database_url, make_anew};
use sea_orm::{ActiveModelTrait, Database, EntityTrait, Set, TransactionTrait};

mod reader {
    use sea_orm::entity::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DeriveEntityModel)]
    #[sea_orm(table_name = "sea_orm_reader")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) id: i64,
        pub(crate) name: String,
        pub(crate) loans: i32,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    // In a service `sea-orm-cli migrate`.
    make_anew(
        &dsn,
        r#"DROP TABLE IF EXISTS sea_orm_reader;
           CREATE TABLE sea_orm_reader (id bigint PRIMARY KEY, name text NOT NULL, loans int NOT NULL DEFAULT 0);
           SELECT cache_sync.attach('sea_orm_reader', versioned => true, rules => '{"loans": "add"}')"#,
    )
    .await?;
    let database = Database::connect(&dsn).await?;
    reader::ActiveModel { id: Set(1), name: Set("Ann".into()), loans: Set(0) }.insert(&database).await?;

    let client = Client::connect(&dsn).await?;
    let readers: Cache<i64, reader::Model> = client.cache("sea_orm_reader").open().await?;
    println!("from Postgres: {:?}", readers.get(&1).await?);
    let transaction = database.begin().await?;
    reader::ActiveModel { id: Set(1), loans: Set(1), ..Default::default() }.update(&transaction).await?;
    transaction.commit().await?;
    client.catch_up().await?;
    println!("what SeaORM wrote: {:?}", readers.get(&1).await?);

    readers.patch(&1, Patch::new().add("loans", 5).set("name", "Anna")).await?.written().await?;
    let anna = reader::Entity::find_by_id(1).one(&database).await?;
    println!("SeaORM reads: {anna:?}");
    close([client]).await
}
