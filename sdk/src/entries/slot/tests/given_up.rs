//! Those who wait for a load, and leave before it has come.

use super::*;

#[test]
fn what_nobody_waits_for_is_not_loaded() {
    let mut slot = unknown();
    let waiters: Vec<_> = (1..=2)
        .map(|number| {
            let (sender, receiver) = oneshot::channel();
            (slot.join(number, GENERATION, Some(NOW), sender), receiver)
        })
        .collect();
    assert!(waiters.iter().all(|(number, _)| *number == 1), "they share one load");
    assert!(!slot.give_up(1), "the other one still waits");
    assert!(slot.give_up(1));
    assert!(slot.is_idle() && slot.start(GENERATION, NOW).is_none());

    // One that has begun goes on, and what it brings is kept; but it is not asked again.
    let waiter = slot.begin_load(3);
    assert!(!slot.give_up(3));
    drop(waiter);
    slot.write(put(5));
    slot.freeze(Sequence(1), GENERATION);
    slot.learns(1, Verdict::Applied, 0, 6);
    assert!(!slot.brings(3, 10, 5, 0), "nobody asks for it");
    assert!(slot.start(GENERATION, NOW).is_none());
}

/// A key is read again and again, each time for a moment only, while its table is locked.
#[test]
fn those_who_give_up_leave_nothing_in_a_load_that_goes_on() {
    let mut slot = unknown();
    let _waiter = slot.begin_load(1);
    for number in 2..10_000 {
        let (sender, receiver) = oneshot::channel();
        slot.join(number, GENERATION, Some(NOW), sender);
        drop(receiver);
        slot.give_up(1);
    }
    assert!(slot.flights[0].waiters.len() < 20, "{} wait", slot.flights[0].waiters.len());
}
