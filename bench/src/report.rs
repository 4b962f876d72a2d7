//! What was measured, as a table and as JSON.

use crate::measure::Sides;
use serde_json::{Value, json};

/// How a ratio has to stand to its target.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// It is only told.
    None,
}

impl Target {
    fn holds(self, ratio: f64) -> bool {
        match self {
            Target::AtLeast(target) => ratio >= target,
            Target::AtMost(target) => ratio <= target,
            Target::None => true,
        }
    }

    fn show(self) -> String {
        match self {
            Target::AtLeast(target) => format!(">= {target}"),
            Target::AtMost(target) => format!("<= {target}"),
            Target::None => "-".to_owned(),
        }
    }
}

struct Row {
    bench: &'static str,
    row: String,
    ours: f64,
    theirs: f64,
    unit: &'static str,
    ratio: f64,
    /// The smallest and the largest of the rounds.
    interval: Option<(f64, f64)>,
    target: Target,
}

#[derive(Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    /// Adds a row whose ratio is ours to theirs, the median of several rounds.
    pub(crate) fn rounds(
        &mut self,
        (bench, row): (&'static str, &str),
        sides: &Sides,
        unit: &'static str,
        target: Target,
    ) {
        let (ours, theirs) = sides.medians();
        let (ratio, interval) = (sides.ratio(), Some(sides.interval()));
        self.add(Row { bench, row: row.to_owned(), ours, theirs, unit, ratio, interval, target });
    }

    /// Adds a row where the difference counts, not the ratio.
    pub(crate) fn difference(
        &mut self,
        (bench, row): (&'static str, &str),
        (ours, theirs): (f64, f64),
        unit: &'static str,
        target: Target,
    ) {
        self.add(Row { bench, row: row.to_owned(), ours, theirs, unit, ratio: ours - theirs, interval: None, target });
    }

    fn add(&mut self, row: Row) {
        println!("{}", line(&row));
        self.0.push(row);
    }

    pub(crate) fn print(&self) {
        println!(
            "\n{:<10} {:<76} {:>12} {:>12} {:<8} {:>7} {:>13} {:>8}",
            "bench", "row", "ours", "theirs", "unit", "ratio", "rounds", "target"
        );
        self.0.iter().for_each(|row| println!("{}", line(row)));
        let missed = self.0.iter().filter(|row| !row.target.holds(row.ratio)).count();
        println!("{} rows, {missed} missed. The ratio of several rounds is the median of theirs.", self.0.len());
    }

    pub(crate) fn write_json(&self, file: &str) -> std::io::Result<()> {
        let rows: Vec<Value> = self
            .0
            .iter()
            .map(|row| {
                json!({"bench": row.bench, "row": row.row, "ours": row.ours, "theirs": row.theirs, "unit": row.unit,
                       "ratio": row.ratio, "interval": row.interval, "target": row.target.show(), "holds": row.target.holds(row.ratio)})
            })
            .collect();
        std::fs::write(file, serde_json::to_string_pretty(&rows)? + "\n")
    }
}

fn line(row: &Row) -> String {
    format!(
        "{:<10} {:<76} {:>12.1} {:>12.1} {:<8} {:>7.2} {:>13} {:>8} {}",
        row.bench,
        row.row,
        row.ours,
        row.theirs,
        row.unit,
        row.ratio,
        row.interval.map_or_else(String::new, |(low, high)| format!("{low:.2}..{high:.2}")),
        row.target.show(),
        match row.target {
            Target::None => "",
            target if target.holds(row.ratio) => "holds",
            _ => "MISSED",
        }
    )
}
