//! The functions that people call: they do what docs/sql.md says, and whatever they are given, there is a clear answer or a clear
//! error, and nothing half done.

mod bad_input;
mod by_psql_alone;
mod dependencies;
mod garbage;
mod null_in_each_place;
mod odd_input;
mod reference;
mod what_errors_say;
