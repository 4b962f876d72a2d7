//! The extension `cache_sync`.
//!
//! Start where Postgres comes in: [`apply`] for what the SDK writes, [`feed::trigger`] and [`feed::stream`] for what it hears. Each
//! room's first page says who is in it and who calls whom. `sql/` holds the install script: tables, `attach`, and the declaration of
//! every function here.

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
