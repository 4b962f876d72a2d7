//! A document kept packed, against the same one as jsonb: the bytes that its table has, and the time that loading it takes.

use crate::measure::Rounds;
use crate::report::{Figure, Report, Target};
use cache_sync::{Cache, CacheValue, Client, Packed};
use cache_sync_kit::{Result, connect};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

const ROWS: i64 = 2000;
/// Keys that are loaded at a time.
const AT_A_TIME: usize = 100;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    name: String,
    amount: u32,
    price: f64,
    tags: Vec<String>,
    note: Option<String>,
}

/// An order with so many entries, of which no two are alike.
fn order(number: i64, entries: i64) -> Vec<Entry> {
    let entry = |place: i64| {
        let dice = (number * 1_000 + place).wrapping_mul(6_364_136_223_846_793_005).unsigned_abs() >> 33;
        Entry {
            name: format!("article {}", dice % 9973),
            amount: (dice % 17) as u32,
            price: (dice % 100_000) as f64 / 100.0,
            tags: (0..dice % 4).map(|tag| format!("tag {}", (dice >> tag) % 50)).collect(),
            note: dice.is_multiple_of(5).then(|| format!("to be delivered before {dice}")),
        }
    };
    (0..entries).map(entry).collect()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct AsPacked {
    entries: Packed<Vec<Entry>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct AsJsonb {
    entries: Vec<Entry>,
}

pub(crate) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let console = connect(dsn).await?;
    let client = Client::connect(dsn).await?;
    for entries in [4, 40, 400] {
        let (packed, jsonb) = (format!("packed_{entries}"), format!("jsonb_{entries}"));
        console
            .batch_execute(&format!(
                "CREATE TABLE {packed} (id bigint PRIMARY KEY, entries bytea NOT NULL);
                 CREATE TABLE {jsonb} (id bigint PRIMARY KEY, entries jsonb NOT NULL);
                 SELECT cache_sync.attach('{packed}'), cache_sync.attach('{jsonb}')"
            ))
            .await?;
        let ours = filled(&client, &packed, |number| AsPacked { entries: Packed(order(number, entries)) }).await?;
        let theirs = filled(&client, &jsonb, |number| AsJsonb { entries: order(number, entries) }).await?;
        let bytes = async |table: &str| -> Result<f64> {
            console.batch_execute(&format!("VACUUM FULL ANALYZE {table}")).await?;
            let row = console.query_one("SELECT pg_table_size($1::text::regclass)", &[&table]).await?;
            Ok(row.try_get::<_, i64>(0)? as f64 / ROWS as f64)
        };
        let row = |what: &str| format!("{what} of {entries} entries, packed / jsonb");
        let sizes =
            Rounds { count: 1, ..rounds }.alternate(async || bytes(&packed).await, async || bytes(&jsonb).await);
        report.rounds(
            Figure::new("packed", row("a document's bytes in its table"), "bytes", Target::AtMost(1.0)),
            &sizes.await?,
        );
        let time = rounds.time();
        // A small one is read while the round trip goes on: nothing to gain.
        let target = if entries < 40 { Target::None } else { Target::AtMost(1.0) };
        let loads = rounds.alternate(async || micros(&ours, time).await, async || micros(&theirs, time).await);
        report.rounds(Figure::new("packed", row("a load"), "us", target), &loads.await?);
    }
    client.close(Duration::from_secs(10)).await?;
    Ok(())
}

/// A cache of the table, with all rows written through it.
async fn filled<V: CacheValue>(client: &Client, table: &str, value: impl Fn(i64) -> V) -> Result<Cache<i64, V>> {
    let cache: Cache<i64, V> = client.cache(table).open().await?;
    for number in 0..ROWS {
        let _ = cache.put(number, value(number)).await?;
    }
    client.flush().await?;
    Ok(cache)
}

/// Microseconds of a load of one of the rows, a hundred at a time.
async fn micros<V: CacheValue>(cache: &Cache<i64, V>, time: Duration) -> Result<f64> {
    let keys: Vec<i64> = (0..ROWS).collect();
    let (start, mut loaded, mut took) = (Instant::now(), 0, Duration::ZERO);
    for keys in keys.chunks(AT_A_TIME).cycle() {
        keys.iter().for_each(|key| cache.invalidate(key));
        let begun = Instant::now();
        if cache.get_many(keys).await?.iter().any(Option::is_none) {
            return Err("a row is missing".into());
        }
        took += begun.elapsed();
        loaded += keys.len();
        if start.elapsed() >= time {
            break;
        }
    }
    Ok(took.as_secs_f64() * 1e6 / loaded as f64)
}
