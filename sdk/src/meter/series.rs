//! Counters and gauges that are published now and then.

use ::metrics::{Counter, Gauge, Label, counter, gauge};

/// Those of a cache, or of what a client has beside its caches.
///
/// What several have of the same name is added up: each one adds by how much its own has changed. So a cache that is opened again goes on
/// where the last one has ended, and one that is closed takes its share out of the gauges.
pub(crate) struct Series {
    labels: Vec<Label>,
    counters: Vec<(Counter, u64)>,
    gauges: Vec<(Gauge, u64)>,
}

impl Series {
    pub(super) fn new(labels: Vec<Label>) -> Series {
        Series { labels, counters: Vec::new(), gauges: Vec::new() }
    }

    /// Says where they are. It is always the same ones, in the same order.
    pub(crate) fn publish(&mut self, counters: &[(&'static str, u64)], gauges: &[(&'static str, u64)]) {
        let Series { labels, counters: known_counters, gauges: known_gauges } = self;
        if known_counters.is_empty() && known_gauges.is_empty() {
            // Here, so that they are there with their zeros.
            *known_counters = counters.iter().map(|(name, _)| (counter!(*name, labels.clone()), 0)).collect();
            *known_gauges = gauges.iter().map(|(name, _)| (gauge!(*name, labels.clone()), 0)).collect();
        }
        for ((counter, last), (_, now)) in known_counters.iter_mut().zip(counters) {
            counter.increment(now.saturating_sub(*last));
            *last = *now;
        }
        for ((gauge, last), (_, now)) in known_gauges.iter_mut().zip(gauges) {
            // Whole numbers, so that nothing is left of them when all have gone.
            match now.checked_sub(*last) {
                Some(more) => gauge.increment(more as f64),
                None => gauge.decrement((*last - *now) as f64),
            }
            *last = *now;
        }
    }
}

/// It is no more: what it had is taken out.
impl Drop for Series {
    fn drop(&mut self) {
        self.gauges.iter().for_each(|(gauge, last)| gauge.decrement(*last as f64));
    }
}
