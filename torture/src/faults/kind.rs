//! The kinds of faults.

use super::kills::Kill;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// All that the server says comes late, over all connections or the feed's alone.
    Late,
    /// Loads are late, each connection by its own share: a little, or longer than what is read may be old while the feed is late, too.
    Uneven,
    /// The feed is a little late, and outcomes are very late.
    LateOutcomes,
    /// Few bytes come through in a second.
    Trickle,
    /// Nothing comes through in one direction; then all of it does, or the connections end.
    BlackHole,
    /// Connections end, and no new ones are made.
    Cut,
    /// SIGSTOP.
    Stopped,
    /// The machine has slept: the node's clock goes on.
    Slept,
    /// Hot rows are locked.
    HeldRows,
    HeldTable,
    /// A name comes to mean another table, while the feed is late.
    Swapped,
    /// A table is detached for a while.
    Detached,
    /// A snapshot is held for minutes.
    Snapshot,
    /// The standby stays where it is.
    StandbyPaused,
    /// The standby becomes the primary.
    SwitchedOver,
    Killed(Kill),
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Late => "late",
            Kind::Uneven => "uneven",
            Kind::LateOutcomes => "late-outcomes",
            Kind::Trickle => "trickle",
            Kind::BlackHole => "black-hole",
            Kind::Cut => "cut",
            Kind::Stopped => "stopped",
            Kind::Slept => "slept",
            Kind::HeldRows => "held-rows",
            Kind::HeldTable => "held-table",
            Kind::Swapped => "swapped",
            Kind::Detached => "detached",
            Kind::Snapshot => "snapshot",
            Kind::StandbyPaused => "standby-paused",
            Kind::SwitchedOver => "switched-over",
            Kind::Killed(kill) => kill.name(),
        }
    }
}
