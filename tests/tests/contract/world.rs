//! The two databases, as tests see them.

use async_trait::async_trait;
use cache_sync::in_memory::{InMemory, Table};
use cache_sync::{Client, ClientBuilder};
use cache_sync_tests::Database;
use serde_json::{Value, json};

/// A database with one table, `player`, and whoever writes it by other ways than a cache.
#[async_trait]
pub(super) trait World: Send + Sync {
    fn name(&self) -> &'static str;

    /// A node of its own.
    fn client(&self) -> ClientBuilder;

    /// Another program writes by SQL.
    async fn insert(&self, row: Value);
    async fn update(&self, id: i64, changes: Value);
    async fn delete(&self, id: i64);

    /// The row.
    async fn row(&self, id: i64) -> Option<Value>;
}

/// Both of them, the tables empty.
pub(super) fn worlds() -> Vec<Box<dyn World>> {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE player (id bigint PRIMARY KEY, name text NOT NULL, gold bigint NOT NULL DEFAULT 0, best int, tags jsonb,
             email text, doc jsonb, ends_at timestamptz, CONSTRAINT not_owed CHECK (gold >= 0), CONSTRAINT one_email UNIQUE (email));
         SELECT cache_sync.attach('player', versioned => true,
             rules => '{\"gold\": \"add\", \"best\": \"max\", \"tags\": \"union\", \"doc\": {\"rule\": \"json\", \"members\": {\"n\": \"add\"}}}');
         SELECT cache_sync.set_expiry('player', 'ends_at')",
    );
    let table = Table::new("player")
        .key("id", "bigint")
        .column("name", "text")
        .not_null()
        .column("gold", "bigint")
        .not_null()
        .default(json!(0))
        .rule(json!("add"))
        .column("best", "int")
        .rule(json!("max"))
        .column("tags", "jsonb")
        .rule(json!("union"))
        .column("email", "text")
        .column("doc", "jsonb")
        .rule(json!({"rule": "json", "members": {"n": "add"}}))
        .column("ends_at", "timestamptz")
        .expires("ends_at")
        .check("not_owed", |player| player["gold"].as_i64() >= Some(0))
        .unique("one_email", &["email"]);
    let memory = Client::in_memory().table(table).start().unwrap();
    vec![Box::new(InPostgres(db)), Box::new(memory)]
}

struct InPostgres(Database<'static>);

impl InPostgres {
    fn columns(row: &Value) -> String {
        row.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(", ")
    }

    async fn run(&self, sql: &str) {
        self.0.connect().await.batch_execute(sql).await.unwrap();
    }
}

#[async_trait]
impl World for InPostgres {
    fn name(&self) -> &'static str {
        "Postgres"
    }

    fn client(&self) -> ClientBuilder {
        Client::builder(&self.0.dsn())
    }

    async fn insert(&self, row: Value) {
        let columns = InPostgres::columns(&row);
        self.run(&format!(
            "INSERT INTO player ({columns}) SELECT {columns} FROM jsonb_populate_record(NULL::player, '{row}')"
        ))
        .await;
    }

    async fn update(&self, id: i64, changes: Value) {
        let columns = InPostgres::columns(&changes);
        self.run(&format!(
            "UPDATE player p SET ({columns}) = (SELECT {columns} FROM jsonb_populate_record(p, '{changes}')) WHERE id = {id}"
        ))
        .await;
    }

    async fn delete(&self, id: i64) {
        self.run(&format!("DELETE FROM player WHERE id = {id}")).await;
    }

    async fn row(&self, id: i64) -> Option<Value> {
        let sql = "SELECT (to_jsonb(p) - 'cs_version' - 'cs_clock')::text FROM player p WHERE id = $1 \
                   AND (ends_at IS NULL OR ends_at > now())";
        let row = self.0.connect().await.query_opt(sql, &[&id]).await.unwrap();
        row.map(|row| serde_json::from_str(row.get(0)).unwrap())
    }
}

#[async_trait]
impl World for InMemory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn client(&self) -> ClientBuilder {
        InMemory::client(self)
    }

    async fn insert(&self, row: Value) {
        InMemory::insert(self, "player", row).unwrap();
    }

    async fn update(&self, id: i64, changes: Value) {
        assert!(InMemory::update(self, "player", json!({"id": id}), changes).unwrap());
    }

    async fn delete(&self, id: i64) {
        assert!(InMemory::delete(self, "player", json!({"id": id})).unwrap());
    }

    async fn row(&self, id: i64) -> Option<Value> {
        InMemory::row(self, "player", json!({"id": id})).unwrap()
    }
}
