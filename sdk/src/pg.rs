//! Everything that is said to Postgres, and every SQL text.
//!
//! ```text
//! connection    how connections are made, and what is set on each     pooler   whether a pooler lies in between
//! connector     who makes them                                        encryption  with TLS or without
//! login         with which password, and why they are not made        breaker  whether Postgres is known to be away
//! store         the pool, and questions asked over it                 stream   what turns a connection into a feed
//! describe      what the extension says of itself and of a table      load     rows by key
//! lease         a connection of the pool while it is in use           statements  what each of them keeps prepared
//! select        queries of the user's                                 apply    batches, on a connection of their own
//! server_state  which server answers, and how far it is               doubt    whether it is the one to ask
//! within        time-outs                                             failure  how questions fail
//! lent          connections of a pool that is the application's own  check    whether such a pool will do
//! mode          what a DSN asks of TLS, held against its hosts        hosts    each of several by itself
//! unpublished   whose changes may be seen before they are told
//! ```

mod apply;
mod breaker;
mod check;
mod connection;
mod connector;
mod describe;
mod doubt;
mod encryption;
mod failure;
mod hosts;
mod lease;
mod lent;
mod load;
mod login;
mod mode;
mod pooler;
mod select;
mod server_state;
mod statements;
mod store;
mod stream;
mod unpublished;
mod within;

pub(crate) use apply::{BatchConnection, Connected, Sending};
pub(crate) use connection::{Endpoint, FEED, prefer_primary, share_time};
pub(crate) use connector::{Connector, Messages};
pub(crate) use encryption::Given;
pub(crate) use lease::Connections;
pub(crate) use load::{LoadState, LoadStatement, LoadedRow, Loading, Taking};
pub(crate) use login::Login;
pub(crate) use mode::mode_for;
pub(crate) use pooler::SessionCheck;
pub(crate) use select::{NextExpiry, Selected};
pub(crate) use server_state::{History, SERVER_STATE, ServerState};
pub(crate) use store::Store;
pub(crate) use stream::{LISTEN, LISTEN_STATE, Since, stream_statement};
pub(crate) use unpublished::Ending;
pub(crate) use within::within;
