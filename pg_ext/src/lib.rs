//! The extension `cache_sync`: tells clients which rows change, and applies what they write.
//!
//! Two walks go through it. *Changes out*: a row trigger notes what changes and the commit publishes it (`commit`) in shared memory
//! (`ring`), from where a backend that runs `CALL stream` (`feed`) sends it to its client. *Patches in*: a client's batch becomes statements over an
//! attached table (`apply`), which call the functions of the `rules` for every row. They meet in the table only: a patch's rows fire
//! the triggers like anybody's.
//!
//! Start with `commit/trigger.rs` and `feed/stream.rs`, or with `apply/batch.rs`. Each room's first page says who is in it and who calls
//! whom. `sql/` holds what the scripts are made of: tables, `attach`, and the declaration of every function here.

// The plan. A room imports only rooms on floors below its own; `cargo xtask house` draws it, and a test holds it against the code.
//
// floor 6: apply     patches into rows: batches, statements, refusals, versions
// floor 6: commit    what a transaction changes, noted by triggers and told by its commit
// floor 6: feed      what clients hear: the stream, and the tables that it tells of
// floor 5: queries   what a statement reads
// floor 5: server    which server this is, and which epoch
// floor 4: rules     what merging makes of values: clocks, documents, lists
// floor 4: tables    what is known of attached tables
// floor 3: call      how SQL calls us: functions, arguments, results
// floor 2: ring      what lies in shared memory: changes, listeners, the clock
// floor 1: pg        Postgres made safe to call

mod apply;
mod call;
mod commit;
mod feed;
mod pg;
mod queries;
mod ring;
mod rules;
mod server;
mod tables;

use pgrx::{pg_guard, pg_sys};

pgrx::pg_module_magic!(name, version);

/// Called by Postgres when it loads the library: in the postmaster if it is preloaded, else in each backend that uses it.
#[allow(non_snake_case)]
#[pg_guard]
extern "C-unwind" fn _PG_init() {
    pg::settings::define();
    commit::pending::register_callback();
    apply::install_hooks();
    // SAFETY: a plain read of a variable that Postgres sets before it loads libraries.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        ring::install_hooks();
    }
}
