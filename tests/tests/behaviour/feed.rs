//! What the server tells of changes: every key, once its transaction is committed, to each listener; or that something is missing.
//! Listening costs neither writers nor the server.

mod by_hand;
mod changes_function;
mod ends;
mod hazards;
mod listeners;
mod listens;
mod long_poll;
mod many_keys;
mod notify;
mod resumes;
mod statements;
mod stats;
mod stuck_client;
mod tags;
mod without_preloading;
