//! What cache_sync does, seen from outside: one behaviour per file.

mod batch_under_way;
mod changes;
mod cluster;
mod commit_without_publish;
mod connections;
mod dump_and_restore;
mod eviction;
mod exactly_once;
mod extension;
mod foreign_changes;
mod full_buffer;
mod hits;
mod isolation;
mod outage;
mod privileges;
mod psql_tour;
mod reads;
mod silence;
mod stamps;
mod subscription;
mod test_faults;
mod two_servers;
mod uninstall;
mod waiting_insert;
mod writes;
