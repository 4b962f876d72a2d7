//! What is known of attached tables.

mod books;
pub(crate) mod catalog;
pub(crate) mod key;
pub(crate) mod table;
