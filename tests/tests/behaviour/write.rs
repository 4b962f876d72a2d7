//! Patches become rows: each batch is applied once and in the order of keys, each patch has an outcome, and what Postgres refuses
//! is kept with its reason and holds up nobody.

mod batches;
mod by_hand;
mod compare_and_set;
mod dead_letters;
mod exactly_once;
mod expiry;
mod held_rows;
mod held_snapshot;
mod locks;
mod many_shapes;
mod one_key;
mod other_key;
mod overlapping;
mod patches_as_rows;
mod piled_up;
mod refusals_told;
mod refused_for_good;
mod requeue;
mod rows_of_partitions;
mod sessions;
mod suspicion;
mod swapped_meanwhile;
mod whose_fault;
