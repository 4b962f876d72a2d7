//! The extension `cache_sync`.
//!
//! ```text
//! settings   the GUCs
//! hlc        the clock that hands out versions      ring    changes in shared memory, and who waits for them
//! table      what a backend knows of an attached table, read once and kept until it changes
//! trigger    row and TRUNCATE triggers              pending the keys of this transaction, and the commit callback
//! stream     `CALL stream`                          changes `changes()`
//! clock      the functions over `cs_clock`          shape   compiles a patch's statements
//! session    numbered batches                       apply   batches, `upsert`, `edit`, `delete`
//! poison     isolates patches that Postgres refuses
//! ```
//! `sql/` holds the install script: tables, `attach`, and the declaration of every function here.

mod answer;
mod apply;
mod books;
mod catalog;
mod clock;
mod differs;
mod epoch;
mod failure;
mod hlc;
mod key;
mod owner;
mod poison;
mod session;
mod shape;
mod sqlstate;
mod table;
mod version;

pgrx::pg_module_magic!(name, version);
