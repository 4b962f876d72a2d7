//! What an application does with a cache: rows are served from memory and loaded when they are not there, what is written is seen at
//! once, and queries are kept like rows. Nothing that was accepted is lost, and what cannot be done is said.

mod cannot_connect;
mod changes;
mod closes;
mod collisions;
mod connecting;
mod connections;
mod counting;
mod eviction;
mod found;
mod full_buffer;
mod given_up;
mod hits;
mod isolation;
mod key_types;
mod last_handle;
mod live;
mod live_queries;
mod many_queries;
mod one_row;
mod opening;
mod operations;
mod packed;
mod passwords;
mod queries;
mod query_ends;
mod query_terms;
mod query_values;
mod reads;
mod renamed_columns;
mod settings;
mod skipped;
mod types;
mod value_types;
mod values;
mod writes;
