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

/// What is measured.
pub(crate) struct Figure {
    bench: &'static str,
    row: String,
    unit: &'static str,
    target: Target,
}

impl Figure {
    pub(crate) fn new(bench: &'static str, row: impl Into<String>, unit: &'static str, target: Target) -> Figure {
        Figure { bench, row: row.into(), unit, target }
    }
}

struct Row {
    figure: Figure,
    ours: f64,
    theirs: f64,
    ratio: f64,
    /// The smallest and the largest of the rounds.
    interval: Option<(f64, f64)>,
}

impl Row {
    fn holds(&self) -> bool {
        self.figure.target.holds(self.ratio)
    }

    fn json(&self) -> Value {
        let Figure { bench, row, unit, target } = &self.figure;
        json!({"bench": bench, "row": row, "ours": self.ours, "theirs": self.theirs, "unit": unit,
               "ratio": self.ratio, "interval": self.interval, "target": target.show(), "holds": self.holds()})
    }
}

#[derive(Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    /// Adds a row whose ratio is ours to theirs, the median of several rounds.
    pub(crate) fn rounds(&mut self, figure: Figure, sides: &Sides) {
        let (ours, theirs) = sides.medians();
        self.add(Row { figure, ours, theirs, ratio: sides.ratio(), interval: Some(sides.interval()) });
    }

    /// Adds a row where the difference counts, not the ratio.
    pub(crate) fn difference(&mut self, figure: Figure, ours: f64, theirs: f64) {
        self.add(Row { figure, ours, theirs, ratio: ours - theirs, interval: None });
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
        let missed = self.0.iter().filter(|row| !row.holds()).count();
        println!("{} rows, {missed} missed. The ratio of several rounds is the median of theirs.", self.0.len());
    }

    pub(crate) fn json(&self) -> Value {
        self.0.iter().map(Row::json).collect()
    }
}

fn line(row: &Row) -> String {
    format!(
        "{:<10} {:<76} {:>12.1} {:>12.1} {:<8} {:>7.2} {:>13} {:>8} {}",
        row.figure.bench,
        row.figure.row,
        row.ours,
        row.theirs,
        row.figure.unit,
        row.ratio,
        row.interval.map_or_else(String::new, |(low, high)| format!("{low:.2}..{high:.2}")),
        row.figure.target.show(),
        match row.figure.target {
            Target::None => "",
            _ if row.holds() => "holds",
            _ => "MISSED",
        }
    )
}
