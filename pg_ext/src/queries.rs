//! What a statement reads: `dependencies()` has Postgres analyse and rewrite it, and walks what comes of that.
//!
//! ```text
//! function   `dependencies()`                              answer     what it says
//! statement  a text as Postgres understands it             constant   parameters and constants that columns are compared with
//! level      a query and its FROM, and those inside it     fact       what must be so of rows that matter
//! relation   a table that is read                          qual       what a condition says of columns
//! calls      functions that read what nobody tells of      scope      which column of which level it is
//! tree       Postgres' nodes and lists
//! ```
//! `level` goes down from query to query with the facts that are known there; a `relation` looks among them for what pins its tags.

mod answer;
mod calls;
mod constant;
mod fact;
mod function;
mod level;
mod qual;
mod relation;
mod scope;
mod statement;
mod tree;
