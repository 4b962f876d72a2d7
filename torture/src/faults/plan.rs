//! Which faults come next. All of it is drawn by dice before anything happens, so a seed repeats the schedule.

use super::blow::Blow;
use super::kills::Kill;
use super::kind::Kind;
use cache_sync_kit::{Dice, Result};
use std::fmt;
use std::time::Duration;

/// With how often each is drawn.
const KINDS: [(Kind, u64); 15] = [
    (Kind::Late, 4),
    (Kind::Uneven, 3),
    (Kind::LateOutcomes, 3),
    (Kind::Trickle, 3),
    (Kind::BlackHole, 3),
    (Kind::Cut, 2),
    (Kind::Stopped, 2),
    (Kind::Slept, 1),
    (Kind::HeldRows, 2),
    (Kind::HeldTable, 1),
    (Kind::Swapped, 3),
    (Kind::Detached, 1),
    (Kind::Snapshot, 1),
    (Kind::StandbyPaused, 3),
    // Only if it is asked for.
    (Kind::SwitchedOver, 0),
];
/// How often it is one of the kills.
const KILLS: u64 = 4;
const KILL_NAME: &str = "kill";

/// From which kinds is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    kinds: Vec<(Kind, u64)>,
    kills: u64,
}

impl Default for Choice {
    fn default() -> Choice {
        Choice { kinds: KINDS.to_vec(), kills: KILLS }
    }
}

impl Choice {
    /// Names of kinds, with commas; `kill` is all kills.
    ///
    /// # Errors
    /// There is no such kind.
    pub(crate) fn parse(names: &str) -> Result<Choice> {
        let mut choice = Choice { kinds: Vec::new(), kills: 0 };
        for name in names.split(',').filter(|name| !name.is_empty()) {
            match KINDS.iter().find(|(kind, _)| kind.name() == name) {
                Some((kind, often)) => choice.kinds.push((*kind, (*often).max(1))),
                None if name == KILL_NAME => choice.kills = KILLS,
                None => {
                    let known: Vec<&str> = KINDS.iter().map(|(kind, _)| kind.name()).collect();
                    return Err(format!("there is no fault {name}; there are {}, {KILL_NAME}", known.join(", ")).into());
                }
            }
        }
        Ok(choice)
    }

    /// Whether the primary changes: connection strings then name both places.
    pub(crate) fn switches_over(&self) -> bool {
        self.kinds.iter().any(|(kind, often)| *kind == Kind::SwitchedOver && *often > 0)
    }

    fn draw(&self, dice: &mut Dice, has_standby: bool) -> Option<Kind> {
        let kinds = || {
            self.kinds
                .iter()
                .filter(|(kind, _)| has_standby || !matches!(kind, Kind::StandbyPaused | Kind::SwitchedOver))
        };
        let all = kinds().map(|(_, often)| often).sum::<u64>() + self.kills;
        let mut left = dice.below(all.max(1));
        for (kind, often) in kinds() {
            if left < *often {
                return Some(*kind);
            }
            left -= often;
        }
        (self.kills > 0).then(|| Kind::Killed(Kill::any(dice)))
    }
}

/// What happens in a round.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How long everybody acts undisturbed.
    pub(crate) calm: Duration,
    pub(crate) blows: Vec<Blow>,
    /// How long they last.
    pub(crate) lasts: Duration,
}

impl Plan {
    pub(crate) fn next(dice: &mut Dice, choice: &Choice, has_standby: bool) -> Plan {
        let calm = Duration::from_millis(300 + dice.below(700));
        let lasts = Duration::from_millis(5000 + dice.below(3000));
        let mut blows: Vec<Blow> = Vec::new();
        for _ in 0..1 + dice.below(2) {
            let Some(kind) = choice.draw(dice, has_standby) else { continue };
            let is_link = |kind: Kind| kind <= Kind::Cut || kind == Kind::Swapped;
            let blow = Blow::draw(dice, kind);
            // Two that set the same link would undo each other.
            if !blows.iter().any(|other| other.kind == kind || (is_link(other.kind) && is_link(kind))) {
                blows.push(blow);
            }
        }
        Plan { calm, blows, lasts }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blows: Vec<String> = self.blows.iter().map(ToString::to_string).collect();
        write!(f, "{} for {} ms", blows.join(" and "), self.lasts.as_millis())
    }
}
