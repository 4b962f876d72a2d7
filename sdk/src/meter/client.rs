//! What is measured of a client.

use super::catalog::describe;
use super::series::Series;
use super::table::TableMeter;
use super::timer::Timer;
use ::metrics::{Histogram, Label, histogram};

/// What is measured of a client. Clients of one database have the same series, and their numbers are added up.
pub(crate) struct ClientMeter {
    labels: Vec<Label>,
    query_load: Histogram,
}

impl ClientMeter {
    pub(crate) fn new(database: &str) -> ClientMeter {
        describe();
        let labels = vec![Label::new("database", database.to_owned())];
        ClientMeter { query_load: histogram!("cache_sync_query_load_seconds", labels.clone()), labels }
    }

    /// That of one of its tables.
    pub(crate) fn of_table(&self, table: impl FnOnce() -> String) -> TableMeter {
        TableMeter::new(self.labels_of(table()))
    }

    /// Its counters and gauges.
    pub(crate) fn series(&self) -> Series {
        Series::new(self.labels.clone())
    }

    /// Those of one of its tables.
    pub(crate) fn series_of(&self, table: String) -> Series {
        Series::new(self.labels_of(table))
    }

    fn labels_of(&self, table: String) -> Vec<Label> {
        [&self.labels[..], &[Label::new("table", table)]].concat()
    }

    /// A query was sent to Postgres, and has been answered.
    pub(crate) fn query(&self, began: Timer) {
        self.query_load.record(began.elapsed());
    }
}
