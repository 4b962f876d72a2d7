//! Postgres made safe to call: errors, rights, settings, and what belongs to one backend.

pub(crate) mod backend;
pub(crate) mod failure;
#[cfg(feature = "test_faults")]
pub(crate) mod fault;
pub(crate) mod owner;
pub(crate) mod settings;
pub(crate) mod slot;
pub(crate) mod sqlstate;
