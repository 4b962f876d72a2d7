//! What is printed.

use super::nodes::{Activity, Compared};
use super::writers::Tally;
use crate::faults::Kill;
use cache_sync_kit::statistics::quantile;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Report {
    pub(crate) statements: Tally,
    pub(crate) activity: Activity,
    pub(crate) repairs: Vec<(Kill, Duration)>,
    pub(crate) epochs: BTreeSet<u64>,
    pub(crate) gaps: u64,
    pub(crate) connects: u64,
    pub(crate) changes: u64,
    pub(crate) refetches: u64,
    pub(crate) unwritten: usize,
    quiet_points: u64,
    held: u64,
    read: u64,
    stale: u64,
    told: Vec<String>,
}

impl Report {
    pub(crate) fn add(&mut self, compared: Compared) {
        self.quiet_points += 1;
        self.held += compared.held;
        self.read += compared.loaded;
        self.stale += compared.stale;
        self.told.extend(compared.told);
    }

    /// Nothing was stale, nobody was refused what he should get, and enough was seen for that to mean something.
    pub(crate) fn is_well(&self) -> bool {
        let is_seen = self.quiet_points > 0 && self.held > 0 && self.statements.done > 0 && self.activity.writes > 0;
        let unexpected = self.statements.unexpected.len() + self.activity.unexpected.len();
        is_seen && self.stale == 0 && unexpected == 0 && self.unwritten == 0
    }

    pub(crate) fn print_round(&self) {
        if let Some((kill, repair)) = self.repairs.last() {
            let repair = repair.as_secs_f64() * 1e3;
            println!(
                "round {:>3}: {:<28} repaired in {repair:>7.0} ms; {} entries held and {} read, {} stale so far",
                self.quiet_points,
                kill.name(),
                self.held,
                self.read,
                self.stale
            );
        }
    }

    fn by_kill(&self) -> BTreeMap<Kill, Vec<f64>> {
        let mut all = BTreeMap::<Kill, Vec<f64>>::new();
        for (kill, repair) in &self.repairs {
            all.entry(*kill).or_default().push(repair.as_secs_f64() * 1e3);
        }
        all.values_mut().for_each(|times| times.sort_by(f64::total_cmp));
        all
    }

    pub(crate) fn print(&self) {
        let refused: u64 = self.statements.refused.values().sum();
        println!(
            "\nstatements           {} done, {refused} refused: {:?}",
            self.statements.done, self.statements.refused
        );
        let Activity { reads, writes, unavailable, .. } = &self.activity;
        println!("nodes                {reads} reads, {writes} writes, {unavailable} while the server was away");
        println!(
            "heard                {} changes, {} gaps, {} epochs, {} connects",
            self.changes,
            self.gaps,
            self.epochs.len(),
            self.connects
        );
        println!("refetches            {} keys", self.refetches);
        println!("quiet points         {}", self.quiet_points);
        println!("entries compared     {} held, {} read", self.held, self.read);
        println!("stale entries        {}", self.stale);
        println!("writes left over     {}", self.unwritten);
        println!("\n{:<30} {:>6} {:>10} {:>10} {:>10}", "kills", "times", "min ms", "median", "max ms");
        for (kill, times) in self.by_kill() {
            let (min, median, max) = (times[0], quantile(&times, 0.5), times[times.len() - 1]);
            println!("{:<30} {:>6} {min:>10.0} {median:>10.0} {max:>10.0}", kill.name(), times.len());
        }
        for told in self.told.iter().chain(&self.statements.unexpected).chain(&self.activity.unexpected) {
            println!("WRONG: {told}");
        }
        println!("{}", if self.is_well() { "all is well" } else { "NOT WELL" });
    }

    pub(crate) fn json(&self) -> Value {
        let kills: BTreeMap<&str, Value> =
            self.by_kill().into_iter().map(|(kill, times)| (kill.name(), json!({"repair_ms": times}))).collect();
        json!({
            "statements": self.statements.done, "refused": self.statements.refused,
            "node_reads": self.activity.reads, "node_writes": self.activity.writes, "kills": kills,
            "changes": self.changes, "gaps": self.gaps, "epochs": self.epochs.len(), "feed_connects": self.connects,
            "refetched_keys": self.refetches, "quiet_points": self.quiet_points, "entries_held": self.held,
            "entries_read": self.read, "stale_entries": self.stale, "is_well": self.is_well(),
        })
    }
}
