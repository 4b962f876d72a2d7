//! What merging makes of values.

pub(crate) mod clock;
mod differs;
pub(crate) mod document;
pub(crate) mod jsonb;
pub(crate) mod list;
mod merge;
