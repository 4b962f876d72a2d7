//! Patches into rows.
//!
//! ```text
//! batch    `apply`: numbered batches             single   `upsert`, `edit`, `delete`, `compare_and_set`
//! letter   refused patches once more             version  the trigger that numbers UPDATEs
//! rounds   applies parts of a batch              patches  the rows of a batch as SQL reads them
//! part     the patches of one shape              session  a client's numbered line of batches
//! places   what a patch says beside its columns  shape    compiles a shape's statements
//! poison   isolates patches that are refused     kept     what statements remember
//! counted  counts batches for operators
//! ```
//! `batch`, `single` and `letter` make parts of what they are given (`part`, `places`, `shape`) and have `rounds` run their statements,
//! `batch` in a subtransaction of `poison`. `session` says whether a batch is the next one. Where a statement updates a row, Postgres
//! calls `version`.

mod batch;
mod counted;
mod kept;
mod letter;
mod part;
mod patches;
mod places;
mod poison;
mod rounds;
mod session;
mod shape;
mod single;
mod version;

pub(crate) use shape::install_hooks;
