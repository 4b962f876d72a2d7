//! The extension `cache_sync`: tells clients which rows change, and applies what they write.
//!
//! Two walks go through it. *Changes out*: a row trigger notes what changes (`feed`), the commit publishes it in shared memory
//! (`ring`), and a backend that runs `CALL stream` sends it to its client. *Patches in*: a client's batch becomes statements over an
//! attached table (`apply`), which call the functions of the `rules` for every row. They meet in the table only: a patch's rows fire
//! the triggers like anybody's.
//!
//! Start with `feed/trigger.rs` and `feed/stream.rs`, or with `apply/batch.rs`. Each room's first page says who is in it and who calls
//! whom. `sql/` holds the install script: tables, `attach`, and the declaration of every function here.

// The plan. A room imports only rooms on floors below its own; `cargo xtask house` draws it, and a test holds it against the code.
//
// floor 6: apply     patches into rows: batches, statements, refusals, versions
// floor 6: feed      changes out: triggers, the commit, the stream
// floor 5: server    which server this is, and which epoch
// floor 4: rules     what merging makes of values: clocks, documents, lists
// floor 4: tables    what is known of attached tables
// floor 3: call      how SQL calls us: functions, arguments, results
// floor 2: ring      what lies in shared memory: changes, listeners, the clock
// floor 1: pg        Postgres made safe to call

mod apply;
mod call;
mod feed;
mod pg;
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
    feed::pending::register_callback();
    // SAFETY: a plain read of a variable that Postgres sets before it loads libraries.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        ring::install_hooks();
    }
}
