//! The same where nobody wants to hear of anything: no data, and no code.

use std::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timer;

impl Timer {
    #[inline]
    pub(crate) fn start() -> Timer {
        Timer
    }
}

pub(crate) struct Sample;

pub(crate) struct ToldAt;

impl ToldAt {
    #[inline]
    pub(crate) fn new(_hlc: i64, _age: impl FnOnce() -> Option<Duration>) -> ToldAt {
        ToldAt
    }

    pub(crate) fn unknown() -> ToldAt {
        ToldAt
    }
}

pub(crate) struct TableMeter;

impl TableMeter {
    #[inline]
    pub(crate) fn sample(&self) -> Sample {
        Sample
    }

    #[inline]
    pub(crate) fn hit(&self, _sample: Sample, _age: impl FnOnce() -> Duration) {}

    #[inline]
    pub(crate) fn miss(&self, _began: Timer) {}

    #[inline]
    pub(crate) fn load(&self, _began: Timer, _keys: usize, _is_well: bool) {}

    #[inline]
    pub(crate) fn batch(&self, _began: Timer, _patches: usize, _tries: u32) {}

    #[inline]
    pub(crate) fn settled(&self, _accepted: Timer) {}

    #[inline]
    pub(crate) fn dropped(&self, _told: &ToldAt, _version: i64) {}
}

pub(crate) struct ClientMeter;

impl ClientMeter {
    #[inline]
    pub(crate) fn new(_database: &str) -> ClientMeter {
        ClientMeter
    }

    #[inline]
    pub(crate) fn of_table(&self, _table: impl FnOnce() -> String) -> TableMeter {
        TableMeter
    }

    pub(crate) fn series(&self) -> Series {
        Series
    }

    pub(crate) fn series_of(&self, _table: String) -> Series {
        Series
    }

    #[inline]
    pub(crate) fn query(&self, _began: Timer) {}
}

pub(crate) struct Series;

impl Series {
    pub(crate) fn publish(&mut self, _counters: &[(&'static str, u64)], _gauges: &[(&'static str, u64)]) {}
}
