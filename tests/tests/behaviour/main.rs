//! What cache_sync does, seen from outside: one behaviour per file.

mod attaching;
mod batches;
mod changes;
mod cluster;
mod dump_and_restore;
mod extension;
mod overlapping;
mod partitions;
mod poison;
mod privileges;
mod psql_tour;
mod reads;
mod rules;
mod test_faults;
mod uninstall;
mod writes;
