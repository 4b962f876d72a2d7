//! What operators do: install, preload, upgrade, dump, restore, pool and drop. The documents' commands work, and nothing is left
//! behind. The tests' own clusters and faults are tried here, too.

mod cluster;
mod commit_callback;
mod copied;
mod create_and_drop;
mod dumped_by_its_owner;
mod install;
mod leftovers;
mod logical_replication;
mod pooler;
mod readme;
mod restored;
mod single_user;
mod statistics;
mod test_faults;
mod uninstall;
mod upgrade;
mod while_connected;
