//! What cache_sync does, seen from outside: one behaviour per file.

// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

mod attaching;
mod batch_under_way;
mod batches;
mod changes;
mod cluster;
mod collisions;
mod commit_without_publish;
mod connections;
mod documents;
mod dump_and_restore;
mod eviction;
mod exactly_once;
mod extension;
mod feed_changes;
mod feed_ends;
mod feed_listeners;
mod feed_of_changes_function;
mod feed_resumes;
mod feed_rights;
mod feed_stuck_client;
mod foreign_changes;
mod full_buffer;
mod hits;
mod isolation;
mod null_arguments;
mod outage;
mod overlapping;
mod partitions;
mod poison;
mod privileges;
mod psql_tour;
mod reads;
mod recheck;
mod restart;
mod rule_agreement;
mod rules;
mod schemas_alter;
mod schemas_columns;
mod schemas_keys;
mod schemas_others;
mod schemas_partitions;
mod silence;
mod stamps;
mod subscription;
mod test_faults;
mod two_servers;
mod uninstall;
mod values;
mod waiting_insert;
mod writes;
