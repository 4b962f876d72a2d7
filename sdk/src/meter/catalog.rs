//! Every metric: docs/metrics.md says the same to people, and a test compares the two.

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// It only grows while the process lives.
    Counter,
    /// What is so now.
    Gauge,
    /// How often something was how large.
    Histogram,
}

/// A metric of this crate. Needs the feature `metrics`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, as Prometheus spells names.
    pub name: &'static str,
    /// What kind it is.
    pub kind: MetricKind,
    /// In what it is measured: `count`, `seconds` or `bytes`.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub description: &'static str,
    /// The upper bounds of a histogram's buckets that suit it, for exporters that want to be told; else empty.
    pub buckets: &'static [f64],
}

const OF_CLIENT: &[&str] = &["database"];
const OF_TABLE: &[&str] = &["database", "table"];
const OF_LOADS: &[&str] = &["database", "table", "outcome"];

/// For what takes no round trip.
const IN_MEMORY: &[f64] = &[1e-7, 2.5e-7, 5e-7, 1e-6, 2.5e-6, 5e-6, 1e-5, 1e-4, 1e-3];
/// For what takes some.
const ROUND_TRIPS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Around the bounds on staleness.
const AGES: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0];
const NUMBERS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 10_000.0];
const TRIES: &[f64] = &[1.0, 2.0, 3.0, 5.0, 10.0, 20.0];

const fn counter(name: &'static str, labels: &'static [&'static str], description: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, unit: "count", labels, description, buckets: &[] }
}

const fn gauge(
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    description: &'static str,
) -> Metric {
    Metric { name, kind: MetricKind::Gauge, unit, labels, description, buckets: &[] }
}

const fn times(
    name: &'static str,
    labels: &'static [&'static str],
    description: &'static str,
    buckets: &'static [f64],
) -> Metric {
    Metric { name, kind: MetricKind::Histogram, unit: "seconds", labels, description, buckets }
}

const fn numbers(name: &'static str, description: &'static str, buckets: &'static [f64]) -> Metric {
    Metric { name, kind: MetricKind::Histogram, unit: "count", labels: OF_TABLE, description, buckets }
}

/// Every metric of this crate. Needs the feature `metrics`.
///
/// For exporters that are to be told the buckets of histograms:
///
/// ```
/// for metric in cache_sync::METRICS.iter().filter(|metric| !metric.buckets.is_empty()) {
///     println!("{} in {}: {:?}", metric.name, metric.unit, metric.buckets);
/// }
/// ```
pub const METRICS: &[Metric] = &[
    // Of a table.
    gauge("cache_sync_entries", "count", OF_TABLE, "Entries held"),
    counter("cache_sync_hits_total", OF_TABLE, "Reads answered from memory"),
    counter("cache_sync_misses_total", OF_TABLE, "Reads that waited for a load"),
    counter("cache_sync_stale_served_total", OF_TABLE, "Reads answered with what could not be confirmed"),
    counter(
        "cache_sync_replaced_served_total",
        OF_TABLE,
        "Reads answered with what was before a change, while it was loaded again",
    ),
    counter("cache_sync_load_statements_total", OF_TABLE, "Statements that loaded rows"),
    counter("cache_sync_loaded_keys_total", OF_TABLE, "Keys that those statements asked for"),
    counter("cache_sync_changes_total", OF_TABLE, "Changes heard of the table"),
    counter("cache_sync_writes_total", OF_TABLE, "Writes accepted"),
    counter("cache_sync_batches_total", OF_TABLE, "Batches whose outcome is known"),
    counter("cache_sync_patches_total", OF_TABLE, "Patches in those batches"),
    counter("cache_sync_flush_retries_total", OF_TABLE, "How often a batch was sent again or waited"),
    counter("cache_sync_rejected_total", OF_TABLE, "Patches that Postgres refused"),
    counter("cache_sync_unknown_total", OF_TABLE, "Patches of which nobody can tell what became"),
    counter(
        "cache_sync_verified_equal_total",
        OF_TABLE,
        "Comparisons of what is held with Postgres that found the same",
    ),
    counter("cache_sync_verified_behind_total", OF_TABLE, "Comparisons that found a row which had just changed"),
    counter("cache_sync_unverified_total", OF_TABLE, "Comparisons without a verdict"),
    counter("cache_sync_violations_total", OF_TABLE, "Rows found that had changed without the cache hearing of it"),
    counter("cache_sync_retreats_total", OF_TABLE, "How often the cache went back to Shadow by itself"),
    gauge("cache_sync_not_on", "count", OF_TABLE, "Caches in another mode than On"),
    gauge(
        "cache_sync_retreated",
        "count",
        OF_TABLE,
        "Caches that went back by themselves, since when no other mode was asked for",
    ),
    gauge("cache_sync_write_trouble_seconds", "seconds", OF_TABLE, "For how long patches have failed to be written"),
    times("cache_sync_hit_seconds", OF_TABLE, "Time of a hit, of about one in 1,024", IN_MEMORY),
    times("cache_sync_read_age_seconds", OF_TABLE, "How old what a hit shows may be, of the same hits", AGES),
    times("cache_sync_miss_seconds", OF_TABLE, "How long a reader waited for a load", ROUND_TRIPS),
    times(
        "cache_sync_load_seconds",
        OF_LOADS,
        "Time of a statement that loaded rows, with the wait for its connection",
        ROUND_TRIPS,
    ),
    numbers("cache_sync_load_keys", "Keys in such a statement", NUMBERS),
    times("cache_sync_batch_seconds", OF_TABLE, "Time from a batch's first try to its outcome", ROUND_TRIPS),
    numbers("cache_sync_batch_patches", "Patches in a batch", NUMBERS),
    numbers("cache_sync_batch_tries", "How often a batch was sent", TRIES),
    times("cache_sync_write_seconds", OF_TABLE, "Time from a patch's first write to its outcome", ROUND_TRIPS),
    times("cache_sync_commit_to_drop_seconds", OF_TABLE, "Time from a change to its drop in memory", AGES),
    // Of a client.
    gauge("cache_sync_clients", "count", OF_CLIENT, "Open clients"),
    gauge("cache_sync_feed_live", "count", OF_CLIENT, "Clients that hear the feed"),
    gauge("cache_sync_feed_by_notify", "count", OF_CLIENT, "Clients that hear it by NOTIFY"),
    gauge("cache_sync_feed_trouble_seconds", "seconds", OF_CLIENT, "For how long the feed has failed to be heard"),
    counter("cache_sync_feed_changes_total", OF_CLIENT, "Changes of the whole server that the feed has passed"),
    counter("cache_sync_feed_connects_total", OF_CLIENT, "How often the feed connected"),
    counter("cache_sync_gaps_total", OF_CLIENT, "How often everything held had to be doubted"),
    gauge("cache_sync_buffered_patches", "count", OF_CLIENT, "Patches that Postgres does not have yet"),
    gauge("cache_sync_buffered_bytes", "bytes", OF_CLIENT, "Their size"),
    counter("cache_sync_standby_loads_total", OF_CLIENT, "Statements that loaded rows from the standby"),
    counter("cache_sync_standby_passed_over_total", OF_CLIENT, "Statements that went past the standby to the primary"),
    gauge("cache_sync_query_results", "count", OF_CLIENT, "Results of queries held"),
    counter("cache_sync_query_hits_total", OF_CLIENT, "Queries answered from memory"),
    counter("cache_sync_query_loads_total", OF_CLIENT, "Queries sent to Postgres"),
    times(
        "cache_sync_query_load_seconds",
        OF_CLIENT,
        "Time of a query that was sent to Postgres, with the wait for its connection",
        ROUND_TRIPS,
    ),
];

/// Tells the recorder what they are.
pub(super) fn describe() {
    for Metric { name, kind, unit, description, .. } in METRICS.iter().copied() {
        let unit = ::metrics::Unit::from_string(unit).unwrap_or(::metrics::Unit::Count);
        match kind {
            MetricKind::Counter => ::metrics::describe_counter!(name, unit, description),
            MetricKind::Gauge => ::metrics::describe_gauge!(name, unit, description),
            MetricKind::Histogram => ::metrics::describe_histogram!(name, unit, description),
        }
    }
}
