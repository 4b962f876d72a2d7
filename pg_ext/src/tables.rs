//! What is known of attached tables.
//!
//! ```text
//! known     what a backend knows of them, read once and kept until it changes
//! books     notes for owners in the extension's tables
//! triggers  makes those of attached tables
//! read      reads what there is to know
//! table     an attached table              tag   a column on which queries can depend
//! catalog   the extension's own tables     key   how the columns of a key are hashed
//! ```
//! Triggers ask `known`, which has `read` make a `table` of what `catalog` says and of the system catalogs.

mod books;
pub(crate) mod catalog;
pub(crate) mod key;
pub(crate) mod known;
mod read;
pub(crate) mod table;
mod tag;
mod triggers;
