//! What cache_sync does, seen from outside: one behaviour per file.

mod changes;
mod cluster;
mod dump_and_restore;
mod extension;
mod privileges;
mod psql_tour;
mod reads;
mod test_faults;
mod uninstall;
mod writes;
