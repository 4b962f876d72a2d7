//! Compiles the statements of a shape: one operation on one set of fields.
//!
//! ```text
//! target     a table, with what was compiled for it    compiled   the statements of a shape
//! text       their SQL texts                           by_key     those of a table that go by keys alone
//! rule       what rules are in SQL                     source     the patches as a table of a statement
//! writer     who writes, and what fields are           sql        words that all are made of
//! layout     what the catalogs say of the table        operation  the shape itself
//! statement  saved statements                          planning   how the planner plans them
//! ```
//! `target` compiles on first use: `compiled` has a `writer` write the `text`, which takes its parts from `rule` and `source`.

mod by_key;
mod compiled;
mod layout;
mod operation;
mod planning;
mod rule;
mod source;
mod sql;
mod statement;
mod target;
mod text;
mod writer;

pub(super) use compiled::Compiled;
pub(super) use operation::Shape;
pub(super) use planning::Planning;
pub(crate) use planning::install_hooks;
pub(super) use statement::{Lazy, Row, Statement};
pub(super) use target::{Target, known, target};
