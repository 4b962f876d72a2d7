//! The extension `cache_sync`.
//!
//! ```text
//! settings   the GUCs                               failure how SQL functions fail
//! ring       changes in shared memory               function how SQL functions are declared and run
//! hlc        the clock that hands out versions
//! catalog    reads the extension's own tables       key     hashes the key of a row
//! table      what a backend knows of an attached table, read once and kept until it changes
//! slot       a row in the executor's hands
//! trigger    row and TRUNCATE triggers              pending the keys of this transaction, and the commit callback
//! epoch      the feed's identity                    subscription  the tables that one feed tells of
//! server     standby or not, and where its log ends rows    results of several rows
//! stream     `CALL stream`                          changes `changes()` and the other functions around the feed
//! notify     the feed without shared memory        look    what there is to see of it
//! books      notes for owners in the extension's tables   owner  acts as the extension's owner
//! version    the trigger that numbers UPDATEs       clock   the functions over `cs_clock`
//! session    numbered batches                       shape   compiles a patch's statements
//! apply      batches, `upsert`, `edit`, `delete`    poison  isolates patches that Postgres refuses
//! answer     arguments and results                  sqlstate  keeps the codes that users made up
//! document   what a patch makes of a JSON document   list     lists and sets
//! jsonb      objects in their own form              patches the rows of a batch
//! merge      rules as SQL meets them                 differs  whether two values of any type differ
//! backend    state of this backend                  fault   (tests only) what must not happen at a commit
//! ```
//! `sql/` holds what the scripts are made of: tables, `attach`, and the declaration of every function here.

mod answer;
mod apply;
mod backend;
mod books;
mod catalog;
mod changes;
mod clock;
mod differs;
mod document;
mod epoch;
mod failure;
#[cfg(feature = "test_faults")]
mod fault;
mod function;
mod hlc;
mod jsonb;
mod key;
mod list;
mod look;
mod merge;
mod notify;
mod owner;
mod patches;
mod pending;
mod poison;
mod ring;
mod rows;
mod server;
mod session;
mod settings;
mod shape;
mod slot;
mod sqlstate;
mod stream;
mod subscription;
mod table;
mod trigger;
mod version;

use pgrx::{pg_guard, pg_sys};

pgrx::pg_module_magic!(name, version);

/// Called by Postgres when it loads the library: in the postmaster if it is preloaded, else in each backend that uses it.
#[allow(non_snake_case)]
#[pg_guard]
extern "C-unwind" fn _PG_init() {
    settings::define();
    pending::register_callback();
    // SAFETY: a plain read of a variable that Postgres sets before it loads libraries.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        ring::install_hooks();
    }
}
