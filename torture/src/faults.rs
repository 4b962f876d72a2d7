//! What goes wrong, by seed: of each fault when it begins, whom it meets, how much, and for how long.
//!
//! ```text
//! plan    which faults, drawn by dice       blow   one of them: how it begins and ends       kind  what there is
//! link    the network between a node and the server, each direction by itself
//! arena   what is done to the servers       servers  where they are       kills  what ends their processes
//! ```

mod arena;
mod blow;
mod kills;
mod kind;
mod link;
mod plan;
mod servers;

pub(crate) use arena::Arena;
pub(crate) use blow::Struck;
pub(crate) use kills::Kill;
pub(crate) use kind::Kind;
pub(crate) use link::Link;
pub(crate) use plan::{Choice, Plan};
pub(crate) use servers::Servers;
