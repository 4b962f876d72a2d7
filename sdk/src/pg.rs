//! Everything that is said to Postgres, and every SQL text.
//!
//! ```text
//! connection    how connections are made, and what is set on each     pooler   whether a pooler lies in between
//! store         the pool, and questions asked over it                 stream   what turns a connection into a feed
//! describe      what the extension says of itself and of a table      load     rows by key
//! lease         a connection of the pool while it is in use           statements  what each of them keeps prepared
//! select        queries of the user's                                 apply    batches, on a connection of their own
//! server_state  which server answers, and how far it is               within   time-outs      failure  how questions fail
//! ```

mod apply;
mod connection;
mod describe;
mod failure;
mod lease;
mod load;
mod pooler;
mod select;
mod server_state;
mod statements;
mod store;
mod stream;
mod within;

pub(crate) use apply::{BatchConnection, Sending};
pub(crate) use connection::{Connector, Endpoint, FEED, Messages};
pub(crate) use failure::is_misfit;
pub(crate) use lease::Connections;
pub(crate) use load::{LoadState, LoadStatement, LoadedRow, Loading, Taking};
pub(crate) use pooler::SessionCheck;
pub(crate) use select::{NextExpiry, Selected};
pub(crate) use server_state::{History, SERVER_STATE, ServerState};
pub(crate) use store::Store;
pub(crate) use stream::{LISTEN, LISTEN_STATE, NOT_PRELOADED, Since, stream_statement};
pub(crate) use within::within;
