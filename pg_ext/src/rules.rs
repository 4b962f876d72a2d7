//! What merging makes of values: the functions that the statements of `apply` call for every row and field. What a rule means says
//! `cache_sync_core`; here its words meet Postgres' values.
//!
//! ```text
//! merge     rules as SQL meets them              differs   whether two values of any type differ
//! document  what a patch makes of a document     list      lists and sets
//! clock     the functions over `cs_clock`        jsonb     objects and lists in their own form
//! ```
//! `document` reads stamps by `clock` and merges by `jsonb` where it can; `list` counts and cuts by `jsonb`.

pub(crate) mod clock;
mod differs;
pub(crate) mod document;
pub(crate) mod jsonb;
pub(crate) mod list;
mod merge;
