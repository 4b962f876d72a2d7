//! What is measured where it happens: for the facade `metrics`, if the feature of that name is on. Else all of it is empty.
//!
//! ```text
//! catalog  every metric, for people and exporters    timer       when something began
//! table    what is measured of a table               client      of a client
//! series   counters and gauges that are published    unmeasured  the same without the feature
//! ```
//!
//! Whoever calls says what happened, and in a closure what it costs something to know: it is called where somebody wants to hear of it.

#[cfg(feature = "metrics")]
mod catalog;
#[cfg(feature = "metrics")]
mod client;
#[cfg(feature = "metrics")]
mod series;
#[cfg(feature = "metrics")]
mod table;
#[cfg(feature = "metrics")]
mod timer;
#[cfg(not(feature = "metrics"))]
mod unmeasured;

#[cfg(feature = "metrics")]
pub use catalog::{METRICS, Metric, MetricKind};
#[cfg(feature = "metrics")]
pub(crate) use client::ClientMeter;
#[cfg(feature = "metrics")]
pub(crate) use series::Series;
#[cfg(feature = "metrics")]
pub(crate) use table::{TableMeter, ToldAt};
#[cfg(feature = "metrics")]
pub(crate) use timer::Timer;
#[cfg(not(feature = "metrics"))]
pub(crate) use unmeasured::{ClientMeter, Series, TableMeter, Timer, ToldAt};

/// Whether anybody can want to hear of what is measured.
pub(crate) const IS_ON: bool = cfg!(feature = "metrics");
