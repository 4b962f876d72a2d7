//! What caching saves at other rates, by what was measured here.

use std::path::Path;

use cache_sync_kit::{During, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A node sends a batch each 5 ms at most: what the SDK does by default.
const BATCHES_PER_SECOND_MAX: f64 = 200.0;
/// Rates above it are a slip of the keyboard.
const RATE_MAX: f64 = 1e9;
const NODES_MAX: f64 = 10_000.0;

/// What somebody has, or plans to have.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Asked {
    /// A second, all nodes together; so are the writes.
    pub(crate) reads: f64,
    pub(crate) writes: f64,
    /// The percentage of reads that memory answers.
    pub(crate) hit: f64,
    pub(crate) nodes: f64,
}

/// What was measured. Nothing is known before there were reads and writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Measured {
    /// From 0 to 1.
    pub(crate) hit_rate: Option<f64>,
    /// Statements for each read that was not answered from memory; 1 at most, since loads are shared.
    pub(crate) loads_per_miss: Option<f64>,
    /// Statements for each write; 1 at most, since writes go in batches.
    pub(crate) batches_per_write: Option<f64>,
    /// For how long Postgres was busy, in milliseconds.
    pub(crate) busy: Option<Busy>,
    /// How long a read takes that is answered from memory, one that is not, and one without the SDK.
    pub(crate) hit_us: Option<f64>,
    pub(crate) miss_us: Option<f64>,
    pub(crate) select_us: Option<f64>,
    pub(crate) redis_hit_rate: Option<f64>,
}

/// What a read that a cache does not answer, and a write, cost Postgres each way: one load may be for several of them, and one batch. With Redis
/// each is a statement, as it is without a cache; its writes are dearer here than they would be, by the triggers of cache_sync on the table that both
/// share. Ours lack the feed's own call.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Busy {
    pub(crate) ours_ms_per_miss: f64,
    pub(crate) ours_ms_per_write: f64,
    pub(crate) theirs_ms_per_miss: f64,
    pub(crate) theirs_ms_per_write: f64,
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Costs {
    /// Statements a second at Postgres: without a cache, with cache_sync, and with Redis at the hit rate that it had here.
    pub(crate) without: f64,
    pub(crate) with: f64,
    pub(crate) redis: Option<f64>,
    pub(crate) saved: f64,
    /// Of the statements without a cache, from 0 to 1.
    pub(crate) saved_share: f64,
    /// Seconds a second for which Postgres is busy, and for which it need not be: how many processors.
    pub(crate) without_processors: Option<f64>,
    pub(crate) with_processors: Option<f64>,
    /// How long a read takes on average, in microseconds.
    pub(crate) read_without_us: Option<f64>,
    pub(crate) read_with_us: Option<f64>,
}

/// Works it out.
pub(crate) fn costs(asked: Asked, measured: &Measured) -> Result<Costs> {
    let Asked { reads, writes, hit, nodes } = asked;
    within("reads", reads, 0.0, RATE_MAX)?;
    within("writes", writes, 0.0, RATE_MAX)?;
    within("hit rate", hit, 0.0, 100.0)?;
    within("nodes", nodes, 1.0, NODES_MAX)?;
    let hit = hit / 100.0;
    let loads = reads * (1.0 - hit) * measured.loads_per_miss.unwrap_or(1.0);
    let batches = (writes * measured.batches_per_write.unwrap_or(1.0)).min(nodes * BATCHES_PER_SECOND_MAX);
    let (without, with) = (reads + writes, loads + batches);
    let saved = without - with;
    let read_with_us = measured.hit_us.zip(measured.miss_us).map(|(held, loaded)| hit * held + (1.0 - hit) * loaded);
    Ok(Costs {
        without,
        with,
        // A miss is a SELECT, and a write an UPDATE.
        redis: measured.redis_hit_rate.map(|hit| reads * (1.0 - hit) + writes),
        saved,
        saved_share: if without > 0.0 { saved / without } else { 0.0 },
        without_processors: measured
            .busy
            .map(|busy| (reads * busy.theirs_ms_per_miss + writes * busy.theirs_ms_per_write) / 1000.0),
        with_processors: measured
            .busy
            .map(|busy| (reads * (1.0 - hit) * busy.ours_ms_per_miss + writes * busy.ours_ms_per_write) / 1000.0),
        read_without_us: measured.select_us,
        read_with_us,
    })
}

fn within(what: &str, value: f64, least: f64, most: f64) -> Result<()> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(format!("{what} must be from {least} to {most}").into()) }
}

/// Times from a report of `cargo xtask bench hit reads --json FILE`, which has measured each by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Benched {
    hit_us: Option<f64>,
    miss_us: Option<f64>,
    select_us: Option<f64>,
}

impl Benched {
    pub(crate) fn read(file: &Path) -> Result<Benched> {
        let text = std::fs::read_to_string(file).during(|| file.display().to_string())?;
        Benched::of(&text).during(|| file.display().to_string())
    }

    fn of(text: &str) -> Result<Benched> {
        let rows: Vec<Value> = serde_json::from_str(text)?;
        let row = |bench: &str, begin: &str| {
            rows.iter()
                .find(|row| row["bench"] == bench && row["row"].as_str().is_some_and(|name| name.starts_with(begin)))
        };
        let (hit, miss) = (row("hit", "get / moka"), row("reads", "a miss / a prepared SELECT, p50"));
        if hit.is_none() && miss.is_none() {
            return Err("it has neither the bench `hit` nor `reads`".into());
        }
        Ok(Benched {
            hit_us: hit.and_then(|row| row["ours"].as_f64()).map(|nanos| nanos / 1000.0),
            miss_us: miss.and_then(|row| row["ours"].as_f64()),
            select_us: miss.and_then(|row| row["theirs"].as_f64()),
        })
    }

    /// What was measured here, with these times where they are known.
    pub(crate) fn amend(&self, measured: Measured) -> Measured {
        Measured {
            hit_us: self.hit_us.or(measured.hit_us),
            miss_us: self.miss_us.or(measured.miss_us),
            select_us: self.select_us.or(measured.select_us),
            ..measured
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURED: Measured = Measured {
        hit_rate: Some(0.9),
        loads_per_miss: Some(0.5),
        batches_per_write: Some(0.25),
        busy: Some(Busy {
            ours_ms_per_miss: 0.2,
            ours_ms_per_write: 0.05,
            theirs_ms_per_miss: 0.1,
            theirs_ms_per_write: 0.25,
        }),
        hit_us: Some(1.0),
        miss_us: Some(201.0),
        select_us: Some(180.0),
        redis_hit_rate: Some(0.6),
    };

    fn ask(reads: f64, writes: f64, hit: f64, nodes: f64) -> Asked {
        Asked { reads, writes, hit, nodes }
    }

    #[test]
    fn statements_are_what_misses_and_batches_send() {
        let costs = costs(ask(10_000.0, 400.0, 95.0, 2.0), &MEASURED).unwrap();
        assert_eq!(costs.without, 10_400.0);
        assert!((costs.with - (250.0 + 100.0)).abs() < 1e-6, "{costs:?}");
        assert_eq!(costs.redis, Some(4400.0));
        assert!((costs.saved - 10_050.0).abs() < 1e-6 && (costs.saved_share - 0.96634).abs() < 1e-4, "{costs:?}");
        assert!((costs.without_processors.unwrap() - 1.1).abs() < 1e-6, "1 for reads, 0.1 for writes: {costs:?}");
        assert!((costs.with_processors.unwrap() - 0.12).abs() < 1e-6, "0.1 for misses, 0.02 for writes: {costs:?}");
        assert!((costs.read_with_us.unwrap() - 11.0).abs() < 1e-6);
        assert_eq!(costs.read_without_us, Some(180.0));
    }

    #[test]
    fn a_node_sends_no_more_batches_than_its_flush_interval_allows() {
        let with = |nodes| costs(ask(0.0, 100_000.0, 0.0, nodes), &MEASURED).unwrap().with;
        assert_eq!((with(1.0), with(3.0), with(1000.0)), (200.0, 600.0, 25_000.0));
    }

    #[test]
    fn what_is_not_known_yet_is_assumed_to_save_nothing() {
        let unknown = costs(ask(1000.0, 100.0, 0.0, 100.0), &Measured::default()).unwrap();
        assert_eq!((unknown.without, unknown.with, unknown.saved_share), (1100.0, 1100.0, 0.0));
        assert_eq!((unknown.redis, unknown.with_processors, unknown.read_with_us), (None, None, None));
        assert_eq!(costs(ask(0.0, 0.0, 0.0, 1.0), &MEASURED).unwrap().saved_share, 0.0);
    }

    #[test]
    fn nonsense_is_refused() {
        for (asked, what) in [
            (ask(-1.0, 1.0, 1.0, 1.0), "reads must be from 0 to 1000000000"),
            (ask(1.0, f64::NAN, 1.0, 1.0), "writes must be from 0 to 1000000000"),
            (ask(1.0, 1.0, 101.0, 1.0), "hit rate must be from 0 to 100"),
            (ask(1.0, 1.0, 1.0, 0.0), "nodes must be from 1 to 10000"),
        ] {
            assert_eq!(costs(asked, &MEASURED).unwrap_err().to_string(), what);
        }
    }

    #[test]
    fn times_of_a_bench_replace_those_of_the_run() {
        let report = r#"[{"bench": "hit", "row": "get / moka, bigint, 1000, zipf, 1 thread(s)", "ours": 50.0, "theirs": 190.0},
                         {"bench": "reads", "row": "a miss / a prepared SELECT, p50", "ours": 120.0, "theirs": 100.0}]"#;
        let benched = Benched::of(report).unwrap();
        let amended = benched.amend(MEASURED);
        assert_eq!((amended.hit_us, amended.miss_us, amended.select_us), (Some(0.05), Some(120.0), Some(100.0)));
        assert_eq!(amended.hit_rate, MEASURED.hit_rate);
        assert!(Benched::of("[]").unwrap_err().to_string().contains("neither"));
        assert!(Benched::of("{}").is_err());
    }
}
