//! The final table, and the same as JSON.

use serde_json::{Value, json};

use crate::figures::Figures;
use cache_sync_kit::Histogram;

/// One thing that must hold.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) holds: bool,
    /// What was found.
    pub(crate) found: String,
    /// What is wrong, thing by thing.
    pub(crate) wrong: Vec<String>,
}

impl Check {
    pub(crate) fn new(name: &'static str, holds: bool, found: String) -> Check {
        Check { name, holds, found, wrong: Vec::new() }
    }
}

/// What a run showed.
#[derive(Debug)]
pub(crate) struct RunReport {
    pub(crate) name: &'static str,
    pub(crate) seconds: u64,
    pub(crate) checks: Vec<Check>,
    pub(crate) figures: Figures,
}

impl RunReport {
    pub(crate) fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

/// Prints the checks of one run, and what is wrong.
pub(crate) fn print_checks(report: &RunReport) {
    for check in &report.checks {
        println!("  {:<6} {:<44} {}", if check.holds { "ok" } else { "FAILED" }, check.name, check.found);
        check.wrong.iter().for_each(|wrong| println!("           {wrong}"));
    }
}

/// Prints the final table.
pub(crate) fn print(reports: &[RunReport]) {
    println!("\n==== result ====");
    for report in reports {
        println!("\n{} ({} s)", report.name, report.seconds);
        print_checks(report);
        let (figures, counts) = (&report.figures, &report.figures.counts);
        let served = counts.reads + counts.updates;
        println!(
            "  served {} reads and {} updates with {} statements at Postgres ({:.1} per statement)",
            thousands(counts.reads),
            thousands(counts.updates),
            thousands(counts.statements),
            served as f64 / counts.statements.max(1) as f64,
        );
        println!(
            "  hits {} ({:.1} %)  misses {}  changes heard {}  failed operations {}  entries at the end {}",
            thousands(counts.hits),
            figures.hit_rate() * 100.0,
            thousands(counts.misses),
            thousands(counts.changes),
            thousands(counts.errors),
            thousands(figures.entries),
        );
        println!("  {:<22} {:>12} {:>12} {:>12}", "", "p50", "p99", "count");
        for (name, histogram) in figures.durations().into_iter().filter(|(_, histogram)| histogram.count() > 0) {
            let shown = |share| microseconds(histogram, share);
            println!("  {name:<22} {:>12} {:>12} {:>12}", shown(0.5), shown(0.99), thousands(histogram.count()));
        }
    }
    let failed = reports.iter().flat_map(|report| &report.checks).filter(|check| !check.holds).count();
    match failed {
        0 => println!("\nEvery check holds."),
        _ => println!("\nFAILED: {failed} checks"),
    }
}

/// Everything as JSON.
pub(crate) fn json(reports: &[RunReport]) -> Value {
    let runs: Vec<Value> = reports.iter().map(run_json).collect();
    json!({"holds": reports.iter().all(RunReport::holds), "runs": runs})
}

fn run_json(report: &RunReport) -> Value {
    let check =
        |check: &Check| json!({"name": check.name, "holds": check.holds, "found": check.found, "wrong": check.wrong});
    let counts = &report.figures.counts;
    let durations: serde_json::Map<String, Value> = report
        .figures
        .durations()
        .into_iter()
        .map(|(name, histogram)| {
            let quantiles = json!({"p50_us": histogram.quantile_us(0.5), "p99_us": histogram.quantile_us(0.99),
                                   "max_us": histogram.quantile_us(1.0), "count": histogram.count()});
            (name.replace(' ', "_"), quantiles)
        })
        .collect();
    json!({
        "run": report.name, "seconds": report.seconds, "holds": report.holds(),
        "checks": report.checks.iter().map(check).collect::<Vec<_>>(),
        "reads": counts.reads, "updates": counts.updates, "errors": counts.errors, "statements": counts.statements,
        "hits": counts.hits, "misses": counts.misses, "changes": counts.changes, "entries": report.figures.entries,
        "durations": durations,
    })
}

fn microseconds(histogram: &Histogram, share: f64) -> String {
    match histogram.quantile_us(share) {
        Some(us) if us >= 1000.0 => format!("{:.2} ms", us / 1000.0),
        Some(us) => format!("{us:.1} us"),
        None => "-".to_owned(),
    }
}

/// 1234567 as 1,234,567.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separates_thousands() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1000, 1_234_567].map(thousands)[..]);
    }
}
