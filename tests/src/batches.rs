//! Batches as the SDK sends them, put together by hand.

// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

use cache_sync_core::outcome::{self, Record};
use serde_json::Value;
use tokio_postgres::{Client, Error};

use crate::{Database, connect};

/// A session with a table, on a connection of its own.
pub struct Batches {
    client: Client,
    table: String,
    session: String,
    fence: i64,
    last_seq: i64,
}

impl Batches {
    /// Opens a session.
    pub async fn open(db: &Database<'_>, table: &str) -> Batches {
        Batches::open_as(&db.dsn(), table).await
    }

    /// Opens a session over a connection of its own to `dsn`.
    pub async fn open_as(dsn: &str, table: &str) -> Batches {
        let client = connect(dsn).await;
        let row = client.query_one("SELECT gen_random_uuid()::text", &[]).await.unwrap();
        let mut batches = Batches { client, table: table.into(), session: row.get(0), fence: 0, last_seq: 0 };
        batches.open_again().await;
        batches
    }

    /// Opens the session once more, which makes the fence of before worthless, and hands that back.
    pub async fn open_again(&mut self) -> i64 {
        let open = "SELECT fence, last_seq FROM cache_sync.open_session($1::text::regclass, $2::text::uuid)";
        let row = self.client.query_one(open, &[&self.table, &self.session]).await.unwrap();
        self.last_seq = row.get(1);
        std::mem::replace(&mut self.fence, row.get(0))
    }

    /// From now on the table is called otherwise.
    pub fn rename(&mut self, table: &str) {
        self.table = table.into();
    }

    /// The number of the last batch.
    pub fn last_seq(&self) -> i64 {
        self.last_seq
    }

    /// The connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends the next batch.
    ///
    /// # Errors
    /// Postgres refuses the batch as a whole.
    pub async fn send(&mut self, shapes: Value, rows: &[Value]) -> Result<Vec<Record>, Error> {
        let records = self.send_as(self.fence, self.last_seq + 1, shapes, rows).await?;
        self.last_seq += 1;
        Ok(records)
    }

    /// Sends a batch under another fence or number than is its turn.
    ///
    /// # Errors
    /// Postgres refuses the batch as a whole.
    pub async fn send_as(&self, fence: i64, seq: i64, shapes: Value, rows: &[Value]) -> Result<Vec<Record>, Error> {
        let rows: Vec<_> = rows.iter().map(Value::to_string).collect();
        self.send_texts(fence, seq, &shapes.to_string(), &rows).await
    }

    /// Sends a batch in a text of one's own.
    ///
    /// # Errors
    /// Postgres refuses the batch as a whole.
    async fn send_texts(&self, fence: i64, seq: i64, shapes: &str, rows: &[String]) -> Result<Vec<Record>, Error> {
        let apply = "SELECT last_seq, outcomes FROM cache_sync.apply($1::text::regclass, $2::text::uuid, $3, $4,
            $5::text::jsonb, $6::text[])";
        let row = self.client.query_one(apply, &[&self.table, &self.session, &fence, &seq, &shapes, &rows]).await?;
        assert_eq!(row.get::<_, i64>(0), seq);
        Ok(outcome::unpack(row.get(1)).unwrap())
    }

    /// Sends the next batch, of one shape, in a text of one's own, and hands back the verdicts.
    ///
    /// # Errors
    /// Postgres refuses the batch as a whole.
    pub async fn verdicts_of_text(&mut self, shape: Value, rows: &str) -> Result<Vec<String>, Error> {
        let shapes = Value::from(vec![shape]).to_string();
        let records = self.send_texts(self.fence, self.last_seq + 1, &shapes, &[rows.to_owned()]).await?;
        self.last_seq += 1;
        Ok(records.iter().map(verdict).collect())
    }

    /// Sends the next batch and hands back the verdicts, by place; rejected ones with their SQLSTATE.
    pub async fn verdicts(&mut self, shapes: Value, rows: &[Value]) -> Vec<String> {
        self.send(shapes, rows).await.unwrap().iter().map(verdict).collect()
    }

    /// Sends the next batch, which must be refused as a whole, and hands back the SQLSTATE.
    pub async fn refusal(&mut self, shapes: Value, rows: &[Value]) -> String {
        sqlstate(self.send(shapes, rows).await)
    }

    /// A stamp: the server's clock as of now.
    pub async fn now(&self) -> i64 {
        self.client.query_one("SELECT cache_sync.hlc()", &[]).await.unwrap().get(0)
    }
}

/// A record's verdict, with the SQLSTATE if there is one.
pub fn verdict(record: &Record) -> String {
    let word = record.verdict.as_str();
    record.sqlstate.map_or(word.into(), |code| format!("{word} {}", String::from_utf8_lossy(&code)))
}

/// The SQLSTATE of what must have failed.
pub fn sqlstate<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let error = result.unwrap_err();
    error.code().unwrap_or_else(|| panic!("{error}")).code().to_owned()
}
