//! What is measured of a table.

use super::timer::{Timer, sampled};
use ::metrics::{Histogram, Label, histogram};
use std::time::Duration;

/// What is measured of a table by one cache. Caches of one table have the same histograms.
pub(crate) struct TableMeter {
    hit: Histogram,
    read_age: Histogram,
    miss: Histogram,
    load: Histogram,
    failed_load: Histogram,
    load_keys: Histogram,
    batch: Histogram,
    batch_patches: Histogram,
    batch_tries: Histogram,
    write: Histogram,
    commit_to_drop: Histogram,
}

/// When a look-up began, if it is one that is measured.
pub(crate) struct Sample(Option<Timer>);

impl TableMeter {
    pub(super) fn new(labels: Vec<Label>) -> TableMeter {
        let with_outcome = |outcome| [&labels[..], &[Label::from_static_parts("outcome", outcome)]].concat();
        let of_table = |name| histogram!(name, labels.clone());
        TableMeter {
            hit: of_table("cache_sync_hit_seconds"),
            read_age: of_table("cache_sync_read_age_seconds"),
            miss: of_table("cache_sync_miss_seconds"),
            load: histogram!("cache_sync_load_seconds", with_outcome("ok")),
            failed_load: histogram!("cache_sync_load_seconds", with_outcome("error")),
            load_keys: of_table("cache_sync_load_keys"),
            batch: of_table("cache_sync_batch_seconds"),
            batch_patches: of_table("cache_sync_batch_patches"),
            batch_tries: of_table("cache_sync_batch_tries"),
            write: of_table("cache_sync_write_seconds"),
            commit_to_drop: of_table("cache_sync_commit_to_drop_seconds"),
        }
    }

    /// A look-up begins.
    #[inline]
    pub(crate) fn sample(&self) -> Sample {
        Sample(sampled())
    }

    /// It was a hit, of something that was in step as of so long ago.
    #[inline]
    pub(crate) fn hit(&self, sample: Sample, age: impl FnOnce() -> Duration) {
        if let Sample(Some(began)) = sample {
            self.record_hit(began.elapsed(), age());
        }
    }

    #[cold]
    fn record_hit(&self, took: Duration, age: Duration) {
        self.hit.record(took);
        self.read_age.record(age);
    }

    /// A reader has waited for a load.
    pub(crate) fn miss(&self, began: Timer) {
        self.miss.record(began.elapsed());
    }

    /// A statement has loaded rows, or has failed.
    pub(crate) fn load(&self, began: Timer, keys: usize, is_well: bool) {
        let of_outcome = if is_well { &self.load } else { &self.failed_load };
        of_outcome.record(began.elapsed());
        self.load_keys.record(keys as f64);
    }

    /// The outcome of a batch is known, after so many tries.
    pub(crate) fn batch(&self, began: Timer, patches: usize, tries: u32) {
        self.batch.record(began.elapsed());
        self.batch_patches.record(patches as f64);
        self.batch_tries.record(f64::from(tries));
    }

    /// What became of a patch is known.
    pub(crate) fn settled(&self, accepted: Timer) {
        self.write.record(accepted.elapsed());
    }

    /// What was held of a row has been dropped because it has this version now; 0: none.
    pub(crate) fn dropped(&self, told: &ToldAt, version: i64) {
        if let Some(told) = told.0.as_ref().filter(|_| version > 0) {
            self.commit_to_drop.record(told.since_version(version));
        }
    }
}

/// When something was told that others did, as far as that is known.
pub(crate) struct ToldAt(Option<Known>);

struct Known {
    /// The server's hybrid clock then, in microseconds: it counts as the versions do.
    hlc: i64,
    /// How old that was when it came, or a little less.
    age: Duration,
    came: Timer,
}

impl ToldAt {
    /// By a message that was made when the server's hybrid clock showed this, and is at most so old, as far as that is known.
    pub(crate) fn new(hlc: i64, age: impl FnOnce() -> Option<Duration>) -> ToldAt {
        ToldAt(age().map(|age| Known { hlc, age, came: Timer::start() }))
    }

    /// Nobody knows when.
    pub(crate) fn unknown() -> ToldAt {
        ToldAt(None)
    }
}

impl Known {
    fn since_version(&self, version: i64) -> Duration {
        let before = u64::try_from(self.hlc.saturating_sub(version)).unwrap_or_default();
        Duration::from_micros(before) + self.age + self.came.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_from_its_version_on() {
        let told = ToldAt::new(5_000_000, || Some(Duration::from_millis(3))).0.unwrap();
        let near = |version, expected: Duration| {
            let since = told.since_version(version);
            assert!(since >= expected && since < expected + Duration::from_secs(1), "{since:?}, not {expected:?}");
        };
        near(1_000_000, Duration::from_millis(4003));
        // Of a clock that ran ahead.
        near(9_000_000, Duration::from_millis(3));
    }
}
