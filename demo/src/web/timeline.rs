//! What happened, and how long it took each way until it served as before.

use serde::Serialize;

use super::words::Way;

/// A way that has served for so long serves again.
const CALM_NS: i64 = 1_000_000_000;
/// After that a way counts as not repaired.
const GIVEN_UP_NS: i64 = 60_000_000_000;
/// How many events are kept.
const EVENTS_MAX: usize = 50;

/// What became of a way after an event.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub(crate) enum Repair {
    /// It is not known yet.
    Open,
    /// It served all the time.
    Undisturbed,
    /// So many seconds after the event it served again, and went on doing so; and so many after its cause was gone.
    Repaired {
        seconds: f64,
        after_cause: f64,
    },
    NotRepaired,
    /// It did not serve when the event began.
    DownBefore,
}

/// Something that was done.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Event {
    pub(crate) number: u64,
    /// Seconds since the start.
    pub(crate) at: f64,
    pub(crate) what: String,
    /// By way.
    pub(crate) repairs: [Repair; 2],
    /// Why it could not be done.
    pub(crate) trouble: Option<String>,
    #[serde(skip)]
    begun_ns: i64,
    /// When its cause had gone.
    #[serde(skip)]
    ended_ns: Option<i64>,
    #[serde(skip)]
    last_disturbed_ns: [Option<i64>; 2],
}

/// The last events.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    events: Vec<Event>,
    begun: u64,
    /// When each way was last seen to serve.
    served_ns: [Option<i64>; 2],
}

impl Timeline {
    /// Something is being done.
    pub(crate) fn begin(&mut self, start_ns: i64, now_ns: i64, what: &str) -> u64 {
        self.begun += 1;
        if self.events.len() == EVENTS_MAX {
            self.events.remove(0);
        }
        self.events.push(Event {
            number: self.begun,
            at: seconds(now_ns - start_ns),
            what: what.to_owned(),
            repairs: self.served_ns.map(|served_ns| match served_ns {
                Some(served_ns) if now_ns - served_ns < CALM_NS => Repair::Open,
                _ => Repair::DownBefore,
            }),
            trouble: None,
            begun_ns: now_ns,
            ended_ns: None,
            last_disturbed_ns: [None; 2],
        });
        self.begun
    }

    /// Its cause is gone: the node is started, the lock released.
    pub(crate) fn end(&mut self, number: u64, now_ns: i64, trouble: Option<String>) {
        if let Some(event) = self.events.iter_mut().find(|event| event.number == number) {
            event.ended_ns = Some(now_ns);
            event.trouble = trouble;
        }
    }

    /// Notes whether each way serves now.
    pub(crate) fn look(&mut self, now_ns: i64, serves: [bool; 2]) {
        for (served_ns, _) in self.served_ns.iter_mut().zip(serves).filter(|(_, serves)| *serves) {
            *served_ns = Some(now_ns);
        }
        for event in &mut self.events {
            for way in Way::BOTH {
                event.look(now_ns, way.place(), serves[way.place()]);
            }
        }
    }

    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    /// Whether all is over.
    pub(crate) fn is_calm(&self) -> bool {
        self.events.iter().flat_map(|event| event.repairs).all(|repair| repair != Repair::Open)
    }
}

impl Event {
    fn look(&mut self, now_ns: i64, way: usize, serves: bool) {
        if self.repairs[way] != Repair::Open {
            return;
        }
        if !serves {
            self.last_disturbed_ns[way] = Some(now_ns);
        }
        let last_ns = self.last_disturbed_ns[way];
        let has_been_calm = |ended_ns: i64| now_ns - last_ns.unwrap_or(ended_ns).max(ended_ns) >= CALM_NS;
        if let Some(ended_ns) = self.ended_ns.filter(|ended_ns| has_been_calm(*ended_ns)) {
            self.repairs[way] = match last_ns {
                Some(last_ns) => Repair::Repaired {
                    seconds: seconds(last_ns - self.begun_ns),
                    after_cause: seconds((last_ns - ended_ns).max(0)),
                },
                None => Repair::Undisturbed,
            };
        } else if now_ns - self.begun_ns >= GIVEN_UP_NS {
            self.repairs[way] = Repair::NotRepaired;
        }
    }
}

pub(crate) fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: i64 = 100_000_000;

    /// Looks ten times a second for so many tenths; a way serves outside of its range.
    fn after(tenths: i64, ended: i64, disturbed: [std::ops::Range<i64>; 2]) -> [Repair; 2] {
        let mut timeline = Timeline::default();
        timeline.look(0, [true; 2]);
        let number = timeline.begin(0, 0, "a test");
        for tenth in 0..tenths {
            if tenth == ended {
                timeline.end(number, tenth * TENTH, None);
            }
            timeline.look(tenth * TENTH, [0, 1].map(|way: usize| !disturbed[way].contains(&tenth)));
        }
        timeline.events()[0].repairs
    }

    #[test]
    fn repair_lasts_until_the_last_moment_without_service() {
        assert_eq!(
            after(60, 10, [0..0, 3..25]),
            [Repair::Undisturbed, Repair::Repaired { seconds: 2.4, after_cause: 1.4 }]
        );
        assert_eq!(after(30, 10, [0..0, 3..25])[1], Repair::Open, "it must go on serving");
        assert_eq!(after(60, 10, [5..6, 20..21])[0], Repair::Repaired { seconds: 0.5, after_cause: 0.0 });
        assert_eq!(
            after(60, 10, [5..6, 19..20])[1],
            Repair::Repaired { seconds: 1.9, after_cause: 0.9 },
            "that was the same event's"
        );
    }

    #[test]
    fn nothing_is_decided_while_the_cause_lasts_and_not_all_is_repaired() {
        assert_eq!(after(500, 999, [0..0, 0..0]), [Repair::Open; 2]);
        assert_eq!(after(700, 1, [0..0, 2..700]), [Repair::Undisturbed, Repair::NotRepaired]);
    }

    #[test]
    fn who_did_not_serve_before_is_not_waited_for() {
        let mut timeline = Timeline::default();
        timeline.look(0, [true; 2]);
        timeline.look(15 * TENTH, [false, true]);
        timeline.begin(0, 16 * TENTH, "a test");
        assert_eq!(timeline.events()[0].repairs, [Repair::DownBefore, Repair::Open]);
    }
}
