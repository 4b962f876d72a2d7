//! What is printed.

use super::resources::Usage;
use crate::faults::{Kind, Plan};
use crate::history::{Nanos, Rule, TOLD_MAX, Violation};
use crate::node::Counts;
use cache_sync_kit::statistics::quantile;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Report {
    pub(crate) resources: Usage,
    /// By node, since its start.
    counts: BTreeMap<usize, Counts>,
    repairs: BTreeMap<Kind, Vec<f64>>,
    quiets: u64,
    events: usize,
    settled_ms: Vec<f64>,
    violations: BTreeMap<Rule, u64>,
}

impl Report {
    /// Takes what a moment of quiet has shown.
    pub(crate) fn add(&mut self, since: Nanos, events: usize, settled_ms: u64, found: Vec<Violation>) {
        self.quiets += 1;
        self.events += events;
        self.settled_ms.push(settled_ms as f64);
        for violation in found {
            self.told(&violation, since);
        }
    }

    pub(crate) fn found(&mut self, violation: Violation) {
        self.told(&violation, 0);
    }

    fn told(&mut self, violation: &Violation, since: Nanos) {
        let times = self.violations.entry(violation.rule).or_default();
        *times += 1;
        if *times <= TOLD_MAX as u64 {
            println!("{}", violation.text(since));
        }
    }

    pub(crate) fn counted(&mut self, node: usize, counts: Counts) {
        self.counts.insert(node, counts);
    }

    pub(crate) fn repaired(&mut self, plan: &Plan, repair: Duration) {
        for blow in &plan.blows {
            self.repairs.entry(blow.kind).or_default().push(repair.as_secs_f64() * 1e3);
        }
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self) {
        let unexpected: Vec<String> = self.counts.values().flat_map(|counts| counts.unexpected.clone()).collect();
        let unexpected = unexpected.into_iter().map(|what| Violation::new(Rule::Unexpected, what));
        for violation in unexpected.chain(self.resources.grown()) {
            self.found(violation);
        }
        self.repairs.values_mut().for_each(|times| times.sort_by(f64::total_cmp));
        self.settled_ms.sort_by(f64::total_cmp);
    }

    /// No rule was broken, and enough was seen for that to mean something.
    pub(crate) fn is_well(&self) -> bool {
        let sum = self.sum();
        self.violations.is_empty() && self.quiets > 0 && sum.reads > 0 && sum.queries > 0 && sum.writes > 0
    }

    fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        for counts in self.counts.values() {
            sum.reads += counts.reads;
            sum.queries += counts.queries;
            sum.writes += counts.writes;
            sum.catch_ups += counts.catch_ups;
            sum.decided += counts.decided;
            sum.watched += counts.watched;
            sum.given_up += counts.given_up;
            sum.unavailable += counts.unavailable;
            sum.opened_again += counts.opened_again;
            sum.hits += counts.hits;
            sum.loads += counts.loads;
            sum.gaps += counts.gaps;
            sum.standby_loads += counts.standby_loads;
            sum.longest_ms = sum.longest_ms.max(counts.longest_ms);
        }
        sum
    }

    pub(crate) fn print(&self) {
        let sum = self.sum();
        println!("\n{:<28} {:>10}", "histories", "count");
        for (what, count) in [
            ("events", self.events as u64),
            ("reads", sum.reads),
            ("queries", sum.queries),
            ("writes", sum.writes),
            ("catch-ups", sum.catch_ups),
            ("decided writes", sum.decided),
            ("shown to watchers", sum.watched),
            ("given up", sum.given_up),
            ("failed calls", sum.unavailable),
            ("caches opened again", sum.opened_again),
            ("hits", sum.hits),
            ("statements that loaded", sum.loads),
            ("of them from the standby", sum.standby_loads),
            ("gaps", sum.gaps),
            ("longest call (ms)", sum.longest_ms),
            ("moments of quiet", self.quiets),
        ] {
            println!("{what:<28} {count:>10}");
        }
        println!("\n{:<28} {:>10} {:>10} {:>10}", "faults", "times", "repair ms", "at most");
        for (kind, times) in &self.repairs {
            println!(
                "{:<28} {:>10} {:>10.0} {:>10.0}",
                kind.name(),
                times.len(),
                quantile(times, 0.5),
                times[times.len() - 1]
            );
        }
        println!("\n{:<28} {:>10}", "violations", "count");
        for rule in Rule::ALL {
            println!("{:<28} {:>10}", rule.name(), self.violations.get(&rule).unwrap_or(&0));
        }
        self.resources.print();
        println!("{}", if self.is_well() { "all is well" } else { "NOT WELL" });
    }

    pub(crate) fn json(&self) -> Value {
        let repairs: BTreeMap<&str, Value> =
            self.repairs.iter().map(|(kind, times)| (kind.name(), json!({"repair_ms": times}))).collect();
        let violations: BTreeMap<&str, u64> =
            Rule::ALL.iter().map(|rule| (rule.name(), self.violations.get(rule).copied().unwrap_or(0))).collect();
        json!({
            "counts": self.sum(), "events": self.events, "quiets": self.quiets, "settled_ms": self.settled_ms,
            "faults": repairs, "violations": violations, "resources": self.resources.json(), "is_well": self.is_well(),
        })
    }
}
