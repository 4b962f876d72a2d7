//! Everything that is said to Postgres, and every SQL text.
//!
//! ```text
//! connection    how connections are made, and what is set on each     pooler   whether a pooler lies in between
//! connector     who makes them                                        encryption  with TLS or without
//! login         with which password, and why they are not made        feed     a connection that tells what was committed
//! postgres      the pool, and questions asked over it                database as what a client's database has to be
//! describe      what the extension says of itself and of a table      load     rows by key
//! lease         a connection of the pool while it is in use           statements  what each of them keeps prepared
//! select        queries of the user's                                 apply    batches, on a connection of their own
//! server_state  which server answers, and how far it is               doubt    whether it is the one to ask
//! failure       how questions fail
//! lent          connections of a pool that is the application's own  check    whether such a pool will do
//! mode          what a DSN asks of TLS, held against its hosts        hosts    each of several by itself
//! unpublished   whose changes may be seen before they are told
//! ```

mod apply;
mod check;
mod connection;
mod connector;
mod database;
mod describe;
mod doubt;
mod encryption;
mod failure;
mod feed;
mod hosts;
mod lease;
mod lent;
mod load;
mod login;
mod mode;
mod pooler;
mod postgres;
mod select;
mod server_state;
mod statements;
mod unpublished;

pub(crate) use connection::{Endpoint, prefer_primary, share_time};
pub(crate) use connector::Connector;
pub(crate) use encryption::Given;
pub(crate) use lease::Connections;
pub(crate) use load::{Ahead, load};
pub(crate) use login::Login;
pub(crate) use mode::mode_for;
pub(crate) use pooler::SessionCheck;
pub(crate) use postgres::Postgres;
pub(crate) use server_state::{History, SERVER_STATE, ServerState};
