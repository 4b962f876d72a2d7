//! As of when: what is too old to be joined, held back or held.

use super::*;

#[test]
fn a_held_change_shows_once_somebody_has_caught_up() {
    let mut slot = known(10, 5);
    slot.write(edit(1, 1));
    slot.freeze(Sequence(1), GENERATION);
    slot.end_hold(GENERATION, &Numbers);
    assert_eq!(slot.number(), Some(11), "nothing is held back");
    slot.hears(ChangeKind::Versioned, 6);
    slot.end_hold(GENERATION, &Numbers);
    assert_eq!(slot.number(), None);
    slot.learns(1, Verdict::Applied, 5, 6);
    assert_eq!(slot.number(), None, "the base is unknown");
}

#[test]
fn who_comes_too_late_for_a_load_asks_for_one_of_his_own() {
    let mut slot = unknown();
    let first = slot.begin_load(1);
    let join =
        |slot: &mut Slot<i32, i64>, number, since| slot.join(number, GENERATION, since, oneshot::channel().0) == number;
    assert!(!join(&mut slot, 2, Some(NOW)));
    assert!(join(&mut slot, 3, Some(LATER)), "it began before what he may be shown");
    assert!(!join(&mut slot, 4, Some(LATER)), "this one has not begun");
    assert_eq!(slot.start(GENERATION, LATER), Some(3));
    assert!(join(&mut slot, 5, None), "no change that it misses would be heard of");
    slot.brings(1, 10, 5, 0);
    assert_eq!(answer(first), Some(10));
}

#[test]
fn a_load_that_is_not_kept_does_not_make_what_is_held_any_younger() {
    let lifetime = Lifetime { until: LATER, row_expires: false };
    let base = Base::Known { value: row(10), version: Version(5), generation: GENERATION, lifetime };
    let mut slot = Slot::new(1, base, GENERATION);
    let _waiting = slot.begin_load(1);
    let younger = Lifetime { until: Moment::NEVER, row_expires: false };
    let loaded = Loaded {
        value: row(10),
        version: Version(5),
        lifetime: younger,
        last_seq: Sequence(0),
        trusted: false,
        as_of: Moment::NEVER,
    };
    slot.loaded(1, &loaded, GENERATION, &Numbers).tell();
    assert_eq!(slot.entry(GENERATION, NOW).map(|(_, lifetime)| lifetime), Some(lifetime));
    assert!(slot.entry(GENERATION, LATER).is_none());
}

#[test]
fn what_is_confirmed_lives_anew_but_no_longer_than_its_row() {
    for row_expires in [false, true] {
        let lifetime = Lifetime { until: LATER, row_expires };
        let base = Base::Known { value: row(10), version: Version(5), generation: GENERATION, lifetime };
        let mut slot = Slot::new(1, base, GENERATION);
        slot.write(edit(1, 1));
        slot.freeze(Sequence(1), GENERATION);
        slot.learns(1, Verdict::Applied, 5, 6);
        assert_eq!(slot.shown(GENERATION, LATER).is_some(), !row_expires);
    }
}
