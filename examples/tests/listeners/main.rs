//! The listeners in Python and Node follow rows through everything that happens to table, feed and server, and their packages say what happens.
//!
//! - `rows`: the examples show what the table has
//! - `told`: the packages say what happens
//! - `silence`: connections that hang, and callers who take nothing
//! - `printer`: a program that prints what a package tells; `process`: it ends with its owner; `languages`: what they run in

#![allow(clippy::unwrap_used)]

mod languages;
mod printer;
mod process;
mod rows;
mod silence;
mod told;

use cache_sync_tests::{Database, SOON, wait_blocking};

/// Ends every connection to the database but its own.
const END_ALL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()";

/// Each of these is a test with the package for Python and one with that for Node: it is given the script that prints.
macro_rules! each_language {
    ($($test:ident),* $(,)?) => {
        mod python { $(#[test] fn $test() { super::$test("printer.py"); })* }
        mod node { $(#[test] fn $test() { super::$test("printer.js"); })* }
    };
}
use each_language;

/// Waits until what was committed before is older than this, on the server's clock.
fn until_older_than(db: &Database<'_>, age: &str) {
    let at = db.psql("SELECT clock_timestamp()");
    let asked = format!("SELECT clock_timestamp() > '{at}'::timestamptz + interval '{age}'");
    wait_blocking(SOON, || format!("{age} after {at}"), || db.psql(&asked) == "t");
}
