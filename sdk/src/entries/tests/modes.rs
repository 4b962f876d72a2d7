//! What is held, where the mode serves it and where it does not.

use super::*;

#[test]
fn what_is_held_is_a_hit_where_the_mode_serves_it() {
    let entries = entries();
    entries.hear();
    entries.hold(1, Lifetime::ENDLESS);
    for (mode, expected) in [
        (Mode::Shadow, None),
        (Mode::Canary(0.0), None),
        // The hash is a small number.
        (Mode::Canary(1e-9), Some(1)),
        (Mode::On, Some(1)),
    ] {
        entries.set_mode(mode);
        assert_eq!((entries.hit(1), entries.len()), (expected, 1), "{mode:?}");
    }
    entries.set_mode(Mode::Shadow);
    entries.raise_generation();
    entries.set_mode(Mode::On);
    assert_eq!(entries.hit(1), None, "it was doubted meanwhile");
    entries.hold(1, Lifetime::ENDLESS);
    assert_eq!(entries.hit(1), Some(1));
    entries.set_mode(Mode::Off);
    assert_eq!((entries.hit(1), entries.len()), (None, 0), "nothing is held");
}

/// Readers in the shadow were shown a change that was not heard yet; once the mode was on, what had been held before followed it.
#[test]
fn what_a_reader_knows_better_is_let_go_before_it_is_served() {
    let entries = entries();
    entries.hear();
    entries.hold(1, Lifetime::ENDLESS);
    entries.set_mode(Mode::Shadow);
    entries.overtake(HASH);
    assert_eq!(entries.len(), 1, "it goes on being compared");
    entries.set_mode(Mode::On);
    assert_eq!((entries.hit(1), entries.len()), (None, 0));
    entries.hold(1, Lifetime::ENDLESS);
    entries.set_mode(Mode::Shadow);
    entries.set_mode(Mode::On);
    assert_eq!(entries.hit(1), Some(1), "that was another one");
    // Of who was asked in the shadow, and is answered now.
    entries.overtake(HASH);
    assert_eq!(entries.hit(1), None);
}

/// What readers were shown is noted with what is held, and goes with it: of rows that are not held there is nothing to let go.
#[test]
fn what_was_loaded_after_a_reader_knew_better_is_served() {
    let entries = entries();
    entries.hear();
    entries.set_mode(Mode::Shadow);
    let generation = entries.generation();
    (100..20_000).for_each(|hash| entries.overtake(KeyHash(hash)));
    entries.hold(1, Lifetime::ENDLESS);
    entries.overtake(HASH);
    assert!(
        entries.place(HASH).slot_or_new(&1).shown(generation, entries.common.now()).is_none(),
        "nothing is made of it"
    );
    entries.place(HASH).leave();
    entries.hold(2, Lifetime::ENDLESS);
    entries.set_mode(Mode::On);
    assert_eq!((entries.hit(2), entries.generation()), (Some(2), generation));
}

/// A load that began before a reader was shown a change must not bring back what was there before.
#[test]
fn what_is_under_way_when_a_reader_knows_better_is_not_held() {
    let entries = entries();
    entries.hear();
    entries.set_mode(Mode::Shadow);
    entries.hold(1, Lifetime::ENDLESS);
    let (sender, _receiver) = oneshot::channel();
    entries.place(HASH).slot_or_new(&1).join(1, entries.generation(), None, sender);
    let (flight, _) = entries.start_load(HASH, entries.common.now()).unwrap();
    entries.overtake(HASH);
    let loaded = Loaded {
        value: Some(Row::new(1, 1)),
        version: Version(1),
        lifetime: Lifetime::ENDLESS,
        last_seq: Sequence(0),
        trusted: true,
        as_of: entries.common.now(),
    };
    let _ = entries.loaded(HASH, flight, loaded);
    entries.set_mode(Mode::On);
    assert_eq!(entries.hit(1), None);
}

/// Who goes by a table of settings asks for the same mode again and again.
#[test]
fn a_retreat_is_not_undone_by_who_asks_for_the_same_again() {
    let entries = entries_of(&CacheConfig { verified_share: 1.0, retreat_after: Some(2), ..CacheConfig::default() });
    for asked in [Mode::On, Mode::Canary(0.5)] {
        entries.set_mode(asked);
        entries.note_violations(1);
        entries.set_mode(asked);
        assert_eq!(entries.mode(), asked, "one is not enough");
        entries.note_violations(1);
        entries.set_mode(asked);
        assert_eq!((entries.mode(), entries.has_retreated()), (Mode::Shadow, true));
        entries.set_mode(Mode::Shadow);
        assert_eq!((entries.mode(), entries.has_retreated()), (Mode::Shadow, false), "somebody has seen it");
        entries.set_mode(asked);
        entries.note_violations(1);
        assert_eq!(entries.mode(), asked, "it counts anew");
    }
}

/// A digest of each row that is loaded costs what nobody pays for nothing.
#[test]
fn rows_have_digests_only_where_something_compares_them() {
    for (mode, verified_share, expected) in [
        (Mode::On, 0.0, false),
        (Mode::On, 0.001, true),
        (Mode::Off, 0.0, false),
        (Mode::Shadow, 0.0, true),
        (Mode::Canary(1.0), 0.0, true),
    ] {
        let entries = entries_of(&CacheConfig { mode, verified_share, ..CacheConfig::default() });
        assert_eq!(entries.is_compared(), expected, "{mode:?} {verified_share}");
    }
}
