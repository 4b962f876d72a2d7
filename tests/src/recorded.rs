//! What the SDK tells the recorder of this thread.

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit, atomics::AtomicU64,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// A recorder that remembers all: for `metrics::set_default_local_recorder`.
#[derive(Debug, Default)]
pub struct Recorded(Mutex<Series>);

#[derive(Debug, Default)]
struct Series {
    described: BTreeSet<String>,
    counters: BTreeMap<String, Arc<AtomicU64>>,
    gauges: BTreeMap<String, Arc<AtomicU64>>,
    histograms: BTreeMap<String, Arc<Samples>>,
}

#[derive(Debug, Default)]
struct Samples(Mutex<Vec<f64>>);

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.0.lock().expect("nobody panics while recording").push(value);
    }
}

impl Recorded {
    fn series<T>(&self, look: impl FnOnce(&mut Series) -> T) -> T {
        look(&mut self.0.lock().expect("nobody panics while recording"))
    }

    /// What it was told of, each `kind name unit`.
    pub fn described(&self) -> BTreeSet<String> {
        self.series(|series| series.described.clone())
    }

    /// All series there are, each its kind, name and labels, sorted by name.
    pub fn all(&self) -> BTreeSet<String> {
        self.series(|Series { counters, gauges, histograms, .. }| {
            let counters = counters.keys().map(|series| format!("counter {series}"));
            let gauges = gauges.keys().map(|series| format!("gauge {series}"));
            counters.chain(gauges).chain(histograms.keys().map(|series| format!("histogram {series}"))).collect()
        })
    }

    /// Where a counter stands, of the series of this name that has these labels, each `name=value`; 0 before there is one.
    pub fn counter(&self, name: &str, labels: &[&str]) -> u64 {
        self.one(name, labels, |series| &series.counters).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// The same of a gauge.
    pub fn gauge(&self, name: &str, labels: &[&str]) -> f64 {
        self.one(name, labels, |series| &series.gauges)
            .map_or(0.0, |gauge| f64::from_bits(gauge.load(Ordering::Relaxed)))
    }

    /// What a histogram was told.
    pub fn samples(&self, name: &str, labels: &[&str]) -> Vec<f64> {
        let samples = self.one(name, labels, |series| &series.histograms);
        samples.map_or_else(Vec::new, |samples| samples.0.lock().expect("nobody panics while recording").clone())
    }

    fn one<T>(&self, name: &str, labels: &[&str], of: fn(&Series) -> &BTreeMap<String, Arc<T>>) -> Option<Arc<T>> {
        let is_it =
            |series: &str| series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label));
        let found: Vec<_> = self.series(|series| {
            of(series).iter().filter(|(series, _)| is_it(series)).map(|(_, one)| one.clone()).collect()
        });
        assert!(found.len() < 2, "{} series are {name} with {labels:?}", found.len());
        found.into_iter().next()
    }
}

fn series_name(key: &Key) -> String {
    let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
    format!("{}{{{}}}", key.name(), labels.join(","))
}

impl Recorder for Recorded {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("counter", &name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("gauge", &name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("histogram", &name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let counter = || Arc::new(AtomicU64::new(0));
        Counter::from_arc(self.series(|series| series.counters.entry(series_name(key)).or_insert_with(counter).clone()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let gauge = || Arc::new(AtomicU64::new(0));
        Gauge::from_arc(self.series(|series| series.gauges.entry(series_name(key)).or_insert_with(gauge).clone()))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.series(|series| series.histograms.entry(series_name(key)).or_default().clone()))
    }
}

impl Recorded {
    fn describe(&self, kind: &str, name: &KeyName, unit: Option<Unit>) {
        let unit = unit.map_or("none", |unit| unit.as_str());
        self.series(|series| series.described.insert(format!("{kind} {} {unit}", name.as_str())));
    }
}
