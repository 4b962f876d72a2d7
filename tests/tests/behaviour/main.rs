//! What cache_sync does, seen from outside: one behaviour per file.
// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

mod changes;
mod cluster;
mod dump_and_restore;
mod extension;
mod feed_changes;
mod feed_ends;
mod feed_listeners;
mod feed_of_changes_function;
mod feed_resumes;
mod feed_rights;
mod feed_stuck_client;
mod privileges;
mod psql_tour;
mod reads;
mod restart;
mod test_faults;
mod uninstall;
mod writes;
