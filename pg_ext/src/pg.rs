//! Postgres made safe to call: nothing here knows of changes or patches.
//!
//! ```text
//! failure   how SQL functions fail              owner       acts as the extension's owner, or a table's
//! sqlstate  keeps the codes that users made up  rights      what the current user may do with a relation
//! backend   state of this backend               class       a relation's row in the system catalogs
//! settings  the GUCs                            standby     standby or not, and where the log ends
//! value     values of any type                  descriptor  the columns of a relation
//! slot      a row in the executor's hands       fault       (tests only) what must not happen at a commit
//! host_time  the clock of the server's host   latest    statements that see what is committed by now
//! patience  how long statements wait for locks
//! ```
//! All fail by `failure`; `owner` and `rights` ask `class`.

pub(crate) mod backend;
mod class;
pub(crate) mod descriptor;
pub(crate) mod failure;
#[cfg(feature = "test_faults")]
pub(crate) mod fault;
pub(crate) mod host_time;
pub(crate) mod latest;
pub(crate) mod owner;
pub(crate) mod patience;
pub(crate) mod rights;
pub(crate) mod settings;
pub(crate) mod slot;
pub(crate) mod sqlstate;
pub(crate) mod standby;
pub(crate) mod value;
