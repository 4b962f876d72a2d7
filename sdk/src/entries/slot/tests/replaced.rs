//! What a change has replaced is kept for who takes that, for a while.

use super::*;
use crate::entries::generation::{replaced, unheard};

const KEPT: Hold = Hold { until: HELD_UNTIL, as_of: NOW, kept_until: Some(LATER) };
const BEFORE_LATER: Moment = Moment::from_micros(1_999_999);

impl Slot<i32, i64> {
    fn is_changed(&mut self, version: i64, hold: Hold) {
        let kind = ChangeKind::Versioned;
        let change = Change { table: TableId(1), key: KeyHash(1), version: Version(version), kind };
        self.change(&change, GENERATION, hold, &Numbers);
    }

    /// The last value known, and the generation in which it was confirmed.
    fn last(&self, now: Moment) -> Option<(Option<i64>, u64)> {
        let (value, confirmed) = self.last_known(GENERATION, now, true, &Numbers)?;
        Some((value.as_deref().copied(), confirmed))
    }
}

#[test]
fn it_is_what_it_was_as_of_before_the_change_and_no_longer_than_that_is_kept() {
    let mut slot = known(10, 5);
    slot.is_changed(6, KEPT);
    assert_eq!(slot.number(), None, "it is not what the row is");
    assert_eq!(slot.last(BEFORE_LATER), Some((Some(10), replaced(NOW))));
    assert_eq!(slot.last(LATER), None);
    // Another change makes it neither younger nor longer lived.
    let later = Hold { as_of: LATER, kept_until: Some(Moment::NEVER), ..KEPT };
    slot.is_changed(7, later);
    assert_eq!(slot.last(BEFORE_LATER), Some((Some(10), replaced(NOW))));
    assert_eq!(slot.last(LATER), None);
    assert!(slot.last_known(GENERATION, NOW, false, &Numbers).is_none(), "an outage is no reason to show it");
    let mut let_go = known(10, 5);
    let_go.is_changed(6, HOLD);
    assert_eq!(let_go.last(NOW), None, "nobody takes it");
}

#[test]
fn ones_own_writes_show_in_it() {
    let mut slot = known(10, 5);
    slot.is_changed(6, KEPT);
    slot.write(edit(1, 3));
    assert_eq!((slot.number(), slot.last(NOW)), (None, Some((Some(13), replaced(NOW)))));
    // Whether it was changed by a deletion is not known: a put creates the row then.
    assert!(!slot.has_seen_row(&Numbers));
    slot.freeze(Sequence(1), GENERATION);
    slot.learns(1, Verdict::Applied, 6, 7);
    assert_eq!(slot.last(NOW), None, "it is not known what the write was added to, and it must not vanish");
}

#[test]
fn what_is_held_back_is_as_old_as_what_it_replaces() {
    let mut slot = known(10, 5);
    slot.write(edit(1, 1));
    slot.freeze(Sequence(1), GENERATION);
    slot.is_changed(6, KEPT);
    assert_eq!(slot.last(BEFORE_LATER), Some((Some(11), replaced(NOW))), "it may be somebody else's");
    assert_eq!(slot.last(LATER), None, "for as long as if it were");
    let while_away = slot.last_known(GENERATION, LATER, false, &Numbers);
    assert_eq!(while_away.map(|(_, confirmed)| confirmed), Some(unheard(NOW)), "and it may be an echo");
    slot.end_hold(GENERATION, &Numbers);
    assert_eq!(slot.number(), None);
    assert_eq!(slot.last(BEFORE_LATER), Some((Some(11), replaced(NOW))));
}

#[test]
fn a_load_takes_its_place_and_what_is_overtaken_is_told() {
    let mut slot = known(10, 5);
    slot.is_changed(6, KEPT);
    let _waiting = slot.begin_load(1);
    slot.is_changed(7, KEPT);
    let loaded = |version, number| Loaded {
        value: row(number),
        version: Version(version),
        lifetime: Lifetime::ENDLESS,
        last_seq: Sequence(0),
        trusted: true,
        as_of: LATER,
    };
    assert_eq!(slot.loaded(1, &loaded(6, 20), GENERATION, &Numbers).tell(), Next::Overtaken);
    assert_eq!(slot.number(), None);
    assert_eq!(slot.last(NOW), Some((Some(20), unheard(LATER))), "whoever was shown that is not shown the older one");
    slot.is_changed(8, KEPT);
    assert_eq!(
        slot.last(BEFORE_LATER),
        Some((Some(20), replaced(LATER))),
        "it is known who read it, however often it changes"
    );
    slot.is_changed(7, KEPT);
    let _waiting = slot.begin_load(2);
    assert_eq!(slot.loaded(2, &loaded(7, 30), GENERATION, &Numbers).tell(), Next::Nothing);
    assert_eq!(slot.number(), Some(30));
}

/// A deletion once gave it another time from which it counted.
#[test]
fn what_is_held_back_counts_from_the_first_change() {
    let mut slot = known(10, 5);
    slot.write(edit(1, 1));
    slot.freeze(Sequence(1), GENERATION);
    slot.is_changed(6, KEPT);
    let later = Hold { as_of: LATER, kept_until: Some(Moment::NEVER), until: Moment::NEVER };
    let gone = Change { table: TableId(1), key: KeyHash(1), version: Version::NONE, kind: ChangeKind::Unversioned };
    slot.change(&gone, GENERATION, later, &Numbers);
    assert_eq!(slot.last(BEFORE_LATER), Some((Some(11), replaced(NOW))));
    assert_eq!(slot.last(LATER), None);
}
