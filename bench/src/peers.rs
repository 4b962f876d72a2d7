//! What cache_sync is compared with: other ways to read and write the same rows, under the same loads.
//!
//! ```text
//! shape      what is done            confirmed  what was confirmed, and what reads are held against it
//! load       two nodes at work       tally      what came of it
//! outside    another program         kind       who is compared
//! child      a peer's process        contender  what its turns cost
//! table      what is printed         summary    that in short       place  where and when that was
//! ```

mod child;
mod confirmed;
mod contender;
mod kind;
mod load;
mod outside;
mod place;
mod shape;
mod summary;
mod table;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use child::run as child;

use crate::measure::{Rounds, Sides};
use crate::report::{Figure, Report, Target};
use cache_sync_cluster::{Cluster, setup_redis};
use cache_sync_kit::{During, Result, Values, connect};
use cache_sync_peers::Database;
use contender::{Contender, TEMPLATE};
use kind::Kind;
use load::PLACES;
use serde_json::{Value, json};
use shape::Shape;
use std::path::{Path, PathBuf};
use summary::Summary;
use table::{Line, MemoryTable, Table};
use tokio_postgres::Client;

/// How many rows there are.
const ROWS: u64 = 20_000;
const ROWS_MIN: u64 = 100;
const ROWS_MAX: u64 = 1_000_000;
/// What says something of peers only.
const OPTIONS: [&str; 3] = ["--only", "--rows", "--markdown"];

/// What is measured.
pub(crate) struct Scope {
    shapes: Vec<Shape>,
    rows: u64,
    markdown: Option<PathBuf>,
}

/// What came out.
pub(crate) struct Found {
    pub(crate) json: Value,
    /// No read of ours was staler than its bound, as far as that could be seen, and no write of ours was lost.
    pub(crate) is_right: bool,
}

impl Scope {
    /// `None`: peers are not asked for.
    pub(crate) fn parse(values: &Values) -> Result<Option<Scope>> {
        if !values.has("peers") {
            return match OPTIONS.iter().find(|name| values.has(name)) {
                Some(name) => Err(format!("{name} says something of peers, which are not asked for").into()),
                None => Ok(None),
            };
        }
        let shapes = match values.text("--only") {
            Some(names) => names.split(',').map(shape).collect::<Result<_>>()?,
            None => Shape::ALL.to_vec(),
        };
        let rows = values.or("--rows", ROWS)?;
        if !(ROWS_MIN..=ROWS_MAX).contains(&rows) || rows.is_multiple_of(PLACES) {
            let places = format!("and not a multiple of {PLACES}");
            return Err(format!("--rows must be from {ROWS_MIN} to {ROWS_MAX}, {places}").into());
        }
        Ok(Some(Scope { shapes, rows, markdown: values.maybe("--markdown")? }))
    }

    /// The file that is written at the end.
    pub(crate) fn markdown(&self) -> Option<&Path> {
        self.markdown.as_deref()
    }
}

fn shape(name: &str) -> Result<Shape> {
    Shape::of_name(name).ok_or_else(|| format!("--only takes A, B, C, one, D, F, add and sql, not {name}").into())
}

pub(crate) async fn run(scope: &Scope, rounds: Rounds, report: &mut Report) -> Result<Found> {
    setup_redis()?;
    let cluster = crate::options().setting("shared_preload_libraries", "cache_sync, pg_stat_statements").start()?;
    cluster.createdb(TEMPLATE)?;
    Database::create(&cluster.dsn(TEMPLATE), scope.rows).await?;
    let control = connect(&cluster.dsn("postgres")).await?;
    control.batch_execute("CREATE EXTENSION pg_stat_statements").await?;
    let place = place::describe(scope, rounds, &control).await?;
    print!("{place}");
    let mut tables = Vec::new();
    for &shape in &scope.shapes {
        let table = compete(shape, scope.rows, rounds, &cluster, &control).await?;
        table.print();
        tables.push(table);
    }
    let memory = MemoryTable::new(&tables, scope.rows);
    memory.print();
    let summary = Summary::of(&tables);
    summary.iter().for_each(Summary::print);
    let is_right = tell(&tables, report);
    if let Some(file) = &scope.markdown {
        let shapes = tables.iter().map(Table::markdown);
        let in_short = summary.iter().map(Summary::markdown);
        let text: Vec<String> =
            [place.clone()].into_iter().chain(in_short).chain(shapes).chain([memory.markdown()]).collect();
        std::fs::write(file, text.join("\n")).during(|| file.display().to_string())?;
    }
    let json = json!({"place": place, "shapes": tables.iter().map(Table::json).collect::<Value>()});
    Ok(Found { json, is_right })
}

/// Lets all peers take turns, in changing order.
async fn compete(shape: Shape, rows: u64, rounds: Rounds, cluster: &Cluster, control: &Client) -> Result<Table> {
    let mut contenders = Vec::new();
    for kind in Kind::ALL {
        let contender = Contender::start(kind, shape, rows, cluster, control).await;
        contenders.push(contender.during(|| kind.title().to_owned())?);
    }
    for round in 0..rounds.count {
        control.batch_execute("CHECKPOINT").await?;
        for place in 0..contenders.len() {
            let number = (round + place) % contenders.len();
            let number = if round % 2 == 0 { number } else { contenders.len() - 1 - number };
            let contender = &mut contenders[number];
            contender.play(rounds.seconds).await.during(|| contender.kind.title().to_owned())?;
        }
    }
    let mut lines = Vec::new();
    for contender in contenders {
        let Contender { kind, bound_ms, memory, .. } = contender;
        let (played, lost) = contender.end().await?;
        lines.push(Line { kind, bound_ms, seconds: rounds.seconds, memory, rounds: played, lost });
    }
    Ok(Table { shape, lines })
}

/// Adds what is held against targets. Says whether ours kept its word.
fn tell(tables: &[Table], report: &mut Report) -> bool {
    let mut is_right = true;
    for table in tables {
        let Some((ours, others)) = table.lines.split_first() else { continue };
        for line in others {
            let mut sides = Sides::default();
            ours.rates().into_iter().zip(line.rates()).for_each(|(ours, theirs)| sides.add(ours, theirs));
            let row = format!("{}: cache_sync / {}", table.shape.name(), line.kind.title());
            report.rounds(Figure::new("peers", row, "ops/s", Target::None), &sides);
            if (table.shape, line.kind) == (Shape::One, Kind::CacheAside) {
                let mut sides = Sides::default();
                let rate = |us: f64| 1e6 / us;
                ours.read_us().zip(line.read_us()).for_each(|(ours, theirs)| sides.add(rate(ours), rate(theirs)));
                let row = format!("one: reads that hit, by their median time: cache_sync / {}", line.kind.title());
                report.rounds(Figure::new("peers", row, "1/s", Target::AtLeast(100.0)), &sides);
            }
        }
        for line in table.lines.iter().filter(|line| line.kind.is_ours()) {
            let row = |what| format!("{}: {}, {what}", table.shape.name(), line.kind.title());
            let mut none = |what, unit, count| {
                report.difference(Figure::new("peers", row(what), unit, Target::AtMost(0.0)), count as f64, 0.0);
                is_right &= count == 0;
            };
            // Seen, they count, also where it was not sure that they would be.
            if let Some(beyond) = line.beyond() {
                none("reads staler than its bound", "reads", beyond);
            }
            none("confirmed writes that Postgres lacks, or has twice", "writes", line.lost.wrong());
        }
    }
    is_right
}
