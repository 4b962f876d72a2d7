//! A per-key cache in your application that stays in step with its Postgres.
#![forbid(unsafe_code)]

mod fields;
mod key;
mod layout;
mod row;
mod text;

pub use key::{Key, KeyPart, KeyVisitor};
