//! What tests, demo, bench, torture, cluster and xtask have in common.
//!
//! ```text
//! command     runs other programs         arguments   takes a command line apart     exit    how a program ends
//! wait        until a condition holds     connect     to a database                  lock    a mutex
//! dice        random numbers              statistics  medians, quantiles             report  figures as JSON
//! clock       the one of all processes    histogram   durations, counted      error   one error for all
//! ```
//! Nothing in here knows of the SDK, the extension or clusters. What has a single user stays with it.
#![forbid(unsafe_code)]

mod arguments;
pub mod clock;
pub mod command;
#[cfg(feature = "async")]
mod connect;
mod dice;
mod error;
pub mod exit;
mod histogram;
mod lock;
mod report;
pub mod statistics;
pub mod wait;

pub use arguments::{CommandLine, Values};
#[cfg(feature = "async")]
pub use connect::connect;
pub use dice::Dice;
pub use error::{During, Error, Result};
pub use histogram::Histogram;
pub use lock::locked;
pub use report::write_json;
