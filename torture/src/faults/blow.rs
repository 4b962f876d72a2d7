//! One fault: how it begins, and how it ends.

use super::arena::{Arena, Console};
use super::kind::Kind;
use super::link::{Purpose, Way, Weather};
use crate::ordeal::{BOUND, Node};
use crate::tables::{KEPT_TABLE, SWAPPED_TABLE, attach};
use cache_sync_kit::{Dice, Result, command, locked};
use std::fmt;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// A fault with all that is drawn for it.
#[derive(Clone, Debug)]
pub(crate) struct Blow {
    pub(crate) kind: Kind,
    /// The number of the node that it meets; `None`: all.
    node: Option<usize>,
    is_up: bool,
    /// Only the feed's connections.
    feed_alone: bool,
    /// How much of it, in thousandths.
    strength: u64,
    /// What there are two ways of: it comes by and by, or at once; it ends with the connections, or they go on.
    is_hard: bool,
}

/// What has to be ended.
pub(crate) struct Struck {
    blow: Blow,
    console: Option<Console>,
}

impl Blow {
    pub(super) fn draw(dice: &mut Dice, kind: Kind) -> Blow {
        let node = dice.once_in(2).then(|| dice.below(4) as usize);
        let (is_up, feed_alone) = (dice.once_in(3), dice.once_in(2));
        Blow { kind, node, is_up, feed_alone, strength: dice.below(1000), is_hard: dice.once_in(2) }
    }

    /// From the low to the high end, by strength.
    fn between(&self, low: u64, high: u64) -> u64 {
        low + (high - low) * self.strength / 1000
    }

    /// Longer than what is read may be old.
    fn over_bound_ms(&self) -> u64 {
        let bound = BOUND.as_millis() as u64;
        self.between(bound * 3 / 2, bound * 11 / 5)
    }

    fn met<'n>(&self, nodes: &'n mut [Node]) -> Vec<&'n mut Node> {
        let is_met = |number: usize| self.node.is_none_or(|node| node == number);
        nodes.iter_mut().enumerate().filter(|(number, _)| is_met(*number)).map(|(_, node)| node).collect()
    }

    pub(crate) async fn strike(&self, arena: &mut Arena, nodes: &mut [Node]) -> Result<Struck> {
        for node in self.met(nodes) {
            self.disturb(&node.link.weather);
            match self.kind {
                Kind::Cut => node.link.cut(),
                Kind::Stopped => signal(node, "-STOP")?,
                Kind::Slept => node.process.tell(&format!("suspend {}", self.between(500, 60_000))).await?,
                _ => {}
            }
        }
        let rows = format!("SELECT FROM {KEPT_TABLE} WHERE id <= 4 ORDER BY id FOR UPDATE");
        let table = format!("LOCK TABLE {KEPT_TABLE}");
        let console = match self.kind {
            Kind::HeldRows => arena.console(&rows).await,
            Kind::HeldTable => arena.console(&table).await,
            Kind::Snapshot => {
                arena.hold_snapshot(Duration::from_secs(self.between(30, 180)));
                None
            }
            Kind::Swapped => {
                // A while after the feed has become late: loads meet the other table before that is told.
                tokio::time::sleep(Duration::from_millis(200)).await;
                arena.swap().await?;
                None
            }
            Kind::Detached => {
                arena.insist(&format!("SELECT cache_sync.detach('{SWAPPED_TABLE}')"), "42704").await?;
                None
            }
            Kind::StandbyPaused => {
                arena.pause_standby(true)?;
                None
            }
            Kind::SwitchedOver => {
                arena.switch_over()?;
                None
            }
            Kind::Killed(kill) => {
                arena.kill(kill)?;
                None
            }
            _ => None,
        };
        Ok(Struck { blow: self.clone(), console })
    }

    /// What the network does from now on.
    fn disturb(&self, weather: &Weather) {
        let way = if self.is_up { &weather.up } else { &weather.down };
        let late = |purpose: Purpose, millis: u64| weather.down.late[purpose as usize].store(millis, Ordering::Release);
        match self.kind {
            Kind::Late => {
                *locked(&weather.creeps_since) = (!self.is_hard).then(Instant::now);
                late(Purpose::Feed, self.over_bound_ms());
                if !self.feed_alone {
                    late(Purpose::Flusher, self.over_bound_ms());
                    late(Purpose::Loads, self.over_bound_ms());
                }
            }
            Kind::Uneven => {
                weather.is_uneven.store(true, Ordering::Release);
                if self.is_hard {
                    // While others are answered at once, readers come to a load that is as old as what it brings.
                    late(Purpose::Feed, self.over_bound_ms());
                    late(Purpose::Loads, self.over_bound_ms());
                } else {
                    late(Purpose::Loads, self.between(300, 1500));
                }
            }
            Kind::LateOutcomes => {
                late(Purpose::Flusher, self.between(3400, 4800));
                late(Purpose::Feed, self.between(500, 1500));
            }
            // Loads meet the other table before its change is told.
            Kind::Swapped => late(Purpose::Feed, self.over_bound_ms()),
            Kind::Trickle => way.bytes_per_second.store(self.between(200, 4000), Ordering::Release),
            Kind::BlackHole => way.stalled.store(true, Ordering::Release),
            Kind::Cut => weather.refused.store(true, Ordering::Release),
            _ => {}
        }
    }
}

/// The network is good again.
fn clear(weather: &Weather) {
    let clear_way = |way: &Way| {
        way.late.iter().for_each(|late| late.store(0, Ordering::Release));
        way.bytes_per_second.store(0, Ordering::Release);
        way.stalled.store(false, Ordering::Release);
    };
    clear_way(&weather.up);
    clear_way(&weather.down);
    *locked(&weather.creeps_since) = None;
    weather.is_uneven.store(false, Ordering::Release);
    weather.refused.store(false, Ordering::Release);
}

impl Struck {
    pub(crate) async fn heal(self, arena: &mut Arena, nodes: &mut [Node]) -> Result<()> {
        let Struck { blow, console } = self;
        for node in blow.met(nodes) {
            if blow.kind == Kind::Stopped {
                signal(node, "-CONT")?;
            }
            if blow.kind == Kind::BlackHole && blow.is_hard {
                node.link.cut();
            }
            if blow.kind <= Kind::Cut || blow.kind == Kind::Swapped {
                clear(&node.link.weather);
            }
        }
        if let Some(console) = console {
            console.end().await;
        }
        match blow.kind {
            Kind::Detached => arena.insist(&attach(SWAPPED_TABLE), "42710").await,
            Kind::StandbyPaused => arena.pause_standby(false),
            _ => Ok(()),
        }
    }
}

fn signal(node: &Node, signal: &str) -> Result<()> {
    let pid = node.process.pid().ok_or("a node has ended")?.to_string();
    command::output(Command::new("kill").args([signal, &pid])).map(drop)
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Blow { kind, node, is_up, feed_alone, strength, is_hard } = self;
        f.write_str(kind.name())?;
        if *kind <= Kind::Slept || *kind == Kind::Swapped {
            match node {
                Some(node) => write!(f, " (node {}", node + 1)?,
                None => f.write_str(" (all nodes")?,
            }
            let direction = if *is_up { "up" } else { "down" };
            match kind {
                Kind::Trickle => write!(f, ", {direction}, strength {strength}")?,
                Kind::Uneven => {
                    let how = if *is_hard { "over the bound, the feed too" } else { "a little" };
                    write!(f, ", {how}, strength {strength}")?;
                }
                Kind::BlackHole => write!(f, ", {direction}, {}", if *is_hard { "cut" } else { "delivered" })?,
                Kind::Late => {
                    let (of, how) =
                        (if *feed_alone { "feed" } else { "all" }, if *is_hard { "at once" } else { "by and by" });
                    write!(f, ", {of}, {how}, strength {strength}")?;
                }
                _ => write!(f, ", strength {strength}")?,
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}
