//! What somebody was shown is not followed by what was held before it, whatever keeps it from being held.

use super::*;

/// What a load brings that cannot be kept in step.
fn in_doubt(number: i64, version: i64) -> Loaded<i64> {
    let (version, lifetime, last_seq) = (Version(version), Lifetime::ENDLESS, Sequence(0));
    Loaded { value: row(number), version, lifetime, last_seq, trusted: false, as_of: Moment::NEVER }
}

#[test]
fn a_load_of_a_time_when_no_changes_were_heard() {
    let mut slot = known(10, 5);
    let waiting = slot.begin_load(1);
    let loaded = in_doubt(20, 6);
    assert_eq!(slot.loaded(1, &loaded, GENERATION, &Numbers).tell(), Next::Nothing);
    assert_eq!(answer(waiting), Some(20));
    assert_eq!(slot.number(), None, "10 again");
    assert_eq!(
        slot.last_known(GENERATION, NOW, false, &Numbers).unwrap().0.as_deref(),
        Some(&20),
        "it may be served stale"
    );
}

#[test]
fn a_load_that_a_change_overtook_which_is_held_back() {
    let mut slot = known(10, 5);
    slot.write(edit(1, 1));
    slot.freeze(Sequence(1), GENERATION).unwrap();
    let waiting = slot.begin_load(1);
    slot.hears(ChangeKind::Versioned, 7);
    assert_eq!(slot.number(), Some(11), "it may be the echo of the batch");
    assert!(!slot.brings(1, 20, 6, 0));
    assert_eq!(answer(waiting), Some(21));
    assert_eq!(slot.number(), None, "11 again");
}

#[test]
fn what_was_held_before_a_gap() {
    let mut slot = known(10, 5);
    let waiting = slot.begin_load(1);
    let loaded = in_doubt(20, 6);
    assert_eq!(slot.loaded(1, &loaded, GENERATION + 1, &Numbers).tell(), Next::Nothing);
    assert_eq!(answer(waiting), Some(20));
    let (value, _) = slot.last_known(GENERATION + 1, NOW, false, &Numbers).unwrap();
    assert_eq!(value.as_deref(), Some(&20), "10 again");
    assert!(slot.of_no_generation().is_some(), "it may be served stale");
}

#[test]
fn what_is_certainly_the_same_is_still_held() {
    let mut slot = known(10, 5);
    let waiting = slot.begin_load(1);
    let loaded = in_doubt(10, 5);
    assert_eq!(slot.loaded(1, &loaded, GENERATION, &Numbers).tell(), Next::Nothing);
    assert_eq!((answer(waiting), slot.number()), (Some(10), Some(10)));
}
