//! DDL of a table that is not attached, where a thousand others are, against the same in a database without the extension; and how long
//! attaching a table of many partitions takes.

use crate::measure::Rounds;
use crate::report::{Figure, Report, Target};
use cache_sync_cluster::Cluster;
use cache_sync_kit::statistics::median;
use cache_sync_kit::{Result, connect};
use std::time::Instant;
use tokio_postgres::Client;

const ATTACHED: u32 = 1000;
/// Tables that are not, each with its index: 5,000 relations in all.
const OTHERS: u32 = 1500;
const PARTITIONS: u32 = 400;
/// Of each kind, in each round.
const STATEMENTS: usize = 50;

/// What is timed, after what it needs and before what takes it back.
struct Kind {
    name: &'static str,
    before: &'static str,
    timed: &'static str,
    after: &'static str,
}

const KINDS: [Kind; 7] = [
    Kind { name: "ADD COLUMN", before: "", timed: "ALTER TABLE other ADD w int", after: "ALTER TABLE other DROP w" },
    Kind { name: "DROP COLUMN", before: "ALTER TABLE other ADD w int", timed: "ALTER TABLE other DROP w", after: "" },
    Kind {
        name: "RENAME COLUMN",
        before: "",
        timed: "ALTER TABLE other RENAME v TO w",
        after: "ALTER TABLE other RENAME w TO v",
    },
    Kind { name: "CREATE INDEX", before: "", timed: "CREATE INDEX made ON other (v)", after: "DROP INDEX made" },
    Kind {
        name: "CREATE TABLE",
        before: "",
        timed: "CREATE TABLE made (id int PRIMARY KEY)",
        after: "DROP TABLE made",
    },
    Kind { name: "DROP TABLE", before: "CREATE TABLE made (id int PRIMARY KEY)", timed: "DROP TABLE made", after: "" },
    Kind { name: "CREATE TEMP TABLE", before: "", timed: "CREATE TEMP TABLE made (id int)", after: "DROP TABLE made" },
];

pub(crate) async fn run(cluster: &Cluster, database: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let bare = format!("{database}_bare");
    cluster.createdb(&bare)?;
    let (ours, theirs) = (connect(&cluster.dsn(database)).await?, connect(&cluster.dsn(&bare)).await?);
    for (client, attach) in [(&ours, "PERFORM cache_sync.attach('attached_' || i);"), (&theirs, "")] {
        for statement in tables(attach) {
            client.batch_execute(&statement).await?;
        }
    }
    for kind in &KINDS {
        let sides = rounds.alternate(async || side(&ours, kind).await, async || side(&theirs, kind).await).await?;
        let row = format!("{} where {ATTACHED} others are attached - without the extension", kind.name);
        let (ours, theirs) = sides.medians();
        report.difference(Figure::new("ddl", row, "ms", Target::AtMost(1.0)), ours, theirs);
    }
    let mut times = Vec::new();
    for round in 0..rounds.count {
        ours.batch_execute(&partitions(round)).await?;
        let start = Instant::now();
        ours.batch_execute(&format!("SELECT cache_sync.attach('parted_{round}', versioned => true)")).await?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let row = format!("attach of a table of {PARTITIONS} partitions - nothing");
    report.difference(Figure::new("ddl", row, "ms", Target::AtMost(1000.0)), median(times), 0.0);
    Ok(())
}

/// Statements that commit each table as it is made, or one transaction would need too many locks.
fn tables(attach: &str) -> [String; 4] {
    let procedure = format!(
        "CREATE PROCEDURE tables() LANGUAGE plpgsql AS $$ BEGIN
             FOR i IN 1..{ATTACHED} LOOP
                 EXECUTE format('CREATE TABLE attached_%s (id int PRIMARY KEY, v int)', i);
                 {attach}
                 COMMIT;
             END LOOP;
             FOR i IN 1..{OTHERS} LOOP
                 EXECUTE format('CREATE TABLE other_%s (id int PRIMARY KEY, v int)', i);
                 COMMIT;
             END LOOP;
         END $$"
    );
    ["SET synchronous_commit = off".to_owned(), procedure, "CALL tables()".to_owned(), "ANALYZE".to_owned()]
}

fn partitions(round: usize) -> String {
    format!(
        "CREATE TABLE parted_{round} (id int PRIMARY KEY, v int) PARTITION BY LIST (id);
         DO $$ BEGIN
             FOR i IN 1..{PARTITIONS} LOOP
                 EXECUTE format('CREATE TABLE parted_{round}_%s PARTITION OF parted_{round} FOR VALUES IN (%s)', i, i);
             END LOOP;
         END $$"
    )
}

/// Milliseconds of a statement, the median of many.
async fn side(client: &Client, kind: &Kind) -> Result<f64> {
    client.batch_execute("DROP TABLE IF EXISTS other; CREATE TABLE other (id int PRIMARY KEY, v int)").await?;
    let mut times = Vec::new();
    for _ in 0..STATEMENTS {
        client.batch_execute(kind.before).await?;
        let start = Instant::now();
        client.batch_execute(kind.timed).await?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        client.batch_execute(kind.after).await?;
    }
    Ok(median(times))
}
